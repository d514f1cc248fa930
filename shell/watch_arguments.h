/* watch_arguments: what `watch` is to watch and to run, from its words and its two environment variables.
 * Pure. */
#ifndef SHELL_WATCH_ARGUMENTS_H
#define SHELL_WATCH_ARGUMENTS_H

#include "shell/command.h"

struct watch_arguments {
    struct bytes key;
    struct bytes range_end;
    bool has_range_end;
    struct words command; /* after `--`; none: print only */
};

/* `words` are all positional words, `separated` those of them behind `--`. environment_key and
 * environment_range_end may be NULL. 0, or 128 with the reason. */
int watch_arguments_read(const struct words *words, const struct words *separated, bool has_separator,
                         const char *environment_key, const char *environment_range_end, struct arena *arena,
                         struct watch_arguments *arguments, struct buf *reason);

#endif
