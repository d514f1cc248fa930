#include "datadriven.h"

#include <ctype.h>
#include <stdio.h>

/* ---- Lines ---- */

struct lines {
    struct arena *arena;
    char *rest; /* NULL at the end */
    int number; /* of the line read last */
};

static char *next_line(struct lines *lines)
{
    if (lines->rest == NULL || *lines->rest == 0) return NULL;
    char *line = lines->rest;
    char *end = strchr(line, '\n');
    if (end != NULL) *end = 0;
    lines->rest = end == NULL ? NULL : end + 1;
    lines->number++;
    return line;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) *--end = 0;
    return text;
}

/* The next directive line, with lines that end in a backslash joined; NULL at the end. */
static char *next_directive_line(struct lines *lines)
{
    for (;;) {
        char *line = next_line(lines);
        if (line == NULL) return NULL;
        line = trim(line);
        if (*line == '#') continue;
        size_t length;
        while ((length = strlen(line)) > 0 && line[length - 1] == '\\') {
            line[length - 1] = 0;
            char *more = next_line(lines);
            line = arena_printf(lines->arena, "%s %s", line, more == NULL ? "" : trim(more));
            line = trim(line);
        }
        if (*line != 0) return line;
    }
}

static const char *read_input(struct lines *lines, bool *has_expected)
{
    struct buf input = {0};
    char *line;
    *has_expected = false;
    while ((line = next_line(lines)) != NULL) {
        if (strcmp(line, "----") == 0) {
            *has_expected = true;
            break;
        }
        buf_printf(&input, "%s\n", line);
    }
    char *text = trim(arena_string(lines->arena, buf_bytes(&input)));
    buf_deinit(&input);
    return text;
}

static bool is_blank(const char *line)
{
    while (isspace((unsigned char)*line)) line++;
    return *line == 0;
}

/* With a second ---- at once, the expected text may contain blank lines and ends at two ---- lines. */
static const char *read_expected(struct lines *lines)
{
    struct buf expected = {0};
    char *line = next_line(lines);
    bool framed = line != NULL && strcmp(line, "----") == 0;
    if (framed) {
        line = next_line(lines);
        for (; line != NULL; line = next_line(lines)) {
            if (strcmp(line, "----") == 0) {
                (void)next_line(lines); /* the second one */
                break;
            }
            buf_printf(&expected, "%s\n", line);
        }
    } else {
        for (; line != NULL && !is_blank(line); line = next_line(lines)) buf_printf(&expected, "%s\n", line);
    }
    const char *text = arena_string(lines->arena, buf_bytes(&expected));
    buf_deinit(&expected);
    return text;
}

/* ---- Arguments ---- */

struct argument_list {
    struct datadriven_argument *items;
    size_t count;
    size_t capacity;
};

static struct datadriven_argument *add_argument(struct arena *arena, struct argument_list *list)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 8 : list->capacity * 2;
        struct datadriven_argument *grown = arena_zalloc(arena, capacity * sizeof(*grown));
        if (list->count > 0) memcpy(grown, list->items, list->count * sizeof(*grown));
        list->items = grown;
        list->capacity = capacity;
    }
    return &list->items[list->count++];
}

/* Splits "a,b, c" at the commas outside nested parentheses. */
static void split_values(struct arena *arena, struct datadriven_argument *argument, char *text)
{
    size_t most = 1;
    for (const char *at = text; *at != 0; at++) most += *at == ',';
    const char **values = arena_zalloc(arena, most * sizeof(*values));
    int depth = 0;
    char *start = text;
    for (char *at = text;; at++) {
        if (*at == '(') depth++;
        if (*at == ')') depth--;
        if (*at != 0 && (*at != ',' || depth > 0)) continue;
        bool last = *at == 0;
        *at = 0;
        if (!last || at > text) values[argument->count++] = start;
        if (last) break;
        while (at[1] == ' ') at++;
        start = at + 1;
    }
    argument->values = values;
}

/* The end of a parenthesised list whose opening parenthesis is at `text`. */
static char *list_end(char *text)
{
    int depth = 0;
    for (; *text != 0; text++) {
        if (*text == '(') depth++;
        if (*text == ')' && --depth == 0) break;
    }
    return text;
}

static char *parse_argument(struct arena *arena, struct argument_list *list, char *text)
{
    struct datadriven_argument *argument = add_argument(arena, list);
    argument->key = text;
    text += strcspn(text, " =");
    if (*text != '=') {
        if (*text != 0) *text++ = 0;
        return text;
    }
    *text++ = 0;
    char *end;
    if (*text == '(') {
        end = list_end(text);
        text++;
        if (*end != 0) *end++ = 0;
        split_values(arena, argument, text);
    } else {
        end = text + strcspn(text, " ");
        if (*end != 0) *end++ = 0;
        const char **values = arena_alloc(arena, sizeof(*values));
        values[0] = text;
        argument->values = values;
        argument->count = 1;
    }
    return end;
}

static bool next_directive(struct lines *lines, struct datadriven_directive *directive)
{
    char *line = next_directive_line(lines);
    if (line == NULL) return false;
    *directive = (struct datadriven_directive){.line = lines->number, .command = line};
    char *at = line + strcspn(line, " ");
    struct argument_list list = {0};
    while (*at != 0) {
        if (*at == ' ') {
            *at++ = 0;
        } else {
            at = parse_argument(lines->arena, &list, at);
        }
    }
    directive->arguments = list.items;
    directive->count = list.count;
    bool has_expected;
    directive->input = read_input(lines, &has_expected);
    directive->expected = has_expected ? read_expected(lines) : "";
    return true;
}

const struct datadriven_argument *datadriven_argument(const struct datadriven_directive *directive,
                                                      const char *key)
{
    for (size_t i = 0; i < directive->count; i++) {
        if (strcmp(directive->arguments[i].key, key) == 0) return &directive->arguments[i];
    }
    return NULL;
}

const char *datadriven_value(const struct datadriven_argument *argument)
{
    return argument->count == 0 ? "" : argument->values[0];
}

/* ---- Running ---- */

static bool read_file(const char *path, struct buf *content)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return false;
    size_t got;
    do {
        uint8_t *place = buf_reserve(content, 65536);
        got = fread(place, 1, 65536, file);
        content->size += got;
    } while (got > 0);
    bool ok = ferror(file) == 0;
    fclose(file);
    return ok;
}

static void append_marked(struct buf *out, char mark, const char *from, const char *to)
{
    while (from < to) {
        const char *end = strchr(from, '\n');
        int length = (int)((end == NULL ? to : end) - from);
        buf_printf(out, "%c %.*s\n", mark, length, from);
        from = end == NULL ? to : end + 1;
    }
}

/* Lines that both have at the start are shown once, then what was expected (-) and what came (+). */
static void describe_difference(struct buf *out, const char *expected, const char *got)
{
    const char *line_start = expected;
    size_t same = 0;
    while (expected[same] != 0 && expected[same] == got[same]) {
        same++;
        if (expected[same - 1] == '\n') line_start = expected + same;
    }
    size_t shared = (size_t)(line_start - expected);
    append_marked(out, ' ', expected, expected + shared);
    append_marked(out, '-', expected + shared, expected + strlen(expected));
    append_marked(out, '+', got + shared, got + strlen(got));
}

bool datadriven_run_file(const char *path, datadriven_handler *handler, void *state, size_t *directives,
                         struct buf *failure)
{
    struct buf content = {0}, output = {0};
    if (!read_file(path, &content)) {
        buf_printf(failure, "%s: cannot be read\n", path);
        buf_deinit(&content);
        return false;
    }
    struct lines lines = {.arena = arena_new()};
    lines.rest = arena_string(lines.arena, buf_bytes(&content));
    buf_deinit(&content);
    struct datadriven_directive directive;
    bool same = true;
    while (same && next_directive(&lines, &directive)) {
        buf_clear(&output);
        handler(state, &directive, &output);
        if (output.size > 0 && output.data[output.size - 1] != '\n') buf_append_byte(&output, '\n');
        const char *got = buf_string(&output);
        same = strcmp(got, directive.expected) == 0;
        ++*directives;
        if (same) continue;
        buf_printf(failure, "%s:%d: %s\n", path, directive.line, directive.command);
        describe_difference(failure, directive.expected, got);
    }
    buf_deinit(&output);
    arena_free(lines.arena);
    return same;
}
