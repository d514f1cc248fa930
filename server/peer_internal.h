/* The inside of the peer transport.
 *
 *   peer.c            the members, their addresses, who is removed; dealing messages out and handing them in
 *   peer_stream.c     writers (their GETs to us) and readers (our GETs to them)
 *   peer_pipeline.c   POST /raft
 *   peer_prober.c     round trips and versions of the others
 *   peer_forward.c    requests that only the leader can answer
 *   peer_hash.c       hashes of the others' data
 *   peer_snapshot_send.c, peer_snapshot_receive.c
 *                     POST /raft/snapshot
 *   peer_handlers.c   what the peer ports answer
 *   peer_codec.c      how messages lie in streams
 */
#ifndef SERVER_PEER_INTERNAL_H
#define SERVER_PEER_INTERNAL_H

#include "base/list.h"
#include "net/http1.h"
#include "server/http_endpoints.h"
#include "server/peer.h"
#include "server/peer_codec.h"

enum {
    PEER_ID_SIZE = 17,
    PEER_WRITER_QUEUE_MAX = 4096, /* messages that wait for a stream */
    PEER_PIPELINE_QUEUE_MAX = 64, /* messages that wait for a POST */
    PEER_PIPELINE_POSTS = 4,      /* POSTs under way */
    PEER_RECEIVE_MAX = 4096,      /* received messages that wait for the node, per member */
    PEER_FORWARD_CLIENTS = 256,   /* connections for requests to a leader */
    PEER_REMOTES_MAX = 64,        /* members known by their addresses alone */
    PEER_HEADERS_MAX = 8,
    PEER_VERSION_SIZE = 40,
};

/* Bytes of received entries that may wait for the node, over all members. */
#define PEER_RECEIVE_BYTES_MAX ((size_t)512 << 20)
#define PEER_PROMOTE_PATH      "/members/promote/" /* and the id, decimal */
/* A member that was removed may have led and is just handing over: it is heard for so long. */
#define PEER_LEAVING         (500 * LOOP_MILLISECOND)
#define PEER_RETRY           (100 * LOOP_MILLISECOND)
#define PEER_ALIVE_INTERVAL  (5 * LOOP_SECOND / 3)
#define PEER_REPORT_INTERVAL (50 * LOOP_MILLISECOND)

/* Messages that wait, oldest first. */
struct peer_queue {
    struct mail *oldest;
    struct mail **end;
    size_t count;
};

/* Their GET: we send. */
struct peer_writer {
    struct peer *peer;
    enum peer_stream stream;
    struct http_exchange *exchange; /* NULL: they have opened none */
    struct peer_codec codec;
    struct peer_queue queue;
    size_t pending_before; /* what lay unsent at the last sign of life */
    int64_t moved_at;      /* when something of it left */
};

/* Our GET: they send. */
struct peer_reader {
    struct peer *peer;
    enum peer_stream stream;
    struct http1_client *client; /* NULL: waits for its next try */
    struct http1_client_request *request;
    size_t url; /* that it was made for */
    struct peer_codec codec;
    struct loop_timer retry;
    int64_t heard_at;
    bool attached;
    char *why; /* it ended, when we have ended it */
};

struct peer_post {
    struct peer *peer;
    struct http1_client *client;
    struct http1_client_request *request; /* NULL: free for the next message */
    size_t url;                           /* that the client was made for */
};

struct peer_prober {
    struct peer *peer;
    struct http1_client *client;
    struct http1_client_request *request;
    struct loop_timer next;
    size_t url;
    int64_t asked_at;
    int64_t smoothed; /* round trip, nanoseconds */
    bool unhealthy, told_drift;
    char version[PEER_VERSION_SIZE]; /* "": not known */
};

/* Another member. */
struct peer {
    struct peers *peers;
    LIST_ENTRY(peer) link;
    uint64_t id;
    char id_text[PEER_ID_SIZE];
    struct cluster_urls urls; /* sorted */
    size_t url;               /* in use by streams and pipeline */
    struct peer_writer writers[PEER_STREAMS];
    struct peer_reader readers[PEER_STREAMS];
    struct peer_queue posts_waiting;
    struct peer_post posts[PEER_PIPELINE_POSTS];
    struct peer_prober prober;
    struct http1_client *forward_clients[PEER_FORWARD_CLIENTS]; /* in use from the first on */
    size_t forward_turn;                                        /* whose turn it is when all are busy */
    bool is_remote;       /* known by its addresses alone, until the membership tells of it: no streams, no
                             prober */
    int64_t active_since; /* 0: it is not */
    int64_t reported_at;  /* as unreachable */
    size_t receiving;     /* messages that the node has not taken yet */
    struct peer_metrics *metrics;
    struct loop_timer leaving; /* set: it is no member any more */
    bool closing;
};

/* Kept as long as the process, for readers on other threads. */
struct peer_metrics_entry {
    struct peer_metrics metrics;
    struct peer_metrics_entry *next;
};

struct peers {
    struct peers_config config;
    const struct logger *logger;
    struct engine *engine;
    struct http_router router;
    LIST_HEAD(, peer) list;
    LIST_HEAD(, forward) forwards;
    struct peer_hash_round *hash_round; /* NULL: no hashes are being asked for */
    LIST_HEAD(, peer_sending) sendings;
    LIST_HEAD(, peer_receiving) receivings;
    size_t helpers;          /* jobs that helper threads have */
    struct cluster *cluster; /* NULL: not known yet */
    char cluster_id_text[PEER_ID_SIZE], member_id_text[PEER_ID_SIZE];
    char *own_urls_text;
    struct version version;
    struct buf scratch;

    /* From other threads. */
    struct mailbox outgoing, memberships, questions, snapshots;
    struct loop_task wake;
    atomic_bool woken; /* wake is posted */

    /* On its way to the node. */
    struct peer_batch *batch;
    struct loop_deferred hand_in;
    size_t receiving_bytes;

    struct loop_timer alive;
    _Atomic(struct peer_metrics_entry *) metrics;
    bool closed;
    bool told_removed;
};

/* ---- peer.c ---- */

struct peer *peers_find(const struct peers *peers, uint64_t id);
/* A message from `peer` for the node; taken. Drops it when too many wait. */
void peer_receive(struct peer *peer, struct raft_message *message);
void peer_became_active(struct peer *peer, const char *why);
void peer_became_inactive(struct peer *peer, const char *why);
/* Tells the node, now and then. */
void peer_report_unreachable(struct peer *peer);
void peers_report_snapshot(struct peers *peers, uint64_t id, bool success);
void peer_report_version(struct peer *peer, const char *version); /* NULL: not known */
/* An address has failed: the next one's turn, unless that has been seen already. */
void peer_url_failed(struct peer *peer, size_t url);
/* A client of that address; NULL when it cannot be used. The first one belongs to no member. */
struct http1_client *peer_client_for(struct loop *loop, const char *url,
                                     const struct transport_security *security, int64_t connect_timeout);
struct http1_client *peer_client(struct peer *peer, size_t url);
/* The headers of a request to `peer`; returns their number. */
size_t peer_headers(const struct peer *peer, struct http_header headers[PEER_HEADERS_MAX]);
void peers_were_removed(struct peers *peers, uint64_t by);
/* Any thread: something is in a mailbox. */
void peers_wake(struct peers *peers);

void peer_queue_put(struct peer_queue *queue, struct mail *mail);
struct node_peer_message *peer_queue_take(struct peer_queue *queue); /* NULL: empty */
void peer_queue_drop(struct peer_queue *queue);
void peer_message_free(struct node_peer_message *message);

/* ---- peer_stream.c ---- */

void peer_streams_init(struct peer *peer);
void peer_streams_start(struct peer *peer);
void peer_streams_stop(struct peer *peer);
/* Takes the message; false when the member has not opened that stream. */
bool peer_writer_put(struct peer_writer *writer, struct node_peer_message *message);
/* Sends what waits, as far as the connection takes it. */
void peer_writer_pump(struct peer_writer *writer);
/* The other member has opened the stream: answers it, replaces an older one. */
void peer_writer_attach(struct peer_writer *writer, struct http_exchange *exchange);
void peer_writer_closed(struct http_exchange *exchange);
void peer_writer_writable(struct http_exchange *exchange);
/* Signs of life out, dead connections cut. */
void peer_streams_tick(struct peer *peer, int64_t now);

/* ---- peer_pipeline.c ---- */

void peer_pipeline_init(struct peer *peer);
void peer_pipeline_put(struct peer *peer, struct node_peer_message *message);
void peer_pipeline_stop(struct peer *peer);

/* ---- peer_prober.c ---- */

void peer_prober_init(struct peer *peer);
void peer_prober_start(struct peer *peer);
void peer_prober_stop(struct peer *peer);
/* The answer to GET /version; appends. False: it cannot be understood, or the server's is no version. */
bool peer_parse_versions(struct bytes body, struct buf *server, struct buf *cluster);

/* ---- peer_forward.c ---- */

/* Takes a request from peers_ask_leader. */
void peer_forward(struct peers *peers, struct node_request *request);
void peer_forward_stop(struct peer *peer);
/* Everything that is under way is answered: the server stops. */
void peer_forward_close(struct peers *peers);
/* LeaseInternalRequest and LeaseInternalResponse are their field 1. */
bool peer_forward_unwrap(struct bytes message, struct bytes *inner);

/* ---- peer_hash.c ---- */

/* The round that is under way ends: who has not answered is silent. peers->closed is set. */
void peer_hash_close(struct peers *peers);

/* ---- peer_snapshot_send.c ---- */

/* Takes what peers_send_snapshot has put into the mailbox. */
void peer_sending_begin(struct peers *peers, struct mail *mail);
void peer_sendings_stop(struct peer *peer);

/* ---- peer_snapshot_receive.c ---- */

/* A request that was found in order, as far as its headers go; the other three are its handler's. */
void peer_receiving_begin(struct peers *peers, struct peer *from, struct http_exchange *exchange);
void peer_receiving_body(struct http_exchange *exchange, struct bytes piece);
void peer_receiving_end(struct http_exchange *exchange);
void peer_receiving_closed(struct http_exchange *exchange);
void peer_receivings_stop(struct peers *peers);
void peer_receivings_free(struct peers *peers);

/* ---- peer_handlers.c ---- */

/* 1 to 16 hexadecimal digits. */
bool peer_parse_id(struct bytes text, uint64_t *id);
void peer_handlers_router(struct http_router *router, struct peers *peers);

#endif
