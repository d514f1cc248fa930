#include "tui/metrics_text.h"

#include <stdlib.h>

enum { NUMBER_SIZE = 64 };

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static bool is_name(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte == ':';
}

static void skip_blanks(struct bytes *rest)
{
    while (rest->size > 0 && is_blank(rest->data[0])) *rest = bytes_of(rest->data + 1, rest->size - 1);
}

static struct bytes take(struct bytes *rest, size_t size)
{
    struct bytes taken = bytes_of(rest->data, size);
    *rest = bytes_of(rest->data + size, rest->size - size);
    return taken;
}

static struct bytes take_name(struct bytes *rest)
{
    size_t size = 0;
    while (size < rest->size && is_name(rest->data[size])) size++;
    return take(rest, size);
}

static bool take_byte(struct bytes *rest, char byte)
{
    skip_blanks(rest);
    if (rest->size == 0 || rest->data[0] != (uint8_t)byte) return false;
    take(rest, 1);
    return true;
}

/* What stands before the closing quote, which is taken, too. */
static bool take_quoted(struct bytes *rest, struct bytes *value)
{
    if (!take_byte(rest, '"')) return false;
    size_t size = 0;
    while (size < rest->size && rest->data[size] != '"')
        size += rest->data[size] == '\\' && size + 1 < rest->size ? 2 : 1;
    if (size >= rest->size) return false;
    *value = take(rest, size);
    take(rest, 1);
    return true;
}

static bool take_labels(struct bytes *rest, struct metrics_line *line)
{
    if (!take_byte(rest, '{')) return true;
    while (!take_byte(rest, '}')) {
        struct metrics_label label;
        skip_blanks(rest);
        label.name = take_name(rest);
        if (label.name.size == 0 || !take_byte(rest, '=') || !take_quoted(rest, &label.value)) return false;
        if (line->label_count < METRICS_TEXT_LABELS_MAX) line->labels[line->label_count++] = label;
        take_byte(rest, ',');
    }
    return true;
}

static bool take_number(struct bytes *rest, double *value)
{
    char text[NUMBER_SIZE];
    skip_blanks(rest);
    size_t size = 0;
    while (size < rest->size && !is_blank(rest->data[size])) size++;
    if (size == 0 || size >= sizeof(text)) return false;
    memcpy(text, rest->data, size);
    text[size] = 0;
    take(rest, size);
    char *end;
    *value = strtod(text, &end);
    return *end == 0 && end == text + size;
}

static bool read_line(struct bytes rest, struct metrics_line *line)
{
    skip_blanks(&rest);
    line->label_count = 0;
    line->name = take_name(&rest);
    return line->name.size > 0 && take_labels(&rest, line) && take_number(&rest, &line->value);
}

bool metrics_text_next(struct bytes *text, struct metrics_line *line)
{
    while (text->size > 0) {
        const uint8_t *end = memchr(text->data, '\n', text->size);
        size_t size = end == NULL ? text->size : (size_t)(end - text->data);
        struct bytes whole = take(text, size);
        if (end != NULL) take(text, 1);
        if (read_line(whole, line)) return true;
    }
    return false;
}

struct bytes metrics_label(const struct metrics_line *line, const char *name)
{
    struct bytes wanted = bytes_from_string(name);
    for (size_t i = 0; i < line->label_count; i++)
        if (bytes_equal(line->labels[i].name, wanted)) return line->labels[i].value;
    return BYTES_EMPTY;
}
