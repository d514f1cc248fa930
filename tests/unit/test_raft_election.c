/* Elections: votes, pre-votes, leases, quorum checks, transfers. */
#include "raft_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct raft_message vote_request(enum raft_message_type type, uint64_t from, uint64_t term,
                                        uint64_t index, uint64_t log_term)
{
    return (struct raft_message){
        .type = type, .from = from, .to = 1, .term = term, .index = index, .log_term = log_term};
}

/* ---- Votes ---- */

static void the_own_vote_counts_only_when_it_is_durable(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1)});
    (void)raft_campaign(m.raft);
    assert_int_equal(m.raft->role, RAFT_CANDIDATE);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready);
    assert_true(ready.must_sync);
    assert_int_equal(m.raft->role, RAFT_CANDIDATE);
    raft_advance(m.raft);
    assert_int_equal(m.raft->role, RAFT_LEADER);
    raft_ready_deinit(&ready);
    member_flush(&m);
    member_deinit(&m);
}

static void a_vote_needs_a_log_that_is_up_to_date(void **state)
{
    (void)state;
    static const struct {
        uint64_t index, term;
        bool granted;
    } cases[] = {{2, 2, true}, {3, 2, true}, {1, 3, true}, {1, 2, false}, {9, 1, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct member m;
        member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2), .log_terms = NUMBERS(1, 2)});
        member_receive(&m, vote_request(RAFT_VOTE, 2, 5, cases[i].index, cases[i].term));
        assert_int_equal(member_sent(&m, RAFT_VOTE_RESP, 2)->reject, !cases[i].granted);
        assert_int_equal(m.raft->vote, cases[i].granted ? 2 : 0);
        member_deinit(&m);
    }
}

static void one_vote_a_term(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    member_receive(&m, vote_request(RAFT_VOTE, 2, 1, 0, 0));
    member_receive(&m, vote_request(RAFT_VOTE, 3, 1, 0, 0));
    assert_false(member_sent(&m, RAFT_VOTE_RESP, 2)->reject);
    assert_true(member_sent(&m, RAFT_VOTE_RESP, 3)->reject);
    member_drop_sent(&m);
    member_receive(&m, vote_request(RAFT_VOTE, 2, 1, 0, 0)); /* the same one may ask again */
    assert_false(member_sent(&m, RAFT_VOTE_RESP, 2)->reject);
    member_deinit(&m);
}

static void who_grants_a_vote_waits_an_election_timeout(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .log_terms = NUMBERS(1)});
    raft_become_follower(m.raft, 2, RAFT_NONE);
    m.raft->election_elapsed = 7;
    member_receive(&m, vote_request(RAFT_VOTE, 2, 2, 0, 0)); /* refused: nothing changes */
    assert_int_equal(m.raft->election_elapsed, 7);
    member_receive(&m, vote_request(RAFT_VOTE, 3, 2, 1, 1));
    assert_int_equal(m.raft->election_elapsed, 0);
    member_deinit(&m);
}

static void a_learner_votes_but_never_campaigns(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(2), .learners = NUMBERS(1)});
    for (int i = 0; i < 100; i++) raft_tick(m.raft);
    assert_int_equal(m.raft->role, RAFT_FOLLOWER);
    member_receive(&m, vote_request(RAFT_VOTE, 2, 2, 11, 11));
    assert_false(member_sent(&m, RAFT_VOTE_RESP, 2)->reject);
    member_deinit(&m);
}

static void nobody_campaigns_with_a_committed_conf_change_to_apply(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    raft_become_follower(m.raft, 1, 2);
    struct raft_message append = {.type = RAFT_APP, .from = 2, .to = 1, .term = 1, .commit = 1};
    raft_entries_append_owned(&append.entries,
                              (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE_V2, .term = 1, .index = 1});
    assert_int_equal(member_step(&m, append), RAFT_OK);
    assert_int_equal(m.raft->log.committed, 1);
    (void)raft_campaign(m.raft);
    assert_int_equal(m.raft->role, RAFT_FOLLOWER);
    member_deinit(&m);
}

static void nobody_campaigns_with_a_snapshot_that_is_not_stored(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    struct raft_snapshot snapshot = {.index = 5, .term = 1};
    raft_ids_append(&snapshot.conf_state.voters, 1);
    raft_ids_append(&snapshot.conf_state.voters, 2);
    struct raft_message message = {.type = RAFT_SNAP, .from = 2, .to = 1, .term = 1, .snapshot = &snapshot};
    assert_int_equal(raft_step_from_peer(m.raft, &message), RAFT_OK);
    (void)raft_campaign(m.raft);
    assert_int_equal(m.raft->role, RAFT_FOLLOWER);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready); /* also while it is being stored */
    assert_non_null(ready.snapshot);
    assert_false(raft_is_promotable(m.raft));
    raft_advance(m.raft);
    assert_true(raft_is_promotable(m.raft));
    raft_ready_deinit(&ready);
    raft_snapshot_deinit(&snapshot);
    member_deinit(&m);
}

static void elections_are_decided_by_the_voters_of_both_halves(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    struct raft_conf_change_single changes[] = {{RAFT_CONF_CHANGE_REMOVE_NODE, 2},
                                                {RAFT_CONF_CHANGE_REMOVE_NODE, 3},
                                                {RAFT_CONF_CHANGE_ADD_NODE, 4},
                                                {RAFT_CONF_CHANGE_ADD_NODE, 5}};
    struct raft_conf_change_v2 change = {.changes = changes, .count = 4};
    assert_null(raft_apply_conf_change(m.raft, &change, NULL));
    (void)raft_campaign(m.raft);
    member_flush(&m);
    assert_int_equal(member_count_sent(&m, RAFT_VOTE), 4);
    member_receive(&m, vote_request(RAFT_VOTE_RESP, 4, 1, 0, 0));
    assert_int_equal(m.raft->role, RAFT_CANDIDATE); /* the incoming half alone does not elect */
    member_receive(&m, vote_request(RAFT_VOTE_RESP, 3, 1, 0, 0));
    assert_int_equal(m.raft->role, RAFT_LEADER);
    member_deinit(&m);
}

/* ---- Pre-vote ---- */

static void a_late_pre_vote_is_not_counted_in_the_election(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.pre_vote = true}});
    (void)raft_campaign(m.raft);
    assert_int_equal(m.raft->role, RAFT_PRE_CANDIDATE);
    struct raft_ready ready;
    raft_take_ready(m.raft, &ready); /* the own pre-vote waits to become durable */
    raft_ready_deinit(&ready);
    member_step(&m, vote_request(RAFT_PRE_VOTE_RESP, 2, 1, 0, 0));
    member_step(&m, vote_request(RAFT_PRE_VOTE_RESP, 3, 1, 0, 0));
    assert_int_equal(m.raft->role, RAFT_CANDIDATE);
    raft_advance(m.raft); /* now it arrives */
    assert_int_equal(m.raft->votes_granted.count, 0);
    assert_int_equal(m.raft->role, RAFT_CANDIDATE);
    member_flush(&m);
    member_deinit(&m);
}

static void asking_for_pre_votes_changes_nothing_but_the_role(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.pre_vote = true}});
    raft_become_follower(m.raft, 3, 2);
    m.raft->vote = 2;
    m.raft->election_elapsed = 7;
    member_progress(&m, 2)->match = 5;
    member_progress(&m, 2)->next = 6;
    uint32_t timeout = m.raft->randomized_election_timeout;
    raft_become_pre_candidate(m.raft);
    assert_int_equal(m.raft->term, 3);
    assert_int_equal(m.raft->vote, 2);
    assert_int_equal(m.raft->lead, RAFT_NONE);
    assert_int_equal(m.raft->election_elapsed, 7);
    assert_int_equal(m.raft->randomized_election_timeout, timeout);
    assert_int_equal(member_progress(&m, 2)->match, 5);
    member_deinit(&m);
}

static void a_pre_vote_request_moves_no_term_vote_or_timer(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.pre_vote = true}});
    raft_become_follower(m.raft, 3, RAFT_NONE);
    m.raft->election_elapsed = 7;
    member_receive(&m, vote_request(RAFT_PRE_VOTE, 2, 9, 0, 0));
    assert_int_equal(m.raft->term, 3);
    assert_int_equal(m.raft->vote, RAFT_NONE);
    assert_int_equal(m.raft->election_elapsed, 7);
    assert_int_equal(member_sent(&m, RAFT_PRE_VOTE_RESP, 2)->term, 9); /* a grant echoes the asked term */
    member_deinit(&m);
}

static void a_stale_pre_vote_request_is_answered(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
    raft_become_follower(m.raft, 5, RAFT_NONE);
    member_receive(&m, vote_request(RAFT_PRE_VOTE, 2, 3, 9, 9));
    const struct raft_message *answer = member_sent(&m, RAFT_PRE_VOTE_RESP, 2);
    assert_true(answer->reject);
    assert_int_equal(answer->term, 5);
    member_deinit(&m);
}

/* ---- Lease and quorum check ---- */

static void a_follower_in_lease_helps_no_candidate(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.check_quorum = true}});
    raft_become_follower(m.raft, 1, 2);
    member_receive(&m, vote_request(RAFT_VOTE, 3, 2, 0, 0));
    assert_int_equal(m.raft->term, 1);
    assert_int_equal(m.sent.count, 0);
    /* The lease lasts an election timeout, not the random one. */
    raft_set_randomized_election_timeout(m.raft, 15);
    for (int i = 0; i < 10; i++) raft_tick(m.raft);
    member_receive(&m, vote_request(RAFT_VOTE, 3, 2, 0, 0));
    assert_false(member_sent(&m, RAFT_VOTE_RESP, 3)->reject);
    member_deinit(&m);
}

static void the_lease_needs_check_quorum_and_a_leader(void **state)
{
    (void)state;
    for (int with_leader = 0; with_leader < 2; with_leader++) {
        struct member m;
        member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3),
                                               .config = {.check_quorum = with_leader == 0}});
        raft_become_follower(m.raft, 1, with_leader ? 2 : RAFT_NONE);
        member_receive(&m, vote_request(RAFT_VOTE, 3, 2, 0, 0));
        assert_false(member_sent(&m, RAFT_VOTE_RESP, 3)->reject);
        member_deinit(&m);
    }
}

static void a_leader_without_an_active_quorum_steps_down(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){.check_quorum = true});
    cluster_campaign(&c, 1);
    assert_int_equal(cluster_role(&c, 1), RAFT_LEADER);
    cluster_tick(&c, 1, 10); /* they were active in the election */
    assert_int_equal(cluster_role(&c, 1), RAFT_LEADER);
    cluster_tick(&c, 1, 10);
    assert_int_equal(cluster_role(&c, 1), RAFT_FOLLOWER);
    assert_int_equal(cluster_member(&c, 1)->raft->term, 1);
    cluster_deinit(&c);
}

static void a_single_voter_stays_active_to_itself(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1, &(struct raft_config){.check_quorum = true});
    cluster_campaign(&c, 1);
    cluster_tick(&c, 1, 35);
    assert_int_equal(cluster_role(&c, 1), RAFT_LEADER);
    cluster_deinit(&c);
}

static void adding_a_member_does_not_cost_the_leader_its_quorum(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1), .config = {.check_quorum = true}});
    member_make_leader(&m);
    for (int i = 0; i < 9; i++) raft_tick(m.raft);
    struct raft_conf_change_single single = {RAFT_CONF_CHANGE_ADD_NODE, 2};
    assert_null(
        raft_apply_conf_change(m.raft, &(struct raft_conf_change_v2){.changes = &single, .count = 1}, NULL));
    raft_tick(m.raft); /* the quorum check */
    assert_int_equal(m.raft->role, RAFT_LEADER);
    for (int i = 0; i < 10; i++) raft_tick(m.raft);
    assert_int_equal(m.raft->role, RAFT_FOLLOWER);
    member_flush(&m);
    member_deinit(&m);
}

static void a_stuck_candidate_deposes_the_leader_that_ignores_it(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){.check_quorum = true});
    cluster_campaign(&c, 1);
    cluster_isolate(&c, 3, true);
    cluster_campaign(&c, 3); /* raises its term, unheard */
    assert_int_equal(cluster_role(&c, 3), RAFT_CANDIDATE);
    cluster_isolate(&c, 3, false);
    cluster_tick(&c, 1, 1); /* a heartbeat of the lower term reaches it: its answer carries the higher one */
    cluster_settle(&c);
    assert_int_equal(cluster_role(&c, 1), RAFT_FOLLOWER);
    assert_int_equal(cluster_member(&c, 1)->raft->term, 2);
    cluster_deinit(&c);
}

/* ---- Transfer ---- */

static void a_transfer_overrides_lease_and_pre_vote(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){.check_quorum = true, .pre_vote = true});
    cluster_campaign(&c, 1);
    raft_transfer_leader(cluster_member(&c, 1)->raft, 2);
    c.dropped_types = 1u << RAFT_PRE_VOTE; /* it must not even ask */
    cluster_settle(&c);
    assert_int_equal(cluster_role(&c, 2), RAFT_LEADER);
    assert_int_equal(cluster_role(&c, 1), RAFT_FOLLOWER);
    cluster_deinit(&c);
}

static void a_transfer_waits_until_the_target_is_up_to_date(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){0});
    cluster_campaign(&c, 1);
    cluster_isolate(&c, 3, true);
    assert_int_equal(member_propose(cluster_member(&c, 1), "x"), RAFT_OK);
    cluster_settle(&c);
    raft_transfer_leader(cluster_member(&c, 1)->raft, 3);
    cluster_settle(&c);
    assert_int_equal(cluster_role(&c, 1), RAFT_LEADER);
    assert_int_equal(member_propose(cluster_member(&c, 1), "y"), RAFT_PROPOSAL_DROPPED);
    cluster_isolate(&c, 3, false);
    cluster_tick(&c, 1, 1);
    cluster_settle(&c);
    assert_int_equal(cluster_role(&c, 3), RAFT_LEADER);
    cluster_deinit(&c);
}

static void a_transfer_ends_after_an_election_timeout(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3, &(struct raft_config){0});
    cluster_campaign(&c, 1);
    cluster_isolate(&c, 3, true);
    cluster_tick(&c, 1, 5);
    raft_transfer_leader(cluster_member(&c, 1)->raft, 3); /* the timeout begins here */
    cluster_tick(&c, 1, 9);
    assert_int_equal(cluster_member(&c, 1)->raft->lead_transferee, 3);
    cluster_tick(&c, 1, 1);
    assert_int_equal(cluster_member(&c, 1)->raft->lead_transferee, RAFT_NONE);
    assert_int_equal(member_propose(cluster_member(&c, 1), "x"), RAFT_OK);
    cluster_deinit(&c);
}

static void a_transfer_ends_when_its_target_is_removed_or_demoted(void **state)
{
    (void)state;
    static const enum raft_conf_change_type types[] = {RAFT_CONF_CHANGE_REMOVE_NODE,
                                                       RAFT_CONF_CHANGE_ADD_LEARNER_NODE};
    for (size_t i = 0; i < 2; i++) {
        struct member m;
        member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3)});
        member_make_leader(&m);
        raft_transfer_leader(m.raft, 2);
        assert_int_equal(m.raft->lead_transferee, 2);
        struct raft_conf_change_single single = {types[i], 2};
        struct raft_conf_change_v2 change = {.changes = &single, .count = 1};
        assert_null(raft_apply_conf_change(m.raft, &change, NULL));
        assert_int_equal(m.raft->lead_transferee, RAFT_NONE);
        member_deinit(&m);
    }
}

static void a_second_transfer_replaces_the_first(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .learners = NUMBERS(4)});
    member_make_leader(&m);
    raft_transfer_leader(m.raft, 2);
    raft_transfer_leader(m.raft, 4); /* a learner cannot lead */
    assert_int_equal(m.raft->lead_transferee, 2);
    raft_transfer_leader(m.raft, 3);
    assert_int_equal(m.raft->lead_transferee, 3);
    raft_transfer_leader(m.raft, 1); /* to itself: ends the other one */
    assert_int_equal(m.raft->lead_transferee, RAFT_NONE);
    member_deinit(&m);
}

static void forgetting_the_leader_ends_the_lease_only(void **state)
{
    (void)state;
    struct member m;
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2, 3), .config = {.check_quorum = true}});
    raft_become_follower(m.raft, 1, 2);
    m.raft->election_elapsed = 4;
    assert_int_equal(raft_forget_leader(m.raft), RAFT_OK);
    assert_int_equal(m.raft->lead, RAFT_NONE);
    assert_int_equal(m.raft->term, 1);
    assert_int_equal(m.raft->election_elapsed, 4);
    member_receive(&m, vote_request(RAFT_VOTE, 3, 2, 0, 0));
    assert_false(member_sent(&m, RAFT_VOTE_RESP, 3)->reject);
    member_deinit(&m);
}

static void random_timeouts_lie_between_one_and_two_election_timeouts(void **state)
{
    (void)state;
    struct member m;
    bool seen[20] = {false};
    member_init(&m, &(struct member_setup){.voters = NUMBERS(1, 2)});
    for (uint64_t term = 1; term < 1000; term++) {
        raft_become_follower(m.raft, term, RAFT_NONE);
        uint32_t timeout = m.raft->randomized_election_timeout;
        assert_in_range(timeout, 10, 19);
        seen[timeout] = true;
    }
    for (size_t i = 10; i < 20; i++) assert_true(seen[i]);
    member_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_own_vote_counts_only_when_it_is_durable),
        cmocka_unit_test(a_vote_needs_a_log_that_is_up_to_date),
        cmocka_unit_test(one_vote_a_term),
        cmocka_unit_test(who_grants_a_vote_waits_an_election_timeout),
        cmocka_unit_test(a_learner_votes_but_never_campaigns),
        cmocka_unit_test(nobody_campaigns_with_a_committed_conf_change_to_apply),
        cmocka_unit_test(nobody_campaigns_with_a_snapshot_that_is_not_stored),
        cmocka_unit_test(elections_are_decided_by_the_voters_of_both_halves),
        cmocka_unit_test(a_late_pre_vote_is_not_counted_in_the_election),
        cmocka_unit_test(asking_for_pre_votes_changes_nothing_but_the_role),
        cmocka_unit_test(a_pre_vote_request_moves_no_term_vote_or_timer),
        cmocka_unit_test(a_stale_pre_vote_request_is_answered),
        cmocka_unit_test(a_follower_in_lease_helps_no_candidate),
        cmocka_unit_test(the_lease_needs_check_quorum_and_a_leader),
        cmocka_unit_test(a_leader_without_an_active_quorum_steps_down),
        cmocka_unit_test(a_single_voter_stays_active_to_itself),
        cmocka_unit_test(adding_a_member_does_not_cost_the_leader_its_quorum),
        cmocka_unit_test(a_stuck_candidate_deposes_the_leader_that_ignores_it),
        cmocka_unit_test(a_transfer_overrides_lease_and_pre_vote),
        cmocka_unit_test(a_transfer_waits_until_the_target_is_up_to_date),
        cmocka_unit_test(a_transfer_ends_after_an_election_timeout),
        cmocka_unit_test(a_transfer_ends_when_its_target_is_removed_or_demoted),
        cmocka_unit_test(a_second_transfer_replaces_the_first),
        cmocka_unit_test(forgetting_the_leader_ends_the_lease_only),
        cmocka_unit_test(random_timeouts_lie_between_one_and_two_election_timeouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
