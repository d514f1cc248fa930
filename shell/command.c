#include "shell/command.h"

#include <assert.h>
#include <ctype.h>
#include <strings.h>

const struct command *command_child(const struct command *parent, struct bytes name)
{
    const struct command *found = NULL;
    size_t matches = 0;
    for (size_t i = 0; parent->children != NULL && parent->children[i] != NULL; i++) {
        const struct command *child = parent->children[i];
        struct bytes full = bytes_from_string(child->name);
        if (bytes_equal(full, name)) return child;
        if (!bytes_starts_with(full, name)) continue;
        found = child;
        matches++;
    }
    return matches == 1 && name.size > 0 ? found : NULL;
}

/* Whether the word is a flag that takes the next word as its value. Unknown flags are thought to. */
static bool takes_next_word(const struct flag_set *known, const char *word)
{
    if (word[0] != '-' || strchr(word, '=') != NULL) return false;
    const struct flag_value *value = NULL;
    if (word[1] == '-') {
        value = flag_find(known, word + 2);
    } else if (strlen(word) == 2) {
        value = flag_find_shorthand(known, word[1]);
    } else {
        return false;
    }
    return value == NULL || value->flag->type != FLAG_BOOL || strcmp(value->flag->name, "help") == 0;
}

/* The index of the first word that is neither a flag nor a flag's value; words->count when there is none. */
static size_t first_name(const struct flag_set *known, const struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        const char *word = word_string(words, i);
        if (strcmp(word, "--") == 0) break;
        if (takes_next_word(known, word))
            i++;
        else if (word[0] != '-' && word[0] != 0)
            return i;
    }
    return words->count;
}

bool command_find(const struct command *root, const struct words *words, struct arena *arena,
                  struct command_path *path, struct words *rest, struct bytes *unknown)
{
    *path = (struct command_path){.steps = {root}, .depth = 1};
    *rest = *words;
    for (;;) {
        struct flag_set known;
        command_flags(path, arena, true, &known);
        size_t at = first_name(&known, rest);
        if (at == rest->count) return true;
        const struct command *child = command_child(command_of(path), rest->items[at]);
        if (child == NULL) {
            *unknown = rest->items[at];
            return path->depth > 1;
        }
        assert(path->depth < COMMAND_DEPTH_MAX);
        path->steps[path->depth++] = child;
        struct words shorter = {0};
        for (size_t i = 0; i < rest->count; i++)
            if (i != at) words_add(&shorter, arena, rest->items[i]);
        *rest = shorter;
        if (child->children == NULL) return true;
    }
}

/* Levenshtein's distance, letters' case aside; words longer than the table's names count as far away. */
static size_t edit_distance(const char *a, struct bytes b)
{
    enum { LONGEST = 63 };
    size_t rows[2][LONGEST + 1];
    size_t a_size = strlen(a);
    if (b.size > LONGEST || a_size > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= b.size; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *above = rows[(i - 1) & 1], *row = rows[i & 1];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower(b.data[j - 1]);
            size_t best = above[j - 1] + (same ? 0 : 1);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return rows[a_size & 1][b.size];
}

void command_explain_unknown(struct buf *out, const struct command *root, struct bytes name)
{
    enum { NEAR = 2 };
    buf_append_string(out, "unknown command \"");
    buf_append_bytes(out, name);
    buf_printf(out, "\" for \"%s\"\n", root->name);
    bool any = false;
    for (size_t i = 0; root->children[i] != NULL; i++) {
        const char *known = root->children[i]->name;
        bool starts =
            strlen(known) >= name.size && strncasecmp(known, (const char *)name.data, name.size) == 0;
        if (!starts && edit_distance(known, name) > NEAR) continue;
        if (!any) buf_append_string(out, "\nDid you mean this?\n");
        buf_printf(out, "\t%s\n", known);
        any = true;
    }
    if (any) buf_append_byte(out, '\n');
    buf_printf(out, "Run '%s --help' for usage.", root->name);
}

const char *command_path_text(const struct command_path *path, struct arena *arena)
{
    if (path->depth == 1) return "";
    const char *text = path->steps[1]->name;
    for (size_t i = 2; i < path->depth; i++) text = arena_printf(arena, "%s %s", text, path->steps[i]->name);
    return text;
}

void command_flags(const struct command_path *path, struct arena *arena, bool globals, struct flag_set *set)
{
    const struct command *command = command_of(path);
    const struct flag *inherited[COMMAND_DEPTH_MAX + 1] = {NULL};
    size_t count = 0;
    for (size_t i = path->depth; i-- > 0;) {
        const struct flag *table = path->steps[i]->inherited;
        /* What the root hands down holds for all: those are the global flags. */
        if (table != NULL && (globals || i > 0)) inherited[count++] = table;
    }
    flag_set_init(set, arena, command->flags, command->name, inherited);
}

static void visit_below(struct command_path *path, void (*visit)(void *, const struct command_path *),
                        void *context)
{
    const struct command *command = command_of(path);
    if (command->children == NULL) {
        visit(context, path);
        return;
    }
    for (size_t i = 0; command->children[i] != NULL; i++) {
        path->steps[path->depth++] = command->children[i];
        visit_below(path, visit, context);
        path->depth--;
    }
}

void command_visit(const struct command *root, void (*visit)(void *context, const struct command_path *path),
                   void *context)
{
    struct command_path path = {.steps = {root}, .depth = 1};
    visit_below(&path, visit, context);
}
