/* bolt_tool: lets scripts look into bolt files and change them through the engine.
 *
 *      bolt_tool dump FILE BUCKET             rows as "hex key SPACE hex value"
 *      bolt_tool put FILE BUCKET KEY VALUE    one row, both in hex; the bucket must exist
 *      bolt_tool check FILE                   violations, one a line; exit 1 when there are some
 *      bolt_tool churn FILE                   rewrites every row of every bucket in many commits, adds and
 *                                             deletes others
 *      bolt_tool compact FILE COPY
 *      bolt_tool image FILE COPY              as a snapshot stream
 */
#include "base/buf.h"
#include "base/memory.h"
#include "bolt/bolt.h"
#include "storage/fs.h"

#include <stdio.h>
#include <stdlib.h>

static void print_hex(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) printf("%02x", bytes.data[i]);
}

static struct error *dump(struct bolt *db, struct bytes name)
{
    struct bolt_tx *tx;
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    bool found;
    TRY(bolt_begin_read(db, &tx));
    struct error *error = bolt_bucket(tx, name, &bucket, &found);
    if (error == NULL && !found) error = error_new(ERROR_NOT_FOUND, "no such bucket");
    if (error == NULL) {
        bolt_cursor_init(&cursor, &bucket);
        error = bolt_cursor_first(&cursor);
    }
    while (error == NULL && cursor.valid) {
        print_hex(cursor.key);
        putchar(' ');
        print_hex(cursor.value);
        putchar('\n');
        error = bolt_cursor_next(&cursor);
    }
    bolt_end_read(tx);
    return error;
}

static void print_violation(void *context, const char *violation)
{
    (void)context;
    puts(violation);
}

static struct error *check(struct bolt *db)
{
    struct bolt_tx *tx;
    uint64_t violations = 0;
    TRY(bolt_begin_read(db, &tx));
    struct error *error = bolt_check(tx, print_violation, NULL, &violations);
    bolt_end_read(tx);
    if (error == NULL && violations > 0)
        error = error_new(ERROR_CORRUPT, "%llu violations", (unsigned long long)violations);
    return error;
}

/* Rewrites the rows of one bucket, and puts as many others beside them (`add`) or deletes these again. */
static struct error *churn_bucket(struct bolt_tx *tx, struct bytes name, bool add)
{
    struct bolt_bucket bucket;
    struct bolt_cursor cursor;
    bool found;
    TRY(bolt_bucket(tx, name, &bucket, &found));
    bolt_cursor_init(&cursor, &bucket);
    TRY(bolt_cursor_first(&cursor));
    for (uint64_t row = 0; cursor.valid; row++) {
        uint8_t extra[64] = {0xff};
        size_t size = cursor.key.size < 40 ? cursor.key.size : 40;
        memcpy(extra + 1, cursor.key.data, size);
        bool is_extra = cursor.key.data[0] == 0xff;
        if (!is_extra) TRY(bolt_put(&bucket, cursor.key, cursor.value));
        if (is_extra && !add) TRY(bolt_delete(&bucket, cursor.key, NULL));
        if (!is_extra && add) TRY(bolt_put(&bucket, bytes_of(extra, size + 1), cursor.value));
        TRY(bolt_cursor_next(&cursor));
    }
    return NULL;
}

static struct error *churn(struct bolt *db)
{
    for (unsigned round = 0; round < 6; round++) {
        struct bolt_tx *tx;
        struct bolt_cursor cursor;
        TRY(bolt_begin_write(db, &tx));
        struct bolt_bucket root = bolt_root(tx);
        bolt_cursor_init(&cursor, &root);
        struct error *error = bolt_cursor_first(&cursor);
        while (error == NULL && cursor.valid) {
            error = churn_bucket(tx, cursor.key, round % 2 == 0);
            if (error == NULL) error = bolt_cursor_next(&cursor);
        }
        if (error != NULL) {
            bolt_rollback(tx);
            return error;
        }
        TRY(bolt_commit(tx));
    }
    return NULL;
}

static struct error *read_hex(const char *text, struct buf *out)
{
    for (; *text != '\0'; text += 2) {
        unsigned byte;
        if (sscanf(text, "%2x", &byte) != 1 || text[1] == '\0')
            return error_new(ERROR_INVALID, "%s is not hexadecimal", text);
        buf_append_byte(out, (uint8_t)byte);
    }
    return NULL;
}

static struct error *put_row(struct bolt_tx *tx, const char *bucket_name, struct bytes key,
                             struct bytes value)
{
    struct bolt_bucket bucket;
    bool found;
    TRY(bolt_bucket(tx, bytes_from_string(bucket_name), &bucket, &found));
    if (!found) return error_new(ERROR_NOT_FOUND, "no bucket %s", bucket_name);
    return bolt_put(&bucket, key, value);
}

static struct error *put(struct bolt *db, const char *bucket, const char *key_text, const char *value_text)
{
    struct bolt_tx *tx = NULL;
    struct buf key = {0}, value = {0};
    struct error *error = read_hex(key_text, &key);
    if (error == NULL) error = read_hex(value_text, &value);
    if (error == NULL) error = bolt_begin_write(db, &tx);
    if (error == NULL) {
        error = put_row(tx, bucket, buf_bytes(&key), buf_bytes(&value));
        if (error == NULL)
            error = bolt_commit(tx);
        else
            bolt_rollback(tx);
    }
    buf_deinit(&key);
    buf_deinit(&value);
    return error;
}

static struct error *append(void *file, struct bytes chunk)
{
    if (fwrite(chunk.data, 1, chunk.size, file) == chunk.size) return NULL;
    return error_new(ERROR_IO, "short write");
}

static struct error *copy(struct bolt *db, const char *to, bool compact)
{
    struct bolt_tx *tx;
    struct error *error = NULL;
    TRY(bolt_begin_read(db, &tx));
    if (compact) {
        error = bolt_compact_to(tx, fs_real(), to, NULL, NULL);
    } else {
        FILE *file = fopen(to, "wb");
        if (file == NULL) error = error_new(ERROR_IO, "cannot create %s", to);
        if (file != NULL) error = bolt_write_to(tx, append, file);
        if (file != NULL && fclose(file) != 0 && error == NULL)
            error = error_new(ERROR_IO, "cannot write %s", to);
    }
    bolt_end_read(tx);
    return error;
}

static struct error *run(int count, char **arguments)
{
    struct bolt *db;
    const char *verb = arguments[1];
    const char *third = count > 3 ? arguments[3] : "";
    bool writes = strcmp(verb, "churn") == 0 || strcmp(verb, "put") == 0;
    struct bolt_options options = {.read_only = !writes, .lock = true};
    if (strcmp(verb, "put") == 0 && count < 6)
        return error_new(ERROR_INVALID, "put needs bucket, key and value");
    TRY(bolt_open(fs_real(), arguments[2], &options, &db));
    struct error *error = strcmp(verb, "dump") == 0      ? dump(db, bytes_from_string(third))
                          : strcmp(verb, "put") == 0     ? put(db, third, arguments[4], arguments[5])
                          : strcmp(verb, "check") == 0   ? check(db)
                          : strcmp(verb, "churn") == 0   ? churn(db)
                          : strcmp(verb, "compact") == 0 ? copy(db, third, true)
                          : strcmp(verb, "image") == 0   ? copy(db, third, false)
                                                         : error_new(ERROR_INVALID, "unknown verb %s", verb);
    struct error *close_error = bolt_close(db);
    if (error == NULL) return close_error;
    error_free(close_error);
    return error;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr,
                "usage: bolt_tool dump|put|check|churn|compact|image FILE [BUCKET|COPY] [KEY VALUE]\n");
        return 2;
    }
    struct error *error = run(count, arguments);
    if (error == NULL) return 0;
    fprintf(stderr, "bolt_tool: %s\n", error->text);
    error_free(error);
    return 1;
}
