/* The pipeline: a POST for each message, for as long as the other member has not opened its streams. */
#include "server/peer_internal.h"

#include "raft/codec.h"

#include <stdio.h>
#include <stdlib.h>

static void post_next(struct peer_post *post);

static void post_failed(struct peer_post *post, const char *why)
{
    struct peer *peer = post->peer;
    metric_add(&peer->metrics->sent_failures, 1);
    http1_client_free(post->client);
    post->client = NULL;
    peer_url_failed(peer, post->url);
    peer_became_inactive(peer, why);
    peer_report_unreachable(peer);
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct peer_post *post = http1_client_request_context(request);
    struct peer *peer = post->peer;
    int status = http1_client_request_status(request);
    char why[64];
    post->request = NULL;
    if (peer->closing) return;
    if (error != NULL) {
        post_failed(post, error->text);
    } else if (status != 204) {
        if (status == 403 || status == 410) peers_were_removed(peer->peers, peer->id);
        snprintf(why, sizeof(why), "POST /raft was answered with status %d", status);
        post_failed(post, why);
    } else {
        peer_became_active(peer, "pipeline");
    }
    post_next(post);
}

static const struct http1_client_handler post_handler = {.on_done = on_done};

static void post_message(struct peer_post *post, const struct raft_message *message)
{
    struct peer *peer = post->peer;
    struct peers *peers = peer->peers;
    struct http_header headers[PEER_HEADERS_MAX];
    size_t count = peer_headers(peer, headers) - 1; /* X-Raft-To is for streams */
    headers[count++] = (struct http_header){.name = BYTES_LITERAL("Content-Type"),
                                            .value = BYTES_LITERAL("application/protobuf")};
    buf_clear(&peers->scratch);
    raft_encode_message(&peers->scratch, message);
    struct http1_client_options options = {
        .method = "POST",
        .target = "/raft",
        .headers = headers,
        .header_count = count,
        .body = buf_bytes(&peers->scratch),
        .deadline = clock_monotonic() + peers->config.request_timeout,
        .handler = &post_handler,
        .context = post,
    };
    metric_add(&peer->metrics->sent_bytes, peers->scratch.size);
    post->request = http1_client_request(post->client, &options);
}

static void post_next(struct peer_post *post)
{
    struct peer *peer = post->peer;
    while (post->request == NULL) {
        struct node_peer_message *message = peer_queue_take(&peer->posts_waiting);
        if (message == NULL) return;
        if (post->client == NULL) {
            post->url = peer->url;
            post->client = peer_client(peer, post->url);
        }
        if (post->client == NULL)
            post_failed(post, "the address cannot be used");
        else
            post_message(post, &message->message);
        peer_message_free(message);
    }
}

void peer_pipeline_put(struct peer *peer, struct node_peer_message *message)
{
    if (peer->posts_waiting.count >= PEER_PIPELINE_QUEUE_MAX) {
        metric_add(&peer->metrics->sent_failures, 1);
        peer_message_free(message);
        peer_report_unreachable(peer);
        return;
    }
    peer_queue_put(&peer->posts_waiting, &message->mail);
    for (size_t i = 0; i < PEER_PIPELINE_POSTS; i++) {
        if (peer->posts[i].request != NULL) continue;
        post_next(&peer->posts[i]);
        return;
    }
}

void peer_pipeline_init(struct peer *peer)
{
    for (size_t i = 0; i < PEER_PIPELINE_POSTS; i++) peer->posts[i].peer = peer;
}

void peer_pipeline_stop(struct peer *peer)
{
    peer_queue_drop(&peer->posts_waiting);
    for (size_t i = 0; i < PEER_PIPELINE_POSTS; i++) http1_client_free(peer->posts[i].client);
}
