#include "sim/answer.h"

#include "api/message.h"
#include "base/crc32c.h"

/* Long values are told apart by their size and checksum. */
enum { VALUE_SHOWN_MAX = 24 };

#define LL(value) ((long long)(value))

static void add_value(struct buf *out, struct bytes value)
{
    if (value.size <= VALUE_SHOWN_MAX)
        buf_printf(out, " \"%.*s\"", (int)value.size, (const char *)value.data);
    else
        buf_printf(out, " \"%.*s...%zu bytes %08x\"", VALUE_SHOWN_MAX, (const char *)value.data, value.size,
                   crc32c(0, value.data, value.size));
}

void sim_answer_key(struct buf *out, const struct sim_shown *shown)
{
    buf_printf(out, "%.*s@%lldc%lldv%lld", (int)shown->key.size, (const char *)shown->key.data,
               LL(shown->modified), LL(shown->created), LL(shown->version));
    if (shown->without_value) return;
    if (shown->lease != 0) buf_printf(out, "l%lld", LL(shown->lease));
    add_value(out, shown->value);
}

static void add_revision(struct buf *out, const char *name, int64_t revision)
{
    buf_append_string(out, name);
    if (revision != 0) buf_printf(out, " r%lld", LL(revision));
}

void sim_answer_put(struct buf *out, int64_t revision, const struct sim_shown *previous)
{
    add_revision(out, "put", revision);
    if (previous == NULL) return;
    buf_append_string(out, " (");
    sim_answer_key(out, previous);
    buf_append_byte(out, ')');
}

void sim_answer_delete(struct buf *out, int64_t revision, int64_t deleted)
{
    add_revision(out, "delete", revision);
    buf_printf(out, " %lld", LL(deleted));
}

void sim_answer_range(struct buf *out, int64_t revision, int64_t count, bool more)
{
    add_revision(out, "range", revision);
    buf_printf(out, " %lld", LL(count));
    if (more) buf_append_string(out, " more");
}

/* ---- of responses ---- */

static struct sim_shown shown(const Mvccpb__KeyValue *key_value)
{
    return (struct sim_shown){
        .key = message_bytes(key_value->key),
        .modified = key_value->mod_revision,
        .created = key_value->create_revision,
        .version = key_value->version,
        .lease = key_value->lease,
        .value = message_bytes(key_value->value),
    };
}

static int64_t revision_of(const Etcdserverpb__ResponseHeader *header)
{
    return header == NULL ? 0 : header->revision;
}

static void add_put(struct buf *out, int64_t revision, const Etcdserverpb__PutResponse *response)
{
    struct sim_shown previous;
    if (response->prev_kv != NULL) previous = shown(response->prev_kv);
    sim_answer_put(out, revision, response->prev_kv == NULL ? NULL : &previous);
}

static void add_keys(struct buf *out, Mvccpb__KeyValue *const *key_values, size_t count, bool without_value)
{
    for (size_t i = 0; i < count; i++) {
        struct sim_shown key = shown(key_values[i]);
        key.without_value = without_value;
        buf_append_byte(out, ' ');
        sim_answer_key(out, &key);
    }
}

static void add_delete(struct buf *out, int64_t revision, const Etcdserverpb__DeleteRangeResponse *response)
{
    sim_answer_delete(out, revision, response->deleted);
    add_keys(out, response->prev_kvs, response->n_prev_kvs, false);
}

static void add_range(struct buf *out, int64_t revision, const Etcdserverpb__RangeResponse *response,
                      bool keys_only)
{
    sim_answer_range(out, revision, response->count, response->more);
    add_keys(out, response->kvs, response->n_kvs, keys_only);
}

void sim_answer_of_put(struct buf *out, const Etcdserverpb__PutResponse *response)
{
    add_put(out, 0, response);
}

void sim_answer_of_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *response)
{
    add_delete(out, 0, response);
}

void sim_answer_of_range(struct buf *out, const Etcdserverpb__RangeResponse *response, bool keys_only)
{
    add_range(out, 0, response, keys_only);
}

static void add_operation(struct buf *out, const Etcdserverpb__RequestOp *request,
                          const Etcdserverpb__ResponseOp *response)
{
    switch (response->response_case) {
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
        add_put(out, revision_of(response->response_put->header), response->response_put);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
        add_delete(out, revision_of(response->response_delete_range->header),
                   response->response_delete_range);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
        add_range(out, revision_of(response->response_range->header), response->response_range,
                  request != NULL &&
                      request->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE &&
                      request->request_range->keys_only);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
        sim_answer_of_txn(out,
                          request != NULL &&
                                  request->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN
                              ? request->request_txn
                              : NULL,
                          response->response_txn);
        break;
    default:
        buf_append_string(out, "nothing");
    }
}

void sim_answer_of_txn(struct buf *out, const Etcdserverpb__TxnRequest *request,
                       const Etcdserverpb__TxnResponse *response)
{
    size_t count = 0;
    Etcdserverpb__RequestOp *const *asked = NULL;
    if (request != NULL) {
        count = response->succeeded ? request->n_success : request->n_failure;
        asked = response->succeeded ? request->success : request->failure;
    }
    buf_printf(out, "txn %s {", response->succeeded ? "yes" : "no");
    for (size_t i = 0; i < response->n_responses; i++) {
        if (i > 0) buf_append_string(out, "; ");
        add_operation(out, i < count ? asked[i] : NULL, response->responses[i]);
    }
    buf_append_byte(out, '}');
}
