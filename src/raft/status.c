/* Looking inside, for the Status RPC, dashboards and tests. */
#include "raft/core.h"

#include <assert.h>

struct raft_status raft_status(const struct raft *raft)
{
    return (struct raft_status){
        .id = raft->id,
        .hard_state = raft_hard_state_now(raft),
        .soft_state = raft_soft_state_now(raft),
        .applied = raft->log.applied,
        .first_index = raft_log_first_index(&raft->log),
        .last_index = raft_log_last_index(&raft->log),
        .last_term = raft_log_last_term(&raft->log),
        .lead_transferee = raft->lead_transferee,
        .is_learner = raft->is_learner,
        .election_elapsed = raft->election_elapsed,
        .heartbeat_elapsed = raft->heartbeat_elapsed,
        .randomized_election_timeout = raft->randomized_election_timeout,
        .uncommitted_size = raft->uncommitted_size,
        .pending_reads = raft->read_only.count + raft->pending_reads.count,
    };
}

size_t raft_progress_count(const struct raft *raft)
{
    return raft->members.count;
}

struct raft_progress_status raft_progress_at(const struct raft *raft, size_t position)
{
    assert(position < raft->members.count);
    struct raft_progress_status status = raft_progress_status_of(&raft->members.items[position]);
    status.voter = raft_members_is_voter(&raft->members, status.id);
    return status;
}

void raft_conf_state_now(const struct raft *raft, struct raft_conf_state *state)
{
    raft_conf_state_copy(state, &raft->members.config);
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_log_term_or_zero(&raft->log, index);
}

enum raft_result raft_entries_between(const struct raft *raft, uint64_t low, uint64_t high, uint64_t max_size,
                                      struct raft_entries *entries)
{
    if (low > high || high > raft_log_last_index(&raft->log) + 1) return RAFT_UNAVAILABLE;
    return raft_log_slice(&raft->log, low, high, max_size, entries);
}

void raft_set_randomized_election_timeout(struct raft *raft, uint32_t ticks)
{
    assert(ticks > 0);
    raft->randomized_election_timeout = ticks;
}
