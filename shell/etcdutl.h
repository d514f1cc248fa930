/* etcdutl: the parts of the program that works on data directories and snapshots without a server. Status and
 * restoring of snapshots were etcdctl's once, where they still are. */
#ifndef SHELL_ETCDUTL_H
#define SHELL_ETCDUTL_H

#include "shell/shell.h"

/* etcdutl_snapshot.c */
extern const struct command etcdutl_snapshot, etcdutl_snapshot_restore, etcdutl_snapshot_status;
extern const struct flag etcdutl_restore_flags[];
/* etcdutl_backend.c */
extern const struct command etcdutl_defrag, etcdutl_hashkv, etcdutl_migrate;

/* Writes records to the shell's error stream, as console lines: time, level, place, message, fields, with
 * tabs between. In the shell's arena. */
const struct logger *etcdutl_logger(struct shell *shell);

/* Prints `Error: TEXT`, frees the error, returns the code. */
int etcdutl_fail(struct shell *shell, int code, struct error *error);
/* The line does not fit the command: error, usage, error. Returns SHELL_FAILED. */
int etcdutl_misuse(struct shell *shell, const struct invocation *line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Misuse unless each of the flags (NULL terminated) was given. SHELL_OK. */
int etcdutl_require(struct shell *shell, const struct invocation *line, const char *const *flags);
/* Takes --write-out. SHELL_OK, or the exit code after the error was printed. */
int etcdutl_take_format(struct shell *shell, const struct invocation *line);
/* NULL, or ERROR_NOT_FOUND with the text of stat(2) as Go prints it. */
struct error *etcdutl_stat(const char *path) __attribute__((warn_unused_result));

void etcdutl_sha1(struct bytes data, uint8_t digest[20]);

#endif
