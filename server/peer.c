#include "server/peer_internal.h"

#include "base/container.h"
#include "cluster/url.h"
#include "server/rpc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH_SHARES_MAX = 16 };

/* Received messages on their way to the node, of several members. */
struct peer_batch {
    struct engine_task task;
    struct peers *peers;
    struct raft_messages messages;
    struct peer_share {
        uint64_t id;
        size_t count;
    } shares[BATCH_SHARES_MAX]; /* whose they are */
    size_t share_count;
    size_t bytes;
    struct loop_task counted; /* brings the shares back */
};

/* Something else that the node is told of one member. */
struct peer_report {
    struct engine_task task;
    uint64_t id;
    enum {
        REPORT_UNREACHABLE,
        REPORT_SNAPSHOT_SENT,
        REPORT_SNAPSHOT_FAILED,
        REPORT_VERSION,
        REPORT_ACTIVE
    } kind;
    int64_t since;
    char version[PEER_VERSION_SIZE];
};

/* A changed cluster, from the node thread. */
struct membership {
    struct mail mail;
    struct cluster *cluster;
};

/* ---- queues ---- */

void peer_queue_put(struct peer_queue *queue, struct mail *mail)
{
    mail->next = NULL;
    if (queue->oldest == NULL) queue->end = &queue->oldest;
    *queue->end = mail;
    queue->end = &mail->next;
    queue->count++;
}

struct node_peer_message *peer_queue_take(struct peer_queue *queue)
{
    struct mail *mail = queue->oldest;
    if (mail == NULL) return NULL;
    queue->oldest = mail->next;
    queue->count--;
    return CONTAINER(mail, struct node_peer_message, mail);
}

void peer_message_free(struct node_peer_message *message)
{
    raft_message_deinit(&message->message);
    free(message);
}

void peer_queue_drop(struct peer_queue *queue)
{
    struct node_peer_message *message;
    while ((message = peer_queue_take(queue)) != NULL) peer_message_free(message);
}

/* ---- to the node ---- */

static void count_back(struct loop *loop, struct loop_task *task)
{
    struct peer_batch *batch = CONTAINER(task, struct peer_batch, counted);
    (void)loop;
    for (size_t i = 0; i < batch->share_count; i++) {
        struct peer *peer = peers_find(batch->peers, batch->shares[i].id);
        if (peer == NULL) continue;
        peer->receiving -=
            batch->shares[i].count < peer->receiving ? batch->shares[i].count : peer->receiving;
    }
    batch->peers->receiving_bytes -= batch->bytes;
    free(batch);
}

static void step_batch(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct peer_batch *batch = CONTAINER(task, struct peer_batch, task);
    (void)engine;
    /* What raft refuses it has logged; the sender learns nothing by being told. */
    for (size_t i = 0; i < batch->messages.count; i++)
        error_free(node_message(node, &batch->messages.items[i]));
    raft_messages_deinit(&batch->messages);
    batch->counted.run = count_back;
    loop_post(batch->peers->config.loop, &batch->counted);
}

static void hand_in(struct loop *loop, struct loop_deferred *deferred)
{
    struct peers *peers = CONTAINER(deferred, struct peers, hand_in);
    struct peer_batch *batch = peers->batch;
    (void)loop;
    if (batch == NULL) return;
    peers->batch = NULL;
    engine_post(peers->engine, &batch->task);
}

/* NULL: the batch holds messages of so many members that it must go. */
static struct peer_share *share_of(struct peer_batch *batch, uint64_t id)
{
    for (size_t i = 0; i < batch->share_count; i++)
        if (batch->shares[i].id == id) return &batch->shares[i];
    if (batch->share_count == BATCH_SHARES_MAX) return NULL;
    batch->shares[batch->share_count] = (struct peer_share){.id = id};
    return &batch->shares[batch->share_count++];
}

static struct peer_share *share_in_batch(struct peers *peers, uint64_t id)
{
    struct peer_share *share = peers->batch == NULL ? NULL : share_of(peers->batch, id);
    if (share != NULL) return share;
    hand_in(peers->config.loop, &peers->hand_in);
    peers->batch = mem_zalloc(1, sizeof(*peers->batch));
    peers->batch->peers = peers;
    peers->batch->task.run = step_batch;
    return share_of(peers->batch, id);
}

void peer_receive(struct peer *peer, struct raft_message *message)
{
    struct peers *peers = peer->peers;
    uint64_t size = raft_entries_payload_size(message->entries.items, message->entries.count);
    if (peer->receiving >= PEER_RECEIVE_MAX || peers->receiving_bytes + size > PEER_RECEIVE_BYTES_MAX) {
        metric_add(&peer->metrics->received_failures, 1);
        log_warn(peers->logger, "dropped Raft message since receiving buffer is full (overloaded network)",
                 LOG_HEX("local-member-id", peers->config.member_id), LOG_HEX("from", peer->id));
        return;
    }
    share_in_batch(peers, peer->id)->count++;
    raft_messages_append(&peers->batch->messages, raft_message_take(message));
    peer->receiving++;
    peers->batch->bytes += size;
    peers->receiving_bytes += size;
    loop_defer(peers->config.loop, &peers->hand_in);
}

static void run_report(struct engine *engine, struct node *node, struct engine_task *task)
{
    struct peer_report *report = CONTAINER(task, struct peer_report, task);
    (void)engine;
    switch (report->kind) {
    case REPORT_UNREACHABLE:
        node_peer_unreachable(node, report->id);
        break;
    case REPORT_SNAPSHOT_SENT:
    case REPORT_SNAPSHOT_FAILED:
        node_snapshot_reported(node, report->id, report->kind == REPORT_SNAPSHOT_SENT);
        break;
    case REPORT_VERSION:
        node_peer_version(node, report->id, report->version[0] == '\0' ? NULL : report->version);
        break;
    case REPORT_ACTIVE:
        node_peer_active(node, report->id, report->since);
        break;
    }
    free(report);
}

static struct peer_report *report_new(uint64_t id, int kind)
{
    struct peer_report *report = mem_zalloc(1, sizeof(*report));
    report->task.run = run_report;
    report->id = id;
    report->kind = kind;
    return report;
}

void peer_report_unreachable(struct peer *peer)
{
    int64_t now = loop_now(peer->peers->config.loop);
    if (now - peer->reported_at < PEER_REPORT_INTERVAL || peer->peers->closed) return;
    peer->reported_at = now;
    engine_post(peer->peers->engine, &report_new(peer->id, REPORT_UNREACHABLE)->task);
}

void peers_report_snapshot(struct peers *peers, uint64_t id, bool success)
{
    if (peers->closed) return;
    engine_post(peers->engine,
                &report_new(id, success ? REPORT_SNAPSHOT_SENT : REPORT_SNAPSHOT_FAILED)->task);
}

void peer_report_version(struct peer *peer, const char *version)
{
    if (peer->peers->closed) return;
    struct peer_report *report = report_new(peer->id, REPORT_VERSION);
    if (version != NULL) snprintf(report->version, sizeof(report->version), "%s", version);
    engine_post(peer->peers->engine, &report->task);
}

/* ---- one member ---- */

static void report_active(const struct peer *peer)
{
    if (peer->peers->closed) return;
    struct peer_report *report = report_new(peer->id, REPORT_ACTIVE);
    report->since = peer->active_since;
    engine_post(peer->peers->engine, &report->task);
}

void peer_became_active(struct peer *peer, const char *why)
{
    if (peer->active_since != 0) return;
    peer->active_since = loop_now(peer->peers->config.loop);
    metric_set(&peer->metrics->active, 1);
    report_active(peer);
    log_info(peer->peers->logger, "peer became active", LOG_STRING("peer-id", peer->id_text),
             LOG_STRING("reason", why));
}

void peer_became_inactive(struct peer *peer, const char *why)
{
    if (peer->active_since == 0) return;
    int64_t active_for = loop_now(peer->peers->config.loop) - peer->active_since;
    peer->active_since = 0;
    metric_set(&peer->metrics->active, 0);
    metric_add(&peer->metrics->disconnects, 1);
    report_active(peer);
    log_warn(peer->peers->logger, "peer became inactive (message send to peer failed)",
             LOG_STRING("peer-id", peer->id_text), LOG_DURATION("active-for", active_for),
             LOG_STRING("error", why));
}

void peer_url_failed(struct peer *peer, size_t url)
{
    if (peer->url == url && peer->urls.count > 0) peer->url = (peer->url + 1) % peer->urls.count;
}

struct http1_client *peer_client_for(struct loop *loop, const char *url,
                                     const struct transport_security *security, int64_t connect_timeout)
{
    struct cluster_url parts;
    struct error *error = cluster_url_parse(bytes_from_string(url), &parts);
    if (error != NULL) {
        error_free(error);
        return NULL;
    }
    bool is_secure = bytes_equal(parts.scheme, BYTES_LITERAL("https")) ||
                     bytes_equal(parts.scheme, BYTES_LITERAL("unixs"));
    bool is_unix = bytes_starts_with(parts.scheme, BYTES_LITERAL("unix"));
    if (is_secure && security == NULL) return NULL;
    const char *rest = strstr(url, "://") + 3;
    char *address = is_unix ? mem_printf("unix:%s", rest) : mem_strdup(rest);
    struct http1_client_config config = {
        .address = address,
        .security = is_secure ? security : NULL,
        .connect_timeout = connect_timeout,
    };
    struct http1_client *client = http1_client_new(loop, &config);
    free(address);
    return client;
}

struct http1_client *peer_client(struct peer *peer, size_t url)
{
    const struct peers_config *config = &peer->peers->config;
    if (peer->urls.count == 0) return NULL;
    struct http1_client *client = peer_client_for(config->loop, peer->urls.items[url % peer->urls.count],
                                                  config->security, config->dial_timeout);
    if (client != NULL && config->local_address != NULL)
        http1_client_connect_from(client, config->local_address);
    return client;
}

size_t peer_headers(const struct peer *peer, struct http_header headers[PEER_HEADERS_MAX])
{
    const struct peers *peers = peer->peers;
    const struct {
        const char *name, *value;
    } rows[] = {
        {"X-Server-From", peers->member_id_text}, {"X-Server-Version", peers->config.version},
        {"X-Min-Cluster-Version", "3.0.0"},       {"X-Etcd-Cluster-Id", peers->cluster_id_text},
        {"X-PeerURLs", peers->own_urls_text},     {"X-Raft-To", peer->id_text},
    };
    size_t count = sizeof(rows) / sizeof(rows[0]);
    assert(count <= PEER_HEADERS_MAX);
    for (size_t i = 0; i < count; i++)
        headers[i] = (struct http_header){.name = bytes_from_string(rows[i].name),
                                          .value = bytes_from_string(rows[i].value)};
    return count;
}

void peers_were_removed(struct peers *peers, uint64_t by)
{
    if (peers->told_removed || peers->closed) return;
    peers->told_removed = true;
    log_error(peers->logger, "the member has been permanently removed from the cluster",
              LOG_HEX("local-member-id", peers->config.member_id), LOG_HEX("told-by", by));
    peers->config.on_removed(peers->config.context);
}

static struct peer_metrics *metrics_of(struct peers *peers, uint64_t id)
{
    struct peer_metrics_entry *first = atomic_load(&peers->metrics);
    for (struct peer_metrics_entry *entry = first; entry != NULL; entry = entry->next)
        if (entry->metrics.id == id) return &entry->metrics;
    struct peer_metrics_entry *entry = mem_zalloc(1, sizeof(*entry));
    entry->metrics.id = id;
    /* 0.1 ms, doubled 15 times: etcd's buckets */
    entry->metrics.round_trip.first = 100000;
    entry->metrics.round_trip.count = 16;
    for (size_t i = 0; i < 2; i++)
        entry->metrics.snapshots[i].duration = (struct metric_histogram)METRIC_HISTOGRAM(100000000, 10);
    entry->next = first;
    atomic_store(&peers->metrics, entry);
    return &entry->metrics;
}

static struct peer *add_peer(struct peers *peers, uint64_t id, const struct cluster_urls *urls)
{
    struct peer *peer = mem_zalloc(1, sizeof(*peer));
    peer->peers = peers;
    peer->id = id;
    peer->is_remote = true;
    snprintf(peer->id_text, sizeof(peer->id_text), "%" PRIx64, id);
    cluster_urls_copy(&peer->urls, urls);
    peer->metrics = metrics_of(peers, id);
    LIST_INSERT_HEAD(&peers->list, peer, link);
    peer_streams_init(peer);
    peer_pipeline_init(peer);
    peer_prober_init(peer);
    return peer;
}

static void start_peer(struct peer *peer)
{
    peer->is_remote = false;
    peer_streams_start(peer);
    peer_prober_start(peer);
    log_info(peer->peers->logger, "started remote peer", LOG_STRING("remote-peer-id", peer->id_text),
             LOG_STRINGS("remote-peer-urls", (const char *const *)peer->urls.items, peer->urls.count));
}

static void stop_peer(struct peer *peer)
{
    peer->closing = true;
    loop_timer_clear(peer->peers->config.loop, &peer->leaving);
    peer_streams_stop(peer);
    peer_pipeline_stop(peer);
    peer_prober_stop(peer);
    peer_forward_stop(peer);
    peer_sendings_stop(peer);
    metric_set(&peer->metrics->active, 0);
    log_info(peer->peers->logger, "stopped remote peer", LOG_STRING("remote-peer-id", peer->id_text));
    LIST_REMOVE(peer, link);
    cluster_urls_deinit(&peer->urls);
    free(peer);
}

static void on_leaving(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    stop_peer(CONTAINER(timer, struct peer, leaving));
}

static void peer_leaves(struct peer *peer)
{
    if (loop_timer_is_set(&peer->leaving)) return;
    peer->leaving.run = on_leaving;
    loop_timer_set(peer->peers->config.loop, &peer->leaving, clock_monotonic() + PEER_LEAVING);
}

static void update_peer(struct peer *peer, const struct cluster_member *member)
{
    if (cluster_urls_equal(&peer->urls, &member->peer_urls)) return;
    cluster_urls_copy(&peer->urls, &member->peer_urls);
    peer->url = peer->prober.url = 0;
    log_info(peer->peers->logger, "updated remote peer", LOG_STRING("remote-peer-id", peer->id_text),
             LOG_STRINGS("updated-remote-peer-urls", (const char *const *)peer->urls.items,
                         peer->urls.count));
}

/* ---- all members ---- */

struct peer *peers_find(const struct peers *peers, uint64_t id)
{
    struct peer *peer;
    LIST_FOREACH (peer, &peers->list, link)
        if (peer->id == id) return peer;
    return NULL;
}

static void take_membership(struct peers *peers, struct cluster *cluster)
{
    cluster_free(peers->cluster);
    peers->cluster = cluster;
    for (struct peer *peer = LIST_FIRST(&peers->list); peer != NULL;) {
        struct peer *next = LIST_NEXT(peer, link);
        bool is_known = cluster_member(cluster, peer->id) != NULL;
        bool is_gone = !peer->is_remote || cluster_is_removed(cluster, peer->id);
        if (!is_known && is_gone) peer_leaves(peer);
        peer = next;
    }
    for (size_t i = 0; i < cluster_member_count(cluster); i++) {
        const struct cluster_member *member = cluster_member_at(cluster, i);
        struct peer *peer = peers_find(peers, member->id);
        if (member->id == peers->config.member_id) continue;
        if (peer == NULL) peer = add_peer(peers, member->id, &member->peer_urls);
        update_peer(peer, member);
        if (peer->is_remote) start_peer(peer);
    }
}

void peers_add_remote(struct peers *peers, uint64_t id, const struct cluster_urls *urls)
{
    size_t remotes = 0;
    struct peer *peer;
    if (id == RAFT_NONE || id == peers->config.member_id || urls->count == 0) return;
    if (peers->cluster != NULL && cluster_is_removed(peers->cluster, id)) return;
    LIST_FOREACH (peer, &peers->list, link) {
        if (peer->id == id) return;
        remotes += peer->is_remote;
    }
    if (remotes == PEER_REMOTES_MAX) return;
    peer = add_peer(peers, id, urls);
    log_info(peers->logger, "added remote peer", LOG_STRING("remote-peer-id", peer->id_text),
             LOG_STRINGS("remote-peer-urls", (const char *const *)peer->urls.items, peer->urls.count));
}

/* ---- messages out ---- */

static void send_one(struct peers *peers, struct node_peer_message *message)
{
    struct peer *peer = peers_find(peers, message->message.to);
    if (peer == NULL) { /* removed, or not known yet */
        peer_message_free(message);
        return;
    }
    bool is_append = message->message.type == RAFT_APP;
    if (is_append && peer_writer_put(&peer->writers[PEER_STREAM_APPEND], message)) return;
    if (peer_writer_put(&peer->writers[PEER_STREAM_MESSAGE], message)) return;
    peer_pipeline_put(peer, message);
}

static void on_wake(struct loop *loop, struct loop_task *task)
{
    struct peers *peers = CONTAINER(task, struct peers, wake);
    (void)loop;
    atomic_store(&peers->woken, false); /* before looking: what comes later wakes again */
    for (struct mail *mail = mailbox_take(&peers->memberships); mail != NULL;) {
        struct membership *membership = CONTAINER(mail, struct membership, mail);
        mail = mail->next;
        if (peers->closed)
            cluster_free(membership->cluster);
        else
            take_membership(peers, membership->cluster);
        free(membership);
    }
    for (struct mail *mail = mailbox_take(&peers->outgoing); mail != NULL;) {
        struct node_peer_message *message = CONTAINER(mail, struct node_peer_message, mail);
        mail = mail->next;
        if (peers->closed)
            peer_message_free(message);
        else
            send_one(peers, message);
    }
    for (struct mail *mail = mailbox_take(&peers->questions); mail != NULL;) {
        struct node_request *request = CONTAINER(mail, struct node_request, mail);
        mail = mail->next;
        peer_forward(peers, request);
    }
    for (struct mail *mail = mailbox_take(&peers->snapshots); mail != NULL;) {
        struct mail *next = mail->next;
        peer_sending_begin(peers, mail);
        mail = next;
    }
    struct peer *peer;
    LIST_FOREACH (peer, &peers->list, link)
        for (size_t i = 0; i < PEER_STREAMS; i++) peer_writer_pump(&peer->writers[i]);
}

/* ---- any thread ---- */

/* One wake-up for all mailboxes: asked for by whoever finds none asked for. */
void peers_wake(struct peers *peers)
{
    if (!atomic_exchange(&peers->woken, true)) loop_post(peers->config.loop, &peers->wake);
}

void peers_send(struct peers *peers, struct mail *messages)
{
    while (messages != NULL) {
        struct mail *next = messages->next;
        mailbox_put(&peers->outgoing, messages);
        messages = next;
    }
    peers_wake(peers);
}

void peers_set_membership(struct peers *peers, const struct cluster *cluster)
{
    struct membership *membership = mem_alloc(sizeof(*membership));
    membership->cluster = cluster_copy(cluster);
    mailbox_put(&peers->memberships, &membership->mail);
    peers_wake(peers);
}

void peers_ask_leader(struct peers *peers, struct node_request *request)
{
    rpc_leaves(CONTAINER(request, struct rpc, request));
    mailbox_put(&peers->questions, &request->mail);
    peers_wake(peers);
}

void peers_visit_metrics(struct peers *peers, void (*visit)(void *context, struct peer_metrics *metrics),
                         void *context)
{
    for (struct peer_metrics_entry *entry = atomic_load(&peers->metrics); entry != NULL; entry = entry->next)
        visit(context, &entry->metrics);
}

/* ---- life ---- */

static void on_alive(struct loop *loop, struct loop_timer *timer)
{
    struct peers *peers = CONTAINER(timer, struct peers, alive);
    struct peer *peer;
    int64_t now = clock_monotonic();
    LIST_FOREACH (peer, &peers->list, link) peer_streams_tick(peer, now);
    loop_timer_set(loop, timer, now + PEER_ALIVE_INTERVAL);
}

struct peers *peers_new(const struct peers_config *config)
{
    struct peers *peers = mem_zalloc(1, sizeof(*peers));
    struct buf urls = {0};
    peers->config = *config;
    peers->logger = config->logger;
    bool valid = version_parse(bytes_from_string(config->version), &peers->version);
    assert(valid); /* others may end on a version they cannot read */
    snprintf(peers->cluster_id_text, PEER_ID_SIZE, "%" PRIx64, config->cluster_id);
    snprintf(peers->member_id_text, PEER_ID_SIZE, "%" PRIx64, config->member_id);
    cluster_urls_join(&urls, config->own_urls);
    peers->own_urls_text = mem_strdup(buf_string(&urls));
    buf_deinit(&urls);
    LIST_INIT(&peers->list);
    mailbox_init(&peers->outgoing);
    mailbox_init(&peers->memberships);
    mailbox_init(&peers->questions);
    mailbox_init(&peers->snapshots);
    LIST_INIT(&peers->sendings);
    LIST_INIT(&peers->receivings);
    LIST_INIT(&peers->forwards);
    peers->wake.run = on_wake;
    peers->hand_in.run = hand_in;
    peers->alive.run = on_alive;
    peer_handlers_router(&peers->router, peers);
    loop_timer_set(config->loop, &peers->alive, clock_monotonic() + PEER_ALIVE_INTERVAL);
    return peers;
}

void peers_set_engine(struct peers *peers, struct engine *engine)
{
    peers->engine = engine;
}

const struct http_router *peers_router(const struct peers *peers)
{
    return &peers->router;
}

void peers_close(struct peers *peers)
{
    assert(!peers->closed);
    hand_in(peers->config.loop, &peers->hand_in);
    loop_defer_cancel(peers->config.loop, &peers->hand_in);
    peers->closed = true;
    loop_timer_clear(peers->config.loop, &peers->alive);
    peer_forward_close(peers);
    peer_hash_close(peers);
    while (!LIST_EMPTY(&peers->list)) stop_peer(LIST_FIRST(&peers->list));
    peer_receivings_stop(peers);
}

bool peers_are_busy(const struct peers *peers)
{
    return peers->helpers > 0;
}

void peers_free(struct peers *peers)
{
    if (peers == NULL) return;
    assert(LIST_EMPTY(&peers->list) && peers->batch == NULL);
    peers->closed = true;
    on_wake(peers->config.loop, &peers->wake);
    peer_receivings_free(peers);
    assert(peers->helpers == 0 && LIST_EMPTY(&peers->sendings));
    for (struct peer_metrics_entry *entry = peers->metrics; entry != NULL;) {
        struct peer_metrics_entry *next = entry->next;
        free(entry);
        entry = next;
    }
    cluster_free(peers->cluster);
    free(peers->own_urls_text);
    buf_deinit(&peers->scratch);
    free(peers);
}
