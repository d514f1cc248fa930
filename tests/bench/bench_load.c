/* bench_load ADDRESS COUNT [SIZE]: puts COUNT distinct keys of 16 bytes with values of 256 (or SIZE) bytes,
 * many at a time; for bench.py and defragment.py. */
#include "base/wire.h"
#include "net/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>

enum { UNDER_WAY = 500, KEY_SIZE = 16, VALUE_SIZE = 256, VALUE_SIZE_MAX = 1 << 20 };

static struct {
    struct loop *loop;
    struct grpc_channel *channel;
    uint64_t next, done, count;
    size_t value_size;
    uint8_t value[VALUE_SIZE_MAX];
} load;

static void put_next(void);

static void on_message(struct grpc_client_call *call, struct bytes message)
{
    (void)call;
    (void)message;
}

static void on_close(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    (void)call;
    if (status->code != GRPC_OK) {
        fprintf(stderr, "bench_load: put: code %d: %.*s\n", (int)status->code, (int)status->text.size,
                status->text.data);
        exit(1);
    }
    load.done++;
    if (load.done == load.count)
        loop_stop(load.loop);
    else
        put_next();
}

static const struct grpc_client_handler handler = {.on_message = on_message, .on_close = on_close};

static void put_next(void)
{
    if (load.next == load.count) return;
    char key[KEY_SIZE + 1];
    struct buf message = {0};
    snprintf(key, sizeof(key), "load%012llu", (unsigned long long)load.next);
    memset(load.value, 'a' + (int)(load.next % 26), load.value_size);
    load.next++;
    wire_bytes_field(&message, 1, bytes_of(key, KEY_SIZE));
    wire_bytes_field(&message, 2, bytes_of(load.value, load.value_size));
    struct grpc_client_call_options options = {.path = "/etcdserverpb.KV/Put",
                                               .handler = &handler,
                                               .unary = true,
                                               .wait_for_ready = true};
    struct grpc_part part = grpc_part_of_blob(blob_from(buf_bytes(&message)));
    grpc_channel_request(load.channel, &options, &part, 1);
    buf_deinit(&message);
}

int main(int argc, char **argv)
{
    load.value_size = argc == 4 ? strtoul(argv[3], NULL, 10) : VALUE_SIZE;
    if (argc < 3 || argc > 4 || load.value_size > VALUE_SIZE_MAX ||
        (load.count = strtoull(argv[2], NULL, 10)) == 0) {
        fprintf(stderr, "usage: bench_load HOST:PORT COUNT [SIZE]\n");
        return 2;
    }
    load.loop = loop_new();
    load.channel = grpc_channel_new(load.loop, &(const struct grpc_channel_config){.address = argv[1]});
    for (int i = 0; i < UNDER_WAY; i++) put_next();
    loop_run(load.loop);
    grpc_channel_free(load.channel);
    loop_free(load.loop);
    return 0;
}
