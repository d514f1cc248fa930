#include "server/log_rotation.h"

#include "base/buf.h"
#include "base/memory.h"
#include "net/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define MIB        (UINT64_C(1) << 20)
#define DAY        (86400 * LOOP_SECOND)
#define COMPRESSED ".gz"

enum {
    DEFAULT_MAX_SIZE_MIB = 100,
    STAMP_SIZE = 23, /* 2006-01-02T15-04-05.000 */
    OLD_FILES_MAX = 65536,
};

struct log_rotation {
    struct log_rotation_options options;
    char *path, *directory;
    char *prefix; /* "etcd-" */
    char *suffix; /* ".log", or "" */
    uint64_t limit, size;
    int file;
    pthread_t helper;
    bool helper_started;
    pthread_mutex_t mutex; /* guards the two below */
    bool helper_runs, again;
};

/* ---- configuration ---- */

static struct error *take_number(const json_t *object, const char *key, int64_t *number)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return NULL;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > INT32_MAX)
        return error_new(ERROR_INVALID, "invalid log rotation config: %s must be a number from 0 to %d", key,
                         INT32_MAX);
    *number = json_integer_value(value);
    return NULL;
}

static struct error *take_flag(const json_t *object, const char *key, bool *flag)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return NULL;
    if (!json_is_boolean(value))
        return error_new(ERROR_INVALID, "invalid log rotation config: %s must be true or false", key);
    *flag = json_is_true(value);
    return NULL;
}

struct error *log_rotation_parse(const char *json, struct log_rotation_options *options)
{
    json_error_t problem;
    json_t *object = json_loads(json, 0, &problem);
    *options = (struct log_rotation_options){0};
    if (object == NULL)
        return error_new(ERROR_INVALID, "improperly formatted log rotation config: %s", problem.text);
    struct error *error = NULL;
    if (!json_is_object(object))
        error = error_new(ERROR_INVALID, "invalid log rotation config: an object {...} is expected");
    if (error == NULL) error = take_number(object, "maxsize", &options->max_size_mib);
    if (error == NULL) error = take_number(object, "maxage", &options->max_age_days);
    if (error == NULL) error = take_number(object, "maxbackups", &options->max_backups);
    if (error == NULL) error = take_flag(object, "localtime", &options->local_time);
    if (error == NULL) error = take_flag(object, "compress", &options->compress);
    json_decref(object);
    return error;
}

/* ---- names ---- */

static void split_path(struct log_rotation *rotation, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    if (dot == NULL) dot = name + strlen(name);
    rotation->path = mem_strdup(path);
    rotation->directory = slash == NULL ? mem_strdup(".") : mem_printf("%.*s", (int)(name - path), path);
    rotation->prefix = mem_printf("%.*s-", (int)(dot - name), name);
    rotation->suffix = mem_strdup(dot);
}

static char *backup_path(const struct log_rotation *rotation, int64_t wall)
{
    time_t seconds = (time_t)(wall / LOOP_SECOND);
    struct tm parts;
    char stamp[32];
    if (rotation->options.local_time)
        localtime_r(&seconds, &parts);
    else
        gmtime_r(&seconds, &parts);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H-%M-%S", &parts);
    return mem_printf("%s/%s%s.%03d%s", rotation->directory, rotation->prefix, stamp,
                      (int)(wall % LOOP_SECOND / 1000000), rotation->suffix);
}

/* The time in the name of a file that was put aside, in nanoseconds. */
static bool parse_backup(const struct log_rotation *rotation, const char *name, int64_t *wall,
                         bool *compressed)
{
    size_t prefix = strlen(rotation->prefix);
    struct tm parts = {.tm_isdst = -1};
    int milliseconds = 0;
    if (strncmp(name, rotation->prefix, prefix) != 0 || strlen(name) < prefix + STAMP_SIZE) return false;
    const char *rest = name + prefix + STAMP_SIZE;
    const char *end = strptime(name + prefix, "%Y-%m-%dT%H-%M-%S", &parts);
    if (end == NULL || end != rest - 4 || *end != '.') return false;
    for (int i = 1; i < 4; i++) {
        if (end[i] < '0' || end[i] > '9') return false;
        milliseconds = milliseconds * 10 + (end[i] - '0');
    }
    size_t suffix = strlen(rotation->suffix);
    if (strncmp(rest, rotation->suffix, suffix) != 0) return false;
    *compressed = strcmp(rest + suffix, COMPRESSED) == 0;
    if (rest[suffix] != '\0' && !*compressed) return false;
    time_t seconds = rotation->options.local_time ? mktime(&parts) : timegm(&parts);
    *wall = (int64_t)seconds * LOOP_SECOND + (int64_t)milliseconds * 1000000;
    return true;
}

/* ---- old files: the helper ---- */

struct old_file {
    char *name;
    int64_t wall;
    bool compressed;
};

static int by_age(const void *left, const void *right)
{
    const struct old_file *a = left, *b = right;
    return a->wall < b->wall ? 1 : a->wall > b->wall ? -1 : strcmp(a->name, b->name);
}

/* Newest first. */
static struct old_file *list_old(const struct log_rotation *rotation, size_t *count)
{
    DIR *directory = opendir(rotation->directory);
    const struct dirent *entry;
    struct old_file *files = NULL;
    *count = 0;
    if (directory == NULL) return NULL;
    while ((entry = readdir(directory)) != NULL && *count < OLD_FILES_MAX) {
        struct old_file file = {0};
        if (!parse_backup(rotation, entry->d_name, &file.wall, &file.compressed)) continue;
        file.name = mem_printf("%s/%s", rotation->directory, entry->d_name);
        files = mem_realloc(files, (*count + 1) * sizeof(*files));
        files[(*count)++] = file;
    }
    closedir(directory);
    if (files != NULL) qsort(files, *count, sizeof(*files), by_age);
    return files;
}

static bool copy_compressed(const char *from, gzFile to)
{
    unsigned char portion[16384];
    ssize_t got;
    int file = open(from, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    while ((got = read(file, portion, sizeof(portion))) > 0)
        if (gzwrite(to, portion, (unsigned)got) != (int)got) break;
    close(file);
    return got == 0;
}

/* The original goes when the compressed one is complete; what a crash leaves is done again. */
static void compress_file(const char *name)
{
    struct stat status;
    char *target = mem_printf("%s%s", name, COMPRESSED);
    int file = stat(name, &status) != 0
                   ? -1
                   : open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, status.st_mode & 0777);
    gzFile stream = file < 0 ? NULL : gzdopen(file, "wb");
    if (stream == NULL) {
        if (file >= 0) close(file);
    } else {
        bool complete = copy_compressed(name, stream);
        if (gzclose(stream) != Z_OK) complete = false;
        unlink(complete ? name : target);
    }
    free(target);
}

/* A file and its compressed twin, which a crash can leave, count as one. */
static bool is_twin(const struct old_file *file, const struct old_file *previous)
{
    return previous != NULL && previous->wall == file->wall;
}

static void tidy(const struct log_rotation *rotation)
{
    size_t count = 0;
    int64_t kept = 0, oldest = clock_wall() - rotation->options.max_age_days * DAY;
    struct old_file *files = list_old(rotation, &count);
    for (size_t i = 0; i < count; i++) {
        struct old_file *file = &files[i];
        if (!is_twin(file, i == 0 ? NULL : &files[i - 1])) kept++;
        bool too_many = rotation->options.max_backups > 0 && kept > rotation->options.max_backups;
        bool too_old = rotation->options.max_age_days > 0 && file->wall < oldest;
        if (too_many || too_old)
            unlink(file->name);
        else if (rotation->options.compress && !file->compressed)
            compress_file(file->name);
    }
    for (size_t i = 0; i < count; i++) free(files[i].name);
    free(files);
}

static void *help(void *context)
{
    struct log_rotation *rotation = context;
    bool again;
    do {
        tidy(rotation);
        pthread_mutex_lock(&rotation->mutex);
        again = rotation->again;
        rotation->again = false;
        rotation->helper_runs = again;
        pthread_mutex_unlock(&rotation->mutex);
    } while (again);
    return NULL;
}

static void join_helper(struct log_rotation *rotation)
{
    if (rotation->helper_started) pthread_join(rotation->helper, NULL);
    rotation->helper_started = false;
}

static void call_helper(struct log_rotation *rotation)
{
    const struct log_rotation_options *options = &rotation->options;
    if (options->max_backups == 0 && options->max_age_days == 0 && !options->compress) return;
    pthread_mutex_lock(&rotation->mutex);
    bool runs = rotation->helper_runs;
    rotation->again = runs;
    rotation->helper_runs = true;
    pthread_mutex_unlock(&rotation->mutex);
    if (runs) return;
    join_helper(rotation);
    rotation->helper_started = pthread_create(&rotation->helper, NULL, help, rotation) == 0;
    if (!rotation->helper_started) rotation->helper_runs = false; /* the next file tries again */
}

/* ---- writing ---- */

static void make_directories(const char *path)
{
    char *copy = mem_strdup(path);
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)!mkdir(copy, 0755); /* opening tells what is wrong */
        *slash = '/';
    }
    free(copy);
}

static int open_file(const struct log_rotation *rotation, mode_t mode)
{
    return open(rotation->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, mode);
}

/* The new file has the old one's mode and owner. */
static void put_aside(struct log_rotation *rotation, int64_t wall)
{
    struct stat status;
    mode_t mode = fstat(rotation->file, &status) == 0 ? status.st_mode & 0777 : 0600;
    char *backup = backup_path(rotation, wall);
    bool is_aside = rename(rotation->path, backup) == 0 || errno == ENOENT;
    int file = is_aside ? open_file(rotation, mode) : -1;
    free(backup);
    if (file < 0) return;
    (void)!fchown(file, status.st_uid, status.st_gid);
    close(rotation->file);
    rotation->file = file;
    rotation->size = 0;
    call_helper(rotation);
}

void log_rotation_write(struct log_rotation *rotation, struct bytes line, int64_t wall)
{
    if (rotation->size > 0 && rotation->size + line.size > rotation->limit) put_aside(rotation, wall);
    rotation->size += line.size;
    while (line.size > 0) {
        ssize_t written = write(rotation->file, line.data, line.size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return; /* there is nobody left to tell */
        line = bytes_of(line.data + written, line.size - (size_t)written);
    }
}

struct error *log_rotation_open(const char *path, const struct log_rotation_options *options,
                                struct log_rotation **out)
{
    struct log_rotation *rotation = mem_zalloc(1, sizeof(*rotation));
    struct stat status;
    int64_t max_size = options->max_size_mib == 0 ? DEFAULT_MAX_SIZE_MIB : options->max_size_mib;
    rotation->options = *options;
    rotation->limit = (uint64_t)max_size * MIB;
    pthread_mutex_init(&rotation->mutex, NULL);
    split_path(rotation, path);
    make_directories(path);
    rotation->file = open_file(rotation, 0600);
    if (rotation->file < 0) {
        struct error *error = error_system(errno, "open sink \"%s\": open %s", path, path);
        log_rotation_close(rotation);
        return error;
    }
    if (fstat(rotation->file, &status) == 0) rotation->size = (uint64_t)status.st_size;
    *out = rotation;
    return NULL;
}

void log_rotation_close(struct log_rotation *rotation)
{
    if (rotation == NULL) return;
    join_helper(rotation);
    if (rotation->file >= 0) close(rotation->file);
    pthread_mutex_destroy(&rotation->mutex);
    free(rotation->path);
    free(rotation->directory);
    free(rotation->prefix);
    free(rotation->suffix);
    free(rotation);
}

void log_rotation_set_limit(struct log_rotation *rotation, uint64_t bytes)
{
    rotation->limit = bytes;
}
