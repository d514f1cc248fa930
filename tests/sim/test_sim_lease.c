/* Leases when leaders change: nobody's ends too early, and with checkpoints none is given its whole time
 * again and again. */
#include "api/message.h"
#include "story.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TTL = 100, SNAPSHOT_NEVER = 1 << 30, KEEP_ALL = 1 << 20 };

static struct story *new_story(uint64_t seed, int64_t checkpoint_interval)
{
    return story_of(&(const struct sim_cluster_options){
        .seed = seed,
        .members = 3,
        .snapshot_count = SNAPSHOT_NEVER,
        .catch_up_entries = KEEP_ALL,
        .lease_checkpoint_interval = checkpoint_interval,
    });
}

static int64_t grant(struct story *story)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = TTL;
    const Etcdserverpb__LeaseGrantResponse *response =
        story_ask(story, story_leader(story), NODE_LEASE_GRANT, &request.base);
    assert_non_null(response);
    return response->id;
}

static int64_t seconds_left(struct story *story, int64_t lease)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    request.id = lease;
    const Etcdserverpb__LeaseTimeToLiveResponse *response =
        story_ask(story, story_leader(story), NODE_LEASE_TIME_TO_LIVE, &request.base);
    assert_non_null(response);
    return response->ttl;
}

static void renew(struct story *story, int64_t lease)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = lease;
    const Etcdserverpb__LeaseKeepAliveResponse *response =
        story_ask(story, story_leader(story), NODE_LEASE_KEEP_ALIVE, &request.base);
    assert_non_null(response);
    assert_int_equal(response->ttl, TTL);
}

static void change_leader(struct story *story)
{
    size_t former = story_leader(story);
    sim_cluster_crash(story->cluster, former, FS_SIM_LOSE_ALL);
    assert_int_not_equal(story_leader(story), former);
    story_start(story, former);
    story_leader(story);
}

static void without_checkpoints_a_new_leader_gives_the_whole_time(void **state)
{
    (void)state;
    struct story *story = new_story(1, 0);
    int64_t lease = grant(story);
    story_run(story, 60 * STORY_SECOND);
    assert_in_range(seconds_left(story, lease), TTL - 62, TTL - 58);
    change_leader(story);
    assert_in_range(seconds_left(story, lease), TTL - 5, TTL + 2);
    story_free(story);
}

static void a_new_leader_goes_on_from_the_checkpoint(void **state)
{
    (void)state;
    struct story *story = new_story(2, 10 * STORY_SECOND);
    int64_t lease = grant(story);
    story_run(story, 65 * STORY_SECOND);
    change_leader(story);
    assert_in_range(seconds_left(story, lease), 35, 42);
    story_free(story);
}

static void a_checkpoint_survives_a_restart_of_all(void **state)
{
    (void)state;
    struct story *story = new_story(3, 10 * STORY_SECOND);
    story_run(story, 10 * STORY_SECOND); /* a cluster version is agreed on: from 3.6 on rows have it */
    int64_t lease = grant(story);
    story_run(story, 65 * STORY_SECOND);
    for (size_t i = 0; i < 3; i++) sim_cluster_crash(story->cluster, i, FS_SIM_LOSE_ALL);
    for (size_t i = 0; i < 3; i++) story_start(story, i);
    assert_in_range(seconds_left(story, lease), 35, 42);
    story_free(story);
}

/* Who was told that it is renewed relies on all of it. */
static void a_renewal_outweighs_an_earlier_checkpoint(void **state)
{
    (void)state;
    struct story *story = new_story(4, 10 * STORY_SECOND);
    int64_t lease = grant(story);
    story_run(story, 65 * STORY_SECOND);
    renew(story, lease);
    change_leader(story);
    assert_in_range(seconds_left(story, lease), TTL - 12, TTL + 2);
    story_free(story);
}

static bool is_gone(struct story *story, void *context)
{
    (void)context;
    return story_status(story, story_leader(story)).leases == 0;
}

static void it_ends_in_time_however_often_leaders_change(void **state)
{
    (void)state;
    struct story *story = new_story(5, 5 * STORY_SECOND);
    int64_t begun = sim_cluster_now(story->cluster);
    grant(story);
    while (sim_cluster_now(story->cluster) < begun + 90 * STORY_SECOND) {
        story_run(story, 20 * STORY_SECOND);
        change_leader(story);
    }
    assert_int_equal(story_status(story, story_leader(story)).leases, 1);
    story_until(story, is_gone, NULL);
    /* Each change may cost the time since the last checkpoint and the extension, an election timeout. */
    assert_true(sim_cluster_now(story->cluster) < begun + (TTL + 5 * 10) * STORY_SECOND);
    story_free(story);
}

static bool leads_now(struct story *story, void *context)
{
    const size_t *member = context;
    return raft_status(node_raft(story_node(story, *member))).soft_state.role == RAFT_LEADER;
}

/* Its time is up while the leadership is being handed over. Were its end proposed then, it would wait and
 * reach the next leader, who has given the lease its whole time again and may have renewed it. */
static void a_leader_that_hands_over_ends_no_lease(void **state)
{
    (void)state;
    enum { SHORT_TTL = 2 };
    struct story *story = new_story(6, 0);
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__MoveLeaderRequest move = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    size_t former = story_leader(story), next = (former + 1) % 3;
    request.ttl = SHORT_TTL;
    int64_t granted_at = sim_cluster_now(story->cluster);
    assert_non_null(story_ask(story, former, NODE_LEASE_GRANT, &request.base));
    story_run(story, STORY_SECOND);
    /* It lacks an entry, so it cannot take over at once. */
    story_isolate(story, next, true);
    story_put(story, former, "key", "value", 0);
    story_run(story, granted_at + 19 * STORY_SECOND / 10 - sim_cluster_now(story->cluster));
    move.targetid = sim_member_id(sim_cluster_member(story->cluster, next));
    story_submit(story, former, NODE_MOVE_LEADER, &move.base);
    story_run(story, granted_at + 26 * STORY_SECOND / 10 - sim_cluster_now(story->cluster));
    assert_false(story->answered);
    assert_int_equal(story_status(story, former).leases, 1);
    story_isolate(story, next, false);
    story_until(story, leads_now, &next);
    story_answer(story);
    story_run(story, STORY_SECOND);
    assert_int_equal(story_leader(story), next);
    assert_int_equal(story_status(story, next).leases, 1);
    story_until(story, is_gone, NULL); /* in its own time */
    story_free(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_checkpoints_a_new_leader_gives_the_whole_time),
        cmocka_unit_test(a_new_leader_goes_on_from_the_checkpoint),
        cmocka_unit_test(a_checkpoint_survives_a_restart_of_all),
        cmocka_unit_test(a_renewal_outweighs_an_earlier_checkpoint),
        cmocka_unit_test(it_ends_in_time_however_often_leaders_change),
        cmocka_unit_test(a_leader_that_hands_over_ends_no_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
