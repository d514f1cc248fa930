/* wal: the write-ahead log of Raft entries, hard states and snapshot positions, in etcd's format.
 *
 * A folder of segments "%016x-%016x.wal" (sequence number, index of the first entry that may be in it), each
 * about WAL_SEGMENT_SIZE bytes and preallocated; wal_record.h has the bytes. A new segment is prepared as
 * "0.tmp" or "1.tmp".
 *
 *     begin (or create) ──▶ save, save_snapshot ... ──▶ sync ──▶ close
 *     recover ────────────▶        │
 *                                  └─ a full segment is cut here: synced, and a new one started
 *
 * Group commit: saves gather in memory, wal_flush() writes what has gathered with one pwrite, wal_sync() also
 * makes it durable. So one wal_sync() serves every save before it. What is durable when: all of a save once
 * wal_sync() returned after it; never more than a prefix of the saves otherwise. A power cut leaves a prefix
 * of the records, or a torn record that is recognised by a sector of zeros or the end of the file and cut off
 * by wal_repair(). Anything else that does not match its checksum is corruption: ERROR_CORRUPT, never
 * repaired.
 *
 * After any failing write or sync the log refuses to go on (the page cache may lie after a failed fsync):
 * every later call returns the first failure. Close it and stop.
 *
 * Threads: a `struct wal` belongs to one thread at a time (the log thread). Memory: what has gathered is
 * written early at WAL_PENDING_MAX bytes. Errors: texts are etcd's where it has one, with the file and the
 * offset.
 */
#ifndef STORAGE_WAL_H
#define STORAGE_WAL_H

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "raft/raft.h"
#include "storage/fs.h"

struct wal;

enum {
    WAL_SEGMENT_SIZE = 64000000, /* bytes; a segment is cut after the save that reaches it */
    WAL_PENDING_MAX = 4 << 20,   /* bytes gathered in memory before they are written anyway */
};

/* Names and buckets of etcd_disk_wal_*. */
struct wal_metrics {
    struct metric_histogram fsync_duration; /* of each fdatasync */
    struct metric_histogram write_duration; /* of each pwrite */
    metric_gauge write_bytes;               /* bytes written so far */
};
#define WAL_METRICS_INIT                                                                                     \
    {                                                                                                        \
        .fsync_duration = METRIC_HISTOGRAM(1000000, 14), .write_duration = METRIC_HISTOGRAM(1000000, 14)     \
    }

/* Borrowed for the life of the log. */
struct wal_options {
    struct fs *fs;
    const struct logger *logger;
    struct wal_metrics *metrics;    /* may be NULL */
    uint64_t (*now)(void *context); /* nanoseconds, only differences count; NULL: nothing is measured */
    void *now_context;
    uint64_t segment_size; /* 0: WAL_SEGMENT_SIZE. Smaller ones are for tests */
    bool no_sync;          /* --unsafe-no-fsync */
};

/* A snapshot's position. */
struct wal_snapshot {
    uint64_t index;
    uint64_t term;
    bool has_conf_state; /* files of 3.4 have none */
    struct raft_conf_state conf_state;
};

struct wal_snapshots {
    struct wal_snapshot *items; /* in the order of the log */
    size_t count;
};
void wal_snapshots_deinit(struct wal_snapshots *snapshots);

/* What was read. Zero-initialised is empty. */
struct wal_content {
    struct buf metadata; /* etcdserverpb.Metadata, opaque here */
    struct raft_hard_state hard_state;
    struct raft_entries entries; /* consecutive, the first one follows the snapshot that was asked for */
    bool torn;                   /* wal_read only: it ended in the middle of a record */
};
void wal_content_deinit(struct wal_content *content);

/* --- starting --- */

/* True when the folder holds a segment. A missing folder is fine. */
struct error *wal_exists(struct fs *fs, const char *directory, bool *exists)
    __attribute__((warn_unused_result));

/* A new log: one segment with metadata and the position (0, 0). It is built in "DIRECTORY.tmp" (removed first
 * when it is there; its parent must exist). wal_begin leaves it there, so that the first entries can be saved
 * before anybody takes it for a log; wal_publish syncs, moves it to DIRECTORY, replacing what is there, and
 * makes the move durable. A log that is closed unpublished is removed. wal_create is both. */
struct error *wal_begin(const struct wal_options *options, const char *directory, struct bytes metadata,
                        struct wal **wal) __attribute__((warn_unused_result));
struct error *wal_publish(struct wal *wal) __attribute__((warn_unused_result));
struct error *wal_create(const struct wal_options *options, const char *directory, struct bytes metadata,
                         struct wal **wal) __attribute__((warn_unused_result));

/* Opens for appending after the snapshot (index, term), whose position must be in the log, and reads
 * everything behind it. `content` must be empty; on an error it stays so. ERROR_TORN: wal_repair() may help.
 * ERROR_LOCKED: another process has it. */
struct error *wal_open(const struct wal_options *options, const char *directory, uint64_t index,
                       uint64_t term, struct wal **wal, struct wal_content *content)
    __attribute__((warn_unused_result));
/* wal_open; if that finds a torn end, wal_repair and wal_open once more. */
struct error *wal_recover(const struct wal_options *options, const char *directory, uint64_t index,
                          uint64_t term, struct wal **wal, struct wal_content *content)
    __attribute__((warn_unused_result));
/* Reads without locking or changing anything; a torn end is taken for the end. */
struct error *wal_read(const struct wal_options *options, const char *directory, uint64_t index,
                       uint64_t term, struct wal_content *content) __attribute__((warn_unused_result));
/* Cuts a torn record off the last segment, after copying the file to NAME.broken. Fails on anything but a
 * torn end. */
struct error *wal_repair(const struct wal_options *options, const char *directory)
    __attribute__((warn_unused_result));
/* The positions of the snapshots from index `since` on (some older ones may be among them) that count: a
 * position above the committed index belongs to a snapshot that was never finished. Segments that end before
 * `since` are not read, however many there are. `snapshots` must be empty. */
struct error *wal_valid_snapshots(const struct wal_options *options, const char *directory, uint64_t since,
                                  struct wal_snapshots *snapshots) __attribute__((warn_unused_result));

/* --- appending --- */

/* Entries, then the hard state unless it is all zero or NULL. *must_sync is set when this must be durable
 * before anybody is told of it (there are entries, or term or vote changed), else left alone: a later sync
 * may serve for it. Entries are copied; indexes may go back (the log then continues from there), never leave
 * a gap: asserted. */
struct error *wal_save(struct wal *wal, const struct raft_hard_state *state, const struct raft_entry *entries,
                       size_t count, bool *must_sync) __attribute__((warn_unused_result));
/* The commit point of a snapshot whose data is durable already. Always followed by wal_sync. */
struct error *wal_save_snapshot(struct wal *wal, uint64_t index, uint64_t term,
                                const struct raft_conf_state *conf_state) __attribute__((warn_unused_result));
/* Hands what has gathered to the operating system. */
struct error *wal_flush(struct wal *wal) __attribute__((warn_unused_result));
/* wal_flush, then everything is durable. */
struct error *wal_sync(struct wal *wal) __attribute__((warn_unused_result));
/* Preallocates the next segment unless it is there; call it when there is nothing better to do, so that a cut
 * need not. */
struct error *wal_prepare(struct wal *wal) __attribute__((warn_unused_result));

/* --- ending --- */

/* Lets go of the segments that only hold entries below `index`, the position of a snapshot: wal_purge may
 * remove them. */
struct error *wal_release(struct wal *wal, uint64_t index) __attribute__((warn_unused_result));
/* Removes the oldest segments until `keep` are left (0: nothing), stopping at one that is in use. Any thread.
 */
struct error *wal_purge(const struct wal_options *options, const char *directory, size_t keep,
                        size_t *removed) __attribute__((warn_unused_result));
/* Flushes and syncs (unless it failed before), removes the prepared segment, frees. NULL is allowed. */
struct error *wal_close(struct wal *wal) __attribute__((warn_unused_result));

/* Bytes of the segment at hand, with what has gathered; and its sequence number. */
uint64_t wal_offset(const struct wal *wal);
uint64_t wal_sequence(const struct wal *wal);

#endif
