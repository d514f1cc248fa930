/* sim_names: the folders of fs_sim and what their names stand for, now and on the platter (private to
 * fs_sim).
 *
 * Every folder has two tables of names: the one programs see and the one on the platter. A change of names
 * goes into the first at once and onto one list of pending changes, in order. Syncing a folder applies its
 * pending changes to the platter's table; a crash applies some prefix of each folder's and makes the result
 * the visible table. Not thread safe.
 */
#ifndef STORAGE_SIM_NAMES_H
#define STORAGE_SIM_NAMES_H

#include "base/list.h"
#include "storage/sim_content.h"

enum { SIM_NAME_MAX = 255 }; /* bytes */

struct sim_name;

/* A file or a folder. Lives as long as something refers to it: a name in any table, a pending change, an open
 * handle. */
struct sim_inode {
    unsigned references;
    bool is_directory;
    unsigned mode;
    bool stopped;           /* scratch of a crash: later changes of this folder are lost */
    struct sim_inode *copy; /* scratch of sim_names_copy */
    /* a folder */
    struct sim_name *visible;
    struct sim_name *durable;
    /* a file */
    struct sim_content content;
    unsigned shared_locks;
    bool exclusive_lock;
    bool segment_lock;
    LIST_ENTRY(sim_inode) link;
};

struct sim_names {
    struct sim_inode *root;
    LIST_HEAD(, sim_inode) inodes; /* crashes draw random numbers in this order */
    TAILQ_HEAD(, sim_change) changes;
    uint64_t file_size; /* reserved for the content of each file */
};

/* With an empty root folder. */
void sim_names_init(struct sim_names *names, uint64_t file_size);
/* Nothing else may refer to an inode any more. */
void sim_names_deinit(struct sim_names *names);
/* Initializes `to` with the same, pending changes too. Inodes that only an open handle holds (removed files)
 * stay behind. `from` is as it was afterwards. */
void sim_names_copy(struct sim_names *to, struct sim_names *from);

/* A new one without a name and without references. */
struct sim_inode *sim_inode_new(struct sim_names *names, bool is_directory, unsigned mode);
struct sim_inode *sim_inode_ref(struct sim_inode *inode);
void sim_inode_unref(struct sim_inode *inode);
/* Whether it can be reached by a path. */
bool sim_inode_has_name(const struct sim_names *names, const struct sim_inode *inode);

/* What a name of this folder visibly stands for; NULL: nothing. */
struct sim_inode *sim_names_get(const struct sim_inode *directory, const char *name);
/* The visible names, sorted; free with fs_names_free(). Both stay untouched when there is none. */
void sim_names_list(const struct sim_inode *directory, char ***names, size_t *count);
/* Whether `inner` is `outer` or visibly somewhere below it. */
bool sim_names_contain(const struct sim_inode *outer, const struct sim_inode *inner);

/* Removes a name (`from` is not NULL), gives one to `inode` (`to` is not NULL), or both at once for a rename.
 */
void sim_names_change(struct sim_names *names, struct sim_inode *from, const char *from_name,
                      struct sim_inode *to, const char *to_name, struct sim_inode *inode);
/* Makes the changes of one folder durable. */
void sim_names_sync(struct sim_names *names, struct sim_inode *directory);
/* Which pending changes survive is drawn from `rng` in FS_SIM_RANDOM. Contents are left alone. */
void sim_names_crash(struct sim_names *names, enum fs_sim_crash_mode mode, struct rng *rng);
/* How many changes a power cut could lose. */
uint64_t sim_names_unsynced(const struct sim_names *names);

/* Cuts the next part off *path: false at the end, or with *valid cleared when it can be no name. "." counts
 * for nothing. */
bool sim_path_next(const char **path, char part[SIM_NAME_MAX + 1], bool *valid);

struct sim_place {
    struct sim_inode *directory; /* NULL for the root itself */
    char name[SIM_NAME_MAX + 1];
    struct sim_inode *inode; /* NULL: nothing has this name */
};

/* Walks to the folder of the last part. An errno, or 0. */
int sim_names_find(const struct sim_names *names, const char *path, struct sim_place *place);
/* What the path stands for; NULL: nothing. */
struct sim_inode *sim_names_find_inode(const struct sim_names *names, const char *path);

#endif
