/* faults: what goes wrong in a simulated cluster, and how it is mended.
 *
 *   network      loss, duplication, reordering, delay; partitions into two sides, with a bridge between
 *                them, in one direction only; one cut off until it needs a database; what was being sent
 *                lost with the power
 *   members      killed, cut from power (with loss of what was not synced, in whole sectors or not at
 *                all), in the middle of a disk operation, just after a vote, all at once, leaders one after
 *                the other; stopped in order; paused, with or without their clock; leadership moved
 *   disks        slow; full; failing operations; flipped bits (flips.h)
 *   membership   changes (operator.h)
 *   time         clocks that run at different rates
 *   moments      compaction (also of all there ever was), defragmentation (also of a database that is being
 *                sent) and removal of old files, often with a power cut right after; databases sent and
 *                installed while members fall
 */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "base/rng.h"
#include "flips.h"
#include "sim/sim_cluster.h"

struct world;

struct fault_counts {
    uint64_t disk_errors, defragmented, members_added, members_removed, members_replaced;
    struct flip_counts flips;
};

/* What is in store for a member. INT64_MAX: nothing. */
struct fate {
    int64_t restart_at, resume_at, heal_disk_at, crash_at, defragment_at;
    bool may_fail;      /* by a fault of its disk */
    bool doomed;        /* falls at once: it has voted, or committed */
    bool reads;         /* its database, for another member, when it was last seen */
    bool falls_silent;  /* its next fall is a loss of power that nothing it was sending survives */
    int64_t down_for;   /* how long it stays down after the next crash; 0: some time */
    uint64_t flip_seed; /* a bit of its disk turns while it is down; 0: none */
};

struct faults {
    struct rng rng; /* of the fault at hand */
    struct fate fates[SIM_CLUSTER_MEMBERS_MAX];
    struct sim_link link; /* how links are when nothing is wrong */
    int64_t next, heal_network_at;
    int64_t pause_max; /* between two */
    bool membership;   /* changes as well */
    bool flips;        /* many, and anywhere on a disk */
    uint32_t number, votes, reigns, images, readings;
    bool short_reigns;    /* who becomes leader falls, or is not heard, soon after */
    uint64_t led_term;    /* the highest that anybody was seen to lead */
    uint64_t committed;   /* by that leader when it began */
    unsigned to_fall;     /* so many leaders from then on, one after the other */
    size_t fallen;        /* the last of those; SIM_CLUSTER_MEMBERS_MAX: none */
    bool falls_at_commit; /* whoever leads, when it has committed more than it began with */
    bool somebody_doomed;
    uint64_t count;
    struct fault_counts counts;
};

void faults_init(struct world *world, struct rng *rng);
/* From the cluster. */
void faults_event(struct world *world, const struct sim_event *event);
/* When something is due, and doing it. */
int64_t faults_next(const struct world *world);
void faults_run(struct world *world);
/* No more of them; what is broken is mended now. */
void faults_end(struct world *world);

#endif
