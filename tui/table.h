/* table: columns of fixed width that appear in order of importance as there is room.
 *
 * The columns are a constant table; table_layout decides which of them are shown at a width. One column may
 * stretch.
 */
#ifndef TUI_TABLE_H
#define TUI_TABLE_H

#include "tui/canvas.h"

enum { TABLE_COLUMNS_MAX = 32 };

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table_column {
    const char *title;
    int width;
    int width_max; /* more than `width`: takes what is left, up to this */
    enum table_align align;
    int rank; /* lower ones are shown first */
};

struct table_layout {
    size_t count;
    struct {
        size_t column; /* in the constant table */
        int x, width;
    } shown[TABLE_COLUMNS_MAX];
};

/* Columns keep their order; one blank between them. The first rank is shown whatever the width. */
void table_layout(struct table_layout *layout, const struct table_column *columns, size_t count, int x,
                  int width);
void table_draw_header(struct canvas *canvas, const struct table_layout *layout,
                       const struct table_column *columns, int y);
/* One cell by its place in the layout. */
void table_draw_cell(struct canvas *canvas, const struct table_layout *layout,
                     const struct table_column *columns, size_t place, int y, enum style style,
                     const char *text);

#endif
