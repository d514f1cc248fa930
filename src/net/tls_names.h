/* tls_names: the names in a certificate, matched and reported as Go's crypto/x509 does, because etcd's checks
 * and the texts that tools look for are its.
 *
 * A host matches by the subject alternative names only, never by the common name: an IP address must be among
 * the IP names, anything else must match a DNS name, whose first label may be "*" and then stands for exactly
 * one label. Certificates come from outside: names may hold any bytes. Pure; any thread.
 */
#ifndef NET_TLS_NAMES_H
#define NET_TLS_NAMES_H

#include "base/buf.h"
#include "base/error.h"

struct x509_st; /* OpenSSL's X509 */

/* The subject alternative names that Go looks at, as texts. Zero-initialised is empty and valid. */
struct tls_names {
    char **dns;
    size_t dns_count;
    char **ip; /* "127.0.0.1", "::1" */
    size_t ip_count;
};

/* Any thread; what does not parse or holds a zero byte is left out. */
void tls_names_read(const struct x509_st *certificate, struct tls_names *names);
void tls_names_deinit(struct tls_names *names);

/* NULL when the certificate is valid for `host` (a name or an IP address, the latter perhaps in brackets),
 * else "x509: certificate is valid for 127.0.0.1, not example.com" and the like. */
struct error *tls_names_check(const struct x509_st *certificate, const char *host)
    __attribute__((warn_unused_result));
/* A DNS name of a certificate against a host. */
bool tls_names_match(struct bytes pattern, struct bytes host);
/* Whether the text is an IP address. */
bool tls_names_is_ip(const char *host);

/* The subject's (last) common name as UTF-8; NULL when there is none, or an empty one, or one with a zero
 * byte, which would mean one thing to the check and another to the store. New string. */
char *tls_names_common(const struct x509_st *certificate);

#endif
