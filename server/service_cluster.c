/* etcdserverpb.Cluster. */
#include "server/service.h"

#include "rpc.pb-c.h"

const struct grpc_method *const service_cluster_methods[] = {
    SERVICE_UNARY("etcdserverpb.Cluster", "MemberList", NODE_MEMBER_LIST,
                  etcdserverpb__member_list_request__descriptor),
    NULL,
};
