/* metrics: the text that Prometheus scrapes, with etcd's names, labels and buckets.
 *
 * Modules bump their own structs (base/metrics.h); this is the one place that knows what they are called.
 * Families come out sorted by name, each with HELP and TYPE.
 */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "base/buf.h"
#include "net/grpc_server.h"
#include "node/node.h"
#include "server/call_observer.h"
#include "server/health.h"
#include "server/peer.h"
#include "storage/backend.h"
#include "storage/snap.h"
#include "storage/wal.h"

/* Where the numbers are; all borrowed. Loops' gRPC metrics are added up. */
struct metrics_sources {
    struct node_metrics *node;
    struct wal_metrics *wal;
    struct backend_metrics *backend;
    struct grpc_server_metrics *const *grpc;
    size_t grpc_count;
    const struct grpc_method *const *methods;
    size_t method_count;
    const char *version;
    uint64_t member_id;
    uint64_t quota_bytes;
    int64_t started_at; /* wall clock, nanoseconds */
    struct snap_metrics *snap;
    struct peers *peers; /* NULL: there are none */
    struct call_observer *calls;
    const bool *gates; /* OPTIONS_GATE_COUNT of them */
    struct health_metrics health;
    metric_counter scrapes;
};

/* Appends the whole exposition. Any thread. */
void metrics_write(struct buf *out, struct metrics_sources *sources);

#endif
