/* planted: which bug is alive. Included in front of every source that a patch of this folder has changed; the
 * product knows nothing of it. */
#ifndef PLANTED_H
#define PLANTED_H

#include <stdbool.h>
#include <string.h>

/* The name of a patch, without .patch: from the environment, SIM_PLANT. NULL: none is. */
extern const char *planted_name;

static inline bool planted(const char *name)
{
    return planted_name != NULL && strcmp(planted_name, name) == 0;
}

#endif
