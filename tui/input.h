/* input: what a user does, free of curses. */
#ifndef TUI_INPUT_H
#define TUI_INPUT_H

#include <stdint.h>

/* Characters are their code points (control characters included); other keys lie above them. */
enum input_key {
    INPUT_NONE = 0,
    INPUT_TAB = '\t',
    INPUT_ENTER = '\n',
    INPUT_ESCAPE = 0x1b,
    INPUT_UP = 0x200000,
    INPUT_DOWN,
    INPUT_LEFT,
    INPUT_RIGHT,
    INPUT_HOME,
    INPUT_END,
    INPUT_PAGE_UP,
    INPUT_PAGE_DOWN,
    INPUT_BACKSPACE,
    INPUT_DELETE,
    INPUT_BACK_TAB,
    INPUT_F1, /* to F12 */
    INPUT_F12 = INPUT_F1 + 11,
    INPUT_WHEEL_UP, /* at x, y */
    INPUT_WHEEL_DOWN,
    INPUT_CLICK,
};

#define INPUT_CONTROL(letter) ((uint32_t)((letter)&0x1f))
#define INPUT_F(n)            ((uint32_t)INPUT_F1 + (n)-1)

struct input {
    uint32_t key;
    int x, y;
};

#endif
