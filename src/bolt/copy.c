/* Images and compact copies of a read transaction, made while writing goes on. */
#include "base/memory.h"
#include "bolt/db.h"
#include "storage/fs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    CHUNK = 1 << 20,   /* bytes per write */
    FILL_PERCENT = 90, /* as etcd fills pages when it defragments */
    FIRST_ITEMS = 64,
    COPY_SLACK = 1024, /* pages */
    /* Synced in portions: a log on the same disk shares the file system's journal, and each of its syncs
     * would wait for all of the copy that is not on the disk yet. */
    SYNC_BYTES = 2 << 20,
};

/* ---- The image ---- */

/* The first two pages: metas with txid T and T - 1 on the same root. */
static void image_meta_page(const struct bolt_tx *tx, uint64_t page, uint8_t *at)
{
    struct meta meta = tx->meta;
    if (page > 0) meta_set_txid(&meta, meta.txid - page);
    memset(at, 0, meta.page_size);
    meta_encode(at, page, &meta);
}

struct error *bolt_image_read(const struct bolt_tx *tx, uint64_t offset, void *data, size_t size,
                              size_t *read)
{
    assert(!tx->writable);
    uint64_t end = bolt_size(tx), head = (uint64_t)tx->meta.page_size * 2;
    *read = 0;
    if (offset >= end) return NULL;
    if (size > end - offset) size = (size_t)(end - offset);
    uint8_t *at = data;
    if (offset < head) {
        uint8_t *metas = mem_alloc((size_t)head);
        image_meta_page(tx, 0, metas);
        image_meta_page(tx, 1, metas + tx->meta.page_size);
        size_t part = size < head - offset ? size : (size_t)(head - offset);
        memcpy(at, metas + offset, part);
        free(metas);
        *read = part;
    }
    if (*read == size) return NULL;
    size_t rest;
    TRY(fs_file_pread(tx->db->file, at + *read, size - *read, offset + *read, &rest));
    *read += rest;
    if (*read == size) return NULL;
    return error_new(ERROR_CORRUPT, "%s: the file ends at %" PRIu64 ", within its pages", tx->db->path,
                     offset + *read);
}

struct error *bolt_write_to(const struct bolt_tx *tx,
                            struct error *(*write)(void *context, struct bytes chunk), void *context)
{
    uint8_t *chunk = mem_alloc(CHUNK);
    struct error *error = NULL;
    uint64_t size = bolt_size(tx);
    for (uint64_t offset = 0; error == NULL && offset < size;) {
        size_t read;
        error = bolt_image_read(tx, offset, chunk, CHUNK, &read);
        if (error == NULL) error = write(context, bytes_of(chunk, read));
        offset += CHUNK;
    }
    free(chunk);
    return error;
}

/* ---- The compact copy ----
 *
 * Rows arrive in order, so every page is written once: leaves as they fill, and above them branches, one
 * unfinished page per level.
 *
 *      level 2                [ a · m ...                 unfinished
 *      level 1   ▣ ▣          [ m · p · s ...             unfinished
 *      level 0   ▣▣▣▣▣▣▣▣▣    [ row row ...               unfinished      ▣ written
 */
struct output {
    const struct bolt_tx *tx;
    struct fs_file *file;
    struct arena *arena; /* values of bucket rows */
    struct buf staging;
    uint64_t offset; /* of staging in the file */
    uint64_t synced; /* up to this offset */
    uint64_t next_page;
    bool (*progress)(void *context, uint64_t written);
    void *context;
};

struct builder {
    struct output *output;
    bool has_buckets;
    struct bolt_node levels[BOLT_DEPTH_MAX];
};

static struct error *flush(struct output *output)
{
    TRY(fs_file_pwrite(output->file, output->staging.data, output->staging.size, output->offset));
    output->offset += output->staging.size;
    buf_clear(&output->staging);
    if (output->offset - output->synced >= SYNC_BYTES) {
        TRY(fs_file_sync_data(output->file));
        output->synced = output->offset;
    }
    if (output->progress != NULL && !output->progress(output->context, output->offset))
        return error_new(ERROR_CANCELED, "the copy was cancelled");
    return NULL;
}

static struct error *write_node(struct output *output, const struct bolt_node *node, uint64_t *id)
{
    uint32_t page_size = output->tx->meta.page_size;
    uint64_t pages = node_pages(node, page_size);
    size_t size = (size_t)(pages * page_size), used = (size_t)node->bytes;
    uint8_t *at = buf_reserve(&output->staging, size);
    /* Only a damaged file, in which buckets contain themselves, has more to copy than it is long. */
    if (output->next_page > output->tx->meta.high_water * 2 + COPY_SLACK)
        return error_new(ERROR_CORRUPT, "the copy gets larger than what is copied");
    *id = output->next_page;
    node_encode(node, *id, (uint32_t)(pages - 1), at);
    memset(at + used, 0, size - used);
    output->staging.size += size;
    output->next_page += pages;
    return output->staging.size >= CHUNK ? flush(output) : NULL;
}

static struct error *add_item(struct builder *builder, uint32_t level, struct node_item item);

static struct error *finish_page(struct builder *builder, uint32_t level)
{
    struct bolt_node *node = &builder->levels[level];
    struct node_item parent = {.key = node->items[0].key, .key_size = node->items[0].key_size};
    TRY(write_node(builder->output, node, &parent.page));
    node->count = 0;
    node->bytes = PAGE_HEADER_SIZE;
    return add_item(builder, level + 1, parent);
}

static struct error *add_item(struct builder *builder, uint32_t level, struct node_item item)
{
    if (level == BOLT_DEPTH_MAX)
        return error_new(ERROR_LIMIT, "the copy gets deeper than %d pages", BOLT_DEPTH_MAX);
    struct bolt_node *node = &builder->levels[level];
    uint64_t bytes = (uint64_t)PAGE_ELEMENT_SIZE + item.key_size + item.value_size;
    uint64_t most = (uint64_t)builder->output->tx->meta.page_size * FILL_PERCENT / 100;
    if (node->count >= (node->leaf ? 1 : 2) && node->bytes + bytes > most) TRY(finish_page(builder, level));
    if (node->count == node->capacity) {
        node->capacity = node->capacity == 0 ? FIRST_ITEMS : node->capacity * 2;
        node->items = mem_realloc(node->items, node->capacity * sizeof(*node->items));
    }
    node->items[node->count++] = item;
    node->bytes += bytes;
    return NULL;
}

static struct builder *builder_new(struct output *output)
{
    struct builder *builder = mem_zalloc(1, sizeof(*builder));
    builder->output = output;
    for (uint32_t level = 0; level < BOLT_DEPTH_MAX; level++) {
        builder->levels[level].leaf = level == 0;
        builder->levels[level].bytes = PAGE_HEADER_SIZE;
    }
    return builder;
}

static void builder_free(struct builder *builder)
{
    for (uint32_t level = 0; level < BOLT_DEPTH_MAX; level++) free(builder->levels[level].items);
    free(builder);
}

static uint32_t top_level(const struct builder *builder)
{
    uint32_t top = 0;
    for (uint32_t level = 0; level < BOLT_DEPTH_MAX; level++)
        if (builder->levels[level].count > 0) top = level;
    return top;
}

/* Writes the unfinished pages from the bottom up. */
static struct error *finish_tree(struct builder *builder, uint64_t *root)
{
    for (uint32_t level = 0;; level++) {
        struct bolt_node *node = &builder->levels[level];
        if (level < top_level(builder)) {
            if (node->count > 0) TRY(finish_page(builder, level));
            continue;
        }
        if (!node->leaf && node->count == 1) {
            *root = node->items[0].page;
            return NULL;
        }
        return write_node(builder->output, node, root);
    }
}

static struct error *copy_rows(struct builder *builder, const struct bolt_bucket *bucket);

/* Copies a bucket and makes the value of its row. */
static struct error *copy_bucket(struct output *output, const struct bolt_bucket *bucket, struct bytes *value)
{
    struct builder *builder = builder_new(output);
    struct error *error = copy_rows(builder, bucket);
    const struct bolt_node *leaf = &builder->levels[0];
    uint64_t root = 0;
    bool inlined = error == NULL && top_level(builder) == 0 && !builder->has_buckets &&
                   leaf->bytes <= output->tx->meta.page_size / INLINE_FRACTION;
    if (error == NULL && !inlined) error = finish_tree(builder, &root);
    if (error == NULL) {
        size_t size = BUCKET_HEADER_SIZE + (inlined ? (size_t)leaf->bytes : 0);
        uint8_t *at = arena_alloc(output->arena, size);
        store64(at, root);
        store64(at + 8, bucket->sequence);
        if (inlined) node_encode(leaf, 0, 0, at + BUCKET_HEADER_SIZE);
        *value = bytes_of(at, size);
    }
    builder_free(builder);
    return error;
}

static struct error *copy_rows(struct builder *builder, const struct bolt_bucket *bucket)
{
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, bucket);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) {
        struct bytes value = cursor.value;
        if (cursor.is_bucket) {
            struct bolt_bucket inner;
            bool found;
            builder->has_buckets = true;
            TRY(bolt_bucket_nested(bucket, cursor.key, &inner, &found));
            if (!found) return error_new(ERROR_CORRUPT, "a bucket is listed but cannot be found by its name");
            TRY(copy_bucket(builder->output, &inner, &value));
        }
        TRY(add_item(builder, 0,
                     (struct node_item){.key = cursor.key.data,
                                        .key_size = (uint32_t)cursor.key.size,
                                        .value = value.data,
                                        .value_size = (uint32_t)value.size,
                                        .is_bucket = cursor.is_bucket}));
        TRY(bolt_cursor_next(&cursor));
    }
    return NULL;
}

static struct error *copy_root(struct output *output, uint64_t *root)
{
    struct bolt_bucket bucket = bolt_root(output->tx);
    struct builder *builder = builder_new(output);
    struct error *error = copy_rows(builder, &bucket);
    if (error == NULL) error = finish_tree(builder, root);
    builder_free(builder);
    return error;
}

static struct error *copy_everything(struct output *output)
{
    uint32_t page_size = output->tx->meta.page_size;
    struct meta meta =
        output->tx->meta; /* the checksum of the rows, too: it is held against them when opened */
    meta.freelist = FREELIST_NOT_STORED;
    meta_set_txid(&meta, 2);
    output->next_page = 2;
    output->offset = (uint64_t)page_size * 2;
    TRY(copy_root(output, &meta.root));
    TRY(flush(output));
    meta.high_water = output->next_page;
    uint8_t *at = buf_reserve(&output->staging, (size_t)page_size * 2);
    memset(at, 0, (size_t)page_size * 2);
    meta_encode(at, 0, &meta);
    meta_set_txid(&meta, 1);
    meta_encode(at + page_size, 1, &meta);
    TRY(fs_file_pwrite(output->file, at, (size_t)page_size * 2, 0));
    return fs_file_sync(output->file);
}

struct error *bolt_compact_to(const struct bolt_tx *tx, struct fs *fs, const char *path,
                              bool (*progress)(void *context, uint64_t written), void *context)
{
    struct output output = {.tx = tx, .progress = progress, .context = context};
    TRY(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &output.file));
    output.arena = arena_new();
    struct error *error = copy_everything(&output);
    struct error *close_error = fs_file_close(output.file);
    if (error == NULL)
        error = close_error;
    else
        error_free(close_error);
    arena_free(output.arena);
    buf_deinit(&output.staging);
    if (error == NULL) return NULL;
    error_free(fs_remove(fs, path));
    return error_wrap(error, "copy to %s", path);
}
