/* metrics: counters, gauges and histograms that any thread may bump and one may read.
 *
 * A module embeds its metrics in a struct of its own (struct wal_metrics, ...) and bumps them; names, labels
 * and the text format are the server's (server/metrics.c). Relaxed atomics: a scrape may see one number a
 * little earlier than another.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t metric_counter;
typedef _Atomic int64_t metric_gauge;

static inline void metric_add(metric_counter *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline uint64_t metric_read(metric_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
static inline void metric_set(metric_gauge *gauge, int64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}
static inline void metric_gauge_add(metric_gauge *gauge, int64_t n)
{
    atomic_fetch_add_explicit(gauge, n, memory_order_relaxed);
}
static inline int64_t metric_gauge_read(metric_gauge *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

/* Exponential buckets as Prometheus' ExponentialBuckets(first, 2, count), in units of 1e-9 (nanoseconds for
 * seconds). */
enum { METRIC_BUCKETS_MAX = 24 };

struct metric_histogram {
    uint64_t first; /* upper bound of bucket 0, in nanoseconds; bucket i has first << i */
    unsigned count; /* buckets without +Inf, at most METRIC_BUCKETS_MAX */
    _Atomic uint64_t buckets[METRIC_BUCKETS_MAX + 1]; /* not cumulative; the last used one is +Inf */
    _Atomic uint64_t sum;                             /* nanoseconds */
};

#define METRIC_HISTOGRAM(first_nanoseconds, bucket_count)                                                    \
    {                                                                                                        \
        .first = (first_nanoseconds), .count = (bucket_count)                                                \
    }

static inline void metric_observe(struct metric_histogram *histogram, uint64_t nanoseconds)
{
    unsigned i = 0;
    while (i < histogram->count && nanoseconds > histogram->first << i) i++;
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, nanoseconds, memory_order_relaxed);
}

#endif
