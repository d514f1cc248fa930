/* port: one listening port for gRPC and HTTP together.
 *
 * Looks at how a connection begins and hands it to the right server. Plain text: the HTTP/2 preface goes to
 * gRPC, a method and a blank to HTTP/1, anything else is closed. TLS: ALPN "h2" goes to HTTP/2, where
 * content-type application/grpc* is gRPC and the rest goes to the HTTP router; everything else is HTTP/1.
 *
 * At most PORT_HANDSHAKES_MAX TLS connections are in their handshake at a time; one more makes the oldest
 * give way, so that clients that connect and then say nothing cannot keep others out.
 */
#ifndef NET_PORT_H
#define NET_PORT_H

#include "base/list.h"
#include "net/grpc_server.h"
#include "net/http1.h"
#include "net/transport.h"

enum { PORT_HANDSHAKES_MAX = 1024 };

/* Borrowed until port_close and one more turn of the loop; all three belong to the connection's loop. */
struct port {
    struct grpc_server *grpc;  /* NULL: no gRPC on this port */
    struct http1_server *http; /* NULL: no HTTP/1 */
    const struct http_router *router;
    const struct transport_security *security; /* NULL: plain text only */
    bool plain_too;              /* with security: also accept plain text, told apart by the first byte */
    int64_t first_bytes_timeout; /* ns until it is clear what is spoken; 0: 5 minutes. TLS has its own */
    /* Port's own; zero at first. */
    LIST_HEAD(, sniffer) sniffers;
    TAILQ_HEAD(sniffer_queue, sniffer) handshakes; /* the oldest first */
    size_t handshake_count;
};

/* Takes a new transport, not started. */
void port_accept(struct port *port, struct transport *transport);
/* Closes the connections that have not yet said what they speak; call it before closing the servers behind.
 */
void port_close(struct port *port);

#endif
