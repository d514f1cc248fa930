/* Fuzzing the streams between members. The first byte chooses the kind of stream and how the rest is cut:
 * what comes in pieces must give the same messages, and the same failure, as what comes at once; and messages
 * that were understood must be the same after being written and read again. */
#include "raft/codec.h"
#include "server/peer_codec.h"
#include "tests/fuzz/fuzz.h"

enum { FROM = 2, TO = 1 };

struct reading {
    struct raft_messages messages;
    bool failed;
};

static void keep(void *context, struct raft_message *message)
{
    struct reading *reading = context;
    raft_messages_append(&reading->messages, raft_message_take(message));
}

static void read_stream(struct reading *reading, enum peer_stream stream, struct bytes input, size_t piece)
{
    struct peer_codec codec;
    peer_codec_init(&codec, stream, FROM, TO);
    for (size_t at = 0; at < input.size && !reading->failed; at += piece) {
        size_t size = input.size - at < piece ? input.size - at : piece;
        struct error *error = peer_codec_decode(&codec, bytes_of(input.data + at, size), keep, reading);
        reading->failed = error != NULL;
        error_free(error);
    }
    peer_codec_deinit(&codec);
}

static void write_messages(struct buf *out, const struct raft_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) raft_encode_message(out, &messages->items[i]);
}

static void check_same(const struct raft_messages *a, const struct raft_messages *b)
{
    struct buf first = {0}, second = {0};
    write_messages(&first, a);
    write_messages(&second, b);
    FUZZ_CHECK(a->count == b->count && bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    buf_deinit(&first);
    buf_deinit(&second);
}

static bool is_alive_sign(const struct raft_message *message)
{
    return message->type == RAFT_HEARTBEAT && message->from == 0 && message->to == 0;
}

static void check_written(enum peer_stream stream, const struct raft_messages *messages)
{
    struct peer_codec codec;
    struct buf bytes = {0};
    struct reading again = {0};
    peer_codec_init(&codec, stream, FROM, TO);
    for (size_t i = 0; i < messages->count; i++) {
        FUZZ_CHECK(!is_alive_sign(&messages->items[i]));
        peer_codec_encode(&codec, &bytes, &messages->items[i]);
        peer_codec_encode_alive(&codec, &bytes);
    }
    peer_codec_deinit(&codec);
    read_stream(&again, stream, buf_bytes(&bytes), bytes.size);
    FUZZ_CHECK(!again.failed && again.messages.count == messages->count);
    raft_messages_deinit(&again.messages);
    buf_deinit(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole = {0}, pieces = {0};
    if (size < 2) return 0;
    enum peer_stream stream = data[0] & 1 ? PEER_STREAM_APPEND : PEER_STREAM_MESSAGE;
    struct bytes input = bytes_of(data + 1, size - 1);
    read_stream(&whole, stream, input, input.size);
    read_stream(&pieces, stream, input, 1 + data[0] / 2);
    FUZZ_CHECK(whole.failed == pieces.failed);
    check_same(&whole.messages, &pieces.messages);
    check_written(stream, &whole.messages);
    raft_messages_deinit(&whole.messages);
    raft_messages_deinit(&pieces.messages);
    return 0;
}

/* A few appends that continue each other, one that does not, and the same as messages. */
bool fuzz_seed(size_t number, struct buf *out)
{
    struct peer_codec codec;
    if (number >= 6) return false;
    enum peer_stream stream = number % 2 == 1 ? PEER_STREAM_APPEND : PEER_STREAM_MESSAGE;
    buf_append_byte(out, (uint8_t)(number * 5 / 2 * 2 + number % 2));
    peer_codec_init(&codec, stream, FROM, TO);
    uint64_t index = 4;
    for (size_t i = 0; i < 4; i++) {
        struct raft_message message = {.type = RAFT_APP,
                                       .from = FROM,
                                       .to = TO,
                                       .term = 3,
                                       .log_term = 3,
                                       .index = index,
                                       .commit = index};
        for (size_t k = 0; k < i; k++) {
            struct raft_entry entry = {.term = 3, .index = ++index, .data = blob_new(3 + number)};
            memset(entry.data->data, 'x', 3 + number);
            raft_entries_append_owned(&message.entries, entry);
        }
        peer_codec_encode(&codec, out, &message);
        peer_codec_encode_alive(&codec, out);
        raft_message_deinit(&message);
        if (i == number) index = 2;
    }
    peer_codec_deinit(&codec);
    return true;
}
