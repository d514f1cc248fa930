/* bench_watch HOST:PORT CONNECTIONS WATCHERS ROUNDS: WATCHERS watchers of one key, evenly on one stream for
 * each of CONNECTIONS connections; then ROUNDS puts of the key, one after the other. Prints the median time,
 * in milliseconds, from a put until the last watcher has its event; for bench.py. */
#include "base/memory.h"
#include "base/wire.h"
#include "net/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIELD_CREATED = 3, FIELD_EVENTS = 11, VALUE_SIZE = 256 };

static struct {
    struct loop *loop;
    struct grpc_channel *writer;
    unsigned long connections, watchers, rounds;
    unsigned long created;  /* watchers so far */
    unsigned long received; /* events of this round */
    unsigned long round;
    int64_t began;
    int64_t *times;
} fan;

static void fail(const char *what, const struct grpc_client_status *status)
{
    fprintf(stderr, "bench_watch: %s: code %d: %.*s\n", what, (int)status->code, (int)status->text.size,
            (const char *)status->text.data);
    exit(1);
}

/* ---- the put ---- */

static void ignore_message(struct grpc_client_call *call, struct bytes message)
{
    (void)call;
    (void)message;
}

static void put_closed(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    (void)call;
    if (status->code != GRPC_OK) fail("put", status);
}

static const struct grpc_client_handler put_handler = {.on_message = ignore_message, .on_close = put_closed};

static void put(void)
{
    uint8_t value[VALUE_SIZE];
    struct buf message = {0};
    memset(value, 'v', sizeof(value));
    wire_bytes_field(&message, 1, BYTES_LITERAL("watched-key"));
    wire_bytes_field(&message, 2, bytes_of(value, sizeof(value)));
    struct grpc_client_call_options options = {.path = "/etcdserverpb.KV/Put",
                                               .handler = &put_handler,
                                               .unary = true,
                                               .wait_for_ready = true};
    struct grpc_part part = grpc_part_of_blob(blob_from(buf_bytes(&message)));
    buf_deinit(&message);
    fan.received = 0;
    fan.began = clock_monotonic();
    grpc_channel_request(fan.writer, &options, &part, 1);
}

/* ---- the watchers ---- */

static void event_arrived(void)
{
    if (++fan.received < fan.watchers) return;
    fan.times[fan.round++] = clock_monotonic() - fan.began;
    if (fan.round < fan.rounds)
        put();
    else
        loop_stop(fan.loop);
}

static void watch_message(struct grpc_client_call *call, struct bytes message)
{
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    (void)call;
    while (wire_next(&reader, &field)) {
        if (field.number == FIELD_CREATED && ++fan.created == fan.watchers) put();
        if (field.number == FIELD_EVENTS) event_arrived();
    }
}

static void watch_closed(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    (void)call;
    if (fan.round < fan.rounds) fail("watch", status);
}

static const struct grpc_client_handler watch_handler = {.on_message = watch_message,
                                                         .on_close = watch_closed};

static void watch(struct grpc_channel *channel, unsigned long count)
{
    struct grpc_client_call_options options = {.path = "/etcdserverpb.Watch/Watch",
                                               .handler = &watch_handler,
                                               .wait_for_ready = true};
    struct grpc_client_call *call = grpc_channel_call(channel, &options);
    struct buf message = {0};
    size_t mark = wire_message_begin(&message, 1); /* create_request */
    wire_bytes_field(&message, 1, BYTES_LITERAL("watched-key"));
    wire_message_end(&message, mark);
    for (unsigned long i = 0; i < count; i++) {
        struct grpc_part part = grpc_part_of_blob(blob_from(buf_bytes(&message)));
        grpc_client_call_send(call, &part, 1);
    }
    buf_deinit(&message);
}

static int compare_times(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        fan.connections = strtoul(argv[2], NULL, 10);
        fan.watchers = strtoul(argv[3], NULL, 10);
        fan.rounds = strtoul(argv[4], NULL, 10);
    }
    if (fan.connections == 0 || fan.watchers < fan.connections || fan.rounds == 0) {
        fprintf(stderr, "usage: bench_watch HOST:PORT CONNECTIONS WATCHERS ROUNDS\n");
        return 2;
    }
    struct grpc_channel **channels = mem_zalloc(fan.connections, sizeof(struct grpc_channel *));
    const struct grpc_channel_config config = {.address = argv[1]};
    fan.times = mem_zalloc(fan.rounds, sizeof(*fan.times));
    fan.loop = loop_new();
    fan.writer = grpc_channel_new(fan.loop, &config);
    for (unsigned long i = 0; i < fan.connections; i++) {
        channels[i] = grpc_channel_new(fan.loop, &config);
        watch(channels[i], fan.watchers * (i + 1) / fan.connections - fan.watchers * i / fan.connections);
    }
    loop_run(fan.loop);
    qsort(fan.times, fan.rounds, sizeof(*fan.times), compare_times);
    printf("%.3f\n", (double)fan.times[fan.rounds / 2] / 1e6);
    for (unsigned long i = 0; i < fan.connections; i++) grpc_channel_free(channels[i]);
    grpc_channel_free(fan.writer);
    loop_free(fan.loop);
    free(channels);
    free(fan.times);
    return 0;
}
