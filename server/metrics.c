#include "server/metrics.h"

#include "base/memory.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- writing: families gather here and are sorted by name at the end ---- */

struct family {
    const char *name;
    size_t from, to; /* its text in `text` */
};

struct writer {
    struct buf text;
    struct family families[256];
    size_t count;
};

static void begin(struct writer *writer, const char *name, const char *type, const char *help)
{
    if (writer->count == sizeof(writer->families) / sizeof(writer->families[0])) abort();
    if (writer->count > 0) writer->families[writer->count - 1].to = writer->text.size;
    writer->families[writer->count++] = (struct family){.name = name, .from = writer->text.size};
    buf_printf(&writer->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* As Go writes floats: the shortest text that reads back as the same number. */
static void append_number(struct buf *out, double value)
{
    char text[40];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    buf_append_string(out, text);
}

static void sample(struct writer *writer, const char *name, const char *labels, double value)
{
    buf_append_string(&writer->text, name);
    if (labels != NULL) buf_printf(&writer->text, "{%s}", labels);
    buf_append_byte(&writer->text, ' ');
    append_number(&writer->text, value);
    buf_append_byte(&writer->text, '\n');
}

static void simple(struct writer *writer, const char *name, const char *type, const char *help, double value)
{
    begin(writer, name, type, help);
    sample(writer, name, NULL, value);
}

static void histogram_samples(struct writer *writer, const char *name, const char *labels,
                              struct metric_histogram *histogram)
{
    uint64_t total = 0;
    const char *comma = labels == NULL ? "" : ",";
    if (labels == NULL) labels = "";
    for (unsigned i = 0; i <= histogram->count; i++) {
        total += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        buf_printf(&writer->text, "%s_bucket{%s%sle=\"", name, labels, comma);
        if (i == histogram->count)
            buf_append_string(&writer->text, "+Inf");
        else
            append_number(&writer->text, (double)(histogram->first << i) / 1e9);
        buf_printf(&writer->text, "\"} %llu\n", (unsigned long long)total);
    }
    const char *open = *labels == '\0' ? "" : "{", *close = *labels == '\0' ? "" : "}";
    buf_printf(&writer->text, "%s_sum%s%s%s ", name, open, labels, close);
    append_number(&writer->text, (double)atomic_load_explicit(&histogram->sum, memory_order_relaxed) / 1e9);
    buf_printf(&writer->text, "\n%s_count%s%s%s %llu\n", name, open, labels, close,
               (unsigned long long)total);
}

static void histogram(struct writer *writer, const char *name, const char *help,
                      struct metric_histogram *histogram)
{
    begin(writer, name, "histogram", help);
    histogram_samples(writer, name, NULL, histogram);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct family *)a)->name, ((const struct family *)b)->name);
}

static void finish(struct writer *writer, struct buf *out)
{
    if (writer->count > 0) writer->families[writer->count - 1].to = writer->text.size;
    qsort(writer->families, writer->count, sizeof(writer->families[0]), by_name);
    for (size_t i = 0; i < writer->count; i++)
        buf_append(out, writer->text.data + writer->families[i].from,
                   writer->families[i].to - writer->families[i].from);
    buf_deinit(&writer->text);
}

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
    COUNTER("etcd_debugging_lease_granted_total", leases_granted, "The total number of granted leases."),
    COUNTER("etcd_debugging_lease_revoked_total", leases_revoked, "The total number of revoked leases."),
    COUNTER("etcd_debugging_lease_renewed_total", leases_renewed,
            "The number of renewed leases seen by the leader."),
    COUNTER("etcd_debugging_server_lease_expired_total", leases_expired,
            "The total number of expired leases."),
};

static void write_node(struct writer *writer, struct node_metrics *node)
{
    for (size_t i = 0; i < sizeof(node_rows) / sizeof(node_rows[0]); i++) {
        const struct counter_row *row = &node_rows[i];
        const void *field = (const char *)node + row->offset;
        int64_t value = atomic_load_explicit((_Atomic int64_t *)(uintptr_t)field, memory_order_relaxed);
        simple(writer, row->name, row->type, row->help, (double)value);
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

static void write_method_counters(struct writer *writer, struct metrics_sources *sources, const char *name,
                                  const char *help, size_t offset)
{
    begin(writer, name, "counter", help);
    for (size_t m = 0; m < sources->method_count; m++) {
        const struct grpc_method *method = sources->methods[m];
        char labels[256];
        snprintf(labels, sizeof(labels), "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
                 method->name, method->service, kind_name(method->kind));
        sample(writer, name, labels, (double)sum_counter(sources, m, offset));
    }
}

static void write_handled(struct writer *writer, struct metrics_sources *sources)
{
    const char *name = "grpc_server_handled_total";
    begin(writer, name, "counter",
          "Total number of RPCs completed on the server, regardless of success or failure.");
    for (size_t m = 0; m < sources->method_count; m++) {
        const struct grpc_method *method = sources->methods[m];
        for (int code = 0; code < GRPC_CODES; code++) {
            char labels[320];
            snprintf(labels, sizeof(labels),
                     "grpc_code=\"%s\",grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"",
                     grpc_code_name((enum grpc_code)code), method->name, method->service,
                     kind_name(method->kind));
            size_t offset =
                offsetof(struct grpc_method_metrics, handled) + (size_t)code * sizeof(metric_counter);
            sample(writer, name, labels, (double)sum_counter(sources, m, offset));
        }
    }
}

static void write_grpc(struct writer *writer, struct metrics_sources *sources)
{
    uint64_t received = 0, sent = 0;
    for (size_t i = 0; i < sources->grpc_count; i++) {
        received += metric_read(&sources->grpc[i]->bytes_received);
        sent += metric_read(&sources->grpc[i]->bytes_sent);
    }
    simple(writer, "etcd_network_client_grpc_received_bytes_total", "counter",
           "The total number of bytes received from grpc clients.", (double)received);
    simple(writer, "etcd_network_client_grpc_sent_bytes_total", "counter",
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
}

/* ---- the process ---- */

static uint64_t count_descriptors(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return 0;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the one being read */
}

static void write_memory(struct writer *writer)
{
    unsigned long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &pages, &resident) != 2) pages = resident = 0;
        fclose(file);
    }
    double page = (double)sysconf(_SC_PAGESIZE);
    simple(writer, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
           (double)resident * page);
    simple(writer, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
           (double)pages * page);
}

static void write_process(struct writer *writer, const struct metrics_sources *sources)
{
    struct rusage usage;
    struct rlimit files;
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    double open_files = (double)count_descriptors();
    simple(writer, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
           cpu);
    simple(writer, "process_open_fds", "gauge", "Number of open file descriptors.", open_files);
    simple(writer, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
           (double)files.rlim_cur);
    simple(writer, "process_start_time_seconds", "gauge",
           "Start time of the process since unix epoch in seconds.",
           round((double)sources->started_at / 1e7) / 100);
    simple(writer, "os_fd_used", "gauge", "The number of used file descriptors.", open_files);
    simple(writer, "os_fd_limit", "gauge", "The file descriptor limit.", (double)files.rlim_cur);
    write_memory(writer);
}

static void write_identity(struct writer *writer, struct metrics_sources *sources)
{
    char labels[96];
    begin(writer, "etcd_server_version", "gauge",
          "Which version is running. 1 for 'server_version' label with current "
          "version.");
    snprintf(labels, sizeof(labels), "server_version=\"%s\"", sources->version);
    sample(writer, "etcd_server_version", labels, 1);
    begin(writer, "etcd_server_id", "gauge",
          "Server or member ID in hexadecimal format. 1 for 'server_id' label with current "
          "ID.");
    snprintf(labels, sizeof(labels), "server_id=\"%llx\"", (unsigned long long)sources->member_id);
    sample(writer, "etcd_server_id", labels, 1);
    simple(writer, "etcd_server_quota_backend_bytes", "gauge", "Current backend storage quota size in bytes.",
           (double)sources->quota_bytes);
    simple(writer, "etcd_server_health_success", "counter", "The total number of successful health checks",
           (double)metric_read(&sources->health_success));
    simple(writer, "etcd_server_health_failures", "counter", "The total number of failed health checks",
           (double)metric_read(&sources->health_failures));
}

void metrics_write(struct buf *out, struct metrics_sources *sources)
{
    struct writer *writer = mem_zalloc(1, sizeof(*writer));
    write_node(writer, sources->node);
    histogram(writer, "etcd_disk_wal_fsync_duration_seconds",
              "The latency distributions of fsync called by WAL.", &sources->wal->fsync_duration);
    histogram(writer, "etcd_disk_wal_write_duration_seconds",
              "The latency distributions of write called by WAL.", &sources->wal->write_duration);
    simple(writer, "etcd_disk_wal_write_bytes_total", "gauge", "Total number of bytes written in WAL.",
           (double)metric_gauge_read(&sources->wal->write_bytes));
    histogram(writer, "etcd_disk_backend_commit_duration_seconds",
              "The latency distributions of commit called by backend.", &sources->backend->commit);
    histogram(writer, "etcd_disk_backend_defrag_duration_seconds",
              "The latency distribution of backend defragmentation.", &sources->backend->defragment);
    histogram(writer, "etcd_disk_backend_snapshot_duration_seconds",
              "The latency distribution of backend snapshots.", &sources->backend->snapshot);
    simple(writer, "etcd_disk_defrag_inflight", "gauge",
           "Whether or not defrag is active on the member. 1 means active, 0 means not.",
           (double)metric_gauge_read(&sources->backend->defragmenting));
    write_grpc(writer, sources);
    write_identity(writer, sources);
    write_process(writer, sources);
    finish(writer, out);
    free(writer);
}
