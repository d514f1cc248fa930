/* metrics_text: Prometheus' text format. Families gather in a writer and come out sorted by name. A writer
 * belongs to one thread. */
#ifndef SERVER_METRICS_TEXT_H
#define SERVER_METRICS_TEXT_H

#include "base/buf.h"
#include "base/metrics.h"

enum { METRICS_FAMILIES_MAX = 512 };

struct metrics_family {
    const char *name;
    size_t from, to; /* its text in `text` */
    size_t samples;  /* where the samples begin */
};

/* Zero-initialised is empty and valid. Names are borrowed. */
struct metrics_writer {
    struct buf text;
    struct metrics_family families[METRICS_FAMILIES_MAX];
    size_t count;
};

/* Begins a family: HELP and TYPE. Samples that follow are its own; without any it is left out. */
void metrics_begin(struct metrics_writer *writer, const char *name, const char *type, const char *help);
/* One sample of the family that was begun; labels without braces, NULL for none. */
void metrics_sample(struct metrics_writer *writer, const char *labels, double value);
/* The buckets, sum and count of a histogram of the family that was begun. unit: what its numbers, which are
 * in nanoseconds, are divided by: 1e9 for seconds, 1e6 for milliseconds. */
void metrics_histogram(struct metrics_writer *writer, const char *labels, struct metric_histogram *histogram,
                       double unit);
/* Buckets of any bounds: counts[i] samples up to bounds[i] (not cumulative), counts[bound_count] above. */
void metrics_buckets(struct metrics_writer *writer, const char *labels, const double *bounds,
                     const uint64_t *counts, size_t bound_count, double sum);
/* A family of one sample. */
void metrics_single(struct metrics_writer *writer, const char *name, const char *type, const char *help,
                    double value);
/* Appends everything to `out` and leaves the writer empty. */
void metrics_finish(struct metrics_writer *writer, struct buf *out);

/* As Go writes numbers: the shortest digits that read back the same, with an exponent from 1e+06 and below
 * 1e-04. */
void metrics_number(struct buf *out, double value);

#endif
