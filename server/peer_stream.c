/* Streams. A message from A to B travels in the body of a GET that B has opened to A, so each member opens
 * two to every other: it reads from those and writes to the ones it is asked for. */
#include "server/peer_internal.h"

#include "base/container.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_SIZE = 64 * 1024 };

static const char *const stream_names[PEER_STREAMS] = {
    [PEER_STREAM_MESSAGE] = "stream Message",
    [PEER_STREAM_APPEND] = "stream MsgApp v2",
};
static const char *const stream_paths[PEER_STREAMS] = {
    [PEER_STREAM_MESSAGE] = "/raft/stream/message/",
    [PEER_STREAM_APPEND] = "/raft/stream/msgapp/",
};

/* ---- writers ---- */

static void writer_detach(struct peer_writer *writer)
{
    struct http_exchange *exchange = writer->exchange;
    writer->exchange = NULL;
    peer_queue_drop(&writer->queue);
    peer_codec_deinit(&writer->codec);
    http_exchange_set_context(exchange, NULL);
    http_exchange_unref(exchange);
}

void peer_writer_attach(struct peer_writer *writer, struct http_exchange *exchange)
{
    struct peer *peer = writer->peer;
    struct peers *peers = peer->peers;
    if (writer->exchange != NULL) {
        http_end(writer->exchange);
        writer_detach(writer);
        log_warn(peers->logger, "closed TCP streaming connection with remote peer",
                 LOG_STRING("stream-writer-type", stream_names[writer->stream]),
                 LOG_STRING("remote-peer-id", peer->id_text));
    }
    writer->exchange = http_exchange_ref(exchange);
    http_exchange_set_context(exchange, writer);
    peer_codec_init(&writer->codec, writer->stream, peers->config.member_id, peer->id);
    writer->pending_before = 0;
    writer->moved_at = loop_now(peers->config.loop);
    http_begin(exchange, 200, NULL);
    peer_became_active(peer, stream_names[writer->stream]);
    log_info(peers->logger, "established TCP streaming connection with remote peer",
             LOG_STRING("stream-writer-type", stream_names[writer->stream]),
             LOG_STRING("local-member-id", peers->member_id_text),
             LOG_STRING("remote-peer-id", peer->id_text));
}

static void writer_lost(struct peer_writer *writer, const char *why)
{
    struct peer *peer = writer->peer;
    writer_detach(writer);
    metric_add(&peer->metrics->sent_failures, 1);
    log_warn(peer->peers->logger, "lost TCP streaming connection with remote peer",
             LOG_STRING("stream-writer-type", stream_names[writer->stream]),
             LOG_STRING("local-member-id", peer->peers->member_id_text),
             LOG_STRING("remote-peer-id", peer->id_text), LOG_STRING("error", why));
    peer_became_inactive(peer, why);
    peer_report_unreachable(peer);
}

void peer_writer_closed(struct http_exchange *exchange)
{
    struct peer_writer *writer = http_exchange_context(exchange);
    if (writer == NULL) return; /* it was replaced, or never attached */
    assert(writer->exchange == exchange);
    writer_lost(writer, "the connection was closed by the other member");
}

void peer_writer_writable(struct http_exchange *exchange)
{
    struct peer_writer *writer = http_exchange_context(exchange);
    if (writer != NULL) peer_writer_pump(writer);
}

static void send_scratch(struct peer_writer *writer)
{
    struct buf *scratch = &writer->peer->peers->scratch;
    metric_add(&writer->peer->metrics->sent_bytes, scratch->size);
    http_send(writer->exchange, buf_bytes(scratch));
    buf_clear(scratch);
}

void peer_writer_pump(struct peer_writer *writer)
{
    struct buf *scratch = &writer->peer->peers->scratch;
    buf_clear(scratch);
    while (writer->exchange != NULL && http_pending(writer->exchange) < HTTP_SEND_HIGH) {
        struct node_peer_message *message = peer_queue_take(&writer->queue);
        if (message == NULL) break;
        peer_codec_encode(&writer->codec, scratch, &message->message);
        peer_message_free(message);
        if (scratch->size >= PIECE_SIZE) send_scratch(writer);
    }
    if (writer->exchange != NULL && scratch->size > 0) send_scratch(writer);
}

bool peer_writer_put(struct peer_writer *writer, struct node_peer_message *message)
{
    struct peer *peer = writer->peer;
    if (writer->exchange == NULL) return false;
    if (writer->queue.count >= PEER_WRITER_QUEUE_MAX) {
        metric_add(&peer->metrics->sent_failures, 1);
        log_warn(peer->peers->logger,
                 "dropped internal Raft message since sending buffer is full (overloaded network)",
                 LOG_STRING("remote-peer-id", peer->id_text),
                 LOG_STRING("remote-peer-name", stream_names[writer->stream]));
        peer_message_free(message);
        peer_report_unreachable(peer);
    } else {
        peer_queue_put(&writer->queue, &message->mail);
    }
    return true;
}

static void writer_tick(struct peer_writer *writer, int64_t now)
{
    if (writer->exchange == NULL) return;
    size_t pending = http_pending(writer->exchange);
    if (pending == 0 || pending < writer->pending_before) writer->moved_at = now;
    if (now - writer->moved_at > writer->peer->peers->config.write_timeout) {
        http_abort(writer->exchange);
        writer_lost(writer, "the other member does not read");
        return;
    }
    struct buf *scratch = &writer->peer->peers->scratch;
    buf_clear(scratch);
    /* A stuck connection needs no sign of life, and gets what waits first. */
    if (pending < HTTP_SEND_HIGH) {
        peer_codec_encode_alive(&writer->codec, scratch);
        send_scratch(writer);
    }
    writer->pending_before = http_pending(writer->exchange);
}

/* ---- readers ---- */

static void dial(struct peer_reader *reader);

static void dial_later(struct peer_reader *reader)
{
    struct loop *loop = reader->peer->peers->config.loop;
    loop_timer_set(loop, &reader->retry, clock_monotonic() + PEER_RETRY);
}

static void on_retry(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    dial(CONTAINER(timer, struct peer_reader, retry));
}

/* Ends the connection for a reason of ours; on_done follows. */
static void reader_cut(struct peer_reader *reader, const char *why)
{
    free(reader->why);
    reader->why = mem_strdup(why);
    http1_client_cancel(reader->request);
}

static bool find_header(const struct http_header *headers, size_t count, const char *name,
                        struct bytes *value)
{
    for (size_t i = 0; i < count; i++) {
        if (!bytes_equal(headers[i].name, bytes_from_string(name))) continue;
        *value = headers[i].value;
        return true;
    }
    return false;
}

static void reader_attached(struct peer_reader *reader)
{
    struct peer *peer = reader->peer;
    reader->attached = true;
    peer_codec_init(&reader->codec, reader->stream, peer->id, peer->peers->config.member_id);
    peer_became_active(peer, stream_names[reader->stream]);
    log_info(peer->peers->logger, "established TCP streaming connection with remote peer",
             LOG_STRING("stream-reader-type", stream_names[reader->stream]),
             LOG_STRING("local-member-id", peer->peers->member_id_text),
             LOG_STRING("remote-peer-id", peer->id_text));
}

static void on_response(struct http1_client_request *request, int status, const struct http_header *headers,
                        size_t count)
{
    struct peer_reader *reader = http1_client_request_context(request);
    struct peer *peer = reader->peer;
    struct bytes cluster = BYTES_EMPTY;
    reader->heard_at = loop_now(peer->peers->config.loop);
    bool foreign = find_header(headers, count, "x-etcd-cluster-id", &cluster) &&
                   !bytes_equal(cluster, bytes_from_string(peer->peers->cluster_id_text));
    if (status == 200 && !foreign) {
        reader_attached(reader);
        return;
    }
    char why[80];
    snprintf(why, sizeof(why), foreign ? "cluster ID mismatch" : "answered with status %d", status);
    bool removed = status == 410 && !foreign;
    free(reader->why);
    reader->why = mem_strdup(why);
    if (removed) peers_were_removed(peer->peers, peer->id);
}

static void on_message(void *context, struct raft_message *message)
{
    struct peer *peer = context;
    if (message->from == peer->id && message->to == peer->peers->config.member_id) {
        peer_receive(peer, message);
        return;
    }
    log_warn(peer->peers->logger, "ignored a message that is not between these members",
             LOG_STRING("remote-peer-id", peer->id_text), LOG_HEX("from", message->from),
             LOG_HEX("to", message->to));
}

static void on_body(struct http1_client_request *request, struct bytes piece)
{
    struct peer_reader *reader = http1_client_request_context(request);
    struct peer *peer = reader->peer;
    reader->heard_at = loop_now(peer->peers->config.loop);
    if (!reader->attached) return; /* the text of an error */
    metric_add(&peer->metrics->received_bytes, piece.size);
    struct error *error = peer_codec_decode(&reader->codec, piece, on_message, peer);
    if (error == NULL) return;
    metric_add(&peer->metrics->received_failures, 1);
    reader_cut(reader, error->text);
    error_free(error);
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct peer_reader *reader = http1_client_request_context(request);
    struct peer *peer = reader->peer;
    reader->request = NULL;
    if (peer->closing) return;
    const char *why = reader->why != NULL ? reader->why : error != NULL ? error->text : "EOF";
    if (reader->attached)
        log_warn(peer->peers->logger, "lost TCP streaming connection with remote peer",
                 LOG_STRING("stream-reader-type", stream_names[reader->stream]),
                 LOG_STRING("remote-peer-id", peer->id_text), LOG_STRING("error", why));
    /* A stream that ends in order was replaced by a newer one. */
    bool orderly = reader->attached && error == NULL;
    if (!orderly) peer_became_inactive(peer, why);
    if (!orderly) peer_url_failed(peer, reader->url);
    if (reader->attached) peer_codec_deinit(&reader->codec);
    reader->attached = false;
    free(reader->why);
    reader->why = NULL;
    http1_client_free(reader->client);
    reader->client = NULL;
    dial_later(reader);
}

static const struct http1_client_handler reader_handler = {
    .on_response = on_response,
    .on_body = on_body,
    .on_done = on_done,
};

static void dial(struct peer_reader *reader)
{
    struct peer *peer = reader->peer;
    struct http_header headers[PEER_HEADERS_MAX];
    reader->url = peer->url;
    reader->client = peer_client(peer, reader->url);
    if (reader->client == NULL) {
        peer_url_failed(peer, reader->url);
        dial_later(reader);
        return;
    }
    char *target = mem_printf("%s%s", stream_paths[reader->stream], peer->peers->member_id_text);
    struct http1_client_options options = {
        .method = "GET",
        .target = target,
        .headers = headers,
        .header_count = peer_headers(peer, headers),
        .handler = &reader_handler,
        .context = reader,
    };
    reader->heard_at = clock_monotonic();
    reader->request = http1_client_request(reader->client, &options);
    free(target);
}

static void reader_tick(struct peer_reader *reader, int64_t now)
{
    if (reader->request != NULL && now - reader->heard_at > reader->peer->peers->config.read_timeout)
        reader_cut(reader, "nothing was heard for too long");
}

/* ---- both ---- */

void peer_streams_tick(struct peer *peer, int64_t now)
{
    for (size_t i = 0; i < PEER_STREAMS; i++) {
        writer_tick(&peer->writers[i], now);
        reader_tick(&peer->readers[i], now);
    }
}

void peer_streams_init(struct peer *peer)
{
    for (size_t i = 0; i < PEER_STREAMS; i++) {
        peer->writers[i] = (struct peer_writer){.peer = peer, .stream = (enum peer_stream)i};
        peer->readers[i] = (struct peer_reader){.peer = peer, .stream = (enum peer_stream)i};
        peer->readers[i].retry.run = on_retry;
    }
}

void peer_streams_start(struct peer *peer)
{
    for (size_t i = 0; i < PEER_STREAMS; i++) dial(&peer->readers[i]);
}

void peer_streams_stop(struct peer *peer)
{
    for (size_t i = 0; i < PEER_STREAMS; i++) {
        struct peer_reader *reader = &peer->readers[i];
        loop_timer_clear(peer->peers->config.loop, &reader->retry);
        http1_client_free(reader->client);
        if (reader->attached) peer_codec_deinit(&reader->codec);
        free(reader->why);
        struct peer_writer *writer = &peer->writers[i];
        if (writer->exchange == NULL) continue;
        http_end(writer->exchange);
        writer_detach(writer);
    }
}
