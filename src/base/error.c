#include "base/error.h"

#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *format_text(const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0) abort();
    return text;
}

static struct error *error_make(enum error_kind kind, int system, char *text)
{
    struct error *error = mem_alloc(sizeof(*error));
    *error = (struct error){.kind = kind, .system = system, .text = text};
    return error;
}

struct error *error_new(enum error_kind kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct error *error = error_make(kind, 0, format_text(format, arguments));
    va_end(arguments);
    return error;
}

static enum error_kind kind_of(int system)
{
    switch (system) {
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
        return ERROR_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case EWOULDBLOCK:
        return ERROR_LOCKED;
    case ETIMEDOUT:
        return ERROR_TIMEOUT;
    default:
        return ERROR_IO;
    }
}

struct error *error_system(int system, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *what = format_text(format, arguments);
    va_end(arguments);
    char reason[128];
    char *text = mem_printf("%s: %s", what, strerror_r(system, reason, sizeof(reason)));
    free(what);
    return error_make(kind_of(system), system, text);
}

struct error *error_wrap(struct error *inner, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *what = format_text(format, arguments);
    va_end(arguments);
    char *text = mem_printf("%s: %s", what, inner->text);
    free(what);
    free(inner->text);
    inner->text = text;
    return inner;
}

void error_free(struct error *error)
{
    if (error == NULL) return;
    free(error->text);
    free(error);
}
