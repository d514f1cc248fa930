/* The gateway over HTTP: what of a request becomes metadata, and how answers look. */
#include "server/gateway.h"

#include "base/memory.h"
#include "base/text.h"
#include "net/transport.h"
#include "server/gateway_call.h"
#include "server/gateway_websocket.h"

#include <stdio.h>
#include <stdlib.h>

/* JSON takes more room than the message: base64 four bytes for three, escapes up to six for one. */
enum { BODY_FACTOR = 4 };

/* The HTTP status for a gRPC status: 404 for NotFound. */
static int http_status(enum grpc_code code)
{
    static const int statuses[GRPC_CODES] = {
        [GRPC_OK] = 200,
        [GRPC_CANCELED] = 499,
        [GRPC_UNKNOWN] = 500,
        [GRPC_INVALID_ARGUMENT] = 400,
        [GRPC_DEADLINE_EXCEEDED] = 504,
        [GRPC_NOT_FOUND] = 404,
        [GRPC_ALREADY_EXISTS] = 409,
        [GRPC_PERMISSION_DENIED] = 403,
        [GRPC_RESOURCE_EXHAUSTED] = 429,
        [GRPC_FAILED_PRECONDITION] = 400,
        [GRPC_ABORTED] = 409,
        [GRPC_OUT_OF_RANGE] = 400,
        [GRPC_UNIMPLEMENTED] = 501,
        [GRPC_INTERNAL] = 500,
        [GRPC_UNAVAILABLE] = 503,
        [GRPC_DATA_LOSS] = 500,
        [GRPC_UNAUTHENTICATED] = 401,
    };
    return statuses[code];
}

/* ---- answers ---- */

static const char json_type[] = "application/json";

static void mark_as_grpc(struct http_exchange *exchange)
{
    http_add_header(exchange, "Grpc-Metadata-Content-Type", "application/grpc");
}

static void respond(void *context, enum grpc_code code, struct bytes text, struct bytes body)
{
    struct http_exchange *exchange = context;
    if (code == GRPC_OK) mark_as_grpc(exchange);
    if (code == GRPC_UNAUTHENTICATED)
        http_add_header(exchange, "WWW-Authenticate", arena_string(http_exchange_arena(exchange), text));
    http_respond(exchange, http_status(code), json_type, body);
}

static void respond_status(struct http_exchange *exchange, enum grpc_code code, const char *text)
{
    struct buf body = {0};
    gateway_write_status(&body, code, bytes_from_string(text));
    respond(exchange, code, bytes_from_string(text), buf_bytes(&body));
    buf_deinit(&body);
}

static void begin(void *context, enum grpc_code code, bool has_lines)
{
    if (code == GRPC_OK && has_lines) mark_as_grpc(context);
    http_begin(context, http_status(code), has_lines ? json_type : NULL);
}

static size_t line(void *context, struct bytes bytes)
{
    return http_send(context, bytes);
}

static void end(void *context)
{
    http_end(context);
}

static void set_paused(void *context, bool paused)
{
    if (paused)
        http_pause(context);
    else
        http_resume(context);
}

static const struct gateway_carrier http_carrier = {
    .respond = respond,
    .begin = begin,
    .line = line,
    .end = end,
    .pause = set_paused,
};

/* ---- requests ---- */

static const struct bytes metadata_prefix = BYTES_LITERAL("grpc-metadata-");

/* False, and answered, when it is none. */
static bool decode_binary(struct http_exchange *exchange, struct bytes name, struct bytes *value)
{
    struct buf decoded = {0};
    bool ok = text_parse_base64(*value, &decoded);
    if (ok)
        *value = arena_copy(http_exchange_arena(exchange), buf_bytes(&decoded));
    else
        respond_status(exchange, GRPC_INVALID_ARGUMENT,
                       arena_printf(http_exchange_arena(exchange),
                                    "invalid binary header %.*s: illegal base64 data", (int)name.size,
                                    name.data));
    buf_deinit(&decoded);
    return ok;
}

/* What becomes of one header; false when the request has been answered for it. */
static bool take_header(struct http_exchange *exchange, const struct http_header *header,
                        struct grpc_metadata *metadata, size_t *count)
{
    struct bytes key = BYTES_EMPTY, value = header->value;
    if (bytes_equal(header->name, BYTES_LITERAL("authorization"))) {
        key = BYTES_LITERAL("authorization");
    } else if (bytes_equal(header->name, BYTES_LITERAL("accept"))) {
        key = BYTES_LITERAL("grpcgateway-accept");
    } else if (bytes_starts_with(header->name, metadata_prefix)) {
        key = bytes_of(header->name.data + metadata_prefix.size, header->name.size - metadata_prefix.size);
        bool binary = key.size > 4 && memcmp(key.data + key.size - 4, "-bin", 4) == 0;
        if (binary && !decode_binary(exchange, header->name, &value)) return false;
    }
    if (key.size > 0) metadata[(*count)++] = (struct grpc_metadata){.key = key, .value = value};
    return true;
}

static bool take_headers(struct http_exchange *exchange, struct gateway_call_config *config)
{
    const struct http_request *request = http_request(exchange);
    struct arena *arena = http_exchange_arena(exchange);
    struct grpc_metadata *metadata = arena_alloc(arena, (request->header_count + 2) * sizeof(*metadata));
    struct bytes timeout;
    int64_t nanoseconds = 0, now = clock_monotonic();
    if (http_request_header(exchange, "grpc-timeout", &timeout)) {
        struct buf ignored = {0};
        bool ok = grpc_timeout_parse(timeout, &nanoseconds, &ignored);
        buf_deinit(&ignored);
        if (!ok) {
            respond_status(exchange, GRPC_INVALID_ARGUMENT,
                           arena_printf(arena, "invalid grpc-timeout: %.*s", (int)timeout.size,
                                        timeout.data));
            return false;
        }
        config->deadline = nanoseconds > INT64_MAX - now ? INT64_MAX : now + nanoseconds;
    }
    for (size_t i = 0; i < request->header_count; i++)
        if (!take_header(exchange, &request->headers[i], metadata, &config->metadata_count)) return false;
    config->metadata = metadata;
    return true;
}

static const struct gateway_route *route_of(struct http_exchange *exchange)
{
    struct bytes path = http_request(exchange)->path;
    const uint8_t *slash = memchr(path.data + 1, '/', path.size - 1);
    size_t prefix = (size_t)(slash - path.data) + 1;
    return gateway_find_route(bytes_of(path.data + prefix, path.size - prefix));
}

/* Who shows a certificate may believe to be the user that it names. Over the gateway nobody is. */
static bool refuse_certificate(struct http_exchange *exchange)
{
    struct http_endpoints *endpoints = http_request(exchange)->context;
    struct transport *transport = http_exchange_transport(exchange);
    if (!endpoints->client_cert_auth || transport == NULL) return false;
    if (metric_gauge_read(&engine_node_metrics(endpoints->engine)->auth_enabled) == 0) return false;
    const char *name = transport_peer_common_name(transport);
    if (name == NULL || *name == '\0') return false;
    http_error(
        exchange, 400,
        "CommonName of client sending a request against gateway will be ignored and not used as expected");
    return true;
}

static void on_request(struct http_exchange *exchange)
{
    struct http_endpoints *endpoints = http_request(exchange)->context;
    struct gateway_call_config config = {
        .carrier = &http_carrier,
        .context = exchange,
        .route = route_of(exchange),
        .server = endpoints->grpc,
        .loop = http_exchange_loop(exchange),
        .limit = endpoints->gateway_limit,
        .deadline = INT64_MAX,
        .transport = http_exchange_transport(exchange),
        .body_limit = BODY_FACTOR * endpoints->receive_limit,
    };
    bool is_websocket = gateway_wants_websocket(exchange);
    struct bytes origin;
    if (!endpoints->enable_gateway) {
        http_error(exchange, 404, "404 page not found");
    } else if (refuse_certificate(exchange)) {
        return;
    } else if (config.route == NULL) {
        respond_status(exchange, GRPC_NOT_FOUND, "Not Found");
    } else if (is_websocket && http_request_header(exchange, "origin", &origin) &&
               !http_endpoints_allows_origin(endpoints, origin)) {
        /* Browsers ask nobody before they open one: --cors has to be kept here. */
        http_error(exchange, 403, "Forbidden");
    } else if (!is_websocket && !http_method_is(exchange, "POST")) {
        respond_status(exchange, GRPC_UNIMPLEMENTED, "Method Not Allowed");
    } else if (take_headers(exchange, &config)) {
        if (is_websocket)
            gateway_websocket_start(exchange, &config);
        else
            http_exchange_set_context(exchange, gateway_call_new(&config));
    }
}

static void on_body(struct http_exchange *exchange, struct bytes piece)
{
    struct gateway_call *call = http_exchange_context(exchange);
    if (call != NULL) gateway_call_body(call, piece);
}

static void on_end(struct http_exchange *exchange)
{
    struct gateway_call *call = http_exchange_context(exchange);
    if (call != NULL) gateway_call_body_end(call);
}

static void on_writable(struct http_exchange *exchange)
{
    struct gateway_call *call = http_exchange_context(exchange);
    if (call != NULL) gateway_call_writable(call);
}

static void on_close(struct http_exchange *exchange)
{
    gateway_call_free(http_exchange_context(exchange));
    http_exchange_set_context(exchange, NULL);
}

const struct http_handler gateway_handler = {
    .on_request = on_request,
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_close = on_close,
    .body_limit = SIZE_MAX,
};
