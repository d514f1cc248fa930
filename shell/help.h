/* help: the command table as text: help pages, usage lines, the man page, completion scripts.
 *
 * Layout as etcdctl 3.6 prints it: NAME, USAGE, [VERSION, API VERSION, COMMANDS], [DESCRIPTION], OPTIONS and
 * GLOBAL OPTIONS, columns aligned with tabs.
 */
#ifndef SHELL_HELP_H
#define SHELL_HELP_H

#include "shell/command.h"

/* The whole help page of the last step of `path`. */
void help_page(struct buf *out, const struct command_path *path, struct arena *arena);
/* The global options alone, as `etcdctl options` shows them. */
void help_global_options(struct buf *out, struct arena *arena);
/* The short usage that a mistake in a transaction's operation prints. */
void help_operation_usage(struct buf *out, const struct command_path *path, struct arena *arena);
/* The usage of a command or group, as etcdutl shows it. */
void help_usage(struct buf *out, const struct command_path *path, struct arena *arena);
/* What a manual page says beside the table; all in man(7) markup. */
struct help_section {
    const char *title; /* NULL ends a list */
    const char *text;
};
struct help_manual {
    const struct command *root;
    const char *title;       /* behind the name, in one line */
    const char *synopsis;    /* behind the name */
    const char *description; /* goes on after the name */
    const struct help_section *sections;
};
/* etcdctl's. */
extern const struct help_manual command_manual;
void help_man_page(struct buf *out, const struct help_manual *manual, struct arena *arena);
/* A completion script; the shell is bash, zsh or fish. False for another one. */
bool help_completion_script(struct buf *out, const struct command *root, const char *shell_name,
                            struct arena *arena);

#endif
