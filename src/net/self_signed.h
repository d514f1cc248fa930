/* self_signed: certificates for --auto-tls and --peer-auto-tls, as etcd makes them: ECDSA on P-521, signed by
 * themselves, for the hosts that are listened on. They encrypt; they prove nothing about who answers. Any
 * thread; blocks on files. */
#ifndef NET_SELF_SIGNED_H
#define NET_SELF_SIGNED_H

#include "base/error.h"
#include "base/log.h"

#include <stddef.h>

struct self_signed {
    char *certificate_file, *key_file; /* DIRECTORY/cert.pem and key.pem; free() both */
};

/* Makes the pair unless both files are there, which are then used as they are, however old. The directory is
 * made (0700) with those above it. `hosts`: names and addresses, without ports. */
struct error *self_signed_make(const char *directory, const char *const *hosts, size_t host_count,
                               unsigned years, const struct logger *logger, struct self_signed *made)
    __attribute__((warn_unused_result));

#endif
