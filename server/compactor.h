/* compactor: compacts the history by itself (--auto-compaction-mode, --auto-compaction-retention).
 *
 * periodic: keeps what is younger than the retention. The revision is noted ten times per retention (or per
 * hour, when it is longer); what was the revision one retention ago is compacted each time that an interval
 * (the retention, at most an hour) has passed.
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
/* After the engine has stopped (a compaction that is under way has come back then) and its loop has run what
 * was posted. NULL is allowed. */
void compactor_free(struct compactor *compactor);

/* ---- for tests: the windows ---- */

enum { COMPACTOR_NOTES = 1024 };

/* Revisions noted in turn, `need` of them spanning the retention. */
struct compactor_window {
    int64_t notes[COMPACTOR_NOTES];
    size_t need, count;
};

/* How often to note, and how many notes make up the retention. */
void compactor_window_init(struct compactor_window *window, int64_t period, int64_t *interval);
/* Notes a revision; returns the one that was current a retention ago, 0 when the window is not full yet. */
int64_t compactor_window_note(struct compactor_window *window, int64_t revision);

#endif
