#include "tui/sparkline.h"

#include <math.h>

void sparkline_levels(const struct ring *ring, int columns, double floor, int *levels)
{
    double most = fmax(ring_max(ring, (size_t)columns), floor);
    for (int i = 0; i < columns; i++) {
        double value = ring_at(ring, (size_t)(columns - 1 - i));
        if (isnan(value)) {
            levels[i] = -1;
            continue;
        }
        double scaled = most > 0 && value > 0 ? value / most * GLYPHS_LEVELS : 0;
        int level = (int)fmin(ceil(scaled), GLYPHS_LEVELS) - 1;
        levels[i] = level < 0 ? 0 : level;
    }
}

void sparkline_draw(struct canvas *canvas, int x, int y, int columns, const struct ring *ring, double floor)
{
    int levels[RING_SIZE];
    if (columns > RING_SIZE) columns = RING_SIZE;
    if (columns <= 0) return;
    sparkline_levels(ring, columns, floor, levels);
    for (int i = 0; i < columns; i++) {
        const char *glyph = levels[i] < 0 ? canvas->glyphs->gap : canvas->glyphs->levels[levels[i]];
        canvas_text(canvas, x + i, y, STYLE_GRAPH, glyph);
    }
}
