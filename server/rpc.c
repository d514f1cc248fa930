#include "server/rpc.h"

#include "base/container.h"
#include <assert.h>

static void submit(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct rpc *rpc = CONTAINER(task, struct rpc, submit);
    (void)engine;
    rpc->returned = false;
    node_submit(node, &rpc->request);
}

/* The rpc must outlive the cancel task: done is held back until the task has been on the node thread and
 * returned. */
static void deliver(struct loop *loop, struct loop_task *task)
{
    struct rpc *rpc = CONTAINER(task, struct rpc, deliver);
    (void)loop;
    rpc->delivered = true;
    if (!rpc->cancelling) rpc->done(rpc);
}

static void forget(struct loop *loop, struct loop_task *task)
{
    struct rpc *rpc = CONTAINER(task, struct rpc, forget);
    (void)loop;
    rpc->cancelling = false;
    if (rpc->delivered) rpc->done(rpc);
}

static void cancel(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct rpc *rpc = CONTAINER(task, struct rpc, cancel);
    (void)engine;
    if (!rpc->returned) node_cancel(node, &rpc->request);
    loop_post(rpc->loop, &rpc->forget);
}

void rpc_start(struct rpc *rpc, struct engine *engine)
{
    rpc->engine = engine;
    rpc->submit.run = submit;
    rpc->cancel.run = cancel;
    rpc->deliver.run = deliver;
    rpc->forget.run = forget;
    rpc->returned = rpc->cancelling = rpc->delivered = false;
    rpc->forwarded_at = 0;
    engine_post_from(engine, rpc->loop, &rpc->submit);
}

void rpc_cancel(struct rpc *rpc)
{
    assert(!rpc->cancelling && !rpc->delivered);
    rpc->cancelling = true;
    engine_post(rpc->engine, &rpc->cancel);
}

void rpc_on_reply(void *context, struct node_request *request)
{
    struct rpc *rpc = CONTAINER(request, struct rpc, request);
    (void)context;
    rpc->returned = true;
    rpc_returned(rpc);
}

void rpc_leaves(struct rpc *rpc)
{
    rpc->returned = true;
}

void rpc_returned(struct rpc *rpc)
{
    loop_post(rpc->loop, &rpc->deliver);
}

void rpc_try_again(struct rpc *rpc)
{
    engine_post(rpc->engine, &rpc->submit);
}

enum grpc_code rpc_code(const struct node_request *request)
{
    return request->error_text != NULL ? GRPC_UNKNOWN : api_error_code(request->error);
}

const char *rpc_text(const struct node_request *request)
{
    return request->error_text != NULL ? request->error_text : api_error_text(request->error);
}
