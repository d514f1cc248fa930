/* shrink: what of a failing run is needed for it to fail.
 *
 * Choices of the plan (faults, requests, what watchers do) are left out as long as the run still fails, first
 * whole lines, then ever smaller parts (delta debugging). Every try is a run of its own in a child process.
 */
#ifndef TESTS_SIM_SHRINK_H
#define TESTS_SIM_SHRINK_H

#include "plan.h"

enum { SHRINK_SECONDS = 60 };

/* Prints how much is left, and tells that run. False: the seed does not fail. */
bool shrink_seed(uint64_t seed, double seconds);

#endif
