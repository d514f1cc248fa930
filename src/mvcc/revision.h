/* revision: the position of one change in the history of the store, and its row key in the backend.
 *
 * Every transaction that changes something gets one main revision; its changes are numbered by sub from 0.
 * Row keys of the bucket `key` sort bytewise as the revisions do:
 *
 *     BE64 main  '_'  BE64 sub          a put        (17 bytes)
 *     BE64 main  '_'  BE64 sub  't'     a tombstone  (18 bytes)
 */
#ifndef MVCC_REVISION_H
#define MVCC_REVISION_H

#include "base/bytes.h"

struct mvcc_revision {
    int64_t main;
    int64_t sub;
};

enum {
    MVCC_REVISION_SIZE = 17,
    MVCC_TOMBSTONE_SIZE = 18,
    /* Sub revisions beyond this are refused on reading: no transaction of ours can make them. */
    MVCC_SUB_MAX = 0x7fffffff,
};

/* Main revisions beyond this are refused at open: there must be room to count on. */
#define MVCC_MAIN_MAX (INT64_MAX - (INT64_C(1) << 48))

/* A row key in place: `data[0..size)`. */
struct mvcc_row_key {
    uint8_t data[MVCC_TOMBSTONE_SIZE];
    uint8_t size;
};

static inline struct bytes mvcc_row_key_bytes(const struct mvcc_row_key *key)
{
    return bytes_of(key->data, key->size);
}

static inline int mvcc_revision_compare(struct mvcc_revision a, struct mvcc_revision b)
{
    if (a.main != b.main) return a.main < b.main ? -1 : 1;
    return (a.sub > b.sub) - (a.sub < b.sub);
}

static inline struct mvcc_row_key mvcc_row_key_of(struct mvcc_revision revision, bool tombstone)
{
    struct mvcc_row_key key;
    be64_put(key.data, (uint64_t)revision.main);
    key.data[8] = '_';
    be64_put(key.data + 9, (uint64_t)revision.sub);
    key.data[17] = 't';
    key.size = tombstone ? MVCC_TOMBSTONE_SIZE : MVCC_REVISION_SIZE;
    return key;
}

/* False when `row` is not a row key. tombstone may be NULL. */
static inline bool mvcc_row_key_parse(struct bytes row, struct mvcc_revision *revision, bool *tombstone)
{
    if (row.size != MVCC_REVISION_SIZE && row.size != MVCC_TOMBSTONE_SIZE) return false;
    if (row.data[8] != '_' || (row.size == MVCC_TOMBSTONE_SIZE && row.data[17] != 't')) return false;
    uint64_t main = be64_get(row.data), sub = be64_get(row.data + 9);
    if (main > INT64_MAX || sub > MVCC_SUB_MAX) return false;
    *revision = (struct mvcc_revision){(int64_t)main, (int64_t)sub};
    if (tombstone != NULL) *tombstone = row.size == MVCC_TOMBSTONE_SIZE;
    return true;
}

#endif
