/* transport: a connected byte stream.
 *
 * An interface with several implementations: TCP and unix sockets (transport_stream_new), memory
 * (transport_memory.h, for tests), TLS (over any other transport). Users see the same thing: bytes come in by
 * on_read, bytes go out through the output chain, the end comes once by on_close.
 *
 * Reading: on_read's bytes are borrowed for the call (they lie in the loop's scratch memory: an idle
 * connection holds no read buffer). The user consumes all of them; to push back it stops reading
 * (transport_read_stop).
 *
 * Writing: append to transport_output() and call transport_flush(), or transport_flush_later() to have
 * everything written in one system call at the end of this turn of the loop. What the kernel does not take
 * stays in the chain; on_drain tells when it is empty again.
 *
 * Handshake: a transport with a handshake (TLS) reports on_open when it is done; plain ones report it too,
 * from transport_start. Nothing is read before on_open; what is written before it is kept.
 *
 * Closing: transport_close (at once) or transport_finish (after the output has been written). on_close comes
 * exactly once, also for failures and the peer's end of stream, and always from the loop, never from within a
 * function the user called. The memory is released after on_close has returned; no function may be called
 * afterwards. Loop thread only.
 */
#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H

#include "base/error.h"
#include "net/chain.h"
#include "net/loop.h"

struct transport;

struct transport_handler {
    /* Ready for bytes. Optional. */
    void (*on_open)(void *context);
    void (*on_read)(void *context, struct bytes bytes);
    /* The output, which had been stuck, is empty again. Optional. */
    void (*on_drain)(void *context);
    /* The end. error: NULL for an orderly end by either side; borrowed. */
    void (*on_close)(void *context, const struct error *error);
};

/* What an implementation provides. `transport` is its first member. */
struct transport_operations {
    void (*start)(struct transport *transport);
    void (*read_enable)(struct transport *transport, bool enable);
    void (*flush)(struct transport *transport);
    /* Begin to close now; calls transport_closed() later, never from within. */
    void (*close)(struct transport *transport);
    void (*free)(struct transport *transport);
    /* May be NULL for a transport without them. */
    struct bytes (*alpn)(struct transport *transport);
    const char *(*peer_common_name)(struct transport *transport);
};

enum transport_state {
    TRANSPORT_NEW,
    TRANSPORT_HANDSHAKE, /* started, not open */
    TRANSPORT_OPEN,
    TRANSPORT_FINISHING, /* closes when the output is written */
    TRANSPORT_CLOSING,
    TRANSPORT_CLOSED,
};

/* Fields are the implementations' business; users call the functions below. */
struct transport {
    const struct transport_operations *operations;
    struct loop *loop;
    const struct transport_handler *handler;
    void *context;
    enum transport_state state;
    bool reading;
    bool stuck; /* a flush left something behind */
    struct chain output;
    struct loop_deferred flush;
    struct error *error; /* why it ends */
    uint64_t bytes_read, bytes_written;
    char *local_address,
        *peer_address; /* as Go prints them: "127.0.0.1:2379", "[::1]:80", "@", a path; NULL: unknown */
    void (*on_free)(void *context); /* for who counts open transports */
    void *on_free_context;
};

/* Sets who is called; may be changed any time (after a handshake, after looking at the first bytes). */
void transport_set_handler(struct transport *transport, const struct transport_handler *handler,
                           void *context);
/* Begins the handshake and reading. Call once. */
void transport_start(struct transport *transport);
void transport_read_stop(struct transport *transport);
void transport_read_start(struct transport *transport);
static inline struct chain *transport_output(struct transport *transport)
{
    return &transport->output;
}
void transport_flush(struct transport *transport);
void transport_flush_later(struct transport *transport);
/* Bytes accepted for writing that have not left. */
static inline size_t transport_pending(const struct transport *transport)
{
    return transport->output.size;
}
void transport_finish(struct transport *transport);
/* Closes at once. `error` (may be NULL) is taken and reported by on_close. */
void transport_close(struct transport *transport, struct error *error);
static inline bool transport_is_open(const struct transport *transport)
{
    return transport->state == TRANSPORT_OPEN;
}

static inline struct loop *transport_loop(const struct transport *transport)
{
    return transport->loop;
}
static inline const char *transport_peer_address(const struct transport *transport)
{
    return transport->peer_address == NULL ? "" : transport->peer_address;
}
static inline const char *transport_local_address(const struct transport *transport)
{
    return transport->local_address == NULL ? "" : transport->local_address;
}
/* The application protocol agreed on in the handshake ("h2"); empty when there is none. */
struct bytes transport_alpn(struct transport *transport);
/* True for a transport that encrypts. */
bool transport_is_secure(const struct transport *transport);
/* The common name in the client's certificate, which has been verified; NULL when it showed none, the name is
 * empty or the transport is plain. As long as the transport. */
const char *transport_peer_common_name(struct transport *transport);

/* For implementations: initialise the common part; report the events. transport_opened and
 * transport_read_bytes may lead to the transport being closed (check transport->state afterwards), never to
 * its being freed. transport_failed takes the error (NULL: end of stream) and closes. transport_closed is the
 * last call: it reports on_close and frees the transport. */
void transport_init(struct transport *transport, const struct transport_operations *operations,
                    struct loop *loop);
void transport_opened(struct transport *transport);
void transport_read_bytes(struct transport *transport, struct bytes bytes);
void transport_flushed(struct transport *transport);
void transport_failed(struct transport *transport, struct error *error);
void transport_closed(struct transport *transport);

/* A connected TCP or unix socket; takes the descriptor (non-blocking mode, TCP_NODELAY and keepalive are set
 * here). */
struct transport *transport_stream_new(struct loop *loop, int file_descriptor)
    __attribute__((returns_nonnull, warn_unused_result));

/* Turns a plain transport, not yet started, into a secure one that owns it. TLS implements it (server and
 * client side alike); NULL where a `const struct transport_security *` is expected means plain text.
 * server_name: whom the client means to reach; NULL on the server side. */
struct transport_security {
    struct transport *(*secure)(void *context, struct transport *inner, const char *server_name);
    void *context;
};

/* Connecting. `address` is "host:port", "[v6]:port", or "unix:PATH" / "unix://PATH". Names are resolved off
 * the loop; every address is tried in turn. `done` is called once, later: with a transport (not started, its
 * handler not set) or an error (owned by the callee) whose text is the one Go's net.Dial makes ("dial tcp
 * 127.0.0.1:1: connect: connection refused"). timeout in nanoseconds, 0: none. */
struct transport_connect;
struct transport_connect *transport_connect(struct loop *loop, const char *address, int64_t timeout,
                                            void (*done)(void *context, struct transport *transport,
                                                         struct error *error),
                                            void *context) __attribute__((returns_nonnull));
/* Connects from this numeric address of the host's ("10.0.0.1"); addresses of the other family are reached
 * from wherever. Right after transport_connect; copied. */
void transport_connect_from(struct transport_connect *connect, const char *local_address);
/* Gives up: `done` is not called any more. Only before done has been called. */
void transport_connect_cancel(struct transport_connect *connect);

#endif
