#include "storage/backend.h"

#include "base/crc32c.h"
#include "base/memory.h"
#include "storage/backend_internal.h"

#include <assert.h>
#include <stdlib.h>

/* etcd reserves this much address space unless a quota was given. */
static const uint64_t MAP_SIZE_DEFAULT = UINT64_C(10) << 30;

static const char *const bucket_names[BUCKET_COUNT] = {
    [BUCKET_ALARM] = "alarm",
    [BUCKET_AUTH] = "auth",
    [BUCKET_AUTH_ROLES] = "authRoles",
    [BUCKET_AUTH_USERS] = "authUsers",
    [BUCKET_CLUSTER] = "cluster",
    [BUCKET_KEY] = "key",
    [BUCKET_LEASE] = "lease",
    [BUCKET_MEMBERS] = "members",
    [BUCKET_MEMBERS_REMOVED] = "members_removed",
    [BUCKET_META] = "meta",
};

#define META_CONSISTENT_INDEX BYTES_LITERAL("consistent_index")
#define META_TERM             BYTES_LITERAL("term")
#define META_STORAGE_VERSION  BYTES_LITERAL("storageVersion")

const char *backend_bucket_name(enum backend_bucket bucket)
{
    return bucket_names[bucket];
}

static struct bytes bucket_bytes(enum backend_bucket bucket)
{
    return bytes_from_string(bucket_names[bucket]);
}

/* ---- batches ---- */

static struct backend_batch *batch_new(void)
{
    struct backend_batch *batch = mem_zalloc(1, sizeof(*batch));
    batch->arena = arena_new();
    atomic_init(&batch->references, 1);
    return batch;
}

struct backend_batch *backend_batch_ref(struct backend_batch *batch)
{
    atomic_fetch_add(&batch->references, 1);
    return batch;
}

void backend_batch_unref(struct backend_batch *batch)
{
    if (batch == NULL || atomic_fetch_sub(&batch->references, 1) != 1) return;
    assert(batch->retired == NULL);
    for (size_t i = 0; i < batch->blob_count; i++) blob_unref(batch->blobs[i]);
    free(batch->blobs);
    for (size_t i = 0; i < BUCKET_COUNT; i++) free(batch->buckets[i].rows);
    free(batch->key_deletes.rows);
    arena_free(batch->arena);
    free(batch);
}

size_t backend_batch_bytes(const struct backend_batch *batch)
{
    if (batch == NULL) return 0;
    return arena_footprint(batch->arena) + batch->blob_bytes +
           (batch->buckets[BUCKET_KEY].capacity + batch->key_deletes.capacity) * sizeof(struct row);
}

static void batch_keep_blob(struct backend_batch *batch, struct blob *blob)
{
    if (batch->blob_count == batch->blob_capacity) {
        batch->blob_capacity = batch->blob_capacity == 0 ? 64 : batch->blob_capacity * 2;
        batch->blobs = mem_realloc(batch->blobs, batch->blob_capacity * sizeof(struct blob *));
    }
    batch->blobs[batch->blob_count++] = blob_ref(blob);
    batch->blob_bytes += sizeof(*blob) + blob->size;
}

/* The first row whose key is >= key. */
static size_t rows_find(const struct rows *rows, struct bytes key, bool *found)
{
    size_t low = 0, high = rows->count;
    *found = false;
    if (high == 0 || bytes_compare(rows->rows[high - 1].key, key) < 0) return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(rows->rows[middle].key, key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The row for `key`, made when it is not there. */
static struct row *rows_at(struct rows *rows, struct bytes key, struct arena *arena)
{
    bool found;
    size_t at = rows_find(rows, key, &found);
    if (found) return &rows->rows[at];
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        rows->rows = mem_realloc(rows->rows, rows->capacity * sizeof(struct row));
    }
    memmove(rows->rows + at + 1, rows->rows + at, (rows->count - at) * sizeof(struct row));
    rows->count++;
    rows->rows[at] = (struct row){.key = arena_copy(arena, key)};
    return &rows->rows[at];
}

static const struct row *rows_get(const struct rows *rows, struct bytes key)
{
    bool found;
    size_t at = rows_find(rows, key, &found);
    return found ? &rows->rows[at] : NULL;
}

/* What the batch says about a row; NULL when nothing. */
static const struct row *batch_get(const struct backend_batch *batch, enum backend_bucket bucket,
                                   struct bytes key)
{
    if (batch == NULL) return NULL;
    const struct row *row = rows_get(&batch->buckets[bucket], key);
    if (row == NULL && bucket == BUCKET_KEY) row = rows_get(&batch->key_deletes, key);
    return row;
}

static struct row *put_row(struct backend *backend, enum backend_bucket bucket, struct bytes key)
{
    assert(bucket < BUCKET_COUNT);
    struct backend_batch *batch = backend->active;
    struct rows *rows = &batch->buckets[bucket];
    assert(bucket != BUCKET_KEY || rows->count == 0 ||
           bytes_compare(rows->rows[rows->count - 1].key, key) < 0);
    batch->operations++;
    struct row *row = rows_at(rows, key, batch->arena);
    row->deleted = false;
    return row;
}

void backend_put(struct backend *backend, enum backend_bucket bucket, struct bytes key, struct bytes value)
{
    put_row(backend, bucket, key)->value = arena_copy(backend->active->arena, value);
}

void backend_put_blob(struct backend *backend, enum backend_bucket bucket, struct bytes key,
                      struct blob *blob, size_t size)
{
    assert(size <= blob->size);
    put_row(backend, bucket, key)->value = bytes_of(blob->data, size);
    batch_keep_blob(backend->active, blob);
}

void backend_delete(struct backend *backend, enum backend_bucket bucket, struct bytes key)
{
    assert(bucket < BUCKET_COUNT);
    struct backend_batch *batch = backend->active;
    batch->operations++;
    struct rows *rows = &batch->buckets[bucket];
    if (bucket == BUCKET_KEY && rows_get(rows, key) == NULL) rows = &batch->key_deletes;
    struct row *row = rows_at(rows, key, batch->arena);
    row->value = BYTES_EMPTY;
    row->deleted = true;
}

/* ---- reading ---- */

struct error *backend_get(struct backend *backend, enum backend_bucket bucket, struct bytes key, bool *found,
                          struct bytes *value)
{
    assert(bucket < BUCKET_COUNT);
    const struct row *row = batch_get(backend->active, bucket, key);
    if (row == NULL) row = batch_get(backend->in_flight, bucket, key);
    if (row != NULL) {
        *found = !row->deleted;
        *value = row->value;
        return NULL;
    }
    struct error *error = bolt_get(&backend->buckets[bucket], key, value, found);
    return error == NULL ? NULL : error_wrap(error, "read from bucket %s", bucket_names[bucket]);
}

/* The places a row may come from, newest first: what an earlier one says hides the later ones. */
enum { SOURCES_MAX = 4 };

struct scan {
    struct {
        const struct row *next;
        const struct row *end;
    } sources[SOURCES_MAX];
    size_t source_count;
    struct bolt_cursor cursor;
};

static void scan_source(struct scan *scan, const struct rows *rows, struct bytes from)
{
    bool found;
    size_t at = rows_find(rows, from, &found);
    if (at == rows->count) return;
    scan->sources[scan->source_count].next = rows->rows + at;
    scan->sources[scan->source_count].end = rows->rows + rows->count;
    scan->source_count++;
}

static void scan_batch(struct scan *scan, const struct backend_batch *batch, enum backend_bucket bucket,
                       struct bytes from)
{
    if (batch == NULL) return;
    scan_source(scan, &batch->buckets[bucket], from);
    if (bucket == BUCKET_KEY) scan_source(scan, &batch->key_deletes, from);
}

/* Takes the row with the smallest key from all sources. False at the end. Key and value of a row from bolt
 * stay valid when the cursor moves on. */
static struct error *scan_next(struct scan *scan, struct row *row, bool *any)
{
    const struct row *smallest = NULL;
    for (size_t i = 0; i < scan->source_count; i++) {
        if (scan->sources[i].next == scan->sources[i].end) continue;
        if (smallest == NULL || bytes_compare(scan->sources[i].next->key, smallest->key) < 0)
            smallest = scan->sources[i].next;
    }
    int order = smallest == NULL      ? -1
                : !scan->cursor.valid ? 1
                                      : bytes_compare(scan->cursor.key, smallest->key);
    *any = smallest != NULL || scan->cursor.valid;
    if (!*any) return NULL;
    if (smallest == NULL || order < 0)
        *row = (struct row){scan->cursor.key, scan->cursor.value, scan->cursor.is_bucket};
    else
        *row = *smallest;
    if (order >= 0)
        for (size_t i = 0; i < scan->source_count; i++)
            if (scan->sources[i].next != scan->sources[i].end &&
                bytes_equal(scan->sources[i].next->key, row->key))
                scan->sources[i].next++;
    return scan->cursor.valid && order <= 0 ? bolt_cursor_next(&scan->cursor) : NULL;
}

static struct error *scan_run(struct scan *scan, struct bytes from, struct bytes to, backend_visit *visit,
                              void *context)
{
    TRY(bolt_cursor_seek(&scan->cursor, from));
    for (;;) {
        struct row row;
        bool any;
        TRY(scan_next(scan, &row, &any));
        if (!any || (to.size > 0 && bytes_compare(row.key, to) >= 0)) return NULL;
        if (!row.deleted && !visit(context, row.key, row.value)) return NULL;
    }
}

struct error *backend_scan(struct backend *backend, enum backend_bucket bucket, struct bytes from,
                           struct bytes to, backend_visit *visit, void *context)
{
    assert(bucket < BUCKET_COUNT);
    struct scan scan;
    scan.source_count = 0;
    scan_batch(&scan, backend->active, bucket, from);
    scan_batch(&scan, backend->in_flight, bucket, from);
    bolt_cursor_init(&scan.cursor, &backend->buckets[bucket]);
    struct error *error = scan_run(&scan, from, to, visit, context);
    return error == NULL ? NULL : error_wrap(error, "scan bucket %s", bucket_names[bucket]);
}

/* ---- opening and the view ---- */

struct error *backend_open_bucket(const struct bolt_tx *tx, enum backend_bucket bucket,
                                  struct bolt_bucket *opened)
{
    bool found;
    TRY(bolt_bucket(tx, bucket_bytes(bucket), opened, &found));
    if (found) return NULL;
    return error_new(ERROR_CORRUPT, "bucket %s is missing", bucket_names[bucket]);
}

uint64_t backend_now(const struct backend *backend)
{
    return backend->now == NULL ? 0 : backend->now(backend->now_context);
}

struct backend_file *backend_file_new(struct backend *backend, struct bolt *bolt)
{
    struct backend_file *file = mem_zalloc(1, sizeof(*file));
    file->backend = backend;
    file->bolt = bolt;
    atomic_init(&file->users, 1);
    return file;
}

void backend_file_unref(struct backend_file *file)
{
    if (file == NULL || atomic_fetch_sub(&file->users, 1) != 1) return;
    struct backend *backend = file->backend;
    pthread_mutex_lock(&backend->file_lock);
    assert(file != backend->file);
    file->next = backend->replaced;
    backend->replaced = file;
    pthread_mutex_unlock(&backend->file_lock);
}

void backend_close_replaced(struct backend *backend)
{
    pthread_mutex_lock(&backend->file_lock);
    struct backend_file *file = backend->replaced;
    backend->replaced = NULL;
    pthread_mutex_unlock(&backend->file_lock);
    while (file != NULL) {
        struct backend_file *next = file->next;
        /* Whatever is wrong with it does not matter any more. */
        error_free(file->lost_its_name ? bolt_discard(file->bolt) : bolt_close(file->bolt));
        free(file);
        file = next;
    }
}

static struct backend_file *current_file(struct backend *backend)
{
    pthread_mutex_lock(&backend->file_lock);
    struct backend_file *file = backend->file;
    atomic_fetch_add(&file->users, 1);
    pthread_mutex_unlock(&backend->file_lock);
    return file;
}

struct error *backend_read_begin(struct backend *backend, struct backend_reader *reader)
{
    reader->file = current_file(backend);
    struct error *error = bolt_begin_read(reader->file->bolt, &reader->tx);
    if (error != NULL) backend_read_end(reader);
    return error;
}

void backend_read_end(struct backend_reader *reader)
{
    bolt_end_read(reader->tx);
    backend_file_unref(reader->file);
    *reader = (struct backend_reader){0};
}

/* Moves reads to the last committed state. */
struct error *backend_refresh(struct backend *backend)
{
    backend_read_end(&backend->view);
    TRY(backend_read_begin(backend, &backend->view));
    for (enum backend_bucket i = 0; i < BUCKET_COUNT; i++)
        TRY(backend_open_bucket(backend->view.tx, i, &backend->buckets[i]));
    struct bolt_stats stats;
    bolt_stats(backend->view.file->bolt, &stats);
    backend->size = stats.size;
    backend->size_in_use = stats.in_use;
    return NULL;
}

static struct error *create_buckets(struct bolt *bolt)
{
    struct bolt_tx *tx;
    TRY(bolt_begin_write(bolt, &tx));
    for (enum backend_bucket i = 0; i < BUCKET_COUNT; i++) {
        struct bolt_bucket bucket;
        struct error *error = bolt_bucket_create(tx, bucket_bytes(i), &bucket);
        if (error != NULL) {
            bolt_rollback(tx);
            return error;
        }
    }
    return bolt_commit(tx);
}

static struct error *missing_buckets(struct bolt *bolt, bool *missing)
{
    struct bolt_tx *tx;
    TRY(bolt_begin_read(bolt, &tx));
    struct error *error = NULL;
    *missing = false;
    for (enum backend_bucket i = 0; error == NULL && i < BUCKET_COUNT; i++) {
        struct bolt_bucket bucket;
        bool found = true;
        error = bolt_bucket(tx, bucket_bytes(i), &bucket, &found);
        if (!found) *missing = true;
    }
    bolt_end_read(tx);
    return error;
}

/* 0 when the row is not there. */
static struct error *read_counter(const struct bolt_tx *tx, struct bytes key, uint64_t *counter)
{
    bool found;
    struct bytes value;
    struct bolt_bucket meta;
    *counter = 0;
    TRY(backend_open_bucket(tx, BUCKET_META, &meta));
    TRY(bolt_get(&meta, key, &value, &found));
    if (!found) return NULL;
    if (value.size != 8)
        return error_new(ERROR_CORRUPT, "meta row %.*s has %zu bytes instead of 8", (int)key.size,
                         (const char *)key.data, value.size);
    *counter = be64_get(value.data);
    return NULL;
}

struct error *backend_tx_index(const struct bolt_tx *tx, uint64_t *index)
{
    return read_counter(tx, META_CONSISTENT_INDEX, index);
}

static struct error *load(struct backend *backend)
{
    bool missing;
    TRY(missing_buckets(backend->file->bolt, &missing));
    if (missing && !backend->read_only) TRY(create_buckets(backend->file->bolt));
    TRY(backend_refresh(backend));
    TRY(backend_tx_index(backend->view.tx, &backend->index));
    TRY(read_counter(backend->view.tx, META_TERM, &backend->term));
    backend->sealed_index = backend->index;
    backend->sealed_term = backend->term;
    return NULL;
}

struct error *backend_start_over(struct backend *backend)
{
    backend_batch_unref(backend->active);
    backend->active = batch_new();
    return load(backend);
}

struct error *backend_open(struct fs *fs, const char *path, const struct backend_options *options,
                           struct backend **backend)
{
    struct bolt_options bolt_options = {
        .initial_map_size = options->initial_map_size == 0 ? MAP_SIZE_DEFAULT : options->initial_map_size,
        .no_sync = options->no_sync,
        .read_only = options->read_only,
        .any_rows = options->any_rows,
        .lock = true,
    };
    struct bolt *bolt;
    TRY(bolt_open(fs, path, &bolt_options, &bolt));
    struct backend *opened = mem_zalloc(1, sizeof(*opened));
    opened->fs = fs;
    opened->path = mem_strdup(path);
    opened->map_size = bolt_options.initial_map_size;
    opened->no_sync = options->no_sync;
    opened->read_only = options->read_only;
    opened->file = backend_file_new(opened, bolt);
    pthread_mutex_init(&opened->file_lock, NULL);
    pthread_mutex_init(&opened->write_lock, NULL);
    pthread_mutex_init(&opened->defragment_lock, NULL);
    opened->logger = options->logger == NULL ? &log_discard : options->logger;
    opened->now = options->now;
    opened->now_context = options->now_context;
    opened->active = batch_new();
    opened->metrics.commit = (struct metric_histogram)METRIC_HISTOGRAM(1000000, 14);
    opened->metrics.rebalance = opened->metrics.spill = opened->metrics.write = opened->metrics.commit;
    opened->metrics.defragment = (struct metric_histogram)METRIC_HISTOGRAM(100000000, 13);
    opened->metrics.snapshot = (struct metric_histogram)METRIC_HISTOGRAM(10000000, 17);
    struct error *error = load(opened);
    if (error != NULL) {
        error_free(backend_close(opened));
        return error_wrap(error, "open backend %s", path);
    }
    *backend = opened;
    return NULL;
}

const char *backend_path(const struct backend *backend)
{
    return backend->path;
}

struct error *backend_close(struct backend *backend)
{
    assert(backend->in_flight == NULL);
    assert(!backend->recording.active);
    backend_read_end(&backend->view);
    backend_close_replaced(backend);
    assert(atomic_load(&backend->file->users) == 1);
    struct error *error = bolt_close(backend->file->bolt);
    free(backend->file);
    backend_batch_unref(backend->active);
    backend_batch_unref(backend->retired);
    pthread_mutex_destroy(&backend->file_lock);
    pthread_mutex_destroy(&backend->write_lock);
    pthread_mutex_destroy(&backend->defragment_lock);
    free(backend->path);
    free(backend);
    return error;
}

/* ---- sealing and committing ---- */

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
    assert(index >= backend->index);
    backend->index = index;
    backend->term = term;
}

size_t backend_pending_operations(const struct backend *backend)
{
    return backend->active->operations;
}

size_t backend_pending_bytes(const struct backend *backend)
{
    return backend_batch_bytes(backend->active) + backend_batch_bytes(backend->in_flight);
}

bool backend_in_flight(const struct backend *backend)
{
    return backend->in_flight != NULL;
}

/* 0 means "unknown" and is never written. */
static void put_counter(struct backend *backend, struct bytes key, uint64_t counter)
{
    if (counter == 0) return;
    uint8_t value[8];
    be64_put(value, counter);
    backend_put(backend, BUCKET_META, key, bytes_of(value, sizeof(value)));
}

struct backend_batch *backend_seal(struct backend *backend)
{
    assert(backend->in_flight == NULL);
    bool moved = backend->index != backend->sealed_index || backend->term != backend->sealed_term;
    if (backend->active->operations == 0 && !moved) return NULL;
    if (moved) {
        put_counter(backend, META_CONSISTENT_INDEX, backend->index);
        put_counter(backend, META_TERM, backend->term);
    }
    backend->sealed_index = backend->index;
    backend->sealed_term = backend->term;
    backend->in_flight = backend->active;
    backend->in_flight->retired = backend->retired;
    backend->retired = NULL;
    backend->active = batch_new();
    return backend->in_flight;
}

static struct error *write_rows(const struct bolt_bucket *bucket, const struct rows *rows, bool may_exist)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->rows[i];
        if (!row->deleted)
            TRY(bolt_put(bucket, row->key, row->value));
        else if (may_exist)
            TRY(bolt_delete(bucket, row->key, NULL));
    }
    return NULL;
}

struct error *backend_batch_write(struct bolt_tx *tx, const struct backend_batch *batch)
{
    for (enum backend_bucket i = 0; i < BUCKET_COUNT; i++) {
        if (batch->buckets[i].count == 0 && (i != BUCKET_KEY || batch->key_deletes.count == 0)) continue;
        struct bolt_bucket bucket;
        struct error *error = backend_open_bucket(tx, i, &bucket);
        if (error == NULL && i == BUCKET_KEY) error = write_rows(&bucket, &batch->key_deletes, true);
        /* A key row that was put and deleted within the batch never was in the file. */
        if (error == NULL) error = write_rows(&bucket, &batch->buckets[i], i != BUCKET_KEY);
        if (error != NULL) return error_wrap(error, "write bucket %s", bucket_names[i]);
    }
    return NULL;
}

static struct error *write_and_commit(struct bolt *bolt, const struct backend_batch *batch)
{
    struct bolt_tx *tx;
    TRY(bolt_begin_write(bolt, &tx));
    struct error *error = backend_batch_write(tx, batch);
    if (error == NULL) return bolt_commit(tx);
    bolt_rollback(tx);
    return error;
}

struct error *backend_commit(struct backend *backend, struct backend_batch *batch)
{
    uint64_t began = backend_now(backend);
    backend_batch_unref(batch->retired);
    batch->retired = NULL;
    backend_close_replaced(backend);
    pthread_mutex_lock(&backend->write_lock);
    struct bolt *bolt = backend->file->bolt; /* another one after a defragmentation */
    bolt_measure(bolt, backend->now, backend->now_context);
    struct error *error = write_and_commit(bolt, batch);
    struct bolt_commit_times times = bolt_commit_times(bolt);
    if (error == NULL) backend_record(backend, batch);
    pthread_mutex_unlock(&backend->write_lock);
    if (error != NULL) return error_wrap(error, "commit backend");
    if (backend->now == NULL) return NULL;
    metric_observe(&backend->metrics.commit, backend_now(backend) - began);
    metric_observe(&backend->metrics.rebalance, times.rebalance);
    metric_observe(&backend->metrics.spill, times.spill);
    metric_observe(&backend->metrics.write, times.write);
    return NULL;
}

struct error *backend_committed(struct backend *backend, struct backend_batch *batch)
{
    assert(batch == backend->in_flight);
    assert(backend->retired == NULL);
    backend_batch_unref(batch->retired); /* when it was never committed */
    batch->retired = NULL;
    backend->in_flight = NULL;
    backend->retired = batch;
    struct error *error = backend_refresh(backend);
    return error == NULL ? NULL : error_wrap(error, "read what was committed");
}

struct error *backend_commit_active(struct backend *backend)
{
    struct backend_batch *batch = backend_seal(backend);
    if (batch == NULL) return NULL;
    struct error *error = backend_commit(backend, batch);
    struct error *second = backend_committed(backend, batch);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

uint64_t backend_size(const struct backend *backend)
{
    return backend->size;
}

uint64_t backend_size_in_use(const struct backend *backend)
{
    return backend->size_in_use;
}

uint64_t backend_open_read_transactions(const struct backend *backend)
{
    struct bolt_stats stats;
    bolt_stats(backend->view.file->bolt, &stats);
    return stats.open_readers;
}

struct backend_metrics *backend_metrics(struct backend *backend)
{
    return &backend->metrics;
}

void backend_forget_pages(struct backend *backend)
{
    bolt_forget_pages(backend->view.file->bolt);
}

/* ---- hash ---- */

static bool is_hashed(enum backend_bucket bucket, struct bytes key)
{
    if (bucket != BUCKET_META) return true;
    return !bytes_equal(key, META_CONSISTENT_INDEX) && !bytes_equal(key, META_TERM) &&
           !bytes_equal(key, META_STORAGE_VERSION);
}

static struct error *hash_bucket(const struct bolt_tx *tx, enum backend_bucket bucket, uint32_t *hash)
{
    struct bolt_bucket opened;
    TRY(backend_open_bucket(tx, bucket, &opened));
    struct bytes name = bucket_bytes(bucket);
    *hash = crc32c(*hash, name.data, name.size);
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, &opened);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) {
        if (is_hashed(bucket, cursor.key)) {
            *hash = crc32c(*hash, cursor.key.data, cursor.key.size);
            *hash = crc32c(*hash, cursor.value.data, cursor.value.size);
        }
        TRY(bolt_cursor_next(&cursor));
    }
    return NULL;
}

struct error *backend_hash(struct backend *backend, uint32_t *hash)
{
    struct backend_reader reader;
    TRY(backend_read_begin(backend, &reader));
    struct error *error = NULL;
    *hash = 0;
    for (enum backend_bucket i = 0; error == NULL && i < BUCKET_COUNT; i++)
        error = hash_bucket(reader.tx, i, hash);
    backend_read_end(&reader);
    return error == NULL ? NULL : error_wrap(error, "hash backend");
}
