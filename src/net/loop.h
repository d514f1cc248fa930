/* loop: an event loop, its thread, its mailbox, its timers; and the clocks.
 *
 * A `struct loop` is a libuv loop with what every user of it needs. Everything in src/net belongs to one loop
 * and may be touched only on that loop's thread, unless its header says "any thread". Other threads reach a
 * loop in one way: they post a task (loop_post), which the loop runs. Tasks are drained in batches with one
 * wake-up per batch, so thousands of replies posted in a burst cost one system call; what they write is
 * flushed once per connection after the batch.
 *
 * Life: loop_new; then either loop_start (a thread of its own; end with loop_stop and loop_join) or loop_run
 * on the calling thread (returns after loop_stop). Before loop_free every object made on the loop (listeners,
 * connections, channels) must have been closed by its owner; loop_free runs the loop until the last closing
 * is done.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/error.h"
#include "base/mailbox.h"

#include <stdint.h>
#include <uv.h>

struct loop;

#define LOOP_SECOND      INT64_C(1000000000)
#define LOOP_MILLISECOND INT64_C(1000000)

/* Nanoseconds of a clock that never jumps, and since 1970. Any thread. */
int64_t clock_monotonic(void);
int64_t clock_wall(void);

struct loop *loop_new(void) __attribute__((returns_nonnull, warn_unused_result));
/* The loop must not be running. NULL is allowed. */
void loop_free(struct loop *loop);

/* Runs the loop on a new thread of that name (at most 15 bytes are shown by the system). */
struct error *loop_start(struct loop *loop, const char *name) __attribute__((warn_unused_result));
/* Waits for the thread of loop_start to end; asks it to with loop_stop first. */
void loop_join(struct loop *loop);
/* Runs the loop on this thread until loop_stop. May be called again later. */
void loop_run(struct loop *loop);
/* One turn: waits for at most `timeout` nanoseconds for something to happen (negative: no limit), then
 * handles all of it. */
void loop_run_once(struct loop *loop, int64_t timeout);
/* Ends loop_run soon. Any thread, also before loop_run (which then returns after one turn). */
void loop_stop(struct loop *loop);
bool loop_is_current(const struct loop *loop);

/* For modules that use other libuv handles. */
uv_loop_t *loop_uv(struct loop *loop);

/* Work for a loop. Embed it; the loop does not touch it any more once run is called, so run may free it. */
struct loop_task {
    struct mail mail;
    void (*run)(struct loop *loop, struct loop_task *task);
};

/* Any thread. Runs task->run on the loop; tasks of one sender keep their order. The loop must not be freed
 * before. */
void loop_post(struct loop *loop, struct loop_task *task);
/* Any thread that has many tasks to post: from begin to end, on this thread, a loop that gets tasks is woken
 * at the end only, so that it finds all of them. Do not nest. */
void loop_post_begin(void);
void loop_post_end(void);

/* A timer costs no system call and no allocation: embed it. Zero-initialised is valid and not set. */
struct loop_timer {
    void (*run)(struct loop *loop, struct loop_timer *timer);
    int64_t at;      /* clock_monotonic() time */
    size_t position; /* in the loop's heap, from 1; 0 = not set */
};

/* Calls run once when clock_monotonic() has reached `at`. Setting a timer again moves it. Resolution: one
 * millisecond. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_is_set(const struct loop_timer *timer)
{
    return timer->position != 0;
}

/* Work to be done once, after everything that happened in this turn of the loop has been handled and before
 * it waits again: connections gather what they write and flush it here. Zero-initialised is valid. */
struct loop_deferred {
    void (*run)(struct loop *loop, struct loop_deferred *deferred);
    struct loop_deferred *next;
    struct loop_deferred **link; /* NULL = not queued */
};

/* Does nothing when it is queued already. */
void loop_defer(struct loop *loop, struct loop_deferred *deferred);
/* The same for work that takes long and goes on piece by piece: first the loop looks for what else has
 * happened. */
void loop_defer_to_next_turn(struct loop *loop, struct loop_deferred *deferred);
/* The same for steps that each compute for long (handshakes): at most LOOP_SLOW_PER_TURN of all that wait are
 * run in a turn, first come first served. */
enum { LOOP_SLOW_PER_TURN = 4 };
void loop_defer_slow(struct loop *loop, struct loop_deferred *deferred);
void loop_defer_cancel(struct loop *loop, struct loop_deferred *deferred);

/* The loop's scratch memory for reading: valid until the loop handles its next event. */
enum { LOOP_SCRATCH_SIZE = 256 * 1024 };
uint8_t *loop_scratch(struct loop *loop);
/* More of it, of the same size, for transports that turn what was read into something else. */
uint8_t *loop_second_scratch(struct loop *loop);

/* The time of the last clock reading on this loop: cheap, at most one turn old. */
int64_t loop_now(struct loop *loop);

#endif
