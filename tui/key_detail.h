/* key_detail: one key's value, kept up to date, and its earlier values. Pure: no I/O, no clock. */
#ifndef TUI_KEY_DETAIL_H
#define TUI_KEY_DETAIL_H

#include "tui/key_request.h"

enum { KEY_DETAIL_HISTORY_MAX = 200 };

struct key_version {
    int64_t create_revision, mod_revision, version, lease;
    struct buf value;
};

enum key_detail_state {
    KEY_DETAIL_NONE,    /* no key is selected */
    KEY_DETAIL_WAITING, /* no answer yet */
    KEY_DETAIL_THERE,
    KEY_DETAIL_GONE, /* there is no such key (any more) */
};

/* Zero-initialised is valid: nothing selected. */
struct key_detail {
    struct buf key;
    enum key_detail_state state;
    struct key_version now;
    int64_t answered; /* when, 0: never */
    char *failure;    /* of the last request, NULL: it was answered */
    uint64_t value_id, history_id, next_id;
    bool is_stale;     /* to be asked for again */
    bool with_history; /* the earlier values are wanted */
    bool history_ended;
    const char *history_end; /* why it goes no further back; a static text */
    struct key_version history[KEY_DETAIL_HISTORY_MAX];
    size_t history_count;
};

void key_detail_deinit(struct key_detail *detail);
/* Does nothing when the key is selected already. */
void key_detail_select(struct key_detail *detail, struct bytes key);
void key_detail_select_nothing(struct key_detail *detail);
/* Ask again, once the request under way is answered. */
void key_detail_refresh(struct key_detail *detail);
void key_detail_want_history(struct key_detail *detail, bool wanted);
bool key_detail_next(struct key_detail *detail, struct key_request *request);
void key_detail_answer(struct key_detail *detail, const struct key_answer *answer);

#endif
