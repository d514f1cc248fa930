/* Messages to a candidate or pre-candidate (Raft paper, 5.2). */
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

static void handle_vote_response(struct raft *raft, const struct raft_message *message)
{
    switch (raft_poll(raft, message)) {
    case RAFT_VOTE_WON:
        if (raft->role == RAFT_PRE_CANDIDATE) {
            raft_start_campaign(raft, RAFT_CAMPAIGN_ELECTION);
        } else {
            raft_become_leader(raft);
            raft_broadcast_append(raft);
        }
        break;
    case RAFT_VOTE_LOST:
        raft_become_follower(raft, raft->term, RAFT_NONE);
        break;
    case RAFT_VOTE_PENDING:
        break;
    }
}

enum raft_result raft_step_candidate(struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PROP:
        note_info(raft->logger, HEX " no leader at term " DEC "; dropping proposal", raft->id, raft->term);
        return RAFT_PROPOSAL_DROPPED;
    case RAFT_APP:
    case RAFT_HEARTBEAT:
    case RAFT_SNAP:
        /* "If AppendEntries RPC received from new leader: convert to follower" (Raft paper, figure 2) */
        raft_become_follower(raft, message->term, message->from);
        return raft_handle_leader_message(raft, message);
    case RAFT_PRE_VOTE_RESP:
    case RAFT_VOTE_RESP:
        /* Only those of the present round: late pre-votes must not count in the election itself. */
        if (message->type == (raft->role == RAFT_PRE_CANDIDATE ? RAFT_PRE_VOTE_RESP : RAFT_VOTE_RESP)) {
            handle_vote_response(raft, message);
        }
        return RAFT_OK;
    case RAFT_TIMEOUT_NOW:
        note_debug(raft->logger, HEX " [term " DEC " state %s] ignored MsgTimeoutNow from " HEX, raft->id,
                   raft->term, raft_role_name(raft->role), message->from);
        return RAFT_OK;
    default:
        return RAFT_OK;
    }
}
