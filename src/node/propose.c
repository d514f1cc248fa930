/* Writes on their way into the log. A request's bytes go into the entry as they were received:
 *
 *     InternalRaftRequest { <field of its kind>: request bytes, 100 header: {1 ID, 2 user, 3 auth revision} }
 *
 * and its waiter is kept under that ID until the entry is applied here. A request that times out or is
 * cancelled only loses its waiter: the entry may still be applied. */
#include "node/node_internal.h"

#include "api/message.h"
#include "base/wire.h"

#include <assert.h>

enum {
    HEADER_ID_FIELD = 1,
    HEADER_USER_FIELD = 2,
    HEADER_REVISION_FIELD = 3,
    LEASE_GRANT_ID_FIELD = 2,
    UNPROPOSED_MAX = 5000,
    CHECKPOINT_ENTRIES_MAX = 500,
};

/* InternalRaftRequest's field per operation. */
static const uint32_t operation_field[NODE_OPERATION_COUNT] = {
    [NODE_PUT] = NODE_FIELD_PUT,
    [NODE_DELETE_RANGE] = NODE_FIELD_DELETE_RANGE,
    [NODE_TXN] = NODE_FIELD_TXN,
    [NODE_COMPACT] = NODE_FIELD_COMPACTION,
    [NODE_LEASE_GRANT] = NODE_FIELD_LEASE_GRANT,
    [NODE_LEASE_REVOKE] = NODE_FIELD_LEASE_REVOKE,
    [NODE_ALARM] = NODE_FIELD_ALARM,
    [NODE_AUTH_ENABLE] = NODE_FIELD_AUTH_ENABLE,
    [NODE_AUTH_DISABLE] = NODE_FIELD_AUTH_DISABLE,
    [NODE_AUTH_STATUS] = NODE_FIELD_AUTH_STATUS,
    [NODE_AUTHENTICATE] = NODE_FIELD_AUTHENTICATE,
    [NODE_USER_ADD] = NODE_FIELD_AUTH_USER_ADD,
    [NODE_USER_CHANGE_PASSWORD] = NODE_FIELD_AUTH_USER_CHANGE_PASSWORD,
    [NODE_USER_DELETE] = NODE_FIELD_AUTH_USER_DELETE,
    [NODE_USER_GET] = NODE_FIELD_AUTH_USER_GET,
    [NODE_USER_LIST] = NODE_FIELD_AUTH_USER_LIST,
    [NODE_USER_GRANT_ROLE] = NODE_FIELD_AUTH_USER_GRANT_ROLE,
    [NODE_USER_REVOKE_ROLE] = NODE_FIELD_AUTH_USER_REVOKE_ROLE,
    [NODE_ROLE_ADD] = NODE_FIELD_AUTH_ROLE_ADD,
    [NODE_ROLE_DELETE] = NODE_FIELD_AUTH_ROLE_DELETE,
    [NODE_ROLE_GET] = NODE_FIELD_AUTH_ROLE_GET,
    [NODE_ROLE_LIST] = NODE_FIELD_AUTH_ROLE_LIST,
    [NODE_ROLE_GRANT_PERMISSION] = NODE_FIELD_AUTH_ROLE_GRANT_PERMISSION,
    [NODE_ROLE_REVOKE_PERMISSION] = NODE_FIELD_AUTH_ROLE_REVOKE_PERMISSION,
};

uint64_t node_next_id(struct node *node)
{
    return node->next_id++;
}

static void gather(struct node *node, struct blob *entry)
{
    if (node->proposal_count == node->proposal_capacity) {
        node->proposal_capacity = node->proposal_capacity == 0 ? 64 : node->proposal_capacity * 2;
        node->proposals = mem_realloc(node->proposals, node->proposal_capacity * sizeof(*node->proposals));
    }
    node->proposals[node->proposal_count++] = entry;
}

static uint8_t *put_bytes(uint8_t *at, struct bytes bytes)
{
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

/* `suffix` is appended to the message: a field that overrides the one in `message`, as protobuf's
 * last-one-wins rule has it. */
static struct blob *encode(uint32_t field, struct bytes message, struct bytes suffix, uint64_t id,
                           const struct auth_identity *identity)
{
    size_t body = message.size + suffix.size;
    size_t header = wire_uint_field_size(HEADER_ID_FIELD, id);
    if (identity->user.size > 0) header += wire_bytes_field_size(HEADER_USER_FIELD, identity->user.size);
    if (identity->revision > 0) header += wire_uint_field_size(HEADER_REVISION_FIELD, identity->revision);
    struct blob *entry =
        blob_new(wire_bytes_field_size(field, body) + wire_bytes_field_size(NODE_FIELD_HEADER, header));
    uint8_t *at = wire_varint_put(entry->data, (uint64_t)field << 3 | WIRE_LENGTH);
    at = wire_varint_put(at, body);
    at = put_bytes(at, message);
    at = put_bytes(at, suffix);
    at = wire_varint_put(at, (uint64_t)NODE_FIELD_HEADER << 3 | WIRE_LENGTH);
    at = wire_varint_put(at, header);
    at = wire_varint_put(at, (uint64_t)HEADER_ID_FIELD << 3 | WIRE_VARINT);
    at = wire_varint_put(at, id);
    if (identity->user.size > 0) {
        at = wire_varint_put(at, (uint64_t)HEADER_USER_FIELD << 3 | WIRE_LENGTH);
        at = wire_varint_put(at, identity->user.size);
        at = put_bytes(at, identity->user);
    }
    if (identity->revision > 0) {
        at = wire_varint_put(at, (uint64_t)HEADER_REVISION_FIELD << 3 | WIRE_VARINT);
        at = wire_varint_put(at, identity->revision);
    }
    assert(at == entry->data + entry->size);
    return entry;
}

uint64_t node_propose_internal(struct node *node, uint32_t field, struct bytes message)
{
    uint64_t id = node_next_id(node);
    struct auth_identity root = node_root_identity(node);
    gather(node, encode(field, message, BYTES_EMPTY, id, &root));
    return id;
}

/* LeaseCheckpointRequest.checkpoints. */
static void write_checkpoint(struct buf *out, int64_t lease, int64_t remaining)
{
    size_t mark = wire_message_begin(out, 1);
    wire_uint_field_nonzero(out, 1, (uint64_t)lease);
    wire_uint_field_nonzero(out, 2, (uint64_t)remaining);
    wire_message_end(out, mark);
}

void node_propose_checkpoint(struct node *node, int64_t lease, int64_t remaining)
{
    buf_clear(&node->scratch);
    write_checkpoint(&node->scratch, lease, remaining);
    node_propose_internal(node, NODE_FIELD_LEASE_CHECKPOINT, buf_bytes(&node->scratch));
}

void node_propose_due_checkpoints(struct node *node)
{
    struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX];
    size_t count = LESSOR_CHECKPOINTS_MAX;
    for (unsigned entries = 0; count == LESSOR_CHECKPOINTS_MAX && entries < CHECKPOINT_ENTRIES_MAX;
         entries++) {
        count = lessor_checkpoints(node->lessor, node->now, items);
        if (count == 0) return;
        buf_clear(&node->scratch);
        for (size_t i = 0; i < count; i++) write_checkpoint(&node->scratch, items[i].id, items[i].remaining);
        node_propose_internal(node, NODE_FIELD_LEASE_CHECKPOINT, buf_bytes(&node->scratch));
    }
}

void node_register_waiter(struct node *node, struct node_request *request, uint64_t id,
                          struct node_request_queue *queue)
{
    request->node.id = id;
    request->node.registered = true;
    HASH_ADD(node.waiter, node->waiters, node.id, sizeof(request->node.id), request);
    node_queue_put(queue, request);
}

struct node_request *node_take_waiter(struct node *node, uint64_t id)
{
    struct node_request *request = NULL;
    HASH_FIND(node.waiter, node->waiters, &id, sizeof(id), request);
    if (request == NULL) return NULL;
    HASH_DELETE(node.waiter, node->waiters, request);
    request->node.registered = false;
    node_queue_remove(request);
    return request;
}

static uint64_t quota_cost(const struct node_request *request)
{
    switch (request->operation) {
    case NODE_PUT:
        return kv_cost_put(request->message);
    case NODE_TXN:
        return kv_cost_txn(request->message);
    case NODE_LEASE_GRANT:
        return KV_COST_LEASE_GRANT;
    default:
        return 0;
    }
}

bool node_has_room(const struct node *node, uint64_t cost)
{
    uint64_t quota = node->config.limits.quota_bytes;
    return quota == 0 || cost == 0 || node_backend_size(node) + cost < quota;
}

/* No room: the alarm is raised through the log, and the request answered with "no space" when that is
 * applied. */
static void refuse_for_space(struct node *node, struct node_request *request)
{
    if (node_alarm_active(node, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
        node_reply(node, request, API_ERROR_NO_SPACE);
        return;
    }
    uint64_t id = node_alarm_no_space(node);
    node_register_waiter(node, request, id, &node->proposed);
}

static enum api_error check_shape(const struct node *node, const struct node_request *request)
{
    switch (request->operation) {
    case NODE_PUT:
        return kv_check_put(request->message);
    case NODE_DELETE_RANGE:
        return kv_check_delete_range(request->message);
    case NODE_TXN:
        return kv_check_txn(request->message, node->config.limits.max_txn_operations);
    default:
        return API_OK;
    }
}

/* A lease without an id gets one: positive, and unique as request ids are. */
static struct bytes choose_lease(struct node *node, struct node_request *request,
                                 uint8_t suffix[2 * WIRE_VARINT_MAX])
{
    const Etcdserverpb__LeaseGrantRequest *grant = request->message;
    request->node.lease = grant->id;
    if (grant->id != 0) return BYTES_EMPTY;
    do {
        request->node.lease = (int64_t)(node_next_id(node) & INT64_MAX);
    } while (request->node.lease == 0 || lessor_exists(node->lessor, request->node.lease));
    uint8_t *end = wire_varint_put(suffix, LEASE_GRANT_ID_FIELD << 3 | WIRE_VARINT);
    end = wire_varint_put(end, (uint64_t)request->node.lease);
    return bytes_of(suffix, (size_t)(end - suffix));
}

/* There is no leader, or the one that this member is hands its leadership over and proposes nothing until
 * that is done or given up. */
static bool nobody_proposes(const struct node *node)
{
    struct raft_status status = raft_status(node->raft);
    return status.soft_state.lead == RAFT_NONE || status.lead_transferee != RAFT_NONE;
}

void node_propose(struct node *node, struct node_request *request)
{
    if (!node_has_room(node, quota_cost(request))) {
        refuse_for_space(node, request);
        return;
    }
    enum api_error error = check_shape(node, request);
    uint64_t gap = NODE_APPLY_GAP_MAX;
    if (node->config.priority_requests && request->operation == NODE_LEASE_REVOKE) gap *= 2;
    bool behind = node->committed > node->applied + gap;
    bool full = node->proposal_count >= UNPROPOSED_MAX && nobody_proposes(node);
    if (error == API_OK && (behind || full)) error = API_ERROR_TOO_MANY_REQUESTS;
    /* Who logs in is nobody yet, whatever token is shown. */
    struct auth_identity identity = {0};
    if (error == API_OK && request->operation != NODE_AUTHENTICATE)
        error = node_identify_request(node, request, &identity);
    if (error != API_OK) {
        node_reply(node, request, error);
        return;
    }
    uint8_t suffix_space[2 * WIRE_VARINT_MAX];
    struct bytes suffix = BYTES_EMPTY;
    if (request->operation == NODE_LEASE_GRANT) suffix = choose_lease(node, request, suffix_space);
    uint64_t id = node_next_id(node);
    struct blob *entry = encode(operation_field[request->operation], request->raw, suffix, id, &identity);
    if (entry->size > node->config.limits.max_request_bytes) {
        blob_unref(entry);
        node_reply(node, request, API_ERROR_REQUEST_TOO_LARGE);
        return;
    }
    gather(node, entry);
    node_register_waiter(node, request, id, &node->proposed);
}

/* Without a leader proposals wait here until there is one or their time is up, as a client of etcd sees it.
 * While the leadership is handed over they wait, too: etcd fails them with an error that its clients do not
 * try again. What raft refuses otherwise (this member was removed, the tail is full) fails at once. */
void node_flush_proposals(struct node *node)
{
    if (node->proposal_count == 0 || nobody_proposes(node)) return;
    enum raft_result result = raft_propose(node->raft, node->proposals, node->proposal_count);
    for (size_t i = 0; i < node->proposal_count; i++) {
        if (result != RAFT_OK) {
            struct node_request *request =
                node_take_waiter(node, node_entry_id(blob_bytes(node->proposals[i])));
            if (request != NULL && node->removed)
                node_reply(node, request, API_ERROR_STOPPED); /* soon; clients try another member */
            else if (request != NULL)
                node_reply_text(node, request, raft_result_text(result));
            metric_add(&node->metrics.proposals_failed, 1);
        }
        blob_unref(node->proposals[i]);
    }
    node->proposal_count = 0;
}

/* What a timeout is called depends on what happened to the leader meanwhile. */
static enum api_error timeout_reason(const struct node *node, const struct node_request *request)
{
    if (node->soft.lead == RAFT_NONE) return API_ERROR_TIMEOUT;
    int64_t election = node->config.tick * node->config.election_ticks;
    if (request->submitted_at < node->leader_since &&
        request->submitted_at > node->leader_since - 2 * election)
        return API_ERROR_TIMEOUT_LEADER_FAIL;
    return API_ERROR_TIMEOUT;
}

/* Entries that were never handed to raft must not be proposed after their client was told of the timeout. */
static bool withdraw(struct node *node, uint64_t id)
{
    for (size_t i = 0; i < node->proposal_count; i++) {
        if (node_entry_id(blob_bytes(node->proposals[i])) != id) continue;
        blob_unref(node->proposals[i]);
        memmove(node->proposals + i, node->proposals + i + 1,
                (node->proposal_count - i - 1) * sizeof(*node->proposals));
        node->proposal_count--;
        return true;
    }
    return false;
}

void node_expire_proposals(struct node *node)
{
    struct node_request *request;
    while ((request = TAILQ_FIRST(&node->proposed)) != NULL) {
        if (node->now - request->submitted_at < node->request_timeout) return;
        uint64_t id = request->node.id;
        node_take_waiter(node, id);
        bool never_proposed = withdraw(node, id);
        metric_add(&node->metrics.proposals_failed, 1);
        node_reply(node, request,
                   never_proposed ? API_ERROR_DEADLINE_EXCEEDED : timeout_reason(node, request));
    }
}
