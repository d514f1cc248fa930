/* The HTTP/1 server, spoken to in raw bytes through a transport in memory, and the HTTP client over loopback.
 */
#include "base/memory.h"
#include "net/http1.h"
#include "net/listener.h"
#include "net/port.h"
#include "net/transport_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct {
    struct http_exchange *held;
    int closed;
    size_t streamed, pieces;
    struct transport *taken;
    struct buf taken_rest;
    size_t flood_sent;
} site;

static void hello(struct http_exchange *exchange)
{
    http_respond(exchange, 200, "text/plain", BYTES_LITERAL("hello"));
}

static void echo_body(struct http_exchange *exchange)
{
    http_respond(exchange, 200, NULL, http_body(exchange));
}

static void chunks(struct http_exchange *exchange)
{
    http_begin(exchange, 200, "text/plain");
    http_send(exchange, BYTES_LITERAL("one,"));
    http_send(exchange, BYTES_LITERAL(""));
    http_send(exchange, BYTES_LITERAL("two"));
    http_end(exchange);
}

static void hold(struct http_exchange *exchange)
{
    site.held = http_exchange_ref(exchange);
}

static void count_close(struct http_exchange *exchange)
{
    (void)exchange;
    site.closed++;
}

static void take_piece(struct http_exchange *exchange, struct bytes piece)
{
    site.streamed += piece.size;
    site.pieces++;
    http_pause(exchange);
    site.held = site.held == NULL ? http_exchange_ref(exchange) : site.held;
}

static void drink(struct http_exchange *exchange, struct bytes piece)
{
    (void)exchange;
    site.streamed += piece.size;
}

static void tell_streamed(struct http_exchange *exchange)
{
    char text[32];
    snprintf(text, sizeof(text), "%zu", site.streamed);
    http_respond(exchange, 200, NULL, bytes_from_string(text));
}

static void tell_query(struct http_exchange *exchange)
{
    struct bytes one = BYTES_EMPTY, two = BYTES_EMPTY;
    struct buf out = {0};
    (void)http_query(exchange, "a b", 0, &one);
    (void)http_query(exchange, "a b", 1, &two);
    buf_append_bytes(&out, http_request(exchange)->path);
    buf_append_string(&out, "|");
    buf_append_bytes(&out, one);
    buf_append_string(&out, "|");
    buf_append_bytes(&out, two);
    http_respond(exchange, 200, NULL, buf_bytes(&out));
    buf_deinit(&out);
}

static void take_over(struct http_exchange *exchange)
{
    struct bytes rest;
    site.taken = http_take_over(exchange, &rest);
    assert_non_null(site.taken);
    buf_append_bytes(&site.taken_rest, rest);
}

enum { FLOOD_PIECES = 1000, FLOOD_SIZE = 10000 };

static void flood_on(struct http_exchange *exchange)
{
    size_t pending = 0;
    while (site.flood_sent < FLOOD_PIECES && pending < HTTP_SEND_HIGH) {
        struct blob *blob = blob_new(FLOOD_SIZE);
        memset(blob->data, 'f', FLOOD_SIZE);
        pending = http_send_blob(exchange, blob);
        site.flood_sent++;
    }
    if (site.flood_sent == FLOOD_PIECES) http_end(exchange);
}

static void flood(struct http_exchange *exchange)
{
    http_begin(exchange, 200, NULL);
    flood_on(exchange);
}

static bool guard(struct http_exchange *exchange)
{
    struct bytes value;
    http_add_header(exchange, "X-Guard", "on");
    if (!http_request_header(exchange, "x-forbidden", &value)) return true;
    http_error(exchange, 403, "no");
    return false;
}

static const struct http_handler hello_handler = {.on_request = hello, .on_close = count_close};
static const struct http_handler echo_handler = {.on_end = echo_body, .body_limit = 100};
static const struct http_handler chunks_handler = {.on_request = chunks};
static const struct http_handler hold_handler = {.on_request = hold, .on_close = count_close};
static const struct http_handler stream_handler = {.on_body = take_piece, .on_end = tell_streamed};
static const struct http_handler drink_handler = {.on_body = drink, .on_end = tell_streamed};
static const struct http_handler query_handler = {.on_request = tell_query};
static const struct http_handler over_handler = {.on_request = take_over, .on_close = count_close};
static const struct http_handler flood_handler = {.on_request = flood, .on_writable = flood_on};
static const struct http_route routes[] = {
    {.path = "/hello", .handler = &hello_handler},
    {.path = "/echo", .handler = &echo_handler},
    {.path = "/chunks", .handler = &chunks_handler},
    {.path = "/hold", .handler = &hold_handler},
    {.path = "/stream", .handler = &stream_handler},
    {.path = "/drink", .handler = &drink_handler},
    {.path = "/q", .prefix = true, .handler = &query_handler},
    {.path = "/over", .handler = &over_handler},
    {.path = "/flood", .handler = &flood_handler},
};
static const struct http_router router = {.routes = routes,
                                          .route_count = sizeof(routes) / sizeof(routes[0]),
                                          .before = guard};

/* ---- harness ---- */

struct fixture {
    struct loop *loop;
    struct http1_server *server;
    struct port port;
    struct transport *transport; /* NULL once closed */
    struct buf output;
    struct listener *listener;
};

static void start(struct fixture *f)
{
    buf_deinit(&site.taken_rest);
    memset(&site, 0, sizeof(site));
    f->loop = loop_new();
    f->server = http1_server_new(f->loop, &(struct http1_server_config){0});
    f->port = (struct port){.http = f->server, .router = &router};
}

static void on_transport_free(void *context)
{
    *(struct transport **)context = NULL;
}

static void connect_memory(struct fixture *f)
{
    f->transport = transport_memory_new(f->loop);
    f->transport->on_free = on_transport_free;
    f->transport->on_free_context = &f->transport;
    transport_memory_sink(f->transport, &f->output);
    port_accept(&f->port, f->transport);
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 3; i++) loop_run_once(f->loop, 0);
}

static void feed(struct fixture *f, const char *text)
{
    if (f->transport != NULL && transport_is_open(f->transport)) {
        transport_memory_feed(f->transport, bytes_from_string(text));
    }
    turn(f);
}

static void set_flag(void *context)
{
    *(bool *)context = true;
}

static void stop(struct fixture *f)
{
    bool done = false;
    if (f->listener != NULL) listener_close(f->listener);
    port_close(&f->port);
    turn(f);
    http1_server_close(f->server, 0, set_flag, &done);
    while (!done) loop_run_once(f->loop, LOOP_SECOND);
    http1_server_free(f->server);
    loop_free(f->loop);
    buf_deinit(&f->output);
    buf_deinit(&site.taken_rest);
}

static size_t occurrences(struct fixture *f, const char *text)
{
    size_t count = 0;
    for (const char *at = buf_string(&f->output); (at = strstr(at, text)) != NULL; at++) count++;
    return count;
}

static bool ends_with(struct fixture *f, const char *text)
{
    size_t size = strlen(text);
    return f->output.size >= size && memcmp(f->output.data + f->output.size - size, text, size) == 0;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

/* ---- tests ---- */

static void a_request_is_answered_and_the_connection_kept(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, GET("/hello"));
    assert_int_equal(occurrences(&f, "HTTP/1.1 200 OK\r\n"), 1);
    assert_int_equal(occurrences(&f, "Content-Length: 5\r\n"), 1);
    assert_int_equal(occurrences(&f, "X-Guard: on\r\n"), 1);
    assert_true(ends_with(&f, "\r\n\r\nhello"));
    feed(&f, GET("/hello"));
    assert_int_equal(occurrences(&f, "HTTP/1.1 200 OK\r\n"), 2);
    assert_int_equal(site.closed, 2);
    assert_non_null(f.transport);
    stop(&f);
}

static void a_request_may_be_cut_at_every_byte(void **state)
{
    (void)state;
    static const char text[] =
        "POST /echo?x HTTP/1.1\r\nHost: h\r\nX-A: b c\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n" GET("/chunks");
    struct fixture f = {0};
    start(&f);
    struct buf whole = {0};
    for (size_t cut = 0; cut < sizeof(text) - 1; cut++) {
        buf_clear(&f.output);
        connect_memory(&f);
        if (cut > 0) transport_memory_feed(f.transport, bytes_of(text, cut));
        turn(&f);
        transport_memory_feed(f.transport, bytes_of(text + cut, sizeof(text) - 1 - cut));
        turn(&f);
        assert_int_equal(occurrences(&f, "abcdefgh"), 1);
        assert_true(ends_with(&f, "4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n"));
        transport_memory_end(f.transport);
        turn(&f);
        assert_null(f.transport);
    }
    buf_deinit(&whole);
    stop(&f);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, GET("/hold") GET("/hello") GET("/chunks"));
    assert_int_equal(f.output.size, 0);
    http_respond(site.held, 200, NULL, BYTES_LITERAL("first"));
    http_exchange_unref(site.held);
    turn(&f);
    const char *all = buf_string(&f.output);
    const char *first = strstr(all, "first"), *second = strstr(all, "hello"), *third = strstr(all, "one,");
    assert_true(first != NULL && second != NULL && third != NULL);
    assert_true(first < second && second < third);
    stop(&f);
}

static void head_has_the_headers_of_get_and_no_body(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\nHEAD /chunks HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(occurrences(&f, "Content-Length: 5\r\n"), 1);
    assert_int_equal(occurrences(&f, "hello"), 0);
    assert_int_equal(occurrences(&f, "200 OK"), 2);
    assert_true(ends_with(&f, "\r\n\r\n"));
    stop(&f);
}

static void old_clients_get_their_connection_closed(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "GET /chunks HTTP/1.0\r\n\r\n");
    assert_int_equal(occurrences(&f, "chunked"), 0);
    assert_true(ends_with(&f, "\r\n\r\none,two"));
    assert_null(f.transport);
    connect_memory(&f);
    feed(&f, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_int_equal(occurrences(&f, "Connection: close\r\n"), 2);
    assert_null(f.transport);
    stop(&f);
}

static void what_is_not_http_is_closed(void **state)
{
    (void)state;
    static const char *const cases[] = {"\x16\x03\x01", "hello\r\n", "GE\x01T / HTTP/1.1\r\n",
                                        " GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
    struct fixture f = {0};
    start(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        connect_memory(&f);
        feed(&f, cases[i]);
        assert_null(f.transport);
        assert_int_equal(f.output.size, 0);
    }
    stop(&f);
}

static void malformed_requests_get_400_and_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *request, *reason;
    } cases[] = {
        {"GET /hello HTTP/1.1\r\nHost: h\r\nbad\x01header: x\r\n\r\n", ""},
        {"GET /hello HTTP/1.1\r\nHost: h\r\nAuthorization : x\r\n\r\n", ": invalid header name"},
        {"GET /hello HTTP/x.1\r\nHost: h\r\n\r\n", ""},
        {"GET /hello HTTP/1.1\r\n\r\n", ": missing required Host header"},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n", ""},
        {"NOPE /hello HTTP/1.1\r\nHost: h\r\n\r\n", ""},
    };
    struct fixture f = {0};
    start(&f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[100];
        snprintf(line, sizeof(line), "HTTP/1.1 400 Bad Request%s\r\n", cases[i].reason);
        buf_clear(&f.output);
        connect_memory(&f);
        feed(&f, cases[i].request);
        assert_int_equal(occurrences(&f, line), 1);
        assert_null(f.transport);
    }
    stop(&f);
}

static void an_early_answer_keeps_the_connection_when_the_rest_is_short(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab");
    assert_int_equal(occurrences(&f, "200 OK"), 1);
    assert_int_equal(occurrences(&f, "Connection: close"), 0);
    feed(&f, "cdGET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(occurrences(&f, "200 OK"), 2);
    feed(&f, "POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\nab");
    assert_int_equal(occurrences(&f, "Connection: close"), 1);
    assert_null(f.transport);
    stop(&f);
}

static void headers_have_a_limit(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "GET /hello HTTP/1.1\r\nHost: h\r\nX-Long: ");
    char *filler = mem_alloc(100001);
    memset(filler, 'x', 100000);
    filler[100000] = 0;
    for (int i = 0; i < 12; i++) feed(&f, filler);
    free(filler);
    assert_int_equal(occurrences(&f, "HTTP/1.1 431 Request Header Fields Too Large\r\n"), 1);
    assert_null(f.transport);
    stop(&f);
}

static void a_body_beyond_its_limit_gets_413(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    char text[400];
    for (int size = 100; size <= 101; size++) {
        buf_clear(&f.output);
        connect_memory(&f);
        snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%0*d", size,
                 size, 7);
        feed(&f, text);
        assert_int_equal(occurrences(&f, size == 100 ? "200 OK" : "413 Request Entity Too Large"), 1);
        if (f.transport != NULL) transport_memory_end(f.transport);
        turn(&f);
    }
    stop(&f);
}

static void an_expectation_is_met_before_the_body(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(buf_string(&f.output), "HTTP/1.1 100 Continue\r\n\r\n");
    feed(&f, "ok");
    assert_true(ends_with(&f, "\r\n\r\nok"));
    stop(&f);
}

static void a_streamed_body_waits_for_its_handler(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
             "chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_int_equal(site.streamed, 3);
    http_resume(site.held);
    turn(&f);
    assert_int_equal(site.streamed, 7);
    assert_int_equal(f.output.size, 0);
    http_resume(site.held);
    turn(&f);
    assert_true(ends_with(&f, "\r\n\r\n7"));
    http_exchange_unref(site.held);
    stop(&f);
}

static void a_reader_that_stops_stops_the_response(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    transport_memory_limit(f.transport, 1000);
    feed(&f, GET("/flood"));
    assert_true(site.flood_sent <= HTTP_SEND_HIGH / FLOOD_SIZE + 2);
    transport_memory_limit(f.transport, SIZE_MAX);
    while (site.flood_sent < FLOOD_PIECES) turn(&f);
    turn(&f);
    assert_true(ends_with(&f, "0\r\n\r\n"));
    assert_true(f.output.size > (size_t)FLOOD_PIECES * FLOOD_SIZE);
    stop(&f);
}

static void a_broken_connection_tells_the_handler(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, GET("/hold"));
    transport_memory_end(f.transport);
    turn(&f);
    assert_int_equal(site.closed, 1);
    assert_false(http_exchange_is_live(site.held));
    assert_string_equal(http_exchange_peer(site.held), "");
    http_respond(site.held, 200, NULL, BYTES_LITERAL("nobody listens"));
    http_exchange_unref(site.held);
    stop(&f);
}

static void paths_and_queries_are_decoded(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, GET("/q%2Fx%zz?a+b=1%262&c&a%20b=+y"));
    assert_true(ends_with(&f, "/q/x%zz|1&2| y"));
    feed(&f, GET("http://host/qq"));
    assert_true(ends_with(&f, "/qq||"));
    stop(&f);
}

static void guards_and_unknown_paths_answer_like_go(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "GET /hello HTTP/1.1\r\nHost: h\r\nX-Forbidden: 1\r\n\r\n");
    assert_int_equal(occurrences(&f, "HTTP/1.1 403 Forbidden\r\n"), 1);
    assert_true(ends_with(&f, "\r\n\r\nno\n"));
    feed(&f, GET("/nowhere"));
    assert_int_equal(occurrences(&f, "HTTP/1.1 404 Not Found\r\n"), 1);
    assert_int_equal(occurrences(&f, "X-Content-Type-Options: nosniff\r\n"), 2);
    assert_true(ends_with(&f, "\r\n\r\n404 page not found\n"));
    stop(&f);
}

static void upgrades_are_ignored_unless_taken_over(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    connect_memory(&f);
    feed(&f, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_true(ends_with(&f, "hello"));
    feed(&f, "GET /over HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes");
    assert_ptr_equal(site.taken, f.transport);
    assert_string_equal(buf_string(&site.taken_rest), "frames");
    assert_int_equal(site.closed, 2);
    assert_int_equal(http1_server_connections(f.server), 0);
    transport_close(site.taken, NULL);
    turn(&f);
    assert_null(f.transport);
    stop(&f);
}

/* ---- the client ---- */

static void on_accept(void *context, size_t index, struct transport *transport)
{
    (void)index;
    port_accept(&((struct fixture *)context)->port, transport);
}

static void listen_tcp(struct fixture *f)
{
    struct loop *loops[] = {f->loop};
    struct listener_config config = {
        .address = "127.0.0.1:0", .loops = loops, .loop_count = 1, .on_accept = on_accept, .context = f};
    assert_null(listener_new(f->loop, &config, &f->listener));
    listener_start(f->listener);
}

struct answer {
    int status;
    struct buf body;
    bool done, failed, whole;
    size_t poured; /* pieces of a streamed body */
    char error[200];
};

static void on_response(struct http1_client_request *request, int status, const struct http_header *headers,
                        size_t count)
{
    struct answer *answer = http1_client_request_context(request);
    answer->status = status;
    assert_true(count > 0 && headers[0].name.size > 0);
}

static void on_body(struct http1_client_request *request, struct bytes piece)
{
    buf_append_bytes(&((struct answer *)http1_client_request_context(request))->body, piece);
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct answer *answer = http1_client_request_context(request);
    answer->done = true;
    answer->failed = error != NULL;
    if (error != NULL) snprintf(answer->error, sizeof(answer->error), "%s", error->text);
}

static const struct http1_client_handler answer_handler = {.on_response = on_response,
                                                           .on_body = on_body,
                                                           .on_done = on_done};

static void run_until(struct fixture *f, const bool *flag)
{
    int64_t limit = clock_monotonic() + 20 * LOOP_SECOND;
    while (!*flag) {
        loop_run_once(f->loop, LOOP_SECOND);
        assert_true(clock_monotonic() < limit);
    }
}

static void the_client_gets_posts_and_streams(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    listen_tcp(&f);
    struct http1_client *client =
        http1_client_new(f.loop, &(struct http1_client_config){.address = listener_address(f.listener)});
    struct answer get = {0}, post = {0}, streamed = {0}, gone = {0};
    http1_client_request(client, &(struct http1_client_options){.method = "GET",
                                                                .target = "/chunks",
                                                                .handler = &answer_handler,
                                                                .context = &get});
    http1_client_request(client, &(struct http1_client_options){.method = "POST",
                                                                .target = "/echo",
                                                                .body = BYTES_LITERAL("body"),
                                                                .handler = &answer_handler,
                                                                .context = &post});
    struct http1_client_request *stream =
        http1_client_request(client, &(struct http1_client_options){.method = "POST",
                                                                    .target = "/echo",
                                                                    .stream_body = true,
                                                                    .body_size = -1,
                                                                    .body = BYTES_LITERAL("a"),
                                                                    .handler = &answer_handler,
                                                                    .context = &streamed});
    run_until(&f, &post.done);
    assert_string_equal(buf_string(&get.body), "one,two");
    assert_string_equal(buf_string(&post.body), "body");
    http1_client_send(stream, blob_from(BYTES_LITERAL("bc")));
    for (int i = 0; i < 5; i++) loop_run_once(f.loop, LOOP_MILLISECOND);
    http1_client_send(stream, blob_from(BYTES_LITERAL("d")));
    http1_client_send_end(stream);
    run_until(&f, &streamed.done);
    assert_int_equal(streamed.status, 200);
    assert_string_equal(buf_string(&streamed.body), "abcd");
    assert_int_equal(http1_server_connections(f.server), 1);
    http1_client_request(client, &(struct http1_client_options){.method = "GET",
                                                                .target = "/hold",
                                                                .handler = &answer_handler,
                                                                .context = &gone});
    while (site.held == NULL) loop_run_once(f.loop, LOOP_SECOND);
    http1_client_free(client);
    assert_true(gone.done && gone.failed);
    http_exchange_unref(site.held);
    stop(&f);
    buf_deinit(&get.body);
    buf_deinit(&post.body);
    buf_deinit(&streamed.body);
}

static void on_gathered(struct http1_client_request *request, const struct error *error)
{
    struct answer *answer = http1_client_request_context(request);
    answer->status = http1_client_request_status(request);
    buf_append_bytes(&answer->body, http1_client_request_body(request));
    on_done(request, error);
}

static void without_a_handler_the_body_is_gathered_up_to_a_limit(void **state)
{
    (void)state;
    static const struct http1_client_handler handler = {.on_done = on_gathered};
    static const struct {
        size_t limit;
        const char *body;
    } cases[] = {{7, "one,two"}, {6, "one,"}, {0, ""}}; /* whole pieces are dropped */
    struct fixture f = {0};
    start(&f);
    listen_tcp(&f);
    struct http1_client *client =
        http1_client_new(f.loop, &(struct http1_client_config){.address = listener_address(f.listener)});
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = {0};
        http1_client_request(client, &(struct http1_client_options){.method = "GET",
                                                                    .target = "/chunks",
                                                                    .gather_limit = cases[i].limit,
                                                                    .handler = &handler,
                                                                    .context = &answer});
        run_until(&f, &answer.done);
        assert_false(answer.failed);
        assert_int_equal(answer.status, 200);
        assert_string_equal(buf_string(&answer.body), cases[i].body);
        buf_deinit(&answer.body);
    }
    http1_client_free(client);
    stop(&f);
}

enum { POUR_PIECES = 100, POUR_SIZE = 200 * 1024 };

/* More as soon as less waits: each piece is so large that every one has to be waited for. */
static void pour(struct http1_client_request *request)
{
    struct answer *answer = http1_client_request_context(request);
    size_t pending = 0;
    while (answer->poured < POUR_PIECES && pending < HTTP_SEND_HIGH) {
        struct blob *piece = blob_new(POUR_SIZE);
        memset(piece->data, 'p', POUR_SIZE);
        answer->poured++;
        pending = http1_client_send(request, piece);
    }
    if (answer->poured == POUR_PIECES && !answer->whole) {
        answer->whole = true;
        http1_client_send_end(request);
    }
}

static const struct http1_client_handler pour_handler = {.on_response = on_response,
                                                         .on_body = on_body,
                                                         .on_writable = pour,
                                                         .on_done = on_done};

/* Also when the connection takes a piece at once, and when it was not open yet. */
static void a_streamed_body_is_told_when_to_go_on(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    listen_tcp(&f);
    struct http1_client *client =
        http1_client_new(f.loop, &(struct http1_client_config){.address = listener_address(f.listener)});
    struct answer answer = {0};
    struct http1_client_request *request =
        http1_client_request(client, &(struct http1_client_options){.method = "POST",
                                                                    .target = "/drink",
                                                                    .stream_body = true,
                                                                    .body_size = POUR_PIECES * POUR_SIZE,
                                                                    .handler = &pour_handler,
                                                                    .context = &answer});
    pour(request);
    run_until(&f, &answer.done);
    assert_false(answer.failed);
    assert_int_equal(answer.poured, POUR_PIECES);
    http1_client_free(client);
    stop(&f);
    buf_deinit(&answer.body);
}

static void the_client_says_why_it_failed(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    listen_tcp(&f);
    char address[64], expected[128];
    snprintf(address, sizeof(address), "%s", listener_address(f.listener));
    struct http1_client *client = http1_client_new(f.loop, &(struct http1_client_config){.address = address});
    struct answer late = {0}, refused = {0};
    http1_client_request(client,
                         &(struct http1_client_options){.method = "GET",
                                                        .target = "/hold",
                                                        .deadline = clock_monotonic() + 30 * LOOP_MILLISECOND,
                                                        .handler = &answer_handler,
                                                        .context = &late});
    run_until(&f, &late.done);
    assert_string_equal(late.error, "context deadline exceeded");
    http_exchange_unref(site.held);
    listener_close(f.listener);
    f.listener = NULL;
    http1_client_request(client, &(struct http1_client_options){.method = "GET",
                                                                .target = "/hello",
                                                                .handler = &answer_handler,
                                                                .context = &refused});
    run_until(&f, &refused.done);
    snprintf(expected, sizeof(expected), "dial tcp %s: connect: connection refused", address);
    assert_string_equal(refused.error, expected);
    http1_client_free(client);
    stop(&f);
}

static void a_bound_address_says_so_as_go_does(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    listen_tcp(&f);
    struct loop *loops[] = {f.loop};
    struct listener *second;
    struct listener_config config = {.address = listener_address(f.listener),
                                     .loops = loops,
                                     .loop_count = 1,
                                     .on_accept = on_accept,
                                     .context = &f};
    struct error *error = listener_new(f.loop, &config, &second);
    char expected[128];
    snprintf(expected, sizeof(expected), "listen tcp %s: bind: address already in use",
             listener_address(f.listener));
    assert_non_null(error);
    assert_string_equal(error->text, expected);
    error_free(error);
    stop(&f);
}

static void connections_beyond_the_limit_wait_for_one_to_close(void **state)
{
    (void)state;
    struct fixture f = {0};
    start(&f);
    struct loop *loops[] = {f.loop};
    struct listener_config config = {.address = "127.0.0.1:0",
                                     .loops = loops,
                                     .loop_count = 1,
                                     .connection_limit = 2,
                                     .on_accept = on_accept,
                                     .context = &f};
    assert_null(listener_new(f.loop, &config, &f.listener));
    listener_start(f.listener);
    struct http1_client *clients[3];
    struct answer answers[3] = {0};
    for (int i = 0; i < 3; i++) {
        clients[i] =
            http1_client_new(f.loop, &(struct http1_client_config){.address = listener_address(f.listener)});
        http1_client_request(clients[i], &(struct http1_client_options){.method = "GET",
                                                                        .target = "/hello",
                                                                        .handler = &answer_handler,
                                                                        .context = &answers[i]});
        if (i < 2) run_until(&f, &answers[i].done);
    }
    int64_t end = clock_monotonic() + 150 * LOOP_MILLISECOND;
    while (clock_monotonic() < end) loop_run_once(f.loop, 10 * LOOP_MILLISECOND);
    assert_false(answers[2].done);
    assert_int_equal(listener_connections(f.listener), 2);
    http1_client_free(clients[0]);
    run_until(&f, &answers[2].done);
    assert_int_equal(answers[2].status, 200);
    http1_client_free(clients[1]);
    http1_client_free(clients[2]);
    for (int i = 0; i < 3; i++) buf_deinit(&answers[i].body);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_and_the_connection_kept),
        cmocka_unit_test(a_request_may_be_cut_at_every_byte),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(head_has_the_headers_of_get_and_no_body),
        cmocka_unit_test(old_clients_get_their_connection_closed),
        cmocka_unit_test(what_is_not_http_is_closed),
        cmocka_unit_test(malformed_requests_get_400_and_the_end),
        cmocka_unit_test(an_early_answer_keeps_the_connection_when_the_rest_is_short),
        cmocka_unit_test(headers_have_a_limit),
        cmocka_unit_test(a_body_beyond_its_limit_gets_413),
        cmocka_unit_test(an_expectation_is_met_before_the_body),
        cmocka_unit_test(a_streamed_body_waits_for_its_handler),
        cmocka_unit_test(a_reader_that_stops_stops_the_response),
        cmocka_unit_test(a_broken_connection_tells_the_handler),
        cmocka_unit_test(paths_and_queries_are_decoded),
        cmocka_unit_test(guards_and_unknown_paths_answer_like_go),
        cmocka_unit_test(upgrades_are_ignored_unless_taken_over),
        cmocka_unit_test(the_client_gets_posts_and_streams),
        cmocka_unit_test(without_a_handler_the_body_is_gathered_up_to_a_limit),
        cmocka_unit_test(a_streamed_body_is_told_when_to_go_on),
        cmocka_unit_test(the_client_says_why_it_failed),
        cmocka_unit_test(a_bound_address_says_so_as_go_does),
        cmocka_unit_test(connections_beyond_the_limit_wait_for_one_to_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
