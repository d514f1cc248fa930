/* A call on the serving side, from its headers to its trailers. */
#include "base/container.h"
#include "base/memory.h"
#include "net/grpc_internal.h"
#include "net/http2_output.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

static const char *const code_digits[GRPC_CODES] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                    "9", "10", "11", "12", "13", "14", "15", "16"};

/* ---- plain accessors ---- */

struct grpc_call *grpc_call_ref(struct grpc_call *call)
{
    assert(call->references > 0);
    call->references++;
    return call;
}

void grpc_call_unref(struct grpc_call *call)
{
    assert(call->references > 0);
    if (--call->references > 0) return;
    assert(call->connection == NULL && call->local == NULL);
    server_recycle_call(call->server, call);
}

bool grpc_call_is_live(const struct grpc_call *call)
{
    return !call->finished && (call->connection != NULL || call->local != NULL);
}

const struct grpc_method *grpc_call_method(const struct grpc_call *call)
{
    return call->method;
}

size_t grpc_call_method_index(const struct grpc_call *call)
{
    return call->method_index;
}

struct loop *grpc_call_loop(const struct grpc_call *call)
{
    return call->server->loop;
}

void *grpc_call_server_context(const struct grpc_call *call)
{
    return call->server->config.context;
}

struct arena *grpc_call_arena(struct grpc_call *call)
{
    if (call->arena == NULL) call->arena = arena_new();
    return call->arena;
}

void *grpc_call_context(const struct grpc_call *call)
{
    return call->context;
}

void grpc_call_set_context(struct grpc_call *call, void *context)
{
    call->context = context;
}

bool grpc_call_metadata(const struct grpc_call *call, const char *key, struct bytes *value)
{
    struct bytes wanted = bytes_from_string(key);
    for (size_t i = 0; i < call->metadata_count; i++) {
        if (!bytes_equal(call->metadata[i].key, wanted)) continue;
        *value = call->metadata[i].value;
        return true;
    }
    return false;
}

const struct grpc_metadata *grpc_call_metadata_all(const struct grpc_call *call, size_t *count)
{
    *count = call->metadata_count;
    return call->metadata;
}

int64_t grpc_call_deadline(const struct grpc_call *call)
{
    return call->deadline;
}

int64_t grpc_call_started(const struct grpc_call *call)
{
    return call->started;
}

struct transport *grpc_call_transport(const struct grpc_call *call)
{
    if (call->local != NULL) return call->local->transport;
    return call->connection == NULL ? NULL : call->connection->transport;
}

const char *grpc_call_peer_common_name(const struct grpc_call *call)
{
    if (call->local != NULL) return call->local->common_name;
    return call->connection == NULL ? NULL : transport_peer_common_name(call->connection->transport);
}

const char *grpc_call_peer(const struct grpc_call *call)
{
    struct transport *transport = grpc_call_transport(call);
    return transport == NULL ? "" : transport_peer_address(transport);
}

size_t grpc_call_pending(const struct grpc_call *call)
{
    return call->local != NULL ? call->local->queue.size : call->output.size;
}

static struct grpc_method_metrics *metrics_of(const struct grpc_call *call)
{
    return &call->server->metrics->methods[call->method_index];
}

/* ---- the answer ---- */

#define NAME_VALUE(name_literal, value_data, value_size)                                                     \
    {                                                                                                        \
        (uint8_t *)(uintptr_t)("" name_literal), (uint8_t *)(uintptr_t)(value_data),                         \
            sizeof(name_literal) - 1, (value_size),                                                          \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                     \
    }

/* "application/grpc+X" for a request of "application/grpc+X" or "application/grpc;X", as grpc-go. */
static struct bytes response_type(struct grpc_call *call)
{
    static const struct bytes plain = BYTES_LITERAL("application/grpc");
    if (!call->content_type_valid || call->content_type.size <= plain.size + 1) return plain;
    struct bytes copy = arena_copy(grpc_call_arena(call), call->content_type);
    uint8_t *at = (uint8_t *)(uintptr_t)copy.data;
    at[plain.size] = '+';
    for (size_t i = plain.size; i < copy.size; i++) {
        if (at[i] >= 'A' && at[i] <= 'Z') at[i] = (uint8_t)(at[i] + 'a' - 'A');
    }
    return copy;
}

static void submit_trailers(struct grpc_call *call)
{
    const char *digits = code_digits[call->code];
    const nghttp2_nv trailers[] = {
        NAME_VALUE("grpc-status", digits, strlen(digits)),
        NAME_VALUE("grpc-message", call->status_text.data, call->status_text.size),
    };
    call->trailers_submitted = true;
    nghttp2_submit_trailer(call->connection->session, call->stream_id, trailers, 2);
}

static void submit_trailers_only(struct grpc_call *call, int http_status)
{
    struct bytes type = response_type(call);
    const char *digits = code_digits[call->code];
    char *status = arena_printf(grpc_call_arena(call), "%d", http_status);
    const nghttp2_nv headers[] = {
        NAME_VALUE(":status", status, strlen(status)),
        NAME_VALUE("content-type", type.data, type.size),
        NAME_VALUE("grpc-status", digits, strlen(digits)),
        NAME_VALUE("grpc-message", call->status_text.data, call->status_text.size),
    };
    call->response_started = call->trailers_submitted = true;
    nghttp2_submit_response(call->connection->session, call->stream_id, headers, 4, NULL);
    connection_flush_later(call->connection);
}

static void submit_response(struct grpc_call *call)
{
    struct bytes type = response_type(call);
    const nghttp2_nv headers[] = {
        NAME_VALUE(":status", "200", 3),
        NAME_VALUE("content-type", type.data, type.size),
        NAME_VALUE("grpc-encoding", "gzip", 4),
    };
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = call_data_read};
    call->response_started = true;
    nghttp2_submit_response(call->connection->session, call->stream_id, headers,
                            call->encoding == ENCODING_GZIP ? 3 : 2, &provider);
}

ssize_t call_data_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)buffer;
    (void)user_data;
    struct grpc_call *call = source->ptr;
    ssize_t part = http2_output_part(&call->output, call->finished, length, flags);
    if (part == NGHTTP2_ERR_DEFERRED) call->data_deferred = true;
    if ((*flags & NGHTTP2_DATA_FLAG_EOF) != 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (!call->trailers_submitted) submit_trailers(call);
    }
    return part;
}

static void work_later(struct grpc_call *call)
{
    if (call->in_work) return;
    call->in_work = true;
    TAILQ_INSERT_TAIL(&call->connection->work, call, work_link);
    connection_flush_later(call->connection);
}

void call_data_sent(struct grpc_call *call, size_t length)
{
    chain_move(transport_output(call->connection->transport), &call->output, length);
    call->connection->queued -= length;
    if (call->high && call->output.size < GRPC_SEND_LOW && !call->finished) {
        call->high = false;
        call->work_writable = true;
        work_later(call);
    }
}

static void wake_session(struct grpc_call *call)
{
    if (call->data_deferred) {
        call->data_deferred = false;
        nghttp2_session_resume_data(call->connection->session, call->stream_id);
    }
    connection_flush_later(call->connection);
}

static void drop_parts(const struct grpc_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) blob_unref(parts[i].blob);
}

static void queue_parts(struct grpc_call *call, const struct grpc_part *parts, size_t count, size_t size,
                        bool compressed)
{
    if (call->messages_sent == 0) {
        grpc_frame_prefix(call->prefix, size, compressed);
        chain_append_static(&call->output, bytes_of(call->prefix, GRPC_PREFIX_SIZE));
    } else {
        uint8_t prefix[GRPC_PREFIX_SIZE];
        grpc_frame_prefix(prefix, size, compressed);
        chain_append(&call->output, bytes_of(prefix, GRPC_PREFIX_SIZE));
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].blob != NULL)
            chain_append_blob(&call->output, parts[i].blob, parts[i].bytes);
        else
            chain_append_static(&call->output, parts[i].bytes);
    }
}

static void queue_message(struct grpc_call *call, const struct grpc_part *parts, size_t count, size_t size)
{
    size_t before = call->output.size;
    if (call->encoding == ENCODING_GZIP && size > 0) {
        struct buf compressed = {0};
        grpc_gzip_compress(parts, count, &compressed);
        drop_parts(parts, count);
        struct grpc_part part = grpc_part_of_blob(blob_from(buf_bytes(&compressed)));
        queue_parts(call, &part, 1, compressed.size, true);
        buf_deinit(&compressed);
    } else {
        queue_parts(call, parts, count, size, false);
    }
    call->connection->queued += call->output.size - before;
}

size_t grpc_call_send(struct grpc_call *call, const struct grpc_part *parts, size_t count)
{
    if (!grpc_call_is_live(call)) {
        drop_parts(parts, count);
        return 0;
    }
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].bytes.size;
    if (size > call->server->config.send_limit) {
        drop_parts(parts, count);
        grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "trying to send message larger than max (%zu vs. %zu)",
                       size, call->server->config.send_limit);
        return 0;
    }
    if (call->local != NULL) {
        local_send(call, parts, count, size);
    } else {
        queue_message(call, parts, count, size);
        if (!call->response_started) submit_response(call);
        wake_session(call);
    }
    call->messages_sent++;
    bump(&metrics_of(call)->messages_sent, 1);
    bump(&call->server->metrics->bytes_sent, size);
    size_t pending = grpc_call_pending(call);
    if (pending >= GRPC_SEND_HIGH) call->high = true;
    return pending;
}

size_t grpc_call_send_blob(struct grpc_call *call, struct blob *message)
{
    struct grpc_part part = grpc_part_of_blob(message);
    return grpc_call_send(call, &part, 1);
}

/* The text as it goes into grpc-message; nearly always it needs no escapes. */
static struct bytes encoded_text(struct grpc_call *call, struct bytes text)
{
    bool plain = true;
    for (size_t i = 0; i < text.size; i++) {
        plain = plain && text.data[i] >= ' ' && text.data[i] <= '~' && text.data[i] != '%';
    }
    if (plain || call->local != NULL) return arena_copy(grpc_call_arena(call), text);
    struct buf encoded = {0};
    grpc_percent_encode(&encoded, text);
    struct bytes kept = arena_copy(grpc_call_arena(call), buf_bytes(&encoded));
    buf_deinit(&encoded);
    return kept;
}

static void decide(struct grpc_call *call, enum grpc_code code, struct bytes text)
{
    assert((unsigned)code < GRPC_CODES);
    call->finished = true;
    call->code = code;
    call->status_text = text.size == 0 ? BYTES_EMPTY : encoded_text(call, text);
    if (call->method != NULL) bump(&metrics_of(call)->handled[code], 1);
    if (call->accepted && call->server->config.observe != NULL)
        call->server->config.observe(call, code, text);
}

/* Lets the decided status go out. */
static void conclude(struct grpc_call *call)
{
    if (call->local != NULL) {
        local_finish(call);
    } else if (!call->response_started) {
        submit_trailers_only(call, 200);
    } else {
        wake_session(call);
    }
}

void grpc_call_finish(struct grpc_call *call, enum grpc_code code, struct bytes text)
{
    if (!grpc_call_is_live(call)) return;
    decide(call, code, text);
    conclude(call);
}

void grpc_call_fail(struct grpc_call *call, enum grpc_code code, const char *format, ...)
{
    struct buf text = {0};
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&text, format, arguments);
    va_end(arguments);
    grpc_call_finish(call, code, buf_bytes(&text));
    buf_deinit(&text);
}

void grpc_call_reply(struct grpc_call *call, struct blob *message)
{
    grpc_call_send_blob(call, message);
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

void call_refuse(struct grpc_call *call, int http_status, enum grpc_code code, struct bytes text)
{
    assert(!call->finished && !call->accepted && call->connection != NULL);
    call->method = NULL; /* not counted as a call of it */
    decide(call, code, text);
    submit_trailers_only(call, http_status);
}

/* ---- the course of a call ---- */

static void on_deadline(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct grpc_call *call = CONTAINER(timer, struct grpc_call, timer);
    if (!call->finished) {
        call_cancel(call, GRPC_DEADLINE_EXCEEDED, BYTES_LITERAL("context deadline exceeded"));
    } else if (call->connection != NULL) {
        /* The client takes its answer no longer. */
        connection_reset_stream(call->connection, call->stream_id, NGHTTP2_CANCEL);
    }
}

void call_arm_deadline(struct grpc_call *call)
{
    if (call->deadline == INT64_MAX) return;
    call->timer.run = on_deadline;
    loop_timer_set(call->server->loop, &call->timer, call->deadline);
}

void call_begin(struct grpc_call *call)
{
    call->begun = true;
    bump(&metrics_of(call)->started, 1);
    bump_gauge(&call->server->metrics->calls, 1);
    call_arm_deadline(call);
    if (call->server->config.intercept != NULL) call->server->config.intercept(call);
    if (call->finished) return;
    call->accepted = true;
    if (call->method->on_open != NULL) call->method->on_open(call);
}

void call_cancel(struct grpc_call *call, enum grpc_code code, struct bytes text)
{
    if (!grpc_call_is_live(call)) return;
    grpc_call_ref(call);
    decide(call, code, text);
    if (call->accepted && call->method->on_cancel != NULL) call->method->on_cancel(call);
    conclude(call);
    grpc_call_unref(call);
}

static void close_handler(struct grpc_call *call)
{
    if (!call->accepted || call->closed) return;
    call->closed = true;
    if (call->method->on_close != NULL) call->method->on_close(call);
}

void call_stream_closed(struct grpc_call *call)
{
    struct grpc_connection *connection = call->connection;
    loop_timer_clear(call->server->loop, &call->timer);
    if (connection != NULL) {
        if (call->in_work) TAILQ_REMOVE(&connection->work, call, work_link);
        call->in_work = false;
        LIST_REMOVE(call, link);
        connection->queued -= call->output.size;
        connection->header_bytes -= call->header_bytes;
        connection_released(connection, call->unconsumed);
        connection_stream_gone(connection);
    }
    if (call->begun) bump_gauge(&call->server->metrics->calls, -1);
    chain_clear(&call->output);
    if (!call->finished && call->begun) {
        decide(call, GRPC_CANCELED, BYTES_LITERAL("context canceled"));
        call->connection = NULL;
        if (call->accepted && call->method->on_cancel != NULL) call->method->on_cancel(call);
    }
    call->connection = NULL;
    close_handler(call);
    grpc_call_unref(call);
}

/* ---- request messages ---- */

static void deliver(struct grpc_call *call, struct bytes message)
{
    bump(&metrics_of(call)->messages_received, 1);
    bump(&call->server->metrics->bytes_received, message.size);
    call->message_seen = true;
    if (call->method->on_message != NULL) call->method->on_message(call, message);
}

static void deliver_compressed(struct grpc_call *call, struct bytes message)
{
    size_t limit = call->server->config.receive_limit;
    if (call->encoding != ENCODING_GZIP) {
        grpc_call_fail(call, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
        return;
    }
    struct buf plain = {0};
    switch (grpc_gzip_decompress(message, limit, &plain)) {
    case GRPC_GZIP_OK:
        deliver(call, buf_bytes(&plain));
        break;
    case GRPC_GZIP_TOO_LARGE:
        grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
                       "grpc: received message after decompression larger than max %zu", limit);
        break;
    case GRPC_GZIP_MALFORMED:
        grpc_call_fail(call, GRPC_INTERNAL,
                       "grpc: failed to decompress the received message: gzip: invalid data");
        break;
    }
    buf_deinit(&plain);
}

void call_message(struct grpc_call *call, struct bytes message, bool compressed)
{
    if (call->method->kind != GRPC_BIDI && call->message_seen) return;
    if (compressed)
        deliver_compressed(call, message);
    else
        deliver(call, message);
}

static void tell_half_close(struct grpc_call *call)
{
    if (call->half_close_told || call->finished || !call->half_closed || call->paused) return;
    call->half_close_told = true;
    if (call->method->kind == GRPC_BIDI) {
        if (grpc_frame_is_partial(&call->reader))
            grpc_call_fail(call, GRPC_INTERNAL, "unexpected EOF");
        else if (call->method->on_half_close != NULL)
            call->method->on_half_close(call);
    } else if (!call->message_seen) {
        grpc_call_fail(call, grpc_frame_is_partial(&call->reader) ? GRPC_INTERNAL : GRPC_UNKNOWN,
                       grpc_frame_is_partial(&call->reader) ? "unexpected EOF" : "EOF");
    }
}

/* A long message may need more than the default window at once. */
static void widen_window(struct grpc_call *call)
{
    size_t length = grpc_frame_length(&call->reader);
    if (length <= STREAM_WINDOW || call->connection == NULL) return;
    nghttp2_session_set_local_window_size(call->connection->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                          (int32_t)(length + STREAM_WINDOW));
}

/* Delivers what it can of the input; returns what is left because the call was paused. */
static struct bytes take_input(struct grpc_call *call, struct bytes input)
{
    bool was_partial = grpc_frame_is_partial(&call->reader);
    while (!call->paused && grpc_call_is_live(call)) {
        struct bytes message;
        bool compressed;
        size_t limit = call->server->config.receive_limit;
        switch (grpc_frame_next(&call->reader, &input, limit, &message, &compressed)) {
        case GRPC_FRAME_MORE:
            if (!was_partial && grpc_frame_is_partial(&call->reader)) widen_window(call);
            return BYTES_EMPTY;
        case GRPC_FRAME_TOO_LARGE:
            grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
                           "grpc: received message larger than max (%zu vs. %zu)",
                           grpc_frame_length(&call->reader), limit);
            return BYTES_EMPTY;
        case GRPC_FRAME_MESSAGE:
            was_partial = false;
            call_message(call, message, compressed);
            break;
        }
    }
    return grpc_call_is_live(call) ? input : BYTES_EMPTY;
}

static void give_back(struct grpc_call *call, size_t size)
{
    if (call->connection != NULL && size > 0) connection_consumed(call->connection, call->stream_id, size);
}

void call_data(struct grpc_call *call, struct bytes data)
{
    if (call->finished) {
        give_back(call, data.size);
        return;
    }
    struct bytes left = data;
    if (!call->paused && call->held.size == 0) {
        grpc_call_ref(call);
        left = take_input(call, data);
        give_back(call, data.size - left.size);
        grpc_call_unref(call);
        if (left.size == 0) return;
    }
    buf_append_bytes(&call->held, left);
    call->unconsumed += left.size;
    call->connection->held += left.size;
}

void call_half_closed(struct grpc_call *call)
{
    call->half_closed = true;
    if (call->finished) return;
    if (call->held.size == 0) tell_half_close(call);
}

void grpc_call_pause(struct grpc_call *call)
{
    call->paused = true;
}

void grpc_call_resume(struct grpc_call *call)
{
    if (!call->paused || !grpc_call_is_live(call)) return;
    if (call->local != NULL) {
        local_resume(call);
        return;
    }
    call->work_resume = true;
    work_later(call);
}

void call_resume(struct grpc_call *call)
{
    call->paused = false;
    struct bytes left = take_input(call, buf_bytes(&call->held));
    size_t used = call->held.size - left.size;
    if (call->connection != NULL) {
        size_t released = used < call->unconsumed ? used : call->unconsumed;
        call->unconsumed -= released;
        connection_released(call->connection, released);
        give_back(call, released);
    }
    buf_consume(&call->held, used);
    if (call->held.size == 0) tell_half_close(call);
}

void call_do_work(struct grpc_call *call)
{
    grpc_call_ref(call);
    bool writable = call->work_writable;
    call->work_writable = false;
    if (writable && grpc_call_is_live(call) && call->accepted && call->method->on_writable != NULL) {
        call->method->on_writable(call);
    }
    bool resumed = call->work_resume;
    call->work_resume = false;
    if (resumed && grpc_call_is_live(call)) call_resume(call);
    grpc_call_unref(call);
}
