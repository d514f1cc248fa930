#include "shell/shell.h"

#include "base/text.h"
#include "shell/help.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    INPUT_MAX = 64 * 1024 * 1024, /* more than any server accepts in one request */
    READ_SIZE = 64 * 1024,
};

void shell_init(struct shell *shell, struct shell_streams streams, char **environment)
{
    *shell = (struct shell){.streams = streams, .environment = environment, .arena = arena_new()};
}

void shell_deinit(struct shell *shell)
{
    assert(shell->client == NULL && "a command's client goes with the command");
    shell->interruptible = NULL;
    blocking_free(shell->session);
    arena_free(shell->session_arena);
    arena_free(shell->arena);
    buf_deinit(&shell->input);
}

void shell_interrupt(struct shell *shell)
{
    shell->interrupted = 1;
    struct blocking_client *client = shell->interruptible;
    if (client != NULL) blocking_interrupt(client);
}

/* ---- Running a line ---- */

static int show_help(struct shell *shell, const struct command_path *path)
{
    struct buf page = {0};
    help_page(&page, path, shell->arena);
    shell_print_bytes(shell, buf_bytes(&page));
    buf_deinit(&page);
    return SHELL_OK;
}

static int refuse_flag(struct shell *shell, const struct command_path *path, struct buf *reason)
{
    shell_print_error(shell, "Error: %s\n\n", buf_string(reason));
    show_help(shell, path);
    return SHELL_FAILED;
}

static void split_at_separator(struct invocation *line, const struct words *rest, struct arena *arena)
{
    for (size_t i = 0; i < rest->count; i++) {
        if (!line->has_separator && strcmp(word_string(rest, i), "--") == 0)
            line->has_separator = true;
        else if (line->has_separator)
            words_add(&line->separated, arena, rest->items[i]);
    }
}

static int run_found(struct shell *shell, const struct command_path *path, const struct words *rest,
                     struct buf *reason)
{
    const struct command *command = command_of(path);
    struct invocation line = {.command = command, .path = command_path_text(path, shell->arena)};
    command_flags(path, shell->arena, true, &line.flags);
    if (shell->session != NULL) flag_set_take_defaults(&line.flags, &shell->session_flags);
    switch (flag_set_parse(&line.flags, rest, &line.words, reason)) {
    case FLAG_HELP:
        return show_help(shell, path);
    case FLAG_MISTAKE:
        return refuse_flag(shell, path, reason);
    case FLAG_PARSED:
        break;
    }
    if (command->run == NULL) return show_help(shell, path);
    split_at_separator(&line, rest, shell->arena);
    return command->run(shell, &line);
}

static void close_client(struct shell *shell)
{
    shell->interruptible = NULL;
    if (shell->client_is_own)
        blocking_free(shell->client);
    else if (shell->client != NULL)
        blocking_clear_interrupt(shell->client);
    shell->client = NULL;
    shell->client_is_own = false;
}

int shell_run(struct shell *shell, const struct words *words)
{
    arena_reset(shell->arena);
    shell->interrupted = 0;
    shell->input_ended = false;
    buf_clear(&shell->input);
    shell->is_prepared = false;
    shell->style = (struct output_style){.format = OUTPUT_SIMPLE};
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    struct buf reason = {0};
    int status = SHELL_FAILED;
    if (command_find(&command_root, words, shell->arena, &path, &rest, &unknown)) {
        status = run_found(shell, &path, &rest, &reason);
    } else {
        command_explain_unknown(&reason, &command_root, unknown);
        shell_fail(shell, SHELL_FAILED, "%s", buf_string(&reason));
    }
    close_client(shell);
    buf_deinit(&reason);
    return status;
}

/* ---- Output ---- */

static void write_sink(const struct shell_sink *sink, struct bytes bytes)
{
    if (bytes.size > 0) sink->write(sink->context, bytes);
}

static void vprint(const struct shell_sink *sink, const char *format, va_list arguments)
{
    struct buf text = {0};
    buf_vprintf(&text, format, arguments);
    write_sink(sink, buf_bytes(&text));
    buf_deinit(&text);
}

void shell_print(struct shell *shell, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprint(&shell->streams.out, format, arguments);
    va_end(arguments);
}

void shell_print_bytes(struct shell *shell, struct bytes bytes)
{
    write_sink(&shell->streams.out, bytes);
}

void shell_print_error(struct shell *shell, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprint(&shell->streams.err, format, arguments);
    va_end(arguments);
}

int shell_fail(struct shell *shell, int code, const char *format, ...)
{
    struct buf text = {0};
    buf_append_string(&text, "Error: ");
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&text, format, arguments);
    va_end(arguments);
    buf_append_byte(&text, '\n');
    write_sink(&shell->streams.err, buf_bytes(&text));
    buf_deinit(&text);
    return code;
}

int shell_fail_call(struct shell *shell, int code, struct client_error *error)
{
    struct buf text = {0};
    client_error_format(&text, error);
    shell_fail(shell, code, "%s", buf_string(&text));
    buf_deinit(&text);
    client_error_free(error);
    return code;
}

int shell_show(struct shell *shell, const struct presentation *presentation, const void *response,
               const void *detail)
{
    print_fn *print = presentation->by_format[shell->style.format];
    if (print == NULL)
        return shell_fail(shell, SHELL_BAD_FEATURE, "%s not supported as output format",
                          output_format_name(shell->style.format));
    struct buf text = {0};
    struct print_target target = {.out = &text, .style = shell->style};
    print(&target, response, detail);
    write_sink(&shell->streams.out, buf_bytes(&text));
    buf_deinit(&text);
    return SHELL_OK;
}

/* ---- Calls ---- */

struct client_error *shell_call(struct shell *shell, enum client_rpc rpc, const ProtobufCMessage *request,
                                enum shell_patience patience, const char *endpoint,
                                ProtobufCMessage **response)
{
    assert(shell->client != NULL && "shell_open comes first");
    struct client_call_options options = {.endpoint = endpoint};
    if (patience == SHELL_BOUNDED) options.deadline = client_deadline_after(shell->command_timeout);
    return blocking_call(shell->client, rpc, request, &options, shell->arena, response);
}

int shell_call_and_show(struct shell *shell, const struct invocation *line, enum client_rpc rpc,
                        const ProtobufCMessage *request, enum shell_patience patience,
                        const struct presentation *presentation, const void *detail)
{
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error = shell_call(shell, rpc, request, patience, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    return shell_show(shell, presentation, response, detail);
}

/* ---- Input ---- */

/* More bytes behind shell->input; false at the end or when interrupted. */
static bool read_more(struct shell *shell)
{
    const struct shell_source *in = &shell->streams.in;
    if (shell->input_ended || in->read == NULL || shell->input.size > INPUT_MAX) return false;
    uint8_t *at = buf_reserve(&shell->input, READ_SIZE);
    long size = in->read(in->context, at, READ_SIZE);
    if (size <= 0) {
        shell->input_ended = size == 0;
        return false;
    }
    shell->input.size += (size_t)size;
    return true;
}

bool shell_read_all(struct shell *shell, struct buf *content)
{
    while (read_more(shell)) {
    }
    buf_append_bytes(content, buf_bytes(&shell->input));
    buf_clear(&shell->input);
    bool ended = shell->input_ended || shell->streams.in.read == NULL;
    return ended && !shell->interrupted;
}

bool shell_read_line(struct shell *shell, struct buf *line)
{
    buf_clear(line);
    for (;;) {
        const uint8_t *end =
            shell->input.size == 0 ? NULL : memchr(shell->input.data, '\n', shell->input.size);
        if (end != NULL) {
            size_t size = (size_t)(end - shell->input.data) + 1;
            buf_append(line, shell->input.data, size);
            buf_consume(&shell->input, size);
            return true;
        }
        if (!read_more(shell)) break;
    }
    buf_append_bytes(line, buf_bytes(&shell->input));
    buf_clear(&shell->input);
    return false;
}

void shell_read_secret(struct shell *shell, const char *prompt, struct buf *secret)
{
    shell_print(shell, "%s", prompt);
    struct termios before;
    int descriptor = shell->streams.in.descriptor;
    bool hidden = descriptor >= 0 && tcgetattr(descriptor, &before) == 0;
    if (hidden) {
        struct termios silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(descriptor, TCSANOW, &silent);
    }
    struct buf line = {0};
    shell_read_line(shell, &line);
    if (hidden) tcsetattr(descriptor, TCSANOW, &before);
    shell_print(shell, "\n");
    const char *text = buf_string(&line);
    size_t start = strspn(text, " \t\r\n\v\f"), end = line.size;
    while (end > start && strchr(" \t\r\n\v\f", text[end - 1]) != NULL && text[end - 1] != 0) end--;
    buf_clear(secret);
    buf_append(secret, text + start, end - start);
    buf_deinit(&line);
}

bool shell_confirm(struct shell *shell, const char *format, ...)
{
    if (shell->streams.confirm == NULL) return true;
    struct buf question = {0};
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&question, format, arguments);
    va_end(arguments);
    bool yes = shell->streams.confirm(shell->streams.context, buf_string(&question));
    buf_deinit(&question);
    return yes;
}

bool shell_sleep(struct shell *shell, int64_t nanoseconds)
{
    int64_t end = client_now() + nanoseconds;
    for (int64_t now = client_now(); now < end && !shell->interrupted; now = client_now()) {
        /* Short naps: an interrupt from another thread wakes nobody up. */
        int64_t nap = end - now < 50 * 1000000 ? end - now : 50 * 1000000;
        nanosleep(&(struct timespec){.tv_sec = 0, .tv_nsec = (long)nap}, NULL);
    }
    return !shell->interrupted;
}

/* ---- Logging ---- */

void shell_log(struct shell *shell, enum log_level level, const char *message, const struct log_field *fields,
               size_t field_count)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm parts;
    gmtime_r(&now.tv_sec, &parts);
    char date[32];
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    struct buf line = {0};
    buf_printf(&line, "{\"level\":\"%s\",\"ts\":\"%s.%06ldZ\",\"logger\":\"etcd-client\",\"msg\":",
               log_level_name(level), date, now.tv_nsec / 1000);
    text_json_quote(&line, bytes_from_string(message), false);
    for (size_t i = 0; i < field_count; i++) {
        if (fields[i].kind == LOG_FIELD_ABSENT) continue;
        buf_append_byte(&line, ',');
        text_json_quote(&line, bytes_from_string(fields[i].key), false);
        buf_append_byte(&line, ':');
        log_field_write(&line, &fields[i], ",");
    }
    buf_append_string(&line, "}\n");
    write_sink(&shell->streams.err, buf_bytes(&line));
    buf_deinit(&line);
}

/* ---- The process's own streams ---- */

static void write_descriptor(void *context, struct bytes bytes)
{
    int descriptor = *(const int *)context;
    while (bytes.size > 0) {
        ssize_t size = write(descriptor, bytes.data, bytes.size);
        if (size < 0 && errno == EINTR) continue;
        /* Nobody listens any more: there is no one to tell. */
        if (size <= 0) return;
        bytes = bytes_of(bytes.data + size, bytes.size - (size_t)size);
    }
}

static long read_descriptor(void *context, void *at, size_t size)
{
    return read(*(const int *)context, at, size);
}

struct shell_streams shell_standard_streams(void)
{
    static const int in = STDIN_FILENO, out = STDOUT_FILENO, err = STDERR_FILENO;
    return (struct shell_streams){
        .out = {write_descriptor, (void *)(uintptr_t)&out},
        .err = {write_descriptor, (void *)(uintptr_t)&err},
        .in = {read_descriptor, (void *)(uintptr_t)&in, STDIN_FILENO},
    };
}
