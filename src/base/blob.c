#include "base/blob.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct blob *blob_new(size_t size)
{
    struct blob *blob = mem_alloc(sizeof(*blob) + size);
    atomic_init(&blob->references, 1);
    blob->size = size;
    return blob;
}

struct blob *blob_from(struct bytes bytes)
{
    struct blob *blob = blob_new(bytes.size);
    if (bytes.size > 0) memcpy(blob->data, bytes.data, bytes.size);
    return blob;
}

struct blob *blob_ref(struct blob *blob)
{
    if (blob != NULL) atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed);
    return blob;
}

void blob_unref(struct blob *blob)
{
    if (blob == NULL) return;
    unsigned before = atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) free(blob);
}
