/* datadriven: tests written as stories in text files.
 *
 *     # a comment
 *     command key key=value key=(value, value)
 *     input
 *     ----
 *     the output that is expected, up to a blank line
 *
 * A file is a sequence of such directives. Each goes to a handler, whose output must equal what the file
 * says, byte for byte. The syntax is that of the Go package datadriven, in which etcd's Raft library writes
 * its tests.
 */
#ifndef TESTS_DATADRIVEN_H
#define TESTS_DATADRIVEN_H

#include "base/arena.h"
#include "base/buf.h"

struct datadriven_argument {
    const char *key;
    const char *const *values;
    size_t count;
};

struct datadriven_directive {
    int line;
    const char *command;
    const struct datadriven_argument *arguments;
    size_t count;
    const char *input;
    const char *expected;
};

/* Appends the directive's result to `output`; a missing line feed at its end is added. */
typedef void datadriven_handler(void *state, const struct datadriven_directive *directive,
                                struct buf *output);

/* The first argument with this key, or NULL. */
const struct datadriven_argument *datadriven_argument(const struct datadriven_directive *directive,
                                                      const char *key);
/* The only value of an argument, "" when it has none. */
const char *datadriven_value(const struct datadriven_argument *argument);

/* Runs a whole file up to the first difference, which is described in `failure`. Counts directives into
 * *directives. */
bool datadriven_run_file(const char *path, datadriven_handler *handler, void *state, size_t *directives,
                         struct buf *failure);

#endif
