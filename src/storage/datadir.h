/* datadir: where a member keeps what, etcd's layout.
 *
 *     ROOT/                          0700, like every folder here
 *       member/
 *         wal/    (or --wal-dir)     segments (wal.h)
 *         wal.tmp/                   a log under construction; removed when found
 *         snap/   db                 the backend
 *                 *.snap, *.snap.db  snapshots (snap.h)
 *                 tmp*               an image that is being received; removed at start
 *                 db.tmp*            a defragmentation's output; removed at start
 */
#ifndef STORAGE_DATADIR_H
#define STORAGE_DATADIR_H

#include "base/error.h"
#include "base/log.h"
#include "storage/fs.h"

struct datadir {
    char *root;
    char *member;
    char *wal;
    char *snap;
    char *database;
};

/* wal: another folder for the log (--wal-dir), or NULL or "" for the usual one. */
void datadir_init(struct datadir *datadir, const char *root, const char *wal);
void datadir_deinit(struct datadir *datadir);

/* Makes the folders that are missing (the log's own excepted: wal_create makes it, only its parent is made
 * here), durably, makes the names durable that a killed process has left, and proves that each can be written
 * to by creating and removing a ".touch" file. Other modes than 0700 are warned of. */
struct error *datadir_create(const struct datadir *datadir, struct fs *fs, const struct logger *logger)
    __attribute__((warn_unused_result));
/* Removes what a crash left behind: received images, defragmentation output, an unfinished log. Nobody may be
 * using them. */
struct error *datadir_remove_leftovers(const struct datadir *datadir, struct fs *fs,
                                       const struct logger *logger) __attribute__((warn_unused_result));
/* True when it does not exist or holds nothing. */
struct error *datadir_is_empty(struct fs *fs, const char *directory, bool *empty)
    __attribute__((warn_unused_result));

#endif
