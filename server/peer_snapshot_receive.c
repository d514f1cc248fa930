/* Snapshots from the leader: POST /raft/snapshot (peer_snapshot_send.c has the body).
 *
 *     pieces ─▶ [message] ─▶ filling ─▶ tmp* ─▶ checked, synced, <index>.snap.db ─▶ the node ─▶ 204
 *               on the loop             helper threads                             engine
 *
 * One portion is being written while the next one gathers; when that is full too the connection is not read
 * until there is room. Nothing reaches the node before the whole image is durable and was found good. */
#include "server/peer_internal.h"

#include "base/container.h"
#include "base/wire.h"
#include "member/image.h"
#include "raft/codec.h"
#include "storage/fs.h"
#include "storage/snap.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define MESSAGE_MAX ((uint64_t)64 << 20)

enum {
    PORTION_SIZE = 256 * 1024,
    RECEIVINGS_MAX = 4, /* at a time */
    LENGTH_SIZE = 8,
};

struct peer_receiving {
    struct peers *peers;
    LIST_ENTRY(peer_receiving) link;
    struct http_exchange *exchange;        /* a reference */
    struct peer_snapshot_metrics *metrics; /* of the sender */
    bool failed;                           /* it was refused */
    bool is_full;                          /* the connection is paused */
    bool at_end;                           /* all has come */
    struct buf head;                       /* the length and the message, until it is whole */
    bool has_message;
    struct raft_message message;
    struct buf filling;
    int64_t began;
    struct loop_timer silence;

    /* A helper has these while it works. */
    uv_work_t work;
    bool is_working;
    enum { JOB_WRITE, JOB_FINISH, JOB_DISCARD } job;
    struct buf writing;
    char *path; /* of the file; NULL: it was not made, or has its own name by now */
    struct fs_file *file;
    uint64_t written;
    struct error *error;

    struct engine_task step;
    struct loop_task stepped;
    bool is_stepping;
    char *refusal; /* what the node had against it */
};

static struct loop *loop_of(const struct peer_receiving *receiving)
{
    return receiving->peers->config.loop;
}

/* ---- helper threads ---- */

static struct error *create_file(struct peer_receiving *receiving)
{
    const struct peers_config *config = &receiving->peers->config;
    receiving->path = mem_printf("%s/tmp%" PRIx64 "-%" PRIx64, config->snap_directory,
                                 receiving->message.snapshot->index, (uint64_t)receiving->began);
    return fs_open(config->fs, receiving->path, FS_WRITE | FS_CREATE | FS_EXCLUSIVE, &receiving->file);
}

static struct error *write_portion(struct peer_receiving *receiving)
{
    if (receiving->file == NULL) TRY(create_file(receiving));
    struct bytes portion = buf_bytes(&receiving->writing);
    TRY(fs_file_pwrite(receiving->file, portion.data, portion.size, receiving->written));
    receiving->written += portion.size;
    return NULL;
}

static struct error *close_file(struct peer_receiving *receiving)
{
    struct fs_file *file = receiving->file;
    receiving->file = NULL;
    return file == NULL ? NULL : fs_file_close(file);
}

static struct error *finish_file(struct peer_receiving *receiving)
{
    const struct peers_config *config = &receiving->peers->config;
    const struct raft_snapshot *snapshot = receiving->message.snapshot;
    struct snap_options options = {.fs = config->fs,
                                   .logger = receiving->peers->logger,
                                   .metrics = config->snap_metrics,
                                   .now = config->now};
    if (receiving->file == NULL) return error_new(ERROR_INVALID, "there is no database behind the message");
    TRY(close_file(receiving));
    TRY(member_check_image(config->fs, receiving->path, snapshot, receiving->peers->logger));
    TRY(snap_receive_database(&options, config->snap_directory, receiving->path, snapshot->index));
    free(receiving->path);
    receiving->path = NULL;
    return NULL;
}

static void discard_file(struct peer_receiving *receiving)
{
    error_free(close_file(receiving));
    if (receiving->path != NULL) error_free(fs_remove(receiving->peers->config.fs, receiving->path));
}

static void run_job(uv_work_t *work)
{
    struct peer_receiving *receiving = CONTAINER(work, struct peer_receiving, work);
    switch (receiving->job) {
    case JOB_WRITE:
        receiving->error = write_portion(receiving);
        break;
    case JOB_FINISH:
        receiving->error = finish_file(receiving);
        break;
    case JOB_DISCARD:
        discard_file(receiving);
        break;
    }
}

static void job_is_done(uv_work_t *work, int status);

static void begin_job(struct peer_receiving *receiving, int job)
{
    assert(!receiving->is_working);
    receiving->job = job;
    receiving->is_working = true;
    receiving->peers->helpers++;
    int failure = uv_queue_work(loop_uv(loop_of(receiving)), &receiving->work, run_job, job_is_done);
    assert(failure == 0);
}

/* ---- ends ---- */

static void receiving_free(struct peer_receiving *receiving)
{
    LIST_REMOVE(receiving, link);
    loop_timer_clear(loop_of(receiving), &receiving->silence);
    metric_gauge_add(&receiving->metrics->in_flight, -1);
    http_exchange_set_context(receiving->exchange, NULL);
    http_exchange_unref(receiving->exchange);
    raft_message_deinit(&receiving->message);
    buf_deinit(&receiving->head);
    buf_deinit(&receiving->filling);
    buf_deinit(&receiving->writing);
    free(receiving->path);
    free(receiving->refusal);
    free(receiving);
}

/* Nothing more comes of it: the file goes, and then the rest. */
static void discard_when_idle(struct peer_receiving *receiving)
{
    if (!receiving->is_working && !receiving->is_stepping) begin_job(receiving, JOB_DISCARD);
}

static void fail(struct peer_receiving *receiving, int status, const char *text)
{
    uint64_t index = receiving->has_message ? receiving->message.snapshot->index : 0;
    if (receiving->failed) return;
    receiving->failed = true;
    metric_add(&receiving->metrics->failures, 1);
    loop_timer_clear(loop_of(receiving), &receiving->silence);
    log_warn(receiving->peers->logger, "failed to save incoming database snapshot",
             LOG_HEX("local-member-id", receiving->peers->config.member_id),
             LOG_HEX("remote-snapshot-sender-id", receiving->message.from),
             LOG_UINT("incoming-snapshot-index", index), LOG_STRING("error", text));
    http_error(receiving->exchange, status, text);
    discard_when_idle(receiving);
}

static void fail_to_save(struct peer_receiving *receiving, const char *why)
{
    char *text = mem_printf("failed to save KV snapshot (%s)", why);
    fail(receiving, 500, text);
    free(text);
}

/* ---- the node ---- */

static void answer(struct loop *loop, struct loop_task *task)
{
    struct peer_receiving *receiving = CONTAINER(task, struct peer_receiving, stepped);
    (void)loop;
    receiving->is_stepping = false;
    if (receiving->refusal != NULL) {
        char *text = mem_printf("failed to process raft message (%s)", receiving->refusal);
        fail(receiving, 500, text);
        free(text);
        return;
    }
    metric_add(&receiving->metrics->successes, 1);
    metric_observe(&receiving->metrics->duration, (uint64_t)(clock_monotonic() - receiving->began));
    http_respond(receiving->exchange, 204, NULL, BYTES_EMPTY);
    receiving_free(receiving);
}

/* Node thread. */
static void step(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct peer_receiving *receiving = CONTAINER(task, struct peer_receiving, step);
    (void)engine;
    struct error *error = node_message(node, &receiving->message);
    if (error != NULL) receiving->refusal = mem_strdup(error->text);
    error_free(error);
    loop_post(loop_of(receiving), &receiving->stepped);
}

static void hand_in(struct peer_receiving *receiving)
{
    int64_t took = clock_monotonic() - receiving->began;
    metric_observe(&receiving->peers->config.snap_metrics->db_save_duration, (uint64_t)took);
    log_info(receiving->peers->logger, "received and saved database snapshot",
             LOG_HEX("local-member-id", receiving->peers->config.member_id),
             LOG_HEX("remote-snapshot-sender-id", receiving->message.from),
             LOG_UINT("incoming-snapshot-index", receiving->message.snapshot->index),
             LOG_UINT("incoming-snapshot-size-bytes", receiving->written),
             LOG_SIZE("incoming-snapshot-size", receiving->written), LOG_DURATION("download-took", took));
    receiving->is_stepping = true;
    engine_post(receiving->peers->engine, &receiving->step);
}

/* ---- the database's bytes ---- */

/* Goes on with what is there, if the helper is free. */
static void go_on(struct peer_receiving *receiving)
{
    if (receiving->is_working || receiving->failed) return;
    size_t least = receiving->at_end ? 1 : PORTION_SIZE;
    if (receiving->filling.size >= least) {
        struct buf empty = receiving->writing;
        receiving->writing = receiving->filling;
        receiving->filling = empty;
        buf_clear(&receiving->filling);
        begin_job(receiving, JOB_WRITE);
    } else if (receiving->at_end) {
        begin_job(receiving, JOB_FINISH);
    }
}

static void watch_silence(struct peer_receiving *receiving)
{
    loop_timer_set(loop_of(receiving), &receiving->silence,
                   clock_monotonic() + receiving->peers->config.read_timeout);
}

static void read_on(struct peer_receiving *receiving)
{
    if (!receiving->is_full) return;
    receiving->is_full = false;
    watch_silence(receiving);
    http_resume(receiving->exchange);
}

static void job_is_done(uv_work_t *work, int status)
{
    struct peer_receiving *receiving = CONTAINER(work, struct peer_receiving, work);
    struct error *error = receiving->error;
    (void)status;
    receiving->is_working = false;
    receiving->error = NULL;
    receiving->peers->helpers--;
    if (receiving->job == JOB_DISCARD) {
        receiving_free(receiving);
    } else if (receiving->failed) {
        discard_when_idle(receiving);
    } else if (error != NULL) {
        fail_to_save(receiving, error->text);
    } else if (receiving->job == JOB_FINISH) {
        if (receiving->peers->closed)
            fail_to_save(receiving, "etcdserver: server stopped");
        else
            hand_in(receiving);
    } else {
        go_on(receiving);
        read_on(receiving);
    }
    error_free(error);
}

/* ---- the message in front ---- */

static bool is_for_this_member(const struct peer_receiving *receiving)
{
    const struct peers *peers = receiving->peers;
    return receiving->message.to == peers->config.member_id &&
           (peers->cluster == NULL || !cluster_is_removed(peers->cluster, receiving->message.from));
}

static void take_message(struct peer_receiving *receiving, struct bytes encoded)
{
    struct error *error = raft_decode_message(&receiving->message, encoded);
    if (error != NULL) {
        char *text = mem_printf("failed to decode raft message (%s)", error->text);
        fail(receiving, 400, text);
        free(text);
        error_free(error);
    } else if (receiving->message.type != RAFT_SNAP || receiving->message.snapshot == NULL ||
               receiving->message.snapshot->index == 0) {
        fail(receiving, 400, "wrong raft message type");
    } else if (!is_for_this_member(receiving)) {
        fail(receiving, 500, "failed to process raft message (it is not between members of this cluster)");
    } else {
        receiving->has_message = true;
        log_info(receiving->peers->logger, "receiving database snapshot",
                 LOG_HEX("local-member-id", receiving->peers->config.member_id),
                 LOG_HEX("remote-snapshot-sender-id", receiving->message.from),
                 LOG_UINT("incoming-snapshot-index", receiving->message.snapshot->index),
                 LOG_UINT("incoming-snapshot-message-size-bytes", encoded.size),
                 LOG_SIZE("incoming-snapshot-message-size", encoded.size));
    }
}

/* Takes what belongs to the message from the front of the piece. */
static struct bytes take_head(struct peer_receiving *receiving, struct bytes piece)
{
    struct buf *head = &receiving->head;
    while (!receiving->has_message && !receiving->failed && piece.size > 0) {
        uint64_t length = head->size < LENGTH_SIZE ? 0 : be64_get(head->data);
        uint64_t whole = LENGTH_SIZE + length;
        size_t size = whole - head->size < piece.size ? (size_t)(whole - head->size) : piece.size;
        buf_append_bytes(head, bytes_of(piece.data, size));
        piece = bytes_of(piece.data + size, piece.size - size);
        if (head->size < LENGTH_SIZE) break;
        length = be64_get(head->data);
        if (length > MESSAGE_MAX)
            fail(receiving, 400, "failed to decode raft message (it is too large)");
        else if (head->size == LENGTH_SIZE + length)
            take_message(receiving, bytes_of(head->data + LENGTH_SIZE, (size_t)length));
    }
    return piece;
}

/* ---- the request ---- */

static void on_silence(struct loop *loop, struct loop_timer *timer)
{
    struct peer_receiving *receiving = CONTAINER(timer, struct peer_receiving, silence);
    (void)loop;
    fail_to_save(receiving, "nothing was heard for too long");
}

static size_t count_receivings(const struct peers *peers)
{
    size_t count = 0;
    const struct peer_receiving *receiving;
    LIST_FOREACH (receiving, &peers->receivings, link) count++;
    return count;
}

void peer_receiving_begin(struct peers *peers, struct peer *from, struct http_exchange *exchange)
{
    if (count_receivings(peers) == RECEIVINGS_MAX) {
        http_error(exchange, 500, "failed to save KV snapshot (too many are being received)");
        return;
    }
    struct peer_receiving *receiving = mem_zalloc(1, sizeof(*receiving));
    receiving->peers = peers;
    receiving->exchange = http_exchange_ref(exchange);
    receiving->metrics = &from->metrics->snapshots[PEER_RECEIVED];
    receiving->began = clock_monotonic();
    receiving->silence.run = on_silence;
    receiving->step.run = step;
    receiving->stepped.run = answer;
    metric_gauge_add(&receiving->metrics->in_flight, 1);
    http_exchange_set_context(exchange, receiving);
    LIST_INSERT_HEAD(&peers->receivings, receiving, link);
    watch_silence(receiving);
}

void peer_receiving_body(struct http_exchange *exchange, struct bytes piece)
{
    struct peer_receiving *receiving = http_exchange_context(exchange);
    if (receiving == NULL || receiving->failed) return;
    watch_silence(receiving);
    piece = take_head(receiving, piece);
    if (receiving->failed) return;
    buf_append_bytes(&receiving->filling, piece);
    go_on(receiving);
    if (receiving->filling.size < PORTION_SIZE) return;
    receiving->is_full = true;
    loop_timer_clear(loop_of(receiving), &receiving->silence);
    http_pause(exchange);
}

void peer_receiving_end(struct http_exchange *exchange)
{
    struct peer_receiving *receiving = http_exchange_context(exchange);
    if (receiving == NULL || receiving->failed) return;
    loop_timer_clear(loop_of(receiving), &receiving->silence);
    receiving->at_end = true;
    if (receiving->has_message)
        go_on(receiving);
    else
        fail(receiving, 400, "failed to decode raft message (unexpected EOF)");
}

void peer_receiving_closed(struct http_exchange *exchange)
{
    struct peer_receiving *receiving = http_exchange_context(exchange);
    if (receiving == NULL) return;
    http_exchange_set_context(exchange, NULL);
    if (!receiving->at_end) fail_to_save(receiving, "unexpected EOF");
}

void peer_receivings_stop(struct peers *peers)
{
    struct peer_receiving *receiving = LIST_FIRST(&peers->receivings);
    while (receiving != NULL) {
        struct peer_receiving *next = LIST_NEXT(receiving, link);
        if (!receiving->at_end) fail_to_save(receiving, "etcdserver: server stopped");
        receiving = next;
    }
}

/* What the node was given and has not answered: it has stopped. */
void peer_receivings_free(struct peers *peers)
{
    while (!LIST_EMPTY(&peers->receivings)) {
        assert(!LIST_FIRST(&peers->receivings)->is_working);
        receiving_free(LIST_FIRST(&peers->receivings));
    }
}
