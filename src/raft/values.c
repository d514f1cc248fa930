/* The plain structs of raft.h: making, copying and releasing configurations, snapshots, messages and readies.
 */
#include "base/memory.h"
#include "raft/codec.h"
#include "raft/raft.h"

#include <assert.h>
#include <stdlib.h>

const char *raft_result_text(enum raft_result result)
{
    static const char *const texts[] = {
        [RAFT_OK] = "ok",
        [RAFT_PROPOSAL_DROPPED] = "raft proposal dropped",
        [RAFT_STEP_LOCAL_MESSAGE] = "raft: cannot step raft local message",
        [RAFT_STEP_PEER_NOT_FOUND] = "raft: cannot step as peer not found",
        [RAFT_INVALID_MESSAGE] = "raft: cannot step malformed message",
        [RAFT_LOG_LOST] = "raft: the log was corrupted, truncated, or lost",
        [RAFT_COMPACTED] = "requested index is unavailable due to compaction",
        [RAFT_UNAVAILABLE] = "requested entry at index is unavailable",
        [RAFT_SNAPSHOT_OUT_OF_DATE] = "requested index is older than the existing snapshot",
        [RAFT_SNAPSHOT_TEMPORARILY_UNAVAILABLE] = "snapshot is temporarily unavailable",
    };
    assert(result < sizeof(texts) / sizeof(texts[0]));
    return texts[result];
}

/* ---- Configuration state ---- */

void raft_conf_state_deinit(struct raft_conf_state *state)
{
    raft_ids_deinit(&state->voters);
    raft_ids_deinit(&state->learners);
    raft_ids_deinit(&state->voters_outgoing);
    raft_ids_deinit(&state->learners_next);
    state->auto_leave = false;
}

void raft_conf_state_copy(struct raft_conf_state *to, const struct raft_conf_state *from)
{
    raft_ids_copy(&to->voters, &from->voters);
    raft_ids_copy(&to->learners, &from->learners);
    raft_ids_copy(&to->voters_outgoing, &from->voters_outgoing);
    raft_ids_copy(&to->learners_next, &from->learners_next);
    to->auto_leave = from->auto_leave;
}

static bool same_members(const struct raft_ids *a, const struct raft_ids *b)
{
    struct raft_ids left = {0}, right = {0};
    raft_ids_copy(&left, a);
    raft_ids_copy(&right, b);
    raft_ids_sort(&left);
    raft_ids_sort(&right);
    bool same = raft_ids_equal(&left, &right);
    raft_ids_deinit(&left);
    raft_ids_deinit(&right);
    return same;
}

bool raft_conf_state_equivalent(const struct raft_conf_state *a, const struct raft_conf_state *b)
{
    return a->auto_leave == b->auto_leave && same_members(&a->voters, &b->voters) &&
           same_members(&a->learners, &b->learners) &&
           same_members(&a->voters_outgoing, &b->voters_outgoing) &&
           same_members(&a->learners_next, &b->learners_next);
}

/* ---- Snapshots ---- */

void raft_snapshot_deinit(struct raft_snapshot *snapshot)
{
    blob_unref(snapshot->data);
    raft_conf_state_deinit(&snapshot->conf_state);
    *snapshot = (struct raft_snapshot){0};
}

void raft_snapshot_copy(struct raft_snapshot *to, const struct raft_snapshot *from)
{
    if (to == from) return;
    blob_unref(to->data);
    to->data = blob_ref(from->data);
    raft_conf_state_copy(&to->conf_state, &from->conf_state);
    to->index = from->index;
    to->term = from->term;
}

/* ---- Messages ---- */

bool raft_message_type_is_local(enum raft_message_type type)
{
    switch (type) {
    case RAFT_HUP:
    case RAFT_BEAT:
    case RAFT_UNREACHABLE:
    case RAFT_SNAP_STATUS:
    case RAFT_CHECK_QUORUM:
    case RAFT_STORAGE_APPEND:
    case RAFT_STORAGE_APPEND_RESP:
    case RAFT_STORAGE_APPLY:
    case RAFT_STORAGE_APPLY_RESP:
        return true;
    default:
        return false;
    }
}

bool raft_message_type_is_response(enum raft_message_type type)
{
    switch (type) {
    case RAFT_APP_RESP:
    case RAFT_VOTE_RESP:
    case RAFT_HEARTBEAT_RESP:
    case RAFT_UNREACHABLE:
    case RAFT_READ_INDEX_RESP:
    case RAFT_PRE_VOTE_RESP:
    case RAFT_STORAGE_APPEND_RESP:
    case RAFT_STORAGE_APPLY_RESP:
        return true;
    default:
        return false;
    }
}

void raft_message_deinit(struct raft_message *message)
{
    raft_entries_deinit(&message->entries);
    if (message->snapshot != NULL) {
        raft_snapshot_deinit(message->snapshot);
        free(message->snapshot);
    }
    blob_unref(message->context);
    raft_messages_deinit(&message->responses);
    *message = (struct raft_message){0};
}

void raft_message_copy(struct raft_message *to, const struct raft_message *from)
{
    assert(to != from);
    raft_message_deinit(to);
    *to = *from;
    to->entries = (struct raft_entries){0};
    raft_entries_append(&to->entries, from->entries.items, from->entries.count);
    if (from->snapshot != NULL) {
        to->snapshot = mem_zalloc(1, sizeof(*to->snapshot));
        raft_snapshot_copy(to->snapshot, from->snapshot);
    }
    blob_ref(to->context);
    to->responses = (struct raft_messages){0};
    for (size_t i = 0; i < from->responses.count; i++) {
        struct raft_message response = {0};
        raft_message_copy(&response, &from->responses.items[i]);
        raft_messages_append(&to->responses, response);
    }
}

struct raft_message raft_message_take(struct raft_message *message)
{
    struct raft_message taken = *message;
    *message = (struct raft_message){0};
    return taken;
}

void raft_messages_deinit(struct raft_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) raft_message_deinit(&messages->items[i]);
    free(messages->items);
    *messages = (struct raft_messages){0};
}

void raft_messages_append(struct raft_messages *messages, struct raft_message message)
{
    if (messages->count == messages->capacity) {
        messages->capacity = messages->capacity == 0 ? 4 : messages->capacity * 2;
        messages->items = mem_realloc(messages->items, messages->capacity * sizeof(*messages->items));
    }
    messages->items[messages->count++] = message;
}

/* ---- Configuration changes ---- */

void raft_conf_change_v2_deinit(struct raft_conf_change_v2 *change)
{
    free(change->changes);
    *change = (struct raft_conf_change_v2){0};
}

void raft_conf_change_v2_from_v1(struct raft_conf_change_v2 *to, const struct raft_conf_change *from)
{
    *to = (struct raft_conf_change_v2){.transition = RAFT_TRANSITION_AUTO,
                                       .count = 1,
                                       .context = from->context};
    to->changes = mem_alloc(sizeof(*to->changes));
    to->changes[0] = (struct raft_conf_change_single){.type = from->type, .node_id = from->node_id};
}

struct error *raft_conf_change_from_entry(struct raft_conf_change_v2 *change, const struct raft_entry *entry)
{
    assert(entry->type != RAFT_ENTRY_NORMAL);
    if (entry->type == RAFT_ENTRY_CONF_CHANGE_V2) {
        *change = (struct raft_conf_change_v2){0};
        return raft_decode_conf_change_v2(change, blob_bytes(entry->data));
    }
    struct raft_conf_change v1 = {0};
    TRY(raft_decode_conf_change(&v1, blob_bytes(entry->data)));
    raft_conf_change_v2_from_v1(change, &v1);
    return NULL;
}

/* ---- Readies ---- */

static void read_states_deinit(struct raft_read_states *states)
{
    for (size_t i = 0; i < states->count; i++) blob_unref(states->items[i].context);
    free(states->items);
    *states = (struct raft_read_states){0};
}

void raft_ready_deinit(struct raft_ready *ready)
{
    read_states_deinit(&ready->read_states);
    raft_entries_deinit(&ready->entries);
    raft_entries_deinit(&ready->committed_entries);
    if (ready->snapshot != NULL) {
        raft_snapshot_deinit(ready->snapshot);
        free(ready->snapshot);
    }
    raft_messages_deinit(&ready->messages);
    *ready = (struct raft_ready){0};
}
