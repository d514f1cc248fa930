/* A database of another member in the place of the own one, on a simulated disk. */
#include "base/buf.h"
#include "base/memory.h"
#include "bolt/bolt.h"
#include "bolt/page.h"
#include "storage/fs_sim.h"
#include "storage/snap.h"
#include "tests/unit/backend_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OWN_INDEX = 7,
    RECEIVED_INDEX = 100,
    DISK_SIZE = 64 << 20,
    LARGE_ROWS = 1000,
    LARGE_VALUE = 8000,
    PAGE = BOLT_DEFAULT_PAGE_SIZE
};

static const char path[] = "/db", received[] = "/0000000000000064.snap.db";

static struct fs_sim *new_disk(uint64_t seed)
{
    return fs_sim_new(&(struct fs_sim_options){.seed = seed, .file_size = DISK_SIZE});
}

static void put(struct backend *backend, const char *key, const char *value)
{
    backend_put(backend, BUCKET_LEASE, bytes_from_string(key), bytes_from_string(value));
}

static bool holds(struct backend *backend, const char *key, const char *value)
{
    bool found;
    struct bytes present;
    must(backend_get(backend, BUCKET_LEASE, bytes_from_string(key), &found, &present));
    return found && bytes_equal(present, bytes_from_string(value));
}

/* A committed backend in which `who` is the value of the row "who", with `rows` more. */
static struct backend *new_backend(struct fs *fs, const char *file, const char *who, uint64_t index,
                                   unsigned rows)
{
    struct backend *backend;
    must(backend_open(fs, file, &small_map, &backend));
    put(backend, "who", who);
    for (unsigned i = 0; i < rows; i++) {
        char key[16];
        snprintf(key, sizeof(key), "row%u", i);
        put(backend, key, who);
    }
    backend_set_consistent(backend, index, 2);
    commit(backend);
    return backend;
}

static void make_received(struct fs *fs, unsigned rows)
{
    must(backend_close(new_backend(fs, received, "leader", RECEIVED_INDEX, rows)));
}

/* ---- checking ---- */

static void a_good_image_passes(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    make_received(fs_sim_fs(disk), 500);
    must(backend_check_image(fs_sim_fs(disk), received, RECEIVED_INDEX));
    fs_sim_free(disk);
}

static void an_image_at_another_index_is_refused(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    make_received(fs_sim_fs(disk), 5);
    must_fail(backend_check_image(fs_sim_fs(disk), received, RECEIVED_INDEX + 1), ERROR_CORRUPT,
              "its consistent index is 100, that of the snapshot 101");
    fs_sim_free(disk);
}

static void truncate_to(struct fs *fs, uint64_t size)
{
    struct fs_file *file;
    must(fs_open(fs, received, FS_WRITE | FS_CREATE, &file));
    must(fs_file_truncate(file, size));
    must(fs_file_close(file));
}

static void an_image_cut_short_is_refused(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct fs *fs = fs_sim_fs(disk);
    struct backend *backend = new_backend(fs, received, "leader", RECEIVED_INDEX, 500);
    uint64_t size = backend_size(backend); /* the file has room behind it, which need not travel */
    must(backend_close(backend));
    truncate_to(fs, size);
    must(backend_check_image(fs, received, RECEIVED_INDEX));
    for (uint64_t left = size - 1; left > 0; left -= left / 4 + 1) {
        truncate_to(fs, left);
        must_fail(backend_check_image(fs, received, RECEIVED_INDEX), ERROR_CORRUPT, "received database");
    }
    truncate_to(fs, 0);
    must_fail(backend_check_image(fs, received, RECEIVED_INDEX), ERROR_CORRUPT, "received database");
    must(fs_remove(fs, received));
    must_fail(backend_check_image(fs, received, RECEIVED_INDEX), ERROR_NOT_FOUND, "received database");
    fs_sim_free(disk);
}

/* Whatever page of the tree is damaged at its head. */
static void an_image_with_a_damaged_page_is_refused(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct fs *fs = fs_sim_fs(disk);
    struct backend *backend = new_backend(fs, received, "leader", RECEIVED_INDEX, 2000);
    uint64_t pages = backend_size(backend) / PAGE;
    unsigned refused = 0;
    must(backend_close(backend));
    for (uint64_t page = 2; page < pages; page++) {
        /* Bit 6 of the flags is set in no kind of page. */
        assert_true(fs_sim_flip_bit(disk, received, page * PAGE + 8, 6));
        struct error *error = backend_check_image(fs, received, RECEIVED_INDEX);
        refused += error != NULL;
        error_free(error);
        assert_true(fs_sim_flip_bit(disk, received, page * PAGE + 8, 6));
    }
    assert_true(refused > pages / 2); /* the others are free */
    must(backend_check_image(fs, received, RECEIVED_INDEX));
    fs_sim_free(disk);
}

/* Rows would not be found that are there: it must not take the place of a good database. */
static void an_image_with_a_damaged_key_of_a_branch_is_refused(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct fs *fs = fs_sim_fs(disk);
    struct backend *backend = new_backend(fs, received, "leader", RECEIVED_INDEX, 2000);
    uint64_t pages = backend_size(backend) / PAGE;
    struct buf file = {0};
    unsigned branches = 0;
    must(backend_close(backend));
    must(fs_read_file(fs, received, DISK_SIZE, &file));
    for (uint64_t i = 2; i < pages; i++) {
        struct page page;
        struct element second = {0};
        struct error *error = page_open(&page, file.data, PAGE, pages, i);
        bool is_branch = error == NULL && !page.leaf && page.count > 1;
        error_free(error);
        if (!is_branch) continue;
        assert_true(page_locate(&page, 1, &second));
        uint64_t last = (uint64_t)(second.key.data + second.key.size - 1 - file.data);
        assert_true(fs_sim_flip_bit(disk, received, last, 6));
        must_fail(backend_check_image(fs, received, RECEIVED_INDEX), ERROR_CORRUPT, "is out of order");
        assert_true(fs_sim_flip_bit(disk, received, last, 6));
        branches++;
    }
    assert_true(branches > 0);
    must(backend_check_image(fs, received, RECEIVED_INDEX));
    buf_deinit(&file);
    fs_sim_free(disk);
}

static void an_image_without_a_bucket_is_refused(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct fs *fs = fs_sim_fs(disk);
    struct bolt *bolt;
    struct bolt_tx *tx;
    bool found;
    make_received(fs, 5);
    must(bolt_open(fs, received, NULL, &bolt));
    must(bolt_begin_write(bolt, &tx));
    must(bolt_bucket_delete(tx, BYTES_LITERAL("members_removed"), &found));
    must(bolt_commit(tx));
    must(bolt_close(bolt));
    must_fail(backend_check_image(fs, received, RECEIVED_INDEX), ERROR_CORRUPT,
              "bucket members_removed is missing");
    fs_sim_free(disk);
}

/* ---- installing ---- */

static void the_state_is_that_of_the_image(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct fs *fs = fs_sim_fs(disk);
    struct backend *backend = new_backend(fs, path, "own", OWN_INDEX, 5);
    bool exists;
    make_received(fs, 5);
    put(backend, "pending", "of the former state");
    backend_set_consistent(backend, OWN_INDEX + 1, 2);
    must(backend_install(backend, received, RECEIVED_INDEX));
    must(fs_exists(fs, received, &exists));
    assert_false(exists);
    assert_true(holds(backend, "who", "leader"));
    assert_false(holds(backend, "pending", "of the former state"));
    assert_int_equal(backend_consistent_index(backend), RECEIVED_INDEX);
    assert_int_equal(backend_pending_operations(backend), 0);
    assert_null(backend_seal(backend));
    put(backend, "next", "entry");
    backend_set_consistent(backend, RECEIVED_INDEX + 1, 2);
    commit(backend);
    must(backend_close(backend));
    must(backend_open(fs, path, &small_map, &backend));
    assert_true(holds(backend, "next", "entry"));
    assert_int_equal(backend_consistent_index(backend), RECEIVED_INDEX + 1);
    must(backend_close(backend));
    fs_sim_free(disk);
}

static void a_reader_keeps_what_it_sees(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct fs *fs = fs_sim_fs(disk);
    struct backend *backend = new_backend(fs, path, "own", OWN_INDEX, 5);
    struct backend_reader before, after;
    uint64_t index;
    make_received(fs, 500);
    must(backend_read_begin(backend, &before));
    must(backend_install(backend, received, RECEIVED_INDEX));
    must(backend_read_begin(backend, &after));
    must(backend_reader_index(&before, &index));
    assert_int_equal(index, OWN_INDEX);
    must(backend_reader_index(&after, &index));
    assert_int_equal(index, RECEIVED_INDEX);
    backend_read_end(&before);
    backend_read_end(&after);
    must(backend_close(backend));
    fs_sim_free(disk);
}

static void the_installed_file_is_locked(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct backend *backend = new_backend(fs_sim_fs(disk), path, "own", OWN_INDEX, 5), *second = NULL;
    make_received(fs_sim_fs(disk), 5);
    must(backend_install(backend, received, RECEIVED_INDEX));
    struct error *error = backend_open(fs_sim_fs(disk), path, &small_map, &second);
    assert_true(error_is(error, ERROR_LOCKED));
    error_free(error);
    must(backend_close(backend));
    fs_sim_free(disk);
}

static void an_image_at_another_index_is_not_installed(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct backend *backend = new_backend(fs_sim_fs(disk), path, "own", OWN_INDEX, 5);
    make_received(fs_sim_fs(disk), 5);
    must_fail(backend_install(backend, received, RECEIVED_INDEX - 1), ERROR_CORRUPT,
              "its consistent index is 100");
    must(backend_close(backend));
    fs_sim_free(disk);
}

/* Either the former file is whole and the image still there, or the image has its place. */
static void must_be_one_or_the_other(struct fs *fs)
{
    struct backend *backend;
    bool waits;
    must(fs_exists(fs, received, &waits));
    must(backend_open(fs, path, &small_map, &backend));
    assert_true(holds(backend, "who", waits ? "own" : "leader"));
    if (waits) must(backend_install(backend, received, RECEIVED_INDEX));
    assert_true(holds(backend, "who", "leader"));
    assert_int_equal(backend_consistent_index(backend), RECEIVED_INDEX);
    must(backend_close(backend));
}

static void a_power_cut_leaves_the_one_or_the_other(void **state)
{
    (void)state;
    static const enum fs_sim_crash_mode modes[] = {FS_SIM_KEEP_ALL, FS_SIM_LOSE_ALL, FS_SIM_RANDOM};
    unsigned cuts = 0;
    for (uint64_t operation = 0;; operation++) {
        struct fs_sim *disk = new_disk(operation);
        struct fs *fs = fs_sim_fs(disk);
        struct backend *backend = new_backend(fs, path, "own", OWN_INDEX, 5);
        make_received(fs, 5);
        must(fs_sync_directory(fs, "/"));
        fs_sim_cut_power_after(disk, operation);
        struct error *error = backend_install(backend, received, RECEIVED_INDEX);
        bool was_cut = error != NULL;
        error_free(error);
        if (was_cut) fs_sim_power_off(disk);
        error_free(backend_close(backend));
        fs_sim_crash(disk, modes[operation % 3]);
        must_be_one_or_the_other(fs);
        fs_sim_free(disk);
        if (!was_cut) break;
        cuts++;
    }
    assert_true(cuts >= 2); /* the rename, the folder */
}

/* ---- beside a defragmentation ---- */

struct defragmenter {
    struct backend *backend;
    atomic_bool is_copying;
    struct error *error;
    bool is_fatal;
};

static bool notice_copy(void *context, enum fs_sim_operation operation, const char *name)
{
    struct defragmenter *work = context;
    if (operation == FS_SIM_CREATE && strstr(name, "tmp.defrag") != NULL)
        atomic_store(&work->is_copying, true);
    return true;
}

static void *defragment(void *context)
{
    struct defragmenter *work = context;
    work->error = backend_defragment(work->backend, &work->is_fatal);
    return NULL;
}

/* Whenever the one comes while the other is under way: both succeed, and what is there is the image's. */
static void a_defragmentation_starts_over(void **state)
{
    (void)state;
    char large[LARGE_VALUE + 1] = "";
    memset(large, 'o', LARGE_VALUE);
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct fs_sim *disk = new_disk(seed);
        struct fs *fs = fs_sim_fs(disk);
        struct backend *backend = new_backend(fs, path, large, OWN_INDEX, LARGE_ROWS);
        struct defragmenter work = {.backend = backend};
        pthread_t thread;
        make_received(fs, 300);
        fs_sim_set_hook(disk, notice_copy, &work);
        assert_int_equal(pthread_create(&thread, NULL, defragment, &work), 0);
        while (seed % 2 == 0 && !atomic_load(&work.is_copying)) sched_yield();
        must(backend_install(backend, received, RECEIVED_INDEX));
        pthread_join(thread, NULL);
        fs_sim_set_hook(disk, NULL, NULL);
        must(work.error);
        assert_false(work.is_fatal);
        must(backend_refresh(backend));
        assert_true(holds(backend, "who", "leader"));
        assert_true(holds(backend, "row299", "leader"));
        assert_false(holds(backend, "row999", large));
        must(backend_close(backend));
        must(backend_open(fs, path, &small_map, &backend));
        assert_true(holds(backend, "who", "leader"));
        assert_int_equal(backend_consistent_index(backend), RECEIVED_INDEX);
        must(backend_close(backend));
        fs_sim_free(disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_image_passes),
        cmocka_unit_test(an_image_at_another_index_is_refused),
        cmocka_unit_test(an_image_cut_short_is_refused),
        cmocka_unit_test(an_image_with_a_damaged_page_is_refused),
        cmocka_unit_test(an_image_with_a_damaged_key_of_a_branch_is_refused),
        cmocka_unit_test(an_image_without_a_bucket_is_refused),
        cmocka_unit_test(the_state_is_that_of_the_image),
        cmocka_unit_test(a_reader_keeps_what_it_sees),
        cmocka_unit_test(the_installed_file_is_locked),
        cmocka_unit_test(an_image_at_another_index_is_not_installed),
        cmocka_unit_test(a_power_cut_leaves_the_one_or_the_other),
        cmocka_unit_test(a_defragmentation_starts_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
