#include "member/snapshot_file.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/list.h"
#include "base/memory.h"
#include "bolt/bolt.h"
#include "mvcc/revision.h"
#include "mvcc/store.h"
#include "storage/backend.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum {
    SECTOR = 512,
    COPY_CHUNK = 1 << 20,
    VIOLATIONS_SHOWN = 10,
};

/* ---- checking ---- */

struct complaints {
    struct buf text;
    unsigned shown;
};

static void complain(void *context, const char *violation)
{
    struct complaints *complaints = context;
    if (complaints->shown++ < VIOLATIONS_SHOWN) buf_printf(&complaints->text, "\n%s", violation);
}

static struct error *check(const struct bolt_tx *tx)
{
    struct complaints complaints = {0};
    uint64_t violations = 0;
    struct error *error = bolt_check(tx, complain, &complaints, &violations);
    if (error == NULL && violations > 0)
        error = error_new(ERROR_CORRUPT, "snapshot file integrity check failed. %" PRIu64 " errors found.%s",
                          violations, buf_string(&complaints.text));
    buf_deinit(&complaints.text);
    return error;
}

static struct error *open_image(struct fs *fs, const char *path, bool any_rows, struct bolt **bolt,
                                struct bolt_tx **tx)
{
    const struct bolt_options options = {.read_only = true, .any_rows = any_rows};
    struct error *error = bolt_open(fs, path, &options, bolt);
    if (error_is(error, ERROR_CORRUPT)) error = error_wrap(error, "invalid database");
    if (error != NULL) return error;
    error = bolt_begin_read(*bolt, tx);
    if (error != NULL) error_free(bolt_close(*bolt));
    return error;
}

static struct error *close_image(struct bolt *bolt, struct bolt_tx *tx, struct error *error)
{
    bolt_end_read(tx);
    struct error *second = bolt_close(bolt);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

/* ---- status ---- */

/* A key that is alive as of the rows read so far; lies in the file. */
struct live_key {
    struct bytes key;
    UT_hash_handle hh;
};

struct survey {
    struct snapshot_status *status;
    struct arena *arena;
    struct live_key *live;
};

static struct error *survey_row(struct survey *survey, struct bytes row, struct bytes value)
{
    struct mvcc_key_value key_value;
    struct mvcc_revision revision;
    bool deleted;
    if (!mvcc_row_key_parse(row, &revision, &deleted) || !mvcc_key_value_parse(value, &key_value))
        return error_new(ERROR_CORRUPT, "invalid database: a row of bucket key that is no revision of a key");
    survey->status->revision = revision.main;
    struct live_key *found;
    HASH_FIND(hh, survey->live, key_value.key.data, key_value.key.size, found);
    if (deleted && found != NULL) HASH_DEL(survey->live, found);
    if (deleted || found != NULL) return NULL;
    found = arena_zalloc(survey->arena, sizeof(*found));
    found->key = key_value.key;
    HASH_ADD_KEYPTR(hh, survey->live, found->key.data, found->key.size, found);
    return NULL;
}

static struct error *survey_bucket(struct survey *survey, const struct bolt_tx *tx, struct bytes name)
{
    struct snapshot_status *status = survey->status;
    bool found, is_key = bytes_equal(name, bytes_from_string(backend_bucket_name(BUCKET_KEY)));
    bool is_meta = bytes_equal(name, bytes_from_string(backend_bucket_name(BUCKET_META)));
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    TRY(bolt_bucket(tx, name, &bucket, &found));
    status->hash = crc32c(status->hash, name.data, name.size);
    bolt_cursor_init(&cursor, &bucket);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) {
        status->hash = crc32c(status->hash, cursor.key.data, cursor.key.size);
        status->hash = crc32c(status->hash, cursor.value.data, cursor.value.size);
        if (is_key) TRY(survey_row(survey, cursor.key, cursor.value));
        if (is_meta && bytes_equal(cursor.key, BYTES_LITERAL("storageVersion")) &&
            cursor.value.size < sizeof(status->version))
            memcpy(status->version, cursor.value.data, cursor.value.size);
        TRY(bolt_cursor_next(&cursor));
    }
    return NULL;
}

static struct error *survey_all(struct survey *survey, const struct bolt_tx *tx)
{
    struct bolt_bucket root = bolt_root(tx);
    struct bolt_cursor cursor;
    TRY(check(tx));
    survey->status->size = bolt_size(tx);
    bolt_cursor_init(&cursor, &root);
    TRY(bolt_cursor_first(&cursor));
    while (cursor.valid) {
        TRY(survey_bucket(survey, tx, cursor.key));
        TRY(bolt_cursor_next(&cursor));
    }
    survey->status->keys = HASH_COUNT(survey->live);
    return NULL;
}

struct error *snapshot_file_status(struct fs *fs, const char *path, struct snapshot_status *status)
{
    struct bolt *bolt;
    struct bolt_tx *tx;
    *status = (struct snapshot_status){0};
    TRY(open_image(fs, path, false, &bolt, &tx));
    struct survey survey = {.status = status, .arena = arena_new()};
    struct error *error = survey_all(&survey, tx);
    HASH_CLEAR(hh, survey.live);
    arena_free(survey.arena);
    return close_image(bolt, tx, error);
}

/* ---- copying ---- */

struct copy {
    struct fs_file *from, *to;
    EVP_MD_CTX *digest;
    uint64_t size; /* of the pages */
    bool has_digest;
};

static struct error *copy_pages(struct copy *copy)
{
    uint8_t *chunk = mem_alloc(COPY_CHUNK);
    struct error *error = NULL;
    for (uint64_t offset = 0; error == NULL && offset < copy->size;) {
        uint64_t left = copy->size - offset;
        size_t read = 0;
        error =
            fs_file_pread(copy->from, chunk, left < COPY_CHUNK ? (size_t)left : COPY_CHUNK, offset, &read);
        if (error == NULL && read == 0)
            error = error_new(ERROR_IO, "the file became shorter while it was read");
        if (error == NULL) error = fs_file_pwrite(copy->to, chunk, read, offset);
        EVP_DigestUpdate(copy->digest, chunk, read);
        offset += read;
    }
    free(chunk);
    return error == NULL ? fs_file_sync(copy->to) : error;
}

/* As Go prints an array of bytes. */
static void print_bytes(struct buf *out, const uint8_t *bytes)
{
    for (size_t i = 0; i < SNAPSHOT_DIGEST_SIZE; i++) buf_printf(out, "%s%u", i == 0 ? "[" : " ", bytes[i]);
    buf_append_string(out, "]");
}

static struct error *compare_digest(struct copy *copy)
{
    uint8_t computed[EVP_MAX_MD_SIZE], stored[SNAPSHOT_DIGEST_SIZE];
    size_t read = 0;
    TRY(fs_file_pread(copy->from, stored, sizeof(stored), copy->size, &read));
    EVP_DigestFinal_ex(copy->digest, computed, NULL);
    if (read == sizeof(stored) && memcmp(computed, stored, sizeof(stored)) == 0) return NULL;
    struct buf text = {0};
    buf_append_string(&text, "expected sha256 ");
    print_bytes(&text, stored);
    buf_append_string(&text, ", got ");
    print_bytes(&text, computed);
    struct error *error = error_new(ERROR_CORRUPT, "%s", buf_string(&text));
    buf_deinit(&text);
    return error;
}

static struct error *copy_opened(struct copy *copy, struct fs *fs, const char *to, bool skip_digest)
{
    uint64_t size;
    TRY(fs_file_size(copy->from, &size));
    copy->has_digest = size % SECTOR == SNAPSHOT_DIGEST_SIZE;
    copy->size = copy->has_digest ? size - SNAPSHOT_DIGEST_SIZE : size;
    if (!copy->has_digest && !skip_digest)
        return error_new(ERROR_CORRUPT, "snapshot missing hash but --skip-hash-check=false");
    TRY(fs_open(fs, to, FS_WRITE | FS_CREATE | FS_TRUNCATE, &copy->to));
    copy->digest = EVP_MD_CTX_new();
    EVP_DigestInit_ex(copy->digest, EVP_sha256(), NULL);
    struct error *error = copy_pages(copy);
    if (error == NULL && !skip_digest) error = compare_digest(copy);
    EVP_MD_CTX_free(copy->digest);
    struct error *second = fs_file_close(copy->to);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

struct error *snapshot_file_copy(struct fs *fs, const char *from, const char *to, bool skip_digest)
{
    struct copy copy = {0};
    struct error *error = fs_open(fs, from, FS_READ, &copy.from);
    if (error_is(error, ERROR_NOT_FOUND)) {
        error_free(error);
        error = error_new(ERROR_NOT_FOUND, "open %s: no such file or directory", from);
    }
    if (error != NULL) return error;
    error = copy_opened(&copy, fs, to, skip_digest);
    error_free(fs_file_close(copy.from));
    if (error != NULL || !skip_digest) return error;
    struct bolt *bolt;
    struct bolt_tx *tx;
    TRY(open_image(fs, to, true, &bolt, &tx)); /* whoever needs no digest wants what is left */
    return close_image(bolt, tx, check(tx));
}
