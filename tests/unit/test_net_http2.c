/* The gRPC server against a peer made by hand: an nghttp2 client session for well-formed traffic, raw frames
 * for the rest, through a transport in memory. */
#include "base/memory.h"
#include "net/grpc_server.h"
#include "net/http.h"
#include "net/port.h"
#include "net/transport_memory.h"

#include <nghttp2/nghttp2.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void echo(struct grpc_call *call, struct bytes message)
{
    grpc_call_send_blob(call, blob_from(message));
    if (grpc_call_method(call)->kind == GRPC_UNARY) grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static int canceled;

static void count_cancel(struct grpc_call *call)
{
    (void)call;
    canceled++;
}

static const struct grpc_method method_echo = {
    .service = "test.T", .name = "Echo", .kind = GRPC_UNARY, .on_message = echo, .on_cancel = count_cancel};
static const struct grpc_method method_bidi = {
    .service = "test.T", .name = "Bidi", .kind = GRPC_BIDI, .on_message = echo, .on_cancel = count_cancel};
static const struct grpc_method *const methods[] = {&method_echo, &method_bidi};

/* ---- the peer ---- */

struct peer {
    struct loop *loop;
    struct grpc_server *server;
    struct transport *transport; /* NULL once closed */
    struct buf output;           /* bytes from the server that the session has not read */
    struct buf raw;              /* all bytes from the server */
    nghttp2_session *session;
    /* what came */
    struct buf headers; /* "name: value\n" of all header blocks; '.' and newline at the end of a stream */
    struct buf data;
    uint32_t reset_code, goaway_code;
    unsigned resets, goaways, pings_acked, window_updates;
    int32_t goaway_last[4];
    struct buf goaway_debug;
    uint32_t max_streams; /* from SETTINGS; 0: not told */
};

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)session;
    (void)frame;
    (void)flags;
    struct peer *peer = user_data;
    buf_printf(&peer->headers, "%.*s: %.*s\n", (int)name_size, (const char *)name, (int)value_size,
               (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)session;
    (void)flags;
    (void)stream_id;
    buf_append(&((struct peer *)user_data)->data, data, size);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    struct peer *peer = user_data;
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        buf_append_string(&peer->headers, ".\n");
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        peer->resets++;
        peer->reset_code = frame->rst_stream.error_code;
    }
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        peer->goaway_code = frame->goaway.error_code;
        peer->goaway_last[peer->goaways++ % 4] = frame->goaway.last_stream_id;
        buf_append(&peer->goaway_debug, frame->goaway.opaque_data, frame->goaway.opaque_data_len);
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK)) peer->pings_acked++;
    if (frame->hd.type == NGHTTP2_WINDOW_UPDATE && frame->hd.stream_id != 0) peer->window_updates++;
    if (frame->hd.type == NGHTTP2_SETTINGS) {
        for (size_t i = 0; i < frame->settings.niv; i++) {
            if (frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) {
                peer->max_streams = frame->settings.iv[i].value;
            }
        }
    }
    return 0;
}

static void on_transport_free(void *context)
{
    *(struct transport **)context = NULL;
}

static void peer_connect(struct peer *peer, struct grpc_server_config config,
                         const struct http_router *router)
{
    memset(peer, 0, sizeof(*peer));
    canceled = 0;
    config.methods = methods;
    config.method_count = 2;
    peer->loop = loop_new();
    peer->server = grpc_server_new(peer->loop, &config);
    peer->transport = transport_memory_new(peer->loop);
    peer->transport->on_free = on_transport_free;
    peer->transport->on_free_context = &peer->transport;
    transport_memory_sink(peer->transport, &peer->output);
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    /* So that it also does what it should not. */
    nghttp2_option_set_peer_max_concurrent_streams(option, 10000);
    assert_int_equal(nghttp2_session_client_new2(&peer->session, callbacks, peer, option), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    assert_int_equal(nghttp2_submit_settings(peer->session, 0, NULL, 0), 0);
    grpc_server_accept(peer->server, peer->transport, BYTES_EMPTY, router);
}

static void turn(struct peer *peer)
{
    for (int i = 0; i < 3; i++) loop_run_once(peer->loop, 0);
    struct buf output = peer->output;
    peer->output = (struct buf){0};
    if (peer->transport != NULL) transport_memory_sink(peer->transport, &peer->output);
    buf_append_bytes(&peer->raw, buf_bytes(&output));
    if (output.size > 0) {
        assert_int_equal(nghttp2_session_mem_recv(peer->session, output.data, output.size), output.size);
    }
    buf_deinit(&output);
}

static bool is_open(const struct peer *peer)
{
    return peer->transport != NULL && transport_is_open(peer->transport);
}

static void feed(struct peer *peer, const void *data, size_t size)
{
    if (is_open(peer)) transport_memory_feed(peer->transport, bytes_of(data, size));
}

/* Everything the session wants to send goes to the server, then the answers come back. */
static void exchange(struct peer *peer)
{
    for (int rounds = 0; rounds < 20; rounds++) {
        const uint8_t *data;
        ssize_t size;
        while ((size = nghttp2_session_mem_send(peer->session, &data)) > 0) feed(peer, data, (size_t)size);
        turn(peer);
        if (!nghttp2_session_want_write(peer->session)) break;
    }
}

static void set_flag(void *context)
{
    *(bool *)context = true;
}

static void peer_end(struct peer *peer)
{
    bool closed = false;
    grpc_server_close(peer->server, 0, set_flag, &closed);
    while (!closed) loop_run_once(peer->loop, LOOP_SECOND);
    grpc_server_free(peer->server);
    loop_free(peer->loop);
    nghttp2_session_del(peer->session);
    buf_deinit(&peer->output);
    buf_deinit(&peer->raw);
    buf_deinit(&peer->headers);
    buf_deinit(&peer->data);
    buf_deinit(&peer->goaway_debug);
}

struct header {
    const char *name, *value;
};

struct upload {
    struct bytes rest;
    bool open; /* the stream stays open behind it */
};

static ssize_t read_upload(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)user_data;
    struct upload *upload = source->ptr;
    size_t part = upload->rest.size < length ? upload->rest.size : length;
    if (part == 0 && upload->open) return NGHTTP2_ERR_DEFERRED;
    memcpy(buffer, upload->rest.data, part);
    upload->rest = bytes_of(upload->rest.data + part, upload->rest.size - part);
    if (upload->rest.size == 0 && !upload->open) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

/* Sends a request with these headers after the pseudo headers (a NULL name ends; a name with ':' replaces
 * one). */
static int32_t request(struct peer *peer, const char *path, const struct header *headers,
                       struct upload *upload)
{
    struct header all[16] = {{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "h"}};
    size_t count = 4;
    for (; headers != NULL && headers->name != NULL; headers++) {
        size_t at = count;
        for (size_t i = 0; i < 4; i++) {
            if (strcmp(all[i].name, headers->name) == 0) at = i;
        }
        all[at] = *headers;
        if (at == count) count++;
    }
    nghttp2_nv values[16];
    for (size_t i = 0; i < count; i++) {
        values[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)all[i].name,
                                 .value = (uint8_t *)(uintptr_t)all[i].value,
                                 .namelen = strlen(all[i].name),
                                 .valuelen = strlen(all[i].value)};
    }
    nghttp2_data_provider provider = {.source.ptr = upload, .read_callback = read_upload};
    int32_t id =
        nghttp2_submit_request(peer->session, NULL, values, count, upload == NULL ? NULL : &provider, NULL);
    assert_true(id > 0);
    return id;
}

static const struct header grpc_headers[] = {{"content-type", "application/grpc"},
                                             {"te", "trailers"},
                                             {NULL, NULL}};

#define MESSAGE_ABC BYTES_LITERAL("\0\0\0\0\3abc")

/* ---- the table of what is answered before a handler runs ---- */

static void requests_that_are_no_calls_get_grpc_gos_answers(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        struct header headers[5];
        const char *answer;
    } cases[] = {
        {"/test.T/Echo",
         {{"content-type", "application/json"}},
         ":status: 415\ncontent-type: application/grpc\ngrpc-status: 3\n"
         "grpc-message: invalid gRPC request content-type \"application/json\"\n.\n"},
        {"/test.T/Echo",
         {{"content-type", "application/grpcx"}},
         ":status: 415\ncontent-type: application/grpc\ngrpc-status: 3\n"
         "grpc-message: invalid gRPC request content-type \"application/grpcx\"\n.\n"},
        {"/test.T/Echo",
         {{"te", "trailers"}},
         ":status: 415\ncontent-type: application/grpc\ngrpc-status: 3\n"
         "grpc-message: invalid gRPC request content-type \"\"\n.\n"},
        {"/test.T/Echo",
         {{":method", "GET"}, {"content-type", "application/grpc"}},
         ":status: 405\ncontent-type: application/grpc\ngrpc-status: 13\n"
         "grpc-message: Received a HEADERS frame with :method \"GET\" which should be POST\n.\n"},
        {"/test.T/No",
         {{"content-type", "application/grpc"}},
         ":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\n"
         "grpc-message: unknown method No for service test.T\n.\n"},
        {"/test.U/Echo",
         {{"content-type", "application/grpc+proto"}},
         ":status: 200\ncontent-type: application/grpc+proto\ngrpc-status: 12\n"
         "grpc-message: unknown service test.U\n.\n"},
        {"/x",
         {{"content-type", "application/grpc"}},
         ":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\n"
         "grpc-message: malformed method name: \"/x\"\n.\n"},
        {"/test.T/Echo",
         {{"content-type", "application/grpc"}, {"grpc-encoding", "deflate"}},
         ":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\n"
         "grpc-message: grpc: Decompressor is not installed for grpc-encoding \"deflate\"\n.\n"},
        {"/test.T/Echo",
         {{"content-type", "application/grpc"}, {"grpc-timeout", "5x"}},
         ":status: 400\ncontent-type: application/grpc\ngrpc-status: 13\n"
         "grpc-message: malformed grpc-timeout: transport: timeout unit is not recognized: \"5x\"\n.\n"},
        {"/test.T/Echo",
         {{"content-type", "application/grpc"}, {"x-bin", "a!b"}},
         ":status: 400\ncontent-type: application/grpc\ngrpc-status: 13\n"
         "grpc-message: malformed binary metadata \"a!b\" in header \"x-bin\": illegal base64 data at input "
         "byte 1\n"
         ".\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer peer;
        peer_connect(&peer, (struct grpc_server_config){0}, NULL);
        struct upload upload = {.rest = MESSAGE_ABC};
        request(&peer, cases[i].path, cases[i].headers, &upload);
        exchange(&peer);
        assert_string_equal(buf_string(&peer.headers), cases[i].answer);
        assert_int_equal(peer.data.size, 0);
        assert_true(is_open(&peer));
        peer_end(&peer);
    }
}

static void a_call_without_te_is_fine_and_its_type_is_echoed(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    static const struct header headers[] = {{"content-type", "application/grpc+json"}, {NULL, NULL}};
    struct upload upload = {.rest = MESSAGE_ABC};
    request(&peer, "/test.T/Echo", headers, &upload);
    exchange(&peer);
    assert_string_equal(buf_string(&peer.headers), ":status: 200\ncontent-type: application/grpc+json\n"
                                                   "grpc-status: 0\ngrpc-message: \n.\n");
    assert_true(bytes_equal(buf_bytes(&peer.data), MESSAGE_ABC));
    assert_int_equal(peer.max_streams, 0);
    assert_int_equal(peer.resets, 0);
    peer_end(&peer);
}

static void an_early_answer_stops_the_rest_of_the_request(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.rest = MESSAGE_ABC, .open = true};
    request(&peer, "/test.T/Echo", grpc_headers, &upload);
    exchange(&peer);
    assert_true(bytes_equal(buf_bytes(&peer.data), MESSAGE_ABC));
    assert_int_equal(peer.resets, 1);
    assert_int_equal(peer.reset_code, NGHTTP2_NO_ERROR);
    peer_end(&peer);
}

static void a_compressed_message_needs_an_encoding(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.rest = BYTES_LITERAL("\1\0\0\0\3abc")};
    request(&peer, "/test.T/Echo", grpc_headers, &upload);
    exchange(&peer);
    assert_non_null(
        strstr(buf_string(&peer.headers),
               "grpc-status: 13\ngrpc-message: grpc: compressed flag set with identity or empty encoding"));
    peer_end(&peer);
}

static void gzip_is_answered_with_gzip(void **state)
{
    (void)state;
    /* printf 'hello' | gzip -n */
    static const uint8_t packed[] = {1, 0, 0,    0,    25,   0x1f, 0x8b, 8,    0,    0,
                                     0, 0, 0,    0,    3,    0xcb, 0x48, 0xcd, 0xc9, 0xc9,
                                     7, 0, 0x86, 0xa6, 0x10, 0x36, 5,    0,    0,    0};
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){.receive_limit = 25}, NULL);
    static const struct header headers[] = {{"content-type", "application/grpc"},
                                            {"grpc-encoding", "gzip"},
                                            {NULL, NULL}};
    struct upload upload = {.rest = bytes_of(packed, sizeof(packed))};
    request(&peer, "/test.T/Echo", headers, &upload);
    exchange(&peer);
    assert_non_null(strstr(buf_string(&peer.headers), "grpc-encoding: gzip\n"));
    assert_non_null(strstr(buf_string(&peer.headers), "grpc-status: 0\n"));
    assert_int_equal(peer.data.data[0], 1);
    assert_int_equal(peer.data.data[5], 0x1f);
    peer_end(&peer);

    peer_connect(&peer, (struct grpc_server_config){.receive_limit = 25}, NULL);
    upload = (struct upload){.rest = BYTES_LITERAL("\1\0\0\0\3abc")};
    request(&peer, "/test.T/Echo", headers, &upload);
    exchange(&peer);
    assert_non_null(
        strstr(buf_string(&peer.headers), "grpc-status: 13\ngrpc-message: grpc: failed to decompress"));
    peer_end(&peer);
}

static void a_half_message_at_the_end_is_an_error(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.rest = BYTES_LITERAL("\0\0\0\0\3ab")};
    request(&peer, "/test.T/Echo", grpc_headers, &upload);
    exchange(&peer);
    assert_non_null(strstr(buf_string(&peer.headers), "grpc-status: 13\ngrpc-message: unexpected EOF\n"));
    peer_end(&peer);
}

static void input_may_be_cut_at_every_byte(void **state)
{
    (void)state;
    /* Records one whole conversation, then plays it back in two pieces. */
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.rest = BYTES_LITERAL("\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\1z")};
    request(&peer, "/test.T/Bidi", grpc_headers, &upload);
    struct buf wire = {0};
    const uint8_t *data;
    ssize_t size;
    while ((size = nghttp2_session_mem_send(peer.session, &data)) > 0) buf_append(&wire, data, (size_t)size);
    peer_end(&peer);
    for (size_t cut = 0; cut <= wire.size; cut++) {
        peer_connect(&peer, (struct grpc_server_config){0}, NULL);
        request(&peer, "/test.T/Bidi", grpc_headers, &upload);
        while (nghttp2_session_mem_send(peer.session, &data) > 0) continue;
        if (cut > 0) feed(&peer, wire.data, cut);
        turn(&peer);
        if (cut < wire.size) feed(&peer, wire.data + cut, wire.size - cut);
        turn(&peer);
        assert_true(bytes_equal(buf_bytes(&peer.data), BYTES_LITERAL("\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\1z")));
        peer_end(&peer);
    }
    buf_deinit(&wire);
}

/* ---- limits ---- */

static void streams_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){.max_concurrent_streams = 3}, NULL);
    struct upload uploads[5];
    for (int i = 0; i < 5; i++) {
        uploads[i] = (struct upload){.open = true};
        request(&peer, "/test.T/Bidi", grpc_headers, &uploads[i]);
    }
    exchange(&peer);
    assert_int_equal(peer.max_streams, 3);
    assert_int_equal(peer.resets, 2);
    assert_int_equal(peer.reset_code, NGHTTP2_REFUSED_STREAM);
    assert_true(is_open(&peer));
    assert_int_equal(metric_gauge_read(&grpc_server_metrics(peer.server)->calls), 3);
    assert_int_equal(metric_read(&grpc_server_metrics(peer.server)->refused_streams), 2);
    peer_end(&peer);
    assert_int_equal(canceled, 3);
}

/* The last words are GOAWAY ENHANCE_YOUR_CALM and the reason. Looked for in the raw bytes: a session that is
 * fed answers to frames it did not send has given up by then. */
static void expect_calm(struct peer *peer, const char *debug)
{
    turn(peer);
    turn(peer);
    size_t size = strlen(debug);
    assert_true(peer->raw.size > 17 + size);
    const uint8_t *frame = peer->raw.data + peer->raw.size - size - 17;
    assert_int_equal(frame[3], NGHTTP2_GOAWAY);
    assert_int_equal(frame[16], NGHTTP2_ENHANCE_YOUR_CALM);
    assert_memory_equal(frame + 17, debug, size);
    assert_null(peer->transport);
    assert_int_equal(metric_read(&grpc_server_metrics(peer->server)->abusive_connections), 1);
    peer_end(peer);
}

static void send_frames(struct peer *peer, const void *frame, size_t size, int count)
{
    exchange(peer);
    for (int i = 0; i < count && is_open(peer); i++) {
        feed(peer, frame, size);
        if (i % 50 == 49) turn(peer);
    }
}

static const uint8_t ping_frame[17] = {0, 0, 8, NGHTTP2_PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};

static void the_fourth_quick_ping_ends_the_connection(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.open = true};
    request(&peer, "/test.T/Bidi", grpc_headers, &upload);
    send_frames(&peer, ping_frame, sizeof(ping_frame), 3);
    turn(&peer);
    assert_true(is_open(&peer));
    send_frames(&peer, ping_frame, sizeof(ping_frame), 1);
    expect_calm(&peer, "too_many_pings");
}

static void pings_between_answers_are_forgiven(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    for (int i = 0; i < 20; i++) {
        struct upload upload = {.rest = MESSAGE_ABC};
        request(&peer, "/test.T/Echo", grpc_headers, &upload);
        send_frames(&peer, ping_frame, sizeof(ping_frame), 2);
    }
    assert_true(is_open(&peer));
    peer_end(&peer);
}

static void a_flood_of_settings_is_calmed(void **state)
{
    (void)state;
    static const uint8_t settings[] = {0, 0, 0, NGHTTP2_SETTINGS, 0, 0, 0, 0, 0};
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    send_frames(&peer, settings, sizeof(settings), 200);
    expect_calm(&peer, "SETTINGS frames");
}

static void a_flood_of_pings_is_calmed_where_the_ping_policy_is_off(void **state)
{
    (void)state;
    static const struct http_router router = {0};
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, &router);
    send_frames(&peer, ping_frame, sizeof(ping_frame), 100);
    assert_true(is_open(&peer));
    send_frames(&peer, ping_frame, sizeof(ping_frame), 2000);
    expect_calm(&peer, "PING frames");
}

static void a_flood_of_empty_data_is_calmed(void **state)
{
    (void)state;
    static const uint8_t empty[] = {0, 0, 0, NGHTTP2_DATA, 0, 0, 0, 0, 1};
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.open = true};
    request(&peer, "/test.T/Bidi", grpc_headers, &upload);
    send_frames(&peer, empty, sizeof(empty), 2000);
    expect_calm(&peer, "empty DATA frames");
}

static void rapid_resets_are_calmed(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.open = true};
    for (int i = 0; i < 3000 && is_open(&peer); i++) {
        int32_t id = request(&peer, "/test.T/Bidi", grpc_headers, &upload);
        const uint8_t *data;
        ssize_t size;
        while ((size = nghttp2_session_mem_send(peer.session, &data)) > 0) feed(&peer, data, (size_t)size);
        nghttp2_submit_rst_stream(peer.session, 0, id, NGHTTP2_CANCEL);
        while ((size = nghttp2_session_mem_send(peer.session, &data)) > 0) feed(&peer, data, (size_t)size);
        if (i % 100 == 0) turn(&peer);
    }
    expect_calm(&peer, "stream resets");
}

static void endless_continuations_end_the_connection(void **state)
{
    (void)state;
    /* HEADERS without END_HEADERS, then CONTINUATION frames of one indexed header (accept-encoding) again and
     * again. */
    uint8_t headers[9 + 3] = {0, 0, 3, NGHTTP2_HEADERS, 0, 0, 0, 0, 1, 0x83, 0x86, 0x84};
    uint8_t continuation[9 + 200] = {0, 0, 200, NGHTTP2_CONTINUATION, 0, 0, 0, 0, 1};
    memset(continuation + 9, 0x90, 200);
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    exchange(&peer);
    feed(&peer, headers, sizeof(headers));
    int fed = 0;
    for (; fed < 5000 && is_open(&peer); fed++) {
        feed(&peer, continuation, sizeof(continuation));
        turn(&peer);
    }
    assert_true(fed < 5000);
    assert_true(peer.goaways > 0);
    peer_end(&peer);
}

static void a_message_over_the_limit_is_refused_before_it_is_sent(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){.receive_limit = 2097152}, NULL);
    struct upload upload = {.rest = BYTES_LITERAL("\0\0\x20\0\1"), .open = true};
    request(&peer, "/test.T/Echo", grpc_headers, &upload);
    exchange(&peer);
    assert_non_null(strstr(
        buf_string(&peer.headers),
        "grpc-status: 8\ngrpc-message: grpc: received message larger than max (2097153 vs. 2097152)\n"));
    peer_end(&peer);
}

/* ---- the end ---- */

static void a_graceful_end_takes_two_goaways_with_a_ping_between(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    struct upload upload = {.open = true};
    int32_t id = request(&peer, "/test.T/Bidi", grpc_headers, &upload);
    exchange(&peer);
    bool closed = false;
    grpc_server_close(peer.server, 60 * LOOP_SECOND, set_flag, &closed);
    turn(&peer);
    assert_int_equal(peer.goaways, 1);
    assert_int_equal(peer.goaway_last[0], INT32_MAX);
    exchange(&peer); /* answers the ping */
    assert_int_equal(peer.goaways, 2);
    assert_int_equal(peer.goaway_last[1], id);
    assert_int_equal(peer.goaway_code, NGHTTP2_NO_ERROR);
    assert_true(is_open(&peer));
    nghttp2_submit_rst_stream(peer.session, 0, id, NGHTTP2_CANCEL);
    exchange(&peer);
    assert_null(peer.transport);
    assert_int_equal(canceled, 1);
    turn(&peer);
    assert_true(closed);
    grpc_server_free(peer.server);
    loop_free(peer.loop);
    nghttp2_session_del(peer.session);
    buf_deinit(&peer.output);
    buf_deinit(&peer.raw);
    buf_deinit(&peer.headers);
    buf_deinit(&peer.data);
    buf_deinit(&peer.goaway_debug);
}

static void a_client_that_never_reads_is_not_served_without_end(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, NULL);
    const nghttp2_settings_entry wide[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30}};
    assert_int_equal(nghttp2_submit_settings(peer.session, 0, wide, 1), 0);
    assert_int_equal(nghttp2_session_set_local_window_size(peer.session, 0, 0, 1 << 30), 0);
    exchange(&peer);
    transport_memory_limit(peer.transport, 0);
    static uint8_t message[5 + 60000];
    message[2] = 60000 >> 16;
    message[3] = (uint8_t)(60000 >> 8);
    message[4] = (uint8_t)(60000 & 255);
    /* Requests come in as long as the server reads: it stops when its answers are stuck. */
    int sent = 0;
    struct upload upload;
    while (sent < 200 && peer.transport->reading) {
        upload = (struct upload){.rest = bytes_of(message, sizeof(message))};
        request(&peer, "/test.T/Echo", grpc_headers, &upload);
        const uint8_t *data;
        ssize_t size;
        while (peer.transport->reading && (size = nghttp2_session_mem_send(peer.session, &data)) > 0) {
            feed(&peer, data, (size_t)size);
        }
        for (int i = 0; i < 3; i++) loop_run_once(peer.loop, 0);
        sent++;
    }
    assert_true(sent < 20);
    assert_true(transport_pending(peer.transport) < 512 * 1024);
    peer_end(&peer);
}

static void who_does_not_begin_is_closed(void **state)
{
    (void)state;
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){.preface_timeout = 20 * LOOP_MILLISECOND}, NULL);
    feed(&peer, "PRI * HTTP/2.0\r\n", 16);
    int64_t limit = clock_monotonic() + 10 * LOOP_SECOND;
    while (peer.transport != NULL && clock_monotonic() < limit) loop_run_once(peer.loop, LOOP_SECOND);
    assert_null(peer.transport);
    peer_end(&peer);
    /* Who has begun may be as silent as it likes. */
    peer_connect(&peer, (struct grpc_server_config){.preface_timeout = 20 * LOOP_MILLISECOND}, NULL);
    exchange(&peer);
    limit = clock_monotonic() + 60 * LOOP_MILLISECOND;
    while (clock_monotonic() < limit) loop_run_once(peer.loop, LOOP_MILLISECOND);
    assert_true(is_open(&peer));
    peer_end(&peer);
}

/* ---- HTTP beside gRPC ---- */

static void answer_hello(struct http_exchange *exchange_)
{
    struct buf text = {0};
    buf_printf(&text, "hello %.*s at %.*s", (int)http_request(exchange_)->path.size,
               (const char *)http_request(exchange_)->path.data, (int)http_request(exchange_)->host.size,
               (const char *)http_request(exchange_)->host.data);
    http_respond(exchange_, 200, "text/plain", buf_bytes(&text));
    buf_deinit(&text);
}

static void answer_body(struct http_exchange *exchange_)
{
    http_begin(exchange_, 200, NULL);
    http_send(exchange_, http_body(exchange_));
    http_send(exchange_, BYTES_LITERAL("!"));
    http_end(exchange_);
}

static void other_requests_go_to_the_router_where_there_is_one(void **state)
{
    (void)state;
    static const struct http_handler hello_handler = {.on_request = answer_hello},
                                     body_handler = {.on_end = answer_body};
    static const struct http_route routes[] = {{.path = "/hello", .handler = &hello_handler},
                                               {.path = "/body", .handler = &body_handler}};
    static const struct http_router router = {.routes = routes, .route_count = 2};
    struct peer peer;
    peer_connect(&peer, (struct grpc_server_config){0}, &router);
    static const struct header get[] = {{":method", "GET"}, {NULL, NULL}};
    request(&peer, "/hello?q", get, NULL);
    exchange(&peer);
    assert_string_equal(buf_string(&peer.headers),
                        ":status: 200\ncontent-type: text/plain\ncontent-length: 17\n");
    assert_string_equal(buf_string(&peer.data), "hello /hello at h");
    buf_clear(&peer.data);
    struct upload upload = {.rest = BYTES_LITERAL("body")};
    request(&peer, "/body", NULL, &upload);
    exchange(&peer);
    assert_string_equal(buf_string(&peer.data), "body!");
    buf_clear(&peer.headers);
    request(&peer, "/none", get, NULL);
    exchange(&peer);
    assert_non_null(strstr(buf_string(&peer.headers), ":status: 404\n"));
    struct upload call = {.rest = MESSAGE_ABC};
    buf_clear(&peer.data);
    request(&peer, "/test.T/Echo", grpc_headers, &call);
    exchange(&peer);
    assert_true(bytes_equal(buf_bytes(&peer.data), MESSAGE_ABC));
    assert_int_equal(peer.resets, 0);
    peer_end(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_are_no_calls_get_grpc_gos_answers),
        cmocka_unit_test(a_call_without_te_is_fine_and_its_type_is_echoed),
        cmocka_unit_test(an_early_answer_stops_the_rest_of_the_request),
        cmocka_unit_test(a_compressed_message_needs_an_encoding),
        cmocka_unit_test(gzip_is_answered_with_gzip),
        cmocka_unit_test(a_half_message_at_the_end_is_an_error),
        cmocka_unit_test(input_may_be_cut_at_every_byte),
        cmocka_unit_test(streams_beyond_the_limit_are_refused),
        cmocka_unit_test(the_fourth_quick_ping_ends_the_connection),
        cmocka_unit_test(pings_between_answers_are_forgiven),
        cmocka_unit_test(a_flood_of_settings_is_calmed),
        cmocka_unit_test(a_flood_of_pings_is_calmed_where_the_ping_policy_is_off),
        cmocka_unit_test(a_flood_of_empty_data_is_calmed),
        cmocka_unit_test(rapid_resets_are_calmed),
        cmocka_unit_test(endless_continuations_end_the_connection),
        cmocka_unit_test(a_message_over_the_limit_is_refused_before_it_is_sent),
        cmocka_unit_test(a_graceful_end_takes_two_goaways_with_a_ping_between),
        cmocka_unit_test(a_client_that_never_reads_is_not_served_without_end),
        cmocka_unit_test(who_does_not_begin_is_closed),
        cmocka_unit_test(other_requests_go_to_the_router_where_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
