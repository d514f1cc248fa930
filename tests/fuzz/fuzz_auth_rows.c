/* Arbitrary rows in the buckets of users and roles. They are refused as damaged, or taken; what was taken
 * answers every question, and after any change it is what a fresh look at the rows finds.
 *
 * Input: any number of rows, each a byte for its bucket, one for the size of the key, two for the size of the
 * value (little-endian), key, value. */
#include "auth/store.h"
#include "storage/backend.h"
#include "tests/unit/memory_backend.h"

#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { ROWS_MAX = 32, BUCKETS = 3, HEAD = 4 };

static const enum backend_bucket buckets[BUCKETS] = {BUCKET_AUTH, BUCKET_AUTH_USERS, BUCKET_AUTH_ROLES};

static void append_row(struct buf *out, uint8_t bucket, struct bytes key, struct bytes value)
{
    const uint8_t head[HEAD] = {bucket, (uint8_t)key.size, (uint8_t)value.size, (uint8_t)(value.size >> 8)};
    buf_append(out, head, sizeof(head));
    buf_append_bytes(out, key);
    buf_append_bytes(out, value);
}

#define B BYTES_LITERAL

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number > 1) return false;
    append_row(out, 0, B("authEnabled"), number == 0 ? B("\1") : B("\0"));
    append_row(out, 0, B("authRevision"), B("\0\0\0\0\0\0\0\x09"));
    append_row(out, 1, B("ann"),
               B("\x0a\x03"
                 "ann\x12\x04$2a$\x1a\x01r\x22\x02\x08\x01"));
    append_row(out, 1, B("root"), B("\x0a\x04root\x12\x04$2a$\x1a\x04root\x22\x00"));
    append_row(out, 2, B("r"),
               B("\x0a\x01r\x12\x06\x12\x01"
                 "a\x1a\x01"
                 "c\x12\x08\x08\x02\x12\x01z\x1a\x01\0"));
    append_row(out, 2, B("root"), B("\x0a\x04root"));
    return true;
}

static void fill(struct backend *backend, struct bytes rest)
{
    for (int i = 0; i < ROWS_MAX && rest.size >= HEAD; i++) {
        size_t key_size = rest.data[1], value_size = (size_t)rest.data[2] | (size_t)rest.data[3] << 8;
        enum backend_bucket bucket = buckets[rest.data[0] % BUCKETS];
        rest = bytes_of(rest.data + HEAD, rest.size - HEAD);
        if (key_size == 0 || key_size + value_size > rest.size) return;
        backend_put(backend, bucket, bytes_of(rest.data, key_size),
                    bytes_of(rest.data + key_size, value_size));
        rest = bytes_of(rest.data + key_size + value_size, rest.size - key_size - value_size);
    }
}

static void ask_everything(struct auth_store *store, uint64_t answers[2])
{
    static const struct bytes keys[] = {{(const uint8_t *)"a", 1},
                                        {(const uint8_t *)"\0", 1},
                                        {NULL, 0},
                                        {(const uint8_t *)"zz\xff", 3}};
    size_t count = sizeof(keys) / sizeof(keys[0]);
    for (size_t user = 0; user < auth_user_count(store); user++) {
        const struct auth_identity identity = {.user = auth_user_at(store, user)->name,
                                               .revision = UINT64_MAX};
        for (size_t i = 0; i < count * count; i++)
            answers[i % 2] =
                answers[i % 2] * 31 + (uint64_t)auth_check_keys(store, &identity, (enum auth_access)(i % 2),
                                                                keys[i / count], keys[i % count]);
        answers[0] = answers[0] * 31 + (uint64_t)auth_check_admin(store, &identity);
        FUZZ_CHECK(auth_find_user(store, identity.user) == auth_user_at(store, user));
    }
    for (size_t role = 0; role < auth_role_count(store); role++)
        FUZZ_CHECK(auth_find_role(store, auth_role_at(store, role)->name) == auth_role_at(store, role));
}

static void change(struct auth_store *store)
{
    const struct auth_permission permission = {.type = AUTH_PERMISSION_READ,
                                               .key = B("a"),
                                               .range_end = B("b")};
    struct arena *arena = arena_new();
    while (auth_user_count(store) > 0) {
        struct bytes name = arena_copy(arena, auth_user_at(store, 0)->name);
        (void)auth_user_grant_role(store, name, B("root"));
        (void)auth_user_change_password(store, name, B("$2a$"));
        if (auth_user_delete(store, name) != API_OK) break; /* root, while it counts */
    }
    while (auth_role_count(store) > 0) {
        struct bytes name = arena_copy(arena, auth_role_at(store, 0)->name);
        (void)auth_role_grant_permission(store, name, &permission);
        if (auth_role_delete(store, name) != API_OK) break;
    }
    arena_free(arena);
}

/* The same answers as from a fresh look at the rows. */
static void compare(struct backend *backend, struct auth_store *store)
{
    struct auth_store *fresh = NULL;
    uint64_t known[2] = {0}, found[2] = {0};
    struct error *error = auth_store_open(backend, &log_discard, &fresh);
    FUZZ_CHECK(error == NULL);
    ask_everything(store, known);
    ask_everything(fresh, found);
    FUZZ_CHECK(memcmp(known, found, sizeof(known)) == 0);
    FUZZ_CHECK(auth_revision(store) == auth_revision(fresh) &&
               auth_is_enabled(store) == auth_is_enabled(fresh));
    auth_store_close(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct backend *backend = memory_backend_new();
    struct auth_store *store = NULL;
    fill(backend, bytes_of(data, size));
    struct error *error = auth_store_open(backend, &log_discard, &store);
    if (error == NULL) {
        compare(backend, store);
        change(store);
        compare(backend, store);
        auth_store_close(store);
    } else {
        FUZZ_CHECK(error->kind == ERROR_CORRUPT);
        error_free(error);
    }
    memory_backend_free(backend);
    return 0;
}
