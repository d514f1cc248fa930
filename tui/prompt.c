#include "tui/prompt.h"

#include "base/memory.h"

#include <stdlib.h>

void prompt_start(struct prompt *prompt, const char *label, struct bytes initial)
{
    prompt->label = label;
    buf_clear(&prompt->text);
    buf_append_bytes(&prompt->text, initial);
    prompt->cursor = initial.size;
    prompt->history = NULL;
    prompt->history_at = 0;
    prompt->complete = NULL;
    buf_clear(&prompt->choices);
}

void prompt_deinit(struct prompt *prompt)
{
    buf_deinit(&prompt->text);
    buf_deinit(&prompt->choices);
}

static bool is_middle_of_character(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

static size_t before(const struct prompt *prompt, size_t at)
{
    if (at == 0) return 0;
    at--;
    while (at > 0 && is_middle_of_character(prompt->text.data[at])) at--;
    return at;
}

static size_t behind(const struct prompt *prompt, size_t at)
{
    if (at >= prompt->text.size) return prompt->text.size;
    at++;
    while (at < prompt->text.size && is_middle_of_character(prompt->text.data[at])) at++;
    return at;
}

static size_t word_before(const struct prompt *prompt)
{
    size_t at = prompt->cursor;
    while (at > 0 && prompt->text.data[at - 1] == ' ') at--;
    while (at > 0 && prompt->text.data[at - 1] != ' ') at--;
    return at;
}

static void erase(struct prompt *prompt, size_t from, size_t to)
{
    if (from == to) return;
    memmove(prompt->text.data + from, prompt->text.data + to, prompt->text.size - to);
    prompt->text.size -= to - from;
    prompt->cursor = from;
}

static void insert(struct prompt *prompt, struct bytes text)
{
    if (text.size == 0 || prompt->text.size + text.size > PROMPT_SIZE_MAX) return;
    buf_reserve(&prompt->text, text.size);
    uint8_t *at = prompt->text.data + prompt->cursor;
    memmove(at + text.size, at, prompt->text.size - prompt->cursor);
    memcpy(at, text.data, text.size);
    prompt->text.size += text.size;
    prompt->cursor += text.size;
}

static void insert_character(struct prompt *prompt, uint32_t code)
{
    uint8_t bytes[4];
    size_t size = 0;
    if (code < 0x80) {
        bytes[size++] = (uint8_t)code;
    } else if (code < 0x800) {
        bytes[size++] = (uint8_t)(0xc0 | code >> 6);
        bytes[size++] = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        bytes[size++] = (uint8_t)(0xe0 | code >> 12);
        bytes[size++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        bytes[size++] = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        bytes[size++] = (uint8_t)(0xf0 | code >> 18);
        bytes[size++] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        bytes[size++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        bytes[size++] = (uint8_t)(0x80 | (code & 0x3f));
    }
    insert(prompt, bytes_of(bytes, size));
}

static void show_history(struct prompt *prompt, size_t at)
{
    prompt->history_at = at;
    const char *line = at < prompt->history->count ? prompt->history->lines[at] : "";
    buf_clear(&prompt->text);
    buf_append_string(&prompt->text, line);
    prompt->cursor = prompt->text.size;
}

static void complete(struct prompt *prompt)
{
    struct buf addition = {0};
    buf_clear(&prompt->choices);
    prompt->complete(bytes_of(prompt->text.data, prompt->cursor), &addition, &prompt->choices);
    insert(prompt, buf_bytes(&addition));
    buf_deinit(&addition);
}

/* Moves the cursor. False when the key does something else. */
static bool move(struct prompt *prompt, uint32_t key)
{
    switch (key) {
    case INPUT_LEFT:
    case INPUT_CONTROL('B'):
        prompt->cursor = before(prompt, prompt->cursor);
        return true;
    case INPUT_RIGHT:
    case INPUT_CONTROL('F'):
        prompt->cursor = behind(prompt, prompt->cursor);
        return true;
    case INPUT_HOME:
    case INPUT_CONTROL('A'):
        prompt->cursor = 0;
        return true;
    case INPUT_END:
    case INPUT_CONTROL('E'):
        prompt->cursor = prompt->text.size;
        return true;
    default:
        return false;
    }
}

/* Changes the text. False when the key does something else. */
static bool change(struct prompt *prompt, uint32_t key)
{
    switch (key) {
    case INPUT_BACKSPACE:
    case INPUT_CONTROL('H'):
    case 0x7f:
        erase(prompt, before(prompt, prompt->cursor), prompt->cursor);
        return true;
    case INPUT_DELETE:
    case INPUT_CONTROL('D'):
        erase(prompt, prompt->cursor, behind(prompt, prompt->cursor));
        return true;
    case INPUT_CONTROL('U'):
        erase(prompt, 0, prompt->cursor);
        return true;
    case INPUT_CONTROL('K'):
        erase(prompt, prompt->cursor, prompt->text.size);
        return true;
    case INPUT_CONTROL('W'):
        erase(prompt, word_before(prompt), prompt->cursor);
        return true;
    default:
        if (key < 0x20 || key > 0x10ffff) return false;
        insert_character(prompt, key);
        return true;
    }
}

enum prompt_outcome prompt_key(struct prompt *prompt, uint32_t key)
{
    if (key == INPUT_TAB && prompt->complete != NULL) {
        complete(prompt);
        return PROMPT_CHANGED;
    }
    buf_clear(&prompt->choices);
    if (key == INPUT_ENTER) return PROMPT_DONE;
    if (key == INPUT_ESCAPE || key == INPUT_CONTROL('C') || key == INPUT_CONTROL('G')) return PROMPT_LEFT;
    if (key == INPUT_BACKSPACE && prompt->text.size == 0) return PROMPT_LEFT;
    if (prompt->history != NULL && key == INPUT_UP && prompt->history_at > 0)
        show_history(prompt, prompt->history_at - 1);
    else if (prompt->history != NULL && key == INPUT_DOWN && prompt->history_at < prompt->history->count)
        show_history(prompt, prompt->history_at + 1);
    else if (!move(prompt, key) && !change(prompt, key))
        return PROMPT_GOES_ON;
    return PROMPT_CHANGED;
}

void prompt_draw(const struct prompt *prompt, struct canvas *canvas, int y)
{
    canvas_fill(canvas, 0, y, canvas->width, STYLE_NORMAL, " ");
    if (prompt->choices.size > 0 && y > 0) {
        canvas_fill(canvas, 0, y - 1, canvas->width, STYLE_NORMAL, " ");
        canvas_put(canvas, 1, y - 1, canvas->width - 1, STYLE_DIM, buf_bytes(&prompt->choices));
    }
    int x = canvas_text(canvas, 0, y, STYLE_KEY, prompt->label);
    /* Scrolls so that the cursor stays visible. */
    size_t from = 0;
    int room = canvas->width - x - 1;
    while (from < prompt->cursor &&
           canvas_text_width(canvas, bytes_of(prompt->text.data + from, prompt->cursor - from)) > room)
        from = behind(prompt, from);
    struct bytes ahead = bytes_of(prompt->text.data + from, prompt->cursor - from);
    canvas_put(canvas, x, y, room + 1, STYLE_NORMAL,
               bytes_of(prompt->text.data + from, prompt->text.size - from));
    canvas->cursor_x = x + canvas_text_width(canvas, ahead);
    canvas->cursor_y = y;
}

void prompt_history_add(struct prompt_history *history, const char *line)
{
    if (line[0] == 0) return;
    if (history->count > 0 && strcmp(history->lines[history->count - 1], line) == 0) return;
    if (history->count == PROMPT_HISTORY_MAX) {
        free(history->lines[0]);
        memmove(&history->lines[0], &history->lines[1], (PROMPT_HISTORY_MAX - 1) * sizeof(history->lines[0]));
        history->count--;
    }
    history->lines[history->count++] = mem_strdup(line);
}

void prompt_history_deinit(struct prompt_history *history)
{
    for (size_t i = 0; i < history->count; i++) free(history->lines[i]);
    history->count = 0;
}
