/* What a leader sends to its peers: entries, commit indexes, snapshots, heartbeats (Raft paper, 5.3 and 7).
 */
#include "base/memory.h"
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

#include <assert.h>
#include <stdlib.h>

static void note_snapshot(const struct raft *raft, const struct raft_snapshot *snapshot,
                          const struct raft_progress *before, const struct raft_progress *after)
{
    if (!log_wants(raft->logger, LOG_DEBUG)) return;
    struct buf text = {0};
    struct raft_progress_status status = raft_progress_status_of(before == NULL ? after : before);
    raft_describe_progress(&text, &status);
    if (before != NULL) {
        note_debug(raft->logger,
                   HEX " [firstindex: " DEC ", commit: " DEC "] sent snapshot[index: " DEC ", term: " DEC
                       "] to " HEX " [%s]",
                   raft->id, raft_log_first_index(&raft->log), raft->log.committed, snapshot->index,
                   snapshot->term, before->id, buf_string(&text));
    } else {
        note_debug(raft->logger, HEX " paused sending replication messages to " HEX " [%s]", raft->id,
                   after->id, buf_string(&text));
    }
    buf_deinit(&text);
}

static bool maybe_send_snapshot(struct raft *raft, struct raft_progress *progress)
{
    if (!progress->recent_active) {
        /* A snapshot is too much to throw at somebody who may not be there. */
        note_debug(raft->logger, "ignore sending snapshot to " HEX " since it is not recently active",
                   progress->id);
        return false;
    }
    struct raft_snapshot *snapshot = mem_zalloc(1, sizeof(*snapshot));
    if (raft_log_snapshot(&raft->log, snapshot) != RAFT_OK || snapshot->index == 0) {
        raft_snapshot_deinit(snapshot);
        free(snapshot);
        note_debug(raft->logger,
                   HEX " failed to send snapshot to " HEX " because snapshot is temporarily unavailable",
                   raft->id, progress->id);
        return false;
    }
    note_snapshot(raft, snapshot, progress, NULL);
    raft_progress_become_snapshot(progress, snapshot->index);
    note_snapshot(raft, snapshot, NULL, progress);
    raft_send(raft, (struct raft_message){.to = progress->id, .type = RAFT_SNAP, .snapshot = snapshot});
    return true;
}

bool raft_maybe_send_append(struct raft *raft, struct raft_progress *progress, bool send_if_empty)
{
    assert(progress->id != raft->id);
    if (raft_progress_is_paused(progress)) return false;
    uint64_t previous = progress->next - 1, previous_term;
    /* The peer needs entries that are compacted. */
    if (raft_log_term(&raft->log, previous, &previous_term) != RAFT_OK)
        return maybe_send_snapshot(raft, progress);

    struct raft_entries entries = {0};
    enum raft_result result = RAFT_OK;
    /* With a full window an empty message may still go: it tells the commit index, and its answer is what
     * gets a peer going again whose acknowledgements were all lost. */
    bool may_carry = progress->state != RAFT_REPLICATE || !raft_inflights_full(&progress->inflights);
    if (may_carry) {
        result =
            raft_log_entries_from(&raft->log, progress->next, raft->config.max_size_per_message, &entries);
    }
    if (entries.count == 0 && !send_if_empty) return false;
    if (result != RAFT_OK) return maybe_send_snapshot(raft, progress);

    size_t count = entries.count;
    uint64_t payload = raft_entries_payload_size(entries.items, count);
    raft_send(raft, (struct raft_message){.to = progress->id,
                                          .type = RAFT_APP,
                                          .index = previous,
                                          .log_term = previous_term,
                                          .entries = entries,
                                          .commit = raft->log.committed});
    raft_progress_sent_entries(progress, count, payload);
    raft_progress_sent_commit(progress, raft->log.committed);
    return true;
}

void raft_broadcast_append(struct raft *raft)
{
    for (size_t i = 0; i < raft->members.count; i++) {
        struct raft_progress *progress = &raft->members.items[i];
        if (progress->id != raft->id) (void)raft_maybe_send_append(raft, progress, true);
    }
}

void raft_broadcast_heartbeat(struct raft *raft)
{
    struct blob *context = raft_read_only_heartbeat_context(&raft->read_only);
    for (size_t i = 0; i < raft->members.count; i++) {
        struct raft_progress *progress = &raft->members.items[i];
        if (progress->id == raft->id) continue;
        /* No commit index beyond what the peer is known to have: its log may end there. */
        uint64_t commit = progress->match < raft->log.committed ? progress->match : raft->log.committed;
        raft_send(raft, (struct raft_message){.to = progress->id,
                                              .type = RAFT_HEARTBEAT,
                                              .commit = commit,
                                              .context = blob_ref(context)});
        raft_progress_sent_commit(progress, commit);
    }
    blob_unref(context);
}
