#include "base/memory.h"
#include "bolt/db.h"
#include "storage/fs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Keys of a subtree lie in [low, high); empty bounds are open. */
struct range {
    struct bytes low;
    struct bytes high;
};

struct check {
    const struct bolt_tx *tx;
    void (*report)(void *context, const char *violation);
    void *context;
    uint64_t violations;
    uint64_t *seen; /* bit per page */
    uint32_t rows;  /* checksum of those seen */
};

static void violation(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void violation(struct check *check, const char *format, ...)
{
    va_list arguments;
    char text[512];
    check->violations++;
    if (check->report == NULL) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    check->report(check->context, text);
}

/* Takes an error of the page layer as a violation. True: there was one. */
static bool is_violation(struct check *check, struct error *error)
{
    if (error == NULL) return false;
    violation(check, "%s", error->text);
    error_free(error);
    return true;
}

static bool seen_get(const struct check *check, uint64_t page)
{
    return (check->seen[page / 64] >> (page % 64) & 1) != 0;
}

/* ---- Reachable pages ---- */

static bool first_reference(struct check *check, const struct page *page)
{
    bool first = true;
    for (uint64_t id = page->id; id <= page->id + page->overflow; id++) {
        if (seen_get(check, id)) {
            violation(check, "page %" PRIu64 ": multiple references", id);
            first = false;
        }
        check->seen[id / 64] |= (uint64_t)1 << (id % 64);
    }
    return first;
}

static void check_tree(struct check *check, uint64_t id, struct range range, unsigned depth,
                       unsigned nesting);

static void check_bucket(struct check *check, const struct element *element, unsigned nesting);

static void check_child(struct check *check, const struct page *page, uint32_t index,
                        const struct element *element, struct range range, unsigned depth, unsigned nesting)
{
    struct range below = {.low = element->key, .high = range.high};
    struct element next = {0};
    if (index + 1 < page->count && page_locate(page, index + 1, &next)) below.high = next.key;
    check_tree(check, element->child, below, depth + 1, nesting);
}

static void check_elements(struct check *check, const struct page *page, struct range range, unsigned depth,
                           unsigned nesting)
{
    struct bytes previous = BYTES_EMPTY;
    uint64_t bytes = PAGE_HEADER_SIZE;
    for (uint32_t i = 0; i < page->count; i++) {
        struct element element = {0};
        if (!page_locate(page, i, &element)) {
            is_violation(check, page_element_error(page, i));
            return;
        }
        bytes += PAGE_ELEMENT_SIZE + element.key.size + element.value.size;
        if (bytes > page->size) {
            violation(check, "page %" PRIu64 ": its elements overlap", page->id);
            return;
        }
        if (i == 0 && bytes_compare(element.key, range.low) < 0)
            violation(check, "page %" PRIu64 ": the first key needs to be >= the key in the ancestor",
                      page->id);
        /* bbolt finds a page's place in its parent by this key; otherwise its next commit lists the page
         * twice. */
        if (i == 0 && range.low.size > 0 && bytes_compare(element.key, range.low) > 0)
            violation(check, "page %" PRIu64 ": the first key needs to be the key in the ancestor", page->id);
        if (i > 0 && bytes_compare(element.key, previous) <= 0)
            violation(check, "page %" PRIu64 ": key %" PRIu32 " needs to be > the key before it", page->id,
                      i);
        if (range.high.size > 0 && bytes_compare(element.key, range.high) >= 0)
            violation(check,
                      "page %" PRIu64 ": key %" PRIu32
                      " needs to be < the key of the next element in the ancestor",
                      page->id, i);
        if (element.key.size > BOLT_KEY_MAX)
            violation(check, "page %" PRIu64 ": key %" PRIu32 " is too large", page->id, i);
        previous = element.key;
        if (page->leaf) check->rows += row_checksum(element.key, element.value, element.is_bucket);
        if (!page->leaf)
            check_child(check, page, i, &element, range, depth, nesting);
        else if (element.is_bucket && page->id == 0)
            violation(check, "inline bucket: it holds a bucket");
        else if (element.is_bucket)
            check_bucket(check, &element, nesting + 1);
        else if (nesting == 0)
            violation(check, "page %" PRIu64 ": row %" PRIu32 " of the root bucket is no bucket", page->id,
                      i);
    }
}

static void check_tree(struct check *check, uint64_t id, struct range range, unsigned depth, unsigned nesting)
{
    struct page page;
    if (depth == BOLT_DEPTH_MAX) {
        violation(check, "page %" PRIu64 ": deeper than %d pages below its bucket's root", id,
                  BOLT_DEPTH_MAX);
        return;
    }
    if (is_violation(check, bolt_tx_page(check->tx, id, &page))) return;
    if (first_reference(check, &page)) check_elements(check, &page, range, depth, nesting);
}

static void check_bucket(struct check *check, const struct element *element, unsigned nesting)
{
    struct bucket_header header;
    struct range all = {BYTES_EMPTY, BYTES_EMPTY};
    if (nesting > BOLT_NESTING_MAX) {
        violation(check, "buckets are nested more than %d deep", BOLT_NESTING_MAX);
        return;
    }
    if (is_violation(check, bucket_header_decode(element->value, element->key, &header))) return;
    if (header.root != 0) {
        check_tree(check, header.root, all, 0, nesting);
        return;
    }
    struct page page;
    if (is_violation(check, page_open_inline(&page, header.inline_page))) return;
    check_elements(check, &page, all, 0, nesting);
}

/* ---- Free pages ---- */

/* Marks what the file's own freelist names, and its pages, as seen; they must not be yet. */
static void check_stored_freelist(struct check *check)
{
    const struct meta *meta = &check->tx->meta;
    const uint8_t *ids;
    uint64_t count;
    uint32_t overflow;
    struct error *error = page_open_freelist(check->tx->map->data, meta->page_size, meta->high_water,
                                             meta->freelist, &ids, &count, &overflow);
    if (is_violation(check, error)) return;
    struct page own = {.id = meta->freelist, .overflow = overflow};
    first_reference(check, &own);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = load64(ids + i * 8);
        if (id < 2 || id >= meta->high_water)
            violation(check, "page %" PRIu64 ": freed, but not in the file", id);
        else if (seen_get(check, id))
            violation(check, "page %" PRIu64 ": reachable freed", id);
        else
            check->seen[id / 64] |= (uint64_t)1 << (id % 64);
    }
    for (uint64_t id = 2; id < meta->high_water; id++)
        if (!seen_get(check, id)) violation(check, "page %" PRIu64 ": unreachable unfreed", id);
}

/* The writer knows what is free without a list in the file. */
static void check_known_free_pages(struct check *check)
{
    const struct freelist *list = &check->tx->db->freelist;
    for (uint64_t id = 2; id < check->tx->meta.high_water; id++) {
        bool spare = freelist_is_free(list, id) || freelist_is_pending(list, id);
        if (spare && seen_get(check, id)) violation(check, "page %" PRIu64 ": reachable freed", id);
        if (!spare && !seen_get(check, id)) violation(check, "page %" PRIu64 ": unreachable unfreed", id);
    }
}

static void check_rows(struct check *check)
{
    uint32_t told;
    if (check->violations > 0 || check->tx->db->any_rows || !meta_rows_checksum(&check->tx->meta, &told) ||
        told == check->rows)
        return;
    violation(check, "the checksum of all rows is %08" PRIx32 ", not %08" PRIx32, check->rows, told);
}

/* The meta page of this state. Only where no writer may be half way through writing it. */
static struct error *check_meta(struct check *check)
{
    uint8_t page[META_PAGE_BYTES];
    size_t size;
    struct meta meta;
    const struct bolt_tx *tx = check->tx;
    uint64_t slot = tx->meta.txid % 2;
    if (!tx->writable && !tx->db->read_only) return NULL;
    TRY(fs_file_pread(tx->db->file, page, sizeof(page), slot * tx->meta.page_size, &size));
    const char *wrong = size < sizeof(page) ? "the file ends before it" : meta_decode(page, &meta);
    if (wrong != NULL) violation(check, "page %" PRIu64 ": meta page: %s", slot, wrong);
    return NULL;
}

struct error *bolt_check(const struct bolt_tx *tx, void (*report)(void *context, const char *violation),
                         void *context, uint64_t *violations)
{
    struct check check = {.tx = tx, .report = report, .context = context};
    size_t words = (size_t)(tx->meta.high_water / 64 + 1);
    check.seen = mem_zalloc(words, sizeof(uint64_t));
    struct error *error = check_meta(&check);
    if (error == NULL) {
        struct range all = {BYTES_EMPTY, BYTES_EMPTY};
        check_tree(&check, tx->meta.root, all, 0, 0);
        check_rows(&check);
        if (tx->meta.freelist != FREELIST_NOT_STORED)
            check_stored_freelist(&check);
        else if (tx->writable && !tx->changed)
            check_known_free_pages(&check);
    }
    free(check.seen);
    *violations = check.violations;
    return error;
}
