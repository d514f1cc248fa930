/* endpoints: the members that endpoint and defrag commands visit one by one. */
#ifndef SHELL_ENDPOINTS_H
#define SHELL_ENDPOINTS_H

#include "shell/shell.h"

struct endpoint_list {
    const char *const *items;
    size_t count;
};

/* Those of --endpoints as typed, or with --cluster all client URLs of the member list (which opens the
 * client). SHELL_OK, or an exit code after the error was printed. Memory in the shell's arena. */
int endpoints_read(struct shell *shell, const struct invocation *line, struct endpoint_list *list)
    __attribute__((warn_unused_result));
/* An error's text, in the shell's arena; frees the error. */
const char *endpoints_error_text(struct shell *shell, struct client_error *error);

#endif
