#include "base/heap.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void heap_deinit(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

static bool comes_before(const struct heap_node *a, const struct heap_node *b)
{
    if (a->key != b->key) return a->key < b->key;
    return a->sequence < b->sequence;
}

static void place_at(struct heap *heap, size_t position, struct heap_node *node)
{
    heap->nodes[position] = node;
    node->place = position + 1;
}

static void sift_up(struct heap *heap, size_t position, struct heap_node *node)
{
    while (position > 0) {
        size_t parent = (position - 1) / 2;
        if (!comes_before(node, heap->nodes[parent])) break;
        place_at(heap, position, heap->nodes[parent]);
        position = parent;
    }
    place_at(heap, position, node);
}

static void sift_down(struct heap *heap, size_t position, struct heap_node *node)
{
    for (;;) {
        size_t child = 2 * position + 1;
        if (child >= heap->count) break;
        if (child + 1 < heap->count && comes_before(heap->nodes[child + 1], heap->nodes[child])) child++;
        if (!comes_before(heap->nodes[child], node)) break;
        place_at(heap, position, heap->nodes[child]);
        position = child;
    }
    place_at(heap, position, node);
}

static void settle(struct heap *heap, size_t position, struct heap_node *node)
{
    if (position > 0 && comes_before(node, heap->nodes[(position - 1) / 2]))
        sift_up(heap, position, node);
    else
        sift_down(heap, position, node);
}

void heap_put(struct heap *heap, struct heap_node *node, int64_t key)
{
    node->key = key;
    node->sequence = heap->sequence++;
    if (node->place != 0) {
        assert(node->place <= heap->count && heap->nodes[node->place - 1] == node);
        settle(heap, node->place - 1, node);
        return;
    }
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 16 : heap->capacity * 2;
        heap->nodes = mem_realloc(heap->nodes, heap->capacity * sizeof(*heap->nodes));
    }
    sift_up(heap, heap->count++, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0) return;
    size_t position = node->place - 1;
    assert(position < heap->count && heap->nodes[position] == node);
    node->place = 0;
    struct heap_node *last = heap->nodes[--heap->count];
    if (last != node) settle(heap, position, last);
}
