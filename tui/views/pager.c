/* Text that is longer than the screen: help, and what commands print. */
#include "base/memory.h"
#include "tui/app.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGER_HEADER = 2, PAGER_SIZE_MAX = 8 * 1024 * 1024, PAGER_SIDE_STEP = 8 };

struct pager {
    struct view view;
    char *title;
    struct buf text;
    size_t *starts; /* of all lines */
    size_t line_count, line_capacity;
    size_t *shown; /* numbers of the lines that pass the filter */
    size_t shown_count;
    size_t top, height;
    size_t side; /* columns scrolled to the right */
    bool follow;
    bool is_full;
    char *filter;
};

static struct pager *pager_of(const struct view *view)
{
    return (struct pager *)(uintptr_t)view;
}

static struct bytes line_at(const struct pager *pager, size_t line)
{
    size_t start = pager->starts[line];
    size_t end = line + 1 < pager->line_count ? pager->starts[line + 1] : pager->text.size;
    if (end > start && pager->text.data[end - 1] == '\n') end--;
    if (end > start && pager->text.data[end - 1] == '\r') end--;
    return bytes_of(pager->text.data + start, end - start);
}

static void choose_lines(struct pager *pager)
{
    pager->shown_count = 0;
    size_t size = strlen(pager->filter);
    for (size_t i = 0; i < pager->line_count; i++) {
        struct bytes line = line_at(pager, i);
        if (size > 0 && (line.size == 0 || memmem(line.data, line.size, pager->filter, size) == NULL))
            continue;
        pager->shown[pager->shown_count++] = i;
    }
}

static void add_line(struct pager *pager, size_t start)
{
    if (pager->line_count == pager->line_capacity) {
        pager->line_capacity = pager->line_capacity == 0 ? 256 : pager->line_capacity * 2;
        pager->starts = mem_realloc(pager->starts, pager->line_capacity * sizeof(*pager->starts));
        pager->shown = mem_realloc(pager->shown, pager->line_capacity * sizeof(*pager->shown));
    }
    pager->starts[pager->line_count++] = start;
}

void view_pager_start(struct view *view, const char *title, bool follow)
{
    struct pager *pager = pager_of(view);
    char *copy = mem_strdup(title);
    free(pager->title);
    pager->title = copy;
    buf_clear(&pager->text);
    pager->line_count = pager->shown_count = pager->top = pager->side = 0;
    pager->follow = follow;
    pager->is_full = false;
    pager->filter[0] = 0;
}

void view_pager_append(struct view *view, struct bytes text)
{
    struct pager *pager = pager_of(view);
    static const char full[] = "\n(the rest is not shown)\n";
    if (pager->is_full || text.size == 0) return;
    pager->is_full = pager->text.size + text.size > PAGER_SIZE_MAX;
    if (pager->is_full) text = bytes_of(full, sizeof(full) - 1);
    for (size_t i = 0; i < text.size; i++) {
        bool starts = pager->text.size == 0 || pager->text.data[pager->text.size - 1] == '\n';
        if (starts) add_line(pager, pager->text.size);
        buf_append_byte(&pager->text, text.data[i]);
    }
    if (pager->filter[0] != 0)
        choose_lines(pager);
    else
        while (pager->shown_count < pager->line_count) {
            pager->shown[pager->shown_count] = pager->shown_count;
            pager->shown_count++;
        }
}

static size_t last_top(const struct pager *pager)
{
    return pager->shown_count > pager->height ? pager->shown_count - pager->height : 0;
}

static void pager_layout(struct view *view, const struct model *model, int width, int height)
{
    (void)model;
    (void)width;
    struct pager *pager = pager_of(view);
    pager->height = height > PAGER_HEADER ? (size_t)(height - PAGER_HEADER) : 1;
    if (pager->follow || pager->top > last_top(pager)) pager->top = last_top(pager);
}

static void pager_draw(const struct view *view, const struct model *model, struct canvas *canvas)
{
    (void)model;
    const struct pager *pager = pager_of(view);
    canvas_text(canvas, 1, 0, STYLE_TITLE, pager->title);
    char place[64];
    snprintf(place, sizeof(place), " %s%zu-%zu of %zu", pager->filter[0] != 0 ? "filtered " : "",
             pager->shown_count == 0 ? 0 : pager->top + 1,
             pager->top + pager->height < pager->shown_count ? pager->top + pager->height
                                                             : pager->shown_count,
             pager->shown_count);
    int width = (int)strlen(place);
    canvas_text(canvas, canvas->width - width - 1, 0, STYLE_DIM, place);
    view_draw_rule(canvas, 1);
    for (size_t i = 0; i < pager->height && pager->top + i < pager->shown_count; i++) {
        struct bytes line = line_at(pager, pager->shown[pager->top + i]);
        size_t cut = 0;
        while (cut < line.size && canvas_text_width(canvas, bytes_of(line.data, cut)) < (int)pager->side)
            cut++;
        while (cut > 0 && cut < line.size && (line.data[cut] & 0xc0) == 0x80) cut++;
        canvas_put(canvas, 1, PAGER_HEADER + (int)i, canvas->width - 1, STYLE_NORMAL,
                   bytes_of(line.data + cut, line.size - cut));
    }
}

static void scroll(struct view *view, long rows)
{
    struct pager *pager = pager_of(view);
    size_t by = (size_t)(rows < 0 ? -rows : rows);
    if (rows < 0)
        pager->top = pager->top > by ? pager->top - by : 0;
    else
        pager->top += by;
    pager->follow = pager->follow && rows > 0 && pager->top >= last_top(pager);
    if (pager->top > last_top(pager)) pager->top = last_top(pager);
}

static void run_left(struct view *view, struct app *app)
{
    (void)app;
    struct pager *pager = pager_of(view);
    pager->side = pager->side > PAGER_SIDE_STEP ? pager->side - PAGER_SIDE_STEP : 0;
}

static void run_right(struct view *view, struct app *app)
{
    (void)app;
    pager_of(view)->side += PAGER_SIDE_STEP;
}

static void run_stop(struct view *view, struct app *app)
{
    (void)view;
    app_stop_command(app);
}

static void run_leave(struct view *view, struct app *app)
{
    (void)view;
    app_stop_command(app);
    app_leave(app);
}

static void run_copy(struct view *view, struct app *app)
{
    app_copy(app, buf_bytes(&pager_of(view)->text));
    app_message(app, MODEL_NOTE, "copied %zu bytes", pager_of(view)->text.size);
}

static const struct binding bindings[] = {
    {{INPUT_UP, 'k'}, "Up k", "up", "a line up", 0, view_up},
    {{INPUT_DOWN, 'j', INPUT_ENTER}, "Down j", "down", "a line down", 0, view_down},
    {{INPUT_PAGE_UP, 'b', INPUT_CONTROL('B')},
     "PgUp b",
     "page up",
     "a page up",
     BINDING_BOTTOM,
     view_page_up},
    {{INPUT_PAGE_DOWN, ' ', INPUT_CONTROL('F')},
     "PgDn Space",
     "page down",
     "a page down",
     BINDING_BOTTOM,
     view_page_down},
    {{INPUT_HOME, 'g'}, "Home g", "start", "to the start", 0, view_first},
    {{INPUT_END, 'G'}, "End G", "end", "to the end", 0, view_last},
    {{INPUT_LEFT, 'h'}, "Left h", "left", "show what is further to the left", 0, run_left},
    {{INPUT_RIGHT, 'l'}, "Right l", "right", "show what is further to the right", 0, run_right},
    {{'y'}, "y", "copy", "copy everything to the terminal's clipboard", BINDING_BOTTOM, run_copy},
    {{INPUT_CONTROL('C')}, "^C", "stop", "stop the running command", 0, run_stop},
    {{'q', INPUT_ESCAPE},
     "q Esc",
     "back",
     "back to the view before; stops a running command",
     BINDING_BOTTOM,
     run_leave},
};

static void pager_filter(struct view *view, const char *text)
{
    struct pager *pager = pager_of(view);
    char *copy = mem_strdup(text);
    free(pager->filter);
    pager->filter = copy;
    choose_lines(pager);
    pager->top = 0;
}

static const char *pager_filter_text(const struct view *view)
{
    return pager_of(view)->filter;
}

static void pager_free(struct view *view)
{
    struct pager *pager = pager_of(view);
    free(pager->title);
    free(pager->filter);
    free(pager->starts);
    free(pager->shown);
    buf_deinit(&pager->text);
    free(pager);
}

static long page_size(const struct view *view)
{
    return (long)pager_of(view)->height;
}

struct view *view_pager_new(void)
{
    struct pager *pager = mem_zalloc(1, sizeof(*pager));
    pager->title = mem_strdup("");
    pager->filter = mem_strdup("");
    pager->view = (struct view){
        .name = "text",
        .bindings = bindings,
        .binding_count = sizeof(bindings) / sizeof(bindings[0]),
        .layout = pager_layout,
        .draw = pager_draw,
        .move = scroll,
        .page = page_size,
        .wheel_rows = 3,
        .filter = pager_filter,
        .filter_text = pager_filter_text,
        .free = pager_free,
    };
    return &pager->view;
}
