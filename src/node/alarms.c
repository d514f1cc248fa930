/* The alarms: rows of the bucket `alarm`, each the encoding of an AlarmMember, kept in memory as well because
 * every write looks at them. */
#include "node/node_internal.h"

#include "api/message.h"
#include "base/wire.h"

static void encode_row(const struct alarm *alarm, struct buf *row)
{
    wire_uint_field_nonzero(row, 1, alarm->member_id);
    wire_uint_field_nonzero(row, 2, (uint64_t)alarm->type);
}

struct loading {
    struct node_state *state;
    struct arena *arena;
    const struct logger *logger;
};

static bool load_row(void *context, struct bytes key, struct bytes value)
{
    struct loading *loading = context;
    struct node_state *state = loading->state;
    (void)value;
    Etcdserverpb__AlarmMember *row =
        (void *)message_unpack(&etcdserverpb__alarm_member__descriptor, key, loading->arena, NULL);
    if (row == NULL || state->alarm_count == NODE_ALARMS_MAX) {
        log_warn(loading->logger, "ignored an alarm row that cannot be understood", LOG_BYTES("row", key));
        return true;
    }
    state->alarms[state->alarm_count++] = (struct alarm){.member_id = row->memberid, .type = (int)row->alarm};
    return true;
}

struct error *node_alarms_recover(struct backend *backend, const struct logger *logger,
                                  struct node_state *state)
{
    struct loading loading = {.state = state, .arena = arena_new(), .logger = logger};
    state->alarm_count = 0;
    struct error *error = backend_scan(backend, BUCKET_ALARM, BYTES_EMPTY, BYTES_EMPTY, load_row, &loading);
    arena_free(loading.arena);
    return error;
}

static size_t find(const struct node *node, uint64_t member_id, int type)
{
    size_t i = 0;
    while (i < node->alarm_count && (node->alarms[i].member_id != member_id || node->alarms[i].type != type))
        i++;
    return i;
}

static void respond(struct buf *response, const struct alarm *alarm)
{
    if (response == NULL) return;
    size_t mark = wire_message_begin(response, 2);
    encode_row(alarm, response);
    wire_message_end(response, mark);
}

static void activate(struct node *node, const struct alarm *alarm, struct buf *response)
{
    if (alarm->type == ETCDSERVERPB__ALARM_TYPE__NONE) return;
    respond(response, alarm);
    if (find(node, alarm->member_id, alarm->type) < node->alarm_count || node->alarm_count == NODE_ALARMS_MAX)
        return;
    struct buf row = {0};
    encode_row(alarm, &row);
    backend_put(node->backend, BUCKET_ALARM, buf_bytes(&row), BYTES_EMPTY);
    buf_deinit(&row);
    node->alarms[node->alarm_count++] = *alarm;
    log_warn(node->logger, "alarm raised",
             LOG_STRING("alarm", alarm->type == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE" : "CORRUPT"),
             LOG_HEX("from", alarm->member_id));
}

static void deactivate(struct node *node, const struct alarm *alarm, struct buf *response)
{
    size_t position = find(node, alarm->member_id, alarm->type);
    if (position == node->alarm_count) return;
    respond(response, alarm);
    struct buf row = {0};
    encode_row(alarm, &row);
    backend_delete(node->backend, BUCKET_ALARM, buf_bytes(&row));
    buf_deinit(&row);
    node->alarm_count--;
    memmove(node->alarms + position, node->alarms + position + 1,
            (node->alarm_count - position) * sizeof(node->alarms[0]));
    log_info(node->logger, "alarm disarmed",
             LOG_STRING("alarm", alarm->type == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE" : "CORRUPT"),
             LOG_HEX("from", alarm->member_id));
}

void node_alarm_apply(struct node *node, const Etcdserverpb__AlarmRequest *request, struct buf *response)
{
    struct alarm alarm = {.member_id = request->memberid, .type = (int)request->alarm};
    switch (request->action) {
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET:
        for (size_t i = 0; i < node->alarm_count; i++)
            if (alarm.type == ETCDSERVERPB__ALARM_TYPE__NONE || node->alarms[i].type == alarm.type)
                respond(response, &node->alarms[i]);
        break;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE:
        activate(node, &alarm, response);
        break;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE:
        deactivate(node, &alarm, response);
        break;
    default:
        break; /* an unknown action does nothing and answers with an empty list */
    }
}

uint64_t node_alarm_raise(struct node *node, int type)
{
    struct buf request = {0}; /* not node->scratch: a response may be under way in it */
    wire_uint_field(&request, 1, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE);
    wire_uint_field(&request, 2, node->config.member_id);
    wire_uint_field(&request, 3, (uint64_t)type);
    uint64_t id = node_propose_internal(node, NODE_FIELD_ALARM, buf_bytes(&request));
    buf_deinit(&request);
    return id;
}

uint64_t node_alarm_no_space(struct node *node)
{
    log_warn(node->logger, "message exceeded backend quota; raising alarm",
             LOG_UINT("quota-size-bytes", node->config.limits.quota_bytes),
             LOG_SIZE("quota-size", node->config.limits.quota_bytes),
             LOG_STRING("error", api_error_text(API_ERROR_NO_SPACE)));
    return node_alarm_raise(node, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
}

void node_show_alarms(struct node *node)
{
    int64_t counts[2] = {0};
    for (size_t i = 0; i < node->alarm_count; i++) {
        const struct alarm *alarm = &node->alarms[i];
        size_t type = alarm->type == ETCDSERVERPB__ALARM_TYPE__CORRUPT;
        if (counts[type] == NODE_ALARMS_SHOWN) continue;
        atomic_store_explicit(&node->metrics.alarm_members[type][counts[type]++], alarm->member_id,
                              memory_order_relaxed);
    }
    metric_set(&node->metrics.alarm_nospace, counts[0]);
    metric_set(&node->metrics.alarm_corrupt, counts[1]);
}
