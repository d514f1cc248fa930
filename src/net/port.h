/* port: one listening port for gRPC and HTTP together.
 *
 * Looks at how a connection begins and hands it to the right server. Plain text: the HTTP/2 preface goes to
 * gRPC, a method and a blank to HTTP/1, anything else is closed. TLS: ALPN "h2" goes to HTTP/2, where
 * content-type application/grpc* is gRPC and the rest goes to the HTTP router; everything else is HTTP/1.
 */
#ifndef NET_PORT_H
#define NET_PORT_H

#include "base/list.h"
#include "net/grpc_server.h"
#include "net/http1.h"
#include "net/transport.h"

/* Borrowed until port_close and one more turn of the loop; all three belong to the connection's loop. */
struct port {
    struct grpc_server *grpc;  /* NULL: no gRPC on this port */
    struct http1_server *http; /* NULL: no HTTP/1 */
    const struct http_router *router;
    const struct transport_security *security; /* NULL: plain text only */
    bool plain_too;            /* with security: also accept plain text, told apart by the first byte */
    int64_t handshake_timeout; /* ns for the handshake and the first bytes; 0: 5 minutes plain, 10 s TLS */
    LIST_HEAD(, sniffer) sniffers; /* zero at first; port's own */
};

/* Takes a new transport, not started. */
void port_accept(struct port *port, struct transport *transport);
/* Closes the connections that have not yet said what they speak; call it before closing the servers behind.
 */
void port_close(struct port *port);

#endif
