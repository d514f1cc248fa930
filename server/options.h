/* options: the server's configuration, described once.
 *
 * Every option is a row of one table (options_table.c): its flag, the field it sets, its type, its default,
 * its help, its place in a configuration file, and for names that etcd once had: what became of them. The
 * table drives flags (Go's syntax: -name, --name=value, --name value; booleans only with =), the environment
 * (ETCD_NAME, "-" as "_"), the YAML file, --help and the manual page.
 *
 * Sources: --config-file, or else ETCD_CONFIG_FILE, names a file that alone decides: all other flags and
 * variables are then without effect. Otherwise a flag wins over the environment, which wins over the default;
 * a flag and a variable for one option are a conflict, even if equal.
 *
 * What there is no more (the v2 API, its proxy and its discovery) has rows too: they are parsed and checked
 * like all others, and a value that asks for it refuses the start or is warned about. Nothing that changes
 * what is safe is dropped in silence.
 */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"

/* Feature gates, in the order of their names in --feature-gates (options_gates.c). */
enum options_gate {
    GATE_ALL_ALPHA,
    GATE_ALL_BETA,
    GATE_COMPACT_HASH_CHECK,
    GATE_FAST_LEASE_KEEP_ALIVE,
    GATE_INITIAL_CORRUPT_CHECK,
    GATE_LEASE_CHECKPOINT,
    GATE_LEASE_CHECKPOINT_PERSIST,
    GATE_PRIORITY_REQUEST,
    GATE_SET_MEMBER_LOCAL_ADDR,
    GATE_STOP_GRPC_SERVICE_ON_DEFRAG,
    GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER,
    OPTIONS_GATE_COUNT,
};

const char *options_gate_name(enum options_gate gate);
/* "ALPHA", "BETA" */
const char *options_gate_stage(enum options_gate gate);

/* TLS of one kind of connection; "" is not set. Lists are separated by commas. */
struct options_tls {
    const char *cert_file, *key_file;
    const char *client_cert_file, *client_key_file; /* to show when connecting */
    const char *trusted_ca_file;
    const char *crl_file;
    const char *allowed_cn, *allowed_hostname;
    const char *ca_file; /* etcd 3.3's: stands for trusted_ca_file and client_cert_auth */
    bool client_cert_auth;
    bool auto_tls;
    bool skip_san_verification;
};

struct options {
    const char *auth_token;
    const char *name;
    const char *data_dir;
    const char *wal_dir;
    const char *listen_peer_urls;
    const char *listen_client_urls;
    const char *listen_client_http_urls; /* "": HTTP is served on listen_client_urls too */
    const char *listen_metrics_urls;
    const char *initial_advertise_peer_urls;
    const char *advertise_client_urls;
    const char *initial_cluster;
    const char *initial_cluster_state;
    const char *initial_cluster_token;
    const char *cors;           /* comma list of origins, or "*" */
    const char *host_whitelist; /* comma list of hosts, or "*" */
    const char *log_level;
    const char *log_outputs;
    const char *log_format; /* "json", "console" */
    const char *log_rotation_config_json;
    const char *logger;
    const char *metrics; /* "basic", "extensive" */
    const char *auto_compaction_mode;
    const char *auto_compaction_retention;
    const char *discovery_srv, *discovery_srv_name;
    const char *discovery_token, *discovery_endpoints; /* both or none */
    const char *discovery_cert, *discovery_key, *discovery_cacert;
    const char *discovery_user, *discovery_password;
    const char *config_file;
    const char *feature_gates;
    const char *max_cluster_version; /* ours */
    struct options_tls client_tls, peer_tls;
    const char *cipher_suites;
    const char *tls_min_version, *tls_max_version; /* "TLS1.2", "TLS1.3", "" */
    uint64_t self_signed_cert_validity;            /* years */
    uint64_t snapshot_count;
    uint64_t bcrypt_cost;
    uint64_t auth_token_ttl; /* seconds */
    uint64_t snapshot_catchup_entries;
    uint64_t heartbeat_interval; /* ms */
    uint64_t election_timeout;   /* ms */
    uint64_t max_wals;
    uint64_t max_snapshots;
    uint64_t max_txn_ops;
    uint64_t max_request_bytes;
    uint64_t max_concurrent_streams;
    uint64_t io_threads; /* ours: 0 chooses */
    uint64_t bootstrap_defrag_threshold_megabytes;
    int64_t backend_batch_limit;
    int64_t compaction_batch_limit;
    int64_t quota_backend_bytes;
    int64_t backend_batch_interval; /* nanoseconds, like all durations */
    int64_t compaction_sleep_interval;
    int64_t grpc_keepalive_min_time;
    int64_t grpc_keepalive_interval;
    int64_t grpc_keepalive_timeout;
    int64_t watch_progress_notify_interval;
    int64_t warning_apply_duration;
    int64_t warning_unary_request_duration;
    int64_t corrupt_check_time; /* 0: never */
    int64_t compact_hash_check_time;
    int64_t downgrade_check_time;
    int64_t raft_read_timeout;
    int64_t raft_write_timeout;
    int64_t max_learners;
    int64_t discovery_dial_timeout, discovery_request_timeout;
    int64_t discovery_keepalive_time, discovery_keepalive_timeout;
    bool pre_vote;
    bool strict_reconfig_check;
    bool initial_election_tick_advance;
    bool force_new_cluster;
    bool unsafe_no_fsync;
    bool socket_reuse_port;
    bool discovery_insecure_transport, discovery_insecure_skip_tls_verify;
    bool memory_mlock;
    bool enable_grpc_gateway;
    bool enable_pprof;
    bool enable_log_rotation;
    bool version;
    bool help;

    const char *const *texts; /* what was said for each row of the table, or its default */

    /* Filled in by options_complete. */
    const char *local_address; /* with the gate SetMemberLocalAddr: where connections to peers begin; "" */
    bool gates[OPTIONS_GATE_COUNT];
    int64_t auto_compaction_period;    /* nanoseconds; 0: not by time */
    int64_t auto_compaction_revisions; /* 0: not by revisions */
};

/* A line for the log that parsing gave rise to; logged once the log is open. */
struct options_note {
    enum log_level level;
    const char *message;
    const char *keys[2]; /* NULL: no (further) field */
    const char *values[2];
};

enum options_failure {
    OPTIONS_REFUSED,             /* a value, or values together, are wrong: exit status 1 */
    OPTIONS_USAGE,               /* flag syntax: exit status 2, with the usage */
    OPTIONS_CONFLICT,            /* a flag and a variable for one option: exit status 1 */
    OPTIONS_ADVERTISE_URLS_UNSET /* listen- without advertise-client-urls: exit status 1 */
};

struct options_parsed {
    struct options options;
    struct options_note *notes;
    size_t note_count;
    enum options_failure failure; /* what kind of error was returned */
    const char *conflict;         /* OPTIONS_CONFLICT: the variable */
    struct arena *memory;         /* texts made on the way; lives until options_deinit */
};

/* Reads flags, environment or file. Values are borrowed from argv and environment, which must stay. An
 * error's text is etcd's. With --version or --help nothing else is looked at. options_deinit is needed after
 * errors, too. */
struct error *options_parse(int argc, char **argv, char **environment, struct options_parsed *parsed)
    __attribute__((warn_unused_result));
void options_deinit(struct options_parsed *parsed);

/* Fills in what depends on other options, and checks them together, in etcd's order. */
struct error *options_complete(struct options_parsed *parsed) __attribute__((warn_unused_result));

/* --quota-backend-bytes as it takes effect; 0: no limit. */
uint64_t options_quota(const struct options *options);

/* --help: usage for stderr, then every option with default and help, for stdout. */
void options_usage(struct buf *out);
void options_help(struct buf *out);
/* The same options as the OPTIONS section of a manual page (roff). */
void options_manual(struct buf *out);

/* One line of the start-up log with the whole configuration, as etcd's "starting an etcd server".
 * member_initialized: the data directory holds a member. */
void options_log(const struct options *options, const struct logger *logger, bool member_initialized);

#endif
