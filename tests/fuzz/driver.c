/* The main program of a fuzz target that is built without libFuzzer.
 *
 *     fuzz_NAME [-runs=N] [-seconds=N] [-seed=N] [-first=N] [FILES...]
 *
 * Runs the files and the target's own seeds as they are, then inputs made from them by mutation, until N runs
 * are done or the time is over. Input number i of a seed is the same on every machine, whatever came before
 * it: `-seed=S -first=i -runs=1` repeats it. When the target dies, its input is left in crash-NAME-SEED-RUN.
 */
#include "base/memory.h"
#include "base/rng.h"
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum {
    DEFAULT_RUNS = 5000,
    DEFAULT_SECONDS = 2,
    INPUT_MAX = 64 * 1024,
    RANDOM_INPUT_MAX = 512,
    MUTATIONS_MAX = 8,
    CHUNK_MAX = 600, /* somewhat more than a disk sector */
};

struct corpus {
    struct buf *inputs;
    size_t count;
};

static struct {
    const char *name;
    uint64_t seed;
    uint64_t run;
    struct buf input;
} current;

/* Provided by the sanitizers' runtime when there is one. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void keep_input(void)
{
    char path[256];
    snprintf(path, sizeof(path), "crash-%s-%" PRIu64 "-%" PRIu64, current.name, current.seed, current.run);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fwrite(current.input.data, 1, current.input.size, file);
        fclose(file);
    }
    fprintf(stderr, "%s: died in run %" PRIu64 " of seed %" PRIu64 ", input kept in %s\n", current.name,
            current.run, current.seed, path);
}

static void on_signal(int signal_number)
{
    keep_input();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void catch_death(void)
{
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(keep_input);
    else
        signal(SIGSEGV, on_signal);
}

/* --- inputs --- */

static void corpus_add(struct corpus *corpus, struct buf input)
{
    corpus->inputs = mem_realloc(corpus->inputs, (corpus->count + 1) * sizeof(input));
    corpus->inputs[corpus->count++] = input;
}

static bool read_input(const char *path, struct buf *input)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    input->size = fread(buf_reserve(input, INPUT_MAX), 1, INPUT_MAX, file);
    fclose(file);
    return true;
}

static void generate(struct rng *rng, struct buf *input)
{
    size_t size = (size_t)rng_below(rng, RANDOM_INPUT_MAX);
    for (size_t i = 0; i < size; i++) buf_append_byte(input, (uint8_t)rng_next(rng));
}

/* --- mutations --- */

static size_t position(struct rng *rng, const struct buf *input)
{
    return input->size == 0 ? 0 : (size_t)rng_below(rng, input->size);
}

static size_t length(struct rng *rng, size_t available)
{
    if (available == 0) return 0;
    return 1 + (size_t)rng_below(rng, available < CHUNK_MAX ? available : CHUNK_MAX);
}

static void insert(struct buf *input, size_t at, const uint8_t *data, size_t size)
{
    if (input->size + size > INPUT_MAX) return;
    struct buf copy = {0};
    buf_append(&copy, data, size); /* it may be part of the input */
    buf_reserve(input, size);
    if (input->size > at) memmove(input->data + at + size, input->data + at, input->size - at);
    if (size > 0) memcpy(input->data + at, copy.data, size);
    input->size += size;
    buf_deinit(&copy);
}

static void flip_bit(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    if (input->size > 0) input->data[position(rng, input)] ^= (uint8_t)(1U << rng_below(rng, 8));
}

static void set_byte(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '/', '\n', '%'};
    if (input->size == 0) return;
    bool any = rng_chance(rng, 1, 2);
    uint8_t byte = any ? (uint8_t)rng_next(rng) : telling[rng_below(rng, sizeof(telling))];
    input->data[position(rng, input)] = byte;
}

static void set_number(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    static const uint64_t telling[] = {0,       1,          0x7f,       0xff,      0x7fff,    0xffff,
                                       0x10000, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX};
    uint64_t value = telling[rng_below(rng, sizeof(telling) / sizeof(telling[0]))];
    size_t width = (size_t)1 << rng_below(rng, 4);
    if (input->size < width) return;
    size_t at = (size_t)rng_below(rng, input->size - width + 1);
    bool big_endian = rng_chance(rng, 1, 2);
    for (size_t i = 0; i < width; i++)
        input->data[at + i] = (uint8_t)(value >> 8 * (big_endian ? width - 1 - i : i));
}

static void insert_random(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    uint8_t data[16];
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (uint8_t)rng_next(rng);
    insert(input, position(rng, input), data, 1 + (size_t)rng_below(rng, sizeof(data)));
}

static void erase(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    size_t at = position(rng, input), size = length(rng, input->size - at);
    if (size == 0) return;
    memmove(input->data + at, input->data + at + size, input->size - at - size);
    input->size -= size;
}

static void fill_with_zeros(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    size_t at = position(rng, input), size = length(rng, input->size - at);
    if (size > 0) memset(input->data + at, 0, size);
}

static void repeat(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    size_t from = position(rng, input), size = length(rng, input->size - from);
    if (size > 0) insert(input, position(rng, input), input->data + from, size);
}

static void truncate_input(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    (void)corpus;
    input->size = position(rng, input);
}

static void splice(struct rng *rng, struct buf *input, const struct corpus *corpus)
{
    if (corpus->count == 0) return;
    const struct buf *other = &corpus->inputs[rng_below(rng, corpus->count)];
    size_t from = position(rng, other), size = length(rng, other->size - from);
    if (size > 0) insert(input, position(rng, input), other->data + from, size);
}

typedef void mutation(struct rng *rng, struct buf *input, const struct corpus *corpus);

static mutation *const mutations[] = {
    flip_bit, set_byte, set_number, insert_random, erase, fill_with_zeros, repeat, truncate_input, splice,
};

static void make_input(const struct corpus *corpus, uint64_t seed, uint64_t run, struct buf *input)
{
    struct rng rng;
    rng_init(&rng, seed * 0x9e3779b97f4a7c15U + run);
    buf_clear(input);
    if (corpus->count == 0 || rng_chance(&rng, 1, 16))
        generate(&rng, input);
    else
        buf_append_bytes(input, buf_bytes(&corpus->inputs[rng_below(&rng, corpus->count)]));
    uint64_t count = rng_below(&rng, MUTATIONS_MAX + 1);
    for (uint64_t i = 0; i < count; i++)
        mutations[rng_below(&rng, sizeof(mutations) / sizeof(mutations[0]))](&rng, input, corpus);
}

/* --- running --- */

struct options {
    uint64_t runs;
    uint64_t seconds;
    uint64_t seed;
    uint64_t first;
};

static bool parse_option(struct options *options, const char *argument)
{
    const struct {
        const char *name;
        uint64_t *value;
    } known[] = {
        {"-runs=", &options->runs},
        {"-seconds=", &options->seconds},
        {"-seed=", &options->seed},
        {"-first=", &options->first},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t size = strlen(known[i].name);
        if (strncmp(argument, known[i].name, size) != 0) continue;
        char *end = NULL;
        *known[i].value = strtoull(argument + size, &end, 10);
        return *end == '\0' && end != argument + size;
    }
    return false;
}

static uint64_t seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec;
}

static void run_current(void)
{
    /* A copy of exactly its size, so that the address sanitizer sees reads beyond it. */
    uint8_t *copy = mem_dup(current.input.data, current.input.size);
    LLVMFuzzerTestOneInput(copy, current.input.size);
    free(copy);
}

static void run_corpus(const struct corpus *corpus)
{
    for (size_t i = 0; i < corpus->count; i++) {
        buf_clear(&current.input);
        buf_append_bytes(&current.input, buf_bytes(&corpus->inputs[i]));
        run_current();
    }
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    current.name = slash == NULL ? argv[0] : slash + 1;
    struct options options = {.runs = DEFAULT_RUNS, .seconds = DEFAULT_SECONDS, .seed = 1};
    struct corpus corpus = {0};
    struct buf input = {0};
    for (size_t i = 0; fuzz_seed != NULL && fuzz_seed(i, &input); i++) {
        corpus_add(&corpus, input);
        input = (struct buf){0};
    }
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' ? !parse_option(&options, argv[i]) : !read_input(argv[i], &input)) {
            fprintf(stderr,
                    "%s: cannot use '%s'\nusage: %s [-runs=N] [-seconds=N] [-seed=N] [-first=N] [FILES...]\n",
                    current.name, argv[i], current.name);
            return 2;
        }
        if (argv[i][0] == '-') continue;
        corpus_add(&corpus, input);
        input = (struct buf){0};
    }
    buf_deinit(&input);
    current.seed = options.seed;
    catch_death();
    run_corpus(&corpus);
    uint64_t stop = seconds_now() + options.seconds, done = 0;
    for (; done < options.runs && seconds_now() < stop; done++) {
        current.run = options.first + done;
        make_input(&corpus, options.seed, current.run, &current.input);
        run_current();
    }
    printf("%s: %zu given inputs and %" PRIu64 " mutated ones of seed %" PRIu64 ": ok\n", current.name,
           corpus.count, done, options.seed);
    for (size_t i = 0; i < corpus.count; i++) buf_deinit(&corpus.inputs[i]);
    free(corpus.inputs);
    buf_deinit(&current.input);
    return 0;
}
