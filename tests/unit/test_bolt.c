/* The storage engine's contract, on a simulated disk. */
#include "base/buf.h"
#include "bolt/page.h"
#include "tests/bolt/support.h"

static const char *const path = "/db";

static int set_up(void **state)
{
    *state = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = 64 << 20});
    return 0;
}

static int tear_down(void **state)
{
    fs_sim_free(*state);
    return 0;
}

static struct bolt *open_db(struct fs_sim *sim)
{
    struct bolt *db;
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    return db;
}

static struct bolt *reopen(struct fs_sim *sim, struct bolt *db)
{
    must(bolt_close(db));
    return open_db(sim);
}

static void fill(const struct bolt_bucket *bucket, unsigned from, unsigned to, size_t value_size)
{
    uint8_t key[REVISION_KEY_SIZE];
    uint8_t *value = mem_zalloc(1, value_size);
    for (unsigned i = from; i < to; i++) {
        memset(value, (int)(i % 251), value_size);
        must(bolt_put(bucket, revision_key(i, key), bytes_of(value, value_size)));
    }
    free(value);
}

static void rows_survive_commit_and_reopen(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("meta"), &bucket));
    must_put(&bucket, "a", "1");
    must_put(&bucket, "b", "");
    must_have(&bucket, "a", "1");
    must(bolt_commit(tx));
    db = reopen(*state, db);
    must(bolt_begin_read(db, &tx));
    bucket = must_open_bucket(tx, "meta");
    must_have(&bucket, "a", "1");
    must_have(&bucket, "b", "");
    must_have(&bucket, "c", NULL);
    bolt_end_read(tx);
    must_be_sound(db);
    must(bolt_close(db));
}

static void rollback_leaves_no_trace(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, 1000, 100);
    must(bolt_commit(tx));
    struct bolt_stats before, after;
    bolt_stats(db, &before);
    must(bolt_begin_write(db, &tx));
    bucket = must_open_bucket(tx, "b");
    fill(&bucket, 500, 2000, 50);
    bool found;
    must(bolt_bucket_delete(tx, BYTES_LITERAL("b"), &found));
    assert_true(found);
    bolt_rollback(tx);
    bolt_stats(db, &after);
    assert_int_equal(before.txid, after.txid);
    assert_int_equal(before.size, after.size);
    assert_int_equal(before.in_use - before.pending_pages * before.page_size, after.in_use);
    must_be_sound(db);
    must(bolt_close(db));
}

static void a_transaction_without_changes_writes_nothing(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    uint64_t operations = fs_sim_operations(*state);
    bool found;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_delete(tx, BYTES_LITERAL("nothing"), &found));
    assert_false(found);
    must(bolt_commit(tx));
    assert_int_equal(fs_sim_operations(*state), operations);
    must(bolt_close(db));
}

static void buckets_are_listed_in_order_and_deleted_whole(void **state)
{
    static const char *const names[] = {"alarm", "auth", "cluster", "key", "lease", "meta"};
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket, root;
    struct bolt_cursor cursor;
    bool found;
    must(bolt_begin_write(db, &tx));
    for (size_t i = 6; i-- > 0;) must(bolt_bucket_create(tx, bytes_from_string(names[i]), &bucket));
    bucket = must_open_bucket(tx, "key");
    fill(&bucket, 0, 5000, 64);
    must(bolt_commit(tx));
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_delete(tx, BYTES_LITERAL("key"), &found));
    assert_true(found);
    root = bolt_root(tx);
    bolt_cursor_init(&cursor, &root);
    must(bolt_cursor_first(&cursor));
    for (size_t i = 0; i < 6; i++) {
        if (strcmp(names[i], "key") == 0) continue;
        assert_true(cursor.valid && cursor.is_bucket);
        assert_true(bytes_equal(cursor.key, bytes_from_string(names[i])));
        must(bolt_cursor_next(&cursor));
    }
    assert_false(cursor.valid);
    must(bolt_commit(tx));
    must_be_sound(db);
    struct bolt_stats stats;
    bolt_stats(db, &stats);
    assert_true(stats.in_use <= 8 * (uint64_t)stats.page_size);
    must(bolt_close(db));
}

static void sizes_out_of_bounds_are_refused(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t *large = mem_zalloc(1, BOLT_KEY_MAX + 1);
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    must_fail(bolt_put(&bucket, BYTES_EMPTY, BYTES_EMPTY), ERROR_INVALID, "");
    must_fail(bolt_put(&bucket, bytes_of(large, BOLT_KEY_MAX + 1), BYTES_EMPTY), ERROR_INVALID, "");
    must_fail(bolt_put(&bucket, bytes_of(large, 1), bytes_of(large, (size_t)BOLT_VALUE_MAX + 1)),
              ERROR_INVALID, "");
    must_fail(bolt_bucket_create(tx, BYTES_EMPTY, &bucket), ERROR_INVALID, "");
    for (uint8_t i = 0; i < 40; i++) {
        large[0] = i;
        must(bolt_put(&bucket, bytes_of(large, BOLT_KEY_MAX), bytes_of(large, 1)));
    }
    must(bolt_commit(tx));
    must_be_sound(db);
    free(large);
    must(bolt_close(db));
}

static void large_values_lie_in_overflow_pages(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, 10, 100);
    fill(&bucket, 10, 12, 1500000);
    fill(&bucket, 12, 20, 5000);
    must(bolt_commit(tx));
    db = reopen(*state, db);
    must_be_sound(db);
    must(bolt_begin_read(db, &tx));
    bucket = must_open_bucket(tx, "b");
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, &bucket);
    must(bolt_cursor_first(&cursor));
    for (unsigned i = 0; i < 20; i++, must_at(bolt_cursor_next(&cursor), __FILE__, __LINE__)) {
        assert_true(cursor.valid);
        assert_int_equal(cursor.value.size, i < 10 ? 100 : i < 12 ? 1500000 : 5000);
        assert_int_equal(cursor.value.data[cursor.value.size - 1], i % 251);
    }
    assert_false(cursor.valid);
    bolt_end_read(tx);
    must(bolt_close(db));
}

static void cursors_walk_both_ways_and_seek(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    uint8_t key[REVISION_KEY_SIZE];
    enum { ROWS = 3000 };
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    for (unsigned i = 0; i < ROWS; i++) must(bolt_put(&bucket, revision_key(i * 2, key), BYTES_LITERAL("v")));
    must(bolt_commit(tx));
    must(bolt_begin_read(db, &tx));
    bucket = must_open_bucket(tx, "b");
    bolt_cursor_init(&cursor, &bucket);
    for (unsigned i = 0; i < ROWS * 2; i++) {
        must(bolt_cursor_seek(&cursor, revision_key(i, key)));
        if (i >= ROWS * 2 - 1) {
            assert_false(cursor.valid);
            continue;
        }
        assert_true(cursor.valid);
        assert_int_equal(be64_get(cursor.key.data), (i + 1) / 2 * 2);
        must(bolt_cursor_prev(&cursor));
        assert_int_equal(cursor.valid, (i + 1) / 2 > 0);
        if (!cursor.valid) continue;
        assert_int_equal(be64_get(cursor.key.data), (i + 1) / 2 * 2 - 2);
        must(bolt_cursor_next(&cursor));
        assert_int_equal(be64_get(cursor.key.data), (i + 1) / 2 * 2);
    }
    must(bolt_cursor_last(&cursor));
    for (unsigned i = ROWS; i-- > 0; must_at(bolt_cursor_prev(&cursor), __FILE__, __LINE__))
        assert_int_equal(be64_get(cursor.key.data), i * 2);
    assert_false(cursor.valid);
    bolt_end_read(tx);
    must(bolt_close(db));
}

/* What compaction does: delete rows while walking over them. */
static void a_cursor_goes_on_after_its_row_was_deleted(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    enum { ROWS = 4000 };
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, ROWS, 40);
    must(bolt_commit(tx));
    must(bolt_begin_write(db, &tx));
    bucket = must_open_bucket(tx, "b");
    bolt_cursor_init(&cursor, &bucket);
    must(bolt_cursor_first(&cursor));
    for (unsigned i = 0; i < ROWS; i++) {
        assert_true(cursor.valid);
        assert_int_equal(be64_get(cursor.key.data), i);
        bool found;
        if (i % 3 != 0) must(bolt_delete(&bucket, cursor.key, &found));
        must(bolt_cursor_next(&cursor));
    }
    assert_false(cursor.valid);
    must(bolt_cursor_last(&cursor));
    unsigned rows = 0;
    for (; cursor.valid; rows++) {
        must(bolt_delete(&bucket, cursor.key, NULL));
        must(bolt_cursor_prev(&cursor));
    }
    assert_int_equal(rows, (ROWS + 2) / 3);
    must(bolt_commit(tx));
    must_be_sound(db);
    must(bolt_close(db));
}

static void deleting_most_rows_merges_pages(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t key[REVISION_KEY_SIZE];
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, 20000, 100);
    must(bolt_commit(tx));
    for (unsigned round = 0; round < 4; round++) {
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "b");
        for (unsigned i = round * 5000; i < (round + 1) * 5000; i++)
            if (i % 50 != 0) must(bolt_delete(&bucket, revision_key(i, key), NULL));
        must(bolt_commit(tx));
        must_be_sound(db);
    }
    struct bolt_stats stats;
    bolt_stats(db, &stats);
    /* 400 rows of 133 bytes are 13 full pages. */
    assert_true(stats.in_use / stats.page_size < 4 * 13);
    must(bolt_close(db));
}

/* bbolt looks for a page in its parent under the page's first key. */
static void branches_name_pages_by_their_first_rows(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t key[REVISION_KEY_SIZE];
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, 20000, 100);
    must(bolt_commit(tx));
    /* A page holds some 30 of these rows: this takes the first one away from some pages each time. */
    for (unsigned first = 0; first < 40; first += 8) {
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "b");
        for (unsigned i = first; i < 20000; i += 40) must(bolt_delete(&bucket, revision_key(i, key), NULL));
        fill(&bucket, 20000 + first * 1000, 20000 + first * 1000 + 4000, 100); /* splits up to the root */
        must(bolt_commit(tx));
        must_be_sound(db);
    }
    must(bolt_close(db));
}

static void ascending_rows_fill_their_pages(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    for (unsigned round = 0; round < 20; round++) {
        must(bolt_begin_write(db, &tx));
        must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
        fill(&bucket, round * 500, (round + 1) * 500, 300);
        must(bolt_commit(tx));
    }
    must_be_sound(db);
    struct bolt_stats stats;
    bolt_stats(db, &stats);
    uint64_t payload = 10000 * (300 + REVISION_KEY_SIZE + 16);
    assert_true(stats.in_use < payload + payload / 5);
    must(bolt_close(db));
}

static void the_file_grows_in_steps(void **state)
{
    struct bolt *db;
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    struct bolt_stats stats;
    must(bolt_open(fs_sim_fs(*state), path, &(struct bolt_options){.initial_map_size = 32 << 20}, &db));
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
    must_put(&bucket, "k", "v");
    must(bolt_commit(tx));
    bolt_stats(db, &stats);
    /* As etcd: pages used, one more, and 16 MiB. */
    assert_int_equal(stats.file_size, stats.size + 4096 + (16 << 20));
    must(bolt_close(db));
}

static void less_address_space_than_wished_for_is_enough(void **state)
{
    struct bolt *db;
    struct bolt_options options = {.initial_map_size = (uint64_t)1 << 40};
    must(bolt_open(fs_sim_fs(*state), path, &options, &db));
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
    fill(&bucket, 0, 10000, 300);
    must(bolt_commit(tx));
    must_be_sound(db);
    must(bolt_close(db));
}

static void the_map_grows_under_open_readers(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx, *reader;
    struct bolt_bucket bucket, old;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, 20, 1000);
    must(bolt_commit(tx));
    must(bolt_begin_read(db, &reader));
    old = must_open_bucket(reader, "b");
    struct bytes value, first;
    bool found;
    uint8_t key[REVISION_KEY_SIZE];
    must(bolt_get(&old, revision_key(7, key), &first, &found));
    for (unsigned round = 0; round < 12; round++) {
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "b");
        fill(&bucket, round, 20 + (1U << round), 1000);
        must(bolt_commit(tx));
    }
    must(bolt_get(&old, revision_key(7, key), &value, &found));
    assert_true(found);
    assert_ptr_equal(value.data, first.data);
    assert_int_equal(value.data[999], 7);
    must(bolt_get(&old, revision_key(21, key), &value, &found));
    assert_false(found);
    bolt_end_read(reader);
    must_be_sound(db);
    must(bolt_close(db));
}

static void freed_pages_wait_for_older_readers(void **state)
{
    struct bolt *db = open_db(*state);
    struct bolt_tx *tx, *reader;
    struct bolt_bucket bucket;
    struct bolt_stats before, during, after;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, 1000, 100);
    must(bolt_commit(tx));
    must(bolt_begin_read(db, &reader));
    bolt_stats(db, &before);
    for (unsigned round = 0; round < 50; round++) {
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "b");
        fill(&bucket, round * 20, round * 20 + 20, 100);
        must(bolt_commit(tx));
    }
    bolt_stats(db, &during);
    assert_int_equal(during.oldest_reader, before.txid);
    assert_int_equal(during.open_readers, 1);
    assert_true(during.pending_pages >= 100);
    bolt_end_read(reader);
    must(bolt_begin_write(db, &tx));
    bolt_rollback(tx);
    bolt_stats(db, &after);
    assert_int_equal(after.pending_pages, 0);
    assert_true(after.free_pages >= during.pending_pages);
    must_be_sound(db);
    must(bolt_close(db));
}

static void a_locked_file_is_refused(void **state)
{
    struct bolt *db, *second;
    struct bolt_options options = {.lock = true}, reading = {.lock = true, .read_only = true};
    must(bolt_open(fs_sim_fs(*state), path, &options, &db));
    must_fail(bolt_open(fs_sim_fs(*state), path, &options, &second), ERROR_LOCKED, "");
    must_fail(bolt_open(fs_sim_fs(*state), path, &reading, &second), ERROR_LOCKED, "");
    must(bolt_close(db));
    must(bolt_open(fs_sim_fs(*state), path, &reading, &db));
    must(bolt_open(fs_sim_fs(*state), path, &reading, &second));
    struct bolt_tx *tx;
    must_fail(bolt_begin_write(db, &tx), ERROR_INVALID, "");
    must(bolt_close(db));
    must(bolt_close(second));
}

static void a_missing_file_is_not_made_for_reading(void **state)
{
    struct bolt *db;
    bool exists;
    must_fail(bolt_open(fs_sim_fs(*state), path, &(struct bolt_options){.read_only = true}, &db),
              ERROR_NOT_FOUND, "");
    must(fs_exists(fs_sim_fs(*state), path, &exists));
    assert_false(exists);
}

static void other_page_sizes_are_taken_from_the_file(void **state)
{
    for (uint32_t size = 1024; size <= 65536; size *= 2) {
        char name[32];
        snprintf(name, sizeof(name), "/db-%u", size);
        struct bolt *db;
        struct bolt_tx *tx;
        struct bolt_bucket bucket;
        must(bolt_open(fs_sim_fs(*state), name, &(struct bolt_options){.page_size = size}, &db));
        must(bolt_begin_write(db, &tx));
        must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
        fill(&bucket, 0, 500, 100);
        must(bolt_commit(tx));
        must(bolt_close(db));
        /* Without the first meta page its size has to be found out. */
        assert_true(fs_sim_flip_bit(*state, name, 16, 0));
        must(bolt_open(fs_sim_fs(*state), name, NULL, &db));
        struct bolt_stats stats;
        bolt_stats(db, &stats);
        assert_int_equal(stats.page_size, size);
        must_be_sound(db);
        must(bolt_close(db));
    }
}

/* ---- Images and copies ---- */

struct collector {
    struct fs_file *file;
    uint64_t size;
    struct bolt *db; /* written to between chunks */
};

static struct error *collect(void *context, struct bytes chunk)
{
    struct collector *collector = context;
    TRY(fs_file_pwrite(collector->file, chunk.data, chunk.size, collector->size));
    collector->size += chunk.size;
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    TRY(bolt_begin_write(collector->db, &tx));
    bucket = must_open_bucket(tx, "key");
    fill(&bucket, 0, 300, 77);
    return bolt_commit(tx);
}

static void expect_rows(struct fs *fs, const char *name, unsigned rows, size_t value_size)
{
    struct bolt *db;
    struct bolt_tx *tx;
    must(bolt_open(fs, name, NULL, &db));
    must_be_sound(db);
    must(bolt_begin_read(db, &tx));
    struct bolt_bucket bucket = must_open_bucket(tx, "key");
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, &bucket);
    must(bolt_cursor_first(&cursor));
    for (unsigned i = 0; i < rows; i++) {
        assert_true(cursor.valid);
        assert_int_equal(be64_get(cursor.key.data), i);
        assert_int_equal(cursor.value.size, value_size);
        assert_int_equal(cursor.value.data[value_size - 1], i % 251);
        must(bolt_cursor_next(&cursor));
    }
    assert_false(cursor.valid);
    struct bolt_bucket small = must_open_bucket(tx, "meta");
    must_have(&small, "consistent_index", "12345678");
    bolt_end_read(tx);
    must(bolt_close(db));
}

static struct bolt *two_buckets(struct fs_sim *sim, unsigned rows, size_t value_size)
{
    struct bolt *db = open_db(sim);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("meta"), &bucket));
    must_put(&bucket, "consistent_index", "12345678");
    must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
    fill(&bucket, 0, rows, value_size);
    must(bolt_commit(tx));
    return db;
}

static void an_image_is_one_state_while_writing_goes_on(void **state)
{
    struct fs *fs = fs_sim_fs(*state);
    struct bolt *db = two_buckets(*state, 20000, 200);
    struct collector collector = {.db = db};
    struct bolt_tx *reader;
    must(bolt_begin_read(db, &reader));
    must(fs_open(fs, "/image", FS_WRITE | FS_CREATE, &collector.file));
    must(bolt_write_to(reader, collect, &collector));
    assert_int_equal(collector.size, bolt_size(reader));
    uint64_t size;
    must(fs_file_size(collector.file, &size));
    assert_int_equal(size, bolt_size(reader));
    must(fs_file_close(collector.file));
    bolt_end_read(reader);
    expect_rows(fs, "/image", 20000, 200);
    must_be_sound(db);
    must(bolt_close(db));
}

static void any_part_of_an_image_can_be_read(void **state)
{
    struct bolt *db = two_buckets(*state, 100, 200);
    struct bolt_tx *reader;
    must(bolt_begin_read(db, &reader));
    size_t size = (size_t)bolt_size(reader), read;
    uint8_t *whole = mem_alloc(size), *part = mem_alloc(size);
    must(bolt_image_read(reader, 0, whole, size, &read));
    assert_int_equal(read, size);
    for (size_t offset = 0; offset < size; offset += 1000) {
        must(bolt_image_read(reader, offset, part, 1000, &read));
        assert_int_equal(read, size - offset < 1000 ? size - offset : 1000);
        assert_memory_equal(part, whole + offset, read);
    }
    must(bolt_image_read(reader, size, part, 10, &read));
    assert_int_equal(read, 0);
    free(whole);
    free(part);
    bolt_end_read(reader);
    must(bolt_close(db));
}

static void a_compact_copy_has_all_rows_and_no_free_pages(void **state)
{
    struct bolt *db = two_buckets(*state, 10000, 200), *copy;
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t key[REVISION_KEY_SIZE];
    must(bolt_begin_write(db, &tx));
    bucket = must_open_bucket(tx, "key");
    for (unsigned i = 3000; i < 10000; i++) must(bolt_delete(&bucket, revision_key(i, key), NULL));
    must(bolt_commit(tx));
    must(bolt_begin_read(db, &tx));
    must(bolt_compact_to(tx, fs_sim_fs(*state), "/db.tmp.1", NULL, NULL));
    bolt_end_read(tx);
    must(bolt_close(db));
    must(bolt_open(fs_sim_fs(*state), "/db.tmp.1", NULL, &copy));
    struct bolt_stats stats;
    bolt_stats(copy, &stats);
    assert_int_equal(stats.free_pages, 0);
    assert_int_equal(stats.file_size, stats.size);
    assert_true(stats.size < 3000 * 233 * 5 / 4);
    must(bolt_close(copy));
    expect_rows(fs_sim_fs(*state), "/db.tmp.1", 3000, 200);
}

static bool stop(void *context, uint64_t written)
{
    (void)context;
    (void)written;
    return false;
}

static void a_cancelled_copy_leaves_no_file(void **state)
{
    struct bolt *db = two_buckets(*state, 10, 10);
    struct bolt_tx *tx;
    bool exists;
    must(bolt_begin_read(db, &tx));
    must_fail(bolt_compact_to(tx, fs_sim_fs(*state), "/copy", stop, NULL), ERROR_CANCELED, "");
    must(fs_exists(fs_sim_fs(*state), "/copy", &exists));
    assert_false(exists);
    bolt_end_read(tx);
    must(bolt_close(db));
}

/* ---- Buckets in buckets ---- */

/* The page and offset in it of the leaf element with `key`, in any leaf of the file. */
static uint64_t find_element(struct fs *fs, const char *key)
{
    struct buf file = {0};
    size_t key_size = strlen(key);
    uint64_t found = 0;
    must(fs_read_file(fs, path, 64 << 20, &file));
    for (uint64_t page = 2; page * 4096 < file.size; page++) {
        const uint8_t *at = file.data + page * 4096;
        if (load64(at) != page || load16(at + 8) != PAGE_LEAF) continue;
        for (uint64_t i = 0; i < load16(at + 10); i++) {
            const uint8_t *element = at + 16 + i * 16;
            if (load32(element + 8) == key_size && memcmp(element + load32(element + 4), key, key_size) == 0)
                found = (uint64_t)(element - file.data);
        }
    }
    buf_deinit(&file);
    assert_true(found > 0);
    return found;
}

static void patch(struct fs *fs, uint64_t offset, const void *data, size_t size)
{
    struct fs_file *file;
    must(fs_open(fs, path, FS_WRITE, &file));
    must(fs_file_pwrite(file, data, size, offset));
    must(fs_file_close(file));
}

/* The engine writes no nested buckets, so two rows of "outer" are turned into some: "inner", inline, and
 * "tree", which gets the pages of top-level bucket "zz" while that one is struck off the root. */
static void nest_buckets(struct fs_sim *sim)
{
    struct fs *fs = fs_sim_fs(sim);
    uint8_t inner[16 + 16 + 16 + 2] = {0}, tree[16], flag[4] = {1}, count[2];
    struct bolt *db = open_db(sim);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    inner[8] = 5; /* sequence */
    page_header_encode(inner + 16, 0, PAGE_LEAF, 1, 0);
    store32(inner + 32 + 4, 16);
    store32(inner + 32 + 8, 1);
    store32(inner + 32 + 12, 1);
    memcpy(inner + 48, "kv", 2);
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("outer"), &bucket));
    fill(&bucket, 0, 300, 100);
    must(bolt_put(&bucket, BYTES_LITERAL("inner"), bytes_of(inner, sizeof(inner))));
    must(bolt_put(&bucket, BYTES_LITERAL("tree"), bytes_of(inner, 16)));
    must(bolt_bucket_create(tx, BYTES_LITERAL("zz"), &bucket));
    fill(&bucket, 0, 1000, 50);
    must(bolt_commit(tx));
    must(bolt_begin_read(db, &tx));
    bucket = must_open_bucket(tx, "zz");
    store64(tree, bucket.page);
    store64(tree + 8, 6);
    bolt_end_read(tx);
    must(bolt_close(db));
    uint64_t element = find_element(fs, "tree");
    uint8_t header[16];
    struct fs_file *file;
    size_t read;
    must(fs_open(fs, path, FS_READ, &file));
    must(fs_file_pread(file, header, sizeof(header), element, &read));
    patch(fs, element + load32(header + 4) + 4, tree, sizeof(tree));
    patch(fs, element, flag, sizeof(flag));
    patch(fs, find_element(fs, "inner"), flag, sizeof(flag));
    uint64_t root_leaf = find_element(fs, "zz") / 4096 * 4096;
    must(fs_file_pread(file, header, sizeof(header), root_leaf, &read));
    store16(count, (uint16_t)(load16(header + 10) - 1));
    patch(fs, root_leaf + 10, count, sizeof(count));
    for (uint64_t i = 0; i < 2; i++) { /* bbolt, which could have made this, leaves no checksum */
        uint8_t page[META_PAGE_BYTES];
        struct meta meta;
        must(fs_file_pread(file, page, sizeof(page), i * 4096, &read));
        assert_null(meta_decode(page, &meta));
        meta.sequence = 0;
        meta_encode(page, i, &meta);
        patch(fs, i * 4096, page, sizeof(page));
    }
    must(fs_file_close(file));
}

static void expect_nested(struct bolt *db)
{
    struct bolt_tx *tx;
    struct bolt_bucket inner;
    bool found;
    must_be_sound(db);
    must(bolt_begin_read(db, &tx));
    struct bolt_bucket outer = must_open_bucket(tx, "outer");
    must(bolt_bucket_nested(&outer, BYTES_LITERAL("inner"), &inner, &found));
    assert_true(found);
    assert_int_equal(inner.sequence, 5);
    must_have(&inner, "k", "v");
    must(bolt_bucket_nested(&outer, BYTES_LITERAL("tree"), &inner, &found));
    assert_true(found);
    assert_int_equal(inner.sequence, 6);
    struct bolt_cursor cursor;
    unsigned rows = 0;
    bolt_cursor_init(&cursor, &inner);
    for (must(bolt_cursor_first(&cursor)); cursor.valid; rows++) must(bolt_cursor_next(&cursor));
    assert_int_equal(rows, 1000);
    must_have(&outer, "tree", NULL); /* a bucket is not a value */
    bolt_end_read(tx);
}

static void nested_buckets_are_read_kept_copied_and_deleted(void **state)
{
    struct fs *fs = fs_sim_fs(*state);
    struct bolt *db, *copy;
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    bool found;
    nest_buckets(*state);
    db = open_db(*state);
    expect_nested(db);

    must(bolt_begin_write(db, &tx));
    bucket = must_open_bucket(tx, "outer");
    fill(&bucket, 100, 600, 80);
    must_put(&bucket, "inner2", "beside them");
    must_fail(bolt_put(&bucket, BYTES_LITERAL("tree"), BYTES_EMPTY), ERROR_INVALID, "");
    must_fail(bolt_delete(&bucket, BYTES_LITERAL("inner"), NULL), ERROR_INVALID, "");
    must(bolt_commit(tx));
    expect_nested(db);

    must(bolt_begin_read(db, &tx));
    must(bolt_compact_to(tx, fs, "/copy", NULL, NULL));
    bolt_end_read(tx);
    must(bolt_open(fs, "/copy", NULL, &copy));
    expect_nested(copy);
    must(bolt_close(copy));

    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_delete(tx, BYTES_LITERAL("outer"), &found));
    assert_true(found);
    must(bolt_commit(tx));
    must_be_sound(db);
    struct bolt_stats stats;
    bolt_stats(db, &stats);
    assert_int_equal(stats.in_use, 3 * stats.page_size); /* meta pages and the empty root */
    must(bolt_close(db));
}

/* ---- Failing disks ---- */

static void a_full_disk_fails_the_commit_and_keeps_the_state(void **state)
{
    struct bolt *db = two_buckets(*state, 100, 100);
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    static const unsigned operations[] = {FS_SIM_WRITE, FS_SIM_TRUNCATE, FS_SIM_MAP};
    for (size_t i = 0; i < 3; i++) {
        fs_sim_add_fault(*state, &(struct fs_sim_fault){.operations = operations[i],
                                                        .times = 1,
                                                        .system = ENOSPC,
                                                        .partial = true});
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "key");
        fill(&bucket, 50, 20000 << i, 50);
        struct error *error = bolt_commit(tx);
        assert_non_null(error);
        error_free(error);
        fs_sim_clear_faults(*state);
        must_be_sound(db);
    }
    must(bolt_begin_write(db, &tx));
    bucket = must_open_bucket(tx, "key");
    fill(&bucket, 100, 200, 100);
    must(bolt_commit(tx));
    must(bolt_close(db));
    expect_rows(fs_sim_fs(*state), path, 200, 100);
}

static void after_a_failed_sync_nothing_is_written_any_more(void **state)
{
    /* The sync of the pages, the meta page itself, the sync of the meta page. */
    static const struct fs_sim_fault faults[] = {
        {.operations = FS_SIM_SYNC, .times = 1, .system = EIO},
        {.operations = FS_SIM_WRITE, .skip = 1, .times = 1, .system = EIO},
        {.operations = FS_SIM_SYNC, .skip = 1, .times = 1, .system = EIO},
    };
    for (size_t i = 0; i < 3; i++) {
        struct bolt *db = two_buckets(*state, 100, 100);
        struct bolt_tx *tx;
        struct bolt_bucket bucket;
        fs_sim_add_fault(*state, &faults[i]);
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "meta");
        must_put(&bucket, "consistent_index", "87654321");
        struct error *error = bolt_commit(tx);
        assert_non_null(error);
        error_free(error);
        fs_sim_clear_faults(*state);
        uint64_t operations = fs_sim_operations(*state);
        must_fail(bolt_begin_write(db, &tx), ERROR_IO, "");
        must(bolt_begin_read(db, &tx)); /* readers go on, with the former state */
        bucket = must_open_bucket(tx, "meta");
        must_have(&bucket, "consistent_index", "12345678");
        bolt_end_read(tx);
        must(bolt_close(db));
        assert_int_equal(fs_sim_operations(*state), operations);
        must(fs_remove(fs_sim_fs(*state), path));
    }
}

/* Pages of files in this process's memory. */
static long resident_file_pages(void)
{
    long resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld %ld", &resident, &shared), 2);
    fclose(file);
    return shared;
}

static void forgotten_pages_leave_memory_and_come_back(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_bolt.XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/db", folder);
    struct bolt *db;
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    enum { ROWS = 2000, VALUE = 4000 };
    must(bolt_open(fs_real(), file, NULL, &db));
    must(bolt_begin_write(db, &tx));
    must(bolt_bucket_create(tx, BYTES_LITERAL("b"), &bucket));
    fill(&bucket, 0, ROWS, VALUE);
    must(bolt_commit(tx));
    must(bolt_begin_read(db, &tx));
    bucket = must_open_bucket(tx, "b");
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ROWS; i++) {
            uint8_t key[REVISION_KEY_SIZE];
            struct bytes value;
            bool found;
            must(bolt_get(&bucket, revision_key(i, key), &value, &found));
            assert_int_equal(value.data[VALUE - 1], i % 251);
        }
        long before = resident_file_pages();
        bolt_forget_pages(db);
        assert_true(resident_file_pages() <= before - ROWS * VALUE / 4096 / 2);
    }
    bolt_end_read(tx);
    must(bolt_close(db));
    must(fs_remove_tree(fs_real(), folder));
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        test(rows_survive_commit_and_reopen),
        test(rollback_leaves_no_trace),
        test(a_transaction_without_changes_writes_nothing),
        test(buckets_are_listed_in_order_and_deleted_whole),
        test(sizes_out_of_bounds_are_refused),
        test(large_values_lie_in_overflow_pages),
        test(cursors_walk_both_ways_and_seek),
        test(a_cursor_goes_on_after_its_row_was_deleted),
        test(deleting_most_rows_merges_pages),
        test(branches_name_pages_by_their_first_rows),
        test(ascending_rows_fill_their_pages),
        test(the_file_grows_in_steps),
        test(less_address_space_than_wished_for_is_enough),
        test(the_map_grows_under_open_readers),
        test(freed_pages_wait_for_older_readers),
        test(a_locked_file_is_refused),
        test(a_missing_file_is_not_made_for_reading),
        test(other_page_sizes_are_taken_from_the_file),
        test(an_image_is_one_state_while_writing_goes_on),
        test(any_part_of_an_image_can_be_read),
        test(a_compact_copy_has_all_rows_and_no_free_pages),
        test(a_cancelled_copy_leaves_no_file),
        test(nested_buckets_are_read_kept_copied_and_deleted),
        test(a_full_disk_fails_the_commit_and_keeps_the_state),
        test(after_a_failed_sync_nothing_is_written_any_more),
        test(forgotten_pages_leave_memory_and_come_back),
    };
    return cmocka_run_group_tests_name("bolt", tests, NULL, NULL);
}
