/* A leader of many: one production member, and a test that answers for all others. */
#include "api/message.h"
#include "base/memory.h"
#include "sim/sim_member.h"
#include "tests/unit/expect.h"

#include "rpc.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MEMBERS = 40,
    FOLLOWING = 20, /* acknowledge what they get; with the leader they are a quorum */
    LAGGING = MEMBERS - 1 - FOLLOWING,
    WAITING_MAX = 16,
    WRITES = 300,
    ANSWERS_MAX = 1024,
    KEPT = 10,
};

#define SECOND INT64_C(1000000000)

struct leader {
    struct fs_sim *disk;
    struct sim_member *member;
    uint64_t others[MEMBERS - 1]; /* in the order of their first messages */
    size_t other_count;
    struct raft_message answers[ANSWERS_MAX];
    size_t answer_count;
    struct node_request request;
    struct buf raw;
    bool answered;
    size_t sent_at_once, sent_most, sent;
    bool has_snapshot[MEMBERS];
};

static size_t number_of(struct leader *leader, uint64_t id)
{
    size_t i = 0;
    while (i < leader->other_count && leader->others[i] != id) i++;
    if (i == leader->other_count) {
        assert_true(leader->other_count < MEMBERS - 1);
        leader->others[leader->other_count++] = id;
    }
    return i;
}

/* What the member that it goes to would say; false: nothing. Those who lag are there, but never have what
 * they are sent. */
static bool answer_to(struct leader *leader, const struct raft_message *message, struct raft_message *answer)
{
    bool lags = number_of(leader, message->to) >= FOLLOWING;
    *answer = (struct raft_message){.from = message->to, .to = message->from, .term = message->term};
    switch (message->type) {
    case RAFT_PRE_VOTE:
        answer->type = RAFT_PRE_VOTE_RESP;
        return true;
    case RAFT_VOTE:
        answer->type = RAFT_VOTE_RESP;
        return true;
    case RAFT_HEARTBEAT:
        answer->type = RAFT_HEARTBEAT_RESP;
        answer->context = message->context == NULL ? NULL : blob_ref(message->context);
        return true;
    case RAFT_APP:
        answer->type = RAFT_APP_RESP;
        answer->index = message->index + message->entries.count;
        return !lags;
    default:
        return false;
    }
}

static void on_peer_message(void *context, const struct raft_message *message)
{
    struct leader *leader = context;
    assert_true(leader->answer_count < ANSWERS_MAX);
    if (answer_to(leader, message, &leader->answers[leader->answer_count])) leader->answer_count++;
}

static void on_snapshot(void *context, const struct raft_message *message, struct blob *image)
{
    struct leader *leader = context;
    size_t number = number_of(leader, message->to);
    assert_true(number >= FOLLOWING && !leader->has_snapshot[number]);
    assert_true(image->size > 0 && message->snapshot->data->size > 0);
    leader->has_snapshot[number] = true;
    leader->sent++;
    leader->sent_at_once++;
}

static void on_reply(void *context, struct node_request *request)
{
    struct leader *leader = context;
    assert_int_equal(request->error, API_OK);
    blob_unref(request->response);
    leader->answered = true;
}

static void on_watch(void *context, struct watch_message *message)
{
    (void)context;
    watch_message_free(message);
}

/* One run, and then all that is said to it. */
static void step(struct leader *leader)
{
    leader->sent_at_once = 0;
    must(sim_member_run(leader->member, sim_member_next(leader->member)));
    if (leader->sent_at_once > leader->sent_most) leader->sent_most = leader->sent_at_once;
    size_t count = leader->answer_count;
    leader->answer_count = 0;
    for (size_t i = 0; i < count; i++) {
        sim_member_message(leader->member, &leader->answers[i]);
        raft_message_deinit(&leader->answers[i]);
    }
}

static void put(struct leader *leader, const char *key)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = message_binary(bytes_from_string(key));
    buf_clear(&leader->raw);
    message_pack(&leader->raw, &put.base);
    leader->request =
        (struct node_request){.operation = NODE_PUT, .message = &put, .raw = buf_bytes(&leader->raw)};
    leader->answered = false;
    sim_member_submit(leader->member, &leader->request);
    while (!leader->answered) step(leader);
}

static void only_so_many_snapshots_wait_and_all_get_theirs(void **state)
{
    (void)state;
    struct leader *leader = mem_zalloc(1, sizeof(*leader));
    struct buf cluster = {0};
    for (size_t i = 0; i < MEMBERS; i++)
        buf_printf(&cluster, "%sm%zu=http://127.0.0.1:%zu", i == 0 ? "" : ",", i, 3000 + i);
    const struct sim_member_options options = {
        .seed = 1,
        .name = "m0",
        .initial_cluster = buf_string(&cluster),
        .peer_urls = "http://127.0.0.1:3000",
        .catch_up_entries = KEPT,
        .logger = &log_discard,
        .on_reply = on_reply,
        .on_watch = on_watch,
        .on_peer_message = on_peer_message,
        .on_snapshot = on_snapshot,
        .context = leader,
    };
    leader->disk = fs_sim_new(&(const struct fs_sim_options){.seed = 1, .file_size = UINT64_C(1) << 32});
    leader->member = sim_member_new(&options, leader->disk);
    must(sim_member_start(leader->member, 0));
    for (size_t i = 0; i < WRITES; i++) put(leader, "key");
    int64_t until = sim_member_now(leader->member) + 10 * SECOND;
    while (leader->sent < LAGGING && sim_member_now(leader->member) < until) step(leader);
    assert_int_equal(leader->other_count, MEMBERS - 1);
    assert_int_equal(leader->sent, LAGGING);
    assert_int_equal(leader->sent_most, WAITING_MAX);
    for (size_t i = FOLLOWING; i < MEMBERS - 1; i++)
        node_snapshot_reported(sim_member_node(leader->member), leader->others[i], true);
    put(leader, "key");
    sim_member_crash(leader->member, FS_SIM_LOSE_ALL);
    sim_member_free(leader->member);
    fs_sim_free(leader->disk);
    for (size_t i = 0; i < leader->answer_count; i++) raft_message_deinit(&leader->answers[i]);
    buf_deinit(&leader->raw);
    buf_deinit(&cluster);
    free(leader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_so_many_snapshots_wait_and_all_get_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
