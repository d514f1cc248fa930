/* One HTTP/2 connection of the gRPC server: the nghttp2 session between a transport and its calls.
 *
 * Input is handed to the session as it comes. Output is produced once per turn of the loop (connection_write,
 * deferred): the session's frames go straight into the transport's output chain, message bytes by reference
 * where they are large, and leave in one system call. When the transport is full the session waits, and so
 * does reading.
 */
#include "config.h"

#include "base/container.h"
#include "base/memory.h"
#include "net/grpc_internal.h"

#include <assert.h>
#include <stdlib.h>

#define GOAWAY_WAIT LOOP_SECOND
#define TWO_HOURS   (7200 * LOOP_SECOND)

enum { PING_STRIKES_MAX = 2 };
/* Of OUTPUT_HIGH bytes each: what a connection whose client reads fast may write before others have their
 * turn. */
enum { ROUNDS_PER_TURN = 4 };

static const struct {
    uint32_t burst, rate;
    const char *what;
} allowances[ABUSE_KINDS] = {
    [ABUSE_RESET] = {1000, 200, "stream resets"},
    [ABUSE_SETTINGS] = {100, 10, "SETTINGS frames"},
    [ABUSE_PING] = {1000, 100, "PING frames"},
    [ABUSE_EMPTY_DATA] = {1000, 100, "empty DATA frames"},
    [ABUSE_PRIORITY] = {5000, 1000, "PRIORITY frames"},
    [ABUSE_OUR_RESET] = {5000, 1000, "streams that had to be reset"},
};

/* ---- limits ---- */

bool connection_allow(struct grpc_connection *connection, enum abuse kind)
{
    struct bucket *bucket = &connection->buckets[kind];
    int64_t now = loop_now(connection->server->loop);
    int64_t refill = (now - bucket->since) / (LOOP_SECOND / allowances[kind].rate);
    if (refill > 0) {
        bucket->used = refill >= bucket->used ? 0 : bucket->used - (uint32_t)refill;
        bucket->since = now;
    }
    if (bucket->used < allowances[kind].burst) {
        bucket->used++;
        return true;
    }
    if (!connection->closing) {
        log_warn(connection->server->config.logger, "closing a connection that exceeds a limit of HTTP/2",
                 LOG_STRING("remote-addr", transport_peer_address(connection->transport)),
                 LOG_STRING("too-many", allowances[kind].what));
        bump(&connection->server->metrics->abusive_connections, 1);
        connection_reject(connection, NGHTTP2_ENHANCE_YOUR_CALM, allowances[kind].what);
    }
    return false;
}

/* grpc-go's keepalive enforcement: each ping that comes too early is a strike, what we send in between
 * forgives them. */
static void on_client_ping(struct grpc_connection *connection)
{
    const struct grpc_server_config *config = &connection->server->config;
    if (connection->router != NULL)
        return; /* the policy is not applied where HTTP and gRPC share a TLS port */
    int64_t now = loop_now(connection->server->loop), before = connection->client_ping;
    connection->client_ping = now;
    if (connection->reset_strikes) {
        connection->reset_strikes = false;
        connection->ping_strikes = 0;
        return;
    }
    bool idle = connection->stream_count == 0 && !config->keepalive_permit_without_stream;
    int64_t least = idle ? TWO_HOURS : config->keepalive_min_time;
    if (before != 0 && now - before < least) connection->ping_strikes++;
    if (connection->ping_strikes > PING_STRIKES_MAX && !connection->closing) {
        log_warn(config->logger, "closing a connection that pings too often",
                 LOG_STRING("remote-addr", transport_peer_address(connection->transport)));
        bump(&connection->server->metrics->abusive_connections, 1);
        connection_reject(connection, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    }
}

/* ---- windows ---- */

void connection_received(struct grpc_connection *connection, size_t size)
{
    if (connection->held > HELD_MAX) {
        connection->owed += size;
        return;
    }
    nghttp2_session_consume_connection(connection->session, size);
}

void connection_consumed(struct grpc_connection *connection, int32_t stream_id, size_t size)
{
    nghttp2_session_consume_stream(connection->session, stream_id, size);
}

void connection_released(struct grpc_connection *connection, size_t size)
{
    assert(connection->held >= size);
    connection->held -= size;
    if (connection->owed > 0 && connection->held <= HELD_MAX) {
        nghttp2_session_consume_connection(connection->session, connection->owed);
        connection->owed = 0;
        connection_flush_later(connection);
    }
}

/* ---- output ---- */

void connection_flush_later(struct grpc_connection *connection)
{
    loop_defer(connection->server->loop, &connection->flush);
}

/* The first frame is our SETTINGS. It carries MAX_CONCURRENT_STREAMS behind the session's back, because
 * nghttp2 would close the connection of a client that exceeds it, where we refuse the stream. */
static void write_settings(struct grpc_connection *connection)
{
    connection->settings_sent = true;
    uint32_t limit = connection->server->config.max_concurrent_streams;
    bool limited = limit != UINT32_MAX;
    const uint8_t frame[] = {0,
                             0,
                             limited ? 6 : 0,
                             NGHTTP2_SETTINGS,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                             (uint8_t)(limit >> 24),
                             (uint8_t)(limit >> 16),
                             (uint8_t)(limit >> 8),
                             (uint8_t)limit};
    chain_append(transport_output(connection->transport), bytes_of(frame, limited ? sizeof(frame) : 9));
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags, void *user_data)
{
    (void)session;
    (void)flags;
    struct grpc_connection *connection = user_data;
    if (transport_pending(connection->transport) >= OUTPUT_HIGH) return NGHTTP2_ERR_WOULDBLOCK;
    if (!connection->settings_sent) {
        assert(size >= 9 && data[3] == NGHTTP2_SETTINGS);
        write_settings(connection);
        size_t own = 9 + ((size_t)data[1] << 8 | data[2]);
        assert(own <= size);
        chain_append(transport_output(connection->transport), bytes_of(data + own, size - own));
    } else {
        chain_append(transport_output(connection->transport), bytes_of(data, size));
    }
    return (ssize_t)size;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t length,
                        nghttp2_data_source *source, void *user_data)
{
    (void)session;
    struct grpc_connection *connection = user_data;
    if (transport_pending(connection->transport) >= OUTPUT_HIGH) return NGHTTP2_ERR_WOULDBLOCK;
    assert(frame->data.padlen == 0);
    (void)frame;
    chain_append(transport_output(connection->transport), bytes_of(header, 9));
    connection->reset_strikes = true;
    if (*(enum stream_kind *)source->ptr == STREAM_CALL)
        call_data_sent(source->ptr, length);
    else
        http2_exchange_data_sent(source->ptr, length);
    return 0;
}

static void do_work(struct grpc_connection *connection)
{
    struct grpc_call *call;
    while ((call = TAILQ_FIRST(&connection->work)) != NULL) {
        TAILQ_REMOVE(&connection->work, call, work_link);
        call->in_work = false;
        call_do_work(call);
    }
    http2_exchange_do_work(connection);
}

static bool is_over(struct grpc_connection *connection)
{
    if (connection->closing) return true;
    if (nghttp2_session_want_write(connection->session)) return false;
    return (connection->final_goaway && connection->stream_count == 0) ||
           !nghttp2_session_want_read(connection->session);
}

static void connection_write(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct grpc_connection *connection = CONTAINER(deferred, struct grpc_connection, flush);
    struct transport *transport = connection->transport;
    for (int rounds = 0; rounds < ROUNDS_PER_TURN; rounds++) {
        int status = nghttp2_session_send(connection->session);
        if (status != 0) {
            connection_close(connection, error_new(ERROR_OTHER, "HTTP/2: %s", nghttp2_strerror(status)));
            return;
        }
        transport_flush(transport);
        if (transport->state >= TRANSPORT_FINISHING) return;
        do_work(connection);
        /* Whatever went out at once made room for more. */
        if (!nghttp2_session_want_write(connection->session) || transport_pending(transport) > 0) break;
    }
    if (transport_pending(transport) == 0 && nghttp2_session_want_write(connection->session) &&
        !connection->closing) {
        loop_defer_to_next_turn(connection->server->loop, &connection->flush);
        return;
    }
    if (is_over(connection)) {
        connection->closing = true;
        transport_finish(transport);
    } else if (transport_pending(transport) >= OUTPUT_HIGH && !connection->input_stopped) {
        connection->input_stopped = true;
        transport_read_stop(transport);
    }
}

static void on_drain(void *context)
{
    struct grpc_connection *connection = context;
    if (connection->input_stopped) {
        connection->input_stopped = false;
        transport_read_start(connection->transport);
    }
    connection_flush_later(connection);
}

/* ---- ends ---- */

void connection_close(struct grpc_connection *connection, struct error *error)
{
    connection->closing = true;
    transport_close(connection->transport, error);
}

void connection_reject(struct grpc_connection *connection, uint32_t code, const char *debug)
{
    if (connection->closing) return;
    connection->closing = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(connection->session);
    nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE, last, code, (const uint8_t *)debug,
                          strlen(debug));
    connection_flush_later(connection);
}

static void final_goaway(struct grpc_connection *connection)
{
    if (connection->final_goaway) return;
    connection->final_goaway = true;
    loop_timer_clear(connection->server->loop, &connection->goaway);
    int32_t last = nghttp2_session_get_last_proc_stream_id(connection->session);
    nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
    connection_flush_later(connection);
}

static void on_goaway_time(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    final_goaway(CONTAINER(timer, struct grpc_connection, goaway));
}

/* Calls that are on their way when the first GOAWAY leaves still arrive before the ping's answer does. */
void connection_shut_down(struct grpc_connection *connection)
{
    if (connection->announced || connection->closing) return;
    connection->announced = true;
    nghttp2_submit_shutdown_notice(connection->session);
    nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, NULL);
    struct loop *loop = connection->server->loop;
    loop_timer_set(loop, &connection->goaway, clock_monotonic() + GOAWAY_WAIT);
    connection_flush_later(connection);
}

void connection_stream_gone(struct grpc_connection *connection)
{
    assert(connection->stream_count > 0);
    connection->stream_count--;
    if (connection->final_goaway && connection->stream_count == 0) connection_flush_later(connection);
}

void connection_reset_stream(struct grpc_connection *connection, int32_t stream_id, uint32_t code)
{
    nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, stream_id, code);
    connection_flush_later(connection);
}

static void on_transport_close(void *context, const struct error *error)
{
    (void)error;
    struct grpc_connection *connection = context;
    struct grpc_server *server = connection->server;
    connection->closing = true;
    struct grpc_call *call;
    while ((call = LIST_FIRST(&connection->calls)) != NULL) call_stream_closed(call);
    while (!LIST_EMPTY(&connection->exchanges)) http2_exchange_closed(LIST_FIRST(&connection->exchanges));
    assert(connection->stream_count == 0 && TAILQ_EMPTY(&connection->work) && connection->held == 0);
    nghttp2_session_del(connection->session);
    loop_defer_cancel(server->loop, &connection->flush);
    loop_timer_clear(server->loop, &connection->keepalive);
    loop_timer_clear(server->loop, &connection->goaway);
    LIST_REMOVE(connection, link);
    bump_gauge(&server->metrics->connections, -1);
    free(connection);
    server_connection_gone(server);
}

/* ---- keepalive: ours ---- */

static int64_t next_look(const struct grpc_connection *connection)
{
    int64_t at = connection->last_read + connection->server->config.keepalive_interval;
    return connection->settings_received || at < connection->preface_limit ? at : connection->preface_limit;
}

static void on_keepalive(struct loop *loop, struct loop_timer *timer)
{
    struct grpc_connection *connection = CONTAINER(timer, struct grpc_connection, keepalive);
    const struct grpc_server_config *config = &connection->server->config;
    int64_t now = loop_now(loop);
    if (!connection->settings_received && now >= connection->preface_limit) {
        log_info(config->logger, "closing a connection that does not begin to speak HTTP/2",
                 LOG_STRING("remote-addr", transport_peer_address(connection->transport)));
        connection_close(connection, error_new(ERROR_TIMEOUT, "no SETTINGS within the time limit"));
        return;
    }
    if (connection->ping_sent != 0 && connection->last_read <= connection->ping_sent) {
        log_info(config->logger, "closing a connection that does not answer pings",
                 LOG_STRING("remote-addr", transport_peer_address(connection->transport)));
        connection_close(connection, error_new(ERROR_TIMEOUT, "keepalive ping not acked within timeout"));
        return;
    }
    connection->ping_sent = 0;
    if (now - connection->last_read >= config->keepalive_interval) {
        nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, NULL);
        connection_flush_later(connection);
        connection->ping_sent = now;
        loop_timer_set(loop, timer, now + config->keepalive_timeout);
    } else {
        loop_timer_set(loop, timer, next_look(connection));
    }
}

/* ---- input ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_connection *connection = user_data;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct grpc_server *server = connection->server;
    if (connection->stream_count >= server->config.max_concurrent_streams ||
        connection->queued > QUEUED_MAX) {
        bump(&server->metrics->refused_streams, 1);
        connection_reset_stream(connection, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    struct grpc_call *call = server_take_call(server);
    call->connection = connection;
    call->stream_id = frame->hd.stream_id;
    LIST_INSERT_HEAD(&connection->calls, call, link);
    connection->stream_count++;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

static const char *const pseudo_headers[] = {":method", ":scheme", ":path", ":authority"};
static const char *const connection_headers[] = {"connection", "keep-alive", "proxy-connection",
                                                 "transfer-encoding", "upgrade"};
enum { PSEUDO_HEADERS = 4, CONNECTION_HEADERS = 5, PSEUDO_HEADERS_NEEDED = 7 };

/* RFC 9113, 8.2 and 8.3, but for what :authority may be: etcdctl 3.4 puts a URL there, and nghttp2's own
 * checks, which would refuse it, can only be left out together. */
static bool header_allowed(struct grpc_call *call, struct bytes name, struct bytes value)
{
    if (!nghttp2_check_header_value(value.data, value.size)) return false;
    if (name.size == 0 || name.data[0] != ':') {
        call->regular_header_seen = true;
        for (size_t i = 0; i < CONNECTION_HEADERS; i++)
            if (bytes_equal(name, bytes_from_string(connection_headers[i]))) return false;
        return nghttp2_check_header_name(name.data, name.size) != 0;
    }
    if (call->regular_header_seen) return false;
    for (size_t i = 0; i < PSEUDO_HEADERS; i++) {
        if (!bytes_equal(name, bytes_from_string(pseudo_headers[i]))) continue;
        bool first = (call->pseudo_headers_seen >> i & 1) == 0;
        call->pseudo_headers_seen = (uint8_t)(call->pseudo_headers_seen | 1u << i);
        return first;
    }
    return false;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    (void)user_data;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call == NULL) return 0;
    assert(call->kind == STREAM_CALL);
    size_t size = name_size + value_size + 32; /* RFC 9113, 6.5.2 */
    call->header_bytes += size;
    call->connection->header_bytes += size;
    call->header_count++;
    if (call->connection->header_bytes > HEADER_LIST_MAX || call->header_count > HEADERS_MAX ||
        !header_allowed(call, bytes_of(name, name_size), bytes_of(value, value_size)))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    request_header(call, bytes_of(name, name_size), bytes_of(value, value_size));
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t size, void *user_data)
{
    (void)flags;
    struct grpc_connection *connection = user_data;
    connection_received(connection, size);
    enum stream_kind *stream = nghttp2_session_get_stream_user_data(session, stream_id);
    if (stream == NULL)
        connection_consumed(connection, stream_id, size);
    else if (*stream == STREAM_CALL)
        call_data((struct grpc_call *)stream, bytes_of(data, size));
    else
        http2_exchange_data((struct http2_exchange *)stream, bytes_of(data, size));
    return 0;
}

static void on_stream_frame(nghttp2_session *session, const nghttp2_frame *frame)
{
    enum stream_kind *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream == NULL) return;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        struct grpc_call *call = (struct grpc_call *)stream;
        if ((call->pseudo_headers_seen & PSEUDO_HEADERS_NEEDED) != PSEUDO_HEADERS_NEEDED) {
            connection_reset_stream(call->connection, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
            return;
        }
        request_headers_done(call);
        stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    }
    if (stream == NULL || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return;
    if (*stream == STREAM_CALL)
        call_half_closed((struct grpc_call *)stream);
    else
        http2_exchange_half_closed((struct http2_exchange *)stream);
}

static void on_control_frame(struct grpc_connection *connection, const nghttp2_frame *frame)
{
    bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (!ack) connection_allow(connection, ABUSE_SETTINGS);
        connection->settings_received = true;
        break;
    case NGHTTP2_PING:
        if (ack && connection->announced) final_goaway(connection);
        if (!ack && connection_allow(connection, ABUSE_PING)) on_client_ping(connection);
        break;
    case NGHTTP2_RST_STREAM:
        connection_allow(connection, ABUSE_RESET);
        break;
    case NGHTTP2_PRIORITY:
        connection_allow(connection, ABUSE_PRIORITY);
        break;
    default:
        break;
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_connection *connection = user_data;
    if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) {
        bool empty = frame->hd.type == NGHTTP2_DATA && frame->hd.length == frame->data.padlen &&
                     !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
        if (empty) connection_allow(connection, ABUSE_EMPTY_DATA);
        on_stream_frame(session, frame);
    } else {
        on_control_frame(connection, frame);
    }
    /* Makes the session stop in the middle of its input. */
    return connection->closing ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct grpc_connection *connection = user_data;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR) connection_allow(connection, ABUSE_OUR_RESET);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS)
        connection->reset_strikes = true;
    else if (frame->hd.type != NGHTTP2_DATA)
        return 0;
    /* A complete answer makes the rest of the request pointless (RFC 9113, 8.1). */
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0) {
        connection_reset_stream(connection, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user_data)
{
    (void)code;
    (void)user_data;
    enum stream_kind *stream = nghttp2_session_get_stream_user_data(session, stream_id);
    if (stream == NULL) return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (*stream == STREAM_CALL)
        call_stream_closed((struct grpc_call *)stream);
    else
        http2_exchange_closed((struct http2_exchange *)stream);
    return 0;
}

static void on_read(void *context, struct bytes bytes)
{
    struct grpc_connection *connection = context;
    if (connection->closing) return;
    connection->last_read = loop_now(connection->server->loop);
    ssize_t used = nghttp2_session_mem_recv(connection->session, bytes.data, bytes.size);
    if (used < 0 && !connection->closing) {
        log_warn(connection->server->config.logger, "closing a connection that breaks HTTP/2",
                 LOG_STRING("remote-addr", transport_peer_address(connection->transport)),
                 LOG_STRING("error", nghttp2_strerror((int)used)));
        if (used == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
            connection_close(connection, NULL);
            return;
        }
        bump(&connection->server->metrics->abusive_connections, 1);
        connection_reject(connection, NGHTTP2_ENHANCE_YOUR_CALM, nghttp2_strerror((int)used));
    }
    if (nghttp2_session_want_write(connection->session) || !nghttp2_session_want_read(connection->session)) {
        connection_flush_later(connection);
    }
}

/* ---- beginning ---- */

nghttp2_session_callbacks *connection_callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;
    int status = nghttp2_session_callbacks_new(&callbacks);
    assert(status == 0);
    (void)status;
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

nghttp2_option *connection_option_new(void)
{
    nghttp2_option *option;
    int status = nghttp2_option_new(&option);
    assert(status == 0);
    (void)status;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* header_allowed */
#if HAVE_DECL_NGHTTP2_OPTION_SET_STREAM_RESET_RATE_LIMIT
    /* ABUSE_RESET is the limit, with its own log line. */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
#endif
    return option;
}

static const struct transport_handler connection_transport_handler = {
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_transport_close,
};

void connection_new(struct grpc_server *server, struct transport *transport, struct bytes first,
                    const struct http_router *router)
{
    struct grpc_connection *connection = mem_zalloc(1, sizeof(*connection));
    connection->server = server;
    connection->transport = transport;
    connection->router = router;
    connection->flush.run = connection_write;
    connection->keepalive.run = on_keepalive;
    connection->goaway.run = on_goaway_time;
    TAILQ_INIT(&connection->work);
    LIST_INSERT_HEAD(&server->connections, connection, link);
    bump_gauge(&server->metrics->connections, 1);
    int status =
        nghttp2_session_server_new2(&connection->session, server->callbacks, connection, server->option);
    assert(status == 0);
    /* Streams need no order of importance; this spares the session the dependency tree. Not told to the peer
     * (write_settings). */
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
    status = nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 1);
    assert(status == 0);
    nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    connection->last_read = loop_now(server->loop);
    connection->preface_limit = connection->last_read + server->config.preface_timeout;
    loop_timer_set(server->loop, &connection->keepalive, next_look(connection));
    transport_set_handler(transport, &connection_transport_handler, connection);
    if (transport->state == TRANSPORT_NEW) transport_start(transport);
    connection_flush_later(connection);
    if (first.size > 0 && transport_is_open(transport)) on_read(connection, first);
}
