/* Completion scripts. Each is a list of words per command, made from the command table, in a frame of the
 * shell's own language: the scripts work without running etcdctl. */
#include "shell/help.h"

struct script {
    struct buf *out;
    const struct command *root;
    struct arena *arena;
};

static void write_flag_names(struct buf *out, const struct flag_set *flags, bool inherited_too)
{
    for (size_t i = 0; i < flags->count; i++)
        if (inherited_too || !flags->values[i].inherited)
            buf_printf(out, " --%s", flags->values[i].flag->name);
}

static void write_child_names(struct buf *out, const struct command *command)
{
    for (size_t i = 0; command->children != NULL && command->children[i] != NULL; i++)
        buf_printf(out, " %s", command->children[i]->name);
}

/* ---- bash, also the heart of zsh's */

static void bash_case(void *context, const struct command_path *path)
{
    struct script *script = context;
    struct flag_set flags;
    command_flags(path, script->arena, true, &flags);
    buf_printf(script->out, "        '%s') words=\"", command_path_text(path, script->arena));
    write_flag_names(script->out, &flags, true);
    buf_append_string(script->out, "\" ;;\n");
}

static void bash_groups(struct script *script)
{
    struct command_path path = {.steps = {script->root}, .depth = 1};
    struct flag_set flags;
    command_flags(&path, script->arena, true, &flags);
    buf_append_string(script->out, "        '') words=\"");
    write_child_names(script->out, script->root);
    write_flag_names(script->out, &flags, true);
    buf_append_string(script->out, "\" ;;\n");
    for (size_t i = 0; script->root->children[i] != NULL; i++) {
        if (script->root->children[i]->children == NULL) continue;
        buf_printf(script->out, "        '%s') words=\"", script->root->children[i]->name);
        write_child_names(script->out, script->root->children[i]);
        buf_append_string(script->out, "\" ;;\n");
    }
}

static void write_value_flags(struct script *script)
{
    struct command_path path = {.steps = {script->root}, .depth = 1};
    struct flag_set flags;
    command_flags(&path, script->arena, true, &flags);
    const char *between = "";
    for (size_t i = 0; i < flags.count; i++) {
        if (flags.values[i].flag->type == FLAG_BOOL) continue;
        buf_printf(script->out, "%s--%s", between, flags.values[i].flag->name);
        between = "|";
    }
    buf_append_string(script->out, "|-w|-d");
}

static void bash_function(struct script *script)
{
    buf_printf(script->out, "_%s_complete()\n{\n", script->root->name);
    buf_append_string(script->out, "    local current=${COMP_WORDS[COMP_CWORD]} path='' words='' i\n"
                                   "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                                   "        case ${COMP_WORDS[i]} in\n            ");
    write_value_flags(script);
    buf_append_string(script->out, ") i=$((i + 1)) ;;\n"
                                   "            -*|=) ;;\n"
                                   "            *) case \"$path\" in\n"
                                   "                   '') path=${COMP_WORDS[i]} ;;\n"
                                   "                   ");
    const char *between = "";
    for (size_t i = 0; script->root->children[i] != NULL; i++) {
        if (script->root->children[i]->children == NULL) continue;
        buf_printf(script->out, "%s%s", between, script->root->children[i]->name);
        between = "|";
    }
    buf_append_string(script->out, ") path=\"$path ${COMP_WORDS[i]}\" ;;\n"
                                   "               esac ;;\n"
                                   "        esac\n    done\n"
                                   "    case \"$path\" in\n");
    bash_groups(script);
    command_visit(script->root, bash_case, script);
    buf_append_string(script->out, "    esac\n"
                                   "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                                   "}\n");
}

static void bash_script(struct script *script)
{
    buf_printf(script->out, "# bash completion for %s\n", script->root->name);
    bash_function(script);
    buf_printf(script->out, "complete -o default -F _%s_complete %s\n", script->root->name,
               script->root->name);
}

static void zsh_script(struct script *script)
{
    buf_printf(script->out,
               "#compdef %s\n# zsh completion for %s\nautoload -U +X bashcompinit && bashcompinit\n",
               script->root->name, script->root->name);
    bash_function(script);
    buf_printf(script->out, "complete -o default -F _%s_complete %s\n", script->root->name,
               script->root->name);
}

/* ---- fish */

static void fish_quote(struct buf *out, const char *text)
{
    buf_append_byte(out, '\'');
    for (; *text != 0; text++) {
        if (*text == '\'' || *text == '\\') buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)*text);
    }
    buf_append_byte(out, '\'');
}

static void fish_flags(struct script *script, const struct flag_set *flags, const char *condition,
                       bool inherited)
{
    struct buf *out = script->out;
    for (size_t i = 0; i < flags->count; i++) {
        const struct flag *flag = flags->values[i].flag;
        if (flags->values[i].inherited != inherited) continue;
        buf_printf(out, "complete -c %s%s -l %s", script->root->name, condition, flag->name);
        if (flag->shorthand != 0) buf_printf(out, " -s %c", flag->shorthand);
        if (flag->type != FLAG_BOOL) buf_append_string(out, " -r");
        if (flag->choices != NULL) {
            buf_append_string(out, " -f -a ");
            fish_quote(out, flag->choices);
        }
        buf_append_string(out, " -d ");
        fish_quote(out, flag->help);
        buf_append_byte(out, '\n');
    }
}

static void fish_command(void *context, const struct command_path *path)
{
    struct script *script = context;
    const struct command *command = command_of(path);
    buf_printf(script->out, "complete -c %s -f -n ", script->root->name);
    if (path->depth == 2)
        buf_append_string(script->out, "__fish_use_subcommand");
    else
        buf_printf(script->out, "'__fish_seen_subcommand_from %s'", path->steps[1]->name);
    buf_printf(script->out, " -a %s -d ", command->name);
    fish_quote(script->out, command->summary);
    buf_append_byte(script->out, '\n');
    struct flag_set flags;
    command_flags(path, script->arena, false, &flags);
    const char *condition = arena_printf(script->arena, " -n '__fish_seen_subcommand_from %s'",
                                         path->steps[path->depth - 1]->name);
    fish_flags(script, &flags, condition, false);
}

static void fish_script(struct script *script)
{
    struct command_path path = {.steps = {script->root}, .depth = 1};
    struct flag_set flags;
    command_flags(&path, script->arena, true, &flags);
    buf_printf(script->out, "# fish completion for %s\n", script->root->name);
    fish_flags(script, &flags, "", true);
    for (size_t i = 0; script->root->children[i] != NULL; i++) {
        const struct command *group = script->root->children[i];
        if (group->children == NULL) continue;
        buf_printf(script->out, "complete -c %s -f -n __fish_use_subcommand -a %s -d ", script->root->name,
                   group->name);
        fish_quote(script->out, group->summary);
        buf_append_byte(script->out, '\n');
    }
    command_visit(script->root, fish_command, script);
}

bool help_completion_script(struct buf *out, const struct command *root, const char *shell_name,
                            struct arena *arena)
{
    static const struct {
        const char *name;
        void (*write)(struct script *script);
    } writers[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
        if (strcmp(writers[i].name, shell_name) != 0) continue;
        writers[i].write(&(struct script){out, root, arena});
        return true;
    }
    return false;
}
