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
    struct loop_timer timer;
    int64_t note_interval; /* nanoseconds */
    int64_t interval;      /* between compactions */
    int64_t next;          /* of the next compaction, clock_monotonic() */
    int64_t last_revision; /* compacted at */
    struct compactor_window window;
    struct rpc rpc;
    Etcdserverpb__CompactionRequest request;
    struct buf raw; /* the request, encoded */
    int64_t began;  /* of the one that is under way; 0: none */
};

/* ---- the window of revisions ---- */

void compactor_window_init(struct compactor_window *window, int64_t period, int64_t *interval)
{
    int64_t unit = period > HOUR ? HOUR : period;
    *interval = unit / NOTES_PER_INTERVAL > 0 ? unit / NOTES_PER_INTERVAL : 1;
    int64_t need = period / *interval;
    /* Longer retentions are noted more rarely, so that the window has an end. */
    if (need >= COMPACTOR_NOTES) {
        *interval = period / (COMPACTOR_NOTES - 1) + 1;
        need = period / *interval;
    }
    *window = (struct compactor_window){.need = (size_t)need + 1};
    assert(window->need <= COMPACTOR_NOTES);
}

int64_t compactor_window_note(struct compactor_window *window, int64_t revision)
{
    if (window->count == window->need) {
        memmove(window->notes, window->notes + 1, (window->need - 1) * sizeof(window->notes[0]));
        window->count--;
    }
    window->notes[window->count++] = revision;
    return window->count == window->need ? window->notes[0] : 0;
}

/* ---- compacting ---- */

static const char *mode_of(const struct compactor *compactor, const char *periodic, const char *revision)
{
    return compactor->config.period > 0 ? periodic : revision;
}

static void compacted(struct rpc *rpc)
{
    struct compactor *compactor = rpc->context;
    const struct logger *logger = compactor->config.logger;
    int64_t took = clock_monotonic() - compactor->began;
    blob_unref(rpc->request.response);
    compactor->began = 0;
    if (rpc->request.error == API_OK || rpc->request.error == API_ERROR_COMPACTED) {
        compactor->last_revision = compactor->request.revision;
        log_info(logger,
                 mode_of(compactor, "completed auto periodic compaction",
                         "completed auto revision compaction"),
                 LOG_INT("revision", compactor->request.revision), LOG_DURATION("took", took));
    } else {
        log_warn(logger,
                 mode_of(compactor, "failed auto periodic compaction", "failed auto revision compaction"),
                 LOG_INT("revision", compactor->request.revision),
                 LOG_STRING("error", rpc_text(&rpc->request)));
    }
}

static void compact(struct compactor *compactor, int64_t revision)
{
    if (compactor->began != 0 || revision <= 0 || revision == compactor->last_revision) return;
    log_info(compactor->config.logger,
             mode_of(compactor, "starting auto periodic compaction", "starting auto revision compaction"),
             LOG_INT("revision", revision), LOG_DURATION("compact-period", compactor->config.period));
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
    int64_t now = clock_monotonic(), revision = metric_gauge_read(&node->revision), target;
    if (compactor->config.period > 0)
        target = compactor_window_note(&compactor->window, revision);
    else
        target = revision - compactor->config.revisions;
    loop_timer_set(loop, timer, now + compactor->note_interval);
    if (now < compactor->next || metric_gauge_read(&node->is_leader) == 0) return;
    if (target > 0) compactor->next = now + compactor->interval - compactor->note_interval / 2;
    compact(compactor, target);
}

struct compactor *compactor_new(const struct compactor_config *config)
{
    if (config->period == 0 && config->revisions == 0) return NULL;
    struct compactor *compactor = mem_zalloc(1, sizeof(*compactor));
    compactor->config = *config;
    compactor->interval = compactor->note_interval = REVISION_INTERVAL;
    if (config->period > 0) {
        compactor->interval = config->period > HOUR ? HOUR : config->period;
        compactor_window_init(&compactor->window, config->period, &compactor->note_interval);
    }
    compactor->timer.run = due;
    loop_timer_set(config->loop, &compactor->timer, clock_monotonic() + compactor->note_interval);
    return compactor;
}

void compactor_free(struct compactor *compactor)
{
    if (compactor == NULL) return;
    assert(compactor->began == 0);
    loop_timer_clear(compactor->config.loop, &compactor->timer);
    buf_deinit(&compactor->raw);
    free(compactor);
}
