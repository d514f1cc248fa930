/* What must reach the disks, and what happens when it has: raft's storage messages, the log in memory,
 * sealing the backend.
 *
 * Three copies of recent history exist: the log on disk, its tail in memory (for peers that are a little
 * behind), and the state that it led to in the backend. Snapshots (snapshot.c) connect the three. */
#include "node/node_internal.h"

#include <assert.h>
#include <stdlib.h>

/* ---- raft's storage messages ---- */

/* RAFT_STORAGE_APPEND: becomes one log write. Its entries and responses stay with it until it is durable. */
void node_storage_append(struct node *node, struct raft_message *message)
{
    struct node_log_write *write = mem_zalloc(1, sizeof(*write));
    struct raft_message *kept = mem_alloc(sizeof(*kept));
    *kept = raft_message_take(message);
    write->state = kept;
    write->hard_state =
        (struct raft_hard_state){.term = kept->term, .vote = kept->vote, .commit = kept->commit};
    write->entries = kept->entries.items;
    write->entry_count = kept->entries.count;
    /* A commit index alone need not be durable; anything that will be acknowledged must be. */
    write->must_sync = kept->entries.count > 0 || kept->snapshot != NULL ||
                       write->hard_state.term != node->log->hard_state.term ||
                       write->hard_state.vote != node->log->hard_state.vote;
    write->snapshot = kept->snapshot;
    node_outbox_put(&node->log_writes, &write->mail);
    if (kept->snapshot != NULL) node_snapshot_taken(node, kept->snapshot);
}

/* Every write that is made while entries are on their way to the disk acknowledges the last of them, so the
 * same one comes several times. Once is enough: raft would note each further one in the log. Only within a
 * term: over several an entry may be replaced and replaced back, and raft ignores what older terms
 * acknowledge. */
static bool is_repeated(struct node *node, const struct raft_message *response)
{
    if (response->type != RAFT_STORAGE_APPEND_RESP || response->index == 0) return false;
    if (response->term != raft_status(node->raft).hard_state.term) return false;
    bool repeated = response->index == node->stable_index && response->log_term == node->stable_term &&
                    response->term == node->stable_at;
    node->stable_index = response->index;
    node->stable_term = response->log_term;
    node->stable_at = response->term;
    return repeated && response->snapshot == NULL;
}

void node_deliver(struct node *node, struct raft_messages *responses)
{
    for (size_t i = 0; i < responses->count; i++) {
        struct raft_message *response = &responses->items[i];
        if (is_repeated(node, response)) continue;
        if (response->to == node->config.member_id) {
            enum raft_result result = raft_step(node->raft, response);
            /* What this member's disk acknowledges counts no more once it was removed. */
            assert(result == RAFT_OK || result == RAFT_STEP_PEER_NOT_FOUND);
        } else {
            struct node_peer_message *out = mem_zalloc(1, sizeof(*out));
            out->message = raft_message_take(response);
            node_outbox_put(&node->peer_messages, &out->mail);
        }
    }
}

/* The snapshot replaces what the log in memory held; entries come behind it. */
static void take_snapshot(struct node *node, const struct raft_snapshot *snapshot)
{
    if (snapshot == NULL) return;
    enum raft_result result = raft_memory_storage_apply_snapshot(node->log, snapshot);
    assert(result == RAFT_OK);
    node_snapshot_saved(node, snapshot->index);
    node_snapshot_durable(node, snapshot);
}

static void take_write(struct node *node, struct raft_message *message)
{
    struct raft_hard_state state = {.term = message->term, .vote = message->vote, .commit = message->commit};
    if (!raft_hard_state_is_empty(state)) raft_memory_storage_set_hard_state(node->log, state);
    take_snapshot(node, message->snapshot);
    raft_memory_storage_append(node->log, message->entries.items, message->entries.count);
    node_deliver(node, &message->responses);
}

void node_log_persisted(struct node *node, struct node_log_write *write)
{
    struct raft_message *message = write->state;
    if (message != NULL) {
        take_write(node, message);
        raft_message_deinit(message);
        free(message);
    } else {
        node_snapshot_saved(node, write->snapshot->index);
    }
    free(write);
}

void node_storage_apply(struct node *node, struct raft_message *message)
{
    struct node_apply_batch *batch = mem_zalloc(1, sizeof(*batch));
    batch->message = raft_message_take(message);
    STAILQ_INSERT_TAIL(&node->apply_queue, batch, link);
}

/* ---- the log in memory ---- */

/* Members that need what goes are to be sent a snapshot. Of this one only its index counts, as the least that
 * they will have then: the rest is filled in when it is sent. */
static void note_snapshot(struct node *node, uint64_t index)
{
    struct raft_conf_state conf_state = {0};
    raft_conf_state_now(node->raft, &conf_state);
    enum raft_result result = raft_memory_storage_create_snapshot(node->log, index, &conf_state, NULL);
    assert(result == RAFT_OK || result == RAFT_SNAPSHOT_OUT_OF_DATE); /* it may have a newer one */
    raft_conf_state_deinit(&conf_state);
}

/* Keeps catch_up_entries for peers that are behind, and all while one of them is being sent a snapshot; fewer
 * when their data exceeds the limit. */
void node_compact_log(struct node *node)
{
    uint64_t first = raft_memory_storage_first_index(node->log);
    bool too_big = node->log->payload > node->config.limits.log_memory_bytes;
    if (node_is_installing(node)) return;
    if (node->applied < node->log_compacted_at + node->config.limits.log_compact_step && !too_big) return;
    node->log_compacted_at = node->applied;
    uint64_t keep = node_snapshot_needs_log(node) ? node->applied : node->config.catch_up_entries;
    uint64_t up_to = node->applied > keep ? node->applied - keep : 0;
    uint64_t freed = 0, bytes = node->log->payload, index = first;
    uint64_t durable = raft_memory_storage_last_index(node->log);
    uint64_t most = node->applied < durable ? node->applied : durable;
    for (; index <= most; index++) {
        if (index > up_to && bytes - freed <= node->config.limits.log_memory_bytes) break;
        const struct raft_entry *entry = &node->log->entries.items[index - first];
        freed += entry->data == NULL ? 0 : entry->data->size;
    }
    if (index == first) return;
    note_snapshot(node, most);
    enum raft_result result = raft_memory_storage_compact(node->log, index - 1);
    assert(result == RAFT_OK);
    log_debug(node->logger, "compacted Raft logs", LOG_UINT("compact-index", index - 1));
}

/* ---- the backend ---- */

bool node_backend_is_behind(const struct node *node)
{
    return backend_pending_bytes(node->backend) > node->config.limits.backend_memory_bytes;
}

/* A batch is sealed when it is large, old, or somebody waits for it, as the applier does when too much is not
 * committed; never while one is being committed. */
void node_seal_when_due(struct node *node)
{
    if (node_is_installing(node) || backend_in_flight(node->backend)) return;
    size_t pending = backend_pending_operations(node->backend);
    bool index_moved = backend_consistent_index(node->backend) > node->backend_durable;
    bool due = pending >= node->config.backend_batch_limit ||
               (pending > 0 && (node->now >= node->seal_at || node_backend_is_behind(node))) ||
               (node->seal_now && (pending > 0 || index_moved)) || node_snapshot_wants_seal(node);
    if (!due) return;
    node->seal_now = false;
    node->seal_at = node->now + node->config.backend_batch_interval;
    node->sealed_index = backend_consistent_index(node->backend);
    node->sealed = backend_seal(node->backend);
    if (node->sealed != NULL) node->batches_sealed++;
    node->batch_collected = false;
    node_snapshot_sealed(node);
    if (node->sealed == NULL) node_snapshot_committed(node); /* all of it was */
}

/* Batches that come later do not count, or a request would wait for ever while others write. */
bool node_is_settled(struct node *node, struct node_request *request)
{
    if (request->node.batch == 0) {
        bool pending = backend_pending_operations(node->backend) > 0 ||
                       backend_consistent_index(node->backend) >
                           (backend_in_flight(node->backend) ? node->sealed_index : node->backend_durable);
        request->node.batch = node->batches_sealed + (pending ? 1 : 0);
    }
    if (request->node.batch > node->batches_sealed) node->seal_now = true;
    return request->node.batch <= node->batches_committed;
}

struct error *node_backend_committed(struct node *node, struct backend_batch *batch)
{
    assert(batch == node->sealed && node->batch_collected);
    node->sealed = NULL;
    node->backend_durable = node->sealed_index;
    node->batches_committed = node->batches_sealed;
    TRY(backend_committed(node->backend, batch));
    node_snapshot_committed(node);
    return NULL;
}

struct error *node_backend_replaced(struct node *node)
{
    /* While it is away its reads are not for this side to move. They follow with the next commit. */
    return node_backend_is_away(node) ? NULL : backend_refresh(node->backend);
}
