/* What a message from another member must satisfy. A member that follows the protocol never violates any of
 * this, and the state machine relies on it; but bytes come from a network. What only the role's own code can
 * judge (a conflict with committed entries, a configuration that contradicts itself) is refused there. */
#include "raft/codec.h"
#include "raft/core.h"
#include "raft/message.h"
#include "raft/note.h"

enum term_rule {
    TERM_PRESENT,
    TERM_ABSENT, /* belongs to no term: it may be forwarded */
    TERM_FREE,
};

static const enum term_rule term_rules[RAFT_MESSAGE_TYPES] = {
    [RAFT_PROP] = TERM_ABSENT,        [RAFT_READ_INDEX] = TERM_ABSENT,  [RAFT_TRANSFER_LEADER] = TERM_FREE,
    [RAFT_FORGET_LEADER] = TERM_FREE, [RAFT_PRE_VOTE_RESP] = TERM_FREE, /* a member that never saw a term
                                                                           rejects with none */
    [RAFT_VOTE_RESP] = TERM_FREE,
};

/* May come back to the member it started from, by way of a former leader. */
static bool may_return(enum raft_message_type type)
{
    return type == RAFT_PROP || type == RAFT_READ_INDEX || type == RAFT_TRANSFER_LEADER;
}

static const char *origin_fault(const struct raft *raft, const struct raft_message *message)
{
    if (message->from == RAFT_NONE) return "it comes from nobody";
    if (raft_id_is_storage_thread(message->from)) return "it claims to come from a storage thread";
    if (message->from == raft->id && !may_return(message->type)) return "it claims to come from this member";
    return NULL;
}

static const char *number_fault(const struct raft_message *message)
{
    if (message->term > RAFT_POSITION_MAX || message->log_term > RAFT_POSITION_MAX)
        return "its term is too high";
    if (message->index > RAFT_POSITION_MAX || message->commit > RAFT_POSITION_MAX ||
        message->reject_hint > RAFT_POSITION_MAX) {
        return "its index is too high";
    }
    switch (term_rules[message->type]) {
    case TERM_PRESENT:
        return message->term == 0 ? "it has no term" : NULL;
    case TERM_ABSENT:
        return message->term != 0 ? "it must not have a term" : NULL;
    case TERM_FREE:
        break;
    }
    return message->term == 0 && message->type == RAFT_VOTE_RESP && !message->reject ? "it has no term"
                                                                                     : NULL;
}

/* "If two entries in different logs have the same index and term, then the logs are identical in all
 * preceding entries" (Raft paper, 5.3) holds only as long as terms never go down along a log. */
static const char *append_fault(const struct raft_message *message)
{
    uint64_t term = message->log_term;
    for (size_t i = 0; i < message->entries.count; i++) {
        const struct raft_entry *entry = &message->entries.items[i];
        if (entry->index != message->index + 1 + i) return "its entries are not contiguous";
        if (entry->term < term) return "the terms of its entries go down";
        if (entry->term > message->term) return "an entry has a term above the leader's";
        if (entry->index > RAFT_POSITION_MAX) return "its index is too high";
        term = entry->term;
    }
    return NULL;
}

static const char *proposal_fault(const struct raft_message *message)
{
    if (message->entries.count == 0) return "it proposes nothing";
    for (size_t i = 0; i < message->entries.count; i++) {
        const struct raft_entry *entry = &message->entries.items[i];
        if (entry->type == RAFT_ENTRY_NORMAL) continue;
        struct raft_conf_change_v2 change = {0};
        struct error *error = raft_conf_change_from_entry(&change, entry);
        raft_conf_change_v2_deinit(&change);
        if (error == NULL) continue;
        error_free(error);
        return "a conf change in it cannot be decoded";
    }
    return NULL;
}

static const char *snapshot_fault(const struct raft_message *message)
{
    if (message->snapshot == NULL) return "there is no snapshot in it";
    if (message->snapshot->index > RAFT_POSITION_MAX) return "its index is too high";
    if (message->snapshot->term > message->term) return "its snapshot has a term above the leader's";
    return NULL;
}

const char *raft_peer_message_fault(const struct raft *raft, const struct raft_message *message)
{
    const char *fault = origin_fault(raft, message);
    if (fault == NULL) fault = number_fault(message);
    if (fault != NULL) return fault;
    switch (message->type) {
    case RAFT_APP:
        return append_fault(message);
    case RAFT_PROP:
        return proposal_fault(message);
    case RAFT_READ_INDEX:
        return message->entries.count == 0 ? "it has no context" : NULL;
    case RAFT_SNAP:
        return snapshot_fault(message);
    default:
        return NULL;
    }
}

enum raft_result raft_refuse_message(const struct raft *raft, const struct raft_message *message,
                                     const char *fault)
{
    note_warn(raft->logger, HEX " refused a %s message from " HEX " [term: " DEC "]: %s", raft->id,
              raft_message_type_name(message->type), message->from, message->term, fault);
    return RAFT_INVALID_MESSAGE;
}
