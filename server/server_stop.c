/* The end of a member: leadership goes elsewhere, connections drain, what is left is committed and closed. */
#include "server/gateway_websocket.h"
#include "server/server_internal.h"

#include "base/container.h"
#include "server/startup.h"

#include <stdlib.h>

#define DRAIN_TIME (500 * LOOP_MILLISECOND)

static void part_closed(void *context)
{
    struct server *server = context;
    atomic_fetch_sub(&server->still_closing, 1);
}

static void close_io(struct loop *loop, struct loop_task *task)
{
    struct io *io = CONTAINER(task, struct io, close);
    (void)loop;
    for (size_t i = 0; i < TRAFFIC_KINDS; i++)
        for (size_t j = 0; j < PROTECTIONS; j++) port_close(&io->ports[i][j]);
    gateway_websockets_close(&io->endpoints);
    grpc_server_close(io->grpc, DRAIN_TIME, part_closed, io->server);
    http1_server_close(io->http, DRAIN_TIME, part_closed, io->server);
}

static void close_peers(struct loop *loop, struct loop_task *task)
{
    struct peer_io *io = CONTAINER(task, struct peer_io, close);
    (void)loop;
    corruption_monitor_close(io->corruption);
    peers_close(io->peers);
    for (size_t i = 0; i < PROTECTIONS; i++) port_close(&io->ports[i]);
    http1_server_close(io->http, DRAIN_TIME, part_closed, CONTAINER(io, struct server, peer));
}

void server_log_ports(const struct server *server, enum traffic traffic, const char *message)
{
    for (size_t i = 0; i < server->bound_count; i++)
        if (server->bound[i].traffic == traffic)
            log_info(server->logger, message,
                     LOG_STRING("address", listener_address(server->bound[i].listener)));
}

static void drain_connections(struct server *server)
{
    server_log_ports(server, TRAFFIC_PEER, "stopping serving peer traffic");
    for (size_t i = 0; i < server->bound_count; i++) listener_close(server->bound[i].listener);
    loop_run_once(server->control, 0);
    atomic_store(&server->still_closing, (int)server->io_count * 2 + 1);
    server->peer.close.run = close_peers;
    loop_post(server->peer.loop, &server->peer.close);
    for (size_t i = 0; i < server->io_count; i++) {
        server->io[i].close.run = close_io;
        loop_post(server->io[i].loop, &server->io[i].close);
    }
    while (atomic_load(&server->still_closing) > 0) loop_run_once(server->control, 5 * LOOP_MILLISECOND);
}

static void free_io(struct server *server)
{
    for (size_t i = 0; i < server->io_count; i++) {
        struct io *io = &server->io[i];
        loop_stop(io->loop);
        loop_join(io->loop);
        loop_run_once(io->loop, 0); /* what was posted last */
        grpc_server_free(io->grpc);
        http1_server_free(io->http);
        loop_free(io->loop);
    }
    gateway_limit_free(server->gateway_limit);
}

/* Before the I/O loops end: what the node has sent here last goes back to them. */
static void halt_peers(struct server *server)
{
    struct peer_io *io = &server->peer;
    loop_stop(io->loop);
    loop_join(io->loop);
    do loop_run_once(io->loop, peers_are_busy(io->peers) ? 10 * LOOP_MILLISECOND : 0);
    while (peers_are_busy(io->peers));
}

static void free_peers(struct server *server)
{
    struct peer_io *io = &server->peer;
    corruption_monitor_free(io->corruption);
    peers_free(io->peers);
    http1_server_free(io->http);
    loop_free(io->loop);
    cluster_urls_deinit(&io->urls);
}

static void close_control(struct server *server)
{
    loop_timer_clear(server->control, &server->removal);
    loop_timer_clear(server->control, &server->upkeep);
    while (server->keeping_up) loop_run_once(server->control, 10 * LOOP_MILLISECOND);
    loop_timer_clear(server->control, &server->upkeep);
    for (size_t i = 0; i < 2; i++) uv_close((uv_handle_t *)&server->signals[i], NULL);
    loop_free(server->control);
}

struct hand_over {
    struct engine_task task;
    enum node_hand_over result;
    atomic_bool done;
};

static void begin_hand_over(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct hand_over *hand_over = CONTAINER(task, struct hand_over, task);
    (void)engine;
    hand_over->result = node_hand_over(node);
    atomic_store(&hand_over->done, true);
}

/* A leader that ends lets another member take over, so that the others need not wait for its silence. While
 * it waits it still serves. */
static void hand_over_leadership(struct server *server)
{
    static const char *const outcomes[] = {
        [NODE_HANDING_OVER] = "leadership transfer finished",
        [NODE_HAND_OVER_NOT_LEADER] = "skipped leadership transfer; local server is not leader",
        [NODE_HAND_OVER_ALONE] = "skipped leadership transfer for single voting member cluster",
        [NODE_HAND_OVER_NOBODY] = "skipped leadership transfer; no other member can be reached",
    };
    struct hand_over hand_over = {.task.run = begin_hand_over};
    int64_t begun = clock_monotonic();
    int64_t limit = begun + (int64_t)server->options->election_timeout * LOOP_MILLISECOND;
    struct node_metrics *metrics = engine_node_metrics(server->engine);
    engine_post(server->engine, &hand_over.task);
    while (!atomic_load(&hand_over.done)) loop_run_once(server->control, LOOP_MILLISECOND);
    if (hand_over.result == NODE_HANDING_OVER)
        while (metric_gauge_read(&metrics->is_leader) != 0 && clock_monotonic() < limit)
            loop_run_once(server->control, 5 * LOOP_MILLISECOND);
    log_info(server->logger, outcomes[hand_over.result], LOG_HEX("local-member-id", server->member.id),
             LOG_HEX("current-leader-member-id", metric_gauge_read(&metrics->leader)),
             LOG_DURATION("took", clock_monotonic() - begun));
}

struct error *server_stop(struct server *server)
{
    startup_log_end(server->options, server->logger, "closing etcd server");
    hand_over_leadership(server);
    compactor_stop(server->compactor);
    drain_connections(server);
    struct error *error = engine_stop(server->engine);
    halt_peers(server);
    loop_run_once(server->control, 0); /* what the compactor waits for has come back */
    compactor_free(server->compactor);
    free_io(server);
    helper_pool_free(server->helpers);
    token_provider_deinit(&server->tokens);
    call_observer_free(server->observer);
    free_peers(server);
    for (size_t i = 0; i < server->bound_count; i++) free(server->bound[i].address);
    close_control(server);
    struct error *second = member_close(&server->member);
    if (error == NULL)
        error = second;
    else
        error_free(second);
    startup_log_end(server->options, server->logger, "closed etcd server");
    return error;
}
