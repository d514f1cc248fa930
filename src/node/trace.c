/* etcd's trace lines: where the time went of a request that took long, from its arrival on. Nothing is
 * measured for them but what requests and the durations of observe.c have anyway; a request that is fast
 * enough costs one comparison.
 *
 *     msg    trace[N] range
 *     detail {range_begin:a; range_end:b; response_count:1; response_revision:2; }
 *     steps  trace[N] 'range keys from bolt db'  (duration: 120ms)
 *
 * N ties lines and steps together. Steps have etcd's names where it has the same step; short ones are left
 * out, as there. */
#include "node/node_internal.h"

#include "base/memory.h"
#include "base/text.h"
#include "base/wire.h"

#include <stdlib.h>

#define AGREEMENT "agreement among raft nodes before linearized reading"
#define PROPOSAL  "process raft request"
#define FROM_BOLT "range keys from bolt db"

enum { STEPS_MAX = 3, TXN_RESPONSES_FIELD = 3, PUT_RESPONSE_FIELD = 2 };

struct trace {
    const char *operation;
    struct buf detail; /* without braces */
    uint64_t began, ended;
    struct {
        const char *name;
        uint64_t end;
    } steps[STEPS_MAX];
    size_t step_count;
};

static void add_step(struct trace *trace, const char *name, uint64_t end)
{
    trace->steps[trace->step_count].name = name;
    trace->steps[trace->step_count++].end = end;
}

static void detail_bytes(struct trace *trace, const char *key, ProtobufCBinaryData value)
{
    buf_printf(&trace->detail, "%s:", key);
    buf_append_bytes(&trace->detail, bytes_of(value.data, value.len));
    buf_append_string(&trace->detail, "; ");
}

static void detail_number(struct trace *trace, const char *key, int64_t value)
{
    buf_printf(&trace->detail, "%s:%lld; ", key, (long long)value);
}

static uint64_t since(uint64_t begin, uint64_t end)
{
    return end > begin ? end - begin : 0;
}

/* One text for each step that took its share. */
static size_t format_steps(const struct trace *trace, uint32_t number, struct buf texts[STEPS_MAX])
{
    uint64_t share = (uint64_t)NODE_TRACE_THRESHOLD / (trace->step_count + 1), last = trace->began;
    size_t count = 0;
    for (size_t i = 0; i < trace->step_count; i++) {
        uint64_t took = since(last, trace->steps[i].end);
        last = trace->steps[i].end;
        if (took <= share) continue;
        buf_printf(&texts[count], "trace[%u] '%s'  (duration: ", number, trace->steps[i].name);
        text_go_duration(&texts[count], (int64_t)took);
        buf_append_byte(&texts[count++], ')');
    }
    return count;
}

/* Frees what the trace holds. */
static void write_line(struct node *node, struct trace *trace)
{
    struct buf message = {0}, detail = {0}, texts[STEPS_MAX] = {{0}};
    const char *steps[STEPS_MAX];
    uint64_t took = since(trace->began, trace->ended);
    uint32_t number = (uint32_t)((trace->ended * UINT64_C(0x9e3779b97f4a7c15)) >> 33);
    /* The wall clock was read when this run began, by node_clock at node->now. */
    int64_t wall =
        (int64_t)node->wall_ms * NODE_MILLISECOND + (int64_t)since((uint64_t)node->now, trace->ended);
    size_t count = format_steps(trace, number, texts);
    for (size_t i = 0; i < count; i++) steps[i] = buf_string(&texts[i]);
    buf_printf(&message, "trace[%u] %s", number, trace->operation);
    buf_append_byte(&detail, '{');
    buf_append_bytes(&detail, buf_bytes(&trace->detail));
    buf_append_byte(&detail, '}');
    log_info(node->logger, buf_string(&message), LOG_BYTES("detail", buf_bytes(&detail)),
             LOG_DURATION("duration", took), LOG_TIME("start", wall - (int64_t)took), LOG_TIME("end", wall),
             LOG_STRINGS("steps", steps, count), LOG_UINT("step_count", count));
    for (size_t i = 0; i < count; i++) buf_deinit(&texts[i]);
    buf_deinit(&message);
    buf_deinit(&detail);
    buf_deinit(&trace->detail);
}

/* ---- what each kind of request tells ---- */

static void trace_range(const struct node_observation *observation, struct trace *trace)
{
    const struct node_request *request = observation->request;
    const Etcdserverpb__RangeRequest *range = request->message;
    trace->operation = "range";
    detail_bytes(trace, "range_begin", range->key);
    detail_bytes(trace, "range_end", range->range_end);
    if (!range->serializable) add_step(trace, AGREEMENT, observation->began);
    add_step(trace, FROM_BOLT, trace->ended);
    if (observation->status != API_OK) return;
    detail_number(trace, "response_count", (int64_t)request->response_count);
    detail_number(trace, "response_revision", request->node.revision);
}

static void trace_put(const struct node *node, const struct node_observation *observation,
                      struct trace *trace)
{
    const struct node_request *request = observation->request;
    trace->operation = "put";
    detail_bytes(trace, "key", ((const Etcdserverpb__PutRequest *)request->message)->key);
    detail_number(trace, "req_size", (int64_t)request->raw.size);
    detail_number(trace, "response_revision", mvcc_revision(node->store));
    add_step(trace, PROPOSAL, observation->began);
    add_step(trace, "store kv pair into bolt db", trace->ended);
}

static void trace_delete_range(const struct node *node, const struct node_observation *observation,
                               struct trace *trace)
{
    const Etcdserverpb__DeleteRangeRequest *range = observation->request->message;
    trace->operation = "delete_range";
    detail_bytes(trace, "key", range->key);
    detail_bytes(trace, "range_end", range->range_end);
    detail_number(trace, "response_revision", mvcc_revision(node->store));
    add_step(trace, PROPOSAL, observation->began);
    add_step(trace, "delete keys", trace->ended);
}

/* Of the response that node->scratch holds. */
static int64_t count_responses(const struct node *node, bool *has_put)
{
    struct wire_reader reader = wire_reader_of(buf_bytes(&node->scratch));
    struct wire_field field, inner;
    int64_t count = 0;
    *has_put = false;
    while (wire_next(&reader, &field)) {
        if (field.number != TXN_RESPONSES_FIELD || field.type != WIRE_LENGTH) continue;
        struct wire_reader operation = wire_reader_of(field.bytes);
        *has_put = *has_put || (wire_next(&operation, &inner) && inner.number == PUT_RESPONSE_FIELD);
        count++;
    }
    return count;
}

static void trace_txn(const struct node *node, const struct node_observation *observation,
                      struct trace *trace)
{
    const Etcdserverpb__TxnRequest *txn = observation->request->message;
    bool reads = kv_txn_is_read_only(txn);
    trace->operation = "transaction";
    buf_printf(&trace->detail, "read_only:%s; ", reads ? "true" : "false");
    if (!reads)
        add_step(trace, PROPOSAL, observation->began);
    else if (!kv_txn_is_serializable(txn))
        add_step(trace, AGREEMENT, observation->began);
    add_step(trace, reads ? FROM_BOLT : "store kv pair into bolt db", trace->ended);
    if (observation->status != API_OK) return;
    bool has_put;
    int64_t count = count_responses(node, &has_put);
    /* In etcd the first put inside brings the revision along. */
    if (has_put) detail_number(trace, "response_revision", mvcc_revision(node->store));
    detail_number(trace, "number_of_response", count);
    if (!has_put) detail_number(trace, "response_revision", mvcc_revision(node->store));
}

static void trace_compaction(const struct node *node, const struct node_request *request, struct trace *trace)
{
    trace->operation = "compact";
    detail_number(trace, "revision", ((const Etcdserverpb__CompactionRequest *)request->message)->revision);
    detail_number(trace, "response_revision", mvcc_revision(node->store));
}

/* ---- ends of requests ---- */

void node_trace_observation(struct node *node, const struct node_observation *observation, uint64_t now)
{
    const struct node_request *request = observation->request;
    struct trace trace = {.began = (uint64_t)request->submitted_at, .ended = now};
    bool reads = observation->field_name == NULL;
    if (observation->status != API_OK && !reads) return;  /* etcd tells of no write that failed */
    if (observation->message != request->message) return; /* it waited for the alarm that it caused */
    switch (request->operation) {
    case NODE_RANGE:
        trace_range(observation, &trace);
        break;
    case NODE_PUT:
        trace_put(node, observation, &trace);
        break;
    case NODE_DELETE_RANGE:
        trace_delete_range(node, observation, &trace);
        break;
    case NODE_TXN:
        trace_txn(node, observation, &trace);
        break;
    case NODE_COMPACT:
        if (((const Etcdserverpb__CompactionRequest *)request->message)->physical) return; /* goes on */
        trace_compaction(node, request, &trace);
        add_step(&trace, PROPOSAL, observation->began);
        add_step(&trace, "check and update compact revision", now);
        break;
    default:
        return;
    }
    write_line(node, &trace);
}

void node_trace_given_up(struct node *node, const struct node_request *request)
{
    uint64_t now = node_clock(node);
    bool reads = request->operation == NODE_RANGE ||
                 (request->operation == NODE_TXN && kv_txn_is_read_only(request->message));
    if (!reads || node->config.now == NULL || !node_is_traced(request->submitted_at, now)) return;
    node_trace_observation(node,
                           &(const struct node_observation){
                               .request = request,
                               .began = request->node.job != NULL ? request->node.began : now,
                               .message = request->message,
                               .status = API_ERROR_CANCELED,
                           },
                           now);
}

void node_trace_compaction(struct node *node, const struct node_request *request)
{
    uint64_t now = node_clock(node);
    if (request->error != API_OK) return;
    if (node->config.now == NULL || !node_is_traced(request->submitted_at, now)) return;
    struct trace trace = {.began = (uint64_t)request->submitted_at, .ended = now};
    trace_compaction(node, request, &trace);
    add_step(&trace, PROPOSAL, request->node.began);
    add_step(&trace, "physically apply compaction", now);
    write_line(node, &trace);
}

void node_trace_read_round(struct node *node)
{
    const struct node_read_round *round = &node->read_round;
    uint64_t now = node_clock(node);
    if (node->config.now == NULL) return;
    struct trace trace = {.operation = "linearizableReadLoop",
                          .began = (uint64_t)round->asked_at,
                          .ended = now};
    detail_number(&trace, "readStateIndex", (int64_t)round->index);
    detail_number(&trace, "appliedIndex", (int64_t)round->applied);
    add_step(&trace, "read index received", (uint64_t)round->confirmed_at);
    add_step(&trace, "applied index is now lower than readState.Index", now);
    write_line(node, &trace);
}
