#include "sim/checker.h"

#include "api/message.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "sim/answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "rpc.pb-c.h"

enum { VIOLATION_SIZE = 2048, TERMS_MAX = 1 << 16, MATCH_EVERY = 64, LOOK_BACK = 512 };

/* Tables by a number. */
struct row {
    uint64_t key;
    int64_t value;
    UT_hash_handle hh;
};

/* A member as it was last seen. */
struct seen {
    uint64_t id;
    uint64_t committed; /* compared up to here */
    uint64_t led_term;  /* of which its log was compared */
    uint64_t voted_term;
    uint64_t voted_for;
    uint64_t asked_term, asked_life; /* in which it asked for votes last */
};

struct sim_checker {
    struct sim_cluster *cluster;
    struct sim_model *model;
    char violation[VIOLATION_SIZE];
    struct seen members[SIM_CLUSTER_MEMBERS_MAX];
    struct row *leaders; /* term → place */
    struct row *refused; /* proposal ids that must never be committed */
    struct row *leases;  /* id → until when somebody relies on it */
    struct row *hashes;  /* (compact revision, revision) → HashKV */
    uint64_t answered_index;
    int64_t answered_revision, answered_compact;
    struct buf expected, found; /* answers */
    uint64_t checks, observations, elections;
    uint64_t last_led; /* the highest term anybody was seen to lead */
};

static struct row *find_row(struct row *const *table, uint64_t key)
{
    struct row *row = NULL;
    HASH_FIND(hh, *table, &key, sizeof(key), row);
    return row;
}

static struct row *make_row(struct row **table, uint64_t key, int64_t value)
{
    struct row *row = mem_zalloc(1, sizeof(*row));
    row->key = key;
    row->value = value;
    HASH_ADD(hh, *table, key, sizeof(row->key), row);
    return row;
}

static void free_rows(struct row **table)
{
    struct row *row, *next;
    HASH_ITER (hh, *table, row, next) {
        HASH_DEL(*table, row);
        free(row);
    }
}

struct sim_checker *sim_checker_new(struct sim_cluster *cluster)
{
    struct sim_checker *checker = mem_zalloc(1, sizeof(*checker));
    checker->cluster = cluster;
    checker->model = sim_model_new();
    return checker;
}

void sim_checker_free(struct sim_checker *checker)
{
    if (checker == NULL) return;
    struct row **tables[] = {&checker->leaders, &checker->refused, &checker->leases, &checker->hashes};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) free_rows(tables[i]);
    sim_model_free(checker->model);
    buf_deinit(&checker->expected);
    buf_deinit(&checker->found);
    free(checker);
}

const char *sim_checker_violation(const struct sim_checker *checker)
{
    return checker->violation[0] == '\0' ? NULL : checker->violation;
}

void sim_checker_fail(struct sim_checker *checker, const char *format, ...)
{
    if (checker->violation[0] != '\0') return;
    va_list arguments;
    va_start(arguments, format);
    int size = snprintf(checker->violation, sizeof(checker->violation),
                        "t=%.6f s: ", (double)sim_cluster_now(checker->cluster) / 1e9);
    vsnprintf(checker->violation + size, sizeof(checker->violation) - (size_t)size, format, arguments);
    va_end(arguments);
}

static bool failed(const struct sim_checker *checker)
{
    return checker->violation[0] != '\0';
}

const struct sim_model *sim_checker_model(const struct sim_checker *checker)
{
    return checker->model;
}

uint64_t sim_checker_checks(const struct sim_checker *checker)
{
    return checker->checks;
}

uint64_t sim_checker_elections(const struct sim_checker *checker)
{
    return checker->elections;
}

/* ---- committed entries ---- */

#define ULL(value) ((unsigned long long)(value))

static void check_revocation(struct sim_checker *checker, const struct sim_entry *entry)
{
    if (entry->revoked == 0) return;
    struct row *row = find_row(&checker->leases, (uint64_t)entry->revoked);
    if (row != NULL && sim_cluster_now(checker->cluster) < row->value)
        sim_checker_fail(checker, "lease %llu was revoked %.3f s before its time", ULL(entry->revoked),
                         (double)(row->value - sim_cluster_now(checker->cluster)) / 1e9);
}

static void commit_new(struct sim_checker *checker, const struct raft_entry *entry)
{
    const char *wrong = sim_model_apply(checker->model, entry);
    if (wrong != NULL) {
        sim_checker_fail(checker, "entry %llu: %s", ULL(entry->index), wrong);
        return;
    }
    const struct sim_entry *made = sim_model_entry(checker->model, entry->index);
    if (made->id != 0 && find_row(&checker->refused, made->id) != NULL)
        sim_checker_fail(checker, "entry %llu is a proposal whose client was told that it was refused",
                         ULL(entry->index));
    check_revocation(checker, made);
}

static void check_entry(struct sim_checker *checker, size_t member, const struct raft_entry *entry)
{
    if (entry->index > sim_model_last_index(checker->model)) {
        commit_new(checker, entry);
        return;
    }
    const struct sim_entry *known = sim_model_entry(checker->model, entry->index);
    struct bytes data = blob_bytes(entry->data);
    if (known->term != entry->term || known->crc != crc32c(0, data.data, data.size))
        sim_checker_fail(checker,
                         "member %zu commits another entry at index %llu (term %llu) than was committed "
                         "before (term %llu)",
                         member, ULL(entry->index), ULL(entry->term), ULL(known->term));
}

static void take_committed(struct sim_checker *checker, size_t member, const struct raft *raft,
                           const struct raft_status *status)
{
    struct seen *seen = &checker->members[member];
    struct raft_entries entries = {0};
    if (seen->committed + 1 < status->first_index) seen->committed = status->first_index - 1;
    if (status->hard_state.commit <= seen->committed) return;
    if (seen->committed > sim_model_last_index(checker->model)) {
        sim_checker_fail(checker, "member %zu has committed and compacted what nobody saw committed", member);
        return;
    }
    enum raft_result result = raft_entries_between(raft, seen->committed + 1, status->hard_state.commit + 1,
                                                   RAFT_NO_LIMIT, &entries);
    if (result != RAFT_OK)
        sim_checker_fail(checker, "member %zu cannot show its committed entries: %s", member,
                         raft_result_text(result));
    for (size_t i = 0; i < entries.count && !failed(checker); i++)
        check_entry(checker, member, &entries.items[i]);
    raft_entries_deinit(&entries);
    seen->committed = status->hard_state.commit;
}

/* ---- leaders and logs ---- */

static void check_leader(struct sim_checker *checker, size_t member, const struct raft *raft,
                         const struct raft_status *status)
{
    struct seen *seen = &checker->members[member];
    uint64_t term = status->hard_state.term;
    if (status->soft_state.role != RAFT_LEADER || seen->led_term == term) return;
    struct row *leader = find_row(&checker->leaders, term);
    if (leader == NULL) {
        make_row(&checker->leaders, term, (int64_t)member);
        checker->elections++;
    } else if (leader->value != (int64_t)member) {
        sim_checker_fail(checker, "members %lld and %zu both lead in term %llu", (long long)leader->value,
                         member, ULL(term));
        return;
    }
    seen->led_term = term;
    /* One that wins when later terms have begun may miss what those committed; it can commit nothing itself.
     */
    if (term < checker->last_led) return;
    checker->last_led = term;
    uint64_t last = sim_model_last_index(checker->model);
    uint64_t first = last > LOOK_BACK ? last - LOOK_BACK : 1;
    for (uint64_t index = first < status->first_index ? status->first_index : first; index <= last; index++)
        if (raft_term_at(raft, index) != sim_model_entry(checker->model, index)->term) {
            sim_checker_fail(checker,
                             "member %zu leads in term %llu without the committed entry %llu of term %llu "
                             "(it has term %llu there)",
                             member, ULL(term), ULL(index), ULL(sim_model_entry(checker->model, index)->term),
                             ULL(raft_term_at(raft, index)));
            return;
        }
}

/* If two logs have the same term at an index they are the same up to there. */
static void check_matching(struct sim_checker *checker, size_t a, size_t b)
{
    if (!sim_cluster_is_up(checker->cluster, a) || !sim_cluster_is_up(checker->cluster, b)) return;
    const struct raft *one = node_raft(sim_member_node(sim_cluster_member(checker->cluster, a)));
    const struct raft *two = node_raft(sim_member_node(sim_cluster_member(checker->cluster, b)));
    uint64_t last = raft_status(one).last_index, other = raft_status(two).last_index;
    uint64_t committed = sim_model_last_index(checker->model);
    bool agree = false;
    for (uint64_t index = last < other ? last : other; index > committed; index--) {
        bool same = raft_term_at(one, index) == raft_term_at(two, index);
        if (agree && !same) {
            sim_checker_fail(checker, "the logs of members %zu and %zu differ at %llu and agree after it", a,
                             b, ULL(index));
            return;
        }
        agree = agree || same;
    }
}

static void check_state(struct sim_checker *checker, size_t member)
{
    struct sim_member *place = sim_cluster_member(checker->cluster, member);
    struct node_status status;
    uint64_t applied = sim_member_consistent_index(place);
    node_status(sim_member_node(place), &status);
    if (applied > sim_model_last_index(checker->model) || status.applied > status.committed) {
        sim_checker_fail(checker, "member %zu has applied up to %llu; committed is %llu", member,
                         ULL(applied > status.applied ? applied : status.applied), ULL(status.committed));
        return;
    }
    int64_t expected = applied == 0 ? 1 : sim_model_entry(checker->model, applied)->revision;
    if (status.revision != expected)
        sim_checker_fail(checker,
                         "member %zu has applied up to index %llu and is at revision %lld instead of %lld",
                         member, ULL(applied), (long long)status.revision, (long long)expected);
}

void sim_checker_observe(struct sim_checker *checker, size_t member)
{
    if (failed(checker) || !sim_cluster_is_up(checker->cluster, member)) return;
    struct sim_member *place = sim_cluster_member(checker->cluster, member);
    const struct raft *raft = node_raft(sim_member_node(place));
    struct raft_status status = raft_status(raft);
    checker->members[member].id = status.id;
    take_committed(checker, member, raft, &status);
    if (failed(checker)) return;
    check_leader(checker, member, raft, &status);
    check_state(checker, member);
    size_t other = (size_t)(checker->observations / MATCH_EVERY) % sim_cluster_members(checker->cluster);
    if (++checker->observations % MATCH_EVERY == 0 && other != member) check_matching(checker, member, other);
}

/* A member that asks for votes in a term remembers that: after a restart it does not ask in the same one, or
 * it could lead twice in it. */
static void check_candidate(struct sim_checker *checker, const struct sim_event *event)
{
    struct seen *seen = &checker->members[event->member];
    uint64_t term = event->message->term;
    uint64_t life = sim_member_lives(sim_cluster_member(checker->cluster, event->member));
    if (event->message->type != RAFT_VOTE) return;
    if (term < seen->asked_term || (term == seen->asked_term && life != seen->asked_life))
        sim_checker_fail(checker, "member %zu asks for votes in term %llu as it did before it was restarted",
                         event->member, ULL(term));
    seen->asked_term = term;
    seen->asked_life = life;
}

/* One vote per term (Raft paper, 5.2). */
static void check_vote(struct sim_checker *checker, const struct sim_event *event)
{
    const struct raft_message *message = event->message;
    struct seen *seen = &checker->members[event->member];
    if (message->type != RAFT_VOTE_RESP || message->reject) return;
    if (seen->voted_term == message->term && seen->voted_for != message->to)
        sim_checker_fail(checker, "member %zu votes twice in term %llu", event->member, ULL(message->term));
    if (message->term < seen->voted_term)
        sim_checker_fail(checker, "member %zu votes in term %llu after it voted in term %llu", event->member,
                         ULL(message->term), ULL(seen->voted_term));
    seen->voted_term = message->term;
    seen->voted_for = message->to;
}

void sim_checker_event(struct sim_checker *checker, const struct sim_event *event)
{
    if (failed(checker)) return;
    switch (event->kind) {
    case SIM_EVENT_SEND:
        check_candidate(checker, event);
        check_vote(checker, event);
        break;
    case SIM_EVENT_RECEIVE:
        if (event->is_damaged)
            sim_checker_fail(checker, "member %zu was sent a damaged database by member %zu: %s",
                             event->member, event->peer, event->text);
        break;
    case SIM_EVENT_START: /* what it knows to be committed may be less than before */
        checker->members[event->member].committed = 0;
        checker->members[event->member].led_term = 0;
        sim_checker_observe(checker, event->member);
        break;
    case SIM_EVENT_RUN:
        sim_checker_observe(checker, event->member);
        break;
    default:
        break;
    }
}

/* ---- operations ---- */

void sim_checker_begin(const struct sim_checker *checker, struct sim_operation *operation)
{
    *operation = (struct sim_operation){.floor_index = checker->answered_index,
                                        .floor_revision = checker->answered_revision,
                                        .floor_compact = checker->answered_compact};
}

static void answered(struct sim_checker *checker, uint64_t index, int64_t revision)
{
    if (index > checker->answered_index) checker->answered_index = index;
    if (revision > checker->answered_revision) checker->answered_revision = revision;
    checker->checks++;
}

/* `expected` and `found` are not terminated. */
static void compare_answers(struct sim_checker *checker, const char *of, uint64_t number,
                            struct bytes expected, struct bytes found)
{
    if (bytes_equal(expected, found)) return;
    sim_checker_fail(checker, "%s %llu was answered with \"%.*s\" instead of \"%.*s\"", of, ULL(number),
                     (int)found.size, (const char *)found.data, (int)expected.size,
                     (const char *)expected.data);
}

void sim_checker_written(struct sim_checker *checker, const struct sim_operation *operation,
                         enum api_error status, int64_t revision, struct bytes answer)
{
    if (failed(checker)) return;
    uint64_t index = sim_model_find(checker->model, operation->id);
    if (index == 0) {
        sim_checker_fail(checker, "a write was answered that is not committed");
        return;
    }
    const struct sim_entry *entry = sim_model_entry(checker->model, index);
    if (index <= operation->floor_index)
        sim_checker_fail(checker, "the write of entry %llu began after that of entry %llu was answered",
                         ULL(index), ULL(operation->floor_index));
    if (status != entry->status)
        sim_checker_fail(checker, "entry %llu was answered with \"%s\" instead of \"%s\"", ULL(index),
                         api_error_text(status), api_error_text(entry->status));
    if (status == API_OK && revision != entry->revision)
        sim_checker_fail(checker, "entry %llu was answered with revision %lld instead of %lld", ULL(index),
                         (long long)revision, (long long)entry->revision);
    if (status == API_OK && answer.size > 0) compare_answers(checker, "entry", index, entry->answer, answer);
    answered(checker, index, entry->revision);
    if (entry->compacted > checker->answered_compact) checker->answered_compact = entry->compacted;
}

void sim_checker_refused(struct sim_checker *checker, const struct sim_operation *operation)
{
    if (failed(checker) || operation->id == 0) return;
    if (sim_model_find(checker->model, operation->id) != 0)
        sim_checker_fail(checker, "entry %llu is committed and its client was told that it was refused",
                         ULL(sim_model_find(checker->model, operation->id)));
    make_row(&checker->refused, operation->id, 0);
    checker->checks++;
}

void sim_checker_range(struct sim_checker *checker, const struct sim_operation *operation,
                       const Etcdserverpb__RangeRequest *request, const Etcdserverpb__RangeResponse *response)
{
    if (failed(checker)) return;
    int64_t shown = response->header->revision;
    if (shown > sim_model_revision(checker->model)) {
        sim_checker_fail(checker, "a range shows revision %lld, committed is %lld", (long long)shown,
                         (long long)sim_model_revision(checker->model));
        return;
    }
    if (!request->serializable && shown < operation->floor_revision)
        sim_checker_fail(checker, "a linearizable range shows revision %lld after %lld was acknowledged",
                         (long long)shown, (long long)operation->floor_revision);
    if (!request->serializable && request->revision > 0 && request->revision < operation->floor_compact)
        sim_checker_fail(checker,
                         "a linearizable range shows revision %lld, compacted at %lld before it began",
                         (long long)request->revision, (long long)operation->floor_compact);
    buf_clear(&checker->expected);
    buf_clear(&checker->found);
    sim_model_range(checker->model, request, shown, 0, &checker->expected);
    sim_answer_of_range(&checker->found, response, request->keys_only);
    compare_answers(checker, "a range at revision", ULL(request->revision > 0 ? request->revision : shown),
                    buf_bytes(&checker->expected), buf_bytes(&checker->found));
    /* What a serializable read shows is no promise for others. */
    answered(checker, 0, request->serializable ? 0 : shown);
}

void sim_checker_range_refused(struct sim_checker *checker, const struct sim_operation *operation,
                               const Etcdserverpb__RangeRequest *request, enum api_error error)
{
    if (failed(checker)) return;
    int64_t revision = request->revision, compacted = sim_model_compact_revision(checker->model);
    if (error == API_ERROR_COMPACTED && revision >= compacted)
        sim_checker_fail(checker, "a range at revision %lld is refused as compacted; compacted is %lld",
                         (long long)revision, (long long)compacted);
    if (error == API_ERROR_FUTURE_REVISION && !request->serializable && revision <= operation->floor_revision)
        sim_checker_fail(checker,
                         "a linearizable range at revision %lld is refused after %lld was acknowledged",
                         (long long)revision, (long long)operation->floor_revision);
    checker->checks++;
}

void sim_checker_hash(struct sim_checker *checker, const Etcdserverpb__HashKVResponse *told)
{
    if (failed(checker)) return;
    uint64_t key = (uint64_t)told->compact_revision << 32 | (uint64_t)told->hash_revision;
    struct row *row = find_row(&checker->hashes, key);
    if (row == NULL)
        make_row(&checker->hashes, key, (int64_t)told->hash);
    else if (row->value != (int64_t)told->hash)
        sim_checker_fail(checker, "two hashes at revision %lld, compacted at %lld: %08llx and %08x",
                         (long long)told->hash_revision, (long long)told->compact_revision, ULL(row->value),
                         told->hash);
    checker->checks++;
}

/* ---- watches ---- */

/* The first change from this position on that the watcher is to be told; the number of changes: none. */
static size_t next_expected(const struct sim_checker *checker, const struct sim_watcher *watcher,
                            size_t position)
{
    for (; position < sim_model_change_count(checker->model); position++) {
        const struct sim_change *change = sim_model_change(checker->model, position);
        if (change->deleted ? watcher->no_delete : watcher->no_put) continue;
        if (sim_key_in_range(sim_model_key(checker->model, change->key), watcher->key, watcher->range_end))
            break;
    }
    return position;
}

static bool same_key_value(const struct sim_checker *checker, const struct sim_change *change,
                           const Mvccpb__KeyValue *found)
{
    return bytes_equal(sim_model_key(checker->model, change->key), message_bytes(found->key)) &&
           bytes_equal(change->value, message_bytes(found->value)) &&
           change->revision == found->mod_revision && change->create_revision == found->create_revision &&
           change->version == found->version && change->lease == found->lease;
}

/* What was there before may be missing only if it is compacted. */
static bool same_previous(const struct sim_checker *checker, const struct sim_watcher *watcher,
                          const struct sim_change *change, const Mvccpb__KeyValue *found)
{
    const struct sim_change *previous =
        change->previous == 0 ? NULL : sim_model_change(checker->model, change->previous - 1);
    if (!watcher->prev_kv || previous == NULL || previous->deleted) return found == NULL;
    if (found != NULL) return same_key_value(checker, previous, found);
    return change->revision - 1 < sim_model_compact_revision(checker->model);
}

static bool same_event(const struct sim_checker *checker, const struct sim_watcher *watcher,
                       const struct sim_change *change, const Mvccpb__Event *event)
{
    bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    if (change->deleted != deleted || change->revision != event->kv->mod_revision) return false;
    if (!same_previous(checker, watcher, change, event->prev_kv)) return false;
    if (!deleted) return same_key_value(checker, change, event->kv);
    return bytes_equal(sim_model_key(checker->model, change->key), message_bytes(event->kv->key));
}

static void check_events(struct sim_checker *checker, struct sim_watcher *watcher,
                         const Etcdserverpb__WatchResponse *response)
{
    size_t count = sim_model_change_count(checker->model);
    size_t position = sim_model_position(checker->model, watcher->next);
    for (size_t i = 0; i < response->n_events; i++, position++) {
        const Mvccpb__Event *event = response->events[i];
        position = next_expected(checker, watcher, position);
        const struct sim_change *change =
            position == count ? NULL : sim_model_change(checker->model, position);
        if (change == NULL || !same_event(checker, watcher, change, event)) {
            sim_checker_fail(checker,
                             "a watcher from revision %lld is told of revision %lld (%.*s), the next it "
                             "waits for is %lld%s",
                             (long long)watcher->next, (long long)event->kv->mod_revision,
                             (int)event->kv->key.len, (const char *)event->kv->key.data,
                             (long long)(change == NULL ? 0 : change->revision),
                             change != NULL && change->revision == event->kv->mod_revision
                                 ? " with other content"
                                 : "");
            return;
        }
        watcher->next = event->kv->mod_revision + 1;
    }
    position = next_expected(checker, watcher, position);
    if (position < count && sim_model_change(checker->model, position)->revision < watcher->next)
        sim_checker_fail(checker, "a watcher is told of a part of revision %lld",
                         (long long)watcher->next - 1);
    if (watcher->next - 1 > response->header->revision)
        sim_checker_fail(checker, "a watch response of revision %lld holds an event of %lld",
                         (long long)response->header->revision, (long long)watcher->next - 1);
}

/* Nothing up to and including `revision` is still to come. */
static void check_told(struct sim_checker *checker, const struct sim_watcher *watcher, int64_t revision)
{
    size_t position = next_expected(checker, watcher, sim_model_position(checker->model, watcher->next));
    if (position < sim_model_change_count(checker->model) &&
        sim_model_change(checker->model, position)->revision <= revision)
        sim_checker_fail(checker, "a watcher is at revision %lld and was not told of %lld",
                         (long long)revision,
                         (long long)sim_model_change(checker->model, position)->revision);
}

static void check_bookmark(struct sim_checker *checker, struct sim_watcher *watcher, int64_t revision)
{
    check_told(checker, watcher, revision);
    if (revision < watcher->next - 1)
        sim_checker_fail(checker, "a watcher from revision %lld gets a bookmark at %lld",
                         (long long)watcher->next, (long long)revision);
    watcher->next = revision + 1;
}

static void check_canceled(struct sim_checker *checker, struct sim_watcher *watcher,
                           const Etcdserverpb__WatchResponse *told)
{
    watcher->canceled = true;
    if (told->compact_revision > sim_model_compact_revision(checker->model) ||
        told->compact_revision < watcher->next)
        sim_checker_fail(checker, "a watcher that waits for revision %lld is canceled, compacted at %lld",
                         (long long)watcher->next, (long long)told->compact_revision);
    watcher->next = told->compact_revision;
}

static void watched(struct sim_checker *checker, struct sim_watcher *watcher,
                    const Etcdserverpb__WatchResponse *told)
{
    int64_t revision = told->header->revision;
    if (watcher->canceled) sim_checker_fail(checker, "a watcher is told something after it was canceled");
    if (told->created) {
        watcher->created = true;
        if (watcher->next == 0) watcher->next = revision + 1;
    } else if (!watcher->created) {
        sim_checker_fail(checker, "a watcher is told something before it is told that it was created");
    } else if (told->canceled) {
        check_canceled(checker, watcher, told);
    } else if (told->n_events > 0) {
        check_events(checker, watcher, told);
    } else {
        check_bookmark(checker, watcher, revision);
    }
}

void sim_checker_watch(struct sim_checker *checker, struct sim_watcher *watchers, size_t count,
                       const Etcdserverpb__WatchResponse *response)
{
    if (failed(checker)) return;
    checker->checks++;
    if (response->header->revision > sim_model_revision(checker->model)) {
        sim_checker_fail(checker, "a watch response shows revision %lld, committed is %lld",
                         (long long)response->header->revision,
                         (long long)sim_model_revision(checker->model));
        return;
    }
    /* Without an id: a bookmark for all there are. */
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        bool meant =
            response->watch_id == watchers[i].id || (response->watch_id == -1 && watchers[i].created);
        if (meant) watched(checker, &watchers[i], response);
        any = any || meant;
    }
    if (!any)
        sim_checker_fail(checker, "a watch response is for no watcher (id %lld)",
                         (long long)response->watch_id);
}

void sim_checker_watch_complete(struct sim_checker *checker, const struct sim_watcher *watcher)
{
    if (failed(checker)) return;
    check_told(checker, watcher, sim_model_revision(checker->model));
}

/* ---- leases ---- */

void sim_checker_lease_alive(struct sim_checker *checker, int64_t lease, int64_t until)
{
    struct row *row = find_row(&checker->leases, (uint64_t)lease);
    if (row == NULL) row = make_row(&checker->leases, (uint64_t)lease, until);
    if (row->value < until) row->value = until;
}

void sim_checker_lease_given_up(struct sim_checker *checker, int64_t lease)
{
    struct row *row = find_row(&checker->leases, (uint64_t)lease);
    if (row == NULL) return;
    HASH_DEL(checker->leases, row);
    free(row);
}

void sim_checker_lease_time(struct sim_checker *checker,
                            const Etcdserverpb__LeaseTimeToLiveResponse *response)
{
    enum { LENIENCY = 1 }; /* a new leader gives an election timeout on top */
    if (failed(checker)) return;
    checker->checks++;
    bool there = sim_model_has_lease(checker->model, response->id);
    if (response->ttl == -1 && response->grantedttl == 0) { /* one that is overdue may also have -1 s left */
        if (there)
            sim_checker_fail(checker, "a client is told that lease %lld is gone; it is there",
                             (long long)response->id);
        return;
    }
    if (response->ttl > response->grantedttl + LENIENCY)
        sim_checker_fail(checker, "lease %lld of %lld s is said to have %lld s left", (long long)response->id,
                         (long long)response->grantedttl, (long long)response->ttl);
    int64_t revision = response->header->revision;
    size_t attached = 0;
    for (size_t key = 0; key < sim_model_key_count(checker->model); key++) {
        const struct sim_change *change = sim_model_get(checker->model, key, revision);
        attached += change != NULL && change->lease == response->id;
    }
    if (attached != response->n_keys)
        sim_checker_fail(checker, "lease %lld is said to have %zu keys at revision %lld; it has %zu",
                         (long long)response->id, response->n_keys, (long long)revision, attached);
}
