/* options: etcdtop's command line. */
#ifndef TUI_OPTIONS_H
#define TUI_OPTIONS_H

#include "client/client.h"
#include "shell/shell.h"

struct options {
    int64_t interval; /* nanoseconds */
    bool once, json, read_only, ascii, colour;
    struct client_options client; /* memory of the shell below */
    /* The global options that were given, as words for a session of commands. */
    const char **connection;
    size_t connection_count;
    struct shell shell; /* holds the memory */
    struct arena *arena;
};

enum options_outcome {
    OPTIONS_RUN,
    OPTIONS_DONE,    /* --help, --version: printed */
    OPTIONS_MISTAKE, /* said on standard error */
};

enum options_outcome options_read(struct options *options, int count, char **arguments)
    __attribute__((warn_unused_result));
void options_deinit(struct options *options);

#endif
