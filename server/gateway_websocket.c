#include "server/gateway_websocket.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/transport.h"

#include <openssl/sha.h>
#include <stdlib.h>

/* RFC 6455, 5.2 and 7.4.1. */
enum opcode {
    OPCODE_MORE,
    OPCODE_TEXT,
    OPCODE_BINARY,
    OPCODE_CLOSE = 8,
    OPCODE_PING,
    OPCODE_PONG,
};
enum { CLOSE_NORMAL = 1000, CLOSE_PROTOCOL_ERROR = 1002, CLOSE_TOO_LARGE = 1009 };
enum { FINAL = 0x80, MASKED = 0x80, CONTROL_MAX = 125, HEADER_MAX = 14 };

struct gateway_websocket {
    struct http_endpoints *endpoints;
    LIST_ENTRY(gateway_websocket) link;
    struct transport *transport;
    struct gateway_call *call;
    struct buf input; /* of a frame that is not complete */
    size_t frame_limit;
    bool in_message; /* its last fragment has not come */
    bool paused;     /* the method takes no more */
    bool stuffed;    /* the client does not read: neither is it read from */
    bool taking;     /* frames: not from within */
    bool closing;    /* nothing is read any more */
};

/* ---- out ---- */

static void send_frame(struct gateway_websocket *socket, enum opcode opcode, struct bytes payload)
{
    uint8_t header[HEADER_MAX] = {(uint8_t)(FINAL | opcode)};
    size_t size = 2;
    if (payload.size <= CONTROL_MAX) {
        header[1] = (uint8_t)payload.size;
    } else {
        size_t digits = payload.size <= UINT16_MAX ? 2 : 8;
        header[1] = digits == 2 ? 126 : 127;
        for (size_t i = 0; i < digits; i++) header[2 + i] = (uint8_t)(payload.size >> 8 * (digits - 1 - i));
        size += digits;
    }
    chain_append(transport_output(socket->transport), bytes_of(header, size));
    chain_append(transport_output(socket->transport), payload);
    transport_flush_later(socket->transport);
}

static void finish(struct gateway_websocket *socket, unsigned code)
{
    uint8_t reason[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    if (socket->closing) return;
    socket->closing = true;
    send_frame(socket, OPCODE_CLOSE, bytes_of(reason, 2));
    transport_finish(socket->transport);
}

static size_t send_text(struct gateway_websocket *socket, struct bytes text)
{
    if (socket->closing) return 0;
    if (text.size > 0 && text.data[text.size - 1] == '\n') text.size--;
    send_frame(socket, OPCODE_TEXT, text);
    return transport_pending(socket->transport);
}

static void respond(void *context, enum grpc_code code, struct bytes text, struct bytes body)
{
    (void)code, (void)text;
    send_text(context, body);
    finish(context, CLOSE_NORMAL);
}

static void begin(void *context, enum grpc_code code, bool has_lines)
{
    (void)context, (void)code, (void)has_lines;
}

static size_t line(void *context, struct bytes bytes)
{
    return send_text(context, bytes);
}

static void end(void *context)
{
    finish(context, CLOSE_NORMAL);
}

static void go_on(struct gateway_websocket *socket);

static void set_paused(void *context, bool paused)
{
    struct gateway_websocket *socket = context;
    socket->paused = paused;
    if (!paused && !socket->taking) go_on(socket);
}

static const struct gateway_carrier carrier = {
    .respond = respond,
    .begin = begin,
    .line = line,
    .end = end,
    .pause = set_paused,
};

/* ---- in ---- */

struct frame {
    bool is_final;
    unsigned opcode;
    uint8_t mask[4];
    size_t header, payload; /* sizes */
};

/* False when more bytes are needed to know. A client's frame without a mask has a payload of SIZE_MAX. */
static bool read_header(struct bytes in, struct frame *frame)
{
    if (in.size < 2) return false;
    size_t digits = (in.data[1] & 0x7f) == 126 ? 2 : (in.data[1] & 0x7f) == 127 ? 8 : 0;
    uint64_t size = digits == 0 ? in.data[1] & 0x7f : 0;
    frame->is_final = (in.data[0] & FINAL) != 0;
    frame->opcode = in.data[0] & 0x7f; /* reserved bits make it one that is unknown */
    frame->header = 2 + digits + 4;
    frame->payload = SIZE_MAX;
    if ((in.data[1] & MASKED) == 0) return true;
    if (in.size < frame->header) return false;
    for (size_t i = 0; i < digits; i++) size = size << 8 | in.data[2 + i];
    frame->payload = (size_t)size;
    memcpy(frame->mask, in.data + 2 + digits, 4);
    return true;
}

/* 0, or why the connection ends. */
static unsigned refuse_frame(const struct gateway_websocket *socket, const struct frame *frame)
{
    bool is_control = frame->opcode >= OPCODE_CLOSE;
    if (frame->payload == SIZE_MAX || frame->opcode > OPCODE_PONG ||
        (frame->opcode > OPCODE_BINARY && frame->opcode < OPCODE_CLOSE))
        return CLOSE_PROTOCOL_ERROR;
    if (is_control) return frame->is_final && frame->payload <= CONTROL_MAX ? 0 : CLOSE_PROTOCOL_ERROR;
    if (socket->in_message != (frame->opcode == OPCODE_MORE)) return CLOSE_PROTOCOL_ERROR;
    return frame->payload > socket->frame_limit ? CLOSE_TOO_LARGE : 0;
}

static void take_payload(struct gateway_websocket *socket, const struct frame *frame, struct bytes payload)
{
    switch (frame->opcode) {
    case OPCODE_CLOSE:
        finish(socket, CLOSE_NORMAL);
        break;
    case OPCODE_PING:
        send_frame(socket, OPCODE_PONG, payload);
        break;
    case OPCODE_PONG:
        break;
    default:
        socket->in_message = !frame->is_final;
        gateway_call_body(socket->call, payload);
        if (frame->is_final) gateway_call_body(socket->call, BYTES_LITERAL("\n"));
    }
}

static bool may_read(struct gateway_websocket *socket)
{
    if (socket->closing) return false;
    if (transport_pending(socket->transport) >= HTTP_SEND_HIGH) socket->stuffed = true;
    return !socket->paused && !socket->stuffed;
}

static void take_frames(struct gateway_websocket *socket)
{
    struct frame frame;
    size_t used = 0;
    if (socket->taking) return;
    socket->taking = true;
    while (may_read(socket) &&
           read_header(bytes_of(socket->input.data + used, socket->input.size - used), &frame)) {
        unsigned refusal = refuse_frame(socket, &frame);
        if (refusal != 0) {
            finish(socket, refusal);
            break;
        }
        if (socket->input.size - used - frame.header < frame.payload) break;
        uint8_t *payload = socket->input.data + used + frame.header;
        for (size_t i = 0; i < frame.payload; i++) payload[i] ^= frame.mask[i % 4];
        used += frame.header + frame.payload;
        take_payload(socket, &frame, bytes_of(payload, frame.payload));
    }
    socket->taking = false;
    if (used == socket->input.size)
        buf_deinit(&socket->input);
    else
        buf_consume(&socket->input, used);
    if (!socket->closing && !may_read(socket)) transport_read_stop(socket->transport);
}

static void go_on(struct gateway_websocket *socket)
{
    if (!may_read(socket)) return;
    transport_read_start(socket->transport);
    take_frames(socket);
}

static void on_read(void *context, struct bytes bytes)
{
    struct gateway_websocket *socket = context;
    if (socket->closing) return;
    buf_append_bytes(&socket->input, bytes);
    take_frames(socket);
}

static void on_drain(void *context)
{
    struct gateway_websocket *socket = context;
    if (socket->closing) return;
    socket->stuffed = false;
    gateway_call_writable(socket->call);
    go_on(socket);
}

static void on_close(void *context, const struct error *error)
{
    struct gateway_websocket *socket = context;
    (void)error;
    socket->closing = true;
    LIST_REMOVE(socket, link);
    gateway_call_free(socket->call);
    buf_deinit(&socket->input);
    free(socket);
}

static const struct transport_handler handler = {
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

/* ---- the handshake ---- */

/* The word is one of those that stand in the header, cut at commas. */
static bool header_has(const struct http_exchange *exchange, const char *name, const char *word)
{
    struct bytes value;
    if (!http_request_header(exchange, name, &value)) return false;
    for (size_t at = 0; at < value.size;) {
        const uint8_t *comma = memchr(value.data + at, ',', value.size - at);
        size_t stop = comma == NULL ? value.size : (size_t)(comma - value.data), next = stop + 1;
        while (at < stop && value.data[at] == ' ') at++;
        while (stop > at && value.data[stop - 1] == ' ') stop--;
        if (stop - at == strlen(word) && strncasecmp((const char *)value.data + at, word, stop - at) == 0)
            return true;
        at = next;
    }
    return false;
}

bool gateway_wants_websocket(const struct http_exchange *exchange)
{
    return header_has(exchange, "upgrade", "websocket") && header_has(exchange, "connection", "upgrade");
}

/* A token that a browser can send; empty when there is none. */
static struct bytes token_of(struct http_exchange *exchange, bool *by_protocol)
{
    static const struct bytes scheme = BYTES_LITERAL("Bearer,"), cookie = BYTES_LITERAL("token=");
    struct bytes value;
    *by_protocol =
        http_request_header(exchange, "sec-websocket-protocol", &value) && bytes_starts_with(value, scheme);
    if (*by_protocol) {
        value = bytes_of(value.data + scheme.size, value.size - scheme.size);
        while (value.size > 0 && value.data[0] == ' ') value = bytes_of(value.data + 1, value.size - 1);
        return value;
    }
    if (!http_request_header(exchange, "cookie", &value)) return BYTES_EMPTY;
    while (value.size > 0) {
        const uint8_t *semicolon = memchr(value.data, ';', value.size);
        size_t size = semicolon == NULL ? value.size : (size_t)(semicolon - value.data);
        struct bytes one = bytes_of(value.data, size);
        while (one.size > 0 && one.data[0] == ' ') one = bytes_of(one.data + 1, one.size - 1);
        if (bytes_starts_with(one, cookie)) return bytes_of(one.data + cookie.size, one.size - cookie.size);
        value = size == value.size ? BYTES_EMPTY : bytes_of(value.data + size + 1, value.size - size - 1);
    }
    return BYTES_EMPTY;
}

static void write_handshake(struct transport *transport, struct bytes key, bool by_protocol)
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[SHA_DIGEST_LENGTH];
    struct buf text = {0};
    buf_append_bytes(&text, key);
    buf_append_string(&text, magic);
    SHA1(text.data, text.size, digest);
    buf_clear(&text);
    buf_append_string(&text,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: ");
    text_base64(&text, bytes_of(digest, sizeof(digest)));
    buf_append_string(&text, by_protocol ? "\r\nSec-WebSocket-Protocol: Bearer\r\n\r\n" : "\r\n\r\n");
    chain_append(transport_output(transport), buf_bytes(&text));
    transport_flush_later(transport);
    buf_deinit(&text);
}

static void add_token(struct http_exchange *exchange, struct gateway_call_config *config, struct bytes token)
{
    if (token.size == 0) return;
    char *value = arena_printf(http_exchange_arena(exchange), "Bearer %.*s", (int)token.size, token.data);
    struct grpc_metadata *metadata = (struct grpc_metadata *)(uintptr_t)config->metadata;
    metadata[config->metadata_count++] =
        (struct grpc_metadata){.key = BYTES_LITERAL("authorization"), .value = bytes_from_string(value)};
}

void gateway_websocket_start(struct http_exchange *exchange, struct gateway_call_config *config)
{
    struct http_endpoints *endpoints = http_request(exchange)->context;
    struct bytes key, version, rest = BYTES_EMPTY;
    bool by_protocol;
    if (!http_method_is(exchange, "GET") || !http_request_header(exchange, "sec-websocket-key", &key) ||
        !http_request_header(exchange, "sec-websocket-version", &version) ||
        !bytes_equal(version, BYTES_LITERAL("13"))) {
        http_add_header(exchange, "Sec-WebSocket-Version", "13");
        http_error(exchange, 400, "Bad Request");
        return;
    }
    add_token(exchange, config, token_of(exchange, &by_protocol));
    key = arena_copy(http_exchange_arena(exchange), key);
    struct transport *transport = http_take_over(exchange, &rest);
    if (transport == NULL) {
        http_error(exchange, 501, "websockets need HTTP/1.1");
        return;
    }
    struct gateway_websocket *socket = mem_zalloc(1, sizeof(*socket));
    socket->endpoints = endpoints;
    socket->transport = transport;
    socket->frame_limit = config->body_limit;
    LIST_INSERT_HEAD(&endpoints->websockets, socket, link);
    transport_set_handler(transport, &handler, socket);
    write_handshake(transport, key, by_protocol);
    config->carrier = &carrier;
    config->context = socket;
    config->transport = transport;
    config->is_open_ended = true;
    socket->call = gateway_call_new(config);
    transport_read_start(transport);
    if (rest.size > 0) on_read(socket, rest);
}

void gateway_websockets_close(struct http_endpoints *endpoints)
{
    struct gateway_websocket *socket;
    LIST_FOREACH (socket, &endpoints->websockets, link) {
        socket->closing = true;
        transport_close(socket->transport, NULL);
    }
}
