#include "memory_backend.h"

#include "base/blob.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct row {
    struct bytes key;
    struct bytes value; /* a zero behind it */
};

struct bucket {
    struct row *rows; /* in order of keys */
    size_t count;
    size_t capacity;
};

struct backend {
    struct bucket buckets[BUCKET_COUNT];
    uint64_t index, term;
    unsigned visiting; /* calls of backend_scan under way */
    bool broken;
};

struct backend *memory_backend_new(void)
{
    return mem_zalloc(1, sizeof(struct backend));
}

static void free_row(struct row *row)
{
    free((void *)(uintptr_t)row->key.data);
    free((void *)(uintptr_t)row->value.data);
}

void memory_backend_free(struct backend *backend)
{
    for (int i = 0; i < BUCKET_COUNT; i++) {
        for (size_t j = 0; j < backend->buckets[i].count; j++) free_row(&backend->buckets[i].rows[j]);
        free(backend->buckets[i].rows);
    }
    free(backend);
}

struct backend *memory_backend_copy(const struct backend *backend)
{
    struct backend *copy = memory_backend_new();
    for (int i = 0; i < BUCKET_COUNT; i++)
        for (size_t j = 0; j < backend->buckets[i].count; j++)
            backend_put(copy, (enum backend_bucket)i, backend->buckets[i].rows[j].key,
                        backend->buckets[i].rows[j].value);
    copy->index = backend->index;
    copy->term = backend->term;
    return copy;
}

/* The position of the first row that is not before `key`. */
static size_t lower_bound(const struct bucket *bucket, struct bytes key)
{
    size_t low = 0, high = bucket->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(bucket->rows[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool row_is(const struct bucket *bucket, size_t position, struct bytes key)
{
    return position < bucket->count && bytes_equal(bucket->rows[position].key, key);
}

static struct bytes copy_bytes(struct bytes bytes)
{
    uint8_t *copy = mem_alloc(bytes.size + 1);
    if (bytes.size > 0) memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = 0;
    return bytes_of(copy, bytes.size);
}

void backend_put(struct backend *backend, enum backend_bucket id, struct bytes key, struct bytes value)
{
    assert(backend->visiting == 0 && key.size > 0);
    struct bucket *bucket = &backend->buckets[id];
    size_t position = lower_bound(bucket, key);
    struct row row = {copy_bytes(key), copy_bytes(value)};
    if (row_is(bucket, position, key)) {
        free_row(&bucket->rows[position]);
        bucket->rows[position] = row;
        return;
    }
    if (bucket->count == bucket->capacity) {
        bucket->capacity = bucket->capacity == 0 ? 16 : bucket->capacity * 2;
        bucket->rows = mem_realloc(bucket->rows, bucket->capacity * sizeof(row));
    }
    memmove(bucket->rows + position + 1, bucket->rows + position, (bucket->count - position) * sizeof(row));
    bucket->rows[position] = row;
    bucket->count++;
}

void backend_put_blob(struct backend *backend, enum backend_bucket bucket, struct bytes key,
                      struct blob *blob, size_t size)
{
    assert(size <= blob->size);
    backend_put(backend, bucket, key, bytes_of(blob->data, size));
}

void backend_delete(struct backend *backend, enum backend_bucket id, struct bytes key)
{
    assert(backend->visiting == 0);
    struct bucket *bucket = &backend->buckets[id];
    size_t position = lower_bound(bucket, key);
    if (!row_is(bucket, position, key)) return;
    free_row(&bucket->rows[position]);
    bucket->count--;
    memmove(bucket->rows + position, bucket->rows + position + 1,
            (bucket->count - position) * sizeof(struct row));
}

static struct error *failure(const struct backend *backend)
{
    return backend->broken ? error_new(ERROR_CORRUPT, "page 7: checksum differs") : NULL;
}

struct error *backend_get(struct backend *backend, enum backend_bucket id, struct bytes key, bool *found,
                          struct bytes *value)
{
    TRY(failure(backend));
    struct bucket *bucket = &backend->buckets[id];
    size_t position = lower_bound(bucket, key);
    *found = row_is(bucket, position, key);
    if (*found) *value = bucket->rows[position].value;
    return NULL;
}

struct error *backend_scan(struct backend *backend, enum backend_bucket id, struct bytes from,
                           struct bytes to, backend_visit *visit, void *context)
{
    TRY(failure(backend));
    struct bucket *bucket = &backend->buckets[id];
    backend->visiting++;
    for (size_t i = lower_bound(bucket, from); i < bucket->count; i++) {
        if (to.size > 0 && bytes_compare(bucket->rows[i].key, to) >= 0) break;
        if (!visit(context, bucket->rows[i].key, bucket->rows[i].value)) break;
    }
    backend->visiting--;
    return NULL;
}

uint64_t backend_consistent_index(const struct backend *backend)
{
    return backend->index;
}

uint64_t backend_consistent_term(const struct backend *backend)
{
    return backend->term;
}

void backend_set_consistent(struct backend *backend, uint64_t index, uint64_t term)
{
    backend->index = index;
    backend->term = term;
}

size_t memory_backend_rows(const struct backend *backend, enum backend_bucket bucket)
{
    return backend->buckets[bucket].count;
}

const char *memory_backend_text(const struct backend *backend, enum backend_bucket id, const char *key)
{
    const struct bucket *bucket = &backend->buckets[id];
    size_t position = lower_bound(bucket, bytes_from_string(key));
    if (!row_is(bucket, position, bytes_from_string(key))) return NULL;
    return (const char *)bucket->rows[position].value.data;
}

void memory_backend_break(struct backend *backend)
{
    backend->broken = true;
}
