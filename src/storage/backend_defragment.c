/* Defragmentation while both sides of the backend go on.
 *
 *     read transaction ──copy──▶ db.tmp.defrag          batches committed meanwhile are recorded,
 *                                    │  repeat recorded batches, again and again, until few are left
 *                     write lock ┌───┴───────────────────────────────┐
 *                                │ the last ones; sync; rename over db │ commits wait for this only
 *                                └───────────────────────────────────┘
 *
 * The copy is complete and synced before it gets the name, so a crash leaves one of the two whole: and since
 * consistent_index is among the rows, each is a state that the log continues. */
#include "base/memory.h"
#include "storage/backend_internal.h"
#include "storage/fs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    RECORDING_MAX = 256 << 20, /* bytes of batches to repeat, beyond which writing is too fast for the copy */
    FEW_BYTES = 1 << 20,       /* so little is left to the end */
    ROUNDS_MAX = 100,
    TRIES_MAX = 3, /* when files are installed meanwhile */
};

void backend_record(struct backend *backend, struct backend_batch *batch)
{
    struct recording *recording = &backend->recording;
    if (!recording->active || recording->overflowed) return;
    if (recording->count == recording->capacity) {
        recording->capacity = recording->capacity == 0 ? 16 : recording->capacity * 2;
        recording->batches = mem_realloc(recording->batches, recording->capacity * sizeof(batch));
    }
    recording->batches[recording->count++] = backend_batch_ref(batch);
    recording->bytes += backend_batch_bytes(batch);
    recording->overflowed = recording->bytes > RECORDING_MAX;
}

/* With write_lock held. Nothing that was copied or recorded counts any more. */
static bool was_replaced(const struct backend *backend)
{
    return backend->recording.generation != backend->generation;
}

static void recording_deinit(struct recording *recording)
{
    for (size_t i = 0; i < recording->count; i++) backend_batch_unref(recording->batches[i]);
    free(recording->batches);
    *recording = (struct recording){0};
}

/* Hands over what was recorded so far; recording goes on. */
static struct error *recording_take(struct backend *backend, struct recording *taken)
{
    if (was_replaced(backend)) return error_new(ERROR_CANCELED, "another file was installed meanwhile");
    *taken = backend->recording;
    backend->recording = (struct recording){.active = true, .generation = taken->generation};
    if (!taken->overflowed) return NULL;
    recording_deinit(taken);
    return error_new(ERROR_LIMIT,
                     "more was written during the copy than the %d MiB that may wait to be repeated",
                     RECORDING_MAX >> 20);
}

static struct error *repeat(struct bolt *copy, const struct recording *recorded)
{
    struct bolt_tx *tx;
    if (recorded->count == 0) return NULL;
    TRY(bolt_begin_write(copy, &tx));
    struct error *error = NULL;
    for (size_t i = 0; i < recorded->count && error == NULL; i++)
        error = backend_batch_write(tx, recorded->batches[i]);
    if (error == NULL) return bolt_commit(tx);
    bolt_rollback(tx);
    return error;
}

/* One round. What came again in the meantime is about as much as it repeated, or less. */
static struct error *catch_up(struct backend *backend, struct bolt *copy, size_t *repeated)
{
    struct recording recorded;
    pthread_mutex_lock(&backend->write_lock);
    struct error *error = recording_take(backend, &recorded);
    pthread_mutex_unlock(&backend->write_lock);
    if (error != NULL) return error;
    *repeated = recorded.bytes;
    error = repeat(copy, &recorded);
    recording_deinit(&recorded);
    return error;
}

void backend_swap_files(struct backend *backend, struct bolt *bolt, bool durable)
{
    struct backend_file *old = backend->file, *new = backend_file_new(backend, bolt);
    pthread_mutex_lock(&backend->file_lock);
    old->lost_its_name = durable;
    backend->file = new;
    pthread_mutex_unlock(&backend->file_lock);
    backend_file_unref(old);
}

/* With write_lock held. `*copy` is NULL once the backend has it. */
static struct error *finish(struct backend *backend, struct bolt **copy, bool *is_fatal)
{
    struct recording recorded;
    TRY(recording_take(backend, &recorded));
    struct error *error = repeat(*copy, &recorded);
    recording_deinit(&recorded);
    if (error != NULL) return error;
    bool renamed = false;
    error = bolt_rename(*copy, backend->path, &renamed);
    if (!renamed) return error;
    *is_fatal = error != NULL;
    backend_swap_files(backend, *copy, error == NULL);
    *copy = NULL;
    return error;
}

static bool copy_goes_on(void *context, uint64_t written)
{
    struct backend *backend = context;
    (void)written;
    pthread_mutex_lock(&backend->write_lock);
    bool go_on = !backend->recording.overflowed && !was_replaced(backend);
    pthread_mutex_unlock(&backend->write_lock);
    return go_on;
}

static struct error *begin(struct backend *backend, struct backend_reader *reader)
{
    pthread_mutex_lock(&backend->write_lock);
    struct error *error = backend_read_begin(backend, reader);
    if (error == NULL)
        backend->recording = (struct recording){.active = true, .generation = backend->generation};
    pthread_mutex_unlock(&backend->write_lock);
    return error;
}

static struct error *copy_rows(struct backend *backend, const char *path, struct bolt **copy)
{
    const struct bolt_options options = {
        .initial_map_size = backend->map_size,
        .no_sync = backend->no_sync,
        .lock = true,
    };
    struct backend_reader reader;
    TRY(begin(backend, &reader));
    struct error *error = bolt_compact_to(reader.tx, backend->fs, path, copy_goes_on, backend);
    backend_read_end(&reader);
    if (error != NULL) return error;
    error = bolt_open(backend->fs, path, &options, copy);
    if (error != NULL) error_free(fs_remove(backend->fs, path));
    return error;
}

/* *again: another file was installed meanwhile. */
static struct error *replace(struct backend *backend, const char *path, bool *is_fatal, bool *again)
{
    struct bolt *copy = NULL;
    struct error *error = copy_rows(backend, path, &copy);
    size_t repeated = SIZE_MAX;
    for (unsigned round = 0; error == NULL && repeated > FEW_BYTES && round < ROUNDS_MAX; round++)
        error = catch_up(backend, copy, &repeated);
    pthread_mutex_lock(&backend->write_lock);
    if (error == NULL) error = finish(backend, &copy, is_fatal);
    *again = error != NULL && backend->recording.active && was_replaced(backend);
    recording_deinit(&backend->recording);
    pthread_mutex_unlock(&backend->write_lock);
    if (copy == NULL) return error;
    error_free(bolt_close(copy));
    error_free(fs_remove(backend->fs, path));
    return error;
}

static void log_outcome(const struct backend *backend, const struct bolt_stats *before,
                        const struct bolt_stats *after, uint64_t took)
{
    log_info(backend->logger, "finished defragmenting directory", LOG_STRING("path", backend->path),
             LOG_INT("current-db-size-bytes-diff", (int64_t)(after->size - before->size)),
             LOG_UINT("current-db-size-bytes", after->size), LOG_SIZE("current-db-size", after->size),
             LOG_INT("current-db-size-in-use-bytes-diff", (int64_t)(after->in_use - before->in_use)),
             LOG_UINT("current-db-size-in-use-bytes", after->in_use),
             LOG_SIZE("current-db-size-in-use", after->in_use), LOG_DURATION("took", took));
}

static void stats_of(struct backend *backend, struct bolt_stats *stats)
{
    pthread_mutex_lock(&backend->file_lock);
    bolt_stats(backend->file->bolt, stats);
    pthread_mutex_unlock(&backend->file_lock);
}

struct error *backend_defragment(struct backend *backend, bool *is_fatal)
{
    struct bolt_stats before, after;
    *is_fatal = false;
    pthread_mutex_lock(&backend->defragment_lock);
    metric_set(&backend->metrics.defragmenting, 1);
    uint64_t began = backend_now(backend);
    stats_of(backend, &before);
    log_info(backend->logger, "defragmenting", LOG_STRING("path", backend->path),
             LOG_UINT("current-db-size-bytes", before.size), LOG_SIZE("current-db-size", before.size),
             LOG_UINT("current-db-size-in-use-bytes", before.in_use),
             LOG_SIZE("current-db-size-in-use", before.in_use));
    char *path = mem_printf("%s.tmp.defrag", backend->path);
    bool again = false;
    struct error *error = replace(backend, path, is_fatal, &again);
    for (unsigned tries = 1; again && tries < TRIES_MAX; tries++) {
        error_free(error);
        error = replace(backend, path, is_fatal, &again);
    }
    free(path);
    if (error == NULL) {
        uint64_t took = backend_now(backend) - began;
        stats_of(backend, &after);
        metric_observe(&backend->metrics.defragment, took);
        log_outcome(backend, &before, &after, took);
    }
    metric_set(&backend->metrics.defragmenting, 0);
    pthread_mutex_unlock(&backend->defragment_lock);
    return error == NULL ? NULL : error_wrap(error, "defragment %s", backend->path);
}
