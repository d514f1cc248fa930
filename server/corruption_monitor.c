#include "server/corruption_monitor.h"

#include "api/message.h"
#include "base/arena.h"
#include "base/container.h"
#include "mvcc/store.h"
#include "server/rpc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

#define BUSY_RETRY (100 * LOOP_MILLISECOND)

/* A check is a chain of steps, each of which asks somebody something and names the step that takes the
 * answer:
 *
 *     initial      own hash ─▶ others' ─▶ compared
 *     periodic     own hash ─▶ others' ─▶ linearizable read ─▶ own hash ─▶ compared ─▶ alarm
 *     compaction   stored hashes ─▶ others' for the newest ─▶ judged ─▶ next older one or alarms
 */
struct corruption_monitor {
    struct corruption_monitor_config config;
    const struct logger *logger;
    struct loop_timer periodic, compaction;
    bool busy, closed;

    /* The question to the node that is under way, and who takes the answer. */
    struct rpc rpc;
    union {
        Etcdserverpb__HashKVRequest hash;
        Etcdserverpb__RangeRequest range;
        Etcdserverpb__AlarmRequest alarm;
    } request;
    struct buf raw;
    void (*next)(struct corruption_monitor *monitor, Etcdserverpb__HashKVResponse *hash);
    struct arena *arena;

    /* The check. */
    struct corruption_hash before;
    struct corruption_answer answers[CLUSTER_MEMBERS_MAX];
    size_t answer_count;
    uint64_t alarms[CLUSTER_MEMBERS_MAX]; /* still to be raised */
    size_t alarm_count;

    /* Compaction check. */
    struct mvcc_hash hashes[MVCC_STORED_HASHES_MAX]; /* oldest first */
    size_t hash_count;                               /* not looked at yet */
    size_t hashes_checked;
    int64_t checked_revision; /* everybody was equal there */
    struct engine_task list;
    struct loop_task listed;

    /* Initial check. */
    struct loop_task begin;
    void (*done)(void *context, struct error *error);
    void *context;
};

static const char *const reply_texts[] = {
    [CORRUPTION_ANSWERED] = "",
    [CORRUPTION_SILENT] = "no answer",
    [CORRUPTION_IS_BEHIND] = "etcdserver: mvcc: required revision is a future revision",
    [CORRUPTION_HAS_COMPACTED] = "etcdserver: mvcc: required revision has been compacted",
    [CORRUPTION_OTHER_CLUSTER] = "etcdserver: cluster ID mismatch",
};

/* ---- questions to the node ---- */

static void end_check(struct corruption_monitor *monitor)
{
    monitor->busy = false;
}

static void on_reply(struct rpc *rpc)
{
    struct corruption_monitor *monitor = rpc->context;
    Etcdserverpb__HashKVResponse *hash = NULL;
    bool failed = rpc->request.error != API_OK || rpc->request.error_text != NULL;
    arena_reset(monitor->arena);
    if (!failed && rpc->request.operation == NODE_HASH_KV)
        hash = (void *)message_unpack(&etcdserverpb__hash_kvresponse__descriptor,
                                      blob_bytes(rpc->request.response), monitor->arena, NULL);
    blob_unref(rpc->request.response);
    if (monitor->closed) return;
    if (failed) {
        log_warn(monitor->logger, "failed to check hash KV", LOG_STRING("error", rpc_text(&rpc->request)));
        if (monitor->done != NULL) monitor->done(monitor->context, NULL);
        monitor->done = NULL;
        end_check(monitor);
    } else {
        monitor->next(monitor, hash);
    }
}

static void ask_node(struct corruption_monitor *monitor, enum node_operation operation,
                     void (*next)(struct corruption_monitor *, Etcdserverpb__HashKVResponse *))
{
    monitor->next = next;
    monitor->rpc = (struct rpc){
        .request = {.operation = operation, .message = &monitor->request, .internal = true},
        .loop = monitor->config.loop,
        .done = on_reply,
        .context = monitor,
    };
    monitor->rpc.request.raw = buf_bytes(&monitor->raw);
    rpc_start(&monitor->rpc, monitor->config.engine);
}

static void ask_own_hash(struct corruption_monitor *monitor,
                         void (*next)(struct corruption_monitor *, Etcdserverpb__HashKVResponse *))
{
    etcdserverpb__hash_kvrequest__init(&monitor->request.hash);
    ask_node(monitor, NODE_HASH_KV, next);
}

static struct corruption_hash hash_of(const Etcdserverpb__HashKVResponse *response)
{
    return (struct corruption_hash){
        .hash = response->hash,
        .revision = response->hash_revision,
        .compact_revision = response->compact_revision,
        .current_revision = response->header->revision,
    };
}

/* ---- alarms ---- */

static void raise_alarms(struct corruption_monitor *monitor, Etcdserverpb__HashKVResponse *unused)
{
    Etcdserverpb__AlarmRequest *alarm = &monitor->request.alarm;
    (void)unused;
    if (monitor->alarm_count == 0) {
        end_check(monitor);
        return;
    }
    etcdserverpb__alarm_request__init(alarm);
    alarm->action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm->alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    alarm->memberid = monitor->alarms[--monitor->alarm_count];
    buf_clear(&monitor->raw);
    message_pack(&monitor->raw, &alarm->base);
    ask_node(monitor, NODE_ALARM, raise_alarms);
}

/* ---- what is logged ---- */

static void log_difference(struct corruption_monitor *monitor, enum log_level level, const char *message,
                           const struct corruption_hash *own, const struct corruption_answer *answer)
{
    LOG_AT(monitor->logger, level, message, LOG_HEX("local-member-id", monitor->config.member_id),
           LOG_INT("local-member-revision", own->revision),
           LOG_INT("local-member-compact-revision", own->compact_revision),
           LOG_UINT("local-member-hash", own->hash), LOG_HEX("remote-peer-id", answer->member_id),
           LOG_INT("remote-peer-revision", answer->hash.current_revision),
           LOG_INT("remote-peer-compact-revision", answer->hash.compact_revision),
           LOG_UINT("remote-peer-hash", answer->hash.hash));
}

static void log_not_compared(struct corruption_monitor *monitor, const struct corruption_hash *own,
                             const struct corruption_answer *answer)
{
    if (answer->reply == CORRUPTION_ANSWERED)
        log_difference(monitor, LOG_WARN, "found different compact revision values from remote peer", own,
                       answer);
    else
        log_warn(monitor->logger, "cannot fetch hash from remote peer",
                 LOG_HEX("local-member-id", monitor->config.member_id),
                 LOG_INT("local-member-revision", own->revision),
                 LOG_HEX("remote-peer-id", answer->member_id),
                 LOG_STRING("error", reply_texts[answer->reply]));
}

static void keep_answers(struct corruption_monitor *monitor, const struct corruption_answer *answers,
                         size_t count)
{
    memcpy(monitor->answers, answers, count * sizeof(answers[0]));
    monitor->answer_count = count;
}

/* ---- initial ---- */

static void compare_initially(void *context, const struct corruption_answer *answers, size_t count)
{
    struct corruption_monitor *monitor = context;
    const struct corruption_hash *own = &monitor->before;
    size_t different = 0;
    struct error *error = NULL;
    if (monitor->closed) return;
    for (size_t i = 0; i < count; i++) {
        enum corruption_finding finding = corruption_compare(own, &answers[i]);
        if (finding == CORRUPTION_NOT_COMPARED) log_not_compared(monitor, own, &answers[i]);
        if (finding != CORRUPTION_HASH_DIFFERS) continue;
        different++;
        log_difference(monitor, LOG_WARN, "found different hash values from remote peer", own, &answers[i]);
    }
    if (different > 0)
        error = error_new(ERROR_CORRUPT, "%" PRIx64 " found data inconsistency with peers",
                          monitor->config.member_id);
    else
        log_info(monitor->logger, "initial corruption checking passed; no corruption",
                 LOG_HEX("local-member-id", monitor->config.member_id));
    monitor->done(monitor->context, error);
    monitor->done = NULL;
    end_check(monitor);
}

static void have_initial_hash(struct corruption_monitor *monitor, Etcdserverpb__HashKVResponse *hash)
{
    monitor->before = hash_of(hash);
    peers_ask_hashes(monitor->config.peers, monitor->before.revision, compare_initially, monitor);
}

static void begin_initial(struct loop *loop, struct loop_task *task)
{
    struct corruption_monitor *monitor = CONTAINER(task, struct corruption_monitor, begin);
    (void)loop;
    if (monitor->closed) return;
    monitor->busy = true; /* no timer has come up yet: they begin with their interval */
    log_info(monitor->logger, "starting initial corruption check",
             LOG_HEX("local-member-id", monitor->config.member_id));
    ask_own_hash(monitor, have_initial_hash);
}

void corruption_monitor_check_initially(struct corruption_monitor *monitor,
                                        void (*done)(void *context, struct error *error), void *context)
{
    monitor->done = done;
    monitor->context = context;
    monitor->begin.run = begin_initial;
    loop_post(monitor->config.loop, &monitor->begin);
}

/* ---- periodic ---- */

static const char *finding_text(enum corruption_finding finding)
{
    switch (finding) {
    case CORRUPTION_HASH_DIFFERS:
        return "same compact revision then hashes must match";
    case CORRUPTION_REVISION_AHEAD:
        return "revision from follower must be less than or equal to leader's";
    case CORRUPTION_COMPACTION_AHEAD:
        return "compact revision from follower must be less than or equal to leader's";
    default:
        return NULL;
    }
}

/* One alarm per check, as etcd has it. */
static void compare_periodically(struct corruption_monitor *monitor, Etcdserverpb__HashKVResponse *response)
{
    struct corruption_hash after = hash_of(response);
    size_t checked = 0;
    if (corruption_compare_leader(&monitor->before, &after) == CORRUPTION_HASH_DIFFERS) {
        struct corruption_answer self = {.member_id = monitor->config.member_id, .hash = after};
        log_difference(monitor, LOG_WARN, "found hash mismatch", &monitor->before, &self);
        monitor->alarms[monitor->alarm_count++] = monitor->config.member_id;
    }
    for (size_t i = 0; i < monitor->answer_count; i++) {
        const struct corruption_answer *answer = &monitor->answers[i];
        const char *text = finding_text(corruption_compare_follower(&monitor->before, &after, answer));
        checked += answer->reply == CORRUPTION_ANSWERED;
        if (text == NULL) continue;
        log_difference(monitor, LOG_WARN, text, &monitor->before, answer);
        if (monitor->alarm_count == 0) monitor->alarms[monitor->alarm_count++] = answer->member_id;
    }
    log_info(monitor->logger, "finished peer corruption check", LOG_UINT("number-of-peers-checked", checked));
    raise_alarms(monitor, NULL);
}

static void is_still_leader(struct corruption_monitor *monitor, Etcdserverpb__HashKVResponse *unused)
{
    (void)unused;
    ask_own_hash(monitor, compare_periodically);
}

static void have_answers(void *context, const struct corruption_answer *answers, size_t count)
{
    struct corruption_monitor *monitor = context;
    Etcdserverpb__RangeRequest *range = &monitor->request.range;
    if (monitor->closed) return;
    keep_answers(monitor, answers, count);
    etcdserverpb__range_request__init(range);
    range->key = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)(uintptr_t) ""};
    range->count_only = 1;
    ask_node(monitor, NODE_RANGE, is_still_leader);
}

static void have_first_hash(struct corruption_monitor *monitor, Etcdserverpb__HashKVResponse *hash)
{
    monitor->before = hash_of(hash);
    peers_ask_hashes(monitor->config.peers, monitor->before.revision, have_answers, monitor);
}

/* The time for the next check of this kind; false when this one must not begin. */
static bool may_begin(struct corruption_monitor *monitor, struct loop_timer *timer, int64_t period)
{
    struct node_metrics *node = engine_node_metrics(monitor->config.engine);
    loop_timer_set(monitor->config.loop, timer, clock_monotonic() + (monitor->busy ? BUSY_RETRY : period));
    if (monitor->busy || metric_gauge_read(&node->is_leader) == 0) return false;
    monitor->busy = true;
    monitor->alarm_count = 0;
    return true;
}

static void periodic_due(struct loop *loop, struct loop_timer *timer)
{
    struct corruption_monitor *monitor = CONTAINER(timer, struct corruption_monitor, periodic);
    (void)loop;
    if (may_begin(monitor, timer, monitor->config.period)) ask_own_hash(monitor, have_first_hash);
}

/* ---- compaction ---- */

static void compare_next(struct corruption_monitor *monitor);

static void end_compaction_check(struct corruption_monitor *monitor)
{
    log_info(monitor->logger, "finished compaction hash check",
             LOG_UINT("number-of-hashes-checked", monitor->hashes_checked));
    raise_alarms(monitor, NULL);
}

static void log_verdict(struct corruption_monitor *monitor, const struct corruption_verdict *verdict)
{
    if (verdict->outcome == CORRUPTION_ALL_EQUAL) {
        log_info(monitor->logger, "successfully checked hash on whole cluster",
                 LOG_UINT("number-of-peers-checked", monitor->answer_count),
                 LOG_INT("compact-revision", monitor->before.revision));
    } else if (verdict->outcome == CORRUPTION_INCOMPLETE) {
        log_warn(monitor->logger,
                 "skipped revision in compaction hash check; was not able to check all peers",
                 LOG_UINT("number-of-peers", monitor->answer_count),
                 LOG_INT("compact-revision", monitor->before.revision));
    } else {
        if (verdict->members[0] == 0)
            log_error(monitor->logger,
                      "Detected compaction hash mismatch but cannot identify the corrupted members, so "
                      "intentionally set the memberID as 0",
                      LOG_INT("compact-revision", monitor->before.revision));
        for (size_t i = 0; i < monitor->answer_count; i++)
            log_difference(monitor, LOG_ERROR, "Detected compaction hash mismatch", &monitor->before,
                           &monitor->answers[i]);
    }
}

static void judge(void *context, const struct corruption_answer *answers, size_t count)
{
    struct corruption_monitor *monitor = context;
    struct corruption_verdict verdict;
    if (monitor->closed) return;
    keep_answers(monitor, answers, count);
    corruption_judge_compaction(monitor->config.member_id, &monitor->before, answers, count, &verdict);
    log_verdict(monitor, &verdict);
    if (verdict.outcome == CORRUPTION_INCOMPLETE) {
        compare_next(monitor);
        return;
    }
    if (verdict.outcome == CORRUPTION_ALL_EQUAL) monitor->checked_revision = monitor->before.revision;
    memcpy(monitor->alarms, verdict.members, verdict.member_count * sizeof(verdict.members[0]));
    monitor->alarm_count = verdict.member_count;
    end_compaction_check(monitor);
}

static void compare_next(struct corruption_monitor *monitor)
{
    if (monitor->hash_count == 0 ||
        monitor->hashes[monitor->hash_count - 1].revision <= monitor->checked_revision) {
        end_compaction_check(monitor);
        return;
    }
    const struct mvcc_hash *hash = &monitor->hashes[--monitor->hash_count];
    monitor->hashes_checked++;
    monitor->before = (struct corruption_hash){hash->hash, hash->revision, hash->compact_revision, 0};
    peers_ask_hashes(monitor->config.peers, hash->revision, judge, monitor);
}

static void have_stored_hashes(struct loop *loop, struct loop_task *task)
{
    struct corruption_monitor *monitor = CONTAINER(task, struct corruption_monitor, listed);
    (void)loop;
    if (!monitor->closed) compare_next(monitor);
}

static void list_stored_hashes(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct corruption_monitor *monitor = CONTAINER(task, struct corruption_monitor, list);
    (void)engine;
    monitor->hash_count = mvcc_stored_hashes(node_store(node), monitor->hashes);
    loop_post(monitor->config.loop, &monitor->listed);
}

static void compaction_due(struct loop *loop, struct loop_timer *timer)
{
    struct corruption_monitor *monitor = CONTAINER(timer, struct corruption_monitor, compaction);
    (void)loop;
    if (!may_begin(monitor, timer, monitor->config.compaction_period)) return;
    log_info(monitor->logger, "starting compact hash check",
             LOG_HEX("local-member-id", monitor->config.member_id));
    monitor->hashes_checked = 0;
    engine_post_from(monitor->config.engine, monitor->config.loop, &monitor->list);
}

/* ---- life ---- */

static void start_timer(struct corruption_monitor *monitor, struct loop_timer *timer, int64_t period,
                        const char *message)
{
    if (period == 0) return;
    loop_timer_set(monitor->config.loop, timer, clock_monotonic() + period);
    log_info(monitor->logger, message, LOG_HEX("local-member-id", monitor->config.member_id),
             LOG_DURATION("interval", period));
}

struct corruption_monitor *corruption_monitor_new(const struct corruption_monitor_config *config)
{
    struct corruption_monitor *monitor = mem_zalloc(1, sizeof(*monitor));
    monitor->config = *config;
    monitor->logger = config->logger;
    monitor->arena = arena_new();
    monitor->periodic.run = periodic_due;
    monitor->compaction.run = compaction_due;
    monitor->list.run = list_stored_hashes;
    monitor->listed.run = have_stored_hashes;
    start_timer(monitor, &monitor->periodic, config->period, "enabled corruption checking");
    start_timer(monitor, &monitor->compaction, config->compaction_period, "enabled compact hash check");
    return monitor;
}

void corruption_monitor_close(struct corruption_monitor *monitor)
{
    monitor->closed = true;
    loop_timer_clear(monitor->config.loop, &monitor->periodic);
    loop_timer_clear(monitor->config.loop, &monitor->compaction);
}

void corruption_monitor_free(struct corruption_monitor *monitor)
{
    if (monitor == NULL) return;
    assert(monitor->closed);
    buf_deinit(&monitor->raw);
    arena_free(monitor->arena);
    free(monitor);
}
