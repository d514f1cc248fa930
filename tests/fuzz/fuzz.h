/* fuzz: how a fuzz target and its driver meet.
 *
 * A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput(), so that it also links with
 * -fsanitize=fuzzer. It is given arbitrary bytes and must come back: any crash, failed assertion or sanitizer
 * report is a bug, and so is a property that the target checks and aborts on. fuzz_seed() is optional: valid
 * inputs to start from, without which random bytes rarely get far.
 *
 * To add one: write the file, add a line to FUZZ_TARGETS in tests/fuzz/module.am.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/buf.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends valid input number `number` to `out`; false when there is none of that number. They count from 0
 * without gaps. */
bool fuzz_seed(size_t number, struct buf *out) __attribute__((weak));

/* A property that must hold for every input. */
#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* The call must succeed. */
static inline void fuzz_must(struct error *error)
{
    if (error != NULL) fprintf(stderr, "%s\n", error->text);
    FUZZ_CHECK(error == NULL);
}

#endif
