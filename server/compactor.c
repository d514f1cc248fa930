#include "server/compactor.h"

#include "api/message.h"
#include "base/memory.h"
#include "server/rpc.h"

#include <assert.h>
#include <stdlib.h>

#include "rpc.pb-c.h"

#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define HOUR              (3600 * LOOP_SECOND)
#define REVISION_INTERVAL (300 * LOOP_SECOND)

enum { NOTES_PER_INTERVAL = 10 };

struct compactor {
    struct compactor_config config;
    struct compactor_schedule schedule;
    struct loop_timer timer;
    struct rpc rpc;
    Etcdserverpb__CompactionRequest request;
    struct buf raw; /* the request, encoded */
    int64_t began;  /* of the one that is under way; 0: none */
};

/* ---- when, and at which revision ---- */

/* Longer retentions are noted more rarely, so that the window has an end. */
static void init_window(struct compactor_schedule *schedule, int64_t period)
{
    schedule->interval = period > HOUR ? HOUR : period;
    schedule->step = schedule->interval / NOTES_PER_INTERVAL;
    if (schedule->step == 0) schedule->step = 1;
    if (period / schedule->step >= COMPACTOR_NOTES) schedule->step = period / (COMPACTOR_NOTES - 1) + 1;
    schedule->need = (size_t)(period / schedule->step) + 1;
    assert(schedule->need <= COMPACTOR_NOTES);
}

static void note(struct compactor_schedule *schedule, int64_t revision)
{
    if (schedule->need == 0) return;
    if (schedule->count == schedule->need) {
        schedule->count--;
        memmove(schedule->notes, schedule->notes + 1, schedule->count * sizeof(schedule->notes[0]));
    }
    schedule->notes[schedule->count++] = revision;
}

void compactor_schedule_init(struct compactor_schedule *schedule, int64_t period, int64_t revisions,
                             int64_t now, int64_t revision)
{
    *schedule = (struct compactor_schedule){.revisions = revisions, .step = REVISION_INTERVAL};
    if (period > 0) init_window(schedule, period);
    schedule->wait = period;
    schedule->last_success = now;
    note(schedule, revision);
}

int64_t compactor_schedule_look(struct compactor_schedule *schedule, int64_t now, int64_t revision,
                                bool paused)
{
    bool by_time = schedule->need > 0;
    int64_t target = by_time ? schedule->notes[0] : revision - schedule->revisions;
    bool due = !by_time || now - schedule->last_success >= schedule->wait;
    note(schedule, revision);
    if (paused || !due || target <= 0 || target == schedule->last_revision) return 0;
    schedule->wait = schedule->interval;
    return target;
}

void compactor_schedule_done(struct compactor_schedule *schedule, int64_t now, int64_t revision)
{
    schedule->last_success = now;
    schedule->last_revision = revision;
}

/* ---- compacting ---- */

/* As etcd tells it: the retention under the mode's own name. */
static struct log_field retention_of(const struct compactor *compactor)
{
    if (compactor->config.period > 0) return LOG_DURATION("compact-period", compactor->config.period);
    return LOG_INT("revision-compaction-retention", compactor->config.revisions);
}

static const char *mode_of(const struct compactor *compactor, const char *periodic, const char *revision)
{
    return compactor->config.period > 0 ? periodic : revision;
}

static void compacted(struct rpc *rpc)
{
    struct compactor *compactor = rpc->context;
    const struct logger *logger = compactor->config.logger;
    int64_t now = clock_monotonic(), revision = compactor->request.revision;
    int64_t took = now - compactor->began;
    blob_unref(rpc->request.response);
    compactor->began = 0;
    if (rpc->request.error == API_OK || rpc->request.error == API_ERROR_COMPACTED) {
        compactor_schedule_done(&compactor->schedule, now - took, revision);
        log_info(logger,
                 mode_of(compactor, "completed auto periodic compaction",
                         "completed auto revision compaction"),
                 LOG_INT("revision", revision), retention_of(compactor), LOG_DURATION("took", took));
    } else {
        log_warn(logger,
                 mode_of(compactor, "failed auto periodic compaction", "failed auto revision compaction"),
                 LOG_INT("revision", revision), retention_of(compactor),
                 LOG_DURATION("retry-interval", compactor->schedule.step),
                 LOG_STRING("error", rpc_text(&rpc->request)));
    }
}

static void compact(struct compactor *compactor, int64_t revision)
{
    log_info(compactor->config.logger,
             mode_of(compactor, "starting auto periodic compaction", "starting auto revision compaction"),
             LOG_INT("revision", revision), retention_of(compactor));
    compactor->began = clock_monotonic();
    etcdserverpb__compaction_request__init(&compactor->request);
    compactor->request.revision = revision;
    buf_clear(&compactor->raw);
    message_pack(&compactor->raw, &compactor->request.base);
    compactor->rpc = (struct rpc){
        .request = {.operation = NODE_COMPACT, .message = &compactor->request, .internal = true},
        .loop = compactor->config.loop,
        .done = compacted,
        .context = compactor,
    };
    compactor->rpc.request.raw = buf_bytes(&compactor->raw);
    rpc_start(&compactor->rpc, compactor->config.engine);
}

static void due(struct loop *loop, struct loop_timer *timer)
{
    struct compactor *compactor = CONTAINER(timer, struct compactor, timer);
    struct node_metrics *node = engine_node_metrics(compactor->config.engine);
    int64_t now = clock_monotonic();
    loop_timer_set(loop, timer, now + compactor->schedule.step);
    bool paused = compactor->began != 0 || metric_gauge_read(&node->is_leader) == 0;
    int64_t revision =
        compactor_schedule_look(&compactor->schedule, now, metric_gauge_read(&node->revision), paused);
    if (revision > 0) compact(compactor, revision);
}

struct compactor *compactor_new(const struct compactor_config *config)
{
    if (config->period == 0 && config->revisions == 0) return NULL;
    struct compactor *compactor = mem_zalloc(1, sizeof(*compactor));
    int64_t now = clock_monotonic();
    compactor->config = *config;
    compactor_schedule_init(&compactor->schedule, config->period, config->revisions, now,
                            metric_gauge_read(&engine_node_metrics(config->engine)->revision));
    compactor->timer.run = due;
    loop_timer_set(config->loop, &compactor->timer, now + compactor->schedule.step);
    return compactor;
}

void compactor_stop(struct compactor *compactor)
{
    if (compactor != NULL) loop_timer_clear(compactor->config.loop, &compactor->timer);
}

void compactor_free(struct compactor *compactor)
{
    if (compactor == NULL) return;
    assert(compactor->began == 0);
    buf_deinit(&compactor->raw);
    free(compactor);
}
