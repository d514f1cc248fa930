/* progress: what a leader knows about one member's log, and how it may send to it.
 *
 * PROBE: where the logs agree is not known; one RAFT_APP at a time. REPLICATE: entries are streamed, next
 * runs ahead of match, limited by the inflights window. SNAPSHOT: the needed entries are compacted; nothing
 * is sent until the snapshot has arrived. match < next always.
 */
#ifndef RAFT_PROGRESS_H
#define RAFT_PROGRESS_H

#include "raft/inflights.h"
#include "raft/raft.h"

struct raft_progress {
    uint64_t id;
    uint64_t match;       /* matchIndex of the Raft paper, figure 2 */
    uint64_t next;        /* nextIndex */
    uint64_t sent_commit; /* highest commit index it was told */
    enum raft_progress_state state;
    uint64_t pending_snapshot; /* index of the snapshot under way; SNAPSHOT only */
    bool recent_active;        /* something came from it since the last quorum check */
    bool app_flow_paused;      /* PROBE: a RAFT_APP is out; REPLICATE: the window is full */
    bool is_learner;
    uint64_t read_position; /* highest read-only position it has confirmed */
    struct raft_inflights inflights;
};

void raft_progress_deinit(struct raft_progress *progress);
/* Back to PROBE at next, nothing known; the id, learner mark and limits stay. */
void raft_progress_reset(struct raft_progress *progress, uint64_t match, uint64_t next);
void raft_progress_become_probe(struct raft_progress *progress);
void raft_progress_become_replicate(struct raft_progress *progress);
void raft_progress_become_snapshot(struct raft_progress *progress, uint64_t index);
bool raft_progress_is_paused(const struct raft_progress *progress);
/* A RAFT_APP with that many entries and payload bytes was sent. */
void raft_progress_sent_entries(struct raft_progress *progress, size_t count, uint64_t bytes);
static inline void raft_progress_sent_commit(struct raft_progress *progress, uint64_t commit)
{
    progress->sent_commit = commit;
}
/* Would it help to tell this commit index? Not when all that was sent is known to be committed. */
bool raft_progress_can_bump_commit(const struct raft_progress *progress, uint64_t commit);
/* An acknowledgement of index; false when it brings nothing new. */
bool raft_progress_maybe_update(struct raft_progress *progress, uint64_t index);
/* A rejection of `rejected` with a hint where to go on; false when it is stale. */
bool raft_progress_maybe_decrease(struct raft_progress *progress, uint64_t rejected, uint64_t hint);
struct raft_progress_status raft_progress_status_of(const struct raft_progress *progress);

#endif
