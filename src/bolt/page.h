/* page: bbolt's file format, and the only code that knows its bytes.
 *
 * The file is an array of pages of one size (usually 4096, told by the meta pages). Page n is at n * page
 * size. Integers are in host byte order in the original; every machine that matters is little-endian, and so
 * is this code.
 *
 *      page   0       1       2 ...                                    high-water mark      end of file
 *           ┌───────┬───────┬───────┬───────┬───────────────┬───────┬┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┐
 *           │ meta  │ meta  │ leaf  │ free  │ leaf, overflow│branch │ reserved, never used │
 *           └───────┴───────┴───────┴───────┴───────────────┴───────┴┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┘
 *
 * A page begins with a header. `overflow` further pages belong to it and have no header of their own, so that
 * a row larger than a page lies in one piece.
 *
 *       0         8       10      12           16
 *      ┌─────────┬───────┬───────┬────────────┬─────────────────────────────
 *      │ id  u64 │flags  │count  │overflow u32│ elements ... data ...
 *      └─────────┴───────┴───────┴────────────┴─────────────────────────────
 *
 * Branch and leaf pages hold `count` elements of 16 bytes and behind them the keys (and values), in key
 * order:
 *
 *      leaf    flags u32 (1: the value is a bucket) | pos u32 | key size u32 | value size u32
 *              the value follows the key
 *      branch  pos u32 | key size u32 | child page u64
 *              keys only
 *
 * `pos` counts from the start of its own element. A branch key is at most the first key of its child and
 * above all keys of the child before.
 *
 *      ┌header┬elem 0┬elem 1┬elem 2┬key 0│value 0┬key 1│value 1┬key 2│value 2┐
 *      └──────┴──┬───┴──┬───┴──────┴─▲───────────┴─▲───────────┴─────────────┘
 *                └──────┼── pos ─────┘             │
 *                       └── pos ───────────────────┘
 *
 * A bucket is a tree of such pages. Its row in the parent has the value `root page u64, sequence u64`. A
 * bucket that is one small leaf is *inline*: its root page is 0 and the page follows in the value, header and
 * all, unaligned.
 *
 * The meta pages hold where everything starts. A commit writes its pages to places nobody needs, syncs, then
 * writes the meta page `txid % 2` and syncs again: the other meta page stays the way back until the new one
 * is whole, which its checksum (FNV-1a of the 56 bytes before it) tells. The valid meta with the larger txid
 * is the state of the file.
 *
 *      magic u32 | version u32 | page size u32 | flags u32 | root page u64 | root sequence u64
 *      freelist page u64 | high-water mark u64 | txid u64 | checksum u64
 *
 * The freelist page lists the ids of free pages; a count of 0xFFFF means that the first of its numbers is the
 * real count. A freelist page of 2^64-1 says that none is stored: whatever cannot be reached from the root is
 * free. etcd always leaves its files so, and so do we.
 *
 * The root sequence is a counter that bbolt keeps for the root bucket and uses for nothing; it stays 0 there,
 * and a commit of bbolt leaves it as it is. Pages have no checksum, so a commit of ours puts one of all rows
 * into it:
 *
 *      low 32 bits of the txid | sum of the rows' checksums, modulo 2^32
 *
 * It counts only with the txid it was made for: after a commit of bbolt there is none until our next one.
 *
 * Nothing read here is trusted: a `struct page` exists only for a header that fits into the file, and
 * elements are checked against the page each time they are looked at.
 */
#ifndef BOLT_PAGE_H
#define BOLT_PAGE_H

#include "base/bytes.h"
#include "base/error.h"

#include <endian.h>

enum {
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_META = 0x04,
    PAGE_FREELIST = 0x10,
};

enum {
    PAGE_HEADER_SIZE = 16,
    PAGE_ELEMENT_SIZE = 16,
    PAGE_SIZE_MIN = 1024,
    PAGE_SIZE_MAX = 65536,
    META_SIZE = 64,
    BUCKET_HEADER_SIZE = 16,
    ELEMENT_IS_BUCKET = 1,
    /* A bucket without buckets whose one leaf takes up to this part of a page is stored inline. */
    INLINE_FRACTION = 4,
    /* A freelist with this count keeps the real one in its first entry. */
    FREELIST_COUNT_ELSEWHERE = 0xffff,
};

#define FREELIST_NOT_STORED UINT64_MAX
/* More pages than any file has; keeps page * size from overflowing. */
#define PAGE_ID_LIMIT ((uint64_t)1 << 44)

static inline uint16_t load16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

static inline void store16(uint8_t *at, uint16_t value)
{
    value = htole16(value);
    memcpy(at, &value, sizeof(value));
}

static inline void store32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static inline void store64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

/* ---- Meta pages ---- */

struct meta {
    uint32_t page_size;
    uint64_t root;
    uint64_t sequence;
    uint64_t freelist;
    uint64_t high_water; /* the first page never used */
    uint64_t txid;
};

enum { META_PAGE_BYTES = PAGE_HEADER_SIZE + META_SIZE };

/* `page` has META_PAGE_BYTES. NULL when it is valid, else what is wrong with it. */
const char *meta_decode(const uint8_t *page, struct meta *meta);
void meta_encode(uint8_t *page, uint64_t page_id, const struct meta *meta);

/* What a row adds to the checksum of all rows, nested ones included: in any order, and taken away again by
 * subtraction. Whichever one bit of it changes, this does, too. A bucket's row counts with its name alone. */
uint32_t row_checksum(struct bytes key, struct bytes value, bool is_bucket);
/* False: the meta page does not tell it. */
bool meta_rows_checksum(const struct meta *meta, uint32_t *sum);
void meta_set_rows_checksum(struct meta *meta, uint32_t sum);
/* The same state under another txid, with the checksum if it is known. */
void meta_set_txid(struct meta *meta, uint64_t txid);

/* ---- Branch and leaf pages ---- */

struct page {
    const uint8_t *data;
    size_t size; /* with its overflow pages */
    uint64_t id; /* 0: inline */
    uint32_t count;
    uint32_t overflow;
    bool leaf;
};

struct element {
    struct bytes key;
    struct bytes value; /* leaf */
    uint64_t child;     /* branch */
    bool is_bucket;     /* leaf */
};

/* Page `id` of a file whose first high_water pages are at `data`: checks number, header and that all of it is
 * there. */
struct error *page_open(struct page *page, const uint8_t *data, uint32_t page_size, uint64_t high_water,
                        uint64_t id) __attribute__((warn_unused_result));
/* The leaf that follows the bucket header in an inline bucket's value. */
struct error *page_open_inline(struct page *page, struct bytes inline_page)
    __attribute__((warn_unused_result));

/* Start of the key and sizes of key and value of element `index` < count; false when they leave the page. */
static inline bool page_locate(const struct page *page, uint32_t index, struct element *element)
{
    const uint8_t *at = page->data + PAGE_HEADER_SIZE + (size_t)index * PAGE_ELEMENT_SIZE;
    uint64_t table_end = PAGE_HEADER_SIZE + (uint64_t)page->count * PAGE_ELEMENT_SIZE;
    uint64_t pos, key_size, value_size = 0;
    if (page->leaf) {
        element->is_bucket = (load32(at) & ELEMENT_IS_BUCKET) != 0;
        pos = load32(at + 4);
        key_size = load32(at + 8);
        value_size = load32(at + 12);
    } else {
        pos = load32(at);
        key_size = load32(at + 4);
        element->child = load64(at + 8);
    }
    uint64_t start = (uint64_t)(at - page->data) + pos;
    if (start < table_end || start + key_size + value_size > page->size || key_size == 0) return false;
    element->key = bytes_of(page->data + start, (size_t)key_size);
    element->value = bytes_of(page->data + start + key_size, (size_t)value_size);
    return true;
}

/* What is wrong with an element that page_locate refused. */
struct error *page_element_error(const struct page *page, uint32_t index)
    __attribute__((returns_nonnull, warn_unused_result));

/* In a branch the child that may hold `key`; in a leaf the first element at or above it, or count. */
struct error *page_search(const struct page *page, struct bytes key, uint32_t *index, bool *exact)
    __attribute__((warn_unused_result));

void page_header_encode(uint8_t *at, uint64_t id, unsigned flags, uint32_t count, uint32_t overflow);

/* Value of a bucket's row. */
struct bucket_header {
    uint64_t root; /* 0: inline, and the page follows */
    uint64_t sequence;
    struct bytes inline_page;
};

struct error *bucket_header_decode(struct bytes value, struct bytes name, struct bucket_header *header)
    __attribute__((warn_unused_result));

/* ---- Freelist pages ---- */

/* The ids stored in freelist page `id`, at *ids in file byte order (load64), not checked themselves. */
struct error *page_open_freelist(const uint8_t *data, uint32_t page_size, uint64_t high_water, uint64_t id,
                                 const uint8_t **ids, uint64_t *count, uint32_t *overflow)
    __attribute__((warn_unused_result));

#endif
