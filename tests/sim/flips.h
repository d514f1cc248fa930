/* flips: bits of a member's disk that turn while it is down.
 *
 * A member never serves what it has not written. It starts from a damaged file only if the bit is one that
 * nothing depends on, which the checker sees by everything being right to the end. Otherwise the start is
 * refused, with an error that names the file; the operator then puts the good file back (the bit turns back),
 * or replaces the member.
 *
 *     log        size, type, checksum and data of records, and the room behind them
 *     database   meta pages, page headers, elements, keys and values of rows, free pages
 *     snapshot   .snap files: an older one may serve
 *     image      databases received from another member that wait to be installed
 *
 * Rows of a database that etcd wrote last have no checksum. There the comparison with the other members at
 * the start (cluster/corruption.h) has to find what is wrong with a value. */
#ifndef TESTS_SIM_FLIPS_H
#define TESTS_SIM_FLIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;

enum flip_place { FLIP_LOG, FLIP_DATABASE, FLIP_SNAPSHOT, FLIP_IMAGE, FLIP_ROW_OF_ETCD, FLIP_PLACES };

struct flip_counts {
    uint64_t refused[FLIP_PLACES]; /* the start, by the member itself */
    uint64_t unread[FLIP_PLACES];  /* it started: nothing depends on the bit */
    uint64_t compared_different;   /* the comparison refused the start */
    uint64_t not_compared;         /* nobody could tell: it was not left to serve */
};

/* Starts the member, which is down, with a bit turned that `seed` chooses. It may be down afterwards; then
 * its disk is good, or it is being replaced. `anywhere`: not only in data of the log. */
void flips_start(struct world *world, size_t member, uint64_t seed, bool anywhere);
/* One line for each place. */
void flips_print(const struct flip_counts *counts);

#endif
