#include "base/memory.h"
#include "bolt/db.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- Reading ---- */

struct error *bolt_begin_read(struct bolt *db, struct bolt_tx **result)
{
    struct bolt_tx *tx = mem_zalloc(1, sizeof(*tx));
    tx->db = db;
    pthread_mutex_lock(&db->mutex);
    tx->meta = db->meta;
    tx->map = db->map;
    tx->map->references++;
    TAILQ_INSERT_TAIL(&db->readers, tx, link); /* txids never go back, so the list is in their order */
    db->open_readers++;
    pthread_mutex_unlock(&db->mutex);
    *result = tx;
    return NULL;
}

void bolt_end_read(struct bolt_tx *tx)
{
    if (tx == NULL) return;
    assert(!tx->writable);
    struct bolt *db = tx->db;
    pthread_mutex_lock(&db->mutex);
    TAILQ_REMOVE(&db->readers, tx, link);
    db->open_readers--;
    bolt_map_release(db, tx->map);
    pthread_mutex_unlock(&db->mutex);
    free(tx);
}

uint64_t bolt_size(const struct bolt_tx *tx)
{
    return tx->meta.high_water * tx->meta.page_size;
}

/* ---- Writing ---- */

static struct bolt_tree *tree_new(struct bolt_tx *tx, struct bytes name, uint64_t page, uint64_t sequence)
{
    struct bolt_tree *tree = arena_zalloc(tx->arena, sizeof(*tree));
    tree->tx = tx;
    tree->name = name;
    tree->page = page;
    tree->sequence = sequence;
    return tree;
}

struct error *bolt_begin_write(struct bolt *db, struct bolt_tx **result)
{
    assert(db->writer == NULL);
    if (db->read_only) return error_new(ERROR_INVALID, "%s: opened for reading only", db->path);
    if (db->failure != NULL)
        return error_new(ERROR_IO, "%s: not written any more since a commit failed (%s)", db->path,
                         db->failure);
    struct bolt_tx *tx = mem_zalloc(1, sizeof(*tx));
    tx->db = db;
    tx->writable = true;
    pthread_mutex_lock(&db->mutex);
    tx->meta = db->meta;
    tx->map = db->map;
    tx->map->references++;
    const struct bolt_tx *oldest = TAILQ_FIRST(&db->readers);
    freelist_release(&db->freelist, oldest != NULL ? oldest->meta.txid : tx->meta.txid);
    bolt_publish_free_counts(db);
    pthread_mutex_unlock(&db->mutex);
    tx->arena = db->arena;
    tx->rows = db->rows;
    tx->high_water = tx->meta.high_water;
    tx->root = tree_new(tx, BYTES_EMPTY, tx->meta.root, tx->meta.sequence);
    db->writer = tx;
    *result = tx;
    return NULL;
}

static void end_write(struct bolt_tx *tx)
{
    struct bolt *db = tx->db;
    pthread_mutex_lock(&db->mutex);
    bolt_map_release(db, tx->map);
    bolt_publish_free_counts(db);
    pthread_mutex_unlock(&db->mutex);
    arena_reset(db->arena);
    spans_deinit(&tx->allocated);
    db->writer = NULL;
    free(tx);
}

void bolt_rollback(struct bolt_tx *tx)
{
    if (tx == NULL) return;
    assert(tx->writable);
    struct freelist *freelist = &tx->db->freelist;
    freelist_forget(freelist);
    for (size_t i = 0; i < tx->allocated.count; i++) {
        bool added = freelist_add(freelist, tx->allocated.items[i].page, tx->allocated.items[i].count);
        assert(added);
    }
    end_write(tx);
}

struct error *bolt_commit(struct bolt_tx *tx)
{
    assert(tx->writable);
    struct error *error = NULL;
    if (tx->damaged)
        error = error_new(ERROR_CORRUPT, "%s: a change failed, so none are committed", tx->db->path);
    else if (tx->changed)
        error = bolt_write_changes(tx);
    if (error != NULL || !tx->changed)
        bolt_rollback(tx);
    else
        end_write(tx);
    return error;
}

/* ---- Buckets ---- */

struct bolt_bucket bolt_root(const struct bolt_tx *tx)
{
    return (struct bolt_bucket){
        .tx = tx, .tree = tx->root, .page = tx->meta.root, .sequence = tx->meta.sequence, .nesting = 0};
}

static struct error *open_row(const struct bolt_bucket *parent, struct bytes name, struct bolt_bucket *bucket,
                              bool *found)
{
    struct element element = {0};
    TRY(bolt_find(parent, name, &element, found));
    if (*found && !element.is_bucket) *found = false;
    if (!*found) return NULL;
    if (parent->nesting > 0 && parent->tree == NULL && parent->page == 0)
        return error_new(ERROR_CORRUPT, "an inline bucket holds a bucket");
    struct bucket_header header;
    TRY(bucket_header_decode(element.value, name, &header));
    *bucket = (struct bolt_bucket){
        .tx = parent->tx,
        .page = header.root,
        .inline_page = header.inline_page,
        .sequence = header.sequence,
        .nesting = parent->nesting + 1,
    };
    return NULL;
}

static struct bolt_tree *opened_tree(const struct bolt_tx *tx, struct bytes name)
{
    for (struct bolt_tree *tree = tx->trees; tree != NULL; tree = tree->next)
        if (bytes_equal(tree->name, name)) return tree;
    return NULL;
}

/* A writer's buckets share one changing tree per name. */
static struct bolt_tree *adopt(struct bolt_tx *tx, struct bytes name, const struct bolt_bucket *bucket)
{
    struct bolt_tree *tree = tree_new(tx, arena_copy(tx->arena, name), bucket->page, bucket->sequence);
    tree->inline_page = bucket->inline_page;
    tree->next = tx->trees;
    tx->trees = tree;
    return tree;
}

struct error *bolt_bucket(const struct bolt_tx *tx, struct bytes name, struct bolt_bucket *bucket,
                          bool *found)
{
    struct bolt_bucket root = bolt_root(tx);
    struct bolt_tree *tree = opened_tree(tx, name);
    if (tree != NULL) {
        *bucket = (struct bolt_bucket){.tx = tx, .tree = tree, .sequence = tree->sequence, .nesting = 1};
        *found = true;
        return NULL;
    }
    TRY(open_row(&root, name, bucket, found));
    /* `tx` is const for readers' sake; a writable one is the caller's to change. */
    if (*found && tx->writable) bucket->tree = adopt((struct bolt_tx *)tx, name, bucket);
    return NULL;
}

struct error *bolt_bucket_nested(const struct bolt_bucket *parent, struct bytes name,
                                 struct bolt_bucket *bucket, bool *found)
{
    if (parent->nesting == 0) return bolt_bucket(parent->tx, name, bucket, found);
    if (parent->nesting >= BOLT_NESTING_MAX)
        return error_new(ERROR_CORRUPT, "buckets are nested more than %d deep", BOLT_NESTING_MAX);
    return open_row(parent, name, bucket, found);
}

static struct error *check_key(struct bytes key)
{
    if (key.size == 0) return error_new(ERROR_INVALID, "a key must not be empty");
    if (key.size > BOLT_KEY_MAX)
        return error_new(ERROR_INVALID, "a key of %zu bytes is larger than %d", key.size, BOLT_KEY_MAX);
    return NULL;
}

/* An inline bucket without rows: header and empty leaf. */
static struct bytes empty_bucket(struct bolt_tx *tx)
{
    size_t size = BUCKET_HEADER_SIZE + PAGE_HEADER_SIZE;
    uint8_t *value = arena_zalloc(tx->arena, size);
    page_header_encode(value + BUCKET_HEADER_SIZE, 0, PAGE_LEAF, 0, 0);
    return bytes_of(value, size);
}

struct error *bolt_bucket_create(struct bolt_tx *tx, struct bytes name, struct bolt_bucket *bucket)
{
    assert(tx->writable);
    bool found;
    TRY(check_key(name));
    TRY(bolt_bucket(tx, name, bucket, &found));
    if (found) return NULL;
    TRY(tree_put(tx->root, arena_copy(tx->arena, name), empty_bucket(tx), true));
    return bolt_bucket(tx, name, bucket, &found);
}

struct error *bolt_bucket_delete(struct bolt_tx *tx, struct bytes name, bool *found)
{
    assert(tx->writable);
    struct bolt_bucket bucket;
    TRY(bolt_bucket(tx, name, &bucket, found));
    if (!*found) return NULL;
    TRY(tree_give_up(bucket.tree));
    struct bolt_tree **link = &tx->trees;
    while (*link != bucket.tree) link = &(*link)->next;
    *link = bucket.tree->next;
    return tree_remove(tx->root, bucket.tree->name);
}

/* ---- Rows ---- */

/* Only top-level buckets are written. */
static bool can_change(const struct bolt_bucket *bucket)
{
    return bucket->tx->writable && bucket->nesting == 1 && bucket->tree != NULL;
}

struct error *bolt_put(const struct bolt_bucket *bucket, struct bytes key, struct bytes value)
{
    assert(can_change(bucket));
    struct bolt_tree *tree = bucket->tree;
    TRY(check_key(key));
    if (value.size > BOLT_VALUE_MAX)
        return error_new(ERROR_INVALID, "a value of %zu bytes is larger than %d", value.size, BOLT_VALUE_MAX);
    /* One piece of memory: rows are written side by side. */
    uint8_t *copy = arena_alloc(tree->tx->arena, key.size + value.size);
    memcpy(copy, key.data, key.size);
    if (value.size > 0) memcpy(copy + key.size, value.data, value.size);
    return tree_put(tree, bytes_of(copy, key.size), bytes_of(copy + key.size, value.size), false);
}

struct error *bolt_delete(const struct bolt_bucket *bucket, struct bytes key, bool *found)
{
    assert(can_change(bucket));
    struct element element = {0};
    bool there;
    TRY(bolt_find(bucket, key, &element, &there));
    if (found != NULL) *found = there;
    if (!there) return NULL;
    if (element.is_bucket) return error_new(ERROR_INVALID, "there is a nested bucket of that name");
    return tree_remove(bucket->tree, key);
}
