/* unstable: the end of the log that is not yet known to be in storage.
 *
 *                 offset        offset_in_progress         last
 *     ... storage | handed out to be written | not yet handed out |
 *
 * An unstable snapshot, if there is one, comes before all entries: it replaces the whole log. offset may lie
 * below the storage's last index: then the next write truncates the storage. All of it belongs to raft_log.
 */
#ifndef RAFT_UNSTABLE_H
#define RAFT_UNSTABLE_H

#include "raft/raft.h"

struct raft_unstable {
    struct raft_snapshot snapshot;
    bool has_snapshot;
    bool snapshot_in_progress; /* handed out to be written */
    struct raft_entries entries;
    uint64_t offset;             /* index of entries.items[0], also when there is none */
    uint64_t offset_in_progress; /* first index that was not handed out */
    const struct logger *logger;
};

void raft_unstable_init(struct raft_unstable *unstable, uint64_t offset, const struct logger *logger);
void raft_unstable_deinit(struct raft_unstable *unstable);

/* What the unstable part alone can say; false when it cannot. */
bool raft_unstable_first_index(const struct raft_unstable *unstable, uint64_t *first);
bool raft_unstable_last_index(const struct raft_unstable *unstable, uint64_t *last);
bool raft_unstable_term(const struct raft_unstable *unstable, uint64_t index, uint64_t *term);
/* Entries [low, high), which must be here; borrowed until the next change. */
const struct raft_entry *raft_unstable_slice(const struct raft_unstable *unstable, uint64_t low,
                                             uint64_t high);

/* Appends entries, replacing what is there from the first one's index on. No gap is allowed. */
void raft_unstable_truncate_and_append(struct raft_unstable *unstable, const struct raft_entry *items,
                                       size_t count);
/* The entries that were not handed out yet; *count of them. */
const struct raft_entry *raft_unstable_next(const struct raft_unstable *unstable, size_t *count);
/* The snapshot if it was not handed out yet, else NULL. */
const struct raft_snapshot *raft_unstable_next_snapshot(const struct raft_unstable *unstable);
/* Everything has been handed out. */
void raft_unstable_accept(struct raft_unstable *unstable);
/* Entries up to index are in storage, provided the entry there still has this term. */
void raft_unstable_stable_to(struct raft_unstable *unstable, uint64_t index, uint64_t term);
void raft_unstable_stable_snapshot_to(struct raft_unstable *unstable, uint64_t index);
/* The snapshot becomes the whole log. */
void raft_unstable_restore(struct raft_unstable *unstable, const struct raft_snapshot *snapshot);

#endif
