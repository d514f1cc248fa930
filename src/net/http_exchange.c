#include "base/memory.h"
#include "net/http_internal.h"
#include "net/transport.h"

#include <assert.h>
#include <stdlib.h>

enum { HEADERS_INITIAL = 8 };

/* ---- small things ---- */

static const struct {
    int status;
    const char *text;
} status_texts[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof(status_texts) / sizeof(status_texts[0]); i++) {
        if (status_texts[i].status == status) return status_texts[i].text;
    }
    return "";
}

bool http_status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes %XX, in queries also '+'; malformed escapes stay as they are. */
static struct bytes url_decode(struct arena *arena, struct bytes text, bool plus)
{
    uint8_t *out = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        int high = -1, low = -1;
        if (c == '%' && text.size - i > 2) {
            high = hex_digit(text.data[i + 1]);
            low = hex_digit(text.data[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        out[size++] = c;
    }
    return bytes_of(out, size);
}

/* ---- the request ---- */

const struct http_request *http_request(const struct http_exchange *exchange)
{
    return &exchange->request;
}

bool http_request_header(const struct http_exchange *exchange, const char *name, struct bytes *value)
{
    struct bytes wanted = bytes_from_string(name);
    for (size_t i = 0; i < exchange->request.header_count; i++) {
        if (!bytes_equal(exchange->request.headers[i].name, wanted)) continue;
        *value = exchange->request.headers[i].value;
        return true;
    }
    return false;
}

bool http_method_is(const struct http_exchange *exchange, const char *method)
{
    return bytes_equal(exchange->request.method, bytes_from_string(method));
}

bool http_query(struct http_exchange *exchange, const char *name, size_t nth, struct bytes *value)
{
    struct bytes rest = exchange->request.query, wanted = bytes_from_string(name);
    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.size);
        struct bytes pair = bytes_of(rest.data, end == NULL ? rest.size : (size_t)(end - rest.data));
        rest = end == NULL ? BYTES_EMPTY : bytes_of(end + 1, rest.size - pair.size - 1);
        const uint8_t *equals = pair.size == 0 ? NULL : memchr(pair.data, '=', pair.size);
        struct bytes key = bytes_of(pair.data, equals == NULL ? pair.size : (size_t)(equals - pair.data));
        if (!bytes_equal(url_decode(exchange->arena, key, true), wanted) || nth-- > 0) continue;
        struct bytes raw = equals == NULL ? BYTES_EMPTY : bytes_of(equals + 1, pair.size - key.size - 1);
        *value = url_decode(exchange->arena, raw, true);
        return true;
    }
    return false;
}

struct bytes http_body(const struct http_exchange *exchange)
{
    return buf_bytes(&exchange->body);
}

/* ---- life ---- */

struct http_exchange *exchange_new(struct loop *loop, const struct http_exchange_operations *operations,
                                   void *carrier)
{
    struct http_exchange *exchange = mem_zalloc(1, sizeof(*exchange));
    exchange->operations = operations;
    exchange->carrier = carrier;
    exchange->loop = loop;
    exchange->references = 1;
    exchange->arena = arena_new();
    exchange->request.content_length = -1;
    return exchange;
}

struct http_exchange *http_exchange_ref(struct http_exchange *exchange)
{
    assert(exchange->references > 0);
    exchange->references++;
    return exchange;
}

void http_exchange_unref(struct http_exchange *exchange)
{
    assert(exchange->references > 0);
    if (--exchange->references > 0) return;
    buf_deinit(&exchange->body);
    arena_free(exchange->arena);
    free(exchange);
}

void exchange_close(struct http_exchange *exchange)
{
    exchange->operations = NULL;
    exchange->carrier = NULL;
    if (exchange->handler_told && !exchange->closed) {
        exchange->closed = true;
        if (exchange->handler->on_close != NULL) exchange->handler->on_close(exchange);
    }
    http_exchange_unref(exchange);
}

bool http_exchange_is_live(const struct http_exchange *exchange)
{
    return exchange->operations != NULL && !exchange->ended;
}

struct loop *http_exchange_loop(const struct http_exchange *exchange)
{
    return exchange->loop;
}

struct arena *http_exchange_arena(struct http_exchange *exchange)
{
    return exchange->arena;
}

void *http_exchange_context(const struct http_exchange *exchange)
{
    return exchange->context;
}

void http_exchange_set_context(struct http_exchange *exchange, void *context)
{
    exchange->context = context;
}

struct transport *http_exchange_transport(const struct http_exchange *exchange)
{
    return exchange->operations == NULL ? NULL : exchange->operations->transport(exchange);
}

const char *http_exchange_peer(const struct http_exchange *exchange)
{
    struct transport *transport = http_exchange_transport(exchange);
    return transport == NULL ? "" : transport_peer_address(transport);
}

/* ---- routing ---- */

static void not_found(struct http_exchange *exchange)
{
    http_error(exchange, 404, "404 page not found");
}

static const struct http_handler not_found_handler = {.on_request = not_found};

static const struct http_route *find_route(const struct http_router *router, struct bytes path)
{
    const struct http_route *best = NULL;
    size_t best_size = 0;
    for (size_t i = 0; i < router->route_count; i++) {
        const struct http_route *route = &router->routes[i];
        struct bytes pattern = bytes_from_string(route->path);
        bool matches = route->prefix ? bytes_starts_with(path, pattern) : bytes_equal(path, pattern);
        if (!matches || (best != NULL && best_size >= pattern.size)) continue;
        best = route;
        best_size = pattern.size;
    }
    return best;
}

static void split_target(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    struct bytes target = request->target;
    /* The absolute form, as proxies send it: skip scheme and host. */
    if (bytes_starts_with(target, BYTES_LITERAL("http://"))) {
        const uint8_t *slash = memchr(target.data + 7, '/', target.size - 7);
        target =
            slash == NULL ? BYTES_LITERAL("/") : bytes_of(slash, (size_t)(target.data + target.size - slash));
    }
    const uint8_t *mark = target.size == 0 ? NULL : memchr(target.data, '?', target.size);
    struct bytes path = bytes_of(target.data, mark == NULL ? target.size : (size_t)(mark - target.data));
    request->query = mark == NULL ? BYTES_EMPTY : bytes_of(mark + 1, target.size - path.size - 1);
    request->path = url_decode(exchange->arena, path, false);
}

void exchange_route(struct http_exchange *exchange, const struct http_router *router)
{
    split_target(exchange);
    const struct http_route *route = find_route(router, exchange->request.path);
    exchange->request.context = router->context;
    exchange->request.route_extra = route == NULL ? NULL : route->extra;
    exchange->handler = route != NULL              ? route->handler
                        : router->fallback != NULL ? router->fallback
                                                   : &not_found_handler;
    if (router->before != NULL && !router->before(exchange)) {
        exchange->body_over = true;
        return;
    }
    exchange->handler_told = true;
    if (exchange->handler->on_request != NULL) exchange->handler->on_request(exchange);
}

void exchange_body(struct http_exchange *exchange, struct bytes piece)
{
    if (exchange->body_over || !http_exchange_is_live(exchange)) return;
    const struct http_handler *handler = exchange->handler;
    if (handler->on_body != NULL) {
        handler->on_body(exchange, piece);
        return;
    }
    size_t limit = handler->body_limit == 0 ? HTTP_DEFAULT_BODY_LIMIT : handler->body_limit;
    if (piece.size > limit - exchange->body.size) {
        exchange->body_over = true;
        if (!exchange->begun) http_error(exchange, 413, "http: request body too large");
        return;
    }
    buf_append_bytes(&exchange->body, piece);
}

void exchange_body_end(struct http_exchange *exchange)
{
    if (exchange->body_over) return;
    exchange->body_over = true;
    if (http_exchange_is_live(exchange) && exchange->handler->on_end != NULL)
        exchange->handler->on_end(exchange);
}

void exchange_writable(struct http_exchange *exchange)
{
    if (!exchange->high || !http_exchange_is_live(exchange)) return;
    exchange->high = false;
    if (exchange->handler_told && exchange->handler->on_writable != NULL)
        exchange->handler->on_writable(exchange);
}

/* ---- the response ---- */

void http_add_header(struct http_exchange *exchange, const char *name, const char *value)
{
    if (!http_exchange_is_live(exchange) || exchange->begun) return;
    if (exchange->response_header_count == exchange->response_header_capacity) {
        size_t capacity = exchange->response_header_capacity == 0 ? HEADERS_INITIAL
                                                                  : exchange->response_header_capacity * 2;
        struct http_header *headers = arena_alloc(exchange->arena, capacity * sizeof(*headers));
        if (exchange->response_header_count > 0) {
            memcpy(headers, exchange->response_headers, exchange->response_header_count * sizeof(*headers));
        }
        exchange->response_headers = headers;
        exchange->response_header_capacity = capacity;
    }
    exchange->response_headers[exchange->response_header_count++] = (struct http_header){
        .name = arena_copy(exchange->arena, bytes_from_string(name)),
        .value = arena_copy(exchange->arena, bytes_from_string(value)),
    };
}

static void begin(struct http_exchange *exchange, int status, const char *content_type, int64_t size)
{
    assert(!exchange->begun);
    if (content_type != NULL) http_add_header(exchange, "Content-Type", content_type);
    exchange->begun = true;
    exchange->operations->begin(exchange, status, size);
}

void http_respond_blob(struct http_exchange *exchange, int status, const char *content_type,
                       struct blob *body)
{
    if (!http_exchange_is_live(exchange) || exchange->begun) {
        blob_unref(body);
        return;
    }
    begin(exchange, status, content_type, (int64_t)body->size);
    exchange->operations->send(exchange, body);
    http_end(exchange);
}

void http_respond(struct http_exchange *exchange, int status, const char *content_type, struct bytes body)
{
    http_respond_blob(exchange, status, content_type, blob_from(body));
}

void http_error(struct http_exchange *exchange, int status, const char *text)
{
    if (!http_exchange_is_live(exchange)) return;
    http_add_header(exchange, "X-Content-Type-Options", "nosniff");
    char *line = arena_printf(exchange->arena, "%s\n", text);
    http_respond(exchange, status, "text/plain; charset=utf-8", bytes_from_string(line));
}

void http_begin(struct http_exchange *exchange, int status, const char *content_type)
{
    if (http_exchange_is_live(exchange) && !exchange->begun) begin(exchange, status, content_type, -1);
}

size_t http_send_blob(struct http_exchange *exchange, struct blob *piece)
{
    if (!http_exchange_is_live(exchange) || !exchange->begun) {
        blob_unref(piece);
        return 0;
    }
    exchange->operations->send(exchange, piece);
    size_t pending = http_pending(exchange);
    if (pending >= HTTP_SEND_HIGH) exchange->high = true;
    return pending;
}

size_t http_send(struct http_exchange *exchange, struct bytes piece)
{
    return http_send_blob(exchange, blob_from(piece));
}

size_t http_pending(const struct http_exchange *exchange)
{
    return exchange->operations == NULL ? 0 : exchange->operations->pending(exchange);
}

void http_end(struct http_exchange *exchange)
{
    if (!http_exchange_is_live(exchange) || !exchange->begun) return;
    exchange->ended = true;
    exchange->operations->end(exchange);
}

void http_abort(struct http_exchange *exchange)
{
    if (!http_exchange_is_live(exchange)) return;
    exchange->begun = exchange->ended = true;
    exchange->operations->abort(exchange);
}

void http_pause(struct http_exchange *exchange)
{
    if (exchange->operations == NULL || exchange->paused) return;
    exchange->paused = true;
    exchange->operations->pause(exchange, true);
}

void http_resume(struct http_exchange *exchange)
{
    if (exchange->operations == NULL || !exchange->paused) return;
    exchange->paused = false;
    exchange->operations->pause(exchange, false);
}

struct transport *http_take_over(struct http_exchange *exchange, struct bytes *rest)
{
    if (!http_exchange_is_live(exchange) || exchange->begun || exchange->operations->take_over == NULL)
        return NULL;
    return exchange->operations->take_over(exchange, rest);
}
