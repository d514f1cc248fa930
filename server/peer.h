/* peers: this member's connections with the other members, in etcd's own peer protocol.
 *
 *     node thread ──peers_send──▶ ┌ peers (one loop) ──────────────────────────────┐
 *                                 │ writer  message stream   the body of their GET │ ──▶
 *                                 │ writer  msgapp stream    the body of their GET │ ──▶  other
 *                                 │ pipeline, snapshots      our POSTs             │ ──▶  members
 *     node thread ◀─engine_post── │ readers                  our GETs to them      │ ◀──
 *                                 │ handlers                 their POSTs to us     │ ◀──
 *                                 └────────────────────────────────────────────────┘
 *
 * A message goes out on the stream of its kind when the other member has opened one, else by a POST. Nothing
 * is kept for later: what finds its queue full or its connection broken is dropped and the node is told
 * that the member is unreachable; raft repeats what matters. Connections are remade for ever, every 100 ms.
 *
 * Who the members are comes from the applied state (peers_set_membership); until the first one arrives nobody
 * is known and everybody is asked to come again (404). Members that are known by their addresses alone
 * ("remotes": this one is joining, or the other one is and is not yet applied here) get their messages by
 * POSTs. Removed members are told so (410), which makes them end.
 *
 * Threads: everything on `loop`, but for the functions marked "any thread".
 */
#ifndef SERVER_PEER_H
#define SERVER_PEER_H

#include "base/metrics.h"
#include "cluster/corruption.h"
#include "net/http.h"
#include "server/engine.h"

struct http_endpoints;
struct peers;

struct peers_config {
    struct loop *loop;
    uint64_t member_id;
    uint64_t cluster_id;
    const char *version;                       /* X-Server-Version: X.Y.Z; borrowed */
    const struct cluster_urls *own_urls;       /* as advertised to peers; borrowed */
    const struct transport_security *security; /* for https addresses; NULL: they cannot be reached */
    struct http_endpoints *endpoints;          /* for /version; borrowed */
    const char *local_address;                 /* where connections begin, numeric; NULL: anywhere */
    int64_t dial_timeout;                      /* nanoseconds */
    int64_t request_timeout;                   /* nanoseconds; for whole requests */
    int64_t read_timeout, write_timeout; /* nanoseconds; a stream on which nothing moves so long is dead */
    const struct token_provider *tokens; /* whose those are that other members pass on */
    const struct logger *logger;
    struct fs *fs; /* where received databases go */
    const char *snap_directory;
    struct snap_metrics *snap_metrics;
    uint64_t (*now)(void *context); /* nanoseconds, to measure writing with */
    /* Another member says that this one was removed from the cluster; once. */
    void (*on_removed)(void *context);
    void *context;
};

/* Any thread, before the loop runs. */
struct peers *peers_new(const struct peers_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* Where received messages go, which must be there before the loop runs. */
void peers_set_engine(struct peers *peers, struct engine *engine);
/* A member whose addresses are known although the membership does not tell of it (yet): it is answered, and
 * nothing is asked of it. Before the loop runs, then the loop thread. */
void peers_add_remote(struct peers *peers, uint64_t id, const struct cluster_urls *urls);
/* Ends all connections and requests; no engine_post follows. Messages that still come are dropped. */
void peers_close(struct peers *peers);
/* Closed; helper threads are still reading or writing a database: run the loop until they are not. */
bool peers_are_busy(const struct peers *peers);
/* Closed (or never run), not busy, and the loop has ended. NULL is allowed. */
void peers_free(struct peers *peers);

/* Any thread: struct node_peer_message, oldest first; taken. */
void peers_send(struct peers *peers, struct mail *messages);
/* Any thread: engine_config.on_snapshot. */
void peers_send_snapshot(struct peers *peers, struct node_peer_message *message,
                         const struct backend_reader *reader);
/* Any thread: the cluster as it is now; copied. */
void peers_set_membership(struct peers *peers, const struct cluster *cluster);

/* Node thread: a request that only the leader can answer (node_request.for_leader), of a struct rpc, is sent
 * to it, tried here or there again, and in the end answered: the engine's on_reply is over with it. */
void peers_ask_leader(struct peers *peers, struct node_request *request);

/* Asks every other member for its HashKV at `revision`; one round at a time. `done` gets an answer for each,
 * borrowed for the call, within the request timeout; it may be called before this returns. Loop thread. */
typedef void peers_hashes_done(void *context, const struct corruption_answer *answers, size_t count);
void peers_ask_hashes(struct peers *peers, int64_t revision, peers_hashes_done *done, void *context);

/* For the servers of the peer ports, which must be on the same loop. */
const struct http_router *peers_router(const struct peers *peers);

enum { PEER_SENT, PEER_RECEIVED };

struct peer_snapshot_metrics {
    metric_counter successes, failures;
    metric_gauge in_flight;
    struct metric_histogram duration; /* of successes */
};

/* What the network_peer_* and network_snapshot_* metrics say of one member. */
struct peer_metrics {
    uint64_t id;
    metric_counter sent_bytes, received_bytes, sent_failures, received_failures, disconnects;
    metric_gauge active;
    struct metric_histogram round_trip;
    struct peer_snapshot_metrics snapshots[2]; /* [PEER_SENT], [PEER_RECEIVED] */
};
/* Any thread: calls `visit` for each member that was ever known, in no order. */
void peers_visit_metrics(struct peers *peers, void (*visit)(void *context, struct peer_metrics *metrics),
                         void *context);

#endif
