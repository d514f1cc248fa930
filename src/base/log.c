#include "base/log.h"

const struct logger log_discard = {.level = LOG_NONE};

void log_emit(const struct logger *logger, enum log_level level, const char *file, int line,
              const char *message, const struct log_field *fields, size_t field_count)
{
    if (level < logger->level || logger->emit == NULL) return;
    struct log_record record = {
        .level = level,
        .name = logger->name,
        .file = file,
        .line = line,
        .message = message,
        .fields = fields,
        .field_count = field_count,
    };
    logger->emit(logger->context, &record);
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "fatal", "none"};
    return names[level];
}
