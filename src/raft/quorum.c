#include "raft/quorum.h"

#include <assert.h>

uint64_t raft_quorum_committed(const struct raft_ids *voters, raft_acked_index *acked, const void *context)
{
    uint64_t sorted[RAFT_MEMBERS_MAX];
    size_t count = voters->count;
    assert(count <= RAFT_MEMBERS_MAX);
    if (count == 0) return UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t index = acked(context, voters->items[i]);
        size_t place = i;
        for (; place > 0 && sorted[place - 1] > index; place--) sorted[place] = sorted[place - 1];
        sorted[place] = index;
    }
    /* count/2 + 1 voters have acknowledged this one or a higher one. */
    return sorted[count - (count / 2 + 1)];
}

enum raft_vote_result raft_quorum_vote(const struct raft_ids *voters, raft_vote_of *vote_of,
                                       const void *context)
{
    if (voters->count == 0) return RAFT_VOTE_WON;
    size_t votes[3] = {0};
    for (size_t i = 0; i < voters->count; i++) votes[vote_of(context, voters->items[i])]++;
    size_t majority = voters->count / 2 + 1;
    if (votes[RAFT_VOTE_YES] >= majority) return RAFT_VOTE_WON;
    return votes[RAFT_VOTE_YES] + votes[RAFT_VOTE_MISSING] >= majority ? RAFT_VOTE_PENDING : RAFT_VOTE_LOST;
}

uint64_t raft_joint_committed(const struct raft_conf_state *config, raft_acked_index *acked,
                              const void *context)
{
    uint64_t incoming = raft_quorum_committed(&config->voters, acked, context);
    uint64_t outgoing = raft_quorum_committed(&config->voters_outgoing, acked, context);
    return incoming < outgoing ? incoming : outgoing;
}

enum raft_vote_result raft_joint_vote(const struct raft_conf_state *config, raft_vote_of *vote_of,
                                      const void *context)
{
    enum raft_vote_result incoming = raft_quorum_vote(&config->voters, vote_of, context);
    enum raft_vote_result outgoing = raft_quorum_vote(&config->voters_outgoing, vote_of, context);
    if (incoming == outgoing) return incoming;
    if (incoming == RAFT_VOTE_LOST || outgoing == RAFT_VOTE_LOST) return RAFT_VOTE_LOST;
    return RAFT_VOTE_PENDING;
}
