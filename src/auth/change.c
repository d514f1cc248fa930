/* What applied entries change. Each change writes its rows and the next revision into the active batch, and
 * whoever asks for keys from now on is judged by the new state. */
#include "api/keys.h"
#include "auth/store_internal.h"
#include "base/wire.h"
#include "storage/backend.h"

/* Every change of a user or a role: the revision grows, and what users may do is found out again. */
static void commit(struct auth_store *store)
{
    auth_write_revision(store);
    auth_forget_ranges(store);
}

static void write_user(struct auth_store *store, const struct auth_user *user)
{
    struct buf row = {0};
    wire_bytes_field_nonempty(&row, USER_NAME, user->name);
    wire_bytes_field_nonempty(&row, USER_PASSWORD, user->password);
    for (size_t i = 0; i < user->role_count; i++) wire_bytes_field(&row, USER_ROLES, user->roles[i]);
    if (user->has_options) {
        size_t mark = wire_message_begin(&row, USER_OPTIONS);
        wire_uint_field_nonzero(&row, OPTIONS_NO_PASSWORD, user->no_password);
        wire_message_end(&row, mark);
    }
    backend_put(store->backend, BUCKET_AUTH_USERS, user->name, buf_bytes(&row));
    buf_deinit(&row);
}

static void write_role(struct auth_store *store, const struct auth_role *role)
{
    struct buf row = {0};
    wire_bytes_field_nonempty(&row, ROLE_NAME, role->name);
    for (size_t i = 0; i < role->permission_count; i++) {
        size_t mark = wire_message_begin(&row, ROLE_PERMISSIONS);
        wire_uint_field_nonzero(&row, PERMISSION_TYPE, role->permissions[i].type);
        wire_bytes_field_nonempty(&row, PERMISSION_KEY, role->permissions[i].key);
        wire_bytes_field_nonempty(&row, PERMISSION_END, role->permissions[i].range_end);
        wire_message_end(&row, mark);
    }
    backend_put(store->backend, BUCKET_AUTH_ROLES, role->name, buf_bytes(&row));
    buf_deinit(&row);
}

/* ---- the switch ---- */

static void write_switch(struct auth_store *store)
{
    uint8_t row = store->is_enabled;
    backend_put(store->backend, BUCKET_AUTH, AUTH_KEY_ENABLED, bytes_of(&row, 1));
}

enum api_error auth_enable(struct auth_store *store)
{
    if (store->is_enabled) {
        log_info(store->logger, "authentication is already enabled; ignored auth enable request");
        return API_OK;
    }
    const struct auth_user *root = auth_find_user(store, AUTH_ROOT);
    if (root == NULL) return API_ERROR_ROOT_USER_NOT_EXIST;
    if (!auth_user_has_role(root, AUTH_ROOT)) return API_ERROR_ROOT_ROLE_NOT_EXIST;
    store->is_enabled = true;
    write_switch(store);
    log_info(store->logger, "enabled authentication");
    return API_OK;
}

void auth_disable(struct auth_store *store)
{
    if (!store->is_enabled) return;
    store->is_enabled = false;
    write_switch(store);
    auth_write_revision(store);
    log_info(store->logger, "disabled authentication");
}

/* ---- users ---- */

enum api_error auth_user_add(struct auth_store *store, const struct auth_new_user *added)
{
    bool found;
    if (added->name.size == 0) return API_ERROR_USER_EMPTY;
    size_t place = auth_user_place(store, added->name, &found);
    if (found) return API_ERROR_USER_ALREADY_EXIST;
    struct auth_user *user = auth_user_insert(store, place, added->name);
    user->has_options = true;
    user->no_password = added->no_password;
    if (!added->no_password) auth_user_set_password(user, added->password);
    write_user(store, user);
    commit(store);
    log_info(store->logger, "added a user", LOG_BYTES("user-name", user->name));
    return API_OK;
}

enum api_error auth_user_delete(struct auth_store *store, struct bytes name)
{
    bool found;
    if (store->is_enabled && bytes_equal(name, AUTH_ROOT)) {
        log_error(store->logger, "cannot delete 'root' user", LOG_BYTES("user-name", name));
        return API_ERROR_INVALID_AUTH_MANAGEMENT;
    }
    size_t place = auth_user_place(store, name, &found);
    if (!found) return API_ERROR_USER_NOT_FOUND;
    backend_delete(store->backend, BUCKET_AUTH_USERS, name);
    auth_user_remove(store, place);
    commit(store);
    log_info(store->logger, "deleted a user", LOG_BYTES("user-name", name));
    return API_OK;
}

enum api_error auth_user_change_password(struct auth_store *store, struct bytes name, struct bytes password)
{
    bool found;
    size_t place = auth_user_place(store, name, &found);
    if (!found) return API_ERROR_USER_NOT_FOUND;
    struct auth_user *user = store->users[place];
    auth_user_set_password(user, user->no_password ? BYTES_EMPTY : password);
    write_user(store, user);
    commit(store);
    log_info(store->logger, "changed a password of a user", LOG_BYTES("user-name", name));
    return API_OK;
}

enum api_error auth_user_grant_role(struct auth_store *store, struct bytes name, struct bytes role)
{
    bool found;
    size_t place = auth_user_place(store, name, &found);
    if (!found) return API_ERROR_USER_NOT_FOUND;
    if (!bytes_equal(role, AUTH_ROOT) && auth_find_role(store, role) == NULL) return API_ERROR_ROLE_NOT_FOUND;
    if (!auth_user_add_role(store->users[place], role)) {
        log_warn(store->logger, "ignored grant role request to a user", LOG_BYTES("user-name", name),
                 LOG_BYTES("duplicate-role-name", role));
        return API_OK;
    }
    write_user(store, store->users[place]);
    commit(store);
    log_info(store->logger, "granted a role to a user", LOG_BYTES("user-name", name),
             LOG_BYTES("added-role-name", role));
    return API_OK;
}

enum api_error auth_user_revoke_role(struct auth_store *store, struct bytes name, struct bytes role)
{
    bool found;
    if (store->is_enabled && bytes_equal(name, AUTH_ROOT) && bytes_equal(role, AUTH_ROOT)) {
        log_error(store->logger, "'root' user cannot revoke 'root' role", LOG_BYTES("user-name", name),
                  LOG_BYTES("role-name", role));
        return API_ERROR_INVALID_AUTH_MANAGEMENT;
    }
    size_t place = auth_user_place(store, name, &found);
    if (!found) return API_ERROR_USER_NOT_FOUND;
    if (!auth_user_drop_role(store->users[place], role)) return API_ERROR_ROLE_NOT_GRANTED;
    write_user(store, store->users[place]);
    commit(store);
    log_info(store->logger, "revoked a role from a user", LOG_BYTES("user-name", name),
             LOG_BYTES("revoked-role-name", role));
    return API_OK;
}

/* ---- roles ---- */

enum api_error auth_role_add(struct auth_store *store, struct bytes name)
{
    bool found;
    if (name.size == 0) return API_ERROR_ROLE_EMPTY;
    size_t place = auth_role_place(store, name, &found);
    if (found) return API_ERROR_ROLE_ALREADY_EXIST;
    write_role(store, auth_role_insert(store, place, name));
    commit(store);
    log_info(store->logger, "created a role", LOG_BYTES("role-name", name));
    return API_OK;
}

enum api_error auth_role_delete(struct auth_store *store, struct bytes name)
{
    bool found;
    if (store->is_enabled && bytes_equal(name, AUTH_ROOT)) {
        log_error(store->logger, "cannot delete 'root' role", LOG_BYTES("role-name", name));
        return API_ERROR_INVALID_AUTH_MANAGEMENT;
    }
    size_t place = auth_role_place(store, name, &found);
    if (!found) return API_ERROR_ROLE_NOT_FOUND;
    backend_delete(store->backend, BUCKET_AUTH_ROLES, name);
    auth_role_remove(store, place);
    for (size_t i = 0; i < store->user_count; i++)
        if (auth_user_drop_role(store->users[i], name)) write_user(store, store->users[i]);
    commit(store);
    log_info(store->logger, "deleted a role", LOG_BYTES("role-name", name));
    return API_OK;
}

static bool is_range(struct bytes key, struct bytes range_end)
{
    if (key.size == 0) return false;
    return range_end.size == 0 || key_is_open_end(range_end) || bytes_compare(key, range_end) < 0;
}

/* The first permission on this key or behind it. Several on one key stay in the order in which they came;
 * etcd sorts them by key with a sort that is not stable, which keeps that order for up to twelve permissions
 * of a role. */
static size_t permission_place(const struct auth_role *role, struct bytes key)
{
    size_t place = 0;
    while (place < role->permission_count && bytes_compare(role->permissions[place].key, key) < 0) place++;
    return place;
}

static const char *type_name(uint64_t type)
{
    static const char *const names[] = {"READ", "WRITE", "READWRITE"};
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "";
}

enum api_error auth_role_grant_permission(struct auth_store *store, struct bytes name,
                                          const struct auth_permission *granted)
{
    bool found;
    if (!is_range(granted->key, granted->range_end)) return API_ERROR_INVALID_AUTH_MANAGEMENT;
    size_t place = auth_role_place(store, name, &found);
    if (!found) return API_ERROR_ROLE_NOT_FOUND;
    struct auth_role *role = store->roles[place];
    size_t at = permission_place(role, granted->key);
    struct auth_permission *present = &role->permissions[at];
    if (at < role->permission_count && bytes_equal(present->key, granted->key) &&
        bytes_equal(present->range_end, granted->range_end)) {
        present->type = granted->type;
    } else {
        while (at < role->permission_count && bytes_equal(role->permissions[at].key, granted->key)) at++;
        auth_role_insert_permission(role, at, granted);
    }
    write_role(store, role);
    commit(store);
    log_info(store->logger, "granted/updated a permission to a user", LOG_BYTES("user-name", name),
             LOG_STRING("permission-name", type_name(granted->type)), LOG_BYTES("key", granted->key),
             LOG_BYTES("range-end", granted->range_end));
    return API_OK;
}

enum api_error auth_role_revoke_permission(struct auth_store *store, struct bytes name, struct bytes key,
                                           struct bytes range_end)
{
    bool found;
    size_t place = auth_role_place(store, name, &found);
    if (!found) return API_ERROR_ROLE_NOT_FOUND;
    struct auth_role *role = store->roles[place];
    size_t before = role->permission_count;
    for (size_t i = before; i-- > 0;)
        if (bytes_equal(role->permissions[i].key, key) &&
            bytes_equal(role->permissions[i].range_end, range_end))
            auth_role_remove_permission(role, i);
    if (role->permission_count == before) return API_ERROR_PERMISSION_NOT_GRANTED;
    write_role(store, role);
    commit(store);
    log_info(store->logger, "revoked a permission on range", LOG_BYTES("role-name", name),
             LOG_BYTES("key", key), LOG_BYTES("range-end", range_end));
    return API_OK;
}
