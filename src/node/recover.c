/* Building a node from what is on disk.
 *
 * The backend holds the state up to its consistent index; the log holds entries from the newest snapshot on.
 * raft starts as if nothing after the snapshot were applied and hands every committed entry out again; those
 * at or below the consistent index then only move raft's configuration and the membership view (apply.c). */
#include "node/node_internal.h"

#include "storage/backend.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_INFLIGHT_MESSAGES = 512, MAX_APPLYING_BYTES = 64 << 20 };

/* Ids: 16 bits of the member, 40 bits of milliseconds, 8 bits of count; unique over restarts because the
 * clock moves on faster than ids are used. */
static uint64_t first_id(uint64_t member_id, uint64_t wall_ms)
{
    return (member_id & 0xffff) << 48 | (wall_ms & ((UINT64_C(1) << 40) - 1)) << 8;
}

static struct error *check_indexes(const struct node *node, uint64_t snapshot_index)
{
    uint64_t consistent = backend_consistent_index(node->backend);
    uint64_t last = raft_memory_storage_last_index(node->log);
    if (consistent > last)
        return error_new(
            ERROR_CORRUPT,
            "the backend holds entries up to index %llu, but the log ends at %llu: entries were lost, "
            "and new ones would be taken for them",
            (unsigned long long)consistent, (unsigned long long)last);
    if (consistent < snapshot_index && consistent > 0)
        return error_new(ERROR_CORRUPT,
                         "database file (index %llu) does not match with snapshot (index %llu)",
                         (unsigned long long)consistent, (unsigned long long)snapshot_index);
    return NULL;
}

/* A state of a later release may hold what this one does not understand. */
static struct error *check_versions(struct node *node)
{
    struct version own, found;
    char text[NODE_VERSION_SIZE];
    if (!version_parse(bytes_from_string(node->config.version), &own)) return NULL;
    if (cluster_version(node->cluster, &found)) TRY(node_check_cluster_version(node, found));
    node_stored_version(node, text);
    if (text[0] == '\0') return NULL;
    if (!version_parse(bytes_from_string(text), &found))
        return error_new(ERROR_CORRUPT, "the database's storage version, \"%s\", is no version", text);
    if (version_compare_minor(own, found) < 0)
        return error_new(ERROR_INVALID,
                         "validating schema failed: version \"%s\" is not supported: this is %s, and the "
                         "database was written by a later etcd",
                         text, node->config.version);
    return NULL;
}

/* ---- the state ---- */

int64_t node_request_timeout(const struct node_config *config)
{
    return 5 * NODE_SECOND + 2 * config->tick * config->election_ticks;
}

/* Leases before keys, which attach themselves to them. */
static struct error *load_state(const struct node_config *config, struct backend *backend,
                                struct node_state *state)
{
    struct lessor_options leases = {
        .min_ttl = lessor_min_ttl(config->election_ticks, config->tick),
        .retry = node_request_timeout(config),
        .checkpoint_interval = config->lease_checkpoint_interval,
        .logger = config->logger,
    };
    struct cluster_options cluster = {
        .local_id = config->member_id,
        .cluster_id = config->cluster_id,
        .max_learners = config->max_learners,
        .logger = config->logger,
    };
    TRY(lessor_open(backend, &leases, &state->lessor));
    struct mvcc_options store = {.leases = lessor_leases(state->lessor), .logger = config->logger};
    TRY(mvcc_open(backend, &store, &state->store));
    log_info(config->logger, "kvstore restored", LOG_INT("current-rev", mvcc_revision(state->store)));
    state->cluster = cluster_new(&cluster);
    TRY(cluster_load(state->cluster, backend));
    TRY(node_alarms_recover(backend, config->logger, state));
    TRY(auth_store_open(backend, config->logger, &state->auth));
    backend_forget_pages(backend); /* the index is built; values are read one by one from now on */
    return NULL;
}

struct error *node_state_open(const struct node_config *config, struct backend *backend,
                              struct node_state **state)
{
    struct node_state *opened = mem_zalloc(1, sizeof(*opened));
    struct error *error = load_state(config, backend, opened);
    if (error != NULL) {
        node_state_free(opened);
        return error_wrap(error, "database %s", backend_path(backend));
    }
    *state = opened;
    return NULL;
}

void node_state_free(struct node_state *state)
{
    if (state == NULL) return;
    lessor_close(state->lessor);
    cluster_free(state->cluster);
    mvcc_close(state->store);
    auth_store_close(state->auth);
    free(state);
}

void node_exchange_state(struct node *node, struct node_state *state)
{
    struct node_state former = {.lessor = node->lessor,
                                .store = node->store,
                                .cluster = node->cluster,
                                .auth = node->auth};
    node->lessor = state->lessor;
    node->store = state->store;
    node->cluster = state->cluster;
    node->auth = state->auth;
    memcpy(node->alarms, state->alarms, state->alarm_count * sizeof(state->alarms[0]));
    node->alarm_count = state->alarm_count;
    kv_init(&node->kv, node->store);
    node->membership_changed = true;
    *state = former;
}

static struct error *build_state(struct node *node)
{
    struct node_state *state = NULL;
    TRY(node_state_open(&node->config, node->backend, &state));
    node_exchange_state(node, state);
    node_state_free(state);
    node->may_advance_ticks = node->config.initial_tick_advance;
    struct watch_options watches = {
        .window_bytes = node->config.limits.watch_window_bytes,
        .fragment_bytes = node->config.limits.max_request_bytes + 512 * 1024,
        .progress_interval = node->config.watch_progress_interval,
        .seed = rng_next(&node->rng),
    };
    node->watches = watch_hub_new(node->store, &watches);
    return NULL;
}

/* ---- raft ---- */

/* What was applied is committed, also when the commit index itself had no time to reach the disk. Members
 * that were added by these entries count for the quorum already: one that needs a snapshot before it can help
 * to commit anything would wait for ever for one, because snapshots are sent when all that the backend holds
 * is applied here. */
static void raise_commit_index(struct node *node)
{
    uint64_t consistent = backend_consistent_index(node->backend);
    if (node->log->hard_state.commit < consistent) node->log->hard_state.commit = consistent;
}

static struct error *build_raft(struct node *node)
{
    struct raft_config config = {
        .id = node->config.member_id,
        .election_tick = node->config.election_ticks,
        .heartbeat_tick = 1,
        .storage = &node->log->storage,
        .async_storage_writes = true,
        .max_size_per_message = node->config.limits.max_message_bytes,
        .max_committed_size_per_ready = MAX_APPLYING_BYTES,
        .max_inflight_messages = MAX_INFLIGHT_MESSAGES,
        .check_quorum = true,
        .pre_vote = node->config.pre_vote,
        .seed = rng_next(&node->rng),
        .logger = &node->raft_logger,
    };
    /* Also when there is no index yet: etcd 3.4 writes it with keys alone, and so leaves members that its log
     * adds again. The rows never hold a change that is not committed. */
    if (cluster_member_count(node->cluster) > 0) {
        cluster_conf_state(node->cluster, &node->log->snapshot.conf_state);
        node->removed = cluster_is_removed(node->cluster, node->config.member_id);
    }
    raise_commit_index(node);
    TRY(raft_new(&node->raft, &config));
    struct raft_status status = raft_status(node->raft);
    node->term = status.hard_state.term;
    node->committed = status.hard_state.commit;
    node->applied = status.applied;
    node->applied_term = node->log->compacted_term; /* raft starts behind the snapshot */
    watch_hub_set_header(node->watches, node->config.cluster_id, node->config.member_id, node->term);
    return NULL;
}

static void init_queues(struct node *node)
{
    struct node_request_queue *queues[] = {&node->proposed,    &node->member_changes,  &node->compactions,
                                           &node->reads_local, &node->settling,        &node->reads_waiting,
                                           &node->reads_asked, &node->reads_confirmed, &node->jobs,
                                           &node->transfers,   &node->unidentified};
    for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) TAILQ_INIT(queues[i]);
    STAILQ_INIT(&node->apply_queue);
    TAILQ_INIT(&node->held_watches);
}

struct error *node_new(const struct node_config *config, struct node_recovery *recovery, int64_t now,
                       uint64_t wall_ms, struct node **result)
{
    assert(config->tick > 0 && config->election_ticks > 1 && config->snapshot_count > 0);
    struct node *node = mem_zalloc(1, sizeof(*node));
    node->config = *config;
    node->logger = config->logger;
    node->raft_logger = *config->logger;
    node->raft_logger.name = "raft";
    node->now = now;
    node->wall_ms = wall_ms;
    node->next_tick = now + config->tick;
    node->request_timeout = node_request_timeout(config);
    node->backend = recovery->backend;
    node->log = recovery->log;
    recovery->log = NULL;
    node->arena = arena_new();
    node->tokens = auth_tokens_new(config->token_ttl);
    node->snapshot_index = recovery->snapshot_index;
    node->next_id = first_id(config->member_id, wall_ms);
    node->backend_durable = backend_consistent_index(node->backend);
    rng_init(&node->rng, config->seed);
    init_queues(node);
    node_init_histograms(&node->metrics);
    struct error *error = check_indexes(node, recovery->snapshot_index);
    if (error == NULL) error = build_state(node);
    if (error == NULL) error = check_versions(node);
    if (error == NULL) error = build_raft(node);
    if (error != NULL) {
        node_free(node);
        return error;
    }
    *result = node;
    return NULL;
}
