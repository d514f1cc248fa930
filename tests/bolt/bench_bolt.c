/* bench_bolt: how fast the engine writes and reads, as etcd uses it. Prints numbers, judges nothing.
 *
 *      bench_bolt FILE [ROWS]
 *
 * FILE is made anew; 17-byte ascending keys, 300-byte values, 10 000 rows a commit.
 */
#include "base/memory.h"
#include "base/rng.h"
#include "bolt/bolt.h"
#include "storage/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEY_SIZE = 17, VALUE_SIZE = 300, PER_COMMIT = 10000 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void check(struct error *error)
{
    if (error == NULL) return;
    fprintf(stderr, "bench_bolt: %s\n", error->text);
    exit(1);
}

static struct bytes row_key(uint64_t row, uint8_t *at)
{
    be64_put(at, row);
    at[8] = '_';
    be64_put(at + 9, 0);
    return bytes_of(at, KEY_SIZE);
}

static void report(const char *what, uint64_t count, double since)
{
    double seconds = now() - since;
    printf("%-28s %10.0f /s   (%.3f s)\n", what, (double)count / seconds, seconds);
}

static struct bolt_bucket key_bucket(struct bolt_tx *tx)
{
    struct bolt_bucket bucket;
    bool found;
    check(bolt_bucket(tx, BYTES_LITERAL("key"), &bucket, &found));
    if (!found) exit(1);
    return bucket;
}

static void insert(struct bolt *db, uint64_t rows)
{
    uint8_t key[KEY_SIZE], value[VALUE_SIZE] = {0};
    double start = now(), in_commit = 0;
    for (uint64_t row = 0; row < rows;) {
        struct bolt_tx *tx;
        struct bolt_bucket bucket;
        check(bolt_begin_write(db, &tx));
        check(bolt_bucket_create(tx, BYTES_LITERAL("key"), &bucket));
        for (unsigned i = 0; i < PER_COMMIT && row < rows; i++, row++)
            check(bolt_put(&bucket, row_key(row, key), bytes_of(value, VALUE_SIZE)));
        double commit = now();
        check(bolt_commit(tx));
        in_commit += now() - commit;
    }
    report("insert ascending", rows, start);
    printf("%-28s %10.3f s\n", "  of it in commits", in_commit);
}

static void overwrite(struct bolt *db, uint64_t rows)
{
    uint8_t key[KEY_SIZE], value[VALUE_SIZE] = {1};
    struct rng rng;
    struct bolt_tx *tx;
    rng_init(&rng, 1);
    double start = now();
    for (unsigned commit = 0; commit < 10; commit++) {
        check(bolt_begin_write(db, &tx));
        struct bolt_bucket bucket = key_bucket(tx);
        for (unsigned i = 0; i < PER_COMMIT; i++)
            check(bolt_put(&bucket, row_key(rng_below(&rng, rows), key), bytes_of(value, VALUE_SIZE)));
        check(bolt_commit(tx));
    }
    report("overwrite at random", 10 * PER_COMMIT, start);
}

static void read_rows(struct bolt *db, uint64_t rows)
{
    uint8_t key[KEY_SIZE];
    struct rng rng;
    struct bolt_tx *tx;
    struct bolt_cursor cursor;
    struct bytes value;
    bool found;
    uint64_t seen = 0;
    rng_init(&rng, 2);
    check(bolt_begin_read(db, &tx));
    struct bolt_bucket bucket = key_bucket(tx);
    double start = now();
    for (unsigned i = 0; i < 1000000; i++)
        check(bolt_get(&bucket, row_key(rng_below(&rng, rows), key), &value, &found));
    report("get at random", 1000000, start);
    start = now();
    bolt_cursor_init(&cursor, &bucket);
    for (check(bolt_cursor_first(&cursor)); cursor.valid; check(bolt_cursor_next(&cursor))) seen++;
    report("scan", seen, start);
    bolt_end_read(tx);
    start = now();
    for (unsigned i = 0; i < 1000000; i++) {
        check(bolt_begin_read(db, &tx));
        bolt_end_read(tx);
    }
    report("begin and end a read", 1000000, start);
}

int main(int count, char **arguments)
{
    if (count < 2) {
        fprintf(stderr, "usage: bench_bolt FILE [ROWS]\n");
        return 2;
    }
    uint64_t rows = count > 2 ? strtoull(arguments[2], NULL, 10) : 1000000;
    struct bolt *db;
    struct bolt_options options = {.initial_map_size = (uint64_t)10 << 30};
    remove(arguments[1]);
    check(bolt_open(fs_real(), arguments[1], &options, &db));
    insert(db, rows);
    overwrite(db, rows);
    read_rows(db, rows);
    check(bolt_close(db));
    double start = now();
    check(bolt_open(fs_real(), arguments[1], &options, &db));
    report("open, pages scanned", rows, start);
    check(bolt_close(db));
    remove(arguments[1]);
    return 0;
}
