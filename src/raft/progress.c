#include "raft/progress.h"

#include <assert.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void raft_progress_deinit(struct raft_progress *progress)
{
    raft_inflights_deinit(&progress->inflights);
}

void raft_progress_reset(struct raft_progress *progress, uint64_t match, uint64_t next)
{
    assert(match < next);
    struct raft_inflights inflights = progress->inflights;
    raft_inflights_reset(&inflights);
    *progress = (struct raft_progress){
        .id = progress->id,
        .match = match,
        .next = next,
        .state = RAFT_PROBE,
        .is_learner = progress->is_learner,
        .inflights = inflights,
    };
}

static void enter(struct raft_progress *progress, enum raft_progress_state state)
{
    progress->app_flow_paused = false;
    progress->pending_snapshot = 0;
    progress->state = state;
    raft_inflights_reset(&progress->inflights);
}

void raft_progress_become_probe(struct raft_progress *progress)
{
    /* If the snapshot that was pending has arrived, go on behind it. */
    uint64_t pending = progress->state == RAFT_SNAPSHOT ? progress->pending_snapshot : 0;
    enter(progress, RAFT_PROBE);
    progress->next = larger(progress->match + 1, pending + 1);
    progress->sent_commit = smaller(progress->sent_commit, progress->next - 1);
}

void raft_progress_become_replicate(struct raft_progress *progress)
{
    enter(progress, RAFT_REPLICATE);
    progress->next = progress->match + 1;
}

void raft_progress_become_snapshot(struct raft_progress *progress, uint64_t index)
{
    enter(progress, RAFT_SNAPSHOT);
    progress->pending_snapshot = index;
    progress->next = larger(index, progress->match) + 1;
    progress->sent_commit = index;
}

bool raft_progress_is_paused(const struct raft_progress *progress)
{
    return progress->state == RAFT_SNAPSHOT || progress->app_flow_paused;
}

void raft_progress_sent_entries(struct raft_progress *progress, size_t count, uint64_t bytes)
{
    assert(progress->state != RAFT_SNAPSHOT); /* it is paused */
    if (progress->state == RAFT_PROBE) {
        /* An empty probe leaves the door open: the entries it prepares may follow at once. */
        if (count > 0) progress->app_flow_paused = true;
        return;
    }
    if (count > 0) {
        progress->next += count;
        raft_inflights_add(&progress->inflights, progress->next - 1, bytes);
    }
    progress->app_flow_paused = raft_inflights_full(&progress->inflights);
}

bool raft_progress_can_bump_commit(const struct raft_progress *progress, uint64_t commit)
{
    return commit > progress->sent_commit && progress->sent_commit < progress->next - 1;
}

bool raft_progress_maybe_update(struct raft_progress *progress, uint64_t index)
{
    if (index <= progress->match) return false;
    progress->match = index;
    progress->next = larger(progress->next, index + 1);
    progress->app_flow_paused = false;
    return true;
}

bool raft_progress_maybe_decrease(struct raft_progress *progress, uint64_t rejected, uint64_t hint)
{
    if (progress->state == RAFT_REPLICATE) {
        if (rejected <= progress->match) return false;
        progress->next = progress->match + 1;
    } else {
        /* While probing only the last message sent can be rejected; anything else is late. */
        if (progress->next - 1 != rejected) return false;
        progress->next = larger(smaller(rejected, hint + 1), progress->match + 1);
        progress->app_flow_paused = false;
    }
    progress->sent_commit = smaller(progress->sent_commit, progress->next - 1);
    return true;
}

struct raft_progress_status raft_progress_status_of(const struct raft_progress *progress)
{
    return (struct raft_progress_status){
        .id = progress->id,
        .state = progress->state,
        .match = progress->match,
        .next = progress->next,
        .sent_commit = progress->sent_commit,
        .pending_snapshot = progress->pending_snapshot,
        .inflight_messages = progress->inflights.count,
        .inflight_bytes = progress->inflights.bytes,
        .inflight_full = raft_inflights_full(&progress->inflights),
        .is_learner = progress->is_learner,
        .recent_active = progress->recent_active,
        .paused = raft_progress_is_paused(progress),
    };
}
