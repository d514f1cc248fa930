/* A call on the calling side. The object lives until its stream is closed; the user's pointer dies with
 * on_close. */
#include "base/container.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/grpc_client_internal.h"
#include "net/http.h"
#include "net/http2_output.h"

#include <assert.h>
#include <stdlib.h>

enum { STREAM_WINDOW = 1024 * 1024, CALL_BLOCK = 1024 };

/* ---- small tables, as in grpc-go's transport ---- */

static const struct {
    enum grpc_code code;
    const char *name;
} reset_codes[] = {
    [NGHTTP2_NO_ERROR] = {GRPC_INTERNAL, "NO_ERROR"},
    [NGHTTP2_PROTOCOL_ERROR] = {GRPC_INTERNAL, "PROTOCOL_ERROR"},
    [NGHTTP2_INTERNAL_ERROR] = {GRPC_INTERNAL, "INTERNAL_ERROR"},
    [NGHTTP2_FLOW_CONTROL_ERROR] = {GRPC_RESOURCE_EXHAUSTED, "FLOW_CONTROL_ERROR"},
    [NGHTTP2_SETTINGS_TIMEOUT] = {GRPC_INTERNAL, "SETTINGS_TIMEOUT"},
    [NGHTTP2_STREAM_CLOSED] = {GRPC_INTERNAL, "STREAM_CLOSED"},
    [NGHTTP2_FRAME_SIZE_ERROR] = {GRPC_INTERNAL, "FRAME_SIZE_ERROR"},
    [NGHTTP2_REFUSED_STREAM] = {GRPC_UNAVAILABLE, "REFUSED_STREAM"},
    [NGHTTP2_CANCEL] = {GRPC_CANCELED, "CANCEL"},
    [NGHTTP2_COMPRESSION_ERROR] = {GRPC_INTERNAL, "COMPRESSION_ERROR"},
    [NGHTTP2_CONNECT_ERROR] = {GRPC_INTERNAL, "CONNECT_ERROR"},
    [NGHTTP2_ENHANCE_YOUR_CALM] = {GRPC_RESOURCE_EXHAUSTED, "ENHANCE_YOUR_CALM"},
    [NGHTTP2_INADEQUATE_SECURITY] = {GRPC_PERMISSION_DENIED, "INADEQUATE_SECURITY"},
    [NGHTTP2_HTTP_1_1_REQUIRED] = {GRPC_INTERNAL, "HTTP_1_1_REQUIRED"},
};

static const struct {
    int status;
    enum grpc_code code;
} http_codes[] = {
    {400, GRPC_INTERNAL},      {401, GRPC_UNAUTHENTICATED}, {403, GRPC_PERMISSION_DENIED},
    {404, GRPC_UNIMPLEMENTED}, {429, GRPC_UNAVAILABLE},     {502, GRPC_UNAVAILABLE},
    {503, GRPC_UNAVAILABLE},   {504, GRPC_UNAVAILABLE},
};

static enum grpc_code code_of_http(int status)
{
    for (size_t i = 0; i < sizeof(http_codes) / sizeof(http_codes[0]); i++) {
        if (http_codes[i].status == status) return http_codes[i].code;
    }
    return GRPC_UNKNOWN;
}

/* ---- life ---- */

static void on_deadline(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct grpc_client_call *call = CONTAINER(timer, struct grpc_client_call, timer);
    call->end_waits = false;
    if (call->too_large)
        client_call_end(call, call->code, call->text, true);
    else
        client_call_end(call, GRPC_DEADLINE_EXCEEDED, BYTES_LITERAL("context deadline exceeded"),
                        call->is_waiting);
}

static void on_work(struct loop *loop, struct loop_deferred *deferred);

static void copy_metadata(struct grpc_client_call *call, const struct grpc_client_call_options *options)
{
    call->metadata = arena_alloc(call->arena, (options->metadata_count + 1) * sizeof(*call->metadata));
    call->metadata_count = options->metadata_count;
    for (size_t i = 0; i < options->metadata_count; i++) {
        struct bytes key = options->metadata[i].key, value = options->metadata[i].value;
        if (key.size > 4 && memcmp(key.data + key.size - 4, "-bin", 4) == 0) {
            struct buf encoded = {0};
            text_base64(&encoded, value);
            while (encoded.size > 0 && encoded.data[encoded.size - 1] == '=') encoded.size--;
            value = arena_copy(call->arena, buf_bytes(&encoded));
            buf_deinit(&encoded);
        } else {
            value = arena_copy(call->arena, value);
        }
        call->metadata[i] = (struct grpc_metadata){.key = arena_copy(call->arena, key), .value = value};
    }
}

struct grpc_client_call *grpc_channel_call(struct grpc_channel *channel,
                                           const struct grpc_client_call_options *options)
{
    assert(!channel->freed && options->handler->on_close != NULL);
    struct grpc_client_call *call = mem_zalloc(1, sizeof(*call));
    call->channel = channel;
    call->references = 1;
    call->work.run = on_work;
    LIST_INSERT_HEAD(&channel->calls, call, all_link);
    call->handler = options->handler;
    call->context = options->context;
    call->arena = arena_new();
    call->path = arena_copy(call->arena, bytes_from_string(options->path));
    call->deadline = options->deadline == 0 ? INT64_MAX : options->deadline;
    call->wait_for_ready = options->wait_for_ready;
    call->unary = options->unary;
    call->receive_limit = options->receive_limit == 0 ? GRPC_DEFAULT_RECEIVE_LIMIT : options->receive_limit;
    call->send_limit = options->send_limit == 0 ? GRPC_DEFAULT_SEND_LIMIT : options->send_limit;
    call->output.block_size = CALL_BLOCK;
    call->timer.run = on_deadline;
    copy_metadata(call, options);
    if (call->deadline != INT64_MAX) loop_timer_set(channel->loop, &call->timer, call->deadline);
    channel->call_count++;
    call->is_waiting = true;
    TAILQ_INSERT_TAIL(&channel->waiting, call, waiting_link);
    channel_work_later(channel);
    return call;
}

static void call_unref(struct grpc_client_call *call)
{
    assert(call->references > 0);
    if (--call->references > 0) return;
    assert(call->done && call->connection == NULL && !call->is_waiting);
    loop_defer_cancel(call->channel->loop, &call->work);
    grpc_frame_reader_deinit(&call->reader);
    buf_deinit(&call->held);
    chain_deinit(&call->output);
    arena_free(call->arena);
    free(call->received);
    free(call);
}

static void leave_waiting(struct grpc_client_call *call)
{
    if (!call->is_waiting) return;
    call->is_waiting = false;
    TAILQ_REMOVE(&call->channel->waiting, call, waiting_link);
}

/* on_close; afterwards the object only waits for its stream. */
static void close_call(struct grpc_client_call *call)
{
    assert(!call->done);
    call->done = true;
    loop_timer_clear(call->channel->loop, &call->timer);
    loop_defer_cancel(call->channel->loop, &call->work);
    LIST_REMOVE(call, all_link);
    leave_waiting(call);
    call->channel->call_count--;
    if (call->connection != NULL && call->unconsumed > 0) {
        nghttp2_session_consume_stream(call->connection->session, call->stream_id, call->unconsumed);
        call->unconsumed = 0;
    }
    const struct grpc_client_status status = {
        .code = call->code,
        .text = call->text,
        .unprocessed = call->unprocessed,
        .from_server = call->from_server,
        .trailers = call->received,
        .trailer_count = call->received_count,
    };
    call->handler->on_close(call, &status);
    call_unref(call);
}

static void end_or_wait(struct grpc_client_call *call)
{
    if (call->held.size > 0)
        call->end_waits = true;
    else
        close_call(call);
}

void client_call_end(struct grpc_client_call *call, enum grpc_code code, struct bytes text, bool unprocessed)
{
    if (call->done || call->end_waits) return;
    call->code = code;
    call->text = arena_copy(call->arena, text);
    call->unprocessed = unprocessed;
    call->received_count = 0;
    buf_clear(&call->held);
    if (call->connection != NULL && !call->connection->closing) {
        nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                  NGHTTP2_CANCEL);
        client_flush_later(call->connection);
    }
    close_call(call);
}

/* The stream's own end: it needs no reset. */
static void end_passively(struct grpc_client_call *call, enum grpc_code code, struct bytes text,
                          bool unprocessed)
{
    if (call->done || call->end_waits) return;
    call->code = code;
    call->text = arena_copy(call->arena, text);
    call->unprocessed = unprocessed;
    call->received_count = 0;
    end_or_wait(call);
}

void client_call_end_by_server(struct grpc_client_call *call)
{
    if (call->done || call->end_waits) return;
    call->from_server = true;
    if (call->code == GRPC_OK && call->unary && !call->message_seen && call->held.size == 0) {
        call->from_server = false;
        call->code = GRPC_INTERNAL;
        call->text = BYTES_LITERAL(
            "cardinality violation: received no response message from non-server-streaming RPC");
    }
    end_or_wait(call);
}

static void forget_stream(struct grpc_client_call *call)
{
    LIST_REMOVE(call, link);
    call->connection = NULL;
    chain_clear(&call->output);
}

static void end_by_reset(struct grpc_client_call *call, uint32_t code)
{
    char text[96];
    enum grpc_code mapped = GRPC_UNKNOWN;
    if (code < sizeof(reset_codes) / sizeof(reset_codes[0])) {
        mapped = reset_codes[code].code;
        snprintf(text, sizeof(text), "stream terminated by RST_STREAM with error code: %s",
                 reset_codes[code].name);
    } else {
        snprintf(text, sizeof(text),
                 "stream terminated by RST_STREAM with error code: unknown error code 0x%x", code);
    }
    end_passively(call, mapped, bytes_from_string(text), code == NGHTTP2_REFUSED_STREAM);
}

void client_call_stream_closed(struct grpc_client_call *call, uint32_t code)
{
    bool drained = call->stream_id > call->connection->goaway_last;
    forget_stream(call);
    if (drained)
        end_passively(call, GRPC_UNAVAILABLE, BYTES_LITERAL("the connection is draining"), true);
    else
        end_by_reset(call, code);
    call_unref(call);
}

void client_call_lost(struct grpc_client_call *call, const char *reason)
{
    bool drained = call->stream_id > call->connection->goaway_last;
    forget_stream(call);
    char *text = mem_printf("error reading from server: %s", reason);
    end_passively(call, GRPC_UNAVAILABLE, bytes_from_string(text), drained);
    free(text);
    call_unref(call);
}

/* ---- sending ---- */

static ssize_t on_data_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)buffer;
    (void)user_data;
    struct grpc_client_call *call = source->ptr;
    ssize_t part = http2_output_part(&call->output, call->send_closed, length, flags);
    if (part == NGHTTP2_ERR_DEFERRED) call->data_deferred = true;
    return part;
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

enum { OWN_HEADERS = 8 };

void client_call_start(struct grpc_client_call *call, struct client_connection *connection)
{
    leave_waiting(call);
    struct grpc_channel *channel = call->channel;
    nghttp2_nv *headers = arena_alloc(call->arena, (OWN_HEADERS + call->metadata_count) * sizeof(*headers));
    size_t count = 0;
    bool secure = channel->config.security != NULL;
    headers[count++] = name_value(BYTES_LITERAL(":method"), BYTES_LITERAL("POST"));
    headers[count++] =
        name_value(BYTES_LITERAL(":scheme"), secure ? BYTES_LITERAL("https") : BYTES_LITERAL("http"));
    headers[count++] = name_value(BYTES_LITERAL(":path"), call->path);
    headers[count++] = name_value(BYTES_LITERAL(":authority"), bytes_from_string(channel->authority));
    headers[count++] = name_value(BYTES_LITERAL("content-type"), BYTES_LITERAL("application/grpc"));
    headers[count++] = name_value(BYTES_LITERAL("user-agent"), bytes_from_string(channel->user_agent));
    headers[count++] = name_value(BYTES_LITERAL("te"), BYTES_LITERAL("trailers"));
    char timeout[16];
    if (call->deadline != INT64_MAX) {
        size_t size = grpc_timeout_format(timeout, call->deadline - clock_monotonic());
        headers[count++] = name_value(BYTES_LITERAL("grpc-timeout"), bytes_of(timeout, size));
    }
    for (size_t i = 0; i < call->metadata_count; i++) {
        headers[count++] = name_value(call->metadata[i].key, call->metadata[i].value);
    }
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_data_read};
    int32_t id = nghttp2_submit_request(connection->session, NULL, headers, count, &provider, call);
    if (id < 0) {
        /* Stream ids are used up: this connection is done with, the call is not. */
        client_call_end(call, GRPC_UNAVAILABLE, BYTES_LITERAL("the connection is draining"), true);
        return;
    }
    call->stream_id = id;
    call->connection = connection;
    call->references++;
    LIST_INSERT_HEAD(&connection->calls, call, link);
    client_flush_later(connection);
}

static void wake_session(struct grpc_client_call *call)
{
    if (call->connection == NULL) return;
    if (call->data_deferred) {
        call->data_deferred = false;
        nghttp2_session_resume_data(call->connection->session, call->stream_id);
    }
    client_flush_later(call->connection);
}

static void drop_parts(const struct grpc_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) blob_unref(parts[i].blob);
}

/* The error must not be reported from within the function the user called. */
static void fail_later(struct grpc_client_call *call, size_t size)
{
    char text[96];
    int length = snprintf(text, sizeof(text), "trying to send message larger than max (%zu vs. %zu)", size,
                          call->send_limit);
    call->code = GRPC_RESOURCE_EXHAUSTED;
    call->text = arena_copy(call->arena, bytes_of(text, (size_t)length));
    call->too_large = true;
    loop_timer_set(call->channel->loop, &call->timer, 0);
}

size_t grpc_client_call_send(struct grpc_client_call *call, const struct grpc_part *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].bytes.size;
    if (call->done || call->send_closed || call->too_large) {
        drop_parts(parts, count);
        return 0;
    }
    if (size > call->send_limit) {
        drop_parts(parts, count);
        fail_later(call, size);
        return 0;
    }
    uint8_t prefix[GRPC_PREFIX_SIZE];
    grpc_frame_prefix(prefix, size, false);
    chain_append(&call->output, bytes_of(prefix, sizeof(prefix)));
    for (size_t i = 0; i < count; i++) {
        if (parts[i].blob != NULL)
            chain_append_blob(&call->output, parts[i].blob, parts[i].bytes);
        else
            chain_append(&call->output, parts[i].bytes);
    }
    wake_session(call);
    if (call->output.size >= GRPC_CLIENT_SEND_HIGH) call->high = true;
    return call->output.size;
}

void grpc_client_call_half_close(struct grpc_client_call *call)
{
    if (call->done || call->send_closed) return;
    call->send_closed = true;
    wake_session(call);
}

struct grpc_client_call *grpc_channel_request(struct grpc_channel *channel,
                                              const struct grpc_client_call_options *options,
                                              const struct grpc_part *parts, size_t count)
{
    struct grpc_client_call *call = grpc_channel_call(channel, options);
    grpc_client_call_send(call, parts, count);
    grpc_client_call_half_close(call);
    return call;
}

void client_call_data_sent(struct grpc_client_call *call, size_t length)
{
    chain_move(transport_output(call->connection->transport), &call->output, length);
    if (call->high && call->output.size < GRPC_CLIENT_SEND_LOW) {
        call->high = false;
        call->writable = true;
        if (!call->done) loop_defer(call->channel->loop, &call->work);
    }
}

/* ---- the server's headers ---- */

static void received_add(struct grpc_client_call *call, struct bytes name, struct bytes value)
{
    if (call->received_count == call->received_capacity) {
        call->received_capacity = call->received_capacity == 0 ? 8 : call->received_capacity * 2;
        call->received = mem_realloc(call->received, call->received_capacity * sizeof(*call->received));
    }
    struct bytes kept = arena_copy(call->arena, value);
    if (name.size > 4 && memcmp(name.data + name.size - 4, "-bin", 4) == 0) {
        struct buf decoded = {0};
        if (text_parse_base64(value, &decoded)) kept = arena_copy(call->arena, buf_bytes(&decoded));
        buf_deinit(&decoded);
    }
    call->received[call->received_count++] =
        (struct grpc_metadata){.key = arena_copy(call->arena, name), .value = kept};
}

static int parse_number(struct bytes text)
{
    int value = 0;
    if (text.size == 0 || text.size > 5) return -1;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return -1;
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static void on_grpc_status(struct grpc_client_call *call, struct bytes value)
{
    int number = parse_number(value);
    call->status_seen = true;
    call->code = number < 0 || number >= GRPC_CODES ? GRPC_UNKNOWN : (enum grpc_code)number;
}

static void on_grpc_message(struct grpc_client_call *call, struct bytes value)
{
    struct buf decoded = {0};
    grpc_percent_decode(&decoded, value);
    call->text = arena_copy(call->arena, buf_bytes(&decoded));
    buf_deinit(&decoded);
}

static void on_content_type(struct grpc_client_call *call, struct bytes value)
{
    static const struct bytes type = BYTES_LITERAL("application/grpc");
    call->content_type_seen = true;
    call->content_type = arena_copy(call->arena, value);
    call->content_type_valid =
        bytes_starts_with(value, type) &&
        (value.size == type.size || value.data[type.size] == '+' || value.data[type.size] == ';');
}

static void on_grpc_encoding(struct grpc_client_call *call, struct bytes value)
{
    call->gzip = bytes_equal(value, BYTES_LITERAL("gzip"));
    if (!bytes_equal(value, BYTES_LITERAL("identity"))) call->encoding_name = arena_copy(call->arena, value);
}

static void on_http_status(struct grpc_client_call *call, struct bytes value)
{
    call->http_status = parse_number(value);
}

static const struct {
    struct bytes name;
    void (*take)(struct grpc_client_call *call, struct bytes value);
} known_headers[] = {
    {BYTES_LITERAL(":status"), on_http_status},         {BYTES_LITERAL("content-type"), on_content_type},
    {BYTES_LITERAL("grpc-status"), on_grpc_status},     {BYTES_LITERAL("grpc-message"), on_grpc_message},
    {BYTES_LITERAL("grpc-encoding"), on_grpc_encoding},
};

void client_call_header(struct grpc_client_call *call, struct bytes name, struct bytes value)
{
    if (call->done) return;
    for (size_t i = 0; i < sizeof(known_headers) / sizeof(known_headers[0]); i++) {
        if (!bytes_equal(name, known_headers[i].name)) continue;
        known_headers[i].take(call, value);
        return;
    }
    received_add(call, name, value);
}

/* Something answered, but not a gRPC server: what HTTP says becomes the status. */
static void not_grpc(struct grpc_client_call *call)
{
    struct buf text = {0};
    enum grpc_code code = code_of_http(call->http_status);
    if (call->http_status != 200) {
        buf_printf(&text, "unexpected HTTP status code received from server: %d (%s)", call->http_status,
                   http_status_text(call->http_status));
    }
    if (!call->content_type_valid) {
        if (text.size > 0) buf_append_string(&text, "; ");
        if (call->content_type_seen) {
            buf_append_string(&text, "transport: received unexpected content-type ");
            text_go_quote(&text, call->content_type);
        } else {
            buf_append_string(&text, "malformed header: missing HTTP content-type");
        }
    }
    client_call_end(call, code, buf_bytes(&text), false);
    buf_deinit(&text);
}

static void trailers_done(struct grpc_client_call *call)
{
    if (!call->status_seen) call->code = GRPC_UNKNOWN;
    if (grpc_frame_is_partial(&call->reader) && call->held.size == 0) {
        client_call_end(call, GRPC_INTERNAL, BYTES_LITERAL("unexpected EOF"), false);
        return;
    }
    client_call_end_by_server(call);
}

void client_call_headers_done(struct grpc_client_call *call, bool end_stream)
{
    if (call->done) return;
    if (call->response_seen) {
        if (end_stream) trailers_done(call);
        return;
    }
    if (call->http_status >= 100 && call->http_status < 200) return; /* the real ones follow */
    call->response_seen = true;
    if (!call->content_type_valid || call->http_status != 200) {
        not_grpc(call);
    } else if (end_stream) {
        trailers_done(call);
    } else {
        if (call->handler->on_headers != NULL) {
            call->handler->on_headers(call, call->received, call->received_count);
        }
        call->received_count = 0;
    }
}

void client_call_data_end(struct grpc_client_call *call)
{
    if (call->done) return;
    end_passively(call, GRPC_INTERNAL, BYTES_LITERAL("server closed the stream without sending trailers"),
                  false);
}

/* ---- messages ---- */

static void end_too_large(struct grpc_client_call *call, const char *what, size_t size)
{
    struct buf text = {0};
    if (size > 0)
        buf_printf(&text, "%s (%zu vs. %zu)", what, size, call->receive_limit);
    else
        buf_printf(&text, "%s %zu", what, call->receive_limit);
    client_call_end(call, GRPC_RESOURCE_EXHAUSTED, buf_bytes(&text), false);
    buf_deinit(&text);
}

static void deliver(struct grpc_client_call *call, struct bytes message)
{
    if (call->unary && call->message_seen) {
        client_call_end(call, GRPC_INTERNAL,
                        BYTES_LITERAL(
                            "cardinality violation: expected <EOF> for non server-streaming RPCs, but "
                            "received another message"),
                        false);
        return;
    }
    call->message_seen = true;
    if (call->handler->on_message != NULL) call->handler->on_message(call, message);
}

static void deliver_compressed(struct grpc_client_call *call, struct bytes message)
{
    struct buf plain = {0};
    if (call->encoding_name.size == 0) {
        client_call_end(call, GRPC_INTERNAL,
                        BYTES_LITERAL("grpc: compressed flag set with identity or empty encoding"), false);
        return;
    }
    if (!call->gzip) {
        buf_append_string(&plain, "grpc: Decompressor is not installed for grpc-encoding ");
        text_go_quote(&plain, call->encoding_name);
        client_call_end(call, GRPC_UNIMPLEMENTED, buf_bytes(&plain), false);
        buf_deinit(&plain);
        return;
    }
    switch (grpc_gzip_decompress(message, call->receive_limit, &plain)) {
    case GRPC_GZIP_OK:
        deliver(call, buf_bytes(&plain));
        break;
    case GRPC_GZIP_TOO_LARGE:
        end_too_large(call, "grpc: received message after decompression larger than max", 0);
        break;
    case GRPC_GZIP_MALFORMED:
        client_call_end(call, GRPC_INTERNAL,
                        BYTES_LITERAL("grpc: failed to decompress the received message: gzip: invalid data"),
                        false);
        break;
    }
    buf_deinit(&plain);
}

/* Delivers what it can of the input; returns what is left because the call was paused. */
static struct bytes take_input(struct grpc_client_call *call, struct bytes input)
{
    while (!call->paused && !call->done) {
        struct bytes message;
        bool compressed;
        bool fresh = !grpc_frame_is_partial(&call->reader);
        switch (grpc_frame_next(&call->reader, &input, call->receive_limit, &message, &compressed)) {
        case GRPC_FRAME_MORE:
            if (fresh && call->connection != NULL && grpc_frame_length(&call->reader) > STREAM_WINDOW) {
                /* Asks for all of a long message at once. */
                nghttp2_session_set_local_window_size(call->connection->session, NGHTTP2_FLAG_NONE,
                                                      call->stream_id,
                                                      (int32_t)(grpc_frame_length(&call->reader) +
                                                                STREAM_WINDOW));
            }
            return BYTES_EMPTY;
        case GRPC_FRAME_TOO_LARGE:
            end_too_large(call, "grpc: received message larger than max", grpc_frame_length(&call->reader));
            return BYTES_EMPTY;
        case GRPC_FRAME_MESSAGE:
            if (compressed)
                deliver_compressed(call, message);
            else
                deliver(call, message);
            break;
        }
    }
    return call->done ? BYTES_EMPTY : input;
}

static void give_back(struct grpc_client_call *call, size_t size)
{
    if (call->connection == NULL || size == 0) return;
    nghttp2_session_consume_stream(call->connection->session, call->stream_id, size);
}

/* Called from the session: the call has a stream, so it is not freed in here. */
void client_call_data(struct grpc_client_call *call, struct bytes data)
{
    if (call->done) {
        give_back(call, data.size);
        return;
    }
    struct bytes left = data;
    if (!call->paused && call->held.size == 0) left = take_input(call, data);
    give_back(call, data.size - left.size);
    buf_append_bytes(&call->held, left);
    call->unconsumed += left.size;
}

void grpc_client_call_pause(struct grpc_client_call *call)
{
    call->paused = true;
}

void grpc_client_call_resume(struct grpc_client_call *call)
{
    if (!call->paused || call->done) return;
    call->resume = true;
    loop_defer(call->channel->loop, &call->work);
}

static void resume(struct grpc_client_call *call)
{
    call->paused = false;
    struct buf held = call->held;
    call->held = (struct buf){0};
    struct bytes left = take_input(call, buf_bytes(&held));
    if (!call->done) {
        size_t used = held.size - left.size;
        size_t released = used < call->unconsumed ? used : call->unconsumed;
        call->unconsumed -= released;
        give_back(call, released);
        buf_append_bytes(&call->held, left);
        if (call->held.size == 0 && call->end_waits) {
            call->end_waits = false;
            close_call(call);
        }
    }
    if (call->connection != NULL) client_flush_later(call->connection);
    buf_deinit(&held);
}

static void on_work(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct grpc_client_call *call = CONTAINER(deferred, struct grpc_client_call, work);
    bool writable = call->writable, resumed = call->resume;
    call->writable = call->resume = false;
    call->references++;
    if (writable && !call->done && call->handler->on_writable != NULL) call->handler->on_writable(call);
    if (resumed && !call->done) resume(call);
    call_unref(call);
}

/* ---- the rest ---- */

void *grpc_client_call_context(const struct grpc_client_call *call)
{
    return call->context;
}

void grpc_client_call_cancel(struct grpc_client_call *call)
{
    if (call->done) return;
    call->end_waits = false;
    client_call_end(call, GRPC_CANCELED, BYTES_LITERAL("context canceled"), call->is_waiting);
}
