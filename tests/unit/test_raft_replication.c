/* What a leader sends and commits, and what a follower makes of it. */
#include "raft_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct raft_message ack(uint64_t from, uint64_t term, uint64_t index)
{
    return (struct raft_message){.type = RAFT_APP_RESP, .from = from, .to = 1, .term = term, .index = index};
}

static struct raft_message rejection(uint64_t from, uint64_t term, uint64_t index, uint64_t hint,
                                     uint64_t hint_term)
{
    return (struct raft_message){.type = RAFT_APP_RESP,
                                 .from = from,
                                 .to = 1,
                                 .term = term,
                                 .index = index,
                                 .reject = true,
                                 .reject_hint = hint,
                                 .log_term = hint_term};
}

static struct raft_message heartbeat_response(uint64_t from, uint64_t term)
{
    return (struct raft_message){.type = RAFT_HEARTBEAT_RESP, .from = from, .to = 1, .term = term};
}

/* A leader of term 1 among three, all of whose peers have everything. */
static void leader_init(struct member *m, const struct raft_config *config)
{
    member_init(m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = *config});
    member_make_leader(m);
    member_receive(m, ack(2, 1, 1));
    member_receive(m, ack(3, 1, 1));
    member_drop_sent(m);
    assert_int_equal(m->raft->log.committed, 1);
}

/* ---- Commit rules ---- */

static void counting_replicas_commits_only_entries_of_the_own_term(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2),
                                           .log_terms = NUMBERS(1, 2),
                                           .hard_state = {.term = 2}});
    member_make_leader(&m); /* term 3, entry 3 */
    member_receive(&m, ack(2, 3, 2));
    assert_int_equal(m.raft->log.committed, 0);
    member_receive(&m, ack(2, 3, 3));
    assert_int_equal(m.raft->log.committed, 3);
    member_deinit(&m);
}

static void the_own_append_counts_only_when_it_is_durable(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    assert_int_equal(member_progress(&m, 1)->match, 1);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready);
    assert_int_equal(member_progress(&m, 1)->match, 1);
    raft_memory_storage_append(&m.memory, ready.entries.items, ready.entries.count);
    raft_advance(m.raft);
    assert_int_equal(member_progress(&m, 1)->match, 2);
    raft_ready_deinit(&ready);
    member_deinit(&m);
}

static void an_old_leaders_acknowledgement_to_itself_is_ignored_in_a_new_term(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready);
    struct raft_message append = {.type = RAFT_APP, .from = 2, .to = 1, .term = 2, .index = 1, .log_term = 1};
    raft_entries_append_owned(&append.entries, (struct raft_entry){.term = 2, .index = 2});
    assert_int_equal(member_step(&m, append), RAFT_OK);
    raft_advance(m.raft); /* the write of the replaced entry is reported */
    assert_int_equal(m.raft->role, RAFT_FOLLOWER);
    assert_int_equal(m.raft->log.unstable.entries.count, 1);
    assert_int_equal(raft_log_term_or_zero(&m.raft->log, 2), 2);
    raft_ready_deinit(&ready);
    member_flush(&m);
    member_deinit(&m);
}

static void removing_a_member_commits_what_waited_for_it(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    member_make_leader(&m);
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    assert_int_equal(m.raft->log.committed, 0);
    struct raft_conf_change_single single = {RAFT_CONF_CHANGE_REMOVE_NODE, 2};
    assert_null(
        raft_apply_conf_change(m.raft, &(struct raft_conf_change_v2){.changes = &single, .count = 1}, NULL));
    assert_int_equal(m.raft->log.committed, 2);
    member_deinit(&m);
}

static void a_batch_of_proposals_is_one_message_to_each_peer(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    struct blob *data[100];
    for (size_t i = 0; i < 100; i++) data[i] = blob_new(i);
    assert_int_equal(raft_propose(m.raft, data, 100), RAFT_OK);
    member_flush(&m);
    assert_int_equal(member_count_sent(&m, RAFT_APP), 2);
    assert_int_equal(member_sent(&m, RAFT_APP, 2)->entries.count, 100);
    /* Shared, not copied. */
    assert_ptr_equal(member_sent(&m, RAFT_APP, 2)->entries.items[7].data, data[7]);
    for (size_t i = 0; i < 100; i++) blob_unref(data[i]);
    member_deinit(&m);
}

/* ---- The follower ---- */

static void an_append_below_the_commit_index_is_answered_with_it(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2),
                                           .log_terms = NUMBERS(1, 1, 1),
                                           .hard_state = {.term = 1, .commit = 3}});
    member_receive(&m, (struct raft_message){
                           .type = RAFT_APP, .from = 2, .to = 1, .term = 1, .index = 1, .log_term = 1});
    assert_int_equal(member_sent(&m, RAFT_APP_RESP, 2)->index, 3);
    assert_false(member_sent(&m, RAFT_APP_RESP, 2)->reject);
    member_deinit(&m);
}

static void a_rejection_hints_where_the_logs_may_agree(void **state)
{
    (void)state;
    struct member m; /* the follower: terms 1 3 3 3 3 5 5 against a leader whose entry 6 has term 4 */
    member_init(&m,
                &(struct member_setup){.voters = NUMBERS(1, 2), .log_terms = NUMBERS(1, 3, 3, 3, 3, 5, 5)});
    member_receive(&m, (struct raft_message){
                           .type = RAFT_APP, .from = 2, .to = 1, .term = 6, .index = 6, .log_term = 4});
    const struct raft_message *answer = member_sent(&m, RAFT_APP_RESP, 2);
    assert_true(answer->reject);
    assert_int_equal(answer->index, 6);
    assert_int_equal(answer->reject_hint, 5);
    assert_int_equal(answer->log_term, 3);
    member_deinit(&m);
}

static void the_leader_skips_entries_above_the_hints_term(void **state)
{
    (void)state;
    struct member m; /* leader: 1 1 4 4 4 (5 of term 5); the follower's hint is index 4 of term 2 */
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2),
                                           .log_terms = NUMBERS(1, 1, 4, 4, 4),
                                           .hard_state = {.term = 4}});
    member_make_leader(&m);
    member_receive(&m, rejection(2, 5, 5, 4, 2));
    assert_int_equal(member_sent(&m, RAFT_APP, 2)->index, 2);
    member_deinit(&m);
}

/* ---- Flow control ---- */

static void heartbeats_tell_no_commit_beyond_what_the_peer_has(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    member_receive(&m, ack(2, 1, 2));
    member_drop_sent(&m);
    raft_tick(m.raft);
    member_flush(&m);
    assert_int_equal(member_sent(&m, RAFT_HEARTBEAT, 2)->commit, 2);
    assert_int_equal(member_sent(&m, RAFT_HEARTBEAT, 3)->commit, 1);
    /* That is what it knows now, whatever was sent before and may be lost. */
    assert_int_equal(member_progress(&m, 3)->sent_commit, 1);
    member_deinit(&m);
}

static void a_late_rejection_never_moves_next_to_match(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    member_receive(&m, ack(2, 1, 2));
    struct raft_progress *progress = member_progress(&m, 2);
    member_receive(&m, rejection(2, 1, 1, 0, 0)); /* of a message sent long before */
    assert_int_equal(progress->match, 2);
    assert_int_equal(progress->next, 3);
    assert_int_equal(progress->state, RAFT_REPLICATE);
    raft_report_unreachable(m.raft, 2); /* probing at 3 */
    member_receive(&m, rejection(2, 1, 2, 0, 0));
    assert_int_equal(progress->next, 3);
    member_deinit(&m);
}

static void a_rejection_lowers_what_the_peer_is_known_to_know(void **state)
{
    (void)state;
    struct raft_progress progress = {
        .id = 2, .match = 1, .next = 10, .state = RAFT_REPLICATE, .sent_commit = 8};
    assert_true(raft_progress_maybe_decrease(&progress, 9, 1));
    assert_int_equal(progress.next, 2);
    assert_int_equal(progress.sent_commit, 1);
    /* so that the commit index is told again when the entries have arrived */
    progress.next = 9;
    assert_true(raft_progress_can_bump_commit(&progress, 8));
}

static void a_full_window_lets_an_empty_append_through_after_a_heartbeat(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){.max_inflight_messages = 2, .max_size_per_message = 1});
    for (int i = 0; i < 4; i++) assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    struct raft_progress *progress = member_progress(&m, 2);
    assert_true(raft_inflights_full(&progress->inflights));
    assert_true(progress->app_flow_paused);
    member_drop_sent(&m);
    for (int i = 0; i < 3; i++) {
        member_receive(&m, heartbeat_response(2, 1));
        assert_int_equal(member_sent(&m, RAFT_APP, 2)->entries.count, 0);
        member_drop_sent(&m);
    }
    member_receive(&m, ack(2, 1, 3)); /* both have arrived */
    assert_int_equal(progress->inflights.count, 2);
    assert_int_equal(progress->next, 6);
    member_deinit(&m);
}

static void the_window_is_limited_in_bytes_as_well(void **state)
{
    (void)state;
    struct raft_inflights inflights;
    raft_inflights_init(&inflights, 100, 10);
    raft_inflights_add(&inflights, 1, 9);
    assert_false(raft_inflights_full(&inflights));
    raft_inflights_add(&inflights, 2, 50); /* one may overshoot */
    assert_true(raft_inflights_full(&inflights));
    raft_inflights_free_to(&inflights, 1);
    assert_true(raft_inflights_full(&inflights));
    raft_inflights_free_to(&inflights, 2);
    assert_false(raft_inflights_full(&inflights));
    for (uint64_t i = 3; i < 60; i++) {
        raft_inflights_add(&inflights, i, 0);
        raft_inflights_free_to(&inflights, i - 2);
    }
    assert_int_equal(inflights.count, 2);
    raft_inflights_deinit(&inflights);
}

static void an_empty_probe_does_not_pause_the_peer(void **state)
{
    (void)state;
    struct raft_progress progress = {.id = 2, .next = 5, .state = RAFT_PROBE};
    raft_progress_sent_entries(&progress, 0, 0);
    assert_false(raft_progress_is_paused(&progress));
    raft_progress_sent_entries(&progress, 1, 10);
    assert_true(raft_progress_is_paused(&progress));
    assert_int_equal(progress.next, 5);
}

static void an_unreachable_peer_that_has_everything_recovers_in_one_heartbeat(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    raft_report_unreachable(m.raft, 2);
    assert_int_equal(member_progress(&m, 2)->state, RAFT_PROBE);
    member_receive(&m, heartbeat_response(2, 1));
    assert_int_equal(member_sent(&m, RAFT_APP, 2)->entries.count, 0); /* though it lacks nothing */
    member_receive(&m, ack(2, 1, 1));                                 /* which brings nothing new */
    assert_int_equal(member_progress(&m, 2)->state, RAFT_REPLICATE);
    member_deinit(&m);
}

static void becoming_leader_again_forgets_all_progress(void **state)
{
    (void)state;
    struct member m;
    leader_init(&m, &(struct raft_config){0});
    raft_become_follower(m.raft, 2, RAFT_NONE);
    member_make_leader(&m);
    const struct raft_progress *progress = member_progress(&m, 2);
    assert_int_equal(progress->match, 0);
    assert_int_equal(progress->next, 2);
    assert_int_equal(progress->state, RAFT_PROBE);
    assert_false(progress->recent_active);
    member_deinit(&m);
}

/* ---- Snapshots ---- */

/* A leader of term 2 whose log begins at 12, and a peer that has nothing. */
static void compacted_leader_init(struct member *m)
{
    member_init(m, &(struct member_setup){.voters = NUMBERS(1, 2),
                                          .snapshot_index = 11,
                                          .snapshot_term = 1,
                                          .hard_state = {.term = 1, .commit = 11}});
    member_make_leader(m);
    member_progress(m, 2)->recent_active = true;
    member_receive(m, rejection(2, 2, 11, 0, 0));
}

static void a_peer_that_needs_compacted_entries_gets_a_snapshot(void **state)
{
    (void)state;
    struct member m;
    compacted_leader_init(&m);
    const struct raft_progress *progress = member_progress(&m, 2);
    assert_int_equal(progress->state, RAFT_SNAPSHOT);
    assert_int_equal(progress->pending_snapshot, 11);
    assert_int_equal(member_sent(&m, RAFT_SNAP, 2)->snapshot->index, 11);
    member_deinit(&m);
}

static void no_snapshot_is_sent_to_a_silent_peer(void **state)
{
    (void)state;
    struct member m;
    member_init(&m,
                &(struct member_setup){.voters = NUMBERS(1, 2), .snapshot_index = 11, .snapshot_term = 1});
    member_make_leader(&m);
    struct raft_progress *progress = member_progress(&m, 2);
    raft_progress_reset(progress, 0, 5);
    assert_int_equal(member_propose(&m, "x"), RAFT_OK);
    member_flush(&m);
    assert_int_equal(m.sent.count, 0);
    assert_int_equal(progress->state, RAFT_PROBE);
    member_deinit(&m);
}

static void a_failed_snapshot_probes_again_after_the_next_heartbeat(void **state)
{
    (void)state;
    struct member m;
    compacted_leader_init(&m);
    raft_report_snapshot(m.raft, 2, false);
    const struct raft_progress *progress = member_progress(&m, 2);
    assert_int_equal(progress->state, RAFT_PROBE);
    assert_int_equal(progress->next, 1);
    assert_true(progress->app_flow_paused);
    member_deinit(&m);
}

static void a_finished_snapshot_probes_behind_it(void **state)
{
    (void)state;
    struct member m;
    compacted_leader_init(&m);
    raft_report_snapshot(m.raft, 2, true);
    const struct raft_progress *progress = member_progress(&m, 2);
    assert_int_equal(progress->state, RAFT_PROBE);
    assert_int_equal(progress->next, 12);
    assert_true(progress->app_flow_paused);
    member_deinit(&m);
}

static void an_acknowledgement_that_connects_ends_the_snapshot_state(void **state)
{
    (void)state;
    struct member m;
    compacted_leader_init(&m);
    struct raft_progress *progress = member_progress(&m, 2);
    progress->pending_snapshot = 20; /* a later one is under way, but another has arrived */
    member_receive(&m, ack(2, 2, 9));
    assert_int_equal(progress->state, RAFT_SNAPSHOT); /* 10 and 11 are compacted */
    member_receive(&m, ack(2, 2, 11));
    assert_int_equal(progress->state, RAFT_REPLICATE);
    assert_int_equal(progress->match, 11);
    member_deinit(&m);
}

static struct raft_message snapshot_message(uint64_t index, uint64_t term)
{
    struct raft_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    assert_non_null(snapshot);
    snapshot->index = index;
    snapshot->term = term;
    raft_ids_append(&snapshot->conf_state.voters, 1);
    raft_ids_append(&snapshot->conf_state.voters, 2);
    return (struct raft_message){.type = RAFT_SNAP, .from = 2, .to = 1, .term = 9, .snapshot = snapshot};
}

static void a_snapshot_of_what_the_log_has_only_moves_the_commit_index(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2),
                                           .log_terms = NUMBERS(1, 1, 1),
                                           .hard_state = {.term = 1, .commit = 1}});
    member_receive(&m, snapshot_message(2, 1));
    assert_int_equal(m.raft->log.committed, 2);
    assert_int_equal(raft_log_last_index(&m.raft->log), 3);
    assert_false(m.raft->log.unstable.has_snapshot);
    assert_int_equal(member_sent(&m, RAFT_APP_RESP, 2)->index, 2);
    member_drop_sent(&m);
    member_receive(&m, snapshot_message(1, 1)); /* an old one */
    assert_int_equal(member_sent(&m, RAFT_APP_RESP, 2)->index, 2);
    member_deinit(&m);
}

static void a_snapshot_replaces_log_and_configuration(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .log_terms = NUMBERS(1, 1, 1)});
    member_receive(&m, snapshot_message(9, 8));
    assert_int_equal(raft_log_last_index(&m.raft->log), 9);
    assert_int_equal(raft_log_last_term(&m.raft->log), 8);
    assert_int_equal(m.raft->log.applied, 9);
    assert_int_equal(raft_progress_count(m.raft), 2);
    assert_int_equal(raft_memory_storage_first_index(&m.memory), 10);
    assert_int_equal(member_sent(&m, RAFT_APP_RESP, 2)->index, 9);
    member_deinit(&m);
}

static void a_member_far_behind_catches_up_by_a_snapshot(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){0});
    cluster_campaign(&c, 1);
    cluster_isolate(&c, 3, true);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(member_propose(cluster_member(&c, 1), "x"), RAFT_OK);
        cluster_settle(&c);
    }
    struct raft_memory_storage *memory = &cluster_member(&c, 1)->memory;
    assert_int_equal(raft_memory_storage_create_snapshot(memory, 40, NULL, NULL), RAFT_OK);
    assert_int_equal(raft_memory_storage_compact(memory, 40), RAFT_OK);
    cluster_isolate(&c, 3, false);
    for (int i = 0; i < 3; i++) {
        cluster_tick(&c, 1, 1);
        cluster_settle(&c);
    }
    assert_int_equal(cluster_member(&c, 3)->raft->log.committed, 51);
    assert_int_equal(cluster_member(&c, 3)->applied_index, 51);
    assert_int_equal(raft_memory_storage_first_index(&cluster_member(&c, 3)->memory), 41);
    cluster_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counting_replicas_commits_only_entries_of_the_own_term),
        cmocka_unit_test(the_own_append_counts_only_when_it_is_durable),
        cmocka_unit_test(an_old_leaders_acknowledgement_to_itself_is_ignored_in_a_new_term),
        cmocka_unit_test(removing_a_member_commits_what_waited_for_it),
        cmocka_unit_test(a_batch_of_proposals_is_one_message_to_each_peer),
        cmocka_unit_test(an_append_below_the_commit_index_is_answered_with_it),
        cmocka_unit_test(a_rejection_hints_where_the_logs_may_agree),
        cmocka_unit_test(the_leader_skips_entries_above_the_hints_term),
        cmocka_unit_test(heartbeats_tell_no_commit_beyond_what_the_peer_has),
        cmocka_unit_test(a_late_rejection_never_moves_next_to_match),
        cmocka_unit_test(a_rejection_lowers_what_the_peer_is_known_to_know),
        cmocka_unit_test(a_full_window_lets_an_empty_append_through_after_a_heartbeat),
        cmocka_unit_test(the_window_is_limited_in_bytes_as_well),
        cmocka_unit_test(an_empty_probe_does_not_pause_the_peer),
        cmocka_unit_test(an_unreachable_peer_that_has_everything_recovers_in_one_heartbeat),
        cmocka_unit_test(becoming_leader_again_forgets_all_progress),
        cmocka_unit_test(a_peer_that_needs_compacted_entries_gets_a_snapshot),
        cmocka_unit_test(no_snapshot_is_sent_to_a_silent_peer),
        cmocka_unit_test(a_failed_snapshot_probes_again_after_the_next_heartbeat),
        cmocka_unit_test(a_finished_snapshot_probes_behind_it),
        cmocka_unit_test(an_acknowledgement_that_connects_ends_the_snapshot_state),
        cmocka_unit_test(a_snapshot_of_what_the_log_has_only_moves_the_commit_index),
        cmocka_unit_test(a_snapshot_replaces_log_and_configuration),
        cmocka_unit_test(a_member_far_behind_catches_up_by_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
