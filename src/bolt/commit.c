/* How a transaction becomes durable:
 *
 *      settle nodes ─▶ assign pages ─▶ reserve map, grow file ─▶ write pages ─▶ sync ─▶ write meta ─▶ sync
 *      ─▶ publish
 *
 * Up to the first sync nothing that any state of the file needs has been touched, so a failure there leaves
 * everything as it was. From then on a failure means that nobody knows what a restart will find: nothing is
 * written any more. */
#include "base/memory.h"
#include "bolt/db.h"
#include "storage/fs.h"

#include <assert.h>
#include <stdlib.h>

enum {
    GROWTH_STEP = 16 << 20, /* bytes that the file grows ahead of its use */
    WRITE_TARGET = 1 << 20, /* adjacent pages are gathered up to about this much */
};

/* ---- Where everything goes ---- */

static uint64_t assign_page(struct bolt_tx *tx, uint64_t pages)
{
    uint64_t page;
    if (freelist_allocate(&tx->db->freelist, pages, &page)) {
        spans_add(&tx->allocated, page, pages);
    } else {
        page = tx->high_water;
        tx->high_water += pages;
    }
    return page;
}

static void assign_pages(struct bolt_tx *tx, struct bolt_node *node)
{
    if (!node->leaf)
        for (uint32_t i = 0; i < node->count; i++)
            if (node->items[i].child != NULL) assign_pages(tx, node->items[i].child);
    uint64_t pages = node_pages(node, tx->db->page_size);
    node->page = assign_page(tx, pages);
    if (tx->dirty_count == tx->dirty_capacity) {
        size_t capacity = tx->dirty_capacity * 2 + 64;
        struct dirty_node *dirty = arena_alloc(tx->arena, capacity * sizeof(*dirty));
        if (tx->dirty_count > 0) memcpy(dirty, tx->dirty, tx->dirty_count * sizeof(*dirty));
        tx->dirty = dirty;
        tx->dirty_capacity = capacity;
    }
    tx->dirty[tx->dirty_count++] = (struct dirty_node){node->page, pages, node};
}

static bool fits_inline(const struct bolt_tree *tree)
{
    const struct bolt_node *root = tree->root;
    if (root == NULL || !root->leaf || root->bytes > tree->tx->db->page_size / INLINE_FRACTION) return false;
    for (uint32_t i = 0; i < root->count; i++)
        if (root->items[i].is_bucket) return false;
    return true;
}

static uint64_t clock_of(const struct bolt *db)
{
    return db->now == NULL ? 0 : db->now(db->now_context);
}

void bolt_measure(struct bolt *bolt, uint64_t (*now)(void *context), void *context)
{
    bolt->now = now;
    bolt->now_context = context;
}

struct bolt_commit_times bolt_commit_times(const struct bolt *bolt)
{
    return bolt->times;
}

static struct error *settle(struct bolt_tx *tx, struct bolt_tree *tree)
{
    uint64_t began = clock_of(tx->db);
    struct error *error = tree_settle(tree);
    tx->db->times.rebalance += clock_of(tx->db) - began;
    return error;
}

/* Settles a bucket and stores its header in the root bucket. */
static struct error *place_bucket(struct bolt_tx *tx, struct bolt_tree *tree)
{
    TRY(settle(tx, tree));
    bool inlined = fits_inline(tree);
    size_t size = BUCKET_HEADER_SIZE + (inlined ? (size_t)tree->root->bytes : 0);
    uint8_t *value = arena_alloc(tx->arena, size);
    if (inlined) {
        node_encode(tree->root, 0, 0, value + BUCKET_HEADER_SIZE);
        tree->page = 0;
    } else if (tree->root != NULL) {
        assign_pages(tx, tree->root);
        tree->page = tree->root->page;
    }
    store64(value, tree->page);
    store64(value + 8, tree->sequence);
    return tree_put(tx->root, tree->name, bytes_of(value, size), true);
}

/* A freelist that was stored in the file goes with the first commit: ours are found by scanning, as etcd has
 * it. */
static struct error *give_up_stored_freelist(struct bolt_tx *tx)
{
    const uint8_t *ids;
    uint64_t count;
    uint32_t overflow;
    uint64_t id = tx->meta.freelist;
    if (id == FREELIST_NOT_STORED) return NULL;
    TRY(page_open_freelist(tx->map->data, tx->meta.page_size, tx->meta.high_water, id, &ids, &count,
                           &overflow));
    if (!freelist_give_up(&tx->db->freelist, id, (uint64_t)overflow + 1))
        return error_new(ERROR_CORRUPT, "page %llu: the freelist's own page is in use twice, or free",
                         (unsigned long long)id);
    return NULL;
}

static struct error *place_everything(struct bolt_tx *tx, struct meta *meta)
{
    for (struct bolt_tree *tree = tx->trees; tree != NULL; tree = tree->next)
        if (tree->root != NULL || tree->changes > 0) TRY(place_bucket(tx, tree));
    TRY(give_up_stored_freelist(tx));
    TRY(settle(tx, tx->root));
    if (tx->root->root != NULL) {
        assign_pages(tx, tx->root->root);
        tx->root->page = tx->root->root->page;
    }
    *meta = tx->meta;
    meta->root = tx->root->page;
    meta->freelist = FREELIST_NOT_STORED;
    meta->high_water = tx->high_water;
    meta->txid = tx->meta.txid + 1;
    meta_set_rows_checksum(meta, tx->rows);
    if (meta->high_water > PAGE_ID_LIMIT) return error_new(ERROR_LIMIT, "%s: too many pages", tx->db->path);
    return NULL;
}

/* ---- Writing it ---- */

static struct error *grow_file(struct bolt *db, uint64_t high_water)
{
    if (high_water * db->page_size <= db->file_size) return NULL;
    uint64_t size = (high_water + 1) * db->page_size;
    if (db->map->length > GROWTH_STEP)
        size += GROWTH_STEP;
    else if (size < db->map->length)
        size = db->map->length;
    TRY(fs_file_truncate(db->file, size));
    pthread_mutex_lock(&db->mutex);
    db->file_size = size;
    pthread_mutex_unlock(&db->mutex);
    return NULL;
}

static int by_page(const void *a, const void *b)
{
    uint64_t left = ((const struct dirty_node *)a)->page, right = ((const struct dirty_node *)b)->page;
    return (left > right) - (left < right);
}

static struct error *flush(struct bolt *db, uint64_t first_page)
{
    struct error *error = NULL;
    if (db->staging.size > 0)
        error = fs_file_pwrite(db->file, db->staging.data, db->staging.size, first_page * db->page_size);
    buf_clear(&db->staging);
    return error;
}

/* In ascending order, neighbours in one write. */
static struct error *write_pages(struct bolt_tx *tx)
{
    struct bolt *db = tx->db;
    if (tx->dirty_count > 1) qsort(tx->dirty, tx->dirty_count, sizeof(*tx->dirty), by_page);
    uint64_t first = 0, next = 0;
    buf_clear(&db->staging);
    for (size_t i = 0; i < tx->dirty_count; i++) {
        const struct dirty_node *dirty = &tx->dirty[i];
        if (dirty->page != next || db->staging.size >= WRITE_TARGET) {
            TRY(flush(db, first));
            first = dirty->page;
        }
        size_t size = (size_t)(dirty->pages * db->page_size), used = (size_t)dirty->node->bytes;
        uint8_t *at = buf_reserve(&db->staging, size);
        node_encode(dirty->node, dirty->page, (uint32_t)(dirty->pages - 1), at);
        memset(at + used, 0, size - used);
        db->staging.size += size;
        next = dirty->page + dirty->pages;
    }
    return flush(db, first);
}

/* After this nothing is written any more. */
static struct error *fail_for_good(struct bolt *db, struct error *error)
{
    if (error == NULL) return NULL;
    free(db->failure);
    db->failure = mem_strdup(error->text);
    return error_wrap(error, "%s: the commit's outcome on disk is unknown", db->path);
}

static struct error *sync_file(struct bolt *db)
{
    return db->no_sync ? NULL : fs_file_sync_data(db->file);
}

static struct error *write_meta(struct bolt *db, const struct meta *meta)
{
    uint64_t page = meta->txid % 2;
    buf_clear(&db->staging);
    uint8_t *at = buf_reserve(&db->staging, db->page_size);
    memset(at, 0, db->page_size);
    meta_encode(at, page, meta);
    return fs_file_pwrite(db->file, at, db->page_size, page * db->page_size);
}

static void publish(struct bolt_tx *tx, const struct meta *meta)
{
    struct bolt *db = tx->db;
    freelist_extend(&db->freelist, meta->high_water);
    freelist_commit(&db->freelist, meta->txid);
    tx->allocated.count = 0;
    db->rows = tx->rows;
    pthread_mutex_lock(&db->mutex);
    db->meta = *meta;
    pthread_mutex_unlock(&db->mutex);
}

struct error *bolt_write_changes(struct bolt_tx *tx)
{
    struct bolt *db = tx->db;
    struct meta meta;
    db->times = (struct bolt_commit_times){0};
    uint64_t began = clock_of(db);
    TRY(place_everything(tx, &meta));
    uint64_t placed = clock_of(db);
    db->times.spill = placed - began - db->times.rebalance;
    TRY(bolt_map_reserve(db, meta.high_water * meta.page_size));
    uint64_t file_size = db->file_size;
    TRY(grow_file(db, meta.high_water));
    if (db->file_size != file_size && !db->no_sync) TRY(fail_for_good(db, fs_file_sync(db->file)));
    TRY(write_pages(tx));
    TRY(fail_for_good(db, sync_file(db)));
    TRY(fail_for_good(db, write_meta(db, &meta)));
    TRY(fail_for_good(db, sync_file(db)));
    db->times.write = clock_of(db) - placed;
    publish(tx, &meta);
    return NULL;
}
