#include "tui/value_text.h"

#include "base/text.h"

#include <ctype.h>
#include <jansson.h>

enum { HEX_BYTES_MAX = 16, HEX_BYTES_MIN = 4, JSON_INDENT = 2, JSON_DEPTH_SHOWN = 64 };

const char *value_form_name(enum value_form form)
{
    static const char *const names[] = {"empty", "JSON", "text", "binary"};
    return names[form];
}

static bool is_printable(struct bytes value)
{
    for (size_t i = 0; i < value.size; i++)
        if ((value.data[i] < 0x20 && strchr("\t\n\r", value.data[i]) == NULL) || value.data[i] == 0x7f ||
            value.data[i] == 0)
            return false;
    return text_is_utf8(value);
}

static bool is_json(struct bytes value)
{
    size_t start = 0;
    while (start < value.size && isspace(value.data[start])) start++;
    if (start == value.size || (value.data[start] != '{' && value.data[start] != '[')) return false;
    json_t *parsed = json_loadb((const char *)value.data, value.size, JSON_DECODE_INT_AS_REAL, NULL);
    json_decref(parsed);
    return parsed != NULL;
}

enum value_form value_form_of(struct bytes value)
{
    if (value.size == 0) return VALUE_EMPTY;
    if (!is_printable(value)) return VALUE_BINARY;
    return value.size <= VALUE_TEXT_SHOWN_MAX && is_json(value) ? VALUE_JSON : VALUE_TEXT;
}

static void new_line(struct buf *out, int depth)
{
    int indent = JSON_INDENT * (depth < JSON_DEPTH_SHOWN ? depth : JSON_DEPTH_SHOWN);
    buf_printf(out, "\n%*s", indent, "");
}

static size_t string_size(struct bytes rest)
{
    size_t size = 1;
    while (size < rest.size && rest.data[size] != '"') size += rest.data[size] == '\\' ? 2 : 1;
    return size < rest.size ? size + 1 : rest.size;
}

/* Lays out valid JSON anew; the tokens stay as they are, so that no number loses a digit. */
static void format_json(struct bytes value, struct buf *out)
{
    int depth = 0;
    for (size_t i = 0; i < value.size;) {
        char byte = (char)value.data[i];
        size_t size = byte == '"' ? string_size(bytes_of(value.data + i, value.size - i)) : 1;
        size_t next = i + size;
        while (next < value.size && isspace(value.data[next])) next++;
        bool is_closed_at_once = next < value.size && (value.data[next] == '}' || value.data[next] == ']');
        if (byte == '}' || byte == ']') {
            depth--;
            if (out->size > 0 && strchr("{[", (char)out->data[out->size - 1]) == NULL) new_line(out, depth);
        }
        if (!isspace((unsigned char)byte)) buf_append(out, value.data + i, size);
        if (byte == '{' || byte == '[') {
            depth++;
            if (!is_closed_at_once) new_line(out, depth);
        }
        if (byte == ',') new_line(out, depth);
        if (byte == ':') buf_append_byte(out, ' ');
        i = isspace((unsigned char)byte) || byte == '"' || strchr("{}[],:", byte) != NULL ? next : i + 1;
    }
    buf_append_byte(out, '\n');
}

static void format_hex(struct bytes value, int columns, struct buf *out)
{
    /* "0000  xx xx ...  ....": the offset, 1 + 3 n, 2 + n */
    int digits = value.size > 0xffff ? 6 : 4;
    size_t per_line = HEX_BYTES_MAX;
    while (per_line > HEX_BYTES_MIN && digits + 3 + 4 * (int)per_line > columns) per_line /= 2;
    for (size_t at = 0; at < value.size; at += per_line) {
        size_t count = value.size - at < per_line ? value.size - at : per_line;
        buf_printf(out, "%0*zx ", digits, at);
        for (size_t i = 0; i < per_line; i++) {
            if (i < count)
                buf_printf(out, " %02x", value.data[at + i]);
            else
                buf_append_string(out, "   ");
        }
        buf_append_string(out, "  ");
        for (size_t i = 0; i < count; i++) {
            uint8_t byte = value.data[at + i];
            buf_append_byte(out, byte >= 0x20 && byte < 0x7f ? byte : '.');
        }
        buf_append_byte(out, '\n');
    }
}

enum value_form value_format(struct bytes value, int columns, struct buf *out)
{
    enum value_form form = value_form_of(value);
    struct bytes shown = value;
    if (shown.size > VALUE_TEXT_SHOWN_MAX) shown.size = VALUE_TEXT_SHOWN_MAX;
    if (form == VALUE_JSON) {
        struct buf json = {0};
        format_json(shown, &json);
        buf_append_bytes(out, buf_bytes(&json));
        buf_deinit(&json);
    } else if (form == VALUE_TEXT) {
        buf_append_bytes(out, shown);
        if (out->size > 0 && out->data[out->size - 1] != '\n') buf_append_byte(out, '\n');
    } else if (form == VALUE_BINARY) {
        format_hex(shown, columns, out);
    }
    if (shown.size < value.size)
        buf_printf(out, "(%zu further bytes are not shown)\n", value.size - shown.size);
    return form;
}

void value_format_line(struct bytes value, struct buf *out)
{
    bool is_plain = is_printable(value) && (value.size == 0 || value.data[0] != '"');
    for (size_t i = 0; i < value.size && is_plain; i++) is_plain = value.data[i] >= 0x20;
    if (is_plain)
        buf_append_bytes(out, value);
    else
        text_go_quote(out, value);
}

bool value_parse_line(struct bytes line, struct buf *value)
{
    if (line.size == 0 || line.data[0] != '"') {
        buf_append_bytes(value, line);
        return true;
    }
    return text_go_unquote(line, value) == line.size;
}
