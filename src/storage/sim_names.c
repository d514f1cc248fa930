#include "storage/sim_names.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct sim_name {
    char *name;
    struct sim_inode *inode;
    UT_hash_handle hh;
};

/* Each folder and inode is referenced. */
struct sim_change {
    struct sim_inode *from; /* NULL: nothing is removed */
    char *from_name;
    struct sim_inode *to; /* NULL: nothing is added */
    char *to_name;
    struct sim_inode *inode; /* what gets the name */
    TAILQ_ENTRY(sim_change) link;
};

/* --- inodes and tables of names --- */

struct sim_inode *sim_inode_new(struct sim_names *names, bool is_directory, unsigned mode)
{
    struct sim_inode *inode = mem_zalloc(1, sizeof(*inode));
    inode->is_directory = is_directory;
    inode->mode = mode;
    if (!is_directory) sim_content_init(&inode->content, names->file_size);
    LIST_INSERT_HEAD(&names->inodes, inode, link);
    return inode;
}

struct sim_inode *sim_inode_ref(struct sim_inode *inode)
{
    inode->references++;
    return inode;
}

static void table_clear(struct sim_name **table);

void sim_inode_unref(struct sim_inode *inode)
{
    assert(inode->references > 0);
    if (--inode->references > 0) return;
    table_clear(&inode->visible);
    table_clear(&inode->durable);
    if (!inode->is_directory) sim_content_deinit(&inode->content);
    LIST_REMOVE(inode, link);
    free(inode);
}

static void table_drop(struct sim_name **table, struct sim_name *name)
{
    HASH_DEL(*table, name);
    sim_inode_unref(name->inode);
    free(name->name);
    free(name);
}

static void table_remove(struct sim_name **table, const char *name)
{
    struct sim_name *found = NULL;
    HASH_FIND_STR(*table, name, found);
    if (found != NULL) table_drop(table, found);
}

static void table_put(struct sim_name **table, const char *name, struct sim_inode *inode)
{
    sim_inode_ref(inode);
    table_remove(table, name);
    struct sim_name *entry = mem_zalloc(1, sizeof(*entry));
    entry->name = mem_strdup(name);
    entry->inode = inode;
    HASH_ADD_KEYPTR(hh, *table, entry->name, strlen(entry->name), entry);
}

static void table_clear(struct sim_name **table)
{
    struct sim_name *name, *next;
    HASH_ITER (hh, *table, name, next) {
        table_drop(table, name);
    }
}

struct sim_inode *sim_names_get(const struct sim_inode *directory, const char *name)
{
    struct sim_name *found = NULL;
    HASH_FIND_STR(directory->visible, name, found);
    return found == NULL ? NULL : found->inode;
}

void sim_names_list(const struct sim_inode *directory, char ***names, size_t *count)
{
    size_t total = HASH_COUNT(directory->visible);
    if (total == 0) return;
    *names = mem_zalloc(total, sizeof(**names));
    for (const struct sim_name *name = directory->visible; name != NULL; name = name->hh.next)
        (*names)[(*count)++] = mem_strdup(name->name);
    fs_names_sort(*names, *count);
}

bool sim_names_contain(const struct sim_inode *outer, const struct sim_inode *inner)
{
    if (outer == inner) return true;
    for (const struct sim_name *name = outer->visible; name != NULL; name = name->hh.next)
        if (name->inode->is_directory && sim_names_contain(name->inode, inner)) return true;
    return false;
}

bool sim_inode_has_name(const struct sim_names *names, const struct sim_inode *inode)
{
    const struct sim_inode *folder;
    LIST_FOREACH (folder, &names->inodes, link)
        for (const struct sim_name *name = folder->visible; name != NULL; name = name->hh.next)
            if (name->inode == inode) return true;
    return false;
}

/* --- pending changes --- */

static void change_apply(const struct sim_change *change, bool durable)
{
    if (change->from != NULL)
        table_remove(durable ? &change->from->durable : &change->from->visible, change->from_name);
    if (change->to != NULL)
        table_put(durable ? &change->to->durable : &change->to->visible, change->to_name, change->inode);
}

static void change_free(struct sim_names *names, struct sim_change *change)
{
    TAILQ_REMOVE(&names->changes, change, link);
    if (change->from != NULL) sim_inode_unref(change->from);
    if (change->to != NULL) sim_inode_unref(change->to);
    if (change->inode != NULL) sim_inode_unref(change->inode);
    free(change->from_name);
    free(change->to_name);
    free(change);
}

static struct sim_change *change_append(struct sim_names *names, struct sim_inode *from,
                                        const char *from_name, struct sim_inode *to, const char *to_name,
                                        struct sim_inode *inode)
{
    struct sim_change *change = mem_zalloc(1, sizeof(*change));
    if (from != NULL) {
        change->from = sim_inode_ref(from);
        change->from_name = mem_strdup(from_name);
    }
    if (to != NULL) {
        change->to = sim_inode_ref(to);
        change->to_name = mem_strdup(to_name);
        change->inode = sim_inode_ref(inode);
    }
    TAILQ_INSERT_TAIL(&names->changes, change, link);
    return change;
}

void sim_names_change(struct sim_names *names, struct sim_inode *from, const char *from_name,
                      struct sim_inode *to, const char *to_name, struct sim_inode *inode)
{
    change_apply(change_append(names, from, from_name, to, to_name, inode), false);
}

static bool change_touches(const struct sim_change *change, const struct sim_inode *directory)
{
    return change->from == directory || change->to == directory;
}

/* A change that also touches another folder takes that folder's earlier ones along, for they are kept in
 * order. */
static void commit_changes(struct sim_names *names, struct sim_inode *directory,
                           const struct sim_change *until)
{
    struct sim_change *change = TAILQ_FIRST(&names->changes);
    while (change != NULL && change != until) {
        if (!change_touches(change, directory)) {
            change = TAILQ_NEXT(change, link);
            continue;
        }
        struct sim_inode *other = change->from == directory ? change->to : change->from;
        if (other != NULL && other != directory) commit_changes(names, other, change);
        struct sim_change *next = TAILQ_NEXT(change, link);
        change_apply(change, true);
        change_free(names, change);
        change = next;
    }
}

void sim_names_sync(struct sim_names *names, struct sim_inode *directory)
{
    commit_changes(names, directory, NULL);
}

uint64_t sim_names_unsynced(const struct sim_names *names)
{
    uint64_t total = 0;
    const struct sim_change *change;
    TAILQ_FOREACH (change, &names->changes, link) total++;
    return total;
}

/* --- crashes --- */

static bool survives(const struct sim_change *change, enum fs_sim_crash_mode mode, struct rng *rng)
{
    if (mode != FS_SIM_RANDOM) return mode == FS_SIM_KEEP_ALL;
    if ((change->from != NULL && change->from->stopped) || (change->to != NULL && change->to->stopped))
        return false;
    return rng_chance(rng, 3, 4);
}

/* Makes the platter's tables the visible ones. Clearing a table may drop the last reference of a folder that
 * is still to be visited, so that all are held meanwhile. */
static void rebuild_visible_tables(struct sim_names *names)
{
    size_t count = 0;
    struct sim_inode *inode;
    LIST_FOREACH (inode, &names->inodes, link) count++;
    struct sim_inode **held = mem_zalloc(count, sizeof(struct sim_inode *));
    count = 0;
    LIST_FOREACH (inode, &names->inodes, link) held[count++] = sim_inode_ref(inode);
    for (size_t i = 0; i < count; i++) {
        held[i]->stopped = false;
        table_clear(&held[i]->visible);
        for (const struct sim_name *name = held[i]->durable; name != NULL; name = name->hh.next)
            table_put(&held[i]->visible, name->name, name->inode);
    }
    for (size_t i = 0; i < count; i++) sim_inode_unref(held[i]);
    free(held);
}

void sim_names_crash(struct sim_names *names, enum fs_sim_crash_mode mode, struct rng *rng)
{
    while (!TAILQ_EMPTY(&names->changes)) {
        struct sim_change *change = TAILQ_FIRST(&names->changes);
        if (survives(change, mode, rng)) {
            change_apply(change, true);
        } else {
            if (change->from != NULL) change->from->stopped = true;
            if (change->to != NULL) change->to->stopped = true;
        }
        change_free(names, change);
    }
    rebuild_visible_tables(names);
}

/* --- paths --- */

bool sim_path_next(const char **path, char part[SIM_NAME_MAX + 1], bool *valid)
{
    for (;;) {
        while (**path == '/') (*path)++;
        size_t length = strcspn(*path, "/");
        if (length == 0) return false;
        if (length > SIM_NAME_MAX || (length == 2 && strncmp(*path, "..", 2) == 0)) {
            *valid = false;
            return false;
        }
        memcpy(part, *path, length);
        part[length] = '\0';
        *path += length;
        if (strcmp(part, ".") != 0) return true;
    }
}

int sim_names_find(const struct sim_names *names, const char *path, struct sim_place *place)
{
    *place = (struct sim_place){.inode = names->root};
    bool valid = true;
    char part[SIM_NAME_MAX + 1];
    while (sim_path_next(&path, part, &valid)) {
        if (place->inode == NULL) return ENOENT;
        if (!place->inode->is_directory) return ENOTDIR;
        place->directory = place->inode;
        memcpy(place->name, part, sizeof(part));
        place->inode = sim_names_get(place->directory, part);
    }
    return valid ? 0 : EINVAL;
}

struct sim_inode *sim_names_find_inode(const struct sim_names *names, const char *path)
{
    struct sim_place place;
    return sim_names_find(names, path, &place) == 0 ? place.inode : NULL;
}

/* --- the whole --- */

static void init_empty(struct sim_names *names, uint64_t file_size)
{
    *names = (struct sim_names){.file_size = file_size};
    LIST_INIT(&names->inodes);
    TAILQ_INIT(&names->changes);
}

void sim_names_init(struct sim_names *names, uint64_t file_size)
{
    init_empty(names, file_size);
    names->root = sim_inode_ref(sim_inode_new(names, true, 0755));
}

void sim_names_deinit(struct sim_names *names)
{
    while (!TAILQ_EMPTY(&names->changes)) change_free(names, TAILQ_FIRST(&names->changes));
    sim_inode_unref(names->root);
    assert(LIST_EMPTY(&names->inodes));
}

static void copy_table(struct sim_name **to, const struct sim_name *from)
{
    for (const struct sim_name *name = from; name != NULL; name = name->hh.next)
        table_put(to, name->name, name->inode->copy);
}

static struct sim_inode *copy_of(const struct sim_inode *inode)
{
    return inode == NULL ? NULL : inode->copy;
}

/* Inodes are copied first, each held by one reference until tables and changes have taken theirs. */
void sim_names_copy(struct sim_names *to, struct sim_names *from)
{
    init_empty(to, from->file_size);
    struct sim_inode *inode, *last = NULL;
    LIST_FOREACH (inode, &from->inodes, link) {
        struct sim_inode *copy = inode->copy = mem_zalloc(1, sizeof(*copy));
        copy->is_directory = inode->is_directory;
        copy->mode = inode->mode;
        copy->references = 1;
        if (!inode->is_directory) sim_content_copy(&copy->content, &inode->content);
        if (last == NULL)
            LIST_INSERT_HEAD(&to->inodes, copy, link);
        else
            LIST_INSERT_AFTER(last, copy, link); /* in the same order */
        last = copy;
    }
    LIST_FOREACH (inode, &from->inodes, link) {
        copy_table(&inode->copy->visible, inode->visible);
        copy_table(&inode->copy->durable, inode->durable);
    }
    to->root = sim_inode_ref(from->root->copy);
    const struct sim_change *change;
    TAILQ_FOREACH (change, &from->changes, link) {
        change_append(to, copy_of(change->from), change->from_name, copy_of(change->to), change->to_name,
                      copy_of(change->inode));
    }
    LIST_FOREACH (inode, &from->inodes, link) {
        struct sim_inode *copy = inode->copy;
        inode->copy = NULL;
        sim_inode_unref(copy);
    }
}
