/* bootstrap: what a member that starts for the first time asks the other members, by HTTP on their peer
 * ports.
 *
 *     a new cluster       GET /members   whether one of them knows this member as one that had started before
 *     a running cluster   GET /members   its id and its members, who must be those of --initial-cluster
 *                         GET /version, /downgrade/enabled   whether this release may be among them
 *
 * Everybody is asked at once; the first answer that can be understood counts. Blocks the calling thread, on a
 * loop of its own, for as long as the limits of etcd's that stand in bootstrap.c.
 */
#ifndef SERVER_BOOTSTRAP_H
#define SERVER_BOOTSTRAP_H

#include "member/member.h"

struct transport_security;

struct bootstrap {
    /* Set by the caller, borrowed. */
    const struct transport_security *security; /* for https addresses; NULL: they cannot be reached */
    const struct logger *logger;
    const char *version; /* X.Y.Z of this release */
    size_t max_learners;
    int64_t request_timeout; /* nanoseconds */

    /* The members of the running cluster, this one among them, once it was found. */
    struct cluster_member *remotes;
    size_t remote_count;
    uint64_t cluster_id;
};

/* Frees what was found. */
void bootstrap_deinit(struct bootstrap *bootstrap);

/* struct member_bootstrap, with a struct bootstrap as context. ERROR_INVALID and ERROR_UNAVAILABLE, with
 * etcd's texts. */
struct error *bootstrap_check_new(void *context, const struct cluster_initial *initial, const char *name,
                                  uint64_t id) __attribute__((warn_unused_result));
struct error *bootstrap_find_running(void *context, const struct cluster_initial *initial, const char *name,
                                     uint64_t *cluster_id, uint64_t *ids) __attribute__((warn_unused_result));
/* Looks host names up, for at most half a minute. */
bool bootstrap_same_urls(void *context, const struct cluster_urls *a, const struct cluster_urls *b);

#endif
