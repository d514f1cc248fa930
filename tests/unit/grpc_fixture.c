#include "grpc_fixture.h"

#include <stdio.h>
#include <stdlib.h>

struct service service;

static void echo(struct grpc_call *call, struct bytes message)
{
    grpc_call_send_blob(call, blob_from(message));
    if (grpc_call_method(call)->kind == GRPC_UNARY) grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void finish_ok(struct grpc_call *call)
{
    service.half_closed++;
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void count_open(struct grpc_call *call)
{
    (void)call;
    service.opened++;
}

static void count_cancel(struct grpc_call *call)
{
    assert_false(grpc_call_is_live(call));
    service.canceled++;
}

static void count_close(struct grpc_call *call)
{
    (void)call;
    service.closed++;
}

/* Fails with the code and text that the message says: "7 text". */
static void fail_as_told(struct grpc_call *call, struct bytes message)
{
    char *text = arena_string(grpc_call_arena(call), message);
    int code = atoi(text);
    grpc_call_finish(call, (enum grpc_code)code, bytes_from_string(strchr(text, ' ') + 1));
}

static void hold(struct grpc_call *call, struct bytes message)
{
    (void)message;
    service.held = grpc_call_ref(call);
}

static void tell_metadata(struct grpc_call *call, struct bytes message)
{
    char *key = arena_string(grpc_call_arena(call), message);
    struct bytes value;
    if (grpc_call_metadata(call, key, &value))
        grpc_call_reply(call, blob_from(value));
    else
        grpc_call_fail(call, GRPC_NOT_FOUND, "no metadata %s from %s", key, grpc_call_peer(call));
}

static void flood_on(struct grpc_call *call)
{
    size_t pending = 0;
    while (service.flood_sent < FLOOD_MESSAGES && pending < GRPC_SEND_HIGH) {
        struct blob *blob = blob_new(FLOOD_SIZE);
        memset(blob->data, (int)(service.flood_sent % 251), FLOOD_SIZE);
        pending = grpc_call_send_blob(call, blob);
        if (pending > service.flood_peak) service.flood_peak = pending;
        service.flood_sent++;
    }
    if (service.flood_sent == FLOOD_MESSAGES) grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void flood(struct grpc_call *call, struct bytes message)
{
    (void)message;
    service.flood_sent = service.flood_peak = 0;
    flood_on(call);
}

/* Takes one message and then pauses until the test resumes it. */
static void slow_message(struct grpc_call *call, struct bytes message)
{
    (void)message;
    service.slow_received++;
    service.held = service.held == NULL ? grpc_call_ref(call) : service.held;
    grpc_call_pause(call);
}

#define METHOD(variable, method_name, method_kind, ...)                                                      \
    static const struct grpc_method variable = {.service = "test.T",                                         \
                                                .name = method_name,                                         \
                                                .kind = method_kind,                                         \
                                                .on_cancel = count_cancel,                                   \
                                                __VA_ARGS__}
METHOD(method_echo, "Echo", GRPC_UNARY, .on_open = count_open, .on_message = echo, .on_close = count_close);
METHOD(method_bidi, "Bidi", GRPC_BIDI, .on_open = count_open, .on_message = echo, .on_half_close = finish_ok,
       .on_close = count_close);
METHOD(method_fail, "Fail", GRPC_UNARY, .on_message = fail_as_told);
METHOD(method_hold, "Hold", GRPC_UNARY, .on_message = hold, .on_close = count_close);
METHOD(method_metadata, "Metadata", GRPC_UNARY, .on_message = tell_metadata);
METHOD(method_flood, "Flood", GRPC_SERVER_STREAM, .on_message = flood, .on_writable = flood_on);
METHOD(method_slow, "Slow", GRPC_BIDI, .on_message = slow_message, .on_half_close = finish_ok,
       .on_close = count_close);
static const struct grpc_method *const methods[] = {&method_echo, &method_bidi,     &method_fail,
                                                    &method_hold, &method_metadata, &method_flood,
                                                    &method_slow};

static void on_accept(void *context, size_t index, struct transport *transport)
{
    (void)index;
    port_accept(&((struct fixture *)context)->port, transport);
}

struct listener *listen_on(struct fixture *f, const char *address)
{
    struct loop *loops[] = {f->loop};
    struct listener_config config = {
        .address = address, .loops = loops, .loop_count = 1, .on_accept = on_accept, .context = f};
    struct listener *listener;
    must(listener_new(f->loop, &config, &listener));
    listener_start(listener);
    return listener;
}

void start_server(struct fixture *f, struct grpc_server_config config)
{
    static const struct http_router router = {0};
    memset(&service, 0, sizeof(service));
    config.methods = methods;
    config.method_count = sizeof(methods) / sizeof(methods[0]);
    if (f->loop == NULL) f->loop = loop_new();
    f->server = grpc_server_new(f->loop, &config);
    f->http = http1_server_new(f->loop, &(struct http1_server_config){0});
    f->port = (struct port){.grpc = f->server, .http = f->http, .router = &router};
    f->listener = listen_on(f, "127.0.0.1:0");
}

void start_channel(struct fixture *f, struct grpc_channel_config config)
{
    if (config.address == NULL) config.address = listener_address(f->listener);
    config.seed = 1;
    f->channel = grpc_channel_new(f->loop, &config);
}

void start(struct fixture *f)
{
    start_server(f, (struct grpc_server_config){0});
    start_channel(f, (struct grpc_channel_config){0});
}

void set_flag(void *context)
{
    *(bool *)context = true;
}

void run_until(struct fixture *f, const bool *flag)
{
    int64_t limit = clock_monotonic() + 20 * LOOP_SECOND;
    while (!*flag) {
        loop_run_once(f->loop, LOOP_SECOND);
        assert_true(clock_monotonic() < limit);
    }
}

void run_for(struct fixture *f, int64_t nanoseconds)
{
    int64_t end = clock_monotonic() + nanoseconds;
    while (clock_monotonic() < end) loop_run_once(f->loop, 5 * LOOP_MILLISECOND);
}

void finish(struct fixture *f)
{
    grpc_channel_free(f->channel);
    http1_server_close(f->http, 0, set_flag, &f->http_closed);
    run_until(f, &f->server_closed);
    run_until(f, &f->http_closed);
    grpc_server_free(f->server);
    http1_server_free(f->http);
    loop_free(f->loop);
}

void stop(struct fixture *f)
{
    listener_close(f->listener);
    port_close(&f->port);
    grpc_server_close(f->server, 0, set_flag, &f->server_closed);
    finish(f);
}

static void on_result_message(struct grpc_client_call *call, struct bytes message)
{
    struct result *result = grpc_client_call_context(call);
    assert_false(result->paused);
    result->messages++;
    result->bytes += message.size;
    buf_clear(&result->last);
    buf_append_bytes(&result->last, message);
    if (result->pause_every != 0 && result->messages % result->pause_every == 0) {
        result->paused = true;
        grpc_client_call_pause(call);
    }
}

static void on_result_close(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    struct result *result = grpc_client_call_context(call);
    assert_false(result->done);
    result->done = true;
    result->code = status->code;
    result->unprocessed = status->unprocessed;
    result->from_server = status->from_server;
    snprintf(result->text, sizeof(result->text), "%.*s", (int)status->text.size,
             (const char *)status->text.data);
}

static void on_result_writable(struct grpc_client_call *call)
{
    ((struct result *)grpc_client_call_context(call))->writable = true;
}

static const struct grpc_client_handler result_handler = {.on_message = on_result_message,
                                                          .on_close = on_result_close,
                                                          .on_writable = on_result_writable};

struct grpc_client_call_options options_for(const char *path, struct result *result)
{
    return (struct grpc_client_call_options){.path = path,
                                             .handler = &result_handler,
                                             .context = result,
                                             .unary = true};
}

void request(struct fixture *f, const struct grpc_client_call_options *options, struct bytes message)
{
    struct grpc_part part = grpc_part_of_bytes(message);
    grpc_channel_request(f->channel, options, &part, 1);
}

void call_unary(struct fixture *f, const char *path, struct bytes message, struct result *result)
{
    struct grpc_client_call_options options = options_for(path, result);
    request(f, &options, message);
    run_until(f, &result->done);
}

void expect(const struct result *result, enum grpc_code code, const char *text)
{
    assert_string_equal(result->text, text);
    assert_int_equal(result->code, code);
}

void release(struct result *result)
{
    buf_deinit(&result->last);
}
