/* The gRPC client half against the server half, over loopback, on one loop. */
#include "base/memory.h"
#include "grpc_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void a_unary_call_brings_its_answer(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    call_unary(&f, "/test.T/Echo", BYTES_LITERAL("hello"), &result);
    expect(&result, GRPC_OK, "");
    assert_int_equal(result.messages, 1);
    assert_string_equal(buf_string(&result.last), "hello");
    assert_true(result.from_server);
    struct grpc_server_metrics *metrics = grpc_server_metrics(f.server);
    assert_int_equal(metric_read(&metrics->methods[METHOD_ECHO].started), 1);
    assert_int_equal(metric_read(&metrics->methods[METHOD_ECHO].handled[GRPC_OK]), 1);
    assert_int_equal(metric_read(&metrics->bytes_received), 5);
    assert_int_equal(metric_read(&metrics->bytes_sent), 5);
    assert_int_equal(grpc_channel_state(f.channel), GRPC_CHANNEL_READY);
    release(&result);
    stop(&f);
    assert_int_equal(service.closed, 1);
    assert_int_equal(service.canceled, 0);
}

static void messages_of_every_size_pass_both_ways(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    static const size_t sizes[] = {0, 1, 4095, 4096, 16379, 16384, 65535, 65536, 70000, 1048576, 4194304};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *data = mem_alloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++) data[j] = (uint8_t)(j * 31 + i);
        struct result result = {0};
        call_unary(&f, "/test.T/Echo", bytes_of(data, sizes[i]), &result);
        expect(&result, GRPC_OK, "");
        assert_int_equal(result.last.size, sizes[i]);
        if (sizes[i] > 0) assert_memory_equal(result.last.data, data, sizes[i]);
        release(&result);
        free(data);
    }
    stop(&f);
}

static void the_receive_limit_holds_with_grpc_gos_text(void **state)
{
    (void)state;
    struct fixture f = {0};
    start_server(&f, (struct grpc_server_config){.receive_limit = 1000});
    start_channel(&f, (struct grpc_channel_config){0});
    uint8_t data[1001] = {0};
    struct result fits = {0}, exceeds = {0}, reply_exceeds = {0}, send_exceeds = {0};
    call_unary(&f, "/test.T/Echo", bytes_of(data, 1000), &fits);
    expect(&fits, GRPC_OK, "");
    call_unary(&f, "/test.T/Echo", bytes_of(data, 1001), &exceeds);
    expect(&exceeds, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (1001 vs. 1000)");
    struct grpc_client_call_options options = options_for("/test.T/Echo", &reply_exceeds);
    options.receive_limit = 9;
    request(&f, &options, bytes_of(data, 10));
    run_until(&f, &reply_exceeds.done);
    expect(&reply_exceeds, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (10 vs. 9)");
    options = options_for("/test.T/Echo", &send_exceeds);
    options.send_limit = 9;
    request(&f, &options, bytes_of(data, 10));
    assert_false(send_exceeds.done);
    run_until(&f, &send_exceeds.done);
    expect(&send_exceeds, GRPC_RESOURCE_EXHAUSTED, "trying to send message larger than max (10 vs. 9)");
    release(&fits);
    release(&exceeds);
    release(&reply_exceeds);
    release(&send_exceeds);
    stop(&f);
}

static void a_status_travels_with_its_text(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result plain = {0}, strange = {0}, unknown = {0}, service_unknown = {0}, malformed = {0};
    call_unary(&f, "/test.T/Fail", BYTES_LITERAL("9 etcdserver: lease already exists"), &plain);
    expect(&plain, GRPC_FAILED_PRECONDITION, "etcdserver: lease already exists");
    call_unary(&f, "/test.T/Fail", BYTES_LITERAL("2 100% \xc3\xbc\n"), &strange);
    expect(&strange, GRPC_UNKNOWN, "100% \xc3\xbc\n");
    call_unary(&f, "/test.T/No", BYTES_LITERAL(""), &unknown);
    expect(&unknown, GRPC_UNIMPLEMENTED, "unknown method No for service test.T");
    call_unary(&f, "/test.No/Echo", BYTES_LITERAL(""), &service_unknown);
    expect(&service_unknown, GRPC_UNIMPLEMENTED, "unknown service test.No");
    call_unary(&f, "/nonsense", BYTES_LITERAL(""), &malformed);
    expect(&malformed, GRPC_UNIMPLEMENTED, "malformed method name: \"/nonsense\"");
    stop(&f);
}

static void metadata_arrives_binary_values_decoded(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    const struct grpc_metadata metadata[] = {
        {BYTES_LITERAL("token"), BYTES_LITERAL("abc.7")},
        {BYTES_LITERAL("raw-bin"), BYTES_LITERAL("\x00\xff\x01z")},
    };
    struct result token = {0}, raw = {0}, authority = {0};
    struct grpc_client_call_options options = options_for("/test.T/Metadata", &token);
    options.metadata = metadata;
    options.metadata_count = 2;
    request(&f, &options, BYTES_LITERAL("token"));
    options.context = &raw;
    request(&f, &options, BYTES_LITERAL("raw-bin"));
    options.context = &authority;
    request(&f, &options, BYTES_LITERAL(":authority"));
    run_until(&f, &token.done);
    run_until(&f, &raw.done);
    run_until(&f, &authority.done);
    assert_string_equal(buf_string(&token.last), "abc.7");
    assert_true(bytes_equal(buf_bytes(&raw.last), BYTES_LITERAL("\x00\xff\x01z")));
    assert_string_equal(buf_string(&authority.last), listener_address(f.listener));
    release(&token);
    release(&raw);
    release(&authority);
    stop(&f);
}

static void a_bidi_stream_answers_until_the_half_close(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Bidi", &result);
    options.unary = false;
    struct grpc_client_call *call = grpc_channel_call(f.channel, &options);
    for (size_t i = 1; i <= 5; i++) {
        struct grpc_part part = grpc_part_of_blob(blob_from(BYTES_LITERAL("ping")));
        grpc_client_call_send(call, &part, 1);
        while (result.messages < i) loop_run_once(f.loop, LOOP_SECOND);
    }
    assert_false(result.done);
    grpc_client_call_half_close(call);
    run_until(&f, &result.done);
    expect(&result, GRPC_OK, "");
    assert_int_equal(result.messages, 5);
    assert_int_equal(service.half_closed, 1);
    release(&result);
    stop(&f);
}

static void no_message_before_the_half_close_is_eof(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Echo", &result);
    grpc_client_call_half_close(grpc_channel_call(f.channel, &options));
    run_until(&f, &result.done);
    expect(&result, GRPC_UNKNOWN, "EOF");
    stop(&f);
}

static void a_second_message_of_a_unary_call_is_ignored(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Echo", &result);
    struct grpc_client_call *call = grpc_channel_call(f.channel, &options);
    struct grpc_part one = grpc_part_of_bytes(BYTES_LITERAL("one")),
                     two = grpc_part_of_bytes(BYTES_LITERAL("two"));
    grpc_client_call_send(call, &one, 1);
    grpc_client_call_send(call, &two, 1);
    grpc_client_call_half_close(call);
    run_until(&f, &result.done);
    expect(&result, GRPC_OK, "");
    assert_string_equal(buf_string(&result.last), "one");
    release(&result);
    stop(&f);
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Hold", &result);
    options.deadline = clock_monotonic() + 50 * LOOP_MILLISECOND;
    request(&f, &options, BYTES_LITERAL("x"));
    run_until(&f, &result.done);
    expect(&result, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    run_for(&f, 50 * LOOP_MILLISECOND);
    assert_int_equal(service.canceled, 1);
    assert_int_equal(service.closed, 1);
    assert_false(grpc_call_is_live(service.held));
    /* An answer that comes too late does nothing. */
    grpc_call_reply(service.held, blob_from(BYTES_LITERAL("late")));
    grpc_call_unref(service.held);
    stop(&f);
}

static void a_cancelled_call_tells_the_handler(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Hold", &result);
    struct grpc_part part = grpc_part_of_bytes(BYTES_LITERAL("x"));
    struct grpc_client_call *call = grpc_channel_request(f.channel, &options, &part, 1);
    while (service.held == NULL) loop_run_once(f.loop, LOOP_SECOND);
    assert_true(grpc_call_is_live(service.held));
    grpc_client_call_cancel(call);
    assert_true(result.done);
    expect(&result, GRPC_CANCELED, "context canceled");
    while (service.closed == 0) loop_run_once(f.loop, LOOP_SECOND);
    assert_int_equal(service.canceled, 1);
    grpc_call_unref(service.held);
    struct grpc_server_metrics *metrics = grpc_server_metrics(f.server);
    assert_int_equal(metric_read(&metrics->methods[METHOD_HOLD].handled[GRPC_CANCELED]), 1);
    assert_int_equal(metric_gauge_read(&metrics->calls), 0);
    stop(&f);
}

static void calls_cancelled_before_they_leave_do_no_harm(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result first = {0}, results[20] = {0};
    call_unary(&f, "/test.T/Echo", BYTES_LITERAL("warm"), &first);
    struct grpc_part part = grpc_part_of_bytes(BYTES_LITERAL("x"));
    for (size_t i = 0; i < 20; i++) {
        struct grpc_client_call_options options = options_for("/test.T/Hold", &results[i]);
        struct grpc_client_call *call = grpc_channel_request(f.channel, &options, &part, 1);
        grpc_client_call_cancel(call);
        assert_true(results[i].done && results[i].unprocessed);
    }
    struct result last = {0};
    call_unary(&f, "/test.T/Echo", BYTES_LITERAL("still here"), &last);
    expect(&last, GRPC_OK, "");
    assert_int_equal(grpc_channel_calls(f.channel), 0);
    release(&first);
    release(&last);
    stop(&f);
}

struct reply_task {
    struct loop_task task;
    struct grpc_call *call;
};

static void run_reply(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct reply_task *reply = (struct reply_task *)task;
    grpc_call_reply(reply->call, blob_from(BYTES_LITERAL("from another thread")));
    grpc_call_unref(reply->call);
    free(reply);
}

static void *reply_elsewhere(void *argument)
{
    struct reply_task *reply = mem_zalloc(1, sizeof(*reply));
    reply->task.run = run_reply;
    reply->call = ((void **)argument)[0];
    loop_post(((void **)argument)[1], &reply->task);
    return NULL;
}

static void a_call_is_answered_from_another_thread_by_its_mailbox(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Hold", &result);
    request(&f, &options, BYTES_LITERAL("x"));
    while (service.held == NULL) loop_run_once(f.loop, LOOP_SECOND);
    void *arguments[] = {service.held, f.loop};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, reply_elsewhere, arguments), 0);
    run_until(&f, &result.done);
    pthread_join(thread, NULL);
    expect(&result, GRPC_OK, "");
    assert_string_equal(buf_string(&result.last), "from another thread");
    release(&result);
    stop(&f);
}

static void a_reader_that_stops_stops_the_sender_in_bounded_memory(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {.pause_every = 50};
    struct grpc_client_call_options options = options_for("/test.T/Flood", &result);
    options.unary = false;
    struct grpc_part part = grpc_part_of_bytes(BYTES_LITERAL("x"));
    struct grpc_client_call *call = grpc_channel_request(f.channel, &options, &part, 1);
    while (!result.paused) loop_run_once(f.loop, LOOP_SECOND);
    run_for(&f, 100 * LOOP_MILLISECOND);
    assert_int_equal(result.messages, 50);
    /* 50 read, a window of 1 MiB, the server's own queue; 2000 in all. */
    assert_true(service.flood_sent < 50 + 150);
    while (!result.done) {
        if (result.paused) {
            result.paused = false;
            grpc_client_call_resume(call);
        }
        loop_run_once(f.loop, LOOP_SECOND);
    }
    expect(&result, GRPC_OK, "");
    assert_int_equal(result.messages, FLOOD_MESSAGES);
    assert_int_equal(result.bytes, (size_t)FLOOD_MESSAGES * FLOOD_SIZE);
    assert_true(service.flood_peak < GRPC_SEND_HIGH + FLOOD_SIZE + GRPC_PREFIX_SIZE + 1);
    release(&result);
    stop(&f);
}

static void a_handler_that_stops_stops_the_client(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Slow", &result);
    options.unary = false;
    struct grpc_client_call *call = grpc_channel_call(f.channel, &options);
    size_t pending = 0, sent = 0;
    while (pending < GRPC_CLIENT_SEND_HIGH) {
        struct grpc_part part = grpc_part_of_blob(blob_new(10000));
        memset(part.blob->data, 7, part.blob->size);
        pending = grpc_client_call_send(call, &part, 1);
        sent++;
    }
    run_for(&f, 50 * LOOP_MILLISECOND);
    assert_int_equal(service.slow_received, 1);
    assert_false(result.writable);
    /* The stream's window (64 KiB) is all that left. */
    grpc_client_call_half_close(call);
    while (!result.done) {
        grpc_call_resume(service.held);
        loop_run_once(f.loop, LOOP_SECOND);
    }
    assert_int_equal(service.slow_received, sent);
    expect(&result, GRPC_OK, "");
    grpc_call_unref(service.held);
    stop(&f);
}

static void thousands_of_streams_run_at_once(void **state)
{
    (void)state;
    enum { STREAMS = 3000 };
    struct fixture f = {0};
    start(&f);
    struct result *results = mem_zalloc(STREAMS, sizeof(*results));
    struct grpc_client_call **calls = mem_zalloc(STREAMS, sizeof(struct grpc_client_call *));
    struct grpc_part part = grpc_part_of_bytes(BYTES_LITERAL("x"));
    for (size_t i = 0; i < STREAMS; i++) {
        struct grpc_client_call_options options = options_for("/test.T/Bidi", &results[i]);
        options.unary = false;
        calls[i] = grpc_channel_call(f.channel, &options);
        grpc_client_call_send(calls[i], &part, 1);
    }
    while (service.opened < STREAMS) loop_run_once(f.loop, LOOP_SECOND);
    assert_int_equal(metric_gauge_read(&grpc_server_metrics(f.server)->calls), STREAMS);
    for (size_t i = 0; i < STREAMS; i++) grpc_client_call_half_close(calls[i]);
    for (size_t i = 0; i < STREAMS; i++) {
        run_until(&f, &results[i].done);
        expect(&results[i], GRPC_OK, "");
        assert_int_equal(results[i].messages, 1);
        release(&results[i]);
    }
    free(results);
    free(calls);
    stop(&f);
}

/* nghttp2's client side obeys MAX_CONCURRENT_STREAMS: calls beyond it wait and are served later. */
static void calls_beyond_the_stream_limit_wait_their_turn(void **state)
{
    (void)state;
    struct fixture f = {0};
    start_server(&f, (struct grpc_server_config){.max_concurrent_streams = 2});
    start_channel(&f, (struct grpc_channel_config){0});
    struct result results[10] = {0};
    for (size_t i = 0; i < 10; i++) {
        struct grpc_client_call_options options = options_for("/test.T/Echo", &results[i]);
        request(&f, &options, BYTES_LITERAL("x"));
    }
    for (size_t i = 0; i < 10; i++) {
        run_until(&f, &results[i].done);
        expect(&results[i], GRPC_OK, "");
        release(&results[i]);
    }
    stop(&f);
}

static void a_graceful_end_lets_calls_finish_and_refuses_new_ones(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Hold", &result);
    request(&f, &options, BYTES_LITERAL("x"));
    while (service.held == NULL) loop_run_once(f.loop, LOOP_SECOND);
    listener_close(f.listener);
    port_close(&f.port);
    grpc_server_close(f.server, 10 * LOOP_SECOND, set_flag, &f.server_closed);
    run_for(&f, 50 * LOOP_MILLISECOND);
    assert_false(f.server_closed);
    assert_int_equal(grpc_channel_state(f.channel), GRPC_CHANNEL_IDLE);
    grpc_call_reply(service.held, blob_from(BYTES_LITERAL("done")));
    grpc_call_unref(service.held);
    run_until(&f, &result.done);
    expect(&result, GRPC_OK, "");
    run_until(&f, &f.server_closed);
    finish(&f);
    release(&result);
}

static void a_hard_end_cuts_what_is_left(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Hold", &result);
    request(&f, &options, BYTES_LITERAL("x"));
    while (service.held == NULL) loop_run_once(f.loop, LOOP_SECOND);
    listener_close(f.listener);
    grpc_server_close(f.server, 30 * LOOP_MILLISECOND, set_flag, &f.server_closed);
    run_until(&f, &result.done);
    expect(&result, GRPC_UNAVAILABLE, "error reading from server: EOF");
    assert_false(result.unprocessed);
    assert_int_equal(service.canceled, 1);
    assert_false(f.server_closed); /* a reference is still held */
    grpc_call_unref(service.held);
    run_until(&f, &f.server_closed);
    finish(&f);
}

static void a_refused_connection_has_grpc_gos_text_and_is_tried_again(void **state)
{
    (void)state;
    struct fixture f = {0};
    start_server(&f, (struct grpc_server_config){0});
    char address[64];
    snprintf(address, sizeof(address), "%s", listener_address(f.listener));
    listener_close(f.listener);
    start_channel(&f,
                  (struct grpc_channel_config){.address = address, .backoff_base = 20 * LOOP_MILLISECOND});
    struct result fast = {0}, patient = {0}, late = {0};
    struct grpc_client_call_options options = options_for("/test.T/Echo", &patient);
    options.wait_for_ready = true;
    request(&f, &options, BYTES_LITERAL("x"));
    options = options_for("/test.T/Echo", &late);
    options.wait_for_ready = true;
    options.deadline = clock_monotonic() + 30 * LOOP_MILLISECOND;
    request(&f, &options, BYTES_LITERAL("x"));
    call_unary(&f, "/test.T/Echo", BYTES_LITERAL("x"), &fast);
    char text[256];
    snprintf(text, sizeof(text),
             "connection error: desc = \"transport: Error while dialing: dial tcp %s: connect: connection "
             "refused\"",
             address);
    expect(&fast, GRPC_UNAVAILABLE, text);
    assert_true(fast.unprocessed);
    assert_string_equal(grpc_channel_error(f.channel), text);
    assert_int_equal(grpc_channel_state(f.channel), GRPC_CHANNEL_TRANSIENT_FAILURE);
    run_until(&f, &late.done);
    expect(&late, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_false(patient.done);
    f.listener = listen_on(&f, address);
    run_until(&f, &patient.done);
    expect(&patient, GRPC_OK, "");
    assert_null(grpc_channel_error(f.channel));
    release(&patient);
    stop(&f);
}

static void an_http_server_is_not_taken_for_grpc(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    f.port.grpc = NULL; /* the port closes HTTP/2 connections */
    struct result result = {0};
    call_unary(&f, "/test.T/Echo", BYTES_LITERAL("x"), &result);
    assert_int_equal(result.code, GRPC_UNAVAILABLE);
    assert_non_null(strstr(result.text, "connection error: desc = \"error reading server preface: "));
    stop(&f);
}

static void unix_sockets_serve_too(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    char directory[] = "/tmp/netXXXXXX", address[64];
    assert_non_null(mkdtemp(directory));
    snprintf(address, sizeof(address), "unix://%s/s", directory);
    struct listener *local = listen_on(&f, address);
    grpc_channel_free(f.channel);
    start_channel(&f, (struct grpc_channel_config){.address = address});
    struct result result = {0};
    call_unary(&f, "/test.T/Metadata", BYTES_LITERAL(":authority"), &result);
    expect(&result, GRPC_OK, "");
    assert_string_equal(buf_string(&result.last), "localhost");
    listener_close(local);
    assert_int_equal(rmdir(directory), 0);
    release(&result);
    stop(&f);
}

static void freeing_the_channel_ends_its_calls(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct result result = {0}, waiting = {0};
    struct grpc_client_call_options options = options_for("/test.T/Bidi", &result);
    grpc_channel_call(f.channel, &options);
    while (service.opened == 0) loop_run_once(f.loop, LOOP_SECOND);
    options = options_for("/test.T/Echo", &waiting);
    grpc_channel_call(f.channel, &options);
    stop(&f);
    expect(&result, GRPC_CANCELED, "grpc: the client connection is closing");
    expect(&waiting, GRPC_CANCELED, "grpc: the client connection is closing");
    assert_true(waiting.unprocessed);
}

static void a_client_that_pings_too_often_is_sent_away(void **state)
{
    (void)state;
    struct fixture f = {0};
    start_server(&f, (struct grpc_server_config){.keepalive_min_time = LOOP_SECOND});
    start_channel(&f, (struct grpc_channel_config){.keepalive_time = 10 * LOOP_MILLISECOND});
    struct result result = {0};
    struct grpc_client_call_options options = options_for("/test.T/Hold", &result);
    request(&f, &options, BYTES_LITERAL("x"));
    run_until(&f, &result.done);
    assert_int_equal(result.code, GRPC_UNAVAILABLE);
    assert_int_equal(metric_read(&grpc_server_metrics(f.server)->abusive_connections), 1);
    grpc_call_unref(service.held);
    stop(&f);
}

static void allowed_pings_keep_a_quiet_connection(void **state)
{
    (void)state;
    struct fixture f = {0};
    start_server(&f, (struct grpc_server_config){.keepalive_min_time = LOOP_MILLISECOND,
                                                 .keepalive_permit_without_stream = true,
                                                 .keepalive_interval = 30 * LOOP_MILLISECOND,
                                                 .keepalive_timeout = 30 * LOOP_MILLISECOND});
    start_channel(&f, (struct grpc_channel_config){.keepalive_time = 10 * LOOP_MILLISECOND,
                                                   .keepalive_without_calls = true});
    grpc_channel_connect(f.channel);
    run_for(&f, 250 * LOOP_MILLISECOND);
    assert_int_equal(grpc_channel_state(f.channel), GRPC_CHANNEL_READY);
    assert_int_equal(metric_gauge_read(&grpc_server_metrics(f.server)->connections), 1);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_brings_its_answer),
        cmocka_unit_test(messages_of_every_size_pass_both_ways),
        cmocka_unit_test(the_receive_limit_holds_with_grpc_gos_text),
        cmocka_unit_test(a_status_travels_with_its_text),
        cmocka_unit_test(metadata_arrives_binary_values_decoded),
        cmocka_unit_test(a_bidi_stream_answers_until_the_half_close),
        cmocka_unit_test(no_message_before_the_half_close_is_eof),
        cmocka_unit_test(a_second_message_of_a_unary_call_is_ignored),
        cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
        cmocka_unit_test(a_cancelled_call_tells_the_handler),
        cmocka_unit_test(calls_cancelled_before_they_leave_do_no_harm),
        cmocka_unit_test(a_call_is_answered_from_another_thread_by_its_mailbox),
        cmocka_unit_test(a_reader_that_stops_stops_the_sender_in_bounded_memory),
        cmocka_unit_test(a_handler_that_stops_stops_the_client),
        cmocka_unit_test(thousands_of_streams_run_at_once),
        cmocka_unit_test(calls_beyond_the_stream_limit_wait_their_turn),
        cmocka_unit_test(a_graceful_end_lets_calls_finish_and_refuses_new_ones),
        cmocka_unit_test(a_hard_end_cuts_what_is_left),
        cmocka_unit_test(a_refused_connection_has_grpc_gos_text_and_is_tried_again),
        cmocka_unit_test(an_http_server_is_not_taken_for_grpc),
        cmocka_unit_test(unix_sockets_serve_too),
        cmocka_unit_test(freeing_the_channel_ends_its_calls),
        cmocka_unit_test(a_client_that_pings_too_often_is_sent_away),
        cmocka_unit_test(allowed_pings_keep_a_quiet_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
