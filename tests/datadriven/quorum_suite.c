/* The quorum files: what a majority, or two of them, have agreed on. */
#include "suites.h"

#include "raft/note.h"
#include "raft/quorum.h"

#include <assert.h>

enum { IDS_MAX = 64 };

/* What is known about each id. */
struct poll {
    struct raft_ids ids; /* in the order written, each once */
    bool known[IDS_MAX];
    uint64_t value[IDS_MAX];
};

static size_t position_of(const struct raft_ids *ids, uint64_t id)
{
    size_t position = 0;
    while (position < ids->count && ids->items[position] != id) position++;
    return position;
}

static uint64_t acked(const void *context, uint64_t id)
{
    const struct poll *poll = context;
    size_t position = position_of(&poll->ids, id);
    return poll->known[position] ? poll->value[position] : 0;
}

static enum raft_vote vote_of(const void *context, uint64_t id)
{
    const struct poll *poll = context;
    size_t position = position_of(&poll->ids, id);
    if (!poll->known[position]) return RAFT_VOTE_MISSING;
    return poll->value[position] == 0 ? RAFT_VOTE_NO : RAFT_VOTE_YES;
}

static void read_ids(const struct datadriven_directive *directive, const char *key, struct raft_ids *voters,
                     struct poll *poll)
{
    const struct datadriven_argument *argument = datadriven_argument(directive, key);
    if (argument == NULL || strcmp(datadriven_value(argument), "zero") == 0) return;
    for (size_t i = 0; i < argument->count; i++) {
        uint64_t id = suite_parse_number(argument->values[i]);
        raft_ids_insert(voters, id);
        if (position_of(&poll->ids, id) == poll->ids.count) raft_ids_append(&poll->ids, id);
        assert(poll->ids.count <= IDS_MAX);
    }
}

/* idx=(5, _, 7) or votes=(y, n, _), for the ids in the order written. */
static void read_values(const struct datadriven_directive *directive, const char *key, struct poll *poll)
{
    const struct datadriven_argument *argument = datadriven_argument(directive, key);
    if (argument == NULL) return;
    for (size_t i = 0; i < argument->count && i < poll->ids.count; i++) {
        const char *text = argument->values[i];
        poll->known[i] = strcmp(text, "_") != 0;
        poll->value[i] = *text == 'y' ? 1 : *text == 'n' ? 0 : suite_parse_number(text);
    }
}

/* ---- The drawing of a commit ---- */

/* How far the bar of an id reaches: the number of ids that are clearly behind it. */
static size_t bar_of(const struct poll *poll, uint64_t id)
{
    size_t bar = 0;
    for (size_t i = 0; i < poll->ids.count; i++) bar += acked(poll, poll->ids.items[i]) < acked(poll, id);
    return bar;
}

static void describe(const struct poll *poll, struct buf *output)
{
    size_t count = poll->ids.count;
    if (count == 0) {
        buf_append_string(output, "<empty majority quorum>");
        return;
    }
    buf_printf(output, "%*s    idx\n", (int)count, "");
    struct raft_ids sorted = {0};
    raft_ids_copy(&sorted, &poll->ids);
    raft_ids_sort(&sorted);
    for (size_t i = 0; i < count; i++) {
        uint64_t id = sorted.items[i];
        if (!poll->known[position_of(&poll->ids, id)]) {
            buf_printf(output, "?%*s", (int)count, "");
        } else {
            size_t bar = bar_of(poll, id);
            for (size_t j = 0; j < bar; j++) buf_append_byte(output, 'x');
            buf_printf(output, ">%*s", (int)(count - bar), "");
        }
        buf_printf(output, " %5" PRIu64 "    (id=" HEX ")\n", acked(poll, id), id);
    }
    raft_ids_deinit(&sorted);
}

/* ---- What must not depend on how a quorum is written ---- */

static void swap_halves(struct raft_conf_state *config)
{
    struct raft_ids half = config->voters;
    config->voters = config->voters_outgoing;
    config->voters_outgoing = half;
}

static void check_committed(const struct poll *poll, struct raft_conf_state *config, uint64_t committed,
                            struct buf *output)
{
    swap_halves(config);
    if (raft_joint_committed(config, acked, poll) != committed)
        buf_append_string(output, "depends on the order\n");
    swap_halves(config);
    if (config->voters_outgoing.count == 0) {
        raft_ids_copy(&config->voters_outgoing, &config->voters);
        if (raft_joint_committed(config, acked, poll) != committed)
            buf_append_string(output, "differs when joined\n");
        config->voters_outgoing.count = 0;
    }
    /* Lowering an index that is below the result changes nothing. */
    struct poll lowered = *poll;
    for (size_t i = 0; i < poll->ids.count; i++) {
        if (!poll->known[i] || poll->value[i] >= committed) continue;
        for (uint64_t value = poll->value[i] - 1;; value = 0) {
            lowered.value[i] = value;
            if (raft_joint_committed(config, acked, &lowered) != committed) {
                buf_append_string(output, "depends on an index below\n");
            }
            if (value == 0) break;
        }
        lowered.value[i] = poll->value[i];
    }
}

static void check_vote(const struct poll *poll, struct raft_conf_state *config, enum raft_vote_result result,
                       struct buf *output)
{
    swap_halves(config);
    if (raft_joint_vote(config, vote_of, poll) != result) buf_append_string(output, "depends on the order\n");
    swap_halves(config);
    if (config->voters_outgoing.count > 0) return;
    raft_ids_copy(&config->voters_outgoing, &config->voters);
    if (raft_joint_vote(config, vote_of, poll) != result) buf_append_string(output, "differs when joined\n");
    config->voters_outgoing.count = 0;
}

static void committed(const struct poll *poll, struct raft_conf_state *config, struct buf *output)
{
    describe(poll, output);
    uint64_t index = raft_joint_committed(config, acked, poll);
    check_committed(poll, config, index, output);
    if (index == UINT64_MAX) {
        buf_append_string(output, "∞\n");
    } else {
        buf_printf(output, DEC "\n", index);
    }
}

static void vote(const struct poll *poll, struct raft_conf_state *config, struct buf *output)
{
    static const char *const names[] = {"VotePending", "VoteLost", "VoteWon"};
    enum raft_vote_result result = raft_joint_vote(config, vote_of, poll);
    check_vote(poll, config, result, output);
    buf_printf(output, "%s\n", names[result]);
}

static void handle(void *state, const struct datadriven_directive *directive, struct buf *output)
{
    (void)state;
    struct poll poll = {0};
    struct raft_conf_state config = {0};
    read_ids(directive, "cfg", &config.voters, &poll);
    read_ids(directive, "cfgj", &config.voters_outgoing, &poll);
    read_values(directive, "idx", &poll);
    read_values(directive, "votes", &poll);
    if (strcmp(directive->command, "committed") == 0) {
        committed(&poll, &config, output);
    } else if (strcmp(directive->command, "vote") == 0) {
        vote(&poll, &config, output);
    } else {
        buf_append_string(output, "unknown command");
    }
    raft_ids_deinit(&poll.ids);
    raft_conf_state_deinit(&config);
}

static void *state_new(void)
{
    return NULL;
}

static void state_free(void *state)
{
    (void)state;
}

const struct suite suite_quorum = {
    .name = "quorum",
    .state_new = state_new,
    .state_free = state_free,
    .handle = handle,
};
