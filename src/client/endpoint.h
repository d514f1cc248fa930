/* endpoint: where a server listens, as users write it.
 *
 *   host:port  [v6]:port         TCP
 *   http://host:port[/path]      TCP without TLS, the path does not matter
 *   https://host:port            TCP with TLS
 *   unix:path unix://path        a socket; unix:///absolute
 *   unixs:path                   the same with TLS
 */
#ifndef CLIENT_ENDPOINT_H
#define CLIENT_ENDPOINT_H

#include "base/buf.h"

enum endpoint_tls {
    ENDPOINT_TLS_IF_CONFIGURED, /* no scheme, or unix: */
    ENDPOINT_TLS_NEVER,         /* http: */
    ENDPOINT_TLS_ALWAYS,        /* https:, unixs: */
};

struct endpoint {
    char *text;        /* as written, blanks trimmed: what is printed */
    char *address;     /* for net/transport.h: "host:port" or "unix:path" */
    char *server_name; /* what a certificate must name: the host, or the socket's file name */
    enum endpoint_tls tls;
};

/* Any text is an endpoint; one that makes no sense fails when it is connected to, as with etcd's client.
 * False for an empty text (or blanks): there is nothing to connect to then, and nothing to free. Else free
 * with endpoint_deinit. */
bool endpoint_parse(const char *text, struct endpoint *endpoint) __attribute__((warn_unused_result));
void endpoint_deinit(struct endpoint *endpoint);

#endif
