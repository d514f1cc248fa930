/* call_observer: what is told about every gRPC call: etcd's "request stats" lines for slow ones, the counts
 * by the clients' version, and with --metrics=extensive how long calls took.
 *
 * One for all loops. Lines never hold values: of a put only the key and the value's size are told.
 */
#ifndef SERVER_CALL_OBSERVER_H
#define SERVER_CALL_OBSERVER_H

#include "base/log.h"
#include "net/grpc_server.h"

struct call_observer;
struct metrics_writer;

struct call_observer_config {
    const struct grpc_method *const *methods; /* borrowed */
    size_t method_count;
    int64_t slow;   /* nanoseconds from which a unary call is warned about */
    bool extensive; /* histograms of all calls */
    const struct logger *logger;
};

struct call_observer *call_observer_new(const struct call_observer_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* No call may be open. NULL is allowed. */
void call_observer_free(struct call_observer *observer);

/* Any thread. A call has come in: from grpc_server_config.intercept. */
void call_observer_begin(struct call_observer *observer, const struct grpc_call *call);
/* Its status is decided: from grpc_server_config.observe. */
void call_observer_end(struct call_observer *observer, struct grpc_call *call);

/* The families of this module. */
void call_observer_metrics(struct metrics_writer *writer, struct call_observer *observer);

#endif
