#include "auth/store.h"

#include "auth/store_internal.h"
#include "base/memory.h"
#include "base/wire.h"
#include "storage/backend.h"

#include <assert.h>
#include <stdlib.h>

/* ---- memory ---- */

struct bytes auth_bytes_copy(struct bytes bytes)
{
    return bytes.size == 0 ? BYTES_EMPTY : bytes_of(mem_dup(bytes.data, bytes.size), bytes.size);
}

void auth_bytes_free(struct bytes *bytes)
{
    free((void *)(uintptr_t)bytes->data);
    *bytes = BYTES_EMPTY;
}

static void forget_ranges(struct auth_user *user)
{
    auth_ranges_deinit(&user->ranges[AUTH_READ]);
    auth_ranges_deinit(&user->ranges[AUTH_WRITE]);
    user->has_ranges = false;
}

static void free_user(struct auth_user *user)
{
    forget_ranges(user);
    auth_bytes_free(&user->name);
    auth_bytes_free(&user->password);
    for (size_t i = 0; i < user->role_count; i++) auth_bytes_free(&user->roles[i]);
    free(user->roles);
    free(user);
}

static void free_role(struct auth_role *role)
{
    auth_bytes_free(&role->name);
    while (role->permission_count > 0) auth_role_remove_permission(role, role->permission_count - 1);
    free(role->permissions);
    free(role);
}

static void forget_all(struct auth_store *store)
{
    while (store->user_count > 0) free_user(store->users[--store->user_count]);
    while (store->role_count > 0) free_role(store->roles[--store->role_count]);
}

/* ---- sorted arrays ---- */

size_t auth_user_place(const struct auth_store *store, struct bytes name, bool *found)
{
    size_t low = 0, high = store->user_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(store->users[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < store->user_count && bytes_equal(store->users[low]->name, name);
    return low;
}

size_t auth_role_place(const struct auth_store *store, struct bytes name, bool *found)
{
    size_t low = 0, high = store->role_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(store->roles[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < store->role_count && bytes_equal(store->roles[low]->name, name);
    return low;
}

/* Room for one more item of `size` bytes at `place` of an array that has `count`. */
static void *open_gap(void *items, size_t count, size_t *capacity, size_t size, size_t place)
{
    if (count == *capacity) {
        *capacity = *capacity == 0 ? 8 : *capacity * 2;
        items = mem_realloc(items, *capacity * size);
    }
    memmove((char *)items + (place + 1) * size, (char *)items + place * size, (count - place) * size);
    return items;
}

struct auth_user *auth_user_insert(struct auth_store *store, size_t place, struct bytes name)
{
    struct auth_user *user = mem_zalloc(1, sizeof(*user));
    user->name = auth_bytes_copy(name);
    store->users =
        open_gap(store->users, store->user_count, &store->user_capacity, sizeof(*store->users), place);
    store->users[place] = user;
    store->user_count++;
    return user;
}

struct auth_role *auth_role_insert(struct auth_store *store, size_t place, struct bytes name)
{
    struct auth_role *role = mem_zalloc(1, sizeof(*role));
    role->name = auth_bytes_copy(name);
    store->roles =
        open_gap(store->roles, store->role_count, &store->role_capacity, sizeof(*store->roles), place);
    store->roles[place] = role;
    store->role_count++;
    return role;
}

void auth_user_remove(struct auth_store *store, size_t place)
{
    free_user(store->users[place]);
    store->user_count--;
    memmove(store->users + place, store->users + place + 1,
            (store->user_count - place) * sizeof(*store->users));
}

void auth_role_remove(struct auth_store *store, size_t place)
{
    free_role(store->roles[place]);
    store->role_count--;
    memmove(store->roles + place, store->roles + place + 1,
            (store->role_count - place) * sizeof(*store->roles));
}

static size_t role_name_place(const struct auth_user *user, struct bytes role, bool *found)
{
    size_t low = 0, high = user->role_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(user->roles[middle], role) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < user->role_count && bytes_equal(user->roles[low], role);
    return low;
}

bool auth_user_add_role(struct auth_user *user, struct bytes role)
{
    bool found;
    size_t place = role_name_place(user, role, &found), capacity = user->role_count;
    if (found) return false;
    user->roles = open_gap(user->roles, user->role_count, &capacity, sizeof(*user->roles), place);
    user->roles[place] = auth_bytes_copy(role);
    user->role_count++;
    return true;
}

bool auth_user_drop_role(struct auth_user *user, struct bytes role)
{
    bool found;
    size_t place = role_name_place(user, role, &found);
    if (!found) return false;
    auth_bytes_free(&user->roles[place]);
    user->role_count--;
    memmove(user->roles + place, user->roles + place + 1, (user->role_count - place) * sizeof(*user->roles));
    return true;
}

void auth_role_insert_permission(struct auth_role *role, size_t place,
                                 const struct auth_permission *permission)
{
    size_t capacity = role->permission_count;
    role->permissions =
        open_gap(role->permissions, role->permission_count, &capacity, sizeof(*role->permissions), place);
    role->permissions[place] = (struct auth_permission){
        .type = permission->type,
        .key = auth_bytes_copy(permission->key),
        .range_end = auth_bytes_copy(permission->range_end),
    };
    role->permission_count++;
}

void auth_role_remove_permission(struct auth_role *role, size_t place)
{
    auth_bytes_free(&role->permissions[place].key);
    auth_bytes_free(&role->permissions[place].range_end);
    role->permission_count--;
    memmove(role->permissions + place, role->permissions + place + 1,
            (role->permission_count - place) * sizeof(*role->permissions));
}

void auth_user_set_password(struct auth_user *user, struct bytes password)
{
    auth_bytes_free(&user->password);
    user->password = auth_bytes_copy(password);
}

/* ---- rows ---- */

/* A row that etcd did not write is not guessed at: what it would permit nobody knows. */
static struct error *damaged(const char *what, struct bytes key)
{
    return error_new(ERROR_CORRUPT, "the row of %s \"%.*s\" is damaged", what, (int)key.size,
                     (const char *)key.data);
}

static bool parse_options(struct auth_user *user, struct bytes options)
{
    struct wire_reader reader = wire_reader_of(options);
    struct wire_field field;
    user->has_options = true;
    while (wire_next(&reader, &field))
        if (field.number == OPTIONS_NO_PASSWORD && field.type == WIRE_VARINT)
            user->no_password = field.value != 0;
    return !reader.failed;
}

static bool parse_user(struct auth_user *user, struct bytes row, struct bytes *name)
{
    struct wire_reader reader = wire_reader_of(row);
    struct wire_field field;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        if (field.number > USER_OPTIONS) continue;
        good = field.type == WIRE_LENGTH;
        if (!good) break;
        if (field.number == USER_NAME) *name = field.bytes;
        if (field.number == USER_PASSWORD) auth_user_set_password(user, field.bytes);
        if (field.number == USER_ROLES) auth_user_add_role(user, field.bytes);
        if (field.number == USER_OPTIONS) good = parse_options(user, field.bytes);
    }
    return good && !reader.failed;
}

static bool parse_permission(struct bytes row, struct auth_permission *permission)
{
    struct wire_reader reader = wire_reader_of(row);
    struct wire_field field;
    *permission = (struct auth_permission){0};
    while (wire_next(&reader, &field)) {
        if (field.number > PERMISSION_END) continue;
        if ((field.number == PERMISSION_TYPE) != (field.type == WIRE_VARINT)) return false;
        if (field.number != PERMISSION_TYPE && field.type != WIRE_LENGTH) return false;
        if (field.number == PERMISSION_TYPE) permission->type = field.value;
        if (field.number == PERMISSION_KEY) permission->key = field.bytes;
        if (field.number == PERMISSION_END) permission->range_end = field.bytes;
    }
    return !reader.failed;
}

static bool parse_role(struct auth_role *role, struct bytes row, struct bytes *name)
{
    struct wire_reader reader = wire_reader_of(row);
    struct wire_field field;
    struct auth_permission permission;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        if (field.number > ROLE_PERMISSIONS) continue;
        good = field.type == WIRE_LENGTH;
        if (good && field.number == ROLE_NAME) *name = field.bytes;
        if (!good || field.number != ROLE_PERMISSIONS) continue;
        good = parse_permission(field.bytes, &permission);
        if (good) auth_role_insert_permission(role, role->permission_count, &permission);
    }
    return good && !reader.failed;
}

struct loading {
    struct auth_store *store;
    struct error *error;
};

static bool load_user(void *context, struct bytes key, struct bytes value)
{
    struct loading *loading = context;
    struct bytes name = BYTES_EMPTY;
    struct auth_user *user = auth_user_insert(loading->store, loading->store->user_count, key);
    if (!parse_user(user, value, &name) || !bytes_equal(name, key)) loading->error = damaged("user", key);
    return loading->error == NULL;
}

static bool load_role(void *context, struct bytes key, struct bytes value)
{
    struct loading *loading = context;
    struct bytes name = BYTES_EMPTY;
    struct auth_role *role = auth_role_insert(loading->store, loading->store->role_count, key);
    if (!parse_role(role, value, &name) || !bytes_equal(name, key)) loading->error = damaged("role", key);
    return loading->error == NULL;
}

static struct error *load_switch(struct auth_store *store)
{
    bool found = false;
    struct bytes value = BYTES_EMPTY;
    TRY(backend_get(store->backend, BUCKET_AUTH, AUTH_KEY_ENABLED, &found, &value));
    if (found && (value.size != 1 || value.data[0] > 1))
        return error_new(ERROR_CORRUPT, "the row authEnabled is neither 0 nor 1");
    store->is_enabled = found && value.data[0] == 1;
    TRY(backend_get(store->backend, BUCKET_AUTH, AUTH_KEY_REVISION, &found, &value));
    if (found && value.size != sizeof(uint64_t))
        return error_new(ERROR_CORRUPT, "the row authRevision has %zu bytes instead of 8", value.size);
    store->revision = found ? be64_get(value.data) : 0;
    return NULL;
}

static struct error *load(struct auth_store *store)
{
    struct loading loading = {.store = store};
    TRY(load_switch(store));
    struct error *error =
        backend_scan(store->backend, BUCKET_AUTH_USERS, BYTES_EMPTY, BYTES_EMPTY, load_user, &loading);
    if (error == NULL && loading.error == NULL)
        error =
            backend_scan(store->backend, BUCKET_AUTH_ROLES, BYTES_EMPTY, BYTES_EMPTY, load_role, &loading);
    if (error != NULL) error_free(loading.error);
    if (error == NULL) error = loading.error;
    if (error == NULL && store->revision == 0) auth_write_revision(store);
    return error;
}

void auth_write_revision(struct auth_store *store)
{
    uint8_t row[sizeof(uint64_t)];
    be64_put(row, ++store->revision);
    backend_put(store->backend, BUCKET_AUTH, AUTH_KEY_REVISION, bytes_of(row, sizeof(row)));
}

/* ---- life ---- */

struct error *auth_store_open(struct backend *backend, const struct logger *logger,
                              struct auth_store **result)
{
    struct auth_store *store = mem_zalloc(1, sizeof(*store));
    store->logger = logger;
    store->backend = backend;
    struct error *error = load(store);
    if (error != NULL) {
        auth_store_close(store);
        return error;
    }
    *result = store;
    return NULL;
}

void auth_store_close(struct auth_store *store)
{
    if (store == NULL) return;
    forget_all(store);
    free(store->users);
    free(store->roles);
    free(store);
}

/* ---- looking ---- */

bool auth_is_enabled(const struct auth_store *store)
{
    return store->is_enabled;
}

uint64_t auth_revision(const struct auth_store *store)
{
    return store->revision;
}

const struct auth_user *auth_find_user(const struct auth_store *store, struct bytes name)
{
    bool found;
    size_t place = auth_user_place(store, name, &found);
    return found ? store->users[place] : NULL;
}

const struct auth_role *auth_find_role(const struct auth_store *store, struct bytes name)
{
    bool found;
    size_t place = auth_role_place(store, name, &found);
    return found ? store->roles[place] : NULL;
}

bool auth_user_has_role(const struct auth_user *user, struct bytes role)
{
    bool found;
    (void)role_name_place(user, role, &found);
    return found;
}

size_t auth_user_count(const struct auth_store *store)
{
    return store->user_count;
}

const struct auth_user *auth_user_at(const struct auth_store *store, size_t position)
{
    assert(position < store->user_count);
    return store->users[position];
}

size_t auth_role_count(const struct auth_store *store)
{
    return store->role_count;
}

const struct auth_role *auth_role_at(const struct auth_store *store, size_t position)
{
    assert(position < store->role_count);
    return store->roles[position];
}

/* ---- who may ---- */

void auth_forget_ranges(struct auth_store *store)
{
    for (size_t i = 0; i < store->user_count; i++)
        if (store->users[i]->has_ranges) forget_ranges(store->users[i]);
}

static void find_ranges(const struct auth_store *store, struct auth_user *user)
{
    for (size_t i = 0; i < user->role_count; i++) {
        const struct auth_role *role = auth_find_role(store, user->roles[i]);
        for (size_t j = 0; role != NULL && j < role->permission_count; j++) {
            const struct auth_permission *permission = &role->permissions[j];
            if (permission->type == AUTH_PERMISSION_READ || permission->type == AUTH_PERMISSION_READWRITE)
                auth_ranges_add(&user->ranges[AUTH_READ], permission->key, permission->range_end);
            if (permission->type == AUTH_PERMISSION_WRITE || permission->type == AUTH_PERMISSION_READWRITE)
                auth_ranges_add(&user->ranges[AUTH_WRITE], permission->key, permission->range_end);
        }
    }
    auth_ranges_merge(&user->ranges[AUTH_READ]);
    auth_ranges_merge(&user->ranges[AUTH_WRITE]);
    user->has_ranges = true;
}

enum api_error auth_check_keys(struct auth_store *store, const struct auth_identity *identity,
                               enum auth_access access, struct bytes key, struct bytes range_end)
{
    bool found;
    if (!store->is_enabled) return API_OK;
    if (identity->revision == 0) return API_ERROR_USER_EMPTY;
    if (identity->revision < store->revision) return API_ERROR_AUTH_OLD_REVISION;
    size_t place = auth_user_place(store, identity->user, &found);
    if (!found) return API_ERROR_PERMISSION_DENIED;
    struct auth_user *user = store->users[place];
    if (auth_user_has_role(user, AUTH_ROOT)) return API_OK;
    if (!user->has_ranges) find_ranges(store, user);
    return auth_ranges_cover(&user->ranges[access], key, range_end) ? API_OK : API_ERROR_PERMISSION_DENIED;
}

enum api_error auth_check_admin(const struct auth_store *store, const struct auth_identity *identity)
{
    if (!store->is_enabled) return API_OK;
    if (identity->user.size == 0) return API_ERROR_USER_EMPTY;
    const struct auth_user *user = auth_find_user(store, identity->user);
    if (user == NULL) return API_ERROR_USER_NOT_FOUND;
    return auth_user_has_role(user, AUTH_ROOT) ? API_OK : API_ERROR_PERMISSION_DENIED;
}

enum api_error auth_check_user(const struct auth_store *store, const struct auth_identity *identity)
{
    return store->is_enabled && identity->revision == 0 ? API_ERROR_USER_EMPTY : API_OK;
}
