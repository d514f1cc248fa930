#include "cluster/json_reader.h"

static bool fail(struct json_reader *reader)
{
    reader->failed = true;
    reader->rest = BYTES_EMPTY;
    return false;
}

static void advance(struct json_reader *reader, size_t size)
{
    reader->rest.data += size;
    reader->rest.size -= size;
}

/* The next byte that is not white space; 0 at the end. */
static char peek(struct json_reader *reader)
{
    while (reader->rest.size > 0) {
        char c = (char)reader->rest.data[0];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return c;
        advance(reader, 1);
    }
    return 0;
}

static bool take(struct json_reader *reader, char c)
{
    if (peek(reader) != c) return false;
    advance(reader, 1);
    return true;
}

static bool take_word(struct json_reader *reader, struct bytes word)
{
    peek(reader);
    if (!bytes_starts_with(reader->rest, word)) return false;
    advance(reader, word.size);
    return true;
}

static bool take_null(struct json_reader *reader)
{
    return take_word(reader, BYTES_LITERAL("null"));
}

bool json_enter(struct json_reader *reader, char open)
{
    if (take_null(reader)) return false;
    if (reader->depth == JSON_DEPTH_MAX || !take(reader, open)) return fail(reader);
    reader->depth++;
    reader->first = true;
    return true;
}

/* True when another element follows. */
static bool next_element(struct json_reader *reader, char close)
{
    if (reader->failed) return false;
    bool first = reader->first;
    reader->first = false;
    if (take(reader, close)) {
        reader->depth--;
        return false;
    }
    return first || take(reader, ',') || fail(reader);
}

bool json_next_key(struct json_reader *reader, struct buf *key)
{
    if (!next_element(reader, '}')) return false;
    buf_clear(key);
    return (peek(reader) == '"' && json_read_string(reader, key) && take(reader, ':')) || fail(reader);
}

bool json_next_item(struct json_reader *reader)
{
    return next_element(reader, ']');
}

/* ---- strings ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hex digits after \u. */
static bool read_unit(struct json_reader *reader, uint32_t *unit)
{
    if (reader->rest.size < 4) return false;
    *unit = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(reader->rest.data[i]);
        if (digit < 0) return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    advance(reader, 4);
    return true;
}

static void append_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(out, (uint8_t)c);
        return;
    }
    unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    buf_append_byte(out, (uint8_t)(lead[more] | c >> (6 * more)));
    while (more-- > 0) buf_append_byte(out, (uint8_t)(0x80 | (c >> (6 * more) & 0x3f)));
}

static bool read_unicode(struct json_reader *reader, struct buf *value)
{
    uint32_t high, low;
    if (!read_unit(reader, &high)) return false;
    if (high >= 0xd800 && high < 0xdc00 && bytes_starts_with(reader->rest, BYTES_LITERAL("\\u"))) {
        struct json_reader ahead = *reader;
        advance(&ahead, 2);
        if (read_unit(&ahead, &low) && low >= 0xdc00 && low < 0xe000) {
            *reader = ahead;
            append_utf8(value, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            return true;
        }
    }
    bool lonely = high >= 0xd800 && high < 0xe000;
    append_utf8(value, lonely ? 0xfffd : high);
    return true;
}

static bool read_escape(struct json_reader *reader, struct buf *value)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->rest.size == 0) return false;
    char c = (char)reader->rest.data[0];
    advance(reader, 1);
    if (c == 'u') return read_unicode(reader, value);
    const char *found = c == 0 ? NULL : strchr(names, c);
    if (found == NULL) return false;
    buf_append_byte(value, (uint8_t)meanings[found - names]);
    return true;
}

bool json_read_string(struct json_reader *reader, struct buf *value)
{
    if (take_null(reader)) return false;
    if (!take(reader, '"')) return fail(reader);
    buf_clear(value);
    while (reader->rest.size > 0) {
        uint8_t c = reader->rest.data[0];
        advance(reader, 1);
        if (c == '"') return true;
        if (c < 0x20) break;
        if (c != '\\')
            buf_append_byte(value, c);
        else if (!read_escape(reader, value))
            break;
    }
    return fail(reader);
}

/* ---- the rest ---- */

bool json_read_uint64(struct json_reader *reader, uint64_t *value)
{
    if (take_null(reader)) return false;
    char c = peek(reader);
    if (c < '0' || c > '9') return fail(reader);
    uint64_t number = 0;
    while (reader->rest.size > 0 && reader->rest.data[0] >= '0' && reader->rest.data[0] <= '9') {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(reader->rest.data[0] - '0'), &number))
            return fail(reader);
        advance(reader, 1);
    }
    *value = number;
    return true;
}

bool json_read_int64(struct json_reader *reader, int64_t *value)
{
    uint64_t number;
    bool is_negative = peek(reader) == '-';
    if (is_negative) {
        advance(reader, 1);
        char digit = reader->rest.size > 0 ? (char)reader->rest.data[0] : '\0';
        if (digit < '0' || digit > '9') return fail(reader);
    }
    if (!json_read_uint64(reader, &number)) return false;
    if (number > (uint64_t)INT64_MAX) return fail(reader);
    *value = is_negative ? -(int64_t)number : (int64_t)number;
    return true;
}

bool json_read_bool(struct json_reader *reader, bool *value)
{
    if (take_null(reader)) return false;
    if (take_word(reader, BYTES_LITERAL("true")))
        *value = true;
    else if (take_word(reader, BYTES_LITERAL("false")))
        *value = false;
    else
        return fail(reader);
    return true;
}

static void skip_number(struct json_reader *reader)
{
    size_t size = 0;
    while (size < reader->rest.size && memchr("+-.0123456789eE", reader->rest.data[size], 15) != NULL) size++;
    if (size == 0)
        fail(reader);
    else
        advance(reader, size);
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
void json_skip(struct json_reader *reader)
{
    struct buf text = {0};
    bool ignored;
    switch (peek(reader)) {
    case '{':
        json_enter(reader, '{');
        while (json_next_key(reader, &text)) json_skip(reader);
        break;
    case '[':
        json_enter(reader, '[');
        while (json_next_item(reader)) json_skip(reader);
        break;
    case '"':
        json_read_string(reader, &text);
        break;
    case 't':
    case 'f':
    case 'n':
        json_read_bool(reader, &ignored);
        break;
    default:
        skip_number(reader);
    }
    buf_deinit(&text);
}

bool json_at_end(struct json_reader *reader)
{
    return !reader->failed && peek(reader) == 0 && reader->rest.size == 0;
}
