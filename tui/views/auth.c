/* Users, roles and what they may do. Asked for when the view is entered, and again every few refreshes. */
#include "api/keys.h"
#include "api/message.h"
#include "base/memory.h"
#include "base/text.h"
#include "tui/sheet.h"
#include "tui/units.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAMES_MAX = 256, TICKS_BETWEEN = 10 };

enum list { LIST_USERS, LIST_ROLES, LISTS };

/* A user with its roles, or a role with its permissions, a line each. */
struct entry {
    char *name;
    bool asked;
    struct buf text;
};

struct auth {
    struct sheet sheet;
    bool status_asked, lists_asked[LISTS];
    bool known, enabled;
    uint64_t revision;
    struct entry entries[LISTS][NAMES_MAX];
    size_t counts[LISTS], totals[LISTS];
    char why[MODEL_TEXT];
    uint64_t next_id;
    size_t ticks;
};

static struct auth *auth_of(const struct view *view)
{
    return (struct auth *)(uintptr_t)view;
}

static void forget_list(struct auth *auth, enum list list)
{
    for (size_t i = 0; i < auth->counts[list]; i++) {
        free(auth->entries[list][i].name);
        buf_deinit(&auth->entries[list][i].text);
    }
    auth->counts[list] = 0;
}

/* ---- asking ---- */

static void ask_anew(struct auth *auth)
{
    auth->ticks = 0;
    auth->status_asked = auth->lists_asked[LIST_USERS] = auth->lists_asked[LIST_ROLES] = false;
}

static void enter(struct view *view, struct app *app)
{
    (void)app;
    ask_anew(auth_of(view));
}

static void tick(struct view *view, struct app *app)
{
    (void)app;
    if (++auth_of(view)->ticks >= TICKS_BETWEEN) ask_anew(auth_of(view));
}

static void make_request(struct auth *auth, struct key_request *request, enum key_request_kind kind,
                         struct bytes name)
{
    *request = (struct key_request){.id = ++auth->next_id, .kind = kind, .key = name};
}

static bool next_request(struct view *view, struct key_request *request)
{
    static const enum key_request_kind lists[LISTS] = {KEY_REQUEST_USERS, KEY_REQUEST_ROLES};
    static const enum key_request_kind items[LISTS] = {KEY_REQUEST_USER, KEY_REQUEST_ROLE};
    struct auth *auth = auth_of(view);
    if (!auth->status_asked) {
        auth->status_asked = true;
        make_request(auth, request, KEY_REQUEST_AUTH, BYTES_EMPTY);
        return true;
    }
    for (size_t list = 0; list < LISTS; list++) {
        if (!auth->lists_asked[list]) {
            auth->lists_asked[list] = true;
            make_request(auth, request, lists[list], BYTES_EMPTY);
            return true;
        }
        for (size_t i = 0; i < auth->counts[list]; i++) {
            struct entry *entry = &auth->entries[list][i];
            if (entry->asked) continue;
            entry->asked = true;
            make_request(auth, request, items[list], bytes_from_string(entry->name));
            return true;
        }
    }
    return false;
}

/* ---- answers ---- */

static void take_names(struct auth *auth, enum list list, char *const *names, size_t count)
{
    forget_list(auth, list);
    auth->totals[list] = count;
    for (size_t i = 0; i < count && i < NAMES_MAX; i++)
        auth->entries[list][auth->counts[list]++] = (struct entry){.name = mem_strdup(names[i])};
}

static struct buf *text_of(struct auth *auth, enum list list, struct bytes name)
{
    for (size_t i = 0; i < auth->counts[list]; i++) {
        if (!bytes_equal(name, bytes_from_string(auth->entries[list][i].name))) continue;
        buf_clear(&auth->entries[list][i].text);
        return &auth->entries[list][i].text;
    }
    return NULL;
}

static void say_permission(struct buf *out, const Authpb__Permission *permission)
{
    static const char *const kinds[] = {"read", "write", "read and write"};
    struct bytes key = message_bytes(permission->key), end = message_bytes(permission->range_end);
    unsigned kind = (unsigned)permission->permtype;
    buf_printf(out, "%s ", kind < 3 ? kinds[kind] : "?");
    text_go_quote(out, key);
    if (key_is_open_end(end)) {
        buf_append_string(out, " and all behind it");
    } else if (key_is_prefix_range(key, end)) {
        buf_append_string(out, " and all that begins so");
    } else if (end.size > 0) {
        buf_append_string(out, " up to ");
        text_go_quote(out, end);
    }
    buf_append_byte(out, '\n');
}

static void take_user(struct buf *out, const Etcdserverpb__AuthUserGetResponse *user)
{
    for (size_t i = 0; i < user->n_roles; i++) buf_printf(out, "role %s\n", user->roles[i]);
    if (user->n_roles == 0) buf_append_string(out, "no role\n");
}

static void take_role(struct buf *out, const Etcdserverpb__AuthRoleGetResponse *role)
{
    for (size_t i = 0; i < role->n_perm; i++) say_permission(out, role->perm[i]);
    if (role->n_perm == 0) buf_append_string(out, "nothing\n");
}

static void answer(struct view *view, const struct key_answer *answer)
{
    struct auth *auth = auth_of(view);
    const void *message = answer->message;
    struct buf *text = NULL;
    if (answer->kind == KEY_REQUEST_AUTH)
        snprintf(auth->why, sizeof(auth->why), "%s", answer->error == NULL ? "" : answer->error);
    if (answer->kind == KEY_REQUEST_USER) text = text_of(auth, LIST_USERS, answer->name);
    if (answer->kind == KEY_REQUEST_ROLE) text = text_of(auth, LIST_ROLES, answer->name);
    if (answer->error != NULL) {
        if (text != NULL) buf_printf(text, "? %s\n", answer->error);
        if (auth->why[0] == 0) snprintf(auth->why, sizeof(auth->why), "%s", answer->error);
        return;
    }
    if (answer->kind == KEY_REQUEST_AUTH) {
        const Etcdserverpb__AuthStatusResponse *status = message;
        auth->known = true;
        auth->enabled = status->enabled;
        auth->revision = status->authrevision;
    } else if (answer->kind == KEY_REQUEST_USERS) {
        const Etcdserverpb__AuthUserListResponse *users = message;
        take_names(auth, LIST_USERS, users->users, users->n_users);
    } else if (answer->kind == KEY_REQUEST_ROLES) {
        const Etcdserverpb__AuthRoleListResponse *roles = message;
        take_names(auth, LIST_ROLES, roles->roles, roles->n_roles);
    } else if (text != NULL && answer->kind == KEY_REQUEST_USER) {
        take_user(text, message);
    } else if (text != NULL) {
        take_role(text, message);
    }
}

/* ---- the page ---- */

static void write_entry(struct page *page, const struct entry *entry)
{
    int y = page_row(page, NULL);
    if (y >= 0) canvas_text(page->canvas, 2, y, STYLE_ACCENT, entry->name);
    page_lines(page, 4, buf_bytes(&entry->text));
}

static void write_page(struct sheet *sheet, struct page *page, const struct model *model)
{
    static const char *const titles[LISTS] = {"users", "roles"};
    struct auth *auth = auth_of(&sheet->view);
    (void)model;
    if (auth->why[0] != 0) page_note(page, STYLE_WARNING, "not told: %s", auth->why);
    for (size_t list = 0; list < LISTS; list++) {
        page_heading(page, titles[list]);
        for (size_t i = 0; i < auth->counts[list]; i++)
            if (sheet_passes(sheet, auth->entries[list][i].name)) write_entry(page, &auth->entries[list][i]);
        if (auth->counts[list] == 0) page_note(page, STYLE_DIM, "none");
        if (auth->totals[list] > NAMES_MAX)
            page_note(page, STYLE_DIM, "and %zu more", auth->totals[list] - NAMES_MAX);
    }
}

static void headline(struct sheet *sheet, const struct model *model, struct buf *out)
{
    const struct auth *auth = auth_of(&sheet->view);
    (void)model;
    if (auth->known)
        buf_printf(out, "authentication is %s   revision %s", auth->enabled ? "enabled" : "disabled",
                   units_grouped((int64_t)auth->revision).text);
    else
        buf_append_string(out, "?");
}

/* ---- keys ---- */

/* The commands that take something away ask themselves. */
static void run_delete(struct view *view, struct app *app)
{
    static const char *const commands[LISTS] = {"user delete", "role delete"};
    const struct auth *auth = auth_of(view);
    size_t row = 0;
    for (size_t list = 0; list < LISTS; list++)
        for (size_t i = 0; i < auth->counts[list]; i++) {
            if (!sheet_passes(&auth->sheet, auth->entries[list][i].name)) continue;
            if (row++ != auth->sheet.selected) continue;
            struct buf line = {0};
            buf_printf(&line, "%s -- ", commands[list]);
            text_go_quote(&line, bytes_from_string(auth->entries[list][i].name));
            app_command(app, buf_string(&line));
            buf_deinit(&line);
            return;
        }
}

static void enable(struct view *view, struct app *app)
{
    (void)view;
    app_command(app, "auth enable");
}

static void run_toggle(struct view *view, struct app *app)
{
    if (auth_of(view)->enabled)
        app_command(app, "auth disable");
    else
        app_ask(app, enable, "enable authentication? Who has no user and password is locked out then.");
}

static const struct binding bindings[] = {
    {{'x', INPUT_DELETE},
     "x Del",
     "delete",
     "delete the selected user or role",
     BINDING_BOTTOM | BINDING_CHANGES,
     run_delete},
    {{'E'}, "E", "enable", "enable or disable authentication", BINDING_BOTTOM | BINDING_CHANGES, run_toggle},
    SHEET_SIBLINGS,
    SHEET_BINDINGS,
};

static void free_auth(struct view *view)
{
    for (size_t list = 0; list < LISTS; list++) forget_list(auth_of(view), (enum list)list);
    sheet_free(view);
}

struct view *view_auth_new(void)
{
    struct auth *auth = mem_zalloc(1, sizeof(*auth));
    sheet_init(&auth->sheet, "auth", bindings, sizeof(bindings) / sizeof(bindings[0]));
    sheet_init_filter(&auth->sheet);
    auth->sheet.write = write_page;
    auth->sheet.headline = headline;
    auth->sheet.view.enter = enter;
    auth->sheet.view.tick = tick;
    auth->sheet.view.next_request = next_request;
    auth->sheet.view.answer = answer;
    auth->sheet.view.free = free_auth;
    return &auth->sheet.view;
}
