/* One member's page: everything known about it. */
#include "base/memory.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

struct member_view {
    struct sheet sheet;
    uint64_t serial;
};

static struct member_view *member_view_of(const struct view *view)
{
    return (struct member_view *)(uintptr_t)view;
}

void view_member_set(struct view *view, uint64_t serial)
{
    member_view_of(view)->serial = serial;
    member_view_of(view)->sheet.top = 0;
}

static void say_identity(struct page *page, const struct model_member *member)
{
    char id[24] = "?";
    if (member->has_id) snprintf(id, sizeof(id), "%" PRIx64, member->id);
    page_say(page, "name", member->name[0] == 0 ? "?" : member->name);
    page_say(page, "id", id);
    page_say(page, "endpoint", member->endpoint[0] == 0 ? "none told" : member->endpoint);
    page_say(page, "peer URL", member->peer_url[0] == 0 ? "?" : member->peer_url);
}

/* Values of an answer that is too old to be shown as new are "?". */
static void say_status(struct page *page, const struct model *model, const struct model_member *member)
{
    bool fresh = member->is_fresh;
    page_heading(page, "status");
    page_since(page, model, "answered", &member->status);
    const char *role = !fresh                        ? "?"
                       : member->is_learner          ? "learner"
                       : member->id == model->leader ? "leader"
                                                     : "follower";
    page_say(page, "role", role);
    page_say(page, "version", fresh ? member->version : "?");
    page_say(page, "raft term", fresh ? units_grouped((int64_t)member->term).text : "?");
    page_say(page, "raft index", fresh ? units_grouped((int64_t)member->index).text : "?");
    page_say(page, "applied index", fresh ? units_grouped((int64_t)member->applied).text : "?");
    page_say(page, "behind the leader", units_count(member->lag).text);
    page_say(page, "revision", fresh ? units_grouped(member->revision).text : "?");
    page_say(page, "database", fresh ? units_bytes((double)member->db_size).text : "?");
    page_say(page, "in use", fresh ? units_bytes((double)member->db_in_use).text : "?");
    page_say(page, "quota used", units_percent(member->quota_used).text);
    page_say(page, "round trip", fresh ? units_seconds((double)member->round_trip / 1e9).text : "?");
    page_say(page, "reported errors", !fresh ? "?" : member->error_count == 0 ? "none" : member->errors);
}

static void say_metrics(struct page *page, const struct model *model, const struct model_member *member)
{
    page_heading(page, "metrics");
    page_since(page, model, "read", &member->metrics);
    if (!member->has_metrics) return;
    const struct scrape *scrape = model_scrape(member, 0);
    page_say(page, "WAL fsync p99",
             isnan(member->fsync) ? page->glyphs->none : units_seconds(member->fsync).text);
    page_say(page, "commit p99",
             isnan(member->commit) ? page->glyphs->none : units_seconds(member->commit).text);
    page_say(page, "put/s", units_count(member->put_rate).text);
    page_say(page, "range/s", units_count(member->range_rate).text);
    page_say(page, "delete/s", units_count(member->delete_rate).text);
    page_say(page, "txn/s", units_count(member->txn_rate).text);
    page_say(page, "failed calls/s", units_count(member->failure_rate).text);
    page_say(page, "proposals pending", units_count(scrape->proposals_pending).text);
    page_say(page, "proposals failed", units_count(scrape->proposals_failed).text);
    page_say(page, "leader changes", units_count(scrape->leader_changes).text);
    page_say(page, "slow applies", units_count(scrape->slow_applies).text);
    page_say(page, "watchers", units_count(scrape->watchers).text);
    page_say(page, "slow watchers", units_count(scrape->slow_watchers).text);
    page_say(page, "open files", units_count(scrape->open_files).text);
    page_say(page, "resident memory", units_bytes(scrape->resident).text);
    page_say(page, "CPU", units_percent(member->cpu).text);
}

static void say_all(struct page *page, const struct model *model, const struct model_member *member)
{
    say_identity(page, member);
    say_status(page, model, member);
    say_metrics(page, model, member);
    page_heading(page, "history");
    page_graph(page, "round trip", &member->round_trip_history, 0.001);
    page_graph(page, "WAL fsync p99", &member->fsync_history, 0.001);
    page_graph(page, "commit p99", &member->commit_history, 0.001);
}

static const struct model_member *shown_member(const struct sheet *sheet, const struct model *model)
{
    return model_member_by_serial((struct model *)(uintptr_t)model, member_view_of(&sheet->view)->serial);
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    const struct model_member *member = shown_member(sheet, model);
    if (member == NULL)
        page_note(page, STYLE_WARNING, "this member has left the cluster");
    else
        say_all(page, model, member);
}

static void draw(const struct view *view, const struct model *model, struct canvas *canvas)
{
    const struct model_member *member = shown_member((const struct sheet *)(const void *)view, model);
    sheet_draw(view, model, canvas);
    if (member == NULL) return;
    const char *state = member->is_up ? "answers" : "does not answer";
    canvas_text(canvas, 9, 0, STYLE_ACCENT, model_member_label(member).text);
    canvas_printf(canvas, canvas->width - (int)strlen(state) - 3, 0, member->is_up ? STYLE_GOOD : STYLE_BAD,
                  "%s %s", member->is_up ? canvas->glyphs->good : canvas->glyphs->bad, state);
}

static const struct binding bindings[] = {SHEET_BINDINGS};

struct view *view_member_new(void)
{
    struct member_view *view = mem_zalloc(1, sizeof(*view));
    sheet_init(&view->sheet, "member", bindings, sizeof(bindings) / sizeof(bindings[0]));
    view->sheet.write = write_page;
    view->sheet.view.draw = draw;
    return &view->sheet.view;
}
