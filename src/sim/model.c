#include "sim/model.h"

#include "api/message.h"
#include "base/arena.h"
#include "base/crc32c.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

#include "raft_internal.pb-c.h"

enum { KEYS_MAX = 1024, LEASES_MAX = 1024 };

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

static void put(struct sim_model *model, const Etcdserverpb__PutRequest *request)
{
    size_t key = find_key(model, message_bytes(request->key));
    const struct sim_change *before = last_of(model, key);
    int64_t create_revision = before == NULL ? model->revision + 1 : before->create_revision;
    int64_t version = before == NULL ? 1 : before->version + 1;
    struct sim_change *change = add_change(model, key);
    change->create_revision = create_revision;
    change->version = version;
    change->lease = request->lease;
    change->value = arena_copy(model->arena, message_bytes(request->value));
}

/* Deletes go in the order of the keys. */
static int64_t delete_those(struct sim_model *model, struct bytes key, struct bytes range_end, int64_t lease)
{
    size_t chosen[KEYS_MAX], count = 0;
    for (size_t i = 0; i < model->key_count; i++) {
        const struct sim_change *last = last_of(model, i);
        if (last == NULL) continue;
        if (lease != 0 ? last->lease != lease : !sim_key_in_range(model->keys[i].name, key, range_end))
            continue;
        size_t at = count++;
        for (; at > 0 && bytes_compare(model->keys[chosen[at - 1]].name, model->keys[i].name) > 0; at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = i;
    }
    for (size_t i = 0; i < count; i++) add_change(model, chosen[i])->deleted = true;
    return (int64_t)count;
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
    delete_those(model, BYTES_EMPTY, BYTES_EMPTY, id);
    entry->revoked = id;
}

/* ---- requests ---- */

static bool compare_holds(struct sim_model *model, const Etcdserverpb__Compare *compare)
{
    const struct sim_change *now = last_of(model, find_key(model, message_bytes(compare->key)));
    assert(compare->result == ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return (now == NULL ? 0 : now->revision) == compare->mod_revision;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        return now != NULL && bytes_equal(now->value, message_bytes(compare->value));
    default:
        assert(!"a comparison that no simulated client makes");
        return false;
    }
}

static void txn(struct sim_model *model, const Etcdserverpb__TxnRequest *request, struct sim_entry *entry)
{
    entry->succeeded = true;
    for (size_t i = 0; i < request->n_compare; i++)
        entry->succeeded = entry->succeeded && compare_holds(model, request->compare[i]);
    size_t count = entry->succeeded ? request->n_success : request->n_failure;
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__RequestOp *operation =
            entry->succeeded ? request->success[i] : request->failure[i];
        if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            put(model, operation->request_put);
        else if (operation->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            delete_those(model, message_bytes(operation->request_delete_range->key),
                         message_bytes(operation->request_delete_range->range_end), 0);
    }
}

static void compact(struct sim_model *model, int64_t revision, struct sim_entry *entry)
{
    if (revision <= model->compact_revision)
        entry->status = API_ERROR_COMPACTED;
    else if (revision > model->revision)
        entry->status = API_ERROR_FUTURE_REVISION;
    else
        model->compact_revision = revision;
}

static void take_request(struct sim_model *model, const Etcdserverpb__InternalRaftRequest *request,
                         struct sim_entry *entry)
{
    size_t before = model->change_count;
    if (request->put != NULL) {
        if (request->put->lease != 0 && find_lease(model, request->put->lease) == NULL)
            entry->status = API_ERROR_LEASE_NOT_FOUND;
        else
            put(model, request->put);
    } else if (request->delete_range != NULL) {
        entry->deleted = delete_those(model, message_bytes(request->delete_range->key),
                                      message_bytes(request->delete_range->range_end), 0);
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
        take_request(model, request, made);
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

const struct sim_change *sim_model_get(const struct sim_model *model, size_t key, int64_t revision)
{
    assert(key < model->key_count);
    size_t at = model->keys[key].last;
    while (at != 0 && model->changes[at - 1].revision > revision) at = model->changes[at - 1].previous;
    return at == 0 || model->changes[at - 1].deleted ? NULL : &model->changes[at - 1];
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
