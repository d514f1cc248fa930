/* v3electionpb.Election. */
#include "server/service.h"

#include "api/message.h"
#include "server/contest.h"

#include "v3election.pb-c.h"

/* ---- Campaign ---- */

static void elected(struct contest *contest)
{
    V3electionpb__LeaderKey leader = V3ELECTIONPB__LEADER_KEY__INIT;
    V3electionpb__CampaignResponse response = V3ELECTIONPB__CAMPAIGN_RESPONSE__INIT;
    contest->lost = NULL;
    leader.name = message_binary(bytes_of(contest->prefix.data, contest->prefix.size - 1));
    leader.key = message_binary(contest->key);
    leader.rev = contest->revision;
    leader.lease = contest->lease;
    response.header = &contest->header;
    response.leader = &leader;
    contest_reply(contest, &response.base);
}

/* A candidate that goes takes its candidacy back. */
static void withdraw(struct contest *contest, bool gone)
{
    if (gone) contest_delete_behind(contest);
}

static void wait_for_election(struct contest *contest)
{
    contest->won = elected;
    contest->lost = withdraw;
    contest_wait(contest);
}

/* "If the key is as old as that, put this value." */
static void put_value(struct contest *contest, contest_next *next)
{
    Etcdserverpb__Compare compare, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT, *operations[] = {&operation};
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    contest_created_at(&compare, contest->key, contest->revision);
    put.key = message_binary(contest->key);
    put.value = message_binary(contest->value);
    put.lease = contest->lease;
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    operation.request_put = &put;
    request.n_compare = request.n_success = 1;
    request.compare = compares;
    request.success = operations;
    contest_txn(contest, &request, next);
}

static void value_changed(struct contest *contest, const void *response)
{
    const Etcdserverpb__TxnResponse *txn = response;
    if (txn->succeeded)
        wait_for_election(contest);
    else
        contest_fail_with(contest, API_ERROR_ELECTION_NOT_LEADER);
}

static void registered(struct contest *contest, const void *response)
{
    const Etcdserverpb__TxnResponse *txn = response;
    contest->header = *txn->header;
    contest->revision = txn->header->revision;
    if (!txn->succeeded) {
        const Mvccpb__KeyValue *own = contest_first_key(txn, 0);
        contest->revision = own->create_revision;
        if (!bytes_equal(message_bytes(own->value), contest->value)) {
            put_value(contest, value_changed);
            return;
        }
    }
    wait_for_election(contest);
}

static void register_candidate(struct contest *contest, const void *nothing)
{
    Etcdserverpb__Compare compare, *compares[] = {&compare};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest own = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp put_own = ETCDSERVERPB__REQUEST_OP__INIT, get_own = put_own;
    Etcdserverpb__RequestOp *success[] = {&put_own}, *failure[] = {&get_own};
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    (void)nothing;
    contest_created_at(&compare, contest->key, 0);
    put.key = own.key = message_binary(contest->key);
    put.value = message_binary(contest->value);
    put.lease = contest->lease;
    put_own.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    put_own.request_put = &put;
    get_own.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    get_own.request_range = &own;
    request.n_compare = request.n_success = request.n_failure = 1;
    request.compare = compares;
    request.success = success;
    request.failure = failure;
    contest_txn(contest, &request, registered);
}

static void campaign(struct grpc_call *call, struct bytes message)
{
    const V3electionpb__CampaignRequest *request =
        service_decode(call, &v3electionpb__campaign_request__descriptor, message);
    if (request == NULL) return;
    struct contest *contest = contest_new(call, message_bytes(request->name), request->lease);
    contest->value = message_bytes(request->value);
    contest_begin(contest, register_candidate);
}

/* ---- Proclaim, Resign ---- */

/* The contest of who leads already; NULL, with the call over, when the client does not say as who. */
static struct contest *resume(struct grpc_call *call, const V3electionpb__LeaderKey *leader)
{
    if (leader == NULL) {
        grpc_call_finish(call, GRPC_UNKNOWN, bytes_from_string(api_error_text(API_ERROR_MISSING_LEADER_KEY)));
        return NULL;
    }
    struct contest *contest = contest_new(call, message_bytes(leader->name), leader->lease);
    contest->revision = leader->rev;
    return contest;
}

static void proclaimed(struct contest *contest, const void *response)
{
    const Etcdserverpb__TxnResponse *txn = response;
    V3electionpb__ProclaimResponse reply = V3ELECTIONPB__PROCLAIM_RESPONSE__INIT;
    reply.header = txn->header;
    if (txn->succeeded)
        contest_reply(contest, &reply.base);
    else
        contest_fail_with(contest, API_ERROR_ELECTION_NOT_LEADER);
}

/* The key that the client names, which contest_begin knows nothing of. */
static void use_key_of_client(struct contest *contest)
{
    contest->key = contest->client_key;
}

static void proclaim_value(struct contest *contest, const void *nothing)
{
    (void)nothing;
    use_key_of_client(contest);
    put_value(contest, proclaimed);
}

static void proclaim(struct grpc_call *call, struct bytes message)
{
    const V3electionpb__ProclaimRequest *request =
        service_decode(call, &v3electionpb__proclaim_request__descriptor, message);
    struct contest *contest = request == NULL ? NULL : resume(call, request->leader);
    if (contest == NULL) return;
    contest->client_key = message_bytes(request->leader->key);
    contest->value = message_bytes(request->value);
    contest_begin(contest, proclaim_value);
}

static void resigned(struct contest *contest, const void *response)
{
    const Etcdserverpb__TxnResponse *txn = response;
    V3electionpb__ResignResponse reply = V3ELECTIONPB__RESIGN_RESPONSE__INIT;
    reply.header = txn->header;
    contest_reply(contest, &reply.base);
}

static void delete_key(struct contest *contest, const void *nothing)
{
    (void)nothing;
    use_key_of_client(contest);
    contest_delete_own(contest, resigned);
}

static void resign(struct grpc_call *call, struct bytes message)
{
    const V3electionpb__ResignRequest *request =
        service_decode(call, &v3electionpb__resign_request__descriptor, message);
    struct contest *contest = request == NULL ? NULL : resume(call, request->leader);
    if (contest == NULL) return;
    contest->client_key = message_bytes(request->leader->key);
    contest_begin(contest, delete_key);
}

/* ---- Leader, Observe ---- */

static void send_leader(struct contest *contest, Etcdserverpb__ResponseHeader *header, Mvccpb__KeyValue *kv)
{
    V3electionpb__LeaderResponse response = V3ELECTIONPB__LEADER_RESPONSE__INIT;
    response.header = header;
    response.kv = kv;
    contest_send(contest, &response.base);
}

static void told_leader(struct contest *contest, const void *response)
{
    const Etcdserverpb__RangeResponse *range = response;
    if (range->n_kvs == 0) {
        contest_fail_with(contest, API_ERROR_ELECTION_NO_LEADER);
        return;
    }
    send_leader(contest, range->header, range->kvs[0]);
    grpc_call_finish(contest->call, GRPC_OK, BYTES_EMPTY);
}

static void ask_leader(struct grpc_call *call, struct bytes message, bool fails_silently, contest_next *next)
{
    const V3electionpb__LeaderRequest *request =
        service_decode(call, &v3electionpb__leader_request__descriptor, message);
    if (request == NULL) return;
    struct contest *contest = contest_new(call, message_bytes(request->name), -1);
    contest->fails_silently = fails_silently;
    Etcdserverpb__RangeRequest range;
    contest_oldest(contest, &range);
    contest_range(contest, &range, next);
}

static void leader(struct grpc_call *call, struct bytes message)
{
    ask_leader(call, message, false, told_leader);
}

static void observed(struct contest *contest, const void *response);

static void look_again(struct contest *contest)
{
    Etcdserverpb__RangeRequest range;
    contest_stop(contest);
    contest_oldest(contest, &range);
    contest_range(contest, &range, observed);
}

/* What the leader puts is told; when its key goes there is another leader, or none. */
static void leader_changed(struct contest *contest, const void *response)
{
    const Etcdserverpb__WatchResponse *watch = response;
    for (size_t i = 0; i < watch->n_events; i++) {
        if (watch->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
            look_again(contest);
            return;
        }
        send_leader(contest, watch->header, watch->events[i]->kv);
    }
}

static void follow(struct contest *contest, Etcdserverpb__ResponseHeader *header, Mvccpb__KeyValue *kv)
{
    send_leader(contest, header, kv);
    contest_watch(contest, message_bytes(kv->key), BYTES_EMPTY, header->revision + 1, leader_changed);
}

/* The first who comes while nobody leads. */
static void somebody_came(struct contest *contest, const void *response)
{
    const Etcdserverpb__WatchResponse *watch = response;
    for (size_t i = 0; i < watch->n_events; i++) {
        if (watch->events[i]->type != MVCCPB__EVENT__EVENT_TYPE__PUT) continue;
        contest_stop(contest);
        watch->header->revision = watch->events[i]->kv->mod_revision;
        follow(contest, watch->header, watch->events[i]->kv);
        return;
    }
}

static void observed(struct contest *contest, const void *response)
{
    const Etcdserverpb__RangeResponse *range = response;
    if (range->n_kvs > 0)
        follow(contest, range->header, range->kvs[0]);
    else
        contest_watch(contest, contest->prefix, contest->prefix_end, range->header->revision, somebody_came);
}

/* Whatever ends it, a missing permission among it, etcd's clients see a stream that ended properly. */
static void observe(struct grpc_call *call, struct bytes message)
{
    ask_leader(call, message, true, observed);
}

#define ELECTION(name_, kind_, on_message_)                                                                  \
    (&(const struct grpc_method){                                                                            \
        .service = "v3electionpb.Election",                                                                  \
        .name = (name_),                                                                                     \
        .kind = (kind_),                                                                                     \
        .on_message = (on_message_),                                                                         \
        .on_writable = contest_on_writable,                                                                  \
        .on_cancel = contest_on_cancel,                                                                      \
        .on_close = contest_on_close,                                                                        \
    })

const struct grpc_method *const service_election_methods[] = {
    ELECTION("Campaign", GRPC_UNARY, campaign), ELECTION("Proclaim", GRPC_UNARY, proclaim),
    ELECTION("Leader", GRPC_UNARY, leader),     ELECTION("Observe", GRPC_SERVER_STREAM, observe),
    ELECTION("Resign", GRPC_UNARY, resign),     NULL,
};
