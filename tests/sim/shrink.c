#include "shrink.h"

#include "base/memory.h"
#include "world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KIND_SIZE = 40 };

#define SLACK INT64_C(3000000000) /* nanoseconds */

struct shrinker {
    uint64_t seed;
    struct plan_record *record; /* shared with the tries */
    char failure[KIND_SIZE];    /* what kind of failure it is about */
    struct plan_choice *kept;   /* sorted; the run still fails with these alone */
    size_t count;
    struct plan_choice *tried;
    unsigned tries;
    int64_t run_until; /* of the plan */
    struct timespec until;
};

static bool is_over(const struct shrinker *shrinker)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > shrinker->until.tv_sec ||
           (now.tv_sec == shrinker->until.tv_sec && now.tv_nsec > shrinker->until.tv_nsec);
}

/* The words a failure begins with, without its numbers and its time. An assertion leaves none. */
static void kind_of(const char *failure, char kind[KIND_SIZE])
{
    size_t size = 0;
    if (strncmp(failure, "t=", 2) == 0 && strchr(failure, ':') != NULL) failure = strchr(failure, ':');
    for (; *failure != '\0' && size + 1 < KIND_SIZE; failure++)
        if (*failure < '0' || *failure > '9') kind[size++] = *failure;
    kind[size] = '\0';
}

/* In a child: whatever happens there, this process goes on. True: it failed. */
static bool try_run(struct shrinker *shrinker, const struct plan_choice *only, size_t count, bool tells)
{
    shrinker->record->count = 0;
    shrinker->record->failure[0] = '\0';
    shrinker->record->failed_at = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct plan plan = {.seed = shrinker->seed,
                            .only = only,
                            .only_count = count,
                            .record = shrinker->record,
                            .until = shrinker->run_until,
                            .tells = tells};
        struct totals totals = {0};
        int silence = tells ? -1 : open("/dev/null", O_WRONLY);
        if (silence >= 0) dup2(silence, STDERR_FILENO);
        world_run(&plan, &totals);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    shrinker->tries++;
    return status != 0;
}

/* The choices that were made in the run just tried: those that did not come to their turn are not needed. */
static void keep_made(struct shrinker *shrinker)
{
    shrinker->count = shrinker->record->count;
    memcpy(shrinker->kept, shrinker->record->choices, shrinker->count * sizeof(shrinker->kept[0]));
    qsort(shrinker->kept, shrinker->count, sizeof(shrinker->kept[0]), plan_compare);
}

/* Another failure than the one it is about is none. */
static bool is_same_failure(const struct shrinker *shrinker)
{
    char kind[KIND_SIZE];
    kind_of(shrinker->record->failure, kind);
    return strcmp(kind, shrinker->failure) == 0;
}

static bool try_without(struct shrinker *shrinker, size_t from, size_t to)
{
    size_t left = shrinker->count - (to - from);
    memcpy(shrinker->tried, shrinker->kept, from * sizeof(shrinker->kept[0]));
    memcpy(shrinker->tried + from, shrinker->kept + to, (shrinker->count - to) * sizeof(shrinker->kept[0]));
    if (!try_run(shrinker, shrinker->tried, left, false) || !is_same_failure(shrinker)) return false;
    keep_made(shrinker);
    return true;
}

static void drop_lines(struct shrinker *shrinker)
{
    for (size_t end = shrinker->count; end > 0 && !is_over(shrinker);) {
        size_t begin = end;
        uint32_t line = shrinker->kept[end - 1].line;
        while (begin > 0 && shrinker->kept[begin - 1].line == line) begin--;
        if (try_without(shrinker, begin, end) && begin > shrinker->count) begin = shrinker->count;
        end = begin;
    }
}

/* One pass with parts of this size; true: something could be left out. */
static bool drop_parts(struct shrinker *shrinker, size_t size)
{
    bool dropped = false;
    for (size_t end = shrinker->count; end > 0 && !is_over(shrinker);) {
        size_t begin = end > size ? end - size : 0;
        dropped = try_without(shrinker, begin, end) || dropped;
        end = begin < shrinker->count ? begin : shrinker->count;
    }
    return dropped;
}

static void shrink(struct shrinker *shrinker)
{
    drop_lines(shrinker);
    for (size_t size = (shrinker->count + 1) / 2; size > 1; size = (size + 1) / 2) {
        drop_parts(shrinker, size);
        if (size == 2) break;
    }
    while (!is_over(shrinker) && drop_parts(shrinker, 1)) continue;
}

bool shrink_seed(uint64_t seed, double seconds)
{
    struct shrinker shrinker = {.seed = seed};
    clock_gettime(CLOCK_MONOTONIC, &shrinker.until);
    shrinker.until.tv_sec += (time_t)seconds;
    shrinker.record =
        mmap(NULL, sizeof(*shrinker.record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shrinker.record == MAP_FAILED) abort();
    shrinker.kept = mem_zalloc(PLAN_CHOICES_MAX, sizeof(shrinker.kept[0]));
    shrinker.tried = mem_zalloc(PLAN_CHOICES_MAX, sizeof(shrinker.tried[0]));
    bool fails = try_run(&shrinker, NULL, 0, false);
    if (fails) {
        kind_of(shrinker.record->failure, shrinker.failure);
        /* With less going on it fails at about the same time, or not at all. */
        if (shrinker.record->failed_at != 0) shrinker.run_until = shrinker.record->failed_at + SLACK;
        keep_made(&shrinker);
        size_t before = shrinker.count;
        shrink(&shrinker);
        printf("seed %llu still fails with %zu of its %zu choices (after %u tries):\n",
               (unsigned long long)seed, shrinker.count, before, shrinker.tries);
        try_run(&shrinker, shrinker.kept, shrinker.count, true);
    } else {
        printf("seed %llu does not fail\n", (unsigned long long)seed);
    }
    free(shrinker.kept);
    free(shrinker.tried);
    munmap(shrinker.record, sizeof(*shrinker.record));
    return fails;
}
