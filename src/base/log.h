/* log: structured records, as etcd's zap logger makes them.
 *
 * Library code names what happened and hands over typed fields; it never formats a line, reads the clock or
 * writes. A `struct logger` is the way out: the server's writes JSON lines to its outputs, the simulator's
 * keeps records in memory, tests pass &log_discard. Field values are borrowed for the duration of the call
 * only.
 *
 *     log_info(logger, "added member", LOG_HEX("local-member-id", id), LOG_STRING("name", name));
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_FATAL, /* a record only: ending the process is main's business */
    LOG_NONE,
};

enum log_field_kind {
    LOG_FIELD_STRING, /* text, UTF-8 */
    LOG_FIELD_BYTES,  /* any bytes; the writer escapes what is not text */
    LOG_FIELD_INT,
    LOG_FIELD_UINT,
    LOG_FIELD_HEX, /* uint as lower-case hex text, unpadded: ids */
    LOG_FIELD_BOOL,
    LOG_FIELD_DOUBLE,
    LOG_FIELD_DURATION, /* nanoseconds, shown as Go does: "2.718959ms" */
    LOG_FIELD_TIME,     /* nanoseconds since 1970, as a line's "ts" shows them */
    LOG_FIELD_STRINGS,  /* an array of texts */
    LOG_FIELD_SIZE,     /* bytes as SI text: "25 kB" */
    LOG_FIELD_JSON,     /* text that is already JSON */
    LOG_FIELD_ABSENT,   /* left out: lets a macro field be optional */
};

struct log_field {
    const char *key;
    enum log_field_kind kind;
    union {
        struct bytes bytes;
        const char *string;
        int64_t integer;
        uint64_t unsigned_integer;
        double real;
        bool boolean;
        const char *const *strings; /* `count` of them */
    };
    size_t count;
};

struct log_record {
    enum log_level level;
    const char *name; /* zap's logger name ("raft"), or NULL */
    const char *file; /* whatever path the compiler was given */
    int line;
    const char *message;
    const struct log_field *fields;
    size_t field_count;
};

struct logger {
    enum log_level level; /* records below are dropped before they are made */
    const char *name;
    void (*emit)(void *context, const struct log_record *record);
    void *context;
};

/* Drops everything. */
extern const struct logger log_discard;

void log_emit(const struct logger *logger, enum log_level level, const char *file, int line,
              const char *message, const struct log_field *fields, size_t field_count);

static inline bool log_wants(const struct logger *logger, enum log_level level)
{
    return level >= logger->level;
}

const char *log_level_name(enum log_level level);
/* The last two parts of the record's file: "server/main.c". Borrowed from it. */
const char *log_record_file(const struct log_record *record);

struct buf;
/* Appends a field's value as JSON; `comma` stands between the items of an array ("," or ", "). */
void log_field_write(struct buf *line, const struct log_field *field, const char *comma);

#define LOG_STRING(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_STRING, .string = (v)})
#define LOG_BYTES(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_BYTES, .bytes = (v)})
#define LOG_INT(k, v)    ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .integer = (int64_t)(v)})
#define LOG_UINT(k, v)                                                                                       \
    ((struct log_field){.key = (k), .kind = LOG_FIELD_UINT, .unsigned_integer = (uint64_t)(v)})
#define LOG_HEX(k, v)                                                                                        \
    ((struct log_field){.key = (k), .kind = LOG_FIELD_HEX, .unsigned_integer = (uint64_t)(v)})
#define LOG_BOOL(k, v)   ((struct log_field){.key = (k), .kind = LOG_FIELD_BOOL, .boolean = (v)})
#define LOG_DOUBLE(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_DOUBLE, .real = (v)})
#define LOG_DURATION(k, ns)                                                                                  \
    ((struct log_field){.key = (k), .kind = LOG_FIELD_DURATION, .integer = (int64_t)(ns)})
#define LOG_TIME(k, ns) ((struct log_field){.key = (k), .kind = LOG_FIELD_TIME, .integer = (int64_t)(ns)})
#define LOG_SIZE(k, v)                                                                                       \
    ((struct log_field){.key = (k), .kind = LOG_FIELD_SIZE, .unsigned_integer = (uint64_t)(v)})
#define LOG_JSON(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_JSON, .string = (v)})
#define LOG_STRINGS(k, v, n)                                                                                 \
    ((struct log_field){.key = (k), .kind = LOG_FIELD_STRINGS, .strings = (v), .count = (n)})

#define LOG_AT(logger_, log_level_, message, ...)                                                            \
    do {                                                                                                     \
        const struct logger *log_to_ = (logger_);                                                            \
        if (log_wants(log_to_, log_level_)) {                                                                \
            const struct log_field log_fields_[] = {__VA_ARGS__ __VA_OPT__(, ){.kind = LOG_FIELD_ABSENT}};   \
            log_emit(log_to_, log_level_, __FILE__, __LINE__, message, log_fields_,                          \
                     sizeof(log_fields_) / sizeof(log_fields_[0]) - 1);                                      \
        }                                                                                                    \
    } while (0)

#define log_debug(logger_, ...) LOG_AT(logger_, LOG_DEBUG, __VA_ARGS__)
#define log_info(logger_, ...)  LOG_AT(logger_, LOG_INFO, __VA_ARGS__)
#define log_warn(logger_, ...)  LOG_AT(logger_, LOG_WARN, __VA_ARGS__)
#define log_error(logger_, ...) LOG_AT(logger_, LOG_ERROR, __VA_ARGS__)

#endif
