/* The inside of src/node: the struct that its files share, and what each offers the others.
 *
 *   node.c      life, time, the order of work in node_run, node_collect
 *   propose.c   writes on their way into the log: quota, encoding, waiters, timeouts
 *   apply.c     committed entries: dispatch by kind, effects, answers
 *   read.c      linearizable reads in batches, ranges in slices, the local calls (status, hashes, leases)
 *   persist.c   raft's storage messages, the in-memory log, sealing the backend
 *   snapshot.c  snapshots: own ones on disk, those sent, those received
 *   members.c   configuration changes, publishing the member, cluster version
 *   member_change.c  MemberAdd and its kin, on their way into the log
 *   orders.c    what an operator orders: MoveLeader, Downgrade
 *   alarms.c    the alarm rows
 *   authorize.c      who asks, and whether it may
 *   authentication.c users, roles and logins: what their entries do
 *   watching.c  watch requests of streams
 *   recover.c   node_new, the state that is built from a backend
 *   observe.c   how long things take: metrics and warnings
 *   trace.c     where the time of slow requests went
 */
#ifndef NODE_NODE_INTERNAL_H
#define NODE_NODE_INTERNAL_H

#include "auth/check.h"
#include "auth/store.h"
#include "auth/tokens.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/rng.h"
#include "cluster/cluster.h"
#include "lease/lessor.h"
#include "mvcc/kv.h"
#include "mvcc/kv_check.h"
#include "mvcc/watch.h"
#include "node/node.h"
#include "raft/memory_storage.h"
#include "storage/backend.h"

#include <protobuf-c/protobuf-c.h>

#define NODE_SECOND      INT64_C(1000000000)
#define NODE_MILLISECOND INT64_C(1000000)

enum {
    NODE_APPLY_GAP_MAX = 5000,    /* committed - applied beyond which proposals are refused */
    NODE_READ_INDEX_IDS_MAX = 64, /* re-sent ReadIndex requests remembered per batch */
    NODE_ALARMS_MAX = 1024,
    NODE_SNAPSHOTS_MAX = 16, /* RAFT_SNAP messages that wait */
    NODE_VERSION_SIZE = 40,  /* room for a version as text */
};

/* The messages of InternalRaftRequest. */
enum node_field {
    NODE_FIELD_V2 = 2,
    NODE_FIELD_RANGE = 3,
    NODE_FIELD_PUT = 4,
    NODE_FIELD_DELETE_RANGE = 5,
    NODE_FIELD_TXN = 6,
    NODE_FIELD_COMPACTION = 7,
    NODE_FIELD_LEASE_GRANT = 8,
    NODE_FIELD_LEASE_REVOKE = 9,
    NODE_FIELD_ALARM = 10,
    NODE_FIELD_LEASE_CHECKPOINT = 11,
    NODE_FIELD_HEADER = 100,
    NODE_FIELD_AUTH_ENABLE = 1000,
    NODE_FIELD_AUTH_DISABLE = 1011,
    NODE_FIELD_AUTHENTICATE = 1012,
    NODE_FIELD_AUTH_STATUS = 1013,
    NODE_FIELD_AUTH_USER_ADD = 1100,
    NODE_FIELD_AUTH_USER_DELETE = 1101,
    NODE_FIELD_AUTH_USER_GET = 1102,
    NODE_FIELD_AUTH_USER_CHANGE_PASSWORD = 1103,
    NODE_FIELD_AUTH_USER_GRANT_ROLE = 1104,
    NODE_FIELD_AUTH_USER_REVOKE_ROLE = 1105,
    NODE_FIELD_AUTH_USER_LIST = 1106,
    NODE_FIELD_AUTH_ROLE_LIST = 1107,
    NODE_FIELD_AUTH_ROLE_ADD = 1200,
    NODE_FIELD_AUTH_ROLE_DELETE = 1201,
    NODE_FIELD_AUTH_ROLE_GET = 1202,
    NODE_FIELD_AUTH_ROLE_GRANT_PERMISSION = 1203,
    NODE_FIELD_AUTH_ROLE_REVOKE_PERMISSION = 1204,
    NODE_FIELD_CLUSTER_VERSION_SET = 1300,
    NODE_FIELD_MEMBER_ATTRIBUTES_SET = 1301,
    NODE_FIELD_DOWNGRADE_INFO_SET = 1302,
};

struct alarm {
    uint64_t member_id;
    int type; /* Etcdserverpb__AlarmType */
};

/* What is known of another member's process. */
struct node_member_version {
    uint64_t id;
    struct version version; /* zero: not known */
    int64_t active_since;   /* a connection to it is up since then; 0: none is */
    int64_t heartbeat_at;   /* when the last one was sent to it */
};

/* FIFO of mails on their way out. */
struct node_outbox {
    struct mail *oldest;
    struct mail **end;
};

/* RAFT_SNAP messages that wait, oldest first. */
struct node_held_snapshots {
    struct node_peer_message *items[NODE_SNAPSHOTS_MAX];
    size_t count;
};

struct node_state {
    struct lessor *lessor;
    struct mvcc_store *store;
    struct cluster *cluster;
    struct auth_store *auth;
    struct alarm alarms[NODE_ALARMS_MAX];
    size_t alarm_count;
};

/* A RAFT_STORAGE_APPLY that waits to be applied, from entry `next` on. */
struct node_apply_batch {
    struct raft_message message;
    size_t next;
    STAILQ_ENTRY(node_apply_batch) link;
};

/* An InternalRaftRequest without unpacking it: which message it carries, for whom the answer is, and
 * whose it is. */
struct node_entry_view {
    uint64_t id;
    struct auth_identity identity;
    uint32_t field;       /* 0: none that is known */
    struct bytes message; /* of that field */
};

/* What applying one entry needs and gives. */
struct node_application {
    const struct raft_entry *entry;
    struct node_entry_view view;
    struct node_request *waiter; /* who is answered here; NULL: nobody */
    const void *message;         /* decoded; NULL for those of authentication.c */
    struct buf *response;        /* NULL when nobody waits */
    enum api_error status;
};

struct node_held_watch;

struct node {
    struct node_config config;
    const struct logger *logger;
    struct logger raft_logger; /* the same, under the name of "raft" */
    struct rng rng;

    /* Time. */
    int64_t now;
    uint64_t wall_ms;
    int64_t next_tick;
    int64_t request_timeout;

    /* Raft and its log in memory. */
    struct raft *raft;
    struct raft_memory_storage *log;
    uint64_t stable_index, stable_term; /* the last entry that raft was told to be durable */
    uint64_t stable_at;                 /* in this term */
    struct raft_soft_state soft;
    uint64_t term;
    uint64_t committed;
    uint64_t applied;
    uint64_t applied_term;
    int64_t leader_since;      /* when the present leader became known */
    uint64_t log_compacted_at; /* applied index when the in-memory log was last looked at */
    STAILQ_HEAD(, node_apply_batch) apply_queue;

    /* Snapshots: own ones. */
    uint64_t snapshot_index;       /* of the newest on disk */
    struct raft_snapshot snapshot; /* being saved, once the backend is committed up to it; index 0: none */
    bool snapshot_written;         /* it has been handed out */
    /* Those sent. */
    struct node_held_snapshots snapshots_held;   /* until the backend is sealed */
    struct node_held_snapshots snapshots_sealed; /* until that batch is committed */
    size_t snapshots_sending;                    /* handed out and not reported */
    int64_t log_kept_until;
    /* Those received: raft has taken it; its log write is durable; it is being installed. */
    uint64_t received_index;
    uint64_t durable_index, durable_term;
    uint64_t install_index, install_term; /* 0: none */
    bool install_collected;
    uint64_t away_size, away_size_in_use; /* of the backend, as it was last seen */

    /* Applied state. */
    struct backend *backend;
    struct mvcc_store *store;
    struct kv kv;
    struct lessor *lessor;
    struct cluster *cluster;
    struct watch_hub *watches;
    struct auth_store *auth;
    struct auth_tokens *tokens;
    bool membership_changed; /* since node_collect */
    struct node_member_version versions[CLUSTER_MEMBERS_MAX];
    size_t version_count;
    int64_t started_at;     /* the first tick */
    bool may_advance_ticks; /* still */
    struct alarm alarms[NODE_ALARMS_MAX];
    size_t alarm_count;
    struct arena *arena; /* for the entry being applied, reset after each */
    struct buf scratch;  /* responses and entries being encoded */

    /* Writes. */
    uint64_t next_id;
    struct blob **proposals; /* gathered for the next node_run */
    size_t proposal_count, proposal_capacity;
    struct node_request *waiters;             /* table by node.id */
    struct node_request_queue proposed;       /* all waiters, oldest first, for the timeout */
    struct node_request_queue compactions;    /* physical compactions that wait for the removal */
    struct node_request_queue member_changes; /* waiters without a timeout */
    struct node_request_queue transfers;      /* wait for another member to lead */
    bool publishing;                          /* the member's attributes were proposed */
    int64_t publish_retry;
    int64_t version_next; /* when the leader looks at the cluster version again */
    bool published;

    /* Whose user is known only once more is applied. */
    struct node_request_queue unidentified;
    TAILQ_HEAD(, node_held_watch) held_watches;
    size_t held_watch_count;

    /* Reads. */
    struct node_request_queue reads_local;      /* serializable and local calls: served in the next run */
    struct node_request_queue reads_waiting;    /* for the next ReadIndex round */
    struct node_request_queue reads_asked;      /* in the present round */
    struct node_request_queue reads_confirmed;  /* wait until applied >= read_index */
    uint64_t read_index;                        /* the highest of the confirmed */
    uint64_t read_ids[NODE_READ_INDEX_IDS_MAX]; /* sent in the present round */
    size_t read_id_count;
    int64_t read_retry, read_deadline;
    int64_t read_asked_at;
    struct node_read_round {
        int64_t asked_at, confirmed_at;
        uint64_t index, applied; /* read_index and what was applied when it was confirmed */
        bool waits;              /* that is not applied yet; the oldest of those that are not */
    } read_round;
    struct node_request_queue settling; /* hashes, snapshots: wait until the backend is committed */
    struct node_request_queue jobs;     /* ranges and hashes in slices, one slice each per run */

    /* Backend. */
    struct backend_batch *sealed; /* handed out in node_collect, not yet committed: at most one exists */
    bool batch_collected;
    uint64_t sealed_index;                      /* consistent index inside the sealed batch */
    uint64_t backend_durable;                   /* consistent index known to be committed */
    uint64_t batches_sealed, batches_committed; /* how many so far */
    bool seal_now;
    int64_t seal_at;
    uint64_t compaction_began; /* by node_clock; 0: none is running */
    int64_t compaction_next;
    int64_t expiry_next;

    struct node_outbox replies, watch_messages, log_writes, peer_messages, snapshots;
    bool more;
    bool stopped;
    bool removed;
    struct node_metrics metrics;
};

/* ---- node.c ---- */
/* A request whose user can be told goes its way. */
void node_dispatch(struct node *node, struct node_request *request);
void node_outbox_put(struct node_outbox *outbox, struct mail *mail);
/* The request leaves the node: with an error, or (error API_OK) with the response built in node->scratch. */
void node_reply(struct node *node, struct node_request *request, enum api_error error);
/* With this response, which is taken. */
void node_reply_blob(struct node *node, struct node_request *request, struct blob *response);
void node_reply_text(struct node *node, struct node_request *request, const char *text);
void node_queue_put(struct node_request_queue *queue, struct node_request *request);
void node_queue_remove(struct node_request *request);
struct kv_header node_kv_header(const struct node *node);
/* Starts node->scratch with a response header of the current revision. */
void node_begin_response(struct node *node);

/* ---- propose.c ---- */
void node_propose(struct node *node, struct node_request *request);
/* Something the node itself wants replicated, nobody waits for it: field number and encoded message inside
 * InternalRaftRequest. Returns its id. In the name of root, which permissions ask for. */
uint64_t node_propose_internal(struct node *node, uint32_t field, struct bytes message);
void node_propose_checkpoint(struct node *node, int64_t lease, int64_t remaining);
/* Those that the lessor has to take. */
void node_propose_due_checkpoints(struct node *node);
bool node_has_room(const struct node *node, uint64_t cost);
uint64_t node_next_id(struct node *node);
/* The request waits in the table of waiters, and in `queue`, until the entry of that id is applied. */
void node_register_waiter(struct node *node, struct node_request *request, uint64_t id,
                          struct node_request_queue *queue);
struct node_request *node_take_waiter(struct node *node, uint64_t id);
/* Hands what has gathered to raft. */
void node_flush_proposals(struct node *node);
void node_expire_proposals(struct node *node);

/* ---- apply.c ---- */
/* The id in the header of an encoded InternalRaftRequest, 0 when there is none. */
uint64_t node_entry_id(struct bytes entry);
struct error *node_apply_some(struct node *node) __attribute__((warn_unused_result));
bool node_alarm_active(const struct node *node, int type);

/* ---- authorize.c ---- */
/* Root, while authentication is enabled; else nobody. */
struct auth_identity node_root_identity(const struct node *node);
/* Whose a request is, by what was shown: nobody while authentication is disabled. INVALID_AUTH_TOKEN. The
 * name is borrowed until the next entry is applied. */
enum api_error node_identify(struct node *node, const struct node_identity *shown,
                             struct auth_identity *identity);
enum api_error node_identify_request(struct node *node, const struct node_request *request,
                                     struct auth_identity *identity);
/* What can be said when it is submitted. */
enum api_error node_authorize(struct node *node, const struct node_request *request);
/* Before a read is served, and before a long one is answered. */
enum api_error node_authorize_read(struct node *node, struct node_request *request);
enum api_error node_authorize_answer(const struct node *node, const struct node_request *request);
/* NULL, or why not. */
const char *node_authorize_watch(struct node *node, const struct node_identity *shown, struct bytes key,
                                 struct bytes range_end);
/* True: its user cannot be told yet, and it waits. */
bool node_hold_request(struct node *node, struct node_request *request);
bool node_hold_watch(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                     const ProtobufCMessage *request);
/* Of one stream, or (NULL) all. */
void node_drop_held_watches(struct node *node, const struct watch_stream *stream);
/* What has waited long enough goes its way. */
void node_release_held(struct node *node);

/* ---- authentication.c ---- */
void node_serve_password(struct node *node, struct node_request *request);
typedef struct error *node_apply_function(struct node *node, struct node_application *application);
node_apply_function node_apply_auth_enable, node_apply_auth_disable, node_apply_auth_status,
    node_apply_authenticate, node_apply_user_add, node_apply_user_delete, node_apply_user_get,
    node_apply_user_change_password, node_apply_user_grant_role, node_apply_user_revoke_role,
    node_apply_user_list, node_apply_role_add, node_apply_role_delete, node_apply_role_get,
    node_apply_role_list, node_apply_role_grant_permission, node_apply_role_revoke_permission;

/* ---- watching.c ---- */
/* A request whose user can be told. */
void node_watch_run(struct node *node, struct watch_stream *stream, const struct node_identity *identity,
                    const void *watch_request);

/* ---- read.c ---- */
void node_read_submit(struct node *node, struct node_request *request);
/* Starts and repeats ReadIndex rounds, times them out. */
void node_read_advance(struct node *node);
void node_read_state(struct node *node, const struct raft_read_state *state);
void node_read_leader_changed(struct node *node);
struct error *node_read_serve(struct node *node) __attribute__((warn_unused_result));
struct error *node_serve_settled(struct node *node) __attribute__((warn_unused_result));
void node_read_abandon(struct node *node, struct node_request *request);

/* ---- persist.c ---- */
void node_storage_append(struct node *node, struct raft_message *message);
void node_storage_apply(struct node *node, struct raft_message *message);
void node_deliver(struct node *node, struct raft_messages *responses);
void node_seal_when_due(struct node *node);
/* So much is not committed that nothing more may be applied. */
bool node_backend_is_behind(const struct node *node);
/* Whether all that was applied when the request first asked here is committed; sees to it. */
bool node_is_settled(struct node *node, struct node_request *request);
void node_compact_log(struct node *node);

/* ---- snapshot.c ---- */
/* Saves one of its own when so many entries have been applied. */
void node_snapshot_when_due(struct node *node);
/* One of this index is on disk, file and WAL record. */
void node_snapshot_saved(struct node *node, uint64_t index);
/* A RAFT_SNAP of raft's; taken. */
void node_snapshot_hold(struct node *node, struct node_peer_message *message);
/* Whether one is held and what is applied is all that the backend holds. */
bool node_snapshot_wants_seal(const struct node *node);
/* The backend was sealed; what was sealed is committed. */
void node_snapshot_sealed(struct node *node);
void node_snapshot_committed(struct node *node);
void node_snapshot_forget_all(struct node *node);
/* The log must stay while somebody is about to ask for what comes after a snapshot. */
bool node_snapshot_needs_log(const struct node *node);
/* Raft has taken this one in; its log write is durable. */
void node_snapshot_taken(struct node *node, const struct raft_snapshot *snapshot);
void node_snapshot_durable(struct node *node, const struct raft_snapshot *snapshot);
/* From the first of these until node_installed: nothing is applied, read or committed. */
bool node_is_installing(const struct node *node);
/* The backend's node side is somebody else's: from handing out node_ready.install until node_installed. */
bool node_backend_is_away(const struct node *node);
uint64_t node_backend_size(const struct node *node);
void node_install_when_due(struct node *node);

/* ---- recover.c ---- */
/* The node goes on with `state`, which gets the former one (nothing at first). */
void node_exchange_state(struct node *node, struct node_state *state);
/* How long a request may take. */
int64_t node_request_timeout(const struct node_config *config);

/* ---- members.c ---- */
struct error *node_apply_conf_change(struct node *node, const struct raft_entry *entry)
    __attribute__((warn_unused_result));
/* What members of 3.4 and 3.5 log in place of the two below. */
struct error *node_apply_v2_request(struct node *node, const struct raft_entry *entry)
    __attribute__((warn_unused_result));
void node_set_attributes(struct node *node, uint64_t id, const char *name,
                         const struct cluster_urls *client_urls);
/* This member's release must be at least the cluster's version. */
struct error *node_check_cluster_version(const struct node *node, struct version version)
    __attribute__((warn_unused_result));
struct error *node_set_cluster_version(struct node *node, struct version version)
    __attribute__((warn_unused_result));
/* Proposes the own name and client addresses until they are applied. */
void node_publish(struct node *node);
/* The leader's part in agreeing on a cluster version. */
void node_hasten_version(struct node *node); /* a downgrade began or ended: look at it sooner */
void node_agree_on_version(struct node *node);
void node_member_list(struct node *node, struct node_request *request);
/* Members as fields of a response. */
void node_write_members(struct node *node, struct buf *out, uint32_t field);
/* What is known of another member's process; NULL: it is no member. */
struct node_member_version *node_know_peer(struct node *node, uint64_t id);

/* ---- member_change.c ---- */
void node_change_members(struct node *node, struct node_request *request);
bool node_has_good_urls(const Etcdserverpb__MemberAddRequest *request);
void node_answer_member_change(struct node *node, struct node_request *request);
void node_format_version(char text[NODE_VERSION_SIZE], struct version version);
/* The meta row of that name, as snapshots tell it: "" up to 3.5, which had none. */
char *node_stored_version(struct node *node, char text[NODE_VERSION_SIZE]);
/* The same; without the row it is told from what else is there. */
char *node_storage_version(struct node *node, char text[NODE_VERSION_SIZE]);

/* ---- orders.c ---- */
void node_move_leader(struct node *node, struct node_request *request);
void node_answer_transfers(struct node *node);
/* Well-formed? Asked before anybody else is. */
enum api_error node_check_downgrade_request(const Etcdserverpb__DowngradeRequest *request);
/* VALIDATE and ENABLE stand behind a ReadIndex round. */
void node_downgrade(struct node *node, struct node_request *request);
void node_begin_downgrade_response(struct node *node);

/* ---- alarms.c ---- */
struct error *node_alarms_recover(struct backend *backend, const struct logger *logger,
                                  struct node_state *state) __attribute__((warn_unused_result));
/* An AlarmRequest takes effect; `response` (NULL: nobody waits) gets the alarms it answers with. */
void node_alarm_apply(struct node *node, const Etcdserverpb__AlarmRequest *request, struct buf *response);
/* Proposes this member's alarm of that type; returns the proposal's id. */
uint64_t node_alarm_raise(struct node *node, int type);
uint64_t node_alarm_no_space(struct node *node); /* tells it, too */
void node_show_alarms(struct node *node);        /* in the metrics */

/* ---- observe.c ---- */

/* Something that was applied or served. */
struct node_observation {
    const struct node_request *request; /* whose answer is now known; NULL: of another member */
    struct metric_histogram *histogram; /* NULL: none */
    uint64_t began;                     /* node_clock() */
    const char *prefix;                 /* "", "read-only range ", "read-only txn " */
    const char *field_name;             /* of an entry: its field in InternalRaftRequest; NULL: a read */
    uint64_t id;                        /* of an entry */
    const ProtobufCMessage *message;    /* the request */
    size_t response_size;
    uint64_t response_count;
    bool counts_keys;
    enum api_error status;
};

/* 0 when nothing is measured. */
uint64_t node_clock(const struct node *node);
void node_observe(struct node *node, const struct node_observation *observation);
/* A leader sends one to that member now: it is warned about when it comes late. */
void node_observe_heartbeat(struct node *node, uint64_t to);
void node_init_histograms(struct node_metrics *metrics);

/* ---- where the time of slow requests went (trace.c) ---- */

/* From when on; etcd has no option for it. */
#define NODE_TRACE_THRESHOLD (100 * NODE_MILLISECOND)
static inline bool node_is_traced(int64_t began, uint64_t now)
{
    return now > (uint64_t)began + (uint64_t)NODE_TRACE_THRESHOLD;
}

/* The answer to observation->request, which is slow, is known at `now`, by node_clock(): that of a
 * transaction is in node->scratch. */
void node_trace_observation(struct node *node, const struct node_observation *observation, uint64_t now);
/* A request goes without an answer, because of its client or the time; of a read etcd tells that. */
void node_trace_given_up(struct node *node, const struct node_request *request);
/* A physical compaction, which may have been slow, is over; request->node.began: when it was applied. */
void node_trace_compaction(struct node *node, const struct node_request *request);
/* node->read_round, which was slow, can be served. */
void node_trace_read_round(struct node *node);

#endif
