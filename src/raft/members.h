/* members: a configuration with the progress of everybody in it.
 *
 * Both change together, when a configuration change is applied. The progresses are sorted by id, and
 * everything that is done for each member is done in that order.
 */
#ifndef RAFT_MEMBERS_H
#define RAFT_MEMBERS_H

#include "raft/progress.h"

struct raft_members {
    struct raft_conf_state config; /* sorted */
    struct raft_progress *items;
    size_t count;
    size_t capacity;
    uint64_t max_inflight_messages; /* for new members */
    uint64_t max_inflight_bytes;
};

void raft_members_init(struct raft_members *members, uint64_t max_inflight_messages,
                       uint64_t max_inflight_bytes);
void raft_members_deinit(struct raft_members *members);
void raft_members_copy(struct raft_members *to, const struct raft_members *from);
/* NULL when it is not a member. The pointer is valid until members are added or removed. */
struct raft_progress *raft_members_find(const struct raft_members *members, uint64_t id);
/* Must not be there yet. */
struct raft_progress *raft_members_add(struct raft_members *members, uint64_t id);
void raft_members_remove(struct raft_members *members, uint64_t id);

static inline bool raft_members_is_joint(const struct raft_members *members)
{
    return members->config.voters_outgoing.count > 0;
}
/* A voter in either half. */
bool raft_members_is_voter(const struct raft_members *members, uint64_t id);
/* The voters of both halves, ascending, into `ids`, which has room for RAFT_MEMBERS_MAX; returns how many. */
size_t raft_members_voters(const struct raft_members *members, uint64_t *ids);
/* One voter and not joint: it decides alone. */
bool raft_members_is_singleton(const struct raft_members *members);
/* The highest index that a quorum has in its log. */
uint64_t raft_members_committed(const struct raft_members *members);
/* Was a quorum active lately? */
bool raft_members_quorum_active(const struct raft_members *members);
/* The highest read-only position that a quorum has confirmed. */
uint64_t raft_members_read_confirmed(const struct raft_members *members);

#endif
