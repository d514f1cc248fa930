/* What must reach the disks, and what happens when it has: raft's storage messages, the log in memory,
 * snapshots, sealing the backend.
 *
 * Three copies of recent history exist: the log on disk, its tail in memory (for peers that are a little
 * behind), and the state that it led to in the backend. A snapshot is a point (index, term, membership) up to
 * which the backend is known to be committed, so that the log on disk before it is not needed any more:
 *
 *     applied - last snapshot > snapshot_count ─▶ seal the backend ─▶ committed ─▶ .snap + WAL record ─▶ old
 * segments go */
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
            assert(result == RAFT_OK);
        } else {
            struct node_peer_message *out = mem_zalloc(1, sizeof(*out));
            out->message = raft_message_take(response);
            node_outbox_put(&node->peer_messages, &out->mail);
        }
    }
}

void node_log_persisted(struct node *node, struct node_log_write *write)
{
    struct raft_message *message = write->state;
    if (message != NULL) {
        if (!raft_hard_state_is_empty(write->hard_state))
            raft_memory_storage_set_hard_state(node->log, write->hard_state);
        raft_memory_storage_append(node->log, message->entries.items, message->entries.count);
        node->log_bytes += raft_entries_payload_size(message->entries.items, message->entries.count);
        node_deliver(node, &message->responses);
        raft_message_deinit(message);
        free(message);
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

/* Keeps catch_up_entries for peers that are behind, fewer when their data exceeds the limit. */
void node_compact_log(struct node *node)
{
    uint64_t first = raft_memory_storage_first_index(node->log);
    bool too_big = node->log_bytes > node->config.limits.log_memory_bytes;
    if (node->applied < node->log_compacted_at + NODE_LOG_COMPACT_STEP && !too_big) return;
    node->log_compacted_at = node->applied;
    uint64_t keep = node->config.catch_up_entries;
    uint64_t up_to = node->applied > keep ? node->applied - keep : 0;
    uint64_t freed = 0, bytes = node->log_bytes, index = first;
    uint64_t durable = raft_memory_storage_last_index(node->log);
    uint64_t most = node->applied < durable ? node->applied : durable;
    for (; index <= most; index++) {
        if (index > up_to && bytes - freed <= node->config.limits.log_memory_bytes) break;
        const struct raft_entry *entry = &node->log->entries.items[index - first];
        freed += entry->data == NULL ? 0 : entry->data->size;
    }
    if (index == first) return;
    enum raft_result result = raft_memory_storage_compact(node->log, index - 1);
    assert(result == RAFT_OK);
    node->log_bytes -= freed;
}

/* ---- snapshots ---- */

static bool snapshot_in_progress(const struct node *node)
{
    return node->snapshot.index != 0;
}

static void begin_snapshot(struct node *node)
{
    log_info(node->logger, "triggering snapshot", LOG_HEX("local-member-id", node->config.member_id),
             LOG_UINT("local-member-applied-index", node->applied),
             LOG_UINT("local-member-snapshot-index", node->snapshot_index),
             LOG_UINT("local-member-snapshot-count", node->config.snapshot_count));
    node->snapshot.index = node->applied;
    node->snapshot.term = node->applied_term;
    raft_conf_state_now(node->raft, &node->snapshot.conf_state);
    buf_clear(&node->scratch);
    cluster_v2_snapshot_write(&node->scratch, node->cluster);
    node->snapshot.data = blob_from(buf_bytes(&node->scratch));
    node->snapshot_backend_index = node->applied;
    node->seal_now = true;
}

static void write_snapshot(struct node *node)
{
    struct node_log_write *write = mem_zalloc(1, sizeof(*write));
    write->snapshot = &node->snapshot;
    write->must_sync = true;
    node_outbox_put(&node->log_writes, &write->mail);
    node->snapshot_written = true;
}

void node_snapshot_when_due(struct node *node)
{
    if (!snapshot_in_progress(node)) {
        if (node->applied <= node->snapshot_index + node->config.snapshot_count) return;
        begin_snapshot(node);
    }
    if (!node->snapshot_written && node->backend_durable >= node->snapshot_backend_index)
        write_snapshot(node);
}

void node_snapshot_saved(struct node *node, uint64_t index)
{
    assert(node->snapshot_written && node->snapshot.index == index);
    log_info(node->logger, "saved snapshot to disk", LOG_UINT("snapshot-index", index));
    node->snapshot_index = index;
    node->snapshot_written = false;
    raft_snapshot_deinit(&node->snapshot);
    node->snapshot = (struct raft_snapshot){0};
}

/* ---- the backend ---- */

/* A batch is sealed when it is large, old, or somebody waits for it; never while one is being committed. */
void node_seal_when_due(struct node *node)
{
    if (backend_in_flight(node->backend)) return;
    size_t pending = backend_pending_operations(node->backend);
    bool index_moved = backend_consistent_index(node->backend) > node->backend_durable;
    bool due = pending >= node->config.backend_batch_limit || (pending > 0 && node->now >= node->seal_at) ||
               (node->seal_now && (pending > 0 || index_moved));
    if (!due) return;
    node->seal_now = false;
    node->seal_at = node->now + node->config.backend_batch_interval;
    node->sealed_index = backend_consistent_index(node->backend);
    node->sealed = backend_seal(node->backend);
    if (node->sealed != NULL) node->batches_sealed++;
    node->batch_collected = false;
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
    return backend_committed(node->backend, batch);
}

struct error *node_backend_replaced(struct node *node)
{
    return backend_refresh(node->backend);
}
