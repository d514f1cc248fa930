/* helper_pool: threads for work that takes the processor for long: hashing passwords, signing tokens.
 *
 *     loop thread                 a helper               loop thread
 *     helper_pool_run ─▶ queue ─▶ job->run ─▶ loop_post ─▶ job->done
 *
 * Not libuv's own pool, which reads files for snapshots: a storm of logins must not hold those up. First
 * come, first served; the queue is bounded.
 */
#ifndef SERVER_HELPER_POOL_H
#define SERVER_HELPER_POOL_H

#include "base/list.h"
#include "net/loop.h"

struct helper_pool;

/* Embed it. The pool touches it until `done` is called. */
struct helper_job {
    void (*run)(struct helper_job *job);  /* a helper's thread */
    void (*done)(struct helper_job *job); /* the thread of `loop` */
    struct loop *loop;

    /* Private. */
    struct loop_task delivery;
    STAILQ_ENTRY(helper_job) link;
};

/* Threads are started with the first jobs: an idle server has none. */
struct helper_pool *helper_pool_new(size_t threads, size_t queue_limit)
    __attribute__((returns_nonnull, warn_unused_result));
/* All jobs must have been done. NULL is allowed. */
void helper_pool_free(struct helper_pool *pool);
/* Any thread. False when too many wait: nothing happens then. */
bool helper_pool_run(struct helper_pool *pool, struct helper_job *job) __attribute__((warn_unused_result));

#endif
