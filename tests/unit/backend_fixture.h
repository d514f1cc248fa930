/* backend_fixture: a backend on a simulated disk, for tests of it and of what stands on it. */
#ifndef TESTS_BACKEND_FIXTURE_H
#define TESTS_BACKEND_FIXTURE_H

#include "storage/backend.h"
#include "tests/unit/expect.h"

/* The simulated disk does not map more than it is set up for. */
static const struct backend_options small_map = {.initial_map_size = 1 << 26};

/* Commits what is in the active batch, if anything is. */
static inline void commit(struct backend *backend)
{
    struct backend_batch *batch = backend_seal(backend);
    if (batch == NULL) return;
    must(backend_commit(backend, batch));
    must(backend_committed(backend, batch));
}

#endif
