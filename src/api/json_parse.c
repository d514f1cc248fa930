/* JSON text to messages, without a tree in between: the text has been scanned, so that it is known to be
 * JSON, and is then read once along the descriptor. */
#include "api/json.h"
#include "api/json_internal.h"
#include "api/message.h"
#include "base/text.h"

#include <assert.h>

struct parse {
    struct bytes text; /* one value, without blanks in front */
    size_t at;
    struct arena *arena;
    size_t fields;       /* so many have come */
    struct error *error; /* the first one */
};

/* A name, a bracket, a scalar: as it stands in the text. */
struct token {
    size_t at;
    struct bytes raw;
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* ---- errors ---- */

/* Takes the text from `what`. */
static bool fail_with(struct parse *parse, struct buf *what)
{
    if (parse->error == NULL) parse->error = error_new(ERROR_INVALID, "%s", buf_string(what));
    buf_deinit(what);
    return false;
}

/* "(line 1:15): ", counted as Go does: columns are characters. */
static void append_position(struct buf *out, const struct parse *parse, size_t at)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        if (parse->text.data[i] == '\n') {
            line++;
            column = 1;
        } else if ((parse->text.data[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    buf_printf(out, "(line %zu:%zu): ", line, column);
}

static bool syntax_error(struct parse *parse, const struct token *token, const char *what, struct bytes shown)
{
    struct buf text = {0};
    buf_append_string(&text, "proto: syntax error ");
    append_position(&text, parse, token->at);
    buf_append_string(&text, what);
    buf_append_bytes(&text, shown);
    return fail_with(parse, &text);
}

static bool unexpected(struct parse *parse, const struct token *token)
{
    return syntax_error(parse, token, "unexpected token ", token->raw);
}

/* Go's name of a field in errors: range_end is rangeEnd. */
static void append_json_name(struct buf *out, const char *name)
{
    for (; *name != 0; name++) {
        bool raise = *name == '_' && name[1] != 0;
        if (raise) name++;
        buf_append_byte(out, (uint8_t)(raise && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name));
    }
}

static const char *kind_name(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return "bool";
    case PROTOBUF_C_TYPE_ENUM:
        return "enum";
    case PROTOBUF_C_TYPE_STRING:
        return "string";
    case PROTOBUF_C_TYPE_BYTES:
        return "bytes";
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return "int64";
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return "uint64";
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return "uint32";
    case PROTOBUF_C_TYPE_FLOAT:
        return "float";
    case PROTOBUF_C_TYPE_DOUBLE:
        return "double";
    default:
        return "int32";
    }
}

static bool bad_value(struct parse *parse, const ProtobufCFieldDescriptor *field, const struct token *token)
{
    struct buf text = {0};
    buf_append_string(&text, "proto: ");
    append_position(&text, parse, token->at);
    buf_printf(&text, "invalid value for %s field ", kind_name(field));
    append_json_name(&text, field->name);
    buf_append_string(&text, ": ");
    buf_append_bytes(&text, token->raw);
    return fail_with(parse, &text);
}

static bool count_field(struct parse *parse)
{
    if (++parse->fields <= MESSAGE_REQUEST_FIELDS_MAX) return true;
    struct buf text = {0};
    buf_printf(&text, "proto: more than %d fields in one request", (int)MESSAGE_REQUEST_FIELDS_MAX);
    return fail_with(parse, &text);
}

/* ---- tokens ---- */

static uint8_t peek(struct parse *parse)
{
    while (is_blank(parse->text.data[parse->at])) parse->at++;
    return parse->text.data[parse->at];
}

/* The text is known to be JSON: nothing ends early. Colons and commas are tokens. */
static struct token next_token(struct parse *parse)
{
    uint8_t first = peek(parse);
    size_t begin = parse->at, end = begin + 1;
    const uint8_t *text = parse->text.data;
    if (first == '"') {
        for (; text[end] != '"'; end++)
            if (text[end] == '\\') end++;
        end++;
    } else if (strchr("{}[],:", first) == NULL) {
        while (end < parse->text.size && !is_blank(text[end]) && strchr("}],", text[end]) == NULL) end++;
    }
    parse->at = end;
    return (struct token){.at = begin, .raw = bytes_of(text + begin, end - begin)};
}

static void skip_value(struct parse *parse)
{
    size_t depth = 0;
    do {
        uint8_t first = next_token(parse).raw.data[0];
        if (first == '{' || first == '[') depth++;
        if (first == '}' || first == ']') depth--;
    } while (depth > 0);
}

/* ---- strings ---- */

static void append_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_byte(out, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        buf_append_byte(out, (uint8_t)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            buf_append_byte(out, (uint8_t)(0xe0 | c >> 12));
        } else {
            buf_append_byte(out, (uint8_t)(0xf0 | c >> 18));
            buf_append_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        }
        buf_append_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    }
    buf_append_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
}

static bool is_hex4(const uint8_t *digits)
{
    for (int i = 0; i < 4; i++)
        if (digits[i] == 0 || strchr("0123456789abcdefABCDEF", digits[i]) == NULL) return false;
    return true;
}

static uint32_t hex4(const uint8_t *digits)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = digits[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static bool is_surrogate(uint32_t c)
{
    return c >= 0xd800 && c <= 0xdfff;
}

/* The second half of a pair, which must stand at the beginning of `in`; 0 when it does not. */
static uint32_t join_pair(uint32_t high, struct bytes in)
{
    if (high > 0xdbff || in.data[0] != '\\' || in.data[1] != 'u' || !is_hex4(in.data + 2)) return 0;
    uint32_t low = hex4(in.data + 2);
    if (low < 0xdc00 || low > 0xdfff) return 0;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static bool bad_escape(struct parse *parse, const struct token *token, struct bytes escape)
{
    struct buf text = {0}, quoted = {0};
    text_go_quote(&quoted, escape);
    buf_append_string(&text, "invalid escape code ");
    buf_append_bytes(&text, buf_bytes(&quoted));
    buf_append_string(&text, " in string");
    syntax_error(parse, token, "", buf_bytes(&text));
    buf_deinit(&quoted);
    buf_deinit(&text);
    return false;
}

/* "\uXXXX" at the beginning of `in`, or two of them that are a pair; *size is what was taken. As Go does, the
 * second is looked for in what follows, whatever it is. */
static bool decode_escape(struct parse *parse, const struct token *token, struct bytes in, struct buf *out,
                          size_t *size)
{
    uint32_t c = hex4(in.data + 2);
    *size = 6;
    if (is_surrogate(c)) {
        const uint8_t *end = parse->text.data + parse->text.size;
        struct bytes rest = bytes_of(in.data + 6, (size_t)(end - in.data) - 6);
        if (rest.size < 6) {
            struct buf text = {0};
            buf_append_string(&text, "proto: unexpected EOF");
            return fail_with(parse, &text);
        }
        c = join_pair(c, rest);
        if (c == 0) return bad_escape(parse, token, bytes_of(rest.data, 6));
        *size = 12;
    }
    append_utf8(out, c);
    return true;
}

/* What stands between the quotes. */
static bool decode_string(struct parse *parse, const struct token *token, struct buf *out)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    struct bytes in = bytes_of(token->raw.data + 1, token->raw.size - 2);
    while (in.size > 0) {
        uint32_t c;
        size_t size = 2;
        const char *letter;
        if (in.data[0] != '\\') {
            size = text_utf8_decode(in, &c);
            if (size == 0) return syntax_error(parse, token, "invalid UTF-8 in string", BYTES_EMPTY);
            buf_append(out, in.data, size);
        } else if (in.data[1] == 'u') {
            if (!decode_escape(parse, token, in, out, &size)) return false;
        } else if ((letter = strchr(letters, in.data[1])) != NULL) {
            buf_append_byte(out, (uint8_t)meanings[letter - letters]);
        } else {
            buf_append_byte(out, in.data[1]);
        }
        in = bytes_of(in.data + size, in.size - size);
    }
    return true;
}

/* ---- numbers ---- */

/* The digits of a JSON number, its point moved by its exponent; false when it is not whole or has more of
 * them than any of ours can have. */
static bool whole_digits(struct bytes number, struct buf *out)
{
    enum { EXPONENT_LIMIT = 1000, DIGITS_LIMIT = 20 };
    struct buf digits = {0};
    size_t i = number.data[0] == '-', fraction = 0;
    int64_t exponent = 0;
    for (bool after_point = false; i < number.size && (number.data[i] | 0x20) != 'e'; i++) {
        if (number.data[i] == '.') {
            after_point = true;
            continue;
        }
        fraction += after_point;
        if (digits.size > 0 || number.data[i] != '0') buf_append_byte(&digits, number.data[i]);
    }
    if (i < number.size) {
        bool negative = number.data[++i] == '-';
        i += negative || number.data[i] == '+';
        for (; i < number.size; i++)
            if (exponent < EXPONENT_LIMIT) exponent = exponent * 10 + (number.data[i] - '0');
        if (negative) exponent = -exponent;
    }
    exponent -= (int64_t)fraction;
    bool zero = digits.size == 0;
    for (; !zero && exponent < 0 && digits.size > 0 && digits.data[digits.size - 1] == '0'; exponent++)
        digits.size--;
    bool whole = zero || (exponent >= 0 && (int64_t)digits.size + exponent <= DIGITS_LIMIT);
    if (whole && number.data[0] == '-' && !zero) buf_append_byte(out, '-');
    if (whole) buf_append_bytes(out, zero ? BYTES_LITERAL("0") : buf_bytes(&digits));
    for (; whole && !zero && exponent > 0; exponent--) buf_append_byte(out, '0');
    buf_deinit(&digits);
    return whole;
}

static bool is_number(struct bytes raw)
{
    return raw.size > 0 && (raw.data[0] == '-' || (raw.data[0] >= '0' && raw.data[0] <= '9'));
}

/* The bits of a 64-bit number, signed or not. */
static bool read_bare_number(struct bytes raw, bool is_signed, uint64_t *bits)
{
    struct buf digits = {0};
    int64_t integer = 0;
    bool ok = whole_digits(raw, &digits);
    if (ok && is_signed) {
        ok = text_parse_int64(buf_string(&digits), 10, &integer, NULL);
        *bits = (uint64_t)integer;
    } else if (ok) {
        ok = text_parse_uint64(buf_string(&digits), 10, bits, NULL);
    }
    buf_deinit(&digits);
    return ok;
}

/* The same, perhaps in quotes: then as it would stand without them, nothing around it. */
static bool read_number(struct parse *parse, const struct token *token, bool is_signed, uint64_t *bits)
{
    if (is_number(token->raw)) return read_bare_number(token->raw, is_signed, bits);
    if (token->raw.data[0] != '"') return false;
    struct buf inside = {0};
    struct json_scanner scanner = {0};
    size_t used = 0;
    bool ok = decode_string(parse, token, &inside) && is_number(buf_bytes(&inside)) &&
              json_scan(&scanner, buf_bytes(&inside), &used) == JSON_SCAN_MORE &&
              json_scan_end(&scanner) == JSON_SCAN_VALUE &&
              read_bare_number(buf_bytes(&inside), is_signed, bits);
    buf_deinit(&inside);
    return ok;
}

static bool read_integer(struct parse *parse, const ProtobufCFieldDescriptor *field,
                         const struct token *token, void *at)
{
    uint64_t bits = 0;
    bool ok;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        ok = read_number(parse, token, true, &bits);
        memcpy(at, &bits, sizeof(bits));
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        ok = read_number(parse, token, false, &bits);
        memcpy(at, &bits, sizeof(bits));
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: {
        ok = read_number(parse, token, false, &bits) && bits <= UINT32_MAX;
        uint32_t small = (uint32_t)bits;
        memcpy(at, &small, sizeof(small));
        break;
    }
    default: {
        ok = read_number(parse, token, true, &bits) && (int64_t)bits >= INT32_MIN &&
             (int64_t)bits <= INT32_MAX;
        int32_t small = (int32_t)bits;
        memcpy(at, &small, sizeof(small));
        break;
    }
    }
    return ok || bad_value(parse, field, token);
}

/* ---- other scalars ---- */

/* *known is false for a name that is not declared: the field then stays unset. */
static bool read_enum(struct parse *parse, const ProtobufCFieldDescriptor *field, const struct token *token,
                      void *at, bool *known)
{
    if (token->raw.data[0] == '"') {
        const ProtobufCEnumDescriptor *descriptor = (const ProtobufCEnumDescriptor *)field->descriptor;
        struct buf name = {0};
        bool ok = decode_string(parse, token, &name);
        const ProtobufCEnumValue *named =
            ok ? protobuf_c_enum_descriptor_get_value_by_name(descriptor, buf_string(&name)) : NULL;
        *known = named != NULL;
        if (named != NULL) memcpy(at, &named->value, sizeof(named->value));
        buf_deinit(&name);
        return ok;
    }
    uint64_t bits = 0;
    bool ok = read_number(parse, token, true, &bits);
    if (!ok || (int64_t)bits < INT32_MIN || (int64_t)bits > INT32_MAX) return bad_value(parse, field, token);
    int32_t small = (int32_t)bits;
    memcpy(at, &small, sizeof(small));
    return true;
}

static bool read_string(struct parse *parse, const ProtobufCFieldDescriptor *field, const struct token *token,
                        void *at)
{
    struct buf text = {0};
    if (token->raw.data[0] != '"') return bad_value(parse, field, token);
    bool ok = decode_string(parse, token, &text);
    /* protobuf-c's strings end at a zero byte: "root\u0000x" must not become "root". */
    if (ok && text.size > 0 && memchr(text.data, 0, text.size) != NULL) ok = bad_value(parse, field, token);
    char *copy = arena_string(parse->arena, buf_bytes(&text));
    memcpy(at, &copy, sizeof(copy)); /* NOLINT(bugprone-sizeof-expression): the pointer is what is stored */
    buf_deinit(&text);
    return ok;
}

static bool read_bytes(struct parse *parse, const ProtobufCFieldDescriptor *field, const struct token *token,
                       void *at)
{
    struct buf text = {0}, decoded = {0};
    if (token->raw.data[0] != '"') return bad_value(parse, field, token);
    bool ok = decode_string(parse, token, &text);
    if (ok && !text_parse_base64(buf_bytes(&text), &decoded)) ok = bad_value(parse, field, token);
    ProtobufCBinaryData data = message_binary(arena_copy(parse->arena, buf_bytes(&decoded)));
    memcpy(at, &data, sizeof(data));
    buf_deinit(&text);
    buf_deinit(&decoded);
    return ok;
}

static bool read_bool(struct parse *parse, const ProtobufCFieldDescriptor *field, const struct token *token,
                      void *at)
{
    protobuf_c_boolean boolean = token->raw.data[0] == 't';
    if (!boolean && token->raw.data[0] != 'f') return bad_value(parse, field, token);
    memcpy(at, &boolean, sizeof(boolean));
    return true;
}

static ProtobufCMessage *read_message(struct parse *parse, const ProtobufCMessageDescriptor *descriptor,
                                      unsigned depth);

static bool read_value(struct parse *parse, const ProtobufCFieldDescriptor *field, void *at, unsigned depth,
                       bool *known)
{
    *known = true;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage *message =
            read_message(parse, (const ProtobufCMessageDescriptor *)field->descriptor, depth + 1);
        memcpy(at, &message, sizeof(message)); /* NOLINT(bugprone-sizeof-expression) */
        return message != NULL;
    }
    struct token token = next_token(parse);
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(parse, field, &token, at);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(parse, field, &token, at, known);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(parse, field, &token, at);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(parse, field, &token, at);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE: /* none of etcd's messages has them */
        return bad_value(parse, field, &token);
    default:
        return read_integer(parse, field, &token, at);
    }
}

/* ---- fields ---- */

/* The widest element of a repeated field. */
union element {
    uint64_t number;
    void *pointer;
    ProtobufCBinaryData binary;
};

static bool read_elements(struct parse *parse, const ProtobufCFieldDescriptor *field, unsigned depth,
                          struct buf *elements, size_t *count)
{
    size_t size = message_element_size(field->type);
    for (bool more = peek(parse) != ']'; more;) {
        bool known = true;
        union element element = {0};
        if (!count_field(parse) || !read_value(parse, field, &element, depth, &known)) return false;
        if (known) buf_append(elements, &element, size);
        *count += known;
        more = peek(parse) == ',';
        if (more) next_token(parse);
    }
    next_token(parse);
    return true;
}

static bool read_array(struct parse *parse, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       unsigned depth)
{
    struct token open = next_token(parse);
    struct buf elements = {0};
    size_t count = 0;
    if (open.raw.data[0] != '[') return unexpected(parse, &open);
    bool ok = read_elements(parse, field, depth, &elements, &count);
    uint8_t *kept = arena_alloc(parse->arena, elements.size);
    if (elements.size > 0) memcpy(kept, elements.data, elements.size);
    memcpy((uint8_t *)message + field->quantifier_offset, &count, sizeof(count));
    memcpy((uint8_t *)message + field->offset, &kept, sizeof(kept));
    buf_deinit(&elements);
    return ok;
}

static bool oneof_is_set(struct parse *parse, const ProtobufCMessage *message, const struct token *name)
{
    struct buf text = {0};
    buf_append_string(&text, "proto: ");
    append_position(&text, parse, name->at);
    buf_append_string(&text, "error parsing ");
    buf_append_bytes(&text, name->raw);
    buf_printf(&text, ", oneof %s.%s is already set", message->descriptor->name,
               json_oneof_name(message->descriptor));
    return fail_with(parse, &text);
}

static bool read_field(struct parse *parse, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       const struct token *name, unsigned depth)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED) return read_array(parse, message, field, depth);
    uint8_t *quantifier = (uint8_t *)message + field->quantifier_offset;
    bool in_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (in_oneof) {
        uint32_t set;
        memcpy(&set, quantifier, sizeof(set));
        if (set != 0) return oneof_is_set(parse, message, name);
    }
    bool known = true;
    if (!read_value(parse, field, (uint8_t *)message + field->offset, depth, &known)) return false;
    if (in_oneof && known) memcpy(quantifier, &field->id, sizeof(field->id));
    bool has_flag = !in_oneof && field->label == PROTOBUF_C_LABEL_OPTIONAL &&
                    field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE;
    protobuf_c_boolean has = known;
    if (has_flag) memcpy(quantifier, &has, sizeof(has));
    return true;
}

static const ProtobufCFieldDescriptor *field_by_name(const ProtobufCMessageDescriptor *descriptor,
                                                     struct bytes key)
{
    const ProtobufCFieldDescriptor *found = NULL;
    struct buf camel = {0};
    for (unsigned i = 0; i < descriptor->n_fields && found == NULL; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        buf_clear(&camel);
        append_json_name(&camel, field->name);
        if (bytes_equal(key, bytes_from_string(field->name)) || bytes_equal(key, buf_bytes(&camel)))
            found = field;
    }
    buf_deinit(&camel);
    return found;
}

static bool duplicate(struct parse *parse, const struct token *name)
{
    struct buf text = {0};
    buf_append_string(&text, "proto: ");
    append_position(&text, parse, name->at);
    buf_append_string(&text, "duplicate field ");
    buf_append_bytes(&text, name->raw);
    return fail_with(parse, &text);
}

/* One name and its value; `seen` has a bit for each field. */
static bool read_member(struct parse *parse, ProtobufCMessage *message, uint64_t *seen, unsigned depth)
{
    struct buf key = {0};
    struct token name = next_token(parse);
    bool ok = decode_string(parse, &name, &key);
    const ProtobufCFieldDescriptor *field = ok ? field_by_name(message->descriptor, buf_bytes(&key)) : NULL;
    buf_deinit(&key);
    if (!ok) return false;
    next_token(parse); /* the colon */
    if (field == NULL) {
        skip_value(parse);
        return true;
    }
    uint64_t bit = UINT64_C(1) << (field - message->descriptor->fields);
    if ((*seen & bit) != 0) return duplicate(parse, &name);
    *seen |= bit;
    if (peek(parse) == 'n') {
        next_token(parse);
        return true;
    }
    return count_field(parse) && read_field(parse, message, field, &name, depth);
}

/* Recursion is bounded by MESSAGE_DEPTH_MAX. */
static ProtobufCMessage *read_message(struct parse *parse, const ProtobufCMessageDescriptor *descriptor,
                                      unsigned depth)
{
    struct token open = next_token(parse);
    uint64_t seen = 0;
    assert(descriptor->n_fields <= 64);
    if (depth > MESSAGE_DEPTH_MAX) {
        struct buf text = {0};
        buf_append_string(&text, "proto: exceeded max recursion depth");
        fail_with(parse, &text);
        return NULL;
    }
    if (open.raw.data[0] != '{') {
        unexpected(parse, &open);
        return NULL;
    }
    ProtobufCMessage *message = message_new(descriptor, parse->arena);
    for (bool more = peek(parse) != '}'; more;) {
        if (!read_member(parse, message, &seen, depth)) return NULL;
        more = peek(parse) == ',';
        if (more) next_token(parse);
    }
    next_token(parse);
    return message;
}

/* ---- whole texts ---- */

ProtobufCMessage *json_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                             struct arena *arena, size_t *used, struct error **error)
{
    struct parse parse = {.arena = arena};
    struct json_scanner scanner = {0};
    ProtobufCMessage *message = NULL;
    size_t size = 0, blanks = 0;
    enum json_scan scan = json_scan(&scanner, text, &size);
    bool ended = scan == JSON_SCAN_MORE;
    if (ended) scan = json_scan_end(&scanner);
    while (blanks < size && is_blank(text.data[blanks])) blanks++;
    if (scan == JSON_SCAN_ERROR) {
        parse.error = error_new(ERROR_INVALID, "%s", scanner.reason);
    } else if (scan == JSON_SCAN_MORE) {
        message = message_new(descriptor, arena);
    } else {
        parse.text = bytes_of(text.data + blanks, size - blanks);
        message = read_message(&parse, descriptor, 0);
    }
    if (used != NULL) *used = size;
    assert((message == NULL) == (parse.error != NULL));
    if (error != NULL)
        *error = parse.error;
    else
        error_free(parse.error);
    return message;
}
