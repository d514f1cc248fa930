/* The application's side: calls that start something, and the Ready that tells what is to be done. */
#include "base/memory.h"
#include "raft/codec.h"
#include "raft/confchange.h"
#include "raft/core.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Calls ---- */

static enum raft_result step_from_self(struct raft *raft, enum raft_message_type type, uint64_t from,
                                       bool reject)
{
    struct raft_message message = {.type = type, .from = from, .reject = reject};
    return raft_step_message(raft, &message);
}

enum raft_result raft_campaign(struct raft *raft)
{
    return step_from_self(raft, RAFT_HUP, RAFT_NONE, false);
}

enum raft_result raft_propose(struct raft *raft, struct blob *const *data, size_t count)
{
    assert(count > 0);
    struct raft_message message = {.type = RAFT_PROP, .from = raft->id};
    for (size_t i = 0; i < count; i++) {
        struct raft_entry entry = {.type = RAFT_ENTRY_NORMAL, .data = blob_ref(data[i])};
        raft_entries_append_owned(&message.entries, entry);
    }
    enum raft_result result = raft_step_message(raft, &message);
    raft_message_deinit(&message);
    return result;
}

static enum raft_result propose_encoded(struct raft *raft, enum raft_entry_type type, struct buf *encoded)
{
    struct raft_message message = {.type = RAFT_PROP, .from = raft->id};
    struct raft_entry entry = {.type = type, .data = blob_from(buf_bytes(encoded))};
    raft_entries_append_owned(&message.entries, entry);
    buf_deinit(encoded);
    enum raft_result result = raft_step_message(raft, &message);
    raft_message_deinit(&message);
    return result;
}

enum raft_result raft_propose_conf_change(struct raft *raft, const struct raft_conf_change *change)
{
    struct buf encoded = {0};
    raft_encode_conf_change(&encoded, change);
    return propose_encoded(raft, RAFT_ENTRY_CONF_CHANGE, &encoded);
}

enum raft_result raft_propose_conf_change_v2(struct raft *raft, const struct raft_conf_change_v2 *change)
{
    assert(change->count <= RAFT_CODEC_CHANGES_MAX);
    struct buf encoded = {0};
    raft_encode_conf_change_v2(&encoded, change);
    return propose_encoded(raft, RAFT_ENTRY_CONF_CHANGE_V2, &encoded);
}

void raft_report_unreachable(struct raft *raft, uint64_t id)
{
    (void)step_from_self(raft, RAFT_UNREACHABLE, id, false);
}

void raft_report_snapshot(struct raft *raft, uint64_t id, bool success)
{
    (void)step_from_self(raft, RAFT_SNAP_STATUS, id, !success);
}

void raft_transfer_leader(struct raft *raft, uint64_t transferee)
{
    (void)step_from_self(raft, RAFT_TRANSFER_LEADER, transferee, false);
}

enum raft_result raft_forget_leader(struct raft *raft)
{
    return step_from_self(raft, RAFT_FORGET_LEADER, RAFT_NONE, false);
}

void raft_read_index(struct raft *raft, struct blob *context)
{
    struct raft_message message = {.type = RAFT_READ_INDEX};
    raft_entries_append_owned(&message.entries, (struct raft_entry){.data = blob_ref(context)});
    (void)raft_step_message(raft, &message);
    raft_message_deinit(&message);
}

enum raft_result raft_step(struct raft *raft, const struct raft_message *message)
{
    bool from_storage = raft_id_is_storage_thread(message->from);
    if (raft_message_type_is_local(message->type) && !from_storage) return RAFT_STEP_LOCAL_MESSAGE;
    if (raft_message_type_is_response(message->type) && !from_storage &&
        raft_members_find(&raft->members, message->from) == NULL) {
        return RAFT_STEP_PEER_NOT_FOUND;
    }
    return raft_step_message(raft, message);
}

enum raft_result raft_step_from_peer(struct raft *raft, const struct raft_message *message)
{
    if (message->type >= RAFT_MESSAGE_TYPES) return RAFT_INVALID_MESSAGE;
    if (raft_message_type_is_local(message->type)) return RAFT_STEP_LOCAL_MESSAGE;
    const char *fault = raft_peer_message_fault(raft, message);
    if (fault != NULL) return raft_refuse_message(raft, message, fault);
    return raft_step(raft, message);
}

struct error *raft_bootstrap(struct raft *raft, const struct raft_peer *peers, size_t count)
{
    if (count == 0) return error_new(ERROR_INVALID, "must provide at least one peer to Bootstrap");
    if (raft_log_last_index(&raft->log) != 0) {
        return error_new(ERROR_INVALID, "can't bootstrap a nonempty Storage");
    }
    for (size_t i = 0; i < count; i++) {
        if (peers[i].id == RAFT_NONE || raft_id_is_storage_thread(peers[i].id)) {
            return error_new(ERROR_INVALID, "a peer cannot have this id");
        }
    }
    if (count > RAFT_MEMBERS_MAX) return error_new(ERROR_LIMIT, "too many peers to Bootstrap");
    /* The first ready must carry the hard state. */
    raft->previous_hard_state = (struct raft_hard_state){0};
    raft_become_follower(raft, 1, RAFT_NONE);
    struct raft_entries entries = {0};
    for (size_t i = 0; i < count; i++) {
        struct raft_conf_change change = {.type = RAFT_CONF_CHANGE_ADD_NODE,
                                          .node_id = peers[i].id,
                                          .context = peers[i].context};
        struct buf encoded = {0};
        raft_encode_conf_change(&encoded, &change);
        raft_entries_append_owned(&entries, (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE,
                                                                .term = 1,
                                                                .index = i + 1,
                                                                .data = blob_from(buf_bytes(&encoded))});
        buf_deinit(&encoded);
    }
    raft_log_append(&raft->log, entries.items, entries.count);
    raft_entries_deinit(&entries);
    raft_log_commit_to(&raft->log, count);
    /* The entries are handed out to be applied as well; but the configuration must be known now, so that this
     * member can campaign. Applying an addition twice changes nothing. */
    struct error *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        struct raft_conf_change_single single = {.type = RAFT_CONF_CHANGE_ADD_NODE, .node_id = peers[i].id};
        struct raft_conf_change_v2 change = {.changes = &single, .count = 1};
        error = raft_apply_conf_change(raft, &change, NULL);
    }
    return error;
}

/* ---- Ready ---- */

static bool soft_state_changed(const struct raft *raft)
{
    return raft->lead != raft->previous_soft_state.lead || raft->role != raft->previous_soft_state.role;
}

static bool hard_state_changed(const struct raft *raft)
{
    struct raft_hard_state now = raft_hard_state_now(raft);
    return !raft_hard_state_is_empty(now) && !raft_hard_state_equal(now, raft->previous_hard_state);
}

/* Applying entries that are not durable here is fine in the synchronous mode, where they are by the time they
 * are applied. */
static bool may_apply_unstable(const struct raft *raft)
{
    return !raft->config.async_storage_writes;
}

bool raft_has_ready(const struct raft *raft)
{
    size_t unstable = 0;
    return raft->messages.count > 0 || raft->messages_after_append.count > 0 || raft->read_states.count > 0 ||
           soft_state_changed(raft) || hard_state_changed(raft) ||
           raft_unstable_next(&raft->log.unstable, &unstable) != NULL ||
           raft_unstable_next_snapshot(&raft->log.unstable) != NULL ||
           raft_log_has_next_committed(&raft->log, may_apply_unstable(raft));
}

static struct raft_snapshot *copy_snapshot(const struct raft_snapshot *snapshot)
{
    if (snapshot == NULL) return NULL;
    struct raft_snapshot *copy = mem_zalloc(1, sizeof(*copy));
    raft_snapshot_copy(copy, snapshot);
    return copy;
}

static struct raft_entries copy_entries(const struct raft_entries *entries)
{
    struct raft_entries copy = {0};
    raft_entries_append(&copy, entries->items, entries->count);
    return copy;
}

static struct raft_messages take_messages(struct raft_messages *messages)
{
    struct raft_messages taken = *messages;
    *messages = (struct raft_messages){0};
    return taken;
}

static bool needs_append_response(const struct raft *raft, const struct raft_ready *ready)
{
    return raft->log.unstable.entries.count > 0 || ready->snapshot != NULL;
}

/* The storage's acknowledgement names the end of the whole unstable log, also when this ready writes none of
 * it: writes are done in order, so the response attests those before as well, whose own responses may carry
 * an older term and be ignored. */
static struct raft_message append_response(const struct raft *raft, const struct raft_ready *ready)
{
    struct raft_message response = {
        .type = RAFT_STORAGE_APPEND_RESP,
        .to = raft->id,
        .from = RAFT_APPEND_THREAD,
        .term = raft->term,
        .snapshot = copy_snapshot(ready->snapshot),
    };
    if (raft->log.unstable.entries.count > 0) {
        response.index = raft_log_last_index(&raft->log);
        response.log_term = raft_log_last_term(&raft->log);
    }
    return response;
}

static struct raft_message apply_response(const struct raft *raft, const struct raft_ready *ready)
{
    return (struct raft_message){
        .type = RAFT_STORAGE_APPLY_RESP,
        .to = raft->id,
        .from = RAFT_APPLY_THREAD,
        .entries = copy_entries(&ready->committed_entries),
    };
}

static void add_storage_append(struct raft *raft, struct raft_ready *ready)
{
    if (ready->entries.count == 0 && !ready->has_hard_state && ready->snapshot == NULL &&
        raft->messages_after_append.count == 0) {
        return;
    }
    struct raft_message message = {
        .type = RAFT_STORAGE_APPEND,
        .to = RAFT_APPEND_THREAD,
        .from = raft->id,
        .entries = copy_entries(&ready->entries),
        .snapshot = copy_snapshot(ready->snapshot),
        .responses = take_messages(&raft->messages_after_append),
    };
    if (ready->has_hard_state) {
        message.term = ready->hard_state.term;
        message.vote = ready->hard_state.vote;
        message.commit = ready->hard_state.commit;
    }
    if (needs_append_response(raft, ready))
        raft_messages_append(&message.responses, append_response(raft, ready));
    raft_messages_append(&ready->messages, message);
}

static void add_storage_apply(struct raft *raft, struct raft_ready *ready)
{
    if (ready->committed_entries.count == 0) return;
    struct raft_message message = {
        .type = RAFT_STORAGE_APPLY,
        .to = RAFT_APPLY_THREAD,
        .from = raft->id,
        .entries = copy_entries(&ready->committed_entries),
    };
    raft_messages_append(&message.responses, apply_response(raft, ready));
    raft_messages_append(&ready->messages, message);
}

/* Promises to others leave with the ready, whose messages are sent when it is saved; what this member
 * promised to itself, and what storage will have done by then, is stepped by raft_advance. */
static void defer_to_advance(struct raft *raft, struct raft_ready *ready)
{
    assert(raft->steps_on_advance.count == 0); /* raft_advance is missing */
    struct raft_messages promises = take_messages(&raft->messages_after_append);
    for (size_t i = 0; i < promises.count; i++) {
        bool to_self = promises.items[i].to == raft->id;
        raft_messages_append(to_self ? &raft->steps_on_advance : &ready->messages,
                             raft_message_take(&promises.items[i]));
    }
    raft_messages_deinit(&promises);
    if (needs_append_response(raft, ready)) {
        raft_messages_append(&raft->steps_on_advance, append_response(raft, ready));
    }
    if (ready->committed_entries.count > 0) {
        raft_messages_append(&raft->steps_on_advance, apply_response(raft, ready));
    }
}

static void fill_ready(struct raft *raft, struct raft_ready *ready)
{
    *ready = (struct raft_ready){0};
    size_t count = 0;
    const struct raft_entry *entries = raft_unstable_next(&raft->log.unstable, &count);
    raft_entries_append(&ready->entries, entries, count);
    raft_log_next_committed(&raft->log, may_apply_unstable(raft), &ready->committed_entries);
    ready->has_soft_state = soft_state_changed(raft);
    ready->soft_state = raft_soft_state_now(raft);
    ready->has_hard_state = hard_state_changed(raft);
    ready->hard_state = raft_hard_state_now(raft);
    ready->snapshot = copy_snapshot(raft_unstable_next_snapshot(&raft->log.unstable));
    ready->read_states = raft->read_states;
    raft->read_states = (struct raft_read_states){0};
    ready->must_sync = count > 0 || ready->hard_state.term != raft->previous_hard_state.term ||
                       ready->hard_state.vote != raft->previous_hard_state.vote;
    ready->messages = take_messages(&raft->messages);
}

void raft_take_ready(struct raft *raft, struct raft_ready *ready)
{
    fill_ready(raft, ready);
    if (raft->config.async_storage_writes) {
        add_storage_append(raft, ready);
        add_storage_apply(raft, ready);
    } else {
        defer_to_advance(raft, ready);
    }
    raft->previous_soft_state = ready->soft_state;
    if (ready->has_hard_state) raft->previous_hard_state = ready->hard_state;
    raft_unstable_accept(&raft->log.unstable);
    const struct raft_entries *committed = &ready->committed_entries;
    if (committed->count > 0) {
        raft_log_accept_applying(&raft->log, committed->items[committed->count - 1].index,
                                 raft_entries_encoded_size(committed->items, committed->count),
                                 may_apply_unstable(raft));
    }
}

void raft_advance(struct raft *raft)
{
    assert(!raft->config.async_storage_writes);
    struct raft_messages steps = take_messages(&raft->steps_on_advance);
    for (size_t i = 0; i < steps.count; i++) (void)raft_step_message(raft, &steps.items[i]);
    raft_messages_deinit(&steps);
}
