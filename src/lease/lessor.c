#include "lease/lessor.h"

#include "base/container.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/wire.h"
#include "storage/backend.h"

#include <assert.h>
#include <stdlib.h>

#define SECOND  INT64_C(1000000000)
#define FOREVER INT64_MAX

enum {
    FIELD_ID = 1,
    FIELD_TTL = 2,
    FIELD_REMAINING_TTL = 3,
    /* A member that takes over this many leases spreads those that end together over time, so that each
     * second no more end than three quarters of what can be revoked in one. */
    SPREAD_FROM = 1000,
    SPREAD_PER_SECOND = 750,
};

struct lease_key;

struct lease {
    int64_t id;
    int64_t ttl;
    int64_t remaining_ttl; /* of the last checkpoint; 0: none */
    int64_t expires_at;
    struct heap_node expiry;     /* when to report it: expires_at, later a retry */
    struct heap_node checkpoint; /* when to take one */
    /* One was reported since the last reset and may still be on its way. It would undo a renewal. */
    bool is_checkpointed;
    int64_t reset_until; /* a reset was asked for and may be on its way until then; 0: none */
    TAILQ_HEAD(, lease_key) keys;
    size_t key_count;
    UT_hash_handle hh;
};

struct lease_key {
    struct lease *lease;
    TAILQ_ENTRY(lease_key) link;
    UT_hash_handle hh;
    size_t size;
    uint8_t bytes[];
};

struct lessor {
    struct backend *backend;
    struct lessor_options options;
    bool primary;
    struct lease *leases;   /* by id */
    struct lease_key *keys; /* by key */
    struct heap expiries;
    struct heap checkpoints;
};

int64_t lessor_min_ttl(unsigned election_ticks, int64_t tick)
{
    int64_t shortest = (int64_t)(3 * (uint64_t)election_ticks / 2) * tick;
    return (shortest + SECOND - 1) / SECOND;
}

/* ---- rows ---- */

static void store_row(struct lessor *lessor, const struct lease *lease)
{
    uint8_t key[8];
    be64_put(key, (uint64_t)lease->id);
    struct buf value = {0};
    wire_uint_field_nonzero(&value, FIELD_ID, (uint64_t)lease->id);
    wire_uint_field_nonzero(&value, FIELD_TTL, (uint64_t)lease->ttl);
    wire_uint_field_nonzero(&value, FIELD_REMAINING_TTL, (uint64_t)lease->remaining_ttl);
    backend_put(lessor->backend, BUCKET_LEASE, bytes_of(key, sizeof(key)), buf_bytes(&value));
    buf_deinit(&value);
}

static bool parse_row(struct bytes value, struct lease *lease)
{
    struct wire_reader reader = wire_reader_of(value);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number > FIELD_REMAINING_TTL) continue;
        if (field.type != WIRE_VARINT) return false;
        if (field.number == FIELD_ID) lease->id = (int64_t)field.value;
        if (field.number == FIELD_TTL) lease->ttl = (int64_t)field.value;
        if (field.number == FIELD_REMAINING_TTL) lease->remaining_ttl = (int64_t)field.value;
    }
    return !reader.failed && lease->id != 0 && lease->ttl <= LESSOR_TTL_MAX && lease->remaining_ttl >= 0 &&
           lease->remaining_ttl <= LESSOR_TTL_MAX;
}

/* ---- leases in memory ---- */

static struct lease *find(const struct lessor *lessor, int64_t id)
{
    struct lease *lease;
    HASH_FIND(hh, lessor->leases, &id, sizeof(id), lease);
    return lease;
}

static struct lease *add_lease(struct lessor *lessor, const struct lease *fields)
{
    struct lease *lease = mem_zalloc(1, sizeof(*lease));
    lease->id = fields->id;
    lease->ttl = fields->ttl > lessor->options.min_ttl ? fields->ttl : lessor->options.min_ttl;
    lease->remaining_ttl = fields->remaining_ttl;
    lease->expires_at = FOREVER;
    TAILQ_INIT(&lease->keys);
    HASH_ADD(hh, lessor->leases, id, sizeof(lease->id), lease);
    return lease;
}

static void drop_key(struct lessor *lessor, struct lease_key *key)
{
    TAILQ_REMOVE(&key->lease->keys, key, link);
    key->lease->key_count--;
    HASH_DEL(lessor->keys, key);
    free(key);
}

static void drop_lease(struct lessor *lessor, struct lease *lease)
{
    heap_remove(&lessor->expiries, &lease->expiry);
    heap_remove(&lessor->checkpoints, &lease->checkpoint);
    while (!TAILQ_EMPTY(&lease->keys)) drop_key(lessor, TAILQ_FIRST(&lease->keys));
    HASH_DEL(lessor->leases, lease);
    free(lease);
}

static void drop_all(struct lessor *lessor)
{
    struct lease *lease, *next;
    HASH_ITER (hh, lessor->leases, lease, next) drop_lease(lessor, lease);
    assert(lessor->keys == NULL && lessor->expiries.count == 0 && lessor->checkpoints.count == 0);
}

/* ---- opening ---- */

struct loading {
    struct lessor *lessor;
    struct error *error;
};

static bool load_row(void *context, struct bytes key, struct bytes value)
{
    struct loading *loading = context;
    struct lease fields = {.id = 0};
    if (key.size != 8 || !parse_row(value, &fields) || fields.id != (int64_t)be64_get(key.data)) {
        loading->error = error_new(ERROR_CORRUPT, "lease row of %zu bytes under key %016llx is not a lease",
                                   value.size, key.size == 8 ? (unsigned long long)be64_get(key.data) : 0);
        return false;
    }
    add_lease(loading->lessor, &fields);
    return true;
}

static struct error *load(struct lessor *lessor)
{
    struct loading loading = {.lessor = lessor};
    TRY(backend_scan(lessor->backend, BUCKET_LEASE, BYTES_EMPTY, BYTES_EMPTY, load_row, &loading));
    return loading.error;
}

struct error *lessor_open(struct backend *backend, const struct lessor_options *options,
                          struct lessor **lessor)
{
    struct lessor *opened = mem_zalloc(1, sizeof(*opened));
    opened->backend = backend;
    opened->options = *options;
    if (opened->options.retry == 0) opened->options.retry = 7 * SECOND;
    if (opened->options.logger == NULL) opened->options.logger = &log_discard;
    struct error *error = load(opened);
    if (error != NULL) {
        lessor_close(opened);
        return error;
    }
    *lessor = opened;
    return NULL;
}

struct error *lessor_recover(struct lessor *lessor, struct backend *backend, int64_t now)
{
    drop_all(lessor);
    lessor->backend = backend;
    TRY(load(lessor));
    if (lessor->primary) lessor_promote(lessor, 0, now);
    return NULL;
}

void lessor_close(struct lessor *lessor)
{
    if (lessor == NULL) return;
    drop_all(lessor);
    heap_deinit(&lessor->expiries);
    heap_deinit(&lessor->checkpoints);
    free(lessor);
}

/* ---- time ---- */

static int64_t add_time(int64_t time, int64_t more)
{
    int64_t sum;
    return __builtin_add_overflow(time, more, &sum) || sum == FOREVER ? FOREVER - 1 : sum;
}

static int64_t time_left(const struct lease *lease)
{
    return lease->remaining_ttl > 0 ? lease->remaining_ttl : lease->ttl;
}

static void set_expiry(struct lessor *lessor, struct lease *lease, int64_t expires_at)
{
    assert(lessor->primary);
    lease->expires_at = expires_at;
    heap_put(&lessor->expiries, &lease->expiry, expires_at);
}

static void schedule_checkpoint(struct lessor *lessor, struct lease *lease, int64_t now)
{
    int64_t interval = lessor->options.checkpoint_interval;
    if (interval <= 0 || time_left(lease) <= interval / SECOND)
        heap_remove(&lessor->checkpoints, &lease->checkpoint);
    else
        heap_put(&lessor->checkpoints, &lease->checkpoint, add_time(now, interval));
}

/* ---- applied entries ---- */

enum api_error lessor_grant(struct lessor *lessor, int64_t id, int64_t ttl, int64_t now, int64_t *granted)
{
    if (id == 0) return API_ERROR_LEASE_NOT_FOUND;
    if (ttl > LESSOR_TTL_MAX) return API_ERROR_LEASE_TTL_TOO_LARGE;
    if (find(lessor, id) != NULL) return API_ERROR_LEASE_EXIST;
    struct lease *lease = add_lease(lessor, &(struct lease){.id = id, .ttl = ttl});
    store_row(lessor, lease);
    if (lessor->primary) {
        set_expiry(lessor, lease, add_time(now, lease->ttl * SECOND));
        schedule_checkpoint(lessor, lease, now);
    }
    if (granted != NULL) *granted = lease->ttl;
    return API_OK;
}

void lessor_keys_deinit(struct lessor_keys *keys)
{
    free(keys->items);
    buf_deinit(&keys->memory);
    *keys = (struct lessor_keys){0};
}

static int compare_keys(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* All members must delete in the same order: the keys get their revisions by it. */
static void sorted_keys(const struct lease *lease, struct lessor_keys *keys)
{
    size_t size = 0, count = 0;
    const struct lease_key *key;
    TAILQ_FOREACH (key, &lease->keys, link) size += key->size;
    *keys = (struct lessor_keys){.count = lease->key_count};
    keys->items = mem_zalloc(lease->key_count, sizeof(keys->items[0]));
    buf_reserve(&keys->memory, size);
    TAILQ_FOREACH (key, &lease->keys, link) {
        keys->items[count++] = bytes_of(keys->memory.data + keys->memory.size, key->size);
        buf_append(&keys->memory, key->bytes, key->size);
    }
    assert(count == keys->count && keys->memory.size == size);
    if (count > 1) qsort(keys->items, count, sizeof(keys->items[0]), compare_keys);
}

enum api_error lessor_revoke_begin(struct lessor *lessor, int64_t id, struct lessor_keys *keys)
{
    return lessor_list_keys(lessor, id, keys) ? API_OK : API_ERROR_LEASE_NOT_FOUND;
}

void lessor_revoke_end(struct lessor *lessor, int64_t id)
{
    struct lease *lease = find(lessor, id);
    assert(lease != NULL && lease->key_count == 0);
    uint8_t key[8];
    be64_put(key, (uint64_t)id);
    backend_delete(lessor->backend, BUCKET_LEASE, bytes_of(key, sizeof(key)));
    drop_lease(lessor, lease);
}

void lessor_checkpoint(struct lessor *lessor, int64_t id, int64_t remaining, bool persist, int64_t now)
{
    struct lease *lease = find(lessor, id);
    if (lease == NULL) return;
    if (remaining < 0) remaining = 0;
    lease->remaining_ttl = remaining < LESSOR_TTL_MAX ? remaining : LESSOR_TTL_MAX;
    if (remaining == 0) {
        lease->is_checkpointed = false;
        lease->reset_until = 0;
    }
    if (persist) store_row(lessor, lease);
    if (lessor->primary) schedule_checkpoint(lessor, lease, now);
}

/* ---- keys ---- */

static struct lease_key *find_key(const struct lessor *lessor, struct bytes key)
{
    struct lease_key *found;
    HASH_FIND(hh, lessor->keys, key.data, key.size, found);
    return found;
}

bool lessor_exists(const struct lessor *lessor, int64_t id)
{
    return find(lessor, id) != NULL;
}

bool lessor_attach(struct lessor *lessor, int64_t id, struct bytes key)
{
    assert(id != 0 && key.size > 0);
    struct lease *lease = find(lessor, id);
    struct lease_key *attached = find_key(lessor, key);
    if (attached != NULL && attached->lease == lease) return true;
    if (attached != NULL) drop_key(lessor, attached);
    if (lease == NULL) {
        log_warn(lessor->options.logger, "failed to attach a key to an unknown lease",
                 LOG_HEX("lease-id", (uint64_t)id), LOG_BYTES("key", key));
        return false;
    }
    attached = mem_alloc(sizeof(*attached) + key.size);
    *attached = (struct lease_key){.lease = lease, .size = key.size};
    memcpy(attached->bytes, key.data, key.size);
    HASH_ADD_KEYPTR(hh, lessor->keys, attached->bytes, attached->size, attached);
    TAILQ_INSERT_TAIL(&lease->keys, attached, link);
    lease->key_count++;
    return true;
}

void lessor_detach(struct lessor *lessor, struct bytes key)
{
    struct lease_key *attached = find_key(lessor, key);
    if (attached != NULL) drop_key(lessor, attached);
}

static bool store_asks(void *context, int64_t lease)
{
    return lessor_exists(context, lease);
}

static void store_attaches(void *context, int64_t lease, struct bytes key)
{
    lessor_attach(context, lease, key);
}

static void store_detaches(void *context, struct bytes key)
{
    lessor_detach(context, key);
}

struct mvcc_leases lessor_leases(struct lessor *lessor)
{
    return (struct mvcc_leases){.context = lessor,
                                .exists = store_asks,
                                .attach = store_attaches,
                                .detach = store_detaches};
}

/* ---- the primary ---- */

static int compare_expiries(const void *a, const void *b)
{
    const struct lease *first = *(struct lease *const *)a, *second = *(struct lease *const *)b;
    if (first->expires_at != second->expires_at) return first->expires_at < second->expires_at ? -1 : 1;
    return (first->id > second->id) - (first->id < second->id);
}

static struct lease **sorted_leases(const struct lessor *lessor, size_t *count)
{
    *count = HASH_COUNT(lessor->leases);
    struct lease **leases = mem_zalloc(*count, sizeof(struct lease *));
    size_t i = 0;
    for (struct lease *lease = lessor->leases; lease != NULL; lease = lease->hh.next) leases[i++] = lease;
    if (i > 1) qsort(leases, i, sizeof(struct lease *), compare_expiries);
    return leases;
}

/* Leases that end within the same second: those beyond the rate are moved to the following seconds, with the
 * more time the more there are before them. */
static void spread(struct lessor *lessor)
{
    size_t count;
    struct lease **leases = sorted_leases(lessor, &count);
    int64_t base = leases[0]->expires_at, next = add_time(base, SECOND), expiring = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t expires_at = leases[i]->expires_at;
        if (expires_at > next) {
            base = expires_at;
            next = add_time(base, SECOND);
            expiring = 1;
        } else if (++expiring > SPREAD_PER_SECOND) {
            int64_t delay = expiring * SECOND / SPREAD_PER_SECOND - (expires_at - base);
            next = add_time(base, delay);
            if (delay > 0) set_expiry(lessor, leases[i], add_time(expires_at, delay));
        }
    }
    free(leases);
}

/* What a former leader proposed has been applied by now, or never will be. */
static void forget_proposals(struct lessor *lessor)
{
    for (struct lease *lease = lessor->leases; lease != NULL; lease = lease->hh.next) {
        lease->is_checkpointed = false;
        lease->reset_until = 0;
    }
}

void lessor_promote(struct lessor *lessor, int64_t extend, int64_t now)
{
    if (!lessor->primary) forget_proposals(lessor);
    lessor->primary = true;
    for (struct lease *lease = lessor->leases; lease != NULL; lease = lease->hh.next) {
        int64_t expires_at = add_time(add_time(now, extend), time_left(lease) * SECOND);
        /* Promoted again while it leads: nobody was promised less. */
        if (lease->expires_at != FOREVER && lease->expires_at > expires_at) expires_at = lease->expires_at;
        set_expiry(lessor, lease, expires_at);
        schedule_checkpoint(lessor, lease, now);
    }
    if (HASH_COUNT(lessor->leases) >= SPREAD_FROM) spread(lessor);
}

void lessor_demote(struct lessor *lessor)
{
    lessor->primary = false;
    for (struct lease *lease = lessor->leases; lease != NULL; lease = lease->hh.next) {
        lease->expires_at = FOREVER;
        heap_remove(&lessor->expiries, &lease->expiry);
        heap_remove(&lessor->checkpoints, &lease->checkpoint);
    }
}

bool lessor_is_primary(const struct lessor *lessor)
{
    return lessor->primary;
}

size_t lessor_expired(struct lessor *lessor, int64_t now, int64_t ids[LESSOR_EXPIRED_MAX])
{
    size_t count = 0;
    struct heap_node *due;
    while (count < LESSOR_EXPIRED_MAX && (due = heap_first(&lessor->expiries)) != NULL && due->key <= now) {
        struct lease *lease = CONTAINER(due, struct lease, expiry);
        ids[count++] = lease->id;
        heap_put(&lessor->expiries, due, add_time(now, lessor->options.retry));
    }
    return count;
}

size_t lessor_checkpoints(struct lessor *lessor, int64_t now,
                          struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX])
{
    size_t count = 0;
    struct heap_node *due;
    while (count < LESSOR_CHECKPOINTS_MAX && (due = heap_first(&lessor->checkpoints)) != NULL &&
           due->key <= now) {
        struct lease *lease = CONTAINER(due, struct lease, checkpoint);
        heap_remove(&lessor->checkpoints, due);
        if (lease->expires_at <= now) continue;
        /* Again after the interval, also when the entry gets lost or is not worth it now. */
        heap_put(&lessor->checkpoints, due, add_time(now, lessor->options.checkpoint_interval));
        int64_t left = lease->expires_at - now;
        int64_t remaining = left / SECOND + (left % SECOND != 0);
        if (remaining >= lease->ttl || lease->reset_until > now) continue;
        lease->is_checkpointed = true;
        items[count++] = (struct lessor_checkpoint_item){lease->id, remaining};
    }
    return count;
}

int64_t lessor_wake_at(const struct lessor *lessor)
{
    const struct heap_node *expiry = heap_first(&lessor->expiries);
    const struct heap_node *checkpoint = heap_first(&lessor->checkpoints);
    int64_t at = expiry == NULL ? FOREVER : expiry->key;
    return checkpoint != NULL && checkpoint->key < at ? checkpoint->key : at;
}

enum lessor_renewal lessor_renew(struct lessor *lessor, int64_t id, int64_t now, int64_t *ttl)
{
    if (!lessor->primary) return LESSOR_NOT_PRIMARY;
    struct lease *lease = find(lessor, id);
    if (lease == NULL) return LESSOR_NOT_FOUND;
    if (lease->expires_at <= now) return LESSOR_EXPIRING;
    if (lease->remaining_ttl > 0 || lease->is_checkpointed) {
        if (lease->reset_until > now) return LESSOR_RESETTING;
        lease->reset_until = add_time(now, lessor->options.retry);
        return LESSOR_CHECKPOINTED;
    }
    set_expiry(lessor, lease, add_time(now, lease->ttl * SECOND));
    *ttl = lease->ttl;
    return LESSOR_RENEWED;
}

/* ---- looking ---- */

bool lessor_look_up(const struct lessor *lessor, int64_t id, int64_t now, struct lessor_lease *lease)
{
    const struct lease *found = find(lessor, id);
    if (found == NULL) return false;
    *lease = (struct lessor_lease){
        .id = id,
        .ttl = found->ttl,
        .remaining_ttl = found->remaining_ttl,
        .expires_at = found->expires_at,
        .seconds_left = (found->expires_at - now) / SECOND,
        .key_count = found->key_count,
    };
    return true;
}

bool lessor_list_keys(const struct lessor *lessor, int64_t id, struct lessor_keys *keys)
{
    const struct lease *lease = find(lessor, id);
    if (lease == NULL) return false;
    sorted_keys(lease, keys);
    return true;
}

bool lessor_each_key(const struct lessor *lessor, int64_t id, lessor_visit_key *visit, void *context)
{
    struct lessor_keys keys;
    if (!lessor_list_keys(lessor, id, &keys)) return true;
    bool all = true;
    for (size_t i = 0; i < keys.count && all; i++) all = visit(context, keys.items[i]);
    lessor_keys_deinit(&keys);
    return all;
}

int64_t lessor_lease_of(const struct lessor *lessor, struct bytes key)
{
    const struct lease_key *found = find_key(lessor, key);
    return found == NULL ? 0 : found->lease->id;
}

size_t lessor_list(const struct lessor *lessor, int64_t **ids)
{
    size_t count;
    struct lease **leases = sorted_leases(lessor, &count);
    *ids = mem_zalloc(count, sizeof(int64_t));
    for (size_t i = 0; i < count; i++) (*ids)[i] = leases[i]->id;
    free(leases);
    return count;
}

size_t lessor_count(const struct lessor *lessor)
{
    return HASH_COUNT(lessor->leases);
}
