#include "server/http_endpoints.h"

#include "server/rpc.h"

#include <stdlib.h>

#include "rpc.pb-c.h"

static struct http_endpoints *endpoints_of(const struct http_exchange *exchange)
{
    return http_request(exchange)->context;
}

static bool only_get(struct http_exchange *exchange)
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
    if (!only_get(exchange)) return;
    http_endpoints_version(&body, endpoints_of(exchange));
    http_respond(exchange, 200, "application/json", buf_bytes(&body));
    buf_deinit(&body);
}

/* ---- /health: alarms, then the leader, then a read ---- */

struct health_check {
    struct rpc rpc;
    Etcdserverpb__RangeRequest range;
};

static void answer_health(struct http_exchange *exchange, const char *reason)
{
    struct http_endpoints *endpoints = endpoints_of(exchange);
    struct buf body = {0};
    bool healthy = *reason == '\0';
    buf_printf(&body, "{\"health\":\"%s\",\"reason\":\"%s\"}%s", healthy ? "true" : "false", reason,
               healthy ? "" : "\n");
    metric_add(healthy ? &endpoints->metrics->health_success : &endpoints->metrics->health_failures, 1);
    if (!healthy)
        log_warn(endpoints->logger, "/health error", LOG_BYTES("output", buf_bytes(&body)),
                 LOG_INT("status-code", 503));
    http_respond(exchange, healthy ? 200 : 503, "text/plain; charset=utf-8", buf_bytes(&body));
    buf_deinit(&body);
}

static void health_read_done(struct rpc *rpc)
{
    struct http_exchange *exchange = rpc->context;
    struct buf reason = {0};
    if (rpc->request.error != API_OK || rpc->request.error_text != NULL)
        buf_printf(&reason, "RANGE ERROR:%s", rpc_text(&rpc->request));
    blob_unref(rpc->request.response);
    answer_health(exchange, buf_string(&reason));
    buf_deinit(&reason);
    free(rpc);
    http_exchange_unref(exchange);
}

static bool is_excluded(struct http_exchange *exchange, const char *alarm)
{
    struct bytes value;
    for (size_t nth = 0; http_query(exchange, "exclude", nth, &value); nth++)
        if (bytes_equal(value, bytes_from_string(alarm))) return true;
    return false;
}

static void serve_health(struct http_exchange *exchange)
{
    struct http_endpoints *endpoints = endpoints_of(exchange);
    struct node_metrics *node = engine_node_metrics(endpoints->engine);
    struct bytes value;
    if (!only_get(exchange)) return;
    bool serializable =
        http_query(exchange, "serializable", 0, &value) && bytes_equal(value, BYTES_LITERAL("true"));
    if (metric_gauge_read(&node->alarm_nospace) != 0 && !is_excluded(exchange, "NOSPACE")) {
        answer_health(exchange, "ALARM NOSPACE");
        return;
    }
    if (metric_gauge_read(&node->alarm_corrupt) != 0 && !is_excluded(exchange, "CORRUPT")) {
        answer_health(exchange, "ALARM CORRUPT");
        return;
    }
    if (!serializable && metric_gauge_read(&node->has_leader) == 0) {
        answer_health(exchange, "RAFT NO LEADER");
        return;
    }
    struct health_check *check = mem_zalloc(1, sizeof(*check));
    etcdserverpb__range_request__init(&check->range);
    check->range.key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) ""};
    check->range.limit = 1;
    check->range.keys_only = 1;
    check->range.serializable = serializable;
    check->rpc.request.operation = NODE_RANGE;
    check->rpc.request.message = &check->range;
    check->rpc.request.internal = true;
    check->rpc.loop = http_exchange_loop(exchange);
    check->rpc.done = health_read_done;
    check->rpc.context = http_exchange_ref(exchange);
    rpc_start(&check->rpc, endpoints->engine);
}

/* ---- /metrics ---- */

static void serve_metrics(struct http_exchange *exchange)
{
    struct buf body = {0};
    metrics_write(&body, endpoints_of(exchange)->metrics);
    http_respond(exchange, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
                 buf_bytes(&body));
    buf_deinit(&body);
}

static const struct http_handler version_handler = {.on_end = serve_version};
static const struct http_handler health_handler = {.on_end = serve_health};
static const struct http_handler metrics_handler = {.on_end = serve_metrics};

/* Metrics ports have what stands before /version. */
static const struct http_route routes[] = {
    {.path = "/health", .handler = &health_handler},
    {.path = "/metrics", .handler = &metrics_handler},
    {.path = "/version", .handler = &version_handler},
};

void http_endpoints_client_router(struct http_router *router, struct http_endpoints *endpoints)
{
    *router = (struct http_router){.routes = routes, .route_count = 3, .context = endpoints};
}

void http_endpoints_metrics_router(struct http_router *router, struct http_endpoints *endpoints)
{
    *router = (struct http_router){.routes = routes, .route_count = 2, .context = endpoints};
}
