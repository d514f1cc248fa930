#include "storage/snap.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "base/wire.h"
#include "raft/codec.h"
#include "storage/names.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* --- names --- */

char *snap_path(const char *directory, uint64_t term, uint64_t index)
{
    return mem_printf("%s/%016" PRIx64 "-%016" PRIx64 ".snap", directory, term, index);
}

char *snap_database_path(const char *directory, uint64_t index)
{
    return mem_printf("%s/%016" PRIx64 ".snap.db", directory, index);
}

bool snap_parse_name(const char *name, uint64_t *term, uint64_t *index)
{
    return names_parse_pair(name, ".snap", term, index);
}

bool snap_parse_database_name(const char *name, uint64_t *index)
{
    return names_parse_hex(name, index) && strcmp(name + NAMES_HEX_SIZE, ".snap.db") == 0;
}

/* --- content --- */

void snap_encode(struct buf *out, const struct raft_snapshot *snapshot)
{
    struct buf data = {0};
    raft_encode_snapshot(&data, snapshot);
    wire_uint_field(out, 1, crc32c(0, data.data, data.size));
    wire_bytes_field(out, 2, buf_bytes(&data));
    buf_deinit(&data);
}

struct error *snap_decode(struct raft_snapshot *snapshot, struct bytes content)
{
    if (content.size == 0) return error_new(ERROR_CORRUPT, "snap: empty snapshot");
    struct wire_reader reader = wire_reader_of(content);
    struct wire_field field;
    uint32_t crc = 0;
    struct bytes data = BYTES_EMPTY;
    while (wire_next(&reader, &field)) {
        if (field.number > 2) continue;
        if (field.number == 0 || field.type != (field.number == 1 ? WIRE_VARINT : WIRE_LENGTH)) {
            reader.failed = true;
            break;
        }
        if (field.number == 1)
            crc = (uint32_t)field.value;
        else
            data = field.bytes;
    }
    if (reader.failed) return error_new(ERROR_CORRUPT, "snap: malformed snapshot file");
    if (data.size == 0 || crc == 0) return error_new(ERROR_CORRUPT, "snap: empty snapshot");
    if (crc32c(0, data.data, data.size) != crc) return error_new(ERROR_CORRUPT, "snap: crc mismatch");
    struct error *error = raft_decode_snapshot(snapshot, data);
    if (error == NULL) return NULL;
    error->kind = ERROR_CORRUPT;
    return error_wrap(error, "snap: malformed snapshot");
}

/* --- writing --- */

static uint64_t now(const struct snap_options *options)
{
    return options->now == NULL ? 0 : options->now(options->now_context);
}

static struct error *write_and_sync(const struct snap_options *options, struct fs_file *file,
                                    struct bytes content)
{
    TRY(fs_file_pwrite(file, content.data, content.size, 0));
    uint64_t start = now(options);
    TRY(fs_file_sync(file));
    if (options->now != NULL && options->metrics != NULL)
        metric_observe(&options->metrics->fsync_duration, now(options) - start);
    return NULL;
}

static struct error *write_file(const struct snap_options *options, const char *path, struct bytes content)
{
    struct fs_file *file = NULL;
    TRY(fs_open(options->fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE | FS_UMASK_MODE, &file));
    struct error *error = write_and_sync(options, file, content);
    struct error *close_error = fs_file_close(file);
    if (error == NULL) {
        error = close_error;
        close_error = NULL;
    }
    error_free(close_error);
    if (error != NULL) error_free(fs_remove(options->fs, path));
    return error;
}

struct error *snap_save(const struct snap_options *options, const char *directory,
                        const struct raft_snapshot *snapshot)
{
    if (snapshot->index == 0) return NULL;
    uint64_t start = now(options);
    struct buf content = {0};
    snap_encode(&content, snapshot);
    if (options->now != NULL && options->metrics != NULL)
        metric_observe(&options->metrics->marshalling_duration, now(options) - start);
    char *path = snap_path(directory, snapshot->term, snapshot->index);
    struct error *error = write_file(options, path, buf_bytes(&content));
    if (error == NULL) error = fs_sync_directory(options->fs, directory);
    if (error != NULL)
        log_warn(options->logger, "failed to write a snap file", LOG_STRING("path", path),
                 LOG_STRING("error", error->text));
    free(path);
    buf_deinit(&content);
    if (error != NULL) return error_wrap(error, "snap: save");
    if (options->now != NULL && options->metrics != NULL)
        metric_observe(&options->metrics->save_duration, now(options) - start);
    return NULL;
}

/* --- loading --- */

static struct error *load_file(const struct snap_options *options, const char *path,
                               struct raft_snapshot *snapshot)
{
    struct buf content = {0};
    struct error *error = fs_read_file(options->fs, path, SNAP_FILE_MAX, &content);
    if (error == NULL) error = snap_decode(snapshot, buf_bytes(&content));
    buf_deinit(&content);
    return error;
}

static bool is_valid(const struct wal_snapshots *valid, const struct raft_snapshot *snapshot)
{
    if (valid == NULL) return true;
    for (size_t i = 0; i < valid->count; i++)
        if (valid->items[i].term == snapshot->term && valid->items[i].index == snapshot->index) return true;
    return false;
}

static const char broken_suffix[] = ".snap.broken";

/* Out of the way, and kept for whoever wants to know what happened. */
static void set_aside(const struct snap_options *options, const char *path, const struct error *reason)
{
    log_warn(options->logger, "failed to read a snap file", LOG_STRING("path", path),
             LOG_STRING("error", reason->text));
    char *broken = mem_printf("%s.broken", path);
    struct error *error = fs_rename(options->fs, path, broken);
    if (error != NULL)
        log_warn(options->logger, "failed to rename a broken snap file", LOG_STRING("path", path),
                 LOG_STRING("broken-path", broken), LOG_STRING("error", error->text));
    else
        log_warn(options->logger, "renamed to a broken snap file", LOG_STRING("path", path),
                 LOG_STRING("broken-path", broken));
    error_free(error);
    free(broken);
}

static struct error *try_file(const struct snap_options *options, const char *directory, const char *name,
                              const struct wal_snapshots *valid, struct raft_snapshot *snapshot, bool *found)
{
    char *path = mem_printf("%s/%s", directory, name);
    struct error *error = load_file(options, path, snapshot);
    *found = error == NULL && is_valid(valid, snapshot);
    if (error_is(error, ERROR_CORRUPT) || error_is(error, ERROR_LIMIT)) {
        set_aside(options, path, error);
        error_free(error);
        error = NULL;
    }
    free(path);
    if (!*found) {
        raft_snapshot_deinit(snapshot);
        *snapshot = (struct raft_snapshot){0};
    }
    return error;
}

static struct error *list_snapshots(const struct snap_options *options, const char *directory,
                                    const char *suffix, char ***names, size_t *count)
{
    TRY(fs_list(options->fs, directory, names, count));
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        char *name = (*names)[i];
        if (names_have_suffix(name, suffix))
            (*names)[kept++] = name;
        else
            free(name);
    }
    *count = kept;
    return NULL;
}

struct error *snap_load_newest(const struct snap_options *options, const char *directory,
                               const struct wal_snapshots *valid, struct raft_snapshot *snapshot, bool *found)
{
    *found = false;
    char **names = NULL;
    size_t count = 0;
    TRY(list_snapshots(options, directory, ".snap", &names, &count));
    struct error *error = NULL;
    for (size_t i = count; i > 0 && error == NULL && !*found; i--)
        error = try_file(options, directory, names[i - 1], valid, snapshot, found);
    fs_names_free(names, count);
    return error;
}

struct error *snap_newest_index(const struct snap_options *options, const char *directory, uint64_t *index)
{
    char **names = NULL;
    size_t count = 0;
    uint64_t term = 0;
    *index = 0;
    TRY(list_snapshots(options, directory, ".snap", &names, &count));
    if (count > 0 && !snap_parse_name(names[count - 1], &term, index)) *index = 0;
    fs_names_free(names, count);
    return NULL;
}

struct error *snap_find_broken(const struct snap_options *options, const char *directory, uint64_t index,
                               char **path)
{
    char **names = NULL;
    size_t count = 0;
    uint64_t term, found = 0;
    *path = NULL;
    TRY(list_snapshots(options, directory, broken_suffix, &names, &count));
    for (size_t i = count; *path == NULL && i > 0; i--)
        if (names_parse_pair(names[i - 1], broken_suffix, &term, &found) && found > index)
            *path = mem_printf("%s/%s", directory, names[i - 1]);
    fs_names_free(names, count);
    return NULL;
}

/* --- purging --- */

static struct error *purge(const struct snap_options *options, const char *directory, const char *suffix,
                           size_t keep, size_t *removed)
{
    *removed = 0;
    if (keep == 0) return NULL;
    char **names = NULL;
    size_t count = 0;
    TRY(list_snapshots(options, directory, suffix, &names, &count));
    struct error *error = NULL;
    for (size_t i = 0; error == NULL && count - i > keep; i++) {
        char *path = mem_printf("%s/%s", directory, names[i]);
        error = fs_remove(options->fs, path);
        if (error == NULL) {
            (*removed)++;
            log_info(options->logger, "purged", LOG_STRING("path", path));
        }
        free(path);
    }
    fs_names_free(names, count);
    return error;
}

struct error *snap_purge(const struct snap_options *options, const char *directory, size_t keep,
                         size_t *removed)
{
    return purge(options, directory, ".snap", keep, removed);
}

struct error *snap_purge_databases(const struct snap_options *options, const char *directory, size_t keep,
                                   size_t *removed)
{
    return purge(options, directory, ".snap.db", keep, removed);
}

static struct error *sync_file(struct fs *fs, const char *path)
{
    struct fs_file *file = NULL;
    TRY(fs_open(fs, path, FS_WRITE, &file));
    struct error *error = fs_file_sync(file);
    struct error *second = fs_file_close(file);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

struct error *snap_receive_database(const struct snap_options *options, const char *directory,
                                    const char *path, uint64_t index)
{
    struct fs *fs = options->fs;
    bool exists = false;
    char *name = snap_database_path(directory, index);
    uint64_t start = now(options);
    struct error *error = fs_exists(fs, name, &exists);
    if (error == NULL) error = exists ? fs_remove(fs, path) : sync_file(fs, path);
    if (!exists && options->now != NULL && options->metrics != NULL)
        metric_observe(&options->metrics->db_fsync_duration, now(options) - start);
    if (error == NULL && !exists) error = fs_rename(fs, path, name);
    if (error == NULL) error = fs_sync_directory(fs, directory);
    free(name);
    return error;
}

struct error *snap_release_databases(const struct snap_options *options, const char *directory,
                                     uint64_t index)
{
    char **names = NULL;
    size_t count = 0;
    TRY(list_snapshots(options, directory, ".snap.db", &names, &count));
    struct error *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        uint64_t image = 0;
        if (!snap_parse_database_name(names[i], &image) || image >= index) continue;
        char *path = mem_printf("%s/%s", directory, names[i]);
        log_info(options->logger, "found orphaned .snap.db file; deleting", LOG_STRING("path", path));
        error = fs_remove(options->fs, path);
        free(path);
    }
    fs_names_free(names, count);
    return error;
}
