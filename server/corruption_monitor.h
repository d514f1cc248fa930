/* corruption_monitor: compares this member's data with the others', as cluster/corruption.h has it.
 *
 *     initial      once, before clients are served; a member that differs must not serve
 *     periodic     --corrupt-check-time, while this member leads
 *     compaction   --compact-hash-check-time (gate CompactHashCheck), while this member leads
 *
 * It asks the node for hashes like any client, the others by GET /members/hashkv, and has what it finds put
 * into the log as a CORRUPT alarm. One check runs at a time; a timer that comes in between waits for its end.
 *
 * Threads: everything on the peers' loop, but for what is marked otherwise.
 */
#ifndef SERVER_CORRUPTION_MONITOR_H
#define SERVER_CORRUPTION_MONITOR_H

#include "server/engine.h"
#include "server/peer.h"

struct corruption_monitor;

struct corruption_monitor_config {
    struct loop *loop; /* of the peers */
    struct engine *engine;
    struct peers *peers;
    uint64_t member_id;
    int64_t period;            /* between periodic checks, nanoseconds; 0: none */
    int64_t compaction_period; /* between compaction checks; 0: none */
    const struct logger *logger;
};

/* Before the loop runs. Starts the timers. */
struct corruption_monitor *corruption_monitor_new(const struct corruption_monitor_config *config)
    __attribute__((returns_nonnull, warn_unused_result));
/* Any thread, at most once: the initial check. `done` is called on the loop: NULL, or an error that names
 * this member and says that its data differ; taken. What the others cannot tell counts for nothing. */
void corruption_monitor_check_initially(struct corruption_monitor *monitor,
                                        void (*done)(void *context, struct error *error), void *context);
/* Before the peers are closed: nothing is begun any more, and no engine_post follows. */
void corruption_monitor_close(struct corruption_monitor *monitor);
/* Closed, the engine has stopped, and the loop has run what was posted. NULL is allowed. */
void corruption_monitor_free(struct corruption_monitor *monitor);

#endif
