#include "workload.h"

#include "api/message.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)

enum {
    CLIENTS = 10,
    HOLDERS = 3,
    WATCHERS = 5,
    KEYS = 12,
    ANSWERING = SIM_CLUSTER_MEMBERS_MAX * 2, /* calls of workload_ask_all */
    ACTORS = CLIENTS + HOLDERS + ANSWERING,
    /* How much later a client's lease may end by its own clock than by a member's: clocks drift by 3 % each.
     */
    LEASE_TRUST_PERCENT = 85,
};

enum write_kind { NO_WRITE, WRITE };

/* Whoever has one request under way at a time. */
struct actor {
    struct workload *workload;
    struct node_request request;
    struct arena *arena;
    struct buf raw;
    bool busy;
    enum write_kind kind;
    struct sim_operation operation;
    int64_t begun_at, wake_at;
    /* Holders. */
    int64_t lease, ttl;
    unsigned renewals;
};

struct follower {
    struct sim_watcher watcher;
    char key[8];
    size_t member;
    struct watch_stream *stream; /* NULL: none */
    size_t undelivered;
    int64_t wake_at;
};

struct workload {
    struct rng rng;
    struct sim_cluster *cluster;
    struct sim_checker *checker;
    struct actor actors[ACTORS];
    struct follower followers[WATCHERS];
    struct arena *arena; /* for answers */
    struct workload_counts counts;
    uint64_t values;
    bool quiet;
};

static int64_t some_time(struct workload *workload, int64_t most)
{
    return 1 + (int64_t)rng_below(&workload->rng, (uint64_t)most);
}

struct workload *workload_new(uint64_t seed, struct sim_cluster *cluster, struct sim_checker *checker)
{
    struct workload *workload = mem_zalloc(1, sizeof(*workload));
    rng_init(&workload->rng, seed);
    workload->cluster = cluster;
    workload->checker = checker;
    workload->arena = arena_new();
    for (size_t i = 0; i < ACTORS; i++) {
        workload->actors[i].workload = workload;
        workload->actors[i].arena = arena_new();
        workload->actors[i].wake_at = i < CLIENTS + HOLDERS ? some_time(workload, SECOND) : INT64_MAX;
    }
    for (size_t i = 0; i < WATCHERS; i++) {
        struct follower *follower = &workload->followers[i];
        follower->wake_at = some_time(workload, 2 * SECOND);
        snprintf(follower->key, sizeof(follower->key), "k%02u", (unsigned)rng_below(&workload->rng, KEYS));
        follower->watcher.key = i % 2 == 0 ? BYTES_LITERAL("k") : bytes_from_string(follower->key);
        follower->watcher.range_end = i % 2 == 0 ? BYTES_LITERAL("l") : BYTES_EMPTY;
        follower->watcher.next = rng_chance(&workload->rng, 1, 2) ? 1 : 0;
    }
    return workload;
}

void workload_free(struct workload *workload)
{
    for (size_t i = 0; i < ACTORS; i++) {
        assert(!workload->actors[i].busy);
        arena_free(workload->actors[i].arena);
        buf_deinit(&workload->actors[i].raw);
    }
    arena_free(workload->arena);
    free(workload);
}

struct workload_counts workload_counts(const struct workload *workload)
{
    return workload->counts;
}

/* ---- asking ---- */

/* Somebody who is up, at random; sim_cluster_members when there is none. */
static size_t choose_member(struct workload *workload)
{
    size_t members = sim_cluster_members(workload->cluster);
    size_t first = (size_t)rng_below(&workload->rng, members);
    for (size_t i = 0; i < members; i++)
        if (sim_cluster_is_up(workload->cluster, (first + i) % members)) return (first + i) % members;
    return members;
}

static void submit(struct actor *actor, size_t member, enum node_operation operation,
                   const ProtobufCMessage *message, enum write_kind kind)
{
    struct workload *workload = actor->workload;
    assert(!actor->busy);
    actor->busy = true;
    actor->kind = kind;
    actor->begun_at = sim_cluster_now(workload->cluster);
    actor->wake_at = INT64_MAX;
    buf_clear(&actor->raw);
    message_pack(&actor->raw, message);
    actor->request =
        (struct node_request){.operation = operation, .message = message, .raw = buf_bytes(&actor->raw)};
    sim_checker_begin(workload->checker, &actor->operation);
    sim_cluster_submit(workload->cluster, member, &actor->request);
    actor->operation.id = kind == WRITE ? actor->request.node.id : 0;
}

static ProtobufCBinaryData some_key(struct actor *actor)
{
    unsigned key = (unsigned)rng_below(&actor->workload->rng, KEYS);
    return message_binary(bytes_from_string(arena_printf(actor->arena, "k%02u", key)));
}

static void *fresh(struct actor *actor, const ProtobufCMessageDescriptor *descriptor)
{
    return message_new(descriptor, actor->arena);
}

static ProtobufCBinaryData unique_value(struct actor *actor)
{
    struct workload *workload = actor->workload;
    /* Sometimes a large one, so that messages, log segments and pages fill up. */
    int width = rng_chance(&workload->rng, 1, 50) ? 3000 : 8;
    return message_binary(bytes_from_string(
        arena_printf(actor->arena, "%0*llu", width, (unsigned long long)++workload->values)));
}

static Etcdserverpb__PutRequest *some_put(struct actor *actor, int64_t lease)
{
    Etcdserverpb__PutRequest *put = fresh(actor, &etcdserverpb__put_request__descriptor);
    put->key = some_key(actor);
    put->value = unique_value(actor);
    put->lease = lease;
    put->prev_kv = rng_chance(&actor->workload->rng, 1, 4);
    return put;
}

static void ask_put(struct actor *actor, size_t member)
{
    submit(actor, member, NODE_PUT, &some_put(actor, 0)->base, WRITE);
}

static Etcdserverpb__DeleteRangeRequest *some_delete(struct actor *actor)
{
    Etcdserverpb__DeleteRangeRequest *delete = fresh(actor, &etcdserverpb__delete_range_request__descriptor);
    delete->key = some_key(actor);
    if (rng_chance(&actor->workload->rng, 1, 4)) delete->range_end = some_key(actor);
    return delete;
}

/* [a, b) with a > b would be refused or empty: turn it round. */
static void put_in_order(ProtobufCBinaryData *key, ProtobufCBinaryData *range_end)
{
    if (range_end->len == 0 || bytes_compare(message_bytes(*key), message_bytes(*range_end)) < 0) return;
    ProtobufCBinaryData kept = *key;
    *key = *range_end;
    *range_end = kept;
    if (bytes_equal(message_bytes(*key), message_bytes(*range_end))) *range_end = (ProtobufCBinaryData){0};
}

static void ask_delete(struct actor *actor, size_t member)
{
    Etcdserverpb__DeleteRangeRequest *delete = some_delete(actor);
    put_in_order(&delete->key, &delete->range_end);
    submit(actor, member, NODE_DELETE_RANGE, &delete->base, WRITE);
}

static Etcdserverpb__RequestOp *operation_of(struct actor *actor, Etcdserverpb__PutRequest *put,
                                             Etcdserverpb__DeleteRangeRequest *delete)
{
    Etcdserverpb__RequestOp *operation = fresh(actor, &etcdserverpb__request_op__descriptor);
    if (put != NULL) {
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        operation->request_put = put;
    } else {
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        operation->request_delete_range = delete;
    }
    return operation;
}

/* If a key is as it was a moment ago: change it, and another one with it; otherwise delete something. */
static void ask_txn(struct actor *actor, size_t member)
{
    const struct sim_model *model = sim_checker_model(actor->workload->checker);
    Etcdserverpb__TxnRequest *txn = fresh(actor, &etcdserverpb__txn_request__descriptor);
    Etcdserverpb__Compare *compare = fresh(actor, &etcdserverpb__compare__descriptor);
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->key = some_key(actor);
    for (size_t i = 0; i < sim_model_key_count(model); i++) {
        const struct sim_change *now = sim_model_get(model, i, sim_model_revision(model));
        if (now != NULL && bytes_equal(sim_model_key(model, i), message_bytes(compare->key)))
            compare->mod_revision = now->revision;
    }
    Etcdserverpb__PutRequest *put = some_put(actor, 0), *second = some_put(actor, 0);
    put->key = compare->key;
    if (bytes_equal(message_bytes(second->key), message_bytes(put->key)))
        second->key = message_binary(BYTES_LITERAL("ktxn"));
    Etcdserverpb__DeleteRangeRequest *delete = some_delete(actor);
    put_in_order(&delete->key, &delete->range_end);
    txn->compare = arena_alloc(actor->arena, sizeof(*txn->compare));
    txn->success = arena_alloc(actor->arena, 2 * sizeof(*txn->success));
    txn->failure = arena_alloc(actor->arena, sizeof(*txn->failure));
    txn->compare[txn->n_compare++] = compare;
    txn->success[txn->n_success++] = operation_of(actor, put, NULL);
    txn->success[txn->n_success++] = operation_of(actor, second, NULL);
    txn->failure[txn->n_failure++] = operation_of(actor, NULL, delete);
    submit(actor, member, NODE_TXN, &txn->base, WRITE);
}

static void ask_range(struct actor *actor, size_t member)
{
    struct rng *rng = &actor->workload->rng;
    const struct sim_model *model = sim_checker_model(actor->workload->checker);
    Etcdserverpb__RangeRequest *range = fresh(actor, &etcdserverpb__range_request__descriptor);
    range->key = some_key(actor);
    if (rng_chance(rng, 1, 2)) {
        range->key = message_binary(BYTES_LITERAL("k"));
        range->range_end = message_binary(BYTES_LITERAL("l"));
    }
    range->serializable = rng_chance(rng, 1, 4);
    int64_t back = (int64_t)rng_below(rng, 50);
    if (rng_chance(rng, 1, 4) && sim_model_revision(model) > back)
        range->revision = sim_model_revision(model) - back;
    submit(actor, member, NODE_RANGE, &range->base, NO_WRITE);
}

static void ask_compaction(struct actor *actor, size_t member)
{
    const struct sim_model *model = sim_checker_model(actor->workload->checker);
    Etcdserverpb__CompactionRequest *compaction = fresh(actor, &etcdserverpb__compaction_request__descriptor);
    int64_t back = (int64_t)rng_below(&actor->workload->rng, 60);
    compaction->revision = sim_model_revision(model) > back ? sim_model_revision(model) - back : 1;
    /* Often just where somebody is to resume. */
    int64_t resumed = actor->workload->followers[rng_below(&actor->workload->rng, WATCHERS)].watcher.next;
    if (rng_chance(&actor->workload->rng, 1, 2) && resumed > 1 && resumed <= sim_model_revision(model))
        compaction->revision = resumed;
    compaction->physical = rng_chance(&actor->workload->rng, 1, 3);
    submit(actor, member, NODE_COMPACT, &compaction->base, WRITE);
}

static void ask_hash(struct actor *actor, size_t member)
{
    const struct sim_model *model = sim_checker_model(actor->workload->checker);
    Etcdserverpb__HashKVRequest *hash = fresh(actor, &etcdserverpb__hash_kvrequest__descriptor);
    int64_t back = (int64_t)rng_below(&actor->workload->rng, 20);
    if (sim_model_revision(model) > back) hash->revision = sim_model_revision(model) - back;
    submit(actor, member, NODE_HASH_KV, &hash->base, NO_WRITE);
}

static void ask_something(struct actor *actor, size_t member)
{
    static const struct {
        unsigned weight;
        void (*ask)(struct actor *actor, size_t member);
    } choices[] = {
        {40, ask_put}, {10, ask_delete}, {12, ask_txn}, {30, ask_range}, {3, ask_compaction}, {4, ask_hash},
    };
    unsigned sum = 0, i = 0;
    for (size_t k = 0; k < sizeof(choices) / sizeof(choices[0]); k++) sum += choices[k].weight;
    uint64_t chosen = rng_below(&actor->workload->rng, sum);
    for (; chosen >= choices[i].weight; i++) chosen -= choices[i].weight;
    choices[i].ask(actor, member);
}

/* ---- leases ---- */

static void ask_grant(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseGrantRequest *grant = fresh(actor, &etcdserverpb__lease_grant_request__descriptor);
    actor->lease = 1 + (int64_t)(rng_next(&actor->workload->rng) >> 2);
    actor->ttl = 2 + (int64_t)rng_below(&actor->workload->rng, 3);
    actor->renewals = (unsigned)rng_below(&actor->workload->rng, 20);
    grant->id = actor->lease;
    grant->ttl = actor->ttl;
    submit(actor, member, NODE_LEASE_GRANT, &grant->base, WRITE);
}

static void ask_revoke(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseRevokeRequest *revoke = fresh(actor, &etcdserverpb__lease_revoke_request__descriptor);
    sim_checker_lease_given_up(actor->workload->checker, actor->lease);
    revoke->id = actor->lease;
    actor->lease = 0;
    submit(actor, member, NODE_LEASE_REVOKE, &revoke->base, WRITE);
}

static void ask_keep_alive(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseKeepAliveRequest *renewal =
        fresh(actor, &etcdserverpb__lease_keep_alive_request__descriptor);
    renewal->id = actor->lease;
    submit(actor, member, NODE_LEASE_KEEP_ALIVE, &renewal->base, NO_WRITE);
}

static void hold(struct actor *actor, size_t member)
{
    struct rng *rng = &actor->workload->rng;
    if (actor->lease == 0) {
        ask_grant(actor, member);
    } else if (actor->renewals == 0) {
        if (rng_chance(rng, 1, 2)) {
            ask_revoke(actor, member);
            return;
        }
        actor->lease = 0; /* abandoned */
        ask_grant(actor, member);
    } else if (rng_chance(rng, 1, 4)) {
        submit(actor, member, NODE_PUT, &some_put(actor, actor->lease)->base, WRITE);
    } else {
        actor->renewals--;
        ask_keep_alive(actor, member);
    }
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
           error == API_ERROR_COMPACTED || error == API_ERROR_FUTURE_REVISION;
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
        [NODE_HASH_KV] = &etcdserverpb__hash_kvresponse__descriptor,
    };
    return descriptors[operation];
}

/* The revision of an answer to a write: the header is its first field in all of them. */
static int64_t revision_of(const struct node_request *request, const void *response)
{
    /* A physical compaction is answered later than it is applied. */
    if (request->operation == NODE_COMPACT) return 0;
    return ((const Etcdserverpb__PutResponse *)response)->header->revision;
}

static void take_write(struct actor *actor, const void *response)
{
    struct workload *workload = actor->workload;
    const struct node_request *request = &actor->request;
    if (is_refusal(request)) {
        workload->counts.refused++;
        sim_checker_refused(workload->checker, &actor->operation);
        if (request->operation == NODE_LEASE_GRANT) actor->lease = 0;
        return;
    }
    if (!is_result(request->error)) {
        workload->counts.unknown++;
        if (request->operation == NODE_LEASE_GRANT) actor->lease = 0;
        return;
    }
    workload->counts.acknowledged++;
    int64_t revision = response == NULL ? 0 : revision_of(request, response);
    const struct sim_model *model = sim_checker_model(workload->checker);
    uint64_t index = sim_model_find(model, actor->operation.id);
    if (request->operation == NODE_COMPACT && index != 0) revision = sim_model_entry(model, index)->revision;
    const struct sim_entry *entry =
        sim_checker_written(workload->checker, &actor->operation, request->error, revision);
    if (entry == NULL || response == NULL) return;
    if (request->operation == NODE_DELETE_RANGE &&
        ((const Etcdserverpb__DeleteRangeResponse *)response)->deleted != entry->deleted)
        sim_checker_fail(workload->checker, "a delete was told of another number of keys");
    if (request->operation == NODE_TXN &&
        ((const Etcdserverpb__TxnResponse *)response)->succeeded != entry->succeeded)
        sim_checker_fail(workload->checker, "a transaction was told that it went the other way");
    if (request->operation == NODE_LEASE_GRANT) relies_on_lease(actor);
}

static void take_read(struct actor *actor, const void *response)
{
    struct workload *workload = actor->workload;
    workload->counts.reads++;
    if (response == NULL) return;
    if (actor->request.operation == NODE_RANGE)
        sim_checker_range(workload->checker, &actor->operation, actor->request.message, response);
    else if (actor->request.operation == NODE_HASH_KV)
        sim_checker_hash(workload->checker, response);
    else
        take_keep_alive(actor, response);
}

void workload_reply(struct workload *workload, size_t member, struct node_request *request)
{
    struct actor *actor = (struct actor *)(void *)((char *)request - offsetof(struct actor, request));
    const void *response = NULL;
    assert(actor->busy && actor->workload == workload);
    actor->busy = false;
    sim_checker_observe(workload->checker, member);
    arena_reset(workload->arena);
    if (request->error == API_OK && request->error_text == NULL)
        response = message_unpack(answer_to(request->operation), blob_bytes(request->response),
                                  workload->arena, NULL);
    if (actor->kind == WRITE)
        take_write(actor, response);
    else
        take_read(actor, response);
    blob_unref(request->response);
    bool is_asked_for = actor - workload->actors >= CLIENTS + HOLDERS;
    actor->wake_at = is_asked_for
                         ? INT64_MAX
                         : sim_cluster_now(workload->cluster) + some_time(workload, 100 * MILLISECOND);
}

/* ---- watchers ---- */

static void send_watch_request(struct workload *workload, struct follower *follower,
                               const Etcdserverpb__WatchRequest *request)
{
    struct sim_member *member = sim_cluster_member(workload->cluster, follower->member);
    node_watch_request(sim_member_node(member), follower->stream, &(const struct node_identity){0}, request);
    sim_member_wake(member);
}

static void begin_following(struct workload *workload, struct follower *follower)
{
    follower->member = choose_member(workload);
    if (follower->member == sim_cluster_members(workload->cluster)) return;
    struct node *node = sim_member_node(sim_cluster_member(workload->cluster, follower->member));
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    follower->stream = node_watch_open(node, follower);
    follower->undelivered = 0;
    follower->watcher.created = follower->watcher.canceled = false;
    create.key = message_binary(follower->watcher.key);
    create.range_end = message_binary(follower->watcher.range_end);
    create.start_revision = follower->watcher.next;
    create.progress_notify = true;
    create.prev_kv = rng_chance(&workload->rng, 1, 2);
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    send_watch_request(workload, follower, &request);
}

static void ask_progress(struct workload *workload, struct follower *follower)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    send_watch_request(workload, follower, &request);
}

static void stop_following(struct workload *workload, struct follower *follower)
{
    node_watch_close(sim_member_node(sim_cluster_member(workload->cluster, follower->member)),
                     follower->stream);
    follower->stream = NULL;
}

static void follow(struct workload *workload, struct follower *follower)
{
    follower->wake_at = sim_cluster_now(workload->cluster) + some_time(workload, 800 * MILLISECOND);
    if (follower->stream == NULL) {
        begin_following(workload, follower);
        return;
    }
    struct node *node = sim_member_node(sim_cluster_member(workload->cluster, follower->member));
    node_watch_delivered(node, follower->stream, follower->undelivered);
    sim_member_wake(sim_cluster_member(workload->cluster, follower->member));
    follower->undelivered = 0;
    if (follower->watcher.canceled || (!workload->quiet && rng_chance(&workload->rng, 1, 20)))
        stop_following(workload, follower);
    else if (rng_chance(&workload->rng, 1, 3))
        ask_progress(workload, follower);
}

void workload_watch(struct workload *workload, size_t member, struct watch_message *message)
{
    struct follower *follower = message->owner;
    struct buf bytes = {0};
    assert(follower->stream != NULL && follower->member == member);
    sim_checker_observe(workload->checker, member);
    buf_append(&bytes, message->head, message->head_size);
    for (size_t i = 0; i < message->part_count; i++) buf_append_bytes(&bytes, blob_bytes(message->parts[i]));
    arena_reset(workload->arena);
    const void *response =
        message_unpack(&etcdserverpb__watch_response__descriptor, buf_bytes(&bytes), workload->arena, NULL);
    if (response == NULL)
        sim_checker_fail(workload->checker, "a watch response cannot be decoded");
    else
        sim_checker_watch(workload->checker, &follower->watcher, response);
    workload->counts.watch_responses++;
    follower->undelivered += message->size;
    buf_deinit(&bytes);
    watch_message_free(message);
}

void workload_event(struct workload *workload, const struct sim_event *event)
{
    if (event->kind != SIM_EVENT_CRASH && event->kind != SIM_EVENT_FAIL && event->kind != SIM_EVENT_STOP)
        return;
    for (size_t i = 0; i < WATCHERS; i++)
        if (workload->followers[i].member == event->member) workload->followers[i].stream = NULL;
}

void workload_check_watchers(struct workload *workload)
{
    for (size_t i = 0; i < WATCHERS; i++)
        sim_checker_watch_complete(workload->checker, &workload->followers[i].watcher);
}

/* ---- running ---- */

static bool wants(const struct workload *workload, size_t actor)
{
    return !workload->actors[actor].busy && !workload->quiet && actor < CLIENTS + HOLDERS;
}

int64_t workload_next(const struct workload *workload)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < ACTORS; i++)
        if (wants(workload, i) && workload->actors[i].wake_at < next) next = workload->actors[i].wake_at;
    for (size_t i = 0; i < WATCHERS; i++)
        if (workload->followers[i].wake_at < next) next = workload->followers[i].wake_at;
    return next;
}

static void act(struct workload *workload, size_t number)
{
    struct actor *actor = &workload->actors[number];
    size_t member = choose_member(workload);
    arena_reset(actor->arena);
    if (member == sim_cluster_members(workload->cluster))
        actor->wake_at = sim_cluster_now(workload->cluster) + some_time(workload, SECOND);
    else if (number < CLIENTS)
        ask_something(actor, member);
    else
        hold(actor, member);
}

void workload_run(struct workload *workload)
{
    int64_t now = sim_cluster_now(workload->cluster);
    for (size_t i = 0; i < ACTORS; i++)
        if (wants(workload, i) && workload->actors[i].wake_at <= now) act(workload, i);
    for (size_t i = 0; i < WATCHERS; i++)
        if (workload->followers[i].wake_at <= now) follow(workload, &workload->followers[i]);
}

void workload_quiet(struct workload *workload)
{
    workload->quiet = true;
}

size_t workload_under_way(const struct workload *workload)
{
    size_t count = 0;
    for (size_t i = 0; i < ACTORS; i++) count += workload->actors[i].busy;
    return count;
}

void workload_ask_all(struct workload *workload)
{
    size_t members = sim_cluster_members(workload->cluster);
    for (size_t i = 0; i < members; i++) {
        struct actor *hash = &workload->actors[CLIENTS + HOLDERS + 2 * i], *range = hash + 1;
        arena_reset(hash->arena);
        arena_reset(range->arena);
        Etcdserverpb__HashKVRequest *hash_request = fresh(hash, &etcdserverpb__hash_kvrequest__descriptor);
        Etcdserverpb__RangeRequest *range_request = fresh(range, &etcdserverpb__range_request__descriptor);
        range_request->key = message_binary(bytes_of("", 1));
        range_request->range_end = message_binary(bytes_of("", 1));
        submit(hash, i, NODE_HASH_KV, &hash_request->base, NO_WRITE);
        submit(range, i, NODE_RANGE, &range_request->base, NO_WRITE);
    }
}
