/* Snapshots: the member's own on disk, those it sends to members that are far behind, those it receives.
 *
 * Own. A point (index, term, membership) up to which the backend is known to be committed, so that the log on
 * disk before it is not needed any more:
 *
 *     applied - last snapshot > snapshot_count ─▶ seal the backend ─▶ committed ─▶ .snap + WAL record ─▶
 *     old segments go
 *
 * Sent. Raft's RAFT_SNAP only says that somebody needs one. It is held until the backend is sealed: what is
 * applied at that moment is what the batch completes and what the message says, so the image that is read
 * once the batch is committed has exactly that index. Were it further, the receiver would pass over entries.
 *
 * Received. From the moment raft has taken it nothing more is applied: raft's configuration is the
 * snapshot's already, and a change from before it would be wrong there. When its log write is durable the
 * edge puts the image into the backend's place and builds the state from it; until node_installed the
 * backend is away. Entries of before that wait to be applied are passed over, their effects are in the image.
 */
#include "node/node_internal.h"

#include <assert.h>
#include <stdlib.h>

/* How long members that just got a snapshot are given to ask for the entries behind it. */
#define LOG_KEPT_AFTER_SENDING (30 * NODE_SECOND)

/* ---- own ---- */

static bool own_in_progress(const struct node *node)
{
    return node->snapshot.index != 0;
}

/* What is applied, as a snapshot says it. */
static void fill_in(struct node *node, struct raft_snapshot *snapshot)
{
    raft_snapshot_deinit(snapshot);
    *snapshot = (struct raft_snapshot){.index = node->applied, .term = node->applied_term};
    raft_conf_state_now(node->raft, &snapshot->conf_state);
    buf_clear(&node->scratch);
    cluster_v2_snapshot_write(&node->scratch, node->cluster);
    snapshot->data = blob_from(buf_bytes(&node->scratch));
}

static void begin_own(struct node *node)
{
    log_info(node->logger, "triggering snapshot", LOG_HEX("local-member-id", node->config.member_id),
             LOG_UINT("local-member-applied-index", node->applied),
             LOG_UINT("local-member-snapshot-index", node->snapshot_index),
             LOG_UINT("local-member-snapshot-count", node->config.snapshot_count));
    fill_in(node, &node->snapshot);
    node->seal_now = true;
}

static void write_own(struct node *node)
{
    struct node_log_write *write = mem_zalloc(1, sizeof(*write));
    write->snapshot = &node->snapshot;
    write->must_sync = true;
    node_outbox_put(&node->log_writes, &write->mail);
    node->snapshot_written = true;
}

static void end_own(struct node *node)
{
    node->snapshot_written = false;
    raft_snapshot_deinit(&node->snapshot);
    node->snapshot = (struct raft_snapshot){0};
}

void node_snapshot_when_due(struct node *node)
{
    if (!own_in_progress(node)) {
        if (node->applied <= node->snapshot_index + node->config.snapshot_count) return;
        begin_own(node);
    }
    if (!node->snapshot_written && node->backend_durable >= node->snapshot.index) write_own(node);
}

void node_snapshot_saved(struct node *node, uint64_t index)
{
    log_info(node->logger, "saved snapshot to disk", LOG_UINT("snapshot-index", index));
    if (index > node->snapshot_index) node->snapshot_index = index;
    if (node->snapshot_written && node->snapshot.index == index) end_own(node);
}

/* ---- sent ---- */

static void drop(struct node_peer_message *message)
{
    raft_message_deinit(&message->message);
    free(message);
}

static void remove_at(struct node_held_snapshots *held, size_t position)
{
    held->count--;
    memmove(held->items + position, held->items + position + 1,
            (held->count - position) * sizeof(held->items[0]));
}

void node_snapshot_hold(struct node *node, struct node_peer_message *message)
{
    struct node_held_snapshots *held = &node->snapshots_held;
    for (size_t i = 0; i < held->count; i++) {
        if (held->items[i]->message.to != message->message.to) continue;
        drop(held->items[i]); /* raft asks again: what it asked for before is over */
        remove_at(held, i);
        break;
    }
    if (held->count == NODE_SNAPSHOTS_MAX) {
        raft_report_snapshot(node->raft, message->message.to, false);
        drop(message);
        return;
    }
    held->items[held->count++] = message;
}

/* Entries that the backend holds may still be on their way through here after a restart. */
bool node_snapshot_wants_seal(const struct node *node)
{
    return node->snapshots_held.count > 0 && node->applied == backend_consistent_index(node->backend);
}

static bool is_still_wanted(const struct node *node, const struct raft_message *message)
{
    if (node->soft.role != RAFT_LEADER || message->term != node->term) return false;
    for (size_t i = 0; i < raft_progress_count(node->raft); i++)
        if (raft_progress_at(node->raft, i).id == message->to) return true;
    return false;
}

void node_snapshot_sealed(struct node *node)
{
    struct node_held_snapshots *held = &node->snapshots_held, *sealed = &node->snapshots_sealed;
    if (!node_snapshot_wants_seal(node)) return;
    assert(sealed->count == 0);
    for (size_t i = 0; i < held->count; i++) {
        struct node_peer_message *message = held->items[i];
        if (!is_still_wanted(node, &message->message)) {
            drop(message);
            continue;
        }
        fill_in(node, message->message.snapshot);
        sealed->items[sealed->count++] = message;
    }
    held->count = 0;
}

void node_snapshot_committed(struct node *node)
{
    struct node_held_snapshots *sealed = &node->snapshots_sealed;
    for (size_t i = 0; i < sealed->count; i++) node_outbox_put(&node->snapshots, &sealed->items[i]->mail);
    node->snapshots_sending += sealed->count;
    sealed->count = 0;
}

void node_snapshot_forget_all(struct node *node)
{
    struct node_held_snapshots *lists[] = {&node->snapshots_held, &node->snapshots_sealed};
    for (size_t list = 0; list < 2; list++) {
        for (size_t i = 0; i < lists[list]->count; i++) drop(lists[list]->items[i]);
        lists[list]->count = 0;
    }
}

void node_snapshot_reported(struct node *node, uint64_t id, bool success)
{
    assert(node->snapshots_sending > 0);
    node->snapshots_sending--;
    if (success) node->log_kept_until = node->now + LOG_KEPT_AFTER_SENDING;
    raft_report_snapshot(node->raft, id, success);
}

bool node_snapshot_needs_log(const struct node *node)
{
    return node->snapshots_sending > 0 || node->snapshots_sealed.count > 0 ||
           node->snapshots_held.count > 0 || node->now < node->log_kept_until;
}

/* ---- received ---- */

bool node_is_installing(const struct node *node)
{
    return node->received_index > node->applied;
}

bool node_backend_is_away(const struct node *node)
{
    return node->install_index != 0;
}

uint64_t node_backend_size(const struct node *node)
{
    return node_backend_is_away(node) ? node->away_size : backend_size(node->backend);
}

static void pass_over_entries(struct node *node)
{
    struct node_apply_batch *batch;
    while ((batch = STAILQ_FIRST(&node->apply_queue)) != NULL) {
        STAILQ_REMOVE_HEAD(&node->apply_queue, link);
        node_deliver(node, &batch->message.responses);
        raft_message_deinit(&batch->message);
        free(batch);
    }
}

void node_snapshot_taken(struct node *node, const struct raft_snapshot *snapshot)
{
    assert(snapshot->index > node->applied && snapshot->index > node->received_index);
    node->received_index = snapshot->index;
    if (own_in_progress(node) && !node->snapshot_written) end_own(node);
    pass_over_entries(node);
}

void node_snapshot_durable(struct node *node, const struct raft_snapshot *snapshot)
{
    node->durable_index = snapshot->index;
    node->durable_term = snapshot->term;
}

void node_install_when_due(struct node *node)
{
    if (node->durable_index <= node->applied || node_backend_is_away(node)) return;
    if (backend_in_flight(node->backend)) return;
    log_info(node->logger, "applying snapshot", LOG_UINT("current-applied-index", node->applied),
             LOG_UINT("incoming-leader-snapshot-index", node->durable_index),
             LOG_UINT("incoming-leader-snapshot-term", node->durable_term));
    node->away_size = backend_size(node->backend);
    node->away_size_in_use = backend_size_in_use(node->backend);
    node->install_index = node->durable_index;
    node->install_term = node->durable_term;
    node->install_collected = false;
}

/* Sliced reads are of the former state: they begin again, in the new one. */
static void restart_jobs(struct node *node)
{
    struct node_request *request;
    while ((request = TAILQ_FIRST(&node->jobs)) != NULL) {
        node_queue_remove(request);
        node_read_abandon(node, request);
        node_queue_put(&node->reads_local, request);
    }
}

/* Everything of before that was not committed is gone, and what is there is committed. */
static void take_backend_back(struct node *node)
{
    assert(backend_consistent_index(node->backend) == node->install_index);
    node->applied = node->install_index;
    node->applied_term = node->install_term;
    node->backend_durable = node->sealed_index = node->applied;
    node->batches_committed = ++node->batches_sealed;
    node->seal_now = false;
    node->seal_at = node->now + node->config.backend_batch_interval;
    node->compaction_began = 0;
    node->compaction_next = node->now;
    node->install_index = 0;
}

void node_installed(struct node *node, struct node_state *state)
{
    assert(node_backend_is_away(node) && node->install_collected);
    restart_jobs(node);
    take_backend_back(node);
    node_exchange_state(node, state);
    auth_tokens_forget_all(node->tokens); /* among the entries passed over may be what ended them */
    watch_hub_restore(node->watches, node->store);
    node->removed = cluster_is_removed(node->cluster, node->config.member_id);
    node->publishing = false; /* it may have been applied out of sight: once more does no harm */
    node->more = true;
    log_info(node->logger, "applied snapshot", LOG_UINT("current-applied-index", node->applied),
             LOG_INT("revision", mvcc_revision(node->store)));
}
