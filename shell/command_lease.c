/* lease grant, revoke, timetolive, list, keep-alive. */
#include "base/text.h"
#include "shell/commands.h"
#include "shell/present_lease.h"
#include "shell/shell.h"

/* Reads the lease's id from the first word; 0, or 128 after the error was printed. */
static int read_id(struct shell *shell, const struct invocation *line, const char *none, int64_t *lease)
{
    if (line->words.count != 1) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "%s", none);
    struct buf reason = {0};
    int status = SHELL_OK;
    if (!text_parse_int64(word_string(&line->words, 0), 16, lease, &reason))
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "bad lease ID arg (%s), expecting ID in Hex",
                            buf_string(&reason));
    buf_deinit(&reason);
    return status;
}

static int fail_to(struct shell *shell, const char *what, struct client_error *error)
{
    struct buf text = {0};
    client_error_format(&text, error);
    shell_fail(shell, SHELL_FAILED, "failed to %s lease (%s)", what, buf_string(&text));
    buf_deinit(&text);
    client_error_free(error);
    return SHELL_FAILED;
}

static int run_grant(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "lease grant command needs TTL argument");
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    struct buf reason = {0};
    int status = SHELL_OK;
    if (!text_parse_int64(word_string(&line->words, 0), 10, &request.ttl, &reason))
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "bad TTL (%s)", buf_string(&reason));
    buf_deinit(&reason);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_LEASE_GRANT, &request.base, SHELL_BOUNDED, NULL, &response);
    if (error != NULL) return fail_to(shell, "grant", error);
    return shell_show(shell, &present_lease_grant, response, NULL);
}

static int run_revoke(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    int status = read_id(shell, line, "lease revoke command needs 1 argument", &request.id);
    if (status != SHELL_OK) return status;
    if (!shell_confirm(shell, "Revoke lease %016llx and delete its keys?", (unsigned long long)request.id))
        return SHELL_OK;
    status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_LEASE_REVOKE, &request.base, SHELL_BOUNDED, NULL, &response);
    if (error != NULL) return fail_to(shell, "revoke", error);
    return shell_show(shell, &present_lease_revoke, response, &(struct lease_detail){.lease = request.id});
}

static const struct flag time_to_live_flags[] = {
    {"keys", 0, FLAG_BOOL, "false", "show the keys attached to the lease, too", NULL},
    {0},
};

static int run_time_to_live(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    int status = read_id(shell, line, "lease timetolive command needs lease ID as argument", &request.id);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    request.keys = flag_bool(&line->flags, "keys");
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_LEASE_TIME_TO_LIVE, &request.base, SHELL_PATIENT, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_BAD_CONNECTION, error);
    return shell_show(shell, &present_lease_time_to_live, response,
                      &(struct lease_detail){.lease = request.id, .keys = request.keys});
}

static int run_list(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_LEASE_LEASES, &request.base, SHELL_PATIENT, NULL, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_BAD_CONNECTION, error);
    return shell_show(shell, &present_lease_list, response, NULL);
}

/* ---- keep-alive ---- */

static const struct flag keep_alive_flags[] = {
    {"once", 0, FLAG_BOOL, "false", "renew the lease once and end", NULL},
    {0},
};

static int keep_alive_once(struct shell *shell, int64_t lease)
{
    ProtobufCMessage *response;
    struct client_error *error =
        blocking_keep_alive_once(shell->client, lease, NULL, shell->arena, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_BAD_CONNECTION, error);
    return shell_show(shell, &present_lease_keep_alive, response, NULL);
}

/* The stream is over: the lease is gone, or something else is wrong. */
static int keep_alive_ended(struct shell *shell, int64_t lease, struct blocking_event *event)
{
    if (event->error != NULL && !client_error_is(event->error, API_ERROR_LEASE_NOT_FOUND)) {
        struct client_error *error = event->error;
        event->error = NULL;
        return shell_fail_call(shell, SHELL_BAD_CONNECTION, error);
    }
    if (shell->style.format == OUTPUT_SIMPLE)
        shell_print(shell, "lease %016llx expired or revoked.\n", (unsigned long long)lease);
    return SHELL_OK;
}

static int run_keep_alive(struct shell *shell, const struct invocation *line)
{
    int64_t lease;
    int status = read_id(shell, line, "lease keep-alive command needs lease ID as argument", &lease);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    if (flag_bool(&line->flags, "once")) return keep_alive_once(shell, lease);
    struct blocking_inbox *inbox = blocking_inbox_new(shell->client);
    blocking_keep_alive(inbox, lease, NULL);
    struct blocking_event event;
    for (bool more = true; more && status == SHELL_OK;) {
        if (blocking_next(inbox, 0, &event) == BLOCKING_INTERRUPTED) break;
        more = event.kind == CLIENT_EVENT_MESSAGE;
        status = more ? shell_show(shell, &present_lease_keep_alive, event.response, NULL)
                      : keep_alive_ended(shell, lease, &event);
        blocking_event_deinit(&event);
    }
    blocking_inbox_free(inbox);
    return status;
}

static const struct command lease_grant = {.name = "grant",
                                           .usage = "<ttl>",
                                           .summary = "Creates leases",
                                           .run = run_grant};
static const struct command lease_revoke = {.name = "revoke",
                                            .usage = "<leaseID>",
                                            .summary = "Revokes leases",
                                            .run = run_revoke};
static const struct command lease_time_to_live = {.name = "timetolive",
                                                  .usage = "<leaseID> [options]",
                                                  .summary = "Get lease information",
                                                  .flags = time_to_live_flags,
                                                  .run = run_time_to_live};
static const struct command lease_list = {.name = "list",
                                          .usage = "",
                                          .summary = "List all active leases",
                                          .run = run_list};
static const struct command lease_keep_alive = {.name = "keep-alive",
                                                .usage = "[options] <leaseID>",
                                                .summary = "Keeps leases alive (renew)",
                                                .flags = keep_alive_flags,
                                                .run = run_keep_alive,
                                                .properties = COMMAND_ENDLESS};

static const struct command *const lease_children[] = {
    &lease_grant, &lease_revoke, &lease_time_to_live, &lease_list, &lease_keep_alive, NULL,
};

const struct command command_lease = {
    .name = "lease",
    .usage = "<subcommand>",
    .summary = "Lease related commands",
    .children = lease_children,
};
