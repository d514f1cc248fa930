/* auth, user and role. */
#include "api/keys.h"
#include "api/message.h"
#include "shell/commands.h"
#include "shell/present_auth.h"
#include "shell/shell.h"

#include <strings.h>

/* The requests' strings are read only, whatever their type says. */
static char *text_of(const struct invocation *line, size_t word)
{
    return (char *)(uintptr_t)word_string(&line->words, word);
}

/* ---- auth ---- */

static int refuse_words(struct shell *shell, const struct invocation *line)
{
    return shell_fail(shell, SHELL_BAD_ARGUMENTS, "auth %s command does not accept any arguments",
                      line->command->name);
}

/* Makes the user root what it must be before authentication can be enabled. */
static struct client_error *give_root_its_role(struct shell *shell)
{
    Etcdserverpb__AuthRoleAddRequest add = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    Etcdserverpb__AuthUserGrantRoleRequest grant = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    static char root[] = "root";
    add.name = root;
    grant.user = root;
    grant.role = root;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_ROLE_ADD, &add.base, SHELL_BOUNDED, NULL, &response);
    if (error != NULL) return error;
    return shell_call(shell, CLIENT_USER_GRANT_ROLE, &grant.base, SHELL_BOUNDED, NULL, &response);
}

static int run_enable(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0) return refuse_words(shell, line);
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    Etcdserverpb__AuthEnableRequest request = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_AUTH_ENABLE, &request.base, SHELL_BOUNDED, NULL, &response);
    if (client_error_is(error, API_ERROR_ROOT_ROLE_NOT_EXIST)) {
        client_error_free(error);
        error = give_root_its_role(shell);
        if (error == NULL)
            error = shell_call(shell, CLIENT_AUTH_ENABLE, &request.base, SHELL_BOUNDED, NULL, &response);
    }
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    shell_print(shell, "Authentication Enabled\n");
    return SHELL_OK;
}

static int run_disable(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0) return refuse_words(shell, line);
    if (!shell_confirm(shell, "Let everybody in without a password?")) return SHELL_OK;
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    Etcdserverpb__AuthDisableRequest request = ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_AUTH_DISABLE, &request.base, SHELL_BOUNDED, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    shell_print(shell, "Authentication Disabled\n");
    return SHELL_OK;
}

static int run_status(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0) return refuse_words(shell, line);
    Etcdserverpb__AuthStatusRequest request = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;
    return shell_call_and_show(shell, line, CLIENT_AUTH_STATUS, &request.base, SHELL_BOUNDED,
                               &present_auth_status, NULL);
}

static const struct command auth_enable = {.name = "enable",
                                           .usage = "",
                                           .summary = "Enables authentication",
                                           .run = run_enable};
static const struct command auth_disable = {.name = "disable",
                                            .usage = "",
                                            .summary = "Disables authentication",
                                            .run = run_disable};
static const struct command auth_status = {.name = "status",
                                           .usage = "",
                                           .summary = "Returns authentication status",
                                           .run = run_status};
static const struct command *const auth_children[] = {&auth_enable, &auth_disable, &auth_status, NULL};

const struct command command_auth = {
    .name = "auth",
    .usage = "<enable or disable>",
    .summary = "Enable or disable authentication",
    .children = auth_children,
};

/* ---- user ---- */

static const struct flag user_add_flags[] = {
    {"interactive", 0, FLAG_BOOL, "true", "ask for the password instead of reading it from standard input",
     NULL},
    {"new-user-password", 0, FLAG_STRING, "", "the new user's password", NULL},
    {"no-password", 0, FLAG_BOOL, "false", "a user without a password (who shows a certificate)", NULL},
    {0},
};

static const struct flag passwd_flags[] = {
    {"interactive", 0, FLAG_BOOL, "true", "ask for the password instead of reading it from standard input",
     NULL},
    {0},
};

/* The password twice, without echo; SHELL_OK, or 128 after the error was printed. */
static int ask_password(struct shell *shell, const char *name, struct buf *password)
{
    struct buf again = {0};
    int status = SHELL_OK;
    shell_read_secret(shell, arena_printf(shell->arena, "Password of %s: ", name), password);
    if (password->size == 0) {
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "empty password");
    } else {
        shell_read_secret(shell,
                          arena_printf(shell->arena, "Type password of %s again for confirmation: ", name),
                          &again);
        if (!bytes_equal(buf_bytes(password), buf_bytes(&again)))
            status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "given passwords are different");
    }
    buf_deinit(&again);
    return status;
}

/* One word from standard input; nothing there is an empty password. */
static void read_password(struct shell *shell, struct buf *password)
{
    struct buf line = {0};
    shell_read_line(shell, &line);
    const char *text = buf_string(&line);
    text += strspn(text, " \t\r\n");
    buf_append(password, text, strcspn(text, " \t\r\n"));
    buf_deinit(&line);
}

static int get_password(struct shell *shell, const struct invocation *line, const char *name, char **result)
{
    struct buf password = {0};
    int status = SHELL_OK;
    if (flag_bool(&line->flags, "interactive"))
        status = ask_password(shell, name, &password);
    else
        read_password(shell, &password);
    *result = arena_string(shell->arena, buf_bytes(&password));
    buf_deinit(&password);
    return status;
}

static int run_user_add(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "user add command requires user name as its argument");
    Etcdserverpb__AuthUserAddRequest request = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    Authpb__UserAddOptions options = AUTHPB__USER_ADD_OPTIONS__INIT;
    const char *given = flag_string(&line->flags, "new-user-password"), *word = word_string(&line->words, 0);
    const char *colon = strchr(word, ':');
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    options.no_password = flag_bool(&line->flags, "no-password");
    request.options = &options;
    request.name = text_of(line, 0);
    if (options.no_password) {
        request.password = (char *)(uintptr_t)protobuf_c_empty_string;
    } else if (given[0] != 0) {
        request.password = (char *)(uintptr_t)given;
    } else if (colon != NULL) {
        request.name = arena_string(shell->arena, bytes_of(word, (size_t)(colon - word)));
        request.password = (char *)(uintptr_t)(colon + 1);
        if (request.name[0] == 0)
            return shell_fail(shell, SHELL_BAD_ARGUMENTS, "empty user name is not allowed");
    } else {
        status = get_password(shell, line, request.name, &request.password);
    }
    if (status != SHELL_OK) return status;
    const struct auth_detail detail = {.user = request.name};
    return shell_call_and_show(shell, line, CLIENT_USER_ADD, &request.base, SHELL_PATIENT, &present_user_add,
                               &detail);
}

static int run_user_delete(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "user delete command requires user name as its argument");
    if (!shell_confirm(shell, "Delete user %s?", text_of(line, 0))) return SHELL_OK;
    Etcdserverpb__AuthUserDeleteRequest request = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;
    request.name = text_of(line, 0);
    const struct auth_detail detail = {.user = request.name};
    return shell_call_and_show(shell, line, CLIENT_USER_DELETE, &request.base, SHELL_PATIENT,
                               &present_user_delete, &detail);
}

static const struct flag user_get_flags[] = {
    {"detail", 0, FLAG_BOOL, "false", "show the permissions of the user's roles, too", NULL},
    {0},
};

static struct client_error *get_role(struct shell *shell, char *role, ProtobufCMessage **response)
{
    Etcdserverpb__AuthRoleGetRequest request = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;
    request.role = role;
    return shell_call(shell, CLIENT_ROLE_GET, &request.base, SHELL_PATIENT, NULL, response);
}

static int show_roles(struct shell *shell, const Etcdserverpb__AuthUserGetResponse *user)
{
    int status = SHELL_OK;
    for (size_t i = 0; i < user->n_roles && status == SHELL_OK; i++) {
        ProtobufCMessage *response;
        shell_print(shell, "\n");
        struct client_error *error = get_role(shell, user->roles[i], &response);
        if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
        status =
            shell_show(shell, &present_role_get, response, &(struct auth_detail){.role = user->roles[i]});
    }
    return status;
}

static int run_user_get(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "user get command requires user name as its argument");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    Etcdserverpb__AuthUserGetRequest request = ETCDSERVERPB__AUTH_USER_GET_REQUEST__INIT;
    request.name = text_of(line, 0);
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_USER_GET, &request.base, SHELL_PATIENT, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    if (!flag_bool(&line->flags, "detail"))
        return shell_show(shell, &present_user_get, response, &(struct auth_detail){.user = request.name});
    shell_print(shell, "User: %s\n", request.name);
    return show_roles(shell, (const Etcdserverpb__AuthUserGetResponse *)response);
}

static int run_user_list(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "user list command requires no arguments");
    Etcdserverpb__AuthUserListRequest request = ETCDSERVERPB__AUTH_USER_LIST_REQUEST__INIT;
    return shell_call_and_show(shell, line, CLIENT_USER_LIST, &request.base, SHELL_PATIENT,
                               &present_user_list, NULL);
}

static int run_user_passwd(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "user passwd command requires user name as its argument");
    Etcdserverpb__AuthUserChangePasswordRequest request =
        ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
    request.name = text_of(line, 0);
    int status = get_password(shell, line, request.name, &request.password);
    if (status != SHELL_OK) return status;
    const struct auth_detail detail = {.user = request.name};
    return shell_call_and_show(shell, line, CLIENT_USER_CHANGE_PASSWORD, &request.base, SHELL_PATIENT,
                               &present_user_passwd, &detail);
}

static int run_user_grant_role(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 2)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "user grant command requires user name and role name as its argument");
    Etcdserverpb__AuthUserGrantRoleRequest request = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
    request.user = text_of(line, 0);
    request.role = text_of(line, 1);
    const struct auth_detail detail = {.user = request.user, .role = request.role};
    return shell_call_and_show(shell, line, CLIENT_USER_GRANT_ROLE, &request.base, SHELL_PATIENT,
                               &present_user_grant_role, &detail);
}

static int run_user_revoke_role(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 2)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "user revoke-role requires user name and role name as its argument");
    Etcdserverpb__AuthUserRevokeRoleRequest request = ETCDSERVERPB__AUTH_USER_REVOKE_ROLE_REQUEST__INIT;
    request.name = text_of(line, 0);
    request.role = text_of(line, 1);
    const struct auth_detail detail = {.user = request.name, .role = request.role};
    return shell_call_and_show(shell, line, CLIENT_USER_REVOKE_ROLE, &request.base, SHELL_PATIENT,
                               &present_user_revoke_role, &detail);
}

static const struct command user_add = {.name = "add",
                                        .usage = "<user name or user:password> [options]",
                                        .summary = "Adds a new user",
                                        .flags = user_add_flags,
                                        .run = run_user_add};
static const struct command user_delete = {.name = "delete",
                                           .usage = "<user name>",
                                           .summary = "Deletes a user",
                                           .run = run_user_delete};
static const struct command user_get = {.name = "get",
                                        .usage = "<user name> [options]",
                                        .summary = "Gets detailed information of a user",
                                        .flags = user_get_flags,
                                        .run = run_user_get};
static const struct command user_list = {.name = "list",
                                         .usage = "",
                                         .summary = "Lists all users",
                                         .run = run_user_list};
static const struct command user_passwd = {.name = "passwd",
                                           .usage = "<user name> [options]",
                                           .summary = "Changes password of user",
                                           .flags = passwd_flags,
                                           .run = run_user_passwd};
static const struct command user_grant_role = {.name = "grant-role",
                                               .usage = "<user name> <role name>",
                                               .summary = "Grants a role to a user",
                                               .run = run_user_grant_role};
static const struct command user_revoke_role = {.name = "revoke-role",
                                                .usage = "<user name> <role name>",
                                                .summary = "Revokes a role from a user",
                                                .run = run_user_revoke_role};
static const struct command *const user_children[] = {
    &user_add, &user_delete, &user_get, &user_list, &user_passwd, &user_grant_role, &user_revoke_role, NULL,
};

const struct command command_user = {
    .name = "user",
    .usage = "<subcommand>",
    .summary = "User related commands",
    .children = user_children,
};

/* ---- role ---- */

static const struct flag permission_flags[] = {
    {"prefix", 0, FLAG_BOOL, "false", "all keys that start with the given one", NULL},
    {"from-key", 0, FLAG_BOOL, "false", "all keys from the given one on, in byte order", NULL},
    {0},
};

static int run_role_add(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "role add command requires role name as its argument");
    Etcdserverpb__AuthRoleAddRequest request = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
    request.name = text_of(line, 0);
    const struct auth_detail detail = {.role = request.name};
    return shell_call_and_show(shell, line, CLIENT_ROLE_ADD, &request.base, SHELL_PATIENT, &present_role_add,
                               &detail);
}

static int run_role_delete(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "role delete command requires role name as its argument");
    if (!shell_confirm(shell, "Delete role %s?", text_of(line, 0))) return SHELL_OK;
    Etcdserverpb__AuthRoleDeleteRequest request = ETCDSERVERPB__AUTH_ROLE_DELETE_REQUEST__INIT;
    request.role = text_of(line, 0);
    const struct auth_detail detail = {.role = request.role};
    return shell_call_and_show(shell, line, CLIENT_ROLE_DELETE, &request.base, SHELL_PATIENT,
                               &present_role_delete, &detail);
}

static int run_role_get(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "role get command requires role name as its argument");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error = get_role(shell, text_of(line, 0), &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    return shell_show(shell, &present_role_get, response, &(struct auth_detail){.role = text_of(line, 0)});
}

static int run_role_list(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "role list command requires no arguments");
    Etcdserverpb__AuthRoleListRequest request = ETCDSERVERPB__AUTH_ROLE_LIST_REQUEST__INIT;
    return shell_call_and_show(shell, line, CLIENT_ROLE_LIST, &request.base, SHELL_PATIENT,
                               &present_role_list, NULL);
}

/* KEY [END] from the word at `first` on. */
static int read_range(struct shell *shell, const struct invocation *line, size_t first, struct bytes *key,
                      struct bytes *range_end)
{
    bool prefix = flag_bool(&line->flags, "prefix"), from_key = flag_bool(&line->flags, "from-key");
    bool has_end = line->words.count > first + 1;
    if (prefix && from_key)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "--from-key and --prefix flags are mutually exclusive");
    if (has_end && (prefix || from_key))
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "unexpected endkey argument with --%s flag",
                          prefix ? "prefix" : "from-key");
    *key = line->words.items[first];
    *range_end = has_end ? line->words.items[first + 1] : BYTES_EMPTY;
    if (prefix) *range_end = key_prefix_end(*key, shell->arena);
    if (from_key) *range_end = KEY_OPEN_END;
    if (key->size == 0) *key = KEY_OPEN_END;
    return SHELL_OK;
}

static bool read_permission_type(const char *name, Authpb__Permission__Type *type)
{
    for (unsigned i = 0; i < authpb__permission__type__descriptor.n_values; i++) {
        if (strcasecmp(authpb__permission__type__descriptor.values[i].name, name) != 0) continue;
        *type = (Authpb__Permission__Type)authpb__permission__type__descriptor.values[i].value;
        return true;
    }
    return false;
}

static int run_role_grant(struct shell *shell, const struct invocation *line)
{
    if (line->words.count < 3)
        return shell_fail(
            shell, SHELL_BAD_ARGUMENTS,
            "role grant command requires role name, permission type, and key [endkey] as its argument");
    Etcdserverpb__AuthRoleGrantPermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
    Authpb__Permission permission = AUTHPB__PERMISSION__INIT;
    struct bytes key, range_end;
    if (!read_permission_type(word_string(&line->words, 1), &permission.permtype))
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "invalid permission type: %s",
                          word_string(&line->words, 1));
    int status = read_range(shell, line, 2, &key, &range_end);
    if (status != SHELL_OK) return status;
    permission.key = message_binary(key);
    permission.range_end = message_binary(range_end);
    request.name = text_of(line, 0);
    request.perm = &permission;
    const struct auth_detail detail = {.role = request.name};
    return shell_call_and_show(shell, line, CLIENT_ROLE_GRANT_PERMISSION, &request.base, SHELL_PATIENT,
                               &present_role_grant_permission, &detail);
}

static int run_role_revoke(struct shell *shell, const struct invocation *line)
{
    if (line->words.count < 2)
        return shell_fail(
            shell, SHELL_BAD_ARGUMENTS,
            "role revoke-permission command requires role name and key [endkey] as its argument");
    Etcdserverpb__AuthRoleRevokePermissionRequest request =
        ETCDSERVERPB__AUTH_ROLE_REVOKE_PERMISSION_REQUEST__INIT;
    struct auth_detail detail = {.role = text_of(line, 0)};
    int status = read_range(shell, line, 1, &detail.key, &detail.range_end);
    if (status != SHELL_OK) return status;
    request.role = text_of(line, 0);
    request.key = message_binary(detail.key);
    request.range_end = message_binary(detail.range_end);
    return shell_call_and_show(shell, line, CLIENT_ROLE_REVOKE_PERMISSION, &request.base, SHELL_PATIENT,
                               &present_role_revoke_permission, &detail);
}

static const struct command role_add = {.name = "add",
                                        .usage = "<role name>",
                                        .summary = "Adds a new role",
                                        .run = run_role_add};
static const struct command role_delete = {.name = "delete",
                                           .usage = "<role name>",
                                           .summary = "Deletes a role",
                                           .run = run_role_delete};
static const struct command role_get = {.name = "get",
                                        .usage = "<role name>",
                                        .summary = "Gets detailed information of a role",
                                        .run = run_role_get};
static const struct command role_list = {.name = "list",
                                         .usage = "",
                                         .summary = "Lists all roles",
                                         .run = run_role_list};
static const struct command role_grant = {.name = "grant-permission",
                                          .usage = "[options] <role name> <permission type> <key> [endkey]",
                                          .summary = "Grants a key to a role",
                                          .flags = permission_flags,
                                          .run = run_role_grant};
static const struct command role_revoke = {.name = "revoke-permission",
                                           .usage = "<role name> <key> [endkey]",
                                           .summary = "Revokes a key from a role",
                                           .flags = permission_flags,
                                           .run = run_role_revoke};
static const struct command *const role_children[] = {
    &role_add, &role_delete, &role_get, &role_list, &role_grant, &role_revoke, NULL,
};

const struct command command_role = {
    .name = "role",
    .usage = "<subcommand>",
    .summary = "Role related commands",
    .children = role_children,
};
