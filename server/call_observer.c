#include "server/call_observer.h"

#include "api/describe.h"
#include "api/message.h"
#include "base/memory.h"
#include "server/metrics_text.h"
#include "server/rpc.h"
#include "server/service.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

/* Clients' versions are text that they choose: so many are told apart, further ones count as unknown. */
enum { VERSIONS_MAX = 32, VERSION_SIZE = 32, METHODS_MAX = 64, BOUNDS = 11, LABELS_MAX = 320 };

/* Prometheus' default buckets, in seconds. */
static const double bounds[BOUNDS] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

struct client_version {
    char text[VERSION_SIZE];
    metric_counter unary, stream;
};

struct durations {
    metric_counter counts[BOUNDS + 1];
    metric_counter sum; /* nanoseconds */
};

struct call_observer {
    struct call_observer_config config;
    struct client_version versions[VERSIONS_MAX]; /* [0]: unknown */
    atomic_size_t version_count;                  /* those below are complete and do not change */
    pthread_mutex_t adding;
    struct durations durations[METHODS_MAX];
};

struct call_observer *call_observer_new(const struct call_observer_config *config)
{
    struct call_observer *observer = mem_zalloc(1, sizeof(*observer));
    assert(config->method_count <= METHODS_MAX);
    observer->config = *config;
    snprintf(observer->versions[0].text, VERSION_SIZE, "unknown");
    atomic_store(&observer->version_count, 1);
    pthread_mutex_init(&observer->adding, NULL);
    return observer;
}

void call_observer_free(struct call_observer *observer)
{
    if (observer == NULL) return;
    pthread_mutex_destroy(&observer->adding);
    free(observer);
}

/* ---- clients' versions ---- */

/* Text that may stand in a label as it is. */
static bool is_version_text(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\') return false;
    }
    return text.size > 0 && text.size < VERSION_SIZE;
}

static struct client_version *find_version(struct call_observer *observer, struct bytes text)
{
    size_t count = atomic_load_explicit(&observer->version_count, memory_order_acquire);
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(text, bytes_from_string(observer->versions[i].text))) return &observer->versions[i];
    return NULL;
}

static struct client_version *add_version(struct call_observer *observer, struct bytes text)
{
    pthread_mutex_lock(&observer->adding);
    struct client_version *version = find_version(observer, text);
    size_t count = atomic_load(&observer->version_count);
    if (version == NULL && count < VERSIONS_MAX) {
        version = &observer->versions[count];
        memcpy(version->text, text.data, text.size);
        atomic_store_explicit(&observer->version_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&observer->adding);
    return version == NULL ? &observer->versions[0] : version;
}

void call_observer_begin(struct call_observer *observer, const struct grpc_call *call)
{
    struct bytes text;
    struct client_version *version = &observer->versions[0];
    if (grpc_call_metadata(call, "client-api-version", &text) && is_version_text(text)) {
        version = find_version(observer, text);
        if (version == NULL) version = add_version(observer, text);
    }
    bool is_unary = grpc_call_method(call)->kind == GRPC_UNARY;
    metric_add(is_unary ? &version->unary : &version->stream, 1);
}

/* ---- slow calls ---- */

/* etcd's numbers about a call; -1 for methods that it does not look into. */
struct call_stats {
    int64_t request_count, request_size, response_count, response_size;
    struct buf content;
};

/* Deleted keys or the branch taken, out of the response, which is small compared with what it took. */
static void read_response(struct call_stats *stats, const struct rpc *rpc)
{
    const Etcdserverpb__TxnRequest *txn = rpc->request.message;
    struct arena *arena = arena_new();
    struct bytes bytes = blob_bytes(rpc->request.response);
    if (rpc->request.operation == NODE_DELETE_RANGE) {
        const Etcdserverpb__DeleteRangeResponse *response =
            (void *)message_unpack(&etcdserverpb__delete_range_response__descriptor, bytes, arena, NULL);
        if (response != NULL) stats->response_count = response->deleted;
    } else if (rpc->request.operation == NODE_TXN) {
        const Etcdserverpb__TxnResponse *response =
            (void *)message_unpack(&etcdserverpb__txn_response__descriptor, bytes, arena, NULL);
        if (response != NULL)
            stats->request_count = (int64_t)(response->succeeded ? txn->n_success : txn->n_failure);
    }
    arena_free(arena);
}

static void gather(struct call_stats *stats, struct grpc_call *call)
{
    const struct rpc *rpc = grpc_call_context(call);
    *stats = (struct call_stats){-1, -1, -1, -1, {0}};
    if (grpc_call_method(call)->on_message != service_unary_message || rpc == NULL) return;
    if (rpc->request.operation > NODE_TXN) return;
    stats->request_count = rpc->request.operation == NODE_PUT;
    stats->request_size = (int64_t)rpc->request.raw.size;
    stats->response_count = stats->response_size = 0;
    message_describe(&stats->content, rpc->request.message);
    if (!rpc->delivered || rpc->request.response == NULL) return;
    stats->response_size = (int64_t)(rpc->request.response->size + rpc->request.response_rest.size);
    stats->response_count = (int64_t)rpc->request.response_count;
    read_response(stats, rpc);
}

static void log_stats(struct call_observer *observer, struct grpc_call *call, int64_t took,
                      enum log_level level)
{
    struct call_stats stats;
    struct buf type = {0};
    const struct grpc_method *method = grpc_call_method(call);
    gather(&stats, call);
    buf_printf(&type, "/%s/%s", method->service, method->name);
    LOG_AT(observer->config.logger, level, "request stats", LOG_TIME("start time", clock_wall() - took),
           LOG_DURATION("time spent", took), LOG_STRING("remote", grpc_call_peer(call)),
           LOG_STRING("response type", buf_string(&type)), LOG_INT("request count", stats.request_count),
           LOG_INT("request size", stats.request_size), LOG_INT("response count", stats.response_count),
           LOG_INT("response size", stats.response_size),
           LOG_STRING("request content", buf_string(&stats.content)));
    buf_deinit(&type);
    buf_deinit(&stats.content);
}

static void count_duration(struct durations *durations, int64_t took)
{
    size_t i = 0;
    while (i < BOUNDS && (double)took > bounds[i] * 1e9) i++;
    metric_add(&durations->counts[i], 1);
    metric_add(&durations->sum, took > 0 ? (uint64_t)took : 0);
}

void call_observer_end(struct call_observer *observer, struct grpc_call *call)
{
    const struct call_observer_config *config = &observer->config;
    bool is_unary = grpc_call_method(call)->kind == GRPC_UNARY;
    bool is_debug = log_wants(config->logger, LOG_DEBUG);
    int64_t took = clock_monotonic() - grpc_call_started(call);
    if (config->extensive) count_duration(&observer->durations[grpc_call_method_index(call)], took);
    if (is_unary && (took > config->slow || is_debug))
        log_stats(observer, call, took, took > config->slow ? LOG_WARN : LOG_DEBUG);
}

/* ---- metrics ---- */

static void write_versions(struct metrics_writer *writer, struct call_observer *observer)
{
    char labels[LABELS_MAX];
    size_t count = atomic_load_explicit(&observer->version_count, memory_order_acquire);
    metrics_begin(writer, "etcd_server_client_requests_total", "counter",
                  "The total number of client requests per client version.");
    for (size_t i = 0; i < count; i++) {
        struct client_version *version = &observer->versions[i];
        metric_counter *const counters[] = {&version->stream, &version->unary};
        static const char *const types[] = {"stream", "unary"};
        for (size_t type = 0; type < 2; type++) {
            if (metric_read(counters[type]) == 0) continue;
            snprintf(labels, sizeof(labels), "client_api_version=\"%s\",type=\"%s\"", version->text,
                     types[type]);
            metrics_sample(writer, labels, (double)metric_read(counters[type]));
        }
    }
}

static void write_durations(struct metrics_writer *writer, struct call_observer *observer)
{
    static const char *const kinds[] = {
        [GRPC_UNARY] = "unary", [GRPC_SERVER_STREAM] = "server_stream", [GRPC_BIDI] = "bidi_stream"};
    char labels[LABELS_MAX];
    metrics_begin(writer, "grpc_server_handling_seconds", "histogram",
                  "Histogram of response latency (seconds) of gRPC that had been application-level handled "
                  "by the server.");
    for (size_t m = 0; m < observer->config.method_count; m++) {
        const struct grpc_method *method = observer->config.methods[m];
        struct durations *durations = &observer->durations[m];
        uint64_t counts[BOUNDS + 1];
        for (size_t i = 0; i <= BOUNDS; i++) counts[i] = metric_read(&durations->counts[i]);
        snprintf(labels, sizeof(labels), "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
                 method->name, method->service, kinds[method->kind]);
        metrics_buckets(writer, labels, bounds, counts, BOUNDS, (double)metric_read(&durations->sum) / 1e9);
    }
}

void call_observer_metrics(struct metrics_writer *writer, struct call_observer *observer)
{
    write_versions(writer, observer);
    if (observer->config.extensive) write_durations(writer, observer);
}
