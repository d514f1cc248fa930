#include "auth/ranges.h"

#include "api/keys.h"
#include "auth/interval_tree.h"
#include "base/memory.h"

#include <stdlib.h>

void auth_ranges_deinit(struct auth_ranges *ranges)
{
    free(ranges->items);
    free(ranges->added);
    arena_free(ranges->arena);
    *ranges = (struct auth_ranges){0};
}

/* The smallest key above `key`: one zero byte behind it. */
static struct bytes successor(struct auth_ranges *ranges, struct bytes key)
{
    if (ranges->arena == NULL) ranges->arena = arena_new();
    uint8_t *end = arena_alloc(ranges->arena, key.size + 1);
    memcpy(end, key.data, key.size);
    end[key.size] = 0;
    return bytes_of(end, key.size + 1);
}

void auth_ranges_add(struct auth_ranges *ranges, struct bytes key, struct bytes range_end)
{
    struct auth_range range = {.begin = key, .end = range_end, .is_open = key_is_open_end(range_end)};
    if (range_end.size == 0) range.end = successor(ranges, key);
    if (range.is_open) range.end = BYTES_EMPTY;
    if (ranges->added_count == ranges->capacity) {
        ranges->capacity = ranges->capacity == 0 ? 8 : ranges->capacity * 2;
        ranges->added = mem_realloc(ranges->added, ranges->capacity * sizeof(*ranges->added));
    }
    ranges->added[ranges->added_count++] = range;
}

static bool is_empty(const struct auth_range *range)
{
    return range->begin.size == 0 || (!range->is_open && bytes_compare(range->end, range->begin) <= 0);
}

static int by_begin(const void *a, const void *b)
{
    return bytes_compare(((const struct auth_range *)a)->begin, ((const struct auth_range *)b)->begin);
}

/* `next` begins at or after `range`: does it reach it? */
static bool touches(const struct auth_range *range, const struct auth_range *next)
{
    return range->is_open || bytes_compare(next->begin, range->end) <= 0;
}

void auth_ranges_merge(struct auth_ranges *ranges)
{
    ranges->items = mem_zalloc(ranges->added_count, sizeof(*ranges->items));
    for (size_t i = 0; i < ranges->added_count; i++)
        if (!is_empty(&ranges->added[i])) ranges->items[ranges->count++] = ranges->added[i];
    if (ranges->count == 0) return;
    qsort(ranges->items, ranges->count, sizeof(*ranges->items), by_begin);
    size_t last = 0;
    for (size_t i = 1; i < ranges->count; i++) {
        struct auth_range *range = &ranges->items[last], *next = &ranges->items[i];
        if (!touches(range, next)) {
            ranges->items[++last] = *next;
        } else if (next->is_open) {
            range->is_open = true;
        } else if (!range->is_open && bytes_compare(next->end, range->end) > 0) {
            range->end = next->end;
        }
    }
    ranges->count = last + 1;
}

/* The last range that begins at or before `key`; NULL: none does. */
static const struct auth_range *find(const struct auth_ranges *ranges, struct bytes key)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(ranges->items[middle].begin, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &ranges->items[low - 1];
}

bool auth_ranges_cover(const struct auth_ranges *ranges, struct bytes key, struct bytes range_end)
{
    bool is_range = range_end.size > 0 && !key_is_open_end(range_end);
    if (key.size == 0) return false;
    if (is_range && bytes_compare(range_end, key) <= 0)
        return auth_interval_tree_finds(ranges->added, ranges->added_count, key, range_end);
    const struct auth_range *range = find(ranges, key);
    if (range == NULL) return false;
    if (range->is_open) return true;
    if (bytes_compare(key, range->end) >= 0) return false;
    if (range_end.size == 0) return true;
    return is_range && bytes_compare(range_end, range->end) <= 0;
}
