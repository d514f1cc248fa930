/* Messages to a follower, and what any member does with its leader's messages (Raft paper, 5.2, 5.3 and 7).
 */
#include "raft/confchange.h"
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

#include <assert.h>

/* ---- Entries ---- */

static void reject_append(struct raft *raft, const struct raft_message *message)
{
    note_debug(raft->logger,
               HEX " [logterm: " DEC ", index: " DEC "] rejected MsgApp [logterm: " DEC ", index: " DEC
                   "] from " HEX,
               raft->id, raft_log_term_or_zero(&raft->log, message->index), message->index, message->log_term,
               message->index, message->from);
    /* The hint skips entries that cannot match: those of terms above the leader's at that point ("the
     * protocol can be optimized to reduce the number of rejected AppendEntries RPCs", Raft paper, 5.3). The
     * leader does the same with the hint's term, so that each round trip skips a whole term on either side.
     */
    uint64_t last = raft_log_last_index(&raft->log);
    uint64_t hint_term;
    uint64_t hint = raft_log_find_conflict_by_term(&raft->log, message->index < last ? message->index : last,
                                                   message->log_term, &hint_term);
    raft_send(raft, (struct raft_message){.to = message->from,
                                          .type = RAFT_APP_RESP,
                                          .index = message->index,
                                          .reject = true,
                                          .reject_hint = hint,
                                          .log_term = hint_term});
}

static enum raft_result handle_append(struct raft *raft, const struct raft_message *message)
{
    if (message->index < raft->log.committed) {
        /* Late, or a leader that knows little of this member: tell it how far the logs are known to agree. */
        raft_send(raft, (struct raft_message){.to = message->from,
                                              .type = RAFT_APP_RESP,
                                              .index = raft->log.committed});
        return RAFT_OK;
    }
    uint64_t last_new = 0;
    switch (raft_log_maybe_append(&raft->log, message->index, message->log_term, message->entries.items,
                                  message->entries.count, message->commit, &last_new)) {
    case RAFT_APPEND_OK:
        raft_send(raft, (struct raft_message){.to = message->from, .type = RAFT_APP_RESP, .index = last_new});
        return RAFT_OK;
    case RAFT_APPEND_MISMATCH:
        reject_append(raft, message);
        return RAFT_OK;
    case RAFT_APPEND_CONFLICT:
        break;
    }
    return raft_refuse_message(raft, message, "entries conflict with committed ones or are not contiguous");
}

static enum raft_result handle_heartbeat(struct raft *raft, const struct raft_message *message)
{
    if (message->commit > raft_log_last_index(&raft->log)) {
        /* The leader tells no more than this member has acknowledged: entries that it had promised to keep
         * are gone. */
        note_error(raft->logger,
                   HEX " tocommit(" DEC ") is out of range [lastIndex(" DEC
                       ")]. Was the raft log corrupted, truncated, or lost?",
                   raft->id, message->commit, raft_log_last_index(&raft->log));
        return RAFT_LOG_LOST;
    }
    raft_log_commit_to(&raft->log, message->commit);
    raft_send(raft, (struct raft_message){.to = message->from,
                                          .type = RAFT_HEARTBEAT_RESP,
                                          .context = blob_ref(message->context)});
    return RAFT_OK;
}

/* ---- Snapshots ---- */

static bool names_member(const struct raft_ids *ids, uint64_t id)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->items[i] == id) return true;
    }
    return false;
}

/* Replaces log and configuration by the snapshot if it brings something new. False: it did not, and is
 * ignored. `members` are those of the snapshot; taken when it is used. */
static bool restore(struct raft *raft, const struct raft_snapshot *snapshot, struct raft_members *members)
{
    const struct raft_conf_state *conf_state = &snapshot->conf_state;
    if (snapshot->index <= raft->log.committed) return false;
    assert(raft->role == RAFT_FOLLOWER);
    if (!names_member(&conf_state->voters, raft->id) && !names_member(&conf_state->learners, raft->id) &&
        !names_member(&conf_state->voters_outgoing, raft->id)) {
        note_warn(raft->logger,
                  HEX " attempted to restore snapshot but it is not in the ConfState; should never happen",
                  raft->id);
        return false;
    }
    uint64_t last = raft_log_last_index(&raft->log);
    if (raft_log_matches(&raft->log, snapshot->index, snapshot->term)) {
        /* The log has it all (Raft paper, 7: "retain log entries following it"): only the commit index moves.
         */
        note_info(raft->logger,
                  HEX " [commit: " DEC ", lastindex: " DEC ", lastterm: " DEC
                      "] fast-forwarded commit to snapshot [index: " DEC ", term: " DEC "]",
                  raft->id, raft->log.committed, last, raft_log_last_term(&raft->log), snapshot->index,
                  snapshot->term);
        raft_log_commit_to(&raft->log, snapshot->index);
        return false;
    }
    raft_log_restore(&raft->log, snapshot);
    raft->votes_granted.count = 0;
    raft->votes_rejected.count = 0;
    raft_switch_members(raft, members);
    note_info(raft->logger,
              HEX " [commit: " DEC ", lastindex: " DEC ", lastterm: " DEC "] restored snapshot [index: " DEC
                  ", term: " DEC "]",
              raft->id, raft->log.committed, raft_log_last_index(&raft->log), raft_log_last_term(&raft->log),
              snapshot->index, snapshot->term);
    return true;
}

static enum raft_result handle_snapshot(struct raft *raft, const struct raft_message *message)
{
    const struct raft_snapshot *snapshot = message->snapshot;
    if (snapshot == NULL) return raft_refuse_message(raft, message, "there is no snapshot in it");
    struct raft_members members = {0};
    struct error *error =
        raft_confchange_restore(&raft->members, snapshot->index, &snapshot->conf_state, &members);
    if (error != NULL) {
        enum raft_result refused = raft_refuse_message(raft, message, error->text);
        error_free(error);
        raft_members_deinit(&members);
        return refused;
    }
    bool restored = restore(raft, snapshot, &members);
    raft_members_deinit(&members);
    note_info(raft->logger, HEX " [commit: " DEC "] %s snapshot [index: " DEC ", term: " DEC "]", raft->id,
              raft->log.committed, restored ? "restored" : "ignored", snapshot->index, snapshot->term);
    raft_send(raft, (struct raft_message){.to = message->from,
                                          .type = RAFT_APP_RESP,
                                          .index = restored ? raft_log_last_index(&raft->log)
                                                            : raft->log.committed});
    return RAFT_OK;
}

enum raft_result raft_handle_leader_message(struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_APP:
        return handle_append(raft, message);
    case RAFT_HEARTBEAT:
        return handle_heartbeat(raft, message);
    default:
        assert(message->type == RAFT_SNAP);
        return handle_snapshot(raft, message);
    }
}

/* ---- What a follower passes on, and the rest ---- */

static enum raft_result forward_to_leader(struct raft *raft, const struct raft_message *message)
{
    /* What is forwarded belongs to no term; what arrives with one has gone astray. */
    if (message->term != 0)
        return raft_refuse_message(raft, message, "it carries a term and cannot be forwarded");
    struct raft_message forwarded = {0};
    raft_message_copy(&forwarded, message);
    forwarded.to = raft->lead;
    raft_send(raft, forwarded);
    return RAFT_OK;
}

static enum raft_result handle_proposal(struct raft *raft, const struct raft_message *message)
{
    if (raft->lead == RAFT_NONE) {
        note_info(raft->logger, HEX " no leader at term " DEC "; dropping proposal", raft->id, raft->term);
        return RAFT_PROPOSAL_DROPPED;
    }
    if (raft->config.disable_proposal_forwarding) {
        note_info(raft->logger, HEX " not forwarding to leader " HEX " at term " DEC "; dropping proposal",
                  raft->id, raft->lead, raft->term);
        return RAFT_PROPOSAL_DROPPED;
    }
    return forward_to_leader(raft, message);
}

static void handle_forget_leader(struct raft *raft)
{
    if (raft->config.read_only_option == RAFT_READ_ONLY_LEASE_BASED) {
        /* The leader answers reads on the promise that nobody else can be elected for a while. */
        note_error(raft->logger, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
        return;
    }
    if (raft->lead == RAFT_NONE) return;
    note_info(raft->logger, HEX " forgetting leader " HEX " at term " DEC, raft->id, raft->lead, raft->term);
    raft->lead = RAFT_NONE;
}

enum raft_result raft_step_follower(struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PROP:
        return handle_proposal(raft, message);
    case RAFT_APP:
    case RAFT_HEARTBEAT:
    case RAFT_SNAP:
        raft->election_elapsed = 0;
        raft->lead = message->from;
        return raft_handle_leader_message(raft, message);
    case RAFT_TRANSFER_LEADER:
    case RAFT_READ_INDEX:
        if (raft->lead == RAFT_NONE) {
            note_info(raft->logger, HEX " no leader at term " DEC "; dropping %s", raft->id, raft->term,
                      message->type == RAFT_READ_INDEX ? "index reading msg" : "leader transfer msg");
            return RAFT_OK;
        }
        return forward_to_leader(raft, message);
    case RAFT_FORGET_LEADER:
        handle_forget_leader(raft);
        return RAFT_OK;
    case RAFT_TIMEOUT_NOW:
        note_info(raft->logger,
                  HEX " [term " DEC "] received MsgTimeoutNow from " HEX
                      " and starts an election to get leadership.",
                  raft->id, raft->term, message->from);
        /* No pre-vote, even if configured: the leader itself wants to be replaced (Raft dissertation, 3.10).
         */
        raft_hup(raft, RAFT_CAMPAIGN_TRANSFER);
        return RAFT_OK;
    case RAFT_READ_INDEX_RESP:
        if (message->entries.count != 1) {
            note_error(raft->logger,
                       HEX " invalid format of MsgReadIndexResp from " HEX ", entries count: %zu", raft->id,
                       message->from, message->entries.count);
            return RAFT_OK;
        }
        raft_add_read_state(raft, message->index, message->entries.items[0].data);
        return RAFT_OK;
    default:
        return RAFT_OK;
    }
}
