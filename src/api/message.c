#include "api/message.h"

#include "base/text.h"
#include "base/wire.h"

#include <assert.h>

/* ---- The check ----
 *
 * One pass over the bytes. It proves, before protobuf-c sees them: the tags and lengths are whole, known
 * fields have a wire type their declared type can have, packed arrays end with their last number, strings are
 * UTF-8 without zero bytes, and nesting is bounded. The texts are those of the Go code that etcd 3.6 decodes
 * with. */

static struct error *truncated(void)
{
    return error_new(ERROR_INVALID, "unexpected EOF");
}

static struct error *malformed(const ProtobufCMessageDescriptor *descriptor)
{
    return error_new(ERROR_INVALID, "proto: %s: cannot parse invalid wire-format data",
                     descriptor->short_name);
}

/* Fields mostly come in order, so the search starts where the last one was found. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  uint32_t number, unsigned *hint)
{
    unsigned count = descriptor->n_fields;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = *hint + i < count ? *hint + i : *hint + i - count;
        if (descriptor->fields[at].id == number) {
            *hint = at;
            return &descriptor->fields[at];
        }
    }
    return NULL;
}

static enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        break;
    }
    return WIRE_VARINT;
}

static struct error *check_string(const ProtobufCMessageDescriptor *descriptor,
                                  const ProtobufCFieldDescriptor *field, struct bytes value)
{
    if (value.size > 0 && memchr(value.data, 0, value.size) != NULL)
        return error_new(ERROR_INVALID, "proto: field %s.%s contains a zero byte", descriptor->name,
                         field->name);
    if (!text_is_utf8(value))
        return error_new(ERROR_INVALID, "proto: field %s.%s contains invalid UTF-8", descriptor->name,
                         field->name);
    return NULL;
}

static struct error *check_packed(const ProtobufCMessageDescriptor *descriptor, enum wire_type type,
                                  struct bytes value)
{
    if (type == WIRE_FIXED32) return value.size % 4 == 0 ? NULL : malformed(descriptor);
    if (type == WIRE_FIXED64) return value.size % 8 == 0 ? NULL : malformed(descriptor);
    struct wire_reader reader = wire_reader_of(value);
    uint64_t number;
    while (wire_next_varint(&reader, &number)) {
    }
    return reader.failed ? malformed(descriptor) : NULL;
}

static struct error *check_message(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                   unsigned depth);

static struct error *check_field(const ProtobufCMessageDescriptor *descriptor,
                                 const ProtobufCFieldDescriptor *field, const struct wire_field *wire,
                                 unsigned depth)
{
    enum wire_type type = wire_type_of(field->type);
    if (wire->type != type) {
        bool packed =
            field->label == PROTOBUF_C_LABEL_REPEATED && type != WIRE_LENGTH && wire->type == WIRE_LENGTH;
        if (packed) return check_packed(descriptor, type, wire->bytes);
        return error_new(ERROR_INVALID, "proto: wrong wireType = %d for field %s", (int)wire->type,
                         field->name);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) return check_string(descriptor, field, wire->bytes);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message((const ProtobufCMessageDescriptor *)field->descriptor, wire->bytes, depth + 1);
    return NULL;
}

/* Recursion is bounded by MESSAGE_DEPTH_MAX. */
static struct error *check_message(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                   unsigned depth)
{
    if (depth > MESSAGE_DEPTH_MAX)
        return error_new(ERROR_LIMIT, "proto: messages nested deeper than %d", (int)MESSAGE_DEPTH_MAX);
    struct wire_reader reader = wire_reader_of(bytes);
    struct wire_field wire;
    unsigned hint = 0;
    while (wire_next(&reader, &wire)) {
        const ProtobufCFieldDescriptor *field = find_field(descriptor, wire.number, &hint);
        if (field != NULL) TRY(check_field(descriptor, field, &wire, depth));
    }
    if (!reader.failed) return NULL;
    return depth == 0 ? truncated() : malformed(descriptor);
}

struct error *message_check(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes)
{
    return check_message(descriptor, bytes, 0);
}

/* ---- Memory ---- */

static void *allocate(void *arena, size_t size)
{
    return arena_alloc((struct arena *)arena, size);
}

/* Nothing is freed singly. */
static void release(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

ProtobufCAllocator message_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){.alloc = allocate, .free = release, .allocator_data = arena};
}

/* ---- Decoding and encoding ---- */

ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                 struct arena *arena, struct error **error)
{
    struct error *failure = message_check(descriptor, bytes);
    ProtobufCMessage *message = NULL;
    if (failure == NULL) {
        static const uint8_t nothing[1];
        ProtobufCAllocator allocator = message_allocator(arena);
        message = protobuf_c_message_unpack(descriptor, &allocator, bytes.size,
                                            bytes.size > 0 ? bytes.data : nothing);
        /* What the check lets through and protobuf-c does not: a proto2 message without a required field, a
         * tag written in more bytes than it needs. */
        if (message == NULL) failure = malformed(descriptor);
    }
    if (error != NULL)
        *error = failure;
    else
        error_free(failure);
    return message;
}

void message_pack(struct buf *out, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *at = buf_reserve(out, size);
    size_t written = protobuf_c_message_pack(message, at);
    assert(written == size);
    out->size += written;
}

ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena)
{
    ProtobufCMessage *message = (ProtobufCMessage *)arena_alloc(arena, descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, message);
    return message;
}

ProtobufCMessage *message_copy(const ProtobufCMessage *message, struct arena *arena)
{
    struct buf packed = {0};
    message_pack(&packed, message);
    ProtobufCAllocator allocator = message_allocator(arena);
    static const uint8_t nothing[1];
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, &allocator, packed.size,
                                                       packed.size > 0 ? packed.data : nothing);
    assert(copy != NULL);
    buf_deinit(&packed);
    return copy;
}
