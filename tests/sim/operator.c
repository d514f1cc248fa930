#include "operator.h"

#include "world.h"

#include <string.h>

#define SECOND INT64_C(1000000000)

enum { VOTERS_MIN = 2 /* that are left by a removal */ };

static bool is_awake(const struct world *world, size_t member)
{
    return sim_cluster_is_up(world->cluster, member) && !sim_cluster_is_paused(world->cluster, member);
}

static const struct cluster *seen_by(const struct world *world, size_t member)
{
    return node_cluster(sim_member_node(sim_cluster_member(world->cluster, member)));
}

bool operator_has_removed(const struct world *world, size_t member)
{
    return world->operator.removed[member];
}

bool operator_waits_to_join(const struct world *world, size_t member, const struct error *error)
{
    return member >= world->operator.founders && error_is(error, ERROR_NOT_FOUND);
}

/* ---- changes ---- */

static void add(struct world *world, size_t asked, struct rng *rng)
{
    size_t next = sim_cluster_members(world->cluster);
    if (next == SIM_CLUSTER_MEMBERS_MAX) return;
    world->operator.has_added = true;
    workload_add_member(world->workload, asked, sim_cluster_url(world->cluster, next), rng_chance(rng, 1, 2));
}

static void promote(struct world *world, size_t asked)
{
    const struct cluster *cluster = seen_by(world, asked);
    for (size_t i = 0; i < cluster_member_count(cluster); i++) {
        const struct cluster_member *member = cluster_member_at(cluster, i);
        if (member->is_learner) workload_promote_member(world->workload, asked, member->id);
    }
}

/* Not one of the last: who asks for that wants to end the cluster. */
static void remove_one(struct world *world, size_t asked, struct rng *rng)
{
    const struct cluster *cluster = seen_by(world, asked);
    if (cluster_voter_count(cluster) <= VOTERS_MIN) return;
    size_t chosen = (size_t)rng_below(rng, cluster_member_count(cluster));
    world->operator.has_removed = true;
    workload_remove_member(world->workload, asked, cluster_member_at(cluster, chosen)->id);
}

void operator_change(struct world *world, struct rng *rng)
{
    size_t asked = (size_t)rng_below(rng, sim_cluster_members(world->cluster));
    uint64_t what = rng_below(rng, 5);
    if (!is_awake(world, asked)) return;
    if (what < 2)
        add(world, asked, rng);
    else if (what < 4)
        promote(world, asked);
    else
        remove_one(world, asked, rng);
}

static bool is_known(const struct world *world, const char *url)
{
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        if (!is_awake(world, i) || world->operator.removed[i]) continue;
        const struct cluster *cluster = seen_by(world, i);
        for (size_t j = 0; j < cluster_member_count(cluster); j++)
            if (strcmp(cluster_member_at(cluster, j)->peer_urls.items[0], url) == 0) return true;
    }
    return false;
}

bool operator_is_without(const struct world *world, size_t member)
{
    if (world->operator.removed[member]) return true;
    return sim_member_id(sim_cluster_member(world->cluster, member)) == 0 &&
           !is_known(world, sim_cluster_url(world->cluster, member));
}

/* ---- replacing ---- */

/* Somebody who can be asked; the number of members: nobody. */
static size_t find_awake(const struct world *world)
{
    size_t i = 0;
    while (i < sim_cluster_members(world->cluster) && (!is_awake(world, i) || world->operator.removed[i]))
        i++;
    return i;
}

bool operator_replaces(const struct world *world, size_t member)
{
    return world->operator.damaged[member];
}

bool operator_replace(struct world *world, size_t member)
{
    struct operator* state = & world->operator;
    size_t asked = find_awake(world), under_way = state->to_add;
    for (size_t i = 0; i < SIM_CLUSTER_MEMBERS_MAX; i++) under_way += state->damaged[i];
    if (world->faults.next == INT64_MAX || asked == sim_cluster_members(world->cluster) || under_way > 0 ||
        state->removed[member] || cluster_voter_count(seen_by(world, asked)) <= VOTERS_MIN ||
        sim_cluster_members(world->cluster) == SIM_CLUSTER_MEMBERS_MAX)
        return false;
    world_tell(world, "m%zu is to be replaced", member);
    state->damaged[member] = state->has_added = state->has_removed = true;
    return true;
}

void operator_end(struct world *world)
{
    memset(world->operator.damaged, 0, sizeof(world->operator.damaged));
    world->operator.to_add = 0;
}

static void is_removed(struct world *world, size_t member)
{
    struct fate *fate = &world->faults.fates[member];
    world_tell(world, "m%zu was removed", member);
    world->faults.counts.members_removed++;
    world->operator.removed[member] = true;
    fate->restart_at = fate->resume_at = fate->crash_at = fate->heal_disk_at = INT64_MAX;
    fate->may_fail = false;
}

/* Asks again and again: the cluster may not be able to, or the answer be lost. */
static void replace_damaged(struct world *world)
{
    struct operator* state = & world->operator;
    size_t asked = find_awake(world), next = sim_cluster_members(world->cluster);
    if (sim_cluster_now(world->cluster) < state->next_try || asked == next) return;
    state->next_try = sim_cluster_now(world->cluster) + SECOND / 2;
    for (size_t i = 0; i < next; i++) {
        uint64_t id = sim_member_id(sim_cluster_member(world->cluster, i));
        if (!state->damaged[i]) continue;
        if (!cluster_is_removed(seen_by(world, asked), id)) {
            workload_remove_member(world->workload, asked, id);
            return;
        }
        is_removed(world, i);
        world->faults.counts.members_replaced++;
        state->damaged[i] = false;
        state->to_add++;
    }
    if (state->to_add > 0)
        workload_add_member(world->workload, asked, sim_cluster_url(world->cluster, next), false);
}

/* ---- processes ---- */

static void start_added(struct world *world)
{
    size_t next = sim_cluster_members(world->cluster);
    if (next == SIM_CLUSTER_MEMBERS_MAX || !is_known(world, sim_cluster_url(world->cluster, next))) return;
    size_t made = sim_cluster_add(world->cluster);
    world_tell(world, "m%zu is added", made);
    world->faults.counts.members_added++;
    if (world->operator.to_add != 0) world->operator.to_add--;
    world->faults.fates[made].restart_at = sim_cluster_now(world->cluster) + SECOND / 2;
}

static bool hear_each_other(const struct world *world, size_t a, size_t b)
{
    struct sim_network *network = sim_cluster_network(world->cluster);
    return !sim_network_link(network, a, b)->cut && !sim_network_link(network, b, a)->cut;
}

static bool is_told_that_it_was_removed(const struct world *world, size_t member)
{
    uint64_t id = sim_member_id(sim_cluster_member(world->cluster, member));
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++)
        if (i != member && is_awake(world, i) && hear_each_other(world, i, member) &&
            cluster_is_removed(seen_by(world, i), id))
            return true;
    return false;
}

static void stop_removed(struct world *world)
{
    for (size_t i = 0; i < sim_cluster_members(world->cluster); i++) {
        struct sim_member *member = sim_cluster_member(world->cluster, i);
        /* It may have found out by itself, and stopped. */
        bool knows = sim_member_was_removed(member);
        bool is_told = is_awake(world, i) && !knows && is_told_that_it_was_removed(world, i);
        if (world->operator.removed[i] ||(!knows && !is_told)) continue;
        if (sim_cluster_is_up(world->cluster, i)) sim_cluster_kill(world->cluster, i);
        is_removed(world, i);
    }
}

void operator_run(struct world *world)
{
    workload_cancel_change(world->workload);
    if (world->operator.has_added) start_added(world);
    if (world->operator.has_removed) stop_removed(world);
    replace_damaged(world);
}
