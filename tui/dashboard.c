#include "tui/dashboard.h"

#include "base/memory.h"
#include "net/loop.h"
#include "tui/app.h"
#include "tui/collect.h"
#include "tui/once.h"
#include "tui/runner.h"
#include "tui/screen.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A round that is not complete by then is shown as it is. */
#define FRAME_PATIENCE (300 * LOOP_MILLISECOND)
/* Answers about keys come in bursts: one frame for all that come within. */
#define FRAME_GATHER (15 * LOOP_MILLISECOND)

enum { SIGNALS = 5, ONCE_WIDTH = 80, ONCE_WIDTH_MAX = 500 };

static const int signal_numbers[SIGNALS] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGCONT};

/* What both ways of running need. */
struct core {
    struct loop *loop;
    struct client *client;
    struct model *model;
    struct collector *collector;
    int64_t interval;
};

struct dashboard {
    struct core core;
    struct app *app;
    struct runner *runner;
    struct canvas canvas;
    uv_poll_t terminal;
    uv_signal_t signals[SIGNALS];
    struct loop_timer round_timer, refresh_timer, frame_timer;
    int status;
};

static struct error *core_open(struct core *core, const struct options *options,
                               const struct collect_handler *handler)
{
    core->loop = loop_new();
    core->interval = options->interval;
    struct error *error = client_new(core->loop, &options->client, &core->client);
    if (error != NULL) {
        loop_free(core->loop);
        return error;
    }
    core->model = model_new(options->interval);
    for (size_t i = 0; i < options->client.endpoint_count; i++)
        model_add_endpoint(core->model, options->client.endpoints[i]);
    core->collector = collector_new(core->loop, core->client, core->model, handler);
    return NULL;
}

static void core_close(struct core *core)
{
    collector_close(core->collector);
    client_free(core->client);
    collector_free(core->collector);
    model_free(core->model);
    loop_free(core->loop);
}

static struct dashboard *dashboard_of_timer(struct loop_timer *timer, size_t offset)
{
    return (struct dashboard *)(void *)((char *)timer - offset);
}

/* ---- Frames ---- */

static void draw(struct dashboard *dashboard)
{
    int width, height;
    loop_timer_clear(dashboard->core.loop, &dashboard->frame_timer);
    screen_size(&width, &height);
    app_draw(dashboard->app, &dashboard->canvas, width, height);
    screen_show(&dashboard->canvas);
    /* What has become visible is asked for now. */
    struct key_request request;
    while (app_next_request(dashboard->app, &request))
        collector_ask_keys(dashboard->core.collector, &request);
}

static void draw_soon(struct dashboard *dashboard)
{
    if (loop_timer_is_set(&dashboard->frame_timer)) return;
    loop_timer_set(dashboard->core.loop, &dashboard->frame_timer, clock_monotonic() + FRAME_GATHER);
}

static void refresh(struct dashboard *dashboard)
{
    loop_timer_clear(dashboard->core.loop, &dashboard->refresh_timer);
    model_refresh(dashboard->core.model, clock_monotonic(), clock_wall());
    app_tick(dashboard->app);
    draw(dashboard);
}

static void on_refresh_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    refresh(dashboard_of_timer(timer, offsetof(struct dashboard, refresh_timer)));
}

static void on_frame_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    draw(dashboard_of_timer(timer, offsetof(struct dashboard, frame_timer)));
}

static void on_round_timer(struct loop *loop, struct loop_timer *timer)
{
    struct dashboard *dashboard = dashboard_of_timer(timer, offsetof(struct dashboard, round_timer));
    int64_t now = clock_monotonic(), interval = dashboard->core.interval;
    loop_timer_set(loop, timer, now + interval);
    int64_t patience = interval / 2 < FRAME_PATIENCE ? interval / 2 : FRAME_PATIENCE;
    loop_timer_set(loop, &dashboard->refresh_timer, now + patience);
    collector_round(dashboard->core.collector);
}

/* ---- From the collector and the runner ---- */

static void on_round(void *context)
{
    struct dashboard *dashboard = context;
    if (loop_timer_is_set(&dashboard->refresh_timer)) refresh(dashboard);
}

static void on_key_answer(void *context, const struct key_answer *answer)
{
    struct dashboard *dashboard = context;
    app_answer(dashboard->app, answer);
    draw_soon(dashboard);
}

static void on_change_done(void *context, const char *what, const char *error)
{
    struct dashboard *dashboard = context;
    app_change_done(dashboard->app, what, error);
    draw_soon(dashboard);
}

static void on_command_output(void *context, struct bytes text)
{
    struct dashboard *dashboard = context;
    app_command_output(dashboard->app, text);
    draw_soon(dashboard);
}

static void on_command_question(void *context, const char *question)
{
    struct dashboard *dashboard = context;
    app_command_asks(dashboard->app, question);
    draw_soon(dashboard);
}

static void on_command_end(void *context, int status)
{
    struct dashboard *dashboard = context;
    app_command_ended(dashboard->app, status);
    draw_soon(dashboard);
}

/* ---- The app's edges ---- */

static void edge_quit(void *context)
{
    struct dashboard *dashboard = context;
    loop_stop(dashboard->core.loop);
}

static void edge_copy(void *context, struct bytes text)
{
    (void)context;
    screen_copy(text);
}

static void edge_redraw(void *context)
{
    (void)context;
    screen_redraw();
}

static void edge_change(void *context, const struct app_change *change)
{
    struct dashboard *dashboard = context;
    collector_change(dashboard->core.collector, change);
}

static void edge_command(void *context, const char *line)
{
    struct dashboard *dashboard = context;
    runner_start(dashboard->runner, line);
}

static void edge_stop_command(void *context)
{
    struct dashboard *dashboard = context;
    runner_stop(dashboard->runner);
}

static void edge_answer_command(void *context, bool yes)
{
    struct dashboard *dashboard = context;
    runner_answer(dashboard->runner, yes);
}

/* ---- The terminal ---- */

static void on_terminal(uv_poll_t *poll, int status, int events)
{
    struct dashboard *dashboard = poll->data;
    struct input input;
    /* Also how a terminal that is gone shows. */
    if (status < 0 || (events & UV_DISCONNECT) != 0) {
        loop_stop(dashboard->core.loop);
        return;
    }
    bool any = false;
    while (screen_read(&input)) {
        if (input.key == INPUT_NONE) continue;
        app_handle(dashboard->app, &input);
        any = true;
    }
    if (any) draw(dashboard);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct dashboard *dashboard = handle->data;
    if (number == SIGWINCH || number == SIGCONT) {
        screen_resized();
        if (number == SIGCONT) screen_redraw();
        draw(dashboard);
        return;
    }
    dashboard->status = 128 + number;
    loop_stop(dashboard->core.loop);
}

static void open_terminal(struct dashboard *dashboard)
{
    uv_loop_t *uv = loop_uv(dashboard->core.loop);
    uv_poll_init(uv, &dashboard->terminal, STDIN_FILENO);
    dashboard->terminal.data = dashboard;
    uv_poll_start(&dashboard->terminal, UV_READABLE | UV_DISCONNECT, on_terminal);
    for (size_t i = 0; i < SIGNALS; i++) {
        uv_signal_init(uv, &dashboard->signals[i]);
        dashboard->signals[i].data = dashboard;
        uv_signal_start(&dashboard->signals[i], on_signal, signal_numbers[i]);
    }
}

static void close_terminal(struct dashboard *dashboard)
{
    uv_close((uv_handle_t *)&dashboard->terminal, NULL);
    for (size_t i = 0; i < SIGNALS; i++) uv_close((uv_handle_t *)&dashboard->signals[i], NULL);
}

struct error *dashboard_run(const struct options *options, int *status)
{
    struct dashboard dashboard = {.status = 0};
    const struct collect_handler collect = {&dashboard, on_round, on_key_answer, on_change_done};
    const struct runner_handler runner = {&dashboard, on_command_output, on_command_question, on_command_end};
    const struct app_edges edges = {&dashboard,        edge_quit,           edge_copy,
                                    edge_redraw,       edge_change,         edge_command,
                                    edge_stop_command, edge_answer_command, runner_complete};
    struct error *error = screen_open(options->colour);
    if (error != NULL) return error;
    error = core_open(&dashboard.core, options, &collect);
    if (error != NULL) {
        screen_close();
        return error;
    }
    dashboard.runner = runner_new(dashboard.core.loop, options->connection, options->connection_count,
                                  options->read_only, &runner);
    dashboard.app = app_new(dashboard.core.model, &edges, glyphs_get(options->ascii), options->read_only);
    dashboard.round_timer.run = on_round_timer;
    dashboard.refresh_timer.run = on_refresh_timer;
    dashboard.frame_timer.run = on_frame_timer;
    open_terminal(&dashboard);
    model_refresh(dashboard.core.model, clock_monotonic(), clock_wall());
    draw(&dashboard); /* the first frame waits for nobody */
    on_round_timer(dashboard.core.loop, &dashboard.round_timer);
    loop_run(dashboard.core.loop);

    screen_close();
    loop_timer_clear(dashboard.core.loop, &dashboard.round_timer);
    loop_timer_clear(dashboard.core.loop, &dashboard.refresh_timer);
    loop_timer_clear(dashboard.core.loop, &dashboard.frame_timer);
    close_terminal(&dashboard);
    runner_free(dashboard.runner);
    app_free(dashboard.app);
    canvas_deinit(&dashboard.canvas);
    core_close(&dashboard.core);
    *status = dashboard.status;
    return NULL;
}

/* ---- Once ---- */

static void once_round(void *context)
{
    (void)context;
}

static void once_key_answer(void *context, const struct key_answer *answer)
{
    (void)context;
    (void)answer;
}

static void once_change_done(void *context, const char *what, const char *error)
{
    (void)context;
    (void)what;
    (void)error;
}

/* Runs the loop until the round is over: every question has its deadline. */
static void finish_round(struct core *core)
{
    while (collector_is_busy(core->collector)) loop_run_once(core->loop, LOOP_SECOND);
    model_refresh(core->model, clock_monotonic(), clock_wall());
}

static void wait_interval(struct core *core)
{
    int64_t end = clock_monotonic() + core->interval;
    for (int64_t now = clock_monotonic(); now < end; now = clock_monotonic())
        loop_run_once(core->loop, end - now);
}

static int print_width(void)
{
    const char *text = getenv("COLUMNS");
    long width = text == NULL ? 0 : strtol(text, NULL, 10);
    return width >= 20 && width <= ONCE_WIDTH_MAX ? (int)width : ONCE_WIDTH;
}

struct error *dashboard_once(const struct options *options, int *status)
{
    struct core core = {.loop = NULL};
    const struct collect_handler collect = {NULL, once_round, once_key_answer, once_change_done};
    struct error *error = core_open(&core, options, &collect);
    if (error != NULL) return error;
    collector_round(core.collector);
    finish_round(&core);
    /* Rates and percentiles are what happens between two looks. */
    if (core.model->members_up > 0) {
        wait_interval(&core);
        collector_round(core.collector);
        finish_round(&core);
    }
    struct buf out = {0};
    if (options->json)
        once_json(core.model, &out);
    else
        once_text(core.model, print_width(), options->ascii, &out);
    bool written = fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
    buf_deinit(&out);
    *status = once_status(core.model);
    core_close(&core);
    return written ? NULL : error_new(ERROR_IO, "write to standard output failed");
}
