/* transport_memory: a transport whose other end is the caller, for tests and fuzzing.
 *
 * transport_memory_feed() plays the peer's bytes, the sink gets what the user of the
 * transport has written.
 */
#ifndef NET_TRANSPORT_MEMORY_H
#define NET_TRANSPORT_MEMORY_H

#include "base/buf.h"
#include "net/transport.h"

struct transport *transport_memory_new(struct loop *loop)
    __attribute__((returns_nonnull, warn_unused_result));
/* Delivers bytes as if they had been read. Only while the transport is open and reading. */
void transport_memory_feed(struct transport *transport, struct bytes bytes);
/* The peer's end of stream. */
void transport_memory_end(struct transport *transport);
/* Everything written goes to `sink` (borrowed); NULL drops it. */
void transport_memory_sink(struct transport *transport, struct buf *sink);
/* From now on it takes `capacity` bytes and then no more, so that a slow reader can be played; SIZE_MAX: no
 * limit. */
void transport_memory_limit(struct transport *transport, size_t capacity);

#endif
