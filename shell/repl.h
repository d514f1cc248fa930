/* repl: the interactive shell on a terminal. */
#ifndef SHELL_REPL_H
#define SHELL_REPL_H

#include "shell/shell.h"

/* Connects with the global options among `words`, then reads and runs lines until the end of input. Returns
 * the exit code of the process. Takes the terminal and SIGINT for itself while it runs; not twice at a time.
 */
int repl_run(struct shell *shell, const struct words *words);

#endif
