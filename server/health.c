#include "server/health.h"

#include "base/memory.h"
#include "server/http_endpoints.h"
#include "server/rpc.h"

#include <assert.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

#define TEXT_PLAIN "text/plain; charset=utf-8"

const char *const health_check_names[HEALTH_CHECKS] = {
    [HEALTH_DATA_CORRUPTION] = "data_corruption",
    [HEALTH_SERIALIZABLE_READ] = "serializable_read",
    [HEALTH_LINEARIZABLE_READ] = "linearizable_read",
    [HEALTH_NON_LEARNER] = "non_learner",
};

static struct http_endpoints *endpoints_of(const struct http_exchange *exchange)
{
    return http_request(exchange)->context;
}

static struct node_metrics *node_of(const struct http_exchange *exchange)
{
    return engine_node_metrics(endpoints_of(exchange)->engine);
}

static bool is_excluded(struct http_exchange *exchange, const char *name)
{
    struct bytes value;
    for (size_t nth = 0; http_query(exchange, "exclude", nth, &value); nth++)
        if (bytes_equal(value, bytes_from_string(name))) return true;
    return false;
}

/* ---- a read through the node, of one key ---- */

struct health_read {
    struct rpc rpc;
    Etcdserverpb__RangeRequest range;
    /* reason: "" or what went wrong. The read is freed by its reader. */
    void (*done)(struct health_read *read, const char *reason);
    void *context;
};

static void read_done(struct rpc *rpc)
{
    struct health_read *read = rpc->context;
    bool failed = rpc->request.error != API_OK || rpc->request.error_text != NULL;
    blob_unref(rpc->request.response);
    read->done(read, failed ? rpc_text(&rpc->request) : "");
    free(read);
}

static void start_read(struct http_exchange *exchange, bool serializable,
                       void (*done)(struct health_read *read, const char *reason), void *context)
{
    struct health_read *read = mem_zalloc(1, sizeof(*read));
    etcdserverpb__range_request__init(&read->range);
    read->range.key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) ""};
    read->range.limit = 1;
    read->range.keys_only = 1;
    read->range.serializable = serializable;
    read->rpc.request.operation = NODE_RANGE;
    read->rpc.request.message = &read->range;
    read->rpc.request.internal = true;
    read->rpc.loop = http_exchange_loop(exchange);
    read->rpc.done = read_done;
    read->rpc.context = read;
    read->done = done;
    read->context = context;
    rpc_start(&read->rpc, endpoints_of(exchange)->engine);
}

/* ---- /health ---- */

static void answer_health(struct http_exchange *exchange, const char *reason)
{
    struct http_endpoints *endpoints = endpoints_of(exchange);
    struct health_metrics *metrics = &endpoints->metrics->health;
    struct buf body = {0};
    bool healthy = *reason == '\0';
    buf_printf(&body, "{\"health\":\"%s\",\"reason\":\"%s\"}%s", healthy ? "true" : "false", reason,
               healthy ? "" : "\n");
    metric_add(healthy ? &metrics->success : &metrics->failures, 1);
    if (!healthy) {
        http_add_header(exchange, "X-Content-Type-Options", "nosniff");
        log_warn(endpoints->logger, "/health error", LOG_BYTES("output", bytes_of(body.data, body.size - 1)),
                 LOG_INT("status-code", 503));
    }
    http_respond(exchange, healthy ? 200 : 503, TEXT_PLAIN, buf_bytes(&body));
    buf_deinit(&body);
}

static void health_read(struct health_read *read, const char *reason)
{
    struct http_exchange *exchange = read->context;
    struct buf text = {0};
    if (*reason != '\0') {
        buf_printf(&text, "RANGE ERROR:%s", reason);
        log_warn(endpoints_of(exchange)->logger, "serving /health false; Range fails",
                 LOG_STRING("error", reason));
    }
    answer_health(exchange, buf_string(&text));
    buf_deinit(&text);
    http_exchange_unref(exchange);
}

static const char *alarm_of(struct http_exchange *exchange)
{
    struct node_metrics *node = node_of(exchange);
    if (metric_gauge_read(&node->alarm_nospace) != 0 && !is_excluded(exchange, "NOSPACE"))
        return "ALARM NOSPACE";
    if (metric_gauge_read(&node->alarm_corrupt) != 0 && !is_excluded(exchange, "CORRUPT"))
        return "ALARM CORRUPT";
    return NULL;
}

static void serve_health(struct http_exchange *exchange)
{
    const struct logger *logger = endpoints_of(exchange)->logger;
    struct bytes value;
    if (!http_endpoints_only_get(exchange)) return;
    bool serializable =
        http_query(exchange, "serializable", 0, &value) && bytes_equal(value, BYTES_LITERAL("true"));
    const char *alarm = alarm_of(exchange);
    if (alarm != NULL) {
        log_warn(logger, "serving /health false due to an alarm", LOG_STRING("alarm", alarm));
        answer_health(exchange, alarm);
    } else if (!serializable && metric_gauge_read(&node_of(exchange)->has_leader) == 0) {
        log_warn(logger, "serving /health false; no leader");
        answer_health(exchange, "RAFT NO LEADER");
    } else {
        start_read(exchange, serializable, health_read, http_exchange_ref(exchange));
    }
}

/* ---- /livez and /readyz ---- */

/* Checks of one request, run one after the other. */
struct probe {
    struct http_exchange *exchange;
    enum health_kind kind;
    bool wanted[HEALTH_CHECKS];
    unsigned at; /* the check that runs */
    bool failed;
    struct buf report;
};

static const bool checks_of[HEALTH_KINDS][HEALTH_CHECKS] = {
    [HEALTH_LIVEZ] = {[HEALTH_SERIALIZABLE_READ] = true},
    [HEALTH_READYZ] = {true, true, true, true},
};

static void answer_probe(struct probe *probe)
{
    struct http_exchange *exchange = probe->exchange;
    struct bytes value;
    if (probe->failed) {
        buf_append_byte(&probe->report, '\n');
        log_warn(endpoints_of(exchange)->logger, "Health check error",
                 LOG_STRING("path", probe->kind == HEALTH_LIVEZ ? "/livez" : "/readyz"),
                 LOG_BYTES("reason", buf_bytes(&probe->report)));
    } else if (!http_query(exchange, "verbose", 0, &value)) {
        buf_clear(&probe->report);
    }
    if (!probe->failed) buf_append_string(&probe->report, "ok\n");
    http_add_header(exchange, "X-Content-Type-Options", "nosniff");
    http_respond(exchange, probe->failed ? 503 : 200, TEXT_PLAIN, buf_bytes(&probe->report));
    buf_deinit(&probe->report);
    http_exchange_unref(exchange);
    free(probe);
}

static void note_result(struct probe *probe, const char *reason)
{
    struct health_metrics *metrics = &endpoints_of(probe->exchange)->metrics->health;
    const char *name = health_check_names[probe->at];
    bool ok = *reason == '\0';
    if (ok)
        buf_printf(&probe->report, "[+]%s ok\n", name);
    else
        buf_printf(&probe->report, "[-]%s failed: %s\n", name, reason);
    metric_add(&metrics->checks[probe->kind][probe->at][ok], 1);
    metric_set(&metrics->latest[probe->kind][probe->at], ok);
    probe->failed = probe->failed || !ok;
}

static void run_probe(struct probe *probe);

static void probe_read(struct health_read *read, const char *reason)
{
    struct probe *probe = read->context;
    note_result(probe, reason);
    probe->at++;
    run_probe(probe);
}

static void run_probe(struct probe *probe)
{
    struct node_metrics *node = node_of(probe->exchange);
    for (; probe->at < HEALTH_CHECKS; probe->at++) {
        if (!probe->wanted[probe->at]) continue;
        switch ((enum health_check)probe->at) {
        case HEALTH_DATA_CORRUPTION:
            note_result(probe,
                        metric_gauge_read(&node->alarm_corrupt) != 0 ? "alarm activated: CORRUPT" : "");
            break;
        case HEALTH_NON_LEARNER:
            note_result(probe, metric_gauge_read(&node->is_learner) != 0 ? "not supported for learner" : "");
            break;
        default:
            start_read(probe->exchange, probe->at == HEALTH_SERIALIZABLE_READ, probe_read, probe);
            return;
        }
    }
    answer_probe(probe);
}

/* "/readyz/NAME" runs that one; NULL for "/readyz". */
static const char *one_check(const struct http_exchange *exchange, enum health_kind kind, bool *known)
{
    struct bytes path = http_request(exchange)->path;
    size_t prefix = strlen(kind == HEALTH_LIVEZ ? "/livez" : "/readyz") + 1;
    *known = true;
    if (path.size <= prefix) return NULL;
    struct bytes name = bytes_of(path.data + prefix, path.size - prefix);
    for (size_t i = 0; i < HEALTH_CHECKS; i++)
        if (checks_of[kind][i] && bytes_equal(name, bytes_from_string(health_check_names[i])))
            return health_check_names[i];
    *known = false;
    return NULL;
}

static void warn_of_unknown_exclusions(struct http_exchange *exchange, enum health_kind kind)
{
    struct bytes value;
    for (size_t nth = 0; http_query(exchange, "exclude", nth, &value); nth++) {
        bool known = false;
        for (size_t i = 0; i < HEALTH_CHECKS; i++)
            known =
                known || (checks_of[kind][i] && bytes_equal(value, bytes_from_string(health_check_names[i])));
        if (!known)
            log_warn(endpoints_of(exchange)->logger, "some health checks cannot be excluded",
                     LOG_BYTES("missing-health-checks", value));
    }
}

static void serve_probe(struct http_exchange *exchange, enum health_kind kind)
{
    bool known;
    if (!http_endpoints_only_get(exchange)) return;
    const char *one = one_check(exchange, kind, &known);
    if (!known) {
        http_error(exchange, 404, "404 page not found");
        return;
    }
    struct probe *probe = mem_zalloc(1, sizeof(*probe));
    probe->exchange = http_exchange_ref(exchange);
    probe->kind = kind;
    if (one == NULL) warn_of_unknown_exclusions(exchange, kind);
    for (size_t i = 0; i < HEALTH_CHECKS; i++)
        probe->wanted[i] = one != NULL ? strcmp(one, health_check_names[i]) == 0
                                       : checks_of[kind][i] && !is_excluded(exchange, health_check_names[i]);
    run_probe(probe);
}

static void serve_livez(struct http_exchange *exchange)
{
    serve_probe(exchange, HEALTH_LIVEZ);
}

static void serve_readyz(struct http_exchange *exchange)
{
    serve_probe(exchange, HEALTH_READYZ);
}

const struct http_handler health_handler = {.on_end = serve_health};
const struct http_handler livez_handler = {.on_end = serve_livez};
const struct http_handler readyz_handler = {.on_end = serve_readyz};
