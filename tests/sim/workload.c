#include "workload_internal.h"

#include "sim/answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* How much of a lease's time a client relies on: its clock and the members' drift by 3 % each. */
enum { LEASE_TRUST_PERCENT = 85 };

#define CHANGE_PATIENCE (3 * SECOND)

static int64_t some_time(struct rng *rng, int64_t most)
{
    return 1 + (int64_t)rng_below(rng, (uint64_t)most);
}

struct workload *workload_new(struct world *world, struct rng *rng)
{
    struct workload *workload = mem_zalloc(1, sizeof(*workload));
    workload->world = world;
    workload->cluster = world->cluster;
    workload->checker = world->checker;
    workload->arena = arena_new();
    size_t clients = 2 + (size_t)rng_below(rng, CLIENTS - 1), holders = (size_t)rng_below(rng, HOLDERS + 1);
    workload->think_time = (rng_chance(rng, 1, 2) ? 50 : 200) * MILLISECOND;
    for (size_t i = 0; i < ACTORS; i++) {
        struct actor *actor = &workload->actors[i];
        bool there = i < clients || (i >= CLIENTS && i < CLIENTS + holders);
        actor->workload = workload;
        actor->arena = arena_new();
        actor->wake_at = there ? some_time(rng, SECOND) : INT64_MAX;
        rng_init(&actor->rng, rng_next(rng));
    }
    followers_init(workload, rng);
    struct actor *operator= & workload->actors[OPERATOR];
    operator->workload = workload;
    operator->arena = arena_new();
    operator->wake_at = INT64_MAX;
    rng_init(&operator->rng, world->plan->seed);
    return workload;
}

void workload_free(struct workload *workload)
{
    for (size_t i = 0; i <= OPERATOR; i++) {
        assert(!workload->actors[i].busy);
        arena_free(workload->actors[i].arena);
        buf_deinit(&workload->actors[i].raw);
    }
    arena_free(workload->arena);
    buf_deinit(&workload->text);
    buf_deinit(&workload->bytes);
    free(workload);
}

struct workload_counts workload_counts(const struct workload *workload)
{
    return workload->counts;
}

size_t workload_choose_member(const struct workload *workload, struct rng *rng)
{
    size_t members = sim_cluster_members(workload->cluster);
    size_t first = (size_t)rng_below(rng, members);
    for (size_t i = 0; i < members; i++)
        if (sim_cluster_is_up(workload->cluster, (first + i) % members)) return (first + i) % members;
    return members;
}

/* ---- asking ---- */

static const char *name_of(enum node_operation operation)
{
    static const char *const names[NODE_OPERATION_COUNT] = {
        [NODE_RANGE] = "range",
        [NODE_PUT] = "put",
        [NODE_DELETE_RANGE] = "delete",
        [NODE_TXN] = "txn",
        [NODE_COMPACT] = "compact",
        [NODE_LEASE_GRANT] = "grant",
        [NODE_LEASE_REVOKE] = "revoke",
        [NODE_LEASE_KEEP_ALIVE] = "keep alive",
        [NODE_LEASE_TIME_TO_LIVE] = "time to live",
        [NODE_HASH_KV] = "hash",
        [NODE_MOVE_LEADER] = "move leader",
        [NODE_MEMBER_ADD] = "add member",
        [NODE_MEMBER_REMOVE] = "remove member",
        [NODE_MEMBER_PROMOTE] = "promote member",
    };
    return names[operation];
}

/* What tells requests of a kind apart; short, not complete. */
static void describe(struct buf *out, enum node_operation operation, const void *message)
{
    buf_append_string(out, name_of(operation));
    if (operation == NODE_PUT) {
        const Etcdserverpb__PutRequest *put = message;
        buf_printf(out, " %.*s=%.*s", (int)put->key.len, (const char *)put->key.data,
                   put->value.len > 24 ? 24 : (int)put->value.len, (const char *)put->value.data);
        if (put->lease != 0) buf_printf(out, " lease %llx", (unsigned long long)put->lease);
    } else if (operation == NODE_DELETE_RANGE) {
        const Etcdserverpb__DeleteRangeRequest *delete = message;
        buf_printf(out, " [%.*s, %.*s)", (int)delete->key.len, (const char *)delete->key.data,
                   (int)delete->range_end.len, (const char *)delete->range_end.data);
    } else if (operation == NODE_RANGE) {
        const Etcdserverpb__RangeRequest *range = message;
        buf_printf(out, " [%.*s, %.*s)%s", (int)range->key.len, (const char *)range->key.data,
                   (int)range->range_end.len, (const char *)range->range_end.data,
                   range->serializable ? " serializable" : "");
        if (range->revision != 0) buf_printf(out, " at %lld", (long long)range->revision);
    } else if (operation == NODE_COMPACT) {
        buf_printf(out, " %lld", (long long)((const Etcdserverpb__CompactionRequest *)message)->revision);
    } else if (operation == NODE_LEASE_GRANT || operation == NODE_LEASE_REVOKE ||
               operation == NODE_LEASE_KEEP_ALIVE || operation == NODE_LEASE_TIME_TO_LIVE) {
        /* The id is the first field of all of them but the grant. */
        int64_t id = operation == NODE_LEASE_GRANT ? ((const Etcdserverpb__LeaseGrantRequest *)message)->id
                                                   : ((const Etcdserverpb__LeaseRevokeRequest *)message)->id;
        buf_printf(out, " %llx", (unsigned long long)id);
    }
}

static size_t number_of(const struct actor *actor)
{
    return (size_t)(actor - actor->workload->actors);
}

void actor_submit(struct actor *actor, size_t member, enum node_operation operation,
                  const ProtobufCMessage *message, bool writes)
{
    struct workload *workload = actor->workload;
    assert(!actor->busy);
    actor->busy = true;
    actor->writes = writes;
    actor->begun_at = sim_cluster_now(workload->cluster);
    actor->wake_at = INT64_MAX;
    buf_clear(&actor->raw);
    message_pack(&actor->raw, message);
    actor->request =
        (struct node_request){.operation = operation, .message = message, .raw = buf_bytes(&actor->raw)};
    if (workload->world->plan->tells) {
        buf_clear(&workload->text);
        describe(&workload->text, operation, message);
        world_tell(workload->world, "client %zu asks m%zu: %s", number_of(actor), member,
                   buf_string(&workload->text));
    }
    sim_checker_begin(workload->checker, &actor->operation);
    sim_cluster_submit(workload->cluster, member, &actor->request);
    actor->operation.id = writes ? actor->request.node.id : 0;
}

static void relies_on_lease(struct actor *actor)
{
    int64_t trusted = actor->ttl * SECOND / 100 * LEASE_TRUST_PERCENT;
    sim_checker_lease_alive(actor->workload->checker, actor->lease, actor->begun_at + trusted);
}

static void take_keep_alive(struct actor *actor, const Etcdserverpb__LeaseKeepAliveResponse *response)
{
    struct workload *workload = actor->workload;
    workload->counts.keep_alives++;
    if (response->ttl > 0) {
        actor->ttl = response->ttl;
        relies_on_lease(actor);
        return;
    }
    if (sim_model_has_lease(sim_checker_model(workload->checker), actor->lease))
        sim_checker_fail(workload->checker, "a keep-alive was told that its lease is gone; it is there");
    actor->lease = 0;
}

/* ---- answers ---- */

/* What means that a proposal has not been made and never will be. */
static bool is_refusal(const struct node_request *request)
{
    return request->error_text != NULL || request->error == API_ERROR_TOO_MANY_REQUESTS ||
           request->error == API_ERROR_DEADLINE_EXCEEDED;
}

static bool is_result(enum api_error error)
{
    return error == API_OK || error == API_ERROR_LEASE_NOT_FOUND || error == API_ERROR_LEASE_EXIST ||
           error == API_ERROR_KEY_NOT_FOUND || error == API_ERROR_COMPACTED ||
           error == API_ERROR_FUTURE_REVISION;
}

static const ProtobufCMessageDescriptor *answer_to(enum node_operation operation)
{
    static const ProtobufCMessageDescriptor *const descriptors[NODE_OPERATION_COUNT] = {
        [NODE_RANGE] = &etcdserverpb__range_response__descriptor,
        [NODE_PUT] = &etcdserverpb__put_response__descriptor,
        [NODE_DELETE_RANGE] = &etcdserverpb__delete_range_response__descriptor,
        [NODE_TXN] = &etcdserverpb__txn_response__descriptor,
        [NODE_COMPACT] = &etcdserverpb__compaction_response__descriptor,
        [NODE_LEASE_GRANT] = &etcdserverpb__lease_grant_response__descriptor,
        [NODE_LEASE_REVOKE] = &etcdserverpb__lease_revoke_response__descriptor,
        [NODE_LEASE_KEEP_ALIVE] = &etcdserverpb__lease_keep_alive_response__descriptor,
        [NODE_LEASE_TIME_TO_LIVE] = &etcdserverpb__lease_time_to_live_response__descriptor,
        [NODE_HASH_KV] = &etcdserverpb__hash_kvresponse__descriptor,
        [NODE_MOVE_LEADER] = &etcdserverpb__move_leader_response__descriptor,
        [NODE_MEMBER_ADD] = &etcdserverpb__member_add_response__descriptor,
        [NODE_MEMBER_REMOVE] = &etcdserverpb__member_remove_response__descriptor,
        [NODE_MEMBER_PROMOTE] = &etcdserverpb__member_promote_response__descriptor,
    };
    return descriptors[operation];
}

/* The revision of an answer to a write: the header is its first field in all of them. */
static int64_t revision_of(struct actor *actor, const void *response)
{
    if (response == NULL) return 0;
    int64_t revision = ((const Etcdserverpb__PutResponse *)response)->header->revision;
    if (actor->request.operation != NODE_COMPACT) return revision;
    /* A physical compaction is answered later than it is applied. */
    const struct sim_model *model = sim_checker_model(actor->workload->checker);
    uint64_t index = sim_model_find(model, actor->operation.id);
    return index == 0 ? revision : sim_model_entry(model, index)->revision;
}

/* Into the workload's text. */
static struct bytes answer_text(struct actor *actor, const void *response)
{
    struct buf *text = &actor->workload->text;
    buf_clear(text);
    if (response != NULL && actor->request.operation == NODE_PUT)
        sim_answer_of_put(text, response);
    else if (response != NULL && actor->request.operation == NODE_DELETE_RANGE)
        sim_answer_of_delete(text, response);
    else if (response != NULL && actor->request.operation == NODE_TXN)
        sim_answer_of_txn(text, actor->request.message, response);
    return buf_bytes(text);
}

static void take_write(struct actor *actor, const void *response)
{
    struct workload *workload = actor->workload;
    const struct node_request *request = &actor->request;
    bool is_grant = request->operation == NODE_LEASE_GRANT;
    if (is_refusal(request)) {
        workload->counts.refused++;
        sim_checker_refused(workload->checker, &actor->operation);
        if (is_grant) actor->lease = 0;
        return;
    }
    if (!is_result(request->error)) {
        workload->counts.unknown++;
        if (is_grant) actor->lease = 0;
        return;
    }
    workload->counts.acknowledged++;
    sim_checker_written(workload->checker, &actor->operation, request->error, revision_of(actor, response),
                        answer_text(actor, response));
    if (is_grant && response != NULL) relies_on_lease(actor);
}

static void take_read(struct actor *actor, const void *response)
{
    struct workload *workload = actor->workload;
    const struct node_request *request = &actor->request;
    workload->counts.reads++;
    switch (request->operation) {
    case NODE_RANGE:
        if (response != NULL)
            sim_checker_range(workload->checker, &actor->operation, request->message, response);
        else if (request->error == API_ERROR_COMPACTED || request->error == API_ERROR_FUTURE_REVISION)
            sim_checker_range_refused(workload->checker, &actor->operation, request->message, request->error);
        break;
    case NODE_HASH_KV:
        if (response != NULL) sim_checker_hash(workload->checker, response);
        break;
    case NODE_LEASE_KEEP_ALIVE:
        if (response != NULL) take_keep_alive(actor, response);
        break;
    case NODE_LEASE_TIME_TO_LIVE:
        if (response != NULL) sim_checker_lease_time(workload->checker, response);
        break;
    default: /* moving the leader, and changing the members, shows by itself */
        break;
    }
}

/* Another answer than a response. */
static const char *error_of(const struct node_request *request)
{
    if (request->error_text != NULL) return request->error_text;
    return request->error == API_OK ? "done" : api_error_text(request->error);
}

static void tell_answer(struct actor *actor, size_t member, const void *response)
{
    struct workload *workload = actor->workload;
    if (!workload->world->plan->tells) return;
    answer_text(actor, response);
    if (response != NULL && actor->request.operation == NODE_RANGE) {
        const Etcdserverpb__RangeRequest *range = actor->request.message;
        sim_answer_of_range(&workload->text, response, range->keys_only);
    }
    const Etcdserverpb__ResponseHeader *header =
        response == NULL ? NULL : ((const Etcdserverpb__PutResponse *)response)->header;
    long long revision = header == NULL ? 0 : header->revision;
    world_tell(workload->world, "client %zu is told by m%zu: %s, revision %lld  %s", number_of(actor), member,
               error_of(&actor->request), revision, buf_string(&workload->text));
}

/* A large answer comes in several pieces. */
static void take_bytes(struct workload *workload, struct node_request *request)
{
    buf_clear(&workload->bytes);
    buf_append_bytes(&workload->bytes, blob_bytes(request->response));
    for (size_t i = 0; i < request->response_rest.count; i++)
        buf_append_bytes(&workload->bytes, blob_bytes(request->response_rest.items[i]));
    blob_unref(request->response);
    request->response = NULL;
    blob_list_deinit(&request->response_rest);
}

void workload_reply(struct workload *workload, size_t member, struct node_request *request)
{
    struct actor *actor = (struct actor *)(void *)((char *)request - offsetof(struct actor, request));
    const void *response = NULL;
    assert(actor->busy && actor->workload == workload);
    actor->busy = false;
    sim_checker_observe(workload->checker, member);
    arena_reset(workload->arena);
    take_bytes(workload, request);
    if (request->error == API_OK && request->error_text == NULL) {
        response =
            message_unpack(answer_to(request->operation), buf_bytes(&workload->bytes), workload->arena, NULL);
        if (response == NULL) sim_checker_fail(workload->checker, "an answer cannot be decoded");
    }
    tell_answer(actor, member, response);
    if (actor->writes)
        take_write(actor, response);
    else
        take_read(actor, response);
    bool is_asked_for = number_of(actor) >= CLIENTS + HOLDERS;
    int64_t pause = some_time(&actor->rng, workload->think_time);
    if (actor->dozes) pause = actor->ttl * SECOND / 100 * (90 + (int64_t)rng_below(&actor->rng, 40));
    actor->dozes = false;
    actor->wake_at = is_asked_for ? INT64_MAX : sim_cluster_now(workload->cluster) + pause;
}

/* ---- running ---- */

static bool wants(const struct workload *workload, size_t actor)
{
    return !workload->actors[actor].busy && !workload->quiet;
}

int64_t workload_next(const struct workload *workload)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < CLIENTS + HOLDERS; i++)
        if (wants(workload, i) && workload->actors[i].wake_at < next) next = workload->actors[i].wake_at;
    for (size_t i = 0; i < FOLLOWERS; i++)
        if (workload->followers[i].wake_at < next) next = workload->followers[i].wake_at;
    return next;
}

static void act(struct workload *workload, size_t number)
{
    struct actor *actor = &workload->actors[number];
    bool made =
        plan_begin(workload->world->plan, LINE_ACTORS + (uint32_t)number, actor->number++, &actor->rng);
    size_t member = workload_choose_member(workload, &actor->rng);
    actor->values = 0;
    arena_reset(actor->arena);
    if (!made || member == sim_cluster_members(workload->cluster))
        actor->wake_at =
            sim_cluster_now(workload->cluster) + some_time(&actor->rng, made ? SECOND : workload->think_time);
    else if (number < CLIENTS)
        actor_ask(actor, member);
    else
        actor_hold(actor, member);
}

void workload_run(struct workload *workload)
{
    int64_t now = sim_cluster_now(workload->cluster);
    for (size_t i = 0; i < CLIENTS + HOLDERS; i++)
        if (wants(workload, i) && workload->actors[i].wake_at <= now) act(workload, i);
    followers_run(workload);
}

void workload_quiet(struct workload *workload)
{
    world_tell(workload->world, "the clients are silent");
    workload->quiet = true;
}

size_t workload_under_way(const struct workload *workload)
{
    size_t count = 0;
    for (size_t i = 0; i <= OPERATOR; i++) count += workload->actors[i].busy;
    return count;
}

/* ---- on demand ---- */

void workload_ask_all(struct workload *workload)
{
    size_t members = sim_cluster_members(workload->cluster);
    for (size_t i = 0; i < members; i++) {
        if (operator_is_without(workload->world, i)) continue;
        struct actor *hash = &workload->actors[CLIENTS + HOLDERS + 2 * i], *range = hash + 1;
        arena_reset(hash->arena);
        arena_reset(range->arena);
        Etcdserverpb__HashKVRequest *hash_request =
            (void *)message_new(&etcdserverpb__hash_kvrequest__descriptor, hash->arena);
        Etcdserverpb__RangeRequest *range_request =
            (void *)message_new(&etcdserverpb__range_request__descriptor, range->arena);
        range_request->key = message_binary(bytes_of("", 1));
        range_request->range_end = message_binary(bytes_of("", 1));
        actor_submit(hash, i, NODE_HASH_KV, &hash_request->base, false);
        actor_submit(range, i, NODE_RANGE, &range_request->base, false);
    }
}

bool workload_compact(struct workload *workload, size_t member)
{
    struct actor *actor = &workload->actors[COMPACTOR];
    if (actor->busy) return false;
    arena_reset(actor->arena);
    const struct sim_model *model = sim_checker_model(workload->checker);
    int64_t deletion = workload_last_deletion(model);
    bool at_deletion = deletion > sim_model_compact_revision(model) && deletion % 2 == 0;
    actor_compact(actor, member, at_deletion ? deletion : sim_model_revision(model), true);
    return true;
}

bool workload_delete_and_compact(struct workload *workload, size_t member)
{
    struct actor *deleter = &workload->actors[DELETER], *compactor = &workload->actors[COMPACTOR];
    if (deleter->busy || compactor->busy) return false;
    arena_reset(deleter->arena);
    arena_reset(compactor->arena);
    Etcdserverpb__DeleteRangeRequest *request =
        (void *)message_new(&etcdserverpb__delete_range_request__descriptor, deleter->arena);
    request->key = message_binary(BYTES_LITERAL("k"));
    request->range_end = message_binary(BYTES_LITERAL("l"));
    actor_submit(deleter, member, NODE_DELETE_RANGE, &request->base, true);
    actor_compact(compactor, member, sim_model_revision(sim_checker_model(workload->checker)) + 1, true);
    return true;
}

void workload_move_leader(struct workload *workload, uint64_t chosen)
{
    struct actor *actor = &workload->actors[MOVER];
    size_t members = sim_cluster_members(workload->cluster), to = (size_t)(chosen % members);
    if (actor->busy) return;
    for (size_t i = 0; i < members; i++) {
        if (!sim_cluster_is_up(workload->cluster, i)) continue;
        struct sim_member *member = sim_cluster_member(workload->cluster, i);
        if (raft_status(node_raft(sim_member_node(member))).soft_state.role != RAFT_LEADER) continue;
        arena_reset(actor->arena);
        Etcdserverpb__MoveLeaderRequest *request =
            (void *)message_new(&etcdserverpb__move_leader_request__descriptor, actor->arena);
        request->targetid = sim_member_id(sim_cluster_member(workload->cluster, to));
        actor_submit(actor, i, NODE_MOVE_LEADER, &request->base, false);
        return;
    }
}

/* ---- members ---- */

/* NULL: a change is under way. */
static struct actor *begin_change(struct workload *workload, size_t member)
{
    struct actor *actor = &workload->actors[OPERATOR];
    if (actor->busy) return NULL;
    arena_reset(actor->arena);
    workload->changer = member;
    return actor;
}

void workload_add_member(struct workload *workload, size_t member, const char *url, bool as_learner)
{
    struct actor *actor = begin_change(workload, member);
    if (actor == NULL) return;
    Etcdserverpb__MemberAddRequest *request =
        (void *)message_new(&etcdserverpb__member_add_request__descriptor, actor->arena);
    request->peerurls = arena_alloc(actor->arena, sizeof(char *));
    request->peerurls[0] = arena_string(actor->arena, bytes_from_string(url));
    request->n_peerurls = 1;
    request->islearner = as_learner;
    actor_submit(actor, member, NODE_MEMBER_ADD, &request->base, false);
}

void workload_promote_member(struct workload *workload, size_t member, uint64_t id)
{
    struct actor *actor = begin_change(workload, member);
    if (actor == NULL) return;
    Etcdserverpb__MemberPromoteRequest *request =
        (void *)message_new(&etcdserverpb__member_promote_request__descriptor, actor->arena);
    request->id = id;
    actor_submit(actor, member, NODE_MEMBER_PROMOTE, &request->base, false);
}

void workload_remove_member(struct workload *workload, size_t member, uint64_t id)
{
    struct actor *actor = begin_change(workload, member);
    if (actor == NULL) return;
    Etcdserverpb__MemberRemoveRequest *request =
        (void *)message_new(&etcdserverpb__member_remove_request__descriptor, actor->arena);
    request->id = id;
    actor_submit(actor, member, NODE_MEMBER_REMOVE, &request->base, false);
}

void workload_cancel_change(struct workload *workload)
{
    struct actor *actor = &workload->actors[OPERATOR];
    int64_t now = sim_cluster_now(workload->cluster);
    if (!actor->busy || now < actor->begun_at + CHANGE_PATIENCE) return;
    if (sim_cluster_is_paused(workload->cluster, workload->changer)) return;
    struct sim_member *member = sim_cluster_member(workload->cluster, workload->changer);
    actor->begun_at = now; /* it comes back soon */
    node_cancel(sim_member_node(member), &actor->request);
    sim_member_wake(member);
}
