#include "shell/present_auth.h"

#include "api/keys.h"
#include "api/message.h"
#include "base/text.h"

#include <assert.h>

static void status_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AuthStatusResponse *response = message;
    buf_printf(target->out, "Authentication Status: %s\nAuthRevision: %llu\n",
               response->enabled ? "true" : "false", (unsigned long long)response->authrevision);
}

const struct presentation present_auth_status = {
    {status_simple, NULL, print_message_json, print_message_protobuf, NULL},
};

/* ---- Answers that hold a header only: every one of these messages begins with it ---- */

static void header_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const ProtobufCMessage *base = message;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(base->descriptor, "header");
    assert(field != NULL);
    print_header_fields(target,
                        *(Etcdserverpb__ResponseHeader *const *)(const void *)((const uint8_t *)message +
                                                                               field->offset));
}

#define SENTENCE(name, format, ...)                                                                          \
    static void name##_simple(struct print_target *target, const void *message, const void *detail)          \
    {                                                                                                        \
        (void)message;                                                                                       \
        const struct auth_detail *names = detail;                                                            \
        (void)names;                                                                                         \
        buf_printf(target->out, format "\n", ##__VA_ARGS__);                                                 \
    }                                                                                                        \
    const struct presentation present_##name = {                                                             \
        {name##_simple, header_fields, print_message_json, print_message_protobuf, NULL},                    \
    };

SENTENCE(user_add, "User %s created", names->user)
SENTENCE(user_delete, "User %s deleted", names->user)
SENTENCE(user_passwd, "Password updated")
SENTENCE(user_grant_role, "Role %s is granted to user %s", names->role, names->user)
SENTENCE(user_revoke_role, "Role %s is revoked from user %s", names->role, names->user)
SENTENCE(role_add, "Role %s created", names->role)
SENTENCE(role_delete, "Role %s deleted", names->role)
SENTENCE(role_grant_permission, "Role %s updated", names->role)

/* "KEY", "[KEY, END)" or "[KEY, <open ended>". */
static void print_range(struct buf *out, struct bytes key, struct bytes range_end)
{
    if (range_end.size == 0) {
        buf_append_bytes(out, key);
        return;
    }
    buf_append_byte(out, '[');
    buf_append_bytes(out, key);
    buf_append_string(out, ", ");
    if (key_is_open_end(range_end)) {
        buf_append_string(out, "<open ended>");
        return;
    }
    buf_append_bytes(out, range_end);
    buf_append_byte(out, ')');
}

static void role_revoke_permission_simple(struct print_target *target, const void *message,
                                          const void *detail)
{
    (void)message;
    const struct auth_detail *names = detail;
    buf_printf(target->out, "Permission of %s ", names->range_end.size == 0 ? "key" : "range");
    print_range(target->out, names->key, names->range_end);
    buf_printf(target->out, " is revoked from role %s\n", names->role);
}

const struct presentation present_role_revoke_permission = {
    {role_revoke_permission_simple, header_fields, print_message_json, print_message_protobuf, NULL},
};

/* ---- user get, user list, role list ---- */

static void user_get_simple(struct print_target *target, const void *message, const void *detail)
{
    const Etcdserverpb__AuthUserGetResponse *response = message;
    buf_printf(target->out, "User: %s\nRoles:", ((const struct auth_detail *)detail)->user);
    for (size_t i = 0; i < response->n_roles; i++) buf_printf(target->out, " %s", response->roles[i]);
    buf_append_byte(target->out, '\n');
}

const struct presentation present_user_get = {
    {user_get_simple, NULL, print_message_json, print_message_protobuf, NULL},
};

static void user_list_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AuthUserListResponse *response = message;
    for (size_t i = 0; i < response->n_users; i++) buf_printf(target->out, "%s\n", response->users[i]);
}

const struct presentation present_user_list = {
    {user_list_simple, NULL, print_message_json, print_message_protobuf, NULL},
};

static void role_list_simple(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AuthRoleListResponse *response = message;
    for (size_t i = 0; i < response->n_roles; i++) buf_printf(target->out, "%s\n", response->roles[i]);
}

static void role_list_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AuthRoleListResponse *response = message;
    print_header_fields(target, response->header);
    buf_append_string(target->out, "\"Roles\" :");
    for (size_t i = 0; i < response->n_roles; i++) {
        buf_append_byte(target->out, ' ');
        text_go_quote(target->out, bytes_from_string(response->roles[i]));
    }
    buf_append_byte(target->out, '\n');
}

const struct presentation present_role_list = {
    {role_list_simple, role_list_fields, print_message_json, print_message_protobuf, NULL},
};

/* ---- role get ---- */

static void permission_lines(struct buf *out, const Etcdserverpb__AuthRoleGetResponse *response,
                             const char *role, Authpb__Permission__Type wanted)
{
    bool any = false;
    for (size_t i = 0; i < response->n_perm; i++) {
        const Authpb__Permission *permission = response->perm[i];
        if (permission->permtype != wanted && permission->permtype != AUTHPB__PERMISSION__TYPE__READWRITE)
            continue;
        struct bytes key = message_bytes(permission->key), range_end = message_bytes(permission->range_end);
        buf_append_byte(out, '\t');
        print_range(out, key, range_end);
        if (range_end.size > 0 && !key_is_open_end(range_end) && key_is_prefix_range(key, range_end)) {
            buf_append_string(out, " (prefix ");
            buf_append_bytes(out, key);
            buf_append_byte(out, ')');
        }
        buf_append_byte(out, '\n');
        any = true;
    }
    /* The role root may do everything without being granted anything. */
    if (!any && response->n_perm == 0 && strcmp(role, "root") == 0)
        buf_append_string(out, "\t[, <open ended>\n");
}

static void role_get_simple(struct print_target *target, const void *message, const void *detail)
{
    const char *role = ((const struct auth_detail *)detail)->role;
    buf_printf(target->out, "Role %s\nKV Read:\n", role);
    permission_lines(target->out, message, role, AUTHPB__PERMISSION__TYPE__READ);
    buf_append_string(target->out, "KV Write:\n");
    permission_lines(target->out, message, role, AUTHPB__PERMISSION__TYPE__WRITE);
}

static void role_get_fields(struct print_target *target, const void *message, const void *detail)
{
    (void)detail;
    const Etcdserverpb__AuthRoleGetResponse *response = message;
    print_header_fields(target, response->header);
    for (size_t i = 0; i < response->n_perm; i++) {
        const Authpb__Permission *permission = response->perm[i];
        const ProtobufCEnumValue *type =
            protobuf_c_enum_descriptor_get_value(&authpb__permission__type__descriptor,
                                                 (int)permission->permtype);
        /* Two blanks: etcdctl's own. */
        buf_printf(target->out, "\"PermType\" :  %s\n", type != NULL ? type->name : "UNKNOWN");
        print_field_quoted(target, "Key", message_bytes(permission->key));
        print_field_quoted(target, "RangeEnd", message_bytes(permission->range_end));
    }
}

const struct presentation present_role_get = {
    {role_get_simple, role_get_fields, print_message_json, print_message_protobuf, NULL},
};
