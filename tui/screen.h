/* screen: the terminal. The only file that knows curses. One at a time. */
#ifndef TUI_SCREEN_H
#define TUI_SCREEN_H

#include "base/error.h"
#include "tui/canvas.h"
#include "tui/input.h"

/* Takes the terminal over. Without colour when asked so, or when the terminal has none. */
struct error *screen_open(bool colour) __attribute__((warn_unused_result));
/* Gives it back as it was. Also when it is not open. */
void screen_close(void);
void screen_size(int *width, int *height);
/* The terminal's size has changed, or something else wrote to it. */
void screen_resized(void);
void screen_redraw(void);
void screen_show(const struct canvas *canvas);
/* The next key or mouse event that has come; false: none. */
bool screen_read(struct input *input);
/* To the clipboard of the terminal, by OSC 52. */
void screen_copy(struct bytes text);

#endif
