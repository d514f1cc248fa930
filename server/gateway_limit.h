/* gateway_limit: how many calls the gateway has open at once, over all loops.
 *
 * etcd's gateway is a gRPC client of its own server, over one connection. So --max-concurrent-streams, which
 * bounds the streams of a connection, bounds all JSON requests together: those beyond it wait, until one ends
 * or their own time is over. Ours has no connection, but keeps that.
 */
#ifndef SERVER_GATEWAY_LIMIT_H
#define SERVER_GATEWAY_LIMIT_H

#include "net/loop.h"

struct gateway_limit;
struct gateway_slot;

struct gateway_limit *gateway_limit_new(uint32_t most) __attribute__((returns_nonnull, warn_unused_result));
/* No slot may be taken. NULL is allowed. */
void gateway_limit_free(struct gateway_limit *limit);

/* A loop's thread. Takes a slot, in the order of asking; *now says whether it is there already, else
 * `granted` is called on the loop later. */
struct gateway_slot *gateway_limit_take(struct gateway_limit *limit, struct loop *loop,
                                        void (*granted)(void *context), void *context, bool *now)
    __attribute__((returns_nonnull, warn_unused_result));
/* The same thread: gives it back, or gives up waiting for it. */
void gateway_limit_release(struct gateway_slot *slot);

#endif
