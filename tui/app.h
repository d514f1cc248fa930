/* app: the dashboard without its edges: which view is shown, the bottom line, prompts and dispatch.
 *
 * It does no I/O itself: what goes out (terminal, cluster, commands) goes through `struct app_edges`, which
 * main provides and tests replace. One thread.
 */
#ifndef TUI_APP_H
#define TUI_APP_H

#include "tui/prompt.h"
#include "tui/view.h"

enum app_view {
    APP_OVERVIEW,
    APP_KEYS,
    APP_MEMBER,
    APP_RAFT,
    APP_WATCHES,
    APP_LEASES,
    APP_MEMBERS,
    APP_MAINTENANCE,
    APP_METRICS,
    APP_AUTH,
    APP_PAGER,
    APP_HELP,
    APP_VIEW_COUNT,
};

/* A change of data that the user has confirmed. Borrowed for the call. */
struct app_change {
    enum { APP_PUT, APP_DELETE, APP_DELETE_PREFIX } kind;
    struct bytes key;
    struct bytes value; /* PUT */
    int64_t
        expected_revision; /* PUT, DELETE: the key's mod_revision that the user saw; else nothing happens */
};

struct app_edges {
    void *context;
    void (*quit)(void *context);
    void (*copy)(void *context, struct bytes text); /* to the terminal's clipboard */
    void (*redraw)(void *context);                  /* the terminal is not what we think it is */
    void (*change)(void *context, const struct app_change *change);
    void (*command)(void *context, const char *line); /* output comes by app_command_output */
    void (*stop_command)(void *context);
    void (*answer_command)(void *context, bool yes); /* to app_command_asks */
    void (*complete)(struct bytes before, struct buf *addition, struct buf *choices);
};

struct app;

/* The model is borrowed. */
struct app *app_new(const struct model *model, const struct app_edges *edges, const struct glyphs *glyphs,
                    bool read_only) __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void app_free(struct app *app);

/* ---- For main ---- */

void app_handle(struct app *app, const struct input *input);
/* A refresh of the model has happened. */
void app_tick(struct app *app);
/* Draws the whole frame. A frame after a refresh marks what changed since the one before. */
void app_draw(struct app *app, struct canvas *canvas, int width, int height);
bool app_next_request(struct app *app, struct key_request *request);
void app_answer(struct app *app, const struct key_answer *answer);
void app_change_done(struct app *app, const char *what, const char *error);
void app_command_output(struct app *app, struct bytes text);
void app_command_asks(struct app *app, const char *question);
void app_command_ended(struct app *app, int status);

/* ---- For views ---- */

const struct model *app_model(const struct app *app);
struct view *app_view(struct app *app, enum app_view view);
/* Shows it; the one shown before comes back with app_leave. */
void app_open(struct app *app, enum app_view view);
void app_leave(struct app *app);
/* Shows it in place of the present one, if that is not the overview. */
void app_switch(struct app *app, enum app_view view);
/* Runs an etcdctl command line, its output in the pager, as if it had been entered. */
void app_command(struct app *app, const char *line);
void app_message(struct app *app, enum model_severity severity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void app_copy(struct app *app, struct bytes text);
void app_change(struct app *app, const struct app_change *change);
void app_stop_command(struct app *app);
/* Asks for a line; `done` comes with what was entered, not when the user leaves. The label is copied. */
void app_prompt(struct app *app, const char *label, struct bytes initial,
                void (*done)(struct view *view, struct app *app, struct bytes text));
/* Asks for y or n; `yes` comes for y alone. */
void app_ask(struct app *app, void (*yes)(struct view *view, struct app *app), const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
