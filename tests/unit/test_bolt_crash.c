/* Power cuts: whatever is lost, a commit is there as a whole or not at all. */
#include "tests/bolt/support.h"

enum { ROWS = 300, LATE = 3 /* crashes tried per cut with different luck */ };

static const char *const path = "/db";

/* State number n of the file: every row says n, and how many rows there are follows from n. */
static unsigned rows_of(uint64_t number)
{
    return number == 0 ? 0 : (unsigned)(ROWS + number * 37 % 200);
}

static struct error *write_state(struct bolt *db, uint64_t number)
{
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t key[REVISION_KEY_SIZE], value[100] = {0};
    be64_put(value, number);
    TRY(bolt_begin_write(db, &tx));
    struct error *error = bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket);
    for (unsigned i = 0; i < ROWS + 200 && error == NULL; i++) {
        struct bytes row = revision_key(i, key);
        if (i < rows_of(number))
            error = bolt_put(&bucket, row, bytes_of(value, i % 7 == 0 ? 100 : 8));
        else
            error = bolt_delete(&bucket, row, NULL);
    }
    if (error == NULL) error = bolt_bucket_create(tx, BYTES_LITERAL("meta"), &bucket);
    if (error == NULL) error = bolt_put(&bucket, BYTES_LITERAL("consistent_index"), bytes_of(value, 8));
    if (error == NULL) return bolt_commit(tx);
    bolt_rollback(tx);
    return error;
}

static uint64_t read_state(struct bolt *db)
{
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    bool found;
    must(bolt_begin_read(db, &tx));
    must(bolt_bucket(tx, BYTES_LITERAL("meta"), &bucket, &found));
    uint64_t number = 0;
    if (found) {
        struct bytes value;
        must(bolt_get(&bucket, BYTES_LITERAL("consistent_index"), &value, &found));
        assert_true(found);
        number = be64_get(value.data);
        bucket = must_open_bucket(tx, "key");
        bolt_cursor_init(&cursor, &bucket);
        must(bolt_cursor_first(&cursor));
        for (unsigned i = 0; i < rows_of(number); i++) {
            assert_true(cursor.valid);
            assert_int_equal(be64_get(cursor.key.data), i);
            assert_int_equal(be64_get(cursor.value.data), number);
            must(bolt_cursor_next(&cursor));
        }
        assert_false(cursor.valid);
    }
    bolt_end_read(tx);
    return number;
}

/* What a restart finds on `disk`; then one more commit must work. */
static uint64_t restart(struct fs_sim *disk)
{
    struct bolt *db;
    must(bolt_open(fs_sim_fs(disk), path, NULL, &db));
    must_be_sound(db);
    uint64_t number = read_state(db);
    must(write_state(db, number + 1));
    assert_int_equal(read_state(db), number + 1);
    must_be_sound(db);
    must(bolt_close(db));
    return number;
}

struct cut {
    struct fs_sim *disk;
    uint64_t acknowledged; /* the last state whose commit returned */
    uint64_t cuts;
    uint64_t found[2]; /* old and new states */
};

/* Before every changing operation: what if the power went here? */
static bool try_power_cut(void *context, enum fs_sim_operation operation, const char *name)
{
    struct cut *cut = context;
    (void)operation;
    (void)name;
    for (unsigned luck = 0; luck < LATE + 2; luck++) {
        struct fs_sim *clone = fs_sim_clone(cut->disk);
        fs_sim_reseed(clone, cut->cuts * 10 + luck);
        fs_sim_crash(clone, luck == 0 ? FS_SIM_LOSE_ALL : luck == 1 ? FS_SIM_KEEP_ALL : FS_SIM_RANDOM);
        uint64_t number = restart(clone);
        assert_in_range(number, cut->acknowledged, cut->acknowledged + 1);
        cut->found[number - cut->acknowledged]++;
        fs_sim_free(clone);
    }
    cut->cuts++;
    return true;
}

static void a_power_cut_at_any_write_or_sync_leaves_the_old_or_the_new_state(void **state)
{
    (void)state;
    struct cut cut = {.disk = fs_sim_new(&(struct fs_sim_options){.seed = 3, .file_size = 16 << 20})};
    struct bolt *db;
    fs_sim_set_hook(cut.disk, try_power_cut, &cut);
    must(bolt_open(fs_sim_fs(cut.disk), path, NULL, &db));
    for (uint64_t number = 1; number <= 12; number++) {
        must(write_state(db, number));
        cut.acknowledged = number;
    }
    must(bolt_close(db));
    fs_sim_set_hook(cut.disk, NULL, NULL);
    assert_true(cut.cuts > 12 * 4);
    assert_true(cut.found[0] > 0 && cut.found[1] > 0);
    fs_sim_free(cut.disk);
}

/* The same with many commits and the cut anywhere, so that pages freed long ago are in play. */
static void crash_after_crash_the_file_stays_sound(void **state)
{
    (void)state;
    struct rng rng;
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given == NULL ? 11 : strtoull(given, NULL, 10);
    struct fs_sim *disk = fs_sim_new(&(struct fs_sim_options){.seed = seed, .file_size = 16 << 20});
    rng_init(&rng, seed);
    uint64_t acknowledged = 0;
    for (unsigned round = 0; round < 150; round++) {
        struct bolt *db;
        must(bolt_open(fs_sim_fs(disk), path, NULL, &db));
        must_be_sound(db);
        uint64_t number = read_state(db);
        assert_in_range(number, acknowledged, acknowledged + 1);
        fs_sim_cut_power_after(disk, rng_below(&rng, 40));
        struct error *error = NULL;
        for (acknowledged = number; (error = write_state(db, acknowledged + 1)) == NULL; acknowledged++)
            continue;
        error_free(error);
        error_free(bolt_close(db));
        fs_sim_crash(disk, FS_SIM_RANDOM);
    }
    fs_sim_free(disk);
}

/* ENOSPC and EIO at every operation of a commit: the error is told and the state is one of the two. */
static void any_failing_operation_leaves_the_old_or_the_new_state(void **state)
{
    (void)state;
    for (unsigned skip = 0; skip < 12; skip++) {
        for (int kind = 0; kind < 2; kind++) {
            struct fs_sim *disk = fs_sim_new(&(struct fs_sim_options){.seed = skip, .file_size = 16 << 20});
            struct bolt *db;
            must(bolt_open(fs_sim_fs(disk), path, NULL, &db));
            must(write_state(db, 1));
            fs_sim_add_fault(disk, &(struct fs_sim_fault){.operations = FS_SIM_CHANGES,
                                                          .skip = skip,
                                                          .times = 1,
                                                          .system = kind == 0 ? ENOSPC : EIO,
                                                          .partial = true});
            struct error *error = write_state(db, 2);
            uint64_t told = error == NULL ? 2 : 1;
            error_free(error);
            assert_int_equal(read_state(db), told); /* what readers see is what was told */
            must(bolt_close(db));
            fs_sim_clear_faults(disk);
            fs_sim_crash(disk, FS_SIM_RANDOM);
            assert_in_range(restart(disk), told, 2);
            fs_sim_free(disk);
        }
    }
}

/* The other meta page is the way back when the newest one is torn. */
static void without_the_newest_meta_page_the_state_before_is_there(void **state)
{
    (void)state;
    struct fs_sim *disk = fs_sim_new(&(struct fs_sim_options){.seed = 5, .file_size = 16 << 20});
    struct bolt *db;
    struct bolt_stats stats;
    must(bolt_open(fs_sim_fs(disk), path, NULL, &db));
    for (uint64_t number = 1; number <= 30; number++) {
        must(write_state(db, number));
        bolt_stats(db, &stats);
        struct fs_sim *clone = fs_sim_clone(disk);
        assert_true(fs_sim_flip_bit(clone, path, stats.txid % 2 * stats.page_size + 70, 3));
        assert_int_equal(restart(clone), number - 1);
        fs_sim_free(clone);
    }
    must(bolt_close(db));
    fs_sim_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_at_any_write_or_sync_leaves_the_old_or_the_new_state),
        cmocka_unit_test(crash_after_crash_the_file_stays_sound),
        cmocka_unit_test(without_the_newest_meta_page_the_state_before_is_there),
        cmocka_unit_test(any_failing_operation_leaves_the_old_or_the_new_state),
    };
    return cmocka_run_group_tests_name("bolt_crash", tests, NULL, NULL);
}
