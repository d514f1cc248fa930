/* One RPC with all its attempts.
 *
 *            +--------------------- auth error: token forgotten ----------------------+
 *            v                                                                        |
 *   start -> LOGIN -- token --> WAIT -- a connection is up --> ACTIVE -- failed --> PAUSE --> (again) or end
 *
 * What may be sent again: what certainly was not begun by a server; what was refused for its token (after a
 * login) or by a learner (elsewhere); and, for methods of CLIENT_RETRY_UNAVAILABLE, what failed with
 * Unavailable. Pauses are etcd's: none until a majority's worth of attempts, then 25 ms +- 10 %.
 */
#include "config.h"

#include "client/internal.h"

#include "api/message.h"
#include "base/container.h"

#include <assert.h>

enum {
    LOGINS_MAX = 3, /* of one operation */
    RETRY_PAUSE_NANOSECONDS = 25000000,
    /* A server that keeps the same deadline may say so a moment before our timer does. */
    DEADLINE_SLACK_NANOSECONDS = 100000000,
};

static void begin_attempt(struct operation *operation);

/* ---- Waiting ---- */

static void enqueue(struct operation *operation, struct operation_list *queue, enum operation_state state)
{
    assert(operation->queue == NULL);
    operation->state = state;
    operation->queue = queue;
    TAILQ_INSERT_TAIL(queue, operation, waiting);
}

static void dequeue(struct operation *operation)
{
    if (operation->queue == NULL) return;
    TAILQ_REMOVE(operation->queue, operation, waiting);
    operation->queue = NULL;
}

/* Takes the operation out of everything; nothing of it is called afterwards. */
static void detach(struct operation *operation)
{
    struct client *client = operation->client;
    dequeue(operation);
    loop_timer_clear(client->loop, &operation->deadline_timer);
    loop_timer_clear(client->loop, &operation->retry_timer);
    LIST_REMOVE(operation, all);
    buf_deinit(&operation->request);
    client_error_free(operation->failure);
    operation->failure = NULL;
    if (operation->call != NULL) {
        struct grpc_client_call *call = operation->call;
        operation->call = NULL; /* its on_close then finds nothing to do */
        grpc_client_call_cancel(call);
    }
}

static void finish(struct operation *operation, struct client_error *error)
{
    detach(operation);
    operation->handler->on_end(operation, error);
}

/* ---- One attempt ---- */

static struct operation *operation_of(const struct grpc_client_call *call)
{
    struct operation *operation = (struct operation *)grpc_client_call_context(call);
    return operation->call == call ? operation : NULL;
}

static void on_message(struct grpc_client_call *call, struct bytes bytes)
{
    struct operation *operation = operation_of(call);
    if (operation == NULL) return;
    struct arena *arena = arena_new();
    struct error *reason = NULL;
    ProtobufCMessage *message = message_unpack(operation->method->response, bytes, arena, &reason);
    if (message == NULL) {
        arena_free(arena);
        struct buf text = {0};
        buf_printf(&text, "grpc: failed to unmarshal the received message: %s", reason->text);
        struct client_error *error = client_error_new(GRPC_INTERNAL, buf_bytes(&text));
        buf_deinit(&text);
        error_free(reason);
        finish(operation, error);
        return;
    }
    operation->got_message = true;
    operation->handler->on_message(operation, message, arena);
}

static bool deadline_is_near(const struct operation *operation)
{
    return operation->deadline != 0 && client_now() >= operation->deadline - DEADLINE_SLACK_NANOSECONDS;
}

static int64_t retry_pause(struct operation *operation)
{
    struct client *client = operation->client;
    size_t quorum = client->connection_count / 2 + 1;
    if (operation->attempts % quorum != 0) return 0;
    int64_t jitter = RETRY_PAUSE_NANOSECONDS / 10;
    return RETRY_PAUSE_NANOSECONDS - jitter + (int64_t)rng_below(&client->rng, (uint64_t)(2 * jitter + 1));
}

static void again_after(struct operation *operation, int64_t pause)
{
    operation->state = OPERATION_PAUSE;
    loop_timer_set(operation->client->loop, &operation->retry_timer, client_now() + pause);
}

static bool may_repeat(const struct operation *operation, const struct client_error *error, bool unprocessed)
{
    if (operation->got_message || operation->attempts >= CLIENT_ATTEMPTS_MAX) return false;
    if (unprocessed) return true;
    if (error->known == API_ERROR_NOT_SUPPORTED_FOR_LEARNER)
        return operation->pinned == NULL && operation->client->connection_count > 1;
    return operation->retry == CLIENT_RETRY_UNAVAILABLE && error->code == GRPC_UNAVAILABLE;
}

/* Decides what a failed attempt leads to. Takes the error. */
static void after_failure(struct operation *operation, struct client_error *error, bool unprocessed)
{
    struct client *client = operation->client;
    if (error->code == GRPC_DEADLINE_EXCEEDED && deadline_is_near(operation)) {
        client_error_free(error);
        finish(operation, client_error_deadline());
        return;
    }
    bool wants_login = !operation->got_message && !operation->without_token &&
                       operation->logins < LOGINS_MAX && client_error_wants_login(client, error);
    if (wants_login) {
        operation->logins++;
        if (operation->token_generation == client->token_generation) client_forget_token(client);
    }
    if (wants_login || may_repeat(operation, error, unprocessed)) {
        log_debug(client->logger, "retrying after a failed attempt",
                  LOG_STRING("method", operation->method->path), LOG_UINT("attempt", operation->attempts),
                  LOG_STRING("error", error->message));
        client_error_free(error);
        again_after(operation, wants_login ? 0 : retry_pause(operation));
        return;
    }
    finish(operation, error);
}

static void on_close(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    struct operation *operation = operation_of(call);
    if (operation == NULL) return;
    operation->call = NULL;
    if (status->code == GRPC_OK)
        finish(operation, NULL);
    else
        after_failure(operation, client_error_new(status->code, status->text), status->unprocessed);
}

static const struct grpc_client_handler call_handler = {.on_message = on_message, .on_close = on_close};

static void send_on(struct operation *operation, struct connection *connection)
{
    struct client *client = operation->client;
    struct grpc_metadata metadata[3];
    size_t count = 0;
    metadata[count++] =
        (struct grpc_metadata){BYTES_LITERAL("client-api-version"), BYTES_LITERAL(ETCD_API_LEVEL)};
    if (operation->require_leader)
        metadata[count++] = (struct grpc_metadata){BYTES_LITERAL("hasleader"), BYTES_LITERAL("true")};
    operation->token_generation = client->token_generation;
    if (client->token != NULL && !operation->without_token)
        metadata[count++] = (struct grpc_metadata){BYTES_LITERAL("token"), bytes_from_string(client->token)};
    struct grpc_client_call_options options = {
        .path = operation->method->path,
        .handler = &call_handler,
        .context = operation,
        .metadata = metadata,
        .metadata_count = count,
        .deadline = operation->deadline,
        .wait_for_ready = false,
        .unary = operation->method->kind == CLIENT_UNARY,
        .receive_limit = client->max_receive_bytes,
        .send_limit = client->max_send_bytes,
    };
    operation->state = OPERATION_ACTIVE;
    operation->used = connection;
    operation->attempts++;
    if (operation->method->kind == CLIENT_BOTH_WAYS) {
        operation->call = grpc_channel_call(connection->channel, &options);
        operation->handler->on_open(operation);
    } else {
        struct grpc_part part = grpc_part_of_bytes(buf_bytes(&operation->request));
        operation->call = grpc_channel_request(connection->channel, &options, &part, 1);
    }
    if (operation->paused && operation->call != NULL) grpc_client_call_pause(operation->call);
}

/* ---- Choosing a connection ---- */

static bool is_up(const struct connection *connection)
{
    return grpc_channel_state(connection->channel) == GRPC_CHANNEL_READY;
}

static struct connection *pick(struct client *client)
{
    for (size_t i = 0; i < client->connection_count; i++) {
        struct connection *connection = client->connections[client->next];
        client->next = (client->next + 1) % client->connection_count;
        if (is_up(connection)) return connection;
    }
    return NULL;
}

static void begin_attempt(struct operation *operation)
{
    struct client *client = operation->client;
    bool log_in =
        client->may_log_in && client->token == NULL && !client->auth_disabled && !operation->without_token;
    if (log_in) {
        enqueue(operation, &client->login_waiting, OPERATION_LOGIN);
        if (client->login == NULL) client_login_begin(client);
        return;
    }
    struct connection *connection = operation->pinned;
    if (connection == NULL)
        connection = pick(client);
    else if (!is_up(connection))
        connection = NULL;
    if (connection != NULL)
        send_on(operation, connection);
    else
        enqueue(operation, operation->pinned == NULL ? &client->waiting : &operation->pinned->waiting,
                OPERATION_WAIT);
}

void operation_wake(struct operation_list *queue)
{
    /* One pass over what is there now: who cannot go on queues up again behind. */
    struct operation_list batch = TAILQ_HEAD_INITIALIZER(batch);
    TAILQ_CONCAT(&batch, queue, waiting);
    struct operation *operation;
    TAILQ_FOREACH (operation, &batch, waiting) operation->queue = &batch;
    while ((operation = TAILQ_FIRST(&batch)) != NULL) {
        dequeue(operation);
        begin_attempt(operation);
    }
}

void operation_fail_all(struct operation_list *queue, const struct client_error *error)
{
    struct operation_list batch = TAILQ_HEAD_INITIALIZER(batch);
    TAILQ_CONCAT(&batch, queue, waiting);
    struct operation *operation;
    TAILQ_FOREACH (operation, &batch, waiting) operation->queue = &batch;
    while ((operation = TAILQ_FIRST(&batch)) != NULL) finish(operation, client_error_copy(error));
}

/* ---- Timers ---- */

static void on_deadline(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct operation *operation = CONTAINER(timer, struct operation, deadline_timer);
    finish(operation, client_error_deadline());
}

static void on_retry(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct operation *operation = CONTAINER(timer, struct operation, retry_timer);
    struct client_error *failure = operation->failure;
    operation->failure = NULL;
    if (failure != NULL)
        finish(operation, failure);
    else
        begin_attempt(operation);
}

/* ---- For the other files ---- */

/* Ends with `error` in a later turn of the loop. */
static void end_later(struct operation *operation, struct client_error *error)
{
    dequeue(operation);
    if (operation->call != NULL) {
        struct grpc_client_call *call = operation->call;
        operation->call = NULL;
        grpc_client_call_cancel(call);
    }
    client_error_free(operation->failure);
    operation->failure = error;
    again_after(operation, 0);
}

void operation_start(struct operation *operation, struct client *client,
                     const struct operation_handler *handler, enum client_rpc rpc,
                     const ProtobufCMessage *request, const struct client_call_options *options)
{
    static const struct client_call_options none;
    if (options == NULL) options = &none;
    operation->client = client;
    operation->handler = handler;
    operation->method = client_method(rpc);
    operation->retry = operation->method->retry;
    operation->deadline = options->deadline;
    operation->require_leader = options->require_leader;
    operation->without_token = rpc == CLIENT_AUTHENTICATE;
    operation->deadline_timer.run = on_deadline;
    operation->retry_timer.run = on_retry;
    assert((request == NULL) == (operation->method->kind == CLIENT_BOTH_WAYS));
    if (request != NULL) {
        assert(request->descriptor == operation->method->request);
        message_pack(&operation->request, request);
    }
    LIST_INSERT_HEAD(&client->operations, operation, all);
    if (operation->deadline != 0)
        loop_timer_set(client->loop, &operation->deadline_timer, operation->deadline);
    if (options->endpoint != NULL) {
        struct client_error *error = NULL;
        operation->pinned = client_connection_to(client, options->endpoint, &error);
        if (operation->pinned == NULL) {
            end_later(operation, error);
            return;
        }
    }
    if (operation->deadline != 0 && operation->deadline <= client_now()) {
        end_later(operation, client_error_deadline());
        return;
    }
    begin_attempt(operation);
}

void operation_cancel(struct operation *operation)
{
    end_later(operation, client_error_canceled());
}

void operation_abandon(struct operation *operation)
{
    detach(operation);
}

void operation_send(struct operation *operation, const ProtobufCMessage *message)
{
    assert(operation->state == OPERATION_ACTIVE && operation->call != NULL);
    struct buf packed = {0};
    message_pack(&packed, message);
    struct grpc_part part = grpc_part_of_bytes(buf_bytes(&packed));
    grpc_client_call_send(operation->call, &part, 1); /* without a blob the bytes are copied */
    buf_deinit(&packed);
}

void operation_pause(struct operation *operation)
{
    operation->paused = true;
    if (operation->call != NULL) grpc_client_call_pause(operation->call);
}

void operation_resume(struct operation *operation)
{
    operation->paused = false;
    if (operation->call != NULL) grpc_client_call_resume(operation->call);
}

bool operation_is_open(const struct operation *operation)
{
    return operation->state == OPERATION_ACTIVE && operation->call != NULL;
}
