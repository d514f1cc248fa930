/* Snapshot files: etcd's bytes, what is loaded when some are damaged, and purging. */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "storage/fs_sim.h"
#include "storage/snap.h"
#include "tests/unit/expect.h"

#include <errno.h>
#include <stdlib.h>

static const char directory[] = "/data/member/snap";

static struct fs_sim *new_disk(void)
{
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    must(fs_make_directory(fs_sim_fs(sim), directory));
    must(fs_sync_directory(fs_sim_fs(sim), "/"));
    must(fs_sync_directory(fs_sim_fs(sim), "/data"));
    must(fs_sync_directory(fs_sim_fs(sim), "/data/member"));
    return sim;
}

static struct snap_options options_of(struct fs_sim *sim)
{
    return (struct snap_options){.fs = fs_sim_fs(sim), .logger = &log_discard};
}

static struct raft_snapshot snapshot_of(uint64_t term, uint64_t index, const char *data)
{
    struct raft_snapshot snapshot = {.term = term,
                                     .index = index,
                                     .data = blob_from(bytes_from_string(data))};
    raft_ids_append(&snapshot.conf_state.voters, 0x8a8f822349c42c31);
    return snapshot;
}

static void save(const struct snap_options *options, uint64_t term, uint64_t index, const char *data)
{
    struct raft_snapshot snapshot = snapshot_of(term, index, data);
    must(snap_save(options, directory, &snapshot));
    raft_snapshot_deinit(&snapshot);
}

static bool exists(struct fs *fs, const char *name)
{
    char *path = mem_printf("%s/%s", directory, name);
    bool found = false;
    must(fs_exists(fs, path, &found));
    free(path);
    return found;
}

static void append_hex(struct buf *out, const char *hex)
{
    for (; *hex != '\0'; hex += 2) {
        char digits[3] = {hex[0], hex[1], '\0'};
        buf_append_byte(out, (uint8_t)strtoul(digits, NULL, 16));
    }
}

/* crc, then data {data, metadata {conf state {voters, auto_leave}, index, term}}: zeros are written too. */
static void a_file_has_etcds_bytes(void **state)
{
    (void)state;
    struct buf data = {0}, expected = {0}, written = {0};
    append_hex(&data, "0a027b7d"
                      "12130a0d08b1d890ceb4c4e0c78a01280010061802");
    append_hex(&expected, "08");
    uint32_t crc = crc32c(0, data.data, data.size);
    for (uint32_t rest = crc;; rest >>= 7) {
        buf_append_byte(&expected, (uint8_t)(rest < 0x80 ? rest : (rest & 0x7f) | 0x80));
        if (rest < 0x80) break;
    }
    append_hex(&expected, "1219");
    buf_append_bytes(&expected, buf_bytes(&data));
    struct raft_snapshot snapshot = snapshot_of(2, 6, "{}"), decoded = {0};
    snap_encode(&written, &snapshot);
    assert_true(bytes_equal(buf_bytes(&written), buf_bytes(&expected)));
    must(snap_decode(&decoded, buf_bytes(&expected)));
    assert_int_equal(decoded.term, 2);
    assert_int_equal(decoded.index, 6);
    assert_int_equal(decoded.conf_state.voters.count, 1);
    assert_int_equal(decoded.conf_state.voters.items[0], 0x8a8f822349c42c31);
    assert_true(bytes_equal(blob_bytes(decoded.data), BYTES_LITERAL("{}")));
    raft_snapshot_deinit(&snapshot);
    raft_snapshot_deinit(&decoded);
    buf_deinit(&data);
    buf_deinit(&expected);
    buf_deinit(&written);
}

static void damaged_content_is_told_apart(void **state)
{
    (void)state;
    struct raft_snapshot snapshot = snapshot_of(2, 6, "some data"), decoded = {0};
    struct buf content = {0};
    must_fail(snap_decode(&decoded, BYTES_EMPTY), ERROR_CORRUPT, "snap: empty snapshot");
    must_fail(snap_decode(&decoded, BYTES_LITERAL("\x08\x05")), ERROR_CORRUPT, "snap: empty snapshot");
    must_fail(snap_decode(&decoded, BYTES_LITERAL("\x08\x00\x12\x01x")), ERROR_CORRUPT,
              "snap: empty snapshot");
    must_fail(snap_decode(&decoded, BYTES_LITERAL("\x08")), ERROR_CORRUPT, "snap: malformed");
    snap_encode(&content, &snapshot);
    for (size_t i = 8; i < content.size; i++) {
        content.data[i] ^= 0x10;
        must_fail(snap_decode(&decoded, buf_bytes(&content)), ERROR_CORRUPT, "snap: crc mismatch");
        content.data[i] ^= 0x10;
    }
    for (size_t size = 0; size < content.size; size++)
        must_fail(snap_decode(&decoded, bytes_of(content.data, size)), ERROR_CORRUPT, "snap: ");
    must(snap_decode(&decoded, buf_bytes(&content)));
    raft_snapshot_deinit(&decoded);
    raft_snapshot_deinit(&snapshot);
    buf_deinit(&content);
}

static void the_newest_readable_and_recorded_snapshot_is_loaded(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk();
    struct snap_options options = options_of(sim);
    struct raft_snapshot found = {0};
    bool is_found = true;
    uint64_t newest = 7;
    must(snap_load_newest(&options, directory, NULL, &found, &is_found));
    assert_false(is_found);
    must(snap_newest_index(&options, directory, &newest));
    assert_int_equal(newest, 0);
    save(&options, 1, 9, "old");
    save(&options, 2, 5, "older index, newer term");
    save(&options, 2, 12, "unrecorded");
    save(&options, 3, 20, "damaged");
    assert_true(fs_sim_flip_bit(sim, "/data/member/snap/0000000000000003-0000000000000014.snap", 20, 1));

    must(snap_newest_index(&options, directory, &newest));
    assert_int_equal(newest, 20);

    struct wal_snapshot valid[] = {{.term = 0, .index = 0},
                                   {.term = 1, .index = 9},
                                   {.term = 2, .index = 5},
                                   {.term = 3, .index = 20}};
    struct wal_snapshots snapshots = {.items = valid, .count = 4};
    must(snap_load_newest(&options, directory, &snapshots, &found, &is_found));
    assert_true(is_found);
    assert_int_equal(found.term, 2);
    assert_int_equal(found.index, 5);
    assert_false(exists(options.fs, "0000000000000003-0000000000000014.snap"));
    assert_true(exists(options.fs, "0000000000000003-0000000000000014.snap.broken"));
    assert_true(exists(options.fs, "0000000000000002-000000000000000c.snap"));
    raft_snapshot_deinit(&found);

    found = (struct raft_snapshot){0};
    must(snap_load_newest(&options, directory, NULL, &found, &is_found));
    assert_int_equal(found.index, 12);
    raft_snapshot_deinit(&found);
    snapshots.count = 1;
    found = (struct raft_snapshot){0};
    must(snap_load_newest(&options, directory, &snapshots, &found, &is_found));
    assert_false(is_found);
    assert_int_equal(found.index, 0);
    fs_sim_free(sim);
}

/* A disk that cannot be read is not a broken file. */
static void a_failing_disk_renames_nothing(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk();
    struct snap_options options = options_of(sim);
    struct raft_snapshot found = {0};
    bool is_found = true;
    save(&options, 1, 9, "data");
    fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_READ, .system = EIO});
    must_fail(snap_load_newest(&options, directory, NULL, &found, &is_found), ERROR_IO,
              "0000000000000001-0000000000000009.snap");
    assert_false(is_found);
    assert_true(exists(options.fs, "0000000000000001-0000000000000009.snap"));
    fs_sim_free(sim);
}

static void a_saved_snapshot_survives_a_power_cut(void **state)
{
    (void)state;
    bool whole = false;
    uint64_t operation = 0;
    for (; !whole; operation++) {
        struct fs_sim *sim = new_disk();
        struct snap_options options = options_of(sim);
        save(&options, 1, 1, "first");
        struct raft_snapshot second = snapshot_of(1, 2, "second"), found = {0};
        fs_sim_cut_power_after(sim, operation);
        struct error *error = snap_save(&options, directory, &second);
        whole = error == NULL;
        error_free(error);
        raft_snapshot_deinit(&second);
        for (uint64_t seed = 0; seed < 10; seed++) {
            struct fs_sim *branch = fs_sim_clone(sim);
            options = options_of(branch);
            fs_sim_reseed(branch, seed);
            fs_sim_crash(branch, seed == 0 ? FS_SIM_LOSE_ALL : FS_SIM_RANDOM);
            bool is_found = false;
            must(snap_load_newest(&options, directory, NULL, &found, &is_found));
            assert_true(is_found);
            if (whole) assert_int_equal(found.index, 2);
            raft_snapshot_deinit(&found);
            found = (struct raft_snapshot){0};
            fs_sim_free(branch);
        }
        fs_sim_free(sim);
    }
    assert_int_equal(operation, 5); /* create, write, sync, sync of the folder; and once uncut */
}

static void a_failed_save_leaves_no_file(void **state)
{
    (void)state;
    static const struct {
        unsigned operation;
        int system;
        enum error_kind kind;
    } cases[] = {{FS_SIM_WRITE, ENOSPC, ERROR_NO_SPACE},
                 {FS_SIM_SYNC, EIO, ERROR_IO},
                 {FS_SIM_CREATE, ENOSPC, ERROR_NO_SPACE}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fs_sim *sim = new_disk();
        struct snap_options options = options_of(sim);
        struct raft_snapshot snapshot = snapshot_of(1, 2, "data");
        fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = cases[i].operation,
                                                     .times = 1,
                                                     .system = cases[i].system,
                                                     .partial = true});
        must_fail(snap_save(&options, directory, &snapshot), cases[i].kind,
                  "0000000000000001-0000000000000002.snap");
        assert_false(exists(options.fs, "0000000000000001-0000000000000002.snap"));
        raft_snapshot_deinit(&snapshot);
        fs_sim_free(sim);
    }
}

static void an_empty_snapshot_is_not_saved(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk();
    struct snap_options options = options_of(sim);
    struct raft_snapshot empty = {0};
    uint64_t before = fs_sim_operations(sim);
    must(snap_save(&options, directory, &empty));
    assert_int_equal(fs_sim_operations(sim), before);
    fs_sim_free(sim);
}

static void touch(struct fs *fs, const char *name)
{
    char *path = mem_printf("%s/%s", directory, name);
    struct fs_file *file = NULL;
    must(fs_open(fs, path, FS_WRITE | FS_CREATE, &file));
    must(fs_file_close(file));
    free(path);
}

static void the_oldest_are_purged(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk();
    struct snap_options options = options_of(sim);
    touch(options.fs, "db");
    for (uint64_t i = 1; i <= 7; i++) {
        save(&options, 1, i, "data");
        char *path = snap_database_path(directory, i);
        touch(options.fs, strrchr(path, '/') + 1);
        free(path);
    }
    size_t removed = 0;
    must(snap_purge(&options, directory, 0, &removed));
    assert_int_equal(removed, 0);
    must(snap_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 2);
    assert_false(exists(options.fs, "0000000000000001-0000000000000002.snap"));
    assert_true(exists(options.fs, "0000000000000001-0000000000000003.snap"));
    assert_true(exists(options.fs, "0000000000000001.snap.db"));
    must(snap_purge_databases(&options, directory, 6, &removed));
    assert_int_equal(removed, 1);
    assert_false(exists(options.fs, "0000000000000001.snap.db"));
    must(snap_release_databases(&options, directory, 4));
    assert_false(exists(options.fs, "0000000000000003.snap.db"));
    assert_true(exists(options.fs, "0000000000000004.snap.db"));
    assert_true(exists(options.fs, "db"));
    fs_sim_free(sim);
}

static void write_image(struct fs *fs, const char *path, const char *content)
{
    struct fs_file *file = NULL;
    must(fs_open(fs, path, FS_WRITE | FS_CREATE, &file));
    must(fs_file_pwrite(file, content, strlen(content), 0));
    must(fs_file_close(file));
}

static void must_hold(struct fs *fs, const char *path, const char *content)
{
    struct buf found = {0};
    must(fs_read_file(fs, path, 100, &found));
    assert_true(bytes_equal(buf_bytes(&found), bytes_from_string(content)));
    buf_deinit(&found);
}

static void a_received_image_survives_a_power_cut(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk();
    struct snap_options options = options_of(sim);
    write_image(options.fs, "/data/member/snap/tmp1", "image");
    must(snap_receive_database(&options, directory, "/data/member/snap/tmp1", 0x45));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    assert_false(exists(options.fs, "tmp1"));
    must_hold(options.fs, "/data/member/snap/0000000000000045.snap.db", "image");
    fs_sim_free(sim);
}

/* The first one may be on its way into the backend. */
static void a_received_image_does_not_replace_one_of_the_same_index(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk();
    struct snap_options options = options_of(sim);
    write_image(options.fs, "/data/member/snap/tmp1", "first");
    must(snap_receive_database(&options, directory, "/data/member/snap/tmp1", 0x45));
    write_image(options.fs, "/data/member/snap/tmp2", "second");
    must(snap_receive_database(&options, directory, "/data/member/snap/tmp2", 0x45));
    assert_false(exists(options.fs, "tmp2"));
    must_hold(options.fs, "/data/member/snap/0000000000000045.snap.db", "first");
    fs_sim_free(sim);
}

static void names_are_read_as_they_are_made(void **state)
{
    (void)state;
    uint64_t term = 0, index = 0;
    char *path = snap_path(directory, 0xab, UINT64_MAX);
    assert_string_equal(path, "/data/member/snap/00000000000000ab-ffffffffffffffff.snap");
    assert_true(snap_parse_name(strrchr(path, '/') + 1, &term, &index));
    assert_int_equal(term, 0xab);
    assert_true(index == UINT64_MAX);
    free(path);
    path = snap_database_path(directory, 0x45);
    assert_string_equal(path, "/data/member/snap/0000000000000045.snap.db");
    assert_true(snap_parse_database_name(strrchr(path, '/') + 1, &index));
    assert_int_equal(index, 0x45);
    free(path);
    assert_false(snap_parse_name("0000000000000045.snap.db", &term, &index));
    assert_false(snap_parse_name("00000000000000ab-ffffffffffffffff.snap.broken", &term, &index));
    assert_false(snap_parse_name("00000000000000ab-fffffffffffffff.snap", &term, &index));
    assert_false(snap_parse_database_name("45.snap.db", &index));
    assert_false(snap_parse_database_name("", &index));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_has_etcds_bytes),
        cmocka_unit_test(damaged_content_is_told_apart),
        cmocka_unit_test(the_newest_readable_and_recorded_snapshot_is_loaded),
        cmocka_unit_test(a_failing_disk_renames_nothing),
        cmocka_unit_test(a_saved_snapshot_survives_a_power_cut),
        cmocka_unit_test(a_failed_save_leaves_no_file),
        cmocka_unit_test(an_empty_snapshot_is_not_saved),
        cmocka_unit_test(the_oldest_are_purged),
        cmocka_unit_test(a_received_image_survives_a_power_cut),
        cmocka_unit_test(a_received_image_does_not_replace_one_of_the_same_index),
        cmocka_unit_test(names_are_read_as_they_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
