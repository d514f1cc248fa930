/* core: the inside of a member, shared by the files of this folder and by white-box tests; nobody else
 * includes it.
 *
 *     raft.c            life, roles, timers, the term gate of Step, configuration switches
 *     election.c        campaigns and votes
 *     replication.c     what a leader sends
 *     step_leader.c, step_candidate.c, step_follower.c   messages by role
 *     validate.c        what a peer's message must satisfy before it gets here
 *     rawnode.c         the application's calls: proposals, Ready, Advance
 *     status.c          looking inside
 */
#ifndef RAFT_CORE_H
#define RAFT_CORE_H

#include "base/rng.h"
#include "raft/log.h"
#include "raft/members.h"
#include "raft/quorum.h"
#include "raft/read_only.h"

enum raft_campaign_kind {
    RAFT_CAMPAIGN_PRE_ELECTION,
    RAFT_CAMPAIGN_ELECTION,
    RAFT_CAMPAIGN_TRANSFER, /* the leader asked for it: voters ignore the lease, and there is no pre-vote */
};

struct raft {
    struct raft_config config; /* as given; limits resolved */
    const struct logger *logger;
    uint64_t id;

    /* Persistent state (Raft paper, figure 2); the commit index is in the log. */
    uint64_t term;
    uint64_t vote;
    struct raft_log log;

    enum raft_role role;
    uint64_t lead;
    bool is_learner;
    struct raft_members members;
    struct raft_ids votes_granted;
    struct raft_ids votes_rejected;

    /* Of the leader */
    uint64_t lead_transferee;
    uint64_t
        pending_conf_index;    /* a conf change may lie anywhere up to here: no other before it is applied */
    uint64_t uncommitted_size; /* payload bytes */
    struct raft_read_only read_only;
    struct raft_messages pending_reads; /* wait for the first commit of the own term */

    uint32_t election_elapsed; /* ticks */
    uint32_t heartbeat_elapsed;
    uint32_t randomized_election_timeout;
    struct rng rng;

    /* Going out with the next ready */
    struct raft_messages messages;
    struct raft_messages messages_after_append; /* promises: only when what they rely on is durable */
    struct raft_read_states read_states;

    /* What the application was told last */
    struct raft_soft_state previous_soft_state;
    struct raft_hard_state previous_hard_state;
    struct raft_messages steps_on_advance; /* synchronous mode: to be stepped when the ready is done */
};

/* ---- raft.c ---- */

/* Step of the core: a message of any origin, checks of origin done. */
enum raft_result raft_step_message(struct raft *raft, const struct raft_message *message);
/* Queues a message, taking it over; fills in from and term. */
void raft_send(struct raft *raft, struct raft_message message);
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t lead);
void raft_become_pre_candidate(struct raft *raft);
void raft_become_candidate(struct raft *raft);
void raft_become_leader(struct raft *raft);
/* Stamps entries with term and index and appends them. False: over the limit of the uncommitted tail, nothing
 * was done. */
bool raft_append_entries(struct raft *raft, struct raft_entries *entries);
/* Advances the commit index to what a quorum has. */
bool raft_maybe_commit(struct raft *raft);
/* The configuration is now `members`, whose content is taken. */
void raft_switch_members(struct raft *raft, struct raft_members *members);
struct raft_hard_state raft_hard_state_now(const struct raft *raft);
struct raft_soft_state raft_soft_state_now(const struct raft *raft);
/* A leader must not campaign, nor a learner, nor who is not a member or has a snapshot to swallow first. */
bool raft_is_promotable(const struct raft *raft);
void raft_add_read_state(struct raft *raft, uint64_t index, struct blob *context);

/* ---- election.c ---- */

void raft_hup(struct raft *raft, enum raft_campaign_kind kind);
void raft_start_campaign(struct raft *raft, enum raft_campaign_kind kind);
/* RAFT_VOTE and RAFT_PRE_VOTE that passed the term gate. */
void raft_handle_vote_request(struct raft *raft, const struct raft_message *message);
/* Records a vote response and tallies. */
enum raft_vote_result raft_poll(struct raft *raft, const struct raft_message *response);
enum raft_message_type raft_vote_response_type(enum raft_message_type request);
bool raft_is_transfer_campaign(const struct raft_message *request);

/* ---- replication.c ---- */

/* Sends a RAFT_APP (or a snapshot) if the peer may be sent one; without entries only if send_if_empty. False:
 * nothing sent. */
bool raft_maybe_send_append(struct raft *raft, struct raft_progress *progress, bool send_if_empty);
void raft_broadcast_append(struct raft *raft);
void raft_broadcast_heartbeat(struct raft *raft);

/* ---- step_*.c ---- */

enum raft_result raft_step_leader(struct raft *raft, const struct raft_message *message);
enum raft_result raft_step_candidate(struct raft *raft, const struct raft_message *message);
enum raft_result raft_step_follower(struct raft *raft, const struct raft_message *message);
/* RAFT_APP, RAFT_HEARTBEAT and RAFT_SNAP of the leader of this term. */
enum raft_result raft_handle_leader_message(struct raft *raft, const struct raft_message *message);

/* ---- validate.c ---- */

/* Why a message cannot come from a member that follows the protocol; NULL when it may. */
const char *raft_peer_message_fault(const struct raft *raft, const struct raft_message *message);
/* Logs it; always RAFT_INVALID_MESSAGE. */
enum raft_result raft_refuse_message(const struct raft *raft, const struct raft_message *message,
                                     const char *fault);

#endif
