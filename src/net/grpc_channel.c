#include "config.h"

#include "base/container.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/address.h"
#include "net/grpc_client_internal.h"

#include <assert.h>
#include <stdlib.h>

#define DEFAULT_CONNECT_TIMEOUT   (20 * LOOP_SECOND)
#define DEFAULT_BACKOFF_BASE      LOOP_SECOND
#define DEFAULT_BACKOFF_LIMIT     (120 * LOOP_SECOND)
#define DEFAULT_KEEPALIVE_TIMEOUT (20 * LOOP_SECOND)

enum {
    OUTPUT_HIGH = 256 * 1024,
    CONNECTION_WINDOW = 4 * 1024 * 1024,
    STREAM_WINDOW = 1024 * 1024,
    HEADER_LIST_MAX = 16 * 1024 * 1024,
};

/* ---- states ---- */

static void set_state(struct grpc_channel *channel, enum grpc_channel_state state)
{
    if (channel->state == state) return;
    channel->state = state;
    if (channel->config.on_state == NULL) return;
    channel->config.on_state(channel->config.context, state,
                             state == GRPC_CHANNEL_TRANSIENT_FAILURE ? channel->error : NULL);
}

void channel_work_later(struct grpc_channel *channel)
{
    loop_defer(channel->loop, &channel->work);
}

/* Calls that do not wait for a connection that works end with the reason why there is none. */
static void fail_waiting(struct grpc_channel *channel)
{
    struct grpc_client_call *call, *next;
    for (call = TAILQ_FIRST(&channel->waiting); call != NULL; call = next) {
        next = TAILQ_NEXT(call, waiting_link);
        if (call->wait_for_ready) continue;
        client_call_end(call, GRPC_UNAVAILABLE, bytes_from_string(channel->error), true);
        /* The callback may have changed the list. */
        next = TAILQ_FIRST(&channel->waiting);
        while (next != NULL && next->wait_for_ready) next = TAILQ_NEXT(next, waiting_link);
    }
}

/* `reason` as grpc-go has it inside: "transport: Error while dialing: ...". */
static void connect_failed(struct grpc_channel *channel, const char *reason)
{
    struct buf text = {0};
    buf_append_string(&text, "connection error: desc = ");
    text_go_quote(&text, bytes_from_string(reason));
    free(channel->error);
    channel->error = mem_strdup(buf_string(&text));
    buf_deinit(&text);
    int64_t base = channel->config.backoff_base;
    if (channel->backoff == 0) channel->backoff = base;
    /* 20 % either way. */
    uint64_t spread = (uint64_t)channel->backoff * 2 / 5;
    int64_t pause = channel->backoff - (int64_t)(spread / 2) + (int64_t)rng_below(&channel->rng, spread + 1);
    channel->backoff = channel->backoff / 10 * 16;
    if (channel->backoff > channel->config.backoff_limit) channel->backoff = channel->config.backoff_limit;
    loop_timer_set(channel->loop, &channel->timer, clock_monotonic() + pause);
    log_debug(channel->config.logger, "failed to connect", LOG_STRING("address", channel->address),
              LOG_STRING("error", channel->error));
    set_state(channel, GRPC_CHANNEL_TRANSIENT_FAILURE);
    if (channel->state == GRPC_CHANNEL_TRANSIENT_FAILURE) fail_waiting(channel);
}

static void dialing_failed(struct grpc_channel *channel, const char *reason)
{
    char *text = mem_printf("transport: Error while dialing: %s", reason);
    connect_failed(channel, text);
    free(text);
}

static void connection_new(struct grpc_channel *channel, struct transport *transport);

static void on_dialed(void *context, struct transport *transport, struct error *error)
{
    struct grpc_channel *channel = context;
    channel->dialing = NULL;
    if (error != NULL) {
        loop_timer_clear(channel->loop, &channel->timer);
        dialing_failed(channel, error->text);
        error_free(error);
        return;
    }
    connection_new(channel, transport);
}

static void start_connecting(struct grpc_channel *channel)
{
    assert(channel->dialing == NULL && channel->current == NULL);
    channel->wanted = false;
    loop_timer_set(channel->loop, &channel->timer, clock_monotonic() + channel->config.connect_timeout);
    channel->dialing = transport_connect(channel->loop, channel->address, channel->config.connect_timeout,
                                         on_dialed, channel);
    set_state(channel, GRPC_CHANNEL_CONNECTING);
}

static void abandon(struct client_connection *connection, struct error *error)
{
    connection->closing = true;
    transport_close(connection->transport, error);
}

static void on_channel_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct grpc_channel *channel = CONTAINER(timer, struct grpc_channel, timer);
    if (channel->state == GRPC_CHANNEL_TRANSIENT_FAILURE) {
        start_connecting(channel);
    } else if (channel->state == GRPC_CHANNEL_CONNECTING && channel->current != NULL) {
        abandon(channel->current, error_new(ERROR_TIMEOUT, "context deadline exceeded"));
    } /* else dialing has the same limit, and its own text */
}

static void dispatch(struct grpc_channel *channel)
{
    struct grpc_client_call *call;
    while (channel->state == GRPC_CHANNEL_READY && (call = TAILQ_FIRST(&channel->waiting)) != NULL) {
        client_call_start(call, channel->current);
    }
}

static void channel_destroy(struct grpc_channel *channel)
{
    loop_timer_clear(channel->loop, &channel->timer);
    loop_defer_cancel(channel->loop, &channel->work);
    nghttp2_session_callbacks_del(channel->callbacks);
    nghttp2_option_del(channel->option);
    free(channel->address);
    free(channel->authority);
    free(channel->user_agent);
    free(channel->server_name);
    free(channel->error);
    free(channel);
}

static void on_channel_work(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct grpc_channel *channel = CONTAINER(deferred, struct grpc_channel, work);
    if (channel->freed) {
        if (LIST_EMPTY(&channel->connections)) channel_destroy(channel);
        return;
    }
    switch (channel->state) {
    case GRPC_CHANNEL_IDLE:
        if (channel->wanted || !TAILQ_EMPTY(&channel->waiting)) start_connecting(channel);
        break;
    case GRPC_CHANNEL_READY:
        dispatch(channel);
        break;
    case GRPC_CHANNEL_TRANSIENT_FAILURE:
        if (channel->wanted)
            start_connecting(channel);
        else
            fail_waiting(channel);
        break;
    case GRPC_CHANNEL_CONNECTING:
    case GRPC_CHANNEL_SHUTDOWN:
        break;
    }
}

/* ---- output ---- */

void client_flush_later(struct client_connection *connection)
{
    loop_defer(connection->channel->loop, &connection->flush);
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags, void *user_data)
{
    (void)session;
    (void)flags;
    struct client_connection *connection = user_data;
    if (transport_pending(connection->transport) >= OUTPUT_HIGH) return NGHTTP2_ERR_WOULDBLOCK;
    chain_append(transport_output(connection->transport), bytes_of(data, size));
    return (ssize_t)size;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t length,
                        nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)frame;
    struct client_connection *connection = user_data;
    if (transport_pending(connection->transport) >= OUTPUT_HIGH) return NGHTTP2_ERR_WOULDBLOCK;
    chain_append(transport_output(connection->transport), bytes_of(header, 9));
    client_call_data_sent(source->ptr, length);
    return 0;
}

static bool is_over(struct client_connection *connection)
{
    if (connection->closing) return true;
    if (nghttp2_session_want_write(connection->session)) return false;
    return (connection->draining && LIST_EMPTY(&connection->calls)) ||
           !nghttp2_session_want_read(connection->session);
}

static void on_flush(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct client_connection *connection = CONTAINER(deferred, struct client_connection, flush);
    struct transport *transport = connection->transport;
    if (connection->session == NULL || transport->state >= TRANSPORT_FINISHING) return;
    int status = nghttp2_session_send(connection->session);
    if (status != 0) {
        abandon(connection, error_new(ERROR_OTHER, "HTTP/2: %s", nghttp2_strerror(status)));
        return;
    }
    transport_flush(transport);
    if (transport->state >= TRANSPORT_FINISHING) return;
    if (transport_pending(transport) == 0 && nghttp2_session_want_write(connection->session)) {
        client_flush_later(connection);
    } else if (is_over(connection)) {
        connection->closing = true;
        transport_finish(transport);
    }
}

static void on_drain(void *context)
{
    client_flush_later(context);
}

/* ---- keepalive ---- */

static void keepalive_arm(struct client_connection *connection)
{
    if (connection->channel->config.keepalive_time == 0) return;
    loop_timer_set(connection->channel->loop, &connection->keepalive,
                   connection->last_read + connection->channel->config.keepalive_time);
}

static void on_keepalive(struct loop *loop, struct loop_timer *timer)
{
    struct client_connection *connection = CONTAINER(timer, struct client_connection, keepalive);
    const struct grpc_channel_config *config = &connection->channel->config;
    int64_t now = loop_now(loop);
    if (connection->ping_sent != 0) {
        abandon(connection, error_new(ERROR_TIMEOUT, "keepalive ping failed to receive ACK within timeout"));
        return;
    }
    bool allowed = config->keepalive_without_calls || !LIST_EMPTY(&connection->calls);
    if (now - connection->last_read < config->keepalive_time) {
        keepalive_arm(connection);
    } else if (!allowed) {
        loop_timer_set(loop, timer, now + config->keepalive_time);
    } else {
        nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, NULL);
        client_flush_later(connection);
        connection->ping_sent = now;
        loop_timer_set(loop, timer, now + config->keepalive_timeout);
    }
}

/* ---- input ---- */

static void became_ready(struct client_connection *connection)
{
    struct grpc_channel *channel = connection->channel;
    connection->ready = true;
    loop_timer_clear(channel->loop, &channel->timer);
    channel->backoff = 0;
    free(channel->error);
    channel->error = NULL;
    keepalive_arm(connection);
    set_state(channel, GRPC_CHANNEL_READY);
    channel_work_later(channel);
}

/* No new calls on this connection; what it has goes on to its end. */
static void start_draining(struct client_connection *connection)
{
    struct grpc_channel *channel = connection->channel;
    connection->draining = true;
    client_flush_later(connection);
    if (channel->current != connection) return;
    channel->current = NULL;
    if (!channel->freed) {
        loop_timer_clear(channel->loop, &channel->timer);
        set_state(channel, GRPC_CHANNEL_IDLE);
        channel_work_later(channel);
    }
}

static void on_goaway(struct client_connection *connection, const nghttp2_goaway *goaway)
{
    connection->goaway_last = goaway->last_stream_id;
    struct bytes debug = bytes_of(goaway->opaque_data, goaway->opaque_data_len);
    if (goaway->error_code == NGHTTP2_ENHANCE_YOUR_CALM &&
        bytes_equal(debug, BYTES_LITERAL("too_many_pings"))) {
        /* As grpc-go: from now on half as often. */
        connection->channel->config.keepalive_time *= 2;
    }
    if (!connection->draining) start_draining(connection);
}

static struct grpc_client_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    (void)user_data;
    struct grpc_client_call *call = call_of(session, frame->hd.stream_id);
    if (call == NULL || frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (arena_footprint(call->arena) > HEADER_LIST_MAX) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    client_call_header(call, bytes_of(name, name_size), bytes_of(value, value_size));
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct client_connection *connection = user_data;
    bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (!connection->ready && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) became_ready(connection);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(connection, &frame->goaway);
        break;
    case NGHTTP2_HEADERS: {
        struct grpc_client_call *call = call_of(session, frame->hd.stream_id);
        if (call != NULL) client_call_headers_done(call, end_stream);
        break;
    }
    case NGHTTP2_DATA: {
        struct grpc_client_call *call = call_of(session, frame->hd.stream_id);
        if (call != NULL && end_stream) client_call_data_end(call);
        break;
    }
    default:
        break;
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t size, void *user_data)
{
    (void)flags;
    (void)user_data;
    nghttp2_session_consume_connection(session, size);
    struct grpc_client_call *call = call_of(session, stream_id);
    if (call == NULL)
        nghttp2_session_consume_stream(session, stream_id, size);
    else
        client_call_data(call, bytes_of(data, size));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user_data)
{
    struct client_connection *connection = user_data;
    struct grpc_client_call *call = call_of(session, stream_id);
    if (call == NULL) return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    client_call_stream_closed(call, code);
    if (connection->draining && LIST_EMPTY(&connection->calls)) client_flush_later(connection);
    return 0;
}

static void on_read(void *context, struct bytes bytes)
{
    struct client_connection *connection = context;
    if (connection->closing) return;
    connection->last_read = loop_now(connection->channel->loop);
    if (connection->ping_sent != 0) {
        connection->ping_sent = 0;
        keepalive_arm(connection);
    }
    ssize_t used = nghttp2_session_mem_recv(connection->session, bytes.data, bytes.size);
    if (used < 0) {
        abandon(connection, error_new(ERROR_OTHER, "HTTP/2: %s", nghttp2_strerror((int)used)));
        return;
    }
    client_flush_later(connection);
}

/* ---- beginning and end of a connection ---- */

static void on_open(void *context)
{
    struct client_connection *connection = context;
    struct grpc_channel *channel = connection->channel;
    int status =
        nghttp2_session_client_new2(&connection->session, channel->callbacks, connection, channel->option);
    assert(status == 0);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    status = nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 2);
    assert(status == 0);
    (void)status;
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    connection->last_read = loop_now(channel->loop);
    client_flush_later(connection);
}

static void on_close(void *context, const struct error *error)
{
    struct client_connection *connection = context;
    struct grpc_channel *channel = connection->channel;
    const char *reason = error == NULL ? "EOF" : error->text;
    connection->closing = true;
    loop_timer_clear(channel->loop, &connection->keepalive);
    loop_defer_cancel(channel->loop, &connection->flush);
    LIST_REMOVE(connection, link);
    bool was_current = channel->current == connection;
    if (was_current) channel->current = NULL;
    struct grpc_client_call *call;
    while ((call = LIST_FIRST(&connection->calls)) != NULL) client_call_lost(call, reason);
    if (was_current && !channel->freed) {
        loop_timer_clear(channel->loop, &channel->timer);
        if (connection->ready) {
            set_state(channel, GRPC_CHANNEL_IDLE);
        } else if (connection->session == NULL) {
            char *text = mem_printf("transport: authentication handshake failed: %s", reason);
            connect_failed(channel, text);
            free(text);
        } else {
            char *text = mem_printf("error reading server preface: %s", reason);
            connect_failed(channel, text);
            free(text);
        }
    }
    nghttp2_session_del(connection->session);
    free(connection);
    channel_work_later(channel);
}

static const struct transport_handler client_transport_handler = {
    .on_open = on_open,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void connection_new(struct grpc_channel *channel, struct transport *transport)
{
    struct client_connection *connection = mem_zalloc(1, sizeof(*connection));
    const struct transport_security *security = channel->config.security;
    if (security != NULL) transport = security->secure(security->context, transport, channel->server_name);
    connection->channel = channel;
    connection->transport = transport;
    connection->goaway_last = INT32_MAX;
    connection->flush.run = on_flush;
    connection->keepalive.run = on_keepalive;
    LIST_INSERT_HEAD(&channel->connections, connection, link);
    channel->current = connection;
    transport_set_handler(transport, &client_transport_handler, connection);
    transport_start(transport);
}

/* ---- the channel ---- */

static void channel_session_setup(struct grpc_channel *channel)
{
    int status = nghttp2_session_callbacks_new(&channel->callbacks);
    assert(status == 0);
    nghttp2_session_callbacks_set_send_callback(channel->callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(channel->callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_header_callback(channel->callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(channel->callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(channel->callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(channel->callbacks, on_stream_close);
    status = nghttp2_option_new(&channel->option);
    assert(status == 0);
    (void)status;
    nghttp2_option_set_no_auto_window_update(channel->option, 1);
    nghttp2_option_set_no_closed_streams(channel->option, 1);
}

static char *host_of(const char *address)
{
    char *host, *port;
    if (address_unix_path(address) != NULL) return mem_strdup("localhost");
    struct error *error = address_split(address, &host, &port);
    if (error != NULL) {
        error_free(error);
        return mem_strdup(address);
    }
    free(port);
    return host;
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value != 0 ? value : fallback;
}

struct grpc_channel *grpc_channel_new(struct loop *loop, const struct grpc_channel_config *config)
{
    struct grpc_channel *channel = mem_zalloc(1, sizeof(*channel));
    channel->loop = loop;
    channel->config = *config;
    struct grpc_channel_config *c = &channel->config;
    c->connect_timeout = or_default(c->connect_timeout, DEFAULT_CONNECT_TIMEOUT);
    c->backoff_base = or_default(c->backoff_base, DEFAULT_BACKOFF_BASE);
    c->backoff_limit = or_default(c->backoff_limit, DEFAULT_BACKOFF_LIMIT);
    c->keepalive_timeout = or_default(c->keepalive_timeout, DEFAULT_KEEPALIVE_TIMEOUT);
    if (c->logger == NULL) c->logger = &log_discard;
    bool local = address_unix_path(config->address) != NULL;
    channel->address = mem_strdup(config->address);
    channel->authority = mem_strdup(config->authority != NULL ? config->authority
                                    : local                   ? "localhost"
                                                              : config->address);
    channel->user_agent = mem_strdup(config->user_agent != NULL ? config->user_agent
                                                                : "grpc-c-" PACKAGE_NAME "/" PACKAGE_VERSION);
    channel->server_name =
        config->server_name != NULL ? mem_strdup(config->server_name) : host_of(config->address);
    channel->work.run = on_channel_work;
    channel->timer.run = on_channel_timer;
    rng_init(&channel->rng, config->seed);
    TAILQ_INIT(&channel->waiting);
    channel_session_setup(channel);
    return channel;
}

void grpc_channel_free(struct grpc_channel *channel)
{
    if (channel == NULL) return;
    assert(!channel->freed);
    channel->freed = true;
    channel->config.on_state = NULL;
    channel->state = GRPC_CHANNEL_SHUTDOWN;
    loop_timer_clear(channel->loop, &channel->timer);
    if (channel->dialing != NULL) transport_connect_cancel(channel->dialing);
    channel->dialing = NULL;
    static const struct bytes closing = BYTES_LITERAL("grpc: the client connection is closing");
    struct grpc_client_call *call;
    while ((call = LIST_FIRST(&channel->calls)) != NULL) {
        call->end_waits = false;
        client_call_end(call, GRPC_CANCELED, closing, call->is_waiting);
    }
    struct client_connection *connection;
    LIST_FOREACH (connection, &channel->connections, link) abandon(connection, NULL);
    channel_work_later(channel);
}

void grpc_channel_connect(struct grpc_channel *channel)
{
    channel->wanted = true;
    channel_work_later(channel);
}

enum grpc_channel_state grpc_channel_state(const struct grpc_channel *channel)
{
    return channel->state;
}

const char *grpc_channel_error(const struct grpc_channel *channel)
{
    return channel->error;
}

size_t grpc_channel_calls(const struct grpc_channel *channel)
{
    return channel->call_count;
}
