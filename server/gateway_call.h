/* gateway_call: one request of the JSON gateway, from JSON to gRPC and back.
 *
 * It does not know what carries it (an HTTP exchange, a websocket): bytes of the body are pushed into it, and
 * what it has to say goes out by the carrier's functions. Loop thread only.
 */
#ifndef SERVER_GATEWAY_CALL_H
#define SERVER_GATEWAY_CALL_H

#include "server/gateway.h"
#include "server/gateway_limit.h"

struct gateway_call;

struct gateway_carrier {
    /* The whole answer. `text`: the message of a failure; BYTES_EMPTY otherwise. */
    void (*respond)(void *context, enum grpc_code code, struct bytes text, struct bytes body);
    /* The first line of a stream follows, or its end: OK, or the code it fails with. */
    void (*begin)(void *context, enum grpc_code code, bool has_lines);
    /* One line, its newline at the end; returns the bytes that wait. */
    size_t (*line)(void *context, struct bytes line);
    void (*end)(void *context);
    /* Stop and go on pushing the body. */
    void (*pause)(void *context, bool paused);
};

struct gateway_call_config {
    const struct gateway_carrier *carrier;
    void *context;
    const struct gateway_route *route;
    struct grpc_server *server;
    struct loop *loop;                    /* the server's */
    struct gateway_limit *limit;          /* NULL: none */
    const struct grpc_metadata *metadata; /* copied */
    size_t metadata_count;
    int64_t deadline;            /* clock_monotonic(); INT64_MAX: none */
    struct transport *transport; /* shown as the peer; may be NULL */
    size_t body_limit;           /* of one value, in bytes of JSON */
    bool is_open_ended;          /* the body may never end: a single value is taken when it is complete */
};

struct gateway_call *gateway_call_new(const struct gateway_call_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* Cancels what is under way; the carrier hears nothing more. NULL is allowed. */
void gateway_call_free(struct gateway_call *call);

void gateway_call_body(struct gateway_call *call, struct bytes piece);
void gateway_call_body_end(struct gateway_call *call);
/* A line had reported HTTP_SEND_HIGH waiting bytes: now there are few. */
void gateway_call_writable(struct gateway_call *call);

/* {"code":5,"message":"..."} */
void gateway_write_status(struct buf *out, enum grpc_code code, struct bytes text);

#endif
