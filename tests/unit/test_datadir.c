/* The data directory: its layout, its modes, and what is swept away at a start. */
#include "base/memory.h"
#include "storage/datadir.h"
#include "storage/fs_sim.h"
#include "tests/unit/expect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool exists(struct fs *fs, const char *path)
{
    bool found = false;
    must(fs_exists(fs, path, &found));
    return found;
}

static void touch(struct fs *fs, const char *path)
{
    struct fs_file *file = NULL;
    must(fs_open(fs, path, FS_WRITE | FS_CREATE, &file));
    must(fs_file_close(file));
}

static void paths_are_etcds(void **state)
{
    (void)state;
    struct datadir datadir;
    datadir_init(&datadir, "m1.etcd", NULL);
    assert_string_equal(datadir.member, "m1.etcd/member");
    assert_string_equal(datadir.wal, "m1.etcd/member/wal");
    assert_string_equal(datadir.snap, "m1.etcd/member/snap");
    assert_string_equal(datadir.database, "m1.etcd/member/snap/db");
    datadir_deinit(&datadir);
    datadir_init(&datadir, "m1.etcd", "/fast/log//");
    assert_string_equal(datadir.wal, "/fast/log");
    datadir_deinit(&datadir);
}

static void a_new_directory_survives_a_power_cut(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    struct fs *fs = fs_sim_fs(sim);
    struct datadir datadir;
    datadir_init(&datadir, "/var/lib/etcd/m1", "/fast/disk/log");
    must(datadir_create(&datadir, fs, &log_discard));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_true(exists(fs, "/var/lib/etcd/m1/member/snap"));
    assert_true(exists(fs, "/fast/disk"));
    assert_false(exists(fs, "/fast/disk/log")); /* wal_create's to make */
    assert_false(exists(fs, "/var/lib/etcd/m1/member/wal"));
    assert_false(exists(fs, "/var/lib/etcd/m1/member/.touch"));
    must(datadir_create(&datadir, fs, &log_discard));
    datadir_deinit(&datadir);
    fs_sim_free(sim);
}

static void an_unwritable_directory_is_named(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    struct fs *fs = fs_sim_fs(sim);
    struct datadir datadir;
    datadir_init(&datadir, "/d", NULL);
    must(datadir_create(&datadir, fs, &log_discard));
    fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_CREATE,
                                                 .pattern = "/d/.touch",
                                                 .times = 1,
                                                 .system = EROFS});
    must_fail(datadir_create(&datadir, fs, &log_discard), ERROR_IO,
              "cannot access data directory: open /d/.touch");
    fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_CREATE,
                                                 .pattern = "*/member/.touch",
                                                 .times = 1,
                                                 .system = EACCES});
    must_fail(datadir_create(&datadir, fs, &log_discard), ERROR_IO, "cannot access member directory: ");
    datadir_deinit(&datadir);
    fs_sim_free(sim);
}

static void two_members_may_probe_one_directory(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    struct fs *fs = fs_sim_fs(sim);
    struct datadir datadir;
    datadir_init(&datadir, "/d", NULL);
    fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_REMOVE,
                                                 .pattern = "/d/.touch",
                                                 .times = 1,
                                                 .system = ENOENT});
    must(datadir_create(&datadir, fs, &log_discard));
    assert_int_equal(fs_sim_faults_struck(sim), 1);
    datadir_deinit(&datadir);
    fs_sim_free(sim);
}

static void leftovers_are_removed_and_nothing_else(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    struct fs *fs = fs_sim_fs(sim);
    struct datadir datadir;
    datadir_init(&datadir, "/d", NULL);
    must(datadir_create(&datadir, fs, &log_discard));
    static const char *const leftovers[] = {"/d/member/snap/tmp123", "/d/member/snap/db.tmp.456"};
    static const char *const others[] = {"/d/member/snap/db",
                                         "/d/member/snap/0000000000000001-0000000000000002.snap",
                                         "/d/member/snap/0000000000000002.snap.db", "/d/member/tmp1"};
    for (size_t i = 0; i < 2; i++) touch(fs, leftovers[i]);
    for (size_t i = 0; i < 4; i++) touch(fs, others[i]);
    must(fs_make_directory(fs, "/d/member/wal.tmp"));
    touch(fs, "/d/member/wal.tmp/0000000000000000-0000000000000000.wal");
    must(datadir_remove_leftovers(&datadir, fs, &log_discard));
    for (size_t i = 0; i < 2; i++) assert_false(exists(fs, leftovers[i]));
    for (size_t i = 0; i < 4; i++) assert_true(exists(fs, others[i]));
    assert_false(exists(fs, "/d/member/wal.tmp"));
    datadir_deinit(&datadir);
    fs_sim_free(sim);
}

static void emptiness_is_seen(void **state)
{
    (void)state;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    struct fs *fs = fs_sim_fs(sim);
    bool empty = false;
    must(datadir_is_empty(fs, "/missing", &empty));
    assert_true(empty);
    must(fs_make_directory(fs, "/d"));
    must(datadir_is_empty(fs, "/d", &empty));
    assert_true(empty);
    touch(fs, "/d/file");
    must(datadir_is_empty(fs, "/d", &empty));
    assert_false(empty);
    must_fail(datadir_is_empty(fs, "/d/file", &empty), ERROR_IO, "/d/file");
    fs_sim_free(sim);
}

static void keep_text(void *context, const struct log_record *record)
{
    char **text = context;
    free(*text);
    *text = mem_strdup(record->fields[0].string);
}

static void open_folders_are_warned_of(void **state)
{
    (void)state;
    char root[] = "/tmp/test-datadir-XXXXXX";
    assert_non_null(mkdtemp(root));
    char *text = NULL;
    struct logger logger = {.level = LOG_WARN, .emit = keep_text, .context = &text};
    struct datadir datadir;
    datadir_init(&datadir, root, NULL);
    must(datadir_create(&datadir, fs_real(), &logger));
    assert_null(text);
    assert_int_equal(chmod(root, 0755), 0);
    must(datadir_create(&datadir, fs_real(), &logger));
    char *expected = mem_printf(
        "directory \"%s\" exist, but the permission is \"drwxr-xr-x\". The recommended permission is "
        "\"-rwx------\" to prevent possible unprivileged access to the data",
        root);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(expected);
    free(text);
    must(fs_remove_tree(fs_real(), root));
    datadir_deinit(&datadir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_etcds),
        cmocka_unit_test(a_new_directory_survives_a_power_cut),
        cmocka_unit_test(an_unwritable_directory_is_named),
        cmocka_unit_test(two_members_may_probe_one_directory),
        cmocka_unit_test(leftovers_are_removed_and_nothing_else),
        cmocka_unit_test(emptiness_is_seen),
        cmocka_unit_test(open_folders_are_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
