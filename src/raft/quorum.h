/* quorum: when enough voters agree.
 *
 * A majority of one half, or, while the configuration is joint, of both halves (Raft dissertation, 4.3).
 * Nothing is allocated; halves have at most RAFT_MEMBERS_MAX voters.
 */
#ifndef RAFT_QUORUM_H
#define RAFT_QUORUM_H

#include "raft/raft.h"

/* What a voter has acknowledged; 0 when nothing is known. */
typedef uint64_t raft_acked_index(const void *context, uint64_t id);

enum raft_vote {
    RAFT_VOTE_MISSING,
    RAFT_VOTE_NO,
    RAFT_VOTE_YES,
};
typedef enum raft_vote raft_vote_of(const void *context, uint64_t id);

enum raft_vote_result {
    RAFT_VOTE_PENDING, /* missing votes can still decide */
    RAFT_VOTE_LOST,
    RAFT_VOTE_WON,
};

/* The highest index that a majority has acknowledged. An empty half agrees to everything: UINT64_MAX, or WON.
 */
uint64_t raft_quorum_committed(const struct raft_ids *voters, raft_acked_index *acked, const void *context);
enum raft_vote_result raft_quorum_vote(const struct raft_ids *voters, raft_vote_of *vote_of,
                                       const void *context);

/* Of both halves of a configuration. */
uint64_t raft_joint_committed(const struct raft_conf_state *config, raft_acked_index *acked,
                              const void *context);
enum raft_vote_result raft_joint_vote(const struct raft_conf_state *config, raft_vote_of *vote_of,
                                      const void *context);

#endif
