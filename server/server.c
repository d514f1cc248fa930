#include "server/server_internal.h"

#include "base/container.h"
#include "config.h"
#include "server/descriptors.h"
#include "server/discovery.h"
#include "server/notify.h"
#include "server/password.h"
#include "server/rpc.h"
#include "server/startup.h"

#include <assert.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define UPKEEP_INTERVAL           (30 * LOOP_SECOND)
#define LEASE_CHECKPOINT_INTERVAL (300 * LOOP_SECOND)
/* A removed member goes on answering the others for so long. */
#define REMOVAL_DELAY LOOP_SECOND
/* While the database is locked: between two tries, and between two lines in the log. */
#define LOCK_POLL_INTERVAL (50 * LOOP_MILLISECOND)
#define LOCK_TELL_INTERVAL (10 * LOOP_SECOND)

/* ---- set-up of the parts ---- */

/* For one address; 0: there are too few descriptors to serve at all. */
static size_t connection_limit(void)
{
    uint64_t limit = descriptors_limit();
    return limit > RESERVED_DESCRIPTORS ? (size_t)limit - RESERVED_DESCRIPTORS : 0;
}

static size_t choose_io_loops(const struct options *options)
{
    size_t processors = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = options->io_threads != 0 ? options->io_threads : processors / 2;
    return wanted < 1 ? 1 : wanted > IO_LOOPS_MAX ? IO_LOOPS_MAX : wanted;
}

/* Half of the processors: logins must not take the whole machine. */
static size_t choose_helpers(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 4 ? 1 : (size_t)processors / 2;
}

/* What one request may take, here and at other members. */
static int64_t request_timeout(const struct options *options)
{
    return 5 * LOOP_SECOND + 2 * (int64_t)options->election_timeout * LOOP_MILLISECOND;
}

static void sha1(struct bytes data, uint8_t digest[20])
{
    SHA1(data.data, data.size, digest);
}

static uint64_t now_nanoseconds(void *context)
{
    (void)context;
    return (uint64_t)clock_monotonic();
}

/* None is etcd's default as well. */
static int64_t token_ttl(const struct options *options)
{
    uint64_t most = INT64_MAX / LOOP_SECOND, seconds = options->auth_token_ttl;
    if (seconds == 0) seconds = TOKEN_TTL_DEFAULT;
    return (int64_t)(seconds < most ? seconds : most) * LOOP_SECOND;
}

static unsigned bcrypt_cost(struct server *server)
{
    uint64_t cost = server->options->bcrypt_cost;
    if (cost >= PASSWORD_COST_MIN && cost <= PASSWORD_COST_MAX) return (unsigned)cost;
    log_warn(server->logger, "use default bcrypt cost instead of the invalid given cost",
             LOG_INT("min-cost", PASSWORD_COST_MIN), LOG_INT("max-cost", PASSWORD_COST_MAX),
             LOG_INT("default-cost", PASSWORD_COST_DEFAULT), LOG_UINT("given-cost", cost));
    return PASSWORD_COST_DEFAULT;
}

static void configure_node(struct server *server)
{
    const struct options *options = server->options;
    struct node_config *node = &server->node_config;
    struct node_limits limits = node_limits_default();
    limits.max_request_bytes = options->max_request_bytes;
    limits.max_txn_operations = options->max_txn_ops;
    limits.quota_bytes = options_quota(options);
    limits.compaction_rows = (uint64_t)options->compaction_batch_limit;
    limits.compaction_pause = options->compaction_sleep_interval;
    *node = (struct node_config){
        .member_id = server->member.id,
        .cluster_id = server->member.cluster_id,
        .tick = (int64_t)options->heartbeat_interval * LOOP_MILLISECOND,
        .election_ticks = (unsigned)(options->election_timeout / options->heartbeat_interval),
        .pre_vote = options->pre_vote,
        .snapshot_count = options->snapshot_count,
        .lease_checkpoint_interval = options->gates[GATE_LEASE_CHECKPOINT] ? LEASE_CHECKPOINT_INTERVAL : 0,
        .lease_checkpoint_persist = options->gates[GATE_LEASE_CHECKPOINT_PERSIST],
        .catch_up_entries = options->snapshot_catchup_entries,
        .backend_batch_interval = options->backend_batch_interval,
        .backend_batch_limit = (uint64_t)options->backend_batch_limit,
        .watch_progress_interval = options->watch_progress_notify_interval,
        .limits = limits,
        .name = options->name,
        .client_urls = (const char *const *)server->client_urls.items,
        .client_url_count = server->client_urls.count,
        .version = ETCD_VERSION,
        .max_cluster_version = options->max_cluster_version,
        .strict_reconfig_check = options->strict_reconfig_check,
        .priority_requests = options->gates[GATE_PRIORITY_REQUEST],
        .initial_tick_advance = options->initial_election_tick_advance,
        .max_learners = (size_t)options->max_learners,
        .downgrade_check_interval = options->downgrade_check_time,
        .sha1 = sha1,
        .simple_tokens = server->tokens.kind == TOKEN_SIMPLE,
        .token_ttl = token_ttl(options),
        .hash_password = password_hash_salted,
        .seed = (uint64_t)clock_wall() ^ server->member.id,
        .logger = server->logger,
        .now = now_nanoseconds,
        .slow_apply = options->warning_apply_duration,
    };
}

static void on_accept(void *context, size_t index, struct transport *transport)
{
    struct bound *bound = context;
    struct server *server = bound->server;
    port_accept(bound->traffic == TRAFFIC_PEER ? &server->peer.ports[bound->protection]
                                               : &server->io[index].ports[bound->traffic][bound->protection],
                transport);
}

/* What to bind to for an address that has been parsed. New string. */
static char *address_of(const char *url, const struct cluster_url *parts)
{
    if (bytes_starts_with(parts->scheme, BYTES_LITERAL("unix")))
        return mem_printf("unix:%s", strchr(url, ':') + 3);
    if (bytes_equal(parts->host, BYTES_LITERAL("localhost")))
        return mem_printf("127.0.0.1:%.*s", (int)parts->port.size, parts->port.data);
    return mem_strdup(strstr(url, "://") + 3);
}

/* The same address twice is one that speaks both, if the schemes differ. */
static bool is_bound(struct server *server, const char *address, enum traffic traffic,
                     enum protection protection)
{
    for (size_t i = 0; i < server->bound_count; i++) {
        struct bound *bound = &server->bound[i];
        if (bound->traffic != traffic || strcmp(bound->address, address) != 0) continue;
        if (bound->protection != protection) bound->protection = PROTECTION_EITHER;
        return true;
    }
    return false;
}

static struct error *bind_address(struct server *server, struct bound *bound)
{
    struct loop *loops[IO_LOOPS_MAX];
    for (size_t i = 0; i < server->io_count; i++) loops[i] = server->io[i].loop;
    bool for_peers = bound->traffic == TRAFFIC_PEER;
    struct listener_config config = {
        .address = bound->address,
        .loops = for_peers ? &server->peer.loop : loops,
        .loop_count = for_peers ? 1 : server->io_count,
        .connection_limit = connection_limit(),
        .reuse_port = server->options->socket_reuse_port,
        .on_accept = on_accept,
        .context = bound,
        .logger = server->logger,
    };
    return listener_new(server->control, &config, &bound->listener);
}

static struct error *listen_one(struct server *server, const char *url, enum traffic traffic)
{
    struct cluster_url parts;
    enum protection protection = security_is_asked(url) ? PROTECTION_TLS : PROTECTION_NONE;
    TRY(cluster_url_parse(bytes_from_string(url), &parts));
    char *address = address_of(url, &parts);
    struct error *error = NULL;
    if (is_bound(server, address, traffic, protection)) {
        free(address);
        return NULL;
    }
    if (server->bound_count == LISTENERS_MAX) {
        error = error_new(ERROR_LIMIT, "more than %d addresses to listen on", LISTENERS_MAX);
    } else {
        struct bound *bound = &server->bound[server->bound_count];
        *bound = (struct bound){.server = server,
                                .address = address,
                                .traffic = traffic,
                                .protection = protection};
        error = bind_address(server, bound);
    }
    if (error == NULL)
        server->bound_count++;
    else
        free(address);
    return error;
}

static struct error *listen_all(struct server *server, const char *list, enum traffic traffic)
{
    struct cluster_urls urls = {0};
    if (*list == '\0') return NULL;
    struct error *error = cluster_urls_parse(list, &urls);
    for (size_t i = 0; error == NULL && i < urls.count; i++)
        error = listen_one(server, urls.items[i], traffic);
    cluster_urls_deinit(&urls);
    return error;
}

static size_t receive_limit(const struct options *options)
{
    return options->max_request_bytes + 512 * 1024;
}

/* The three ports that differ in their protection alone. */
static void make_ports(struct port ports[PROTECTIONS], struct port port, const struct tls *tls)
{
    ports[PROTECTION_NONE] = port;
    if (tls == NULL) return;
    port.security = tls_security(tls);
    ports[PROTECTION_TLS] = port;
    port.plain_too = true;
    ports[PROTECTION_EITHER] = port;
}

static void make_io(struct server *server)
{
    const struct options *options = server->options;
    size_t method_count = 0;
    server->services = (struct service_context){
        .observer = server->observer,
        .engine = server->engine,
        .backend = server->member.backend,
        .logger = server->logger,
        .helpers = server->helpers,
        .tokens = &server->tokens,
        .bcrypt_cost = bcrypt_cost(server),
        .client_cert_auth = options->client_tls.client_cert_auth,
        .queue_limit = NODE_QUEUE_MAX,
        .stop_on_defragment = options->gates[GATE_STOP_GRPC_SERVICE_ON_DEFRAG],
    };
    server->grpc_config = (struct grpc_server_config){
        .methods = service_methods(&method_count),
        .context = &server->services,
        .intercept = service_intercept,
        .observe = service_observe,
        .receive_limit = receive_limit(options),
        .max_concurrent_streams =
            options->max_concurrent_streams >= UINT32_MAX ? 0 : (uint32_t)options->max_concurrent_streams,
        .keepalive_min_time = options->grpc_keepalive_min_time,
        .keepalive_interval = options->grpc_keepalive_interval,
        .keepalive_timeout = options->grpc_keepalive_timeout,
        .logger = server->logger,
    };
    server->grpc_config.method_count = method_count;
    http_endpoints_metrics_router(&server->metrics_router, &server->endpoints);
    for (size_t i = 0; i < server->io_count; i++) {
        struct io *io = &server->io[i];
        io->server = server;
        io->grpc = grpc_server_new(io->loop, &server->grpc_config);
        io->http = http1_server_new(io->loop, &(const struct http1_server_config){.logger = server->logger});
        io->endpoints = server->endpoints;
        io->endpoints.grpc = io->grpc;
        http_endpoints_client_router(&io->client_router, &io->endpoints);
        const struct security *security = &server->security;
        make_ports(io->ports[TRAFFIC_GRPC_HTTP],
                   (struct port){.grpc = io->grpc, .http = io->http, .router = &io->client_router},
                   security->client);
        make_ports(io->ports[TRAFFIC_GRPC], (struct port){.grpc = io->grpc}, security->client);
        make_ports(io->ports[TRAFFIC_HTTP], (struct port){.http = io->http, .router = &io->client_router},
                   security->client_http);
        make_ports(io->ports[TRAFFIC_METRICS],
                   (struct port){.http = io->http, .router = &server->metrics_router}, security->metrics);
        server->grpc_metrics[i] = grpc_server_metrics(io->grpc);
    }
}

static void on_told_removed(void *context);

static struct error *make_peers(struct server *server)
{
    const struct options *options = server->options;
    struct peer_io *io = &server->peer;
    int64_t election = (int64_t)options->election_timeout * LOOP_MILLISECOND;
    TRY(cluster_urls_parse(options->initial_advertise_peer_urls, &io->urls));
    struct peers_config config = {
        .loop = io->loop,
        .member_id = server->member.id,
        .cluster_id = server->member.cluster_id,
        .version = ETCD_VERSION,
        .own_urls = &io->urls,
        .security = tls_security(server->security.dial),
        .tokens = &server->tokens,
        .endpoints = &server->endpoints,
        .dial_timeout = LOOP_SECOND + election,
        .request_timeout = request_timeout(options),
        .local_address = *options->local_address == '\0' ? NULL : options->local_address,
        .read_timeout = options->raft_read_timeout,
        .write_timeout = options->raft_write_timeout,
        .logger = server->logger,
        .fs = fs_real(),
        .snap_directory = server->member.directory.snap,
        .snap_metrics = &server->snap_metrics,
        .now = now_nanoseconds,
        .on_removed = on_told_removed,
        .context = server,
    };
    io->peers = peers_new(&config);
    for (size_t i = 0; i < server->bootstrap.remote_count; i++)
        peers_add_remote(io->peers, server->bootstrap.remotes[i].id, &server->bootstrap.remotes[i].peer_urls);
    io->http = http1_server_new(io->loop, &(const struct http1_server_config){.logger = server->logger});
    make_ports(io->ports, (struct port){.http = io->http, .router = peers_router(io->peers)},
               server->security.peer);
    return NULL;
}

static void observe_calls(struct server *server)
{
    struct call_observer_config config = {
        .slow = server->options->warning_unary_request_duration,
        .extensive = strcmp(server->options->metrics, "extensive") == 0,
        .logger = server->logger,
    };
    config.methods = service_methods(&config.method_count);
    server->observer = call_observer_new(&config);
}

static void connect_metrics(struct server *server)
{
    observe_calls(server);
    server->metrics.node = engine_node_metrics(server->engine);
    server->metrics.wal = &server->wal_metrics;
    server->metrics.snap = &server->snap_metrics;
    server->metrics.peers = server->peer.peers;
    server->metrics.calls = server->observer;
    server->metrics.gates = server->options->gates;
    server->metrics.backend = backend_metrics(server->member.backend);
    server->metrics.grpc = server->grpc_metrics;
    server->metrics.grpc_count = server->io_count;
    server->metrics.methods = service_methods(&server->metrics.method_count);
    server->metrics.version = ETCD_VERSION;
    server->metrics.member_id = server->member.id;
    server->metrics.quota_bytes = options_quota(server->options);
    server->metrics.started_at = clock_wall();
    if (server->options->max_concurrent_streams < UINT32_MAX)
        server->gateway_limit = gateway_limit_new((uint32_t)server->options->max_concurrent_streams);
    server->endpoints = (struct http_endpoints){
        .engine = server->engine,
        .metrics = &server->metrics,
        .version = ETCD_VERSION,
        .logger = server->logger,
        .host_whitelist = server->options->host_whitelist,
        .cors = server->options->cors,
        .enable_pprof = server->options->enable_pprof || strcmp(server->options->log_level, "debug") == 0,
        .enable_gateway = server->options->enable_grpc_gateway,
        .gateway_limit = server->gateway_limit,
        .client_cert_auth = server->options->client_tls.client_cert_auth,
        .receive_limit = receive_limit(server->options),
    };
}

/* ---- events from the engine ---- */

static void tell_init(struct server *server)
{
    struct error *error = NULL;
    log_info(server->logger, "notifying init daemon");
    error = notify_ready(getenv("NOTIFY_SOCKET"));
    if (error == NULL)
        log_info(server->logger, "successfully notified init daemon");
    else
        log_warn(server->logger, "failed to notify systemd for readiness", LOG_STRING("error", error->text));
    error_free(error);
}

static void log_serving_clients(const struct server *server, const struct bound *bound)
{
    static const char *const traffic[] = {
        [TRAFFIC_GRPC_HTTP] = "grpc+http", [TRAFFIC_GRPC] = "grpc", [TRAFFIC_HTTP] = "http"};
    const struct log_field fields[] = {LOG_STRING("traffic", traffic[bound->traffic]),
                                       LOG_STRING("address", listener_address(bound->listener))};
    if (bound->protection != PROTECTION_TLS)
        log_info(server->logger, "serving client traffic insecurely; this is strongly discouraged!",
                 fields[0], fields[1]);
    if (bound->protection != PROTECTION_NONE)
        log_info(server->logger, "serving client traffic securely", fields[0], fields[1]);
}

static void serve_clients(struct loop *loop, struct loop_task *task)
{
    struct server *server = CONTAINER(task, struct server, published);
    (void)loop;
    for (size_t i = 0; i < server->bound_count; i++)
        if (server->bound[i].traffic >= TRAFFIC_GRPC_HTTP) listener_start(server->bound[i].listener);
    log_info(server->logger, "ready to serve client requests");
    for (size_t i = 0; i < server->bound_count; i++)
        if (server->bound[i].traffic >= TRAFFIC_GRPC_HTTP) log_serving_clients(server, &server->bound[i]);
    tell_init(server);
}

static void on_published(void *context)
{
    struct server *server = context;
    loop_post(server->control, &server->published);
}

static void stop_for_good(struct server *server)
{
    log_info(server->logger, "the member has been permanently removed from the cluster",
             LOG_HEX("local-member-id", server->member.id));
    loop_stop(server->control);
}

static void removal_is_over(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    stop_for_good(CONTAINER(timer, struct server, removal));
}

static void removal_begins(struct loop *loop, struct loop_task *task)
{
    struct server *server = CONTAINER(task, struct server, removed);
    loop_timer_set(loop, &server->removal, clock_monotonic() + REMOVAL_DELAY);
}

/* Node thread, once: the removal was applied here. */
static void on_removed(void *context)
{
    struct server *server = context;
    loop_post(server->control, &server->removed);
}

static void told_removed(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    stop_for_good(CONTAINER(task, struct server, told_removed));
}

/* Any thread: another member says so, and will not speak with this one any more. */
static void on_told_removed(void *context)
{
    struct server *server = context;
    if (!atomic_exchange(&server->was_told_removed, true)) loop_post(server->control, &server->told_removed);
}

static void on_reply(void *context, struct node_request *request)
{
    struct server *server = context;
    if (request->for_leader && !CONTAINER(request, struct rpc, request)->stays)
        peers_ask_leader(server->peer.peers, request);
    else
        rpc_on_reply(context, request);
}

static void on_peer_messages(void *context, struct mail *messages)
{
    peers_send(((struct server *)context)->peer.peers, messages);
}

static void on_snapshot(void *context, struct node_peer_message *message, const struct backend_reader *reader)
{
    peers_send_snapshot(((struct server *)context)->peer.peers, message, reader);
}

static void on_membership(void *context, const struct cluster *cluster)
{
    peers_set_membership(((struct server *)context)->peer.peers, cluster);
}

/* Nothing may be acknowledged after a write that may be lost: the process ends here and now. */
static void on_failed(void *context, const struct error *error)
{
    struct server *server = context;
    LOG_AT(server->logger, LOG_FATAL,
           "the member's storage failed; it stops so that nothing is acknowledged that may be lost",
           LOG_STRING("error", error->text));
    _exit(1);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (server->signal_number != 0) return;
    server->signal_number = number;
    log_info(server->logger, "received signal; shutting down",
             LOG_STRING("signal", number == SIGTERM ? "terminated" : "interrupt"));
    loop_stop(server->control);
}

/* ---- what is looked after every now and then ---- */

static void upkeep_run(uv_work_t *work)
{
    struct server *server = work->data;
    int64_t applied = metric_gauge_read(&server->metrics.node->proposals_applied);
    struct error *error = member_purge(&server->member, server->options->max_wals,
                                       server->options->max_snapshots, (uint64_t)applied);
    if (error != NULL)
        log_warn(server->logger, "failed to remove old files", LOG_STRING("error", error->text));
    error_free(error);
    descriptors_check(server->logger);
}

static void upkeep_done(uv_work_t *work, int status)
{
    struct server *server = work->data;
    (void)status;
    server->keeping_up = false;
    loop_timer_set(server->control, &server->upkeep, clock_monotonic() + UPKEEP_INTERVAL);
}

static void upkeep_due(struct loop *loop, struct loop_timer *timer)
{
    struct server *server = CONTAINER(timer, struct server, upkeep);
    server->upkeep_work.data = server;
    server->keeping_up = true;
    if (uv_queue_work(loop_uv(loop), &server->upkeep_work, upkeep_run, upkeep_done) != 0)
        server->keeping_up = false;
}

/* ---- the beginning ---- */

/* As etcd does, waits for another process to let go of the database, for as long as that takes. */
static struct error *wait_for_member(struct server *server, const struct member_options *options)
{
    int64_t began = clock_monotonic(), told = began;
    for (;;) {
        struct error *error = member_open(options, &server->member);
        if (!error_is(error, ERROR_LOCKED)) return error;
        int64_t now = clock_monotonic();
        if (now - told >= LOCK_TELL_INTERVAL) {
            told = now;
            log_info(server->logger, "db file is flocked by another process, or taking too long",
                     LOG_STRING("error", error->text), LOG_DURATION("took", now - began));
        }
        error_free(error);
        const struct timespec pause = {.tv_nsec = LOCK_POLL_INTERVAL};
        nanosleep(&pause, NULL);
    }
}

static struct error *open_member(struct server *server)
{
    const struct options *options = server->options;
    struct discovery_found found = {options->initial_cluster, options->initial_cluster_token};
    if (!server->was_initialized) TRY(discovery_find(options, sha1, server->logger, server->memory, &found));
    const struct member_bootstrap bootstrap = {
        .check_new = bootstrap_check_new,
        .find_running = bootstrap_find_running,
        .same_urls = bootstrap_same_urls,
        .context = &server->bootstrap,
    };
    server->bootstrap = (struct bootstrap){
        .logger = server->logger,
        .version = ETCD_VERSION,
        .max_learners = (size_t)server->options->max_learners,
        .request_timeout = request_timeout(options),
        .security = tls_security(server->security.dial),
    };
    struct member_options member = {
        .name = options->name,
        .data_directory = options->data_dir,
        .wal_directory = options->wal_dir,
        .initial_cluster = found.initial_cluster,
        .initial_cluster_token = found.token,
        .initial_advertise_peer_urls = options->initial_advertise_peer_urls,
        .initial_cluster_exists = strcmp(options->initial_cluster_state, "existing") == 0,
        .bootstrap = &bootstrap,
        .force_new_cluster = options->force_new_cluster,
        .no_sync = options->unsafe_no_fsync,
        .quota_bytes = options_quota(options),
        .fs = fs_real(),
        .logger = server->logger,
        .wal_metrics = &server->wal_metrics,
        .sha1 = sha1,
        .now = now_nanoseconds,
    };
    TRY(wait_for_member(server, &member));
    return startup_defragment(options, server->member.backend, server->logger);
}

static struct error *start_engine(struct server *server)
{
    configure_node(server);
    struct engine_config config = {
        .node = &server->node_config,
        .recovery = server->member.recovery,
        .fs = fs_real(),
        .wal = server->member.wal,
        .snap_metrics = &server->snap_metrics,
        .snap_directory = server->member.directory.snap,
        .logger = server->logger,
        .on_reply = on_reply,
        .on_watch = service_watch_on_message,
        .on_peer_messages = on_peer_messages,
        .on_snapshot = on_snapshot,
        .on_membership = on_membership,
        .on_published = on_published,
        .on_removed = on_removed,
        .on_failed = on_failed,
        .context = server,
    };
    startup_log_quota(server->options, server->logger);
    log_info(server->logger, "starting etcd server", LOG_HEX("local-member-id", server->member.id),
             LOG_STRING("local-server-version", ETCD_VERSION),
             LOG_STRING("cluster-version", "to_be_decided"));
    TRY(make_peers(server));
    struct error *error = engine_start(&config, &server->engine);
    server->member.wal = NULL;
    server->member.recovery.log = NULL;
    return error;
}

static void catch_signals(struct server *server)
{
    const int numbers[2] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(loop_uv(server->control), &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
}

static struct error *bind_ports(struct server *server)
{
    const struct options *options = server->options;
    bool has_http = *options->listen_client_http_urls != '\0';
    if (connection_limit() == 0)
        return error_new(ERROR_LIMIT,
                         "file descriptor limit of etcd process is too low; please set higher (more than %d)",
                         RESERVED_DESCRIPTORS);
    startup_log_urls(server->logger, "configuring peer listeners", "listen-peer-urls",
                     options->listen_peer_urls);
    TRY(listen_all(server, options->listen_peer_urls, TRAFFIC_PEER));
    startup_log_urls(server->logger, "configuring client listeners", "listen-client-urls",
                     options->listen_client_urls);
    TRY(listen_all(server, options->listen_client_urls, has_http ? TRAFFIC_GRPC : TRAFFIC_GRPC_HTTP));
    TRY(listen_all(server, options->listen_client_http_urls, TRAFFIC_HTTP));
    return listen_all(server, options->listen_metrics_urls, TRAFFIC_METRICS);
}

static void log_serving(struct server *server)
{
    const struct options *options = server->options;
    const char *const peer_urls[] = {options->initial_advertise_peer_urls};
    log_info(server->logger, "now serving peer/client/metrics", LOG_HEX("local-member-id", server->member.id),
             LOG_STRINGS("initial-advertise-peer-urls", peer_urls, 1),
             LOG_STRING("listen-peer-urls", options->listen_peer_urls),
             LOG_STRING("advertise-client-urls", options->advertise_client_urls),
             LOG_STRING("listen-client-urls", options->listen_client_urls),
             LOG_STRING("listen-metrics-urls", options->listen_metrics_urls));
    server_log_ports(server, TRAFFIC_PEER, "serving peer traffic");
    server_log_ports(server, TRAFFIC_METRICS, "serving metrics");
}

static void make_corruption_monitor(struct server *server)
{
    const struct options *options = server->options;
    bool by_compaction = options->gates[GATE_COMPACT_HASH_CHECK];
    server->peer.corruption = corruption_monitor_new(&(const struct corruption_monitor_config){
        .loop = server->peer.loop,
        .engine = server->engine,
        .peers = server->peer.peers,
        .member_id = server->member.id,
        .period = options->corrupt_check_time,
        .compaction_period = by_compaction ? options->compact_hash_check_time : 0,
        .logger = server->logger,
    });
}

static void initially_checked(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    CONTAINER(task, struct initial_check, checked)->under_way = false;
}

static void on_initially_checked(void *context, struct error *error)
{
    struct server *server = context;
    server->initial_check.error = error;
    server->initial_check.checked.run = initially_checked;
    loop_post(server->control, &server->initial_check.checked);
}

/* The other members are served meanwhile: they may be doing the same. */
static struct error *check_initially(struct server *server)
{
    if (!server->was_initialized || !server->options->gates[GATE_INITIAL_CORRUPT_CHECK]) return NULL;
    server->initial_check.under_way = true;
    corruption_monitor_check_initially(server->peer.corruption, on_initially_checked, server);
    while (server->initial_check.under_way) loop_run_once(server->control, LOOP_SECOND);
    struct error *error = server->initial_check.error;
    if (error != NULL)
        log_error(server->logger, "checkInitialHashKV failed", LOG_STRING("error", error->text));
    else if (server->initial_check.is_published)
        serve_clients(server->control, &server->published);
    return error;
}

static struct error *start(struct server *server)
{
    TRY(startup_lock_memory(server->options));
    server->io_count = choose_io_loops(server->options);
    server->control = loop_new();
    for (size_t i = 0; i < server->io_count; i++) server->io[i].loop = loop_new();
    server->peer.loop = loop_new();
    TRY(cluster_urls_parse(server->options->advertise_client_urls, &server->client_urls));
    TRY(security_init(&server->security, server->options, server->logger));
    TRY(bind_ports(server));
    options_log(server->options, server->logger, server->was_initialized);
    TRY(token_provider_init(&server->tokens, server->options->auth_token, server->logger));
    server->helpers = helper_pool_new(choose_helpers(), HELPER_QUEUE_MAX);
    TRY(open_member(server));
    TRY(start_engine(server));
    connect_metrics(server);
    make_io(server);
    peers_set_engine(server->peer.peers, server->engine);
    make_corruption_monitor(server);
    TRY(loop_start(server->peer.loop, "etcd-peer"));
    for (size_t i = 0; i < server->io_count; i++) TRY(loop_start(server->io[i].loop, "etcd-io"));
    for (size_t i = 0; i < server->bound_count; i++)
        if (server->bound[i].traffic < TRAFFIC_GRPC_HTTP) listener_start(server->bound[i].listener);
    log_serving(server);
    return check_initially(server);
}

struct error *server_run(const struct options *options, const struct logger *logger, bool member_initialized,
                         int *signal_number)
{
    struct server *server = mem_zalloc(1, sizeof(*server));
    server->options = options;
    server->logger = logger;
    server->memory = arena_new();
    server->was_initialized = member_initialized;
    server->wal_metrics = (struct wal_metrics)WAL_METRICS_INIT;
    server->snap_metrics = (struct snap_metrics)SNAP_METRICS_INIT;
    server->published.run = serve_clients;
    server->removed.run = removal_begins;
    server->told_removed.run = told_removed;
    server->removal.run = removal_is_over;
    server->upkeep.run = upkeep_due;
    descriptors_raise_limit();
    struct error *error = start(server);
    if (error != NULL) return error; /* the process ends; the system takes back what was opened */
    catch_signals(server);
    loop_timer_set(server->control, &server->upkeep, clock_monotonic());
    server->compactor = compactor_new(&(const struct compactor_config){
        .loop = server->control,
        .engine = server->engine,
        .period = options->auto_compaction_period,
        .revisions = options->auto_compaction_revisions,
        .logger = logger,
    });
    loop_run(server->control);
    error = server_stop(server);
    *signal_number = server->signal_number;
    cluster_urls_deinit(&server->client_urls);
    bootstrap_deinit(&server->bootstrap);
    security_deinit(&server->security);
    arena_free(server->memory);
    free(server);
    return error;
}
