/* The members as the cluster lists them, and changing that: every change is an etcdctl command that is asked
 * about first and whose output is shown. */
#include "base/memory.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <inttypes.h>
#include <stdio.h>

static const struct table_column columns[] = {
    {"ID", 16, 0, TABLE_LEFT, 0},    {"NAME", 10, 16, TABLE_LEFT, 1},   {"ROLE", 9, 0, TABLE_LEFT, 2},
    {"PEER", 22, 32, TABLE_LEFT, 4}, {"CLIENT", 20, 32, TABLE_LEFT, 3}, {"VERSION", 8, 0, TABLE_LEFT, 5},
};

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static const char *role_of(const struct model *model, const struct model_member *member)
{
    if (member->name[0] == 0 && member->listed) return "unstarted";
    if (!member->is_up) return "down";
    if (member->has_id && member->id == model->leader) return "leader";
    return member->is_learner ? "learner" : "follower";
}

static void write_row(struct page *page, const struct table_layout *layout, const struct model *model,
                      const struct model_member *member)
{
    char id[24] = "?";
    int y = page_row(page, NULL);
    if (y < 0) return;
    if (member->has_id) snprintf(id, sizeof(id), "%" PRIx64, member->id);
    const char *const cells[COLUMNS] = {
        id,
        member->name[0] == 0 ? "?" : member->name,
        role_of(model, member),
        member->peer_url[0] == 0 ? "?" : member->peer_url,
        member->endpoint[0] == 0 ? "none told" : member->endpoint,
        member->is_fresh ? member->version : "?",
    };
    for (size_t place = 0; place < layout->count; place++) {
        size_t column = layout->shown[place].column;
        enum style style = column == 0                     ? STYLE_ACCENT
                           : column == 2 && !member->is_up ? STYLE_BAD
                                                           : STYLE_NORMAL;
        table_draw_cell(page->canvas, layout, columns, place, y, style, cells[column]);
    }
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    (void)sheet;
    struct table_layout layout;
    size_t learners = 0;
    page_table(page, &layout, columns, COLUMNS);
    for (size_t i = 0; i < model->member_count; i++) {
        write_row(page, &layout, model, model->members[i]);
        learners += model->members[i]->is_learner;
    }
    char text[96];
    size_t quorum = model->voters / 2 + 1;
    page_heading(page, "membership");
    page_since(page, model, "list told", &model->member_list);
    snprintf(text, sizeof(text), "%zu voters, %zu of them answer; %zu learners", model->voters,
             model->voters_up, learners);
    page_say(page, "members", text);
    snprintf(text, sizeof(text), "%zu; %zu more may fail", quorum,
             model->voters_up > quorum ? model->voters_up - quorum : 0);
    page_say(page, "quorum", text);
    page_say(page, "cluster is", model_health_name(model->health));
}

/* ---- keys ---- */

static const struct model_member *selected(struct view *view, struct app *app)
{
    const struct sheet *sheet = (const struct sheet *)(const void *)view;
    const struct model_member *member = sheet_selected_member(sheet, app_model(app));
    if (member == NULL || member->has_id) return member;
    app_message(app, MODEL_NOTE, "this member has not told its id");
    return NULL;
}

static void command_on_selected(struct view *view, struct app *app, const char *command)
{
    char line[64];
    const struct model_member *member = selected(view, app);
    if (member == NULL) return;
    snprintf(line, sizeof(line), "%s %" PRIx64, command, member->id);
    app_command(app, line);
}

/* The command asks itself. */
static void run_remove(struct view *view, struct app *app)
{
    command_on_selected(view, app, "member remove");
}

static void promote(struct view *view, struct app *app)
{
    command_on_selected(view, app, "member promote");
}

static void run_promote(struct view *view, struct app *app)
{
    const struct model_member *member = selected(view, app);
    if (member == NULL) return;
    if (member->is_learner)
        app_ask(app, promote, "make the learner %s a voter?", model_member_label(member).text);
    else
        app_message(app, MODEL_NOTE, "%s is no learner", model_member_label(member).text);
}

static void lead(struct view *view, struct app *app)
{
    command_on_selected(view, app, "move-leader");
}

static void run_lead(struct view *view, struct app *app)
{
    const struct model_member *member = selected(view, app);
    if (member == NULL) return;
    if (member->id == app_model(app)->leader)
        app_message(app, MODEL_NOTE, "%s leads already", model_member_label(member).text);
    else
        app_ask(app, lead, "hand the leadership to %s?", model_member_label(member).text);
}

static void add(struct view *view, struct app *app, struct bytes text)
{
    (void)view;
    char line[512];
    snprintf(line, sizeof(line), "member add %.*s", (int)(text.size < 450 ? text.size : 450), text.data);
    app_command(app, line);
}

static void run_add(struct view *view, struct app *app)
{
    (void)view;
    app_prompt(app, "member add ", BYTES_LITERAL("NAME --learner --peer-urls=http://"), add);
}

static const struct binding bindings[] = {
    {{INPUT_ENTER, INPUT_RIGHT}, "Enter", "page", "open the member's page", BINDING_BOTTOM, sheet_choose},
    {{'a'}, "a", "add", "add a member", BINDING_BOTTOM | BINDING_CHANGES, run_add},
    {{'p'}, "p", "promote", "make a learner a voter", BINDING_CHANGES, run_promote},
    {{'L'}, "L", "lead", "hand the leadership to it", BINDING_BOTTOM | BINDING_CHANGES, run_lead},
    {{'x', INPUT_DELETE},
     "x Del",
     "remove",
     "remove it from the cluster",
     BINDING_BOTTOM | BINDING_CHANGES,
     run_remove},
    SHEET_SIBLINGS,
    SHEET_BINDINGS,
};

struct view *view_members_new(void)
{
    struct sheet *sheet = mem_zalloc(1, sizeof(*sheet));
    sheet_init(sheet, "members", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet->write = write_page;
    sheet->choose = sheet_open_member;
    return &sheet->view;
}
