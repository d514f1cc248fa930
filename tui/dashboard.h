/* dashboard: everything put together on one loop. */
#ifndef TUI_DASHBOARD_H
#define TUI_DASHBOARD_H

#include "tui/options.h"

/* On the terminal, until the user quits. *status is the exit code then. */
struct error *dashboard_run(const struct options *options, int *status) __attribute__((warn_unused_result));
/* One look, printed to standard output. */
struct error *dashboard_once(const struct options *options, int *status) __attribute__((warn_unused_result));

#endif
