/* The cluster at a glance: who is there, who leads, how fast, how full, what is wrong, what happened. */
#include "base/memory.h"
#include "tui/bar.h"
#include "tui/findings.h"
#include "tui/sheet.h"
#include "tui/sparkline.h"
#include "tui/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HEADER_ROWS = 3,
    TABLE_X = 2,
    GRAPH_LABEL = 14,
    GRAPH_VALUE = 7,
    GRAPH_ROWS_SMALL = 3,
    FINDINGS_SHOWN = 6,
    EVENTS_SHOWN = 10,
    EVENTS_PRINTED = 20,
    BAR_WIDTH = 3,
};

struct overview {
    struct view view;
    struct selection members;
    uint64_t shown[MODEL_MEMBERS_MAX]; /* serials of the rows that pass the filter */
    size_t shown_count;
    uint64_t selected; /* serial */
    char *filter;
    /* Where what is, as of the last layout; rows of 0: not shown. */
    struct place {
        int y, rows;
    } table, graphs, findings, events;
    int width;
};

/* ---- Cells of the table of members ---- */

struct cell {
    char text[MODEL_TEXT];
    enum style style;
    bool is_live;
};

#define SAY(cell, ...) snprintf((cell)->text, sizeof((cell)->text), __VA_ARGS__)

/* "?" and how old the last answer is. */
static void say_unknown(struct cell *cell, const struct model *model, const struct model_fetch *fetch)
{
    int64_t age = model_age(model, fetch);
    if (age < 0)
        SAY(cell, "?");
    else
        SAY(cell, "?%s", units_age(age).text);
    cell->style = STYLE_DIM;
}

static bool is_leader(const struct model *model, const struct model_member *member)
{
    return member->has_id && member->id == model->leader && model->leader != 0;
}

typedef void cell_fn(const struct model *model, const struct model_member *member,
                     const struct glyphs *glyphs, struct cell *cell);

static void cell_name(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, struct cell *cell)
{
    (void)model;
    (void)glyphs;
    cell->style = STYLE_ACCENT;
    SAY(cell, "%s", member->name[0] != 0 || member->has_id ? model_member_label(member).text : "?");
}

static void cell_endpoint(const struct model *model, const struct model_member *member,
                          const struct glyphs *glyphs, struct cell *cell)
{
    (void)model;
    (void)glyphs;
    const char *scheme = strstr(member->endpoint, "://");
    SAY(cell, "%s", scheme == NULL ? member->endpoint : scheme + 3);
}

static void cell_role(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, struct cell *cell)
{
    if (!member->is_up) {
        bool is_asked = member->status.asked;
        SAY(cell, "%s %s", is_asked ? glyphs->bad : glyphs->unknown,
            member->endpoint[0] == 0 ? "unstarted"
            : is_asked               ? "down"
                                     : "asking");
        cell->style = is_asked ? STYLE_BAD : STYLE_DIM;
    } else if (is_leader(model, member)) {
        SAY(cell, "%s leader", glyphs->leader);
        cell->style = STYLE_ACCENT;
    } else if (member->leader == 0) {
        SAY(cell, "%s electing", glyphs->warning);
        cell->style = STYLE_BAD;
    } else {
        SAY(cell, "  %s", member->is_learner ? "learner" : "follower");
    }
}

static void cell_version(const struct model *model, const struct model_member *member,
                         const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else
        SAY(cell, "%s", member->version);
}

static void cell_lag(const struct model *model, const struct model_member *member,
                     const struct glyphs *glyphs, struct cell *cell)
{
    cell->is_live = true;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else if (is_leader(model, member))
        SAY(cell, "%s", glyphs->none);
    else
        SAY(cell, "%s", units_count(member->lag).text);
}

static void cell_round_trip(const struct model *model, const struct model_member *member,
                            const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    cell->is_live = true;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else
        SAY(cell, "%s", units_seconds((double)member->round_trip / 1e9).text);
}

/* A number from /metrics; nothing observed is a dash, not read is "?". */
static void say_metric(struct cell *cell, const struct model *model, const struct model_member *member,
                       const struct glyphs *glyphs, double value, struct unit_text text)
{
    cell->is_live = true;
    if (!member->has_metrics)
        say_unknown(cell, model, &member->metrics);
    else
        SAY(cell, "%s", isnan(value) ? glyphs->none : text.text);
}

static void cell_fsync(const struct model *model, const struct model_member *member,
                       const struct glyphs *glyphs, struct cell *cell)
{
    say_metric(cell, model, member, glyphs, member->fsync, units_seconds(member->fsync));
    if (!member->has_metrics || !(member->fsync > FINDINGS_FSYNC_SLOW)) return;
    cell->style = STYLE_WARNING;
    strncat(cell->text, "!", sizeof(cell->text) - strlen(cell->text) - 1);
}

static void cell_db(const struct model *model, const struct model_member *member, const struct glyphs *glyphs,
                    struct cell *cell)
{
    (void)glyphs;
    cell->is_live = true;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else
        SAY(cell, "%s", units_bytes((double)member->db_size).text);
}

/* The bar before it is drawn apart. */
static void cell_use(const struct model *model, const struct model_member *member,
                     const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    cell->is_live = true;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else
        SAY(cell, "%s", units_percent(member->quota_used).text);
    if (member->quota_used >= FINDINGS_QUOTA_HIGH) cell->style = STYLE_WARNING;
}

static void cell_id(const struct model *model, const struct model_member *member, const struct glyphs *glyphs,
                    struct cell *cell)
{
    (void)model;
    (void)glyphs;
    if (member->has_id)
        SAY(cell, "%" PRIx64, member->id);
    else
        SAY(cell, "?");
}

static void cell_peer(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, struct cell *cell)
{
    (void)model;
    (void)glyphs;
    const char *scheme = strstr(member->peer_url, "://");
    SAY(cell, "%s", member->peer_url[0] == 0 ? "?" : scheme == NULL ? member->peer_url : scheme + 3);
}

static void say_grouped(struct cell *cell, const struct model *model, const struct model_member *member,
                        uint64_t value)
{
    cell->is_live = true;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else
        SAY(cell, "%s", units_grouped((int64_t)value).text);
}

static void cell_term(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    say_grouped(cell, model, member, member->term);
}

static void cell_applied(const struct model *model, const struct model_member *member,
                         const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    say_grouped(cell, model, member, member->applied);
}

static void cell_index(const struct model *model, const struct model_member *member,
                       const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    say_grouped(cell, model, member, member->index);
}

static void cell_in_use(const struct model *model, const struct model_member *member,
                        const struct glyphs *glyphs, struct cell *cell)
{
    (void)glyphs;
    cell->is_live = true;
    if (!member->is_fresh)
        say_unknown(cell, model, &member->status);
    else
        SAY(cell, "%s", units_bytes((double)member->db_in_use).text);
}

static void cell_files(const struct model *model, const struct model_member *member,
                       const struct glyphs *glyphs, struct cell *cell)
{
    double value = model_scrape(member, 0)->open_files;
    say_metric(cell, model, member, glyphs, value, units_count(value));
}

static void cell_slow(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, struct cell *cell)
{
    double value = model_scrape(member, 0)->slow_applies;
    say_metric(cell, model, member, glyphs, value, units_count(value));
}

static void cell_puts(const struct model *model, const struct model_member *member,
                      const struct glyphs *glyphs, struct cell *cell)
{
    say_metric(cell, model, member, glyphs, member->put_rate, units_count(member->put_rate));
}

static void cell_ranges(const struct model *model, const struct model_member *member,
                        const struct glyphs *glyphs, struct cell *cell)
{
    say_metric(cell, model, member, glyphs, member->range_rate, units_count(member->range_rate));
}

static void cell_commit(const struct model *model, const struct model_member *member,
                        const struct glyphs *glyphs, struct cell *cell)
{
    say_metric(cell, model, member, glyphs, member->commit, units_seconds(member->commit));
}

static void cell_memory(const struct model *model, const struct model_member *member,
                        const struct glyphs *glyphs, struct cell *cell)
{
    double value = model_scrape(member, 0)->resident;
    say_metric(cell, model, member, glyphs, value, units_bytes(value));
}

static void cell_cpu(const struct model *model, const struct model_member *member,
                     const struct glyphs *glyphs, struct cell *cell)
{
    say_metric(cell, model, member, glyphs, member->cpu, units_percent(member->cpu));
}

static void cell_watchers(const struct model *model, const struct model_member *member,
                          const struct glyphs *glyphs, struct cell *cell)
{
    double value = model_scrape(member, 0)->watchers;
    say_metric(cell, model, member, glyphs, value, units_count(value));
}

enum { COLUMN_USE = 8 };

/* Title, width, greatest width, alignment, rank. */
static const struct table_column columns[] = {
    {"MEMBER", 8, 16, TABLE_LEFT, 0},
    {"ENDPOINT", 18, 28, TABLE_LEFT, 2},
    {"  ROLE", 10, 0, TABLE_LEFT, 1},
    {"VER", 6, 0, TABLE_LEFT, 8},
    {"LAG", 4, 0, TABLE_RIGHT, 7},
    {"RTT", 5, 0, TABLE_RIGHT, 5},
    {"FSYNC", 6, 0, TABLE_RIGHT, 6},
    {"DB", 5, 0, TABLE_RIGHT, 3},
    {"USE", BAR_WIDTH + 5, 0, TABLE_RIGHT, 4},
    {"ID", 16, 0, TABLE_LEFT, 10},
    {"PEER", 18, 28, TABLE_LEFT, 11},
    {"APPLIED", 11, 0, TABLE_RIGHT, 12},
    {"INDEX", 11, 0, TABLE_RIGHT, 13},
    {"IN-USE", 6, 0, TABLE_RIGHT, 14},
    {"FILES", 5, 0, TABLE_RIGHT, 15},
    {"SLOW", 5, 0, TABLE_RIGHT, 16},
    {"TERM", 6, 0, TABLE_RIGHT, 17},
    {"PUT/s", 5, 0, TABLE_RIGHT, 18},
    {"RANGE/s", 7, 0, TABLE_RIGHT, 19},
    {"COMMIT", 6, 0, TABLE_RIGHT, 20},
    {"WATCH", 5, 0, TABLE_RIGHT, 21},
    {"RSS", 5, 0, TABLE_RIGHT, 22},
    {"CPU", 4, 0, TABLE_RIGHT, 23},
};

static cell_fn *const cells[] = {
    cell_name,   cell_endpoint, cell_role,     cell_version, cell_lag,  cell_round_trip,
    cell_fsync,  cell_db,       cell_use,      cell_id,      cell_peer, cell_applied,
    cell_index,  cell_in_use,   cell_files,    cell_slow,    cell_term, cell_puts,
    cell_ranges, cell_commit,   cell_watchers, cell_memory,  cell_cpu,
};

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
_Static_assert(sizeof(cells) / sizeof(cells[0]) == COLUMNS, "one function per column");

/* ---- Drawing ---- */

static enum style health_style(enum model_health health)
{
    static const enum style styles[] = {STYLE_DIM, STYLE_GOOD, STYLE_WARNING, STYLE_BAD};
    return styles[health];
}

static const char *health_glyph(const struct glyphs *glyphs, enum model_health health)
{
    const char *const signs[] = {glyphs->unknown, glyphs->good, glyphs->warning, glyphs->bad};
    return signs[health];
}

static int draw_value(struct canvas *canvas, int x, int y, const char *label, const char *value,
                      int columns_wide)
{
    x += canvas_printf(canvas, x, y, STYLE_DIM, "%s ", label);
    canvas_right(canvas, x, y, columns_wide, STYLE_NORMAL, value);
    canvas_live(canvas, x, y, columns_wide);
    return x + columns_wide + 1;
}

static void draw_title(const struct model *model, struct canvas *canvas)
{
    struct buf health = {0};
    buf_printf(&health, "%s %s %zu/%zu", health_glyph(canvas->glyphs, model->health),
               model_health_name(model->health), model->members_up, model->member_count);
    int width = canvas_text_width(canvas, buf_bytes(&health));
    int right = canvas->width - width - 1;
    int x = 10;
    if (x <= right) canvas_text(canvas, 1, 0, STYLE_TITLE, "etcdtop");
    if (model->has_cluster_id && x + 16 < right)
        x += canvas_printf(canvas, x, 0, STYLE_ACCENT, "%016" PRIx64, model->cluster_id) + 2;
    if (model->revision > 0 && x + 26 < right) {
        x = draw_value(canvas, x, 0, "rev", units_grouped(model->revision).text, 13);
        if (x + 10 < right) draw_value(canvas, x, 0, "term", units_grouped((int64_t)model->term).text, 5);
    }
    canvas_text(canvas, right < 0 ? 0 : right, 0, health_style(model->health), buf_string(&health));
    buf_deinit(&health);
}

static void say_leader(const struct model *model, const struct glyphs *glyphs, struct buf *out)
{
    const struct model_member *leader = model_member_by_id(model, model->leader);
    if (model->leader != 0)
        buf_printf(out, "%s (%s%s)", leader == NULL ? "?" : model_member_label(leader).text,
                   model->leader_since_is_known ? "" : ">",
                   units_age(model->wall - model->leader_since).text);
    else if (model->leaderless_since != 0)
        buf_printf(out, "%s NONE (%s)", glyphs->bad, units_age(model->wall - model->leaderless_since).text);
    else
        buf_append_string(out, "?");
}

static void draw_activity(const struct model *model, struct canvas *canvas)
{
    struct buf leader = {0};
    say_leader(model, canvas->glyphs, &leader);
    int x = 1 + canvas_text(canvas, 1, 1, STYLE_DIM, "leader ");
    bool is_lost = model->leader == 0 && model->leaderless_since != 0;
    int right = canvas->width - 9;
    x += canvas_put(canvas, x, 1, right - 1 - x, is_lost ? STYLE_BAD : STYLE_ACCENT, buf_bytes(&leader)) + 2;
    buf_deinit(&leader);
    const struct {
        const char *label;
        double value;
        const char *unit;
    } values[] = {{"put", model->put_rate, "/s"},
                  {"range", model->range_rate, "/s"},
                  {"watch", model->watchers, ""},
                  {"leases", model_is_fresh(model, &model->lease_list) ? model->leases : NAN, ""},
                  {"txn", model->txn_rate, "/s"},
                  {"keys", model->keys, ""}};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int field = 5 + (int)strlen(values[i].unit);
        if (x + (int)strlen(values[i].label) + 1 + field >= right) continue;
        char text[48];
        snprintf(text, sizeof(text), "%s%s", units_count(values[i].value).text, values[i].unit);
        x = draw_value(canvas, x, 1, values[i].label, text, field);
    }
    if (right > 0) canvas_text(canvas, right, 1, STYLE_NORMAL, units_clock(model->wall).text);
}

static void draw_member(const struct overview *overview, const struct model *model,
                        const struct model_member *member, const struct table_layout *layout,
                        struct canvas *canvas, int y, bool is_selected)
{
    (void)overview;
    for (size_t place = 0; place < layout->count; place++) {
        size_t column = layout->shown[place].column;
        struct cell cell = {.style = STYLE_NORMAL};
        cells[column](model, member, canvas->glyphs, &cell);
        table_draw_cell(canvas, layout, columns, place, y, cell.style, cell.text);
        int x = layout->shown[place].x, width = layout->shown[place].width;
        if (column == COLUMN_USE && member->is_fresh)
            bar_draw(canvas, x, y, BAR_WIDTH, cell.style == STYLE_NORMAL ? STYLE_GRAPH : cell.style,
                     member->quota_used);
        if (cell.is_live) canvas_live(canvas, x, y, width);
    }
    if (!is_selected) return;
    canvas_text(canvas, 0, y, STYLE_ACCENT, " ");
    canvas_restyle(canvas, 0, y, canvas->width, STYLE_SELECTED);
    canvas_text(canvas, 0, y, STYLE_SELECTED, canvas->glyphs->cursor);
}

static void draw_members(const struct overview *overview, const struct model *model, struct canvas *canvas,
                         bool with_cursor)
{
    struct table_layout layout;
    table_layout(&layout, columns, COLUMNS, TABLE_X, canvas->width - TABLE_X);
    int y = overview->table.y;
    table_draw_header(canvas, &layout, columns, y++);
    for (size_t i = 0; i < overview->members.height; i++, y++) {
        size_t at = overview->members.top + i;
        if (at >= overview->shown_count) break;
        for (size_t k = 0; k < model->member_count; k++)
            if (model->members[k]->serial == overview->shown[at])
                draw_member(overview, model, model->members[k], &layout, canvas, y,
                            with_cursor && at == overview->members.selected);
    }
    if (overview->filter[0] != 0)
        canvas_printf(canvas, TABLE_X + 9, overview->table.y, STYLE_WARNING, "/%s: %zu of %zu ",
                      overview->filter, overview->shown_count, model->member_count);
    else if (overview->shown_count > overview->members.height)
        canvas_printf(canvas, TABLE_X + 9, overview->table.y, STYLE_WARNING, "%zu-%zu of %zu ",
                      overview->members.top + 1, overview->members.top + overview->members.height,
                      overview->shown_count);
}

static void draw_graph(struct canvas *canvas, int x, int y, int width, const char *label,
                       const struct ring *ring, double floor, const char *value)
{
    canvas_left(canvas, x, y, GRAPH_LABEL - 1, STYLE_DIM, label);
    int columns_wide = width - GRAPH_LABEL - GRAPH_VALUE - 1;
    sparkline_draw(canvas, x + GRAPH_LABEL, y, columns_wide, ring, floor);
    canvas_right(canvas, x + width - GRAPH_VALUE, y, GRAPH_VALUE, STYLE_NORMAL, value);
    canvas_live(canvas, x + width - GRAPH_VALUE, y, GRAPH_VALUE);
}

static void draw_quota(const struct model *model, struct canvas *canvas, int x, int y, int width)
{
    double used = NAN, quota = NAN;
    for (size_t i = 0; i < model->member_count; i++) {
        const struct model_member *member = model->members[i];
        if (isnan(member->quota_used) || member->quota_used <= used) continue;
        used = member->quota_used;
        quota = (double)member->db_size / used;
    }
    canvas_left(canvas, x, y, GRAPH_LABEL - 1, STYLE_DIM, "quota used");
    enum style style = used >= FINDINGS_QUOTA_HIGH ? STYLE_WARNING : STYLE_GRAPH;
    int columns_wide = width - GRAPH_LABEL - GRAPH_VALUE - 7;
    bar_draw(canvas, x + GRAPH_LABEL, y, columns_wide, style, used);
    char text[80];
    snprintf(text, sizeof(text), "%s of %s", units_percent(used).text, units_bytes(quota).text);
    canvas_right(canvas, x + width - GRAPH_VALUE - 6, y, GRAPH_VALUE + 6, STYLE_NORMAL, text);
}

static void draw_graphs(const struct model *model, struct canvas *canvas, struct place place)
{
    int width = (canvas->width - 4) / 2, right = 1 + width + 2;
    if (width > 90) width = 90;
    char worst[48] = "fsync p99";
    if (model->fsync_worst_member != NULL)
        snprintf(worst, sizeof(worst), "fsync %.7s", model_member_label(model->fsync_worst_member).text);
    const struct {
        const char *label;
        const struct ring *ring;
        double floor;
        struct unit_text value;
    } graphs[] = {
        {"proposals/s", &model->proposal_history, 1, units_count(model->proposal_rate)},
        {worst, &model->fsync_history, 0.001, units_seconds(model->fsync_worst)},
        {"commit p99", &model->commit_history, 0.001, units_seconds(model->commit)},
        {"range/s", &model->range_rate_history, 1, units_count(model->range_rate)},
        {"put/s", &model->put_history, 1, units_count(model->put_rate)},
        {NULL, NULL, 0, {""}}, /* the quota */
        {"range p99", &model->range_history, 0.001, units_seconds(model->range)},
    };
    for (size_t i = 0; i < sizeof(graphs) / sizeof(graphs[0]); i++) {
        int y = place.y + (int)(i / 2), x = i % 2 == 0 ? 1 : right;
        if (y >= place.y + place.rows) break;
        if (graphs[i].label == NULL)
            draw_quota(model, canvas, x, y, width);
        else
            draw_graph(canvas, x, y, width, graphs[i].label, graphs[i].ring, graphs[i].floor,
                       graphs[i].value.text[0] == '?' ? canvas->glyphs->none : graphs[i].value.text);
    }
}

static void draw_findings(const struct model *model, struct canvas *canvas, struct place place)
{
    canvas_printf(canvas, 1, place.y, STYLE_HEADING, "findings (%zu)", model->finding_count);
    if (model->finding_count == 0)
        canvas_text(canvas, 14, place.y, STYLE_GOOD, model->health == MODEL_HEALTHY ? "all is well" : "");
    for (int i = 0; i + 1 < place.rows && (size_t)i < model->finding_count; i++) {
        const struct model_finding *finding = &model->findings[i];
        int y = place.y + 1 + i;
        bool is_cut = i + 2 == place.rows && (size_t)i + 1 < model->finding_count;
        if (is_cut) {
            canvas_printf(canvas, 2, y, STYLE_DIM, "%s and %zu more", canvas->glyphs->ellipsis,
                          model->finding_count - (size_t)i);
            break;
        }
        enum style style = view_severity_style(finding->severity);
        canvas_text(canvas, 2, y, style, view_severity_glyph(canvas->glyphs, finding->severity));
        canvas_put(canvas, 4, y, canvas->width - 14, style, bytes_from_string(finding->text));
        canvas_right(canvas, canvas->width - 9, y, 8, STYLE_DIM, units_clock(finding->since).text);
    }
}

static void draw_events(const struct model *model, struct canvas *canvas, struct place place)
{
    canvas_text(canvas, 1, place.y, STYLE_HEADING, "events");
    if (model->event_count == 0) canvas_text(canvas, 8, place.y, STYLE_DIM, "none since the start");
    for (int i = 0; i + 1 < place.rows && (size_t)i < model->event_count; i++) {
        const struct model_event *event = model_event_at(model, (size_t)i);
        int y = place.y + 1 + i;
        enum style style = view_severity_style(event->severity);
        canvas_text(canvas, 2, y, STYLE_DIM, units_clock(event->wall).text);
        canvas_text(canvas, 11, y, style, view_severity_glyph(canvas->glyphs, event->severity));
        canvas_text(canvas, 13, y, style, event->text);
    }
}

static void draw_all(const struct overview *overview, const struct model *model, struct canvas *canvas,
                     bool with_cursor)
{
    draw_title(model, canvas);
    draw_activity(model, canvas);
    view_draw_rule(canvas, 2);
    draw_members(overview, model, canvas, with_cursor);
    if (overview->graphs.rows > 0) draw_graphs(model, canvas, overview->graphs);
    if (overview->findings.rows > 0) draw_findings(model, canvas, overview->findings);
    if (overview->events.rows > 0) draw_events(model, canvas, overview->events);
}

/* ---- Layout ---- */

static struct overview *overview_of(const struct view *view)
{
    return (struct overview *)(uintptr_t)view;
}

static bool passes(const struct overview *overview, const struct model_member *member)
{
    const char *text = overview->filter;
    return text[0] == 0 || strcasestr(model_member_label(member).text, text) != NULL ||
           strcasestr(member->endpoint, text) != NULL;
}

static void choose_members(struct overview *overview, const struct model *model)
{
    overview->shown_count = 0;
    bool is_there = false;
    for (size_t i = 0; i < model->member_count; i++) {
        if (!passes(overview, model->members[i])) continue;
        if (model->members[i]->serial == overview->selected) {
            overview->members.selected = overview->shown_count;
            is_there = true;
        }
        overview->shown[overview->shown_count++] = model->members[i]->serial;
    }
    if (!is_there) overview->members.selected = 0;
}

/* Takes rows for a section with a blank line before it; none when there is no room for `least`. */
static struct place take_place(int *y, int end, int least, int wanted)
{
    int room = end - *y - 1;
    if (room < least || wanted <= 0) return (struct place){0, 0};
    struct place place = {.y = *y + 1, .rows = wanted < room ? wanted : room};
    *y = place.y + place.rows;
    return place;
}

static void arrange(struct overview *overview, const struct model *model, int width, int end,
                    int findings_shown, int events_shown)
{
    int member_rows = (int)overview->shown_count > 0 ? (int)overview->shown_count : 1;
    int room = end - HEADER_ROWS - 1;
    /* Many members leave a third to the rest; the others are scrolled to. */
    int most = room > 12 ? room - room / 3 : room > 4 ? room - 2 : room;
    if (member_rows > most) member_rows = most < 1 ? 1 : most;
    overview->table = (struct place){.y = HEADER_ROWS, .rows = member_rows + 1};
    selection_fit(&overview->members, overview->shown_count, (size_t)member_rows);
    int y = HEADER_ROWS + 1 + member_rows;
    int findings = 1 + (int)model->finding_count;
    if (findings > 1 + findings_shown) findings = 1 + findings_shown;
    int graphs = end - y >= 30 || width >= 120 ? 4 : GRAPH_ROWS_SMALL;
    /* What is wrong comes before the curves when there is little room. */
    if (end - y < graphs + findings + 2) graphs = end - y - findings - 2;
    if (width < 60) graphs = 0;
    overview->graphs = take_place(&y, end, 1, graphs);
    overview->findings = take_place(&y, end, 1, findings);
    overview->events = take_place(&y, end, 2, 1 + events_shown);
}

static void overview_layout(struct view *view, const struct model *model, int width, int height)
{
    struct overview *overview = overview_of(view);
    overview->width = width;
    choose_members(overview, model);
    int free_rows = height - HEADER_ROWS - 1 - (int)overview->shown_count;
    int findings = free_rows > 24 ? FINDINGS_SHOWN * 2 : FINDINGS_SHOWN;
    arrange(overview, model, width, height, findings, MODEL_EVENTS_MAX);
    if (overview->shown_count > 0) overview->selected = overview->shown[overview->members.selected];
}

static void overview_draw(const struct view *view, const struct model *model, struct canvas *canvas)
{
    draw_all(overview_of(view), model, canvas, true);
}

void view_overview_print(const struct model *model, struct canvas *canvas, int width,
                         const struct glyphs *glyphs)
{
    struct overview overview = {.filter = (char[]){""}};
    choose_members(&overview, model);
    int events = model->event_count < EVENTS_PRINTED ? (int)model->event_count : EVENTS_PRINTED;
    arrange(&overview, model, width, CANVAS_SIZE_MAX, MODEL_FINDINGS_MAX, events);
    int last = overview.events.y + overview.events.rows;
    canvas_resize(canvas, width, last, glyphs);
    draw_all(&overview, model, canvas, false);
}

/* ---- Keys ---- */

static void move_by(struct view *view, long rows)
{
    struct overview *overview = overview_of(view);
    selection_move(&overview->members, rows);
    if (overview->shown_count > 0) overview->selected = overview->shown[overview->members.selected];
}

static void run_member(struct view *view, struct app *app)
{
    if (overview_of(view)->shown_count == 0) return;
    view_member_set(app_view(app, APP_MEMBER), overview_of(view)->selected);
    app_open(app, APP_MEMBER);
}

static void run_keys(struct view *view, struct app *app)
{
    (void)view;
    app_open(app, APP_KEYS);
}

static void run_copy(struct view *view, struct app *app)
{
    const struct model *model = app_model(app);
    for (size_t i = 0; i < model->member_count; i++) {
        if (model->members[i]->serial != overview_of(view)->selected) continue;
        app_copy(app, bytes_from_string(model->members[i]->endpoint));
        app_message(app, MODEL_NOTE, "copied %s", model->members[i]->endpoint);
    }
}

static const struct binding bindings[] = {
    {{'k', INPUT_F(2)}, "k F2", "keys", "browse the keys", BINDING_BOTTOM, run_keys},
    SHEET_SIBLINGS,
    {{INPUT_ENTER, INPUT_RIGHT},
     "Enter",
     "member",
     "open the page of the selected member",
     BINDING_BOTTOM,
     run_member},
    {{'y'}, "y", "copy", "copy the selected member's endpoint to the terminal's clipboard", 0, run_copy},
    {{INPUT_UP, INPUT_CONTROL('P')}, "Up ^P", "up", "select the member above", 0, view_up},
    {{INPUT_DOWN, 'j', INPUT_CONTROL('N')}, "Down j ^N", "down", "select the member below", 0, view_down},
    {{INPUT_HOME, 'g', INPUT_PAGE_UP}, "Home g", "first", "select the first member", 0, view_first},
    {{INPUT_END, 'G', INPUT_PAGE_DOWN}, "End G", "last", "select the last member", 0, view_last},
};

static void overview_click(struct view *view, struct app *app, int x, int y)
{
    (void)x;
    struct overview *overview = overview_of(view);
    int row = y - overview->table.y - 1;
    if (row < 0 || row >= overview->table.rows - 1) return;
    size_t at = overview->members.top + (size_t)row;
    if (at >= overview->shown_count) return;
    if (overview->selected == overview->shown[at]) run_member(view, app);
    overview->members.selected = at;
    overview->selected = overview->shown[at];
}

static void overview_filter(struct view *view, const char *text)
{
    struct overview *overview = overview_of(view);
    char *copy = mem_strdup(text);
    free(overview->filter);
    overview->filter = copy;
}

static const char *overview_filter_text(const struct view *view)
{
    return overview_of(view)->filter;
}

static void overview_free(struct view *view)
{
    free(overview_of(view)->filter);
    free(view);
}

struct view *view_overview_new(void)
{
    struct overview *overview = mem_zalloc(1, sizeof(*overview));
    overview->filter = mem_strdup("");
    overview->view = (struct view){
        .name = "overview",
        .bindings = bindings,
        .binding_count = sizeof(bindings) / sizeof(bindings[0]),
        .layout = overview_layout,
        .draw = overview_draw,
        .click = overview_click,
        .move = move_by,
        .wheel_rows = 1,
        .filter = overview_filter,
        .filter_text = overview_filter_text,
        .free = overview_free,
    };
    return &overview->view;
}
