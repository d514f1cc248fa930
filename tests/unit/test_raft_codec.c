/* raftpb: bytes as etcd writes them, and what is refused. */
#include "raft/codec.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* "08 01" into bytes. */
static struct bytes from_hex(struct buf *buf, const char *hex)
{
    buf_clear(buf);
    unsigned byte;
    int length;
    while (sscanf(hex, " %2x%n", &byte, &length) == 1) {
        buf_append_byte(buf, (uint8_t)byte);
        hex += length;
    }
    return buf_bytes(buf);
}

static void assert_encoded(const struct buf *encoded, const char *hex)
{
    struct buf expected = {0};
    from_hex(&expected, hex);
    assert_int_equal(encoded->size, expected.size);
    assert_memory_equal(encoded->data, expected.data, expected.size);
    buf_deinit(&expected);
}

/* The first entry of a one-member cluster's write-ahead log, written by etcd 3.5. */
static const char conf_change_entry[] =
    "08 01 10 01 18 01 22 5d 08 00 10 00 18 b1 d8 90 ce b4 c4 e0 c7 8a 01 22 4c"
    "7b226964223a393938343334313938363937363733383335332c22706565725552 "
    "4c73223a5b22687474703a2f2f3132372e302e302e313a3231"
    "313031225d2c226e616d65223a226d31227d";

static void a_conf_change_entry_is_written_as_etcd_does(void **state)
{
    (void)state;
    struct buf data = {0}, encoded = {0};
    struct raft_conf_change change = {
        .type = RAFT_CONF_CHANGE_ADD_NODE,
        .node_id = 0x8a8f822349c42c31,
        .context = BYTES_LITERAL(
            "{\"id\":9984341986976738353,\"peerURLs\":[\"http://127.0.0.1:21101\"],\"name\":\"m1\"}"),
    };
    raft_encode_conf_change(&data, &change);
    struct raft_entry entry = {.type = RAFT_ENTRY_CONF_CHANGE,
                               .term = 1,
                               .index = 1,
                               .data = blob_from(buf_bytes(&data))};
    raft_encode_entry(&encoded, &entry);
    assert_int_equal(encoded.size, raft_encoded_entry_size(&entry));
    assert_encoded(&encoded, conf_change_entry);

    struct raft_entry decoded = {0};
    assert_null(raft_decode_entry(&decoded, buf_bytes(&encoded)));
    assert_int_equal(decoded.type, RAFT_ENTRY_CONF_CHANGE);
    struct raft_conf_change_v2 v2 = {0};
    assert_null(raft_conf_change_from_entry(&v2, &decoded));
    assert_int_equal(v2.count, 1);
    assert_true(v2.changes[0].node_id == change.node_id);
    assert_true(bytes_equal(v2.context, change.context));
    raft_conf_change_v2_deinit(&v2);
    blob_unref(decoded.data);
    blob_unref(entry.data);
    buf_deinit(&data);
    buf_deinit(&encoded);
}

static void hard_state_and_snapshot_are_written_as_etcd_does(void **state)
{
    (void)state;
    struct buf encoded = {0};
    raft_encode_hard_state(&encoded, (struct raft_hard_state){.term = 1, .vote = 0, .commit = 1});
    assert_encoded(&encoded, "08 01 10 00 18 01");
    buf_clear(&encoded);
    raft_encode_hard_state(&encoded,
                           (struct raft_hard_state){.term = 2, .vote = 0x8a8f822349c42c31, .commit = 0x32});
    assert_encoded(&encoded, "08 02 10 b1d890ceb4c4e0c78a01 18 32");
    buf_clear(&encoded);

    struct raft_snapshot snapshot = {.index = 6, .term = 2};
    raft_ids_append(&snapshot.conf_state.voters, 0x8a8f822349c42c31);
    raft_encode_snapshot(&encoded, &snapshot);
    assert_encoded(&encoded, "12 13 0a 0d 08 b1d890ceb4c4e0c78a01 28 00 10 06 18 02");
    struct raft_snapshot decoded = {0};
    assert_null(raft_decode_snapshot(&decoded, buf_bytes(&encoded)));
    assert_int_equal(decoded.index, 6);
    assert_int_equal(decoded.term, 2);
    assert_null(decoded.data);
    assert_true(raft_conf_state_equivalent(&decoded.conf_state, &snapshot.conf_state));
    raft_snapshot_deinit(&decoded);
    raft_snapshot_deinit(&snapshot);
    buf_deinit(&encoded);
}

static void an_entry_without_data_differs_from_one_with_empty_data(void **state)
{
    (void)state;
    struct buf encoded = {0};
    struct raft_entry entry = {.term = 2, .index = 4};
    raft_encode_entry(&encoded, &entry);
    assert_encoded(&encoded, "08 00 10 02 18 04");
    assert_int_equal(raft_entry_encoded_size(&entry), 4); /* limits count what must be written */
    buf_clear(&encoded);
    entry.data = blob_new(0);
    raft_encode_entry(&encoded, &entry);
    assert_encoded(&encoded, "08 00 10 02 18 04 22 00");
    struct raft_entry decoded = {0};
    assert_null(raft_decode_entry(&decoded, buf_bytes(&encoded)));
    assert_non_null(decoded.data);
    blob_unref(decoded.data);
    blob_unref(entry.data);
    buf_deinit(&encoded);
}

/* Sent by an etcd 3.5 leader: with an empty snapshot, as up to 3.5 every message has. */
static const char append_message[] =
    "08 03 10 d2f9d4e6bab6b5d77a 18 bb829cb9c6c2b1b438 20 02 28 01 30 03"
    "3a 06 08 00 10 02 18 04 40 03 4a 0a 12 08 0a 02 28 00 10 00 18 00 50 00 58 00";

static void a_message_of_etcd_3_5_is_understood(void **state)
{
    (void)state;
    struct buf input = {0}, encoded = {0};
    struct raft_message message = {0};
    assert_null(raft_decode_message(&message, from_hex(&input, append_message)));
    assert_int_equal(message.type, RAFT_APP);
    assert_true(message.to == 0x7aaed5b3acd53cd2 && message.from == 0x3868c6146727013b);
    assert_int_equal(message.term, 2);
    assert_int_equal(message.log_term, 1);
    assert_int_equal(message.index, 3);
    assert_int_equal(message.commit, 3);
    assert_int_equal(message.entries.count, 1);
    assert_int_equal(message.entries.items[0].index, 4);
    assert_null(message.entries.items[0].data);
    assert_null(message.snapshot);
    assert_null(message.context);
    /* We write what 3.6 does: no empty snapshot, but the vote. */
    raft_encode_message(&encoded, &message);
    assert_encoded(&encoded, "08 03 10 d2f9d4e6bab6b5d77a 18 bb829cb9c6c2b1b438 20 02 28 01 30 03"
                             "3a 06 08 00 10 02 18 04 40 03 50 00 58 00 68 00");
    raft_message_deinit(&message);
    buf_deinit(&input);
    buf_deinit(&encoded);
}

static void heartbeats_of_all_versions_are_understood(void **state)
{
    (void)state;
    static const char *const heartbeats[] = {
        "08 08 10 00 18 00 20 00 28 00 30 00 40 00 4a 0a 12 08 0a 02 28 00 10 00 18 00 50 00 58 00", /* 3.5 */
        "08 08 10 00 18 00 20 00 28 00 30 00 40 00 50 00 58 00 68 00",                               /* 3.6 */
        "08 08",                                                                                     /* 3.7 */
    };
    for (size_t i = 0; i < 3; i++) {
        struct buf input = {0}, encoded = {0};
        struct raft_message message = {0};
        assert_null(raft_decode_message(&message, from_hex(&input, heartbeats[i])));
        assert_int_equal(message.type, RAFT_HEARTBEAT);
        assert_null(message.snapshot);
        raft_encode_message(&encoded, &message);
        assert_encoded(&encoded, heartbeats[1]);
        raft_message_deinit(&message);
        buf_deinit(&input);
        buf_deinit(&encoded);
    }
}

static void every_field_of_a_message_survives(void **state)
{
    (void)state;
    struct raft_message message = {.type = RAFT_STORAGE_APPEND,
                                   .reject = true,
                                   .to = 1,
                                   .from = RAFT_APPEND_THREAD,
                                   .term = 3,
                                   .log_term = 4,
                                   .index = 5,
                                   .commit = 6,
                                   .vote = 7,
                                   .reject_hint = 8,
                                   .context = blob_from(BYTES_LITERAL("context")),
                                   .snapshot = mem_zalloc(1, sizeof(struct raft_snapshot))};
    message.snapshot->index = 300;
    message.snapshot->term = 2;
    message.snapshot->data = blob_new(1000);
    memset(message.snapshot->data->data, 'x', 1000);
    for (uint64_t id = 1; id < 200; id++)
        raft_ids_append(&message.snapshot->conf_state.learners_next, id << 40);
    message.snapshot->conf_state.auto_leave = true;
    struct raft_entry entry = {.type = RAFT_ENTRY_CONF_CHANGE_V2,
                               .term = 9,
                               .index = 10,
                               .data = blob_new(0)};
    raft_entries_append_owned(&message.entries, entry);
    struct raft_message response = {.type = RAFT_APP_RESP, .index = 77};
    raft_messages_append(&message.responses, response);

    struct buf encoded = {0}, again = {0};
    struct raft_message decoded = {0};
    raft_encode_message(&encoded, &message);
    assert_null(raft_decode_message(&decoded, buf_bytes(&encoded)));
    assert_int_equal(decoded.responses.items[0].index, 77);
    assert_int_equal(decoded.snapshot->conf_state.learners_next.count, 199);
    assert_int_equal(decoded.vote, 7);
    raft_encode_message(&again, &decoded);
    assert_int_equal(again.size, encoded.size);
    assert_memory_equal(again.data, encoded.data, again.size);
    raft_message_deinit(&decoded);
    raft_message_deinit(&message);
    buf_deinit(&encoded);
    buf_deinit(&again);
}

static void packed_and_unpacked_ids_are_the_same(void **state)
{
    (void)state;
    struct buf input = {0};
    struct raft_conf_state unpacked = {0}, packed = {0};
    assert_null(raft_decode_conf_state(&unpacked, from_hex(&input, "08 01 08 ac02 10 05 28 01")));
    assert_null(raft_decode_conf_state(&packed, from_hex(&input, "0a 03 01 ac02 12 01 05 28 01")));
    assert_int_equal(unpacked.voters.count, 2);
    assert_int_equal(unpacked.voters.items[1], 300);
    assert_true(raft_conf_state_equivalent(&unpacked, &packed));
    raft_conf_state_deinit(&unpacked);
    raft_conf_state_deinit(&packed);
    buf_deinit(&input);
}

static void conf_changes_keep_their_order(void **state)
{
    (void)state;
    struct raft_conf_change_single changes[] = {{RAFT_CONF_CHANGE_REMOVE_NODE, 10},
                                                {RAFT_CONF_CHANGE_ADD_LEARNER_NODE, 300}};
    struct raft_conf_change_v2 change = {.transition = RAFT_TRANSITION_JOINT_EXPLICIT,
                                         .changes = changes,
                                         .count = 2};
    struct raft_conf_change_v2 decoded = {0};
    struct buf encoded = {0};
    raft_encode_conf_change_v2(&encoded, &change);
    assert_encoded(&encoded, "08 02 12 04 08 01 10 0a 12 05 08 03 10 ac02");
    assert_null(raft_decode_conf_change_v2(&decoded, buf_bytes(&encoded)));
    assert_int_equal(decoded.count, 2);
    assert_int_equal(decoded.changes[0].node_id, 10);
    assert_int_equal(decoded.changes[1].type, RAFT_CONF_CHANGE_ADD_LEARNER_NODE);
    raft_conf_change_v2_deinit(&decoded);
    buf_deinit(&encoded);
    assert_null(raft_decode_conf_change_v2(&decoded, BYTES_EMPTY)); /* leave the joint configuration */
    assert_int_equal(decoded.count, 0);
}

static void malformed_messages_are_refused(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "08",                               /* no value */
        "08 18",                            /* unknown type */
        "0a 00",                            /* type as bytes */
        "3a 05 08 00",                      /* entry cut short */
        "3a 02 08 03",                      /* unknown entry type */
        "3a 02 20 01",                      /* entry data as a number */
        "38 01",                            /* entry as a number */
        "4a 04 12 02 0a 05",                /* metadata cut short */
        "60 01",                            /* context as a number */
        "20 ff ff ff ff ff ff ff ff ff 02", /* more than 64 bits */
        "72 04 72 02 08 00",                /* a response to a response */
        "00 00",                            /* field 0 */
        "0b",                               /* a group */
    };
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        struct buf input = {0};
        struct raft_message message = {0};
        struct error *error = raft_decode_message(&message, from_hex(&input, inputs[i]));
        if (error == NULL) fail_msg("accepted: %s", inputs[i]);
        assert_true(error_is(error, ERROR_INVALID));
        assert_null(message.entries.items);
        error_free(error);
        buf_deinit(&input);
    }
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    struct buf input = {0};
    struct raft_message message = {0};
    assert_null(raft_decode_message(&message,
                                    from_hex(&input, "78 05 08 08 82 01 02 aa bb 8d 01 01 02 03 04 20 07")));
    assert_int_equal(message.type, RAFT_HEARTBEAT);
    assert_int_equal(message.term, 7);
    raft_message_deinit(&message);
    buf_deinit(&input);
}

static void lists_are_limited(void **state)
{
    (void)state;
    struct buf input = {0};
    struct raft_conf_state conf_state = {0};
    for (int i = 0; i <= RAFT_MEMBERS_MAX; i++) buf_append(&input, "\x08\x01", 2);
    struct error *error = raft_decode_conf_state(&conf_state, buf_bytes(&input));
    assert_true(error_is(error, ERROR_INVALID));
    error_free(error);
    buf_clear(&input);
    struct raft_conf_change_v2 change = {0};
    for (int i = 0; i <= RAFT_CODEC_CHANGES_MAX; i++) buf_append(&input, "\x12\x00", 2);
    error = raft_decode_conf_change_v2(&change, buf_bytes(&input));
    assert_true(error_is(error, ERROR_INVALID));
    assert_int_equal(change.count, 0);
    error_free(error);
    buf_deinit(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conf_change_entry_is_written_as_etcd_does),
        cmocka_unit_test(hard_state_and_snapshot_are_written_as_etcd_does),
        cmocka_unit_test(an_entry_without_data_differs_from_one_with_empty_data),
        cmocka_unit_test(a_message_of_etcd_3_5_is_understood),
        cmocka_unit_test(heartbeats_of_all_versions_are_understood),
        cmocka_unit_test(every_field_of_a_message_survives),
        cmocka_unit_test(packed_and_unpacked_ids_are_the_same),
        cmocka_unit_test(conf_changes_keep_their_order),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(lists_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
