/* discovery: how the first start of a member finds the others when --initial-cluster does not name them.
 *
 *     --discovery-endpoints, --discovery-token    another etcd holds the size of the cluster to be and takes
 *                                                 down who is there:
 *         /_etcd/registry/TOKEN/_config/size           "3"
 *         /_etcd/registry/TOKEN/members/ID             "name=peerURL[,name=peerURL]"
 *                                                 The first of that size, by age, found the cluster.
 *     --discovery-srv                             SRV records of a domain name all members:
 *         _etcd-server-ssl[-NAME]._tcp.DOMAIN (https), _etcd-server[-NAME]._tcp.DOMAIN (http)
 *
 * Both block the calling thread, the first until the cluster is complete; errors that may pass are logged and
 * tried again for ever.
 */
#ifndef SERVER_DISCOVERY_H
#define SERVER_DISCOVERY_H

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "server/options.h"

/* What stands in for --initial-cluster and --initial-cluster-token; in `memory`. */
struct discovery_found {
    const char *initial_cluster;
    const char *token;
};

/* Neither asked for: the options' own. sha1 makes the member's id. */
struct error *discovery_find(const struct options *options, cluster_sha1 *sha1, const struct logger *logger,
                             struct arena *memory, struct discovery_found *found)
    __attribute__((warn_unused_result));

/* ---- the registry's content, for discovery_find and its tests ---- */

enum { DISCOVERY_MEMBERS_MAX = 1024 };

struct discovery_member {
    const char *key;  /* the whole key */
    const char *urls; /* "name=url,..." */
    int64_t revision; /* at which it came */
};

struct discovery_registry {
    struct discovery_member members[DISCOVERY_MEMBERS_MAX]; /* by age, once sorted */
    size_t count;
};

/* One row; a key that is there already is left as it is. The texts are copied to `memory`. What is not
 * "name=url,..." is an error. */
struct error *discovery_registry_add(struct discovery_registry *registry, struct arena *memory,
                                     struct bytes key, struct bytes value, int64_t revision)
    __attribute__((warn_unused_result));
/* Whether so many others came before the member with that key, so that there is no room for it. */
bool discovery_registry_is_full(struct discovery_registry *registry, size_t size, const char *own_key);
/* The first `size` as an --initial-cluster. */
const char *discovery_registry_cluster(struct discovery_registry *registry, size_t size,
                                       struct arena *memory);

#endif
