/* etcdserverpb.Lease. */
#include "server/service.h"

#include "server/identity.h"
#include "server/rpc.h"

#include "rpc.pb-c.h"

/* ---- LeaseKeepAlive: one answer per message, in order ---- */

/* The request's few bytes stay here: a stream may live for years, and its arena grows only. */
struct keep_alive {
    struct rpc rpc;
    struct arena *arena; /* what the identity points to */
    Etcdserverpb__LeaseKeepAliveRequest request;
};

static void keep_alive_done(struct rpc *rpc)
{
    struct grpc_call *call = rpc->context;
    grpc_call_set_context(call, NULL);
    if (rpc->request.error == API_OK && rpc->request.error_text == NULL) {
        /* Who does not read the answers is not asked for more. */
        size_t waiting = grpc_call_send_blob(call, rpc->request.response);
        if (grpc_call_is_live(call) && waiting < GRPC_SEND_HIGH) grpc_call_resume(call);
    } else {
        grpc_call_finish(call, rpc_code(&rpc->request), bytes_from_string(rpc_text(&rpc->request)));
    }
    arena_free(((struct keep_alive *)rpc)->arena);
    free(rpc);
    grpc_call_unref(call);
}

static void keep_alive_message(struct grpc_call *call, struct bytes message)
{
    const struct service_context *context = grpc_call_server_context(call);
    struct arena *arena = arena_new();
    const Etcdserverpb__LeaseKeepAliveRequest *decoded =
        service_decode_into(call, arena, &etcdserverpb__lease_keep_alive_request__descriptor, message);
    if (decoded == NULL) {
        arena_free(arena);
        return;
    }
    struct keep_alive *keep_alive = mem_zalloc(1, sizeof(*keep_alive));
    etcdserverpb__lease_keep_alive_request__init(&keep_alive->request);
    keep_alive->request.id = decoded->id;
    identity_of_call(call, arena, &keep_alive->rpc.request.identity);
    keep_alive->arena = arena;
    struct rpc *rpc = &keep_alive->rpc;
    rpc->request.operation = NODE_LEASE_KEEP_ALIVE;
    rpc->request.message = &keep_alive->request;
    rpc->loop = grpc_call_loop(call);
    rpc->done = keep_alive_done;
    rpc->context = grpc_call_ref(call);
    grpc_call_set_context(call, rpc);
    grpc_call_pause(call);
    rpc_start(rpc, context->engine);
}

/* With a message under way the call is paused, and the end of stream comes when it is answered. */
static void keep_alive_half_close(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

#define LEASE(name, operation, descriptor) SERVICE_UNARY("etcdserverpb.Lease", name, operation, descriptor)

const struct grpc_method *const service_lease_methods[] = {
    LEASE("LeaseGrant", NODE_LEASE_GRANT, etcdserverpb__lease_grant_request__descriptor),
    LEASE("LeaseRevoke", NODE_LEASE_REVOKE, etcdserverpb__lease_revoke_request__descriptor),
    LEASE("LeaseTimeToLive", NODE_LEASE_TIME_TO_LIVE, etcdserverpb__lease_time_to_live_request__descriptor),
    LEASE("LeaseLeases", NODE_LEASE_LEASES, etcdserverpb__lease_leases_request__descriptor),
    &(const struct grpc_method){
        .service = "etcdserverpb.Lease",
        .name = "LeaseKeepAlive",
        .kind = GRPC_BIDI,
        .on_message = keep_alive_message,
        .on_half_close = keep_alive_half_close,
        .on_writable = grpc_call_resume,
        .on_cancel = service_unary_cancel,
    },
    NULL,
};
