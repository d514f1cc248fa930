/* tls_files: certificates, keys and revocation lists in files that may change any time.
 *
 * etcd reads certificate and key again at every handshake, so that they can be renewed without a restart. So
 * do these, but a file is parsed again only when it is another one than last time (device, inode, size, times
 * of change). Any thread; a cache is shared by all that shake hands.
 */
#ifndef NET_TLS_FILES_H
#define NET_TLS_FILES_H

#include "base/error.h"
#include "base/log.h"

#include <openssl/ssl.h>

/* ---- a certificate, those that vouch for it, and its key ---- */

struct tls_identity_file;

/* PEM files. Reads them once: a pair that cannot be used is refused with Go's text ("open F: no such file or
 * directory", "tls: private key does not match public key"). */
struct error *tls_identity_open(const char *certificate_file, const char *key_file,
                                const struct logger *logger, struct tls_identity_file **identity)
    __attribute__((warn_unused_result));
/* NULL is allowed. */
void tls_identity_free(struct tls_identity_file *identity);
/* Gives the present pair to a connection. A file that is gone fails, as in etcd. A pair that does not fit,
 * which is how two files look while they are being renewed one after the other, leaves the one before in
 * use; that is warned about once. */
struct error *tls_identity_use(struct tls_identity_file *identity, SSL *connection)
    __attribute__((warn_unused_result));

/* ---- revoked certificates ---- */

struct tls_crl_file;

/* PEM (any number of lists) or DER. Nothing is read yet. */
struct tls_crl_file *tls_crl_open(const char *path) __attribute__((returns_nonnull, warn_unused_result));
void tls_crl_free(struct tls_crl_file *crl);
/* Refuses when any of the certificates (NULL: none) is listed, and when the file cannot be read. As in etcd
 * the file is trusted: who signed it and whose certificates it means is not looked at. */
struct error *tls_crl_check(struct tls_crl_file *crl, const STACK_OF(X509) * certificates)
    __attribute__((warn_unused_result));
/* The lists in a file's bytes, for tls_crl_check and for fuzzing. */
struct error *tls_crl_parse(struct bytes data, STACK_OF(X509_CRL) * *lists)
    __attribute__((warn_unused_result));

/* ---- authorities ---- */

/* All certificates of a PEM file. A block that is no certificate, and a file without any, are refused. */
struct error *tls_authorities_read(const char *path, STACK_OF(X509) * *authorities)
    __attribute__((warn_unused_result));

#endif
