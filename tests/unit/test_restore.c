/* A data directory made from a snapshot file, on a simulated disk. */
#include "base/buf.h"
#include "base/memory.h"
#include "bolt/bolt.h"
#include "member/member.h"
#include "member/migrate.h"
#include "member/restore.h"
#include "member/snapshot_file.h"
#include "raft/memory_storage.h"
#include "storage/fs_sim.h"
#include "tests/unit/backend_fixture.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 300, MAP_SIZE = 1 << 26 };

static const char *const saved = "/saved.db";
static const char *const two_members = "m1=http://127.0.0.1:2380,m2=http://127.0.0.1:2390";

static void sha1(struct bytes data, uint8_t digest[20])
{
    SHA1(data.data, data.size, digest);
}

static struct error *append_chunk(void *context, struct bytes chunk)
{
    buf_append_bytes(context, chunk);
    return NULL;
}

static void put_counter(struct backend *backend, struct bytes key, uint64_t value)
{
    uint8_t row[8];
    be64_put(row, value);
    backend_put(backend, BUCKET_META, key, bytes_of(row, sizeof(row)));
}

/* Row `main` is the key "k<main % 100>"; every hundredth one deletes its key. */
static void fill(struct backend *backend)
{
    for (uint8_t i = 0; i < 3; i++) backend_put(backend, BUCKET_ALARM, bytes_of(&i, 1), BYTES_EMPTY);
    for (uint64_t main = 2; main < ROWS + 2; main++) {
        uint8_t row[18] = {[8] = '_', [17] = 't'};
        struct buf value = {0};
        bool deletes = main % 100 == 0;
        be64_put(row, main);
        buf_printf(&value, "\n\x04k%03u", (unsigned)(main % 100));
        backend_put(backend, BUCKET_KEY, bytes_of(row, deletes ? 18 : 17), buf_bytes(&value));
        buf_deinit(&value);
    }
    backend_put(backend, BUCKET_MEMBERS, BYTES_LITERAL("abc"),
                BYTES_LITERAL("{\"id\":2748,\"peerURLs\":[\"http://old:2380\"],\"name\":\"old\"}"));
    backend_put(backend, BUCKET_MEMBERS_REMOVED, BYTES_LITERAL("def"), BYTES_LITERAL("removed"));
    backend_put(backend, BUCKET_CLUSTER, BYTES_LITERAL("clusterVersion"), BYTES_LITERAL("3.6.0"));
    backend_put(backend, BUCKET_META, BYTES_LITERAL("storageVersion"), BYTES_LITERAL("3.6.0"));
    put_counter(backend, BYTES_LITERAL("consistent_index"), 4711);
    put_counter(backend, BYTES_LITERAL("term"), 9);
}

static void write_file(struct fs *fs, const char *path, struct bytes content)
{
    struct fs_file *file;
    must(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file));
    must(fs_file_pwrite(file, content.data, content.size, 0));
    must(fs_file_sync(file));
    must(fs_file_close(file));
    must(fs_sync_directory(fs, "/"));
}

/* A disk with a snapshot on it, as a client saves it. */
static struct fs_sim *disk_with_snapshot(bool with_digest)
{
    struct fs_sim *disk = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = MAP_SIZE});
    struct fs *fs = fs_sim_fs(disk);
    struct backend *backend;
    struct backend_reader reader;
    struct buf image = {0};
    must(backend_open(fs, "/db", &(const struct backend_options){.initial_map_size = MAP_SIZE}, &backend));
    fill(backend);
    commit(backend);
    must(backend_read_begin(backend, &reader));
    must(bolt_write_to(reader.tx, append_chunk, &image));
    backend_read_end(&reader);
    must(backend_close(backend));
    if (with_digest) {
        uint8_t digest[SHA256_DIGEST_LENGTH];
        SHA256(image.data, image.size, digest);
        buf_append(&image, digest, sizeof(digest));
    }
    write_file(fs, saved, buf_bytes(&image));
    buf_deinit(&image);
    return disk;
}

static struct restore_options options_for(struct fs_sim *disk)
{
    return (struct restore_options){
        .snapshot = saved,
        .name = "m1",
        .data_directory = "/restored",
        .wal_directory = "",
        .initial_cluster = two_members,
        .initial_cluster_token = "token",
        .initial_advertise_peer_urls = "http://127.0.0.1:2380",
        .map_size = MAP_SIZE,
        .fs = fs_sim_fs(disk),
        .logger = &log_discard,
        .sha1 = sha1,
    };
}

static void open_restored(struct fs_sim *disk, struct member *member)
{
    const struct member_options options = {
        .name = "m1",
        .data_directory = "/restored",
        .wal_directory = "",
        .initial_cluster = "",
        .initial_cluster_token = "",
        .initial_advertise_peer_urls = "",
        .fs = fs_sim_fs(disk),
        .logger = &log_discard,
        .sha1 = sha1,
    };
    must(member_open(&options, member));
}

static uint64_t meta_counter(struct backend *backend, struct bytes key)
{
    bool found;
    struct bytes value;
    must(backend_get(backend, BUCKET_META, key, &found, &value));
    assert_true(found && value.size == 8);
    return be64_get(value.data);
}

static bool exists(struct fs_sim *disk, const char *path)
{
    bool found = false;
    must(fs_exists(fs_sim_fs(disk), path, &found));
    return found;
}

/* ---- */

static void the_status_counts_live_keys_and_names_the_version(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct snapshot_status status, again;
    must(snapshot_file_status(fs_sim_fs(disk), saved, &status));
    assert_int_equal(status.revision, ROWS + 1);
    assert_int_equal(status.keys, 99); /* k000 is deleted by the last row of it */
    assert_string_equal(status.version, "3.6.0");
    must(snapshot_file_status(fs_sim_fs(disk), "/db", &again));
    assert_int_equal(status.hash, again.hash);
    fs_sim_free(disk);
}

static void a_restored_directory_is_that_of_a_new_cluster_with_the_old_keys(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct restore_options options = options_for(disk);
    struct member member;
    struct version version;
    bool found;
    struct bytes value;
    must(member_restore(&options));
    fs_sim_crash(disk, FS_SIM_LOSE_ALL); /* it is durable */
    open_restored(disk, &member);
    assert_false(member.is_new);
    assert_int_equal(member.recovery.snapshot_index, 2);
    assert_int_equal(member.recovery.log->hard_state.commit, 2);
    assert_int_equal(member.recovery.log->hard_state.term, 1);
    assert_int_equal(backend_consistent_index(member.backend), 2);
    assert_int_equal(meta_counter(member.backend, BYTES_LITERAL("term")), 1);
    struct cluster *cluster = cluster_new(&(const struct cluster_options){.logger = NULL});
    must(cluster_load(cluster, member.backend));
    assert_int_equal(cluster_member_count(cluster), 2);
    assert_non_null(cluster_member(cluster, member.id));
    assert_string_equal(cluster_member(cluster, member.id)->name, "m1");
    assert_int_equal(cluster_removed_count(cluster), 0);
    assert_true(cluster_version(cluster, &version) && version.minor == 6);
    cluster_free(cluster);
    must(backend_get(member.backend, BUCKET_ALARM, BYTES_LITERAL("\1"), &found, &value));
    assert_true(found);
    must(member_close(&member));
    struct snapshot_status before, after;
    must(snapshot_file_status(fs_sim_fs(disk), saved, &before));
    must(snapshot_file_status(fs_sim_fs(disk), "/restored/member/snap/db", &after));
    assert_int_equal(before.revision, after.revision);
    assert_int_equal(before.keys, after.keys);
    fs_sim_free(disk);
}

static void all_members_restored_from_one_file_are_of_one_cluster(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct restore_options options = options_for(disk);
    struct member first, second;
    must(member_restore(&options));
    open_restored(disk, &first);
    uint64_t id = first.id, cluster_id = first.cluster_id;
    must(member_close(&first));
    must(fs_remove_tree(fs_sim_fs(disk), "/restored"));
    options.name = "m2";
    options.initial_advertise_peer_urls = "http://127.0.0.1:2390";
    must(member_restore(&options));
    open_restored(disk, &second);
    assert_int_equal(second.cluster_id, cluster_id);
    assert_int_not_equal(second.id, id);
    must(member_close(&second));
    fs_sim_free(disk);
}

static void a_raised_revision_is_the_newest_and_compacted(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct restore_options options = options_for(disk);
    struct snapshot_status status;
    struct member member;
    options.bump_revision = 1000000;
    must(member_restore(&options));
    must(snapshot_file_status(fs_sim_fs(disk), "/restored/member/snap/db", &status));
    assert_int_equal(status.revision, ROWS + 1 + 1000000);
    open_restored(disk, &member);
    assert_int_equal(meta_counter(member.backend, BYTES_LITERAL("consistent_index")), 2);
    bool found;
    struct bytes value;
    must(backend_get(member.backend, BUCKET_META, BYTES_LITERAL("scheduledCompactRev"), &found, &value));
    assert_true(found && value.size == 17 && be64_get(value.data) == ROWS + 1 + 1000000);
    must(member_close(&member));
    options.data_directory = "/other";
    options.bump_revision = INT64_MAX;
    must_fail(member_restore(&options), ERROR_INVALID, "cannot be raised");
    fs_sim_free(disk);
}

/* Every refusal names the reason, and leaves nothing behind. */
static void what_is_wrong_is_refused_by_name(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct restore_options options = options_for(disk);
    options.name = "m3";
    must_fail(member_restore(&options), ERROR_INVALID,
              "couldn't find local name \"m3\" in the initial cluster configuration");
    options = options_for(disk);
    options.initial_advertise_peer_urls = "http://127.0.0.1:1";
    must_fail(member_restore(&options), ERROR_INVALID, "missing from --initial-advertise-peer-urls");
    options = options_for(disk);
    options.snapshot = "/none";
    must_fail(member_restore(&options), ERROR_NOT_FOUND, "open /none: no such file or directory");
    assert_false(exists(disk, "/restored"));
    options = options_for(disk);
    assert_true(fs_sim_flip_bit(disk, saved, 9000, 3));
    must_fail(member_restore(&options), ERROR_CORRUPT, "expected sha256 [");
    assert_true(fs_sim_flip_bit(disk, saved, 9000, 3));
    must(member_restore(&options));
    must_fail(member_restore(&options), ERROR_EXISTS,
              "data-dir \"/restored\" not empty or could not be read");
    options.data_directory = "/other";
    options.wal_directory = "/restored";
    must_fail(member_restore(&options), ERROR_EXISTS, "wal-dir \"/restored\" exists");
    fs_sim_free(disk);
}

static void a_file_without_digest_is_taken_only_on_demand_and_then_checked(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(false);
    struct restore_options options = options_for(disk);
    must_fail(member_restore(&options), ERROR_CORRUPT, "snapshot missing hash but --skip-hash-check=false");
    options.skip_hash_check = true;
    must(member_restore(&options));
    struct buf content = {0};
    must(fs_read_file(fs_sim_fs(disk), saved, MAP_SIZE, &content));
    write_file(fs_sim_fs(disk), saved, bytes_of(content.data, content.size / 2));
    buf_deinit(&content);
    options.data_directory = "/other";
    must_fail(member_restore(&options), ERROR_CORRUPT, "invalid database");
    assert_false(exists(disk, "/other"));
    struct snapshot_status status;
    must_fail(snapshot_file_status(fs_sim_fs(disk), saved, &status), ERROR_CORRUPT, "invalid database");
    fs_sim_free(disk);
}

/* The only member's file has one wrong bit: whoever asks for it gets all the rest. */
static void a_damaged_row_is_noticed_and_the_rest_saved_on_demand(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(false);
    struct fs *fs = fs_sim_fs(disk);
    struct restore_options options = options_for(disk);
    struct snapshot_status status;
    struct buf content = {0};
    struct backend *backend;
    must(fs_read_file(fs, saved, MAP_SIZE, &content));
    const uint8_t *row = memmem(content.data, content.size, "k007", 4);
    assert_non_null(row);
    assert_true(fs_sim_flip_bit(disk, saved, (uint64_t)(row - content.data), 3));
    buf_deinit(&content);
    must_fail(snapshot_file_status(fs, saved, &status), ERROR_CORRUPT, "the checksum of all rows");
    must_fail(backend_open(fs, saved, &(const struct backend_options){.initial_map_size = MAP_SIZE},
                           &backend),
              ERROR_CORRUPT, "open /saved.db: its rows are not those that were written");
    options.skip_hash_check = true;
    must(member_restore(&options));
    must(backend_open(fs, "/restored/member/snap/db",
                      &(const struct backend_options){.initial_map_size = MAP_SIZE}, &backend));
    must(backend_close(backend));
    fs_sim_free(disk);
}

/* A power cut leaves a whole directory, or one that no server takes for a member's. */
static bool try_power_cut(void *context, enum fs_sim_operation operation, const char *name)
{
    struct fs_sim **disk = context;
    (void)operation;
    (void)name;
    struct fs_sim *clone = fs_sim_clone(*disk);
    fs_sim_crash(clone, FS_SIM_RANDOM);
    bool has_log = false;
    must(wal_exists(fs_sim_fs(clone), "/restored/member/wal", &has_log));
    if (has_log) {
        struct member member;
        open_restored(clone, &member);
        assert_int_equal(backend_consistent_index(member.backend), 2);
        must(member_close(&member));
    }
    fs_sim_free(clone);
    return true;
}

static void a_power_cut_leaves_all_or_no_log(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct restore_options options = options_for(disk);
    fs_sim_set_hook(disk, try_power_cut, &disk);
    must(member_restore(&options));
    fs_sim_set_hook(disk, NULL, NULL);
    struct member member;
    open_restored(disk, &member);
    must(member_close(&member));
    fs_sim_free(disk);
}

static void a_failing_disk_leaves_nothing(void **state)
{
    (void)state;
    bool done = false;
    for (uint64_t skip = 0; !done; skip++) {
        struct fs_sim *disk = disk_with_snapshot(true);
        struct restore_options options = options_for(disk);
        fs_sim_add_fault(disk, &(struct fs_sim_fault){
                                   .operations = FS_SIM_CHANGES, .skip = skip, .times = 1, .system = ENOSPC});
        struct error *error = member_restore(&options);
        done = fs_sim_faults_struck(disk) == 0;
        fs_sim_clear_faults(disk);
        if (error != NULL) assert_false(exists(disk, "/restored"));
        error_free(error);
        struct snapshot_status status;
        must(snapshot_file_status(fs_sim_fs(disk), saved, &status));
        fs_sim_free(disk);
        assert_true(skip < 200);
    }
}

static void the_storage_version_goes_down_and_up_again(void **state)
{
    (void)state;
    struct fs_sim *disk = disk_with_snapshot(true);
    struct fs *fs = fs_sim_fs(disk);
    struct restore_options options = options_for(disk);
    struct snapshot_status status;
    must(member_restore(&options));
    must_fail(member_migrate(fs, "/restored", version_of(3, 7), false, &log_discard), ERROR_INVALID,
              "version \"3.7.0\" is not supported");
    must(member_migrate(fs, "/restored", version_of(3, 5), false, &log_discard));
    must(snapshot_file_status(fs, "/restored/member/snap/db", &status));
    assert_string_equal(status.version, "");
    must(member_migrate(fs, "/restored", version_of(3, 5), false, &log_discard));
    must(member_migrate(fs, "/restored", version_of(3, 6), false, &log_discard));
    must(snapshot_file_status(fs, "/restored/member/snap/db", &status));
    assert_string_equal(status.version, "3.6.0");
    must(member_migrate(fs, "/restored", version_of(3, 7), true, &log_discard));
    must(snapshot_file_status(fs, "/restored/member/snap/db", &status));
    assert_string_equal(status.version, "3.7.0");
    must_fail(member_migrate(fs, "/none", version_of(3, 6), false, &log_discard), ERROR_NOT_FOUND,
              "stat /none/member/snap/db: no such file or directory");
    fs_sim_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_counts_live_keys_and_names_the_version),
        cmocka_unit_test(a_restored_directory_is_that_of_a_new_cluster_with_the_old_keys),
        cmocka_unit_test(all_members_restored_from_one_file_are_of_one_cluster),
        cmocka_unit_test(a_raised_revision_is_the_newest_and_compacted),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
        cmocka_unit_test(a_file_without_digest_is_taken_only_on_demand_and_then_checked),
        cmocka_unit_test(a_damaged_row_is_noticed_and_the_rest_saved_on_demand),
        cmocka_unit_test(a_power_cut_leaves_all_or_no_log),
        cmocka_unit_test(a_failing_disk_leaves_nothing),
        cmocka_unit_test(the_storage_version_goes_down_and_up_again),
    };
    return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
