/* log_rotation: a log file that begins anew when it is large (--enable-log-rotation).
 *
 *     etcd.log                               the one that is written to
 *     etcd-2026-01-02T15-04-05.000.log       full ones, with the time at which each was put aside
 *     etcd-2026-01-01T09-12-44.731.log.gz    the same, compressed
 *
 * Names, limits and their defaults are those of the library that etcd uses (lumberjack), so that whoever
 * collects the files need not change. A line is never split. Putting aside happens when the next line would
 * exceed the limit; removing and compressing old files is a helper thread's, which nobody waits for.
 *
 * Writing: one thread at a time.
 */
#ifndef SERVER_LOG_ROTATION_H
#define SERVER_LOG_ROTATION_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdint.h>

struct log_rotation;

/* --log-rotation-config-json. Zero-initialised is lumberjack's default. */
struct log_rotation_options {
    int64_t max_size_mib; /* 0: 100 */
    int64_t max_age_days; /* 0: kept whatever their age */
    int64_t max_backups;  /* 0: any number is kept */
    bool local_time;      /* in names; otherwise UTC */
    bool compress;
};

/* Reads the JSON object; keys that are missing are the defaults, unknown ones are ignored, as in etcd. */
struct error *log_rotation_parse(const char *json, struct log_rotation_options *options)
    __attribute__((warn_unused_result));

/* Opens or creates the file (0600), its directory too. `path` is copied. */
struct error *log_rotation_open(const char *path, const struct log_rotation_options *options,
                                struct log_rotation **rotation) __attribute__((warn_unused_result));
/* Appends one line. wall: the time, in nanoseconds, for the name of a file that is put aside. When no new
 * file can be made the present one goes on. */
void log_rotation_write(struct log_rotation *rotation, struct bytes line, int64_t wall);
/* Waits for the helper. NULL is allowed. */
void log_rotation_close(struct log_rotation *rotation);

/* For tests: the limit in bytes. */
void log_rotation_set_limit(struct log_rotation *rotation, uint64_t bytes);

#endif
