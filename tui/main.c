/* etcdtop: a dashboard for etcd clusters. */
#include "tui/dashboard.h"

#include <locale.h>
#include <stdio.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static int run(const struct options *options)
{
    int status = 0;
    if (!options->once && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))) {
        fprintf(stderr, "etcdtop: this is no terminal: use --once\n");
        return EXIT_USAGE;
    }
    struct error *error = options->once ? dashboard_once(options, &status) : dashboard_run(options, &status);
    if (error == NULL) return status;
    fprintf(stderr, "etcdtop: %s\n", error->text);
    error_free(error);
    return EXIT_USAGE;
}

int main(int count, char **arguments)
{
    setlocale(LC_CTYPE, "");
    struct options options;
    enum options_outcome outcome = options_read(&options, count, arguments);
    int status = outcome == OPTIONS_RUN ? run(&options) : outcome == OPTIONS_DONE ? 0 : EXIT_USAGE;
    options_deinit(&options);
    return status;
}
