#include "server/gateway_call.h"

#include "api/json.h"
#include "api/message.h"
#include "base/container.h"
#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <stdlib.h>

struct gateway_call {
    struct gateway_call_config config;
    struct arena *arena;        /* the metadata */
    struct grpc_call *call;     /* NULL before it and after it */
    struct gateway_slot *slot;  /* NULL: none is taken, or there is no limit */
    struct loop_timer patience; /* while it waits for a slot */
    struct json_scanner scanner;
    struct buf value;      /* what has come of the value that is being read */
    struct buf held;       /* of a stream: what waits until the method takes more */
    struct buf request;    /* of the others: what waits until the method is called */
    struct buf answer;     /* of a unary method */
    struct error *refused; /* why the body is no request */
    bool has_value;        /* a method that takes one value has it */
    bool body_over;        /* no more values are taken */
    bool ended;            /* the carrier has no more */
    bool begun;            /* the first line is out */
    bool over;             /* the last word is out */
    bool paused;
};

void gateway_write_status(struct buf *out, enum grpc_code code, struct bytes text)
{
    buf_append_byte(out, '{');
    if (code != GRPC_OK) buf_printf(out, "\"code\":%d", (int)code);
    if (code != GRPC_OK && text.size > 0) buf_append_byte(out, ',');
    if (text.size > 0) {
        buf_append_string(out, "\"message\":");
        text_json_quote(out, text, false);
    }
    buf_append_byte(out, '}');
}

static void set_paused(struct gateway_call *call, bool paused)
{
    if (call->paused == paused) return;
    call->paused = paused;
    call->config.carrier->pause(call->config.context, paused);
}

static void drop_slot(struct gateway_call *call)
{
    loop_timer_clear(call->config.loop, &call->patience);
    if (call->slot != NULL) gateway_limit_release(call->slot);
    call->slot = NULL;
}

/* ---- the answer ---- */

static void respond_failure(struct gateway_call *call, enum grpc_code code, struct bytes text)
{
    struct buf body = {0};
    gateway_write_status(&body, code, text);
    call->over = true;
    set_paused(call, false);
    call->config.carrier->respond(call->config.context, code, text, buf_bytes(&body));
    buf_deinit(&body);
}

static void end_stream(struct gateway_call *call, enum grpc_code code, struct bytes text)
{
    const struct gateway_carrier *carrier = call->config.carrier;
    struct buf line = {0};
    call->over = true;
    set_paused(call, false);
    if (!call->begun) carrier->begin(call->config.context, code, code != GRPC_OK);
    if (code != GRPC_OK) {
        buf_append_string(&line, "{\"error\":");
        gateway_write_status(&line, code, text);
        buf_append_string(&line, "}\n");
        carrier->line(call->config.context, buf_bytes(&line));
    }
    carrier->end(call->config.context);
    buf_deinit(&line);
}

static void finish(struct gateway_call *call, enum grpc_code code, struct bytes text)
{
    drop_slot(call);
    if (call->config.route->kind != GRPC_UNARY) {
        end_stream(call, code, text);
    } else if (code != GRPC_OK) {
        respond_failure(call, code, text);
    } else {
        call->over = true;
        call->config.carrier->respond(call->config.context, GRPC_OK, BYTES_EMPTY, buf_bytes(&call->answer));
    }
}

/* A failure of ours: the method is not wanted any more. */
static void give_up(struct gateway_call *call, enum grpc_code code, struct bytes text)
{
    struct grpc_call *grpc = call->call;
    call->call = NULL;
    if (grpc != NULL) {
        grpc_local_call_cancel(grpc);
        grpc_call_unref(grpc);
    }
    if (!call->over) finish(call, code, text);
}

static void send_line(struct gateway_call *call, struct buf *line)
{
    const struct gateway_carrier *carrier = call->config.carrier;
    if (!call->begun) carrier->begin(call->config.context, GRPC_OK, true);
    call->begun = true;
    size_t waiting = carrier->line(call->config.context, buf_bytes(line));
    if (waiting >= HTTP_SEND_HIGH && call->call != NULL) grpc_local_call_stop(call->call);
}

static void on_message(void *context, struct bytes bytes)
{
    struct gateway_call *call = context;
    struct arena *arena = arena_new();
    bool is_unary = call->config.route->kind == GRPC_UNARY;
    struct error *error = NULL;
    struct buf line = {0};
    const ProtobufCMessage *message = message_unpack(call->config.route->response, bytes, arena, &error);
    if (message == NULL) {
        give_up(call, GRPC_INTERNAL, bytes_from_string(error->text));
    } else if (is_unary) {
        json_write(&call->answer, message, JSON_GATEWAY);
    } else {
        buf_append_string(&line, "{\"result\":");
        json_write(&line, message, JSON_GATEWAY);
        buf_append_string(&line, "}\n");
        send_line(call, &line);
    }
    buf_deinit(&line);
    error_free(error);
    arena_free(arena);
}

static void on_finish(void *context, enum grpc_code code, struct bytes text)
{
    struct gateway_call *call = context;
    struct grpc_call *grpc = call->call;
    call->call = NULL;
    finish(call, code, text);
    if (grpc != NULL) grpc_call_unref(grpc);
}

void gateway_call_writable(struct gateway_call *call)
{
    if (call->call != NULL) grpc_local_call_continue(call->call);
}

/* ---- the request ---- */

static void on_ready(void *context);

static const struct grpc_local_handler handler = {
    .on_message = on_message,
    .on_finish = on_finish,
    .on_ready = on_ready,
};

static void call_method(struct gateway_call *call)
{
    const struct gateway_call_config *config = &call->config;
    struct grpc_call *grpc =
        grpc_local_call(config->server, config->route->method, config->metadata, config->metadata_count,
                        config->deadline, config->transport, &handler, call);
    if (call->over)
        grpc_call_unref(grpc);
    else
        call->call = grpc;
}

static void send_request(struct gateway_call *call)
{
    struct buf request = call->request;
    call->request = (struct buf){0};
    if (call->call != NULL) grpc_local_call_message(call->call, buf_bytes(&request));
    if (call->call != NULL) grpc_local_call_half_close(call->call);
    buf_deinit(&request);
}

/* A slot has come, after waiting. */
static void on_slot(void *context)
{
    struct gateway_call *call = context;
    loop_timer_clear(call->config.loop, &call->patience);
    call_method(call);
    if (call->call == NULL) return;
    if (call->config.route->kind == GRPC_BIDI)
        on_ready(call);
    else
        send_request(call);
}

static void on_deadline(struct loop *loop, struct loop_timer *timer)
{
    struct gateway_call *call = CONTAINER(timer, struct gateway_call, patience);
    (void)loop;
    finish(call, GRPC_DEADLINE_EXCEEDED, BYTES_LITERAL("context deadline exceeded"));
}

static void start(struct gateway_call *call)
{
    const struct gateway_call_config *config = &call->config;
    bool now = true;
    if (config->deadline <= clock_monotonic()) {
        finish(call, GRPC_DEADLINE_EXCEEDED, BYTES_LITERAL("context deadline exceeded"));
        return;
    }
    if (config->limit != NULL)
        call->slot = gateway_limit_take(config->limit, config->loop, on_slot, call, &now);
    if (now)
        call_method(call);
    else if (config->deadline != INT64_MAX)
        loop_timer_set(config->loop, &call->patience, config->deadline);
}

static void stop_reading(struct gateway_call *call)
{
    call->body_over = true;
    buf_deinit(&call->value);
    buf_deinit(&call->held);
    if (call->call != NULL) grpc_local_call_half_close(call->call);
}

static bool too_large(struct gateway_call *call, size_t more)
{
    if (more <= call->config.body_limit - call->value.size) return false;
    struct buf text = {0};
    buf_printf(&text, "grpc: received message larger than max (%zu vs. %zu)", call->value.size + more,
               call->config.body_limit);
    call->body_over = true;
    give_up(call, GRPC_RESOURCE_EXHAUSTED, buf_bytes(&text));
    buf_deinit(&text);
    return true;
}

/* The value is complete: appended to `packed` as the request that it is. */
static struct error *read_value(struct gateway_call *call, struct buf *packed)
{
    struct arena *arena = arena_new();
    struct error *error = NULL;
    const ProtobufCMessage *message =
        json_parse(call->config.route->request, buf_bytes(&call->value), arena, NULL, &error);
    buf_clear(&call->value);
    if (message != NULL) message_pack(packed, message);
    arena_free(arena);
    return error;
}

/* Values of a stream: what cannot be read just ends the client's half, as with etcd. */
static void deliver_of_stream(struct gateway_call *call)
{
    struct buf packed = {0};
    struct error *error = read_value(call, &packed);
    if (error != NULL)
        stop_reading(call);
    else
        grpc_local_call_message(call->call, buf_bytes(&packed));
    error_free(error);
    buf_deinit(&packed);
}

/* Takes values as long as the method does; returns what is left. */
static struct bytes take_values(struct gateway_call *call, struct bytes bytes)
{
    while (bytes.size > 0 && !call->body_over && call->call != NULL && grpc_local_call_takes(call->call)) {
        size_t used = 0;
        enum json_scan result = json_scan(&call->scanner, bytes, &used);
        if (too_large(call, used)) break;
        buf_append(&call->value, bytes.data, used);
        bytes = bytes_of(bytes.data + used, bytes.size - used);
        if (result == JSON_SCAN_VALUE) deliver_of_stream(call);
        if (result == JSON_SCAN_ERROR) stop_reading(call);
    }
    return call->body_over || call->over ? BYTES_EMPTY : bytes;
}

static void end_of_stream(struct gateway_call *call)
{
    if (call->body_over || call->call == NULL) return;
    if (json_scan_end(&call->scanner) == JSON_SCAN_VALUE) deliver_of_stream(call);
    if (!call->body_over) stop_reading(call);
}

static void on_ready(void *context)
{
    struct gateway_call *call = context;
    struct bytes left = take_values(call, buf_bytes(&call->held));
    if (left.size > 0) {
        buf_consume(&call->held, call->held.size - left.size);
        return;
    }
    buf_deinit(&call->held);
    if (call->ended && !call->over)
        end_of_stream(call);
    else
        set_paused(call, false);
}

static void stream_body(struct gateway_call *call, struct bytes piece)
{
    if (call->held.size == 0) piece = take_values(call, piece);
    if (piece.size == 0) return;
    buf_append_bytes(&call->held, piece);
    set_paused(call, true);
}

static void single_end(struct gateway_call *call)
{
    if (call->refused == NULL) call->refused = read_value(call, &call->request);
    stop_reading(call);
    if (call->refused != NULL) {
        respond_failure(call, GRPC_INVALID_ARGUMENT, bytes_from_string(call->refused->text));
        return;
    }
    start(call);
    if (call->call != NULL) send_request(call);
}

/* The one value of the other methods; what follows it is not looked at. */
static void single_body(struct gateway_call *call, struct bytes piece)
{
    size_t used = 0;
    if (call->has_value || call->refused != NULL) return;
    enum json_scan result = json_scan(&call->scanner, piece, &used);
    if (too_large(call, used)) return;
    buf_append(&call->value, piece.data, used);
    call->has_value = result == JSON_SCAN_VALUE;
    if (result == JSON_SCAN_ERROR) call->refused = error_new(ERROR_INVALID, "%s", call->scanner.reason);
    if (call->config.is_open_ended && result != JSON_SCAN_MORE) single_end(call);
}

void gateway_call_body(struct gateway_call *call, struct bytes piece)
{
    if (call->body_over || call->over) return;
    if (call->config.route->kind == GRPC_BIDI)
        stream_body(call, piece);
    else
        single_body(call, piece);
}

void gateway_call_body_end(struct gateway_call *call)
{
    call->ended = true;
    if (call->body_over || call->over) return;
    if (call->config.route->kind != GRPC_BIDI)
        single_end(call);
    else if (call->held.size == 0)
        end_of_stream(call);
}

/* ---- life ---- */

struct gateway_call *gateway_call_new(const struct gateway_call_config *config)
{
    struct gateway_call *call = mem_zalloc(1, sizeof(*call));
    call->config = *config;
    call->arena = arena_new();
    struct grpc_metadata *metadata =
        arena_alloc(call->arena, (config->metadata_count + 1) * sizeof(*metadata));
    for (size_t i = 0; i < config->metadata_count; i++)
        metadata[i] = (struct grpc_metadata){
            .key = arena_copy(call->arena, config->metadata[i].key),
            .value = arena_copy(call->arena, config->metadata[i].value),
        };
    call->config.metadata = metadata;
    call->patience.run = on_deadline;
    if (config->route->kind == GRPC_BIDI) start(call);
    return call;
}

void gateway_call_free(struct gateway_call *call)
{
    if (call == NULL) return;
    call->over = true;
    give_up(call, GRPC_CANCELED, BYTES_EMPTY);
    buf_deinit(&call->value);
    buf_deinit(&call->held);
    drop_slot(call);
    buf_deinit(&call->request);
    buf_deinit(&call->answer);
    error_free(call->refused);
    arena_free(call->arena);
    free(call);
}
