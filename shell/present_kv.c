#include "shell/present_kv.h"

#include "api/json.h"

static void put_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__PutResponse *response = message;
    buf_append_string(target->out, "OK\n");
    if (response->prev_kv != NULL) print_kv_simple(target, response->prev_kv);
}

static void put_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__PutResponse *response = message;
    print_header_fields(target, response->header);
    if (response->prev_kv != NULL) print_kv_fields(target, "Prev", response->prev_kv);
}

const struct presentation present_put = {
    {put_simple, put_fields, print_message_json, print_message_protobuf, NULL},
};

static void get_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__RangeResponse *response = message;
    for (size_t i = 0; i < response->n_kvs; i++) print_kv_simple(target, response->kvs[i]);
}

static void get_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__RangeResponse *response = message;
    print_header_fields(target, response->header);
    for (size_t i = 0; i < response->n_kvs; i++) print_kv_fields(target, "", response->kvs[i]);
    print_field_bool(target, "More", response->more);
    print_field_int(target, "Count", response->count);
}

const struct presentation present_get = {
    {get_simple, get_fields, print_message_json, print_message_protobuf, NULL},
};

static void del_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__DeleteRangeResponse *response = message;
    buf_printf(target->out, "%lld\n", (long long)response->deleted);
    for (size_t i = 0; i < response->n_prev_kvs; i++) print_kv_simple(target, response->prev_kvs[i]);
}

static void del_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__DeleteRangeResponse *response = message;
    print_header_fields(target, response->header);
    print_field_int(target, "Deleted", response->deleted);
    for (size_t i = 0; i < response->n_prev_kvs; i++) print_kv_fields(target, "Prev", response->prev_kvs[i]);
}

const struct presentation present_del = {
    {del_simple, del_fields, print_message_json, print_message_protobuf, NULL},
};

/* ---- txn: each operation's answer in its own form ---- */

static void print_operation(struct print_target *target, const Etcdserverpb__ResponseOp *operation,
                            enum output_format format)
{
    switch (operation->response_case) {
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
        present_get.by_format[format](target, operation->response_range, NULL);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
        present_put.by_format[format](target, operation->response_put, NULL);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
        present_del.by_format[format](target, operation->response_delete_range, NULL);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
    default:
        break;
    }
}

static void txn_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__TxnResponse *response = message;
    buf_append_string(target->out, response->succeeded ? "SUCCESS\n" : "FAILURE\n");
    for (size_t i = 0; i < response->n_responses; i++) {
        buf_append_byte(target->out, '\n');
        print_operation(target, response->responses[i], OUTPUT_SIMPLE);
    }
}

static void txn_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__TxnResponse *response = message;
    print_header_fields(target, response->header);
    print_field_bool(target, "Succeeded", response->succeeded);
    for (size_t i = 0; i < response->n_responses; i++)
        print_operation(target, response->responses[i], OUTPUT_FIELDS);
}

const struct presentation present_txn = {
    {txn_simple, txn_fields, print_message_json, print_message_protobuf, NULL},
};

/* ---- watch ---- */

static const char *event_name(const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
}

static void watch_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__WatchResponse *response = message;
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        buf_printf(target->out, "%s\n", event_name(event));
        if (event->prev_kv != NULL) print_kv_simple(target, event->prev_kv);
        if (event->kv != NULL) print_kv_simple(target, event->kv);
    }
}

static void watch_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__WatchResponse *response = message;
    print_header_fields(target, response->header);
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        print_field_raw(target, "Type", event_name(event));
        if (event->prev_kv != NULL) print_kv_fields(target, "Prev", event->prev_kv);
        if (event->kv != NULL) print_kv_fields(target, "", event->kv);
    }
}

/* Go's client has a struct of its own here: other names, all members always there. */
static void watch_json(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__WatchResponse *response = message;
    struct buf *out = target->out;
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    buf_append_string(out, "{\"Header\":");
    json_write(out, response->header != NULL ? &response->header->base : &none.base, JSON_GO);
    buf_append_string(out, ",\"Events\":[");
    for (size_t i = 0; i < response->n_events; i++) {
        if (i > 0) buf_append_byte(out, ',');
        json_write(out, &response->events[i]->base, JSON_GO);
    }
    buf_printf(out, "],\"CompactRevision\":%lld,\"Canceled\":%s,\"Created\":%s}\n",
               (long long)response->compact_revision, response->canceled ? "true" : "false",
               response->created ? "true" : "false");
}

static void watch_protobuf(struct print_target *target, const void *message, const void *detail)
{
    Etcdserverpb__WatchResponse response = *(const Etcdserverpb__WatchResponse *)message;
    /* What the watch's stream needs is no part of what etcdctl shows. */
    response.watch_id = 0;
    response.fragment = false;
    response.cancel_reason = (char *)(uintptr_t)protobuf_c_empty_string;
    print_message_protobuf(target, &response, detail);
}

const struct presentation present_watch = {
    {watch_simple, watch_fields, watch_json, watch_protobuf, NULL},
};
