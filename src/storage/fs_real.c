/* The operating system under fs.h: thin calls, all of POSIX but fallocate and open-file-description locks. */
#include "storage/fs.h"

#include "base/memory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DIRECTORY_MODE = 0700,
    FILE_MODE = 0600,
    UMASK_FILE_MODE = 0666,
    REMOVE_TREE_DESCRIPTORS = 16, /* folders nftw() keeps open at once */
    DISCARD_BYTES = 8 << 20,      /* given back at once */
};

#define DISCARD_PAUSE 1000000 /* nanoseconds between them, for those who wait for the journal */

struct real_file {
    struct fs_file base;
    int descriptor;
    char *path;
};

static struct real_file *real_of(struct fs_file *file)
{
    return (struct real_file *)file;
}

/* off_t is signed; an offset beyond it can only be a mistake or hostile input. */
static struct error *check_range(const struct real_file *file, uint64_t offset, uint64_t size)
{
    if (offset <= (uint64_t)INT64_MAX && size <= (uint64_t)INT64_MAX - offset) return NULL;
    return error_system(EFBIG, "access %s", file->path);
}

static struct error *real_close(struct fs_file *file)
{
    struct real_file *real = real_of(file);
    struct error *error = NULL;
    if (close(real->descriptor) != 0 && errno != EINTR) error = error_system(errno, "close %s", real->path);
    free(real->path);
    free(real);
    return error;
}

static struct error *real_pread(struct fs_file *file, void *data, size_t size, uint64_t offset, size_t *read)
{
    struct real_file *real = real_of(file);
    TRY(check_range(real, offset, size));
    while (*read < size) {
        ssize_t got = pread(real->descriptor, (uint8_t *)data + *read, size - *read, (off_t)(offset + *read));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return error_system(errno, "read %s", real->path);
        if (got == 0) break;
        *read += (size_t)got;
    }
    return NULL;
}

static struct error *real_pwrite(struct fs_file *file, const void *data, size_t size, uint64_t offset)
{
    struct real_file *real = real_of(file);
    TRY(check_range(real, offset, size));
    size_t written = 0;
    while (written < size) {
        ssize_t put = pwrite(real->descriptor, (const uint8_t *)data + written, size - written,
                             (off_t)(offset + written));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return error_system(errno, "write %s", real->path);
        if (put == 0) return error_system(EIO, "write %s", real->path);
        written += (size_t)put;
    }
    return NULL;
}

static struct error *real_sync_data(struct fs_file *file)
{
    struct real_file *real = real_of(file);
    if (fdatasync(real->descriptor) != 0) return error_system(errno, "fdatasync %s", real->path);
    return NULL;
}

static struct error *real_sync(struct fs_file *file)
{
    struct real_file *real = real_of(file);
    if (fsync(real->descriptor) != 0) return error_system(errno, "fsync %s", real->path);
    return NULL;
}

static struct error *real_truncate(struct fs_file *file, uint64_t size)
{
    struct real_file *real = real_of(file);
    TRY(check_range(real, 0, size));
    while (ftruncate(real->descriptor, (off_t)size) != 0)
        if (errno != EINTR) return error_system(errno, "truncate %s", real->path);
    return NULL;
}

static struct error *real_size(struct fs_file *file, uint64_t *size)
{
    struct real_file *real = real_of(file);
    struct stat status;
    if (fstat(real->descriptor, &status) != 0) return error_system(errno, "stat %s", real->path);
    *size = (uint64_t)status.st_size;
    return NULL;
}

/* A write lease is granted only to who alone has the file open; it is given up at once. */
static bool is_ours_alone(const struct real_file *real, uint64_t *size)
{
    struct stat status;
    if (fstat(real->descriptor, &status) != 0 || status.st_nlink != 0) return false;
    if (fcntl(real->descriptor, F_SETLEASE, F_WRLCK) != 0) return false;
    (void)fcntl(real->descriptor, F_SETLEASE, F_UNLCK);
    *size = (uint64_t)status.st_size;
    return true;
}

static struct error *real_discard(struct fs_file *file)
{
    const struct timespec pause = {.tv_nsec = DISCARD_PAUSE};
    struct real_file *real = real_of(file);
    uint64_t size = 0;
    if (!is_ours_alone(real, &size)) return real_close(file);
    while (size > DISCARD_BYTES) {
        size -= DISCARD_BYTES;
        if (ftruncate(real->descriptor, (off_t)size) != 0) break;
        (void)nanosleep(&pause, NULL);
    }
    return real_close(file);
}

static struct error *real_allocate(struct fs_file *file, uint64_t size)
{
    struct real_file *real = real_of(file);
    TRY(check_range(real, 0, size));
    if (size == 0) return NULL;
    int result;
    do result = fallocate(real->descriptor, 0, 0, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result == 0) return NULL;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return error_system(errno, "allocate %s", real->path);
    uint64_t present = 0;
    TRY(real_size(file, &present));
    return present < size ? real_truncate(file, size) : NULL;
}

static int lock_segment(int descriptor)
{
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int result = fcntl(descriptor, F_OFD_SETLK, &whole_file);
    /* A kernel without open-file-description locks. */
    if (result != 0 && errno == EINVAL) return flock(descriptor, LOCK_EX | LOCK_NB);
    return result;
}

static struct error *real_lock(struct fs_file *file, enum fs_lock kind)
{
    struct real_file *real = real_of(file);
    int result = -1;
    switch (kind) {
    case FS_LOCK_SHARED:
        result = flock(real->descriptor, LOCK_SH | LOCK_NB);
        break;
    case FS_LOCK_EXCLUSIVE:
        result = flock(real->descriptor, LOCK_EX | LOCK_NB);
        break;
    case FS_LOCK_SEGMENT:
        result = lock_segment(real->descriptor);
        break;
    }
    if (result == 0) return NULL;
    /* POSIX lets a held lock be reported by either. */
    return error_system(errno == EACCES ? EWOULDBLOCK : errno, "lock %s", real->path);
}

static struct error *real_map(struct fs_file *file, uint64_t length, const uint8_t **data)
{
    struct real_file *real = real_of(file);
    if (length > SIZE_MAX / 2) return error_system(ENOMEM, "map %s", real->path);
    void *mapped = mmap(NULL, (size_t)length, PROT_READ, MAP_SHARED, real->descriptor, 0);
    if (mapped == MAP_FAILED) return error_system(errno, "map %s", real->path);
    *data = mapped;
    return NULL;
}

static void real_unmap(struct fs_file *file, const uint8_t *data, uint64_t length)
{
    (void)file;
    int result = munmap((void *)(uintptr_t)data, (size_t)length);
    assert(result == 0);
    (void)result;
}

/* The map is shared and only read, so this drops page table entries and leaves the page cache as it is. */
static void real_forget(struct fs_file *file, const uint8_t *data, uint64_t length)
{
    (void)file;
    (void)madvise((void *)(uintptr_t)data, (size_t)length, MADV_DONTNEED); /* failing costs memory only */
}

static const struct fs_file_vtable real_file_vtable = {
    .close = real_close,
    .discard = real_discard,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .sync_data = real_sync_data,
    .sync = real_sync,
    .truncate = real_truncate,
    .allocate = real_allocate,
    .size = real_size,
    .lock = real_lock,
    .map = real_map,
    .unmap = real_unmap,
    .forget = real_forget,
};

static struct error *real_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **file)
{
    (void)fs;
    int mode = (flags & FS_UMASK_MODE) != 0 ? UMASK_FILE_MODE : FILE_MODE;
    int open_flags = O_CLOEXEC | ((flags & FS_WRITE) != 0 ? O_RDWR : O_RDONLY);
    if ((flags & FS_CREATE) != 0) open_flags |= O_CREAT;
    if ((flags & FS_EXCLUSIVE) != 0) open_flags |= O_EXCL;
    if ((flags & FS_TRUNCATE) != 0) open_flags |= O_TRUNC;
    int descriptor;
    do descriptor = open(path, open_flags, mode);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0) return error_system(errno, "open %s", path);
    struct real_file *real = mem_alloc(sizeof(*real));
    *real = (struct real_file){.base = {.vtable = &real_file_vtable},
                               .descriptor = descriptor,
                               .path = mem_strdup(path)};
    *file = &real->base;
    return NULL;
}

static struct error *make_one_directory(const char *path)
{
    if (mkdir(path, DIRECTORY_MODE) == 0) return NULL;
    int system = errno;
    struct stat status;
    if (system == EEXIST && stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) return NULL;
        system = ENOTDIR;
    }
    return error_system(system, "mkdir %s", path);
}

static struct error *real_make_directory(struct fs *fs, const char *path)
{
    (void)fs;
    char *prefix = mem_strdup(path);
    struct error *error = NULL;
    for (size_t i = 1; path[i] != '\0' && error == NULL; i++) {
        if (path[i] != '/' || path[i - 1] == '/') continue;
        prefix[i] = '\0';
        /* An existing parent need not be writable by us. */
        if (access(prefix, F_OK) != 0) error = make_one_directory(prefix);
        prefix[i] = '/';
    }
    free(prefix);
    return error != NULL ? error : make_one_directory(path);
}

static struct error *real_list(struct fs *fs, const char *path, char ***names, size_t *count)
{
    (void)fs;
    DIR *directory = opendir(path);
    if (directory == NULL) return error_system(errno, "list %s", path);
    size_t capacity = 0;
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            if (*count == capacity) {
                capacity = capacity == 0 ? 16 : capacity * 2;
                *names = mem_realloc(*names, capacity * sizeof(**names));
            }
            (*names)[(*count)++] = mem_strdup(entry->d_name);
        }
        errno = 0;
    }
    int system = errno;
    closedir(directory);
    if (system != 0) {
        fs_names_free(*names, *count);
        *names = NULL;
        *count = 0;
        return error_system(system, "list %s", path);
    }
    fs_names_sort(*names, *count);
    return NULL;
}

static struct error *real_rename(struct fs *fs, const char *from, const char *to)
{
    (void)fs;
    if (rename(from, to) != 0) return error_system(errno, "rename %s to %s", from, to);
    return NULL;
}

static struct error *real_remove(struct fs *fs, const char *path)
{
    (void)fs;
    if (unlink(path) != 0) return error_system(errno, "remove %s", path);
    return NULL;
}

static int remove_visited(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path) == 0 ? 0 : errno;
}

static struct error *real_remove_tree(struct fs *fs, const char *path)
{
    (void)fs;
    struct stat status;
    if (lstat(path, &status) != 0) return errno == ENOENT ? NULL : error_system(errno, "remove %s", path);
    errno = 0;
    int result = nftw(path, remove_visited, REMOVE_TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    if (result < 0) result = errno;
    return result == 0 ? NULL : error_system(result, "remove %s", path);
}

static struct error *real_sync_directory(struct fs *fs, const char *path)
{
    (void)fs;
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return error_system(errno, "open %s", path);
    struct error *error = NULL;
    if (fsync(descriptor) != 0) error = error_system(errno, "fsync %s", path);
    close(descriptor);
    return error;
}

static struct error *real_exists(struct fs *fs, const char *path, bool *exists)
{
    (void)fs;
    struct stat status;
    *exists = stat(path, &status) == 0;
    if (!*exists && errno != ENOENT && errno != ENOTDIR) return error_system(errno, "stat %s", path);
    return NULL;
}

static struct error *real_mode(struct fs *fs, const char *path, unsigned *mode)
{
    (void)fs;
    struct stat status;
    if (stat(path, &status) != 0) return error_system(errno, "stat %s", path);
    *mode = (unsigned)status.st_mode & 07777;
    return NULL;
}

static const struct fs_vtable real_vtable = {
    .open = real_open,
    .make_directory = real_make_directory,
    .list = real_list,
    .rename = real_rename,
    .remove = real_remove,
    .remove_tree = real_remove_tree,
    .sync_directory = real_sync_directory,
    .exists = real_exists,
    .mode = real_mode,
};

struct fs *fs_real(void)
{
    static struct fs real = {.vtable = &real_vtable};
    return &real;
}
