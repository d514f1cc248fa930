/* cluster_internal: what the files of this module share.
 *
 *     cluster.c   members and versions in memory and in rows
 *     change.c    conf changes: reading, checking, carrying out
 *     document.c  the JSON texts
 *     legacy.c    what 3.4 and 3.5 left in logs and snapshots
 *     initial.c   ids, --initial-cluster, the first start
 */
#ifndef CLUSTER_CLUSTER_INTERNAL_H
#define CLUSTER_CLUSTER_INTERNAL_H

#include "cluster/cluster.h"
#include "cluster/json_reader.h"

enum { CLUSTER_HEX_ID_SIZE = 17 };

struct cluster {
    struct cluster_options options;
    struct cluster_member *members; /* by id */
    size_t count;
    size_t capacity;
    struct raft_ids removed;
    bool has_version;
    struct version version;
    struct cluster_downgrade downgrade;
};

/* ---- cluster.c ---- */

/* Lower-case hex without leading zeros, as a string. */
void cluster_hex_id(char text[CLUSTER_HEX_ID_SIZE], uint64_t id);
/* False when it is not 1 to 16 hex digits. */
bool cluster_parse_hex_id(struct bytes text, uint64_t *id);

struct cluster_member *cluster_find(const struct cluster *cluster, uint64_t id);
/* The member with this id, made (empty) when it is not there. NULL when there are too many. */
struct cluster_member *cluster_find_or_add(struct cluster *cluster, uint64_t id);
void cluster_drop(struct cluster *cluster, uint64_t id);
/* Members, removed ids, versions: none. */
void cluster_forget(struct cluster *cluster);
/* Writes the row of a member. */
void cluster_store_member(struct backend *backend, const struct cluster_member *member);
void cluster_store_removed(struct backend *backend, uint64_t id);

/* ---- document.c ---- */

/* {"peerURLs":[..],"isLearner":true} and {"name":"..","clientURLs":[..]}; and reading them, or any object
 * with these fields and "id", into an initialised member. */
void cluster_write_raft_attributes(struct buf *out, const struct cluster_member *member);
void cluster_write_attributes(struct buf *out, const struct cluster_member *member);
/* is_promote (may be NULL) gets the field of that name. */
struct error *cluster_parse_member_fields(struct bytes json, struct cluster_member *member, bool *is_promote)
    __attribute__((warn_unused_result));
void cluster_write_downgrade(struct buf *out, struct cluster_downgrade downgrade);
struct error *cluster_parse_downgrade(struct bytes json, struct cluster_downgrade *downgrade)
    __attribute__((warn_unused_result));

#endif
