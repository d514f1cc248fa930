/* load: many clients that put random keys at a given rate, for `check`. */
#ifndef SHELL_LOAD_H
#define SHELL_LOAD_H

#include "client/client.h"

enum { LOAD_ERRORS_MAX = 16 };

struct load_plan {
    const char *prefix; /* of all keys */
    uint64_t puts;      /* in all */
    uint64_t rate;      /* per second; 0: as fast as they are answered */
    size_t clients;     /* connections, each with one put under way */
    size_t key_size;    /* random bytes behind the prefix */
    size_t value_size;
    int64_t duration; /* nothing is sent later than this after the start; 0: no limit */
};

struct load_error {
    char *text;
    uint64_t count;
};

struct load_result {
    uint64_t answered; /* without error */
    double seconds;
    double slowest, deviation;                 /* of one put, in seconds */
    struct load_error errors[LOAD_ERRORS_MAX]; /* by text; the last one gathers what does not fit */
    size_t error_count;
};

/* Runs the plan on the calling thread until it is done or `stop` returns true; `progress` is told the share
 * done so far about once a second. An error is about the options. */
struct error *load_run(const struct load_plan *plan, const struct client_options *options,
                       bool (*stop)(void *context), void (*progress)(void *context, double share),
                       void *context, struct load_result *result) __attribute__((warn_unused_result));
void load_result_deinit(struct load_result *result);

/* The sample `name` of the first endpoint's /metrics, read over HTTP or, when the endpoint asks for it, over
 * HTTPS by the options' TLS. Blocks. */
struct error *load_read_metric(const struct client_options *options, const char *name, int64_t timeout,
                               double *value) __attribute__((warn_unused_result));

#endif
