/* profiles: /debug/pprof/. Go's profiles there are of Go's run time; a tool that asks for one is told so, and
 * how to get the same of this program. What serves the same purpose is here, as text: the allocator's
 * statistics, the threads with their times, the queues, what the program was built of. Loop thread. */
#ifndef SERVER_PROFILES_H
#define SERVER_PROFILES_H

#include "net/http.h"

struct buf;

/* For the prefix "/debug/pprof/" of a router whose context is a struct http_endpoints. 404 unless its
 * enable_pprof is set. */
extern const struct http_handler profiles_handler;

/* Appends the words of the command line, each with a zero behind it. */
void profiles_command_line(struct buf *words);

#endif
