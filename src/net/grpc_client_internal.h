/* The insides of the gRPC client: grpc_channel.c (states, connections) and grpc_client_call.c (calls). */
#ifndef NET_GRPC_CLIENT_INTERNAL_H
#define NET_GRPC_CLIENT_INTERNAL_H

#include "base/list.h"
#include "base/rng.h"
#include "net/grpc_client.h"
#include "net/grpc_frame.h"

#include <nghttp2/nghttp2.h>

struct client_connection;

LIST_HEAD(client_call_list, grpc_client_call);

struct grpc_channel {
    struct loop *loop;
    struct grpc_channel_config config;
    char *address, *authority, *user_agent, *server_name;
    enum grpc_channel_state state;
    char *error;
    struct transport_connect *dialing;
    struct client_connection *current;                  /* being made or ready; not the draining ones */
    LIST_HEAD(, client_connection) connections;         /* all */
    TAILQ_HEAD(waiting_list, grpc_client_call) waiting; /* calls that have no stream yet */
    struct client_call_list calls;                      /* all whose on_close is to come */
    size_t call_count;
    bool wanted; /* somebody asked to connect */
    bool freed;  /* grpc_channel_free was called */
    struct loop_deferred work;
    struct loop_timer timer; /* CONNECTING: the time limit; TRANSIENT_FAILURE: the pause */
    int64_t backoff;         /* the next pause, before jitter; 0: the first */
    struct rng rng;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
};

struct client_connection {
    struct grpc_channel *channel;
    struct transport *transport;
    nghttp2_session *session; /* NULL until the handshake is done */
    LIST_ENTRY(client_connection) link;
    struct client_call_list calls; /* with a stream here */
    bool ready;                    /* the server's SETTINGS have come */
    bool draining;                 /* no new calls */
    bool closing;
    int32_t goaway_last; /* INT32_MAX: none came */
    struct loop_deferred flush;
    struct loop_timer keepalive;
    int64_t last_read, ping_sent;
};

struct grpc_client_call {
    struct grpc_channel *channel;
    unsigned references;                  /* one until on_close, one while there is a stream */
    struct client_connection *connection; /* NULL: waiting, or its stream is closed */
    const struct grpc_client_handler *handler;
    void *context;
    struct arena *arena;
    struct bytes path;
    struct grpc_metadata *metadata;
    size_t metadata_count;
    int64_t deadline;
    size_t receive_limit, send_limit;
    int32_t stream_id;
    bool wait_for_ready : 1, unary : 1;
    bool is_waiting : 1;  /* in the channel's list */
    bool done : 1;        /* on_close has been called */
    bool send_closed : 1; /* half-closed by us */
    bool data_deferred : 1;
    bool high : 1, writable : 1;
    bool paused : 1, resume : 1;
    bool response_seen : 1; /* the first headers were complete */
    bool message_seen : 1;
    bool too_large : 1; /* a message to send was: ends at the next timer */
    bool end_waits : 1; /* the status is known; held messages go first */
    bool content_type_seen : 1, content_type_valid : 1;
    bool gzip : 1, status_seen : 1;
    int http_status;
    struct loop_timer timer;
    struct loop_deferred work; /* on_writable, going on after a pause */
    struct grpc_frame_reader reader;
    struct buf held;
    size_t unconsumed;
    struct chain output;
    /* the end */
    enum grpc_code code;
    struct bytes text, content_type, encoding_name;
    bool unprocessed, from_server;
    struct grpc_metadata *received; /* headers, then trailers */
    size_t received_count, received_capacity;
    LIST_ENTRY(grpc_client_call) link;     /* in the connection's list */
    LIST_ENTRY(grpc_client_call) all_link; /* in the channel's */
    TAILQ_ENTRY(grpc_client_call) waiting_link;
};

void client_flush_later(struct client_connection *connection);
void channel_work_later(struct grpc_channel *channel);

/* Opens the stream. */
void client_call_start(struct grpc_client_call *call, struct client_connection *connection);
/* Decides how the call ends; on_close follows at once, or when what is held has been delivered. */
void client_call_end(struct grpc_client_call *call, enum grpc_code code, struct bytes text, bool unprocessed);
/* The same with the server's own status, already in the call. */
void client_call_end_by_server(struct grpc_client_call *call);
void client_call_header(struct grpc_client_call *call, struct bytes name, struct bytes value);
void client_call_headers_done(struct grpc_client_call *call, bool end_stream);
void client_call_data(struct grpc_client_call *call, struct bytes data);
void client_call_data_end(struct grpc_client_call *call);
void client_call_data_sent(struct grpc_client_call *call, size_t length);
/* The stream is closed; the call may be freed by this. code: of RST_STREAM. */
void client_call_stream_closed(struct grpc_client_call *call, uint32_t code);
/* The connection is gone. */
void client_call_lost(struct grpc_client_call *call, const char *reason);

#endif
