/* read_only: linearizable reads that wait for their leader to be confirmed (Raft dissertation, 6.4).
 *
 * Requests queue with the commit index of their arrival. Each has a position, counted from the leader's
 * election on. The leader's heartbeats carry the last position, members echo it, and when a quorum has echoed
 * a position, all requests up to it were asked while this leader was the leader. Positions, unlike contexts
 * chosen by the application, never repeat, so an echo that is late cannot confirm a later request.
 */
#ifndef RAFT_READ_ONLY_H
#define RAFT_READ_ONLY_H

#include "raft/raft.h"

enum { RAFT_PENDING_READS_MAX = 65536 };

struct raft_read_request {
    uint64_t from;               /* who asked */
    uint64_t index;              /* commit index then */
    struct raft_entries entries; /* one; its data is the request's context */
};

struct raft_read_only {
    struct raft_read_request *items; /* ring, oldest first */
    size_t start;
    size_t count;
    size_t capacity;
    uint64_t confirmed; /* position up to which requests are answered */
};

void raft_read_only_deinit(struct raft_read_only *reads);
void raft_read_only_reset(struct raft_read_only *reads);
/* Queues a request and returns its position; 0 when the queue is full (the application asks again). */
uint64_t raft_read_only_add(struct raft_read_only *reads, uint64_t index, const struct raft_message *request);
/* The position of the last request. */
static inline uint64_t raft_read_only_last_position(const struct raft_read_only *reads)
{
    return reads->confirmed + reads->count;
}
/* What heartbeats carry: the last position, or NULL when nothing waits. A new reference. */
struct blob *raft_read_only_heartbeat_context(const struct raft_read_only *reads);
/* Takes the oldest request off when it is at or below `position`. The caller owns request->entries. */
bool raft_read_only_pop(struct raft_read_only *reads, uint64_t position, struct raft_read_request *request);

#endif
