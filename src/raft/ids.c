/* Lists and sets of member ids. Configurations are small, so a sorted array is the set. */
#include "base/memory.h"
#include "raft/raft.h"

#include <stdlib.h>

void raft_ids_deinit(struct raft_ids *ids)
{
    free(ids->items);
    *ids = (struct raft_ids){0};
}

static void insert_at(struct raft_ids *ids, size_t position, uint64_t id)
{
    if (ids->count == ids->capacity) {
        ids->capacity = ids->capacity == 0 ? 4 : ids->capacity * 2;
        ids->items = mem_realloc(ids->items, ids->capacity * sizeof(*ids->items));
    }
    memmove(ids->items + position + 1, ids->items + position, (ids->count - position) * sizeof(*ids->items));
    ids->items[position] = id;
    ids->count++;
}

/* The first position whose id is not below `id`. */
static size_t lower_bound(const struct raft_ids *ids, uint64_t id)
{
    size_t low = 0, high = ids->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ids->items[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void raft_ids_append(struct raft_ids *ids, uint64_t id)
{
    insert_at(ids, ids->count, id);
}

void raft_ids_insert(struct raft_ids *ids, uint64_t id)
{
    size_t position = lower_bound(ids, id);
    if (position < ids->count && ids->items[position] == id) return;
    insert_at(ids, position, id);
}

void raft_ids_remove(struct raft_ids *ids, uint64_t id)
{
    size_t position = lower_bound(ids, id);
    if (position == ids->count || ids->items[position] != id) return;
    ids->count--;
    memmove(ids->items + position, ids->items + position + 1, (ids->count - position) * sizeof(*ids->items));
}

bool raft_ids_contain(const struct raft_ids *ids, uint64_t id)
{
    size_t position = lower_bound(ids, id);
    return position < ids->count && ids->items[position] == id;
}

void raft_ids_copy(struct raft_ids *to, const struct raft_ids *from)
{
    if (to == from) return;
    if (to->capacity < from->count) {
        free(to->items);
        to->items = mem_alloc(from->count * sizeof(*to->items));
        to->capacity = from->count;
    }
    if (from->count > 0) memcpy(to->items, from->items, from->count * sizeof(*to->items));
    to->count = from->count;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void raft_ids_sort(struct raft_ids *ids)
{
    if (ids->count > 1) qsort(ids->items, ids->count, sizeof(*ids->items), compare_ids);
}

bool raft_ids_equal(const struct raft_ids *a, const struct raft_ids *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->items, b->items, a->count * sizeof(*a->items)) == 0);
}
