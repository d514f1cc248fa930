#include "raft/confchange.h"

#include "base/memory.h"
#include "raft/note.h"

#include <assert.h>
#include <stdlib.h>

bool raft_confchange_enters_joint(const struct raft_conf_change_v2 *change, bool *auto_leave)
{
    *auto_leave = change->transition != RAFT_TRANSITION_JOINT_EXPLICIT;
    return change->transition != RAFT_TRANSITION_AUTO || change->count > 1;
}

bool raft_confchange_leaves_joint(const struct raft_conf_change_v2 *change)
{
    return change->transition == RAFT_TRANSITION_AUTO && change->count == 0;
}

/* ---- Invariants ---- */

static struct error *check_has_progress(const struct raft_members *members, const struct raft_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (raft_members_find(members, ids->items[i]) == NULL) {
            return error_new(ERROR_INVALID, "no progress for " DEC, ids->items[i]);
        }
    }
    return NULL;
}

static struct error *check_learners_next(const struct raft_members *members)
{
    const struct raft_ids *ids = &members->config.learners_next;
    for (size_t i = 0; i < ids->count; i++) {
        uint64_t id = ids->items[i];
        if (!raft_ids_contain(&members->config.voters_outgoing, id)) {
            return error_new(ERROR_INVALID, DEC " is in LearnersNext, but not Voters[1]", id);
        }
        if (raft_members_find(members, id)->is_learner) {
            return error_new(ERROR_INVALID, DEC " is in LearnersNext, but is already marked as learner", id);
        }
    }
    return NULL;
}

static struct error *check_learners(const struct raft_members *members)
{
    const struct raft_ids *ids = &members->config.learners;
    for (size_t i = 0; i < ids->count; i++) {
        uint64_t id = ids->items[i];
        if (raft_ids_contain(&members->config.voters_outgoing, id)) {
            return error_new(ERROR_INVALID, DEC " is in Learners and Voters[1]", id);
        }
        if (raft_ids_contain(&members->config.voters, id)) {
            return error_new(ERROR_INVALID, DEC " is in Learners and Voters[0]", id);
        }
        if (!raft_members_find(members, id)->is_learner) {
            return error_new(ERROR_INVALID, DEC " is in Learners, but is not marked as learner", id);
        }
    }
    return NULL;
}

static struct error *check_invariants(const struct raft_members *members)
{
    const struct raft_conf_state *config = &members->config;
    if (members->count > RAFT_MEMBERS_MAX) {
        return error_new(ERROR_LIMIT, "more than %d members in a configuration", RAFT_MEMBERS_MAX);
    }
    TRY(check_has_progress(members, &config->voters));
    TRY(check_has_progress(members, &config->voters_outgoing));
    TRY(check_has_progress(members, &config->learners));
    TRY(check_has_progress(members, &config->learners_next));
    TRY(check_learners_next(members));
    TRY(check_learners(members));
    if (raft_members_is_joint(members)) return NULL;
    if (config->learners_next.count > 0)
        return error_new(ERROR_INVALID, "LearnersNext must be nil when not joint");
    if (config->auto_leave) return error_new(ERROR_INVALID, "AutoLeave must be false when not joint");
    return NULL;
}

static struct error *copy_checked(const struct raft_members *members, struct raft_members *next)
{
    TRY(check_invariants(members));
    raft_members_copy(next, members);
    return NULL;
}

/* ---- Single changes ---- */

static void add_new(struct raft_members *members, uint64_t id, bool is_learner, uint64_t last_index)
{
    raft_ids_insert(is_learner ? &members->config.learners : &members->config.voters, id);
    struct raft_progress *progress = raft_members_add(members, id);
    progress->is_learner = is_learner;
    /* The first probe, at the last index, finds out what the new member has; a member that has nothing
     * rejects it and is brought up from there. */
    progress->next = last_index > 1 ? last_index : 1;
    /* It counts as active until the next quorum check: otherwise a leader could lose its quorum by adding a
     * member that has had no time to answer. */
    progress->recent_active = true;
}

static void make_voter(struct raft_members *members, uint64_t id, uint64_t last_index)
{
    struct raft_progress *progress = raft_members_find(members, id);
    if (progress == NULL) {
        add_new(members, id, false, last_index);
        return;
    }
    progress->is_learner = false;
    raft_ids_remove(&members->config.learners, id);
    raft_ids_remove(&members->config.learners_next, id);
    raft_ids_insert(&members->config.voters, id);
}

static void take_off_lists(struct raft_conf_state *config, uint64_t id)
{
    raft_ids_remove(&config->voters, id);
    raft_ids_remove(&config->learners, id);
    raft_ids_remove(&config->learners_next, id);
}

static void make_learner(struct raft_members *members, uint64_t id, uint64_t last_index)
{
    struct raft_progress *progress = raft_members_find(members, id);
    if (progress == NULL) {
        add_new(members, id, true, last_index);
        return;
    }
    if (progress->is_learner) return;
    take_off_lists(&members->config, id);
    /* An outgoing voter still votes in the joint configuration; it becomes a learner when that is left. */
    if (raft_ids_contain(&members->config.voters_outgoing, id)) {
        raft_ids_insert(&members->config.learners_next, id);
    } else {
        progress->is_learner = true;
        raft_ids_insert(&members->config.learners, id);
    }
}

static void remove_member(struct raft_members *members, uint64_t id)
{
    if (raft_members_find(members, id) == NULL) return;
    take_off_lists(&members->config, id);
    if (!raft_ids_contain(&members->config.voters_outgoing, id)) raft_members_remove(members, id);
}

static struct error *apply_changes(struct raft_members *members, uint64_t last_index,
                                   const struct raft_conf_change_single *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t id = changes[i].node_id;
        if (id == RAFT_NONE) continue; /* how the application voids a change it has refused */
        switch (changes[i].type) {
        case RAFT_CONF_CHANGE_ADD_NODE:
            make_voter(members, id, last_index);
            break;
        case RAFT_CONF_CHANGE_ADD_LEARNER_NODE:
            make_learner(members, id, last_index);
            break;
        case RAFT_CONF_CHANGE_REMOVE_NODE:
            remove_member(members, id);
            break;
        case RAFT_CONF_CHANGE_UPDATE_NODE:
            break;
        default:
            return error_new(ERROR_INVALID, "unexpected conf type %d", (int)changes[i].type);
        }
        if (members->count > RAFT_MEMBERS_MAX) break; /* the invariants refuse it */
    }
    return members->config.voters.count == 0 ? error_new(ERROR_INVALID, "removed all voters") : NULL;
}

/* ---- Whole changes ---- */

static size_t count_missing(const struct raft_ids *of, const struct raft_ids *in)
{
    size_t missing = 0;
    for (size_t i = 0; i < of->count; i++) missing += !raft_ids_contain(in, of->items[i]);
    return missing;
}

struct error *raft_confchange_simple(const struct raft_members *members, uint64_t last_index,
                                     const struct raft_conf_change_single *changes, size_t count,
                                     struct raft_members *next)
{
    TRY(copy_checked(members, next));
    if (raft_members_is_joint(next)) {
        return error_new(ERROR_INVALID, "can't apply simple config change in joint config");
    }
    TRY(apply_changes(next, last_index, changes, count));
    /* Any majority of the old voters and any of the new ones overlap only if at most one voter changes
     * (Raft dissertation, 4.1). */
    const struct raft_ids *before = &members->config.voters, *after = &next->config.voters;
    if (count_missing(before, after) + count_missing(after, before) > 1) {
        return error_new(ERROR_INVALID, "more than one voter changed without entering joint config");
    }
    return check_invariants(next);
}

struct error *raft_confchange_enter_joint(const struct raft_members *members, uint64_t last_index,
                                          bool auto_leave, const struct raft_conf_change_single *changes,
                                          size_t count, struct raft_members *next)
{
    TRY(copy_checked(members, next));
    if (raft_members_is_joint(next)) return error_new(ERROR_INVALID, "config is already joint");
    if (next->config.voters.count == 0)
        return error_new(ERROR_INVALID, "can't make a zero-voter config joint");
    raft_ids_copy(&next->config.voters_outgoing, &next->config.voters);
    TRY(apply_changes(next, last_index, changes, count));
    next->config.auto_leave = auto_leave;
    return check_invariants(next);
}

struct error *raft_confchange_leave_joint(const struct raft_members *members, struct raft_members *next)
{
    TRY(copy_checked(members, next));
    if (!raft_members_is_joint(next)) return error_new(ERROR_INVALID, "can't leave a non-joint config");
    struct raft_conf_state *config = &next->config;
    for (size_t i = 0; i < config->learners_next.count; i++) {
        raft_ids_insert(&config->learners, config->learners_next.items[i]);
        raft_members_find(next, config->learners_next.items[i])->is_learner = true;
    }
    config->learners_next.count = 0;
    for (size_t i = 0; i < config->voters_outgoing.count; i++) {
        uint64_t id = config->voters_outgoing.items[i];
        if (!raft_ids_contain(&config->voters, id) && !raft_ids_contain(&config->learners, id)) {
            raft_members_remove(next, id);
        }
    }
    config->voters_outgoing.count = 0;
    config->auto_leave = false;
    return check_invariants(next);
}

struct error *raft_confchange_apply(const struct raft_members *members, uint64_t last_index,
                                    const struct raft_conf_change_v2 *change, struct raft_members *next)
{
    bool auto_leave;
    if (raft_confchange_leaves_joint(change)) return raft_confchange_leave_joint(members, next);
    if (raft_confchange_enters_joint(change, &auto_leave)) {
        return raft_confchange_enter_joint(members, last_index, auto_leave, change->changes, change->count,
                                           next);
    }
    return raft_confchange_simple(members, last_index, change->changes, change->count, next);
}

/* ---- Restoring ---- */

struct change_list {
    struct raft_conf_change_single *items;
    size_t count;
};

static void list_changes(struct change_list *list, enum raft_conf_change_type type,
                         const struct raft_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        list->items[list->count++] = (struct raft_conf_change_single){.type = type, .node_id = ids->items[i]};
    }
}

/* One simple change each; `members` moves from one state to the next. */
static struct error *apply_one_by_one(struct raft_members *members, uint64_t last_index,
                                      const struct change_list *list)
{
    struct error *error = NULL;
    for (size_t i = 0; i < list->count && error == NULL; i++) {
        struct raft_members next = {0};
        error = raft_confchange_simple(members, last_index, &list->items[i], 1, &next);
        struct raft_members old = *members;
        *members = next;
        raft_members_deinit(&old);
    }
    return error;
}

struct error *raft_confchange_restore(const struct raft_members *members, uint64_t last_index,
                                      const struct raft_conf_state *state, struct raft_members *next)
{
    size_t most = state->voters.count + state->learners.count + 2 * state->voters_outgoing.count +
                  state->learners_next.count;
    struct change_list outgoing = {.items = mem_alloc(most * sizeof(*outgoing.items))};
    struct change_list incoming = {.items = mem_alloc(most * sizeof(*incoming.items))};
    list_changes(&outgoing, RAFT_CONF_CHANGE_ADD_NODE, &state->voters_outgoing);
    list_changes(&incoming, RAFT_CONF_CHANGE_REMOVE_NODE, &state->voters_outgoing);
    list_changes(&incoming, RAFT_CONF_CHANGE_ADD_NODE, &state->voters);
    list_changes(&incoming, RAFT_CONF_CHANGE_ADD_LEARNER_NODE, &state->learners);
    list_changes(&incoming, RAFT_CONF_CHANGE_ADD_LEARNER_NODE, &state->learners_next);

    struct raft_members start = {0};
    raft_members_init(&start, members->max_inflight_messages, members->max_inflight_bytes);
    struct error *error = NULL;
    if (outgoing.count == 0) {
        error = apply_one_by_one(&start, last_index, &incoming);
        raft_members_copy(next, &start);
    } else {
        error = apply_one_by_one(&start, last_index, &outgoing);
        if (error == NULL) {
            error = raft_confchange_enter_joint(&start, last_index, state->auto_leave, incoming.items,
                                                incoming.count, next);
        }
    }
    raft_members_deinit(&start);
    free(outgoing.items);
    free(incoming.items);
    if (error == NULL && !raft_conf_state_equivalent(state, &next->config)) {
        error = error_new(ERROR_INVALID, "the stored configuration contradicts itself");
    }
    return error;
}
