/* bytes: a borrowed run of bytes.
 *
 * A `struct bytes` never owns what it points to; whoever hands one out says how long it lives. Keys, values
 * and messages travel as bytes, never as C strings: they may hold any byte, zero included.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
};

#define BYTES_EMPTY ((struct bytes){NULL, 0})

/* The bytes of a string literal, without its final zero. */
#define BYTES_LITERAL(literal) ((struct bytes){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){(const uint8_t *)data, size};
}

/* The bytes of a C string, without its final zero. */
static inline struct bytes bytes_from_string(const char *string)
{
    return bytes_of(string, strlen(string));
}

/* Bytewise order, a shorter run before its extensions: <0, 0, >0. This is the order of keys everywhere. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_starts_with(struct bytes whole, struct bytes prefix)
{
    return whole.size >= prefix.size &&
           (prefix.size == 0 || memcmp(whole.data, prefix.data, prefix.size) == 0);
}

/* Big-endian and little-endian integers at any alignment. */
static inline void be64_put(uint8_t *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8) at[i] = (uint8_t)value;
}

static inline uint64_t be64_get(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | at[i];
    return value;
}

static inline void le64_put(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++, value >>= 8) at[i] = (uint8_t)value;
}

static inline uint64_t le64_get(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

#endif
