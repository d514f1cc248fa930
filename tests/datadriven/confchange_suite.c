/* The confchange files: configuration changes alone, without a cluster. */
#include "suites.h"

#include "base/memory.h"
#include "raft/confchange.h"
#include "raft/message.h"

#include <stdlib.h>

enum { MAX_INFLIGHT = 10 };

struct confchange_state {
    struct raft_members members;
    uint64_t last_index; /* grows with every directive */
};

static void *state_new(void)
{
    struct confchange_state *state = mem_zalloc(1, sizeof(*state));
    raft_members_init(&state->members, MAX_INFLIGHT, 0);
    return state;
}

static void state_free(void *context)
{
    struct confchange_state *state = context;
    raft_members_deinit(&state->members);
    free(state);
}

bool suite_parse_bool(const char *text)
{
    return strcmp(text, "1") == 0 || strcasecmp(text, "t") == 0 || strcasecmp(text, "true") == 0;
}

uint64_t suite_parse_number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static struct error *parse_change(const char *token, struct raft_conf_change_single *single)
{
    static const char letters[] = {
        [RAFT_CONF_CHANGE_ADD_NODE] = 'v',
        [RAFT_CONF_CHANGE_REMOVE_NODE] = 'r',
        [RAFT_CONF_CHANGE_UPDATE_NODE] = 'u',
        [RAFT_CONF_CHANGE_ADD_LEARNER_NODE] = 'l',
    };
    if (strlen(token) < 2) return error_new(ERROR_INVALID, "unknown token %s", token);
    const char *letter = memchr(letters, token[0], sizeof(letters));
    if (letter == NULL) return error_new(ERROR_INVALID, "unknown input: %s", token);
    single->type = (enum raft_conf_change_type)(letter - letters);
    single->node_id = suite_parse_number(token + 1);
    return NULL;
}

struct error *suite_parse_changes(const char *text, struct raft_conf_change_v2 *change)
{
    char *copy = mem_strdup(text);
    char *rest = copy;
    struct error *error = NULL;
    for (char *token; error == NULL && (token = strsep(&rest, " \n")) != NULL;) {
        if (*token == 0) continue;
        change->changes = mem_realloc(change->changes, (change->count + 1) * sizeof(*change->changes));
        error = parse_change(token, &change->changes[change->count]);
        if (error == NULL) change->count++;
    }
    free(copy);
    return error;
}

static struct error *run(struct confchange_state *state, const struct datadriven_directive *directive,
                         const struct raft_conf_change_v2 *change, struct raft_members *next)
{
    if (strcmp(directive->command, "simple") == 0) {
        return raft_confchange_simple(&state->members, state->last_index, change->changes, change->count,
                                      next);
    }
    if (strcmp(directive->command, "enter-joint") == 0) {
        const struct datadriven_argument *argument = datadriven_argument(directive, "autoleave");
        bool auto_leave = argument != NULL && suite_parse_bool(datadriven_value(argument));
        return raft_confchange_enter_joint(&state->members, state->last_index, auto_leave, change->changes,
                                           change->count, next);
    }
    if (strcmp(directive->command, "leave-joint") == 0) {
        if (change->count > 0) return error_new(ERROR_INVALID, "this command takes no input");
        return raft_confchange_leave_joint(&state->members, next);
    }
    return error_new(ERROR_INVALID, "unknown command");
}

static void print(const struct raft_members *members, struct buf *output)
{
    raft_describe_config(output, &members->config);
    buf_append_byte(output, '\n');
    for (size_t i = 0; i < members->count; i++) {
        struct raft_progress_status status = raft_progress_status_of(&members->items[i]);
        buf_printf(output, "%llu: ", (unsigned long long)status.id);
        raft_describe_progress(output, &status);
        buf_append_byte(output, '\n');
    }
}

static void handle(void *context, const struct datadriven_directive *directive, struct buf *output)
{
    struct confchange_state *state = context;
    struct raft_conf_change_v2 change = {0};
    struct raft_members next = {0};
    struct error *error = suite_parse_changes(directive->input, &change);
    if (error == NULL) error = run(state, directive, &change, &next);
    if (error == NULL) {
        raft_members_deinit(&state->members);
        state->members = next;
        print(&state->members, output);
    } else {
        buf_append_string(output, error->text);
        error_free(error);
        raft_members_deinit(&next);
    }
    raft_conf_change_v2_deinit(&change);
    state->last_index++;
}

const struct suite suite_confchange = {
    .name = "confchange",
    .state_new = state_new,
    .state_free = state_free,
    .handle = handle,
};
