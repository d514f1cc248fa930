/* The backend on a simulated disk. */
#include "base/blob.h"
#include "base/buf.h"
#include "base/memory.h"
#include "base/rng.h"
#include "bolt/bolt.h"
#include "storage/fs_sim.h"
#include "tests/unit/backend_fixture.h"

#include <stdio.h>
#include <stdlib.h>

struct fixture {
    struct fs_sim *sim;
    struct backend *backend;
};

static void open_backend(struct fixture *fixture)
{
    must(backend_open(fs_sim_fs(fixture->sim), "/db", &small_map, &fixture->backend));
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    open_backend(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    must(backend_close(fixture->backend));
    fs_sim_free(fixture->sim);
    free(fixture);
    return 0;
}

static void crash(struct fixture *fixture, enum fs_sim_crash_mode mode)
{
    must(backend_close(fixture->backend));
    fs_sim_crash(fixture->sim, mode);
    open_backend(fixture);
}

static struct bytes text(const char *string)
{
    return bytes_from_string(string);
}

static void put(struct backend *backend, enum backend_bucket bucket, const char *key, const char *value)
{
    backend_put(backend, bucket, text(key), text(value));
}

static void assert_value(struct backend *backend, enum backend_bucket bucket, const char *key,
                         const char *expected)
{
    bool found;
    struct bytes value;
    must(backend_get(backend, bucket, text(key), &found, &value));
    assert_int_equal(found, expected != NULL);
    if (expected == NULL) return;
    assert_int_equal(value.size, strlen(expected));
    if (value.size > 0) assert_memory_equal(value.data, expected, value.size);
}

static bool list_row(void *context, struct bytes key, struct bytes value)
{
    struct buf *list = context;
    buf_append_bytes(list, key);
    buf_append_string(list, "=");
    buf_append_bytes(list, value);
    buf_append_string(list, " ");
    return true;
}

static void assert_rows(struct backend *backend, enum backend_bucket bucket, const char *from, const char *to,
                        const char *expected)
{
    struct buf list = {0};
    must(backend_scan(backend, bucket, text(from), text(to), list_row, &list));
    assert_string_equal(buf_string(&list), expected);
    buf_deinit(&list);
}

/* ---- */

static void writes_are_seen_at_once_in_every_stage(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    put(backend, BUCKET_LEASE, "b", "1");
    put(backend, BUCKET_LEASE, "a", "");
    assert_value(backend, BUCKET_LEASE, "b", "1");
    assert_value(backend, BUCKET_LEASE, "a", "");
    assert_value(backend, BUCKET_LEASE, "c", NULL);
    struct backend_batch *batch = backend_seal(backend);
    assert_true(backend_in_flight(backend));
    assert_value(backend, BUCKET_LEASE, "b", "1");
    put(backend, BUCKET_LEASE, "b", "2");
    backend_delete(backend, BUCKET_LEASE, text("a"));
    assert_rows(backend, BUCKET_LEASE, "", "", "b=2 ");
    must(backend_commit(backend, batch));
    must(backend_committed(backend, batch));
    assert_false(backend_in_flight(backend));
    assert_rows(backend, BUCKET_LEASE, "", "", "b=2 ");
    assert_value(backend, BUCKET_LEASE, "a", NULL);
    commit(backend);
    assert_value(backend, BUCKET_LEASE, "a", NULL);
    assert_value(backend, BUCKET_LEASE, "b", "2");
    assert_rows(backend, BUCKET_LEASE, "", "", "b=2 ");
}

static void key_rows_deleted_in_any_stage_are_hidden_from_scans(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    put(backend, BUCKET_KEY, "1", "a");
    put(backend, BUCKET_KEY, "2", "b");
    put(backend, BUCKET_KEY, "3", "c");
    commit(backend);
    put(backend, BUCKET_KEY, "4", "d");
    put(backend, BUCKET_KEY, "5", "e");
    backend_delete(backend, BUCKET_KEY, text("2"));
    backend_delete(backend, BUCKET_KEY, text("4"));
    assert_rows(backend, BUCKET_KEY, "", "", "1=a 3=c 5=e ");
    struct backend_batch *batch = backend_seal(backend);
    put(backend, BUCKET_KEY, "6", "f");
    backend_delete(backend, BUCKET_KEY, text("5"));
    backend_delete(backend, BUCKET_KEY, text("1"));
    assert_rows(backend, BUCKET_KEY, "", "", "3=c 6=f ");
    assert_rows(backend, BUCKET_KEY, "3", "6", "3=c ");
    assert_value(backend, BUCKET_KEY, "5", NULL);
    must(backend_commit(backend, batch));
    must(backend_committed(backend, batch));
    assert_rows(backend, BUCKET_KEY, "", "", "3=c 6=f ");
    commit(backend);
    assert_rows(backend, BUCKET_KEY, "", "", "3=c 6=f ");
}

static void a_shared_value_outlives_its_maker(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    struct blob *blob = blob_from(text("value and more"));
    backend_put_blob(backend, BUCKET_KEY, text("k"), blob, 5);
    blob_unref(blob);
    assert_value(backend, BUCKET_KEY, "k", "value");
    commit(backend);
    assert_value(backend, BUCKET_KEY, "k", "value");
}

static bool stop_after_first(void *context, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(int *)context;
    return false;
}

static void a_scan_stops_when_told(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    put(backend, BUCKET_KEY, "1", "a");
    put(backend, BUCKET_KEY, "2", "b");
    int visited = 0;
    must(backend_scan(backend, BUCKET_KEY, BYTES_EMPTY, BYTES_EMPTY, stop_after_first, &visited));
    assert_int_equal(visited, 1);
}

static void nothing_to_write_makes_no_batch(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    assert_null(backend_seal(backend));
    backend_set_consistent(backend, 7, 2);
    assert_int_equal(backend_pending_operations(backend), 0);
    commit(backend);
    assert_null(backend_seal(backend));
    put(backend, BUCKET_META, "x", "y");
    assert_int_equal(backend_pending_operations(backend), 1);
    assert_true(backend_pending_bytes(backend) > 0);
    commit(backend);
    assert_int_equal(backend_pending_operations(backend), 0);
}

/* etcd issue 13766: an index stored ahead of its data lost the entry at a crash. */
static void data_and_consistent_index_roll_back_together(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->backend, BUCKET_KEY, "1", "a");
    backend_set_consistent(fixture->backend, 5, 1);
    commit(fixture->backend);
    put(fixture->backend, BUCKET_KEY, "2", "b");
    backend_set_consistent(fixture->backend, 6, 1);
    struct backend_batch *batch = backend_seal(fixture->backend);
    put(fixture->backend, BUCKET_KEY, "3", "c");
    backend_set_consistent(fixture->backend, 7, 2);
    must(backend_commit(fixture->backend, batch));
    must(backend_committed(fixture->backend, batch));
    assert_int_equal(backend_consistent_index(fixture->backend), 7);
    crash(fixture, FS_SIM_LOSE_ALL);
    assert_int_equal(backend_consistent_index(fixture->backend), 6);
    assert_int_equal(backend_consistent_term(fixture->backend), 1);
    assert_rows(fixture->backend, BUCKET_KEY, "", "", "1=a 2=b ");
    bool found;
    struct bytes value;
    must(backend_get(fixture->backend, BUCKET_META, text("consistent_index"), &found, &value));
    assert_true(found && value.size == 8);
    assert_int_equal(be64_get(value.data), 6);
}

/* The power fails at every point of a commit: afterwards the file shows the state before or after, index and
 * data alike. */
static void a_commit_is_atomic_at_every_point_of_failure(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->backend, BUCKET_KEY, "1", "a");
    backend_set_consistent(fixture->backend, 5, 1);
    commit(fixture->backend);
    bool committed = false;
    for (uint64_t point = 0; !committed && point < 1000; point++) {
        struct fixture copy = {.sim = fs_sim_clone(fixture->sim)};
        fs_sim_reseed(copy.sim, point + 1);
        open_backend(&copy);
        put(copy.backend, BUCKET_KEY, "2", "b");
        backend_set_consistent(copy.backend, 6, 1);
        struct backend_batch *batch = backend_seal(copy.backend);
        fs_sim_cut_power_after(copy.sim, point);
        struct error *error = backend_commit(copy.backend, batch);
        committed = error == NULL;
        error_free(error);
        error_free(backend_committed(copy.backend, batch));
        error_free(backend_close(copy.backend));
        fs_sim_crash(copy.sim, FS_SIM_RANDOM);
        open_backend(&copy);
        bool after = backend_consistent_index(copy.backend) == 6;
        assert_true(after || !committed);
        assert_true(after || backend_consistent_index(copy.backend) == 5);
        assert_value(copy.backend, BUCKET_KEY, "2", after ? "b" : NULL);
        must(backend_close(copy.backend));
        fs_sim_free(copy.sim);
    }
    assert_true(committed);
}

static void buckets_are_etcds_in_order(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    for (enum backend_bucket i = 1; i < BUCKET_COUNT; i++)
        assert_true(strcmp(backend_bucket_name(i - 1), backend_bucket_name(i)) < 0);
    struct backend_reader reader;
    must(backend_read_begin(backend, &reader));
    struct bolt_bucket root = bolt_root(reader.tx);
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, &root);
    must(bolt_cursor_first(&cursor));
    for (enum backend_bucket i = 0; i < BUCKET_COUNT; i++) {
        assert_true(cursor.valid && cursor.is_bucket);
        assert_true(bytes_equal(cursor.key, bytes_from_string(backend_bucket_name(i))));
        must(bolt_cursor_next(&cursor));
    }
    assert_false(cursor.valid);
    backend_read_end(&reader);
}

static void the_hash_leaves_out_what_members_differ_in(void **state)
{
    struct backend *backend = ((struct fixture *)*state)->backend;
    put(backend, BUCKET_KEY, "1", "a");
    put(backend, BUCKET_META, "scheduledCompactRev", "x");
    commit(backend);
    uint32_t before, after;
    must(backend_hash(backend, &before));
    backend_set_consistent(backend, 9, 3);
    put(backend, BUCKET_META, "storageVersion", "3.6.0");
    commit(backend);
    must(backend_hash(backend, &after));
    assert_int_equal(before, after);
    put(backend, BUCKET_META, "scheduledCompactRev", "y");
    commit(backend);
    must(backend_hash(backend, &after));
    assert_int_not_equal(before, after);
}

static void damaged_meta_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fixture damaged = {.sim = fs_sim_new(&(struct fs_sim_options){.seed = 2})};
    open_backend(&damaged);
    put(damaged.backend, BUCKET_META, "consistent_index", "short");
    commit(damaged.backend);
    must(backend_close(damaged.backend));
    struct backend *backend;
    struct error *error = backend_open(fs_sim_fs(damaged.sim), "/db", &small_map, &backend);
    assert_true(error_is(error, ERROR_CORRUPT));
    assert_non_null(strstr(error->text, "consistent_index"));
    error_free(error);
    fs_sim_free(damaged.sim);
    /* While one has it open, nobody else gets it. */
    error = backend_open(fs_sim_fs(fixture->sim), "/db", &small_map, &backend);
    assert_true(error_is(error, ERROR_LOCKED));
    error_free(error);
}

/* ---- random work against a plain table ---- */

enum { TABLE = 64 };

struct table {
    char values[TABLE][12];
    bool present[TABLE];
};

static const char *table_key(unsigned i, char key[8])
{
    snprintf(key, 8, "%03u", i);
    return key;
}

static void assert_table(struct backend *backend, enum backend_bucket bucket, const struct table *table)
{
    struct buf expected = {0};
    char key[8];
    for (unsigned i = 0; i < TABLE; i++) {
        assert_value(backend, bucket, table_key(i, key), table->present[i] ? table->values[i] : NULL);
        if (table->present[i]) buf_printf(&expected, "%s=%s ", key, table->values[i]);
    }
    assert_rows(backend, bucket, "", "", buf_string(&expected));
    buf_deinit(&expected);
}

static void random_work_agrees_with_a_table(void **state)
{
    struct fixture *fixture = *state;
    struct rng rng;
    rng_init(&rng, 3);
    struct table now = {0}, durable = {0}, sealed = {0};
    struct backend_batch *batch = NULL;
    for (int step = 0; step < 6000; step++) {
        unsigned i = (unsigned)rng_below(&rng, TABLE);
        char key[8];
        table_key(i, key);
        if (rng_chance(&rng, 1, 3)) {
            backend_delete(fixture->backend, BUCKET_LEASE, text(key));
            now.present[i] = false;
        } else {
            snprintf(now.values[i], sizeof(now.values[i]), "%d", step);
            now.present[i] = true;
            put(fixture->backend, BUCKET_LEASE, key, now.values[i]);
        }
        if (batch == NULL && rng_chance(&rng, 1, 20)) {
            batch = backend_seal(fixture->backend);
            sealed = now;
        } else if (batch != NULL && rng_chance(&rng, 1, 10)) {
            must(backend_commit(fixture->backend, batch));
            must(backend_committed(fixture->backend, batch));
            batch = NULL;
            durable = sealed;
        } else if (batch == NULL && rng_chance(&rng, 1, 200)) {
            crash(fixture, FS_SIM_RANDOM);
            now = durable;
        }
        if (rng_chance(&rng, 1, 10)) assert_table(fixture->backend, BUCKET_LEASE, &now);
    }
    if (batch == NULL) return;
    must(backend_commit(fixture->backend, batch));
    must(backend_committed(fixture->backend, batch));
}

int main(void)
{
#define BACKEND_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(writes_are_seen_at_once_in_every_stage),
        BACKEND_TEST(key_rows_deleted_in_any_stage_are_hidden_from_scans),
        BACKEND_TEST(a_shared_value_outlives_its_maker),
        BACKEND_TEST(a_scan_stops_when_told),
        BACKEND_TEST(nothing_to_write_makes_no_batch),
        BACKEND_TEST(data_and_consistent_index_roll_back_together),
        BACKEND_TEST(a_commit_is_atomic_at_every_point_of_failure),
        BACKEND_TEST(buckets_are_etcds_in_order),
        BACKEND_TEST(the_hash_leaves_out_what_members_differ_in),
        BACKEND_TEST(damaged_meta_is_refused),
        BACKEND_TEST(random_work_agrees_with_a_table),
    };
    return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
