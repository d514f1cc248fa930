#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)

enum {
    CHAOS_SECONDS = 36,
    LOAD_SECONDS = 6,     /* then load without faults */
    SILENCE_SECONDS = 16, /* then what is under way comes to its end, leases too */
    ANSWER_SECONDS = 2,
    EVENTS_AT_ONCE_MAX = 100000, /* so many without time passing: somebody turns in a circle */
};

/* ---- telling ---- */

void world_give_up(const struct world *world, const char *format, ...)
{
    char text[PLAN_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (world->plan->record != NULL) {
        snprintf(world->plan->record->failure, sizeof(world->plan->record->failure), "%s", text);
        world->plan->record->failed_at = sim_cluster_now(world->cluster);
    }
    world_tell(world, "%s", text);
    fprintf(stderr, "seed %llu: %s\n", (unsigned long long)world->plan->seed, text);
    fflush(NULL);
    abort();
}

void world_tell(const struct world *world, const char *format, ...)
{
    if (!world->plan->tells) return;
    va_list arguments;
    va_start(arguments, format);
    printf("%12.6f  ", (double)sim_cluster_now(world->cluster) / 1e9);
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
}

static void tell_leader(struct world *world, size_t member)
{
    if (!world->plan->tells) return;
    struct raft_status status =
        raft_status(node_raft(sim_member_node(sim_cluster_member(world->cluster, member))));
    if (status.soft_state.role != RAFT_LEADER || status.hard_state.term <= world->led_term) return;
    world->led_term = status.hard_state.term;
    world_tell(world, "m%zu leads in term %llu", member, (unsigned long long)world->led_term);
}

static void look(const struct world *world)
{
    const char *violation = sim_checker_violation(world->checker);
    if (violation != NULL) world_give_up(world, "%s", violation);
}

/* ---- callbacks ---- */

static void on_reply(void *context, size_t member, struct node_request *request)
{
    struct world *world = context;
    workload_reply(world->workload, member, request);
}

static void on_watch(void *context, size_t member, struct watch_message *message)
{
    struct world *world = context;
    workload_watch(world->workload, member, message);
}

static void on_event(void *context, const struct sim_event *event)
{
    struct world *world = context;
    if (world->checker == NULL) return;
    sim_checker_event(world->checker, event);
    workload_event(world->workload, event);
    faults_event(world, event);
    if (event->kind == SIM_EVENT_RUN) tell_leader(world, event->member);
    if (event->kind == SIM_EVENT_RECEIVE)
        world_tell(world, "m%zu receives the database of m%zu: %s", event->member, event->peer,
                   event->text == NULL ? "good" : event->text);
}

/* ---- a run ---- */

/* The events up to that time, as far as nobody is doomed by one of them. */
static void step_until(struct world *world, int64_t until)
{
    int64_t at = sim_cluster_now(world->cluster);
    for (uint64_t at_once = 0; !world->faults.somebody_doomed && sim_cluster_step(world->cluster, until);
         at_once++) {
        look(world);
        if (sim_cluster_now(world->cluster) > at) at_once = 0;
        at = sim_cluster_now(world->cluster);
        if (at_once > EVENTS_AT_ONCE_MAX) world_give_up(world, "time stands still");
    }
    look(world);
}

static void run_until(struct world *world, int64_t end)
{
    while (sim_cluster_now(world->cluster) < end) {
        int64_t until = faults_next(world), wish = workload_next(world->workload);
        if (wish < until) until = wish;
        if (end < until) until = end;
        step_until(world, until);
        faults_run(world);
        workload_run(world->workload);
        look(world);
        if (world->plan->until != 0 && sim_cluster_now(world->cluster) > world->plan->until) _exit(0);
    }
}

/* How every member and a leader's view of it stand, for a story that ends badly. */
static void tell_states(struct world *world)
{
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        if (!sim_cluster_is_up(world->cluster, i)) continue;
        const struct raft *raft = node_raft(sim_member_node(sim_cluster_member(world->cluster, i)));
        struct raft_status status = raft_status(raft);
        world_tell(world, "m%zu (%llx): role %d, term %llu, committed %llu, log %llu to %llu", i,
                   (unsigned long long)status.id, (int)status.soft_state.role,
                   (unsigned long long)status.hard_state.term, (unsigned long long)status.hard_state.commit,
                   (unsigned long long)status.first_index, (unsigned long long)status.last_index);
        for (size_t k = 0; status.soft_state.role == RAFT_LEADER && k < raft_progress_count(raft); k++) {
            struct raft_progress_status progress = raft_progress_at(raft, k);
            world_tell(world, "  %llx: state %d, match %llu, next %llu, snapshot %llu, paused %d, active %d",
                       (unsigned long long)progress.id, (int)progress.state,
                       (unsigned long long)progress.match, (unsigned long long)progress.next,
                       (unsigned long long)progress.pending_snapshot, (int)progress.paused,
                       (int)progress.recent_active);
        }
    }
}

/* Everybody has everything, and nothing that nobody holds on to is left. */
static void check_recovered(struct world *world)
{
    const struct sim_model *model = sim_checker_model(world->checker);
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        if (operator_is_without(world, i)) continue;
        if (sim_member_consistent_index(sim_cluster_member(world->cluster, i)) !=
            sim_model_last_index(model)) {
            tell_states(world);
            world_give_up(world, "m%zu has not caught up after the faults ended", i);
        }
    }
    if (sim_model_lease_count(model) > 0) world_give_up(world, "a lease outlives its time");
    if (workload_under_way(world->workload) > 0) world_give_up(world, "a request was never answered");
    workload_check_watchers(world->workload);
    look(world);
}

/* Small limits bring about often what is rare with those of the product. */
static void choose_limits(struct world *world, struct rng *rng)
{
    world->limits = node_limits_default();
    if (rng_chance(rng, 1, 4)) return;
    world->limits.watch_window_bytes = 256 + rng_below(rng, 4096);
    /* So that a compaction is long under way, and yet ends within the silence. */
    world->limits.compaction_rows = 8 + rng_below(rng, 40);
    world->limits.compaction_pause = (int64_t)rng_below(rng, 10 * MILLISECOND);
    world->limits.range_slice = 1 + rng_below(rng, 20);
    /* Entries go one by one, so that others have a part of what a leader has. */
    if (rng_chance(rng, 1, 2)) world->limits.max_message_bytes = rng_below(rng, 300);
    /* Members that are behind are sent databases, some while they install one. */
    world->limits.log_compact_step = 1 + rng_below(rng, 40);
    if (rng_chance(rng, 1, 3)) world->limits.log_memory_bytes = 500 + rng_below(rng, 10000);
}

static void tell_options(const struct world *world, const struct sim_cluster_options *options)
{
    const struct node_limits *limits = &world->limits;
    world_tell(
        world,
        "%zu members keep %llu entries or %llu bytes, look every %llu entries, send %llu bytes at once",
        options->members, (unsigned long long)options->catch_up_entries,
        (unsigned long long)limits->log_memory_bytes, (unsigned long long)limits->log_compact_step,
        (unsigned long long)limits->max_message_bytes);
    world_tell(world, "databases take %lld ms to be read and %lld ms to be installed",
               (long long)(options->read_time / MILLISECOND),
               (long long)(options->install_time / MILLISECOND));
}

static void set_up(struct world *world, struct plan *plan)
{
    static const uint64_t keep_most[] = {0, 1, 2, 5, 10, 10, 20, 60};
    static const size_t sizes[] = {3, 3, 3, 5, 3, 1, 4, 2, 3, 1, 7};
    struct rng rng;
    *world = (struct world){.plan = plan};
    rng_init(&rng, plan->seed);
    choose_limits(world, &rng);
    world->faults.link = (struct sim_link){.delay = MILLISECOND / 2, .jitter = MILLISECOND};
    struct sim_cluster_options options = {
        .seed = rng_next(&rng),
        .members = sizes[plan->seed % (sizeof(sizes) / sizeof(sizes[0]))],
        .link = world->faults.link,
        .snapshot_count = 20 + rng_below(&rng, 300),
        .catch_up_entries = keep_most[rng_below(&rng, sizeof(keep_most) / sizeof(keep_most[0]))],
        .wal_segment_size = 16384 + rng_below(&rng, 200000),
        .backend_batch_limit = 1 + rng_below(&rng, 300),
        .lease_checkpoint_interval = rng_chance(&rng, 1, 3) ? (int64_t)rng_below(&rng, 3 * SECOND) : 0,
        .limits = &world->limits,
        .watch_progress_interval = rng_chance(&rng, 1, 2) ? SECOND : 0,
        .write_time = MILLISECOND,
        .read_time = rng_chance(&rng, 1, 2) ? (int64_t)rng_below(&rng, SECOND) : 0,
        .install_time = rng_chance(&rng, 1, 2) ? (int64_t)rng_below(&rng, 2 * SECOND) : 0,
        .logger = &log_discard,
        .on_reply = on_reply,
        .on_watch = on_watch,
        .on_event = on_event,
        .context = world,
    };
    world->cluster = sim_cluster_new(&options);
    tell_options(world, &options);
    world->operator.founders = options.members;
    world->checker = sim_checker_new(world->cluster);
    world->workload = workload_new(world, &rng);
    faults_init(world, &rng);
}

void totals_add(struct totals *totals, const struct totals *more)
{
    /* All of them are counters. */
    uint64_t *to = (uint64_t *)(void *)totals;
    const uint64_t *from = (const uint64_t *)(const void *)more;
    for (size_t i = 0; i < sizeof(*totals) / sizeof(uint64_t); i++) to[i] += from[i];
}

uint64_t world_run(struct plan *plan, struct totals *totals)
{
    struct world world;
    set_up(&world, plan);
    run_until(&world, CHAOS_SECONDS * SECOND);
    faults_end(&world);
    run_until(&world, (CHAOS_SECONDS + LOAD_SECONDS) * SECOND);
    workload_quiet(world.workload);
    run_until(&world, (CHAOS_SECONDS + LOAD_SECONDS + SILENCE_SECONDS) * SECOND);
    workload_ask_all(world.workload);
    run_until(&world, (CHAOS_SECONDS + LOAD_SECONDS + SILENCE_SECONDS + ANSWER_SECONDS) * SECOND);
    check_recovered(&world);
    struct totals one = {
        .seeds = 1,
        .simulated_ms = (uint64_t)(sim_cluster_now(world.cluster) / MILLISECOND),
        .faults = world.faults.count,
        .elections = sim_checker_elections(world.checker),
        .events = sim_cluster_events(world.cluster),
        .checks = sim_checker_checks(world.checker),
        .installs = sim_cluster_installs(world.cluster),
        .counts = workload_counts(world.workload),
        .fault_counts = world.faults.counts,
    };
    totals_add(totals, &one);
    uint64_t trace = sim_cluster_trace(world.cluster);
    sim_cluster_free(world.cluster);
    sim_checker_free(world.checker);
    workload_free(world.workload);
    return trace;
}
