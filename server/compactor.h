/* compactor: compacts the history by itself (--auto-compaction-mode, --auto-compaction-retention), when etcd
 * does.
 *
 * periodic: keeps what is younger than the retention. The revision is noted ten times per retention (or per
 * hour, when it is longer). The first compaction comes when a retention has passed since the start, each
 * further one an interval (the retention, at most an hour) after the last that succeeded, at the revision
 * that was noted about a retention before; one that fails is tried again at the next note.
 * revision: keeps so many revisions, looked at every five minutes.
 *
 * Only the leader compacts; the others note revisions, to be ready. One loop's thread.
 */
#ifndef SERVER_COMPACTOR_H
#define SERVER_COMPACTOR_H

#include "base/log.h"
#include "net/loop.h"
#include "server/engine.h"

struct compactor;

struct compactor_config {
    struct loop *loop;
    struct engine *engine;
    int64_t period;    /* nanoseconds of history to keep; 0: not by time */
    int64_t revisions; /* revisions to keep; 0: not by number */
    const struct logger *logger;
};

/* NULL when there is nothing to keep to. */
struct compactor *compactor_new(const struct compactor_config *config) __attribute__((warn_unused_result));
/* Before the engine stops: nothing new is begun. NULL is allowed. */
void compactor_stop(struct compactor *compactor);
/* After the engine has stopped (a compaction that is under way has come back then) and its loop has run what
 * was posted. NULL is allowed. */
void compactor_free(struct compactor *compactor);

/* ---- the schedule, without clock and loop: for the compactor and its tests ---- */

enum { COMPACTOR_NOTES = 1024 };

struct compactor_schedule {
    int64_t step;      /* nanoseconds between two looks */
    int64_t interval;  /* between compactions by time */
    int64_t revisions; /* to keep; 0: by time */
    int64_t wait;      /* since last_success, until the next */
    int64_t last_success, last_revision;
    int64_t notes[COMPACTOR_NOTES]; /* oldest first */
    size_t need, count;             /* so many notes span the retention; so many there are */
};

/* revision: what it is now. */
void compactor_schedule_init(struct compactor_schedule *schedule, int64_t period, int64_t revisions,
                             int64_t now, int64_t revision);
/* A step has passed: the revision to compact at, 0 for none. paused: somebody else leads. */
int64_t compactor_schedule_look(struct compactor_schedule *schedule, int64_t now, int64_t revision,
                                bool paused);
/* What was compacted at the last look's revision has succeeded. */
void compactor_schedule_done(struct compactor_schedule *schedule, int64_t now, int64_t revision);

#endif
