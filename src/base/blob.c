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

void blob_list_add(struct blob_list *list, struct blob *blob)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->items = mem_realloc(list->items, list->capacity * sizeof(struct blob *));
    }
    list->items[list->count++] = blob;
    list->size += blob->size;
}

struct blob *blob_list_take_first(struct blob_list *list)
{
    assert(list->count > 0);
    struct blob *first = list->items[0];
    list->size -= first->size;
    list->count--;
    memmove(list->items, list->items + 1, list->count * sizeof(struct blob *));
    if (list->count == 0) blob_list_deinit(list);
    return first;
}

void blob_list_deinit(struct blob_list *list)
{
    for (size_t i = 0; i < list->count; i++) blob_unref(list->items[i]);
    free(list->items);
    *list = (struct blob_list){0};
}
