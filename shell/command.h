/* command: the table of etcdctl's commands.
 *
 * One `const struct command` per command, in the file of its group; the table joins them into a tree (root,
 * groups, commands). Parsing, help, completion, the man page, the REPL and the dashboard's command line all
 * read this one table.
 *
 * A command's run function is given everything it needs and answers with an exit code (enum shell_exit, or
 * the status of a program that it ran). It never ends the process and keeps nothing between calls.
 */
#ifndef SHELL_COMMAND_H
#define SHELL_COMMAND_H

#include "shell/flag.h"

struct shell;
struct command;

/* One parsed command line; lives as long as the arena of the shell's current command. */
struct invocation {
    const struct command *command;
    const char *path; /* "lease grant" */
    struct flag_set flags;
    struct words words;     /* positional arguments */
    struct words separated; /* what follows the first `--` behind the command's name, when there is one */
    bool has_separator;
};

enum command_property {
    COMMAND_TAKES_KEY = 1,       /* words are keys: completion offers live keys */
    COMMAND_ENDLESS = 2,         /* runs until interrupted */
    COMMAND_HANDLES_SIGNALS = 4, /* tidies up when interrupted; others just end with the process */
};

struct command {
    const char *name;
    const char *usage; /* what follows the path in the usage line */
    const char *summary;
    const char *description;               /* further lines, or NULL */
    const struct flag *flags;              /* own flags, or NULL */
    const struct flag *inherited;          /* flags for all children, groups only, or NULL */
    const struct command *const *children; /* NULL terminated, groups only */
    int (*run)(struct shell *shell, const struct invocation *line);
    unsigned properties;
};

enum { COMMAND_DEPTH_MAX = 3 };

/* The path from the root (at [0]) to a command. */
struct command_path {
    const struct command *steps[COMMAND_DEPTH_MAX];
    size_t depth; /* at least 1 */
};

/* "etcdctl", with all commands below. */
extern const struct command command_root;
/* The flags that every command takes. */
extern const struct flag command_global_flags[];
/* "etcdctl" with put, get and del only and no global flags: the words of one operation inside a transaction.
 */
extern const struct command command_transaction_root;

static inline const struct command *command_of(const struct command_path *path)
{
    return path->steps[path->depth - 1];
}

/* Finds the command that `words` name, starting at `root`: names may be cut short as long as they stay
 * unique, flags may stand between them. *rest gets the words without the names. False when the first name is
 * not known; then *unknown is that name. */
bool command_find(const struct command *root, const struct words *words, struct arena *arena,
                  struct command_path *path, struct words *rest, struct bytes *unknown);
/* The child named so: exactly, or as the only one that starts so. NULL otherwise. */
const struct command *command_child(const struct command *parent, struct bytes name);
/* `unknown command "x" for "etcdctl"` with suggestions. */
void command_explain_unknown(struct buf *out, const struct command *root, struct bytes name);
/* "lease grant": the names below the root, blank separated. */
const char *command_path_text(const struct command_path *path, struct arena *arena);
/* All flags that hold for the command. With `globals` false without the global ones. */
void command_flags(const struct command_path *path, struct arena *arena, bool globals, struct flag_set *set);

/* Calls `visit` for each command that runs (not for groups), in the order of the table. */
void command_visit(const struct command *root, void (*visit)(void *context, const struct command_path *path),
                   void *context);

#endif
