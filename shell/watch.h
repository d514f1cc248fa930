/* watch: the parts of `watch` that its one-shot form, its line-by-line form and the interactive shell share.
 */
#ifndef SHELL_WATCH_H
#define SHELL_WATCH_H

#include "shell/shell.h"
#include "shell/watch_arguments.h"

/* One watch that was asked for; lives as long as its arena. */
struct watch_request {
    struct client_watch_options options;
    struct words command; /* run for each event, or none */
    /* The response that canceled the watch, packed; shown when the watch's end says why. */
    struct buf canceled;
};

extern const struct flag watch_flags[];

/* Reads a parsed line. 0, or the exit code with the reason. The environment's variables count when
 * `environment` is not NULL. *refusable is set when only the range and --prefix contradict each other (a line
 * on standard input then is skipped). */
int watch_request_read(const struct invocation *line, char **environment, struct arena *arena,
                       struct watch_request *request, bool *refusable, struct buf *reason);
void watch_request_deinit(struct watch_request *request);

/* Handles one event of a watch: prints it, runs the command. Returns SHELL_OK while the watch goes on and all
 * is well; SHELL_INTERRUPTED when the watch ended; another code when its command failed (reported) or the
 * format does not fit. */
int watch_handle(struct shell *shell, struct watch_request *request, const struct blocking_event *event);

#endif
