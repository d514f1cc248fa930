/* etcdserverpb.Cluster. */
#include "server/service.h"

#include "rpc.pb-c.h"

#define CLUSTER(name, operation, descriptor)                                                                 \
    SERVICE_UNARY("etcdserverpb.Cluster", name, operation, descriptor)

const struct grpc_method *const service_cluster_methods[] = {
    CLUSTER("MemberList", NODE_MEMBER_LIST, etcdserverpb__member_list_request__descriptor),
    CLUSTER("MemberAdd", NODE_MEMBER_ADD, etcdserverpb__member_add_request__descriptor),
    CLUSTER("MemberRemove", NODE_MEMBER_REMOVE, etcdserverpb__member_remove_request__descriptor),
    CLUSTER("MemberUpdate", NODE_MEMBER_UPDATE, etcdserverpb__member_update_request__descriptor),
    CLUSTER("MemberPromote", NODE_MEMBER_PROMOTE, etcdserverpb__member_promote_request__descriptor),
    NULL,
};
