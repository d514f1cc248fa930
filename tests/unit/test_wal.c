/* The write-ahead log: etcd's bytes, and what is left of it after every kind of crash and fault. */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "base/rng.h"
#include "storage/fs_sim.h"
#include "storage/wal.h"
#include "storage/wal_record.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char directory[] = "/data/member/wal";
static const char first_segment[] = "/data/member/wal/0000000000000000-0000000000000000.wal";

static void ok(struct error *error)
{
    if (error != NULL) fail_msg("unexpected error: %s", error->text);
}

/* The error must be of this kind and contain the text. */
static void fails(struct error *error, enum error_kind kind, const char *text)
{
    assert_non_null(error);
    if (error->kind != kind || strstr(error->text, text) == NULL)
        fail_msg("kind %d, not %d, or no \"%s\" in: %s", error->kind, kind, text, error->text);
    error_free(error);
}

static struct fs_sim *new_disk(uint64_t seed)
{
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = seed, .file_size = 128 << 20});
    ok(fs_make_directory(fs_sim_fs(sim), "/data/member"));
    ok(fs_sync_directory(fs_sim_fs(sim), "/"));
    ok(fs_sync_directory(fs_sim_fs(sim), "/data"));
    return sim;
}

static struct wal_options options_of(struct fs_sim *sim, uint64_t segment_size)
{
    return (struct wal_options){.fs = fs_sim_fs(sim), .logger = &log_discard, .segment_size = segment_size};
}

static struct raft_entry entry_of(uint64_t term, uint64_t index, struct bytes data)
{
    return (struct raft_entry){.term = term, .index = index, .data = blob_from(data)};
}

static void save(struct wal *wal, struct raft_hard_state state, uint64_t term, uint64_t index,
                 struct bytes data)
{
    struct raft_entry entry = entry_of(term, index, data);
    bool must_sync = false;
    ok(wal_save(wal, &state, &entry, 1, &must_sync));
    assert_true(must_sync);
    blob_unref(entry.data);
}

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
    ok(fs_open(fs_sim_fs(sim), "/f", FS_WRITE | FS_CREATE, &file));
    ok(fs_file_pwrite(file, example.data, example.size, 0));
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
        ok(wal_decoder_next(&decoder, &record, &end));
        assert_false(end);
        assert_int_equal(record.type, expected[i].type);
        assert_int_equal(record.crc, expected[i].crc);
        assert_int_equal(decoder.offset, expected[i].end);
    }
    ok(wal_decoder_next(&decoder, &record, &end));
    assert_true(end);
    wal_decoder_deinit(&decoder);
    ok(fs_file_close(file));
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
    ok(wal_create(&options, directory, buf_bytes(&metadata), &wal));
    struct raft_entry entry = example_entry();
    struct raft_hard_state hard_state = {.term = 1, .commit = 1};
    bool must_sync = false;
    ok(wal_save(wal, &hard_state, &entry, 1, &must_sync));
    ok(wal_sync(wal));
    ok(fs_read_file(options.fs, first_segment, 128 << 20, &content));
    assert_int_equal(content.size, WAL_SEGMENT_SIZE);
    assert_memory_equal(content.data, example.data, example.size);
    for (size_t i = example.size; i < content.size; i++)
        if (content.data[i] != 0) fail_msg("byte %zu is not zero", i);
    ok(wal_close(wal));

    struct wal_content found = {0};
    ok(wal_read(&options, directory, 0, 0, &found));
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
    ok(fs_open(fs_sim_fs(sim), "/f", FS_WRITE | FS_CREATE, &file));
    ok(fs_file_pwrite(file, out.data, out.size, 0));
    struct wal_source source = {.file = file, .path = "/f", .size = out.size};
    struct wal_decoder decoder = {.sources = &source, .count = 1};
    for (size_t size = 0; size < sizeof(data); size++) {
        struct wal_record record;
        bool end = false;
        ok(wal_decoder_next(&decoder, &record, &end));
        assert_false(end);
        assert_int_equal(record.data.size, size);
    }
    wal_decoder_deinit(&decoder);
    ok(fs_file_close(file));
    buf_deinit(&out);
    fs_sim_free(sim);
}

/* --- a story that is played on healthy and sick disks --- */

enum {
    STORY_STEPS = 14,
    STORY_SEGMENT = 4096,
    STORY_ENTRIES_MAX = 3,
    STORY_RECORDS_MAX = STORY_STEPS * (STORY_ENTRIES_MAX + 1),
};

/* The log as it is after one more record. */
struct milestone {
    struct raft_hard_state hard_state;
    uint64_t terms[STORY_STEPS * STORY_ENTRIES_MAX]; /* of entry i + 1 */
    size_t count;
};

struct story {
    struct milestone milestones[STORY_RECORDS_MAX + 1];
    size_t written; /* milestones */
    size_t durable; /* what a sync that returned covered */
    bool created;
};

static size_t story_size(uint64_t term, uint64_t index)
{
    return (size_t)((index * 977 + term * 331) % 1500);
}

static struct raft_entry story_entry(uint64_t term, uint64_t index)
{
    size_t size = story_size(term, index);
    struct blob *data = blob_new(size);
    memset(data->data, (int)('a' + index % 26), size);
    return (struct raft_entry){.term = term, .index = index, .data = data};
}

static struct milestone *next_milestone(struct story *story)
{
    assert_in_range(story->written, 0, STORY_RECORDS_MAX - 1);
    story->milestones[story->written + 1] = story->milestones[story->written];
    return &story->milestones[++story->written];
}

/* One save of up to three entries, now and then replacing the last one in a new term, and a hard state. */
static struct error *story_save(struct wal *wal, struct story *story, uint64_t step, bool *must_sync)
{
    struct milestone *last = &story->milestones[story->written];
    uint64_t term = 1 + step / 4, first = last->count + 1, count = step % (STORY_ENTRIES_MAX + 1);
    if (step % 4 == 0 && last->count > 0 && step > 0) {
        first--;
        count++;
    }
    struct raft_entry entries[STORY_ENTRIES_MAX];
    for (uint64_t i = 0; i < count; i++) entries[i] = story_entry(term, first + i);
    struct raft_hard_state hard_state = {.term = term, .vote = 1, .commit = first - 1};
    struct error *error = wal_save(wal, &hard_state, entries, (size_t)count, must_sync);
    for (uint64_t i = 0; i < count; i++) {
        struct milestone *milestone = next_milestone(story);
        milestone->count = (size_t)(first + i);
        milestone->terms[first + i - 1] = term;
        blob_unref(entries[i].data);
    }
    next_milestone(story)->hard_state = hard_state;
    return error;
}

/* Two saves share one sync. Stops at the first error. */
static struct error *play(const struct wal_options *options, struct story *story)
{
    struct wal *wal = NULL;
    TRY(wal_create(options, directory, BYTES_LITERAL("metadata"), &wal));
    story->created = true;
    struct error *error = NULL;
    bool must_sync = false;
    for (uint64_t step = 0; step < STORY_STEPS && error == NULL; step++) {
        error = story_save(wal, story, step, &must_sync);
        if (step == 6 && error == NULL) error_free(wal_prepare(wal)); /* the cut tries again */
        if (step == 8 && error == NULL) error = wal_flush(wal);
        if (step % 2 == 0 || error != NULL) continue;
        error = wal_sync(wal);
        if (error == NULL) story->durable = story->written;
    }
    if (error == NULL) {
        error = wal_close(wal);
        if (error == NULL) story->durable = story->written;
        return error;
    }
    /* After a failure nothing works, and nothing pretends to. */
    struct error *later = wal_sync(wal);
    assert_non_null(later);
    error_free(later);
    error_free(wal_close(wal));
    return error;
}

static bool is_milestone(const struct wal_content *content, const struct milestone *milestone)
{
    if (content->entries.count != milestone->count) return false;
    if (!raft_hard_state_equal(content->hard_state, milestone->hard_state)) return false;
    for (size_t i = 0; i < milestone->count; i++) {
        const struct raft_entry *entry = &content->entries.items[i];
        assert_int_equal(entry->index, i + 1);
        if (entry->term != milestone->terms[i]) return false;
        struct raft_entry expected = story_entry(entry->term, entry->index);
        assert_true(bytes_equal(blob_bytes(entry->data), blob_bytes(expected.data)));
        blob_unref(expected.data);
    }
    return true;
}

/* What was found is the story up to some point, not before the last sync that returned. */
static void check_found(const struct story *story, const struct wal_content *content)
{
    assert_memory_equal(content->metadata.data, "metadata", 8);
    for (size_t i = story->durable; i <= story->written; i++)
        if (is_milestone(content, &story->milestones[i])) return;
    fail_msg("%zu entries, commit %llu: not a point of the story between %zu and %zu", content->entries.count,
             (unsigned long long)content->hard_state.commit, story->durable, story->written);
}

/* The next start: what is there is right, it can be added to, and the start after that finds the same and the
 * addition. */
static void check_recovery(const struct wal_options *options, const struct story *story)
{
    struct wal *wal = NULL;
    struct wal_content content = {0}, again = {0};
    bool exists = false;
    ok(wal_exists(options->fs, directory, &exists));
    if (!exists) {
        assert_false(story->created);
        return;
    }
    ok(wal_recover(options, directory, 0, 0, &wal, &content));
    check_found(story, &content);
    struct raft_hard_state hard_state = {.term = 100, .vote = 2, .commit = content.entries.count};
    save(wal, hard_state, 100, content.entries.count + 1, BYTES_LITERAL("addition"));
    ok(wal_sync(wal));
    ok(wal_close(wal));
    ok(wal_open(options, directory, 0, 0, &wal, &again));
    assert_int_equal(again.entries.count, content.entries.count + 1);
    assert_int_equal(again.entries.items[content.entries.count].term, 100);
    assert_true(raft_hard_state_equal(again.hard_state, hard_state));
    ok(wal_close(wal));
    wal_content_deinit(&content);
    wal_content_deinit(&again);
}

static void a_healthy_story_reads_back_over_many_segments(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(1);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct story story = {0};
    ok(play(&options, &story));
    assert_int_equal(story.durable, story.written);
    char **names = NULL;
    size_t count = 0;
    ok(fs_list(options.fs, directory, &names, &count));
    assert_in_range(count, 4, 10);
    for (size_t i = 0; i < count; i++) assert_non_null(strstr(names[i], ".wal")); /* no .tmp is left */
    fs_names_free(names, count);
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    check_recovery(&options, &story);
    fs_sim_free(sim);
}

static void check_crashes(struct fs_sim *sim, const struct story *story, unsigned random_seeds)
{
    for (unsigned i = 0; i < random_seeds + 2; i++) {
        struct fs_sim *branch = fs_sim_clone(sim);
        struct wal_options options = options_of(branch, STORY_SEGMENT);
        fs_sim_reseed(branch, i);
        fs_sim_crash(branch, i == 0 ? FS_SIM_LOSE_ALL : i == 1 ? FS_SIM_KEEP_ALL : FS_SIM_RANDOM);
        check_recovery(&options, story);
        fs_sim_free(branch);
    }
}

static void a_power_cut_at_any_operation_loses_nothing_synced(void **state)
{
    (void)state;
    struct story story;
    bool whole = false;
    uint64_t operation = 0;
    for (; !whole; operation++) {
        struct fs_sim *sim = new_disk(operation);
        struct wal_options options = options_of(sim, STORY_SEGMENT);
        fs_sim_cut_power_after(sim, operation);
        story = (struct story){0};
        struct error *error = play(&options, &story);
        whole = error == NULL;
        error_free(error);
        check_crashes(sim, &story, 12);
        fs_sim_free(sim);
    }
    assert_true(operation > 40);
}

/* The recovery itself may be cut off, again and again. */
static void a_power_cut_during_recovery_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct fs_sim *sim = new_disk(seed);
        struct wal_options options = options_of(sim, STORY_SEGMENT);
        fs_sim_cut_power_after(sim, 30 + seed);
        struct story story = {0};
        error_free(play(&options, &story));
        fs_sim_crash(sim, FS_SIM_RANDOM);
        for (uint64_t operation = 0; operation < 8; operation++) {
            struct wal *wal = NULL;
            struct wal_content content = {0};
            fs_sim_cut_power_after(sim, operation);
            struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
            if (error == NULL) check_found(&story, &content);
            error_free(error);
            error_free(wal_close(wal));
            wal_content_deinit(&content);
            fs_sim_crash(sim, FS_SIM_RANDOM);
        }
        check_recovery(&options, &story);
        fs_sim_free(sim);
    }
}

static void a_killed_process_loses_nothing_written(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(3);
    struct wal_options options = options_of(sim, 0);
    struct wal *wal = NULL;
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1}, 1, 1, BYTES_LITERAL("one"));
    ok(wal_flush(wal));
    fs_sim_kill(sim);
    error_free(wal_close(wal));
    struct wal_content content = {0};
    ok(wal_open(&options, directory, 0, 0, &wal, &content));
    assert_int_equal(content.entries.count, 1);
    ok(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

static void check_fault(const struct fs_sim_fault *fault, uint64_t seed, bool *struck)
{
    struct fs_sim *sim = new_disk(seed);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    fs_sim_add_fault(sim, fault);
    struct story story = {0};
    struct error *error = play(&options, &story);
    *struck = fs_sim_faults_struck(sim) > 0;
    if (*struck && error == NULL) {
        /* Only tidying may fail without being told: the prepared segment, which every start replaces. */
        assert_int_equal(story.durable, story.written);
    } else if (*struck) {
        assert_int_equal(error->system, fault->system == 0 ? EIO : fault->system);
    } else {
        assert_null(error);
    }
    error_free(error);
    fs_sim_clear_faults(sim);
    check_crashes(sim, &story, 4);
    fs_sim_kill(sim);
    check_recovery(&options, &story);
    fs_sim_free(sim);
}

static void a_fault_at_any_operation_is_reported_and_loses_nothing_synced(void **state)
{
    (void)state;
    static const int systems[] = {EIO, ENOSPC};
    for (size_t i = 0; i < 2; i++) {
        bool struck = true;
        uint64_t operation = 0;
        for (; struck; operation++)
            check_fault(&(struct fs_sim_fault){.operations = FS_SIM_CHANGES,
                                               .skip = operation,
                                               .times = 1,
                                               .system = systems[i],
                                               .partial = operation % 2 == 0},
                        operation, &struck);
        assert_true(operation > 40);
    }
}

static void a_full_disk_is_reported_and_loses_nothing_synced(void **state)
{
    (void)state;
    unsigned full = 0;
    for (uint64_t pages = 0; pages < 20; pages++) {
        struct fs_sim *sim = new_disk(pages);
        struct wal_options options = options_of(sim, STORY_SEGMENT);
        fs_sim_set_capacity(sim, (pages + 1) * 4096);
        struct story story = {0};
        struct error *error = play(&options, &story);
        if (error != NULL) assert_int_equal(error->kind, ERROR_NO_SPACE);
        full += error != NULL;
        error_free(error);
        fs_sim_set_capacity(sim, 0);
        check_crashes(sim, &story, 4);
        fs_sim_free(sim);
    }
    assert_in_range(full, 5, 19);
}

static void reading_faults_are_reported(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(4);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct story story = {0};
    ok(play(&options, &story));
    uint64_t operation = 0;
    for (bool struck = true; struck; operation++) {
        uint64_t before = fs_sim_faults_struck(sim);
        fs_sim_add_fault(sim, &(struct fs_sim_fault){.operations = FS_SIM_OPEN | FS_SIM_READ | FS_SIM_LOCK |
                                                                   FS_SIM_LIST,
                                                     .skip = operation,
                                                     .times = 1,
                                                     .system = EIO});
        struct wal *wal = NULL;
        struct wal_content content = {0};
        struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
        struck = fs_sim_faults_struck(sim) > before;
        if (struck) {
            fails(error, ERROR_IO, "/data/member/wal");
            assert_int_equal(content.entries.count, 0);
        } else {
            ok(error);
            ok(wal_close(wal));
        }
        wal_content_deinit(&content);
        fs_sim_clear_faults(sim);
    }
    assert_true(operation > 10);
    check_recovery(&options, &story);
    fs_sim_free(sim);
}

/* --- damage --- */

static void a_flipped_bit_in_data_is_fatal(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(5);
    struct wal_options options = options_of(sim, 8192);
    struct wal *wal = NULL;
    struct wal_content content = {0};
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t start = wal_offset(wal);
    uint8_t data[700];
    memset(data, 'x', sizeof(data));
    save(wal, (struct raft_hard_state){0}, 1, 1, bytes_of(data, sizeof(data)));
    uint64_t end = wal_offset(wal) - 8;
    save(wal, (struct raft_hard_state){0}, 1, 2, bytes_of(data, 10));
    ok(wal_close(wal));
    for (uint64_t offset = start + 40; offset < end; offset += 13) {
        assert_true(fs_sim_flip_bit(sim, first_segment, offset, (unsigned)(offset % 8)));
        fails(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT,
              "walpb: crc mismatch: in file '");
        fails(wal_read(&options, directory, 0, 0, &content), ERROR_CORRUPT, first_segment);
        assert_true(fs_sim_flip_bit(sim, first_segment, offset, (unsigned)(offset % 8)));
    }
    bool broken = true;
    ok(fs_exists(options.fs, "/data/member/wal/0000000000000000-0000000000000000.wal.broken", &broken));
    assert_false(broken);
    ok(wal_open(&options, directory, 0, 0, &wal, &content));
    assert_int_equal(content.entries.count, 2);
    ok(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

/* Fills [offset, offset + size) of the first segment with zeros and cuts it at `cut` (0: not at all). */
static void wipe(struct fs *fs, uint64_t offset, size_t size, uint64_t cut)
{
    struct fs_file *file = NULL;
    ok(fs_open(fs, first_segment, FS_WRITE, &file));
    uint8_t *zeros = mem_zalloc(size, 1);
    if (size > 0) ok(fs_file_pwrite(file, zeros, size, offset));
    if (cut > 0) ok(fs_file_truncate(file, cut));
    free(zeros);
    ok(fs_file_sync(file));
    ok(fs_file_close(file));
}

static void a_torn_record_is_cut_off_once_and_kept_aside(void **state)
{
    (void)state;
    static const struct {
        bool lost_sector; /* or the file ends in the record */
        uint64_t cut_back;
    } damages[] = {{true, 0}, {false, 8}, {false, 700}, {false, 1203}};
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct fs_sim *sim = new_disk(6);
        struct wal_options options = options_of(sim, 8192);
        struct wal *wal = NULL;
        struct wal_content content = {0};
        ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
        uint8_t data[1200];
        memset(data, 'x', sizeof(data));
        save(wal, (struct raft_hard_state){.term = 1, .commit = 1}, 1, 1, bytes_of(data, 30));
        uint64_t good = wal_offset(wal);
        save(wal, (struct raft_hard_state){0}, 1, 2, bytes_of(data, sizeof(data)));
        uint64_t end = wal_offset(wal);
        ok(wal_close(wal));
        wipe(options.fs, 1024, damages[i].lost_sector ? 512 : 0,
             damages[i].lost_sector ? 0 : end - damages[i].cut_back);

        ok(wal_read(&options, directory, 0, 0, &content));
        assert_true(content.torn);
        assert_int_equal(content.entries.count, 1);
        wal_content_deinit(&content);
        fails(wal_open(&options, directory, 0, 0, &wal, &content), ERROR_TORN, "unexpected EOF: in file '");
        struct buf damaged = {0}, kept = {0};
        ok(fs_read_file(options.fs, first_segment, 1 << 20, &damaged));
        ok(wal_recover(&options, directory, 0, 0, &wal, &content));
        assert_int_equal(content.entries.count, 1);
        assert_int_equal(wal_offset(wal), good);
        ok(fs_read_file(options.fs, "/data/member/wal/0000000000000000-0000000000000000.wal.broken", 1 << 20,
                        &kept));
        assert_true(bytes_equal(buf_bytes(&damaged), buf_bytes(&kept)));
        save(wal, (struct raft_hard_state){0}, 2, 2, BYTES_LITERAL("again"));
        ok(wal_close(wal));
        wal_content_deinit(&content);
        ok(wal_open(&options, directory, 0, 0, &wal, &content));
        assert_int_equal(content.entries.count, 2);
        ok(wal_close(wal));
        wal_content_deinit(&content);
        buf_deinit(&damaged);
        buf_deinit(&kept);
        fs_sim_free(sim);
    }
}

/* Behind the end lies the rest of a torn write; a shorter record must not end right before it. */
static void stale_bytes_behind_the_end_are_cleared(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(7);
    struct wal_options options = options_of(sim, 8192);
    struct wal *wal = NULL;
    struct wal_content content = {0};
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t good = wal_offset(wal);
    uint8_t data[1200];
    memset(data, 'x', sizeof(data));
    save(wal, (struct raft_hard_state){0}, 1, 1, bytes_of(data, sizeof(data)));
    ok(wal_close(wal));
    wipe(options.fs, good, 512 - good % 512, 0); /* its sector was not written, the next ones were */
    ok(wal_open(&options, directory, 0, 0, &wal, &content));
    assert_int_equal(content.entries.count, 0);
    assert_int_equal(wal_offset(wal), good);
    struct buf file = {0};
    ok(fs_read_file(options.fs, first_segment, 1 << 20, &file));
    assert_int_equal(file.size, 8192);
    for (size_t i = (size_t)good; i < file.size; i++) assert_int_equal(file.data[i], 0);
    buf_deinit(&file);
    ok(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

static void put_segment(struct fs *fs, const char *name, struct bytes content)
{
    char *path = mem_printf("%s/%s", directory, name);
    struct fs_file *file = NULL;
    ok(fs_open(fs, path, FS_WRITE | FS_CREATE, &file));
    ok(fs_file_pwrite(file, content.data, content.size, 0));
    ok(fs_file_close(file));
    free(path);
}

/* Segments of records that are well-formed but make no sense. */
static void contradictions_have_etcds_texts(void **state)
{
    (void)state;
    static const struct {
        enum wal_record_type type;
        struct bytes data;
        const char *text;
    } cases[] = {
        {WAL_METADATA, {(const uint8_t *)"other", 5}, "wal: conflicting metadata found"},
        {WAL_ENTRY, {(const uint8_t *)"\x08\x00\x10\x01\x18\x07", 6}, "wal: slice bounds out of range"},
        {WAL_SNAPSHOT, {(const uint8_t *)"\x08\x00\x10\x05", 4}, "wal: snapshot mismatch"},
        {(enum wal_record_type)9, {(const uint8_t *)"", 0}, "unexpected block type 9"},
        {WAL_ENTRY, {(const uint8_t *)"\xff", 1}, "0000000000000000-0000000000000000.wal"},
        {WAL_STATE, {(const uint8_t *)"\x0a\x01x", 3}, "0000000000000000-0000000000000000.wal"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fs_sim *sim = new_disk(8);
        struct wal_options options = options_of(sim, 8192);
        struct buf out = {0};
        uint32_t chain = 0;
        wal_record_append(&out, WAL_CRC, BYTES_EMPTY, &chain);
        wal_record_append(&out, WAL_METADATA, BYTES_LITERAL("one"), &chain);
        wal_record_append(&out, WAL_SNAPSHOT, BYTES_LITERAL("\x08\x00\x10\x00"), &chain);
        wal_record_append(&out, cases[i].type, cases[i].data, &chain);
        ok(fs_make_directory(options.fs, directory));
        put_segment(options.fs, "0000000000000000-0000000000000000.wal", buf_bytes(&out));
        struct wal *wal = NULL;
        struct wal_content content = {0};
        fails(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT, cases[i].text);
        assert_null(wal);
        buf_deinit(&out);
        fs_sim_free(sim);
    }
}

/* A record that claims to be huge is refused before memory is asked for. */
static void a_huge_length_is_a_torn_record(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(9);
    struct wal_options options = options_of(sim, 8192);
    ok(fs_make_directory(options.fs, directory));
    uint8_t huge[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81};
    put_segment(options.fs, "0000000000000000-0000000000000000.wal", bytes_of(huge, sizeof(huge)));
    struct wal *wal = NULL;
    struct wal_content content = {0};
    fails(wal_open(&options, directory, 0, 0, &wal, &content), ERROR_TORN,
          "at position: 0: a record is longer");
    /* Repair leaves an empty segment: no snapshot is in it, and there is nothing to cut off a second time. */
    fails(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT,
          "failed to read WAL, cannot be repaired: wal: snapshot not found");
    fs_sim_free(sim);
}

static void put_bytes(struct fs *fs, uint64_t offset, const void *data, size_t size)
{
    struct fs_file *file = NULL;
    ok(fs_open(fs, first_segment, FS_WRITE, &file));
    ok(fs_file_pwrite(file, data, size, offset));
    ok(fs_file_sync(file));
    ok(fs_file_close(file));
}

/* Acknowledged entries would be dropped without a word, as etcd does. */
static void a_damaged_size_is_not_taken_for_a_torn_write(void **state)
{
    (void)state;
    enum { LAST = 4 };
    static const uint8_t zeros[600];
    for (uint64_t victim = 1; victim <= LAST; victim++)
        for (size_t bit = 0; bit < 64; bit++) {
            struct fs_sim *sim = new_disk(9);
            struct wal_options options = options_of(sim, 1 << 16);
            struct wal *wal = NULL;
            struct wal_content content = {0};
            uint64_t at = 0;
            ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
            for (uint64_t index = 1; index <= LAST; index++) {
                if (index == victim) at = wal_offset(wal);
                save(wal, (struct raft_hard_state){0}, 1, index, bytes_of(zeros, sizeof(zeros)));
            }
            ok(wal_close(wal));
            struct buf file = {0};
            ok(fs_read_file(options.fs, first_segment, 1 << 20, &file));
            uint64_t size = le64_get(file.data + at) ^ UINT64_C(1) << bit;
            uint8_t header[8];
            le64_put(header, size);
            put_bytes(options.fs, at, header, sizeof(header));
            struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
            if (error == NULL) { /* a bit that says nothing */
                assert_int_equal(content.entries.count, LAST);
                ok(wal_close(wal));
                wal_content_deinit(&content);
            } else {
                assert_int_equal(error->kind, ERROR_CORRUPT);
                assert_non_null(strstr(error->text, first_segment));
                error_free(error);
                buf_clear(&file);
                ok(fs_read_file(options.fs, first_segment, 1 << 20, &file));
                assert_true(le64_get(file.data + at) == size && file.size == 1 << 16);
            }
            buf_deinit(&file);
            fs_sim_free(sim);
        }
}

/* The type of the record at this place of the file, which no checksum covers. */
static bool is_type(const struct buf *file, uint64_t begin, uint64_t place)
{
    while (begin + 9 < place) {
        uint64_t size = le64_get(file->data + begin) & ((UINT64_C(1) << 56) - 1);
        begin += 8 + (size + 7) / 8 * 8;
    }
    return begin + 9 == place;
}

/* Whichever bit flips: all is there, or the log is refused. Also in records that hold sectors of zeros, as
 * those of a torn write do. */
static void no_flipped_bit_loses_anything(void **state)
{
    (void)state;
    enum { LAST = 3 };
    static const uint8_t zeros[1100];
    struct fs_sim *sim = new_disk(9);
    struct wal_options options = options_of(sim, 4096);
    struct wal *wal = NULL;
    struct buf file = {0};
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t begin = wal_offset(wal);
    for (uint64_t index = 1; index <= LAST; index++)
        save(wal, (struct raft_hard_state){.term = 1, .commit = index - 1}, 1, index,
             bytes_of(zeros, index == LAST ? 3 : sizeof(zeros)));
    uint64_t end = wal_offset(wal);
    ok(wal_close(wal));
    ok(fs_read_file(options.fs, first_segment, 1 << 20, &file));
    for (uint64_t bit = begin * 8; bit < end * 8; bit++) {
        struct wal_content content = {0};
        if (is_type(&file, begin, bit / 8)) continue;
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_bytes(options.fs, 0, file.data, file.size);
        struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
        if (error == NULL) {
            if (content.entries.count != LAST || content.hard_state.commit != LAST - 1)
                fail_msg("bit %" PRIu64 " of byte %" PRIu64 " (log %" PRIu64 "..%" PRIu64 ")", bit % 8,
                         bit / 8, begin, end);
            ok(wal_close(wal));
        } else {
            assert_int_equal(error->kind, ERROR_CORRUPT);
        }
        error_free(error);
        wal_content_deinit(&content);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_deinit(&file);
    fs_sim_free(sim);
}

/* One bit makes it the end of the log. */
static void a_size_that_became_zero_is_damage(void **state)
{
    (void)state;
    static const uint8_t zeros[8];
    struct fs_sim *sim = new_disk(9);
    struct wal_options options = options_of(sim, 8192);
    struct wal *wal = NULL;
    struct wal_content content = {0};
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t at = wal_offset(wal);
    save(wal, (struct raft_hard_state){0}, 1, 1, BYTES_LITERAL("kept"));
    ok(wal_close(wal));
    put_bytes(options.fs, at, zeros, sizeof(zeros));
    fails(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT,
          "wal: the size of a record is damaged");
    fails(wal_read(&options, directory, 0, 0, &content), ERROR_CORRUPT, first_segment);
    fs_sim_free(sim);
}

static void a_torn_segment_in_the_middle_is_corruption(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(10);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct story story = {0};
    ok(play(&options, &story));
    struct buf content = {0};
    ok(fs_read_file(options.fs, first_segment, 1 << 20, &content));
    wipe(options.fs, 0, 0, content.size - 20);
    struct wal *wal = NULL;
    struct wal_content found = {0};
    fails(wal_recover(&options, directory, 0, 0, &wal, &found), ERROR_CORRUPT, first_segment);
    fails(wal_read(&options, directory, 0, 0, &found), ERROR_CORRUPT, first_segment);
    buf_deinit(&content);
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
    ok(wal_exists(options.fs, directory, &exists));
    assert_false(exists);
    ok(fs_make_directory(options.fs, directory));
    put_segment(options.fs, "0.tmp", BYTES_LITERAL("x"));
    put_segment(options.fs, "0000000000000000-0000000000000000.wal.broken", BYTES_LITERAL("x"));
    ok(wal_exists(options.fs, directory, &exists));
    assert_false(exists);
    fails(wal_open(&options, directory, 0, 0, &wal, &content), ERROR_NOT_FOUND, "wal: file not found");
    put_segment(options.fs, "0000000000000001-0000000000000005.wal", BYTES_LITERAL("x"));
    fails(wal_open(&options, directory, 4, 1, &wal, &content), ERROR_NOT_FOUND,
          "wal: file not found which matches the snapshot index '4'");
    put_segment(options.fs, "0000000000000003-0000000000000009.wal", BYTES_LITERAL("x"));
    fails(wal_open(&options, directory, 5, 1, &wal, &content), ERROR_CORRUPT,
          "wal: file sequence numbers (starting from 0) do not increase continuously");
    ok(wal_exists(options.fs, directory, &exists));
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
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    fails(wal_open(&options, directory, 0, 0, &other, &content), ERROR_LOCKED,
          "fileutil: file already locked");
    ok(wal_read(&options, directory, 0, 0, &content));
    ok(wal_close(wal));
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
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
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
        ok(wal_save(wal, &saves[i].state, &entry, saves[i].entries, &must_sync));
        assert_int_equal(must_sync, saves[i].must_sync);
        bool empty = saves[i].entries == 0 && raft_hard_state_is_empty(saves[i].state);
        assert_int_equal(wal_offset(wal) == before, empty);
        blob_unref(entry.data);
    }
    ok(wal_close(wal));
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
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t syncs_before = metrics.fsync_duration.buckets[1];
    struct counts counts = {0};
    fs_sim_set_hook(sim, count_operation, &counts);
    for (uint64_t i = 1; i <= 100; i++)
        save(wal, (struct raft_hard_state){.term = 1, .commit = i - 1}, 1, i, BYTES_LITERAL("some data"));
    assert_int_equal(counts.writes, 0);
    ok(wal_sync(wal));
    ok(wal_sync(wal)); /* nothing is left to do */
    assert_int_equal(counts.writes, 1);
    assert_int_equal(counts.syncs, 1);
    assert_int_equal(metrics.fsync_duration.buckets[1], syncs_before + 1); /* 1.5 ms: the bucket up to 2 ms */
    assert_int_equal(metric_gauge_read(&metrics.write_bytes), wal_offset(wal));
    ok(wal_close(wal));
    fs_sim_free(sim);
}

static void much_at_once_does_not_gather_without_bound(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(15);
    struct wal_options options = options_of(sim, 0);
    struct wal *wal = NULL;
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    struct counts counts = {0};
    fs_sim_set_hook(sim, count_operation, &counts);
    struct blob *data = blob_new(1 << 20);
    memset(data->data, 'x', data->size);
    struct raft_entry entries[20];
    for (size_t i = 0; i < 20; i++) entries[i] = (struct raft_entry){.term = 1, .index = i + 1, .data = data};
    bool must_sync = false;
    ok(wal_save(wal, NULL, entries, 20, &must_sync));
    assert_in_range(counts.writes, 4, 7);
    ok(wal_close(wal));
    struct wal_content content = {0};
    ok(wal_read(&options, directory, 0, 0, &content));
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
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1}, 1, 1, BYTES_LITERAL("e"));
    ok(wal_sync(wal));
    ok(wal_close(wal));
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
    ok(wal_begin(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1, .commit = 1}, 1, 1, BYTES_LITERAL("first"));
    ok(wal_close(wal));
    ok(wal_exists(options.fs, directory, &exists));
    assert_false(exists);
    ok(fs_exists(options.fs, "/data/member/wal.tmp", &exists));
    assert_false(exists);

    ok(wal_begin(&options, directory, BYTES_LITERAL("metadata"), &wal));
    save(wal, (struct raft_hard_state){.term = 1, .commit = 1}, 1, 1, BYTES_LITERAL("first"));
    ok(wal_publish(wal));
    fs_sim_crash(sim, FS_SIM_LOSE_ALL);
    error_free(wal_close(wal));
    struct wal_content content = {0};
    ok(wal_read(&options, directory, 0, 0, &content));
    assert_int_equal(content.entries.count, 1);
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

/* --- snapshots, release and purge --- */

static const struct raft_conf_state *conf_of(uint64_t *id)
{
    static struct raft_conf_state conf_state;
    conf_state.voters = (struct raft_ids){.items = id, .count = 1, .capacity = 1};
    return &conf_state;
}

static void only_committed_snapshots_are_valid(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(18);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct wal *wal = NULL;
    uint64_t id = 0xabc;
    uint8_t data[900];
    memset(data, 'x', sizeof(data));
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 20; i++) {
        save(wal, (struct raft_hard_state){.term = 2, .commit = i}, 2, i, bytes_of(data, sizeof(data)));
        if (i % 5 == 0) ok(wal_save_snapshot(wal, i, 2, conf_of(&id)));
    }
    ok(wal_save_snapshot(wal, 25, 2, conf_of(&id)));
    ok(wal_sync(wal));
    struct wal_snapshots snapshots = {0};
    ok(wal_valid_snapshots(&options, directory, 0, &snapshots));
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
        ok(wal_valid_snapshots(&options, directory, since, &snapshots));
        assert_int_equal(snapshots.items[snapshots.count - 1].index, 20);
        assert_true(snapshots.items[0].index <= (since + 4) / 5 * 5);
        if (since == 20) assert_true(snapshots.count < 5);
        wal_snapshots_deinit(&snapshots);
    }
    ok(wal_close(wal));

    struct wal_content content = {0};
    ok(wal_open(&options, directory, 15, 2, &wal, &content));
    assert_int_equal(content.entries.count, 5);
    assert_int_equal(content.entries.items[0].index, 16);
    assert_int_equal(content.hard_state.commit, 20);
    ok(wal_close(wal));
    wal_content_deinit(&content);
    fails(wal_open(&options, directory, 15, 3, &wal, &content), ERROR_CORRUPT, "wal: snapshot mismatch");
    fails(wal_open(&options, directory, 16, 2, &wal, &content), ERROR_CORRUPT, "wal: snapshot not found");
    fs_sim_free(sim);
}

/* A log of 12 entries of term 2, of which 5 are known to be committed; then a snapshot of another member at
 * index 8, of that term, and the commit index that comes with it. */
static struct wal *log_with_snapshot(const struct wal_options *options, uint64_t term)
{
    struct wal *wal = NULL;
    uint64_t id = 0xabc;
    bool must_sync = false;
    ok(wal_create(options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 12; i++)
        save(wal, (struct raft_hard_state){.term = 2, .commit = i < 5 ? i : 5}, 2, i, BYTES_LITERAL("x"));
    ok(wal_save_snapshot(wal, 8, term, conf_of(&id)));
    ok(wal_save(wal, &(const struct raft_hard_state){.term = 3, .commit = 8}, NULL, 0, &must_sync));
    ok(wal_sync(wal));
    return wal;
}

/* The entry at 8 is another one than that of the snapshot: so are those behind it. Were they taken for a
 * continuation, this member would vote for others that lack what the snapshot holds. */
static void entries_behind_a_received_snapshot_are_of_another_history(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(21);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct wal_content content = {0};
    struct wal *wal = log_with_snapshot(&options, 3);
    ok(wal_close(wal));
    ok(wal_open(&options, directory, 8, 3, &wal, &content));
    assert_int_equal(content.entries.count, 0);
    wal_content_deinit(&content);
    save(wal, (struct raft_hard_state){.term = 3, .commit = 9}, 3, 9, BYTES_LITERAL("y"));
    ok(wal_sync(wal));
    ok(wal_close(wal));
    ok(wal_open(&options, directory, 8, 3, &wal, &content));
    assert_int_equal(content.entries.count, 1);
    assert_int_equal(content.entries.items[0].term, 3);
    wal_content_deinit(&content);
    ok(wal_close(wal));
    fs_sim_free(sim);
}

static void entries_behind_an_own_snapshot_continue_it(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(22);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct wal_content content = {0};
    struct wal *wal = log_with_snapshot(&options, 2);
    ok(wal_close(wal));
    ok(wal_open(&options, directory, 8, 2, &wal, &content));
    assert_int_equal(content.entries.count, 4);
    assert_int_equal(content.entries.items[3].index, 12);
    wal_content_deinit(&content);
    ok(wal_close(wal));
    fs_sim_free(sim);
}

static bool before_some_directory_sync(void *context, enum fs_sim_operation operation, const char *path)
{
    unsigned *left = context;
    (void)path;
    return operation != FS_SIM_SYNC_DIRECTORY || (*left)-- > 0;
}

static void write_until_killed(const struct wal_options *options)
{
    struct wal *wal = NULL;
    uint8_t data[900] = {0};
    struct error *error = wal_create(options, directory, BYTES_LITERAL("metadata"), &wal);
    for (uint64_t i = 1; i <= 20 && error == NULL; i++) {
        struct raft_entry entry = entry_of(2, i, bytes_of(data, sizeof(data)));
        bool must_sync = false;
        error = wal_save(wal, &(struct raft_hard_state){.term = 2}, &entry, 1, &must_sync);
        if (error == NULL) error = wal_sync(wal);
        blob_unref(entry.data);
    }
    error_free(error);
    error_free(wal_close(wal));
}

/* A name whose sync was missed is there for the next process, which must not build on it as it is. */
static void entries_behind_a_kill_survive_a_power_cut(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (unsigned at = 0; at < 10; at++) {
        struct fs_sim *sim = new_disk(at);
        struct wal_options options = options_of(sim, STORY_SEGMENT);
        struct wal_content content = {0};
        struct wal *wal = NULL;
        bool exists = false;
        unsigned left = at;
        fs_sim_set_hook(sim, before_some_directory_sync, &left);
        write_until_killed(&options);
        fs_sim_set_hook(sim, NULL, NULL);
        fs_sim_kill(sim);
        ok(wal_exists(options.fs, directory, &exists));
        if (exists) {
            ok(wal_recover(&options, directory, 0, 0, &wal, &content));
            uint64_t last = content.entries.count;
            wal_content_deinit(&content);
            save(wal, (struct raft_hard_state){.term = 3}, 3, last + 1, BYTES_LITERAL("acknowledged"));
            ok(wal_sync(wal));
            fs_sim_power_off(sim);
            error_free(wal_close(wal));
            fs_sim_crash(sim, FS_SIM_LOSE_ALL);
            ok(wal_recover(&options, directory, 0, 0, &wal, &content));
            assert_int_equal(content.entries.count, last + 1);
            ok(wal_close(wal));
            wal_content_deinit(&content);
            tried++;
        }
        fs_sim_free(sim);
    }
    assert_true(tried > 5);
}

static size_t count_segments(struct fs *fs)
{
    char **names = NULL;
    size_t count = 0;
    ok(fs_list(fs, directory, &names, &count));
    fs_names_free(names, count);
    return count;
}

static void purge_removes_released_segments_only(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(19);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct wal *wal = NULL;
    uint64_t id = 1;
    uint8_t data[2500]; /* two entries fill a segment */
    memset(data, 'x', sizeof(data));
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 20; i++)
        save(wal, (struct raft_hard_state){.term = 1, .commit = i}, 1, i, bytes_of(data, sizeof(data)));
    assert_int_equal(wal_sequence(wal), 10);
    assert_int_equal(count_segments(options.fs), 11);
    size_t removed = 0;
    ok(wal_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 0); /* all are in use */
    ok(wal_save_snapshot(wal, 8, 1, conf_of(&id)));
    ok(wal_sync(wal));
    ok(wal_release(wal, 8)); /* segment 3 begins with 7, segment 4 with 9 */
    ok(wal_purge(&options, directory, 0, &removed));
    assert_int_equal(removed, 0);
    ok(wal_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 3);
    ok(wal_release(wal, 1000));
    ok(wal_purge(&options, directory, 5, &removed));
    assert_int_equal(removed, 3);
    assert_int_equal(count_segments(options.fs), 5);
    ok(wal_purge(&options, directory, 1, &removed));
    assert_int_equal(removed, 4);
    save(wal, (struct raft_hard_state){.term = 1, .commit = 20}, 1, 21, BYTES_LITERAL("more"));
    ok(wal_close(wal));
    fs_sim_free(sim);
}

/* The names of segments say where they start, the prepared file takes the next place. */
static void segments_are_named_by_sequence_and_first_index(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(20);
    struct wal_options options = options_of(sim, STORY_SEGMENT);
    struct wal *wal = NULL;
    uint8_t data[4096];
    memset(data, 'x', sizeof(data));
    ok(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    ok(wal_prepare(wal));
    bool exists = false;
    ok(fs_exists(options.fs, "/data/member/wal/0.tmp", &exists));
    assert_true(exists);
    save(wal, (struct raft_hard_state){.term = 1}, 1, 1, bytes_of(data, sizeof(data)));
    ok(fs_exists(options.fs, "/data/member/wal/0.tmp", &exists));
    assert_false(exists);
    ok(fs_exists(options.fs, "/data/member/wal/0000000000000001-0000000000000002.wal", &exists));
    assert_true(exists);
    ok(wal_prepare(wal));
    ok(fs_exists(options.fs, "/data/member/wal/1.tmp", &exists));
    assert_true(exists);
    struct buf first = {0};
    ok(fs_read_file(options.fs, first_segment, 1 << 20, &first));
    assert_int_equal(first.data[first.size - 1] == 0 && first.size % 4096 == 0,
                     false); /* cut at its last record */
    buf_deinit(&first);
    ok(wal_close(wal));
    ok(fs_exists(options.fs, "/data/member/wal/1.tmp", &exists));
    assert_false(exists);
    fs_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_decode_to_etcds_checksums),
        cmocka_unit_test(a_new_log_has_etcds_bytes),
        cmocka_unit_test(records_of_every_size_read_back),
        cmocka_unit_test(a_healthy_story_reads_back_over_many_segments),
        cmocka_unit_test(a_power_cut_at_any_operation_loses_nothing_synced),
        cmocka_unit_test(a_power_cut_during_recovery_loses_nothing),
        cmocka_unit_test(a_killed_process_loses_nothing_written),
        cmocka_unit_test(a_fault_at_any_operation_is_reported_and_loses_nothing_synced),
        cmocka_unit_test(a_full_disk_is_reported_and_loses_nothing_synced),
        cmocka_unit_test(reading_faults_are_reported),
        cmocka_unit_test(a_flipped_bit_in_data_is_fatal),
        cmocka_unit_test(a_torn_record_is_cut_off_once_and_kept_aside),
        cmocka_unit_test(stale_bytes_behind_the_end_are_cleared),
        cmocka_unit_test(contradictions_have_etcds_texts),
        cmocka_unit_test(a_huge_length_is_a_torn_record),
        cmocka_unit_test(a_damaged_size_is_not_taken_for_a_torn_write),
        cmocka_unit_test(no_flipped_bit_loses_anything),
        cmocka_unit_test(a_size_that_became_zero_is_damage),
        cmocka_unit_test(a_torn_segment_in_the_middle_is_corruption),
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
        cmocka_unit_test(entries_behind_a_kill_survive_a_power_cut),
        cmocka_unit_test(segments_are_named_by_sequence_and_first_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
