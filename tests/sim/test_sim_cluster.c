/* Whole clusters under random faults, on simulated time: nothing that was promised is broken (sim/checker.h),
 * and when the faults end the cluster recovers.
 *
 *     test_sim_cluster                        a fixed set of seeds
 *     test_sim_cluster SEED                   that one again
 *     test_sim_cluster FIRST COUNT [JOBS]     many, in parallel processes
 *
 * A failing seed prints itself. */
#include "base/memory.h"
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)

enum {
    DEFAULT_SEEDS = 16,
    JOBS_MAX = 64,
    CHAOS_SECONDS = 40,
    RECOVERY_SECONDS = 30,
    EVENTS_AT_ONCE_MAX = 100000, /* so many without time passing: somebody turns in a circle */
};

/* What a seed, or many, came to. */
struct totals {
    uint64_t seeds, simulated_ms, faults, elections, events, checks, installs;
    struct workload_counts counts;
};

struct fate {
    int64_t restart_at, resume_at, heal_disk_at; /* INT64_MAX: nothing is due */
    bool power_cut;                              /* its disk may fail at any time */
    bool doomed;                                 /* falls as soon as it has voted */
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct sim_cluster *cluster;
    struct sim_checker *checker;
    struct workload *workload;
    struct fate fates[SIM_CLUSTER_MEMBERS_MAX];
    int64_t next_fault, heal_network_at;
    struct sim_link link;
    uint64_t faults;
    bool somebody_doomed;
};

static void __attribute__((noreturn)) give_up(const struct world *world, const char *text)
{
    fprintf(stderr, "seed %llu: %s\n", (unsigned long long)world->seed, text);
    abort();
}

static void look(const struct world *world)
{
    const char *violation = sim_checker_violation(world->checker);
    if (violation != NULL) give_up(world, violation);
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

/* What a member has promised it must remember: some fall just after they voted, and are back at once. */
static void doom_voter(struct world *world, const struct sim_event *event)
{
    if (world->next_fault == INT64_MAX || !rng_chance(&world->rng, 1, 4)) return;
    world->fates[event->member].doomed = world->somebody_doomed = true;
}

static void on_event(void *context, const struct sim_event *event)
{
    struct world *world = context;
    if (world->checker == NULL) return;
    sim_checker_event(world->checker, event);
    workload_event(world->workload, event);
    if (event->kind == SIM_EVENT_SEND && event->message->type == RAFT_VOTE_RESP) doom_voter(world, event);
    if (event->kind != SIM_EVENT_FAIL) return;
    struct fate *fate = &world->fates[event->member];
    if (!fate->power_cut) give_up(world, event->text);
    fate->restart_at = event->at + 1 + (int64_t)rng_below(&world->rng, 3 * SECOND);
}

/* ---- faults ---- */

static int64_t later(struct world *world, int64_t most)
{
    return sim_cluster_now(world->cluster) + 1 + (int64_t)rng_below(&world->rng, (uint64_t)most);
}

static size_t some_member(struct world *world)
{
    return (size_t)rng_below(&world->rng, sim_cluster_members(world->cluster));
}

static void crash(struct world *world, size_t member)
{
    switch (rng_below(&world->rng, 3)) {
    case 0:
        sim_cluster_kill(world->cluster, member);
        break;
    case 1:
        sim_cluster_crash(world->cluster, member, FS_SIM_LOSE_ALL);
        break;
    default:
        sim_cluster_crash(world->cluster, member, FS_SIM_RANDOM);
    }
    bool soon = rng_chance(&world->rng, 1, 3);
    world->fates[member].restart_at = later(world, soon ? 50 * MILLISECOND : 4 * SECOND);
    world->fates[member].power_cut = false;
    world->fates[member].resume_at = INT64_MAX;
}

static void crash_one(struct world *world)
{
    size_t member = some_member(world);
    if (sim_cluster_is_up(world->cluster, member)) crash(world, member);
}

/* Everybody at once: only what is on the disks is left. */
static void crash_all(struct world *world)
{
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++)
        if (sim_cluster_is_up(world->cluster, i)) crash(world, i);
}

static void strike_the_doomed(struct world *world)
{
    if (!world->somebody_doomed) return;
    world->somebody_doomed = false;
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        struct fate *fate = &world->fates[i];
        if (!fate->doomed) continue;
        fate->doomed = false;
        if (!sim_cluster_is_up(world->cluster, i)) continue;
        crash(world, i);
        fate->restart_at = later(world, 20 * MILLISECOND);
        world->faults++;
    }
}

static void cut_power_soon(struct world *world)
{
    size_t member = some_member(world);
    if (!sim_cluster_is_up(world->cluster, member)) return;
    world->fates[member].power_cut = true;
    fs_sim_cut_power_after(sim_member_disk(sim_cluster_member(world->cluster, member)),
                           rng_below(&world->rng, 60));
}

static void pause_one(struct world *world)
{
    size_t member = some_member(world);
    if (!sim_cluster_is_up(world->cluster, member) || sim_cluster_is_paused(world->cluster, member)) return;
    sim_cluster_pause(world->cluster, member, rng_chance(&world->rng, 1, 2));
    world->fates[member].resume_at = later(world, 6 * SECOND);
}

static void slow_disk(struct world *world)
{
    size_t member = some_member(world);
    sim_member_set_write_time(sim_cluster_member(world->cluster, member),
                              (1 + (int64_t)rng_below(&world->rng, 300)) * MILLISECOND);
    world->fates[member].heal_disk_at = later(world, 5 * SECOND);
}

static void purge_files(struct world *world)
{
    size_t member = some_member(world);
    if (!sim_cluster_is_up(world->cluster, member)) return;
    struct error *error = sim_member_purge(sim_cluster_member(world->cluster, member));
    if (error != NULL && !world->fates[member].power_cut) give_up(world, error->text);
    error_free(error);
}

static void clock_drift(struct world *world)
{
    sim_cluster_set_clock_rate(world->cluster, some_member(world),
                               SIM_CLOCK_RATE_ONE - 30 + (int64_t)rng_below(&world->rng, 61));
}

/* Two sides that do not hear each other; with a bridge one member hears both. */
static void partition(struct world *world)
{
    struct sim_network *network = sim_cluster_network(world->cluster);
    size_t members = sim_cluster_members(world->cluster), bridge = some_member(world);
    uint64_t sides = rng_next(&world->rng);
    bool with_bridge = rng_chance(&world->rng, 1, 3);
    sim_network_heal(network);
    for (size_t a = 0; a < members; a++)
        for (size_t b = 0; b < a; b++) {
            if ((sides >> a & 1) == (sides >> b & 1)) continue;
            if (with_bridge && (a == bridge || b == bridge)) continue;
            sim_network_cut(network, a, b, true);
        }
    world->heal_network_at = later(world, 6 * SECOND);
}

static void cut_one_way(struct world *world)
{
    size_t from = some_member(world), to = some_member(world);
    bool everybody = rng_chance(&world->rng, 1, 2), inward = rng_chance(&world->rng, 1, 2);
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        if (i == from || (!everybody && i != to)) continue;
        struct sim_network *network = sim_cluster_network(world->cluster);
        (inward ? sim_network_link(network, i, from) : sim_network_link(network, from, i))->cut = true;
    }
    world->heal_network_at = later(world, 6 * SECOND);
}

static void set_links(struct world *world, const struct sim_link *link)
{
    size_t members = sim_cluster_members(world->cluster);
    for (size_t a = 0; a < members; a++)
        for (size_t b = 0; b < members; b++) {
            if (a == b) continue;
            struct sim_link *present = sim_network_link(sim_cluster_network(world->cluster), a, b);
            bool cut = present->cut;
            *present = *link;
            present->cut = cut;
        }
}

static void bad_network(struct world *world)
{
    struct sim_link link = {
        .delay = (int64_t)rng_below(&world->rng, 20 * MILLISECOND),
        .jitter = (int64_t)rng_below(&world->rng, 400 * MILLISECOND),
        .loss = (uint32_t)rng_below(&world->rng, 3000),
        .duplication = (uint32_t)rng_below(&world->rng, 3000),
    };
    set_links(world, &link);
    world->heal_network_at = later(world, 5 * SECOND);
}

/* Elections with votes that take long, so that several ask for them in the same term. */
static void hard_election(struct world *world)
{
    struct sim_link link = {.jitter = 50 * MILLISECOND + (int64_t)rng_below(&world->rng, 400 * MILLISECOND),
                            .duplication = 2000};
    set_links(world, &link);
    world->heal_network_at = later(world, 10 * SECOND);
    crash_all(world);
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++)
        if (!sim_cluster_is_up(world->cluster, i))
            world->fates[i].restart_at = later(world, 100 * MILLISECOND);
}

static void some_fault(struct world *world)
{
    static void (*const faults[])(struct world * world) = {
        crash_one, crash_one,   crash_all, cut_power_soon, pause_one,   pause_one,     slow_disk,   slow_disk,
        partition, clock_drift, partition, cut_one_way,    bad_network, hard_election, purge_files,
    };
    faults[rng_below(&world->rng, sizeof(faults) / sizeof(faults[0]))](world);
    world->faults++;
    world->next_fault = later(world, 3 * SECOND);
}

static void restart(struct world *world, size_t member)
{
    struct fate *fate = &world->fates[member];
    fate->restart_at = INT64_MAX;
    if (fate->power_cut) crash(world, member);
    fate->restart_at = INT64_MAX;
    struct error *error = sim_cluster_start(world->cluster, member);
    if (error != NULL) give_up(world, error->text);
}

static void calm(struct world *world, size_t member)
{
    world->fates[member].heal_disk_at = INT64_MAX;
    sim_member_set_write_time(sim_cluster_member(world->cluster, member), MILLISECOND);
}

static void mend(struct world *world)
{
    int64_t now = sim_cluster_now(world->cluster);
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        struct fate *fate = &world->fates[i];
        if (fate->restart_at <= now) restart(world, i);
        if (fate->resume_at <= now) {
            fate->resume_at = INT64_MAX;
            sim_cluster_resume(world->cluster, i);
        }
        if (fate->heal_disk_at <= now) calm(world, i);
    }
    if (world->heal_network_at <= now) {
        world->heal_network_at = INT64_MAX;
        sim_network_heal(sim_cluster_network(world->cluster));
        set_links(world, &world->link);
    }
}

static int64_t next_change(const struct world *world)
{
    int64_t next = world->next_fault < world->heal_network_at ? world->next_fault : world->heal_network_at;
    for (size_t i = 0; i < SIM_CLUSTER_MEMBERS_MAX; i++) {
        const struct fate *fate = &world->fates[i];
        if (fate->restart_at < next) next = fate->restart_at;
        if (fate->resume_at < next) next = fate->resume_at;
        if (fate->heal_disk_at < next) next = fate->heal_disk_at;
    }
    return next;
}

/* ---- one seed ---- */

/* The events up to that time, as far as nobody is doomed by one of them. */
static void step_until(struct world *world, int64_t until)
{
    int64_t at = sim_cluster_now(world->cluster);
    for (uint64_t at_once = 0; !world->somebody_doomed && sim_cluster_step(world->cluster, until);
         at_once++) {
        look(world);
        if (sim_cluster_now(world->cluster) > at) at_once = 0;
        at = sim_cluster_now(world->cluster);
        if (at_once > EVENTS_AT_ONCE_MAX) give_up(world, "time stands still");
    }
    look(world);
}

static void run_until(struct world *world, int64_t end)
{
    while (sim_cluster_now(world->cluster) < end) {
        int64_t until = next_change(world), wish = workload_next(world->workload);
        if (wish < until) until = wish;
        if (end < until) until = end;
        step_until(world, until);
        strike_the_doomed(world);
        mend(world);
        if (world->next_fault <= sim_cluster_now(world->cluster)) some_fault(world);
        workload_run(world->workload);
        look(world);
    }
}

static void end_faults(struct world *world)
{
    int64_t now = sim_cluster_now(world->cluster);
    world->next_fault = INT64_MAX;
    world->heal_network_at = now;
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        struct fate *fate = &world->fates[i];
        if (fate->power_cut && sim_cluster_is_up(world->cluster, i)) crash(world, i);
        fate->resume_at = fate->heal_disk_at = now;
        if (!sim_cluster_is_up(world->cluster, i)) fate->restart_at = now;
    }
    mend(world);
}

/* Everybody has everything, and nothing that nobody holds on to is left. */
static void check_recovered(struct world *world)
{
    const struct sim_model *model = sim_checker_model(world->checker);
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        struct sim_member *member = sim_cluster_member(world->cluster, i);
        if (sim_member_consistent_index(member) != sim_model_last_index(model))
            give_up(world, "a member has not caught up after the faults ended");
    }
    if (sim_model_lease_count(model) > 0) give_up(world, "a lease outlives its time");
    if (workload_under_way(world->workload) > 0) give_up(world, "a request was never answered");
    workload_check_watchers(world->workload);
    look(world);
}

static void set_up(struct world *world, uint64_t seed)
{
    static const size_t sizes[] = {3, 3, 3, 5, 3, 1, 4, 2, 3, 5, 7};
    *world = (struct world){.seed = seed, .heal_network_at = INT64_MAX};
    rng_init(&world->rng, seed);
    world->link = (struct sim_link){.delay = MILLISECOND / 2, .jitter = MILLISECOND};
    struct sim_cluster_options options = {
        .seed = rng_next(&world->rng),
        .members = sizes[seed % (sizeof(sizes) / sizeof(sizes[0]))],
        .link = world->link,
        .snapshot_count = 20 + rng_below(&world->rng, 300),
        .catch_up_entries = rng_chance(&world->rng, 1, 5) ? 0 : 1 + rng_below(&world->rng, 60),
        .wal_segment_size = 16384 + rng_below(&world->rng, 200000),
        .backend_batch_limit = 1 + rng_below(&world->rng, 300),
        .lease_checkpoint_interval =
            rng_chance(&world->rng, 1, 3) ? (int64_t)rng_below(&world->rng, 3 * SECOND) : 0,
        .write_time = MILLISECOND,
        .logger = &log_discard,
        .on_reply = on_reply,
        .on_watch = on_watch,
        .on_event = on_event,
        .context = world,
    };
    world->cluster = sim_cluster_new(&options);
    world->checker = sim_checker_new(world->cluster);
    world->workload = workload_new(rng_next(&world->rng), world->cluster, world->checker);
    for (size_t i = 0; i < SIM_CLUSTER_MEMBERS_MAX; i++)
        world->fates[i] = (struct fate){.restart_at = i < options.members ? later(world, SECOND) : INT64_MAX,
                                        .resume_at = INT64_MAX,
                                        .heal_disk_at = INT64_MAX};
    world->next_fault = later(world, 5 * SECOND);
}

static void add_counts(struct totals *totals, const struct totals *more)
{
    totals->seeds += more->seeds;
    totals->simulated_ms += more->simulated_ms;
    totals->faults += more->faults;
    totals->elections += more->elections;
    totals->events += more->events;
    totals->checks += more->checks;
    totals->installs += more->installs;
    totals->counts.acknowledged += more->counts.acknowledged;
    totals->counts.refused += more->counts.refused;
    totals->counts.unknown += more->counts.unknown;
    totals->counts.reads += more->counts.reads;
    totals->counts.keep_alives += more->counts.keep_alives;
    totals->counts.watch_responses += more->counts.watch_responses;
}

/* Returns the digest of all that happened. */
static uint64_t run_seed(uint64_t seed, struct totals *totals)
{
    struct world world;
    set_up(&world, seed);
    run_until(&world, CHAOS_SECONDS * SECOND);
    end_faults(&world);
    run_until(&world, (CHAOS_SECONDS + RECOVERY_SECONDS / 3) * SECOND);
    workload_quiet(world.workload);
    run_until(&world, (CHAOS_SECONDS + RECOVERY_SECONDS) * SECOND);
    workload_ask_all(world.workload);
    run_until(&world, (CHAOS_SECONDS + RECOVERY_SECONDS + 2) * SECOND);
    check_recovered(&world);
    struct totals one = {
        .seeds = 1,
        .simulated_ms = (uint64_t)(sim_cluster_now(world.cluster) / MILLISECOND),
        .faults = world.faults,
        .elections = sim_checker_elections(world.checker),
        .events = sim_cluster_events(world.cluster),
        .checks = sim_checker_checks(world.checker),
        .installs = sim_cluster_installs(world.cluster),
        .counts = workload_counts(world.workload),
    };
    add_counts(totals, &one);
    uint64_t trace = sim_cluster_trace(world.cluster);
    sim_cluster_free(world.cluster);
    sim_checker_free(world.checker);
    workload_free(world.workload);
    return trace;
}

/* ---- many seeds ---- */

static void print_totals(const struct totals *totals, double seconds)
{
    printf("%llu seeds, %.2f simulated hours, %llu faults, %llu elections, %llu databases installed, "
           "%llu events; %llu writes acknowledged, %llu refused, %llu of unknown outcome, %llu reads, %llu "
           "keep-alives, %llu watch "
           "responses; %llu answers checked, %.0f per minute\n",
           (unsigned long long)totals->seeds, (double)totals->simulated_ms / 3.6e6,
           (unsigned long long)totals->faults, (unsigned long long)totals->elections,
           (unsigned long long)totals->installs, (unsigned long long)totals->events,
           (unsigned long long)totals->counts.acknowledged, (unsigned long long)totals->counts.refused,
           (unsigned long long)totals->counts.unknown, (unsigned long long)totals->counts.reads,
           (unsigned long long)totals->counts.keep_alives, (unsigned long long)totals->counts.watch_responses,
           (unsigned long long)totals->checks, (double)totals->checks / seconds * 60);
}

/* A process of its own for every `jobs`-th seed; what it found comes through the pipe. */
static int start_job(uint64_t first, uint64_t count, uint64_t jobs, uint64_t job)
{
    int ends[2];
    if (pipe(ends) != 0) return -1;
    pid_t child = fork();
    if (child < 0) return -1;
    if (child > 0) {
        close(ends[1]);
        return ends[0];
    }
    struct totals totals = {0};
    for (uint64_t i = job; i < count; i += jobs) run_seed(first + i, &totals);
    _exit(write(ends[1], &totals, sizeof(totals)) == (ssize_t)sizeof(totals) ? 0 : 1);
}

static bool run_parallel(uint64_t first, uint64_t count, uint64_t jobs, struct totals *totals)
{
    int pipes[JOBS_MAX];
    bool good = true;
    for (uint64_t job = 0; job < jobs; job++) pipes[job] = start_job(first, count, jobs, job);
    for (uint64_t job = 0; job < jobs; job++) {
        struct totals one;
        int status = 0;
        good = good && pipes[job] >= 0 && read(pipes[job], &one, sizeof(one)) == (ssize_t)sizeof(one);
        if (good) add_counts(totals, &one);
        if (pipes[job] >= 0) close(pipes[job]);
        good = wait(&status) > 0 && status == 0 && good;
    }
    return good;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The same seed is the same run, event by event. */
static bool check_repeatable(uint64_t seed)
{
    struct totals totals = {0};
    uint64_t first = run_seed(seed, &totals), second = run_seed(seed, &totals);
    if (first != second) fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)seed);
    return first == second;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : DEFAULT_SEEDS;
    uint64_t jobs = argc > 3 ? strtoull(argv[3], NULL, 10) : argc > 1 ? 1 : 2;
    struct totals totals = {0};
    double begun = seconds_now();
    bool good = true;
    if (jobs < 1 || jobs > JOBS_MAX) jobs = 1;
    if (count == 1)
        run_seed(first, &totals);
    else
        good = run_parallel(first, count, jobs, &totals);
    if (good) print_totals(&totals, seconds_now() - begun);
    if (argc == 1) good = check_repeatable(first) && totals.installs > 0 && good;
    return good ? 0 : 1;
}
