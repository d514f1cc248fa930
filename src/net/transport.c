#include "net/transport.h"

#include "base/container.h"

#include <assert.h>
#include <stdlib.h>

static void on_flush_time(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    struct transport *transport = CONTAINER(deferred, struct transport, flush);
    transport_flush(transport);
}

void transport_init(struct transport *transport, const struct transport_operations *operations,
                    struct loop *loop)
{
    *transport = (struct transport){
        .operations = operations,
        .loop = loop,
        .reading = true,
        .flush.run = on_flush_time,
    };
}

void transport_set_handler(struct transport *transport, const struct transport_handler *handler,
                           void *context)
{
    transport->handler = handler;
    transport->context = context;
}

void transport_start(struct transport *transport)
{
    assert(transport->state == TRANSPORT_NEW);
    transport->state = TRANSPORT_HANDSHAKE;
    transport->operations->start(transport);
}

static bool wants_reading(const struct transport *transport)
{
    return transport->state == TRANSPORT_OPEN || transport->state == TRANSPORT_HANDSHAKE;
}

void transport_read_stop(struct transport *transport)
{
    if (!transport->reading) return;
    transport->reading = false;
    if (wants_reading(transport)) transport->operations->read_enable(transport, false);
}

void transport_read_start(struct transport *transport)
{
    if (transport->reading) return;
    transport->reading = true;
    if (wants_reading(transport)) transport->operations->read_enable(transport, true);
}

void transport_flush(struct transport *transport)
{
    loop_defer_cancel(transport->loop, &transport->flush);
    if (transport->state == TRANSPORT_OPEN || transport->state == TRANSPORT_FINISHING) {
        transport->operations->flush(transport);
    }
}

void transport_flush_later(struct transport *transport)
{
    if (transport->state < TRANSPORT_CLOSING) loop_defer(transport->loop, &transport->flush);
}

void transport_finish(struct transport *transport)
{
    if (transport->state >= TRANSPORT_FINISHING) return;
    if (transport->state != TRANSPORT_OPEN) {
        transport_close(transport, NULL);
        return;
    }
    transport->state = TRANSPORT_FINISHING;
    /* Reading goes on until the peer's end, so that closing does not destroy what we have sent. */
    if (!transport->reading) transport->operations->read_enable(transport, true);
    transport_flush_later(transport);
}

void transport_close(struct transport *transport, struct error *error)
{
    if (transport->state >= TRANSPORT_CLOSING) {
        error_free(error);
        return;
    }
    transport->state = TRANSPORT_CLOSING;
    transport->error = error;
    loop_defer_cancel(transport->loop, &transport->flush);
    transport->operations->close(transport);
}

struct bytes transport_alpn(struct transport *transport)
{
    return transport->operations->alpn == NULL ? BYTES_EMPTY : transport->operations->alpn(transport);
}

bool transport_is_secure(const struct transport *transport)
{
    return transport->operations->alpn != NULL;
}

const char *transport_peer_common_name(struct transport *transport)
{
    return transport->operations->peer_common_name == NULL
               ? NULL
               : transport->operations->peer_common_name(transport);
}

void transport_opened(struct transport *transport)
{
    assert(transport->state == TRANSPORT_HANDSHAKE);
    transport->state = TRANSPORT_OPEN;
    if (transport->output.size > 0) transport_flush_later(transport);
    if (transport->handler != NULL && transport->handler->on_open != NULL) {
        transport->handler->on_open(transport->context);
    }
}

void transport_read_bytes(struct transport *transport, struct bytes bytes)
{
    transport->bytes_read += bytes.size;
    if (transport->state != TRANSPORT_OPEN || transport->handler == NULL) return;
    transport->handler->on_read(transport->context, bytes);
}

void transport_flushed(struct transport *transport)
{
    bool was_stuck = transport->stuck;
    transport->stuck = transport->output.size > 0;
    if (was_stuck && !transport->stuck && transport->state == TRANSPORT_OPEN && transport->handler != NULL &&
        transport->handler->on_drain != NULL) {
        transport->handler->on_drain(transport->context);
    }
}

void transport_failed(struct transport *transport, struct error *error)
{
    transport_close(transport, error);
}

void transport_closed(struct transport *transport)
{
    assert(transport->state == TRANSPORT_CLOSING);
    transport->state = TRANSPORT_CLOSED;
    if (transport->handler != NULL) transport->handler->on_close(transport->context, transport->error);
    chain_deinit(&transport->output);
    error_free(transport->error);
    free(transport->local_address);
    free(transport->peer_address);
    if (transport->on_free != NULL) transport->on_free(transport->on_free_context);
    transport->operations->free(transport);
}
