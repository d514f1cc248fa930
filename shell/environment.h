/* environment: the ETCDCTL_ variables as values of flags. */
#ifndef SHELL_ENVIRONMENT_H
#define SHELL_ENVIRONMENT_H

#include "shell/flag.h"

enum { ENVIRONMENT_VARIABLES_MAX = 4096 };

struct environment_report {
    const char *conflict;      /* a variable whose flag was given, too: an error; NULL: none */
    const char **unrecognized; /* whole "NAME=value" items with our prefix that no flag took */
    size_t unrecognized_count;
};

/* "ETCDCTL_COMMAND_TIMEOUT" for "command-timeout". */
const char *environment_name(const struct flag *flag, struct arena *arena);
/* Gives each inherited flag that was not on the line the value of its variable, if that is set, not empty and
 * readable. `known` (NULL terminated, may be NULL) are further variables that are no mistake. */
void environment_apply(struct flag_set *flags, char **environment, const char *const *known,
                       struct environment_report *report);
/* The value of a variable, or NULL. */
const char *environment_get(char **environment, const char *name);

#endif
