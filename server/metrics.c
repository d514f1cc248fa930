#include "server/metrics.h"

#include "base/memory.h"
#include "config.h"
#include "server/descriptors.h"
#include "server/metrics_text.h"
#include "server/options.h"

#include <dirent.h>
#include <malloc.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define SECONDS      1e9
#define MILLISECONDS 1e6

enum { LABELS_MAX = 320 };

/* ---- the node's numbers ---- */

struct counter_row {
    const char *name;
    size_t offset;
    const char *type;
    const char *help;
};

#define COUNTER(name_, field_, help_)                                                                        \
    {                                                                                                        \
        name_, offsetof(struct node_metrics, field_), "counter", help_                                       \
    }
#define GAUGE(name_, field_, help_)                                                                          \
    {                                                                                                        \
        name_, offsetof(struct node_metrics, field_), "gauge", help_                                         \
    }

/* Counters and gauges are both 64-bit words. */
static const struct counter_row node_rows[] = {
    GAUGE("etcd_server_has_leader", has_leader, "Whether or not a leader exists. 1 is existence, 0 is not."),
    GAUGE("etcd_server_is_leader", is_leader,
          "Whether or not this member is a leader. 1 if is, 0 otherwise."),
    GAUGE("etcd_server_is_learner", is_learner,
          "Whether or not this member is a learner. 1 if is, 0 otherwise."),
    COUNTER("etcd_server_leader_changes_seen_total", leader_changes, "The number of leader changes seen."),
    GAUGE("etcd_server_proposals_committed_total", proposals_committed,
          "The total number of consensus proposals committed."),
    GAUGE("etcd_server_proposals_applied_total", proposals_applied,
          "The total number of consensus proposals applied."),
    GAUGE("etcd_server_proposals_pending", proposals_pending,
          "The current number of pending proposals to commit."),
    COUNTER("etcd_server_proposals_failed_total", proposals_failed,
            "The total number of failed proposals seen."),
    COUNTER("etcd_server_read_indexes_failed_total", read_indexes_failed,
            "The total number of failed read indexes seen."),
    COUNTER("etcd_server_slow_read_indexes_total", slow_read_indexes,
            "The total number of pending read indexes not in sync with leader's or timed out read index "
            "requests."),
    COUNTER("etcd_server_slow_apply_total", slow_applies,
            "The total number of slow apply requests (likely overloaded from "
            "slow disk)."),
    COUNTER("etcd_server_heartbeat_send_failures_total", heartbeat_send_failures,
            "The total number of leader heartbeat send failures (likely overloaded from slow disk)."),
    COUNTER("etcd_server_learner_promote_successes", learner_promotes,
            "The total number of successful learner promotions while this member is leader."),
    GAUGE("etcd_server_snapshot_apply_in_progress_total", applying_snapshot,
          "1 if the server is applying the incoming snapshot. 0 if none."),
    COUNTER("etcd_mvcc_put_total", puts, "Total number of puts seen by this member."),
    COUNTER("etcd_mvcc_delete_total", deletes, "Total number of deletes seen by this member."),
    COUNTER("etcd_mvcc_range_total", ranges, "Total number of ranges seen by this member."),
    COUNTER("etcd_mvcc_txn_total", txns, "Total number of txns seen by this member."),
    COUNTER("etcd_debugging_mvcc_put_total", puts, "Total number of puts seen by this member."),
    COUNTER("etcd_debugging_mvcc_delete_total", deletes, "Total number of deletes seen by this member."),
    COUNTER("etcd_debugging_mvcc_range_total", ranges, "Total number of ranges seen by this member."),
    COUNTER("etcd_debugging_mvcc_txn_total", txns, "Total number of txns seen by this member."),
    GAUGE("etcd_mvcc_db_total_size_in_bytes", db_size,
          "Total size of the underlying database physically allocated in bytes."),
    GAUGE("etcd_debugging_mvcc_db_total_size_in_bytes", db_size,
          "Total size of the underlying database in bytes."),
    GAUGE("etcd_mvcc_db_total_size_in_use_in_bytes", db_size_in_use,
          "Total size of the underlying database logically in use in bytes."),
    GAUGE("etcd_mvcc_db_open_read_transactions", open_read_transactions,
          "The number of currently open read transactions"),
    GAUGE("etcd_debugging_auth_revision", auth_revision, "The current revision of auth store."),
    GAUGE("etcd_debugging_mvcc_keys_total", keys, "Total number of keys."),
    GAUGE("etcd_debugging_mvcc_watch_stream_total", watch_streams, "Total number of watch streams."),
    GAUGE("etcd_debugging_mvcc_watcher_total", watchers, "Total number of watchers."),
    GAUGE("etcd_debugging_mvcc_slow_watcher_total", slow_watchers, "Total number of unsynced slow watchers."),
    GAUGE("etcd_debugging_mvcc_pending_events_total", pending_events,
          "Total number of pending events to be sent."),
    COUNTER("etcd_debugging_mvcc_events_total", events, "Total number of events sent by this member."),
    GAUGE("etcd_debugging_mvcc_current_revision", revision, "The current revision of store."),
    GAUGE("etcd_debugging_mvcc_compact_revision", compact_revision,
          "The revision of the last compaction in store."),
    COUNTER("etcd_debugging_mvcc_db_compaction_keys_total", compacted_keys,
            "Total number of db keys compacted."),
    GAUGE("etcd_debugging_mvcc_db_compaction_last", db_compaction_last,
          "The unix time of the last db compaction. Resets to 0 on start."),
    GAUGE("etcd_debugging_mvcc_total_put_size_in_bytes", put_bytes,
          "The total size of put kv pairs seen by this member."),
    COUNTER("etcd_debugging_lease_granted_total", leases_granted, "The total number of granted leases."),
    COUNTER("etcd_debugging_lease_revoked_total", leases_revoked, "The total number of revoked leases."),
    COUNTER("etcd_debugging_lease_renewed_total", leases_renewed,
            "The number of renewed leases seen by the leader."),
    COUNTER("etcd_debugging_server_lease_expired_total", leases_expired,
            "The total number of expired leases."),
};

struct histogram_row {
    const char *name;
    size_t offset;
    double unit;
    const char *help;
};

static const struct histogram_row node_histograms[] = {
    {"etcd_mvcc_hash_duration_seconds", offsetof(struct node_metrics, hash), SECONDS,
     "The latency distribution of storage hash operation."},
    {"etcd_mvcc_hash_rev_duration_seconds", offsetof(struct node_metrics, hash_revision), SECONDS,
     "The latency distribution of storage hash by revision operation."},
    {"etcd_debugging_lease_ttl_total", offsetof(struct node_metrics, lease_ttl), SECONDS,
     "Bucketed histogram of lease TTLs."},
    {"etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
     offsetof(struct node_metrics, compaction_pause), MILLISECONDS,
     "Bucketed histogram of db compaction pause duration."},
    {"etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
     offsetof(struct node_metrics, compaction_total), MILLISECONDS,
     "Bucketed histogram of db compaction total duration."},
};

static const char *const apply_names[NODE_APPLY_KINDS] = {
    [NODE_APPLY_PUT] = "Put",
    [NODE_APPLY_DELETE_RANGE] = "DeleteRange",
    [NODE_APPLY_TXN] = "Txn",
    [NODE_APPLY_COMPACTION] = "Compaction",
    [NODE_APPLY_LEASE_GRANT] = "LeaseGrant",
    [NODE_APPLY_LEASE_REVOKE] = "LeaseRevoke",
    [NODE_APPLY_ALARM] = "Alarm",
    [NODE_APPLY_LEASE_CHECKPOINT] = "LeaseCheckpoint",
    [NODE_APPLY_CLUSTER_VERSION_SET] = "ClusterVersionSet",
    [NODE_APPLY_CLUSTER_MEMBER_ATTR_SET] = "ClusterMemberAttrSet",
    [NODE_APPLY_DOWNGRADE_INFO_SET] = "DowngradeInfoSet",
    [NODE_APPLY_AUTH_ENABLE] = "AuthEnable",
    [NODE_APPLY_AUTH_DISABLE] = "AuthDisable",
    [NODE_APPLY_AUTH_STATUS] = "AuthStatus",
    [NODE_APPLY_AUTHENTICATE] = "Authenticate",
    [NODE_APPLY_AUTH_USER_ADD] = "AuthUserAdd",
    [NODE_APPLY_AUTH_USER_CHANGE_PASSWORD] = "AuthUserChangePassword",
    [NODE_APPLY_AUTH_USER_DELETE] = "AuthUserDelete",
    [NODE_APPLY_AUTH_USER_GET] = "AuthUserGet",
    [NODE_APPLY_AUTH_USER_LIST] = "AuthUserList",
    [NODE_APPLY_AUTH_USER_GRANT_ROLE] = "AuthUserGrantRole",
    [NODE_APPLY_AUTH_USER_REVOKE_ROLE] = "AuthUserRevokeRole",
    [NODE_APPLY_AUTH_ROLE_ADD] = "AuthRoleAdd",
    [NODE_APPLY_AUTH_ROLE_DELETE] = "AuthRoleDelete",
    [NODE_APPLY_AUTH_ROLE_GET] = "AuthRoleGet",
    [NODE_APPLY_AUTH_ROLE_LIST] = "AuthRoleList",
    [NODE_APPLY_AUTH_ROLE_GRANT_PERMISSION] = "AuthRoleGrantPermission",
    [NODE_APPLY_AUTH_ROLE_REVOKE_PERMISSION] = "AuthRoleRevokePermission",
};

static bool is_used(struct metric_histogram *histogram)
{
    for (unsigned i = 0; i <= histogram->count; i++)
        if (atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed) != 0) return true;
    return false;
}

/* As with all labelled metrics of etcd's, a series is there once it has been used. */
static void write_applies(struct metrics_writer *writer, struct node_metrics *node)
{
    char labels[LABELS_MAX];
    metrics_begin(writer, "etcd_server_apply_duration_seconds", "histogram",
                  "The latency distributions of v2 apply called by backend.");
    for (size_t kind = 0; kind < NODE_APPLY_KINDS; kind++)
        for (int success = 0; success < 2; success++) {
            if (!is_used(&node->apply[kind][success])) continue;
            snprintf(labels, sizeof(labels), "op=\"%s\",success=\"%s\",version=\"v3\"", apply_names[kind],
                     success ? "true" : "false");
            metrics_histogram(writer, labels, &node->apply[kind][success], SECONDS);
        }
    metrics_begin(writer, "etcd_server_range_duration_seconds", "histogram",
                  "The latency distributions of txn.Range");
    for (int success = 0; success < 2; success++)
        if (is_used(&node->range[success]))
            metrics_histogram(writer, success ? "success=\"true\"" : "success=\"false\"",
                              &node->range[success], SECONDS);
}

static void write_node(struct metrics_writer *writer, struct node_metrics *node)
{
    for (size_t i = 0; i < sizeof(node_rows) / sizeof(node_rows[0]); i++) {
        const struct counter_row *row = &node_rows[i];
        const void *field = (const char *)node + row->offset;
        int64_t value = atomic_load_explicit((_Atomic int64_t *)(uintptr_t)field, memory_order_relaxed);
        metrics_single(writer, row->name, row->type, row->help, (double)value);
    }
    for (size_t i = 0; i < sizeof(node_histograms) / sizeof(node_histograms[0]); i++) {
        const struct histogram_row *row = &node_histograms[i];
        metrics_begin(writer, row->name, "histogram", row->help);
        metrics_histogram(writer, NULL, (void *)((char *)node + row->offset), row->unit);
    }
    write_applies(writer, node);
}

/* ---- the disk's ---- */

static void seconds(struct metrics_writer *writer, const char *name, const char *help,
                    struct metric_histogram *histogram)
{
    metrics_begin(writer, name, "histogram", help);
    metrics_histogram(writer, NULL, histogram, SECONDS);
}

static void write_disk(struct metrics_writer *writer, struct metrics_sources *sources)
{
    seconds(writer, "etcd_disk_wal_fsync_duration_seconds",
            "The latency distributions of fsync called by WAL.", &sources->wal->fsync_duration);
    seconds(writer, "etcd_disk_wal_write_duration_seconds",
            "The latency distributions of write called by WAL.", &sources->wal->write_duration);
    metrics_single(writer, "etcd_disk_wal_write_bytes_total", "gauge",
                   "Total number of bytes written in WAL.",
                   (double)metric_gauge_read(&sources->wal->write_bytes));
    seconds(writer, "etcd_disk_backend_commit_duration_seconds",
            "The latency distributions of commit called by backend.", &sources->backend->commit);
    seconds(writer, "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
            "The latency distributions of commit.rebalance called by bboltdb backend.",
            &sources->backend->rebalance);
    seconds(writer, "etcd_debugging_disk_backend_commit_spill_duration_seconds",
            "The latency distributions of commit.spill called by bboltdb backend.", &sources->backend->spill);
    seconds(writer, "etcd_debugging_disk_backend_commit_write_duration_seconds",
            "The latency distributions of commit.write called by bboltdb backend.", &sources->backend->write);
    seconds(writer, "etcd_disk_backend_defrag_duration_seconds",
            "The latency distribution of backend defragmentation.", &sources->backend->defragment);
    seconds(writer, "etcd_disk_backend_snapshot_duration_seconds",
            "The latency distribution of backend snapshots.", &sources->backend->snapshot);
    metrics_single(writer, "etcd_disk_defrag_inflight", "gauge",
                   "Whether or not defrag is active on the member. 1 means active, 0 means not.",
                   (double)metric_gauge_read(&sources->backend->defragmenting));
    seconds(writer, "etcd_snap_fsync_duration_seconds", "The latency distributions of fsync called by snap.",
            &sources->snap->fsync_duration);
    seconds(writer, "etcd_snap_db_fsync_duration_seconds",
            "The latency distributions of fsyncing .snap.db file", &sources->snap->db_fsync_duration);
    seconds(writer, "etcd_snap_db_save_total_duration_seconds",
            "The total latency distributions of v3 snapshot save", &sources->snap->db_save_duration);
    seconds(writer, "etcd_debugging_snap_save_marshalling_duration_seconds",
            "The marshalling cost distributions of save called by snapshot.",
            &sources->snap->marshalling_duration);
    seconds(writer, "etcd_debugging_snap_save_total_duration_seconds",
            "The total latency distributions of save called by snapshot.", &sources->snap->save_duration);
}

/* ---- names that dashboards ask for, of things that do not happen here ---- */

static const struct {
    const char *name, *type, *help;
    uint64_t first; /* histograms: as in struct metric_histogram, in the unit */
    unsigned count;
    double unit;
} idle_rows[] = {
    {"etcd_debugging_store_expires_total", "counter", "Total number of expired keys.", 0, 0, 1},
    {"etcd_debugging_store_watch_requests_total", "counter",
     "Total number of incoming watch requests (new or reestablished).", 0, 0, 1},
    {"etcd_debugging_store_watchers", "gauge", "Count of currently active watchers.", 0, 0, 1},
    {"etcd_grpc_proxy_cache_hits_total", "gauge", "Total number of cache hits", 0, 0, 1},
    {"etcd_grpc_proxy_cache_keys_total", "gauge", "Total number of keys/ranges cached", 0, 0, 1},
    {"etcd_grpc_proxy_cache_misses_total", "gauge", "Total number of cache misses", 0, 0, 1},
    {"etcd_grpc_proxy_events_coalescing_total", "counter", "Total number of events coalescing", 0, 0, 1},
    {"etcd_grpc_proxy_watchers_coalescing_total", "gauge", "Total number of current watchers coalescing", 0,
     0, 1},
    {"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds", "histogram",
     "Bucketed histogram of index compaction pause duration.", 500000, 14, MILLISECONDS},
};

static void write_idle(struct metrics_writer *writer)
{
    for (size_t i = 0; i < sizeof(idle_rows) / sizeof(idle_rows[0]); i++) {
        metrics_begin(writer, idle_rows[i].name, idle_rows[i].type, idle_rows[i].help);
        struct metric_histogram empty = METRIC_HISTOGRAM(idle_rows[i].first, idle_rows[i].count);
        if (idle_rows[i].count == 0)
            metrics_sample(writer, NULL, 0);
        else
            metrics_histogram(writer, NULL, &empty, idle_rows[i].unit);
    }
}

/* ---- gRPC ---- */

static const char *kind_name(enum grpc_kind kind)
{
    switch (kind) {
    case GRPC_UNARY:
        return "unary";
    case GRPC_SERVER_STREAM:
        return "server_stream";
    default:
        return "bidi_stream";
    }
}

static uint64_t sum_counter(struct metrics_sources *sources, size_t method, size_t offset)
{
    uint64_t total = 0;
    for (size_t i = 0; i < sources->grpc_count; i++)
        total += metric_read((metric_counter *)(void *)((char *)&sources->grpc[i]->methods[method] + offset));
    return total;
}

static void method_labels(char labels[LABELS_MAX], const char *code, const struct grpc_method *method)
{
    snprintf(labels, LABELS_MAX, "%s%s%sgrpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
             code == NULL ? "" : "grpc_code=\"", code == NULL ? "" : code, code == NULL ? "" : "\",",
             method->name, method->service, kind_name(method->kind));
}

/* etcd's metrics begin with every method at 0 but those of Lock and Election, which come with their first
 * call. */
static bool is_shown(struct metrics_sources *sources, size_t method)
{
    const char *service = sources->methods[method]->service;
    bool on_use = strcmp(service, "v3lockpb.Lock") == 0 || strcmp(service, "v3electionpb.Election") == 0;
    return !on_use || sum_counter(sources, method, offsetof(struct grpc_method_metrics, started)) > 0;
}

static void write_method_counters(struct metrics_writer *writer, struct metrics_sources *sources,
                                  const char *name, const char *help, size_t offset)
{
    char labels[LABELS_MAX];
    metrics_begin(writer, name, "counter", help);
    for (size_t m = 0; m < sources->method_count; m++) {
        if (!is_shown(sources, m)) continue;
        method_labels(labels, NULL, sources->methods[m]);
        metrics_sample(writer, labels, (double)sum_counter(sources, m, offset));
    }
}

static void write_handled(struct metrics_writer *writer, struct metrics_sources *sources)
{
    char labels[LABELS_MAX];
    metrics_begin(writer, "grpc_server_handled_total", "counter",
                  "Total number of RPCs completed on the server, regardless of success or failure.");
    for (size_t m = 0; m < sources->method_count; m++)
        for (int code = 0; is_shown(sources, m) && code < GRPC_CODES; code++) {
            size_t offset =
                offsetof(struct grpc_method_metrics, handled) + (size_t)code * sizeof(metric_counter);
            method_labels(labels, grpc_code_name((enum grpc_code)code), sources->methods[m]);
            metrics_sample(writer, labels, (double)sum_counter(sources, m, offset));
        }
}

static void write_grpc(struct metrics_writer *writer, struct metrics_sources *sources)
{
    uint64_t received = 0, sent = 0;
    for (size_t i = 0; i < sources->grpc_count; i++) {
        received += metric_read(&sources->grpc[i]->bytes_received);
        sent += metric_read(&sources->grpc[i]->bytes_sent);
    }
    metrics_single(writer, "etcd_network_client_grpc_received_bytes_total", "counter",
                   "The total number of bytes received from grpc clients.", (double)received);
    metrics_single(writer, "etcd_network_client_grpc_sent_bytes_total", "counter",
                   "The total number of bytes sent to grpc clients.", (double)sent);
    write_method_counters(writer, sources, "grpc_server_started_total",
                          "Total number of RPCs started on the server.",
                          offsetof(struct grpc_method_metrics, started));
    write_method_counters(writer, sources, "grpc_server_msg_received_total",
                          "Total number of RPC stream messages received on the server.",
                          offsetof(struct grpc_method_metrics, messages_received));
    write_method_counters(writer, sources, "grpc_server_msg_sent_total",
                          "Total number of gRPC stream messages sent by the server.",
                          offsetof(struct grpc_method_metrics, messages_sent));
    write_handled(writer, sources);
    call_observer_metrics(writer, sources->calls);
}

/* ---- the process ---- */

/* Pages in all and in memory. */
static void read_memory(unsigned long long *all, unsigned long long *resident)
{
    FILE *file = fopen("/proc/self/statm", "re");
    *all = *resident = 0;
    if (file == NULL) return;
    if (fscanf(file, "%llu %llu", all, resident) != 2) *all = *resident = 0;
    fclose(file);
}

/* Bytes of all of this host's IP traffic, in and out: what etcd's client library calls the process's. */
static void read_traffic(double *in, double *out)
{
    char names[4096], values[4096];
    FILE *file = fopen("/proc/self/net/netstat", "re");
    *in = *out = 0;
    if (file == NULL) return;
    while (fgets(names, sizeof(names), file) != NULL && fgets(values, sizeof(values), file) != NULL) {
        if (strncmp(names, "IpExt:", 6) != 0) continue;
        char *name_rest = names, *value_rest = values, *name, *value;
        while ((name = strsep(&name_rest, " \n")) != NULL && (value = strsep(&value_rest, " \n")) != NULL) {
            if (strcmp(name, "InOctets") == 0) *in = strtod(value, NULL);
            if (strcmp(name, "OutOctets") == 0) *out = strtod(value, NULL);
        }
    }
    fclose(file);
}

static double count_threads(void)
{
    double count = 0;
    DIR *directory = opendir("/proc/self/task");
    const struct dirent *entry;
    if (directory == NULL) return 0;
    while ((entry = readdir(directory)) != NULL) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static double limit_of(rlim_t limit)
{
    return limit == RLIM_INFINITY ? (double)UINT64_MAX : (double)limit;
}

static void write_process(struct metrics_writer *writer, const struct metrics_sources *sources)
{
    struct rusage usage;
    struct rlimit memory;
    unsigned long long pages, resident;
    double in, out, page = (double)sysconf(_SC_PAGESIZE);
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_AS, &memory);
    read_memory(&pages, &resident);
    read_traffic(&in, &out);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    double open_files = (double)descriptors_used(), most_files = (double)descriptors_limit();
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu},
        {"process_open_fds", "gauge", "Number of open file descriptors.", open_files},
        {"process_max_fds", "gauge", "Maximum number of open file descriptors.", most_files},
        {"process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
         round((double)sources->started_at / 1e7) / 100},
        {"process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", (double)resident * page},
        {"process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", (double)pages * page},
        {"process_virtual_memory_max_bytes", "gauge", "Maximum amount of virtual memory available in bytes.",
         limit_of(memory.rlim_cur)},
        {"process_network_receive_bytes_total", "counter",
         "Number of bytes received by the process over the network.", in},
        {"process_network_transmit_bytes_total", "counter",
         "Number of bytes sent by the process over the network.", out},
        {"os_fd_used", "gauge", "The number of used file descriptors.", open_files},
        {"os_fd_limit", "gauge", "The file descriptor limit.", most_files},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        metrics_single(writer, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

/* ---- Go's runtime, for dashboards that show it: what has a counterpart here is real, the rest 0 ---- */

enum go_value {
    GO_ZERO,
    GO_THREADS,
    GO_PROCESSORS,
    GO_ALLOCATED,
    GO_FREE,
    GO_HEAP,
    GO_SYSTEM,
    GO_PERCENT,
    GO_NO_LIMIT
};

static const struct {
    const char *name, *type;
    enum go_value value;
    const char *help;
} go_rows[] = {
    {"go_gc_gogc_percent", "gauge", GO_PERCENT,
     "Heap size target percentage configured by the user, otherwise 100. This value is set by the GOGC "
     "environment variable, and the runtime/debug.SetGCPercent function. Sourced from /gc/gogc:percent."},
    {"go_gc_gomemlimit_bytes", "gauge", GO_NO_LIMIT,
     "Go runtime memory limit configured by the user, otherwise math.MaxInt64. This value is set by the "
     "GOMEMLIMIT environment variable, and the runtime/debug.SetMemoryLimit function. Sourced from "
     "/gc/gomemlimit:bytes."},
    {"go_goroutines", "gauge", GO_THREADS, "Number of goroutines that currently exist."},
    {"go_threads", "gauge", GO_THREADS, "Number of OS threads created."},
    {"go_sched_gomaxprocs_threads", "gauge", GO_PROCESSORS,
     "The current runtime.GOMAXPROCS setting, or the number of operating system threads that can execute "
     "user-level Go code simultaneously. Sourced from /sched/gomaxprocs:threads."},
    {"go_memstats_alloc_bytes", "gauge", GO_ALLOCATED,
     "Number of bytes allocated in heap and currently in use. Equals to /memory/classes/heap/objects:bytes."},
    {"go_memstats_alloc_bytes_total", "counter", GO_ZERO,
     "Total number of bytes allocated in heap until now, even if released already. Equals to "
     "/gc/heap/allocs:bytes."},
    {"go_memstats_buck_hash_sys_bytes", "gauge", GO_ZERO,
     "Number of bytes used by the profiling bucket hash table. Equals to "
     "/memory/classes/profiling/buckets:bytes."},
    {"go_memstats_frees_total", "counter", GO_ZERO,
     "Total number of heap objects frees. Equals to /gc/heap/frees:objects + /gc/heap/tiny/allocs:objects."},
    {"go_memstats_gc_sys_bytes", "gauge", GO_ZERO,
     "Number of bytes used for garbage collection system metadata. Equals to "
     "/memory/classes/metadata/other:bytes."},
    {"go_memstats_heap_alloc_bytes", "gauge", GO_ALLOCATED,
     "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes. Equals to "
     "/memory/classes/heap/objects:bytes."},
    {"go_memstats_heap_idle_bytes", "gauge", GO_FREE,
     "Number of heap bytes waiting to be used. Equals to /memory/classes/heap/released:bytes + "
     "/memory/classes/heap/free:bytes."},
    {"go_memstats_heap_inuse_bytes", "gauge", GO_ALLOCATED,
     "Number of heap bytes that are in use. Equals to /memory/classes/heap/objects:bytes + "
     "/memory/classes/heap/unused:bytes"},
    {"go_memstats_heap_objects", "gauge", GO_ZERO,
     "Number of currently allocated objects. Equals to /gc/heap/objects:objects."},
    {"go_memstats_heap_released_bytes", "gauge", GO_ZERO,
     "Number of heap bytes released to OS. Equals to /memory/classes/heap/released:bytes."},
    {"go_memstats_heap_sys_bytes", "gauge", GO_HEAP,
     "Number of heap bytes obtained from system. Equals to /memory/classes/heap/objects:bytes + "
     "/memory/classes/heap/unused:bytes + /memory/classes/heap/released:bytes + "
     "/memory/classes/heap/free:bytes."},
    {"go_memstats_last_gc_time_seconds", "gauge", GO_ZERO,
     "Number of seconds since 1970 of last garbage collection."},
    {"go_memstats_mallocs_total", "counter", GO_ZERO,
     "Total number of heap objects allocated, both live and gc-ed. Semantically a counter version for "
     "go_memstats_heap_objects gauge. Equals to /gc/heap/allocs:objects + /gc/heap/tiny/allocs:objects."},
    {"go_memstats_mcache_inuse_bytes", "gauge", GO_ZERO,
     "Number of bytes in use by mcache structures. Equals to /memory/classes/metadata/mcache/inuse:bytes."},
    {"go_memstats_mcache_sys_bytes", "gauge", GO_ZERO,
     "Number of bytes used for mcache structures obtained from system. Equals to "
     "/memory/classes/metadata/mcache/inuse:bytes + /memory/classes/metadata/mcache/free:bytes."},
    {"go_memstats_mspan_inuse_bytes", "gauge", GO_ZERO,
     "Number of bytes in use by mspan structures. Equals to /memory/classes/metadata/mspan/inuse:bytes."},
    {"go_memstats_mspan_sys_bytes", "gauge", GO_ZERO,
     "Number of bytes used for mspan structures obtained from system. Equals to "
     "/memory/classes/metadata/mspan/inuse:bytes + /memory/classes/metadata/mspan/free:bytes."},
    {"go_memstats_next_gc_bytes", "gauge", GO_ZERO,
     "Number of heap bytes when next garbage collection will take place. Equals to /gc/heap/goal:bytes."},
    {"go_memstats_other_sys_bytes", "gauge", GO_ZERO,
     "Number of bytes used for other system allocations. Equals to /memory/classes/other:bytes."},
    {"go_memstats_stack_inuse_bytes", "gauge", GO_ZERO,
     "Number of bytes obtained from system for stack allocator in non-CGO environments. Equals to "
     "/memory/classes/heap/stacks:bytes."},
    {"go_memstats_stack_sys_bytes", "gauge", GO_ZERO,
     "Number of bytes obtained from system for stack allocator. Equals to /memory/classes/heap/stacks:bytes "
     "+ /memory/classes/os-stacks:bytes."},
    {"go_memstats_sys_bytes", "gauge", GO_SYSTEM,
     "Number of bytes obtained from system. Equals to /memory/classes/total:byte."},
};

static void write_go(struct metrics_writer *writer)
{
    struct mallinfo2 heap = mallinfo2();
    unsigned long long pages, resident;
    read_memory(&pages, &resident);
    const double values[] = {
        [GO_ZERO] = 0,
        [GO_THREADS] = count_threads(),
        [GO_PROCESSORS] = (double)sysconf(_SC_NPROCESSORS_ONLN),
        [GO_ALLOCATED] = (double)(heap.uordblks + heap.hblkhd),
        [GO_FREE] = (double)heap.fordblks,
        [GO_HEAP] = (double)(heap.arena + heap.hblkhd),
        [GO_SYSTEM] = (double)resident * (double)sysconf(_SC_PAGESIZE),
        [GO_PERCENT] = 100,
        [GO_NO_LIMIT] = (double)INT64_MAX,
    };
    for (size_t i = 0; i < sizeof(go_rows) / sizeof(go_rows[0]); i++)
        metrics_single(writer, go_rows[i].name, go_rows[i].type, go_rows[i].help, values[go_rows[i].value]);
    metrics_begin(writer, "go_info", "gauge", "Information about the Go environment.");
    metrics_sample(writer, "version=\"none\"", 1);
    metrics_begin(writer, "go_gc_duration_seconds", "summary",
                  "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.");
    buf_append_string(&writer->text, "go_gc_duration_seconds_sum 0\ngo_gc_duration_seconds_count 0\n");
}

/* ---- the server ---- */

static void one_label(struct metrics_writer *writer, const char *name, const char *help, const char *label,
                      const char *value)
{
    char labels[LABELS_MAX];
    snprintf(labels, sizeof(labels), "%s=\"%s\"", label, value);
    metrics_begin(writer, name, "gauge", help);
    metrics_sample(writer, labels, 1);
}

static void write_identity(struct metrics_writer *writer, struct metrics_sources *sources)
{
    char text[64];
    int64_t cluster = metric_gauge_read(&sources->node->cluster_version);
    one_label(writer, "etcd_server_version",
              "Which version is running. 1 for 'server_version' label with current version.",
              "server_version", sources->version);
    one_label(
        writer, "etcd_server_go_version",
        "Which Go version server is running with. 1 for 'server_go_version' label with current version.",
        "server_go_version", "none");
    snprintf(text, sizeof(text), "%llx", (unsigned long long)sources->member_id);
    one_label(writer, "etcd_server_id",
              "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
              "server_id", text);
    if (cluster != 0) {
        snprintf(text, sizeof(text), "%d.%d", (int)(cluster / 1000), (int)(cluster % 1000));
        one_label(writer, "etcd_cluster_version",
                  "Which version is running. 1 for 'cluster_version' label with current cluster version",
                  "cluster_version", text);
    }
    metrics_single(writer, "etcd_server_quota_backend_bytes", "gauge",
                   "Current backend storage quota size in bytes.", (double)sources->quota_bytes);
}

static void write_alarms(struct metrics_writer *writer, struct metrics_sources *sources)
{
    static const char *const names[] = {"NOSPACE", "CORRUPT"};
    struct node_metrics *node = sources->node;
    metric_gauge *const counts[] = {&node->alarm_nospace, &node->alarm_corrupt};
    char labels[LABELS_MAX];
    metrics_begin(writer, "etcd_debugging_server_alarms", "gauge",
                  "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for "
                  "'alarm_type' label with type of this alarm");
    for (size_t type = 0; type < 2; type++)
        for (int64_t i = 0; i < metric_gauge_read(counts[type]); i++) {
            snprintf(labels, sizeof(labels), "alarm_type=\"%s\",server_id=\"%llx\"", names[type],
                     (unsigned long long)metric_read(&node->alarm_members[type][i]));
            metrics_sample(writer, labels, 1);
        }
}

static void write_promotions(struct metrics_writer *writer, struct node_metrics *node)
{
    metrics_begin(writer, "etcd_server_learner_promote_failures", "counter",
                  "The total number of failed learner promotions (likely learner not ready) while this "
                  "member is leader.");
    for (size_t error = 0; error < API_ERROR_COUNT; error++) {
        uint64_t count = metric_read(&node->learner_promote_failures[error]);
        char labels[LABELS_MAX];
        if (count == 0) continue;
        snprintf(labels, sizeof(labels), "Reason=\"%s\"", api_error_text((enum api_error)error));
        metrics_sample(writer, labels, (double)count);
    }
}

static void write_gates(struct metrics_writer *writer, const struct metrics_sources *sources)
{
    char labels[LABELS_MAX];
    metrics_begin(writer, "etcd_server_feature_enabled", "gauge",
                  "Whether or not a feature is enabled. 1 is enabled, 0 is not.");
    for (unsigned i = 0; i < OPTIONS_GATE_COUNT; i++) {
        snprintf(labels, sizeof(labels), "name=\"%s\",stage=\"%s\"", options_gate_name((enum options_gate)i),
                 options_gate_stage((enum options_gate)i));
        metrics_sample(writer, labels, sources->gates[i] ? 1 : 0);
    }
}

/* One series for each check that was run, of each kind. */
static void write_health(struct metrics_writer *writer, struct metrics_sources *sources)
{
    static const char *const kinds[] = {"livez", "readyz"}, *const results[] = {"error", "success"};
    struct health_metrics *health = &sources->health;
    char labels[LABELS_MAX];
    metrics_single(writer, "etcd_server_health_success", "counter",
                   "The total number of successful health checks", (double)metric_read(&health->success));
    metrics_single(writer, "etcd_server_health_failures", "counter",
                   "The total number of failed health checks", (double)metric_read(&health->failures));
    metrics_begin(writer, "etcd_server_healthcheck", "gauge", "The result of each kind of healthcheck.");
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < HEALTH_CHECKS; i++) {
            if (metric_read(&health->checks[kind][i][0]) + metric_read(&health->checks[kind][i][1]) == 0)
                continue;
            snprintf(labels, sizeof(labels), "name=\"%s\",type=\"%s\"", health_check_names[i], kinds[kind]);
            metrics_sample(writer, labels, (double)metric_gauge_read(&health->latest[kind][i]));
        }
    metrics_begin(writer, "etcd_server_healthchecks_total", "counter",
                  "The total number of each kind of healthcheck.");
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < HEALTH_CHECKS; i++)
            for (size_t result = 0; result < 2; result++) {
                uint64_t count = metric_read(&health->checks[kind][i][result]);
                if (count == 0) continue;
                snprintf(labels, sizeof(labels), "name=\"%s\",status=\"%s\",type=\"%s\"",
                         health_check_names[i], results[result], kinds[kind]);
                metrics_sample(writer, labels, (double)count);
            }
}

static void write_scrapes(struct metrics_writer *writer, struct metrics_sources *sources)
{
    metrics_single(writer, "promhttp_metric_handler_requests_in_flight", "gauge",
                   "Current number of scrapes being served.", 1);
    metrics_begin(writer, "promhttp_metric_handler_requests_total", "counter",
                  "Total number of scrapes by HTTP status code.");
    metrics_sample(writer, "code=\"200\"", (double)metric_read(&sources->scrapes));
    metrics_sample(writer, "code=\"500\"", 0);
    metrics_sample(writer, "code=\"503\"", 0);
    metric_add(&sources->scrapes, 1); /* this one counts from the next on */
}

/* ---- peers ---- */

enum { PEERS_MAX = 64 };

struct peer_list {
    struct peer_metrics *items[PEERS_MAX];
    size_t count;
};

static void gather_peer(void *context, struct peer_metrics *metrics)
{
    struct peer_list *list = context;
    if (list->count < PEERS_MAX) list->items[list->count++] = metrics;
}

static void peer_family(struct metrics_writer *writer, const struct peer_list *list, const char *name,
                        const char *help, const char *label, size_t offset)
{
    char labels[LABELS_MAX];
    if (list->count == 0) return;
    metrics_begin(writer, name, "counter", help);
    for (size_t i = 0; i < list->count; i++) {
        snprintf(labels, sizeof(labels), "%s=\"%llx\"", label, (unsigned long long)list->items[i]->id);
        metrics_sample(writer, labels,
                       (double)metric_read((metric_counter *)(void *)((char *)list->items[i] + offset)));
    }
}

static void write_links(struct metrics_writer *writer, struct metrics_sources *sources,
                        const struct peer_list *list)
{
    char labels[LABELS_MAX];
    static const char *const names[] = {"etcd_network_active_peers", "etcd_network_disconnected_peers_total",
                                        "etcd_network_known_peers"};
    static const char *const helps[] = {"The current number of active peer connections.",
                                        "The total number of disconnected peers.",
                                        "The current number of known peers."};
    for (size_t family = 0; family < 3 && list->count > 0; family++) {
        metrics_begin(writer, names[family], family == 1 ? "counter" : "gauge", helps[family]);
        for (size_t i = 0; i < list->count; i++) {
            struct peer_metrics *peer = list->items[i];
            snprintf(labels, sizeof(labels), "Local=\"%llx\",Remote=\"%llx\"",
                     (unsigned long long)sources->member_id, (unsigned long long)peer->id);
            double values[] = {(double)metric_gauge_read(&peer->active),
                               (double)metric_read(&peer->disconnects), 1};
            metrics_sample(writer, labels, values[family]);
        }
    }
}

#define SNAPSHOT_FAMILIES(word)                                                                              \
    {                                                                                                        \
        {"etcd_network_snapshot_" word "_success", "Total number of successful snapshot " word "s"},         \
            {"etcd_network_snapshot_" word "_failures", "Total number of snapshot " word " failures"},       \
            {"etcd_network_snapshot_" word "_inflights_total",                                               \
             "Total number of inflight snapshot " word "s"},                                                 \
        {                                                                                                    \
            "etcd_network_snapshot_" word "_total_duration_seconds",                                         \
                "Total latency distributions of v3 snapshot " word "s"                                       \
        }                                                                                                    \
    }

enum { SNAPSHOT_SUCCESSES, SNAPSHOT_FAILURES, SNAPSHOT_IN_FLIGHT, SNAPSHOT_DURATION, SNAPSHOT_FAMILY_COUNT };

static void write_snapshot_family(struct metrics_writer *writer, const struct peer_list *list,
                                  size_t direction, size_t family)
{
    char labels[LABELS_MAX];
    for (size_t i = 0; i < list->count; i++) {
        struct peer_snapshot_metrics *snapshots = &list->items[i]->snapshots[direction];
        double values[] = {(double)metric_read(&snapshots->successes),
                           (double)metric_read(&snapshots->failures),
                           (double)metric_gauge_read(&snapshots->in_flight)};
        if (values[0] + values[1] + values[2] == 0) continue;
        snprintf(labels, sizeof(labels), "%s=\"%llx\"", direction == PEER_SENT ? "To" : "From",
                 (unsigned long long)list->items[i]->id);
        if (family == SNAPSHOT_DURATION)
            metrics_histogram(writer, labels, &snapshots->duration, SECONDS);
        else
            metrics_sample(writer, labels, values[family]);
    }
}

/* As in etcd, a member appears when there was a snapshot for it or from it. */
static void write_snapshots(struct metrics_writer *writer, const struct peer_list *list)
{
    static const struct {
        const char *name, *help;
    } families[][SNAPSHOT_FAMILY_COUNT] = {
        [PEER_SENT] = SNAPSHOT_FAMILIES("send"), [PEER_RECEIVED] = SNAPSHOT_FAMILIES("receive")};
    static const char *const types[] = {"counter", "counter", "gauge", "histogram"};
    for (size_t direction = 0; direction < 2; direction++)
        for (size_t family = 0; family < SNAPSHOT_FAMILY_COUNT; family++) {
            metrics_begin(writer, families[direction][family].name, types[family],
                          families[direction][family].help);
            write_snapshot_family(writer, list, direction, family);
        }
}

static void write_peers(struct metrics_writer *writer, struct metrics_sources *sources)
{
    struct peer_list list = {.count = 0};
    char labels[LABELS_MAX];
    if (sources->peers == NULL) return;
    peers_visit_metrics(sources->peers, gather_peer, &list);
    if (list.count == 0) return;
    peer_family(writer, &list, "etcd_network_peer_sent_bytes_total",
                "The total number of bytes sent to peers.", "To", offsetof(struct peer_metrics, sent_bytes));
    peer_family(writer, &list, "etcd_network_peer_received_bytes_total",
                "The total number of bytes received from peers.", "From",
                offsetof(struct peer_metrics, received_bytes));
    peer_family(writer, &list, "etcd_network_peer_sent_failures_total",
                "The total number of send failures from peers.", "To",
                offsetof(struct peer_metrics, sent_failures));
    peer_family(writer, &list, "etcd_network_peer_received_failures_total",
                "The total number of receive failures from peers.", "From",
                offsetof(struct peer_metrics, received_failures));
    write_links(writer, sources, &list);
    write_snapshots(writer, &list);
    metrics_begin(writer, "etcd_network_peer_round_trip_time_seconds", "histogram",
                  "Round-Trip-Time histogram between peers");
    for (size_t i = 0; i < list.count; i++) {
        snprintf(labels, sizeof(labels), "To=\"%llx\"", (unsigned long long)list.items[i]->id);
        metrics_histogram(writer, labels, &list.items[i]->round_trip, SECONDS);
    }
}

void metrics_write(struct buf *out, struct metrics_sources *sources)
{
    struct metrics_writer *writer = mem_zalloc(1, sizeof(*writer));
    write_node(writer, sources->node);
    write_disk(writer, sources);
    write_idle(writer);
    write_grpc(writer, sources);
    write_identity(writer, sources);
    write_alarms(writer, sources);
    write_promotions(writer, sources->node);
    write_gates(writer, sources);
    write_health(writer, sources);
    write_process(writer, sources);
    write_go(writer);
    write_scrapes(writer, sources);
    write_peers(writer, sources);
    metrics_finish(writer, out);
    free(writer);
}
