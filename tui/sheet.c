#include "tui/sheet.h"

#include "base/memory.h"
#include "tui/sparkline.h"
#include "tui/units.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { GRAPH_WIDTH_MAX = 60 };

static struct sheet *sheet_of(const struct view *view)
{
    return (struct sheet *)(uintptr_t)view;
}

/* ---- writing ---- */

int page_line(struct page *page)
{
    size_t line = page->at++;
    if (page->canvas == NULL || line < page->top || line >= page->top + page->height) return -1;
    return SHEET_HEADER + (int)(line - page->top);
}

int page_row(struct page *page, bool *is_selected)
{
    bool selected = page->row_count++ == page->selected;
    if (selected) page->selected_line = page->at;
    if (is_selected != NULL) *is_selected = selected;
    int y = page_line(page);
    if (y >= 0 && selected) canvas_text(page->canvas, 0, y, STYLE_ACCENT, page->glyphs->cursor);
    return y;
}

void page_say(struct page *page, const char *label, const char *value)
{
    int y = page_line(page);
    if (y < 0) return;
    canvas_left(page->canvas, 2, y, SHEET_LABEL, STYLE_DIM, label);
    canvas_text(page->canvas, 2 + SHEET_LABEL, y, STYLE_NORMAL, value);
    canvas_live(page->canvas, 2 + SHEET_LABEL, y, page->canvas->width - SHEET_LABEL - 2);
}

void page_heading(struct page *page, const char *text)
{
    page_line(page);
    int y = page_line(page);
    if (y >= 0) canvas_text(page->canvas, 1, y, STYLE_HEADING, text);
}

void page_note(struct page *page, enum style style, const char *format, ...)
{
    struct buf text = {0};
    va_list arguments;
    int y = page_line(page);
    if (y < 0) return;
    va_start(arguments, format);
    buf_vprintf(&text, format, arguments);
    va_end(arguments);
    canvas_text(page->canvas, 2, y, style, buf_string(&text));
    buf_deinit(&text);
}

void page_graph(struct page *page, const char *label, const struct ring *ring, double floor)
{
    int y = page_line(page);
    if (y < 0) return;
    canvas_left(page->canvas, 2, y, SHEET_LABEL, STYLE_DIM, label);
    int room = page->canvas->width - SHEET_LABEL - 4;
    sparkline_draw(page->canvas, 2 + SHEET_LABEL, y, room < GRAPH_WIDTH_MAX ? room : GRAPH_WIDTH_MAX, ring,
                   floor);
}

void page_lines(struct page *page, int indent, struct bytes text)
{
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);
        page_note(page, STYLE_NORMAL, "%*s%.*s", indent, "", (int)size, text.data);
        if (end != NULL) size++;
        text = bytes_of(text.data + size, text.size - size);
    }
}

void page_table(struct page *page, struct table_layout *layout, const struct table_column *columns,
                size_t count)
{
    table_layout(layout, columns, count, 2, page->canvas == NULL ? 80 : page->canvas->width - 3);
    int y = page_line(page);
    if (y >= 0) table_draw_header(page->canvas, layout, columns, y);
}

void page_since(struct page *page, const struct model *model, const char *label,
                const struct model_fetch *fetch)
{
    struct buf text = {0};
    int64_t age = model_age(model, fetch);
    if (model_is_fresh(model, fetch))
        buf_append_string(&text, "now");
    else if (age >= 0)
        buf_printf(&text, "%s ago (%s)", units_age(age).text, fetch->why[0] == 0 ? "no answer" : fetch->why);
    else
        buf_printf(&text, "never (%s)", fetch->why[0] == 0 ? "not asked yet" : fetch->why);
    page_say(page, label, buf_string(&text));
    buf_deinit(&text);
}

/* ---- the window ---- */

static void keep_inside(struct sheet *sheet, size_t selected_line)
{
    size_t last = sheet->lines > sheet->height ? sheet->lines - sheet->height : 0;
    if (sheet->row_count > 0) {
        if (selected_line < sheet->top) sheet->top = selected_line;
        if (selected_line >= sheet->top + sheet->height) sheet->top = selected_line - sheet->height + 1;
        /* What stands above the first row is seen with it. */
        if (sheet->selected == 0 && selected_line < sheet->height) sheet->top = 0;
    }
    if (sheet->top > last) sheet->top = last;
}

static void layout(struct view *view, const struct model *model, int width, int height)
{
    (void)width;
    struct sheet *sheet = sheet_of(view);
    struct page counted = {.glyphs = glyphs_get(true), .selected = sheet->selected};
    sheet->height = height > SHEET_HEADER ? (size_t)(height - SHEET_HEADER) : 1;
    sheet->write(sheet, &counted, model);
    sheet->lines = counted.at;
    sheet->row_count = counted.row_count;
    if (sheet->row_count > 0 && sheet->selected >= sheet->row_count) {
        sheet->selected = sheet->row_count - 1;
        counted = (struct page){.glyphs = counted.glyphs, .selected = sheet->selected};
        sheet->write(sheet, &counted, model);
    }
    keep_inside(sheet, counted.selected_line);
}

void sheet_draw(const struct view *view, const struct model *model, struct canvas *canvas)
{
    struct sheet *sheet = sheet_of(view);
    struct buf headline = {0};
    int x = 1 + canvas_text(canvas, 1, 0, STYLE_TITLE, sheet->title);
    if (sheet->headline != NULL) sheet->headline(sheet, model, &headline);
    if (sheet->filter != NULL && sheet->filter[0] != 0) buf_printf(&headline, "  /%s", sheet->filter);
    canvas_put(canvas, x + 2, 0, canvas->width - x - 3, STYLE_NORMAL, buf_bytes(&headline));
    canvas_live(canvas, x + 2, 0, canvas->width - x - 3);
    view_draw_rule(canvas, 1);
    struct page out = {.canvas = canvas,
                       .glyphs = canvas->glyphs,
                       .top = sheet->top,
                       .height = sheet->height,
                       .selected = sheet->row_count > 0 ? sheet->selected : SIZE_MAX};
    sheet->write(sheet, &out, model);
    buf_deinit(&headline);
}

/* ---- keys ---- */

/* Rows are selected where there are some, else the page moves. */
static void move(struct view *view, long by)
{
    struct sheet *sheet = sheet_of(view);
    bool rows = sheet->row_count > 0;
    size_t *at = rows ? &sheet->selected : &sheet->top;
    size_t last = rows                           ? sheet->row_count - 1
                  : sheet->lines > sheet->height ? sheet->lines - sheet->height
                                                 : 0;
    size_t distance = (size_t)(by < 0 ? -by : by);
    if (by < 0)
        *at = *at > distance ? *at - distance : 0;
    else
        *at = last - (*at < last ? *at : last) > distance ? *at + distance : last;
}

static long page(const struct view *view)
{
    return (long)sheet_of(view)->height;
}

void sheet_leave(struct view *view, struct app *app)
{
    (void)view;
    app_leave(app);
}

void sheet_choose(struct view *view, struct app *app)
{
    struct sheet *sheet = sheet_of(view);
    if (sheet->choose != NULL && sheet->row_count > 0) sheet->choose(sheet, app);
}

void sheet_open_raft(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_RAFT);
}

void sheet_open_members(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_MEMBERS);
}

void sheet_open_watches(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_WATCHES);
}

void sheet_open_leases(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_LEASES);
}

void sheet_open_maintenance(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_MAINTENANCE);
}

void sheet_open_metrics(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_METRICS);
}

void sheet_open_auth(struct view *view, struct app *app)
{
    (void)view;
    app_switch(app, APP_AUTH);
}

/* ---- rows that are members ---- */

const struct model_member *sheet_selected_member(const struct sheet *sheet, const struct model *model)
{
    return sheet->selected < model->member_count ? model->members[sheet->selected] : NULL;
}

void sheet_open_member(struct sheet *sheet, struct app *app)
{
    const struct model_member *member = sheet_selected_member(sheet, app_model(app));
    if (member == NULL) return;
    view_member_set(app_view(app, APP_MEMBER), member->serial);
    app_open(app, APP_MEMBER);
}

/* ---- filter and life ---- */

static void set_filter(struct view *view, const char *text)
{
    struct sheet *sheet = sheet_of(view);
    char *copy = mem_strdup(text);
    free(sheet->filter);
    sheet->filter = copy;
}

static const char *filter_text(const struct view *view)
{
    return sheet_of(view)->filter;
}

bool sheet_passes(const struct sheet *sheet, const char *text)
{
    return sheet->filter == NULL || sheet->filter[0] == 0 || strcasestr(text, sheet->filter) != NULL;
}

void sheet_init(struct sheet *sheet, const char *name, const struct binding *bindings, size_t count)
{
    sheet->title = name;
    sheet->view = (struct view){
        .name = name,
        .bindings = bindings,
        .binding_count = count,
        .layout = layout,
        .draw = sheet_draw,
        .move = move,
        .page = page,
        .wheel_rows = 3,
        .free = sheet_free,
    };
}

void sheet_init_filter(struct sheet *sheet)
{
    sheet->filter = mem_strdup("");
    sheet->view.filter = set_filter;
    sheet->view.filter_text = filter_text;
}

void sheet_free(struct view *view)
{
    free(sheet_of(view)->filter);
    free(view);
}
