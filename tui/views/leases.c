/* The leases: what they have left, what they hold. Each is asked about when it is first shown, and the
 * selected one again at every refresh. */
#include "base/memory.h"
#include "base/text.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS_SHOWN = 200, KNOWN_MAX = 512 };

struct lease {
    int64_t id;
    bool asked, answered;
    int64_t left, granted, at; /* seconds; at: monotonic */
    size_t key_count;
    struct buf keys; /* one a line, quoted where needed */
    char why[MODEL_TEXT];
};

struct leases {
    struct sheet sheet;
    struct lease known[KNOWN_MAX]; /* a ring: the oldest are forgotten */
    size_t known_count, next;
    uint64_t next_id;
    int64_t selected; /* its id; 0: none */
    int64_t shown[KNOWN_MAX];
    size_t shown_count;
    bool refresh;
};

static struct leases *leases_of(const struct view *view)
{
    return (struct leases *)(uintptr_t)view;
}

static struct lease *find(struct leases *leases, int64_t id)
{
    for (size_t i = 0; i < leases->known_count; i++)
        if (leases->known[i].id == id) return &leases->known[i];
    return NULL;
}

static struct lease *find_or_make(struct leases *leases, int64_t id)
{
    struct lease *lease = find(leases, id);
    if (lease != NULL) return lease;
    lease = &leases->known[leases->next];
    leases->next = (leases->next + 1) % KNOWN_MAX;
    if (leases->known_count < KNOWN_MAX) leases->known_count++;
    buf_deinit(&lease->keys);
    *lease = (struct lease){.id = id};
    return lease;
}

/* ---- asking ---- */

static bool next_request(struct view *view, struct key_request *request)
{
    struct leases *leases = leases_of(view);
    int64_t wanted = 0;
    for (size_t i = 0; i < leases->shown_count && wanted == 0; i++)
        if (!find_or_make(leases, leases->shown[i])->asked) wanted = leases->shown[i];
    if (wanted == 0 && leases->refresh && leases->selected != 0) wanted = leases->selected;
    if (wanted == 0) return false;
    if (wanted == leases->selected) leases->refresh = false;
    find_or_make(leases, wanted)->asked = true;
    *request = (struct key_request){.id = ++leases->next_id, .kind = KEY_REQUEST_LEASE, .lease = wanted};
    return true;
}

static void answer(struct view *view, const struct key_answer *answer)
{
    struct lease *lease = find(leases_of(view), answer->lease);
    if (lease == NULL || answer->error != NULL) return;
    lease->answered = true;
    lease->left = answer->left;
    lease->granted = answer->granted;
    lease->at = answer->now;
    lease->key_count = answer->key_count;
    buf_clear(&lease->keys);
    for (size_t i = 0; i < answer->key_count && i < KEYS_SHOWN; i++) {
        struct bytes key = bytes_of(answer->keys[i].data, answer->keys[i].len);
        text_go_quote(&lease->keys, key);
        buf_append_byte(&lease->keys, '\n');
    }
}

static void tick(struct view *view, struct app *app)
{
    (void)app;
    leases_of(view)->refresh = true;
}

/* ---- the page ---- */

static int64_t left_now(const struct lease *lease, const struct model *model)
{
    int64_t passed = (model->now - lease->at) / 1000000000;
    return lease->left - (passed > 0 ? passed : 0);
}

static struct bytes first_line(struct bytes text)
{
    const uint8_t *end = text.size == 0 ? NULL : memchr(text.data, '\n', text.size);
    return end == NULL ? text : bytes_of(text.data, (size_t)(end - text.data));
}

static void write_lease(struct leases *leases, struct page *page, const struct model *model, int64_t id)
{
    bool selected;
    int y = page_row(page, &selected);
    if (selected) leases->selected = id;
    if (y < 0) return;
    if (leases->shown_count < KNOWN_MAX) leases->shown[leases->shown_count++] = id;
    const struct lease *lease = find(leases, id);
    canvas_printf(page->canvas, 2, y, STYLE_ACCENT, "%016" PRIx64, (uint64_t)id);
    if (lease == NULL || !lease->answered) {
        canvas_right(page->canvas, 20, y, 8, STYLE_DIM, "?");
    } else if (lease->left < 0) {
        canvas_text(page->canvas, 20, y, STYLE_WARNING, "has ended");
    } else {
        char text[64];
        snprintf(text, sizeof(text), "%" PRId64 "s", left_now(lease, model));
        canvas_right(page->canvas, 20, y, 8, STYLE_NORMAL, text);
        snprintf(text, sizeof(text), "%" PRId64 "s", lease->granted);
        canvas_right(page->canvas, 29, y, 8, STYLE_DIM, text);
        snprintf(text, sizeof(text), "%zu", lease->key_count);
        canvas_right(page->canvas, 38, y, 6, STYLE_NORMAL, text);
        canvas_put(page->canvas, 46, y, page->canvas->width - 47, STYLE_DIM,
                   first_line(buf_bytes(&lease->keys)));
    }
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    struct leases *leases = leases_of(&sheet->view);
    leases->shown_count = 0;
    if (page->row_count == 0) leases->selected = 0;
    int y = page_line(page);
    if (y >= 0)
        canvas_text(page->canvas, 2, y, STYLE_HEADING,
                    "LEASE                 LEFT  GRANTED   KEYS  FIRST KEY");
    for (size_t i = 0; i < model->lease_id_count; i++) {
        char text[24];
        snprintf(text, sizeof(text), "%016" PRIx64, (uint64_t)model->lease_ids[i]);
        if (sheet_passes(sheet, text)) write_lease(leases, page, model, model->lease_ids[i]);
    }
    if (model->lease_list.asked && !model->lease_list.good)
        page_note(page, STYLE_WARNING, "not told: %s", model->lease_list.why);
    else if (page->row_count == 0)
        page_note(page, STYLE_DIM, "no leases");
    const struct lease *lease = find(leases, leases->selected);
    if (lease == NULL || lease->keys.size == 0) return;
    page_heading(page, "keys of the selected lease");
    page_lines(page, 0, buf_bytes(&lease->keys));
    if (lease->key_count > KEYS_SHOWN)
        page_note(page, STYLE_DIM, "and %zu more", lease->key_count - KEYS_SHOWN);
}

static void headline(struct sheet *sheet, const struct model *model, struct buf *out)
{
    (void)sheet;
    buf_printf(out, "%s in all, asked %s ago", units_count(model->leases).text,
               units_age(model_age(model, &model->lease_list)).text);
    if (model->leases > MODEL_LEASE_IDS_MAX) buf_printf(out, ", the first %d are shown", MODEL_LEASE_IDS_MAX);
}

/* ---- keys ---- */

/* An etcdctl command on the selected lease; those that lose something ask themselves. */
static void command_on_selected(struct view *view, struct app *app, const char *command)
{
    char line[64];
    if (leases_of(view)->selected == 0) return;
    snprintf(line, sizeof(line), "%s %" PRIx64, command, (uint64_t)leases_of(view)->selected);
    app_command(app, line);
}

static void run_revoke(struct view *view, struct app *app)
{
    command_on_selected(view, app, "lease revoke");
}

static void run_keep_alive(struct view *view, struct app *app)
{
    command_on_selected(view, app, "lease keep-alive --once");
}

static void run_copy(struct view *view, struct app *app)
{
    char text[24];
    if (leases_of(view)->selected == 0) return;
    snprintf(text, sizeof(text), "%" PRIx64, (uint64_t)leases_of(view)->selected);
    app_copy(app, bytes_from_string(text));
    app_message(app, MODEL_NOTE, "copied %s", text);
}

static const struct binding bindings[] = {
    {{'x', INPUT_DELETE},
     "x Del",
     "revoke",
     "revoke the selected lease, with its keys",
     BINDING_BOTTOM | BINDING_CHANGES,
     run_revoke},
    {{'a'}, "a", "alive", "renew the selected lease once", BINDING_BOTTOM | BINDING_CHANGES, run_keep_alive},
    {{'y'}, "y", "copy", "copy its id", 0, run_copy},
    SHEET_SIBLINGS,
    SHEET_BINDINGS,
};

static void free_leases(struct view *view)
{
    struct leases *leases = leases_of(view);
    for (size_t i = 0; i < KNOWN_MAX; i++) buf_deinit(&leases->known[i].keys);
    sheet_free(view);
}

struct view *view_leases_new(void)
{
    struct leases *leases = mem_zalloc(1, sizeof(*leases));
    sheet_init(&leases->sheet, "leases", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet_init_filter(&leases->sheet);
    leases->sheet.write = write_page;
    leases->sheet.headline = headline;
    leases->sheet.view.next_request = next_request;
    leases->sheet.view.answer = answer;
    leases->sheet.view.tick = tick;
    leases->sheet.view.free = free_leases;
    return &leases->sheet.view;
}
