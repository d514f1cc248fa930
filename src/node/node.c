#include "node/node_internal.h"

#include "base/container.h"
#include "base/wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define LEASE_LOOK_INTERVAL (NODE_SECOND / 2)

struct node_limits node_limits_default(void)
{
    return (struct node_limits){
        .max_request_bytes = 1536 * 1024,
        .max_txn_operations = KV_MAX_TXN_OPERATIONS_DEFAULT,
        .quota_bytes = UINT64_C(2) << 30,
        .log_memory_bytes = 64 << 20,
        .log_compact_step = 100,
        .max_message_bytes = 1 << 20,
        .backend_memory_bytes = 64 << 20,
        .compaction_rows = 1000,
        .compaction_pause = 10 * NODE_MILLISECOND,
        .range_slice = 1000,
        .watch_window_bytes = 1 << 20,
    };
}

/* ---- small parts that every file uses ---- */

void node_outbox_put(struct node_outbox *outbox, struct mail *mail)
{
    mail->next = NULL;
    if (outbox->oldest == NULL) outbox->end = &outbox->oldest;
    *outbox->end = mail;
    outbox->end = &mail->next;
}

static struct mail *outbox_take(struct node_outbox *outbox)
{
    struct mail *oldest = outbox->oldest;
    outbox->oldest = NULL;
    return oldest;
}

void node_queue_put(struct node_request_queue *queue, struct node_request *request)
{
    assert(request->node.queue == NULL);
    request->node.queue = queue;
    TAILQ_INSERT_TAIL(queue, request, node.link);
}

void node_queue_remove(struct node_request *request)
{
    if (request->node.queue == NULL) return;
    TAILQ_REMOVE(request->node.queue, request, node.link);
    request->node.queue = NULL;
}

/* Of a learner, by the member that led it: whom it is forwarded to counts it. */
static void count_promotion(struct node *node, const struct node_request *request)
{
    if (request->for_leader) return;
    if (request->error == API_OK)
        metric_add(&node->metrics.learner_promotes, 1);
    else
        metric_add(&node->metrics.learner_promote_failures[request->error], 1);
}

static void request_leaves(struct node *node, struct node_request *request)
{
    assert(request->node.queue == NULL && !request->node.registered && request->node.job == NULL);
    request->auth_revision = auth_revision(node->auth);
    if (request->operation == NODE_MEMBER_PROMOTE) count_promotion(node, request);
    node_outbox_put(&node->replies, &request->mail);
}

void node_reply(struct node *node, struct node_request *request, enum api_error error)
{
    request->error = error;
    if (error == API_OK) request->response = blob_from(buf_bytes(&node->scratch));
    request_leaves(node, request);
}

void node_reply_blob(struct node *node, struct node_request *request, struct blob *response)
{
    request->error = API_OK;
    request->response = response;
    request_leaves(node, request);
}

void node_reply_text(struct node *node, struct node_request *request, const char *text)
{
    request->error_text = text;
    request_leaves(node, request);
}

struct kv_header node_kv_header(const struct node *node)
{
    return (struct kv_header){
        .cluster_id = node->config.cluster_id,
        .member_id = node->config.member_id,
        .raft_term = node->term,
    };
}

void node_begin_response(struct node *node)
{
    struct kv_header header = node_kv_header(node);
    buf_clear(&node->scratch);
    kv_header_write(&node->scratch, &header, mvcc_revision(node->store));
}

/* ---- inputs ---- */

/* The only voter need not wait for anybody's silence. */
static bool campaigns_alone(const struct node *node)
{
    if (node->soft.lead != RAFT_NONE || node->applied != node->committed) return false;
    if (raft_progress_count(node->raft) != 1) return false;
    struct raft_progress_status only = raft_progress_at(node->raft, 0);
    return only.voter && only.id == node->config.member_id;
}

/* And not for the first tick, once what it knows to be committed is applied. */
static bool campaigns_at_once(const struct node *node)
{
    return node->soft.role == RAFT_FOLLOWER && campaigns_alone(node);
}

void node_tick(struct node *node, int64_t now, uint64_t wall_ms)
{
    assert(now >= node->now);
    node->now = now;
    node->wall_ms = wall_ms;
    if (node->started_at == 0) node->started_at = now;
    if (now < node->next_tick && !campaigns_at_once(node)) return;
    /* One tick however late it comes: a process that was paused has not listened in the meantime. */
    node->next_tick = now + node->config.tick;
    if (campaigns_alone(node))
        raft_campaign(node->raft);
    else
        raft_tick(node->raft);
}

void node_submit(struct node *node, struct node_request *request)
{
    request->submitted_at = node->now;
    request->error = API_OK;
    request->error_text = NULL;
    request->response = NULL;
    request->response_rest = (struct blob_list){0};
    request->response_count = 0;
    request->for_leader = false;
    request->leader = RAFT_NONE;
    request->auth_revision = 0;
    memset(&request->node, 0, sizeof(request->node));
    if (node->stopped) {
        node_reply(node, request, API_ERROR_STOPPED);
        return;
    }
    if (!node_hold_request(node, request)) node_dispatch(node, request);
}

void node_dispatch(struct node *node, struct node_request *request)
{
    enum api_error error = node_authorize(node, request);
    if (error != API_OK) {
        node_reply(node, request, error);
        return;
    }
    switch (request->operation) {
    case NODE_PUT:
    case NODE_DELETE_RANGE:
    case NODE_COMPACT:
    case NODE_LEASE_GRANT:
    case NODE_LEASE_REVOKE:
    case NODE_ALARM:
    case NODE_AUTH_ENABLE:
    case NODE_AUTH_DISABLE:
    case NODE_AUTH_STATUS:
    case NODE_AUTHENTICATE:
    case NODE_USER_ADD:
    case NODE_USER_CHANGE_PASSWORD:
    case NODE_USER_DELETE:
    case NODE_USER_GET:
    case NODE_USER_LIST:
    case NODE_USER_GRANT_ROLE:
    case NODE_USER_REVOKE_ROLE:
    case NODE_ROLE_ADD:
    case NODE_ROLE_DELETE:
    case NODE_ROLE_GET:
    case NODE_ROLE_LIST:
    case NODE_ROLE_GRANT_PERMISSION:
    case NODE_ROLE_REVOKE_PERMISSION:
        node_propose(node, request);
        break;
    case NODE_MEMBER_ADD:
    case NODE_MEMBER_REMOVE:
    case NODE_MEMBER_UPDATE:
    case NODE_MEMBER_PROMOTE:
        node_change_members(node, request);
        break;
    case NODE_MOVE_LEADER:
        node_move_leader(node, request);
        break;
    case NODE_TXN:
        if (kv_txn_is_read_only(request->message))
            node_read_submit(node, request);
        else
            node_propose(node, request);
        break;
    default:
        node_read_submit(node, request);
        break;
    }
}

void node_cancel(struct node *node, struct node_request *request)
{
    node_queue_remove(request);
    if (request->node.registered) {
        struct node_request *taken = node_take_waiter(node, request->node.id);
        assert(taken == request);
    }
    node_trace_given_up(node, request);
    if (request->node.job != NULL) node_read_abandon(node, request);
    node_reply(node, request, API_ERROR_CANCELED);
}

struct error *node_message(struct node *node, const struct raft_message *message)
{
    enum raft_result result = raft_step_from_peer(node->raft, message);
    switch (result) {
    case RAFT_OK:
    case RAFT_PROPOSAL_DROPPED:
        return NULL;
    default:
        return error_new(ERROR_INVALID, "raft message refused: %s", raft_result_text(result));
    }
}

void node_peer_unreachable(struct node *node, uint64_t id)
{
    raft_report_unreachable(node->raft, id);
}

void node_stop(struct node *node)
{
    node->stopped = true;
    struct node_request_queue *queues[] = {&node->proposed,    &node->member_changes,
                                           &node->compactions, &node->reads_waiting,
                                           &node->reads_asked, &node->reads_confirmed,
                                           &node->reads_local, &node->settling,
                                           &node->jobs,        &node->transfers,
                                           &node->unidentified};
    for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        struct node_request *request;
        while ((request = TAILQ_FIRST(queues[i])) != NULL) {
            node_queue_remove(request);
            if (request->node.registered) node_take_waiter(node, request->node.id);
            if (request->node.job != NULL) node_read_abandon(node, request);
            node_reply(node, request, API_ERROR_STOPPED);
        }
    }
}

/* ---- the order of work ---- */

static void leader_changed(struct node *node)
{
    metric_add(&node->metrics.leader_changes, 1);
    node->leader_since = node->now;
    node_read_leader_changed(node);
}

/* In the words of etcd's raft library. */
static void log_leader(struct node *node, uint64_t lead, uint64_t term)
{
    char text[128];
    unsigned long long self = node->config.member_id, before = node->soft.lead, now = lead, at = term;
    if (lead == node->soft.lead || !log_wants(node->logger, LOG_INFO)) return;
    if (before == RAFT_NONE)
        snprintf(text, sizeof(text), "raft.node: %llx elected leader %llx at term %llu", self, now, at);
    else if (lead == RAFT_NONE)
        snprintf(text, sizeof(text), "raft.node: %llx lost leader %llx at term %llu", self, before, at);
    else
        snprintf(text, sizeof(text), "raft.node: %llx changed leader from %llx to %llx at term %llu", self,
                 before, now, at);
    log_info(&node->raft_logger, text);
}

static void take_soft_state(struct node *node, const struct raft_soft_state *state, uint64_t term)
{
    bool new_leader = state->lead != RAFT_NONE && state->lead != node->soft.lead;
    bool was_leader = node->soft.role == RAFT_LEADER;
    log_leader(node, state->lead, term);
    node->soft = *state;
    if (was_leader && state->role != RAFT_LEADER) lessor_demote(node->lessor);
    if (new_leader) leader_changed(node);
}

/* Who asks for votes in a term must remember that it did: with the others' votes it may lead before its own
 * disk has the term, and after a crash it would ask again, be given the same votes, and lead a second time in
 * the term, with other entries. So the requests wait for the log write that has the term, among its
 * responses. */
static void hold_vote_requests(struct raft_messages *messages)
{
    struct raft_message *append = NULL;
    for (size_t i = 0; i < messages->count && append == NULL; i++)
        if (messages->items[i].to == RAFT_APPEND_THREAD) append = &messages->items[i];
    if (append == NULL) return;
    for (size_t i = 0; i < messages->count; i++)
        if (messages->items[i].type == RAFT_VOTE)
            raft_messages_append(&append->responses, raft_message_take(&messages->items[i]));
}

/* One of raft's readies: what it asks for goes to the outputs and to the queue of the applier. The leader's
 * change is made known before any read state, so that no read is confirmed by a leader that was replaced. */
static void take_ready(struct node *node)
{
    struct raft_ready ready;
    raft_take_ready(node->raft, &ready);
    if (ready.has_soft_state)
        take_soft_state(node, &ready.soft_state, ready.has_hard_state ? ready.hard_state.term : node->term);
    if (ready.has_hard_state) {
        if (node->term != ready.hard_state.term)
            watch_hub_set_header(node->watches, node->config.cluster_id, node->config.member_id,
                                 ready.hard_state.term);
        node->term = ready.hard_state.term;
        node->committed = ready.hard_state.commit;
    }
    for (size_t i = 0; i < ready.read_states.count; i++) node_read_state(node, &ready.read_states.items[i]);
    hold_vote_requests(&ready.messages);
    for (size_t i = 0; i < ready.messages.count; i++) {
        struct raft_message *message = &ready.messages.items[i];
        if (message->to == RAFT_NONE) continue; /* it is held */
        if (message->to == RAFT_APPEND_THREAD) {
            node_storage_append(node, message);
        } else if (message->to == RAFT_APPLY_THREAD) {
            node_storage_apply(node, message);
        } else {
            struct node_peer_message *out = mem_zalloc(1, sizeof(*out));
            out->message = raft_message_take(message);
            if (out->message.type == RAFT_HEARTBEAT) node_observe_heartbeat(node, out->message.to);
            if (out->message.type == RAFT_SNAP)
                node_snapshot_hold(node, out);
            else
                node_outbox_put(&node->peer_messages, &out->mail);
        }
    }
    raft_ready_deinit(&ready);
}

/* A message may have deposed it since the last ready, or it is handing its leadership over. What it proposed
 * then would wait and be forwarded to its successor, and end leases that were renewed there meanwhile. */
static bool leads(const struct node *node)
{
    struct raft_status status = raft_status(node->raft);
    return node->soft.role == RAFT_LEADER && status.soft_state.role == RAFT_LEADER &&
           status.lead_transferee == RAFT_NONE;
}

static void look_after_leases(struct node *node)
{
    if (node->now < node->expiry_next) return;
    node->expiry_next = node->now + LEASE_LOOK_INTERVAL;
    int64_t expired[LESSOR_EXPIRED_MAX];
    size_t count = lessor_expired(node->lessor, node->now, expired);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&node->scratch);
        wire_uint_field(&node->scratch, 1, (uint64_t)expired[i]);
        node_propose_internal(node, NODE_FIELD_LEASE_REVOKE, buf_bytes(&node->scratch));
    }
    metric_add(&node->metrics.leases_expired, count);
    if (count == LESSOR_EXPIRED_MAX) node->expiry_next = node->now;
    node_propose_due_checkpoints(node);
}

static void tell_compaction(struct node *node, int64_t revision, uint64_t took)
{
    struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX];
    size_t count = mvcc_stored_hashes(node->store, hashes);
    uint64_t size = backend_size(node->backend), in_use = backend_size_in_use(node->backend);
    bool has_hash = count > 0 && hashes[count - 1].revision == revision;
    log_info(node->logger, "finished scheduled compaction", LOG_INT("compact-revision", revision),
             LOG_DURATION("took", took),
             has_hash ? LOG_UINT("hash", hashes[count - 1].hash)
                      : (struct log_field){.kind = LOG_FIELD_ABSENT},
             LOG_UINT("current-db-size-bytes", size), LOG_SIZE("current-db-size", size),
             LOG_UINT("current-db-size-in-use-bytes", in_use), LOG_SIZE("current-db-size-in-use", in_use));
}

static struct error *compact_some(struct node *node)
{
    if (!mvcc_compact_pending(node->store) || node->now < node->compaction_next) return NULL;
    int64_t finished = 0;
    uint64_t before = mvcc_compacted_rows(node->store);
    uint64_t began = node_clock(node);
    if (node->compaction_began == 0) node->compaction_began = began;
    TRY(mvcc_compact_step(node->store, node->config.limits.compaction_rows, &finished));
    metric_add(&node->metrics.compacted_keys, mvcc_compacted_rows(node->store) - before);
    metric_observe(&node->metrics.compaction_pause, node_clock(node) - began);
    node->compaction_next = node->now + node->config.limits.compaction_pause;
    node->seal_now = true; /* deleted rows leave the overlay soon, as etcd commits after each slice */
    if (finished != 0) {
        tell_compaction(node, finished, node_clock(node) - node->compaction_began);
        metric_observe(&node->metrics.compaction_total, node_clock(node) - node->compaction_began);
        node->compaction_began = 0;
        metric_set(&node->metrics.db_compaction_last, (int64_t)(node->wall_ms / 1000));
    }
    return NULL;
}

/* Physical compactions answer when the rows are gone and that is committed. */
static void answer_compactions(struct node *node)
{
    struct node_request *request;
    while ((request = TAILQ_FIRST(&node->compactions)) != NULL) {
        if (mvcc_compact_finished(node->store) < request->node.lease) return;
        if (!node_is_settled(node, request)) return;
        node_queue_remove(request);
        node_trace_compaction(node, request);
        node_begin_response(node);
        node_reply(node, request, request->error); /* as it was applied */
    }
}

/* What is done with the applied state. */
static struct error *serve(struct node *node)
{
    node_release_held(node);
    TRY(node_read_serve(node));
    TRY(compact_some(node));
    answer_compactions(node);
    TRY(node_serve_settled(node));
    bool more = false;
    TRY(watch_hub_run(node->watches, node->now, node->config.limits.range_slice, &more));
    node->more = node->more || more;
    node_snapshot_when_due(node);
    if (node->stopped) node->seal_now = true; /* what is applied is committed before the member ends */
    node_seal_when_due(node);
    return NULL;
}

struct error *node_run(struct node *node)
{
    node->more = false;
    node_compact_log(node); /* of what was applied in earlier runs: whoever looks on has seen it */
    node_expire_proposals(node);
    if (leads(node) && !node->stopped) {
        look_after_leases(node);
        node_agree_on_version(node);
    }
    node_publish(node);
    node_flush_proposals(node);
    node_read_advance(node);
    do {
        while (raft_has_ready(node->raft)) take_ready(node);
        TRY(node_apply_some(node));
        node_read_advance(
            node); /* reads that can be confirmed without a message are not left for the next run */
    } while (raft_has_ready(node->raft));
    node_answer_transfers(node);
    if (node_is_installing(node)) {
        node_install_when_due(node);
        return NULL;
    }
    return serve(node);
}

static void take_watch_messages(struct node *node)
{
    struct mail *mail = watch_hub_take(node->watches);
    while (mail != NULL) {
        struct mail *next = mail->next;
        node_outbox_put(&node->watch_messages, mail);
        mail = next;
    }
}

static void earlier(int64_t *at, int64_t candidate)
{
    if (candidate < *at) *at = candidate;
}

static int64_t next_wake(const struct node *node)
{
    int64_t at = campaigns_at_once(node) ? node->now : node->next_tick;
    if (node_is_installing(node)) return at;
    if (backend_pending_operations(node->backend) > 0 && !backend_in_flight(node->backend))
        earlier(&at, node->seal_at);
    if (mvcc_compact_pending(node->store)) earlier(&at, node->compaction_next);
    earlier(&at, watch_hub_wake_at(node->watches));
    if (leads(node) && !node->stopped) {
        /* What expired since the last look waits for the next one. Once stopped it looks no more. */
        int64_t expiry = lessor_wake_at(node->lessor);
        earlier(&at, expiry > node->expiry_next ? expiry : node->expiry_next);
    }
    return at;
}

static void update_gauges(struct node *node)
{
    struct node_status status;
    struct node_metrics *metrics = &node->metrics;
    node_status(node, &status);
    metric_set(&metrics->has_leader, status.leader != 0);
    metric_set(&metrics->is_leader, node->soft.role == RAFT_LEADER);
    metric_set(&metrics->is_learner, status.is_learner);
    metric_set(&metrics->leader, (int64_t)status.leader);
    metric_set(&metrics->term, (int64_t)status.term);
    metric_set(&metrics->proposals_committed, (int64_t)status.committed);
    metric_set(&metrics->proposals_applied, (int64_t)status.applied);
    metric_set(&metrics->proposals_pending, (int64_t)status.proposals_pending);
    metric_set(&metrics->keys, (int64_t)status.keys);
    metric_set(&metrics->watchers, (int64_t)status.watchers);
    metric_set(&metrics->slow_watchers, (int64_t)status.slow_watchers);
    metric_set(&metrics->watch_streams, (int64_t)status.watch_streams);
    metric_set(&metrics->leases, (int64_t)status.leases);
    metric_set(&metrics->revision, status.revision);
    metric_set(&metrics->compact_revision, status.compact_revision);
    metric_set(&metrics->db_size, (int64_t)status.backend_size);
    metric_set(&metrics->db_size_in_use, (int64_t)status.backend_size_in_use);
    if (!node_backend_is_away(node))
        metric_set(&metrics->open_read_transactions, (int64_t)backend_open_read_transactions(node->backend));
    node_show_alarms(node);
    metric_set(&metrics->applying_snapshot, node_is_installing(node));
    metric_set(&metrics->auth_enabled, status.auth_enabled);
    metric_set(&metrics->auth_revision, (int64_t)status.auth_revision);
    metric_set(&metrics->published, node->published);
    struct version version;
    int64_t cluster = cluster_version(node->cluster, &version) ? version.major * 1000 + version.minor : 0;
    metric_set(&metrics->cluster_version, cluster);
    /* The schema follows the cluster; before 3.5 it had no version. */
    metric_set(&metrics->storage_version, cluster >= 3005 ? cluster : 0);
}

void node_collect(struct node *node, struct node_ready *ready)
{
    take_watch_messages(node);
    *ready = (struct node_ready){
        .replies = outbox_take(&node->replies),
        .watch_messages = outbox_take(&node->watch_messages),
        .log_writes = outbox_take(&node->log_writes),
        .peer_messages = outbox_take(&node->peer_messages),
        .snapshots = outbox_take(&node->snapshots),
        .more = node->more,
        .wake_at = next_wake(node),
        .published = node->published,
        .removed = node->removed,
        .membership_changed = node->membership_changed,
    };
    node->membership_changed = false;
    if (node->sealed != NULL && !node->batch_collected) {
        ready->batch = node->sealed;
        node->batch_collected = true;
    }
    if (node_backend_is_away(node) && !node->install_collected) {
        ready->install = node->install_index;
        node->install_collected = true;
    }
    update_gauges(node);
}

/* Writes that became durable after the last node_collect may have left some. */
static void drop_peer_messages(struct mail *messages)
{
    while (messages != NULL) {
        struct node_peer_message *message = CONTAINER(messages, struct node_peer_message, mail);
        messages = messages->next;
        raft_message_deinit(&message->message);
        free(message);
    }
}

void node_free(struct node *node)
{
    if (node == NULL) return;
    drop_peer_messages(node->peer_messages.oldest);
    while (!STAILQ_EMPTY(&node->apply_queue)) {
        struct node_apply_batch *batch = STAILQ_FIRST(&node->apply_queue);
        STAILQ_REMOVE_HEAD(&node->apply_queue, link);
        raft_message_deinit(&batch->message);
        free(batch);
    }
    for (size_t i = 0; i < node->proposal_count; i++) blob_unref(node->proposals[i]);
    free(node->proposals);
    assert(node->waiters == NULL && node->replies.oldest == NULL);
    node_drop_held_watches(node, NULL);
    watch_hub_free(node->watches);
    auth_store_close(node->auth);
    auth_tokens_free(node->tokens);
    lessor_close(node->lessor);
    cluster_free(node->cluster);
    mvcc_close(node->store);
    raft_free(node->raft);
    if (node->log != NULL) raft_memory_storage_deinit(node->log);
    free(node->log);
    raft_snapshot_deinit(&node->snapshot);
    node_snapshot_forget_all(node);
    arena_free(node->arena);
    buf_deinit(&node->scratch);
    free(node);
}

/* ---- looking at it ---- */

void node_status(const struct node *node, struct node_status *status)
{
    struct watch_stats watches;
    watch_hub_stats(node->watches, &watches);
    struct raft_status raft = raft_status(node->raft);
    *status = (struct node_status){
        .leader = node->soft.lead,
        .term = node->term,
        .committed = node->committed,
        .applied = node->applied,
        .is_learner = raft.is_learner,
        .backend_size = node_backend_size(node),
        .backend_size_in_use =
            node_backend_is_away(node) ? node->away_size_in_use : backend_size_in_use(node->backend),
        .revision = mvcc_revision(node->store),
        .compact_revision = mvcc_compact_revision(node->store),
        .keys = mvcc_index_live_keys(mvcc_index(node->store)),
        .watchers = watches.watchers,
        .slow_watchers = watches.slow_watchers,
        .watch_streams = watches.streams,
        .leases = lessor_count(node->lessor),
        .proposals_pending = HASH_CNT(node.waiter, node->waiters),
        .alarm_nospace = node_alarm_active(node, ETCDSERVERPB__ALARM_TYPE__NOSPACE),
        .alarm_corrupt = node_alarm_active(node, ETCDSERVERPB__ALARM_TYPE__CORRUPT),
        .auth_enabled = auth_is_enabled(node->auth),
        .auth_revision = auth_revision(node->auth),
    };
}

struct node_metrics *node_metrics(struct node *node)
{
    return &node->metrics;
}

const struct cluster *node_cluster(const struct node *node)
{
    return node->cluster;
}

struct mvcc_store *node_store(struct node *node)
{
    return node->store;
}

const struct auth_store *node_auth(const struct node *node)
{
    return node->auth;
}

const struct raft *node_raft(const struct node *node)
{
    return node->raft;
}
