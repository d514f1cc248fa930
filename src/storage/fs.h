/* fs: the files that everything durable goes through.
 *
 * WAL, .snap files, the bolt engine and defragmentation use this interface and no system call of their own,
 * so that a test or the simulator can put a disk under them that tears, loses and corrupts what a real one
 * may. Two implementations: fs_real() on the operating system, and fs_sim (storage/fs_sim.h) in memory with
 * faults.
 *
 * The rules of POSIX that matter, made explicit:
 *  - written data survives a power cut only after sync (data) returned; a new, renamed or removed name only
 * after sync_directory of its folder returned. An fsync that failed is never retried: the kernel may have
 * dropped what it covered, so a second one that succeeds proves nothing. The caller must stop.
 *  - rename replaces atomically.
 *
 * Paths are absolute or relative to the process; names are C strings. Threads: an `fs` may be used from any
 * thread; one `fs_file` by one thread at a time, except that `pread` and `map` of a file may run beside a
 * `pwrite` of it. Errors: values of base/error.h with operation and path in the text. Everything returns
 * owned errors, nothing prints.
 */
#ifndef STORAGE_FS_H
#define STORAGE_FS_H

#include "base/bytes.h"
#include "base/error.h"

struct buf;
struct fs;
struct fs_file;

enum fs_open_flags {
    FS_READ = 0,           /* read only */
    FS_WRITE = 1 << 0,     /* read and write */
    FS_CREATE = 1 << 1,    /* make it (mode 0600) when missing */
    FS_EXCLUSIVE = 1 << 2, /* with FS_CREATE: fail with ERROR_EXISTS when it is there */
    FS_TRUNCATE = 1 << 3,
    FS_UMASK_MODE = 1 << 4, /* with FS_CREATE: mode 0666 less the umask instead of 0600 (.snap files) */
};

enum fs_lock {
    FS_LOCK_SHARED,    /* flock LOCK_SH: read-only tools on a db */
    FS_LOCK_EXCLUSIVE, /* flock LOCK_EX: the owner of a db */
    FS_LOCK_SEGMENT,   /* whole-file write lock of a WAL segment (F_OFD_SETLK) */
};

/* Open flags that make sense together: creating needs writing, the others need creating or writing. */
static inline bool fs_open_flags_valid(unsigned flags)
{
    if ((flags & FS_CREATE) != 0 && (flags & FS_WRITE) == 0) return false;
    if ((flags & (FS_EXCLUSIVE | FS_UMASK_MODE)) != 0 && (flags & FS_CREATE) == 0) return false;
    return (flags & FS_TRUNCATE) == 0 || (flags & FS_WRITE) != 0;
}

struct fs_file_vtable {
    struct error *(*close)(
        struct fs_file *file); /* frees `file` in every case, drops its locks; unmap first */
    struct error *(*discard)(struct fs_file *file);
    /* Reads exactly `size` bytes, or up to the end of file: *read says how many. */
    struct error *(*pread)(struct fs_file *file, void *data, size_t size, uint64_t offset, size_t *read);
    /* Writes all bytes or fails; after a failure any part of them may be there. */
    struct error *(*pwrite)(struct fs_file *file, const void *data, size_t size, uint64_t offset);
    struct error *(*sync_data)(struct fs_file *file); /* fdatasync: content and the size needed to read it */
    struct error *(*sync)(struct fs_file *file);      /* fsync */
    struct error *(*truncate)(struct fs_file *file, uint64_t size);
    /* Room for [0, size) on disk and file size at least `size`; reads as zeros. Falls back to truncate. */
    struct error *(*allocate)(struct fs_file *file, uint64_t size);
    struct error *(*size)(struct fs_file *file, uint64_t *size);
    /* Non-blocking; ERROR_LOCKED when somebody else holds it. Held until close. */
    struct error *(*lock)(struct fs_file *file, enum fs_lock kind);
    /* A read-only shared map of [0, length); length may exceed the file (touching beyond its end is the
     * caller's fault). Sees every pwrite at once. */
    struct error *(*map)(struct fs_file *file, uint64_t length, const uint8_t **data);
    void (*unmap)(struct fs_file *file, const uint8_t *data, uint64_t length);
    /* The pages of a map that were touched need not stay resident: they come back when touched again. */
    void (*forget)(struct fs_file *file, const uint8_t *data, uint64_t length);
};

struct fs_file {
    const struct fs_file_vtable *vtable;
};

struct fs_vtable {
    struct error *(*open)(struct fs *fs, const char *path, unsigned flags, struct fs_file **file);
    struct error *(*make_directory)(struct fs *fs,
                                    const char *path); /* 0700, with parents; fine when it exists */
    /* Names in a folder (files and folders), sorted bytewise, without . and ..; fs_names_free(). */
    struct error *(*list)(struct fs *fs, const char *path, char ***names, size_t *count);
    struct error *(*rename)(struct fs *fs, const char *from, const char *to);
    struct error *(*remove)(struct fs *fs, const char *path);      /* a file; ERROR_NOT_FOUND when missing */
    struct error *(*remove_tree)(struct fs *fs, const char *path); /* fine when missing */
    struct error *(*sync_directory)(struct fs *fs, const char *path);
    struct error *(*exists)(struct fs *fs, const char *path, bool *exists);
    struct error *(*mode)(struct fs *fs, const char *path, unsigned *mode); /* permission bits, 07777 */
};

struct fs {
    const struct fs_vtable *vtable;
};

/* The operating system's files. One object for the process; never freed. */
struct fs *fs_real(void);

/* Call these rather than the tables. On an error *file, *names and *data are NULL and counts are 0. */
struct error *fs_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **file)
    __attribute__((warn_unused_result));
struct error *fs_make_directory(struct fs *fs, const char *path) __attribute__((warn_unused_result));
struct error *fs_list(struct fs *fs, const char *path, char ***names, size_t *count)
    __attribute__((warn_unused_result));
void fs_names_free(char **names, size_t count);
/* For implementations of `list`. */
void fs_names_sort(char **names, size_t count);
struct error *fs_rename(struct fs *fs, const char *from, const char *to) __attribute__((warn_unused_result));
struct error *fs_remove(struct fs *fs, const char *path) __attribute__((warn_unused_result));
struct error *fs_remove_tree(struct fs *fs, const char *path) __attribute__((warn_unused_result));
struct error *fs_sync_directory(struct fs *fs, const char *path) __attribute__((warn_unused_result));
struct error *fs_exists(struct fs *fs, const char *path, bool *exists) __attribute__((warn_unused_result));
struct error *fs_mode(struct fs *fs, const char *path, unsigned *mode) __attribute__((warn_unused_result));

struct error *fs_file_close(struct fs_file *file) __attribute__((warn_unused_result));
/* Closes a file that was opened for writing and has lost its name for good: what took the name, or the
 * removal, is durable. The disk gets the space back in portions. At once, a gigabyte holds up the journal of
 * the file system, and with it the syncs of the log, for a tenth of a second. A file that others have open,
 * or that has another name (a hard link), is just closed. Frees `file` in every case. */
struct error *fs_file_discard(struct fs_file *file) __attribute__((warn_unused_result));
struct error *fs_file_pread(struct fs_file *file, void *data, size_t size, uint64_t offset, size_t *read)
    __attribute__((warn_unused_result));
struct error *fs_file_pwrite(struct fs_file *file, const void *data, size_t size, uint64_t offset)
    __attribute__((warn_unused_result));
struct error *fs_file_sync_data(struct fs_file *file) __attribute__((warn_unused_result));
struct error *fs_file_sync(struct fs_file *file) __attribute__((warn_unused_result));
struct error *fs_file_truncate(struct fs_file *file, uint64_t size) __attribute__((warn_unused_result));
struct error *fs_file_allocate(struct fs_file *file, uint64_t size) __attribute__((warn_unused_result));
struct error *fs_file_size(struct fs_file *file, uint64_t *size) __attribute__((warn_unused_result));
struct error *fs_file_lock(struct fs_file *file, enum fs_lock kind) __attribute__((warn_unused_result));
struct error *fs_file_map(struct fs_file *file, uint64_t length, const uint8_t **data)
    __attribute__((warn_unused_result));
void fs_file_unmap(struct fs_file *file, const uint8_t *data, uint64_t length);
void fs_file_forget(struct fs_file *file, const uint8_t *data, uint64_t length);

/* The folder that a path's last part lies in: "." without a slash. New string. */
char *fs_parent(const char *path) __attribute__((returns_nonnull, warn_unused_result));

/* A whole small file at once; the buf (emptied first) gets its content. ERROR_LIMIT when it is larger than
 * `limit`. */
struct error *fs_read_file(struct fs *fs, const char *path, size_t limit, struct buf *content)
    __attribute__((warn_unused_result));

#endif
