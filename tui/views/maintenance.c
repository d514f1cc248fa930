/* Space, alarms, and what is done about them. */
#include "base/memory.h"
#include "tui/bar.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { BAR = 5 };

static const struct table_column columns[] = {
    {"MEMBER", 12, 20, TABLE_LEFT, 0}, {"DB", 6, 0, TABLE_RIGHT, 1},     {"IN-USE", 6, 0, TABLE_RIGHT, 2},
    {"FREE", 5, 0, TABLE_RIGHT, 3},    {"QUOTA", 6, 0, TABLE_RIGHT, 5},  {"USED", 10, 24, TABLE_LEFT, 6},
    {"%", 4, 0, TABLE_RIGHT, 4},       {"VERSION", 8, 0, TABLE_LEFT, 7},
};

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static double free_part(const struct model_member *member)
{
    if (!member->is_fresh || member->db_size <= 0) return NAN;
    return 1 - (double)member->db_in_use / (double)member->db_size;
}

static double bytes_of_member(const struct model_member *member, int64_t bytes)
{
    return member->is_fresh && bytes > 0 ? (double)bytes : NAN;
}

/* Releases before 3.6 tell it in their metrics only. */
static double quota_of(const struct model_member *member)
{
    if (member->is_fresh && member->quota > 0) return (double)member->quota;
    if (!member->has_metrics) return NAN;
    return model_scrape(member, 0)->quota;
}

static void write_row(struct page *page, const struct table_layout *layout, const struct model_member *member)
{
    int y = page_row(page, NULL);
    if (y < 0) return;
    const struct model_label label = model_member_label(member);
    const struct unit_text db = units_bytes(bytes_of_member(member, member->db_size)),
                           used = units_bytes(bytes_of_member(member, member->db_in_use)),
                           rest = units_percent(free_part(member)), quota = units_bytes(quota_of(member)),
                           part = units_percent(member->quota_used);
    const char *const cells[COLUMNS] = {label.text, db.text,
                                        used.text,  rest.text,
                                        quota.text, "",
                                        part.text,  member->is_fresh ? member->version : "?"};
    for (size_t place = 0; place < layout->count; place++) {
        size_t column = layout->shown[place].column;
        table_draw_cell(page->canvas, layout, columns, place, y, column == 0 ? STYLE_ACCENT : STYLE_NORMAL,
                        cells[column]);
        canvas_live(page->canvas, layout->shown[place].x, y, layout->shown[place].width);
        if (column == BAR)
            bar_draw(page->canvas, layout->shown[place].x, y, layout->shown[place].width, STYLE_GRAPH,
                     member->quota_used);
    }
}

static void write_alarms(struct page *page, const struct model *model)
{
    page_heading(page, "alarms");
    for (size_t i = 0; i < model->alarm_count; i++) {
        const struct model_member *member = model_member_by_id(model, model->alarms[i].member);
        const ProtobufCEnumValue *kind =
            protobuf_c_enum_descriptor_get_value(&etcdserverpb__alarm_type__descriptor,
                                                 model->alarms[i].kind);
        page_note(page, STYLE_BAD, "%s %s of %s", page->glyphs->bad, kind == NULL ? "unknown" : kind->name,
                  member == NULL ? "a member that is gone" : model_member_label(member).text);
    }
    if (model->alarm_count > 0) return;
    if (model_is_fresh(model, &model->alarm_list))
        page_note(page, STYLE_GOOD, "%s none", page->glyphs->good);
    else
        page_note(page, STYLE_DIM, "? %s", model->alarm_list.why);
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    (void)sheet;
    struct table_layout layout;
    page_table(page, &layout, columns, COLUMNS);
    for (size_t i = 0; i < model->member_count; i++) write_row(page, &layout, model->members[i]);
    write_alarms(page, model);
    page_heading(page, "history");
    page_say(page, "revision", units_grouped(model->revision).text);
    page_note(page, STYLE_DIM, "Compaction forgets old revisions; defragmentation gives their pages back.");
}

/* ---- keys ---- */

/* The commands that lose something or stop a member ask themselves. */
static void run_defragment(struct view *view, struct app *app)
{
    char line[MODEL_TEXT + 32];
    const struct sheet *sheet = (const struct sheet *)(const void *)view;
    const struct model_member *member = sheet_selected_member(sheet, app_model(app));
    if (member == NULL) return;
    snprintf(line, sizeof(line), "--endpoints=%s defrag", member->endpoint);
    app_command(app, line);
}

static void run_hash(struct view *view, struct app *app)
{
    (void)view;
    app_command(app, "endpoint hashkv --cluster");
}

static void run_disarm(struct view *view, struct app *app)
{
    (void)view;
    if (app_model(app)->alarm_count == 0)
        app_message(app, MODEL_NOTE, "there is no alarm");
    else
        app_command(app, "alarm disarm");
}

static void compact(struct view *view, struct app *app, struct bytes text)
{
    (void)view;
    char line[64];
    snprintf(line, sizeof(line), "compaction %.*s", (int)(text.size < 40 ? text.size : 40), text.data);
    app_command(app, line);
}

static void run_compact(struct view *view, struct app *app)
{
    (void)view;
    char revision[32];
    snprintf(revision, sizeof(revision), "%" PRId64, app_model(app)->revision);
    app_prompt(app, "compact up to revision ", bytes_from_string(revision), compact);
}

static const struct binding bindings[] = {
    {{'D'},
     "D",
     "defrag",
     "defragment the selected member",
     BINDING_BOTTOM | BINDING_CHANGES,
     run_defragment},
    {{'H'}, "H", "hash", "compare the members' hashes of the keys", BINDING_BOTTOM, run_hash},
    {{'c'}, "c", "compact", "forget old revisions", BINDING_BOTTOM | BINDING_CHANGES, run_compact},
    {{'x'}, "x", "disarm", "disarm all alarms", BINDING_BOTTOM | BINDING_CHANGES, run_disarm},
    SHEET_SIBLINGS,
    SHEET_BINDINGS,
};

struct view *view_maintenance_new(void)
{
    struct sheet *sheet = mem_zalloc(1, sizeof(*sheet));
    sheet_init(sheet, "maintenance", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet->write = write_page;
    return &sheet->view;
}
