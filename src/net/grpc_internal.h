/* The insides of the gRPC server, shared by its files: grpc_server.c (methods, connections, shutdown),
 * grpc_connection.c (one HTTP/2 session), grpc_call.c (calls), grpc_request.c (request headers), grpc_local.c
 * (calls without HTTP/2). */
#ifndef NET_GRPC_INTERNAL_H
#define NET_GRPC_INTERNAL_H

#include "base/list.h"
#include "net/grpc_frame.h"
#include "net/grpc_server.h"

#include <nghttp2/nghttp2.h>

struct grpc_connection;
struct http2_exchange;

enum {
    CALL_POOL_MAX = 256,
    OUTPUT_HIGH = 256 * 1024, /* bytes in the transport above which the session waits */
    CONNECTION_WINDOW = 1024 * 1024,
    STREAM_WINDOW = 65535,
    HELD_MAX = 16 * 1024 * 1024,   /* bytes of paused calls above which the connection's window stays shut */
    QUEUED_MAX = 64 * 1024 * 1024, /* unsent bytes above which a connection gets no new calls */
    HEADER_LIST_MAX = 16 * 1024 * 1024, /* of all calls of a connection */
    HEADERS_MAX = 4096,
};

/* Writes of a loop's own counters need no locked instruction: it is their only writer. */
static inline void bump(metric_counter *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void bump_gauge(metric_gauge *gauge, int64_t n)
{
    atomic_store_explicit(gauge, atomic_load_explicit(gauge, memory_order_relaxed) + n, memory_order_relaxed);
}

struct method_slot {
    const struct grpc_method *method;
    uint32_t hash;
    uint32_t index;
};

struct grpc_server {
    struct loop *loop;
    struct grpc_server_config config;
    struct method_slot *slots; /* open addressing by hash of "/service/method"; slot_mask + 1 of them */
    uint32_t slot_mask;
    struct grpc_server_metrics *metrics;
    LIST_HEAD(, grpc_connection) connections;
    LIST_HEAD(, grpc_call) local_calls;
    SLIST_HEAD(, grpc_call) pool;
    size_t pool_size;
    size_t calls_out; /* taken and not yet recycled */
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    /* closing */
    bool closing;
    struct loop_timer drain;
    struct loop_deferred closed;
    void (*done)(void *context);
    void *done_context;
};

/* The method of a ":path" value, or NULL. */
const struct grpc_method *server_find_method(const struct grpc_server *server, struct bytes path,
                                             size_t *index);
/* Code 12 text for a path that server_find_method does not know. */
void server_unknown_method(const struct grpc_server *server, struct bytes path, struct buf *text);
void server_connection_gone(struct grpc_server *server);
struct grpc_call *server_take_call(struct grpc_server *server);
void server_recycle_call(struct grpc_server *server, struct grpc_call *call);

/* ---- connection ---- */

/* Frames that cost us more than the peer, each with an allowance: `burst` at once, refilled with `rate` a
 * second. */
enum abuse {
    ABUSE_RESET,
    ABUSE_SETTINGS,
    ABUSE_PING,
    ABUSE_EMPTY_DATA,
    ABUSE_PRIORITY,
    ABUSE_OUR_RESET,
    ABUSE_KINDS,
};

struct bucket {
    uint32_t used;
    int64_t since;
};

struct grpc_connection {
    struct grpc_server *server;
    struct transport *transport;
    nghttp2_session *session;
    const struct http_router *router;
    LIST_ENTRY(grpc_connection) link;
    LIST_HEAD(, grpc_call) calls;
    LIST_HEAD(, http2_exchange) exchanges;
    size_t stream_count; /* calls and exchanges */
    size_t header_bytes; /* of all of them: a few bytes of HPACK can stand for very many */
    TAILQ_HEAD(work_list, grpc_call)
    work; /* calls that wait to be told they are writable, or to go on reading */
    struct loop_deferred flush;
    struct loop_timer keepalive;
    struct loop_timer goaway; /* the wait for the answer to the ping between the two GOAWAYs */
    int64_t last_read;
    int64_t preface_limit; /* until when the client's SETTINGS must have come */
    int64_t ping_sent;     /* 0: none under way */
    int64_t client_ping;   /* when the last one came; 0: never */
    unsigned ping_strikes;
    bool reset_strikes; /* we sent HEADERS or DATA since the client's last ping */
    bool settings_sent, settings_received;
    bool announced, final_goaway; /* shutdown steps */
    bool closing;                 /* no more input is taken */
    bool input_stopped;           /* the peer does not read: neither do we */
    size_t held;                  /* bytes received for paused calls */
    size_t owed;                  /* of them, bytes of the connection's window not given back */
    size_t queued;                /* bytes of calls not yet given to the session */
    struct bucket buckets[ABUSE_KINDS];
};

void connection_flush_later(struct grpc_connection *connection);
void connection_close(struct grpc_connection *connection, struct error *error);
/* GOAWAY with that code and debug data, then close. */
void connection_reject(struct grpc_connection *connection, uint32_t code, const char *debug);
void connection_shut_down(struct grpc_connection *connection);
void connection_stream_gone(struct grpc_connection *connection);
/* Gives the window of received bytes back: the connection's when they come in, the stream's when they have
 * been used. */
void connection_received(struct grpc_connection *connection, size_t size);
void connection_consumed(struct grpc_connection *connection, int32_t stream_id, size_t size);
/* `size` of the bytes of paused calls are held no longer. */
void connection_released(struct grpc_connection *connection, size_t size);
/* Returns false (and closes) when the peer has used up its allowance. */
bool connection_allow(struct grpc_connection *connection, enum abuse kind);
void connection_reset_stream(struct grpc_connection *connection, int32_t stream_id, uint32_t code);
nghttp2_session_callbacks *connection_callbacks_new(void);
nghttp2_option *connection_option_new(void);
void connection_new(struct grpc_server *server, struct transport *transport, struct bytes first,
                    const struct http_router *router);

/* ---- call ---- */

/* What a stream's user data points to: the first member of calls and of HTTP exchanges. */
enum stream_kind {
    STREAM_CALL,
    STREAM_EXCHANGE,
};

enum encoding {
    ENCODING_IDENTITY,
    ENCODING_GZIP,
    ENCODING_UNKNOWN,
};

struct local_call {
    struct grpc_call *call;
    const struct grpc_local_handler *handler;
    void *context;
    struct transport *transport;
    const char *common_name; /* in the call's arena; NULL: none */
    bool stopped;
    bool finish_waits;
    struct loop_deferred resume;
    struct buf queue; /* messages the caller does not take yet, each behind a size_t */
};

struct grpc_call {
    enum stream_kind kind;
    struct grpc_server *server;
    struct grpc_connection *connection; /* NULL: local, or the stream is gone */
    struct local_call *local;
    const struct grpc_method *method;
    size_t method_index;
    void *context;
    int32_t stream_id;
    unsigned references;
    bool begun : 1;       /* counted as a call of its method */
    bool accepted : 1;    /* the handler knows of it */
    bool finished : 1;    /* the status is decided */
    bool closed : 1;      /* on_close has been called */
    bool half_closed : 1; /* the client sends no more */
    bool half_close_told : 1;
    bool message_seen : 1;
    bool paused : 1;
    bool delivering : 1;
    bool response_started : 1;
    bool data_deferred : 1; /* the session waits for nghttp2_session_resume_data */
    bool trailers_submitted : 1;
    bool high : 1; /* send reported GRPC_SEND_HIGH */
    bool in_work : 1, work_writable : 1, work_resume : 1;
    bool content_type_seen : 1, content_type_valid : 1, is_post : 1;
    bool regular_header_seen : 1;
    uint8_t pseudo_headers_seen; /* bits in the order of pseudo_headers */
    enum encoding encoding;
    struct arena *arena;
    struct grpc_metadata *metadata;
    size_t metadata_count, metadata_capacity;
    size_t header_bytes, header_count;
    int64_t deadline, started;
    struct loop_timer timer;
    struct grpc_frame_reader reader;
    struct buf held;   /* received while paused */
    size_t unconsumed; /* bytes whose window has not been given back */
    struct chain output;
    uint8_t prefix[GRPC_PREFIX_SIZE]; /* of the first message */
    uint64_t messages_sent;
    enum grpc_code code;
    struct bytes status_text;
    /* from the request's headers; copies in the arena */
    struct bytes path, http_method, content_type, encoding_name;
    struct bytes header_error; /* what made a header unacceptable: HTTP 400, code 13 */
    LIST_ENTRY(grpc_call) link;
    TAILQ_ENTRY(grpc_call) work_link;
    SLIST_ENTRY(grpc_call) pool_link;
};

/* One request header. */
void request_header(struct grpc_call *call, struct bytes name, struct bytes value);
/* All headers are there: checks them, answers what cannot be served, else starts the call. */
void request_headers_done(struct grpc_call *call);

/* Interceptor, then on_open. */
void call_begin(struct grpc_call *call);
void call_data(struct grpc_call *call, struct bytes data);
void call_half_closed(struct grpc_call *call);
/* The stream is gone, or the local caller: the last thing that happens to a call. */
void call_stream_closed(struct grpc_call *call);
/* Tells the handler that nobody waits for the answer any more. */
void call_cancel(struct grpc_call *call, enum grpc_code code, struct bytes text);
/* Answers without a handler: trailers only, with that HTTP status. */
void call_refuse(struct grpc_call *call, int http_status, enum grpc_code code, struct bytes text);
/* One complete message, to be delivered. Returns false when the call ended. */
void call_message(struct grpc_call *call, struct bytes message, bool compressed);
void call_do_work(struct grpc_call *call);
/* Delivers what has been held while paused. */
void call_resume(struct grpc_call *call);
void call_arm_deadline(struct grpc_call *call);
ssize_t call_data_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *user_data);
/* Moves `length` bytes of the answer to the transport. */
void call_data_sent(struct grpc_call *call, size_t length);

/* local */
void local_send(struct grpc_call *call, const struct grpc_part *parts, size_t count, size_t size);
void local_finish(struct grpc_call *call);
/* Going on with messages that came while the handler had paused. */
void local_resume(struct grpc_call *call);

/* HTTP over HTTP/2, for requests that are not gRPC: makes an exchange of the call's headers in its place. */
void http2_exchange_begin(struct grpc_call *call);
void http2_exchange_data(struct http2_exchange *exchange, struct bytes data);
void http2_exchange_half_closed(struct http2_exchange *exchange);
void http2_exchange_closed(struct http2_exchange *exchange);
void http2_exchange_data_sent(struct http2_exchange *exchange, size_t length);
void http2_exchange_do_work(struct grpc_connection *connection);

#endif
