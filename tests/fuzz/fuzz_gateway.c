/* Arbitrary bytes as what a client sends to the JSON gateway over HTTP/1, websockets included, in pieces
 * whose sizes the input chooses, to methods that answer at once, late, often, or not at all; with a client
 * that reads, or stops reading. Never a crash; when the connection is gone, so is every call, and every slot.
 */
#include "net/port.h"
#include "net/transport_memory.h"
#include "server/gateway.h"
#include "server/gateway_limit.h"
#include "server/gateway_websocket.h"
#include "tests/fuzz/fuzz.h"

enum { SLOTS = 2, MESSAGES_MAX = 50 };

static size_t open_calls;

static void on_open(struct grpc_call *call)
{
    (void)call;
    open_calls++;
}

static void on_close(struct grpc_call *call)
{
    (void)call;
    open_calls--;
}

/* An empty message is one of any type. */
static void reply(struct grpc_call *call, struct bytes message)
{
    (void)message;
    grpc_call_reply(call, blob_from(BYTES_EMPTY));
}

static void refuse(struct grpc_call *call, struct bytes message)
{
    grpc_call_fail(call, GRPC_UNAUTHENTICATED, "\"%zu\r\n", message.size);
}

static void ignore(struct grpc_call *call, struct bytes message)
{
    (void)call, (void)message;
}

static void echo(struct grpc_call *call, struct bytes message)
{
    (void)message;
    for (int i = 0; i < MESSAGES_MAX; i++) grpc_call_send_blob(call, blob_from(BYTES_EMPTY));
}

static void echo_slowly(struct grpc_call *call, struct bytes message)
{
    echo(call, message);
    grpc_call_pause(call);
    grpc_call_resume(call);
}

static void finish(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

#define METHOD(service_, name_, kind_, ...)                                                                  \
    &(const struct grpc_method)                                                                              \
    {                                                                                                        \
        .service = "etcdserverpb." service_, .name = (name_), .kind = (kind_), .on_open = on_open,           \
        .on_close = on_close, __VA_ARGS__                                                                    \
    }

static const struct grpc_method *const methods[] = {
    METHOD("KV", "Put", GRPC_UNARY, .on_message = reply),
    METHOD("KV", "Range", GRPC_UNARY, .on_message = refuse),
    METHOD("KV", "Txn", GRPC_UNARY, .on_message = ignore),
    METHOD("Watch", "Watch", GRPC_BIDI, .on_message = echo),
    METHOD("Lease", "LeaseKeepAlive", GRPC_BIDI, .on_message = echo_slowly, .on_half_close = finish),
};

static const struct http_route routes[] = {
    {.path = "/v3/", .prefix = true, .handler = &gateway_handler},
    {.path = "/v3beta/", .prefix = true, .handler = &gateway_handler},
};

static void set_flag(void *context)
{
    *(bool *)context = true;
}

static void forget_transport(void *context)
{
    *(struct transport **)context = NULL;
}

static void play(struct loop *loop, struct port *port, const uint8_t *data, size_t size)
{
    struct transport *transport = transport_memory_new(loop);
    transport->on_free = forget_transport;
    transport->on_free_context = &transport;
    if ((data[0] & 0x80) != 0) transport_memory_limit(transport, 1000);
    port_accept(port, transport);
    size_t step = 1 + (data[0] & 0x7f);
    for (size_t at = 1; at < size; at += step) {
        if (transport == NULL || !transport_is_open(transport)) break;
        if (transport->reading)
            transport_memory_feed(transport, bytes_of(data + at, size - at < step ? size - at : step));
        loop_run_once(loop, 0);
    }
    if (transport != NULL && transport->state < TRANSPORT_CLOSING) transport_close(transport, NULL);
    while (transport != NULL) loop_run_once(loop, LOOP_SECOND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct loop *loop = loop_new();
    struct grpc_server_config config = {.methods = methods,
                                        .method_count = sizeof(methods) / sizeof(methods[0])};
    struct http_endpoints endpoints = {.host_whitelist = "*",
                                       .cors = "http://a",
                                       .enable_gateway = true,
                                       .grpc = grpc_server_new(loop, &config),
                                       .receive_limit = 500,
                                       .gateway_limit = gateway_limit_new(SLOTS)};
    struct http_router router = {.routes = routes, .route_count = 2, .context = &endpoints};
    struct http1_server *server = http1_server_new(loop, &(struct http1_server_config){0});
    struct port port = {.http = server, .router = &router};
    bool done = false, served = false;
    open_calls = 0;
    play(loop, &port, data, size);
    FUZZ_CHECK(open_calls == 0);
    port_close(&port);
    gateway_websockets_close(&endpoints);
    grpc_server_close(endpoints.grpc, 0, set_flag, &served);
    http1_server_close(server, 0, set_flag, &done);
    while (!done || !served) loop_run_once(loop, LOOP_SECOND);
    http1_server_free(server);
    grpc_server_free(endpoints.grpc);
    gateway_limit_free(endpoints.gateway_limit); /* checks that no slot is taken */
    loop_free(loop);
    return 0;
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const char *const seeds[] = {
        "\x20POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nContent-Length: "
        "25\r\n\r\n{\"key\":\"Zm9v\",\"lease\":\"1\"}"
        "POST /v3/kv/range HTTP/1.1\r\nHost: h\r\nGrpc-Timeout: 1n\r\nGrpc-Metadata-X-Bin: "
        "YQ\r\nContent-Length: 2\r\n\r\n{}"
        "GET /v3/kv/put HTTP/1.1\r\nHost: h\r\n\r\nPOST /v3/kv/x HTTP/1.1\r\nHost: h\r\n\r\n",
        "\x85POST /v3/watch HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
        "chunked\r\n\r\n18\r\n{\"create_request\":{}}"
        "    \r\n17\r\n{\"progress_request\":{}}\r\n3\r\n[1]\r\n0\r\n\r\n",
        "\x7fPOST /v3/lease/keepalive HTTP/1.1\r\nHost: h\r\nContent-Length: "
        "20\r\n\r\n{\"ID\":1}{\"ID\":\"2\"}5 "
        "POST /v3/kv/txn HTTP/1.1\r\nHost: h\r\nGrpc-Timeout: 5m\r\nContent-Length: 0\r\n\r\n",
        "\x11GET /v3/watch HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\nConnection: Upgrade\r\nUpgrade: "
        "websocket\r\n"
        "Cookie: a=b; token=x\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        "\x81\x85\x01\x01\x01\x01zz{}|"
        "\x89\x82\x01\x01\x01\x01hi\x01\x81\x01\x01\x01\x01z\x80\x81\x01\x01\x01\x01|"
        "\x88\x82\x01\x01\x01\x01\x02\xe9",
        "\x40GET /v3/kv/put HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Protocol: Bearer, x\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
        "\x81\x82\x01\x01\x01\x01z|",
    };
    if (number >= sizeof(seeds) / sizeof(seeds[0])) return false;
    buf_append_string(out, seeds[number]);
    return true;
}
