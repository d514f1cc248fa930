/* etcdserverpb.Watch: a session joins a gRPC stream on an I/O loop with a watch stream in the node.
 *
 *     client ─▶ call ─▶ session ─▶ node:  requests, decoded, as tasks
 *     client ◀─ call ◀─ session ◀─ node:  watch messages through the session's mailbox, one wake-up per batch
 *
 * The node counts the bytes it has handed out and stops feeding a stream at its window; the session reports
 * what has left. While the call has much unsent the session holds back its reports, so a client that does not
 * read stops its own feed only.
 *
 * A session outlives its call: it is freed when the node has closed the stream and nothing of it can come any
 * more. */
#include "server/service.h"

#include "api/message.h"
#include "base/container.h"
#include "server/identity.h"

#include <assert.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

struct session {
    struct engine *engine;
    struct loop *loop;
    struct grpc_call *call; /* loop thread; NULL once the call is over */
    size_t unreported;      /* loop thread: bytes sent and not yet reported to the node */
    bool reporting;         /* loop thread: the report task is out */
    size_t report;          /* bytes in it */

    struct watch_stream *stream; /* node thread */
    struct mailbox messages;     /* struct watch_message, node to loop */

    struct engine_task open, delivered, close;
    struct loop_task wake, reported, closed;
};

struct request_task {
    struct engine_task task;
    struct session *session;
    struct arena *arena; /* owns the decoded request and what the identity points to */
    struct node_identity identity;
    const void *request;
};

/* ---- node thread ---- */

static void open_stream(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct session *session = CONTAINER(task, struct session, open);
    (void)engine;
    session->stream = node_watch_open(node, session);
}

static void run_request(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct request_task *request = CONTAINER(task, struct request_task, task);
    (void)engine;
    node_watch_request(node, request->session->stream, &request->identity, request->request);
    arena_free(request->arena);
    free(request);
}

static void report_delivered(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct session *session = CONTAINER(task, struct session, delivered);
    (void)engine;
    node_watch_delivered(node, session->stream, session->report);
    loop_post(session->loop, &session->reported);
}

static void close_stream(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct session *session = CONTAINER(task, struct session, close);
    (void)engine;
    node_watch_close(node, session->stream);
    loop_post(session->loop, &session->closed);
}

void service_watch_on_message(void *context, struct watch_message *message)
{
    struct session *session = message->owner;
    (void)context;
    if (mailbox_put(&session->messages, &message->mail)) loop_post(session->loop, &session->wake);
}

/* ---- loop thread ---- */

static void report_when_sent(struct session *session)
{
    if (session->unreported == 0 || session->reporting || session->call == NULL) return;
    if (grpc_call_pending(session->call) >= GRPC_SEND_HIGH) return; /* on_writable comes */
    session->report = session->unreported;
    session->unreported = 0;
    session->reporting = true;
    engine_post_from(session->engine, session->loop, &session->delivered);
}

static void reported(struct loop *loop, struct loop_task *task)
{
    struct session *session = CONTAINER(task, struct session, reported);
    (void)loop;
    session->reporting = false;
    report_when_sent(session);
}

static void send_message(struct session *session, struct watch_message *message)
{
    struct grpc_part *parts = mem_alloc((message->part_count + 1) * sizeof(*parts));
    struct blob *head = blob_from(bytes_of(message->head, message->head_size));
    parts[0] = grpc_part_of_blob(head);
    for (size_t i = 0; i < message->part_count; i++) {
        parts[i + 1] = grpc_part_of_blob(message->parts[i]);
        message->parts[i] = NULL; /* its reference moves along */
    }
    grpc_call_send(session->call, parts, message->part_count + 1);
    free(parts);
    session->unreported += message->size;
}

static void take_messages(struct loop *loop, struct loop_task *task)
{
    struct session *session = CONTAINER(task, struct session, wake);
    (void)loop;
    for (struct mail *mail = mailbox_take(&session->messages); mail != NULL;) {
        struct watch_message *message = CONTAINER(mail, struct watch_message, mail);
        mail = mail->next;
        if (session->call != NULL && message->overflow)
            grpc_call_fail(session->call, GRPC_RESOURCE_EXHAUSTED,
                           "watch stream: too many requests whose responses are not read");
        else if (session->call != NULL)
            send_message(session, message);
        watch_message_free(message);
    }
    report_when_sent(session);
}

static void closed(struct loop *loop, struct loop_task *task)
{
    struct session *session = CONTAINER(task, struct session, closed);
    take_messages(loop, &session->wake);
    free(session);
}

static void on_open(struct grpc_call *call)
{
    const struct service_context *context = grpc_call_server_context(call);
    struct session *session = mem_zalloc(1, sizeof(*session));
    session->engine = context->engine;
    session->loop = grpc_call_loop(call);
    session->call = call;
    mailbox_init(&session->messages);
    session->open.run = open_stream;
    session->delivered.run = report_delivered;
    session->close.run = close_stream;
    session->wake.run = take_messages;
    session->reported.run = reported;
    session->closed.run = closed;
    grpc_call_set_context(call, session);
    engine_post_from(session->engine, session->loop, &session->open);
}

static void on_message(struct grpc_call *call, struct bytes message)
{
    struct session *session = grpc_call_context(call);
    struct arena *arena = arena_new();
    struct bytes copy = arena_copy(arena, message);
    void *decoded = service_decode_into(call, arena, &etcdserverpb__watch_request__descriptor, copy);
    if (decoded == NULL) {
        arena_free(arena);
        return;
    }
    struct request_task *request = mem_zalloc(1, sizeof(*request));
    request->task.run = run_request;
    request->session = session;
    request->arena = arena;
    request->request = decoded;
    identity_of_call(call, arena, &request->identity);
    engine_post_from(session->engine, session->loop, &request->task);
}

static void on_writable(struct grpc_call *call)
{
    report_when_sent(grpc_call_context(call));
}

/* A half-close does not end a watch: the events go on until the client resets the stream. */
static void on_close(struct grpc_call *call)
{
    struct session *session = grpc_call_context(call);
    session->call = NULL;
    engine_post_from(session->engine, session->loop, &session->close);
}

const struct grpc_method *const service_watch_methods[] = {
    &(const struct grpc_method){
        .service = "etcdserverpb.Watch",
        .name = "Watch",
        .kind = GRPC_BIDI,
        .on_open = on_open,
        .on_message = on_message,
        .on_writable = on_writable,
        .on_close = on_close,
    },
    NULL,
};
