/* torture: everything one can do to a file that may be damaged. Nothing may crash, loop or grow without
 * bound; any error must be one of those a damaged file may give. Shared by the corruption test and the
 * fuzzer. */
#ifndef TESTS_BOLT_TORTURE_H
#define TESTS_BOLT_TORTURE_H

#include "bolt/bolt.h"
#include "storage/fs.h"

#include <stdlib.h>

/* Walks a bucket and those inside it, `budget` rows at most. Returns how many. */
static inline uint64_t torture_walk(const struct bolt_bucket *bucket, int direction, uint64_t budget)
{
    struct bolt_cursor cursor;
    uint64_t rows = 0, sum = 0;
    bolt_cursor_init(&cursor, bucket);
    struct error *error = direction > 0 ? bolt_cursor_first(&cursor) : bolt_cursor_last(&cursor);
    while (error == NULL && cursor.valid && rows < budget) {
        rows++;
        for (size_t i = 0; i < cursor.key.size; i++) sum += cursor.key.data[i];
        for (size_t i = 0; i < cursor.value.size; i += 64) sum += cursor.value.data[i];
        if (cursor.is_bucket) {
            struct bolt_bucket inner;
            bool found;
            error = bolt_bucket_nested(bucket, cursor.key, &inner, &found);
            if (error == NULL && found) rows += torture_walk(&inner, direction, budget - rows);
            error_free(error);
            error = NULL;
        } else {
            bool found;
            struct bytes value;
            error_free(bolt_get(bucket, cursor.key, &value, &found));
        }
        if (error == NULL) error = direction > 0 ? bolt_cursor_next(&cursor) : bolt_cursor_prev(&cursor);
    }
    if (error != NULL && error->kind != ERROR_CORRUPT) abort();
    error_free(error);
    return sum == UINT64_MAX ? 0 : rows;
}

static inline void torture_read(struct bolt *db, struct fs *fs, const char *copy)
{
    struct bolt_tx *tx;
    uint64_t violations;
    struct error *error = bolt_begin_read(db, &tx);
    if (error != NULL) abort();
    struct bolt_bucket root = bolt_root(tx);
    torture_walk(&root, 1, 20000);
    torture_walk(&root, -1, 20000);
    error_free(bolt_check(tx, NULL, NULL, &violations));
    error = bolt_compact_to(tx, fs, copy, NULL, NULL);
    if (error == NULL) error_free(fs_remove(fs, copy));
    error_free(error);
    bolt_end_read(tx);
}

static inline uint64_t torture_violations(struct bolt *db)
{
    struct bolt_tx *tx;
    uint64_t violations = 0;
    if (bolt_begin_write(db, &tx) != NULL) abort();
    error_free(bolt_check(tx, NULL, NULL, &violations));
    bolt_rollback(tx);
    return violations;
}

/* Changes something in every bucket, then commits. A sound file must be sound afterwards. */
static inline void torture_write(struct bolt *db)
{
    struct bolt_tx *tx;
    uint64_t violations = torture_violations(db);
    struct error *error = bolt_begin_write(db, &tx);
    if (error != NULL) abort();
    struct bolt_bucket root = bolt_root(tx), bucket;
    struct bolt_cursor cursor;
    bool found;
    bolt_cursor_init(&cursor, &root);
    error = bolt_cursor_first(&cursor);
    for (unsigned buckets = 0; error == NULL && cursor.valid && buckets < 20; buckets++) {
        struct bytes name = cursor.key, victim = BYTES_EMPTY;
        error = bolt_bucket(tx, name, &bucket, &found);
        if (error == NULL && found) {
            struct bolt_cursor row;
            bolt_cursor_init(&row, &bucket);
            error = bolt_cursor_last(&row);
            if (error == NULL && row.valid && !row.is_bucket) victim = row.key;
            if (error == NULL && victim.size > 0) error = bolt_delete(&bucket, victim, NULL);
            if (error == NULL) error = bolt_put(&bucket, BYTES_LITERAL("\x01new"), BYTES_LITERAL("row"));
            if (error == NULL) error = bolt_put(&bucket, BYTES_LITERAL("\xff\xffnew"), BYTES_LITERAL("row"));
            if (error == NULL && buckets % 3 == 2) error = bolt_bucket_delete(tx, name, &found);
        }
        if (error_is(error, ERROR_INVALID)) { /* a nested bucket is in the way */
            error_free(error);
            error = NULL;
        }
        if (error == NULL) error = bolt_cursor_next(&cursor);
    }
    if (error != NULL && error->kind != ERROR_CORRUPT) abort();
    error_free(error);
    error = bolt_commit(tx);
    if (error != NULL && error->kind != ERROR_CORRUPT) abort();
    error_free(error);
    if (violations == 0 && torture_violations(db) != 0) abort();
}

static inline void torture_file(struct fs *fs, const char *path, const char *copy)
{
    struct bolt *db;
    struct error *error = bolt_open(fs, path, &(struct bolt_options){.read_only = true}, &db);
    if (error == NULL) {
        torture_read(db, fs, copy);
        error = bolt_close(db);
    }
    error_free(error);
    error = bolt_open(fs, path, NULL, &db);
    if (error == NULL) error = bolt_close(db);
    error_free(error);
    /* The checksum of the rows would keep away most of what is damaged. */
    error = bolt_open(fs, path, &(struct bolt_options){.any_rows = true}, &db);
    if (error == NULL) {
        torture_write(db);
        torture_read(db, fs, copy);
        error = bolt_close(db);
    }
    error_free(error);
}

#endif
