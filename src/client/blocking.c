/* The blocking layer: a loop on its own thread, and threads that wait for it.
 *
 * One mutex guards what both sides see: whether a call is done, and the inboxes' queues. Whatever changes
 * wakes everybody who waits; there are one or two of them. An interrupt sets a flag and wakes the loop by a
 * uv_async_t, which is all that a signal handler may do; the loop then wakes those who wait, and they cancel
 * what they wait for and wait for that.
 */
#include "client/blocking.h"

#include "base/container.h"
#include "base/list.h"
#include "net/loop.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* An inbox holds its sources back above the one, and lets them go on below the other. */
enum {
    INBOX_BYTES_HIGH = 8 * 1024 * 1024,
    INBOX_BYTES_LOW = 4 * 1024 * 1024,
    INBOX_EVENTS_HIGH = 1024,
    INBOX_EVENTS_LOW = 512,
};

struct blocking_client {
    struct loop *loop;
    struct client *client;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_bool interrupted;
    atomic_uint held;
    uv_async_t interrupt;
    bool interrupt_closed;
};

/* ---- Waiting ---- */

static void lock(struct blocking_client *blocking)
{
    pthread_mutex_lock(&blocking->mutex);
}

static void unlock(struct blocking_client *blocking)
{
    pthread_mutex_unlock(&blocking->mutex);
}

static bool is_to_stop(const struct blocking_client *blocking)
{
    return atomic_load(&blocking->interrupted) && atomic_load(&blocking->held) == 0;
}

/* With the mutex held. False when the deadline (0: none) passed. */
static bool wait_until(struct blocking_client *blocking, int64_t deadline)
{
    if (deadline == 0) {
        pthread_cond_wait(&blocking->changed, &blocking->mutex);
        return true;
    }
    struct timespec at = {.tv_sec = (time_t)(deadline / LOOP_SECOND),
                          .tv_nsec = (long)(deadline % LOOP_SECOND)};
    return pthread_cond_timedwait(&blocking->changed, &blocking->mutex, &at) == 0;
}

static void wake(struct blocking_client *blocking)
{
    lock(blocking);
    pthread_cond_broadcast(&blocking->changed);
    unlock(blocking);
}

/* ---- Running something on the loop ---- */

struct run {
    struct loop_task task;
    struct blocking_client *blocking;
    void (*function)(void *context, struct client *client);
    void *context;
    bool done;
};

static void run_task(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct run *run = CONTAINER(task, struct run, task);
    struct blocking_client *blocking = run->blocking;
    run->function(run->context, blocking->client);
    lock(blocking);
    run->done = true;
    pthread_cond_broadcast(&blocking->changed);
    unlock(blocking);
}

void blocking_run(struct blocking_client *blocking, void (*function)(void *context, struct client *client),
                  void *context)
{
    assert(!loop_is_current(blocking->loop));
    struct run run = {.task = {.run = run_task},
                      .blocking = blocking,
                      .function = function,
                      .context = context};
    loop_post(blocking->loop, &run.task);
    lock(blocking);
    while (!run.done) wait_until(blocking, 0);
    unlock(blocking);
}

/* ---- Calls ---- */

/* What a waiting thread and the loop share about one call; on the waiting thread's stack. */
struct waiting_call {
    struct blocking_client *blocking;
    enum { START_CALL, START_KEEP_ALIVE_ONCE, START_LOGIN } start;
    enum client_rpc rpc;
    const ProtobufCMessage *request;
    int64_t lease;
    const struct client_call_options *options;
    struct client_call *call; /* loop thread only */
    bool done;                /* by the mutex */
    struct client_error *error;
    struct arena *arena;
    const ProtobufCMessage *response;
};

static void on_reply(void *context, struct client_reply *reply)
{
    struct waiting_call *waiting = (struct waiting_call *)context;
    struct blocking_client *blocking = waiting->blocking;
    lock(blocking);
    waiting->call = NULL;
    waiting->error = client_error_copy(reply->error);
    waiting->response = reply->response;
    waiting->arena = reply->arena;
    reply->arena = NULL;
    waiting->done = true;
    pthread_cond_broadcast(&blocking->changed);
    unlock(blocking);
}

static void start_call(void *context, struct client *client)
{
    struct waiting_call *waiting = (struct waiting_call *)context;
    switch (waiting->start) {
    case START_CALL:
        waiting->call =
            client_call(client, waiting->rpc, waiting->request, waiting->options, on_reply, waiting);
        break;
    case START_KEEP_ALIVE_ONCE:
        waiting->call = client_keep_alive_once(client, waiting->lease, waiting->options, on_reply, waiting);
        break;
    case START_LOGIN:
        client_login(client, on_reply, waiting);
        break;
    }
}

static void cancel_call(void *context, struct client *client)
{
    (void)client;
    struct waiting_call *waiting = (struct waiting_call *)context;
    if (waiting->call != NULL) client_call_cancel(waiting->call);
}

/* Runs the call to its end. The response moves to `arena` (NULL: dropped). */
static struct client_error *wait_for(struct waiting_call *waiting, struct arena *arena,
                                     ProtobufCMessage **response)
{
    struct blocking_client *blocking = waiting->blocking;
    if (is_to_stop(blocking)) return client_error_canceled();
    blocking_run(blocking, start_call, waiting);
    bool canceled = false;
    lock(blocking);
    while (!waiting->done) {
        if (!canceled && waiting->start != START_LOGIN && is_to_stop(blocking)) {
            canceled = true;
            unlock(blocking);
            blocking_run(blocking, cancel_call, waiting);
            lock(blocking);
        } else {
            wait_until(blocking, 0);
        }
    }
    unlock(blocking);
    if (response != NULL) {
        *response = (ProtobufCMessage *)(uintptr_t)waiting->response; /* ours now, and so not const */
        arena_adopt(arena, waiting->arena);
    } else {
        arena_free(waiting->arena);
    }
    return waiting->error;
}

struct client_error *blocking_call(struct blocking_client *blocking, enum client_rpc rpc,
                                   const ProtobufCMessage *request, const struct client_call_options *options,
                                   struct arena *arena, ProtobufCMessage **response)
{
    struct waiting_call waiting = {
        .blocking = blocking, .start = START_CALL, .rpc = rpc, .request = request, .options = options};
    return wait_for(&waiting, arena, response);
}

struct client_error *blocking_keep_alive_once(struct blocking_client *blocking, int64_t lease,
                                              const struct client_call_options *options, struct arena *arena,
                                              ProtobufCMessage **response)
{
    struct waiting_call waiting = {.blocking = blocking,
                                   .start = START_KEEP_ALIVE_ONCE,
                                   .lease = lease,
                                   .options = options};
    return wait_for(&waiting, arena, response);
}

/* ---- The client ---- */

static void on_interrupt(uv_async_t *handle)
{
    wake((struct blocking_client *)handle->data);
}

static void on_interrupt_closed(uv_handle_t *handle)
{
    struct blocking_client *blocking = (struct blocking_client *)handle->data;
    lock(blocking);
    blocking->interrupt_closed = true;
    pthread_cond_broadcast(&blocking->changed);
    unlock(blocking);
}

static void init_waiting(struct blocking_client *blocking)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&blocking->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&blocking->mutex, NULL);
    atomic_init(&blocking->interrupted, false);
    atomic_init(&blocking->held, 0);
}

static void free_client(void *context, struct client *client)
{
    struct blocking_client *blocking = (struct blocking_client *)context;
    client_free(client);
    blocking->client = NULL;
    uv_close((uv_handle_t *)&blocking->interrupt, on_interrupt_closed);
}

void blocking_free(struct blocking_client *blocking)
{
    if (blocking == NULL) return;
    blocking_run(blocking, free_client, blocking);
    lock(blocking);
    while (!blocking->interrupt_closed) wait_until(blocking, 0);
    unlock(blocking);
    loop_stop(blocking->loop);
    loop_join(blocking->loop);
    loop_free(blocking->loop);
    pthread_cond_destroy(&blocking->changed);
    pthread_mutex_destroy(&blocking->mutex);
    free(blocking);
}

/* On this thread, before the loop runs on its own. */
static struct error *set_up(struct blocking_client *blocking, const struct client_options *options)
{
    TRY(client_new(blocking->loop, options, &blocking->client));
    blocking->interrupt.data = blocking;
    int status = uv_async_init(loop_uv(blocking->loop), &blocking->interrupt, on_interrupt);
    assert(status == 0);
    return loop_start(blocking->loop, "client");
}

struct error *blocking_new(const struct client_options *options, struct blocking_client **result,
                           struct client_error **login_error)
{
    struct blocking_client *blocking = (struct blocking_client *)mem_zalloc(1, sizeof(*blocking));
    init_waiting(blocking);
    blocking->loop = loop_new();
    *result = NULL;
    *login_error = NULL;
    struct error *error = set_up(blocking, options);
    if (error != NULL) {
        bool has_client = blocking->client != NULL; /* then only the thread could not be started */
        if (has_client) free_client(blocking, blocking->client);
        loop_free(blocking->loop);
        pthread_cond_destroy(&blocking->changed);
        pthread_mutex_destroy(&blocking->mutex);
        free(blocking);
        return error;
    }
    struct waiting_call login = {.blocking = blocking, .start = START_LOGIN};
    *login_error = wait_for(&login, NULL, NULL);
    if (*login_error != NULL)
        blocking_free(blocking);
    else
        *result = blocking;
    return NULL;
}

void blocking_interrupt(struct blocking_client *blocking)
{
    atomic_store(&blocking->interrupted, true);
    uv_async_send(&blocking->interrupt);
}

void blocking_clear_interrupt(struct blocking_client *blocking)
{
    atomic_store(&blocking->interrupted, false);
}

void blocking_hold_interrupts(struct blocking_client *blocking)
{
    atomic_fetch_add(&blocking->held, 1);
}

void blocking_release_interrupts(struct blocking_client *blocking)
{
    unsigned before = atomic_fetch_sub(&blocking->held, 1);
    assert(before > 0);
}

bool blocking_is_interrupted(const struct blocking_client *blocking)
{
    return atomic_load(&blocking->interrupted);
}

/* The endpoints do not change after client_new: any thread may read them. */
size_t blocking_endpoint_count(const struct blocking_client *blocking)
{
    return client_endpoint_count(blocking->client);
}

const char *blocking_endpoint(const struct blocking_client *blocking, size_t index)
{
    return client_endpoint(blocking->client, index);
}

static void request_progress(void *context, struct client *client)
{
    (void)context;
    client_watch_request_progress(client);
}

void blocking_request_progress(struct blocking_client *blocking)
{
    blocking_run(blocking, request_progress, NULL);
}

/* ---- Inboxes ---- */

struct queued_event {
    TAILQ_ENTRY(queued_event) queue;
    struct blocking_event event;
    size_t size;
};

struct blocking_inbox {
    struct blocking_client *blocking;
    TAILQ_HEAD(, queued_event) events;
    size_t count, bytes;
    TAILQ_HEAD(, blocking_source) sources;
    bool holds_back;
    int descriptor; /* an eventfd: counts 1 while there are events */
};

enum source_kind { SOURCE_WATCH, SOURCE_KEEP_ALIVE, SOURCE_STREAM };

struct blocking_source {
    struct blocking_inbox *inbox;
    TAILQ_ENTRY(blocking_source) all;
    enum source_kind kind;
    union {
        struct client_watch *watch;
        struct client_keep_alive *keep_alive;
        struct client_stream *stream;
    };
    void *tag;
    bool ended; /* END came from the client (loop thread only) */
    /* What blocking_watch and the others were given, until it has started. */
    const struct client_watch_options *watch_options;
    int64_t lease;
    enum client_rpc rpc;
    const ProtobufCMessage *request;
    const struct client_call_options *call_options;
};

static void pause_source(struct blocking_source *source, bool pause)
{
    if (source->ended) return;
    if (source->kind == SOURCE_WATCH) {
        if (pause)
            client_watch_pause(source->watch);
        else
            client_watch_resume(source->watch);
    } else if (source->kind == SOURCE_STREAM) {
        if (pause)
            client_stream_pause(source->stream);
        else
            client_stream_resume(source->stream);
    }
}

static void pause_all(struct blocking_inbox *inbox, bool pause)
{
    struct blocking_source *source;
    TAILQ_FOREACH (source, &inbox->sources, all) pause_source(source, pause);
}

static bool is_full(struct blocking_inbox *inbox)
{
    lock(inbox->blocking);
    bool full = inbox->count >= INBOX_EVENTS_HIGH;
    unlock(inbox->blocking);
    return full;
}

/* Loop thread: an event of a source. Renewals that nobody reads are dropped when the inbox is full. */
static void on_event(void *context, struct client_event *event)
{
    struct blocking_source *source = (struct blocking_source *)context;
    struct blocking_inbox *inbox = source->inbox;
    if (source->kind == SOURCE_KEEP_ALIVE && event->kind == CLIENT_EVENT_MESSAGE && is_full(inbox)) return;
    struct queued_event *queued = (struct queued_event *)mem_zalloc(1, sizeof(*queued));
    queued->event = (struct blocking_event){
        .source = source,
        .tag = source->tag,
        .kind = event->kind,
        .response = (ProtobufCMessage *)(uintptr_t)event->response,
        .error = client_error_copy(event->error),
        .arena = event->arena,
    };
    queued->size = event->arena == NULL ? 0 : arena_footprint(event->arena);
    event->arena = NULL;
    source->ended = event->kind == CLIENT_EVENT_END;
    lock(inbox->blocking);
    TAILQ_INSERT_TAIL(&inbox->events, queued, queue);
    if (inbox->count++ == 0) eventfd_write(inbox->descriptor, 1);
    inbox->bytes += queued->size;
    bool full = !inbox->holds_back && (inbox->bytes >= INBOX_BYTES_HIGH || inbox->count >= INBOX_EVENTS_HIGH);
    inbox->holds_back = inbox->holds_back || full;
    pthread_cond_broadcast(&inbox->blocking->changed);
    unlock(inbox->blocking);
    if (full) pause_all(inbox, true);
}

static void let_go_on(void *context, struct client *client)
{
    (void)client;
    pause_all((struct blocking_inbox *)context, false);
}

struct blocking_inbox *blocking_inbox_new(struct blocking_client *blocking)
{
    struct blocking_inbox *inbox = (struct blocking_inbox *)mem_zalloc(1, sizeof(*inbox));
    inbox->blocking = blocking;
    TAILQ_INIT(&inbox->events);
    TAILQ_INIT(&inbox->sources);
    inbox->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert(inbox->descriptor >= 0); /* fails only when the process is out of descriptors or memory */
    return inbox;
}

int blocking_inbox_descriptor(const struct blocking_inbox *inbox)
{
    return inbox->descriptor;
}

/* Loop thread: begin what the source is for. */
static void start_source(void *context, struct client *client)
{
    struct blocking_source *source = (struct blocking_source *)context;
    TAILQ_INSERT_TAIL(&source->inbox->sources, source, all);
    switch (source->kind) {
    case SOURCE_WATCH:
        source->watch = client_watch_start(client, source->watch_options, on_event, source);
        break;
    case SOURCE_KEEP_ALIVE:
        source->keep_alive = client_keep_alive_start(client, source->lease, on_event, source);
        break;
    case SOURCE_STREAM:
        source->stream =
            client_stream_start(client, source->rpc, source->request, source->call_options, on_event, source);
        break;
    }
    source->watch_options = NULL;
    source->request = NULL;
    source->call_options = NULL;
    lock(source->inbox->blocking);
    bool hold = source->inbox->holds_back;
    unlock(source->inbox->blocking);
    if (hold) pause_source(source, true);
}

static struct blocking_source *source_new(struct blocking_inbox *inbox, const struct blocking_source *what)
{
    struct blocking_source *source = (struct blocking_source *)mem_dup(what, sizeof(*what));
    source->inbox = inbox;
    blocking_run(inbox->blocking, start_source, source);
    return source;
}

struct blocking_source *blocking_watch(struct blocking_inbox *inbox,
                                       const struct client_watch_options *options, void *tag)
{
    return source_new(inbox,
                      &(struct blocking_source){.kind = SOURCE_WATCH, .watch_options = options, .tag = tag});
}

struct blocking_source *blocking_keep_alive(struct blocking_inbox *inbox, int64_t lease, void *tag)
{
    return source_new(inbox,
                      &(struct blocking_source){.kind = SOURCE_KEEP_ALIVE, .lease = lease, .tag = tag});
}

struct blocking_source *blocking_stream(struct blocking_inbox *inbox, enum client_rpc rpc,
                                        const ProtobufCMessage *request,
                                        const struct client_call_options *options, void *tag)
{
    return source_new(inbox, &(struct blocking_source){.kind = SOURCE_STREAM,
                                                       .rpc = rpc,
                                                       .request = request,
                                                       .call_options = options,
                                                       .tag = tag});
}

static void cancel_source(void *context, struct client *client)
{
    (void)client;
    struct blocking_source *source = (struct blocking_source *)context;
    if (source->ended) return;
    switch (source->kind) {
    case SOURCE_WATCH:
        client_watch_cancel(source->watch);
        break;
    case SOURCE_KEEP_ALIVE:
        client_keep_alive_cancel(source->keep_alive);
        break;
    case SOURCE_STREAM:
        client_stream_cancel(source->stream);
        break;
    }
}

void blocking_source_cancel(struct blocking_source *source)
{
    blocking_run(source->inbox->blocking, cancel_source, source);
}

static void forget_source(void *context, struct client *client)
{
    (void)client;
    struct blocking_source *source = (struct blocking_source *)context;
    assert(source->ended);
    TAILQ_REMOVE(&source->inbox->sources, source, all);
    free(source);
}

/* With the mutex held: takes the first event out. */
static void take_event(struct blocking_inbox *inbox, struct blocking_event *event)
{
    struct queued_event *queued = TAILQ_FIRST(&inbox->events);
    eventfd_t ignored;
    TAILQ_REMOVE(&inbox->events, queued, queue);
    inbox->bytes -= queued->size;
    if (--inbox->count == 0) eventfd_read(inbox->descriptor, &ignored);
    *event = queued->event;
    free(queued);
}

enum blocking_wait blocking_next(struct blocking_inbox *inbox, int64_t deadline, struct blocking_event *event)
{
    struct blocking_client *blocking = inbox->blocking;
    enum blocking_wait result = BLOCKING_EVENT;
    bool go_on = false;
    lock(blocking);
    for (;;) {
        if (is_to_stop(blocking)) {
            result = BLOCKING_INTERRUPTED;
            break;
        }
        if (inbox->count > 0) {
            take_event(inbox, event);
            go_on = inbox->holds_back && inbox->bytes <= INBOX_BYTES_LOW && inbox->count <= INBOX_EVENTS_LOW;
            if (go_on) inbox->holds_back = false;
            break;
        }
        if (!wait_until(blocking, deadline) && inbox->count == 0 && !is_to_stop(blocking)) {
            result = BLOCKING_TIMEOUT;
            break;
        }
    }
    unlock(blocking);
    if (go_on) blocking_run(blocking, let_go_on, inbox);
    if (result == BLOCKING_EVENT && event->kind == CLIENT_EVENT_END)
        blocking_run(blocking, forget_source, event->source);
    return result;
}

void blocking_event_deinit(struct blocking_event *event)
{
    client_error_free(event->error);
    arena_free(event->arena);
    *event = (struct blocking_event){0};
}

static void cancel_sources(void *context, struct client *client)
{
    struct blocking_inbox *inbox = (struct blocking_inbox *)context;
    struct blocking_source *source;
    TAILQ_FOREACH (source, &inbox->sources, all) cancel_source(source, client);
}

void blocking_inbox_free(struct blocking_inbox *inbox)
{
    if (inbox == NULL) return;
    struct blocking_client *blocking = inbox->blocking;
    blocking_run(blocking, cancel_sources, inbox);
    /* Each source still sends its END; the last one leaves the inbox without sources. */
    blocking_hold_interrupts(blocking);
    for (;;) {
        lock(blocking);
        bool more = !TAILQ_EMPTY(&inbox->sources);
        unlock(blocking);
        if (!more) break;
        struct blocking_event event;
        enum blocking_wait wait = blocking_next(inbox, 0, &event);
        assert(wait == BLOCKING_EVENT);
        blocking_event_deinit(&event);
    }
    blocking_release_interrupts(blocking);
    close(inbox->descriptor);
    free(inbox);
}
