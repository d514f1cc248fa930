/* How messages lie in the streams between members, byte for byte as etcd writes and reads them. */
#include "base/memory.h"
#include "server/peer_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LEADER   UINT64_C(0x3868c6146727013b)
#define FOLLOWER UINT64_C(0x7aaed5b3acd53cd2)

/* What a leader of etcd 3.5 sent to a follower on a msgapp stream. */
static const char captured[] = "020000000000000036"
                               "080310d2f9d4e6bab6b5d77a18bb829cb9c6c2b1b438"
                               "2002280130033a0608001002180440034a0a12080a02280010001800"
                               "50005800"
                               "01"
                               "0000000000000001"
                               "000000000000001f"
                               "0800100218052217220"
                               "80a026b3112027631a2060a08828ae6ecbfc0a8e93c"
                               "0000000000000004"
                               "01"
                               "0000000000000000"
                               "0000000000000005"
                               "00";

static struct buf from_hex(const char *hex)
{
    struct buf out = {0};
    for (size_t i = 0; hex[i] != '\0'; i += 2) {
        char pair[3] = {hex[i], hex[i + 1], '\0'};
        buf_append_byte(&out, (uint8_t)strtoul(pair, NULL, 16));
    }
    return out;
}

static void keep(void *context, struct raft_message *message)
{
    raft_messages_append(context, raft_message_take(message));
}

static void check_captured(const struct raft_messages *found)
{
    assert_int_equal(found->count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(found->items[i].type, RAFT_APP);
        assert_true(found->items[i].from == LEADER && found->items[i].to == FOLLOWER);
        assert_int_equal(found->items[i].term, 2);
    }
    assert_int_equal(found->items[0].log_term, 1);
    assert_int_equal(found->items[0].index, 3);
    assert_int_equal(found->items[0].entries.items[0].index, 4);
    assert_int_equal(found->items[1].log_term, 2);
    assert_int_equal(found->items[1].index, 4);
    assert_int_equal(found->items[1].commit, 4);
    assert_int_equal(found->items[1].entries.count, 1);
    assert_int_equal(found->items[1].entries.items[0].index, 5);
    assert_int_equal(found->items[1].entries.items[0].data->size, 23);
    assert_int_equal(found->items[2].index, 5);
    assert_int_equal(found->items[2].commit, 5);
    assert_int_equal(found->items[2].entries.count, 0);
}

static void etcd_append_stream_is_understood_in_pieces_of_any_size(void **state)
{
    (void)state;
    struct buf bytes = from_hex(captured);
    for (size_t piece = 1; piece <= bytes.size; piece++) {
        struct peer_codec codec;
        struct raft_messages found = {0};
        peer_codec_init(&codec, PEER_STREAM_APPEND, LEADER, FOLLOWER);
        for (size_t at = 0; at < bytes.size; at += piece) {
            size_t size = bytes.size - at < piece ? bytes.size - at : piece;
            assert_null(peer_codec_decode(&codec, bytes_of(bytes.data + at, size), keep, &found));
        }
        check_captured(&found);
        raft_messages_deinit(&found);
        peer_codec_deinit(&codec);
    }
    buf_deinit(&bytes);
}

static void appends_that_continue_are_sent_without_a_header(void **state)
{
    (void)state;
    struct buf bytes = from_hex(captured), again = {0};
    struct peer_codec reader, writer;
    struct raft_messages found = {0};
    peer_codec_init(&reader, PEER_STREAM_APPEND, LEADER, FOLLOWER);
    peer_codec_init(&writer, PEER_STREAM_APPEND, LEADER, FOLLOWER);
    assert_null(peer_codec_decode(&reader, buf_bytes(&bytes), keep, &found));
    peer_codec_encode(&writer, &again, &found.items[0]);
    assert_int_equal(again.data[0], 2);
    buf_clear(&again);
    peer_codec_encode(&writer, &again, &found.items[1]);
    peer_codec_encode(&writer, &again, &found.items[2]);
    peer_codec_encode_alive(&writer, &again);
    size_t header = 9 + 0x36; /* the first record: ours leaves out etcd 3.5's empty snapshot */
    assert_memory_equal(again.data, bytes.data + header, bytes.size - header);
    assert_int_equal(again.size, bytes.size - header);
    raft_messages_deinit(&found);
    peer_codec_deinit(&reader);
    peer_codec_deinit(&writer);
    buf_deinit(&again);
    buf_deinit(&bytes);
}

static void what_one_codec_writes_another_reads(void **state)
{
    (void)state;
    struct peer_codec writer, reader;
    struct buf bytes = {0};
    struct raft_messages found = {0};
    struct raft_message message = {
        .type = RAFT_APP, .from = LEADER, .to = FOLLOWER, .term = 7, .log_term = 6, .index = 10, .commit = 9};
    peer_codec_init(&writer, PEER_STREAM_APPEND, LEADER, FOLLOWER);
    peer_codec_init(&reader, PEER_STREAM_APPEND, LEADER, FOLLOWER);
    for (uint64_t i = 1; i <= 3; i++)
        raft_entries_append_owned(&message.entries,
                                  (struct raft_entry){.term = 7, .index = 10 + i, .data = blob_new(i)});
    for (size_t i = 0; i < 3; i++) memset(message.entries.items[i].data->data, 'x', i + 1);
    peer_codec_encode(&writer, &bytes, &message);
    peer_codec_encode_alive(&writer, &bytes);
    /* From the same place again, as after a rejection: it does not continue. */
    peer_codec_encode(&writer, &bytes, &message);
    raft_entries_truncate(&message.entries, 0);
    message.index = 13;
    message.log_term = 7;
    message.commit = 13;
    peer_codec_encode(&writer, &bytes, &message);
    assert_null(peer_codec_decode(&reader, buf_bytes(&bytes), keep, &found));
    assert_int_equal(found.count, 3);
    assert_int_equal(found.items[1].index, 10);
    assert_int_equal(found.items[1].log_term, 6);
    assert_int_equal(found.items[1].entries.count, 3);
    assert_int_equal(found.items[1].entries.items[2].data->size, 3);
    assert_int_equal(found.items[2].index, 13);
    assert_int_equal(found.items[2].commit, 13);
    raft_message_deinit(&message);
    raft_messages_deinit(&found);
    peer_codec_deinit(&writer);
    peer_codec_deinit(&reader);
    buf_deinit(&bytes);
}

static void signs_of_life_are_no_messages(void **state)
{
    (void)state;
    /* As etcd 3.5, 3.6 and 3.7 write them on a message stream. */
    const char *signs[] = {
        "000000000000001e08081000180020002800300040004a0a12080a0228001000180050005800",
        "0000000000000014080810001800200028003000400050005800"
        "6800",
        "00000000000000020808",
    };
    for (size_t i = 0; i < 3; i++) {
        struct buf bytes = from_hex(signs[i]);
        struct peer_codec codec;
        struct raft_messages found = {0};
        peer_codec_init(&codec, PEER_STREAM_MESSAGE, LEADER, FOLLOWER);
        assert_null(peer_codec_decode(&codec, buf_bytes(&bytes), keep, &found));
        assert_int_equal(found.count, 0);
        assert_int_equal(codec.partial.size, 0);
        peer_codec_deinit(&codec);
        buf_deinit(&bytes);
    }
}

static void broken_streams_are_refused(void **state)
{
    (void)state;
    const struct {
        enum peer_stream stream;
        const char *hex;
    } broken[] = {
        {PEER_STREAM_APPEND, "03"},                                 /* no such record */
        {PEER_STREAM_APPEND, "01ffffffffffffffff"},                 /* too many entries */
        {PEER_STREAM_APPEND, "010000000000000001ffffffffffffffff"}, /* too large an entry */
        {PEER_STREAM_APPEND, "02ffffffffffffffff"},                 /* too large a message */
        {PEER_STREAM_APPEND, "0200000000000000020808"},             /* a heartbeat among appends */
        {PEER_STREAM_APPEND, "010000000000000001000000000000000108"
                             "0000000000000000"},      /* half an entry */
        {PEER_STREAM_MESSAGE, "0000000020000001"},     /* 512 MiB and one byte */
        {PEER_STREAM_MESSAGE, "00000000000000020863"}, /* an unknown type */
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct buf bytes = from_hex(broken[i].hex);
        struct peer_codec codec;
        struct raft_messages found = {0};
        peer_codec_init(&codec, broken[i].stream, LEADER, FOLLOWER);
        struct error *error = peer_codec_decode(&codec, buf_bytes(&bytes), keep, &found);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_INVALID);
        assert_int_equal(found.count, 0);
        error_free(error);
        peer_codec_deinit(&codec);
        buf_deinit(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(etcd_append_stream_is_understood_in_pieces_of_any_size),
        cmocka_unit_test(appends_that_continue_are_sent_without_a_header),
        cmocka_unit_test(what_one_codec_writes_another_reads),
        cmocka_unit_test(signs_of_life_are_no_messages),
        cmocka_unit_test(broken_streams_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
