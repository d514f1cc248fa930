#include "server/gateway_limit.h"

#include "base/container.h"
#include "base/list.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

/* SLOT_GRANTED: it is the slot's, and the task that says so is on its way. */
enum slot_state { SLOT_WAITING, SLOT_GRANTED, SLOT_HELD };

struct gateway_slot {
    struct gateway_limit *limit;
    TAILQ_ENTRY(gateway_slot) link; /* while it waits */
    enum slot_state state;          /* under the mutex */
    struct loop *loop;
    struct loop_task task;
    void (*granted)(void *context);
    void *context; /* loop thread; NULL: nobody wants it any more */
};

struct gateway_limit {
    pthread_mutex_t mutex;
    uint32_t most, taken;
    TAILQ_HEAD(, gateway_slot) waiting;
};

struct gateway_limit *gateway_limit_new(uint32_t most)
{
    struct gateway_limit *limit = mem_zalloc(1, sizeof(*limit));
    pthread_mutex_init(&limit->mutex, NULL);
    TAILQ_INIT(&limit->waiting);
    limit->most = most;
    return limit;
}

void gateway_limit_free(struct gateway_limit *limit)
{
    if (limit == NULL) return;
    assert(TAILQ_EMPTY(&limit->waiting) && limit->taken == 0);
    pthread_mutex_destroy(&limit->mutex);
    free(limit);
}

static void on_granted(struct loop *loop, struct loop_task *task)
{
    struct gateway_slot *slot = CONTAINER(task, struct gateway_slot, task);
    (void)loop;
    pthread_mutex_lock(&slot->limit->mutex);
    slot->state = SLOT_HELD;
    pthread_mutex_unlock(&slot->limit->mutex);
    if (slot->context == NULL)
        gateway_limit_release(slot);
    else
        slot->granted(slot->context);
}

struct gateway_slot *gateway_limit_take(struct gateway_limit *limit, struct loop *loop,
                                        void (*granted)(void *context), void *context, bool *now)
{
    struct gateway_slot *slot = mem_zalloc(1, sizeof(*slot));
    slot->limit = limit;
    slot->loop = loop;
    slot->task.run = on_granted;
    slot->granted = granted;
    slot->context = context;
    pthread_mutex_lock(&limit->mutex);
    *now = limit->taken < limit->most;
    if (*now)
        limit->taken++;
    else
        TAILQ_INSERT_TAIL(&limit->waiting, slot, link);
    slot->state = *now ? SLOT_HELD : SLOT_WAITING;
    pthread_mutex_unlock(&limit->mutex);
    return slot;
}

/* Under the mutex: to the one that has waited longest, if there is one. */
static void hand_on(struct gateway_limit *limit)
{
    struct gateway_slot *next = TAILQ_FIRST(&limit->waiting);
    if (next == NULL) {
        limit->taken--;
        return;
    }
    TAILQ_REMOVE(&limit->waiting, next, link);
    next->state = SLOT_GRANTED;
    loop_post(next->loop, &next->task);
}

void gateway_limit_release(struct gateway_slot *slot)
{
    struct gateway_limit *limit = slot->limit;
    pthread_mutex_lock(&limit->mutex);
    enum slot_state state = slot->state;
    if (state == SLOT_WAITING) TAILQ_REMOVE(&limit->waiting, slot, link);
    if (state == SLOT_HELD) hand_on(limit);
    slot->context = NULL;
    pthread_mutex_unlock(&limit->mutex);
    if (state != SLOT_GRANTED) free(slot); /* else its task does */
}
