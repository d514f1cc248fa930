/* present_lease: how the lease commands' answers look. */
#ifndef SHELL_PRESENT_LEASE_H
#define SHELL_PRESENT_LEASE_H

#include "shell/printer.h"

/* The lease commands' own detail. */
struct lease_detail {
    int64_t lease;
    bool keys; /* timetolive --keys */
};

/* Etcdserverpb__LeaseGrantResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, LeaseLeasesResponse,
 * LeaseKeepAliveResponse; detail: struct lease_detail. */
extern const struct presentation present_lease_grant, present_lease_revoke, present_lease_time_to_live,
    present_lease_list, present_lease_keep_alive;

#endif
