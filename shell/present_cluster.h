/* present_cluster: how member, endpoint, alarm and the other maintenance answers look. */
#ifndef SHELL_PRESENT_CLUSTER_H
#define SHELL_PRESENT_CLUSTER_H

#include "shell/printer.h"

/* Etcdserverpb__MemberListResponse; no detail. */
extern const struct presentation present_member_list;

struct member_detail {
    uint64_t id;
    const char *name;      /* of a new member */
    const char *peer_urls; /* as typed */
};
/* Etcdserverpb__MemberAddResponse, MemberRemoveResponse, MemberUpdateResponse, MemberPromoteResponse; detail:
 * struct member_detail. */
extern const struct presentation present_member_add, present_member_remove, present_member_update,
    present_member_promote;

/* A list of answers, one per endpoint that gave one. */
struct endpoint_answer {
    const char *endpoint;
    const ProtobufCMessage *response; /* Etcdserverpb__StatusResponse or HashKVResponse */
};
struct endpoint_answers {
    const struct endpoint_answer *items;
    size_t count;
};
extern const struct presentation present_endpoint_status, present_endpoint_hash_kv;

struct endpoint_health {
    const char *endpoint;
    bool healthy;
    const char *took;
    const char *error; /* "" */
};
struct endpoint_healths {
    const struct endpoint_health *items;
    size_t count;
};
/* The simple format's lines go to two streams; the command prints them. */
extern const struct presentation present_endpoint_health;

/* Etcdserverpb__AlarmResponse; no detail. */
extern const struct presentation present_alarm;

struct move_leader_detail {
    uint64_t from, to;
};
/* Etcdserverpb__MoveLeaderResponse. */
extern const struct presentation present_move_leader;
/* Etcdserverpb__DowngradeResponse; detail: the verb ("validate"). */
extern const struct presentation present_downgrade;

#endif
