/* The index against a model that follows etcd's description of a key's history to the letter: generations as
 * lists. */
#include "base/memory.h"
#include "base/rng.h"
#include "mvcc/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct bytes key_of(const char *text)
{
    return bytes_from_string(text);
}

static struct mvcc_revision at_revision(int64_t main, int64_t sub)
{
    return (struct mvcc_revision){main, sub};
}

static void put(struct mvcc_index *index, const char *key, int64_t main)
{
    struct mvcc_entry entry;
    mvcc_index_put(index, key_of(key), at_revision(main, 0), &entry);
}

static void compact_key(struct mvcc_index *index, struct bytes key, int64_t at)
{
    struct mvcc_revision first = {0, 0};
    assert_false(mvcc_index_compact(index, key, at, first));
}

static void assert_entry(const struct mvcc_index *index, const char *key, int64_t at, int64_t modified,
                         int64_t created, int64_t version)
{
    struct mvcc_entry entry;
    assert_true(mvcc_index_find(index, key_of(key), at, &entry));
    assert_true(bytes_equal(entry.key, key_of(key)));
    assert_int_equal(entry.modified.main, modified);
    assert_int_equal(entry.created, created);
    assert_int_equal(entry.version, version);
}

static void assert_absent(const struct mvcc_index *index, const char *key, int64_t at)
{
    struct mvcc_entry entry;
    assert_false(mvcc_index_find(index, key_of(key), at, &entry));
}

/* ---- by example ---- */

static void a_key_is_created_updated_deleted_and_created_again(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    put(index, "foo", 2);
    put(index, "foo", 4);
    assert_true(mvcc_index_tombstone(index, key_of("foo"), at_revision(6, 0)));
    assert_false(mvcc_index_tombstone(index, key_of("foo"), at_revision(7, 0)));
    assert_false(mvcc_index_tombstone(index, key_of("bar"), at_revision(7, 0)));
    put(index, "foo", 8);
    assert_absent(index, "foo", 1);
    assert_entry(index, "foo", 2, 2, 2, 1);
    assert_entry(index, "foo", 3, 2, 2, 1);
    assert_entry(index, "foo", 5, 4, 2, 2);
    assert_absent(index, "foo", 6);
    assert_absent(index, "foo", 7);
    assert_entry(index, "foo", INT64_MAX, 8, 8, 1);
    mvcc_index_verify(index);
    mvcc_index_free(index);
}

static void compaction_keeps_what_is_seen_at_its_revision(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    for (int64_t i = 2; i <= 9; i++) put(index, "foo", i);
    compact_key(index, key_of("foo"), 7);
    assert_false(mvcc_index_has(index, key_of("foo"), at_revision(6, 0)));
    assert_true(mvcc_index_has(index, key_of("foo"), at_revision(7, 0)));
    assert_entry(index, "foo", 7, 7, 2, 6);
    assert_entry(index, "foo", 9, 9, 2, 8);
    compact_key(index, key_of("foo"), 9);
    assert_entry(index, "foo", 9, 9, 2, 8);
    put(index, "foo", 10);
    assert_entry(index, "foo", 10, 10, 2, 9);
    assert_int_equal(mvcc_index_revisions(index), 2);
    mvcc_index_verify(index);
    mvcc_index_free(index);
}

/* A watch may start at the compact revision and must see a deletion there (etcd issue 18089). */
static void a_tombstone_at_the_compact_revision_stays_until_the_next(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    put(index, "foo", 2);
    mvcc_index_tombstone(index, key_of("foo"), at_revision(3, 0));
    assert_true(mvcc_index_keeps(index, key_of("foo"), at_revision(3, 0), 3, true));
    assert_false(mvcc_index_keeps(index, key_of("foo"), at_revision(3, 0), 3, false));
    assert_false(mvcc_index_keeps(index, key_of("foo"), at_revision(3, 0), 4, true));
    compact_key(index, key_of("foo"), 3);
    assert_true(mvcc_index_has(index, key_of("foo"), at_revision(3, 0)));
    assert_int_equal(mvcc_index_keys(index), 1);
    assert_int_equal(mvcc_index_live_keys(index), 0);
    put(index, "foo", 5);
    assert_entry(index, "foo", 5, 5, 5, 1);
    compact_key(index, key_of("foo"), 4);
    assert_false(mvcc_index_has(index, key_of("foo"), at_revision(3, 0)));
    mvcc_index_tombstone(index, key_of("foo"), at_revision(6, 0));
    compact_key(index, key_of("foo"), 7);
    assert_int_equal(mvcc_index_keys(index), 0);
    mvcc_index_verify(index);
    mvcc_index_free(index);
}

/* etcd loses the row of such a put and crashes on the next read of the key. */
static void a_key_deleted_and_put_in_the_compacted_transaction_survives(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    put(index, "foo", 2);
    mvcc_index_tombstone(index, key_of("foo"), at_revision(3, 0));
    struct mvcc_entry entry;
    mvcc_index_put(index, key_of("foo"), at_revision(3, 1), &entry);
    compact_key(index, key_of("foo"), 3);
    assert_true(mvcc_index_has(index, key_of("foo"), at_revision(3, 0)));
    assert_entry(index, "foo", 3, 3, 3, 1);
    compact_key(index, key_of("foo"), 4);
    assert_false(mvcc_index_has(index, key_of("foo"), at_revision(3, 0)));
    assert_entry(index, "foo", 4, 3, 3, 1);
    mvcc_index_verify(index);
    mvcc_index_free(index);
}

/* After an interrupted compaction the puts before a tombstone may be gone (etcd issue 19179). */
static void a_lone_tombstone_is_restored(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    mvcc_index_restore(index, key_of("foo"), at_revision(5, 0), true, 0, 0);
    mvcc_index_restore(index, key_of("bar"), at_revision(6, 0), false, 3, 4);
    assert_int_equal(mvcc_index_keys(index), 2);
    assert_absent(index, "foo", 5);
    assert_true(mvcc_index_has(index, key_of("foo"), at_revision(5, 0)));
    assert_entry(index, "bar", 6, 6, 3, 4);
    put(index, "foo", 7);
    assert_entry(index, "foo", 7, 7, 7, 1);
    put(index, "bar", 8);
    assert_entry(index, "bar", 8, 8, 3, 5);
    mvcc_index_verify(index);
    mvcc_index_free(index);
}

/* `etcdutl snapshot restore --bump-revision` leaves a row that decodes as the empty key. */
static void the_empty_key_can_be_restored(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    mvcc_index_restore(index, BYTES_EMPTY, at_revision(1000, 0), false, 0, 0);
    struct mvcc_span all = {.from = BYTES_LITERAL("\0"), .open = true};
    assert_int_equal(mvcc_index_count(index, &all, INT64_MAX), 0);
    assert_true(mvcc_index_keeps(index, BYTES_EMPTY, at_revision(1000, 0), 1000, true));
    mvcc_index_verify(index);
    mvcc_index_free(index);
}

/* ---- against the model ---- */

enum { MODEL_KEYS = 40, GENERATIONS_MAX = 64, REVISIONS_MAX = 128 };

struct model_generation {
    int64_t version;
    int64_t created;
    struct mvcc_revision revisions[REVISIONS_MAX];
    size_t count;
};

struct model_key {
    struct model_generation generations[GENERATIONS_MAX];
    size_t count; /* 0: not in the tree */
};

struct model {
    struct model_key keys[MODEL_KEYS];
};

static void model_put(struct model_key *key, struct mvcc_revision revision)
{
    if (key->count == 0) key->generations[key->count++] = (struct model_generation){0};
    struct model_generation *last = &key->generations[key->count - 1];
    if (last->count == 0) last->created = revision.main;
    assert_true(last->count < REVISIONS_MAX);
    last->revisions[last->count++] = revision;
    last->version++;
}

static bool model_tombstone(struct model_key *key, struct mvcc_revision revision)
{
    if (key->count == 0 || key->generations[key->count - 1].count == 0) return false;
    model_put(key, revision);
    assert_true(key->count < GENERATIONS_MAX);
    key->generations[key->count++] = (struct model_generation){0};
    return true;
}

static bool model_find(const struct model_key *key, int64_t at, struct mvcc_entry *entry)
{
    for (size_t i = key->count; i-- > 0;) {
        const struct model_generation *generation = &key->generations[i];
        if (generation->count == 0) continue;
        if (i + 1 < key->count && generation->revisions[generation->count - 1].main <= at) return false;
        if (generation->revisions[0].main > at) continue;
        size_t n = generation->count;
        while (generation->revisions[n - 1].main > at) n--;
        entry->modified = generation->revisions[n - 1];
        entry->created = generation->created;
        entry->version = generation->version - (int64_t)(generation->count - n);
        return true;
    }
    return false;
}

/* Returns the number of the generation; *kept is the place of what stays available in it, -1 for nothing. */
static size_t model_compact_place(const struct model_key *key, int64_t at, int *kept)
{
    size_t g = 0;
    while (g + 1 < key->count) {
        const struct model_generation *generation = &key->generations[g];
        if (generation->revisions[generation->count - 1].main >= at) break;
        g++;
    }
    *kept = -1;
    for (size_t i = 0; i < key->generations[g].count; i++)
        if (key->generations[g].revisions[i].main <= at) *kept = (int)i;
    return g;
}

static void model_compact(struct model_key *key, int64_t at)
{
    if (key->count == 0) return;
    int kept;
    size_t g = model_compact_place(key, at, &kept);
    struct model_generation *generation = &key->generations[g];
    if (kept > 0) {
        generation->count -= (size_t)kept;
        memmove(generation->revisions, generation->revisions + kept,
                generation->count * sizeof(generation->revisions[0]));
    }
    memmove(key->generations, generation, (key->count - g) * sizeof(*generation));
    key->count -= g;
    if (key->count == 1 && key->generations[0].count == 0) key->count = 0;
}

static bool model_has(const struct model_key *key, struct mvcc_revision revision)
{
    for (size_t i = 0; i < key->count; i++)
        for (size_t j = 0; j < key->generations[i].count; j++)
            if (mvcc_revision_compare(key->generations[i].revisions[j], revision) == 0) return true;
    return false;
}

struct history {
    struct rng rng;
    struct model model;
    struct mvcc_index *index;
    int64_t revision;
    int64_t compacted;
    unsigned keys;
};

/* Some keys are prefixes of others, some hold zero bytes. */
static struct bytes model_key_name(unsigned i)
{
    static char names[MODEL_KEYS][32];
    static size_t sizes[MODEL_KEYS];
    if (sizes[i] == 0) {
        sizes[i] = (size_t)snprintf(names[i], sizeof(names[i]), "%0*u", (int)(1 + i % 5), i / 5);
        if (i % 7 == 0) names[i][sizes[i]++] = 0;
        names[i][sizes[i]++] = (char)('a' + i % 3);
    }
    return bytes_of(names[i], sizes[i]);
}

static void random_transaction(struct history *history)
{
    history->revision++;
    uint64_t changes = 1 + rng_below(&history->rng, 3);
    int64_t sub = 0;
    bool touched[MODEL_KEYS] = {false};
    while (changes-- > 0) {
        unsigned i = (unsigned)rng_below(&history->rng, history->keys);
        if (touched[i]) continue;
        touched[i] = true;
        struct model_key *key = &history->model.keys[i];
        struct mvcc_revision revision = {history->revision, sub};
        if (rng_chance(&history->rng, 1, 3)) {
            bool deleted = model_tombstone(key, revision);
            assert_int_equal(mvcc_index_tombstone(history->index, model_key_name(i), revision), deleted);
            sub += deleted ? 1 : 0;
        } else {
            struct mvcc_entry entry, expected;
            model_put(key, revision);
            mvcc_index_put(history->index, model_key_name(i), revision, &entry);
            assert_true(model_find(key, history->revision, &expected));
            assert_int_equal(entry.created, expected.created);
            assert_int_equal(entry.version, expected.version);
            sub++;
        }
    }
    if (sub == 0) history->revision--;
}

static void compact_all(struct history *history, int64_t at)
{
    history->compacted = at;
    for (unsigned i = 0; i < history->keys; i++) {
        struct model_key *key = &history->model.keys[i];
        int kept = -1;
        size_t g = key->count == 0 ? 0 : model_compact_place(key, at, &kept);
        if (kept >= 0) {
            const struct model_generation *generation = &key->generations[g];
            bool tombstone = g + 1 < key->count && (size_t)kept + 1 == generation->count;
            struct mvcc_revision revision = generation->revisions[kept];
            assert_true(mvcc_index_keeps(history->index, model_key_name(i), revision, at, true));
            assert_int_equal(mvcc_index_keeps(history->index, model_key_name(i), revision, at, false),
                             !tombstone);
        }
        int64_t main = (int64_t)rng_below(&history->rng, (uint64_t)at + 1);
        bool stays = mvcc_index_keeps(history->index, model_key_name(i), at_revision(main, 0), at, true);
        model_compact(key, at);
        assert_int_equal(mvcc_index_compact(history->index, model_key_name(i), at, at_revision(main, 0)),
                         stays);
    }
}

static void assert_same_at(struct history *history, int64_t at)
{
    uint64_t live = 0;
    for (unsigned i = 0; i < history->keys; i++) {
        struct mvcc_entry entry, expected;
        bool found = mvcc_index_find(history->index, model_key_name(i), at, &entry);
        assert_int_equal(found, model_find(&history->model.keys[i], at, &expected));
        live += found ? 1 : 0;
        if (!found) continue;
        assert_int_equal(mvcc_revision_compare(entry.modified, expected.modified), 0);
        assert_int_equal(entry.created, expected.created);
        assert_int_equal(entry.version, expected.version);
    }
    struct mvcc_span all = {.from = BYTES_EMPTY, .open = true};
    assert_int_equal(mvcc_index_count(history->index, &all, at), live);
    struct mvcc_index_cursor cursor = mvcc_index_seek(history->index, BYTES_EMPTY, false);
    struct mvcc_entry entry;
    int alive;
    uint64_t seen = 0;
    while ((alive = mvcc_index_next(&cursor, at, &entry)) >= 0) seen += (uint64_t)alive;
    assert_int_equal(seen, live);
}

static void assert_same(struct history *history)
{
    mvcc_index_verify(history->index);
    uint64_t keys = 0;
    for (unsigned i = 0; i < history->keys; i++) {
        keys += history->model.keys[i].count > 0 ? 1 : 0;
        for (int64_t main = 1; main <= history->revision; main++)
            for (int64_t sub = 0; sub < 3; sub++)
                assert_int_equal(mvcc_index_has(history->index, model_key_name(i), at_revision(main, sub)),
                                 model_has(&history->model.keys[i], at_revision(main, sub)));
    }
    assert_int_equal(mvcc_index_keys(history->index), keys);
    int64_t from = history->compacted < 0 ? 0 : history->compacted;
    for (int64_t at = from; at <= history->revision; at++) assert_same_at(history, at);
}

static void run_history(uint64_t seed, unsigned length, unsigned keys)
{
    struct history *history = mem_zalloc(1, sizeof(*history));
    rng_init(&history->rng, seed);
    history->index = mvcc_index_new();
    history->revision = 1;
    history->compacted = -1;
    history->keys = keys;
    for (unsigned i = 0; i < length; i++) {
        random_transaction(history);
        if (rng_chance(&history->rng, 1, 12) && history->compacted < history->revision) {
            int64_t span = history->revision - history->compacted;
            compact_all(history, history->compacted + 1 + (int64_t)rng_below(&history->rng, (uint64_t)span));
            assert_same(history);
        }
    }
    assert_same(history);
    mvcc_index_free(history->index);
    free(history);
}

static void random_histories_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 600; seed++) run_history(seed, 40, (unsigned)(1 + seed % MODEL_KEYS));
}

/* Every history of a single key is compacted at every revision. */
static void compaction_at_every_revision_agrees_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        for (int64_t at = 0; at <= 12; at++) {
            struct history *history = mem_zalloc(1, sizeof(*history));
            rng_init(&history->rng, seed);
            history->index = mvcc_index_new();
            history->revision = 1;
            history->keys = 3;
            while (history->revision < 12) random_transaction(history);
            compact_all(history, at);
            assert_same(history);
            for (int i = 0; i < 4; i++) random_transaction(history);
            assert_same(history);
            mvcc_index_free(history->index);
            free(history);
        }
    }
}

/* ---- large trees ---- */

enum { MANY = 20000 };

static uint32_t *shuffled(struct rng *rng, uint32_t count)
{
    uint32_t *order = mem_alloc(count * sizeof(*order));
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)rng_below(rng, i), swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
    return order;
}

static struct bytes numbered(char text[32], uint32_t i)
{
    return bytes_of(text, (size_t)snprintf(text, 32, "/registry/%08u", i));
}

static void assert_counts(const struct mvcc_index *index, struct rng *rng, const bool *alive)
{
    for (int round = 0; round < 20; round++) {
        uint32_t a = (uint32_t)rng_below(rng, MANY), b = (uint32_t)rng_below(rng, MANY), expected = 0;
        char from[32], to[32];
        struct mvcc_span span = {numbered(from, a), numbered(to, b), false};
        for (uint32_t i = a; i < b; i++) expected += alive[i] ? 1 : 0;
        assert_int_equal(mvcc_index_count(index, &span, INT64_MAX), expected);
    }
}

static void large_trees_grow_shrink_and_count(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int ordered = 0; ordered < 2; ordered++) {
        struct mvcc_index *index = mvcc_index_new();
        uint32_t *order = shuffled(&rng, MANY), *removal = shuffled(&rng, MANY);
        bool *alive = mem_zalloc(MANY, sizeof(bool));
        char text[32];
        struct mvcc_entry entry;
        int64_t revision = 1;
        for (uint32_t i = 0; i < MANY; i++) {
            uint32_t key = ordered != 0 ? i : order[i];
            mvcc_index_put(index, numbered(text, key), at_revision(++revision, 0), &entry);
            alive[key] = true;
            if (i % 4000 == 0) mvcc_index_verify(index);
        }
        assert_int_equal(mvcc_index_live_keys(index), MANY);
        assert_counts(index, &rng, alive);
        for (uint32_t i = 0; i < MANY; i++) {
            bool deleted =
                mvcc_index_tombstone(index, numbered(text, removal[i]), at_revision(++revision, 0));
            assert_true(deleted);
            alive[removal[i]] = false;
            compact_key(index, numbered(text, removal[i]), revision + 1);
            if (i % 2000 == 0) {
                mvcc_index_verify(index);
                assert_counts(index, &rng, alive);
            }
        }
        mvcc_index_verify(index);
        assert_int_equal(mvcc_index_keys(index), 0);
        mvcc_index_free(index);
        free(order);
        free(removal);
        free(alive);
    }
}

static int compare_names(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* Keys that are prefixes of others, hold zero and 0xff bytes, share long and short prefixes. */
static void keys_of_every_shape_are_found_in_order(void **state)
{
    (void)state;
    enum { NAMES = 4000, NAME_MAX_SIZE = 24 };
    static const char *const starts[] = {"", "/registry/pods/", "/registry/pods/", "/registry/",
                                         "\xff\xff\xff\xff"};
    struct rng rng;
    rng_init(&rng, 13);
    uint8_t(*memory)[NAME_MAX_SIZE] = mem_alloc(NAMES * sizeof(*memory));
    struct bytes *names = mem_alloc(NAMES * sizeof(*names));
    struct mvcc_index *index = mvcc_index_new();
    struct mvcc_entry entry;
    size_t count = 0;
    for (int64_t revision = 2; revision < 2 + NAMES; revision++) {
        const char *start = starts[rng_below(&rng, 5)];
        size_t size = strlen(start), end = size + rng_below(&rng, 8);
        memcpy(memory[count], start, size);
        while (size < end) memory[count][size++] = (uint8_t) "\0a\xff"[rng_below(&rng, 3)];
        names[count] = bytes_of(memory[count], size);
        bool known = mvcc_index_find(index, names[count], INT64_MAX, &entry);
        mvcc_index_put(index, names[count], at_revision(revision, 0), &entry);
        assert_true(bytes_equal(entry.key, names[count]));
        if (known) {
            assert_true(entry.version > 1);
            continue;
        }
        assert_int_equal(entry.version, 1);
        count++;
        if (count % 100 == 0) mvcc_index_verify(index);
    }
    qsort(names, count, sizeof(names[0]), compare_names);
    struct mvcc_index_cursor cursor = mvcc_index_seek(index, BYTES_EMPTY, false);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(mvcc_index_next(&cursor, INT64_MAX, &entry), 1);
        assert_true(bytes_equal(entry.key, names[i]));
        struct mvcc_index_cursor sought = mvcc_index_seek(index, names[i], true);
        int more = mvcc_index_next(&sought, INT64_MAX, &entry);
        assert_int_equal(more, i + 1 < count ? 1 : -1);
        if (more == 1) assert_true(bytes_equal(entry.key, names[i + 1]));
        struct mvcc_span rest = {.from = names[i], .open = true};
        assert_int_equal(mvcc_index_count(index, &rest, INT64_MAX), count - i);
    }
    assert_int_equal(mvcc_index_next(&cursor, INT64_MAX, &entry), -1);
    for (size_t i = 0; i < count; i++) {
        mvcc_index_tombstone(index, names[i * 7 % count], at_revision(10000 + (int64_t)i, 0));
        compact_key(index, names[i * 7 % count], 20000);
        if (i % 100 == 0) mvcc_index_verify(index);
    }
    mvcc_index_verify(index);
    mvcc_index_free(index);
    free(names);
    free(memory);
}

static void a_cursor_goes_on_while_it_deletes(void **state)
{
    (void)state;
    struct mvcc_index *index = mvcc_index_new();
    char text[32];
    struct mvcc_entry entry;
    for (uint32_t i = 0; i < 1000; i++)
        mvcc_index_put(index, numbered(text, i), at_revision(2 + i, 0), &entry);
    struct mvcc_index_cursor cursor = mvcc_index_seek(index, numbered(text, 99), true);
    for (uint32_t i = 100; i < 900; i++) {
        assert_int_equal(mvcc_index_next(&cursor, INT64_MAX, &entry), 1);
        assert_true(bytes_equal(entry.key, numbered(text, i)));
        mvcc_index_cursor_tombstone(index, &cursor, at_revision(2000, i));
    }
    mvcc_index_verify(index);
    assert_int_equal(mvcc_index_live_keys(index), 200);
    cursor = mvcc_index_seek(index, numbered(text, 100), false);
    assert_int_equal(mvcc_index_next(&cursor, INT64_MAX, &entry), 0);
    assert_int_equal(mvcc_index_next(&cursor, 1999, &entry), 1);
    mvcc_index_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_created_updated_deleted_and_created_again),
        cmocka_unit_test(compaction_keeps_what_is_seen_at_its_revision),
        cmocka_unit_test(a_tombstone_at_the_compact_revision_stays_until_the_next),
        cmocka_unit_test(a_key_deleted_and_put_in_the_compacted_transaction_survives),
        cmocka_unit_test(a_lone_tombstone_is_restored),
        cmocka_unit_test(the_empty_key_can_be_restored),
        cmocka_unit_test(random_histories_agree_with_the_model),
        cmocka_unit_test(compaction_at_every_revision_agrees_with_the_model),
        cmocka_unit_test(large_trees_grow_shrink_and_count),
        cmocka_unit_test(keys_of_every_shape_are_found_in_order),
        cmocka_unit_test(a_cursor_goes_on_while_it_deletes),
    };
    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
