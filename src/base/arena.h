/* arena: short-lived memory that is freed at once.
 *
 * Everything a request needs while it is decoded, checked and answered comes from one arena and goes with it.
 * Nothing is freed singly. Not thread safe; an arena may be handed from one thread to another with the
 * request it belongs to.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena;

struct arena *arena_new(void) __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void arena_free(struct arena *arena);
/* Forget everything, keep the first chunk for the next use. */
void arena_reset(struct arena *arena);
/* Aligned for any type, not zeroed. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull, warn_unused_result));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((returns_nonnull, warn_unused_result));
struct bytes arena_copy(struct arena *arena, struct bytes bytes);
/* A zero-terminated copy. */
char *arena_string(struct arena *arena, struct bytes bytes)
    __attribute__((returns_nonnull, warn_unused_result));
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2), returns_nonnull));
/* Everything in `child` now belongs to `arena` and goes with it; the child itself is gone. NULL is allowed.
 */
void arena_adopt(struct arena *arena, struct arena *child);
/* Bytes taken from the system, for limits and statistics. */
size_t arena_footprint(const struct arena *arena);

#endif
