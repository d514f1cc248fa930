#include "storage/fs.h"

#include "base/buf.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct error *fs_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **file)
{
    assert(fs_open_flags_valid(flags));
    *file = NULL;
    struct error *error = fs->vtable->open(fs, path, flags, file);
    assert((error == NULL) == (*file != NULL));
    return error;
}

struct error *fs_make_directory(struct fs *fs, const char *path)
{
    return fs->vtable->make_directory(fs, path);
}

struct error *fs_list(struct fs *fs, const char *path, char ***names, size_t *count)
{
    *names = NULL;
    *count = 0;
    return fs->vtable->list(fs, path, names, count);
}

void fs_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

static int order_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void fs_names_sort(char **names, size_t count)
{
    if (count > 1) qsort(names, count, sizeof(*names), order_names);
}

struct error *fs_rename(struct fs *fs, const char *from, const char *to)
{
    return fs->vtable->rename(fs, from, to);
}

struct error *fs_remove(struct fs *fs, const char *path)
{
    return fs->vtable->remove(fs, path);
}

struct error *fs_remove_tree(struct fs *fs, const char *path)
{
    return fs->vtable->remove_tree(fs, path);
}

struct error *fs_sync_directory(struct fs *fs, const char *path)
{
    return fs->vtable->sync_directory(fs, path);
}

struct error *fs_exists(struct fs *fs, const char *path, bool *exists)
{
    *exists = false;
    return fs->vtable->exists(fs, path, exists);
}

struct error *fs_mode(struct fs *fs, const char *path, unsigned *mode)
{
    *mode = 0;
    return fs->vtable->mode(fs, path, mode);
}

struct error *fs_file_close(struct fs_file *file)
{
    return file->vtable->close(file);
}

struct error *fs_file_discard(struct fs_file *file)
{
    return file->vtable->discard(file);
}

struct error *fs_file_pread(struct fs_file *file, void *data, size_t size, uint64_t offset, size_t *read)
{
    *read = 0;
    struct error *error = file->vtable->pread(file, data, size, offset, read);
    assert(*read <= size);
    return error;
}

struct error *fs_file_pwrite(struct fs_file *file, const void *data, size_t size, uint64_t offset)
{
    return file->vtable->pwrite(file, data, size, offset);
}

struct error *fs_file_sync_data(struct fs_file *file)
{
    return file->vtable->sync_data(file);
}

struct error *fs_file_sync(struct fs_file *file)
{
    return file->vtable->sync(file);
}

struct error *fs_file_truncate(struct fs_file *file, uint64_t size)
{
    return file->vtable->truncate(file, size);
}

struct error *fs_file_allocate(struct fs_file *file, uint64_t size)
{
    return file->vtable->allocate(file, size);
}

struct error *fs_file_size(struct fs_file *file, uint64_t *size)
{
    *size = 0;
    return file->vtable->size(file, size);
}

struct error *fs_file_lock(struct fs_file *file, enum fs_lock kind)
{
    return file->vtable->lock(file, kind);
}

struct error *fs_file_map(struct fs_file *file, uint64_t length, const uint8_t **data)
{
    assert(length > 0);
    *data = NULL;
    return file->vtable->map(file, length, data);
}

void fs_file_unmap(struct fs_file *file, const uint8_t *data, uint64_t length)
{
    if (data != NULL) file->vtable->unmap(file, data, length);
}

void fs_file_forget(struct fs_file *file, const uint8_t *data, uint64_t length)
{
    file->vtable->forget(file, data, length);
}

static struct error *read_whole(struct fs_file *file, const char *path, size_t limit, struct buf *content)
{
    uint64_t size = 0;
    TRY(fs_file_size(file, &size));
    if (size > limit)
        return error_new(ERROR_LIMIT, "%s is %llu bytes large, at most %zu are accepted", path,
                         (unsigned long long)size, limit);
    size_t got = 0;
    TRY(fs_file_pread(file, buf_reserve(content, (size_t)size), (size_t)size, 0, &got));
    content->size += got;
    return NULL;
}

struct error *fs_read_file(struct fs *fs, const char *path, size_t limit, struct buf *content)
{
    buf_clear(content);
    struct fs_file *file = NULL;
    TRY(fs_open(fs, path, FS_READ, &file));
    struct error *error = read_whole(file, path, limit, content);
    struct error *close_error = fs_file_close(file);
    if (error == NULL) return close_error;
    error_free(close_error);
    return error;
}

char *fs_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return mem_strdup(".");
    if (slash == path) return mem_strdup("/");
    char *parent = mem_strdup(path);
    parent[slash - path] = '\0';
    return parent;
}
