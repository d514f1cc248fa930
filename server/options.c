#include "server/options.h"

#include "api/version.h"
#include "base/arena.h"
#include "base/text.h"
#include "cluster/url.h"
#include "config.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>

enum option_type {
    OPTION_STRING,
    OPTION_URLS, /* a list of listen or advertise addresses */
    OPTION_BOOL,
    OPTION_UINT,
    OPTION_INT,
    OPTION_DURATION,
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset;
    const char *initial; /* default, as text */
    const char *help;
};

#define OPTION(name_, type_, field_, initial_, help_)                                                        \
    {                                                                                                        \
        name_, type_, offsetof(struct options, field_), initial_, help_                                      \
    }

static const struct option table[] = {
    OPTION("name", OPTION_STRING, name, "default", "Human-readable name for this member."),
    OPTION("data-dir", OPTION_STRING, data_dir, "", "Path to the data directory; empty: NAME.etcd."),
    OPTION("wal-dir", OPTION_STRING, wal_dir, "",
           "Path to the dedicated wal directory; empty: inside the data directory."),
    OPTION("snapshot-count", OPTION_UINT, snapshot_count, "10000",
           "Number of committed transactions to trigger a snapshot to disk."),
    OPTION("snapshot-catchup-entries", OPTION_UINT, snapshot_catchup_entries, "5000",
           "Number of entries for a slow follower to catch up after compacting the raft storage entries."),
    OPTION("heartbeat-interval", OPTION_UINT, heartbeat_interval, "100",
           "Time (in milliseconds) of a heartbeat interval."),
    OPTION("election-timeout", OPTION_UINT, election_timeout, "1000",
           "Time (in milliseconds) for an election to timeout."),
    OPTION("initial-election-tick-advance", OPTION_BOOL, initial_election_tick_advance, "true",
           "Whether to fast-forward initial election ticks on boot for faster election."),
    OPTION("listen-peer-urls", OPTION_URLS, listen_peer_urls, "http://localhost:2380",
           "List of URLs to listen on for peer traffic."),
    OPTION("listen-client-urls", OPTION_URLS, listen_client_urls, "http://localhost:2379",
           "List of URLs to listen on for client grpc traffic and http as long as --listen-client-http-urls "
           "is not "
           "specified."),
    OPTION("listen-metrics-urls", OPTION_STRING, listen_metrics_urls, "",
           "List of URLs to listen on for the /metrics and /health endpoints."),
    OPTION("max-snapshots", OPTION_UINT, max_snapshots, "5",
           "Maximum number of snapshot files to retain (0 is unlimited)."),
    OPTION("max-wals", OPTION_UINT, max_wals, "5", "Maximum number of wal files to retain (0 is unlimited)."),
    OPTION("quota-backend-bytes", OPTION_INT, quota_backend_bytes, "0",
           "Sets the maximum size (in bytes) that the etcd backend database may consume. Exceeding this "
           "triggers an alarm "
           "and puts etcd in read-only mode. Set to 0 to use the default 2GiB limit."),
    OPTION("backend-batch-interval", OPTION_DURATION, backend_batch_interval, "0s",
           "Maximum time before committing the backend transaction; 0: 100ms."),
    OPTION("backend-batch-limit", OPTION_UINT, backend_batch_limit, "0",
           "Maximum operations before committing the backend transaction; 0: 10000."),
    OPTION("max-txn-ops", OPTION_UINT, max_txn_ops, "128",
           "Maximum number of operations permitted in a transaction."),
    OPTION("max-request-bytes", OPTION_UINT, max_request_bytes, "1572864",
           "Maximum client request size in bytes the server will accept."),
    OPTION("max-concurrent-streams", OPTION_UINT, max_concurrent_streams, "4294967295",
           "Maximum concurrent streams that each client can open at a time."),
    OPTION("grpc-keepalive-min-time", OPTION_DURATION, grpc_keepalive_min_time, "5s",
           "Minimum duration interval that a client should wait before pinging server."),
    OPTION("grpc-keepalive-interval", OPTION_DURATION, grpc_keepalive_interval, "2h0m0s",
           "Frequency duration of server-to-client ping to check if a connection is alive (0 to disable)."),
    OPTION("grpc-keepalive-timeout", OPTION_DURATION, grpc_keepalive_timeout, "20s",
           "Additional duration of wait before closing a non-responsive connection (0 to disable)."),
    OPTION("watch-progress-notify-interval", OPTION_DURATION, watch_progress_notify_interval, "10m0s",
           "Duration of periodic watch progress notifications."),
    OPTION("experimental-watch-progress-notify-interval", OPTION_DURATION, watch_progress_notify_interval,
           "10m0s", "Old name of --watch-progress-notify-interval."),
    OPTION("warning-unary-request-duration", OPTION_DURATION, warning_unary_request_duration, "300ms",
           "Time duration after which a warning is logged if a unary request takes longer."),
    OPTION("compaction-batch-limit", OPTION_UINT, compaction_batch_limit, "1000",
           "Maximum revisions deleted in each compaction batch."),
    OPTION("compaction-sleep-interval", OPTION_DURATION, compaction_sleep_interval, "10ms",
           "Sleep interval between each compaction batch."),
    OPTION("initial-advertise-peer-urls", OPTION_URLS, initial_advertise_peer_urls, "http://localhost:2380",
           "List of this member's peer URLs to advertise to the rest of the cluster."),
    OPTION("initial-cluster", OPTION_STRING, initial_cluster, "",
           "Initial cluster configuration for bootstrapping; empty: NAME=<initial-advertise-peer-urls>."),
    OPTION("initial-cluster-state", OPTION_STRING, initial_cluster_state, "new",
           "Initial cluster state ('new' when bootstrapping a new cluster or 'existing' when adding new "
           "members)."),
    OPTION("initial-cluster-token", OPTION_STRING, initial_cluster_token, "etcd-cluster",
           "Initial cluster token for the etcd cluster during bootstrap."),
    OPTION("advertise-client-urls", OPTION_URLS, advertise_client_urls, "http://localhost:2379",
           "List of this member's client URLs to advertise to the public."),
    OPTION("strict-reconfig-check", OPTION_BOOL, strict_reconfig_check, "true",
           "Reject reconfiguration requests that would cause quorum loss."),
    OPTION("pre-vote", OPTION_BOOL, pre_vote, "true", "Enable the raft Pre-Vote algorithm."),
    OPTION("max-cluster-version", OPTION_STRING, max_cluster_version, "3.5",
           "Highest cluster version that this member proposes as leader, from 3.5 to its own. An etcd older "
           "than "
           "the cluster version refuses the data directory, so 3.5 lets etcd 3.5 take it over at any time."),
    OPTION("logger", OPTION_STRING, logger, "zap", "Currently only supports 'zap' for structured logging."),
    OPTION("log-outputs", OPTION_STRING, log_outputs, "default",
           "Specify 'stdout' or 'stderr' to skip journald logging, or a list of comma separated output "
           "targets."),
    OPTION("log-level", OPTION_STRING, log_level, "info",
           "Configures log level. Only supports debug, info, warn, error, panic, or fatal."),
    OPTION("metrics", OPTION_STRING, metrics, "basic",
           "Set level of detail for exported metrics ('basic' or 'extensive')."),
    OPTION("unsafe-no-fsync", OPTION_BOOL, unsafe_no_fsync, "false",
           "Disables fsync, unsafe, will cause data loss."),
    OPTION("io-threads", OPTION_UINT, io_threads, "0",
           "Threads that serve connections; 0: half the processors, at most 8."),
    OPTION("version", OPTION_BOOL, version, "false", "Print the version and exit."),
    OPTION("help", OPTION_BOOL, help, "false", "Print this help and exit."),
    OPTION("h", OPTION_BOOL, help, "false", "Print this help and exit."),
};

enum { OPTION_COUNT = sizeof(table) / sizeof(table[0]), VARIABLE_MAX = 128 };

static const struct option *find_option(struct bytes name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (bytes_equal(name, bytes_from_string(table[i].name))) return &table[i];
    return NULL;
}

/* ---- values ---- */

static void *field_of(struct options *options, const struct option *option)
{
    return (char *)options + option->offset;
}

static bool check_urls(const char *value, struct buf *reason)
{
    struct cluster_urls urls = {0};
    struct error *error = cluster_urls_parse(value, &urls);
    if (error != NULL) buf_append_string(reason, error->text);
    cluster_urls_deinit(&urls);
    bool ok = error == NULL;
    error_free(error);
    return ok;
}

/* What Go's flag package says: the reason without strconv's prefix. */
static bool parse_value(void *field, const struct option *option, const char *value, struct buf *reason)
{
    struct buf details = {0};
    bool ok = true;
    switch (option->type) {
    case OPTION_STRING:
        *(const char **)field = value;
        break;
    case OPTION_URLS:
        ok = check_urls(value, reason);
        *(const char **)field = value;
        break;
    case OPTION_BOOL:
        ok = text_parse_bool(value, field, &details);
        break;
    case OPTION_UINT:
        ok = text_parse_uint64(value, 0, field, &details);
        break;
    case OPTION_INT:
        ok = text_parse_int64(value, 0, field, &details);
        break;
    case OPTION_DURATION:
        ok = text_parse_go_duration(value, field, &details);
        break;
    }
    if (!ok && reason->size == 0) {
        bool out_of_range = strstr(buf_string(&details), "value out of range") != NULL;
        buf_append_string(reason, out_of_range ? "value out of range" : "parse error");
    }
    buf_deinit(&details);
    return ok;
}

/* ---- flags ---- */

struct parser {
    struct options_parsed *parsed;
    enum option_source sources[OPTION_COUNT];
};

static struct error *usage_error(struct parser *parser, struct error *error)
{
    parser->parsed->usage = true;
    return error;
}

static struct error *set_flag(struct parser *parser, const struct option *option, const char *value)
{
    struct buf reason = {0};
    struct error *error = NULL;
    if (!parse_value(field_of(&parser->parsed->options, option), option, value, &reason)) {
        struct buf quoted = {0};
        text_go_quote(&quoted, bytes_from_string(value));
        error = usage_error(parser, error_new(ERROR_INVALID, "invalid value %s for flag -%s: %s",
                                              buf_string(&quoted), option->name, buf_string(&reason)));
        buf_deinit(&quoted);
    }
    parser->sources[option - table] = OPTION_FLAG;
    buf_deinit(&reason);
    return error;
}

static struct error *parse_flags(struct parser *parser, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0) {
            if (strcmp(word, "--") == 0 && i + 1 == argc) return NULL;
            return error_new(ERROR_INVALID, "\"%s\" is not a valid flag",
                             strcmp(word, "--") == 0 ? argv[i + 1] : word);
        }
        const char *name = word + (word[1] == '-' ? 2 : 1);
        const char *equals = strchr(name, '=');
        struct bytes key = bytes_of(name, equals == NULL ? strlen(name) : (size_t)(equals - name));
        const struct option *option = find_option(key);
        if (option == NULL)
            return usage_error(parser, error_new(ERROR_INVALID, "flag provided but not defined: -%.*s",
                                                 (int)key.size, name));
        const char *value = equals == NULL ? NULL : equals + 1;
        if (value == NULL && option->type == OPTION_BOOL) value = "true";
        if (value == NULL && i + 1 < argc) value = argv[++i];
        if (value == NULL)
            return usage_error(parser, error_new(ERROR_INVALID, "flag needs an argument: -%s", option->name));
        TRY(set_flag(parser, option, value));
    }
    return NULL;
}

/* ---- environment ---- */

static void variable_of(const struct option *option, char variable[VARIABLE_MAX])
{
    size_t length = 0;
    for (const char *at = "ETCD_"; *at != '\0'; at++) variable[length++] = *at;
    for (const char *at = option->name; *at != '\0' && length < VARIABLE_MAX - 1; at++)
        variable[length++] = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    variable[length] = '\0';
}

static const struct option *find_variable(struct bytes name)
{
    char variable[VARIABLE_MAX];
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        variable_of(&table[i], variable);
        if (bytes_equal(name, bytes_from_string(variable))) return &table[i];
    }
    return NULL;
}

static struct error *take_variable(struct parser *parser, const struct option *option, const char *entry,
                                   const char *value)
{
    struct options_parsed *parsed = parser->parsed;
    if (parser->sources[option - table] == OPTION_FLAG)
        return error_new(ERROR_INVALID,
                         "conflicting environment variable \"%.*s\" is shadowed by corresponding "
                         "command-line flag (either "
                         "unset environment variable or disable flag)",
                         (int)(value - entry - 1), entry);
    if (*value == '\0') return NULL;
    struct buf reason = {0};
    struct error *error = NULL;
    if (!parse_value(field_of(&parsed->options, option), option, value, &reason))
        error = error_new(ERROR_INVALID, "invalid value \"%s\" for %.*s: %s", value, (int)(value - entry - 1),
                          entry, buf_string(&reason));
    buf_deinit(&reason);
    parser->sources[option - table] = OPTION_ENVIRONMENT;
    buf_printf(&parsed->used_environment, "%s\n", entry);
    return error;
}

static struct error *parse_environment(struct parser *parser, char **environment)
{
    for (; *environment != NULL; environment++) {
        const char *entry = *environment, *equals = strchr(entry, '=');
        if (strncmp(entry, "ETCD_", 5) != 0 || equals == NULL) continue;
        const struct option *option = find_variable(bytes_of(entry, (size_t)(equals - entry)));
        if (option == NULL)
            buf_printf(&parser->parsed->warnings, "%s\n", entry);
        else
            TRY(take_variable(parser, option, entry, equals + 1));
    }
    return NULL;
}

struct error *options_parse(int argc, char **argv, char **environment, struct options_parsed *parsed)
{
    struct parser parser = {.parsed = parsed};
    *parsed = (struct options_parsed){0};
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        struct buf reason = {0};
        parse_value(field_of(&parsed->options, &table[i]), &table[i], table[i].initial, &reason);
        buf_deinit(&reason);
    }
    TRY(parse_flags(&parser, argc, argv));
    if (parsed->options.version || parsed->options.help) return NULL;
    TRY(parse_environment(&parser, environment));
    const struct option *listen = find_option(BYTES_LITERAL("listen-client-urls"));
    const struct option *advertise = find_option(BYTES_LITERAL("advertise-client-urls"));
    if (parser.sources[listen - table] != OPTION_DEFAULT &&
        parser.sources[advertise - table] == OPTION_DEFAULT)
        return error_new(ERROR_INVALID,
                         "--advertise-client-urls is required when --listen-client-urls is set explicitly");
    return NULL;
}

void options_deinit(struct options_parsed *parsed)
{
    buf_deinit(&parsed->warnings);
    buf_deinit(&parsed->used_environment);
}

/* ---- together ---- */

static struct error *check_bind(const char *list)
{
    struct cluster_urls urls = {0};
    if (*list == '\0') return NULL;
    struct error *error = cluster_urls_parse(list, &urls);
    for (size_t i = 0; error == NULL && i < urls.count; i++) error = cluster_url_check_bind(urls.items[i]);
    cluster_urls_deinit(&urls);
    return error;
}

static struct error *check_max_cluster_version(const char *text)
{
    struct version version, own;
    bool ok = version_parse_target(bytes_from_string(text), &version) &&
              version_parse(BYTES_LITERAL(ETCD_VERSION), &own) &&
              version_compare_minor(version, version_of(3, 5)) >= 0 &&
              version_compare_minor(version, own) <= 0;
    return ok ? NULL
              : error_new(ERROR_INVALID, "--max-cluster-version must be between 3.5 and %s (set to \"%s\")",
                          ETCD_API_LEVEL, text);
}

struct error *options_complete(struct options_parsed *parsed, struct arena *memory)
{
    struct options *options = &parsed->options;
    if (*options->data_dir == '\0') options->data_dir = arena_printf(memory, "%s.etcd", options->name);
    if (*options->initial_cluster == '\0') {
        struct buf cluster = {0};
        struct cluster_urls urls = {0};
        TRY(cluster_urls_parse(options->initial_advertise_peer_urls, &urls));
        for (size_t i = 0; i < urls.count; i++)
            buf_printf(&cluster, "%s%s=%s", i == 0 ? "" : ",", options->name, urls.items[i]);
        options->initial_cluster = arena_string(memory, buf_bytes(&cluster));
        cluster_urls_deinit(&urls);
        buf_deinit(&cluster);
    }
    if (options->snapshot_count == 0) options->snapshot_count = 10000;
    if (options->snapshot_catchup_entries == 0) options->snapshot_catchup_entries = 5000;
    if (options->backend_batch_interval == 0) options->backend_batch_interval = 100000000;
    if (options->backend_batch_limit == 0) options->backend_batch_limit = 10000;
    if (options->compaction_batch_limit == 0) options->compaction_batch_limit = 1000;
    TRY(check_bind(options->listen_peer_urls));
    TRY(check_bind(options->listen_client_urls));
    TRY(check_bind(options->listen_metrics_urls));
    if (strcmp(options->initial_cluster_state, "new") != 0 &&
        strcmp(options->initial_cluster_state, "existing") != 0)
        return error_new(ERROR_INVALID, "unexpected clusterState \"%s\"", options->initial_cluster_state);
    if (options->heartbeat_interval == 0)
        return error_new(ERROR_INVALID, "--heartbeat-interval must be >0 (set to 0ms)");
    if (options->election_timeout < 5 * options->heartbeat_interval)
        return error_new(
            ERROR_INVALID,
            "--election-timeout[%llums] should be at least as 5 times as --heartbeat-interval[%llums]",
            (unsigned long long)options->election_timeout, (unsigned long long)options->heartbeat_interval);
    if (options->election_timeout > 50000)
        return error_new(ERROR_INVALID,
                         "--election-timeout[%llums] is too long, and should be set less than 50000ms",
                         (unsigned long long)options->election_timeout);
    if (options->max_request_bytes < 1024 || options->max_request_bytes > (UINT64_C(1) << 30))
        return error_new(ERROR_INVALID,
                         "--max-request-bytes must be between 1024 and 1073741824 (set to %llu)",
                         (unsigned long long)options->max_request_bytes);
    TRY(check_max_cluster_version(options->max_cluster_version));
    if (strcmp(options->logger, "zap") != 0)
        return error_new(ERROR_INVALID, "unknown logger option \"%s\"", options->logger);
    return NULL;
}

/* ---- help ---- */

void options_usage(struct buf *out)
{
    buf_append_string(out, "Usage:\n\n  etcd [flags]\n    Start an etcd server.\n\n  etcd --version\n    "
                           "Show the version of etcd.\n\n"
                           "  etcd -h | --help\n    Show the help information about etcd.\n");
}

void options_help(struct buf *out)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &table[i];
        if (strlen(option->name) == 1) continue;
        buf_printf(out, "  --%s '%s'\n    %s\n", option->name, option->initial, option->help);
    }
}

void options_json(const struct options *options, struct buf *out)
{
    buf_append_byte(out, '{');
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &table[i];
        const char *field = (const char *)options + option->offset;
        if (out->size > 1) buf_append_byte(out, ',');
        buf_printf(out, "\"%s\":", option->name);
        switch (option->type) {
        case OPTION_BOOL:
            buf_append_string(out, *(const bool *)(const void *)field ? "true" : "false");
            break;
        case OPTION_UINT:
            buf_printf(out, "%llu", *(const unsigned long long *)(const void *)field);
            break;
        case OPTION_INT:
            buf_printf(out, "%lld", *(const long long *)(const void *)field);
            break;
        case OPTION_DURATION:
            buf_append_byte(out, '"');
            text_go_duration(out, *(const int64_t *)(const void *)field);
            buf_append_byte(out, '"');
            break;
        default:
            text_json_quote(out, bytes_from_string(*(const char *const *)(const void *)field), false);
            break;
        }
    }
    buf_append_byte(out, '}');
}
