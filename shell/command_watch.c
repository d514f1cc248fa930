/* watch: one watch from the command line, or any number of them line by line from standard input. */
#include "api/keys.h"
#include "api/message.h"
#include "base/text.h"
#include "shell/commands.h"
#include "shell/environment.h"
#include "shell/present_kv.h"
#include "shell/program.h"
#include "shell/txn_grammar.h"
#include "shell/watch.h"

#include <errno.h>
#include <poll.h>

const struct flag watch_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "false", "read watch commands line by line from standard input", NULL},
    {"prefix", 0, FLAG_BOOL, "false", "all keys that start with the given one", NULL},
    {"rev", 0, FLAG_INT, "0", "revision to start at (0: from now on)", NULL},
    {"prev-kv", 0, FLAG_BOOL, "false", "show what the key held before each event", NULL},
    {"progress-notify", 0, FLAG_BOOL, "false", "ask the server to report its progress now and then", NULL},
    {0},
};

/* ---- Requests ---- */

int watch_request_read(const struct invocation *line, char **environment, struct arena *arena,
                       struct watch_request *request, bool *refusable, struct buf *reason)
{
    struct watch_arguments arguments;
    *refusable = false;
    int status = watch_arguments_read(&line->words, &line->separated, line->has_separator,
                                      environment_get(environment, "ETCDCTL_WATCH_KEY"),
                                      environment_get(environment, "ETCDCTL_WATCH_RANGE_END"), arena,
                                      &arguments, reason);
    if (status != SHELL_OK) return status;
    bool prefix = flag_bool(&line->flags, "prefix");
    if (prefix && arguments.has_range_end) {
        buf_append_string(reason, "`range_end` and `--prefix` are mutually exclusive");
        *refusable = true;
        return SHELL_BAD_ARGUMENTS;
    }
    *request = (struct watch_request){.command = arguments.command};
    request->options = (struct client_watch_options){
        .key = arguments.key,
        .range_end = prefix ? key_prefix_end(arguments.key, arena) : arguments.range_end,
        .start_revision = flag_int(&line->flags, "rev"),
        .prev_kv = flag_bool(&line->flags, "prev-kv"),
        .progress_notify = flag_bool(&line->flags, "progress-notify"),
    };
    return SHELL_OK;
}

void watch_request_deinit(struct watch_request *request)
{
    buf_deinit(&request->canceled);
}

/* ---- Events ---- */

static const char *quoted_variable(struct arena *arena, const char *name, struct bytes value)
{
    struct buf text = {0};
    buf_printf(&text, "%s=", name);
    text_go_quote(&text, value);
    const char *copy = arena_string(arena, buf_bytes(&text));
    buf_deinit(&text);
    return copy;
}

static int run_for_event(struct shell *shell, const struct watch_request *request, int64_t revision,
                         const Mvccpb__Event *event)
{
    static const Mvccpb__KeyValue no_kv = MVCCPB__KEY_VALUE__INIT;
    const Mvccpb__KeyValue *kv = event->kv != NULL ? event->kv : &no_kv;
    struct arena *arena = arena_new();
    bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    const char *variables[] = {
        arena_printf(arena, "ETCD_WATCH_REVISION=%lld", (long long)revision),
        quoted_variable(arena, "ETCD_WATCH_EVENT_TYPE", bytes_from_string(deleted ? "DELETE" : "PUT")),
        quoted_variable(arena, "ETCD_WATCH_KEY", message_bytes(kv->key)),
        quoted_variable(arena, "ETCD_WATCH_VALUE", message_bytes(kv->value)),
        NULL,
    };
    struct buf reason = {0};
    int status = program_run(&request->command, shell->environment, variables, &reason);
    if (status != 0) {
        struct buf text = {0};
        buf_append_string(&text, "command [");
        for (size_t i = 0; i < request->command.count; i++) {
            if (i > 0) buf_append_byte(&text, ' ');
            text_go_quote(&text, request->command.items[i]);
        }
        shell_print_error(shell, "%s] error (%s)\n", buf_string(&text), buf_string(&reason));
        buf_deinit(&text);
    }
    buf_deinit(&reason);
    arena_free(arena);
    return status == 0 ? SHELL_OK : SHELL_FAILED;
}

static int show_response(struct shell *shell, const struct watch_request *request,
                         const Etcdserverpb__WatchResponse *response)
{
    int64_t revision = response->header != NULL ? response->header->revision : 0;
    bool progress = response->n_events == 0 && !response->canceled && !response->created &&
                    response->compact_revision == 0 && revision != 0;
    if (progress) shell_print(shell, "progress notify: %lld\n", (long long)revision);
    int status = shell_show(shell, &present_watch, response, NULL);
    for (size_t i = 0; i < response->n_events && status == SHELL_OK && request->command.count > 0; i++)
        status = run_for_event(shell, request, revision, response->events[i]);
    return status;
}

/* Says why the watch ended and shows the response that ended it. */
static int show_end(struct shell *shell, struct watch_request *request, const struct client_error *error)
{
    struct buf text = {0};
    if (error != NULL) client_error_format(&text, error);
    shell_print_error(shell, "watch was canceled (%s)\n", buf_string(&text));
    buf_deinit(&text);
    struct arena *arena = arena_new();
    Etcdserverpb__WatchResponse empty = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    const ProtobufCMessage *response =
        message_unpack(&etcdserverpb__watch_response__descriptor, buf_bytes(&request->canceled), arena, NULL);
    empty.canceled = true;
    int status =
        shell_show(shell, &present_watch,
                   request->canceled.size > 0 && response != NULL ? (const void *)response : &empty, NULL);
    arena_free(arena);
    return status == SHELL_OK ? SHELL_INTERRUPTED : status;
}

int watch_handle(struct shell *shell, struct watch_request *request, const struct blocking_event *event)
{
    if (event->kind == CLIENT_EVENT_END) return show_end(shell, request, event->error);
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)event->response;
    if (!response->canceled) return show_response(shell, request, response);
    buf_clear(&request->canceled);
    message_pack(&request->canceled, event->response);
    return SHELL_OK;
}

/* ---- One watch ---- */

static int watch_one(struct shell *shell, struct watch_request *request)
{
    struct blocking_inbox *inbox = blocking_inbox_new(shell->client);
    blocking_watch(inbox, &request->options, request);
    int status = SHELL_OK;
    while (status == SHELL_OK) {
        struct blocking_event event;
        if (blocking_next(inbox, 0, &event) == BLOCKING_INTERRUPTED) break;
        status = watch_handle(shell, request, &event);
        blocking_event_deinit(&event);
    }
    if (status == SHELL_INTERRUPTED) shell_fail(shell, status, "watch is canceled by the server");
    blocking_inbox_free(inbox);
    return status;
}

/* ---- Line by line ---- */

static void skip_line(struct shell *shell, struct bytes line, const char *why)
{
    struct buf text = {0};
    buf_append_string(&text, "Invalid command ");
    buf_append_bytes(&text, line);
    shell_print_error(shell, "%s (%s)\n", buf_string(&text), why);
    buf_deinit(&text);
}

/* A `watch ...` line as an invocation. */
static enum flag_outcome parse_watch_line(struct shell *shell, const struct words *words,
                                          struct invocation *line, struct buf *reason)
{
    *line = (struct invocation){.command = &command_watch, .path = "watch"};
    struct words rest = {words->items + 1, words->count - 1};
    flag_set_init(&line->flags, shell->arena, watch_flags, "watch", NULL);
    for (size_t i = 0; i < rest.count; i++) {
        if (!line->has_separator && strcmp(word_string(&rest, i), "--") == 0)
            line->has_separator = true;
        else if (line->has_separator)
            words_add(&line->separated, shell->arena, rest.items[i]);
    }
    return flag_set_parse(&line->flags, &rest, &line->words, reason);
}

static int add_watch(struct shell *shell, struct blocking_inbox *inbox, struct bytes text,
                     const struct words *words)
{
    struct invocation line;
    struct buf reason = {0};
    bool has_key = environment_get(shell->environment, "ETCDCTL_WATCH_KEY") != NULL;
    if (words->count < 2 && !has_key) {
        skip_line(shell, text, "command type or key is not provided");
        return SHELL_OK;
    }
    struct watch_request *request = arena_zalloc(shell->arena, sizeof(*request));
    bool refusable = false;
    int status =
        parse_watch_line(shell, words, &line, &reason) == FLAG_PARSED
            ? watch_request_read(&line, shell->environment, shell->arena, request, &refusable, &reason)
            : SHELL_BAD_ARGUMENTS;
    if (status == SHELL_OK) {
        blocking_watch(inbox, &request->options, request);
    } else if (refusable) {
        skip_line(shell, text, buf_string(&reason));
        status = SHELL_OK;
    } else {
        shell_fail(shell, status, "%s", buf_string(&reason));
    }
    buf_deinit(&reason);
    return status;
}

static int obey_line(struct shell *shell, struct blocking_inbox *inbox, struct bytes text)
{
    struct words words;
    if (text.size > 0 && text.data[text.size - 1] == '\n') text.size--;
    if (!txn_split_words(text, shell->arena, &words))
        return shell_fail(shell, SHELL_BAD_INPUT, "invalid syntax");
    if (words.count == 0) {
        shell_print_error(shell, "Invalid command: %.*s (watch and progress supported)\n", (int)text.size,
                          (const char *)text.data);
        return SHELL_OK;
    }
    const char *name = word_string(&words, 0);
    if (strcmp(name, "watch") == 0) return add_watch(shell, inbox, text, &words);
    if (strcmp(name, "progress") == 0)
        blocking_request_progress(shell->client);
    else
        skip_line(shell, text, "only support watch");
    return SHELL_OK;
}

/* Lines that have come whole; SHELL_BAD_INPUT when the input is over. */
static int obey_input(struct shell *shell, struct blocking_inbox *inbox)
{
    struct buf line = {0};
    int status = SHELL_OK;
    /* One read, then every whole line: a line that is not yet complete waits in shell->input. */
    do {
        if (!shell_read_line(shell, &line))
            status = shell_fail(shell, SHELL_BAD_INPUT, "error reading watch request line: EOF");
        else
            status = obey_line(shell, inbox, arena_copy(shell->arena, buf_bytes(&line)));
    } while (status == SHELL_OK && shell->input.size > 0 &&
             memchr(shell->input.data, '\n', shell->input.size) != NULL);
    buf_deinit(&line);
    return status;
}

static int handle_waiting(struct shell *shell, struct blocking_inbox *inbox)
{
    int status = SHELL_OK;
    struct blocking_event event;
    while (status == SHELL_OK && blocking_next(inbox, client_now(), &event) == BLOCKING_EVENT) {
        struct watch_request *request = event.tag;
        status = watch_handle(shell, request, &event);
        if (event.kind == CLIENT_EVENT_END) watch_request_deinit(request);
        /* The other watches go on. */
        if (status == SHELL_INTERRUPTED) status = SHELL_OK;
        blocking_event_deinit(&event);
    }
    return status;
}

static int watch_lines(struct shell *shell)
{
    struct blocking_inbox *inbox = blocking_inbox_new(shell->client);
    int status = SHELL_OK;
    while (status == SHELL_OK && !shell->interrupted) {
        struct pollfd ready[] = {{.fd = shell->streams.in.descriptor, .events = POLLIN},
                                 {.fd = blocking_inbox_descriptor(inbox), .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 && errno != EINTR) break;
        if (ready[1].revents != 0) status = handle_waiting(shell, inbox);
        if (status == SHELL_OK && ready[0].revents != 0) status = obey_input(shell, inbox);
    }
    blocking_inbox_free(inbox);
    return status;
}

static int run_watch(struct shell *shell, const struct invocation *line)
{
    struct watch_request request = {0};
    struct buf reason = {0};
    bool interactive = flag_bool(&line->flags, "interactive"), refusable;
    if (interactive && shell->streams.in.descriptor < 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "there is no standard input to read watch commands from");
    int status = SHELL_OK;
    if (!interactive)
        status = watch_request_read(line, shell->environment, shell->arena, &request, &refusable, &reason);
    if (status != SHELL_OK) shell_fail(shell, status, "%s", buf_string(&reason));
    buf_deinit(&reason);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status == SHELL_OK) status = interactive ? watch_lines(shell) : watch_one(shell, &request);
    watch_request_deinit(&request);
    return status;
}

const struct command command_watch = {
    .name = "watch",
    .usage = "[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    .summary = "Watches events stream on keys or prefixes",
    .description = "The words after -- are a command that is run for each event, with ETCD_WATCH_REVISION,\n"
                   "ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE (quoted) in its environment.",
    .flags = watch_flags,
    .run = run_watch,
    .properties = COMMAND_TAKES_KEY | COMMAND_ENDLESS,
};
