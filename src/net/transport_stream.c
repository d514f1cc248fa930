/* TCP and unix sockets by libuv. */
#include "base/container.h"
#include "base/memory.h"
#include "net/address.h"
#include "net/transport.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    VECTORS_PER_WRITE = 64,
    KEEPALIVE_SECONDS = 15, /* Go's default probe interval */
};
/* A peer that takes nothing of our last words for this long is cut; and one that does not close after them.
 */
#define FINISH_STALL_LIMIT (10 * LOOP_SECOND)
#define LINGER_LIMIT       (LOOP_SECOND / 2)

struct stream {
    struct transport transport;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    uv_write_t write;
    struct loop_timer linger;
    bool writing; /* `write` is under way for the first write_size bytes of the output */
    bool shut;
    size_t write_size;
};

static void stream_flush(struct transport *transport);

static struct stream *stream_of(struct transport *transport)
{
    return (struct stream *)transport;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct stream *stream = handle->data;
    *out = uv_buf_init((char *)loop_scratch(stream->transport.loop), LOOP_SCRATCH_SIZE);
}

static void on_read(uv_stream_t *handle, ssize_t size, const uv_buf_t *buffer)
{
    struct stream *stream = handle->data;
    if (size > 0) {
        transport_read_bytes(&stream->transport, bytes_of(buffer->base, (size_t)size));
    } else if (size == UV_EOF) {
        /* A peer that only stops sending still gets the answers that are ready. */
        if (stream->transport.state == TRANSPORT_OPEN) stream_flush(&stream->transport);
        transport_failed(&stream->transport, NULL);
    } else if (size < 0) {
        char text[128];
        transport_failed(&stream->transport, error_new(ERROR_UNAVAILABLE, "read %s %s->%s: read: %s",
                                                       handle->type == UV_TCP ? "tcp" : "unix",
                                                       transport_local_address(&stream->transport),
                                                       transport_peer_address(&stream->transport),
                                                       address_error_text((int)-size, text, sizeof(text))));
    }
}

static void stream_read_enable(struct transport *transport, bool enable)
{
    struct stream *stream = stream_of(transport);
    if (enable)
        uv_read_start(&stream->stream, on_alloc, on_read);
    else
        uv_read_stop(&stream->stream);
}

static void stream_start(struct transport *transport)
{
    transport_opened(transport);
    if (transport->state == TRANSPORT_OPEN && transport->reading) stream_read_enable(transport, true);
}

static void write_failed(struct stream *stream, int status)
{
    char text[128];
    transport_failed(&stream->transport, error_new(ERROR_UNAVAILABLE, "write %s %s->%s: write: %s",
                                                   stream->handle.type == UV_TCP ? "tcp" : "unix",
                                                   transport_local_address(&stream->transport),
                                                   transport_peer_address(&stream->transport),
                                                   address_error_text(-status, text, sizeof(text))));
}

static void on_linger_over(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct stream *stream = CONTAINER(timer, struct stream, linger);
    transport_close(&stream->transport, NULL);
}

/* Everything is written: say so to the peer, then wait a little for its end, lest a reset destroys our last
 * bytes. */
static void finish_step(struct stream *stream)
{
    struct loop *loop = stream->transport.loop;
    if (stream->transport.output.size > 0) {
        loop_timer_set(loop, &stream->linger, loop_now(loop) + FINISH_STALL_LIMIT);
    } else if (!stream->shut) {
        stream->shut = true;
        uv_os_fd_t descriptor;
        if (uv_fileno(&stream->handle, &descriptor) == 0) shutdown(descriptor, SHUT_WR);
        loop_timer_set(loop, &stream->linger, loop_now(loop) + LINGER_LIMIT);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct stream *stream = write->data;
    stream->writing = false;
    if (stream->transport.state >= TRANSPORT_CLOSING) return;
    if (status < 0) {
        write_failed(stream, status);
        return;
    }
    chain_consume(&stream->transport.output, stream->write_size);
    stream->transport.bytes_written += stream->write_size;
    stream_flush(&stream->transport);
}

/* The kernel's buffer is full: libuv writes the first run when there is room again. */
static void write_rest(struct stream *stream)
{
    struct iovec vectors[VECTORS_PER_WRITE];
    size_t count = chain_vectors(&stream->transport.output, vectors, VECTORS_PER_WRITE);
    uv_buf_t buffers[VECTORS_PER_WRITE];
    stream->write_size = 0;
    for (size_t i = 0; i < count; i++) {
        buffers[i] = uv_buf_init(vectors[i].iov_base, (unsigned)vectors[i].iov_len);
        stream->write_size += vectors[i].iov_len;
    }
    stream->write.data = stream;
    int status = uv_write(&stream->write, &stream->stream, buffers, (unsigned)count, on_written);
    if (status < 0)
        write_failed(stream, status);
    else
        stream->writing = true;
}

static void stream_flush(struct transport *transport)
{
    struct stream *stream = stream_of(transport);
    while (transport->output.size > 0 && !stream->writing && transport->state < TRANSPORT_CLOSING) {
        struct iovec vectors[VECTORS_PER_WRITE];
        size_t count = chain_vectors(&transport->output, vectors, VECTORS_PER_WRITE);
        uv_buf_t buffers[VECTORS_PER_WRITE];
        for (size_t i = 0; i < count; i++) {
            buffers[i] = uv_buf_init(vectors[i].iov_base, (unsigned)vectors[i].iov_len);
        }
        int written = uv_try_write(&stream->stream, buffers, (unsigned)count);
        if (written >= 0) {
            chain_consume(&transport->output, (size_t)written);
            transport->bytes_written += (uint64_t)written;
        } else if (written == UV_EAGAIN) {
            write_rest(stream);
        } else {
            write_failed(stream, written);
        }
    }
    if (transport->state >= TRANSPORT_CLOSING) return;
    transport_flushed(transport);
    if (transport->state == TRANSPORT_FINISHING) finish_step(stream);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    transport_closed(&stream->transport);
}

static void stream_close(struct transport *transport)
{
    struct stream *stream = stream_of(transport);
    loop_timer_clear(transport->loop, &stream->linger);
    uv_close(&stream->handle, on_handle_closed);
}

static void stream_free(struct transport *transport)
{
    free(stream_of(transport));
}

static const struct transport_operations stream_operations = {
    .start = stream_start,
    .read_enable = stream_read_enable,
    .flush = stream_flush,
    .close = stream_close,
    .free = stream_free,
};

static void set_option(int descriptor, int level, int option, int value)
{
    /* Fails only for a connection that is already broken, which reading will tell. */
    (void)!setsockopt(descriptor, level, option, &value, sizeof(value));
}

struct transport *transport_stream_new(struct loop *loop, int file_descriptor)
{
    struct stream *stream = mem_zalloc(1, sizeof(*stream));
    transport_init(&stream->transport, &stream_operations, loop);
    stream->linger.run = on_linger_over;
    struct sockaddr_storage local = {0}, peer = {0};
    socklen_t local_size = sizeof(local), peer_size = sizeof(peer);
    (void)!getsockname(file_descriptor, (struct sockaddr *)&local, &local_size);
    if (getpeername(file_descriptor, (struct sockaddr *)&peer, &peer_size) != 0)
        peer = local, peer_size = local_size;
    stream->transport.local_address = address_text(&local, local_size);
    stream->transport.peer_address = address_text(&peer, peer_size);
    int status;
    if (local.ss_family == AF_UNIX) {
        status = uv_pipe_init(loop_uv(loop), &stream->pipe, 0);
        assert(status == 0);
        status = uv_pipe_open(&stream->pipe, file_descriptor);
    } else {
        status = uv_tcp_init(loop_uv(loop), &stream->tcp);
        assert(status == 0);
        set_option(file_descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
        set_option(file_descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(file_descriptor, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_SECONDS);
        set_option(file_descriptor, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_SECONDS);
        status = uv_tcp_open(&stream->tcp, file_descriptor);
    }
    assert(status == 0);
    stream->handle.data = stream;
    return &stream->transport;
}
