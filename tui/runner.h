/* runner: etcdctl's commands inside the dashboard, on a thread of their own.
 *
 * One command at a time. The handler is called on the loop's thread, never from inside a function here.
 */
#ifndef TUI_RUNNER_H
#define TUI_RUNNER_H

#include "base/buf.h"
#include "net/loop.h"

struct runner;

struct runner_handler {
    void *context;
    void (*on_output)(void *context, struct bytes text);
    void (*on_question)(void *context, const char *question); /* answer with runner_answer */
    void (*on_end)(void *context, int status);
};

/* `connection` are words like "--endpoints=...", for the session of all commands; borrowed. */
struct runner *runner_new(struct loop *loop, const char *const *connection, size_t connection_count,
                          bool read_only, const struct runner_handler *handler)
    __attribute__((returns_nonnull, warn_unused_result));
/* Stops a running command and waits for it; calls no handler. NULL is allowed. */
void runner_free(struct runner *runner);
/* Not while a command runs. */
void runner_start(struct runner *runner, const char *line);
void runner_stop(struct runner *runner);
void runner_answer(struct runner *runner, bool yes);

/* Completion of commands and flags: what may be added behind `before`, and the choices when there are
 * several. */
void runner_complete(struct bytes before, struct buf *addition, struct buf *choices);

/* Why a line may not be run here: NULL when it may. With read_only everything that changes data is refused.
 */
const char *runner_refuses(const char *line, bool read_only);

#endif
