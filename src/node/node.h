/* node: one member's replicated state machine, deterministic and free of I/O.
 *
 * The node owns raft, the applied state (keys, leases, membership, alarms), the watches and the requests that
 * wait. It is driven by inputs and answers by outputs; it never blocks, reads no clock, starts no thread. The
 * same code runs in `etcd` between real disks and sockets, in the simulator, and in etcdtop's laboratory.
 *
 *   inputs   node_tick (time), node_submit / node_cancel (requests), node_watch_* (watch streams),
 *            node_message (peers), node_log_persisted, node_backend_committed, node_installed (disks)
 *   outputs  node_collect fills a struct node_ready: what to write to the log, to send, to commit, to answer
 *
 * The caller's loop, the same for server and simulator:
 *
 *     feed all inputs that have gathered; node_run(node); node_collect(node, &ready);
 *     hand each output to whoever does it; feed its completion back as an input when it is done.
 *
 * Order the caller must keep: log writes in the order handed out (completions come back in that order); at
 * most one backend batch is out at a time; replies may be delivered in any order.
 *
 * Threads: everything on the one thread that runs the node. Time: nanoseconds of a monotonic clock, `now`,
 * given with each node_tick and held until the next; wall-clock milliseconds are only used to make request
 * and lease ids unique.
 *
 * Life of a request:
 *
 *     a write   submit ─▶ propose ─▶ log write ∥ peers ─▶ committed ─▶ applied to mvcc and the active
 *               batch ─▶ reply
 *     a read    submit ─▶ one ReadIndex round for all that wait ─▶ applied up to it ─▶ served, in slices
 *               if large ─▶ reply
 *
 * Life of a snapshot, from a leader to a member that is behind everything the leader's log still holds:
 *
 *     leader    raft wants one sent ─▶ held ─▶ the backend is sealed, which fixes its index ─▶ committed ─▶
 *               node_ready.snapshots ─▶ (edge: reader, image on the wire) ─▶ node_snapshot_reported
 *     follower  (edge: image durable as <index>.snap.db) ─▶ node_message ─▶ log write with the snapshot ─▶
 *               node_log_persisted ─▶ node_ready.install ─▶ (edge: backend_install, node_state_open) ─▶
 *               node_installed
 *
 * While a snapshot is being installed raft goes on (it votes, appends, answers heartbeats) and everything
 * that reads or changes the applied state waits.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "api/errors.h"
#include "base/blob.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "raft/raft.h"

struct arena;
struct auth_store;
struct backend;
struct buf;
struct cluster;
struct watch_stream;
struct backend_batch;
struct node;
struct node_log_write;

/* ---- requests ---- */

/* What a client can ask of the node; the request message is the RPC's own (etcdserverpb). */
enum node_operation {
    NODE_RANGE,
    NODE_PUT,
    NODE_DELETE_RANGE,
    NODE_TXN,
    NODE_COMPACT,
    NODE_LEASE_GRANT,
    NODE_LEASE_REVOKE,
    NODE_LEASE_KEEP_ALIVE, /* one message of the stream */
    NODE_LEASE_TIME_TO_LIVE,
    NODE_LEASE_LEASES,
    NODE_MEMBER_LIST,
    NODE_MEMBER_ADD,
    NODE_MEMBER_REMOVE,
    NODE_MEMBER_UPDATE,
    NODE_MEMBER_PROMOTE, /* only the leader can: API_ERROR_NOT_LEADER elsewhere */
    NODE_ALARM,
    NODE_MOVE_LEADER, /* only the leader can, see NODE_MEMBER_PROMOTE */
    NODE_DOWNGRADE,
    NODE_STATUS,
    NODE_HASH,
    NODE_HASH_KV,
    NODE_SETTLE, /* answers when all that is applied by now is committed; no message, response: the
                    storage version if the backend names one */
    NODE_AUTH_ENABLE,
    NODE_AUTH_DISABLE,
    NODE_AUTH_STATUS,
    NODE_AUTH_PASSWORD, /* AuthenticateRequest, first half: response is the user's bcrypt hash, to be compared
                           elsewhere; the password in the message is not looked at */
    NODE_AUTHENTICATE, /* second half, InternalAuthenticateRequest: without the password, which has been found
                          right in the state of auth_revision; ask again when that has changed */
    NODE_USER_ADD,     /* with the password hashed, here and in the next */
    NODE_USER_CHANGE_PASSWORD,
    NODE_USER_DELETE,
    NODE_USER_GET,
    NODE_USER_LIST,
    NODE_USER_GRANT_ROLE,
    NODE_USER_REVOKE_ROLE,
    NODE_ROLE_ADD,
    NODE_ROLE_DELETE,
    NODE_ROLE_GET,
    NODE_ROLE_LIST,
    NODE_ROLE_GRANT_PERMISSION,
    NODE_ROLE_REVOKE_PERMISSION,
    NODE_OPERATION_COUNT,
};

/* Who a request says it is from, as far as the edge can tell. Looked at only while authentication is enabled.
 */
enum node_identity_kind {
    NODE_IDENTITY_NONE,
    NODE_IDENTITY_TOKEN,  /* `text` is a simple token, to be looked up */
    NODE_IDENTITY_CLAIMS, /* user `text` as of auth revision `revision`, in a signed token that was verified
                           */
    NODE_IDENTITY_CERTIFICATE, /* user `text`, the common name in a certificate that was verified */
    NODE_IDENTITY_REFUSED,     /* a token that cannot be right */
};

struct node_identity {
    enum node_identity_kind kind;
    struct bytes text;
    uint64_t revision;
    struct bytes token; /* as it was shown, for passing the request on to the leader */
};

/* One request. Allocated by the edge; the node borrows it from node_submit until it comes back, exactly once,
 * among node_ready.replies, with `error`/`response` filled. Until then `message`, `raw` and the memory under
 * them must not change. */
struct node_request {
    struct mail
        mail; /* the edge's to use while the node does not have the request; the node links replies with it */

    enum node_operation operation;
    const void *message; /* the decoded protobuf-c message */
    struct bytes raw;    /* the same, encoded as received: wrapped into the log entry without re-encoding */
    bool internal;       /* by the server itself (health checks): as root */
    struct node_identity identity; /* borrowed like the message */

    enum api_error error;   /* API_OK: response is valid */
    const char *error_text; /* not NULL: a failure outside the table (code Unknown) with this static text */
    struct blob *response;  /* the encoded response message; the edge drops it */
    /* What follows it in a large answer to a range; also the edge's to drop. */
    struct blob_list response_rest;
    bool for_leader;        /* with an error: only the leader can answer, so ask `leader` */
    uint64_t leader;        /* 0: nobody leads */
    uint64_t auth_revision; /* of the users and roles, when it was answered */

    /* For slow-request warnings and statistics. */
    int64_t submitted_at;    /* nanoseconds, set by node_submit */
    uint64_t response_count; /* keys in a range answer */

    /* The node's own, while it has the request. */
    struct {
        uint64_t began; /* reading, or applying a compaction; by config.now */
        uint64_t id;    /* of the proposal (InternalRaftRequest.header.ID), the key in the table of waiters */
        int64_t lease;  /* LeaseGrant: the id chosen; Compact: the revision it waits for */
        int64_t revision;                 /* Range: at which it is answered */
        uint64_t batch;                   /* waits until so many batches are committed; 0: not known yet */
        uint64_t member;                  /* MemberAdd: the id chosen */
        uint64_t auth_revision;           /* a read: of the state that allowed it; 0: nobody was asked */
        void *job;                        /* a range or hash in slices */
        bool registered;                  /* in the table of waiters */
        struct node_request_queue *queue; /* the queue it waits in */
        TAILQ_ENTRY(node_request) link;
        UT_hash_handle waiter;
    } node;
};
TAILQ_HEAD(node_request_queue, node_request);

/* ---- set-up ---- */

struct node_limits {
    uint64_t max_request_bytes; /* 1.5 MiB: larger proposals are refused */
    uint64_t max_txn_operations;
    uint64_t quota_bytes;          /* backend quota; 0 means none */
    uint64_t log_memory_bytes;     /* the in-memory log is compacted when it holds more and nobody needs it */
    uint64_t log_compact_step;     /* applied entries between compactions of the in-memory log */
    uint64_t max_message_bytes;    /* entries sent to a peer in one message; 0: one by one */
    uint64_t backend_memory_bytes; /* applying pauses while the uncommitted batches hold more */
    uint64_t compaction_rows;      /* rows looked at per slice */
    int64_t compaction_pause;      /* nanoseconds between slices */
    uint64_t range_slice;          /* keys served per slice of a large range */
    uint64_t watch_window_bytes;   /* bytes a watch stream may have undelivered before it is no longer fed */
};

/* The defaults of etcd 3.6 where it has them. */
struct node_limits node_limits_default(void);

struct node_config {
    uint64_t member_id;
    uint64_t cluster_id;
    int64_t tick; /* nanoseconds per raft tick (--heartbeat-interval) */
    unsigned election_ticks;
    bool pre_vote;
    uint64_t snapshot_count;         /* entries applied between snapshots on disk */
    uint64_t catch_up_entries;       /* entries kept in memory behind a snapshot for slow followers */
    int64_t backend_batch_interval;  /* nanoseconds */
    uint64_t backend_batch_limit;    /* operations */
    int64_t watch_progress_interval; /* nanoseconds */
    /* Nanoseconds after which the leader notes in the log how long a lease has left, so that the next leader
     * does not give it its whole time again; 0: never. Kept in the lease's row from cluster version 3.6 on,
     * or always. */
    int64_t lease_checkpoint_interval;
    bool lease_checkpoint_persist;
    struct node_limits limits;
    const char *name; /* published as the member's attributes */
    const char *const *client_urls;
    size_t client_url_count;
    const char *version; /* "3.6.14" */
    /* "3.5" or "3.5.0": the leader raises the cluster version no further, so that members of that version may
     * still follow. NULL: up to its own. */
    const char *max_cluster_version;
    bool priority_requests; /* revoking leases is accepted further behind than other writes */
    /* After a start: shorten the wait for a leader once connections to other members are up. */
    bool initial_tick_advance;
    size_t max_learners;              /* 0: 1 */
    int64_t downgrade_check_interval; /* nanoseconds; 0: as without a downgrade */
    bool strict_reconfig_check;       /* refuse membership changes that would cost the quorum */
    cluster_sha1 *sha1;               /* what ids of added members are made of */
    bool simple_tokens;               /* logins make tokens here; otherwise the edge makes signed ones */
    int64_t token_ttl;                /* nanoseconds a simple token lasts unused */
    /* The bcrypt hash of a password, for entries of members older than 3.5, which log passwords as they are:
     * appended to `hash`. The salt is the same on every member. NULL: such users get no usable password. */
    void (*hash_password)(struct bytes password, const uint8_t salt[16], struct buf *hash);
    uint64_t seed;
    const struct logger *logger;
    /* Measures durations for metrics and warnings, in nanoseconds; decides nothing. NULL: not measured. */
    uint64_t (*now)(void *context);
    void *now_context;
    int64_t slow_apply; /* nanoseconds of applying or reading from which is warned; 0: never */
};

/* What was found on disk; node_new takes its contents. */
struct node_recovery {
    struct backend *backend; /* open; the node uses its node side, the caller keeps ownership */
    struct raft_memory_storage
        *log;                /* snapshot, hard state and entries as read from the WAL; ownership moves */
    uint64_t snapshot_index; /* of the newest snapshot on disk; 0: none */
};

/* Builds the state from the backend (index, leases, members) and raft from the log. Entries at or below the
 * backend's consistent index are not applied again. Fails when log and backend contradict each other, naming
 * both indexes. */
struct error *node_new(const struct node_config *config, struct node_recovery *recovery, int64_t now,
                       uint64_t wall_ms, struct node **node) __attribute__((warn_unused_result));
/* Every request must have come back (node_stop, then collect). Frees what node_new took; not the backend. */
void node_free(struct node *node);

/* What is built from a backend and lives in memory: key index, leases, members, alarms, users. */
struct node_state;
/* Builds it from the backend's node side. Needs no node and may take long: any thread that has the node side
 * to itself. An error: the backend holds what this member cannot serve. */
struct error *node_state_open(const struct node_config *config, struct backend *backend,
                              struct node_state **state) __attribute__((warn_unused_result));
/* Any thread. NULL is allowed. */
void node_state_free(struct node_state *state);

/* ---- inputs ---- */

/* Time has passed; `now` never decreases. At most one raft tick happens per call however late it comes, so
 * that a paused process does not believe that it heard nobody for many ticks. */
void node_tick(struct node *node, int64_t now, uint64_t wall_ms);
void node_submit(struct node *node, struct node_request *request);
/* The client gave up: the request comes back soon (API_ERROR_CANCELED); a proposal already made may still be
 * applied. */
void node_cancel(struct node *node, struct node_request *request);

struct watch_stream *node_watch_open(struct node *node, void *owner);
/* One WatchRequest of the stream, decoded (etcdserverpb WatchRequest), and whose it is; both are borrowed for
 * the call. What its user may watch is checked when a watch is created and not again, as in etcd. */
void node_watch_request(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                        const void *watch_request);
/* `bytes` (watch_message.size) of earlier messages have left for the client: the stream may be fed again. */
void node_watch_delivered(struct node *node, struct watch_stream *stream, size_t bytes);
/* The stream is gone; no message for its owner is collected after this. */
void node_watch_close(struct node *node, struct watch_stream *stream);

/* A message from a peer; borrowed. Malformed or misplaced ones return an error and change nothing. A
 * RAFT_SNAP must come after its database: complete, checked (member_check_image) and durable under its name
 * (snap_receive_database). Raft may ignore it; then the file is removed with other old ones. */
struct error *node_message(struct node *node, const struct raft_message *message)
    __attribute__((warn_unused_result));
/* A message to that member was not delivered: until it is heard again, entries are sent to it one message at
 * a time. */
void node_peer_unreachable(struct node *node, uint64_t id);
/* A connection to this member is up since that time; 0: none is any more. */
void node_peer_active(struct node *node, uint64_t id, int64_t since);
/* What became of a message among node_ready.snapshots; each of them must be reported once. */
void node_snapshot_reported(struct node *node, uint64_t id, bool success);
/* The server version that another member reports; NULL: it is not known any more. The leader settles the
 * cluster's version by these. */
void node_peer_version(struct node *node, uint64_t id, const char *version);

/* The oldest log write handed out is durable. */
void node_log_persisted(struct node *node, struct node_log_write *write);
/* The batch is committed (backend_commit returned); gives it back to the backend. */
struct error *node_backend_committed(struct node *node, struct backend_batch *batch)
    __attribute__((warn_unused_result));
/* The backend's file was replaced by backend_defragment: reads move to the new one. */
struct error *node_backend_replaced(struct node *node) __attribute__((warn_unused_result));
/* node_ready.install is carried out; `state` was built from the new backend. It is exchanged: afterwards it
 * holds the former state, for the caller to free (which takes long: elsewhere). */
void node_installed(struct node *node, struct node_state *state);

/* What node_hand_over came to. */
enum node_hand_over {
    NODE_HANDING_OVER, /* soon somebody else leads, or, after an election timeout, this member still does */
    NODE_HAND_OVER_NOT_LEADER,
    NODE_HAND_OVER_ALONE,  /* there is no other voter */
    NODE_HAND_OVER_NOBODY, /* none of them has been heard lately */
};
/* Before an orderly end: a leader lets the voter take over whose log is the furthest. */
enum node_hand_over node_hand_over(struct node *node);

/* No new requests: everything waiting is answered with API_ERROR_STOPPED. */
void node_stop(struct node *node);

/* Does the work that is due: raft's ready, applying, one slice each of large ranges, compaction, watch
 * catch-up. */
struct error *node_run(struct node *node) __attribute__((warn_unused_result));

/* ---- outputs ---- */

/* One write to the log: entries and hard state, to be made durable in order, then fed back to
 * node_log_persisted, which frees it. With `must_sync` false durability may wait for the next one. */
struct node_log_write {
    struct mail mail;                  /* links node_ready.log_writes, oldest first; then the edge's */
    struct raft_hard_state hard_state; /* all zero: unchanged */
    struct raft_entry *entries;        /* each with a reference on its data */
    size_t entry_count;
    bool must_sync;
    /* Not NULL: before anything else save this snapshot's .snap file, then its WAL record; when all of the
     * write is durable, release older files. `data` is what members of 3.4 to 3.6 want to find in the file.
     */
    struct raft_snapshot *snapshot;
    void *state; /* the node's own */
};

struct node_peer_message {
    struct mail mail;
    struct raft_message message; /* owned: raft_message_deinit, free */
};

struct node_ready {
    struct mail *replies;        /* struct node_request, by .mail */
    struct mail *watch_messages; /* struct watch_message */
    struct mail *log_writes;     /* struct node_log_write */
    struct mail *peer_messages;  /* struct node_peer_message, none of them RAFT_SNAP */
    /* struct node_peer_message, each a RAFT_SNAP: before `batch` is handed on begin a backend reader for
     * each, whose consistent index is the message's (backend_reader_index); send the message and the reader's
     * image; end in node_snapshot_reported. */
    struct mail *snapshots;
    struct backend_batch *batch; /* commit it, then node_backend_committed; or NULL */
    /* Not 0: the backend is to be replaced by the database received for this index: backend_install, then
     * node_state_open, then node_installed. Until then the backend's node side belongs to whoever does that,
     * and no batch is out. What fails there is final. */
    uint64_t install;
    bool more;       /* slices are left: call node_run again soon, after taking inputs */
    int64_t wake_at; /* call node_tick and node_run by then even without input */
    bool published;  /* client requests can be served: the member is known to the cluster under its name */
    bool removed;    /* the member was removed from the cluster: stop for good */
    bool membership_changed; /* node_cluster differs from what it was at the last node_collect */
};

void node_collect(struct node *node, struct node_ready *ready);

/* ---- looking at it (status RPC, metrics, laboratory, tests) ---- */

/* Members, removed ids and versions as applied; borrowed until the next node_run (cluster_copy it). */
const struct cluster *node_cluster(const struct node *node);

struct node_status {
    uint64_t leader;
    uint64_t term;
    uint64_t committed;
    uint64_t applied;
    bool is_learner;
    uint64_t backend_size;
    uint64_t backend_size_in_use;
    int64_t revision;
    int64_t compact_revision;
    uint64_t keys;
    uint64_t watchers;
    uint64_t slow_watchers;
    uint64_t watch_streams;
    uint64_t leases;
    uint64_t proposals_pending;
    bool alarm_nospace;
    bool alarm_corrupt;
    bool auth_enabled;
    uint64_t auth_revision;
};
void node_status(const struct node *node, struct node_status *status);

/* What an entry can hold, for the durations of applying it. */
enum node_apply_kind {
    NODE_APPLY_PUT,
    NODE_APPLY_DELETE_RANGE,
    NODE_APPLY_TXN,
    NODE_APPLY_COMPACTION,
    NODE_APPLY_LEASE_GRANT,
    NODE_APPLY_LEASE_REVOKE,
    NODE_APPLY_ALARM,
    NODE_APPLY_LEASE_CHECKPOINT,
    NODE_APPLY_CLUSTER_VERSION_SET,
    NODE_APPLY_CLUSTER_MEMBER_ATTR_SET,
    NODE_APPLY_DOWNGRADE_INFO_SET,
    NODE_APPLY_AUTH_ENABLE,
    NODE_APPLY_AUTH_DISABLE,
    NODE_APPLY_AUTH_STATUS,
    NODE_APPLY_AUTHENTICATE,
    NODE_APPLY_AUTH_USER_ADD,
    NODE_APPLY_AUTH_USER_CHANGE_PASSWORD,
    NODE_APPLY_AUTH_USER_DELETE,
    NODE_APPLY_AUTH_USER_GET,
    NODE_APPLY_AUTH_USER_LIST,
    NODE_APPLY_AUTH_USER_GRANT_ROLE,
    NODE_APPLY_AUTH_USER_REVOKE_ROLE,
    NODE_APPLY_AUTH_ROLE_ADD,
    NODE_APPLY_AUTH_ROLE_DELETE,
    NODE_APPLY_AUTH_ROLE_GET,
    NODE_APPLY_AUTH_ROLE_LIST,
    NODE_APPLY_AUTH_ROLE_GRANT_PERMISSION,
    NODE_APPLY_AUTH_ROLE_REVOKE_PERMISSION,
    NODE_APPLY_KINDS,
};

enum { NODE_ALARMS_SHOWN = 16 };

/* Bumped by the node, read by any thread. */
struct node_metrics {
    metric_counter puts, deletes, ranges, txns;
    metric_counter proposals_failed, leader_changes, slow_applies, read_indexes_failed, slow_read_indexes;
    metric_counter leases_granted, leases_revoked, leases_renewed, leases_expired;
    metric_counter events;
    metric_gauge has_leader, is_leader, is_learner, proposals_committed, proposals_applied, proposals_pending;
    metric_gauge leader, term, keys, watchers, slow_watchers, watch_streams, pending_events, revision,
        compact_revision;
    metric_gauge put_bytes, db_compaction_last, db_size, db_size_in_use, open_read_transactions, leases;
    metric_gauge alarm_nospace, alarm_corrupt, published; /* the first two: of so many members */
    metric_counter alarm_members[2][NODE_ALARMS_SHOWN];   /* whose: [0] NOSPACE, [1] CORRUPT */
    metric_counter learner_promotes, learner_promote_failures[API_ERROR_COUNT];
    metric_counter heartbeat_send_failures;
    metric_gauge applying_snapshot;
    metric_gauge auth_enabled, auth_revision;
    metric_gauge cluster_version, storage_version; /* 1000 * major + minor; 0: not decided, not known */
    metric_counter compacted_keys;
    struct metric_histogram apply[NODE_APPLY_KINDS][2]; /* [1]: with success */
    struct metric_histogram range[2];
    struct metric_histogram hash, hash_revision;
    struct metric_histogram lease_ttl;                          /* of leases granted */
    struct metric_histogram compaction_pause, compaction_total; /* of one slice, of all */
};
struct node_metrics *node_metrics(struct node *node);

/* The mvcc store, users and roles, and the raft member, for tests, checkers and the laboratory only. */
struct mvcc_store *node_store(struct node *node);
const struct auth_store *node_auth(const struct node *node);
const struct raft *node_raft(const struct node *node);

#endif
