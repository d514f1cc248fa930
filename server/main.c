/* etcd: parses the configuration, opens the log, runs the server. */
#include "base/arena.h"
#include "config.h"
#include "server/logging.h"
#include "server/options.h"
#include "server/server.h"

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

static void print_version(void)
{
    printf("etcd Version: %s\nGit SHA: %s-%s\nGo Version: none (C, %s)\nGo OS/Arch: linux/amd64\n%s %s\n",
           ETCD_VERSION, PACKAGE_NAME, PACKAGE_VERSION, __VERSION__, PACKAGE_NAME, PACKAGE_VERSION);
}

static void print_help(void)
{
    struct buf usage = {0}, help = {0};
    options_usage(&usage);
    options_help(&help);
    fputs(buf_string(&usage), stderr);
    fputs(buf_string(&help), stdout);
    buf_deinit(&usage);
    buf_deinit(&help);
}

static int refuse(const struct options_parsed *parsed, struct error *error)
{
    fprintf(stderr, "%s\n", error->text);
    if (parsed->usage) {
        struct buf usage = {0};
        options_usage(&usage);
        fputs(buf_string(&usage), stderr);
        buf_deinit(&usage);
    }
    error_free(error);
    return parsed->usage ? EXIT_USAGE : EXIT_CONFIGURATION;
}

static void log_lines(const struct logger *logger, struct buf *lines, bool recognized)
{
    char *rest = (char *)(uintptr_t)buf_string(lines), *line;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        char *value = strchr(line, '=');
        if (!recognized || value == NULL) {
            log_warn(logger, "unrecognized environment variable", LOG_STRING("environment-variable", line));
            continue;
        }
        *value++ = '\0';
        log_info(logger, "recognized and used environment variable", LOG_STRING("variable-name", line),
                 LOG_STRING("variable-value", value));
    }
}

static void log_start(const struct logger *logger, struct options_parsed *parsed, char **argv, int argc)
{
    struct buf configuration = {0};
    log_lines(logger, &parsed->used_environment, true);
    log_lines(logger, &parsed->warnings, false);
    log_info(logger, "Running: ", LOG_STRINGS("args", (const char *const *)argv, (size_t)argc));
    options_json(&parsed->options, &configuration);
    log_info(logger, "starting an etcd server", LOG_STRING("etcd-version", ETCD_VERSION),
             LOG_STRING("release", PACKAGE_NAME " " PACKAGE_VERSION),
             LOG_INT("max-cpu-available", sysconf(_SC_NPROCESSORS_ONLN)),
             LOG_JSON("configuration", buf_string(&configuration)));
    buf_deinit(&configuration);
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

int main(int argc, char **argv)
{
    struct options_parsed parsed;
    struct arena *memory = arena_new();
    const struct logger *logger = NULL;
    enum log_level level;
    int signal_number = 0;
    struct error *error = options_parse(argc, argv, environ, &parsed);
    if (error == NULL && (parsed.options.version || parsed.options.help)) {
        if (parsed.options.version)
            print_version();
        else
            print_help();
        options_deinit(&parsed);
        arena_free(memory);
        return 0;
    }
    if (error == NULL) error = options_complete(&parsed, memory);
    if (error == NULL && !logging_parse_level(parsed.options.log_level, &level))
        error = error_new(ERROR_INVALID, "unrecognized level: \"%s\"", parsed.options.log_level);
    if (error == NULL) error = logging_open(parsed.options.log_outputs, level, &logger);
    if (error != NULL) return refuse(&parsed, error);
    log_start(logger, &parsed, argv, argc);
    error = server_run(&parsed.options, logger, &signal_number);
    if (error != NULL) {
        LOG_AT(logger, LOG_FATAL, "failed to start", LOG_STRING("error", error->text));
        return EXIT_CONFIGURATION;
    }
    logging_close();
    options_deinit(&parsed);
    arena_free(memory);
    end_by_signal(signal_number);
    return 0;
}
