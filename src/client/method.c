#include "client/method.h"

#include "health.pb-c.h"
#include "rpc.pb-c.h"
#include "v3election.pb-c.h"
#include "v3lock.pb-c.h"

#include <assert.h>
#include <string.h>

/* Path, request, response, kind, retry class. */
#define METHOD(path_, request_, response_, kind_, retry_)                                                    \
    {                                                                                                        \
        .path = path_, .request = &request_##__descriptor, .response = &response_##__descriptor,             \
        .kind = kind_, .retry = retry_                                                                       \
    }

/* Which calls are repeated is etcd's client library's choice. */
static const struct client_method methods[CLIENT_RPC_COUNT] = {
    [CLIENT_RANGE] = METHOD("/etcdserverpb.KV/Range", etcdserverpb__range_request,
                            etcdserverpb__range_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_RANGE_STREAM] =
        METHOD("/etcdserverpb.KV/RangeStream", etcdserverpb__range_request,
               etcdserverpb__range_stream_response, CLIENT_SERVER_STREAM, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_PUT] = METHOD("/etcdserverpb.KV/Put", etcdserverpb__put_request, etcdserverpb__put_response,
                          CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_DELETE_RANGE] = METHOD("/etcdserverpb.KV/DeleteRange", etcdserverpb__delete_range_request,
                                   etcdserverpb__delete_range_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_TXN] = METHOD("/etcdserverpb.KV/Txn", etcdserverpb__txn_request, etcdserverpb__txn_response,
                          CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_COMPACT] = METHOD("/etcdserverpb.KV/Compact", etcdserverpb__compaction_request,
                              etcdserverpb__compaction_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_WATCH] = METHOD("/etcdserverpb.Watch/Watch", etcdserverpb__watch_request,
                            etcdserverpb__watch_response, CLIENT_BOTH_WAYS, CLIENT_RETRY_UNSENT),
    [CLIENT_LEASE_GRANT] = METHOD("/etcdserverpb.Lease/LeaseGrant", etcdserverpb__lease_grant_request,
                                  etcdserverpb__lease_grant_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_LEASE_REVOKE] =
        METHOD("/etcdserverpb.Lease/LeaseRevoke", etcdserverpb__lease_revoke_request,
               etcdserverpb__lease_revoke_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_LEASE_KEEP_ALIVE] =
        METHOD("/etcdserverpb.Lease/LeaseKeepAlive", etcdserverpb__lease_keep_alive_request,
               etcdserverpb__lease_keep_alive_response, CLIENT_BOTH_WAYS, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_LEASE_TIME_TO_LIVE] =
        METHOD("/etcdserverpb.Lease/LeaseTimeToLive", etcdserverpb__lease_time_to_live_request,
               etcdserverpb__lease_time_to_live_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_LEASE_LEASES] =
        METHOD("/etcdserverpb.Lease/LeaseLeases", etcdserverpb__lease_leases_request,
               etcdserverpb__lease_leases_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_MEMBER_ADD] = METHOD("/etcdserverpb.Cluster/MemberAdd", etcdserverpb__member_add_request,
                                 etcdserverpb__member_add_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_MEMBER_REMOVE] = METHOD("/etcdserverpb.Cluster/MemberRemove", etcdserverpb__member_remove_request,
                                    etcdserverpb__member_remove_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_MEMBER_UPDATE] = METHOD("/etcdserverpb.Cluster/MemberUpdate", etcdserverpb__member_update_request,
                                    etcdserverpb__member_update_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_MEMBER_LIST] = METHOD("/etcdserverpb.Cluster/MemberList", etcdserverpb__member_list_request,
                                  etcdserverpb__member_list_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_MEMBER_PROMOTE] =
        METHOD("/etcdserverpb.Cluster/MemberPromote", etcdserverpb__member_promote_request,
               etcdserverpb__member_promote_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_ALARM] = METHOD("/etcdserverpb.Maintenance/Alarm", etcdserverpb__alarm_request,
                            etcdserverpb__alarm_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_STATUS] = METHOD("/etcdserverpb.Maintenance/Status", etcdserverpb__status_request,
                             etcdserverpb__status_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_DEFRAGMENT] = METHOD("/etcdserverpb.Maintenance/Defragment", etcdserverpb__defragment_request,
                                 etcdserverpb__defragment_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_HASH] = METHOD("/etcdserverpb.Maintenance/Hash", etcdserverpb__hash_request,
                           etcdserverpb__hash_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_HASH_KV] = METHOD("/etcdserverpb.Maintenance/HashKV", etcdserverpb__hash_kvrequest,
                              etcdserverpb__hash_kvresponse, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_SNAPSHOT] =
        METHOD("/etcdserverpb.Maintenance/Snapshot", etcdserverpb__snapshot_request,
               etcdserverpb__snapshot_response, CLIENT_SERVER_STREAM, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_MOVE_LEADER] = METHOD("/etcdserverpb.Maintenance/MoveLeader", etcdserverpb__move_leader_request,
                                  etcdserverpb__move_leader_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_DOWNGRADE] = METHOD("/etcdserverpb.Maintenance/Downgrade", etcdserverpb__downgrade_request,
                                etcdserverpb__downgrade_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_AUTH_ENABLE] = METHOD("/etcdserverpb.Auth/AuthEnable", etcdserverpb__auth_enable_request,
                                  etcdserverpb__auth_enable_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_AUTH_DISABLE] = METHOD("/etcdserverpb.Auth/AuthDisable", etcdserverpb__auth_disable_request,
                                   etcdserverpb__auth_disable_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_AUTH_STATUS] = METHOD("/etcdserverpb.Auth/AuthStatus", etcdserverpb__auth_status_request,
                                  etcdserverpb__auth_status_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_AUTHENTICATE] = METHOD("/etcdserverpb.Auth/Authenticate", etcdserverpb__authenticate_request,
                                   etcdserverpb__authenticate_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_USER_ADD] = METHOD("/etcdserverpb.Auth/UserAdd", etcdserverpb__auth_user_add_request,
                               etcdserverpb__auth_user_add_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_USER_GET] = METHOD("/etcdserverpb.Auth/UserGet", etcdserverpb__auth_user_get_request,
                               etcdserverpb__auth_user_get_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_USER_LIST] =
        METHOD("/etcdserverpb.Auth/UserList", etcdserverpb__auth_user_list_request,
               etcdserverpb__auth_user_list_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_USER_DELETE] = METHOD("/etcdserverpb.Auth/UserDelete", etcdserverpb__auth_user_delete_request,
                                  etcdserverpb__auth_user_delete_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_USER_CHANGE_PASSWORD] =
        METHOD("/etcdserverpb.Auth/UserChangePassword", etcdserverpb__auth_user_change_password_request,
               etcdserverpb__auth_user_change_password_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_USER_GRANT_ROLE] =
        METHOD("/etcdserverpb.Auth/UserGrantRole", etcdserverpb__auth_user_grant_role_request,
               etcdserverpb__auth_user_grant_role_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_USER_REVOKE_ROLE] =
        METHOD("/etcdserverpb.Auth/UserRevokeRole", etcdserverpb__auth_user_revoke_role_request,
               etcdserverpb__auth_user_revoke_role_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_ROLE_ADD] = METHOD("/etcdserverpb.Auth/RoleAdd", etcdserverpb__auth_role_add_request,
                               etcdserverpb__auth_role_add_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_ROLE_GET] = METHOD("/etcdserverpb.Auth/RoleGet", etcdserverpb__auth_role_get_request,
                               etcdserverpb__auth_role_get_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_ROLE_LIST] =
        METHOD("/etcdserverpb.Auth/RoleList", etcdserverpb__auth_role_list_request,
               etcdserverpb__auth_role_list_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_ROLE_DELETE] = METHOD("/etcdserverpb.Auth/RoleDelete", etcdserverpb__auth_role_delete_request,
                                  etcdserverpb__auth_role_delete_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_ROLE_GRANT_PERMISSION] =
        METHOD("/etcdserverpb.Auth/RoleGrantPermission", etcdserverpb__auth_role_grant_permission_request,
               etcdserverpb__auth_role_grant_permission_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_ROLE_REVOKE_PERMISSION] =
        METHOD("/etcdserverpb.Auth/RoleRevokePermission", etcdserverpb__auth_role_revoke_permission_request,
               etcdserverpb__auth_role_revoke_permission_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_LOCK] = METHOD("/v3lockpb.Lock/Lock", v3lockpb__lock_request, v3lockpb__lock_response,
                           CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_UNLOCK] = METHOD("/v3lockpb.Lock/Unlock", v3lockpb__unlock_request, v3lockpb__unlock_response,
                             CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_CAMPAIGN] = METHOD("/v3electionpb.Election/Campaign", v3electionpb__campaign_request,
                               v3electionpb__campaign_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_PROCLAIM] = METHOD("/v3electionpb.Election/Proclaim", v3electionpb__proclaim_request,
                               v3electionpb__proclaim_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_LEADER] = METHOD("/v3electionpb.Election/Leader", v3electionpb__leader_request,
                             v3electionpb__leader_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_OBSERVE] = METHOD("/v3electionpb.Election/Observe", v3electionpb__leader_request,
                              v3electionpb__leader_response, CLIENT_SERVER_STREAM, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_RESIGN] = METHOD("/v3electionpb.Election/Resign", v3electionpb__resign_request,
                             v3electionpb__resign_response, CLIENT_UNARY, CLIENT_RETRY_UNSENT),
    [CLIENT_HEALTH_CHECK] =
        METHOD("/grpc.health.v1.Health/Check", grpc__health__v1__health_check_request,
               grpc__health__v1__health_check_response, CLIENT_UNARY, CLIENT_RETRY_UNAVAILABLE),
    [CLIENT_HEALTH_WATCH] =
        METHOD("/grpc.health.v1.Health/Watch", grpc__health__v1__health_check_request,
               grpc__health__v1__health_check_response, CLIENT_SERVER_STREAM, CLIENT_RETRY_UNAVAILABLE),
};

const struct client_method *client_method(enum client_rpc rpc)
{
    assert((unsigned)rpc < CLIENT_RPC_COUNT);
    assert(methods[rpc].path != NULL);
    return &methods[rpc];
}

const char *client_method_name(enum client_rpc rpc)
{
    return strrchr(client_method(rpc)->path, '/') + 1;
}
