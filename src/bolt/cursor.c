#include "bolt/db.h"

#include <assert.h>
#include <inttypes.h>

/* How iteration is kept from going astray in a damaged file: at every depth the keys that a cursor passes may
 * only move in its direction, from page to page as well as within one. A page that is reached twice breaks
 * that rule, so there are no endless walks, and rows never come out of order. Going forward, the keys of
 * branches are held against those of their children, too: whoever has walked over all rows can find each by
 * its key. */

struct error *bolt_tx_page(const struct bolt_tx *tx, uint64_t id, struct page *page)
{
    return page_open(page, tx->map->data, tx->meta.page_size, tx->meta.high_water, id);
}

/* ---- Frames: a page of the file or a node of the writer ---- */

static struct page frame_page(const struct bolt_cursor_frame *frame)
{
    return (struct page){.data = frame->page,
                         .size = frame->page_size,
                         .id = frame->page_id,
                         .count = frame->count,
                         .leaf = frame->leaf};
}

static void frame_from_page(struct bolt_cursor_frame *frame, const struct page *page)
{
    frame->node = NULL;
    frame->page = page->data;
    frame->page_size = page->size;
    frame->page_id = page->id;
    frame->count = page->count;
    frame->leaf = page->leaf;
}

static void frame_from_node(struct bolt_cursor_frame *frame, struct bolt_node *node)
{
    frame->node = node;
    frame->page = NULL;
    frame->page_size = 0;
    frame->page_id = 0;
    frame->count = node->count;
    frame->leaf = node->leaf;
}

/* Element `index` of a frame; *child is set for a branch of the writer whose child is in memory. */
static struct error *frame_element(const struct bolt_cursor_frame *frame, uint32_t index,
                                   struct element *element, struct bolt_node **child)
{
    assert(index < frame->count);
    *child = NULL;
    if (frame->node == NULL) {
        struct page page = frame_page(frame);
        if (!page_locate(&page, index, element)) return page_element_error(&page, index);
        return NULL;
    }
    const struct node_item *item = &frame->node->items[index];
    *element = (struct element){.key = bytes_of(item->key, item->key_size),
                                .value = bytes_of(item->value, item->value_size),
                                .child = item->page,
                                .is_bucket = item->is_bucket};
    *child = item->child;
    return NULL;
}

static struct error *frame_search(const struct bolt_cursor_frame *frame, struct bytes key, uint32_t *index,
                                  bool *exact)
{
    if (frame->node != NULL) {
        *index = node_search(frame->node, key, exact);
        return NULL;
    }
    struct page page = frame_page(frame);
    return page_search(&page, key, index, exact);
}

static struct error *load_root(const struct bolt_bucket *bucket, struct bolt_cursor_frame *frame)
{
    const struct bolt_tree *tree = bucket->tree;
    struct page page;
    if (tree != NULL && tree->root != NULL) {
        frame_from_node(frame, tree->root);
        return NULL;
    }
    uint64_t id = tree != NULL ? tree->page : bucket->page;
    if (id != 0)
        TRY(bolt_tx_page(bucket->tx, id, &page));
    else
        TRY(page_open_inline(&page, tree != NULL ? tree->inline_page : bucket->inline_page));
    frame_from_page(frame, &page);
    return NULL;
}

static struct error *load_child(const struct bolt_tx *tx, const struct element *element,
                                struct bolt_node *node, struct bolt_cursor_frame *frame)
{
    if (node != NULL) {
        frame_from_node(frame, node);
        return NULL;
    }
    struct page page;
    TRY(bolt_tx_page(tx, element->child, &page));
    frame_from_page(frame, &page);
    return NULL;
}

static struct error *too_deep(const struct bolt_cursor_frame *frame)
{
    return error_new(ERROR_CORRUPT, "page %" PRIu64 ": deeper than %d pages below its bucket's root",
                     frame->page_id, BOLT_DEPTH_MAX);
}

/* ---- Point lookups ---- */

struct error *bolt_find(const struct bolt_bucket *bucket, struct bytes key, struct element *element,
                        bool *found)
{
    struct bolt_cursor_frame frame;
    TRY(load_root(bucket, &frame));
    for (int depth = 0; depth < BOLT_DEPTH_MAX; depth++) {
        uint32_t index;
        struct bolt_node *child;
        TRY(frame_search(&frame, key, &index, found));
        if (frame.leaf) {
            if (!*found) return NULL;
            return frame_element(&frame, index, element, &child);
        }
        TRY(frame_element(&frame, index, element, &child));
        TRY(load_child(bucket->tx, element, child, &frame));
    }
    return too_deep(&frame);
}

struct error *bolt_get(const struct bolt_bucket *bucket, struct bytes key, struct bytes *value, bool *found)
{
    struct element element = {0};
    TRY(bolt_find(bucket, key, &element, found));
    if (*found && element.is_bucket) *found = false;
    if (*found) *value = element.value;
    return NULL;
}

/* ---- Cursors ---- */

void bolt_cursor_init(struct bolt_cursor *cursor, const struct bolt_bucket *bucket)
{
    cursor->valid = false;
    cursor->is_bucket = false;
    cursor->key = cursor->value = BYTES_EMPTY;
    cursor->bucket = *bucket;
    cursor->changes = 0;
    cursor->depth = 0;
    cursor->direction = 0;
}

/* Forgets what was passed, as every new positioning does. */
static struct error *restart(struct bolt_cursor *cursor)
{
    cursor->valid = false;
    cursor->direction = 0;
    cursor->depth = 1;
    cursor->changes = cursor->bucket.tree != NULL ? cursor->bucket.tree->changes : 0;
    return load_root(&cursor->bucket, &cursor->frames[0]);
}

static struct error *out_of_order(const struct bolt_cursor_frame *frame)
{
    return error_new(ERROR_CORRUPT, "page %" PRIu64 ": key %" PRIu32 " is out of order", frame->page_id,
                     frame->index);
}

static struct error *pass(struct bolt_cursor *cursor, struct bolt_cursor_frame *frame, struct bytes key)
{
    if (frame->bound.size > 0) {
        int order = bytes_compare(key, frame->bound);
        if (cursor->direction > 0 ? order <= 0 : order >= 0) return out_of_order(frame);
    }
    frame->bound = key;
    return NULL;
}

/* From the frame at the bottom, whose index is set, to the first (last) row below it. The leaf may be empty.
 */
static struct error *descend(struct bolt_cursor *cursor)
{
    struct bytes low = BYTES_EMPTY; /* the key of this page in the one above */
    for (;;) {
        struct bolt_cursor_frame *frame = &cursor->frames[cursor->depth - 1];
        struct element element = {0};
        struct bolt_node *child;
        if (frame->count == 0) return NULL;
        TRY(frame_element(frame, frame->index, &element, &child));
        TRY(pass(cursor, frame, element.key));
        if (bytes_compare(element.key, low) < 0) return out_of_order(frame);
        if (frame->leaf) {
            cursor->valid = true;
            cursor->key = element.key;
            cursor->value = element.value;
            cursor->is_bucket = element.is_bucket;
            return NULL;
        }
        if (cursor->depth == BOLT_DEPTH_MAX) return too_deep(frame);
        struct bolt_cursor_frame *below = &cursor->frames[cursor->depth];
        /* What was passed in the child before would be looked for here. */
        if (cursor->direction > 0 && below->bound.size > 0 && bytes_compare(element.key, below->bound) <= 0)
            return out_of_order(frame);
        TRY(load_child(cursor->bucket.tx, &element, child, below));
        low = element.key;
        below->index = cursor->direction > 0 || below->count == 0 ? 0 : below->count - 1;
        cursor->depth++;
    }
}

/* To the next row in the cursor's direction, over empty leaves. */
static struct error *advance(struct bolt_cursor *cursor)
{
    cursor->valid = false;
    while (cursor->depth > 0) {
        struct bolt_cursor_frame *frame = &cursor->frames[cursor->depth - 1];
        bool more =
            cursor->direction > 0 ? frame->index + 1 < frame->count : frame->index > 0 && frame->count > 0;
        if (!more) {
            cursor->depth--;
            continue;
        }
        if (cursor->direction > 0)
            frame->index++;
        else
            frame->index--;
        TRY(descend(cursor));
        if (cursor->valid) return NULL;
    }
    return NULL;
}

/* Sets out in `direction` from where the cursor is. */
static struct error *turn(struct bolt_cursor *cursor, int direction)
{
    if (cursor->direction == direction) return NULL;
    cursor->direction = direction;
    for (uint32_t depth = 0; depth < BOLT_DEPTH_MAX; depth++) {
        struct bolt_cursor_frame *frame = &cursor->frames[depth];
        struct element element = {0};
        struct bolt_node *child;
        frame->bound = BYTES_EMPTY;
        if (depth >= cursor->depth || frame->index >= frame->count) continue;
        TRY(frame_element(frame, frame->index, &element, &child));
        frame->bound = element.key;
    }
    return NULL;
}

static struct error *end_first(struct bolt_cursor *cursor, int direction)
{
    TRY(restart(cursor));
    for (uint32_t depth = 0; depth < BOLT_DEPTH_MAX; depth++) cursor->frames[depth].bound = BYTES_EMPTY;
    struct bolt_cursor_frame *root = &cursor->frames[0];
    root->index = direction > 0 || root->count == 0 ? 0 : root->count - 1;
    cursor->direction = direction;
    TRY(descend(cursor));
    return cursor->valid ? NULL : advance(cursor);
}

struct error *bolt_cursor_first(struct bolt_cursor *cursor)
{
    return end_first(cursor, 1);
}

struct error *bolt_cursor_last(struct bolt_cursor *cursor)
{
    return end_first(cursor, -1);
}

/* The page does not begin before its key in the branch above. */
static struct error *check_begin(const struct bolt_cursor_frame *frame, struct bytes low)
{
    struct element first = {0};
    struct bolt_node *child;
    if (frame->count == 0) return NULL;
    TRY(frame_element(frame, 0, &first, &child));
    if (bytes_compare(first.key, low) >= 0) return NULL;
    return error_new(ERROR_CORRUPT, "page %" PRIu64 ": key 0 is out of order", frame->page_id);
}

struct error *bolt_cursor_seek(struct bolt_cursor *cursor, struct bytes key)
{
    TRY(restart(cursor));
    for (;;) {
        struct bolt_cursor_frame *frame = &cursor->frames[cursor->depth - 1];
        struct element element = {0};
        struct bolt_node *child;
        bool exact;
        TRY(frame_search(frame, key, &frame->index, &exact));
        if (frame->leaf) break;
        TRY(frame_element(frame, frame->index, &element, &child));
        if (cursor->depth == BOLT_DEPTH_MAX) return too_deep(frame);
        TRY(load_child(cursor->bucket.tx, &element, child, &cursor->frames[cursor->depth]));
        TRY(check_begin(&cursor->frames[cursor->depth], element.key));
        cursor->depth++;
    }
    struct bolt_cursor_frame *leaf = &cursor->frames[cursor->depth - 1];
    if (leaf->index < leaf->count) {
        struct element element = {0};
        struct bolt_node *child;
        TRY(frame_element(leaf, leaf->index, &element, &child));
        cursor->valid = true;
        cursor->key = element.key;
        cursor->value = element.value;
        cursor->is_bucket = element.is_bucket;
        return NULL;
    }
    /* All of this leaf is smaller: the row is the first one of the next leaf. */
    if (leaf->count > 0) leaf->index = leaf->count - 1;
    TRY(turn(cursor, 1));
    return advance(cursor);
}

/* After a change in the bucket: back to the key the cursor was at (*exact), or in its absence to the next
 * one. */
static struct error *recover(struct bolt_cursor *cursor, bool *exact)
{
    struct bytes key = cursor->key;
    TRY(bolt_cursor_seek(cursor, key));
    *exact = cursor->valid && bytes_equal(cursor->key, key);
    return NULL;
}

static bool is_stale(const struct bolt_cursor *cursor)
{
    return cursor->bucket.tree != NULL && cursor->bucket.tree->changes != cursor->changes;
}

struct error *bolt_cursor_next(struct bolt_cursor *cursor)
{
    if (!cursor->valid) return NULL;
    if (is_stale(cursor)) {
        bool exact;
        TRY(recover(cursor, &exact));
        if (!exact) return NULL;
    }
    TRY(turn(cursor, 1));
    return advance(cursor);
}

struct error *bolt_cursor_prev(struct bolt_cursor *cursor)
{
    if (!cursor->valid) return NULL;
    if (is_stale(cursor)) {
        bool exact;
        TRY(recover(cursor, &exact));
        if (!cursor->valid) return bolt_cursor_last(cursor);
    }
    TRY(turn(cursor, -1));
    return advance(cursor);
}
