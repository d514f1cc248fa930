/* store: users, roles and permissions: who may do what.
 *
 * The whole of it is replicated: it changes only by applied entries, identically on all members, and every
 * member judges each entry by it when it applies the entry. Rows, in etcd's encodings:
 *
 *     auth       authEnabled → one byte 1 or 0; authRevision → BE64
 *     authUsers  name → authpb.User { 1 name, 2 bcrypt hash, 3 roles (sorted), 4 options { 1 no_password } }
 *     authRoles  name → authpb.Role { 1 name, 2 { 1 type, 2 key, 3 range_end } (sorted by key) }
 *
 * Revision. Starts at 1 and grows by one with every change of a user or role and when authentication is
 * disabled. Whoever asks for keys brings the revision of the state it was identified in; when that is older
 * than the present one, the answer is API_ERROR_AUTH_OLD_REVISION, because what the identity stood for may
 * have changed. Administrators' rights are not tied to a revision, as in etcd.
 *
 * The role `root` makes an administrator, who may do everything with all keys; it need not exist as a row.
 *
 * Results that clients see are enum api_error; a `struct error *` means that the backend failed or holds
 * damaged rows. Names are bytes, not text: real members accept names that hold zero bytes. Pure; one thread,
 * the node's.
 */
#ifndef AUTH_STORE_H
#define AUTH_STORE_H

#include "api/errors.h"
#include "auth/ranges.h"
#include "base/error.h"
#include "base/log.h"

struct backend;
struct auth_store;

/* Who asks. Zero-initialised is nobody. */
struct auth_identity {
    struct bytes user;
    uint64_t revision; /* of the store when the user was identified; 0: nobody was */
};

/* Loads everything from the backend, which must outlive the store; a backend that has no revision yet gets
 * its first. logger: borrowed. */
struct error *auth_store_open(struct backend *backend, const struct logger *logger, struct auth_store **store)
    __attribute__((warn_unused_result));
/* NULL is allowed. */
void auth_store_close(struct auth_store *store);

bool auth_is_enabled(const struct auth_store *store);
uint64_t auth_revision(const struct auth_store *store);

/* ---- who may ---- */

enum auth_access { AUTH_READ, AUTH_WRITE };

/* All keys of a range, written as in requests. API_OK always while authentication is disabled. USER_EMPTY:
 * nobody asks; AUTH_OLD_REVISION; PERMISSION_DENIED. */
enum api_error auth_check_keys(struct auth_store *store, const struct auth_identity *identity,
                               enum auth_access access, struct bytes key, struct bytes range_end);
/* An administrator. USER_EMPTY, USER_NOT_FOUND, PERMISSION_DENIED. */
enum api_error auth_check_admin(const struct auth_store *store, const struct auth_identity *identity);
/* Anybody who has been identified: USER_EMPTY. */
enum api_error auth_check_user(const struct auth_store *store, const struct auth_identity *identity);

/* ---- looking ---- */

struct auth_user {
    struct bytes name;
    struct bytes password; /* bcrypt hash as text; empty: no login by password */
    struct bytes *roles;   /* names, sorted */
    size_t role_count;
    bool has_options; /* the row has the field: older releases wrote none */
    bool no_password;
    bool has_ranges;              /* the two below are made when they are first asked */
    struct auth_ranges ranges[2]; /* by enum auth_access */
};

/* The numbers of authpb.Permission.Type. */
enum auth_permission_type { AUTH_PERMISSION_READ, AUTH_PERMISSION_WRITE, AUTH_PERMISSION_READWRITE };

struct auth_permission {
    uint64_t type; /* enum auth_permission_type; any other permits nothing */
    struct bytes key, range_end;
};

struct auth_role {
    struct bytes name;
    struct auth_permission *permissions; /* sorted by key */
    size_t permission_count;
};

/* Borrowed until the next change. NULL: there is none. */
const struct auth_user *auth_find_user(const struct auth_store *store, struct bytes name);
const struct auth_role *auth_find_role(const struct auth_store *store, struct bytes name);
bool auth_user_has_role(const struct auth_user *user, struct bytes role);
/* By name. */
size_t auth_user_count(const struct auth_store *store);
const struct auth_user *auth_user_at(const struct auth_store *store, size_t position);
size_t auth_role_count(const struct auth_store *store);
const struct auth_role *auth_role_at(const struct auth_store *store, size_t position);

/* ---- applied entries (change.c) ---- */

/* Names and keys given are borrowed for the call; they must not be the store's own. */

/* ROOT_USER_NOT_EXIST, ROOT_ROLE_NOT_EXIST (the user lacks it). Fine when it is enabled already. */
enum api_error auth_enable(struct auth_store *store);
void auth_disable(struct auth_store *store);

struct auth_new_user {
    struct bytes name;
    struct bytes password; /* the hash; not looked at with no_password */
    bool no_password;
};
/* USER_EMPTY, USER_ALREADY_EXIST. */
enum api_error auth_user_add(struct auth_store *store, const struct auth_new_user *user);
/* INVALID_AUTH_MANAGEMENT (root, while enabled), USER_NOT_FOUND. */
enum api_error auth_user_delete(struct auth_store *store, struct bytes name);
/* USER_NOT_FOUND. A user without a password keeps none. */
enum api_error auth_user_change_password(struct auth_store *store, struct bytes name, struct bytes password);
/* USER_NOT_FOUND, ROLE_NOT_FOUND (any but root). What it has already is fine and changes nothing. */
enum api_error auth_user_grant_role(struct auth_store *store, struct bytes name, struct bytes role);
/* INVALID_AUTH_MANAGEMENT (root from root, while enabled), USER_NOT_FOUND, ROLE_NOT_GRANTED. */
enum api_error auth_user_revoke_role(struct auth_store *store, struct bytes name, struct bytes role);

/* ROLE_EMPTY, ROLE_ALREADY_EXIST. */
enum api_error auth_role_add(struct auth_store *store, struct bytes name);
/* INVALID_AUTH_MANAGEMENT (root, while enabled), ROLE_NOT_FOUND. Its users lose it. */
enum api_error auth_role_delete(struct auth_store *store, struct bytes name);
/* INVALID_AUTH_MANAGEMENT (a range that is empty), ROLE_NOT_FOUND. Replaces the first permission on this key
 * when that has the same end, otherwise it is added, behind others on the same key. */
enum api_error auth_role_grant_permission(struct auth_store *store, struct bytes name,
                                          const struct auth_permission *permission);
/* ROLE_NOT_FOUND, PERMISSION_NOT_GRANTED: no permission has exactly this key and end. */
enum api_error auth_role_revoke_permission(struct auth_store *store, struct bytes name, struct bytes key,
                                           struct bytes range_end);

#endif
