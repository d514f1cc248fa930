/* startup: what is done once before a member serves, because an option asks for it. Main thread; blocks. */
#ifndef SERVER_STARTUP_H
#define SERVER_STARTUP_H

#include "base/error.h"
#include "base/log.h"
#include "server/options.h"

struct backend;

/* --memory-mlock: what this process has in memory, now or later, stays there. Before the database is opened.
 */
struct error *startup_lock_memory(const struct options *options) __attribute__((warn_unused_result));

/* --bootstrap-defrag-threshold-megabytes: makes the database dense when it has so much free space. Nobody
 * uses the backend yet. */
struct error *startup_defragment(const struct options *options, struct backend *backend,
                                 const struct logger *logger) __attribute__((warn_unused_result));

/* Lines of the log about what the options say. */
void startup_log_urls(const struct logger *logger, const char *message, const char *key, const char *list);
void startup_log_quota(const struct options *options, const struct logger *logger);
/* "closing etcd server", "closed etcd server". */
void startup_log_end(const struct options *options, const struct logger *logger, const char *message);

#endif
