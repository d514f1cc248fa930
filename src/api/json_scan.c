/* Where JSON values end: a machine that takes byte by byte, as Go's encoding/json does, and fails with its
 * words. */
#include "api/json.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>

enum state {
    BEGIN_VALUE,
    BEGIN_ELEMENT, /* of an array that may be empty */
    BEGIN_KEY,
    BEGIN_FIRST_KEY, /* of an object that may be empty */
    END_VALUE,
    IN_STRING,
    IN_ESCAPE,
    IN_HEX,
    IN_WORD,
    NUMBER_SIGN,
    NUMBER_ZERO, /* no more digits before the point */
    NUMBER_DIGITS,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_E_SIGN,
    NUMBER_EXPONENT,
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static enum json_scan fail(struct json_scanner *scanner, uint8_t byte, const char *where)
{
    struct buf quoted = {0};
    /* Go takes the byte for a character of Latin-1. */
    uint8_t utf8[2] = {(uint8_t)(0xc0 | byte >> 6), (uint8_t)(0x80 | (byte & 0x3f))};
    text_go_quote(&quoted, byte < 0x80 ? bytes_of(&byte, 1) : bytes_of(utf8, 2));
    const char *inside = byte == '\'' ? "\\'" : byte == '"' ? "\"" : NULL;
    if (inside != NULL)
        snprintf(scanner->reason, sizeof(scanner->reason), "invalid character '%s' %s", inside, where);
    else
        snprintf(scanner->reason, sizeof(scanner->reason), "invalid character '%.*s' %s",
                 (int)quoted.size - 2, quoted.data + 1, where);
    buf_deinit(&quoted);
    return JSON_SCAN_ERROR;
}

static bool in_object(const struct json_scanner *scanner)
{
    unsigned top = scanner->depth - 1;
    return (scanner->objects[top / 8] >> top % 8 & 1) != 0;
}

static enum json_scan open_bracket(struct json_scanner *scanner, bool object)
{
    if (scanner->depth == JSON_DEPTH_MAX) {
        snprintf(scanner->reason, sizeof(scanner->reason), "exceeded max depth");
        return JSON_SCAN_ERROR;
    }
    unsigned top = scanner->depth++;
    uint8_t bit = (uint8_t)(1u << top % 8);
    uint8_t *byte = &scanner->objects[top / 8];
    *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
    scanner->state = object ? BEGIN_FIRST_KEY : BEGIN_ELEMENT;
    return JSON_SCAN_MORE;
}

static enum json_scan value_over(struct json_scanner *scanner)
{
    scanner->state = scanner->depth == 0 ? BEGIN_VALUE : END_VALUE;
    return scanner->depth == 0 ? JSON_SCAN_VALUE : JSON_SCAN_MORE;
}

static enum json_scan close_bracket(struct json_scanner *scanner)
{
    scanner->depth--;
    scanner->at_key = false; /* what was in an object is the value of a key */
    return value_over(scanner);
}

static enum json_scan begin_key(struct json_scanner *scanner, uint8_t byte)
{
    if (byte != '"') return fail(scanner, byte, "looking for beginning of object key string");
    scanner->at_key = true;
    scanner->state = IN_STRING;
    return JSON_SCAN_MORE;
}

static enum json_scan begin_word(struct json_scanner *scanner, const char *word)
{
    scanner->whole = word;
    scanner->word = word + 1;
    scanner->state = IN_WORD;
    return JSON_SCAN_MORE;
}

static enum json_scan begin_value(struct json_scanner *scanner, uint8_t byte)
{
    scanner->at_key = false;
    switch (byte) {
    case '{':
        return open_bracket(scanner, true);
    case '[':
        return open_bracket(scanner, false);
    case '"':
        scanner->state = IN_STRING;
        return JSON_SCAN_MORE;
    case 't':
        return begin_word(scanner, "true");
    case 'f':
        return begin_word(scanner, "false");
    case 'n':
        return begin_word(scanner, "null");
    case '-':
        scanner->state = NUMBER_SIGN;
        return JSON_SCAN_MORE;
    default:
        if (!is_digit(byte)) return fail(scanner, byte, "looking for beginning of value");
        scanner->state = byte == '0' ? NUMBER_ZERO : NUMBER_DIGITS;
        return JSON_SCAN_MORE;
    }
}

/* What stands behind a key or a value inside of brackets. */
static enum json_scan after_value(struct json_scanner *scanner, uint8_t byte)
{
    if (!in_object(scanner)) {
        if (byte == ']') return close_bracket(scanner);
        if (byte != ',') return fail(scanner, byte, "after array element");
        scanner->state = BEGIN_VALUE;
    } else if (scanner->at_key) {
        if (byte != ':') return fail(scanner, byte, "after object key");
        scanner->state = BEGIN_VALUE;
    } else {
        if (byte == '}') return close_bracket(scanner);
        if (byte != ',') return fail(scanner, byte, "after object key:value pair");
        scanner->state = BEGIN_KEY;
    }
    return JSON_SCAN_MORE;
}

static enum json_scan between(struct json_scanner *scanner, uint8_t byte)
{
    if (is_blank(byte)) return JSON_SCAN_MORE;
    switch ((enum state)scanner->state) {
    case BEGIN_ELEMENT:
        return byte == ']' ? close_bracket(scanner) : begin_value(scanner, byte);
    case BEGIN_FIRST_KEY:
        return byte == '}' ? close_bracket(scanner) : begin_key(scanner, byte);
    case BEGIN_KEY:
        return begin_key(scanner, byte);
    case BEGIN_VALUE:
        return begin_value(scanner, byte);
    default:
        return after_value(scanner, byte);
    }
}

static enum json_scan in_string(struct json_scanner *scanner, uint8_t byte)
{
    switch ((enum state)scanner->state) {
    case IN_STRING:
        if (byte == '"') return value_over(scanner);
        if (byte < ' ') return fail(scanner, byte, "in string literal");
        if (byte == '\\') scanner->state = IN_ESCAPE;
        return JSON_SCAN_MORE;
    case IN_ESCAPE:
        scanner->hex_left = 4;
        scanner->state = byte == 'u' ? IN_HEX : IN_STRING;
        if (byte != 0 && strchr("bfnrt\\/\"u", byte) != NULL) return JSON_SCAN_MORE;
        return fail(scanner, byte, "in string escape code");
    default:
        if (byte == 0 || strchr("0123456789abcdefABCDEF", byte) == NULL)
            return fail(scanner, byte, "in \\u hexadecimal character escape");
        if (--scanner->hex_left == 0) scanner->state = IN_STRING;
        return JSON_SCAN_MORE;
    }
}

static enum json_scan in_word(struct json_scanner *scanner, uint8_t byte)
{
    if (byte != (uint8_t)*scanner->word) {
        char where[64];
        snprintf(where, sizeof(where), "in literal %s (expecting '%c')", scanner->whole, *scanner->word);
        return fail(scanner, byte, where);
    }
    return *++scanner->word == '\0' ? value_over(scanner) : JSON_SCAN_MORE;
}

/* The state behind that byte of a number; END_VALUE when the number ended before it. */
static enum state number_step(enum state state, uint8_t byte)
{
    bool exponent = byte == 'e' || byte == 'E';
    switch (state) {
    case NUMBER_SIGN:
        return byte == '0' ? NUMBER_ZERO : NUMBER_DIGITS;
    case NUMBER_DIGITS:
    case NUMBER_ZERO:
        if (state == NUMBER_DIGITS && is_digit(byte)) return NUMBER_DIGITS;
        return byte == '.' ? NUMBER_POINT : exponent ? NUMBER_E : END_VALUE;
    case NUMBER_POINT:
        return NUMBER_FRACTION;
    case NUMBER_FRACTION:
        return is_digit(byte) ? NUMBER_FRACTION : exponent ? NUMBER_E : END_VALUE;
    case NUMBER_E:
        return byte == '+' || byte == '-' ? NUMBER_E_SIGN : NUMBER_EXPONENT;
    case NUMBER_E_SIGN:
        return NUMBER_EXPONENT;
    default:
        return is_digit(byte) ? NUMBER_EXPONENT : END_VALUE;
    }
}

/* Where a digit must follow, what Go says when none does; NULL elsewhere. */
static const char *digit_wanted(enum state state)
{
    switch (state) {
    case NUMBER_SIGN:
        return "in numeric literal";
    case NUMBER_POINT:
        return "after decimal point in numeric literal";
    case NUMBER_E:
    case NUMBER_E_SIGN:
        return "in exponent of numeric literal";
    default:
        return NULL;
    }
}

static enum json_scan in_number(struct json_scanner *scanner, uint8_t byte, bool *taken)
{
    enum state state = (enum state)scanner->state;
    bool is_sign = state == NUMBER_E && (byte == '+' || byte == '-');
    if (digit_wanted(state) != NULL && !is_digit(byte) && !is_sign)
        return fail(scanner, byte, digit_wanted(state));
    scanner->state = (uint8_t)number_step(state, byte);
    if (scanner->state != END_VALUE) return JSON_SCAN_MORE;
    *taken = false;
    return value_over(scanner);
}

enum json_scan json_scan(struct json_scanner *scanner, struct bytes text, size_t *used)
{
    enum json_scan result = JSON_SCAN_MORE;
    size_t at = 0;
    while (at < text.size && result == JSON_SCAN_MORE) {
        bool taken = true;
        if (scanner->state <= END_VALUE)
            result = between(scanner, text.data[at]);
        else if (scanner->state <= IN_HEX)
            result = in_string(scanner, text.data[at]);
        else if (scanner->state == IN_WORD)
            result = in_word(scanner, text.data[at]);
        else
            result = in_number(scanner, text.data[at], &taken);
        if (taken) at++;
    }
    *used = at;
    return result;
}

enum json_scan json_scan_end(struct json_scanner *scanner)
{
    enum state state = (enum state)scanner->state;
    if (scanner->depth == 0 && state == BEGIN_VALUE) return JSON_SCAN_MORE;
    if (scanner->depth == 0 && state > IN_WORD && digit_wanted(state) == NULL) return value_over(scanner);
    snprintf(scanner->reason, sizeof(scanner->reason), "unexpected EOF");
    return JSON_SCAN_ERROR;
}
