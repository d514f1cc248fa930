#include "base/wire.h"

#include <assert.h>

void wire_varint(struct buf *out, uint64_t value)
{
    uint8_t *at = buf_reserve(out, WIRE_VARINT_MAX);
    out->size += (size_t)(wire_varint_put(at, value) - at);
}

void wire_uint_field(struct buf *out, uint32_t field, uint64_t value)
{
    wire_tag(out, field, WIRE_VARINT);
    wire_varint(out, value);
}

void wire_bytes_field(struct buf *out, uint32_t field, struct bytes value)
{
    wire_tag(out, field, WIRE_LENGTH);
    wire_varint(out, value.size);
    buf_append_bytes(out, value);
}

/* The length is written as one byte first, the usual case; a longer content is moved up by end. */
size_t wire_message_begin(struct buf *out, uint32_t field)
{
    wire_tag(out, field, WIRE_LENGTH);
    buf_append_byte(out, 0);
    return out->size;
}

void wire_message_end(struct buf *out, size_t mark)
{
    assert(mark > 0 && mark <= out->size);
    size_t size = out->size - mark;
    size_t extra = wire_varint_size(size) - 1;
    if (extra > 0) {
        buf_reserve(out, extra);
        memmove(out->data + mark + extra, out->data + mark, size);
        out->size += extra;
    }
    wire_varint_put(out->data + mark - 1, size);
}

bool wire_next_long_varint(struct wire_reader *reader, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t i = 0; i < reader->rest.size && i < WIRE_VARINT_MAX; i++) {
        uint8_t byte = reader->rest.data[i];
        if (i == 9 && byte > 1) break; /* does not fit 64 bits */
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            reader->rest = bytes_of(reader->rest.data + i + 1, reader->rest.size - i - 1);
            *value = result;
            return true;
        }
    }
    reader->failed = reader->failed || reader->rest.size > 0;
    return false;
}

static bool take(struct wire_reader *reader, size_t size, struct bytes *taken)
{
    if (size > reader->rest.size) {
        reader->failed = true;
        return false;
    }
    *taken = bytes_of(reader->rest.data, size);
    reader->rest = bytes_of(reader->rest.data + size, reader->rest.size - size);
    return true;
}

static uint64_t little_endian(struct bytes bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes.size; i > 0; i--) value = value << 8 | bytes.data[i - 1];
    return value;
}

bool wire_next(struct wire_reader *reader, struct wire_field *field)
{
    uint64_t tag, length;
    if (reader->failed || reader->rest.size == 0 || !wire_next_varint(reader, &tag)) return false;
    *field = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
    bool ok = tag >> 3 != 0 && tag >> 3 < (1u << 29);
    if (ok) {
        switch (field->type) {
        case WIRE_VARINT:
            ok = wire_next_varint(reader, &field->value);
            break;
        case WIRE_LENGTH:
            ok = wire_next_varint(reader, &length) && take(reader, length, &field->bytes);
            break;
        case WIRE_FIXED64:
        case WIRE_FIXED32:
            ok = take(reader, field->type == WIRE_FIXED64 ? 8 : 4, &field->bytes);
            field->value = ok ? little_endian(field->bytes) : 0;
            break;
        default:
            ok = false; /* groups are not part of these protocols */
        }
    }
    if (!ok) reader->failed = true;
    return ok;
}
