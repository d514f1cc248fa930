/* One member's page: everything known about it. */
#include "base/memory.h"
#include "tui/app.h"
#include "tui/sparkline.h"
#include "tui/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAGE_HEADER = 2, LABEL_WIDTH = 22, LINES_MAX = 64 };

struct member_view {
    struct view view;
    uint64_t serial;
    size_t top, height, lines;
};

static struct member_view *member_view_of(const struct view *view)
{
    return (struct member_view *)(uintptr_t)view;
}

void view_member_set(struct view *view, uint64_t serial)
{
    member_view_of(view)->serial = serial;
    member_view_of(view)->top = 0;
}

/* Lines are drawn through a window: those above it and below it are only counted. */
struct page {
    struct canvas *canvas;
    const struct glyphs *glyphs;
    size_t top, height, at;
};

static int page_row(struct page *page)
{
    size_t line = page->at++;
    if (line < page->top || line >= page->top + page->height) return -1;
    return PAGE_HEADER + (int)(line - page->top);
}

static void say(struct page *page, const char *label, const char *value)
{
    int y = page_row(page);
    if (y < 0) return;
    canvas_left(page->canvas, 2, y, LABEL_WIDTH, STYLE_DIM, label);
    canvas_text(page->canvas, 2 + LABEL_WIDTH, y, STYLE_NORMAL, value);
    canvas_live(page->canvas, 2 + LABEL_WIDTH, y, page->canvas->width - LABEL_WIDTH - 2);
}

static void heading(struct page *page, const char *text)
{
    page_row(page);
    int y = page_row(page);
    if (y >= 0) canvas_text(page->canvas, 1, y, STYLE_HEADING, text);
}

static void graph(struct page *page, const char *label, const struct ring *ring, double floor)
{
    int y = page_row(page);
    if (y < 0) return;
    canvas_left(page->canvas, 2, y, LABEL_WIDTH, STYLE_DIM, label);
    int room = page->canvas->width - LABEL_WIDTH - 4;
    sparkline_draw(page->canvas, 2 + LABEL_WIDTH, y, room < 60 ? room : 60, ring, floor);
}

static void say_since(struct page *page, const struct model *model, const char *label,
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
    say(page, label, buf_string(&text));
    buf_deinit(&text);
}

static void say_identity(struct page *page, const struct model_member *member)
{
    char id[24] = "?";
    if (member->has_id) snprintf(id, sizeof(id), "%" PRIx64, member->id);
    say(page, "name", member->name[0] == 0 ? "?" : member->name);
    say(page, "id", id);
    say(page, "endpoint", member->endpoint[0] == 0 ? "none told" : member->endpoint);
    say(page, "peer URL", member->peer_url[0] == 0 ? "?" : member->peer_url);
}

/* Values of an answer that is too old to be shown as new are "?". */
static void say_status(struct page *page, const struct model *model, const struct model_member *member)
{
    bool fresh = member->is_fresh;
    heading(page, "status");
    say_since(page, model, "answered", &member->status);
    const char *role = !fresh                        ? "?"
                       : member->is_learner          ? "learner"
                       : member->id == model->leader ? "leader"
                                                     : "follower";
    say(page, "role", role);
    say(page, "version", fresh ? member->version : "?");
    say(page, "raft term", fresh ? units_grouped((int64_t)member->term).text : "?");
    say(page, "raft index", fresh ? units_grouped((int64_t)member->index).text : "?");
    say(page, "applied index", fresh ? units_grouped((int64_t)member->applied).text : "?");
    say(page, "behind the leader", units_count(member->lag).text);
    say(page, "revision", fresh ? units_grouped(member->revision).text : "?");
    say(page, "database", fresh ? units_bytes((double)member->db_size).text : "?");
    say(page, "in use", fresh ? units_bytes((double)member->db_in_use).text : "?");
    say(page, "quota used", units_percent(member->quota_used).text);
    say(page, "round trip", fresh ? units_seconds((double)member->round_trip / 1e9).text : "?");
    say(page, "reported errors", !fresh ? "?" : member->error_count == 0 ? "none" : member->errors);
}

static void say_metrics(struct page *page, const struct model *model, const struct model_member *member)
{
    heading(page, "metrics");
    say_since(page, model, "read", &member->metrics);
    if (!member->has_metrics) return;
    const struct scrape *scrape = &member->scrapes[(member->scrape_next + MODEL_WINDOW - 1) % MODEL_WINDOW];
    say(page, "WAL fsync p99", isnan(member->fsync) ? page->glyphs->none : units_seconds(member->fsync).text);
    say(page, "commit p99", isnan(member->commit) ? page->glyphs->none : units_seconds(member->commit).text);
    say(page, "put/s", units_count(member->put_rate).text);
    say(page, "range/s", units_count(member->range_rate).text);
    say(page, "delete/s", units_count(member->delete_rate).text);
    say(page, "txn/s", units_count(member->txn_rate).text);
    say(page, "failed calls/s", units_count(member->failure_rate).text);
    say(page, "proposals pending", units_count(scrape->proposals_pending).text);
    say(page, "proposals failed", units_count(scrape->proposals_failed).text);
    say(page, "leader changes", units_count(scrape->leader_changes).text);
    say(page, "slow applies", units_count(scrape->slow_applies).text);
    say(page, "watchers", units_count(scrape->watchers).text);
    say(page, "slow watchers", units_count(scrape->slow_watchers).text);
    say(page, "open files", units_count(scrape->open_files).text);
    say(page, "resident memory", units_bytes(scrape->resident).text);
    say(page, "CPU", units_percent(member->cpu).text);
}

static void say_all(struct page *page, const struct model *model, const struct model_member *member)
{
    say_identity(page, member);
    say_status(page, model, member);
    say_metrics(page, model, member);
    heading(page, "history");
    graph(page, "round trip", &member->round_trip_history, 0.001);
    graph(page, "WAL fsync p99", &member->fsync_history, 0.001);
    graph(page, "commit p99", &member->commit_history, 0.001);
}

static const struct model_member *shown_member(const struct view *view, const struct model *model)
{
    return model_member_by_serial((struct model *)(uintptr_t)model, member_view_of(view)->serial);
}

static void member_layout(struct view *view, const struct model *model, int width, int height)
{
    (void)width;
    struct member_view *page = member_view_of(view);
    page->height = height > PAGE_HEADER ? (size_t)(height - PAGE_HEADER) : 1;
    const struct model_member *member = shown_member(view, model);
    struct page counted = {.glyphs = glyphs_get(true)};
    if (member != NULL) say_all(&counted, model, member);
    page->lines = counted.at;
    size_t last = page->lines > page->height ? page->lines - page->height : 0;
    if (page->top > last) page->top = last;
}

static void member_draw(const struct view *view, const struct model *model, struct canvas *canvas)
{
    const struct member_view *page = member_view_of(view);
    const struct model_member *member = shown_member(view, model);
    canvas_text(canvas, 1, 0, STYLE_TITLE, "member");
    view_draw_rule(canvas, 1);
    if (member == NULL) {
        canvas_text(canvas, 2, PAGE_HEADER, STYLE_WARNING, "this member has left the cluster");
        return;
    }
    canvas_text(canvas, 9, 0, STYLE_ACCENT, model_member_label(member).text);
    const char *state = member->is_up ? "answers" : "does not answer";
    canvas_printf(canvas, canvas->width - (int)strlen(state) - 3, 0, member->is_up ? STYLE_GOOD : STYLE_BAD,
                  "%s %s", member->is_up ? canvas->glyphs->good : canvas->glyphs->bad, state);
    struct page out = {.canvas = canvas, .glyphs = canvas->glyphs, .top = page->top, .height = page->height};
    say_all(&out, model, member);
}

static void scroll(struct view *view, int rows)
{
    struct member_view *page = member_view_of(view);
    size_t by = (size_t)abs(rows);
    if (rows < 0)
        page->top = page->top > by ? page->top - by : 0;
    else
        page->top += by; /* the layout keeps it inside */
}

static void run_up(struct view *view, struct app *app)
{
    (void)app;
    scroll(view, -1);
}

static void run_down(struct view *view, struct app *app)
{
    (void)app;
    scroll(view, 1);
}

static void run_page_up(struct view *view, struct app *app)
{
    (void)app;
    scroll(view, -(int)member_view_of(view)->height);
}

static void run_page_down(struct view *view, struct app *app)
{
    (void)app;
    scroll(view, (int)member_view_of(view)->height);
}

static void run_first(struct view *view, struct app *app)
{
    (void)app;
    scroll(view, -LINES_MAX);
}

static void run_last(struct view *view, struct app *app)
{
    (void)app;
    scroll(view, LINES_MAX);
}

static void run_leave(struct view *view, struct app *app)
{
    (void)view;
    app_leave(app);
}

static const struct binding bindings[] = {
    {{INPUT_UP, 'k'}, "Up k", "up", "a line up", 0, run_up},
    {{INPUT_DOWN, 'j'}, "Down j", "down", "a line down", 0, run_down},
    {{INPUT_PAGE_UP, 'b'}, "PgUp b", "page up", "a page up", BINDING_BOTTOM, run_page_up},
    {{INPUT_PAGE_DOWN, ' '}, "PgDn Space", "page down", "a page down", BINDING_BOTTOM, run_page_down},
    {{INPUT_HOME, 'g'}, "Home g", "start", "to the start", 0, run_first},
    {{INPUT_END, 'G'}, "End G", "end", "to the end", 0, run_last},
    {{INPUT_LEFT, 'h'}, "Left h", "back", "back to the overview", BINDING_BOTTOM, run_leave},
};

static void member_free(struct view *view)
{
    free(view);
}

struct view *view_member_new(void)
{
    struct member_view *page = mem_zalloc(1, sizeof(*page));
    page->view = (struct view){
        .name = "member",
        .bindings = bindings,
        .binding_count = sizeof(bindings) / sizeof(bindings[0]),
        .layout = member_layout,
        .draw = member_draw,
        .wheel = scroll,
        .free = member_free,
    };
    return &page->view;
}
