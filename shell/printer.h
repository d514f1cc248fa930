/* printer: responses in the five output formats.
 *
 * A presentation says how one kind of response looks in each format; a format it lacks is an error of the
 * command. The functions append to target->out and never fail.
 */
#ifndef SHELL_PRINTER_H
#define SHELL_PRINTER_H

#include "base/buf.h"

#include "kv.pb-c.h"
#include "rpc.pb-c.h"

enum output_format {
    OUTPUT_SIMPLE,
    OUTPUT_FIELDS,
    OUTPUT_JSON,
    OUTPUT_PROTOBUF,
    OUTPUT_TABLE,
    OUTPUT_FORMAT_COUNT,
};

/* NULL for a number that is no format. */
const char *output_format_name(enum output_format format);
bool output_format_parse(const char *name, enum output_format *format);

struct output_style {
    enum output_format format;
    bool hex;        /* --hex */
    bool value_only; /* get --print-value-only */
};

struct print_target {
    struct buf *out;
    struct output_style style;
};

/* `detail` is what the presentation needs beside the response; each presentation says what. */
typedef void print_fn(struct print_target *target, const void *response, const void *detail);

struct presentation {
    print_fn *by_format[OUTPUT_FORMAT_COUNT]; /* NULL: not supported */
};

/* ---- Parts ---- */

/* The message as Go's encoding/json and as bare protobuf bytes show it: fit for most presentations. */
print_fn print_message_json;
print_fn print_message_protobuf;

/* "key\nvalue\n". */
void print_kv_simple(struct print_target *target, const Mvccpb__KeyValue *kv);
void print_kv_fields(struct print_target *target, const char *prefix, const Mvccpb__KeyValue *kv);
void print_header_fields(struct print_target *target, const Etcdserverpb__ResponseHeader *header);
/* `"Name" : ` + value. */
void print_field_int(struct print_target *target, const char *name, int64_t value);
void print_field_uint(struct print_target *target, const char *name, uint64_t value);
void print_field_bool(struct print_target *target, const char *name, bool value);
void print_field_quoted(struct print_target *target, const char *name, struct bytes value);
void print_field_raw(struct print_target *target, const char *name, const char *value);
/* A member's or cluster's id, a lease's id: hexadecimal with --hex. */
void print_field_id(struct print_target *target, const char *name, uint64_t id);
void print_field_lease(struct print_target *target, const char *name, int64_t lease);
/* The header's members inside an object that is open: `"cluster_id":1,...,` with a comma behind each. */
void print_header_json_members(struct buf *out, const Etcdserverpb__ResponseHeader *header);

/* A table with ASCII borders: header centred, cells to the right, `columns` cells a row. Cells are UTF-8. */
void print_table(struct buf *out, size_t columns, const char *const *header, const char *const *cells,
                 size_t rows);
/* The same cells joined by ", ", a line each. */
void print_joined(struct buf *out, size_t columns, const char *const *cells, size_t rows);

#endif
