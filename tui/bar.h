/* bar: a fraction as a filled stretch. */
#ifndef TUI_BAR_H
#define TUI_BAR_H

#include "tui/canvas.h"

/* Fractions outside of 0 to 1 are cut, NAN leaves the place empty. */
void bar_draw(struct canvas *canvas, int x, int y, int columns, enum style style, double fraction);

#endif
