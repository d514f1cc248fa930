/* key_record: what the index knows of one key: its bytes and its revisions. Private to src/mvcc.
 *
 * A record is one allocation. What follows its head depends on its kind:
 *
 *     FRESH     key                          one revision: the first of its generation, or a tombstone
 *     AGED      created, version, key        one put, older ones of its generation were compacted away
 *     HISTORY   pointer to a history, key    several revisions
 *
 * `main` and `sub` are those of the newest revision in every kind.
 */
#ifndef MVCC_KEY_RECORD_H
#define MVCC_KEY_RECORD_H

#include "mvcc/index.h"

#include <assert.h>

enum key_record_kind { KEY_RECORD_FRESH, KEY_RECORD_AGED, KEY_RECORD_HISTORY };

enum { KEY_RECORD_KIND_SHIFT = 30 };
_Static_assert(MVCC_KEY_MAX == (1u << KEY_RECORD_KIND_SHIFT) - 1, "kind and size share a word");
#define KEY_TOMBSTONE (1u << 31) /* in `sub`: that revision is a tombstone */

struct key_record {
    int64_t main;
    uint32_t sub;
    uint32_t head; /* kind, size of the key */
    uint8_t tail[];
};

/* One revision in a history. */
struct key_moment {
    int64_t main;
    uint32_t sub;   /* with KEY_TOMBSTONE */
    uint32_t start; /* the moment that its generation begins with */
};

/* A record of any kind, seen as a history. */
struct key_past {
    const struct key_moment *moments;
    uint32_t count;
    int64_t created;
    int64_t version;
    struct key_moment single;
};

static inline enum key_record_kind key_record_kind(const struct key_record *record)
{
    return (enum key_record_kind)(record->head >> KEY_RECORD_KIND_SHIFT);
}

static inline size_t key_record_tail_size(enum key_record_kind kind)
{
    static const uint8_t sizes[] = {[KEY_RECORD_FRESH] = 0,
                                    [KEY_RECORD_AGED] = 2 * sizeof(int64_t),
                                    [KEY_RECORD_HISTORY] = sizeof(void *)};
    return sizes[kind];
}

static inline struct bytes key_record_key(const struct key_record *record)
{
    return bytes_of(record->tail + key_record_tail_size(key_record_kind(record)),
                    record->head & MVCC_KEY_MAX);
}

static inline bool key_record_alive(const struct key_record *record)
{
    return (record->sub & KEY_TOMBSTONE) == 0;
}

static inline struct mvcc_revision key_moment_revision(const struct key_moment *moment)
{
    return (struct mvcc_revision){moment->main, (int64_t)(moment->sub & ~KEY_TOMBSTONE)};
}

static inline bool key_moment_is(const struct key_moment *moment, struct mvcc_revision revision)
{
    return moment->main == revision.main && (int64_t)(moment->sub & ~KEY_TOMBSTONE) == revision.sub;
}

static inline bool key_moment_tombstone(const struct key_moment *moment)
{
    return (moment->sub & KEY_TOMBSTONE) != 0;
}

/* `sub` of a moment. */
uint32_t key_moment_pack(struct mvcc_revision revision, bool tombstone);

/* A record with one revision. created and version do not count for a tombstone. */
struct key_record *key_record_new(struct bytes key, struct key_moment moment, int64_t created,
                                  int64_t version);
void key_record_free(struct key_record *record);
/* *past borrows from the record, and from itself: do not copy it. */
void key_record_past(const struct key_record *record, struct key_past *past);
/* False when the key was absent at `at`; then only entry->key is set. */
bool key_record_find(const struct key_record *record, int64_t at, struct mvcc_entry *entry);
/* One more revision. The record may move. */
void key_record_append(struct key_record **slot, struct mvcc_revision revision, bool tombstone);
/* Drops the oldest `drop` moments, of which some are left. The record may move. */
void key_record_trim(struct key_record **slot, uint32_t drop);
/* How many moments have main <= at: the newest of them is the one before. */
uint32_t key_past_until(const struct key_past *past, int64_t at);
/* The moments that a compaction at `at` keeps of those with main <= at: [*first, returned end). */
uint32_t key_past_kept(const struct key_past *past, int64_t at, uint32_t *first);
/* Asserts the invariants; returns the number of revisions. */
uint64_t key_record_verify(const struct key_record *record);

#endif
