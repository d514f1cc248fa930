/* store: the multi-version key space over a backend.
 *
 * Every change makes a row (revision → encoded mvccpb.KeyValue) in the backend's bucket `key`; the index
 * knows which rows belong to which key. History stays readable until it is compacted away.
 *
 *     revision           starts at 1; every transaction that changes something adds 1
 *     compact_revision   starts at -1; reads below it are refused, reads at it are fine
 *
 * A stored value is the encoding that responses and events carry, so it is only ever copied, never decoded:
 * mvcc_read() hands out the row as it is.
 *
 * Errors: what a client did wrong is an enum mvcc_status; `struct error *` means the backend failed or its
 * rows contradict the index, after which the store must not be used (the process ends). Between
 * mvcc_txn_begin and mvcc_txn_end such an error leaves the transaction open on purpose: it must not become
 * durable.
 *
 * One thread, the node's. Pure: no clock, no I/O but through the backend.
 */
#ifndef MVCC_STORE_H
#define MVCC_STORE_H

#include "base/blob.h"
#include "base/error.h"
#include "base/log.h"
#include "mvcc/index.h"

struct backend;
struct buf;
struct mvcc_store;

enum mvcc_status {
    MVCC_OK,
    MVCC_COMPACTED,       /* required revision has been compacted */
    MVCC_FUTURE_REVISION, /* required revision is a future revision */
};

/* Who owns the leases. All members must be set, or all NULL (no leases: every id unknown). */
struct mvcc_leases {
    void *context;
    bool (*exists)(void *context, int64_t lease);
    /* `key` belongs to `lease` (not 0) from now on, and to no other. At open the lease may be unknown. */
    void (*attach)(void *context, int64_t lease, struct bytes key);
    /* `key` belongs to no lease any more; it may not have had one. */
    void (*detach)(void *context, struct bytes key);
};

struct mvcc_options {
    struct mvcc_leases leases;
    const struct logger *logger; /* NULL: nothing is logged */
};

/* Builds the index from the backend's rows by one scan, reports the leases of live keys through leases.attach
 * (recover the leases first), and takes up a compaction that was not finished. The backend must outlive the
 * store. ERROR_CORRUPT when rows cannot be understood. */
struct error *mvcc_open(struct backend *backend, const struct mvcc_options *options,
                        struct mvcc_store **store) __attribute__((warn_unused_result));
/* Every pin, hash job and sliced range must be over. NULL is allowed. */
void mvcc_close(struct mvcc_store *store);

int64_t mvcc_revision(const struct mvcc_store *store);
int64_t mvcc_compact_revision(const struct mvcc_store *store);
const struct mvcc_index *mvcc_index(const struct mvcc_store *store);
const struct mvcc_leases *mvcc_leases(const struct mvcc_store *store);

/* ---- reading ---- */

/* Whether the state at `revision` can be read; <= 0 means the current one. *at is what to pass to the reads
 * below. */
enum mvcc_status mvcc_check_revision(const struct mvcc_store *store, int64_t revision, int64_t *at);

/* From the index alone; false when absent. entry->key is borrowed until the next change. */
bool mvcc_find(const struct mvcc_store *store, struct bytes key, int64_t at, struct mvcc_entry *entry);
/* The encoded KeyValue of a revision that the index named. Borrowed until the next change of the backend
 * (put, delete, seal, committed). ERROR_CORRUPT when the row is missing. */
struct error *mvcc_read(struct mvcc_store *store, struct mvcc_revision revision, struct bytes *key_value)
    __attribute__((warn_unused_result));
/* Both at once: *found false when absent. */
struct error *mvcc_get(struct mvcc_store *store, struct bytes key, int64_t at, bool *found,
                       struct mvcc_entry *entry, struct bytes *key_value) __attribute__((warn_unused_result));

/* The span that an API request's (key, range_end) means: see api/keys.h. A single key is the span up to its
 * successor; *scratch holds that (free it with buf_deinit). */
struct mvcc_span mvcc_span_of(struct bytes key, struct bytes range_end, struct buf *scratch);

/* Changes as the rows tell them, for watchers that catch up: every row from `from` on with main <= `last`, in
 * order. A tombstone's key_value holds only the key. visit returns false to stop. Rows at or before the
 * compact revision are incomplete. Borrowed for the call; visit must not write. */
struct mvcc_row {
    struct mvcc_revision revision;
    bool deleted;
    struct bytes key;
    struct bytes key_value;
};
typedef bool mvcc_visit_row(void *context, const struct mvcc_row *row);
struct error *mvcc_scan(struct mvcc_store *store, struct mvcc_revision from, int64_t last,
                        mvcc_visit_row *visit, void *context) __attribute__((warn_unused_result));

/* A read at `revision` that goes on over several slices pins it: compactions above it wait (new reads below
 * them are refused at once). Unpin soon: rows pile up meanwhile. */
void mvcc_pin(struct mvcc_store *store, int64_t revision);
void mvcc_unpin(struct mvcc_store *store, int64_t revision);

/* ---- the fields of an encoded KeyValue ---- */

struct mvcc_key_value {
    struct bytes key;
    int64_t created;
    int64_t modified;
    int64_t version;
    struct bytes value;
    int64_t lease;
};
/* Borrows from `encoded`. False when malformed. */
bool mvcc_key_value_parse(struct bytes encoded, struct mvcc_key_value *key_value);
/* The encoding etcd writes (proto3: zeros left out): its size, and writing it where there is room for that;
 * returns the end. */
size_t mvcc_key_value_size(const struct mvcc_key_value *key_value);
uint8_t *mvcc_key_value_put(uint8_t *at, const struct mvcc_key_value *key_value);

/* ---- write transactions ---- */

/* One change of the transaction that ended last: what watchers are told. */
struct mvcc_change {
    struct mvcc_revision revision;
    bool deleted;
    struct bytes key;       /* inside key_value */
    int64_t created;        /* 0 when deleted; == revision.main: the key is new */
    struct blob *key_value; /* the KeyValue of the event: when deleted only key and mod_revision */
};

/* At most one transaction is open. Nothing is visible to watchers or in mvcc_revision() before the end. */
void mvcc_txn_begin(struct mvcc_store *store);
/* The revision that reads inside the transaction use and report: the one of its start until something
 * changed, then the one it writes. */
int64_t mvcc_txn_revision(const struct mvcc_store *store);
/* The revision its changes get. */
int64_t mvcc_txn_write_revision(const struct mvcc_store *store);
/* lease 0: none. The lease must exist. */
void mvcc_txn_put(struct mvcc_store *store, struct bytes key, struct bytes value, int64_t lease);
/* Deletes the live keys of the span in key order; returns how many. */
uint64_t mvcc_txn_delete(struct mvcc_store *store, const struct mvcc_span *span);
/* Returns the changes, count in *count; they and their blobs live until the next mvcc_txn_begin (blob_ref
 * what is to stay). Zero changes take no revision. */
const struct mvcc_change *mvcc_txn_end(struct mvcc_store *store, size_t *count);

/* ---- compaction ---- */

/* Makes `revision` the compact revision, notes it in the backend (commit soon: the caller seals) and queues
 * the removal of rows. A revision <= the compact revision is MVCC_COMPACTED, one above the current
 * MVCC_FUTURE_REVISION. */
enum mvcc_status mvcc_compact_start(struct mvcc_store *store, int64_t revision);
/* Whether rows wait to be removed, and may be now (no pin is in the way). */
bool mvcc_compact_pending(const struct mvcc_store *store);
/* One slice: looks at up to `max_rows` rows. *finished gets the revision whose removal this slice ended, else
 * 0. */
struct error *mvcc_compact_step(struct mvcc_store *store, size_t max_rows, int64_t *finished)
    __attribute__((warn_unused_result));
/* All compactions up to this revision are done with (-1: none yet). */
int64_t mvcc_compact_finished(const struct mvcc_store *store);
/* Rows removed since open. */
uint64_t mvcc_compacted_rows(const struct mvcc_store *store);

/* ---- hashes ---- */

struct mvcc_hash {
    uint32_t hash;
    int64_t revision;         /* the state that was hashed */
    int64_t compact_revision; /* the compaction that state is relative to; hashes compare only when equal */
    int64_t current_revision; /* when the hash was begun */
};
struct mvcc_hash_job;

/* HashKV at `revision` (0: current), to be computed in slices; writes may go on, compactions wait. A revision
 * compacted by a finished compaction of this process is answered from the last ten remembered, with the
 * compact revision of then. */
enum mvcc_status mvcc_hash_begin(struct mvcc_store *store, int64_t revision, struct mvcc_hash_job **job);
/* *done: the hash is known. */
struct error *mvcc_hash_step(struct mvcc_hash_job *job, size_t max_rows, bool *done)
    __attribute__((warn_unused_result));
/* Frees the job; `hash` may be NULL to give up early, else it must be done. */
void mvcc_hash_finish(struct mvcc_hash_job *job, struct mvcc_hash *hash);

enum { MVCC_STORED_HASHES_MAX = 10 };
/* Those remembered of finished compactions, oldest revision first; returns how many. */
size_t mvcc_stored_hashes(const struct mvcc_store *store, struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX]);

#endif
