/* node: the pages that a write transaction changes, as arrays in memory.
 *
 * A bucket's tree is at first only a page number. A change reads every page from the root down to the leaf in
 * question into nodes (all of them will be written again, because each names its child by page) and gives
 * their pages up. Keys and values that were not changed still point into the map.
 *
 *      tree ─▶ node (branch) ─┬─ item: key, page 17
 *                             ├─ item: key, node (leaf) ─┬─ item: key, value   in the map
 *                             └─ item: key, page 44      └─ item: key, value   in the arena
 *
 * Nodes never grow past a page for long: an insertion that makes one too big splits it at once, so that
 * inserting stays cheap however much one transaction does. Deletions only leave nodes small; tree_settle
 * merges those once, before the commit. Everything comes from the transaction's arena and goes with it.
 */
#ifndef BOLT_NODE_H
#define BOLT_NODE_H

#include "base/bytes.h"
#include "base/error.h"

struct bolt_tx;
struct bolt_node;

struct node_item {
    const uint8_t *key;
    const uint8_t *value;    /* leaf */
    struct bolt_node *child; /* branch: NULL while it is only a page */
    uint64_t page;           /* branch: the child's */
    uint32_t key_size;
    uint32_t value_size;
    bool is_bucket;
};

struct bolt_node {
    bool leaf;
    bool shrunk; /* lost rows or children since it was read */
    uint32_t count;
    uint32_t capacity;
    uint64_t bytes; /* on the page, header included */
    uint64_t page;  /* where the commit writes it */
    struct node_item *items;
};

struct bolt_tree {
    struct bolt_tree *next;
    struct bolt_tx *tx;
    struct bytes name; /* empty: the root bucket */
    uint64_t page;     /* the root's, while root is NULL; 0: inline_page */
    struct bytes inline_page;
    uint64_t sequence;
    struct bolt_node *root; /* NULL: unchanged */
    struct bolt_node *last; /* the last leaf, when known: ascending keys go straight there */
    uint64_t changes;       /* counts them, for cursors */
};

/* Key and value must live as long as the transaction. ERROR_INVALID: the key has a row of the other kind; any
 * other error leaves the transaction damaged. */
struct error *tree_put(struct bolt_tree *tree, struct bytes key, struct bytes value, bool is_bucket)
    __attribute__((warn_unused_result));
/* `key` must be there. */
struct error *tree_remove(struct bolt_tree *tree, struct bytes key) __attribute__((warn_unused_result));
/* Gives up every page of the tree and of the buckets in it. */
struct error *tree_give_up(struct bolt_tree *tree) __attribute__((warn_unused_result));
/* Merges nodes that deletions left small. Afterwards root is NULL or what has to be written. */
struct error *tree_settle(struct bolt_tree *tree) __attribute__((warn_unused_result));

/* As page_search. */
uint32_t node_search(const struct bolt_node *node, struct bytes key, bool *exact);
uint64_t node_pages(const struct bolt_node *node, uint32_t page_size);
/* As page `page` into `at`, which has room for node->bytes; page 0 for an inline bucket. */
void node_encode(const struct bolt_node *node, uint64_t page, uint32_t overflow, uint8_t *at);

static inline struct bytes node_key(const struct bolt_node *node, uint32_t index)
{
    return bytes_of(node->items[index].key, node->items[index].key_size);
}

#endif
