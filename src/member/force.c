#include "member/force.h"

#include "base/memory.h"
#include "cluster/cluster.h"
#include "raft/codec.h"

/* Who would be in the configuration once everything committed is applied. */
struct others {
    struct raft_ids voters, learners;
};

static void others_deinit(struct others *others)
{
    raft_ids_deinit(&others->voters);
    raft_ids_deinit(&others->learners);
}

static struct error *take_entry(struct others *others, const struct raft_entry *entry)
{
    struct raft_conf_change change = {.type = RAFT_CONF_CHANGE_UPDATE_NODE};
    if (entry->type != RAFT_ENTRY_CONF_CHANGE) return NULL;
    struct error *error = raft_decode_conf_change(&change, blob_bytes(entry->data));
    if (error != NULL) return error_wrap(error, "entry %llu", (unsigned long long)entry->index);
    if (change.type == RAFT_CONF_CHANGE_UPDATE_NODE) return NULL;
    raft_ids_remove(&others->voters, change.node_id);
    raft_ids_remove(&others->learners, change.node_id);
    if (change.type == RAFT_CONF_CHANGE_ADD_NODE) raft_ids_insert(&others->voters, change.node_id);
    if (change.type == RAFT_CONF_CHANGE_ADD_LEARNER_NODE) raft_ids_insert(&others->learners, change.node_id);
    return NULL;
}

static struct error *find_others(struct others *others, const struct raft_snapshot *snapshot,
                                 const struct raft_entries *entries)
{
    const struct raft_conf_state *state = &snapshot->conf_state;
    for (size_t i = 0; i < state->voters.count; i++) raft_ids_insert(&others->voters, state->voters.items[i]);
    for (size_t i = 0; i < state->learners.count; i++)
        raft_ids_insert(&others->learners, state->learners.items[i]);
    struct error *error = NULL;
    for (size_t i = 0; i < entries->count && error == NULL; i++)
        error = take_entry(others, &entries->items[i]);
    return error;
}

static void append(struct wal_content *content, const struct cluster_change *change)
{
    struct buf context = {0}, data = {0};
    struct raft_conf_change conf_change = {0};
    cluster_change_write(change, &context, &conf_change);
    raft_encode_conf_change(&data, &conf_change);
    content->hard_state.commit++;
    raft_entries_append_owned(&content->entries, (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE,
                                                                     .term = content->hard_state.term,
                                                                     .index = content->hard_state.commit,
                                                                     .data = blob_from(buf_bytes(&data))});
    buf_deinit(&context);
    buf_deinit(&data);
}

/* This member must vote; whoever finds it missing has no address of it either (etcd's is the default). */
static void append_self(struct wal_content *content, const struct others *others, uint64_t id)
{
    struct cluster_change change = {.kind = CLUSTER_PROMOTE, .member = {.id = id, .name = mem_strdup("")}};
    if (!raft_ids_contain(&others->learners, id)) {
        change.kind = CLUSTER_ADD;
        cluster_urls_append(&change.member.peer_urls, BYTES_LITERAL("http://localhost:2380"));
    }
    append(content, &change);
    cluster_change_deinit(&change);
}

static void append_removals(struct wal_content *content, const struct raft_ids *ids, uint64_t id)
{
    for (size_t i = 0; i < ids->count; i++) {
        struct cluster_change change = {.kind = CLUSTER_REMOVE, .member = {.id = ids->items[i]}};
        if (ids->items[i] == id) continue;
        change.member.name = mem_strdup("");
        append(content, &change);
        cluster_change_deinit(&change);
    }
}

static void drop_uncommitted(struct wal_content *content, uint64_t commit, const struct logger *logger)
{
    struct raft_entries *entries = &content->entries;
    size_t kept = entries->count;
    while (kept > 0 && entries->items[kept - 1].index > commit) kept--;
    if (kept < entries->count)
        log_info(logger, "discarding uncommitted WAL entries",
                 LOG_UINT("entry-index", entries->items[kept].index),
                 LOG_UINT("current-commit-index", commit),
                 LOG_UINT("number-of-discarded-entries", entries->count - kept));
    raft_entries_truncate(entries, kept);
}

struct error *member_force_alone(uint64_t id, uint64_t applied, const struct raft_snapshot *snapshot,
                                 struct wal_content *content, uint64_t *first, const struct logger *logger)
{
    struct others others = {0};
    uint64_t *commit = &content->hard_state.commit;
    if (*commit < applied) *commit = applied;
    if (*commit < snapshot->index) *commit = snapshot->index;
    drop_uncommitted(content, *commit, logger);
    *first = *commit + 1;
    struct error *error = find_others(&others, snapshot, &content->entries);
    if (error == NULL) {
        if (!raft_ids_contain(&others.voters, id)) append_self(content, &others, id);
        append_removals(content, &others.voters, id);
        append_removals(content, &others.learners, id);
    }
    others_deinit(&others);
    return error;
}
