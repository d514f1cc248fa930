/* Lease questions. When a lease ends only the leader knows, so what a client asks another member (keep this
 * lease alive, how long has it left) that member asks the leader, by a POST. Elections may come in between:
 * the node is tried again then, which may lead itself by now, or know who does. */
#include "server/peer_internal.h"

#include "api/message.h"
#include "base/container.h"
#include "base/wire.h"
#include "mvcc/kv.h"
#include "server/rpc.h"

#include <assert.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

#define TRY_AGAIN_AFTER (50 * LOOP_MILLISECOND)

enum { ANSWER_MAX = 4 << 20 };

struct lease_call {
    struct peers *peers;
    struct rpc *rpc;
    LIST_ENTRY(lease_call) link;
    struct http1_client_request *request; /* NULL: waits for its next try */
    struct http1_client *client;          /* to compare with, not to use: it may be gone */
    struct loop_timer retry;
    int status;
    struct buf body;
};

bool peer_lease_unwrap(struct bytes message, struct bytes *inner)
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

/* ---- ends ---- */

static void call_free(struct lease_call *call)
{
    loop_timer_clear(call->peers->config.loop, &call->retry);
    LIST_REMOVE(call, link);
    buf_deinit(&call->body);
    free(call);
}

static void finish(struct lease_call *call, enum api_error error, struct blob *response)
{
    struct rpc *rpc = call->rpc;
    call_free(call);
    rpc->request.error = error;
    rpc->request.response = response;
    rpc_returned(rpc);
}

static void on_retry(struct loop *loop, struct loop_timer *timer)
{
    struct lease_call *call = CONTAINER(timer, struct lease_call, retry);
    struct rpc *rpc = call->rpc;
    (void)loop;
    call_free(call);
    rpc_try_again(rpc);
}

static void fail_for_now(struct lease_call *call)
{
    struct peers *peers = call->peers;
    int64_t now = clock_monotonic();
    if (peers->closed)
        finish(call, API_ERROR_STOPPED, NULL);
    else if (now - call->rpc->forwarded_at >= peers->config.request_timeout)
        finish(call, call->rpc->request.leader == RAFT_NONE ? API_ERROR_NO_LEADER : API_ERROR_TIMEOUT, NULL);
    else
        loop_timer_set(peers->config.loop, &call->retry, now + TRY_AGAIN_AFTER);
}

/* ---- answers ---- */

/* A response starts with this member's own header. */
static void write_header(const struct peers *peers, struct buf *out)
{
    struct node_metrics *metrics = engine_node_metrics(peers->engine);
    struct kv_header header = {
        .cluster_id = peers->config.cluster_id,
        .member_id = peers->config.member_id,
        .raft_term = (uint64_t)metric_gauge_read(&metrics->term),
    };
    kv_header_write(out, &header, metric_gauge_read(&metrics->revision));
}

/* The leader's response without its header, as far as it is a message at all. */
static bool copy_fields(struct buf *out, struct bytes message)
{
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.type == WIRE_VARINT)
            wire_uint_field(out, field.number, field.value);
        else if (field.type == WIRE_LENGTH && field.number != 1)
            wire_bytes_field(out, field.number, field.bytes);
    }
    return !reader.failed;
}

static bool take_answer(struct lease_call *call, struct buf *out)
{
    struct bytes body = buf_bytes(&call->body), inner = body;
    bool is_renewal = call->rpc->request.operation == NODE_LEASE_KEEP_ALIVE;
    if (!is_renewal && !peer_lease_unwrap(body, &inner)) return false;
    const ProtobufCMessageDescriptor *descriptor =
        is_renewal ? &etcdserverpb__lease_keep_alive_response__descriptor
                   : &etcdserverpb__lease_time_to_live_response__descriptor;
    struct error *error = message_check(descriptor, inner);
    bool valid = error == NULL;
    error_free(error);
    return valid && copy_fields(out, inner);
}

/* Keeping it alive tells TTL 0, which is left out; asking tells -1. */
static void write_not_found(const struct lease_call *call, struct buf *out)
{
    const struct node_request *request = &call->rpc->request;
    if (request->operation == NODE_LEASE_KEEP_ALIVE) {
        const Etcdserverpb__LeaseKeepAliveRequest *asked = request->message;
        wire_uint_field_nonzero(out, 2, (uint64_t)asked->id);
    } else {
        const Etcdserverpb__LeaseTimeToLiveRequest *asked = request->message;
        wire_uint_field_nonzero(out, 2, (uint64_t)asked->id);
        wire_uint_field(out, 3, UINT64_MAX);
    }
}

static void on_response(struct http1_client_request *request, int status, const struct http_header *headers,
                        size_t count)
{
    struct lease_call *call = http1_client_request_context(request);
    (void)headers;
    (void)count;
    call->status = status;
}

static void on_body(struct http1_client_request *request, struct bytes piece)
{
    struct lease_call *call = http1_client_request_context(request);
    if (call->body.size + piece.size <= ANSWER_MAX) buf_append_bytes(&call->body, piece);
}

/* Whatever is wrong with the connection or the address: the next question gets a new one. What waits on this
 * one fails for now. */
static void drop_client(struct lease_call *call)
{
    struct peer *peer = peers_find(call->peers, call->rpc->request.leader);
    for (size_t i = 0; peer != NULL && i < PEER_LEASE_CLIENTS; i++) {
        struct http1_client *client = peer->lease_clients[i];
        if (client == NULL || client != call->client) continue;
        peer->lease_clients[i] = NULL;
        http1_client_free(client);
    }
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct lease_call *call = http1_client_request_context(request);
    struct buf response = {0};
    call->request = NULL;
    if (error != NULL && !call->peers->closed) drop_client(call);
    write_header(call->peers, &response);
    bool answered = error == NULL && call->status == 200 && take_answer(call, &response);
    if (!answered && error == NULL && call->status == 404) {
        write_not_found(call, &response);
        answered = true;
    }
    if (answered)
        finish(call, API_OK, blob_from(buf_bytes(&response)));
    else
        fail_for_now(call);
    buf_deinit(&response);
}

static const struct http1_client_handler lease_handler = {.on_response = on_response,
                                                          .on_body = on_body,
                                                          .on_done = on_done};

/* ---- questions ---- */

static struct http1_client *choose_client(struct peer *peer)
{
    struct http1_client **client = &peer->lease_clients[peer->lease_turn++ % PEER_LEASE_CLIENTS];
    if (*client == NULL) *client = peer_client(peer, peer->url);
    return *client;
}

static void post(struct lease_call *call, struct http1_client *client)
{
    const struct node_request *request = &call->rpc->request;
    struct http_header content_type = {.name = BYTES_LITERAL("Content-Type"),
                                       .value = BYTES_LITERAL("application/protobuf")};
    struct buf inner = {0}, body = {0};
    message_pack(&inner, request->message);
    bool is_renewal = request->operation == NODE_LEASE_KEEP_ALIVE;
    if (is_renewal)
        buf_append_bytes(&body, buf_bytes(&inner));
    else
        wire_bytes_field(&body, 1, buf_bytes(&inner));
    struct http1_client_options options = {
        .method = "POST",
        .target = is_renewal ? "/leases" : "/leases/internal",
        .headers = &content_type,
        .header_count = 1,
        .body = buf_bytes(&body),
        .deadline = call->rpc->forwarded_at + call->peers->config.request_timeout,
        .handler = &lease_handler,
        .context = call,
    };
    call->client = client;
    call->request = http1_client_request(client, &options);
    buf_deinit(&inner);
    buf_deinit(&body);
}

void peer_lease_ask(struct peers *peers, struct node_request *request)
{
    struct lease_call *call = mem_zalloc(1, sizeof(*call));
    assert(request->operation == NODE_LEASE_KEEP_ALIVE || request->operation == NODE_LEASE_TIME_TO_LIVE);
    call->peers = peers;
    call->rpc = CONTAINER(request, struct rpc, request);
    call->retry.run = on_retry;
    LIST_INSERT_HEAD(&peers->lease_calls, call, link);
    if (call->rpc->forwarded_at == 0) call->rpc->forwarded_at = clock_monotonic();
    struct peer *leader = peers->closed ? NULL : peers_find(peers, request->leader);
    struct http1_client *client = leader == NULL ? NULL : choose_client(leader);
    if (client == NULL)
        fail_for_now(call);
    else
        post(call, client);
}

/* Questions under way fail for now, and find out who leads. */
void peer_lease_stop(struct peer *peer)
{
    for (size_t i = 0; i < PEER_LEASE_CLIENTS; i++) {
        struct http1_client *client = peer->lease_clients[i];
        peer->lease_clients[i] = NULL;
        http1_client_free(client);
    }
}

void peer_lease_close(struct peers *peers)
{
    struct lease_call *call, *next;
    for (call = LIST_FIRST(&peers->lease_calls); call != NULL; call = next) {
        next = LIST_NEXT(call, link);
        if (call->request == NULL) finish(call, API_ERROR_STOPPED, NULL);
    }
}
