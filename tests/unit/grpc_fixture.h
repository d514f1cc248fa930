/* grpc_fixture: a gRPC server and a client of it on one loop, over loopback. */
#ifndef TESTS_GRPC_FIXTURE_H
#define TESTS_GRPC_FIXTURE_H

#include "net/grpc_client.h"
#include "net/grpc_server.h"
#include "net/listener.h"
#include "net/port.h"
#include "tests/unit/expect.h"

/* What the handlers of test.T have seen; zeros at each start. */
extern struct service {
    int opened, canceled, closed, half_closed;
    struct grpc_call *held; /* of test.T/Hold, with a reference */
    size_t flood_sent, flood_peak;
    size_t slow_received;
} service;

/* Of test.T/Flood. */
enum { FLOOD_MESSAGES = 2000, FLOOD_SIZE = 10000 };
/* Rows of the method table, as in the metrics. */
enum { METHOD_ECHO, METHOD_BIDI, METHOD_FAIL, METHOD_HOLD };

struct fixture {
    struct loop *loop;
    struct grpc_server *server;
    struct http1_server *http;
    struct port port;
    struct listener *listener;
    struct grpc_channel *channel;
    bool server_closed, http_closed;
};

/* What a call brought. */
struct result {
    bool done;
    size_t messages, bytes;
    struct buf last;
    enum grpc_code code;
    char text[256];
    bool unprocessed, from_server;
    size_t pause_every; /* messages; 0: never */
    bool paused;
    bool writable;
};

/* At one more address of the port. */
struct listener *listen_on(struct fixture *f, const char *address);
/* On a port of its own, with the methods of test.T; the loop is made unless there is one. */
void start_server(struct fixture *f, struct grpc_server_config config);
/* To the server, unless the config has another address. */
void start_channel(struct fixture *f, struct grpc_channel_config config);
/* Both. */
void start(struct fixture *f);
/* What is left to do once the gRPC server was told to close. */
void finish(struct fixture *f);
void stop(struct fixture *f);
/* Runs the loop until *flag, at most some seconds. */
void run_until(struct fixture *f, const bool *flag);
void run_for(struct fixture *f, int64_t nanoseconds);
/* A callback whose context is a bool. */
void set_flag(void *context);
/* Of a unary call that fills `result` in; free that with release(). */
struct grpc_client_call_options options_for(const char *path, struct result *result);
void request(struct fixture *f, const struct grpc_client_call_options *options, struct bytes message);
/* A whole unary call. */
void call_unary(struct fixture *f, const char *path, struct bytes message, struct result *result);
void expect(const struct result *result, enum grpc_code code, const char *text);
void release(struct result *result);

#endif
