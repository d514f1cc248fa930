#include "raft/note.h"

#include "base/buf.h"

void raft_note(const struct logger *logger, enum log_level level, const char *file, int line,
               const char *format, ...)
{
    struct buf text = {0};
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&text, format, arguments);
    va_end(arguments);
    log_emit(logger, level, file, line, buf_string(&text), NULL, 0);
    buf_deinit(&text);
}
