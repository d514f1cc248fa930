/* The client itself: its connections, its login, and the two simple kinds of operation, unary calls and
 * server streams. */
#include "client/internal.h"

#include "api/message.h"
#include "base/container.h"
#include "rpc.pb-c.h"

#include <assert.h>

enum {
    DEFAULT_MAX_SEND_BYTES = 2 * 1024 * 1024,
    DEFAULT_MAX_RECEIVE_BYTES = INT32_MAX,
};
static const int64_t default_dial_timeout = 2 * LOOP_SECOND;
static const int64_t default_keep_alive_time = 2 * LOOP_SECOND;
static const int64_t default_keep_alive_timeout = 6 * LOOP_SECOND;
static const int64_t keep_alive_time_minimum = 10 * LOOP_SECOND;

int64_t client_now(void)
{
    return clock_monotonic();
}

int64_t client_deadline_after(int64_t timeout)
{
    int64_t now = client_now();
    if (timeout <= 0) return now;
    return timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
}

/* ---- Connections ---- */

static void on_state(void *context, enum grpc_channel_state state, const char *error)
{
    struct connection *connection = (struct connection *)context;
    struct client *client = connection->client;
    if (client->closing) return;
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && error != NULL)
        log_warn(client->logger, "connection failed", LOG_STRING("endpoint", connection->endpoint.text),
                 LOG_STRING("error", error));
    if (state == GRPC_CHANNEL_IDLE) grpc_channel_connect(connection->channel); /* connections are kept up */
    if (state != GRPC_CHANNEL_READY) return;
    operation_wake(&connection->waiting);
    if (connection->balanced) operation_wake(&client->waiting);
}

static struct connection *connection_new(struct client *client, const struct endpoint *endpoint,
                                         bool balanced)
{
    struct connection *connection = (struct connection *)mem_zalloc(1, sizeof(*connection));
    connection->client = client;
    connection->endpoint = *endpoint;
    connection->balanced = balanced;
    TAILQ_INIT(&connection->waiting);
    struct grpc_channel_config config = client->channel_config;
    config.address = endpoint->address;
    config.server_name = client->server_name != NULL ? client->server_name : endpoint->server_name;
    config.seed = rng_next(&client->rng);
    config.context = connection;
    connection->channel = grpc_channel_new(client->loop, &config);
    grpc_channel_connect(connection->channel);
    return connection;
}

static void connection_free(struct connection *connection)
{
    assert(TAILQ_EMPTY(&connection->waiting));
    grpc_channel_free(connection->channel);
    endpoint_deinit(&connection->endpoint);
    free(connection);
}

struct connection *client_connection_to(struct client *client, const char *text, struct client_error **error)
{
    struct endpoint endpoint;
    if (!endpoint_parse(text, &endpoint)) {
        *error = client_error_new(GRPC_UNAVAILABLE, BYTES_LITERAL("etcdclient: no available endpoints"));
        return NULL;
    }
    struct connection *found = NULL;
    for (size_t i = 0; i < client->connection_count && found == NULL; i++)
        if (strcmp(client->connections[i]->endpoint.text, endpoint.text) == 0) found = client->connections[i];
    size_t others = 0;
    struct connection *other;
    LIST_FOREACH (other, &client->others, pinned) {
        others++;
        if (found == NULL && strcmp(other->endpoint.text, endpoint.text) == 0) found = other;
    }
    if (found == NULL && others < CLIENT_ENDPOINTS_MAX) {
        found = connection_new(client, &endpoint, false); /* takes the endpoint's strings */
        LIST_INSERT_HEAD(&client->others, found, pinned);
        return found;
    }
    endpoint_deinit(&endpoint);
    if (found == NULL)
        *error =
            client_error_new(GRPC_RESOURCE_EXHAUSTED, BYTES_LITERAL("too many endpoints for one client"));
    return found;
}

/* ---- The client ---- */

static bool is_set(const char *string)
{
    return string != NULL && string[0] != 0;
}

static bool has_tls_files(const struct client_tls_options *tls)
{
    return is_set(tls->certificate_file) || is_set(tls->key_file) || is_set(tls->ca_file);
}

/* With TLS wherever an endpoint asks for it; the first endpoint decides for all, as in etcd's client. */
bool client_wants_tls(const struct client_options *options, const struct endpoint *first)
{
    const struct client_tls_options *tls = &options->tls;
    if (first->tls != ENDPOINT_TLS_IF_CONFIGURED) return first->tls == ENDPOINT_TLS_ALWAYS;
    return tls->enabled || tls->insecure_skip_verify || has_tls_files(tls);
}

struct error *client_tls_new(const struct client_tls_options *options, const struct logger *logger,
                             struct tls **tls)
{
    const struct tls_config config = {
        .role = TLS_CLIENT,
        .certificate_file = options->certificate_file,
        .key_file = options->key_file,
        .authorities_file = options->ca_file,
        .skip_verify = options->insecure_skip_verify,
        .alpn = TLS_ALPN_H2,
        .logger = logger,
    };
    return tls_new(&config, tls);
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static char *copy_of(const char *string)
{
    return is_set(string) ? mem_strdup(string) : NULL;
}

static void set_options(struct client *client, const struct client_options *options)
{
    client->logger = options->logger == NULL ? &log_discard : options->logger;
    rng_init(&client->rng, options->seed == 0 ? (uint64_t)clock_monotonic() : options->seed);
    client->token = copy_of(options->token);
    client->may_log_in = client->token == NULL && is_set(options->user) && is_set(options->password);
    client->user = copy_of(options->user);
    client->password = copy_of(options->password);
    client->server_name = copy_of(options->tls.server_name);
    client->dial_timeout = or_default(options->dial_timeout, default_dial_timeout);
    client->max_send_bytes = options->max_send_bytes == 0 ? DEFAULT_MAX_SEND_BYTES : options->max_send_bytes;
    client->max_receive_bytes =
        options->max_receive_bytes == 0 ? DEFAULT_MAX_RECEIVE_BYTES : options->max_receive_bytes;
    int64_t keep_alive = or_default(options->keep_alive_time, default_keep_alive_time);
    client->channel_config = (struct grpc_channel_config){
        .keepalive_time = keep_alive < keep_alive_time_minimum ? keep_alive_time_minimum : keep_alive,
        .keepalive_timeout = or_default(options->keep_alive_timeout, default_keep_alive_timeout),
        .logger = client->logger,
        .on_state = on_state,
    };
}

/* Opens a connection to each endpoint that is one. */
static void connect_all(struct client *client, const struct client_options *options)
{
    client->connections =
        (struct connection **)mem_zalloc(options->endpoint_count, sizeof(*client->connections));
    for (size_t i = 0; i < options->endpoint_count; i++) {
        struct endpoint endpoint;
        if (!endpoint_parse(options->endpoints[i], &endpoint)) continue;
        client->connections[client->connection_count++] = connection_new(client, &endpoint, true);
    }
}

/* What can be said about the options before anything is made. */
static struct error *check_options(const struct client_options *options, bool *secure, bool *any_secure)
{
    struct endpoint endpoint;
    size_t count = 0;
    *secure = *any_secure = false;
    for (size_t i = 0; i < options->endpoint_count; i++) {
        if (!endpoint_parse(options->endpoints[i], &endpoint)) continue;
        if (count++ == 0) *secure = client_wants_tls(options, &endpoint);
        *any_secure = *any_secure || endpoint.tls == ENDPOINT_TLS_ALWAYS;
        endpoint_deinit(&endpoint);
    }
    if (count == 0) return error_new(ERROR_INVALID, "etcdclient: no available endpoints");
    if (options->endpoint_count > CLIENT_ENDPOINTS_MAX)
        return error_new(ERROR_LIMIT, "more than %d endpoints", (int)CLIENT_ENDPOINTS_MAX);
    return NULL;
}

/* Files are read even when no endpoint needs them: one that cannot be used is a mistake all the same. */
static struct error *set_tls(struct client *client, const struct client_options *options, bool secure,
                             bool any_secure)
{
    if (!secure && !any_secure && !has_tls_files(&options->tls)) return NULL;
    TRY(client_tls_new(&options->tls, client->logger, &client->tls));
    if (secure) client->channel_config.security = tls_security(client->tls);
    return NULL;
}

static void release(struct client *client)
{
    tls_free(client->tls);
    free(client->connections);
    free(client->user);
    free(client->password);
    free(client->token);
    free(client->server_name);
    free(client);
}

struct error *client_new(struct loop *loop, const struct client_options *options, struct client **result)
{
    bool secure, any_secure;
    TRY(check_options(options, &secure, &any_secure));
    struct client *client = (struct client *)mem_zalloc(1, sizeof(*client));
    client->loop = loop;
    LIST_INIT(&client->others);
    LIST_INIT(&client->operations);
    LIST_INIT(&client->login_requests);
    TAILQ_INIT(&client->login_waiting);
    TAILQ_INIT(&client->waiting);
    set_options(client, options);
    struct error *error = set_tls(client, options, secure, any_secure);
    if (error != NULL) {
        release(client);
        return error;
    }
    connect_all(client, options);
    *result = client;
    return NULL;
}

const struct transport_security *client_http1_security(const struct client *client, enum endpoint_tls wanted)
{
    bool secure = wanted == ENDPOINT_TLS_ALWAYS ||
                  (wanted == ENDPOINT_TLS_IF_CONFIGURED && client->channel_config.security != NULL);
    return secure && client->tls != NULL ? tls_http1_security(client->tls) : NULL;
}

size_t client_endpoint_count(const struct client *client)
{
    return client->connection_count;
}

const char *client_endpoint(const struct client *client, size_t index)
{
    assert(index < client->connection_count);
    return client->connections[index]->endpoint.text;
}

static void connect_now(struct connection *connection)
{
    if (grpc_channel_state(connection->channel) == GRPC_CHANNEL_TRANSIENT_FAILURE)
        grpc_channel_connect(connection->channel);
}

void client_connect_now(struct client *client)
{
    for (size_t i = 0; i < client->connection_count; i++) connect_now(client->connections[i]);
    struct connection *connection;
    LIST_FOREACH (connection, &client->others, pinned) connect_now(connection);
}

/* ---- Unary calls ---- */

struct client_call {
    struct operation operation; /* first: the handler casts */
    client_reply_fn *done;
    void *context;
    ProtobufCMessage *response;
    struct arena *arena;
    int64_t lease; /* client_keep_alive_once */
};

static void call_on_message(struct operation *operation, ProtobufCMessage *message, struct arena *arena)
{
    struct client_call *call = (struct client_call *)operation;
    arena_free(call->arena);
    call->arena = arena;
    call->response = message;
}

static void call_on_end(struct operation *operation, struct client_error *error)
{
    struct client_call *call = (struct client_call *)operation;
    struct client_reply reply = {
        .response = error == NULL ? call->response : NULL,
        .error = error,
        .endpoint = operation->used == NULL ? NULL : operation->used->endpoint.text,
        .arena = call->arena,
    };
    assert(error != NULL || reply.response != NULL);
    call->done(call->context, &reply);
    arena_free(reply.arena);
    client_error_free(error);
    free(call);
}

static const struct operation_handler call_handler = {.on_message = call_on_message, .on_end = call_on_end};

struct client_call *client_call(struct client *client, enum client_rpc rpc, const ProtobufCMessage *request,
                                const struct client_call_options *options, client_reply_fn *done,
                                void *context)
{
    assert(client_method(rpc)->kind == CLIENT_UNARY);
    struct client_call *call = (struct client_call *)mem_zalloc(1, sizeof(*call));
    call->done = done;
    call->context = context;
    operation_start(&call->operation, client, &call_handler, rpc, request, options);
    return call;
}

void client_call_cancel(struct client_call *call)
{
    operation_cancel(&call->operation);
}

/* ---- Server streams ---- */

struct client_stream {
    struct operation operation; /* first: the handler casts */
    client_event_fn *handler;
    void *context;
};

static void stream_on_message(struct operation *operation, ProtobufCMessage *message, struct arena *arena)
{
    struct client_stream *stream = (struct client_stream *)operation;
    struct client_event event = {.kind = CLIENT_EVENT_MESSAGE, .response = message, .arena = arena};
    stream->handler(stream->context, &event);
    arena_free(event.arena);
}

static void stream_on_end(struct operation *operation, struct client_error *error)
{
    struct client_stream *stream = (struct client_stream *)operation;
    struct client_event event = {.kind = CLIENT_EVENT_END, .error = error};
    stream->handler(stream->context, &event);
    client_error_free(error);
    free(stream);
}

static const struct operation_handler stream_handler = {.on_message = stream_on_message,
                                                        .on_end = stream_on_end};

struct client_stream *client_stream_start(struct client *client, enum client_rpc rpc,
                                          const ProtobufCMessage *request,
                                          const struct client_call_options *options, client_event_fn *handler,
                                          void *context)
{
    assert(client_method(rpc)->kind == CLIENT_SERVER_STREAM);
    struct client_stream *stream = (struct client_stream *)mem_zalloc(1, sizeof(*stream));
    stream->handler = handler;
    stream->context = context;
    operation_start(&stream->operation, client, &stream_handler, rpc, request, options);
    return stream;
}

void client_stream_pause(struct client_stream *stream)
{
    operation_pause(&stream->operation);
}

void client_stream_resume(struct client_stream *stream)
{
    operation_resume(&stream->operation);
}

void client_stream_cancel(struct client_stream *stream)
{
    operation_cancel(&stream->operation);
}

/* ---- Logging in ---- */

struct login_request {
    struct client *client;
    LIST_ENTRY(login_request) all;
    struct loop_timer timer; /* nothing to do: done from the loop */
    client_reply_fn *done;
    void *context;
};

static void login_request_end(struct login_request *request, const struct client_error *error)
{
    loop_timer_clear(request->client->loop, &request->timer);
    LIST_REMOVE(request, all);
    struct client_reply reply = {.error = error};
    request->done(request->context, &reply);
    free(request);
}

static void login_requests_end(struct client *client, const struct client_error *error)
{
    while (!LIST_EMPTY(&client->login_requests))
        login_request_end(LIST_FIRST(&client->login_requests), error);
}

static void on_login(void *context, struct client_reply *reply)
{
    struct client *client = (struct client *)context;
    client->login = NULL;
    const struct client_error *error = reply->error;
    if (error == NULL) {
        const Etcdserverpb__AuthenticateResponse *response =
            (const Etcdserverpb__AuthenticateResponse *)reply->response;
        free(client->token);
        client->token = mem_strdup(response->token);
        client->token_generation++;
    } else if (client_error_is(error, API_ERROR_AUTH_NOT_ENABLED)) {
        client->auth_disabled = true; /* goes on without a token until a server says otherwise */
        error = NULL;
    }
    if (client->closing) return; /* client_free ends the rest */
    if (error == NULL)
        operation_wake(&client->login_waiting);
    else
        operation_fail_all(&client->login_waiting, error);
    login_requests_end(client, error);
}

void client_login_begin(struct client *client)
{
    assert(client->may_log_in && client->login == NULL);
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    request.name = client->user;
    request.password = client->password;
    struct client_call_options options = {.deadline = client_deadline_after(client->dial_timeout)};
    client->login = client_call(client, CLIENT_AUTHENTICATE, &request.base, &options, on_login, client);
}

static void on_nothing_to_do(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    login_request_end(CONTAINER(timer, struct login_request, timer), NULL);
}

void client_login(struct client *client, client_reply_fn *done, void *context)
{
    struct login_request *request = (struct login_request *)mem_zalloc(1, sizeof(*request));
    *request = (struct login_request){.client = client,
                                      .timer = {.run = on_nothing_to_do},
                                      .done = done,
                                      .context = context};
    LIST_INSERT_HEAD(&client->login_requests, request, all);
    if (!client->may_log_in || client->token != NULL || client->auth_disabled)
        loop_timer_set(client->loop, &request->timer, client_now());
    else if (client->login == NULL)
        client_login_begin(client);
}

void client_forget_token(struct client *client)
{
    if (!client->may_log_in) return;
    free(client->token);
    client->token = NULL;
    client->token_generation++;
    client->auth_disabled = false;
}

bool client_error_wants_login(const struct client *client, const struct client_error *error)
{
    if (!client->may_log_in) return false;
    return error->known == API_ERROR_INVALID_AUTH_TOKEN || error->known == API_ERROR_AUTH_OLD_REVISION ||
           error->known == API_ERROR_USER_EMPTY;
}

/* ---- One renewal ---- */

static void once_on_open(struct operation *operation)
{
    const struct client_call *call = (const struct client_call *)operation;
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = call->lease;
    operation_send(operation, &request.base);
}

static void once_end(struct client_call *call, struct client_error *error)
{
    operation_abandon(&call->operation);
    call_on_end(&call->operation, error);
}

static void once_on_message(struct operation *operation, ProtobufCMessage *message, struct arena *arena)
{
    struct client_call *call = (struct client_call *)operation;
    call_on_message(operation, message, arena);
    bool alive = ((const Etcdserverpb__LeaseKeepAliveResponse *)message)->ttl > 0;
    const char *text = api_error_text(API_ERROR_LEASE_NOT_FOUND);
    once_end(call, alive ? NULL : client_error_new(GRPC_NOT_FOUND, bytes_from_string(text)));
}

/* The stream ended before it answered. */
static void once_on_end(struct operation *operation, struct client_error *error)
{
    call_on_end(operation, error != NULL ? error : client_error_new(GRPC_UNKNOWN, BYTES_LITERAL("EOF")));
}

static const struct operation_handler once_handler = {.on_open = once_on_open,
                                                      .on_message = once_on_message,
                                                      .on_end = once_on_end};

struct client_call *client_keep_alive_once(struct client *client, int64_t lease,
                                           const struct client_call_options *options, client_reply_fn *done,
                                           void *context)
{
    struct client_call *call = (struct client_call *)mem_zalloc(1, sizeof(*call));
    call->done = done;
    call->context = context;
    call->lease = lease;
    operation_start(&call->operation, client, &once_handler, CLIENT_LEASE_KEEP_ALIVE, NULL, options);
    return call;
}

/* ---- The end ---- */

void client_free(struct client *client)
{
    if (client == NULL) return;
    client->closing = true;
    client_watch_hub_free(client->watches);
    keep_alive_hub_free(client->keep_alives);
    struct client_error *canceled = client_error_canceled();
    while (!LIST_EMPTY(&client->operations)) {
        struct operation *operation = LIST_FIRST(&client->operations);
        operation_abandon(operation);
        operation->handler->on_end(operation, client_error_copy(canceled));
    }
    login_requests_end(client, canceled);
    client_error_free(canceled);
    for (size_t i = 0; i < client->connection_count; i++) connection_free(client->connections[i]);
    while (!LIST_EMPTY(&client->others)) {
        struct connection *other = LIST_FIRST(&client->others);
        LIST_REMOVE(other, pinned);
        connection_free(other);
    }
    release(client);
}
