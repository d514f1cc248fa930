/* What took long: durations of what the node applies and serves, measured with the caller's clock, which
 * decides nothing. Without one (in the simulator) nothing is measured. */
#include "node/node_internal.h"

#include "api/describe.h"
#include "api/errors.h"

uint64_t node_clock(const struct node *node)
{
    return node->config.now == NULL ? 0 : node->config.now(node->config.now_context);
}

static void warn(struct node *node, const struct node_observation *observation, uint64_t took)
{
    struct buf request = {0}, response = {0};
    bool failed = observation->status != API_OK;
    if (observation->field_name != NULL)
        buf_printf(&request, "header:<ID:%llu > %s:<", (unsigned long long)observation->id,
                   observation->field_name);
    if (observation->message != NULL) message_describe(&request, observation->message);
    if (observation->field_name != NULL)
        buf_append_string(&request, request.data[request.size - 1] == '<' ? ">" : " >");
    if (observation->counts_keys)
        buf_printf(&response, "range_response_count:%llu ", (unsigned long long)observation->response_count);
    buf_printf(&response, "size:%zu", observation->response_size);
    log_warn(node->logger, "apply request took too long", LOG_DURATION("took", took),
             LOG_DURATION("expected-duration", node->config.slow_apply),
             LOG_STRING("prefix", observation->prefix), LOG_STRING("request", buf_string(&request)),
             LOG_STRING("response", buf_string(&response)),
             failed ? LOG_STRING("error", api_error_text(observation->status))
                    : (struct log_field){.kind = LOG_FIELD_ABSENT});
    buf_deinit(&request);
    buf_deinit(&response);
}

void node_observe(struct node *node, const struct node_observation *observation)
{
    if (node->config.now == NULL) return;
    uint64_t now = node_clock(node);
    uint64_t took = now > observation->began ? now - observation->began : 0;
    if (observation->histogram != NULL) metric_observe(observation->histogram, took);
    if (observation->request != NULL && node_is_traced(observation->request->submitted_at, now))
        node_trace_observation(node, observation, now);
    if (node->config.slow_apply <= 0 || took <= (uint64_t)node->config.slow_apply) return;
    metric_add(&node->metrics.slow_applies, 1);
    warn(node, observation, took);
}

void node_observe_heartbeat(struct node *node, uint64_t to)
{
    struct node_member_version *peer = node_know_peer(node, to);
    int64_t most = 2 * node->config.tick;
    if (peer == NULL) return;
    bool leads_since_then = peer->heartbeat_at > node->leader_since;
    int64_t took = node->now - peer->heartbeat_at;
    peer->heartbeat_at = node->now;
    if (!leads_since_then || took <= most) return;
    metric_add(&node->metrics.heartbeat_send_failures, 1);
    log_warn(node->logger,
             "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from "
             "slow disk",
             LOG_HEX("to", to), LOG_DURATION("heartbeat-interval", node->config.tick),
             LOG_DURATION("expected-duration", most), LOG_DURATION("exceeded-duration", took - most));
}

/* etcd's buckets, in nanoseconds. */
void node_init_histograms(struct node_metrics *metrics)
{
    const struct metric_histogram fine = METRIC_HISTOGRAM(100000, 20),
                                  coarse = METRIC_HISTOGRAM(10000000, 15);
    for (size_t i = 0; i < NODE_APPLY_KINDS; i++)
        for (size_t success = 0; success < 2; success++) metrics->apply[i][success] = fine;
    for (size_t success = 0; success < 2; success++) metrics->range[success] = fine;
    metrics->hash = metrics->hash_revision = coarse;
    metrics->lease_ttl = (struct metric_histogram)METRIC_HISTOGRAM(1000000000, 24);
    metrics->compaction_pause = (struct metric_histogram)METRIC_HISTOGRAM(1000000, 13);
    metrics->compaction_total = (struct metric_histogram)METRIC_HISTOGRAM(100000000, 14);
}
