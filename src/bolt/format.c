#include "bolt/page.h"

#include "base/crc32c.h"
#include "bolt/bolt.h"

#include <inttypes.h>

enum { META_VERSION = 2 };

#define META_MAGIC 0xed0cdaedU

/* ---- Meta pages ---- */

static uint64_t fnv1a(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3ULL;
    return hash;
}

const char *meta_decode(const uint8_t *page, struct meta *meta)
{
    const uint8_t *at = page + PAGE_HEADER_SIZE;
    if (load32(at) != META_MAGIC) return "it does not start with bolt's magic number";
    if (load32(at + 4) != META_VERSION) return "its format version is not 2";
    if (load64(at + 56) != fnv1a(at, 56)) return "its checksum does not match";
    *meta = (struct meta){
        .page_size = load32(at + 8),
        .root = load64(at + 16),
        .sequence = load64(at + 24),
        .freelist = load64(at + 32),
        .high_water = load64(at + 40),
        .txid = load64(at + 48),
    };
    uint32_t size = meta->page_size;
    if (size < PAGE_SIZE_MIN || size > PAGE_SIZE_MAX || (size & (size - 1)) != 0)
        return "its page size is impossible";
    if (meta->high_water < 3 || meta->high_water > PAGE_ID_LIMIT) return "its high-water mark is impossible";
    if (meta->root < 2 || meta->root >= meta->high_water) return "its root page lies outside the file";
    if (meta->freelist != FREELIST_NOT_STORED && (meta->freelist < 2 || meta->freelist >= meta->high_water))
        return "its freelist page lies outside the file";
    return NULL;
}

void meta_encode(uint8_t *page, uint64_t page_id, const struct meta *meta)
{
    page_header_encode(page, page_id, PAGE_META, 0, 0);
    uint8_t *at = page + PAGE_HEADER_SIZE;
    store32(at, META_MAGIC);
    store32(at + 4, META_VERSION);
    store32(at + 8, meta->page_size);
    store32(at + 12, 0);
    store64(at + 16, meta->root);
    store64(at + 24, meta->sequence);
    store64(at + 32, meta->freelist);
    store64(at + 40, meta->high_water);
    store64(at + 48, meta->txid);
    store64(at + 56, fnv1a(at, 56));
}

/* ---- The checksum of all rows ---- */

/* Each value comes from one other: what changes the crc changes this. Without it sums of crcs, which are
 * linear, would come out alike too often. */
static uint32_t mix(uint32_t value)
{
    value = (value ^ value >> 16) * 0x85ebca6bU;
    value = (value ^ value >> 13) * 0xc2b2ae35U;
    return value ^ value >> 16;
}

uint32_t row_checksum(struct bytes key, struct bytes value, bool is_bucket)
{
    uint8_t size[4];
    store32(size, (uint32_t)key.size);
    uint32_t crc = crc32c(crc32c(is_bucket, size, sizeof(size)), key.data, key.size);
    return mix(is_bucket ? crc : crc32c(crc, value.data, value.size));
}

bool meta_rows_checksum(const struct meta *meta, uint32_t *sum)
{
    *sum = (uint32_t)meta->sequence;
    return meta->sequence != 0 && meta->sequence >> 32 == (uint32_t)meta->txid;
}

void meta_set_rows_checksum(struct meta *meta, uint32_t sum)
{
    meta->sequence = meta->txid << 32 | sum;
}

void meta_set_txid(struct meta *meta, uint64_t txid)
{
    uint32_t sum;
    bool known = meta_rows_checksum(meta, &sum);
    meta->txid = txid;
    meta->sequence = 0;
    if (known) meta_set_rows_checksum(meta, sum);
}

/* ---- Branch and leaf pages ---- */

void page_header_encode(uint8_t *at, uint64_t id, unsigned flags, uint32_t count, uint32_t overflow)
{
    store64(at, id);
    store16(at + 8, (uint16_t)flags);
    store16(at + 10, (uint16_t)count);
    store32(at + 12, overflow);
}

/* Header checks that all kinds of page share. */
static struct error *locate(const uint8_t *data, uint32_t page_size, uint64_t high_water, uint64_t id,
                            const uint8_t **at, uint32_t *overflow)
{
    if (id < 2 || id >= high_water)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": referenced, but the file has pages 2 to %" PRIu64,
                         id, high_water - 1);
    *at = data + id * page_size;
    if (load64(*at) != id)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": its header says it is page %" PRIu64, id,
                         load64(*at));
    *overflow = load32(*at + 12);
    if (*overflow >= high_water - id)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": its %" PRIu32 " overflow pages leave the file", id,
                         *overflow);
    return NULL;
}

struct error *page_open(struct page *page, const uint8_t *data, uint32_t page_size, uint64_t high_water,
                        uint64_t id)
{
    const uint8_t *at;
    uint32_t overflow;
    TRY(locate(data, page_size, high_water, id, &at, &overflow));
    uint16_t flags = load16(at + 8);
    if (flags != PAGE_LEAF && flags != PAGE_BRANCH)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": flags %#x where a branch or leaf page is expected",
                         id, flags);
    *page = (struct page){
        .data = at,
        .size = ((size_t)overflow + 1) * page_size,
        .id = id,
        .count = load16(at + 10),
        .overflow = overflow,
        .leaf = flags == PAGE_LEAF,
    };
    if (page->count == UINT16_MAX || PAGE_HEADER_SIZE + (size_t)page->count * PAGE_ELEMENT_SIZE > page->size)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": %" PRIu32 " elements do not fit into it", id,
                         page->count);
    if (!page->leaf && page->count == 0)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": branch without children", id);
    return NULL;
}

struct error *page_open_inline(struct page *page, struct bytes inline_page)
{
    const uint8_t *at = inline_page.data;
    if (inline_page.size < PAGE_HEADER_SIZE)
        return error_new(ERROR_CORRUPT, "inline bucket: it has no page header");
    if (load16(at + 8) != PAGE_LEAF)
        return error_new(ERROR_CORRUPT, "inline bucket: flags %#x where a leaf page is expected",
                         load16(at + 8));
    *page = (struct page){.data = at, .size = inline_page.size, .count = load16(at + 10), .leaf = true};
    if (page->count == UINT16_MAX || PAGE_HEADER_SIZE + (size_t)page->count * PAGE_ELEMENT_SIZE > page->size)
        return error_new(ERROR_CORRUPT, "inline bucket: %" PRIu32 " elements do not fit into it",
                         page->count);
    return NULL;
}

struct error *page_element_error(const struct page *page, uint32_t index)
{
    const uint8_t *at = page->data + PAGE_HEADER_SIZE + (size_t)index * PAGE_ELEMENT_SIZE;
    if (load32(at + (page->leaf ? 8 : 4)) == 0)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": element %" PRIu32 " has an empty key", page->id,
                         index);
    return error_new(ERROR_CORRUPT, "page %" PRIu64 ": element %" PRIu32 " lies outside the page", page->id,
                     index);
}

struct error *page_search(const struct page *page, struct bytes key, uint32_t *index, bool *exact)
{
    uint32_t low = 0, high = page->count;
    *exact = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct element element;
        if (!page_locate(page, middle, &element)) return page_element_error(page, middle);
        int order = bytes_compare(element.key, key);
        if (order == 0) {
            *exact = true;
            *index = middle;
            return NULL;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *index = page->leaf || low == 0 ? low : low - 1;
    return NULL;
}

struct error *bucket_header_decode(struct bytes value, struct bytes name, struct bucket_header *header)
{
    if (value.size < BUCKET_HEADER_SIZE)
        return error_new(ERROR_CORRUPT, "bucket %.*s: its header is cut short",
                         (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
    *header = (struct bucket_header){.root = load64(value.data), .sequence = load64(value.data + 8)};
    if (header->root == 0)
        header->inline_page = bytes_of(value.data + BUCKET_HEADER_SIZE, value.size - BUCKET_HEADER_SIZE);
    return NULL;
}

/* ---- Freelist pages ---- */

struct error *page_open_freelist(const uint8_t *data, uint32_t page_size, uint64_t high_water, uint64_t id,
                                 const uint8_t **ids, uint64_t *count, uint32_t *overflow)
{
    const uint8_t *at;
    TRY(locate(data, page_size, high_water, id, &at, overflow));
    if (load16(at + 8) != PAGE_FREELIST)
        return error_new(ERROR_CORRUPT, "page %" PRIu64 ": flags %#x where the freelist is expected", id,
                         load16(at + 8));
    uint64_t room = (((uint64_t)*overflow + 1) * page_size - PAGE_HEADER_SIZE) / 8;
    *ids = at + PAGE_HEADER_SIZE;
    *count = load16(at + 10);
    if (*count == FREELIST_COUNT_ELSEWHERE) {
        *count = load64(*ids);
        *ids += 8;
        room--;
    }
    if (*count > room)
        return error_new(ERROR_CORRUPT,
                         "page %" PRIu64 ": a freelist of %" PRIu64 " pages does not fit into it", id,
                         *count);
    return NULL;
}
