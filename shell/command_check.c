/* check perf and check datascale. */
#include "api/keys.h"
#include "api/message.h"
#include "shell/commands.h"
#include "shell/load.h"
#include "shell/shell.h"

#define SECOND       (INT64_C(1000000000))
#define PERF_SECONDS 60

struct model {
    const char *names[2];
    uint64_t writes; /* perf: a second; datascale: in all */
    size_t clients;
};

static const struct model perf_models[] = {
    {{"s", "small"}, 150, 50},
    {{"m", "medium"}, 1000, 200},
    {{"l", "large"}, 8000, 500},
    {{"xl", "xLarge"}, 15000, 1000},
};
static const struct model data_scale_models[] = {
    {{"s", "small"}, 10000, 50},
    {{"m", "medium"}, 100000, 200},
    {{"l", "large"}, 1000000, 500},
    {{"xl", "xLarge"}, 3000000, 1000},
};
enum { MODELS = 4 };

static const struct flag perf_flags[] = {
    {"load", 0, FLAG_STRING, "s", "how much: s(small), m(medium), l(large), xl(xLarge)", "s m l xl"},
    {"prefix", 0, FLAG_STRING, "/etcdctl-check-perf/", "what the keys written start with", NULL},
    {"auto-compact", 0, FLAG_BOOL, "false", "compact the history afterwards", NULL},
    {"auto-defrag", 0, FLAG_BOOL, "false", "defragment the members afterwards", NULL},
    {0},
};
static const struct flag data_scale_flags[] = {
    {"load", 0, FLAG_STRING, "s", "how much: s(small), m(medium), l(large), xl(xLarge)", "s m l xl"},
    {"prefix", 0, FLAG_STRING, "/etcdctl-check-datascale/", "what the keys written start with", NULL},
    {"auto-compact", 0, FLAG_BOOL, "false", "compact the history afterwards", NULL},
    {"auto-defrag", 0, FLAG_BOOL, "false", "defragment the members afterwards", NULL},
    {0},
};

static const struct model *find_model(const struct model *models, const char *name)
{
    for (size_t i = 0; i < MODELS; i++)
        if (strcmp(models[i].names[0], name) == 0 || strcmp(models[i].names[1], name) == 0) return &models[i];
    return NULL;
}

/* ---- Before and after ---- */

static int refuse_used_prefix(struct shell *shell, const char *prefix)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = message_binary(bytes_from_string(prefix));
    request.range_end = message_binary(key_prefix_end(bytes_from_string(prefix), shell->arena));
    request.limit = 1;
    ProtobufCMessage *message;
    struct client_error *error =
        shell_call(shell, CLIENT_RANGE, &request.base, SHELL_BOUNDED, NULL, &message);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    if (((const Etcdserverpb__RangeResponse *)message)->n_kvs == 0) return SHELL_OK;
    return shell_fail(shell, SHELL_BAD_INPUT,
                      "prefix \"%s\" has keys. Delete with 'etcdctl del --prefix %s' first", prefix, prefix);
}

static int defragment_all(struct shell *shell, const struct invocation *line)
{
    const struct flag_value *endpoints = flag_find(&line->flags, "endpoints");
    for (size_t i = 0; i < endpoints->list_size; i++) {
        Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
        ProtobufCMessage *message;
        struct client_error *error =
            shell_call(shell, CLIENT_DEFRAGMENT, &request.base, SHELL_PATIENT, endpoints->list[i], &message);
        if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
        shell_print(shell, "Defragmented \"%s\"\n", endpoints->list[i]);
    }
    return SHELL_OK;
}

/* Deletes what was written; compacts and defragments when asked to. */
static int clean_up(struct shell *shell, const struct invocation *line, const char *prefix)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = message_binary(bytes_from_string(prefix));
    request.range_end = message_binary(key_prefix_end(bytes_from_string(prefix), shell->arena));
    ProtobufCMessage *message;
    struct client_error *error =
        shell_call(shell, CLIENT_DELETE_RANGE, &request.base, SHELL_PATIENT, NULL, &message);
    if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
    const Etcdserverpb__DeleteRangeResponse *response = (const Etcdserverpb__DeleteRangeResponse *)message;
    if (flag_bool(&line->flags, "auto-compact")) {
        Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
        compaction.revision = response->header != NULL ? response->header->revision : 0;
        compaction.physical = true;
        error = shell_call(shell, CLIENT_COMPACT, &compaction.base, SHELL_PATIENT, NULL, &message);
        if (error != NULL) return shell_fail_call(shell, SHELL_FAILED, error);
        shell_print(shell, "Compacted with revision %lld\n", (long long)compaction.revision);
    }
    return flag_bool(&line->flags, "auto-defrag") ? defragment_all(shell, line) : SHELL_OK;
}

static bool is_interrupted(void *context)
{
    return ((struct shell *)context)->interrupted != 0;
}

static void show_progress(void *context, double share)
{
    shell_print_error(context, "\r%3d %%", (int)(share * 100));
}

static int run_plan(struct shell *shell, const struct load_plan *plan, struct load_result *result)
{
    struct error *error = load_run(plan, &shell->options, is_interrupted, show_progress, shell, result);
    shell_print_error(shell, "\r      \r");
    if (error == NULL) return SHELL_OK;
    shell_fail(shell, SHELL_BAD_CONNECTION, "%s", error->text);
    error_free(error);
    return SHELL_BAD_CONNECTION;
}

static bool tell_errors(struct shell *shell, const struct load_result *result)
{
    if (result->error_count == 0) return true;
    shell_print(shell, "FAIL: too many errors\n");
    for (size_t i = 0; i < result->error_count; i++)
        shell_print(shell, "FAIL: ERROR(%s) -> %llu\n", result->errors[i].text,
                    (unsigned long long)result->errors[i].count);
    return false;
}

/* ---- perf ---- */

static bool tell_performance(struct shell *shell, const struct model *model, const struct load_result *result)
{
    const double least_share = 0.9, slowest = 0.5, deviation = 0.1;
    bool good = tell_errors(shell, result);
    double rate = result->seconds > 0 ? (double)result->answered / result->seconds : 0;
    bool fast = rate / (double)model->writes > least_share;
    shell_print(shell, fast ? "PASS: Throughput is %d writes/s\n" : "FAIL: Throughput too low: %d writes/s\n",
                (int)rate);
    shell_print(shell,
                result->slowest > slowest ? "Slowest request took too long: %fs\n"
                                          : "PASS: Slowest request took %fs\n",
                result->slowest);
    shell_print(shell, result->deviation > deviation ? "Stddev too high: %fs\n" : "PASS: Stddev is %fs\n",
                result->deviation);
    good = good && fast && result->slowest <= slowest && result->deviation <= deviation;
    shell_print(shell, good ? "PASS\n" : "FAIL\n");
    return good;
}

/* The load that was asked for, and a connection to a cluster that holds nothing under its prefix. */
static int begin(struct shell *shell, const struct invocation *line, const struct model *models,
                 const struct model **model)
{
    const char *name = flag_string(&line->flags, "load");
    *model = find_model(models, name);
    if (*model == NULL) return shell_fail(shell, SHELL_BAD_FEATURE, "unknown load option %s", name);
    int status = shell_open(shell, line);
    return status == SHELL_OK ? refuse_used_prefix(shell, flag_string(&line->flags, "prefix")) : status;
}

static int run_perf(struct shell *shell, const struct invocation *line)
{
    const char *prefix = flag_string(&line->flags, "prefix");
    const struct model *model;
    int status = begin(shell, line, perf_models, &model);
    if (status != SHELL_OK) return status;
    const struct load_plan plan = {
        .prefix = prefix,
        .puts = model->writes * PERF_SECONDS,
        .rate = model->writes,
        .clients = model->clients,
        .key_size = 256,
        .value_size = 1024,
        .duration = PERF_SECONDS * SECOND,
    };
    struct load_result result;
    status = run_plan(shell, &plan, &result);
    if (status != SHELL_OK) return status;
    status = clean_up(shell, line, prefix);
    bool good = tell_performance(shell, model, &result);
    load_result_deinit(&result);
    return status == SHELL_OK && !good ? SHELL_FAILED : status;
}

/* ---- datascale ---- */

static int read_memory(struct shell *shell, double *bytes)
{
    struct error *error =
        load_read_metric(&shell->options, "process_resident_memory_bytes", shell->command_timeout, bytes);
    if (error == NULL) return SHELL_OK;
    shell_fail(shell, SHELL_FAILED, "%s", error->text);
    error_free(error);
    return SHELL_FAILED;
}

static int measure(struct shell *shell, const struct invocation *line, const struct load_plan *plan)
{
    double before = 0, after = 0;
    struct load_result result = {.answered = 0};
    int status = read_memory(shell, &before);
    if (status != SHELL_OK) return status;
    shell_print(
        shell,
        "Start data scale check for work load [%llu key-value pairs, %zu bytes per key-value, %zu concurrent "
        "clients].\n",
        (unsigned long long)plan->puts, plan->key_size + plan->value_size, plan->clients);
    status = run_plan(shell, plan, &result);
    if (status == SHELL_OK) status = read_memory(shell, &after);
    int cleaned = clean_up(shell, line, plan->prefix);
    if (status == SHELL_OK) status = cleaned;
    if (status == SHELL_OK && !tell_errors(shell, &result)) status = SHELL_FAILED;
    if (status == SHELL_OK)
        shell_print(shell, "PASS: Approximate system memory used : %.2f MB.\n",
                    (after - before) / (1024 * 1024));
    load_result_deinit(&result);
    return status;
}

static int run_data_scale(struct shell *shell, const struct invocation *line)
{
    const char *prefix = flag_string(&line->flags, "prefix");
    const struct model *model;
    int status = begin(shell, line, data_scale_models, &model);
    if (status != SHELL_OK) return status;
    const struct load_plan plan = {
        .prefix = prefix,
        .puts = model->writes,
        .clients = model->clients,
        .key_size = 512,
        .value_size = 512,
    };
    return measure(shell, line, &plan);
}

static const struct command check_perf = {.name = "perf",
                                          .usage = "[options]",
                                          .summary = "Check the performance of the etcd cluster",
                                          .flags = perf_flags,
                                          .run = run_perf};
static const struct command check_data_scale = {
    .name = "datascale",
    .usage = "[options]",
    .summary = "Check the memory usage of holding data for different workloads on a given server endpoint.",
    .description = "The first endpoint's memory is looked at, as its metrics tell it.",
    .flags = data_scale_flags,
    .run = run_data_scale};
static const struct command *const check_children[] = {&check_data_scale, &check_perf, NULL};

const struct command command_check = {
    .name = "check",
    .usage = "<subcommand>",
    .summary = "commands for checking properties of the etcd cluster",
    .children = check_children,
};
