/* support: what the tests of bolt share. */
#ifndef TESTS_BOLT_SUPPORT_H
#define TESTS_BOLT_SUPPORT_H

#include "base/memory.h"
#include "base/rng.h"
#include "bolt/bolt.h"
#include "storage/fs.h"
#include "storage/fs_sim.h"
#include "tests/unit/expect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static inline void print_violation(void *context, const char *violation)
{
    (void)context;
    fprintf(stderr, "check: %s\n", violation);
}

/* Every page used once or free, keys in order. */
static inline void must_be_sound(struct bolt *db)
{
    struct bolt_tx *tx;
    uint64_t violations;
    must(bolt_begin_write(db, &tx));
    must(bolt_check(tx, print_violation, NULL, &violations));
    assert_int_equal(violations, 0);
    bolt_rollback(tx);
}

static inline struct bolt_bucket must_open_bucket(const struct bolt_tx *tx, const char *name)
{
    struct bolt_bucket bucket;
    bool found;
    must(bolt_bucket(tx, bytes_from_string(name), &bucket, &found));
    assert_true(found);
    return bucket;
}

static inline void must_put(const struct bolt_bucket *bucket, const char *key, const char *value)
{
    must(bolt_put(bucket, bytes_from_string(key), bytes_from_string(value)));
}

static inline void must_have(const struct bolt_bucket *bucket, const char *key, const char *value)
{
    struct bytes got;
    bool found;
    must(bolt_get(bucket, bytes_from_string(key), &got, &found));
    if (value == NULL) {
        assert_false(found);
        return;
    }
    assert_true(found);
    assert_int_equal(got.size, strlen(value));
    assert_memory_equal(got.data, value, got.size);
}

/* etcd's row keys: 8 bytes of revision, '_', 8 bytes of sub-revision. */
enum { REVISION_KEY_SIZE = 17 };

static inline struct bytes revision_key(uint64_t revision, uint8_t *at)
{
    be64_put(at, revision);
    at[8] = '_';
    be64_put(at + 9, 0);
    return bytes_of(at, REVISION_KEY_SIZE);
}

#endif
