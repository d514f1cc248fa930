#include "member/migrate.h"

#include "base/buf.h"
#include "base/wire.h"
#include "cluster/cluster.h"
#include "storage/backend.h"
#include "storage/datadir.h"
#include "storage/snap.h"
#include "storage/wal.h"

/* Of InternalRaftRequest: those that name a version in their field 1. Everything else that is logged was
 * known to 3.5. */
enum {
    FIELD_CLUSTER_VERSION_SET = 1300,
    FIELD_DOWNGRADE_VERSION_TEST = 9900,
    FIELD_VERSION = 1,
};

#define META_STORAGE_VERSION BYTES_LITERAL("storageVersion")

/* ---- the storage ---- */

/* What is there: the noted version, or 3.5. ERROR_NOT_FOUND: older than 3.5. */
static struct error *storage_version_of(struct backend *backend, struct version *version)
{
    bool found;
    struct bytes value;
    TRY(backend_get(backend, BUCKET_META, META_STORAGE_VERSION, &found, &value));
    if (found && version_parse(value, version)) return NULL;
    TRY(backend_get(backend, BUCKET_META, BYTES_LITERAL("term"), &found, &value));
    if (!found || value.size != sizeof(uint64_t) || be64_get(value.data) == 0)
        return error_new(ERROR_NOT_FOUND, "missing term information");
    *version = version_of(3, 5);
    return NULL;
}

static struct error *store(struct backend *backend, struct version version)
{
    struct buf text = {0};
    version_format(&text, version);
    if (version_compare_minor(version, version_of(3, 6)) < 0)
        backend_delete(backend, BUCKET_META, META_STORAGE_VERSION);
    else
        backend_put(backend, BUCKET_META, META_STORAGE_VERSION, buf_bytes(&text));
    buf_deinit(&text);
    return backend_commit_active(backend);
}

/* ---- the log ---- */

static void raise_to(struct version *version, struct bytes text)
{
    struct version found;
    if (version_parse(text, &found) && version_compare(found, *version) > 0) *version = found;
}

static void look_at_message(struct version *version, struct bytes message)
{
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number == FIELD_VERSION && field.type == WIRE_LENGTH) raise_to(version, field.bytes);
}

/* The lowest version that understands the entry. */
static void look_at_entry(struct version *version, struct bytes data)
{
    struct wire_reader reader = wire_reader_of(data);
    struct wire_field field;
    if (cluster_is_v2_request(data)) return;
    while (wire_next(&reader, &field)) {
        if (field.type != WIRE_LENGTH) continue;
        if (field.number == FIELD_DOWNGRADE_VERSION_TEST && version_compare(*version, version_of(3, 6)) < 0)
            *version = version_of(3, 6);
        if (field.number == FIELD_CLUSTER_VERSION_SET || field.number == FIELD_DOWNGRADE_VERSION_TEST)
            look_at_message(version, field.bytes);
    }
}

static struct error *read_log(const struct datadir *directory, struct fs *fs, const struct logger *logger,
                              struct wal_content *content)
{
    struct wal_options wal = {.fs = fs, .logger = logger};
    struct snap_options snap = {.fs = fs, .logger = logger};
    struct wal_snapshots valid = {0};
    struct raft_snapshot snapshot = {0};
    bool found;
    TRY(wal_valid_snapshots(&wal, directory->wal, 0, &valid));
    struct error *error = snap_load_newest(&snap, directory->snap, &valid, &snapshot, &found);
    if (error == NULL) error = wal_read(&wal, directory->wal, snapshot.index, snapshot.term, content);
    raft_snapshot_deinit(&snapshot);
    wal_snapshots_deinit(&valid);
    return error;
}

static struct error *log_version(const struct datadir *directory, struct fs *fs, const struct logger *logger,
                                 struct version *version)
{
    struct wal_content content = {0};
    *version = version_of(3, 5);
    struct error *error = read_log(directory, fs, logger, &content);
    if (error != NULL) return error_wrap(error, "failed to read wal");
    for (size_t i = 0; i < content.entries.count; i++)
        if (content.entries.items[i].type == RAFT_ENTRY_NORMAL)
            look_at_entry(version, blob_bytes(content.entries.items[i].data));
    wal_content_deinit(&content);
    return NULL;
}

/* ---- migrating ---- */

static struct error *check_plan(struct version current, struct version target, struct version logged)
{
    struct buf a = {0}, b = {0};
    struct error *error = NULL;
    version_format(&a, target);
    version_format(&b, logged);
    if (target.major != 3 || target.minor < 5 || target.minor > 6)
        error = error_new(ERROR_INVALID, "cannot create migration plan: version \"%s\" is not supported",
                          buf_string(&a));
    else if (version_compare_minor(target, current) < 0 && version_compare(target, logged) < 0)
        error =
            error_new(ERROR_INVALID,
                      "cannot downgrade storage, WAL contains newer entries, as the target version (%s) is "
                      "lower than the version (%s) detected from WAL logs",
                      buf_string(&a), buf_string(&b));
    buf_deinit(&a);
    buf_deinit(&b);
    return error;
}

static void log_version_is(const struct logger *logger, enum log_level level, const char *message,
                           const char *field, struct version version, bool with_patch)
{
    struct buf text = {0};
    if (with_patch)
        version_format(&text, version);
    else
        version_format_minor(&text, version);
    LOG_AT(logger, level, message, LOG_STRING(field, buf_string(&text)));
    buf_deinit(&text);
}

static struct error *change_version(struct backend *backend, struct version target, struct version logged,
                                    bool force, const struct logger *logger)
{
    struct version current;
    struct error *error = storage_version_of(backend, &current);
    if (error != NULL) {
        log_error(logger,
                  "failed to detect storage version. Please make sure you are using data dir from etcd v3.5 "
                  "and older");
        return error;
    }
    if (version_compare_minor(current, target) == 0) {
        log_version_is(logger, LOG_INFO, "storage version up-to-date", "storage-version", current, false);
        return NULL;
    }
    error = check_plan(current, target, logged);
    if (error == NULL) {
        TRY(store(backend, target));
        log_version_is(logger, LOG_INFO, "updated storage version", "new-storage-version", target, true);
        return NULL;
    }
    if (!force) return error;
    log_info(logger, "normal migrate failed, trying with force", LOG_STRING("error", error->text));
    error_free(error);
    TRY(store(backend, target));
    if (version_compare_minor(target, version_of(3, 6)) < 0)
        log_warn(logger, "forcefully cleared storage version");
    else
        log_version_is(logger, LOG_WARN, "forcefully set storage version", "storage-version", target, false);
    return NULL;
}

struct error *member_migrate(struct fs *fs, const char *data_directory, struct version target, bool force,
                             const struct logger *logger)
{
    struct datadir directory;
    struct version logged;
    struct backend *backend;
    const struct backend_options options = {.logger = logger};
    bool exists = false;
    datadir_init(&directory, data_directory, NULL);
    struct error *error = fs_exists(fs, directory.database, &exists);
    if (error == NULL && !exists)
        error = error_new(ERROR_NOT_FOUND, "stat %s: no such file or directory", directory.database);
    if (error == NULL) error = log_version(&directory, fs, logger, &logged);
    if (error == NULL) error = backend_open(fs, directory.database, &options, &backend);
    if (error == NULL) {
        error = change_version(backend, target, logged, force, logger);
        struct error *second = backend_close(backend);
        if (error == NULL)
            error = second;
        else
            error_free(second);
    }
    datadir_deinit(&directory);
    return error;
}
