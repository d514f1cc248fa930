#include "tui/scrape.h"

#include "tui/metrics_text.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

/* One row per number: the first one met sets it, further ones (other label sets) add up. */
static const struct {
    const char *name, *label, *value;
    size_t at;
} numbers[] = {
#define FIELD(field) offsetof(struct scrape, field)
    {"grpc_server_handled_total", "grpc_method", "Put", FIELD(puts)},
    {"grpc_server_handled_total", "grpc_method", "Range", FIELD(ranges)},
    {"grpc_server_handled_total", "grpc_method", "DeleteRange", FIELD(deletes)},
    {"grpc_server_handled_total", "grpc_method", "Txn", FIELD(txns)},
    {"etcd_server_proposals_committed_total", NULL, NULL, FIELD(proposals_committed)},
    {"etcd_server_proposals_applied_total", NULL, NULL, FIELD(proposals_applied)},
    {"etcd_server_proposals_failed_total", NULL, NULL, FIELD(proposals_failed)},
    {"etcd_server_proposals_pending", NULL, NULL, FIELD(proposals_pending)},
    {"etcd_server_leader_changes_seen_total", NULL, NULL, FIELD(leader_changes)},
    {"etcd_server_slow_apply_total", NULL, NULL, FIELD(slow_applies)},
    {"etcd_server_slow_read_indexes_total", NULL, NULL, FIELD(slow_read_indexes)},
    {"etcd_debugging_mvcc_watcher_total", NULL, NULL, FIELD(watchers)},
    {"etcd_debugging_mvcc_watch_stream_total", NULL, NULL, FIELD(watch_streams)},
    {"etcd_debugging_mvcc_slow_watcher_total", NULL, NULL, FIELD(slow_watchers)},
    {"etcd_debugging_mvcc_pending_events_total", NULL, NULL, FIELD(pending_events)},
    {"etcd_debugging_mvcc_events_total", NULL, NULL, FIELD(watch_events)},
    {"etcd_server_heartbeat_send_failures_total", NULL, NULL, FIELD(heartbeat_failures)},
    {"etcd_debugging_mvcc_keys_total", NULL, NULL, FIELD(keys)},
    {"etcd_server_quota_backend_bytes", NULL, NULL, FIELD(quota)},
    {"etcd_mvcc_db_total_size_in_bytes", NULL, NULL, FIELD(db_size)},
    {"etcd_mvcc_db_total_size_in_use_in_bytes", NULL, NULL, FIELD(db_in_use)},
    {"process_resident_memory_bytes", NULL, NULL, FIELD(resident)},
    {"process_cpu_seconds_total", NULL, NULL, FIELD(cpu)},
    {"process_open_fds", NULL, NULL, FIELD(open_files)},
    {"process_start_time_seconds", NULL, NULL, FIELD(started)},
    {"etcd_network_client_grpc_sent_bytes_total", NULL, NULL, FIELD(sent)},
    {"etcd_network_client_grpc_received_bytes_total", NULL, NULL, FIELD(received)},
};

static const struct {
    const char *name, *label, *value;
    size_t at;
} histograms[] = {
    {"etcd_disk_wal_fsync_duration_seconds_bucket", NULL, NULL, FIELD(fsync)},
    {"etcd_disk_backend_commit_duration_seconds_bucket", NULL, NULL, FIELD(commit)},
    {"grpc_server_handling_seconds_bucket", "grpc_method", "Range", FIELD(range)},
#undef FIELD
};

enum {
    NUMBERS = sizeof(numbers) / sizeof(numbers[0]),
    HISTOGRAMS = sizeof(histograms) / sizeof(histograms[0])
};

static bool fits(const struct metrics_line *line, const char *name, const char *label, const char *value)
{
    if (!bytes_equal(line->name, bytes_from_string(name))) return false;
    return label == NULL || bytes_equal(metrics_label(line, label), bytes_from_string(value));
}

static void add(double *number, double value)
{
    *number = isnan(*number) ? value : *number + value;
}

static void take_line(struct scrape *scrape, const struct metrics_line *line)
{
    char *base = (char *)scrape;
    for (size_t i = 0; i < NUMBERS; i++)
        if (fits(line, numbers[i].name, numbers[i].label, numbers[i].value))
            add((double *)(void *)(base + numbers[i].at), line->value);
    for (size_t i = 0; i < HISTOGRAMS; i++) {
        if (!fits(line, histograms[i].name, histograms[i].label, histograms[i].value)) continue;
        char bound[32];
        struct bytes text = metrics_label(line, "le");
        if (text.size == 0 || text.size >= sizeof(bound)) continue;
        memcpy(bound, text.data, text.size);
        bound[text.size] = 0;
        histogram_add((struct histogram *)(void *)(base + histograms[i].at), strtod(bound, NULL),
                      line->value);
    }
    if (bytes_equal(line->name, BYTES_LITERAL("grpc_server_handled_total")) &&
        !bytes_equal(metrics_label(line, "grpc_code"), BYTES_LITERAL("OK")))
        add(&scrape->rpc_failures, line->value);
}

void scrape_read(struct scrape *scrape, struct bytes page, int64_t at)
{
    *scrape = (struct scrape){.at = at, .rpc_failures = NAN};
    for (size_t i = 0; i < NUMBERS; i++) *(double *)(void *)((char *)scrape + numbers[i].at) = NAN;
    struct metrics_line line;
    while (metrics_text_next(&page, &line)) take_line(scrape, &line);
}

double scrape_rate(double before, double now, int64_t nanoseconds)
{
    if (isnan(before) || isnan(now) || nanoseconds <= 0) return NAN;
    double more = now < before ? now : now - before;
    return more * 1e9 / (double)nanoseconds;
}
