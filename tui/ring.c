#include "tui/ring.h"

#include <math.h>

void ring_push(struct ring *ring, double value)
{
    ring->values[ring->next] = value;
    ring->next = (ring->next + 1) % RING_SIZE;
    if (ring->count < RING_SIZE) ring->count++;
}

double ring_at(const struct ring *ring, size_t age)
{
    if (age >= ring->count) return NAN;
    return ring->values[(ring->next + RING_SIZE - 1 - age) % RING_SIZE];
}

double ring_max(const struct ring *ring, size_t count)
{
    double most = NAN;
    for (size_t age = 0; age < count && age < ring->count; age++) most = fmax(most, ring_at(ring, age));
    return most;
}
