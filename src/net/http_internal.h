/* The insides of HTTP exchanges, shared by http_exchange.c, http1_server.c and http2_exchange.c. */
#ifndef NET_HTTP_INTERNAL_H
#define NET_HTTP_INTERNAL_H

#include "base/buf.h"
#include "net/http.h"

/* What the HTTP version provides. `size` is -1 when the length of the body is not known. */
struct http_exchange_operations {
    void (*begin)(struct http_exchange *exchange, int status, int64_t size);
    /* Takes the blob. */
    void (*send)(struct http_exchange *exchange, struct blob *piece);
    void (*end)(struct http_exchange *exchange);
    void (*abort)(struct http_exchange *exchange);
    size_t (*pending)(const struct http_exchange *exchange);
    void (*pause)(struct http_exchange *exchange, bool paused);
    struct transport *(*transport)(const struct http_exchange *exchange);
    struct transport *(*take_over)(struct http_exchange *exchange, struct bytes *rest); /* NULL: cannot */
};

struct http_exchange {
    const struct http_exchange_operations *operations; /* NULL: dead */
    void *carrier;                                     /* the operations' own */
    struct loop *loop;
    unsigned references;
    struct arena *arena;
    struct http_request request;
    const struct http_handler *handler;
    void *context;
    struct buf body;
    struct http_header *response_headers; /* in the arena */
    size_t response_header_count, response_header_capacity;
    bool begun, ended; /* of the response */
    bool body_over;    /* on_end has been called or must not be */
    bool handler_told, closed;
    bool paused;
    bool high;
};

/* A new exchange with one reference; the caller fills request (bytes in the arena) and then calls
 * exchange_route. */
struct http_exchange *exchange_new(struct loop *loop, const struct http_exchange_operations *operations,
                                   void *carrier);
/* Splits the target, finds the route, calls on_request. */
void exchange_route(struct http_exchange *exchange, const struct http_router *router);
void exchange_body(struct http_exchange *exchange, struct bytes piece);
void exchange_body_end(struct http_exchange *exchange);
/* Fewer than HTTP_SEND_LOW bytes wait: tells the handler if it wants to know. */
void exchange_writable(struct http_exchange *exchange);
/* The last thing that happens: on_close, and the carrier's reference is dropped. */
void exchange_close(struct http_exchange *exchange);
/* The status allows a body. */
bool http_status_has_body(int status);

#endif
