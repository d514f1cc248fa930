/* raft: the consensus state machine, with no I/O.
 *
 * The protocol of "In Search of an Understandable Consensus Algorithm" (Ongaro and Ousterhout; "the Raft
 * paper") and of Ongaro's dissertation, with the behaviour of etcd's Raft library: pre-vote, check-quorum,
 * joint consensus, learners, linearizable reads by ReadIndex, flow control, and asynchronous storage writes.
 *
 * A `struct raft` is one member. It is driven by calls (tick, propose, step a message) and never acts by
 * itself: what has to be done is collected in a `struct raft_ready`, which the caller takes, carries out and,
 * in the synchronous mode, reports back with raft_advance():
 *
 *     for (;;) {
 *         ... raft_tick(), raft_propose(), raft_step_from_peer() ...
 *         while (raft_has_ready(raft)) {
 *             struct raft_ready ready;
 *             raft_take_ready(raft, &ready);
 *             save hard_state, entries and snapshot; sync if must_sync
 *                 (storing entry i discards stored entries >= i);
 *             send messages;
 *             apply the snapshot, then committed_entries
 *                 (calling raft_apply_conf_change for conf changes);
 *             raft_advance(raft);
 *             raft_ready_deinit(&ready);
 *         }
 *     }
 *
 * Order. A leader may send its messages before its own write is durable: its own vote for an entry is counted
 * only at raft_advance (Raft dissertation, 10.2.1). Everybody else writes first. With `async_storage_writes`
 * the ready's messages may all be sent at once; what must wait for the disk comes as one RAFT_STORAGE_APPEND
 * to RAFT_APPEND_THREAD, what must be applied as one RAFT_STORAGE_APPLY to RAFT_APPLY_THREAD. Each is done in
 * order, and its `responses` are delivered (to peers, or to this member by raft_step) when it is durable or
 * applied. raft_advance is not called then.
 *
 * A snapshot that is being stored may overtake entries that wait to be applied: those at or below it are to
 * be skipped.
 *
 * Ownership. Entry data, contexts and snapshot data are blobs with a reference count, so entries, messages
 * and readies are copied without copying bytes. A struct that comes out of this module (`struct raft_ready`,
 * what raft_message_copy fills) owns what it points to, may move to another thread, and is released by its
 * _deinit. Arguments are borrowed: the member takes references to what it keeps. Zero-initialised structs are
 * empty and valid.
 *
 * Units: time is counted in ticks. Ids are nonzero. Randomness (election timeouts) comes from the seed in the
 * configuration. Threads: a `struct raft` belongs to one thread at a time. Errors: misuse by the caller is an
 * assertion; a message from a peer never fails one, it is refused with a result.
 */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "base/blob.h"
#include "base/error.h"
#include "base/log.h"

/* ---- Constants ---- */

enum {
    RAFT_MEMBERS_MAX = 256, /* voters (old and new) and learners of one configuration */
};

#define RAFT_NONE          ((uint64_t)0)    /* no member */
#define RAFT_APPEND_THREAD UINT64_MAX       /* address of who writes the log */
#define RAFT_APPLY_THREAD  (UINT64_MAX - 1) /* address of who applies entries */
#define RAFT_NO_LIMIT      UINT64_MAX
#define RAFT_POSITION_MAX  ((uint64_t)INT64_MAX) /* highest term and index accepted from a peer */

/* What stepping a message, or asking a storage, came to. Texts by raft_result_text(), as etcd's. */
enum raft_result {
    RAFT_OK = 0,
    RAFT_PROPOSAL_DROPPED,    /* no leader, a transfer is on, not a member, or the uncommitted tail is full */
    RAFT_STEP_LOCAL_MESSAGE,  /* a peer sent a message of a kind that never travels */
    RAFT_STEP_PEER_NOT_FOUND, /* a response from somebody who is not in the configuration */
    RAFT_INVALID_MESSAGE,     /* malformed or contradictory; logged as a warning with the reason; ignored */
    RAFT_LOG_LOST,            /* the leader counts on entries that this member no longer has: it must stop */
    RAFT_COMPACTED,           /* storage: the index is below the first one */
    RAFT_UNAVAILABLE,         /* storage: the index is beyond the last one, or cannot be read */
    RAFT_SNAPSHOT_OUT_OF_DATE,             /* storage: it has a newer one */
    RAFT_SNAPSHOT_TEMPORARILY_UNAVAILABLE, /* storage: ask again later */
};

const char *raft_result_text(enum raft_result result);

/* ---- Log entries ---- */

enum raft_entry_type {
    RAFT_ENTRY_NORMAL = 0,
    RAFT_ENTRY_CONF_CHANGE = 1,    /* data is a ConfChange */
    RAFT_ENTRY_CONF_CHANGE_V2 = 2, /* data is a ConfChangeV2; without data: leave the joint configuration */
};

struct raft_entry {
    enum raft_entry_type type;
    uint64_t term;
    uint64_t index;
    struct blob *data; /* NULL: none. Counted reference */
};

/* A run of entries: each of them holds a reference to its data. Dropping from the front and appending are
 * O(1). */
struct raft_entries {
    struct raft_entry *items;
    size_t count;
    size_t head;     /* free places before items */
    size_t capacity; /* places in all */
};

void raft_entries_deinit(struct raft_entries *entries);
/* Appends, taking a further reference to the data. */
void raft_entries_append(struct raft_entries *entries, const struct raft_entry *items, size_t count);
/* Appends one, taking over the caller's reference. */
void raft_entries_append_owned(struct raft_entries *entries, struct raft_entry entry);
void raft_entries_drop_front(struct raft_entries *entries, size_t count);
/* Keeps the first `count`. */
void raft_entries_truncate(struct raft_entries *entries, size_t count);
/* Bytes of the entry as raftpb.Entry when fields are left out that are absent; what every size limit counts.
 */
uint64_t raft_entry_encoded_size(const struct raft_entry *entry);
/* The length of the longest prefix within `max` encoded bytes, but at least one entry if there is any. */
size_t raft_entries_limit(const struct raft_entry *items, size_t count, uint64_t max);
uint64_t raft_entries_encoded_size(const struct raft_entry *items, size_t count);
/* Bytes of data alone. */
uint64_t raft_entries_payload_size(const struct raft_entry *items, size_t count);

/* ---- Ids, configuration state, hard state, snapshots ---- */

/* A list of ids, in most places a set in ascending order. */
struct raft_ids {
    uint64_t *items;
    size_t count;
    size_t capacity;
};

void raft_ids_deinit(struct raft_ids *ids);
void raft_ids_append(struct raft_ids *ids, uint64_t id);        /* at the end, as it is */
void raft_ids_insert(struct raft_ids *ids, uint64_t id);        /* into a set; fine when it is there */
void raft_ids_remove(struct raft_ids *ids, uint64_t id);        /* out of a set; fine when it is not there */
bool raft_ids_contain(const struct raft_ids *ids, uint64_t id); /* of a set */
void raft_ids_copy(struct raft_ids *to, const struct raft_ids *from); /* `to` must be initialised; replaced */
void raft_ids_sort(struct raft_ids *ids);
bool raft_ids_equal(const struct raft_ids *a, const struct raft_ids *b);

/* A configuration as it is stored in snapshots and write-ahead logs. */
struct raft_conf_state {
    struct raft_ids voters; /* the incoming half while joint */
    struct raft_ids learners;
    struct raft_ids voters_outgoing; /* nonempty: joint */
    struct raft_ids
        learners_next; /* outgoing voters that become learners when the joint configuration is left */
    bool auto_leave;
};

void raft_conf_state_deinit(struct raft_conf_state *state);
void raft_conf_state_copy(struct raft_conf_state *to, const struct raft_conf_state *from);
/* The order within the lists does not matter. */
bool raft_conf_state_equivalent(const struct raft_conf_state *a, const struct raft_conf_state *b);

/* What must survive a crash beside the log (Raft paper, figure 2). */
struct raft_hard_state {
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
};

static inline bool raft_hard_state_is_empty(struct raft_hard_state state)
{
    return state.term == 0 && state.vote == 0 && state.commit == 0;
}
static inline bool raft_hard_state_equal(struct raft_hard_state a, struct raft_hard_state b)
{
    return a.term == b.term && a.vote == b.vote && a.commit == b.commit;
}

enum raft_role {
    RAFT_FOLLOWER,
    RAFT_CANDIDATE,
    RAFT_LEADER,
    RAFT_PRE_CANDIDATE,
};

struct raft_soft_state {
    uint64_t lead;
    enum raft_role role;
};

struct raft_snapshot {
    struct blob *data; /* NULL: none */
    struct raft_conf_state conf_state;
    uint64_t index; /* 0: this is no snapshot */
    uint64_t term;
};

void raft_snapshot_deinit(struct raft_snapshot *snapshot);
/* `to` must be initialised; what it held is released. The data is shared. */
void raft_snapshot_copy(struct raft_snapshot *to, const struct raft_snapshot *from);

/* ---- Messages ---- */

/* Numbers are those of raftpb.MessageType. */
enum raft_message_type {
    RAFT_HUP = 0,
    RAFT_BEAT = 1,
    RAFT_PROP = 2,
    RAFT_APP = 3,
    RAFT_APP_RESP = 4,
    RAFT_VOTE = 5,
    RAFT_VOTE_RESP = 6,
    RAFT_SNAP = 7,
    RAFT_HEARTBEAT = 8,
    RAFT_HEARTBEAT_RESP = 9,
    RAFT_UNREACHABLE = 10,
    RAFT_SNAP_STATUS = 11,
    RAFT_CHECK_QUORUM = 12,
    RAFT_TRANSFER_LEADER = 13,
    RAFT_TIMEOUT_NOW = 14,
    RAFT_READ_INDEX = 15,
    RAFT_READ_INDEX_RESP = 16,
    RAFT_PRE_VOTE = 17,
    RAFT_PRE_VOTE_RESP = 18,
    RAFT_STORAGE_APPEND = 19,
    RAFT_STORAGE_APPEND_RESP = 20,
    RAFT_STORAGE_APPLY = 21,
    RAFT_STORAGE_APPLY_RESP = 22,
    RAFT_FORGET_LEADER = 23,
    RAFT_MESSAGE_TYPES
};

struct raft_message;

struct raft_messages {
    struct raft_message *items;
    size_t count;
    size_t capacity;
};

struct raft_message {
    enum raft_message_type type;
    bool reject;
    uint64_t to;
    uint64_t from;
    uint64_t term;
    uint64_t log_term; /* term of the entry at index */
    uint64_t index;
    uint64_t commit;
    uint64_t vote;        /* RAFT_STORAGE_APPEND only */
    uint64_t reject_hint; /* RAFT_APP_RESP */
    struct raft_entries entries;
    struct raft_snapshot *snapshot; /* NULL: none; owned */
    struct blob *context;           /* NULL: none; counted reference */
    struct raft_messages responses; /* of storage messages: to be delivered when they are done */
};

void raft_message_deinit(struct raft_message *message);
/* `to` must be initialised; what it held is released. Data is shared. */
void raft_message_copy(struct raft_message *to, const struct raft_message *from);
/* Hands the message over and leaves an empty one behind. */
struct raft_message raft_message_take(struct raft_message *message);
void raft_messages_deinit(struct raft_messages *messages);
/* Appends, taking the message over. */
void raft_messages_append(struct raft_messages *messages, struct raft_message message);
/* Local: never travels between members. Response: counts only from members of the configuration. */
bool raft_message_type_is_local(enum raft_message_type type);
bool raft_message_type_is_response(enum raft_message_type type);
static inline bool raft_id_is_storage_thread(uint64_t id)
{
    return id == RAFT_APPEND_THREAD || id == RAFT_APPLY_THREAD;
}

/* ---- Configuration changes ---- */

enum raft_conf_change_type {
    RAFT_CONF_CHANGE_ADD_NODE = 0,
    RAFT_CONF_CHANGE_REMOVE_NODE = 1,
    RAFT_CONF_CHANGE_UPDATE_NODE = 2,
    RAFT_CONF_CHANGE_ADD_LEARNER_NODE = 3,
};

enum raft_conf_change_transition {
    RAFT_TRANSITION_AUTO = 0,           /* joint only when there is more than one change; leaves by itself */
    RAFT_TRANSITION_JOINT_IMPLICIT = 1, /* joint; leaves by itself */
    RAFT_TRANSITION_JOINT_EXPLICIT = 2, /* joint until an empty change is proposed */
};

struct raft_conf_change_single {
    enum raft_conf_change_type type;
    uint64_t node_id;
};

/* etcd's form: one change. `context` is borrowed from what it was decoded from. */
struct raft_conf_change {
    uint64_t id; /* the application's, raft does not look at it */
    enum raft_conf_change_type type;
    uint64_t node_id;
    struct bytes context; /* data NULL: none */
};

struct raft_conf_change_v2 {
    enum raft_conf_change_transition transition;
    struct raft_conf_change_single *changes; /* owned: free() or raft_conf_change_v2_deinit */
    size_t count;
    struct bytes context; /* borrowed, as above */
};

void raft_conf_change_v2_deinit(struct raft_conf_change_v2 *change);
void raft_conf_change_v2_from_v1(struct raft_conf_change_v2 *to, const struct raft_conf_change *from);
/* Decodes the data of a conf change entry of either form. `change` borrows its context from the entry. */
struct error *raft_conf_change_from_entry(struct raft_conf_change_v2 *change, const struct raft_entry *entry)
    __attribute__((warn_unused_result));

/* ---- Storage ---- */

/* The stable part of the log, as the member reads it; writing it is the caller's business.
 * `raft_memory_storage` (raft/memory_storage.h) is the implementation for everybody: the durable log is only
 * replayed into it at start. */
struct raft_storage;

struct raft_storage_vtable {
    /* conf_state is an initialised struct to be filled. */
    void (*initial_state)(struct raft_storage *storage, struct raft_hard_state *hard_state,
                          struct raft_conf_state *conf_state);
    /* Appends the entries [low, high) to `entries`, cut as raft_entries_limit does. RAFT_COMPACTED,
     * RAFT_UNAVAILABLE. */
    enum raft_result (*entries)(struct raft_storage *storage, uint64_t low, uint64_t high, uint64_t max_size,
                                struct raft_entries *entries);
    /* For indexes in [first - 1, last]. RAFT_COMPACTED, RAFT_UNAVAILABLE. */
    enum raft_result (*term)(struct raft_storage *storage, uint64_t index, uint64_t *term);
    uint64_t (*first_index)(struct raft_storage *storage);
    uint64_t (*last_index)(struct raft_storage *storage); /* first - 1 when there are no entries */
    /* The latest snapshot into an initialised struct. RAFT_SNAPSHOT_TEMPORARILY_UNAVAILABLE: the peer waits.
     */
    enum raft_result (*snapshot)(struct raft_storage *storage, struct raft_snapshot *snapshot);
};

struct raft_storage {
    const struct raft_storage_vtable *vtable;
};

/* ---- The member ---- */

enum raft_read_only_option {
    RAFT_READ_ONLY_SAFE,        /* a heartbeat round confirms that the leader still leads */
    RAFT_READ_ONLY_LEASE_BASED, /* relies on bounded clock drift; needs check_quorum */
};

struct raft_config {
    uint64_t id;                  /* not RAFT_NONE nor a storage thread */
    uint32_t election_tick;       /* > heartbeat_tick; followers wait this to twice this */
    uint32_t heartbeat_tick;      /* > 0 */
    struct raft_storage *storage; /* borrowed for the member's life */
    uint64_t applied;             /* where the applied state is after a restart; 0: not known */
    bool async_storage_writes;
    uint64_t max_size_per_message;         /* encoded bytes of entries in one RAFT_APP; 0: one entry each */
    uint64_t max_committed_size_per_ready; /* encoded bytes handed out and not yet applied; 0: as
                                              max_size_per_message */
    uint64_t max_uncommitted_entries_size; /* payload bytes of the leader's uncommitted tail; 0: no limit */
    uint64_t max_inflight_messages;        /* > 0; RAFT_APPs on the way to one peer */
    uint64_t max_inflight_bytes;           /* payload bytes on the way to one peer; 0: no limit, else >=
                                              max_size_per_message */
    bool check_quorum; /* a leader that hears from no quorum for an election timeout steps down */
    bool pre_vote;     /* ask before raising the term (Raft dissertation, 9.6) */
    enum raft_read_only_option read_only_option;
    bool disable_proposal_forwarding;
    bool disable_conf_change_validation;
    bool step_down_on_removal; /* a leader that applies its own removal or demotion becomes a follower */
    uint64_t seed;
    const struct logger *logger; /* borrowed; NULL: discard. Messages are whole texts without fields */
};

struct raft;

/* A first start of a member that is in no configuration yet, or a restart from what `storage` holds. Errors:
 * a configuration rule is violated, or the storage contradicts itself. */
struct error *raft_new(struct raft **raft, const struct raft_config *config)
    __attribute__((warn_unused_result));
void raft_free(struct raft *raft); /* NULL is allowed */

struct raft_peer {
    uint64_t id;
    struct bytes context; /* goes into the ConfChange entry */
};

/* Makes the first configuration of a new cluster as committed entries of term 1. All first members must call
 * it with the same peers in the same order. Error when the storage is not empty or there are no peers. */
struct error *raft_bootstrap(struct raft *raft, const struct raft_peer *peers, size_t count)
    __attribute__((warn_unused_result));

void raft_tick(struct raft *raft);
/* Start an election now. */
enum raft_result raft_campaign(struct raft *raft);
/* Proposes `count` (> 0) normal entries with this data, in order, in one batch. References are taken. */
enum raft_result raft_propose(struct raft *raft, struct blob *const *data, size_t count);
enum raft_result raft_propose_conf_change(struct raft *raft, const struct raft_conf_change *change);
enum raft_result raft_propose_conf_change_v2(struct raft *raft, const struct raft_conf_change_v2 *change);
/* Call when a conf change entry is applied, on every member; not for a change that the application refuses
 * (or with node ids 0 then). *state (may be NULL, else initialised) becomes the new configuration. An error
 * leaves everything as it was. */
struct error *raft_apply_conf_change(struct raft *raft, const struct raft_conf_change_v2 *change,
                                     struct raft_conf_state *state) __attribute__((warn_unused_result));

/* A message that arrived from another member. Everything in it is checked. */
enum raft_result raft_step_from_peer(struct raft *raft, const struct raft_message *message);
/* A message from the caller's own storage threads, or one this member addressed to itself (which is refused
 * with RAFT_STEP_PEER_NOT_FOUND, without harm, when it was removed meanwhile). */
enum raft_result raft_step(struct raft *raft, const struct raft_message *message);

void raft_report_unreachable(struct raft *raft, uint64_t id);
/* Must follow every RAFT_SNAP in a ready's messages, sooner or later. */
void raft_report_snapshot(struct raft *raft, uint64_t id, bool success);
void raft_transfer_leader(struct raft *raft, uint64_t transferee);
enum raft_result raft_forget_leader(struct raft *raft);
/* Asks for a point in the log from which on reading is linearizable (Raft dissertation, 6.4): a
 * raft_read_state with the same context comes in a later ready, or never (no leader, lost messages): repeat
 * it with another context then. */
void raft_read_index(struct raft *raft, struct blob *context);

struct raft_read_state {
    uint64_t index; /* read when applied has got here */
    struct blob *context;
};

struct raft_read_states {
    struct raft_read_state *items;
    size_t count;
    size_t capacity;
};

/* What has to be done now. */
struct raft_ready {
    bool has_soft_state; /* lead or role changed */
    struct raft_soft_state soft_state;
    bool has_hard_state; /* to be saved */
    struct raft_hard_state hard_state;
    bool must_sync; /* hard state and entries must be durable before anything depends on them */
    struct raft_read_states read_states;
    struct raft_entries entries;    /* to be stored */
    struct raft_snapshot *snapshot; /* to be stored and applied, NULL: none */
    struct raft_entries committed_entries;
    struct raft_messages messages; /* to be sent; take them with raft_message_take */
};

void raft_ready_deinit(struct raft_ready *ready);

bool raft_has_ready(const struct raft *raft);
/* Fills *ready (not initialised before) and regards it as accepted. In the synchronous mode the next one may
 * be taken only after raft_advance. */
void raft_take_ready(struct raft *raft, struct raft_ready *ready);
/* Synchronous mode: the last ready is saved and applied. */
void raft_advance(struct raft *raft);

/* ---- Looking inside ---- */

struct raft_status {
    uint64_t id;
    struct raft_hard_state hard_state;
    struct raft_soft_state soft_state;
    uint64_t applied;
    uint64_t first_index;
    uint64_t last_index;
    uint64_t last_term;
    uint64_t lead_transferee;
    bool is_learner;
    uint32_t election_elapsed;  /* ticks since the leader was heard, or since the election began */
    uint32_t heartbeat_elapsed; /* leader: ticks since the last heartbeat */
    uint32_t randomized_election_timeout;
    uint64_t uncommitted_size;
    uint64_t pending_reads;
};

enum raft_progress_state {
    RAFT_PROBE,     /* at most one RAFT_APP until it is answered: where the logs agree is not known */
    RAFT_REPLICATE, /* a stream of RAFT_APPs ahead of the answers */
    RAFT_SNAPSHOT,  /* waits for a snapshot to arrive */
};

/* What a leader knows of a member; on others the last known state, without meaning. */
struct raft_progress_status {
    uint64_t id;
    enum raft_progress_state state;
    uint64_t match; /* highest index known to be in its log */
    uint64_t next;  /* first index to send */
    uint64_t sent_commit;
    uint64_t pending_snapshot;
    uint64_t inflight_messages;
    uint64_t inflight_bytes;
    bool inflight_full;
    bool is_learner;
    bool recent_active;
    bool paused;
    bool voter; /* in either half */
};

struct raft_status raft_status(const struct raft *raft);
/* The number of members known, and one of them in ascending order of ids. position < raft_progress_count().
 */
size_t raft_progress_count(const struct raft *raft);
struct raft_progress_status raft_progress_at(const struct raft *raft, size_t position);
/* The present configuration; *state must be initialised. */
void raft_conf_state_now(const struct raft *raft, struct raft_conf_state *state);
/* The term of an entry, 0 when it is not known. */
uint64_t raft_term_at(const struct raft *raft, uint64_t index);
/* Entries [low, high) for display and checks, at most max_size encoded bytes. */
enum raft_result raft_entries_between(const struct raft *raft, uint64_t low, uint64_t high, uint64_t max_size,
                                      struct raft_entries *entries);
/* Overrides the random timeout until the next role or term change: for tests and the laboratory. 0 < ticks.
 */
void raft_set_randomized_election_timeout(struct raft *raft, uint32_t ticks);

#endif
