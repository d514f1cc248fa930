/* Arbitrary bytes as the segments of a log: reading, repairing and going on never crash, never invent
 * anything, and what was recovered once is what the next start finds.
 *
 * The first byte says how to take the rest: as one segment, as two, or as a list of records {type, size,
 * data} that are given proper frames and checksums, so that damage behind the checksum is reached too. */
#include "base/blob.h"
#include "storage/fs_sim.h"
#include "storage/wal.h"
#include "storage/wal_files.h"
#include "storage/wal_record.h"
#include "tests/fuzz/fuzz.h"

enum { FILE_SIZE = 4 << 20, SEGMENT_SIZE = 16 * 1024 };

enum shape { ONE_SEGMENT, TWO_SEGMENTS, RECORDS, SHAPES };

static const char directory[] = "/wal";

static struct wal_options options_for(struct fs_sim *sim)
{
    return (struct wal_options){.fs = fs_sim_fs(sim), .logger = &log_discard, .segment_size = SEGMENT_SIZE};
}

static void put_file(struct fs *fs, uint64_t sequence, uint64_t index, struct bytes content)
{
    char *path = wal_segment_path(directory, sequence, index);
    struct fs_file *file = NULL;
    fuzz_must(fs_open(fs, path, FS_WRITE | FS_CREATE, &file));
    fuzz_must(fs_file_pwrite(file, content.data, content.size, 0));
    fuzz_must(fs_file_close(file));
    free(path);
}

static void put_records(struct fs *fs, struct bytes list)
{
    struct buf content = {0};
    uint32_t chain = 0;
    wal_record_append(&content, WAL_CRC, BYTES_EMPTY, &chain);
    wal_record_append(&content, WAL_METADATA, BYTES_LITERAL("metadata"), &chain);
    wal_record_append(&content, WAL_SNAPSHOT, BYTES_LITERAL("\x08\x00\x10\x00"), &chain);
    while (list.size >= 2) {
        size_t size = list.data[1] < list.size - 2 ? list.data[1] : list.size - 2;
        static const enum wal_record_type types[] = {WAL_ENTRY, WAL_STATE, WAL_SNAPSHOT, WAL_METADATA};
        wal_record_append(&content, types[list.data[0] % 4], bytes_of(list.data + 2, size), &chain);
        list = bytes_of(list.data + 2 + size, list.size - 2 - size);
    }
    put_file(fs, 0, 0, buf_bytes(&content));
    buf_deinit(&content);
}

static void put_segments(struct fs *fs, enum shape shape, struct bytes input)
{
    fuzz_must(fs_make_directory(fs, directory));
    if (shape == RECORDS) {
        put_records(fs, input);
    } else if (shape == TWO_SEGMENTS) {
        size_t half = input.size / 2 / 8 * 8;
        put_file(fs, 0, 0, bytes_of(input.data, half));
        put_file(fs, 1, 5, bytes_of(input.data + half, input.size - half));
    } else {
        put_file(fs, 0, 0, input);
    }
}

static bool same_content(const struct wal_content *a, const struct wal_content *b)
{
    if (!bytes_equal(buf_bytes(&a->metadata), buf_bytes(&b->metadata))) return false;
    if (!raft_hard_state_equal(a->hard_state, b->hard_state) || a->entries.count != b->entries.count)
        return false;
    for (size_t i = 0; i < a->entries.count; i++) {
        const struct raft_entry *x = &a->entries.items[i], *y = &b->entries.items[i];
        if (x->type != y->type || x->term != y->term || x->index != y->index) return false;
        if (!bytes_equal(blob_bytes(x->data), blob_bytes(y->data))) return false;
    }
    return true;
}

/* A log that was recovered takes more, and the next start finds the old and the new. */
static void go_on(const struct wal_options *options, struct wal *wal, struct wal_content *content)
{
    for (size_t i = 0; i < content->entries.count; i++) FUZZ_CHECK(content->entries.items[i].index == i + 1);
    bool must_sync = false;
    struct raft_entry next = {.term = 7,
                              .index = content->entries.count + 1,
                              .data = blob_from(BYTES_LITERAL("next"))};
    struct raft_hard_state state = {.term = 7, .vote = 1, .commit = 1};
    fuzz_must(wal_save(wal, &state, &next, 1, &must_sync));
    FUZZ_CHECK(must_sync);
    fuzz_must(wal_close(wal));
    raft_entries_append_owned(&content->entries, next);
    content->hard_state = state;
    struct wal *again = NULL;
    struct wal_content found = {0};
    fuzz_must(wal_open(options, directory, 0, 0, &again, &found));
    FUZZ_CHECK(same_content(content, &found));
    fuzz_must(wal_close(again));
    wal_content_deinit(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = FILE_SIZE});
    struct wal_options options = options_for(sim);
    put_segments(options.fs, data[0] % SHAPES, bytes_of(data + 1, size - 1));

    struct wal_content read = {0}, content = {0};
    struct wal_snapshots snapshots = {0};
    struct error *read_error = wal_read(&options, directory, 0, 0, &read);
    error_free(wal_valid_snapshots(&options, directory, 0, &snapshots));
    struct wal *wal = NULL;
    struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
    if (read_error != NULL) FUZZ_CHECK(error != NULL);
    /* Repair looks at the last segment alone: it stops at one that does not begin with the chain's value. */
    if (error != NULL && data[0] % SHAPES != TWO_SEGMENTS) FUZZ_CHECK(read_error != NULL);
    if (error == NULL) {
        FUZZ_CHECK(same_content(&read, &content));
        go_on(&options, wal, &content);
    }
    error_free(error);
    error_free(read_error);
    wal_snapshots_deinit(&snapshots);
    wal_content_deinit(&read);
    wal_content_deinit(&content);
    fs_sim_free(sim);
    return 0;
}

static void append_segment(struct buf *out, const struct raft_entry *entries, size_t count)
{
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = FILE_SIZE});
    struct wal_options options = options_for(sim);
    struct wal *wal = NULL;
    bool must_sync = false;
    struct raft_hard_state state = {.term = 2, .vote = 3, .commit = count};
    fuzz_must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    fuzz_must(wal_save(wal, &state, entries, count, &must_sync));
    size_t used = (size_t)wal_offset(wal);
    fuzz_must(wal_close(wal));
    char *path = wal_segment_path(directory, 0, 0);
    struct buf content = {0};
    fuzz_must(fs_read_file(options.fs, path, SEGMENT_SIZE, &content));
    buf_append(out, content.data, used + 64);
    buf_deinit(&content);
    free(path);
    fs_sim_free(sim);
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const char text[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct raft_entry entries[20];
    for (size_t i = 0; i < 20; i++)
        entries[i] =
            (struct raft_entry){.term = 1 + i / 8, .index = i + 1, .data = blob_from(bytes_of(text, i * 3))};
    if (number < 3) {
        static const size_t counts[] = {1, 5, 20};
        buf_append_byte(out, ONE_SEGMENT);
        append_segment(out, entries, counts[number]);
    } else if (number == 3) {
        buf_append_byte(out, RECORDS);
        buf_append(out, "\x00\x08\x08\x00\x10\x01\x18\x01\x22\x00\x01\x06\x08\x01\x10\x02\x18\x01", 18);
    }
    for (size_t i = 0; i < 20; i++) blob_unref(entries[i].data);
    return number <= 3;
}
