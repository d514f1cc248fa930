/* Messages that no member following the protocol sends: refused, without harm. */
#include "raft_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A follower of member 2 in term 3, with entries 1 to 3 of which 2 are committed. */
static void follower_init(struct member *m)
{
    member_init(m, &(struct member_setup){.voters = NUMBERS(1, 2, 3),
                                          .log_terms = NUMBERS(1, 1, 2),
                                          .hard_state = {.term = 3, .commit = 2}});
    raft_become_follower(m->raft, 3, 2);
    member_flush(m);
}

static void leader_init(struct member *m)
{
    member_init(m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    member_make_leader(m);
    struct raft_message ack = {.type = RAFT_APP_RESP, .from = 2, .to = 1, .term = 1, .index = 1};
    member_receive(m, ack);
    member_drop_sent(m);
}

/* Steps it as coming from a peer, whatever `from` says, and releases it. */
static enum raft_result from_peer(struct member *m, struct raft_message message)
{
    enum raft_result result = raft_step_from_peer(m->raft, &message);
    raft_message_deinit(&message);
    return result;
}

static void types_that_never_travel_are_refused(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    for (enum raft_message_type type = 0; type < RAFT_MESSAGE_TYPES; type++) {
        if (!raft_message_type_is_local(type)) continue;
        struct raft_message message = {.type = type, .from = 2, .to = 1, .term = 3};
        assert_int_equal(from_peer(&m, message), RAFT_STEP_LOCAL_MESSAGE);
        message.from = RAFT_APPEND_THREAD; /* which a storage thread may send; a peer may not */
        assert_int_equal(from_peer(&m, message), RAFT_STEP_LOCAL_MESSAGE);
    }
    member_deinit(&m);
}

static void origins_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    static const uint64_t origins[] = {RAFT_NONE, 1, RAFT_APPEND_THREAD, RAFT_APPLY_THREAD};
    for (size_t i = 0; i < 4; i++) {
        struct raft_message message = {.type = RAFT_HEARTBEAT, .from = origins[i], .to = 1, .term = 3};
        assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    }
    assert_int_equal(m.raft->lead, 2);
    /* A proposal may come back from a former leader. */
    struct raft_message proposal = {.type = RAFT_PROP, .from = 1, .to = 1};
    raft_entries_append_owned(&proposal.entries, (struct raft_entry){.data = blob_new(1)});
    assert_int_equal(from_peer(&m, proposal), RAFT_OK);
    member_deinit(&m);
}

static void responses_of_strangers_are_refused(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m);
    struct raft_message ack = {.type = RAFT_APP_RESP, .from = 9, .to = 1, .term = 1, .index = 1};
    assert_int_equal(from_peer(&m, ack), RAFT_STEP_PEER_NOT_FOUND);
    member_deinit(&m);
}

static void proposals_must_be_whole(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m);
    struct raft_message message = {.type = RAFT_PROP, .from = 2, .to = 1};
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE); /* empty */
    message.type = RAFT_READ_INDEX;
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE); /* without a context */

    struct raft_message change = {.type = RAFT_PROP, .from = 2, .to = 1};
    struct raft_entry garbage = {.type = RAFT_ENTRY_CONF_CHANGE,
                                 .data = blob_from(BYTES_LITERAL("\xff\xff"))};
    raft_entries_append_owned(&change.entries, garbage);
    assert_int_equal(from_peer(&m, change), RAFT_INVALID_MESSAGE);

    struct raft_message with_term = {.type = RAFT_PROP, .from = 2, .to = 1, .term = 9};
    raft_entries_append_owned(&with_term.entries, (struct raft_entry){.data = blob_new(1)});
    assert_int_equal(from_peer(&m, with_term), RAFT_INVALID_MESSAGE);
    assert_int_equal(m.raft->term, 1);
    assert_int_equal(raft_log_last_index(&m.raft->log), 1);
    member_deinit(&m);
}

static void a_transfer_request_with_a_term_is_not_forwarded(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    struct raft_message message = {.type = RAFT_TRANSFER_LEADER, .from = 3, .to = 1, .term = 3};
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    assert_int_equal(m.raft->messages.count, 0);
    member_deinit(&m);
}

static void votes_need_a_term(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    struct raft_message message = {.type = RAFT_VOTE, .from = 3, .to = 1};
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    message.type = RAFT_PRE_VOTE;
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    member_deinit(&m);
}

static struct raft_message append(uint64_t index, uint64_t log_term, struct number_list terms)
{
    struct raft_message message = {
        .type = RAFT_APP, .from = 2, .to = 1, .term = 3, .index = index, .log_term = log_term};
    message.entries = make_entries(index, terms);
    return message;
}

static void appended_entries_must_continue_the_log(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    struct raft_message gap = append(3, 2, NUMBERS(3, 3));
    gap.entries.items[1].index = 6;
    assert_int_equal(from_peer(&m, gap), RAFT_INVALID_MESSAGE);
    assert_int_equal(from_peer(&m, append(3, 2, NUMBERS(3, 2))), RAFT_INVALID_MESSAGE);
    assert_int_equal(from_peer(&m, append(3, 2, NUMBERS(1))), RAFT_INVALID_MESSAGE);
    assert_int_equal(from_peer(&m, append(3, 2, NUMBERS(4))), RAFT_INVALID_MESSAGE);
    assert_int_equal(raft_log_last_index(&m.raft->log), 3);
    assert_int_equal(from_peer(&m, append(3, 2, NUMBERS(3))), RAFT_OK);
    assert_int_equal(raft_log_last_index(&m.raft->log), 4);
    member_deinit(&m);
}

static void committed_entries_are_never_replaced(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2), .log_terms = NUMBERS(1, 1, 2)});
    raft_become_follower(m.raft, 3, 2);
    raft_log_commit_to(&m.raft->log, 2);
    /* At the commit index itself the entry before matches, and the next is free; but below it everything is
     * answered. */
    assert_int_equal(from_peer(&m, append(1, 1, NUMBERS(3))), RAFT_OK);
    assert_int_equal(raft_log_term_or_zero(&m.raft->log, 2), 1);
    member_deinit(&m);
}

static void a_commit_index_beyond_the_log_says_that_entries_are_lost(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    struct raft_message message = {.type = RAFT_HEARTBEAT, .from = 2, .to = 1, .term = 3, .commit = 4};
    assert_int_equal(from_peer(&m, message), RAFT_LOG_LOST);
    assert_int_equal(m.raft->log.committed, 2);
    member_deinit(&m);
}

static void read_positions_must_be_ones_that_were_given_out(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m);
    struct raft_message message = {.type = RAFT_HEARTBEAT_RESP, .from = 2, .to = 1, .term = 1};
    message.context = blob_from(BYTES_LITERAL("short"));
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    message.context = blob_new(8);
    le64_put(message.context->data, 1);
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    member_deinit(&m);
}

static void acknowledgements_must_be_of_entries_that_exist(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m);
    struct raft_message message = {.type = RAFT_APP_RESP, .from = 2, .to = 1, .term = 1, .index = 2};
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    assert_int_equal(member_progress(&m, 2)->match, 1);
    member_deinit(&m);
}

static struct raft_message snapshot_with(struct number_list voters, struct number_list outgoing)
{
    struct raft_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    assert_non_null(snapshot);
    snapshot->index = 9;
    snapshot->term = 3;
    for (size_t i = 0; i < voters.count; i++) raft_ids_append(&snapshot->conf_state.voters, voters.items[i]);
    for (size_t i = 0; i < outgoing.count; i++) {
        raft_ids_append(&snapshot->conf_state.voters_outgoing, outgoing.items[i]);
    }
    return (struct raft_message){.type = RAFT_SNAP, .from = 2, .to = 1, .term = 3, .snapshot = snapshot};
}

static void a_snapshots_configuration_must_be_possible(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    static const struct number_list none = {NULL, 0};
    assert_int_equal(from_peer(&m, snapshot_with(none, NUMBERS(1, 2))), RAFT_INVALID_MESSAGE);
    assert_int_equal(from_peer(&m, snapshot_with(NUMBERS(1, 2, 2), none)), RAFT_INVALID_MESSAGE);
    assert_int_equal(from_peer(&m, snapshot_with(NUMBERS(1, 0), none)), RAFT_INVALID_MESSAGE);
    struct raft_message missing = {.type = RAFT_SNAP, .from = 2, .to = 1, .term = 3};
    assert_int_equal(from_peer(&m, missing), RAFT_INVALID_MESSAGE);
    assert_int_equal(raft_log_last_index(&m.raft->log), 3);
    assert_int_equal(raft_progress_count(m.raft), 3);
    assert_int_equal(from_peer(&m, snapshot_with(NUMBERS(1, 2), NUMBERS(2, 3))), RAFT_OK);
    assert_int_equal(raft_log_last_index(&m.raft->log), 9);
    member_deinit(&m);
}

static void numbers_that_would_wrap_are_refused(void **state)
{
    (void)state;
    struct member m;
    follower_init(&m);
    struct raft_message message = {.type = RAFT_VOTE, .from = 3, .to = 1, .term = UINT64_MAX};
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    message = (struct raft_message){.type = RAFT_APP, .from = 2, .to = 1, .term = 3, .index = UINT64_MAX};
    assert_int_equal(from_peer(&m, message), RAFT_INVALID_MESSAGE);
    assert_int_equal(m.raft->term, 3);
    member_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_that_never_travel_are_refused),
        cmocka_unit_test(origins_that_cannot_be_are_refused),
        cmocka_unit_test(responses_of_strangers_are_refused),
        cmocka_unit_test(proposals_must_be_whole),
        cmocka_unit_test(a_transfer_request_with_a_term_is_not_forwarded),
        cmocka_unit_test(votes_need_a_term),
        cmocka_unit_test(appended_entries_must_continue_the_log),
        cmocka_unit_test(committed_entries_are_never_replaced),
        cmocka_unit_test(a_commit_index_beyond_the_log_says_that_entries_are_lost),
        cmocka_unit_test(read_positions_must_be_ones_that_were_given_out),
        cmocka_unit_test(acknowledgements_must_be_of_entries_that_exist),
        cmocka_unit_test(a_snapshots_configuration_must_be_possible),
        cmocka_unit_test(numbers_that_would_wrap_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
