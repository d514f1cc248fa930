/* ring: the last values of one number, for sparklines. Values that could not be had are NAN. */
#ifndef TUI_RING_H
#define TUI_RING_H

#include <stddef.h>

enum { RING_SIZE = 240 };

/* Zero-initialised is empty and valid. */
struct ring {
    double values[RING_SIZE];
    size_t count; /* at most RING_SIZE */
    size_t next;
};

void ring_push(struct ring *ring, double value);
/* The value `age` steps back, 0 the newest; NAN when there is none. */
double ring_at(const struct ring *ring, size_t age);
/* The greatest known value among the newest `count`; NAN when none is known. */
double ring_max(const struct ring *ring, size_t count);

#endif
