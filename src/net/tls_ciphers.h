/* tls_ciphers: cipher suites by the names that Go, and so etcd's --cipher-suites, gives them. Any thread. */
#ifndef NET_TLS_CIPHERS_H
#define NET_TLS_CIPHERS_H

#include "base/buf.h"
#include "base/error.h"

/* What TLS 1.2 uses when nothing is asked for: Go's defaults, in its order of preference. */
extern const char tls_ciphers_default[];
/* TLS 1.3's, which --cipher-suites does not change. */
extern const char tls_ciphers_1_3[];

/* "TLS_A,TLS_B" (blanks round items are trimmed) as a cipher list for OpenSSL, "" when only suites of TLS 1.3
 * are named. An unknown name is refused with etcd's text and the names there are. Names that this OpenSSL
 * cannot serve go, separated by commas, to `missing` (may be NULL); when nothing is left that is an error. */
struct error *tls_ciphers_translate(const char *names, struct buf *list, struct buf *missing)
    __attribute__((warn_unused_result));

#endif
