#include "tui/runner.h"

#include "base/memory.h"
#include "shell/command.h"
#include "shell/shell.h"
#include "shell/txn_grammar.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

extern char **environ;

enum { OUTPUT_HIGH = 1024 * 1024 }; /* the command waits while so much has not been taken */

struct runner {
    struct loop *loop;
    const char *const *connection;
    size_t connection_count;
    bool read_only;
    struct runner_handler handler;
    uv_async_t wake;
    bool is_running, is_connected;
    pthread_t thread;
    struct shell shell; /* the thread's while it runs */
    char *line;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t changed;
    struct buf output;
    char *question;
    bool question_is_told, answered, answer;
    bool stopping, ended;
    int status;
};

/* ---- On the command's thread ---- */

static void write_output(void *context, struct bytes text)
{
    struct runner *runner = context;
    pthread_mutex_lock(&runner->mutex);
    while (runner->output.size > OUTPUT_HIGH && !runner->stopping)
        pthread_cond_wait(&runner->changed, &runner->mutex);
    if (!runner->stopping) buf_append_bytes(&runner->output, text);
    pthread_mutex_unlock(&runner->mutex);
    uv_async_send(&runner->wake);
}

static bool confirm(void *context, const char *question)
{
    struct runner *runner = context;
    pthread_mutex_lock(&runner->mutex);
    free(runner->question);
    runner->question = mem_strdup(question);
    runner->question_is_told = runner->answered = runner->answer = false;
    uv_async_send(&runner->wake);
    while (!runner->answered && !runner->stopping) pthread_cond_wait(&runner->changed, &runner->mutex);
    bool yes = runner->answered && runner->answer;
    pthread_mutex_unlock(&runner->mutex);
    return yes;
}

static int connect_session(struct runner *runner)
{
    if (runner->is_connected) return SHELL_OK;
    struct arena *arena = arena_new();
    struct words words = {.items = NULL};
    for (size_t i = 0; i < runner->connection_count; i++)
        words_add(&words, arena, bytes_from_string(runner->connection[i]));
    int status = shell_connect(&runner->shell, &words);
    runner->is_connected = status == SHELL_OK;
    arena_free(arena);
    return status;
}

static int run_line(struct runner *runner)
{
    struct arena *arena = arena_new();
    struct words words = {.items = NULL};
    const char *refused = runner_refuses(runner->line, runner->read_only);
    int status = SHELL_FAILED;
    if (refused != NULL)
        shell_fail(&runner->shell, SHELL_FAILED, "%s", refused);
    else if (!txn_split_words(bytes_from_string(runner->line), arena, &words))
        shell_fail(&runner->shell, SHELL_FAILED, "a quoted text is malformed");
    else
        status = connect_session(runner);
    if (status == SHELL_OK) status = shell_run(&runner->shell, &words);
    arena_free(arena);
    return status;
}

static void *run_thread(void *context)
{
    struct runner *runner = context;
    int status = run_line(runner);
    pthread_mutex_lock(&runner->mutex);
    runner->status = status;
    runner->ended = true;
    pthread_mutex_unlock(&runner->mutex);
    uv_async_send(&runner->wake);
    return NULL;
}

/* ---- On the loop's ---- */

static void on_wake(uv_async_t *wake)
{
    struct runner *runner = wake->data;
    pthread_mutex_lock(&runner->mutex);
    struct buf output = runner->output;
    runner->output = (struct buf){0};
    char *question =
        runner->question != NULL && !runner->question_is_told ? mem_strdup(runner->question) : NULL;
    runner->question_is_told = true;
    bool ended = runner->ended;
    int status = runner->status;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->mutex);
    if (output.size > 0) runner->handler.on_output(runner->handler.context, buf_bytes(&output));
    if (question != NULL) runner->handler.on_question(runner->handler.context, question);
    buf_deinit(&output);
    free(question);
    if (!ended || !runner->is_running) return;
    pthread_join(runner->thread, NULL);
    runner->is_running = false;
    runner->handler.on_end(runner->handler.context, status);
}

struct runner *runner_new(struct loop *loop, const char *const *connection, size_t connection_count,
                          bool read_only, const struct runner_handler *handler)
{
    struct runner *runner = mem_zalloc(1, sizeof(*runner));
    runner->loop = loop;
    runner->connection = connection;
    runner->connection_count = connection_count;
    runner->read_only = read_only;
    runner->handler = *handler;
    pthread_mutex_init(&runner->mutex, NULL);
    pthread_cond_init(&runner->changed, NULL);
    uv_async_init(loop_uv(loop), &runner->wake, on_wake);
    runner->wake.data = runner;
    struct shell_streams streams = {.out = {write_output, runner},
                                    .err = {write_output, runner},
                                    .in = {.descriptor = -1},
                                    .confirm = confirm,
                                    .context = runner};
    shell_init(&runner->shell, streams, environ);
    return runner;
}

static void on_wake_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void runner_stop(struct runner *runner)
{
    if (!runner->is_running) return;
    pthread_mutex_lock(&runner->mutex);
    runner->stopping = true;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->mutex);
    shell_interrupt(&runner->shell);
}

void runner_free(struct runner *runner)
{
    if (runner == NULL) return;
    runner_stop(runner);
    if (runner->is_running) pthread_join(runner->thread, NULL);
    shell_deinit(&runner->shell);
    pthread_mutex_destroy(&runner->mutex);
    pthread_cond_destroy(&runner->changed);
    buf_deinit(&runner->output);
    free(runner->question);
    free(runner->line);
    uv_close((uv_handle_t *)&runner->wake, on_wake_closed);
}

void runner_start(struct runner *runner, const char *line)
{
    assert(!runner->is_running);
    free(runner->line);
    runner->line = mem_strdup(line);
    runner->stopping = runner->ended = runner->answered = false;
    free(runner->question);
    runner->question = NULL;
    runner->is_running = pthread_create(&runner->thread, NULL, run_thread, runner) == 0;
    if (!runner->is_running) {
        runner->handler.on_output(runner->handler.context, BYTES_LITERAL("Error: no thread for it\n"));
        runner->handler.on_end(runner->handler.context, SHELL_FAILED);
    }
}

void runner_answer(struct runner *runner, bool yes)
{
    pthread_mutex_lock(&runner->mutex);
    runner->answered = true;
    runner->answer = yes;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->mutex);
}

/* ---- What may be run ---- */

static const char *const harmless[] = {
    "get",         "watch",      "endpoint health", "endpoint status",  "endpoint hashkv",
    "member list", "alarm list", "version",         "lease timetolive", "lease list",
    "user list",   "user get",   "role list",       "role get",         "auth status",
    "options",     "help",       "completion",      "snapshot status",
};

/* These read a terminal or run programs on ours. */
static const char *const unsuited[] = {"lock", "elect"};

static bool is_in(const char *const *list, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], path) == 0) return true;
    return false;
}

static bool has_separator(const struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(word_string(words, i), "--") == 0) return true;
    return false;
}

const char *runner_refuses(const char *line, bool read_only)
{
    struct arena *arena = arena_new();
    struct words words = {.items = NULL}, rest;
    struct command_path path;
    struct bytes unknown;
    const char *refusal = NULL;
    if (txn_split_words(bytes_from_string(line), arena, &words) &&
        command_find(&command_root, &words, arena, &path, &rest, &unknown) &&
        command_of(&path)->run != NULL) {
        const char *text = command_path_text(&path, arena);
        bool runs_program = strcmp(text, "watch") == 0 && has_separator(&words);
        if (is_in(unsuited, sizeof(unsuited) / sizeof(unsuited[0]), text) || runs_program)
            refusal = "this runs in a terminal of its own: use etcdctl";
        else if (read_only && !is_in(harmless, sizeof(harmless) / sizeof(harmless[0]), text))
            refusal = "commands that may change something are off: --read-only";
    }
    arena_free(arena);
    return refusal;
}

/* ---- Completion ---- */

struct candidates {
    struct bytes partial;
    struct buf *choices;
    struct buf common;
    size_t count;
};

static void offer(struct candidates *candidates, const char *text)
{
    struct bytes word = bytes_from_string(text);
    if (!bytes_starts_with(word, candidates->partial)) return;
    if (candidates->count++ == 0) {
        buf_append_bytes(&candidates->common, word);
    } else {
        size_t same = 0;
        while (same < candidates->common.size && same < word.size &&
               candidates->common.data[same] == word.data[same])
            same++;
        candidates->common.size = same;
    }
    buf_printf(candidates->choices, "%s%s", candidates->count > 1 ? "  " : "", text);
}

static void offer_flags(struct candidates *candidates, const struct command_path *path, struct arena *arena)
{
    struct flag_set flags;
    command_flags(path, arena, true, &flags);
    for (size_t i = 0; i < flags.count; i++)
        offer(candidates, arena_printf(arena, "--%s", flags.values[i].flag->name));
}

void runner_complete(struct bytes before, struct buf *addition, struct buf *choices)
{
    struct arena *arena = arena_new();
    struct command_path path = {.steps = {&command_root}, .depth = 1};
    size_t at = 0;
    for (;;) {
        while (at < before.size && before.data[at] == ' ') at++;
        size_t end = at;
        while (end < before.size && before.data[end] != ' ') end++;
        if (end == before.size) break;
        const struct command *child = command_child(command_of(&path), bytes_of(before.data + at, end - at));
        if (child != NULL && path.depth < COMMAND_DEPTH_MAX) path.steps[path.depth++] = child;
        at = end;
    }
    struct candidates candidates = {.partial = bytes_of(before.data + at, before.size - at),
                                    .choices = choices};
    const struct command *command = command_of(&path);
    if (candidates.partial.size > 0 && candidates.partial.data[0] == '-')
        offer_flags(&candidates, &path, arena);
    else
        for (size_t i = 0; command->children != NULL && command->children[i] != NULL; i++)
            offer(&candidates, command->children[i]->name);
    if (candidates.count > 0)
        buf_append(addition, candidates.common.data + candidates.partial.size,
                   candidates.common.size - candidates.partial.size);
    if (candidates.count == 1) buf_append_byte(addition, ' ');
    if (candidates.count <= 1) buf_clear(choices);
    buf_deinit(&candidates.common);
    arena_free(arena);
}
