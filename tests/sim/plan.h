/* plan: what happens to a simulated cluster is a list of numbered choices, so that a run can be done again
 * with some of them left out.
 *
 * Whoever makes choices (the faults, each client, each watcher) is a line with a number; its choices are
 * numbered from 0. A choice has random numbers of its own, made from seed, line and number alone: leaving
 * one out changes none of the others. */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "base/rng.h"

#include <stddef.h>

enum { PLAN_CHOICES_MAX = 1 << 16, PLAN_TEXT_SIZE = 2048 };

struct plan_choice {
    uint32_t line;
    uint32_t number;
};

/* What became of a run; in memory shared with the process that started it. */
struct plan_record {
    size_t count; /* choices made, in order */
    struct plan_choice choices[PLAN_CHOICES_MAX];
    char failure[PLAN_TEXT_SIZE]; /* empty: none that was put into words */
    int64_t failed_at;            /* simulated time; 0: unknown */
};

struct plan {
    uint64_t seed;
    /* Only these are made; NULL: all. Sorted by plan_compare. */
    const struct plan_choice *only;
    size_t only_count;
    struct plan_record *record; /* NULL: not kept */
    bool tells;                 /* what happens is printed */
    int64_t until; /* what has not failed by then does not: the process ends (status 0). 0: to the end */
};

int plan_compare(const void *a, const void *b);

/* Starts a choice's random numbers; false: it is left out. What the caller draws to know when its next choice
 * is due must be the same in both cases. */
bool plan_begin(struct plan *plan, uint32_t line, uint32_t number, struct rng *rng);

#endif
