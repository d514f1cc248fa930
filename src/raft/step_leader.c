/* Messages to a leader (Raft paper, 5.3 and 5.4; transfers: Raft dissertation, 3.10; reads: 6.4). */
#include "raft/confchange.h"
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

#include <stdio.h>

/* A log line that ends in the state of a peer's progress. */
static void note_progress(const struct raft *raft, const char *text, const struct raft_progress *progress)
{
    if (!log_wants(raft->logger, LOG_DEBUG)) return;
    struct buf described = {0};
    struct raft_progress_status status = raft_progress_status_of(progress);
    raft_describe_progress(&described, &status);
    note_debug(raft->logger, HEX " %s [%s]", raft->id, text, buf_string(&described));
    buf_deinit(&described);
}

/* `format` takes the peer's id. */
#define NOTE_PROGRESS(raft, progress, format)                                                                \
    do {                                                                                                     \
        if (log_wants((raft)->logger, LOG_DEBUG)) {                                                          \
            struct buf note_text_ = {0};                                                                     \
            buf_printf(&note_text_, format, (progress)->id);                                                 \
            note_progress(raft, buf_string(&note_text_), progress);                                          \
            buf_deinit(&note_text_);                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- Proposals ---- */

static void note_refused_change(const struct raft *raft, const struct raft_conf_change_v2 *change,
                                const char *reason)
{
    if (!log_wants(raft->logger, LOG_INFO)) return;
    struct buf described = {0}, config = {0};
    raft_describe_conf_change(&described, change);
    raft_describe_config(&config, &raft->members.config);
    note_info(raft->logger, HEX " ignoring conf change %s at config %s: %s", raft->id, buf_string(&described),
              buf_string(&config), reason);
    buf_deinit(&described);
    buf_deinit(&config);
}

/* A proposed conf change at `index`: accepted, or turned into an empty entry. Only one may be under way,
 * since the next one is judged by the configuration that it leads to. */
static enum raft_result admit_conf_change(struct raft *raft, struct raft_entry *entry, uint64_t index)
{
    struct raft_conf_change_v2 change = {0};
    struct error *error = raft_conf_change_from_entry(&change, entry);
    if (error != NULL) {
        error_free(error);
        return RAFT_INVALID_MESSAGE;
    }
    bool joint = raft_members_is_joint(&raft->members);
    bool wants_to_leave = change.count == 0;
    char pending[128] = "";
    const char *reason = NULL;
    if (raft->pending_conf_index > raft->log.applied) {
        snprintf(pending, sizeof(pending),
                 "possible unapplied conf change at index " DEC " (applied to " DEC ")",
                 raft->pending_conf_index, raft->log.applied);
        reason = pending;
    } else if (joint && !wants_to_leave) {
        reason = "must transition out of joint config first";
    } else if (!joint && wants_to_leave) {
        reason = "not in joint state; refusing empty conf change";
    }
    if (reason != NULL && !raft->config.disable_conf_change_validation) {
        note_refused_change(raft, &change, reason);
        blob_unref(entry->data);
        *entry = (struct raft_entry){.type = RAFT_ENTRY_NORMAL};
    } else {
        raft->pending_conf_index = index;
    }
    raft_conf_change_v2_deinit(&change);
    return RAFT_OK;
}

static enum raft_result handle_proposal(struct raft *raft, const struct raft_message *message)
{
    if (message->entries.count == 0) return raft_refuse_message(raft, message, "it proposes nothing");
    /* Removed from the configuration, but still leading. */
    if (raft_members_find(&raft->members, raft->id) == NULL) return RAFT_PROPOSAL_DROPPED;
    if (raft->lead_transferee != RAFT_NONE) {
        note_debug(raft->logger,
                   HEX " [term " DEC "] transfer leadership to " HEX " is in progress; dropping proposal",
                   raft->id, raft->term, raft->lead_transferee);
        return RAFT_PROPOSAL_DROPPED;
    }
    struct raft_entries entries = {0};
    raft_entries_append(&entries, message->entries.items, message->entries.count);
    uint64_t last = raft_log_last_index(&raft->log);
    enum raft_result result = RAFT_OK;
    for (size_t i = 0; i < entries.count && result == RAFT_OK; i++) {
        if (entries.items[i].type == RAFT_ENTRY_NORMAL) continue;
        result = admit_conf_change(raft, &entries.items[i], last + 1 + i);
    }
    if (result != RAFT_OK) {
        raft_refuse_message(raft, message, "a conf change in it cannot be decoded");
    } else if (!raft_append_entries(raft, &entries)) {
        result = RAFT_PROPOSAL_DROPPED;
    } else {
        raft_broadcast_append(raft);
    }
    raft_entries_deinit(&entries);
    return result;
}

/* ---- Reads ---- */

static void answer_read(struct raft *raft, uint64_t from, uint64_t index, const struct raft_entries *entries)
{
    if (from == RAFT_NONE || from == raft->id) {
        raft_add_read_state(raft, index, entries->items[0].data);
        return;
    }
    struct raft_message answer = {.to = from, .type = RAFT_READ_INDEX_RESP, .index = index};
    raft_entries_append(&answer.entries, entries->items, entries->count);
    raft_send(raft, answer);
}

static void start_read(struct raft *raft, const struct raft_message *request)
{
    if (raft->config.read_only_option == RAFT_READ_ONLY_LEASE_BASED ||
        raft_members_is_singleton(&raft->members)) {
        answer_read(raft, request->from, raft->log.committed, &request->entries);
        return;
    }
    uint64_t position = raft_read_only_add(&raft->read_only, raft->log.committed, request);
    struct raft_progress *own = raft_members_find(&raft->members, raft->id);
    if (position == 0) return;
    if (own != NULL) own->read_position = position;
    raft_broadcast_heartbeat(raft);
}

static enum raft_result handle_read_index(struct raft *raft, const struct raft_message *message)
{
    if (message->entries.count == 0) return raft_refuse_message(raft, message, "it has no context");
    /* A new leader does not know what is committed until it has committed an entry of its own term. That
     * holds for an only voter as well: after a crash its saved commit index may be older than what it has
     * acknowledged. */
    if (raft_log_term_or_zero(&raft->log, raft->log.committed) != raft->term) {
        if (raft->pending_reads.count >= RAFT_PENDING_READS_MAX) return RAFT_OK; /* asked again later */
        struct raft_message kept = {0};
        raft_message_copy(&kept, message);
        raft_messages_append(&raft->pending_reads, kept);
        return RAFT_OK;
    }
    start_read(raft, message);
    return RAFT_OK;
}

static void release_pending_reads(struct raft *raft)
{
    if (raft->pending_reads.count == 0 ||
        raft_log_term_or_zero(&raft->log, raft->log.committed) != raft->term) {
        return;
    }
    struct raft_messages released = raft->pending_reads;
    raft->pending_reads = (struct raft_messages){0};
    for (size_t i = 0; i < released.count; i++) start_read(raft, &released.items[i]);
    raft_messages_deinit(&released);
}

static enum raft_result confirm_reads(struct raft *raft, const struct raft_message *message,
                                      struct raft_progress *progress)
{
    struct bytes context = blob_bytes(message->context);
    if (raft->config.read_only_option != RAFT_READ_ONLY_SAFE || context.size == 0) return RAFT_OK;
    if (context.size < 8) return raft_refuse_message(raft, message, "its read position is cut short");
    uint64_t position = le64_get(context.data);
    if (position > raft_read_only_last_position(&raft->read_only)) {
        return raft_refuse_message(raft, message, "it confirms a read that was never asked");
    }
    if (position > progress->read_position) progress->read_position = position;
    uint64_t confirmed = raft_members_read_confirmed(&raft->members);
    struct raft_read_request request;
    while (raft_read_only_pop(&raft->read_only, confirmed, &request)) {
        answer_read(raft, request.from, request.index, &request.entries);
        raft_entries_deinit(&request.entries);
    }
    return RAFT_OK;
}

/* ---- Acknowledgements ---- */

static void handle_append_rejection(struct raft *raft, const struct raft_message *message,
                                    struct raft_progress *progress)
{
    note_debug(raft->logger,
               HEX " received MsgAppResp(rejected, hint: (index " DEC ", term " DEC ")) from " HEX
                   " for index " DEC,
               raft->id, message->reject_hint, message->log_term, message->from, message->index);
    uint64_t next_probe = message->reject_hint;
    if (message->log_term > 0) {
        /* The follower's log at the hint has this term or a lower one; entries of ours above that term cannot
         * match. */
        uint64_t found_term;
        next_probe =
            raft_log_find_conflict_by_term(&raft->log, message->reject_hint, message->log_term, &found_term);
    }
    if (!raft_progress_maybe_decrease(progress, message->index, next_probe)) return;
    NOTE_PROGRESS(raft, progress, "decreased progress of " HEX " to");
    if (progress->state == RAFT_REPLICATE) raft_progress_become_probe(progress);
    (void)raft_maybe_send_append(raft, progress, true);
}

/* How the peer's state changes when it has acknowledged what it was sent. */
static void note_acknowledged(struct raft *raft, struct raft_progress *progress, uint64_t index)
{
    if (progress->state == RAFT_PROBE) {
        raft_progress_become_replicate(progress);
    } else if (progress->state == RAFT_REPLICATE) {
        raft_inflights_free_to(&progress->inflights, index);
    } else if (progress->match + 1 >= raft_log_first_index(&raft->log)) {
        /* What it has now connects to our log, whichever snapshot it got it from. Probe first, for the
         * state's sake: the pending snapshot is done with. */
        NOTE_PROGRESS(raft, progress,
                      "recovered from needing snapshot, resumed sending replication messages to " HEX);
        raft_progress_become_probe(progress);
        raft_progress_become_replicate(progress);
    }
}

static void send_timeout_now(struct raft *raft, uint64_t to)
{
    raft_send(raft, (struct raft_message){.to = to, .type = RAFT_TIMEOUT_NOW});
}

static enum raft_result handle_append_response(struct raft *raft, const struct raft_message *message,
                                               struct raft_progress *progress)
{
    uint64_t last = raft_log_last_index(&raft->log);
    if (!message->reject && message->index > last) {
        return raft_refuse_message(raft, message, "it acknowledges entries that were never sent");
    }
    progress->recent_active = true;
    if (message->reject) {
        if (message->from != raft->id) handle_append_rejection(raft, message, progress);
        return RAFT_OK;
    }
    bool updated = raft_progress_maybe_update(progress, message->index);
    /* A probe may be answered by what was known before: that ends the probing as well. */
    bool probed = progress->match == message->index && progress->state == RAFT_PROBE;
    if (!updated && !probed) return RAFT_OK;
    note_acknowledged(raft, progress, message->index);

    bool is_peer = message->from != raft->id;
    if (raft_maybe_commit(raft)) {
        release_pending_reads(raft);
        raft_broadcast_append(raft);
    } else if (is_peer && raft_progress_can_bump_commit(progress, raft->log.committed)) {
        (void)raft_maybe_send_append(raft, progress, true);
    }
    /* There may be room in the window for several messages now. */
    while (is_peer && raft_maybe_send_append(raft, progress, false)) continue;
    if (message->from == raft->lead_transferee && progress->match == last) {
        note_info(raft->logger, HEX " sent MsgTimeoutNow to " HEX " after received MsgAppResp", raft->id,
                  message->from);
        send_timeout_now(raft, message->from);
    }
    return RAFT_OK;
}

static enum raft_result handle_heartbeat_response(struct raft *raft, const struct raft_message *message,
                                                  struct raft_progress *progress)
{
    progress->recent_active = true;
    progress->app_flow_paused = false;
    /* It answers, so what it lacks, or what was lost on the way, can be sent again. */
    if (progress->match < raft_log_last_index(&raft->log) || progress->state == RAFT_PROBE) {
        (void)raft_maybe_send_append(raft, progress, true);
    }
    return confirm_reads(raft, message, progress);
}

/* ---- Reports and transfers ---- */

static void handle_snapshot_status(struct raft *raft, const struct raft_message *message,
                                   struct raft_progress *progress)
{
    if (progress->state != RAFT_SNAPSHOT) return;
    if (message->reject) {
        progress->pending_snapshot = 0;
        raft_progress_become_probe(progress);
        NOTE_PROGRESS(raft, progress, "snapshot failed, resumed sending replication messages to " HEX);
    } else {
        raft_progress_become_probe(progress);
        NOTE_PROGRESS(raft, progress, "snapshot succeeded, resumed sending replication messages to " HEX);
    }
    /* The next word is the peer's: its acknowledgement, or its answer to a heartbeat. */
    progress->app_flow_paused = true;
}

static void handle_unreachable(struct raft *raft, struct raft_progress *progress)
{
    /* What is on the way is probably lost: no streaming until an answer has come. */
    if (progress->state == RAFT_REPLICATE) raft_progress_become_probe(progress);
    NOTE_PROGRESS(raft, progress, "failed to send message to " HEX " because it is unreachable");
}

static void handle_transfer(struct raft *raft, const struct raft_message *message,
                            struct raft_progress *progress)
{
    uint64_t transferee = message->from, previous = raft->lead_transferee;
    if (progress->is_learner) {
        note_debug(raft->logger, HEX " is learner. Ignored transferring leadership", raft->id);
        return;
    }
    if (previous == transferee) {
        note_info(raft->logger,
                  HEX " [term " DEC "] transfer leadership to " HEX
                      " is in progress, ignores request to same node " HEX,
                  raft->id, raft->term, transferee, transferee);
        return;
    }
    if (previous != RAFT_NONE) {
        raft->lead_transferee = RAFT_NONE;
        note_info(raft->logger, HEX " [term " DEC "] abort previous transferring leadership to " HEX,
                  raft->id, raft->term, previous);
    }
    if (transferee == raft->id) {
        note_debug(raft->logger, HEX " is already leader. Ignored transferring leadership to self", raft->id);
        return;
    }
    note_info(raft->logger, HEX " [term " DEC "] starts to transfer leadership to " HEX, raft->id, raft->term,
              transferee);
    raft->election_elapsed = 0; /* it has an election timeout to succeed */
    raft->lead_transferee = transferee;
    if (progress->match == raft_log_last_index(&raft->log)) {
        send_timeout_now(raft, transferee);
        note_info(raft->logger,
                  HEX " sends MsgTimeoutNow to " HEX " immediately as " HEX " already has up-to-date log",
                  raft->id, transferee, transferee);
    } else {
        (void)raft_maybe_send_append(raft, progress, true);
    }
}

static void check_quorum(struct raft *raft)
{
    if (!raft_members_quorum_active(&raft->members)) {
        note_warn(raft->logger, HEX " stepped down to follower since quorum is not active", raft->id);
        raft_become_follower(raft, raft->term, RAFT_NONE);
    }
    for (size_t i = 0; i < raft->members.count; i++) {
        struct raft_progress *progress = &raft->members.items[i];
        if (progress->id != raft->id) progress->recent_active = false;
    }
}

/* ---- Dispatch ---- */

static enum raft_result handle_peer_message(struct raft *raft, const struct raft_message *message)
{
    struct raft_progress *progress = raft_members_find(&raft->members, message->from);
    if (progress == NULL) {
        note_debug(raft->logger, HEX " no progress available for " HEX, raft->id, message->from);
        return RAFT_OK;
    }
    switch (message->type) {
    case RAFT_APP_RESP:
        return handle_append_response(raft, message, progress);
    case RAFT_HEARTBEAT_RESP:
        return progress->id == raft->id ? RAFT_OK : handle_heartbeat_response(raft, message, progress);
    case RAFT_SNAP_STATUS:
        handle_snapshot_status(raft, message, progress);
        break;
    case RAFT_UNREACHABLE:
        handle_unreachable(raft, progress);
        break;
    case RAFT_TRANSFER_LEADER:
        handle_transfer(raft, message, progress);
        break;
    default:
        break;
    }
    return RAFT_OK;
}

enum raft_result raft_step_leader(struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_BEAT:
        raft_broadcast_heartbeat(raft);
        return RAFT_OK;
    case RAFT_CHECK_QUORUM:
        check_quorum(raft);
        return RAFT_OK;
    case RAFT_PROP:
        return handle_proposal(raft, message);
    case RAFT_READ_INDEX:
        return handle_read_index(raft, message);
    case RAFT_FORGET_LEADER:
        return RAFT_OK; /* a leader knows who leads */
    default:
        return handle_peer_message(raft, message);
    }
}
