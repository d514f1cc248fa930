/* Arbitrary bytes as a bolt file: open, walk, check, copy, change; nothing may crash, loop or write a file
 * that is worse than the one it started from. The bytes are tried as they are and with meta pages made valid,
 * since a checksum is more than random changes get past. */
#include "base/memory.h"
#include "bolt/bolt.h"
#include "bolt/page.h"
#include "storage/fs_sim.h"
#include "tests/bolt/torture.h"
#include "tests/fuzz/fuzz.h"

enum { LARGEST = 1 << 20 };

static const char *const path = "/db";

static void write_file(struct fs *fs, const uint8_t *data, size_t size)
{
    struct fs_file *file;
    fuzz_must(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file));
    fuzz_must(fs_file_pwrite(file, data, size, 0));
    fuzz_must(fs_file_close(file));
}

static void torture(const uint8_t *data, size_t size)
{
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = 64 << 20});
    write_file(fs_sim_fs(sim), data, size);
    torture_file(fs_sim_fs(sim), path, "/copy");
    fs_sim_free(sim);
}

/* Decodes nothing by itself: takes the numbers from where they are and lets meta_encode add magic and
 * checksum. */
static void repair_meta(uint8_t *file, size_t size, uint64_t number, uint32_t page_size)
{
    uint64_t offset = number * page_size;
    if (size < offset + META_PAGE_BYTES) return;
    const uint8_t *at = file + offset + PAGE_HEADER_SIZE;
    struct meta meta = {
        .page_size = page_size,
        .root = load64(at + 16),
        .sequence = load64(at + 24),
        .freelist = load64(at + 32),
        .high_water = load64(at + 40),
        .txid = load64(at + 48),
    };
    if (meta.high_water > size / page_size) meta.high_water = size / page_size;
    meta_encode(file + offset, number, &meta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > LARGEST) return 0;
    torture(data, size);
    uint8_t *repaired = mem_dup(data, size);
    repair_meta(repaired, size, 0, PAGE_SIZE_MIN);
    repair_meta(repaired, size, 1, PAGE_SIZE_MIN);
    torture(repaired, size);
    free(repaired);
    return 0;
}

/* ---- Files to start from: small pages, so that small inputs have deep trees ---- */

static void put_rows(struct bolt_tx *tx, const char *name, unsigned rows, size_t value_size)
{
    struct bolt_bucket bucket;
    uint8_t key[17] = {0}, value[4000] = {0};
    fuzz_must(bolt_bucket_create(tx, bytes_from_string(name), &bucket));
    for (unsigned i = 0; i < rows; i++) {
        be64_put(key, i);
        fuzz_must(bolt_put(&bucket, bytes_of(key, sizeof(key)), bytes_of(value, value_size)));
    }
}

static void write_seed(struct bolt_tx *tx, size_t number)
{
    static const struct {
        unsigned rows;
        size_t value_size;
    } shapes[] = {{0, 0}, {3, 20}, {100, 40}, {20, 3000}};
    put_rows(tx, "key", shapes[number].rows, shapes[number].value_size);
    put_rows(tx, "lease", 0, 0);
    put_rows(tx, "meta", 2, 8);
}

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number > 3) return false;
    struct fs_sim *sim = fs_sim_new(&(struct fs_sim_options){.seed = 1, .file_size = 64 << 20});
    struct bolt *db;
    struct bolt_tx *tx;
    fuzz_must(bolt_open(fs_sim_fs(sim), path, &(struct bolt_options){.page_size = PAGE_SIZE_MIN}, &db));
    for (unsigned commit = 0; commit < 2; commit++) {
        fuzz_must(bolt_begin_write(db, &tx));
        write_seed(tx, number);
        fuzz_must(bolt_commit(tx));
    }
    fuzz_must(bolt_begin_read(db, &tx));
    size_t size = (size_t)bolt_size(tx), read;
    fuzz_must(bolt_image_read(tx, 0, buf_reserve(out, size), size, &read));
    out->size += read;
    bolt_end_read(tx);
    fuzz_must(bolt_close(db));
    fs_sim_free(sim);
    return true;
}
