/* first_log: what the log of a new cluster begins with. */
#ifndef MEMBER_FIRST_LOG_H
#define MEMBER_FIRST_LOG_H

#include "cluster/cluster.h"
#include "raft/raft.h"

/* The log's metadata: whose it is. Appends. */
void member_encode_metadata(struct buf *out, uint64_t member_id, uint64_t cluster_id);
/* Entries 1..n of term 1: each adds one of the first members, in ascending order of their ids, the same on
 * every member. `entries` must be empty. */
void member_first_entries(const struct cluster *cluster, struct raft_entries *entries);

#endif
