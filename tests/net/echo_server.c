/* A small gRPC and HTTP server for trying src/net by hand and with load generators:
 *
 *     echo_server 127.0.0.1:8080 [I/O threads]
 *
 * test.Echo/Unary answers each message with itself, test.Echo/Stream too, until the client ends;
 * test.Echo/Count answers a message of N bytes with N messages. etcdserverpb.KV/Put answers with an empty
 * message, so that the same load may be aimed at etcd. HTTP: /hello, /chunks (a streamed response), /echo
 * (the body). SIGTERM and SIGINT drain and end. */
#include "base/container.h"
#include "base/memory.h"
#include "net/listener.h"
#include "net/port.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOPS_MAX = 16 };

static void echo_message(struct grpc_call *call, struct bytes message)
{
    grpc_call_send_blob(call, blob_from(message));
    if (grpc_call_method(call)->kind == GRPC_UNARY) grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void echo_end(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void put_message(struct grpc_call *call, struct bytes message)
{
    (void)message;
    struct grpc_part part = grpc_part_of_bytes(BYTES_EMPTY);
    grpc_call_send(call, &part, 1);
    grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void count_on(struct grpc_call *call)
{
    size_t left = (size_t)(uintptr_t)grpc_call_context(call);
    size_t pending = 0;
    while (left > 0 && pending < GRPC_SEND_HIGH) {
        pending = grpc_call_send_blob(call, blob_new(0));
        left--;
    }
    grpc_call_set_context(call, (void *)(uintptr_t)left);
    if (left == 0) grpc_call_finish(call, GRPC_OK, BYTES_EMPTY);
}

static void count_message(struct grpc_call *call, struct bytes message)
{
    grpc_call_set_context(call, (void *)(uintptr_t)message.size);
    count_on(call);
}

static const struct grpc_method echo_unary = {.service = "test.Echo",
                                              .name = "Unary",
                                              .kind = GRPC_UNARY,
                                              .on_message = echo_message};
static const struct grpc_method echo_stream = {.service = "test.Echo",
                                               .name = "Stream",
                                               .kind = GRPC_BIDI,
                                               .on_message = echo_message,
                                               .on_half_close = echo_end};
static const struct grpc_method echo_count = {.service = "test.Echo",
                                              .name = "Count",
                                              .kind = GRPC_SERVER_STREAM,
                                              .on_message = count_message,
                                              .on_writable = count_on};
static const struct grpc_method kv_put = {.service = "etcdserverpb.KV",
                                          .name = "Put",
                                          .kind = GRPC_UNARY,
                                          .on_message = put_message};
static const struct grpc_method *const methods[] = {&echo_unary, &echo_stream, &echo_count, &kv_put};

static void hello(struct http_exchange *exchange)
{
    http_respond(exchange, 200, "text/plain", BYTES_LITERAL("hello\n"));
}

static void chunks(struct http_exchange *exchange)
{
    http_begin(exchange, 200, "text/plain");
    for (int i = 0; i < 3; i++) http_send(exchange, BYTES_LITERAL("chunk\n"));
    http_end(exchange);
}

static void echo_body(struct http_exchange *exchange)
{
    http_respond(exchange, 200, "application/octet-stream", http_body(exchange));
}

static const struct http_handler hello_handler = {.on_request = hello};
static const struct http_handler chunks_handler = {.on_request = chunks};
static const struct http_handler echo_handler = {.on_end = echo_body};
static const struct http_route routes[] = {
    {.path = "/hello", .handler = &hello_handler},
    {.path = "/chunks", .handler = &chunks_handler},
    {.path = "/echo", .handler = &echo_handler},
};
static const struct http_router router = {.routes = routes,
                                          .route_count = sizeof(routes) / sizeof(routes[0])};

struct worker {
    struct loop *loop;
    struct grpc_server *grpc;
    struct http1_server *http;
    struct port port;
    struct loop_task close;
    int open; /* servers that have not ended */
};

static struct worker workers[LOOPS_MAX];
static size_t worker_count = 1;

static void on_accept(void *context, size_t index, struct transport *transport)
{
    (void)context;
    port_accept(&workers[index].port, transport);
}

static void on_server_closed(void *context)
{
    struct worker *worker = context;
    if (--worker->open == 0) loop_stop(worker->loop);
}

static void close_worker(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct worker *worker = CONTAINER(task, struct worker, close);
    port_close(&worker->port);
    worker->open = 2;
    grpc_server_close(worker->grpc, LOOP_SECOND, on_server_closed, worker);
    http1_server_close(worker->http, LOOP_SECOND, on_server_closed, worker);
}

static void print_record(void *context, const struct log_record *record)
{
    (void)context;
    fprintf(stderr, "%s: %s", log_level_name(record->level), record->message);
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind == LOG_FIELD_STRING) {
            fprintf(stderr, " %s=%s", record->fields[i].key, record->fields[i].string);
        }
    }
    fputc('\n', stderr);
}

static const struct logger logger = {.level = LOG_INFO, .emit = print_record};

static void start_workers(void)
{
    struct grpc_server_config config = {.methods = methods,
                                        .method_count = sizeof(methods) / sizeof(methods[0]),
                                        .logger = &logger};
    for (size_t i = 0; i < worker_count; i++) {
        struct worker *worker = &workers[i];
        worker->loop = loop_new();
        worker->grpc = grpc_server_new(worker->loop, &config);
        worker->http = http1_server_new(worker->loop, &(struct http1_server_config){.logger = &logger});
        worker->port.grpc = worker->grpc;
        worker->port.http = worker->http;
        worker->port.router = &router;
        worker->close.run = close_worker;
        struct error *error = loop_start(worker->loop, "io");
        if (error != NULL) {
            fprintf(stderr, "%s\n", error->text);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: echo_server ADDRESS [THREADS]\n");
        return 2;
    }
    if (argc > 2) worker_count = (size_t)atoi(argv[2]);
    if (worker_count < 1 || worker_count > LOOPS_MAX) return 2;
    signal(SIGPIPE, SIG_IGN);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    start_workers();
    struct loop *loops[LOOPS_MAX];
    for (size_t i = 0; i < worker_count; i++) loops[i] = workers[i].loop;
    struct loop *acceptor = loop_new();
    struct listener *listener;
    struct listener_config config = {.address = argv[1],
                                     .loops = loops,
                                     .loop_count = worker_count,
                                     .on_accept = on_accept,
                                     .logger = &logger};
    struct error *error = listener_new(acceptor, &config, &listener);
    if (error == NULL) listener_start(listener);
    if (error == NULL) error = loop_start(acceptor, "accept");
    if (error != NULL) {
        fprintf(stderr, "%s\n", error->text);
        error_free(error);
        return 1;
    }
    printf("%s\n", listener_address(listener));
    fflush(stdout);
    int signal_number;
    sigwait(&ends, &signal_number);
    loop_stop(acceptor);
    loop_join(acceptor);
    listener_close(listener);
    for (size_t i = 0; i < worker_count; i++) loop_post(workers[i].loop, &workers[i].close);
    for (size_t i = 0; i < worker_count; i++) {
        loop_join(workers[i].loop);
        grpc_server_free(workers[i].grpc);
        http1_server_free(workers[i].http);
        loop_free(workers[i].loop);
    }
    loop_free(acceptor);
    return 0;
}
