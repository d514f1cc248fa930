#include "server/service.h"

#include "api/message.h"
#include "base/text.h"
#include "server/call_observer.h"
#include "server/identity.h"
#include "server/rpc.h"

#include <assert.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

enum { SERVICES = 9, METHODS_MAX = 64 };

const struct grpc_method *const *service_methods(size_t *count)
{
    static const struct grpc_method *all[METHODS_MAX];
    static size_t total;
    if (total == 0) {
        const struct grpc_method *const *const services[SERVICES] = {
            service_kv_methods,      service_watch_methods,       service_lease_methods,
            service_cluster_methods, service_maintenance_methods, service_health_methods,
            service_auth_methods,    service_lock_methods,        service_election_methods,
        };
        for (size_t i = 0; i < SERVICES; i++)
            for (const struct grpc_method *const *method = services[i]; *method != NULL; method++) {
                assert(total < METHODS_MAX);
                all[total++] = *method;
            }
    }
    *count = total;
    return all;
}

static void finish(struct grpc_call *call, enum api_error error)
{
    grpc_call_finish(call, api_error_code(error), bytes_from_string(api_error_text(error)));
}

/* A learner has no say yet and may be far behind. */
static bool is_learner(const struct service_context *context)
{
    return metric_gauge_read(&engine_node_metrics(context->engine)->is_learner) != 0;
}

/* What of this a learner serves all the same; which ranges, their messages tell. */
static bool may_be_of_learner(const struct grpc_method *method)
{
    return strcmp(method->name, "Status") == 0 || strcmp(method->name, "Snapshot") == 0 ||
           strcmp(method->name, "Range") == 0;
}

static bool is_of_learner(enum node_operation operation, const void *message)
{
    return operation != NODE_RANGE || ((const Etcdserverpb__RangeRequest *)message)->serializable;
}

void service_intercept(struct grpc_call *call)
{
    const struct service_context *context = grpc_call_server_context(call);
    struct bytes value;
    call_observer_begin(context->observer, call);
    if (grpc_call_metadata(call, "client-api-version", &value) && !text_is_utf8(value)) {
        finish(call, API_ERROR_INVALID_CLIENT_API_VERSION);
        return;
    }
    if (grpc_call_metadata(call, "hasleader", &value) && bytes_equal(value, BYTES_LITERAL("true")) &&
        metric_gauge_read(&engine_node_metrics(context->engine)->has_leader) == 0)
        finish(call, API_ERROR_NO_LEADER);
    else if (is_learner(context) && !may_be_of_learner(grpc_call_method(call)))
        finish(call, API_ERROR_NOT_SUPPORTED_FOR_LEARNER);
}

void service_observe(struct grpc_call *call, enum grpc_code code, struct bytes text)
{
    const struct service_context *context = grpc_call_server_context(call);
    (void)code, (void)text;
    call_observer_end(context->observer, call);
}

void *service_decode_into(struct grpc_call *call, struct arena *arena, const void *descriptor,
                          struct bytes message)
{
    struct error *error = NULL;
    void *decoded = message_unpack_request(descriptor, message, arena, &error);
    if (decoded == NULL) {
        const char *what = grpc_call_method(call)->kind == GRPC_UNARY
                               ? "error unmarshalling request"
                               : "failed to unmarshal the received message";
        grpc_call_fail(call, GRPC_INTERNAL, "grpc: %s: %s", what, error->text);
        error_free(error);
    }
    return decoded;
}

void *service_decode(struct grpc_call *call, const void *descriptor, struct bytes message)
{
    return service_decode_into(call, grpc_call_arena(call), descriptor, message);
}

/* ---- unary methods that the node answers ---- */

/* The references on all but the first part of the response move to the call. */
static void reply(struct grpc_call *call, struct node_request *request)
{
    struct blob_list *rest = &request->response_rest;
    if (rest->count == 0) {
        grpc_call_reply(call, blob_ref(request->response));
    } else {
        struct grpc_part *parts = arena_alloc(grpc_call_arena(call), (rest->count + 1) * sizeof(*parts));
        parts[0] = grpc_part_of_blob(blob_ref(request->response));
        for (size_t i = 0; i < rest->count; i++) parts[i + 1] = grpc_part_of_blob(rest->items[i]);
        grpc_call_send(call, parts, rest->count + 1);
        grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
        rest->count = 0;
    }
    blob_list_deinit(rest);
}

static void unary_done(struct rpc *rpc)
{
    struct grpc_call *call = rpc->context;
    /* Kept until the statistics of the call have been made. */
    struct blob *response = rpc->request.response;
    if (rpc->request.error == API_OK && rpc->request.error_text == NULL)
        reply(call, &rpc->request);
    else
        grpc_call_finish(call, rpc_code(&rpc->request), bytes_from_string(rpc_text(&rpc->request)));
    blob_unref(response);
    grpc_call_unref(call);
}

void service_unary_message(struct grpc_call *call, struct bytes message)
{
    const struct service_unary *unary = grpc_call_method(call)->extra;
    const struct service_context *context = grpc_call_server_context(call);
    struct arena *arena = grpc_call_arena(call);
    struct bytes raw = arena_copy(arena, message);
    void *decoded = service_decode(call, unary->descriptor, raw);
    if (decoded == NULL) return;
    if (is_learner(context) && !is_of_learner(unary->operation, decoded)) {
        finish(call, API_ERROR_NOT_SUPPORTED_FOR_LEARNER);
        return;
    }
    if (engine_waiting(context->engine) > context->queue_limit) {
        finish(call, API_ERROR_TOO_MANY_REQUESTS);
        return;
    }
    struct rpc *rpc = arena_zalloc(arena, sizeof(*rpc));
    rpc->request.operation = unary->operation;
    rpc->request.message = decoded;
    rpc->request.raw = raw;
    identity_of_call(call, arena, &rpc->request.identity);
    rpc->loop = grpc_call_loop(call);
    rpc->done = unary_done;
    rpc->context = grpc_call_ref(call);
    grpc_call_set_context(call, rpc);
    rpc_start(rpc, context->engine);
}

/* The client went away: the node is told, so that it keeps no waiter for nobody. */
void service_unary_cancel(struct grpc_call *call)
{
    struct rpc *rpc = grpc_call_context(call);
    if (rpc != NULL && !rpc->delivered) rpc_cancel(rpc);
}
