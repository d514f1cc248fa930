/* grpc_server: the serving half of gRPC over HTTP/2.
 *
 * One `struct grpc_server` per I/O loop, all made from the same configuration and method table; each serves
 * the connections of its loop and is touched by that loop's thread alone. Only the metrics may be read from
 * elsewhere.
 *
 * A method is a const row: names, kind and callbacks. For each call of it the server makes a `struct
 * grpc_call`, with an arena, and calls back in this order, all on the loop thread, never from within a
 * grpc_call_* function except where noted:
 *
 *     on_open         headers are valid, the interceptor let it pass. Metadata may be read.
 *     on_message      one request message (unary and server-stream: exactly one, further ones are dropped).
 *     on_half_close   the client sends no more (bidi only).
 *     on_writable     fewer than GRPC_SEND_LOW bytes wait, after grpc_call_send had reported at least
 *                     GRPC_SEND_HIGH.
 *     on_cancel       before the handler finished the call, the client cancelled, the connection broke, the
 *                     deadline passed or the server was cut. Stop working; nothing leaves any more.
 *     on_close        the last one, exactly once, for every call that passed the interceptor: free what
 *                     call->context means.
 *
 * Any of them may be NULL. A handler answers with grpc_call_send (0..n messages) and exactly one
 * grpc_call_finish, from within a callback or later. After on_cancel, finish is allowed and does nothing.
 *
 * Answering from another thread. A call is never touched off its loop. The pattern: take a reference
 * (grpc_call_ref) on the loop, put the call's pointer into the request that travels; the other thread posts a
 * struct loop_task to the call's loop (grpc_call_loop may be asked on the loop thread; keep it in the
 * request); the task, on the loop, sends, finishes and drops the reference (grpc_call_unref). The call may
 * have died meanwhile: send and finish then do nothing, and grpc_call_is_live says so. The call's arena lives
 * as long as the last reference, and may be used by the one thread that currently works on the request.
 *
 * Back-pressure. Out: grpc_call_send returns the bytes that wait in this call; a streaming handler stops
 * above GRPC_SEND_HIGH and goes on at on_writable. In: while a handler has paused reading (grpc_call_pause)
 * the call delivers no message and grants the client no more window.
 */
#ifndef NET_GRPC_SERVER_H
#define NET_GRPC_SERVER_H

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/grpc.h"
#include "net/loop.h"
#include "net/transport.h"

struct grpc_call;
struct grpc_server;
struct http_router;

enum { GRPC_SEND_HIGH = 128 * 1024, GRPC_SEND_LOW = 32 * 1024 };

enum grpc_kind {
    GRPC_UNARY,
    GRPC_SERVER_STREAM,
    GRPC_BIDI, /* also client streaming */
};

struct grpc_method {
    const char *service; /* "etcdserverpb.KV" */
    const char *name;    /* "Put" */
    enum grpc_kind kind;
    void (*on_open)(struct grpc_call *call);
    void (*on_message)(struct grpc_call *call, struct bytes message); /* borrowed for the call */
    void (*on_half_close)(struct grpc_call *call);
    void (*on_writable)(struct grpc_call *call);
    void (*on_cancel)(struct grpc_call *call);
    void (*on_close)(struct grpc_call *call);
    const void *extra; /* the service's own */
};

/* Per method, written by the loop of its server only, read by anybody. */
struct grpc_method_metrics {
    metric_counter started;
    metric_counter handled[GRPC_CODES];
    metric_counter messages_received;
    metric_counter messages_sent;
};

struct grpc_server_metrics {
    metric_gauge connections;
    metric_gauge calls;            /* now open */
    metric_counter bytes_received; /* of messages, without framing */
    metric_counter bytes_sent;
    metric_counter refused_streams;
    metric_counter abusive_connections;   /* closed for breaking a limit */
    struct grpc_method_metrics methods[]; /* in the order of the method table */
};

struct grpc_server_config {
    const struct grpc_method *const *methods; /* borrowed as long as the server lives */
    size_t method_count;
    void *context; /* grpc_call_server_context() */
    /* Called before on_open of every call, on_open or not. It may finish the call with an error: then no
     * callback follows. */
    void (*intercept)(struct grpc_call *call);
    /* Called once for every call that passed the interceptor when its status is decided, for latency metrics
     * and request logs. */
    void (*observe)(struct grpc_call *call, enum grpc_code code, struct bytes text);
    size_t receive_limit;            /* 0: GRPC_DEFAULT_RECEIVE_LIMIT */
    size_t send_limit;               /* 0: GRPC_DEFAULT_SEND_LIMIT */
    uint32_t max_concurrent_streams; /* per connection; 0: no limit */
    int64_t preface_timeout;         /* ns until the client's first SETTINGS must have come; 0: 2 minutes */
    int64_t keepalive_min_time;      /* ns between a client's pings; 0: 5 minutes */
    bool keepalive_permit_without_stream;
    int64_t keepalive_interval;  /* ns without reads until we ping; 0: 2 hours */
    int64_t keepalive_timeout;   /* ns from our ping to the close; 0: 20 seconds */
    const struct logger *logger; /* borrowed; NULL: log_discard */
};

struct grpc_server *grpc_server_new(struct loop *loop, const struct grpc_server_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* All connections must be gone (grpc_server_close and its `done`). NULL is allowed. */
void grpc_server_free(struct grpc_server *server);

/* Serves HTTP/2 on a transport (taken), which has been started or not. `first` are bytes already read from it
 * (the preface). router: who answers requests whose content-type is not application/grpc*; NULL: they get
 * HTTP 415 (plain-text ports). */
void grpc_server_accept(struct grpc_server *server, struct transport *transport, struct bytes first,
                        const struct http_router *router);

/* Graceful end: connections get GOAWAY (announced, then final) and close when their calls are over; after
 * `drain` nanoseconds what is left is cut (0: cut at once). done is called once, from the loop, when no
 * connection and no reference to a call is left. Transports that still come are closed. */
void grpc_server_close(struct grpc_server *server, int64_t drain, void (*done)(void *context), void *context);

/* Any thread. */
struct grpc_server_metrics *grpc_server_metrics(struct grpc_server *server);

/* ---- calls (loop thread) ---- */

struct grpc_call *grpc_call_ref(struct grpc_call *call);
void grpc_call_unref(struct grpc_call *call);
/* False once the call is finished, cancelled or its connection gone. */
bool grpc_call_is_live(const struct grpc_call *call);

const struct grpc_method *grpc_call_method(const struct grpc_call *call);
/* Its row in the method table, as in the metrics. */
size_t grpc_call_method_index(const struct grpc_call *call);
struct loop *grpc_call_loop(const struct grpc_call *call);
void *grpc_call_server_context(const struct grpc_call *call);
/* Made at the first use; freed with the call. */
struct arena *grpc_call_arena(struct grpc_call *call) __attribute__((returns_nonnull));
/* The handler's own pointer, NULL at first. */
void *grpc_call_context(const struct grpc_call *call);
void grpc_call_set_context(struct grpc_call *call, void *context);

/* The first value of a key (lower case), with -bin decoded. Valid as long as the call. ":authority" is among
 * them. */
bool grpc_call_metadata(const struct grpc_call *call, const char *key, struct bytes *value);
/* All of it, in order of arrival. */
const struct grpc_metadata *grpc_call_metadata_all(const struct grpc_call *call, size_t *count);
/* clock_monotonic() time; INT64_MAX when the client set none. */
int64_t grpc_call_deadline(const struct grpc_call *call);
/* When the call began, clock_monotonic(). */
int64_t grpc_call_started(const struct grpc_call *call);
/* "127.0.0.1:4711"; as long as the call is live, else "". */
const char *grpc_call_peer(const struct grpc_call *call);
/* The common name in the verified certificate of the client's TLS connection, as long as the call is live;
 * NULL without one. For local calls that of the call they are made for, else NULL: who calls through the
 * gateway is not its connection. */
const char *grpc_call_peer_common_name(const struct grpc_call *call);
/* NULL for local calls and when the call is not live. */
struct transport *grpc_call_transport(const struct grpc_call *call);

/* Sends one message made of `count` parts (at most 2^31-1 bytes in all, else the call ends with grpc-go's
 * text). Takes the parts' blob references in every case. Returns the bytes that wait in this call now; 0 when
 * the call is not live. */
size_t grpc_call_send(struct grpc_call *call, const struct grpc_part *parts, size_t count);
/* The same for a whole blob (taken). */
size_t grpc_call_send_blob(struct grpc_call *call, struct blob *message);
/* Bytes that wait in this call. */
size_t grpc_call_pending(const struct grpc_call *call);
/* Ends the call with a status. The text is copied. on_close follows before this returns or when the last byte
 * has left. */
void grpc_call_finish(struct grpc_call *call, enum grpc_code code, struct bytes text);
/* finish with printf text. */
void grpc_call_fail(struct grpc_call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A unary answer: one message (taken) and OK. */
void grpc_call_reply(struct grpc_call *call, struct blob *message);

/* Stop and go on delivering messages; pause may be called from within on_message, resume delivers from a
 * later turn of the loop. */
void grpc_call_pause(struct grpc_call *call);
void grpc_call_resume(struct grpc_call *call);

/* ---- local calls: the same handlers without HTTP/2, for the JSON gateway ---- */

struct grpc_local_handler {
    void (*on_message)(void *context, struct bytes message); /* borrowed */
    /* Exactly once, last. */
    void (*on_finish)(void *context, enum grpc_code code, struct bytes text);
    /* The handler had paused and takes messages again (grpc_local_call_takes). Optional. */
    void (*on_ready)(void *context);
};

/* Starts a call of "/service/method" with that metadata (copied) and deadline (clock_monotonic; INT64_MAX:
 * none). The returned reference is the caller's (grpc_call_unref). An unknown method, a refusing interceptor
 * and the like are reported by on_finish, perhaps before this returns. peer: shown by grpc_call_peer;
 * transport: may be NULL. */
struct grpc_call *grpc_local_call(struct grpc_server *server, const char *path,
                                  const struct grpc_metadata *metadata, size_t metadata_count,
                                  int64_t deadline, struct transport *transport,
                                  const struct grpc_local_handler *handler, void *context)
    __attribute__((returns_nonnull, warn_unused_result));
/* The same for a handler that calls another method on behalf of its own caller: with the metadata of `call`
 * and whoever it is from; without a deadline. */
struct grpc_call *grpc_local_call_for(const struct grpc_call *call, const char *path,
                                      const struct grpc_local_handler *handler, void *context)
    __attribute__((returns_nonnull, warn_unused_result));
/* One request message; delivered before this returns unless the call is paused: then it is kept. */
void grpc_local_call_message(struct grpc_call *call, struct bytes message);
/* A message would be delivered at once. Who has many messages waits for this, so that they do not pile up. */
bool grpc_local_call_takes(const struct grpc_call *call);
void grpc_local_call_half_close(struct grpc_call *call);
/* on_cancel for the handler; on_finish is not called. */
void grpc_local_call_cancel(struct grpc_call *call);
/* Stop and go on taking messages from the handler: while stopped they pile up and grpc_call_pending grows. */
void grpc_local_call_stop(struct grpc_call *call);
void grpc_local_call_continue(struct grpc_call *call);

#endif
