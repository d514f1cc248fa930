/* JSON text to messages.
 *
 * jansson parses the text into a tree, the tree is matched against the descriptor. Two things jansson does
 * not do are done on the text before: bare integers of 19 and more digits, which do not fit its signed 64
 * bits, are put in quotes (the mapping takes numbers in quotes everywhere); and nesting is bounded by its own
 * limit of 2048.
 */
#include "api/json.h"
#include "api/message.h"
#include "base/text.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>

struct parse {
    struct arena *arena;
    struct error *error; /* the first one */
};

static bool fail(struct parse *parse, struct error *error)
{
    if (parse->error == NULL)
        parse->error = error;
    else
        error_free(error);
    return false;
}

/* ---- The text ---- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static size_t skip_blanks(struct bytes text)
{
    size_t at = 0;
    while (at < text.size && is_blank(text.data[at])) at++;
    return at;
}

/* The end of the string that begins at `at`; text.size when it does not end. */
static size_t skip_string(struct bytes text, size_t at)
{
    for (at++; at < text.size; at++) {
        if (text.data[at] == '\\')
            at++;
        else if (text.data[at] == '"')
            return at + 1;
    }
    return text.size;
}

static bool is_complete_string(struct bytes text, size_t begin, size_t end)
{
    if (end == begin + 1 || text.data[end - 1] != '"') return false;
    size_t backslashes = 0;
    while (text.data[end - 2 - backslashes] == '\\') backslashes++;
    return backslashes % 2 == 0;
}

size_t json_value_size(struct bytes text)
{
    size_t at = skip_blanks(text);
    size_t depth = 0;
    while (at < text.size) {
        uint8_t byte = text.data[at];
        if (byte == '"') {
            size_t end = skip_string(text, at);
            if (end == text.size && !is_complete_string(text, at, end)) return 0;
            at = end;
        } else if (byte == '{' || byte == '[') {
            depth++;
            at++;
        } else if (byte == '}' || byte == ']') {
            if (depth > 0) depth--;
            at++;
        } else if (depth > 0) {
            at++;
            continue;
        } else { /* a bare word or number: ends where something else begins */
            while (at < text.size && !is_blank(text.data[at]) && strchr("{}[],:\"", text.data[at]) == NULL)
                at++;
            if (at == text.size) return 0;
            if (strchr(",:", text.data[at]) != NULL) at++;
        }
        if (depth == 0) return at;
    }
    return 0;
}

static bool is_number_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.' || byte == 'e' ||
           byte == 'E';
}

static bool is_long_integer(struct bytes token)
{
    size_t sign = token.size > 0 && token.data[0] == '-';
    if (token.size - sign < 19) return false;
    for (size_t i = sign; i < token.size; i++)
        if (token.data[i] < '0' || token.data[i] > '9') return false;
    return true;
}

/* Copies the text to `out` with long integers in quotes. False, and nothing in `out`, when there are none. */
static bool quote_long_integers(struct bytes text, struct buf *out)
{
    bool any = false;
    size_t copied = 0;
    for (size_t at = 0; at < text.size;) {
        if (text.data[at] == '"') {
            at = skip_string(text, at);
            continue;
        }
        size_t end = at;
        while (end < text.size && is_number_byte(text.data[end])) end++;
        if (is_long_integer(bytes_of(text.data + at, end - at))) {
            buf_append(out, text.data + copied, at - copied);
            buf_append_byte(out, '"');
            buf_append(out, text.data + at, end - at);
            buf_append_byte(out, '"');
            copied = end;
            any = true;
        }
        at = end > at ? end : at + 1;
    }
    if (any) buf_append(out, text.data + copied, text.size - copied);
    return any;
}

/* ---- Values ---- */

static bool bad_value(struct parse *parse, const ProtobufCFieldDescriptor *field, const char *type,
                      json_t *value)
{
    char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    bool result = fail(parse, error_new(ERROR_INVALID, "proto: invalid value for %s field %s: %.100s", type,
                                        field->name, shown == NULL ? "?" : shown));
    free(shown);
    return result;
}

/* A real number that is a whole one, as 1e0. The bounds are the doubles next to the type's. */
static bool whole_number(double real, bool is_signed, uint64_t *bits)
{
    if (isnan(real) || real != trunc(real)) return false;
    if (is_signed) {
        if (real < -9223372036854775808.0 || real >= 9223372036854775808.0) return false;
        *bits = (uint64_t)(int64_t)real;
    } else {
        if (real < 0 || real >= 18446744073709551616.0) return false;
        *bits = (uint64_t)real;
    }
    return true;
}

/* The number in quotes: as it would stand without them, nothing around it. */
static bool number_in_string(const char *text, bool is_signed, uint64_t *bits)
{
    const char *digits = text + (text[0] == '-');
    if (digits[0] < '0' || digits[0] > '9') return false;
    if (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') return false;
    if (strpbrk(digits, ".eE") != NULL) {
        json_error_t ignored;
        json_t *number = json_loads(text, JSON_DECODE_ANY, &ignored);
        bool ok = json_is_real(number) && whole_number(json_real_value(number), is_signed, bits);
        json_decref(number);
        return ok;
    }
    int64_t integer;
    if (!is_signed) return text_parse_uint64(text, 10, bits, NULL);
    if (!text_parse_int64(text, 10, &integer, NULL)) return false;
    *bits = (uint64_t)integer;
    return true;
}

/* The bits of a 64-bit number, signed or not. */
static bool read_number(json_t *value, bool is_signed, uint64_t *bits)
{
    if (json_is_integer(value)) {
        *bits = (uint64_t)json_integer_value(value);
        return is_signed || json_integer_value(value) >= 0;
    }
    if (json_is_real(value)) return whole_number(json_real_value(value), is_signed, bits);
    if (json_is_string(value)) return number_in_string(json_string_value(value), is_signed, bits);
    return false;
}

static bool read_integer(struct parse *parse, const ProtobufCFieldDescriptor *field, json_t *value, void *at)
{
    uint64_t bits = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        if (!read_number(value, true, &bits)) return bad_value(parse, field, "int64", value);
        memcpy(at, &bits, sizeof(bits));
        return true;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (!read_number(value, false, &bits)) return bad_value(parse, field, "uint64", value);
        memcpy(at, &bits, sizeof(bits));
        return true;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: {
        if (!read_number(value, false, &bits) || bits > UINT32_MAX)
            return bad_value(parse, field, "uint32", value);
        uint32_t small = (uint32_t)bits;
        memcpy(at, &small, sizeof(small));
        return true;
    }
    default: {
        int64_t number = 0;
        bool ok = read_number(value, true, &bits);
        number = (int64_t)bits;
        if (!ok || number < INT32_MIN || number > INT32_MAX) return bad_value(parse, field, "int32", value);
        int32_t small = (int32_t)number;
        memcpy(at, &small, sizeof(small));
        return true;
    }
    }
}

/* *known is false for a name that is not declared: the field then stays unset. */
static bool read_enum(struct parse *parse, const ProtobufCFieldDescriptor *field, json_t *value, void *at,
                      bool *known)
{
    if (json_is_string(value)) {
        const ProtobufCEnumDescriptor *descriptor = (const ProtobufCEnumDescriptor *)field->descriptor;
        const ProtobufCEnumValue *named =
            protobuf_c_enum_descriptor_get_value_by_name(descriptor, json_string_value(value));
        *known = named != NULL;
        if (named != NULL) memcpy(at, &named->value, sizeof(named->value));
        return true;
    }
    uint64_t bits = 0;
    bool ok = read_number(value, true, &bits);
    int64_t number = (int64_t)bits;
    if (!ok || number < INT32_MIN || number > INT32_MAX) return bad_value(parse, field, "enum", value);
    int32_t small = (int32_t)number;
    memcpy(at, &small, sizeof(small));
    return true;
}

static bool read_string(struct parse *parse, const ProtobufCFieldDescriptor *field, json_t *value, void *at)
{
    if (!json_is_string(value)) return bad_value(parse, field, "string", value);
    struct bytes text = bytes_of(json_string_value(value), json_string_length(value));
    /* protobuf-c's strings end at a zero byte: "root\u0000x" must not become "root". */
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL)
        return bad_value(parse, field, "string", value);
    char *copy = arena_string(parse->arena, text);
    memcpy(at, &copy, sizeof(copy)); /* NOLINT(bugprone-sizeof-expression): the pointer is what is stored */
    return true;
}

static bool read_bytes(struct parse *parse, const ProtobufCFieldDescriptor *field, json_t *value, void *at)
{
    struct buf decoded = {0};
    bool ok = json_is_string(value) &&
              text_parse_base64(bytes_of(json_string_value(value), json_string_length(value)), &decoded);
    ProtobufCBinaryData data =
        message_binary(ok ? arena_copy(parse->arena, buf_bytes(&decoded)) : BYTES_EMPTY);
    buf_deinit(&decoded);
    if (!ok) return bad_value(parse, field, "bytes", value);
    memcpy(at, &data, sizeof(data));
    return true;
}

static ProtobufCMessage *read_message(struct parse *parse, const ProtobufCMessageDescriptor *descriptor,
                                      json_t *object, unsigned depth);

static bool read_value(struct parse *parse, const ProtobufCFieldDescriptor *field, json_t *value, void *at,
                       unsigned depth, bool *known)
{
    *known = true;
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL: {
        if (!json_is_boolean(value)) return bad_value(parse, field, "bool", value);
        protobuf_c_boolean boolean = json_is_true(value);
        memcpy(at, &boolean, sizeof(boolean));
        return true;
    }
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(parse, field, value, at, known);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(parse, field, value, at);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(parse, field, value, at);
    case PROTOBUF_C_TYPE_MESSAGE: {
        ProtobufCMessage *message =
            read_message(parse, (const ProtobufCMessageDescriptor *)field->descriptor, value, depth + 1);
        memcpy(at, &message, sizeof(message)); /* NOLINT(bugprone-sizeof-expression) */
        return message != NULL;
    }
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE: /* none of etcd's messages has them */
        return bad_value(parse, field, "floating-point", value);
    default:
        return read_integer(parse, field, value, at);
    }
}

/* ---- Fields ---- */

/* The widest element of a repeated field. */
union element {
    uint64_t number;
    void *pointer;
    ProtobufCBinaryData binary;
};

static size_t element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(uint64_t);
    default:
        return sizeof(uint32_t);
    }
}

static bool read_array(struct parse *parse, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       json_t *value, unsigned depth)
{
    if (!json_is_array(value)) return bad_value(parse, field, "repeated", value);
    size_t size = element_size(field->type);
    size_t room = json_array_size(value);
    uint8_t *elements = (uint8_t *)arena_alloc(parse->arena, room * size);
    size_t count = 0;
    for (size_t i = 0; i < room; i++) {
        bool known = true;
        union element element = {0};
        if (!read_value(parse, field, json_array_get(value, i), &element, depth, &known)) return false;
        if (known) memcpy(elements + size * count++, &element, size);
    }
    memcpy((uint8_t *)message + field->quantifier_offset, &count, sizeof(count));
    memcpy((uint8_t *)message + field->offset, &elements, sizeof(elements));
    return true;
}

static bool read_field(struct parse *parse, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       json_t *value, unsigned depth)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED) return read_array(parse, message, field, value, depth);
    uint8_t *quantifier = (uint8_t *)message + field->quantifier_offset;
    bool in_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (in_oneof) {
        uint32_t set;
        memcpy(&set, quantifier, sizeof(set));
        if (set != 0)
            return fail(parse,
                        error_new(ERROR_INVALID, "proto: error parsing \"%s\", oneof %s is already set",
                                  field->name, message->descriptor->name));
    }
    bool known = true;
    if (!read_value(parse, field, value, (uint8_t *)message + field->offset, depth, &known)) return false;
    if (in_oneof && known) memcpy(quantifier, &field->id, sizeof(field->id));
    bool has_flag = !in_oneof && field->label == PROTOBUF_C_LABEL_OPTIONAL &&
                    field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE;
    protobuf_c_boolean has = known;
    if (has_flag) memcpy(quantifier, &has, sizeof(has));
    return true;
}

/* range_end is also rangeEnd: an underscore goes and raises the letter behind it. */
static bool is_camel_case_of(const char *key, const char *name)
{
    for (; *name != 0; name++) {
        char expected = *name;
        if (*name == '_' && name[1] >= 'a' && name[1] <= 'z') expected = (char)(*++name - 'a' + 'A');
        if (*key++ != expected) return false;
    }
    return *key == 0;
}

static const ProtobufCFieldDescriptor *field_by_name(const ProtobufCMessageDescriptor *descriptor,
                                                     const char *key)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const char *name = descriptor->fields[i].name;
        if (strcmp(key, name) == 0 || is_camel_case_of(key, name)) return &descriptor->fields[i];
    }
    return NULL;
}

/* Recursion is bounded by MESSAGE_DEPTH_MAX. */
static ProtobufCMessage *read_message(struct parse *parse, const ProtobufCMessageDescriptor *descriptor,
                                      json_t *object, unsigned depth)
{
    if (depth > MESSAGE_DEPTH_MAX) {
        fail(parse, error_new(ERROR_LIMIT, "proto: messages nested deeper than %d", (int)MESSAGE_DEPTH_MAX));
        return NULL;
    }
    if (!json_is_object(object)) {
        char *shown = json_dumps(object, JSON_ENCODE_ANY | JSON_COMPACT);
        fail(parse, error_new(ERROR_INVALID, "proto: syntax error: unexpected token %.100s",
                              shown == NULL ? "?" : shown));
        free(shown);
        return NULL;
    }
    ProtobufCMessage *message = message_new(descriptor, parse->arena);
    uint64_t seen = 0;
    assert(descriptor->n_fields <= 64);
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        const ProtobufCFieldDescriptor *field = field_by_name(descriptor, key);
        if (field == NULL) continue;
        uint64_t bit = UINT64_C(1) << (field - descriptor->fields);
        if ((seen & bit) != 0) {
            fail(parse, error_new(ERROR_INVALID, "proto: duplicate field \"%s\"", key));
            return NULL;
        }
        seen |= bit;
        json_t *value = json_object_iter_value(at);
        if (!json_is_null(value) && !read_field(parse, message, field, value, depth)) return NULL;
    }
    return message;
}

/* ---- Whole texts ---- */

static struct error *syntax_error(const json_error_t *reason)
{
    if (json_error_code(reason) == json_error_duplicate_key) {
        const char *near = strchr(reason->text, '"');
        const char *end = near == NULL ? NULL : strchr(near + 1, '"');
        int size = end == NULL ? 0 : (int)(end - near - 1);
        return error_new(ERROR_INVALID, "proto: (line %d:%d): duplicate field \"%.*s\"", reason->line,
                         reason->column, size, size == 0 ? "" : near + 1);
    }
    return error_new(ERROR_INVALID, "proto: syntax error (line %d:%d): %s", reason->line, reason->column,
                     reason->text);
}

ProtobufCMessage *json_parse(const ProtobufCMessageDescriptor *descriptor, struct bytes text,
                             struct arena *arena, size_t *used, struct error **error)
{
    struct parse parse = {.arena = arena};
    ProtobufCMessage *message = NULL;
    size_t size = json_value_size(text);
    if (size == 0) size = text.size; /* incomplete: let jansson say how */
    struct bytes first = bytes_of(text.data, size);
    if (skip_blanks(first) == size) {
        message = message_new(descriptor, arena);
    } else {
        struct buf quoted = {0};
        if (quote_long_integers(first, &quoted)) first = buf_bytes(&quoted);
        json_error_t reason;
        json_t *root =
            json_loadb((const char *)first.data, first.size,
                       JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK,
                       &reason);
        if (root == NULL)
            fail(&parse, syntax_error(&reason));
        else
            message = read_message(&parse, descriptor, root, 0);
        json_decref(root);
        buf_deinit(&quoted);
    }
    if (used != NULL) *used = size;
    assert((message == NULL) == (parse.error != NULL));
    if (error != NULL)
        *error = parse.error;
    else
        error_free(parse.error);
    return message;
}
