#include "tui/view.h"

enum { FAR = 1 << 24 }; /* more rows than any view has */

void view_up(struct view *view, struct app *app)
{
    (void)app;
    view->move(view, -1);
}

void view_down(struct view *view, struct app *app)
{
    (void)app;
    view->move(view, 1);
}

void view_page_up(struct view *view, struct app *app)
{
    (void)app;
    view->move(view, -view->page(view));
}

void view_page_down(struct view *view, struct app *app)
{
    (void)app;
    view->move(view, view->page(view));
}

void view_first(struct view *view, struct app *app)
{
    (void)app;
    view->move(view, -FAR);
}

void view_last(struct view *view, struct app *app)
{
    (void)app;
    view->move(view, FAR);
}

void selection_fit(struct selection *selection, size_t count, size_t height)
{
    selection->count = count;
    selection->height = height == 0 ? 1 : height;
    if (selection->selected >= count) selection->selected = count == 0 ? 0 : count - 1;
    size_t last_top = count > selection->height ? count - selection->height : 0;
    if (selection->top > last_top) selection->top = last_top;
    if (selection->selected < selection->top) selection->top = selection->selected;
    if (selection->selected >= selection->top + selection->height)
        selection->top = selection->selected - selection->height + 1;
}

void selection_move(struct selection *selection, long rows)
{
    size_t by = (size_t)(rows < 0 ? -rows : rows);
    if (rows < 0)
        selection->selected = selection->selected > by ? selection->selected - by : 0;
    else
        selection->selected += by;
    selection_fit(selection, selection->count, selection->height);
}

void view_draw_rule(struct canvas *canvas, int y)
{
    canvas_fill(canvas, 0, y, canvas->width, STYLE_BORDER, canvas->glyphs->horizontal);
}

const char *view_severity_glyph(const struct glyphs *glyphs, enum model_severity severity)
{
    return severity == MODEL_ALERT ? glyphs->bad : severity == MODEL_WARNING ? glyphs->warning : glyphs->note;
}

enum style view_severity_style(enum model_severity severity)
{
    return severity == MODEL_ALERT ? STYLE_BAD : severity == MODEL_WARNING ? STYLE_WARNING : STYLE_NORMAL;
}
