/* memory_storage: the stable log in memory.
 *
 * The raft_storage that server, simulator and tests use: entries are put into it after they are written to
 * the durable log, and it answers what raft asks. Entry 0 of the paper's log is a placeholder that holds
 * (index, term) of the point up to which the log is compacted. Not thread safe.
 */
#ifndef RAFT_MEMORY_STORAGE_H
#define RAFT_MEMORY_STORAGE_H

#include "raft/raft.h"

struct raft_memory_storage {
    struct raft_storage storage; /* pass &it.storage to raft_new */
    struct raft_hard_state hard_state;
    struct raft_snapshot snapshot;
    uint64_t compacted_index; /* the placeholder; first index - 1 */
    uint64_t compacted_term;
    struct raft_entries entries;
    uint64_t payload; /* bytes of their data */
};

void raft_memory_storage_init(struct raft_memory_storage *memory);
void raft_memory_storage_deinit(struct raft_memory_storage *memory);
void raft_memory_storage_set_hard_state(struct raft_memory_storage *memory, struct raft_hard_state state);
/* Replaces snapshot and log. RAFT_SNAPSHOT_OUT_OF_DATE when it is not newer than the present one. */
enum raft_result raft_memory_storage_apply_snapshot(struct raft_memory_storage *memory,
                                                    const struct raft_snapshot *snapshot)
    __attribute__((warn_unused_result));
/* Stores a snapshot of the applied state at `index` (which must be in the log) without touching the entries:
 * compact them later, so that slow members can still catch up. `conf_state` NULL keeps the former one. `data`
 * is shared. RAFT_SNAPSHOT_OUT_OF_DATE when not newer. */
enum raft_result raft_memory_storage_create_snapshot(struct raft_memory_storage *memory, uint64_t index,
                                                     const struct raft_conf_state *conf_state,
                                                     struct blob *data) __attribute__((warn_unused_result));
/* Drops the entries up to and including `index`, which must be in the log. RAFT_COMPACTED when they are gone
 * already. */
enum raft_result raft_memory_storage_compact(struct raft_memory_storage *memory, uint64_t index)
    __attribute__((warn_unused_result));
/* Stores entries, replacing present ones from the first given index on. They must be contiguous and leave no
 * gap (asserted). */
void raft_memory_storage_append(struct raft_memory_storage *memory, const struct raft_entry *entries,
                                size_t count);
uint64_t raft_memory_storage_first_index(const struct raft_memory_storage *memory);
uint64_t raft_memory_storage_last_index(const struct raft_memory_storage *memory);

#endif
