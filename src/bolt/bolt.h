/* bolt: the storage engine, a copy-on-write B+tree in bbolt's file format.
 *
 * One file holds named buckets, each an ordered map from key to value (both any bytes). One writer at a time
 * changes it in transactions that are durable when bolt_commit returns; any number of readers each see the
 * state of one committed transaction for as long as they like, without locks and without copying, straight
 * from a map of the file. The format is described at the head of page.h; files may be handed to and taken
 * from bbolt and etcd.
 *
 *      bolt_open ─┬─▶ bolt_begin_write ─▶ bolt_bucket_create, bolt_put, bolt_delete ─▶ bolt_commit
 *                 └─▶ bolt_begin_read ──▶ bolt_bucket, bolt_get, bolt_cursor_* ──────▶ bolt_end_read
 *
 * Ownership. Keys and values handed in are copied. Those handed out, and `struct bolt_bucket` values, live
 * exactly as long as their transaction; they must not be written to. Every transaction must have ended before
 * bolt_close.
 *
 * Threads. bolt_begin_write until bolt_commit or bolt_rollback, and bolt_close, belong to one thread at a
 * time (the "backend thread"). bolt_begin_read, bolt_end_read and bolt_stats may be called from any thread at
 * any time; they take a mutex for a moment and never wait for the writer. A read transaction never changes,
 * so threads may share one; each needs cursors of its own. What a write transaction hands out stays on the
 * writer's thread.
 *
 * Long readers. Pages that a transaction frees are reused once no older reader is open: a reader that stays
 * open for long makes the file grow, it never blocks the writer.
 *
 * Errors. Owned values of base/error.h. The file is never trusted: a page is checked before it is used, and
 * one that does not hold together gives ERROR_CORRUPT, naming page and reason; nothing crashes or loops.
 * (Files truncated by somebody else while they are open are beyond that: the map faults.) When a commit fails
 * its transaction is rolled back and the file keeps the former state; when it is a sync or the meta page that
 * failed, what is on disk is unknown, the error says so, and every later bolt_begin_write fails: stop the
 * process and open again.
 */
#ifndef BOLT_BOLT_H
#define BOLT_BOLT_H

#include "base/bytes.h"
#include "base/error.h"

struct bolt;
struct bolt_tx;
struct bolt_tree;
struct bolt_node;
struct fs;

enum {
    BOLT_KEY_MAX = 32768,        /* bytes; the least is 1 */
    BOLT_VALUE_MAX = 0x7ffffffe, /* bytes */
    BOLT_DEPTH_MAX = 32, /* pages from the root of a bucket to a leaf; deeper files are refused as corrupt */
    BOLT_NESTING_MAX = 16,        /* buckets within buckets */
    BOLT_DEFAULT_PAGE_SIZE = 4096 /* of new files */
};

/* ---- The file ---- */

struct bolt_options {
    /* Address space reserved for the map, in bytes. Growth beyond it maps again (old readers keep the old
     * map), so make it larger than the file will get; it costs no memory. Where so much cannot be had, less
     * is taken. 0 starts at 32 KiB, as bbolt does. */
    uint64_t initial_map_size;
    /* Of a file that is created: a power of two from 1024 to 65536; 0 is 4096. Existing files say theirs. */
    uint32_t page_size;
    bool read_only; /* never writes; the file must exist */
    bool no_sync;   /* leave durability to luck, as etcd's --unsafe-no-fsync */
    bool
        any_rows; /* a file whose rows do not match their checksum is opened as it is, to save what is left */
    /* Take the file's lock (exclusive, or shared when read_only); ERROR_LOCKED at once when somebody else
     * holds it. */
    bool lock;
};

/* Opens `path`, creating it (unless read_only) when it is missing or empty; creation is atomic: a new file
 * appears under its name only when it is complete and synced (until then it is PATH.tmp.new). NULL options
 * are all zeros. For writing, all reachable pages are looked at once, in the order of the file, to find the
 * free ones, and the rows are held against their checksum, if we wrote the file last. ERROR_CORRUPT when no
 * meta page is valid, the file is shorter than its meta page says, or damage is found on the way. */
struct error *bolt_open(struct fs *fs, const char *path, const struct bolt_options *options, struct bolt **db)
    __attribute__((warn_unused_result));
/* Frees `db` in every case. NULL is allowed. */
struct error *bolt_close(struct bolt *db) __attribute__((warn_unused_result));
/* The same for a file that has lost its name for good: see fs_file_discard. */
struct error *bolt_discard(struct bolt *db) __attribute__((warn_unused_result));

/* Gives the open file another name, replacing the file that has it, and makes that durable. Belongs to the
 * writer's thread. *renamed tells, also on an error, whether it goes by the new name now. */
struct error *bolt_rename(struct bolt *db, const char *path, bool *renamed)
    __attribute__((warn_unused_result));

struct bolt_stats {
    uint32_t page_size;
    uint64_t txid;   /* of the last commit */
    uint64_t size;   /* bytes: high-water mark * page size; etcd's dbSize */
    uint64_t in_use; /* size less the free pages; etcd's dbSizeInUse. Pages that only old readers need count
                        as used */
    uint64_t file_size;     /* bytes, with what was reserved ahead */
    uint64_t free_pages;    /* ready for reuse */
    uint64_t pending_pages; /* waiting for readers to end */
    uint64_t open_readers;
    uint64_t oldest_reader; /* its txid; that of the last commit when there is none */
};

/* Free and pending pages are 0 for a read-only db, whose free pages are not known. */
void bolt_stats(struct bolt *db, struct bolt_stats *stats);
/* After reading much of the file once: what was touched of it need not stay in this process's memory (it
 * stays in the page cache). Any thread; values handed out stay valid. */
void bolt_forget_pages(struct bolt *db);

/* ---- Transactions ---- */

struct error *bolt_begin_read(struct bolt *db, struct bolt_tx **tx) __attribute__((warn_unused_result));
/* The transaction and all it handed out are gone. NULL is allowed. */
void bolt_end_read(struct bolt_tx *tx);

/* There must be no other write transaction (asserted). */
struct error *bolt_begin_write(struct bolt *db, struct bolt_tx **tx) __attribute__((warn_unused_result));
/* Frees `tx` in every case. NULL: the changes are on disk and visible to readers that begin from now on. An
 * error: see the head of this file. A transaction without changes writes nothing and keeps the txid. */
struct error *bolt_commit(struct bolt_tx *tx) __attribute__((warn_unused_result));

/* What the last commit took, in nanoseconds: making nodes even, giving them pages, writing and syncing. */
struct bolt_commit_times {
    uint64_t rebalance, spill, write;
};
/* Measures commits from now on by this clock; NULL: not at all. The writer's thread. */
void bolt_measure(struct bolt *bolt, uint64_t (*now)(void *context), void *context);
/* The writer's thread. */
struct bolt_commit_times bolt_commit_times(const struct bolt *bolt);
/* NULL is allowed. */
void bolt_rollback(struct bolt_tx *tx);

/* High-water mark * page size of the transaction's state, as it was when the transaction began. */
uint64_t bolt_size(const struct bolt_tx *tx);

/* ---- Buckets ----
 *
 * A small value, copied freely. The root bucket holds the top-level buckets as rows; etcd has nothing below
 * those. Buckets inside buckets are read, kept, copied, checked and deleted with their parent, but not
 * written.
 */
struct bolt_bucket {
    const struct bolt_tx *tx;
    struct bolt_tree *tree;   /* private: the writer's changing tree, or NULL */
    uint64_t page;            /* private: root page, 0 when inline */
    struct bytes inline_page; /* private */
    uint64_t sequence; /* a counter that bbolt keeps per bucket; etcd leaves it at 0. The root bucket's is
                          put to another use: page.h */
    unsigned nesting;  /* private: 0 is the root bucket */
};

/* The bucket of top-level buckets: walk it with a cursor, rows have is_bucket set. It cannot be put into. */
struct bolt_bucket bolt_root(const struct bolt_tx *tx);
/* *found is false and no error when there is none of that name. */
struct error *bolt_bucket(const struct bolt_tx *tx, struct bytes name, struct bolt_bucket *bucket,
                          bool *found) __attribute__((warn_unused_result));
struct error *bolt_bucket_nested(const struct bolt_bucket *parent, struct bytes name,
                                 struct bolt_bucket *bucket, bool *found) __attribute__((warn_unused_result));
/* Opens it when it is there already. */
struct error *bolt_bucket_create(struct bolt_tx *tx, struct bytes name, struct bolt_bucket *bucket)
    __attribute__((warn_unused_result));
/* With everything in it. Values of struct bolt_bucket for it must not be used afterwards. *found as above. */
struct error *bolt_bucket_delete(struct bolt_tx *tx, struct bytes name, bool *found)
    __attribute__((warn_unused_result));

/* ---- Rows ---- */

struct error *bolt_get(const struct bolt_bucket *bucket, struct bytes key, struct bytes *value, bool *found)
    __attribute__((warn_unused_result));
/* Inserts or replaces. ERROR_INVALID: sizes out of bounds, or a nested bucket has that name; nothing changed.
 * After ERROR_CORRUPT the transaction must be rolled back (a commit fails). Fastest for keys that ascend past
 * the last one. */
struct error *bolt_put(const struct bolt_bucket *bucket, struct bytes key, struct bytes value)
    __attribute__((warn_unused_result));
/* No error when it is not there; *found (may be NULL) tells. */
struct error *bolt_delete(const struct bolt_bucket *bucket, struct bytes key, bool *found)
    __attribute__((warn_unused_result));

/* ---- Cursors ----
 *
 * Initialise with bolt_cursor_init, then position. A cursor holds no resources and needs no end; it dies with
 * its transaction. In a write transaction the bucket may be changed while a cursor is on it: next and prev
 * then go on from the key the cursor was at. A position that does not exist makes `valid` false; next and
 * prev of such a cursor stay there.
 */
struct bolt_cursor_frame {
    struct bolt_node *node; /* the writer's changed node, or NULL */
    const uint8_t *page;
    size_t page_size;
    uint64_t page_id;
    uint32_t count;
    uint32_t index;
    bool leaf;
    struct bytes bound; /* the last key seen at this depth: keys must only ever move one way */
};

struct bolt_cursor {
    bool valid;
    bool is_bucket; /* the value is a nested bucket's header: open it by its key */
    struct bytes key;
    struct bytes value;
    /* private */
    struct bolt_bucket bucket;
    uint64_t changes;
    uint32_t depth;
    int direction;
    struct bolt_cursor_frame frames[BOLT_DEPTH_MAX];
};

void bolt_cursor_init(struct bolt_cursor *cursor, const struct bolt_bucket *bucket);
struct error *bolt_cursor_first(struct bolt_cursor *cursor) __attribute__((warn_unused_result));
struct error *bolt_cursor_last(struct bolt_cursor *cursor) __attribute__((warn_unused_result));
/* The first row whose key is `key` or larger. */
struct error *bolt_cursor_seek(struct bolt_cursor *cursor, struct bytes key)
    __attribute__((warn_unused_result));
struct error *bolt_cursor_next(struct bolt_cursor *cursor) __attribute__((warn_unused_result));
struct error *bolt_cursor_prev(struct bolt_cursor *cursor) __attribute__((warn_unused_result));

/* ---- A whole image ----
 *
 * The state of a read transaction as a file, while writing goes on: what etcd's snapshots are. Exactly
 * bolt_size(tx) bytes, read through the file the transaction was begun on, never by its name. Two meta pages
 * with fresh checksums come first; the rest is as it is in the file.
 */

/* Reads up to `size` bytes at `offset` of the image; *read is less only at its end. */
struct error *bolt_image_read(const struct bolt_tx *tx, uint64_t offset, void *data, size_t size,
                              size_t *read) __attribute__((warn_unused_result));
/* Calls `write` with one chunk after the other; it may block; its error ends the transfer and is returned. */
struct error *bolt_write_to(const struct bolt_tx *tx,
                            struct error *(*write)(void *context, struct bytes chunk), void *context)
    __attribute__((warn_unused_result));

/* Copies the live rows of a read transaction into a new, densely packed file: what defragmentation is made
 * of. Rows are copied in order in one pass, pages filled to 90 %, the file written strictly forward and
 * synced at the end. `path` is replaced when it exists and removed again on failure. Renaming it, and syncing
 * the folder, is the caller's. `progress` (may be NULL) is called now and then with the bytes written so far;
 * returning false ends it with ERROR_CANCELED. */
struct error *bolt_compact_to(const struct bolt_tx *tx, struct fs *fs, const char *path,
                              bool (*progress)(void *context, uint64_t written), void *context)
    __attribute__((warn_unused_result));

/* ---- Check ----
 *
 * Proves the structure of a transaction's state: meta checksum, page headers and element bounds, order of all
 * keys, every page used once, and the checksum of the rows where there is one. With a stored freelist, and in
 * a write transaction that has no changes yet, also that every page is either used or free. Each violation is
 * reported in etcd's words where it has some; *violations counts them.
 */
struct error *bolt_check(const struct bolt_tx *tx, void (*report)(void *context, const char *violation),
                         void *context, uint64_t *violations) __attribute__((warn_unused_result));

#endif
