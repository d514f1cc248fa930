#include "api/json.h"
#include "api/json_internal.h"
#include "api/message.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>

static const struct {
    const char *message;
    const char *oneof;
} oneofs[] = {
    {"etcdserverpb.RequestOp", "request"},
    {"etcdserverpb.ResponseOp", "response"},
    {"etcdserverpb.Compare", "target_union"},
    {"etcdserverpb.WatchRequest", "request_union"},
};

const char *json_oneof_name(const ProtobufCMessageDescriptor *descriptor)
{
    const char *name = NULL;
    for (size_t i = 0; i < sizeof(oneofs) / sizeof(oneofs[0]); i++)
        if (strcmp(oneofs[i].message, descriptor->name) == 0) name = oneofs[i].oneof;
    assert(name != NULL);
    return name;
}

/* Go's generated structs hold a oneof in a field of its own name: target_union is TargetUnion. */
static void write_go_oneof_name(struct buf *out, const ProtobufCMessageDescriptor *descriptor)
{
    bool raise = true;
    for (const char *c = json_oneof_name(descriptor); *c != 0; c++) {
        if (*c != '_') buf_append_byte(out, (uint8_t)(raise ? *c - 'a' + 'A' : *c));
        raise = *c == '_';
    }
}

/* The place of field `at` in a message. */
static const void *member_of(const ProtobufCMessage *message, unsigned offset)
{
    return (const uint8_t *)message + offset;
}

/* Copies out, as repeated fields are arrays of the plain type. */
#define LOAD(type, at)                                                                                       \
    ({                                                                                                       \
        type loaded_;                                                                                        \
        memcpy(&loaded_, (at), sizeof(loaded_));                                                             \
        loaded_;                                                                                             \
    })

static bool is_zero(ProtobufCType type, const void *at)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *string = LOAD(const char *, at);
        return string == NULL || string[0] == 0;
    }
    case PROTOBUF_C_TYPE_BYTES:
        return LOAD(ProtobufCBinaryData, at).len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return LOAD(const void *, at) == NULL;
    default: {
        uint64_t zero = 0;
        return memcmp(at, &zero, message_element_size(type)) == 0;
    }
    }
}

static void write_integer(struct buf *out, int64_t value, enum json_dialect dialect)
{
    buf_printf(out, dialect == JSON_GATEWAY ? "\"%" PRId64 "\"" : "%" PRId64, value);
}

static void write_unsigned(struct buf *out, uint64_t value, enum json_dialect dialect)
{
    buf_printf(out, dialect == JSON_GATEWAY ? "\"%" PRIu64 "\"" : "%" PRIu64, value);
}

static void write_enum(struct buf *out, const ProtobufCEnumDescriptor *descriptor, int value,
                       enum json_dialect dialect)
{
    const ProtobufCEnumValue *named =
        dialect == JSON_GATEWAY ? protobuf_c_enum_descriptor_get_value(descriptor, value) : NULL;
    if (named != NULL)
        buf_printf(out, "\"%s\"", named->name);
    else
        buf_printf(out, "%d", value);
}

static void write_value(struct buf *out, const ProtobufCFieldDescriptor *field, const void *at,
                        enum json_dialect dialect)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buf_printf(out, "%" PRId32, LOAD(int32_t, at));
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buf_printf(out, "%" PRIu32, LOAD(uint32_t, at));
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        write_integer(out, LOAD(int64_t, at), dialect);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        write_unsigned(out, LOAD(uint64_t, at), dialect);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        buf_printf(out, "%.9g", (double)LOAD(float, at));
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        buf_printf(out, "%.17g", LOAD(double, at));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_append_string(out, LOAD(protobuf_c_boolean, at) ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(out, (const ProtobufCEnumDescriptor *)field->descriptor, LOAD(int, at), dialect);
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *string = LOAD(const char *, at);
        text_json_quote(out, bytes_from_string(string == NULL ? "" : string), dialect == JSON_GO);
        break;
    }
    case PROTOBUF_C_TYPE_BYTES:
        buf_append_byte(out, '"');
        text_base64(out, message_bytes(LOAD(ProtobufCBinaryData, at)));
        buf_append_byte(out, '"');
        break;
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = LOAD(const ProtobufCMessage *, at);
        assert(message != NULL);
        json_write(out, message, dialect);
        break;
    }
    }
}

static void write_array(struct buf *out, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field, enum json_dialect dialect)
{
    size_t count = LOAD(size_t, member_of(message, field->quantifier_offset));
    const uint8_t *elements = LOAD(const uint8_t *, member_of(message, field->offset));
    size_t size = message_element_size(field->type);
    buf_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) buf_append_byte(out, ',');
        write_value(out, field, elements + i * size, dialect);
    }
    buf_append_byte(out, ']');
}

static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *at = member_of(message, field->offset);
    const void *quantifier = member_of(message, field->quantifier_offset);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        if (LOAD(uint32_t, quantifier) != field->id) return false;
        return field->type != PROTOBUF_C_TYPE_MESSAGE || !is_zero(field->type, at);
    }
    switch (field->label) {
    case PROTOBUF_C_LABEL_REQUIRED:
        return true;
    case PROTOBUF_C_LABEL_REPEATED:
        return LOAD(size_t, quantifier) > 0;
    case PROTOBUF_C_LABEL_OPTIONAL:
        if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
            return LOAD(const void *, at) != NULL;
        return LOAD(protobuf_c_boolean, quantifier) != 0;
    case PROTOBUF_C_LABEL_NONE:
        break;
    }
    return !is_zero(field->type, at);
}

static void write_member(struct buf *out, const ProtobufCMessage *message,
                         const ProtobufCFieldDescriptor *field, enum json_dialect dialect)
{
    buf_printf(out, "\"%s\":", field->name);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        write_array(out, message, field, dialect);
    else
        write_value(out, field, member_of(message, field->offset), dialect);
}

/* {"request_put":{...}}: Go's wrapper struct around the member that is set. */
static void write_go_oneof(struct buf *out, const ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *first)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    buf_append_byte(out, '"');
    write_go_oneof_name(out, descriptor);
    buf_append_string(out, "\":");
    uint32_t set = LOAD(uint32_t, member_of(message, first->quantifier_offset));
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, set);
    if (set == 0 || field == NULL) {
        buf_append_string(out, "null");
        return;
    }
    buf_append_byte(out, '{');
    if (!is_zero(field->type, member_of(message, field->offset))) write_member(out, message, field, JSON_GO);
    buf_append_byte(out, '}');
}

bool json_write_members(struct buf *out, const ProtobufCMessage *message, enum json_dialect dialect)
{
    bool any = false;
    bool oneof_done = false;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        bool wrap = dialect == JSON_GO && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        if (wrap ? oneof_done : !is_present(message, field)) continue;
        if (any) buf_append_byte(out, ',');
        any = true;
        if (wrap)
            write_go_oneof(out, message, field);
        else
            write_member(out, message, field, dialect);
        oneof_done = oneof_done || wrap;
    }
    return any;
}

/* As deep as the message, whose depth the decoder has limited. */
void json_write(struct buf *out, const ProtobufCMessage *message, enum json_dialect dialect)
{
    buf_append_byte(out, '{');
    json_write_members(out, message, dialect);
    buf_append_byte(out, '}');
}
