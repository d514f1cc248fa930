/* index: which revisions each key has, in key order, in memory.
 *
 * The backend is ordered by revision; this is the way from a key to its rows. Per key it holds what etcd
 * calls the generations: runs of puts, each ended by a tombstone. Values stay in the backend.
 *
 *     B+tree ── leaf ── pointers ──▶ record: newest revision, key bytes; and only when there is more to say
 *                                    the creation and version, or a history: all revisions, oldest first
 *
 * Nearly every key of a real store has one revision left after compaction, so that case costs one small
 * allocation (16 bytes and the key, plus 16 when the key was ever updated) and a slot of 8 bytes.
 *
 * Revisions of a key must be put in ascending order. Lookups say `at`: the state after that main revision;
 * pass INT64_MAX for the newest. Nothing here knows which revisions were compacted away: asking below the
 * compaction is the caller's mistake and gets a wrong answer.
 *
 * One thread. Keys handed out are borrowed until the next change of the index.
 */
#ifndef MVCC_INDEX_H
#define MVCC_INDEX_H

#include "mvcc/revision.h"

/* Bytes; no request can hold a longer one. */
enum { MVCC_KEY_MAX = (1 << 30) - 1 };

struct mvcc_index;
struct mvcc_index_leaf;

/* A live key as it was at some revision. */
struct mvcc_entry {
    struct bytes key;
    struct mvcc_revision modified;
    int64_t created;
    int64_t version;
};

/* The keys from <= key < to; `open` means no upper bound and `to` is not looked at. */
struct mvcc_span {
    struct bytes from;
    struct bytes to;
    bool open;
};

struct mvcc_index *mvcc_index_new(void) __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void mvcc_index_free(struct mvcc_index *index);

/* ---- changes ---- */

/* A put of `key` at `revision`; *entry gets its creation and version (entry->key is the index's own copy). */
void mvcc_index_put(struct mvcc_index *index, struct bytes key, struct mvcc_revision revision,
                    struct mvcc_entry *entry);
/* A delete at `revision`. False, and no change, when the key is not alive. */
bool mvcc_index_tombstone(struct mvcc_index *index, struct bytes key, struct mvcc_revision revision);
/* A row found on disk at start, in ascending order of revisions. `created` and `version` are the row's own
 * and count only for the first row of a key: history before it was compacted away. A tombstone may be the
 * first one. */
void mvcc_index_restore(struct mvcc_index *index, struct bytes key, struct mvcc_revision revision,
                        bool tombstone, int64_t created, int64_t version);

/* Drops what nobody may ask for once `at` is compacted: all revisions of the key older than the newest one at
 * or before `at`, and that one too when it is a tombstone before `at` (one exactly at `at` stays until the
 * next compaction, because a watch may still start there). A key with no revision left is removed. Compacting
 * key by key, in any order and over any time, is as good as all at once. Returns whether `revision`, one at
 * or before `at`, is among what stays. */
bool mvcc_index_compact(struct mvcc_index *index, struct bytes key, int64_t at,
                        struct mvcc_revision revision);
/* Whether `revision` of `key` is (still) in the index. */
bool mvcc_index_has(const struct mvcc_index *index, struct bytes key, struct mvcc_revision revision);
/* Whether `revision` is what a compaction at `at` keeps of `key`: the newest one at or before `at`, unless
 * that is a tombstone before `at`. `keep_tombstone` false: nor a tombstone at `at`. */
bool mvcc_index_keeps(const struct mvcc_index *index, struct bytes key, struct mvcc_revision revision,
                      int64_t at, bool keep_tombstone);

/* ---- lookups ---- */

/* False when the key was absent at `at`. */
bool mvcc_index_find(const struct mvcc_index *index, struct bytes key, int64_t at, struct mvcc_entry *entry);
/* Live keys in the span at `at`. Takes O(log n) when nothing was changed after `at`, else O(keys in the
 * span). */
uint64_t mvcc_index_count(const struct mvcc_index *index, const struct mvcc_span *span, int64_t at);

/* A place in key order. Valid until the index changes, except by mvcc_index_cursor_tombstone. */
struct mvcc_index_cursor {
    struct mvcc_index_leaf *leaf;
    unsigned slot;
};

/* Before the first key >= `key`, or > `key` with `after`. */
struct mvcc_index_cursor mvcc_index_seek(const struct mvcc_index *index, struct bytes key, bool after);
/* The next key in order, alive or not: 1 and *entry when it was alive at `at`, 0 and only entry->key when
 * not, -1 at the end. */
int mvcc_index_next(struct mvcc_index_cursor *cursor, int64_t at, struct mvcc_entry *entry);
/* The next key has something that a compaction at `at` keeps (see mvcc_index_keeps). -1 at the end. */
int mvcc_index_next_kept(struct mvcc_index_cursor *cursor, int64_t at, bool keep_tombstone);
/* Deletes, at `revision`, the key that mvcc_index_next returned last, which must be alive. The cursor stays
 * valid. */
void mvcc_index_cursor_tombstone(struct mvcc_index *index, struct mvcc_index_cursor *cursor,
                                 struct mvcc_revision revision);

/* ---- statistics ---- */

/* Keys known, those with only tombstones included; live keys; all revisions. */
uint64_t mvcc_index_keys(const struct mvcc_index *index);
uint64_t mvcc_index_live_keys(const struct mvcc_index *index);
uint64_t mvcc_index_revisions(const struct mvcc_index *index);

/* Walks everything and asserts the invariants of tree, counts and histories. For tests. */
void mvcc_index_verify(const struct mvcc_index *index);

#endif
