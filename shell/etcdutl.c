/* etcdutl: one command from the command line. */
#include "shell/etcdutl.h"

#include "base/text.h"
#include "shell/help.h"

#include <config.h>
#include <errno.h>
#include <locale.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct command version_command, completion_command, help_command;

static const struct flag global_flags[] = {
    {"write-out", 'w', FLAG_STRING, "simple", "set the output format (fields, json, protobuf, simple, table)",
     "simple fields json protobuf table"},
    {0},
};

static const struct command *const root_children[] = {
    &completion_command, &etcdutl_defrag,   &etcdutl_hashkv,  &help_command,
    &etcdutl_migrate,    &etcdutl_snapshot, &version_command, NULL,
};

static const struct command root = {
    .name = "etcdutl",
    .usage = "",
    .summary = "An administrative command line tool for etcd3.",
    .inherited = global_flags,
    .children = root_children,
};

/* ---- what commands share: the rest is in etcdutl_common.c ---- */

static int misuse(struct shell *shell, const struct command_path *path, const char *reason)
{
    struct buf usage = {0};
    help_usage(&usage, path, shell->arena);
    shell_print_error(shell, "Error: %s\n%s\n", reason, buf_string(&usage));
    buf_deinit(&usage);
    return shell_fail(shell, SHELL_FAILED, "%s", reason);
}

static void find_path(struct shell *shell, const char *text, struct command_path *path)
{
    struct words words = {0}, rest;
    struct bytes unknown;
    for (const char *at = text; *at != 0;) {
        size_t size = strcspn(at, " ");
        words_add(&words, shell->arena, bytes_of((const uint8_t *)at, size));
        at += size + (at[size] == ' ');
    }
    command_find(&root, &words, shell->arena, path, &rest, &unknown);
}

int etcdutl_misuse(struct shell *shell, const struct invocation *line, const char *format, ...)
{
    struct command_path path;
    struct buf reason = {0};
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&reason, format, arguments);
    va_end(arguments);
    find_path(shell, line->path, &path);
    int status = misuse(shell, &path, buf_string(&reason));
    buf_deinit(&reason);
    return status;
}

int etcdutl_require(struct shell *shell, const struct invocation *line, const char *const *flags)
{
    struct buf missing = {0};
    int status = SHELL_OK;
    for (size_t i = 0; flags[i] != NULL; i++)
        if (!flag_changed(&line->flags, flags[i]))
            buf_printf(&missing, "%s\"%s\"", missing.size > 0 ? ", " : "", flags[i]);
    if (missing.size > 0)
        status = etcdutl_misuse(shell, line, "required flag(s) %s not set", buf_string(&missing));
    buf_deinit(&missing);
    return status;
}

/* ---- version, completion, help ---- */

static int run_version(struct shell *shell, const struct invocation *line)
{
    (void)line;
    shell_print(shell, "etcdutl version: %s\nAPI version: %s\n", ETCD_VERSION, ETCD_API_LEVEL);
    return SHELL_OK;
}

static const struct command version_command = {
    .name = "version",
    .usage = "",
    .summary = "Prints the version of etcdutl",
    .run = run_version,
};

static int run_completion(struct shell *shell, const struct invocation *line)
{
    struct buf text = {0};
    int status = SHELL_OK;
    if (line->words.count != 1) {
        status = etcdutl_misuse(shell, line, "accepts 1 arg(s), received %zu", line->words.count);
    } else if (help_completion_script(&text, &root, word_string(&line->words, 0), shell->arena)) {
        shell_print_bytes(shell, buf_bytes(&text));
    } else {
        text_go_quote(&text, line->words.items[0]);
        status =
            etcdutl_misuse(shell, line, "invalid argument %s for \"etcdutl completion\"", buf_string(&text));
    }
    buf_deinit(&text);
    return status;
}

static const struct command completion_command = {
    .name = "completion",
    .usage = "[bash|zsh|fish]",
    .summary = "Generate completion script",
    .run = run_completion,
};

static int show_help(struct shell *shell, const struct command_path *path)
{
    struct buf text = {0};
    buf_printf(&text, "%s\n\n", command_of(path)->summary);
    help_usage(&text, path, shell->arena);
    shell_print_bytes(shell, buf_bytes(&text));
    buf_deinit(&text);
    return SHELL_OK;
}

static int run_help(struct shell *shell, const struct invocation *line)
{
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    if (!command_find(&root, &line->words, shell->arena, &path, &rest, &unknown))
        path = (struct command_path){.steps = {&root}, .depth = 1};
    return show_help(shell, &path);
}

static const struct command help_command = {
    .name = "help",
    .usage = "[command]",
    .summary = "Help about any command",
    .run = run_help,
};

/* ---- the manual ---- */

static const struct help_section sections[] = {
    {"EXIT STATUS",
     ".TP\n.B 0\nsuccess\n.TP\n.B 1\nthe work failed, or the command line could not be read\n.TP\n.B "
     "4\nunknown output format\n.TP\n.B 128\nbad arguments\n"},
    {"EXAMPLES", "Look at a snapshot, make a member of it, start that:\n.PP\n.nf\n"
                 "etcdutl snapshot status backup.db \\-w table\n"
                 "etcdutl snapshot restore backup.db \\-\\-data\\-dir=new.etcd\n"
                 "etcd \\-\\-data\\-dir=new.etcd\n.fi\n"},
    {"SEE ALSO", ".BR etcd (1),\n.BR etcdctl (1),\n.BR etcdtop (1)\n"},
    {0},
};

static const struct help_manual manual = {
    .root = &root,
    .title = "offline work on etcd's data directories and snapshots",
    .synopsis = "\\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]",
    .description =
        "works on files, without a server: a data directory that is changed must not be in use by one. A "
        "snapshot is only read. Records of what is done go to standard error.\n",
    .sections = sections,
};

/* For the build: the manual page comes from the command table. */
static int print_man_page(struct shell *shell)
{
    struct buf page = {0};
    help_man_page(&page, &manual, shell->arena);
    shell_print_bytes(shell, buf_bytes(&page));
    buf_deinit(&page);
    return SHELL_OK;
}

/* ---- running a line ---- */

static int run_found(struct shell *shell, const struct command_path *path, const struct words *rest)
{
    struct invocation line = {.command = command_of(path), .path = command_path_text(path, shell->arena)};
    struct buf reason = {0};
    int status = SHELL_OK;
    command_flags(path, shell->arena, true, &line.flags);
    enum flag_outcome outcome = flag_set_parse(&line.flags, rest, &line.words, &reason);
    if (outcome == FLAG_MISTAKE)
        status = misuse(shell, path, buf_string(&reason));
    else if (outcome == FLAG_HELP || line.command->run == NULL)
        status = show_help(shell, path);
    else
        status = line.command->run(shell, &line);
    buf_deinit(&reason);
    return status;
}

static int run(struct shell *shell, const struct words *words)
{
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    if (command_find(&root, words, shell->arena, &path, &rest, &unknown))
        return run_found(shell, &path, &rest);
    struct buf reason = {0};
    command_explain_unknown(&reason, &root, unknown);
    shell_fail(shell, SHELL_FAILED, "%s", buf_string(&reason));
    buf_deinit(&reason);
    return shell_fail(shell, SHELL_FAILED, "unknown command \"%.*s\" for \"etcdutl\"", (int)unknown.size,
                      (const char *)unknown.data);
}

int main(int argument_count, char **arguments)
{
    setlocale(LC_CTYPE, "");
    struct shell shell;
    shell_init(&shell, shell_standard_streams(), NULL);
    struct words words = words_from(shell.arena, argument_count - 1, arguments + 1);
    bool wants_manual = words.count == 1 && strcmp(word_string(&words, 0), "--help-man") == 0;
    int status = wants_manual ? print_man_page(&shell) : run(&shell, &words);
    shell_deinit(&shell);
    return status;
}
