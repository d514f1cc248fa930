/* fs_sim: a disk in memory that does what real disks do on a bad day.
 *
 * It knows which bytes and which names have been synced, so that a power cut can lose, keep or tear the rest:
 *  - Content is tracked per sector (FS_SIM_SECTOR bytes). A power cut decides for every unsynced write
 * whether it reached the disk, did not, or did in part (each of its sectors by itself). A sector holds one of
 * its versions, never a mix. An unsynced file size is the old one, the new one or, when the file grew,
 * something between.
 *  - Names (create, rename, remove, make directory) become durable by sync_directory of their folder alone:
 * syncing the file does not do it. Those that were not synced survive as a prefix, in order, folder by
 * folder; a rename is atomic.
 *
 * Everything is decided by the seed: the same calls give the same disk. One mutex guards a disk, so that any
 * thread may use it; with several threads the order of their calls is part of what must be the same for a
 * replay.
 *
 * A power cut in the middle of a program: fs_sim_power_off() (or fs_sim_cut_power_after(), or a hook that
 * returns false) makes the operation at hand and every later one fail, so that the code under test runs into
 * its error paths and lets go of its files; then fs_sim_crash() decides what was lost and turns the disk on
 * again. Files that were open before a crash or a kill stay closed: every call on them but close fails.
 *
 * A map points into the disk itself: it is stable for the life of the file's handle, sees every write at
 * once, and touching it beyond the end of the file (rounded up to a page) is a segmentation fault, as it is a
 * bus error on a real one.
 */
#ifndef STORAGE_FS_SIM_H
#define STORAGE_FS_SIM_H

#include "base/bytes.h"
#include "storage/fs.h"

struct fs_sim;

enum { FS_SIM_SECTOR = 512 };

struct fs_sim_options {
    uint64_t seed;
    uint64_t capacity;  /* bytes of all files together (sizes rounded up to pages); 0 = unlimited */
    uint64_t file_size; /* the largest file and map, 0 = 1 GiB (address space only, not memory) */
};

struct fs_sim *fs_sim_new(const struct fs_sim_options *options)
    __attribute__((returns_nonnull, warn_unused_result));
/* Every file of it must have been closed. NULL is allowed. */
void fs_sim_free(struct fs_sim *sim);
/* The interface to hand to the code under test; lives as long as the disk. */
struct fs *fs_sim_fs(struct fs_sim *sim);
/* A disk of its own with the same content, synced and unsynced, the same random state and limits; without
 * open files, locks, faults and hook. May be called from within a hook. */
struct fs_sim *fs_sim_clone(struct fs_sim *sim) __attribute__((returns_nonnull, warn_unused_result));
/* Start a new random sequence, so that clones of one disk may have different crashes. */
void fs_sim_reseed(struct fs_sim *sim, uint64_t seed);

/* --- crashes --- */

enum fs_sim_crash_mode {
    FS_SIM_KEEP_ALL, /* as if all had been written just in time */
    FS_SIM_LOSE_ALL, /* only what was synced */
    FS_SIM_RANDOM,   /* see above */
};

/* Power loss, and power again. */
void fs_sim_crash(struct fs_sim *sim, enum fs_sim_crash_mode mode);
/* kill -9 of the process: the page cache survives, open files and locks do not. */
void fs_sim_kill(struct fs_sim *sim);
/* Every operation fails from now on, until fs_sim_crash() or fs_sim_kill(). */
void fs_sim_power_off(struct fs_sim *sim);
/* Power off instead of the changing operation number `operations` from now; 0 is the very next. */
void fs_sim_cut_power_after(struct fs_sim *sim, uint64_t operations);
/* Changing operations so far (all kinds of FS_SIM_CHANGES), those that failed included. */
uint64_t fs_sim_operations(struct fs_sim *sim);

/* --- faults --- */

enum fs_sim_operation {
    FS_SIM_OPEN = 1 << 0,   /* of a file that is there */
    FS_SIM_CREATE = 1 << 1, /* open that makes the file */
    FS_SIM_READ = 1 << 2,
    FS_SIM_WRITE = 1 << 3,
    FS_SIM_SYNC = 1 << 4, /* sync and sync_data */
    FS_SIM_TRUNCATE = 1 << 5,
    FS_SIM_ALLOCATE = 1 << 6,
    FS_SIM_LOCK = 1 << 7,
    FS_SIM_MAP = 1 << 8,
    FS_SIM_MAKE_DIRECTORY = 1 << 9,
    FS_SIM_LIST = 1 << 10,
    FS_SIM_RENAME = 1 << 11,
    FS_SIM_REMOVE = 1 << 12, /* remove, and remove_tree once per file and folder */
    FS_SIM_SYNC_DIRECTORY = 1 << 13,
    FS_SIM_CHANGES = FS_SIM_CREATE | FS_SIM_WRITE | FS_SIM_SYNC | FS_SIM_TRUNCATE | FS_SIM_ALLOCATE |
                     FS_SIM_MAKE_DIRECTORY | FS_SIM_RENAME | FS_SIM_REMOVE | FS_SIM_SYNC_DIRECTORY,
    FS_SIM_ANY = (1 << 14) - 1,
};

/* Which operations fail, and how. A sync that fails drops data: each unsynced sector has either reached the
 * disk or is forgotten, which shows at the next crash only; a later sync that succeeds does not bring it
 * back. A write that fails is done up to some sector's end when `partial` is set. Anything else that fails
 * changes nothing. */
struct fs_sim_fault {
    unsigned operations; /* of enum fs_sim_operation */
    /* fnmatch() on the whole path ("*.wal"), NULL = any; copied. For a rename: the new path. */
    const char *pattern;
    uint64_t skip;   /* let so many matching operations pass first */
    uint64_t times;  /* then fail so many, 0 = for ever */
    uint64_t one_in; /* of those fail one in so many, at random; 0 and 1 = each */
    int system;      /* errno to fail with: EIO, ENOSPC, ... */
    bool partial;
};

/* At most FS_SIM_FAULTS_MAX at a time; asserted. The first that strikes wins. */
enum { FS_SIM_FAULTS_MAX = 16 };
void fs_sim_add_fault(struct fs_sim *sim, const struct fs_sim_fault *fault);
void fs_sim_clear_faults(struct fs_sim *sim);
/* How many operations failed by a fault so far. */
uint64_t fs_sim_faults_struck(struct fs_sim *sim);

/* Called before every changing operation, with the disk's mutex held; may call any fs_sim function on this
 * disk, not the fs interface of it. Returning false cuts the power before the operation. NULL for none. */
typedef bool fs_sim_hook(void *context, enum fs_sim_operation operation, const char *path);
void fs_sim_set_hook(struct fs_sim *sim, fs_sim_hook *hook, void *context);

/* Turn bit number `bit` (0..7) of the stored byte at `offset`, on disk and in the page cache. False when the
 * file is missing or shorter. */
bool fs_sim_flip_bit(struct fs_sim *sim, const char *path, uint64_t offset, unsigned bit);
/* Change the limit at run time; 0 = unlimited. Files that are there stay. */
void fs_sim_set_capacity(struct fs_sim *sim, uint64_t capacity);
/* Bytes that count against the capacity. */
uint64_t fs_sim_used(struct fs_sim *sim);
/* Sectors and names that a power cut could lose. */
uint64_t fs_sim_unsynced(struct fs_sim *sim);

#endif
