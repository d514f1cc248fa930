/* alarm, defrag, move-leader, downgrade. */
#include "base/text.h"
#include "shell/commands.h"
#include "shell/endpoints.h"
#include "shell/present_cluster.h"

/* ---- alarm ---- */

static int run_alarm_list(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "alarm list command accepts no arguments");
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    return shell_call_and_show(shell, line, CLIENT_ALARM, &request.base, SHELL_BOUNDED, &present_alarm, NULL);
}

/* Clears one alarm after the other, and tells what was cleared. */
static int run_alarm_disarm(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "alarm disarm command accepts no arguments");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    Etcdserverpb__AlarmRequest get = ETCDSERVERPB__ALARM_REQUEST__INIT;
    ProtobufCMessage *message;
    struct client_error *error = shell_call(shell, CLIENT_ALARM, &get.base, SHELL_BOUNDED, NULL, &message);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    const Etcdserverpb__AlarmResponse *active = (const Etcdserverpb__AlarmResponse *)message;
    if (active->n_alarms > 0 && !shell_confirm(shell, "Clear %zu alarm(s)?", active->n_alarms))
        return SHELL_OK;
    Etcdserverpb__AlarmResponse cleared = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    cleared.alarms = arena_alloc(shell->arena, (active->n_alarms + 1) * sizeof(*cleared.alarms));
    for (size_t i = 0; i < active->n_alarms; i++) {
        Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
        request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
        request.memberid = active->alarms[i]->memberid;
        request.alarm = active->alarms[i]->alarm;
        error = shell_call(shell, CLIENT_ALARM, &request.base, SHELL_BOUNDED, NULL, &message);
        if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
        const Etcdserverpb__AlarmResponse *response = (const Etcdserverpb__AlarmResponse *)message;
        cleared.header = response->header;
        if (response->n_alarms > 0) cleared.alarms[cleared.n_alarms++] = response->alarms[0];
    }
    return shell_show(shell, &present_alarm, &cleared, NULL);
}

static const struct command alarm_list = {.name = "list",
                                          .usage = "",
                                          .summary = "Lists all alarms",
                                          .run = run_alarm_list};
static const struct command alarm_disarm = {.name = "disarm",
                                            .usage = "",
                                            .summary = "Disarms all alarms",
                                            .run = run_alarm_disarm};
static const struct command *const alarm_children[] = {&alarm_disarm, &alarm_list, NULL};

const struct command command_alarm = {
    .name = "alarm",
    .usage = "<subcommand>",
    .summary = "Alarm related commands",
    .children = alarm_children,
};

/* ---- defrag ---- */

static const struct flag defrag_flags[] = {
    {"cluster", 0, FLAG_BOOL, "false", "visit all members of the cluster's member list", NULL},
    {0},
};

static int run_defrag(struct shell *shell, const struct invocation *line)
{
    struct endpoint_list endpoints;
    int status = endpoints_read(shell, line, &endpoints);
    if (status != SHELL_OK) return status;
    if (!shell_confirm(shell, "Defragment %zu member(s)? Each may stand still meanwhile.", endpoints.count))
        return SHELL_OK;
    status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    for (size_t i = 0; i < endpoints.count; i++) {
        Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
        ProtobufCMessage *response;
        int64_t start = client_now();
        struct client_error *error =
            shell_call(shell, CLIENT_DEFRAGMENT, &request.base, SHELL_BOUNDED, endpoints.items[i], &response);
        struct buf took = {0};
        text_go_duration(&took, client_now() - start);
        if (error == NULL) {
            shell_print(shell, "Finished defragmenting etcd member[%s]. took %s\n", endpoints.items[i],
                        buf_string(&took));
        } else {
            status = SHELL_FAILED;
            shell_print_error(shell, "Failed to defragment etcd member[%s]. took %s. (%s)\n",
                              endpoints.items[i], buf_string(&took), endpoints_error_text(shell, error));
        }
        buf_deinit(&took);
    }
    return status;
}

const struct command command_defrag = {
    .name = "defrag",
    .usage = "",
    .summary = "Defragments the storage of the etcd members with given endpoints",
    .flags = defrag_flags,
    .run = run_defrag,
};

/* ---- move-leader ---- */

/* The first of the endpoints that leads; NULL with SHELL_OK when none does. */
static int find_leader(struct shell *shell, const struct invocation *line, const char **leader, uint64_t *id)
{
    *leader = NULL;
    const struct flag_value *typed = flag_find(&line->flags, "endpoints");
    for (size_t i = 0; i < typed->list_size && *leader == NULL; i++) {
        Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
        ProtobufCMessage *message;
        struct client_error *error =
            shell_call(shell, CLIENT_STATUS, &request.base, SHELL_BOUNDED, typed->list[i], &message);
        if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
        const Etcdserverpb__StatusResponse *response = (const Etcdserverpb__StatusResponse *)message;
        if (response->header == NULL || response->header->member_id != response->leader) continue;
        *leader = typed->list[i];
        *id = response->leader;
    }
    return SHELL_OK;
}

static int run_move_leader(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "move-leader command needs 1 argument");
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    struct buf text = {0};
    int status = SHELL_OK;
    if (!text_parse_uint64(word_string(&line->words, 0), 16, &request.targetid, &text))
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "%s", buf_string(&text));
    buf_clear(&text);
    const char *leader = NULL;
    struct move_leader_detail detail = {.to = request.targetid};
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status == SHELL_OK) status = find_leader(shell, line, &leader, &detail.from);
    if (status == SHELL_OK && leader == NULL) {
        const struct flag_value *typed = flag_find(&line->flags, "endpoints");
        for (size_t i = 0; i < typed->list_size; i++)
            buf_printf(&text, "%s%s", i > 0 ? " " : "", typed->list[i]);
        status =
            shell_fail(shell, SHELL_BAD_ARGUMENTS, "no leader endpoint given at [%s]", buf_string(&text));
    }
    buf_deinit(&text);
    if (status != SHELL_OK) return status;
    ProtobufCMessage *response;
    struct client_error *error =
        shell_call(shell, CLIENT_MOVE_LEADER, &request.base, SHELL_BOUNDED, leader, &response);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    return shell_show(shell, &present_move_leader, response, &detail);
}

const struct command command_move_leader = {
    .name = "move-leader",
    .usage = "<transferee-member-id>",
    .summary = "Transfers leadership to another etcd cluster member.",
    .run = run_move_leader,
};

/* ---- downgrade ---- */

static int call_downgrade(struct shell *shell, const struct invocation *line,
                          Etcdserverpb__DowngradeRequest__DowngradeAction action)
{
    Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
    request.action = action;
    if (line->words.count > 0) request.version = (char *)(uintptr_t)word_string(&line->words, 0);
    return shell_call_and_show(shell, line, CLIENT_DOWNGRADE, &request.base, SHELL_BOUNDED,
                               &present_downgrade, line->command->name);
}

static int check_version(struct shell *shell, const struct invocation *line)
{
    if (line->words.count == 0) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "TARGET_VERSION not provided");
    if (line->words.count > 1) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "too many arguments");
    if (line->words.items[0].size == 0)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "target version not provided");
    return SHELL_OK;
}

static int run_downgrade_validate(struct shell *shell, const struct invocation *line)
{
    int status = check_version(shell, line);
    if (status != SHELL_OK) return status;
    return call_downgrade(shell, line, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE);
}

static int run_downgrade_enable(struct shell *shell, const struct invocation *line)
{
    int status = check_version(shell, line);
    if (status != SHELL_OK) return status;
    if (!shell_confirm(shell, "Start the cluster's downgrade to %s?", word_string(&line->words, 0)))
        return SHELL_OK;
    return call_downgrade(shell, line, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE);
}

static int run_downgrade_cancel(struct shell *shell, const struct invocation *line)
{
    if (line->words.count > 0) return shell_fail(shell, SHELL_BAD_ARGUMENTS, "too many arguments");
    return call_downgrade(shell, line, ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL);
}

static const struct command downgrade_validate = {
    .name = "validate",
    .usage = "<TARGET_VERSION>",
    .summary = "Validate downgrade capability before starting downgrade",
    .run = run_downgrade_validate};
static const struct command downgrade_enable = {.name = "enable",
                                                .usage = "<TARGET_VERSION>",
                                                .summary = "Start a downgrade action to cluster",
                                                .run = run_downgrade_enable};
static const struct command downgrade_cancel = {.name = "cancel",
                                                .usage = "",
                                                .summary = "Cancel the ongoing downgrade action to cluster",
                                                .run = run_downgrade_cancel};
static const struct command *const downgrade_children[] = {&downgrade_validate, &downgrade_enable,
                                                           &downgrade_cancel, NULL};

const struct command command_downgrade = {
    .name = "downgrade",
    .usage = "<TARGET_VERSION>",
    .summary = "Downgrade related commands",
    .children = downgrade_children,
};
