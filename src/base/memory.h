/* memory: allocation that does not fail.
 *
 * Running out of memory for the small objects of a request is not an error anybody can act on in the middle
 * of a state change, so these functions end the process with one clear line instead of returning NULL. Sizes
 * that come from outside (a length in a message, a file) must be checked against their limit before they get
 * here.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* Never NULL, also for size 0. Free with free(). */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
/* count * size bytes of zeros; an overflowing product ends the process. */
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull, warn_unused_result));
char *mem_strdup(const char *string) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *mem_dup(const void *data, size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
/* printf into a new string. */
char *mem_printf(const char *format, ...)
    __attribute__((format(printf, 1, 2), malloc, returns_nonnull, warn_unused_result));

#endif
