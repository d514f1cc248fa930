/* metrics_text: Prometheus' text format, read sample by sample. Robust against any bytes. */
#ifndef TUI_METRICS_TEXT_H
#define TUI_METRICS_TEXT_H

#include "base/bytes.h"

enum { METRICS_TEXT_LABELS_MAX = 16 };

struct metrics_label {
    struct bytes name;
    struct bytes value; /* as written between the quotes, escapes kept */
};

/* Borrows from the text. */
struct metrics_line {
    struct bytes name;
    struct metrics_label labels[METRICS_TEXT_LABELS_MAX]; /* further ones are dropped */
    size_t label_count;
    double value;
};

/* Reads the next sample of *text and moves *text behind it. Comments, blank and malformed lines are skipped.
 * False at the end. */
bool metrics_text_next(struct bytes *text, struct metrics_line *line);
/* The value of a label; empty when there is none. */
struct bytes metrics_label(const struct metrics_line *line, const char *name);

#endif
