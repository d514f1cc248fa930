/* The member: its life, its roles and timers, and the gate every message passes first. */
#include "raft/raft.h"

#include "base/memory.h"
#include "raft/confchange.h"
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Sending ---- */

static bool is_promise(enum raft_message_type type)
{
    return type == RAFT_APP_RESP || type == RAFT_VOTE_RESP || type == RAFT_PRE_VOTE_RESP;
}

static bool carries_campaign_term(enum raft_message_type type)
{
    return type == RAFT_VOTE || type == RAFT_VOTE_RESP || type == RAFT_PRE_VOTE || type == RAFT_PRE_VOTE_RESP;
}

void raft_send(struct raft *raft, struct raft_message message)
{
    if (message.from == RAFT_NONE) message.from = raft->id;
    if (carries_campaign_term(message.type)) {
        /* The term that is voted on, which for pre-votes is not the own one. */
        assert(message.term != 0 || message.reject);
    } else {
        assert(message.term == 0);
        /* Proposals and reads may be forwarded from member to member and belong to no term. */
        if (message.type != RAFT_PROP && message.type != RAFT_READ_INDEX) message.term = raft->term;
    }
    if (is_promise(message.type)) {
        /* "Each server persists its state before responding to RPCs" (Raft paper, figure 2). That goes for
         * what a member promises to itself as well. */
        raft_messages_append(&raft->messages_after_append, message);
        return;
    }
    assert(message.to != raft->id);
    raft_messages_append(&raft->messages, message);
}

void raft_add_read_state(struct raft *raft, uint64_t index, struct blob *context)
{
    struct raft_read_states *states = &raft->read_states;
    if (states->count == states->capacity) {
        states->capacity = states->capacity == 0 ? 4 : states->capacity * 2;
        states->items = mem_realloc(states->items, states->capacity * sizeof(*states->items));
    }
    states->items[states->count++] = (struct raft_read_state){.index = index, .context = blob_ref(context)};
}

/* ---- Roles ---- */

static void clear_votes(struct raft *raft)
{
    raft->votes_granted.count = 0;
    raft->votes_rejected.count = 0;
}

static void reset(struct raft *raft, uint64_t term)
{
    if (raft->term != term) {
        raft->term = term;
        raft->vote = RAFT_NONE;
    }
    raft->lead = RAFT_NONE;
    raft->election_elapsed = 0;
    raft->heartbeat_elapsed = 0;
    /* "Raft uses randomized election timeouts to ensure that split votes are rare" (Raft paper, 5.2) */
    raft->randomized_election_timeout =
        raft->config.election_tick + (uint32_t)rng_below(&raft->rng, raft->config.election_tick);
    raft->lead_transferee = RAFT_NONE;
    clear_votes(raft);
    uint64_t last = raft_log_last_index(&raft->log);
    for (size_t i = 0; i < raft->members.count; i++) {
        struct raft_progress *progress = &raft->members.items[i];
        raft_progress_reset(progress, progress->id == raft->id ? last : 0, last + 1);
    }
    raft->pending_conf_index = 0;
    raft->uncommitted_size = 0;
    raft_read_only_reset(&raft->read_only);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t lead)
{
    reset(raft, term);
    raft->lead = lead;
    raft->role = RAFT_FOLLOWER;
    note_info(raft->logger, HEX " became follower at term " DEC, raft->id, raft->term);
}

void raft_become_pre_candidate(struct raft *raft)
{
    assert(raft->role != RAFT_LEADER);
    /* Asking changes nothing but the role: neither the term nor the vote, and no timer (Raft
     * dissertation, 9.6). */
    clear_votes(raft);
    raft->lead = RAFT_NONE;
    raft->role = RAFT_PRE_CANDIDATE;
    note_info(raft->logger, HEX " became pre-candidate at term " DEC, raft->id, raft->term);
}

void raft_become_candidate(struct raft *raft)
{
    assert(raft->role != RAFT_LEADER);
    reset(raft, raft->term + 1);
    raft->vote = raft->id;
    raft->role = RAFT_CANDIDATE;
    note_info(raft->logger, HEX " became candidate at term " DEC, raft->id, raft->term);
}

void raft_become_leader(struct raft *raft)
{
    assert(raft->role != RAFT_FOLLOWER);
    reset(raft, raft->term);
    raft->lead = raft->id;
    raft->role = RAFT_LEADER;
    struct raft_progress *own = raft_members_find(&raft->members, raft->id);
    if (own != NULL) {
        raft_progress_become_replicate(own);
        own->recent_active = true;
    }
    /* Any entry of the log that is not applied yet may be a conf change. Rather than look, wait until all are
     * applied. */
    raft->pending_conf_index = raft_log_last_index(&raft->log);
    /* An entry of the own term, with which the entries of former terms are committed (Raft paper, 5.4.2 and
     * 8). */
    struct raft_entries empty = {0};
    raft_entries_append_owned(&empty, (struct raft_entry){.type = RAFT_ENTRY_NORMAL});
    bool appended = raft_append_entries(raft, &empty);
    assert(appended); /* an empty entry is never over the limit */
    raft_entries_deinit(&empty);
    note_info(raft->logger, HEX " became leader at term " DEC, raft->id, raft->term);
}

struct raft_hard_state raft_hard_state_now(const struct raft *raft)
{
    return (struct raft_hard_state){.term = raft->term, .vote = raft->vote, .commit = raft->log.committed};
}

struct raft_soft_state raft_soft_state_now(const struct raft *raft)
{
    return (struct raft_soft_state){.lead = raft->lead, .role = raft->role};
}

bool raft_is_promotable(const struct raft *raft)
{
    const struct raft_progress *own = raft_members_find(&raft->members, raft->id);
    return own != NULL && !own->is_learner && !raft->log.unstable.has_snapshot;
}

/* ---- Timers ---- */

static void step_self(struct raft *raft, enum raft_message_type type)
{
    struct raft_message message = {.type = type, .from = raft->id};
    (void)raft_step_message(raft, &message);
}

static void tick_election(struct raft *raft)
{
    raft->election_elapsed++;
    if (raft_is_promotable(raft) && raft->election_elapsed >= raft->randomized_election_timeout) {
        raft->election_elapsed = 0;
        step_self(raft, RAFT_HUP);
    }
}

static void tick_heartbeat(struct raft *raft)
{
    raft->heartbeat_elapsed++;
    raft->election_elapsed++;
    if (raft->election_elapsed >= raft->config.election_tick) {
        raft->election_elapsed = 0;
        if (raft->config.check_quorum) step_self(raft, RAFT_CHECK_QUORUM);
        /* A transfer that did not succeed within an election timeout is off, and clients are served again
         * (Raft dissertation, 3.10). */
        if (raft->role == RAFT_LEADER) raft->lead_transferee = RAFT_NONE;
    }
    if (raft->role == RAFT_LEADER && raft->heartbeat_elapsed >= raft->config.heartbeat_tick) {
        raft->heartbeat_elapsed = 0;
        step_self(raft, RAFT_BEAT);
    }
}

void raft_tick(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        tick_heartbeat(raft);
    } else {
        tick_election(raft);
    }
}

/* ---- The log ---- */

bool raft_append_entries(struct raft *raft, struct raft_entries *entries)
{
    uint64_t last = raft_log_last_index(&raft->log);
    uint64_t payload = raft_entries_payload_size(entries->items, entries->count);
    uint64_t limit = raft->config.max_uncommitted_entries_size;
    /* An empty tail takes a proposal of any size, and entries without payload (a new term, leaving a joint
     * configuration) are always taken: refusing those would stop the cluster. */
    if (raft->uncommitted_size > 0 && payload > 0 && raft->uncommitted_size + payload > limit) {
        note_warn(
            raft->logger,
            HEX " appending new entries to log would exceed uncommitted entry size limit; dropping proposal",
            raft->id);
        return false;
    }
    raft->uncommitted_size += payload;
    for (size_t i = 0; i < entries->count; i++) {
        entries->items[i].term = raft->term;
        entries->items[i].index = last + 1 + i;
    }
    raft_log_append(&raft->log, entries->items, entries->count);
    /* The leader's own acknowledgement, counted when its write is durable (Raft dissertation, 10.2.1). */
    raft_send(raft,
              (struct raft_message){.to = raft->id, .type = RAFT_APP_RESP, .index = last + entries->count});
    return true;
}

bool raft_maybe_commit(struct raft *raft)
{
    return raft_log_maybe_commit(&raft->log, raft_members_committed(&raft->members), raft->term);
}

/* Leaving an implicit joint configuration: the leader proposes it by itself once the change that entered it
 * is applied. */
static void propose_auto_leave(struct raft *raft)
{
    struct raft_message message = {.type = RAFT_PROP, .from = raft->id};
    raft_entries_append_owned(&message.entries, (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE_V2});
    enum raft_result result = raft_step_message(raft, &message);
    raft_message_deinit(&message);
    enum log_level level = result == RAFT_OK ? LOG_INFO : LOG_DEBUG;
    if (!log_wants(raft->logger, level)) return;
    struct buf config = {0};
    raft_describe_config(&config, &raft->members.config);
    if (result == RAFT_OK) {
        note_info(raft->logger, "initiating automatic transition out of joint configuration %s",
                  buf_string(&config));
    } else {
        note_debug(raft->logger, "not initiating automatic transition out of joint configuration %s: %s",
                   buf_string(&config), raft_result_text(result));
    }
    buf_deinit(&config);
}

static void applied_to(struct raft *raft, uint64_t index, uint64_t size)
{
    if (index < raft->log.applied) index = raft->log.applied;
    raft_log_applied_to(&raft->log, index, size);
    if (raft->members.config.auto_leave && index >= raft->pending_conf_index && raft->role == RAFT_LEADER) {
        propose_auto_leave(raft);
    }
}

static void applied_snapshot(struct raft *raft, const struct raft_snapshot *snapshot)
{
    raft_unstable_stable_snapshot_to(&raft->log.unstable, snapshot->index);
    applied_to(raft, snapshot->index, 0);
}

static void storage_appended(struct raft *raft, const struct raft_message *message)
{
    if (message->index != 0) raft_unstable_stable_to(&raft->log.unstable, message->index, message->log_term);
    if (message->snapshot != NULL) applied_snapshot(raft, message->snapshot);
}

static void storage_applied(struct raft *raft, const struct raft_message *message)
{
    const struct raft_entries *entries = &message->entries;
    if (entries->count == 0) return;
    applied_to(raft, entries->items[entries->count - 1].index,
               raft_entries_encoded_size(entries->items, entries->count));
    uint64_t payload = raft_entries_payload_size(entries->items, entries->count);
    raft->uncommitted_size -= payload < raft->uncommitted_size ? payload : raft->uncommitted_size;
}

/* ---- Step ---- */

/* A member that hears from its leader does not help to depose it (Raft dissertation, 4.2.3). */
static bool is_in_lease(const struct raft *raft, const struct raft_message *message)
{
    if (message->type != RAFT_VOTE && message->type != RAFT_PRE_VOTE) return false;
    if (raft_is_transfer_campaign(message)) return false;
    return raft->config.check_quorum && raft->lead != RAFT_NONE &&
           raft->election_elapsed < raft->config.election_tick;
}

/* "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower" (Raft
 * paper, figure 2), with the exceptions of pre-vote and lease. False: the message is dropped. */
static bool meet_higher_term(struct raft *raft, const struct raft_message *message)
{
    if (is_in_lease(raft, message)) {
        note_info(raft->logger,
                  HEX " [logterm: " DEC ", index: " DEC ", vote: " HEX "] ignored %s from " HEX
                      " [logterm: " DEC ", index: " DEC "] at term " DEC
                      ": lease is not expired (remaining ticks: %u)",
                  raft->id, raft_log_last_term(&raft->log), raft_log_last_index(&raft->log), raft->vote,
                  raft_message_type_name(message->type), message->from, message->log_term, message->index,
                  raft->term, raft->config.election_tick - raft->election_elapsed);
        return false;
    }
    /* A pre-vote only asks, and a granted one only echoes the term that was asked about. */
    if (message->type == RAFT_PRE_VOTE) return true;
    if (message->type == RAFT_PRE_VOTE_RESP && !message->reject) return true;
    note_info(raft->logger,
              HEX " [term: " DEC "] received a %s message with higher term from " HEX " [term: " DEC "]",
              raft->id, raft->term, raft_message_type_name(message->type), message->from, message->term);
    bool from_leader =
        message->type == RAFT_APP || message->type == RAFT_HEARTBEAT || message->type == RAFT_SNAP;
    raft_become_follower(raft, message->term, from_leader ? message->from : RAFT_NONE);
    return true;
}

static void meet_lower_term(struct raft *raft, const struct raft_message *message)
{
    bool from_leader = message->type == RAFT_APP || message->type == RAFT_HEARTBEAT;
    if (from_leader && (raft->config.check_quorum || raft->config.pre_vote)) {
        /* With a lease or pre-vote this member's higher term alone would never reach the old leader, whose
         * messages it ignores, while the others ignore its candidacy. An answer with the own term deposes
         * that leader and ends the deadlock. */
        raft_send(raft, (struct raft_message){.to = message->from, .type = RAFT_APP_RESP});
    } else if (message->type == RAFT_PRE_VOTE) {
        note_info(raft->logger,
                  HEX " [logterm: " DEC ", index: " DEC ", vote: " HEX "] rejected %s from " HEX
                      " [logterm: " DEC ", index: " DEC "] at term " DEC,
                  raft->id, raft_log_last_term(&raft->log), raft_log_last_index(&raft->log), raft->vote,
                  raft_message_type_name(message->type), message->from, message->log_term, message->index,
                  raft->term);
        raft_send(raft, (struct raft_message){.to = message->from,
                                              .type = RAFT_PRE_VOTE_RESP,
                                              .term = raft->term,
                                              .reject = true});
    } else if (message->type == RAFT_STORAGE_APPEND_RESP) {
        /* Entries can have been replaced and replaced back (A, B, A) since this write began, and the writes
         * behind it in the pipeline may still overwrite the disk: only an acknowledgement of this term
         * counts. A snapshot cannot be replaced like that. */
        if (message->index != 0) {
            note_info(raft->logger,
                      HEX " [term: " DEC
                          "] ignored entry appends from a %s message with lower term [term: " DEC "]",
                      raft->id, raft->term, raft_message_type_name(message->type), message->term);
        }
        if (message->snapshot != NULL) applied_snapshot(raft, message->snapshot);
    } else {
        note_info(raft->logger,
                  HEX " [term: " DEC "] ignored a %s message with lower term from " HEX " [term: " DEC "]",
                  raft->id, raft->term, raft_message_type_name(message->type), message->from, message->term);
    }
}

enum raft_result raft_step_message(struct raft *raft, const struct raft_message *message)
{
    if (message->term > raft->term) {
        if (!meet_higher_term(raft, message)) return RAFT_OK;
    } else if (message->term != 0 && message->term < raft->term) {
        meet_lower_term(raft, message);
        return RAFT_OK;
    }

    switch (message->type) {
    case RAFT_HUP:
        raft_hup(raft, raft->config.pre_vote ? RAFT_CAMPAIGN_PRE_ELECTION : RAFT_CAMPAIGN_ELECTION);
        return RAFT_OK;
    case RAFT_STORAGE_APPEND_RESP:
        storage_appended(raft, message);
        return RAFT_OK;
    case RAFT_STORAGE_APPLY_RESP:
        storage_applied(raft, message);
        return RAFT_OK;
    case RAFT_VOTE:
    case RAFT_PRE_VOTE:
        raft_handle_vote_request(raft, message);
        return RAFT_OK;
    default:
        break;
    }
    switch (raft->role) {
    case RAFT_LEADER:
        return raft_step_leader(raft, message);
    case RAFT_FOLLOWER:
        return raft_step_follower(raft, message);
    default:
        return raft_step_candidate(raft, message);
    }
}

/* ---- Configuration ---- */

static void note_switch(const struct raft *raft)
{
    if (!log_wants(raft->logger, LOG_INFO)) return;
    struct buf config = {0};
    raft_describe_config(&config, &raft->members.config);
    note_info(raft->logger, HEX " switched to configuration %s", raft->id, buf_string(&config));
    buf_deinit(&config);
}

void raft_switch_members(struct raft *raft, struct raft_members *members)
{
    raft_members_deinit(&raft->members);
    raft->members = *members;
    *members = (struct raft_members){0};
    note_switch(raft);

    const struct raft_progress *own = raft_members_find(&raft->members, raft->id);
    raft->is_learner = own != NULL && own->is_learner;
    if (raft->role != RAFT_LEADER) return;
    if (own == NULL || own->is_learner) {
        /* By default it goes on leading without counting itself until somebody else is elected (Raft
         * dissertation, 4.2.2). */
        if (raft->config.step_down_on_removal) raft_become_follower(raft, raft->term, RAFT_NONE);
        return;
    }
    if (raft->members.config.voters.count == 0) return;
    if (raft_maybe_commit(raft)) {
        /* The quorum has become smaller, and more is committed now. */
        raft_broadcast_append(raft);
    } else {
        for (size_t i = 0; i < raft->members.count; i++) {
            struct raft_progress *progress = &raft->members.items[i];
            if (progress->id != raft->id) (void)raft_maybe_send_append(raft, progress, false);
        }
    }
    if (raft->lead_transferee != RAFT_NONE && !raft_members_is_voter(&raft->members, raft->lead_transferee)) {
        raft->lead_transferee = RAFT_NONE;
    }
}

struct error *raft_apply_conf_change(struct raft *raft, const struct raft_conf_change_v2 *change,
                                     struct raft_conf_state *state)
{
    struct raft_members next = {0};
    struct error *error =
        raft_confchange_apply(&raft->members, raft_log_last_index(&raft->log), change, &next);
    if (error == NULL) {
        raft_switch_members(raft, &next);
        if (state != NULL) raft_conf_state_copy(state, &raft->members.config);
    }
    raft_members_deinit(&next);
    return error;
}

/* ---- Life ---- */

static struct error *check_config(const struct raft_config *config)
{
    const char *fault = NULL;
    if (config->id == RAFT_NONE) {
        fault = "cannot use none as id";
    } else if (raft_id_is_storage_thread(config->id)) {
        fault = "cannot use local target as id";
    } else if (config->heartbeat_tick == 0) {
        fault = "heartbeat tick must be greater than 0";
    } else if (config->election_tick <= config->heartbeat_tick) {
        fault = "election tick must be greater than heartbeat tick";
    } else if (config->election_tick > UINT32_MAX / 2) {
        fault = "election tick is too large";
    } else if (config->storage == NULL) {
        fault = "storage cannot be nil";
    } else if (config->max_inflight_messages == 0) {
        fault = "max inflight messages must be greater than 0";
    } else if (config->max_inflight_bytes != 0 && config->max_inflight_bytes < config->max_size_per_message) {
        fault = "max inflight bytes must be >= max message size";
    } else if (config->read_only_option == RAFT_READ_ONLY_LEASE_BASED && !config->check_quorum) {
        fault = "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased";
    }
    return fault == NULL ? NULL : error_new(ERROR_INVALID, "%s", fault);
}

static struct error *load_hard_state(struct raft *raft, struct raft_hard_state state)
{
    if (raft_hard_state_is_empty(state)) return NULL;
    uint64_t last = raft_log_last_index(&raft->log);
    if (state.commit < raft->log.committed || state.commit > last) {
        return error_new(ERROR_CORRUPT, HEX " state.commit " DEC " is out of range [" DEC ", " DEC "]",
                         raft->id, state.commit, raft->log.committed, last);
    }
    raft->log.committed = state.commit;
    raft->term = state.term;
    raft->vote = state.vote;
    return NULL;
}

static struct error *load_storage(struct raft *raft)
{
    struct raft_hard_state hard_state = {0};
    struct raft_conf_state conf_state = {0};
    struct raft_members members = {0};
    struct raft_storage *storage = raft->config.storage;
    storage->vtable->initial_state(storage, &hard_state, &conf_state);
    struct error *error =
        raft_confchange_restore(&raft->members, raft_log_last_index(&raft->log), &conf_state, &members);
    if (error == NULL) {
        raft_switch_members(raft, &members);
        error = load_hard_state(raft, hard_state);
    } else {
        error = error_wrap(error, "restore the configuration from storage");
    }
    raft_members_deinit(&members);
    raft_conf_state_deinit(&conf_state);
    uint64_t applied = raft->config.applied;
    if (error == NULL && applied > 0) {
        if (applied < raft->log.applied || applied > raft->log.committed) {
            return error_new(ERROR_CORRUPT, HEX " applied " DEC " is out of range [" DEC ", " DEC "]",
                             raft->id, applied, raft->log.applied, raft->log.committed);
        }
        raft_log_applied_to(&raft->log, applied, 0);
    }
    return error;
}

static void note_new(const struct raft *raft)
{
    if (!log_wants(raft->logger, LOG_INFO)) return;
    struct buf peers = {0};
    uint64_t voters[RAFT_MEMBERS_MAX];
    size_t count = raft_members_voters(&raft->members, voters);
    for (size_t i = 0; i < count; i++) buf_printf(&peers, "%s" HEX, i == 0 ? "" : ",", voters[i]);
    note_info(raft->logger,
              "newRaft " HEX " [peers: [%s], term: " DEC ", commit: " DEC ", applied: " DEC
              ", lastindex: " DEC ", lastterm: " DEC "]",
              raft->id, buf_string(&peers), raft->term, raft->log.committed, raft->log.applied,
              raft_log_last_index(&raft->log), raft_log_last_term(&raft->log));
    buf_deinit(&peers);
}

static struct raft *make(const struct raft_config *config)
{
    struct raft *raft = mem_zalloc(1, sizeof(*raft));
    raft->config = *config;
    struct raft_config *resolved = &raft->config;
    if (resolved->max_uncommitted_entries_size == 0) resolved->max_uncommitted_entries_size = RAFT_NO_LIMIT;
    if (resolved->max_committed_size_per_ready == 0) {
        resolved->max_committed_size_per_ready = resolved->max_size_per_message;
    }
    /* At least one entry is always handed out; a limit of nothing would pause for ever. */
    if (resolved->max_committed_size_per_ready == 0) resolved->max_committed_size_per_ready = 1;
    raft->logger = config->logger == NULL ? &log_discard : config->logger;
    raft->id = config->id;
    rng_init(&raft->rng,
             config->seed ^ config->id * 0x9e3779b97f4a7c15u); /* equal seeds: different timeouts */
    raft_log_init(&raft->log, config->storage, resolved->max_committed_size_per_ready, raft->logger);
    raft_members_init(&raft->members, config->max_inflight_messages, config->max_inflight_bytes);
    return raft;
}

struct error *raft_new(struct raft **raft, const struct raft_config *config)
{
    *raft = NULL;
    TRY(check_config(config));
    struct raft *made = make(config);
    struct error *error = load_storage(made);
    if (error != NULL) {
        raft_free(made);
        return error;
    }
    raft_become_follower(made, made->term, RAFT_NONE);
    note_new(made);
    made->previous_soft_state = raft_soft_state_now(made);
    made->previous_hard_state = raft_hard_state_now(made);
    *raft = made;
    return NULL;
}

void raft_free(struct raft *raft)
{
    if (raft == NULL) return;
    raft_log_deinit(&raft->log);
    raft_members_deinit(&raft->members);
    raft_ids_deinit(&raft->votes_granted);
    raft_ids_deinit(&raft->votes_rejected);
    raft_read_only_deinit(&raft->read_only);
    raft_messages_deinit(&raft->pending_reads);
    raft_messages_deinit(&raft->messages);
    raft_messages_deinit(&raft->messages_after_append);
    raft_messages_deinit(&raft->steps_on_advance);
    for (size_t i = 0; i < raft->read_states.count; i++) blob_unref(raft->read_states.items[i].context);
    free(raft->read_states.items);
    free(raft);
}
