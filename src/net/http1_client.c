/* A small HTTP/1.1 client: one connection, requests one after the other. Handlers may do anything but free
 * the client from within; http1_client_free from a handler is put off to the next turn of the loop. */
#include "base/container.h"
#include "base/list.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/http1.h"

#include <assert.h>
#include <ctype.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_CONNECT_TIMEOUT (20 * LOOP_SECOND)

struct http1_client_request {
    struct http1_client *client;
    const struct http1_client_handler *handler;
    void *context;
    struct buf head;   /* request line and headers, then the body's first piece */
    struct chain body; /* streamed pieces that wait for the connection */
    bool stream_body, chunked, body_over;
    bool sent;     /* on the connection, wholly or in part */
    bool reused;   /* sent on a connection that had served others */
    bool answered; /* bytes of a response have come */
    bool high;
    bool is_head;
    int status; /* of the response */
    size_t gather_limit;
    struct buf gathered; /* of the response's body */
    struct loop_timer timer;
    TAILQ_ENTRY(http1_client_request) link;
};

struct http1_client {
    struct loop *loop;
    char *address, *host, *server_name;
    const struct transport_security *security;
    int64_t connect_timeout;
    char *local_address; /* NULL: any */
    struct transport_connect *dialing;
    struct transport *transport;
    bool open;                                             /* the transport is, and not given up */
    size_t served;                                         /* responses on this connection */
    TAILQ_HEAD(request_queue, http1_client_request) queue; /* the first is the current one */
    struct loop_deferred work;
    http_parser parser;
    http_parser_settings settings;
    struct buf text; /* header names and values */
    struct http1_span {
        size_t name, name_size, value, value_size;
    } * spans;
    size_t span_count, span_capacity;
    bool in_value, in_headers, keep_alive;
    bool freed;
};

/* ---- ends ---- */

static void request_free(struct http1_client_request *request)
{
    loop_timer_clear(request->client->loop, &request->timer);
    buf_deinit(&request->head);
    chain_deinit(&request->body);
    buf_deinit(&request->gathered);
    free(request);
}

static void request_done(struct http1_client_request *request, const struct error *error)
{
    TAILQ_REMOVE(&request->client->queue, request, link);
    loop_timer_clear(request->client->loop, &request->timer);
    request->handler->on_done(request, error);
    request_free(request);
}

static void request_failed(struct http1_client_request *request, enum error_kind kind, const char *reason)
{
    struct error *error = error_new(kind, "%s", reason);
    request_done(request, error);
    error_free(error);
}

static void work_later(struct http1_client *client)
{
    loop_defer(client->loop, &client->work);
}

/* Gives the connection up; its on_close is ignored but for freeing. */
static void drop_connection(struct http1_client *client)
{
    client->open = false;
    if (client->transport != NULL) transport_close(client->transport, NULL);
}

static struct http1_client_request *current(const struct http1_client *client)
{
    struct http1_client_request *first = TAILQ_FIRST(&client->queue);
    return first != NULL && first->sent ? first : NULL;
}

/* ---- parser callbacks ---- */

static int on_message_begin(http_parser *parser)
{
    struct http1_client *client = parser->data;
    buf_clear(&client->text);
    client->span_count = 0;
    client->in_value = false;
    client->in_headers = true;
    return 0;
}

static bool text_add(struct http1_client *client, const char *at, size_t size)
{
    if (client->text.size + size > HTTP1_HEADER_LIMIT) return false;
    buf_append(&client->text, at, size);
    return true;
}

static int on_header_field(http_parser *parser, const char *at, size_t size)
{
    struct http1_client *client = parser->data;
    if (!client->in_headers) return 0;
    if (client->in_value || client->span_count == 0) {
        if (client->span_count == HTTP1_HEADERS_MAX) return -1;
        if (client->span_count == client->span_capacity) {
            client->span_capacity = client->span_capacity == 0 ? 16 : client->span_capacity * 2;
            client->spans = mem_realloc(client->spans, client->span_capacity * sizeof(*client->spans));
        }
        client->spans[client->span_count++] = (struct http1_span){.name = client->text.size};
        client->in_value = false;
    }
    client->spans[client->span_count - 1].name_size += size;
    return text_add(client, at, size) ? 0 : -1;
}

static int on_header_value(http_parser *parser, const char *at, size_t size)
{
    struct http1_client *client = parser->data;
    if (!client->in_headers) return 0;
    struct http1_span *span = &client->spans[client->span_count - 1];
    if (!client->in_value) span->value = client->text.size;
    client->in_value = true;
    span->value_size += size;
    return text_add(client, at, size) ? 0 : -1;
}

static void report_response(struct http1_client *client, struct http1_client_request *request)
{
    size_t count = client->span_count;
    struct http_header *headers = mem_alloc((count + 1) * sizeof(*headers));
    for (size_t i = 0; i < count; i++) {
        const struct http1_span *span = &client->spans[i];
        for (size_t j = 0; j < span->name_size; j++) {
            client->text.data[span->name + j] = (uint8_t)tolower(client->text.data[span->name + j]);
        }
        headers[i].name = bytes_of(client->text.data + span->name, span->name_size);
        headers[i].value = bytes_of(client->text.data + span->value, span->value_size);
    }
    request->handler->on_response(request, request->status, headers, count);
    free(headers);
}

static int on_headers_complete(http_parser *parser)
{
    struct http1_client *client = parser->data;
    struct http1_client_request *request = current(client);
    client->in_headers = false;
    if (request == NULL) return -1;
    parser->upgrade = 0;
    if (parser->status_code >= 100 && parser->status_code < 200) return 0;
    bool is_head = request->is_head;
    request->status = (int)parser->status_code;
    if (request->handler->on_response != NULL) report_response(client, request);
    if (!client->open) http_parser_pause(parser, 1);
    return is_head ? 1 : 0;
}

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct http1_client *client = parser->data;
    struct http1_client_request *request = current(client);
    if (request == NULL) return -1;
    if (request->handler->on_body != NULL)
        request->handler->on_body(request, bytes_of(at, size));
    else if (request->gathered.size + size <= request->gather_limit)
        buf_append(&request->gathered, at, size);
    request = client->open ? current(client) : NULL;
    if (request == NULL) http_parser_pause(parser, 1);
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http1_client *client = parser->data;
    if (parser->status_code >= 100 && parser->status_code < 200) return 0;
    client->keep_alive = http_should_keep_alive(parser) != 0;
    http_parser_pause(parser, 1);
    return 0;
}

/* ---- sending ---- */

static void put(struct http1_client *client, struct bytes bytes)
{
    chain_append(transport_output(client->transport), bytes);
}

static void put_piece(struct http1_client_request *request, struct bytes piece)
{
    struct http1_client *client = request->client;
    char line[32];
    if (request->chunked) {
        int length = snprintf(line, sizeof(line), "%zx\r\n", piece.size);
        put(client, bytes_of(line, (size_t)length));
    }
    put(client, piece);
    if (request->chunked) put(client, BYTES_LITERAL("\r\n"));
}

static void put_body(struct http1_client_request *request)
{
    while (request->body.size > 0) {
        struct bytes front = chain_front(&request->body);
        put_piece(request, front);
        chain_consume(&request->body, front.size);
    }
    if (request->body_over && request->chunked) {
        put(request->client, BYTES_LITERAL("0\r\n\r\n"));
        request->chunked = false; /* its end is written */
    }
    transport_flush_later(request->client->transport);
}

static void send_next(struct http1_client *client)
{
    struct http1_client_request *request = TAILQ_FIRST(&client->queue);
    if (request == NULL || request->sent) return;
    request->sent = true;
    request->reused = client->served > 0;
    http_parser_init(&client->parser, HTTP_RESPONSE);
    client->parser.data = client;
    put(client, buf_bytes(&request->head));
    put_body(request);
}

/* ---- the connection ---- */

static void on_open(void *context)
{
    struct http1_client *client = context;
    client->open = true;
    work_later(client);
}

/* more: bytes came behind it, which nobody asked for. */
static void response_complete(struct http1_client *client, bool more)
{
    struct http1_client_request *request = current(client);
    client->served++;
    bool whole = !request->stream_body || request->body_over;
    if (!client->keep_alive || !whole || more) drop_connection(client);
    request_done(request, NULL);
    work_later(client);
}

static void protocol_failed(struct http1_client *client, const char *reason)
{
    struct http1_client_request *request = current(client);
    drop_connection(client);
    if (request != NULL) request_failed(request, ERROR_OTHER, reason);
    work_later(client);
}

static void client_input(struct http1_client *client, struct bytes input)
{
    size_t used =
        http_parser_execute(&client->parser, &client->settings, (const char *)input.data, input.size);
    enum http_errno code = HTTP_PARSER_ERRNO(&client->parser);
    if (!client->open) return;
    if (code == HPE_PAUSED) {
        http_parser_pause(&client->parser, 0);
        response_complete(client, used < input.size);
    } else if (code != HPE_OK) {
        protocol_failed(client, http_errno_description(code));
    }
}

static void on_read(void *context, struct bytes bytes)
{
    struct http1_client *client = context;
    if (!client->open) return;
    struct http1_client_request *request = current(client);
    if (request == NULL) {
        drop_connection(client); /* nothing was asked */
        return;
    }
    request->answered = true;
    client_input(client, bytes);
}

static void on_drain(void *context)
{
    work_later(context);
}

static void on_close(void *context, const struct error *error)
{
    struct http1_client *client = context;
    bool was_open = client->open;
    client->transport = NULL;
    struct http1_client_request *request = current(client);
    if (was_open && request != NULL && error == NULL && request->answered) {
        client_input(client, BYTES_EMPTY); /* the end of a response without a length */
        request = client->open ? current(client) : NULL;
    }
    client->open = false;
    if (request != NULL && request->reused && !request->answered && !request->stream_body) {
        request->sent = false; /* a kept-alive connection that had ended: once more on a new one */
        request->reused = false;
        client->served = 0;
    } else if (request != NULL) {
        request_failed(request, ERROR_UNAVAILABLE, error == NULL ? "EOF" : error->text);
    }
    client->served = 0;
    work_later(client);
}

static const struct transport_handler client_transport_handler = {
    .on_open = on_open,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void on_dialed(void *context, struct transport *transport, struct error *error)
{
    struct http1_client *client = context;
    client->dialing = NULL;
    if (error != NULL) {
        struct http1_client_request *request;
        while ((request = TAILQ_FIRST(&client->queue)) != NULL) request_done(request, error);
        error_free(error);
        return;
    }
    const struct transport_security *security = client->security;
    if (security != NULL) transport = security->secure(security->context, transport, client->server_name);
    client->transport = transport;
    client->served = 0;
    transport_set_handler(transport, &client_transport_handler, client);
    transport_start(transport);
}

static void client_destroy(struct http1_client *client)
{
    assert(TAILQ_EMPTY(&client->queue) && client->transport == NULL);
    loop_defer_cancel(client->loop, &client->work);
    free(client->local_address);
    free(client->address);
    free(client->host);
    free(client->server_name);
    free(client->spans);
    buf_deinit(&client->text);
    free(client);
}

/* Written out first: the transport tells of what drains only when it had been stuck. */
static void tell_writable(struct http1_client_request *request)
{
    transport_flush(request->client->transport);
    if (transport_pending(request->client->transport) >= HTTP_SEND_LOW) return;
    request->high = false;
    if (request->handler->on_writable != NULL) request->handler->on_writable(request);
}

static void on_work(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct http1_client *client = CONTAINER(deferred, struct http1_client, work);
    if (client->freed) {
        if (client->transport == NULL) client_destroy(client);
        return;
    }
    struct http1_client_request *request = TAILQ_FIRST(&client->queue);
    if (request == NULL) return;
    if (client->open) {
        if (!request->sent) send_next(client);
        if (request->high) tell_writable(request);
    } else if (client->transport == NULL && client->dialing == NULL) {
        client->dialing =
            transport_connect(client->loop, client->address, client->connect_timeout, on_dialed, client);
        if (client->local_address != NULL) transport_connect_from(client->dialing, client->local_address);
    }
}

/* ---- the user's side ---- */

struct http1_client *http1_client_new(struct loop *loop, const struct http1_client_config *config)
{
    struct http1_client *client = mem_zalloc(1, sizeof(*client));
    client->loop = loop;
    client->address = mem_strdup(config->address);
    bool local = address_unix_path(config->address) != NULL;
    client->host = mem_strdup(config->host != NULL ? config->host : local ? "localhost" : config->address);
    client->security = config->security;
    if (config->server_name != NULL) {
        client->server_name = mem_strdup(config->server_name);
    } else {
        char *host = NULL, *port = NULL;
        struct error *error = local ? NULL : address_split(config->address, &host, &port);
        error_free(error);
        client->server_name = host != NULL ? host : mem_strdup("localhost");
        free(port);
    }
    client->connect_timeout =
        config->connect_timeout == 0 ? DEFAULT_CONNECT_TIMEOUT : config->connect_timeout;
    client->work.run = on_work;
    client->settings = (http_parser_settings){
        .on_message_begin = on_message_begin,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    TAILQ_INIT(&client->queue);
    return client;
}

void http1_client_connect_from(struct http1_client *client, const char *local_address)
{
    free(client->local_address);
    client->local_address = mem_strdup(local_address);
}

bool http1_client_is_idle(const struct http1_client *client)
{
    return TAILQ_EMPTY(&client->queue);
}

void http1_client_free(struct http1_client *client)
{
    if (client == NULL) return;
    assert(!client->freed);
    client->freed = true;
    drop_connection(client);
    if (client->dialing != NULL) transport_connect_cancel(client->dialing);
    client->dialing = NULL;
    struct http1_client_request *request;
    while ((request = TAILQ_FIRST(&client->queue)) != NULL) {
        request_failed(request, ERROR_CANCELED, "the client is closing");
    }
    work_later(client);
}

static void on_deadline(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct http1_client_request *request = CONTAINER(timer, struct http1_client_request, timer);
    struct http1_client *client = request->client;
    if (request->sent) drop_connection(client);
    request_failed(request, ERROR_TIMEOUT, "context deadline exceeded");
    work_later(client);
}

static void build_head(struct http1_client_request *request, const struct http1_client_options *options)
{
    struct buf *head = &request->head;
    buf_printf(head, "%s %s HTTP/1.1\r\nHost: %s\r\n", options->method, options->target,
               request->client->host);
    for (size_t i = 0; i < options->header_count; i++) {
        buf_append_bytes(head, options->headers[i].name);
        buf_append_string(head, ": ");
        buf_append_bytes(head, options->headers[i].value);
        buf_append_string(head, "\r\n");
    }
    bool has_body = strcmp(options->method, "GET") != 0 && strcmp(options->method, "HEAD") != 0;
    if (options->stream_body && options->body_size < 0) {
        request->chunked = true;
        buf_append_string(head, "Transfer-Encoding: chunked\r\n");
    } else if (options->stream_body) {
        buf_printf(head, "Content-Length: %lld\r\n", (long long)options->body_size);
    } else if (has_body || options->body.size > 0) {
        buf_printf(head, "Content-Length: %zu\r\n", options->body.size);
    }
    buf_append_string(head, "\r\n");
    if (options->stream_body)
        chain_append(&request->body, options->body);
    else
        buf_append_bytes(head, options->body);
}

struct http1_client_request *http1_client_request(struct http1_client *client,
                                                  const struct http1_client_options *options)
{
    assert(!client->freed && options->handler->on_done != NULL);
    struct http1_client_request *request = mem_zalloc(1, sizeof(*request));
    request->client = client;
    request->handler = options->handler;
    request->context = options->context;
    request->stream_body = options->stream_body;
    request->gather_limit = options->gather_limit;
    request->is_head = strcmp(options->method, "HEAD") == 0;
    request->timer.run = on_deadline;
    build_head(request, options);
    if (options->deadline != 0 && options->deadline != INT64_MAX) {
        loop_timer_set(client->loop, &request->timer, options->deadline);
    }
    TAILQ_INSERT_TAIL(&client->queue, request, link);
    work_later(client);
    return request;
}

void *http1_client_request_context(const struct http1_client_request *request)
{
    return request->context;
}

int http1_client_request_status(const struct http1_client_request *request)
{
    return request->status;
}

struct bytes http1_client_request_body(const struct http1_client_request *request)
{
    return buf_bytes(&request->gathered);
}

size_t http1_client_send(struct http1_client_request *request, struct blob *piece)
{
    assert(request->stream_body && !request->body_over);
    chain_append_blob(&request->body, piece, blob_bytes(piece));
    if (request->sent && request->client->open) put_body(request);
    size_t pending = request->body.size;
    if (request->sent && request->client->open) pending = transport_pending(request->client->transport);
    if (pending >= HTTP_SEND_HIGH) request->high = true;
    if (request->high) work_later(request->client);
    return pending;
}

void http1_client_send_end(struct http1_client_request *request)
{
    assert(request->stream_body);
    request->body_over = true;
    if (request->sent && request->client->open) put_body(request);
}

void http1_client_cancel(struct http1_client_request *request)
{
    struct http1_client *client = request->client;
    if (request->sent) drop_connection(client);
    request_failed(request, ERROR_CANCELED, "canceled");
    work_later(client);
}
