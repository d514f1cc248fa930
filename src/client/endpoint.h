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
#include "base/error.h"

enum endpoint_tls {
    ENDPOINT_TLS_IF_CONFIGURED, /* no scheme, or unix: */
    ENDPOINT_TLS_NEVER,         /* http: */
    ENDPOINT_TLS_ALWAYS,        /* https:, unixs: */
};

struct endpoint {
    char *text;        /* as written, blanks trimmed: what is printed */
    char *host;        /* without brackets; a path for a socket */
    char *port;        /* "" for a socket */
    char *authority;   /* ":authority" of requests */
    char *server_name; /* what a certificate must name */
    bool is_unix;
    enum endpoint_tls tls;
};

/* Free with endpoint_deinit. An error says what is wrong with `text`. */
struct error *endpoint_parse(const char *text, struct endpoint *endpoint) __attribute__((warn_unused_result));
void endpoint_deinit(struct endpoint *endpoint);

#endif
