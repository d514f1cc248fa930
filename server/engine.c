#include "server/engine.h"

#include "member/log.h"
#include "net/loop.h"
#include "storage/snap.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A thread that sleeps until something is in its mailbox. */
struct worker {
    pthread_t thread;
    struct mailbox mailbox;
    int wake; /* eventfd */
};

/* Work for the backend thread. Embed it. */
struct work {
    struct mail mail;
    void (*run)(struct engine *engine, struct work *work);
};

/* A batch on its way to the backend thread and back. */
struct commit {
    struct work work;
    struct engine_task done;
    struct backend_batch *batch;
};

/* A received database likewise, and then the state of before it, to be freed. */
struct install {
    struct work work, clean_up;
    struct engine_task done;
    uint64_t index; /* 0: none is under way */
    struct node_state *state;
};

struct engine {
    struct engine_config config;
    struct node_config node_config;
    char *snap_directory;
    struct node *node;
    struct backend *backend;
    struct member_log log; /* log thread */
    struct worker node_worker, log_worker, backend_worker;
    struct commit commit; /* at most one is out, and not while a database is installed */
    struct install install;
    struct engine_task log_done; /* wakes the node thread for `log_written` */
    struct mailbox log_written;  /* struct node_log_write, durable, by .mail */
    struct engine_task stop_task;
    atomic_bool failed;
    atomic_bool end_workers; /* log and backend thread end when their mailboxes are empty */
    bool stopping;           /* node thread: answer and drain */
    bool published, removed;
};

static void worker_init(struct worker *worker)
{
    mailbox_init(&worker->mailbox);
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->wake < 0) abort(); /* out of file descriptors before anything is open */
}

static void worker_wake(struct worker *worker)
{
    uint64_t one = 1;
    ssize_t written = write(worker->wake, &one, sizeof(one));
    assert(written == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void worker_put(struct worker *worker, struct mail *mail)
{
    if (mailbox_put(&worker->mailbox, mail)) worker_wake(worker);
}

/* Waits for the mailbox until `until` (clock_monotonic; INT64_MAX: for ever). */
static void worker_sleep(struct worker *worker, int64_t until)
{
    struct pollfd wake = {.fd = worker->wake, .events = POLLIN};
    struct timespec timeout, *limit = NULL;
    if (until != INT64_MAX) {
        int64_t left = until - clock_monotonic();
        if (left <= 0) return;
        timeout = (struct timespec){.tv_sec = left / LOOP_SECOND, .tv_nsec = left % LOOP_SECOND};
        limit = &timeout;
    }
    if (ppoll(&wake, 1, limit, NULL) > 0) {
        uint64_t count;
        ssize_t got = read(worker->wake, &count, sizeof(count));
        (void)got; /* nothing to read: somebody woke us twice */
    }
}

void engine_fail(struct engine *engine, struct error *error)
{
    if (!atomic_exchange(&engine->failed, true)) engine->config.on_failed(engine->config.context, error);
    error_free(error);
}

/* ---- log thread ---- */

static void *run_log(void *argument)
{
    struct engine *engine = argument;
    for (;;) {
        struct mail *writes = mailbox_take(&engine->log_worker.mailbox);
        if (writes == NULL) {
            if (atomic_load(&engine->end_workers)) return NULL;
            struct error *error = wal_prepare(engine->log.wal);
            if (error != NULL) engine_fail(engine, error);
            worker_sleep(&engine->log_worker, INT64_MAX);
            continue;
        }
        struct error *error = atomic_load(&engine->failed) ? NULL : member_log_write(&engine->log, writes);
        if (error != NULL) engine_fail(engine, error);
        if (atomic_load(&engine->failed)) continue; /* nothing is acknowledged any more */
        bool was_empty = false;
        while (writes != NULL) {
            struct mail *next = writes->next;
            was_empty = mailbox_put(&engine->log_written, writes) || was_empty;
            writes = next;
        }
        if (was_empty) engine_post(engine, &engine->log_done);
    }
}

static void log_is_durable(struct engine *engine, struct node *node, struct engine_task *task)
{
    (void)task;
    struct mail *mail = mailbox_take(&engine->log_written);
    while (mail != NULL) {
        struct node_log_write *write = (struct node_log_write *)mail;
        mail = mail->next;
        node_log_persisted(node, write);
    }
}

/* ---- backend thread ---- */

static void *run_backend(void *argument)
{
    struct engine *engine = argument;
    for (;;) {
        struct mail *mail = mailbox_take(&engine->backend_worker.mailbox);
        if (mail == NULL) {
            if (atomic_load(&engine->end_workers)) return NULL;
            worker_sleep(&engine->backend_worker, INT64_MAX);
            continue;
        }
        while (mail != NULL) {
            struct work *work = (struct work *)mail;
            mail = mail->next;
            work->run(engine, work);
        }
    }
}

static void commit_batch(struct engine *engine, struct work *work)
{
    (void)work;
    struct error *error =
        atomic_load(&engine->failed) ? NULL : backend_commit(engine->backend, engine->commit.batch);
    if (error != NULL) engine_fail(engine, error);
    if (!atomic_load(&engine->failed)) engine_post(engine, &engine->commit.done);
}

static void batch_is_committed(struct engine *engine, struct node *node, struct engine_task *task)
{
    (void)task;
    struct backend_batch *batch = engine->commit.batch;
    engine->commit.batch = NULL;
    struct error *error = node_backend_committed(node, batch);
    if (error != NULL) engine_fail(engine, error);
}

static void install_database(struct engine *engine, struct work *work)
{
    (void)work;
    struct install *install = &engine->install;
    if (atomic_load(&engine->failed)) return;
    char *path = snap_database_path(engine->snap_directory, install->index);
    struct error *error = backend_install(engine->backend, path, install->index);
    free(path);
    if (error == NULL) error = node_state_open(&engine->node_config, engine->backend, &install->state);
    if (error != NULL)
        engine_fail(engine, error);
    else
        engine_post(engine, &install->done);
}

static void free_former_state(struct engine *engine, struct work *work)
{
    (void)work;
    node_state_free(engine->install.state);
    engine->install.state = NULL;
}

static void database_is_installed(struct engine *engine, struct node *node, struct engine_task *task)
{
    (void)task;
    node_installed(node, engine->install.state);
    engine->install.index = 0;
    worker_put(&engine->backend_worker, &engine->install.clean_up.mail);
}

/* ---- node thread ---- */

/* Woken when it can find all of it. */
static void hand_out_list(struct worker *worker, struct mail *mail)
{
    bool was_empty = false;
    while (mail != NULL) {
        struct mail *next = mail->next;
        was_empty = mailbox_put(&worker->mailbox, mail) || was_empty;
        mail = next;
    }
    if (was_empty) worker_wake(worker);
}

static void drop_peer_messages(struct mail *mail)
{
    while (mail != NULL) {
        struct node_peer_message *message = (struct node_peer_message *)mail;
        mail = mail->next;
        raft_message_deinit(&message->message);
        free(message);
    }
}

/* The image is what was committed last: before the next batch is. */
static struct error *begin_image(struct engine *engine, uint64_t index, struct backend_reader *reader)
{
    uint64_t found = 0;
    TRY(backend_read_begin(engine->backend, reader));
    struct error *error = backend_reader_index(reader, &found);
    assert(error != NULL || found == index);
    if (error != NULL) backend_read_end(reader);
    return error;
}

static void hand_out_snapshots(struct engine *engine, struct mail *mail)
{
    const struct engine_config *config = &engine->config;
    while (mail != NULL) {
        struct node_peer_message *message = (struct node_peer_message *)mail;
        struct backend_reader reader;
        mail = mail->next;
        struct error *error = begin_image(engine, message->message.snapshot->index, &reader);
        if (error != NULL) {
            engine_fail(engine, error);
        } else if (config->on_snapshot != NULL) {
            config->on_snapshot(config->context, message, &reader);
            continue;
        } else {
            backend_read_end(&reader);
        }
        node_snapshot_reported(engine->node, message->message.to, false);
        raft_message_deinit(&message->message);
        free(message);
    }
}

static void hand_out_to_backend(struct engine *engine, struct node_ready *ready)
{
    hand_out_snapshots(engine, ready->snapshots);
    if (ready->batch != NULL) {
        assert(engine->commit.batch == NULL && engine->install.index == 0);
        engine->commit.batch = ready->batch;
        worker_put(&engine->backend_worker, &engine->commit.work.mail);
    }
    if (ready->install != 0) {
        assert(engine->commit.batch == NULL && engine->install.index == 0);
        engine->install.index = ready->install;
        worker_put(&engine->backend_worker, &engine->install.work.mail);
    }
}

static void hand_out(struct engine *engine, struct node_ready *ready)
{
    const struct engine_config *config = &engine->config;
    hand_out_list(&engine->log_worker, ready->log_writes);
    hand_out_to_backend(engine, ready);
    /* First: who gets an answer may ask the other members next. */
    if (ready->membership_changed && config->on_membership != NULL)
        config->on_membership(config->context, node_cluster(engine->node));
    loop_post_begin();
    for (struct mail *mail = ready->replies; mail != NULL;) {
        struct node_request *request = (struct node_request *)mail;
        mail = mail->next;
        config->on_reply(config->context, request);
    }
    for (struct mail *mail = ready->watch_messages; mail != NULL;) {
        struct watch_message *message = (struct watch_message *)mail;
        mail = mail->next;
        config->on_watch(config->context, message);
    }
    loop_post_end();
    if (config->on_peer_messages == NULL)
        drop_peer_messages(ready->peer_messages);
    else if (ready->peer_messages != NULL)
        config->on_peer_messages(config->context, ready->peer_messages);
    if (ready->published && !engine->published) {
        engine->published = true;
        config->on_published(config->context);
    }
    if (ready->removed && !engine->removed) {
        engine->removed = true;
        config->on_removed(config->context);
    }
}

/* Stopping is over when the last log write and the last batch have come back, and a database that is being
 * installed is in place. */
static bool is_drained(struct engine *engine)
{
    if (atomic_load(&engine->failed)) return true;
    if (engine->install.index != 0) return false;
    return engine->commit.batch == NULL && !backend_in_flight(engine->backend) &&
           backend_pending_operations(engine->backend) == 0;
}

static uint64_t wall_ms(void)
{
    return (uint64_t)(clock_wall() / LOOP_MILLISECOND);
}

static void *run_node(void *argument)
{
    struct engine *engine = argument;
    struct node *node = engine->node;
    struct node_ready ready = {0};
    for (;;) {
        if (!ready.more)
            worker_sleep(&engine->node_worker,
                         mailbox_waiting(&engine->node_worker.mailbox) > 0 ? 0 : ready.wake_at);
        node_tick(node, clock_monotonic(), wall_ms());
        for (struct mail *mail = mailbox_take(&engine->node_worker.mailbox); mail != NULL;) {
            struct engine_task *task = (struct engine_task *)mail;
            mail = mail->next;
            task->run(engine, node, task);
        }
        struct error *error = atomic_load(&engine->failed) ? NULL : node_run(node);
        if (error != NULL) engine_fail(engine, error);
        node_collect(node, &ready);
        hand_out(engine, &ready);
        if (engine->stopping && is_drained(engine)) return NULL;
    }
}

static void begin_stop(struct engine *engine, struct node *node, struct engine_task *task)
{
    (void)task;
    engine->stopping = true;
    node_stop(node);
}

/* ---- life ---- */

void engine_post(struct engine *engine, struct engine_task *task)
{
    worker_put(&engine->node_worker, &task->mail);
}

/* What a loop's thread has posted and not woken the node for. */
enum { GATHERED_MAX = 64 };

static _Thread_local struct {
    struct loop_deferred wake;
    struct engine *engine;
    size_t count;
} gathered;

static void wake_for_gathered(struct loop *loop, struct loop_deferred *deferred)
{
    struct worker *worker = &gathered.engine->node_worker;
    loop_defer_cancel(loop, deferred);
    gathered.count = 0;
    if (mailbox_waiting(&worker->mailbox) > 0) worker_wake(worker);
}

void engine_post_from(struct engine *engine, struct loop *loop, struct engine_task *task)
{
    assert(gathered.count == 0 || gathered.engine == engine);
    gathered.engine = engine;
    gathered.wake.run = wake_for_gathered;
    mailbox_put(&engine->node_worker.mailbox, &task->mail);
    if (++gathered.count >= GATHERED_MAX)
        wake_for_gathered(loop, &gathered.wake);
    else
        loop_defer(loop, &gathered.wake);
}

size_t engine_waiting(struct engine *engine)
{
    return mailbox_waiting(&engine->node_worker.mailbox);
}

struct node_metrics *engine_node_metrics(struct engine *engine)
{
    return node_metrics(engine->node);
}

static void start_thread(struct worker *worker, void *(*run)(void *), struct engine *engine, const char *name)
{
    int failure = pthread_create(&worker->thread, NULL, run, engine);
    if (failure != 0) abort(); /* the system has no room for three threads */
    pthread_setname_np(worker->thread, name);
}

struct error *engine_start(const struct engine_config *config, struct engine **result)
{
    struct engine *engine = mem_zalloc(1, sizeof(*engine));
    engine->config = *config;
    engine->node_config = *config->node;
    engine->snap_directory = mem_strdup(config->snap_directory);
    engine->backend = config->recovery.backend;
    engine->log = (struct member_log){
        .wal = config->wal,
        .snap = {.fs = config->fs,
                 .logger = config->logger,
                 .metrics = config->snap_metrics,
                 .now = config->node->now,
                 .now_context = config->node->now_context},
        .snap_directory = engine->snap_directory,
    };
    engine->commit.work.run = commit_batch;
    engine->commit.done.run = batch_is_committed;
    engine->install.work.run = install_database;
    engine->install.done.run = database_is_installed;
    engine->install.clean_up.run = free_former_state;
    engine->log_done.run = log_is_durable;
    mailbox_init(&engine->log_written);
    worker_init(&engine->node_worker);
    worker_init(&engine->log_worker);
    worker_init(&engine->backend_worker);
    struct error *error =
        node_new(&engine->node_config, &engine->config.recovery, clock_monotonic(), wall_ms(), &engine->node);
    if (error != NULL) {
        free(engine->snap_directory);
        free(engine);
        return error;
    }
    start_thread(&engine->log_worker, run_log, engine, "etcd-log");
    start_thread(&engine->backend_worker, run_backend, engine, "etcd-backend");
    start_thread(&engine->node_worker, run_node, engine, "etcd-node");
    *result = engine;
    return NULL;
}

struct error *engine_stop(struct engine *engine)
{
    engine->stop_task.run = begin_stop;
    engine_post(engine, &engine->stop_task);
    pthread_join(engine->node_worker.thread, NULL);
    atomic_store(&engine->end_workers, true);
    worker_wake(&engine->log_worker);
    worker_wake(&engine->backend_worker);
    pthread_join(engine->log_worker.thread, NULL);
    pthread_join(engine->backend_worker.thread, NULL);
    struct engine_task last = {0};
    log_is_durable(engine, engine->node, &last);
    node_free(engine->node);
    struct error *error = wal_close(engine->log.wal);
    close(engine->node_worker.wake);
    close(engine->log_worker.wake);
    close(engine->backend_worker.wake);
    free(engine->snap_directory);
    free(engine);
    return error;
}
