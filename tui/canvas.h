/* canvas: a rectangle of character cells with styles, into which views draw.
 *
 * It knows nothing of curses: a screen shows it, --once prints it, tests look into it. Drawing outside of it
 * is cut off. Text is UTF-8 (any bytes are fine); wide characters take two cells, combining ones join the
 * cell before. Control characters and bytes that are not UTF-8 are shown as one sign each, and on an ASCII
 * canvas everything beyond ASCII that is not one of its glyphs.
 */
#ifndef TUI_CANVAS_H
#define TUI_CANVAS_H

#include "base/buf.h"
#include "tui/glyphs.h"

enum style {
    STYLE_NORMAL,
    STYLE_DIM,
    STYLE_TITLE, /* the top line */
    STYLE_HEADING,
    STYLE_GOOD,
    STYLE_WARNING,
    STYLE_BAD,
    STYLE_ACCENT, /* the leader, names */
    STYLE_GRAPH,
    STYLE_BORDER,
    STYLE_KEY, /* in the bottom line */
    STYLE_KEY_LABEL,
    STYLE_SELECTED,
    STYLE_COUNT,
};

enum { CANVAS_CELL_CHARACTERS = 4, CANVAS_SIZE_MAX = 1000, CANVAS_LIVE_MAX = 1024 };

struct canvas_cell {
    uint32_t characters[CANVAS_CELL_CHARACTERS]; /* the base and what combines with it; 0: none */
    uint8_t style;
    uint8_t width; /* 1 or 2; 0: the right half of a wide character */
    bool bold;
};

struct canvas {
    int width, height;
    struct canvas_cell *cells;
    const struct glyphs *glyphs;
    struct canvas_live {
        int x, y, width;
    } live[CANVAS_LIVE_MAX];
    size_t live_count;
    int cursor_x, cursor_y; /* -1: not shown */
};

/* Sizes are brought into 1 to CANVAS_SIZE_MAX. Empties the canvas. Zero-initialised is valid to begin with.
 */
void canvas_resize(struct canvas *canvas, int width, int height, const struct glyphs *glyphs);
void canvas_deinit(struct canvas *canvas);
struct canvas_cell *canvas_cell(const struct canvas *canvas, int x, int y) __attribute__((returns_nonnull));

/* Draws at most `columns` columns and returns how many it took; a text that is longer ends in an ellipsis. */
int canvas_put(struct canvas *canvas, int x, int y, int columns, enum style style, struct bytes text);
int canvas_text(struct canvas *canvas, int x, int y, enum style style, const char *text);
int canvas_printf(struct canvas *canvas, int x, int y, enum style style, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* In a field: to the left or to the right. */
void canvas_left(struct canvas *canvas, int x, int y, int columns, enum style style, const char *text);
void canvas_right(struct canvas *canvas, int x, int y, int columns, enum style style, const char *text);
void canvas_fill(struct canvas *canvas, int x, int y, int columns, enum style style, const char *glyph);
void canvas_restyle(struct canvas *canvas, int x, int y, int columns, enum style style);
/* The cells hold a value: bold in the frame in which it is another than before. */
void canvas_live(struct canvas *canvas, int x, int y, int columns);
void canvas_mark_changes(struct canvas *canvas, const struct canvas *before);
void canvas_copy(struct canvas *to, const struct canvas *from);

/* Columns that a text takes. */
int canvas_text_width(const struct canvas *canvas, struct bytes text);
/* One row as UTF-8 without the blanks at its end. */
void canvas_row_text(const struct canvas *canvas, int y, struct buf *out);

#endif
