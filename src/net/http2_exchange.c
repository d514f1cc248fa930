/* HTTP exchanges on streams of an HTTP/2 connection that gRPC shares with other requests (TLS ports). */
#include "base/memory.h"
#include "net/grpc_internal.h"
#include "net/http2_output.h"
#include "net/http_internal.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

struct http2_exchange {
    enum stream_kind kind;
    struct grpc_connection *connection;
    int32_t stream_id;
    struct http_exchange *exchange;
    struct chain output;
    struct buf held;     /* body received while paused */
    size_t header_bytes; /* of the request, in the connection's sum */
    bool half_closed;
    bool response_over;
    bool data_deferred;
    bool no_body;
    bool work; /* to be looked at by http2_exchange_do_work */
    LIST_ENTRY(http2_exchange) link;
};

static struct http2_exchange *carrier(const struct http_exchange *exchange)
{
    return exchange->carrier;
}

static ssize_t on_data_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)buffer;
    (void)user_data;
    struct http2_exchange *stream = source->ptr;
    ssize_t part = http2_output_part(&stream->output, stream->response_over, length, flags);
    if (part == NGHTTP2_ERR_DEFERRED) stream->data_deferred = true;
    return part;
}

static void wake(struct http2_exchange *stream)
{
    if (stream->data_deferred) {
        stream->data_deferred = false;
        nghttp2_session_resume_data(stream->connection->session, stream->stream_id);
    }
    connection_flush_later(stream->connection);
}

static nghttp2_nv name_value(struct bytes name, struct bytes value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.data,
        .namelen = name.size,
        .value = (uint8_t *)(uintptr_t)value.data,
        .valuelen = value.size,
    };
}

static void response_begin(struct http_exchange *exchange, int status, int64_t size)
{
    struct http2_exchange *stream = carrier(exchange);
    stream->no_body = http_method_is(exchange, "HEAD") || !http_status_has_body(status);
    size_t count = 0;
    nghttp2_nv *headers =
        arena_alloc(exchange->arena, (exchange->response_header_count + 2) * sizeof(*headers));
    const char *code = arena_printf(exchange->arena, "%d", status);
    headers[count++] = name_value(BYTES_LITERAL(":status"), bytes_from_string(code));
    for (size_t i = 0; i < exchange->response_header_count; i++) {
        struct bytes name = arena_copy(exchange->arena, exchange->response_headers[i].name);
        for (size_t j = 0; j < name.size; j++)
            ((uint8_t *)(uintptr_t)name.data)[j] = (uint8_t)tolower(name.data[j]);
        headers[count++] = name_value(name, exchange->response_headers[i].value);
    }
    if (size >= 0 && http_status_has_body(status)) {
        const char *length = arena_printf(exchange->arena, "%lld", (long long)size);
        headers[count++] = name_value(BYTES_LITERAL("content-length"), bytes_from_string(length));
    }
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = on_data_read};
    nghttp2_submit_response(stream->connection->session, stream->stream_id, headers, count,
                            stream->no_body ? NULL : &provider);
    connection_flush_later(stream->connection);
}

static void response_send(struct http_exchange *exchange, struct blob *piece)
{
    struct http2_exchange *stream = carrier(exchange);
    if (stream->no_body) {
        blob_unref(piece);
        return;
    }
    stream->connection->queued += piece->size;
    chain_append_blob(&stream->output, piece, blob_bytes(piece));
    wake(stream);
}

static void response_end(struct http_exchange *exchange)
{
    struct http2_exchange *stream = carrier(exchange);
    stream->response_over = true;
    wake(stream);
}

static void response_abort(struct http_exchange *exchange)
{
    struct http2_exchange *stream = carrier(exchange);
    connection_reset_stream(stream->connection, stream->stream_id, NGHTTP2_INTERNAL_ERROR);
}

static size_t response_pending(const struct http_exchange *exchange)
{
    return carrier(exchange)->output.size;
}

static void request_pause(struct http_exchange *exchange, bool paused)
{
    struct http2_exchange *stream = carrier(exchange);
    if (paused) return;
    stream->work = true;
    connection_flush_later(stream->connection);
}

static struct transport *exchange_transport(const struct http_exchange *exchange)
{
    return carrier(exchange)->connection->transport;
}

static const struct http_exchange_operations http2_operations = {
    .begin = response_begin,
    .send = response_send,
    .end = response_end,
    .abort = response_abort,
    .pending = response_pending,
    .pause = request_pause,
    .transport = exchange_transport,
};

static void fill_request(struct http_exchange *exchange, const struct grpc_call *call)
{
    struct http_request *request = &exchange->request;
    struct arena *arena = exchange->arena;
    request->method = arena_copy(arena, call->http_method);
    request->target = arena_copy(arena, call->path);
    request->major = 2;
    struct http_header *headers = arena_alloc(arena, (call->metadata_count + 1) * sizeof(*headers));
    size_t count = 0;
    for (size_t i = 0; i < call->metadata_count; i++) {
        struct bytes value = arena_copy(arena, call->metadata[i].value);
        if (bytes_equal(call->metadata[i].key, BYTES_LITERAL(":authority"))) {
            request->host = value;
            continue;
        }
        headers[count++] =
            (struct http_header){.name = arena_copy(arena, call->metadata[i].key), .value = value};
    }
    request->headers = headers;
    request->header_count = count;
    if (request->host.size == 0) (void)http_request_header(exchange, "host", &request->host);
}

void http2_exchange_begin(struct grpc_call *call)
{
    struct grpc_connection *connection = call->connection;
    struct http2_exchange *stream = mem_zalloc(1, sizeof(*stream));
    stream->kind = STREAM_EXCHANGE;
    stream->connection = connection;
    stream->stream_id = call->stream_id;
    stream->exchange = exchange_new(connection->server->loop, &http2_operations, stream);
    fill_request(stream->exchange, call);
    nghttp2_session_set_stream_user_data(connection->session, stream->stream_id, stream);
    LIST_INSERT_HEAD(&connection->exchanges, stream, link);
    connection->stream_count++;
    stream->header_bytes = call->header_bytes;
    connection->header_bytes += stream->header_bytes;
    call_stream_closed(call); /* its place is taken */
    exchange_route(stream->exchange, connection->router);
}

void http2_exchange_data(struct http2_exchange *stream, struct bytes data)
{
    if (stream->exchange->paused || stream->held.size > 0) {
        buf_append_bytes(&stream->held, data);
        stream->connection->held += data.size;
        return;
    }
    exchange_body(stream->exchange, data);
    connection_consumed(stream->connection, stream->stream_id, data.size);
}

void http2_exchange_half_closed(struct http2_exchange *stream)
{
    stream->half_closed = true;
    if (stream->held.size == 0 && !stream->exchange->paused) exchange_body_end(stream->exchange);
}

void http2_exchange_data_sent(struct http2_exchange *stream, size_t length)
{
    chain_move(transport_output(stream->connection->transport), &stream->output, length);
    stream->connection->queued -= length;
    if (stream->exchange->high && stream->output.size < HTTP_SEND_LOW) {
        stream->work = true;
        connection_flush_later(stream->connection);
    }
}

void http2_exchange_closed(struct http2_exchange *stream)
{
    struct grpc_connection *connection = stream->connection;
    LIST_REMOVE(stream, link);
    connection->queued -= stream->output.size;
    connection->header_bytes -= stream->header_bytes;
    connection_released(connection, stream->held.size);
    connection_stream_gone(connection);
    exchange_close(stream->exchange);
    chain_deinit(&stream->output);
    buf_deinit(&stream->held);
    free(stream);
}

static void take_held(struct http2_exchange *stream)
{
    struct buf held = stream->held;
    stream->held = (struct buf){0};
    if (held.size > 0) {
        exchange_body(stream->exchange, buf_bytes(&held));
        connection_released(stream->connection, held.size);
        connection_consumed(stream->connection, stream->stream_id, held.size);
        buf_deinit(&held);
    }
    if (stream->half_closed && !stream->exchange->paused) exchange_body_end(stream->exchange);
}

void http2_exchange_do_work(struct grpc_connection *connection)
{
    struct http2_exchange *stream;
    LIST_FOREACH (stream, &connection->exchanges, link) {
        if (!stream->work) continue;
        stream->work = false;
        if (!stream->exchange->paused) take_held(stream);
        if (stream->output.size < HTTP_SEND_LOW) exchange_writable(stream->exchange);
    }
}
