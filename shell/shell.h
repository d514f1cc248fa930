/* shell: etcdctl as a library.
 *
 * Runs one command line, given as words, and answers with the exit code that etcdctl would end with. Used by
 * etcdctl's main, by its interactive shell and by the dashboard's command line.
 *
 *     struct shell shell;
 *     shell_init(&shell, (struct shell_streams){...}, environ);
 *     int status = shell_run(&shell, words);
 *     shell_deinit(&shell);
 *
 * A shell belongs to one thread and runs one command at a time; shell_interrupt() may come from a signal
 * handler or another thread. It keeps no state outside of itself, never ends the process and prints only to
 * its streams.
 *
 * Session: shell_connect() keeps one client for all following commands. Global options given to it are the
 * defaults of each command; options on a command's line hold for that command alone (and get it a client of
 * its own when they say where or how to connect).
 */
#ifndef SHELL_SHELL_H
#define SHELL_SHELL_H

#include "client/blocking.h"
#include "shell/command.h"
#include "shell/printer.h"

#include <signal.h>

/* Exit codes of commands; `lock NAME COMMAND` passes on the command's own. */
enum shell_exit {
    SHELL_OK = 0,
    SHELL_FAILED = 1,         /* the request failed, or the line could not be parsed */
    SHELL_BAD_CONNECTION = 2, /* no client: login, no endpoints */
    SHELL_BAD_INPUT = 3,      /* the text of a transaction, a watch on standard input */
    SHELL_BAD_FEATURE = 4,    /* output format, sort order */
    SHELL_INTERRUPTED = 5,
    SHELL_BAD_ARGUMENTS = 128,
};

struct shell_sink {
    void (*write)(void *context, struct bytes bytes);
    void *context;
};

/* Where commands read what they are to be given: values, transactions, passwords. */
struct shell_source {
    /* Up to `size` bytes; 0 at the end, < 0 when it failed or was interrupted. NULL: always at the end. */
    long (*read)(void *context, void *at, size_t size);
    void *context;
    int descriptor; /* for turning off a terminal's echo and for poll(); -1: none */
};

struct shell_streams {
    struct shell_sink out;
    struct shell_sink err;
    struct shell_source in;
    /* Asks whether to go on; NULL: commands never ask. */
    bool (*confirm)(void *context, const char *question);
    /* NULL, or takes over an interactive transaction: returns true with the request's text lines (three
     * blocks as on standard input) to be sent, false when the user thought better of it. */
    bool (*edit_transaction)(void *context, struct buf *text);
    void *context;
};

/* What a shell holds; to be used through the functions below and by commands only. */
struct shell {
    struct shell_streams streams;
    char **environment;  /* NULL terminated, borrowed; NULL: none */
    struct arena *arena; /* of the current command */
    struct buf input;    /* read from streams.in and not used yet */
    bool input_ended;

    bool is_prepared;               /* options and style are those of the current command */
    struct client_options options;  /* memory in the arena */
    struct blocking_client *client; /* of the current command, once it has asked for one */
    bool client_is_own;             /* not the session's */
    struct output_style style;
    int64_t command_timeout;

    struct blocking_client *session; /* or NULL */
    struct arena *session_arena;
    struct flag_set session_flags;

    struct blocking_client *volatile interruptible;
    volatile sig_atomic_t interrupted;
};

void shell_init(struct shell *shell, struct shell_streams streams, char **environment);
void shell_deinit(struct shell *shell);

/* Runs one line: words without the program's name. */
int shell_run(struct shell *shell, const struct words *words);
/* Opens the session's client with the global options among `words`. SHELL_OK, or an exit code after the error
 * was printed. */
int shell_connect(struct shell *shell, const struct words *words);
/* Changes one global option of the session ("write-out"). False with the reason when the value cannot be
 * read. */
bool shell_set_option(struct shell *shell, const char *name, const char *value, struct buf *reason);
/* Stops the running command; it ends with "context canceled" or as it sees fit. Async-signal-safe. */
void shell_interrupt(struct shell *shell);

/* The standard streams of the process: unbuffered, so that signals lose nothing. */
struct shell_streams shell_standard_streams(void);

/* ---- For commands ---- */

/* The client for this command: reads the environment and the global options, logs in, checks the output
 * format. Does nothing when it is there already. SHELL_OK, or an exit code after the error was printed. */
int shell_open(struct shell *shell, const struct invocation *line) __attribute__((warn_unused_result));
/* The first half of shell_open: everything but the client. shell->options then says how one would be made;
 * commands that make clients of their own start from there. */
int shell_prepare(struct shell *shell, const struct invocation *line) __attribute__((warn_unused_result));
/* A further client, the caller's to free. SHELL_OK, or an exit code after the error was printed. */
int shell_dial(struct shell *shell, const struct client_options *options, struct blocking_client **client)
    __attribute__((warn_unused_result));

enum shell_patience {
    SHELL_BOUNDED, /* by --command-timeout */
    SHELL_PATIENT, /* waits for ever */
};
/* One call; `endpoint` pins it, NULL: any. On success *response, in the arena. */
struct client_error *shell_call(struct shell *shell, enum client_rpc rpc, const ProtobufCMessage *request,
                                enum shell_patience patience, const char *endpoint,
                                ProtobufCMessage **response) __attribute__((warn_unused_result));
/* The whole of most commands: call, print the error (exit 1) or the response. */
int shell_call_and_show(struct shell *shell, const struct invocation *line, enum client_rpc rpc,
                        const ProtobufCMessage *request, enum shell_patience patience,
                        const struct presentation *presentation, const void *detail);

/* Prints `Error: TEXT` and returns the code. */
int shell_fail(struct shell *shell, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with an error's text after the format's; takes the error. */
int shell_fail_call(struct shell *shell, int code, struct client_error *error);
/* Prints a response in the format of this command; SHELL_BAD_FEATURE after the error when it has none. */
int shell_show(struct shell *shell, const struct presentation *presentation, const void *response,
               const void *detail);
void shell_print(struct shell *shell, const char *format, ...) __attribute__((format(printf, 2, 3)));
void shell_print_bytes(struct shell *shell, struct bytes bytes);
void shell_print_error(struct shell *shell, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One JSON log line on the error stream, as etcd's clients write them. */
void shell_log(struct shell *shell, enum log_level level, const char *message, const struct log_field *fields,
               size_t field_count);

/* The rest of the input. False when it was interrupted. */
bool shell_read_all(struct shell *shell, struct buf *content);
/* One line with its "\n"; false when the input ended before one (what came then is in *line). */
bool shell_read_line(struct shell *shell, struct buf *line);
/* Prints the prompt, reads one line without echo, trims blanks. */
void shell_read_secret(struct shell *shell, const char *prompt, struct buf *secret);

/* Whether to go on with what `question` says: true when nobody is there to be asked. */
bool shell_confirm(struct shell *shell, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits; false when interrupted. */
bool shell_sleep(struct shell *shell, int64_t nanoseconds);

#endif
