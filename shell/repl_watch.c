/* Watches in the background of the interactive shell. */
#include "shell/repl_internal.h"

#include "api/message.h"
#include "base/text.h"

#include <stdio.h>

enum { VALUE_WIDTH = 60 };

void repl_format_number(struct buf *out, int64_t number)
{
    char digits[32];
    int size = snprintf(digits, sizeof(digits), "%lld", (long long)number);
    for (int i = 0; i < size; i++) {
        buf_append_byte(out, (uint8_t)digits[i]);
        int left = size - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') buf_append_byte(out, ',');
    }
}

void repl_format_value(struct repl *repl, struct buf *out, struct bytes value, size_t width)
{
    struct buf quoted = {0};
    text_go_quote(&quoted, value);
    /* Quotes only where something had to be escaped; quotes themselves need not be. */
    bool plain = text_is_utf8(value);
    for (size_t i = 0; i < value.size && plain; i++) plain = value.data[i] >= ' ' && value.data[i] != 0x7f;
    struct bytes shown = plain && value.size > 0 ? value : buf_bytes(&quoted);
    size_t columns = 0, at = 0;
    while (at < shown.size && columns < width) {
        uint32_t code_point;
        size_t size = text_utf8_decode(bytes_of(shown.data + at, shown.size - at), &code_point);
        at += size == 0 ? 1 : size;
        columns++;
    }
    buf_append(out, shown.data, at);
    if (at < shown.size) buf_append_string(out, repl->utf8 ? "…" : "...");
    buf_deinit(&quoted);
}

static struct repl_watch *free_place(struct repl *repl)
{
    for (size_t i = 0; i < REPL_WATCHES_MAX; i++)
        if (repl->watches[i].number == 0) return &repl->watches[i];
    return NULL;
}

static void forget(struct repl_watch *watch)
{
    watch_request_deinit(&watch->request);
    arena_free(watch->arena);
    *watch = (struct repl_watch){.number = 0};
}

/* Reads the line into the watch's request. False after the error was printed. */
static bool read_request(struct repl *repl, struct repl_watch *watch, const struct words *words)
{
    struct command_path path;
    struct words rest, copy = {0};
    struct bytes unknown;
    struct buf reason = {0};
    bool refusable;
    for (size_t i = 0; i < words->count; i++) words_add(&copy, watch->arena, words->items[i]);
    bool is_watch = command_find(&command_root, &copy, watch->arena, &path, &rest, &unknown) &&
                    strcmp(command_of(&path)->name, "watch") == 0;
    if (!is_watch) {
        fputs("Error: only watch runs in the background\n", stderr);
        return false;
    }
    struct invocation line = {.command = command_of(&path), .path = "watch"};
    command_flags(&path, watch->arena, true, &line.flags);
    bool good = flag_set_parse(&line.flags, &rest, &line.words, &reason) == FLAG_PARSED;
    if (good &&
        watch_request_read(&line, NULL, watch->arena, &watch->request, &refusable, &reason) != SHELL_OK)
        good = false;
    if (!good) fprintf(stderr, "Error: %s\n", buf_string(&reason));
    buf_deinit(&reason);
    (void)repl;
    return good;
}

void repl_watch_start(struct repl *repl, const struct words *words, const char *text)
{
    struct repl_watch *watch = free_place(repl);
    if (watch == NULL) {
        fprintf(stderr, "Error: %d watches run already; \\unwatch N ends one\n", REPL_WATCHES_MAX);
        return;
    }
    watch->arena = arena_new();
    if (!read_request(repl, watch, words)) {
        forget(watch);
        return;
    }
    if (repl->inbox == NULL) repl->inbox = blocking_inbox_new(repl->shell->session);
    watch->number = repl->next_watch++;
    watch->text = arena_string(watch->arena, bytes_from_string(text));
    watch->source = blocking_watch(repl->inbox, &watch->request.options, watch);
    struct buf key = {0};
    repl_format_value(repl, &key, watch->request.options.key, VALUE_WIDTH);
    printf("watch %u on %s%s started\n", watch->number, buf_string(&key),
           watch->request.options.range_end.size > 0 ? (repl->utf8 ? "…" : "...") : "");
    fflush(stdout);
    buf_deinit(&key);
}

void repl_watch_stop(struct repl *repl, unsigned number)
{
    for (size_t i = 0; i < REPL_WATCHES_MAX; i++) {
        if (repl->watches[i].number != number || number == 0) continue;
        /* Its END comes through the inbox and clears the place. */
        blocking_source_cancel(repl->watches[i].source);
        return;
    }
    fprintf(stderr, "Error: there is no watch %u\n", number);
}

void repl_watch_stop_all(struct repl *repl)
{
    blocking_inbox_free(repl->inbox);
    repl->inbox = NULL;
    for (size_t i = 0; i < REPL_WATCHES_MAX; i++)
        if (repl->watches[i].number != 0) forget(&repl->watches[i]);
}

void repl_watch_list(struct repl *repl)
{
    bool any = false;
    for (size_t i = 0; i < REPL_WATCHES_MAX; i++) {
        if (repl->watches[i].number == 0) continue;
        printf("%3u  %s\n", repl->watches[i].number, repl->watches[i].text);
        any = true;
    }
    if (!any) puts("no watches");
    fflush(stdout);
}

static void show_event(struct repl *repl, const struct repl_watch *watch, const Mvccpb__Event *event)
{
    if (event->kv == NULL) return;
    struct buf line = {0};
    bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    buf_printf(&line, "[watch %u] %s ", watch->number, deleted ? "DELETE" : "PUT");
    repl_format_value(repl, &line, message_bytes(event->kv->key), VALUE_WIDTH);
    if (!deleted) {
        buf_append_byte(&line, ' ');
        if (event->prev_kv != NULL) {
            repl_format_value(repl, &line, message_bytes(event->prev_kv->value), VALUE_WIDTH);
            buf_append_string(&line, repl->utf8 ? " → " : " -> ");
        }
        repl_format_value(repl, &line, message_bytes(event->kv->value), VALUE_WIDTH);
    }
    buf_append_string(&line, "   rev ");
    repl_format_number(&line, event->kv->mod_revision);
    printf("%s\n", buf_string(&line));
    buf_deinit(&line);
}

static void show_end(struct repl_watch *watch, const struct client_error *error)
{
    struct buf text = {0};
    if (error != NULL) client_error_format(&text, error);
    printf("[watch %u] ended%s%s\n", watch->number, error != NULL ? ": " : "", buf_string(&text));
    buf_deinit(&text);
    forget(watch);
}

bool repl_watch_show(struct repl *repl, void (*prepare)(void))
{
    bool any = false;
    struct blocking_event event;
    while (repl->inbox != NULL && blocking_next(repl->inbox, client_now(), &event) == BLOCKING_EVENT) {
        struct repl_watch *watch = event.tag;
        if (!any) prepare();
        any = true;
        if (event.kind == CLIENT_EVENT_END) {
            show_end(watch, event.error);
        } else {
            const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)event.response;
            for (size_t i = 0; i < response->n_events; i++) show_event(repl, watch, response->events[i]);
        }
        blocking_event_deinit(&event);
    }
    fflush(stdout);
    return any;
}
