/* A million random operations against a model: an array of versions, from which keys and values follow.
 * TEST_SEED in the environment runs another million. */
#include "tests/bolt/support.h"

enum {
    BUCKETS = 3,
    KEYS = 4000,         /* per bucket */
    OPERATIONS = 600000, /* for each page size */
    PER_TRANSACTION = 500,
    WINDOW = 250, /* keys that one transaction mostly works on */
    READERS = 4,
    LONGEST_KEY = 1000,
    LONGEST_VALUE = 50000,
};

static const char *const names[BUCKETS] = {"key", "lease", "meta"};

struct model {
    bool exists[BUCKETS];
    uint32_t version[BUCKETS][KEYS]; /* 0: absent */
};

struct reader {
    struct bolt_tx *tx;
    struct model model;
};

struct run {
    struct fs_sim *sim;
    struct bolt *db;
    struct rng rng;
    struct model model;
    struct model before; /* the running transaction */
    struct reader readers[READERS];
    uint32_t next_version;
    uint64_t operations;
    uint8_t key[LONGEST_KEY];
    uint8_t value[LONGEST_VALUE];
};

static uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x45d9f3bU;
    return x ^ x >> 15;
}

/* In the order of the index; lengths differ. */
static struct bytes key_of(struct run *run, uint32_t index)
{
    uint32_t hash = mix(index + 1);
    size_t size = hash % 300 == 0 ? LONGEST_KEY : 2 + hash % 30;
    run->key[0] = (uint8_t)(index >> 8);
    run->key[1] = (uint8_t)index;
    memset(run->key + 2, (int)(hash >> 8), size - 2);
    return bytes_of(run->key, size);
}

static struct bytes value_of(struct run *run, uint32_t version)
{
    uint32_t hash = mix(version);
    size_t size = hash % 400 == 0 ? hash % LONGEST_VALUE : hash % 30 == 0 ? hash % 3000 : hash % 100;
    memset(run->value, (int)(hash >> 8), size);
    return bytes_of(run->value, size);
}

static void expect_row(struct run *run, const struct model *model, unsigned bucket, uint32_t index,
                       bool found, struct bytes value)
{
    uint32_t version = model->version[bucket][index];
    assert_int_equal(found, version != 0);
    if (found) assert_true(bytes_equal(value, value_of(run, version)));
}

static bool open_bucket(struct run *run, const struct bolt_tx *tx, const struct model *model, unsigned which,
                        struct bolt_bucket *bucket)
{
    bool found;
    (void)run;
    must(bolt_bucket(tx, bytes_from_string(names[which]), bucket, &found));
    assert_int_equal(found, model->exists[which]);
    return found;
}

static void compare_bucket(struct run *run, const struct bolt_tx *tx, const struct model *model,
                           unsigned which)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    if (!open_bucket(run, tx, model, which, &bucket)) return;
    bolt_cursor_init(&cursor, &bucket);
    bool forward = rng_chance(&run->rng, 1, 2);
    must(forward ? bolt_cursor_first(&cursor) : bolt_cursor_last(&cursor));
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t index = forward ? i : KEYS - 1 - i;
        if (model->version[which][index] == 0) continue;
        assert_true(cursor.valid);
        assert_true(bytes_equal(cursor.key, key_of(run, index)));
        expect_row(run, model, which, index, true, cursor.value);
        must(forward ? bolt_cursor_next(&cursor) : bolt_cursor_prev(&cursor));
    }
    assert_false(cursor.valid);
}

static void compare_all(struct run *run, const struct bolt_tx *tx, const struct model *model)
{
    for (unsigned which = 0; which < BUCKETS; which++) compare_bucket(run, tx, model, which);
}

static void seek_and_step(struct run *run, const struct bolt_bucket *bucket, unsigned which, uint32_t index)
{
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, bucket);
    must(bolt_cursor_seek(&cursor, key_of(run, index)));
    bool forward = rng_chance(&run->rng, 1, 2);
    while (index < KEYS && run->model.version[which][index] == 0) index++;
    for (unsigned step = 0; step < 4; step++) {
        if (index >= KEYS) {
            assert_false(cursor.valid);
            return;
        }
        assert_true(cursor.valid);
        assert_true(bytes_equal(cursor.key, key_of(run, index)));
        must(forward ? bolt_cursor_next(&cursor) : bolt_cursor_prev(&cursor));
        do index = forward ? index + 1 : index - 1;
        while (index < KEYS && run->model.version[which][index] == 0);
    }
}

static void one_operation(struct run *run, struct bolt_tx *tx, uint32_t window)
{
    unsigned which = (unsigned)rng_below(&run->rng, 10) < 8 ? 0 : (unsigned)rng_below(&run->rng, BUCKETS);
    uint32_t index = rng_chance(&run->rng, 1, 50) ? (uint32_t)rng_below(&run->rng, KEYS)
                                                  : (window + (uint32_t)rng_below(&run->rng, WINDOW)) % KEYS;
    uint32_t *version = &run->model.version[which][index];
    struct bolt_bucket bucket;
    struct bytes value;
    bool found;
    run->operations++;
    if (!open_bucket(run, tx, &run->model, which, &bucket)) {
        must(bolt_bucket_create(tx, bytes_from_string(names[which]), &bucket));
        run->model.exists[which] = true;
        return;
    }
    uint64_t dice = rng_below(&run->rng, 10000);
    if (dice == 0) {
        must(bolt_bucket_delete(tx, bytes_from_string(names[which]), &found));
        assert_true(found);
        run->model.exists[which] = false;
        memset(run->model.version[which], 0, sizeof(run->model.version[which]));
    } else if (dice < 4500) {
        *version = run->next_version++;
        struct bytes key = key_of(run, index);
        must(bolt_put(&bucket, key, value_of(run, *version)));
    } else if (dice < 7500) {
        must(bolt_delete(&bucket, key_of(run, index), &found));
        assert_int_equal(found, *version != 0);
        *version = 0;
    } else if (dice < 9500) {
        must(bolt_get(&bucket, key_of(run, index), &value, &found));
        expect_row(run, &run->model, which, index, found, value);
    } else {
        seek_and_step(run, &bucket, which, index);
    }
}

/* Deletes all rows of a stretch, as compaction and lease expiry do. */
static void wipe(struct run *run, struct bolt_tx *tx, uint32_t from)
{
    struct bolt_bucket bucket;
    if (!open_bucket(run, tx, &run->model, 0, &bucket)) return;
    for (uint32_t index = from; index < KEYS && index < from + 4 * WINDOW; index++) {
        must(bolt_delete(&bucket, key_of(run, index), NULL));
        run->model.version[0][index] = 0;
        run->operations++;
    }
}

static void one_transaction(struct run *run)
{
    struct bolt_tx *tx;
    run->before = run->model;
    must(bolt_begin_write(run->db, &tx));
    uint32_t window = (uint32_t)rng_below(&run->rng, KEYS);
    if (rng_chance(&run->rng, 1, 40)) wipe(run, tx, window);
    for (unsigned i = 0; i < PER_TRANSACTION; i++) one_operation(run, tx, window);
    if (rng_chance(&run->rng, 1, 20)) compare_all(run, tx, &run->model);
    if (rng_chance(&run->rng, 1, 12)) {
        bolt_rollback(tx);
        run->model = run->before;
    } else {
        must(bolt_commit(tx));
    }
}

static void end_reader(struct run *run, struct reader *reader)
{
    if (reader->tx == NULL) return;
    compare_all(run, reader->tx, &reader->model);
    bolt_end_read(reader->tx);
    reader->tx = NULL;
}

static void swap_reader(struct run *run)
{
    struct reader *reader = &run->readers[rng_below(&run->rng, READERS)];
    end_reader(run, reader);
    must(bolt_begin_read(run->db, &reader->tx));
    reader->model = run->model;
}

static void reopen(struct run *run)
{
    for (size_t i = 0; i < READERS; i++) end_reader(run, &run->readers[i]);
    must(bolt_close(run->db));
    must(bolt_open(fs_sim_fs(run->sim), "/db", NULL, &run->db));
    must_be_sound(run->db);
}

static void agree(uint32_t page_size)
{
    const char *seed = getenv("TEST_SEED");
    struct run *run = mem_zalloc(1, sizeof(*run));
    run->sim = fs_sim_new(&(struct fs_sim_options){.seed = 7, .file_size = 256 << 20});
    run->next_version = 1;
    rng_init(&run->rng, seed == NULL ? 20260101 : strtoull(seed, NULL, 10));
    must(bolt_open(fs_sim_fs(run->sim), "/db", &(struct bolt_options){.page_size = page_size}, &run->db));
    while (run->operations < OPERATIONS) {
        one_transaction(run);
        if (rng_chance(&run->rng, 1, 10)) swap_reader(run);
        if (rng_chance(&run->rng, 1, 10)) must_be_sound(run->db);
        if (rng_chance(&run->rng, 1, 50)) reopen(run);
    }
    reopen(run);
    struct bolt_tx *tx;
    must(bolt_begin_read(run->db, &tx));
    compare_all(run, tx, &run->model);
    bolt_end_read(tx);
    must(bolt_close(run->db));
    fs_sim_free(run->sim);
    free(run);
}

static void random_operations_agree_with_a_model(void **state)
{
    (void)state;
    agree(4096);
}

static void random_operations_in_deep_trees_agree_with_a_model(void **state)
{
    (void)state;
    agree(1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree_with_a_model),
        cmocka_unit_test(random_operations_in_deep_trees_agree_with_a_model),
    };
    return cmocka_run_group_tests_name("bolt_random", tests, NULL, NULL);
}
