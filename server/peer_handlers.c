/* What the peer ports answer, beside the streams: each request is checked in etcd's order and refused with
 * etcd's words, because members of any release read them. */
#include "server/peer_internal.h"

#include "api/message.h"
#include "base/container.h"
#include "base/wire.h"
#include "cluster/json_reader.h"
#include "raft/codec.h"
#include "server/identity.h"
#include "server/rpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rpc.pb-c.h"

#define PEER_BODY_MAX  ((size_t)64 << 20)
#define LEASE_BODY_MAX ((size_t)64 << 10)
/* So long a question about a lease waits for what is committed to be applied. */
#define LEASE_PATIENCE LOOP_SECOND

static struct peers *peers_of(const struct http_exchange *exchange)
{
    return http_request(exchange)->context;
}

/* ---- checks ---- */

static bool method_allowed(struct http_exchange *exchange, const char *method)
{
    if (http_method_is(exchange, method)) return true;
    http_add_header(exchange, "Allow", method);
    http_error(exchange, 405, "Method Not Allowed");
    return false;
}

/* An absent header is what members before 2.1 sent; 2.0.0 stands for them. */
static bool header_version(const struct http_exchange *exchange, const char *name, struct version *version)
{
    struct bytes text;
    *version = version_of(2, 0);
    return !http_request_header(exchange, name, &text) || version_parse(text, version);
}

static bool version_fits(const struct http_exchange *exchange)
{
    struct version server, lowest;
    if (!header_version(exchange, "x-server-version", &server) ||
        !header_version(exchange, "x-min-cluster-version", &lowest))
        return false;
    return version_compare_minor(server, version_of(3, 0)) >= 0 &&
           version_compare_minor(lowest, peers_of(exchange)->version) <= 0;
}

static bool is_of_this_cluster(const struct http_exchange *exchange)
{
    struct bytes id = BYTES_EMPTY;
    http_request_header(exchange, "x-etcd-cluster-id", &id);
    return bytes_equal(id, bytes_from_string(peers_of(exchange)->cluster_id_text));
}

static void refuse(struct http_exchange *exchange, int status, const char *text)
{
    struct bytes from = BYTES_LITERAL("unknown");
    http_request_header(exchange, "x-server-from", &from);
    log_warn(peers_of(exchange)->logger, "refused a request from a remote peer",
             LOG_BYTES("remote-peer-id", from), LOG_STRING("remote-addr", http_exchange_peer(exchange)),
             LOG_BYTES("path", http_request(exchange)->path), LOG_STRING("error", text));
    http_error(exchange, status, text);
}

/* Who asks may be a member that is not applied here yet; it says where it is to be reached. */
static void remember_sender(struct http_exchange *exchange)
{
    struct bytes from, list;
    struct cluster_urls urls = {0};
    uint64_t id;
    if (!http_request_header(exchange, "x-server-from", &from) || !peer_parse_id(from, &id) ||
        peers_find(peers_of(exchange), id) != NULL || !http_request_header(exchange, "x-peerurls", &list))
        return;
    char *text = mem_printf("%.*s", (int)list.size, (const char *)list.data);
    struct error *error = cluster_urls_parse(text, &urls);
    if (error == NULL) peers_add_remote(peers_of(exchange), id, &urls);
    error_free(error);
    cluster_urls_deinit(&urls);
    free(text);
}

/* Method, versions, cluster: what comes before everything else. False: it was answered. */
static bool is_welcome(struct http_exchange *exchange, const char *method)
{
    struct peers *peers = peers_of(exchange);
    if (!method_allowed(exchange, method)) return false;
    http_add_header(exchange, "X-Etcd-Cluster-ID", peers->cluster_id_text);
    if (!version_fits(exchange))
        refuse(exchange, 412, "incompatible version");
    else if (!is_of_this_cluster(exchange))
        refuse(exchange, 412, "cluster ID mismatch");
    else if (peers->closed)
        refuse(exchange, 503, "etcdserver: server stopped");
    else
        return true;
    return false;
}

bool peer_parse_id(struct bytes text, uint64_t *id)
{
    *id = 0;
    if (text.size == 0 || text.size > 16) return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        unsigned letter = c | 0x20U;
        unsigned digit = c >= '0' && c <= '9'             ? c - (unsigned)'0'
                         : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                                                          : 16;
        if (digit == 16) return false;
        *id = *id << 4 | digit;
    }
    return true;
}

/* ---- streams ---- */

static bool split_stream_path(struct bytes path, enum peer_stream *stream, struct bytes *id)
{
    static const struct {
        struct bytes prefix;
        enum peer_stream stream;
    } kinds[] = {
        {BYTES_LITERAL("/raft/stream/message/"), PEER_STREAM_MESSAGE},
        {BYTES_LITERAL("/raft/stream/msgapp/"), PEER_STREAM_APPEND},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!bytes_starts_with(path, kinds[i].prefix)) continue;
        *stream = kinds[i].stream;
        *id = bytes_of(path.data + kinds[i].prefix.size, path.size - kinds[i].prefix.size);
        return memchr(id->data, '/', id->size) == NULL;
    }
    return false;
}

static void serve_stream(struct http_exchange *exchange)
{
    struct peers *peers = peers_of(exchange);
    enum peer_stream stream;
    struct bytes id_text, to = BYTES_EMPTY;
    uint64_t id;
    if (!method_allowed(exchange, "GET")) return;
    http_add_header(exchange, "X-Server-Version", peers->config.version);
    if (!is_welcome(exchange, "GET")) return;
    http_request_header(exchange, "x-raft-to", &to);
    if (!split_stream_path(http_request(exchange)->path, &stream, &id_text)) {
        refuse(exchange, 404, "invalid path");
    } else if (!peer_parse_id(id_text, &id)) {
        refuse(exchange, 404, "invalid from");
    } else if (peers->cluster != NULL && cluster_is_removed(peers->cluster, id)) {
        refuse(exchange, 410, "removed member");
    } else if (peers_find(peers, id) == NULL || peers_find(peers, id)->is_remote) {
        remember_sender(exchange);
        refuse(exchange, 404, "error sender not found");
    } else if (!bytes_equal(to, bytes_from_string(peers->member_id_text))) {
        refuse(exchange, 412, "to field mismatch");
    } else {
        peer_writer_attach(&peers_find(peers, id)->writers[stream], exchange);
    }
}

/* ---- POST /raft ---- */

static void begin_message(struct http_exchange *exchange)
{
    if (is_welcome(exchange, "POST")) remember_sender(exchange);
}

static void serve_message(struct http_exchange *exchange)
{
    struct peers *peers = peers_of(exchange);
    struct raft_message message = {0};
    struct error *error = raft_decode_message(&message, http_body(exchange));
    if (error != NULL) {
        error_free(error);
        refuse(exchange, 400, "error unmarshalling raft message");
        return;
    }
    struct peer *peer = peers_find(peers, message.from);
    if (peers->closed || message.to != peers->config.member_id ||
        (peers->cluster != NULL && cluster_is_removed(peers->cluster, message.from))) {
        refuse(exchange, 500, "error processing raft message");
    } else {
        if (peer != NULL) {
            metric_add(&peer->metrics->received_bytes, http_body(exchange).size);
            peer_receive(peer, &message);
        }
        http_respond(exchange, 204, NULL, BYTES_EMPTY);
    }
    raft_message_deinit(&message);
}

/* ---- POST /raft/snapshot ---- */

static void begin_snapshot(struct http_exchange *exchange)
{
    struct bytes from = BYTES_EMPTY;
    uint64_t id = RAFT_NONE;
    if (!is_welcome(exchange, "POST")) return;
    remember_sender(exchange);
    if (http_request_header(exchange, "x-server-from", &from)) (void)peer_parse_id(from, &id);
    struct peer *peer = peers_find(peers_of(exchange), id);
    if (peer == NULL)
        refuse(exchange, 500, "failed to process raft message (its sender is not known)");
    else
        peer_receiving_begin(peers_of(exchange), peer, exchange);
}

/* ---- small answers ---- */

static void serve_probing(struct http_exchange *exchange)
{
    int64_t now = clock_wall();
    time_t seconds = (time_t)(now / LOOP_SECOND);
    struct tm parts;
    char text[96], date[32];
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, sizeof(text), "{\"OK\":true,\"Now\":\"%s.%09" PRId64 "Z\"}\n", date, now % LOOP_SECOND);
    http_respond(exchange, 200, "application/json", bytes_from_string(text));
}

static void serve_members(struct http_exchange *exchange)
{
    struct peers *peers = peers_of(exchange);
    struct buf body = {0};
    if (!method_allowed(exchange, "GET")) return;
    http_add_header(exchange, "X-Etcd-Cluster-ID", peers->cluster_id_text);
    if (peers->cluster != NULL)
        cluster_members_write(&body, peers->cluster);
    else
        buf_append_string(&body, "[]");
    buf_append_byte(&body, '\n');
    http_respond(exchange, 200, "application/json", buf_bytes(&body));
    buf_deinit(&body);
}

static void serve_version(struct http_exchange *exchange)
{
    struct buf body = {0};
    if (!method_allowed(exchange, "GET")) return;
    http_endpoints_version(&body, peers_of(exchange)->config.endpoints);
    http_respond(exchange, 200, "application/json", buf_bytes(&body));
    buf_deinit(&body);
}

/* ---- what the node must be asked ---- */

struct question {
    struct rpc rpc;
    struct arena *arena;        /* what the identity points to; NULL: as root */
    struct loop_timer patience; /* set: it is given up then */
    union {
        Etcdserverpb__RangeRequest range;
        Etcdserverpb__HashKVRequest hash;
        Etcdserverpb__MemberPromoteRequest promotion;
    };
};

static struct question *question_new(struct http_exchange *exchange, enum node_operation operation,
                                     void (*done)(struct rpc *rpc))
{
    struct question *question = mem_zalloc(1, sizeof(*question));
    question->rpc.request.operation = operation;
    question->rpc.request.internal = true;
    question->rpc.loop = http_exchange_loop(exchange);
    question->rpc.done = done;
    question->rpc.context = http_exchange_ref(exchange);
    return question;
}

/* Leases another member asks for on behalf of clients that it has checked. Promoting takes an administrator
 * here, too: anybody who reaches the peer port could ask. */
static void identify(struct question *question, struct http_exchange *exchange)
{
    struct node_request *request = &question->rpc.request;
    struct bytes token;
    request->internal = false;
    question->arena = arena_new();
    if (http_request_header(exchange, "authorization", &token))
        identity_of_token(peers_of(exchange)->config.tokens, token, question->arena, &request->identity);
}

static bool question_failed(const struct rpc *rpc)
{
    return rpc->request.error != API_OK || rpc->request.error_text != NULL;
}

static void question_free(struct rpc *rpc)
{
    loop_timer_clear(rpc->loop, &((struct question *)rpc)->patience);
    http_exchange_unref(rpc->context);
    blob_unref(rpc->request.response);
    arena_free(((struct question *)rpc)->arena);
    free((struct question *)rpc);
}

static void downgrade_read_done(struct rpc *rpc)
{
    struct http_exchange *exchange = rpc->context;
    const struct peers *peers = peers_of(exchange);
    bool enabled = peers->cluster != NULL && cluster_downgrade(peers->cluster).enabled;
    if (question_failed(rpc)) {
        char *text = mem_printf("failed linearized read: %s", rpc_text(&rpc->request));
        http_error(exchange, 500, text);
        free(text);
    } else {
        http_respond(exchange, 200, "text/plain", enabled ? BYTES_LITERAL("true") : BYTES_LITERAL("false"));
    }
    question_free(rpc);
}

static void serve_downgrade(struct http_exchange *exchange)
{
    struct peers *peers = peers_of(exchange);
    if (!method_allowed(exchange, "GET")) return;
    http_add_header(exchange, "X-Etcd-Cluster-ID", peers->cluster_id_text);
    if (peers->closed) {
        http_error(exchange, 500, "failed linearized read: etcdserver: server stopped");
        return;
    }
    struct question *question = question_new(exchange, NODE_RANGE, downgrade_read_done);
    etcdserverpb__range_request__init(&question->range);
    question->range.key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) ""};
    question->range.limit = 1;
    question->range.keys_only = 1;
    question->rpc.request.message = &question->range;
    rpc_start(&question->rpc, peers->engine);
}

/* Go's mvcc errors, which have no "etcdserver: " in front. */
static const char *hash_error(const struct rpc *rpc)
{
    const char *text = rpc_text(&rpc->request);
    const char *prefix = "etcdserver: mvcc: ";
    return strncmp(text, prefix, strlen(prefix)) == 0 ? text + strlen("etcdserver: ") : text;
}

static void hash_done(struct rpc *rpc)
{
    struct http_exchange *exchange = rpc->context;
    struct arena *arena = http_exchange_arena(exchange);
    Etcdserverpb__HashKVResponse *hash = NULL;
    struct error *error = NULL;
    if (!question_failed(rpc))
        hash = (void *)message_unpack(&etcdserverpb__hash_kvresponse__descriptor,
                                      blob_bytes(rpc->request.response), arena, &error);
    if (hash == NULL) {
        http_error(exchange, 400, error != NULL ? error->text : hash_error(rpc));
    } else {
        struct buf body = {0};
        /* The header must be there whatever is in it: etcd looks into it. */
        buf_printf(&body,
                   "{\"header\":{\"cluster_id\":%" PRIu64 ",\"member_id\":%" PRIu64 ",\"revision\":%" PRId64
                   ",\"raft_term\":%" PRIu64 "}",
                   hash->header->cluster_id, hash->header->member_id, hash->header->revision,
                   hash->header->raft_term);
        if (hash->hash != 0) buf_printf(&body, ",\"hash\":%" PRIu32, hash->hash);
        if (hash->compact_revision != 0)
            buf_printf(&body, ",\"compact_revision\":%" PRId64, hash->compact_revision);
        if (hash->hash_revision != 0) buf_printf(&body, ",\"hash_revision\":%" PRId64, hash->hash_revision);
        buf_append_byte(&body, '}');
        http_add_header(exchange, "X-Etcd-Cluster-ID", peers_of(exchange)->cluster_id_text);
        http_respond(exchange, 200, "application/json", buf_bytes(&body));
        buf_deinit(&body);
    }
    error_free(error);
    question_free(rpc);
}

static bool parse_revision(struct bytes body, int64_t *revision)
{
    struct json_reader reader = json_reader_of(body);
    struct buf key = {0};
    uint64_t value = 0;
    if (json_enter(&reader, '{'))
        while (json_next_key(&reader, &key)) {
            if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("revision")))
                json_read_uint64(&reader, &value);
            else
                json_skip(&reader);
        }
    buf_deinit(&key);
    *revision = (int64_t)value;
    return !reader.failed && value <= INT64_MAX;
}

static void serve_hash(struct http_exchange *exchange)
{
    struct peers *peers = peers_of(exchange);
    struct bytes cluster;
    int64_t revision = 0;
    if (!method_allowed(exchange, "GET")) return;
    if (http_request_header(exchange, "x-etcd-cluster-id", &cluster) && !is_of_this_cluster(exchange)) {
        http_error(exchange, 412, "cluster ID mismatch");
    } else if (!parse_revision(http_body(exchange), &revision)) {
        http_error(exchange, 400, "error unmarshalling request");
    } else if (peers->closed) {
        http_error(exchange, 503, "etcdserver: server stopped");
    } else {
        struct question *question = question_new(exchange, NODE_HASH_KV, hash_done);
        etcdserverpb__hash_kvrequest__init(&question->hash);
        question->hash.revision = revision;
        question->rpc.request.message = &question->hash;
        rpc_start(&question->rpc, peers->engine);
    }
}

/* ---- promoting a learner: other members ask this one, the leader ---- */

static void fill_member(struct cluster_member *member, const Etcdserverpb__Member *from)
{
    member->id = from->id;
    member->name = mem_strdup(from->name);
    member->is_learner = from->islearner;
    for (size_t i = 0; i < from->n_peerurls; i++)
        cluster_urls_append(&member->peer_urls, bytes_from_string(from->peerurls[i]));
    for (size_t i = 0; i < from->n_clienturls; i++)
        cluster_urls_append(&member->client_urls, bytes_from_string(from->clienturls[i]));
}

static void respond_members(struct http_exchange *exchange,
                            const Etcdserverpb__MemberPromoteResponse *promoted)
{
    struct buf body = {0};
    buf_append_byte(&body, '[');
    for (size_t i = 0; i < promoted->n_members; i++) {
        struct cluster_member member = {0};
        fill_member(&member, promoted->members[i]);
        if (i > 0) buf_append_byte(&body, ',');
        cluster_member_write(&body, &member);
        cluster_member_deinit(&member);
    }
    buf_append_string(&body, "]\n");
    http_respond(exchange, 200, "application/json", buf_bytes(&body));
    buf_deinit(&body);
}

/* Refusals that are final for whoever asks, in etcd's words. */
static const struct {
    enum api_error error;
    int status;
    const char *text;
} promotion_refusals[] = {
    {API_ERROR_MEMBER_NOT_FOUND, 404, "membership: ID not found"},
    {API_ERROR_MEMBER_NOT_LEARNER, 412, "membership: can only promote a learner member"},
    {API_ERROR_LEARNER_NOT_READY, 412,
     "etcdserver: can only promote a learner member which is in sync with leader"},
};

static void promotion_done(struct rpc *rpc)
{
    struct http_exchange *exchange = rpc->context;
    Etcdserverpb__MemberPromoteResponse *promoted = NULL;
    size_t refusals = sizeof(promotion_refusals) / sizeof(promotion_refusals[0]), i = 0;
    if (!question_failed(rpc))
        promoted =
            (void *)message_unpack(&etcdserverpb__member_promote_response__descriptor,
                                   blob_bytes(rpc->request.response), http_exchange_arena(exchange), NULL);
    while (i < refusals && promotion_refusals[i].error != rpc->request.error) i++;
    if (promoted != NULL)
        respond_members(exchange, promoted);
    else if (i < refusals)
        http_error(exchange, promotion_refusals[i].status, promotion_refusals[i].text);
    else
        http_respond(exchange, 500, "application/json",
                     BYTES_LITERAL("{\"message\":\"Internal Server Error\"}"));
    question_free(rpc);
}

static bool parse_decimal(struct bytes text, uint64_t *value)
{
    *value = 0;
    if (text.size == 0 || text.size > 20) return false;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(*value, UINT64_C(10), value) ||
            __builtin_add_overflow(*value, digit, value))
            return false;
    }
    return true;
}

static void serve_promotion(struct http_exchange *exchange)
{
    struct peers *peers = peers_of(exchange);
    struct bytes path = http_request(exchange)->path;
    size_t prefix = strlen(PEER_PROMOTE_PATH);
    struct bytes text = bytes_of(path.data + prefix, path.size - prefix);
    uint64_t id;
    if (!method_allowed(exchange, "POST")) return;
    http_add_header(exchange, "X-Etcd-Cluster-ID", peers->cluster_id_text);
    if (!parse_decimal(text, &id)) {
        char *message =
            mem_printf("member %.*s not found in cluster", (int)text.size, (const char *)text.data);
        http_error(exchange, 404, message);
        free(message);
    } else if (peers->closed) {
        http_error(exchange, 503, "etcdserver: server stopped");
    } else {
        struct question *question = question_new(exchange, NODE_MEMBER_PROMOTE, promotion_done);
        etcdserverpb__member_promote_request__init(&question->promotion);
        question->promotion.id = id;
        identify(question, exchange);
        question->rpc.request.message = &question->promotion;
        question->rpc.stays = true;
        rpc_start(&question->rpc, peers->engine);
    }
}

/* ---- leases: other members ask this one, the leader ---- */

static void lease_not_found(struct http_exchange *exchange)
{
    http_error(exchange, 404, "lease not found");
}

static void lose_patience(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    rpc_cancel(&CONTAINER(timer, struct question, patience)->rpc);
}

/* Who asks tries again after a while, so nothing is lost by giving up. */
static void ask_about_lease(struct http_exchange *exchange, struct question *question)
{
    question->rpc.stays = true;
    question->patience.run = lose_patience;
    rpc_start(&question->rpc, peers_of(exchange)->engine);
    loop_timer_set(question->rpc.loop, &question->patience, clock_monotonic() + LEASE_PATIENCE);
}

/* status: of whatever else went wrong. */
static void lease_failed(struct http_exchange *exchange, int status, const struct rpc *rpc)
{
    if (rpc->request.error == API_ERROR_CANCELED)
        http_error(exchange, 408, "waiting for node to catch up its applied index has timed out");
    else
        http_error(exchange, status,
                   rpc->request.for_leader ? api_error_text(API_ERROR_NOT_PRIMARY_LESSOR)
                                           : rpc_text(&rpc->request));
}

/* Without the header, which the asking member writes. */
static void respond_renewed(struct http_exchange *exchange,
                            const Etcdserverpb__LeaseKeepAliveResponse *renewed)
{
    struct buf body = {0};
    wire_uint_field_nonzero(&body, 2, (uint64_t)renewed->id);
    wire_uint_field_nonzero(&body, 3, (uint64_t)renewed->ttl);
    http_respond(exchange, 200, "application/protobuf", buf_bytes(&body));
    buf_deinit(&body);
}

static void renewal_done(struct rpc *rpc)
{
    struct http_exchange *exchange = rpc->context;
    Etcdserverpb__LeaseKeepAliveResponse *renewed = NULL;
    if (!question_failed(rpc))
        renewed =
            (void *)message_unpack(&etcdserverpb__lease_keep_alive_response__descriptor,
                                   blob_bytes(rpc->request.response), http_exchange_arena(exchange), NULL);
    if (renewed == NULL)
        lease_failed(exchange, 400, rpc);
    else if (renewed->ttl <= 0)
        lease_not_found(exchange);
    else
        respond_renewed(exchange, renewed);
    question_free(rpc);
}

static void time_to_live_done(struct rpc *rpc)
{
    struct http_exchange *exchange = rpc->context;
    struct bytes answer = blob_bytes(rpc->request.response);
    Etcdserverpb__LeaseTimeToLiveResponse *found = NULL;
    if (!question_failed(rpc))
        found = (void *)message_unpack(&etcdserverpb__lease_time_to_live_response__descriptor, answer,
                                       http_exchange_arena(exchange), NULL);
    if (found == NULL) {
        lease_failed(exchange, 500, rpc);
    } else if (found->ttl < 0) {
        lease_not_found(exchange);
    } else {
        struct buf body = {0};
        wire_bytes_field(&body, 1, answer);
        http_respond(exchange, 200, "application/protobuf", buf_bytes(&body));
        buf_deinit(&body);
    }
    question_free(rpc);
}

static void begin_lease(struct http_exchange *exchange)
{
    if (!http_method_is(exchange, "POST"))
        http_error(exchange, 405, "Method Not Allowed"); /* etcd does not say what is allowed here */
    else if (peers_of(exchange)->closed)
        http_error(exchange, 503, "etcdserver: server stopped");
}

static void serve_renewal(struct http_exchange *exchange)
{
    Etcdserverpb__LeaseKeepAliveRequest *asked =
        (void *)message_unpack(&etcdserverpb__lease_keep_alive_request__descriptor, http_body(exchange),
                               http_exchange_arena(exchange), NULL);
    if (asked == NULL || peers_of(exchange)->closed) {
        http_error(exchange, 400, "error unmarshalling request");
        return;
    }
    struct question *question = question_new(exchange, NODE_LEASE_KEEP_ALIVE, renewal_done);
    question->rpc.request.message = asked; /* in the exchange's arena, which the question keeps */
    ask_about_lease(exchange, question);
}

static void serve_time_to_live(struct http_exchange *exchange)
{
    struct bytes inner;
    Etcdserverpb__LeaseTimeToLiveRequest *asked = NULL;
    if (peer_forward_unwrap(http_body(exchange), &inner))
        asked = (void *)message_unpack(&etcdserverpb__lease_time_to_live_request__descriptor, inner,
                                       http_exchange_arena(exchange), NULL);
    if (asked == NULL || peers_of(exchange)->closed) {
        http_error(exchange, 400, "error unmarshalling request");
        return;
    }
    struct question *question = question_new(exchange, NODE_LEASE_TIME_TO_LIVE, time_to_live_done);
    question->rpc.request.message = asked;
    ask_about_lease(exchange, question);
}

/* ---- the table ---- */

static const struct http_handler message_handler = {.on_request = begin_message,
                                                    .on_end = serve_message,
                                                    .body_limit = PEER_BODY_MAX};
static const struct http_handler stream_handler = {.on_request = serve_stream,
                                                   .on_writable = peer_writer_writable,
                                                   .on_close = peer_writer_closed};
static const struct http_handler snapshot_handler = {.on_request = begin_snapshot,
                                                     .on_body = peer_receiving_body,
                                                     .on_end = peer_receiving_end,
                                                     .on_close = peer_receiving_closed,
                                                     .body_limit = SIZE_MAX};
static const struct http_handler probing_handler = {.on_end = serve_probing};
static const struct http_handler members_handler = {.on_end = serve_members};
static const struct http_handler version_handler = {.on_end = serve_version};
static const struct http_handler downgrade_handler = {.on_end = serve_downgrade};
static const struct http_handler hash_handler = {.on_end = serve_hash};
static const struct http_handler promotion_handler = {.on_end = serve_promotion};

static const struct http_handler renewal_handler = {.on_request = begin_lease,
                                                    .on_end = serve_renewal,
                                                    .body_limit = LEASE_BODY_MAX};
static const struct http_handler time_to_live_handler = {.on_request = begin_lease,
                                                         .on_end = serve_time_to_live,
                                                         .body_limit = LEASE_BODY_MAX};

static const struct http_route routes[] = {
    {.path = "/raft", .handler = &message_handler},
    {.path = "/raft/stream/", .prefix = true, .handler = &stream_handler},
    {.path = "/raft/snapshot", .handler = &snapshot_handler},
    {.path = "/raft/probing", .handler = &probing_handler},
    {.path = "/members", .handler = &members_handler},
    {.path = "/members/hashkv", .handler = &hash_handler},
    {.path = PEER_PROMOTE_PATH, .prefix = true, .handler = &promotion_handler},
    {.path = "/version", .handler = &version_handler},
    {.path = "/leases", .handler = &renewal_handler},
    {.path = "/leases/internal", .handler = &time_to_live_handler},
    {.path = "/downgrade/enabled", .handler = &downgrade_handler},
};

void peer_handlers_router(struct http_router *router, struct peers *peers)
{
    *router = (struct http_router){.routes = routes,
                                   .route_count = sizeof(routes) / sizeof(routes[0]),
                                   .context = peers};
}
