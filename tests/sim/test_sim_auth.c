/* Users, roles and permissions under faults: three simulated members, one client that asks one thing at a
 * time as root, as some user, by token or as nobody, and a model of who may do what.
 *
 *     test_sim_auth                        a fixed set of seeds
 *     test_sim_auth FIRST COUNT            others
 *
 * Whatever is answered must be what the model says; what is refused must not have happened. A member that is
 * behind may know less: it may say that its view of users is old, but never let through what is not allowed.
 * Members fall, are cut off, come back by snapshot. In the end all have the same users, roles and keys as the
 * model. A failing seed prints itself. */
#include "api/keys.h"
#include "api/message.h"
#include "auth/store.h"
#include "base/memory.h"
#include "sim/sim_cluster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft_internal.pb-c.h"
#include "rpc.pb-c.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)
#define PATIENCE    (20 * SECOND)

enum {
    DEFAULT_SEEDS = 12,
    MEMBERS = 3,
    STEPS = 600,
    USERS = 4, /* the first is root */
    ROLES = 3, /* and root, which needs no row */
    PERMISSIONS = 6,
    KEYS = 6,
    TOKENS = 8,
    CATCH_UP = 5,
    NAME_SIZE = 8,
};

struct permission {
    uint64_t type;
    char key, end; /* end 0: the key alone; 1: no upper bound */
};

struct model {
    bool enabled;
    bool user[USERS];
    bool has_role[USERS][ROLES + 1]; /* the last is root */
    bool role[ROLES];
    struct permission permissions[ROLES][PERMISSIONS];
    size_t permission_count[ROLES];
    int value[KEYS]; /* 0: the key is not there */
    uint64_t revision;
};

struct token {
    char text[64];
    size_t user;
    bool is_good;
    bool was_seen_by_all;
    uint64_t restarts; /* when it was given: members that fall may forget it */
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct sim_cluster *cluster;
    struct arena *arena;
    struct node_request request;
    struct buf raw;
    bool answered;
    struct model model;
    struct token tokens[TOKENS];
    size_t token_count;
    uint64_t restarts;
    int64_t restart_at[MEMBERS], heal_at;
    int next_value;
    uint64_t asked, refused, unknown, faults;
};

static void __attribute__((noreturn, format(printf, 2, 3)))
give_up(const struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "seed %llu: ", (unsigned long long)world->seed);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

static void must(const struct world *world, struct error *error)
{
    if (error != NULL) give_up(world, "%s", error->text);
}

static const char *user_name(size_t user)
{
    static const char *const names[USERS] = {"root", "u1", "u2", "u3"};
    return names[user];
}

static const char *role_name(size_t role)
{
    static const char *const names[ROLES + 1] = {"r0", "r1", "r2", "root"};
    return names[role];
}

/* ---- the model's opinion ---- */

static struct bytes one_letter(const char *letter)
{
    return *letter == 0 ? BYTES_EMPTY : *letter == 1 ? KEY_OPEN_END : bytes_of(letter, 1);
}

static bool grants(const struct permission *permission, bool write, struct bytes key)
{
    bool fits = permission->type == AUTH_PERMISSION_READWRITE ||
                permission->type == (write ? AUTH_PERMISSION_WRITE : AUTH_PERMISSION_READ);
    return fits && key_in_range(key, one_letter(&permission->key), one_letter(&permission->end));
}

static bool may_touch(const struct model *model, size_t user, bool write, struct bytes key)
{
    for (size_t role = 0; role < ROLES; role++)
        for (size_t i = 0; model->has_role[user][role] && i < model->permission_count[role]; i++)
            if (grants(&model->permissions[role][i], write, key)) return true;
    return false;
}

/* Every key of the range: each letter, and what lies right behind it and far behind it. */
static bool may(const struct model *model, size_t user, bool write, char key, char end)
{
    if (!model->user[user]) return false;
    if (model->has_role[user][ROLES]) return true;
    bool any = false;
    for (char letter = 'a'; letter < 'a' + KEYS + 1; letter++)
        for (int tail = 0; tail < 3; tail++) {
            const char text[2] = {letter, tail == 1 ? '\0' : '\xff'};
            struct bytes probe = bytes_of(text, tail == 0 ? 1 : 2);
            if (!key_in_range(probe, one_letter(&key), one_letter(&end))) continue;
            if (!may_touch(model, user, write, probe)) return false;
            any = true;
        }
    return any;
}

static bool is_admin(const struct model *model, size_t user)
{
    return model->user[user] && model->has_role[user][ROLES];
}

/* ---- asking ---- */

static void on_reply(void *context, size_t member, struct node_request *request)
{
    struct world *world = context;
    (void)member;
    if (request != &world->request) give_up(world, "an answer to nothing");
    world->answered = true;
}

static void on_watch(void *context, size_t member, struct watch_message *message)
{
    (void)context, (void)member;
    watch_message_free(message);
}

static void do_faults_due(struct world *world)
{
    int64_t now = sim_cluster_now(world->cluster);
    for (size_t i = 0; i < MEMBERS; i++) {
        if (world->restart_at[i] > now) continue;
        world->restart_at[i] = INT64_MAX;
        must(world, sim_cluster_start(world->cluster, i));
    }
    if (world->heal_at <= now) {
        world->heal_at = INT64_MAX;
        sim_network_heal(sim_cluster_network(world->cluster));
    }
}

/* Until that time, or (`asking`) an answer, with no moment lost: members are behind right after it. */
static void run_until(struct world *world, int64_t until, bool asking)
{
    while (sim_cluster_now(world->cluster) < until && !(asking && world->answered)) {
        do_faults_due(world);
        int64_t next = until;
        for (size_t i = 0; i < MEMBERS; i++)
            if (world->restart_at[i] < next) next = world->restart_at[i];
        if (world->heal_at < next) next = world->heal_at;
        while (!(asking && world->answered) && sim_cluster_step(world->cluster, next)) {
        }
    }
}

static void run_for(struct world *world, int64_t time)
{
    run_until(world, sim_cluster_now(world->cluster) + time, false);
}

/* The answer's error; the response is in the arena. */
static void ask(struct world *world, size_t member, enum node_operation operation, const void *message,
                const struct node_identity *identity)
{
    struct node_request *request = &world->request;
    if (request->response != NULL) blob_unref(request->response);
    memset(request, 0, sizeof(*request));
    buf_clear(&world->raw);
    message_pack(&world->raw, message);
    request->operation = operation;
    request->message = message;
    request->raw = buf_bytes(&world->raw);
    request->internal = identity == NULL;
    if (identity != NULL) request->identity = *identity;
    world->answered = false;
    world->asked++;
    sim_cluster_submit(world->cluster, member, request);
    run_until(world, sim_cluster_now(world->cluster) + PATIENCE, true);
    if (!world->answered) give_up(world, "operation %d is never answered", (int)operation);
    blob_list_deinit(&request->response_rest);
}

static bool is_unknown(const struct node_request *request)
{
    if (request->error_text != NULL) return true;
    switch (request->error) {
    case API_ERROR_STOPPED:
    case API_ERROR_TIMEOUT:
    case API_ERROR_TIMEOUT_LEADER_FAIL:
    case API_ERROR_TIMEOUT_CONNECTION_LOST:
    case API_ERROR_DEADLINE_EXCEEDED:
    case API_ERROR_LEADER_CHANGED:
    case API_ERROR_NO_LEADER:
    case API_ERROR_TOO_MANY_REQUESTS:
    case API_ERROR_CANCELED:
        return true;
    default:
        return false;
    }
}

static size_t some_member(struct world *world)
{
    for (;;) {
        size_t member = rng_below(&world->rng, MEMBERS);
        if (sim_cluster_is_up(world->cluster, member)) return member;
        run_for(world, 100 * MILLISECOND);
    }
}

/* ---- where the model comes from after an answer that tells nothing ---- */

static bool has_same_keys(struct world *world, const int value[KEYS])
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = message_binary(BYTES_LITERAL("a"));
    range.range_end = message_binary(KEY_OPEN_END);
    ask(world, some_member(world), NODE_RANGE, &range, NULL);
    if (world->request.error != API_OK || world->request.error_text != NULL) return false;
    arena_reset(world->arena);
    const Etcdserverpb__RangeResponse *response =
        (void *)message_unpack(&etcdserverpb__range_response__descriptor, blob_bytes(world->request.response),
                               world->arena, NULL);
    int found[KEYS] = {0};
    for (size_t i = 0; i < response->n_kvs; i++) {
        char text[16] = "";
        memcpy(text, response->kvs[i]->value.data, response->kvs[i]->value.len);
        found[response->kvs[i]->key.data[0] - 'a'] = atoi(text);
    }
    if (value == NULL)
        memcpy(world->model.value, found, sizeof(found));
    else
        return memcmp(value, found, sizeof(found)) == 0;
    return true;
}

static void read_users(struct model *model, const struct auth_store *store)
{
    memset(model->user, 0, sizeof(model->user));
    memset(model->has_role, 0, sizeof(model->has_role));
    memset(model->role, 0, sizeof(model->role));
    memset(model->permission_count, 0, sizeof(model->permission_count));
    model->enabled = auth_is_enabled(store);
    model->revision = auth_revision(store);
    for (size_t i = 0; i < USERS; i++) {
        const struct auth_user *user = auth_find_user(store, bytes_from_string(user_name(i)));
        model->user[i] = user != NULL;
        for (size_t j = 0; user != NULL && j <= ROLES; j++)
            model->has_role[i][j] = auth_user_has_role(user, bytes_from_string(role_name(j)));
    }
    for (size_t i = 0; i < ROLES; i++) {
        const struct auth_role *role = auth_find_role(store, bytes_from_string(role_name(i)));
        model->role[i] = role != NULL;
        model->permission_count[i] = role == NULL ? 0 : role->permission_count;
        for (size_t j = 0; j < model->permission_count[i]; j++) {
            const struct auth_permission *found = &role->permissions[j];
            model->permissions[i][j] = (struct permission){.type = found->type,
                                                           .key = (char)found->key.data[0],
                                                           .end = found->range_end.size == 0 ? (char)0
                                                                  : key_is_open_end(found->range_end)
                                                                      ? (char)1
                                                                      : (char)found->range_end.data[0]};
        }
    }
}

/* Everybody up and connected, and all that was under way has come to an end. */
static void settle(struct world *world)
{
    for (size_t i = 0; i < MEMBERS; i++)
        if (world->restart_at[i] != INT64_MAX) world->restart_at[i] = sim_cluster_now(world->cluster);
    if (world->heal_at != INT64_MAX) world->heal_at = sim_cluster_now(world->cluster);
    run_for(world, 20 * SECOND);
}

static void learn(struct world *world)
{
    bool known = false;
    world->unknown++;
    settle(world);
    for (int i = 0; i < 10 && !known; i++) known = has_same_keys(world, NULL);
    if (!known) give_up(world, "the cluster does not come back");
    for (size_t i = 0; i < MEMBERS; i++) {
        struct node_status a, b;
        node_status(sim_member_node(sim_cluster_member(world->cluster, 0)), &a);
        node_status(sim_member_node(sim_cluster_member(world->cluster, i)), &b);
        if (a.applied != b.applied) give_up(world, "member %zu does not catch up", i);
    }
    read_users(&world->model, node_auth(sim_member_node(sim_cluster_member(world->cluster, 0))));
    for (size_t i = 0; i < world->token_count; i++) world->tokens[i].is_good = false;
    world->token_count = 0;
}

/* ---- changes of users and roles ---- */

static struct node_identity certificate(size_t user)
{
    return (struct node_identity){.kind = NODE_IDENTITY_CERTIFICATE,
                                  .text = bytes_from_string(user_name(user))};
}

static void forget_tokens(struct world *world, size_t user)
{
    for (size_t i = 0; i < world->token_count; i++)
        if (user == USERS || world->tokens[i].user == user) world->tokens[i].is_good = false;
}

/* What an administrator's change comes to in the model: the error that is to be answered. */
struct change {
    enum node_operation operation;
    size_t user, role;
    struct permission permission;
};

static enum api_error change_user(struct world *world, const struct change *change)
{
    struct model *model = &world->model;
    bool *there = &model->user[change->user], *has = &model->has_role[change->user][change->role];
    switch (change->operation) {
    case NODE_USER_ADD:
        if (*there) return API_ERROR_USER_ALREADY_EXIST;
        *there = true;
        break;
    case NODE_USER_DELETE:
        if (model->enabled && change->user == 0) return API_ERROR_INVALID_AUTH_MANAGEMENT;
        if (!*there) return API_ERROR_USER_NOT_FOUND;
        *there = false;
        memset(model->has_role[change->user], 0, sizeof(model->has_role[change->user]));
        forget_tokens(world, change->user);
        break;
    case NODE_USER_CHANGE_PASSWORD:
        if (!*there) return API_ERROR_USER_NOT_FOUND;
        forget_tokens(world, change->user);
        break;
    case NODE_USER_GRANT_ROLE:
        if (!*there) return API_ERROR_USER_NOT_FOUND;
        if (change->role < ROLES && !model->role[change->role]) return API_ERROR_ROLE_NOT_FOUND;
        if (*has) return API_OK; /* and the revision stays */
        *has = true;
        break;
    default:
        if (model->enabled && change->user == 0 && change->role == ROLES)
            return API_ERROR_INVALID_AUTH_MANAGEMENT;
        if (!*there) return API_ERROR_USER_NOT_FOUND;
        if (!*has) return API_ERROR_ROLE_NOT_GRANTED;
        *has = false;
    }
    model->revision++;
    return API_OK;
}

static enum api_error change_permission(struct model *model, const struct change *change)
{
    struct permission *permissions = model->permissions[change->role];
    size_t *count = &model->permission_count[change->role], kept = 0;
    const struct permission *wanted = &change->permission;
    if (change->operation == NODE_ROLE_GRANT_PERMISSION) {
        size_t first = 0; /* on this key: etcd looks no further */
        while (first < *count && permissions[first].key != wanted->key) first++;
        if (first == *count || permissions[first].end != wanted->end)
            permissions[(*count)++] = *wanted;
        else
            permissions[first].type = wanted->type;
        return API_OK;
    }
    for (size_t i = 0; i < *count; i++)
        if (permissions[i].key != wanted->key || permissions[i].end != wanted->end)
            permissions[kept++] = permissions[i];
    enum api_error error = kept == *count ? API_ERROR_PERMISSION_NOT_GRANTED : API_OK;
    *count = kept;
    return error;
}

static enum api_error change_role(struct world *world, const struct change *change)
{
    struct model *model = &world->model;
    bool *there = &model->role[change->role];
    enum api_error error = API_OK;
    if (change->operation == NODE_ROLE_ADD) {
        if (*there) return API_ERROR_ROLE_ALREADY_EXIST;
        *there = true;
    } else {
        if (!*there) return API_ERROR_ROLE_NOT_FOUND;
        if (change->operation == NODE_ROLE_DELETE) {
            *there = false;
            model->permission_count[change->role] = 0;
            for (size_t i = 0; i < USERS; i++) model->has_role[i][change->role] = false;
        } else {
            error = change_permission(model, change);
        }
    }
    if (error == API_OK) model->revision++;
    return error;
}

static enum api_error predict(struct world *world, const struct change *change)
{
    struct model *model = &world->model;
    switch (change->operation) {
    case NODE_AUTH_ENABLE:
        if (!model->enabled && !model->user[0]) return API_ERROR_ROOT_USER_NOT_EXIST;
        if (!model->enabled && !model->has_role[0][ROLES]) return API_ERROR_ROOT_ROLE_NOT_EXIST;
        model->enabled = true;
        return API_OK;
    case NODE_AUTH_DISABLE:
        if (model->enabled) model->revision++;
        model->enabled = false;
        forget_tokens(world, USERS);
        return API_OK;
    case NODE_USER_ADD:
    case NODE_USER_DELETE:
    case NODE_USER_CHANGE_PASSWORD:
    case NODE_USER_GRANT_ROLE:
    case NODE_USER_REVOKE_ROLE:
        return change_user(world, change);
    default:
        return change_role(world, change);
    }
}

static const void *message_of(struct world *world, const struct change *change)
{
    char *user = (char *)(uintptr_t)user_name(change->user),
         *role = (char *)(uintptr_t)role_name(change->role);
    static char hash[] = "JDJhJDA0JA=="; /* of no password */
    struct arena *arena = world->arena;
    arena_reset(arena);
#define NEW(type, descriptor) type *message = (type *)(void *)message_new(&descriptor, arena);
    switch (change->operation) {
    case NODE_AUTH_ENABLE:
        return message_new(&etcdserverpb__auth_enable_request__descriptor, arena);
    case NODE_AUTH_DISABLE:
        return message_new(&etcdserverpb__auth_disable_request__descriptor, arena);
    case NODE_USER_ADD: {
        NEW(Etcdserverpb__AuthUserAddRequest, etcdserverpb__auth_user_add_request__descriptor)
        message->name = user;
        message->hashedpassword = hash;
        return message;
    }
    case NODE_USER_DELETE: {
        NEW(Etcdserverpb__AuthUserDeleteRequest, etcdserverpb__auth_user_delete_request__descriptor)
        message->name = user;
        return message;
    }
    case NODE_USER_CHANGE_PASSWORD: {
        NEW(Etcdserverpb__AuthUserChangePasswordRequest,
            etcdserverpb__auth_user_change_password_request__descriptor)
        message->name = user;
        message->hashedpassword = hash;
        return message;
    }
    case NODE_USER_GRANT_ROLE: {
        NEW(Etcdserverpb__AuthUserGrantRoleRequest, etcdserverpb__auth_user_grant_role_request__descriptor)
        message->user = user;
        message->role = role;
        return message;
    }
    case NODE_USER_REVOKE_ROLE: {
        NEW(Etcdserverpb__AuthUserRevokeRoleRequest, etcdserverpb__auth_user_revoke_role_request__descriptor)
        message->name = user;
        message->role = role;
        return message;
    }
    case NODE_ROLE_ADD: {
        NEW(Etcdserverpb__AuthRoleAddRequest, etcdserverpb__auth_role_add_request__descriptor)
        message->name = role;
        return message;
    }
    case NODE_ROLE_DELETE: {
        NEW(Etcdserverpb__AuthRoleDeleteRequest, etcdserverpb__auth_role_delete_request__descriptor)
        message->role = role;
        return message;
    }
    case NODE_ROLE_GRANT_PERMISSION: {
        NEW(Etcdserverpb__AuthRoleGrantPermissionRequest,
            etcdserverpb__auth_role_grant_permission_request__descriptor)
        Authpb__Permission *permission = (void *)message_new(&authpb__permission__descriptor, arena);
        permission->permtype = (Authpb__Permission__Type)change->permission.type;
        permission->key = message_binary(arena_copy(arena, one_letter(&change->permission.key)));
        permission->range_end = message_binary(arena_copy(arena, one_letter(&change->permission.end)));
        message->name = role;
        message->perm = permission;
        return message;
    }
    default: {
        NEW(Etcdserverpb__AuthRoleRevokePermissionRequest,
            etcdserverpb__auth_role_revoke_permission_request__descriptor)
        message->role = role;
        message->key = message_binary(arena_copy(arena, one_letter(&change->permission.key)));
        message->range_end = message_binary(arena_copy(arena, one_letter(&change->permission.end)));
        return message;
    }
    }
#undef NEW
}

static struct permission some_permission(struct world *world)
{
    struct permission permission = {.type = rng_below(&world->rng, 3)};
    permission.key = (char)('a' + rng_below(&world->rng, KEYS));
    if (rng_chance(&world->rng, 1, 6)) {
        permission.end = 1;
    } else if (rng_chance(&world->rng, 1, 2)) {
        char room = (char)('a' + KEYS - permission.key);
        permission.end = (char)(permission.key + 1 + (char)rng_below(&world->rng, (uint64_t)room));
    }
    return permission;
}

static struct change some_change(struct world *world)
{
    static const enum node_operation operations[] = {NODE_AUTH_ENABLE,
                                                     NODE_AUTH_ENABLE,
                                                     NODE_AUTH_ENABLE,
                                                     NODE_AUTH_DISABLE,
                                                     NODE_USER_ADD,
                                                     NODE_USER_ADD,
                                                     NODE_USER_DELETE,
                                                     NODE_USER_CHANGE_PASSWORD,
                                                     NODE_USER_GRANT_ROLE,
                                                     NODE_USER_GRANT_ROLE,
                                                     NODE_USER_REVOKE_ROLE,
                                                     NODE_ROLE_ADD,
                                                     NODE_ROLE_ADD,
                                                     NODE_ROLE_DELETE,
                                                     NODE_ROLE_GRANT_PERMISSION,
                                                     NODE_ROLE_GRANT_PERMISSION,
                                                     NODE_ROLE_GRANT_PERMISSION,
                                                     NODE_ROLE_REVOKE_PERMISSION};
    struct change change = {
        .operation = operations[rng_below(&world->rng, sizeof(operations) / sizeof(operations[0]))],
        .user = rng_below(&world->rng, USERS),
        .permission = some_permission(world),
    };
    bool may_be_root = change.operation == NODE_USER_GRANT_ROLE || change.operation == NODE_USER_REVOKE_ROLE;
    change.role = rng_below(&world->rng, may_be_root && change.user == 0 ? ROLES + 1 : ROLES);
    if (change.operation == NODE_ROLE_GRANT_PERMISSION &&
        world->model.permission_count[change.role] == PERMISSIONS)
        change.operation = NODE_ROLE_REVOKE_PERMISSION;
    if (change.operation == NODE_ROLE_REVOKE_PERMISSION && world->model.permission_count[change.role] > 0 &&
        rng_chance(&world->rng, 3, 4))
        change.permission =
            world->model
                .permissions[change.role][rng_below(&world->rng, world->model.permission_count[change.role])];
    return change;
}

static void make_change(struct world *world, struct change change, size_t who)
{
    size_t member = some_member(world);
    struct node_identity identity = certificate(who);
    /* A member that is behind may not know yet that there is anything to know. */
    bool knows_nobody =
        world->model.enabled &&
        !auth_is_enabled(node_auth(sim_member_node(sim_cluster_member(world->cluster, member))));
    enum api_error denied = API_OK;
    if (world->model.enabled && !is_admin(&world->model, who))
        denied = world->model.user[who] ? API_ERROR_PERMISSION_DENIED : API_ERROR_USER_NOT_FOUND;
    ask(world, member, change.operation, message_of(world, &change), &identity);
    if (is_unknown(&world->request)) {
        learn(world);
        return;
    }
    if (knows_nobody && world->request.error == API_ERROR_USER_EMPTY) return;
    enum api_error expected = denied != API_OK ? denied : predict(world, &change);
    world->refused += denied != API_OK;
    if (world->request.error != expected)
        give_up(world, "change %d by %s: \"%s\" instead of \"%s\"", (int)change.operation, user_name(who),
                api_error_text(world->request.error), api_error_text(expected));
}

static void change_something(struct world *world)
{
    struct change change = some_change(world);
    make_change(world, change, rng_chance(&world->rng, 1, 8) ? rng_below(&world->rng, USERS) : 0);
}

/* So that there is something to refuse from early on. */
static void begin(struct world *world)
{
    make_change(world, (struct change){.operation = NODE_USER_ADD}, 0);
    make_change(world, (struct change){.operation = NODE_USER_GRANT_ROLE, .role = ROLES}, 0);
    for (size_t user = 1; user < USERS; user++)
        make_change(world, (struct change){.operation = NODE_USER_ADD, .user = user}, 0);
    for (size_t role = 0; role < ROLES; role++)
        make_change(world, (struct change){.operation = NODE_ROLE_ADD, .role = role}, 0);
}

/* ---- logins ---- */

/* Whether every member will apply the entry of a login itself: none is away, or so far behind that a snapshot
 * may carry it over the login. */
static bool all_keep_up(struct world *world)
{
    uint64_t least = UINT64_MAX, most = 0;
    if (world->heal_at != INT64_MAX) return false;
    for (size_t i = 0; i < MEMBERS; i++) {
        struct node_status status;
        if (!sim_cluster_is_up(world->cluster, i)) return false;
        node_status(sim_member_node(sim_cluster_member(world->cluster, i)), &status);
        if (status.applied < least) least = status.applied;
        if (status.applied > most) most = status.applied;
    }
    return most - least < CATCH_UP;
}

static void log_in(struct world *world)
{
    size_t user = rng_below(&world->rng, USERS);
    char prefix[NAME_SIZE];
    Etcdserverpb__InternalAuthenticateRequest request = ETCDSERVERPB__INTERNAL_AUTHENTICATE_REQUEST__INIT;
    const struct node_identity nobody = {0};
    snprintf(prefix, sizeof(prefix), "t%llu", (unsigned long long)(rng_next(&world->rng) % 100000));
    request.name = (char *)(uintptr_t)user_name(user);
    request.simple_token = prefix;
    bool all = all_keep_up(world);
    ask(world, some_member(world), NODE_AUTHENTICATE, &request, &nobody);
    if (is_unknown(&world->request)) {
        learn(world);
        return;
    }
    enum api_error expected = !world->model.enabled      ? API_ERROR_AUTH_NOT_ENABLED
                              : !world->model.user[user] ? API_ERROR_AUTH_FAILED
                                                         : API_OK;
    if (world->request.error != expected)
        give_up(world, "a login of %s: \"%s\"", user_name(user), api_error_text(world->request.error));
    if (expected != API_OK) return;
    arena_reset(world->arena);
    const Etcdserverpb__AuthenticateResponse *response =
        (void *)message_unpack(&etcdserverpb__authenticate_response__descriptor,
                               blob_bytes(world->request.response), world->arena, NULL);
    struct token *token =
        &world->tokens[world->token_count < TOKENS ? world->token_count++ : rng_below(&world->rng, TOKENS)];
    *token =
        (struct token){.user = user, .is_good = true, .was_seen_by_all = all, .restarts = world->restarts};
    snprintf(token->text, sizeof(token->text), "%s", response->token);
}

/* ---- keys ---- */

/* Who asks for keys: a user by certificate, by token, by a signed token that may be old, or nobody. */
struct asker {
    struct node_identity identity;
    size_t user; /* USERS: nobody */
    const struct token *token;
    bool is_old; /* what it shows is of users and roles before the last change */
};

static struct asker some_asker(struct world *world)
{
    if (rng_chance(&world->rng, 1, 8)) return (struct asker){.user = USERS};
    if (world->token_count > 0 && rng_chance(&world->rng, 1, 2)) {
        const struct token *token = &world->tokens[rng_below(&world->rng, world->token_count)];
        return (
            struct asker){.identity = {.kind = NODE_IDENTITY_TOKEN, .text = bytes_from_string(token->text)},
                          .user = token->user,
                          .token = token};
    }
    struct asker asker = {.user = rng_below(&world->rng, USERS)};
    asker.identity = certificate(asker.user);
    if (!rng_chance(&world->rng, 1, 3)) return asker;
    asker.is_old = rng_chance(&world->rng, 1, 2);
    asker.identity.kind = NODE_IDENTITY_CLAIMS;
    asker.identity.revision = world->model.revision - asker.is_old;
    return asker;
}

static enum api_error expected_of(const struct world *world, const struct asker *asker, bool write, char key,
                                  char end)
{
    const struct model *model = &world->model;
    if (!model->enabled) return API_OK;
    if (asker->user == USERS) return API_ERROR_USER_EMPTY;
    if (asker->token != NULL && !asker->token->is_good) return API_ERROR_INVALID_AUTH_TOKEN;
    if (asker->is_old) return API_ERROR_AUTH_OLD_REVISION;
    return may(model, asker->user, write, key, end) ? API_OK : API_ERROR_PERMISSION_DENIED;
}

/* What a member that is behind, or has been down, may say instead; never that something is allowed. */
static bool is_excused(const struct world *world, const struct asker *asker, bool write, bool is_behind,
                       bool knows_nobody)
{
    enum api_error error = world->request.error;
    if (error == API_ERROR_INVALID_AUTH_TOKEN)
        return asker->token != NULL && (is_behind || asker->token->restarts != world->restarts ||
                                        !asker->token->was_seen_by_all || !world->model.enabled);
    if (!write) return false;
    return (error == API_ERROR_AUTH_OLD_REVISION && is_behind) ||
           (error == API_ERROR_USER_EMPTY && knows_nobody);
}

static void check_answer(struct world *world, const struct asker *asker, size_t member, bool write,
                         enum api_error expected, bool is_behind, bool knows_nobody)
{
    enum api_error error = world->request.error;
    if (error == expected || is_excused(world, asker, write, is_behind, knows_nobody)) return;
    give_up(world, "%s by %s%s at member %zu: \"%s\" instead of \"%s\"", write ? "a write" : "a read",
            asker->user == USERS ? "nobody" : user_name(asker->user), asker->token == NULL ? "" : " (token)",
            member, api_error_text(error), api_error_text(expected));
}

struct view {
    bool is_behind, knows_nobody;
};

static struct view view_of(struct world *world, size_t member)
{
    const struct auth_store *store = node_auth(sim_member_node(sim_cluster_member(world->cluster, member)));
    return (struct view){.is_behind = auth_revision(store) != world->model.revision ||
                                      auth_is_enabled(store) != world->model.enabled,
                         .knows_nobody = !auth_is_enabled(store)};
}

static void write_something(struct world *world)
{
    struct asker asker = some_asker(world);
    struct permission span = some_permission(world);
    size_t member = some_member(world);
    struct view view = view_of(world, member);
    char text[16];
    int after[KEYS];
    memcpy(after, world->model.value, sizeof(after));
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    bool deletes = rng_chance(&world->rng, 1, 3), reads_back = rng_chance(&world->rng, 1, 3);
    if (!deletes) span.end = 0;
    enum api_error expected = expected_of(world, &asker, true, span.key, span.end);
    if (expected == API_OK && reads_back) expected = expected_of(world, &asker, false, span.key, span.end);
    if (deletes) {
        delete.key = message_binary(one_letter(&span.key));
        delete.range_end = message_binary(one_letter(&span.end));
        delete.prev_kv = reads_back;
        for (char key = 'a'; key < 'a' + KEYS; key++)
            if (key_in_range(bytes_of(&key, 1), one_letter(&span.key), one_letter(&span.end)))
                after[key - 'a'] = 0;
        ask(world, member, NODE_DELETE_RANGE, &delete, &asker.identity);
    } else {
        after[span.key - 'a'] = ++world->next_value;
        snprintf(text, sizeof(text), "%d", world->next_value);
        put.key = message_binary(one_letter(&span.key));
        put.value = message_binary(bytes_from_string(text));
        put.prev_kv = reads_back;
        ask(world, member, NODE_PUT, &put, &asker.identity);
    }
    if (is_unknown(&world->request)) {
        learn(world);
        return;
    }
    check_answer(world, &asker, member, true, expected, view.is_behind, view.knows_nobody);
    if (world->request.error == API_OK)
        memcpy(world->model.value, after, sizeof(after));
    else
        world->refused++;
    if (!has_same_keys(world, world->model.value) && !is_unknown(&world->request))
        give_up(world, "a write that was %s left other keys than it should",
                expected == API_OK ? "allowed" : "refused");
}

static void read_something(struct world *world)
{
    struct asker asker = some_asker(world);
    struct permission span = some_permission(world);
    size_t member = some_member(world);
    struct view view = view_of(world, member);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = message_binary(one_letter(&span.key));
    range.range_end = message_binary(one_letter(&span.end));
    enum api_error expected = expected_of(world, &asker, false, span.key, span.end);
    ask(world, member, NODE_RANGE, &range, &asker.identity);
    if (is_unknown(&world->request)) return; /* it changed nothing */
    check_answer(world, &asker, member, false, expected, view.is_behind, view.knows_nobody);
    world->refused += world->request.error != API_OK;
}

/* ---- faults ---- */

static void disturb(struct world *world)
{
    bool busy = world->heal_at != INT64_MAX;
    for (size_t i = 0; i < MEMBERS; i++) busy = busy || world->restart_at[i] != INT64_MAX;
    if (busy) return;
    size_t member = rng_below(&world->rng, MEMBERS);
    int64_t later = sim_cluster_now(world->cluster) + (int64_t)rng_below(&world->rng, 8 * SECOND) + 1;
    world->faults++;
    if (rng_chance(&world->rng, 1, 2)) {
        world->restarts++;
        if (rng_chance(&world->rng, 1, 2))
            sim_cluster_kill(world->cluster, member);
        else
            sim_cluster_crash(world->cluster, member, FS_SIM_RANDOM);
        world->restart_at[member] = later;
    } else {
        world->restarts++; /* what it misses may come by snapshot, without the tokens */
        world->heal_at = later;
        for (size_t i = 0; i < MEMBERS; i++)
            if (i != member) sim_network_cut(sim_cluster_network(world->cluster), member, i, true);
    }
}

/* ---- a whole run ---- */

static void must_be_the_model(struct world *world)
{
    uint32_t first_hash = 0;
    for (size_t i = 0; i < MEMBERS; i++) {
        struct model found = world->model;
        read_users(&found, node_auth(sim_member_node(sim_cluster_member(world->cluster, i))));
        if (found.enabled != world->model.enabled || found.revision != world->model.revision ||
            memcmp(found.user, world->model.user, sizeof(found.user)) != 0 ||
            memcmp(found.has_role, world->model.has_role, sizeof(found.has_role)) != 0 ||
            memcmp(found.permission_count, world->model.permission_count, sizeof(found.permission_count)) !=
                0)
            give_up(world, "member %zu has other users than the model", i);
        Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
        ask(world, i, NODE_HASH_KV, &request, NULL);
        arena_reset(world->arena);
        if (world->request.error != API_OK) give_up(world, "member %zu gives no hash", i);
        const Etcdserverpb__HashKVResponse *response =
            (void *)message_unpack(&etcdserverpb__hash_kvresponse__descriptor,
                                   blob_bytes(world->request.response), world->arena, NULL);
        if (i == 0) first_hash = response->hash;
        if (response->hash != first_hash) give_up(world, "member %zu has other keys", i);
    }
    if (!has_same_keys(world, world->model.value)) give_up(world, "the keys are not the model's");
}

static void run_seed(uint64_t seed, uint64_t totals[5])
{
    struct world *world = mem_zalloc(1, sizeof(*world));
    world->seed = seed;
    rng_init(&world->rng, seed);
    world->arena = arena_new();
    world->heal_at = INT64_MAX;
    world->cluster = sim_cluster_new(&(const struct sim_cluster_options){
        .seed = seed,
        .members = MEMBERS,
        .link = {.delay = MILLISECOND / 2, .jitter = MILLISECOND},
        .snapshot_count = 20,
        .catch_up_entries = CATCH_UP,
        .wal_segment_size = 1 << 16,
        .logger = &log_discard,
        .on_reply = on_reply,
        .on_watch = on_watch,
        .context = world,
    });
    for (size_t i = 0; i < MEMBERS; i++) {
        world->restart_at[i] = INT64_MAX;
        must(world, sim_cluster_start(world->cluster, i));
    }
    learn(world);
    begin(world);
    for (int step = 0; step < STEPS; step++) {
        uint64_t what = rng_below(&world->rng, 20);
        if (what < 7)
            change_something(world);
        else if (what < 9)
            log_in(world);
        else if (what < 14)
            write_something(world);
        else if (what < 19)
            read_something(world);
        else
            disturb(world);
    }
    settle(world);
    must_be_the_model(world);
    totals[0] += world->asked;
    totals[1] += world->refused;
    totals[2] += world->unknown;
    totals[3] += world->faults;
    totals[4] += sim_cluster_installs(world->cluster);
    for (size_t i = 0; i < MEMBERS; i++) must(world, sim_cluster_stop(world->cluster, i));
    blob_unref(world->request.response);
    sim_cluster_free(world->cluster);
    buf_deinit(&world->raw);
    arena_free(world->arena);
    free(world);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : DEFAULT_SEEDS;
    uint64_t totals[5] = {0};
    for (uint64_t seed = first; seed < first + count; seed++) run_seed(seed, totals);
    printf("%llu seeds: %llu requests, %llu refused, %llu of unknown outcome, %llu faults, %llu databases "
           "installed\n",
           (unsigned long long)count, (unsigned long long)totals[0], (unsigned long long)totals[1],
           (unsigned long long)totals[2], (unsigned long long)totals[3], (unsigned long long)totals[4]);
    return 0;
}
