#include "server/contest.h"

#include "api/keys.h"
#include "api/message.h"
#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { DEFAULT_TTL = 60 };

/* ---- life ---- */

void contest_append_key(struct buf *out, struct bytes name, int64_t lease)
{
    buf_append_bytes(out, name);
    /* As Go prints a negative number in hex. */
    buf_printf(out, lease < 0 ? "/-%" PRIx64 : "/%" PRIx64, lease < 0 ? -(uint64_t)lease : (uint64_t)lease);
}

struct contest *contest_new(struct grpc_call *call, struct bytes name, int64_t lease)
{
    struct contest *contest = mem_zalloc(1, sizeof(*contest));
    struct buf prefix = {0};
    contest->call = call;
    contest->arena = grpc_call_arena(call);
    contest->lease = lease;
    buf_append_bytes(&prefix, name);
    buf_append_byte(&prefix, '/');
    contest->prefix = arena_copy(contest->arena, buf_bytes(&prefix));
    contest->prefix_end = key_prefix_end(contest->prefix, contest->arena);
    buf_deinit(&prefix);
    etcdserverpb__response_header__init(&contest->header);
    grpc_call_set_context(call, contest);
    return contest;
}

void contest_on_writable(struct grpc_call *call)
{
    struct contest *contest = grpc_call_context(call);
    if (contest->inner != NULL) grpc_local_call_continue(contest->inner);
}

void contest_on_cancel(struct grpc_call *call)
{
    struct contest *contest = grpc_call_context(call);
    if (contest == NULL) return;
    contest_stop(contest);
    if (contest->lost != NULL) contest->lost(contest, true);
}

void contest_on_close(struct grpc_call *call)
{
    struct contest *contest = grpc_call_context(call);
    if (contest == NULL) return;
    contest->call = NULL;
    contest_stop(contest);
    buf_deinit(&contest->answer);
    grpc_call_set_context(call, NULL);
    free(contest);
}

/* ---- the client's call ---- */

void contest_fail(struct contest *contest, struct bytes text)
{
    if (contest->fails_silently)
        grpc_call_finish(contest->call, GRPC_OK, BYTES_EMPTY);
    else
        grpc_call_finish(contest->call, GRPC_UNKNOWN, text);
}

void contest_fail_with(struct contest *contest, enum api_error error)
{
    contest_fail(contest, bytes_from_string(api_error_text(error)));
}

static struct blob *packed(const ProtobufCMessage *message)
{
    struct buf bytes = {0};
    message_pack(&bytes, message);
    struct blob *blob = blob_from(buf_bytes(&bytes));
    buf_deinit(&bytes);
    return blob;
}

void contest_reply(struct contest *contest, const ProtobufCMessage *response)
{
    grpc_call_reply(contest->call, packed(response));
}

void contest_send(struct contest *contest, const ProtobufCMessage *response)
{
    struct blob *message = packed(response);
    size_t waiting = grpc_call_send_blob(contest->call, message);
    if (waiting >= GRPC_SEND_HIGH && contest->inner != NULL) grpc_local_call_stop(contest->inner);
}

/* ---- local calls ---- */

static void release_inner(struct contest *contest)
{
    struct grpc_call *inner = contest->inner;
    contest->inner = NULL;
    if (inner != NULL) grpc_call_unref(inner);
}

void contest_stop(struct contest *contest)
{
    struct grpc_call *inner = contest->inner;
    contest->inner = NULL;
    if (inner == NULL) return;
    grpc_local_call_cancel(inner);
    grpc_call_unref(inner);
}

static void fail_waiting(struct contest *contest, struct bytes text)
{
    if (contest->lost != NULL) contest->lost(contest, false);
    contest_fail(contest, text);
}

/* A watch's response that says it is none; true when it is told. */
static bool watch_is_refused(struct contest *contest, const Etcdserverpb__WatchResponse *response)
{
    static const char lost[] = "lost watcher waiting for delete";
    if (!response->canceled) return false;
    struct bytes text =
        response->compact_revision != 0
            ? bytes_from_string(api_error_text(API_ERROR_COMPACTED))
            : bytes_from_string(*response->cancel_reason != '\0' ? response->cancel_reason : lost);
    contest_stop(contest);
    fail_waiting(contest, text);
    return true;
}

static void hand_on(struct contest *contest, struct bytes message)
{
    struct arena *arena = arena_new();
    const ProtobufCMessage *response = message_unpack(contest->response, message, arena, NULL);
    assert(response != NULL); /* our own services made it */
    if (!contest->is_watch || !watch_is_refused(contest, (const void *)response))
        contest->next(contest, response);
    arena_free(arena);
}

static void on_inner_message(void *context, struct bytes message)
{
    struct contest *contest = context;
    if (contest->is_watch) {
        hand_on(contest, message);
    } else {
        buf_clear(&contest->answer);
        buf_append_bytes(&contest->answer, message);
    }
}

static void on_inner_finish(void *context, enum grpc_code code, struct bytes text)
{
    struct contest *contest = context;
    release_inner(contest);
    if (code != GRPC_OK || contest->is_watch) {
        fail_waiting(contest, text);
        return;
    }
    struct buf answer = contest->answer;
    contest->answer = (struct buf){0};
    hand_on(contest, buf_bytes(&answer));
    buf_deinit(&answer);
}

static const struct grpc_local_handler inner_handler = {
    .on_message = on_inner_message,
    .on_finish = on_inner_finish,
};

static void call_method(struct contest *contest, const char *path, struct bytes request,
                        const ProtobufCMessageDescriptor *response, contest_next *next)
{
    assert(contest->inner == NULL);
    contest->response = response;
    contest->next = next;
    contest->is_watch = response == &etcdserverpb__watch_response__descriptor;
    struct grpc_call *inner = grpc_local_call_for(contest->call, path, &inner_handler, contest);
    if (grpc_call_is_live(inner)) {
        contest->inner = grpc_call_ref(inner);
        bool is_watch = contest->is_watch;
        grpc_local_call_message(inner, request);
        if (!is_watch) grpc_local_call_half_close(inner);
    }
    grpc_call_unref(inner);
}

static void call_with(struct contest *contest, const char *path, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *response, contest_next *next)
{
    struct buf bytes = {0};
    message_pack(&bytes, request);
    call_method(contest, path, buf_bytes(&bytes), response, next);
    buf_deinit(&bytes);
}

void contest_range(struct contest *contest, const Etcdserverpb__RangeRequest *request, contest_next *next)
{
    call_with(contest, "/etcdserverpb.KV/Range", &request->base, &etcdserverpb__range_response__descriptor,
              next);
}

void contest_txn(struct contest *contest, const Etcdserverpb__TxnRequest *request, contest_next *next)
{
    call_with(contest, "/etcdserverpb.KV/Txn", &request->base, &etcdserverpb__txn_response__descriptor, next);
}

void contest_delete(struct contest *contest, struct bytes key, contest_next *next)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = message_binary(key);
    call_with(contest, "/etcdserverpb.KV/DeleteRange", &request.base,
              &etcdserverpb__delete_range_response__descriptor, next);
}

void contest_watch(struct contest *contest, struct bytes key, struct bytes range_end, int64_t revision,
                   contest_next *next)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    create.key = message_binary(key);
    create.range_end = message_binary(range_end);
    create.start_revision = revision;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    call_with(contest, "/etcdserverpb.Watch/Watch", &request.base, &etcdserverpb__watch_response__descriptor,
              next);
}

/* ---- what is left behind ---- */

static void no_message(void *context, struct bytes message)
{
    (void)context, (void)message;
}

static void no_finish(void *context, enum grpc_code code, struct bytes text)
{
    (void)context, (void)code, (void)text;
}

/* Appends the request that deletes the key, if it is the one that was put in this contest: another one of
 * that name may stand there since. */
static void append_delete_own(struct buf *out, struct contest *contest)
{
    Etcdserverpb__Compare compare, *compares[] = {&compare};
    Etcdserverpb__DeleteRangeRequest deletion = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT, *operations[] = {&operation};
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    contest_created_at(&compare, contest->key, contest->revision);
    deletion.key = message_binary(contest->key);
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    operation.request_delete_range = &deletion;
    request.compare = compares;
    request.success = operations;
    request.n_compare = request.n_success = 1;
    message_pack(out, &request.base);
}

void contest_delete_own(struct contest *contest, contest_next *next)
{
    struct buf bytes = {0};
    append_delete_own(&bytes, contest);
    call_method(contest, "/etcdserverpb.KV/Txn", buf_bytes(&bytes), &etcdserverpb__txn_response__descriptor,
                next);
    buf_deinit(&bytes);
}

void contest_delete_behind(struct contest *contest)
{
    static const struct grpc_local_handler nobody = {.on_message = no_message, .on_finish = no_finish};
    struct buf bytes = {0};
    append_delete_own(&bytes, contest);
    struct grpc_call *behind = grpc_local_call_for(contest->call, "/etcdserverpb.KV/Txn", &nobody, NULL);
    grpc_local_call_message(behind, buf_bytes(&bytes));
    grpc_local_call_half_close(behind);
    grpc_call_unref(behind);
    buf_deinit(&bytes);
}

/* ---- the recipe ---- */

void contest_oldest(struct contest *contest, Etcdserverpb__RangeRequest *request)
{
    etcdserverpb__range_request__init(request);
    request->key = message_binary(contest->prefix);
    request->range_end = message_binary(contest->prefix_end);
    request->sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    request->limit = 1;
}

void contest_created_at(Etcdserverpb__Compare *compare, struct bytes key, int64_t revision)
{
    etcdserverpb__compare__init(compare);
    compare->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare->key = message_binary(key);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare->create_revision = revision;
}

const Mvccpb__KeyValue *contest_first_key(const Etcdserverpb__TxnResponse *response, size_t index)
{
    assert(index < response->n_responses);
    const Etcdserverpb__ResponseOp *operation = response->responses[index];
    if (operation->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) return NULL;
    return operation->response_range->n_kvs > 0 ? operation->response_range->kvs[0] : NULL;
}

static void set_key(struct contest *contest)
{
    struct buf key = {0};
    contest_append_key(&key, bytes_of(contest->prefix.data, contest->prefix.size - 1), contest->lease);
    contest->key = arena_copy(contest->arena, buf_bytes(&key));
    buf_deinit(&key);
}

static void granted(struct contest *contest, const void *response)
{
    contest->lease = ((const Etcdserverpb__LeaseGrantResponse *)response)->id;
    set_key(contest);
    contest->begun(contest, NULL);
}

void contest_begin(struct contest *contest, contest_next *next)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    contest->begun = next;
    if (contest->lease != 0) {
        set_key(contest);
        next(contest, NULL);
        return;
    }
    request.ttl = DEFAULT_TTL;
    call_with(contest, "/etcdserverpb.Lease/LeaseGrant", &request.base,
              &etcdserverpb__lease_grant_response__descriptor, granted);
}

static void watched(struct contest *contest, const void *response)
{
    const Etcdserverpb__WatchResponse *watch = response;
    for (size_t i = 0; i < watch->n_events; i++) {
        if (watch->events[i]->type != MVCCPB__EVENT__EVENT_TYPE__DELETE) continue;
        contest_stop(contest);
        contest_wait(contest);
        return;
    }
}

static void found_older(struct contest *contest, const void *response)
{
    const Etcdserverpb__RangeResponse *range = response;
    if (range->n_kvs == 0)
        contest->won(contest);
    else
        contest_watch(contest, message_bytes(range->kvs[0]->key), BYTES_EMPTY, range->header->revision,
                      watched);
}

/* The newest of those before it: each waits for one other only. */
void contest_wait(struct contest *contest)
{
    Etcdserverpb__RangeRequest request;
    contest_oldest(contest, &request);
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    request.max_create_revision = contest->revision - 1;
    contest_range(contest, &request, found_older);
}
