/* glyphs: the signs that the views use, for terminals with and without Unicode. */
#ifndef TUI_GLYPHS_H
#define TUI_GLYPHS_H

#include <stdbool.h>

enum { GLYPHS_LEVELS = 8 };

struct glyphs {
    bool ascii;
    const char *good, *bad, *warning, *note, *unknown; /* never a colour alone */
    const char *leader, *cursor, *opened, *closed;
    const char *horizontal, *vertical, *ellipsis, *arrow, *none;
    const char *levels[GLYPHS_LEVELS];      /* of a sparkline, lowest first */
    const char *gap;                        /* in a sparkline: not known */
    const char *eighths[GLYPHS_LEVELS + 1]; /* of a bar: nothing to full */
};

const struct glyphs *glyphs_get(bool ascii) __attribute__((returns_nonnull));

#endif
