/* member: what this member has on disk, opened: the way from a data directory to something the node can start
 * from.
 *
 *     no log yet     ─▶ first start: ids from the initial cluster, a log whose first entries add its members;
 *                       or, when the cluster is running already, ids from its members and an empty log, which
 *                       the leader fills
 *     a log is there ─▶ restart: newest valid snapshot, the log behind it, the backend; the initial-* flags
 *                       are ignored
 *
 * The first entries are in the log before the log is given its name (wal_begin, wal_publish), so a crash at
 * any point leaves either no log or a complete one.
 */
#ifndef MEMBER_MEMBER_H
#define MEMBER_MEMBER_H

#include "cluster/cluster.h"
#include "node/node.h"
#include "storage/backend.h"
#include "storage/datadir.h"
#include "storage/wal.h"

/* What a first start asks of the others: functions of the edge, which may wait for the network. */
struct member_bootstrap {
    /* A new cluster: an error when another member knows `id` as one that has started already. */
    struct error *(*check_new)(void *context, const struct cluster_initial *initial, const char *name,
                               uint64_t id);
    /* A running one: its id, and the ids of its members in the order of `initial`. */
    struct error *(*find_running)(void *context, const struct cluster_initial *initial, const char *name,
                                  uint64_t *cluster_id, uint64_t *ids);
    /* Whether lists whose texts differ are the same addresses. */
    cluster_same_urls *same_urls;
    void *context;
};

struct member_options {
    const char *name;
    const char *data_directory;
    const char *wal_directory;   /* "": inside the data directory */
    const char *initial_cluster; /* "name=url,..." */
    const char *initial_cluster_token;
    const char *initial_advertise_peer_urls;
    bool initial_cluster_exists;              /* --initial-cluster-state existing; needs `bootstrap` */
    const struct member_bootstrap *bootstrap; /* NULL: nobody is asked */
    bool force_new_cluster;                   /* a member with data becomes the only one of its cluster */
    bool no_sync;
    uint64_t quota_bytes; /* sizes the backend's map */
    struct fs *fs;
    const struct logger *logger;
    struct wal_metrics *wal_metrics;
    cluster_sha1 *sha1;             /* what ids are made of */
    uint64_t (*now)(void *context); /* nanoseconds, for durations in metrics and log; NULL: not measured */
    void *now_context;
    uint64_t wal_segment_size; /* 0: etcd's */
};

struct member {
    uint64_t id;
    uint64_t cluster_id;
    bool is_new;
    struct datadir directory;
    struct wal_options wal_options; /* borrowed by the log */
    struct wal *wal;                /* NULL once somebody has taken it */
    struct backend *backend;
    struct node_recovery recovery; /* its log is NULL once somebody has taken it */
};

/* On an error everything is closed again. ERROR_LOCKED: another process has the data open, and nothing was
 * touched. */
struct error *member_open(const struct member_options *options, struct member *member)
    __attribute__((warn_unused_result));
/* Removes the oldest log segments and snapshot files that nobody needs until so many are left (0: keeps all).
 * Received databases go that are below `applied`, the index that the node has applied: one that waits to be
 * installed is above it, and one that raft did not want is soon below. Any thread, one at a time, while the
 * member is open. */
struct error *member_purge(const struct member *member, uint64_t max_wals, uint64_t max_snapshots,
                           uint64_t applied) __attribute__((warn_unused_result));
/* Closes what is left: the backend, and log and recovery if nobody took them. */
struct error *member_close(struct member *member) __attribute__((warn_unused_result));

#endif
