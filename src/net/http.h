/* http: requests and responses for handlers, whichever HTTP version carries them.
 *
 * An exchange is one request and its response. A handler sees: on_request when the headers are there, on_body
 * for each piece of the body, on_end at its end, and on_close last. It answers at any time after on_request,
 * at once or later, in one piece (http_respond) or as a stream (http_begin, http_send..., http_end). All on
 * the loop's thread; to answer from elsewhere post a task to the exchange's loop and keep a reference
 * (http_exchange_ref) meanwhile; functions on a dead exchange do nothing.
 *
 * The connection takes care of keep-alive, pipelining order, chunked coding, HEAD, Expect: 100-continue and
 * limits.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/arena.h"
#include "base/blob.h"
#include "base/log.h"
#include "net/loop.h"

struct http_exchange;
struct transport;

struct http_header {
    struct bytes name; /* requests: lower case */
    struct bytes value;
};

/* Borrowed, valid as long as the exchange. */
struct http_request {
    struct bytes method; /* "GET" */
    struct bytes target; /* as sent: "/v3/kv/put?x=1" */
    struct bytes path;   /* percent-decoded, without the query */
    struct bytes query;  /* raw, without '?' */
    struct bytes host;
    const struct http_header *headers;
    size_t header_count;
    int major, minor;        /* version */
    int64_t content_length;  /* -1: unknown or none */
    void *context;           /* the router's */
    const void *route_extra; /* the route's */
};

enum { HTTP_SEND_HIGH = 128 * 1024, HTTP_SEND_LOW = 32 * 1024, HTTP_DEFAULT_BODY_LIMIT = 4 * 1024 * 1024 };

struct http_handler {
    /* Optional. It may answer already; the body is then read and dropped (or the connection closed if it is
     * large). */
    void (*on_request)(struct http_exchange *exchange);
    /* NULL: the whole body is gathered up to body_limit (413 beyond it) and found by http_body() in on_end.
     */
    void (*on_body)(struct http_exchange *exchange, struct bytes piece);
    void (*on_end)(struct http_exchange *exchange);
    /* http_send had reported at least HTTP_SEND_HIGH pending bytes: fewer than HTTP_SEND_LOW wait now. */
    void (*on_writable)(struct http_exchange *exchange);
    /* Last, exactly once, also when the connection broke. */
    void (*on_close)(struct http_exchange *exchange);
    size_t body_limit; /* 0: HTTP_DEFAULT_BODY_LIMIT; for streamed bodies SIZE_MAX means none */
};

struct http_route {
    const char *path; /* "/version"; with prefix: everything that starts with it */
    bool prefix;
    const struct http_handler *handler;
    const void *extra;
};

/* The longest matching route wins. */
struct http_router {
    const struct http_route *routes;
    size_t route_count;
    const struct http_handler *fallback; /* NULL: 404 "404 page not found\n" */
    void *context;
    /* Runs before the route of every request: host checks, CORS, OPTIONS. Returns false when it has answered.
     * Optional. */
    bool (*before)(struct http_exchange *exchange);
};

const struct http_request *http_request(const struct http_exchange *exchange);
/* The first header of that lower-case name. */
bool http_request_header(const struct http_exchange *exchange, const char *name, struct bytes *value);
bool http_method_is(const struct http_exchange *exchange, const char *method);
/* The decoded value of a query parameter, copied into the exchange's arena; `nth` counts repeated ones from
 * 0. */
bool http_query(struct http_exchange *exchange, const char *name, size_t nth, struct bytes *value);
/* The gathered body, in on_end. */
struct bytes http_body(const struct http_exchange *exchange);

struct http_exchange *http_exchange_ref(struct http_exchange *exchange);
void http_exchange_unref(struct http_exchange *exchange);
bool http_exchange_is_live(const struct http_exchange *exchange);
struct loop *http_exchange_loop(const struct http_exchange *exchange);
struct arena *http_exchange_arena(struct http_exchange *exchange);
void *http_exchange_context(const struct http_exchange *exchange);
void http_exchange_set_context(struct http_exchange *exchange, void *context);
/* "127.0.0.1:4711"; "" when not live. */
const char *http_exchange_peer(const struct http_exchange *exchange);
/* NULL when not live. */
struct transport *http_exchange_transport(const struct http_exchange *exchange);

/* Adds a response header; before http_respond / http_begin. Both are copied. Content-Length,
 * Transfer-Encoding, Connection and Date are the connection's. */
void http_add_header(struct http_exchange *exchange, const char *name, const char *value);
/* The whole response. content_type NULL: no such header. The body is copied. */
void http_respond(struct http_exchange *exchange, int status, const char *content_type, struct bytes body);
/* The same with a shared body (taken). */
void http_respond_blob(struct http_exchange *exchange, int status, const char *content_type,
                       struct blob *body);
/* Go's http.Error: text/plain; charset=utf-8, nosniff, the text and a newline. */
void http_error(struct http_exchange *exchange, int status, const char *text);
/* A response of unknown length: chunked on HTTP/1.1, until close on 1.0. */
void http_begin(struct http_exchange *exchange, int status, const char *content_type);
/* Copied; returns the bytes that wait. */
size_t http_send(struct http_exchange *exchange, struct bytes piece);
/* Taken. */
size_t http_send_blob(struct http_exchange *exchange, struct blob *piece);
size_t http_pending(const struct http_exchange *exchange);
void http_end(struct http_exchange *exchange);
/* Gives up in the middle: the connection (HTTP/2: the stream) is cut so that the client sees an incomplete
 * response. */
void http_abort(struct http_exchange *exchange);
/* Back-pressure on the request body. */
void http_pause(struct http_exchange *exchange);
void http_resume(struct http_exchange *exchange);

/* For protocols that take the connection over (websocket; HTTP/1.1 only, NULL otherwise), in on_request:
 * hands out the transport, with its handler unset, and the bytes already read behind the request (borrowed
 * until the caller returns to the loop). The exchange is over (on_close follows); the caller writes its own
 * "101 Switching Protocols". */
struct transport *http_take_over(struct http_exchange *exchange, struct bytes *rest);

/* "Not Found"; "" for unknown numbers. */
const char *http_status_text(int status);

#endif
