/* store_state: what the files of the store share. Private to src/mvcc. */
#ifndef MVCC_STORE_STATE_H
#define MVCC_STORE_STATE_H

#include "base/buf.h"
#include "mvcc/store.h"

/* Whether anything at all is kept at a revision, found out by walking the index in slices. When nothing is,
 * etcd hashes every row instead of none below the compact revision, so this decides about hashes. */
struct kept_search {
    bool decided;
    bool any;
    bool keep_tombstone;
    bool begun;
    struct buf last_key; /* looked at so far */
};

/* A checksum over rows in order, as etcd takes it. */
struct row_hasher {
    uint32_t hash;
    int64_t revision;         /* rows above are left out */
    int64_t compact_revision; /* rows up to here count only when they are still seen at `revision` */
    struct kept_search kept;
};

struct compaction {
    int64_t revision;
    bool store_hash; /* false: it began in an earlier process or before the one before it was done */
    struct mvcc_revision next;
    struct row_hasher hasher;
    struct compaction *queued; /* behind it */
};

struct mvcc_store {
    struct backend *backend;
    struct mvcc_leases leases;
    const struct logger *logger;
    struct mvcc_index *index;
    int64_t revision;
    int64_t compact_revision;

    bool in_txn;
    struct mvcc_change *changes;
    size_t change_count;
    size_t change_capacity;

    struct compaction *compactions; /* the oldest, at work */
    int64_t finished;
    uint64_t compacted_rows;
    int64_t *pins;
    size_t pin_count;
    size_t pin_capacity;

    struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX]; /* by revision */
    size_t hash_count;
};

/* Looks at up to `limit` keys of the index. */
void kept_search_step(struct kept_search *search, const struct mvcc_index *index, int64_t at, size_t limit);
void row_hasher_init(struct row_hasher *hasher, int64_t revision, int64_t compact_revision,
                     bool keep_tombstone);
void row_hasher_deinit(struct row_hasher *hasher);
/* True when rows may be added; looks at up to `limit` keys to get there. */
bool row_hasher_ready(struct row_hasher *hasher, const struct mvcc_index *index, size_t limit);
/* kept: whether the row is kept at the hasher's revision (mvcc_index_keeps); asked of those at or below its
 * compact revision when anything is. */
void row_hasher_add(struct row_hasher *hasher, const struct mvcc_row *row, bool kept);

void mvcc_remember_hash(struct mvcc_store *store, const struct mvcc_hash *hash);

/* Takes up what an earlier process left: called at open. */
struct error *mvcc_compact_recover(struct mvcc_store *store) __attribute__((warn_unused_result));
void mvcc_compact_deinit(struct mvcc_store *store);

#endif
