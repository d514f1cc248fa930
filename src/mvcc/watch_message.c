#include "mvcc/watch_message.h"

#include "base/memory.h"
#include "base/wire.h"

#include <assert.h>
#include <stdlib.h>

enum {
    FIELD_HEADER = 1,
    FIELD_WATCH_ID = 2,
    FIELD_CREATED = 3,
    FIELD_CANCELED = 4,
    FIELD_COMPACT_REVISION = 5,
    FIELD_CANCEL_REASON = 6,
    FIELD_FRAGMENT = 7,
    FIELD_EVENTS = 11,
    EVENT_TYPE = 1,
    EVENT_KV = 2,
    EVENT_PREV_KV = 3,
    EVENT_DELETE = 1,
    HEADER_MAX = 4 * (1 + WIRE_VARINT_MAX),
};
/* The header with its tag and length, three numbers of up to 10 bytes, three booleans. */
_Static_assert(2 + HEADER_MAX + 2 * (1 + WIRE_VARINT_MAX) + 3 * 2 <= WATCH_HEAD_MAX, "heads fit");

/* All field numbers here are below 16: their tags take one byte. */
static uint8_t *put_tag(uint8_t *at, unsigned field, enum wire_type type)
{
    *at++ = (uint8_t)(field << 3 | (unsigned)type);
    return at;
}

static uint8_t *put_number(uint8_t *at, unsigned field, uint64_t value)
{
    return value == 0 ? at : wire_varint_put(put_tag(at, field, WIRE_VARINT), value);
}

size_t watch_head_write(uint8_t *at, const struct watch_head *head)
{
    uint8_t header[HEADER_MAX], *end = header;
    end = put_number(end, 1, head->cluster_id);
    end = put_number(end, 2, head->member_id);
    end = put_number(end, 3, (uint64_t)head->revision);
    end = put_number(end, 4, head->raft_term);
    size_t header_size = (size_t)(end - header);

    uint8_t *start = at;
    at = put_tag(at, FIELD_HEADER, WIRE_LENGTH);
    *at++ = (uint8_t)header_size;
    memcpy(at, header, header_size);
    at += header_size;
    at = put_number(at, FIELD_WATCH_ID, (uint64_t)head->watch_id);
    at = put_number(at, FIELD_CREATED, head->created);
    at = put_number(at, FIELD_CANCELED, head->canceled);
    at = put_number(at, FIELD_COMPACT_REVISION, (uint64_t)head->compact_revision);
    at = put_number(at, FIELD_FRAGMENT, head->fragment);
    return (size_t)(at - start);
}

static uint8_t *put_bytes(uint8_t *at, unsigned field, struct bytes bytes)
{
    at = wire_varint_put(put_tag(at, field, WIRE_LENGTH), bytes.size);
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

struct blob *watch_event_encode(bool deleted, struct bytes key_value, const struct bytes *previous)
{
    size_t size = wire_bytes_field_size(EVENT_KV, key_value.size);
    if (deleted) size += wire_uint_field_size(EVENT_TYPE, EVENT_DELETE);
    if (previous != NULL) size += wire_bytes_field_size(EVENT_PREV_KV, previous->size);

    struct blob *blob = blob_new(wire_bytes_field_size(FIELD_EVENTS, size));
    uint8_t *at = wire_varint_put(put_tag(blob->data, FIELD_EVENTS, WIRE_LENGTH), size);
    if (deleted) at = put_number(at, EVENT_TYPE, EVENT_DELETE);
    at = put_bytes(at, EVENT_KV, key_value);
    if (previous != NULL) at = put_bytes(at, EVENT_PREV_KV, *previous);
    assert(at == blob->data + blob->size);
    return blob;
}

struct blob *watch_reason_encode(const char *reason)
{
    struct bytes text = bytes_from_string(reason);
    struct blob *blob = blob_new(wire_bytes_field_size(FIELD_CANCEL_REASON, text.size));
    put_bytes(blob->data, FIELD_CANCEL_REASON, text);
    return blob;
}

struct watch_message *watch_message_new(size_t capacity)
{
    struct watch_message *message = mem_alloc(sizeof(*message) + capacity * sizeof(message->parts[0]));
    *message = (struct watch_message){0};
    return message;
}

void watch_message_free(struct watch_message *message)
{
    for (size_t i = 0; i < message->part_count; i++) blob_unref(message->parts[i]);
    free(message);
}
