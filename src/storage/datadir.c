#include "storage/datadir.h"

#include "base/memory.h"
#include "storage/names.h"

#include <stdlib.h>
#include <string.h>

enum { DIRECTORY_MODE = 0700 };

void datadir_init(struct datadir *datadir, const char *root, const char *wal)
{
    datadir->root = mem_strdup(root);
    datadir->member = mem_printf("%s/member", root);
    datadir->wal = wal == NULL || wal[0] == '\0' ? mem_printf("%s/wal", datadir->member) : mem_strdup(wal);
    /* "DIRECTORY.tmp" must be a neighbour of the log, not a file inside it. */
    for (size_t size = strlen(datadir->wal); size > 1 && datadir->wal[size - 1] == '/'; size--)
        datadir->wal[size - 1] = '\0';
    datadir->snap = mem_printf("%s/snap", datadir->member);
    datadir->database = mem_printf("%s/db", datadir->snap);
}

void datadir_deinit(struct datadir *datadir)
{
    free(datadir->root);
    free(datadir->member);
    free(datadir->wal);
    free(datadir->snap);
    free(datadir->database);
    *datadir = (struct datadir){0};
}

/* Creates and removes ".touch" in the folder. */
static struct error *probe(struct fs *fs, const char *directory)
{
    char *path = mem_printf("%s/.touch", directory);
    struct fs_file *file = NULL;
    struct error *error = fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (error == NULL) error = fs_file_close(file);
    if (error == NULL) error = fs_remove(fs, path);
    free(path);
    if (!error_is(error, ERROR_NOT_FOUND)) return error;
    error_free(error); /* another process that probes the same directory was faster */
    return NULL;
}

/* As `ls -l` shows it, without the type. */
static void describe_mode(char text[10], unsigned mode)
{
    for (unsigned i = 0; i < 9; i++) text[i] = (mode >> (8 - i) & 1) != 0 ? "rwx"[i % 3] : '-';
    text[9] = '\0';
}

static struct error *warn_of_mode(struct fs *fs, const char *directory, const struct logger *logger)
{
    unsigned mode = 0;
    TRY(fs_mode(fs, directory, &mode));
    if ((mode & 0777) == DIRECTORY_MODE) return NULL;
    char found[10], wanted[10];
    describe_mode(found, mode);
    describe_mode(wanted, DIRECTORY_MODE);
    char *text = mem_printf(
        "directory \"%s\" exist, but the permission is \"d%s\". The recommended permission is \"-%s\" "
        "to prevent possible unprivileged access to the data",
        directory, found, wanted);
    log_warn(logger, "check file permission", LOG_STRING("error", text));
    free(text);
    return NULL;
}

/* Parents are made one by one, so that each new name can be made durable in its folder. */
static struct error *make_durably(struct fs *fs, const char *directory)
{
    bool exists = false;
    TRY(fs_exists(fs, directory, &exists));
    if (exists) return NULL;
    char *parent = fs_parent(directory);
    struct error *error = NULL;
    if (strcmp(parent, directory) != 0) error = make_durably(fs, parent);
    if (error == NULL) error = fs_make_directory(fs, directory);
    if (error == NULL) error = fs_sync_directory(fs, parent);
    free(parent);
    return error;
}

/* A process that was killed may have left names that it had no time to sync: a segment just renamed, a file
 * just made. They look as good as any until the power fails, so they are made durable before anything relies
 * on them. */
static struct error *settle_names(struct fs *fs, const char *directory)
{
    char *parent = fs_parent(directory);
    struct error *error = fs_sync_directory(fs, directory);
    if (error == NULL) error = fs_sync_directory(fs, parent);
    free(parent);
    return error;
}

static struct error *touch_directory(struct fs *fs, const char *directory, const struct logger *logger)
{
    bool exists = false;
    TRY(fs_exists(fs, directory, &exists));
    if (exists) {
        TRY(warn_of_mode(fs, directory, logger));
        TRY(settle_names(fs, directory));
    } else {
        TRY(make_durably(fs, directory));
    }
    return probe(fs, directory);
}

static struct error *settle_log(struct fs *fs, const char *directory)
{
    bool exists = false;
    TRY(fs_exists(fs, directory, &exists));
    return exists ? settle_names(fs, directory) : NULL;
}

struct error *datadir_create(const struct datadir *datadir, struct fs *fs, const struct logger *logger)
{
    char *wal_parent = fs_parent(datadir->wal);
    const struct {
        const char *path;
        const char *what;
    } directories[] = {
        {datadir->root, "cannot access data directory"},
        {datadir->member, "cannot access member directory"},
        {datadir->snap, "failed to create snapshot directory"},
        {wal_parent, "cannot access the WAL's parent directory"},
    };
    struct error *error = NULL;
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]) && error == NULL; i++) {
        bool is_member_again = i == 3 && strcmp(wal_parent, datadir->member) == 0;
        if (!is_member_again) error = touch_directory(fs, directories[i].path, logger);
        if (error != NULL) error = error_wrap(error, "%s", directories[i].what);
    }
    if (error == NULL) error = settle_log(fs, datadir->wal);
    free(wal_parent);
    return error;
}

static bool is_leftover(const char *name)
{
    return names_have_prefix(name, "tmp") || names_have_prefix(name, "db.tmp");
}

struct error *datadir_remove_leftovers(const struct datadir *datadir, struct fs *fs,
                                       const struct logger *logger)
{
    char **names = NULL;
    size_t count = 0;
    TRY(fs_list(fs, datadir->snap, &names, &count));
    struct error *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        if (!is_leftover(names[i])) continue;
        char *path = mem_printf("%s/%s", datadir->snap, names[i]);
        log_info(logger, "found orphaned temporary file; deleting", LOG_STRING("path", path));
        error = fs_remove(fs, path);
        free(path);
    }
    fs_names_free(names, count);
    if (error != NULL) return error;
    char *wal_build = mem_printf("%s.tmp", datadir->wal);
    error = fs_remove_tree(fs, wal_build);
    free(wal_build);
    return error;
}

struct error *datadir_is_empty(struct fs *fs, const char *directory, bool *empty)
{
    char **names = NULL;
    size_t count = 0;
    struct error *error = fs_list(fs, directory, &names, &count);
    fs_names_free(names, count);
    *empty = count == 0;
    if (!error_is(error, ERROR_NOT_FOUND)) return error;
    error_free(error);
    return NULL;
}
