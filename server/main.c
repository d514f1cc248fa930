/* etcd: parses the configuration, opens the log, runs the server. */
#include "base/arena.h"
#include "base/memory.h"
#include "config.h"
#include "server/forwarder.h"
#include "server/logging.h"
#include "server/options.h"
#include "server/server.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

extern char **environ;

enum { EXIT_CONFIGURATION = 1, EXIT_USAGE = 2 };

/* etcd's four lines, then ours. */
static void print_version(void)
{
    struct utsname system = {0};
    uname(&system);
    printf("etcd Version: %s\nGit SHA: %s-%s\nGo Version: none (C, %s)\nGo OS/Arch: linux/%s\n%s %s\n",
           ETCD_VERSION, PACKAGE_NAME, PACKAGE_VERSION, __VERSION__,
           strcmp(system.machine, "x86_64") == 0 ? "amd64" : system.machine, PACKAGE_NAME, PACKAGE_VERSION);
}

static void print(void (*write)(struct buf *out), FILE *stream)
{
    struct buf text = {0};
    write(&text);
    fputs(buf_string(&text), stream);
    buf_deinit(&text);
}

/* ---- what goes wrong before the log is open ---- */

static int refuse_usage(struct error *error)
{
    fprintf(stderr, "%s\n", error->text);
    print(options_usage, stderr);
    error_free(error);
    return EXIT_USAGE;
}

static int refuse(const struct options_parsed *parsed, struct error *error)
{
    const struct logger *logger = &log_discard;
    struct logging_options log = {.outputs = "stderr", .level = LOG_INFO};
    if (parsed->failure == OPTIONS_USAGE) return refuse_usage(error);
    struct error *failure = logging_open(&log, &logger);
    error_free(failure); /* stderr needs no opening */
    if (parsed->failure == OPTIONS_CONFLICT)
        LOG_AT(logger, LOG_FATAL, error->text, LOG_STRING("environment-variable", parsed->conflict));
    else if (parsed->failure == OPTIONS_ADVERTISE_URLS_UNSET)
        log_warn(logger, "advertise client URLs are not set", LOG_STRING("error", error->text));
    else
        log_warn(logger, "failed to verify flags", LOG_STRING("error", error->text));
    error_free(error);
    return EXIT_CONFIGURATION;
}

static struct error *open_log(const struct options *options, const struct logger **logger)
{
    struct logging_options log = {
        .outputs = options->log_outputs,
        .format = strcmp(options->logger, "capnslog") == 0      ? LOGGING_CAPNSLOG
                  : strcmp(options->log_format, "console") == 0 ? LOGGING_CONSOLE
                                                                : LOGGING_JSON,
        .rotation = options->enable_log_rotation ? options->log_rotation_config_json : NULL,
    };
    if (!logging_parse_level(options->log_level, &log.level))
        return error_new(ERROR_INVALID, "unrecognized level: \"%s\"", options->log_level);
    return logging_open(&log, logger);
}

/* ---- the first lines of the log ---- */

/* The words of the command line, passwords masked. */
static void log_arguments(const struct logger *logger, struct arena *memory, int argc, char **argv)
{
    const char **words = arena_alloc(memory, (size_t)argc * sizeof(*words));
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i] + strspn(argv[i], "-");
        bool is_password = i > 0 && name > argv[i] && strncmp(name, "discovery-password", 18) == 0;
        words[i] = argv[i];
        if (is_password && name[18] == '=')
            words[i] = arena_printf(memory, "%.*s***", (int)(name - argv[i]) + 19, argv[i]);
        if (is_password && name[18] == '\0' && i + 1 < argc) {
            words[++i] = "***";
        }
    }
    log_info(logger, "Running: ", LOG_STRINGS("args", words, (size_t)argc));
}

static void log_notes(const struct logger *logger, const struct options_parsed *parsed)
{
    for (size_t i = 0; i < parsed->note_count; i++) {
        const struct options_note *note = &parsed->notes[i];
        struct log_field fields[2];
        size_t count = 0;
        for (size_t k = 0; k < 2; k++)
            if (note->keys[k] != NULL) fields[count++] = LOG_STRING(note->keys[k], note->values[k]);
        log_emit(logger, note->level, __FILE__, __LINE__, note->message, fields, count);
    }
}

/* Tells a member's directory from an empty one, and what does not belong there. */
static struct error *look_at_data(const char *path, const struct logger *logger, bool *has_member)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    *has_member = false;
    if (directory == NULL && errno != ENOENT)
        return error_system(errno, "failed to list data directory %s", path);
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, "member") == 0)
            *has_member = true;
        else if (entry->d_name[0] != '.')
            log_warn(logger, "found invalid file under data directory", LOG_STRING("filename", entry->d_name),
                     LOG_STRING("data-dir", path));
    }
    if (directory != NULL) closedir(directory);
    log_info(logger, *has_member ? "server has already been initialized" : "Initialize and start etcd server",
             LOG_STRING("data-dir", path), LOG_STRING("dir-type", *has_member ? "member" : "empty"));
    return NULL;
}

static int run(struct options_parsed *parsed, const struct logger *logger, int *signal_number)
{
    bool has_member = false;
    struct error *error = look_at_data(parsed->options.data_dir, logger, &has_member);
    if (error == NULL) error = server_run(&parsed->options, logger, has_member, signal_number);
    if (error == NULL) return 0;
    log_warn(logger, "failed to start", LOG_STRING("error", error->text));
    /* etcd's last line, whatever the cause. */
    LOG_AT(logger, LOG_FATAL, "discovery failed", LOG_STRING("error", error->text));
    /* Threads and sockets of a start that failed are the system's to take back. */
    _exit(EXIT_CONFIGURATION);
}

/* Ends as etcd does: by the signal itself, so that whoever waits sees it. */
static void end_by_signal(int number)
{
    if (number == 0 || getpid() == 1) return;
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check(); /* which is otherwise done by exit() */
#endif
    signal(number, SIG_DFL);
    raise(number);
}

/* Go programs show what their threads do on SIGQUIT and end with 2. Only what may be called in a signal's
 * handler is called. */
static void on_quit(int number)
{
    static const char text[] = "SIGQUIT: quit\n\n";
    void *frames[64];
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    backtrace_symbols_fd(frames, backtrace(frames, sizeof(frames) / sizeof(frames[0])), STDERR_FILENO);
    _exit(EXIT_USAGE);
}

static void set_signals(void)
{
    void *frame[1];
    (void)backtrace(frame, 1); /* it loads a library the first time, which a handler must not */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGQUIT, on_quit);
}

static int start(struct options_parsed *parsed, int argc, char **argv, int *signal_number)
{
    const struct logger *logger = NULL;
    struct error *error = options_parse(argc, argv, environ, parsed);
    if (error == NULL && parsed->options.version) {
        print_version();
        return 0;
    }
    if (error == NULL && parsed->options.help) {
        print(options_usage, stderr);
        print(options_help, stdout);
        return 0;
    }
    if (error == NULL) error = options_complete(parsed);
    if (error == NULL) error = open_log(&parsed->options, &logger);
    if (error != NULL) return refuse(parsed, error);
    log_arguments(logger, parsed->memory, argc, argv);
    log_notes(logger, parsed);
    return run(parsed, logger, signal_number);
}

/* glibc's malloc keeps what large requests and responses have taken: it serves blocks of up to 32 MB from
 * heaps that shrink only from their end, and threads that hand memory to each other leave holes. Large blocks
 * get pages of their own, which go back when they are freed. */
static void limit_kept_memory(void)
{
#ifdef __GLIBC__
    enum { OWN_PAGES_FROM = 128 * 1024, KEPT_AT_THE_END = 1024 * 1024 };
    (void)mallopt(M_MMAP_THRESHOLD, OWN_PAGES_FROM); /* as it begins; what is set is not raised any more */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_AT_THE_END);
#endif
}

int main(int argc, char **argv)
{
    limit_kept_memory();
    set_signals();
    if (argc > 1 && strcmp(argv[1], "gateway") == 0) return forwarder_command(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "grpc-proxy") == 0) {
        fputs("etcd grpc-proxy is not part of this release; `etcd gateway` passes connections on\n", stderr);
        return EXIT_CONFIGURATION;
    }
    struct options_parsed parsed;
    int signal_number = 0;
    int status = start(&parsed, argc, argv, &signal_number);
    logging_close();
    options_deinit(&parsed);
    if (status == 0) end_by_signal(signal_number);
    return status;
}
