/* HTTP/1 connections of the serving side. One request at a time: while its response is not complete, what the
 * client has sent behind it waits in `held`. The parser is stopped at the end of the headers and of the
 * message, so that handlers never run inside it. */
#include "base/container.h"
#include "base/list.h"
#include "base/memory.h"
#include "net/http1.h"
#include "net/http_internal.h"

#include <assert.h>
#include <ctype.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DEFAULT_HEADER_TIMEOUT (300 * LOOP_SECOND)

/* DRAIN_MAX: a body of which so much may be left when it is answered early is read and dropped; before a
 * longer one the connection is given up. Go's number. */
enum { HELD_MAX = 64 * 1024, DATE_SIZE = 40, DRAIN_MAX = 256 * 1024 };

struct http1_connection;

struct http1_server {
    struct loop *loop;
    struct http1_server_config config;
    LIST_HEAD(, http1_connection) connections;
    size_t connection_count;
    http_parser_settings settings;
    char date[DATE_SIZE];
    time_t date_second;
    bool closing;
    struct loop_timer drain;
    struct loop_deferred closed;
    void (*done)(void *context);
    void *done_context;
};

/* A header as it comes in: places in `text`. */
struct span {
    size_t name, name_size, value, value_size;
};

struct http1_connection {
    struct http1_server *server;
    struct transport *transport;
    const struct http_router *router;
    LIST_ENTRY(http1_connection) link;
    http_parser parser;
    struct buf text; /* target, then header names and values, of the request that is being read */
    size_t target_size;
    struct span *spans;
    size_t span_count, span_capacity;
    bool in_value;
    bool at_headers, at_end; /* why the parser has paused */
    bool too_large;
    bool keep_alive; /* of the current request */
    bool last;       /* close after the current response */
    bool closing;
    bool body_over;                   /* there is no body, or all of it has come */
    bool request_over, response_over; /* both: the next request's turn */
    bool head, chunked, no_body;      /* of the current response */
    struct http_exchange *exchange;
    struct bytes rest; /* input behind the headers, while on_request runs */
    struct buf held;
    struct loop_deferred work;
    struct loop_timer timer;
};

/* ---- parser callbacks: gather, decide nothing ---- */

static bool text_add(struct http1_connection *connection, const char *at, size_t size)
{
    if (connection->text.size + size > HTTP1_HEADER_LIMIT) {
        connection->too_large = true;
        return false;
    }
    buf_append(&connection->text, at, size);
    return true;
}

static int on_message_begin(http_parser *parser)
{
    struct http1_connection *connection = parser->data;
    buf_clear(&connection->text);
    connection->target_size = connection->span_count = 0;
    connection->in_value = false;
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct http1_connection *connection = parser->data;
    connection->target_size += size;
    return text_add(connection, at, size) ? 0 : -1;
}

static bool in_trailers(const struct http1_connection *connection)
{
    return connection->exchange != NULL;
}

static int on_header_field(http_parser *parser, const char *at, size_t size)
{
    struct http1_connection *connection = parser->data;
    if (in_trailers(connection)) return 0;
    if (connection->in_value || connection->span_count == 0) {
        if (connection->span_count == HTTP1_HEADERS_MAX) {
            connection->too_large = true;
            return -1;
        }
        if (connection->span_count == connection->span_capacity) {
            connection->span_capacity = connection->span_capacity == 0 ? 16 : connection->span_capacity * 2;
            connection->spans =
                mem_realloc(connection->spans, connection->span_capacity * sizeof(*connection->spans));
        }
        connection->spans[connection->span_count++] = (struct span){.name = connection->text.size};
        connection->in_value = false;
    }
    connection->spans[connection->span_count - 1].name_size += size;
    return text_add(connection, at, size) ? 0 : -1;
}

static int on_header_value(http_parser *parser, const char *at, size_t size)
{
    struct http1_connection *connection = parser->data;
    if (in_trailers(connection)) return 0;
    struct span *span = &connection->spans[connection->span_count - 1];
    if (!connection->in_value) span->value = connection->text.size;
    connection->in_value = true;
    span->value_size += size;
    return text_add(connection, at, size) ? 0 : -1;
}

static int on_headers_complete(http_parser *parser)
{
    struct http1_connection *connection = parser->data;
    connection->at_headers = true;
    parser->upgrade =
        0; /* who wants to upgrade takes the connection over; for all others it is a request like any */
    http_parser_pause(parser, 1);
    return 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http1_connection *connection = parser->data;
    exchange_body(connection->exchange, bytes_of(at, size));
    if (connection->exchange->paused || connection->closing) http_parser_pause(parser, 1);
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http1_connection *connection = parser->data;
    connection->at_end = true;
    http_parser_pause(parser, 1);
    return 0;
}

/* ---- responses ---- */

static const char *date_now(struct http1_server *server)
{
    time_t now = (time_t)(clock_wall() / LOOP_SECOND);
    if (now != server->date_second) {
        struct tm parts;
        gmtime_r(&now, &parts);
        static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        snprintf(server->date, sizeof(server->date), "%.3s, %02d %.3s %d %02d:%02d:%02d GMT",
                 days + 3 * parts.tm_wday, parts.tm_mday % 100, months + 3 * parts.tm_mon,
                 parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
        server->date_second = now;
    }
    return server->date;
}

static void put(struct http1_connection *connection, const char *text)
{
    chain_append(transport_output(connection->transport), bytes_from_string(text));
}

static void put_bytes(struct http1_connection *connection, struct bytes bytes)
{
    chain_append(transport_output(connection->transport), bytes);
}

/* A response that no handler makes; nothing can follow it. */
static void reject(struct http1_connection *connection, int status, const char *detail)
{
    char text[512];
    snprintf(text, sizeof(text),
             "HTTP/1.1 %d %s%s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
             "%d %s%s",
             status, http_status_text(status), detail, status, http_status_text(status), detail);
    put(connection, text);
    connection->closing = true;
    transport_finish(connection->transport);
}

static struct http1_connection *carrier(const struct http_exchange *exchange)
{
    return exchange->carrier;
}

static bool expects_continue(const struct http_exchange *exchange)
{
    struct bytes value;
    return http_request_header(exchange, "expect", &value) && value.size == 12 &&
           strncasecmp((const char *)value.data, "100-continue", 12) == 0;
}

/* Go's server keeps a connection whose request is answered before its end, when the rest is short. */
static bool is_worth_draining(const struct http_exchange *exchange)
{
    int64_t size = exchange->request.content_length;
    return size >= 0 && size <= DRAIN_MAX && !expects_continue(exchange);
}

static void response_begin(struct http_exchange *exchange, int status, int64_t size)
{
    struct http1_connection *connection = carrier(exchange);
    bool old = exchange->request.minor == 0;
    connection->no_body = connection->head || !http_status_has_body(status);
    connection->chunked = size < 0 && !old && !connection->no_body;
    if (!connection->body_over && !is_worth_draining(exchange)) connection->last = true;
    if (size < 0 && old) connection->last = true; /* its end is the end of the connection */
    if (connection->server->closing) connection->last = true;
    char line[160];
    snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    put(connection, line);
    for (size_t i = 0; i < exchange->response_header_count; i++) {
        put_bytes(connection, exchange->response_headers[i].name);
        put(connection, ": ");
        put_bytes(connection, exchange->response_headers[i].value);
        put(connection, "\r\n");
    }
    put(connection, "Date: ");
    put(connection, date_now(connection->server));
    put(connection, "\r\n");
    if (size >= 0 && http_status_has_body(status)) {
        snprintf(line, sizeof(line), "Content-Length: %lld\r\n", (long long)size);
        put(connection, line);
    } else if (connection->chunked) {
        put(connection, "Transfer-Encoding: chunked\r\n");
    }
    if (connection->last || !connection->keep_alive)
        put(connection, "Connection: close\r\n");
    else if (old)
        put(connection, "Connection: keep-alive\r\n");
    put(connection, "\r\n");
    transport_flush_later(connection->transport);
}

static void response_send(struct http_exchange *exchange, struct blob *piece)
{
    struct http1_connection *connection = carrier(exchange);
    size_t size = piece->size;
    if (connection->no_body || size == 0) {
        blob_unref(piece);
        return;
    }
    char line[32];
    if (connection->chunked) {
        snprintf(line, sizeof(line), "%zx\r\n", size);
        put(connection, line);
    }
    chain_append_shared(transport_output(connection->transport), piece, blob_bytes(piece));
    blob_unref(piece);
    if (connection->chunked) put(connection, "\r\n");
    transport_flush_later(connection->transport);
    loop_defer(connection->server->loop, &connection->work);
}

static void response_end(struct http_exchange *exchange)
{
    struct http1_connection *connection = carrier(exchange);
    if (connection->chunked) put(connection, "0\r\n\r\n");
    connection->response_over = true;
    transport_flush_later(connection->transport);
    loop_defer(connection->server->loop, &connection->work);
}

static void response_abort(struct http_exchange *exchange)
{
    struct http1_connection *connection = carrier(exchange);
    connection->closing = true;
    transport_close(connection->transport, NULL);
}

static size_t response_pending(const struct http_exchange *exchange)
{
    return transport_pending(carrier(exchange)->transport);
}

static void request_pause(struct http_exchange *exchange, bool paused)
{
    struct http1_connection *connection = carrier(exchange);
    if (!paused) loop_defer(connection->server->loop, &connection->work);
}

static struct transport *exchange_transport(const struct http_exchange *exchange)
{
    return carrier(exchange)->transport;
}

static struct transport *take_over(struct http_exchange *exchange, struct bytes *rest)
{
    struct http1_connection *connection = carrier(exchange);
    if (!connection->at_headers) return NULL;
    struct transport *transport = connection->transport;
    *rest = connection->rest;
    transport_set_handler(transport, NULL, NULL);
    connection->transport = NULL; /* the connection goes when on_request has returned */
    connection->closing = true;
    exchange->ended = true;
    return transport;
}

static const struct http_exchange_operations http1_operations = {
    .begin = response_begin,
    .send = response_send,
    .end = response_end,
    .abort = response_abort,
    .pending = response_pending,
    .pause = request_pause,
    .transport = exchange_transport,
    .take_over = take_over,
};

/* ---- a request ---- */

static struct bytes lower(struct bytes text)
{
    uint8_t *at = (uint8_t *)(uintptr_t)text.data;
    for (size_t i = 0; i < text.size; i++) at[i] = (uint8_t)tolower(at[i]);
    return text;
}

static void fill_request(struct http1_connection *connection, struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    struct bytes text = arena_copy(exchange->arena, buf_bytes(&connection->text));
    const char *method = http_method_str((enum http_method)connection->parser.method);
    request->method = bytes_from_string(method);
    request->target = bytes_of(text.data, connection->target_size);
    request->major = connection->parser.http_major;
    request->minor = connection->parser.http_minor;
    if (connection->parser.content_length != UINT64_MAX) {
        request->content_length = (int64_t)connection->parser.content_length;
    }
    struct http_header *headers =
        arena_alloc(exchange->arena, (connection->span_count + 1) * sizeof(*headers));
    for (size_t i = 0; i < connection->span_count; i++) {
        const struct span *span = &connection->spans[i];
        headers[i].name = lower(bytes_of(text.data + span->name, span->name_size));
        headers[i].value = bytes_of(text.data + span->value, span->value_size);
    }
    request->headers = headers;
    request->header_count = connection->span_count;
    (void)http_request_header(exchange, "host", &request->host);
}

/* The parser lets blanks pass in names. Others cut them off, or do not, and so see another request. */
static bool names_are_sound(const struct http_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (request->headers[i].name.size == 0 ||
            memchr(request->headers[i].name.data, ' ', request->headers[i].name.size) != NULL)
            return false;
    return true;
}

static void begin_request(struct http1_connection *connection)
{
    http_parser *parser = &connection->parser;
    struct bytes host;
    struct http_exchange *exchange = exchange_new(connection->server->loop, &http1_operations, connection);
    fill_request(connection, exchange);
    loop_timer_clear(connection->server->loop, &connection->timer);
    if (exchange->request.major != 1) {
        http_exchange_unref(exchange);
        reject(connection, 505, ": unsupported protocol version");
        return;
    }
    if (exchange->request.minor >= 1 && !http_request_header(exchange, "host", &host)) {
        http_exchange_unref(exchange);
        reject(connection, 400, ": missing required Host header");
        return;
    }
    if (!names_are_sound(&exchange->request)) {
        http_exchange_unref(exchange);
        reject(connection, 400, ": invalid header name");
        return;
    }
    bool has_body =
        (parser->flags & F_CHUNKED) || (parser->content_length > 0 && parser->content_length != UINT64_MAX);
    connection->exchange = exchange;
    connection->head = parser->method == HTTP_HEAD;
    connection->keep_alive = http_should_keep_alive(parser) != 0;
    connection->body_over = !has_body;
    connection->request_over = connection->response_over = false;
    exchange_route(exchange, connection->router);
    if (connection->transport == NULL || connection->closing) return;
    if (has_body && !exchange->begun && expects_continue(exchange)) {
        put(connection, "HTTP/1.1 100 Continue\r\n\r\n");
        transport_flush_later(connection->transport);
    }
}

static void end_exchange(struct http1_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    connection->exchange = NULL;
    exchange_close(exchange);
}

/* The input must wait: for the response to the request that is complete, for the handler, or for the client
 * to read. */
static bool is_blocked(const struct http1_connection *connection)
{
    if (connection->closing) return true;
    if (connection->exchange == NULL) return transport_pending(connection->transport) >= HTTP_SEND_HIGH;
    return connection->request_over || connection->exchange->paused;
}

static void parse_failed(struct http1_connection *connection, enum http_errno code)
{
    log_debug(connection->server->config.logger, "closing a connection that breaks HTTP/1",
              LOG_STRING("remote-addr", transport_peer_address(connection->transport)),
              LOG_STRING("error", http_errno_description(code)));
    if (connection->exchange != NULL && connection->exchange->begun) {
        connection->closing = true;
        transport_close(connection->transport, NULL);
    } else if (connection->too_large || code == HPE_HEADER_OVERFLOW) {
        reject(connection, 431, "");
    } else {
        reject(connection, 400, "");
    }
}

/* ---- the connection ---- */

static void connection_free(struct http1_connection *connection)
{
    struct http1_server *server = connection->server;
    assert(connection->exchange == NULL);
    loop_timer_clear(server->loop, &connection->timer);
    loop_defer_cancel(server->loop, &connection->work);
    LIST_REMOVE(connection, link);
    server->connection_count--;
    buf_deinit(&connection->text);
    buf_deinit(&connection->held);
    free(connection->spans);
    free(connection);
    if (server->closing && LIST_EMPTY(&server->connections)) loop_defer(server->loop, &server->closed);
}

static void parser_paused(struct http1_connection *connection, struct bytes input)
{
    http_parser_pause(&connection->parser, 0);
    if (connection->at_headers) {
        /* The parser has not yet taken the last line feed. */
        connection->rest = input.size > 0 ? bytes_of(input.data + 1, input.size - 1) : BYTES_EMPTY;
        begin_request(connection);
        connection->at_headers = false;
    } else if (connection->at_end) {
        connection->at_end = false;
        connection->body_over = connection->request_over = true;
        exchange_body_end(connection->exchange);
        if (connection->response_over) loop_defer(connection->server->loop, &connection->work);
    }
}

/* Feeds the parser; keeps what must wait. The connection may be gone afterwards if its transport was taken
 * over. */
static void connection_input(struct http1_connection *connection, struct bytes input)
{
    while (input.size > 0 && !is_blocked(connection)) {
        size_t used = http_parser_execute(&connection->parser, &connection->server->settings,
                                          (const char *)input.data, input.size);
        input = bytes_of(input.data + used, input.size - used);
        enum http_errno code = HTTP_PARSER_ERRNO(&connection->parser);
        if (code == HPE_PAUSED) {
            parser_paused(connection, input);
        } else if (code != HPE_OK) {
            parse_failed(connection, code);
        }
        if (connection->transport == NULL) {
            end_exchange(connection);
            connection_free(connection);
            return;
        }
    }
    if (connection->closing) return;
    buf_append_bytes(&connection->held, input);
    if (connection->held.size >= HELD_MAX) transport_read_stop(connection->transport);
}

static void await_request(struct http1_connection *connection, int64_t timeout)
{
    loop_timer_set(connection->server->loop, &connection->timer,
                   loop_now(connection->server->loop) + timeout);
}

static void exchange_complete(struct http1_connection *connection)
{
    end_exchange(connection);
    if (connection->last || !connection->keep_alive || connection->server->closing) {
        connection->closing = true;
        transport_finish(connection->transport);
        return;
    }
    connection->request_over = connection->response_over = false;
    await_request(connection, connection->server->config.idle_timeout);
    /* An idle connection holds little. */
    if (connection->held.size == 0) {
        buf_deinit(&connection->text);
        buf_deinit(&connection->held);
        free(connection->spans);
        connection->spans = NULL;
        connection->span_capacity = 0;
    }
}

static void on_work(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct http1_connection *connection = CONTAINER(deferred, struct http1_connection, work);
    struct http_exchange *exchange = connection->exchange;
    if (connection->closing) return;
    if (exchange != NULL && connection->response_over) {
        if (connection->request_over || connection->last || !connection->keep_alive)
            exchange_complete(connection);
    } else if (exchange != NULL && exchange->high) {
        /* Written out first: the transport tells of what drains only when it had been stuck. */
        transport_flush(connection->transport);
        if (transport_pending(connection->transport) < HTTP_SEND_LOW) exchange_writable(exchange);
    }
    if (connection->closing || is_blocked(connection)) return;
    struct buf held = connection->held;
    connection->held = (struct buf){0};
    transport_read_start(connection->transport);
    connection_input(connection, buf_bytes(&held));
    buf_deinit(&held);
}

static void on_read(void *context, struct bytes bytes)
{
    struct http1_connection *connection = context;
    if (connection->closing) return;
    if (connection->held.size > 0 || is_blocked(connection)) {
        buf_append_bytes(&connection->held, bytes);
        if (connection->held.size >= HELD_MAX) transport_read_stop(connection->transport);
        return;
    }
    connection_input(connection, bytes);
}

static void on_drain(void *context)
{
    struct http1_connection *connection = context;
    loop_defer(connection->server->loop, &connection->work);
}

static void on_close(void *context, const struct error *error)
{
    (void)error;
    struct http1_connection *connection = context;
    connection->closing = true;
    if (connection->exchange != NULL) end_exchange(connection);
    connection_free(connection);
}

static void on_timeout(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct http1_connection *connection = CONTAINER(timer, struct http1_connection, timer);
    connection->closing = true;
    transport_close(connection->transport, error_new(ERROR_TIMEOUT, "no request within the time limit"));
}

static const struct transport_handler http1_transport_handler = {
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

void http1_server_accept(struct http1_server *server, struct transport *transport, struct bytes first,
                         const struct http_router *router)
{
    if (server->closing) {
        transport_set_handler(transport, NULL, NULL);
        transport_close(transport, NULL);
        return;
    }
    struct http1_connection *connection = mem_zalloc(1, sizeof(*connection));
    connection->server = server;
    connection->transport = transport;
    connection->router = router;
    connection->work.run = on_work;
    connection->timer.run = on_timeout;
    http_parser_init(&connection->parser, HTTP_REQUEST);
    connection->parser.data = connection;
    LIST_INSERT_HEAD(&server->connections, connection, link);
    server->connection_count++;
    await_request(connection, server->config.header_timeout);
    transport_set_handler(transport, &http1_transport_handler, connection);
    if (transport->state == TRANSPORT_NEW) transport_start(transport);
    if (first.size > 0 && transport_is_open(transport)) on_read(connection, first);
}

/* ---- the server ---- */

static void on_closed(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct http1_server *server = CONTAINER(deferred, struct http1_server, closed);
    if (server->done == NULL) return;
    void (*done)(void *context) = server->done;
    server->done = NULL;
    done(server->done_context);
}

static void cut(struct http1_server *server, bool idle_only)
{
    struct http1_connection *connection;
    LIST_FOREACH (connection, &server->connections, link) {
        if (idle_only && connection->exchange != NULL) continue;
        connection->closing = true;
        transport_close(connection->transport, error_new(ERROR_CANCELED, "server is stopped"));
    }
}

static void on_drain_over(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    cut(CONTAINER(timer, struct http1_server, drain), false);
}

struct http1_server *http1_server_new(struct loop *loop, const struct http1_server_config *config)
{
    struct http1_server *server = mem_zalloc(1, sizeof(*server));
    server->loop = loop;
    server->config = *config;
    if (server->config.header_timeout == 0) server->config.header_timeout = DEFAULT_HEADER_TIMEOUT;
    if (server->config.idle_timeout == 0) server->config.idle_timeout = server->config.header_timeout;
    if (server->config.logger == NULL) server->config.logger = &log_discard;
    server->settings = (http_parser_settings){
        .on_message_begin = on_message_begin,
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    server->drain.run = on_drain_over;
    server->closed.run = on_closed;
    server->date_second = -1;
    http_parser_set_max_header_size(HTTP1_HEADER_LIMIT);
    return server;
}

void http1_server_free(struct http1_server *server)
{
    if (server == NULL) return;
    assert(LIST_EMPTY(&server->connections));
    loop_timer_clear(server->loop, &server->drain);
    loop_defer_cancel(server->loop, &server->closed);
    free(server);
}

void http1_server_close(struct http1_server *server, int64_t drain, void (*done)(void *context),
                        void *context)
{
    assert(!server->closing);
    server->closing = true;
    server->done = done;
    server->done_context = context;
    cut(server, drain > 0);
    if (LIST_EMPTY(&server->connections))
        loop_defer(server->loop, &server->closed);
    else if (drain > 0)
        loop_timer_set(server->loop, &server->drain, clock_monotonic() + drain);
}

size_t http1_server_connections(const struct http1_server *server)
{
    return server->connection_count;
}
