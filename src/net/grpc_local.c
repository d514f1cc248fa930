/* Calls of the server's own methods without HTTP/2: the JSON gateway's way in. */
#include "base/container.h"
#include "base/memory.h"
#include "net/grpc_internal.h"

#include <assert.h>
#include <stdlib.h>

static void on_resume_time(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct grpc_call *call = CONTAINER(deferred, struct local_call, resume)->call;
    grpc_call_ref(call);
    call_resume(call);
    struct local_call *local = call->local;
    if (grpc_local_call_takes(call) && local->handler->on_ready != NULL)
        local->handler->on_ready(local->context);
    grpc_call_unref(call);
}

static void release(struct grpc_call *call)
{
    struct local_call *local = call->local;
    loop_defer_cancel(call->server->loop, &local->resume);
    buf_deinit(&local->queue);
    LIST_REMOVE(call, link);
    call->local = NULL;
    free(local);
    call_stream_closed(call);
}

static void tell_finish(struct grpc_call *call)
{
    const struct grpc_local_handler *handler = call->local->handler;
    void *context = call->local->context;
    grpc_call_ref(call);
    release(call);
    handler->on_finish(context, call->code, call->status_text);
    grpc_call_unref(call);
}

void local_finish(struct grpc_call *call)
{
    if (call->local->stopped && call->local->queue.size > 0)
        call->local->finish_waits = true;
    else
        tell_finish(call);
}

void local_send(struct grpc_call *call, const struct grpc_part *parts, size_t count, size_t size)
{
    struct local_call *local = call->local;
    if (count == 1 && !local->stopped) {
        local->handler->on_message(local->context, parts[0].bytes);
        blob_unref(parts[0].blob);
        return;
    }
    size_t begin = local->queue.size;
    buf_append(&local->queue, &size, sizeof(size));
    for (size_t i = 0; i < count; i++) {
        buf_append_bytes(&local->queue, parts[i].bytes);
        blob_unref(parts[i].blob);
    }
    if (local->stopped) return;
    assert(begin == 0);
    grpc_local_call_continue(call);
}

static struct grpc_call *make_call(struct grpc_server *server, const struct grpc_metadata *metadata,
                                   size_t metadata_count, int64_t deadline, struct transport *transport,
                                   const struct grpc_local_handler *handler, void *context)
{
    struct grpc_call *call = server_take_call(server);
    struct local_call *local = mem_zalloc(1, sizeof(*local));
    local->call = call;
    local->handler = handler;
    local->context = context;
    local->transport = transport;
    local->resume.run = on_resume_time;
    call->local = local;
    call->deadline = deadline;
    LIST_INSERT_HEAD(&server->local_calls, call, link);
    grpc_call_ref(call);
    struct arena *arena = grpc_call_arena(call);
    call->metadata_count = 0;
    if (metadata_count > call->metadata_capacity) {
        call->metadata = mem_realloc(call->metadata, metadata_count * sizeof(*call->metadata));
        call->metadata_capacity = metadata_count;
    }
    for (size_t i = 0; i < metadata_count; i++) {
        call->metadata[call->metadata_count++] = (struct grpc_metadata){
            .key = arena_copy(arena, metadata[i].key),
            .value = arena_copy(arena, metadata[i].value),
        };
    }
    return call;
}

static void begin_call(struct grpc_server *server, struct grpc_call *call, const char *path)
{
    call->method = server_find_method(server, bytes_from_string(path), &call->method_index);
    if (call->method == NULL) {
        struct buf text = {0};
        server_unknown_method(server, bytes_from_string(path), &text);
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, buf_bytes(&text));
        buf_deinit(&text);
    } else {
        call_begin(call);
    }
}

struct grpc_call *grpc_local_call(struct grpc_server *server, const char *path,
                                  const struct grpc_metadata *metadata, size_t metadata_count,
                                  int64_t deadline, struct transport *transport,
                                  const struct grpc_local_handler *handler, void *context)
{
    struct grpc_call *call =
        make_call(server, metadata, metadata_count, deadline, transport, handler, context);
    begin_call(server, call, path);
    return call;
}

struct grpc_call *grpc_local_call_for(const struct grpc_call *caller, const char *path,
                                      const struct grpc_local_handler *handler, void *context)
{
    const char *name = grpc_call_peer_common_name(caller);
    struct grpc_call *call = make_call(caller->server, caller->metadata, caller->metadata_count, INT64_MAX,
                                       grpc_call_transport(caller), handler, context);
    if (name != NULL) call->local->common_name = arena_string(grpc_call_arena(call), bytes_from_string(name));
    begin_call(caller->server, call, path);
    return call;
}

void grpc_local_call_message(struct grpc_call *call, struct bytes message)
{
    if (!grpc_call_is_live(call)) return;
    if (message.size > call->server->config.receive_limit) {
        grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (%zu vs. %zu)",
                       message.size, call->server->config.receive_limit);
    } else if (call->paused || call->held.size > 0) {
        uint8_t prefix[GRPC_PREFIX_SIZE];
        grpc_frame_prefix(prefix, message.size, false);
        buf_append(&call->held, prefix, sizeof(prefix));
        buf_append_bytes(&call->held, message);
    } else {
        grpc_call_ref(call);
        call_message(call, message, false);
        grpc_call_unref(call);
    }
}

bool grpc_local_call_takes(const struct grpc_call *call)
{
    return grpc_call_is_live(call) && !call->paused && call->held.size == 0;
}

void grpc_local_call_half_close(struct grpc_call *call)
{
    if (grpc_call_is_live(call)) call_half_closed(call);
}

void local_resume(struct grpc_call *call)
{
    loop_defer(call->server->loop, &call->local->resume);
}

static void no_message(void *context, struct bytes message)
{
    (void)context;
    (void)message;
}

static void no_finish(void *context, enum grpc_code code, struct bytes text)
{
    (void)context;
    (void)code;
    (void)text;
}

void grpc_local_call_cancel(struct grpc_call *call)
{
    static const struct grpc_local_handler nobody = {.on_message = no_message, .on_finish = no_finish};
    if (call->local == NULL) return;
    call->local->handler = &nobody;
    call->local->stopped = false;
    if (call->finished)
        tell_finish(call);
    else
        call_cancel(call, GRPC_CANCELED, BYTES_LITERAL("context canceled"));
}

void grpc_local_call_stop(struct grpc_call *call)
{
    if (call->local != NULL) call->local->stopped = true;
}

/* Hands out what has been queued; what is not taken because the caller stops again goes back in front. */
static void hand_out(struct grpc_call *call)
{
    struct local_call *local = call->local;
    struct buf queue = local->queue;
    local->queue = (struct buf){0};
    size_t used = 0;
    while (call->local != NULL && !local->stopped && used < queue.size) {
        size_t size;
        memcpy(&size, queue.data + used, sizeof(size));
        local->handler->on_message(local->context, bytes_of(queue.data + used + sizeof(size), size));
        used += sizeof(size) + size;
    }
    if (call->local != NULL && used < queue.size) {
        buf_consume(&queue, used);
        buf_append_bytes(&queue, buf_bytes(&local->queue));
        buf_deinit(&local->queue);
        local->queue = queue;
    } else {
        buf_deinit(&queue);
    }
}

void grpc_local_call_continue(struct grpc_call *call)
{
    if (call->local == NULL) return;
    grpc_call_ref(call);
    call->local->stopped = false;
    hand_out(call);
    if (call->local != NULL && !call->local->stopped) {
        if (call->local->finish_waits) {
            tell_finish(call);
        } else if (call->high && !call->finished) {
            call->high = false;
            if (call->method->on_writable != NULL) call->method->on_writable(call);
        }
    }
    grpc_call_unref(call);
}
