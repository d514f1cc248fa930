/* The handles, locks, power and faults of the simulated disk; sim_names.c has the folders, sim_content.c the
 * bytes. */
#include "storage/fs_sim.h"

#include "base/rng.h"
#include "storage/sim_names.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdlib.h>

static const uint64_t DEFAULT_FILE_SIZE = (uint64_t)1 << 30;

enum { PAGE = 4096 };

struct fs_sim {
    struct fs base;
    pthread_mutex_t mutex; /* recursive: hooks run under it */
    struct fs_sim_options options;
    struct rng rng;
    struct sim_names names;
    uint64_t generation; /* handles of an earlier one are dead */
    size_t open_files;
    bool powered_off;
    uint64_t operations;
    uint64_t cut_at; /* operation number to lose power at */
    struct fs_sim_fault faults[FS_SIM_FAULTS_MAX];
    size_t fault_count;
    uint64_t struck;
    fs_sim_hook *hook;
    void *hook_context;
};

struct sim_file {
    struct fs_file base;
    struct fs_sim *sim;
    struct sim_inode *inode;
    char *path;
    uint64_t generation;
    bool writable;
    bool has_shared, has_exclusive, has_segment;
};

static struct fs_sim *sim_of(struct fs *fs)
{
    return (struct fs_sim *)fs;
}

static void lock_sim(struct fs_sim *sim)
{
    int result = pthread_mutex_lock(&sim->mutex);
    assert(result == 0);
    (void)result;
}

static void unlock_sim(struct fs_sim *sim)
{
    int result = pthread_mutex_unlock(&sim->mutex);
    assert(result == 0);
    (void)result;
}

/* --- faults and power --- */

static const char *operation_name(enum fs_sim_operation operation)
{
    switch (operation) {
    case FS_SIM_OPEN:
    case FS_SIM_CREATE:
        return "open";
    case FS_SIM_READ:
        return "read";
    case FS_SIM_WRITE:
        return "write";
    case FS_SIM_SYNC:
        return "fsync";
    case FS_SIM_TRUNCATE:
        return "truncate";
    case FS_SIM_ALLOCATE:
        return "allocate";
    case FS_SIM_LOCK:
        return "lock";
    case FS_SIM_MAP:
        return "map";
    case FS_SIM_MAKE_DIRECTORY:
        return "mkdir";
    case FS_SIM_LIST:
        return "list";
    case FS_SIM_RENAME:
        return "rename to";
    case FS_SIM_REMOVE:
        return "remove";
    case FS_SIM_SYNC_DIRECTORY:
        return "fsync folder";
    case FS_SIM_CHANGES:
    case FS_SIM_ANY:
        break;
    }
    assert(false && "one operation");
    return "";
}

static bool fault_strikes(struct fs_sim *sim, struct fs_sim_fault *fault, enum fs_sim_operation operation,
                          const char *path)
{
    if (fault->system == 0 || (fault->operations & (unsigned)operation) == 0) return false;
    if (fault->pattern != NULL && fnmatch(fault->pattern, path, 0) != 0) return false;
    if (fault->skip > 0) {
        fault->skip--;
        return false;
    }
    if (fault->one_in > 1 && !rng_chance(&sim->rng, 1, fault->one_in)) return false;
    return true;
}

/* Every operation passes here first. *partial (may be NULL) says whether a failing write is to be done in
 * part. */
static struct error *begin(struct fs_sim *sim, enum fs_sim_operation operation, const char *path,
                           bool *partial)
{
    if (partial != NULL) *partial = false;
    if (!sim->powered_off && ((unsigned)operation & FS_SIM_CHANGES) != 0) {
        uint64_t number = sim->operations++;
        if (sim->hook != NULL && !sim->hook(sim->hook_context, operation, path)) sim->powered_off = true;
        if (number == sim->cut_at) sim->powered_off = true;
    }
    if (sim->powered_off)
        return error_system(EIO, "%s %s: the power is off", operation_name(operation), path);
    for (size_t i = 0; i < sim->fault_count; i++) {
        struct fs_sim_fault *fault = &sim->faults[i];
        if (!fault_strikes(sim, fault, operation, path)) continue;
        int system = fault->system;
        if (partial != NULL) *partial = fault->partial;
        if (fault->times > 0 && --fault->times == 0) fault->system = 0; /* spent */
        sim->struck++;
        return error_system(system, "%s %s", operation_name(operation), path);
    }
    return NULL;
}

static struct error *begin_on_file(struct sim_file *file, enum fs_sim_operation operation, bool *partial)
{
    if (partial != NULL) *partial = false;
    if (file->generation != file->sim->generation)
        return error_system(EIO, "%s %s: opened before a crash", operation_name(operation), file->path);
    return begin(file->sim, operation, file->path, partial);
}

static uint64_t used(struct fs_sim *sim)
{
    uint64_t total = 0;
    const struct sim_inode *inode;
    LIST_FOREACH (inode, &sim->names.inodes, link) {
        if (!inode->is_directory) total += inode->content.accessible;
    }
    return total;
}

/* How large the file may become, at most `size`. */
static uint64_t room_for(struct fs_sim *sim, const struct sim_inode *inode, uint64_t size)
{
    if (sim->options.capacity == 0 || size <= inode->content.accessible) return size;
    uint64_t others = used(sim) - inode->content.accessible;
    uint64_t room = others >= sim->options.capacity ? 0 : (sim->options.capacity - others) / PAGE * PAGE;
    if (room < inode->content.accessible) room = inode->content.accessible;
    return size < room ? size : room;
}

/* --- files --- */

static struct sim_file *file_of(struct fs_file *file)
{
    return (struct sim_file *)file;
}

static void drop_locks(struct sim_file *file)
{
    if (file->generation == file->sim->generation) {
        if (file->has_shared) file->inode->shared_locks--;
        if (file->has_exclusive) file->inode->exclusive_lock = false;
        if (file->has_segment) file->inode->segment_lock = false;
    }
    file->has_shared = file->has_exclusive = file->has_segment = false;
}

static struct error *sim_close(struct fs_file *base)
{
    struct sim_file *file = file_of(base);
    struct fs_sim *sim = file->sim;
    lock_sim(sim);
    drop_locks(file);
    sim_inode_unref(file->inode);
    assert(sim->open_files > 0);
    sim->open_files--;
    unlock_sim(sim);
    free(file->path);
    free(file);
    return NULL;
}

/* The content goes even when the loss of the name is not durable: a caller that is too early shall notice. */
static struct error *sim_discard(struct fs_file *base)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    bool alive = !file->sim->powered_off && file->generation == file->sim->generation;
    if (alive && !sim_inode_has_name(&file->sim->names, file->inode))
        sim_content_resize(&file->inode->content, 0);
    unlock_sim(file->sim);
    return sim_close(base);
}

static struct error *sim_pread(struct fs_file *base, void *data, size_t size, uint64_t offset, size_t *read)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    struct error *error = begin_on_file(file, FS_SIM_READ, NULL);
    const struct sim_content *content = &file->inode->content;
    if (error == NULL && offset < content->size) {
        uint64_t rest = content->size - offset;
        *read = size < rest ? size : (size_t)rest;
        memcpy(data, content->data + offset, *read);
    }
    unlock_sim(file->sim);
    return error;
}

static struct error *write_limited(struct sim_file *file, const void *data, size_t size, uint64_t offset)
{
    struct sim_content *content = &file->inode->content;
    if (!file->writable) return error_system(EBADF, "write %s", file->path);
    if (size == 0) return NULL;
    if (offset > content->reserved || size > content->reserved - offset)
        return error_system(EFBIG, "write %s", file->path);
    uint64_t end = room_for(file->sim, file->inode, offset + size);
    if (end < offset + size) {
        if (end > offset) sim_content_write(content, data, (size_t)(end - offset), offset);
        return error_system(ENOSPC, "write %s", file->path);
    }
    sim_content_write(content, data, size, offset);
    return NULL;
}

/* Some whole sectors: the kernel copies and the disk stores no smaller units. */
static size_t partial_size(struct fs_sim *sim, size_t size, uint64_t offset)
{
    uint64_t end = (offset + size - (size > 0 ? 1 : 0)) / FS_SIM_SECTOR * FS_SIM_SECTOR;
    uint64_t begin = offset / FS_SIM_SECTOR;
    if (end <= offset) return 0;
    uint64_t sectors = end / FS_SIM_SECTOR - begin;
    uint64_t stop = (begin + rng_below(&sim->rng, sectors + 1)) * FS_SIM_SECTOR;
    return stop <= offset ? 0 : (size_t)(stop - offset);
}

static struct error *sim_pwrite(struct fs_file *base, const void *data, size_t size, uint64_t offset)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    bool partial = false;
    struct error *error = begin_on_file(file, FS_SIM_WRITE, &partial);
    if (error == NULL)
        error = write_limited(file, data, size, offset);
    else if (partial)
        error_free(write_limited(file, data, partial_size(file->sim, size, offset), offset));
    unlock_sim(file->sim);
    return error;
}

static struct error *sim_sync(struct fs_file *base)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    uint64_t struck = file->sim->struck;
    struct error *error = begin_on_file(file, FS_SIM_SYNC, NULL);
    if (error == NULL)
        sim_content_sync(&file->inode->content);
    else if (file->sim->struck != struck)
        sim_content_sync_failed(&file->inode->content, &file->sim->rng);
    unlock_sim(file->sim);
    return error;
}

static struct error *resize_limited(struct sim_file *file, enum fs_sim_operation operation, uint64_t size)
{
    const char *name = operation_name(operation);
    if (!file->writable) return error_system(EBADF, "%s %s", name, file->path);
    if (size > file->inode->content.reserved) return error_system(EFBIG, "%s %s", name, file->path);
    if (room_for(file->sim, file->inode, size) < size) return error_system(ENOSPC, "%s %s", name, file->path);
    sim_content_resize(&file->inode->content, size);
    return NULL;
}

static struct error *sim_truncate(struct fs_file *base, uint64_t size)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    struct error *error = begin_on_file(file, FS_SIM_TRUNCATE, NULL);
    if (error == NULL) error = resize_limited(file, FS_SIM_TRUNCATE, size);
    unlock_sim(file->sim);
    return error;
}

static struct error *sim_allocate(struct fs_file *base, uint64_t size)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    struct error *error = begin_on_file(file, FS_SIM_ALLOCATE, NULL);
    if (error == NULL && size > file->inode->content.size)
        error = resize_limited(file, FS_SIM_ALLOCATE, size);
    unlock_sim(file->sim);
    return error;
}

static struct error *sim_size(struct fs_file *base, uint64_t *size)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    struct error *error = NULL;
    if (file->sim->powered_off || file->generation != file->sim->generation)
        error = error_system(EIO, "stat %s", file->path);
    else
        *size = file->inode->content.size;
    unlock_sim(file->sim);
    return error;
}

/* flock and the write lock of a segment know nothing of each other, as on Linux. A handle may convert its own
 * flock. */
static bool take_lock(struct sim_file *file, enum fs_lock kind)
{
    struct sim_inode *inode = file->inode;
    unsigned other_shared = inode->shared_locks - (file->has_shared ? 1 : 0);
    bool other_exclusive = inode->exclusive_lock && !file->has_exclusive;
    switch (kind) {
    case FS_LOCK_SHARED:
        if (other_exclusive) return false;
        inode->shared_locks = other_shared + 1;
        if (file->has_exclusive) inode->exclusive_lock = false;
        file->has_shared = true;
        file->has_exclusive = false;
        return true;
    case FS_LOCK_EXCLUSIVE:
        if (other_exclusive || other_shared > 0) return false;
        inode->shared_locks = 0;
        inode->exclusive_lock = true;
        file->has_exclusive = true;
        file->has_shared = false;
        return true;
    case FS_LOCK_SEGMENT:
        if (inode->segment_lock && !file->has_segment) return false;
        inode->segment_lock = file->has_segment = true;
        return true;
    }
    return false;
}

static struct error *sim_lock(struct fs_file *base, enum fs_lock kind)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    struct error *error = begin_on_file(file, FS_SIM_LOCK, NULL);
    if (error == NULL && kind == FS_LOCK_SEGMENT && !file->writable)
        error = error_system(EBADF, "lock %s", file->path);
    if (error == NULL && !take_lock(file, kind)) error = error_system(EWOULDBLOCK, "lock %s", file->path);
    unlock_sim(file->sim);
    return error;
}

static struct error *sim_map(struct fs_file *base, uint64_t length, const uint8_t **data)
{
    struct sim_file *file = file_of(base);
    lock_sim(file->sim);
    struct error *error = begin_on_file(file, FS_SIM_MAP, NULL);
    if (error == NULL && length > file->inode->content.reserved)
        error = error_system(ENOMEM, "map %s", file->path);
    if (error == NULL) *data = file->inode->content.data;
    unlock_sim(file->sim);
    return error;
}

static void sim_unmap(struct fs_file *base, const uint8_t *data, uint64_t length)
{
    (void)length;
    assert(data == file_of(base)->inode->content.data);
    (void)base;
    (void)data;
}

/* Its files are memory: there is nothing to come back from. */
static void sim_forget(struct fs_file *base, const uint8_t *data, uint64_t length)
{
    sim_unmap(base, data, length);
}

static const struct fs_file_vtable sim_file_vtable = {
    .close = sim_close,
    .discard = sim_discard,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync_data = sim_sync,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .size = sim_size,
    .lock = sim_lock,
    .map = sim_map,
    .unmap = sim_unmap,
    .forget = sim_forget,
};

/* --- the file system --- */

static struct error *open_locked(struct fs_sim *sim, const char *path, unsigned flags, struct fs_file **file)
{
    struct sim_place place;
    int system = sim_names_find(&sim->names, path, &place);
    if (system == 0 && place.inode == NULL && (flags & FS_CREATE) == 0) system = ENOENT;
    if (system == 0 && place.inode != NULL && (flags & FS_EXCLUSIVE) != 0) system = EEXIST;
    if (system == 0 && place.inode != NULL && place.inode->is_directory) system = EISDIR;
    if (system != 0) return error_system(system, "open %s", path);
    TRY(begin(sim, place.inode == NULL ? FS_SIM_CREATE : FS_SIM_OPEN, path, NULL));
    if (place.inode == NULL) {
        place.inode = sim_inode_new(&sim->names, false, (flags & FS_UMASK_MODE) != 0 ? 0644 : 0600);
        sim_names_change(&sim->names, NULL, NULL, place.directory, place.name, place.inode);
    } else if ((flags & FS_TRUNCATE) != 0) {
        TRY(begin(sim, FS_SIM_TRUNCATE, path, NULL));
        sim_content_resize(&place.inode->content, 0);
    }
    struct sim_file *opened = mem_alloc(sizeof(*opened));
    *opened = (struct sim_file){.base = {.vtable = &sim_file_vtable},
                                .sim = sim,
                                .inode = sim_inode_ref(place.inode),
                                .path = mem_strdup(path),
                                .generation = sim->generation,
                                .writable = (flags & FS_WRITE) != 0};
    sim->open_files++;
    *file = &opened->base;
    return NULL;
}

static struct error *sim_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **file)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error = open_locked(sim, path, flags, file);
    unlock_sim(sim);
    return error;
}

static struct error *make_directories(struct fs_sim *sim, const char *path)
{
    const char *rest = path;
    struct sim_inode *directory = sim->names.root;
    bool valid = true;
    char part[SIM_NAME_MAX + 1];
    while (sim_path_next(&rest, part, &valid)) {
        struct sim_inode *inode = sim_names_get(directory, part);
        if (inode == NULL) {
            TRY(begin(sim, FS_SIM_MAKE_DIRECTORY, path, NULL));
            inode = sim_inode_new(&sim->names, true, 0700);
            sim_names_change(&sim->names, NULL, NULL, directory, part, inode);
        }
        if (!inode->is_directory) return error_system(ENOTDIR, "mkdir %s", path);
        directory = inode;
    }
    return valid ? NULL : error_system(EINVAL, "mkdir %s", path);
}

static struct error *sim_make_directory(struct fs *fs, const char *path)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error =
        sim->powered_off ? begin(sim, FS_SIM_MAKE_DIRECTORY, path, NULL) : make_directories(sim, path);
    unlock_sim(sim);
    return error;
}

static struct error *sim_list(struct fs *fs, const char *path, char ***names, size_t *count)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error = begin(sim, FS_SIM_LIST, path, NULL);
    struct sim_inode *directory = sim_names_find_inode(&sim->names, path);
    if (error == NULL && directory == NULL) error = error_system(ENOENT, "list %s", path);
    if (error == NULL && !directory->is_directory) error = error_system(ENOTDIR, "list %s", path);
    if (error == NULL) sim_names_list(directory, names, count);
    unlock_sim(sim);
    return error;
}

static int check_rename(const struct sim_place *from, const struct sim_place *to)
{
    if (from->inode == NULL) return ENOENT;
    if (from->directory == NULL || to->directory == NULL) return EBUSY;
    if (from->inode->is_directory && sim_names_contain(from->inode, to->directory)) return EINVAL;
    if (to->inode == NULL || to->inode == from->inode) return 0;
    if (from->inode->is_directory && !to->inode->is_directory) return ENOTDIR;
    if (!from->inode->is_directory && to->inode->is_directory) return EISDIR;
    if (to->inode->is_directory && to->inode->visible != NULL) return ENOTEMPTY;
    return 0;
}

static struct error *rename_locked(struct fs_sim *sim, const char *from, const char *to)
{
    struct sim_place source, target;
    int system = sim_names_find(&sim->names, from, &source);
    if (system == 0) system = sim_names_find(&sim->names, to, &target);
    if (system == 0) system = check_rename(&source, &target);
    if (system != 0) return error_system(system, "rename %s to %s", from, to);
    TRY(begin(sim, FS_SIM_RENAME, to, NULL));
    if (source.inode != target.inode)
        sim_names_change(&sim->names, source.directory, source.name, target.directory, target.name,
                         source.inode);
    return NULL;
}

static struct error *sim_rename(struct fs *fs, const char *from, const char *to)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error = rename_locked(sim, from, to);
    unlock_sim(sim);
    return error;
}

static struct error *sim_remove(struct fs *fs, const char *path)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct sim_place place;
    int system = sim_names_find(&sim->names, path, &place);
    if (system == 0 && place.inode == NULL) system = ENOENT;
    if (system == 0 && place.inode->is_directory) system = EISDIR;
    struct error *error =
        system != 0 ? error_system(system, "remove %s", path) : begin(sim, FS_SIM_REMOVE, path, NULL);
    if (error == NULL) sim_names_change(&sim->names, place.directory, place.name, NULL, NULL, NULL);
    unlock_sim(sim);
    return error;
}

static struct error *empty_directory(struct fs_sim *sim, struct sim_inode *directory, const char *path)
{
    char **names = NULL;
    size_t count = 0;
    sim_names_list(directory, &names, &count); /* sorted: the order is the same in every run */
    struct error *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        struct sim_inode *inode = sim_names_get(directory, names[i]);
        char *inner = mem_printf("%s/%s", path, names[i]);
        if (inode->is_directory) error = empty_directory(sim, inode, inner);
        if (error == NULL) error = begin(sim, FS_SIM_REMOVE, inner, NULL);
        if (error == NULL) sim_names_change(&sim->names, directory, names[i], NULL, NULL, NULL);
        free(inner);
    }
    fs_names_free(names, count);
    return error;
}

static struct error *remove_tree_locked(struct fs_sim *sim, const char *path)
{
    struct sim_place place;
    int system = sim_names_find(&sim->names, path, &place);
    if (system == ENOENT || (system == 0 && place.inode == NULL)) return NULL;
    if (system == 0 && place.directory == NULL) system = EBUSY;
    if (system != 0) return error_system(system, "remove %s", path);
    if (place.inode->is_directory) TRY(empty_directory(sim, place.inode, path));
    TRY(begin(sim, FS_SIM_REMOVE, path, NULL));
    sim_names_change(&sim->names, place.directory, place.name, NULL, NULL, NULL);
    return NULL;
}

static struct error *sim_remove_tree(struct fs *fs, const char *path)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error = remove_tree_locked(sim, path);
    unlock_sim(sim);
    return error;
}

static struct error *sim_sync_directory(struct fs *fs, const char *path)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error = begin(sim, FS_SIM_SYNC_DIRECTORY, path, NULL);
    struct sim_inode *directory = sim_names_find_inode(&sim->names, path);
    if (error == NULL && directory == NULL) error = error_system(ENOENT, "fsync folder %s", path);
    if (error == NULL && !directory->is_directory) error = error_system(ENOTDIR, "fsync folder %s", path);
    if (error == NULL) sim_names_sync(&sim->names, directory);
    unlock_sim(sim);
    return error;
}

static struct error *sim_exists(struct fs *fs, const char *path, bool *exists)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    struct error *error = sim->powered_off ? error_system(EIO, "stat %s", path) : NULL;
    if (error == NULL) *exists = sim_names_find_inode(&sim->names, path) != NULL;
    unlock_sim(sim);
    return error;
}

static struct error *sim_mode(struct fs *fs, const char *path, unsigned *mode)
{
    struct fs_sim *sim = sim_of(fs);
    lock_sim(sim);
    const struct sim_inode *inode = sim_names_find_inode(&sim->names, path);
    struct error *error = NULL;
    if (sim->powered_off || inode == NULL)
        error = error_system(inode == NULL ? ENOENT : EIO, "stat %s", path);
    else
        *mode = inode->mode;
    unlock_sim(sim);
    return error;
}

static const struct fs_vtable sim_vtable = {
    .open = sim_open,
    .make_directory = sim_make_directory,
    .list = sim_list,
    .rename = sim_rename,
    .remove = sim_remove,
    .remove_tree = sim_remove_tree,
    .sync_directory = sim_sync_directory,
    .exists = sim_exists,
    .mode = sim_mode,
};

/* --- the disk --- */

static struct fs_sim *disk_new(const struct fs_sim_options *options)
{
    struct fs_sim *sim = mem_zalloc(1, sizeof(*sim));
    sim->base.vtable = &sim_vtable;
    sim->options = *options;
    if (sim->options.file_size == 0) sim->options.file_size = DEFAULT_FILE_SIZE;
    sim->cut_at = UINT64_MAX;
    rng_init(&sim->rng, options->seed);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&sim->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return sim;
}

struct fs_sim *fs_sim_new(const struct fs_sim_options *options)
{
    struct fs_sim *sim = disk_new(options);
    sim_names_init(&sim->names, sim->options.file_size);
    return sim;
}

void fs_sim_free(struct fs_sim *sim)
{
    if (sim == NULL) return;
    assert(sim->open_files == 0);
    fs_sim_clear_faults(sim);
    sim_names_deinit(&sim->names);
    pthread_mutex_destroy(&sim->mutex);
    free(sim);
}

struct fs *fs_sim_fs(struct fs_sim *sim)
{
    return &sim->base;
}

void fs_sim_reseed(struct fs_sim *sim, uint64_t seed)
{
    lock_sim(sim);
    rng_init(&sim->rng, seed);
    unlock_sim(sim);
}

struct fs_sim *fs_sim_clone(struct fs_sim *sim)
{
    lock_sim(sim);
    struct fs_sim *clone = disk_new(&sim->options);
    clone->rng = sim->rng;
    clone->powered_off = sim->powered_off;
    clone->operations = sim->operations;
    sim_names_copy(&clone->names, &sim->names);
    unlock_sim(sim);
    return clone;
}

/* --- crashes --- */

static void release_handles(struct fs_sim *sim)
{
    sim->generation++;
    sim->powered_off = false;
    sim->cut_at = UINT64_MAX;
    struct sim_inode *inode;
    LIST_FOREACH (inode, &sim->names.inodes, link) {
        inode->shared_locks = 0;
        inode->exclusive_lock = inode->segment_lock = false;
    }
}

void fs_sim_crash(struct fs_sim *sim, enum fs_sim_crash_mode mode)
{
    lock_sim(sim);
    release_handles(sim);
    sim_names_crash(&sim->names, mode, &sim->rng);
    struct sim_inode *inode;
    LIST_FOREACH (inode, &sim->names.inodes, link) {
        if (!inode->is_directory) sim_content_crash(&inode->content, mode, &sim->rng);
    }
    unlock_sim(sim);
}

void fs_sim_kill(struct fs_sim *sim)
{
    lock_sim(sim);
    release_handles(sim);
    unlock_sim(sim);
}

void fs_sim_power_off(struct fs_sim *sim)
{
    lock_sim(sim);
    sim->powered_off = true;
    unlock_sim(sim);
}

void fs_sim_cut_power_after(struct fs_sim *sim, uint64_t operations)
{
    lock_sim(sim);
    sim->cut_at = sim->operations + operations;
    unlock_sim(sim);
}

uint64_t fs_sim_operations(struct fs_sim *sim)
{
    lock_sim(sim);
    uint64_t operations = sim->operations;
    unlock_sim(sim);
    return operations;
}

/* --- faults --- */

void fs_sim_add_fault(struct fs_sim *sim, const struct fs_sim_fault *fault)
{
    lock_sim(sim);
    assert(sim->fault_count < FS_SIM_FAULTS_MAX);
    assert(fault->operations != 0 && fault->system != 0);
    struct fs_sim_fault *added = &sim->faults[sim->fault_count++];
    *added = *fault;
    if (fault->pattern != NULL) added->pattern = mem_strdup(fault->pattern);
    unlock_sim(sim);
}

void fs_sim_clear_faults(struct fs_sim *sim)
{
    lock_sim(sim);
    for (size_t i = 0; i < sim->fault_count; i++) free((char *)(uintptr_t)sim->faults[i].pattern);
    sim->fault_count = 0;
    unlock_sim(sim);
}

uint64_t fs_sim_faults_struck(struct fs_sim *sim)
{
    lock_sim(sim);
    uint64_t struck = sim->struck;
    unlock_sim(sim);
    return struck;
}

void fs_sim_set_hook(struct fs_sim *sim, fs_sim_hook *hook, void *context)
{
    lock_sim(sim);
    sim->hook = hook;
    sim->hook_context = context;
    unlock_sim(sim);
}

bool fs_sim_flip_bit(struct fs_sim *sim, const char *path, uint64_t offset, unsigned bit)
{
    assert(bit < 8);
    lock_sim(sim);
    struct sim_inode *inode = sim_names_find_inode(&sim->names, path);
    bool found = inode != NULL && !inode->is_directory && offset < inode->content.size;
    if (found) sim_content_flip(&inode->content, offset, (uint8_t)(1U << bit));
    unlock_sim(sim);
    return found;
}

void fs_sim_set_capacity(struct fs_sim *sim, uint64_t capacity)
{
    lock_sim(sim);
    sim->options.capacity = capacity;
    unlock_sim(sim);
}

uint64_t fs_sim_used(struct fs_sim *sim)
{
    lock_sim(sim);
    uint64_t total = used(sim);
    unlock_sim(sim);
    return total;
}

uint64_t fs_sim_unsynced(struct fs_sim *sim)
{
    lock_sim(sim);
    uint64_t total = sim_names_unsynced(&sim->names);
    const struct sim_inode *inode;
    LIST_FOREACH (inode, &sim->names.inodes, link) {
        if (!inode->is_directory) total += sim_content_unsynced(&inode->content);
    }
    unlock_sim(sim);
    return total;
}
