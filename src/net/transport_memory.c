#include "net/transport_memory.h"

#include "base/container.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct memory {
    struct transport transport;
    struct buf *sink;
    size_t allowance; /* bytes it still takes */
    struct loop_deferred closing;
};

static struct memory *memory_of(struct transport *transport)
{
    return (struct memory *)transport;
}

static void memory_start(struct transport *transport)
{
    transport_opened(transport);
}

static void memory_read_enable(struct transport *transport, bool enable)
{
    (void)transport;
    (void)enable;
}

static void memory_flush(struct transport *transport)
{
    struct memory *memory = memory_of(transport);
    while (transport->output.size > 0 && memory->allowance > 0) {
        struct bytes front = chain_front(&transport->output);
        if (front.size > memory->allowance) front.size = memory->allowance;
        if (memory->sink != NULL) buf_append_bytes(memory->sink, front);
        if (memory->allowance != SIZE_MAX) memory->allowance -= front.size;
        transport->bytes_written += front.size;
        chain_consume(&transport->output, front.size);
    }
    transport_flushed(transport);
    if (transport->state == TRANSPORT_FINISHING && transport->output.size == 0)
        transport_close(transport, NULL);
}

static void on_closing_time(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct memory *memory = CONTAINER(deferred, struct memory, closing);
    transport_closed(&memory->transport);
}

static void memory_close(struct transport *transport)
{
    struct memory *memory = memory_of(transport);
    loop_defer(transport->loop, &memory->closing);
}

static void memory_free(struct transport *transport)
{
    free(memory_of(transport));
}

static const struct transport_operations memory_operations = {
    .start = memory_start,
    .read_enable = memory_read_enable,
    .flush = memory_flush,
    .close = memory_close,
    .free = memory_free,
};

struct transport *transport_memory_new(struct loop *loop)
{
    struct memory *memory = mem_zalloc(1, sizeof(*memory));
    transport_init(&memory->transport, &memory_operations, loop);
    memory->allowance = SIZE_MAX;
    memory->closing.run = on_closing_time;
    memory->transport.local_address = mem_strdup("memory");
    memory->transport.peer_address = mem_strdup("memory");
    return &memory->transport;
}

void transport_memory_feed(struct transport *transport, struct bytes bytes)
{
    if (transport->state == TRANSPORT_OPEN) assert(transport->reading);
    transport_read_bytes(transport, bytes);
}

void transport_memory_end(struct transport *transport)
{
    transport_failed(transport, NULL);
}

void transport_memory_sink(struct transport *transport, struct buf *sink)
{
    memory_of(transport)->sink = sink;
}

void transport_memory_limit(struct transport *transport, size_t capacity)
{
    memory_of(transport)->allowance = capacity;
    if (capacity > 0) transport_flush_later(transport);
}
