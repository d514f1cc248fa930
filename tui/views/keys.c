/* The keys as a tree, and the value of the selected one beside it. */
#include "base/memory.h"
#include "tui/app.h"
#include "tui/key_detail.h"
#include "tui/keyspace.h"
#include "tui/units.h"
#include "tui/value_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEYS_HEADER = 2,
    PANE_HEADER = 4,       /* rows above the value */
    BOTH_PANES_WIDTH = 60, /* below, one pane at a time */
    COUNT_WIDTH = 6,
    PATH_SHOWN = 120,
    HISTORY_VALUE_SHOWN = 400,
};

/* The value pane's lines, made anew when what they show has changed. */
struct value_lines {
    struct buf text;
    size_t *starts;
    size_t count, capacity, top, height;
    enum value_form form;
    struct {
        int64_t revision;
        int columns;
        bool is_history;
        size_t versions;
        bool ended;
        enum key_detail_state state;
        struct buf key;
    } made_of;
};

struct keys_view {
    struct view view;
    struct keyspace *keyspace;
    struct selection rows;
    struct key_detail detail;
    struct value_lines lines;
    bool focus_value, with_history;
    bool has_moved;                       /* since the last page was loaded */
    int tree_width, value_x, value_width; /* widths of 0: not shown */
    /* What a question is about. */
    struct buf change_key, change_value;
    int64_t change_revision;
    int change_kind;
};

/* Ids of both sources share one space: those of the pane are odd. */
static uint64_t detail_id(uint64_t id)
{
    return id * 2 + 1;
}

static struct keys_view *keys_of(const struct view *view)
{
    return (struct keys_view *)(uintptr_t)view;
}

static const struct key_row *selected_row(struct keys_view *keys)
{
    /* Rows may have gone since the last layout. */
    if (keys->rows.selected >= keyspace_row_count(keys->keyspace)) return NULL;
    return keyspace_row(keys->keyspace, keys->rows.selected);
}

/* The selected key or directory; NULL on "more" and failures. */
static struct key_node *selected_node(struct keys_view *keys)
{
    const struct key_row *row = selected_row(keys);
    return row == NULL || row->kind != KEY_ROW_NODE ? NULL : row->node;
}

/* Rows may come and go above the selected one: it stays selected. */
struct kept_row {
    struct buf path;
    bool is_there, is_directory;
};

static struct kept_row keep_row(struct keys_view *keys)
{
    const struct key_node *node = selected_node(keys);
    struct kept_row kept = {.is_there = node != NULL, .is_directory = node != NULL && node->is_directory};
    if (node != NULL) buf_append_bytes(&kept.path, key_node_path(node));
    return kept;
}

static void restore_row(struct keys_view *keys, struct kept_row *kept)
{
    size_t count = keyspace_row_count(keys->keyspace);
    size_t at = SIZE_MAX;
    if (kept->is_there) at = keyspace_find(keys->keyspace, buf_bytes(&kept->path), kept->is_directory);
    if (at != SIZE_MAX) keys->rows.selected = at;
    if (keys->rows.selected >= count) keys->rows.selected = count == 0 ? 0 : count - 1;
    buf_deinit(&kept->path);
}

static void follow_selection(struct keys_view *keys)
{
    const struct key_node *node = selected_node(keys);
    if (node == NULL || node->is_directory)
        key_detail_select_nothing(&keys->detail);
    else
        key_detail_select(&keys->detail, key_node_path(node));
}

/* ---- The value pane's lines ---- */

static void split_lines(struct value_lines *lines)
{
    lines->count = 0;
    for (size_t at = 0; at < lines->text.size;) {
        if (lines->count == lines->capacity) {
            lines->capacity = lines->capacity == 0 ? 64 : lines->capacity * 2;
            lines->starts = mem_realloc(lines->starts, lines->capacity * sizeof(*lines->starts));
        }
        lines->starts[lines->count++] = at;
        const uint8_t *end = memchr(lines->text.data + at, '\n', lines->text.size - at);
        at = end == NULL ? lines->text.size : (size_t)(end - lines->text.data) + 1;
    }
}

static struct bytes line_of(const struct value_lines *lines, size_t line)
{
    size_t start = lines->starts[line];
    size_t end = line + 1 < lines->count ? lines->starts[line + 1] : lines->text.size;
    if (end > start && lines->text.data[end - 1] == '\n') end--;
    return bytes_of(lines->text.data + start, end - start);
}

static void append_version(struct buf *out, const struct key_version *version)
{
    struct bytes value = buf_bytes(&version->value);
    bool is_cut = value.size > HISTORY_VALUE_SHOWN;
    if (is_cut) value.size = HISTORY_VALUE_SHOWN;
    buf_printf(out, "rev %s  version %" PRId64 "\n    ", units_grouped(version->mod_revision).text,
               version->version);
    value_format_line(value, out);
    buf_append_string(out, is_cut ? " ...\n" : "\n");
}

static void make_history(const struct key_detail *detail, struct buf *out)
{
    append_version(out, &detail->now);
    for (size_t i = 0; i < detail->history_count; i++) append_version(out, &detail->history[i]);
    if (!detail->history_ended)
        buf_append_string(out, "(older ones are being read)\n");
    else
        buf_printf(out, "(%s)\n", detail->history_end);
}

static bool lines_are_current(const struct keys_view *keys, int columns)
{
    const struct value_lines *lines = &keys->lines;
    const struct key_detail *detail = &keys->detail;
    return lines->made_of.state == detail->state && lines->made_of.revision == detail->now.mod_revision &&
           lines->made_of.columns == columns && lines->made_of.is_history == keys->with_history &&
           lines->made_of.versions == detail->history_count &&
           lines->made_of.ended == detail->history_ended &&
           bytes_equal(buf_bytes(&lines->made_of.key), buf_bytes(&detail->key));
}

static void make_lines(struct keys_view *keys, int columns)
{
    struct value_lines *lines = &keys->lines;
    const struct key_detail *detail = &keys->detail;
    if (lines_are_current(keys, columns)) return;
    bool same_key = bytes_equal(buf_bytes(&lines->made_of.key), buf_bytes(&detail->key));
    if (!same_key || lines->made_of.is_history != keys->with_history) lines->top = 0;
    buf_clear(&lines->text);
    if (detail->state == KEY_DETAIL_THERE && keys->with_history) make_history(detail, &lines->text);
    if (detail->state == KEY_DETAIL_THERE && !keys->with_history)
        lines->form = value_format(buf_bytes(&detail->now.value), columns, &lines->text);
    split_lines(lines);
    lines->made_of.state = detail->state;
    lines->made_of.revision = detail->now.mod_revision;
    lines->made_of.columns = columns;
    lines->made_of.is_history = keys->with_history;
    lines->made_of.versions = detail->history_count;
    lines->made_of.ended = detail->history_ended;
    buf_clear(&lines->made_of.key);
    buf_append_bytes(&lines->made_of.key, buf_bytes(&detail->key));
}

static void scroll_value(struct keys_view *keys, long rows)
{
    struct value_lines *lines = &keys->lines;
    size_t by = (size_t)(rows < 0 ? -rows : rows);
    if (rows < 0)
        lines->top = lines->top > by ? lines->top - by : 0;
    else
        lines->top += by; /* the layout keeps it inside */
}

/* ---- Layout ---- */

static void keys_layout(struct view *view, const struct model *model, int width, int height)
{
    (void)model;
    struct keys_view *keys = keys_of(view);
    int rows = height > KEYS_HEADER ? height - KEYS_HEADER : 1;
    bool both = width >= BOTH_PANES_WIDTH;
    keys->tree_width = both ? (width - 1) / 2 : keys->focus_value ? 0 : width;
    keys->value_x = both ? keys->tree_width + 2 : 1;
    keys->value_width = both ? width - keys->value_x : keys->focus_value ? width - 1 : 0;
    selection_fit(&keys->rows, keyspace_row_count(keys->keyspace), (size_t)rows);
    size_t visible = keys->tree_width > 0 ? keys->rows.height : 0;
    if (keyspace_set_visible(keys->keyspace, keys->rows.top, visible, keys->has_moved))
        keys->has_moved = false;
    follow_selection(keys);
    make_lines(keys, keys->value_width);
    struct value_lines *lines = &keys->lines;
    lines->height = rows > PANE_HEADER ? (size_t)(rows - PANE_HEADER) : 1;
    size_t last = lines->count > lines->height ? lines->count - lines->height : 0;
    if (lines->top > last) lines->top = last;
}

/* ---- Drawing ---- */

static void draw_keys_header(struct keys_view *keys, const struct model *model, struct canvas *canvas)
{
    const struct key_node *root = keyspace_root(keys->keyspace);
    canvas_text(canvas, 1, 0, STYLE_TITLE, "keys");
    struct buf right = {0};
    int64_t revision = keyspace_revision(keys->keyspace);
    if (revision < model->revision) revision = model->revision;
    buf_printf(&right, "%s rev  ", revision > 0 ? units_grouped(revision).text : "?");
    buf_printf(&right, "%s keys", root->count < 0 ? "?" : units_grouped(root->count).text);
    int width = canvas_text_width(canvas, buf_bytes(&right));
    int x = canvas->width - width - 1;
    if (x > 12) canvas_text(canvas, x, 0, STYLE_NORMAL, buf_string(&right));
    buf_deinit(&right);
    int room = x - 8;
    int taken = canvas_put(canvas, 7, 0, room, STYLE_ACCENT,
                           root->path_size == 0 ? BYTES_LITERAL("all") : key_node_path(root));
    const char *filter = keyspace_filter(keys->keyspace);
    if (filter[0] != 0 && room - taken > 4) {
        struct buf text = {0};
        buf_printf(&text, "/%s (in what is open)", filter);
        canvas_put(canvas, 7 + taken + 2, 0, room - taken - 2, STYLE_WARNING, buf_bytes(&text));
        buf_deinit(&text);
    }
    view_draw_rule(canvas, 1);
}

static void draw_node(const struct key_node *node, struct canvas *canvas, int x, int y, int width)
{
    const struct glyphs *glyphs = canvas->glyphs;
    int room = width - COUNT_WIDTH - 3;
    if (node->is_directory)
        canvas_text(canvas, x, y, STYLE_BORDER, node->is_open ? glyphs->opened : glyphs->closed);
    struct bytes name = key_node_name(node);
    if (name.size == 0) name = BYTES_LITERAL("(the prefix itself)");
    canvas_put(canvas, x + 2, y, (node->is_directory ? room : width - 3) - x,
               node->is_directory ? STYLE_ACCENT : STYLE_NORMAL, name);
    if (!node->is_directory) return;
    const char *count = node->count >= 0 ? units_count((double)node->count).text : "?";
    canvas_right(canvas, width - COUNT_WIDTH - 1, y, COUNT_WIDTH, STYLE_DIM, count);
    canvas_live(canvas, width - COUNT_WIDTH - 1, y, COUNT_WIDTH);
}

static void draw_row(const struct key_row *row, struct canvas *canvas, int y, int width)
{
    int most = width - COUNT_WIDTH - 12;
    int x = 2 + 2 * (int)row->depth;
    if (x > most) x = most < 2 ? 2 : most; /* deep rows stay readable */
    switch (row->kind) {
    case KEY_ROW_NODE:
        draw_node(row->node, canvas, x, y, width);
        break;
    case KEY_ROW_MORE:
        canvas_put(canvas, x + 2, y, width - x - 3, STYLE_DIM,
                   bytes_from_string(
                       row->node->wanted > row->node->child_count ? "loading" : "more: move on to load it"));
        break;
    case KEY_ROW_FAILURE:
        canvas_put(canvas, x, y, width - x - 1, STYLE_BAD, bytes_from_string("? "));
        canvas_put(canvas, x + 2, y, width - x - 3, STYLE_BAD, bytes_from_string(row->node->failure));
        break;
    }
}

static void draw_tree(struct keys_view *keys, struct canvas *canvas)
{
    size_t count = keyspace_row_count(keys->keyspace);
    for (size_t i = 0; i < keys->rows.height && keys->rows.top + i < count; i++) {
        int y = KEYS_HEADER + (int)i;
        bool is_selected = keys->rows.top + i == keys->rows.selected;
        draw_row(keyspace_row(keys->keyspace, keys->rows.top + i), canvas, y, keys->tree_width);
        if (!is_selected) continue;
        canvas_text(canvas, 0, y, STYLE_NORMAL, canvas->glyphs->cursor);
        if (!keys->focus_value) canvas_restyle(canvas, 0, y, keys->tree_width, STYLE_SELECTED);
    }
    if (count == 0) {
        bool is_filtered = keyspace_filter(keys->keyspace)[0] != 0;
        canvas_text(canvas, 2, KEYS_HEADER, STYLE_DIM,
                    is_filtered ? "nothing open contains this" : "no keys");
    }
}

static void draw_value_header(const struct keys_view *keys, const struct model *model, struct canvas *canvas)
{
    const struct key_detail *detail = &keys->detail;
    int x = keys->value_x, y = KEYS_HEADER, width = keys->value_width;
    canvas_put(canvas, x, y, width, STYLE_ACCENT, buf_bytes(&detail->key));
    struct buf first = {0}, second = {0};
    int64_t age = detail->answered == 0 ? -1 : model->now - detail->answered;
    bool is_old = detail->failure != NULL;
    if (is_old)
        buf_printf(&first, "? %s%s(%s)", age < 0 ? "" : units_age(age).text, age < 0 ? "" : " ",
                   detail->failure);
    else if (detail->state == KEY_DETAIL_WAITING)
        buf_append_string(&first, "?");
    else if (detail->state == KEY_DETAIL_GONE)
        buf_append_string(&first, "this key is gone");
    else
        buf_printf(&first, "%s %s  rev %s  version %" PRId64,
                   value_form_name(value_form_of(buf_bytes(&detail->now.value))),
                   units_bytes((double)detail->now.value.size).text,
                   units_grouped(detail->now.mod_revision).text, detail->now.version);
    if (detail->state == KEY_DETAIL_THERE && detail->now.lease != 0)
        buf_printf(&second, "lease %" PRIx64 "  ", (uint64_t)detail->now.lease);
    if (detail->state == KEY_DETAIL_THERE)
        buf_printf(&second, "created rev %s%s", units_grouped(detail->now.create_revision).text,
                   keys->with_history ? "  history" : "");
    canvas_put(canvas, x, y + 1, width, is_old ? STYLE_BAD : STYLE_DIM, buf_bytes(&first));
    canvas_live(canvas, x, y + 1, width);
    canvas_put(canvas, x, y + 2, width, STYLE_DIM, buf_bytes(&second));
    buf_deinit(&first);
    buf_deinit(&second);
    canvas_fill(canvas, x, y + 3, width, STYLE_BORDER, canvas->glyphs->horizontal);
    if (keys->lines.count > keys->lines.height) {
        char place[64];
        snprintf(place, sizeof(place), " %zu-%zu of %zu ", keys->lines.top + 1,
                 keys->lines.top + keys->lines.height, keys->lines.count);
        canvas_right(canvas, x, y + 3, width - 1, keys->focus_value ? STYLE_KEY : STYLE_DIM, place);
    } else if (keys->focus_value) {
        canvas_text(canvas, x, y + 3, STYLE_KEY, canvas->glyphs->cursor);
    }
}

static void draw_directory(struct keys_view *keys, struct canvas *canvas)
{
    const struct key_node *node = selected_node(keys);
    int x = keys->value_x, y = KEYS_HEADER, width = keys->value_width;
    if (node == NULL) return;
    canvas_put(canvas, x, y, width, STYLE_ACCENT, key_node_path(node));
    char text[80];
    snprintf(text, sizeof(text), "%s %s with this prefix",
             node->count < 0 ? "?" : units_grouped(node->count).text, node->count == 1 ? "key" : "keys");
    canvas_put(canvas, x, y + 1, width, STYLE_DIM, bytes_from_string(text));
    canvas_put(canvas, x, y + 2, width, STYLE_DIM,
               bytes_from_string(node->is_open ? "Enter closes, o looks at it alone"
                                               : "Enter opens, o looks at it alone"));
}

static void draw_value(struct keys_view *keys, const struct model *model, struct canvas *canvas)
{
    if (keys->detail.state == KEY_DETAIL_NONE) {
        draw_directory(keys, canvas);
        return;
    }
    draw_value_header(keys, model, canvas);
    for (size_t i = 0; i < keys->lines.height && keys->lines.top + i < keys->lines.count; i++)
        canvas_put(canvas, keys->value_x, KEYS_HEADER + PANE_HEADER + (int)i, keys->value_width, STYLE_NORMAL,
                   line_of(&keys->lines, keys->lines.top + i));
}

static void keys_draw(const struct view *view, const struct model *model, struct canvas *canvas)
{
    struct keys_view *keys = keys_of(view);
    draw_keys_header(keys, model, canvas);
    if (keys->tree_width > 0) draw_tree(keys, canvas);
    if (keys->tree_width > 0 && keys->value_width > 0)
        for (int y = KEYS_HEADER; y < canvas->height - 1; y++)
            canvas_text(canvas, keys->tree_width, y, STYLE_BORDER, canvas->glyphs->vertical);
    if (keys->value_width > 0) draw_value(keys, model, canvas);
}

/* ---- Keys: moving ---- */

static void move_by(struct view *view, long rows)
{
    struct keys_view *keys = keys_of(view);
    if (keys->focus_value) {
        scroll_value(keys, rows);
        return;
    }
    selection_move(&keys->rows, rows);
    keys->has_moved = true;
}

static long page_size(const struct view *view)
{
    const struct keys_view *keys = keys_of(view);
    return (long)(keys->focus_value ? keys->lines.height : keys->rows.height);
}

static void run_pane(struct view *view, struct app *app)
{
    (void)app;
    keys_of(view)->focus_value = !keys_of(view)->focus_value;
}

static void run_enter(struct view *view, struct app *app)
{
    (void)app;
    struct keys_view *keys = keys_of(view);
    struct key_node *node = selected_node(keys);
    if (keys->focus_value || node == NULL) return;
    if (node->is_directory)
        keyspace_open(keys->keyspace, node, !node->is_open);
    else
        keys->focus_value = true;
}

static void run_right(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    struct key_node *node = selected_node(keys);
    if (node != NULL && node->is_directory && node->is_open)
        selection_move(&keys->rows, 1);
    else
        run_enter(view, app);
}

/* Out of the value pane, closes an open directory, else up to the parent. */
static void run_left(struct view *view, struct app *app)
{
    (void)app;
    struct keys_view *keys = keys_of(view);
    struct key_node *node = selected_node(keys);
    const struct key_row *row = selected_row(keys);
    if (keys->focus_value) {
        keys->focus_value = false;
    } else if (node != NULL && node->is_directory && node->is_open) {
        keyspace_open(keys->keyspace, node, false);
    } else if (row != NULL) {
        const struct key_node *parent = row->kind == KEY_ROW_NODE ? row->node->parent : row->node;
        size_t at = parent == NULL || parent->parent == NULL
                        ? SIZE_MAX
                        : keyspace_find(keys->keyspace, key_node_path(parent), true);
        if (at != SIZE_MAX) keys->rows.selected = at;
    }
}

/* ---- Keys: looking ---- */

static void run_history(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    if (keys->detail.state == KEY_DETAIL_NONE) {
        app_message(app, MODEL_NOTE, "select a key to see its history");
        return;
    }
    keys->with_history = !keys->with_history;
    key_detail_want_history(&keys->detail, keys->with_history);
}

static void run_reload(struct view *view, struct app *app)
{
    (void)app;
    struct keys_view *keys = keys_of(view);
    struct kept_row kept = keep_row(keys);
    keyspace_reload(keys->keyspace);
    restore_row(keys, &kept);
    key_detail_refresh(&keys->detail);
}

static void set_root(struct keys_view *keys, struct bytes prefix)
{
    keyspace_set_root(keys->keyspace, prefix);
    keys->rows.selected = keys->rows.top = 0;
    keys->focus_value = false;
}

static void take_prefix(struct view *view, struct app *app, struct bytes text)
{
    (void)app;
    set_root(keys_of(view), text);
}

static void run_open_prefix(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    const struct key_node *node = selected_node(keys);
    struct bytes initial = key_node_path(keyspace_root(keys->keyspace));
    if (node != NULL && node->is_directory) initial = key_node_path(node);
    app_prompt(app, "prefix: ", initial, take_prefix);
}

static void run_copy(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    const struct key_node *node = selected_node(keys);
    if (keys->detail.state == KEY_DETAIL_THERE) {
        app_copy(app, buf_bytes(&keys->detail.now.value));
        app_message(app, MODEL_NOTE, "copied the value, %zu bytes", keys->detail.now.value.size);
    } else if (node != NULL) {
        app_copy(app, key_node_path(node));
        app_message(app, MODEL_NOTE, "copied the prefix");
    }
}

static void run_copy_key(struct view *view, struct app *app)
{
    const struct key_node *node = selected_node(keys_of(view));
    if (node == NULL) return;
    app_copy(app, key_node_path(node));
    app_message(app, MODEL_NOTE, "copied the key");
}

/* ---- Keys: changing ---- */

/* A key as it can be shown in a question. */
static const char *shown_key(const struct keys_view *keys, struct buf *out)
{
    struct bytes key = buf_bytes(&keys->change_key);
    bool is_cut = key.size > PATH_SHOWN;
    if (is_cut) key.size = PATH_SHOWN;
    buf_append_bytes(out, key);
    if (is_cut) buf_append_string(out, "...");
    return buf_string(out);
}

static void change_confirmed(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    struct app_change change = {.key = buf_bytes(&keys->change_key),
                                .value = buf_bytes(&keys->change_value),
                                .expected_revision = keys->change_revision};
    change.kind = keys->change_kind;
    app_change(app, &change);
}

static void prepare_change(struct keys_view *keys, int kind, struct bytes key)
{
    keys->change_kind = kind;
    keys->change_revision = keys->detail.now.mod_revision;
    buf_clear(&keys->change_key);
    buf_append_bytes(&keys->change_key, key);
    buf_clear(&keys->change_value);
}

static void take_edit(struct view *view, struct app *app, struct bytes text)
{
    struct keys_view *keys = keys_of(view);
    buf_clear(&keys->change_value);
    if (!value_parse_line(text, &keys->change_value)) {
        app_message(app, MODEL_WARNING,
                    "a value that begins with \" must be a whole quoted text; nothing was changed");
        return;
    }
    if (bytes_equal(buf_bytes(&keys->change_value), buf_bytes(&keys->detail.now.value))) {
        app_message(app, MODEL_NOTE, "the value is as before: nothing to do");
        return;
    }
    struct buf key = {0};
    app_ask(app, change_confirmed, "put %s (%zu bytes, now %zu)?", shown_key(keys, &key),
            keys->change_value.size, keys->detail.now.value.size);
    buf_deinit(&key);
}

static void run_edit(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    if (keys->detail.state != KEY_DETAIL_THERE) {
        app_message(app, MODEL_NOTE, "select a key to edit its value");
        return;
    }
    struct buf line = {0};
    value_format_line(buf_bytes(&keys->detail.now.value), &line);
    if (line.size > PROMPT_SIZE_MAX / 2) {
        app_message(app, MODEL_WARNING, "the value is too large to be edited in a line");
    } else {
        prepare_change(keys, APP_PUT, buf_bytes(&keys->detail.key));
        app_prompt(app, "value: ", buf_bytes(&line), take_edit);
    }
    buf_deinit(&line);
}

static void run_delete(struct view *view, struct app *app)
{
    struct keys_view *keys = keys_of(view);
    const struct key_node *node = selected_node(keys);
    struct buf key = {0};
    if (node == NULL) {
        app_message(app, MODEL_NOTE, "select a key to delete it");
    } else if (!node->is_directory && keys->detail.state == KEY_DETAIL_THERE) {
        prepare_change(keys, APP_DELETE, key_node_path(node));
        app_ask(app, change_confirmed, "delete %s?", shown_key(keys, &key));
    } else if (node->is_directory && node->count >= 0) {
        prepare_change(keys, APP_DELETE_PREFIX, key_node_path(node));
        app_ask(app, change_confirmed, "delete ALL %s keys with prefix %s?", units_grouped(node->count).text,
                shown_key(keys, &key));
    } else {
        app_message(app, MODEL_NOTE, "it is not known yet: try again in a moment");
    }
    buf_deinit(&key);
}

static const struct binding bindings[] = {
    {{'h'},
     "h",
     "history",
     "show the key's earlier values instead of its value",
     BINDING_BOTTOM,
     run_history},
    {{'e'},
     "e",
     "edit",
     "edit the value in the bottom line; asks before it is put",
     BINDING_BOTTOM | BINDING_CHANGES,
     run_edit},
    {{'d', INPUT_DELETE},
     "d Del",
     "delete",
     "delete the key, or all keys of a prefix; asks first",
     BINDING_BOTTOM | BINDING_CHANGES,
     run_delete},
    {{'y'}, "y", "copy", "copy the value to the terminal's clipboard", BINDING_BOTTOM, run_copy},
    {{INPUT_TAB}, "Tab", "pane", "go between the tree and the value", BINDING_BOTTOM, run_pane},
    {{'o'},
     "o",
     "prefix",
     "look at the keys of one prefix alone (empty: all)",
     BINDING_BOTTOM,
     run_open_prefix},
    {{'r', INPUT_F(5)}, "r F5", "reload", "list and count again", 0, run_reload},
    {{'Y'}, "Y", "copy key", "copy the key itself", 0, run_copy_key},
    {{INPUT_ENTER}, "Enter", "open", "open or close a prefix; go to the value of a key", 0, run_enter},
    {{INPUT_RIGHT, 'l'}, "Right l", "open", "open a prefix, or go into it", 0, run_right},
    {{INPUT_LEFT}, "Left", "close", "close a prefix, go to the one around it, leave the value", 0, run_left},
    {{INPUT_UP, 'k'}, "Up k", "up", "a row up", 0, view_up},
    {{INPUT_DOWN, 'j'}, "Down j", "down", "a row down", 0, view_down},
    {{INPUT_PAGE_UP, INPUT_CONTROL('B')}, "PgUp ^B", "page up", "a page up", 0, view_page_up},
    {{INPUT_PAGE_DOWN, INPUT_CONTROL('F')}, "PgDn ^F", "page down", "a page down", 0, view_page_down},
    {{INPUT_HOME, 'g'}, "Home g", "first", "the first row", 0, view_first},
    {{INPUT_END, 'G'}, "End G", "last", "the last row that is loaded; more are then loaded", 0, view_last},
};

static void keys_click(struct view *view, struct app *app, int x, int y)
{
    struct keys_view *keys = keys_of(view);
    if (y < KEYS_HEADER) return;
    if (keys->tree_width == 0 || (x > keys->tree_width && keys->value_width > 0)) {
        keys->focus_value = true;
        return;
    }
    size_t at = keys->rows.top + (size_t)(y - KEYS_HEADER);
    keys->focus_value = false;
    if (at >= keyspace_row_count(keys->keyspace)) return;
    bool again = at == keys->rows.selected;
    keys->has_moved = true;
    keys->rows.selected = at;
    const struct key_node *node = selected_node(keys);
    if (again && node != NULL && node->is_directory) run_enter(view, app);
}

static void keys_filter(struct view *view, const char *text)
{
    struct keys_view *keys = keys_of(view);
    struct kept_row kept = keep_row(keys);
    keyspace_set_filter(keys->keyspace, text);
    restore_row(keys, &kept);
}

static const char *keys_filter_text(const struct view *view)
{
    return keyspace_filter(keys_of(view)->keyspace);
}

/* ---- Requests ---- */

static bool keys_next_request(struct view *view, struct key_request *request)
{
    struct keys_view *keys = keys_of(view);
    if (key_detail_next(&keys->detail, request)) {
        request->id = detail_id(request->id);
        return true;
    }
    if (!keyspace_next(keys->keyspace, request)) return false;
    request->id = request->id * 2;
    return true;
}

static void keys_answer(struct view *view, const struct key_answer *answer)
{
    struct keys_view *keys = keys_of(view);
    struct key_answer own = *answer;
    own.id = answer->id / 2;
    if (answer->id % 2 == 1) {
        key_detail_answer(&keys->detail, &own);
        return;
    }
    struct kept_row kept = keep_row(keys);
    keyspace_answer(keys->keyspace, &own);
    restore_row(keys, &kept);
}

static void keys_enter(struct view *view, struct app *app)
{
    run_reload(view, app);
}

static void keys_tick(struct view *view, struct app *app)
{
    key_detail_refresh(&keys_of(view)->detail);
    struct keys_view *keys = keys_of(view);
    struct kept_row kept = keep_row(keys);
    if (app_model(app)->members_up > 0) keyspace_retry(keys->keyspace);
    restore_row(keys, &kept);
}

static void keys_free(struct view *view)
{
    struct keys_view *keys = keys_of(view);
    keyspace_free(keys->keyspace);
    key_detail_deinit(&keys->detail);
    buf_deinit(&keys->lines.text);
    buf_deinit(&keys->lines.made_of.key);
    free(keys->lines.starts);
    buf_deinit(&keys->change_key);
    buf_deinit(&keys->change_value);
    free(keys);
}

struct view *view_keys_new(void)
{
    struct keys_view *keys = mem_zalloc(1, sizeof(*keys));
    keys->keyspace = keyspace_new();
    keys->view = (struct view){
        .name = "keys",
        .bindings = bindings,
        .binding_count = sizeof(bindings) / sizeof(bindings[0]),
        .enter = keys_enter,
        .tick = keys_tick,
        .layout = keys_layout,
        .draw = keys_draw,
        .click = keys_click,
        .move = move_by,
        .page = page_size,
        .wheel_rows = 3,
        .filter = keys_filter,
        .filter_text = keys_filter_text,
        .next_request = keys_next_request,
        .answer = keys_answer,
        .free = keys_free,
    };
    return &keys->view;
}
