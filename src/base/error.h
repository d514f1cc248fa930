/* error: failures as values.
 *
 * A function that can fail returns `struct error *`: NULL is success, anything else is owned by the caller,
 * who handles it, or adds context with error_wrap() and passes it on, or frees it. The text says what was
 * wrong and where; the outer layers put theirs in front ("open wal: read segment 3: ..."). Nothing in the
 * libraries prints.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

/* What a caller may want to tell apart. Most errors are ERROR_OTHER. */
enum error_kind {
    ERROR_OTHER = 0,
    ERROR_NOT_FOUND,
    ERROR_EXISTS,
    ERROR_INVALID,     /* bad input from a user, a peer or a file: what is wrong is in the text */
    ERROR_CORRUPT,     /* stored data does not match its checksum or structure */
    ERROR_TORN,        /* a file ends in the middle of a record, as after a crash; may be repairable */
    ERROR_NO_SPACE,    /* ENOSPC, EDQUOT */
    ERROR_IO,          /* any other failing system call */
    ERROR_LOCKED,      /* somebody else holds the file */
    ERROR_LIMIT,       /* a limit of ours was reached */
    ERROR_UNAVAILABLE, /* could not be reached; trying again may help */
    ERROR_TIMEOUT,
    ERROR_CANCELED,
};

struct error {
    enum error_kind kind;
    int system; /* errno of the failed system call, or 0 */
    char *text;
};

typedef struct error *error_ptr;

struct error *error_new(enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull, warn_unused_result));
/* For a failed system call: kind from `system` (an errno), text "FORMAT: strerror". */
struct error *error_system(int system, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull, warn_unused_result));
/* Takes `inner` and returns it with "FORMAT: " in front of its text. inner must not be NULL. */
struct error *error_wrap(struct error *inner, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void error_free(struct error *error);

static inline bool error_is(const struct error *error, enum error_kind kind)
{
    return error != (const struct error *)0 && error->kind == kind;
}

/* Return early with the error of `call`, unchanged. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        struct error *try_error_ = (call);                                                                   \
        if (try_error_ != NULL) return try_error_;                                                           \
    } while (0)

#endif
