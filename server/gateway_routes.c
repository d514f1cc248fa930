/* Which path is which method. */
#include "server/gateway.h"

#include "rpc.pb-c.h"
#include "v3election.pb-c.h"
#include "v3lock.pb-c.h"

#define ROUTE(path_, kind_, package_, service_, method_, request_, response_)                                \
    {                                                                                                        \
        .path = (path_), .method = "/" #package_ "." service_ "/" method_, .kind = (kind_),                  \
        .request = &package_##__##request_##__descriptor, .response = &package_##__##response_##__descriptor \
    }
#define UNARY(path, service, method, name)                                                                   \
    ROUTE(path, GRPC_UNARY, etcdserverpb, service, method, name##_request, name##_response)
#define AUTH(path, method, name) UNARY("auth/" path, "Auth", method, name)
#define ELECTION(path, kind, method, request, response)                                                      \
    ROUTE("election/" path, kind, v3electionpb, "Election", method, request, response)

const struct gateway_route gateway_routes[] = {
    UNARY("kv/range", "KV", "Range", range),
    UNARY("kv/put", "KV", "Put", put),
    UNARY("kv/deleterange", "KV", "DeleteRange", delete_range),
    UNARY("kv/txn", "KV", "Txn", txn),
    UNARY("kv/compaction", "KV", "Compact", compaction),
    ROUTE("watch", GRPC_BIDI, etcdserverpb, "Watch", "Watch", watch_request, watch_response),
    UNARY("lease/grant", "Lease", "LeaseGrant", lease_grant),
    UNARY("lease/revoke", "Lease", "LeaseRevoke", lease_revoke),
    UNARY("kv/lease/revoke", "Lease", "LeaseRevoke", lease_revoke),
    ROUTE("lease/keepalive", GRPC_BIDI, etcdserverpb, "Lease", "LeaseKeepAlive", lease_keep_alive_request,
          lease_keep_alive_response),
    UNARY("lease/timetolive", "Lease", "LeaseTimeToLive", lease_time_to_live),
    UNARY("kv/lease/timetolive", "Lease", "LeaseTimeToLive", lease_time_to_live),
    UNARY("lease/leases", "Lease", "LeaseLeases", lease_leases),
    UNARY("kv/lease/leases", "Lease", "LeaseLeases", lease_leases),
    UNARY("cluster/member/add", "Cluster", "MemberAdd", member_add),
    UNARY("cluster/member/remove", "Cluster", "MemberRemove", member_remove),
    UNARY("cluster/member/update", "Cluster", "MemberUpdate", member_update),
    UNARY("cluster/member/list", "Cluster", "MemberList", member_list),
    UNARY("cluster/member/promote", "Cluster", "MemberPromote", member_promote),
    UNARY("maintenance/alarm", "Maintenance", "Alarm", alarm),
    UNARY("maintenance/status", "Maintenance", "Status", status),
    UNARY("maintenance/defragment", "Maintenance", "Defragment", defragment),
    UNARY("maintenance/hash", "Maintenance", "Hash", hash),
    ROUTE("maintenance/hashkv", GRPC_UNARY, etcdserverpb, "Maintenance", "HashKV", hash_kvrequest,
          hash_kvresponse),
    ROUTE("maintenance/snapshot", GRPC_SERVER_STREAM, etcdserverpb, "Maintenance", "Snapshot",
          snapshot_request, snapshot_response),
    UNARY("maintenance/transfer-leadership", "Maintenance", "MoveLeader", move_leader),
    UNARY("maintenance/downgrade", "Maintenance", "Downgrade", downgrade),
    AUTH("enable", "AuthEnable", auth_enable),
    AUTH("disable", "AuthDisable", auth_disable),
    AUTH("status", "AuthStatus", auth_status),
    AUTH("authenticate", "Authenticate", authenticate),
    AUTH("user/add", "UserAdd", auth_user_add),
    AUTH("user/get", "UserGet", auth_user_get),
    AUTH("user/list", "UserList", auth_user_list),
    AUTH("user/delete", "UserDelete", auth_user_delete),
    AUTH("user/changepw", "UserChangePassword", auth_user_change_password),
    AUTH("user/grant", "UserGrantRole", auth_user_grant_role),
    AUTH("user/revoke", "UserRevokeRole", auth_user_revoke_role),
    AUTH("role/add", "RoleAdd", auth_role_add),
    AUTH("role/get", "RoleGet", auth_role_get),
    AUTH("role/list", "RoleList", auth_role_list),
    AUTH("role/delete", "RoleDelete", auth_role_delete),
    AUTH("role/grant", "RoleGrantPermission", auth_role_grant_permission),
    AUTH("role/revoke", "RoleRevokePermission", auth_role_revoke_permission),
    ROUTE("lock/lock", GRPC_UNARY, v3lockpb, "Lock", "Lock", lock_request, lock_response),
    ROUTE("lock/unlock", GRPC_UNARY, v3lockpb, "Lock", "Unlock", unlock_request, unlock_response),
    ELECTION("campaign", GRPC_UNARY, "Campaign", campaign_request, campaign_response),
    ELECTION("proclaim", GRPC_UNARY, "Proclaim", proclaim_request, proclaim_response),
    ELECTION("leader", GRPC_UNARY, "Leader", leader_request, leader_response),
    ELECTION("observe", GRPC_SERVER_STREAM, "Observe", leader_request, leader_response),
    ELECTION("resign", GRPC_UNARY, "Resign", resign_request, resign_response),
    {.path = NULL},
};

const struct gateway_route *gateway_find_route(struct bytes path)
{
    for (const struct gateway_route *route = gateway_routes; route->path != NULL; route++)
        if (bytes_equal(path, bytes_from_string(route->path))) return route;
    return NULL;
}
