/* backend: etcd's buckets on the bolt engine, with its batching rule.
 *
 * Two sides, so that the node never waits for the disk:
 *
 *   node side    one thread, the node's. Reads and writes are immediate: writes go into the *active* batch in
 * memory, reads look there, then in the batch being committed, then in a bolt read transaction on the last
 * committed state. commit side  backend_commit() writes one sealed batch into bolt and syncs it. It may run
 * on any one thread at a time (the server's backend thread; the simulator calls it when its disk says so).
 *
 *        put/delete            backend_seal             backend_commit          backend_committed
 *     ───────────────▶ active ───────────────▶ in flight ───────────────▶ bolt ───────────────▶ new read view
 *                        │                        │                        │
 *     reads:             1                        2                        3
 *
 * consistent_index rule (its breach once lost writes under load): the index of the last applied
 * entry travels in the same batch as the data it covers. backend_set_consistent() is called by the node when
 * it has applied an entry; backend_seal() writes the two meta rows into the batch it hands out. So a crash
 * rolls data and index back together.
 *
 * Row order: within `key`, rows only ever arrive with a revision above all earlier ones, and are deleted only
 * by compaction; that is what makes looking up the overlay cheap (a sorted array). Other buckets are small.
 */
#ifndef STORAGE_BACKEND_H
#define STORAGE_BACKEND_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"

struct fs;
struct bolt_tx;

/* In bytewise order of their names, the order that Hash walks them in. */
enum backend_bucket {
    BUCKET_ALARM,
    BUCKET_AUTH,
    BUCKET_AUTH_ROLES,
    BUCKET_AUTH_USERS,
    BUCKET_CLUSTER,
    BUCKET_KEY,
    BUCKET_LEASE,
    BUCKET_MEMBERS,
    BUCKET_MEMBERS_REMOVED,
    BUCKET_META,
    BUCKET_COUNT,
};

const char *backend_bucket_name(enum backend_bucket bucket);
struct backend;
/* Of its file; for errors. Lives as long as the backend. */
const char *backend_path(const struct backend *backend);

struct backend_options {
    uint64_t initial_map_size; /* bytes of address space to reserve; 0: 10 GiB (more than fs_sim maps) */
    bool no_sync;              /* --unsafe-no-fsync */
    bool any_rows;             /* rows that do not match their checksum are taken as they are (bolt.h) */
    bool read_only; /* the file must exist, with all buckets; nothing may be sealed. Others may read it too */
    const struct logger *logger;
    uint64_t (*now)(
        void *context); /* nanoseconds, for the commit histogram; NULL: durations are not measured */
    void *now_context;
};

struct backend_metrics {
    struct metric_histogram commit;                  /* etcd_disk_backend_commit_duration_seconds */
    struct metric_histogram rebalance, spill, write; /* its parts, etcd_debugging_disk_backend_commit_* */
    struct metric_histogram defragment;              /* etcd_disk_backend_defrag_duration_seconds */
    struct metric_histogram snapshot; /* etcd_disk_backend_snapshot_duration_seconds; whoever sends one */
    metric_gauge defragmenting;       /* etcd_disk_defrag_inflight */
};

struct backend_batch;
struct blob;

/* Opens (creating when missing) the bolt file at `path`, creates missing buckets, takes its lock. */
struct error *backend_open(struct fs *fs, const char *path, const struct backend_options *options,
                           struct backend **backend) __attribute__((warn_unused_result));
/* Node side, with no batch in flight. What is in the active batch is dropped: commit it first to keep it. */
struct error *backend_close(struct backend *backend) __attribute__((warn_unused_result));

/* ---- node side ---- */

/* Keys and values are copied into the batch. `value` may be empty. In BUCKET_KEY the key must be above every
 * key put before. Keys have 1 to 32768 bytes (bolt's limit): anything else makes the commit fail. */
void backend_put(struct backend *backend, enum backend_bucket bucket, struct bytes key, struct bytes value);
/* The same for a value that is the first `size` bytes of `blob`: not copied, the batch takes a reference of
 * its own. */
void backend_put_blob(struct backend *backend, enum backend_bucket bucket, struct bytes key,
                      struct blob *blob, size_t size);
/* Deleting what is not there is fine. */
void backend_delete(struct backend *backend, enum backend_bucket bucket, struct bytes key);
/* False when absent. *value is borrowed until the next backend_put/delete/seal/committed. */
struct error *backend_get(struct backend *backend, enum backend_bucket bucket, struct bytes key, bool *found,
                          struct bytes *value) __attribute__((warn_unused_result));
/* Rows with from <= key < to in order (`to` empty: to the end). visit returns false to stop early. The view
 * is that of the call: visit must not write. Fails with ERROR_CORRUPT when bolt finds a damaged page. */
typedef bool backend_visit(void *context, struct bytes key, struct bytes value);
struct error *backend_scan(struct backend *backend, enum backend_bucket bucket, struct bytes from,
                           struct bytes to, backend_visit *visit, void *context)
    __attribute__((warn_unused_result));

/* The last applied entry; 0 before the first. Read from meta at open. */
uint64_t backend_consistent_index(const struct backend *backend);
uint64_t backend_consistent_term(const struct backend *backend);
void backend_set_consistent(struct backend *backend, uint64_t index, uint64_t term);

/* Operations in the active batch: the node seals at --backend-batch-limit of them and at every
 * --backend-batch-interval when there are any. */
size_t backend_pending_operations(const struct backend *backend);
/* Memory of the active batch and the one in flight together: the node pauses applying when it grows past its
 * limit. */
size_t backend_pending_bytes(const struct backend *backend);
bool backend_in_flight(const struct backend *backend);
/* Hands out the active batch (with consistent_index, term) for committing and starts a new one; NULL when
 * there is nothing to write: no operation, and the same consistent index as before. No batch may be in
 * flight. */
struct backend_batch *backend_seal(struct backend *backend);
/* The batch is on disk: reads move to the new state. Takes it back, also when it fails (then stop); its
 * memory is freed by the next backend_commit, on that side. */
struct error *backend_committed(struct backend *backend, struct backend_batch *batch)
    __attribute__((warn_unused_result));

/* For who has both sides: commits what is in the active batch, if there is anything. */
struct error *backend_commit_active(struct backend *backend) __attribute__((warn_unused_result));

/* Reads move to the last committed state, and sizes: after backend_defragment. What backend_get gave is gone.
 */
struct error *backend_refresh(struct backend *backend) __attribute__((warn_unused_result));

/* File size (high-water mark * page size) and the part in use, of the last committed state; what Status shows
 * and what the quota is measured against. */
uint64_t backend_size(const struct backend *backend);
uint64_t backend_size_in_use(const struct backend *backend);
uint64_t backend_open_read_transactions(const struct backend *backend);
struct backend_metrics *backend_metrics(struct backend *backend);
/* After a scan of everything at start: the file's pages need not stay resident. Any thread. */
void backend_forget_pages(struct backend *backend);

/* ---- commit side ---- */

/* Writes the batch into bolt and syncs. An error is final: the caller stops the process (a failed fsync is
 * never retried). */
struct error *backend_commit(struct backend *backend, struct backend_batch *batch)
    __attribute__((warn_unused_result));

/* ---- any thread ---- */

/* The Hash RPC's checksum of all buckets, names, keys and values, as of the last commit, without the meta
 * rows that members may differ in (consistent_index, term, storageVersion). Reads the whole file: not for the
 * node's thread. */
struct error *backend_hash(struct backend *backend, uint32_t *hash) __attribute__((warn_unused_result));

/* A read transaction on the last committed state, for what takes long: snapshots, checks. It stays valid
 * while the file is written to and replaced by defragmentation, and keeps the disk space of what it sees. End
 * it before backend_close. */
struct backend_file;
struct backend_reader {
    struct bolt_tx *tx;
    struct backend_file *file; /* private */
};
struct error *backend_read_begin(struct backend *backend, struct backend_reader *reader)
    __attribute__((warn_unused_result));
void backend_read_end(struct backend_reader *reader);
/* Closes files that were replaced and that nobody reads any more, which gives their space back, in portions,
 * and may take a second for large ones: any thread but the node's. Every commit does it, too. */
void backend_close_replaced(struct backend *backend);
/* The consistent index of what it sees. */
struct error *backend_reader_index(const struct backend_reader *reader, uint64_t *index)
    __attribute__((warn_unused_result));

/* Whether the file at `path`, an image received from another member, can become the backend at `index`: sound
 * in its structure, with all buckets and exactly that consistent index. The error says what is wrong. Looks
 * at every page and row, not at what the rows mean. */
struct error *backend_check_image(struct fs *fs, const char *path, uint64_t index)
    __attribute__((warn_unused_result));
/* Puts that image in the place of the backend's file, durably: a crash leaves the one or the other. Both
 * sides belong to the caller meanwhile, no batch may be in flight; the active one is dropped. Readers that
 * are open keep what they see; a defragmentation that is running starts over. After an error only
 * backend_close is allowed. */
struct error *backend_install(struct backend *backend, const char *path, uint64_t index)
    __attribute__((warn_unused_result));

/* Copies what is alive into a new, dense file and puts it in the old one's place, while both sides go on: a
 * commit waits only for the very end, when the last few batches are repeated in the new file. Takes long;
 * meant for a thread of its own; further calls wait for the first. A crash at any point leaves the old or the
 * new file complete under the name. Needs the disk space of the copy, and memory for what is committed
 * meanwhile; beyond a limit of that it gives up (ERROR_LIMIT) and nothing has happened, as with any error
 * unless *is_fatal: then nobody knows which file a power cut would leave, so stop the process.
 *
 * The node side reads from the old file, and its size is the old one's, until backend_refresh (or the next
 * backend_committed). */
struct error *backend_defragment(struct backend *backend, bool *is_fatal) __attribute__((warn_unused_result));

#endif
