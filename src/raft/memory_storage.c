#include "raft/memory_storage.h"

#include <assert.h>

static struct raft_memory_storage *memory_of(struct raft_storage *storage)
{
    return (struct raft_memory_storage *)storage; /* storage is the first member */
}

uint64_t raft_memory_storage_first_index(const struct raft_memory_storage *memory)
{
    return memory->compacted_index + 1;
}

uint64_t raft_memory_storage_last_index(const struct raft_memory_storage *memory)
{
    return memory->compacted_index + memory->entries.count;
}

static void initial_state(struct raft_storage *storage, struct raft_hard_state *hard_state,
                          struct raft_conf_state *conf_state)
{
    *hard_state = memory_of(storage)->hard_state;
    raft_conf_state_copy(conf_state, &memory_of(storage)->snapshot.conf_state);
}

static enum raft_result entries(struct raft_storage *storage, uint64_t low, uint64_t high, uint64_t max_size,
                                struct raft_entries *out)
{
    struct raft_memory_storage *memory = memory_of(storage);
    if (low <= memory->compacted_index) return RAFT_COMPACTED;
    if (low > high || high > raft_memory_storage_last_index(memory) + 1) return RAFT_UNAVAILABLE;
    if (low == high) return RAFT_OK;
    const struct raft_entry *from = memory->entries.items + (low - memory->compacted_index - 1);
    raft_entries_append(out, from, raft_entries_limit(from, high - low, max_size));
    return RAFT_OK;
}

static enum raft_result term(struct raft_storage *storage, uint64_t index, uint64_t *term_out)
{
    struct raft_memory_storage *memory = memory_of(storage);
    if (index < memory->compacted_index) return RAFT_COMPACTED;
    if (index > raft_memory_storage_last_index(memory)) return RAFT_UNAVAILABLE;
    *term_out = index == memory->compacted_index
                    ? memory->compacted_term
                    : memory->entries.items[index - memory->compacted_index - 1].term;
    return RAFT_OK;
}

static uint64_t first_index(struct raft_storage *storage)
{
    return raft_memory_storage_first_index(memory_of(storage));
}

static uint64_t last_index(struct raft_storage *storage)
{
    return raft_memory_storage_last_index(memory_of(storage));
}

static enum raft_result snapshot_of(struct raft_storage *storage, struct raft_snapshot *snapshot)
{
    raft_snapshot_copy(snapshot, &memory_of(storage)->snapshot);
    return RAFT_OK;
}

static const struct raft_storage_vtable memory_vtable = {
    .initial_state = initial_state,
    .entries = entries,
    .term = term,
    .first_index = first_index,
    .last_index = last_index,
    .snapshot = snapshot_of,
};

void raft_memory_storage_init(struct raft_memory_storage *memory)
{
    *memory = (struct raft_memory_storage){.storage = {.vtable = &memory_vtable}};
}

void raft_memory_storage_deinit(struct raft_memory_storage *memory)
{
    raft_snapshot_deinit(&memory->snapshot);
    raft_entries_deinit(&memory->entries);
}

void raft_memory_storage_set_hard_state(struct raft_memory_storage *memory, struct raft_hard_state state)
{
    memory->hard_state = state;
}

enum raft_result raft_memory_storage_apply_snapshot(struct raft_memory_storage *memory,
                                                    const struct raft_snapshot *snapshot)
{
    if (memory->snapshot.index != 0 && memory->snapshot.index >= snapshot->index)
        return RAFT_SNAPSHOT_OUT_OF_DATE;
    raft_snapshot_copy(&memory->snapshot, snapshot);
    raft_entries_truncate(&memory->entries, 0);
    memory->payload = 0;
    memory->compacted_index = snapshot->index;
    memory->compacted_term = snapshot->term;
    return RAFT_OK;
}

enum raft_result raft_memory_storage_create_snapshot(struct raft_memory_storage *memory, uint64_t index,
                                                     const struct raft_conf_state *conf_state,
                                                     struct blob *data)
{
    if (index <= memory->snapshot.index) return RAFT_SNAPSHOT_OUT_OF_DATE;
    assert(index >= memory->compacted_index && index <= raft_memory_storage_last_index(memory));
    enum raft_result result = term(&memory->storage, index, &memory->snapshot.term);
    assert(result == RAFT_OK);
    memory->snapshot.index = index;
    if (conf_state != NULL) raft_conf_state_copy(&memory->snapshot.conf_state, conf_state);
    blob_ref(data);
    blob_unref(memory->snapshot.data);
    memory->snapshot.data = data;
    return RAFT_OK;
}

enum raft_result raft_memory_storage_compact(struct raft_memory_storage *memory, uint64_t index)
{
    if (index <= memory->compacted_index) return RAFT_COMPACTED;
    assert(index <= raft_memory_storage_last_index(memory));
    size_t dropped = index - memory->compacted_index;
    memory->compacted_term = memory->entries.items[dropped - 1].term;
    memory->compacted_index = index;
    memory->payload -= raft_entries_payload_size(memory->entries.items, dropped);
    raft_entries_drop_front(&memory->entries, dropped);
    return RAFT_OK;
}

void raft_memory_storage_append(struct raft_memory_storage *memory, const struct raft_entry *items,
                                size_t count)
{
    if (count == 0) return;
    for (size_t i = 1; i < count; i++) assert(items[i].index == items[0].index + i);
    uint64_t first = raft_memory_storage_first_index(memory);
    if (items[count - 1].index < first) return; /* all of it is compacted already */
    if (items[0].index < first) {
        size_t skipped = first - items[0].index;
        items += skipped;
        count -= skipped;
    }
    assert(items[0].index <= raft_memory_storage_last_index(memory) + 1); /* no gap */
    size_t kept = items[0].index - first;
    memory->payload -= raft_entries_payload_size(memory->entries.items + kept, memory->entries.count - kept);
    raft_entries_truncate(&memory->entries, kept);
    raft_entries_append(&memory->entries, items, count);
    memory->payload += raft_entries_payload_size(items, count);
}
