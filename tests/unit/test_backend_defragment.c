/* Defragmentation on a simulated disk: what is there stays there, whatever happens. */
#include "base/memory.h"
#include "bolt/bolt.h"
#include "mvcc/revision.h"
#include "storage/fs_sim.h"
#include "tests/unit/backend_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 400, VALUE_SIZE = 300 };

static const char *const path = "/db";

static struct fs_sim *new_disk(uint64_t seed)
{
    return fs_sim_new(&(struct fs_sim_options){.seed = seed, .file_size = 64 << 20});
}

static struct mvcc_row_key row_key(uint64_t number)
{
    return mvcc_row_key_of((struct mvcc_revision){.main = (int64_t)number}, false);
}

static void put_row(struct backend *backend, uint64_t number)
{
    struct mvcc_row_key key = row_key(number);
    uint8_t value[VALUE_SIZE] = {0};
    be64_put(value, number);
    backend_put(backend, BUCKET_KEY, mvcc_row_key_bytes(&key), bytes_of(value, sizeof(value)));
}

static void delete_row(struct backend *backend, uint64_t number)
{
    struct mvcc_row_key key = row_key(number);
    backend_delete(backend, BUCKET_KEY, mvcc_row_key_bytes(&key));
}

/* ROWS rows of which every tenth is left, and consistent index 7. */
static struct backend *holey_backend(struct fs *fs, const char *file)
{
    struct backend *backend;
    must(backend_open(fs, file, &small_map, &backend));
    for (uint64_t i = 1; i <= ROWS; i++) put_row(backend, i);
    commit(backend);
    for (uint64_t i = 1; i <= ROWS; i++)
        if (i % 10 != 0) delete_row(backend, i);
    backend_set_consistent(backend, 7, 2);
    commit(backend);
    return backend;
}

struct count {
    uint64_t rows, first, last;
};

static bool count_row(void *context, struct bytes key, struct bytes value)
{
    struct count *count = context;
    uint64_t number = be64_get(key.data);
    assert_int_equal(key.size, MVCC_REVISION_SIZE);
    assert_int_equal(value.size, VALUE_SIZE);
    assert_int_equal(be64_get(value.data), number);
    if (count->rows++ == 0) count->first = number;
    count->last = number;
    return true;
}

static struct count count_rows(struct backend *backend)
{
    struct count count = {0};
    must(backend_scan(backend, BUCKET_KEY, BYTES_EMPTY, BYTES_EMPTY, count_row, &count));
    return count;
}

static void must_be_sound(struct backend *backend)
{
    struct backend_reader reader;
    uint64_t violations = 0;
    must(backend_read_begin(backend, &reader));
    must(bolt_check(reader.tx, NULL, NULL, &violations));
    backend_read_end(&reader);
    assert_int_equal(violations, 0);
}

static void must_hold_the_tenths(struct backend *backend)
{
    struct count count = count_rows(backend);
    assert_int_equal(count.rows, ROWS / 10);
    assert_int_equal(count.first, 10);
    assert_int_equal(count.last, ROWS);
    assert_int_equal(backend_consistent_index(backend), 7);
    must_be_sound(backend);
}

/* ---- */

static void the_file_shrinks_and_keeps_every_row(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(1);
    struct backend *backend = holey_backend(fs_sim_fs(disk), path);
    bool fatal;
    uint32_t before, after;
    uint64_t size = backend_size(backend);
    must(backend_hash(backend, &before));
    must(backend_defragment(backend, &fatal));
    must_hold_the_tenths(backend); /* still from the old file */
    must(backend_refresh(backend));
    must_hold_the_tenths(backend);
    must(backend_hash(backend, &after));
    assert_int_equal(before, after);
    assert_true(backend_size(backend) < size / 3);
    assert_int_equal(backend_size(backend), backend_size_in_use(backend));
    put_row(backend, ROWS + 10);
    commit(backend);
    must(backend_close(backend));
    must(backend_open(fs_sim_fs(disk), path, &small_map, &backend));
    assert_int_equal(count_rows(backend).last, ROWS + 10);
    must_be_sound(backend);
    must(backend_close(backend));
    bool exists;
    must(fs_exists(fs_sim_fs(disk), "/db.tmp.defrag", &exists));
    assert_false(exists);
    fs_sim_free(disk);
}

static void what_is_not_committed_yet_is_seen_before_and_after(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(2);
    struct backend *backend = holey_backend(fs_sim_fs(disk), path);
    bool fatal;
    put_row(backend, ROWS + 1);
    struct backend_batch *batch = backend_seal(backend);
    put_row(backend, ROWS + 2);
    delete_row(backend, 10);
    must(backend_defragment(backend, &fatal));
    must(backend_refresh(backend));
    struct count count = count_rows(backend);
    assert_int_equal(count.rows, ROWS / 10 + 1);
    assert_int_equal(count.first, 20);
    assert_int_equal(count.last, ROWS + 2);
    must(backend_commit(backend, batch));
    must(backend_committed(backend, batch));
    commit(backend);
    count = count_rows(backend);
    assert_int_equal(count.rows, ROWS / 10 + 1);
    assert_int_equal(count.last, ROWS + 2);
    must_be_sound(backend);
    must(backend_close(backend));
    fs_sim_free(disk);
}

static void a_reader_keeps_the_file_that_was_replaced(void **state)
{
    (void)state;
    struct fs_sim *disk = new_disk(3);
    struct backend *backend = holey_backend(fs_sim_fs(disk), path);
    struct backend_reader reader;
    bool fatal;
    must(backend_read_begin(backend, &reader));
    uint64_t size = bolt_size(reader.tx);
    must(backend_defragment(backend, &fatal));
    must(backend_refresh(backend));
    put_row(backend, ROWS + 1);
    commit(backend);
    uint64_t violations = 0;
    must(bolt_check(reader.tx, NULL, NULL, &violations));
    assert_int_equal(violations, 0);
    assert_int_equal(bolt_size(reader.tx), size);
    backend_read_end(&reader);
    must(backend_close(backend));
    fs_sim_free(disk);
}

struct writer {
    struct backend *backend;
    atomic_bool stop;
    uint64_t last; /* row put */
};

/* Puts rows and deletes the oldest, as compaction does, as fast as commits go. */
static void *write_on(void *argument)
{
    struct writer *writer = argument;
    uint64_t oldest = 10;
    for (uint64_t i = ROWS + 1; !atomic_load(&writer->stop) || i < ROWS + 20; i++) {
        put_row(writer->backend, i);
        if (oldest < ROWS && i % 4 == 0) {
            delete_row(writer->backend, oldest);
            oldest += 10;
        }
        backend_set_consistent(writer->backend, i, 2);
        commit(writer->backend);
        writer->last = i;
    }
    return NULL;
}

/* On real files: the simulated disk lets one thread in at a time, and then nothing is ever committed between
 * the last round and the end. */
static void what_is_written_meanwhile_is_in_the_new_file(void **state)
{
    (void)state;
    char directory[] = "/tmp/test-defragment-XXXXXX", file[64];
    assert_non_null(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/db", directory);
    struct writer writer = {.backend = holey_backend(fs_real(), file)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
    for (int i = 0; i < 60; i++) {
        bool fatal;
        must(backend_defragment(writer.backend, &fatal));
    }
    atomic_store(&writer.stop, true);
    pthread_join(thread, NULL);
    struct count live = count_rows(writer.backend);
    must_be_sound(writer.backend);
    must(backend_close(writer.backend));
    must(backend_open(fs_real(), file, &small_map, &writer.backend));
    struct count found = count_rows(writer.backend);
    assert_int_equal(found.rows, live.rows);
    assert_int_equal(found.first, live.first);
    assert_int_equal(found.last, writer.last);
    assert_int_equal(found.last - (ROWS + 1) + 1, found.rows - (ROWS - found.first) / 10 - 1);
    assert_int_equal(backend_consistent_index(writer.backend), writer.last);
    must_be_sound(writer.backend);
    must(backend_close(writer.backend));
    must(fs_remove_tree(fs_real(), directory));
}

struct cut {
    struct fs_sim *disk;
    unsigned cuts;
    unsigned left[2]; /* the old file, the new file */
    uint64_t old_size;
};

/* Before every change on disk: what if the power went here? */
static bool try_power_cut(void *context, enum fs_sim_operation operation, const char *name)
{
    struct cut *cut = context;
    (void)operation;
    (void)name;
    for (unsigned luck = 0; luck < 4; luck++) {
        struct backend *backend;
        struct fs_sim *clone = fs_sim_clone(cut->disk);
        fs_sim_reseed(clone, cut->cuts * 10 + luck);
        fs_sim_crash(clone, luck == 0 ? FS_SIM_LOSE_ALL : luck == 1 ? FS_SIM_KEEP_ALL : FS_SIM_RANDOM);
        must(backend_open(fs_sim_fs(clone), path, &small_map, &backend));
        must_hold_the_tenths(backend);
        cut->left[backend_size(backend) < cut->old_size / 2]++;
        must(backend_close(backend));
        fs_sim_free(clone);
    }
    cut->cuts++;
    return true;
}

static void a_power_cut_leaves_the_old_or_the_new_file(void **state)
{
    (void)state;
    struct cut cut = {.disk = new_disk(5)};
    struct backend *backend = holey_backend(fs_sim_fs(cut.disk), path);
    bool fatal;
    cut.old_size = backend_size(backend);
    fs_sim_set_hook(cut.disk, try_power_cut, &cut);
    must(backend_defragment(backend, &fatal));
    fs_sim_set_hook(cut.disk, NULL, NULL);
    assert_true(cut.cuts >= 5);
    assert_true(cut.left[0] > 0 && cut.left[1] > 0);
    fs_sim_crash(cut.disk, FS_SIM_LOSE_ALL); /* once it has returned only the new file is left */
    must(backend_close(backend));
    must(backend_open(fs_sim_fs(cut.disk), path, &small_map, &backend));
    assert_true(backend_size(backend) < cut.old_size / 2);
    must_hold_the_tenths(backend);
    must(backend_close(backend));
    fs_sim_free(cut.disk);
}

static void a_failing_disk_leaves_the_old_file_in_use(void **state)
{
    (void)state;
    bool failed_softly = false, failed_for_good = false, succeeded = false;
    for (unsigned skip = 0; !succeeded; skip++) {
        struct fs_sim *disk = new_disk(skip);
        struct backend *backend = holey_backend(fs_sim_fs(disk), path);
        bool fatal;
        fs_sim_add_fault(disk, &(struct fs_sim_fault){.operations = FS_SIM_CHANGES,
                                                      .skip = skip,
                                                      .times = 1,
                                                      .system = ENOSPC,
                                                      .partial = true});
        struct error *error = backend_defragment(backend, &fatal);
        fs_sim_clear_faults(disk);
        succeeded = error == NULL;
        failed_softly = failed_softly || (error != NULL && !fatal);
        failed_for_good = failed_for_good || fatal;
        error_free(error);
        must(backend_refresh(backend));
        must_hold_the_tenths(backend);
        put_row(backend, ROWS + 10);
        commit(backend);
        assert_int_equal(count_rows(backend).last, ROWS + 10);
        must(backend_close(backend));
        fs_sim_free(disk);
        assert_true(skip < 50);
    }
    assert_true(failed_softly && failed_for_good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_shrinks_and_keeps_every_row),
        cmocka_unit_test(what_is_not_committed_yet_is_seen_before_and_after),
        cmocka_unit_test(a_reader_keeps_the_file_that_was_replaced),
        cmocka_unit_test(what_is_written_meanwhile_is_in_the_new_file),
        cmocka_unit_test(a_power_cut_leaves_the_old_or_the_new_file),
        cmocka_unit_test(a_failing_disk_leaves_the_old_file_in_use),
    };
    return cmocka_run_group_tests_name("backend_defragment", tests, NULL, NULL);
}
