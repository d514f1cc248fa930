/* snap: the snapshot files of a member, etcd's "member/snap".
 *
 *     %016x-%016x.snap   term, index (note the order): snappb.Snapshot {1 crc, 2 data}, data an encoded
 *                        raftpb.Snapshot, crc CRC-32C of it
 *     %016x.snap.db      index: a backend image received from the leader, waiting to become "db"
 *
 * A .snap file is written in place and synced; what makes it count is the record in the write-ahead log that
 * follows (wal_save_snapshot). So a file that is damaged, or newer than the log knows, is no error: the next
 * older one serves.
 *
 * Threads: functions keep no state; one at a time per folder. Names that others use while they are here (an
 * image that is being applied) are the caller's to protect.
 */
#ifndef STORAGE_SNAP_H
#define STORAGE_SNAP_H

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "raft/raft.h"
#include "storage/fs.h"
#include "storage/wal.h"

enum { SNAP_FILE_MAX = 1 << 30 }; /* bytes of a .snap file that are read at most */

/* Names and buckets of etcd_snap_fsync_duration_seconds, etcd_debugging_snap_save_total_duration_seconds. */
struct snap_metrics {
    struct metric_histogram fsync_duration;
    struct metric_histogram save_duration, marshalling_duration;
    struct metric_histogram db_fsync_duration, db_save_duration; /* of received databases */
};
#define SNAP_METRICS_INIT                                                                                    \
    {                                                                                                        \
        .fsync_duration = METRIC_HISTOGRAM(1000000, 14), .save_duration = METRIC_HISTOGRAM(1000000, 14),     \
        .marshalling_duration = METRIC_HISTOGRAM(1000000, 14),                                               \
        .db_fsync_duration = METRIC_HISTOGRAM(1000000, 14),                                                  \
        .db_save_duration = METRIC_HISTOGRAM(100000000, 10),                                                 \
    }

/* Borrowed for the call. */
struct snap_options {
    struct fs *fs;
    const struct logger *logger;
    struct snap_metrics *metrics;   /* may be NULL */
    uint64_t (*now)(void *context); /* nanoseconds; NULL: nothing is measured */
    void *now_context;
};

/* The content of a file for `snapshot`; appends. */
void snap_encode(struct buf *out, const struct raft_snapshot *snapshot);
/* ERROR_CORRUPT when it does not hold a snapshot. `snapshot` must be initialised (zero is fine). */
struct error *snap_decode(struct raft_snapshot *snapshot, struct bytes content)
    __attribute__((warn_unused_result));

/* Durable when it returns, the name included. What is left of a failed write is removed. Index 0: nothing is
 * done. */
struct error *snap_save(const struct snap_options *options, const char *directory,
                        const struct raft_snapshot *snapshot) __attribute__((warn_unused_result));
/* The newest one that can be read and whose (term, index) is in `valid` (wal_valid_snapshots); NULL: any.
 * Unreadable ones met on the way are renamed to NAME.broken. *found false: there is none, and `snapshot` is
 * empty. */
struct error *snap_load_newest(const struct snap_options *options, const char *directory,
                               const struct wal_snapshots *valid, struct raft_snapshot *snapshot, bool *found)
    __attribute__((warn_unused_result));

/* The newest file above `index` that a start found unreadable and renamed: free() it. *path NULL: there is
 * none.
 */
struct error *snap_find_broken(const struct snap_options *options, const char *directory, uint64_t index,
                               char **path) __attribute__((warn_unused_result));

/* The index of the newest file by name, readable or not; 0: there is none. */
struct error *snap_newest_index(const struct snap_options *options, const char *directory, uint64_t *index)
    __attribute__((warn_unused_result));

/* Removes the oldest by name until `keep` are left (0: nothing). */
struct error *snap_purge(const struct snap_options *options, const char *directory, size_t keep,
                         size_t *removed) __attribute__((warn_unused_result));
struct error *snap_purge_databases(const struct snap_options *options, const char *directory, size_t keep,
                                   size_t *removed) __attribute__((warn_unused_result));
/* An image, complete at `path` in the same folder, becomes that of `index`, content and name durable. When
 * there is one already that stays: it may be on its way into the backend. `path` is gone afterwards. */
struct error *snap_receive_database(const struct snap_options *options, const char *directory,
                                    const char *path, uint64_t index) __attribute__((warn_unused_result));
/* Removes the images below `index`: a newer snapshot has been taken or applied. */
struct error *snap_release_databases(const struct snap_options *options, const char *directory,
                                     uint64_t index) __attribute__((warn_unused_result));

/* free() them. */
char *snap_path(const char *directory, uint64_t term, uint64_t index) __attribute__((warn_unused_result));
char *snap_database_path(const char *directory, uint64_t index) __attribute__((warn_unused_result));
/* True for exactly the names that these make. */
bool snap_parse_name(const char *name, uint64_t *term, uint64_t *index);
bool snap_parse_database_name(const char *name, uint64_t *index);

#endif
