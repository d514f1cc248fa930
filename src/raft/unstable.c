#include "raft/unstable.h"

#include "raft/note.h"

#include <assert.h>

void raft_unstable_init(struct raft_unstable *unstable, uint64_t offset, const struct logger *logger)
{
    *unstable = (struct raft_unstable){.offset = offset, .offset_in_progress = offset, .logger = logger};
}

void raft_unstable_deinit(struct raft_unstable *unstable)
{
    raft_snapshot_deinit(&unstable->snapshot);
    raft_entries_deinit(&unstable->entries);
}

bool raft_unstable_first_index(const struct raft_unstable *unstable, uint64_t *first)
{
    if (!unstable->has_snapshot) return false;
    *first = unstable->snapshot.index + 1;
    return true;
}

bool raft_unstable_last_index(const struct raft_unstable *unstable, uint64_t *last)
{
    if (unstable->entries.count > 0) {
        *last = unstable->offset + unstable->entries.count - 1;
        return true;
    }
    if (unstable->has_snapshot) *last = unstable->snapshot.index;
    return unstable->has_snapshot;
}

bool raft_unstable_term(const struct raft_unstable *unstable, uint64_t index, uint64_t *term)
{
    if (index >= unstable->offset) {
        if (index - unstable->offset >= unstable->entries.count) return false;
        *term = unstable->entries.items[index - unstable->offset].term;
        return true;
    }
    if (!unstable->has_snapshot || unstable->snapshot.index != index) return false;
    *term = unstable->snapshot.term;
    return true;
}

const struct raft_entry *raft_unstable_slice(const struct raft_unstable *unstable, uint64_t low,
                                             uint64_t high)
{
    assert(low <= high && low >= unstable->offset && high - unstable->offset <= unstable->entries.count);
    return low == high ? NULL : unstable->entries.items + (low - unstable->offset);
}

void raft_unstable_truncate_and_append(struct raft_unstable *unstable, const struct raft_entry *items,
                                       size_t count)
{
    assert(count > 0);
    uint64_t from = items[0].index;
    assert(from <= unstable->offset + unstable->entries.count);
    if (from == unstable->offset + unstable->entries.count) {
        /* the usual case: behind the end */
    } else if (from <= unstable->offset) {
        note_info(unstable->logger, "replace the unstable entries from index " DEC, from);
        raft_entries_truncate(&unstable->entries, 0);
        unstable->offset = from;
        unstable->offset_in_progress = from;
    } else {
        note_info(unstable->logger, "truncate the unstable entries before index " DEC, from);
        raft_entries_truncate(&unstable->entries, from - unstable->offset);
        /* What replaces entries that are being written must be written in its turn. */
        if (unstable->offset_in_progress > from) unstable->offset_in_progress = from;
    }
    raft_entries_append(&unstable->entries, items, count);
}

const struct raft_entry *raft_unstable_next(const struct raft_unstable *unstable, size_t *count)
{
    size_t in_progress = unstable->offset_in_progress - unstable->offset;
    assert(in_progress <= unstable->entries.count);
    *count = unstable->entries.count - in_progress;
    return *count == 0 ? NULL : unstable->entries.items + in_progress;
}

const struct raft_snapshot *raft_unstable_next_snapshot(const struct raft_unstable *unstable)
{
    return unstable->has_snapshot && !unstable->snapshot_in_progress ? &unstable->snapshot : NULL;
}

void raft_unstable_accept(struct raft_unstable *unstable)
{
    unstable->offset_in_progress = unstable->offset + unstable->entries.count;
    if (unstable->has_snapshot) unstable->snapshot_in_progress = true;
}

void raft_unstable_stable_to(struct raft_unstable *unstable, uint64_t index, uint64_t term)
{
    uint64_t present;
    if (!raft_unstable_term(unstable, index, &present)) {
        note_info(unstable->logger, "entry at index " DEC " missing from unstable log; ignoring", index);
        return;
    }
    if (index < unstable->offset) {
        note_info(unstable->logger, "entry at index " DEC " matched unstable snapshot; ignoring", index);
        return;
    }
    if (present != term) {
        /* The entry was replaced while its predecessor was being written. Later writes in the pipeline may
         * overwrite what this one wrote, so only the acknowledgement of the present entry counts. */
        note_info(unstable->logger,
                  "entry at (index,term)=(" DEC "," DEC ") mismatched with entry at (" DEC "," DEC
                  ") in unstable log; ignoring",
                  index, term, index, present);
        return;
    }
    raft_entries_drop_front(&unstable->entries, index + 1 - unstable->offset);
    unstable->offset = index + 1;
    if (unstable->offset_in_progress < unstable->offset) unstable->offset_in_progress = unstable->offset;
}

void raft_unstable_stable_snapshot_to(struct raft_unstable *unstable, uint64_t index)
{
    if (!unstable->has_snapshot || unstable->snapshot.index != index) return;
    raft_snapshot_deinit(&unstable->snapshot);
    unstable->has_snapshot = false;
    unstable->snapshot_in_progress = false;
}

void raft_unstable_restore(struct raft_unstable *unstable, const struct raft_snapshot *snapshot)
{
    raft_entries_truncate(&unstable->entries, 0);
    raft_snapshot_copy(&unstable->snapshot, snapshot);
    unstable->has_snapshot = true;
    unstable->snapshot_in_progress = false;
    unstable->offset = snapshot->index + 1;
    unstable->offset_in_progress = unstable->offset;
}
