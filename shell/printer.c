#include "shell/printer.h"

#include "api/json.h"
#include "api/message.h"
#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static const char *const format_names[OUTPUT_FORMAT_COUNT] = {
    [OUTPUT_SIMPLE] = "simple",     [OUTPUT_FIELDS] = "fields", [OUTPUT_JSON] = "json",
    [OUTPUT_PROTOBUF] = "protobuf", [OUTPUT_TABLE] = "table",
};

const char *output_format_name(enum output_format format)
{
    return format < OUTPUT_FORMAT_COUNT ? format_names[format] : NULL;
}

bool output_format_parse(const char *name, enum output_format *format)
{
    for (int i = 0; i < OUTPUT_FORMAT_COUNT; i++) {
        if (strcmp(format_names[i], name) != 0) continue;
        *format = (enum output_format)i;
        return true;
    }
    return false;
}

/* ---- json and protobuf ---- */

void print_message_json(struct print_target *target, const void *response, const void *detail)
{
    (void)detail;
    json_write(target->out, response, JSON_GO);
    buf_append_byte(target->out, '\n');
}

void print_message_protobuf(struct print_target *target, const void *response, const void *detail)
{
    (void)detail;
    message_pack(target->out, response);
}

void print_header_json_members(struct buf *out, const Etcdserverpb__ResponseHeader *header)
{
    if (header == NULL) return;
    if (header->cluster_id != 0)
        buf_printf(out, "\"cluster_id\":%llu,", (unsigned long long)header->cluster_id);
    if (header->member_id != 0) buf_printf(out, "\"member_id\":%llu,", (unsigned long long)header->member_id);
    if (header->revision != 0) buf_printf(out, "\"revision\":%lld,", (long long)header->revision);
    if (header->raft_term != 0) buf_printf(out, "\"raft_term\":%llu,", (unsigned long long)header->raft_term);
}

/* ---- simple ---- */

static void print_line_of_bytes(struct print_target *target, ProtobufCBinaryData data)
{
    if (target->style.hex)
        for (size_t i = 0; i < data.len; i++) buf_printf(target->out, "\\x%02x", data.data[i]);
    else
        buf_append(target->out, data.data, data.len);
    buf_append_byte(target->out, '\n');
}

void print_kv_simple(struct print_target *target, const Mvccpb__KeyValue *kv)
{
    if (!target->style.value_only) print_line_of_bytes(target, kv->key);
    print_line_of_bytes(target, kv->value);
}

/* ---- fields ---- */

void print_field_int(struct print_target *target, const char *name, int64_t value)
{
    buf_printf(target->out, "\"%s\" : %lld\n", name, (long long)value);
}

void print_field_uint(struct print_target *target, const char *name, uint64_t value)
{
    buf_printf(target->out, "\"%s\" : %llu\n", name, (unsigned long long)value);
}

void print_field_bool(struct print_target *target, const char *name, bool value)
{
    print_field_raw(target, name, value ? "true" : "false");
}

void print_field_raw(struct print_target *target, const char *name, const char *value)
{
    buf_printf(target->out, "\"%s\" : %s\n", name, value);
}

void print_field_quoted(struct print_target *target, const char *name, struct bytes value)
{
    buf_printf(target->out, "\"%s\" : ", name);
    text_go_quote(target->out, value);
    buf_append_byte(target->out, '\n');
}

void print_field_id(struct print_target *target, const char *name, uint64_t id)
{
    buf_printf(target->out, target->style.hex ? "\"%s\" : %llx\n" : "\"%s\" : %llu\n", name,
               (unsigned long long)id);
}

void print_field_lease(struct print_target *target, const char *name, int64_t lease)
{
    if (target->style.hex)
        buf_printf(target->out, "\"%s\" : %016llx\n", name, (unsigned long long)lease);
    else
        print_field_int(target, name, lease);
}

void print_header_fields(struct print_target *target, const Etcdserverpb__ResponseHeader *header)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    if (header == NULL) header = &none;
    print_field_id(target, "ClusterID", header->cluster_id);
    print_field_id(target, "MemberID", header->member_id);
    if (header->revision > 0) print_field_int(target, "Revision", header->revision);
    print_field_uint(target, "RaftTerm", header->raft_term);
}

void print_kv_fields(struct print_target *target, const char *prefix, const Mvccpb__KeyValue *kv)
{
    char name[64];
#define NAME(part) (snprintf(name, sizeof(name), "%s%s", prefix, part), name)
    print_field_quoted(target, NAME("Key"), message_bytes(kv->key));
    print_field_int(target, NAME("CreateRevision"), kv->create_revision);
    print_field_int(target, NAME("ModRevision"), kv->mod_revision);
    print_field_int(target, NAME("Version"), kv->version);
    print_field_quoted(target, NAME("Value"), message_bytes(kv->value));
    print_field_lease(target, NAME("Lease"), kv->lease);
#undef NAME
}

/* ---- table ---- */

enum {
    TABLE_COLUMNS_MAX = 32,
    TABLE_LINES_MAX = 64, /* of one cell */
    WRAP_WIDTH = 30,      /* a longer cell is wrapped at blanks */
};

static size_t display_width(struct bytes text)
{
    size_t width = 0;
    while (text.size > 0) {
        uint32_t code_point = 0;
        size_t size = text_utf8_decode(text, &code_point);
        int columns = size == 0 ? 1 : wcwidth((wchar_t)code_point);
        width += columns < 0 ? 1 : (size_t)columns;
        if (size == 0) size = 1;
        text = bytes_of(text.data + size, text.size - size);
    }
    return width;
}

struct cell_lines {
    struct bytes lines[TABLE_LINES_MAX];
    size_t count;
};

/* The next word of `text`, without the blanks round it. */
static struct bytes next_word(struct bytes *text)
{
    while (text->size > 0 && *text->data == ' ') *text = bytes_of(text->data + 1, text->size - 1);
    size_t size = 0;
    while (size < text->size && text->data[size] != ' ') size++;
    struct bytes word = bytes_of(text->data, size);
    *text = bytes_of(text->data + size, text->size - size);
    return word;
}

/* Lines of about equal width, none wider than its longest word or WRAP_WIDTH, whichever is more. */
static void wrap_cell(const char *cell, struct cell_lines *wrapped)
{
    struct bytes rest = bytes_from_string(cell);
    wrapped->count = 0;
    if (display_width(rest) <= WRAP_WIDTH) {
        wrapped->lines[wrapped->count++] = rest;
        return;
    }
    struct bytes line = BYTES_EMPTY;
    for (struct bytes word = next_word(&rest); word.size > 0; word = next_word(&rest)) {
        struct bytes longer =
            bytes_of(line.data, line.data == NULL ? 0 : (size_t)(word.data + word.size - line.data));
        bool fits =
            line.data == NULL || display_width(longer) <= WRAP_WIDTH || wrapped->count + 1 == TABLE_LINES_MAX;
        if (!fits) wrapped->lines[wrapped->count++] = line;
        line = fits && line.data != NULL ? longer : word;
    }
    if (line.data != NULL) wrapped->lines[wrapped->count++] = line;
    if (wrapped->count == 0) wrapped->lines[wrapped->count++] = BYTES_EMPTY;
}

static void write_rule(struct buf *out, size_t columns, const size_t *widths)
{
    for (size_t column = 0; column < columns; column++) {
        buf_append_byte(out, '+');
        for (size_t i = 0; i < widths[column] + 2; i++) buf_append_byte(out, '-');
    }
    buf_append_string(out, "+\n");
}

static void write_padded(struct buf *out, struct bytes text, size_t left, size_t right)
{
    buf_printf(out, "| %*s", (int)left, "");
    buf_append_bytes(out, text);
    buf_printf(out, "%*s ", (int)right, "");
}

static void write_header(struct buf *out, size_t columns, const char *const *header, const size_t *widths)
{
    for (size_t column = 0; column < columns; column++) {
        struct bytes text = bytes_from_string(header[column]);
        size_t space = widths[column] - display_width(text);
        write_padded(out, text, space / 2, space - space / 2);
    }
    buf_append_string(out, "|\n");
}

static void write_row(struct buf *out, size_t columns, const struct cell_lines *cells, const size_t *widths)
{
    size_t height = 1;
    for (size_t column = 0; column < columns; column++)
        if (cells[column].count > height) height = cells[column].count;
    for (size_t i = 0; i < height; i++) {
        for (size_t column = 0; column < columns; column++) {
            struct bytes text = i < cells[column].count ? cells[column].lines[i] : BYTES_EMPTY;
            write_padded(out, text, widths[column] - display_width(text), 0);
        }
        buf_append_string(out, "|\n");
    }
}

void print_table(struct buf *out, size_t columns, const char *const *header, const char *const *cells,
                 size_t rows)
{
    assert(columns > 0 && columns <= TABLE_COLUMNS_MAX);
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t column = 0; column < columns; column++)
        widths[column] = display_width(bytes_from_string(header[column]));
    struct cell_lines *wrapped = mem_zalloc(rows * columns + 1, sizeof(*wrapped));
    for (size_t i = 0; i < rows * columns; i++) {
        wrap_cell(cells[i], &wrapped[i]);
        for (size_t line = 0; line < wrapped[i].count; line++) {
            size_t width = display_width(wrapped[i].lines[line]);
            if (width > widths[i % columns]) widths[i % columns] = width;
        }
    }
    write_rule(out, columns, widths);
    write_header(out, columns, header, widths);
    write_rule(out, columns, widths);
    for (size_t row = 0; row < rows; row++) write_row(out, columns, &wrapped[row * columns], widths);
    write_rule(out, columns, widths);
    free(wrapped);
}

void print_joined(struct buf *out, size_t columns, const char *const *cells, size_t rows)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            buf_printf(out, "%s%s", cells[row * columns + column], column + 1 < columns ? ", " : "\n");
}
