#include "tui/table.h"

#include <assert.h>
#include <limits.h>

static int lowest_rank(const struct table_column *columns, size_t count, int above)
{
    int lowest = INT_MAX;
    for (size_t i = 0; i < count; i++)
        if (columns[i].rank > above && columns[i].rank < lowest) lowest = columns[i].rank;
    return lowest;
}

/* Columns of up to that rank and the blanks between them. */
static int width_up_to(const struct table_column *columns, size_t count, int rank)
{
    int width = 0;
    for (size_t i = 0; i < count; i++)
        if (columns[i].rank <= rank) width += columns[i].width + (width > 0 ? 1 : 0);
    return width;
}

void table_layout(struct table_layout *layout, const struct table_column *columns, size_t count, int x,
                  int width)
{
    assert(count > 0 && count <= TABLE_COLUMNS_MAX);
    int rank = lowest_rank(columns, count, INT_MIN);
    for (int next = lowest_rank(columns, count, rank);
         next != INT_MAX && width_up_to(columns, count, next) <= width;
         next = lowest_rank(columns, count, rank))
        rank = next;
    int left = width - width_up_to(columns, count, rank);
    layout->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (columns[i].rank > rank) continue;
        int more = columns[i].width_max - columns[i].width;
        more = more < 0 ? 0 : more;
        more = more > left ? (left < 0 ? 0 : left) : more;
        left -= more;
        size_t place = layout->count++;
        layout->shown[place].column = i;
        layout->shown[place].x = x;
        layout->shown[place].width = columns[i].width + more;
        x += columns[i].width + more + 1;
    }
}

void table_draw_cell(struct canvas *canvas, const struct table_layout *layout,
                     const struct table_column *columns, size_t place, int y, enum style style,
                     const char *text)
{
    assert(place < layout->count);
    int x = layout->shown[place].x, width = layout->shown[place].width;
    if (columns[layout->shown[place].column].align == TABLE_RIGHT)
        canvas_right(canvas, x, y, width, style, text);
    else
        canvas_left(canvas, x, y, width, style, text);
}

void table_draw_header(struct canvas *canvas, const struct table_layout *layout,
                       const struct table_column *columns, int y)
{
    for (size_t i = 0; i < layout->count; i++)
        table_draw_cell(canvas, layout, columns, i, y, STYLE_HEADING, columns[layout->shown[i].column].title);
}
