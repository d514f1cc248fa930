#include "raft/inflights.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void raft_inflights_init(struct raft_inflights *inflights, uint64_t max_count, uint64_t max_bytes)
{
    *inflights = (struct raft_inflights){.max_count = max_count, .max_bytes = max_bytes};
}

void raft_inflights_deinit(struct raft_inflights *inflights)
{
    free(inflights->items);
    *inflights = (struct raft_inflights){0};
}

static const struct raft_inflight *at(const struct raft_inflights *inflights, size_t position)
{
    return &inflights->items[(inflights->start + position) % inflights->capacity];
}

/* Moves the ring into an array of another size, oldest first. */
static struct raft_inflight *unroll(const struct raft_inflights *inflights, size_t capacity)
{
    struct raft_inflight *items = mem_alloc(capacity * sizeof(*items));
    for (size_t i = 0; i < inflights->count; i++) items[i] = *at(inflights, i);
    return items;
}

void raft_inflights_copy(struct raft_inflights *to, const struct raft_inflights *from)
{
    struct raft_inflight *items = from->count == 0 ? NULL : unroll(from, from->count);
    free(to->items);
    *to = *from;
    to->items = items;
    to->start = 0;
    to->capacity = from->count;
}

void raft_inflights_add(struct raft_inflights *inflights, uint64_t index, uint64_t bytes)
{
    assert(!raft_inflights_full(inflights));
    assert(inflights->count == 0 || at(inflights, inflights->count - 1)->index <= index);
    if (inflights->count == inflights->capacity) {
        size_t capacity = inflights->capacity == 0 ? 8 : inflights->capacity * 2;
        struct raft_inflight *items = unroll(inflights, capacity);
        free(inflights->items);
        inflights->items = items;
        inflights->start = 0;
        inflights->capacity = capacity;
    }
    inflights->items[(inflights->start + inflights->count) % inflights->capacity] =
        (struct raft_inflight){.index = index, .bytes = bytes};
    inflights->count++;
    inflights->bytes += bytes;
}

void raft_inflights_free_to(struct raft_inflights *inflights, uint64_t index)
{
    while (inflights->count > 0 && at(inflights, 0)->index <= index) {
        inflights->bytes -= at(inflights, 0)->bytes;
        inflights->start = (inflights->start + 1) % inflights->capacity;
        inflights->count--;
    }
}

bool raft_inflights_full(const struct raft_inflights *inflights)
{
    return inflights->count >= inflights->max_count ||
           (inflights->max_bytes != 0 && inflights->bytes >= inflights->max_bytes);
}

void raft_inflights_reset(struct raft_inflights *inflights)
{
    inflights->start = 0;
    inflights->count = 0;
    inflights->bytes = 0;
}
