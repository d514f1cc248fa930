/* The interactive shell: the loop that reads and runs lines. Readline knows no contexts, so the one repl that
 * runs is kept in a static pointer for its callbacks. */
#include "shell/repl_internal.h"

#include "base/memory.h"
#include "base/text.h"
#include "shell/txn_grammar.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

static struct repl *running;
static volatile sig_atomic_t interrupted;
/* The signal may come on any thread and at any time: the pipe wakes the one that waits for input. */
static int interrupt_pipe[2] = {-1, -1};

static void on_interrupt(int number)
{
    (void)number;
    int before = errno;
    interrupted = 1;
    ssize_t written = write(interrupt_pipe[1], "", 1);
    (void)written; /* a full pipe wakes as well */
    errno = before;
    if (running != NULL) shell_interrupt(running->shell);
}

/* ---- Reading a line ---- */

static char *finished_line;
static bool line_is_finished;

static void on_line(char *line)
{
    finished_line = line;
    line_is_finished = true;
    /* Otherwise readline prints its prompt again at once. */
    rl_callback_handler_remove();
}

/* Ctrl-C must not throw away typed input in the kernel: readline might wait for what poll() had promised
 * already. It is thrown away when the interrupt is handled. */
static void prepare_terminal(int meta)
{
    struct termios settings;
    rl_prep_terminal(meta);
    if (tcgetattr(STDIN_FILENO, &settings) != 0) return;
    settings.c_lflag |= NOFLSH;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

static int insert_prefill(void)
{
    if (running->prefill != NULL) rl_insert_text(running->prefill);
    return 0;
}

/* Makes room above the line that is being edited. */
static void clear_edited_line(void)
{
    rl_clear_visible_line();
    fflush(rl_outstream);
}

static void show_watches(struct repl *repl)
{
    if (!repl_watch_show(repl, clear_edited_line)) return;
    rl_forced_update_display();
}

static void wait_for_input(struct repl *repl)
{
    struct pollfd ready[3] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = interrupt_pipe[0], .events = POLLIN},
                              {.fd = -1, .events = POLLIN}};
    if (repl->inbox != NULL) ready[2].fd = blocking_inbox_descriptor(repl->inbox);
    if (poll(ready, 3, -1) < 0) return;
    if (ready[2].revents != 0) show_watches(repl);
    if (ready[0].revents != 0) rl_callback_read_char();
}

enum repl_line repl_read_line(struct repl *repl, const char *prompt, const char *prefill, struct buf *line)
{
    char drained[64];
    buf_clear(line);
    while (read(interrupt_pipe[0], drained, sizeof(drained)) > 0) {
    }
    interrupted = 0;
    line_is_finished = false;
    finished_line = NULL;
    repl->prefill = prefill;
    rl_callback_handler_install(prompt, on_line);
    while (!line_is_finished && !interrupted) wait_for_input(repl);
    repl->prefill = NULL;
    if (!line_is_finished) {
        tcflush(STDIN_FILENO, TCIFLUSH);
        rl_free_line_state();
        rl_callback_sigcleanup();
        rl_callback_handler_remove();
        fputs("^C\n", stdout);
        fflush(stdout);
        return REPL_INTERRUPTED;
    }
    if (finished_line == NULL) {
        fputc('\n', stdout);
        fflush(stdout);
        return REPL_END;
    }
    buf_append_string(line, finished_line);
    free(finished_line);
    return REPL_LINE;
}

/* ---- History ---- */

static bool is_secret(const char *line)
{
    return strstr(line, "password") != NULL || strstr(line, "--user") != NULL ||
           strstr(line, "user add") != NULL;
}

void repl_remember(struct repl *repl, const char *line)
{
    (void)repl;
    HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
    if (line[0] == 0 || is_secret(line) || (last != NULL && strcmp(last->line, line) == 0)) return;
    add_history(line);
}

static void open_history(struct repl *repl)
{
    const char *home = getenv("HOME");
    using_history();
    stifle_history(REPL_HISTORY_LINES);
    if (home == NULL || home[0] == 0) return;
    repl->history_file = mem_printf("%s/.etcdctl_history", home);
    read_history(repl->history_file);
}

static void save_history(struct repl *repl)
{
    if (repl->history_file == NULL) return;
    mode_t before = umask(077);
    write_history(repl->history_file);
    umask(before);
    free(repl->history_file);
    repl->history_file = NULL;
}

/* ---- Streams of the commands ---- */

static void write_out(void *context, struct bytes bytes)
{
    struct repl *repl = context;
    if (repl->holds_output)
        buf_append_bytes(&repl->paged, bytes);
    else
        fwrite(bytes.data, 1, bytes.size, stdout);
    fflush(stdout);
}

static void write_err(void *context, struct bytes bytes)
{
    (void)context;
    fwrite(bytes.data, 1, bytes.size, stderr);
    fflush(stderr);
}

static long read_terminal(void *context, void *at, size_t size)
{
    (void)context;
    return read(STDIN_FILENO, at, size);
}

static bool ask(void *context, const char *question)
{
    struct repl *repl = context;
    struct buf line = {0};
    char *prompt = mem_printf("%s [y/N] ", question);
    enum repl_line outcome = repl_read_line(repl, prompt, NULL, &line);
    free(prompt);
    const char *answer = buf_string(&line);
    bool yes = outcome == REPL_LINE && (answer[0] == 'y' || answer[0] == 'Y');
    buf_deinit(&line);
    if (!yes) fputs("not done\n", stdout);
    return yes;
}

/* ---- The pager ---- */

static size_t terminal_rows(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

static void show_paged(struct repl *repl)
{
    size_t lines = 0;
    for (size_t i = 0; i < repl->paged.size; i++) lines += repl->paged.data[i] == '\n';
    const char *program = getenv("PAGER");
    FILE *pager = NULL;
    if (lines + 1 > terminal_rows())
        pager = popen(program != NULL && program[0] != 0 ? program : "less", "w");
    fwrite(repl->paged.data, 1, repl->paged.size, pager != NULL ? pager : stdout);
    if (pager != NULL) pclose(pager);
    fflush(stdout);
    buf_clear(&repl->paged);
}

/* ---- Running a line ---- */

static const struct command *command_named(struct repl *repl, const struct words *words)
{
    struct command_path path;
    struct words rest;
    struct bytes unknown;
    bool found = command_find(&command_root, words, repl->arena, &path, &rest, &unknown);
    return found && path.depth > 1 ? command_of(&path) : NULL;
}

static void run_command(struct repl *repl, const struct words *words)
{
    const struct command *command = command_named(repl, words);
    repl->holds_output = repl->pager && (command == NULL || (command->properties & COMMAND_ENDLESS) == 0);
    int64_t start = client_now();
    shell_run(repl->shell, words);
    int64_t took = client_now() - start;
    if (repl->holds_output) {
        repl->holds_output = false;
        show_paged(repl);
    }
    if (!repl->timing) return;
    struct buf text = {0};
    text_go_duration(&text, took / 1000 * 1000);
    printf("time: %s\n", buf_string(&text));
    fflush(stdout);
    buf_deinit(&text);
}

static void obey(struct repl *repl, struct bytes text)
{
    struct arena *arena = arena_new();
    struct words words;
    const char *line = arena_string(arena, text);
    if (!txn_split_words(text, arena, &words)) {
        fputs("Error: invalid syntax: an escape inside the quotes cannot be read\n", stderr);
    } else if (words.count == 0) {
        /* Nothing but blanks. */
    } else if (line[strspn(line, " \t")] == '\\') {
        repl_meta(repl, &words);
    } else if (strcmp(word_string(&words, 0), "exit") == 0 || strcmp(word_string(&words, 0), "quit") == 0) {
        repl->quits = true;
    } else if (words.count > 1 && strcmp(word_string(&words, words.count - 1), "&") == 0) {
        words.count--;
        repl_watch_start(repl, &words, line);
    } else {
        run_command(repl, &words);
    }
    arena_free(arena);
}

/* ---- Beginning and end ---- */

static const char *member_name(const Etcdserverpb__MemberListResponse *members, uint64_t id)
{
    for (size_t i = 0; members != NULL && i < members->n_members; i++)
        if (members->members[i]->id == id && members->members[i]->name[0] != 0)
            return members->members[i]->name;
    return NULL;
}

static void print_banner(struct repl *repl, const Etcdserverpb__StatusResponse *status,
                         const Etcdserverpb__MemberListResponse *members)
{
    const char *dot = repl->utf8 ? "·" : "-";
    const char *leader = member_name(members, status->leader);
    const char *user = flag_string(&repl->shell->session_flags, "user");
    printf("etcd %s %s cluster %llx", status->version, dot,
           (unsigned long long)(status->header != NULL ? status->header->cluster_id : 0));
    if (members != NULL)
        printf(" %s %zu member%s", dot, members->n_members, members->n_members == 1 ? "" : "s");
    if (leader != NULL)
        printf(", leader %s", leader);
    else if (status->leader == 0)
        printf(", no leader");
    if (user[0] != 0) printf(" %s user %.*s", dot, (int)strcspn(user, ":"), user);
    printf("\nType a command, Tab completes, \\? for shell commands, Ctrl-D to leave.\n");
}

/* Who is there: the banner, and the prompt from the name of the member that answers. */
static void greet(struct repl *repl)
{
    struct shell *shell = repl->shell;
    struct arena *arena = arena_new();
    const struct client_call_options options = {
        .deadline = client_deadline_after(flag_int(&shell->session_flags, "dial-timeout"))};
    Etcdserverpb__StatusRequest status_request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__MemberListRequest members_request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    ProtobufCMessage *status = NULL, *members = NULL;
    struct client_error *error =
        blocking_call(shell->session, CLIENT_STATUS, &status_request.base, &options, arena, &status);
    free(repl->prompt);
    repl->prompt = mem_strdup("etcd> ");
    if (error != NULL) {
        struct buf text = {0};
        client_error_format(&text, error);
        printf("no member answers (%s); commands will try again\n", buf_string(&text));
        buf_deinit(&text);
        client_error_free(error);
    } else {
        const Etcdserverpb__StatusResponse *answer = (const Etcdserverpb__StatusResponse *)status;
        error = blocking_call(shell->session, CLIENT_MEMBER_LIST, &members_request.base, &options, arena,
                              &members);
        if (error != NULL) members = NULL;
        client_error_free(error);
        const Etcdserverpb__MemberListResponse *list = (const Etcdserverpb__MemberListResponse *)members;
        print_banner(repl, answer, list);
        const char *name = member_name(list, answer->header != NULL ? answer->header->member_id : 0);
        if (name != NULL) {
            free(repl->prompt);
            repl->prompt = mem_printf("%s> ", name);
        }
    }
    fflush(stdout);
    arena_free(arena);
}

static void read_and_obey(struct repl *repl)
{
    struct buf line = {0};
    while (!repl->quits) {
        enum repl_line outcome = repl_read_line(repl, repl->prompt, NULL, &line);
        if (outcome == REPL_END) break;
        if (outcome == REPL_INTERRUPTED) continue;
        repl_remember(repl, buf_string(&line));
        obey(repl, buf_bytes(&line));
    }
    buf_deinit(&line);
}

int repl_run(struct shell *shell, const struct words *words)
{
    assert(running == NULL && "one interactive shell at a time");
    struct repl repl = {.shell = shell, .options = *words, .arena = arena_new(), .next_watch = 1};
    repl.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    struct shell_streams before = shell->streams;
    int status = shell_connect(shell, words);
    if (status == SHELL_OK && pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        status = shell_fail(shell, SHELL_FAILED, "pipe: %s", strerror(errno));
    if (status == SHELL_OK) {
        shell->streams = (struct shell_streams){
            .out = {write_out, &repl},
            .err = {write_err, &repl},
            .in = {read_terminal, &repl, STDIN_FILENO},
            .confirm = ask,
            .edit_transaction = repl_edit_transaction,
            .context = &repl,
        };
        running = &repl;
        rl_catch_signals = 0;
        rl_startup_hook = insert_prefill;
        rl_prep_term_function = prepare_terminal;
        struct sigaction action = {.sa_handler = on_interrupt}, old;
        sigaction(SIGINT, &action, &old);
        repl_completion_install(&repl);
        open_history(&repl);
        greet(&repl);
        read_and_obey(&repl);
        save_history(&repl);
        repl_watch_stop_all(&repl);
        sigaction(SIGINT, &old, NULL);
        close(interrupt_pipe[0]);
        close(interrupt_pipe[1]);
        running = NULL;
        shell->streams = before;
    }
    free(repl.prompt);
    buf_deinit(&repl.paged);
    arena_free(repl.arena);
    return status;
}
