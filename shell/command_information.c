/* version, completion, options, help: what needs no server. */
#include "base/text.h"
#include "shell/commands.h"
#include "shell/help.h"
#include "shell/shell.h"

#include <config.h>

static int run_version(struct shell *shell, const struct invocation *line)
{
    (void)line;
    shell_print(shell, "etcdctl version: %s\nAPI version: %s\n", ETCD_VERSION, ETCD_API_LEVEL);
    return SHELL_OK;
}

const struct command command_version = {
    .name = "version",
    .usage = "",
    .summary = "Prints the version of etcdctl",
    .run = run_version,
};

static int run_completion(struct shell *shell, const struct invocation *line)
{
    struct buf text = {0};
    int status = SHELL_OK;
    if (line->words.count != 1) {
        status = shell_fail(shell, SHELL_FAILED, "accepts 1 arg(s), received %zu", line->words.count);
    } else if (help_completion_script(&text, &command_root, word_string(&line->words, 0), shell->arena)) {
        shell_print_bytes(shell, buf_bytes(&text));
    } else {
        text_go_quote(&text, line->words.items[0]);
        status = shell_fail(shell, SHELL_FAILED, "invalid argument %s for \"etcdctl completion\"",
                            buf_string(&text));
    }
    buf_deinit(&text);
    return status;
}

const struct command command_completion = {
    .name = "completion",
    .usage = "[bash|zsh|fish]",
    .summary = "Generate completion script",
    .description = "Bash:  source <(etcdctl completion bash)\n"
                   "Zsh:   source <(etcdctl completion zsh)\n"
                   "Fish:  etcdctl completion fish | source",
    .run = run_completion,
};

static int run_options(struct shell *shell, const struct invocation *line)
{
    (void)line;
    struct buf text = {0};
    help_global_options(&text, shell->arena);
    shell_print_bytes(shell, buf_bytes(&text));
    buf_deinit(&text);
    return SHELL_OK;
}

const struct command command_options = {
    .name = "options",
    .usage = "",
    .summary = "Prints the options that every command takes",
    .run = run_options,
};

static int run_help(struct shell *shell, const struct invocation *line)
{
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    struct buf text = {0};
    bool found = command_find(&command_root, &line->words, shell->arena, &path, &rest, &unknown);
    if (!found) {
        path = (struct command_path){.steps = {&command_root}, .depth = 1};
        buf_append_string(&text, "Unknown help topic [");
        for (size_t i = 0; i < line->words.count; i++)
            buf_printf(&text, "%s`%s`", i > 0 ? " " : "", word_string(&line->words, i));
        shell_print_error(shell, "%s]\n", buf_string(&text));
        buf_clear(&text);
    }
    help_page(&text, &path, shell->arena);
    shell_print_bytes(shell, buf_bytes(&text));
    buf_deinit(&text);
    return SHELL_OK;
}

const struct command command_help = {
    .name = "help",
    .usage = "[command]",
    .summary = "Help about any command",
    .run = run_help,
};
