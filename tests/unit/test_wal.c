/* The write-ahead log: etcd's bytes, finding and naming of segments, saving, snapshots, purging. */
#include "base/buf.h"
#include "storage/wal_record.h"
#include "tests/unit/wal_fixture.h"

#include <stdlib.h>

/* --- the format --- */

/* The head of a new member's log, as etcd 3.5.30 wrote it. */
static const char example_metadata[] = "08b1d890ceb4c4e0c78a0110b3b59fb08189a7c1f201";
static const char example_json[] =
    "{\"id\":9984341986976738353,\"peerURLs\":[\"http://127.0.0.1:21101\"],\"name\":\"m1\"}";
static const char example_head[] = "0400000000000084"
                                   "08041000"
                                   "00000000"
                                   "2000000000000000"
                                   "080110a28c8c95021a16"
                                   "08b1d890ceb4c4e0c78a0110b3b59fb08189a7c1f201"
                                   "0e00000000000082"
                                   "080510f6aff1c9041a04"
                                   "08001000"
                                   "0000"
                                   "6f00000000000081"
                                   "080210edbcf2e6091a65"
                                   "080110011801225d"
                                   "0800100018b1d890ceb4c4e0c78a01224c";
static const char example_state[] = "00"
                                    "1000000000000000"
                                    "080310b9f2f8a2071a06"
                                    "080110001801";

static void append_hex(struct buf *out, const char *hex)
{
    for (; *hex != '\0'; hex += 2) {
        char digits[3] = {hex[0], hex[1], '\0'};
        buf_append_byte(out, (uint8_t)strtoul(digits, NULL, 16));
    }
}

static void make_example(struct buf *out)
{
    append_hex(out, example_head);
    buf_append_string(out, example_json);
    append_hex(out, example_state);
    assert_int_equal(out->size, 0xc8 + 24);
}

/* The entry of the example: the member's own addition. */
static struct raft_entry example_entry(void)
{
    struct buf data = {0};
    append_hex(&data, "0800100018b1d890ceb4c4e0c78a01224c");
    buf_append_string(&data, example_json);
    struct raft_entry entry = entry_of(1, 1, buf_bytes(&data));
    entry.type = RAFT_ENTRY_CONF_CHANGE;
    buf_deinit(&data);
    return entry;
}

static void records_decode_to_etcds_checksums(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(1);
    struct buf example = {0};
    make_example(&example);
    struct fs_file *file = NULL;
    must(fs_open(fs_sim_fs(sim), "/f", FS_WRITE | FS_CREATE, &file));
    must(fs_file_pwrite(file, example.data, example.size, 0));
    struct wal_source source = {.file = file, .path = "/f", .size = example.size};
    struct wal_decoder decoder = {.sources = &source, .count = 1};
    static const struct {
        int64_t type;
        uint32_t crc;
        uint64_t end;
    } expected[] = {{WAL_CRC, 0, 0x10},
                    {WAL_METADATA, 0x22a30622, 0x38},
                    {WAL_SNAPSHOT, 0x493c57f6, 0x50},
                    {WAL_ENTRY, 0x9cdc9e6d, 0xc8},
                    {WAL_STATE, 0x745e3939, 0xe0}};
    struct wal_record record;
    bool end = false;
    for (size_t i = 0; i < 5; i++) {
        must(wal_decoder_next(&decoder, &record, &end));
        assert_false(end);
        assert_int_equal(record.type, expected[i].type);
        assert_int_equal(record.crc, expected[i].crc);
        assert_int_equal(decoder.offset, expected[i].end);
    }
    must(wal_decoder_next(&decoder, &record, &end));
    assert_true(end);
    wal_decoder_deinit(&decoder);
    must(fs_file_close(file));
    buf_deinit(&example);
    fs_sim_free(sim);
}

static void a_new_log_has_etcds_bytes(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(1);
    struct wal_options options = options_of(sim, 0);
    struct buf metadata = {0}, example = {0}, content = {0};
    append_hex(&metadata, example_metadata);
    make_example(&example);
    struct wal *wal = NULL;
    must(wal_create(&options, directory, buf_bytes(&metadata), &wal));
    struct raft_entry entry = example_entry();
    struct raft_hard_state hard_state = {.term = 1, .commit = 1};
    bool must_sync = false;
    must(wal_save(wal, &hard_state, &entry, 1, &must_sync));
    must(wal_sync(wal));
    must(fs_read_file(options.fs, first_segment, 128 << 20, &content));
    assert_int_equal(content.size, WAL_SEGMENT_SIZE);
    assert_memory_equal(content.data, example.data, example.size);
    for (size_t i = example.size; i < content.size; i++)
        if (content.data[i] != 0) fail_msg("byte %zu is not zero", i);
    must(wal_close(wal));

    struct wal_content found = {0};
    must(wal_read(&options, directory, 0, 0, &found));
    assert_true(bytes_equal(buf_bytes(&found.metadata), buf_bytes(&metadata)));
    assert_int_equal(found.entries.count, 1);
    assert_int_equal(found.entries.items[0].type, RAFT_ENTRY_CONF_CHANGE);
    assert_true(bytes_equal(blob_bytes(found.entries.items[0].data), blob_bytes(entry.data)));
    assert_true(raft_hard_state_equal(found.hard_state, hard_state));
    assert_false(found.torn);
    wal_content_deinit(&found);
    blob_unref(entry.data);
    buf_deinit(&metadata);
    buf_deinit(&example);
    buf_deinit(&content);
    fs_sim_free(sim);
}

/* Checksums below 2^28 take fewer bytes: the record must not have a gap. All sizes give frames of multiples
 * of 8. */
static void records_of_every_size_read_back(void **state)
{
    (void)state;
    struct buf out = {0};
    uint32_t chain = 0;
    static uint8_t data[300];
    unsigned short_checksums = 0;
    for (size_t size = 0; size < sizeof(data); size++) {
        memset(data, (int)size, size);
        wal_record_append(&out, WAL_ENTRY, bytes_of(data, size), &chain);
        short_checksums += chain < 1U << 28;
        assert_int_equal(out.size % 8, 0);
    }
    assert_true(short_checksums > 0);
    struct fs_sim *sim = new_disk(1);
    struct fs_file *file = NULL;
    must(fs_open(fs_sim_fs(sim), "/f", FS_WRITE | FS_CREATE, &file));
    must(fs_file_pwrite(file, out.data, out.size, 0));
    struct wal_source source = {.file = file, .path = "/f", .size = out.size};
    struct wal_decoder decoder = {.sources = &source, .count = 1};
    for (size_t size = 0; size < sizeof(data); size++) {
        struct wal_record record;
        bool end = false;
        must(wal_decoder_next(&decoder, &record, &end));
        assert_false(end);
        assert_int_equal(record.data.size, size);
    }
    wal_decoder_deinit(&decoder);
    must(fs_file_close(file));
    buf_deinit(&out);
    fs_sim_free(sim);
}

/* --- finding the files --- */

static void missing_segments_have_etcds_texts(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(11);
    struct wal_options options = options_of(sim, 8192);
    struct wal *wal = NULL;
    struct wal_content content = {0};
    bool exists = true;
    must(wal_exists(options.fs, directory, &exists));
    assert_false(exists);
    must(fs_make_directory(options.fs, directory));
    put_segment(options.fs, "0.tmp", BYTES_LITERAL("x"));
    put_segment(options.fs, "0000000000000000-0000000000000000.wal.broken", BYTES_LITERAL("x"));
    must(wal_exists(options.fs, directory, &exists));
    assert_false(exists);
    must_fail(wal_open(&options, directory, 0, 0, &wal, &content), ERROR_NOT_FOUND, "wal: file not found");
    put_segment(options.fs, "0000000000000001-0000000000000005.wal", BYTES_LITERAL("x"));
    must_fail(wal_open(&options, directory, 4, 1, &wal, &content), ERROR_NOT_FOUND,
              "wal: file not found which matches the snapshot index '4'");
    put_segment(options.fs, "0000000000000003-0000000000000009.wal", BYTES_LITERAL("x"));
    must_fail(wal_open(&options, directory, 5, 1, &wal, &content), ERROR_CORRUPT,
              "wal: file sequence numbers (starting from 0) do not increase continuously");
    must(wal_exists(options.fs, directory, &exists));
    assert_true(exists);
    fs_sim_free(sim);
}

static void a_log_in_use_is_locked(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(12);
    struct wal_options options = options_of(sim, 8192);
    struct wal *wal = NULL, *other = NULL;
    struct wal_content content = {0};
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    must_fail(wal_open(&options, directory, 0, 0, &other, &content), ERROR_LOCKED,
              "fileutil: file already locked");
    must(wal_read(&options, directory, 0, 0, &content));
    must(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

/* --- saving --- */

static void only_what_must_be_durable_asks_for_a_sync(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(13);
    struct wal_options options = options_of(sim, 0);
    struct wal *wal = NULL;
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    static const struct {
        struct raft_hard_state state;
        size_t entries;
        bool must_sync;
    } saves[] = {{{.term = 1}, 0, true},
                 {{.term = 1, .vote = 2}, 0, true},
                 {{.term = 1, .vote = 2, .commit = 1}, 0, false},
                 {{0}, 0, false},
                 {{0}, 1, true},
                 {{.term = 1, .vote = 2, .commit = 2}, 0, false},
                 {{.term = 2, .commit = 2}, 0, true}};
    for (size_t i = 0; i < sizeof(saves) / sizeof(saves[0]); i++) {
        struct raft_entry entry = entry_of(1, 1, BYTES_LITERAL("e"));
        bool must_sync = false;
        uint64_t before = wal_offset(wal);
        must(wal_save(wal, &saves[i].state, &entry, saves[i].entries, &must_sync));
        assert_int_equal(must_sync, saves[i].must_sync);
        bool empty = saves[i].entries == 0 && raft_hard_state_is_empty(saves[i].state);
        assert_int_equal(wal_offset(wal) == before, empty);
        blob_unref(entry.data);
    }
    must(wal_close(wal));
    fs_sim_free(sim);
}

struct counts {
    unsigned writes;
    unsigned syncs;
};

static bool count_operation(void *context, enum fs_sim_operation operation, const char *path)
{
    (void)path;
    struct counts *counts = context;
    counts->writes += operation == FS_SIM_WRITE;
    counts->syncs += operation == FS_SIM_SYNC;
    return true;
}

static uint64_t ticking_clock(void *context)
{
    uint64_t *time = context;
    return *time += 1500000;
}

static void many_saves_share_one_write_and_one_sync(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(14);
    struct wal_options options = options_of(sim, 0);
    struct wal_metrics metrics = WAL_METRICS_INIT;
    uint64_t time = 0;
    options.metrics = &metrics;
    options.now = ticking_clock;
    options.now_context = &time;
    struct wal *wal = NULL;
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t syncs_before = metrics.fsync_duration.buckets[1];
    struct counts counts = {0};
    fs_sim_set_hook(sim, count_operation, &counts);
    for (uint64_t i = 1; i <= 100; i++)
        save(wal, (struct raft_hard_state){.term = 1, .commit = i - 1}, 1, i, BYTES_LITERAL("some data"));
    assert_int_equal(counts.writes, 0);
    must(wal_sync(wal));
    must(wal_sync(wal)); /* nothing is left to do */
    assert_int_equal(counts.writes, 1);
    assert_int_equal(counts.syncs, 1);
    assert_int_equal(metrics.fsync_duration.buckets[1], syncs_before + 1); /* 1.5 ms: the bucket up to 2 ms */
    assert_int_equal(metric_gauge_read(&metrics.write_bytes), wal_offset(wal));
    must(wal_close(wal));
    fs_sim_free(sim);
}

static void much_at_once_does_not_gather_without_bound(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(15);
    struct wal_options options = options_of(sim, 0);
    struct wal *wal = NULL;
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    struct counts counts = {0};
    fs_sim_set_hook(sim, count_operation, &counts);
    struct blob *data = blob_new(1 << 20);
    memset(data->data, 'x', data->size);
    struct raft_entry entries[20];
    for (size_t i = 0; i < 20; i++) entries[i] = (struct raft_entry){.term = 1, .index = i + 1, .data = data};
    bool must_sync = false;
    must(wal_save(wal, NULL, entries, 20, &must_sync));
    assert_in_range(counts.writes, 4, 7);
    must(wal_close(wal));
    struct wal_content content = {0};
    must(wal_read(&options, directory, 0, 0, &content));
    assert_int_equal(content.entries.count, 20);
    wal_content_deinit(&content);
    blob_unref(data);
    fs_sim_free(sim);
}

static void without_syncing_nothing_is_synced(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(16);
    struct wal_options options = options_of(sim, 0);
    options.no_sync = true;
    struct wal *wal = NULL;
    struct counts counts = {0};
    fs_sim_set_hook(sim, count_operation, &counts);
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1}, 1, 1, BYTES_LITERAL("e"));
    must(wal_sync(wal));
    must(wal_close(wal));
    assert_int_equal(counts.syncs, 0);
    fs_sim_free(sim);
}

static void an_unpublished_log_is_not_found(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(17);
    struct wal_options options = options_of(sim, 0);
    struct wal *wal = NULL;
    bool exists = true;
    must(wal_begin(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1, .commit = 1}, 1, 1, BYTES_LITERAL("first"));
    must(wal_close(wal));
    must(wal_exists(options.fs, directory, &exists));
    assert_false(exists);
    must(fs_exists(options.fs, "/data/member/wal.tmp", &exists));
    assert_false(exists);

    must(wal_begin(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1, .commit = 1}, 1, 1, BYTES_LITERAL("first"));
    must(wal_publish(wal));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    error_free(wal_close(wal));
    struct wal_content content = {0};
    must(wal_read(&options, directory, 0, 0, &content));
    assert_int_equal(content.entries.count, 1);
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

/* --- snapshots, release and purge --- */

static void only_committed_snapshots_are_valid(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(18);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct wal *wal = NULL;
    uint64_t id = 0xabc;
    uint8_t data[900];
    memset(data, 'x', sizeof(data));
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 20; i++) {
        save(wal, (struct raft_hard_state){.term = 2, .commit = i}, 2, i, bytes_of(data, sizeof(data)));
        if (i % 5 == 0) must(wal_save_snapshot(wal, i, 2, conf_of(&id)));
    }
    must(wal_save_snapshot(wal, 25, 2, conf_of(&id)));
    must(wal_sync(wal));
    struct wal_snapshots snapshots = {0};
    must(wal_valid_snapshots(&options, directory, 0, &snapshots));
    assert_int_equal(snapshots.count, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct wal_snapshot *snapshot = &snapshots.items[i];
        assert_int_equal(snapshot->index, i * 5);
        assert_int_equal(snapshot->term, i == 0 ? 0 : 2);
        assert_int_equal(snapshot->has_conf_state, i > 0);
        if (i > 0) assert_int_equal(snapshot->conf_state.voters.items[0], 0xabc);
    }
    wal_snapshots_deinit(&snapshots);
    for (uint64_t since = 1; since <= 20; since++) {
        must(wal_valid_snapshots(&options, directory, since, &snapshots));
        assert_int_equal(snapshots.items[snapshots.count - 1].index, 20);
        assert_true(snapshots.items[0].index <= (since + 4) / 5 * 5);
        if (since == 20) assert_true(snapshots.count < 5);
        wal_snapshots_deinit(&snapshots);
    }
    must(wal_close(wal));

    struct wal_content content = {0};
    must(wal_open(&options, directory, 15, 2, &wal, &content));
    assert_int_equal(content.entries.count, 5);
    assert_int_equal(content.entries.items[0].index, 16);
    assert_int_equal(content.hard_state.commit, 20);
    must(wal_close(wal));
    wal_content_deinit(&content);
    must_fail(wal_open(&options, directory, 15, 3, &wal, &content), ERROR_CORRUPT, "wal: snapshot mismatch");
    must_fail(wal_open(&options, directory, 16, 2, &wal, &content), ERROR_CORRUPT, "wal: snapshot not found");
    fs_sim_free(sim);
}

/* A log of 12 entries of term 2, of which 5 are known to be committed; then a snapshot of another member at
 * index 8, of that term, and the commit index that comes with it. */
static struct wal *log_with_snapshot(const struct wal_options *options, uint64_t term)
{
    struct wal *wal = NULL;
    uint64_t id = 0xabc;
    bool must_sync = false;
    must(wal_create(options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 12; i++)
        save(wal, (struct raft_hard_state){.term = 2, .commit = i < 5 ? i : 5}, 2, i, BYTES_LITERAL("x"));
    must(wal_save_snapshot(wal, 8, term, conf_of(&id)));
    must(wal_save(wal, &(const struct raft_hard_state){.term = 3, .commit = 8}, NULL, 0, &must_sync));
    must(wal_sync(wal));
    return wal;
}

/* The entry at 8 is another one than that of the snapshot: so are those behind it. Were they taken for a
 * continuation, this member would vote for others that lack what the snapshot holds. */
static void entries_behind_a_received_snapshot_are_of_another_history(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(21);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct wal_content content = {0};
    struct wal *wal = log_with_snapshot(&options, 3);
    must(wal_close(wal));
    must(wal_open(&options, directory, 8, 3, &wal, &content));
    assert_int_equal(content.entries.count, 0);
    wal_content_deinit(&content);
    save(wal, (struct raft_hard_state){.term = 3, .commit = 9}, 3, 9, BYTES_LITERAL("y"));
    must(wal_sync(wal));
    must(wal_close(wal));
    must(wal_open(&options, directory, 8, 3, &wal, &content));
    assert_int_equal(content.entries.count, 1);
    assert_int_equal(content.entries.items[0].term, 3);
    wal_content_deinit(&content);
    must(wal_close(wal));
    fs_sim_free(sim);
}

static void entries_behind_an_own_snapshot_continue_it(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(22);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct wal_content content = {0};
    struct wal *wal = log_with_snapshot(&options, 2);
    must(wal_close(wal));
    must(wal_open(&options, directory, 8, 2, &wal, &content));
    assert_int_equal(content.entries.count, 4);
    assert_int_equal(content.entries.items[3].index, 12);
    wal_content_deinit(&content);
    must(wal_close(wal));
    fs_sim_free(sim);
}

static size_t count_segments(struct fs *fs)
{
    char **names = NULL;
    size_t count = 0;
    must(fs_list(fs, directory, &names, &count));
    fs_names_free(names, count);
    return count;
}

static void purge_removes_released_segments_only(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(19);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct wal *wal = NULL;
    uint64_t id = 1;
    uint8_t data[2500]; /* two entries fill a segment */
    memset(data, 'x', sizeof(data));
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 20; i++)
        save(wal, (struct raft_hard_state){.term = 1, .commit = i}, 1, i, bytes_of(data, sizeof(data)));
    assert_int_equal(wal_sequence(wal), 10);
    assert_int_equal(count_segments(options.fs), 11);
    size_t removed = 0;
    must(wal_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 0); /* all are in use */
    must(wal_save_snapshot(wal, 8, 1, conf_of(&id)));
    must(wal_sync(wal));
    must(wal_release(wal, 8)); /* segment 3 begins with 7, segment 4 with 9 */
    must(wal_purge(&options, directory, 0, &removed));
    assert_int_equal(removed, 0);
    must(wal_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 3);
    must(wal_release(wal, 1000));
    must(wal_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 3);
    assert_int_equal(count_segments(options.fs), 5);
    must(wal_purge(&options, directory, 1, &removed));
    assert_int_equal(removed, 4);
    save(wal, (struct raft_hard_state){.term = 1, .commit = 20}, 1, 21, BYTES_LITERAL("more"));
    must(wal_close(wal));
    fs_sim_free(sim);
}

/* The names of segments say where they start, the prepared file takes the next place. */
static void segments_are_named_by_sequence_and_first_index(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(20);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct wal *wal = NULL;
    uint8_t data[4096];
    memset(data, 'x', sizeof(data));
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    must(wal_prepare(wal));
    bool exists = false;
    must(fs_exists(options.fs, "/data/member/wal/0.tmp", &exists));
    assert_true(exists);
    save(wal, (struct raft_hard_state){.term = 1}, 1, 1, bytes_of(data, sizeof(data)));
    must(fs_exists(options.fs, "/data/member/wal/0.tmp", &exists));
    assert_false(exists);
    must(fs_exists(options.fs, "/data/member/wal/0000000000000001-0000000000000002.wal", &exists));
    assert_true(exists);
    must(wal_prepare(wal));
    must(fs_exists(options.fs, "/data/member/wal/1.tmp", &exists));
    assert_true(exists);
    struct buf first = {0};
    must(fs_read_file(options.fs, first_segment, 1 << 20, &first));
    assert_int_equal(first.data[first.size - 1] == 0 && first.size % 4096 == 0,
                     false); /* cut at its last record */
    buf_deinit(&first);
    must(wal_close(wal));
    must(fs_exists(options.fs, "/data/member/wal/1.tmp", &exists));
    assert_false(exists);
    fs_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_decode_to_etcds_checksums),
        cmocka_unit_test(a_new_log_has_etcds_bytes),
        cmocka_unit_test(records_of_every_size_read_back),
        cmocka_unit_test(missing_segments_have_etcds_texts),
        cmocka_unit_test(a_log_in_use_is_locked),
        cmocka_unit_test(only_what_must_be_durable_asks_for_a_sync),
        cmocka_unit_test(many_saves_share_one_write_and_one_sync),
        cmocka_unit_test(much_at_once_does_not_gather_without_bound),
        cmocka_unit_test(without_syncing_nothing_is_synced),
        cmocka_unit_test(an_unpublished_log_is_not_found),
        cmocka_unit_test(only_committed_snapshots_are_valid),
        cmocka_unit_test(entries_behind_a_received_snapshot_are_of_another_history),
        cmocka_unit_test(entries_behind_an_own_snapshot_continue_it),
        cmocka_unit_test(purge_removes_released_segments_only),
        cmocka_unit_test(segments_are_named_by_sequence_and_first_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
