/* What the application is told and asked: Ready and Advance, asynchronous storage, proposals, configuration
 * changes, reads. */
#include "raft_fixture.h"

#include "raft/codec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct raft_message ack(uint64_t from, uint64_t term, uint64_t index)
{
    return (struct raft_message){.type = RAFT_APP_RESP, .from = from, .to = 1, .term = term, .index = index};
}

/* ---- Ready ---- */

static void a_commit_alone_need_not_be_synced(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    member_make_leader(&m);
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    assert_true(m.last_must_sync);
    member_receive(&m, ack(2, 1, 2));
    assert_int_equal(m.raft->log.committed, 2);
    assert_false(m.last_must_sync);
    assert_int_equal(m.memory.hard_state.commit, 2); /* but it is told */
    member_deinit(&m);
}

static void a_restart_applies_what_is_committed_and_not_applied(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1),
                                           .log_terms = NUMBERS(1, 1, 1),
                                           .hard_state = {.term = 1, .commit = 2}});
    member_restart(&m, 1);
    m.applied_index = 1;
    struct raft_ready ready;
    assert_true(raft_has_ready(m.raft));
    raft_take_ready(m.raft, &ready);
    assert_false(ready.has_hard_state);
    assert_false(ready.must_sync);
    assert_int_equal(ready.committed_entries.count, 1);
    assert_int_equal(ready.committed_entries.items[0].index, 2);
    raft_advance(m.raft);
    assert_false(raft_has_ready(m.raft));
    raft_ready_deinit(&ready);
    member_deinit(&m);
}

static void a_hard_state_that_the_log_contradicts_is_refused(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1), .log_terms = NUMBERS(1, 1)});
    raft_free(m.raft);
    raft_memory_storage_set_hard_state(&m.memory, (struct raft_hard_state){.term = 1, .commit = 3});
    struct error *error = raft_new(&m.raft, &m.config);
    assert_true(error_is(error, ERROR_CORRUPT));
    assert_null(m.raft);
    error_free(error);
    member_deinit(&m);
}

static void applying_is_paged_and_loses_nothing(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1),
                                           .log_terms = NUMBERS(1, 1, 1, 1, 1),
                                           .hard_state = {.term = 1, .commit = 5},
                                           .config = {.max_committed_size_per_ready = 9}});
    struct raft_ready ready;
    for (uint64_t expected = 1; expected <= 5; expected += 2) { /* two entries of four bytes each fit */
        raft_take_ready(m.raft, &ready);
        assert_int_equal(ready.committed_entries.items[0].index, expected);
        assert_int_equal(ready.committed_entries.count, expected == 5 ? 1 : 2);
        raft_advance(m.raft);
        raft_ready_deinit(&ready);
    }
    assert_false(raft_has_ready(m.raft));
    member_deinit(&m);
}

static void bootstrap_makes_the_same_first_entries_everywhere(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){0});
    struct raft_peer peers[] = {{1, BYTES_LITERAL("one")}, {2, BYTES_LITERAL("two")}};
    assert_null(raft_bootstrap(m.raft, peers, 2));
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready);
    assert_true(ready.has_hard_state && ready.must_sync);
    assert_int_equal(ready.hard_state.term, 1);
    assert_int_equal(ready.hard_state.commit, 2);
    assert_int_equal(ready.entries.count, 2);
    assert_int_equal(ready.committed_entries.count, 2);
    static const uint8_t first[] = {0x08, 0x00, 0x10, 0x00, 0x18, 0x01, 0x22, 0x03, 'o', 'n', 'e'};
    assert_true(bytes_equal(blob_bytes(ready.entries.items[0].data), bytes_of(first, sizeof(first))));
    raft_memory_storage_append(&m.memory, ready.entries.items, ready.entries.count);
    raft_advance(m.raft);
    raft_ready_deinit(&ready);
    struct error *again = raft_bootstrap(m.raft, peers, 2);
    assert_non_null(again);
    error_free(again);
    member_deinit(&m);
}

static void invalid_configurations_are_refused(void **state)
{
    (void)state;
    struct raft_memory_storage memory;
    raft_memory_storage_init(&memory);
    const struct raft_config good = {.id = 1,
                                     .election_tick = 10,
                                     .heartbeat_tick = 1,
                                     .storage = &memory.storage,
                                     .max_size_per_message = 100,
                                     .max_inflight_messages = 10};
    struct raft_config cases[8];
    for (size_t i = 0; i < 8; i++) cases[i] = good;
    cases[0].id = RAFT_NONE;
    cases[1].id = RAFT_APPLY_THREAD;
    cases[2].heartbeat_tick = 0;
    cases[3].election_tick = 1;
    cases[4].storage = NULL;
    cases[5].max_inflight_messages = 0;
    cases[6].max_inflight_bytes = 99;
    cases[7].read_only_option = RAFT_READ_ONLY_LEASE_BASED;
    for (size_t i = 0; i < 8; i++) {
        struct raft *raft;
        struct error *error = raft_new(&raft, &cases[i]);
        assert_true(error_is(error, ERROR_INVALID));
        error_free(error);
    }
    raft_memory_storage_deinit(&memory);
}

/* ---- Asynchronous storage ---- */

static const struct raft_message *storage_append_of(const struct raft_ready *ready)
{
    for (size_t i = 0; i < ready->messages.count; i++) {
        if (ready->messages.items[i].type == RAFT_STORAGE_APPEND) return &ready->messages.items[i];
    }
    fail_msg("no MsgStorageAppend");
    return NULL;
}

static void rejections_too_wait_for_the_write(void **state)
{
    (void)state;
    struct member m;
    member_init(&m,
                &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.async_storage_writes = true}});
    raft_become_follower(m.raft, 1, 2);
    struct raft_message append = {.type = RAFT_APP, .from = 2, .to = 1, .term = 1, .index = 5, .log_term = 1};
    struct raft_message vote = {.type = RAFT_VOTE, .from = 3, .to = 1, .term = 1};
    assert_int_equal(member_step(&m, append), RAFT_OK);
    assert_int_equal(member_step(&m, vote), RAFT_OK);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready);
    assert_int_equal(ready.messages.count, 1);
    const struct raft_messages *responses = &storage_append_of(&ready)->responses;
    assert_int_equal(responses->count, 2);
    assert_true(responses->items[0].reject && responses->items[0].type == RAFT_APP_RESP);
    assert_true(responses->items[1].reject && responses->items[1].type == RAFT_VOTE_RESP);
    raft_ready_deinit(&ready);
    member_deinit(&m);
}

/* Takes a ready and returns its append as the storage thread would have done it. */
static struct raft_message take_append(struct member *m)
{
    struct raft_ready ready;
    struct raft_message copy = {0};
    raft_take_ready(m->raft, &ready);
    raft_message_copy(&copy, storage_append_of(&ready));
    raft_memory_storage_append(&m->memory, copy.entries.items, copy.entries.count);
    raft_ready_deinit(&ready);
    return copy;
}

static void deliver_own_responses(struct member *m, struct raft_message *append)
{
    for (size_t i = 0; i < append->responses.count; i++) {
        if (append->responses.items[i].to != 1) continue;
        assert_int_equal(raft_step(m->raft, &append->responses.items[i]), RAFT_OK);
    }
    raft_message_deinit(append);
}

static enum raft_result append_from(struct member *m, uint64_t leader, uint64_t term, uint64_t entry_term)
{
    struct raft_message message = {.type = RAFT_APP, .from = leader, .to = 1, .term = term};
    raft_entries_append_owned(&message.entries, (struct raft_entry){.term = entry_term, .index = 1});
    return member_step(m, message);
}

static void an_entry_replaced_and_replaced_back_is_released_by_its_last_write_only(void **state)
{
    (void)state;
    struct member m;
    member_init(&m,
                &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.async_storage_writes = true}});
    /* Three leaders in turn overwrite entry 1 while the first write is under way: A of term 1, B of term 2, A
     * again. */
    assert_int_equal(append_from(&m, 2, 1, 1), RAFT_OK);
    struct raft_message first = take_append(&m);
    assert_int_equal(append_from(&m, 3, 2, 2), RAFT_OK);
    struct raft_message second = take_append(&m);
    assert_int_equal(append_from(&m, 2, 3, 1), RAFT_OK);
    struct raft_message third = take_append(&m);

    deliver_own_responses(
        &m, &first); /* it names (1, 1), as the log does; but the second write is still to hit the disk */
    assert_int_equal(m.raft->log.unstable.entries.count, 1);
    deliver_own_responses(&m, &second);
    assert_int_equal(m.raft->log.unstable.entries.count, 1);
    deliver_own_responses(&m, &third);
    assert_int_equal(m.raft->log.unstable.entries.count, 0);
    member_deinit(&m);
}

static void a_later_append_attests_the_whole_unstable_log(void **state)
{
    (void)state;
    struct member m;
    member_init(&m,
                &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.async_storage_writes = true}});
    assert_int_equal(append_from(&m, 2, 1, 1), RAFT_OK);
    struct raft_message first = take_append(&m);
    struct raft_message vote = {.type = RAFT_VOTE, .from = 3, .to = 1, .term = 2, .index = 1, .log_term = 1};
    assert_int_equal(member_step(&m, vote), RAFT_OK);
    struct raft_message second = take_append(&m);
    assert_int_equal(second.entries.count, 0);
    deliver_own_responses(&m, &first); /* of an older term by now */
    assert_int_equal(m.raft->log.unstable.entries.count, 1);
    deliver_own_responses(&m, &second);
    assert_int_equal(m.raft->log.unstable.entries.count, 0);
    member_deinit(&m);
}

static void unwritten_entries_are_not_applied_asynchronously(void **state)
{
    (void)state;
    struct member m;
    member_init(&m,
                &(struct member_setup){.voters = NUMBERS(1, 2), .config = {.async_storage_writes = true}});
    struct raft_message message = {.type = RAFT_APP, .from = 2, .to = 1, .term = 1, .commit = 1};
    raft_entries_append_owned(&message.entries, (struct raft_entry){.term = 1, .index = 1});
    assert_int_equal(member_step(&m, message), RAFT_OK);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready);
    assert_int_equal(ready.committed_entries.count, 0);
    raft_memory_storage_append(&m.memory, ready.entries.items, ready.entries.count);
    struct raft_message append = {0};
    raft_message_copy(&append, storage_append_of(&ready));
    raft_ready_deinit(&ready);
    deliver_own_responses(&m, &append);
    raft_take_ready(m.raft, &ready);
    assert_int_equal(ready.committed_entries.count, 1);
    raft_ready_deinit(&ready);
    member_deinit(&m);
}

/* ---- Proposals ---- */

static void the_uncommitted_tail_is_limited_by_payload(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2),
                                           .config = {.max_uncommitted_entries_size = 10}});
    member_make_leader(&m);
    assert_int_equal(member_propose(&m, "larger than the limit"), RAFT_OK); /* an empty tail takes any */
    assert_int_equal(member_propose(&m, "x"), RAFT_PROPOSAL_DROPPED);
    assert_int_equal(member_propose(&m, ""), RAFT_OK); /* and empty entries always go */
    member_flush(&m);
    member_receive(&m, ack(2, 1, 3));
    assert_int_equal(m.raft->uncommitted_size, 0);
    assert_int_equal(member_propose(&m, "0123456"), RAFT_OK);
    assert_int_equal(member_propose(&m, "789"), RAFT_OK);
    assert_int_equal(member_propose(&m, "0"), RAFT_PROPOSAL_DROPPED);
    member_deinit(&m);
}

static void proposals_need_a_leader(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    assert_int_equal(member_propose(&m, "x"), RAFT_PROPOSAL_DROPPED);
    raft_become_follower(m.raft, 1, 2);
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    assert_int_equal(member_sent(&m, RAFT_PROP, 2)->term, 0); /* what is forwarded belongs to no term */
    assert_int_equal(member_sent(&m, RAFT_PROP, 2)->from, 1);
    raft_become_candidate(m.raft);
    assert_int_equal(member_propose(&m, "x"), RAFT_PROPOSAL_DROPPED);
    m.raft->config.disable_proposal_forwarding = true;
    raft_become_follower(m.raft, 3, 2);
    assert_int_equal(member_propose(&m, "x"), RAFT_PROPOSAL_DROPPED);
    member_deinit(&m);
}

/* ---- Configuration changes ---- */

static enum raft_result propose_change(struct member *m, enum raft_conf_change_type type, uint64_t id)
{
    return raft_propose_conf_change(m->raft, &(struct raft_conf_change){.type = type, .node_id = id});
}

static void a_second_conf_change_becomes_an_empty_entry(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    member_make_leader(&m);
    member_receive(&m, ack(2, 1, 1));
    assert_int_equal(propose_change(&m, RAFT_CONF_CHANGE_ADD_NODE, 3), RAFT_OK);
    assert_int_equal(m.raft->pending_conf_index, 2);
    assert_int_equal(propose_change(&m, RAFT_CONF_CHANGE_ADD_NODE, 4), RAFT_OK);
    assert_int_equal(m.raft->pending_conf_index, 2);
    struct raft_entries entries = {0};
    assert_int_equal(raft_entries_between(m.raft, 2, 4, RAFT_NO_LIMIT, &entries), RAFT_OK);
    assert_int_equal(entries.items[0].type, RAFT_ENTRY_CONF_CHANGE);
    assert_int_equal(entries.items[1].type, RAFT_ENTRY_NORMAL);
    assert_null(entries.items[1].data);
    raft_entries_deinit(&entries);
    member_deinit(&m);
}

static void a_conf_change_within_a_batch_is_pending_at_its_own_index(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    member_make_leader(&m);
    member_receive(&m, ack(2, 1, 1));
    struct buf encoded = {0};
    raft_encode_conf_change(&encoded,
                            &(struct raft_conf_change){.type = RAFT_CONF_CHANGE_ADD_NODE, .node_id = 3});
    struct raft_message batch = {.type = RAFT_PROP, .from = 2, .to = 1};
    raft_entries_append_owned(&batch.entries, (struct raft_entry){.data = blob_new(1)});
    for (int i = 0; i < 2; i++) {
        struct raft_entry change = {.type = RAFT_ENTRY_CONF_CHANGE, .data = blob_from(buf_bytes(&encoded))};
        raft_entries_append_owned(&batch.entries, change);
    }
    assert_int_equal(member_step(&m, batch), RAFT_OK);
    assert_int_equal(m.raft->pending_conf_index, 3);
    struct raft_entries entries = {0};
    assert_int_equal(raft_entries_between(m.raft, 4, 5, RAFT_NO_LIMIT, &entries), RAFT_OK);
    assert_int_equal(entries.items[0].type, RAFT_ENTRY_NORMAL); /* the second of the batch is refused */
    raft_entries_deinit(&entries);
    buf_deinit(&encoded);
    member_deinit(&m);
}

static void a_new_leader_waits_for_all_entries_before_a_conf_change(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2), .log_terms = NUMBERS(1, 1)});
    member_make_leader(&m);
    assert_int_equal(m.raft->pending_conf_index, 2);
    assert_int_equal(propose_change(&m, RAFT_CONF_CHANGE_ADD_NODE, 3), RAFT_OK);
    assert_int_equal(m.raft->pending_conf_index, 2); /* refused: entries 1 and 2 are not applied */
    member_deinit(&m);
}

static struct error *apply_many(struct member *m, enum raft_conf_change_transition transition, uint64_t first,
                                uint64_t second)
{
    struct raft_conf_change_single changes[] = {{RAFT_CONF_CHANGE_ADD_NODE, first},
                                                {RAFT_CONF_CHANGE_ADD_NODE, second}};
    struct raft_conf_change_v2 change = {.transition = transition, .changes = changes, .count = 2};
    return raft_apply_conf_change(m->raft, &change, NULL);
}

static void an_implicit_joint_configuration_is_left_by_the_leader(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){0});
    cluster_campaign(&c, 1);
    struct raft_conf_change_single changes[] = {{RAFT_CONF_CHANGE_REMOVE_NODE, 2},
                                                {RAFT_CONF_CHANGE_ADD_LEARNER_NODE, 3}};
    struct raft_conf_change_v2 change = {.changes = changes, .count = 2};
    struct raft *leader = cluster_member(&c, 1)->raft;
    assert_int_equal(raft_propose_conf_change_v2(leader, &change), RAFT_OK);
    cluster_settle(&c);
    assert_false(raft_members_is_joint(&leader->members));
    assert_int_equal(leader->members.config.voters.count, 1);
    assert_int_equal(leader->members.config.learners.count, 1);
    assert_true(cluster_member(&c, 3)->raft->is_learner);
    assert_int_equal(leader->log.committed, 3); /* enter, leave, and nothing else */
    cluster_deinit(&c);
}

static void a_joint_configuration_is_not_left_before_the_entries_of_former_terms_are_applied(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1)});
    assert_null(apply_many(&m, RAFT_TRANSITION_JOINT_IMPLICIT, 2, 3));
    member_make_leader(&m);
    m.raft->pending_conf_index = 2; /* something behind entry 1 may be a conf change */
    member_receive(&m, ack(2, 1, 1));
    assert_int_equal(m.raft->log.applied, 1);
    assert_int_equal(raft_log_last_index(&m.raft->log), 1);
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    member_receive(&m, ack(2, 1, 2));
    assert_int_equal(m.raft->log.applied, 2);
    assert_int_equal(raft_log_last_index(&m.raft->log), 3); /* now it is */
    member_deinit(&m);
}

static void an_explicit_joint_configuration_stays(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1)});
    member_make_leader(&m);
    assert_null(apply_many(&m, RAFT_TRANSITION_JOINT_EXPLICIT, 2, 3));
    member_flush(&m);
    assert_int_equal(propose_change(&m, RAFT_CONF_CHANGE_ADD_NODE, 4), RAFT_OK); /* becomes empty */
    assert_true(raft_members_is_joint(&m.raft->members));
    struct raft_entries entries = {0};
    assert_int_equal(raft_entries_between(m.raft, 2, 3, RAFT_NO_LIMIT, &entries), RAFT_OK);
    assert_int_equal(entries.items[0].type, RAFT_ENTRY_NORMAL);
    raft_entries_deinit(&entries);
    member_flush(&m);
    member_deinit(&m);
}

static void a_change_that_cannot_be_applied_leaves_everything_as_it_was(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1)});
    struct raft_conf_change_single remove = {RAFT_CONF_CHANGE_REMOVE_NODE, 1};
    struct raft_conf_change_v2 removal = {.changes = &remove, .count = 1};
    struct error *error = raft_apply_conf_change(m.raft, &removal, NULL);
    assert_string_equal(error->text, "removed all voters");
    error_free(error);
    assert_int_equal(m.raft->members.config.voters.count, 1);

    assert_null(apply_many(&m, RAFT_TRANSITION_JOINT_EXPLICIT, 2, 3));
    struct raft_conf_change_v2 again = {.transition = RAFT_TRANSITION_JOINT_IMPLICIT};
    error = raft_apply_conf_change(m.raft, &again, NULL);
    assert_string_equal(error->text, "config is already joint");
    error_free(error);
    assert_true(raft_members_is_joint(&m.raft->members));
    member_deinit(&m);
}

static void the_number_of_members_is_limited(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1)});
    for (uint64_t id = 2; id <= RAFT_MEMBERS_MAX; id++) {
        struct raft_conf_change_single add = {RAFT_CONF_CHANGE_ADD_LEARNER_NODE, id};
        assert_null(
            raft_apply_conf_change(m.raft, &(struct raft_conf_change_v2){.changes = &add, .count = 1}, NULL));
    }
    struct raft_conf_change_single add = {RAFT_CONF_CHANGE_ADD_NODE, 9999};
    struct raft_conf_change_v2 change = {.changes = &add, .count = 1};
    struct error *error = raft_apply_conf_change(m.raft, &change, NULL);
    assert_true(error_is(error, ERROR_LIMIT));
    error_free(error);
    assert_int_equal(raft_progress_count(m.raft), RAFT_MEMBERS_MAX);
    member_deinit(&m);
}

/* ---- Reads ---- */

static void read_index(struct member *m, const char *context)
{
    struct blob *blob = blob_from(bytes_from_string(context));
    raft_read_index(m->raft, blob);
    blob_unref(blob);
}

static struct raft_message position_echo(uint64_t from, uint64_t term, uint64_t position)
{
    struct raft_message message = {.type = RAFT_HEARTBEAT_RESP, .from = from, .to = 1, .term = term};
    message.context = blob_new(8);
    le64_put(message.context->data, position);
    return message;
}

static void a_late_echo_confirms_no_later_read_with_the_same_context(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    member_make_leader(&m);
    member_receive(&m, ack(2, 1, 1));
    read_index(&m, "ctx");
    member_receive(&m, position_echo(2, 1, 1));
    assert_int_equal(m.reads.count, 1);
    read_index(&m, "ctx");
    member_receive(&m, position_echo(3, 1, 1)); /* the other's answer to the first request */
    assert_int_equal(m.reads.count, 1);
    member_receive(&m, position_echo(3, 1, 2));
    assert_int_equal(m.reads.count, 2);
    assert_int_equal(m.reads.items[1].index, 1);
    member_deinit(&m);
}

static void one_echo_confirms_all_reads_before_it(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    member_make_leader(&m);
    member_receive(&m, ack(2, 1, 1));
    for (int i = 0; i < 20; i++) read_index(&m, "ctx");
    member_receive(&m, position_echo(2, 1, 20));
    assert_int_equal(m.reads.count, 20);
    assert_int_equal(raft_status(m.raft).pending_reads, 0);
    member_deinit(&m);
}

static void reads_wait_for_the_first_commit_of_the_term(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3),
                                           .log_terms = NUMBERS(1),
                                           .hard_state = {.term = 1, .commit = 1}});
    member_make_leader(&m);
    read_index(&m, "early");
    member_flush(&m);
    assert_int_equal(m.sent.count, 0);
    member_receive(&m, ack(2, 2, 2));
    assert_int_equal(member_count_sent(&m, RAFT_HEARTBEAT), 2);
    member_receive(&m, position_echo(2, 2, 1));
    assert_int_equal(m.reads.count, 1);
    assert_int_equal(m.reads.items[0].index, 2);
    member_deinit(&m);
}

static void an_only_voter_too_reads_after_its_first_commit(void **state)
{
    (void)state;
    struct member m; /* entry 2 was acknowledged, but the commit index was not saved before the crash */
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1),
                                           .log_terms = NUMBERS(1, 1),
                                           .hard_state = {.term = 1, .commit = 1}});
    raft_become_candidate(m.raft);
    raft_become_leader(m.raft);
    read_index(&m, "early");
    assert_int_equal(m.raft->read_states.count, 0);
    member_flush(&m);
    assert_int_equal(m.reads.count, 1);
    assert_int_equal(m.reads.items[0].index, 3);
    member_deinit(&m);
}

static void reads_of_a_former_reign_are_forgotten(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    member_make_leader(&m);
    member_receive(&m, ack(2, 1, 1));
    read_index(&m, "old");
    assert_int_equal(raft_status(m.raft).pending_reads, 1);
    raft_become_follower(m.raft, 2, 2);
    assert_int_equal(raft_status(m.raft).pending_reads, 0);
    member_make_leader(&m);
    member_receive(&m, ack(2, 3, 2));
    read_index(&m, "new");
    member_receive(&m, position_echo(2, 3, 1)); /* positions begin anew */
    assert_int_equal(m.reads.count, 1);
    assert_true(bytes_equal(blob_bytes(m.reads.items[0].context), BYTES_LITERAL("new")));
    member_deinit(&m);
}

static void a_followers_read_is_answered_to_it(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){0});
    cluster_campaign(&c, 1);
    read_index(cluster_member(&c, 3), "abc");
    cluster_settle(&c);
    struct member *follower = cluster_member(&c, 3);
    assert_int_equal(follower->reads.count, 1);
    assert_int_equal(follower->reads.items[0].index, 1);
    assert_true(bytes_equal(blob_bytes(follower->reads.items[0].context), BYTES_LITERAL("abc")));
    cluster_deinit(&c);
}

static void an_isolated_leader_confirms_no_read(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){0});
    cluster_campaign(&c, 1);
    cluster_isolate(&c, 1, true);
    cluster_campaign(&c, 2);
    read_index(cluster_member(&c, 1), "stale");
    cluster_settle(&c);
    assert_int_equal(cluster_member(&c, 1)->reads.count, 0);
    cluster_deinit(&c);
}

static void a_read_that_returns_to_a_former_leader_is_forwarded(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    raft_become_follower(m.raft, 2, 3);
    struct raft_message request = {.type = RAFT_READ_INDEX, .from = 2, .to = 1};
    raft_entries_append_owned(&request.entries, (struct raft_entry){.data = blob_new(8)});
    member_receive(&m, request);
    assert_int_equal(member_sent(&m, RAFT_READ_INDEX, 3)->term, 0);
    assert_int_equal(member_sent(&m, RAFT_READ_INDEX, 3)->from, 2);
    member_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_alone_need_not_be_synced),
        cmocka_unit_test(a_restart_applies_what_is_committed_and_not_applied),
        cmocka_unit_test(a_hard_state_that_the_log_contradicts_is_refused),
        cmocka_unit_test(applying_is_paged_and_loses_nothing),
        cmocka_unit_test(bootstrap_makes_the_same_first_entries_everywhere),
        cmocka_unit_test(invalid_configurations_are_refused),
        cmocka_unit_test(rejections_too_wait_for_the_write),
        cmocka_unit_test(an_entry_replaced_and_replaced_back_is_released_by_its_last_write_only),
        cmocka_unit_test(a_later_append_attests_the_whole_unstable_log),
        cmocka_unit_test(unwritten_entries_are_not_applied_asynchronously),
        cmocka_unit_test(the_uncommitted_tail_is_limited_by_payload),
        cmocka_unit_test(proposals_need_a_leader),
        cmocka_unit_test(a_second_conf_change_becomes_an_empty_entry),
        cmocka_unit_test(a_conf_change_within_a_batch_is_pending_at_its_own_index),
        cmocka_unit_test(a_new_leader_waits_for_all_entries_before_a_conf_change),
        cmocka_unit_test(an_implicit_joint_configuration_is_left_by_the_leader),
        cmocka_unit_test(a_joint_configuration_is_not_left_before_the_entries_of_former_terms_are_applied),
        cmocka_unit_test(an_explicit_joint_configuration_stays),
        cmocka_unit_test(a_change_that_cannot_be_applied_leaves_everything_as_it_was),
        cmocka_unit_test(the_number_of_members_is_limited),
        cmocka_unit_test(a_late_echo_confirms_no_later_read_with_the_same_context),
        cmocka_unit_test(one_echo_confirms_all_reads_before_it),
        cmocka_unit_test(reads_wait_for_the_first_commit_of_the_term),
        cmocka_unit_test(an_only_voter_too_reads_after_its_first_commit),
        cmocka_unit_test(reads_of_a_former_reign_are_forgotten),
        cmocka_unit_test(a_followers_read_is_answered_to_it),
        cmocka_unit_test(an_isolated_leader_confirms_no_read),
        cmocka_unit_test(a_read_that_returns_to_a_former_leader_is_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
