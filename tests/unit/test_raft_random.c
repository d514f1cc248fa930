/* Whole clusters under random disorder: messages lost, doubled and reordered, members crashed and restarted,
 * logs compacted, leaders transferred, configurations changed, storage written late. Whatever happens, the
 * safety properties of the Raft paper (figure 3) hold: one leader a term, and no two members apply different
 * entries at an index. When the disorder ends, the cluster serves again. The same seed gives the same run. */
#include "raft/core.h"
#include "raft/memory_storage.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MEMBERS = 5, STEPS = 6000, SEEDS = 40, TERMS_MAX = 4096, ENTRIES_MAX = 8192 };

struct node {
    struct raft_memory_storage memory; /* what survives a crash: the log, and what was applied */
    uint64_t applied;
    struct raft_config config;
    struct raft *raft;
    struct raft_messages append_work;
    struct raft_messages apply_work;
    struct raft_messages local; /* responses to itself, in order */
};

struct world {
    struct rng rng;
    struct node nodes[MEMBERS + 1]; /* by id */
    struct raft_messages network;
    bool calm; /* no loss and no failures any more */
    uint64_t proposals;
    uint64_t leader_of[TERMS_MAX];
    struct {
        uint64_t term;
        uint64_t data;
    } applied[ENTRIES_MAX]; /* by whoever came first */
    uint64_t applied_last;
};

static bool chance(struct world *world, uint64_t percent)
{
    return rng_chance(&world->rng, percent, 100);
}

/* ---- Life and death ---- */

static void start(struct node *node)
{
    struct raft_memory_storage *memory = &node->memory;
    /* The commit index is written with the log, and may be behind what was applied. */
    if (memory->hard_state.commit < node->applied) memory->hard_state.commit = node->applied;
    node->config.applied = node->applied;
    struct error *error = raft_new(&node->raft, &node->config);
    if (error != NULL) fail_msg("%s", error->text);
}

static void crash(struct node *node)
{
    raft_free(node->raft);
    raft_messages_deinit(&node->append_work);
    raft_messages_deinit(&node->apply_work);
    raft_messages_deinit(&node->local);
}

static void world_init(struct world *world, uint64_t seed)
{
    rng_init(&world->rng, seed);
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        struct node *node = &world->nodes[id];
        raft_memory_storage_init(&node->memory);
        for (uint64_t voter = 1; voter <= 3; voter++) {
            raft_ids_append(&node->memory.snapshot.conf_state.voters, voter);
        }
        node->config = (struct raft_config){
            .id = id,
            .election_tick = 5,
            .heartbeat_tick = 1,
            .storage = &node->memory.storage,
            .async_storage_writes = seed % 2 == 0,
            .max_size_per_message = seed % 3 == 0 ? 20 : 1 << 20,
            .max_inflight_messages = seed % 3 == 0 ? 3 : 256,
            .pre_vote = true,
            .check_quorum = true,
            .seed = seed,
        };
        start(node);
    }
}

static void world_deinit(struct world *world)
{
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        crash(&world->nodes[id]);
        raft_memory_storage_deinit(&world->nodes[id].memory);
    }
    raft_messages_deinit(&world->network);
}

/* ---- Applying ---- */

static uint64_t number_in(const struct raft_entry *entry)
{
    if (entry->type != RAFT_ENTRY_NORMAL) return 1;
    return entry->data == NULL ? 0 : le64_get(entry->data->data);
}

/* State Machine Safety (Raft paper, 5.4.3). */
static void check_applied(struct world *world, const struct raft_entry *entry)
{
    assert_true(entry->index < ENTRIES_MAX);
    if (entry->index > world->applied_last) {
        assert_int_equal(entry->index, world->applied_last + 1);
        world->applied_last = entry->index;
        world->applied[entry->index].term = entry->term;
        world->applied[entry->index].data = number_in(entry);
    }
    assert_int_equal(world->applied[entry->index].term, entry->term);
    assert_int_equal(world->applied[entry->index].data, number_in(entry));
}

static void apply(struct world *world, struct node *node, const struct raft_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        const struct raft_entry *entry = &entries->items[i];
        check_applied(world, entry);
        /* Written asynchronously, a snapshot may overtake entries that wait to be applied. */
        if (node->config.async_storage_writes && entry->index <= node->applied) continue;
        assert_int_equal(entry->index, node->applied + 1);
        node->applied = entry->index;
        if (entry->type == RAFT_ENTRY_NORMAL) continue;
        struct raft_conf_change_v2 change = {0};
        assert_null(raft_conf_change_from_entry(&change, entry));
        /* What one member cannot apply, none can. */
        error_free(raft_apply_conf_change(node->raft, &change, &node->memory.snapshot.conf_state));
        raft_conf_change_v2_deinit(&change);
    }
}

static void save(struct node *node, const struct raft_hard_state *hard_state,
                 const struct raft_entries *entries, const struct raft_snapshot *snapshot)
{
    if (hard_state != NULL) raft_memory_storage_set_hard_state(&node->memory, *hard_state);
    if (snapshot != NULL) {
        assert_int_equal(raft_memory_storage_apply_snapshot(&node->memory, snapshot), RAFT_OK);
        assert_true(snapshot->index > node->applied);
        node->applied = snapshot->index;
    }
    raft_memory_storage_append(&node->memory, entries->items, entries->count);
}

/* ---- Readies and storage threads ---- */

static void route(struct world *world, struct node *node, struct raft_message message)
{
    if (message.to == RAFT_APPEND_THREAD) {
        raft_messages_append(&node->append_work, message);
    } else if (message.to == RAFT_APPLY_THREAD) {
        raft_messages_append(&node->apply_work, message);
    } else if (message.to == node->config.id) {
        raft_messages_append(&node->local, message);
    } else {
        raft_messages_append(&world->network, message);
    }
}

static void take_ready(struct world *world, struct node *node)
{
    if (!raft_has_ready(node->raft)) return;
    struct raft_ready ready;
    raft_take_ready(node->raft, &ready);
    bool async = node->config.async_storage_writes;
    if (!async) save(node, ready.has_hard_state ? &ready.hard_state : NULL, &ready.entries, ready.snapshot);
    for (size_t i = 0; i < ready.messages.count; i++) {
        route(world, node, raft_message_take(&ready.messages.items[i]));
    }
    if (!async) {
        apply(world, node, &ready.committed_entries);
        raft_advance(node->raft);
    }
    raft_ready_deinit(&ready);
}

static bool take_first(struct raft_messages *messages, struct raft_message *first)
{
    if (messages->count == 0) return false;
    *first = raft_message_take(&messages->items[0]);
    messages->count--;
    memmove(messages->items, messages->items + 1, messages->count * sizeof(*messages->items));
    return true;
}

static void respond(struct world *world, struct node *node, struct raft_message *message)
{
    for (size_t i = 0; i < message->responses.count; i++) {
        route(world, node, raft_message_take(&message->responses.items[i]));
    }
    raft_message_deinit(message);
}

static void write_one(struct world *world, struct node *node)
{
    struct raft_message message;
    if (!take_first(&node->append_work, &message)) return;
    struct raft_hard_state hard_state = {message.term, message.vote, message.commit};
    save(node, raft_hard_state_is_empty(hard_state) ? NULL : &hard_state, &message.entries, message.snapshot);
    respond(world, node, &message);
}

static void apply_one(struct world *world, struct node *node)
{
    struct raft_message message;
    if (!take_first(&node->apply_work, &message)) return;
    apply(world, node, &message.entries);
    respond(world, node, &message);
}

static void deliver_local(struct node *node)
{
    struct raft_message message;
    if (!take_first(&node->local, &message)) return;
    enum raft_result result = raft_step(node->raft, &message);
    /* A member may have been removed before its own promise to itself comes back. */
    assert_true(result == RAFT_OK || result == RAFT_STEP_PEER_NOT_FOUND);
    raft_message_deinit(&message);
}

/* ---- The network ---- */

static void deliver(struct world *world)
{
    if (world->network.count == 0) return;
    size_t position = rng_below(&world->rng, world->network.count);
    struct raft_message message = raft_message_take(&world->network.items[position]);
    world->network.items[position] = world->network.items[--world->network.count];
    bool lost = !world->calm && chance(world, 5);
    if (!lost) {
        enum raft_result result = raft_step_from_peer(world->nodes[message.to].raft, &message);
        /* Nobody here breaks the protocol. */
        if (result == RAFT_INVALID_MESSAGE || result == RAFT_LOG_LOST)
            fail_msg("%s", raft_result_text(result));
    }
    if (message.type == RAFT_SNAP) raft_report_snapshot(world->nodes[message.from].raft, message.to, !lost);
    bool again = !world->calm && chance(world, 5);
    if (again) {
        raft_messages_append(&world->network, message);
    } else {
        raft_message_deinit(&message);
    }
}

/* ---- Disorder ---- */

static void propose(struct world *world, struct node *node)
{
    struct blob *data = blob_new(8);
    le64_put(data->data, ++world->proposals + 1);
    (void)raft_propose(node->raft, &data, 1);
    blob_unref(data);
}

static void propose_conf_change(struct world *world, struct node *node)
{
    struct raft_conf_change_single changes[3];
    struct raft_conf_change_v2 change = {.changes = changes, .count = 1 + rng_below(&world->rng, 3)};
    for (size_t i = 0; i < change.count; i++) {
        changes[i].type = (enum raft_conf_change_type)rng_below(&world->rng, 4);
        changes[i].node_id = 1 + rng_below(&world->rng, MEMBERS);
    }
    (void)raft_propose_conf_change_v2(node->raft, &change);
}

static void compact(struct node *node)
{
    struct raft_memory_storage *memory = &node->memory;
    /* Its configuration is the one at `applied`, and the snapshot takes it as it is. */
    if (node->applied <= memory->snapshot.index || node->applied <= memory->compacted_index) return;
    if (raft_memory_storage_create_snapshot(memory, node->applied, NULL, NULL) != RAFT_OK) return;
    assert_int_equal(raft_memory_storage_compact(memory, node->applied), RAFT_OK);
}

static void disturb(struct world *world, struct node *node)
{
    switch (rng_below(&world->rng, 20)) {
    case 0:
        crash(node);
        start(node);
        break;
    case 1:
        propose_conf_change(world, node);
        break;
    case 2:
        raft_transfer_leader(node->raft, 1 + rng_below(&world->rng, MEMBERS));
        break;
    case 3:
        raft_report_unreachable(node->raft, 1 + rng_below(&world->rng, MEMBERS));
        break;
    case 4:
        (void)raft_campaign(node->raft);
        break;
    case 5:
        (void)raft_forget_leader(node->raft);
        break;
    case 6:
        compact(node);
        break;
    default:
        propose(world, node);
    }
}

/* Election Safety (Raft paper, 5.2). */
static void check_leader(struct world *world, const struct node *node)
{
    struct raft_status status = raft_status(node->raft);
    if (status.soft_state.role != RAFT_LEADER) return;
    uint64_t term = status.hard_state.term;
    assert_true(term < TERMS_MAX);
    if (world->leader_of[term] == 0) world->leader_of[term] = status.id;
    assert_int_equal(world->leader_of[term], status.id);
}

static void step(struct world *world)
{
    struct node *node = &world->nodes[1 + rng_below(&world->rng, MEMBERS)];
    switch (rng_below(&world->rng, 10)) {
    case 0:
        if (chance(world, 25)) raft_tick(node->raft); /* a tick is long against all else */
        break;
    case 1:
    case 2:
        take_ready(world, node);
        break;
    case 3:
        write_one(world, node);
        break;
    case 4:
        apply_one(world, node);
        break;
    case 5:
        deliver_local(node);
        break;
    case 6:
        if (!world->calm && chance(world, 30)) disturb(world, node);
        break;
    default:
        deliver(world);
    }
    check_leader(world, node);
}

static void everything_that_waits(struct world *world)
{
    for (int round = 0; round < 200; round++) {
        for (uint64_t id = 1; id <= MEMBERS; id++) {
            struct node *node = &world->nodes[id];
            take_ready(world, node);
            write_one(world, node);
            apply_one(world, node);
            for (int i = 0; i < 20; i++) deliver_local(node);
            check_leader(world, node);
        }
        for (int i = 0; i < 50; i++) deliver(world);
    }
}

/* A removed leader leads on until somebody else can; etcd ends it a while after its removal. */
static void end_removed_leaders(struct world *world)
{
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        struct node *node = &world->nodes[id];
        if (node->raft->role != RAFT_LEADER || raft_members_find(&node->raft->members, id) != NULL) continue;
        crash(node);
        start(node);
    }
}

/* A majority that can talk elects a leader and commits. */
static void check_recovers(struct world *world)
{
    world->calm = true;
    for (int tick = 0; tick < 60; tick++) {
        if (tick % 20 == 19) end_removed_leaders(world);
        for (uint64_t id = 1; id <= MEMBERS; id++) raft_tick(world->nodes[id].raft);
        everything_that_waits(world);
    }
    uint64_t before = world->applied_last;
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        if (raft_status(world->nodes[id].raft).soft_state.role == RAFT_LEADER)
            propose(world, &world->nodes[id]);
    }
    everything_that_waits(world);
    assert_true(world->applied_last > before);
}

static void safety_holds_in_disorder_and_service_returns_after_it(void **state)
{
    (void)state;
    uint64_t entries = 0, terms = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *world = mem_zalloc(1, sizeof(*world));
        world_init(world, seed);
        for (int i = 0; i < STEPS; i++) step(world);
        entries += world->applied_last;
        for (size_t term = 0; term < TERMS_MAX; term++) terms += world->leader_of[term] != 0;
        check_recovers(world);
        world_deinit(world);
        free(world);
    }
    printf("%llu entries applied in %llu terms\n", (unsigned long long)entries, (unsigned long long)terms);
    assert_true(entries > SEEDS * 10 && terms > SEEDS * 2); /* or nothing was tested */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safety_holds_in_disorder_and_service_returns_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
