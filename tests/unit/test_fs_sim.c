/* The rules of fs.h on both disks, and what a simulated one may do beyond a real one. */
#include "base/buf.h"
#include "base/memory.h"
#include "storage/fs.h"
#include "storage/fs_sim.h"
#include "tests/unit/expect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SECTOR = FS_SIM_SECTOR, LARGE = 20 << 20 };

static struct fs_sim *new_disk(uint64_t seed)
{
    return fs_sim_new(&(struct fs_sim_options){.seed = seed});
}

static struct fs_file *open_file(struct fs *fs, const char *path, unsigned flags)
{
    struct fs_file *file = NULL;
    must(fs_open(fs, path, flags, &file));
    return file;
}

static void put(struct fs *fs, const char *path, const char *text, bool sync)
{
    struct fs_file *file = open_file(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE);
    must(fs_file_pwrite(file, text, strlen(text), 0));
    if (sync) must(fs_file_sync(file));
    must(fs_file_close(file));
}

/* The content as a string, or "-" when the file is missing. Compare at once: the memory is used again. */
static const char *get(struct fs *fs, const char *path)
{
    static struct buf content;
    struct error *error = fs_read_file(fs, path, 1 << 20, &content);
    if (error_is(error, ERROR_NOT_FOUND)) {
        error_free(error);
        buf_deinit(&content);
        return "-";
    }
    must(error);
    static char text[256];
    snprintf(text, sizeof(text), "%s", buf_string(&content));
    buf_deinit(&content);
    return text;
}

/* --- what both implementations promise --- */

static void check_files(struct fs *fs, const char *root)
{
    char *directory = mem_printf("%s/a/b", root), *path = mem_printf("%s/a/b/file", root);
    char *other = mem_printf("%s/a/other", root), *tree = mem_printf("%s/a", root);
    must(fs_make_directory(fs, directory));
    must(fs_make_directory(fs, directory));
    struct fs_file *file = NULL;
    must_fail(fs_open(fs, path, FS_READ, &file), ERROR_NOT_FOUND, "");
    file = open_file(fs, path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE);
    struct fs_file *again = NULL;
    must_fail(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &again), ERROR_EXISTS, "");
    unsigned mode = 0;
    must(fs_mode(fs, path, &mode));
    assert_int_equal(mode, 0600);
    must(fs_mode(fs, directory, &mode));
    assert_int_equal(mode, 0700);

    must(fs_file_allocate(file, 10000));
    uint64_t size = 0;
    must(fs_file_size(file, &size));
    assert_int_equal(size, 10000);
    const uint8_t *map = NULL;
    must(fs_file_map(file, 1 << 20, &map));
    assert_int_equal(map[9999], 0);
    must(fs_file_pwrite(file, "hello", 5, 9000));
    assert_memory_equal(map + 9000, "hello", 5);
    char text[16];
    size_t got = 0;
    must(fs_file_pread(file, text, sizeof(text), 9000, &got));
    assert_int_equal(got, sizeof(text));
    must(fs_file_pread(file, text, sizeof(text), 9995, &got));
    assert_int_equal(got, 5);
    must(fs_file_pread(file, text, sizeof(text), 20000, &got));
    assert_int_equal(got, 0);
    must(fs_file_truncate(file, 9003));
    must(fs_file_truncate(file, 9010));
    assert_memory_equal(map + 9000, "hel\0\0\0\0\0\0\0", 10);
    fs_file_unmap(file, map, 1 << 20);
    must(fs_file_sync_data(file));
    must(fs_file_sync(file));

    must(fs_rename(fs, path, other));
    bool exists = true;
    must(fs_exists(fs, path, &exists));
    assert_false(exists);
    must(fs_file_pwrite(file, "X", 1, 0)); /* the handle follows the file, not its name */
    assert_string_equal(get(fs, other), "X");
    must(fs_file_close(file));

    char **names = NULL;
    size_t count = 0;
    must(fs_list(fs, tree, &names, &count));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "other");
    fs_names_free(names, count);
    must(fs_sync_directory(fs, tree));
    must_fail(fs_remove(fs, path), ERROR_NOT_FOUND, "");
    must(fs_remove(fs, other));
    must(fs_remove_tree(fs, tree));
    must(fs_remove_tree(fs, tree));
    must(fs_exists(fs, tree, &exists));
    assert_false(exists);
    must_fail(fs_list(fs, tree, &names, &count), ERROR_NOT_FOUND, "");
    free(directory);
    free(path);
    free(other);
    free(tree);
}

static void check_locks(struct fs *fs, const char *root)
{
    char *path = mem_printf("%s/lock", root);
    struct fs_file *a = open_file(fs, path, FS_WRITE | FS_CREATE), *b = open_file(fs, path, FS_WRITE);
    must(fs_file_lock(a, FS_LOCK_SEGMENT));
    must_fail(fs_file_lock(b, FS_LOCK_SEGMENT), ERROR_LOCKED, "");
    must(fs_file_close(a));
    must(fs_file_lock(b, FS_LOCK_SEGMENT));
    a = open_file(fs, path, FS_WRITE);
    must(fs_file_lock(a, FS_LOCK_SHARED));
    must(fs_file_lock(b, FS_LOCK_SHARED));
    must_fail(fs_file_lock(b, FS_LOCK_EXCLUSIVE), ERROR_LOCKED, "");
    must(fs_file_close(a));
    must(fs_file_lock(b, FS_LOCK_EXCLUSIVE));
    must(fs_file_close(b));
    must(fs_remove(fs, path));
    free(path);
}

/* Larger than what is given back at once. */
static struct fs_file *new_large_file(struct fs *fs, const char *path)
{
    struct fs_file *file = open_file(fs, path, FS_WRITE | FS_CREATE);
    must(fs_file_pwrite(file, "first", 5, 0));
    must(fs_file_pwrite(file, "last", 4, LARGE));
    return file;
}

static void check_large_file(struct fs_file *file)
{
    uint64_t size;
    must(fs_file_size(file, &size));
    assert_int_equal(size, LARGE + 4);
    must(fs_file_close(file));
}

static void check_discard(struct fs *fs, const char *root)
{
    char *path = mem_printf("%s/old", root), *other = mem_printf("%s/new", root);
    struct fs_file *file = new_large_file(fs, path);
    put(fs, other, "new", true);
    must(fs_rename(fs, other, path));
    must(fs_file_discard(file));
    assert_string_equal(get(fs, path), "new");
    must(fs_remove(fs, path));

    file = new_large_file(fs, path);
    must(fs_file_discard(file)); /* a name is left */
    check_large_file(open_file(fs, path, FS_WRITE));
    must(fs_remove(fs, path));
    free(path);
    free(other);
}

/* A hard link is a name; one who reads a file that was removed reads on. */
static void what_others_can_read_is_not_discarded(void **state)
{
    (void)state;
    char root[] = "/tmp/test-fs-XXXXXX";
    assert_non_null(mkdtemp(root));
    char *path = mem_printf("%s/old", root), *second = mem_printf("%s/link", root);
    struct fs_file *file = new_large_file(fs_real(), path);
    assert_int_equal(link(path, second), 0);
    must(fs_remove(fs_real(), path));
    must(fs_file_discard(file));
    check_large_file(open_file(fs_real(), second, FS_WRITE));

    file = open_file(fs_real(), second, FS_WRITE);
    struct fs_file *reader = open_file(fs_real(), second, FS_READ);
    must(fs_remove(fs_real(), second));
    must(fs_file_discard(file));
    check_large_file(reader);
    rmdir(root);
    free(path);
    free(second);
}

static bool early_discard_empties_the_file(uint64_t seed)
{
    struct fs_sim *sim = new_disk(seed);
    struct fs *fs = fs_sim_fs(sim);
    put(fs, "db", "old", true);
    must(fs_sync_directory(fs, ""));
    struct fs_file *file = open_file(fs, "db", FS_WRITE);
    put(fs, "copy", "new", true);
    must(fs_rename(fs, "copy", "db")); /* and no sync of the folder */
    must(fs_file_discard(file));
    fs_sim_crash(sim, FS_SIM_RANDOM);
    bool emptied = strcmp(get(fs, "db"), "") == 0;
    fs_sim_free(sim);
    return emptied;
}

static void discarded_too_early_a_file_may_come_back_empty(void **state)
{
    (void)state;
    unsigned emptied = 0;
    for (uint64_t seed = 1; seed <= 64; seed++) emptied += early_discard_empties_the_file(seed);
    assert_in_range(emptied, 1, 63);
}

static void both_disks_keep_the_rules_of_files(void **state)
{
    (void)state;
    char root[] = "/tmp/test-fs-XXXXXX";
    assert_non_null(mkdtemp(root));
    check_files(fs_real(), root);
    check_locks(fs_real(), root);
    check_discard(fs_real(), root);
    rmdir(root);
    struct fs_sim *sim = new_disk(1);
    check_files(fs_sim_fs(sim), "");
    check_locks(fs_sim_fs(sim), "");
    check_discard(fs_sim_fs(sim), "");
    fs_sim_free(sim);
}

static void a_file_larger_than_the_limit_is_not_read(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(1);
    put(fs_sim_fs(sim), "f", "12345", true);
    struct buf content = {0};
    must_fail(fs_read_file(fs_sim_fs(sim), "f", 4, &content), ERROR_LIMIT, "");
    must(fs_read_file(fs_sim_fs(sim), "f", 5, &content));
    assert_int_equal(content.size, 5);
    buf_deinit(&content);
    fs_sim_free(sim);
}

/* --- power cuts --- */

static void a_power_cut_loses_what_was_not_synced(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(2);
    struct fs *fs = fs_sim_fs(sim);
    put(fs, "synced", "old", true);
    put(fs, "nameless", "data", true);
    must(fs_sync_directory(fs, "/"));
    put(fs, "synced", "new value", false);
    must(fs_rename(fs, "nameless", "renamed"));
    put(fs, "late", "late", true); /* synced content, but its name was not */
    struct fs_sim *kept = fs_sim_clone(sim);
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_string_equal(get(fs, "synced"), "old");
    assert_string_equal(get(fs, "nameless"), "data");
    assert_string_equal(get(fs, "renamed"), "-");
    assert_string_equal(get(fs, "late"), "-");
    assert_int_equal(fs_sim_unsynced(sim), 0);
    fs_sim_free(sim);

    struct fs *other = fs_sim_fs(kept);
    assert_true(fs_sim_unsynced(kept) > 0);
    fs_sim_crash(kept, FS_SIM_KEEP_ALL);
    assert_string_equal(get(other, "synced"), "new value");
    assert_string_equal(get(other, "nameless"), "-");
    assert_string_equal(get(other, "renamed"), "data");
    assert_string_equal(get(other, "late"), "late");
    fs_sim_free(kept);
}

static void a_killed_process_loses_handles_and_locks_only(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(3);
    struct fs *fs = fs_sim_fs(sim);
    struct fs_file *file = open_file(fs, "f", FS_WRITE | FS_CREATE);
    must(fs_file_lock(file, FS_LOCK_SEGMENT));
    must(fs_file_pwrite(file, "abc", 3, 0));
    fs_sim_kill(sim);
    must_fail(fs_file_pwrite(file, "d", 1, 3), ERROR_IO, "");
    must_fail(fs_file_sync(file), ERROR_IO, "");
    assert_string_equal(get(fs, "f"), "abc");
    struct fs_file *next = open_file(fs, "f", FS_WRITE);
    must(fs_file_lock(next, FS_LOCK_SEGMENT));
    must(fs_file_close(file)); /* the dead handle does not drop the new one's lock */
    struct fs_file *third = open_file(fs, "f", FS_WRITE);
    must_fail(fs_file_lock(third, FS_LOCK_SEGMENT), ERROR_LOCKED, "");
    must(fs_file_close(third));
    must(fs_file_close(next));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_string_equal(get(fs, "f"), "-");
    fs_sim_free(sim);
}

enum { TORN_SECTORS = 4 };

/* One write over four synced sectors: after many crashes there must have been all, none and some. */
static void a_random_power_cut_tears_writes_at_sectors(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(4);
    struct fs *fs = fs_sim_fs(sim);
    uint8_t old[TORN_SECTORS * SECTOR], new[TORN_SECTORS * SECTOR], now[TORN_SECTORS * SECTOR];
    memset(old, 'o', sizeof(old));
    memset(new, 'n', sizeof(new));
    struct fs_file *file = open_file(fs, "f", FS_WRITE | FS_CREATE);
    must(fs_file_pwrite(file, old, sizeof(old), 0));
    must(fs_file_sync(file));
    must(fs_sync_directory(fs, "/"));
    must(fs_file_pwrite(file, new, sizeof(new), 0));
    must(fs_file_close(file));
    unsigned seen[TORN_SECTORS + 1] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fs_sim *branch = fs_sim_clone(sim);
        fs_sim_reseed(branch, seed);
        fs_sim_crash(branch, FS_SIM_RANDOM);
        file = open_file(fs_sim_fs(branch), "f", FS_READ);
        size_t got = 0, fresh = 0;
        must(fs_file_pread(file, now, sizeof(now), 0, &got));
        assert_int_equal(got, sizeof(now));
        for (size_t i = 0; i < TORN_SECTORS; i++) {
            const uint8_t *sector = now + i * SECTOR;
            bool is_new = memcmp(sector, new, SECTOR) == 0;
            assert_true(is_new || memcmp(sector, old, SECTOR) == 0);
            fresh += is_new;
        }
        seen[fresh]++;
        must(fs_file_close(file));
        fs_sim_free(branch);
    }
    assert_true(seen[0] > 40 && seen[TORN_SECTORS] > 40);
    assert_true(seen[1] > 0 && seen[2] > 0 && seen[3] > 0);
    fs_sim_free(sim);
}

/* A file that grew without sync: any size between, and never bytes that were not written. */
static void a_grown_file_may_keep_any_part_of_its_growth(void **state)
{
    (void)state;
    unsigned between = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct fs_sim *sim = new_disk(seed);
        struct fs_file *file = open_file(fs_sim_fs(sim), "f", FS_WRITE | FS_CREATE);
        must(fs_sync_directory(fs_sim_fs(sim), "/"));
        uint8_t data[5000];
        memset(data, 'x', sizeof(data));
        must(fs_file_pwrite(file, data, sizeof(data), 0));
        must(fs_file_close(file));
        fs_sim_crash(sim, FS_SIM_RANDOM);
        struct buf content = {0};
        must(fs_read_file(fs_sim_fs(sim), "f", sizeof(data), &content));
        for (size_t i = 0; i < content.size; i++) assert_true(content.data[i] == 'x' || content.data[i] == 0);
        between += content.size > 0 && content.size < sizeof(data);
        buf_deinit(&content);
        fs_sim_free(sim);
    }
    assert_true(between > 10);
}

static void a_lost_shrinking_brings_the_bytes_back(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(5);
    struct fs *fs = fs_sim_fs(sim);
    put(fs, "f", "0123456789", true);
    must(fs_sync_directory(fs, "/"));
    struct fs_file *file = open_file(fs, "f", FS_WRITE);
    must(fs_file_truncate(file, 0));
    must(fs_file_close(file));
    assert_string_equal(get(fs, "f"), "");
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_string_equal(get(fs, "f"), "0123456789");
    fs_sim_free(sim);
}

/* create a, create b, rename a to c: what survives is a prefix. */
static void names_survive_in_order(void **state)
{
    (void)state;
    unsigned seen[4] = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct fs_sim *sim = new_disk(seed);
        struct fs *fs = fs_sim_fs(sim);
        put(fs, "a", "a", true);
        put(fs, "b", "b", true);
        must(fs_rename(fs, "a", "c"));
        fs_sim_crash(sim, FS_SIM_RANDOM);
        bool a = false, b = false, c = false;
        must(fs_exists(fs, "a", &a));
        must(fs_exists(fs, "b", &b));
        must(fs_exists(fs, "c", &c));
        if (c) {
            assert_true(b && !a);
            seen[3]++;
        } else if (b) {
            assert_true(a);
            seen[2]++;
        } else {
            seen[a ? 1 : 0]++;
        }
        fs_sim_free(sim);
    }
    for (size_t i = 0; i < 4; i++) assert_true(seen[i] > 5);
}

/* Syncing one folder of a rename between two makes the rename durable in both, with what came before it. */
static void a_rename_between_folders_is_atomic(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(6);
    struct fs *fs = fs_sim_fs(sim);
    must(fs_make_directory(fs, "/one"));
    must(fs_make_directory(fs, "/two"));
    must(fs_sync_directory(fs, "/"));
    put(fs, "/one/f", "f", true);
    put(fs, "/two/g", "g", true);
    must(fs_rename(fs, "/one/f", "/two/f"));
    put(fs, "/one/h", "h", true);
    must(fs_sync_directory(fs, "/two"));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_string_equal(get(fs, "/one/f"), "-");
    assert_string_equal(get(fs, "/one/h"), "-");
    assert_string_equal(get(fs, "/two/f"), "f");
    assert_string_equal(get(fs, "/two/g"), "g");
    fs_sim_free(sim);
}

static void a_lost_folder_takes_its_files_along(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(7);
    struct fs *fs = fs_sim_fs(sim);
    must(fs_make_directory(fs, "/d/e"));
    put(fs, "/d/e/f", "f", true);
    must(fs_sync_directory(fs, "/d/e"));
    must(fs_sync_directory(fs, "/d"));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    bool exists = true;
    must(fs_exists(fs, "/d", &exists));
    assert_false(exists);
    fs_sim_free(sim);
}

/* --- faults --- */

static void after_the_cut_every_operation_fails(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(8);
    struct fs *fs = fs_sim_fs(sim);
    struct fs_file *file = open_file(fs, "f", FS_WRITE | FS_CREATE);
    uint64_t before = fs_sim_operations(sim);
    must(fs_file_pwrite(file, "1", 1, 0));
    assert_int_equal(fs_sim_operations(sim), before + 1);
    fs_sim_cut_power_after(sim, 1);
    must(fs_file_pwrite(file, "2", 1, 1));
    must_fail(fs_file_pwrite(file, "3", 1, 2), ERROR_IO, "");
    must_fail(fs_file_sync(file), ERROR_IO, "");
    struct fs_file *other = NULL;
    must_fail(fs_open(fs, "f", FS_READ, &other), ERROR_IO, "");
    must_fail(fs_make_directory(fs, "d"), ERROR_IO, "");
    must(fs_file_close(file));
    fs_sim_crash(sim, FS_SIM_KEEP_ALL);
    assert_string_equal(get(fs, "f"), "12");
    fs_sim_free(sim);
}

static bool count_and_cut(void *context, enum fs_sim_operation operation, const char *path)
{
    unsigned *left = context;
    assert_true(operation == FS_SIM_CREATE || operation == FS_SIM_WRITE || operation == FS_SIM_SYNC);
    assert_string_equal(path, "f");
    if (*left == 0) return false;
    (*left)--;
    return true;
}

static void a_hook_sees_and_stops_operations(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(9);
    unsigned left = 2;
    fs_sim_set_hook(sim, count_and_cut, &left);
    struct fs_file *file = open_file(fs_sim_fs(sim), "f", FS_WRITE | FS_CREATE);
    must(fs_file_pwrite(file, "1", 1, 0));
    must_fail(fs_file_sync(file), ERROR_IO, "");
    must(fs_file_close(file));
    fs_sim_free(sim);
}

static void faults_strike_where_and_when_asked(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(10);
    struct fs *fs = fs_sim_fs(sim);
    struct fs_file *wal = open_file(fs, "a.wal", FS_WRITE | FS_CREATE),
                   *snap = open_file(fs, "b.snap", FS_WRITE | FS_CREATE);
    fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_WRITE,
                                                 .pattern = "*.wal",
                                                 .skip = 1,
                                                 .times = 2,
                                                 .system = ENOSPC});
    must(fs_file_pwrite(wal, "x", 1, 0));
    must(fs_file_pwrite(snap, "x", 1, 0));
    must_fail(fs_file_pwrite(wal, "y", 1, 0), ERROR_NO_SPACE, "");
    must(fs_file_pwrite(snap, "y", 1, 0));
    must_fail(fs_file_pwrite(wal, "y", 1, 0), ERROR_NO_SPACE, "");
    must(fs_file_pwrite(wal, "z", 1, 0));
    assert_int_equal(fs_sim_faults_struck(sim), 2);
    fs_sim_clear_faults(sim);
    fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_ANY, .one_in = 2, .system = EIO});
    unsigned failed = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct error *error = fs_file_pwrite(wal, "x", 1, 0);
        failed += error != NULL;
        error_free(error);
    }
    assert_in_range(failed, 25, 75);
    must(fs_file_close(wal));
    must(fs_file_close(snap));
    fs_sim_free(sim);
}

static void a_short_write_leaves_a_part_and_an_error(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(11);
    struct fs_file *file = open_file(fs_sim_fs(sim), "f", FS_WRITE | FS_CREATE);
    fs_sim_add_fault(
        sim, &(struct fs_sim_fault){.operations = FS_SIM_WRITE, .times = 1, .system = EIO, .partial = true});
    uint8_t data[8 * SECTOR];
    memset(data, 'x', sizeof(data));
    must_fail(fs_file_pwrite(file, data, sizeof(data), 100), ERROR_IO, "");
    uint64_t size = 0;
    must(fs_file_size(file, &size));
    assert_in_range(size, 1, 8 * SECTOR);
    assert_int_equal(size % SECTOR, 0);
    must(fs_file_close(file));
    fs_sim_free(sim);
}

/* The page cache shows the data, a later sync says all is well, and the next power cut proves it wrong. */
static void a_failed_sync_forgets_data(void **state)
{
    (void)state;
    unsigned lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct fs_sim *sim = new_disk(seed);
        struct fs *fs = fs_sim_fs(sim);
        put(fs, "f", "old", true);
        must(fs_sync_directory(fs, "/"));
        fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_SYNC, .times = 1, .system = EIO});
        struct fs_file *file = open_file(fs, "f", FS_WRITE);
        must(fs_file_pwrite(file, "new", 3, 0));
        must_fail(fs_file_sync_data(file), ERROR_IO, "");
        must(fs_file_sync_data(file));
        assert_string_equal(get(fs, "f"), "new");
        must(fs_file_close(file));
        fs_sim_crash(sim, FS_SIM_KEEP_ALL);
        bool is_new = strcmp(get(fs, "f"), "new") == 0;
        kept += is_new;
        lost += !is_new;
        fs_sim_free(sim);
    }
    assert_true(lost > 3 && kept > 3);
}

static void a_full_disk_writes_what_fits(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 12, .capacity = 3 * 4096});
    struct fs *fs = fs_sim_fs(sim);
    struct fs_file *a = open_file(fs, "a", FS_WRITE | FS_CREATE),
                   *b = open_file(fs, "b", FS_WRITE | FS_CREATE);
    must(fs_file_allocate(a, 4097));
    assert_int_equal(fs_sim_used(sim), 2 * 4096);
    static const uint8_t data[5000];
    must_fail(fs_file_pwrite(b, data, sizeof(data), 0), ERROR_NO_SPACE, "");
    uint64_t size = 0;
    must(fs_file_size(b, &size));
    assert_int_equal(size, 4096);
    must_fail(fs_file_allocate(a, 3 * 4096), ERROR_NO_SPACE, "");
    must(fs_file_truncate(a, 0));
    must(fs_file_pwrite(b, data, sizeof(data), 0));
    fs_sim_set_capacity(sim, 0);
    must(fs_file_allocate(a, 1 << 20));
    must(fs_file_close(a));
    must(fs_file_close(b));
    fs_sim_free(sim);
}

static void a_flipped_bit_is_there_after_a_crash_too(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(13);
    struct fs *fs = fs_sim_fs(sim);
    put(fs, "f", "abc", true);
    must(fs_sync_directory(fs, "/"));
    assert_true(fs_sim_flip_bit(sim, "f", 1, 0));
    assert_false(fs_sim_flip_bit(sim, "f", 3, 0));
    assert_false(fs_sim_flip_bit(sim, "g", 0, 0));
    assert_string_equal(get(fs, "f"), "acc");
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_string_equal(get(fs, "f"), "acc");
    fs_sim_free(sim);
}

static void a_clone_goes_its_own_way(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(14);
    struct fs *fs = fs_sim_fs(sim);
    must(fs_make_directory(fs, "/d"));
    put(fs, "/d/f", "one", true);
    must(fs_sync_directory(fs, "/"));
    struct fs_file *removed = open_file(fs, "/d/gone", FS_WRITE | FS_CREATE);
    must(fs_remove(fs, "/d/gone"));
    struct fs_sim *clone = fs_sim_clone(sim);
    put(fs, "/d/f", "two", true);
    assert_string_equal(get(fs_sim_fs(clone), "/d/f"), "one");
    put(fs_sim_fs(clone), "/d/f", "three", true);
    assert_string_equal(get(fs, "/d/f"), "two");
    must(fs_file_close(removed));
    fs_sim_free(sim);
    assert_string_equal(get(fs_sim_fs(clone), "/d/f"), "three");
    fs_sim_free(clone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_disks_keep_the_rules_of_files),
        cmocka_unit_test(what_others_can_read_is_not_discarded),
        cmocka_unit_test(discarded_too_early_a_file_may_come_back_empty),
        cmocka_unit_test(a_file_larger_than_the_limit_is_not_read),
        cmocka_unit_test(a_power_cut_loses_what_was_not_synced),
        cmocka_unit_test(a_killed_process_loses_handles_and_locks_only),
        cmocka_unit_test(a_random_power_cut_tears_writes_at_sectors),
        cmocka_unit_test(a_grown_file_may_keep_any_part_of_its_growth),
        cmocka_unit_test(a_lost_shrinking_brings_the_bytes_back),
        cmocka_unit_test(names_survive_in_order),
        cmocka_unit_test(a_rename_between_folders_is_atomic),
        cmocka_unit_test(a_lost_folder_takes_its_files_along),
        cmocka_unit_test(after_the_cut_every_operation_fails),
        cmocka_unit_test(a_hook_sees_and_stops_operations),
        cmocka_unit_test(faults_strike_where_and_when_asked),
        cmocka_unit_test(a_short_write_leaves_a_part_and_an_error),
        cmocka_unit_test(a_failed_sync_forgets_data),
        cmocka_unit_test(a_full_disk_writes_what_fits),
        cmocka_unit_test(a_flipped_bit_is_there_after_a_crash_too),
        cmocka_unit_test(a_clone_goes_its_own_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
