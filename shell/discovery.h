/* discovery: endpoints from DNS SRV records. */
#ifndef SHELL_DISCOVERY_H
#define SHELL_DISCOVERY_H

#include "base/arena.h"
#include "base/error.h"

struct discovery {
    const char **endpoints; /* "https://host:port", then the http ones */
    size_t count;
};

/* Looks up _etcd-client-ssl[-SERVICE]._tcp.DOMAIN and _etcd-client[-SERVICE]._tcp.DOMAIN. An error when both
 * fail: "dns lookup errors: E1 and E2". Blocks on the network. */
struct error *discovery_lookup(struct arena *arena, const char *domain, const char *service,
                               struct discovery *found) __attribute__((warn_unused_result));

#endif
