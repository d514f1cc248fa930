/* view: one full-screen page of the dashboard.
 *
 * A view draws the model and its own state; it never does I/O and never waits. Its key bindings are a table
 * that drives dispatch, the bottom line and the help page alike. What it wants done (a prompt, a question, a
 * request) it asks of the app (app.h).
 */
#ifndef TUI_VIEW_H
#define TUI_VIEW_H

#include "tui/canvas.h"
#include "tui/input.h"
#include "tui/key_request.h"
#include "tui/model.h"

struct app;
struct view;

enum binding_flag {
    BINDING_BOTTOM = 1,  /* named in the bottom line */
    BINDING_CHANGES = 2, /* changes data: off with --read-only */
};

enum { BINDING_KEYS_MAX = 4 };

struct binding {
    uint32_t keys[BINDING_KEYS_MAX]; /* INPUT_NONE where there are fewer */
    const char *shown;               /* the keys in words: "F1 ?" */
    const char *label;               /* in the bottom line: "help" */
    const char *help;                /* a sentence for the help page */
    unsigned flags;
    void (*run)(struct view *view, struct app *app);
};

struct view {
    const char *name;
    const struct binding *bindings;
    size_t binding_count;
    /* All but layout, draw and free are optional. */
    void (*enter)(struct view *view, struct app *app); /* it is shown now */
    void (*tick)(struct view *view, struct app *app);  /* once per refresh while it is shown */
    /* Before each draw: the place may have changed, and the model. */
    void (*layout)(struct view *view, const struct model *model, int width, int height);
    void (*draw)(const struct view *view, const struct model *model, struct canvas *canvas);
    void (*click)(struct view *view, struct app *app, int x, int y);
    /* Moves the selection, or what is shown, by so many rows, as far as there are any; negative: upwards. */
    void (*move)(struct view *view, long rows);
    /* The rows of a page, for view_page_up and view_page_down. */
    long (*page)(const struct view *view);
    int wheel_rows; /* that a step of the mouse wheel moves by */
    /* "" ends filtering. */
    void (*filter)(struct view *view, const char *text);
    const char *(*filter_text)(const struct view *view);
    /* Key requests of this view; see key_request.h. */
    bool (*next_request)(struct view *view, struct key_request *request);
    void (*answer)(struct view *view, const struct key_answer *answer);
    void (*free)(struct view *view);
};

/* Functions of bindings, by the view's `move`. */
void view_up(struct view *view, struct app *app);
void view_down(struct view *view, struct app *app);
void view_page_up(struct view *view, struct app *app);
void view_page_down(struct view *view, struct app *app);
void view_first(struct view *view, struct app *app);
void view_last(struct view *view, struct app *app);

/* A window of `height` rows onto `count` rows, with one of them selected. */
struct selection {
    size_t selected, top, count, height;
};

/* After count or height changed: keeps the selected row inside and visible. */
void selection_fit(struct selection *selection, size_t count, size_t height);
/* Negative: upwards. */
void selection_move(struct selection *selection, long rows);

/* The views. Each returns a new one, to be freed by its own free function. */
struct view *view_overview_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_keys_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_member_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_raft_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_watches_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_leases_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_members_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_maintenance_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_metrics_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_auth_new(void) __attribute__((returns_nonnull, warn_unused_result));
struct view *view_pager_new(void) __attribute__((returns_nonnull, warn_unused_result));

/* Which member the member page shows. */
void view_member_set(struct view *view, uint64_t serial);

/* The pager shows text that may still grow. With `follow` it stays at the end until it is moved. */
void view_pager_start(struct view *view, const char *title, bool follow);
void view_pager_append(struct view *view, struct bytes text);

/* The overview without a terminal: draws everything, in as many rows as it takes, into `canvas`. */
void view_overview_print(const struct model *model, struct canvas *canvas, int width,
                         const struct glyphs *glyphs);

/* The line under a view's header. */
void view_draw_rule(struct canvas *canvas, int y);
const char *view_severity_glyph(const struct glyphs *glyphs, enum model_severity severity);
enum style view_severity_style(enum model_severity severity);

#endif
