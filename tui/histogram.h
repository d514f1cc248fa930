/* histogram: a Prometheus histogram as it was scraped, and what happened between two scrapes. */
#ifndef TUI_HISTOGRAM_H
#define TUI_HISTOGRAM_H

#include <stddef.h>

enum { HISTOGRAM_BUCKETS_MAX = 40 };

/* Cumulative counts by upper bound, ascending; the last bound is usually +Inf. Zero-initialised is empty. */
struct histogram {
    double bounds[HISTOGRAM_BUCKETS_MAX];
    double counts[HISTOGRAM_BUCKETS_MAX];
    size_t size;
};

/* Adds `count` to the bucket with that bound (label sets of one metric are summed up). Bounds that are NAN
 * and buckets beyond the maximum are dropped. */
void histogram_add(struct histogram *histogram, double bound, double count);
/* How many observations came between the two scrapes. A counter that went backwards was reset: then all of
 * `now` is new. `before` may be NULL. */
double histogram_observed(const struct histogram *before, const struct histogram *now);
/* The quantile (0 to 1) of those observations, interpolated in its bucket as Prometheus does; above the last
 * finite bound that bound. NAN when there were none. */
double histogram_quantile(const struct histogram *before, const struct histogram *now, double quantile);

#endif
