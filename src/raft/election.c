/* Elections (Raft paper, 5.2 and 5.4.1; pre-vote: Raft dissertation, 9.6). */
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

#include <assert.h>

/* The context of vote requests in a leadership transfer, as etcd marks them. */
static const struct bytes campaign_transfer = BYTES_LITERAL("CampaignTransfer");

bool raft_is_transfer_campaign(const struct raft_message *request)
{
    return bytes_equal(blob_bytes(request->context), campaign_transfer);
}

enum raft_message_type raft_vote_response_type(enum raft_message_type request)
{
    assert(request == RAFT_VOTE || request == RAFT_PRE_VOTE);
    return request == RAFT_VOTE ? RAFT_VOTE_RESP : RAFT_PRE_VOTE_RESP;
}

/* A change of the configuration that is committed but not applied here would make this member count votes by
 * the old one. */
static bool has_unapplied_conf_change(const struct raft *raft)
{
    bool found = false;
    uint64_t next = raft->log.applied + 1;
    while (!found && next <= raft->log.committed) {
        struct raft_entries page = {0};
        enum raft_result result = raft_log_slice(&raft->log, next, raft->log.committed + 1,
                                                 raft->config.max_committed_size_per_ready, &page);
        if (result != RAFT_OK || page.count == 0) {
            /* Not readable just now: as long as it cannot be told, there may be one. */
            raft_entries_deinit(&page);
            return true;
        }
        for (size_t i = 0; i < page.count && !found; i++) found = page.items[i].type != RAFT_ENTRY_NORMAL;
        next += page.count;
        raft_entries_deinit(&page);
    }
    return found;
}

void raft_hup(struct raft *raft, enum raft_campaign_kind kind)
{
    if (raft->role == RAFT_LEADER) {
        note_debug(raft->logger, HEX " ignoring MsgHup because already leader", raft->id);
        return;
    }
    if (!raft_is_promotable(raft)) {
        note_warn(raft->logger, HEX " is unpromotable and can not campaign", raft->id);
        return;
    }
    if (has_unapplied_conf_change(raft)) {
        note_warn(raft->logger,
                  HEX " cannot campaign at term " DEC
                      " since there are still pending configuration changes to apply",
                  raft->id, raft->term);
        return;
    }
    note_info(raft->logger, HEX " is starting a new election at term " DEC, raft->id, raft->term);
    raft_start_campaign(raft, kind);
}

static void request_vote(struct raft *raft, uint64_t to, enum raft_message_type type, uint64_t term,
                         enum raft_campaign_kind kind)
{
    uint64_t last = raft_log_last_index(&raft->log), last_term = raft_log_last_term(&raft->log);
    note_info(raft->logger, HEX " [logterm: " DEC ", index: " DEC "] sent %s request to " HEX " at term " DEC,
              raft->id, last_term, last, raft_message_type_name(type), to, raft->term);
    struct blob *context = kind == RAFT_CAMPAIGN_TRANSFER ? blob_from(campaign_transfer) : NULL;
    raft_send(raft, (struct raft_message){.to = to,
                                          .type = type,
                                          .term = term,
                                          .index = last,
                                          .log_term = last_term,
                                          .context = context});
}

void raft_start_campaign(struct raft *raft, enum raft_campaign_kind kind)
{
    enum raft_message_type type = RAFT_VOTE;
    uint64_t term;
    if (kind == RAFT_CAMPAIGN_PRE_ELECTION) {
        raft_become_pre_candidate(raft);
        type = RAFT_PRE_VOTE;
        term = raft->term + 1; /* that of the election that would follow */
    } else {
        raft_become_candidate(raft);
        term = raft->term;
    }
    uint64_t voters[RAFT_MEMBERS_MAX];
    size_t count = raft_members_voters(&raft->members, voters);
    for (size_t i = 0; i < count; i++) {
        if (voters[i] == raft->id) {
            /* "vote for self" (Raft paper, figure 2): it counts when term and vote are durable. */
            raft_send(raft, (struct raft_message){.to = raft->id,
                                                  .type = raft_vote_response_type(type),
                                                  .term = term});
        } else {
            request_vote(raft, voters[i], type, term, kind);
        }
    }
}

void raft_handle_vote_request(struct raft *raft, const struct raft_message *message)
{
    /* One vote a term, first come first served; who follows a leader grants none. A pre-vote for a higher
     * term binds to nothing, so any number may be granted. Learners vote as well: they may be voters by a
     * configuration that they have not applied yet. */
    bool can_vote = raft->vote == message->from || (raft->vote == RAFT_NONE && raft->lead == RAFT_NONE) ||
                    (message->type == RAFT_PRE_VOTE && message->term > raft->term);
    bool grant = can_vote && raft_log_is_up_to_date(&raft->log, message->log_term, message->index);
    note_info(raft->logger,
              HEX " [logterm: " DEC ", index: " DEC ", vote: " HEX "] %s %s %s " HEX " [logterm: " DEC
                  ", index: " DEC "] at term " DEC,
              raft->id, raft_log_last_term(&raft->log), raft_log_last_index(&raft->log), raft->vote,
              grant ? "cast" : "rejected", raft_message_type_name(message->type), grant ? "for" : "from",
              message->from, message->log_term, message->index, raft->term);
    /* A grant names the term that was asked about, which the candidate is to recognise; a rejection names the
     * own one, which it is to catch up with. */
    raft_send(raft, (struct raft_message){.to = message->from,
                                          .type = raft_vote_response_type(message->type),
                                          .term = grant ? message->term : raft->term,
                                          .reject = !grant});
    if (grant && message->type == RAFT_VOTE) {
        raft->election_elapsed = 0;
        raft->vote = message->from;
    }
}

static enum raft_vote vote_of(const void *context, uint64_t id)
{
    const struct raft *raft = context;
    if (raft_ids_contain(&raft->votes_granted, id)) return RAFT_VOTE_YES;
    return raft_ids_contain(&raft->votes_rejected, id) ? RAFT_VOTE_NO : RAFT_VOTE_MISSING;
}

enum raft_vote_result raft_poll(struct raft *raft, const struct raft_message *response)
{
    const char *type = raft_message_type_name(response->type);
    note_info(raft->logger, HEX " received %s%s from " HEX " at term " DEC, raft->id, type,
              response->reject ? " rejection" : "", response->from, raft->term);
    if (vote_of(raft, response->from) == RAFT_VOTE_MISSING) {
        raft_ids_insert(response->reject ? &raft->votes_rejected : &raft->votes_granted, response->from);
    }
    uint64_t granted = 0, rejected = 0;
    for (size_t i = 0; i < raft->members.count; i++) {
        const struct raft_progress *progress = &raft->members.items[i];
        if (progress->is_learner) continue;
        enum raft_vote vote = vote_of(raft, progress->id);
        granted += vote == RAFT_VOTE_YES;
        rejected += vote == RAFT_VOTE_NO;
    }
    note_info(raft->logger, HEX " has received " DEC " %s votes and " DEC " vote rejections", raft->id,
              granted, type, rejected);
    return raft_joint_vote(&raft->members.config, vote_of, raft);
}
