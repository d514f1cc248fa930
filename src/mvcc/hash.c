#include "base/crc32c.h"
#include "base/memory.h"
#include "mvcc/store_state.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the checksum over rows ----
 *
 * etcd's HashKV: crc32c of "key", then of row key and row value of every row that a reader at `revision`
 * could still need once everything up to `compact_revision` is compacted. Whether the rows were really
 * removed yet makes no difference.
 */

void kept_search_step(struct kept_search *search, const struct mvcc_index *index, int64_t at, size_t limit)
{
    if (search->decided) return;
    struct mvcc_index_cursor cursor = mvcc_index_seek(index, buf_bytes(&search->last_key), search->begun);
    search->begun = true;
    for (; limit > 0; limit--) {
        struct mvcc_index_cursor before = cursor;
        int kept = mvcc_index_next_kept(&cursor, at, search->keep_tombstone);
        if (kept != 0) {
            search->decided = true;
            search->any = kept > 0;
            return;
        }
        if (limit > 1) continue;
        struct mvcc_entry entry;
        mvcc_index_next(&before, at, &entry);
        buf_clear(&search->last_key);
        buf_append_bytes(&search->last_key, entry.key);
    }
}

void row_hasher_init(struct row_hasher *hasher, int64_t revision, int64_t compact_revision,
                     bool keep_tombstone)
{
    *hasher = (struct row_hasher){.hash = crc32c(0, "key", 3),
                                  .revision = revision,
                                  .compact_revision = compact_revision};
    hasher->kept.keep_tombstone = keep_tombstone;
    hasher->kept.decided = compact_revision <= 0; /* no row can be below */
}

void row_hasher_deinit(struct row_hasher *hasher)
{
    buf_deinit(&hasher->kept.last_key);
}

bool row_hasher_ready(struct row_hasher *hasher, const struct mvcc_index *index, size_t limit)
{
    kept_search_step(&hasher->kept, index, hasher->revision, limit);
    return hasher->kept.decided;
}

void row_hasher_add(struct row_hasher *hasher, const struct mvcc_row *row, bool kept)
{
    assert(hasher->kept.decided && row->revision.main <= hasher->revision);
    if (row->revision.main <= hasher->compact_revision && hasher->kept.any && !kept) return;
    /* Older releases removed a tombstone at the compact revision: hashes shall not tell. */
    if (row->revision.main == hasher->compact_revision && row->deleted) return;
    struct mvcc_row_key key = mvcc_row_key_of(row->revision, row->deleted);
    hasher->hash = crc32c(hasher->hash, key.data, key.size);
    hasher->hash = crc32c(hasher->hash, row->key_value.data, row->key_value.size);
}

/* ---- hashes of finished compactions ---- */

void mvcc_remember_hash(struct mvcc_store *store, const struct mvcc_hash *hash)
{
    if (store->hash_count == MVCC_STORED_HASHES_MAX) {
        memmove(store->hashes, store->hashes + 1, (MVCC_STORED_HASHES_MAX - 1) * sizeof(*hash));
        store->hash_count--;
    }
    assert(store->hash_count == 0 || store->hashes[store->hash_count - 1].revision < hash->revision);
    store->hashes[store->hash_count++] = *hash;
}

size_t mvcc_stored_hashes(const struct mvcc_store *store, struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX])
{
    memcpy(hashes, store->hashes, store->hash_count * sizeof(hashes[0]));
    return store->hash_count;
}

/* ---- HashKV ---- */

struct mvcc_hash_job {
    struct mvcc_store *store;
    int64_t current_revision;
    int64_t pinned;
    bool done;
    struct mvcc_hash result;
    struct row_hasher hasher;
    struct mvcc_revision next;
    size_t left; /* rows this slice may still take */
};

static struct mvcc_hash_job *job_new(struct mvcc_store *store)
{
    struct mvcc_hash_job *job = mem_zalloc(1, sizeof(*job));
    job->store = store;
    job->current_revision = store->revision;
    job->pinned = store->compact_revision;
    mvcc_pin(store, job->pinned);
    return job;
}

enum mvcc_status mvcc_hash_begin(struct mvcc_store *store, int64_t revision, struct mvcc_hash_job **job)
{
    assert(!store->in_txn);
    if (revision == 0) revision = store->revision;
    for (size_t i = 0; i < store->hash_count; i++) {
        if (store->hashes[i].revision != revision) continue;
        *job = job_new(store);
        (*job)->done = true;
        (*job)->result = store->hashes[i];
        (*job)->result.current_revision = store->revision;
        return MVCC_OK;
    }
    if (revision < store->compact_revision) return MVCC_COMPACTED;
    if (revision > store->revision) return MVCC_FUTURE_REVISION;
    *job = job_new(store);
    row_hasher_init(&(*job)->hasher, revision, store->compact_revision, false);
    return MVCC_OK;
}

/* Whether a row at or below the compact revision counts. When nothing at all is kept at the revision, etcd
 * takes every row that is there: those that the compaction leaves, when it is over. What it has yet to remove
 * shall not tell here, either: members that are not equally far would be taken for corrupt. */
static bool is_left(const struct mvcc_hash_job *job, const struct mvcc_row *row)
{
    const struct row_hasher *hasher = &job->hasher;
    int64_t at = hasher->kept.any ? hasher->revision : hasher->compact_revision;
    return mvcc_index_keeps(job->store->index, row->key, row->revision, at, false);
}

static bool visit_hashed(void *context, const struct mvcc_row *row)
{
    struct mvcc_hash_job *job = context;
    if (row->revision.main > job->hasher.compact_revision || is_left(job, row))
        row_hasher_add(&job->hasher, row, true);
    job->next = (struct mvcc_revision){row->revision.main, row->revision.sub + 1};
    return --job->left > 0;
}

struct error *mvcc_hash_step(struct mvcc_hash_job *job, size_t max_rows, bool *done)
{
    assert(max_rows > 0);
    *done = job->done;
    if (job->done || !row_hasher_ready(&job->hasher, job->store->index, max_rows)) return NULL;
    job->left = max_rows;
    TRY(mvcc_scan(job->store, job->next, job->hasher.revision, visit_hashed, job));
    if (job->left == 0) return NULL;
    job->result = (struct mvcc_hash){job->hasher.hash, job->hasher.revision, job->hasher.compact_revision,
                                     job->current_revision};
    *done = job->done = true;
    return NULL;
}

void mvcc_hash_finish(struct mvcc_hash_job *job, struct mvcc_hash *hash)
{
    if (hash != NULL) {
        assert(job->done);
        *hash = job->result;
    }
    mvcc_unpin(job->store, job->pinned);
    row_hasher_deinit(&job->hasher);
    free(job);
}
