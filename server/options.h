/* options: the server's configuration, described once.
 *
 * Every option is a row of one table: its flag, the field it sets, its type, its default and its help. The
 * table drives flags (Go's syntax: -name, --name=value, --name value; booleans only with =), the environment
 * (ETCD_NAME, "-" as "_") and --help. A flag wins over the environment; giving both is an error, as in etcd.
 */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"

struct options {
    const char *name;
    const char *data_dir;
    const char *wal_dir;
    const char *listen_peer_urls;
    const char *listen_client_urls;
    const char *listen_metrics_urls;
    const char *initial_advertise_peer_urls;
    const char *advertise_client_urls;
    const char *initial_cluster;
    const char *initial_cluster_state;
    const char *initial_cluster_token;
    const char *log_level;
    const char *log_outputs;
    const char *logger;
    const char *metrics;
    const char *max_cluster_version; /* ours */
    uint64_t snapshot_count;
    uint64_t snapshot_catchup_entries;
    uint64_t heartbeat_interval; /* ms */
    uint64_t election_timeout;   /* ms */
    uint64_t max_wals;
    uint64_t max_snapshots;
    uint64_t max_txn_ops;
    uint64_t max_request_bytes;
    uint64_t max_concurrent_streams;
    uint64_t backend_batch_limit;
    uint64_t compaction_batch_limit;
    uint64_t io_threads; /* ours: 0 chooses */
    int64_t quota_backend_bytes;
    int64_t backend_batch_interval; /* nanoseconds, like all durations */
    int64_t compaction_sleep_interval;
    int64_t grpc_keepalive_min_time;
    int64_t grpc_keepalive_interval;
    int64_t grpc_keepalive_timeout;
    int64_t watch_progress_notify_interval;
    int64_t warning_unary_request_duration;
    bool pre_vote;
    bool strict_reconfig_check;
    bool initial_election_tick_advance;
    bool unsafe_no_fsync;
    bool enable_grpc_gateway;
    bool version;
    bool help;
};

enum option_source { OPTION_DEFAULT, OPTION_FLAG, OPTION_ENVIRONMENT };

/* What the options came to, for the start-up log and later checks. */
struct options_parsed {
    struct options options;
    struct buf warnings;         /* lines for the log: "ETCD_FOO=1" of unrecognized variables, one per line */
    struct buf used_environment; /* "ETCD_NAME=value" lines */
    bool usage;                  /* the error is one of flag syntax: exit status 2 */
};

/* Values are borrowed from argv and environment, which must stay. An error's text is Go's. */
struct error *options_parse(int argc, char **argv, char **environment, struct options_parsed *parsed)
    __attribute__((warn_unused_result));
void options_deinit(struct options_parsed *parsed);

/* Fills in what depends on other options, and checks them together (texts are etcd's). `arena`-like: derived
 * texts live in `memory` until it is freed. */
struct arena;
struct error *options_complete(struct options_parsed *parsed, struct arena *memory)
    __attribute__((warn_unused_result));

/* --help: usage, then every option with default and help. */
void options_usage(struct buf *out);
void options_help(struct buf *out);
/* The whole configuration as JSON, for one line of the start-up log. */
void options_json(const struct options *options, struct buf *out);

#endif
