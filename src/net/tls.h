/* tls: encrypted connections, by OpenSSL, over any other transport.
 *
 * A `struct tls` holds what all connections of one kind share: whose certificate is shown, who is trusted,
 * versions, suites. tls_security() of it turns plain transports into secure ones (transport.h); the same
 * object may be used on any number of loops.
 *
 * Certificate, key and revocation list are looked at again for each handshake (tls_files.h); authorities are
 * read once. Refusals and their texts are those of etcd, that is of Go's crypto/tls.
 *
 * Handshakes. The server side makes its state when the first byte comes, so a connection that says nothing
 * costs no more than a plain one; the steps that compute are run a few per turn of the loop
 * (loop_defer_slow), so that a flood of handshakes does not hold up the connections that are open; each must
 * be over within handshake_timeout. Sessions are never resumed and keys never renegotiated: every connection
 * has passed every check.
 *
 * A connection that is refused leaves one line in the log, "rejected connection on KIND endpoint", with who
 * and why, and the peer gets the alert that says why when the protocol has one.
 *
 * Memory: about 14 KiB per connection; buffers for records exist only while a record is under way.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/error.h"
#include "base/log.h"
#include "net/transport.h"

struct tls;

enum tls_role { TLS_SERVER, TLS_CLIENT };
enum tls_version { TLS_VERSION_DEFAULT, TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum tls_alpn {
    TLS_ALPN_NONE,
    TLS_ALPN_H2, /* server: agrees on h2 with who offers it; client: offers h2, and insists */
};

/* Strings are copied; NULL and "" both mean none. Lists are separated by commas. */
struct tls_config {
    enum tls_role role;
    const char *certificate_file; /* PEM, with those that vouch for it behind; a server must have one */
    const char *key_file;
    const char *authorities_file; /* PEM: whom to trust; none: the system's */
    const char *crl_file;         /* server: certificates that are revoked */
    bool require_certificate;     /* server: clients must show a certificate that the authorities vouch for */
    bool check_address;           /* server: the names in it must fit the address it comes from */
    bool skip_verify;             /* client: takes any certificate */
    const char *server_name;      /* client: whom all servers are, instead of the host of their address */
    const char *allowed_names;    /* common names, of which the other side's must be one */
    const char *allowed_hostnames;     /* the other side's certificate must be valid for one of them */
    enum tls_version minimum, maximum; /* defaults: 1.2, the newest */
    const char *cipher_suites;         /* Go's names, for TLS 1.2 (tls_ciphers.h); none: Go's defaults */
    enum tls_alpn alpn;
    const char *kind;            /* "client", "peer": in log lines */
    int64_t handshake_timeout;   /* ns; 0: 10 s */
    const struct logger *logger; /* borrowed; NULL: log_discard */
};

/* Reads the files. The error's text is etcd's. Any thread. */
struct error *tls_new(const struct tls_config *config, struct tls **tls) __attribute__((warn_unused_result));
/* Connections that are open go on. NULL is allowed. Any thread. */
void tls_free(struct tls *tls);
/* Borrowed from `tls`. Any thread. */
const struct transport_security *tls_security(const struct tls *tls) __attribute__((returns_nonnull));
/* The same without `alpn`: for a client's connections that speak HTTP/1. */
const struct transport_security *tls_http1_security(const struct tls *tls) __attribute__((returns_nonnull));

/* "" gives TLS_VERSION_DEFAULT, "TLS1.2" and "TLS1.3" theirs; false for anything else. */
bool tls_version_parse(const char *text, enum tls_version *version);

#endif
