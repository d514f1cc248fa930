/* present_auth: how auth, user and role answers look. */
#ifndef SHELL_PRESENT_AUTH_H
#define SHELL_PRESENT_AUTH_H

#include "shell/printer.h"

/* Etcdserverpb__AuthStatusResponse; no detail. */
extern const struct presentation present_auth_status;

/* The names that an answer is about. */
struct auth_detail {
    const char *user;
    const char *role;
    struct bytes key, range_end; /* role revoke-permission */
};

/* The answers that hold a header only; detail: struct auth_detail. */
extern const struct presentation present_user_add, present_user_delete, present_user_passwd,
    present_user_grant_role, present_user_revoke_role, present_role_add, present_role_delete,
    present_role_grant_permission, present_role_revoke_permission;
/* Etcdserverpb__AuthUserGetResponse, AuthUserListResponse, AuthRoleGetResponse, AuthRoleListResponse; detail:
 * struct auth_detail. */
extern const struct presentation present_user_get, present_user_list, present_role_get, present_role_list;

#endif
