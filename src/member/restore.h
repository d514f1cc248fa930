/* restore: a new data directory from a snapshot file.
 *
 * The restored member has the snapshot's keys, leases, users and alarms, and belongs to a new cluster: ids
 * follow from the addresses in the initial cluster and the token, so every member restored from the same file
 * with the same arguments is a member of the same one. Its log holds one entry per member and a snapshot
 * position behind them, as if that cluster had just been founded.
 */
#ifndef MEMBER_RESTORE_H
#define MEMBER_RESTORE_H

#include "base/log.h"
#include "cluster/cluster.h"
#include "storage/fs.h"

struct restore_options {
    const char *snapshot;
    const char *name;
    const char *data_directory; /* missing or empty */
    const char *wal_directory;  /* "": inside; else it must not exist */
    const char *initial_cluster;
    const char *initial_cluster_token;
    const char *initial_advertise_peer_urls;
    bool skip_hash_check;
    uint64_t map_size; /* of the backend; 0: etcd's */
    /* Not 0: the newest revision is raised by so much and everything before it is compacted at the first
     * start, so that clients that knew later revisions than the snapshot's notice. */
    uint64_t bump_revision;
    struct fs *fs;
    const struct logger *logger;
    cluster_sha1 *sha1;
};

/* Durable when it returns. On an error what was made is removed again; the snapshot file is only ever read.
 */
struct error *member_restore(const struct restore_options *options) __attribute__((warn_unused_result));

#endif
