/* A database that another member sent, in the place of the own one.
 *
 *     <index>.snap.db ──rename──▶ db        under the write lock: no commit, no end of a defragmentation
 *
 * Whoever reads the former file keeps it open until the end of the read. */
#include "base/wire.h"
#include "storage/backend_internal.h"
#include "storage/snap.h"

#include <assert.h>
#include <inttypes.h>

struct error *backend_reader_index(const struct backend_reader *reader, uint64_t *index)
{
    return backend_tx_index(reader->tx, index);
}

/* ---- checking ---- */

/* That each row is found by its key: keys of branches are under no checksum. */
static struct error *walk(const struct bolt_bucket *bucket)
{
    struct bolt_cursor cursor;
    bolt_cursor_init(&cursor, bucket);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) TRY(bolt_cursor_next(&cursor));
    return NULL;
}

static struct error *check_rows(struct bolt *bolt, bool all, uint64_t index)
{
    struct bolt_tx *tx;
    uint64_t found = 0;
    TRY(bolt_begin_read(bolt, &tx));
    struct error *error = NULL;
    for (enum backend_bucket i = 0; error == NULL && i < BUCKET_COUNT; i++) {
        struct bolt_bucket bucket;
        error = backend_open_bucket(tx, i, &bucket);
        if (error == NULL && all) error = walk(&bucket);
    }
    if (error == NULL) error = backend_tx_index(tx, &found);
    bolt_end_read(tx);
    if (error == NULL && found != index)
        error = error_new(ERROR_CORRUPT, "its consistent index is %" PRIu64 ", that of the snapshot %" PRIu64,
                          found, index);
    return error;
}

/* `read_only` looks at the meta pages alone, otherwise at all pages and rows. */
static struct error *open_and_check(struct fs *fs, const char *path, bool read_only, uint64_t index)
{
    const struct bolt_options options = {.read_only = read_only};
    struct bolt *bolt;
    TRY(bolt_open(fs, path, &options, &bolt));
    struct error *error = check_rows(bolt, !read_only, index);
    struct error *second = bolt_close(bolt);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

struct error *backend_check_image(struct fs *fs, const char *path, uint64_t index)
{
    /* An empty file would be made a new database by an open for writing. */
    struct error *error = open_and_check(fs, path, true, index);
    if (error == NULL) error = open_and_check(fs, path, false, index);
    return error == NULL ? NULL : error_wrap(error, "received database %s", path);
}

/* ---- installing ---- */

static struct error *put_in_place(struct backend *backend, struct bolt *image)
{
    bool renamed = false;
    pthread_mutex_lock(&backend->write_lock);
    struct error *error = bolt_rename(image, backend->path, &renamed);
    if (renamed) {
        backend_swap_files(backend, image, error == NULL);
        backend->generation++;
    }
    pthread_mutex_unlock(&backend->write_lock);
    if (!renamed) error_free(bolt_close(image));
    return error;
}

struct error *backend_install(struct backend *backend, const char *path, uint64_t index)
{
    const struct bolt_options options = {
        .initial_map_size = backend->map_size,
        .no_sync = backend->no_sync,
        .lock = true,
    };
    struct bolt *image;
    assert(backend->in_flight == NULL && !backend->read_only);
    struct error *error = bolt_open(backend->fs, path, &options, &image);
    if (error == NULL) error = put_in_place(backend, image);
    if (error == NULL) error = backend_start_over(backend);
    backend_close_replaced(backend); /* its space is wanted */
    if (error == NULL && backend->index != index)
        error = error_new(ERROR_CORRUPT, "its consistent index is %" PRIu64, backend->index);
    if (error != NULL)
        return error_wrap(error, "install the database of the snapshot at index %" PRIu64, index);
    log_info(backend->logger, "installed a received database", LOG_STRING("path", backend->path),
             LOG_UINT("snapshot-index", index), LOG_UINT("size-bytes", backend->size),
             LOG_SIZE("size", backend->size));
    return NULL;
}
