/* force: makes a member the only one of its cluster (--force-new-cluster), when the others are lost for good.
 *
 * What is committed stays; what is not is dropped, for nobody can say any more what became of it. Entries
 * that remove everybody else follow, committed from the start, so that raft begins with this member alone.
 * The ids of the others can never come back.
 */
#ifndef MEMBER_FORCE_H
#define MEMBER_FORCE_H

#include "base/log.h"
#include "raft/raft.h"
#include "storage/wal.h"

/* Changes what was read of the log: its hard state and its entries. `applied`: the backend's consistent
 * index, `snapshot`: what the log begins behind. The entries from *first (an index) on are new and must be
 * saved, with the hard state. ERROR_CORRUPT: a configuration change cannot be decoded. */
struct error *member_force_alone(uint64_t id, uint64_t applied, const struct raft_snapshot *snapshot,
                                 struct wal_content *content, uint64_t *first, const struct logger *logger)
    __attribute__((warn_unused_result));

#endif
