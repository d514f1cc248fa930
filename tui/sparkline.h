/* sparkline: the last values of a number as a row of columns, the newest to the right. */
#ifndef TUI_SPARKLINE_H
#define TUI_SPARKLINE_H

#include "tui/canvas.h"
#include "tui/ring.h"

/* The level of each value between 0 and the greatest of the last `columns`, -1: not known. Small but real
 * values are at level 0, the greatest at GLYPHS_LEVELS - 1. Values below `floor` are scaled as if the
 * greatest were that much, so that noise around nothing does not look like mountains. */
void sparkline_levels(const struct ring *ring, int columns, double floor, int *levels);
void sparkline_draw(struct canvas *canvas, int x, int y, int columns, const struct ring *ring, double floor);

#endif
