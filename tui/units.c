#include "tui/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct unit_text unknown(void)
{
    return (struct unit_text){"?"};
}

/* `value` scaled by `step` until it has at most three digits before the point. */
static struct unit_text scaled(double value, double step, const char *suffixes)
{
    if (isnan(value) || value < 0) return unknown();
    struct unit_text out;
    size_t level = 0, last = strlen(suffixes) - 1;
    double limit = 999.5;
    while (value >= limit && level < last) {
        value /= step;
        level++;
    }
    char suffix[2] = {suffixes[level] == ' ' ? (char)0 : suffixes[level], 0};
    bool whole = level == 0 && value == floor(value);
    if (value >= limit)
        snprintf(out.text, sizeof(out.text), ">999%s", suffix);
    else if (whole || value >= 9.95)
        snprintf(out.text, sizeof(out.text), "%.0f%s", value, suffix);
    else
        snprintf(out.text, sizeof(out.text), "%.1f%s", value, suffix);
    return out;
}

struct unit_text units_count(double value)
{
    return scaled(value, 1000, " kMGTP");
}

struct unit_text units_bytes(double bytes)
{
    return scaled(bytes, 1024, "BKMGTP");
}

struct unit_text units_seconds(double seconds)
{
    if (isnan(seconds) || seconds < 0) return unknown();
    struct unit_text out;
    if (seconds >= 99.5)
        return units_age((int64_t)(fmin(seconds, 9e8) * 1e9));
    else if (seconds >= 9.95)
        snprintf(out.text, sizeof(out.text), "%.0fs", seconds);
    else if (seconds >= 0.9995)
        snprintf(out.text, sizeof(out.text), "%.1fs", seconds);
    else if (seconds >= 0.00995)
        snprintf(out.text, sizeof(out.text), "%.0fms", seconds * 1e3);
    else if (seconds >= 0.0000995)
        snprintf(out.text, sizeof(out.text), "%.1fms", seconds * 1e3);
    else
        snprintf(out.text, sizeof(out.text), "%.0fus", seconds * 1e6);
    return out;
}

struct unit_text units_percent(double fraction)
{
    if (isnan(fraction) || fraction < 0) return unknown();
    struct unit_text out;
    snprintf(out.text, sizeof(out.text), "%.0f%%", fmin(fraction * 100, 999));
    return out;
}

struct unit_text units_age(int64_t nanoseconds)
{
    static const struct {
        int64_t seconds, below;
        char suffix;
    } steps[] = {{1, 100, 's'}, {60, 100 * 60, 'm'}, {3600, 48 * 3600, 'h'}, {86400, INT64_MAX, 'd'}};
    int64_t seconds = nanoseconds < 0 ? 0 : nanoseconds / 1000000000;
    size_t i = 0;
    while (seconds >= steps[i].below) i++;
    struct unit_text out;
    snprintf(out.text, sizeof(out.text), "%" PRId64 "%c", seconds / steps[i].seconds, steps[i].suffix);
    return out;
}

struct unit_text units_grouped(int64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRId64, value);
    struct unit_text out;
    size_t at = 0;
    for (int i = 0; i < length; i++) {
        int left = length - i;
        if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') out.text[at++] = ',';
        out.text[at++] = digits[i];
    }
    out.text[at] = 0;
    return out;
}

struct unit_text units_clock(int64_t wall)
{
    time_t seconds = (time_t)(wall / 1000000000);
    struct tm tm;
    struct unit_text out;
    if (localtime_r(&seconds, &tm) == NULL || strftime(out.text, sizeof(out.text), "%H:%M:%S", &tm) == 0)
        return unknown();
    return out;
}
