/* Arbitrary bytes as what an HTTP/2 client sends to the gRPC server, in pieces whose sizes the input chooses:
 * never a crash, and every call that was opened is closed when the connection is gone. The first byte chooses
 * whether the client's preface and SETTINGS go in front, without which little gets past nghttp2. */
#include "net/grpc_server.h"
#include "net/http.h"
#include "net/transport_memory.h"
#include "tests/fuzz/fuzz.h"

#include <nghttp2/nghttp2.h>

static size_t opened, closed;

static void on_open(struct grpc_call *call)
{
    opened++;
    size_t count;
    const struct grpc_metadata *metadata = grpc_call_metadata_all(call, &count);
    for (size_t i = 0; i < count; i++) FUZZ_CHECK(metadata[i].key.size > 0);
}

static void on_message(struct grpc_call *call, struct bytes message)
{
    grpc_call_send_blob(call, blob_from(message));
    if (grpc_call_method(call)->kind == GRPC_UNARY) grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void on_half_close(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void on_close(struct grpc_call *call)
{
    (void)call;
    closed++;
}

static const struct grpc_method unary = {.service = "t.T",
                                         .name = "U",
                                         .kind = GRPC_UNARY,
                                         .on_open = on_open,
                                         .on_message = on_message,
                                         .on_close = on_close};
static const struct grpc_method bidi = {.service = "t.T",
                                        .name = "B",
                                        .kind = GRPC_BIDI,
                                        .on_open = on_open,
                                        .on_message = on_message,
                                        .on_half_close = on_half_close,
                                        .on_close = on_close};
static const struct grpc_method *const methods[] = {&unary, &bidi};

static void answer(struct http_exchange *exchange)
{
    http_respond(exchange, 200, NULL, http_body(exchange));
}

static const struct http_handler handler = {.on_end = answer};
static const struct http_router router = {.fallback = &handler};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static void set_flag(void *context)
{
    *(bool *)context = true;
}

static void feed(struct loop *loop, struct transport **transport, struct bytes bytes)
{
    if (*transport == NULL || !transport_is_open(*transport) || !(*transport)->reading) return;
    transport_memory_feed(*transport, bytes);
    loop_run_once(loop, 0);
}

static void on_free(void *context)
{
    *(struct transport **)context = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    opened = closed = 0;
    struct loop *loop = loop_new();
    const struct grpc_server_config config = {.methods = methods,
                                              .method_count = 2,
                                              .receive_limit = 1000,
                                              .max_concurrent_streams = 20};
    struct grpc_server *server = grpc_server_new(loop, &config);
    struct transport *transport = transport_memory_new(loop);
    transport->on_free = on_free;
    transport->on_free_context = &transport;
    grpc_server_accept(server, transport, BYTES_EMPTY, (data[0] & 2) != 0 ? &router : NULL);
    if ((data[0] & 1) == 0) feed(loop, &transport, bytes_of(preface, sizeof(preface) - 1));
    size_t step = 1 + data[1];
    for (size_t at = 2; at < size; at += step) {
        feed(loop, &transport, bytes_of(data + at, size - at < step ? size - at : step));
    }
    bool done = false;
    grpc_server_close(server, 0, set_flag, &done);
    while (!done) loop_run_once(loop, LOOP_SECOND);
    FUZZ_CHECK(opened == closed);
    grpc_server_free(server);
    loop_free(loop);
    return 0;
}

/* ---- seeds: what a client session makes of a few calls ---- */

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)user_data;
    static const uint8_t body[] = {0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0};
    FUZZ_CHECK(length >= sizeof(body));
    memcpy(buffer, body, sizeof(body));
    if (source->fd == 0) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return sizeof(body);
}

static void submit(nghttp2_session *session, const char *path, const char *type, const char *encoding)
{
    const char *const headers[][2] = {
        {":method", "POST"},      {":scheme", "http"},    {":path", path},
        {":authority", "h"},      {"content-type", type}, {"te", "trailers"},
        {"grpc-timeout", "100m"}, {"x-bin", "AAEC"},      {"grpc-encoding", encoding}};
    nghttp2_nv values[9];
    for (size_t i = 0; i < 9; i++) {
        values[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)headers[i][0],
                                 .value = (uint8_t *)(uintptr_t)headers[i][1],
                                 .namelen = strlen(headers[i][0]),
                                 .valuelen = strlen(headers[i][1])};
    }
    nghttp2_data_provider provider = {.read_callback = read_body};
    FUZZ_CHECK(nghttp2_submit_request(session, NULL, values, 9, &provider, NULL) > 0);
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const struct {
        const char *path, *type, *encoding;
    } seeds[] = {
        {"/t.T/U", "application/grpc", "identity"},
        {"/t.T/B", "application/grpc+proto", "gzip"},
        {"/t.T/X", "application/grpc", "deflate"},
        {"/other", "text/plain", "identity"},
    };
    if (number >= sizeof(seeds) / sizeof(seeds[0])) return false;
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    FUZZ_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    FUZZ_CHECK(nghttp2_session_client_new(&session, callbacks, NULL) == 0);
    nghttp2_session_callbacks_del(callbacks);
    FUZZ_CHECK(nghttp2_submit_settings(session, 0, NULL, 0) == 0);
    for (int i = 0; i < 3; i++)
        submit(session, seeds[number].path, seeds[number].type, seeds[number].encoding);
    FUZZ_CHECK(nghttp2_submit_ping(session, 0, NULL) == 0);
    FUZZ_CHECK(nghttp2_submit_rst_stream(session, 0, 3, NGHTTP2_CANCEL) == 0);
    buf_append_byte(out, (uint8_t)(1 | (number & 1) << 1));
    buf_append_byte(out, number == 0 ? 255 : 30);
    const uint8_t *data;
    ssize_t size;
    while ((size = nghttp2_session_mem_send(session, &data)) > 0) buf_append(out, data, (size_t)size);
    nghttp2_session_del(session);
    return true;
}
