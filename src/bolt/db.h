/* db: what the parts of the engine share; private to src/bolt. */
#ifndef BOLT_DB_H
#define BOLT_DB_H

#include "base/arena.h"
#include "base/buf.h"
#include "bolt/bolt.h"
#include "bolt/freelist.h"
#include "bolt/node.h"
#include "bolt/page.h"

#include <pthread.h>

struct fs_file;

/* A map of the file, kept until the last transaction that began on it has ended. */
struct bolt_map {
    const uint8_t *data;
    uint64_t length;
    unsigned references; /* under the db's mutex */
};

/* A changed node on its way to the file. */
struct dirty_node {
    uint64_t page;
    uint64_t pages;
    const struct bolt_node *node;
};

struct bolt_tx {
    struct bolt *db;
    struct meta meta; /* of the state it began on; the writer's next txid is meta.txid + 1 */
    struct bolt_map *map;
    bool writable;
    TAILQ_ENTRY(bolt_tx) link; /* readers, oldest first */

    /* The rest is the writer's. Everything it allocates comes from `arena`. */
    struct arena *arena;
    bool changed;
    uint32_t rows;            /* checksum of all of them, as changed so far */
    bool damaged;             /* a change stopped half way: it can only be rolled back */
    struct bolt_tree *root;   /* of the root bucket */
    struct bolt_tree *trees;  /* of the buckets opened so far */
    uint64_t high_water;      /* grows while pages are assigned */
    struct spans allocated;   /* from the freelist, to go back when the commit fails */
    struct dirty_node *dirty; /* in the arena */
    size_t dirty_count;
    size_t dirty_capacity;
};

TAILQ_HEAD(bolt_readers, bolt_tx);

struct bolt {
    struct fs *fs;
    struct fs_file *file;
    char *path;
    bool read_only;
    bool no_sync;
    bool any_rows;
    uint64_t initial_map_size;
    uint32_t page_size;

    /* Writer's thread. */
    struct freelist freelist;
    uint32_t rows; /* checksum of all of them, of the last commit */
    struct bolt_tx *writer;
    struct arena *arena;
    struct buf staging;             /* adjacent pages on their way into one write */
    char *failure;                  /* why nothing may be written any more, or NULL */
    uint64_t (*now)(void *context); /* NULL: commits are not measured */
    void *now_context;
    struct bolt_commit_times times;

    /* Under the mutex. */
    pthread_mutex_t mutex;
    struct meta meta; /* of the last commit */
    struct bolt_map *map;
    struct bolt_readers readers;
    uint64_t open_readers;
    uint64_t file_size; /* changed by the writer alone */
    uint64_t free_pages;
    uint64_t pending_pages;
};

/* ---- db.c ---- */

/* A map that holds `size` bytes becomes the current one. */
struct error *bolt_map_reserve(struct bolt *db, uint64_t size) __attribute__((warn_unused_result));
/* Drops a reference; the caller holds the mutex. */
void bolt_map_release(struct bolt *db, struct bolt_map *map);
/* Hands the freelist's counts to bolt_stats; writer's thread, which holds the mutex. */
void bolt_publish_free_counts(struct bolt *db);

/* ---- cursor.c ---- */

/* Page `id` of the transaction's state. */
struct error *bolt_tx_page(const struct bolt_tx *tx, uint64_t id, struct page *page)
    __attribute__((warn_unused_result));
/* The row at `key`; what it points to lives as long as the transaction. */
struct error *bolt_find(const struct bolt_bucket *bucket, struct bytes key, struct element *element,
                        bool *found) __attribute__((warn_unused_result));

/* ---- commit.c ---- */

struct error *bolt_write_changes(struct bolt_tx *tx) __attribute__((warn_unused_result));

#endif
