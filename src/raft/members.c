#include "raft/members.h"

#include "base/memory.h"
#include "raft/quorum.h"

#include <assert.h>
#include <stdlib.h>

void raft_members_init(struct raft_members *members, uint64_t max_inflight_messages,
                       uint64_t max_inflight_bytes)
{
    *members = (struct raft_members){
        .max_inflight_messages = max_inflight_messages,
        .max_inflight_bytes = max_inflight_bytes,
    };
}

void raft_members_deinit(struct raft_members *members)
{
    for (size_t i = 0; i < members->count; i++) raft_progress_deinit(&members->items[i]);
    free(members->items);
    raft_conf_state_deinit(&members->config);
    *members = (struct raft_members){0};
}

void raft_members_copy(struct raft_members *to, const struct raft_members *from)
{
    assert(to != from);
    raft_members_deinit(to);
    raft_members_init(to, from->max_inflight_messages, from->max_inflight_bytes);
    raft_conf_state_copy(&to->config, &from->config);
    to->items = mem_alloc(from->count * sizeof(*to->items));
    to->count = to->capacity = from->count;
    for (size_t i = 0; i < from->count; i++) {
        to->items[i] = from->items[i];
        to->items[i].inflights = (struct raft_inflights){0};
        raft_inflights_copy(&to->items[i].inflights, &from->items[i].inflights);
    }
}

static size_t lower_bound(const struct raft_members *members, uint64_t id)
{
    size_t low = 0, high = members->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (members->items[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct raft_progress *raft_members_find(const struct raft_members *members, uint64_t id)
{
    size_t position = lower_bound(members, id);
    return position < members->count && members->items[position].id == id ? &members->items[position] : NULL;
}

struct raft_progress *raft_members_add(struct raft_members *members, uint64_t id)
{
    size_t position = lower_bound(members, id);
    assert(position == members->count || members->items[position].id != id);
    if (members->count == members->capacity) {
        members->capacity = members->capacity == 0 ? 4 : members->capacity * 2;
        members->items = mem_realloc(members->items, members->capacity * sizeof(*members->items));
    }
    struct raft_progress *progress = &members->items[position];
    memmove(progress + 1, progress, (members->count - position) * sizeof(*progress));
    members->count++;
    *progress = (struct raft_progress){.id = id, .next = 1};
    raft_inflights_init(&progress->inflights, members->max_inflight_messages, members->max_inflight_bytes);
    return progress;
}

void raft_members_remove(struct raft_members *members, uint64_t id)
{
    struct raft_progress *progress = raft_members_find(members, id);
    if (progress == NULL) return;
    raft_progress_deinit(progress);
    members->count--;
    size_t position = (size_t)(progress - members->items);
    memmove(progress, progress + 1, (members->count - position) * sizeof(*progress));
}

bool raft_members_is_voter(const struct raft_members *members, uint64_t id)
{
    return raft_ids_contain(&members->config.voters, id) ||
           raft_ids_contain(&members->config.voters_outgoing, id);
}

size_t raft_members_voters(const struct raft_members *members, uint64_t *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < members->count; i++) {
        if (!raft_members_is_voter(members, members->items[i].id)) continue;
        assert(count < RAFT_MEMBERS_MAX);
        ids[count++] = members->items[i].id;
    }
    return count;
}

bool raft_members_is_singleton(const struct raft_members *members)
{
    return members->config.voters.count == 1 && !raft_members_is_joint(members);
}

static uint64_t match_of(const void *context, uint64_t id)
{
    const struct raft_progress *progress = raft_members_find(context, id);
    return progress == NULL ? 0 : progress->match;
}

uint64_t raft_members_committed(const struct raft_members *members)
{
    return raft_joint_committed(&members->config, match_of, members);
}

static uint64_t read_position_of(const void *context, uint64_t id)
{
    const struct raft_progress *progress = raft_members_find(context, id);
    return progress == NULL ? 0 : progress->read_position;
}

uint64_t raft_members_read_confirmed(const struct raft_members *members)
{
    return raft_joint_committed(&members->config, read_position_of, members);
}

static enum raft_vote activity_of(const void *context, uint64_t id)
{
    const struct raft_progress *progress = raft_members_find(context, id);
    if (progress == NULL || progress->is_learner) return RAFT_VOTE_MISSING;
    return progress->recent_active ? RAFT_VOTE_YES : RAFT_VOTE_NO;
}

bool raft_members_quorum_active(const struct raft_members *members)
{
    return raft_joint_vote(&members->config, activity_of, members) == RAFT_VOTE_WON;
}
