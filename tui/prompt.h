/* prompt: a line of text being edited in the bottom line. */
#ifndef TUI_PROMPT_H
#define TUI_PROMPT_H

#include "tui/canvas.h"
#include "tui/input.h"

enum { PROMPT_HISTORY_MAX = 100, PROMPT_SIZE_MAX = 64 * 1024 };

/* Lines entered before, oldest first. Zero-initialised is empty. */
struct prompt_history {
    char *lines[PROMPT_HISTORY_MAX];
    size_t count;
};

enum prompt_outcome { PROMPT_GOES_ON, PROMPT_CHANGED, PROMPT_DONE, PROMPT_LEFT };

struct prompt {
    const char *label; /* borrowed */
    struct buf text;
    size_t cursor;                  /* byte */
    struct prompt_history *history; /* borrowed, or NULL */
    size_t history_at;              /* history->count: the line being written */
    /* Completes text[0..cursor): appends what may be added and, when there is a choice, the candidates for
     * `choices`. May be NULL. */
    void (*complete)(struct bytes before, struct buf *addition, struct buf *choices);
    struct buf choices; /* of the last Tab; shown above */
};

void prompt_start(struct prompt *prompt, const char *label, struct bytes initial);
void prompt_deinit(struct prompt *prompt);
enum prompt_outcome prompt_key(struct prompt *prompt, uint32_t key);
void prompt_draw(const struct prompt *prompt, struct canvas *canvas, int y);

/* Forgets the oldest when full; a repetition of the last line is not kept. */
void prompt_history_add(struct prompt_history *history, const char *line);
void prompt_history_deinit(struct prompt_history *history);

#endif
