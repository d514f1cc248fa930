/* Who serves how many watchers, and whose fall behind. What they watch no member tells. */
#include "base/memory.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <math.h>
#include <stdio.h>

static const struct table_column columns[] = {
    {"MEMBER", 12, 24, TABLE_LEFT, 0}, {"WATCHERS", 8, 0, TABLE_RIGHT, 1}, {"STREAMS", 7, 0, TABLE_RIGHT, 2},
    {"SLOW", 5, 0, TABLE_RIGHT, 3},    {"PENDING", 7, 0, TABLE_RIGHT, 4},  {"EVENTS/s", 8, 0, TABLE_RIGHT, 5},
};

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]), COLUMN_SLOW = 3 };

static double value_of(const struct model_member *member, size_t column)
{
    const struct scrape *scrape = model_scrape(member, 0);
    const double values[COLUMNS] = {NAN,
                                    scrape->watchers,
                                    scrape->watch_streams,
                                    scrape->slow_watchers,
                                    scrape->pending_events,
                                    member->event_rate};
    return member->has_metrics ? values[column] : NAN;
}

static void write_row(struct page *page, const struct table_layout *layout, const struct model_member *member)
{
    int y = page_row(page, NULL);
    if (y < 0) return;
    for (size_t place = 0; place < layout->count; place++) {
        size_t column = layout->shown[place].column;
        double value = value_of(member, column);
        bool warn = column == COLUMN_SLOW && value > 0;
        struct model_label label = model_member_label(member);
        table_draw_cell(page->canvas, layout, columns, place, y,
                        warn          ? STYLE_WARNING
                        : column == 0 ? STYLE_ACCENT
                                      : STYLE_NORMAL,
                        column == 0 ? label.text : units_count(value).text);
        canvas_live(page->canvas, layout->shown[place].x, y, layout->shown[place].width);
    }
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    (void)sheet;
    struct table_layout layout;
    double slow = 0;
    page_table(page, &layout, columns, COLUMNS);
    for (size_t i = 0; i < model->member_count; i++) {
        write_row(page, &layout, model->members[i]);
        double more = value_of(model->members[i], COLUMN_SLOW);
        if (more > 0) slow += more;
    }
    page_heading(page, "what it means");
    if (slow > 0)
        page_note(page, STYLE_WARNING,
                  "%s watchers are behind: their clients read too slowly, or watch an old revision.",
                  units_count(slow).text);
    else
        page_note(page, STYLE_GOOD, "Every watcher has what has happened.");
    page_note(page, STYLE_DIM, "Pending: events not yet handed to watchers. Numbers are from /metrics.");
}

static void headline(struct sheet *sheet, const struct model *model, struct buf *out)
{
    (void)sheet;
    buf_printf(out, "%s watchers in all", units_count(model->watchers).text);
}

static const struct binding bindings[] = {SHEET_SIBLINGS, SHEET_BINDINGS};

struct view *view_watches_new(void)
{
    struct sheet *sheet = mem_zalloc(1, sizeof(*sheet));
    sheet_init(sheet, "watches", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet->write = write_page;
    sheet->headline = headline;
    return &sheet->view;
}
