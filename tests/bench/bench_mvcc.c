/* What the key space costs: nanoseconds per operation and bytes per key.
 *
 *     tests/bench/bench_mvcc [keys] [folder]
 *
 * By default 1 000 000 keys of 16 bytes, values of 256 bytes, in a new folder under /tmp.
 *
 * Prints one line per measurement; compares nothing and never fails because of a number.
 */
#include "base/buf.h"
#include "base/memory.h"
#include "base/rng.h"
#include "mvcc/kv.h"
#include "storage/backend.h"
#include "storage/fs.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { KEY_SIZE = 16, VALUE_SIZE = 256, BATCH = 10000 };

struct bench {
    uint64_t keys;
    const char *path;
    uint32_t *order;
    struct backend *backend;
    struct mvcc_store *store;
    struct kv kv;
    double committing; /* seconds spent in commits, which another thread does in the server */
};

static const struct kv_header header = {1, 2, 3};

static void no_error(struct error *error)
{
    if (error == NULL) return;
    fprintf(stderr, "bench_mvcc: %s\n", error->text);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Processor time: slices are so short that other processes would show in the longest. */
static double busy(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void report(const char *what, double seconds, uint64_t operations)
{
    printf("%-44s %9.1f ns/op   %8.3f s\n", what, seconds * 1e9 / (double)operations, seconds);
    fflush(stdout);
}

static struct bytes key_of(uint32_t i, uint8_t key[KEY_SIZE])
{
    static const char digits[] = "0123456789";
    memset(key, '0', KEY_SIZE);
    memcpy(key, "key-", 4);
    for (int at = KEY_SIZE - 1; i > 0; at--, i /= 10) key[at] = (uint8_t)digits[i % 10];
    return bytes_of(key, KEY_SIZE);
}

static void shuffle(uint32_t *order, uint64_t count)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint64_t i = count; i > 1; i--) {
        uint64_t j = rng_below(&rng, i);
        uint32_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}

/* ---- the index alone ---- */

static void report_memory(const char *what, size_t before, uint64_t keys)
{
    printf("%-44s %9.1f bytes/key\n", what, (double)(allocated() - before) / (double)keys);
    fflush(stdout);
}

static void bench_index(struct bench *bench, bool ordered)
{
    size_t before = allocated();
    struct mvcc_index *index = mvcc_index_new();
    uint8_t key[KEY_SIZE];
    struct mvcc_entry entry;
    int64_t revision = 1;
    double began = now();
    for (uint64_t i = 0; i < bench->keys; i++)
        mvcc_index_put(index, key_of(ordered ? (uint32_t)i : bench->order[i], key),
                       (struct mvcc_revision){++revision, 0}, &entry);
    report(ordered ? "index: put new keys in order" : "index: put new keys at random", now() - began,
           bench->keys);
    report_memory("index: memory, one revision", before, bench->keys);
    began = now();
    uint64_t found = 0;
    for (uint64_t i = 0; i < bench->keys; i++)
        found += mvcc_index_find(index, key_of(bench->order[i], key), INT64_MAX, &entry) ? 1 : 0;
    report("index: find at random", now() - began, found);
    struct mvcc_span all = {.from = BYTES_EMPTY, .open = true};
    began = now();
    uint64_t counted = 0;
    for (int i = 0; i < 1000; i++) counted += mvcc_index_count(index, &all, INT64_MAX);
    report("index: count everything, current", now() - began, 1000);
    began = now();
    counted += mvcc_index_count(index, &all, revision - 1);
    report("index: count everything, past, per key", now() - began, bench->keys);
    began = now();
    for (uint64_t i = 0; i < bench->keys; i++)
        mvcc_index_put(index, key_of(bench->order[i], key), (struct mvcc_revision){++revision, 0}, &entry);
    report("index: update at random", now() - began, bench->keys);
    report_memory("index: memory, two revisions", before, bench->keys);
    began = now();
    for (uint64_t i = 0; i < bench->keys; i++)
        mvcc_index_compact(index, key_of(bench->order[i], key), revision, (struct mvcc_revision){2, 0});
    report("index: compact each key", now() - began, bench->keys);
    report_memory("index: memory, updated and compacted", before, bench->keys);
    if (counted == 0) exit(1);
    mvcc_index_free(index);
    malloc_trim(0);
}

/* ---- the store on a real file ---- */

static void commit(struct bench *bench)
{
    double began = now();
    struct backend_batch *batch = backend_seal(bench->backend);
    if (batch == NULL) return;
    no_error(backend_commit(bench->backend, batch));
    no_error(backend_committed(bench->backend, batch));
    bench->committing += now() - began;
}

static void open_store(struct bench *bench)
{
    no_error(backend_open(fs_real(), bench->path, &(struct backend_options){0}, &bench->backend));
    no_error(mvcc_open(bench->backend, &(struct mvcc_options){0}, &bench->store));
    kv_init(&bench->kv, bench->store);
}

static void close_store(struct bench *bench)
{
    mvcc_close(bench->store);
    no_error(backend_close(bench->backend));
}

static void bench_puts(struct bench *bench, const char *what)
{
    uint8_t key[KEY_SIZE], value[VALUE_SIZE];
    memset(value, 'v', sizeof(value));
    struct buf response = {0};
    bench->committing = 0;
    double began = now();
    for (uint64_t i = 0; i < bench->keys; i++) {
        key_of(bench->order[i], key);
        Etcdserverpb__PutRequest put = {.key = {sizeof(key), key}, .value = {sizeof(value), value}};
        enum api_error status;
        buf_clear(&response);
        no_error(kv_put(&bench->kv, &put, &header, &response, &status));
        if (backend_pending_operations(bench->backend) >= BATCH) commit(bench);
    }
    commit(bench);
    report(what, now() - began - bench->committing, bench->keys);
    report("   its commits (another thread in the server)", bench->committing, bench->keys);
    buf_deinit(&response);
}

static void bench_reads(struct bench *bench)
{
    uint8_t key[KEY_SIZE];
    struct buf response = {0};
    enum api_error status;
    double began = now();
    for (uint64_t i = 0; i < bench->keys; i++) {
        key_of(bench->order[i], key);
        Etcdserverpb__RangeRequest range = {.key = {sizeof(key), key}};
        buf_clear(&response);
        no_error(kv_range(&bench->kv, &range, &header, &response, NULL, &status));
    }
    report("kv: get at random", now() - began, bench->keys);
    uint8_t open = 0;
    Etcdserverpb__RangeRequest all = {.key = {1, &open}, .range_end = {1, &open}};
    began = now();
    struct kv_range_job *job = kv_range_begin(&bench->kv, &all, &header, &status);
    double longest = 0;
    for (bool done = false; !done;) {
        double slice = busy();
        no_error(kv_range_step(job, 1000, &done));
        if (busy() - slice > longest) longest = busy() - slice;
    }
    struct blob_list pieces = {0};
    uint64_t count = kv_range_finish(job, &pieces);
    report("kv: range over everything, per key", now() - began, count);
    printf("%-44s %9.1f us\n", "   its longest slice of 1000 keys", longest * 1e6);
    blob_list_deinit(&pieces);
    buf_deinit(&response);
}

static void bench_hash(struct bench *bench)
{
    struct mvcc_hash_job *job;
    struct mvcc_hash hash;
    double began = now();
    if (mvcc_hash_begin(bench->store, 0, &job) != MVCC_OK) exit(1);
    for (bool done = false; !done;) no_error(mvcc_hash_step(job, 1000, &done));
    mvcc_hash_finish(job, &hash);
    report("store: HashKV, per key", now() - began, bench->keys);
}

static void bench_compaction(struct bench *bench)
{
    bench->committing = 0;
    if (mvcc_compact_start(bench->store, mvcc_revision(bench->store)) != MVCC_OK) exit(1);
    double began = now(), longest = 0;
    while (mvcc_compact_pending(bench->store)) {
        int64_t finished;
        double slice = busy();
        no_error(mvcc_compact_step(bench->store, 1000, &finished));
        if (busy() - slice > longest) longest = busy() - slice;
        if (backend_pending_operations(bench->backend) >= BATCH) commit(bench);
    }
    commit(bench);
    report("store: compact, per key", now() - began - bench->committing, bench->keys);
    report("   its commits (another thread in the server)", bench->committing, bench->keys);
    printf("%-44s %9.1f us\n", "   its longest slice of 1000 rows", longest * 1e6);
}

static void bench_store(struct bench *bench)
{
    open_store(bench);
    bench_puts(bench, "kv: put new keys at random");
    bench_reads(bench);
    bench_hash(bench);
    close_store(bench);
    malloc_trim(0);
    size_t before = allocated();
    double began = now();
    open_store(bench);
    report("store: open, per key", now() - began, bench->keys);
    report_memory("store: memory after open", before, bench->keys);
    bench_puts(bench, "kv: update at random");
    bench_compaction(bench);
    report_memory("store: memory, updated and compacted", before, bench->keys);
    printf("%-44s %9.1f MB\n", "store: file", (double)backend_size(bench->backend) / 1e6);
    close_store(bench);
}

int main(int argument_count, char **arguments)
{
    struct bench bench = {.keys = argument_count > 1 ? strtoull(arguments[1], NULL, 10) : 1000000};
    char *folder = mem_printf("%s/bench_mvcc.XXXXXX", argument_count > 2 ? arguments[2] : "/tmp");
    if (bench.keys == 0 || bench.keys > UINT32_MAX || mkdtemp(folder) == NULL) {
        fprintf(stderr, "usage: bench_mvcc [keys] [folder]\n");
        return 2;
    }
    char *path = mem_printf("%s/db", folder);
    bench.path = path;
    bench.order = mem_alloc(bench.keys * sizeof(uint32_t));
    shuffle(bench.order, bench.keys);
    bench_index(&bench, false);
    bench_index(&bench, true);
    bench_store(&bench);
    no_error(fs_remove_tree(fs_real(), folder));
    free(bench.order);
    free(path);
    free(folder);
    return 0;
}
