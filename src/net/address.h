/* address: socket addresses as text, the way Go's net package reads and prints them. Internal to src/net. Any
 * thread. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include "base/buf.h"
#include "base/error.h"

#include <sys/socket.h>

/* "127.0.0.1:80", "[::1]:80", a unix path, "@" for an unnamed unix socket. A v4 address in v6 clothes is
 * shown as v4. New string. */
char *address_text(const struct sockaddr_storage *address, socklen_t size) __attribute__((returns_nonnull));

/* The path of "unix:PATH", "unix://PATH" (also "unixs"), else NULL; points into `address`. */
const char *address_unix_path(const char *address);

/* Splits "host:port" and "[v6]:port". Both strings are new. */
struct error *address_split(const char *address, char **host, char **port)
    __attribute__((warn_unused_result));

/* A numeric host ("" and "0.0.0.0" not treated specially) and port into an address; false when it is a name.
 */
bool address_numeric(const char *host, const char *port, struct sockaddr_storage *out, socklen_t *size);
struct error *address_unix(const char *path, struct sockaddr_storage *out, socklen_t *size)
    __attribute__((warn_unused_result));

/* strerror as Go prints it: lower case at the start. */
const char *address_error_text(int system, char *out, size_t size);

#endif
