/* keys: how etcd's API writes ranges of keys.
 *
 *   key, range_end        meaning
 *   k, ""                 the single key k
 *   k, e                  k <= key < e, nothing when e <= k
 *   k, one zero byte      key >= k
 */
#ifndef API_KEYS_H
#define API_KEYS_H

#include "base/arena.h"
#include "base/buf.h"

/* One zero byte: as range_end "no upper bound", as key the smallest key there is. */
#define KEY_OPEN_END (BYTES_LITERAL("\0"))

static inline bool key_is_open_end(struct bytes range_end)
{
    return range_end.size == 1 && range_end.data[0] == 0;
}

/* The size of the range_end that covers all keys starting with `prefix`: the prefix up to and including its
 * last byte below 0xff (which is to be raised by one). 0 when there is none: the range is open. */
static inline size_t key_prefix_end_size(struct bytes prefix)
{
    size_t size = prefix.size;
    while (size > 0 && prefix.data[size - 1] == 0xff) size--;
    return size;
}

/* The range_end for all keys starting with `prefix`: an open end for an empty prefix and for one of 0xff
 * only. Allocated from `arena` when it is not the open end. */
static inline struct bytes key_prefix_end(struct bytes prefix, struct arena *arena)
{
    size_t size = key_prefix_end_size(prefix);
    if (size == 0) return KEY_OPEN_END;
    uint8_t *end = (uint8_t *)arena_alloc(arena, size);
    memcpy(end, prefix.data, size);
    end[size - 1]++;
    return bytes_of(end, size);
}

/* Whether `key` lies in the range that (from, range_end) writes. */
static inline bool key_in_range(struct bytes key, struct bytes from, struct bytes range_end)
{
    if (range_end.size == 0) return bytes_equal(key, from);
    if (bytes_compare(key, from) < 0) return false;
    return key_is_open_end(range_end) || bytes_compare(key, range_end) < 0;
}

/* Whether range_end is exactly the prefix end of key (etcdctl then says "prefix"). */
static inline bool key_is_prefix_range(struct bytes key, struct bytes range_end)
{
    size_t size = key_prefix_end_size(key);
    if (size == 0) return key_is_open_end(range_end);
    return range_end.size == size && memcmp(range_end.data, key.data, size - 1) == 0 &&
           range_end.data[size - 1] == key.data[size - 1] + 1;
}

#endif
