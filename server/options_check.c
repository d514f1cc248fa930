/* Options together: what follows from others, what must fit, and how they are shown. */
#include "server/options_internal.h"

#include "api/version.h"
#include "base/arena.h"
#include "base/text.h"
#include "cluster/url.h"
#include "config.h"
#include "net/tls.h"
#include "net/tls_ciphers.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define SECOND           INT64_C(1000000000)
#define MILLISECOND      INT64_C(1000000)
#define PEER_TIMEOUT_MIN (5 * SECOND)

/* A certificate's end has a year of four digits. */
enum { SELF_SIGNED_YEARS_MAX = 1000 };

/* ---- checks, in etcd's order ---- */

static struct error *check_bind(const char *list)
{
    struct cluster_urls urls = {0};
    if (*list == '\0') return NULL;
    struct error *error = cluster_urls_parse(list, &urls);
    for (size_t i = 0; error == NULL && i < urls.count; i++) error = cluster_url_check_bind(urls.items[i]);
    cluster_urls_deinit(&urls);
    return error;
}

static struct error *check_binds(const struct options *options)
{
    const char *const lists[] = {options->listen_peer_urls, options->listen_client_urls,
                                 options->listen_client_http_urls, options->listen_metrics_urls};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) TRY(check_bind(lists[i]));
    return NULL;
}

/* An address for others needs a host that they can reach. */
static struct error *check_advertised(const char *flag, const char *list)
{
    struct cluster_urls urls = {0};
    struct error *error = cluster_urls_parse(list, &urls);
    for (size_t i = 0; error == NULL && i < urls.count; i++) {
        struct cluster_url url;
        error = cluster_url_parse(bytes_from_string(urls.items[i]), &url);
        if (error == NULL && url.host.size == 0 && !bytes_starts_with(url.scheme, BYTES_LITERAL("unix")))
            error = error_new(ERROR_INVALID, "--%s \"%s\" must be \"host:port\" (unexpected empty host (%s))",
                              flag, list, urls.items[i]);
    }
    cluster_urls_deinit(&urls);
    return error;
}

/* One way to know the members at the first start. */
static struct error *check_bootstrap(const struct options *options)
{
    bool has_endpoints = *options->discovery_endpoints != '\0';
    if ((*options->initial_cluster != '\0') + has_endpoints + (*options->discovery_srv != '\0') > 1)
        return error_new(ERROR_INVALID, "multiple discovery or bootstrap flags are set. Choose one of "
                                        "\"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"");
    if (has_endpoints != (*options->discovery_token != '\0'))
        return error_new(ERROR_INVALID, "both --discovery-token and --discovery-endpoints must be set");
    return NULL;
}

static struct error *check_timing(const struct options *options)
{
    unsigned long long heartbeat = options->heartbeat_interval, election = options->election_timeout;
    if (heartbeat == 0) return error_new(ERROR_INVALID, "--heartbeat-interval must be >0 (set to 0ms)");
    if (election == 0) return error_new(ERROR_INVALID, "--election-timeout must be >0 (set to 0ms)");
    if (election / 5 < heartbeat)
        return error_new(ERROR_INVALID,
                         "--election-timeout[%llums] should be at least as 5 times as "
                         "--heartbeat-interval[%llums]",
                         election, heartbeat);
    if (election > 50000)
        return error_new(ERROR_INVALID,
                         "--election-timeout[%llums] is too long, and should be set less than 50000ms",
                         election);
    return NULL;
}

/* An integer counts hours or revisions, anything else is a duration. */
static struct error *read_retention(struct options *options)
{
    const char *text = options->auto_compaction_retention;
    bool by_revision = strcmp(options->auto_compaction_mode, "revision") == 0;
    int64_t number = 0;
    struct buf reason = {0};
    struct error *error = NULL;
    if (*text == '\0') return NULL;
    if (text_parse_int64(text, 10, &number, NULL)) {
        if (number > INT64_MAX / 3600 / SECOND)
            error = error_new(ERROR_INVALID, "--auto-compaction-retention=%s is too long", text);
        else if (!by_revision)
            number *= 3600 * SECOND;
    } else if (!text_parse_go_duration(text, &number, &reason)) {
        error = error_new(ERROR_INVALID, "error parsing CompactionRetention: %s", buf_string(&reason));
    }
    if (number > 0)
        *(by_revision ? &options->auto_compaction_revisions : &options->auto_compaction_period) = number;
    buf_deinit(&reason);
    return error;
}

static struct error *check_compaction(const struct options *options)
{
    if (strcmp(options->auto_compaction_mode, "periodic") != 0 &&
        strcmp(options->auto_compaction_mode, "revision") != 0 && *options->auto_compaction_mode != '\0')
        return error_new(ERROR_INVALID, "unknown auto-compaction-mode \"%s\"", options->auto_compaction_mode);
    if (options->compaction_batch_limit < 0 || options->backend_batch_limit < 0)
        return error_new(ERROR_INVALID,
                         "--compaction-batch-limit and --backend-batch-limit must not be negative");
    return NULL;
}

static struct error *complete_gates(struct options *options)
{
    bool set[OPTIONS_GATE_COUNT] = {false};
    struct buf reason = {0};
    struct error *error = NULL;
    options_gates_default(options->gates);
    if (!options_gates_read(options->feature_gates, options->gates, set, &reason))
        error = error_new(ERROR_INVALID, "%s", buf_string(&reason));
    buf_deinit(&reason);
    return error == NULL ? options_gates_complete(options->gates, set) : error;
}

/* One address cannot serve gRPC alone and HTTP alone. */
static struct error *check_http_urls(const struct options *options)
{
    struct cluster_urls grpc = {0}, http = {0};
    struct error *error = NULL;
    if (*options->listen_client_http_urls == '\0') return NULL;
    error = cluster_urls_parse(options->listen_client_urls, &grpc);
    if (error == NULL) error = cluster_urls_parse(options->listen_client_http_urls, &http);
    for (size_t i = 0; error == NULL && i < http.count; i++)
        if (cluster_urls_contain(&grpc, http.items[i]))
            error = error_new(ERROR_INVALID,
                              "cannot bind both --listen-client-urls and --listen-client-http-urls on the "
                              "same url %s",
                              http.items[i]);
    cluster_urls_deinit(&grpc);
    cluster_urls_deinit(&http);
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

/* ---- TLS ---- */

static struct error *check_version(const char *text, enum tls_version *version)
{
    return tls_version_parse(text, version)
               ? NULL
               : error_new(ERROR_INVALID, "unexpected TLS version \"%s\" (must be one of: TLS1.2, TLS1.3)",
                           text);
}

static struct error *check_tls(const struct options *options)
{
    enum tls_version minimum, maximum;
    struct buf list = {0};
    TRY(check_version(options->tls_min_version, &minimum));
    TRY(check_version(options->tls_max_version, &maximum));
    if (maximum != TLS_VERSION_DEFAULT && minimum > maximum)
        return error_new(ERROR_INVALID, "min version (%s) is greater than max version (%s)",
                         options->tls_min_version, options->tls_max_version);
    if (minimum == TLS_VERSION_1_3 && *options->cipher_suites != '\0')
        return error_new(ERROR_INVALID, "cipher suites cannot be configured when only TLS1.3 is enabled");
    if (options->self_signed_cert_validity > SELF_SIGNED_YEARS_MAX)
        return error_new(ERROR_INVALID, "--self-signed-cert-validity must be at most %d (set to %llu)",
                         SELF_SIGNED_YEARS_MAX, (unsigned long long)options->self_signed_cert_validity);
    struct error *error = tls_ciphers_translate(options->cipher_suites, &list, NULL);
    buf_deinit(&list);
    return error;
}

/* etcd 3.3's way to say who is trusted and that clients must show it. */
static void take_ca_file(struct options_parsed *parsed, struct options_tls *tls, const char *flag)
{
    if (*tls->ca_file == '\0') return;
    options_note(parsed, (struct options_note){.level = LOG_WARN,
                                               .message = "ca-file is deprecated; it stands for "
                                                          "trusted-ca-file and client-cert-auth",
                                               .keys = {"flag", "ca-file"},
                                               .values = {flag, tls->ca_file}});
    if (*tls->trusted_ca_file == '\0') tls->trusted_ca_file = tls->ca_file;
    tls->client_cert_auth = true;
}

static struct error *check(struct options *options)
{
    TRY(check_binds(options));
    TRY(check_advertised("initial-advertise-peer-urls", options->initial_advertise_peer_urls));
    TRY(check_advertised("advertise-client-urls", options->advertise_client_urls));
    if (strcmp(options->initial_cluster_state, "new") != 0 &&
        strcmp(options->initial_cluster_state, "existing") != 0)
        return error_new(ERROR_INVALID, "unexpected clusterState \"%s\"", options->initial_cluster_state);
    TRY(check_bootstrap(options));
    TRY(check_timing(options));
    TRY(check_compaction(options));
    TRY(complete_gates(options));
    if (options->compact_hash_check_time <= 0)
        return error_new(ERROR_INVALID, "--compact-hash-check-time must be >0 (set to 0s)");
    if (options->max_request_bytes < 1024 || options->max_request_bytes > (UINT64_C(1) << 30))
        return error_new(ERROR_INVALID,
                         "--max-request-bytes must be between 1024 and 1073741824 (set to %llu)",
                         (unsigned long long)options->max_request_bytes);
    if (options->max_learners < 1)
        return error_new(ERROR_INVALID, "--max-learners must be >0 (set to %lld)",
                         (long long)options->max_learners);
    TRY(check_max_cluster_version(options->max_cluster_version));
    TRY(check_http_urls(options));
    TRY(check_tls(options));
    return read_retention(options);
}

static struct error *check_logger(struct options_parsed *parsed)
{
    const struct options *options = &parsed->options;
    if (strcmp(options->logger, "capnslog") == 0)
        options_note(parsed, (struct options_note){.level = LOG_WARN,
                                                   .message = "--logger=capnslog is removed in v3.5; its "
                                                              "lines are written all the same"});
    else if (strcmp(options->logger, "zap") != 0)
        return error_new(ERROR_INVALID, "unknown logger option \"%s\"", options->logger);
    if (strcmp(options->log_format, "json") != 0 && strcmp(options->log_format, "console") != 0)
        return error_new(ERROR_INVALID, "unknown log format \"%s\", supported values json, console",
                         options->log_format);
    return NULL;
}

/* ---- what follows from others ---- */

/* Only a member that has a name of its own gets its own addresses: etcd's default names "default" at
 * localhost:2380. */
static struct error *complete_initial_cluster(struct options_parsed *parsed)
{
    struct options *options = &parsed->options;
    struct buf cluster = {0};
    struct cluster_urls urls = {0};
    if (*options->initial_cluster != '\0') return NULL;
    if (strcmp(options->name, "default") == 0) {
        options->initial_cluster = "default=http://localhost:2380";
        return NULL;
    }
    TRY(cluster_urls_parse(options->initial_advertise_peer_urls, &urls));
    for (size_t i = 0; i < urls.count; i++)
        buf_printf(&cluster, "%s%s=%s", i == 0 ? "" : ",", options->name, urls.items[i]);
    options->initial_cluster = arena_string(parsed->memory, buf_bytes(&cluster));
    cluster_urls_deinit(&urls);
    buf_deinit(&cluster);
    return NULL;
}

static void warn(struct options_parsed *parsed, const char *message)
{
    options_note(parsed, (struct options_note){.level = LOG_WARN, .message = message});
}

static void advise(struct options_parsed *parsed)
{
    const struct options *options = &parsed->options;
    for (unsigned i = 0; i < OPTIONS_GATE_COUNT; i++) {
        const char *ignored = options_gate_ignored((enum options_gate)i, options->gates);
        if (ignored != NULL) warn(parsed, ignored);
    }
    if (strcmp(options->name, "default") == 0)
        warn(parsed, "it isn't recommended to use default name, please set a value for --name. Note that "
                     "etcd might run into issue when multiple members have the same default name");
    if (*options->listen_client_http_urls == '\0')
        warn(parsed, "Running http and grpc server on single port. This is not recommended for production.");
    if (options->quota_backend_bytes > INT64_C(8) << 30)
        warn(parsed, "the backend quota is larger than the 8 GiB that is recommended at most");
}

static void complete_numbers(struct options_parsed *parsed)
{
    struct options *options = &parsed->options;
    if (options->raft_read_timeout < PEER_TIMEOUT_MIN) options->raft_read_timeout = PEER_TIMEOUT_MIN;
    if (options->raft_write_timeout < PEER_TIMEOUT_MIN) options->raft_write_timeout = PEER_TIMEOUT_MIN;
    if (options->downgrade_check_time <= 0) options->downgrade_check_time = 5 * SECOND;
    if (options->snapshot_count == 0) options->snapshot_count = 10000;
    if (options->snapshot_catchup_entries == 0) options->snapshot_catchup_entries = 5000;
    if (options->backend_batch_interval <= 0) options->backend_batch_interval = 100 * MILLISECOND;
    if (options->backend_batch_limit == 0) options->backend_batch_limit = 10000;
    if (options->compaction_batch_limit == 0) options->compaction_batch_limit = 1000;
    if (options->compaction_sleep_interval <= 0) options->compaction_sleep_interval = 10 * MILLISECOND;
    if (options->watch_progress_notify_interval <= 0) options->watch_progress_notify_interval = 600 * SECOND;
    if (options->watch_progress_notify_interval < 100 * MILLISECOND) {
        options->watch_progress_notify_interval = 100 * MILLISECOND;
        warn(parsed, "--watch-progress-notify-interval is raised to its minimum, 100ms");
    }
}

/* The first address that peers are told and that is one, other than loopback and "any". */
static struct error *complete_local_address(struct options_parsed *parsed)
{
    struct options *options = &parsed->options;
    struct cluster_urls urls = {0};
    struct in_addr v4;
    struct in6_addr v6;
    options->local_address = "";
    if (!options->gates[GATE_SET_MEMBER_LOCAL_ADDR]) return NULL;
    TRY(cluster_urls_parse(options->initial_advertise_peer_urls, &urls));
    for (size_t i = 0; i < urls.count && *options->local_address == '\0'; i++) {
        struct cluster_url url;
        struct error *error = cluster_url_parse(bytes_from_string(urls.items[i]), &url);
        error_free(error); /* it was read before */
        if (error != NULL) continue;
        const char *host = arena_string(parsed->memory, url.host);
        bool is_v4 = inet_pton(AF_INET, host, &v4) == 1 && v4.s_addr != INADDR_ANY &&
                     (ntohl(v4.s_addr) >> 24) != IN_LOOPBACKNET;
        bool is_v6 = inet_pton(AF_INET6, host, &v6) == 1 && !IN6_IS_ADDR_LOOPBACK(&v6) &&
                     !IN6_IS_ADDR_UNSPECIFIED(&v6);
        if (is_v4 || is_v6) options->local_address = host;
    }
    cluster_urls_deinit(&urls);
    return NULL;
}

struct error *options_complete(struct options_parsed *parsed)
{
    struct options *options = &parsed->options;
    parsed->failure = OPTIONS_REFUSED;
    if (*options->cors == '\0') options->cors = "*";
    if (*options->host_whitelist == '\0') options->host_whitelist = "*";
    take_ca_file(parsed, &options->client_tls, "--ca-file");
    take_ca_file(parsed, &options->peer_tls, "--peer-ca-file");
    TRY(check_logger(parsed));
    TRY(check(options));
    advise(parsed);
    if (*options->data_dir == '\0') {
        options->data_dir = arena_printf(parsed->memory, "%s.etcd", options->name);
        options_note(parsed, (struct options_note){.level = LOG_WARN,
                                                   .message = "'data-dir' was empty; using default",
                                                   .keys = {"data-dir"},
                                                   .values = {options->data_dir}});
    }
    complete_numbers(parsed);
    options_advertise_default_host(parsed);
    TRY(complete_local_address(parsed));
    return complete_initial_cluster(parsed);
}

uint64_t options_quota(const struct options *options)
{
    if (options->quota_backend_bytes < 0) return 0;
    return options->quota_backend_bytes == 0 ? UINT64_C(2) << 30 : (uint64_t)options->quota_backend_bytes;
}

/* ---- help ---- */

void options_usage(struct buf *out)
{
    buf_append_string(
        out, "Usage:\n\n  etcd [flags]\n    Start an etcd server.\n\n  etcd --version\n    Show the "
             "version of etcd.\n\n  etcd -h | --help\n    Show the help information about etcd.\n\n"
             "  etcd --config-file\n    Path to the server configuration file. Note that if a "
             "configuration file is provided, other command line flags and environment variables "
             "will be ignored.\n\n  etcd gateway\n    Pass connections on to members of a cluster.\n");
}

void options_help(struct buf *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->help == NULL) continue;
        buf_printf(out, "  --%s '%s'\n    %s\n", option->name, option->initial, option->help);
    }
}

/* roff: a minus that is typed is \-, and a line must not begin with a dot or an apostrophe. */
static void append_roff(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '-')
            buf_append_string(out, "\\-");
        else if (*text == '\'')
            buf_append_string(out, "\\(aq");
        else if (*text == '\\')
            buf_append_string(out, "\\e");
        else
            buf_append_byte(out, (uint8_t)*text);
    }
}

/* Where in a file it stands, if that is not under its name. */
static void append_block(struct buf *out, const struct option *option)
{
    if (option->file == NULL) return;
    if (*option->file == '\0') {
        if (strcmp(option->name, "version") != 0 && strcmp(option->name, "config-file") != 0)
            buf_append_string(out, "\nNot in a file.");
        return;
    }
    buf_append_string(out, "\nIn a file: ");
    for (const char *part = option->file; part != NULL; part = strchr(part, '/')) {
        if (*part == '/') part++;
        buf_append_string(out, part == option->file ? "" : ": ");
        struct buf word = {0};
        buf_append_bytes(&word, bytes_of(part, strcspn(part, "/")));
        append_roff(out, buf_string(&word));
        buf_deinit(&word);
    }
    buf_append_string(out, ".");
}

static bool is_earlier(const struct option *option)
{
    return option->help == NULL && strcmp(option->name, "help") != 0 && strcmp(option->name, "h") != 0;
}

static bool is_plainly_ignored(const struct option *option)
{
    return option->use == OPTION_WITHOUT_EFFECT && option->text == NULL;
}

/* What became of one earlier name, as a sentence. */
static void append_fate(struct buf *out, const struct option *option)
{
    struct buf text = {0};
    switch (option->use) {
    case OPTION_RENAMED:
        buf_printf(&text, "Is --%s.", option->other);
        break;
    case OPTION_GATE:
        buf_printf(&text, "Sets the feature gate %s.", option->other);
        break;
    case OPTION_IMPLIES:
        buf_printf(&text, "If true, is --%s=%s.", option->other, option->text);
        break;
    case OPTION_REFUSED:
        buf_printf(&text, "Values other than \"%s\" refuse the start: %s.", option->initial, option->text);
        break;
    default:
        buf_append_string(&text, option->text);
        buf_append_string(&text, ".");
        break;
    }
    append_roff(out, buf_string(&text));
    buf_deinit(&text);
}

static void append_earlier_names(struct buf *out)
{
    buf_append_string(out,
                      ".SH EARLIER NAMES\nNames of options of etcd 3.2 to 3.6, each with a warning when it "
                      "is used.\n");
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!is_earlier(option) || is_plainly_ignored(option)) continue;
        buf_append_string(out, ".TP\n.B \\-\\-");
        append_roff(out, option->name);
        buf_append_string(out, "\n");
        append_fate(out, option);
        buf_append_string(out, "\n");
    }
    buf_append_string(out, ".PP\nTaken without effect and without a word:");
    const char *before = " ";
    for (size_t i = 0; i < option_count; i++) {
        if (!is_earlier(&option_table[i]) || !is_plainly_ignored(&option_table[i])) continue;
        buf_printf(out, "%s\\-\\-", before);
        append_roff(out, option_table[i].name);
        before = ", ";
    }
    buf_append_string(out, ".\n");
}

void options_manual(struct buf *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->help == NULL) continue;
        buf_append_string(out, ".TP\n.BI \\-\\-");
        append_roff(out, option->name);
        buf_append_string(out, " =");
        buf_append_string(out, option->type == OPTION_BOOL ? "BOOL" : "VALUE");
        buf_append_string(out, "\n");
        append_roff(out, option->help);
        if (*option->initial != '\0') {
            buf_append_string(out, "\nDefault: ");
            append_roff(out, option->initial);
            buf_append_string(out, ".");
        }
        append_block(out, option);
        if (option->use == OPTION_REFUSED) {
            buf_append_string(out, "\nOther values are refused: ");
            append_roff(out, option->text);
            buf_append_string(out, ".");
        }
        buf_append_string(out, "\n");
    }
    append_earlier_names(out);
}
