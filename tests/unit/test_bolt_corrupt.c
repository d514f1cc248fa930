/* Damaged files are refused or read as far as they hold together; they never bring the process down. */
#include "tests/bolt/support.h"
#include "tests/bolt/torture.h"

#include "base/crc32c.h"
#include "bolt/page.h"

static const char *const path = "/db";

enum { PAGE = 4096, FLIPS = 1200, TRUNCATIONS = 60, ROW_FLIPS = 4000 };

static struct fs_sim *disk_with_db(void)
{
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 9, .file_size = 16 << 20});
    struct bolt *db;
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    uint8_t key[REVISION_KEY_SIZE], value[6000] = {1, 2, 3};
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    for (unsigned round = 0; round < 3; round++) {
        must(bolt_begin_write(db, &tx));
        must(bolt_bucket_create(tx, BYTES_LITERAL("meta"), &bucket));
        must_put(&bucket, "consistent_index", "12345678");
        must(bolt_bucket_create(tx, BYTES_LITERAL("lease"), &bucket));
        must(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
        for (unsigned i = 0; i < 600; i++)
            must(bolt_put(&bucket, revision_key(round * 600 + i, key),
                          bytes_of(value, i % 100 == 0 ? 6000 : 30)));
        must(bolt_commit(tx));
    }
    must(bolt_close(db));
    return sim;
}

static uint64_t size_of(struct fs_sim *sim)
{
    struct fs_file *file;
    uint64_t size;
    must(fs_open(fs_sim_fs(sim), path, FS_READ, &file));
    must(fs_file_size(file, &size));
    must(fs_file_close(file));
    return size;
}

static void patch(struct fs_sim *sim, uint64_t offset, const void *data, size_t size)
{
    struct fs_file *file;
    must(fs_open(fs_sim_fs(sim), path, FS_WRITE, &file));
    must(fs_file_pwrite(file, data, size, offset));
    must(fs_file_close(file));
}

static void peek(struct fs_sim *sim, uint64_t offset, void *data, size_t size)
{
    struct fs_file *file;
    size_t read;
    must(fs_open(fs_sim_fs(sim), path, FS_READ, &file));
    must(fs_file_pread(file, data, size, offset, &read));
    assert_int_equal(read, size);
    must(fs_file_close(file));
}

static void flipped_bits_are_detected_or_harmless(void **state)
{
    (void)state;
    struct fs_sim *good = disk_with_db();
    uint64_t size = size_of(good);
    struct rng rng;
    rng_init(&rng, 99);
    for (unsigned i = 0; i < FLIPS; i++) {
        struct fs_sim *sim = fs_sim_clone(good);
        unsigned flips = 1 + (unsigned)rng_below(&rng, 4);
        for (unsigned flip = 0; flip < flips; flip++) {
            /* Mostly where headers and elements are. */
            uint64_t offset =
                rng_below(&rng, size / PAGE) * PAGE + rng_below(&rng, rng_chance(&rng, 1, 2) ? 96 : PAGE);
            assert_true(fs_sim_flip_bit(sim, path, offset, (unsigned)rng_below(&rng, 8)));
        }
        torture_file(fs_sim_fs(sim), path, "/copy");
        fs_sim_free(sim);
    }
    fs_sim_free(good);
}

static void a_truncated_file_is_refused_at_once(void **state)
{
    (void)state;
    struct fs_sim *good = disk_with_db();
    struct bolt *db;
    must(bolt_open(fs_sim_fs(good), path, &(struct bolt_options){.read_only = true}, &db));
    struct bolt_stats stats;
    bolt_stats(db, &stats);
    must(bolt_close(db));
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned i = 0; i < TRUNCATIONS; i++) {
        struct fs_sim *sim = fs_sim_clone(good);
        struct fs_file *file;
        must(fs_open(fs_sim_fs(sim), path, FS_WRITE, &file));
        must(fs_file_truncate(file, 1 + rng_below(&rng, stats.size - 1)));
        must(fs_file_close(file));
        must_fail(bolt_open(fs_sim_fs(sim), path, NULL, &db), ERROR_CORRUPT, "");
        must_fail(bolt_open(fs_sim_fs(sim), path, &(struct bolt_options){.read_only = true}, &db),
                  ERROR_CORRUPT, "");
        fs_sim_free(sim);
    }
    fs_sim_free(good);
}

static void with_both_meta_pages_bad_the_error_says_so(void **state)
{
    (void)state;
    struct fs_sim *sim = disk_with_db();
    struct bolt *db;
    assert_true(fs_sim_flip_bit(sim, path, 40, 1));
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db)); /* one is enough */
    must(bolt_close(db));
    assert_true(fs_sim_flip_bit(sim, path, PAGE + 40, 1));
    struct error *error = bolt_open(fs_sim_fs(sim), path, NULL, &db);
    assert_true(error_is(error, ERROR_CORRUPT));
    assert_non_null(strstr(error->text, "no valid meta page"));
    assert_non_null(strstr(error->text, "checksum"));
    error_free(error);
    fs_sim_free(sim);
}

/* Where the tree of bucket "key" starts, from the root leaf. */
static uint64_t key_root(struct fs_sim *sim, uint64_t *root_page)
{
    uint8_t meta_page[META_PAGE_BYTES], leaf[PAGE];
    struct meta metas[2];
    for (unsigned i = 0; i < 2; i++) {
        peek(sim, i * PAGE, meta_page, sizeof(meta_page));
        assert_null(meta_decode(meta_page, &metas[i]));
    }
    *root_page = metas[metas[1].txid > metas[0].txid ? 1 : 0].root;
    peek(sim, *root_page * PAGE, leaf, PAGE);
    size_t element = PAGE_HEADER_SIZE; /* "key" is the first of key, lease, meta */
    return load64(leaf + element + load32(leaf + element + 4) + load32(leaf + element + 8));
}

static void expect_corrupt_open(struct fs_sim *sim, const char *reason)
{
    struct bolt *db;
    struct error *error = bolt_open(fs_sim_fs(sim), path, NULL, &db);
    assert_true(error_is(error, ERROR_CORRUPT));
    if (strstr(error->text, reason) == NULL) fprintf(stderr, "got: %s\n", error->text);
    assert_non_null(strstr(error->text, reason));
    error_free(error);
    torture_file(fs_sim_fs(sim), path, "/copy");
    fs_sim_free(sim);
}

static void damage_is_named_by_page_and_reason(void **state)
{
    (void)state;
    struct fs_sim *good = disk_with_db(), *sim;
    uint64_t root_page, branch = key_root(good, &root_page), far = UINT64_MAX / 2;
    uint8_t header[PAGE_HEADER_SIZE], number[8];
    char reason[64];
    peek(good, branch * PAGE, header, sizeof(header));
    assert_int_equal(load16(header + 8), PAGE_BRANCH);

    sim = fs_sim_clone(good); /* a wrong number in a page */
    store64(number, branch + 1);
    patch(sim, branch * PAGE, number, 8);
    snprintf(reason, sizeof(reason), "page %llu: its header says it is page", (unsigned long long)branch);
    expect_corrupt_open(sim, reason);

    sim = fs_sim_clone(good); /* a reference out of the file */
    store64(number, far);
    patch(sim, branch * PAGE + PAGE_HEADER_SIZE + 8, number, 8);
    expect_corrupt_open(sim, "outside the file");

    sim = fs_sim_clone(good); /* a cycle */
    store64(number, branch);
    patch(sim, branch * PAGE + PAGE_HEADER_SIZE + 8, number, 8);
    expect_corrupt_open(sim, "referenced more than once");

    sim = fs_sim_clone(good); /* a key outside its page */
    store32(number, 0x7fffffff);
    patch(sim, branch * PAGE + PAGE_HEADER_SIZE, number, 4);
    expect_corrupt_open(sim, "element 0 lies outside the page");

    sim = fs_sim_clone(good); /* overflow beyond the end */
    store32(number, 0x7fffffff);
    patch(sim, branch * PAGE + 12, number, 4);
    expect_corrupt_open(sim, "overflow pages leave the file");

    sim = fs_sim_clone(good); /* neither branch nor leaf */
    store16(number, PAGE_META);
    patch(sim, branch * PAGE + 8, number, 2);
    expect_corrupt_open(sim, "flags 0x4");
    fs_sim_free(good);
}

/* Swapped subtrees pass every check of a single page; the cursor must notice. */
static void iteration_notices_keys_out_of_order(void **state)
{
    (void)state;
    struct fs_sim *sim = disk_with_db();
    uint64_t root_page, branch = key_root(sim, &root_page);
    uint8_t first[8], second[8];
    uint64_t offset = branch * PAGE + PAGE_HEADER_SIZE + 8;
    peek(sim, offset, first, 8);
    peek(sim, offset + PAGE_ELEMENT_SIZE, second, 8);
    patch(sim, offset, second, 8);
    patch(sim, offset + PAGE_ELEMENT_SIZE, first, 8);
    struct bolt *db;
    struct bolt_tx *tx;
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    must(bolt_begin_read(db, &tx));
    struct bolt_bucket bucket = must_open_bucket(tx, "key");
    for (int direction = 0; direction < 2; direction++) {
        struct bolt_cursor cursor;
        struct error *error;
        bolt_cursor_init(&cursor, &bucket);
        error = direction == 0 ? bolt_cursor_first(&cursor) : bolt_cursor_last(&cursor);
        while (error == NULL && cursor.valid)
            error = direction == 0 ? bolt_cursor_next(&cursor) : bolt_cursor_prev(&cursor);
        assert_true(error_is(error, ERROR_CORRUPT));
        assert_non_null(strstr(error->text, "out of order"));
        error_free(error);
    }
    uint64_t violations;
    must(bolt_check(tx, NULL, NULL, &violations));
    assert_true(violations > 0);
    bolt_end_read(tx);
    must(bolt_close(db));
    fs_sim_free(sim);
}

/* No lookup goes astray by the first key of a branch, but whoever walks over the pages meets it: at the
 * start, and not in the middle of a defragmentation. */
static void a_branch_that_begins_too_late_is_noticed(void **state)
{
    (void)state;
    static const uint8_t lowest[] = {0};
    struct fs_sim *sim = disk_with_db();
    uint64_t root_page, branch = key_root(sim, &root_page), element = branch * PAGE + PAGE_HEADER_SIZE;
    uint8_t position[4], size[4];
    peek(sim, element, position, 4);
    peek(sim, element + 4, size, 4);
    assert_true(fs_sim_flip_bit(sim, path, element + load32(position) + load32(size) - 1, 0));
    struct bolt *db;
    struct bolt_tx *tx;
    struct bolt_cursor cursor;
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    must(bolt_begin_read(db, &tx));
    struct bolt_bucket bucket = must_open_bucket(tx, "key");
    bolt_cursor_init(&cursor, &bucket);
    must_fail(bolt_cursor_first(&cursor), ERROR_CORRUPT, "key 0 is out of order");
    bolt_cursor_init(&cursor, &bucket);
    must_fail(bolt_cursor_seek(&cursor, bytes_of(lowest, 1)), ERROR_CORRUPT, "key 0 is out of order");
    bolt_end_read(tx);
    must(bolt_close(db));
    fs_sim_free(sim);
}

/* ---- The checksum of all rows ---- */

static struct error *hash_bucket(const struct bolt_bucket *bucket, uint32_t *hash)
{
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, bucket);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) {
        struct bolt_bucket inner;
        bool found = false;
        *hash = crc32c(*hash, cursor.key.data, cursor.key.size);
        if (!cursor.is_bucket) *hash = crc32c(*hash, cursor.value.data, cursor.value.size);
        if (cursor.is_bucket) TRY(bolt_bucket_nested(bucket, cursor.key, &inner, &found));
        if (found) TRY(hash_bucket(&inner, hash));
        if (!found && cursor.is_bucket) return error_new(ERROR_CORRUPT, "a bucket cannot be found");
        TRY(bolt_cursor_next(&cursor));
    }
    return NULL;
}

/* As a member does that starts: opens for writing and walks over everything. */
static struct error *read_everything(struct fs_sim *sim, bool any_rows, uint32_t *hash)
{
    struct bolt *db;
    struct bolt_tx *tx;
    *hash = 0;
    TRY(bolt_open(fs_sim_fs(sim), path, &(const struct bolt_options){.any_rows = any_rows}, &db));
    must(bolt_begin_read(db, &tx));
    struct bolt_bucket root = bolt_root(tx);
    struct error *error = hash_bucket(&root, hash);
    bolt_end_read(tx);
    must(bolt_close(db));
    return error;
}

static void newest_meta(struct fs_sim *sim, struct meta *newest)
{
    uint8_t page[META_PAGE_BYTES];
    struct meta metas[2];
    for (unsigned i = 0; i < 2; i++) {
        peek(sim, i * PAGE, page, sizeof(page));
        assert_null(meta_decode(page, &metas[i]));
    }
    *newest = metas[metas[1].txid > metas[0].txid ? 1 : 0];
}

static void put_meta(struct fs_sim *sim, const struct meta *meta)
{
    uint8_t page[META_PAGE_BYTES];
    meta_encode(page, meta->txid % 2, meta);
    patch(sim, meta->txid % 2 * PAGE, page, sizeof(page));
}

/* Nobody who opens a file of ours and reads all of it gets another row than was written; or one of an older
 * state, if the newest meta page is hit. */
static void whichever_bit_flips_no_row_is_another(void **state)
{
    (void)state;
    struct fs_sim *sim = disk_with_db();
    struct meta meta;
    struct rng rng;
    uint32_t good, found;
    unsigned refused = 0;
    must(read_everything(sim, false, &good));
    newest_meta(sim, &meta);
    rng_init(&rng, 5);
    for (unsigned i = 0; i < ROW_FLIPS; i++) {
        uint64_t page = 2 + rng_below(&rng, meta.high_water - 2);
        uint64_t offset = page * PAGE + rng_below(&rng, rng_chance(&rng, 1, 2) ? 96 : PAGE);
        unsigned bit = (unsigned)rng_below(&rng, 8);
        assert_true(fs_sim_flip_bit(sim, path, offset, bit));
        struct error *error = read_everything(sim, false, &found);
        if (error == NULL && found != good)
            fail_msg("bit %u of byte %llu of page %llu", bit, (unsigned long long)(offset % PAGE),
                     (unsigned long long)page);
        refused += error != NULL;
        if (error != NULL) assert_int_equal(error->kind, ERROR_CORRUPT);
        error_free(error);
        assert_true(fs_sim_flip_bit(sim, path, offset, bit));
    }
    assert_true(refused > ROW_FLIPS / 10);
    fs_sim_free(sim);
}

/* Every page is sound, and all of it was written once: by a disk that has lost a later write. */
static void a_page_of_before_is_noticed(void **state)
{
    (void)state;
    struct fs_sim *sim = disk_with_db();
    struct meta before, meta;
    struct bolt *db;
    struct bolt_tx *tx;
    uint32_t good, found;
    must(read_everything(sim, false, &good));
    newest_meta(sim, &before);
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    must(bolt_begin_write(db, &tx));
    struct bolt_bucket bucket = must_open_bucket(tx, "meta");
    must_put(&bucket, "consistent_index", "12345679");
    must(bolt_commit(tx));
    must(bolt_close(db));
    newest_meta(sim, &meta);
    assert_true(meta.root != before.root);
    meta.root = before.root;
    put_meta(sim, &meta);
    struct error *error = read_everything(sim, false, &found);
    assert_true(error_is(error, ERROR_CORRUPT));
    assert_non_null(strstr(error->text, "open /db: its rows are not those that were written"));
    error_free(error);
    must(bolt_open(fs_sim_fs(sim), path, &(const struct bolt_options){.read_only = true}, &db));
    must(bolt_begin_read(db, &tx));
    uint64_t violations;
    must(bolt_check(tx, NULL, NULL, &violations));
    assert_int_equal(violations, 1);
    bolt_end_read(tx);
    must(bolt_close(db));
    must(read_everything(sim, true, &found)); /* to save what is left */
    assert_int_equal(found, good);
    fs_sim_free(sim);
}

/* A commit of bbolt leaves the root sequence as it is; there is no checksum then until our next commit. */
static void rows_that_bbolt_wrote_are_taken_as_they_are(void **state)
{
    (void)state;
    struct fs_sim *sim = disk_with_db();
    struct meta meta;
    struct bolt *db;
    struct bolt_tx *tx;
    uint32_t good, found, sum;
    must(read_everything(sim, false, &good));
    newest_meta(sim, &meta);
    assert_true(meta_rows_checksum(&meta, &sum));
    meta_set_rows_checksum(&meta, sum + 1);
    put_meta(sim, &meta);
    must_fail(read_everything(sim, false, &found), ERROR_CORRUPT, "rows");
    meta.txid++;
    put_meta(sim, &meta);
    must(read_everything(sim, false, &found));
    assert_int_equal(found, good);
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    must(bolt_begin_write(db, &tx));
    struct bolt_bucket bucket = must_open_bucket(tx, "meta");
    must_put(&bucket, "term", "1");
    must(bolt_commit(tx));
    must(bolt_close(db));
    newest_meta(sim, &meta);
    assert_true(meta_rows_checksum(&meta, &sum));
    must(read_everything(sim, false, &found));
    fs_sim_free(sim);
}

/* Images and copies bring theirs along: what happens to them on the way is noticed, too. */
static void copies_have_the_checksum_of_what_they_copy(void **state)
{
    (void)state;
    struct fs_sim *sim = disk_with_db();
    struct meta meta, copied;
    uint32_t sum, other;
    struct bolt *db;
    struct bolt_tx *tx;
    newest_meta(sim, &meta);
    assert_true(meta_rows_checksum(&meta, &sum));
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    must(bolt_begin_read(db, &tx));
    uint8_t head[2 * PAGE];
    size_t read;
    must(bolt_image_read(tx, 0, head, sizeof(head), &read));
    must(bolt_compact_to(tx, fs_sim_fs(sim), "/compact", NULL, NULL));
    bolt_end_read(tx);
    must(bolt_close(db));
    for (unsigned i = 0; i < 2; i++) {
        assert_null(meta_decode(head + i * PAGE, &copied));
        assert_true(meta_rows_checksum(&copied, &other));
        assert_int_equal(other, sum);
    }
    must(fs_rename(fs_sim_fs(sim), "/compact", path));
    newest_meta(sim, &copied);
    assert_true(meta_rows_checksum(&copied, &other));
    assert_int_equal(other, sum);
    must(read_everything(sim, false, &other));
    fs_sim_free(sim);
}

/* ---- Stored freelists, which bbolt writes unless told otherwise ---- */

/* Appends a freelist page of all unreachable pages below the high-water mark. */
static uint64_t store_freelist(struct fs_sim *sim, bool long_form, uint64_t extra)
{
    struct bolt *db;
    struct bolt_stats stats;
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    bolt_stats(db, &stats);
    must(bolt_close(db));
    uint8_t *list = mem_zalloc(1, PAGE), page[META_PAGE_BYTES];
    struct meta metas[2], *newest;
    for (unsigned i = 0; i < 2; i++) {
        peek(sim, i * PAGE, page, sizeof(page));
        assert_null(meta_decode(page, &metas[i]));
    }
    newest = &metas[metas[1].txid > metas[0].txid ? 1 : 0];
    /* The state is as a compact copy leaves it: nothing free but what `extra` adds at the end. */
    uint64_t id = newest->high_water + extra, count = extra;
    page_header_encode(list, id, PAGE_FREELIST, long_form ? FREELIST_COUNT_ELSEWHERE : (uint32_t)count, 0);
    uint8_t *at = list + PAGE_HEADER_SIZE;
    if (long_form) {
        store64(at, count);
        at += 8;
    }
    for (uint64_t i = 0; i < extra; i++) store64(at + i * 8, newest->high_water + i);
    patch(sim, id * PAGE, list, PAGE);
    newest->freelist = id;
    newest->high_water = id + 1;
    newest->txid++;
    meta_encode(page, newest->txid % 2, newest);
    patch(sim, newest->txid % 2 * PAGE, page, sizeof(page));
    free(list);
    return extra;
}

static struct fs_sim *compact_disk(void)
{
    struct fs_sim *sim = disk_with_db();
    struct bolt *db;
    struct bolt_tx *tx;
    must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
    must(bolt_begin_read(db, &tx));
    must(bolt_compact_to(tx, fs_sim_fs(sim), "/compact", NULL, NULL));
    bolt_end_read(tx);
    must(bolt_close(db));
    must(fs_rename(fs_sim_fs(sim), "/compact", path));
    return sim;
}

static void stored_freelists_are_used_and_given_up(void **state)
{
    (void)state;
    for (int long_form = 0; long_form < 2; long_form++) {
        struct fs_sim *sim = compact_disk();
        struct bolt *db;
        struct bolt_tx *tx;
        struct bolt_bucket bucket;
        struct bolt_stats stats;
        uint64_t extra = store_freelist(sim, long_form != 0, 20);
        must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
        must_be_sound(db);
        bolt_stats(db, &stats);
        assert_int_equal(stats.free_pages, extra);
        must(bolt_begin_write(db, &tx));
        bucket = must_open_bucket(tx, "meta");
        must_put(&bucket, "consistent_index", "abcdefgh");
        must(bolt_commit(tx));
        must_be_sound(db);
        must(bolt_close(db));
        must(bolt_open(fs_sim_fs(sim), path, NULL, &db));
        must_be_sound(db);
        must(bolt_close(db));
        fs_sim_free(sim);
    }
}

static void a_freelist_that_names_used_pages_is_refused(void **state)
{
    (void)state;
    struct fs_sim *sim = compact_disk();
    struct bolt *db;
    struct bolt_tx *tx;
    uint64_t violations;
    store_freelist(sim, false, 5);
    uint8_t page[META_PAGE_BYTES], number[8];
    struct meta metas[2];
    for (unsigned i = 0; i < 2; i++) {
        peek(sim, i * PAGE, page, sizeof(page));
        assert_null(meta_decode(page, &metas[i]));
    }
    struct meta *newest = &metas[metas[1].txid > metas[0].txid ? 1 : 0];
    store64(number, newest->root);
    patch(sim, newest->freelist * PAGE + PAGE_HEADER_SIZE, number, 8);
    must(bolt_open(fs_sim_fs(sim), path, &(struct bolt_options){.read_only = true}, &db));
    must(bolt_begin_read(db, &tx));
    must(bolt_check(tx, NULL, NULL, &violations));
    assert_int_equal(violations, 2); /* reachable freed, and one unreachable unfreed */
    bolt_end_read(tx);
    must(bolt_close(db));
    expect_corrupt_open(sim, "which is in use");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bits_are_detected_or_harmless),
        cmocka_unit_test(a_truncated_file_is_refused_at_once),
        cmocka_unit_test(with_both_meta_pages_bad_the_error_says_so),
        cmocka_unit_test(damage_is_named_by_page_and_reason),
        cmocka_unit_test(iteration_notices_keys_out_of_order),
        cmocka_unit_test(a_branch_that_begins_too_late_is_noticed),
        cmocka_unit_test(whichever_bit_flips_no_row_is_another),
        cmocka_unit_test(a_page_of_before_is_noticed),
        cmocka_unit_test(rows_that_bbolt_wrote_are_taken_as_they_are),
        cmocka_unit_test(copies_have_the_checksum_of_what_they_copy),
        cmocka_unit_test(stored_freelists_are_used_and_given_up),
        cmocka_unit_test(a_freelist_that_names_used_pages_is_refused),
    };
    return cmocka_run_group_tests_name("bolt_corrupt", tests, NULL, NULL);
}
