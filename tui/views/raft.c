/* How far each member is in the log, and who led when. */
#include "base/memory.h"
#include "tui/bar.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <math.h>
#include <stdio.h>

enum { BAR_COLUMN = 1, EVENTS_SHOWN = 50, CELL = 96 };

static const struct table_column columns[] = {
    {"MEMBER", 12, 20, TABLE_LEFT, 0}, {"COMMITTED", 16, 40, TABLE_LEFT, 3},
    {"INDEX", 13, 0, TABLE_RIGHT, 1},  {"APPLIED", 13, 0, TABLE_RIGHT, 4},
    {"LAG", 5, 0, TABLE_RIGHT, 2},     {"PENDING", 7, 0, TABLE_RIGHT, 6},
    {"LATE", 5, 0, TABLE_RIGHT, 7},    {"HEARD", 6, 0, TABLE_RIGHT, 5},
};

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static void say(char text[CELL], bool known, struct unit_text value)
{
    snprintf(text, CELL, "%s", known ? value.text : "?");
}

static void cell_text(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, size_t column, char text[CELL])
{
    bool fresh = member->is_fresh, leads = member->has_id && member->id == model->leader;
    int64_t age = model_age(model, &member->status);
    text[0] = 0;
    switch (column) {
    case 0:
        snprintf(text, CELL, "%s %s", leads ? glyphs->leader : " ", model_member_label(member).text);
        break;
    case 2:
        say(text, fresh, units_grouped((int64_t)member->index));
        break;
    case 3:
        say(text, fresh, units_grouped((int64_t)member->applied));
        break;
    case 4:
        if (fresh && leads)
            snprintf(text, CELL, "%s", glyphs->none);
        else
            say(text, fresh, units_count(member->lag));
        break;
    case 5:
        say(text, member->has_metrics, units_count(model_scrape(member, 0)->proposals_pending));
        break;
    case 6:
        say(text, member->has_metrics, units_count(model_scrape(member, 0)->heartbeat_failures));
        break;
    case 7:
        say(text, age >= 0, units_age(age));
        break;
    default:
        break;
    }
}

static uint64_t furthest(const struct model *model)
{
    uint64_t most = 0;
    for (size_t i = 0; i < model->member_count; i++)
        if (model->members[i]->is_fresh && model->members[i]->index > most) most = model->members[i]->index;
    return most;
}

static void write_member(struct page *page, const struct table_layout *layout, const struct model *model,
                         const struct model_member *member)
{
    int y = page_row(page, NULL);
    if (y < 0) return;
    for (size_t place = 0; place < layout->count; place++) {
        size_t column = layout->shown[place].column;
        char text[CELL];
        cell_text(model, member, page->glyphs, column, text);
        enum style style = column == 0 ? STYLE_ACCENT : member->is_up ? STYLE_NORMAL : STYLE_BAD;
        table_draw_cell(page->canvas, layout, columns, place, y, style, text);
        canvas_live(page->canvas, layout->shown[place].x, y, layout->shown[place].width);
        uint64_t most = furthest(model);
        if (column == BAR_COLUMN && member->is_fresh && most > 0)
            bar_draw(page->canvas, layout->shown[place].x, y, layout->shown[place].width, STYLE_GRAPH,
                     (double)member->index / (double)most);
    }
}

static void write_events(struct page *page, const struct model *model)
{
    page_heading(page, "leaders and terms seen");
    size_t shown = 0;
    for (size_t i = 0; i < model->event_count && shown < EVENTS_SHOWN; i++) {
        const struct model_event *event = model_event_at(model, i);
        if (strstr(event->text, "leader") == NULL) continue;
        shown++;
        page_note(page, view_severity_style(event->severity), "%s  %s", units_clock(event->wall).text,
                  event->text);
    }
    if (shown == 0)
        page_note(page, STYLE_DIM, "no change since the start, %s ago",
                  model->leader_since == 0 ? "?" : units_age(model->wall - model->leader_since).text);
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    (void)sheet;
    struct table_layout layout;
    page_table(page, &layout, columns, COLUMNS);
    for (size_t i = 0; i < model->member_count; i++) write_member(page, &layout, model, model->members[i]);
    page_heading(page, "proposals");
    page_say(page, "committed/s", units_count(model->proposal_rate).text);
    page_graph(page, "the last while", &model->proposal_history, 1);
    page_say(page, "backend commit p99", units_seconds(model->commit).text);
    page_say(page, "worst WAL fsync p99", units_seconds(model->fsync_worst).text);
    write_events(page, model);
}

static void headline(struct sheet *sheet, const struct model *model, struct buf *out)
{
    (void)sheet;
    const struct model_member *leader = model_member_by_id(model, model->leader);
    buf_printf(out, "term %s   leader %s   quorum %zu of %zu", units_grouped((int64_t)model->term).text,
               leader == NULL ? "?" : model_member_label(leader).text, model->voters / 2 + 1, model->voters);
    if (furthest(model) > 0) buf_printf(out, "   commit %s", units_grouped((int64_t)furthest(model)).text);
}

static const struct binding bindings[] = {
    {{INPUT_ENTER, INPUT_RIGHT}, "Enter", "member", "open the member's page", BINDING_BOTTOM, sheet_choose},
    SHEET_SIBLINGS,
    SHEET_BINDINGS,
};

struct view *view_raft_new(void)
{
    struct sheet *sheet = mem_zalloc(1, sizeof(*sheet));
    sheet_init(sheet, "raft", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet->write = write_page;
    sheet->headline = headline;
    sheet->choose = sheet_open_member;
    return &sheet->view;
}
