/* Calls without HTTP/2, as the JSON gateway makes them. */
#include "grpc_fixture.h"

#include <stdio.h>

static void on_local_message(void *context, struct bytes message)
{
    struct result *result = context;
    result->messages++;
    buf_clear(&result->last);
    buf_append_bytes(&result->last, message);
}

static void on_local_finish(void *context, enum grpc_code code, struct bytes text)
{
    struct result *result = context;
    assert_false(result->done);
    result->done = true;
    result->code = code;
    snprintf(result->text, sizeof(result->text), "%.*s", (int)text.size, (const char *)text.data);
}

static void on_local_ready(void *context)
{
    ((struct result *)context)->paused = false;
}

static const struct grpc_local_handler local_handler = {.on_message = on_local_message,
                                                        .on_finish = on_local_finish,
                                                        .on_ready = on_local_ready};

static void a_local_call_tells_when_it_takes_messages_again(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result slow = {.paused = true};
    service.held = NULL;
    service.slow_received = 0;
    struct grpc_call *call =
        grpc_local_call(f.server, "/test.T/Slow", NULL, 0, INT64_MAX, NULL, &local_handler, &slow);
    assert_true(grpc_local_call_takes(call));
    grpc_local_call_message(call, BYTES_LITERAL("1"));
    grpc_local_call_message(call, BYTES_LITERAL("2"));
    assert_false(grpc_local_call_takes(call));
    assert_int_equal(service.slow_received, 1);
    grpc_call_resume(call);
    loop_run_once(f.loop, 0);
    assert_int_equal(service.slow_received, 2);
    assert_true(slow.paused); /* it pauses after each message */
    grpc_call_resume(call);
    loop_run_once(f.loop, 0);
    assert_false(slow.paused);
    assert_true(grpc_local_call_takes(call));
    grpc_local_call_half_close(call);
    expect(&slow, GRPC_OK, "");
    assert_false(grpc_local_call_takes(call));
    grpc_call_unref(call);
    grpc_call_unref(service.held);
    stop(&f);
}

static void a_local_call_for_another_has_its_metadata(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    const struct grpc_metadata metadata[] = {{BYTES_LITERAL("k"), BYTES_LITERAL("v")}};
    struct result outer = {0}, inner = {0};
    struct grpc_call *call =
        grpc_local_call(f.server, "/test.T/Hold", metadata, 1, INT64_MAX, NULL, &local_handler, &outer);
    struct grpc_call *behalf = grpc_local_call_for(call, "/test.T/Hold", &local_handler, &inner);
    struct bytes value;
    assert_true(grpc_call_metadata(behalf, "k", &value));
    assert_true(bytes_equal(value, BYTES_LITERAL("v")));
    assert_true(grpc_call_deadline(behalf) == INT64_MAX);
    assert_null(grpc_call_peer_common_name(behalf));
    grpc_local_call_cancel(behalf);
    grpc_local_call_cancel(call);
    grpc_call_unref(behalf);
    grpc_call_unref(call);
    stop(&f);
}

static void local_calls_reach_the_same_handlers(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result unary = {0}, bidi = {0}, unknown = {0}, canceled = {0}, flooded = {0};
    struct grpc_call *call =
        grpc_local_call(f.server, "/test.T/Echo", NULL, 0, INT64_MAX, NULL, &local_handler, &unary);
    grpc_local_call_message(call, BYTES_LITERAL("hi"));
    assert_true(unary.done);
    expect(&unary, GRPC_OK, "");
    assert_string_equal(buf_string(&unary.last), "hi");
    grpc_call_unref(call);

    call = grpc_local_call(f.server, "/test.T/Bidi", NULL, 0, INT64_MAX, NULL, &local_handler, &bidi);
    grpc_local_call_stop(call);
    grpc_local_call_message(call, BYTES_LITERAL("a"));
    grpc_local_call_message(call, BYTES_LITERAL("b"));
    grpc_local_call_half_close(call);
    assert_int_equal(bidi.messages, 0);
    grpc_local_call_continue(call);
    assert_int_equal(bidi.messages, 2);
    expect(&bidi, GRPC_OK, "");
    grpc_call_unref(call);

    call = grpc_local_call(f.server, "/test.T/X", NULL, 0, INT64_MAX, NULL, &local_handler, &unknown);
    expect(&unknown, GRPC_UNIMPLEMENTED, "unknown method X for service test.T");
    grpc_call_unref(call);

    call = grpc_local_call(f.server, "/test.T/Hold", NULL, 0, INT64_MAX, NULL, &local_handler, &canceled);
    grpc_local_call_message(call, BYTES_LITERAL("x"));
    grpc_local_call_cancel(call);
    assert_false(canceled.done);
    assert_int_equal(service.canceled, 1);
    grpc_call_unref(call);
    grpc_call_unref(service.held);

    call = grpc_local_call(f.server, "/test.T/Flood", NULL, 0, INT64_MAX, NULL, &local_handler, &flooded);
    grpc_local_call_stop(call);
    grpc_local_call_message(call, BYTES_LITERAL("x"));
    assert_true(service.flood_sent < 20);
    while (!flooded.done) grpc_local_call_continue(call);
    assert_int_equal(flooded.messages, FLOOD_MESSAGES);
    grpc_call_unref(call);
    release(&unary);
    release(&bidi);
    release(&flooded);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_calls_reach_the_same_handlers),
        cmocka_unit_test(a_local_call_tells_when_it_takes_messages_again),
        cmocka_unit_test(a_local_call_for_another_has_its_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
