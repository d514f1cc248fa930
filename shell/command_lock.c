/* lock and elect. */
#include "api/message.h"
#include "client/recipe.h"
#include "shell/commands.h"
#include "shell/present_kv.h"
#include "shell/program.h"
#include "shell/shell.h"

enum { ELECT_TTL = 60 };

/* Prints the hold's own key as get would. */
static int show_hold(struct shell *shell, const struct recipe_hold *hold)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(buf_bytes(&hold->key));
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_RANGE, &request.base, SHELL_PATIENT, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    const Etcdserverpb__RangeResponse *range = (const Etcdserverpb__RangeResponse *)response;
    if (range->n_kvs == 0) return shell_fail(shell, SHELL_FAILED, "lock lost on init");
    return shell_show(shell, &present_get, response, NULL);
}

/* ---- lock ---- */

static const struct flag lock_flags[] = {
    {"ttl", 0, FLAG_INT32, "10", "seconds until the lock is free when its holder vanishes", NULL},
    {0},
};

static int run_program(struct shell *shell, const struct words *program, const struct recipe_hold *hold)
{
    const char *variables[] = {
        arena_printf(shell->arena, "ETCD_LOCK_KEY=%.*s", (int)hold->key.size, (const char *)hold->key.data),
        arena_printf(shell->arena, "ETCD_LOCK_REV=%lld", (long long)hold->header_revision),
        NULL,
    };
    struct buf reason = {0};
    int status = program_run(program, shell->environment, variables, &reason);
    if (status != 0) shell_fail(shell, status, "%s", buf_string(&reason));
    buf_deinit(&reason);
    return status;
}

/* Until a signal or the lease's end. */
static int hold_on(struct shell *shell, struct recipe_session *session, struct recipe_hold *hold,
                   const char *lost)
{
    int status = show_hold(shell, hold);
    if (status != SHELL_OK) return status;
    return recipe_session_wait(session, 0) ? shell_fail(shell, SHELL_FAILED, "%s", lost) : SHELL_OK;
}

static int lock_and_hold(struct shell *shell, const struct invocation *line, struct recipe_session *session)
{
    struct recipe_hold hold = {0};
    struct client_error *error = recipe_lock(session, word_string(&line->words, 0), &hold);
    if (error != NULL) {
        recipe_hold_deinit(&hold);
        return shell_fail_call(shell, SHELL_FAILED, error);
    }
    const struct words program = {line->words.items + 1, line->words.count - 1};
    int status = program.count > 0 ? run_program(shell, &program, &hold)
                                   : hold_on(shell, session, &hold, "session expired");
    error = recipe_unlock(session, &hold);
    if (status == SHELL_OK && error != NULL)
        status = shell_fail_call(shell, SHELL_FAILED, error);
    else
        client_error_free(error);
    recipe_hold_deinit(&hold);
    return status;
}

static int run_lock(struct shell *shell, const struct invocation *line)
{
    if (line->words.count == 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "lock takes a lock name argument and an optional command to execute");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    struct recipe_session *session;
    struct client_error *error = recipe_session_new(shell->client, flag_int(&line->flags, "ttl"), &session);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    status = lock_and_hold(shell, line, session);
    recipe_session_free(session);
    return status;
}

const struct command command_lock = {
    .name = "lock",
    .usage = "<lockname> [exec-command arg1 arg2 ...]",
    .summary = "Acquires a named lock",
    .description =
        "With a command: holds the lock while it runs, with ETCD_LOCK_KEY and ETCD_LOCK_REV in its\n"
        "environment, and ends with its status. Without: holds the lock until interrupted.",
    .flags = lock_flags,
    .run = run_lock,
    .properties = COMMAND_ENDLESS | COMMAND_HANDLES_SIGNALS,
};

/* ---- elect ---- */

static const struct flag elect_flags[] = {
    {"listen", 'l', FLAG_BOOL, "false", "only tell who leads, and every change", NULL},
    {0},
};

struct observation {
    struct shell *shell;
    int status;
};

static bool show_leader(void *context, const Etcdserverpb__RangeResponse *response)
{
    struct observation *observation = context;
    observation->status = shell_show(observation->shell, &present_get, response, NULL);
    return observation->status == SHELL_OK;
}

static int observe(struct shell *shell, const char *election)
{
    struct observation observation = {.shell = shell};
    struct client_error *error = recipe_observe(shell->client, election, show_leader, &observation);
    bool interrupted = blocking_is_interrupted(shell->client);
    client_error_free(error);
    if (interrupted) return SHELL_OK;
    if (observation.status != SHELL_OK) return observation.status;
    return shell_fail(shell, SHELL_FAILED, "elect: observer lost");
}

static int campaign(struct shell *shell, const struct invocation *line)
{
    struct recipe_session *session;
    struct client_error *error = recipe_session_new(shell->client, ELECT_TTL, &session);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    struct recipe_hold hold = {0};
    error = recipe_campaign(session, word_string(&line->words, 0), line->words.items[1], &hold);
    int status;
    if (error != NULL) {
        status = shell_fail_call(shell, SHELL_FAILED, error);
    } else {
        status = hold_on(shell, session, &hold, "elect: session expired");
        error = recipe_resign(session, &hold);
        if (status == SHELL_OK && error != NULL)
            status = shell_fail_call(shell, SHELL_FAILED, error);
        else
            client_error_free(error);
    }
    recipe_hold_deinit(&hold);
    recipe_session_free(session);
    return status;
}

static int run_elect(struct shell *shell, const struct invocation *line)
{
    size_t count = line->words.count;
    bool listens = flag_bool(&line->flags, "listen");
    if (count != 1 && count != 2)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "elect takes one election name argument and an optional proposal argument");
    if (count == 1 && !listens)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "no proposal argument but -l not set");
    if (count == 2 && listens) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "proposal given but -l is set");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    return listens ? observe(shell, word_string(&line->words, 0)) : campaign(shell, line);
}

const struct command command_elect = {
    .name = "elect",
    .usage = "<election-name> [proposal]",
    .summary = "Observes and participates in leader election",
    .flags = elect_flags,
    .run = run_elect,
    .properties = COMMAND_ENDLESS | COMMAND_HANDLES_SIGNALS,
};
