/* security: the server's TLS, from its options: for clients, for the metrics addresses, for the other members
 * in both directions.
 *
 * What a kind of connection needs is made only when an address asks for it (https, unixs); certificates that
 * no address asks for are warned about. Self-signed certificates (--auto-tls, --peer-auto-tls) are made in
 * fixtures/ of the data directory. Main thread; what is made may be used on any loop.
 */
#ifndef SERVER_SECURITY_H
#define SERVER_SECURITY_H

#include "net/tls.h"
#include "server/options.h"

struct security {
    /* Listening; NULL: no address asks for it. client_http: for addresses that serve HTTP alone. */
    struct tls *client, *client_http, *metrics, *peer;
    struct tls *dial; /* to other members */
};

/* The error's text is etcd's. `security` must be zeroed, and deinitialised after errors, too. */
struct error *security_init(struct security *security, const struct options *options,
                            const struct logger *logger) __attribute__((warn_unused_result));
void security_deinit(struct security *security);

/* Whether an address asks for TLS. */
bool security_is_asked(const char *url);

#endif
