#include "base/memory.h"
#include "mvcc/store_state.h"
#include "storage/backend.h"

#include <assert.h>
#include <stdlib.h>

/* Compaction removes, row by row in order of revision, what nobody may read any more, and takes the hash of
 * what it sees. The index is compacted along the way, key by key, when a row shows that the key has something
 * to drop: reads below the compact revision are refused from the start, so it does not matter when. Two rows
 * in meta make it resumable:
 *
 *     scheduledCompactRev    written when it is accepted
 *     finishedCompactRev     written with the last removal
 */
#define META_SCHEDULED BYTES_LITERAL("scheduledCompactRev")
#define META_FINISHED  BYTES_LITERAL("finishedCompactRev")

static void put_meta(struct mvcc_store *store, struct bytes name, int64_t revision)
{
    struct mvcc_row_key row = mvcc_row_key_of((struct mvcc_revision){revision, 0}, false);
    backend_put(store->backend, BUCKET_META, name, mvcc_row_key_bytes(&row));
}

static struct error *get_meta(struct mvcc_store *store, struct bytes name, int64_t *revision)
{
    bool found;
    struct bytes value;
    TRY(backend_get(store->backend, BUCKET_META, name, &found, &value));
    *revision = -1;
    if (!found) return NULL;
    struct mvcc_revision parsed;
    if (!mvcc_row_key_parse(value, &parsed, NULL) || parsed.main > MVCC_MAIN_MAX)
        return error_new(ERROR_CORRUPT, "meta row %.*s is no revision", (int)name.size,
                         (const char *)name.data);
    *revision = parsed.main;
    return NULL;
}

static void enqueue(struct mvcc_store *store, int64_t revision, bool store_hash)
{
    struct compaction *compaction = mem_zalloc(1, sizeof(*compaction));
    compaction->revision = revision;
    compaction->store_hash = store_hash;
    row_hasher_init(&compaction->hasher, revision, store->compact_revision, true);
    struct compaction **end = &store->compactions;
    while (*end != NULL) end = &(*end)->queued;
    *end = compaction;
    store->compact_revision = revision;
}

struct error *mvcc_compact_recover(struct mvcc_store *store)
{
    int64_t scheduled;
    TRY(get_meta(store, META_SCHEDULED, &scheduled));
    TRY(get_meta(store, META_FINISHED, &store->finished));
    store->compact_revision = store->finished;
    /* The newest rows may be the ones that were removed: revisions never go back. */
    if (store->revision < store->compact_revision) store->revision = store->compact_revision;
    if (store->revision < scheduled) store->revision = scheduled;
    if (scheduled > store->finished) {
        log_info(store->logger, "resume scheduled compaction",
                 LOG_INT("scheduled-compact-revision", scheduled));
        enqueue(store, scheduled, false);
    }
    return NULL;
}

static void dequeue(struct mvcc_store *store)
{
    struct compaction *compaction = store->compactions;
    store->compactions = compaction->queued;
    row_hasher_deinit(&compaction->hasher);
    free(compaction);
}

void mvcc_compact_deinit(struct mvcc_store *store)
{
    while (store->compactions != NULL) dequeue(store);
}

enum mvcc_status mvcc_compact_start(struct mvcc_store *store, int64_t revision)
{
    assert(!store->in_txn);
    if (revision <= store->compact_revision) return MVCC_COMPACTED;
    if (revision > store->revision) return MVCC_FUTURE_REVISION;
    /* Rows below the one before would be missing in the hash when that one is not through. */
    bool store_hash = store->finished == store->compact_revision;
    put_meta(store, META_SCHEDULED, revision);
    log_info(store->logger, "compact tree index", LOG_INT("revision", revision));
    enqueue(store, revision, store_hash);
    return MVCC_OK;
}

bool mvcc_compact_pending(const struct mvcc_store *store)
{
    if (store->compactions == NULL) return false;
    for (size_t i = 0; i < store->pin_count; i++)
        if (store->pins[i] < store->compactions->revision) return false;
    return true;
}

/* One slice. Rows to remove are gathered first: the scan must not be disturbed. */
struct slice {
    struct mvcc_store *store;
    struct compaction *compaction;
    size_t left;
    struct mvcc_row_key *removed;
    size_t removed_count;
};

static bool visit_compacted(void *context, const struct mvcc_row *row)
{
    struct slice *slice = context;
    struct compaction *compaction = slice->compaction;
    bool kept = mvcc_index_compact(slice->store->index, row->key, compaction->revision, row->revision);
    row_hasher_add(&compaction->hasher, row, kept);
    if (!kept) slice->removed[slice->removed_count++] = mvcc_row_key_of(row->revision, row->deleted);
    compaction->next = (struct mvcc_revision){row->revision.main, row->revision.sub + 1};
    return --slice->left > 0;
}

static void finish(struct mvcc_store *store, struct compaction *compaction)
{
    put_meta(store, META_FINISHED, compaction->revision);
    store->finished = compaction->revision;
    /* A hash at 0 would be mistaken for one of the current revision (etcd does that). */
    if (compaction->store_hash && compaction->revision > 0) {
        const struct row_hasher *hasher = &compaction->hasher;
        mvcc_remember_hash(store, &(struct mvcc_hash){hasher->hash, hasher->revision,
                                                      hasher->compact_revision, store->revision});
    }
    dequeue(store);
}

struct error *mvcc_compact_step(struct mvcc_store *store, size_t max_rows, int64_t *finished)
{
    assert(max_rows > 0 && !store->in_txn);
    *finished = 0;
    struct compaction *compaction = store->compactions;
    if (!mvcc_compact_pending(store) || !row_hasher_ready(&compaction->hasher, store->index, max_rows))
        return NULL;
    struct slice slice = {store, compaction, max_rows, NULL, 0};
    slice.removed = mem_alloc(max_rows * sizeof(slice.removed[0]));
    struct error *error = mvcc_scan(store, compaction->next, compaction->revision, visit_compacted, &slice);
    for (size_t i = 0; error == NULL && i < slice.removed_count; i++)
        backend_delete(store->backend, BUCKET_KEY, mvcc_row_key_bytes(&slice.removed[i]));
    free(slice.removed);
    if (error != NULL) return error;
    store->compacted_rows += slice.removed_count;
    if (slice.left > 0) {
        *finished = compaction->revision;
        finish(store, compaction);
    }
    return NULL;
}

int64_t mvcc_compact_finished(const struct mvcc_store *store)
{
    return store->finished;
}

uint64_t mvcc_compacted_rows(const struct mvcc_store *store)
{
    return store->compacted_rows;
}
