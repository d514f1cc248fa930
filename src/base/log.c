#include "base/log.h"

#include "base/buf.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

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

static void append_text(struct buf *line, const char *text)
{
    text_json_quote(line, bytes_from_string(text == NULL ? "" : text), false);
}

/* The fewest digits that read back the same. */
static void append_double(struct buf *line, double value)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    buf_append_string(line, text);
}

void log_field_write(struct buf *line, const struct log_field *field, const char *comma)
{
    struct buf text = {0};
    switch (field->kind) {
    case LOG_FIELD_STRING:
        append_text(line, field->string);
        break;
    case LOG_FIELD_BYTES:
        text_json_quote(line, field->bytes, false);
        break;
    case LOG_FIELD_INT:
        buf_printf(line, "%lld", (long long)field->integer);
        break;
    case LOG_FIELD_UINT:
        buf_printf(line, "%llu", (unsigned long long)field->unsigned_integer);
        break;
    case LOG_FIELD_HEX:
        buf_printf(line, "\"%llx\"", (unsigned long long)field->unsigned_integer);
        break;
    case LOG_FIELD_BOOL:
        buf_append_string(line, field->boolean ? "true" : "false");
        break;
    case LOG_FIELD_DOUBLE:
        append_double(line, field->real);
        break;
    case LOG_FIELD_DURATION:
        text_go_duration(&text, field->integer);
        break;
    case LOG_FIELD_TIME:
        text_local_time(&text, field->integer);
        break;
    case LOG_FIELD_SIZE:
        text_humanize_bytes(&text, field->unsigned_integer);
        break;
    case LOG_FIELD_JSON:
        buf_append_string(line, field->string);
        break;
    case LOG_FIELD_STRINGS:
        buf_append_byte(line, '[');
        for (size_t i = 0; i < field->count; i++) {
            if (i > 0) buf_append_string(line, comma);
            append_text(line, field->strings[i]);
        }
        buf_append_byte(line, ']');
        break;
    case LOG_FIELD_ABSENT:
        break;
    }
    if (text.size > 0) text_json_quote(line, buf_bytes(&text), false);
    buf_deinit(&text);
}

const char *log_record_file(const struct log_record *record)
{
    const char *slash = strrchr(record->file, '/');
    if (slash == NULL) return record->file;
    while (slash > record->file && slash[-1] != '/') slash--;
    return slash;
}
