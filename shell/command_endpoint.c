/* endpoint health, status, hashkv. */
#include "base/memory.h"
#include "base/text.h"
#include "shell/commands.h"
#include "shell/endpoints.h"
#include "shell/present_cluster.h"

#include <pthread.h>
#include <stdlib.h>

static const struct flag endpoint_flags[] = {
    {"cluster", 0, FLAG_BOOL, "false", "visit all members of the cluster's member list", NULL},
    {0},
};

/* ---- status, hashkv: in turn ---- */

struct visits {
    struct endpoint_answer *answers;
    size_t count;
    const char *last_error; /* NULL: all went well */
};

static int visit_all(struct shell *shell, const struct invocation *line, enum client_rpc rpc,
                     const ProtobufCMessage *request, const char *what, struct visits *visits)
{
    struct endpoint_list endpoints;
    int status = endpoints_read(shell, line, &endpoints);
    if (status == SHELL_OK) status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    *visits = (struct visits){
        .answers = arena_alloc(shell->arena, (endpoints.count + 1) * sizeof(struct endpoint_answer))};
    for (size_t i = 0; i < endpoints.count; i++) {
        ProtobufCMessage *response;
        struct client_error *error =
            shell_call(shell, rpc, request, SHELL_BOUNDED, endpoints.items[i], &response);
        if (error == NULL) {
            visits->answers[visits->count++] = (struct endpoint_answer){endpoints.items[i], response};
            continue;
        }
        visits->last_error = endpoints_error_text(shell, error);
        shell_print_error(shell, "Failed to get the %s of endpoint %s (%s)\n", what, endpoints.items[i],
                          visits->last_error);
    }
    return SHELL_OK;
}

static int run_status(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct visits visits;
    int status = visit_all(shell, line, CLIENT_STATUS, &request.base, "status", &visits);
    if (status != SHELL_OK) return status;
    const struct endpoint_answers answers = {visits.answers, visits.count};
    status = shell_show(shell, &present_endpoint_status, &answers, NULL);
    return status == SHELL_OK && visits.last_error != NULL ? SHELL_FAILED : status;
}

static const struct flag hash_flags[] = {
    {"rev", 0, FLAG_INT, "0", "hash up to this revision (0: all)", NULL},
    {0},
};

static int run_hash(struct shell *shell, const struct invocation *line)
{
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    request.revision = flag_int(&line->flags, "rev");
    struct visits visits;
    int status = visit_all(shell, line, CLIENT_HASH_KV, &request.base, "hash", &visits);
    if (status != SHELL_OK) return status;
    const struct endpoint_answers answers = {visits.answers, visits.count};
    status = shell_show(shell, &present_endpoint_hash_kv, &answers, NULL);
    if (status != SHELL_OK || visits.last_error == NULL) return status;
    return shell_fail(shell, SHELL_FAILED, "%s", visits.last_error);
}

/* ---- health: all at once, a client each ---- */

struct check_up {
    pthread_t thread;
    bool started;
    const char *endpoint;
    struct client_options options;
    int64_t timeout;
    struct ward *ward;
    bool healthy;
    int64_t took;
    struct buf error;
};

/* The order in which the check-ups end. */
struct ward {
    pthread_mutex_t lock;
    struct check_up **done;
    size_t done_count;
};

static void note_error(struct check_up *check, struct client_error *error)
{
    client_error_format(&check->error, error);
    client_error_free(error);
}

/* A member with an alarm is not well. */
static void look_for_alarms(struct check_up *check, struct blocking_client *client, struct arena *arena,
                            int64_t deadline)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    const struct client_call_options options = {.deadline = deadline};
    ProtobufCMessage *message;
    struct client_error *error =
        blocking_call(client, CLIENT_ALARM, &request.base, &options, arena, &message);
    check->healthy = error == NULL;
    if (error != NULL) {
        buf_append_string(&check->error, "Unable to fetch the alarm list");
        client_error_free(error);
        return;
    }
    const Etcdserverpb__AlarmResponse *response = (const Etcdserverpb__AlarmResponse *)message;
    if (response->n_alarms == 0) return;
    check->healthy = false;
    buf_append_string(&check->error, "Active Alarm(s): ");
    for (size_t i = 0; i < response->n_alarms; i++) {
        const ProtobufCEnumValue *name =
            protobuf_c_enum_descriptor_get_value(&etcdserverpb__alarm_type__descriptor,
                                                 (int)response->alarms[i]->alarm);
        buf_printf(&check->error, "%s ", name != NULL ? name->name : "UNKNOWN");
    }
}

static void examine(struct check_up *check, struct blocking_client *client)
{
    static const char key[] = "health";
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = (ProtobufCBinaryData){.len = sizeof(key) - 1, .data = (uint8_t *)(uintptr_t)key};
    struct arena *arena = arena_new();
    int64_t start = client_now(), deadline = client_deadline_after(check->timeout);
    const struct client_call_options options = {.deadline = deadline};
    ProtobufCMessage *response;
    struct client_error *error =
        blocking_call(client, CLIENT_RANGE, &request.base, &options, arena, &response);
    check->took = client_now() - start;
    /* Being told that one may not read took a proposal, too. */
    if (error == NULL || client_error_is(error, API_ERROR_PERMISSION_DENIED)) {
        client_error_free(error);
        look_for_alarms(check, client, arena, deadline);
    } else {
        note_error(check, error);
    }
    arena_free(arena);
}

static void *check_thread(void *argument)
{
    struct check_up *check = argument;
    struct blocking_client *client = NULL;
    struct client_error *refused = NULL;
    struct error *error = blocking_new(&check->options, &client, &refused);
    if (refused != NULL)
        note_error(check, refused);
    else if (error != NULL)
        buf_append_string(&check->error, error->text);
    else
        examine(check, client);
    error_free(error);
    blocking_free(client);
    pthread_mutex_lock(&check->ward->lock);
    check->ward->done[check->ward->done_count++] = check;
    pthread_mutex_unlock(&check->ward->lock);
    return NULL;
}

static int show_healths(struct shell *shell, const struct ward *ward)
{
    struct endpoint_health *items = arena_alloc(shell->arena, (ward->done_count + 1) * sizeof(*items));
    bool all_well = true;
    for (size_t i = 0; i < ward->done_count; i++) {
        struct check_up *check = ward->done[i];
        struct buf took = {0};
        text_go_duration(&took, check->took);
        items[i] = (struct endpoint_health){
            .endpoint = check->endpoint,
            .healthy = check->healthy,
            .took = arena_string(shell->arena, buf_bytes(&took)),
            .error = arena_string(shell->arena, buf_bytes(&check->error)),
        };
        all_well = all_well && check->healthy;
        buf_deinit(&took);
    }
    const struct endpoint_healths healths = {items, ward->done_count};
    int status = shell_show(shell, &present_endpoint_health, &healths, NULL);
    for (size_t i = 0; i < ward->done_count && shell->style.format == OUTPUT_SIMPLE; i++)
        if (!items[i].healthy)
            shell_print_error(shell, "%s is unhealthy: failed to commit proposal: %s\n", items[i].endpoint,
                              items[i].error);
    if (status != SHELL_OK || all_well) return status;
    return shell_fail(shell, SHELL_FAILED, "unhealthy cluster");
}

static int run_health(struct shell *shell, const struct invocation *line)
{
    struct endpoint_list endpoints;
    int status = endpoints_read(shell, line, &endpoints);
    if (status != SHELL_OK) return status;
    if (endpoints.count > CLIENT_ENDPOINTS_MAX)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "more than %d endpoints", CLIENT_ENDPOINTS_MAX);
    struct ward ward = {.done = arena_alloc(shell->arena, (endpoints.count + 1) * sizeof(struct check_up *))};
    pthread_mutex_init(&ward.lock, NULL);
    struct check_up *checks = mem_zalloc(endpoints.count + 1, sizeof(*checks));
    for (size_t i = 0; i < endpoints.count; i++) {
        struct check_up *check = &checks[i];
        check->endpoint = endpoints.items[i];
        check->options = shell->options;
        check->options.endpoints = &check->endpoint;
        check->options.endpoint_count = 1;
        check->timeout = shell->command_timeout;
        check->ward = &ward;
        check->started = pthread_create(&check->thread, NULL, check_thread, check) == 0;
        if (!check->started) check_thread(check);
    }
    for (size_t i = 0; i < endpoints.count; i++)
        if (checks[i].started) pthread_join(checks[i].thread, NULL);
    status = show_healths(shell, &ward);
    for (size_t i = 0; i < endpoints.count; i++) buf_deinit(&checks[i].error);
    pthread_mutex_destroy(&ward.lock);
    free(checks);
    return status;
}

static const struct command endpoint_health = {
    .name = "health",
    .usage = "",
    .summary = "Checks the healthiness of endpoints specified in `--endpoints` flag",
    .run = run_health};
static const struct command endpoint_status = {
    .name = "status",
    .usage = "",
    .summary = "Prints out the status of endpoints specified in `--endpoints` flag",
    .description =
        "The simple format's columns are: endpoint, ID, version, storage version, db size, in use,\n"
        "percentage not in use, quota, is leader, is learner, raft term, raft index, raft applied index,\n"
        "errors, downgrade target version, downgrade enabled.",
    .run = run_status};
static const struct command endpoint_hash = {
    .name = "hashkv",
    .usage = "",
    .summary = "Prints the KV history hash for each endpoint in --endpoints",
    .flags = hash_flags,
    .run = run_hash};

static const struct command *const endpoint_children[] = {&endpoint_health, &endpoint_status, &endpoint_hash,
                                                          NULL};

const struct command command_endpoint = {
    .name = "endpoint",
    .usage = "<subcommand>",
    .summary = "Endpoint related commands",
    .inherited = endpoint_flags,
    .children = endpoint_children,
};
