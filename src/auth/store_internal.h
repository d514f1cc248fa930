/* What store.c and change.c share. */
#ifndef AUTH_STORE_INTERNAL_H
#define AUTH_STORE_INTERNAL_H

#include "auth/store.h"
#include "base/buf.h"

#define AUTH_ROOT         BYTES_LITERAL("root")
#define AUTH_KEY_ENABLED  BYTES_LITERAL("authEnabled")
#define AUTH_KEY_REVISION BYTES_LITERAL("authRevision")

/* The fields of the rows' messages (authpb). */
enum {
    USER_NAME = 1,
    USER_PASSWORD = 2,
    USER_ROLES = 3,
    USER_OPTIONS = 4,
    OPTIONS_NO_PASSWORD = 1,
    ROLE_NAME = 1,
    ROLE_PERMISSIONS = 2,
    PERMISSION_TYPE = 1,
    PERMISSION_KEY = 2,
    PERMISSION_END = 3,
};

struct auth_store {
    struct backend *backend;
    const struct logger *logger;
    bool is_enabled;
    uint64_t revision;
    struct auth_user **users; /* sorted by name */
    size_t user_count, user_capacity;
    struct auth_role **roles;
    size_t role_count, role_capacity;
};

/* Copies into memory of its own; free((void *)copy.data). */
struct bytes auth_bytes_copy(struct bytes bytes);
void auth_bytes_free(struct bytes *bytes);

/* The place of the name, or where it belongs. */
size_t auth_user_place(const struct auth_store *store, struct bytes name, bool *found);
size_t auth_role_place(const struct auth_store *store, struct bytes name, bool *found);
/* A new user or role in its place, with its name copied and all else empty. */
struct auth_user *auth_user_insert(struct auth_store *store, size_t place, struct bytes name);
struct auth_role *auth_role_insert(struct auth_store *store, size_t place, struct bytes name);
void auth_user_remove(struct auth_store *store, size_t place);
void auth_role_remove(struct auth_store *store, size_t place);
/* Adds a name where it belongs in the order; false when it is there. */
bool auth_user_add_role(struct auth_user *user, struct bytes role);
bool auth_user_drop_role(struct auth_user *user, struct bytes role);
void auth_role_insert_permission(struct auth_role *role, size_t place,
                                 const struct auth_permission *permission);
void auth_role_remove_permission(struct auth_role *role, size_t place);
void auth_user_set_password(struct auth_user *user, struct bytes password);

/* What users may do is to be found out again. */
void auth_forget_ranges(struct auth_store *store);
/* The revision in its row. */
void auth_write_revision(struct auth_store *store);

#endif
