/* etcdctl: one command from the command line, or the interactive shell. */
#include "shell/help.h"
#include "shell/repl.h"
#include "shell/shell.h"

#include <locale.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

static struct shell *signaled_shell;

static void interrupt_shell(int number)
{
    (void)number;
    shell_interrupt(signaled_shell);
}

/* Some commands have to tidy up when they are interrupted; all others simply end with the process. */
static void catch_signals(struct shell *shell, const struct words *words)
{
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    if (!command_find(&command_root, words, shell->arena, &path, &rest, &unknown)) return;
    if ((command_of(&path)->properties & COMMAND_HANDLES_SIGNALS) == 0) return;
    signaled_shell = shell;
    struct sigaction action = {.sa_handler = interrupt_shell};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool names_command(struct shell *shell, const struct words *words)
{
    struct command_path path;
    struct words rest, left;
    struct bytes unknown;
    struct flag_set flags;
    struct buf reason = {0};
    bool found = command_find(&command_root, words, shell->arena, &path, &rest, &unknown);
    if (!found || path.depth > 1) return true;
    command_flags(&path, shell->arena, true, &flags);
    enum flag_outcome outcome = flag_set_parse(&flags, &rest, &left, &reason);
    buf_deinit(&reason);
    return outcome != FLAG_PARSED || left.count > 0;
}

/* For the build: the manual page comes from the command table. */
static int print_man_page(struct shell *shell)
{
    struct buf page = {0};
    help_man_page(&page, &command_manual, shell->arena);
    shell_print_bytes(shell, buf_bytes(&page));
    buf_deinit(&page);
    return SHELL_OK;
}

int main(int argument_count, char **arguments)
{
    setlocale(LC_CTYPE, "");
    struct shell shell;
    shell_init(&shell, shell_standard_streams(), environ);
    struct arena *arena = arena_new();
    struct words words = words_from(arena, argument_count - 1, arguments + 1);
    int status;
    if (words.count == 1 && strcmp(word_string(&words, 0), "--help-man") == 0) {
        status = print_man_page(&shell);
    } else if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !names_command(&shell, &words)) {
        status = repl_run(&shell, &words);
    } else {
        catch_signals(&shell, &words);
        status = shell_run(&shell, &words);
    }
    shell_deinit(&shell);
    arena_free(arena);
    return status;
}
