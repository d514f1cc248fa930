#include "base/buf.h"
#include "base/wire.h"
#include "mvcc/store.h"

/* mvccpb.KeyValue's field numbers. */
enum {
    FIELD_KEY = 1,
    FIELD_CREATED = 2,
    FIELD_MODIFIED = 3,
    FIELD_VERSION = 4,
    FIELD_VALUE = 5,
    FIELD_LEASE = 6,
};

static bool take_field(struct mvcc_key_value *key_value, const struct wire_field *field)
{
    bool is_bytes = field->number == FIELD_KEY || field->number == FIELD_VALUE;
    if (field->number < FIELD_KEY || field->number > FIELD_LEASE) return true;
    if (field->type != (is_bytes ? WIRE_LENGTH : WIRE_VARINT)) return false;
    switch (field->number) {
    case FIELD_KEY:
        key_value->key = field->bytes;
        break;
    case FIELD_CREATED:
        key_value->created = (int64_t)field->value;
        break;
    case FIELD_MODIFIED:
        key_value->modified = (int64_t)field->value;
        break;
    case FIELD_VERSION:
        key_value->version = (int64_t)field->value;
        break;
    case FIELD_VALUE:
        key_value->value = field->bytes;
        break;
    default:
        key_value->lease = (int64_t)field->value;
        break;
    }
    return true;
}

bool mvcc_key_value_parse(struct bytes encoded, struct mvcc_key_value *key_value)
{
    *key_value = (struct mvcc_key_value){0};
    struct wire_reader reader = wire_reader_of(encoded);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (!take_field(key_value, &field)) return false;
    return !reader.failed;
}

static size_t uint_size(uint32_t field, int64_t value)
{
    return value == 0 ? 0 : wire_uint_field_size(field, (uint64_t)value);
}

static size_t bytes_size(uint32_t field, struct bytes value)
{
    return value.size == 0 ? 0 : wire_bytes_field_size(field, value.size);
}

static uint8_t *put_uint(uint8_t *at, uint32_t field, int64_t value)
{
    if (value == 0) return at;
    *at++ = (uint8_t)(field << 3 | WIRE_VARINT);
    return wire_varint_put(at, (uint64_t)value);
}

static uint8_t *put_bytes(uint8_t *at, uint32_t field, struct bytes value)
{
    if (value.size == 0) return at;
    *at++ = (uint8_t)(field << 3 | WIRE_LENGTH);
    at = wire_varint_put(at, value.size);
    memcpy(at, value.data, value.size);
    return at + value.size;
}

size_t mvcc_key_value_size(const struct mvcc_key_value *key_value)
{
    return bytes_size(FIELD_KEY, key_value->key) + uint_size(FIELD_CREATED, key_value->created) +
           uint_size(FIELD_MODIFIED, key_value->modified) + uint_size(FIELD_VERSION, key_value->version) +
           bytes_size(FIELD_VALUE, key_value->value) + uint_size(FIELD_LEASE, key_value->lease);
}

uint8_t *mvcc_key_value_put(uint8_t *at, const struct mvcc_key_value *key_value)
{
    at = put_bytes(at, FIELD_KEY, key_value->key);
    at = put_uint(at, FIELD_CREATED, key_value->created);
    at = put_uint(at, FIELD_MODIFIED, key_value->modified);
    at = put_uint(at, FIELD_VERSION, key_value->version);
    at = put_bytes(at, FIELD_VALUE, key_value->value);
    return put_uint(at, FIELD_LEASE, key_value->lease);
}
