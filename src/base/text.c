#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <time.h>

static const char hex_digits[] = "0123456789abcdef";

enum { REPLACEMENT_CHARACTER = 0xfffd, LARGEST_CODE_POINT = 0x10ffff };

/* The escapes that Go writes and reads as a backslash and one letter. */
static const struct {
    char letter;
    char value;
} letter_escapes[] = {
    {'a', '\a'}, {'b', '\b'}, {'f', '\f'},  {'n', '\n'}, {'r', '\r'},
    {'t', '\t'}, {'v', '\v'}, {'\\', '\\'}, {'"', '"'},
};

enum { LETTER_ESCAPES = sizeof(letter_escapes) / sizeof(letter_escapes[0]) };

static struct bytes bytes_from(struct bytes bytes, size_t start)
{
    return start == bytes.size ? BYTES_EMPTY : bytes_of(bytes.data + start, bytes.size - start);
}

/* --- UTF-8 --- */

static bool is_surrogate(uint32_t code_point)
{
    return code_point >= 0xd800 && code_point <= 0xdfff;
}

size_t text_utf8_decode(struct bytes text, uint32_t *code_point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800,
                                        0x10000}; /* by length: anything below is overlong */
    if (text.size == 0) return 0;
    uint8_t first = text.data[0];
    if (first < 0x80) {
        *code_point = first;
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size < length) return 0;
    uint32_t value = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text.data[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (text.data[i] & 0x3fu);
    }
    if (value < smallest[length] || value > LARGEST_CODE_POINT || is_surrogate(value)) return 0;
    *code_point = value;
    return length;
}

bool text_is_utf8(struct bytes text)
{
    uint32_t code_point;
    for (size_t at = 0, length; at < text.size; at += length) {
        length = text_utf8_decode(bytes_from(text, at), &code_point);
        if (length == 0) return false;
    }
    return true;
}

static void append_code_point(struct buf *out, uint32_t code_point)
{
    assert(code_point <= LARGEST_CODE_POINT && !is_surrogate(code_point));
    if (code_point < 0x80) {
        buf_append_byte(out, (uint8_t)code_point);
        return;
    }
    static const uint32_t leads[] = {0, 0xc0, 0xe0, 0xf0}; /* by the number of continuation bytes */
    int continuation = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
    buf_append_byte(out, (uint8_t)(leads[continuation] | code_point >> (6 * continuation)));
    while (continuation-- > 0)
        buf_append_byte(out, (uint8_t)(0x80 | (code_point >> (6 * continuation) & 0x3f)));
}

/* --- Go's %q --- */

/* Go's strconv.IsPrint asks a table of every assigned letter, mark, number, punctuation mark and symbol. This
 * is the complement in short: controls, spaces other than U+0020, soft hyphen, format characters (zero width,
 * bidi, tags), surrogates, private use, non-characters and the planes with nothing in them. The difference:
 * code points inside the used planes that Unicode has not assigned yet are kept as they are here and escaped
 * by Go. They do not occur in real text, and which ones they are changes with every Go release. */
static const struct {
    uint32_t first;
    uint32_t last;
} unprintable[] = {
    {0x0000, 0x001f},    {0x007f, 0x00a0},   {0x00ad, 0x00ad},   {0x0600, 0x0605},   {0x061c, 0x061c},
    {0x06dd, 0x06dd},    {0x070f, 0x070f},   {0x0890, 0x0891},   {0x08e2, 0x08e2},   {0x1680, 0x1680},
    {0x180e, 0x180e},    {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},
    {0xd800, 0xf8ff},    {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd},  {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0x40000, 0xe00ff},
    {0xe01f0, 0x10ffff},
};

static bool is_printable(uint32_t code_point)
{
    if (code_point < 0x7f) return code_point >= 0x20;
    if ((code_point & 0xfffe) == 0xfffe) return false; /* the last two of every plane are non-characters */
    for (size_t i = 0; i < sizeof(unprintable) / sizeof(unprintable[0]); i++) {
        if (code_point <= unprintable[i].last) return code_point < unprintable[i].first;
    }
    return false;
}

static void append_hex_escape(struct buf *out, uint8_t byte)
{
    const uint8_t text[] = {'\\', 'x', (uint8_t)hex_digits[byte >> 4], (uint8_t)hex_digits[byte & 15]};
    buf_append(out, text, sizeof(text));
}

/* One character that has the UTF-8 form `encoded`. */
static void append_go_character(struct buf *out, uint32_t code_point, struct bytes encoded)
{
    for (size_t i = 0; i < LETTER_ESCAPES; i++) {
        if (code_point == (uint8_t)letter_escapes[i].value) {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (uint8_t)letter_escapes[i].letter);
            return;
        }
    }
    if (is_printable(code_point))
        buf_append_bytes(out, encoded);
    else if (code_point < 0x80)
        append_hex_escape(out, (uint8_t)code_point);
    else
        buf_printf(out, code_point < 0x10000 ? "\\u%04" PRIx32 : "\\U%08" PRIx32, code_point);
}

void text_go_quote(struct buf *out, struct bytes bytes)
{
    buf_append_byte(out, '"');
    for (size_t at = 0; at < bytes.size;) {
        uint32_t code_point;
        size_t length = text_utf8_decode(bytes_from(bytes, at), &code_point);
        if (length == 0) {
            append_hex_escape(out, bytes.data[at++]);
            continue;
        }
        append_go_character(out, code_point, bytes_of(bytes.data + at, length));
        at += length;
    }
    buf_append_byte(out, '"');
}

/* --- JSON strings --- */

static bool json_needs_escape(uint32_t code_point, bool go_html)
{
    if (code_point < 0x20 || code_point == '"' || code_point == '\\') return true;
    if (!go_html) return false;
    return code_point == '<' || code_point == '>' || code_point == '&' || code_point == 0x2028 ||
           code_point == 0x2029;
}

/* encoding/json has short forms for backspace and form feed, zap does not. */
static void append_json_escape(struct buf *out, uint32_t code_point, bool go_html)
{
    char letter = 0;
    switch (code_point) {
    case '"':
    case '\\':
        letter = (char)code_point;
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    case '\b':
        letter = go_html ? 'b' : 0;
        break;
    case '\f':
        letter = go_html ? 'f' : 0;
        break;
    default:
        break;
    }
    if (letter == 0) {
        buf_printf(out, "\\u%04" PRIx32, code_point);
        return;
    }
    buf_append_byte(out, '\\');
    buf_append_byte(out, (uint8_t)letter);
}

void text_json_quote(struct buf *out, struct bytes bytes, bool go_html)
{
    size_t copied = 0; /* what lies between here and `at` needs no escape and is appended in one go */
    buf_append_byte(out, '"');
    for (size_t at = 0; at < bytes.size;) {
        uint32_t code_point = REPLACEMENT_CHARACTER;
        size_t length = text_utf8_decode(bytes_from(bytes, at), &code_point);
        if (length > 0 && !json_needs_escape(code_point, go_html)) {
            at += length;
            continue;
        }
        if (at > copied) buf_append(out, bytes.data + copied, at - copied);
        append_json_escape(out, code_point, go_html);
        at += length > 0 ? length : 1;
        copied = at;
    }
    if (bytes.size > copied) buf_append(out, bytes.data + copied, bytes.size - copied);
    buf_append_byte(out, '"');
}

/* --- Go string literals --- */

/* The value of a digit in bases up to 36, or 255. */
static unsigned digit_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') return byte - (unsigned)'0';
    uint8_t lower = byte | 0x20;
    if (lower >= 'a' && lower <= 'z') return lower - (unsigned)'a' + 10;
    return 255;
}

/* Exactly `count` digits at *at, which moves behind them. */
static bool read_digits(struct bytes text, size_t *at, size_t count, unsigned base, uint32_t *value)
{
    if (text.size - *at < count) return false;
    *value = 0;
    for (size_t end = *at + count; *at < end; ++*at) {
        unsigned digit = digit_value(text.data[*at]);
        if (digit >= base) return false;
        *value = *value * base + digit;
    }
    return true;
}

/* What follows a backslash in "...". \x and octal make one byte, \u and \U one character. */
static bool unescape(struct bytes text, size_t *at, struct buf *out)
{
    if (*at == text.size) return false;
    uint8_t letter = text.data[(*at)++];
    for (size_t i = 0; i < LETTER_ESCAPES; i++) {
        if (letter == (uint8_t)letter_escapes[i].letter) {
            buf_append_byte(out, (uint8_t)letter_escapes[i].value);
            return true;
        }
    }
    uint32_t value;
    if (letter == 'u' || letter == 'U') {
        if (!read_digits(text, at, letter == 'u' ? 4 : 8, 16, &value)) return false;
        if (value > LARGEST_CODE_POINT || is_surrogate(value)) return false;
        append_code_point(out, value);
        return true;
    }
    if (letter == 'x') {
        if (!read_digits(text, at, 2, 16, &value)) return false;
    } else {
        --*at; /* octal: the letter is the first of three digits */
        if (!read_digits(text, at, 3, 8, &value) || value > UINT8_MAX) return false;
    }
    buf_append_byte(out, (uint8_t)value);
    return true;
}

static size_t unquote_interpreted(struct bytes text, struct buf *out)
{
    for (size_t at = 1; at < text.size;) {
        uint8_t byte = text.data[at];
        if (byte == '"') return at + 1;
        if (byte == '\n') return 0;
        if (byte == '\\') {
            at++;
            if (!unescape(text, &at, out)) return 0;
            continue;
        }
        uint32_t code_point = REPLACEMENT_CHARACTER; /* as Go, for a byte that is not UTF-8 */
        size_t length = text_utf8_decode(bytes_from(text, at), &code_point);
        append_code_point(out, code_point);
        at += length > 0 ? length : 1;
    }
    return 0;
}

static size_t unquote_raw(struct bytes text, struct buf *out)
{
    for (size_t at = 1; at < text.size; at++) {
        if (text.data[at] == '`') return at + 1;
        if (text.data[at] != '\r')
            buf_append_byte(out, text.data[at]); /* the language drops carriage returns */
    }
    return 0;
}

size_t text_go_unquote(struct bytes text, struct buf *out)
{
    size_t before = out->size;
    size_t length = 0;
    if (text.size > 0 && text.data[0] == '"') length = unquote_interpreted(text, out);
    if (text.size > 0 && text.data[0] == '`') length = unquote_raw(text, out);
    if (length == 0) out->size = before;
    return length;
}

/* --- Go durations --- */

#define NANOSECOND  UINT64_C(1)
#define MICROSECOND (1000 * NANOSECOND)
#define MILLISECOND (1000 * MICROSECOND)
#define SECOND      (1000 * MILLISECOND)
#define MINUTE      (60 * SECOND)
#define HOUR        (60 * MINUTE)

/* The magnitude of the smallest int64, one more than the largest. */
#define INT64_LIMIT (UINT64_C(1) << 63)

static const struct {
    const char *name;
    uint64_t nanoseconds;
} duration_units[] = {
    {"ns", NANOSECOND},
    {"us", MICROSECOND},
    {"\u00b5s", MICROSECOND}, /* micro sign */
    {"\u03bcs", MICROSECOND}, /* Greek letter mu */
    {"ms", MILLISECOND},
    {"s", SECOND},
    {"m", MINUTE},
    {"h", HOUR},
};

/* value / unit, a power of ten, as a decimal fraction without trailing zeros. */
static void append_decimal(struct buf *out, uint64_t value, uint64_t unit)
{
    buf_printf(out, "%" PRIu64, value / unit);
    uint64_t rest = value % unit;
    if (rest > 0) buf_append_byte(out, '.');
    for (; rest > 0; rest %= unit) {
        unit /= 10;
        buf_append_byte(out, (uint8_t)('0' + rest / unit));
    }
}

void text_go_duration(struct buf *out, int64_t nanoseconds)
{
    uint64_t magnitude = nanoseconds < 0 ? -(uint64_t)nanoseconds : (uint64_t)nanoseconds;
    if (nanoseconds < 0) buf_append_byte(out, '-');
    if (magnitude == 0) {
        buf_append_string(out, "0s");
    } else if (magnitude < MICROSECOND) {
        append_decimal(out, magnitude, NANOSECOND);
        buf_append_string(out, "ns");
    } else if (magnitude < MILLISECOND) {
        append_decimal(out, magnitude, MICROSECOND);
        buf_append_string(out, "\u00b5s");
    } else if (magnitude < SECOND) {
        append_decimal(out, magnitude, MILLISECOND);
        buf_append_string(out, "ms");
    } else {
        if (magnitude >= HOUR) buf_printf(out, "%" PRIu64 "h", magnitude / HOUR);
        if (magnitude >= MINUTE) buf_printf(out, "%" PRIu64 "m", magnitude % HOUR / MINUTE);
        append_decimal(out, magnitude % MINUTE, SECOND);
        buf_append_byte(out, 's');
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Go's package time quotes more simply than strconv: every byte outside ASCII and every control byte is \xNN.
 */
static void append_time_quoted(struct buf *out, const char *text, size_t size)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte < 0x20 || byte >= 0x80) {
            append_hex_escape(out, byte);
            continue;
        }
        if (byte == '"' || byte == '\\') buf_append_byte(out, '\\');
        buf_append_byte(out, byte);
    }
    buf_append_byte(out, '"');
}

/* Always false, for the caller to return. `unit` is NULL where Go names none. */
static bool duration_fails(struct buf *reason, const char *what, const char *unit, size_t unit_size,
                           const char *text)
{
    if (reason == NULL) return false;
    buf_printf(reason, "time: %s ", what);
    if (unit != NULL) {
        append_time_quoted(reason, unit, unit_size);
        buf_append_string(reason, " in duration ");
    }
    append_time_quoted(reason, text, strlen(text));
    return false;
}

/* Digits before the point; false when they exceed INT64_LIMIT. */
static bool read_whole(const char **at, uint64_t *whole)
{
    *whole = 0;
    for (; is_digit(**at); ++*at) {
        if (*whole > INT64_LIMIT / 10) return false;
        *whole = *whole * 10 + (uint64_t)(**at - '0');
        if (*whole > INT64_LIMIT) return false;
    }
    return true;
}

/* Digits behind the point as fraction / scale. Digits beyond what an int64 holds are dropped, as in Go. */
static void read_fraction(const char **at, uint64_t *fraction, double *scale)
{
    bool full = false;
    *fraction = 0;
    *scale = 1;
    for (; is_digit(**at); ++*at) {
        uint64_t next = *fraction * 10 + (uint64_t)(**at - '0');
        full = full || *fraction > (INT64_LIMIT - 1) / 10 || next > INT64_LIMIT;
        if (full) continue;
        *fraction = next;
        *scale *= 10;
    }
}

/* Nanoseconds of one unit, 0 when there is no such unit. */
static uint64_t find_duration_unit(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof(duration_units) / sizeof(duration_units[0]); i++) {
        if (bytes_equal(bytes_from_string(duration_units[i].name), bytes_of(name, size)))
            return duration_units[i].nanoseconds;
    }
    return 0;
}

/* One number with its unit, such as "1.5h", at *at; its nanoseconds, at most INT64_LIMIT. */
static bool read_duration_term(const char **at, uint64_t *nanoseconds, const char *text, struct buf *reason)
{
    uint64_t whole, fraction = 0;
    double scale = 1;
    const char *start = *at;
    if (!read_whole(at, &whole)) return duration_fails(reason, "invalid duration", NULL, 0, text);
    bool digits = *at > start;
    if (**at == '.') {
        start = ++*at;
        read_fraction(at, &fraction, &scale);
        digits = digits || *at > start;
    }
    if (!digits) return duration_fails(reason, "invalid duration", NULL, 0, text);

    const char *name = *at;
    while (**at != 0 && **at != '.' && !is_digit(**at)) ++*at;
    size_t name_size = (size_t)(*at - name);
    if (name_size == 0) return duration_fails(reason, "missing unit in duration", NULL, 0, text);
    uint64_t unit = find_duration_unit(name, name_size);
    if (unit == 0) return duration_fails(reason, "unknown unit", name, name_size, text);

    if (whole > INT64_LIMIT / unit) return duration_fails(reason, "invalid duration", NULL, 0, text);
    /* In floating point and in this order because Go does so: the last nanosecond must come out the same. */
    *nanoseconds = whole * unit + (uint64_t)((double)fraction * ((double)unit / scale));
    if (*nanoseconds > INT64_LIMIT) return duration_fails(reason, "invalid duration", NULL, 0, text);
    return true;
}

bool text_parse_go_duration(const char *text, int64_t *nanoseconds, struct buf *reason)
{
    const char *at = text;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+') at++;
    if (strcmp(at, "0") == 0) { /* the only number that needs no unit */
        *nanoseconds = 0;
        return true;
    }
    if (*at == 0) return duration_fails(reason, "invalid duration", NULL, 0, text);

    uint64_t sum = 0;
    while (*at != 0) {
        uint64_t term = 0;
        if (!read_duration_term(&at, &term, text, reason)) return false;
        if (term > INT64_LIMIT - sum) return duration_fails(reason, "invalid duration", NULL, 0, text);
        sum += term;
    }
    if (sum == INT64_LIMIT && !negative) return duration_fails(reason, "invalid duration", NULL, 0, text);
    *nanoseconds = (int64_t)(negative ? -sum : sum);
    return true;
}

void text_local_time(struct buf *out, int64_t wall_nanoseconds)
{
    time_t seconds = (time_t)(wall_nanoseconds / (int64_t)SECOND);
    struct tm local;
    char text[64], zone[16];
    localtime_r(&seconds, &local);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &local);
    strftime(zone, sizeof(zone), "%z", &local);
    buf_printf(out, "%s.%06d%s", text, (int)(wall_nanoseconds % (int64_t)SECOND / 1000),
               local.tm_gmtoff == 0 ? "Z" : zone);
}

/* --- sizes --- */

/* No %f: its decimal point follows the locale that the curses programs set. go-humanize finds the exponent
 * with logarithms, whose rounding makes 1.0 PB of the last few bytes below it; here they are 1000 TB. */
void text_humanize_bytes(struct buf *out, uint64_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    if (size < 10) {
        buf_printf(out, "%" PRIu64 " B", size);
        return;
    }
    size_t exponent = 0;
    double scale = 1;
    for (; (double)size >= scale * 1000; scale *= 1000) exponent++;
    assert(exponent < sizeof(units) / sizeof(units[0])); /* 2^64 is 18 EB */
    uint64_t tenths = (uint64_t)((double)size / scale * 10 + 0.5);
    uint64_t whole = tenths / 10, rest = tenths % 10;
    if (tenths < 100) {
        buf_printf(out, "%" PRIu64 ".%" PRIu64 " %s", whole, rest, units[exponent]);
        return;
    }
    bool up = rest > 5 || (rest == 5 && whole % 2 == 1); /* half to even, as %.0f */
    buf_printf(out, "%" PRIu64 " %s", whole + up, units[exponent]);
}

/* --- hexadecimal and base64 --- */

void text_hex(struct buf *out, struct bytes bytes)
{
    uint8_t *at = buf_reserve(out, bytes.size * 2);
    for (size_t i = 0; i < bytes.size; i++) {
        *at++ = (uint8_t)hex_digits[bytes.data[i] >> 4];
        *at++ = (uint8_t)hex_digits[bytes.data[i] & 15];
    }
    out->size += bytes.size * 2;
}

void text_base64(struct buf *out, struct bytes bytes)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = (bytes.size + 2) / 3 * 4;
    uint8_t *at = buf_reserve(out, size);
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t present = bytes.size - i < 3 ? bytes.size - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++) group = group << 8 | (k < present ? bytes.data[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *at++ = k <= present ? (uint8_t)alphabet[group >> (18 - 6 * k) & 63] : '=';
    }
    out->size += size;
}

/* The value of a digit of either alphabet, or 255. */
static uint8_t base64_value(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z') return (uint8_t)(byte - 'A');
    if (byte >= 'a' && byte <= 'z') return (uint8_t)(byte - 'a' + 26);
    if (byte >= '0' && byte <= '9') return (uint8_t)(byte - '0' + 52);
    if (byte == '+' || byte == '-') return 62;
    if (byte == '/' || byte == '_') return 63;
    return 255;
}

bool text_parse_base64(struct bytes text, struct buf *out)
{
    size_t digits = text.size;
    while (digits > 0 && text.data[digits - 1] == '=') digits--;
    size_t padding = text.size - digits;
    if (digits % 4 == 1 || (padding > 0 && padding != (4 - digits % 4) % 4)) return false;

    size_t before = out->size;
    uint32_t pending = 0; /* bits not written yet are its lowest `bits` */
    unsigned bits = 0;
    for (size_t i = 0; i < digits; i++) {
        uint8_t value = base64_value(text.data[i]);
        if (value > 63) {
            out->size = before;
            return false;
        }
        pending = pending << 6 | value;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        buf_append_byte(out, (uint8_t)(pending >> bits));
    }
    return true;
}

/* --- Go's strconv --- */

enum parse_result { PARSE_OK, PARSE_SYNTAX, PARSE_RANGE };

/* True when `result` is success; otherwise `reason` gets the text of Go's NumError. */
static bool parse_ends(enum parse_result result, const char *function, const char *text, struct buf *reason)
{
    if (result == PARSE_OK) return true;
    if (reason == NULL) return false;
    buf_printf(reason, "strconv.%s: parsing ", function);
    text_go_quote(reason, bytes_from_string(text));
    buf_append_string(reason, result == PARSE_RANGE ? ": value out of range" : ": invalid syntax");
    return false;
}

/* The base that a literal's prefix asks for; *digits moves behind the prefix. A lone "0x" is no prefix, as in
 * Go. */
static unsigned prefix_base(const char **digits)
{
    const char *text = *digits;
    if (text[0] != '0') return 10;
    unsigned base = 8;
    size_t prefix = 1;
    if (text[1] != 0 && text[2] != 0) {
        char letter = (char)(text[1] | 0x20);
        base = letter == 'b' ? 2 : letter == 'x' ? 16 : 8;
        prefix = letter == 'b' || letter == 'o' || letter == 'x' ? 2 : 1;
    }
    *digits += prefix;
    return base;
}

/* An unsigned number without sign. Underscores, in base 0 only, must stand between digits or behind the
 * prefix. */
static enum parse_result parse_magnitude(const char *text, int base, uint64_t *value)
{
    assert(base == 0 || (base >= 2 && base <= 36));
    if (*text == 0) return PARSE_SYNTAX;
    const char *at = text;
    unsigned radix = base == 0 ? prefix_base(&at) : (unsigned)base;
    char before = at > text ? '0' : 0; /* a prefix counts as a digit */
    bool underscores_fit = true;
    uint64_t sum = 0;
    for (; *at != 0; before = *at++) {
        if (*at == '_' && base == 0) {
            underscores_fit = underscores_fit && before != 0 && before != '_';
            continue;
        }
        unsigned digit = digit_value((uint8_t)*at);
        if (digit >= radix) return PARSE_SYNTAX;
        /* Go stops here without a look at what follows, so a range error wins over a later syntax error. */
        if (__builtin_mul_overflow(sum, radix, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return PARSE_RANGE;
    }
    if (!underscores_fit || before == '_') return PARSE_SYNTAX;
    *value = sum;
    return PARSE_OK;
}

bool text_parse_int64(const char *text, int base, int64_t *value, struct buf *reason)
{
    bool negative = *text == '-';
    uint64_t magnitude = 0;
    enum parse_result result =
        parse_magnitude(*text == '-' || *text == '+' ? text + 1 : text, base, &magnitude);
    uint64_t limit = negative ? INT64_LIMIT : INT64_LIMIT - 1;
    if (result == PARSE_OK && magnitude > limit) result = PARSE_RANGE;
    if (result == PARSE_OK) *value = (int64_t)(negative ? -magnitude : magnitude);
    return parse_ends(result, "ParseInt", text, reason);
}

bool text_parse_uint64(const char *text, int base, uint64_t *value, struct buf *reason)
{
    return parse_ends(parse_magnitude(text, base, value), "ParseUint", text, reason);
}

bool text_parse_bool(const char *text, bool *value, struct buf *reason)
{
    static const char *const words[][2] = {
        {"0", "1"}, {"f", "t"}, {"F", "T"}, {"false", "true"}, {"FALSE", "TRUE"}, {"False", "True"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (size_t truth = 0; truth < 2; truth++) {
            if (strcmp(text, words[i][truth]) != 0) continue;
            *value = truth == 1;
            return true;
        }
    }
    return parse_ends(PARSE_SYNTAX, "ParseBool", text, reason);
}
