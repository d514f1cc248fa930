/* What the parts of server share: the member in this process, whole. server.c builds and runs it,
 * server_stop.c takes it apart. */
#ifndef SERVER_SERVER_INTERNAL_H
#define SERVER_SERVER_INTERNAL_H

#include "server/server.h"

#include "base/arena.h"
#include "cluster/url.h"
#include "member/member.h"
#include "net/http1.h"
#include "net/listener.h"
#include "net/port.h"
#include "server/bootstrap.h"
#include "server/call_observer.h"
#include "server/compactor.h"
#include "server/corruption_monitor.h"
#include "server/engine.h"
#include "server/gateway_limit.h"
#include "server/helper_pool.h"
#include "server/http_endpoints.h"
#include "server/metrics.h"
#include "server/peer.h"
#include "server/security.h"
#include "server/service.h"
#include "server/token_provider.h"

enum {
    IO_LOOPS_MAX = 8,
    LISTENERS_MAX = 64,
    RESERVED_DESCRIPTORS = 150, /* kept from clients, for files and other members */
    TOKEN_TTL_DEFAULT = 300,    /* seconds */
    HELPER_QUEUE_MAX = 1000,    /* jobs; more are refused */
    NODE_QUEUE_MAX = 20000,     /* tasks that wait for the node, beyond which requests are refused */
};

/* What a listener serves: the first two from the start, the others once the member is published. */
enum traffic { TRAFFIC_PEER, TRAFFIC_METRICS, TRAFFIC_GRPC_HTTP, TRAFFIC_GRPC, TRAFFIC_HTTP, TRAFFIC_KINDS };
/* How: in plain text, with TLS, or as the client likes, when both schemes name one address. */
enum protection { PROTECTION_NONE, PROTECTION_TLS, PROTECTION_EITHER, PROTECTIONS };

/* An address that is listened on. */
struct bound {
    struct server *server;
    struct listener *listener;
    char *address;
    enum traffic traffic;
    enum protection protection;
};

/* What one I/O loop serves with. */
struct io {
    struct server *server;
    struct loop *loop;
    struct grpc_server *grpc;
    struct http1_server *http;
    struct port ports[TRAFFIC_KINDS][PROTECTIONS]; /* those of peers stay unused */
    struct http_router client_router;
    struct http_endpoints endpoints; /* the server's, with this loop's gRPC server */
    struct loop_task close;
};

/* The loop that speaks with the other members, and with nobody else. */
struct peer_io {
    struct loop *loop;
    struct http1_server *http;
    struct port ports[PROTECTIONS];
    struct peers *peers;
    struct corruption_monitor *corruption;
    struct cluster_urls urls; /* as advertised */
    struct loop_task close;
};

struct server {
    const struct options *options;
    const struct logger *logger;
    struct arena *memory; /* as long as the server */
    struct member member;
    struct bootstrap bootstrap;
    struct engine *engine;
    struct loop *control; /* the calling thread's */
    struct io io[IO_LOOPS_MAX];
    size_t io_count;
    struct peer_io peer;
    struct bound bound[LISTENERS_MAX];
    size_t bound_count;
    struct security security;
    bool was_initialized; /* the data directory held a member */
    struct http_router metrics_router;
    struct gateway_limit *gateway_limit; /* NULL: none */
    struct http_endpoints endpoints;
    struct metrics_sources metrics;
    struct grpc_server_metrics *grpc_metrics[IO_LOOPS_MAX];
    struct wal_metrics wal_metrics;
    struct snap_metrics snap_metrics;
    struct call_observer *observer;
    struct token_provider tokens;
    struct helper_pool *helpers;
    struct compactor *compactor;
    struct service_context services;
    struct grpc_server_config grpc_config;
    struct node_config node_config;
    struct cluster_urls client_urls;
    uv_signal_t signals[2];
    uv_work_t upkeep_work;
    struct loop_timer upkeep;
    struct loop_task published, removed, told_removed;
    struct loop_timer removal;
    struct initial_check {
        bool under_way, is_published; /* control loop: clients wait for it */
        struct loop_task checked;     /* brings the answer to the control loop */
        struct error *error;
    } initial_check;
    int signal_number;
    bool keeping_up;
    atomic_bool was_told_removed;
    atomic_int still_closing; /* parts of I/O loops that have connections left */
};

/* Everything that is open: connections drain, the last of it is committed. */
struct error *server_stop(struct server *server) __attribute__((warn_unused_result));
/* One line for each address of that kind. */
void server_log_ports(const struct server *server, enum traffic traffic, const char *message);

#endif
