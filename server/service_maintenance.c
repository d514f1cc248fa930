/* etcdserverpb.Maintenance. */
#include "server/service.h"

#include "rpc.pb-c.h"

#define MAINTENANCE(name, operation, descriptor)                                                             \
    SERVICE_UNARY("etcdserverpb.Maintenance", name, operation, descriptor)

const struct grpc_method *const service_maintenance_methods[] = {
    MAINTENANCE("Alarm", NODE_ALARM, etcdserverpb__alarm_request__descriptor),
    MAINTENANCE("Status", NODE_STATUS, etcdserverpb__status_request__descriptor),
    MAINTENANCE("Hash", NODE_HASH, etcdserverpb__hash_request__descriptor),
    MAINTENANCE("HashKV", NODE_HASH_KV, etcdserverpb__hash_kvrequest__descriptor),
    MAINTENANCE("MoveLeader", NODE_MOVE_LEADER, etcdserverpb__move_leader_request__descriptor),
    MAINTENANCE("Downgrade", NODE_DOWNGRADE, etcdserverpb__downgrade_request__descriptor),
    &service_snapshot_method,
    &service_defragment_method,
    NULL,
};
