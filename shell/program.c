#include "shell/program.h"

#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 65536 };

/* Where the shell would find the program; NULL when nowhere. Free with free(). */
static char *find_program(const char *name)
{
    if (strchr(name, '/') != NULL) return mem_strdup(name);
    const char *path = getenv("PATH");
    while (path != NULL && *name != 0) {
        size_t size = strcspn(path, ":");
        char *file = mem_printf("%.*s%s%s", (int)size, path, size > 0 ? "/" : "./", name);
        if (access(file, X_OK) == 0) return file;
        free(file);
        path = path[size] == ':' ? path + size + 1 : NULL;
    }
    return NULL;
}

static char **join_environment(char **environment, const char *const *variables)
{
    size_t old = 0, added = 0;
    while (environment != NULL && environment[old] != NULL && old < ENVIRONMENT_MAX) old++;
    while (variables != NULL && variables[added] != NULL) added++;
    char **joined = mem_zalloc(old + added + 1, sizeof(*joined));
    size_t count = 0;
    for (size_t i = 0; i < old; i++) {
        const char *equals = strchr(environment[i], '=');
        size_t name = equals == NULL ? strlen(environment[i]) : (size_t)(equals - environment[i]) + 1;
        bool replaced = false;
        for (size_t j = 0; j < added && !replaced; j++)
            replaced = strncmp(environment[i], variables[j], name) == 0;
        if (!replaced) joined[count++] = environment[i];
    }
    for (size_t i = 0; i < added; i++) joined[count++] = (char *)(uintptr_t)variables[i];
    return joined;
}

static int start(pid_t *child, const char *file, char **arguments, char **environment)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int failure = posix_spawn(child, file, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

static int explain_end(int status, struct buf *reason)
{
    enum { BY_SIGNAL = 255 };
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) != 0) buf_printf(reason, "exit status %d", WEXITSTATUS(status));
        return WEXITSTATUS(status);
    }
    buf_append_string(reason, "signal: ");
    const char *name = strsignal(WTERMSIG(status));
    for (; *name != 0; name++) buf_append_byte(reason, (uint8_t)tolower((unsigned char)*name));
    if (WCOREDUMP(status)) buf_append_string(reason, " (core dumped)");
    return BY_SIGNAL;
}

int program_run(const struct words *words, char **environment, const char *const *variables,
                struct buf *reason)
{
    assert(words->count > 0);
    const char *name = word_string(words, 0);
    char *file = find_program(name);
    if (file == NULL) {
        buf_append_string(reason, "exec: ");
        text_go_quote(reason, bytes_from_string(name));
        buf_append_string(reason, ": executable file not found in $PATH");
        return 1;
    }
    char **arguments = mem_zalloc(words->count + 1, sizeof(*arguments));
    for (size_t i = 0; i < words->count; i++) arguments[i] = (char *)(uintptr_t)word_string(words, i);
    char **joined = join_environment(environment, variables);
    pid_t child;
    int result = 1, failure = start(&child, file, arguments, joined);
    if (failure != 0) {
        const char *why = strerror(failure);
        buf_printf(reason, "fork/exec %s: %c%s", name, tolower((unsigned char)why[0]), why + 1);
    } else {
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        result = explain_end(status, reason);
    }
    free(joined);
    free(arguments);
    free(file);
    return result;
}
