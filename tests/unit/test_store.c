/* The store on a simulated disk: etcd's rows and hashes byte for byte, and random histories against a plain
 * model. */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "base/rng.h"
#include "mvcc/store.h"
#include "storage/fs_sim.h"
#include "tests/unit/backend_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* What the leases are told, as text. */
struct fixture {
    struct fs_sim *sim;
    struct backend *backend;
    struct mvcc_store *store;
    struct buf lease_calls;
};

static bool lease_exists(void *context, int64_t lease)
{
    (void)context;
    return lease < 100;
}

static void lease_attach(void *context, int64_t lease, struct bytes key)
{
    struct fixture *fixture = context;
    buf_printf(&fixture->lease_calls, "+%lld:%.*s ", (long long)lease, (int)key.size, (const char *)key.data);
}

static void lease_detach(void *context, struct bytes key)
{
    struct fixture *fixture = context;
    buf_printf(&fixture->lease_calls, "-%.*s ", (int)key.size, (const char *)key.data);
}

static void open_store(struct fixture *fixture)
{
    struct backend_options options = {.initial_map_size = 1 << 28};
    must(backend_open(fs_sim_fs(fixture->sim), "/db", &options, &fixture->backend));
    struct mvcc_options store = {.leases = {fixture, lease_exists, lease_attach, lease_detach}};
    must(mvcc_open(fixture->backend, &store, &fixture->store));
}

static void close_store(struct fixture *fixture)
{
    mvcc_close(fixture->store);
    must(backend_close(fixture->backend));
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    open_store(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    fs_sim_free(fixture->sim);
    buf_deinit(&fixture->lease_calls);
    free(fixture);
    return 0;
}

static void crash(struct fixture *fixture)
{
    close_store(fixture);
    fs_sim_crash(fixture->sim, FS_SIM_LOSE_ALL);
    open_store(fixture);
}

static void restart(struct fixture *fixture)
{
    commit(fixture->backend);
    crash(fixture);
}

static struct bytes text(const char *string)
{
    return bytes_from_string(string);
}

static void put(struct mvcc_store *store, const char *key, const char *value)
{
    size_t count;
    mvcc_txn_begin(store);
    mvcc_txn_put(store, text(key), text(value), 0);
    mvcc_txn_end(store, &count);
    assert_int_equal(count, 1);
}

static uint64_t delete_in_txn(struct mvcc_store *store, const char *key)
{
    struct buf end = {0};
    struct mvcc_span span = mvcc_span_of(text(key), BYTES_EMPTY, &end);
    uint64_t deleted = mvcc_txn_delete(store, &span);
    buf_deinit(&end);
    return deleted;
}

static void delete (struct mvcc_store *store, const char *key)
{
    size_t count;
    mvcc_txn_begin(store);
    delete_in_txn(store, key);
    mvcc_txn_end(store, &count);
}

static int64_t compact_to_end(struct mvcc_store *store, size_t max_rows)
{
    int64_t finished = 0, last = 0;
    while (mvcc_compact_pending(store)) {
        must(mvcc_compact_step(store, max_rows, &finished));
        if (finished != 0) last = finished;
    }
    return last;
}

static void compact(struct mvcc_store *store, int64_t revision, size_t max_rows)
{
    assert_int_equal(mvcc_compact_start(store, revision), MVCC_OK);
    assert_int_equal(compact_to_end(store, max_rows), revision);
    assert_int_equal(mvcc_compact_finished(store), revision);
}

static enum mvcc_status hash_at(struct mvcc_store *store, int64_t revision, size_t max_rows,
                                struct mvcc_hash *hash)
{
    struct mvcc_hash_job *job;
    enum mvcc_status status = mvcc_hash_begin(store, revision, &job);
    if (status != MVCC_OK) return status;
    bool done = false;
    while (!done) must(mvcc_hash_step(job, max_rows, &done));
    mvcc_hash_finish(job, hash);
    return MVCC_OK;
}

static void assert_hash(struct mvcc_store *store, int64_t revision, uint32_t expected,
                        int64_t compact_revision)
{
    for (size_t max_rows = 1; max_rows <= 1000; max_rows *= 10) {
        struct mvcc_hash hash;
        assert_int_equal(hash_at(store, revision, max_rows, &hash), MVCC_OK);
        assert_int_equal(hash.hash, expected);
        assert_int_equal(hash.revision, revision == 0 ? mvcc_revision(store) : revision);
        assert_int_equal(hash.compact_revision, compact_revision);
        assert_int_equal(hash.current_revision, mvcc_revision(store));
    }
}

/* ---- rows ---- */

static bool list_row(void *context, struct bytes key, struct bytes value)
{
    struct buf *list = context;
    struct mvcc_revision revision = {0};
    bool tombstone = false;
    assert_true(mvcc_row_key_parse(key, &revision, &tombstone));
    buf_printf(list, "%lld,%lld%s ", (long long)revision.main, (long long)revision.sub, tombstone ? "t" : "");
    for (size_t i = 0; i < value.size; i++) buf_printf(list, "%02x", value.data[i]);
    buf_append_string(list, "\n");
    return true;
}

static void assert_rows(struct fixture *fixture, const char *expected)
{
    struct buf list = {0};
    must(backend_scan(fixture->backend, BUCKET_KEY, BYTES_EMPTY, BYTES_EMPTY, list_row, &list));
    assert_string_equal(buf_string(&list), expected);
    buf_deinit(&list);
}

#define ROW_2  "2,0 0a03666f6f1002180220012a03626172\n"
#define ROW_3  "3,0 0a03666f6f1002180320022a0362617a\n"
#define ROW_4  "4,0 0a037a6f6f1004180420012a0131\n"
#define ROW_5  "5,0t 0a037a6f6f\n"
#define ROW_60 "6,0 0a03666f6f1002180620032a027431\n"
#define ROW_61 "6,1 0a036162631006180620012a027432\n"
#define ROW_7  "7,0 0a026b311007180720012a027631\n"
#define ROW_8  "8,0t 0a03666f6f\n"
#define ROW_9  "9,0 0a03666f6f1009180920012a05616761696e\n"
#define ROW_10 "10,0 0a037a6f6f100a180a20012a027a32\n"
#define ROW_11 "11,0t 0a026b31\n"

/* The history whose rows and hashes were taken from a real etcd. */
static void write_example(struct mvcc_store *store)
{
    size_t count;
    put(store, "foo", "bar");
    put(store, "foo", "baz");
    put(store, "zoo", "1");
    delete (store, "zoo");
    mvcc_txn_begin(store);
    mvcc_txn_put(store, text("foo"), text("t1"), 0);
    mvcc_txn_put(store, text("abc"), text("t2"), 0);
    mvcc_txn_end(store, &count);
    put(store, "k1", "v1");
    delete (store, "foo");
    put(store, "foo", "again");
    put(store, "zoo", "z2");
    delete (store, "k1");
}

static void assert_hashes_after_compaction_at_8(struct mvcc_store *store)
{
    assert_hash(store, 9, 3043639720, 8);
    assert_hash(store, 10, 3932647450, 8);
    assert_hash(store, 11, 1441438017, 8);
}

static void rows_and_hashes_are_etcds(void **state)
{
    static const uint32_t hashes[] = {
        [2] = 3305255506, [3] = 2020292994, [4] = 2881287576, [5] = 4276809259,  [6] = 1310240101,
        [7] = 2423267427, [8] = 2189356482, [9] = 2418078441, [10] = 1925014094, [11] = 3991353582};
    for (size_t max_rows = 1; max_rows <= 1000; max_rows *= 10) {
        void *fresh;
        if (max_rows > 1) {
            tear_down(state);
            set_up(&fresh);
            *state = fresh;
        }
        struct fixture *fixture = *state;
        write_example(fixture->store);
        assert_int_equal(mvcc_revision(fixture->store), 11);
        assert_rows(fixture, ROW_2 ROW_3 ROW_4 ROW_5 ROW_60 ROW_61 ROW_7 ROW_8 ROW_9 ROW_10 ROW_11);
        for (int64_t i = 2; i <= 11; i++) assert_hash(fixture->store, i, hashes[i], -1);
        assert_hash(fixture->store, 0, hashes[11], -1);
        restart(fixture);
        for (int64_t i = 2; i <= 11; i++) assert_hash(fixture->store, i, hashes[i], -1);

        compact(fixture->store, 8, max_rows);
        assert_rows(fixture, ROW_61 ROW_7 ROW_8 ROW_9 ROW_10 ROW_11);
        assert_int_equal(hash_at(fixture->store, 7, 10, NULL), MVCC_COMPACTED);
        assert_int_equal(hash_at(fixture->store, 12, 10, NULL), MVCC_FUTURE_REVISION);
        assert_hash(fixture->store, 8, 2189356482, -1);
        assert_hashes_after_compaction_at_8(fixture->store);

        restart(fixture);
        assert_rows(fixture, ROW_61 ROW_7 ROW_8 ROW_9 ROW_10 ROW_11);
        assert_int_equal(mvcc_compact_revision(fixture->store), 8);
        assert_hash(fixture->store, 8, 2832733234, 8);
        assert_hashes_after_compaction_at_8(fixture->store);

        compact(fixture->store, 10, max_rows);
        assert_rows(fixture, ROW_61 ROW_7 ROW_9 ROW_10 ROW_11);
        assert_hash(fixture->store, 10, 3932647450, 8);
        assert_hash(fixture->store, 11, 1441438017, 10);
    }
}

/* Both compactions in one process: the hashes of both stay. */
static void the_hashes_of_the_last_compactions_are_remembered(void **state)
{
    struct fixture *fixture = *state;
    write_example(fixture->store);
    compact(fixture->store, 8, 3);
    compact(fixture->store, 10, 3);
    assert_hash(fixture->store, 8, 2189356482, -1);
    assert_hash(fixture->store, 10, 3932647450, 8);
    assert_hash(fixture->store, 11, 1441438017, 10);
    struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX];
    assert_int_equal(mvcc_stored_hashes(fixture->store, hashes), 2);
    assert_int_equal(hashes[1].revision, 10);
    for (int64_t i = 12; i < 30; i++) {
        put(fixture->store, "x", "y");
        compact(fixture->store, i, 100);
    }
    assert_int_equal(mvcc_stored_hashes(fixture->store, hashes), MVCC_STORED_HASHES_MAX);
    assert_int_equal(hashes[0].revision, 20);
    assert_int_equal(hashes[9].revision, 29);
}

/* Whether a compaction at work has removed a row yet must not show in a hash. */
static void hashes_do_not_depend_on_the_progress_of_a_compaction(void **state)
{
    struct fixture *fixture = *state;
    write_example(fixture->store);
    assert_int_equal(mvcc_compact_start(fixture->store, 8), MVCC_OK);
    int64_t finished = 0;
    while (finished == 0) {
        assert_hashes_after_compaction_at_8(fixture->store);
        must(mvcc_compact_step(fixture->store, 1, &finished));
    }
    assert_hashes_after_compaction_at_8(fixture->store);
}

static void a_hash_in_slices_is_that_of_its_beginning(void **state)
{
    struct fixture *fixture = *state;
    write_example(fixture->store);
    struct mvcc_hash_job *job;
    assert_int_equal(mvcc_hash_begin(fixture->store, 0, &job), MVCC_OK);
    bool done = false;
    must(mvcc_hash_step(job, 2, &done));
    put(fixture->store, "foo", "later");
    delete (fixture->store, "abc");
    assert_int_equal(mvcc_compact_start(fixture->store, 12), MVCC_OK);
    assert_false(mvcc_compact_pending(fixture->store)); /* waits for the hash */
    while (!done) must(mvcc_hash_step(job, 2, &done));
    struct mvcc_hash hash;
    mvcc_hash_finish(job, &hash);
    assert_int_equal(hash.hash, 3991353582);
    assert_int_equal(hash.current_revision, 11);
    assert_true(mvcc_compact_pending(fixture->store));
}

/* With nothing kept at the revision etcd hashes all rows that are there: those that the compaction leaves.
 * What it is about to remove does not show. */
static void the_hash_of_an_empty_state_is_that_of_what_a_compaction_leaves(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    delete (fixture->store, "a");
    put(fixture->store, "b", "1");
    delete (fixture->store, "b");
    for (int64_t compacted = 4; compacted <= 5; compacted++) {
        struct mvcc_hash all, before, now;
        assert_int_equal(hash_at(fixture->store, 0, 1, &all), MVCC_OK);
        assert_int_equal(mvcc_compact_start(fixture->store, compacted), MVCC_OK);
        assert_int_equal(hash_at(fixture->store, 0, 1, &before), MVCC_OK);
        assert_int_not_equal(before.hash, all.hash);
        int64_t finished = 0;
        while (finished == 0) {
            must(mvcc_compact_step(fixture->store, 1, &finished));
            if (finished == 0 || compacted == 4) {
                assert_int_equal(hash_at(fixture->store, 0, 1, &now), MVCC_OK);
                assert_int_equal(now.hash, before.hash);
            }
        }
    }
    restart(fixture); /* the hash of the compaction is not remembered any more */
    struct mvcc_hash bare = {.hash = crc32c(0, "key", 3)}, now;
    assert_int_equal(hash_at(fixture->store, 0, 1, &now), MVCC_OK);
    assert_int_equal(now.hash, bare.hash); /* the tombstone at 5 does not count */
}

/* ---- transactions ---- */

static void a_transaction_shares_one_revision_and_reads_its_own_writes(void **state)
{
    struct fixture *fixture = *state;
    struct mvcc_store *store = fixture->store;
    put(store, "a", "1");
    size_t count;
    mvcc_txn_begin(store);
    assert_int_equal(mvcc_txn_revision(store), 2);
    assert_int_equal(delete_in_txn(store, "nothing"), 0);
    assert_int_equal(mvcc_txn_revision(store), 2);
    mvcc_txn_put(store, text("b"), text("2"), 0);
    assert_int_equal(mvcc_txn_revision(store), 3);
    struct mvcc_entry entry;
    assert_true(mvcc_find(store, text("b"), mvcc_txn_revision(store), &entry));
    assert_false(mvcc_find(store, text("b"), 2, &entry));
    assert_int_equal(delete_in_txn(store, "a"), 1);
    assert_int_equal(mvcc_revision(store), 2);
    const struct mvcc_change *changes = mvcc_txn_end(store, &count);
    assert_int_equal(mvcc_revision(store), 3);
    assert_int_equal(count, 2);
    assert_false(changes[0].deleted);
    assert_int_equal(changes[0].created, 3);
    assert_true(bytes_equal(changes[0].key, text("b")));
    assert_true(changes[1].deleted);
    assert_int_equal(changes[1].revision.sub, 1);
    assert_true(bytes_equal(changes[1].key, text("a")));
    /* The event of a deletion has key and revision, the row the key alone. */
    assert_true(bytes_equal(blob_bytes(changes[1].key_value), BYTES_LITERAL("\x0a\x01"
                                                                            "a\x18\x03")));
    assert_rows(fixture, "2,0 0a0161100218022001"
                         "2a0131\n3,0 0a01621003180320012a0132\n3,1t 0a0161\n");
    mvcc_txn_begin(store);
    mvcc_txn_end(store, &count);
    assert_int_equal(count, 0);
    assert_int_equal(mvcc_revision(store), 3);
}

static void leases_are_told_of_every_change_of_ownership(void **state)
{
    struct fixture *fixture = *state;
    size_t count;
    mvcc_txn_begin(fixture->store);
    mvcc_txn_put(fixture->store, text("a"), text("1"), 7);
    mvcc_txn_put(fixture->store, text("b"), text("1"), 0);
    mvcc_txn_put(fixture->store, text("c"), text("1"), 8);
    mvcc_txn_put(fixture->store, text("d"), text("1"), -9);
    mvcc_txn_end(fixture->store, &count);
    put(fixture->store, "a", "2");
    delete (fixture->store, "c");
    assert_string_equal(buf_string(&fixture->lease_calls), "+7:a +8:c +-9:d -a -c ");
    buf_clear(&fixture->lease_calls);
    /* After a start: only what is alive and still has one. */
    restart(fixture);
    assert_string_equal(buf_string(&fixture->lease_calls), "+-9:d ");
}

/* ---- compaction ---- */

static void compaction_checks_its_revision(void **state)
{
    struct mvcc_store *store = ((struct fixture *)*state)->store;
    put(store, "a", "1");
    int64_t at;
    assert_int_equal(mvcc_compact_start(store, -1), MVCC_COMPACTED);
    assert_int_equal(mvcc_compact_start(store, 3), MVCC_FUTURE_REVISION);
    compact(store, 0, 1); /* fine on a store that was never compacted */
    assert_int_equal(mvcc_compact_start(store, 0), MVCC_COMPACTED);
    compact(store, 2, 1);
    assert_int_equal(mvcc_compact_start(store, 2), MVCC_COMPACTED);
    assert_int_equal(mvcc_check_revision(store, 1, &at), MVCC_COMPACTED);
    assert_int_equal(mvcc_check_revision(store, 2, &at), MVCC_OK);
    assert_int_equal(mvcc_check_revision(store, 3, &at), MVCC_FUTURE_REVISION);
    assert_int_equal(mvcc_check_revision(store, -5, &at), MVCC_OK);
    assert_int_equal(at, 2);
}

static void a_pinned_revision_stays_readable(void **state)
{
    struct mvcc_store *store = ((struct fixture *)*state)->store;
    put(store, "a", "1");
    put(store, "a", "2");
    mvcc_pin(store, 2);
    assert_int_equal(mvcc_compact_start(store, 3), MVCC_OK);
    assert_false(mvcc_compact_pending(store));
    bool found;
    struct mvcc_entry entry;
    struct bytes row;
    must(mvcc_get(store, text("a"), 2, &found, &entry, &row));
    assert_true(found && entry.modified.main == 2);
    mvcc_unpin(store, 2);
    assert_int_equal(compact_to_end(store, 10), 3);
}

/* etcd issue 17780: the newest rows are removed, then the power fails before the compaction is noted as
 * finished. */
static void the_revision_does_not_go_back_when_the_newest_rows_are_compacted(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    delete (fixture->store, "a");
    put(fixture->store, "b", "1");
    delete (fixture->store, "b");
    put(fixture->store, "c", "1");
    delete (fixture->store, "c");
    commit(fixture->backend);
    assert_int_equal(mvcc_revision(fixture->store), 7);
    assert_int_equal(mvcc_compact_start(fixture->store, 7), MVCC_OK);
    commit(fixture->backend);
    int64_t finished;
    must(mvcc_compact_step(fixture->store, 6, &finished));
    assert_int_equal(finished, 0);
    commit(fixture->backend);
    crash(fixture);
    assert_int_equal(mvcc_revision(fixture->store), 7);
    assert_int_equal(mvcc_compact_revision(fixture->store), 7);
    assert_true(mvcc_compact_pending(fixture->store));
    assert_int_equal(compact_to_end(fixture->store, 10), 7);
    struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX];
    assert_int_equal(mvcc_stored_hashes(fixture->store, hashes), 0); /* it did not see all rows */
    put(fixture->store, "d", "1");
    assert_int_equal(mvcc_revision(fixture->store), 8);
}

/* etcd issue 18089: a watch from the compact revision must find the deletion there. */
static void a_tombstone_at_the_compact_revision_is_kept(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    delete (fixture->store, "a");
    compact(fixture->store, 3, 10);
    assert_rows(fixture, "3,0t 0a0161\n");
    restart(fixture);
    assert_rows(fixture, "3,0t 0a0161\n");
    put(fixture->store, "b", "1");
    compact(fixture->store, 4, 10);
    assert_rows(fixture, "4,0 0a01621004180420012a0131\n");
    assert_int_equal(mvcc_index_keys(mvcc_index(fixture->store)), 1);
}

/* etcd issue 19179: an interrupted compaction left a tombstone without its puts; the next one must still know
 * it. */
static void a_tombstone_without_its_puts_is_known_after_a_crash(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    put(fixture->store, "b", "1");
    delete (fixture->store, "a");
    put(fixture->store, "c", "1");
    assert_int_equal(mvcc_compact_start(fixture->store, 4), MVCC_OK);
    int64_t finished;
    must(mvcc_compact_step(fixture->store, 1, &finished)); /* a's put is gone */
    commit(fixture->backend);
    crash(fixture);
    assert_true(mvcc_index_has(mvcc_index(fixture->store), text("a"), (struct mvcc_revision){4, 0}));
    assert_int_equal(compact_to_end(fixture->store, 2), 4);
    assert_rows(fixture, "3,0 0a01621003180320012a0131\n4,0t 0a0161\n5,0 0a01631005180520012a0131\n");
    compact(fixture->store, 5, 2);
    assert_rows(fixture, "3,0 0a01621003180320012a0131\n5,0 0a01631005180520012a0131\n");
}

/* etcdutl snapshot restore --bump-revision --mark-compacted. */
static void a_bumped_revision_is_taken_over(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    put(fixture->store, "a", "2");
    struct mvcc_row_key bumped = mvcc_row_key_of((struct mvcc_revision){1003, 0}, false);
    backend_put(fixture->backend, BUCKET_KEY, mvcc_row_key_bytes(&bumped), BYTES_EMPTY);
    backend_put(fixture->backend, BUCKET_META, BYTES_LITERAL("scheduledCompactRev"),
                mvcc_row_key_bytes(&bumped));
    restart(fixture);
    assert_int_equal(mvcc_revision(fixture->store), 1003);
    assert_int_equal(mvcc_compact_revision(fixture->store), 1003);
    assert_int_equal(compact_to_end(fixture->store, 10), 1003);
    put(fixture->store, "a", "3");
    restart(fixture);
    struct mvcc_entry entry;
    assert_true(mvcc_find(fixture->store, text("a"), 0x7fffffff, &entry));
    assert_int_equal(entry.modified.main, 1004);
    assert_int_equal(entry.version, 3);
    assert_int_equal(entry.created, 2);
}

/* A put and a tombstone cannot have the same revision. */
static void a_revision_that_occurs_twice_is_refused(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    struct mvcc_row_key twin = mvcc_row_key_of((struct mvcc_revision){2, 0}, true);
    backend_put(fixture->backend, BUCKET_KEY, mvcc_row_key_bytes(&twin),
                BYTES_LITERAL("\x0a\x01"
                              "a"));
    mvcc_close(fixture->store);
    struct error *error = mvcc_open(fixture->backend, &(struct mvcc_options){0}, &fixture->store);
    assert_true(error_is(error, ERROR_CORRUPT));
    error_free(error);
    fixture->store = NULL;
}

/* etcd then answers HashKV(0) with it, as if it were the current one. */
static void the_hash_of_a_compaction_at_0_is_not_taken_for_the_current_one(void **state)
{
    struct mvcc_store *store = ((struct fixture *)*state)->store;
    put(store, "a", "1");
    struct mvcc_hash before, after;
    assert_int_equal(hash_at(store, 0, 10, &before), MVCC_OK);
    compact(store, 0, 10);
    assert_int_equal(hash_at(store, 0, 10, &after), MVCC_OK);
    assert_int_equal(after.hash, before.hash);
    assert_int_equal(after.revision, 2);
    struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX];
    assert_int_equal(mvcc_stored_hashes(store, hashes), 0);
}

static void damaged_rows_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *key;
        size_t key_size;
        const char *value;
    } rows[] = {
        {"short", 5, ""},
        {"\0\0\0\0\0\0\0\2_\0\0\0\0\0\0\0\0x", 18, ""},
        {"\0\0\0\0\0\0\0\2-\0\0\0\0\0\0\0\0", 17, ""},
        {"\x80\0\0\0\0\0\0\2_\0\0\0\0\0\0\0\0", 17, ""},
        {"\0\0\0\0\0\0\0\2_\x01\0\0\0\0\0\0\0", 17, ""},
        {"\0\0\0\0\0\0\0\2_\0\0\0\0\0\0\0\0", 17, "\x0a\x05x"},
        {"\0\0\0\0\0\0\0\2_\0\0\0\0\0\0\0\0", 17, "\x2a\x01v\x30\x05"}, /* without a key */
        {"\x7f\xff\xff\xff\xff\xff\xff\xff_\0\0\0\0\0\0\0\0", 17, "\x0a\x01x"},
        {"\0\0\0\0\0\0\0\2_\0\0\0\0\0\0\0\0", 17, "\x0a\x01x\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        close_store(fixture);
        must(fs_remove(fs_sim_fs(fixture->sim), "/db"));
        open_store(fixture);
        backend_put(fixture->backend, BUCKET_KEY, bytes_of(rows[i].key, rows[i].key_size),
                    text(rows[i].value));
        mvcc_close(fixture->store);
        struct error *error = mvcc_open(fixture->backend, &(struct mvcc_options){0}, &fixture->store);
        assert_true(error_is(error, ERROR_CORRUPT));
        error_free(error);
        fixture->store = NULL;
    }
}

/* ---- random histories against a model that keeps every state ---- */

enum { KEYS = 12, STATES = 200 };

struct model_value {
    int64_t modified; /* 0: absent */
    int64_t created;
    int64_t version;
    int64_t lease;
    uint32_t value;
};

struct model {
    struct model_value states[STATES][KEYS]; /* by revision */
    int64_t revision;
    int64_t compacted;
    uint64_t index; /* the consistent index that goes with it */
};

struct run {
    struct rng rng;
    struct fixture fixture;
    struct model now;
    struct model sealed;         /* what the batch in flight holds */
    struct model durable;        /* what the last commit covered */
    struct backend_batch *batch; /* in flight */
};

static struct bytes key_name(unsigned i, char name[16])
{
    return bytes_of(name, (size_t)snprintf(name, 16, "k%0*u", (int)(i % 3) + 1, i));
}

static void random_transaction(struct run *run)
{
    struct model *model = &run->now;
    struct model_value *next = model->states[model->revision + 1];
    memcpy(next, model->states[model->revision], sizeof(model->states[0]));
    mvcc_txn_begin(run->fixture.store);
    uint64_t operations = 1 + rng_below(&run->rng, 3), changes = 0;
    while (operations-- > 0) {
        unsigned i = (unsigned)rng_below(&run->rng, KEYS);
        char name[16];
        struct bytes key = key_name(i, name);
        if (rng_chance(&run->rng, 1, 3)) {
            struct buf end = {0};
            struct mvcc_span span = mvcc_span_of(key, BYTES_EMPTY, &end);
            uint64_t expected = next[i].modified != 0 ? 1 : 0;
            assert_int_equal(mvcc_txn_delete(run->fixture.store, &span), expected);
            buf_deinit(&end);
            next[i] = (struct model_value){0};
            changes += expected;
        } else {
            struct model_value *value = &next[i];
            if (value->modified == 0) *value = (struct model_value){.created = model->revision + 1};
            value->modified = model->revision + 1;
            value->version++;
            value->value = (uint32_t)rng_next(&run->rng);
            value->lease = rng_chance(&run->rng, 1, 4) ? (int64_t)rng_below(&run->rng, 5) : 0;
            mvcc_txn_put(run->fixture.store, key, bytes_of(&value->value, sizeof(value->value)),
                         value->lease);
            changes++;
        }
    }
    size_t count;
    mvcc_txn_end(run->fixture.store, &count);
    assert_int_equal(count, changes);
    if (changes > 0) model->revision++;
    model->index++;
    backend_set_consistent(run->fixture.backend, model->index, 1);
}

static void assert_state(struct run *run, int64_t at)
{
    uint64_t live = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        const struct model_value *expected = &run->now.states[at][i];
        char name[16];
        bool found;
        struct mvcc_entry entry;
        struct bytes row;
        must(mvcc_get(run->fixture.store, key_name(i, name), at, &found, &entry, &row));
        assert_int_equal(found, expected->modified != 0);
        if (!found) continue;
        live++;
        struct mvcc_key_value key_value;
        assert_true(mvcc_key_value_parse(row, &key_value));
        assert_int_equal(key_value.modified, expected->modified);
        assert_int_equal(key_value.created, expected->created);
        assert_int_equal(key_value.version, expected->version);
        assert_int_equal(key_value.lease, expected->lease);
        assert_memory_equal(key_value.value.data, &expected->value, sizeof(expected->value));
        assert_int_equal(entry.created, expected->created);
        assert_int_equal(entry.version, expected->version);
    }
    struct mvcc_span all = {.from = BYTES_EMPTY, .open = true};
    assert_int_equal(mvcc_index_count(mvcc_index(run->fixture.store), &all, at), live);
}

static void assert_states(struct run *run)
{
    mvcc_index_verify(mvcc_index(run->fixture.store));
    assert_int_equal(mvcc_revision(run->fixture.store), run->now.revision);
    assert_int_equal(mvcc_compact_revision(run->fixture.store), run->now.compacted);
    int64_t from = run->now.compacted < 0 ? 1 : run->now.compacted;
    for (int64_t at = from; at <= run->now.revision; at++) assert_state(run, at);
}

static void seal(struct run *run)
{
    run->batch = backend_seal(run->fixture.backend);
    if (run->batch != NULL) run->sealed = run->now;
}

static void commit_sealed(struct run *run)
{
    must(backend_commit(run->fixture.backend, run->batch));
    must(backend_committed(run->fixture.backend, run->batch));
    run->batch = NULL;
    run->durable = run->sealed;
}

/* The power fails, maybe in the middle of a commit. What was not committed is forgotten as a whole: data,
 * compactions and consistent index roll back together (etcd issue 13766). */
static void random_crash(struct run *run)
{
    mvcc_close(run->fixture.store);
    bool committed = false;
    if (run->batch != NULL) {
        fs_sim_cut_power_after(run->fixture.sim, rng_below(&run->rng, 12));
        struct error *error = backend_commit(run->fixture.backend, run->batch);
        committed = error == NULL;
        error_free(error);
        error_free(backend_committed(run->fixture.backend, run->batch));
    }
    error_free(backend_close(run->fixture.backend));
    fs_sim_crash(run->fixture.sim, FS_SIM_RANDOM);
    open_store(&run->fixture);
    /* A commit that failed may have reached the disk all the same; the index tells. */
    uint64_t index = backend_consistent_index(run->fixture.backend);
    if (run->batch != NULL && index == run->sealed.index &&
        (committed || index != run->durable.index ||
         mvcc_revision(run->fixture.store) != run->durable.revision))
        run->durable = run->sealed;
    assert_int_equal(index, run->durable.index);
    run->batch = NULL;
    run->now = run->durable;
    assert_states(run);
}

static void random_step(struct run *run)
{
    struct mvcc_store *store = run->fixture.store;
    int64_t finished;
    switch (rng_below(&run->rng, 10)) {
    case 0:
        if (run->batch == NULL)
            seal(run);
        else
            commit_sealed(run);
        break;
    case 1:
        if (rng_chance(&run->rng, 1, 2)) random_crash(run);
        break;
    case 2:
        if (run->now.compacted == run->now.revision || !rng_chance(&run->rng, 1, 2)) break;
        run->now.index++;
        backend_set_consistent(run->fixture.backend, run->now.index, 1);
        int64_t span = run->now.revision - run->now.compacted;
        run->now.compacted += 1 + (int64_t)rng_below(&run->rng, (uint64_t)span);
        assert_int_equal(mvcc_compact_start(store, run->now.compacted), MVCC_OK);
        break;
    case 3:
    case 4:
        must(mvcc_compact_step(store, 1 + rng_below(&run->rng, 5), &finished));
        break;
    default:
        random_transaction(run);
        break;
    }
}

static void random_histories_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 250; seed++) {
        struct run *run = mem_zalloc(1, sizeof(*run));
        rng_init(&run->rng, seed);
        run->fixture.sim = fs_sim_new(&(struct fs_sim_options){.seed = seed});
        run->now.revision = run->durable.revision = 1;
        run->now.compacted = run->durable.compacted = -1;
        open_store(&run->fixture);
        for (int i = 0; i < 100; i++) {
            random_step(run);
            if (i % 20 == 0) assert_states(run);
        }
        assert_states(run);
        while (mvcc_compact_pending(run->fixture.store)) compact_to_end(run->fixture.store, 3);
        assert_states(run);
        if (run->batch != NULL) commit_sealed(run);
        close_store(&run->fixture);
        fs_sim_free(run->fixture.sim);
        buf_deinit(&run->fixture.lease_calls);
        free(run);
    }
}

/* Members that compact at different moments, in different slices, with and without restarts, have the same
 * hashes and end with the same rows. */
static void members_agree_whatever_the_timing_of_compactions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct run *members[2];
        for (size_t m = 0; m < 2; m++) {
            members[m] = mem_zalloc(1, sizeof(struct run));
            members[m]->fixture.sim = fs_sim_new(&(struct fs_sim_options){.seed = seed});
            members[m]->now.revision = 1;
            open_store(&members[m]->fixture);
        }
        struct rng rng;
        rng_init(&rng, seed * 1000);
        int64_t compacted = -1;
        for (int i = 0; i < 60; i++) {
            bool start = rng_chance(&rng, 1, 8) && compacted < members[0]->now.revision;
            if (start)
                compacted += 1 + (int64_t)rng_below(&rng, (uint64_t)(members[0]->now.revision - compacted));
            uint64_t work = rng_next(&rng);
            for (size_t m = 0; m < 2; m++) {
                rng_init(&members[m]->rng, work);
                random_transaction(members[m]);
                struct mvcc_store *store = members[m]->fixture.store;
                int64_t finished;
                if (start) assert_int_equal(mvcc_compact_start(store, compacted), MVCC_OK);
                if (rng_chance(&rng, 1, 3)) must(mvcc_compact_step(store, 1 + rng_below(&rng, 9), &finished));
                if (rng_chance(&rng, 1, 12)) restart(&members[m]->fixture);
            }
            struct mvcc_hash first, second;
            assert_int_equal(hash_at(members[0]->fixture.store, 0, 3, &first), MVCC_OK);
            assert_int_equal(hash_at(members[1]->fixture.store, 0, 7, &second), MVCC_OK);
            if (first.compact_revision == second.compact_revision) assert_int_equal(first.hash, second.hash);
        }
        struct buf rows[2] = {{0}, {0}};
        for (size_t m = 0; m < 2; m++) {
            compact_to_end(members[m]->fixture.store, 4);
            must(backend_scan(members[m]->fixture.backend, BUCKET_KEY, BYTES_EMPTY, BYTES_EMPTY, list_row,
                              &rows[m]));
            close_store(&members[m]->fixture);
            fs_sim_free(members[m]->fixture.sim);
            buf_deinit(&members[m]->fixture.lease_calls);
            free(members[m]);
        }
        assert_string_equal(buf_string(&rows[0]), buf_string(&rows[1]));
        buf_deinit(&rows[0]);
        buf_deinit(&rows[1]);
    }
}

int main(void)
{
#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        STORE_TEST(rows_and_hashes_are_etcds),
        STORE_TEST(the_hashes_of_the_last_compactions_are_remembered),
        STORE_TEST(hashes_do_not_depend_on_the_progress_of_a_compaction),
        STORE_TEST(a_hash_in_slices_is_that_of_its_beginning),
        STORE_TEST(the_hash_of_an_empty_state_is_that_of_what_a_compaction_leaves),
        STORE_TEST(a_transaction_shares_one_revision_and_reads_its_own_writes),
        STORE_TEST(leases_are_told_of_every_change_of_ownership),
        STORE_TEST(compaction_checks_its_revision),
        STORE_TEST(a_pinned_revision_stays_readable),
        STORE_TEST(the_revision_does_not_go_back_when_the_newest_rows_are_compacted),
        STORE_TEST(a_tombstone_at_the_compact_revision_is_kept),
        STORE_TEST(a_tombstone_without_its_puts_is_known_after_a_crash),
        STORE_TEST(a_bumped_revision_is_taken_over),
        STORE_TEST(a_revision_that_occurs_twice_is_refused),
        STORE_TEST(the_hash_of_a_compaction_at_0_is_not_taken_for_the_current_one),
        STORE_TEST(damaged_rows_are_refused),
        cmocka_unit_test(random_histories_agree_with_the_model),
        cmocka_unit_test(members_agree_whatever_the_timing_of_compactions),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
