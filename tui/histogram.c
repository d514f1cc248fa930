#include "tui/histogram.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void histogram_add(struct histogram *histogram, double bound, double count)
{
    if (isnan(bound) || isnan(count)) return;
    size_t at = histogram->size;
    while (at > 0 && histogram->bounds[at - 1] > bound) at--;
    if (at > 0 && histogram->bounds[at - 1] == bound) {
        histogram->counts[at - 1] += count;
        return;
    }
    if (histogram->size == HISTOGRAM_BUCKETS_MAX) return;
    size_t behind = histogram->size - at;
    memmove(&histogram->bounds[at + 1], &histogram->bounds[at], behind * sizeof(double));
    memmove(&histogram->counts[at + 1], &histogram->counts[at], behind * sizeof(double));
    histogram->bounds[at] = bound;
    histogram->counts[at] = count;
    histogram->size++;
}

/* Whether `before` is an earlier state of the very counters in `now`. */
static bool continues(const struct histogram *before, const struct histogram *now)
{
    if (before == NULL || before->size != now->size) return false;
    for (size_t i = 0; i < now->size; i++)
        if (before->bounds[i] != now->bounds[i] || before->counts[i] > now->counts[i]) return false;
    return true;
}

static double observed_below(const struct histogram *before, const struct histogram *now, size_t bucket)
{
    return before == NULL ? now->counts[bucket] : now->counts[bucket] - before->counts[bucket];
}

double histogram_observed(const struct histogram *before, const struct histogram *now)
{
    if (now->size == 0) return 0;
    return observed_below(continues(before, now) ? before : NULL, now, now->size - 1);
}

double histogram_quantile(const struct histogram *before, const struct histogram *now, double quantile)
{
    if (!continues(before, now)) before = NULL;
    double total = histogram_observed(before, now);
    if (!(total > 0)) return NAN;
    double rank = quantile * total;
    size_t bucket = 0;
    while (bucket + 1 < now->size && observed_below(before, now, bucket) < rank) bucket++;
    double low = bucket == 0 ? 0 : now->bounds[bucket - 1];
    if (isinf(now->bounds[bucket])) return bucket == 0 ? NAN : low;
    double below = bucket == 0 ? 0 : observed_below(before, now, bucket - 1);
    double inside = observed_below(before, now, bucket) - below;
    if (!(inside > 0)) return now->bounds[bucket];
    return low + (now->bounds[bucket] - low) * (rank - below) / inside;
}
