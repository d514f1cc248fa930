#include "mvcc/store.h"

#include "api/keys.h"
#include "base/memory.h"
#include "base/wire.h"
#include "mvcc/store_state.h"
#include "storage/backend.h"

#include <assert.h>
#include <stdlib.h>

/* ---- opening: the index is rebuilt from the rows ---- */

/* A row that gave its key a lease: it counts if no later row of the key follows. The key is borrowed from the
 * file. */
struct leased_row {
    struct mvcc_revision revision;
    int64_t lease;
    struct bytes key;
};

struct restore {
    struct mvcc_store *store;
    struct mvcc_revision last;
    struct leased_row *leased;
    size_t leased_count;
    size_t leased_capacity;
    struct error *error;
};

/* Forgets rows that were overtaken by later ones. */
static void drop_stale_leases(struct restore *restore)
{
    size_t kept = 0;
    for (size_t i = 0; i < restore->leased_count; i++) {
        const struct leased_row *row = &restore->leased[i];
        struct mvcc_entry entry;
        if (mvcc_index_find(restore->store->index, row->key, INT64_MAX, &entry) &&
            mvcc_revision_compare(entry.modified, row->revision) == 0)
            restore->leased[kept++] = *row;
    }
    restore->leased_count = kept;
}

static void note_lease(struct restore *restore, const struct leased_row *row)
{
    if (restore->leased_count == restore->leased_capacity) {
        drop_stale_leases(restore);
        if (restore->leased_count >= restore->leased_capacity / 2) {
            restore->leased_capacity = restore->leased_capacity == 0 ? 1024 : restore->leased_capacity * 2;
            restore->leased = mem_realloc(restore->leased, restore->leased_capacity * sizeof(*row));
        }
    }
    restore->leased[restore->leased_count++] = *row;
}

static struct error *restore_row(struct restore *restore, struct bytes row, struct bytes value)
{
    struct mvcc_revision revision;
    bool tombstone;
    if (!mvcc_row_key_parse(row, &revision, &tombstone) || revision.main == 0 ||
        revision.main > MVCC_MAIN_MAX || mvcc_revision_compare(restore->last, revision) >= 0)
        return error_new(ERROR_CORRUPT, "bucket key: a row of %zu bytes is no revision", row.size);
    struct mvcc_key_value key_value;
    /* An empty row is what a restore leaves that raises the revision. */
    if (!mvcc_key_value_parse(value, &key_value) || key_value.key.size > MVCC_KEY_MAX ||
        (key_value.key.size == 0 && value.size > 0) || key_value.version < 0 ||
        key_value.version > MVCC_MAIN_MAX)
        return error_new(ERROR_CORRUPT, "bucket key: revision %lld.%lld is no KeyValue",
                         (long long)revision.main, (long long)revision.sub);
    mvcc_index_restore(restore->store->index, key_value.key, revision, tombstone, key_value.created,
                       key_value.version);
    restore->last = revision;
    if (key_value.lease != 0 && !tombstone)
        note_lease(restore, &(struct leased_row){revision, key_value.lease, key_value.key});
    return NULL;
}

static bool visit_restored(void *context, struct bytes row, struct bytes value)
{
    struct restore *restore = context;
    restore->error = restore_row(restore, row, value);
    return restore->error == NULL;
}

static struct error *restore_rows(struct mvcc_store *store)
{
    struct restore restore = {.store = store};
    struct error *error =
        backend_scan(store->backend, BUCKET_KEY, BYTES_EMPTY, BYTES_EMPTY, visit_restored, &restore);
    if (error == NULL) error = restore.error;
    if (error == NULL) {
        drop_stale_leases(&restore);
        for (size_t i = 0; i < restore.leased_count && store->leases.attach != NULL; i++)
            store->leases.attach(store->leases.context, restore.leased[i].lease, restore.leased[i].key);
        if (restore.last.main > store->revision) store->revision = restore.last.main;
    }
    free(restore.leased);
    return error;
}

struct error *mvcc_open(struct backend *backend, const struct mvcc_options *options,
                        struct mvcc_store **store)
{
    struct mvcc_store *opened = mem_zalloc(1, sizeof(*opened));
    opened->backend = backend;
    opened->leases = options->leases;
    opened->logger = options->logger == NULL ? &log_discard : options->logger;
    opened->index = mvcc_index_new();
    opened->revision = 1;
    opened->compact_revision = -1;
    opened->finished = -1;
    struct error *error = restore_rows(opened);
    if (error == NULL) error = mvcc_compact_recover(opened);
    if (error != NULL) {
        mvcc_close(opened);
        return error_wrap(error, "restore the key space");
    }
    *store = opened;
    return NULL;
}

static void drop_changes(struct mvcc_store *store)
{
    for (size_t i = 0; i < store->change_count; i++) blob_unref(store->changes[i].key_value);
    store->change_count = 0;
}

void mvcc_close(struct mvcc_store *store)
{
    if (store == NULL) return;
    assert(store->pin_count == 0);
    mvcc_compact_deinit(store);
    drop_changes(store);
    mvcc_index_free(store->index);
    free(store->changes);
    free(store->pins);
    free(store);
}

int64_t mvcc_revision(const struct mvcc_store *store)
{
    return store->revision;
}

int64_t mvcc_compact_revision(const struct mvcc_store *store)
{
    return store->compact_revision;
}

const struct mvcc_index *mvcc_index(const struct mvcc_store *store)
{
    return store->index;
}

const struct mvcc_leases *mvcc_leases(const struct mvcc_store *store)
{
    return &store->leases;
}

/* ---- reading ---- */

enum mvcc_status mvcc_check_revision(const struct mvcc_store *store, int64_t revision, int64_t *at)
{
    int64_t current = store->in_txn ? mvcc_txn_revision(store) : store->revision;
    *at = revision <= 0 ? current : revision;
    if (*at > current) return MVCC_FUTURE_REVISION;
    return *at < store->compact_revision ? MVCC_COMPACTED : MVCC_OK;
}

bool mvcc_find(const struct mvcc_store *store, struct bytes key, int64_t at, struct mvcc_entry *entry)
{
    return mvcc_index_find(store->index, key, at, entry);
}

struct error *mvcc_read(struct mvcc_store *store, struct mvcc_revision revision, struct bytes *key_value)
{
    struct mvcc_row_key row = mvcc_row_key_of(revision, false);
    bool found;
    TRY(backend_get(store->backend, BUCKET_KEY, mvcc_row_key_bytes(&row), &found, key_value));
    if (found) return NULL;
    return error_new(ERROR_CORRUPT, "revision %lld.%lld is in the index but not in the backend",
                     (long long)revision.main, (long long)revision.sub);
}

struct error *mvcc_get(struct mvcc_store *store, struct bytes key, int64_t at, bool *found,
                       struct mvcc_entry *entry, struct bytes *key_value)
{
    *found = mvcc_find(store, key, at, entry);
    return *found ? mvcc_read(store, entry->modified, key_value) : NULL;
}

struct mvcc_span mvcc_span_of(struct bytes key, struct bytes range_end, struct buf *scratch)
{
    if (range_end.size > 0) return (struct mvcc_span){key, range_end, key_is_open_end(range_end)};
    buf_clear(scratch);
    buf_append_bytes(scratch, key);
    buf_append_byte(scratch, 0);
    return (struct mvcc_span){key, buf_bytes(scratch), false};
}

struct scan {
    mvcc_visit_row *visit;
    void *context;
    struct error *error;
};

/* The key is the first field of what we and etcd write, so the value need not be walked. */
static bool parse_key(struct bytes encoded, struct bytes *key)
{
    struct wire_reader reader = wire_reader_of(encoded);
    struct wire_field field;
    if (wire_next(&reader, &field) && field.number == 1 && field.type == WIRE_LENGTH) {
        *key = field.bytes;
        return true;
    }
    struct mvcc_key_value key_value;
    bool valid = mvcc_key_value_parse(encoded, &key_value);
    *key = key_value.key;
    return valid;
}

static bool visit_scanned(void *context, struct bytes row, struct bytes value)
{
    struct scan *scan = context;
    struct mvcc_row parsed = {.key_value = value};
    if (mvcc_row_key_parse(row, &parsed.revision, &parsed.deleted) && parse_key(value, &parsed.key))
        return scan->visit(scan->context, &parsed);
    scan->error = error_new(ERROR_CORRUPT, "bucket key: a row of %zu bytes cannot be understood", row.size);
    return false;
}

struct error *mvcc_scan(struct mvcc_store *store, struct mvcc_revision from, int64_t last,
                        mvcc_visit_row *visit, void *context)
{
    struct mvcc_row_key first = mvcc_row_key_of(from, false);
    uint8_t end[8];
    be64_put(end, (uint64_t)last + 1);
    struct scan scan = {visit, context, NULL};
    TRY(backend_scan(store->backend, BUCKET_KEY, mvcc_row_key_bytes(&first), bytes_of(end, sizeof(end)),
                     visit_scanned, &scan));
    return scan.error;
}

void mvcc_pin(struct mvcc_store *store, int64_t revision)
{
    if (store->pin_count == store->pin_capacity) {
        store->pin_capacity = store->pin_capacity == 0 ? 8 : store->pin_capacity * 2;
        store->pins = mem_realloc(store->pins, store->pin_capacity * sizeof(int64_t));
    }
    store->pins[store->pin_count++] = revision;
}

void mvcc_unpin(struct mvcc_store *store, int64_t revision)
{
    size_t i = 0;
    while (i < store->pin_count && store->pins[i] != revision) i++;
    assert(i < store->pin_count);
    store->pins[i] = store->pins[--store->pin_count];
}

/* ---- write transactions ---- */

void mvcc_txn_begin(struct mvcc_store *store)
{
    assert(!store->in_txn);
    drop_changes(store);
    store->in_txn = true;
}

int64_t mvcc_txn_revision(const struct mvcc_store *store)
{
    assert(store->in_txn);
    return store->revision + (store->change_count > 0 ? 1 : 0);
}

int64_t mvcc_txn_write_revision(const struct mvcc_store *store)
{
    return store->revision + 1;
}

static struct mvcc_revision next_revision(const struct mvcc_store *store)
{
    assert(store->in_txn && store->change_count <= MVCC_SUB_MAX);
    return (struct mvcc_revision){store->revision + 1, (int64_t)store->change_count};
}

/* Writes the row, whose value is the first `size` bytes of the blob, and notes the change. Takes `blob`. */
static void add_change(struct mvcc_store *store, struct mvcc_revision revision, bool deleted, int64_t created,
                       size_t key_size, struct blob *blob, size_t size)
{
    struct mvcc_row_key row = mvcc_row_key_of(revision, deleted);
    backend_put_blob(store->backend, BUCKET_KEY, mvcc_row_key_bytes(&row), blob, size);
    if (store->change_count == store->change_capacity) {
        store->change_capacity = store->change_capacity == 0 ? 16 : store->change_capacity * 2;
        store->changes = mem_realloc(store->changes, store->change_capacity * sizeof(store->changes[0]));
    }
    /* The key is the first field: a tag of one byte, its size, the key. */
    struct bytes key = bytes_of(blob->data + 1 + wire_varint_size(key_size), key_size);
    store->changes[store->change_count++] = (struct mvcc_change){revision, deleted, key, created, blob};
}

void mvcc_txn_put(struct mvcc_store *store, struct bytes key, struct bytes value, int64_t lease)
{
    assert(key.size > 0);
    struct mvcc_revision revision = next_revision(store);
    struct mvcc_entry entry;
    mvcc_index_put(store->index, key, revision, &entry);
    struct mvcc_key_value key_value = {key, entry.created, revision.main, entry.version, value, lease};
    struct blob *blob = blob_new(mvcc_key_value_size(&key_value));
    mvcc_key_value_put(blob->data, &key_value);
    add_change(store, revision, false, entry.created, key.size, blob, blob->size);
    if (store->leases.attach == NULL) return;
    if (lease != 0)
        store->leases.attach(store->leases.context, lease, key);
    else if (entry.version > 1)
        store->leases.detach(store->leases.context, key);
}

static void delete_at(struct mvcc_store *store, struct mvcc_index_cursor *cursor, struct bytes key)
{
    struct mvcc_revision revision = next_revision(store);
    struct mvcc_key_value key_value = {.key = key, .modified = revision.main};
    struct blob *blob = blob_new(mvcc_key_value_size(&key_value));
    mvcc_key_value_put(blob->data, &key_value);
    size_t key_size = key.size;
    mvcc_index_cursor_tombstone(store->index, cursor, revision); /* `key` is gone with this */
    add_change(store, revision, true, 0, key_size, blob, wire_bytes_field_size(1, key_size));
    if (store->leases.detach != NULL)
        store->leases.detach(store->leases.context, store->changes[store->change_count - 1].key);
}

uint64_t mvcc_txn_delete(struct mvcc_store *store, const struct mvcc_span *span)
{
    struct mvcc_index_cursor cursor = mvcc_index_seek(store->index, span->from, false);
    struct mvcc_entry entry;
    uint64_t deleted = 0;
    int alive;
    while ((alive = mvcc_index_next(&cursor, INT64_MAX, &entry)) >= 0) {
        if (!span->open && bytes_compare(entry.key, span->to) >= 0) break;
        if (alive == 0 || entry.key.size == 0) continue;
        delete_at(store, &cursor, entry.key);
        deleted++;
    }
    return deleted;
}

const struct mvcc_change *mvcc_txn_end(struct mvcc_store *store, size_t *count)
{
    assert(store->in_txn);
    if (store->change_count > 0) store->revision++;
    store->in_txn = false;
    *count = store->change_count;
    return store->changes;
}
