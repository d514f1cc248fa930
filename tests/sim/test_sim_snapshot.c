/* Members that were away for longer than the log is kept: they come back by snapshot, and nobody who relies
 * on them notices more than that it took a while. */
#include "api/message.h"
#include "base/memory.h"
#include "storage/snap.h"
#include "story.h"
#include "tests/unit/expect.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MANY = 300, /* entries, more than is kept */
    SNAPSHOT_NEVER = 1 << 30,
    /* The image: created, written, synced, renamed, its folder synced; the .snap file: created, written,
     * synced, its folder synced; the log: its record, a sync, the commit index, a sync; then the image's
     * last name, and the folder. */
    ITS_OPERATIONS = 15,
};

/* Three members, of which one was cut off while much was written. */
struct absence {
    struct story *story;
    size_t leader, away;
    /* The database that was caught on its way to it, if one was. */
    struct raft_message message;
    struct blob *image;
};

static struct absence begin_absence(uint64_t seed)
{
    struct absence absence = {.story = story_new(seed, 3, SNAPSHOT_NEVER, 1)};
    absence.leader = story_leader(absence.story);
    absence.away = (absence.leader + 1) % 3;
    return absence;
}

static void go_away(struct absence *absence)
{
    story_isolate(absence->story, absence->away, true);
}

static void write_much(struct absence *absence)
{
    absence->leader = story_leader(absence->story);
    story_fill(absence->story, absence->leader, 0, MANY);
}

static struct sim_member *member_away(const struct absence *absence)
{
    return sim_cluster_member(absence->story->cluster, absence->away);
}

static uint64_t installs(const struct absence *absence)
{
    return sim_member_installs(member_away(absence));
}

static void wait_equal(const struct absence *absence)
{
    story_wait_equal(absence->story, absence->leader, absence->away);
}

static void come_back(struct absence *absence)
{
    uint64_t before = installs(absence);
    story_isolate(absence->story, absence->away, false);
    absence->leader = story_leader(absence->story);
    wait_equal(absence);
    assert_true(installs(absence) > before);
}

/* Reachable again, and not yet back. */
static void catch_image(struct absence *absence)
{
    story_isolate(absence->story, absence->away, false);
    story_catch_image(absence->story, absence->away, &absence->message, &absence->image);
}

static struct absence begin_with_image(uint64_t seed)
{
    struct absence absence = begin_absence(seed);
    go_away(&absence);
    write_much(&absence);
    catch_image(&absence);
    return absence;
}

static void absence_deinit(struct absence *absence)
{
    raft_message_deinit(&absence->message);
    blob_unref(absence->image);
    story_free(absence->story);
}

static void end(struct absence *absence)
{
    assert_int_equal(story_hash(absence->story, absence->away), story_hash(absence->story, absence->leader));
    absence_deinit(absence);
}

/* ---- what was there ---- */

static void its_state_is_the_clusters(void **state)
{
    (void)state;
    struct absence absence = begin_absence(1);
    story_put(absence.story, absence.leader, "before", "1", 0);
    go_away(&absence);
    write_much(&absence);
    come_back(&absence);
    assert_string_equal(story_get(absence.story, absence.away, "before", true), "1");
    assert_non_null(story_get(absence.story, absence.away, "k00299", true));
    /* It takes part as before. */
    story_put(absence.story, absence.away, "after", "2", 0);
    assert_string_equal(story_get(absence.story, absence.away, "after", false), "2");
    end(&absence);
}

static void move_leader(struct absence *absence)
{
    Etcdserverpb__MoveLeaderRequest move = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    move.targetid = sim_member_id(member_away(absence));
    assert_non_null(story_ask(absence->story, absence->leader, NODE_MOVE_LEADER, &move.base));
    assert_int_equal(story_leader(absence->story), absence->away);
}

static void it_can_lead_afterwards(void **state)
{
    (void)state;
    struct absence absence = begin_absence(2);
    go_away(&absence);
    write_much(&absence);
    come_back(&absence);
    move_leader(&absence);
    story_fill(absence.story, absence.away, MANY, 10);
    wait_equal(&absence);
    end(&absence);
}

static void it_starts_again_from_what_it_received(void **state)
{
    (void)state;
    struct absence absence = begin_absence(3);
    go_away(&absence);
    write_much(&absence);
    come_back(&absence);
    sim_cluster_crash(absence.story->cluster, absence.away, FS_SIM_LOSE_ALL);
    story_start(absence.story, absence.away);
    wait_equal(&absence);
    assert_int_equal(installs(&absence), 1);
    end(&absence);
}

/* ---- watches ---- */

static bool has_all(struct story *story, void *context)
{
    const struct story_watch *watch = context;
    return watch->count > 0 &&
           watch->revisions[watch->count - 1] == story_status(story, watch->member).revision;
}

/* Every revision from `from` on, each once, in order. */
static void must_be_every_revision(struct story *story, struct story_watch *watch, int64_t from)
{
    story_until(story, has_all, watch);
    for (size_t i = 0; i < watch->count; i++) assert_int_equal(watch->revisions[i], from + (int64_t)i);
}

static void watchers_miss_nothing_and_get_nothing_twice(void **state)
{
    (void)state;
    struct absence absence = begin_absence(4);
    struct story_watch now = {0}, old = {0}, future = {0};
    story_fill(absence.story, absence.leader, 0, 20);
    wait_equal(&absence);
    int64_t revision = story_status(absence.story, absence.away).revision;
    story_watch(absence.story, &old, absence.away, 2);
    story_watch(absence.story, &now, absence.away, 0);
    story_watch(absence.story, &future, absence.away, revision + MANY + 50);
    go_away(&absence);
    write_much(&absence);
    come_back(&absence);
    story_fill(absence.story, absence.leader, 0, 100);
    wait_equal(&absence);
    must_be_every_revision(absence.story, &old, 2);
    must_be_every_revision(absence.story, &now, revision + 1);
    must_be_every_revision(absence.story, &future, revision + MANY + 50);
    end(&absence);
}

static bool is_canceled(struct story *story, void *context)
{
    (void)story;
    return ((const struct story_watch *)context)->compacted != 0;
}

static void watchers_below_the_compaction_are_told_so(void **state)
{
    (void)state;
    struct absence absence = begin_absence(5);
    struct story_watch behind = {0}, future = {0};
    int64_t revision = story_put(absence.story, absence.leader, "a", "b", 0);
    wait_equal(&absence);
    story_watch(absence.story, &behind, absence.away, 0);
    story_watch(absence.story, &future, absence.away, revision + MANY);
    go_away(&absence);
    write_much(&absence);
    story_compact(absence.story, absence.leader, revision + 200);
    come_back(&absence);
    story_until(absence.story, is_canceled, &behind);
    assert_int_equal(behind.compacted, revision + 200);
    assert_int_equal(behind.count, 0);
    must_be_every_revision(absence.story, &future, revision + MANY);
    end(&absence);
}

/* Nothing was missed: what they wait for is still to come. */
static void a_watcher_created_while_it_installs_gets_what_comes_after_what_it_was_told(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(6);
    struct story_watch watch = {0};
    struct sim_member *away = member_away(&absence);
    sim_member_set_write_time(away, 50 * STORY_MILLISECOND);
    must(sim_member_receive(away, &absence.message, absence.image));
    story_run(absence.story, 20 * STORY_MILLISECOND);
    assert_int_equal(installs(&absence), 0);
    story_watch(absence.story, &watch, absence.away, 0);
    assert_true(watch.created_at < MANY);
    wait_equal(&absence);
    must_be_every_revision(absence.story, &watch, watch.created_at + 1);
    end(&absence);
}

/* ---- leases ---- */

static int64_t grant(struct story *story, size_t member, int64_t ttl)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = ttl;
    const Etcdserverpb__LeaseGrantResponse *response =
        story_ask(story, member, NODE_LEASE_GRANT, &request.base);
    assert_non_null(response);
    return response->id;
}

static bool is_known(struct story *story, size_t member, int64_t lease)
{
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    const Etcdserverpb__LeaseLeasesResponse *response =
        story_ask(story, member, NODE_LEASE_LEASES, &request.base);
    assert_non_null(response);
    for (size_t i = 0; i < response->n_leases; i++)
        if (response->leases[i]->id == lease) return true;
    return false;
}

static bool is_gone(struct story *story, void *context)
{
    const struct absence *absence = context;
    return story_status(story, absence->away).leases == 0;
}

static void leases_are_those_of_the_cluster(void **state)
{
    (void)state;
    struct absence absence = begin_absence(7);
    struct story *story = absence.story;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    int64_t revoked = grant(story, absence.leader, 1000);
    story_put(story, absence.leader, "revoked", "1", revoked);
    wait_equal(&absence);
    go_away(&absence);
    absence.leader = story_leader(story);
    int64_t made = grant(story, absence.leader, 20);
    story_put(story, absence.leader, "kept", "1", made);
    revoke.id = revoked;
    assert_non_null(story_ask(story, absence.leader, NODE_LEASE_REVOKE, &revoke.base));
    write_much(&absence);
    come_back(&absence);
    assert_false(is_known(story, absence.away, revoked));
    assert_null(story_get(story, absence.away, "revoked", true));
    assert_true(is_known(story, absence.away, made));
    /* As a leader it lets it run out, and the key with it. */
    move_leader(&absence);
    assert_non_null(story_get(story, absence.away, "kept", false));
    story_until(story, is_gone, &absence);
    assert_null(story_get(story, absence.away, "kept", false));
    wait_equal(&absence);
    end(&absence);
}

/* ---- reads ---- */

/* A range in slices that has begun when the state under it goes. */
static void a_long_read_begins_again(void **state)
{
    (void)state;
    enum { KEYS = 2500 };
    struct story *story = story_new(8, 3, SNAPSHOT_NEVER, 1);
    struct absence absence = {.story = story, .leader = story_leader(story)};
    absence.away = (absence.leader + 1) % 3;
    story_fill(story, absence.leader, 0, KEYS);
    wait_equal(&absence);
    go_away(&absence);
    absence.leader = story_leader(story);
    story_fill(story, absence.leader, KEYS, MANY);
    catch_image(&absence);
    struct sim_member *away = member_away(&absence);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = message_binary(BYTES_LITERAL("k"));
    range.range_end = message_binary(BYTES_LITERAL("l"));
    range.serializable = true;
    story_submit(story, absence.away, NODE_RANGE, &range.base);
    must(sim_member_run(away, sim_member_now(away)));
    assert_false(story->answered);
    must(sim_member_receive(away, &absence.message, absence.image));
    const Etcdserverpb__RangeResponse *response = story_answer(story);
    assert_non_null(response);
    assert_int_equal(installs(&absence), 1);
    assert_int_equal(response->n_kvs, KEYS + MANY);
    assert_int_equal(response->header->revision, story_status(story, absence.leader).revision);
    wait_equal(&absence);
    end(&absence);
}

/* It would show a state of before what it has acknowledged to raft. */
static void nothing_is_read_while_it_installs(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(9);
    struct sim_member *away = member_away(&absence);
    sim_member_set_write_time(away, 100 * STORY_MILLISECOND);
    must(sim_member_receive(away, &absence.message, absence.image));
    story_run(absence.story, 10 * STORY_MILLISECOND);
    assert_int_equal(installs(&absence), 0);
    assert_non_null(story_get(absence.story, absence.away, "k00299", true));
    assert_int_equal(installs(&absence), 1);
    wait_equal(&absence);
    end(&absence);
}

/* ---- the log ---- */

static uint64_t first_index(struct absence *absence)
{
    return raft_status(node_raft(story_node(absence->story, absence->leader))).first_index;
}

/* Or a member that got a snapshot would need another one. */
static void the_log_stays_while_a_snapshot_travels(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(10);
    uint64_t first = first_index(&absence);
    story_fill(absence.story, absence.leader, 0, MANY);
    wait_equal(&absence);
    assert_int_equal(installs(&absence), 1);
    story_fill(absence.story, absence.leader, 0, MANY);
    assert_int_equal(first_index(&absence), first);
    story_run(absence.story, 31 * STORY_SECOND);
    story_fill(absence.story, absence.leader, 0, MANY);
    assert_true(first_index(&absence) > first + MANY);
    wait_equal(&absence);
    assert_int_equal(installs(&absence), 1);
    end(&absence);
}

static bool was_refused(struct story *story, void *context)
{
    (void)context;
    return story->refused > 0;
}

static void a_transfer_that_breaks_is_tried_again(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(11);
    go_away(&absence);
    story_until(absence.story, was_refused, NULL);
    come_back(&absence);
    end(&absence);
}

static void the_receiver_may_be_removed_meanwhile(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(12);
    struct story *story = absence.story;
    Etcdserverpb__MemberRemoveRequest remove = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    remove.id = sim_member_id(member_away(&absence));
    assert_non_null(story_ask(story, absence.leader, NODE_MEMBER_REMOVE, &remove.base));
    story_run(story, 10 * STORY_SECOND);
    story_fill(story, absence.leader, 0, 10);
    absence_deinit(&absence);
}

/* ---- members ---- */

/* Adds a member and starts it; the log is long gone, so its first state comes by snapshot. */
static size_t join(struct absence *absence, bool as_learner)
{
    struct story *story = absence->story;
    Etcdserverpb__MemberAddRequest add = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    char *url = (char *)(uintptr_t)sim_cluster_url(story->cluster, sim_cluster_members(story->cluster));
    add.peerurls = &url;
    add.n_peerurls = 1;
    add.islearner = as_learner;
    const Etcdserverpb__MemberAddResponse *response =
        story_ask(story, absence->leader, NODE_MEMBER_ADD, &add.base);
    assert_non_null(response);
    uint64_t id = response->member->id;
    absence->away = sim_cluster_add(story->cluster);
    story_start(story, absence->away);
    assert_true(sim_member_id(member_away(absence)) == id);
    wait_equal(absence);
    assert_int_equal(installs(absence), 1);
    story_run(absence->story, 31 * STORY_SECOND); /* the log need not be kept for it any more */
    return absence->away;
}

/* Nothing else knows who has left. */
static void must_know_the_same_members(struct absence *absence)
{
    struct buf own = {0}, leaders = {0};
    cluster_v2_snapshot_write(&own, node_cluster(story_node(absence->story, absence->away)));
    cluster_v2_snapshot_write(&leaders, node_cluster(story_node(absence->story, absence->leader)));
    assert_string_equal(buf_string(&own), buf_string(&leaders));
    buf_deinit(&own);
    buf_deinit(&leaders);
}

static bool is_published(struct story *story, void *context)
{
    const struct absence *absence = context;
    const struct cluster *cluster = node_cluster(story_node(story, absence->leader));
    const struct cluster_member *member = cluster_member(cluster, sim_member_id(member_away(absence)));
    return member != NULL && member->name[0] != '\0';
}

static void a_member_that_joins_gets_its_first_state_by_snapshot(void **state)
{
    (void)state;
    struct absence absence = begin_absence(17);
    write_much(&absence);
    assert_int_equal(join(&absence, false), 3);
    must_know_the_same_members(&absence);
    story_until(absence.story, is_published, &absence);
    wait_equal(&absence);
    must_know_the_same_members(&absence);
    assert_non_null(story_get(absence.story, absence.away, "k00299", true));
    /* Its vote counts: of the four, two others are down. */
    sim_cluster_kill(absence.story->cluster, (absence.leader + 1) % 3);
    story_put(absence.story, absence.leader, "with", "three", 0);
    wait_equal(&absence);
    end(&absence);
}

/* The only member has added a second one and falls: its backend has that, the commit index on its disk is of
 * before. It needs the second one now to commit anything, and that one needs a snapshot to be of any help. */
static void a_member_added_just_before_a_power_cut_can_join(void **state)
{
    (void)state;
    struct absence absence = {.story = story_new(22, 1, 50, 1)};
    struct story *story = absence.story;
    Etcdserverpb__MemberAddRequest add = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    char *url = (char *)(uintptr_t)sim_cluster_url(story->cluster, 1);
    add.peerurls = &url;
    add.n_peerurls = 1;
    write_much(&absence);
    assert_non_null(story_ask(story, 0, NODE_MEMBER_ADD, &add.base));
    story_run(story, STORY_SECOND); /* the backend is committed */
    sim_cluster_crash(story->cluster, 0, FS_SIM_LOSE_ALL);
    story_start(story, 0);
    absence.away = sim_cluster_add(story->cluster);
    story_start(story, absence.away);
    absence.leader = story_leader(story);
    assert_int_equal(absence.leader, 0);
    wait_equal(&absence);
    assert_int_equal(installs(&absence), 1);
    end(&absence);
}

static const void *promote(struct absence *absence)
{
    Etcdserverpb__MemberPromoteRequest promote = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    promote.id = sim_member_id(member_away(absence));
    return story_ask(absence->story, absence->leader, NODE_MEMBER_PROMOTE, &promote.base);
}

static void a_learner_is_promoted_once_it_has_its_snapshot(void **state)
{
    (void)state;
    struct absence absence = begin_absence(18);
    write_much(&absence);
    join(&absence, true);
    assert_true(story_status(absence.story, absence.away).is_learner);
    /* One more absence: a learner's state comes by snapshot as well, and says what it is. */
    go_away(&absence);
    write_much(&absence);
    assert_null(promote(&absence));
    assert_int_equal(absence.story->request.error, API_ERROR_LEARNER_NOT_READY);
    come_back(&absence);
    assert_true(story_status(absence.story, absence.away).is_learner);
    assert_non_null(promote(&absence));
    wait_equal(&absence);
    assert_false(story_status(absence.story, absence.away).is_learner);
    must_know_the_same_members(&absence);
    move_leader(&absence);
    story_put(absence.story, absence.away, "led by", "it", 0);
    wait_equal(&absence);
    end(&absence);
}

/* It was promoted while it was away: were the old entries applied over the snapshot, it would be a learner
 * again. */
static void a_learner_promoted_while_it_was_away_is_a_voter(void **state)
{
    (void)state;
    struct absence absence = begin_absence(19);
    write_much(&absence);
    join(&absence, true);
    go_away(&absence);
    assert_non_null(promote(&absence));
    write_much(&absence);
    come_back(&absence);
    assert_false(story_status(absence.story, absence.away).is_learner);
    must_know_the_same_members(&absence);
    move_leader(&absence);
    end(&absence);
}

static void it_learns_who_was_removed_meanwhile(void **state)
{
    (void)state;
    struct absence absence = begin_absence(20);
    Etcdserverpb__MemberRemoveRequest remove = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    write_much(&absence);
    size_t joined = join(&absence, false);
    absence.away = (absence.leader + 1) % 3;
    wait_equal(&absence);
    go_away(&absence);
    absence.leader = story_leader(absence.story);
    if (absence.leader == joined) absence.leader = (absence.away + 1) % 3;
    remove.id = sim_member_id(sim_cluster_member(absence.story->cluster, joined));
    assert_non_null(story_ask(absence.story, absence.leader, NODE_MEMBER_REMOVE, &remove.base));
    write_much(&absence);
    come_back(&absence);
    assert_false(sim_cluster_is_up(absence.story->cluster, joined));
    must_know_the_same_members(&absence);
    assert_true(cluster_is_removed(node_cluster(story_node(absence.story, absence.away)), remove.id));
    end(&absence);
}

/* ---- alarms ---- */

static void alarms_are_those_of_the_cluster(void **state)
{
    (void)state;
    struct absence absence = begin_absence(21);
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    go_away(&absence);
    write_much(&absence);
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.memberid = 1;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    assert_non_null(story_ask(absence.story, absence.leader, NODE_ALARM, &alarm.base));
    story_run(absence.story, STORY_SECOND);
    assert_false(story_status(absence.story, absence.away).alarm_nospace);
    come_back(&absence);
    assert_true(story_status(absence.story, absence.away).alarm_nospace);
    end(&absence);
}

/* ---- two of them ---- */

/* The second one comes while the first is being installed, and the files are tidied up in between. */
static void a_second_snapshot_waits_for_the_first(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(13);
    struct story *story = absence.story;
    struct raft_message second;
    struct blob *second_image;
    go_away(&absence);
    story_until(story, was_refused, NULL);
    absence.leader = story_leader(story);
    story_fill(story, absence.leader, 0, MANY);
    story_isolate(story, absence.away, false);
    story_catch_image(story, absence.away, &second, &second_image);
    assert_true(second.snapshot->index > absence.message.snapshot->index);
    struct sim_member *away = member_away(&absence);
    sim_member_set_write_time(away, 20 * STORY_MILLISECOND);
    must(sim_member_receive(away, &absence.message, absence.image));
    story_run(story, 60 * STORY_MILLISECOND);
    must(sim_member_receive(away, &second, second_image));
    assert_int_equal(installs(&absence), 0);
    for (unsigned i = 0; i < 30; i++) {
        must(sim_member_purge(away));
        story_run(story, 20 * STORY_MILLISECOND);
    }
    wait_equal(&absence);
    assert_int_equal(installs(&absence), 2);
    raft_message_deinit(&second);
    blob_unref(second_image);
    end(&absence);
}

static bool file_exists(struct absence *absence, uint64_t index)
{
    bool exists = false;
    char *path = snap_database_path("/member/member/snap", index);
    must(fs_exists(fs_sim_fs(sim_member_disk(member_away(absence))), path, &exists));
    free(path);
    return exists;
}

/* Raft has no use for one that is behind; its file goes with the next tidying up. */
static void a_late_snapshot_is_ignored_and_its_file_removed(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(14);
    come_back(&absence);
    story_fill(absence.story, absence.leader, 0, 5);
    wait_equal(&absence);
    struct sim_member *away = member_away(&absence);
    must(sim_member_receive(away, &absence.message, absence.image));
    assert_true(file_exists(&absence, absence.message.snapshot->index));
    story_run(absence.story, STORY_SECOND);
    assert_int_equal(installs(&absence), 1);
    must(sim_member_purge(away));
    assert_false(file_exists(&absence, absence.message.snapshot->index));
    end(&absence);
}

static void a_damaged_image_is_refused(void **state)
{
    (void)state;
    struct absence absence = begin_with_image(15);
    struct sim_member *away = member_away(&absence);
    struct blob *part = blob_from(bytes_of(absence.image->data, absence.image->size - 1));
    struct error *error = sim_member_receive(away, &absence.message, part);
    assert_non_null(error);
    error_free(error);
    assert_false(file_exists(&absence, absence.message.snapshot->index));
    absence.message.snapshot->index++;
    error = sim_member_receive(away, &absence.message, absence.image);
    assert_non_null(error);
    error_free(error);
    blob_unref(part);
    come_back(&absence);
    end(&absence);
}

/* ---- crashes ---- */

struct falling {
    struct absence *absence;
    bool fell;
};

static bool fell_or_caught_up(struct story *story, void *context)
{
    struct falling *falling = context;
    size_t away = falling->absence->away;
    falling->fell = story->fell[away];
    if (falling->fell) return true;
    struct node_status own = story_status(story, away);
    return own.applied == story_status(story, falling->absence->leader).applied &&
           installs(falling->absence) > 0;
}

/* The power goes at the n-th thing it does to its disk from the arrival of the database on. True: that came
 * before it had caught up. */
static bool fall_at(uint64_t operation)
{
    static const enum fs_sim_crash_mode modes[] = {FS_SIM_LOSE_ALL, FS_SIM_RANDOM, FS_SIM_KEEP_ALL};
    struct absence absence = begin_with_image(16);
    struct falling falling = {.absence = &absence};
    struct fs_sim *disk = sim_member_disk(member_away(&absence));
    fs_sim_cut_power_after(disk, operation);
    struct error *error = sim_member_receive(member_away(&absence), &absence.message, absence.image);
    if (error == NULL)
        story_until(absence.story, fell_or_caught_up, &falling);
    else
        falling.fell = true;
    error_free(error);
    sim_cluster_crash(absence.story->cluster, absence.away, modes[operation % 3]);
    story_start(absence.story, absence.away);
    absence.leader = story_leader(absence.story);
    wait_equal(&absence);
    assert_false(file_exists(&absence, absence.message.snapshot->index));
    end(&absence);
    return falling.fell;
}

/* What the log holds from before the snapshot does not lead to it. */
static void a_damaged_snapshot_file_is_named_at_every_start(void **state)
{
    (void)state;
    static const char folder[] = "/member/member/snap";
    struct absence absence = begin_absence(32);
    go_away(&absence);
    write_much(&absence);
    come_back(&absence);
    struct sim_cluster *cluster = absence.story->cluster;
    sim_cluster_crash(cluster, absence.away, FS_SIM_LOSE_ALL);
    struct fs_sim *disk = sim_member_disk(member_away(&absence));
    char **names, *path = NULL;
    size_t count;
    uint64_t term, index;
    must(fs_list(fs_sim_fs(disk), folder, &names, &count));
    for (size_t i = 0; i < count; i++)
        if (snap_parse_name(names[i], &term, &index)) {
            assert_null(path);
            path = mem_printf("%s/%s", folder, names[i]);
        }
    fs_names_free(names, count);
    char *broken = mem_printf("%s.broken", path);
    assert_true(fs_sim_flip_bit(disk, path, 20, 3));
    for (int tries = 0; tries < 2; tries++) {
        struct error *error = sim_cluster_start(cluster, absence.away);
        assert_true(error_is(error, ERROR_CORRUPT));
        if (strstr(error->text, broken) == NULL || strstr(error->text, "add it again") == NULL)
            fail_msg("%s", error->text);
        error_free(error);
    }
    assert_true(fs_sim_flip_bit(disk, broken, 20, 3));
    must(fs_rename(fs_sim_fs(disk), broken, path));
    free(broken);
    free(path);
    story_start(absence.story, absence.away);
    wait_equal(&absence);
    end(&absence);
}

static void it_recovers_from_a_power_cut_at_any_point(void **state)
{
    (void)state;
    uint64_t operation = 0;
    while (fall_at(operation)) operation++;
    assert_true(operation >= ITS_OPERATIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_state_is_the_clusters),
        cmocka_unit_test(it_can_lead_afterwards),
        cmocka_unit_test(it_starts_again_from_what_it_received),
        cmocka_unit_test(watchers_miss_nothing_and_get_nothing_twice),
        cmocka_unit_test(watchers_below_the_compaction_are_told_so),
        cmocka_unit_test(a_watcher_created_while_it_installs_gets_what_comes_after_what_it_was_told),
        cmocka_unit_test(leases_are_those_of_the_cluster),
        cmocka_unit_test(a_long_read_begins_again),
        cmocka_unit_test(nothing_is_read_while_it_installs),
        cmocka_unit_test(the_log_stays_while_a_snapshot_travels),
        cmocka_unit_test(a_transfer_that_breaks_is_tried_again),
        cmocka_unit_test(the_receiver_may_be_removed_meanwhile),
        cmocka_unit_test(a_member_that_joins_gets_its_first_state_by_snapshot),
        cmocka_unit_test(a_member_added_just_before_a_power_cut_can_join),
        cmocka_unit_test(a_learner_is_promoted_once_it_has_its_snapshot),
        cmocka_unit_test(a_learner_promoted_while_it_was_away_is_a_voter),
        cmocka_unit_test(it_learns_who_was_removed_meanwhile),
        cmocka_unit_test(alarms_are_those_of_the_cluster),
        cmocka_unit_test(a_second_snapshot_waits_for_the_first),
        cmocka_unit_test(a_late_snapshot_is_ignored_and_its_file_removed),
        cmocka_unit_test(a_damaged_image_is_refused),
        cmocka_unit_test(a_damaged_snapshot_file_is_named_at_every_start),
        cmocka_unit_test(it_recovers_from_a_power_cut_at_any_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
