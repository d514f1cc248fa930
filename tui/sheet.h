/* sheet: a view that is lines of text, some of which can be selected: what most pages are.
 *
 * A page is written top to bottom by one function, once to count its lines and once to draw those in the
 * window; moving, selecting, clicking and the title line are done here. A view embeds a sheet as its first
 * member, and its table of bindings begins with SHEET_BINDINGS.
 */
#ifndef TUI_SHEET_H
#define TUI_SHEET_H

#include "tui/app.h"
#include "tui/ring.h"
#include "tui/table.h"

enum { SHEET_HEADER = 2, SHEET_LABEL = 22 };

struct sheet;

/* Where a page is written to. */
struct page {
    struct canvas *canvas; /* NULL: lines are only counted */
    const struct glyphs *glyphs;
    size_t top, height, at;     /* lines */
    size_t selected, row_count; /* of those that can be selected */
    size_t selected_line;
};

struct sheet {
    struct view view;
    const char *title;
    void (*write)(struct sheet *sheet, struct page *page, const struct model *model);
    /* What stands behind the title; may be NULL. */
    void (*headline)(struct sheet *sheet, const struct model *model, struct buf *out);
    /* A row was chosen: Enter, or a click on the selected one. May be NULL. */
    void (*choose)(struct sheet *sheet, struct app *app);
    char *filter; /* NULL: cannot be filtered */
    size_t selected, row_count;
    size_t top, height, lines;
};

/* Fills the common part in; bindings are the view's. */
void sheet_init(struct sheet *sheet, const char *name, const struct binding *bindings, size_t count);
/* With a filter; page functions then ask sheet_passes. */
void sheet_init_filter(struct sheet *sheet);
void sheet_free(struct view *view);
/* The view's own draw, for those that add to it. */
void sheet_draw(const struct view *view, const struct model *model, struct canvas *canvas);
bool sheet_passes(const struct sheet *sheet, const char *text);

/* The next line: its row on the canvas, -1 when it is not in the window. */
int page_line(struct page *page);
/* The same for a line that can be selected, with the cursor drawn; *is_selected may be NULL. */
int page_row(struct page *page, bool *is_selected);
void page_say(struct page *page, const char *label, const char *value);
/* A blank line and a heading. */
void page_heading(struct page *page, const char *text);
void page_note(struct page *page, enum style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void page_graph(struct page *page, const char *label, const struct ring *ring, double floor);
/* Each line of the text, with that many blanks in front. Every line has its newline. */
void page_lines(struct page *page, int indent, struct bytes text);
/* The layout of a table as wide as the page, and its header line; rows follow by page_row. */
void page_table(struct page *page, struct table_layout *layout, const struct table_column *columns,
                size_t count);
/* "now", "5s ago (why)" or "never (why)". */
void page_since(struct page *page, const struct model *model, const char *label,
                const struct model_fetch *fetch);

/* For sheets whose rows are the model's members: the selected one, NULL when there is none; `choose` that
 * opens its page. */
const struct model_member *sheet_selected_member(const struct sheet *sheet, const struct model *model);
void sheet_open_member(struct sheet *sheet, struct app *app);

/* Functions of the common bindings. */
void sheet_leave(struct view *view, struct app *app);
void sheet_choose(struct view *view, struct app *app);

#define SHEET_BINDINGS                                                                                       \
    {{INPUT_UP, 'k', INPUT_CONTROL('P')}, "Up k", "up", "up", 0, view_up},                                   \
        {{INPUT_DOWN, 'j', INPUT_CONTROL('N')}, "Down j", "down", "down", 0, view_down},                     \
        {{INPUT_PAGE_UP, 'b'}, "PgUp b", "page up", "a page up", 0, view_page_up},                           \
        {{INPUT_PAGE_DOWN, ' '}, "PgDn Space", "page down", "a page down", 0, view_page_down},               \
        {{INPUT_HOME, 'g'}, "Home g", "start", "to the start", 0, view_first},                               \
        {{INPUT_END, 'G'}, "End G", "end", "to the end", 0, view_last},                                      \
    {                                                                                                        \
        {INPUT_LEFT, 'h'}, "Left h", "back", "back to the view before", BINDING_BOTTOM, sheet_leave          \
    }

/* The views that any other of their kind leads to, and the overview. */
void sheet_open_raft(struct view *view, struct app *app);
void sheet_open_members(struct view *view, struct app *app);
void sheet_open_watches(struct view *view, struct app *app);
void sheet_open_leases(struct view *view, struct app *app);
void sheet_open_maintenance(struct view *view, struct app *app);
void sheet_open_metrics(struct view *view, struct app *app);
void sheet_open_auth(struct view *view, struct app *app);

#define SHEET_SIBLINGS                                                                                       \
    {{'r'}, "r", "raft", "how far each member is in the log", BINDING_BOTTOM, sheet_open_raft},              \
        {{'w'}, "w", "watch", "who watches how much", BINDING_BOTTOM, sheet_open_watches},                   \
        {{'l'}, "l", "leases", "the leases and their keys", BINDING_BOTTOM, sheet_open_leases},              \
        {{'m'}, "m", "members", "the members, and changing them", BINDING_BOTTOM, sheet_open_members},       \
        {{'d'}, "d", "database", "space, alarms, defragmentation", BINDING_BOTTOM, sheet_open_maintenance},  \
        {{'u'}, "u", "users", "users, roles and their rights", BINDING_BOTTOM, sheet_open_auth},             \
    {                                                                                                        \
        {'v'}, "v", "metrics", "every metric of a member", BINDING_BOTTOM, sheet_open_metrics                \
    }

#endif
