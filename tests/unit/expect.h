/* expect: how a cmocka test takes the errors of what it calls. Brings cmocka and what its header needs. */
#ifndef TESTS_EXPECT_H
#define TESTS_EXPECT_H

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The call must succeed; otherwise the test ends with the error's text, at the place of the call. */
#define must(call) must_at((call), __FILE__, __LINE__)

/* The call must fail with an error of this kind whose text contains `text` ("": any). Frees the error. */
#define must_fail(call, kind, text) must_fail_at((call), (kind), (text), __FILE__, __LINE__)

static inline void must_at(struct error *error, const char *file, int line)
{
    if (error == NULL) return;
    print_error("unexpected error: %s\n", error->text);
    error_free(error);
    _fail(file, line);
}

static inline void must_fail_at(struct error *error, enum error_kind kind, const char *text, const char *file,
                                int line)
{
    if (error != NULL && error->kind == kind && strstr(error->text, text) != NULL) {
        error_free(error);
        return;
    }
    if (error == NULL)
        print_error("no error, where one of kind %d with \"%s\" is due\n", kind, text);
    else
        print_error("kind %d, not %d, or no \"%s\" in: %s\n", error->kind, kind, text, error->text);
    error_free(error);
    _fail(file, line);
}

#endif
