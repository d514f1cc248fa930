/* names: the hexadecimal file names of WAL segments and snapshots (private to storage). */
#ifndef STORAGE_NAMES_H
#define STORAGE_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { NAMES_HEX_SIZE = 16 };

/* Exactly 16 lower-case digits at the start of `text`. */
static inline bool names_parse_hex(const char *text, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < NAMES_HEX_SIZE; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

/* %016x-%016x and the suffix, nothing else. */
static inline bool names_parse_pair(const char *name, const char *suffix, uint64_t *first, uint64_t *second)
{
    return names_parse_hex(name, first) && name[NAMES_HEX_SIZE] == '-' &&
           names_parse_hex(name + NAMES_HEX_SIZE + 1, second) &&
           strcmp(name + 2 * NAMES_HEX_SIZE + 1, suffix) == 0;
}

static inline bool names_have_suffix(const char *name, const char *suffix)
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    return size >= suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

static inline bool names_have_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

#endif
