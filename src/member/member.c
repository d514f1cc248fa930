#include "member/member.h"

#include "api/message.h"
#include "member/first_log.h"
#include "member/force.h"
#include "raft/memory_storage.h"
#include "storage/snap.h"

#include <stdlib.h>

#include "etcdserver.pb-c.h"

static struct error *open_backend(const struct member_options *options, struct member *member)
{
    struct backend_options backend = {
        .no_sync = options->no_sync,
        .logger = options->logger,
        .now = options->now,
        .now_context = options->now_context,
    };
    /* Room for a file that has grown to its quota, without remapping. */
    if (options->quota_bytes > UINT64_C(2) << 30) backend.initial_map_size = options->quota_bytes / 10 * 11;
    struct error *error = backend_open(options->fs, member->directory.database, &backend, &member->backend);
    if (error_is(error, ERROR_CORRUPT))
        return error_wrap(error,
                          "the database cannot be used: remove this member from the cluster, empty its data "
                          "directory and add it again; of an only member, \"etcdutl snapshot restore "
                          "--skip-hash-check\" may save what is left");
    if (error != NULL) return error;
    log_info(options->logger, "opened backend db", LOG_STRING("path", member->directory.database));
    member->recovery.backend = member->backend;
    /* Not before: who holds the backend's lock is the only one here. */
    return datadir_remove_leftovers(&member->directory, options->fs, options->logger);
}

/* ---- first start ---- */

/* `first`: the members that its first entries add; none when the leader of a running cluster will fill it. */
static struct error *write_first_log(const struct cluster *first, struct member *member)
{
    struct raft_entries entries = {0};
    struct buf metadata = {0};
    bool must_sync = false;
    member_first_entries(first, &entries);
    member_encode_metadata(&metadata, member->id, member->cluster_id);
    struct raft_hard_state state = {.term = entries.count > 0, .commit = entries.count};
    struct error *error =
        wal_begin(&member->wal_options, member->directory.wal, buf_bytes(&metadata), &member->wal);
    if (error == NULL) error = wal_save(member->wal, &state, entries.items, entries.count, &must_sync);
    if (error == NULL) error = wal_publish(member->wal);
    if (error == NULL) {
        raft_memory_storage_set_hard_state(member->recovery.log, state);
        raft_memory_storage_append(member->recovery.log, entries.items, entries.count);
    }
    raft_entries_deinit(&entries);
    buf_deinit(&metadata);
    return error;
}

static struct error *check_advertised(const struct member_options *options,
                                      const struct cluster_initial *initial)
{
    const struct member_bootstrap *bootstrap = options->bootstrap;
    struct cluster_urls advertised = {0};
    bool same = false;
    struct error *error = cluster_urls_parse(options->initial_advertise_peer_urls, &advertised);
    if (error == NULL && bootstrap != NULL &&
        cluster_initial_needs_resolving(initial, options->name, &advertised))
        same = bootstrap->same_urls(bootstrap->context,
                                    &cluster_initial_find(initial, options->name)->peer_urls, &advertised);
    if (error == NULL) error = cluster_initial_check(initial, options->name, &advertised, same, NULL);
    cluster_urls_deinit(&advertised);
    return error;
}

/* Adds the members of a new cluster to `first`. */
static struct error *found_cluster(const struct member_options *options, struct member *member,
                                   const struct cluster_initial *initial, struct cluster *first)
{
    const struct member_bootstrap *bootstrap = options->bootstrap;
    TRY(check_advertised(options, initial));
    TRY(cluster_bootstrap(first, initial, options->initial_cluster_token, options->sha1,
                          &member->cluster_id));
    const struct cluster_initial_member *self = cluster_initial_find(initial, options->name);
    member->id = cluster_member_id(options->sha1, &self->peer_urls, options->initial_cluster_token);
    if (bootstrap == NULL) return NULL;
    return bootstrap->check_new(bootstrap->context, initial, options->name, member->id);
}

static struct error *join_cluster(const struct member_options *options, struct member *member,
                                  const struct cluster_initial *initial)
{
    const struct member_bootstrap *bootstrap = options->bootstrap;
    uint64_t ids[CLUSTER_MEMBERS_MAX];
    TRY(cluster_initial_check(initial, options->name, NULL, false, NULL));
    TRY(bootstrap->find_running(bootstrap->context, initial, options->name, &member->cluster_id, ids));
    member->id = ids[cluster_initial_find(initial, options->name) - initial->items];
    return NULL;
}

/* A new log beside an old database: its entries would be taken for those that the database holds already. */
static struct error *check_is_fresh(const struct member *member)
{
    uint64_t index = backend_consistent_index(member->backend);
    if (index == 0) return NULL;
    return error_new(ERROR_CORRUPT,
                     "the database in %s holds entries up to index %llu, but there is no log in %s: restore "
                     "the log, or remove both",
                     member->directory.snap, (unsigned long long)index, member->directory.wal);
}

static struct error *start_new(const struct member_options *options, struct member *member)
{
    struct cluster_initial initial = {0};
    struct cluster *first = cluster_new(&(const struct cluster_options){.logger = options->logger});
    struct error *error = cluster_initial_parse(options->initial_cluster, &initial);
    if (error == NULL)
        error = options->initial_cluster_exists ? join_cluster(options, member, &initial)
                                                : found_cluster(options, member, &initial, first);
    if (error == NULL) error = open_backend(options, member);
    if (error == NULL) error = check_is_fresh(member);
    if (error == NULL) error = write_first_log(first, member);
    if (error == NULL)
        log_info(options->logger, "starting local member", LOG_HEX("local-member-id", member->id),
                 LOG_HEX("cluster-id", member->cluster_id));
    cluster_free(first);
    cluster_initial_deinit(&initial);
    member->is_new = true;
    return error;
}

/* ---- restart ---- */

static struct error *take_metadata(struct member *member, struct bytes bytes)
{
    struct arena *arena = arena_new();
    struct error *error = NULL;
    Etcdserverpb__Metadata *metadata =
        (void *)message_unpack(&etcdserverpb__metadata__descriptor, bytes, arena, &error);
    if (metadata != NULL) {
        member->id = metadata->nodeid;
        member->cluster_id = metadata->clusterid;
    } else {
        error = error_wrap(error, "the log's metadata");
    }
    arena_free(arena);
    return error;
}

/* The newest file that the log names from index `since` on. */
static struct error *find_snapshot(const struct member *member, const struct snap_options *snap,
                                   uint64_t since, struct raft_snapshot *snapshot, bool *found)
{
    struct wal_snapshots valid = {0};
    TRY(wal_valid_snapshots(&member->wal_options, member->directory.wal, since, &valid));
    struct error *error = snap_load_newest(snap, member->directory.snap, &valid, snapshot, found);
    wal_snapshots_deinit(&valid);
    return error;
}

/* Nearly always the newest file is good, and then only the last segments of the log need be read for it. */
static struct error *load_snapshot(const struct member_options *options, struct member *member,
                                   struct raft_snapshot *snapshot)
{
    struct snap_options snap = {.fs = options->fs, .logger = options->logger};
    uint64_t newest = 0;
    bool found = false;
    TRY(snap_newest_index(&snap, member->directory.snap, &newest));
    struct error *error = find_snapshot(member, &snap, newest, snapshot, &found);
    if (error == NULL && !found && newest > 0) error = find_snapshot(member, &snap, 0, snapshot, &found);
    if (error == NULL && found) {
        log_info(options->logger, "recovered v2 store from snapshot",
                 LOG_UINT("snapshot-index", snapshot->index));
        enum raft_result result = raft_memory_storage_apply_snapshot(member->recovery.log, snapshot);
        if (result != RAFT_OK)
            error = error_new(ERROR_CORRUPT, "snapshot at index %llu: %s",
                              (unsigned long long)snapshot->index, raft_result_text(result));
    }
    member->recovery.snapshot_index = snapshot->index;
    return error;
}

/* The log ends in a torn record, which is to be cut off: not when more was lost than was being written. */
static struct error *check_torn_log(const struct member *member, const struct raft_snapshot *snapshot)
{
    struct wal_content content = {0};
    uint64_t held = backend_consistent_index(member->backend), last = snapshot->index;
    TRY(wal_read(&member->wal_options, member->directory.wal, snapshot->index, snapshot->term, &content));
    if (content.entries.count > 0) last = content.entries.items[content.entries.count - 1].index;
    wal_content_deinit(&content);
    if (held <= last) return NULL;
    return error_new(ERROR_CORRUPT,
                     "the log in %s is cut off behind index %llu, but the backend holds entries up to index "
                     "%llu: more was lost than the end of a write, and nothing is repaired",
                     member->directory.wal, (unsigned long long)last, (unsigned long long)held);
}

static struct error *open_log(struct member *member, const struct raft_snapshot *snapshot,
                              struct wal_content *content)
{
    const char *directory = member->directory.wal;
    struct error *error =
        wal_open(&member->wal_options, directory, snapshot->index, snapshot->term, &member->wal, content);
    if (!error_is(error, ERROR_TORN)) return error;
    error_free(error);
    TRY(check_torn_log(member, snapshot));
    return wal_recover(&member->wal_options, directory, snapshot->index, snapshot->term, &member->wal,
                       content);
}

/* --force-new-cluster. */
static struct error *force_alone(const struct member_options *options, struct member *member,
                                 const struct raft_snapshot *snapshot, struct wal_content *content)
{
    uint64_t first;
    size_t old = 0;
    bool must_sync;
    TRY(member_force_alone(member->id, backend_consistent_index(member->backend), snapshot, content, &first,
                           options->logger));
    const struct raft_entries *entries = &content->entries;
    while (old < entries->count && entries->items[old].index < first) old++;
    TRY(wal_save(member->wal, &content->hard_state, entries->items + old, entries->count - old, &must_sync));
    TRY(wal_sync(member->wal));
    log_info(options->logger, "forcing restart member", LOG_HEX("cluster-id", member->cluster_id),
             LOG_HEX("local-member-id", member->id), LOG_UINT("commit-index", content->hard_state.commit));
    return NULL;
}

static struct error *check_reaches_commit(const struct member *member, const struct raft_snapshot *snapshot,
                                          const struct wal_content *content)
{
    uint64_t last = snapshot->index + content->entries.count;
    if (content->hard_state.commit <= last) return NULL;
    return error_new(
        ERROR_CORRUPT,
        "the log in %s is committed up to index %llu and holds entries up to %llu: entries, or the "
        "snapshot that stands for them, were lost",
        member->directory.wal, (unsigned long long)content->hard_state.commit, (unsigned long long)last);
}

static struct error *load_log(const struct member_options *options, struct member *member,
                              const struct raft_snapshot *snapshot)
{
    struct wal_content content = {0};
    TRY(open_log(member, snapshot, &content));
    struct error *error = take_metadata(member, buf_bytes(&content.metadata));
    if (error == NULL) error = check_reaches_commit(member, snapshot, &content);
    if (error == NULL && options->force_new_cluster) error = force_alone(options, member, snapshot, &content);
    if (error == NULL) {
        log_info(options->logger, "restarting local member", LOG_HEX("cluster-id", member->cluster_id),
                 LOG_HEX("local-member-id", member->id), LOG_UINT("commit-index", content.hard_state.commit));
        raft_memory_storage_set_hard_state(member->recovery.log, content.hard_state);
        raft_memory_storage_append(member->recovery.log, content.entries.items, content.entries.count);
    }
    wal_content_deinit(&content);
    return error;
}

/* A snapshot that is ahead of the backend came from another member, and the member ended before its database
 * was put in place. */
static struct error *install_received(const struct member_options *options, struct member *member,
                                      const struct raft_snapshot *snapshot)
{
    bool exists = false;
    char *path = snap_database_path(member->directory.snap, snapshot->index);
    struct error *error = fs_exists(options->fs, path, &exists);
    /* It was good when it came; what is there now is let go of for it. */
    if (error == NULL && exists) error = backend_check_image(options->fs, path, snapshot->index);
    if (error == NULL && exists) error = backend_install(member->backend, path, snapshot->index);
    if (error == NULL && !exists)
        error = error_new(ERROR_CORRUPT,
                          "failed to find database snapshot file (snap: snapshot file doesn't exist): the "
                          "backend %s is at index %llu, the snapshot at %llu",
                          member->directory.database,
                          (unsigned long long)backend_consistent_index(member->backend),
                          (unsigned long long)snapshot->index);
    free(path);
    return error;
}

/* The start went back to an older snapshot, or to none, and the log does not reach that far back, or does not
 * go on from there: then it is the file that could not be read, now or by an earlier start, that is missing.
 */
static struct error *blame_broken_snapshot(const struct member_options *options, const struct member *member,
                                           uint64_t index, struct error *error)
{
    struct snap_options snap = {.fs = options->fs, .logger = options->logger};
    char *path = NULL;
    if (!error_is(error, ERROR_CORRUPT) && !error_is(error, ERROR_NOT_FOUND)) return error;
    error_free(snap_find_broken(&snap, member->directory.snap, index, &path));
    if (path == NULL) return error;
    error =
        error_wrap(error,
                   "a snapshot file could not be read and was renamed to %s, and nothing else can stand in "
                   "for it: put a good copy in its place (without .broken), or remove this member from the "
                   "cluster, empty its data directory and add it again",
                   path);
    free(path);
    return error;
}

static struct error *restart(const struct member_options *options, struct member *member)
{
    struct raft_snapshot snapshot = {0};
    bool had_database = false;
    TRY(fs_exists(options->fs, member->directory.database, &had_database));
    /* Its lock guards the whole member: nothing else is looked at while another process may be writing. */
    if (had_database) TRY(open_backend(options, member));
    struct error *error = load_snapshot(options, member, &snapshot);
    if (error == NULL && snapshot.index > 0 && !had_database)
        error = error_new(ERROR_NOT_FOUND, "database file (%s) of the backend is missing",
                          member->directory.database);
    if (error == NULL && !had_database) error = open_backend(options, member);
    if (error == NULL && backend_consistent_index(member->backend) < snapshot.index)
        error = install_received(options, member, &snapshot);
    if (error == NULL) error = load_log(options, member, &snapshot);
    if (error != NULL) error = blame_broken_snapshot(options, member, snapshot.index, error);
    raft_snapshot_deinit(&snapshot);
    return error;
}

/* ---- life ---- */

static struct error *release_databases(const struct member *member, uint64_t index)
{
    struct snap_options snap = {.fs = member->wal_options.fs, .logger = member->wal_options.logger};
    return snap_release_databases(&snap, member->directory.snap, index);
}

struct error *member_open(const struct member_options *options, struct member *member)
{
    bool has_log = false;
    *member = (struct member){0};
    member->wal_options = (struct wal_options){
        .fs = options->fs,
        .logger = options->logger,
        .metrics = options->wal_metrics,
        .now = options->now,
        .now_context = options->now_context,
        .segment_size = options->wal_segment_size,
        .no_sync = options->no_sync,
    };
    datadir_init(&member->directory, options->data_directory, options->wal_directory);
    member->recovery.log = mem_alloc(sizeof(*member->recovery.log));
    raft_memory_storage_init(member->recovery.log);
    struct error *error = datadir_create(&member->directory, options->fs, options->logger);
    if (error == NULL) error = wal_exists(options->fs, member->directory.wal, &has_log);
    if (error == NULL) error = has_log ? restart(options, member) : start_new(options, member);
    /* Now that the database is locked nobody else can be using what lies about. */
    if (error == NULL) error = datadir_remove_leftovers(&member->directory, options->fs, options->logger);
    if (error == NULL) error = release_databases(member, UINT64_MAX);
    if (error != NULL) error_free(member_close(member));
    return error;
}

struct error *member_purge(const struct member *member, uint64_t max_wals, uint64_t max_snapshots,
                           uint64_t applied)
{
    struct snap_options snap = {.fs = member->wal_options.fs, .logger = member->wal_options.logger};
    size_t removed = 0;
    TRY(wal_purge(&member->wal_options, member->directory.wal, max_wals, &removed));
    TRY(snap_purge(&snap, member->directory.snap, max_snapshots, &removed));
    return release_databases(member, applied);
}

struct error *member_close(struct member *member)
{
    struct error *error = wal_close(member->wal);
    if (member->backend != NULL) {
        struct error *second = backend_close(member->backend);
        if (error == NULL)
            error = second;
        else
            error_free(second);
    }
    if (member->recovery.log != NULL) raft_memory_storage_deinit(member->recovery.log);
    free(member->recovery.log);
    datadir_deinit(&member->directory);
    *member = (struct member){0};
    return error;
}
