#include "net/chain.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void chain_clear(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) blob_unref(chain->segments[chain->first + i].blob);
    chain->first = chain->count = chain->size = 0;
}

void chain_deinit(struct chain *chain)
{
    chain_clear(chain);
    free(chain->segments);
    *chain = (struct chain){0};
}

static struct chain_segment *segment_add(struct chain *chain)
{
    if (chain->first + chain->count == chain->capacity) {
        if (chain->first > chain->count) {
            memcpy(chain->segments, chain->segments + chain->first, chain->count * sizeof(*chain->segments));
            chain->first = 0;
        } else {
            chain->capacity = chain->capacity == 0 ? 4 : chain->capacity * 2;
            chain->segments = mem_realloc(chain->segments, chain->capacity * sizeof(*chain->segments));
        }
    }
    return &chain->segments[chain->first + chain->count++];
}

/* The last segment if it is a block with room for at least one byte. */
static struct chain_segment *open_block(const struct chain *chain, size_t *room)
{
    *room = 0;
    if (chain->count == 0) return NULL;
    struct chain_segment *last = &chain->segments[chain->first + chain->count - 1];
    if (!last->block) return NULL;
    *room = (size_t)(last->blob->data + last->blob->size - (last->data + last->size));
    return last;
}

static struct chain_segment *new_block(struct chain *chain)
{
    struct blob *blob = blob_new(chain->block_size == 0 ? CHAIN_BLOCK_SIZE : chain->block_size);
    struct chain_segment *segment = segment_add(chain);
    *segment = (struct chain_segment){.data = blob->data, .blob = blob, .block = true};
    return segment;
}

void chain_append(struct chain *chain, struct bytes bytes)
{
    while (bytes.size > 0) {
        size_t room;
        struct chain_segment *segment = open_block(chain, &room);
        if (room == 0) {
            segment = new_block(chain);
            room = segment->blob->size;
        }
        size_t part = bytes.size < room ? bytes.size : room;
        uint8_t *to = segment->blob->data + (segment->data - segment->blob->data) + segment->size;
        memcpy(to, bytes.data, part);
        segment->size += part;
        chain->size += part;
        bytes = bytes_of(bytes.data + part, bytes.size - part);
    }
}

void chain_append_static(struct chain *chain, struct bytes bytes)
{
    if (bytes.size == 0) return;
    *segment_add(chain) = (struct chain_segment){.data = bytes.data, .size = bytes.size};
    chain->size += bytes.size;
}

void chain_append_blob(struct chain *chain, struct blob *blob, struct bytes bytes)
{
    if (bytes.size == 0) {
        blob_unref(blob);
        return;
    }
    assert(bytes.data >= blob->data && bytes.data + bytes.size <= blob->data + blob->size);
    *segment_add(chain) = (struct chain_segment){.data = bytes.data, .size = bytes.size, .blob = blob};
    chain->size += bytes.size;
}

void chain_append_shared(struct chain *chain, struct blob *blob, struct bytes bytes)
{
    if (bytes.size < CHAIN_LINK_THRESHOLD)
        chain_append(chain, bytes);
    else
        chain_append_blob(chain, blob_ref(blob), bytes);
}

void chain_consume(struct chain *chain, size_t size)
{
    assert(size <= chain->size);
    chain->size -= size;
    while (size > 0) {
        struct chain_segment *segment = &chain->segments[chain->first];
        if (segment->size > size) {
            segment->data += size;
            segment->size -= size;
            return;
        }
        size -= segment->size;
        blob_unref(segment->blob);
        chain->first++;
        chain->count--;
    }
    if (chain->count == 0) chain->first = 0;
}

void chain_move(struct chain *chain, struct chain *from, size_t size)
{
    assert(size <= from->size);
    while (size > 0) {
        struct chain_segment *segment = &from->segments[from->first];
        size_t part = segment->size < size ? segment->size : size;
        if (segment->blob == NULL)
            chain_append(chain, bytes_of(segment->data, part));
        else
            chain_append_shared(chain, segment->blob, bytes_of(segment->data, part));
        chain_consume(from, part);
        size -= part;
    }
}

size_t chain_vectors(const struct chain *chain, struct iovec *vectors, size_t limit)
{
    size_t count = 0;
    for (size_t i = 0; i < chain->count && count < limit; i++) {
        const struct chain_segment *segment = &chain->segments[chain->first + i];
        if (segment->size == 0) continue;
        vectors[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)segment->data, .iov_len = segment->size};
    }
    return count;
}

struct bytes chain_front(const struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        const struct chain_segment *segment = &chain->segments[chain->first + i];
        if (segment->size > 0) return bytes_of(segment->data, segment->size);
    }
    return BYTES_EMPTY;
}
