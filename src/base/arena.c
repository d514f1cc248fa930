#include "base/arena.h"

#include "base/memory.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_FIRST_CHUNK = 2048 - 64, ARENA_LARGEST_CHUNK = 1 << 20 };

struct chunk {
    struct chunk *next;
    size_t capacity;
    size_t used;
    alignas(max_align_t) uint8_t data[];
};

/* Chunks are listed newest first; the last one is the first and lives as long as the arena. */
struct arena {
    struct chunk *chunks;
    size_t footprint;
};

static struct chunk *chunk_new(struct arena *arena, size_t capacity)
{
    struct chunk *chunk = mem_alloc(sizeof(*chunk) + capacity);
    chunk->next = arena->chunks;
    chunk->capacity = capacity;
    chunk->used = 0;
    arena->chunks = chunk;
    arena->footprint += sizeof(*chunk) + capacity;
    return chunk;
}

struct arena *arena_new(void)
{
    struct arena *arena = mem_zalloc(1, sizeof(*arena));
    chunk_new(arena, ARENA_FIRST_CHUNK);
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL) return;
    while (arena->chunks != NULL) {
        struct chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    free(arena);
}

void arena_reset(struct arena *arena)
{
    while (arena->chunks->next != NULL) {
        struct chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        arena->footprint -= sizeof(*chunk) + chunk->capacity;
        free(chunk);
    }
    arena->chunks->used = 0;
}

void arena_adopt(struct arena *arena, struct arena *child)
{
    if (child == NULL) return;
    struct chunk *last = child->chunks;
    while (last->next != NULL) last = last->next;
    last->next = arena->chunks->next;
    arena->chunks->next = child->chunks;
    arena->footprint += child->footprint;
    free(child);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t mask = alignof(max_align_t) - 1;
    size_t rounded = (size + mask) & ~mask;
    struct chunk *chunk = arena->chunks;
    if (rounded > chunk->capacity - chunk->used) {
        size_t capacity = chunk->capacity * 2;
        if (capacity > ARENA_LARGEST_CHUNK) capacity = ARENA_LARGEST_CHUNK;
        chunk = chunk_new(arena, rounded > capacity ? rounded : capacity);
    }
    void *memory = chunk->data + chunk->used;
    chunk->used += rounded;
    return memory;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
    if (bytes.size == 0) return BYTES_EMPTY;
    return bytes_of(memcpy(arena_alloc(arena, bytes.size), bytes.data, bytes.size), bytes.size);
}

char *arena_string(struct arena *arena, struct bytes bytes)
{
    char *text = arena_alloc(arena, bytes.size + 1);
    if (bytes.size > 0) memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = 0;
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    char *text = arena_alloc(arena, size);
    vsnprintf(text, size, format, again);
    va_end(again);
    return text;
}

size_t arena_footprint(const struct arena *arena)
{
    return arena->footprint;
}
