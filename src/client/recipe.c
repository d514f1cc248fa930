/* Locks and elections made of keys; see "Recipes" in etcd's documentation of its client library. */
#include "client/recipe.h"

#include "api/keys.h"
#include "api/message.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>

enum { DEFAULT_TTL = 60 };

/* ---- Small requests ---- */

/* An error of the recipes themselves: not sent by a server, it prints as its text alone. */
static struct client_error *recipe_error(enum api_error known)
{
    struct client_error *error = client_error_from_text(api_error_text(known));
    error->code = api_error_code(known);
    return error;
}

static struct client_error *call(struct blocking_client *blocking, enum client_rpc rpc,
                                 const ProtobufCMessage *request, struct arena *arena, void *response)
{
    return blocking_call_into(blocking, rpc, request, NULL, arena, response);
}

static Etcdserverpb__RangeRequest get_request(struct bytes key)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(key);
    return request;
}

/* The oldest key under `prefix`. */
static Etcdserverpb__RangeRequest oldest_request(struct bytes prefix, struct arena *arena)
{
    Etcdserverpb__RangeRequest request = get_request(prefix);
    request.range_end = message_binary(key_prefix_end(prefix, arena));
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    request.limit = 1;
    return request;
}

static Etcdserverpb__PutRequest put_request(struct bytes key, struct bytes value, int64_t lease)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = message_binary(key);
    request.value = message_binary(value);
    request.lease = lease;
    return request;
}

static Etcdserverpb__Compare create_revision_is(struct bytes key, int64_t revision)
{
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    compare.key = message_binary(key);
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    compare.create_revision = revision;
    return compare;
}

static Etcdserverpb__RequestOp range_operation(Etcdserverpb__RangeRequest *request)
{
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT;
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    operation.request_range = request;
    return operation;
}

static Etcdserverpb__RequestOp put_operation(Etcdserverpb__PutRequest *request)
{
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT;
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    operation.request_put = request;
    return operation;
}

static int64_t revision_of(const Etcdserverpb__ResponseHeader *header)
{
    return header == NULL ? 0 : header->revision;
}

/* The first kv of a range response inside a txn's response; NULL when it has none. */
static const Mvccpb__KeyValue *first_kv(const Etcdserverpb__TxnResponse *response, size_t index)
{
    if (index >= response->n_responses) return NULL;
    const Etcdserverpb__ResponseOp *operation = response->responses[index];
    if (operation->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) return NULL;
    return operation->response_range->n_kvs > 0 ? operation->response_range->kvs[0] : NULL;
}

/* ---- Sessions ---- */

struct recipe_session {
    struct blocking_client *blocking;
    struct blocking_inbox *inbox;
    int64_t lease;
    bool lost;
};

struct client_error *recipe_session_new(struct blocking_client *blocking, int64_t ttl,
                                        struct recipe_session **result)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = ttl <= 0 ? DEFAULT_TTL : ttl;
    struct arena *arena = arena_new();
    const Etcdserverpb__LeaseGrantResponse *response = NULL;
    struct client_error *error = call(blocking, CLIENT_LEASE_GRANT, &request.base, arena, &response);
    if (error == NULL) {
        struct recipe_session *session = (struct recipe_session *)mem_zalloc(1, sizeof(*session));
        session->blocking = blocking;
        session->lease = response->id;
        session->inbox = blocking_inbox_new(blocking);
        blocking_keep_alive(session->inbox, session->lease, session);
        *result = session;
    }
    arena_free(arena);
    return error;
}

void recipe_session_free(struct recipe_session *session)
{
    if (session == NULL) return;
    blocking_inbox_free(session->inbox);
    free(session);
}

bool recipe_session_wait(struct recipe_session *session, int64_t deadline)
{
    while (!session->lost) {
        struct blocking_event event;
        if (blocking_next(session->inbox, deadline, &event) != BLOCKING_EVENT) return false;
        session->lost = event.kind == CLIENT_EVENT_END;
        blocking_event_deinit(&event);
    }
    return true;
}

bool recipe_session_is_lost(struct recipe_session *session)
{
    return recipe_session_wait(session, client_now());
}

/* ---- Waiting for older keys ---- */

void recipe_hold_deinit(struct recipe_hold *hold)
{
    free(hold->name);
    buf_deinit(&hold->key);
    *hold = (struct recipe_hold){0};
}

static struct bytes prefix_of(const char *name, struct arena *arena)
{
    return bytes_from_string(arena_printf(arena, "%s/", name));
}

/* The key may be deleted already (then *gone), or a watch tells when it is. */
static struct client_error *wait_for_deletion(struct blocking_client *blocking, struct bytes key,
                                              int64_t revision)
{
    struct blocking_inbox *inbox = blocking_inbox_new(blocking);
    struct client_watch_options options = {.key = key, .start_revision = revision, .no_put = true};
    struct client_error *error = NULL;
    bool gone = false;
    blocking_watch(inbox, &options, NULL);
    while (!gone && error == NULL) {
        struct blocking_event event;
        if (blocking_next(inbox, 0, &event) != BLOCKING_EVENT) {
            error = client_error_canceled();
            break;
        }
        if (event.kind == CLIENT_EVENT_END) {
            error = event.error != NULL ? client_error_copy(event.error)
                                        : client_error_from_text("lost watcher waiting for delete");
        } else {
            const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)event.response;
            for (size_t i = 0; i < response->n_events; i++)
                gone = gone || response->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
        }
        blocking_event_deinit(&event);
    }
    blocking_inbox_free(inbox);
    return error;
}

/* Until no key under the prefix is older than create revision `before`. */
static struct client_error *wait_for_older(struct blocking_client *blocking, struct bytes prefix,
                                           int64_t before)
{
    for (;;) {
        struct arena *arena = arena_new();
        Etcdserverpb__RangeRequest request = oldest_request(prefix, arena);
        request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND; /* the newest of the older */
        request.max_create_revision = before - 1;
        const Etcdserverpb__RangeResponse *response = NULL;
        struct client_error *error = call(blocking, CLIENT_RANGE, &request.base, arena, &response);
        bool none = error == NULL && response->n_kvs == 0;
        if (error == NULL && !none)
            error = wait_for_deletion(blocking, message_bytes(response->kvs[0]->key),
                                      revision_of(response->header));
        arena_free(arena);
        if (error != NULL || none) return error;
    }
}

/* Deletes the key, also while an interrupt is pending. */
static struct client_error *delete_key(struct blocking_client *blocking, struct bytes key)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = message_binary(key);
    blocking_hold_interrupts(blocking);
    struct client_error *error =
        blocking_call(blocking, CLIENT_DELETE_RANGE, &request.base, NULL, NULL, NULL);
    blocking_release_interrupts(blocking);
    return error;
}

/* Registers the key NAME/LEASE with `value` unless it is there already. *first says whether it is the oldest.
 */
static struct client_error *stand(struct recipe_session *session, struct bytes value,
                                  struct recipe_hold *hold, bool *first, bool *value_differs)
{
    struct arena *arena = arena_new();
    struct bytes key = buf_bytes(&hold->key);
    Etcdserverpb__Compare compare = create_revision_is(key, 0);
    Etcdserverpb__PutRequest put = put_request(key, value, session->lease);
    Etcdserverpb__RangeRequest get = get_request(key),
                               oldest = oldest_request(prefix_of(hold->name, arena), arena);
    Etcdserverpb__RequestOp put_op = put_operation(&put), get_op = range_operation(&get),
                            oldest_op = range_operation(&oldest);
    Etcdserverpb__Compare *compares[] = {&compare};
    Etcdserverpb__RequestOp *success[] = {&put_op, &oldest_op}, *failure[] = {&get_op, &oldest_op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = 1;
    txn.compare = compares;
    txn.n_success = txn.n_failure = 2;
    txn.success = success;
    txn.failure = failure;
    const Etcdserverpb__TxnResponse *response = NULL;
    struct client_error *error = call(session->blocking, CLIENT_TXN, &txn.base, arena, &response);
    if (error == NULL) {
        const Mvccpb__KeyValue *own = response->succeeded ? NULL : first_kv(response, 0);
        const Mvccpb__KeyValue *owner = first_kv(response, 1);
        hold->header_revision = revision_of(response->header);
        hold->revision = own == NULL ? hold->header_revision : own->create_revision;
        *first = owner == NULL || owner->create_revision == hold->revision;
        *value_differs = own != NULL && !bytes_equal(message_bytes(own->value), value);
    }
    arena_free(arena);
    return error;
}

static void name_hold(struct recipe_session *session, const char *name, struct recipe_hold *hold)
{
    recipe_hold_deinit(hold);
    hold->name = mem_strdup(name);
    /* etcd prints the lease as a signed number. */
    const char *sign = session->lease < 0 ? "-" : "";
    uint64_t magnitude = session->lease < 0 ? 0 - (uint64_t)session->lease : (uint64_t)session->lease;
    buf_printf(&hold->key, "%s/%s%" PRIx64, name, sign, magnitude);
}

/* After the wait: is the own key still there? */
static struct client_error *confirm(struct recipe_session *session, struct recipe_hold *hold)
{
    struct arena *arena = arena_new();
    Etcdserverpb__RangeRequest get = get_request(buf_bytes(&hold->key));
    const Etcdserverpb__RangeResponse *response = NULL;
    struct client_error *error = call(session->blocking, CLIENT_RANGE, &get.base, arena, &response);
    if (error == NULL && response->n_kvs == 0) error = recipe_error(API_ERROR_SESSION_EXPIRED);
    if (error == NULL) hold->header_revision = revision_of(response->header);
    arena_free(arena);
    return error;
}

static struct client_error *wait_for_turn(struct recipe_session *session, const struct recipe_hold *hold)
{
    struct arena *arena = arena_new();
    struct client_error *error =
        wait_for_older(session->blocking, prefix_of(hold->name, arena), hold->revision);
    arena_free(arena);
    return error;
}

struct client_error *recipe_lock(struct recipe_session *session, const char *name, struct recipe_hold *hold)
{
    bool first = false, differs = false;
    name_hold(session, name, hold);
    struct client_error *error = stand(session, BYTES_EMPTY, hold, &first, &differs);
    if (error != NULL || first) return error;
    error = wait_for_turn(session, hold);
    if (error == NULL) error = confirm(session, hold);
    if (error != NULL) client_error_free(delete_key(session->blocking, buf_bytes(&hold->key)));
    return error;
}

struct client_error *recipe_unlock(struct recipe_session *session, struct recipe_hold *hold)
{
    return delete_key(session->blocking, buf_bytes(&hold->key));
}

/* ---- Elections ---- */

/* One operation that is done only if the key is still the one that was registered. *done says whether it was.
 */
static struct client_error *if_still_ours(struct recipe_session *session, const struct recipe_hold *hold,
                                          Etcdserverpb__RequestOp *operation, bool *done)
{
    Etcdserverpb__Compare compare = create_revision_is(buf_bytes(&hold->key), hold->revision);
    Etcdserverpb__Compare *compares[] = {&compare};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = 1;
    txn.compare = compares;
    txn.n_success = 1;
    txn.success = &operation;
    struct arena *arena = arena_new();
    const Etcdserverpb__TxnResponse *response = NULL;
    struct client_error *error = call(session->blocking, CLIENT_TXN, &txn.base, arena, &response);
    *done = error == NULL && response->succeeded;
    arena_free(arena);
    return error;
}

struct client_error *recipe_proclaim(struct recipe_session *session, struct recipe_hold *hold,
                                     struct bytes value)
{
    Etcdserverpb__PutRequest put = put_request(buf_bytes(&hold->key), value, session->lease);
    Etcdserverpb__RequestOp operation = put_operation(&put);
    bool done = false;
    struct client_error *error = if_still_ours(session, hold, &operation, &done);
    if (error == NULL && !done) error = recipe_error(API_ERROR_ELECTION_NOT_LEADER);
    return error;
}

struct client_error *recipe_resign(struct recipe_session *session, struct recipe_hold *hold)
{
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT;
    delete.key = message_binary(buf_bytes(&hold->key));
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    operation.request_delete_range = &delete;
    bool done = false;
    blocking_hold_interrupts(session->blocking);
    struct client_error *error = if_still_ours(session, hold, &operation, &done);
    blocking_release_interrupts(session->blocking);
    return error;
}

struct client_error *recipe_campaign(struct recipe_session *session, const char *name, struct bytes value,
                                     struct recipe_hold *hold)
{
    bool first = false, differs = false;
    name_hold(session, name, hold);
    struct client_error *error = stand(session, value, hold, &first, &differs);
    if (error != NULL) return error;
    if (differs) error = recipe_proclaim(session, hold, value);
    if (error == NULL && !first) error = wait_for_turn(session, hold);
    if (error != NULL) client_error_free(recipe_resign(session, hold));
    return error;
}

struct client_error *recipe_leader(struct blocking_client *blocking, const char *name, struct arena *arena,
                                   Etcdserverpb__RangeResponse **response)
{
    Etcdserverpb__RangeRequest request = oldest_request(prefix_of(name, arena), arena);
    struct client_error *error = call(blocking, CLIENT_RANGE, &request.base, arena, response);
    if (error == NULL && (*response)->n_kvs == 0) error = recipe_error(API_ERROR_ELECTION_NO_LEADER);
    return error;
}

/* ---- Observing ---- */

struct observation {
    struct blocking_client *blocking;
    recipe_observe_fn *changed;
    void *context;
    bool stop;
};

/* A kv from a watch as the range response that etcdctl prints. */
static void tell(struct observation *observation, Etcdserverpb__ResponseHeader *header, Mvccpb__KeyValue *kv)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.header = header;
    response.n_kvs = 1;
    response.kvs = &kv;
    response.count = 1;
    observation->stop = !observation->changed(observation->context, &response);
}

/* Reads events of one watch until `react` says that it has enough (true) or the watch ends. */
static struct client_error *
follow(struct observation *observation, const struct client_watch_options *options,
       bool (*react)(struct observation *observation, void *context, Etcdserverpb__WatchResponse *response),
       void *context)
{
    struct blocking_inbox *inbox = blocking_inbox_new(observation->blocking);
    struct client_error *error = NULL;
    bool enough = false;
    blocking_watch(inbox, options, NULL);
    while (!enough && error == NULL) {
        struct blocking_event event;
        if (blocking_next(inbox, 0, &event) != BLOCKING_EVENT) {
            error = client_error_canceled();
            break;
        }
        if (event.kind == CLIENT_EVENT_END)
            error = event.error != NULL ? client_error_copy(event.error) : client_error_canceled();
        else
            enough = react(observation, context, (Etcdserverpb__WatchResponse *)event.response);
        blocking_event_deinit(&event);
    }
    blocking_inbox_free(inbox);
    return error;
}

struct leader_key {
    struct buf key;
    int64_t revision; /* to watch it from */
};

/* While nobody leads: the first put under the prefix. */
static bool on_first_put(struct observation *observation, void *context,
                         Etcdserverpb__WatchResponse *response)
{
    struct leader_key *leader = (struct leader_key *)context;
    for (size_t i = 0; i < response->n_events; i++) {
        Mvccpb__KeyValue *kv = response->events[i]->kv;
        if (response->events[i]->type != MVCCPB__EVENT__EVENT_TYPE__PUT || kv == NULL) continue;
        buf_append_bytes(&leader->key, message_bytes(kv->key));
        leader->revision = kv->mod_revision + 1;
        tell(observation, response->header, kv);
        return true;
    }
    return false;
}

/* While somebody leads: each new value; enough when the key goes. */
static bool on_leader_change(struct observation *observation, void *context,
                             Etcdserverpb__WatchResponse *response)
{
    (void)context;
    for (size_t i = 0; i < response->n_events; i++) {
        if (response->events[i]->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) return true;
        if (response->events[i]->kv != NULL) tell(observation, response->header, response->events[i]->kv);
        if (observation->stop) return true;
    }
    return false;
}

/* One leader, from being found to being gone. */
static struct client_error *observe_one(struct observation *observation, const char *name)
{
    struct arena *arena = arena_new();
    struct leader_key leader = {0};
    struct bytes prefix = prefix_of(name, arena);
    Etcdserverpb__RangeRequest request = oldest_request(prefix, arena);
    Etcdserverpb__RangeResponse *response = NULL;
    struct client_error *error = call(observation->blocking, CLIENT_RANGE, &request.base, arena, &response);
    if (error == NULL && response->n_kvs > 0) {
        buf_append_bytes(&leader.key, message_bytes(response->kvs[0]->key));
        leader.revision = revision_of(response->header) + 1;
        observation->stop = !observation->changed(observation->context, response);
    } else if (error == NULL) {
        struct client_watch_options options = {.key = prefix,
                                               .range_end = key_prefix_end(prefix, arena),
                                               .start_revision = revision_of(response->header) + 1,
                                               .no_delete = true};
        error = follow(observation, &options, on_first_put, &leader);
    }
    if (error == NULL && !observation->stop) {
        struct client_watch_options options = {.key = buf_bytes(&leader.key),
                                               .start_revision = leader.revision};
        error = follow(observation, &options, on_leader_change, NULL);
    }
    buf_deinit(&leader.key);
    arena_free(arena);
    return error;
}

struct client_error *recipe_observe(struct blocking_client *blocking, const char *name,
                                    recipe_observe_fn *changed, void *context)
{
    struct observation observation = {.blocking = blocking, .changed = changed, .context = context};
    struct client_error *error = NULL;
    while (error == NULL && !observation.stop) error = observe_one(&observation, name);
    return error;
}
