/* A run of log entries with cheap ends: what the unstable tail, the memory storage, messages and readies are
 * made of. */
#include "base/memory.h"
#include "base/wire.h"
#include "raft/raft.h"

#include <assert.h>
#include <stdlib.h>

void raft_entries_deinit(struct raft_entries *entries)
{
    raft_entries_truncate(entries, 0);
    if (entries->items != NULL) free(entries->items - entries->head);
    *entries = (struct raft_entries){0};
}

/* Makes room for `more` behind the last entry. Free places in front are used again once they are at least as
 * many as the entries that have to move, which keeps appending and dropping O(1) in the long run. */
static void reserve(struct raft_entries *entries, size_t more)
{
    size_t wanted = entries->count + more;
    assert(wanted >= more);
    if (entries->head + wanted <= entries->capacity) return;
    struct raft_entry *memory = entries->items == NULL ? NULL : entries->items - entries->head;
    if (wanted <= entries->capacity && entries->head >= entries->count) {
        if (entries->count > 0) memmove(memory, entries->items, entries->count * sizeof(*memory));
        entries->items = memory;
        entries->head = 0;
        return;
    }
    size_t capacity = entries->count + (entries->count > more ? entries->count : more);
    assert(capacity < SIZE_MAX / sizeof(*memory));
    struct raft_entry *grown = mem_alloc(capacity * sizeof(*grown));
    if (entries->count > 0) memcpy(grown, entries->items, entries->count * sizeof(*grown));
    free(memory);
    entries->items = grown;
    entries->head = 0;
    entries->capacity = capacity;
}

void raft_entries_append(struct raft_entries *entries, const struct raft_entry *items, size_t count)
{
    if (count == 0) return;
    reserve(entries, count);
    memcpy(entries->items + entries->count, items, count * sizeof(*items));
    for (size_t i = 0; i < count; i++) blob_ref(items[i].data);
    entries->count += count;
}

void raft_entries_append_owned(struct raft_entries *entries, struct raft_entry entry)
{
    reserve(entries, 1);
    entries->items[entries->count++] = entry;
}

void raft_entries_drop_front(struct raft_entries *entries, size_t count)
{
    assert(count <= entries->count);
    for (size_t i = 0; i < count; i++) blob_unref(entries->items[i].data);
    if (count == 0) return;
    entries->items += count;
    entries->head += count;
    entries->count -= count;
}

void raft_entries_truncate(struct raft_entries *entries, size_t count)
{
    assert(count <= entries->count);
    for (size_t i = count; i < entries->count; i++) blob_unref(entries->items[i].data);
    entries->count = count;
}

uint64_t raft_entry_encoded_size(const struct raft_entry *entry)
{
    uint64_t size = 1 + wire_varint_size(entry->term) + 1 + wire_varint_size(entry->index);
    if (entry->type != RAFT_ENTRY_NORMAL) size += 2;
    if (entry->data != NULL) size += 1 + wire_varint_size(entry->data->size) + entry->data->size;
    return size;
}

size_t raft_entries_limit(const struct raft_entry *items, size_t count, uint64_t max)
{
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += raft_entry_encoded_size(&items[i]);
        if (size > max && i > 0) return i;
    }
    return count;
}

uint64_t raft_entries_encoded_size(const struct raft_entry *items, size_t count)
{
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) size += raft_entry_encoded_size(&items[i]);
    return size;
}

uint64_t raft_entries_payload_size(const struct raft_entry *items, size_t count)
{
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) size += items[i].data == NULL ? 0 : items[i].data->size;
    return size;
}
