/* wire: the protobuf wire format by hand.
 *
 * protobuf-c encodes and decodes messages; this is for the places where bytes that are already encoded are
 * spliced into a larger message without being decoded (a stored KeyValue into a RangeResponse, a client's
 * PutRequest into the InternalRaftRequest), and for the hot fixed messages of the log (Entry, HardState).
 * Format: protobuf's encoding guide.
 *
 * Readers never read past their input and report malformed bytes by `reader.failed`.
 */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include "base/buf.h"

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_LENGTH = 2, /* length-delimited: bytes, strings, messages, packed arrays */
    WIRE_FIXED32 = 5,
};

enum { WIRE_VARINT_MAX = 10 };

static inline size_t wire_varint_size(uint64_t value)
{
    return value == 0 ? 1 : (size_t)(64 - __builtin_clzll(value) + 6) / 7;
}

/* Writes at `at`, which must have room for WIRE_VARINT_MAX bytes; returns the end. */
static inline uint8_t *wire_varint_put(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

void wire_varint(struct buf *out, uint64_t value);
static inline void wire_tag(struct buf *out, uint32_t field, enum wire_type type)
{
    wire_varint(out, (uint64_t)field << 3 | (uint64_t)type);
}
/* A varint field; proto3's rule (leave out zeros) is the caller's to follow: see the _nonzero form. Negative
 * int64 go as their 64-bit two's complement. */
void wire_uint_field(struct buf *out, uint32_t field, uint64_t value);
static inline void wire_uint_field_nonzero(struct buf *out, uint32_t field, uint64_t value)
{
    if (value != 0) wire_uint_field(out, field, value);
}
void wire_bytes_field(struct buf *out, uint32_t field, struct bytes value);
static inline void wire_bytes_field_nonempty(struct buf *out, uint32_t field, struct bytes value)
{
    if (value.size > 0) wire_bytes_field(out, field, value);
}
/* Bytes that wire_bytes_field would write. */
static inline size_t wire_bytes_field_size(uint32_t field, size_t size)
{
    return wire_varint_size((uint64_t)field << 3) + wire_varint_size(size) + size;
}
static inline size_t wire_uint_field_size(uint32_t field, uint64_t value)
{
    return wire_varint_size((uint64_t)field << 3) + wire_varint_size(value);
}
/* A length-delimited field whose content is written between begin and end: begin returns a mark, end fixes
 * the length. */
size_t wire_message_begin(struct buf *out, uint32_t field);
void wire_message_end(struct buf *out, size_t mark);

struct wire_reader {
    struct bytes rest;
    bool failed;
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;     /* VARINT, FIXED64, FIXED32 */
    struct bytes bytes; /* LENGTH; borrowed from the input */
};

static inline struct wire_reader wire_reader_of(struct bytes input)
{
    return (struct wire_reader){.rest = input};
}
/* The next field. False at the end of input and on malformed input (then reader->failed is set). */
bool wire_next(struct wire_reader *reader, struct wire_field *field);
/* A varint of any length; wire_next_varint is the one to call. */
bool wire_next_long_varint(struct wire_reader *reader, uint64_t *value);
/* A bare varint, as inside packed arrays. False as wire_next. Most varints have one byte. */
static inline bool wire_next_varint(struct wire_reader *reader, uint64_t *value)
{
    if (reader->rest.size == 0 || reader->rest.data[0] >= 0x80) return wire_next_long_varint(reader, value);
    *value = reader->rest.data[0];
    reader->rest = bytes_of(reader->rest.data + 1, reader->rest.size - 1);
    return true;
}

#endif
