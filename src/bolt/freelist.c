#include "bolt/freelist.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { WORD_BITS = 64 };

void spans_deinit(struct spans *spans)
{
    free(spans->items);
    *spans = (struct spans){0};
}

void spans_add(struct spans *spans, uint64_t page, uint64_t count)
{
    if (spans->count > 0) {
        struct span *last = &spans->items[spans->count - 1];
        if (last->page + last->count == page) {
            last->count += count;
            return;
        }
    }
    if (spans->count == spans->capacity) {
        spans->capacity = spans->capacity == 0 ? 64 : spans->capacity * 2;
        spans->items = mem_realloc(spans->items, spans->capacity * sizeof(*spans->items));
    }
    spans->items[spans->count++] = (struct span){page, count};
}

/* ---- Bitmaps ---- */

static bool bit_get(const uint64_t *map, uint64_t page)
{
    return (map[page / WORD_BITS] >> (page % WORD_BITS) & 1) != 0;
}

static void bit_set(uint64_t *map, uint64_t page)
{
    map[page / WORD_BITS] |= (uint64_t)1 << (page % WORD_BITS);
}

static void bit_clear(uint64_t *map, uint64_t page)
{
    map[page / WORD_BITS] &= ~((uint64_t)1 << (page % WORD_BITS));
}

static bool bits_clear(const uint64_t *map, uint64_t page, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (bit_get(map, page + i)) return false;
    return true;
}

/* Length of the run of set bits that starts at `page`; `most` if it is longer. */
static uint64_t run_length(const struct freelist *list, uint64_t page, uint64_t most)
{
    uint64_t length = 0;
    while (length < most && page + length < list->limit) {
        uint64_t at = page + length;
        uint64_t in_word = WORD_BITS - at % WORD_BITS;
        uint64_t unset = ~(list->free[at / WORD_BITS] >> (at % WORD_BITS));
        uint64_t set = unset == 0 ? WORD_BITS : (uint64_t)__builtin_ctzll(unset);
        length += set < in_word ? set : in_word;
        if (set < in_word) break;
    }
    return length < most ? length : most;
}

/* ---- The list ---- */

void freelist_init(struct freelist *list)
{
    *list = (struct freelist){.hopeless = UINT64_MAX};
    STAILQ_INIT(&list->batches);
}

void freelist_deinit(struct freelist *list)
{
    while (!STAILQ_EMPTY(&list->batches)) {
        struct freelist_batch *batch = STAILQ_FIRST(&list->batches);
        STAILQ_REMOVE_HEAD(&list->batches, link);
        spans_deinit(&batch->spans);
        free(batch);
    }
    spans_deinit(&list->current);
    free(list->free);
    free(list->pending);
}

void freelist_extend(struct freelist *list, uint64_t high_water)
{
    assert(high_water >= list->limit);
    size_t words = (size_t)(high_water / WORD_BITS + 1);
    if (words > list->words) {
        words += words / 4 + 64;
        list->free = mem_realloc(list->free, words * sizeof(uint64_t));
        list->pending = mem_realloc(list->pending, words * sizeof(uint64_t));
        memset(list->free + list->words, 0, (words - list->words) * sizeof(uint64_t));
        memset(list->pending + list->words, 0, (words - list->words) * sizeof(uint64_t));
        list->words = words;
    }
    list->limit = high_water;
}

/* Bits of free pages were set: searches that failed may succeed again. */
static void became_free(struct freelist *list, uint64_t page, uint64_t count)
{
    list->free_count += count;
    if (page / WORD_BITS < list->first_word) list->first_word = (size_t)(page / WORD_BITS);
    list->hopeless = UINT64_MAX;
}

bool freelist_add(struct freelist *list, uint64_t page, uint64_t count)
{
    if (page < 2 || page >= list->limit || count > list->limit - page) return false;
    if (!bits_clear(list->free, page, count) || !bits_clear(list->pending, page, count)) return false;
    for (uint64_t i = 0; i < count; i++) bit_set(list->free, page + i);
    became_free(list, page, count);
    return true;
}

bool freelist_allocate(struct freelist *list, uint64_t count, uint64_t *page)
{
    assert(count > 0);
    if (count > list->free_count || count >= list->hopeless) return false;
    bool first = true;
    for (size_t word = list->first_word; word * WORD_BITS < list->limit;) {
        if (list->free[word] == 0) {
            word++;
            continue;
        }
        if (first) list->first_word = word;
        first = false;
        uint64_t at = word * WORD_BITS, bits = list->free[word];
        while (bits != 0) {
            uint64_t start = at + (uint64_t)__builtin_ctzll(bits);
            uint64_t length = run_length(list, start, count);
            if (length == count) {
                for (uint64_t i = 0; i < count; i++) bit_clear(list->free, start + i);
                list->free_count -= count;
                *page = start;
                return true;
            }
            uint64_t past = start + length;
            if (past / WORD_BITS != word) {
                word = (size_t)(past / WORD_BITS) - 1; /* the run is too short: go on behind it */
                break;
            }
            bits &= ~(uint64_t)0 << (past % WORD_BITS);
        }
        word++;
    }
    list->hopeless = count;
    return false;
}

bool freelist_give_up(struct freelist *list, uint64_t page, uint64_t count)
{
    if (page < 2 || page >= list->limit || count > list->limit - page) return false;
    if (!bits_clear(list->free, page, count) || !bits_clear(list->pending, page, count)) return false;
    for (uint64_t i = 0; i < count; i++) bit_set(list->pending, page + i);
    list->pending_count += count;
    spans_add(&list->current, page, count);
    return true;
}

void freelist_commit(struct freelist *list, uint64_t txid)
{
    if (list->current.count == 0) return;
    struct freelist_batch *batch = mem_alloc(sizeof(*batch));
    batch->txid = txid;
    batch->spans = list->current;
    list->current = (struct spans){0};
    STAILQ_INSERT_TAIL(&list->batches, batch, link);
}

static void clear_pending(struct freelist *list, const struct spans *spans)
{
    for (size_t i = 0; i < spans->count; i++) {
        const struct span *span = &spans->items[i];
        for (uint64_t page = span->page; page < span->page + span->count; page++)
            bit_clear(list->pending, page);
        list->pending_count -= span->count;
    }
}

void freelist_forget(struct freelist *list)
{
    clear_pending(list, &list->current);
    list->current.count = 0;
}

void freelist_release(struct freelist *list, uint64_t txid)
{
    struct freelist_batch *batch;
    while ((batch = STAILQ_FIRST(&list->batches)) != NULL && batch->txid <= txid) {
        STAILQ_REMOVE_HEAD(&list->batches, link);
        clear_pending(list, &batch->spans);
        for (size_t i = 0; i < batch->spans.count; i++) {
            bool added = freelist_add(list, batch->spans.items[i].page, batch->spans.items[i].count);
            assert(added); /* they were pending, so not free */
        }
        spans_deinit(&batch->spans);
        free(batch);
    }
}

bool freelist_is_free(const struct freelist *list, uint64_t page)
{
    return page < list->limit && bit_get(list->free, page);
}

bool freelist_is_pending(const struct freelist *list, uint64_t page)
{
    return page < list->limit && bit_get(list->pending, page);
}
