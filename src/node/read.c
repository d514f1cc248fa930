/* Reads. A linearizable one needs proof that this member's state is as new as anything acknowledged when the
 * read began: one ReadIndex round through the leader gives an index for all reads that wait (Raft
 * dissertation, 6.4), and they are served when that is applied.
 *
 *     linearizable          ─▶ reads_waiting ─▶ reads_asked ─▶ reads_confirmed ─┬─▶ served at once, or
 *     serializable, local   ─▶ reads_local, looked at in the same run ──────────┘   jobs: slice by slice
 *
 * Every ReadIndex request sent has an id of its own, also when it repeats one: an answer counts only when its
 * id belongs to the present round and the leader has not changed, otherwise a delayed answer could confirm a
 * later read. */
#include "node/node_internal.h"

#include "api/message.h"
#include "base/wire.h"

#include <assert.h>
#include <stdlib.h>

#define READ_RETRY (500 * NODE_MILLISECOND)

/* ---- rounds ---- */

/* What is known of leases counts while this member leads, which only a round can tell; and a lease it does
 * not find may be in an entry that it has not applied yet. Elsewhere the answer is "no leader" at once. */
static bool needs_round(const struct node *node, const struct node_request *request)
{
    switch (request->operation) {
    case NODE_LEASE_KEEP_ALIVE:
    case NODE_LEASE_TIME_TO_LIVE:
        return node->soft.role == RAFT_LEADER;
    case NODE_RANGE:
        return !((const Etcdserverpb__RangeRequest *)request->message)->serializable;
    case NODE_TXN:
        return !kv_txn_is_serializable(request->message);
    case NODE_MEMBER_LIST:
        return ((const Etcdserverpb__MemberListRequest *)request->message)->linearizable;
    case NODE_AUTH_PASSWORD:
        return true;
    case NODE_DOWNGRADE:
        return ((const Etcdserverpb__DowngradeRequest *)request->message)->action !=
               ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL;
    default:
        return false;
    }
}

void node_read_submit(struct node *node, struct node_request *request)
{
    enum api_error error = API_OK;
    if (request->operation == NODE_RANGE) error = kv_check_range(request->message);
    if (request->operation == NODE_TXN)
        error = kv_check_txn(request->message, node->config.limits.max_txn_operations);
    if (request->operation == NODE_DOWNGRADE) error = node_check_downgrade_request(request->message);
    if (error != API_OK)
        node_reply(node, request, error);
    else
        node_queue_put(needs_round(node, request) ? &node->reads_waiting : &node->reads_local, request);
}

static void move_all(struct node_request_queue *from, struct node_request_queue *to)
{
    struct node_request *request;
    TAILQ_FOREACH (request, from, node.link) request->node.queue = to;
    TAILQ_CONCAT(to, from, node.link);
}

static void fail_all(struct node *node, struct node_request_queue *queue, enum api_error error)
{
    struct node_request *request;
    while ((request = TAILQ_FIRST(queue)) != NULL) {
        node_queue_remove(request);
        node_trace_given_up(node, request);
        bool is_lease =
            request->operation == NODE_LEASE_KEEP_ALIVE || request->operation == NODE_LEASE_TIME_TO_LIVE;
        request->for_leader = is_lease && error == API_ERROR_LEADER_CHANGED;
        request->leader = node->soft.lead;
        node_reply(node, request, error);
    }
    metric_add(&node->metrics.read_indexes_failed, 1);
}

static void ask(struct node *node)
{
    /* Without a leader raft would drop it; the retry asks again. */
    node->read_retry = node->now + READ_RETRY;
    if (node->soft.lead == RAFT_NONE) return;
    if (node->read_id_count == NODE_READ_INDEX_IDS_MAX) {
        memmove(node->read_ids, node->read_ids + 1,
                (NODE_READ_INDEX_IDS_MAX - 1) * sizeof(node->read_ids[0]));
        node->read_id_count--;
    }
    uint64_t id = node_next_id(node);
    node->read_ids[node->read_id_count++] = id;
    struct blob *context = blob_new(sizeof(id));
    be64_put(context->data, id);
    raft_read_index(node->raft, context);
    blob_unref(context);
}

void node_read_advance(struct node *node)
{
    if (!TAILQ_EMPTY(&node->reads_asked)) {
        if (node->now >= node->read_deadline) {
            log_warn(node->logger,
                     "timed out waiting for read index response (local node might have slow network)",
                     LOG_DURATION("timeout", node->request_timeout));
            fail_all(node, &node->reads_asked, API_ERROR_TIMEOUT);
        } else if (node->now >= node->read_retry) {
            log_warn(node->logger, "waiting for ReadIndex response took too long, retrying",
                     LOG_UINT("sent-request-id",
                              node->read_id_count == 0 ? 0 : node->read_ids[node->read_id_count - 1]),
                     LOG_DURATION("retry-timeout", READ_RETRY));
            metric_add(&node->metrics.slow_read_indexes, 1);
            ask(node);
        }
        return;
    }
    if (TAILQ_EMPTY(&node->reads_waiting)) return;
    move_all(&node->reads_waiting, &node->reads_asked);
    node->read_deadline = node->now + node->request_timeout;
    node->read_asked_at = node->now;
    node->read_id_count = 0;
    ask(node);
}

void node_read_state(struct node *node, const struct raft_read_state *state)
{
    if (TAILQ_EMPTY(&node->reads_asked) || state->context == NULL || state->context->size != sizeof(uint64_t))
        return;
    uint64_t id = be64_get(state->context->data);
    for (size_t i = 0; i < node->read_id_count; i++) {
        if (node->read_ids[i] != id) continue;
        if (state->index > node->read_index) node->read_index = state->index;
        if (!node->read_round.waits)
            node->read_round = (struct node_read_round){.asked_at = node->read_asked_at,
                                                        .confirmed_at = node->now,
                                                        .index = node->read_index,
                                                        .applied = node->applied,
                                                        .waits = true};
        move_all(&node->reads_asked, &node->reads_confirmed);
        node->read_id_count = 0;
        return;
    }
}

void node_read_leader_changed(struct node *node)
{
    if (TAILQ_EMPTY(&node->reads_asked)) return;
    /* A round that was only waiting for a leader has asked nobody yet: let it ask the new one. */
    if (node->read_id_count == 0)
        ask(node);
    else
        fail_all(node, &node->reads_asked, API_ERROR_LEADER_CHANGED);
}

/* ---- local calls ---- */

static void serve_status(struct node *node, struct node_request *request)
{
    struct node_status status;
    node_status(node, &status);
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    Etcdserverpb__DowngradeInfo downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;
    struct cluster_downgrade info = cluster_downgrade(node->cluster);
    char *errors[NODE_ALARMS_MAX + 1], storage_version[NODE_VERSION_SIZE], target[NODE_VERSION_SIZE] = "";
    arena_reset(node->arena);
    if (status.leader == 0)
        errors[response.n_errors++] =
            arena_string(node->arena, bytes_from_string(api_error_text(API_ERROR_NO_LEADER)));
    for (size_t i = 0; i < node->alarm_count; i++)
        errors[response.n_errors++] =
            arena_printf(node->arena, "memberID:%llu alarm:%s ",
                         (unsigned long long)node->alarms[i].member_id,
                         node->alarms[i].type == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE" : "CORRUPT");
    response.errors = errors;
    response.version = (char *)(uintptr_t)node->config.version;
    response.dbsize = (int64_t)status.backend_size;
    response.dbsizeinuse = (int64_t)status.backend_size_in_use;
    response.leader = status.leader;
    response.raftindex = status.committed;
    response.raftappliedindex = status.applied;
    response.raftterm = status.term;
    response.islearner = status.is_learner;
    response.storageversion = node_storage_version(node, storage_version);
    response.dbsizequota = (int64_t)node->config.limits.quota_bytes;
    downgrade.enabled = info.enabled;
    if (info.enabled) node_format_version(target, info.target);
    downgrade.targetversion = target;
    response.downgradeinfo = &downgrade;
    node_begin_response(node);
    message_pack(&node->scratch, &response.base);
    node_reply(node, request, API_OK);
}

/* When leases end only the leader knows, once the first entry of its term is applied and it counts their
 * time. True: the request has been answered so, or waits for that. */
static bool is_for_leader(struct node *node, struct node_request *request)
{
    if (node->soft.role != RAFT_LEADER) {
        request->for_leader = true;
        request->leader = node->soft.lead;
        node_reply(node, request, API_ERROR_NO_LEADER);
        return true;
    }
    if (lessor_is_primary(node->lessor)) return false;
    node_queue_put(&node->reads_local, request);
    return true;
}

static void serve_time_to_live(struct node *node, struct node_request *request)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *asked = request->message;
    struct lessor_lease lease;
    if (is_for_leader(node, request)) return;
    bool found = lessor_look_up(node->lessor, asked->id, node->now, &lease);
    node_begin_response(node);
    wire_uint_field_nonzero(&node->scratch, 2, (uint64_t)asked->id);
    wire_uint_field_nonzero(&node->scratch, 3, found ? (uint64_t)lease.seconds_left : UINT64_MAX);
    if (found) {
        struct lessor_keys keys = {0};
        wire_uint_field_nonzero(&node->scratch, 4, (uint64_t)lease.ttl);
        if (asked->keys) lessor_list_keys(node->lessor, asked->id, &keys);
        for (size_t i = 0; i < keys.count; i++) wire_bytes_field(&node->scratch, 5, keys.items[i]);
        lessor_keys_deinit(&keys);
    }
    node_reply(node, request, API_OK);
}

static void serve_leases(struct node *node, struct node_request *request)
{
    int64_t *ids = NULL;
    size_t count = lessor_list(node->lessor, &ids);
    node_begin_response(node);
    for (size_t i = 0; i < count; i++) {
        size_t mark = wire_message_begin(&node->scratch, 2);
        wire_uint_field_nonzero(&node->scratch, 1, (uint64_t)ids[i]);
        wire_message_end(&node->scratch, mark);
    }
    free(ids);
    node_reply(node, request, API_OK);
}

static void serve_keep_alive(struct node *node, struct node_request *request)
{
    const Etcdserverpb__LeaseKeepAliveRequest *asked = request->message;
    int64_t ttl = 0;
    if (is_for_leader(node, request)) return;
    switch (lessor_renew(node->lessor, asked->id, node->now, &ttl)) {
    case LESSOR_RENEWED:
        metric_add(&node->metrics.leases_renewed, 1);
        break;
    case LESSOR_NOT_FOUND:
        ttl = 0;
        break;
    case LESSOR_NOT_PRIMARY:
        node_reply(node, request, API_ERROR_NOT_PRIMARY_LESSOR);
        return;
    case LESSOR_CHECKPOINTED:
        node_propose_checkpoint(node, asked->id, 0);
        node->more = true; /* proposals of this run have left already */
        /* fall through */
    case LESSOR_RESETTING:
    case LESSOR_EXPIRING: /* until its revocation is applied */
        node_queue_put(&node->reads_local, request);
        return;
    }
    node_begin_response(node);
    wire_uint_field_nonzero(&node->scratch, 2, (uint64_t)asked->id);
    wire_uint_field_nonzero(&node->scratch, 3, (uint64_t)ttl);
    node_reply(node, request, API_OK);
}

/* Hashes and snapshots are of the committed backend: they wait until everything applied so far is in it. */
struct error *node_serve_settled(struct node *node)
{
    struct node_request *request, *next;
    for (request = TAILQ_FIRST(&node->settling); request != NULL; request = next) {
        next = TAILQ_NEXT(request, node.link);
        if (!node_is_settled(node, request)) continue;
        node_queue_remove(request);
        if (request->operation == NODE_HASH) {
            uint32_t hash = 0;
            uint64_t began = node_clock(node);
            TRY(backend_hash(node->backend, &hash));
            metric_observe(&node->metrics.hash, node_clock(node) - began);
            node_begin_response(node);
            wire_uint_field_nonzero(&node->scratch, 2, hash);
        } else {
            char version[NODE_VERSION_SIZE];
            buf_clear(&node->scratch);
            buf_append_string(&node->scratch, node_stored_version(node, version));
        }
        node_reply(node, request, API_OK);
    }
    return NULL;
}

/* ---- keys ---- */

static enum api_error revision_error(enum mvcc_status status)
{
    return status == MVCC_COMPACTED ? API_ERROR_COMPACTED : API_ERROR_FUTURE_REVISION;
}

static void observe_range(struct node *node, struct node_request *request, size_t response_size,
                          enum api_error status)
{
    node_observe(node, &(const struct node_observation){
                           .request = request,
                           .histogram = &node->metrics.range[status == API_OK],
                           .began = request->node.began,
                           .prefix = "read-only range ",
                           .message = request->message,
                           .response_size = response_size,
                           .response_count = request->response_count,
                           .counts_keys = true,
                           .status = status,
                       });
}

static struct error *serve_range(struct node *node, struct node_request *request)
{
    const Etcdserverpb__RangeRequest *range = request->message;
    struct kv_header header = node_kv_header(node);
    enum api_error status = API_OK;
    metric_add(&node->metrics.ranges, 1);
    request->node.began = node_clock(node);
    request->node.revision = mvcc_revision(node->store);
    if (range->range_end.len == 0) {
        buf_clear(&node->scratch);
        TRY(kv_range(&node->kv, range, &header, &node->scratch, &request->response_count, &status));
        observe_range(node, request, node->scratch.size, status);
        node_reply(node, request, status);
        return NULL;
    }
    request->node.job = kv_range_begin(&node->kv, range, &header, &status);
    if (request->node.job == NULL)
        node_reply(node, request, status);
    else
        node_queue_put(&node->jobs, request);
    return NULL;
}

static struct error *serve_txn(struct node *node, struct node_request *request)
{
    struct kv_header header = node_kv_header(node);
    enum api_error status = API_OK;
    buf_clear(&node->scratch);
    uint64_t began = node_clock(node);
    TRY(kv_txn(&node->kv, request->message, &header, &node->scratch, &status));
    node_observe(node, &(const struct node_observation){
                           .request = request,
                           .began = began,
                           .prefix = "read-only txn ",
                           .message = request->message,
                           .response_size = node->scratch.size,
                           .status = status,
                       });
    node_reply(node, request, status);
    return NULL;
}

static void begin_hash_kv(struct node *node, struct node_request *request)
{
    const Etcdserverpb__HashKVRequest *asked = request->message;
    struct mvcc_hash_job *job = NULL;
    enum mvcc_status status = mvcc_hash_begin(node->store, asked->revision, &job);
    if (status != MVCC_OK) {
        node_reply(node, request, revision_error(status));
        return;
    }
    request->node.began = node_clock(node);
    request->node.job = job;
    node_queue_put(&node->jobs, request);
}

static void finish_hash_kv(struct node *node, struct node_request *request)
{
    struct mvcc_hash hash;
    struct kv_header header = node_kv_header(node);
    mvcc_hash_finish(request->node.job, &hash);
    metric_observe(&node->metrics.hash_revision, node_clock(node) - request->node.began);
    request->node.job = NULL;
    buf_clear(&node->scratch);
    kv_header_write(&node->scratch, &header, hash.current_revision);
    wire_uint_field_nonzero(&node->scratch, 2, hash.hash);
    wire_uint_field_nonzero(&node->scratch, 3, (uint64_t)hash.compact_revision);
    wire_uint_field_nonzero(&node->scratch, 4, (uint64_t)hash.revision);
    node_reply(node, request, API_OK);
}

static void finish_range(struct node *node, struct node_request *request)
{
    request->response_count = kv_range_finish(request->node.job, &request->response_rest);
    request->node.job = NULL;
    enum api_error denied = node_authorize_answer(node, request);
    observe_range(node, request, request->response_rest.size, denied);
    if (denied == API_OK) {
        node_reply_blob(node, request, blob_list_take_first(&request->response_rest));
        return;
    }
    blob_list_deinit(&request->response_rest);
    node_reply(node, request, denied);
}

void node_read_abandon(struct node *node, struct node_request *request)
{
    (void)node;
    if (request->operation == NODE_HASH_KV)
        mvcc_hash_finish(request->node.job, NULL);
    else
        kv_range_finish(request->node.job, NULL);
    request->node.job = NULL;
}

static struct error *serve(struct node *node, struct node_request *request)
{
    enum api_error denied = node_authorize_read(node, request);
    if (denied != API_OK) {
        node_reply(node, request, denied);
        return NULL;
    }
    switch (request->operation) {
    case NODE_RANGE:
        return serve_range(node, request);
    case NODE_TXN:
        return serve_txn(node, request);
    case NODE_HASH_KV:
        begin_hash_kv(node, request);
        return NULL;
    case NODE_HASH:
    case NODE_SETTLE:
        node_queue_put(&node->settling, request);
        return NULL;
    case NODE_STATUS:
        serve_status(node, request);
        return NULL;
    case NODE_MEMBER_LIST:
        node_member_list(node, request);
        return NULL;
    case NODE_DOWNGRADE:
        node_downgrade(node, request);
        return NULL;
    case NODE_AUTH_PASSWORD:
        node_serve_password(node, request);
        return NULL;
    case NODE_LEASE_KEEP_ALIVE:
        serve_keep_alive(node, request);
        return NULL;
    case NODE_LEASE_TIME_TO_LIVE:
        serve_time_to_live(node, request);
        return NULL;
    case NODE_LEASE_LEASES:
        serve_leases(node, request);
        return NULL;
    default:
        assert(!"a write among the reads");
        return NULL;
    }
}

/* One slice of every large range and hash, so that none keeps the others or a small request waiting. */
static struct error *step_jobs(struct node *node)
{
    struct node_request *request, *next;
    for (request = TAILQ_FIRST(&node->jobs); request != NULL; request = next) {
        next = TAILQ_NEXT(request, node.link);
        bool done = false;
        if (request->operation == NODE_HASH_KV)
            TRY(mvcc_hash_step(request->node.job, node->config.limits.range_slice, &done));
        else
            TRY(kv_range_step(request->node.job, node->config.limits.range_slice, &done));
        if (!done) continue;
        node_queue_remove(request);
        if (request->operation == NODE_HASH_KV) {
            finish_hash_kv(node, request);
        } else {
            finish_range(node, request);
        }
    }
    return NULL;
}

/* What is put back into the queue while it is served waits for the next run. */
static struct error *serve_queue(struct node *node, struct node_request_queue *queue)
{
    struct node_request_queue now = TAILQ_HEAD_INITIALIZER(now);
    move_all(queue, &now);
    struct node_request *request;
    while ((request = TAILQ_FIRST(&now)) != NULL) {
        node_queue_remove(request);
        TRY(serve(node, request));
    }
    return NULL;
}

struct error *node_read_serve(struct node *node)
{
    TRY(serve_queue(node, &node->reads_local));
    if (node->read_round.waits && node->applied >= node->read_round.index) {
        node->read_round.waits = false;
        if (node_is_traced(node->read_round.asked_at, (uint64_t)node->now)) node_trace_read_round(node);
    }
    if (node->applied >= node->read_index) TRY(serve_queue(node, &node->reads_confirmed));
    TRY(step_jobs(node));
    node->more = node->more || !TAILQ_EMPTY(&node->jobs);
    return NULL;
}
