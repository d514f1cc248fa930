#include "raft/message.h"

#include "base/text.h"
#include "raft/note.h"

#include <assert.h>

#define NAME_OF(table, value)                                                                                \
    ((size_t)(value) < sizeof(table) / sizeof((table)[0]) && (table)[value] != NULL ? (table)[value]         \
                                                                                    : "unknown")

const char *raft_message_type_name(enum raft_message_type type)
{
    static const char *const names[RAFT_MESSAGE_TYPES] = {
        [RAFT_HUP] = "MsgHup",
        [RAFT_BEAT] = "MsgBeat",
        [RAFT_PROP] = "MsgProp",
        [RAFT_APP] = "MsgApp",
        [RAFT_APP_RESP] = "MsgAppResp",
        [RAFT_VOTE] = "MsgVote",
        [RAFT_VOTE_RESP] = "MsgVoteResp",
        [RAFT_SNAP] = "MsgSnap",
        [RAFT_HEARTBEAT] = "MsgHeartbeat",
        [RAFT_HEARTBEAT_RESP] = "MsgHeartbeatResp",
        [RAFT_UNREACHABLE] = "MsgUnreachable",
        [RAFT_SNAP_STATUS] = "MsgSnapStatus",
        [RAFT_CHECK_QUORUM] = "MsgCheckQuorum",
        [RAFT_TRANSFER_LEADER] = "MsgTransferLeader",
        [RAFT_TIMEOUT_NOW] = "MsgTimeoutNow",
        [RAFT_READ_INDEX] = "MsgReadIndex",
        [RAFT_READ_INDEX_RESP] = "MsgReadIndexResp",
        [RAFT_PRE_VOTE] = "MsgPreVote",
        [RAFT_PRE_VOTE_RESP] = "MsgPreVoteResp",
        [RAFT_STORAGE_APPEND] = "MsgStorageAppend",
        [RAFT_STORAGE_APPEND_RESP] = "MsgStorageAppendResp",
        [RAFT_STORAGE_APPLY] = "MsgStorageApply",
        [RAFT_STORAGE_APPLY_RESP] = "MsgStorageApplyResp",
        [RAFT_FORGET_LEADER] = "MsgForgetLeader",
    };
    return NAME_OF(names, type);
}

const char *raft_entry_type_name(enum raft_entry_type type)
{
    static const char *const names[] = {"EntryNormal", "EntryConfChange", "EntryConfChangeV2"};
    return NAME_OF(names, type);
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = {"StateFollower", "StateCandidate", "StateLeader",
                                        "StatePreCandidate"};
    return NAME_OF(names, role);
}

const char *raft_conf_change_type_name(enum raft_conf_change_type type)
{
    static const char *const names[] = {"ConfChangeAddNode", "ConfChangeRemoveNode", "ConfChangeUpdateNode",
                                        "ConfChangeAddLearnerNode"};
    return NAME_OF(names, type);
}

const char *raft_transition_name(enum raft_conf_change_transition transition)
{
    static const char *const names[] = {"ConfChangeTransitionAuto", "ConfChangeTransitionJointImplicit",
                                        "ConfChangeTransitionJointExplicit"};
    return NAME_OF(names, transition);
}

const char *raft_progress_state_name(enum raft_progress_state state)
{
    static const char *const names[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
    return NAME_OF(names, state);
}

/* ---- States ---- */

void raft_describe_soft_state(struct buf *out, struct raft_soft_state state)
{
    buf_printf(out, "Lead:" DEC " State:%s", state.lead, raft_role_name(state.role));
}

void raft_describe_hard_state(struct buf *out, struct raft_hard_state state)
{
    buf_printf(out, "Term:" DEC, state.term);
    if (state.vote != 0) buf_printf(out, " Vote:" DEC, state.vote);
    buf_printf(out, " Commit:" DEC, state.commit);
}

/* label[1 2 3], decimal */
static void describe_list(struct buf *out, const char *label, const struct raft_ids *ids)
{
    buf_append_string(out, label);
    buf_append_byte(out, '[');
    for (size_t i = 0; i < ids->count; i++) buf_printf(out, "%s" DEC, i == 0 ? "" : " ", ids->items[i]);
    buf_append_byte(out, ']');
}

void raft_describe_conf_state(struct buf *out, const struct raft_conf_state *state)
{
    describe_list(out, "Voters:", &state->voters);
    describe_list(out, " VotersOutgoing:", &state->voters_outgoing);
    describe_list(out, " Learners:", &state->learners);
    describe_list(out, " LearnersNext:", &state->learners_next);
    buf_printf(out, " AutoLeave:%s", state->auto_leave ? "true" : "false");
}

void raft_describe_snapshot(struct buf *out, const struct raft_snapshot *snapshot)
{
    buf_printf(out, "Index:" DEC " Term:" DEC " ConfState:", snapshot->index, snapshot->term);
    raft_describe_conf_state(out, &snapshot->conf_state);
}

/* label(1 2 a), hexadecimal */
static void describe_set(struct buf *out, const char *label, const struct raft_ids *ids)
{
    buf_append_string(out, label);
    buf_append_byte(out, '(');
    for (size_t i = 0; i < ids->count; i++) buf_printf(out, "%s" DEC, i == 0 ? "" : " ", ids->items[i]);
    buf_append_byte(out, ')');
}

void raft_describe_config(struct buf *out, const struct raft_conf_state *config)
{
    describe_set(out, "voters=", &config->voters);
    if (config->voters_outgoing.count > 0) describe_set(out, "&&", &config->voters_outgoing);
    if (config->learners.count > 0) describe_set(out, " learners=", &config->learners);
    if (config->learners_next.count > 0) describe_set(out, " learners_next=", &config->learners_next);
    if (config->auto_leave) buf_append_string(out, " autoleave");
}

void raft_describe_progress(struct buf *out, const struct raft_progress_status *progress)
{
    buf_printf(out, "%s match=" DEC " next=" DEC, raft_progress_state_name(progress->state), progress->match,
               progress->next);
    if (progress->is_learner) buf_append_string(out, " learner");
    if (progress->paused) buf_append_string(out, " paused");
    if (progress->pending_snapshot > 0) buf_printf(out, " pendingSnap=" DEC, progress->pending_snapshot);
    if (!progress->recent_active) buf_append_string(out, " inactive");
    if (progress->inflight_messages == 0) return;
    buf_printf(out, " inflight=" DEC "%s", progress->inflight_messages,
               progress->inflight_full ? "[full]" : "");
}

/* ---- Configuration changes ---- */

void raft_describe_changes(struct buf *out, const struct raft_conf_change_v2 *change)
{
    static const char *const letters[] = {"v", "r", "u", "l"};
    for (size_t i = 0; i < change->count; i++) {
        buf_printf(out, "%s%s" DEC, i == 0 ? "" : " ", NAME_OF(letters, change->changes[i].type),
                   change->changes[i].node_id);
    }
}

void raft_describe_conf_change(struct buf *out, const struct raft_conf_change_v2 *change)
{
    buf_printf(out, "transition:%s", raft_transition_name(change->transition));
    for (size_t i = 0; i < change->count; i++) {
        buf_printf(out, " changes:{type:%s node_id:" DEC "}",
                   raft_conf_change_type_name(change->changes[i].type), change->changes[i].node_id);
    }
    if (change->context.size == 0) return;
    buf_append_string(out, " context:");
    text_go_quote(out, change->context);
}

/* ---- Entries and messages ---- */

static void describe_entry_data(struct buf *out, const struct raft_entry *entry)
{
    if (entry->type == RAFT_ENTRY_NORMAL) {
        text_go_quote(out, blob_bytes(entry->data));
        return;
    }
    struct raft_conf_change_v2 change = {0};
    struct error *error = raft_conf_change_from_entry(&change, entry);
    if (error == NULL) {
        raft_describe_changes(out, &change);
    } else {
        buf_append_string(out, error->text);
        error_free(error);
    }
    raft_conf_change_v2_deinit(&change);
}

void raft_describe_entry(struct buf *out, const struct raft_entry *entry)
{
    buf_printf(out, DEC "/" DEC " %s ", entry->term, entry->index, raft_entry_type_name(entry->type));
    size_t before = out->size;
    describe_entry_data(out, entry);
    if (out->size == before) out->size--; /* a change without changes: no blank either */
}

static void describe_address(struct buf *out, uint64_t id)
{
    switch (id) {
    case RAFT_NONE:
        buf_append_string(out, "None");
        break;
    case RAFT_APPEND_THREAD:
        buf_append_string(out, "AppendThread");
        break;
    case RAFT_APPLY_THREAD:
        buf_append_string(out, "ApplyThread");
        break;
    default:
        buf_printf(out, HEX, id);
    }
}

static void indent(struct buf *out, unsigned depth)
{
    buf_printf(out, "%*s", (int)depth, "");
}

static void describe_entries(struct buf *out, const struct raft_entries *entries, unsigned depth)
{
    buf_append_string(out, " Entries:[");
    if (entries->count == 1) {
        raft_describe_entry(out, &entries->items[0]);
    } else {
        for (size_t i = 0; i < entries->count; i++) {
            buf_append_byte(out, '\n');
            indent(out, depth + 2);
            raft_describe_entry(out, &entries->items[i]);
        }
        buf_append_byte(out, '\n');
        indent(out, depth);
    }
    buf_append_byte(out, ']');
}

/* Responses are messages without responses, so the recursion ends there. */
static void describe_message(struct buf *out, const struct raft_message *message, unsigned depth)
{
    indent(out, depth);
    describe_address(out, message->from);
    buf_append_string(out, "->");
    describe_address(out, message->to);
    buf_printf(out, " %s Term:" DEC " Log:" DEC "/" DEC, raft_message_type_name(message->type), message->term,
               message->log_term, message->index);
    if (message->reject) buf_printf(out, " Rejected (Hint: " DEC ")", message->reject_hint);
    if (message->commit != 0) buf_printf(out, " Commit:" DEC, message->commit);
    if (message->vote != 0) buf_printf(out, " Vote:" DEC, message->vote);
    if (message->entries.count > 0) describe_entries(out, &message->entries, depth);
    if (message->snapshot != NULL && message->snapshot->index != 0) {
        buf_append_byte(out, '\n');
        indent(out, depth + 2);
        buf_append_string(out, "Snapshot: ");
        raft_describe_snapshot(out, message->snapshot);
    }
    if (message->responses.count > 0) {
        buf_append_string(out, " Responses:[");
        for (size_t i = 0; i < message->responses.count; i++) {
            buf_append_byte(out, '\n');
            describe_message(out, &message->responses.items[i], depth + 2);
        }
        buf_append_byte(out, '\n');
        indent(out, depth);
        buf_append_byte(out, ']');
    }
}

void raft_describe_message(struct buf *out, const struct raft_message *message)
{
    describe_message(out, message, 0);
}

/* ---- Ready ---- */

/* ReadStates [{11 [102 111 111]} {12 [97]}] */
static void describe_read_states(struct buf *out, const struct raft_read_states *states)
{
    buf_append_string(out, "ReadStates [");
    for (size_t i = 0; i < states->count; i++) {
        buf_printf(out, "%s{" DEC " [", i == 0 ? "" : " ", states->items[i].index);
        struct bytes context = blob_bytes(states->items[i].context);
        for (size_t j = 0; j < context.size; j++) buf_printf(out, "%s%u", j == 0 ? "" : " ", context.data[j]);
        buf_append_string(out, "]}");
    }
    buf_append_string(out, "]\n");
}

static void describe_entry_lines(struct buf *out, const char *title, const struct raft_entries *entries)
{
    if (entries->count == 0) return;
    buf_append_string(out, title);
    for (size_t i = 0; i < entries->count; i++) {
        raft_describe_entry(out, &entries->items[i]);
        buf_append_byte(out, '\n');
    }
}

void raft_describe_ready(struct buf *out, const struct raft_ready *ready)
{
    if (!ready->has_soft_state && !ready->has_hard_state && ready->read_states.count == 0 &&
        ready->entries.count == 0 && ready->snapshot == NULL && ready->committed_entries.count == 0 &&
        ready->messages.count == 0) {
        buf_append_string(out, "<empty Ready>");
        return;
    }
    buf_printf(out, "Ready MustSync=%s:\n", ready->must_sync ? "true" : "false");
    if (ready->has_soft_state) {
        raft_describe_soft_state(out, ready->soft_state);
        buf_append_byte(out, '\n');
    }
    if (ready->has_hard_state) {
        buf_append_string(out, "HardState ");
        raft_describe_hard_state(out, ready->hard_state);
        buf_append_byte(out, '\n');
    }
    if (ready->read_states.count > 0) describe_read_states(out, &ready->read_states);
    describe_entry_lines(out, "Entries:\n", &ready->entries);
    if (ready->snapshot != NULL) {
        buf_append_string(out, "Snapshot ");
        raft_describe_snapshot(out, ready->snapshot);
        buf_append_byte(out, '\n');
    }
    describe_entry_lines(out, "CommittedEntries:\n", &ready->committed_entries);
    if (ready->messages.count == 0) return;
    buf_append_string(out, "Messages:\n");
    for (size_t i = 0; i < ready->messages.count; i++) {
        raft_describe_message(out, &ready->messages.items[i]);
        buf_append_byte(out, '\n');
    }
}
