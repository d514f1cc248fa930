/* Snapshots to members that are behind everything the log still holds: POST /raft/snapshot, whose body is
 *
 *     size of the message, 8 bytes, big endian │ raftpb.Message │ the database file
 *
 * The file's image is read in portions by helper threads and handed to the connection as fast as that takes
 * it: two portions are in memory at most, however large the database and slow the other member. */
#include "server/peer_internal.h"

#include "base/container.h"
#include "base/wire.h"
#include "bolt/bolt.h"
#include "raft/codec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PORTION_SIZE = 256 * 1024,
    SENDINGS_MAX = 16, /* at a time */
};

/* The other member has to take a portion in so much time. */
#define STALL_MAX (30 * LOOP_SECOND)
/* When it has everything it makes that durable and looks at each page before it answers: so many bytes in a
 * second, and a while. */
#define ANSWER_RATE  (4 << 20)
#define ANSWER_EXTRA (60 * LOOP_SECOND)

struct peer_sending {
    struct mail mail; /* on its way to the loop */
    struct peers *peers;
    struct peer *peer; /* NULL: it is gone, nothing is sent or told any more */
    LIST_ENTRY(peer_sending) link;
    struct node_peer_message *message;
    struct backend_reader reader;
    uint64_t size, offset; /* of the image */
    struct http1_client *client;
    struct http1_client_request *request; /* NULL: over */
    size_t url;
    char *why; /* it was given up here */
    struct loop_timer limit;
    int64_t began;

    uv_work_t work;
    bool is_reading; /* a helper has the reader and what follows */
    struct blob *portion;
    struct error *error;
};

/* ---- ends ---- */

static void sending_free(struct peer_sending *sending)
{
    backend_read_end(&sending->reader);
    peer_message_free(sending->message);
    free(sending->why);
    free(sending);
}

/* Not while a helper reads from it. */
static void free_when_over(struct peer_sending *sending)
{
    if (sending->request != NULL || sending->is_reading) return;
    LIST_REMOVE(sending, link);
    sending_free(sending);
}

static void log_end(const struct peer_sending *sending, const char *failure)
{
    const struct logger *logger = sending->peers->logger;
    uint64_t index = sending->message->message.snapshot->index;
    if (failure == NULL)
        log_info(logger, "sent database snapshot", LOG_UINT("snapshot-index", index),
                 LOG_STRING("remote-peer-id", sending->peer->id_text), LOG_UINT("bytes", sending->size),
                 LOG_SIZE("size", sending->size));
    else
        log_warn(logger, "failed to send database snapshot", LOG_UINT("snapshot-index", index),
                 LOG_STRING("remote-peer-id", sending->peer->id_text), LOG_UINT("bytes", sending->size),
                 LOG_SIZE("size", sending->size), LOG_STRING("error", failure));
}

/* The POST is over; failure NULL: the other member has the snapshot. */
static void tell_end(struct peer_sending *sending, const char *failure)
{
    struct peer *peer = sending->peer;
    struct peer_snapshot_metrics *metrics = &peer->metrics->snapshots[PEER_SENT];
    metric_gauge_add(&metrics->in_flight, -1);
    log_end(sending, failure);
    if (failure == NULL) {
        metric_add(&metrics->successes, 1);
        metric_observe(&metrics->duration, (uint64_t)(clock_monotonic() - sending->began));
        peer_became_active(peer, "snapshot");
    } else {
        metric_add(&metrics->failures, 1);
        metric_add(&peer->metrics->sent_failures, 1);
        peer_url_failed(peer, sending->url);
        peer_became_inactive(peer, failure);
        peer_report_unreachable(peer);
    }
    peers_report_snapshot(sending->peers, peer->id, failure == NULL);
    sending->peer = NULL;
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct peer_sending *sending = http1_client_request_context(request);
    char text[64];
    int status = http1_client_request_status(request);
    const char *failure = sending->why != NULL ? sending->why : error != NULL ? error->text : NULL;
    sending->request = NULL;
    loop_timer_clear(sending->peers->config.loop, &sending->limit);
    if (failure == NULL && status != 204) {
        snprintf(text, sizeof(text), "POST /raft/snapshot was answered with status %d", status);
        failure = text;
    }
    if (sending->peer != NULL && (status == 403 || status == 410))
        peers_were_removed(sending->peers, sending->peer->id);
    if (sending->peer != NULL) tell_end(sending, failure);
    http1_client_free(sending->client);
    free_when_over(sending);
}

/* on_done follows at once. */
static void give_up(struct peer_sending *sending, const char *why)
{
    free(sending->why);
    sending->why = mem_strdup(why);
    http1_client_cancel(sending->request);
}

/* ---- the image ---- */

/* Helper thread. */
static void read_portion(uv_work_t *work)
{
    struct peer_sending *sending = CONTAINER(work, struct peer_sending, work);
    uint64_t left = sending->size - sending->offset;
    size_t size = left < PORTION_SIZE ? (size_t)left : PORTION_SIZE, read = 0;
    sending->portion = blob_new(size);
    sending->error =
        bolt_image_read(sending->reader.tx, sending->offset, sending->portion->data, size, &read);
    if (sending->error == NULL && read != size)
        sending->error = error_new(ERROR_CORRUPT, "the database's file ends too early");
}

static void portion_is_read(uv_work_t *work, int status);

static void begin_portion(struct peer_sending *sending)
{
    struct loop *loop = sending->peers->config.loop;
    loop_timer_set(loop, &sending->limit, clock_monotonic() + STALL_MAX);
    sending->is_reading = true;
    sending->peers->helpers++;
    int failure = uv_queue_work(loop_uv(loop), &sending->work, read_portion, portion_is_read);
    assert(failure == 0);
}

/* All of it is on its way: what is left is the answer. */
static void end_body(struct peer_sending *sending)
{
    int64_t time = ANSWER_EXTRA + (int64_t)(sending->size / ANSWER_RATE) * LOOP_SECOND;
    loop_timer_set(sending->peers->config.loop, &sending->limit, clock_monotonic() + time);
    http1_client_send_end(sending->request);
}

static void send_portion(struct peer_sending *sending)
{
    size_t size = sending->portion->size;
    sending->offset += size;
    metric_add(&sending->peer->metrics->sent_bytes, size);
    size_t waiting = http1_client_send(sending->request, sending->portion);
    if (sending->offset == sending->size)
        end_body(sending);
    else if (waiting < HTTP_SEND_HIGH)
        begin_portion(sending);
}

static void portion_is_read(uv_work_t *work, int status)
{
    struct peer_sending *sending = CONTAINER(work, struct peer_sending, work);
    struct error *error = sending->error;
    (void)status;
    sending->is_reading = false;
    sending->error = NULL;
    sending->peers->helpers--;
    if (sending->request != NULL && error == NULL) {
        send_portion(sending);
    } else {
        blob_unref(sending->portion);
        if (sending->request != NULL)
            give_up(sending, error->text); /* frees it */
        else
            free_when_over(sending);
        error_free(error);
    }
}

static void on_writable(struct http1_client_request *request)
{
    struct peer_sending *sending = http1_client_request_context(request);
    if (!sending->is_reading && sending->offset < sending->size) begin_portion(sending);
}

static void on_limit(struct loop *loop, struct loop_timer *timer)
{
    struct peer_sending *sending = CONTAINER(timer, struct peer_sending, limit);
    (void)loop;
    give_up(sending, sending->offset < sending->size ? "the other member does not read"
                                                     : "the other member does not answer");
}

/* ---- beginning ---- */

static const struct http1_client_handler sending_handler = {.on_writable = on_writable, .on_done = on_done};

static void post(struct peer_sending *sending)
{
    struct peers *peers = sending->peers;
    struct http_header headers[PEER_HEADERS_MAX];
    struct buf head = {0};
    size_t count = peer_headers(sending->peer, headers) - 1; /* X-Raft-To is for streams */
    headers[count++] = (struct http_header){.name = BYTES_LITERAL("Content-Type"),
                                            .value = BYTES_LITERAL("application/octet-stream")};
    be64_put(buf_reserve(&head, 8), 0);
    head.size = 8;
    raft_encode_message(&head, &sending->message->message);
    be64_put(head.data, head.size - 8);
    struct http1_client_options options = {
        .method = "POST",
        .target = "/raft/snapshot",
        .headers = headers,
        .header_count = count,
        .body = buf_bytes(&head),
        .stream_body = true,
        .body_size = (int64_t)(head.size + sending->size),
        .handler = &sending_handler,
        .context = sending,
    };
    metric_add(&sending->peer->metrics->sent_bytes, head.size);
    log_info(peers->logger, "sending database snapshot",
             LOG_UINT("snapshot-index", sending->message->message.snapshot->index),
             LOG_STRING("remote-peer-id", sending->peer->id_text), LOG_UINT("bytes", sending->size),
             LOG_SIZE("size", sending->size));
    metric_gauge_add(&sending->peer->metrics->snapshots[PEER_SENT].in_flight, 1);
    sending->request = http1_client_request(sending->client, &options);
    buf_deinit(&head);
    begin_portion(sending);
}

static bool is_room(const struct peers *peers)
{
    size_t count = 0;
    const struct peer_sending *sending;
    LIST_FOREACH (sending, &peers->sendings, link) count++;
    return count < SENDINGS_MAX;
}

void peer_sending_begin(struct peers *peers, struct mail *mail)
{
    struct peer_sending *sending = CONTAINER(mail, struct peer_sending, mail);
    uint64_t to = sending->message->message.to;
    struct peer *peer = peers->closed ? NULL : peers_find(peers, to);
    if (peer != NULL && is_room(peers)) {
        sending->url = peer->url;
        sending->client = peer_client(peer, peer->url);
    }
    if (sending->client == NULL) {
        log_warn(peers->logger, "dropped a database snapshot that cannot be sent now",
                 LOG_HEX("remote-peer-id", to));
        sending_free(sending);
        peers_report_snapshot(peers, to, false);
        return;
    }
    sending->peer = peer;
    sending->limit.run = on_limit;
    sending->began = clock_monotonic();
    sending->size = bolt_size(sending->reader.tx);
    LIST_INSERT_HEAD(&peers->sendings, sending, link);
    post(sending);
}

void peer_sendings_stop(struct peer *peer)
{
    struct peer_sending *sending = LIST_FIRST(&peer->peers->sendings);
    while (sending != NULL) {
        struct peer_sending *next = LIST_NEXT(sending, link);
        if (sending->peer == peer) give_up(sending, "the member is gone");
        sending = next;
    }
}

void peers_send_snapshot(struct peers *peers, struct node_peer_message *message,
                         const struct backend_reader *reader)
{
    struct peer_sending *sending = mem_zalloc(1, sizeof(*sending));
    sending->peers = peers;
    sending->message = message;
    sending->reader = *reader;
    mailbox_put(&peers->snapshots, &sending->mail);
    peers_wake(peers);
}
