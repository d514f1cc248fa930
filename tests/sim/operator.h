/* operator: who adds members to a simulated cluster, promotes and removes them, and starts and stops the
 * processes that go with it.
 *
 * A member that was added is started once anybody knows of it; one that was removed stops when a member that
 * knows it could tell it so (as a server does that is told 410 by its peers), and never comes back.
 *
 * A member whose data are damaged is replaced: removed while it is down, and another one added. */
#ifndef TESTS_SIM_OPERATOR_H
#define TESTS_SIM_OPERATOR_H

#include "base/rng.h"
#include "sim/sim_cluster.h"

struct world;

struct operator
{
    size_t founders;
    bool has_added, has_removed; /* asked for it, ever */
    bool removed[SIM_CLUSTER_MEMBERS_MAX];
    bool damaged[SIM_CLUSTER_MEMBERS_MAX]; /* to be replaced: not started any more */
    size_t to_add;                         /* in place of those that were removed for that */
    int64_t next_try;
};

/* A change of the membership, at random; one at a time. */
void operator_change(struct world *world, struct rng *rng);
/* The member is down and is to be replaced. False: it cannot be, because too few would be left meanwhile, no
 * place is left for another, or the faults have ended. */
bool operator_replace(struct world *world, size_t member);
/* The member is being replaced. */
bool operator_replaces(const struct world *world, size_t member);
/* From now on nobody is replaced any more; who is still a member is started again. */
void operator_end(struct world *world);
/* Starts and stops processes as the members see the membership. Often. */
void operator_run(struct world *world);
/* It could not start for the first time because nobody is there who knows it. */
bool operator_waits_to_join(const struct world *world, size_t member, const struct error *error);
/* Its member was removed and has stopped. */
bool operator_has_removed(const struct world *world, size_t member);
/* Nobody need wait for it: that, or it was removed before it could join. Once everybody is up. */
bool operator_is_without(const struct world *world, size_t member);

#endif
