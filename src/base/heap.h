/* heap: what is due first.
 *
 * A binary heap of intrusive nodes with 64-bit keys, for deadlines. Equal keys come out in the order in which
 * they were put, so that runs are repeatable. Zero-initialised heaps and nodes are empty and valid. Not
 * thread safe.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    uint64_t sequence;
    size_t place; /* position + 1; 0: in no heap */
};

struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t capacity;
    uint64_t sequence;
};

/* The nodes are the caller's; those still inside must not be used with this heap again. */
void heap_deinit(struct heap *heap);
/* Puts the node in with this key, or moves it when it is in already. */
void heap_put(struct heap *heap, struct heap_node *node, int64_t key);
/* Fine when it is not in. */
void heap_remove(struct heap *heap, struct heap_node *node);
static inline bool heap_contains(const struct heap_node *node)
{
    return node->place != 0;
}
/* The node with the least key; NULL when empty. */
static inline struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count == 0 ? NULL : heap->nodes[0];
}

#endif
