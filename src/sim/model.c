#include "sim/model.h"

#include "api/message.h"
#include "base/arena.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "sim/answer.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

#include "raft_internal.pb-c.h"

enum { KEYS_MAX = 1024, LEASES_MAX = 1024, TXNS_MAX = 64 };

struct id_row {
    uint64_t id;
    uint64_t index;
    UT_hash_handle hh;
};

struct key {
    struct bytes name;
    size_t last; /* position of its last change + 1; 0: none */
};

struct sim_model {
    struct arena *arena; /* names, values */
    struct arena *scratch;
    struct sim_entry *entries;
    size_t entry_count, entry_capacity;
    struct sim_change *changes;
    size_t change_count, change_capacity;
    struct key keys[KEYS_MAX];
    size_t key_count;
    size_t order[KEYS_MAX];     /* the keys, sorted by name */
    struct buf answer;          /* of the entry at hand */
    int64_t leases[LEASES_MAX]; /* 0: a free place */
    struct id_row *ids;
    int64_t revision;
    int64_t compact_revision;
};

struct sim_model *sim_model_new(void)
{
    struct sim_model *model = mem_zalloc(1, sizeof(*model));
    model->arena = arena_new();
    model->scratch = arena_new();
    model->revision = 1;
    model->compact_revision = -1;
    return model;
}

void sim_model_free(struct sim_model *model)
{
    if (model == NULL) return;
    struct id_row *row, *next;
    HASH_ITER (hh, model->ids, row, next) {
        HASH_DEL(model->ids, row);
        free(row);
    }
    free(model->entries);
    free(model->changes);
    buf_deinit(&model->answer);
    arena_free(model->arena);
    arena_free(model->scratch);
    free(model);
}

/* ---- keys and changes ---- */

static size_t find_key(struct sim_model *model, struct bytes name)
{
    for (size_t i = 0; i < model->key_count; i++)
        if (bytes_equal(model->keys[i].name, name)) return i;
    assert(model->key_count < KEYS_MAX);
    model->keys[model->key_count].name = arena_copy(model->arena, name);
    size_t at = model->key_count;
    for (; at > 0 && bytes_compare(model->keys[model->order[at - 1]].name, name) > 0; at--)
        model->order[at] = model->order[at - 1];
    model->order[at] = model->key_count;
    return model->key_count++;
}

static struct sim_change *last_of(const struct sim_model *model, size_t key)
{
    size_t last = model->keys[key].last;
    return last == 0 || model->changes[last - 1].deleted ? NULL : &model->changes[last - 1];
}

static struct sim_change *add_change(struct sim_model *model, size_t key)
{
    if (model->change_count == model->change_capacity) {
        model->change_capacity = model->change_capacity == 0 ? 1024 : 2 * model->change_capacity;
        model->changes = mem_realloc(model->changes, model->change_capacity * sizeof(*model->changes));
    }
    struct sim_change *change = &model->changes[model->change_count++];
    *change =
        (struct sim_change){.revision = model->revision + 1, .key = key, .previous = model->keys[key].last};
    model->keys[key].last = model->change_count;
    return change;
}

static struct sim_shown shown(const struct sim_model *model, const struct sim_change *change)
{
    return (struct sim_shown){
        .key = model->keys[change->key].name,
        .modified = change->revision,
        .created = change->create_revision,
        .version = change->version,
        .lease = change->lease,
        .value = change->value,
    };
}

/* `header`: the revision that the answer's header names; 0: it is not part of the answer. */
static void put(struct sim_model *model, const Etcdserverpb__PutRequest *request, int64_t header)
{
    size_t key = find_key(model, message_bytes(request->key));
    const struct sim_change *before = last_of(model, key);
    struct sim_change made = {.create_revision = model->revision + 1,
                              .version = 1,
                              .lease = request->lease,
                              .value = message_bytes(request->value)};
    struct sim_shown previous;
    if (before != NULL) {
        previous = shown(model, before);
        made.create_revision = before->create_revision;
        made.version = before->version + 1;
        if (request->ignore_value) made.value = before->value;
        if (request->ignore_lease) made.lease = before->lease;
    }
    sim_answer_put(&model->answer, header, request->prev_kv && before != NULL ? &previous : NULL);
    struct sim_change *change = add_change(model, key); /* `before` may have moved */
    change->create_revision = made.create_revision;
    change->version = made.version;
    change->lease = made.lease;
    change->value = arena_copy(model->arena, made.value);
}

/* Deletes go in the order of the keys. What was there is added to `previous` unless that is NULL. */
static int64_t delete_those(struct sim_model *model, struct bytes key, struct bytes range_end, int64_t lease,
                            struct buf *previous)
{
    int64_t count = 0;
    for (size_t i = 0; i < model->key_count; i++) {
        size_t at = model->order[i];
        const struct sim_change *last = last_of(model, at);
        if (last == NULL) continue;
        if (lease != 0 ? last->lease != lease : !sim_key_in_range(model->keys[at].name, key, range_end))
            continue;
        if (previous != NULL) {
            struct sim_shown before = shown(model, last);
            buf_append_byte(previous, ' ');
            sim_answer_key(previous, &before);
        }
        add_change(model, at)->deleted = true;
        count++;
    }
    return count;
}

/* As in put(), but a revision only the deletion itself makes is named only if it was made. */
static int64_t delete_range(struct sim_model *model, const Etcdserverpb__DeleteRangeRequest *request,
                            bool with_header, bool changed)
{
    struct buf previous = {0};
    int64_t count = delete_those(model, message_bytes(request->key), message_bytes(request->range_end), 0,
                                 request->prev_kv ? &previous : NULL);
    int64_t header = model->revision + (changed || count > 0 ? 1 : 0);
    sim_answer_delete(&model->answer, with_header ? header : 0, count);
    buf_append_bytes(&model->answer, buf_bytes(&previous));
    buf_deinit(&previous);
    return count;
}

/* ---- leases ---- */

/* The place of this lease, or, for 0, a free one. */
static int64_t *find_lease(const struct sim_model *model, int64_t id)
{
    for (size_t i = 0; i < LEASES_MAX; i++)
        if (model->leases[i] == id) return (int64_t *)(uintptr_t)&model->leases[i];
    return NULL;
}

static void grant(struct sim_model *model, const Etcdserverpb__LeaseGrantRequest *request,
                  struct sim_entry *entry)
{
    if (find_lease(model, request->id) != NULL) {
        entry->status = API_ERROR_LEASE_EXIST;
        return;
    }
    int64_t *place = find_lease(model, 0);
    assert(place != NULL);
    *place = request->id;
}

static void revoke(struct sim_model *model, int64_t id, struct sim_entry *entry)
{
    int64_t *lease = id == 0 ? NULL : find_lease(model, id);
    if (lease == NULL) {
        entry->status = API_ERROR_LEASE_NOT_FOUND;
        return;
    }
    *lease = 0;
    delete_those(model, BYTES_EMPTY, BYTES_EMPTY, id, NULL);
    entry->revoked = id;
}

/* ---- requests ---- */

static enum api_error check_put(struct sim_model *model, const Etcdserverpb__PutRequest *request)
{
    if (request->lease != 0 && find_lease(model, request->lease) == NULL) return API_ERROR_LEASE_NOT_FOUND;
    bool missing = last_of(model, find_key(model, message_bytes(request->key))) == NULL;
    return missing && (request->ignore_value || request->ignore_lease) ? API_ERROR_KEY_NOT_FOUND : API_OK;
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* `now` NULL: the key is not there; its numbers are 0 then, and no value is equal to its own. */
static bool compare_holds_for(const Etcdserverpb__Compare *compare, const struct sim_change *now)
{
    int order = 0;
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        order = compare_numbers(now == NULL ? 0 : now->revision, compare->mod_revision);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        order = compare_numbers(now == NULL ? 0 : now->create_revision, compare->create_revision);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        order = compare_numbers(now == NULL ? 0 : now->version, compare->version);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        order = compare_numbers(now == NULL ? 0 : now->lease, compare->lease);
        break;
    default:
        if (now == NULL) return false;
        order = bytes_compare(now->value, message_bytes(compare->value));
    }
    switch (compare->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    default:
        return order < 0;
    }
}

/* With a range it must hold for every key there is in it. */
static bool compare_holds(struct sim_model *model, const Etcdserverpb__Compare *compare)
{
    struct bytes key = message_bytes(compare->key), range_end = message_bytes(compare->range_end);
    bool any = false;
    if (range_end.size == 0) return compare_holds_for(compare, last_of(model, find_key(model, key)));
    for (size_t i = 0; i < model->key_count; i++) {
        const struct sim_change *now = last_of(model, i);
        if (now == NULL || !sim_key_in_range(model->keys[i].name, key, range_end)) continue;
        any = true;
        if (!compare_holds_for(compare, now)) return false;
    }
    return any || compare_holds_for(compare, NULL);
}

/* A transaction at work. All comparisons, those of nested ones too, are made on the state before it: `path`
 * holds their outcome, per transaction in the order in which they are met. */
struct txn {
    struct sim_model *model;
    size_t changes_before;
    bool path[TXNS_MAX];
    size_t path_count, path_next;
};

struct branch {
    Etcdserverpb__RequestOp *const *operations;
    size_t count;
};

static struct branch branch_of(const Etcdserverpb__TxnRequest *request, bool succeeded)
{
    if (succeeded) return (struct branch){request->success, request->n_success};
    return (struct branch){request->failure, request->n_failure};
}

static void txn_evaluate(struct txn *txn, const Etcdserverpb__TxnRequest *request)
{
    bool succeeded = true;
    for (size_t i = 0; i < request->n_compare; i++)
        succeeded = succeeded && compare_holds(txn->model, request->compare[i]);
    assert(txn->path_count < TXNS_MAX);
    txn->path[txn->path_count++] = succeeded;
    struct branch branch = branch_of(request, succeeded);
    for (size_t i = 0; i < branch.count; i++)
        if (branch.operations[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            txn_evaluate(txn, branch.operations[i]->request_txn);
}

/* Whatever refuses one operation refuses all. */
static enum api_error txn_check(struct txn *txn, const Etcdserverpb__TxnRequest *request)
{
    enum api_error error = API_OK;
    struct branch branch = branch_of(request, txn->path[txn->path_next++]);
    for (size_t i = 0; error == API_OK && i < branch.count; i++) {
        const Etcdserverpb__RequestOp *operation = branch.operations[i];
        if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            error = check_put(txn->model, operation->request_put);
        else if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            error = txn_check(txn, operation->request_txn);
        else if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            error = sim_model_check_range(txn->model, operation->request_range->revision);
    }
    return error;
}

static void txn_execute(struct txn *txn, const Etcdserverpb__TxnRequest *request)
{
    struct sim_model *model = txn->model;
    bool succeeded = txn->path[txn->path_next++];
    struct branch branch = branch_of(request, succeeded);
    buf_printf(&model->answer, "txn %s {", succeeded ? "yes" : "no");
    for (size_t i = 0; i < branch.count; i++) {
        const Etcdserverpb__RequestOp *operation = branch.operations[i];
        bool changed = model->change_count > txn->changes_before;
        int64_t current = model->revision + (changed ? 1 : 0);
        if (i > 0) buf_append_string(&model->answer, "; ");
        if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            put(model, operation->request_put, model->revision + 1);
        else if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            delete_range(model, operation->request_delete_range, true, changed);
        else if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            sim_model_range(model, operation->request_range, current, current, &model->answer);
        else
            txn_execute(txn, operation->request_txn);
    }
    buf_append_byte(&model->answer, '}');
}

static void txn(struct sim_model *model, const Etcdserverpb__TxnRequest *request, struct sim_entry *entry)
{
    struct txn txn = {.model = model, .changes_before = model->change_count};
    txn_evaluate(&txn, request);
    entry->status = txn_check(&txn, request);
    if (entry->status != API_OK) return;
    txn.path_next = 0;
    txn_execute(&txn, request);
}

static void compact(struct sim_model *model, int64_t revision, struct sim_entry *entry)
{
    if (revision <= model->compact_revision)
        entry->status = API_ERROR_COMPACTED;
    else if (revision > model->revision)
        entry->status = API_ERROR_FUTURE_REVISION;
    else
        model->compact_revision = entry->compacted = revision;
}

static void take_request(struct sim_model *model, const Etcdserverpb__InternalRaftRequest *request,
                         struct sim_entry *entry)
{
    size_t before = model->change_count;
    if (request->put != NULL) {
        entry->status = check_put(model, request->put);
        if (entry->status == API_OK) put(model, request->put, 0);
    } else if (request->delete_range != NULL) {
        delete_range(model, request->delete_range, false, false);
    } else if (request->txn != NULL) {
        txn(model, request->txn, entry);
    } else if (request->compaction != NULL) {
        compact(model, request->compaction->revision, entry);
    } else if (request->lease_grant != NULL) {
        grant(model, request->lease_grant, entry);
    } else if (request->lease_revoke != NULL) {
        revoke(model, request->lease_revoke->id, entry);
    }
    if (model->change_count > before) model->revision++;
}

/* ---- entries ---- */

static struct sim_entry *add_entry(struct sim_model *model)
{
    if (model->entry_count == model->entry_capacity) {
        model->entry_capacity = model->entry_capacity == 0 ? 1024 : 2 * model->entry_capacity;
        model->entries = mem_realloc(model->entries, model->entry_capacity * sizeof(*model->entries));
    }
    struct sim_entry *entry = &model->entries[model->entry_count++];
    *entry = (struct sim_entry){0};
    return entry;
}

static const char *remember_id(struct sim_model *model, uint64_t id)
{
    if (id == 0) return NULL;
    if (sim_model_find(model, id) != 0) return "a proposal is in the log twice";
    struct id_row *row = mem_zalloc(1, sizeof(*row));
    row->id = id;
    row->index = model->entry_count;
    HASH_ADD(hh, model->ids, id, sizeof(row->id), row);
    return NULL;
}

const char *sim_model_apply(struct sim_model *model, const struct raft_entry *entry)
{
    assert(entry->index == model->entry_count + 1);
    struct bytes data = blob_bytes(entry->data);
    struct sim_entry *made = add_entry(model);
    const char *wrong = NULL;
    made->term = entry->term;
    made->crc = crc32c(0, data.data, data.size);
    if (entry->type == RAFT_ENTRY_NORMAL && data.size > 0) {
        arena_reset(model->scratch);
        const Etcdserverpb__InternalRaftRequest *request =
            (const void *)message_unpack(&etcdserverpb__internal_raft_request__descriptor, data,
                                         model->scratch, NULL);
        if (request == NULL) return "a committed entry cannot be decoded";
        made->id = request->header == NULL ? 0 : request->header->id;
        wrong = remember_id(model, made->id);
        buf_clear(&model->answer);
        take_request(model, request, made);
        made->answer = arena_copy(model->arena, buf_bytes(&model->answer));
    }
    made->revision = model->revision;
    return wrong;
}

/* ---- looking ---- */

uint64_t sim_model_last_index(const struct sim_model *model)
{
    return model->entry_count;
}

const struct sim_entry *sim_model_entry(const struct sim_model *model, uint64_t index)
{
    assert(index >= 1 && index <= model->entry_count);
    return &model->entries[index - 1];
}

uint64_t sim_model_find(const struct sim_model *model, uint64_t id)
{
    struct id_row *row = NULL;
    HASH_FIND(hh, model->ids, &id, sizeof(id), row);
    return row == NULL ? 0 : row->index;
}

int64_t sim_model_revision(const struct sim_model *model)
{
    return model->revision;
}

int64_t sim_model_compact_revision(const struct sim_model *model)
{
    return model->compact_revision;
}

size_t sim_model_change_count(const struct sim_model *model)
{
    return model->change_count;
}

const struct sim_change *sim_model_change(const struct sim_model *model, size_t position)
{
    assert(position < model->change_count);
    return &model->changes[position];
}

size_t sim_model_position(const struct sim_model *model, int64_t revision)
{
    size_t low = 0, high = model->change_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (model->changes[middle].revision < revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t sim_model_key_count(const struct sim_model *model)
{
    return model->key_count;
}

struct bytes sim_model_key(const struct sim_model *model, size_t key)
{
    assert(key < model->key_count);
    return model->keys[key].name;
}

const struct sim_change *sim_model_find_key(const struct sim_model *model, struct bytes name)
{
    for (size_t i = 0; i < model->key_count; i++)
        if (bytes_equal(model->keys[i].name, name)) return last_of(model, i);
    return NULL;
}

const struct sim_change *sim_model_get(const struct sim_model *model, size_t key, int64_t revision)
{
    assert(key < model->key_count);
    size_t at = model->keys[key].last;
    while (at != 0 && model->changes[at - 1].revision > revision) at = model->changes[at - 1].previous;
    return at == 0 || model->changes[at - 1].deleted ? NULL : &model->changes[at - 1];
}

enum api_error sim_model_check_range(const struct sim_model *model, int64_t revision)
{
    if (revision > model->revision) return API_ERROR_FUTURE_REVISION;
    return revision != 0 && revision < model->compact_revision ? API_ERROR_COMPACTED : API_OK;
}

void sim_model_range(const struct sim_model *model, const Etcdserverpb__RangeRequest *request,
                     int64_t current, int64_t header, struct buf *out)
{
    int64_t revision = request->revision == 0 ? current : request->revision, count = 0;
    struct buf keys = {0};
    for (size_t i = 0; i < model->key_count; i++) {
        size_t key = model->order[i];
        if (!sim_key_in_range(model->keys[key].name, message_bytes(request->key),
                              message_bytes(request->range_end)))
            continue;
        const struct sim_change *change = sim_model_get(model, key, revision);
        if (change == NULL) continue;
        count++;
        if (request->count_only || (request->limit > 0 && count > request->limit)) continue;
        struct sim_shown one = shown(model, change);
        one.without_value = request->keys_only;
        buf_append_byte(&keys, ' ');
        sim_answer_key(&keys, &one);
    }
    sim_answer_range(out, header, count,
                     !request->count_only && request->limit > 0 && count > request->limit);
    buf_append_bytes(out, buf_bytes(&keys));
    buf_deinit(&keys);
}

size_t sim_model_lease_count(const struct sim_model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < LEASES_MAX; i++) count += model->leases[i] != 0;
    return count;
}

bool sim_model_has_lease(const struct sim_model *model, int64_t id)
{
    return id != 0 && find_lease(model, id) != NULL;
}

bool sim_key_in_range(struct bytes candidate, struct bytes key, struct bytes range_end)
{
    if (range_end.size == 0) return bytes_equal(candidate, key);
    bool open = range_end.size == 1 && range_end.data[0] == 0;
    return bytes_compare(candidate, key) >= 0 && (open || bytes_compare(candidate, range_end) < 0);
}
