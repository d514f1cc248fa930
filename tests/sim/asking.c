/* What clients and holders of leases ask. */
#include "workload_internal.h"

#include <stdio.h>

static void *fresh(struct actor *actor, const ProtobufCMessageDescriptor *descriptor)
{
    return message_new(descriptor, actor->arena);
}

static const struct sim_model *model_of(const struct actor *actor)
{
    return sim_checker_model(actor->workload->checker);
}

static bool chance(struct actor *actor, uint64_t numerator, uint64_t denominator)
{
    return rng_chance(&actor->rng, numerator, denominator);
}

static ProtobufCBinaryData key_number(struct actor *actor, unsigned number)
{
    return message_binary(bytes_from_string(arena_printf(actor->arena, "k%02u", number)));
}

static unsigned some_number(struct actor *actor)
{
    return (unsigned)rng_below(&actor->rng, KEYS);
}

/* Never written twice, and tells who wrote it. */
static ProtobufCBinaryData unique_value(struct actor *actor)
{
    /* Sometimes a large one, so that messages, log segments and pages fill up. */
    int width = chance(actor, 1, 50) ? 3000 : 1;
    return message_binary(bytes_from_string(arena_printf(actor->arena, "%u.%u.%0*u",
                                                         (unsigned)(actor - actor->workload->actors),
                                                         actor->number, width, ++actor->values)));
}

/* ---- single operations ---- */

static Etcdserverpb__PutRequest *some_put(struct actor *actor, unsigned key, int64_t lease)
{
    Etcdserverpb__PutRequest *put = fresh(actor, &etcdserverpb__put_request__descriptor);
    put->key = key_number(actor, key);
    put->prev_kv = chance(actor, 1, 4);
    if (chance(actor, 1, 30)) {
        put->ignore_value = true;
        put->lease = lease;
        return put;
    }
    put->value = unique_value(actor);
    if (lease == 0 && chance(actor, 1, 30))
        put->ignore_lease = true;
    else
        put->lease = lease;
    return put;
}

static Etcdserverpb__DeleteRangeRequest *some_delete(struct actor *actor, unsigned first, unsigned end)
{
    Etcdserverpb__DeleteRangeRequest *delete = fresh(actor, &etcdserverpb__delete_range_request__descriptor);
    delete->key = key_number(actor, first);
    if (end > first) delete->range_end = key_number(actor, end);
    delete->prev_kv = chance(actor, 1, 3);
    return delete;
}

/* Now and then a revision that is gone or not there yet. */
static int64_t some_revision(struct actor *actor)
{
    const struct sim_model *model = model_of(actor);
    int64_t now = sim_model_revision(model), compacted = sim_model_compact_revision(model);
    switch (rng_below(&actor->rng, 10)) {
    case 0:
        return now + 1 + (int64_t)rng_below(&actor->rng, 3);
    case 1:
        return compacted > 2 ? compacted - 1 : now;
    case 2:
        return compacted > 0 ? compacted : now;
    default: {
        int64_t back = (int64_t)rng_below(&actor->rng, 50);
        return now > back ? now - back : now;
    }
    }
}

static Etcdserverpb__RangeRequest *some_range(struct actor *actor)
{
    Etcdserverpb__RangeRequest *range = fresh(actor, &etcdserverpb__range_request__descriptor);
    range->key = key_number(actor, some_number(actor));
    if (chance(actor, 1, 2)) {
        range->key = message_binary(BYTES_LITERAL("k"));
        range->range_end = message_binary(BYTES_LITERAL("l"));
    }
    range->serializable = chance(actor, 1, 4);
    if (chance(actor, 1, 4)) range->revision = some_revision(actor);
    if (chance(actor, 1, 4)) range->limit = 1 + (int64_t)rng_below(&actor->rng, 5);
    range->keys_only = chance(actor, 1, 10);
    range->count_only = !range->keys_only && chance(actor, 1, 10);
    return range;
}

static void ask_put(struct actor *actor, size_t member)
{
    actor_submit(actor, member, NODE_PUT, &some_put(actor, some_number(actor), 0)->base, true);
}

static void ask_delete(struct actor *actor, size_t member)
{
    unsigned first = some_number(actor), end = first;
    if (chance(actor, 1, 4)) end += (unsigned)rng_below(&actor->rng, 5);
    actor_submit(actor, member, NODE_DELETE_RANGE, &some_delete(actor, first, end)->base, true);
}

static void ask_range(struct actor *actor, size_t member)
{
    actor_submit(actor, member, NODE_RANGE, &some_range(actor)->base, false);
}

/* ---- transactions ---- */

/* What a transaction changes: each key only once, or etcd refuses it. */
struct builder {
    struct actor *actor;
    unsigned used; /* bits of keys */
};

/* A key that is not used yet; KEYS: none was found. */
static unsigned take_key(struct builder *builder)
{
    unsigned key = some_number(builder->actor);
    if ((builder->used >> key & 1) != 0) return KEYS;
    builder->used |= 1U << key;
    return key;
}

/* Often as the key is just now, so that it holds. */
static Etcdserverpb__Compare *some_compare(struct actor *actor)
{
    static const int targets[] = {
        ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,     ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
        ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,     ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
        ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
        ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
    };
    const struct sim_model *model = model_of(actor);
    Etcdserverpb__Compare *compare = fresh(actor, &etcdserverpb__compare__descriptor);
    compare->key = key_number(actor, some_number(actor));
    const struct sim_change *now = sim_model_find_key(model, message_bytes(compare->key));
    if (chance(actor, 1, 6)) compare->range_end = message_binary(BYTES_LITERAL("l"));
    compare->result = chance(actor, 2, 3) ? ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
                                          : (Etcdserverpb__Compare__CompareResult)rng_below(&actor->rng, 4);
    int target = targets[rng_below(&actor->rng, sizeof(targets) / sizeof(targets[0]))];
    compare->target = (Etcdserverpb__Compare__CompareTarget)target;
    switch (target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = now == NULL ? 0 : now->revision;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = now == NULL ? 0 : now->create_revision;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = now == NULL ? 0 : now->version;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = now == NULL ? 0 : now->lease;
        break;
    default:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value =
            message_binary(now == NULL ? BYTES_LITERAL("none") : arena_copy(actor->arena, now->value));
    }
    return compare;
}

static Etcdserverpb__TxnRequest *some_txn(struct builder *builder, unsigned depth);

static Etcdserverpb__RequestOp *some_operation(struct builder *builder, unsigned depth)
{
    struct actor *actor = builder->actor;
    Etcdserverpb__RequestOp *operation = fresh(actor, &etcdserverpb__request_op__descriptor);
    unsigned key = take_key(builder);
    uint64_t kind = rng_below(&actor->rng, 10);
    if (kind < 5 && key < KEYS) {
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        operation->request_put = some_put(actor, key, 0);
    } else if (kind < 7 && key < KEYS) {
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        operation->request_delete_range = some_delete(actor, key, key);
    } else if (kind == 9 && depth < 2) {
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        operation->request_txn = some_txn(builder, depth + 1);
    } else {
        operation->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        operation->request_range = some_range(actor);
    }
    return operation;
}

static Etcdserverpb__TxnRequest *some_txn(struct builder *builder, unsigned depth)
{
    enum { OPERATIONS_MAX = 3, COMPARES_MAX = 2 };
    struct actor *actor = builder->actor;
    Etcdserverpb__TxnRequest *txn = fresh(actor, &etcdserverpb__txn_request__descriptor);
    txn->compare = arena_alloc(actor->arena, COMPARES_MAX * sizeof(*txn->compare));
    txn->success = arena_alloc(actor->arena, OPERATIONS_MAX * sizeof(*txn->success));
    txn->failure = arena_alloc(actor->arena, OPERATIONS_MAX * sizeof(*txn->failure));
    size_t compares = (size_t)rng_below(&actor->rng, COMPARES_MAX + 1);
    size_t successes = 1 + (size_t)rng_below(&actor->rng, OPERATIONS_MAX);
    size_t failures = (size_t)rng_below(&actor->rng, OPERATIONS_MAX + 1);
    for (; txn->n_compare < compares; txn->n_compare++) txn->compare[txn->n_compare] = some_compare(actor);
    for (; txn->n_success < successes; txn->n_success++)
        txn->success[txn->n_success] = some_operation(builder, depth);
    for (; txn->n_failure < failures; txn->n_failure++)
        txn->failure[txn->n_failure] = some_operation(builder, depth);
    return txn;
}

static void ask_txn(struct actor *actor, size_t member)
{
    struct builder builder = {.actor = actor};
    Etcdserverpb__TxnRequest *txn = some_txn(&builder, 0);
    bool writes = false;
    for (size_t i = 0; i < txn->n_success; i++)
        writes = writes || txn->success[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    for (size_t i = 0; i < txn->n_failure; i++)
        writes = writes || txn->failure[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    /* One that only reads is not in the log; ranges do that. */
    if (writes)
        actor_submit(actor, member, NODE_TXN, &txn->base, true);
    else
        ask_put(actor, member);
}

/* ---- the rest ---- */

void actor_compact(struct actor *actor, size_t member, int64_t revision, bool physical)
{
    Etcdserverpb__CompactionRequest *compaction = fresh(actor, &etcdserverpb__compaction_request__descriptor);
    compaction->revision = revision;
    compaction->physical = physical;
    actor_submit(actor, member, NODE_COMPACT, &compaction->base, true);
}

/* Where something was deleted last; 0: nothing was. */
int64_t workload_last_deletion(const struct sim_model *model)
{
    for (size_t i = sim_model_change_count(model); i > 0; i--)
        if (sim_model_change(model, i - 1)->deleted) return sim_model_change(model, i - 1)->revision;
    return 0;
}

static void ask_compaction(struct actor *actor, size_t member)
{
    const struct sim_model *model = model_of(actor);
    int64_t back = (int64_t)rng_below(&actor->rng, 60), now = sim_model_revision(model);
    int64_t revision = now > back ? now - back : 1;
    /* Often just where somebody is to resume, or where something was deleted. */
    const struct follower *follower = &actor->workload->followers[rng_below(&actor->rng, FOLLOWERS)];
    int64_t moments[] = {revision, follower->watchers[0].next, workload_last_deletion(model)};
    int64_t chosen = moments[rng_below(&actor->rng, sizeof(moments) / sizeof(moments[0]))];
    if (chosen > 1 && chosen <= now) revision = chosen;
    actor_compact(actor, member, revision, chance(actor, 1, 3));
}

static void ask_hash(struct actor *actor, size_t member)
{
    const struct sim_model *model = model_of(actor);
    Etcdserverpb__HashKVRequest *hash = fresh(actor, &etcdserverpb__hash_kvrequest__descriptor);
    int64_t back = (int64_t)rng_below(&actor->rng, 20);
    if (sim_model_revision(model) > back) hash->revision = sim_model_revision(model) - back;
    actor_submit(actor, member, NODE_HASH_KV, &hash->base, false);
}

void actor_ask(struct actor *actor, size_t member)
{
    static const struct {
        unsigned weight;
        void (*ask)(struct actor *actor, size_t member);
    } choices[] = {
        {36, ask_put}, {10, ask_delete}, {16, ask_txn}, {30, ask_range}, {3, ask_compaction}, {5, ask_hash},
    };
    unsigned sum = 0, i = 0;
    for (size_t k = 0; k < sizeof(choices) / sizeof(choices[0]); k++) sum += choices[k].weight;
    uint64_t chosen = rng_below(&actor->rng, sum);
    for (; chosen >= choices[i].weight; i++) chosen -= choices[i].weight;
    choices[i].ask(actor, member);
}

/* ---- leases ---- */

static void ask_grant(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseGrantRequest *grant = fresh(actor, &etcdserverpb__lease_grant_request__descriptor);
    actor->lease = 1 + (int64_t)(rng_next(&actor->rng) >> 2);
    actor->ttl = 2 + (int64_t)rng_below(&actor->rng, 3);
    actor->renewals = (unsigned)rng_below(&actor->rng, 20);
    grant->id = actor->lease;
    grant->ttl = actor->ttl;
    actor_submit(actor, member, NODE_LEASE_GRANT, &grant->base, true);
}

static void ask_revoke(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseRevokeRequest *revoke = fresh(actor, &etcdserverpb__lease_revoke_request__descriptor);
    sim_checker_lease_given_up(actor->workload->checker, actor->lease);
    revoke->id = actor->lease;
    actor->lease = 0;
    actor_submit(actor, member, NODE_LEASE_REVOKE, &revoke->base, true);
}

static void ask_keep_alive(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseKeepAliveRequest *renewal =
        fresh(actor, &etcdserverpb__lease_keep_alive_request__descriptor);
    renewal->id = actor->lease;
    actor_submit(actor, member, NODE_LEASE_KEEP_ALIVE, &renewal->base, false);
}

static void ask_time_to_live(struct actor *actor, size_t member)
{
    Etcdserverpb__LeaseTimeToLiveRequest *request =
        fresh(actor, &etcdserverpb__lease_time_to_live_request__descriptor);
    request->id = actor->lease;
    request->keys = true;
    actor_submit(actor, member, NODE_LEASE_TIME_TO_LIVE, &request->base, false);
}

void actor_hold(struct actor *actor, size_t member)
{
    if (actor->lease == 0) {
        ask_grant(actor, member);
    } else if (actor->renewals == 0) {
        if (chance(actor, 1, 2)) {
            ask_revoke(actor, member);
            return;
        }
        actor->lease = 0; /* abandoned */
        ask_grant(actor, member);
    } else if (chance(actor, 1, 4)) {
        actor_submit(actor, member, NODE_PUT, &some_put(actor, some_number(actor), actor->lease)->base, true);
    } else if (chance(actor, 1, 8)) {
        ask_time_to_live(actor, member);
    } else {
        actor->renewals--;
        actor->dozes = chance(actor, 1, 6);
        ask_keep_alive(actor, member);
    }
}
