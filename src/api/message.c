#include "api/message.h"

#include "base/text.h"
#include "base/wire.h"

#include <assert.h>

enum { FIELD_NUMBER_MAX = (1 << 29) - 1 };

/* ---- The check ----
 *
 * One pass over the bytes. It proves, before protobuf-c sees them: the tags and lengths are whole, known
 * fields have a wire type their declared type can have, packed arrays end with their last number, strings are
 * UTF-8 without zero bytes, and nesting is bounded. The texts are those of the Go code that etcd decodes
 * with. (It accepts two things more: any bytes in strings, and unknown groups, which nothing has sent since
 * protobuf 2.) */

static struct error *truncated(void)
{
    return error_new(ERROR_INVALID, "unexpected EOF");
}

/* Why a varint could not be read at the start of `rest`. */
static struct error *bad_varint(struct bytes rest)
{
    if (rest.size < WIRE_VARINT_MAX) return truncated();
    return error_new(ERROR_INVALID, "proto: integer overflow");
}

/* range_end is RangeEnd in Go's structs. */
static struct error *wrong_wire_type(const ProtobufCFieldDescriptor *field, unsigned type)
{
    char name[64];
    size_t size = 0;
    bool raise = true;
    for (const char *at = field->name; *at != 0 && size + 1 < sizeof(name); at++) {
        bool lower = *at >= 'a' && *at <= 'z';
        if (*at != '_') name[size++] = (char)(raise && lower ? *at - 'a' + 'A' : *at);
        raise = *at == '_';
    }
    name[size] = 0;
    return error_new(ERROR_INVALID, "proto: wrong wireType = %u for field %s", type, name);
}

/* Fields mostly come in order, so the search starts where the last one was found. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  uint64_t number, unsigned *hint)
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

static struct error *check_packed(enum wire_type type, struct bytes value)
{
    if (type == WIRE_FIXED32) return value.size % 4 == 0 ? NULL : truncated();
    if (type == WIRE_FIXED64) return value.size % 8 == 0 ? NULL : truncated();
    struct wire_reader reader = wire_reader_of(value);
    uint64_t number;
    while (wire_next_varint(&reader, &number)) {
    }
    return reader.failed ? bad_varint(reader.rest) : NULL;
}

/* Takes the value of one field from the reader. Only LENGTH values are told in *content. */
static struct error *take_value(struct wire_reader *reader, unsigned type, struct bytes *content)
{
    uint64_t number;
    size_t size = type == WIRE_FIXED64 ? 8 : 4;
    switch (type) {
    case WIRE_VARINT:
        return wire_next_varint(reader, &number) ? NULL : bad_varint(reader->rest);
    case WIRE_LENGTH:
        if (!wire_next_varint(reader, &number)) return bad_varint(reader->rest);
        if (number > INT64_MAX)
            return error_new(ERROR_INVALID, "proto: negative length found during unmarshaling");
        if (number > reader->rest.size) return truncated();
        size = (size_t)number;
        *content = bytes_of(reader->rest.data, size);
        break;
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        if (size > reader->rest.size) return truncated();
        break;
    default:
        return error_new(ERROR_INVALID, "proto: illegal wireType %u", type);
    }
    reader->rest = bytes_of(reader->rest.data + size, reader->rest.size - size);
    return NULL;
}

/* How many more fields there may be, over all messages. */
struct budget {
    uint64_t fields;
};

static struct error *check_message(struct budget *budget, const ProtobufCMessageDescriptor *descriptor,
                                   struct bytes bytes, unsigned depth);

static struct error *check_field(struct budget *budget, const ProtobufCMessageDescriptor *descriptor,
                                 const ProtobufCFieldDescriptor *field, struct wire_reader *reader,
                                 unsigned type, unsigned depth)
{
    struct bytes content = BYTES_EMPTY;
    enum wire_type declared = wire_type_of(field->type);
    bool packed = field->label == PROTOBUF_C_LABEL_REPEATED && declared != WIRE_LENGTH && type == WIRE_LENGTH;
    if (type != (unsigned)declared && !packed) return wrong_wire_type(field, type);
    TRY(take_value(reader, type, &content));
    if (packed) return check_packed(declared, content);
    if (field->type == PROTOBUF_C_TYPE_STRING) return check_string(descriptor, field, content);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(budget, (const ProtobufCMessageDescriptor *)field->descriptor, content,
                             depth + 1);
    return NULL;
}

/* Recursion is bounded by MESSAGE_DEPTH_MAX. */
static struct error *check_message(struct budget *budget, const ProtobufCMessageDescriptor *descriptor,
                                   struct bytes bytes, unsigned depth)
{
    enum { END_GROUP = 4 };
    if (depth > MESSAGE_DEPTH_MAX)
        return error_new(ERROR_LIMIT, "proto: messages nested deeper than %d", (int)MESSAGE_DEPTH_MAX);
    struct wire_reader reader = wire_reader_of(bytes);
    unsigned hint = 0;
    while (reader.rest.size > 0) {
        uint64_t tag;
        struct bytes ignored;
        if (!wire_next_varint(&reader, &tag)) return bad_varint(reader.rest);
        if (budget->fields-- == 0)
            return error_new(ERROR_LIMIT, "proto: more than %d fields in one request",
                             (int)MESSAGE_REQUEST_FIELDS_MAX);
        unsigned type = tag & 7;
        if (type == END_GROUP)
            return error_new(ERROR_INVALID, "proto: %s: wiretype end group for non-group",
                             descriptor->short_name);
        if (tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
            return error_new(ERROR_INVALID, "proto: %s: illegal tag %d (wire type %u)",
                             descriptor->short_name, (int)(tag >> 3), type);
        const ProtobufCFieldDescriptor *field = find_field(descriptor, tag >> 3, &hint);
        if (field != NULL)
            TRY(check_field(budget, descriptor, field, &reader, type, depth));
        else
            TRY(take_value(&reader, type, &ignored));
    }
    return NULL;
}

static struct error *check(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes, uint64_t fields)
{
    struct budget budget = {.fields = fields};
    return check_message(&budget, descriptor, bytes, 0);
}

struct error *message_check(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes)
{
    return check(descriptor, bytes, UINT64_MAX);
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

/* protobuf-c's allocator over an arena, for its own functions. */
static ProtobufCAllocator allocator_of(struct arena *arena)
{
    return (ProtobufCAllocator){.alloc = allocate, .free = release, .allocator_data = arena};
}

/* ---- Decoding and encoding ---- */

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                struct arena *arena, uint64_t fields, struct error **error)
{
    struct error *failure = check(descriptor, bytes, fields);
    ProtobufCMessage *message = NULL;
    if (failure == NULL) {
        static const uint8_t nothing[1];
        ProtobufCAllocator allocator = allocator_of(arena);
        message = protobuf_c_message_unpack(descriptor, &allocator, bytes.size,
                                            bytes.size > 0 ? bytes.data : nothing);
        /* What the check lets through and protobuf-c does not: a proto2 message without a required field, a
         * tag written in more bytes than it needs. */
        if (message == NULL)
            failure = error_new(ERROR_INVALID, "proto: %s: cannot parse invalid wire-format data",
                                descriptor->short_name);
    }
    if (error != NULL)
        *error = failure;
    else
        error_free(failure);
    return message;
}

ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                 struct arena *arena, struct error **error)
{
    return unpack(descriptor, bytes, arena, UINT64_MAX, error);
}

ProtobufCMessage *message_unpack_request(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                         struct arena *arena, struct error **error)
{
    return unpack(descriptor, bytes, arena, MESSAGE_REQUEST_FIELDS_MAX, error);
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
    ProtobufCAllocator allocator = allocator_of(arena);
    static const uint8_t nothing[1];
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, &allocator, packed.size,
                                                       packed.size > 0 ? packed.data : nothing);
    assert(copy != NULL);
    buf_deinit(&packed);
    return copy;
}

size_t message_element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        break;
    }
    return sizeof(uint32_t);
}
