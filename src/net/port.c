#include "net/port.h"

#include "base/container.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#define DEFAULT_TIMEOUT (300 * LOOP_SECOND)

enum { SNIFF_MAX = 24, TLS_HANDSHAKE_RECORD = 22 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* Until it is known what the connection speaks. */
struct sniffer {
    struct port *port;
    LIST_ENTRY(sniffer) link;
    TAILQ_ENTRY(sniffer) handshake; /* when it is secure */
    struct transport *transport;
    bool secure;
    struct loop_timer timer;
    uint8_t seen[SNIFF_MAX];
    size_t size;
};

enum guess {
    GUESS_MORE,
    GUESS_HTTP2,
    GUESS_HTTP1,
    GUESS_NOTHING,
};

/* "PRI * HTTP/2.0" tells HTTP/2; a method (letters) and a blank HTTP/1. */
static enum guess guess_plain(const uint8_t *data, size_t size)
{
    size_t compared = size < sizeof(preface) - 1 ? size : sizeof(preface) - 1;
    if (memcmp(data, preface, compared) == 0) return compared >= 14 ? GUESS_HTTP2 : GUESS_MORE;
    for (size_t i = 0; i < size; i++) {
        if (data[i] == ' ') return i > 0 ? GUESS_HTTP1 : GUESS_NOTHING;
        bool token = (data[i] >= 'A' && data[i] <= 'Z') || data[i] == '-';
        if (!token || i >= 16) return GUESS_NOTHING;
    }
    return GUESS_MORE;
}

static void sniffer_free(struct sniffer *sniffer)
{
    loop_timer_clear(transport_loop(sniffer->transport), &sniffer->timer);
    LIST_REMOVE(sniffer, link);
    if (sniffer->secure) {
        TAILQ_REMOVE(&sniffer->port->handshakes, sniffer, handshake);
        sniffer->port->handshake_count--;
    }
    free(sniffer);
}

/* Hands the connection over, with everything read so far. */
static void choose(struct sniffer *sniffer, enum guess guess, struct bytes first)
{
    const struct port *port = sniffer->port;
    struct transport *transport = sniffer->transport;
    bool secure = transport_is_secure(transport);
    sniffer_free(sniffer);
    if (guess == GUESS_HTTP2 && port->grpc != NULL) {
        grpc_server_accept(port->grpc, transport, first, secure ? port->router : NULL);
    } else if (guess == GUESS_HTTP1 && port->http != NULL) {
        http1_server_accept(port->http, transport, first, port->router);
    } else {
        transport_set_handler(transport, NULL, NULL);
        transport_close(transport, NULL);
    }
}

static void secure(struct sniffer *sniffer, struct bytes first);

static void on_open(void *context)
{
    struct sniffer *sniffer = context;
    if (!transport_is_secure(sniffer->transport)) return;
    bool http2 = bytes_equal(transport_alpn(sniffer->transport), BYTES_LITERAL("h2"));
    choose(sniffer, http2 ? GUESS_HTTP2 : GUESS_HTTP1, BYTES_EMPTY);
}

static void on_read(void *context, struct bytes bytes)
{
    struct sniffer *sniffer = context;
    struct bytes all = bytes;
    uint8_t *joined = NULL;
    if (sniffer->size > 0) {
        joined = mem_alloc(sniffer->size + bytes.size);
        memcpy(joined, sniffer->seen, sniffer->size);
        memcpy(joined + sniffer->size, bytes.data, bytes.size);
        all = bytes_of(joined, sniffer->size + bytes.size);
    }
    enum guess guess = guess_plain(all.data, all.size);
    if (guess == GUESS_MORE) {
        assert(all.size <= SNIFF_MAX);
        memcpy(sniffer->seen, all.data, all.size);
        sniffer->size = all.size;
    } else if (guess == GUESS_NOTHING && sniffer->port->security != NULL &&
               all.data[0] == TLS_HANDSHAKE_RECORD) {
        secure(sniffer, all);
    } else {
        choose(sniffer, guess, all);
    }
    free(joined);
}

static void on_close(void *context, const struct error *error)
{
    (void)error;
    sniffer_free(context);
}

static void on_timeout(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct sniffer *sniffer = CONTAINER(timer, struct sniffer, timer);
    transport_close(sniffer->transport, error_new(ERROR_TIMEOUT, "nothing was asked within the time limit"));
}

/* Its transport ends without it. */
static void sniffer_give_up(struct sniffer *sniffer)
{
    transport_set_handler(sniffer->transport, NULL, NULL);
    sniffer_free(sniffer);
}

static const struct transport_handler sniffer_handler = {
    .on_open = on_open,
    .on_read = on_read,
    .on_close = on_close,
};

/* Puts TLS over the sniffer's transport, started or not. */
static void encrypt(struct sniffer *sniffer)
{
    struct port *port = sniffer->port;
    const struct transport_security *security = port->security;
    if (port->handshakes.tqh_last == NULL) TAILQ_INIT(&port->handshakes);
    if (port->handshake_count == PORT_HANDSHAKES_MAX) {
        struct transport *oldest = TAILQ_FIRST(&port->handshakes)->transport;
        sniffer_give_up(TAILQ_FIRST(&port->handshakes));
        transport_close(oldest, error_new(ERROR_LIMIT, "tls: too many handshakes are under way"));
    }
    sniffer->transport = security->secure(security->context, sniffer->transport, NULL);
    sniffer->secure = true;
    TAILQ_INSERT_TAIL(&port->handshakes, sniffer, handshake);
    port->handshake_count++;
    transport_set_handler(sniffer->transport, &sniffer_handler, sniffer);
}

/* TLS on a port that also speaks plain text: the plain transport, already read from, goes inside a secure
 * one. */
static void secure(struct sniffer *sniffer, struct bytes first)
{
    struct transport *inner = sniffer->transport;
    encrypt(sniffer);
    loop_timer_clear(transport_loop(inner), &sniffer->timer);
    transport_start(sniffer->transport);
    if (inner->state == TRANSPORT_OPEN && inner->handler != NULL)
        inner->handler->on_read(inner->context, first);
}

void port_accept(struct port *port, struct transport *transport)
{
    struct sniffer *sniffer = mem_zalloc(1, sizeof(*sniffer));
    sniffer->port = port;
    sniffer->transport = transport;
    sniffer->timer.run = on_timeout;
    LIST_INSERT_HEAD(&port->sniffers, sniffer, link);
    if (port->security != NULL && !port->plain_too) {
        encrypt(sniffer);
    } else {
        int64_t timeout = port->first_bytes_timeout != 0 ? port->first_bytes_timeout : DEFAULT_TIMEOUT;
        loop_timer_set(transport_loop(transport), &sniffer->timer, clock_monotonic() + timeout);
        transport_set_handler(transport, &sniffer_handler, sniffer);
    }
    transport_start(sniffer->transport);
}

void port_close(struct port *port)
{
    struct sniffer *sniffer;
    LIST_FOREACH (sniffer, &port->sniffers, link) {
        transport_close(sniffer->transport, error_new(ERROR_CANCELED, "server is stopped"));
    }
}
