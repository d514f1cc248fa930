#include "tui/app.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { STACK_MAX = APP_VIEW_COUNT, MESSAGE_FRAMES = 5 };

enum mode { MODE_VIEW, MODE_PROMPT, MODE_QUESTION };

enum prompt_use { USE_COMMAND, USE_FILTER, USE_TEXT };

struct app {
    const struct model *model;
    struct app_edges edges;
    const struct glyphs *glyphs;
    bool read_only;

    struct view *views[APP_VIEW_COUNT];
    enum app_view stack[STACK_MAX];
    size_t depth;

    enum mode mode;
    struct prompt prompt;
    enum prompt_use prompt_use;
    char prompt_label[MODEL_TEXT];
    char *filter_before;
    void (*prompt_done)(struct view *view, struct app *app, struct bytes text);
    struct prompt_history commands;

    char question[MODEL_TEXT * 2];
    void (*question_yes)(struct view *view, struct app *app);
    bool question_is_command;
    struct view *question_view;
    bool command_runs, command_is_stopped;
    size_t command_output;

    char message[MODEL_TEXT * 2];
    enum model_severity message_severity;
    int message_frames; /* refreshes for which it is still shown */

    struct canvas before;
    bool refreshed; /* since the last frame */
    bool marks_are_valid;
};

static struct view *current(const struct app *app)
{
    return app->views[app->stack[app->depth - 1]];
}

/* ---- For views ---- */

const struct model *app_model(const struct app *app)
{
    return app->model;
}

struct view *app_view(struct app *app, enum app_view view)
{
    return app->views[view];
}

void app_open(struct app *app, enum app_view view)
{
    if (app->stack[app->depth - 1] == view) return;
    /* Never the same one twice: going back to one forgets what lies above it. */
    for (size_t i = 0; i < app->depth; i++)
        if (app->stack[i] == view) app->depth = i;
    assert(app->depth < STACK_MAX);
    app->stack[app->depth++] = view;
    if (current(app)->enter != NULL) current(app)->enter(current(app), app);
}

void app_leave(struct app *app)
{
    if (app->depth > 1) app->depth--;
}

void app_switch(struct app *app, enum app_view view)
{
    if (app->depth > 1) app->depth--;
    app_open(app, view);
}

void app_message(struct app *app, enum model_severity severity, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(app->message, sizeof(app->message), format, arguments);
    va_end(arguments);
    app->message_severity = severity;
    app->message_frames = MESSAGE_FRAMES;
}

void app_copy(struct app *app, struct bytes text)
{
    app->edges.copy(app->edges.context, text);
}

void app_change(struct app *app, const struct app_change *change)
{
    assert(!app->read_only);
    app->edges.change(app->edges.context, change);
}

void app_stop_command(struct app *app)
{
    if (!app->command_runs) return;
    app->command_is_stopped = true;
    app->edges.stop_command(app->edges.context);
}

static void start_prompt(struct app *app, enum prompt_use use, const char *label, struct bytes initial)
{
    snprintf(app->prompt_label, sizeof(app->prompt_label), "%s", label);
    prompt_start(&app->prompt, app->prompt_label, initial);
    app->prompt_use = use;
    app->mode = MODE_PROMPT;
    app->message_frames = 0;
}

void app_prompt(struct app *app, const char *label, struct bytes initial,
                void (*done)(struct view *view, struct app *app, struct bytes text))
{
    start_prompt(app, USE_TEXT, label, initial);
    app->prompt_done = done;
}

void app_ask(struct app *app, void (*yes)(struct view *view, struct app *app), const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(app->question, sizeof(app->question), format, arguments);
    va_end(arguments);
    app->question_yes = yes;
    app->question_is_command = false;
    app->question_view = current(app);
    app->mode = MODE_QUESTION;
    app->message_frames = 0;
}

/* ---- Bindings of all views ---- */

static void run_help(struct view *view, struct app *app);

static void run_command(struct view *view, struct app *app)
{
    (void)view;
    if (app->command_runs) {
        app_message(app, MODEL_WARNING, "a command is still running: Ctrl-C in its page stops it");
        return;
    }
    start_prompt(app, USE_COMMAND, ":", BYTES_EMPTY);
    app->prompt.history = &app->commands;
    app->prompt.history_at = app->commands.count;
    app->prompt.complete = app->edges.complete;
}

static void run_filter(struct view *view, struct app *app)
{
    if (view->filter == NULL) {
        app_message(app, MODEL_NOTE, "nothing to filter here");
        return;
    }
    free(app->filter_before);
    app->filter_before = mem_strdup(view->filter_text(view));
    start_prompt(app, USE_FILTER, "/", bytes_from_string(app->filter_before));
}

static void run_back(struct view *view, struct app *app)
{
    if (view->filter != NULL && view->filter_text(view)[0] != 0)
        view->filter(view, "");
    else
        app_leave(app);
}

static void run_quit(struct view *view, struct app *app)
{
    (void)view;
    if (app->depth > 1)
        app_leave(app);
    else
        app->edges.quit(app->edges.context);
}

static void run_quit_at_once(struct view *view, struct app *app)
{
    (void)view;
    app->edges.quit(app->edges.context);
}

static void run_redraw(struct view *view, struct app *app)
{
    (void)view;
    app->edges.redraw(app->edges.context);
}

static const struct binding common[] = {
    {{'?', INPUT_F(1)}, "? F1", "help", "show the keys of this view", BINDING_BOTTOM, run_help},
    {{':'},
     ":",
     "command",
     "run an etcdctl command; Tab completes, up and down recall",
     BINDING_BOTTOM,
     run_command},
    {{'/', INPUT_F(3), INPUT_F(4)},
     "/ F3",
     "filter",
     "show only what contains a text",
     BINDING_BOTTOM,
     run_filter},
    {{INPUT_ESCAPE}, "Esc", "back", "end filtering, else back to the view before", 0, run_back},
    {{INPUT_CONTROL('L')}, "^L", "redraw", "draw the screen anew", 0, run_redraw},
    {{'q'}, "q", "quit", "back to the view before; quit from the overview", BINDING_BOTTOM, run_quit},
    {{INPUT_F(10), INPUT_CONTROL('C')}, "F10 ^C", "quit", "quit", 0, run_quit_at_once},
};

enum { COMMON = sizeof(common) / sizeof(common[0]) };

static const struct binding *find_binding(const struct binding *bindings, size_t count, uint32_t key)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < BINDING_KEYS_MAX && bindings[i].keys[k] != INPUT_NONE; k++)
            if (bindings[i].keys[k] == key) return &bindings[i];
    return NULL;
}

static bool is_off(const struct app *app, const struct binding *binding)
{
    return app->read_only && (binding->flags & BINDING_CHANGES) != 0;
}

/* ---- The help page ---- */

static void append_bindings(const struct app *app, const struct binding *bindings, size_t count,
                            struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "  %-14s %s%s\n", bindings[i].shown, bindings[i].help,
                   is_off(app, &bindings[i]) ? " (off: --read-only)" : "");
}

static void run_help(struct view *view, struct app *app)
{
    struct view *page = app->views[APP_HELP];
    if (view == page) return;
    struct buf text = {0};
    buf_printf(&text, "Keys of this view (%s)\n\n", view->name);
    append_bindings(app, view->bindings, view->binding_count, &text);
    buf_append_string(&text, "\nEverywhere\n\n");
    append_bindings(app, common, COMMON, &text);
    buf_append_string(&text, "\nReading the screen\n\n"
                             "  A value that could not be fetched is ? and how long ago it was known.\n"
                             "  What changed since the last refresh is bold for one refresh.\n");
    view_pager_start(page, "help", false);
    view_pager_append(page, buf_bytes(&text));
    buf_deinit(&text);
    app_open(app, APP_HELP);
}

/* ---- Life ---- */

struct app *app_new(const struct model *model, const struct app_edges *edges, const struct glyphs *glyphs,
                    bool read_only)
{
    struct app *app = mem_zalloc(1, sizeof(*app));
    app->model = model;
    app->edges = *edges;
    app->glyphs = glyphs;
    app->read_only = read_only;
    app->views[APP_OVERVIEW] = view_overview_new();
    app->views[APP_KEYS] = view_keys_new();
    app->views[APP_MEMBER] = view_member_new();
    app->views[APP_RAFT] = view_raft_new();
    app->views[APP_WATCHES] = view_watches_new();
    app->views[APP_LEASES] = view_leases_new();
    app->views[APP_MEMBERS] = view_members_new();
    app->views[APP_MAINTENANCE] = view_maintenance_new();
    app->views[APP_METRICS] = view_metrics_new();
    app->views[APP_AUTH] = view_auth_new();
    app->views[APP_PAGER] = view_pager_new();
    app->views[APP_HELP] = view_pager_new();
    app->stack[0] = APP_OVERVIEW;
    app->depth = 1;
    return app;
}

void app_free(struct app *app)
{
    if (app == NULL) return;
    for (size_t i = 0; i < APP_VIEW_COUNT; i++) app->views[i]->free(app->views[i]);
    prompt_deinit(&app->prompt);
    prompt_history_deinit(&app->commands);
    canvas_deinit(&app->before);
    free(app->filter_before);
    free(app);
}

/* ---- Input ---- */

static bool is_blank(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != ' ') return false;
    return true;
}

void app_command(struct app *app, const char *line)
{
    if (app->command_runs) {
        app_message(app, MODEL_WARNING, "a command is still running: Ctrl-C in its page stops it");
        return;
    }
    struct view *pager = app->views[APP_PAGER];
    struct buf title = {0};
    buf_printf(&title, ":%s", line);
    view_pager_start(pager, buf_string(&title), true);
    buf_deinit(&title);
    app->command_runs = true;
    app->command_is_stopped = false;
    app->command_output = 0;
    app_open(app, APP_PAGER);
    app->edges.command(app->edges.context, line);
}

static void enter_command(struct app *app)
{
    const char *line = buf_string(&app->prompt.text);
    if (is_blank(buf_bytes(&app->prompt.text))) return;
    prompt_history_add(&app->commands, line);
    app_command(app, line);
}

static void prompt_entered(struct app *app)
{
    struct view *view = current(app);
    app->mode = MODE_VIEW;
    switch (app->prompt_use) {
    case USE_COMMAND:
        enter_command(app);
        break;
    case USE_FILTER:
        view->filter(view, buf_string(&app->prompt.text));
        break;
    case USE_TEXT: {
        struct buf text = app->prompt.text; /* the next prompt may begin in there */
        app->prompt.text = (struct buf){0};
        app->prompt_done(view, app, buf_bytes(&text));
        buf_deinit(&text);
        break;
    }
    }
}

static void handle_prompt(struct app *app, uint32_t key)
{
    struct view *view = current(app);
    switch (prompt_key(&app->prompt, key)) {
    case PROMPT_GOES_ON:
        break;
    case PROMPT_CHANGED:
        if (app->prompt_use == USE_FILTER) view->filter(view, buf_string(&app->prompt.text));
        break;
    case PROMPT_DONE:
        prompt_entered(app);
        break;
    case PROMPT_LEFT:
        app->mode = MODE_VIEW;
        if (app->prompt_use == USE_FILTER) view->filter(view, app->filter_before);
        break;
    }
}

static void handle_question(struct app *app, uint32_t key)
{
    bool yes = key == 'y' || key == 'Y';
    bool no = key == 'n' || key == 'N' || key == INPUT_ESCAPE || key == INPUT_ENTER || key == 'q' ||
              key == INPUT_CONTROL('C');
    if (!yes && !no) return;
    app->mode = MODE_VIEW;
    if (app->question_is_command)
        app->edges.answer_command(app->edges.context, yes);
    else if (yes)
        app->question_yes(app->question_view, app);
    else
        app_message(app, MODEL_NOTE, "nothing was changed");
}

void app_handle(struct app *app, const struct input *input)
{
    if (app->mode == MODE_PROMPT) {
        handle_prompt(app, input->key);
        return;
    }
    if (app->mode == MODE_QUESTION) {
        handle_question(app, input->key);
        return;
    }
    struct view *view = current(app);
    if (input->key == INPUT_CLICK) {
        if (view->click != NULL) view->click(view, app, input->x, input->y);
        return;
    }
    if (input->key == INPUT_WHEEL_UP || input->key == INPUT_WHEEL_DOWN) {
        if (view->move != NULL)
            view->move(view, input->key == INPUT_WHEEL_UP ? -view->wheel_rows : view->wheel_rows);
        return;
    }
    const struct binding *binding = find_binding(view->bindings, view->binding_count, input->key);
    if (binding == NULL) binding = find_binding(common, COMMON, input->key);
    if (binding == NULL) return;
    app->message_frames = 0;
    if (is_off(app, binding))
        app_message(app, MODEL_WARNING, "%s is off: --read-only", binding->label);
    else
        binding->run(view, app);
}

/* ---- What comes in ---- */

void app_tick(struct app *app)
{
    if (app->message_frames > 0) app->message_frames--;
    app->refreshed = true;
    if (current(app)->tick != NULL) current(app)->tick(current(app), app);
}

bool app_next_request(struct app *app, struct key_request *request)
{
    struct view *view = current(app);
    return view->next_request != NULL && view->next_request(view, request);
}

void app_answer(struct app *app, const struct key_answer *answer)
{
    static const enum app_view views[] = {
        [KEY_REQUEST_LIST] = APP_KEYS,    [KEY_REQUEST_COUNT] = APP_KEYS,      [KEY_REQUEST_VALUE] = APP_KEYS,
        [KEY_REQUEST_LEASE] = APP_LEASES, [KEY_REQUEST_METRICS] = APP_METRICS, [KEY_REQUEST_AUTH] = APP_AUTH,
        [KEY_REQUEST_USERS] = APP_AUTH,   [KEY_REQUEST_ROLES] = APP_AUTH,      [KEY_REQUEST_USER] = APP_AUTH,
        [KEY_REQUEST_ROLE] = APP_AUTH};
    struct view *view = app->views[views[answer->kind]];
    view->answer(view, answer);
}

void app_change_done(struct app *app, const char *what, const char *error)
{
    if (error != NULL)
        app_message(app, MODEL_ALERT, "%s failed: %s", what, error);
    else
        app_message(app, MODEL_NOTE, "%s: done", what);
    struct view *keys = app->views[APP_KEYS];
    keys->enter(keys, app);
}

void app_command_output(struct app *app, struct bytes text)
{
    app->command_output += text.size;
    view_pager_append(app->views[APP_PAGER], text);
}

void app_command_asks(struct app *app, const char *question)
{
    snprintf(app->question, sizeof(app->question), "%s", question);
    app->question_is_command = true;
    app->mode = MODE_QUESTION;
}

void app_command_ended(struct app *app, int status)
{
    app->command_runs = false;
    if (app->mode == MODE_QUESTION && app->question_is_command) app->mode = MODE_VIEW;
    struct buf text = {0};
    if (app->command_is_stopped)
        buf_append_string(&text, "(stopped)\n");
    else if (status != 0)
        buf_printf(&text, "(exit status %d)\n", status);
    else if (app->command_output == 0)
        buf_append_string(&text, "(no output)\n");
    view_pager_append(app->views[APP_PAGER], buf_bytes(&text));
    buf_deinit(&text);
}

/* ---- Drawing ---- */

static int draw_bindings(struct app *app, struct canvas *canvas, int x, int y, int end,
                         const struct binding *bindings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct binding *binding = &bindings[i];
        if ((binding->flags & BINDING_BOTTOM) == 0 || is_off(app, binding)) continue;
        /* A view's own meaning of a key goes before the common one. */
        const struct view *view = current(app);
        const struct binding *own = find_binding(view->bindings, view->binding_count, binding->keys[0]);
        if (own != NULL && own != binding) continue;
        if (binding->run == run_filter && view->filter == NULL) continue;
        size_t key_size = strcspn(binding->shown, " ");
        int needed = (int)key_size + 1 + (int)strlen(binding->label);
        if (x + needed >= end) continue;
        x += canvas_put(canvas, x, y, (int)key_size, STYLE_KEY, bytes_of(binding->shown, key_size));
        if (key_size > 1)
            x++;
        else if (binding->shown[0] >= 'A')
            x++;
        x += canvas_text(canvas, x, y, STYLE_KEY_LABEL, binding->label) + 1;
    }
    return x;
}

/* The common keys first, quitting last: there is always room for that. */
static void draw_bottom(struct app *app, struct canvas *canvas, int y)
{
    const struct view *view = current(app);
    int end = canvas->width - (int)strlen(" q quit");
    int x = draw_bindings(app, canvas, 1, y, end, common, 3);
    x = draw_bindings(app, canvas, x, y, end, view->bindings, view->binding_count);
    draw_bindings(app, canvas, x, y, canvas->width, common + 3, COMMON - 3);
}

static void draw_bottom_line(struct app *app, struct canvas *canvas)
{
    int y = canvas->height - 1;
    canvas_fill(canvas, 0, y, canvas->width, STYLE_NORMAL, " ");
    if (app->mode == MODE_PROMPT) {
        prompt_draw(&app->prompt, canvas, y);
    } else if (app->mode == MODE_QUESTION) {
        int x = canvas_put(canvas, 0, y, canvas->width - 6, STYLE_WARNING, bytes_from_string(app->question));
        canvas_text(canvas, x + 1, y, STYLE_KEY, "[y/N]");
        canvas->cursor_x = x + 6 < canvas->width ? x + 6 : canvas->width - 1;
        canvas->cursor_y = y;
    } else if (app->message_frames > 0) {
        const char *glyph = view_severity_glyph(canvas->glyphs, app->message_severity);
        enum style style = view_severity_style(app->message_severity);
        int x = canvas_printf(canvas, 1, y, style, "%s ", glyph);
        canvas_text(canvas, 1 + x, y, style, app->message);
    } else {
        draw_bottom(app, canvas, y);
    }
}

void app_draw(struct app *app, struct canvas *canvas, int width, int height)
{
    canvas_resize(canvas, width, height, app->glyphs);
    struct view *view = current(app);
    view->layout(view, app->model, canvas->width, canvas->height - 1);
    view->draw(view, app->model, canvas);
    draw_bottom_line(app, canvas);
    if (app->refreshed && app->marks_are_valid) canvas_mark_changes(canvas, &app->before);
    if (app->refreshed || app->before.width != canvas->width || app->before.height != canvas->height)
        canvas_copy(&app->before, canvas);
    /* Keys move things: only two refreshes with nothing in between can be compared. */
    app->marks_are_valid = app->refreshed;
    app->refreshed = false;
}
