/* Requests that only the leader can answer. When a lease ends, or whether a learner has caught up, only the
 * leader knows, so what a client asks another member that member asks the leader, by a POST. Elections may
 * come in between: the node is tried again then, which may lead itself by now, or know who does. */
#include "server/peer_internal.h"

#include "api/message.h"
#include "base/container.h"
#include "base/wire.h"
#include "mvcc/kv.h"
#include "server/rpc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

#define TRY_AGAIN_AFTER (50 * LOOP_MILLISECOND)

enum { ANSWER_MAX = 4 << 20 };

/* What differs between the requests. */
struct kind {
    enum node_operation operation;
    const char *target; /* of the POST */
    const char *content_type;
    void (*write)(const struct node_request *request, struct buf *target, struct buf *body);
    /* Appends the answer of status 200 to the response, behind the header. False: it is none. */
    bool (*take)(struct bytes body, struct buf *response);
    /* The same for another status; API_OK without anything appended: it is not final, try again. */
    enum api_error (*refused)(const struct node_request *request, int status, struct bytes body,
                              struct buf *response);
    bool has_revision; /* in the header */
    bool passes_token; /* the leader judges who asks */
};

struct forward {
    struct peers *peers;
    struct rpc *rpc;
    const struct kind *kind;
    LIST_ENTRY(forward) link;
    struct http1_client_request *request; /* NULL: waits for its next try */
    struct http1_client *client;          /* to compare with, not to use: it may be gone */
    struct loop_timer retry;
};

/* ---- leases ---- */

bool peer_forward_unwrap(struct bytes message, struct bytes *inner)
{
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    bool found = false;
    while (wire_next(&reader, &field)) {
        if (field.number != 1 || field.type != WIRE_LENGTH) continue;
        *inner = field.bytes;
        found = true;
    }
    return found && !reader.failed;
}

static void write_renewal(const struct node_request *request, struct buf *target, struct buf *body)
{
    (void)target;
    message_pack(body, request->message);
}

static void write_time_to_live(const struct node_request *request, struct buf *target, struct buf *body)
{
    struct buf inner = {0};
    (void)target;
    message_pack(&inner, request->message);
    wire_bytes_field(body, 1, buf_bytes(&inner));
    buf_deinit(&inner);
}

/* The leader's response without its header, as far as it is that message at all. */
static bool copy_fields(const ProtobufCMessageDescriptor *descriptor, struct bytes message, struct buf *out)
{
    struct error *error = message_check(descriptor, message);
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    bool valid = error == NULL;
    error_free(error);
    while (valid && wire_next(&reader, &field)) {
        if (field.type == WIRE_VARINT)
            wire_uint_field(out, field.number, field.value);
        else if (field.type == WIRE_LENGTH && field.number != 1)
            wire_bytes_field(out, field.number, field.bytes);
    }
    return valid && !reader.failed;
}

static bool take_renewal(struct bytes body, struct buf *response)
{
    return copy_fields(&etcdserverpb__lease_keep_alive_response__descriptor, body, response);
}

static bool take_time_to_live(struct bytes body, struct buf *response)
{
    struct bytes inner;
    return peer_forward_unwrap(body, &inner) &&
           copy_fields(&etcdserverpb__lease_time_to_live_response__descriptor, inner, response);
}

/* There is no such lease. Keeping it alive tells TTL 0, which is left out; asking tells -1. */
static enum api_error renewal_refused(const struct node_request *request, int status, struct bytes body,
                                      struct buf *response)
{
    const Etcdserverpb__LeaseKeepAliveRequest *asked = request->message;
    (void)body;
    if (status == 404) wire_uint_field(response, 2, (uint64_t)asked->id);
    return API_OK;
}

static enum api_error time_to_live_refused(const struct node_request *request, int status, struct bytes body,
                                           struct buf *response)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *asked = request->message;
    (void)body;
    if (status != 404) return API_OK;
    wire_uint_field_nonzero(response, 2, (uint64_t)asked->id);
    wire_uint_field(response, 3, UINT64_MAX);
    return API_OK;
}

/* ---- learners ---- */

static void write_promotion(const struct node_request *request, struct buf *target, struct buf *body)
{
    const Etcdserverpb__MemberPromoteRequest *asked = request->message;
    (void)body;
    buf_printf(target, "%" PRIu64, asked->id);
}

static bool take_members(struct bytes body, struct buf *response)
{
    struct cluster_member *members = NULL;
    size_t count = 0;
    struct error *error = cluster_members_parse(body, &members, &count);
    bool valid = error == NULL;
    error_free(error);
    for (size_t i = 0; i < count; i++) {
        cluster_member_encode(response, 2, &members[i]);
        cluster_member_deinit(&members[i]);
    }
    free(members);
    return valid;
}

static enum api_error promotion_refused(const struct node_request *request, int status, struct bytes body,
                                        struct buf *response)
{
    (void)request;
    (void)response;
    if (status == 404) return API_ERROR_MEMBER_NOT_FOUND;
    if (status != 412) return API_OK;
    return bytes_starts_with(body, BYTES_LITERAL("etcdserver: ")) ? API_ERROR_LEARNER_NOT_READY
                                                                  : API_ERROR_MEMBER_NOT_LEARNER;
}

static const struct kind kinds[] = {
    {NODE_LEASE_KEEP_ALIVE, "/leases", "application/protobuf", write_renewal, take_renewal, renewal_refused,
     true, false},
    {NODE_LEASE_TIME_TO_LIVE, "/leases/internal", "application/protobuf", write_time_to_live,
     take_time_to_live, time_to_live_refused, true, false},
    {NODE_MEMBER_PROMOTE, PEER_PROMOTE_PATH, NULL, write_promotion, take_members, promotion_refused, false,
     true},
};

static const struct kind *find_kind(enum node_operation operation)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].operation == operation) return &kinds[i];
    assert(false); /* the node forwards nothing else */
    return NULL;
}

/* ---- ends ---- */

static void forward_free(struct forward *forward)
{
    loop_timer_clear(forward->peers->config.loop, &forward->retry);
    LIST_REMOVE(forward, link);
    free(forward);
}

/* The keys of a lease were asked for under permissions that have changed meanwhile. */
static bool is_stale(const struct forward *forward)
{
    const struct node_request *request = &forward->rpc->request;
    struct node_metrics *metrics = engine_node_metrics(forward->peers->engine);
    return request->operation == NODE_LEASE_TIME_TO_LIVE &&
           ((const Etcdserverpb__LeaseTimeToLiveRequest *)request->message)->keys &&
           metric_gauge_read(&metrics->auth_enabled) != 0 &&
           (uint64_t)metric_gauge_read(&metrics->auth_revision) != request->auth_revision;
}

static void finish(struct forward *forward, enum api_error error, struct blob *response)
{
    struct rpc *rpc = forward->rpc;
    if (error == API_OK && is_stale(forward)) {
        blob_unref(response);
        response = NULL;
        error = API_ERROR_AUTH_OLD_REVISION;
    }
    forward_free(forward);
    rpc->request.error = error;
    rpc->request.response = response;
    rpc_returned(rpc);
}

static void on_retry(struct loop *loop, struct loop_timer *timer)
{
    struct forward *forward = CONTAINER(timer, struct forward, retry);
    struct rpc *rpc = forward->rpc;
    (void)loop;
    forward_free(forward);
    rpc_try_again(rpc);
}

static void fail_for_now(struct forward *forward)
{
    struct peers *peers = forward->peers;
    int64_t now = clock_monotonic();
    if (peers->closed)
        finish(forward, API_ERROR_STOPPED, NULL);
    else if (now - forward->rpc->forwarded_at >= peers->config.request_timeout)
        finish(forward, forward->rpc->request.leader == RAFT_NONE ? API_ERROR_NO_LEADER : API_ERROR_TIMEOUT,
               NULL);
    else
        loop_timer_set(peers->config.loop, &forward->retry, now + TRY_AGAIN_AFTER);
}

/* ---- answers ---- */

/* A response starts with this member's own header. */
static void write_header(const struct forward *forward, struct buf *out)
{
    const struct peers *peers = forward->peers;
    struct node_metrics *metrics = engine_node_metrics(peers->engine);
    struct kv_header header = {
        .cluster_id = peers->config.cluster_id,
        .member_id = peers->config.member_id,
        .raft_term = (uint64_t)metric_gauge_read(&metrics->term),
    };
    kv_header_write(out, &header, forward->kind->has_revision ? metric_gauge_read(&metrics->revision) : 0);
}

/* Whatever is wrong with the connection or the address: the next request gets a new one. What waits on this
 * one fails for now. */
static void drop_client(struct forward *forward)
{
    struct peer *peer = peers_find(forward->peers, forward->rpc->request.leader);
    for (size_t i = 0; peer != NULL && i < PEER_FORWARD_CLIENTS; i++) {
        struct http1_client *client = peer->forward_clients[i];
        if (client == NULL || client != forward->client) continue;
        peer->forward_clients[i] = NULL;
        http1_client_free(client);
    }
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct forward *forward = http1_client_request_context(request);
    struct buf response = {0};
    enum api_error refusal = API_OK;
    bool answered = false;
    int status = http1_client_request_status(request);
    struct bytes body = http1_client_request_body(request);
    forward->request = NULL;
    if (error != NULL && !forward->peers->closed) drop_client(forward);
    write_header(forward, &response);
    size_t header_size = response.size;
    if (error == NULL && status == 200) {
        answered = forward->kind->take(body, &response);
    } else if (error == NULL) {
        refusal = forward->kind->refused(&forward->rpc->request, status, body, &response);
        answered = response.size > header_size;
    }
    if (answered)
        finish(forward, API_OK, blob_from(buf_bytes(&response)));
    else if (refusal != API_OK)
        finish(forward, refusal, NULL);
    else
        fail_for_now(forward);
    buf_deinit(&response);
}

static const struct http1_client_handler forward_handler = {.on_done = on_done};

/* ---- requests ---- */

/* A connection carries one request after the other, each for as long as the way to the leader takes, and the
 * leader's own round: no request waits for another one while there may be one more connection. */
static struct http1_client *choose_client(struct peer *peer)
{
    struct http1_client **unused = NULL;
    for (size_t i = 0; i < PEER_FORWARD_CLIENTS; i++) {
        struct http1_client **client = &peer->forward_clients[i];
        if (*client != NULL && http1_client_is_idle(*client)) return *client;
        if (*client == NULL && unused == NULL) unused = client;
    }
    if (unused == NULL) return peer->forward_clients[peer->forward_turn++ % PEER_FORWARD_CLIENTS];
    *unused = peer_client(peer, peer->url);
    return *unused;
}

static void post(struct forward *forward, struct http1_client *client)
{
    const struct kind *kind = forward->kind;
    struct buf target = {0}, body = {0};
    buf_append_string(&target, kind->target);
    kind->write(&forward->rpc->request, &target, &body);
    struct http_header headers[2];
    size_t header_count = 0;
    if (kind->content_type != NULL)
        headers[header_count++] = (struct http_header){.name = BYTES_LITERAL("Content-Type"),
                                                       .value = bytes_from_string(kind->content_type)};
    if (kind->passes_token && forward->rpc->request.identity.token.size > 0)
        headers[header_count++] = (struct http_header){.name = BYTES_LITERAL("Authorization"),
                                                       .value = forward->rpc->request.identity.token};
    struct http1_client_options options = {
        .method = "POST",
        .target = buf_string(&target),
        .headers = headers,
        .header_count = header_count,
        .body = buf_bytes(&body),
        .deadline = forward->rpc->forwarded_at + forward->peers->config.request_timeout,
        .gather_limit = ANSWER_MAX,
        .handler = &forward_handler,
        .context = forward,
    };
    forward->client = client;
    forward->request = http1_client_request(client, &options);
    buf_deinit(&target);
    buf_deinit(&body);
}

void peer_forward(struct peers *peers, struct node_request *request)
{
    struct forward *forward = mem_zalloc(1, sizeof(*forward));
    forward->peers = peers;
    forward->rpc = CONTAINER(request, struct rpc, request);
    forward->kind = find_kind(request->operation);
    forward->retry.run = on_retry;
    LIST_INSERT_HEAD(&peers->forwards, forward, link);
    if (forward->rpc->forwarded_at == 0) forward->rpc->forwarded_at = clock_monotonic();
    struct peer *leader = peers->closed ? NULL : peers_find(peers, request->leader);
    struct http1_client *client = leader == NULL ? NULL : choose_client(leader);
    if (client == NULL)
        fail_for_now(forward);
    else
        post(forward, client);
}

/* Requests under way fail for now, and find out who leads. */
void peer_forward_stop(struct peer *peer)
{
    for (size_t i = 0; i < PEER_FORWARD_CLIENTS; i++) {
        struct http1_client *client = peer->forward_clients[i];
        peer->forward_clients[i] = NULL;
        http1_client_free(client);
    }
}

void peer_forward_close(struct peers *peers)
{
    struct forward *forward, *next;
    for (forward = LIST_FIRST(&peers->forwards); forward != NULL; forward = next) {
        next = LIST_NEXT(forward, link);
        if (forward->request == NULL) finish(forward, API_ERROR_STOPPED, NULL);
    }
}
