#include "api/describe.h"

#include "api/message.h"
#include "base/text.h"

#include <string.h>

struct description {
    struct buf *out;
    size_t limit; /* of out->size */
};

static void describe(struct description *description, const ProtobufCMessage *message);

static bool is_secret(const char *name)
{
    static const char *const secrets[] = {"value", "password", "hashedPassword", "token", "simple_token"};
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (strcmp(name, secrets[i]) == 0) return true;
    return false;
}

static void describe_text(struct description *description, const char *name, struct bytes text)
{
    if (is_secret(name)) {
        buf_printf(description->out, "%s_size:%zu ", name, text.size);
        return;
    }
    buf_printf(description->out, "%s:", name);
    if (text.size > description->limit) text.size = description->limit;
    text_go_quote(description->out, text);
    buf_append_byte(description->out, ' ');
}

static void describe_enum(struct description *description, const ProtobufCFieldDescriptor *field, int value)
{
    const ProtobufCEnumValue *named = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
    if (named != NULL)
        buf_printf(description->out, "%s:%s ", field->name, named->name);
    else
        buf_printf(description->out, "%s:%d ", field->name, value);
}

/* One value of any type, which lies at `at`. Zeros are told when `zeros` says so (members of lists and
 * oneofs). */
static void describe_value(struct description *description, const ProtobufCFieldDescriptor *field,
                           const void *at, bool zeros)
{
    struct buf *out = description->out;
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = *(ProtobufCMessage *const *)at;
        if (message == NULL) return;
        buf_printf(out, "%s:<", field->name);
        describe(description, message);
        buf_append_string(out, "> ");
        return;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = at;
        if (zeros || bytes->len > 0)
            describe_text(description, field->name, bytes_of(bytes->data, bytes->len));
        return;
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)at;
        if (text == NULL) text = "";
        if (zeros || *text != '\0') describe_text(description, field->name, bytes_from_string(text));
        return;
    }
    case PROTOBUF_C_TYPE_BOOL: {
        bool value = *(const protobuf_c_boolean *)at != 0;
        if (zeros || value) buf_printf(out, "%s:%s ", field->name, value ? "true" : "false");
        return;
    }
    case PROTOBUF_C_TYPE_ENUM:
        if (zeros || *(const int *)at != 0) describe_enum(description, field, *(const int *)at);
        return;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        if (zeros || *(const int32_t *)at != 0) buf_printf(out, "%s:%d ", field->name, *(const int32_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if (zeros || *(const uint32_t *)at != 0)
            buf_printf(out, "%s:%u ", field->name, *(const uint32_t *)at);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        if (zeros || *(const int64_t *)at != 0)
            buf_printf(out, "%s:%lld ", field->name, (long long)*(const int64_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (zeros || *(const uint64_t *)at != 0)
            buf_printf(out, "%s:%llu ", field->name, (unsigned long long)*(const uint64_t *)at);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        buf_printf(out, "%s:%g ", field->name, (double)*(const float *)at);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        buf_printf(out, "%s:%g ", field->name, *(const double *)at);
        return;
    }
}

static void describe_field(struct description *description, const ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
        const char *items = *(const char *const *)(const void *)(base + field->offset);
        for (size_t i = 0; i < count && description->out->size < description->limit; i++)
            describe_value(description, field, items + i * message_element_size(field->type), true);
        return;
    }
    bool in_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    const void *quantifier = base + field->quantifier_offset;
    if (in_oneof && *(const uint32_t *)quantifier != field->id) return;
    describe_value(description, field, base + field->offset, in_oneof);
}

/* As deep as the message, which message_unpack has bounded. */
static void describe(struct description *description, const ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        if (description->out->size >= description->limit) {
            buf_append_string(description->out, "... ");
            return;
        }
        describe_field(description, message, &message->descriptor->fields[i]);
    }
}

void message_describe(struct buf *out, const ProtobufCMessage *message)
{
    struct description description = {.out = out, .limit = out->size + DESCRIBE_LIMIT};
    size_t before = out->size;
    describe(&description, message);
    if (out->size > before && out->data[out->size - 1] == ' ') out->size--;
}
