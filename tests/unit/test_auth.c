/* Users, roles and permissions: who may do what, by which rows, and for how long a token lasts. */
#include "api/keys.h"
#include "auth/check.h"
#include "auth/store.h"
#include "auth/tokens.h"
#include "base/memory.h"
#include "base/rng.h"
#include "lease/lessor.h"
#include "memory_backend.h"
#include "tests/unit/expect.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)
#define B      BYTES_LITERAL

/* ---- ranges against every key, one by one ---- */

enum { LETTERS = 5, TRIALS = 4000 };

/* All keys of one or two of the letters 0, 'a' to 'd', in order, and what stands for no upper bound. */
static struct bytes key_at(size_t position, uint8_t storage[2])
{
    static const uint8_t letters[LETTERS] = {0, 'a', 'b', 'c', 'd'};
    size_t first = position / (LETTERS + 1), second = position % (LETTERS + 1);
    storage[0] = letters[first];
    if (second == 0) return bytes_of(storage, 1);
    storage[1] = letters[second - 1];
    return bytes_of(storage, 2);
}

enum { KEY_COUNT = LETTERS * (LETTERS + 1) };

static void keys_are_in_order(void **state)
{
    (void)state;
    uint8_t a[2], b[2];
    for (size_t i = 1; i < KEY_COUNT; i++) assert_true(bytes_compare(key_at(i - 1, a), key_at(i, b)) < 0);
}

struct span {
    uint8_t key[2], end[2];
    struct bytes from, to;
};

static void random_span(struct rng *rng, struct span *span)
{
    span->from = key_at(rng_below(rng, KEY_COUNT), span->key);
    span->to = BYTES_EMPTY;
    if (rng_chance(rng, 1, 3)) return;
    span->to = rng_chance(rng, 1, 5) ? KEY_OPEN_END : key_at(1 + rng_below(rng, KEY_COUNT - 1), span->end);
}

/* By the definition: every key of the request must be in some permission; keys of three letters stand for
 * what lies between the keys of two, and the largest for what an open end reaches. */
static bool covered_by_hand(const struct span *granted, size_t count, const struct span *asked)
{
    static const uint8_t tails[] = {0, 0xff};
    bool any = false;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        for (size_t tail = 0; tail < 3; tail++) {
            uint8_t storage[4];
            struct bytes key = key_at(i, storage);
            if (tail > 0) {
                storage[key.size] = tails[tail - 1];
                key.size++;
            }
            if (!key_in_range(key, asked->from, asked->to)) continue;
            bool found = false;
            for (size_t j = 0; j < count && !found; j++)
                found = key_in_range(key, granted[j].from, granted[j].to);
            if (!found) return false;
            any = true;
        }
    }
    return any;
}

static void ranges_are_what_every_key_says(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 7);
    size_t yes = 0, no = 0;
    for (size_t trial = 0; trial < TRIALS; trial++) {
        struct span granted[6], asked;
        struct auth_ranges ranges = {0};
        size_t count = rng_below(&rng, 6) + 1;
        for (size_t i = 0; i < count; i++) {
            random_span(&rng, &granted[i]);
            auth_ranges_add(&ranges, granted[i].from, granted[i].to);
        }
        auth_ranges_merge(&ranges);
        for (size_t i = 0; i < 20; i++) {
            random_span(&rng, &asked);
            bool is_empty =
                asked.to.size > 0 && !key_is_open_end(asked.to) && bytes_compare(asked.to, asked.from) <= 0;
            if (is_empty) asked.to = BYTES_EMPTY; /* counts as its key, see below */
            bool expected = covered_by_hand(granted, count, &asked);
            if (auth_ranges_cover(&ranges, asked.from, asked.to) != expected)
                fail_msg("trial %zu: expected %d", trial, expected);
            *(expected ? &yes : &no) += 1;
        }
        auth_ranges_deinit(&ranges);
    }
    assert_true(yes > 1000 && no > 1000);
}

static void an_empty_request_is_covered_where_its_key_is(void **state)
{
    struct auth_ranges ranges = {0};
    (void)state;
    auth_ranges_add(&ranges, B("b"), B("d"));
    auth_ranges_add(&ranges, B("z"), B("y")); /* empty itself */
    auth_ranges_add(&ranges, BYTES_EMPTY, B("\0"));
    auth_ranges_merge(&ranges);
    assert_int_equal(ranges.count, 1);
    assert_true(auth_ranges_cover(&ranges, B("c"), B("a")));
    assert_true(auth_ranges_cover(&ranges, B("c"), B("c")));
    assert_false(auth_ranges_cover(&ranges, B("d"), B("a")));
    assert_false(auth_ranges_cover(&ranges, B("z"), B("y")));
    assert_false(auth_ranges_cover(&ranges, BYTES_EMPTY, BYTES_EMPTY));
    auth_ranges_deinit(&ranges);
}

/* As real servers of 3.5 answered; [b,c) is granted in each case, and asked for is the empty [b,a). */
static void empty_requests_depend_on_their_neighbours(void **state)
{
    struct auth_ranges alone = {0}, beside_a = {0}, beside_0 = {0};
    (void)state;
    auth_ranges_add(&alone, B("b"), B("c"));
    auth_ranges_merge(&alone);
    assert_true(auth_ranges_cover(&alone, B("b"), B("a")));
    /* {a} stands above it in the tree, does not begin before the end that is asked for, and hides it. */
    auth_ranges_add(&beside_a, B("a"), BYTES_EMPTY);
    auth_ranges_add(&beside_a, B("b"), B("c"));
    auth_ranges_merge(&beside_a);
    assert_false(auth_ranges_cover(&beside_a, B("b"), B("a")));
    assert_true(auth_ranges_cover(&beside_a, B("b"), B("a\0")));
    /* A third makes [b,c) the root. */
    auth_ranges_add(&beside_0, B("a"), BYTES_EMPTY);
    auth_ranges_add(&beside_0, B("b"), B("c"));
    auth_ranges_add(&beside_0, B("d"), BYTES_EMPTY);
    auth_ranges_merge(&beside_0);
    assert_true(auth_ranges_cover(&beside_0, B("b"), B("a")));
    auth_ranges_deinit(&alone);
    auth_ranges_deinit(&beside_a);
    auth_ranges_deinit(&beside_0);
}

static void permissions_that_touch_are_one_a_gap_is_not(void **state)
{
    struct auth_ranges ranges = {0};
    (void)state;
    auth_ranges_add(&ranges, B("k"), BYTES_EMPTY);
    auth_ranges_add(&ranges, B("a"), B("c"));
    auth_ranges_add(&ranges, B("c"), B("k"));
    auth_ranges_add(&ranges, B("k\0"), B("m"));
    auth_ranges_add(&ranges, B("n"), B("\0"));
    auth_ranges_merge(&ranges);
    assert_int_equal(ranges.count, 2);
    assert_true(auth_ranges_cover(&ranges, B("a"), B("m")));
    assert_false(auth_ranges_cover(&ranges, B("a"), B("m\0")));
    assert_false(auth_ranges_cover(&ranges, B("a"), B("\0")));
    assert_false(auth_ranges_cover(&ranges, B("m"), BYTES_EMPTY));
    assert_true(auth_ranges_cover(&ranges, B("zz"), B("\0")));
    auth_ranges_deinit(&ranges);
}

/* ---- the store ---- */

static struct auth_store *open_store(struct backend *backend)
{
    struct auth_store *store = NULL;
    must(auth_store_open(backend, &log_discard, &store));
    return store;
}

static enum api_error add_user(struct auth_store *store, struct bytes name)
{
    return auth_user_add(store, &(const struct auth_new_user){.name = name, .password = B("$2a$04$hash")});
}

static enum api_error grant(struct auth_store *store, struct bytes role, uint64_t type, struct bytes key,
                            struct bytes end)
{
    return auth_role_grant_permission(
        store, role, &(const struct auth_permission){.type = type, .key = key, .range_end = end});
}

/* root with its role, and ann with a role that reads [a,c) and writes b. */
static struct auth_store *populate(struct backend *backend)
{
    struct auth_store *store = open_store(backend);
    assert_int_equal(add_user(store, B("root")), API_OK);
    assert_int_equal(auth_user_grant_role(store, B("root"), B("root")), API_OK);
    assert_int_equal(add_user(store, B("ann")), API_OK);
    assert_int_equal(auth_role_add(store, B("reader")), API_OK);
    assert_int_equal(grant(store, B("reader"), AUTH_PERMISSION_READ, B("a"), B("c")), API_OK);
    assert_int_equal(grant(store, B("reader"), AUTH_PERMISSION_WRITE, B("b"), BYTES_EMPTY), API_OK);
    assert_int_equal(auth_user_grant_role(store, B("ann"), B("reader")), API_OK);
    return store;
}

static void rows_are_etcds(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = populate(backend);
    bool found;
    struct bytes row;
    (void)state;
    must(backend_get(backend, BUCKET_AUTH_USERS, B("ann"), &found, &row));
    assert_true(found && bytes_equal(row, B("\x0a\x03"
                                            "ann\x12\x0b$2a$04$hash\x1a\x06reader\x22\x00")));
    must(backend_get(backend, BUCKET_AUTH_ROLES, B("reader"), &found, &row));
    assert_true(found && bytes_equal(row, B("\x0a\x06reader"
                                            "\x12\x06\x12\x01"
                                            "a\x1a\x01"
                                            "c"
                                            "\x12\x05\x08\x01\x12\x01"
                                            "b")));
    must(backend_get(backend, BUCKET_AUTH, B("authRevision"), &found, &row));
    assert_true(found && bytes_equal(row, B("\0\0\0\0\0\0\0\x08")));
    must(backend_get(backend, BUCKET_AUTH, B("authEnabled"), &found, &row));
    assert_false(found);
    assert_int_equal(auth_enable(store), API_OK);
    must(backend_get(backend, BUCKET_AUTH, B("authEnabled"), &found, &row));
    assert_true(found && bytes_equal(row, B("\x01")));
    assert_int_equal(auth_revision(store), 8); /* enabling is no change */
    auth_disable(store);
    must(backend_get(backend, BUCKET_AUTH, B("authEnabled"), &found, &row));
    assert_true(found && bytes_equal(row, B("\0")));
    assert_int_equal(auth_revision(store), 9);
    auth_disable(store);
    assert_int_equal(auth_revision(store), 9);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void assert_same_users(const struct auth_store *a, const struct auth_store *b)
{
    assert_int_equal(auth_revision(a), auth_revision(b));
    assert_int_equal(auth_is_enabled(a), auth_is_enabled(b));
    assert_int_equal(auth_user_count(a), auth_user_count(b));
    for (size_t i = 0; i < auth_user_count(a); i++) {
        const struct auth_user *one = auth_user_at(a, i), *other = auth_user_at(b, i);
        assert_true(bytes_equal(one->name, other->name) && bytes_equal(one->password, other->password));
        assert_true(one->no_password == other->no_password && one->has_options == other->has_options);
        assert_int_equal(one->role_count, other->role_count);
        for (size_t j = 0; j < one->role_count; j++) assert_true(bytes_equal(one->roles[j], other->roles[j]));
    }
    assert_int_equal(auth_role_count(a), auth_role_count(b));
    for (size_t i = 0; i < auth_role_count(a); i++) {
        const struct auth_role *one = auth_role_at(a, i), *other = auth_role_at(b, i);
        assert_true(bytes_equal(one->name, other->name));
        assert_int_equal(one->permission_count, other->permission_count);
        for (size_t j = 0; j < one->permission_count; j++) {
            assert_int_equal(one->permissions[j].type, other->permissions[j].type);
            assert_true(bytes_equal(one->permissions[j].key, other->permissions[j].key));
            assert_true(bytes_equal(one->permissions[j].range_end, other->permissions[j].range_end));
        }
    }
}

static const struct bytes names[] = {{(const uint8_t *)"root", 4},
                                     {(const uint8_t *)"a", 1},
                                     {(const uint8_t *)"b\0c", 3},
                                     {(const uint8_t *)"d", 1}};

static struct bytes any_name(struct rng *rng)
{
    return names[rng_below(rng, sizeof(names) / sizeof(names[0]))];
}

static void change_anything(struct auth_store *store, struct rng *rng)
{
    struct span span;
    random_span(rng, &span);
    struct bytes a = any_name(rng), b = any_name(rng);
    switch (rng_below(rng, 11)) {
    case 0:
        (void)auth_user_add(store,
                            &(const struct auth_new_user){.name = a, .no_password = rng_chance(rng, 1, 2)});
        break;
    case 1:
        (void)auth_user_delete(store, a);
        break;
    case 2:
        (void)auth_user_change_password(store, a, B("$2a$05$other"));
        break;
    case 3:
    case 4:
        (void)auth_user_grant_role(store, a, b);
        break;
    case 5:
        (void)auth_user_revoke_role(store, a, b);
        break;
    case 6:
        (void)auth_role_add(store, a);
        break;
    case 7:
        (void)auth_role_delete(store, a);
        break;
    case 8:
        if (rng_chance(rng, 1, 2))
            (void)auth_enable(store);
        else
            auth_disable(store);
        break;
    case 9:
        (void)grant(store, a, rng_below(rng, 3), span.from, span.to);
        break;
    default:
        (void)auth_role_revoke_permission(store, a, span.from, span.to);
        break;
    }
}

/* What is in memory is what the rows say, after whatever happened; answers are those of a fresh look at them.
 */
static void memory_is_what_the_rows_say(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 11);
    struct backend *backend = memory_backend_new();
    struct auth_store *store = open_store(backend);
    size_t allowed = 0;
    for (size_t i = 0; i < 3000; i++) {
        struct auth_store *fresh;
        change_anything(store, &rng);
        fresh = open_store(backend);
        assert_same_users(store, fresh);
        for (size_t j = 0; j < 4; j++) {
            struct span span;
            random_span(&rng, &span);
            const struct auth_identity identity = {.user = any_name(&rng), .revision = auth_revision(store)};
            enum auth_access access = rng_chance(&rng, 1, 2) ? AUTH_READ : AUTH_WRITE;
            enum api_error told = auth_check_keys(store, &identity, access, span.from, span.to);
            assert_int_equal(told, auth_check_keys(fresh, &identity, access, span.from, span.to));
            allowed += auth_is_enabled(store) && told == API_OK;
        }
        auth_store_close(fresh);
    }
    assert_true(allowed > 50);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void rules_of_root(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = open_store(backend);
    (void)state;
    assert_int_equal(auth_revision(store), 1);
    assert_int_equal(auth_enable(store), API_ERROR_ROOT_USER_NOT_EXIST);
    assert_int_equal(add_user(store, B("root")), API_OK);
    assert_int_equal(auth_enable(store), API_ERROR_ROOT_ROLE_NOT_EXIST);
    assert_int_equal(auth_user_grant_role(store, B("root"), B("nope")), API_ERROR_ROLE_NOT_FOUND);
    assert_int_equal(auth_user_grant_role(store, B("root"), B("root")), API_OK); /* needs no row */
    assert_int_equal(auth_revision(store), 3);
    assert_int_equal(auth_user_grant_role(store, B("root"), B("root")), API_OK);
    assert_int_equal(auth_revision(store), 3); /* nothing changed */
    assert_int_equal(auth_user_revoke_role(store, B("root"), B("root")), API_OK);
    assert_int_equal(auth_user_grant_role(store, B("root"), B("root")), API_OK);
    assert_int_equal(auth_enable(store), API_OK);
    assert_int_equal(auth_enable(store), API_OK);
    assert_int_equal(auth_user_delete(store, B("root")), API_ERROR_INVALID_AUTH_MANAGEMENT);
    assert_int_equal(auth_role_delete(store, B("root")), API_ERROR_INVALID_AUTH_MANAGEMENT);
    assert_int_equal(auth_user_revoke_role(store, B("root"), B("root")), API_ERROR_INVALID_AUTH_MANAGEMENT);
    auth_disable(store);
    assert_int_equal(auth_role_delete(store, B("root")), API_ERROR_ROLE_NOT_FOUND);
    assert_int_equal(auth_user_delete(store, B("root")), API_OK);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void what_is_refused(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = populate(backend);
    uint64_t revision = auth_revision(store);
    (void)state;
    assert_int_equal(add_user(store, BYTES_EMPTY), API_ERROR_USER_EMPTY);
    assert_int_equal(add_user(store, B("ann")), API_ERROR_USER_ALREADY_EXIST);
    assert_int_equal(auth_user_delete(store, B("bob")), API_ERROR_USER_NOT_FOUND);
    assert_int_equal(auth_user_change_password(store, B("bob"), B("x")), API_ERROR_USER_NOT_FOUND);
    assert_int_equal(auth_user_grant_role(store, B("bob"), B("reader")), API_ERROR_USER_NOT_FOUND);
    assert_int_equal(auth_user_revoke_role(store, B("bob"), B("reader")), API_ERROR_USER_NOT_FOUND);
    assert_int_equal(auth_user_revoke_role(store, B("root"), B("reader")), API_ERROR_ROLE_NOT_GRANTED);
    assert_int_equal(auth_role_add(store, BYTES_EMPTY), API_ERROR_ROLE_EMPTY);
    assert_int_equal(auth_role_add(store, B("reader")), API_ERROR_ROLE_ALREADY_EXIST);
    assert_int_equal(auth_role_delete(store, B("nope")), API_ERROR_ROLE_NOT_FOUND);
    assert_int_equal(grant(store, B("nope"), 0, B("a"), BYTES_EMPTY), API_ERROR_ROLE_NOT_FOUND);
    assert_int_equal(grant(store, B("reader"), 0, BYTES_EMPTY, B("z")), API_ERROR_INVALID_AUTH_MANAGEMENT);
    assert_int_equal(grant(store, B("reader"), 0, B("b"), B("b")), API_ERROR_INVALID_AUTH_MANAGEMENT);
    assert_int_equal(grant(store, B("reader"), 0, B("b"), B("a")), API_ERROR_INVALID_AUTH_MANAGEMENT);
    assert_int_equal(auth_role_revoke_permission(store, B("nope"), B("a"), B("c")), API_ERROR_ROLE_NOT_FOUND);
    assert_int_equal(auth_role_revoke_permission(store, B("reader"), B("a"), BYTES_EMPTY),
                     API_ERROR_PERMISSION_NOT_GRANTED);
    assert_int_equal(auth_revision(store), revision);
    auth_store_close(store);
    memory_backend_free(backend);
}

/* As etcd: only the first permission on a key is looked at, so a second end on the same key adds a row that a
 * third grant cannot narrow; revoking takes every row with that key and end. */
static void permissions_on_one_key(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = open_store(backend);
    (void)state;
    assert_int_equal(auth_role_add(store, B("r")), API_OK);
    assert_int_equal(grant(store, B("r"), AUTH_PERMISSION_READ, B("k"), B("m")), API_OK);
    assert_int_equal(grant(store, B("r"), AUTH_PERMISSION_READWRITE, B("k"), B("m")), API_OK);
    const struct auth_role *role = auth_find_role(store, B("r"));
    assert_int_equal(role->permission_count, 1);
    assert_int_equal(role->permissions[0].type, AUTH_PERMISSION_READWRITE);
    assert_int_equal(grant(store, B("r"), AUTH_PERMISSION_READ, B("k"), B("z")), API_OK);
    assert_int_equal(grant(store, B("r"), AUTH_PERMISSION_WRITE, B("k"), B("z")), API_OK);
    assert_int_equal(grant(store, B("r"), AUTH_PERMISSION_WRITE, B("b"), BYTES_EMPTY), API_OK);
    assert_int_equal(role->permission_count, 4);
    assert_true(bytes_equal(role->permissions[0].key, B("b")));
    assert_true(bytes_equal(role->permissions[1].range_end, B("m")));
    assert_int_equal(auth_role_revoke_permission(store, B("r"), B("k"), B("z")), API_OK);
    assert_int_equal(role->permission_count, 2);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void deleting_a_role_takes_it_from_its_users(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = populate(backend);
    const struct auth_identity ann = {.user = B("ann"), .revision = UINT64_MAX};
    (void)state;
    assert_int_equal(auth_enable(store), API_OK);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_READ, B("a"), BYTES_EMPTY), API_OK);
    assert_int_equal(auth_role_delete(store, B("reader")), API_OK);
    assert_int_equal(auth_find_user(store, B("ann"))->role_count, 0);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_READ, B("a"), BYTES_EMPTY),
                     API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_role_add(store, B("reader")), API_OK);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_READ, B("a"), BYTES_EMPTY),
                     API_ERROR_PERMISSION_DENIED);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void who_asks_and_since_when(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = populate(backend);
    uint64_t now = auth_revision(store);
    const struct auth_identity nobody = {0}, ann = {.user = B("ann"), .revision = now},
                               old = {.user = B("ann"), .revision = now - 1},
                               root = {.user = B("root"), .revision = now},
                               old_root = {.user = B("root"), .revision = 1},
                               ghost = {.user = B("x"), .revision = now};
    (void)state;
    assert_int_equal(auth_check_keys(store, &nobody, AUTH_WRITE, B("q"), BYTES_EMPTY), API_OK);
    assert_int_equal(auth_check_admin(store, &nobody), API_OK);
    assert_int_equal(auth_check_user(store, &nobody), API_OK);
    assert_int_equal(auth_enable(store), API_OK);
    assert_int_equal(auth_check_keys(store, &nobody, AUTH_READ, B("a"), BYTES_EMPTY), API_ERROR_USER_EMPTY);
    assert_int_equal(auth_check_keys(store, &old, AUTH_READ, B("a"), BYTES_EMPTY),
                     API_ERROR_AUTH_OLD_REVISION);
    assert_int_equal(auth_check_keys(store, &old_root, AUTH_READ, B("a"), BYTES_EMPTY),
                     API_ERROR_AUTH_OLD_REVISION);
    assert_int_equal(auth_check_keys(store, &ghost, AUTH_READ, B("a"), BYTES_EMPTY),
                     API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_READ, B("a"), B("c")), API_OK);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_READ, B("a"), B("\0")), API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_WRITE, B("a"), BYTES_EMPTY),
                     API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_keys(store, &ann, AUTH_WRITE, B("b"), BYTES_EMPTY), API_OK);
    assert_int_equal(auth_check_keys(store, &root, AUTH_WRITE, B("\0"), B("\0")), API_OK);
    assert_int_equal(auth_check_admin(store, &nobody), API_ERROR_USER_EMPTY);
    assert_int_equal(auth_check_admin(store, &ghost), API_ERROR_USER_NOT_FOUND);
    assert_int_equal(auth_check_admin(store, &ann), API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_admin(store, &old_root), API_OK); /* no revision is asked of administrators */
    assert_int_equal(auth_check_user(store, &nobody), API_ERROR_USER_EMPTY);
    assert_int_equal(auth_check_user(store, &ghost), API_OK);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void a_user_without_password_keeps_none(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = open_store(backend);
    (void)state;
    const struct auth_new_user user = {.name = B("u"), .password = B("ignored"), .no_password = true};
    assert_int_equal(auth_user_add(store, &user), API_OK);
    assert_int_equal(auth_find_user(store, B("u"))->password.size, 0);
    assert_int_equal(auth_user_change_password(store, B("u"), B("$2a$04$x")), API_OK);
    assert_int_equal(auth_find_user(store, B("u"))->password.size, 0);
    auth_store_close(store);
    memory_backend_free(backend);
}

static void damaged_rows_are_refused(void **state)
{
    static const struct {
        enum backend_bucket bucket;
        struct bytes key, value;
    } rows[] = {
        {BUCKET_AUTH, {(const uint8_t *)"authEnabled", 11}, {(const uint8_t *)"\2", 1}},
        {BUCKET_AUTH, {(const uint8_t *)"authEnabled", 11}, {(const uint8_t *)"", 0}},
        {BUCKET_AUTH, {(const uint8_t *)"authRevision", 12}, {(const uint8_t *)"\0\1", 2}},
        {BUCKET_AUTH_USERS, {(const uint8_t *)"ann", 3}, {(const uint8_t *)"\x0a\x03xyz", 5}},
        {BUCKET_AUTH_USERS,
         {(const uint8_t *)"ann", 3},
         {(const uint8_t *)"\x0a\x04"
                           "ann",
          5}},
        {BUCKET_AUTH_USERS, {(const uint8_t *)"ann", 3}, {(const uint8_t *)"", 0}},
        {BUCKET_AUTH_ROLES, {(const uint8_t *)"r", 1}, {(const uint8_t *)"\x0a\x01r\x12\x02\x12\x05", 7}},
        {BUCKET_AUTH_ROLES, {(const uint8_t *)"r", 1}, {(const uint8_t *)"\x0a\x01r\x12\x03\x0a\x01x", 8}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct backend *backend = memory_backend_new();
        struct auth_store *store = NULL;
        backend_put(backend, rows[i].bucket, rows[i].key, rows[i].value);
        struct error *error = auth_store_open(backend, &log_discard, &store);
        if (!error_is(error, ERROR_CORRUPT)) fail_msg("row %zu was taken", i);
        error_free(error);
        memory_backend_free(backend);
    }
}

/* ---- what requests need ---- */

static ProtobufCBinaryData binary(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

static enum api_error check_nested_put(const struct auth_check *check, const char *key, size_t depth,
                                       bool prev_kv)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT, *operations[] = {&operation};
    put.key = binary(key);
    put.prev_kv = prev_kv;
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    operation.request_put = &put;
    Etcdserverpb__TxnRequest txns[4];
    Etcdserverpb__RequestOp outer[4], *outers[4];
    for (size_t i = 0; i <= depth; i++) {
        etcdserverpb__txn_request__init(&txns[i]);
        etcdserverpb__request_op__init(&outer[i]);
        outers[i] = &outer[i];
        txns[i].failure = i == 0 ? operations : &outers[i - 1];
        txns[i].n_failure = 1;
        outer[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        outer[i].request_txn = &txns[i];
    }
    return auth_check_txn(check, &txns[depth]);
}

static void transactions_are_checked_to_the_bottom(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = populate(backend);
    struct lessor *lessor = NULL;
    const struct auth_identity ann = {.user = B("ann"), .revision = UINT64_MAX};
    (void)state;
    assert_int_equal(auth_enable(store), API_OK);
    must(lessor_open(backend, &(const struct lessor_options){.min_ttl = 2}, &lessor));
    const struct auth_check check = {.store = store, .lessor = lessor, .identity = &ann};
    for (size_t depth = 0; depth < 4; depth++) {
        assert_int_equal(check_nested_put(&check, "b", depth, true), API_OK);
        assert_int_equal(check_nested_put(&check, "a", depth, false), API_ERROR_PERMISSION_DENIED);
    }
    /* Comparing is reading. */
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    txn.compare = compares;
    txn.n_compare = 1;
    compare.key = binary("a");
    assert_int_equal(auth_check_txn(&check, &txn), API_OK);
    compare.range_end = binary("d");
    assert_int_equal(auth_check_txn(&check, &txn), API_ERROR_PERMISSION_DENIED);
    /* What was there before is reading, too. */
    assert_int_equal(auth_role_revoke_permission(store, B("reader"), B("a"), B("c")), API_OK);
    for (size_t depth = 0; depth < 4; depth++)
        assert_int_equal(check_nested_put(&check, "b", depth, true), API_ERROR_PERMISSION_DENIED);
    Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete.key = binary("b");
    assert_int_equal(auth_check_delete_range(&check, &delete), API_OK);
    delete.prev_kv = true;
    assert_int_equal(auth_check_delete_range(&check, &delete), API_ERROR_PERMISSION_DENIED);
    lessor_close(lessor);
    auth_store_close(store);
    memory_backend_free(backend);
}

/* Who may not write all keys of a lease may not end it, and so not put more keys under it. */
static void a_lease_is_as_dear_as_its_keys(void **state)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = populate(backend);
    struct lessor *lessor = NULL;
    const struct auth_identity ann = {.user = B("ann"), .revision = UINT64_MAX},
                               root = {.user = B("root"), .revision = UINT64_MAX};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    (void)state;
    assert_int_equal(auth_enable(store), API_OK);
    must(lessor_open(backend, &(const struct lessor_options){.min_ttl = 2}, &lessor));
    assert_int_equal(lessor_grant(lessor, 5, 60, 0, NULL), API_OK);
    const struct auth_check by_ann = {store, lessor, &ann}, by_root = {store, lessor, &root};
    put.key = binary("b");
    put.lease = 5;
    assert_int_equal(auth_check_put(&by_ann, &put), API_OK);
    assert_true(lessor_attach(lessor, 5, B("b")));
    assert_int_equal(auth_check_put(&by_ann, &put), API_OK);
    assert_int_equal(auth_check_lease(&by_ann, 5, AUTH_READ), API_OK);
    assert_true(lessor_attach(lessor, 5, B("secret")));
    assert_int_equal(auth_check_put(&by_ann, &put), API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_lease(&by_ann, 5, AUTH_WRITE), API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_lease(&by_ann, 5, AUTH_READ), API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_leases(&by_ann), API_ERROR_PERMISSION_DENIED);
    assert_int_equal(auth_check_lease(&by_ann, 6, AUTH_WRITE), API_OK); /* there is none */
    assert_int_equal(auth_check_put(&by_root, &put), API_OK);
    assert_int_equal(auth_check_leases(&by_root), API_OK);
    lessor_close(lessor);
    auth_store_close(store);
    memory_backend_free(backend);
}

/* ---- tokens ---- */

static void tokens_last_while_they_are_used(void **state)
{
    struct auth_tokens *tokens = auth_tokens_new(10 * SECOND);
    struct bytes user;
    (void)state;
    auth_tokens_assign(tokens, B("aa.1"), B("ann"), 0);
    auth_tokens_assign(tokens, B("bb.2"), B("bob"), 0);
    assert_false(auth_tokens_use(tokens, B("aa.2"), 0, &user));
    assert_true(auth_tokens_use(tokens, B("aa.1"), 8 * SECOND, &user));
    assert_true(bytes_equal(user, B("ann")));
    assert_true(auth_tokens_use(tokens, B("aa.1"), 18 * SECOND, &user));
    assert_false(auth_tokens_use(tokens, B("bb.2"), 18 * SECOND, &user));
    auth_tokens_expire(tokens, 18 * SECOND);
    assert_int_equal(auth_tokens_count(tokens), 1);
    assert_false(auth_tokens_use(tokens, B("aa.1"), 28 * SECOND + 1, &user));
    auth_tokens_assign(tokens, B("aa.1"), B("eve"), 30 * SECOND);
    assert_true(auth_tokens_use(tokens, B("aa.1"), 30 * SECOND, &user));
    assert_true(bytes_equal(user, B("eve")));
    auth_tokens_free(tokens);
}

static void tokens_go_with_their_users(void **state)
{
    struct auth_tokens *tokens = auth_tokens_new(10 * SECOND);
    struct bytes user;
    (void)state;
    auth_tokens_assign(tokens, B("aa.1"), B("ann"), 0);
    auth_tokens_assign(tokens, B("ab.2"), B("ann"), 0);
    auth_tokens_assign(tokens, B("bb.3"), B("bob"), 0);
    auth_tokens_forget_user(tokens, B("ann"));
    assert_false(auth_tokens_use(tokens, B("aa.1"), 0, &user));
    assert_false(auth_tokens_use(tokens, B("ab.2"), 0, &user));
    assert_true(auth_tokens_use(tokens, B("bb.3"), 0, &user));
    auth_tokens_forget_all(tokens);
    assert_int_equal(auth_tokens_count(tokens), 0);
    auth_tokens_free(tokens);
}

static void the_tokens_kept_are_limited(void **state)
{
    struct auth_tokens *tokens = auth_tokens_new(10 * SECOND);
    struct bytes user;
    char text[32];
    (void)state;
    for (int i = 0; i < AUTH_TOKENS_MAX + 2; i++) {
        snprintf(text, sizeof(text), "aa.%d", i);
        auth_tokens_assign(tokens, bytes_from_string(text), B("ann"), 0);
    }
    assert_int_equal(auth_tokens_count(tokens), AUTH_TOKENS_MAX);
    assert_false(auth_tokens_use(tokens, B("aa.1"), 0, &user));
    assert_true(auth_tokens_use(tokens, B("aa.2"), 0, &user));
    auth_tokens_free(tokens);
}

static void the_index_of_a_token(void **state)
{
    static const char *const bad[] = {"",
                                      "aa",
                                      "aa.",
                                      ".",
                                      "aa.x",
                                      "aa.1x",
                                      "aa.-1",
                                      "aa.1.2",
                                      "aa. 1",
                                      "aa.18446744073709551616",
                                      "aa.99999999999999999999"};
    uint64_t index;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (auth_token_index(bytes_from_string(bad[i]), &index)) fail_msg("%s is no token", bad[i]);
    assert_true(auth_token_index(B("aa.18446744073709551615"), &index) && index == UINT64_MAX);
    assert_true(auth_token_index(B("UhdgKbOoZmIsWFUz.7"), &index) && index == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_in_order),
        cmocka_unit_test(ranges_are_what_every_key_says),
        cmocka_unit_test(an_empty_request_is_covered_where_its_key_is),
        cmocka_unit_test(empty_requests_depend_on_their_neighbours),
        cmocka_unit_test(permissions_that_touch_are_one_a_gap_is_not),
        cmocka_unit_test(rows_are_etcds),
        cmocka_unit_test(memory_is_what_the_rows_say),
        cmocka_unit_test(rules_of_root),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(permissions_on_one_key),
        cmocka_unit_test(deleting_a_role_takes_it_from_its_users),
        cmocka_unit_test(who_asks_and_since_when),
        cmocka_unit_test(a_user_without_password_keeps_none),
        cmocka_unit_test(damaged_rows_are_refused),
        cmocka_unit_test(transactions_are_checked_to_the_bottom),
        cmocka_unit_test(a_lease_is_as_dear_as_its_keys),
        cmocka_unit_test(tokens_last_while_they_are_used),
        cmocka_unit_test(tokens_go_with_their_users),
        cmocka_unit_test(the_tokens_kept_are_limited),
        cmocka_unit_test(the_index_of_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
