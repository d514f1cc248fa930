/* srv: SRV records of the DNS, which name the servers of a service. Any thread; blocks on the network. */
#ifndef NET_SRV_H
#define NET_SRV_H

#include "base/arena.h"
#include "base/error.h"

#include <stddef.h>

enum { SRV_RECORDS_MAX = 256 };

struct srv_record {
    const char *target; /* with its final dot */
    unsigned priority, weight, port;
};

/* In the arena that was given, in the order of the answer. */
struct srv_records {
    struct srv_record *items;
    size_t count;
};

/* name: "_etcd-client._tcp.example.com". The error's text is Go's: "lookup NAME: no such host". */
struct error *srv_lookup(struct arena *arena, const char *name, struct srv_records *records)
    __attribute__((warn_unused_result));

#endif
