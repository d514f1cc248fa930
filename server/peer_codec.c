#include "server/peer_codec.h"

#include "raft/codec.h"

#include <assert.h>

enum record_type { RECORD_ALIVE = 0, RECORD_ENTRIES = 1, RECORD_MESSAGE = 2 };

enum { NUMBER_SIZE = 8 };

void peer_codec_init(struct peer_codec *codec, enum peer_stream stream, uint64_t from, uint64_t to)
{
    *codec = (struct peer_codec){.stream = stream, .from = from, .to = to};
}

void peer_codec_deinit(struct peer_codec *codec)
{
    buf_deinit(&codec->partial);
}

/* ---- the position of an append stream ---- */

/* The message begins where the one before ended, in the same term, and so do its entries' predecessors. */
static bool continues(const struct peer_codec *codec, const struct raft_message *message)
{
    return codec->index == message->index && codec->term == message->log_term &&
           message->log_term == message->term;
}

static void move_behind(struct peer_codec *codec, const struct raft_message *message)
{
    size_t count = message->entries.count;
    codec->term = message->term;
    codec->index = count > 0 ? message->entries.items[count - 1].index : message->index;
}

/* ---- writing ---- */

static void put_number(struct buf *out, uint64_t number)
{
    be64_put(buf_reserve(out, NUMBER_SIZE), number);
    out->size += NUMBER_SIZE;
}

static size_t begin_sized(struct buf *out)
{
    put_number(out, 0);
    return out->size;
}

static void end_sized(struct buf *out, size_t start)
{
    be64_put(out->data + start - NUMBER_SIZE, out->size - start);
}

static void put_message(struct buf *out, const struct raft_message *message)
{
    size_t start = begin_sized(out);
    raft_encode_message(out, message);
    end_sized(out, start);
}

static void put_entries(struct buf *out, const struct raft_message *message)
{
    put_number(out, message->entries.count);
    for (size_t i = 0; i < message->entries.count; i++) {
        size_t start = begin_sized(out);
        raft_encode_entry(out, &message->entries.items[i]);
        end_sized(out, start);
    }
    put_number(out, message->commit);
}

void peer_codec_encode(struct peer_codec *codec, struct buf *out, const struct raft_message *message)
{
    if (codec->stream == PEER_STREAM_MESSAGE) {
        put_message(out, message);
        return;
    }
    assert(message->type == RAFT_APP);
    if (continues(codec, message)) {
        buf_append_byte(out, RECORD_ENTRIES);
        put_entries(out, message);
        codec->index += message->entries.count;
    } else {
        buf_append_byte(out, RECORD_MESSAGE);
        put_message(out, message);
        move_behind(codec, message);
    }
}

void peer_codec_encode_alive(const struct peer_codec *codec, struct buf *out)
{
    if (codec->stream == PEER_STREAM_MESSAGE)
        put_message(out, &(const struct raft_message){.type = RAFT_HEARTBEAT});
    else
        buf_append_byte(out, RECORD_ALIVE);
}

/* ---- reading ---- */

/* What lies ahead: the next record when it is there as a whole. */
struct record {
    size_t size;
    enum record_type type;
    struct bytes body; /* the message; or n, the entries and commit */
};

enum look { LOOK_RECORD, LOOK_MORE, LOOK_BROKEN };

/* The size of n, n × (size, entry), commit; 0 when its end is not there yet. */
static enum look measure_entries(struct bytes input, size_t *size)
{
    size_t at = NUMBER_SIZE;
    if (input.size < at) return LOOK_MORE;
    uint64_t count = be64_get(input.data);
    if (count > PEER_RECORD_MAX / NUMBER_SIZE) return LOOK_BROKEN;
    for (uint64_t i = 0; i < count; i++) {
        if (input.size - at < NUMBER_SIZE) return LOOK_MORE;
        uint64_t entry = be64_get(input.data + at);
        at += NUMBER_SIZE;
        if (entry > PEER_RECORD_MAX || at + entry > PEER_RECORD_MAX) return LOOK_BROKEN;
        if (input.size - at < entry) return LOOK_MORE;
        at += entry;
    }
    if (input.size - at < NUMBER_SIZE) return LOOK_MORE;
    *size = at + NUMBER_SIZE;
    return LOOK_RECORD;
}

static enum look look_at_message(struct bytes input, size_t header, struct record *record)
{
    if (input.size < header + NUMBER_SIZE) return LOOK_MORE;
    uint64_t size = be64_get(input.data + header);
    if (size > PEER_RECORD_MAX) return LOOK_BROKEN;
    header += NUMBER_SIZE;
    if (input.size - header < size) return LOOK_MORE;
    *record = (struct record){.size = header + size,
                              .type = RECORD_MESSAGE,
                              .body = bytes_of(input.data + header, size)};
    return LOOK_RECORD;
}

static enum look look_ahead(const struct peer_codec *codec, struct bytes input, struct record *record)
{
    size_t size = 0;
    if (input.size == 0) return LOOK_MORE;
    if (codec->stream == PEER_STREAM_MESSAGE) return look_at_message(input, 0, record);
    switch (input.data[0]) {
    case RECORD_ALIVE:
        *record = (struct record){.size = 1, .type = RECORD_ALIVE};
        return LOOK_RECORD;
    case RECORD_ENTRIES: {
        enum look look = measure_entries(bytes_of(input.data + 1, input.size - 1), &size);
        *record =
            (struct record){.size = 1 + size, .type = RECORD_ENTRIES, .body = bytes_of(input.data + 1, size)};
        return look;
    }
    case RECORD_MESSAGE:
        return look_at_message(input, 1, record);
    default:
        return LOOK_BROKEN;
    }
}

/* The body was measured: all of it is there. */
static struct error *read_entries(struct peer_codec *codec, struct bytes body, struct raft_message *message)
{
    const uint8_t *at = body.data + NUMBER_SIZE;
    uint64_t count = be64_get(body.data);
    *message = (struct raft_message){.type = RAFT_APP,
                                     .from = codec->from,
                                     .to = codec->to,
                                     .term = codec->term,
                                     .log_term = codec->term,
                                     .index = codec->index};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size = be64_get(at);
        struct raft_entry entry = {0};
        TRY(raft_decode_entry(&entry, bytes_of(at + NUMBER_SIZE, size)));
        raft_entries_append_owned(&message->entries, entry);
        at += NUMBER_SIZE + size;
    }
    message->commit = be64_get(at);
    codec->index += count;
    return NULL;
}

static bool is_alive_sign(const struct raft_message *message)
{
    return message->type == RAFT_HEARTBEAT && message->from == RAFT_NONE && message->to == RAFT_NONE;
}

static struct error *read_record(struct peer_codec *codec, const struct record *record,
                                 struct raft_message *message)
{
    if (record->type == RECORD_ENTRIES) return read_entries(codec, record->body, message);
    TRY(raft_decode_message(message, record->body));
    if (codec->stream != PEER_STREAM_APPEND) return NULL;
    if (message->type != RAFT_APP)
        return error_new(ERROR_INVALID, "a message of type %d in a msgapp stream", (int)message->type);
    move_behind(codec, message);
    return NULL;
}

/* Decodes whole records; *used bytes of them. */
static struct error *decode_records(struct peer_codec *codec, struct bytes input, size_t *used,
                                    void (*found)(void *, struct raft_message *), void *context)
{
    struct record record;
    for (;;) {
        enum look look = look_ahead(codec, bytes_of(input.data + *used, input.size - *used), &record);
        if (look == LOOK_MORE) return NULL;
        if (look == LOOK_BROKEN)
            return error_new(ERROR_INVALID, "the stream is broken: a record of unknown type or size");
        *used += record.size;
        if (record.type == RECORD_ALIVE) continue;
        struct raft_message message = {0};
        struct error *error = read_record(codec, &record, &message);
        if (error == NULL && !is_alive_sign(&message)) found(context, &message);
        raft_message_deinit(&message);
        if (error != NULL) return error;
    }
}

struct error *peer_codec_decode(struct peer_codec *codec, struct bytes input,
                                void (*found)(void *context, struct raft_message *message), void *context)
{
    size_t used = 0;
    if (input.size == 0) return NULL;
    if (codec->partial.size == 0) {
        TRY(decode_records(codec, input, &used, found, context));
        buf_append(&codec->partial, input.data + used, input.size - used);
        return NULL;
    }
    buf_append_bytes(&codec->partial, input);
    TRY(decode_records(codec, buf_bytes(&codec->partial), &used, found, context));
    buf_consume(&codec->partial, used);
    if (codec->partial.size == 0) buf_deinit(&codec->partial);
    return NULL;
}
