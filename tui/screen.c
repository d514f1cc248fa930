#include "tui/screen.h"

#include "base/text.h"

#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <term.h>
#include <unistd.h>

enum { ESCAPE_DELAY_MILLISECONDS = 25, COPY_MAX = 256 * 1024 };

/* How each style looks: with 256 colours, with 8, and what is added in any case. -1: the terminal's own. */
static const struct theme_row {
    short foreground256, background256, foreground8, background8;
    attr_t attributes;
} theme[STYLE_COUNT] = {
    [STYLE_NORMAL] = {-1, -1, -1, -1, A_NORMAL},
    [STYLE_DIM] = {246, -1, -1, -1, A_NORMAL},
    [STYLE_TITLE] = {39, -1, COLOR_CYAN, -1, A_BOLD},
    [STYLE_HEADING] = {250, -1, -1, -1, A_UNDERLINE},
    [STYLE_GOOD] = {71, -1, COLOR_GREEN, -1, A_NORMAL},
    [STYLE_WARNING] = {214, -1, COLOR_YELLOW, -1, A_NORMAL},
    [STYLE_BAD] = {203, -1, COLOR_RED, -1, A_NORMAL},
    [STYLE_ACCENT] = {117, -1, COLOR_CYAN, -1, A_NORMAL},
    [STYLE_GRAPH] = {73, -1, COLOR_CYAN, -1, A_NORMAL},
    [STYLE_BORDER] = {240, -1, -1, -1, A_NORMAL},
    [STYLE_KEY] = {39, -1, COLOR_CYAN, -1, A_BOLD},
    [STYLE_KEY_LABEL] = {250, -1, -1, -1, A_NORMAL},
    [STYLE_SELECTED] = {-1, -1, -1, -1, A_REVERSE},
};

static SCREEN *screen;
static bool is_open, has_colour;

static void start_colours(bool wanted)
{
    has_colour = wanted && has_colors() && start_color() == OK && COLORS >= 8;
    if (!has_colour) return;
    bool own = use_default_colors() == OK;
    for (short style = 0; style < STYLE_COUNT; style++) {
        const struct theme_row *row = &theme[style];
        short foreground = COLORS >= 256 ? row->foreground256 : row->foreground8;
        short background = COLORS >= 256 ? row->background256 : row->background8;
        if (!own && foreground < 0) foreground = COLOR_WHITE;
        if (!own && background < 0) background = COLOR_BLACK;
        init_pair((short)(style + 1), foreground, background);
    }
}

struct error *screen_open(bool colour)
{
    /* Asked first: newterm keeps memory when it fails. */
    int wrong = 0;
    bool known = setupterm(NULL, STDOUT_FILENO, &wrong) == OK;
    if (known) del_curterm(cur_term);
    screen = known ? newterm(NULL, stdout, stdin) : NULL;
    if (screen == NULL)
        return error_new(ERROR_INVALID, "the terminal \"%s\" is not known: set TERM, or use --once",
                         getenv("TERM") == NULL ? "" : getenv("TERM"));
    set_term(screen);
    is_open = true;
    set_escdelay(ESCAPE_DELAY_MILLISECONDS);
    raw();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    start_colours(colour);
    mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
    mouseinterval(0);
    return NULL;
}

void screen_close(void)
{
    if (!is_open) return;
    is_open = false;
    mousemask(0, NULL);
    curs_set(1);
    endwin();
    delscreen(screen);
}

void screen_size(int *width, int *height)
{
    getmaxyx(stdscr, *height, *width);
}

void screen_resized(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return;
    resizeterm(size.ws_row, size.ws_col);
}

void screen_redraw(void)
{
    clearok(curscr, TRUE);
}

static attr_t attributes_of(const struct canvas_cell *cell)
{
    attr_t attributes = theme[cell->style].attributes;
    if (cell->bold) attributes |= A_BOLD;
    return attributes;
}

void screen_show(const struct canvas *canvas)
{
    int width, height;
    screen_size(&width, &height);
    erase();
    for (int y = 0; y < canvas->height && y < height; y++) {
        for (int x = 0; x < canvas->width && x < width; x++) {
            const struct canvas_cell *cell = canvas_cell(canvas, x, y);
            if (cell->width == 0) continue;
            wchar_t text[CANVAS_CELL_CHARACTERS + 1];
            size_t count = 0;
            while (count < CANVAS_CELL_CHARACTERS && cell->characters[count] != 0) {
                text[count] = (wchar_t)cell->characters[count];
                count++;
            }
            text[count] = 0;
            cchar_t shown;
            short pair = has_colour ? (short)(cell->style + 1) : 0;
            if (setcchar(&shown, text, attributes_of(cell), pair, NULL) == OK) mvadd_wch(y, x, &shown);
        }
    }
    bool with_cursor = canvas->cursor_x >= 0 && canvas->cursor_x < width && canvas->cursor_y < height;
    curs_set(with_cursor ? 1 : 0);
    if (with_cursor) move(canvas->cursor_y, canvas->cursor_x);
    refresh();
}

/* ---- Input ---- */

static const struct {
    wint_t curses;
    uint32_t key;
} keys[] = {
    {KEY_UP, INPUT_UP},         {KEY_DOWN, INPUT_DOWN},       {KEY_LEFT, INPUT_LEFT},
    {KEY_RIGHT, INPUT_RIGHT},   {KEY_HOME, INPUT_HOME},       {KEY_END, INPUT_END},
    {KEY_PPAGE, INPUT_PAGE_UP}, {KEY_NPAGE, INPUT_PAGE_DOWN}, {KEY_BACKSPACE, INPUT_BACKSPACE},
    {KEY_DC, INPUT_DELETE},     {KEY_BTAB, INPUT_BACK_TAB},   {KEY_ENTER, INPUT_ENTER},
};

static uint32_t special_key(wint_t code)
{
    if (code >= KEY_F(1) && code <= KEY_F(12)) return INPUT_F((uint32_t)(code - KEY_F(0)));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (keys[i].curses == code) return keys[i].key;
    return INPUT_NONE;
}

static void read_mouse(struct input *input)
{
    MEVENT event;
    input->key = INPUT_NONE;
    if (getmouse(&event) != OK) return;
    input->x = event.x;
    input->y = event.y;
    if ((event.bstate & BUTTON4_PRESSED) != 0)
        input->key = INPUT_WHEEL_UP;
    else if ((event.bstate & BUTTON5_PRESSED) != 0)
        input->key = INPUT_WHEEL_DOWN;
    else if ((event.bstate & BUTTON1_PRESSED) != 0)
        input->key = INPUT_CLICK;
}

bool screen_read(struct input *input)
{
    wint_t code;
    int kind = get_wch(&code);
    if (kind == ERR) return false;
    *input = (struct input){.key = (uint32_t)code};
    if (kind == KEY_CODE_YES && code == KEY_MOUSE)
        read_mouse(input);
    else if (kind == KEY_CODE_YES)
        input->key = special_key(code);
    else if (code == '\r')
        input->key = INPUT_ENTER;
    else if (code == 0x7f || code == INPUT_CONTROL('H'))
        input->key = INPUT_BACKSPACE;
    return true;
}

void screen_copy(struct bytes text)
{
    struct buf out = {0};
    if (text.size > COPY_MAX) text.size = COPY_MAX; /* terminals take no more */
    buf_append_string(&out, "\033]52;c;");
    text_base64(&out, text);
    buf_append_byte(&out, '\a');
    fwrite(out.data, 1, out.size, stdout);
    fflush(stdout);
    buf_deinit(&out);
}
