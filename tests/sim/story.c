#include "story.h"

#include "api/message.h"
#include "base/memory.h"
#include "raft/codec.h"
#include "tests/unit/expect.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what the cluster tells ---- */

static const ProtobufCMessageDescriptor *answer_to(enum node_operation operation)
{
    switch (operation) {
    case NODE_RANGE:
        return &etcdserverpb__range_response__descriptor;
    case NODE_PUT:
        return &etcdserverpb__put_response__descriptor;
    case NODE_TXN:
        return &etcdserverpb__txn_response__descriptor;
    case NODE_COMPACT:
        return &etcdserverpb__compaction_response__descriptor;
    case NODE_HASH_KV:
        return &etcdserverpb__hash_kvresponse__descriptor;
    case NODE_LEASE_GRANT:
        return &etcdserverpb__lease_grant_response__descriptor;
    case NODE_LEASE_REVOKE:
        return &etcdserverpb__lease_revoke_response__descriptor;
    case NODE_LEASE_LEASES:
        return &etcdserverpb__lease_leases_response__descriptor;
    case NODE_LEASE_KEEP_ALIVE:
        return &etcdserverpb__lease_keep_alive_response__descriptor;
    case NODE_LEASE_TIME_TO_LIVE:
        return &etcdserverpb__lease_time_to_live_response__descriptor;
    case NODE_MEMBER_ADD:
        return &etcdserverpb__member_add_response__descriptor;
    case NODE_MEMBER_REMOVE:
        return &etcdserverpb__member_remove_response__descriptor;
    case NODE_MEMBER_PROMOTE:
        return &etcdserverpb__member_promote_response__descriptor;
    case NODE_MEMBER_LIST:
        return &etcdserverpb__member_list_response__descriptor;
    case NODE_ALARM:
        return &etcdserverpb__alarm_response__descriptor;
    case NODE_MOVE_LEADER:
        return &etcdserverpb__move_leader_response__descriptor;
    default:
        fail_msg("no test has asked for operation %d so far", operation);
        return NULL;
    }
}

static void on_reply(void *context, size_t member, struct node_request *request)
{
    struct story *story = context;
    struct buf bytes = {0};
    (void)member;
    assert_ptr_equal(request, &story->request);
    story->answered = true;
    story->response = NULL;
    arena_reset(story->arena);
    if (request->error == API_OK && request->error_text == NULL) {
        buf_append_bytes(&bytes, blob_bytes(request->response));
        while (request->response_rest.count > 0) {
            struct blob *rest = blob_list_take_first(&request->response_rest);
            buf_append_bytes(&bytes, blob_bytes(rest));
            blob_unref(rest);
        }
        struct bytes kept = arena_copy(story->arena, buf_bytes(&bytes));
        story->response = message_unpack(answer_to(request->operation), kept, story->arena, NULL);
        assert_non_null(story->response);
    }
    blob_unref(request->response);
    buf_deinit(&bytes);
}

static void note_response(struct story_watch *watch, const Etcdserverpb__WatchResponse *response)
{
    assert_int_equal(watch->compacted, 0);
    if (response->created) watch->created_at = response->header->revision;
    if (response->canceled) watch->compacted = response->compact_revision;
    if (response->n_events == 0) watch->bookmark = response->header->revision;
    for (size_t i = 0; i < response->n_events; i++) {
        assert_true(watch->count < STORY_EVENTS_MAX);
        watch->revisions[watch->count++] = response->events[i]->kv->mod_revision;
    }
}

static void on_watch(void *context, size_t member, struct watch_message *message)
{
    struct story_watch *watch = message->owner;
    struct arena *arena = arena_new();
    struct buf bytes = {0};
    (void)context;
    (void)member;
    buf_append(&bytes, message->head, message->head_size);
    for (size_t i = 0; i < message->part_count; i++) buf_append_bytes(&bytes, blob_bytes(message->parts[i]));
    const void *response =
        message_unpack(&etcdserverpb__watch_response__descriptor, buf_bytes(&bytes), arena, NULL);
    assert_non_null(response);
    note_response(watch, response);
    watch_delivered(watch->stream, message->size);
    watch_message_free(message);
    buf_deinit(&bytes);
    arena_free(arena);
}

static void on_event(void *context, const struct sim_event *event)
{
    struct story *story = context;
    if (event->kind == SIM_EVENT_FAIL) story->fell[event->member] = true;
    if (event->kind != SIM_EVENT_RECEIVE) return;
    if (event->text == NULL)
        story->received++;
    else
        story->refused++;
}

/* ---- life and time ---- */

struct story *story_of(const struct sim_cluster_options *given)
{
    struct story *story = mem_zalloc(1, sizeof(*story));
    struct sim_cluster_options options = *given;
    options.link = (struct sim_link){.delay = STORY_MILLISECOND / 2, .jitter = STORY_MILLISECOND / 2};
    options.wal_segment_size = 1 << 16;
    options.logger = &log_discard;
    options.on_reply = on_reply;
    options.on_watch = on_watch;
    options.on_event = on_event;
    options.context = story;
    story->arena = arena_new();
    story->cluster = sim_cluster_new(&options);
    for (size_t i = 0; i < options.members; i++) story_start(story, i);
    story_leader(story);
    return story;
}

struct story *story_new(uint64_t seed, size_t members, uint64_t snapshot_count, uint64_t catch_up)
{
    return story_of(&(const struct sim_cluster_options){
        .seed = seed,
        .members = members,
        .snapshot_count = snapshot_count,
        .catch_up_entries = catch_up,
    });
}

void story_free(struct story *story)
{
    sim_cluster_free(story->cluster);
    arena_free(story->arena);
    buf_deinit(&story->raw);
    free(story);
}

void story_run(struct story *story, int64_t time)
{
    int64_t until = sim_cluster_now(story->cluster) + time;
    while (sim_cluster_step(story->cluster, until)) {
    }
}

void story_until(struct story *story, bool (*is_so)(struct story *story, void *context), void *context)
{
    int64_t until = sim_cluster_now(story->cluster) + STORY_PATIENCE;
    while (!is_so(story, context))
        if (!sim_cluster_step(story->cluster, until)) fail_msg("it has not come to what the test waits for");
}

/* ---- members ---- */

struct node *story_node(struct story *story, size_t member)
{
    return sim_member_node(sim_cluster_member(story->cluster, member));
}

struct node_status story_status(struct story *story, size_t member)
{
    struct node_status status;
    node_status(story_node(story, member), &status);
    return status;
}

static bool is_cut_off(struct story *story, size_t member)
{
    size_t members = sim_cluster_members(story->cluster);
    for (size_t i = 0; i < members; i++)
        if (i != member && !sim_network_link(sim_cluster_network(story->cluster), member, i)->cut)
            return false;
    return members > 1;
}

static bool all_follow(struct story *story, void *context)
{
    size_t *leader = context;
    uint64_t id = 0;
    for (size_t i = 0; i < sim_cluster_members(story->cluster); i++) {
        if (!sim_cluster_is_up(story->cluster, i) || sim_cluster_is_paused(story->cluster, i)) continue;
        if (is_cut_off(story, i)) continue;
        uint64_t follows = story_status(story, i).leader;
        if (follows == 0 || (id != 0 && follows != id)) return false;
        id = follows;
    }
    *leader = sim_cluster_find(story->cluster, id);
    return *leader < sim_cluster_members(story->cluster) && sim_cluster_is_up(story->cluster, *leader) &&
           !is_cut_off(story, *leader) && !sim_cluster_is_paused(story->cluster, *leader);
}

size_t story_leader(struct story *story)
{
    size_t leader = 0;
    story_until(story, all_follow, &leader);
    return leader;
}

void story_isolate(struct story *story, size_t member, bool isolated)
{
    for (size_t i = 0; i < sim_cluster_members(story->cluster); i++)
        if (i != member) sim_network_cut(sim_cluster_network(story->cluster), i, member, isolated);
}

static bool have_applied_the_same(struct story *story, void *context)
{
    const size_t *members = context;
    struct node_status one = story_status(story, members[0]), two = story_status(story, members[1]);
    return one.applied == two.applied && one.committed == two.committed && one.applied == one.committed;
}

void story_wait_equal(struct story *story, size_t a, size_t b)
{
    size_t members[] = {a, b};
    story_until(story, have_applied_the_same, members);
}

void story_start(struct story *story, size_t member)
{
    must(sim_cluster_start(story->cluster, member));
    story->fell[member] = false;
}

/* ---- requests ---- */

void story_submit(struct story *story, size_t member, enum node_operation operation,
                  const ProtobufCMessage *message)
{
    assert_false(story->asked);
    buf_clear(&story->raw);
    message_pack(&story->raw, message);
    story->request =
        (struct node_request){.operation = operation, .message = message, .raw = buf_bytes(&story->raw)};
    story->asked = true;
    story->answered = false;
    sim_cluster_submit(story->cluster, member, &story->request);
}

static bool is_answered(struct story *story, void *context)
{
    (void)context;
    return story->answered;
}

const void *story_answer(struct story *story)
{
    story_until(story, is_answered, NULL);
    story->asked = false;
    return story->response;
}

const void *story_ask(struct story *story, size_t member, enum node_operation operation,
                      const ProtobufCMessage *message)
{
    story_submit(story, member, operation, message);
    return story_answer(story);
}

static const void *ask_with_success(struct story *story, size_t member, enum node_operation operation,
                                    const ProtobufCMessage *message)
{
    const void *response = story_ask(story, member, operation, message);
    if (response == NULL)
        fail_msg("operation %d: %s", operation,
                 story->request.error_text != NULL ? story->request.error_text
                                                   : api_error_text(story->request.error));
    return response;
}

int64_t story_put(struct story *story, size_t member, const char *key, const char *value, int64_t lease)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = message_binary(bytes_from_string(key));
    put.value = message_binary(bytes_from_string(value));
    put.lease = lease;
    const Etcdserverpb__PutResponse *response = ask_with_success(story, member, NODE_PUT, &put.base);
    return response->header->revision;
}

void story_fill(struct story *story, size_t member, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++) {
        char key[16], value[200];
        snprintf(key, sizeof(key), "k%05u", i);
        memset(value, 'v', sizeof(value));
        value[sizeof(value) - 1] = '\0';
        story_put(story, member, key, value, 0);
    }
}

void story_compact(struct story *story, size_t member, int64_t revision)
{
    Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compact.revision = revision;
    compact.physical = true;
    ask_with_success(story, member, NODE_COMPACT, &compact.base);
}

const char *story_get(struct story *story, size_t member, const char *key, bool serializable)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = message_binary(bytes_from_string(key));
    range.serializable = serializable;
    const Etcdserverpb__RangeResponse *response = ask_with_success(story, member, NODE_RANGE, &range.base);
    return response->n_kvs == 0 ? NULL : arena_string(story->arena, message_bytes(response->kvs[0]->value));
}

uint32_t story_hash(struct story *story, size_t member)
{
    Etcdserverpb__HashKVRequest hash = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    const Etcdserverpb__HashKVResponse *response = ask_with_success(story, member, NODE_HASH_KV, &hash.base);
    return response->hash;
}

static bool is_created(struct story *story, void *context)
{
    const struct story_watch *watch = context;
    (void)story;
    return watch->created_at != 0;
}

void story_watch(struct story *story, struct story_watch *watch, size_t member, int64_t from)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    *watch = (struct story_watch){.member = member};
    create.key = message_binary(bytes_of("\0", 1));
    create.range_end = message_binary(bytes_of("\0", 1));
    create.start_revision = from;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    watch->stream = node_watch_open(story_node(story, member), watch);
    node_watch_request(story_node(story, member), watch->stream, &(const struct node_identity){0}, &request);
    sim_member_wake(sim_cluster_member(story->cluster, member));
    story_until(story, is_created, watch);
}

/* ---- databases ---- */

struct caught {
    size_t to;
    struct raft_message *message;
    struct blob **image;
};

static bool is_on_its_way(struct story *story, void *context)
{
    struct caught *caught = context;
    struct sim_network *network = sim_cluster_network(story->cluster);
    for (size_t i = 0; i < sim_network_count(network); i++) {
        const struct sim_packet *packet = sim_network_at(network, i, NULL);
        if (packet->to != caught->to || packet->image == NULL) continue;
        must(raft_decode_message(caught->message, blob_bytes(packet->bytes)));
        *caught->image = blob_ref(packet->image);
        return true;
    }
    return false;
}

void story_catch_image(struct story *story, size_t to, struct raft_message *message, struct blob **image)
{
    struct caught caught = {.to = to, .message = message, .image = image};
    *message = (struct raft_message){0};
    story_until(story, is_on_its_way, &caught);
}
