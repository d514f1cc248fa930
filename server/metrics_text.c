#include "server/metrics_text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void metrics_number(struct buf *out, double value)
{
    char text[40];
    int digits = 0;
    if (isinf(value) || isnan(value)) {
        buf_append_string(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (; digits < 17; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    int exponent = atoi(strchr(text, 'e') + 1);
    if (value == 0)
        buf_append_byte(out, '0');
    else if (exponent < -4 || exponent >= 6)
        buf_append_string(out, text);
    else
        buf_printf(out, "%.*f", digits > exponent ? digits - exponent : 0, value);
}

/* The family that was begun is complete. */
static void end_family(struct metrics_writer *writer)
{
    if (writer->count == 0) return;
    struct metrics_family *family = &writer->families[writer->count - 1];
    family->to = writer->text.size;
    if (family->to > family->samples) return;
    writer->text.size = family->from;
    writer->count--;
}

void metrics_begin(struct metrics_writer *writer, const char *name, const char *type, const char *help)
{
    end_family(writer);
    assert(writer->count < METRICS_FAMILIES_MAX);
    writer->families[writer->count++] = (struct metrics_family){.name = name, .from = writer->text.size};
    buf_printf(&writer->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    writer->families[writer->count - 1].samples = writer->text.size;
}

static const char *current(const struct metrics_writer *writer)
{
    assert(writer->count > 0);
    return writer->families[writer->count - 1].name;
}

static void append_sample(struct metrics_writer *writer, const char *suffix, const char *labels, double value)
{
    buf_printf(&writer->text, "%s%s", current(writer), suffix);
    if (labels != NULL) buf_printf(&writer->text, "{%s}", labels);
    buf_append_byte(&writer->text, ' ');
    metrics_number(&writer->text, value);
    buf_append_byte(&writer->text, '\n');
}

void metrics_sample(struct metrics_writer *writer, const char *labels, double value)
{
    append_sample(writer, "", labels, value);
}

void metrics_single(struct metrics_writer *writer, const char *name, const char *type, const char *help,
                    double value)
{
    metrics_begin(writer, name, type, help);
    metrics_sample(writer, NULL, value);
}

void metrics_buckets(struct metrics_writer *writer, const char *labels, const double *bounds,
                     const uint64_t *counts, size_t bound_count, double sum)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= bound_count; i++) {
        total += counts[i];
        buf_printf(&writer->text, "%s_bucket{%s%sle=\"", current(writer), labels == NULL ? "" : labels,
                   labels == NULL ? "" : ",");
        metrics_number(&writer->text, i == bound_count ? (double)INFINITY : bounds[i]);
        buf_printf(&writer->text, "\"} %llu\n", (unsigned long long)total);
    }
    append_sample(writer, "_sum", labels, sum);
    buf_printf(&writer->text, "%s_count", current(writer));
    if (labels != NULL) buf_printf(&writer->text, "{%s}", labels);
    buf_printf(&writer->text, " %llu\n", (unsigned long long)total);
}

void metrics_histogram(struct metrics_writer *writer, const char *labels, struct metric_histogram *histogram,
                       double unit)
{
    double bounds[METRIC_BUCKETS_MAX];
    uint64_t counts[METRIC_BUCKETS_MAX + 1];
    for (unsigned i = 0; i <= histogram->count; i++) {
        if (i < histogram->count) bounds[i] = (double)(histogram->first << i) / unit;
        counts[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    }
    double sum = (double)atomic_load_explicit(&histogram->sum, memory_order_relaxed) / unit;
    metrics_buckets(writer, labels, bounds, counts, histogram->count, sum);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct metrics_family *)a)->name, ((const struct metrics_family *)b)->name);
}

void metrics_finish(struct metrics_writer *writer, struct buf *out)
{
    end_family(writer);
    qsort(writer->families, writer->count, sizeof(writer->families[0]), by_name);
    for (size_t i = 0; i < writer->count; i++)
        buf_append(out, writer->text.data + writer->families[i].from,
                   writer->families[i].to - writer->families[i].from);
    buf_deinit(&writer->text);
    writer->count = 0;
}
