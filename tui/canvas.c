#include "tui/canvas.h"

#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <stdlib.h>
#include <wchar.h>

static int bounded(int size)
{
    return size < 1 ? 1 : size > CANVAS_SIZE_MAX ? CANVAS_SIZE_MAX : size;
}

static void clear(struct canvas *canvas)
{
    size_t count = (size_t)canvas->width * (size_t)canvas->height;
    for (size_t i = 0; i < count; i++)
        canvas->cells[i] = (struct canvas_cell){.characters = {' '}, .width = 1};
    canvas->live_count = 0;
    canvas->cursor_x = canvas->cursor_y = -1;
}

void canvas_resize(struct canvas *canvas, int width, int height, const struct glyphs *glyphs)
{
    width = bounded(width);
    height = bounded(height);
    canvas->glyphs = glyphs;
    if (canvas->cells == NULL || canvas->width != width || canvas->height != height) {
        free(canvas->cells);
        canvas->cells = mem_zalloc((size_t)width * (size_t)height, sizeof(*canvas->cells));
        canvas->width = width;
        canvas->height = height;
    }
    clear(canvas);
}

void canvas_deinit(struct canvas *canvas)
{
    free(canvas->cells);
    *canvas = (struct canvas){.cells = NULL};
}

struct canvas_cell *canvas_cell(const struct canvas *canvas, int x, int y)
{
    assert(x >= 0 && x < canvas->width && y >= 0 && y < canvas->height);
    return &canvas->cells[y * canvas->width + x];
}

/* ---- Text ---- */

struct character {
    uint32_t code;
    int width; /* 0: combines */
    size_t size;
};

static bool is_glyph_of(const struct canvas *canvas, uint32_t code)
{
    return !canvas->glyphs->ascii || code < 0x7f;
}

/* The character at the start of a text that is not empty. */
static struct character character_at(const struct canvas *canvas, struct bytes text)
{
    struct character character = {.code = '?', .width = 1, .size = 1};
    uint32_t code;
    size_t size = text_utf8_decode(text, &code);
    if (size == 0) return character;
    character.size = size;
    if (code == '\t') {
        character.code = ' ';
    } else if (code < 0x20 || code == 0x7f) {
        character.code = canvas->glyphs->ascii ? '.' : 0xb7;
    } else if (is_glyph_of(canvas, code)) {
        int width = code < 0x7f ? 1 : wcwidth((wchar_t)code);
        if (width < 0) return character;
        character.code = code;
        character.width = width;
    }
    return character;
}

static void join(struct canvas *canvas, int x, int y, uint32_t code)
{
    if (x < 0) return;
    struct canvas_cell *cell = canvas_cell(canvas, x, y);
    if (cell->width == 0 && x > 0) cell--;
    for (size_t i = 1; i < CANVAS_CELL_CHARACTERS; i++) {
        if (cell->characters[i] != 0) continue;
        cell->characters[i] = code;
        return;
    }
}

/* What is overwritten may be half of a wide character: the other half becomes a blank. */
static void clear_cell(struct canvas *canvas, int x, int y)
{
    struct canvas_cell *cell = canvas_cell(canvas, x, y);
    if (cell->width == 0 && x > 0)
        *canvas_cell(canvas, x - 1, y) = (struct canvas_cell){.characters = {' '}, .width = 1};
    if (cell->width == 2 && x + 1 < canvas->width)
        *canvas_cell(canvas, x + 1, y) = (struct canvas_cell){.characters = {' '}, .width = 1};
    *cell = (struct canvas_cell){.characters = {' '}, .width = 1};
}

static void set_cell(struct canvas *canvas, int x, int y, struct character character, enum style style)
{
    clear_cell(canvas, x, y);
    if (character.width == 2) clear_cell(canvas, x + 1, y);
    *canvas_cell(canvas, x, y) = (struct canvas_cell){.characters = {character.code},
                                                      .style = (uint8_t)style,
                                                      .width = (uint8_t)character.width};
    if (character.width == 2) {
        struct canvas_cell *half = canvas_cell(canvas, x + 1, y);
        half->width = 0;
        half->style = (uint8_t)style;
    }
}

int canvas_text_width(const struct canvas *canvas, struct bytes text)
{
    int width = 0;
    while (text.size > 0) {
        struct character character = character_at(canvas, text);
        width += character.width;
        if (width > CANVAS_SIZE_MAX) return CANVAS_SIZE_MAX + 1;
        text = bytes_of(text.data + character.size, text.size - character.size);
    }
    return width;
}

/* Draws what fits and returns the columns taken. */
static int put_fitting(struct canvas *canvas, int x, int y, int columns, enum style style, struct bytes text)
{
    int at = 0;
    while (text.size > 0) {
        struct character character = character_at(canvas, text);
        if (at + character.width > columns) break;
        if (character.width == 0)
            join(canvas, x + at - 1, y, character.code);
        else
            set_cell(canvas, x + at, y, character, style);
        at += character.width;
        text = bytes_of(text.data + character.size, text.size - character.size);
    }
    return at;
}

int canvas_put(struct canvas *canvas, int x, int y, int columns, enum style style, struct bytes text)
{
    if (y < 0 || y >= canvas->height || x < 0 || x >= canvas->width) return 0;
    if (columns > canvas->width - x) columns = canvas->width - x;
    if (columns <= 0) return 0;
    if (text.size <= (size_t)columns || canvas_text_width(canvas, text) <= columns)
        return put_fitting(canvas, x, y, columns, style, text);
    int at = put_fitting(canvas, x, y, columns - 1, style, text);
    struct bytes ellipsis = bytes_from_string(canvas->glyphs->ellipsis);
    return at + put_fitting(canvas, x + at, y, 1, style, ellipsis);
}

int canvas_text(struct canvas *canvas, int x, int y, enum style style, const char *text)
{
    return canvas_put(canvas, x, y, CANVAS_SIZE_MAX, style, bytes_from_string(text));
}

int canvas_printf(struct canvas *canvas, int x, int y, enum style style, const char *format, ...)
{
    struct buf text = {0};
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&text, format, arguments);
    va_end(arguments);
    int columns = canvas_put(canvas, x, y, CANVAS_SIZE_MAX, style, buf_bytes(&text));
    buf_deinit(&text);
    return columns;
}

void canvas_left(struct canvas *canvas, int x, int y, int columns, enum style style, const char *text)
{
    canvas_put(canvas, x, y, columns, style, bytes_from_string(text));
}

void canvas_right(struct canvas *canvas, int x, int y, int columns, enum style style, const char *text)
{
    struct bytes bytes = bytes_from_string(text);
    int width = canvas_text_width(canvas, bytes);
    int indent = width < columns ? columns - width : 0;
    canvas_put(canvas, x + indent, y, columns - indent, style, bytes);
}

void canvas_fill(struct canvas *canvas, int x, int y, int columns, enum style style, const char *glyph)
{
    for (int i = 0; i < columns; i++) canvas_put(canvas, x + i, y, 1, style, bytes_from_string(glyph));
}

void canvas_restyle(struct canvas *canvas, int x, int y, int columns, enum style style)
{
    if (y < 0 || y >= canvas->height) return;
    for (int i = x < 0 ? 0 : x; i < x + columns && i < canvas->width; i++)
        canvas_cell(canvas, i, y)->style = (uint8_t)style;
}

/* ---- What changed ---- */

void canvas_live(struct canvas *canvas, int x, int y, int columns)
{
    if (canvas->live_count == CANVAS_LIVE_MAX || y < 0 || y >= canvas->height || x < 0) return;
    if (columns > canvas->width - x) columns = canvas->width - x;
    if (columns <= 0) return;
    canvas->live[canvas->live_count++] = (struct canvas_live){.x = x, .y = y, .width = columns};
}

static bool differs(const struct canvas *a, const struct canvas *b, const struct canvas_live *live)
{
    for (int x = live->x; x < live->x + live->width; x++) {
        const struct canvas_cell *left = canvas_cell(a, x, live->y), *right = canvas_cell(b, x, live->y);
        if (memcmp(left->characters, right->characters, sizeof(left->characters)) != 0) return true;
    }
    return false;
}

void canvas_mark_changes(struct canvas *canvas, const struct canvas *before)
{
    if (before->width != canvas->width || before->height != canvas->height) return;
    for (size_t i = 0; i < canvas->live_count; i++) {
        const struct canvas_live *live = &canvas->live[i];
        if (!differs(canvas, before, live)) continue;
        for (int x = live->x; x < live->x + live->width; x++) canvas_cell(canvas, x, live->y)->bold = true;
    }
}

void canvas_copy(struct canvas *to, const struct canvas *from)
{
    canvas_resize(to, from->width, from->height, from->glyphs);
    memcpy(to->cells, from->cells, (size_t)from->width * (size_t)from->height * sizeof(*from->cells));
}

/* ---- As text ---- */

static void append_utf8(struct buf *out, uint32_t code)
{
    if (code < 0x80) {
        buf_append_byte(out, (uint8_t)code);
        return;
    }
    unsigned extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    buf_append_byte(out, (uint8_t)(lead[extra] | code >> (6 * extra)));
    while (extra-- > 0) buf_append_byte(out, (uint8_t)(0x80 | (code >> (6 * extra) & 0x3f)));
}

void canvas_row_text(const struct canvas *canvas, int y, struct buf *out)
{
    size_t start = out->size;
    for (int x = 0; x < canvas->width; x++) {
        const struct canvas_cell *cell = canvas_cell(canvas, x, y);
        for (size_t i = 0; cell->width > 0 && i < CANVAS_CELL_CHARACTERS && cell->characters[i] != 0; i++)
            append_utf8(out, cell->characters[i]);
    }
    while (out->size > start && out->data[out->size - 1] == ' ') out->size--;
}
