/* rng: the random numbers of the deterministic core.
 *
 * Seeded once, so that a run can be replayed. Not for secrets (use OpenSSL's RAND_bytes at the edge for
 * those). xoshiro256** by Blackman and Vigna, seeded through splitmix64.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/* Uniform in [0, bound); bound must not be 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);
/* True with probability `numerator` in `denominator`. */
bool rng_chance(struct rng *rng, uint64_t numerator, uint64_t denominator);

#endif
