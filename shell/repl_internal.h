/* repl_internal: what the files of the interactive shell share. */
#ifndef SHELL_REPL_INTERNAL_H
#define SHELL_REPL_INTERNAL_H

#include "shell/repl.h"
#include "shell/watch.h"

enum {
    REPL_WATCHES_MAX = 64,
    REPL_HISTORY_LINES = 2000,
    REPL_COMPLETIONS_MAX = 200,
    REPL_REVISIONS_MAX = 50, /* shown by \history */
};

/* A watch in the background. */
struct repl_watch {
    unsigned number; /* 0: this place is free */
    struct arena *arena;
    struct watch_request request;
    const char *text;
    struct blocking_source *source;
};

struct repl {
    struct shell *shell;
    struct words options; /* the global options that the shell was started with */
    struct arena *arena;  /* of the whole run */
    char *prompt;
    char *history_file; /* or NULL */
    bool timing;
    bool pager;
    bool quits;
    bool utf8;
    struct buf paged; /* output held back for the pager */
    bool holds_output;
    struct blocking_inbox *inbox; /* of the background watches; made with the first one */
    struct repl_watch watches[REPL_WATCHES_MAX];
    unsigned next_watch;
    const char *prefill; /* text that the next line starts with */
};

enum repl_line {
    REPL_LINE,
    REPL_END,         /* Ctrl-D */
    REPL_INTERRUPTED, /* Ctrl-C */
};

/* Reads one edited line; prints what background watches have to say above it meanwhile. */
enum repl_line repl_read_line(struct repl *repl, const char *prompt, const char *prefill, struct buf *line);
void repl_remember(struct repl *repl, const char *line);

/* Background watches. */
void repl_watch_start(struct repl *repl, const struct words *words, const char *text);
void repl_watch_stop(struct repl *repl, unsigned number);
void repl_watch_stop_all(struct repl *repl);
void repl_watch_list(struct repl *repl);
/* Prints the events that have come; returns whether there were any. `prepare` is called before the first
 * print. */
bool repl_watch_show(struct repl *repl, void (*prepare)(void));

/* The guided transaction; see shell_streams.edit_transaction. */
bool repl_edit_transaction(void *context, struct buf *text);

/* A line that starts with a backslash. */
void repl_meta(struct repl *repl, const struct words *words);
/* The names of these lines, for completion; NULL behind the last one. */
const char *repl_meta_name(size_t index);

/* Installs readline's completion for this repl. */
void repl_completion_install(struct repl *repl);

/* "1,204,391". */
void repl_format_number(struct buf *out, int64_t number);
/* The value on one line: as it is when printable, else quoted; cut at `width` columns. */
void repl_format_value(struct repl *repl, struct buf *out, struct bytes value, size_t width);

#endif
