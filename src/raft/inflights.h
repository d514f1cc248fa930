/* inflights: the RAFT_APP messages on the way to one peer that were not acknowledged yet.
 *
 * A sliding window, limited in messages and in bytes: a first-in first-out ring of (last index, bytes). One
 * message may overshoot the byte limit. The ring grows on demand.
 */
#ifndef RAFT_INFLIGHTS_H
#define RAFT_INFLIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raft_inflight {
    uint64_t index;
    uint64_t bytes;
};

struct raft_inflights {
    struct raft_inflight *items;
    size_t start;
    size_t count;
    size_t capacity;
    uint64_t bytes;
    uint64_t max_count;
    uint64_t max_bytes; /* 0: no limit */
};

void raft_inflights_init(struct raft_inflights *inflights, uint64_t max_count, uint64_t max_bytes);
void raft_inflights_deinit(struct raft_inflights *inflights);
void raft_inflights_copy(struct raft_inflights *to, const struct raft_inflights *from);
/* Must not be full; indexes must not go down. */
void raft_inflights_add(struct raft_inflights *inflights, uint64_t index, uint64_t bytes);
/* Everything up to and including index has arrived. */
void raft_inflights_free_to(struct raft_inflights *inflights, uint64_t index);
bool raft_inflights_full(const struct raft_inflights *inflights);
void raft_inflights_reset(struct raft_inflights *inflights);

#endif
