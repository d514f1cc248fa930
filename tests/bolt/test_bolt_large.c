/* A file of more than one GiB on a real disk: growth in steps, maps, reopening, deleting most of it,
 * compacting. */
#include "tests/bolt/support.h"

#include <unistd.h>

enum { ROWS = 1150000, VALUE_SIZE = 900, PER_COMMIT = 10000, KEPT_EVERY = 10 };

static int set_up(void **state)
{
    static char folder[] = "test_bolt_large.XXXXXX";
    *state = mkdtemp(folder);
    return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    error_free(fs_remove_tree(fs_real(), *state));
    return 0;
}

static void fill_value(uint64_t row, uint8_t *value)
{
    memset(value, (int)(row * 7 % 253), VALUE_SIZE);
    be64_put(value, row);
}

static void insert_all(struct bolt *db)
{
    uint8_t key[REVISION_KEY_SIZE], value[VALUE_SIZE];
    for (uint64_t row = 0; row < ROWS;) {
        struct bolt_tx *tx;
        struct bolt_bucket bucket;
        must(bolt_begin_write(db, &tx));
        must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
        for (unsigned i = 0; i < PER_COMMIT && row < ROWS; i++, row++) {
            fill_value(row, value);
            must(bolt_put(&bucket, revision_key(row, key), bytes_of(value, VALUE_SIZE)));
        }
        must(bolt_commit(tx));
    }
}

static void delete_most(struct bolt *db)
{
    uint8_t key[REVISION_KEY_SIZE];
    for (uint64_t row = 0; row < ROWS;) {
        struct bolt_tx *tx;
        must(bolt_begin_write(db, &tx));
        struct bolt_bucket bucket = must_open_bucket(tx, "key");
        for (unsigned i = 0; i < PER_COMMIT && row < ROWS; i++, row++) {
            bool found;
            if (row % KEPT_EVERY == 0) continue;
            must(bolt_delete(&bucket, revision_key(row, key), &found));
            assert_true(found);
        }
        must(bolt_commit(tx));
    }
}

static void expect_every(struct bolt *db, uint64_t step)
{
    struct bolt_tx *tx;
    struct bolt_cursor cursor;
    uint8_t value[VALUE_SIZE];
    must(bolt_begin_read(db, &tx));
    struct bolt_bucket bucket = must_open_bucket(tx, "key");
    bolt_cursor_init(&cursor, &bucket);
    must(bolt_cursor_first(&cursor));
    for (uint64_t row = 0; row < ROWS; row += step) {
        assert_true(cursor.valid);
        if (be64_get(cursor.key.data) != row || cursor.value.size != VALUE_SIZE) fail();
        fill_value(row, value);
        if (memcmp(cursor.value.data, value, VALUE_SIZE) != 0) fail();
        must(bolt_cursor_next(&cursor));
    }
    assert_false(cursor.valid);
    bolt_end_read(tx);
}

static void a_gigabyte_is_written_thinned_out_and_compacted(void **state)
{
    const char *folder = *state;
    char *path = mem_printf("%s/db", folder), *compact = mem_printf("%s/compact", folder);
    struct bolt_options options = {.initial_map_size = 256 << 20, .no_sync = true, .lock = true};
    struct bolt *db;
    struct bolt_tx *tx;
    struct bolt_stats full, thin, dense;

    must(bolt_open(fs_real(), path, &options, &db));
    insert_all(db);
    must(bolt_close(db));
    must(bolt_open(fs_real(), path, &options, &db));
    must_be_sound(db);
    expect_every(db, 1);
    bolt_stats(db, &full);
    assert_true(full.size > (uint64_t)1 << 30);

    delete_most(db);
    must_be_sound(db);
    expect_every(db, KEPT_EVERY);
    bolt_stats(db, &thin);
    assert_true(thin.in_use < full.in_use / 4);
    assert_true(thin.size < full.size + full.size / 20); /* freed pages were used again */

    must(bolt_begin_read(db, &tx));
    must(bolt_compact_to(tx, fs_real(), compact, NULL, NULL));
    bolt_end_read(tx);
    must(bolt_close(db));
    must(bolt_open(fs_real(), compact, &options, &db));
    must_be_sound(db);
    expect_every(db, KEPT_EVERY);
    bolt_stats(db, &dense);
    assert_true(dense.size < full.size / 6); /* pages are filled to 90 % */
    assert_int_equal(dense.free_pages, 0);
    must(bolt_close(db));
    free(path);
    free(compact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_gigabyte_is_written_thinned_out_and_compacted, set_up, tear_down)};
    return cmocka_run_group_tests_name("bolt_large", tests, NULL, NULL);
}
