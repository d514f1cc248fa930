/* program: running another program to its end. */
#ifndef SHELL_PROGRAM_H
#define SHELL_PROGRAM_H

#include "shell/flag.h"

/* Runs words[0] (looked up in PATH) with the words as its arguments, empty standard input, our standard
 * output and error, and `variables` ("NAME=value", NULL terminated) added to `environment`. Returns its exit
 * status; 255 when a signal ended it; 1 when it could not be started. Unless it is 0, *reason says why as Go
 * does: "exit status 3", "signal: killed", "fork/exec /x: no such file or directory", `exec: "x": executable
 * file not found in $PATH`. */
int program_run(const struct words *words, char **environment, const char *const *variables,
                struct buf *reason);

#endif
