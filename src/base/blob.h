/* blob: immutable bytes with a reference count.
 *
 * The unit that is fanned out without copying: an entry's data shared by the log, the applier and the peers;
 * an encoded watch event shared by all its watchers. The count is atomic, so references may be dropped on any
 * thread; the bytes do not change once a second reference exists.
 */
#ifndef BASE_BLOB_H
#define BASE_BLOB_H

#include "base/bytes.h"

#include <stdatomic.h>

struct blob {
    atomic_uint references;
    size_t size;
    uint8_t data[];
};

/* A new blob of `size` bytes to be filled by the caller, with one reference. */
struct blob *blob_new(size_t size) __attribute__((returns_nonnull, warn_unused_result));
struct blob *blob_from(struct bytes bytes) __attribute__((returns_nonnull, warn_unused_result));
/* One more reference to the same blob; NULL stays NULL. */
struct blob *blob_ref(struct blob *blob);
/* Drops one reference; NULL is allowed. */
void blob_unref(struct blob *blob);

static inline struct bytes blob_bytes(const struct blob *blob)
{
    return blob == NULL ? BYTES_EMPTY : bytes_of(blob->data, blob->size);
}

#endif
