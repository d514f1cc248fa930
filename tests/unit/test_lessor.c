/* Leases: what is replicated, what only the primary knows, and how both survive restarts and elections. */
#include "base/memory.h"
#include "lease/lessor.h"
#include "memory_backend.h"
#include "tests/unit/expect.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)

static const struct lessor_options plain = {.min_ttl = 2};

static struct lessor *open_lessor(struct backend *backend, const struct lessor_options *options)
{
    struct lessor *lessor = NULL;
    must(lessor_open(backend, options, &lessor));
    return lessor;
}

static struct lessor *open_primary(struct backend *backend, const struct lessor_options *options)
{
    struct lessor *lessor = open_lessor(backend, options);
    lessor_promote(lessor, 0, 0);
    return lessor;
}

static void grant(struct lessor *lessor, int64_t id, int64_t ttl, int64_t now)
{
    assert_int_equal(lessor_grant(lessor, id, ttl, now, NULL), API_OK);
}

static void attach(struct lessor *lessor, int64_t id, const char *key)
{
    assert_true(lessor_attach(lessor, id, bytes_from_string(key)));
}

static void revoke(struct lessor *lessor, int64_t id)
{
    struct lessor_keys keys;
    assert_int_equal(lessor_revoke_begin(lessor, id, &keys), API_OK);
    for (size_t i = 0; i < keys.count; i++) lessor_detach(lessor, keys.items[i]);
    lessor_keys_deinit(&keys);
    lessor_revoke_end(lessor, id);
}

static int64_t expires_at(const struct lessor *lessor, int64_t id)
{
    struct lessor_lease lease;
    assert_true(lessor_look_up(lessor, id, 0, &lease));
    return lease.expires_at;
}

static void assert_row(const struct backend *backend, int64_t id, const char *value, size_t size)
{
    struct bytes found;
    bool is_there;
    uint8_t key[8];
    be64_put(key, (uint64_t)id);
    must(
        backend_get((struct backend *)(uintptr_t)backend, BUCKET_LEASE, bytes_of(key, 8), &is_there, &found));
    assert_int_equal(is_there, value != NULL);
    if (value == NULL) return;
    assert_int_equal(found.size, size);
    assert_memory_equal(found.data, value, size);
}

/* ---- grants ---- */

static void min_ttl_is_one_and_a_half_election_timeouts_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(lessor_min_ttl(10, SECOND / 10), 2);
    assert_int_equal(lessor_min_ttl(10, SECOND), 15);
    assert_int_equal(lessor_min_ttl(5, SECOND), 7); /* 3 * 5 / 2 in whole ticks */
    assert_int_equal(lessor_min_ttl(2, SECOND / 100), 1);
}

static void short_and_negative_ttls_are_raised(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    static const int64_t asked[] = {-5, 0, 1, 2, 3, LESSOR_TTL_MAX};
    static const int64_t given[] = {2, 2, 2, 2, 3, LESSOR_TTL_MAX};
    for (size_t i = 0; i < 6; i++) {
        int64_t ttl = 0;
        assert_int_equal(lessor_grant(lessor, (int64_t)i + 1, asked[i], 0, &ttl), API_OK);
        assert_int_equal(ttl, given[i]);
    }
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void grants_are_refused_in_etcds_order(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 7, 10, 0);
    assert_int_equal(lessor_grant(lessor, 0, LESSOR_TTL_MAX + 1, 0, NULL), API_ERROR_LEASE_NOT_FOUND);
    assert_int_equal(lessor_grant(lessor, 7, LESSOR_TTL_MAX + 1, 0, NULL), API_ERROR_LEASE_TTL_TOO_LARGE);
    assert_int_equal(lessor_grant(lessor, 7, 10, 0, NULL), API_ERROR_LEASE_EXIST);
    grant(lessor, -7, 10, 0); /* ids are signed */
    assert_int_equal(lessor_count(lessor), 2);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void the_longest_ttl_does_not_overflow_time(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    int64_t now = INT64_C(1000000) * SECOND * 1000;
    grant(lessor, 1, LESSOR_TTL_MAX, now);
    assert_true(expires_at(lessor, 1) > now);
    int64_t ids[LESSOR_EXPIRED_MAX];
    assert_int_equal(lessor_expired(lessor, now, ids), 0);
    lessor_promote(lessor, SECOND, now);
    assert_true(expires_at(lessor, 1) > now && expires_at(lessor, 1) < INT64_MAX);
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* ---- rows ---- */

static void rows_are_leasepb_under_the_big_endian_id(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 0x1234, 300, 0);
    grant(lessor, -2, 60, 0);
    assert_row(backend, 0x1234, "\x08\xb4\x24\x10\xac\x02", 6);
    assert_row(backend, -2, "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x3c", 13);
    revoke(lessor, 0x1234);
    assert_row(backend, 0x1234, NULL, 0);
    assert_int_equal(memory_backend_rows(backend, BUCKET_LEASE), 1);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void leases_survive_a_restart_without_their_keys(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 1, 30, 0);
    grant(lessor, -1, 3, 0);
    attach(lessor, 1, "a");
    lessor_checkpoint(lessor, 1, 12, true, 0);
    lessor_close(lessor);

    struct lessor_options slower = {.min_ttl = 15};
    lessor = open_lessor(backend, &slower);
    assert_false(lessor_is_primary(lessor));
    struct lessor_lease lease;
    assert_true(lessor_look_up(lessor, 1, 0, &lease));
    assert_int_equal(lease.ttl, 30);
    assert_int_equal(lease.remaining_ttl, 12);
    assert_int_equal(lease.key_count, 0); /* the store reports them when it opens */
    assert_true(lease.expires_at == INT64_MAX);
    assert_true(lessor_look_up(lessor, -1, 0, &lease));
    assert_int_equal(lease.ttl, 15); /* raised to the minimum of now */
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void damaged_rows_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t key_size;
        const char *value;
        size_t value_size;
    } rows[] = {
        {"\0\0\0\0\0\0\0\1", 8, "\x08\x02\x10\x05", 4},                              /* another id */
        {"\0\0\0\0\0\0\0\1", 8, "\x08\x01\x10", 3},                                  /* cut */
        {"\0\0\0\0\0\0\0\1", 8, "\x0a\x01\x10", 3},                                  /* wrong type */
        {"\0\0\0\0\0\0\1", 7, "\x08\x01\x10\x05", 4},                                /* short key */
        {"\0\0\0\0\0\0\0\0", 8, "\x10\x05", 2},                                      /* no id */
        {"\0\0\0\0\0\0\0\1", 8, "\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\x7f", 11}, /* endless */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct backend *backend = memory_backend_new();
        backend_put(backend, BUCKET_LEASE, bytes_of(rows[i].key, rows[i].key_size),
                    bytes_of(rows[i].value, rows[i].value_size));
        struct lessor *lessor = NULL;
        struct error *error = lessor_open(backend, &plain, &lessor);
        assert_true(error_is(error, ERROR_CORRUPT));
        error_free(error);
        memory_backend_free(backend);
    }
}

static void a_received_snapshot_replaces_everything(void **state)
{
    (void)state;
    struct backend *first = memory_backend_new(), *second = memory_backend_new();
    struct lessor *lessor = open_lessor(second, &plain);
    grant(lessor, 5, 50, 0);
    lessor_close(lessor);
    lessor = open_lessor(first, &plain);
    grant(lessor, 1, 10, 0);
    attach(lessor, 1, "a");
    must(lessor_recover(lessor, second, 0));
    assert_false(lessor_exists(lessor, 1));
    assert_true(lessor_exists(lessor, 5));
    assert_int_equal(lessor_lease_of(lessor, BYTES_LITERAL("a")), 0);
    grant(lessor, 6, 10, 0);
    assert_int_equal(memory_backend_rows(first, BUCKET_LEASE), 1);
    assert_int_equal(memory_backend_rows(second, BUCKET_LEASE), 2);
    lessor_close(lessor);
    memory_backend_free(first);
    memory_backend_free(second);
}

/* ---- keys ---- */

static void a_key_belongs_to_one_lease(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 1, 10, 0);
    grant(lessor, 2, 10, 0);
    struct bytes key = BYTES_LITERAL("a\0b");
    assert_true(lessor_attach(lessor, 1, key));
    assert_true(lessor_attach(lessor, 1, key));
    assert_int_equal(lessor_lease_of(lessor, key), 1);
    assert_int_equal(lessor_lease_of(lessor, BYTES_LITERAL("a")), 0);
    assert_true(lessor_attach(lessor, 2, key));
    assert_int_equal(lessor_lease_of(lessor, key), 2);
    struct lessor_lease lease;
    assert_true(lessor_look_up(lessor, 1, 0, &lease));
    assert_int_equal(lease.key_count, 0);
    lessor_detach(lessor, key);
    lessor_detach(lessor, key);
    assert_int_equal(lessor_lease_of(lessor, key), 0);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void a_key_of_an_unknown_lease_stays_without(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    assert_false(lessor_attach(lessor, 9, BYTES_LITERAL("a")));
    assert_int_equal(lessor_lease_of(lessor, BYTES_LITERAL("a")), 0);
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* Members whose hash tables differ must still delete in the same order. */
static void a_revoke_names_the_keys_sorted(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 1, 10, 0);
    for (int i = 0; i < 100; i++) {
        char key[8];
        snprintf(key, sizeof(key), "%d", (i * 37) % 100);
        attach(lessor, 1, key);
    }
    struct lessor_keys keys;
    assert_int_equal(lessor_revoke_begin(lessor, 1, &keys), API_OK);
    assert_int_equal(keys.count, 100);
    assert_true(lessor_exists(lessor, 1)); /* until the second half */
    for (size_t i = 0; i < keys.count; i++) {
        if (i > 0) assert_true(bytes_compare(keys.items[i - 1], keys.items[i]) < 0);
        lessor_detach(lessor, keys.items[i]); /* the list does not care */
    }
    lessor_keys_deinit(&keys);
    lessor_revoke_end(lessor, 1);
    assert_int_equal(lessor_revoke_begin(lessor, 1, &keys), API_ERROR_LEASE_NOT_FOUND);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static bool stop_at_b(void *context, struct bytes key)
{
    (*(int *)context)++;
    return !bytes_equal(key, BYTES_LITERAL("b"));
}

static void keys_are_visited_in_order_until_one_is_refused(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 1, 10, 0);
    attach(lessor, 1, "c");
    attach(lessor, 1, "a");
    int visited = 0;
    assert_true(lessor_each_key(lessor, 1, stop_at_b, &visited));
    assert_int_equal(visited, 2);
    attach(lessor, 1, "b");
    visited = 0;
    assert_false(lessor_each_key(lessor, 1, stop_at_b, &visited));
    assert_int_equal(visited, 2);
    assert_true(lessor_each_key(lessor, 99, stop_at_b, &visited));
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void the_store_attaches_and_detaches(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 1, 10, 0);
    grant(lessor, 2, 10, 0);
    struct mvcc_options options = {.leases = lessor_leases(lessor)};
    struct mvcc_store *store;
    must(mvcc_open(backend, &options, &store));
    struct bytes key = BYTES_LITERAL("k");
    static const int64_t leases[] = {1, 2, 0, 2};
    size_t count;
    for (size_t i = 0; i < 4; i++) {
        mvcc_txn_begin(store);
        mvcc_txn_put(store, key, BYTES_EMPTY, leases[i]);
        mvcc_txn_end(store, &count);
        assert_int_equal(lessor_lease_of(lessor, key), leases[i]);
    }
    mvcc_close(store);

    /* A restart finds the key's lease again. */
    lessor_close(lessor);
    lessor = open_lessor(backend, &plain);
    options.leases = lessor_leases(lessor);
    must(mvcc_open(backend, &options, &store));
    assert_int_equal(lessor_lease_of(lessor, key), 2);

    struct lessor_keys keys;
    assert_int_equal(lessor_revoke_begin(lessor, 2, &keys), API_OK);
    assert_int_equal(keys.count, 1);
    struct buf scratch = {0};
    struct mvcc_span span = mvcc_span_of(keys.items[0], BYTES_EMPTY, &scratch);
    mvcc_txn_begin(store);
    assert_int_equal(mvcc_txn_delete(store, &span), 1);
    mvcc_txn_end(store, &count);
    lessor_revoke_end(lessor, 2);
    buf_deinit(&scratch);
    lessor_keys_deinit(&keys);
    assert_int_equal(lessor_lease_of(lessor, key), 0);
    mvcc_close(store);
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* ---- time ---- */

static void only_the_primary_lets_leases_expire(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    int64_t ids[LESSOR_EXPIRED_MAX], ttl;
    grant(lessor, 1, 10, 0);
    assert_int_equal(lessor_expired(lessor, 100 * SECOND, ids), 0);
    assert_true(lessor_wake_at(lessor) == INT64_MAX);
    assert_int_equal(lessor_renew(lessor, 1, 0, &ttl), LESSOR_NOT_PRIMARY);

    lessor_promote(lessor, SECOND, 100 * SECOND);
    assert_int_equal(lessor_wake_at(lessor), 111 * SECOND); /* whole TTL and the extension */
    assert_int_equal(lessor_expired(lessor, 111 * SECOND - 1, ids), 0);
    assert_int_equal(lessor_expired(lessor, 111 * SECOND, ids), 1);
    assert_int_equal(ids[0], 1);
    assert_true(lessor_exists(lessor, 1)); /* until the revoke is applied */

    lessor_demote(lessor);
    assert_int_equal(lessor_expired(lessor, 1000 * SECOND, ids), 0);
    assert_true(expires_at(lessor, 1) == INT64_MAX);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void an_expired_lease_is_reported_again_until_it_is_revoked(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor_options options = {.min_ttl = 2, .retry = 3 * SECOND};
    struct lessor *lessor = open_primary(backend, &options);
    int64_t ids[LESSOR_EXPIRED_MAX];
    grant(lessor, 1, 10, 0);
    assert_int_equal(lessor_expired(lessor, 10 * SECOND, ids), 1);
    assert_int_equal(lessor_expired(lessor, 12 * SECOND, ids), 0);
    assert_int_equal(lessor_wake_at(lessor), 13 * SECOND);
    assert_int_equal(lessor_expired(lessor, 13 * SECOND, ids), 1);
    revoke(lessor, 1);
    assert_int_equal(lessor_expired(lessor, 100 * SECOND, ids), 0);
    assert_true(lessor_wake_at(lessor) == INT64_MAX);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void at_most_500_leases_expire_per_pass_earliest_first(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    int64_t ids[LESSOR_EXPIRED_MAX];
    for (int64_t id = 1; id <= 700; id++) grant(lessor, id, 1000 - id, 0);
    assert_int_equal(lessor_expired(lessor, 1000 * SECOND, ids), 500);
    for (int64_t i = 0; i < 500; i++) assert_int_equal(ids[i], 700 - i);
    assert_int_equal(lessor_expired(lessor, 1000 * SECOND, ids), 200);
    assert_int_equal(ids[199], 1);
    assert_int_equal(lessor_expired(lessor, 1000 * SECOND, ids), 0);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void a_renewal_starts_the_ttl_again(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    int64_t ids[LESSOR_EXPIRED_MAX], ttl = 0;
    grant(lessor, 1, 10, 0);
    assert_int_equal(lessor_renew(lessor, 1, 9 * SECOND, &ttl), LESSOR_RENEWED);
    assert_int_equal(ttl, 10);
    assert_int_equal(lessor_expired(lessor, 18 * SECOND, ids), 0);
    assert_int_equal(lessor_renew(lessor, 99, 0, &ttl), LESSOR_NOT_FOUND);
    struct lessor_lease lease;
    assert_true(lessor_look_up(lessor, 1, 9 * SECOND + 1, &lease));
    assert_int_equal(lease.seconds_left, 9); /* truncated */
    assert_true(lessor_look_up(lessor, 1, 21 * SECOND + SECOND / 2, &lease));
    assert_int_equal(lease.seconds_left, -2);
    assert_false(lessor_look_up(lessor, 99, 0, &lease));
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* Otherwise a client could be told that it has the lease while the revoke is on its way. */
static void a_renewal_of_an_expired_lease_waits_for_the_revoke(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    int64_t ids[LESSOR_EXPIRED_MAX], ttl;
    grant(lessor, 1, 10, 0);
    assert_int_equal(lessor_renew(lessor, 1, 10 * SECOND, &ttl), LESSOR_EXPIRING);
    assert_int_equal(lessor_expired(lessor, 10 * SECOND, ids), 1);
    assert_int_equal(lessor_renew(lessor, 1, 11 * SECOND, &ttl), LESSOR_EXPIRING);
    revoke(lessor, 1);
    assert_int_equal(lessor_renew(lessor, 1, 11 * SECOND, &ttl), LESSOR_NOT_FOUND);
    grant(lessor, 2, 10, 0);
    assert_int_equal(lessor_renew(lessor, 2, 11 * SECOND, &ttl), LESSOR_EXPIRING);
    lessor_demote(lessor);
    assert_int_equal(lessor_renew(lessor, 2, 11 * SECOND, &ttl), LESSOR_NOT_PRIMARY);
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* An empty entry of a refused conf change promotes a second time. */
static void promoting_again_never_shortens(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    int64_t ttl;
    grant(lessor, 1, 10, 0);
    lessor_checkpoint(lessor, 1, 0, true, 0);
    assert_int_equal(lessor_renew(lessor, 1, 5 * SECOND, &ttl), LESSOR_RENEWED);
    lessor_checkpoint(lessor, 1, 4, true, 5 * SECOND);
    lessor_promote(lessor, SECOND, 6 * SECOND);
    assert_int_equal(expires_at(lessor, 1), 15 * SECOND);
    lessor_promote(lessor, SECOND, 13 * SECOND);
    assert_int_equal(expires_at(lessor, 1), 18 * SECOND);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void a_takeover_of_many_leases_spreads_them(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    enum { COUNT = 3000 };
    for (int64_t id = 1; id <= COUNT; id++) grant(lessor, id, 10, 0);
    grant(lessor, COUNT + 1, 100, 0);
    lessor_promote(lessor, SECOND, 0);
    size_t in_second[200] = {0};
    for (int64_t id = 1; id <= COUNT + 1; id++) {
        int64_t at = expires_at(lessor, id);
        assert_true(at >= 11 * SECOND);
        in_second[at / SECOND]++;
    }
    for (size_t i = 0; i < 200; i++) assert_true(in_second[i] <= 751);
    assert_int_equal(in_second[101], 1); /* alone in its second: left alone */
    assert_true(in_second[11] >= 749 && in_second[12] >= 749 && in_second[14] > 0);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void few_leases_are_not_spread(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    for (int64_t id = 1; id <= 999; id++) grant(lessor, id, 10, 0);
    lessor_promote(lessor, 0, 0);
    for (int64_t id = 1; id <= 999; id++) assert_int_equal(expires_at(lessor, id), 10 * SECOND);
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* ---- checkpoints ---- */

static void a_checkpoint_shortens_the_next_term(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_lessor(backend, &plain);
    grant(lessor, 1, 100, 0);
    lessor_checkpoint(lessor, 1, 40, false, 0);
    lessor_checkpoint(lessor, 99, 40, true, 0); /* unknown: ignored */
    assert_row(backend, 1, "\x08\x01\x10\x64", 4);
    assert_row(backend, 99, NULL, 0);
    lessor_checkpoint(lessor, 1, 40, true, 0);
    assert_row(backend, 1, "\x08\x01\x10\x64\x18\x28", 6);
    lessor_promote(lessor, SECOND, 0);
    assert_int_equal(expires_at(lessor, 1), 41 * SECOND);

    int64_t ttl = 0; /* the whole TTL only once the checkpoint is forgotten everywhere */
    assert_int_equal(lessor_renew(lessor, 1, SECOND, &ttl), LESSOR_CHECKPOINTED);
    assert_int_equal(expires_at(lessor, 1), 41 * SECOND);
    lessor_checkpoint(lessor, 1, 0, true, SECOND);
    assert_int_equal(lessor_renew(lessor, 1, SECOND, &ttl), LESSOR_RENEWED);
    assert_int_equal(ttl, 100);
    assert_int_equal(expires_at(lessor, 1), 101 * SECOND);
    assert_row(backend, 1, "\x08\x01\x10\x64", 4);
    lessor_close(lessor);
    memory_backend_free(backend);
}

/* Applied behind the renewal it would take back what the client was told. */
static void a_renewal_waits_for_a_checkpoint_that_is_on_its_way(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor_options options = {.min_ttl = 2, .checkpoint_interval = 300 * SECOND, .retry = 7 * SECOND};
    struct lessor *lessor = open_primary(backend, &options);
    struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX];
    int64_t ttl;
    grant(lessor, 1, 1000, 0);
    assert_int_equal(lessor_checkpoints(lessor, 300 * SECOND, items), 1);
    assert_int_equal(lessor_renew(lessor, 1, 301 * SECOND, &ttl), LESSOR_CHECKPOINTED);
    assert_int_equal(lessor_renew(lessor, 1, 302 * SECOND, &ttl), LESSOR_RESETTING);
    assert_int_equal(lessor_renew(lessor, 1, 308 * SECOND, &ttl), LESSOR_CHECKPOINTED); /* it was lost */
    lessor_checkpoint(lessor, 1, 700, true, 309 * SECOND);
    assert_int_equal(lessor_renew(lessor, 1, 310 * SECOND, &ttl), LESSOR_RESETTING);
    lessor_checkpoint(lessor, 1, 0, true, 311 * SECOND);
    assert_int_equal(lessor_renew(lessor, 1, 312 * SECOND, &ttl), LESSOR_RENEWED);
    assert_int_equal(expires_at(lessor, 1), 1312 * SECOND);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void none_is_taken_while_one_is_being_reset(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor_options options = {.min_ttl = 2, .checkpoint_interval = 10 * SECOND, .retry = 7 * SECOND};
    struct lessor *lessor = open_primary(backend, &options);
    struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX];
    int64_t ttl;
    grant(lessor, 1, 1000, 0);
    assert_int_equal(lessor_checkpoints(lessor, 10 * SECOND, items), 1);
    assert_int_equal(lessor_renew(lessor, 1, 19 * SECOND, &ttl), LESSOR_CHECKPOINTED);
    assert_int_equal(lessor_checkpoints(lessor, 20 * SECOND, items), 0);
    lessor_checkpoint(lessor, 1, 0, true, 21 * SECOND);
    assert_int_equal(lessor_renew(lessor, 1, 22 * SECOND, &ttl), LESSOR_RENEWED);
    assert_int_equal(lessor_checkpoints(lessor, 32 * SECOND, items), 1);
    /* What it has not been told of as a leader it need not fear as the next. */
    lessor_demote(lessor);
    lessor_promote(lessor, 0, 33 * SECOND);
    assert_int_equal(lessor_renew(lessor, 1, 34 * SECOND, &ttl), LESSOR_RENEWED);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void checkpoints_are_for_long_leases_at_every_interval(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor_options options = {.min_ttl = 2, .checkpoint_interval = 300 * SECOND};
    struct lessor *lessor = open_primary(backend, &options);
    struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX];
    int64_t ttl;
    grant(lessor, 1, 300, 0); /* not above the interval */
    grant(lessor, 2, 1000, SECOND / 2);
    grant(lessor, 3, 400, 0);
    assert_int_equal(lessor_checkpoints(lessor, 300 * SECOND - 1, items), 0);
    assert_int_equal(lessor_wake_at(lessor), 300 * SECOND);
    assert_int_equal(lessor_renew(lessor, 3, 300 * SECOND, &ttl), LESSOR_RENEWED);
    assert_int_equal(lessor_checkpoints(lessor, 301 * SECOND, items), 2);
    assert_int_equal(items[0].id, 3);
    assert_int_equal(items[0].remaining, 399);
    assert_int_equal(items[1].id, 2);
    assert_int_equal(items[1].remaining, 700); /* rounded up */
    lessor_checkpoint(lessor, 2, 700, true, 301 * SECOND);
    lessor_checkpoint(lessor, 3, 399, true, 301 * SECOND);
    assert_int_equal(lessor_checkpoints(lessor, 600 * SECOND, items), 0);
    assert_int_equal(lessor_checkpoints(lessor, 601 * SECOND, items), 2);
    lessor_checkpoint(lessor, 3, 99, true, 601 * SECOND); /* below the interval: the last one */
    assert_int_equal(lessor_checkpoints(lessor, 950 * SECOND, items), 1);
    assert_int_equal(items[0].id, 2);
    lessor_demote(lessor);
    assert_int_equal(lessor_checkpoints(lessor, 5000 * SECOND, items), 0);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void without_an_interval_there_are_no_checkpoints(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX];
    grant(lessor, 1, 100000, 0);
    assert_int_equal(lessor_checkpoints(lessor, 50000 * SECOND, items), 0);
    lessor_close(lessor);
    memory_backend_free(backend);
}

static void leases_are_listed_by_what_is_left(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct lessor *lessor = open_primary(backend, &plain);
    int64_t *ids;
    assert_int_equal(lessor_list(lessor, &ids), 0);
    free(ids);
    grant(lessor, 3, 30, 0);
    grant(lessor, 1, 50, 0);
    grant(lessor, -2, 40, 0);
    assert_int_equal(lessor_list(lessor, &ids), 3);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], -2);
    assert_int_equal(ids[2], 1);
    free(ids);
    lessor_demote(lessor); /* nothing is left of nothing: by id */
    assert_int_equal(lessor_list(lessor, &ids), 3);
    assert_int_equal(ids[0], -2);
    assert_int_equal(ids[2], 3);
    free(ids);
    lessor_close(lessor);
    memory_backend_free(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(min_ttl_is_one_and_a_half_election_timeouts_rounded_up),
        cmocka_unit_test(short_and_negative_ttls_are_raised),
        cmocka_unit_test(grants_are_refused_in_etcds_order),
        cmocka_unit_test(the_longest_ttl_does_not_overflow_time),
        cmocka_unit_test(rows_are_leasepb_under_the_big_endian_id),
        cmocka_unit_test(leases_survive_a_restart_without_their_keys),
        cmocka_unit_test(damaged_rows_are_refused),
        cmocka_unit_test(a_received_snapshot_replaces_everything),
        cmocka_unit_test(a_key_belongs_to_one_lease),
        cmocka_unit_test(a_key_of_an_unknown_lease_stays_without),
        cmocka_unit_test(a_revoke_names_the_keys_sorted),
        cmocka_unit_test(keys_are_visited_in_order_until_one_is_refused),
        cmocka_unit_test(the_store_attaches_and_detaches),
        cmocka_unit_test(only_the_primary_lets_leases_expire),
        cmocka_unit_test(an_expired_lease_is_reported_again_until_it_is_revoked),
        cmocka_unit_test(at_most_500_leases_expire_per_pass_earliest_first),
        cmocka_unit_test(a_renewal_starts_the_ttl_again),
        cmocka_unit_test(a_renewal_of_an_expired_lease_waits_for_the_revoke),
        cmocka_unit_test(promoting_again_never_shortens),
        cmocka_unit_test(a_takeover_of_many_leases_spreads_them),
        cmocka_unit_test(few_leases_are_not_spread),
        cmocka_unit_test(a_checkpoint_shortens_the_next_term),
        cmocka_unit_test(a_renewal_waits_for_a_checkpoint_that_is_on_its_way),
        cmocka_unit_test(none_is_taken_while_one_is_being_reset),
        cmocka_unit_test(checkpoints_are_for_long_leases_at_every_interval),
        cmocka_unit_test(without_an_interval_there_are_no_checkpoints),
        cmocka_unit_test(leases_are_listed_by_what_is_left),
    };
    return cmocka_run_group_tests_name("lessor", tests, NULL, NULL);
}
