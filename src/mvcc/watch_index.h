/* watch_index: from a key to the groups of watchers that want it.
 *
 * All watchers of the same key or range share one group. Single keys are found by a hash table. Ranges are
 * kept in a treap ordered by their start, where every node also knows the largest end below it, so that the
 * ranges containing a key are found without looking at the others (an interval tree):
 *
 *                 [d, k) end k
 *                 /          \
 *        [b, c) end f       [m, n) end open
 *             \
 *            [c, f) end f
 *
 * Private to the watch hub.
 */
#ifndef MVCC_WATCH_INDEX_H
#define MVCC_WATCH_INDEX_H

#include "base/list.h"
#include "base/rng.h"
#include "mvcc/index.h"

struct watcher;
TAILQ_HEAD(watcher_list, watcher);

struct watch_group {
    struct mvcc_span span; /* a single key: from == to, not open */
    bool single;
    size_t references;
    struct watcher_list synced;
    struct watcher_list catching; /* those of the present catch-up slice */

    UT_hash_handle hh; /* single keys */
    struct watch_group *left, *right;
    const struct watch_group *last_end; /* of this and all below: the one that ends last */
    uint64_t priority;
    uint8_t bytes[]; /* what the span points to */
};

struct watch_index {
    struct watch_group *keys;
    struct watch_group *ranges;
    size_t range_count;
    struct rng rng;
};

void watch_index_init(struct watch_index *index, uint64_t seed);
/* Every group must have been released. */
void watch_index_deinit(struct watch_index *index);

/* The group of a single key, or of a range, which must not be empty; made when it is not there. One
 * reference. */
struct watch_group *watch_index_key(struct watch_index *index, struct bytes key);
struct watch_group *watch_index_range(struct watch_index *index, const struct mvcc_span *span);
void watch_index_release(struct watch_index *index, struct watch_group *group);

/* Calls visit for every group that contains `key`. visit must not change the index. */
typedef void watch_index_visit(void *context, struct watch_group *group);
void watch_index_match(const struct watch_index *index, struct bytes key, watch_index_visit *visit,
                       void *context);

#endif
