/* A write-ahead log with damaged bytes: torn writes are cut off, everything else is refused. */
#include "base/buf.h"
#include "storage/wal_record.h"
#include "tests/unit/wal_fixture.h"

#include <inttypes.h>
#include <stdlib.h>

static void a_flipped_bit_in_data_is_fatal(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(5);
    struct wal_options options = options_of(sim, 8192);
    struct wal *wal = NULL;
    struct wal_content content = {0};
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t start = wal_offset(wal);
    uint8_t data[700];
    memset(data, 'x', sizeof(data));
    save(wal, (struct raft_hard_state){0}, 1, 1, bytes_of(data, sizeof(data)));
    uint64_t end = wal_offset(wal) - 8;
    save(wal, (struct raft_hard_state){0}, 1, 2, bytes_of(data, 10));
    must(wal_close(wal));
    for (uint64_t offset = start + 40; offset < end; offset += 13) {
        assert_true(fs_sim_flip_bit(sim, first_segment, offset, (unsigned)(offset % 8)));
        must_fail(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT,
                  "walpb: crc mismatch: in file '");
        must_fail(wal_read(&options, directory, 0, 0, &content), ERROR_CORRUPT, first_segment);
        assert_true(fs_sim_flip_bit(sim, first_segment, offset, (unsigned)(offset % 8)));
    }
    bool broken = true;
    must(fs_exists(options.fs, "/data/member/wal/0000000000000000-0000000000000000.wal.broken", &broken));
    assert_false(broken);
    must(wal_open(&options, directory, 0, 0, &wal, &content));
    assert_int_equal(content.entries.count, 2);
    must(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
}

/* Fills [offset, offset + size) of the first segment with zeros and cuts it at `cut` (0: not at all). */
static void wipe(struct fs *fs, uint64_t offset, size_t size, uint64_t cut)
{
    struct fs_file *file = NULL;
    must(fs_open(fs, first_segment, FS_WRITE, &file));
    uint8_t *zeros = mem_zalloc(size, 1);
    if (size > 0) must(fs_file_pwrite(file, zeros, size, offset));
    if (cut > 0) must(fs_file_truncate(file, cut));
    free(zeros);
    must(fs_file_sync(file));
    must(fs_file_close(file));
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
        must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
        uint8_t data[1200];
        memset(data, 'x', sizeof(data));
        save(wal, (struct raft_hard_state){.term = 1, .commit = 1}, 1, 1, bytes_of(data, 30));
        uint64_t good = wal_offset(wal);
        save(wal, (struct raft_hard_state){0}, 1, 2, bytes_of(data, sizeof(data)));
        uint64_t end = wal_offset(wal);
        must(wal_close(wal));
        wipe(options.fs, 1024, damages[i].lost_sector ? 512 : 0,
             damages[i].lost_sector ? 0 : end - damages[i].cut_back);

        must(wal_read(&options, directory, 0, 0, &content));
        assert_true(content.torn);
        assert_int_equal(content.entries.count, 1);
        wal_content_deinit(&content);
        must_fail(wal_open(&options, directory, 0, 0, &wal, &content), ERROR_TORN,
                  "unexpected EOF: in file '");
        struct buf damaged = {0}, kept = {0};
        must(fs_read_file(options.fs, first_segment, 1 << 20, &damaged));
        must(wal_recover(&options, directory, 0, 0, &wal, &content));
        assert_int_equal(content.entries.count, 1);
        assert_int_equal(wal_offset(wal), good);
        must(fs_read_file(options.fs, "/data/member/wal/0000000000000000-0000000000000000.wal.broken",
                          1 << 20, &kept));
        assert_true(bytes_equal(buf_bytes(&damaged), buf_bytes(&kept)));
        save(wal, (struct raft_hard_state){0}, 2, 2, BYTES_LITERAL("again"));
        must(wal_close(wal));
        wal_content_deinit(&content);
        must(wal_open(&options, directory, 0, 0, &wal, &content));
        assert_int_equal(content.entries.count, 2);
        must(wal_close(wal));
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
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t good = wal_offset(wal);
    uint8_t data[1200];
    memset(data, 'x', sizeof(data));
    save(wal, (struct raft_hard_state){0}, 1, 1, bytes_of(data, sizeof(data)));
    must(wal_close(wal));
    wipe(options.fs, good, 512 - good % 512, 0); /* its sector was not written, the next ones were */
    must(wal_open(&options, directory, 0, 0, &wal, &content));
    assert_int_equal(content.entries.count, 0);
    assert_int_equal(wal_offset(wal), good);
    struct buf file = {0};
    must(fs_read_file(options.fs, first_segment, 1 << 20, &file));
    assert_int_equal(file.size, 8192);
    for (size_t i = (size_t)good; i < file.size; i++) assert_int_equal(file.data[i], 0);
    buf_deinit(&file);
    must(wal_close(wal));
    wal_content_deinit(&content);
    fs_sim_free(sim);
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
        must(fs_make_directory(options.fs, directory));
        put_segment(options.fs, "0000000000000000-0000000000000000.wal", buf_bytes(&out));
        struct wal *wal = NULL;
        struct wal_content content = {0};
        must_fail(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT, cases[i].text);
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
    must(fs_make_directory(options.fs, directory));
    uint8_t huge[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81};
    put_segment(options.fs, "0000000000000000-0000000000000000.wal", bytes_of(huge, sizeof(huge)));
    struct wal *wal = NULL;
    struct wal_content content = {0};
    must_fail(wal_open(&options, directory, 0, 0, &wal, &content), ERROR_TORN,
              "at position: 0: a record is longer");
    /* Repair leaves an empty segment: no snapshot is in it, and there is nothing to cut off a second time. */
    must_fail(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT,
              "failed to read WAL, cannot be repaired: wal: snapshot not found");
    fs_sim_free(sim);
}

static void put_bytes(struct fs *fs, uint64_t offset, const void *data, size_t size)
{
    struct fs_file *file = NULL;
    must(fs_open(fs, first_segment, FS_WRITE, &file));
    must(fs_file_pwrite(file, data, size, offset));
    must(fs_file_sync(file));
    must(fs_file_close(file));
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
            must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
            for (uint64_t index = 1; index <= LAST; index++) {
                if (index == victim) at = wal_offset(wal);
                save(wal, (struct raft_hard_state){0}, 1, index, bytes_of(zeros, sizeof(zeros)));
            }
            must(wal_close(wal));
            struct buf file = {0};
            must(fs_read_file(options.fs, first_segment, 1 << 20, &file));
            uint64_t size = le64_get(file.data + at) ^ UINT64_C(1) << bit;
            uint8_t header[8];
            le64_put(header, size);
            put_bytes(options.fs, at, header, sizeof(header));
            struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
            if (error == NULL) { /* a bit that says nothing */
                assert_int_equal(content.entries.count, LAST);
                must(wal_close(wal));
                wal_content_deinit(&content);
            } else {
                assert_int_equal(error->kind, ERROR_CORRUPT);
                assert_non_null(strstr(error->text, first_segment));
                error_free(error);
                buf_clear(&file);
                must(fs_read_file(options.fs, first_segment, 1 << 20, &file));
                assert_true(le64_get(file.data + at) == size && file.size == 1 << 16);
            }
            buf_deinit(&file);
            fs_sim_free(sim);
        }
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
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t begin = wal_offset(wal);
    for (uint64_t index = 1; index <= LAST; index++)
        save(wal, (struct raft_hard_state){.term = 1, .commit = index - 1}, 1, index,
             bytes_of(zeros, index == LAST ? 3 : sizeof(zeros)));
    uint64_t end = wal_offset(wal);
    must(wal_close(wal));
    must(fs_read_file(options.fs, first_segment, 1 << 20, &file));
    for (uint64_t bit = begin * 8; bit < end * 8; bit++) {
        struct wal_content content = {0};
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_bytes(options.fs, 0, file.data, file.size);
        struct error *error = wal_recover(&options, directory, 0, 0, &wal, &content);
        if (error == NULL) {
            if (content.entries.count != LAST || content.hard_state.commit != LAST - 1)
                fail_msg("bit %" PRIu64 " of byte %" PRIu64 " (log %" PRIu64 "..%" PRIu64 ")", bit % 8,
                         bit / 8, begin, end);
            must(wal_close(wal));
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

/* Everything that was read, as text. */
static void describe(struct buf *out, const struct wal_content *content, const struct wal_snapshots *valid)
{
    buf_clear(out);
    buf_printf(out, "metadata %.*s%s, state %" PRIu64 " %" PRIx64 " %" PRIu64 "\n",
               (int)content->metadata.size, (const char *)content->metadata.data,
               content->torn ? ", torn" : "", content->hard_state.term, content->hard_state.vote,
               content->hard_state.commit);
    for (size_t i = 0; i < content->entries.count; i++) {
        const struct raft_entry *entry = &content->entries.items[i];
        buf_printf(out, "%d %" PRIu64 " %" PRIu64 " %zu\n", (int)entry->type, entry->term, entry->index,
                   entry->data == NULL ? 0 : entry->data->size);
    }
    for (size_t i = 0; i < valid->count; i++)
        buf_printf(out, "snapshot %" PRIu64 " %" PRIu64 "\n", valid->items[i].index, valid->items[i].term);
}

/* False: refused, and the segment is named. */
static bool read_all(const struct wal_options *options, const char *segment, struct buf *text)
{
    struct wal_content content = {0};
    struct wal_snapshots valid = {0};
    struct error *error = wal_valid_snapshots(options, directory, 0, &valid);
    if (error == NULL) error = wal_read(options, directory, 0, 0, &content);
    if (error == NULL)
        describe(text, &content, &valid);
    else if (error->kind != ERROR_CORRUPT || strstr(error->text, segment) == NULL)
        fail_msg("not refused as it should be: %s", error->text);
    bool good = error == NULL;
    error_free(error);
    wal_content_deinit(&content);
    wal_snapshots_deinit(&valid);
    return good;
}

/* All kinds of records, in terms that are also types of entries; in two segments. */
static void write_all_kinds(const struct wal_options *options)
{
    struct wal *wal = NULL;
    uint64_t id = 0xabc;
    bool must_sync;
    must(wal_create(options, directory, BYTES_LITERAL("\x08\x91\x22\x10\x05"), &wal));
    for (uint64_t index = 1; wal_sequence(wal) < 1 || index % 8 != 0; index++) {
        struct raft_entry entry = {.term = 1 + index / 8, .index = index};
        struct raft_hard_state state = {.term = entry.term,
                                        .vote = index % 3 == 0 ? 0 : id,
                                        .commit = index - 1};
        if (index % 4 != 0) entry.data = blob_from(bytes_of("\x08\x01\x10\x00\x18\x05", 6));
        if (index % 4 == 1) entry.type = RAFT_ENTRY_CONF_CHANGE;
        must(wal_save(wal, &state, &entry, 1, &must_sync));
        blob_unref(entry.data);
        if (index % 8 == 3) must(wal_save_snapshot(wal, index - 1, entry.term, conf_of(&id)));
    }
    must(wal_sync(wal));
    must(wal_close(wal));
}

/* Type, size and checksum of a record, padding, the head of a file: whichever bit flips, the log is refused
 * or read as it was written. */
static void no_flipped_bit_is_misread(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(9);
    struct wal_options options = options_of(sim, 1024);
    struct buf good = {0}, found = {0};
    char **names;
    size_t count;
    write_all_kinds(&options);
    assert_true(read_all(&options, "", &good));
    must(fs_list(options.fs, directory, &names, &count));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", directory, names[i]);
        struct buf file = {0};
        must(fs_read_file(options.fs, path, 1 << 20, &file));
        while (file.size > 0 && file.data[file.size - 1] == 0) file.size--; /* the rest is room */
        for (uint64_t bit = 0; bit < file.size * 8; bit++) {
            assert_true(fs_sim_flip_bit(sim, path, bit / 8, bit % 8));
            if (read_all(&options, path, &found) && !bytes_equal(buf_bytes(&good), buf_bytes(&found)))
                fail_msg("bit %d of byte %" PRIu64 " of %s: read as %s", (int)(bit % 8), bit / 8, path,
                         buf_string(&found));
            assert_true(fs_sim_flip_bit(sim, path, bit / 8, bit % 8));
        }
        buf_deinit(&file);
        free(path);
    }
    fs_names_free(names, count);
    buf_deinit(&good);
    buf_deinit(&found);
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
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    uint64_t at = wal_offset(wal);
    save(wal, (struct raft_hard_state){0}, 1, 1, BYTES_LITERAL("kept"));
    must(wal_close(wal));
    put_bytes(options.fs, at, zeros, sizeof(zeros));
    must_fail(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT,
              "wal: the size of a record is damaged");
    must_fail(wal_read(&options, directory, 0, 0, &content), ERROR_CORRUPT, first_segment);
    fs_sim_free(sim);
}

static void a_torn_segment_in_the_middle_is_corruption(void **state)
{
    (void)state;
    struct fs_sim *sim = new_disk(10);
    struct wal_options options = options_of(sim, SMALL_SEGMENT);
    struct wal *wal = NULL;
    uint8_t data[2500]; /* two entries fill a segment */
    memset(data, 'x', sizeof(data));
    must(wal_create(&options, directory, BYTES_LITERAL("metadata"), &wal));
    for (uint64_t i = 1; i <= 5; i++)
        save(wal, (struct raft_hard_state){.term = 1}, 1, i, bytes_of(data, sizeof(data)));
    assert_int_equal(wal_sequence(wal), 2);
    must(wal_close(wal));
    struct buf first = {0};
    must(fs_read_file(options.fs, first_segment, 1 << 20, &first));
    wipe(options.fs, 0, 0, first.size - 20);
    struct wal_content content = {0};
    must_fail(wal_recover(&options, directory, 0, 0, &wal, &content), ERROR_CORRUPT, first_segment);
    must_fail(wal_read(&options, directory, 0, 0, &content), ERROR_CORRUPT, first_segment);
    buf_deinit(&first);
    fs_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_in_data_is_fatal),
        cmocka_unit_test(a_torn_record_is_cut_off_once_and_kept_aside),
        cmocka_unit_test(stale_bytes_behind_the_end_are_cleared),
        cmocka_unit_test(contradictions_have_etcds_texts),
        cmocka_unit_test(a_huge_length_is_a_torn_record),
        cmocka_unit_test(a_damaged_size_is_not_taken_for_a_torn_write),
        cmocka_unit_test(no_flipped_bit_loses_anything),
        cmocka_unit_test(no_flipped_bit_is_misread),
        cmocka_unit_test(a_size_that_became_zero_is_damage),
        cmocka_unit_test(a_torn_segment_in_the_middle_is_corruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
