/* rpc: one request to the node, from a gRPC call or from the server itself, and its way back.
 *
 *     loop thread                    node thread                       loop thread
 *     rpc_start ─▶ engine_post ─▶ node_submit ... on_reply ─▶ loop_post ─▶ rpc->done
 *     rpc_cancel ────────────────▶ node_cancel (unless it is on its way back)
 *
 * An rpc lives in memory that its starter keeps until `done` has been called: for gRPC calls the call's
 * arena, with a reference on the call.
 */
#ifndef SERVER_RPC_H
#define SERVER_RPC_H

#include "net/loop.h"
#include "node/node.h"
#include "server/engine.h"

struct rpc {
    struct node_request request; /* operation, message, raw, internal: set by the starter */
    struct loop *loop;           /* where done is called */
    /* request.error, error_text and response are set; the response's reference is the callee's. */
    void (*done)(struct rpc *rpc);
    void *context;        /* the starter's */
    bool stays;           /* what only the leader can answer is answered with an error, not sent to it */
    int64_t forwarded_at; /* when it was first sent to the leader; 0: it was not */

    /* Private. */
    struct engine *engine;
    struct engine_task submit;
    struct engine_task cancel;
    struct loop_task deliver;
    struct loop_task forget; /* the cancellation has been handled */
    bool returned;           /* node thread: the node no longer has it */
    bool cancelling;         /* loop thread: the cancel task is out */
    bool delivered;          /* loop thread: the reply came while it was */
};

/* Loop thread. */
void rpc_start(struct rpc *rpc, struct engine *engine);
/* Loop thread, after rpc_start and before done; at most once. done follows all the same. */
void rpc_cancel(struct rpc *rpc);
/* The engine's on_reply (node thread). */
void rpc_on_reply(void *context, struct node_request *request);

/* Node thread, in place of rpc_on_reply: the request goes to the leader first, and comes back by rpc_returned
 * (any thread), or is tried here again with rpc_try_again (any thread but the node's). */
void rpc_leaves(struct rpc *rpc);
void rpc_returned(struct rpc *rpc);
void rpc_try_again(struct rpc *rpc);

/* The gRPC status that a finished request is told with. */
enum grpc_code rpc_code(const struct node_request *request);
const char *rpc_text(const struct node_request *request);

#endif
