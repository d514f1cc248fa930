#include "server/http_endpoints.h"
#include "net/transport.h"

#include "base/text.h"
#include "net/grpc_frame.h"
#include "server/descriptors.h"
#include "server/gateway.h"
#include "server/health.h"
#include "server/profiles.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static struct http_endpoints *endpoints_of(const struct http_exchange *exchange)
{
    return http_request(exchange)->context;
}

bool http_endpoints_only_get(struct http_exchange *exchange)
{
    if (http_method_is(exchange, "GET")) return true;
    http_add_header(exchange, "Allow", "GET");
    http_error(exchange, 405, "Method Not Allowed");
    return false;
}

/* ---- /version ---- */

void http_endpoints_version(struct buf *out, const struct http_endpoints *endpoints)
{
    int64_t cluster = metric_gauge_read(&engine_node_metrics(endpoints->engine)->cluster_version);
    int64_t storage = metric_gauge_read(&engine_node_metrics(endpoints->engine)->storage_version);
    buf_printf(out, "{\"etcdserver\":\"%s\",\"etcdcluster\":\"", endpoints->version);
    if (cluster == 0)
        buf_append_string(out, "not_decided");
    else
        buf_printf(out, "%d.%d.0", (int)(cluster / 1000), (int)(cluster % 1000));
    buf_append_string(out, "\",\"storage\":\"");
    if (storage == 0)
        buf_append_string(out, "unknown");
    else
        buf_printf(out, "%d.%d.0", (int)(storage / 1000), (int)(storage % 1000));
    buf_append_string(out, "\"}");
}

static void serve_version(struct http_exchange *exchange)
{
    struct buf body = {0};
    if (!http_endpoints_only_get(exchange)) return;
    http_endpoints_version(&body, endpoints_of(exchange));
    http_respond(exchange, 200, "application/json", buf_bytes(&body));
    buf_deinit(&body);
}

/* ---- /metrics ---- */

/* One of the codings that the client accepts, without a weight of 0. */
static bool takes_gzip(struct http_exchange *exchange)
{
    struct bytes value;
    if (!http_request_header(exchange, "accept-encoding", &value)) return false;
    for (const char *at = arena_string(http_exchange_arena(exchange), value); *at != '\0'; at += *at == ',') {
        at += strspn(at, " \t");
        size_t size = strcspn(at, ",");
        bool refused = memmem(at, size, ";q=0", 4) != NULL && memmem(at, size, ";q=0.", 5) == NULL;
        if (strncmp(at, "gzip", 4) == 0 && strcspn(at, ",; \t") == 4 && !refused) return true;
        at += size;
    }
    return false;
}

static void serve_metrics(struct http_exchange *exchange)
{
    struct buf body = {0}, packed = {0};
    metrics_write(&body, endpoints_of(exchange)->metrics);
    if (takes_gzip(exchange)) {
        struct grpc_part part = grpc_part_of_bytes(buf_bytes(&body));
        grpc_gzip_compress(&part, 1, &packed);
        http_add_header(exchange, "Content-Encoding", "gzip");
    }
    http_respond(exchange, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
                 buf_bytes(packed.size > 0 ? &packed : &body));
    buf_deinit(&body);
    buf_deinit(&packed);
}

/* ---- /debug ---- */

static void append_command(struct buf *body)
{
    struct buf words = {0};
    profiles_command_line(&words);
    buf_append_string(body, "\"cmdline\": [");
    for (size_t at = 0; at < words.size;) {
        size_t size = strnlen((const char *)words.data + at, words.size - at);
        if (at > 0) buf_append_byte(body, ',');
        text_json_quote(body, bytes_of(words.data + at, size), true);
        at += size + 1;
    }
    buf_append_string(body, "],\n");
    buf_deinit(&words);
}

static void append_raft_status(struct buf *body, const struct http_endpoints *endpoints)
{
    struct node_metrics *node = engine_node_metrics(endpoints->engine);
    int64_t lead = metric_gauge_read(&node->leader);
    const char *role = metric_gauge_read(&node->is_leader) != 0 ? "StateLeader"
                       : lead != 0                              ? "StateFollower"
                                                                : "StateCandidate";
    buf_printf(body,
               "\"raft.status\": {\"id\":\"%llx\",\"term\":%lld,\"commit\":%lld,\"lead\":\"%llx\","
               "\"raftState\":\"%s\",\"applied\":%lld,\"progress\":{}}\n",
               (unsigned long long)endpoints->metrics->member_id, (long long)metric_gauge_read(&node->term),
               (long long)metric_gauge_read(&node->proposals_committed), (unsigned long long)lead, role,
               (long long)metric_gauge_read(&node->proposals_applied));
}

static void serve_variables(struct http_exchange *exchange)
{
    struct buf body = {0};
    struct mallinfo2 heap = mallinfo2();
    if (!http_endpoints_only_get(exchange)) return;
    buf_append_string(&body, "{\n");
    append_command(&body);
    buf_printf(&body, "\"file_descriptor_limit\": %llu,\n", (unsigned long long)descriptors_limit());
    buf_printf(&body, "\"memstats\": {\"Alloc\":%zu,\"HeapSys\":%zu,\"HeapIdle\":%zu},\n",
               heap.uordblks + heap.hblkhd, heap.arena + heap.hblkhd, heap.fordblks);
    append_raft_status(&body, endpoints_of(exchange));
    buf_append_string(&body, "}\n");
    http_respond(exchange, 200, "application/json; charset=utf-8", buf_bytes(&body));
    buf_deinit(&body);
}

/* ---- who may ask ---- */

static bool is_listed(const char *list, struct bytes item)
{
    if (strcmp(list, "*") == 0) return true;
    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',')
        if (bytes_equal(bytes_of(list, strcspn(list, ",")), item)) return true;
    return false;
}

/* "[::1]:2379" and "host:2379" without the port, and without the brackets. */
static struct bytes without_port(struct bytes host)
{
    if (host.size == 0) return host; /* HTTP/1.0 has no Host header */
    const uint8_t *bracket = host.data[0] == '[' ? memchr(host.data, ']', host.size) : NULL;
    if (bracket != NULL) return bytes_of(host.data + 1, (size_t)(bracket - host.data) - 1);
    const uint8_t *colon = memchr(host.data, ':', host.size);
    return colon == NULL ? host : bytes_of(host.data, (size_t)(colon - host.data));
}

/* A web page that has its own name resolve to this server's address must not get at it. With TLS it does not:
 * the certificate has another name. */
static bool refuse_host(struct http_exchange *exchange)
{
    struct http_endpoints *endpoints = endpoints_of(exchange);
    struct bytes host = without_port(http_request(exchange)->host);
    if (transport_is_secure(http_exchange_transport(exchange))) return false;
    if (is_listed(endpoints->host_whitelist, host)) return false;
    struct buf text = {0};
    buf_append_string(&text,
                      "the Host header of this request is not in the whitelist; to allow it, start the "
                      "server with\n  etcd --host-whitelist ");
    text_go_quote(&text, host);
    buf_append_string(&text, "\nor use TLS. The whitelist keeps DNS rebinding attacks away (CVE-2018-5702).");
    log_warn(endpoints->logger, "rejecting HTTP request to prevent DNS rebinding attacks",
             LOG_BYTES("host", host));
    http_error(exchange, 421, buf_string(&text));
    buf_deinit(&text);
    return true;
}

bool http_endpoints_allows_origin(const struct http_endpoints *endpoints, struct bytes origin)
{
    return is_listed(endpoints->cors, origin);
}

static void allow_origin(struct http_exchange *exchange)
{
    const char *cors = endpoints_of(exchange)->cors;
    struct bytes origin = BYTES_EMPTY;
    bool has_origin = http_request_header(exchange, "origin", &origin);
    bool all = strcmp(cors, "*") == 0;
    if (!all && !(has_origin && http_endpoints_allows_origin(endpoints_of(exchange), origin))) return;
    struct buf text = {0};
    buf_append_bytes(&text, all ? BYTES_LITERAL("*") : origin);
    http_add_header(exchange, "Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
    http_add_header(exchange, "Access-Control-Allow-Origin", buf_string(&text));
    http_add_header(exchange, "Access-Control-Allow-Headers", "accept, content-type, authorization");
    buf_deinit(&text);
}

static bool before_client(struct http_exchange *exchange)
{
    if (refuse_host(exchange)) return false;
    allow_origin(exchange);
    if (!http_method_is(exchange, "OPTIONS")) return true;
    http_respond(exchange, 200, NULL, BYTES_EMPTY);
    return false;
}

/* ---- routes ---- */

static const struct http_handler version_handler = {.on_end = serve_version};
static const struct http_handler metrics_handler = {.on_end = serve_metrics};
static const struct http_handler variables_handler = {.on_end = serve_variables};

enum { METRICS_ROUTES = 6 };

/* Metrics ports have the first ones. */
static const struct http_route routes[] = {
    {.path = "/health", .handler = &health_handler},
    {.path = "/livez", .handler = &livez_handler},
    {.path = "/livez/", .prefix = true, .handler = &livez_handler},
    {.path = "/readyz", .handler = &readyz_handler},
    {.path = "/readyz/", .prefix = true, .handler = &readyz_handler},
    {.path = "/metrics", .handler = &metrics_handler},
    {.path = "/version", .handler = &version_handler},
    {.path = "/debug/vars", .handler = &variables_handler},
    {.path = "/debug/pprof/", .prefix = true, .handler = &profiles_handler},
    {.path = "/v3/", .prefix = true, .handler = &gateway_handler},
    {.path = "/v3beta/", .prefix = true, .handler = &gateway_handler},
};

void http_endpoints_client_router(struct http_router *router, struct http_endpoints *endpoints)
{
    *router = (struct http_router){
        .routes = routes,
        .route_count = sizeof(routes) / sizeof(routes[0]),
        .context = endpoints,
        .before = before_client,
    };
}

void http_endpoints_metrics_router(struct http_router *router, struct http_endpoints *endpoints)
{
    *router = (struct http_router){
        .routes = routes,
        .route_count = METRICS_ROUTES,
        .context = endpoints,
    };
}
