/* v3lockpb.Lock. */
#include "server/service.h"

#include "api/message.h"
#include "server/contest.h"

#include "v3lock.pb-c.h"

/* ---- Lock ---- */

static void reply(struct contest *contest)
{
    V3lockpb__LockResponse response = V3LOCKPB__LOCK_RESPONSE__INIT;
    response.header = &contest->header;
    response.key = message_binary(contest->key);
    contest_reply(contest, &response.base);
}

static void owner_checked(struct contest *contest, const void *response)
{
    const Etcdserverpb__RangeResponse *range = response;
    contest->lost = NULL;
    contest->header = *range->header;
    if (range->n_kvs == 0)
        contest_fail_with(contest, API_ERROR_SESSION_EXPIRED);
    else
        reply(contest);
}

/* Nobody is before it; but its own key may be gone by now, with its lease. */
static void turn_came(struct contest *contest)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(contest->key);
    contest_range(contest, &request, owner_checked);
}

static void no_longer_wanted(struct contest *contest, bool gone)
{
    (void)gone;
    contest_delete_behind(contest);
}

static void queued(struct contest *contest, const void *response)
{
    const Etcdserverpb__TxnResponse *txn = response;
    const Mvccpb__KeyValue *owner = contest_first_key(txn, 1);
    contest->header = *txn->header;
    contest->revision = txn->succeeded ? txn->header->revision : contest_first_key(txn, 0)->create_revision;
    if (owner == NULL || owner->create_revision == contest->revision) {
        reply(contest);
        return;
    }
    contest->won = turn_came;
    contest->lost = no_longer_wanted;
    contest_wait(contest);
}

/* The key is put, or is there already, as when a client asks again; and who has the lock? */
static void queue(struct contest *contest, const void *nothing)
{
    Etcdserverpb__Compare compare, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest own = ETCDSERVERPB__RANGE_REQUEST__INIT, owner;
    Etcdserverpb__RequestOp put_own = ETCDSERVERPB__REQUEST_OP__INIT, get_own = put_own, get_owner = put_own;
    Etcdserverpb__RequestOp *success[] = {&put_own, &get_owner}, *failure[] = {&get_own, &get_owner};
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    (void)nothing;
    contest_created_at(&compare, contest->key, 0);
    contest_oldest(contest, &owner);
    put.key = own.key = message_binary(contest->key);
    put.lease = contest->lease;
    put_own.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    put_own.request_put = &put;
    get_own.request_case = get_owner.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    get_own.request_range = &own;
    get_owner.request_range = &owner;
    request.n_compare = 1;
    request.compare = compares;
    request.n_success = request.n_failure = 2;
    request.success = success;
    request.failure = failure;
    contest_txn(contest, &request, queued);
}

static void lock(struct grpc_call *call, struct bytes message)
{
    const V3lockpb__LockRequest *request = service_decode(call, &v3lockpb__lock_request__descriptor, message);
    if (request == NULL) return;
    contest_begin(contest_new(call, message_bytes(request->name), request->lease), queue);
}

/* ---- Unlock ---- */

static void unlocked(struct contest *contest, const void *response)
{
    const Etcdserverpb__DeleteRangeResponse *deletion = response;
    V3lockpb__UnlockResponse reply_message = V3LOCKPB__UNLOCK_RESPONSE__INIT;
    reply_message.header = deletion->header;
    contest_reply(contest, &reply_message.base);
}

static void unlock(struct grpc_call *call, struct bytes message)
{
    const V3lockpb__UnlockRequest *request =
        service_decode(call, &v3lockpb__unlock_request__descriptor, message);
    if (request == NULL) return;
    contest_delete(contest_new(call, BYTES_EMPTY, 0), message_bytes(request->key), unlocked);
}

#define LOCK(name_, on_message_)                                                                             \
    (&(const struct grpc_method){                                                                            \
        .service = "v3lockpb.Lock",                                                                          \
        .name = (name_),                                                                                     \
        .kind = GRPC_UNARY,                                                                                  \
        .on_message = (on_message_),                                                                         \
        .on_cancel = contest_on_cancel,                                                                      \
        .on_close = contest_on_close,                                                                        \
    })

const struct grpc_method *const service_lock_methods[] = {
    LOCK("Lock", lock),
    LOCK("Unlock", unlock),
    NULL,
};
