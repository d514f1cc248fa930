/* listener: a bound address whose connections are dealt out to I/O loops.
 *
 * Accepting happens on one loop; each accepted socket goes to the next of `loops` in turn and arrives there
 * as a new transport through on_accept (called on that loop). An address is "host:port" ("0.0.0.0" and ""
 * mean every address of both families, as in Go), "[v6]:port" or "unix:PATH". SO_REUSEADDR is set; a unix
 * path is removed before binding and at the end.
 *
 * At most connection_limit connections of this listener are open at a time; beyond it nothing is accepted
 * until one closes (they wait in the kernel's backlog). The transports count themselves out when they close.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/error.h"
#include "base/log.h"
#include "net/loop.h"
#include "net/transport.h"

struct listener;

struct listener_config {
    const char *address;       /* copied */
    struct loop *const *loops; /* where connections are served; copied */
    size_t loop_count;
    size_t connection_limit; /* 0: none */
    int backlog;             /* 0: SOMAXCONN */
    bool reuse_port;         /* other processes may listen on the port, too, if they say so as well */
    /* On the connection's loop; `index` is that loop's place in `loops`. The transport is the callee's, not
     * started. */
    void (*on_accept)(void *context, size_t index, struct transport *transport);
    void *context;
    const struct logger *logger; /* NULL: log_discard */
};

/* Binds and listens (any thread); accepting begins with listener_start. The error has Go's text: "listen tcp
 * 127.0.0.1:1: bind: address already in use". */
struct error *listener_new(struct loop *loop, const struct listener_config *config,
                           struct listener **listener) __attribute__((warn_unused_result));
/* On the listener's loop. */
void listener_start(struct listener *listener);
/* On the listener's loop: closes the socket; the listener is freed when connections on their way have reached
 * their loops, which must run until then, as must its own. Connections live on. */
void listener_close(struct listener *listener);
/* "127.0.0.1:2379" with the port chosen by the system if 0 was given; "[::]:2379" for dual-stack. */
const char *listener_address(const struct listener *listener);
/* Any thread. */
size_t listener_connections(struct listener *listener);

#endif
