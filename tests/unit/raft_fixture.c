#include "raft_fixture.h"

#include "raft/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- Members ---- */

static void add_defaults(struct raft_config *config)
{
    if (config->id == 0) config->id = 1;
    if (config->election_tick == 0) config->election_tick = 10;
    if (config->heartbeat_tick == 0) config->heartbeat_tick = 1;
    if (config->max_size_per_message == 0) config->max_size_per_message = RAFT_NO_LIMIT;
    if (config->max_inflight_messages == 0) config->max_inflight_messages = 256;
}

struct raft_entries make_entries(uint64_t index, struct number_list terms)
{
    struct raft_entries entries = {0};
    for (size_t i = 0; i < terms.count; i++) {
        struct raft_entry entry = {.term = terms.items[i], .index = index + 1 + i};
        raft_entries_append_owned(&entries, entry);
    }
    return entries;
}

void member_init(struct member *member, const struct member_setup *setup)
{
    *member = (struct member){.config = setup->config};
    add_defaults(&member->config);
    struct raft_memory_storage *memory = &member->memory;
    raft_memory_storage_init(memory);
    struct raft_snapshot snapshot = {.index = setup->snapshot_index, .term = setup->snapshot_term};
    for (size_t i = 0; i < setup->voters.count; i++) {
        raft_ids_append(&snapshot.conf_state.voters, setup->voters.items[i]);
    }
    for (size_t i = 0; i < setup->learners.count; i++) {
        raft_ids_append(&snapshot.conf_state.learners, setup->learners.items[i]);
    }
    assert_int_equal(raft_memory_storage_apply_snapshot(memory, &snapshot), RAFT_OK);
    raft_snapshot_deinit(&snapshot);
    struct raft_entries entries = make_entries(setup->snapshot_index, setup->log_terms);
    raft_memory_storage_append(memory, entries.items, entries.count);
    raft_entries_deinit(&entries);
    raft_memory_storage_set_hard_state(memory, setup->hard_state);
    member->config.storage = &memory->storage;
    assert_null(raft_new(&member->raft, &member->config));
}

void member_deinit(struct member *member)
{
    raft_free(member->raft);
    raft_memory_storage_deinit(&member->memory);
    raft_messages_deinit(&member->sent);
    for (size_t i = 0; i < member->reads.count; i++) blob_unref(member->reads.items[i].context);
    free(member->reads.items);
}

void member_restart(struct member *member, uint64_t applied)
{
    raft_free(member->raft);
    member->config.applied = applied;
    assert_null(raft_new(&member->raft, &member->config));
}

static void keep_reads(struct member *member, struct raft_read_states *reads)
{
    if (reads->count == 0) return;
    size_t count = member->reads.count + reads->count;
    member->reads.items = realloc(member->reads.items, count * sizeof(*reads->items));
    assert_non_null(member->reads.items);
    memcpy(member->reads.items + member->reads.count, reads->items, reads->count * sizeof(*reads->items));
    member->reads.count = count;
    reads->count = 0; /* references moved */
}

static void apply(struct member *member, const struct raft_entry *entry)
{
    assert_true(entry->index == member->applied_index + 1 || member->applied_index == 0);
    member->applied_index = entry->index;
    if (entry->type == RAFT_ENTRY_NORMAL) {
        member->applied_entries += entry->data != NULL;
        return;
    }
    struct raft_conf_change_v2 change = {0};
    assert_null(raft_conf_change_from_entry(&change, entry));
    assert_null(raft_apply_conf_change(member->raft, &change, &member->memory.snapshot.conf_state));
    raft_conf_change_v2_deinit(&change);
}

static void carry_out(struct member *member, struct raft_ready *ready)
{
    struct raft_memory_storage *memory = &member->memory;
    member->last_must_sync = ready->must_sync;
    if (ready->has_hard_state) raft_memory_storage_set_hard_state(memory, ready->hard_state);
    if (ready->snapshot != NULL) {
        assert_int_equal(raft_memory_storage_apply_snapshot(memory, ready->snapshot), RAFT_OK);
        member->applied_index = ready->snapshot->index;
    }
    raft_memory_storage_append(memory, ready->entries.items, ready->entries.count);
    for (size_t i = 0; i < ready->messages.count; i++) {
        raft_messages_append(&member->sent, raft_message_take(&ready->messages.items[i]));
    }
    keep_reads(member, &ready->read_states);
    for (size_t i = 0; i < ready->committed_entries.count; i++)
        apply(member, &ready->committed_entries.items[i]);
}

void member_flush(struct member *member)
{
    for (int i = 0; raft_has_ready(member->raft); i++) {
        assert_true(i < 1000);
        struct raft_ready ready;
        raft_take_ready(member->raft, &ready);
        carry_out(member, &ready);
        raft_advance(member->raft);
        raft_ready_deinit(&ready);
    }
}

enum raft_result member_step(struct member *member, struct raft_message message)
{
    bool own = message.from == member->config.id || raft_id_is_storage_thread(message.from);
    enum raft_result result =
        own ? raft_step(member->raft, &message) : raft_step_from_peer(member->raft, &message);
    raft_message_deinit(&message);
    return result;
}

enum raft_result member_receive(struct member *member, struct raft_message message)
{
    enum raft_result result = member_step(member, message);
    member_flush(member);
    return result;
}

enum raft_result member_propose(struct member *member, const char *data)
{
    struct blob *blob = blob_from(bytes_from_string(data));
    enum raft_result result = raft_propose(member->raft, &blob, 1);
    blob_unref(blob);
    return result;
}

void member_make_leader(struct member *member)
{
    struct raft *raft = member->raft;
    raft_become_candidate(raft);
    raft_become_leader(raft);
    member_flush(member);
    member_drop_sent(member);
}

void member_drop_sent(struct member *member)
{
    raft_messages_deinit(&member->sent);
}

const struct raft_message *member_sent(const struct member *member, enum raft_message_type type, uint64_t to)
{
    const struct raft_message *found = NULL;
    for (size_t i = 0; i < member->sent.count; i++) {
        const struct raft_message *message = &member->sent.items[i];
        if (message->type != type || message->to != to) continue;
        if (found != NULL) fail_msg("more than one %s", raft_message_type_name(type));
        found = message;
    }
    if (found == NULL) fail_msg("no %s", raft_message_type_name(type));
    return found;
}

size_t member_count_sent(const struct member *member, enum raft_message_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < member->sent.count; i++) count += member->sent.items[i].type == type;
    return count;
}

struct raft_progress *member_progress(const struct member *member, uint64_t id)
{
    struct raft_progress *progress = raft_members_find(&member->raft->members, id);
    assert_non_null(progress);
    return progress;
}

/* ---- Clusters ---- */

void cluster_init(struct cluster *cluster, size_t count, const struct raft_config *config)
{
    static const uint64_t ids[CLUSTER_MAX] = {1, 2, 3, 4, 5, 6, 7, 8};
    *cluster = (struct cluster){.count = count};
    for (size_t i = 0; i < count; i++) {
        struct member_setup setup = {.config = *config, .voters = {ids, count}};
        setup.config.id = ids[i];
        member_init(&cluster->members[i], &setup);
    }
}

void cluster_deinit(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) member_deinit(&cluster->members[i]);
}

struct member *cluster_member(struct cluster *cluster, uint64_t id)
{
    assert_true(id >= 1 && id <= cluster->count);
    return &cluster->members[id - 1];
}

void cluster_isolate(struct cluster *cluster, uint64_t id, bool isolated)
{
    for (size_t other = 1; other <= cluster->count; other++) {
        cluster->cut[id][other] = cluster->cut[other][id] = isolated;
    }
}

static void deliver(struct cluster *cluster, struct raft_message message)
{
    bool lost = message.to == 0 || message.to > cluster->count || cluster->cut[message.from][message.to] ||
                (cluster->dropped_types >> message.type & 1) != 0;
    if (lost) {
        raft_message_deinit(&message);
    } else {
        (void)member_step(cluster_member(cluster, message.to), message);
    }
}

void cluster_settle(struct cluster *cluster)
{
    bool moved = true;
    for (int round = 0; moved; round++) {
        assert_true(round < 10000);
        moved = false;
        for (size_t i = 0; i < cluster->count; i++) member_flush(&cluster->members[i]);
        for (size_t i = 0; i < cluster->count; i++) {
            struct raft_messages sent = cluster->members[i].sent;
            cluster->members[i].sent = (struct raft_messages){0};
            moved = moved || sent.count > 0;
            for (size_t j = 0; j < sent.count; j++) deliver(cluster, raft_message_take(&sent.items[j]));
            raft_messages_deinit(&sent);
        }
    }
}

void cluster_campaign(struct cluster *cluster, uint64_t id)
{
    (void)raft_campaign(cluster_member(cluster, id)->raft);
    cluster_settle(cluster);
}

enum raft_role cluster_role(struct cluster *cluster, uint64_t id)
{
    return cluster_member(cluster, id)->raft->role;
}

void cluster_tick(struct cluster *cluster, uint64_t id, uint32_t ticks)
{
    for (uint32_t i = 0; i < ticks; i++) raft_tick(cluster_member(cluster, id)->raft);
}
