/* The inside of the backend, shared by backend.c, backend_defragment.c and backend_install.c. */
#ifndef STORAGE_BACKEND_INTERNAL_H
#define STORAGE_BACKEND_INTERNAL_H

#include "base/arena.h"
#include "base/blob.h"
#include "bolt/bolt.h"
#include "storage/backend.h"

#include <pthread.h>
#include <stdatomic.h>

/* What a batch says about one row: a value, or that it is gone. */
struct row {
    struct bytes key;
    struct bytes value;
    bool deleted;
};

/* Rows in key order, no key twice. */
struct rows {
    struct row *rows;
    size_t count;
    size_t capacity;
};

/* Key rows are only appended and only deleted from the front on, so their deletions are kept apart: inserting
 * them among the puts would move all of those each time. A row of the batch itself that is deleted is marked
 * in place. */
struct backend_batch {
    struct rows buckets[BUCKET_COUNT];
    struct rows key_deletes;
    struct arena *arena; /* keys, and values that were copied */
    struct blob **blobs; /* the others */
    size_t blob_count;
    size_t blob_capacity;
    size_t blob_bytes;
    size_t operations;
    atomic_uint references;        /* the node side's, and a defragmentation's that has to repeat it */
    struct backend_batch *retired; /* the one before, for the commit side to free */
};

/* A file that is read, or was until another one replaced it: open as long as somebody reads it. */
struct backend_file {
    struct backend *backend;
    struct bolt *bolt;
    atomic_uint users;
    bool lost_its_name;        /* for good: set when it is replaced */
    struct backend_file *next; /* in backend.replaced */
};

/* What was committed since a defragmentation began to copy. */
struct recording {
    bool active;
    uint64_t generation; /* of the file that is copied */
    bool overflowed;     /* more than RECORDING_MAX bytes: all were dropped */
    struct backend_batch **batches;
    size_t count;
    size_t capacity;
    size_t bytes;
};

struct backend {
    struct fs *fs;
    char *path;
    uint64_t map_size;
    bool no_sync;
    bool read_only;
    struct backend_file *file;     /* changed with both locks held, read with either */
    pthread_mutex_t file_lock;     /* for a moment only */
    struct backend_file *replaced; /* nobody reads them any more; to be closed; under file_lock */
    pthread_mutex_t write_lock;    /* held while `file` is written to */
    pthread_mutex_t defragment_lock;
    uint64_t generation;        /* counts the files that were installed; under write_lock */
    struct recording recording; /* under write_lock */
    const struct logger *logger;
    uint64_t (*now)(void *context);
    void *now_context;
    struct backend_reader view; /* of the last committed state */
    struct bolt_bucket buckets[BUCKET_COUNT];
    struct backend_batch *active;
    struct backend_batch *in_flight;
    struct backend_batch *retired; /* committed; freeing its many values would hold up the node */
    uint64_t index, term;
    uint64_t sealed_index, sealed_term;
    uint64_t size, size_in_use;
    struct backend_metrics metrics;
};

size_t backend_batch_bytes(const struct backend_batch *batch);
struct backend_batch *backend_batch_ref(struct backend_batch *batch);
/* NULL is allowed. */
void backend_batch_unref(struct backend_batch *batch);
/* Carries out in a write transaction what the batch says. */
struct error *backend_batch_write(struct bolt_tx *tx, const struct backend_batch *batch)
    __attribute__((warn_unused_result));
/* Takes over `bolt`. */
struct backend_file *backend_file_new(struct backend *backend, struct bolt *bolt);
/* After its last user backend_close_replaced has it, if it is not the backend's own any more. */
void backend_file_unref(struct backend_file *file);
uint64_t backend_now(const struct backend *backend);
struct error *backend_open_bucket(const struct bolt_tx *tx, enum backend_bucket bucket,
                                  struct bolt_bucket *opened) __attribute__((warn_unused_result));
/* The consistent index that a transaction sees. */
struct error *backend_tx_index(const struct bolt_tx *tx, uint64_t *index) __attribute__((warn_unused_result));
/* With write_lock held: `bolt`, which is taken, is the backend's file from now on. `durable`: it has the name
 * of the one before even after a power cut. */
void backend_swap_files(struct backend *backend, struct bolt *bolt, bool durable);
/* The node side drops the active batch and begins with what the file holds. */
struct error *backend_start_over(struct backend *backend) __attribute__((warn_unused_result));
/* With write_lock held: a batch was committed. */
void backend_record(struct backend *backend, struct backend_batch *batch);

#endif
