#include "mvcc/kv_check.h"

#include "base/arena.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

/* ---- single operations ---- */

enum api_error kv_check_range(const Etcdserverpb__RangeRequest *request)
{
    if (request->key.len == 0) return API_ERROR_EMPTY_KEY;
    int order = (int)request->sort_order, target = (int)request->sort_target;
    if (order < ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE ||
        order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND)
        return API_ERROR_INVALID_SORT_OPTION;
    if (target < ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY ||
        target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
        return API_ERROR_INVALID_SORT_OPTION;
    return API_OK;
}

enum api_error kv_check_put(const Etcdserverpb__PutRequest *request)
{
    if (request->key.len == 0) return API_ERROR_EMPTY_KEY;
    if (request->ignore_value && request->value.len != 0) return API_ERROR_VALUE_PROVIDED;
    if (request->ignore_lease && request->lease != 0) return API_ERROR_LEASE_PROVIDED;
    return API_OK;
}

enum api_error kv_check_delete_range(const Etcdserverpb__DeleteRangeRequest *request)
{
    return request->key.len == 0 ? API_ERROR_EMPTY_KEY : API_OK;
}

/* ---- sets of keys ----
 *
 * Intervals [begin, end), held as runs of sorted, disjoint intervals, each run
 * at least twice as long as the next, so that adding is cheap however many there are (a request of 1.5 MiB
 * can hold 100 000 operations): O(log n) amortised, looking up O(log² n).
 */
struct interval {
    struct bytes begin;
    struct bytes end;
};

struct run {
    struct interval *intervals;
    size_t count;
};

enum { RUNS_MAX = 66 };

struct key_set {
    struct run runs[RUNS_MAX];
    size_t count;
};

static void key_set_deinit(struct key_set *set)
{
    for (size_t i = 0; i < set->count; i++) free(set->runs[i].intervals);
    set->count = 0;
}

static struct run run_merge(struct run a, struct run b)
{
    struct run merged = {mem_alloc((a.count + b.count) * sizeof(struct interval)), 0};
    size_t i = 0, j = 0;
    while (i < a.count || j < b.count) {
        bool from_a =
            j == b.count || (i < a.count && bytes_compare(a.intervals[i].begin, b.intervals[j].begin) <= 0);
        struct interval next = from_a ? a.intervals[i++] : b.intervals[j++];
        struct interval *last = merged.count == 0 ? NULL : &merged.intervals[merged.count - 1];
        if (last == NULL || bytes_compare(last->end, next.begin) < 0)
            merged.intervals[merged.count++] = next;
        else if (bytes_compare(last->end, next.end) < 0)
            last->end = next.end;
    }
    free(a.intervals);
    free(b.intervals);
    return merged;
}

/* Takes the run. */
static void key_set_push(struct key_set *set, struct run run)
{
    while (set->count > 0 && set->runs[set->count - 1].count < 2 * run.count) {
        run = run_merge(set->runs[set->count - 1], run);
        set->count--;
    }
    assert(set->count < RUNS_MAX);
    set->runs[set->count++] = run;
}

static void key_set_add(struct key_set *set, struct bytes begin, struct bytes end)
{
    if (bytes_compare(begin, end) >= 0) return;
    struct run run = {mem_alloc(sizeof(struct interval)), 1};
    run.intervals[0] = (struct interval){begin, end};
    key_set_push(set, run);
}

/* Adds all of `other`, leaving it empty. */
static void key_set_take(struct key_set *set, struct key_set *other)
{
    for (size_t i = 0; i < other->count; i++) key_set_push(set, other->runs[i]);
    other->count = 0;
}

static bool run_has(const struct run *run, struct bytes key)
{
    size_t low = 0, high = run->count; /* intervals below `low` begin at or before key */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(run->intervals[middle].begin, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return false;
    return bytes_compare(key, run->intervals[low - 1].end) < 0;
}

static bool key_set_has(const struct key_set *set, struct bytes key)
{
    for (size_t i = 0; i < set->count; i++)
        if (run_has(&set->runs[i], key)) return true;
    return false;
}

/* ---- duplicate keys in a transaction ----
 *
 * etcd wants each key put at most once and not both put and deleted on any path, which it approximates in one
 * pass over each list; the approximation is part of the API. A delete range up to "\0" counts as the empty
 * interval that it would be by bytewise order, though it is executed as open-ended.
 */

static struct bytes bytes_of_binary(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

struct put_key {
    struct bytes key;
    struct bytes end; /* the key's successor */
    const struct put_key *next;
};

/* What a list of operations can do. */
struct effects {
    struct key_set puts;
    struct key_set deletes;
    const struct put_key *keys; /* those in puts */
};

static void effects_deinit(struct effects *effects)
{
    key_set_deinit(&effects->puts);
    key_set_deinit(&effects->deletes);
}

static struct bytes successor(struct arena *arena, struct bytes key)
{
    uint8_t *after = arena_alloc(arena, key.size + 1);
    if (key.size > 0) memcpy(after, key.data, key.size);
    after[key.size] = 0;
    return bytes_of(after, key.size + 1);
}

static void add_put(struct effects *effects, struct arena *arena, struct bytes key, struct bytes end)
{
    struct put_key *put = arena_alloc(arena, sizeof(*put));
    *put = (struct put_key){key, end, effects->keys};
    effects->keys = put;
    key_set_add(&effects->puts, key, end);
}

static void add_delete(struct effects *effects, struct arena *arena,
                       const Etcdserverpb__DeleteRangeRequest *request)
{
    struct bytes key = bytes_of_binary(request->key), end = bytes_of_binary(request->range_end);
    key_set_add(&effects->deletes, key, end.size == 0 ? successor(arena, key) : end);
}

/* Adds the puts of one branch of a nested transaction; `other` is the branch that excludes it, or NULL. */
static bool add_branch_puts(struct effects *effects, struct arena *arena, const struct effects *branch,
                            const struct effects *other)
{
    for (const struct put_key *put = branch->keys; put != NULL; put = put->next) {
        bool known = key_set_has(&effects->puts, put->key);
        if (known && (other == NULL || !key_set_has(&other->puts, put->key))) return false;
        if (key_set_has(&effects->deletes, put->key)) return false;
        if (!known) add_put(effects, arena, put->key, put->end);
    }
    return true;
}

static bool collect(Etcdserverpb__RequestOp *const *operations, size_t count, struct arena *arena,
                    struct effects *effects);

static bool collect_nested(const Etcdserverpb__TxnRequest *txn, struct arena *arena, struct effects *effects)
{
    struct effects success = {0}, failure = {0};
    bool valid = collect(txn->success, txn->n_success, arena, &success) &&
                 collect(txn->failure, txn->n_failure, arena, &failure) &&
                 add_branch_puts(effects, arena, &success, NULL) &&
                 add_branch_puts(effects, arena, &failure, &success);
    if (valid) {
        key_set_take(&effects->deletes, &success.deletes);
        key_set_take(&effects->deletes, &failure.deletes);
    }
    effects_deinit(&success);
    effects_deinit(&failure);
    return valid;
}

static bool collect(Etcdserverpb__RequestOp *const *operations, size_t count, struct arena *arena,
                    struct effects *effects)
{
    for (size_t i = 0; i < count; i++)
        if (operations[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            add_delete(effects, arena, operations[i]->request_delete_range);
    for (size_t i = 0; i < count; i++)
        if (operations[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN &&
            !collect_nested(operations[i]->request_txn, arena, effects))
            return false;
    for (size_t i = 0; i < count; i++) {
        if (operations[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) continue;
        struct bytes key = bytes_of_binary(operations[i]->request_put->key);
        if (key_set_has(&effects->puts, key) || key_set_has(&effects->deletes, key)) return false;
        add_put(effects, arena, key, successor(arena, key));
    }
    return true;
}

static bool has_duplicates(Etcdserverpb__RequestOp *const *operations, size_t count)
{
    struct arena *arena = arena_new();
    struct effects effects = {0};
    bool valid = collect(operations, count, arena, &effects);
    effects_deinit(&effects);
    arena_free(arena);
    return !valid;
}

/* ---- transactions ---- */

static enum api_error check_structure(const Etcdserverpb__TxnRequest *txn, uint64_t budget);

static enum api_error check_operation(const Etcdserverpb__RequestOp *operation, uint64_t budget)
{
    switch (operation->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return kv_check_range(operation->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return kv_check_put(operation->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return kv_check_delete_range(operation->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_structure(operation->request_txn, budget);
    default:
        return API_ERROR_KEY_NOT_FOUND; /* empty: etcd's choice of words */
    }
}

static enum api_error check_operations(Etcdserverpb__RequestOp *const *operations, size_t count,
                                       uint64_t budget)
{
    enum api_error error = API_OK;
    for (size_t i = 0; error == API_OK && i < count; i++) error = check_operation(operations[i], budget);
    return error;
}

static enum api_error check_structure(const Etcdserverpb__TxnRequest *txn, uint64_t budget)
{
    uint64_t longest = txn->n_compare;
    if (longest < txn->n_success) longest = txn->n_success;
    if (longest < txn->n_failure) longest = txn->n_failure;
    if (longest > budget) return API_ERROR_TOO_MANY_OPS;
    for (size_t i = 0; i < txn->n_compare; i++)
        if (txn->compare[i]->key.len == 0) return API_ERROR_EMPTY_KEY;
    enum api_error error = check_operations(txn->success, txn->n_success, budget - longest);
    return error != API_OK ? error : check_operations(txn->failure, txn->n_failure, budget - longest);
}

enum api_error kv_check_txn(const Etcdserverpb__TxnRequest *request, uint64_t max_operations)
{
    enum api_error error = check_structure(request, max_operations);
    if (error != API_OK) return error;
    if (has_duplicates(request->success, request->n_success) ||
        has_duplicates(request->failure, request->n_failure))
        return API_ERROR_DUPLICATE_KEY;
    return API_OK;
}

/* ---- kinds of transactions ---- */

static bool all_ranges(Etcdserverpb__RequestOp *const *operations, size_t count, bool serializable)
{
    for (size_t i = 0; i < count; i++) {
        if (operations[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) return false;
        if (serializable && !operations[i]->request_range->serializable) return false;
    }
    return true;
}

bool kv_txn_is_read_only(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, false) &&
           all_ranges(request->failure, request->n_failure, false);
}

bool kv_txn_is_serializable(const Etcdserverpb__TxnRequest *request)
{
    /* Comparisons alone say nothing of how fresh they may be. etcd answers them from what it has, also when
     * that is stale. */
    if (request->n_compare > 0 && request->n_success == 0 && request->n_failure == 0) return false;
    return all_ranges(request->success, request->n_success, true) &&
           all_ranges(request->failure, request->n_failure, true);
}

/* ---- cost ---- */

enum { COST_PER_PUT = 256 };

uint64_t kv_cost_put(const Etcdserverpb__PutRequest *request)
{
    return COST_PER_PUT + request->key.len + request->value.len;
}

static uint64_t cost_of(Etcdserverpb__RequestOp *const *operations, size_t count)
{
    uint64_t cost = 0;
    for (size_t i = 0; i < count; i++) {
        if (operations[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            cost += kv_cost_put(operations[i]->request_put);
        else if (operations[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            cost += kv_cost_txn(operations[i]->request_txn);
    }
    return cost;
}

uint64_t kv_cost_txn(const Etcdserverpb__TxnRequest *request)
{
    uint64_t success = cost_of(request->success, request->n_success);
    uint64_t failure = cost_of(request->failure, request->n_failure);
    return success > failure ? success : failure;
}
