/* Readers on other threads, pinned across thousands of commits, see exactly their snapshot. */
#include "tests/bolt/support.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    ROWS = 400,
    COMMITS = 3000,
    PER_COMMIT = 40, /* rows that a commit changes */
    THREADS = 3,
};

/* Commit n sets rows n*PER_COMMIT ... (modulo ROWS) to n; so the value of a row in any snapshot can be
 * computed. */
static uint64_t expected(uint64_t commit, unsigned row)
{
    uint64_t slots = ROWS / PER_COMMIT;
    uint64_t slot = row / PER_COMMIT;
    uint64_t back = (commit % slots + slots - slot) % slots;
    return commit < back ? UINT64_MAX : commit - back;
}

struct shared {
    struct bolt *db;
    atomic_bool done;
    atomic_uint snapshots;
};

/* No cmocka assertions on other threads: a row that is wrong is reported by its number. */
static const char *check_snapshot(struct bolt_tx *tx)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    struct bytes value;
    bool found;
    uint64_t violations;
    if (bolt_bucket(tx, BYTES_LITERAL("meta"), &bucket, &found) != NULL || !found) return "no meta bucket";
    if (bolt_get(&bucket, BYTES_LITERAL("commit"), &value, &found) != NULL || !found) return "no commit row";
    uint64_t commit = be64_get(value.data);
    if (bolt_bucket(tx, BYTES_LITERAL("key"), &bucket, &found) != NULL || !found) return "no key bucket";
    bolt_cursor_init(&cursor, &bucket);
    if (bolt_cursor_first(&cursor) != NULL) return "first failed";
    for (unsigned row = 0; row < ROWS; row++) {
        if (!cursor.valid || be64_get(cursor.key.data) != row) return "a row is missing";
        if (be64_get(cursor.value.data) != expected(commit, row)) return "a row is of another snapshot";
        if (bolt_cursor_next(&cursor) != NULL) return "next failed";
    }
    if (cursor.valid) return "a row too many";
    if (bolt_check(tx, NULL, NULL, &violations) != NULL || violations != 0)
        return "the check found violations";
    return NULL;
}

static void *read_for_long(void *context)
{
    struct shared *shared = context;
    const char *wrong = NULL;
    unsigned held = 0;
    while (wrong == NULL && !atomic_load(&shared->done)) {
        struct bolt_tx *tx;
        if (bolt_begin_read(shared->db, &tx) != NULL) return "begin failed";
        /* Look again and again while commits pass by; now and then for very long. */
        unsigned looks = held++ % 5 == 0 ? 100 : 3;
        for (unsigned i = 0; i < looks && wrong == NULL; i++) wrong = check_snapshot(tx);
        bolt_end_read(tx);
        atomic_fetch_add(&shared->snapshots, 1);
    }
    return (void *)wrong;
}

static void write_commit(struct bolt *db, uint64_t commit, unsigned rows)
{
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t key[REVISION_KEY_SIZE], value[200] = {0};
    unsigned first = (unsigned)(commit % (ROWS / PER_COMMIT)) * PER_COMMIT;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
    be64_put(value, rows == ROWS ? UINT64_MAX : commit);
    for (unsigned i = 0; i < rows; i++)
        must(bolt_put(&bucket, revision_key(rows == ROWS ? i : first + i, key),
                      bytes_of(value, 60 + commit % 100)));
    if (rows == ROWS) {
        be64_put(value, 0);
        for (unsigned i = 0; i < PER_COMMIT; i++)
            must(bolt_put(&bucket, revision_key(i, key), bytes_of(value, 60)));
    }
    must(bolt_bucket_create(tx, BYTES_LITERAL("meta"), &bucket));
    be64_put(value, commit);
    must(bolt_put(&bucket, BYTES_LITERAL("commit"), bytes_of(value, 8)));
    must(bolt_commit(tx));
}

static void readers_see_their_snapshot_across_thousands_of_commits(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = 256 << 20});
    struct shared shared = {0};
    struct bolt_tx *pinned;
    pthread_t threads[THREADS];
    must(bolt_open(fs_sim_fs(sim), "/db", &(struct bolt_options){.initial_map_size = 1 << 20}, &shared.db));
    write_commit(shared.db, 0, ROWS);
    must(bolt_begin_read(shared.db, &pinned));
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_for_long, &shared), 0);
    for (uint64_t commit = 1; commit <= COMMITS; commit++) {
        write_commit(shared.db, commit, PER_COMMIT);
        if (commit % 100 == 0) must_be_sound(shared.db);
        if (commit == COMMITS / 2) {
            assert_null(check_snapshot(pinned));
            bolt_end_read(pinned);
            must(bolt_begin_read(shared.db, &pinned));
        }
    }
    atomic_store(&shared.done, true);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        if (wrong != NULL) fprintf(stderr, "reader: %s\n", (const char *)wrong);
        assert_null(wrong);
    }
    assert_null(check_snapshot(pinned));
    bolt_end_read(pinned);
    assert_true(atomic_load(&shared.snapshots) > THREADS);
    must_be_sound(shared.db);
    must(bolt_close(shared.db));
    fs_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_their_snapshot_across_thousands_of_commits)};
    return cmocka_run_group_tests_name("bolt_readers", tests, NULL, NULL);
}
