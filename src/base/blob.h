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

/* Blobs in order that together are one message, too large for one run of memory. Zero-initialised is empty.
 */
struct blob_list {
    struct blob **items;
    size_t count, capacity;
    size_t size; /* bytes in all of them */
};

/* Takes the reference. */
void blob_list_add(struct blob_list *list, struct blob *blob);
/* Takes the first one out and gives its reference away; there must be one. A list that gets empty by it holds
 * no memory. */
struct blob *blob_list_take_first(struct blob_list *list) __attribute__((returns_nonnull));
void blob_list_deinit(struct blob_list *list);

static inline struct bytes blob_bytes(const struct blob *blob)
{
    return blob == NULL ? BYTES_EMPTY : bytes_of(blob->data, blob->size);
}

#endif
