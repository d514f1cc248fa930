/* Arbitrary bytes as what a client sends to a port that serves HTTP/1, in pieces whose sizes the input
 * chooses: never a crash, and every exchange whose handler was called is closed when the connection is gone.
 */
#include "net/port.h"
#include "net/transport_memory.h"
#include "tests/fuzz/fuzz.h"

static size_t opened, closed, received;

static void on_request(struct http_exchange *exchange)
{
    opened++;
    struct bytes value;
    (void)http_query(exchange, "a", 0, &value);
}

static void on_close(struct http_exchange *exchange)
{
    (void)exchange;
    closed++;
}

static void answer(struct http_exchange *exchange)
{
    http_respond(exchange, 200, "text/plain", http_body(exchange));
}

static void on_piece(struct http_exchange *exchange, struct bytes piece)
{
    received += piece.size;
    http_pause(exchange);
    http_resume(exchange);
}

static void answer_stream(struct http_exchange *exchange)
{
    http_begin(exchange, 200, NULL);
    http_send(exchange, BYTES_LITERAL("piece"));
    http_end(exchange);
}

static const struct http_handler whole = {.on_request = on_request,
                                          .on_end = answer,
                                          .on_close = on_close,
                                          .body_limit = 50};
static const struct http_handler streamed = {.on_request = on_request,
                                             .on_body = on_piece,
                                             .on_end = answer_stream,
                                             .on_close = on_close};
static const struct http_route routes[] = {{.path = "/s", .prefix = true, .handler = &streamed}};
static const struct http_router router = {.routes = routes, .route_count = 1, .fallback = &whole};

static void set_flag(void *context)
{
    *(bool *)context = true;
}

static void on_free(void *context)
{
    *(struct transport **)context = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    opened = closed = 0;
    struct loop *loop = loop_new();
    struct http1_server *server = http1_server_new(loop, &(struct http1_server_config){0});
    struct port port = {.http = server, .router = &router};
    struct transport *transport = transport_memory_new(loop);
    transport->on_free = on_free;
    transport->on_free_context = &transport;
    port_accept(&port, transport);
    size_t step = 1 + data[0];
    for (size_t at = 1; at < size; at += step) {
        if (transport == NULL || !transport_is_open(transport) || !transport->reading) break;
        transport_memory_feed(transport, bytes_of(data + at, size - at < step ? size - at : step));
        loop_run_once(loop, 0);
    }
    bool done = false;
    port_close(&port);
    loop_run_once(loop, 0);
    http1_server_close(server, 0, set_flag, &done);
    while (!done) loop_run_once(loop, LOOP_SECOND);
    FUZZ_CHECK(opened == closed);
    http1_server_free(server);
    loop_free(loop);
    return 0;
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const char *const seeds[] = {
        "\x10"
        "GET /?a=1&b HTTP/1.1\r\nHost: h\r\n\r\nGET /s HTTP/1.1\r\nHost: h\r\n\r\n",
        "\xff"
        "POST /s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: "
        "x\r\n\r\n"
        "HEAD / HTTP/1.0\r\n\r\n",
        "\x03"
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    };
    if (number >= sizeof(seeds) / sizeof(seeds[0])) return false;
    buf_append_string(out, seeds[number]);
    return true;
}
