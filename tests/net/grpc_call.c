/* Calls one unary method with the raw message on standard input and writes the raw reply to standard output:
 *
 *     grpc_call 127.0.0.1:2379 /etcdserverpb.KV/Put [repetitions] <message >reply
 *
 * With repetitions the same call is made again and again, 64 at a time, and the rate is printed. */
#include "base/memory.h"
#include "net/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { AT_ONCE = 64 };

static struct {
    struct loop *loop;
    struct grpc_channel *channel;
    const char *path;
    struct buf message;
    long to_start, open, failed;
} run;

static void on_message(struct grpc_client_call *call, struct bytes message)
{
    if (grpc_client_call_context(call) != NULL) fwrite(message.data, 1, message.size, stdout);
}

static void start_more(void);

static void on_close(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    (void)call;
    if (status->code != GRPC_OK) {
        run.failed++;
        fprintf(stderr, "%s: %.*s\n", grpc_code_name(status->code), (int)status->text.size,
                (const char *)status->text.data);
    }
    run.open--;
    start_more();
    if (run.open == 0) loop_stop(run.loop);
}

static const struct grpc_client_handler handler = {.on_message = on_message, .on_close = on_close};

static void start_more(void)
{
    while (run.to_start > 0 && run.open < AT_ONCE) {
        struct grpc_part part = grpc_part_of_bytes(buf_bytes(&run.message));
        struct grpc_client_call_options options = {.path = run.path,
                                                   .handler = &handler,
                                                   .unary = true,
                                                   .context = run.to_start == 1 ? &run : NULL};
        run.to_start--;
        run.open++;
        grpc_channel_request(run.channel, &options, &part, 1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: grpc_call ADDRESS /package.Service/Method [REPETITIONS] <message >reply\n");
        return 2;
    }
    run.path = argv[2];
    run.to_start = argc > 3 ? atol(argv[3]) : 1;
    long total = run.to_start;
    ssize_t size;
    while ((size = read(STDIN_FILENO, buf_reserve(&run.message, 4096), 4096)) > 0)
        run.message.size += (size_t)size;
    run.loop = loop_new();
    run.channel = grpc_channel_new(run.loop, &(struct grpc_channel_config){.address = argv[1]});
    int64_t begin = clock_monotonic();
    start_more();
    loop_run(run.loop);
    double seconds = (double)(clock_monotonic() - begin) / 1e9;
    if (argc > 3) fprintf(stderr, "%ld calls, %.0f/s\n", total, (double)total / seconds);
    grpc_channel_free(run.channel);
    loop_free(run.loop);
    buf_deinit(&run.message);
    return run.failed > 0;
}
