#include "base/container.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/grpc_internal.h"

#include <assert.h>
#include <stdlib.h>

#define DEFAULT_MIN_TIME        (300 * LOOP_SECOND)
#define DEFAULT_INTERVAL        (7200 * LOOP_SECOND)
#define DEFAULT_PREFACE_TIMEOUT (120 * LOOP_SECOND) /* grpc-go's */
#define DEFAULT_TIMEOUT         (20 * LOOP_SECOND)

/* FNV-1a. The paths of the method table are ours, and a lookup compares the names, so no keyed hash is
 * needed. */
static uint32_t hash_more(uint32_t hash, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 16777619u;
    return hash;
}

static uint32_t hash_path(struct bytes path)
{
    return hash_more(2166136261u, path.data, path.size);
}

static uint32_t hash_method(const struct grpc_method *method)
{
    uint32_t hash = hash_path(BYTES_LITERAL("/"));
    hash = hash_more(hash, (const uint8_t *)method->service, strlen(method->service));
    hash = hash_more(hash, (const uint8_t *)"/", 1);
    return hash_more(hash, (const uint8_t *)method->name, strlen(method->name));
}

static bool method_has_path(const struct grpc_method *method, struct bytes path)
{
    size_t service = strlen(method->service), name = strlen(method->name);
    return path.size == service + name + 2 && path.data[0] == '/' &&
           memcmp(path.data + 1, method->service, service) == 0 && path.data[service + 1] == '/' &&
           memcmp(path.data + service + 2, method->name, name) == 0;
}

static void methods_index(struct grpc_server *server)
{
    uint32_t size = 16;
    while (size < server->config.method_count * 4) size *= 2;
    server->slots = mem_zalloc(size, sizeof(*server->slots));
    server->slot_mask = size - 1;
    for (size_t i = 0; i < server->config.method_count; i++) {
        const struct grpc_method *method = server->config.methods[i];
        uint32_t hash = hash_method(method), at = hash & server->slot_mask;
        while (server->slots[at].method != NULL) at = (at + 1) & server->slot_mask;
        server->slots[at] = (struct method_slot){.method = method, .hash = hash, .index = (uint32_t)i};
    }
}

const struct grpc_method *server_find_method(const struct grpc_server *server, struct bytes path,
                                             size_t *index)
{
    uint32_t hash = hash_path(path);
    for (uint32_t at = hash & server->slot_mask; server->slots[at].method != NULL;
         at = (at + 1) & server->slot_mask) {
        const struct method_slot *slot = &server->slots[at];
        if (slot->hash == hash && method_has_path(slot->method, path)) {
            *index = slot->index;
            return slot->method;
        }
    }
    return NULL;
}

void server_unknown_method(const struct grpc_server *server, struct bytes path, struct buf *text)
{
    struct bytes bare = path;
    if (bare.size > 0 && bare.data[0] == '/') bare = bytes_of(bare.data + 1, bare.size - 1);
    size_t slash = bare.size;
    while (slash > 0 && bare.data[slash - 1] != '/') slash--;
    if (slash == 0) {
        buf_append_string(text, "malformed method name: ");
        text_go_quote(text, path);
        return;
    }
    struct bytes service = bytes_of(bare.data, slash - 1),
                 name = bytes_of(bare.data + slash, bare.size - slash);
    for (size_t i = 0; i < server->config.method_count; i++) {
        if (!bytes_equal(service, bytes_from_string(server->config.methods[i]->service))) continue;
        buf_append_string(text, "unknown method ");
        buf_append_bytes(text, name);
        buf_append_string(text, " for service ");
        buf_append_bytes(text, service);
        return;
    }
    buf_append_string(text, "unknown service ");
    buf_append_bytes(text, service);
}

/* ---- life ---- */

static void on_closed(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct grpc_server *server = CONTAINER(deferred, struct grpc_server, closed);
    if (server->done == NULL) return;
    void (*done)(void *context) = server->done;
    server->done = NULL;
    done(server->done_context);
}

static void cut_connections(struct grpc_server *server)
{
    struct grpc_connection *connection;
    LIST_FOREACH (connection, &server->connections, link) {
        connection_close(connection, error_new(ERROR_CANCELED, "server is stopped"));
    }
    struct grpc_call *call;
    while ((call = LIST_FIRST(&server->local_calls)) != NULL) {
        grpc_local_call_continue(call);
        call_cancel(call, GRPC_UNAVAILABLE, BYTES_LITERAL("transport is closing"));
    }
}

static void on_drain_over(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    cut_connections(CONTAINER(timer, struct grpc_server, drain));
}

struct grpc_server *grpc_server_new(struct loop *loop, const struct grpc_server_config *config)
{
    struct grpc_server *server = mem_zalloc(1, sizeof(*server));
    server->loop = loop;
    server->config = *config;
    struct grpc_server_config *c = &server->config;
    if (c->receive_limit == 0) c->receive_limit = GRPC_DEFAULT_RECEIVE_LIMIT;
    if (c->send_limit == 0) c->send_limit = GRPC_DEFAULT_SEND_LIMIT;
    if (c->max_concurrent_streams == 0) c->max_concurrent_streams = UINT32_MAX;
    if (c->keepalive_min_time == 0) c->keepalive_min_time = DEFAULT_MIN_TIME;
    if (c->preface_timeout == 0) c->preface_timeout = DEFAULT_PREFACE_TIMEOUT;
    if (c->keepalive_interval == 0) c->keepalive_interval = DEFAULT_INTERVAL;
    if (c->keepalive_timeout == 0) c->keepalive_timeout = DEFAULT_TIMEOUT;
    if (c->logger == NULL) c->logger = &log_discard;
    methods_index(server);
    server->metrics =
        mem_zalloc(1, sizeof(*server->metrics) + config->method_count * sizeof(server->metrics->methods[0]));
    server->callbacks = connection_callbacks_new();
    server->option = connection_option_new();
    server->drain.run = on_drain_over;
    server->closed.run = on_closed;
    return server;
}

static void call_free(struct grpc_call *call)
{
    arena_free(call->arena);
    chain_deinit(&call->output);
    grpc_frame_reader_deinit(&call->reader);
    buf_deinit(&call->held);
    free(call->metadata);
    free(call);
}

void grpc_server_free(struct grpc_server *server)
{
    if (server == NULL) return;
    assert(LIST_EMPTY(&server->connections) && server->calls_out == 0);
    loop_timer_clear(server->loop, &server->drain);
    loop_defer_cancel(server->loop, &server->closed);
    struct grpc_call *call;
    while ((call = SLIST_FIRST(&server->pool)) != NULL) {
        SLIST_REMOVE_HEAD(&server->pool, pool_link);
        call_free(call);
    }
    nghttp2_session_callbacks_del(server->callbacks);
    nghttp2_option_del(server->option);
    free(server->slots);
    free(server->metrics);
    free(server);
}

void grpc_server_accept(struct grpc_server *server, struct transport *transport, struct bytes first,
                        const struct http_router *router)
{
    if (server->closing) {
        transport_set_handler(transport, NULL, NULL);
        transport_close(transport, NULL);
        return;
    }
    connection_new(server, transport, first, router);
}

void server_connection_gone(struct grpc_server *server)
{
    if (server->closing && LIST_EMPTY(&server->connections) && server->calls_out == 0) {
        loop_timer_clear(server->loop, &server->drain);
        loop_defer(server->loop, &server->closed);
    }
}

void grpc_server_close(struct grpc_server *server, int64_t drain, void (*done)(void *context), void *context)
{
    assert(!server->closing);
    server->closing = true;
    server->done = done;
    server->done_context = context;
    struct grpc_connection *connection;
    if (drain <= 0) {
        cut_connections(server);
    } else {
        LIST_FOREACH (connection, &server->connections, link) connection_shut_down(connection);
        loop_timer_set(server->loop, &server->drain, clock_monotonic() + drain);
    }
    server_connection_gone(server);
}

struct grpc_server_metrics *grpc_server_metrics(struct grpc_server *server)
{
    return server->metrics;
}

/* ---- recycled calls ---- */

struct grpc_call *server_take_call(struct grpc_server *server)
{
    struct grpc_call *call = SLIST_FIRST(&server->pool);
    if (call == NULL) {
        call = mem_zalloc(1, sizeof(*call));
        call->output.block_size = 256;
    } else {
        SLIST_REMOVE_HEAD(&server->pool, pool_link);
        server->pool_size--;
        /* What is worth keeping is kept, all else starts from zero. */
        struct grpc_call fresh = {
            .arena = call->arena,
            .metadata = call->metadata,
            .metadata_capacity = call->metadata_capacity,
            .reader = call->reader,
            .held = call->held,
            .output = call->output,
        };
        *call = fresh;
    }
    server->calls_out++;
    call->kind = STREAM_CALL;
    call->server = server;
    call->references = 1;
    call->deadline = INT64_MAX;
    call->started = loop_now(server->loop);
    return call;
}

enum { KEPT_BUFFER = 4096, KEPT_METADATA = 64, KEPT_SEGMENTS = 64 };

void server_recycle_call(struct grpc_server *server, struct grpc_call *call)
{
    assert(call->references == 0 && call->output.size == 0 && !loop_timer_is_set(&call->timer) &&
           !call->in_work);
    server->calls_out--;
    server_connection_gone(server);
    grpc_frame_reader_reset(&call->reader);
    if (call->held.capacity > KEPT_BUFFER)
        buf_deinit(&call->held);
    else
        buf_clear(&call->held);
    if (server->pool_size >= CALL_POOL_MAX || call->metadata_capacity > KEPT_METADATA ||
        call->output.capacity > KEPT_SEGMENTS) {
        call_free(call);
        return;
    }
    if (call->arena != NULL) arena_reset(call->arena);
    SLIST_INSERT_HEAD(&server->pool, call, pool_link);
    server->pool_size++;
}
