/* logging: the server's log lines, as etcd's zap logger writes them.
 *
 *     {"level":"info","ts":"2026-01-02T03:04:05.678901Z","caller":"server/main.c:73","msg":"...","field":...}
 *
 * The time is local, with its zone as +0800, or Z in UTC. Before the first logging_open nothing is written.
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

enum logging_format {
    LOGGING_JSON,
    LOGGING_CONSOLE,  /* ts<TAB>level<TAB>caller<TAB>msg<TAB>{"key": value, ...} */
    LOGGING_CAPNSLOG, /* as etcd up to 3.4: 2021-05-07 12:38:52.527567 I | etcdmain: msg key=value */
};

struct logging_options {
    const char *outputs; /* --log-outputs */
    enum log_level level;
    enum logging_format format;
    const char *rotation; /* --log-rotation-config-json; NULL: without --enable-log-rotation */
    const char *journal;  /* socket of the journal; NULL: systemd's */
};

/* Opens the outputs: "default", "stderr", "stdout", "systemd/journal" or a path to append to; several
 * separated by commas, of which each gets every line. "/dev/null" among them silences all. "default" and the
 * journal stand alone; rotation needs one file among them (server/log_rotation.h). What the journal does not
 * take is written to stderr. One log per process; *logger lives until logging_close. After an error it is
 * what it was before, so that the error can be logged. */
struct error *logging_open(const struct logging_options *options, const struct logger **logger)
    __attribute__((warn_unused_result));
void logging_close(void);

/* One line of a record at that wall-clock time (nanoseconds), newline included; for tests and for
 * logging_open's writer. */
struct buf;
void logging_format_line(struct buf *line, enum logging_format format, const struct log_record *record,
                         int64_t wall_nanoseconds);

#endif
