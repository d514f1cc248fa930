/* The interaction files: whole clusters, step by step. One function per command. */
#include "suites.h"

#include "base/memory.h"
#include "environment.h"
#include "raft/codec.h"
#include "raft/message.h"
#include "raft/note.h"

#include <stdlib.h>

enum { ELECTION_TICK = 3, HEARTBEAT_TICK = 1, NODES_MAX = 64 };

typedef struct error *command_function(struct environment *environment,
                                       const struct datadriven_directive *directive);

/* ---- Arguments ---- */

/* Bare arguments are node ids, in the order written. */
static size_t ids_of(const struct datadriven_directive *directive, uint64_t *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < directive->count && count < NODES_MAX; i++) {
        if (directive->arguments[i].count == 0)
            ids[count++] = suite_parse_number(directive->arguments[i].key);
    }
    return count;
}

static struct error *node_at(struct environment *environment, const struct datadriven_directive *directive,
                             size_t position, struct environment_node **node)
{
    uint64_t ids[NODES_MAX];
    size_t count = ids_of(directive, ids);
    *node = position < count ? environment_node(environment, ids[position]) : NULL;
    return *node == NULL ? error_new(ERROR_INVALID, "no such node") : NULL;
}

static struct error *first_node(struct environment *environment, const struct datadriven_directive *directive,
                                struct environment_node **node)
{
    return node_at(environment, directive, 0, node);
}

static uint64_t number_argument(const struct datadriven_directive *directive, const char *key)
{
    const struct datadriven_argument *argument = datadriven_argument(directive, key);
    return argument == NULL ? 0 : suite_parse_number(datadriven_value(argument));
}

static bool bool_argument(const struct datadriven_directive *directive, const char *key)
{
    const struct datadriven_argument *argument = datadriven_argument(directive, key);
    return argument != NULL && suite_parse_bool(datadriven_value(argument));
}

static const char *text_argument(const struct datadriven_directive *directive, const char *key)
{
    const struct datadriven_argument *argument = datadriven_argument(directive, key);
    return argument == NULL ? "" : datadriven_value(argument);
}

static void ids_argument(const struct datadriven_directive *directive, const char *key, struct raft_ids *ids)
{
    const struct datadriven_argument *argument = datadriven_argument(directive, key);
    if (argument == NULL) return;
    for (size_t i = 0; i < argument->count; i++)
        raft_ids_append(ids, suite_parse_number(argument->values[i]));
}

static struct error *error_of(enum raft_result result)
{
    return result == RAFT_OK ? NULL : error_new(ERROR_OTHER, "%s", raft_result_text(result));
}

/* ---- Nodes ---- */

static struct error *add_nodes(struct environment *environment, const struct datadriven_directive *directive)
{
    struct raft_config config = {
        .election_tick = ELECTION_TICK,
        .heartbeat_tick = HEARTBEAT_TICK,
        .max_size_per_message = RAFT_NO_LIMIT,
        .max_inflight_messages = INT32_MAX,
        .applied = number_argument(directive, "index"),
        .async_storage_writes = bool_argument(directive, "async-storage-writes"),
        .pre_vote = bool_argument(directive, "prevote"),
        .check_quorum = bool_argument(directive, "checkquorum"),
        .max_committed_size_per_ready = number_argument(directive, "max-committed-size-per-ready"),
        .disable_conf_change_validation = bool_argument(directive, "disable-conf-change-validation"),
        .step_down_on_removal = bool_argument(directive, "step-down-on-removal"),
        .seed = environment->count,
    };
    uint64_t inflight = number_argument(directive, "inflight");
    if (inflight != 0) config.max_inflight_messages = inflight;
    if (strcmp(text_argument(directive, "read-only"), "lease-based") == 0) {
        config.read_only_option = RAFT_READ_ONLY_LEASE_BASED;
    }
    struct raft_snapshot snapshot = {.index = config.applied};
    ids_argument(directive, "voters", &snapshot.conf_state.voters);
    ids_argument(directive, "learners", &snapshot.conf_state.learners);
    struct error *error = NULL;
    if (datadriven_argument(directive, "index") != NULL || datadriven_argument(directive, "voters") != NULL ||
        datadriven_argument(directive, "learners") != NULL) {
        snapshot.term = 1;
        if (snapshot.index <= 1) {
            error = error_new(ERROR_INVALID, "index must be specified as > 1 due to bootstrap");
        }
    }
    uint64_t count = directive->count > 0 ? suite_parse_number(directive->arguments[0].key) : 0;
    for (uint64_t i = 0; i < count && error == NULL; i++)
        error = environment_add_node(environment, &config, &snapshot);
    raft_snapshot_deinit(&snapshot);
    return error;
}

static void print_log(struct environment *environment, struct environment_node *node)
{
    const struct raft_memory_storage *memory = &node->memory;
    if (memory->entries.count == 0) {
        environment_print(environment, "log is empty: first index=" DEC ", last index=" DEC,
                          raft_memory_storage_first_index(memory), raft_memory_storage_last_index(memory));
        return;
    }
    struct buf text = {0};
    for (size_t i = 0; i < memory->entries.count; i++) {
        raft_describe_entry(&text, &memory->entries.items[i]);
        buf_append_byte(&text, '\n');
    }
    environment_print(environment, "%s", buf_string(&text));
    buf_deinit(&text);
}

static struct error *raft_log_command(struct environment *environment,
                                      const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    print_log(environment, node);
    return NULL;
}

static struct error *compact(struct environment *environment, const struct datadriven_directive *directive)
{
    struct environment_node *node;
    uint64_t arguments[NODES_MAX];
    TRY(first_node(environment, directive, &node));
    if (ids_of(directive, arguments) != 2)
        return error_new(ERROR_INVALID, "compact takes a node and an index");
    TRY(error_of(raft_memory_storage_compact(&node->memory, arguments[1])));
    print_log(environment, node);
    return NULL;
}

static struct error *raft_state(struct environment *environment, const struct datadriven_directive *directive)
{
    (void)directive;
    for (size_t i = 0; i < environment->count; i++) {
        struct environment_node *node = environment->nodes[i];
        struct raft_status status = raft_status(node->raft);
        bool voter = false;
        for (size_t j = 0; j < raft_progress_count(node->raft); j++) {
            struct raft_progress_status progress = raft_progress_at(node->raft, j);
            voter = voter || (progress.id == node->id && progress.voter);
        }
        environment_print(environment, DEC ": %s (%s) Term:" DEC " Lead:" DEC "\n", node->id,
                          raft_role_name(status.soft_state.role), voter ? "Voter" : "Non-Voter",
                          status.hard_state.term, status.soft_state.lead);
    }
    return NULL;
}

static struct error *status(struct environment *environment, const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    if (raft_status(node->raft).soft_state.role != RAFT_LEADER) return NULL;
    for (size_t i = 0; i < raft_progress_count(node->raft); i++) {
        struct raft_progress_status progress = raft_progress_at(node->raft, i);
        struct buf text = {0};
        raft_describe_progress(&text, &progress);
        environment_print(environment, DEC ": %s\n", progress.id, buf_string(&text));
        buf_deinit(&text);
    }
    return NULL;
}

/* ---- Time and calls ---- */

static struct error *tick(struct environment *environment, const struct datadriven_directive *directive,
                          int ticks)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    for (int i = 0; i < ticks; i++) raft_tick(node->raft);
    return NULL;
}

static struct error *tick_election(struct environment *environment,
                                   const struct datadriven_directive *directive)
{
    return tick(environment, directive, ELECTION_TICK);
}

static struct error *tick_heartbeat(struct environment *environment,
                                    const struct datadriven_directive *directive)
{
    return tick(environment, directive, HEARTBEAT_TICK);
}

static struct error *set_timeout(struct environment *environment,
                                 const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    raft_set_randomized_election_timeout(node->raft, (uint32_t)number_argument(directive, "timeout"));
    return NULL;
}

static struct error *campaign(struct environment *environment, const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    return error_of(raft_campaign(node->raft));
}

static struct error *forget_leader(struct environment *environment,
                                   const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    return error_of(raft_forget_leader(node->raft));
}

static struct error *transfer_leadership(struct environment *environment,
                                         const struct datadriven_directive *directive)
{
    struct environment_node *node = environment_node(environment, number_argument(directive, "from"));
    if (node == NULL) return error_new(ERROR_INVALID, "no such node");
    raft_transfer_leader(node->raft, number_argument(directive, "to"));
    return NULL;
}

static struct error *report_unreachable(struct environment *environment,
                                        const struct datadriven_directive *directive)
{
    uint64_t ids[NODES_MAX];
    if (ids_of(directive, ids) != 2) {
        return error_new(ERROR_INVALID,
                         "must specify exactly two node indexes: node on which to report, and reported "
                         "node");
    }
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    raft_report_unreachable(node->raft, ids[1]);
    return NULL;
}

static struct error *propose(struct environment *environment, const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    if (directive->count != 2) return error_new(ERROR_INVALID, "propose takes a node and data");
    struct blob *data = blob_from(bytes_from_string(directive->arguments[1].key));
    enum raft_result result = raft_propose(node->raft, &data, 1);
    blob_unref(data);
    return error_of(result);
}

static enum raft_conf_change_transition transition_of(const char *name)
{
    if (strcmp(name, "implicit") == 0) return RAFT_TRANSITION_JOINT_IMPLICIT;
    if (strcmp(name, "explicit") == 0) return RAFT_TRANSITION_JOINT_EXPLICIT;
    return RAFT_TRANSITION_AUTO;
}

static struct error *propose_change(struct environment_node *node, const struct raft_conf_change_v2 *change,
                                    bool v1)
{
    if (!v1) return error_of(raft_propose_conf_change_v2(node->raft, change));
    if (change->count > 1 || change->transition != RAFT_TRANSITION_AUTO) {
        return error_new(ERROR_INVALID, "v1 conf change can only have one operation and no transition");
    }
    struct raft_conf_change single = {.type = change->changes[0].type, .node_id = change->changes[0].node_id};
    return error_of(raft_propose_conf_change(node->raft, &single));
}

static struct error *propose_conf_change(struct environment *environment,
                                         const struct datadriven_directive *directive)
{
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    struct raft_conf_change_v2 change = {.transition = transition_of(text_argument(directive, "transition"))};
    struct error *error = suite_parse_changes(directive->input, &change);
    if (error == NULL) error = propose_change(node, &change, bool_argument(directive, "v1"));
    raft_conf_change_v2_deinit(&change);
    return error;
}

/* ---- Messages and work ---- */

static enum raft_message_type type_argument(const struct datadriven_directive *directive)
{
    const char *name = text_argument(directive, "type");
    enum raft_message_type type = 0;
    while (type < RAFT_MESSAGE_TYPES && strcmp(raft_message_type_name(type), name) != 0) type++;
    return type;
}

static struct error *deliver_messages(struct environment *environment,
                                      const struct datadriven_directive *directive)
{
    enum raft_message_type type = type_argument(directive);
    size_t count = 0;
    for (size_t i = 0; i < directive->count; i++) {
        const struct datadriven_argument *argument = &directive->arguments[i];
        if (argument->count == 0) {
            count += environment_deliver(environment, suite_parse_number(argument->key), type, false);
        } else if (strcmp(argument->key, "drop") == 0) {
            for (size_t j = 0; j < argument->count; j++) {
                count +=
                    environment_deliver(environment, suite_parse_number(argument->values[j]), type, true);
            }
        }
    }
    if (count == 0) environment_print(environment, "no messages\n");
    return NULL;
}

static struct error *send_snapshot(struct environment *environment,
                                   const struct datadriven_directive *directive)
{
    uint64_t ids[NODES_MAX];
    struct environment_node *node;
    TRY(first_node(environment, directive, &node));
    if (ids_of(directive, ids) != 2) return error_new(ERROR_INVALID, "send-snapshot takes two nodes");
    struct raft_message message = {
        .type = RAFT_SNAP,
        .from = ids[0],
        .to = ids[1],
        .term = raft_status(node->raft).hard_state.term,
        .snapshot = mem_zalloc(1, sizeof(*message.snapshot)),
    };
    raft_snapshot_copy(message.snapshot, &node->history[node->history_count - 1]);
    environment_print_message(environment, &message);
    raft_messages_append(&environment->in_flight, message);
    return NULL;
}

/* For one node plainly; for more, each under a title. */
static struct error *for_each_node(struct environment *environment,
                                   const struct datadriven_directive *directive, const char *title,
                                   struct error *(*process)(struct environment_node *node))
{
    uint64_t ids[NODES_MAX];
    size_t count = ids_of(directive, ids);
    struct error *error = NULL;
    for (size_t i = 0; i < count && error == NULL; i++) {
        struct environment_node *node;
        TRY(node_at(environment, directive, i, &node));
        if (count == 1) return process(node);
        environment_print(environment, "> " DEC " %s\n", ids[i], title);
        struct buf outer = environment_indent_begin(environment);
        error = process(node);
        environment_indent_end(environment, outer);
    }
    return error;
}

static struct error *process_ready(struct environment *environment,
                                   const struct datadriven_directive *directive)
{
    return for_each_node(environment, directive, "handling Ready", environment_process_ready);
}

static struct error *process_append(struct environment *environment,
                                    const struct datadriven_directive *directive)
{
    return for_each_node(environment, directive, "processing append thread", environment_process_append);
}

static struct error *process_apply(struct environment *environment,
                                   const struct datadriven_directive *directive)
{
    return for_each_node(environment, directive, "processing apply thread", environment_process_apply);
}

static struct error *parse_level(const char *name, enum log_level *level)
{
    for (int i = LOG_DEBUG; i <= LOG_NONE; i++) {
        if (strcasecmp(name, log_level_name((enum log_level)i)) != 0) continue;
        *level = (enum log_level)i;
        return NULL;
    }
    return error_new(ERROR_INVALID, "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
}

static struct error *log_level_command(struct environment *environment,
                                       const struct datadriven_directive *directive)
{
    const char *name = directive->count > 0 ? directive->arguments[0].key : "";
    return parse_level(name, &environment->logger.level);
}

static struct error *stabilize(struct environment *environment, const struct datadriven_directive *directive)
{
    uint64_t ids[NODES_MAX];
    struct environment_node *nodes[NODES_MAX];
    size_t count = ids_of(directive, ids);
    for (size_t i = 0; i < count; i++) TRY(node_at(environment, directive, i, &nodes[i]));
    if (count == 0) {
        for (; count < environment->count && count < NODES_MAX; count++)
            nodes[count] = environment->nodes[count];
    }
    enum log_level level = environment->logger.level;
    const char *name = text_argument(directive, "log-level");
    if (*name != 0) TRY(parse_level(name, &environment->logger.level));
    struct error *error = environment_stabilize(nodes, count);
    environment->logger.level = level;
    return error;
}

static struct error *breakpoint(struct environment *environment, const struct datadriven_directive *directive)
{
    (void)environment;
    (void)directive;
    return NULL;
}

static const struct {
    const char *name;
    command_function *function;
} commands[] = {
    {"_breakpoint", breakpoint},
    {"add-nodes", add_nodes},
    {"campaign", campaign},
    {"compact", compact},
    {"deliver-msgs", deliver_messages},
    {"forget-leader", forget_leader},
    {"log-level", log_level_command},
    {"process-append-thread", process_append},
    {"process-apply-thread", process_apply},
    {"process-ready", process_ready},
    {"propose", propose},
    {"propose-conf-change", propose_conf_change},
    {"raft-log", raft_log_command},
    {"raft-state", raft_state},
    {"report-unreachable", report_unreachable},
    {"send-snapshot", send_snapshot},
    {"set-randomized-election-timeout", set_timeout},
    {"stabilize", stabilize},
    {"status", status},
    {"tick-election", tick_election},
    {"tick-heartbeat", tick_heartbeat},
    {"transfer-leadership", transfer_leadership},
};

static struct error *run(struct environment *environment, const struct datadriven_directive *directive)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, directive->command) == 0)
            return commands[i].function(environment, directive);
    }
    return error_new(ERROR_INVALID, "unknown command");
}

static void handle(void *state, const struct datadriven_directive *directive, struct buf *output)
{
    struct environment *environment = state;
    buf_clear(&environment->output);
    struct error *error = run(environment, directive);
    if (error != NULL && environment->logger.level == LOG_NONE) buf_clear(&environment->output);
    buf_append_bytes(output, buf_bytes(&environment->output));
    if (error != NULL) buf_append_string(output, error->text);
    error_free(error);
    if (output->size == 0) buf_append_string(output, "ok");
}

static void *state_new(void)
{
    struct environment *environment = mem_alloc(sizeof(*environment));
    environment_init(environment);
    return environment;
}

static void state_free(void *state)
{
    environment_deinit(state);
    free(state);
}

const struct suite suite_interaction = {
    .name = "interaction",
    .state_new = state_new,
    .state_free = state_free,
    .handle = handle,
};
