/* client: etcd's v3 API from the client's side, asynchronous.
 *
 * A client keeps one HTTP/2 connection to each of its endpoints, spreads calls over those that are up,
 * repeats what may be repeated, logs in when there is a user, and keeps watches and lease renewals going
 * across broken connections. It works against any etcd >= 3.4.
 *
 * Threads: a client belongs to one loop (net/loop.h); every function here is called, and every callback
 * comes, on that loop's thread. Programs that want to wait for answers use client/blocking.h.
 *
 * Callbacks never come from inside the function that started the operation, and exactly one final callback
 * comes for each operation, canceled ones included. What a callback is given is borrowed until it returns
 * (but see client_reply.arena).
 *
 * Times are nanoseconds. Deadlines are absolute on the monotonic clock (client_now()); 0 means none.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "client/endpoint.h"
#include "client/error.h"
#include "client/method.h"

struct client;
struct loop;
struct tls;
struct transport_security;

/* Limits. */
enum {
    CLIENT_ENDPOINTS_MAX = 256,
    CLIENT_ATTEMPTS_MAX = 100, /* of one repeatable call */
};

/* Zero and NULL stand for etcdctl's defaults. All strings are copied. */
struct client_tls_options {
    bool enabled; /* TLS for endpoints without a scheme, too (implied by any of the fields below) */
    bool insecure_skip_verify;
    const char *certificate_file; /* PEM; certificate and key only together */
    const char *key_file;
    const char *ca_file;     /* NULL: the system's */
    const char *server_name; /* NULL: the endpoint's */
};

struct client_options {
    const char *const *endpoints; /* client/endpoint.h; at least one */
    size_t endpoint_count;
    const char *user; /* log in when user and password are both non-empty */
    const char *password;
    const char *token; /* a ready token (JWT) instead; never refreshed */
    struct client_tls_options tls;
    int64_t dial_timeout; /* bounds logging in; 2 s */
    int64_t
        keep_alive_time; /* an HTTP/2 ping when nothing came for so long; 2 s, raised to 10 s as gRPC does */
    int64_t keep_alive_timeout;  /* the connection is dead when the ping is not answered; 6 s */
    size_t max_send_bytes;       /* of one message; 2 MiB */
    size_t max_receive_bytes;    /* 2^31-1 */
    uint64_t seed;               /* of the jitter in retries; 0: from the clock */
    const struct logger *logger; /* NULL: log_discard; borrowed for the client's life */
};

/* Connections are opened in the background: endpoints that do not answer are no error here. */
struct error *client_new(struct loop *loop, const struct client_options *options, struct client **client)
    __attribute__((warn_unused_result));
/* Ends everything that is under way with "context canceled"; those callbacks come before this returns
 * and must not start anything. Not from within a callback. NULL is allowed. */
void client_free(struct client *client);

/* Whether connections use TLS when this endpoint is the first. */
bool client_wants_tls(const struct client_options *options, const struct endpoint *first);
/* TLS by these options, for other connections than a client's; free with tls_free. */
struct error *client_tls_new(const struct client_tls_options *options, const struct logger *logger,
                             struct tls **tls) __attribute__((warn_unused_result));
/* For HTTP/1 to an endpoint of a member, as the client would reach it; NULL: in plain text. Borrowed from the
 * client. */
const struct transport_security *client_http1_security(const struct client *client, enum endpoint_tls wanted);

size_t client_endpoint_count(const struct client *client);
/* As written, blanks trimmed. */
const char *client_endpoint(const struct client *client, size_t index);
/* Connections that failed are tried again now instead of after their pause, which grows to two minutes: for
 * programs that show who is there. */
void client_connect_now(struct client *client);

/* The monotonic clock. */
int64_t client_now(void);
/* The deadline `timeout` from now; a timeout <= 0 gives one that has passed already (etcdctl's
 * --command-timeout=0). */
int64_t client_deadline_after(int64_t timeout);

/* ---- Unary calls ---- */

struct client_call;

struct client_call_options {
    int64_t deadline;     /* 0: waits for ever, also for a connection */
    const char *endpoint; /* pins the call to this endpoint (one of the client's, or any other); NULL: any
                             that is up */
    bool require_leader;  /* refused by a member that knows no leader */
};

struct client_reply {
    const ProtobufCMessage *response; /* of the method's response type; NULL on failure */
    const struct client_error *error; /* NULL on success */
    const char *endpoint;             /* who answered; NULL when nobody did */
    /* The memory of the response. A callback that wants to keep it sets this to NULL and frees it with
     * arena_free later. */
    struct arena *arena;
};

typedef void client_reply_fn(void *context, struct client_reply *reply);

/* `request` is of the method's request type and borrowed for this call only. options may be NULL. */
struct client_call *client_call(struct client *client, enum client_rpc rpc, const ProtobufCMessage *request,
                                const struct client_call_options *options, client_reply_fn *done,
                                void *context);
/* done comes with "context canceled", later, from the loop. Not after done came. */
void client_call_cancel(struct client_call *call);

/* Logs in, if there is a user, within the dial timeout; done at once otherwise. Not necessary (calls do it
 * when needed), but the place where a wrong password shows. response is NULL. */
void client_login(struct client *client, client_reply_fn *done, void *context);

/* ---- Streams: what watches, keep-alives and server streams have in common ---- */

enum client_event_kind {
    CLIENT_EVENT_MESSAGE, /* response is set */
    CLIENT_EVENT_END,     /* the last one; error is NULL when the stream came to its proper end */
};

struct client_event {
    enum client_event_kind kind;
    const ProtobufCMessage *response;
    const struct client_error *error;
    /* The memory of the response: as client_reply.arena. */
    struct arena *arena;
};

typedef void client_event_fn(void *context, struct client_event *event);

/* A server stream (RangeStream, Snapshot, Observe, health Watch). Not resumed: an error ends it. Opening it
 * is repeated as the method allows while no message has come. */
struct client_stream;
struct client_stream *client_stream_start(struct client *client, enum client_rpc rpc,
                                          const ProtobufCMessage *request,
                                          const struct client_call_options *options, client_event_fn *handler,
                                          void *context);
/* Stop and go on reading: while paused the server is held back by flow control. Messages already here may
 * still come. */
void client_stream_pause(struct client_stream *stream);
void client_stream_resume(struct client_stream *stream);
/* END comes with "context canceled". Not after END came. */
void client_stream_cancel(struct client_stream *stream);

/* ---- Watches ----
 *
 * All watches share one stream. When it breaks it is opened again and each watch goes on behind the last
 * revision it has seen: nothing is lost, nothing comes twice. A watch ends when the server cancels it
 * (compacted, permission): the handler gets that response (canceled set; compact_revision or cancel_reason
 * say why), then END. END's error then is what etcd's client makes of it: API_ERROR_COMPACTED for a
 * compaction, else the reason's text.
 *
 * Messages are Etcdserverpb__WatchResponse; fragments come put together; watch_id is the server's and of no
 * use here. Responses without events are progress notifications (header.revision: everything up to it has
 * come). */
struct client_watch;

struct client_watch_options {
    struct bytes key; /* empty: the smallest key */
    struct bytes range_end;
    int64_t start_revision; /* 0: from now on */
    bool progress_notify;   /* also an empty response now and then (10 minutes by default) */
    bool prev_kv;
    bool no_put; /* filters */
    bool no_delete;
    bool fragment;       /* lets the server cut large responses */
    bool created_notify; /* also pass on the `created` response */
};

struct client_watch *client_watch_start(struct client *client, const struct client_watch_options *options,
                                        client_event_fn *handler, void *context);
/* As for streams; a paused watch holds back all watches of the client. */
void client_watch_pause(struct client_watch *watch);
void client_watch_resume(struct client_watch *watch);
void client_watch_cancel(struct client_watch *watch);
/* Asks for a progress notification to every watch that is up to date; the server may stay silent. */
void client_watch_request_progress(struct client *client);

/* ---- Leases ----
 *
 * Renews the lease a third of its TTL after each answer until it ends or is canceled. Messages are
 * Etcdserverpb__LeaseKeepAliveResponse, one per renewal. END: API_ERROR_LEASE_NOT_FOUND when the server does
 * not know the lease (any more) or no renewal got through for its TTL; "context canceled" after a cancel. */
struct client_keep_alive;
struct client_keep_alive *client_keep_alive_start(struct client *client, int64_t lease,
                                                  client_event_fn *handler, void *context);
void client_keep_alive_cancel(struct client_keep_alive *keep_alive);
/* One renewal. response: Etcdserverpb__LeaseKeepAliveResponse; API_ERROR_LEASE_NOT_FOUND when there is no
 * such lease. */
struct client_call *client_keep_alive_once(struct client *client, int64_t lease,
                                           const struct client_call_options *options, client_reply_fn *done,
                                           void *context);

#endif
