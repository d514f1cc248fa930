/* Whole clusters under random faults, on simulated time: nothing that was promised is broken (sim/checker.h),
 * and when the faults end the cluster recovers.
 *
 *     test_sim_cluster                        a fixed set of seeds
 *     test_sim_cluster SEED                   that one again
 *     test_sim_cluster FIRST COUNT [JOBS]     many, in parallel processes; stops at the first that fails
 *     test_sim_cluster FIRST 0 [JOBS]         on and on, until one fails or SIM_SECONDS are over
 *     test_sim_cluster shrink SEED            what is needed of it to fail
 *     test_sim_cluster tell SEED              what happens in it, line by line
 *
 * A failing seed prints itself, is shrunk (unless SIM_NO_SHRINK is set), and what is left of it is told. Exit
 * status 1. */
#include "shrink.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_SEEDS = 16, JOBS_MAX = 64, AT_ONCE = 512 };

static uint64_t run_seed(uint64_t seed, struct totals *totals)
{
    struct plan plan = {.seed = seed};
    return world_run(&plan, totals);
}

/* ---- many seeds ---- */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_totals(const struct totals *totals, double seconds)
{
    const struct workload_counts *counts = &totals->counts;
    const struct fault_counts *faults = &totals->fault_counts;
    printf("%llu seeds, %.2f simulated hours, %llu faults (%llu disk errors, %llu times defragmented, "
           "%llu members added, %llu removed, %llu of them replaced), %llu elections, "
           "%llu databases installed, %llu events; %llu writes acknowledged, %llu refused, "
           "%llu of unknown outcome, %llu reads, %llu keep-alives, %llu watch responses; "
           "%llu answers checked, %.0f per minute\n",
           (unsigned long long)totals->seeds, (double)totals->simulated_ms / 3.6e6,
           (unsigned long long)totals->faults, (unsigned long long)faults->disk_errors,
           (unsigned long long)faults->defragmented, (unsigned long long)faults->members_added,
           (unsigned long long)faults->members_removed, (unsigned long long)faults->members_replaced,
           (unsigned long long)totals->elections, (unsigned long long)totals->installs,
           (unsigned long long)totals->events, (unsigned long long)counts->acknowledged,
           (unsigned long long)counts->refused, (unsigned long long)counts->unknown,
           (unsigned long long)counts->reads, (unsigned long long)counts->keep_alives,
           (unsigned long long)counts->watch_responses, (unsigned long long)totals->checks,
           (double)totals->checks / seconds * 60);
    flips_print(&faults->flips);
    fflush(stdout);
}

/* What the processes of a run share: which seed each is at. A process that dies leaves its own there. */
struct board {
    uint64_t at[JOBS_MAX];
    struct totals totals[JOBS_MAX];
};

/* A process of its own for every `jobs`-th seed. */
static pid_t start_job(struct board *board, uint64_t first, uint64_t count, uint64_t jobs, uint64_t job)
{
    pid_t child = fork();
    if (child != 0) return child;
    for (uint64_t i = job; i < count; i += jobs) {
        board->at[job] = first + i;
        run_seed(first + i, &board->totals[job]);
    }
    _exit(0);
}

/* The first seed that failed goes to *failed. */
static bool run_parallel(uint64_t first, uint64_t count, uint64_t jobs, struct totals *totals,
                         uint64_t *failed)
{
    struct board *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[JOBS_MAX];
    bool good = true;
    if (board == MAP_FAILED) abort();
    for (uint64_t job = 0; job < jobs; job++) children[job] = start_job(board, first, count, jobs, job);
    for (uint64_t job = 0; job < jobs; job++) {
        int status = 0;
        if (waitpid(children[job], &status, 0) == children[job] && status == 0) {
            totals_add(totals, &board->totals[job]);
            continue;
        }
        if (good || board->at[job] < *failed) *failed = board->at[job];
        good = false;
    }
    munmap(board, sizeof(*board));
    return good;
}

/* The same seed is the same run, event by event. */
static bool check_repeatable(uint64_t seed)
{
    struct totals totals = {0};
    uint64_t first = run_seed(seed, &totals), second = run_seed(seed, &totals);
    if (first != second) fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)seed);
    return first == second;
}

static int run_many(uint64_t first, uint64_t count, uint64_t jobs)
{
    const char *limit = getenv("SIM_SECONDS");
    double begun = seconds_now(), until = limit == NULL ? 0 : begun + strtod(limit, NULL);
    struct totals totals = {0};
    uint64_t failed = 0;
    bool endless = count == 0, good = true;
    for (uint64_t done = 0; good && (endless ? until == 0 || seconds_now() < until : done < count);) {
        uint64_t some = endless || count - done > AT_ONCE ? AT_ONCE : count - done;
        if (endless && some > 32 * jobs) some = 32 * jobs;
        good = run_parallel(first + done, some, jobs, &totals, &failed);
        done += some;
        if (good && (endless || count > AT_ONCE)) print_totals(&totals, seconds_now() - begun);
    }
    if (good && !endless && count <= AT_ONCE) print_totals(&totals, seconds_now() - begun);
    if (good) return 0;
    fflush(NULL);
    printf("seed %llu fails; to run it again: make simulate SEED=%llu SEEDS=1\n", (unsigned long long)failed,
           (unsigned long long)failed);
    if (getenv("SIM_NO_SHRINK") == NULL) shrink_seed(failed, SHRINK_SECONDS);
    return 1;
}

static int tell(uint64_t seed)
{
    struct plan plan = {.seed = seed, .tells = true};
    struct totals totals = {0};
    world_run(&plan, &totals);
    print_totals(&totals, 1);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "tell") == 0) return tell(strtoull(argv[2], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "shrink") == 0)
        return shrink_seed(strtoull(argv[2], NULL, 10), SHRINK_SECONDS) ? 0 : 1;
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : DEFAULT_SEEDS;
    uint64_t jobs = argc > 3 ? strtoull(argv[3], NULL, 10) : argc > 1 ? 1 : 2;
    if (jobs < 1 || jobs > JOBS_MAX) jobs = 1;
    int status = run_many(first, count, jobs);
    if (argc == 1 && status == 0) status = check_repeatable(first) ? 0 : 1;
    return status;
}
