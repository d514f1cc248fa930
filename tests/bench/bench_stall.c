/* bench_stall ADDRESS KEYS SECONDS: puts and ranges on the keys that bench_load has made, some of each under
 * way at any time with a pause behind each, and tells how long requests had to wait: for defragment.py.
 *
 *     puts COUNT 99.9% MILLISECONDS longest MILLISECONDS
 *     ranges COUNT 99.9% MILLISECONDS longest MILLISECONDS
 */
#include "base/container.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/wire.h"
#include "net/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 8, KEY_SIZE = 16, VALUE_SIZE = 256, SAMPLES_MAX = 1 << 21 };
#define PAUSE (2 * LOOP_MILLISECOND)

enum kind { PUT, RANGE, KINDS };

struct slot {
    enum kind kind;
    int64_t begun;
    struct loop_timer next;
};

static struct {
    struct loop *loop;
    struct grpc_channel *channels[KINDS];
    struct slot slots[2 * SLOTS];
    struct rng rng;
    uint64_t keys;
    int64_t end;
    unsigned active;       /* slots */
    uint32_t *took[KINDS]; /* microseconds */
    size_t count[KINDS];
} load;

static void on_message(struct grpc_client_call *call, struct bytes message)
{
    (void)call;
    (void)message;
}

static void on_close(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    struct slot *slot = grpc_client_call_context(call);
    int64_t now = clock_monotonic();
    if (status->code != GRPC_OK) {
        fprintf(stderr, "bench_stall: code %d: %.*s\n", (int)status->code, (int)status->text.size,
                status->text.data);
        exit(1);
    }
    size_t *count = &load.count[slot->kind];
    if (*count < SAMPLES_MAX) load.took[slot->kind][(*count)++] = (uint32_t)((now - slot->begun) / 1000);
    if (now + PAUSE < load.end)
        loop_timer_set(load.loop, &slot->next, now + PAUSE);
    else if (--load.active == 0)
        loop_stop(load.loop);
}

static const struct grpc_client_handler handler = {.on_message = on_message, .on_close = on_close};

static void ask(struct loop *loop, struct loop_timer *timer)
{
    static const char *const paths[KINDS] = {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"};
    struct slot *slot = CONTAINER(timer, struct slot, next);
    char key[KEY_SIZE + 1];
    uint8_t value[VALUE_SIZE] = {0};
    struct buf message = {0};
    (void)loop;
    snprintf(key, sizeof(key), "load%012llu", (unsigned long long)rng_below(&load.rng, load.keys));
    wire_bytes_field(&message, 1, bytes_of(key, KEY_SIZE));
    if (slot->kind == PUT) wire_bytes_field(&message, 2, bytes_of(value, sizeof(value)));
    struct grpc_client_call_options options = {.path = paths[slot->kind],
                                               .handler = &handler,
                                               .context = slot,
                                               .unary = true};
    struct grpc_part part = grpc_part_of_blob(blob_from(buf_bytes(&message)));
    slot->begun = clock_monotonic();
    grpc_channel_request(load.channels[slot->kind], &options, &part, 1);
    buf_deinit(&message);
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void print(enum kind kind, const char *name)
{
    size_t count = load.count[kind];
    uint32_t *took = load.took[kind];
    qsort(took, count, sizeof(took[0]), compare);
    printf("%s %zu 99.9%% %.1f longest %.1f\n", name, count, took[count - 1 - count / 1000] / 1e3,
           took[count - 1] / 1e3);
}

int main(int argc, char **argv)
{
    double seconds = argc == 4 ? strtod(argv[3], NULL) : 0;
    if (seconds <= 0 || (load.keys = strtoull(argv[2], NULL, 10)) == 0) {
        fprintf(stderr, "usage: bench_stall HOST:PORT KEYS SECONDS\n");
        return 2;
    }
    load.loop = loop_new();
    rng_init(&load.rng, 1);
    for (size_t i = 0; i < KINDS; i++) {
        load.took[i] = mem_alloc(SAMPLES_MAX * sizeof(*load.took[i]));
        load.channels[i] =
            grpc_channel_new(load.loop, &(const struct grpc_channel_config){.address = argv[1]});
    }
    load.end = clock_monotonic() + (int64_t)(seconds * (double)LOOP_SECOND);
    load.active = 2 * SLOTS;
    for (size_t i = 0; i < 2 * SLOTS; i++) {
        load.slots[i] = (struct slot){.kind = i % KINDS, .next.run = ask};
        loop_timer_set(load.loop, &load.slots[i].next, clock_monotonic() + (int64_t)i * PAUSE / SLOTS);
    }
    loop_run(load.loop);
    print(PUT, "puts");
    print(RANGE, "ranges");
    for (size_t i = 0; i < KINDS; i++) {
        grpc_channel_free(load.channels[i]);
        free(load.took[i]);
    }
    loop_free(load.loop);
    return 0;
}
