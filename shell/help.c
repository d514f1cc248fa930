#include "shell/help.h"

#include <assert.h>
#include <config.h>
#include <ctype.h>
#include <stdlib.h>

enum { TAB = 8, TWO_COLUMNS_MAX = 200 };

/* Two columns, the second aligned by tabs to the next stop behind the longest first cell. */
struct two_columns {
    const char *left[TWO_COLUMNS_MAX];
    const char *right[TWO_COLUMNS_MAX];
    size_t count;
};

static void columns_add(struct two_columns *columns, const char *left, const char *right)
{
    assert(columns->count < TWO_COLUMNS_MAX);
    columns->left[columns->count] = left;
    columns->right[columns->count++] = right;
}

static void columns_write(struct buf *out, const struct two_columns *columns, const char *indent)
{
    size_t width = 0;
    for (size_t i = 0; i < columns->count; i++)
        if (strlen(columns->left[i]) + 1 > width) width = strlen(columns->left[i]) + 1;
    width = (width + TAB - 1) / TAB * TAB;
    for (size_t i = 0; i < columns->count; i++) {
        buf_printf(out, "%s%s", indent, columns->left[i]);
        for (size_t at = strlen(columns->left[i]); at < width; at = (at / TAB + 1) * TAB)
            buf_append_byte(out, '\t');
        buf_printf(out, "%s\n", columns->right[i]);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct flag_value *left = a, *right = b;
    return strcmp(left->flag->name, right->flag->name);
}

static const char *flag_text(const struct flag_value *value, struct arena *arena)
{
    const struct flag *flag = value->flag;
    const char *start = flag->shorthand != 0 ? arena_printf(arena, "  -%c, --%s", flag->shorthand, flag->name)
                                             : arena_printf(arena, "      --%s", flag->name);
    switch (flag->type) {
    case FLAG_BOOL:
        return arena_printf(arena, "%s[=%s]", start, flag->initial);
    case FLAG_STRING:
        return arena_printf(arena, "%s=\"%s\"", start, flag->initial);
    case FLAG_STRINGS:
        return arena_printf(arena, "%s=[%s]", start, flag->initial);
    case FLAG_INT:
    case FLAG_INT32:
    case FLAG_UINT:
    case FLAG_DURATION:
        break;
    }
    return arena_printf(arena, "%s=%s", start, flag->initial);
}

/* The options that the command has itself (inherited: those of its parents). */
static void write_options(struct buf *out, const struct flag_set *flags, bool inherited, struct arena *arena)
{
    struct flag_value *sorted = arena_alloc(arena, flags->count * sizeof(*sorted));
    memcpy(sorted, flags->values, flags->count * sizeof(*sorted));
    qsort(sorted, flags->count, sizeof(*sorted), by_name);
    struct two_columns columns = {.count = 0};
    for (size_t i = 0; i < flags->count; i++)
        if (sorted[i].inherited == inherited)
            columns_add(&columns, flag_text(&sorted[i], arena), sorted[i].flag->help);
    columns_write(out, &columns, "");
}

struct listing {
    struct arena *arena;
    struct two_columns columns;
};

static void list_command(void *context, const struct command_path *path)
{
    struct listing *listing = context;
    columns_add(&listing->columns, command_path_text(path, listing->arena), command_of(path)->summary);
}

static int by_left_cell(const void *a, const void *b)
{
    return strcmp(((const char *const *)a)[0], ((const char *const *)b)[0]);
}

/* The commands below, sorted; below the root with their group's name. */
static void write_commands(struct buf *out, const struct command *command, struct arena *arena)
{
    struct listing listing = {.arena = arena};
    command_visit(command, list_command, &listing);
    struct two_columns *columns = &listing.columns;
    const char *(*rows)[2] = arena_alloc(arena, columns->count * sizeof(*rows));
    for (size_t i = 0; i < columns->count; i++) {
        rows[i][0] = columns->left[i];
        rows[i][1] = columns->right[i];
    }
    qsort(rows, columns->count, sizeof(*rows), by_left_cell);
    for (size_t i = 0; i < columns->count; i++) {
        columns->left[i] = rows[i][0];
        columns->right[i] = rows[i][1];
    }
    columns_write(out, columns, "\t");
}

static void write_description(struct buf *out, const char *description)
{
    buf_append_string(out, "DESCRIPTION:\n");
    for (const char *line = description; *line != 0;) {
        size_t length = strcspn(line, "\n");
        buf_printf(out, "\t%.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    buf_append_byte(out, '\n');
}

static const char *usage_line(const struct command_path *path, struct arena *arena)
{
    const struct command *command = command_of(path);
    const char *names = command_path_text(path, arena);
    return arena_printf(arena, "%s%s%s%s%s [flags]", path->steps[0]->name, names[0] != 0 ? " " : "", names,
                        command->usage[0] != 0 ? " " : "", command->usage);
}

void help_page(struct buf *out, const struct command_path *path, struct arena *arena)
{
    const struct command *command = command_of(path);
    struct flag_set flags;
    command_flags(path, arena, true, &flags);
    bool root = path->depth == 1;
    buf_printf(out, "NAME:\n\t%s - %s\n\n", root ? command->name : command_path_text(path, arena),
               command->summary);
    buf_printf(out, "USAGE:\n\t%s\n\n", usage_line(path, arena));
    if (root) buf_printf(out, "VERSION:\n\t%s\n\n", ETCD_VERSION);
    if (command->children != NULL) {
        buf_printf(out, "API VERSION:\n\t%s\n\n\nCOMMANDS:\n", ETCD_API_LEVEL);
        write_commands(out, command, arena);
        buf_append_byte(out, '\n');
    }
    if (command->description != NULL) write_description(out, command->description);
    buf_append_string(out, "OPTIONS:\n");
    write_options(out, &flags, false, arena);
    /* The root's own options are the global ones. */
    if (!root) buf_append_string(out, "\nGLOBAL OPTIONS:\n");
    write_options(out, &flags, true, arena);
    buf_append_byte(out, '\n');
}

void help_global_options(struct buf *out, struct arena *arena)
{
    struct command_path path = {.steps = {&command_root}, .depth = 1};
    struct flag_set flags;
    command_flags(&path, arena, true, &flags);
    buf_append_string(out, "The following options can be passed to any command:\n\n");
    write_options(out, &flags, true, arena);
}

static const char *type_word(enum flag_type type)
{
    static const char *const words[] = {
        [FLAG_BOOL] = "",      [FLAG_STRING] = " string", [FLAG_STRINGS] = " strings",   [FLAG_INT] = " int",
        [FLAG_INT32] = " int", [FLAG_UINT] = " uint",     [FLAG_DURATION] = " duration",
    };
    return words[type];
}

/* Indented lines, "--name type   help (default ...)", of those that are inherited or not. */
static void write_flag_lines(struct buf *out, struct flag_set *flags, bool inherited, bool defaults,
                             struct arena *arena)
{
    size_t width = 0;
    const char **cells = arena_alloc(arena, flags->count * sizeof(*cells));
    qsort(flags->values, flags->count, sizeof(*flags->values), by_name);
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *flag = flags->values[i].flag;
        const char *start = flag->shorthand != 0 ? arena_printf(arena, "-%c, ", flag->shorthand) : "    ";
        cells[i] = arena_printf(arena, "  %s--%s%s", start, flag->name, type_word(flag->type));
        if (flags->values[i].inherited == inherited && strlen(cells[i]) > width) width = strlen(cells[i]);
    }
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *flag = flags->values[i].flag;
        if (flags->values[i].inherited != inherited) continue;
        buf_printf(out, "%-*s   %s", (int)width, cells[i], flag->help);
        bool is_text = flag->type == FLAG_STRING, is_shown = flag->initial != NULL && flag->initial[0] != 0;
        if (defaults && is_shown && flag->type != FLAG_BOOL && strcmp(flag->initial, "0") != 0)
            buf_printf(out, is_text ? " (default \"%s\")" : " (default %s)", flag->initial);
        buf_append_byte(out, '\n');
    }
}

void help_operation_usage(struct buf *out, const struct command_path *path, struct arena *arena)
{
    const struct command *command = command_of(path);
    struct flag_set flags;
    command_flags(path, arena, false, &flags);
    buf_printf(out, "Usage:\n   %s %s [flags]\n\nFlags:\n", command->name, command->usage);
    write_flag_lines(out, &flags, false, false, arena);
    buf_append_byte(out, '\n');
}

static void write_children(struct buf *out, const struct command *command)
{
    enum { NAME_WIDTH = 11 };
    buf_append_string(out, "Available Commands:\n");
    for (size_t i = 0; command->children[i] != NULL; i++)
        buf_printf(out, "  %-*s %s\n", NAME_WIDTH, command->children[i]->name, command->children[i]->summary);
    buf_append_byte(out, '\n');
}

void help_usage(struct buf *out, const struct command_path *path, struct arena *arena)
{
    const struct command *command = command_of(path);
    const char *root = path->steps[0]->name, *names = command_path_text(path, arena);
    const char *program = arena_printf(arena, "%s%s%s", root, names[0] != 0 ? " " : "", names);
    struct flag_set flags;
    command_flags(path, arena, true, &flags);
    if (command->children != NULL)
        buf_printf(out, "Usage:\n  %s [command]\n\n", program);
    else
        buf_printf(out, "Usage:\n  %s%s%s [flags]\n\n", program, command->usage[0] != 0 ? " " : "",
                   command->usage);
    if (command->children != NULL) write_children(out, command);
    buf_append_string(out, "Flags:\n");
    write_flag_lines(out, &flags, false, true, arena);
    if (path->depth > 1) buf_append_string(out, "\nGlobal Flags:\n");
    write_flag_lines(out, &flags, true, true, arena);
    if (command->children != NULL)
        buf_printf(out, "\nUse \"%s [command] --help\" for more information about a command.\n", program);
}

/* ---- man page */

/* Escapes what roff would take for markup. */
static void man_text(struct buf *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '-')
            buf_append_string(out, "\\-");
        else if (*text == '\\')
            buf_append_string(out, "\\\\");
        else if (*text == '\'')
            buf_append_string(out, "\\(aq");
        else if (*text == '`')
            buf_append_string(out, "\\(ga");
        else
            buf_append_byte(out, (uint8_t)*text);
    }
}

static void man_flags(struct buf *out, const struct flag_set *flags, bool inherited, struct arena *arena)
{
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag_value *value = &flags->values[i];
        if (value->inherited != inherited || strcmp(value->flag->name, "help") == 0) continue;
        const char *text = flag_text(value, arena);
        buf_append_string(out, ".TP\n.B ");
        man_text(out, text + strspn(text, " "));
        buf_append_byte(out, '\n');
        man_text(out, value->flag->help);
        buf_append_byte(out, '\n');
    }
}

struct man {
    struct buf *out;
    struct arena *arena;
};

static void man_command(void *context, const struct command_path *path)
{
    struct man *man = context;
    const struct command *command = command_of(path);
    buf_append_string(man->out, ".SS ");
    man_text(man->out, command_path_text(path, man->arena));
    buf_append_byte(man->out, ' ');
    man_text(man->out, command->usage);
    buf_append_byte(man->out, '\n');
    man_text(man->out, command->summary);
    buf_append_string(man->out, ".\n");
    if (command->description != NULL) {
        buf_append_string(man->out, ".PP\n");
        man_text(man->out, command->description);
        buf_append_byte(man->out, '\n');
    }
    struct flag_set flags;
    command_flags(path, man->arena, false, &flags);
    man_flags(man->out, &flags, false, man->arena);
    man_flags(man->out, &flags, true, man->arena);
}

static void upper_case(struct buf *out, const char *text)
{
    for (; *text != 0; text++) buf_append_byte(out, (uint8_t)toupper((unsigned char)*text));
}

void help_man_page(struct buf *out, const struct help_manual *manual, struct arena *arena)
{
    const char *name = manual->root->name;
    struct command_path path = {.steps = {manual->root}, .depth = 1};
    struct flag_set flags;
    command_flags(&path, arena, true, &flags);
    buf_printf(out, ".\\\" Made from %s's command table; do not edit.\n.TH ", name);
    upper_case(out, name);
    buf_printf(out, " 1 \"\" \"etcd %s\" \"User Commands\"\n", ETCD_API_LEVEL);
    buf_printf(out, ".SH NAME\n%s \\- %s\n", name, manual->title);
    buf_printf(out, ".SH SYNOPSIS\n.B %s\n%s\n", name, manual->synopsis);
    buf_printf(out, ".SH DESCRIPTION\n.B %s\n%s", name, manual->description);
    buf_append_string(out, ".SH OPTIONS\n");
    man_flags(out, &flags, true, arena);
    buf_append_string(out, ".SH COMMANDS\n");
    struct man man = {out, arena};
    command_visit(manual->root, man_command, &man);
    for (const struct help_section *section = manual->sections; section->title != NULL; section++)
        buf_printf(out, ".SH %s\n%s", section->title, section->text);
}
