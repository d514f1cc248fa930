/* The inside of TLS:
 *
 *   tls.c            what connections share: settings, who is trusted, whether a certificate will do
 *   tls_transport.c  one connection: bytes in and out of OpenSSL, handshake, closing
 *   tls_address.c    whether a certificate's names fit the address it comes from
 *   tls_error.c      what went wrong, in Go's words
 *   tls_files.c, tls_names.c, tls_ciphers.c
 */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include "net/tls.h"
#include "net/tls_files.h"

#include <stdatomic.h>

struct tls {
    atomic_size_t references; /* the owner's and one of each connection */
    enum tls_role role;
    SSL_CTX *context;
    struct tls_identity_file *identity; /* NULL: none */
    struct tls_crl_file *crl;           /* NULL: none */
    char **allowed_names, **allowed_hostnames;
    size_t allowed_name_count, allowed_hostname_count;
    bool require_certificate, check_address, skip_verify;
    enum tls_alpn alpn;
    enum tls_version minimum, maximum;
    char *server_name; /* NULL: each server's own */
    char *message;     /* "rejected connection on KIND endpoint" */
    int64_t handshake_timeout;
    const struct logger *logger;
    struct transport_security security, http1_security;
};

/* A connection on its way, as the callbacks of the handshake see it. */
struct tls_handshake {
    enum tls_alpn alpn;
    char *server_name;     /* client: whom it means to reach; server: whom the client does, or NULL */
    struct error *refusal; /* ours: why it fails */
    X509 *certificate;     /* the other side's, when it was vouched for and yet refused */
    bool renegotiates;     /* the peer has tried to */
};

struct transport *tls_transport_new(void *tls, struct transport *inner, const char *server_name);
struct transport *tls_transport_new_http1(void *tls, struct transport *inner, const char *server_name);

/* A new SSL for that handshake, which must outlive it; NULL when memory is short. */
SSL *tls_connection_new(const struct tls *tls, struct tls_handshake *handshake);

/* ---- tls_error.c ---- */

/* Why the last call failed, from OpenSSL's queue, which is emptied; takes handshake->refusal if there is
 * one. */
struct error *tls_error_take(struct tls_handshake *handshake) __attribute__((returns_nonnull));
/* For a verification that failed with X509_V_ERR_*. */
struct error *tls_error_verify(int status, const X509 *certificate) __attribute__((returns_nonnull));

/* ---- tls_address.c ---- */

/* Compares a client's certificate with its address ("127.0.0.1:4711"). What needs no look-up is answered at
 * once: true, with *error NULL if it will do. Else false: DNS is asked off the loop and `done` called from
 * the loop, unless tls_address_cancel comes first. */
struct tls_address_check;
bool tls_address_check(struct loop *loop, const X509 *certificate, const char *peer_address,
                       struct error **error, void (*done)(void *context, struct error *error), void *context,
                       struct tls_address_check **check);
void tls_address_cancel(struct tls_address_check *check);

#endif
