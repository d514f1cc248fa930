/* world: one seed's run: a cluster, its clients, its faults, and the checker that watches.
 *
 * A run has three parts: faults and load; load alone, until the cluster has recovered; silence, after which
 * everybody must have everything. What is not as it should be ends the process (abort), with the seed and the
 * reason on stderr and in the plan's record: a run may also end by an assertion of the product, so whoever
 * wants to go on lets a child process do it. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "faults.h"
#include "operator.h"
#include "plan.h"
#include "workload.h"

/* What a seed, or many, came to. */
struct totals {
    uint64_t seeds, simulated_ms, faults, elections, events, checks, installs;
    struct workload_counts counts;
    struct fault_counts fault_counts;
};

struct world {
    struct plan *plan;
    struct sim_cluster *cluster;
    struct sim_checker *checker;
    struct workload *workload;
    struct faults faults;
    struct operator operator;
    struct node_limits limits;
    uint64_t led_term; /* the highest that was told of */
};

/* Runs the plan's seed and adds what happened. Returns the digest of all that happened. */
uint64_t world_run(struct plan *plan, struct totals *totals);
void totals_add(struct totals *totals, const struct totals *more);

/* Ends the run. */
void world_give_up(const struct world *world, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
/* A line of the story, if the plan tells it. */
void world_tell(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
