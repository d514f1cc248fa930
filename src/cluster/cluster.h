/* cluster: who belongs to the cluster and which version it speaks, as replicated state.
 *
 * Members change by conf change entries; names and client addresses ("attributes"), the cluster version and
 * the downgrade order by normal entries. All members apply the same ones in the same order, so everything
 * here is deterministic: what is refused at apply is refused everywhere.
 *
 * Rows, as etcd's (Go's JSON, no spaces, <, > and & escaped):
 *
 *     members          hex id → {"id":N,"peerURLs":[..],"isLearner":true,"name":"..","clientURLs":[..]}
 *     members_removed  hex id → removed
 *     cluster          clusterVersion → 3.6.0, downgrade → {"target-version":"3.5.0","enabled":true}
 *     meta             confState → {"voters":[..],"learners":[..],..,"auto_leave":false}
 *
 * Ids use all 64 bits. Members are kept and listed in ascending order of ids. Pointers to members are
 * borrowed until the next change. One thread. Pure: SHA-1, which ids are made of, is given by the caller.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "api/errors.h"
#include "api/version.h"
#include "base/log.h"
#include "cluster/url.h"
#include "raft/raft.h"

struct backend;
struct cluster;

enum {
    CLUSTER_MEMBERS_MAX = RAFT_MEMBERS_MAX,
    CLUSTER_URLS_MAX = 1024, /* addresses of one member */
};

/* ---- ids ---- */

/* SHA-1 of `data` (e.g. OpenSSL's, from the edge). */
typedef void cluster_sha1(struct bytes data, uint8_t digest[20]);

/* The id of a first member: of its peer addresses (in any order) and the initial cluster token. */
uint64_t cluster_member_id(cluster_sha1 *sha1, const struct cluster_urls *peer_urls, const char *token);
/* The id of a member that is added at this time of the wall clock. */
uint64_t cluster_added_member_id(cluster_sha1 *sha1, const struct cluster_urls *peer_urls,
                                 int64_t unix_seconds);
/* The id of a cluster with these first members, in any order. */
uint64_t cluster_id_of(cluster_sha1 *sha1, const uint64_t *member_ids, size_t count);

/* ---- members ---- */

struct cluster_member {
    uint64_t id;
    struct cluster_urls peer_urls;
    bool is_learner;
    char *name; /* never NULL; "": not started yet */
    struct cluster_urls client_urls;
};

void cluster_member_deinit(struct cluster_member *member);
/* `to` must be initialised (zero); what it held is released. */
void cluster_member_copy(struct cluster_member *to, const struct cluster_member *from);
static inline bool cluster_member_has_started(const struct cluster_member *member)
{
    return member->name[0] != '\0';
}

/* Appends the JSON of a member: its row, an item of the peers' /members list. */
void cluster_member_write(struct buf *out, const struct cluster_member *member);
/* Appends it as a field of that number, an etcdserverpb.Member. */
void cluster_member_encode(struct buf *out, uint32_t field, const struct cluster_member *member);
/* `member` must be initialised. ERROR_INVALID. */
struct error *cluster_member_parse(struct bytes json, struct cluster_member *member)
    __attribute__((warn_unused_result));

/* ---- the cluster ---- */

struct cluster_options {
    uint64_t local_id;
    uint64_t cluster_id;         /* for log records */
    size_t max_learners;         /* 0: 1, as etcd; must be equal on all members */
    const struct logger *logger; /* NULL: nothing is logged */
};

struct cluster *cluster_new(const struct cluster_options *options)
    __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void cluster_free(struct cluster *cluster);

/* The same members, removed ids and versions, for another thread; its logger drops everything. */
struct cluster *cluster_copy(const struct cluster *cluster)
    __attribute__((returns_nonnull, warn_unused_result));

/* Replaces everything by what the rows say. ERROR_CORRUPT when they cannot be understood. */
struct error *cluster_load(struct cluster *cluster, struct backend *backend)
    __attribute__((warn_unused_result));
/* Writes all rows from memory and deletes those that do not belong there: after members were taken from a
 * .snap file of 3.4 or 3.5. */
struct error *cluster_store(const struct cluster *cluster, struct backend *backend)
    __attribute__((warn_unused_result));

size_t cluster_member_count(const struct cluster *cluster);
const struct cluster_member *cluster_member_at(const struct cluster *cluster, size_t position);
/* NULL: unknown. */
const struct cluster_member *cluster_member(const struct cluster *cluster, uint64_t id);
const struct cluster_member *cluster_local_member(const struct cluster *cluster);
bool cluster_is_removed(const struct cluster *cluster, uint64_t id);
size_t cluster_removed_count(const struct cluster *cluster);
uint64_t cluster_removed_at(const struct cluster *cluster, size_t position);
size_t cluster_voter_count(const struct cluster *cluster);
/* Voters and learners as raft's configuration. `state` must be initialised; replaced. */
void cluster_conf_state(const struct cluster *cluster, struct raft_conf_state *state);

/* ---- conf changes ---- */

enum cluster_change_kind {
    CLUSTER_ADD,
    CLUSTER_ADD_LEARNER,
    CLUSTER_PROMOTE,
    CLUSTER_REMOVE,
    CLUSTER_UPDATE, /* of the peer addresses */
};

struct cluster_change {
    enum cluster_change_kind kind;
    struct cluster_member member; /* remove: the id alone */
};

void cluster_change_deinit(struct cluster_change *change);
/* What a ConfChange entry asks for. `change` must be initialised (zero). ERROR_INVALID when the context is
 * not a member, is of another id, or has an address that no member could use (etcd panics there). */
struct error *cluster_change_parse(const struct raft_conf_change *conf_change, struct cluster_change *change)
    __attribute__((warn_unused_result));
/* The context to propose with, and the type. `out` holds the context, which conf_change borrows. */
void cluster_change_write(const struct cluster_change *change, struct buf *out,
                          struct raft_conf_change *conf_change);

/* The rules at apply: MEMBER_NOT_FOUND, MEMBER_EXIST, PEER_URL_EXIST, TOO_MANY_LEARNERS, MEMBER_NOT_LEARNER;
 * also CLUSTER_MEMBERS_MAX (TOO_MANY_REQUESTS). A refused change goes to raft with node id 0. */
enum api_error cluster_check_change(const struct cluster *cluster, const struct cluster_change *change);
/* Carries out a change that was checked. backend NULL: memory alone, and what is about an unknown member or
 * one too many is ignored. */
void cluster_apply_change(struct cluster *cluster, struct backend *backend,
                          const struct cluster_change *change);

/* How long (nanoseconds) the connection to a member has been up; negative: it is not. */
typedef int64_t cluster_connected_for(void *context, uint64_t id);
/* --strict-reconfig-check, before proposing: MEMBER_NOT_ENOUGH_STARTED or UNHEALTHY. */
enum api_error cluster_check_strict(const struct cluster *cluster, const struct cluster_change *change,
                                    cluster_connected_for *connected_for, void *context);

/* ---- attributes, versions ---- */

/* A published name and client addresses. API_ERROR_MEMBER_NOT_FOUND when the id is neither a member nor
 * removed (etcd panics); for a removed one nothing happens. backend NULL: memory alone. */
enum api_error cluster_set_attributes(struct cluster *cluster, struct backend *backend, uint64_t id,
                                      const char *name, const struct cluster_urls *client_urls);

/* False: not decided yet. */
bool cluster_version(const struct cluster *cluster, struct version *version);
void cluster_set_version(struct cluster *cluster, struct backend *backend, struct version version);

struct cluster_downgrade {
    bool enabled;
    struct version target; /* when enabled */
};
struct cluster_downgrade cluster_downgrade(const struct cluster *cluster);
void cluster_set_downgrade(struct cluster *cluster, struct backend *backend,
                           struct cluster_downgrade downgrade);
/* DowngradeRequest VALIDATE and ENABLE: CLUSTER_VERSION_UNAVAILABLE, INVALID_DOWNGRADE_TARGET_VERSION,
 * DOWNGRADE_IN_PROCESS. */
enum api_error cluster_check_downgrade(const struct cluster *cluster, struct version target);
/* What the leader should propose as cluster version, given the lowest server version among the members (zero:
 * not known of all). False: leave it. */
bool cluster_decide_version(const struct cluster *cluster, struct version lowest, struct version *decided);

/* ---- confState row ---- */

void cluster_conf_state_write(struct buf *out, const struct raft_conf_state *state);
/* `state` must be initialised; replaced. */
struct error *cluster_conf_state_parse(struct bytes json, struct raft_conf_state *state)
    __attribute__((warn_unused_result));
void cluster_conf_state_store(struct backend *backend, const struct raft_conf_state *state);
/* *found false: no row. It may be stale (written by nobody since 3.4, or before a restore). */
struct error *cluster_conf_state_load(struct backend *backend, bool *found, struct raft_conf_state *state)
    __attribute__((warn_unused_result));

/* ---- what 3.4 and 3.5 left behind ---- */

/* A v2 Request in the log: members up to 3.5 publish and set the cluster version this way. */
enum cluster_v2_kind {
    CLUSTER_V2_ATTRIBUTES, /* PUT /0/members/<hex id>/attributes */
    CLUSTER_V2_VERSION,    /* PUT /0/version */
    CLUSTER_V2_OTHER,      /* has no effect on what we keep */
};

struct cluster_v2_request {
    enum cluster_v2_kind kind;
    uint64_t id;                  /* of the request */
    struct cluster_member member; /* attributes: id, name, client_urls */
    struct version version;
};
void cluster_v2_request_deinit(struct cluster_v2_request *request);

/* Whether an entry's data is a bare v2 Request, not an InternalRaftRequest. */
bool cluster_is_v2_request(struct bytes data);
/* A bare one, or the content of InternalRaftRequest field 2. `request` must be initialised (zero).
 * ERROR_INVALID. */
struct error *cluster_v2_request_parse(struct bytes data, struct cluster_v2_request *request)
    __attribute__((warn_unused_result));

/* The data of a .snap file as members of 3.4 to 3.6 want it: the v2 store with members, removed ids and
 * version, in its shortest form. */
void cluster_v2_snapshot_write(struct buf *out, const struct cluster *cluster);
/* Replaces members, removed ids and version by those in the data of a .snap file, of any of these releases.
 * ERROR_INVALID. */
struct error *cluster_v2_snapshot_read(struct cluster *cluster, struct bytes json)
    __attribute__((warn_unused_result));

/* ---- the first start ---- */

struct cluster_initial_member {
    char *name;
    struct cluster_urls peer_urls; /* sorted */
};
/* --initial-cluster: sorted by name. */
struct cluster_initial {
    struct cluster_initial_member *items;
    size_t count;
};
void cluster_initial_deinit(struct cluster_initial *initial);
/* "n=url,n=url2,m=url3". `initial` must be initialised (zero). ERROR_INVALID with etcd's text. */
struct error *cluster_initial_parse(const char *text, struct cluster_initial *initial)
    __attribute__((warn_unused_result));
/* NULL: not there. */
const struct cluster_initial_member *cluster_initial_find(const struct cluster_initial *initial,
                                                          const char *name);
/* "n=url,n=url2,m=url3" again, sorted. */
void cluster_initial_write(struct buf *out, const struct cluster_initial *initial);

/* Before the first start: the own name is there, no address twice; and, for a new cluster, the advertised
 * peer addresses are those in --initial-cluster. `advertised` NULL: joining an existing cluster.
 * `same_when_resolved`: the caller looked the names up and the addresses are the same, whatever their texts
 * (ask cluster_initial_needs_resolving first); `resolve_failure` (may be NULL) is why looking up failed. */
struct error *cluster_initial_check(const struct cluster_initial *initial, const char *name,
                                    const struct cluster_urls *advertised, bool same_when_resolved,
                                    const char *resolve_failure) __attribute__((warn_unused_result));
bool cluster_initial_needs_resolving(const struct cluster_initial *initial, const char *name,
                                     const struct cluster_urls *advertised);

/* Adds the members of a new cluster, with their ids, to an empty `cluster`; *cluster_id is the new cluster's.
 * Fails on equal ids and id 0. */
struct error *cluster_bootstrap(struct cluster *cluster, const struct cluster_initial *initial,
                                const char *token, cluster_sha1 *sha1, uint64_t *cluster_id)
    __attribute__((warn_unused_result));
/* Joining: `remote` (the peers' /members) and the configured members must be the same by their peer
 * addresses; gives each configured name the remote id in ids[] (in the order of `initial`). `same` compares
 * address lists whose texts differ (by resolving them); NULL: texts only. */
typedef bool cluster_same_urls(void *context, const struct cluster_urls *a, const struct cluster_urls *b);
struct error *cluster_match(const struct cluster_initial *initial, const struct cluster_member *remote,
                            size_t remote_count, cluster_same_urls *same, void *context, uint64_t *ids)
    __attribute__((warn_unused_result));

/* The list of /members and its inverse. `members` is allocated: deinit each, free it. */
void cluster_members_write(struct buf *out, const struct cluster *cluster);
struct error *cluster_members_parse(struct bytes json, struct cluster_member **members, size_t *count)
    __attribute__((warn_unused_result));

#endif
