/* logging: the server's log lines, as etcd's zap logger writes them.
 *
 *     {"level":"info","ts":"2026-01-02T03:04:05.678901Z","caller":"server/main.c:73","msg":"...","field":...}
 *
 * One line per record, written with one write() to every output; any thread. Repeats are sampled: of one
 * message at one level the first 100 in a second, then every 100th.
 */
#ifndef SERVER_LOGGING_H
#define SERVER_LOGGING_H

#include "base/error.h"
#include "base/log.h"

/* A log level by its name in --log-level. False when unknown. */
bool logging_parse_level(const char *name, enum log_level *level);

/* Opens the outputs: "default", "stderr", "stdout" or a path to append to; several separated by commas. One
 * log per process; *logger lives until logging_close. */
struct error *logging_open(const char *outputs, enum log_level level, const struct logger **logger)
    __attribute__((warn_unused_result));
void logging_close(void);

/* One line of a record at that wall-clock time (nanoseconds), newline included; for tests and for
 * logging_open's writer. */
struct buf;
void logging_format(struct buf *line, const struct log_record *record, int64_t wall_nanoseconds);

#endif
