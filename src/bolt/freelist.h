/* freelist: which pages of the file may be written.
 *
 * A page is used, free, or pending: given up by a transaction, but perhaps still read by an older one. Both
 * sets are bitmaps over all pages below the high-water mark (an 8 GiB file needs 256 KiB each), which makes
 * giving a page back, telling whether it is free and finding the lowest free one cheap and never depends on
 * how scattered the free pages are.
 *
 *      used ── freelist_give_up ──▶ pending ── freelist_release, once no older reader is open ──▶ free
 *        ▲                                                                                         │
 *        └───────────────────────────────── freelist_allocate ─────────────────────────────────────┘
 *
 * Pages given up by the running transaction are pending from that moment but belong to no batch;
 * freelist_commit makes them one, freelist_forget takes it back. Writer's thread only.
 */
#ifndef BOLT_FREELIST_H
#define BOLT_FREELIST_H

#include "base/bytes.h"

#include <sys/queue.h>

struct span {
    uint64_t page;
    uint64_t count;
};

struct spans {
    struct span *items;
    size_t count;
    size_t capacity;
};

void spans_deinit(struct spans *spans);
void spans_add(struct spans *spans, uint64_t page, uint64_t count);

/* What one committed transaction gave up. */
struct freelist_batch {
    STAILQ_ENTRY(freelist_batch) link;
    uint64_t txid;
    struct spans spans;
};

struct freelist {
    uint64_t *free;    /* bit per page */
    uint64_t *pending; /* bit per page */
    size_t words;
    uint64_t limit; /* pages below it are known */
    uint64_t free_count;
    uint64_t pending_count;
    size_t first_word;    /* no free page in the words before */
    uint64_t hopeless;    /* runs of this length were looked for in vain since pages were last freed */
    struct spans current; /* given up by the running transaction */
    STAILQ_HEAD(, freelist_batch) batches;
};

void freelist_init(struct freelist *list);
void freelist_deinit(struct freelist *list);

/* Pages from the former limit up to `high_water` are now known, and used. */
void freelist_extend(struct freelist *list, uint64_t high_water);
/* Used pages become free: what opening found, or an allocation that is taken back. False: one is not used. */
bool freelist_add(struct freelist *list, uint64_t page, uint64_t count) __attribute__((warn_unused_result));
/* The lowest run of `count` free pages becomes used; false when there is none. */
bool freelist_allocate(struct freelist *list, uint64_t count, uint64_t *page)
    __attribute__((warn_unused_result));

/* False: one of the pages is free or given up already. */
bool freelist_give_up(struct freelist *list, uint64_t page, uint64_t count)
    __attribute__((warn_unused_result));
void freelist_commit(struct freelist *list, uint64_t txid);
void freelist_forget(struct freelist *list);
/* Frees what was given up in transactions up to `txid`. */
void freelist_release(struct freelist *list, uint64_t txid);

bool freelist_is_free(const struct freelist *list, uint64_t page);
bool freelist_is_pending(const struct freelist *list, uint64_t page);

#endif
