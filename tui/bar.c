#include "tui/bar.h"

#include <math.h>

void bar_draw(struct canvas *canvas, int x, int y, int columns, enum style style, double fraction)
{
    if (isnan(fraction)) return;
    int eighths = (int)lround(fmax(0, fmin(1, fraction)) * columns * GLYPHS_LEVELS);
    for (int i = 0; i < columns; i++) {
        int here = eighths - i * GLYPHS_LEVELS;
        here = here < 0 ? 0 : here > GLYPHS_LEVELS ? GLYPHS_LEVELS : here;
        canvas_text(canvas, x + i, y, style, canvas->glyphs->eighths[here]);
    }
}
