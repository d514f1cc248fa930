#include "member/restore.h"

#include "base/buf.h"
#include "base/memory.h"
#include "base/text.h"
#include "bolt/bolt.h"
#include "member/first_log.h"
#include "member/snapshot_file.h"
#include "mvcc/revision.h"
#include "storage/backend.h"
#include "storage/datadir.h"
#include "storage/snap.h"

#include <inttypes.h>
#include <stdlib.h>

struct restore {
    const struct restore_options *options;
    struct datadir directory;
    struct cluster *cluster;
    uint64_t cluster_id;
    uint64_t id;
};

/* ---- what is asked for ---- */

static struct error *plan_cluster(struct restore *restore)
{
    const struct restore_options *options = restore->options;
    struct cluster_initial initial = {0};
    struct cluster_urls advertised = {0};
    struct error *error = cluster_urls_parse(options->initial_advertise_peer_urls, &advertised);
    if (error == NULL) error = cluster_initial_parse(options->initial_cluster, &initial);
    if (error == NULL) error = cluster_initial_check(&initial, options->name, &advertised, false, NULL);
    if (error == NULL)
        error = cluster_bootstrap(restore->cluster, &initial, options->initial_cluster_token, options->sha1,
                                  &restore->cluster_id);
    if (error == NULL)
        restore->id =
            cluster_member_id(options->sha1, &cluster_initial_find(&initial, options->name)->peer_urls,
                              options->initial_cluster_token);
    cluster_urls_deinit(&advertised);
    cluster_initial_deinit(&initial);
    return error;
}

static struct error *refuse_directory(const char *format, const char *path)
{
    struct buf quoted = {0};
    text_go_quote(&quoted, bytes_from_string(path));
    struct error *error = error_new(ERROR_EXISTS, format, buf_string(&quoted));
    buf_deinit(&quoted);
    return error;
}

static struct error *check_directories(const struct restore *restore)
{
    const struct restore_options *options = restore->options;
    bool empty = false, exists = false;
    struct error *error = datadir_is_empty(options->fs, options->data_directory, &empty);
    error_free(error);
    if (error != NULL || !empty)
        return refuse_directory("data-dir %s not empty or could not be read", options->data_directory);
    if (options->wal_directory[0] == '\0') return NULL;
    TRY(fs_exists(options->fs, options->wal_directory, &exists));
    return exists ? refuse_directory("wal-dir %s exists", options->wal_directory) : NULL;
}

/* ---- the backend ---- */

/* Members become those of the new cluster; what was agreed on about versions stays. */
static struct error *replace_members(struct restore *restore, struct backend *backend)
{
    struct cluster *before = cluster_new(&(const struct cluster_options){.logger = NULL});
    struct raft_conf_state conf_state = {0};
    struct version version;
    log_info(restore->options->logger, "Trimming membership information from the backend...");
    struct error *error = cluster_load(before, backend);
    if (error == NULL) {
        if (cluster_version(before, &version)) cluster_set_version(restore->cluster, NULL, version);
        cluster_set_downgrade(restore->cluster, NULL, cluster_downgrade(before));
        error = cluster_store(restore->cluster, backend);
        cluster_conf_state(restore->cluster, &conf_state);
        cluster_conf_state_store(backend, &conf_state);
        raft_conf_state_deinit(&conf_state);
    }
    cluster_free(before);
    return error;
}

static void log_members(const struct restore *restore)
{
    for (size_t i = 0; i < cluster_member_count(restore->cluster); i++) {
        const struct cluster_member *member = cluster_member_at(restore->cluster, i);
        log_info(restore->options->logger, "added member", LOG_HEX("cluster-id", restore->cluster_id),
                 LOG_HEX("local-member-id", 0), LOG_HEX("added-peer-id", member->id),
                 LOG_STRINGS("added-peer-peer-urls", (const char *const *)member->peer_urls.items,
                             member->peer_urls.count),
                 LOG_BOOL("added-peer-is-learner", false));
    }
}

static struct error *newest_revision(struct backend *backend, uint64_t *newest)
{
    struct backend_reader reader;
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    bool found = false;
    *newest = 1;
    TRY(backend_read_begin(backend, &reader));
    struct error *error =
        bolt_bucket(reader.tx, bytes_from_string(backend_bucket_name(BUCKET_KEY)), &bucket, &found);
    if (error == NULL && found) {
        bolt_cursor_init(&cursor, &bucket);
        error = bolt_cursor_last(&cursor);
        if (error == NULL && cursor.valid && cursor.key.size >= MVCC_REVISION_SIZE)
            *newest = be64_get(cursor.key.data);
    }
    backend_read_end(&reader);
    return error;
}

/* The row at the new revision has no value, which reads as a key without a name: nobody can ask for it. */
static struct error *bump_revision(const struct restore *restore, struct backend *backend)
{
    uint64_t amount = restore->options->bump_revision, newest;
    if (amount == 0) return NULL;
    TRY(newest_revision(backend, &newest));
    if (amount > INT64_MAX - newest)
        return error_new(ERROR_INVALID, "revision %" PRIu64 " cannot be raised by %" PRIu64, newest, amount);
    log_info(restore->options->logger, "bumping latest revision", LOG_UINT("latest-revision", newest),
             LOG_UINT("bump-amount", amount), LOG_UINT("new-latest-revision", newest + amount));
    struct mvcc_row_key row =
        mvcc_row_key_of((struct mvcc_revision){.main = (int64_t)(newest + amount)}, false);
    backend_put(backend, BUCKET_KEY, mvcc_row_key_bytes(&row), BYTES_EMPTY);
    log_info(restore->options->logger, "marking revision compacted", LOG_UINT("revision", newest + amount));
    backend_put(backend, BUCKET_META, BYTES_LITERAL("scheduledCompactRev"), mvcc_row_key_bytes(&row));
    return NULL;
}

static void put_counter(struct backend *backend, struct bytes key, uint64_t counter)
{
    uint8_t value[8];
    be64_put(value, counter);
    backend_put(backend, BUCKET_META, key, bytes_of(value, sizeof(value)));
}

static struct error *change_backend(struct restore *restore, struct backend *backend)
{
    TRY(replace_members(restore, backend));
    TRY(bump_revision(restore, backend));
    /* All of it counts as applied by the entries that add the members. */
    put_counter(backend, BYTES_LITERAL("consistent_index"), cluster_member_count(restore->cluster));
    put_counter(backend, BYTES_LITERAL("term"), 1);
    TRY(backend_commit_active(backend));
    log_members(restore);
    return NULL;
}

static struct error *make_backend(struct restore *restore)
{
    const struct restore_options *options = restore->options;
    struct backend_options open = {.initial_map_size = options->map_size,
                                   .any_rows = options->skip_hash_check,
                                   .logger = options->logger};
    struct backend *backend;
    TRY(snapshot_file_copy(options->fs, options->snapshot, restore->directory.database,
                           options->skip_hash_check));
    TRY(backend_open(options->fs, restore->directory.database, &open, &backend));
    struct error *error = change_backend(restore, backend);
    struct error *second = backend_close(backend);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

/* ---- log and .snap file ---- */

/* The members alone: which version they speak is for them to find out. */
static struct error *make_snap(const struct restore *restore, struct raft_snapshot *snapshot)
{
    struct snap_options options = {.fs = restore->options->fs, .logger = restore->options->logger};
    struct buf data = {0};
    cluster_v2_snapshot_write(&data, restore->cluster);
    snapshot->data = blob_from(buf_bytes(&data));
    buf_deinit(&data);
    return snap_save(&options, restore->directory.snap, snapshot);
}

static struct error *make_log(const struct restore *restore, const struct raft_snapshot *snapshot)
{
    struct wal_options options = {.fs = restore->options->fs, .logger = restore->options->logger};
    struct raft_hard_state state = {.term = 1,
                                    .vote = snapshot->conf_state.voters.items[0],
                                    .commit = snapshot->index};
    struct raft_entries entries = {0};
    struct buf metadata = {0};
    struct wal *wal = NULL;
    bool must_sync;
    member_first_entries(restore->cluster, &entries);
    member_encode_metadata(&metadata, restore->id, restore->cluster_id);
    struct error *error = wal_begin(&options, restore->directory.wal, buf_bytes(&metadata), &wal);
    if (error == NULL) error = wal_save(wal, &state, entries.items, entries.count, &must_sync);
    if (error == NULL) error = wal_save_snapshot(wal, snapshot->index, snapshot->term, &snapshot->conf_state);
    if (error == NULL) error = wal_publish(wal);
    struct error *second = wal_close(wal);
    raft_entries_deinit(&entries);
    buf_deinit(&metadata);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

/* The log comes last: with it the directory counts as a member's. */
static struct error *make_all(struct restore *restore)
{
    struct raft_snapshot snapshot = {.index = cluster_member_count(restore->cluster), .term = 1};
    struct error *error = datadir_create(&restore->directory, restore->options->fs, restore->options->logger);
    cluster_conf_state(restore->cluster, &snapshot.conf_state);
    if (error == NULL) error = make_snap(restore, &snapshot);
    if (error == NULL) error = make_backend(restore);
    if (error == NULL) error = fs_sync_directory(restore->options->fs, restore->directory.snap);
    if (error == NULL) error = make_log(restore, &snapshot);
    raft_snapshot_deinit(&snapshot);
    return error;
}

static void log_paths(const struct restore *restore, const char *message)
{
    log_info(restore->options->logger, message, LOG_STRING("path", restore->options->snapshot),
             LOG_STRING("wal-dir", restore->directory.wal),
             LOG_STRING("data-dir", restore->options->data_directory),
             LOG_STRING("snap-dir", restore->directory.snap),
             LOG_UINT("initial-memory-map-size", restore->options->map_size));
}

static void remove_all(const struct restore *restore, bool data_existed)
{
    const struct restore_options *options = restore->options;
    error_free(
        fs_remove_tree(options->fs, data_existed ? restore->directory.member : options->data_directory));
    error_free(fs_remove_tree(options->fs, restore->directory.wal));
}

static struct error *restore_planned(struct restore *restore)
{
    bool data_existed = false;
    TRY(check_directories(restore));
    TRY(fs_exists(restore->options->fs, restore->options->data_directory, &data_existed));
    log_paths(restore, "restoring snapshot");
    struct error *error = make_all(restore);
    if (error == NULL)
        log_paths(restore, "restored snapshot");
    else
        remove_all(restore, data_existed);
    return error;
}

struct error *member_restore(const struct restore_options *options)
{
    struct restore restore = {
        .options = options,
        .cluster = cluster_new(&(const struct cluster_options){.logger = NULL}),
    };
    datadir_init(&restore.directory, options->data_directory, options->wal_directory);
    struct error *error = plan_cluster(&restore);
    if (error == NULL) error = restore_planned(&restore);
    datadir_deinit(&restore.directory);
    cluster_free(restore.cluster);
    return error;
}
