#include "faults.h"

#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)

#define FALLEN_FOR (6 * SECOND) /* a leader of a row that falls; unless its successor falls sooner */

/* Lines of the plan. */
enum { LINE_FAULTS = 0, LINE_VOTES = 1, LINE_REIGNS = 2, LINE_IMAGES = 3, LINE_READINGS = 4 };

static int64_t later(struct world *world, int64_t most)
{
    return sim_cluster_now(world->cluster) + 1 + (int64_t)rng_below(&world->faults.rng, (uint64_t)most);
}

static bool chance(struct world *world, uint64_t numerator, uint64_t denominator)
{
    return rng_chance(&world->faults.rng, numerator, denominator);
}

static struct fate *fate_of(struct world *world, size_t member)
{
    return &world->faults.fates[member];
}

static size_t members(const struct world *world)
{
    return sim_cluster_members(world->cluster);
}

static bool is_up(const struct world *world, size_t member)
{
    return sim_cluster_is_up(world->cluster, member);
}

static struct fs_sim *disk_of(struct world *world, size_t member)
{
    return sim_member_disk(sim_cluster_member(world->cluster, member));
}

static struct raft_status status_of(struct world *world, size_t member)
{
    return raft_status(node_raft(sim_member_node(sim_cluster_member(world->cluster, member))));
}

/* Who thinks that it leads; the number of members: nobody. */
static size_t find_leader(struct world *world)
{
    size_t i = 0;
    while (i < members(world) && !(is_up(world, i) && status_of(world, i).soft_state.role == RAFT_LEADER))
        i++;
    return i;
}

/* Often a leader: that is where it hurts. */
static size_t some_member(struct world *world)
{
    size_t chosen = (size_t)rng_below(&world->faults.rng, members(world));
    if (!chance(world, 1, 3)) return chosen;
    size_t leader = find_leader(world);
    return leader < members(world) ? leader : chosen;
}

/* ---- members ---- */

/* In a row of leaders that fall, each comes back when the next one has fallen. */
static void take_turns(struct world *world, size_t member)
{
    struct faults *faults = &world->faults;
    size_t former = faults->fallen;
    faults->fallen = member;
    if (former == SIM_CLUSTER_MEMBERS_MAX || former == member || is_up(world, former)) return;
    if (!operator_has_removed(world, former))
        fate_of(world, former)->restart_at = later(world, 20 * MILLISECOND);
}

static void crash(struct world *world, size_t member)
{
    static const char *const names[] = {"is killed", "loses power and all that was not synced",
                                        "loses power and some of what was not synced"};
    size_t how = (size_t)rng_below(&world->faults.rng, 3);
    struct fate *fate = fate_of(world, member);
    /* What a failed sync has dropped is readable until the power fails, so a bad disk is followed by that. */
    if ((fate->may_fail || fate->falls_silent) && how == 0) how = 1;
    world_tell(world, "m%zu %s", member, names[how]);
    if (how == 0)
        sim_cluster_kill(world->cluster, member);
    else
        sim_cluster_crash(world->cluster, member, how == 1 ? FS_SIM_LOSE_ALL : FS_SIM_RANDOM);
    if (fate->falls_silent || (how != 0 && chance(world, 1, 2))) {
        world_tell(world, "what m%zu was sending is lost", member);
        sim_network_lose(sim_cluster_network(world->cluster), member);
    }
    if (fate->falls_silent) take_turns(world, member);
    fate->falls_silent = false;
    fs_sim_clear_faults(disk_of(world, member));
    fs_sim_set_capacity(disk_of(world, member), 0);
    fate->restart_at = later(world, chance(world, 1, 3) ? 50 * MILLISECOND : 4 * SECOND);
    if (fate->down_for != 0) fate->restart_at = sim_cluster_now(world->cluster) + fate->down_for;
    fate->down_for = 0;
    fate->may_fail = false;
    fate->resume_at = fate->crash_at = INT64_MAX;
}

static void crash_one(struct world *world)
{
    size_t member = some_member(world);
    if (is_up(world, member)) crash(world, member);
}

/* Everybody at once: only what is on the disks is left. */
static void crash_all(struct world *world)
{
    for (size_t i = 0; i < members(world); i++)
        if (is_up(world, i)) crash(world, i);
}

static void crash_soon(struct world *world, size_t member, int64_t most)
{
    fate_of(world, member)->crash_at = later(world, most);
}

static void stop_one(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    world_tell(world, "m%zu is stopped", member);
    struct error *error = sim_cluster_stop(world->cluster, member);
    if (error == NULL) {
        fate_of(world, member)->restart_at = later(world, 2 * SECOND);
        fate_of(world, member)->resume_at = fate_of(world, member)->crash_at = INT64_MAX;
        return;
    }
    if (!fate_of(world, member)->may_fail) world_give_up(world, "stopping m%zu: %s", member, error->text);
    error_free(error);
    crash(world, member);
}

static void cut_power_soon(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    uint64_t operations = rng_below(&world->faults.rng, 60);
    world_tell(world, "m%zu loses power in %llu disk operations", member, (unsigned long long)operations);
    fate_of(world, member)->may_fail = true;
    fs_sim_cut_power_after(disk_of(world, member), operations);
}

static void pause_one(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member) || sim_cluster_is_paused(world->cluster, member)) return;
    bool with_clock = chance(world, 1, 2);
    fate_of(world, member)->resume_at = later(world, 6 * SECOND);
    world_tell(world, "m%zu is paused%s", member, with_clock ? ", its clock too" : "");
    sim_cluster_pause(world->cluster, member, with_clock);
}

static void clock_drift(struct world *world)
{
    size_t member = some_member(world);
    int64_t rate = SIM_CLOCK_RATE_ONE - 30 + (int64_t)rng_below(&world->faults.rng, 61);
    world_tell(world, "the clock of m%zu runs at %.3f", member, (double)rate / SIM_CLOCK_RATE_ONE);
    sim_cluster_set_clock_rate(world->cluster, member, rate);
}

/* ---- disks ---- */

static void slow_disk(struct world *world)
{
    size_t member = some_member(world);
    int64_t time = (1 + (int64_t)rng_below(&world->faults.rng, 300)) * MILLISECOND;
    world_tell(world, "the disk of m%zu takes %lld ms", member, (long long)(time / MILLISECOND));
    sim_member_set_write_time(sim_cluster_member(world->cluster, member), time);
    if (!operator_has_removed(world, member)) fate_of(world, member)->heal_disk_at = later(world, 5 * SECOND);
}

static void full_disk(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    struct fs_sim *disk = disk_of(world, member);
    uint64_t room = rng_below(&world->faults.rng, 256 * 1024);
    world_tell(world, "the disk of m%zu has room for %llu bytes", member, (unsigned long long)room);
    fate_of(world, member)->may_fail = true;
    fs_sim_set_capacity(disk, fs_sim_used(disk) + room);
    fate_of(world, member)->heal_disk_at = later(world, 5 * SECOND);
}

static void failing_disk(struct world *world)
{
    static const int failures[] = {EIO, ENOSPC};
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    struct fs_sim_fault fault = {
        .operations = FS_SIM_WRITE | FS_SIM_SYNC | FS_SIM_RENAME | FS_SIM_SYNC_DIRECTORY | FS_SIM_TRUNCATE |
                      FS_SIM_CREATE | FS_SIM_ALLOCATE,
        .skip = rng_below(&world->faults.rng, 60),
        .times = 1,
        .system = failures[rng_below(&world->faults.rng, 2)],
        .partial = chance(world, 1, 2),
    };
    world_tell(world, "the disk of m%zu fails in %llu operations", member, (unsigned long long)fault.skip);
    fate_of(world, member)->may_fail = true;
    fs_sim_clear_faults(disk_of(world, member));
    fs_sim_add_fault(disk_of(world, member), &fault);
    world->faults.counts.disk_errors++;
}

static void flip_bit(struct world *world)
{
    size_t member = some_member(world);
    if (operator_has_removed(world, member)) return;
    if (is_up(world, member)) crash(world, member);
    fate_of(world, member)->flip_seed = rng_next(&world->faults.rng) | 1;
}

static void purge_files(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    world_tell(world, "m%zu removes old files", member);
    struct error *error = sim_member_purge(sim_cluster_member(world->cluster, member));
    if (error != NULL && !fate_of(world, member)->may_fail) world_give_up(world, "purge: %s", error->text);
    error_free(error);
}

/* ---- moments ---- */

/* Power fails within the next few operations of the disk, or does not. */
static void maybe_cut_power(struct world *world, size_t member, uint64_t operations)
{
    if (chance(world, 1, 3)) return;
    uint64_t after = rng_below(&world->faults.rng, operations);
    world_tell(world, "m%zu loses power in %llu disk operations", member, (unsigned long long)after);
    fate_of(world, member)->may_fail = true;
    fs_sim_cut_power_after(disk_of(world, member), after);
}

static void defragment_now(struct world *world, size_t member)
{
    world_tell(world, "m%zu defragments", member);
    struct error *error = sim_member_defragment(sim_cluster_member(world->cluster, member));
    if (error == NULL) {
        world->faults.counts.defragmented++;
        return;
    }
    if (!fate_of(world, member)->may_fail)
        world_give_up(world, "defragmenting m%zu: %s", member, error->text);
    error_free(error);
    if (!is_up(world, member)) crash(world, member);
}

static void defragment(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    maybe_cut_power(world, member, 40);
    defragment_now(world, member);
}

/* Compact everything there is, and fall while that is under way. */
static void compact_and_crash(struct world *world)
{
    size_t member = some_member(world);
    if (!is_up(world, member)) return;
    bool begun = chance(world, 1, 2) ? workload_compact(world->workload, member)
                                     : workload_delete_and_compact(world->workload, member);
    if (!begun) return;
    for (size_t i = 0; i < members(world); i++)
        if (is_up(world, i) && chance(world, 1, 2)) crash_soon(world, i, 60 * MILLISECOND);
}

static void move_leader(struct world *world)
{
    workload_move_leader(world->workload, rng_next(&world->faults.rng));
}

/* ---- network ---- */

/* Two sides that do not hear each other; with a bridge one member hears both. */
static void partition(struct world *world)
{
    struct sim_network *network = sim_cluster_network(world->cluster);
    size_t bridge = some_member(world);
    uint64_t sides = rng_next(&world->faults.rng);
    bool with_bridge = chance(world, 1, 3);
    sim_network_heal(network);
    for (size_t a = 0; a < members(world); a++)
        for (size_t b = 0; b < a; b++) {
            if ((sides >> a & 1) == (sides >> b & 1)) continue;
            if (with_bridge && (a == bridge || b == bridge)) continue;
            world_tell(world, "m%zu and m%zu do not hear each other", b, a);
            sim_network_cut(network, a, b, true);
        }
    world->faults.heal_network_at = later(world, 6 * SECOND);
}

static void cut_one_way(struct world *world)
{
    size_t from = some_member(world), to = some_member(world);
    bool everybody = chance(world, 1, 2), inward = chance(world, 1, 2);
    struct sim_network *network = sim_cluster_network(world->cluster);
    for (size_t i = 0; i < members(world); i++) {
        if (i == from || (!everybody && i != to)) continue;
        world_tell(world, "m%zu does not hear m%zu", inward ? from : i, inward ? i : from);
        (inward ? sim_network_link(network, i, from) : sim_network_link(network, from, i))->cut = true;
    }
    world->faults.heal_network_at = later(world, 6 * SECOND);
}

static void set_links(struct world *world, const struct sim_link *link)
{
    for (size_t a = 0; a < members(world); a++)
        for (size_t b = 0; b < members(world); b++) {
            if (a == b) continue;
            struct sim_link *present = sim_network_link(sim_cluster_network(world->cluster), a, b);
            bool cut = present->cut;
            *present = *link;
            present->cut = cut;
        }
}

static void spoil_links(struct world *world, const struct sim_link *link)
{
    world_tell(world, "messages take %lld to %lld ms, %.1f %% are lost, %.1f %% come twice",
               (long long)(link->delay / MILLISECOND),
               (long long)((link->delay + link->jitter) / MILLISECOND), link->loss / 100.0,
               link->duplication / 100.0);
    set_links(world, link);
}

static void cut_off(struct world *world, size_t member)
{
    world_tell(world, "m%zu is cut off", member);
    for (size_t i = 0; i < members(world); i++)
        if (i != member) sim_network_cut(sim_cluster_network(world->cluster), i, member, true);
}

/* For so long that the others may no longer have the entries it lacks. */
static void leave_behind(struct world *world)
{
    size_t member = (size_t)rng_below(&world->faults.rng, members(world));
    int64_t time = 2 * SECOND + (int64_t)rng_below(&world->faults.rng, 6 * SECOND);
    if (!is_up(world, member)) return;
    if (chance(world, 1, 3)) {
        fate_of(world, member)->down_for = time;
        crash(world, member);
        return;
    }
    cut_off(world, member);
    world->faults.heal_network_at = sim_cluster_now(world->cluster) + time;
}

static void bad_network(struct world *world)
{
    struct rng *rng = &world->faults.rng;
    int64_t jitter = (chance(world, 1, 3) ? 1500 : 400) * MILLISECOND;
    struct sim_link link = {
        .delay = (int64_t)rng_below(rng, 20 * MILLISECOND),
        .jitter = (int64_t)rng_below(rng, (uint64_t)jitter),
        .loss = (uint32_t)rng_below(rng, 3000),
        .duplication = (uint32_t)rng_below(rng, 3000),
    };
    spoil_links(world, &link);
    world->faults.heal_network_at = later(world, 5 * SECOND);
}

/* Elections with votes that take long, so that several ask for them in the same term. */
static void hard_election(struct world *world)
{
    struct sim_link link = {.jitter =
                                50 * MILLISECOND + (int64_t)rng_below(&world->faults.rng, 400 * MILLISECOND),
                            .duplication = 2000};
    spoil_links(world, &link);
    world->faults.heal_network_at = later(world, 10 * SECOND);
    crash_all(world);
    for (size_t i = 0; i < members(world); i++)
        if (!is_up(world, i)) fate_of(world, i)->restart_at = later(world, 100 * MILLISECOND);
}

/* Entries that only the leader and a part of the others have: the rest is cut off while the leader's disk is
 * slow. Then the leader loses power and comes back at once, that part comes back late, and so those who do
 * not have the entries elect among themselves. Whatever was acknowledged must be known to one of them. */
static void lose_those_who_know(struct world *world)
{
    size_t leader = find_leader(world), cut = 0, others = members(world) - 1;
    struct sim_network *network = sim_cluster_network(world->cluster);
    if (leader == members(world) || others < 2) return;
    int64_t time = (50 + (int64_t)rng_below(&world->faults.rng, 400)) * MILLISECOND;
    world_tell(world, "the disk of m%zu, which leads, takes %lld ms", leader,
               (long long)(time / MILLISECOND));
    sim_member_set_write_time(sim_cluster_member(world->cluster, leader), time);
    fate_of(world, leader)->heal_disk_at = later(world, 5 * SECOND);
    fate_of(world, leader)->down_for = 10 * MILLISECOND;
    world->faults.heal_network_at = sim_cluster_now(world->cluster) + time;
    fate_of(world, leader)->crash_at = world->faults.heal_network_at;
    size_t first = (size_t)rng_below(&world->faults.rng, members(world));
    for (size_t k = 0; k < members(world); k++) {
        size_t i = (first + k) % members(world);
        if (i == leader || !is_up(world, i)) continue;
        if (cut < others / 2) {
            cut++;
            world_tell(world, "m%zu does not hear m%zu", i, leader);
            sim_network_link(network, leader, i)->cut = true;
        } else {
            fate_of(world, i)->crash_at = world->faults.heal_network_at;
            fate_of(world, i)->down_for = later(world, 4 * SECOND) - sim_cluster_now(world->cluster);
        }
    }
}

/* Nobody hears who leads, and it falls when what it has appended may be on its disk; the last one of a row
 * falls when it commits. */
static void leader_falls(struct world *world, size_t member, struct rng *rng)
{
    struct faults *faults = &world->faults;
    struct fate *fate = fate_of(world, member);
    faults->falls_at_commit = --faults->to_fall == 0;
    if (faults->falls_at_commit) return;
    fate->falls_silent = true;
    fate->down_for = FALLEN_FOR;
    world_tell(world, "nobody hears m%zu, which leads", member);
    for (size_t i = 0; i < members(world); i++)
        if (i != member) sim_network_link(sim_cluster_network(world->cluster), member, i)->cut = true;
    fate->crash_at =
        sim_cluster_now(world->cluster) + 5 * MILLISECOND + (int64_t)rng_below(rng, 60 * MILLISECOND);
    faults->heal_network_at = fate->crash_at;
}

/* A row of leaders that append and fall, each with what nobody else has (Raft paper, figure 8). */
static void leaders_fall(struct world *world)
{
    struct faults *faults = &world->faults;
    size_t leader = find_leader(world);
    if (leader == members(world) || faults->to_fall > 0) return;
    faults->to_fall = chance(world, 3, 4) ? 3 : 4;
    faults->fallen = SIM_CLUSTER_MEMBERS_MAX;
    world_tell(world, "%u leaders are to fall", faults->to_fall);
    leader_falls(world, leader, &faults->rng);
}

/* ---- one after the other ---- */

static const struct {
    void (*make)(struct world *world);
    int64_t takes; /* until when no other one comes: some are a story */
} all_faults[] = {
    {crash_one, 0},
    {crash_one, 0},
    {crash_one, 0},
    {crash_all, 0},
    {cut_power_soon, 0},
    {pause_one, 0},
    {pause_one, 0},
    {slow_disk, 0},
    {slow_disk, 0},
    {partition, 0},
    {partition, 0},
    {cut_one_way, 0},
    {stop_one, 0},
    {bad_network, 0},
    {hard_election, 0},
    {purge_files, 0},
    {full_disk, 0},
    {failing_disk, 0},
    {compact_and_crash, 0},
    {flip_bit, 0},
    {defragment, 0},
    {defragment, 0},
    {clock_drift, 0},
    {move_leader, 0},
    {lose_those_who_know, 0},
    {leaders_fall, 8 * SECOND},
    {leaders_fall, 8 * SECOND},
    {leave_behind, 6 * SECOND},
};

static void some_fault(struct world *world)
{
    struct faults *faults = &world->faults;
    bool made = plan_begin(world->plan, LINE_FAULTS, faults->number++, &faults->rng);
    bool is_change = faults->membership && chance(world, 1, 5);
    bool is_flip = !is_change && faults->flips && chance(world, 1, 3);
    size_t chosen = (size_t)rng_below(&faults->rng, sizeof(all_faults) / sizeof(all_faults[0]));
    faults->next = later(world, faults->pause_max) + (is_change || is_flip ? 0 : all_faults[chosen].takes);
    if (!made) return;
    faults->count++;
    if (is_change)
        operator_change(world, &faults->rng);
    else if (is_flip)
        flip_bit(world);
    else
        all_faults[chosen].make(world);
}

/* What a member has promised it must remember: some fall just after they voted, and are back at once. */
static void doom_voter(struct world *world, size_t member)
{
    struct faults *faults = &world->faults;
    struct rng rng;
    if (faults->next == INT64_MAX || faults->to_fall > 0) return;
    bool made = plan_begin(world->plan, LINE_VOTES, faults->votes++, &rng);
    if (!made || !rng_chance(&rng, 1, 4)) return;
    fate_of(world, member)->doomed = faults->somebody_doomed = true;
    fate_of(world, member)->down_for = 1 + (int64_t)rng_below(&rng, 20 * MILLISECOND);
}

/* A leader that appends and is gone before much comes of it leaves entries of its term behind. */
static void shorten_reign(struct world *world, size_t member)
{
    struct faults *faults = &world->faults;
    struct rng rng;
    if (!faults->short_reigns && faults->to_fall == 0) return;
    if (!plan_begin(world->plan, LINE_REIGNS, faults->reigns++, &rng)) return;
    if (faults->to_fall > 0) {
        leader_falls(world, member, &rng);
        return;
    }
    int64_t after = sim_cluster_now(world->cluster) + (int64_t)rng_below(&rng, 300 * MILLISECOND);
    switch (rng_below(&rng, 4)) {
    case 0:
        fate_of(world, member)->crash_at = after;
        break;
    case 1:
        world_tell(world, "nobody hears m%zu, which leads", member);
        for (size_t i = 0; i < members(world); i++)
            if (i != member) sim_network_link(sim_cluster_network(world->cluster), member, i)->cut = true;
        faults->heal_network_at = after + (int64_t)rng_below(&rng, 3 * SECOND);
        break;
    default:
        return;
    }
    faults->count++;
}

/* Power is lost when a received database may have its name already and not its place. */
static void spoil_image(struct world *world, const struct sim_event *event)
{
    struct faults *faults = &world->faults;
    struct fate *fate = fate_of(world, event->member);
    struct rng rng;
    if (faults->next == INT64_MAX) return;
    if (!plan_begin(world->plan, LINE_IMAGES, faults->images++, &rng) || !rng_chance(&rng, 1, 2)) return;
    fate->crash_at = sim_cluster_now(world->cluster) + (int64_t)rng_below(&rng, 7 * MILLISECOND);
    fate->flip_seed = rng_next(&rng) | 1;
    faults->somebody_doomed = true; /* not at once: so that what is due next is looked at again */
    faults->count++;
}

static void meet_leader(struct world *world, size_t member)
{
    struct faults *faults = &world->faults;
    struct raft_status status = status_of(world, member);
    if (faults->next == INT64_MAX || status.soft_state.role != RAFT_LEADER) return;
    if (status.hard_state.term > faults->led_term) {
        faults->led_term = status.hard_state.term;
        faults->committed = status.hard_state.commit;
        shorten_reign(world, member);
    }
    if (!faults->falls_at_commit || status.hard_state.term < faults->led_term ||
        status.hard_state.commit <= faults->committed)
        return;
    faults->falls_at_commit = false;
    fate_of(world, member)->doomed = faults->somebody_doomed = true;
    fate_of(world, member)->falls_silent = true;
    fate_of(world, member)->down_for = FALLEN_FOR;
}

/* A database has come. While it is installed its receiver falls behind again, or one of the two falls. */
static void disturb_install(struct world *world, const struct sim_event *event)
{
    struct faults *faults = &world->faults;
    struct rng rng;
    if (faults->next == INT64_MAX) return;
    if (!plan_begin(world->plan, LINE_IMAGES, faults->images++, &rng)) return;
    int64_t after = event->at + 1 + (int64_t)rng_below(&rng, 500 * MILLISECOND);
    switch (rng_below(&rng, 5)) {
    case 0:
        fate_of(world, event->peer)->crash_at = after;
        break;
    case 1:
        fate_of(world, event->member)->crash_at = after;
        break;
    case 2:
        fate_of(world, event->peer)->crash_at = after;
        /* fallthrough */
    case 3:
        cut_off(world, event->member);
        faults->heal_network_at = after + (int64_t)rng_below(&rng, 3 * SECOND);
        break;
    default:
        return;
    }
    faults->count++;
}

/* What is read of a database is as it was at the beginning, whatever becomes of it. */
static void disturb_reading(struct world *world, size_t member)
{
    struct faults *faults = &world->faults;
    struct fate *fate = fate_of(world, member);
    struct rng rng;
    bool read = fate->reads;
    fate->reads = sim_member_is_reading(sim_cluster_member(world->cluster, member));
    if (read || !fate->reads || faults->next == INT64_MAX) return;
    if (!plan_begin(world->plan, LINE_READINGS, faults->readings++, &rng) || !rng_chance(&rng, 1, 4)) return;
    fate->defragment_at = sim_cluster_now(world->cluster) + (int64_t)rng_below(&rng, 300 * MILLISECOND);
    faults->count++;
}

static void strike_the_doomed(struct world *world)
{
    if (!world->faults.somebody_doomed) return;
    world->faults.somebody_doomed = false;
    for (size_t i = 0; i < members(world); i++) {
        struct fate *fate = fate_of(world, i);
        if (!fate->doomed) continue;
        fate->doomed = false;
        if (!is_up(world, i)) continue;
        crash(world, i);
        world->faults.count++;
    }
}

void faults_event(struct world *world, const struct sim_event *event)
{
    if (event->kind == SIM_EVENT_SEND && event->message->type == RAFT_VOTE_RESP)
        doom_voter(world, event->member);
    if (event->kind == SIM_EVENT_RUN) {
        meet_leader(world, event->member);
        disturb_reading(world, event->member);
    }
    if (event->kind == SIM_EVENT_RECEIVE && event->text == NULL)
        (world->faults.flips ? spoil_image : disturb_install)(world, event);
    if (event->kind != SIM_EVENT_FAIL) return;
    struct fate *fate = fate_of(world, event->member);
    if (!fate->may_fail) world_give_up(world, "m%zu fails: %s", event->member, event->text);
    world_tell(world, "m%zu fails: %s", event->member, event->text);
    fate->restart_at = event->at + 1 + (int64_t)rng_below(&world->faults.rng, 3 * SECOND);
    fate->crash_at = INT64_MAX;
}

/* ---- mending ---- */

static void restart(struct world *world, size_t member)
{
    struct fate *fate = fate_of(world, member);
    if (fate->may_fail) crash(world, member);
    fate->restart_at = INT64_MAX;
    if (operator_has_removed(world, member)) return;
    if (fate->flip_seed != 0) {
        uint64_t seed = fate->flip_seed;
        fate->flip_seed = 0;
        flips_start(world, member, seed, world->faults.flips);
    }
    if (is_up(world, member) || operator_replaces(world, member)) return;
    world_tell(world, "m%zu starts", member);
    struct error *error = sim_cluster_start(world->cluster, member);
    if (error == NULL) return;
    if (!operator_waits_to_join(world, member, error))
        world_give_up(world, "m%zu cannot start: %s", member, error->text);
    error_free(error);
    fate->restart_at = later(world, SECOND);
}

static void heal_disk(struct world *world, size_t member)
{
    fate_of(world, member)->heal_disk_at = INT64_MAX;
    world_tell(world, "the disk of m%zu is well", member);
    sim_member_set_write_time(sim_cluster_member(world->cluster, member), MILLISECOND);
    fs_sim_set_capacity(disk_of(world, member), 0);
}

static void mend(struct world *world)
{
    int64_t now = sim_cluster_now(world->cluster);
    for (size_t i = 0; i < members(world); i++) {
        struct fate *fate = fate_of(world, i);
        if (fate->heal_disk_at <= now) heal_disk(world, i);
        if (fate->defragment_at <= now) {
            fate->defragment_at = INT64_MAX;
            if (is_up(world, i)) defragment_now(world, i);
        }
        if (fate->crash_at <= now) {
            fate->crash_at = INT64_MAX;
            if (is_up(world, i)) crash(world, i);
        }
        if (fate->restart_at <= now) restart(world, i);
        if (fate->resume_at <= now) {
            fate->resume_at = INT64_MAX;
            world_tell(world, "m%zu resumes", i);
            sim_cluster_resume(world->cluster, i);
        }
    }
    if (world->faults.heal_network_at <= now) {
        world->faults.heal_network_at = INT64_MAX;
        world_tell(world, "the network is well");
        sim_network_heal(sim_cluster_network(world->cluster));
        set_links(world, &world->faults.link);
    }
}

/* ---- a run ---- */

void faults_init(struct world *world, struct rng *rng)
{
    struct faults *faults = &world->faults;
    faults->rng = *rng;
    faults->heal_network_at = INT64_MAX;
    faults->fallen = SIM_CLUSTER_MEMBERS_MAX;
    static const int64_t pauses[] = {SECOND, SECOND, 3 * SECOND, 3 * SECOND, 6 * SECOND};
    faults->pause_max = pauses[rng_below(rng, sizeof(pauses) / sizeof(pauses[0]))];
    faults->short_reigns = chance(world, 1, 3);
    for (size_t i = 0; i < SIM_CLUSTER_MEMBERS_MAX; i++)
        faults->fates[i] = (struct fate){.restart_at = i < members(world) ? later(world, SECOND) : INT64_MAX,
                                         .resume_at = INT64_MAX,
                                         .heal_disk_at = INT64_MAX,
                                         .crash_at = INT64_MAX,
                                         .defragment_at = INT64_MAX};
    faults->next = later(world, 5 * SECOND);
    /* The others are as they are without: seeds that are known to wake a planted bug go on doing so. */
    faults->membership = world->plan->seed % 10 == 7 || world->plan->seed % 10 == 9;
    faults->flips = world->plan->seed % 10 == 5;
    /* Most bits are of no consequence. */
    if (faults->flips) faults->pause_max = SECOND / 2;
}

int64_t faults_next(const struct world *world)
{
    const struct faults *faults = &world->faults;
    int64_t next = faults->next < faults->heal_network_at ? faults->next : faults->heal_network_at;
    for (size_t i = 0; i < SIM_CLUSTER_MEMBERS_MAX; i++) {
        const struct fate *fate = &faults->fates[i];
        const int64_t due[] = {fate->restart_at, fate->resume_at, fate->heal_disk_at, fate->crash_at,
                               fate->defragment_at};
        for (size_t k = 0; k < sizeof(due) / sizeof(due[0]); k++)
            if (due[k] < next) next = due[k];
    }
    return next;
}

void faults_run(struct world *world)
{
    operator_run(world);
    strike_the_doomed(world);
    mend(world);
    if (world->faults.next <= sim_cluster_now(world->cluster)) some_fault(world);
}

void faults_end(struct world *world)
{
    int64_t now = sim_cluster_now(world->cluster);
    world_tell(world, "the faults end");
    world->faults.next = INT64_MAX;
    world->faults.heal_network_at = now;
    operator_end(world);
    world->faults.to_fall = 0;
    world->faults.falls_at_commit = false;
    for (size_t i = 0; i < members(world); i++) {
        struct fate *fate = fate_of(world, i);
        if (fate->may_fail && is_up(world, i)) crash(world, i);
        fate->falls_silent = false;
        fate->resume_at = fate->heal_disk_at = now;
        fate->crash_at = fate->defragment_at = INT64_MAX;
        if (!is_up(world, i) && !operator_has_removed(world, i)) fate->restart_at = now;
    }
    mend(world);
}
