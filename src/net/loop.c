#include "net/loop.h"

#include "base/container.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    struct mailbox mailbox;
    atomic_bool stop;

    struct loop_timer **heap; /* heap[1 .. heap_count]: the earliest first */
    size_t heap_count, heap_capacity;
    int64_t armed_at; /* what `timer` waits for; INT64_MAX: nothing */

    struct loop_deferred *deferred, **deferred_end;
    struct loop_deferred *next_turn, **next_turn_end; /* become `deferred` when the loop has polled */
    struct loop_deferred *slow, **slow_end;           /* become `deferred` a few at a time */
    uv_idle_t idle;                                   /* runs while there are any, lest it waits */

    bool once;   /* in loop_run_once: do not wait when something has been done already */
    int64_t now; /* 0: read the clock */
    uint8_t *scratch, *second_scratch;
    pthread_t thread; /* who runs it, when `running` */
    atomic_bool running;
    uv_thread_t started_thread;
    bool started;
    char name[16];
};

static int64_t clock_read(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * LOOP_SECOND + time.tv_nsec;
}

int64_t clock_monotonic(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_wall(void)
{
    return clock_read(CLOCK_REALTIME);
}

int64_t loop_now(struct loop *loop)
{
    if (loop->now == 0) loop->now = clock_monotonic();
    return loop->now;
}

/* ---- timers: a binary heap, one libuv timer for its root ---- */

static void heap_place(struct loop *loop, size_t position, struct loop_timer *timer)
{
    loop->heap[position] = timer;
    timer->position = position;
}

static void heap_up(struct loop *loop, size_t position)
{
    struct loop_timer *timer = loop->heap[position];
    while (position > 1 && loop->heap[position / 2]->at > timer->at) {
        heap_place(loop, position, loop->heap[position / 2]);
        position /= 2;
    }
    heap_place(loop, position, timer);
}

static void heap_down(struct loop *loop, size_t position)
{
    struct loop_timer *timer = loop->heap[position];
    for (;;) {
        size_t child = position * 2;
        if (child > loop->heap_count) break;
        if (child < loop->heap_count && loop->heap[child + 1]->at < loop->heap[child]->at) child++;
        if (loop->heap[child]->at >= timer->at) break;
        heap_place(loop, position, loop->heap[child]);
        position = child;
    }
    heap_place(loop, position, timer);
}

static void on_timer(uv_timer_t *handle);

/* A libuv timer that is armed too early just fires and looks again, so clearing a timer costs nothing here.
 */
static void timer_arm(struct loop *loop)
{
    if (loop->heap_count == 0) return;
    int64_t at = loop->heap[1]->at;
    if (at >= loop->armed_at) return;
    int64_t left = at - clock_monotonic();
    uint64_t milliseconds = left <= 0 ? 0 : ((uint64_t)left + LOOP_MILLISECOND - 1) / LOOP_MILLISECOND;
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->timer, on_timer, milliseconds, 0);
    loop->armed_at = at;
}

static void on_timer(uv_timer_t *handle)
{
    struct loop *loop = handle->data;
    loop->armed_at = INT64_MAX;
    loop->now = clock_monotonic();
    int64_t now = loop->now;
    while (loop->heap_count > 0 && loop->heap[1]->at <= now) {
        struct loop_timer *timer = loop->heap[1];
        loop_timer_clear(loop, timer);
        timer->run(loop, timer);
    }
    timer_arm(loop);
    /* Timers run before the loop waits: without this it would then wait for something else to happen, maybe
     * for ever. */
    if (loop->once) uv_stop(&loop->uv);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at)
{
    assert(timer->run != NULL);
    if (timer->position != 0) {
        assert(loop->heap[timer->position] == timer);
        int64_t before = timer->at;
        timer->at = at;
        if (at < before)
            heap_up(loop, timer->position);
        else
            heap_down(loop, timer->position);
    } else {
        if (loop->heap_count + 1 >= loop->heap_capacity) {
            loop->heap_capacity = loop->heap_capacity == 0 ? 64 : loop->heap_capacity * 2;
            loop->heap = mem_realloc(loop->heap, loop->heap_capacity * sizeof(struct loop_timer *));
        }
        timer->at = at;
        heap_place(loop, ++loop->heap_count, timer);
        heap_up(loop, loop->heap_count);
    }
    timer_arm(loop);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
    size_t position = timer->position;
    if (position == 0) return;
    assert(loop->heap[position] == timer);
    timer->position = 0;
    struct loop_timer *last = loop->heap[loop->heap_count--];
    if (last == timer) return;
    heap_place(loop, position, last);
    heap_up(loop, position);
    heap_down(loop, last->position);
}

/* ---- deferred work ---- */

static void queue_deferred(struct loop_deferred ***end, struct loop_deferred *deferred)
{
    assert(deferred->run != NULL);
    deferred->next = NULL;
    deferred->link = *end;
    **end = deferred;
    *end = &deferred->next;
}

void loop_defer(struct loop *loop, struct loop_deferred *deferred)
{
    if (deferred->link == NULL) queue_deferred(&loop->deferred_end, deferred);
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

void loop_defer_to_next_turn(struct loop *loop, struct loop_deferred *deferred)
{
    if (deferred->link != NULL) return;
    queue_deferred(&loop->next_turn_end, deferred);
    uv_idle_start(&loop->idle, on_idle);
}

void loop_defer_slow(struct loop *loop, struct loop_deferred *deferred)
{
    if (deferred->link != NULL) return;
    queue_deferred(&loop->slow_end, deferred);
    uv_idle_start(&loop->idle, on_idle);
}

void loop_defer_cancel(struct loop *loop, struct loop_deferred *deferred)
{
    if (deferred->link == NULL) return;
    *deferred->link = deferred->next;
    if (deferred->next != NULL)
        deferred->next->link = deferred->link;
    else if (loop->deferred_end == &deferred->next)
        loop->deferred_end = deferred->link;
    else if (loop->next_turn_end == &deferred->next)
        loop->next_turn_end = deferred->link;
    else
        loop->slow_end = deferred->link;
    deferred->link = NULL;
}

static void run_deferred(struct loop *loop)
{
    while (loop->deferred != NULL) {
        struct loop_deferred *deferred = loop->deferred;
        loop_defer_cancel(loop, deferred);
        deferred->run(loop, deferred);
    }
    loop->now = 0;
}

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;
    if (loop->once && loop->deferred != NULL) uv_stop(&loop->uv);
    run_deferred(loop);
}

static void begin_next_turn(struct loop *loop)
{
    uv_idle_stop(&loop->idle);
    while (loop->next_turn != NULL) {
        struct loop_deferred *deferred = loop->next_turn;
        loop_defer_cancel(loop, deferred);
        loop_defer(loop, deferred);
    }
    for (int i = 0; i < LOOP_SLOW_PER_TURN && loop->slow != NULL; i++) {
        struct loop_deferred *deferred = loop->slow;
        loop_defer_cancel(loop, deferred);
        loop_defer(loop, deferred);
    }
    if (loop->slow != NULL) uv_idle_start(&loop->idle, on_idle);
}

static void on_check(uv_check_t *handle)
{
    begin_next_turn(handle->data);
    run_deferred(handle->data);
}

/* ---- tasks ---- */

static void on_wake(uv_async_t *handle)
{
    struct loop *loop = handle->data;
    struct mail *mail = mailbox_take(&loop->mailbox);
    while (mail != NULL) {
        struct mail *next = mail->next;
        struct loop_task *task = CONTAINER(mail, struct loop_task, mail);
        task->run(loop, task);
        mail = next;
    }
    if (atomic_exchange(&loop->stop, false)) uv_stop(&loop->uv);
}

/* What a thread wakes at loop_post_end; a loop that does not fit is woken at once. */
enum { GATHERED_MAX = 16 };

static _Thread_local struct {
    bool gathering;
    size_t count;
    struct loop *loops[GATHERED_MAX];
} wakes;

void loop_post(struct loop *loop, struct loop_task *task)
{
    if (!mailbox_put(&loop->mailbox, &task->mail)) return;
    if (wakes.gathering && wakes.count < GATHERED_MAX)
        wakes.loops[wakes.count++] = loop;
    else
        uv_async_send(&loop->wake);
}

void loop_post_begin(void)
{
    assert(!wakes.gathering);
    wakes.gathering = true;
}

void loop_post_end(void)
{
    assert(wakes.gathering);
    for (size_t i = 0; i < wakes.count; i++) uv_async_send(&wakes.loops[i]->wake);
    wakes.count = 0;
    wakes.gathering = false;
}

/* ---- life ---- */

static void must(int status)
{
    assert(status == 0);
    (void)status;
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_zalloc(1, sizeof(*loop));
    must(uv_loop_init(&loop->uv));
    must(uv_async_init(&loop->uv, &loop->wake, on_wake));
    must(uv_timer_init(&loop->uv, &loop->timer));
    must(uv_prepare_init(&loop->uv, &loop->prepare));
    must(uv_check_init(&loop->uv, &loop->check));
    must(uv_idle_init(&loop->uv, &loop->idle));
    loop->wake.data = loop->timer.data = loop->prepare.data = loop->check.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->timer);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    mailbox_init(&loop->mailbox);
    loop->deferred_end = &loop->deferred;
    loop->next_turn_end = &loop->next_turn;
    loop->slow_end = &loop->slow;
    loop->armed_at = INT64_MAX;
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) return;
    assert(!loop->started && !atomic_load(&loop->running));
    /* Closings that are under way end by themselves: the loop runs dry once the wake-up no longer holds it.
     */
    uv_unref((uv_handle_t *)&loop->wake);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    run_deferred(loop);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert(loop->heap_count == 0);
    must(uv_loop_close(&loop->uv));
    free(loop->heap);
    free(loop->scratch);
    free(loop->second_scratch);
    free(loop);
}

static void loop_turns(struct loop *loop, uv_run_mode mode)
{
    assert(!atomic_load(&loop->running));
    loop->thread = pthread_self();
    atomic_store(&loop->running, true);
    uv_run(&loop->uv, mode);
    atomic_store(&loop->running, false);
}

void loop_run(struct loop *loop)
{
    loop_turns(loop, UV_RUN_DEFAULT);
}

static void on_wait_over(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    (void)timer;
}

void loop_run_once(struct loop *loop, int64_t timeout)
{
    struct loop_timer limit = {.run = on_wait_over};
    if (timeout > 0) loop_timer_set(loop, &limit, clock_monotonic() + timeout);
    loop->once = true;
    loop_turns(loop, timeout == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    loop->once = false;
    loop_timer_clear(loop, &limit);
}

static void thread_main(void *argument)
{
    struct loop *loop = argument;
    pthread_setname_np(pthread_self(), loop->name);
    loop_run(loop);
}

struct error *loop_start(struct loop *loop, const char *name)
{
    assert(!loop->started);
    strncpy(loop->name, name, sizeof(loop->name) - 1);
    int status = uv_thread_create(&loop->started_thread, thread_main, loop);
    if (status != 0) return error_system(-status, "start thread %s", name);
    loop->started = true;
    return NULL;
}

void loop_join(struct loop *loop)
{
    assert(loop->started);
    uv_thread_join(&loop->started_thread);
    loop->started = false;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    uv_async_send(&loop->wake);
}

bool loop_is_current(const struct loop *loop)
{
    return atomic_load(&loop->running) && pthread_equal(loop->thread, pthread_self());
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

uint8_t *loop_scratch(struct loop *loop)
{
    if (loop->scratch == NULL) loop->scratch = mem_alloc(LOOP_SCRATCH_SIZE);
    return loop->scratch;
}

uint8_t *loop_second_scratch(struct loop *loop)
{
    if (loop->second_scratch == NULL) loop->second_scratch = mem_alloc(LOOP_SCRATCH_SIZE);
    return loop->second_scratch;
}
