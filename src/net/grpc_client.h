/* grpc_client: the calling half of gRPC over HTTP/2.
 *
 * A `struct grpc_channel` is one endpoint: at most one connection at a time, made when the first call needs
 * it or when asked for, remade with growing pauses after failures. Choosing among endpoints, retries and
 * tokens are the business of the library on top (src/client); a channel gives it what it needs: its state,
 * the reason of the last failure, and for every failed call whether the server can have seen it.
 *
 * Everything on the loop's thread. No callback is called from within grpc_channel_call and the other
 * functions here, except from grpc_client_call_cancel (on_close) and grpc_channel_free (on_close of what is
 * still open).
 *
 * A call: grpc_channel_call, then any number of grpc_client_call_send, then grpc_client_call_half_close;
 * replies come by on_message; on_close is the last, exactly once, after which the call's pointer is dead.
 * Calls made while the channel is connecting wait for it; while it is in TRANSIENT_FAILURE they fail at once
 * with its error text, unless wait_for_ready.
 */
#ifndef NET_GRPC_CLIENT_H
#define NET_GRPC_CLIENT_H

#include "base/error.h"
#include "base/log.h"
#include "net/grpc.h"
#include "net/loop.h"
#include "net/transport.h"

struct grpc_channel;
struct grpc_client_call;

/* grpc-go's connectivity states. */
enum grpc_channel_state {
    GRPC_CHANNEL_IDLE, /* no connection and none wanted */
    GRPC_CHANNEL_CONNECTING,
    GRPC_CHANNEL_READY,
    GRPC_CHANNEL_TRANSIENT_FAILURE, /* the last attempt failed; waits before the next */
    GRPC_CHANNEL_SHUTDOWN,
};

struct grpc_channel_config {
    const char *address;    /* "host:port", "unix:PATH"; copied */
    const char *authority;  /* :authority; NULL: the address ("localhost" for unix); copied */
    const char *user_agent; /* NULL: "grpc-c-cetcd/VERSION"; copied */
    const struct transport_security *security; /* NULL: plain text; borrowed as long as the channel lives */
    const char *server_name;                   /* for TLS; NULL: the host of the address; copied */
    int64_t connect_timeout;                   /* ns for dialing and handshake; 0: 20 s */
    int64_t backoff_base;                      /* ns; 0: 1 s. The pause grows by 1.6 with 20 % jitter */
    int64_t backoff_limit;                     /* ns; 0: 120 s */
    int64_t keepalive_time;                    /* ns without reads until a ping; 0: never */
    int64_t keepalive_timeout;                 /* ns from the ping to the close; 0: 20 s */
    bool keepalive_without_calls;
    uint64_t seed;               /* for the jitter */
    const struct logger *logger; /* NULL: log_discard */
    /* State changes. `error`: why, in TRANSIENT_FAILURE; else NULL. Optional. */
    void (*on_state)(void *context, enum grpc_channel_state state, const char *error);
    void *context;
};

struct grpc_channel *grpc_channel_new(struct loop *loop, const struct grpc_channel_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* Closes the connection; open calls end with code 1, "grpc: the client connection is closing" (as grpc-go).
 * NULL is allowed. */
void grpc_channel_free(struct grpc_channel *channel);
/* Connect now: from IDLE, and from TRANSIENT_FAILURE without waiting out the pause. */
void grpc_channel_connect(struct grpc_channel *channel);
enum grpc_channel_state grpc_channel_state(const struct grpc_channel *channel);
/* Text of the last connection failure as grpc-go shows it (`connection error: desc = "transport: Error while
 * dialing: dial tcp 127.0.0.1:1: connect: connection refused"`); NULL when there was none since the last
 * success. */
const char *grpc_channel_error(const struct grpc_channel *channel);
/* Calls that are open or waiting. */
size_t grpc_channel_calls(const struct grpc_channel *channel);

struct grpc_client_status {
    enum grpc_code code;
    struct bytes text;
    /* The server has certainly not begun the call (refused stream, GOAWAY below it, never sent): safe to
     * repeat. */
    bool unprocessed;
    /* The status came in the server's trailers, not from this side or the connection. */
    bool from_server;
    const struct grpc_metadata *trailers;
    size_t trailer_count;
};

struct grpc_client_handler {
    /* The server's first headers, before any message; not for a call that ends with trailers only. Optional.
     */
    void (*on_headers)(struct grpc_client_call *call, const struct grpc_metadata *metadata, size_t count);
    /* One reply message, borrowed. May be NULL only if none is expected. */
    void (*on_message)(struct grpc_client_call *call, struct bytes message);
    /* Optional: after grpc_client_call_send had returned at least GRPC_CLIENT_SEND_HIGH. */
    void (*on_writable)(struct grpc_client_call *call);
    /* The last one. The status is borrowed; the call's pointer is dead afterwards. */
    void (*on_close)(struct grpc_client_call *call, const struct grpc_client_status *status);
};

enum { GRPC_CLIENT_SEND_HIGH = 128 * 1024, GRPC_CLIENT_SEND_LOW = 32 * 1024 };

struct grpc_client_call_options {
    const char *path;                          /* "/etcdserverpb.KV/Put"; copied */
    const struct grpc_client_handler *handler; /* borrowed as long as the call lives */
    void *context;
    const struct grpc_metadata *metadata; /* copied */
    size_t metadata_count;
    int64_t
        deadline; /* clock_monotonic() time; 0 or INT64_MAX: none. Then code 4, "context deadline exceeded" */
    bool wait_for_ready;
    /* Unary: a second reply message and an OK end without message are errors, as in grpc-go. */
    bool unary;
    size_t receive_limit; /* 0: GRPC_DEFAULT_RECEIVE_LIMIT */
    size_t send_limit;    /* 0: GRPC_DEFAULT_SEND_LIMIT. clientv3 sets 2 MiB */
};

struct grpc_client_call *grpc_channel_call(struct grpc_channel *channel,
                                           const struct grpc_client_call_options *options)
    __attribute__((returns_nonnull));
/* Call, send, half-close in one: a unary or server-streaming call. */
struct grpc_client_call *grpc_channel_request(struct grpc_channel *channel,
                                              const struct grpc_client_call_options *options,
                                              const struct grpc_part *parts, size_t count)
    __attribute__((returns_nonnull));
void *grpc_client_call_context(const struct grpc_client_call *call);
/* One message; takes the parts' references. Without a blob the bytes are copied (unlike on the server side).
 * Returns the bytes that wait in this call. */
size_t grpc_client_call_send(struct grpc_client_call *call, const struct grpc_part *parts, size_t count);
void grpc_client_call_half_close(struct grpc_client_call *call);
/* Ends the call: RST_STREAM CANCEL; on_close with code 1, "context canceled", before this returns. */
void grpc_client_call_cancel(struct grpc_client_call *call);
/* While paused no message is delivered and the server gets no more window. Resume delivers from a later turn
 * of the loop. */
void grpc_client_call_pause(struct grpc_client_call *call);
void grpc_client_call_resume(struct grpc_client_call *call);

#endif
