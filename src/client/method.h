/* method: the RPCs of etcd's v3 API as a table. */
#ifndef CLIENT_METHOD_H
#define CLIENT_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* Messages are those of proto/ (rpc.pb-c.h, v3lock.pb-c.h, v3election.pb-c.h, health.pb-c.h). */
enum client_rpc {
    CLIENT_RANGE,
    CLIENT_RANGE_STREAM, /* server stream */
    CLIENT_PUT,
    CLIENT_DELETE_RANGE,
    CLIENT_TXN,
    CLIENT_COMPACT,
    CLIENT_WATCH, /* both ways; use client_watch_start */
    CLIENT_LEASE_GRANT,
    CLIENT_LEASE_REVOKE,
    CLIENT_LEASE_KEEP_ALIVE, /* both ways; use client_keep_alive_start */
    CLIENT_LEASE_TIME_TO_LIVE,
    CLIENT_LEASE_LEASES,
    CLIENT_MEMBER_ADD,
    CLIENT_MEMBER_REMOVE,
    CLIENT_MEMBER_UPDATE,
    CLIENT_MEMBER_LIST,
    CLIENT_MEMBER_PROMOTE,
    CLIENT_ALARM,
    CLIENT_STATUS,     /* pin it to an endpoint */
    CLIENT_DEFRAGMENT, /* pin it to an endpoint */
    CLIENT_HASH,       /* pin it to an endpoint */
    CLIENT_HASH_KV,    /* pin it to an endpoint */
    CLIENT_SNAPSHOT,   /* server stream */
    CLIENT_MOVE_LEADER,
    CLIENT_DOWNGRADE,
    CLIENT_AUTH_ENABLE,
    CLIENT_AUTH_DISABLE,
    CLIENT_AUTH_STATUS,
    CLIENT_AUTHENTICATE,
    CLIENT_USER_ADD,
    CLIENT_USER_GET,
    CLIENT_USER_LIST,
    CLIENT_USER_DELETE,
    CLIENT_USER_CHANGE_PASSWORD,
    CLIENT_USER_GRANT_ROLE,
    CLIENT_USER_REVOKE_ROLE,
    CLIENT_ROLE_ADD,
    CLIENT_ROLE_GET,
    CLIENT_ROLE_LIST,
    CLIENT_ROLE_DELETE,
    CLIENT_ROLE_GRANT_PERMISSION,
    CLIENT_ROLE_REVOKE_PERMISSION,
    CLIENT_LOCK, /* the server-side recipes: every error has code Unknown */
    CLIENT_UNLOCK,
    CLIENT_CAMPAIGN,
    CLIENT_PROCLAIM,
    CLIENT_LEADER,
    CLIENT_OBSERVE, /* server stream */
    CLIENT_RESIGN,
    CLIENT_HEALTH_CHECK,
    CLIENT_HEALTH_WATCH, /* server stream */

    CLIENT_RPC_COUNT,
};

enum client_method_kind {
    CLIENT_UNARY,
    CLIENT_SERVER_STREAM,
    CLIENT_BOTH_WAYS,
};

enum client_retry {
    /* Changes something: sent again only when it certainly never left this machine. */
    CLIENT_RETRY_UNSENT,
    /* May be repeated while the answer is Unavailable. (LeaseGrant is among them, as in etcd's client: it may
     * leave a second lease behind, which expires.) */
    CLIENT_RETRY_UNAVAILABLE,
};

struct client_method {
    const char *path; /* "/etcdserverpb.KV/Range" */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    enum client_method_kind kind;
    enum client_retry retry;
};

const struct client_method *client_method(enum client_rpc rpc) __attribute__((returns_nonnull));
/* The last part of the path: "Range". */
const char *client_method_name(enum client_rpc rpc) __attribute__((returns_nonnull));

#endif
