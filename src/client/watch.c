/* Watches: many on one stream, going on across broken ones.
 *
 * The server answers create requests in their order, a refused one with watch_id -1, so the creates that were
 * sent and not yet answered stand in a queue; after that responses are matched by id.
 *
 *   watch:  WAITING (no stream yet) -> CREATING (sent, in the queue) -> LIVE (has an id)
 *           -> ENDING (END comes next turn)
 *
 * Each watch knows the next revision it has to see: what it was started with, then one past the last event
 * delivered, or past the revision of a progress notification or of its created response. When the stream
 * breaks, all watches go back to WAITING and are created again from there. etcd sends all events of one
 * revision in one response (put together here when fragmented), so nothing is lost and nothing comes twice.
 */
#include "client/internal.h"

#include "api/message.h"
#include "base/container.h"
#include "rpc.pb-c.h"

#include <assert.h>

enum {
    REFUSALS_MAX = 3, /* of one watch for its token, in a row */
    NO_ID = -1,
};
static const int64_t reopen_pause_first = 1 * LOOP_MILLISECOND;
static const int64_t reopen_pause_last = 100 * LOOP_MILLISECOND;

enum watch_state {
    WATCH_WAITING,
    WATCH_CREATING,
    WATCH_LIVE,
    WATCH_ENDING,
};

/* The creates in flight are entries of their own: a watch may be gone before the answer comes. */
struct create {
    TAILQ_ENTRY(create) queue;
    struct client_watch *watch; /* NULL: canceled meanwhile */
};

struct client_watch {
    struct client_watch_hub *hub;
    TAILQ_ENTRY(client_watch) all;
    enum watch_state state;
    struct buf key, range_end;
    struct client_watch_options options; /* its key and range_end point to the above */
    int64_t next_revision;               /* 0: from now on */
    int64_t id;                          /* LIVE */
    struct create *create;               /* CREATING */
    struct buf fragments; /* encoded responses of a message that is not complete: protobuf concatenates */
    unsigned refusals;
    bool paused;
    bool created; /* the first created response was seen */
    client_event_fn *handler;
    void *context;
    struct client_error *end_error;
    struct loop_timer end_timer;
    UT_hash_handle by_id;
};

struct client_watch_hub {
    struct client *client;
    TAILQ_HEAD(, client_watch) watches;
    TAILQ_HEAD(, create) creates;
    struct client_watch *by_id;
    struct operation *stream; /* NULL: none open */
    struct loop_timer stream_timer;
    int64_t reopen_pause;
    size_t paused; /* watches */
    size_t alive;  /* watches that are not ENDING */
};

static void open_stream(struct client_watch_hub *hub);

/* ---- Telling the user ---- */

static void watch_release(struct client_watch *watch)
{
    struct client_watch_hub *hub = watch->hub;
    loop_timer_clear(hub->client->loop, &watch->end_timer);
    TAILQ_REMOVE(&hub->watches, watch, all);
    buf_deinit(&watch->key);
    buf_deinit(&watch->range_end);
    buf_deinit(&watch->fragments);
    client_error_free(watch->end_error);
    free(watch);
}

static void on_end_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct client_watch *watch = CONTAINER(timer, struct client_watch, end_timer);
    struct client_event event = {.kind = CLIENT_EVENT_END, .error = watch->end_error};
    watch->handler(watch->context, &event);
    watch_release(watch);
}

/* Takes the watch off the stream; END comes in a later turn, after what is being delivered now. */
static void end_later(struct client_watch *watch, struct client_error *error)
{
    struct client_watch_hub *hub = watch->hub;
    if (watch->state == WATCH_ENDING) {
        client_error_free(error);
        return;
    }
    if (watch->create != NULL) watch->create->watch = NULL;
    watch->create = NULL;
    if (watch->state == WATCH_LIVE) HASH_DELETE(by_id, hub->by_id, watch);
    if (watch->paused) client_watch_resume(watch);
    watch->state = WATCH_ENDING;
    watch->end_error = error;
    loop_timer_set(hub->client->loop, &watch->end_timer, client_now());
    if (--hub->alive == 0) loop_timer_set(hub->client->loop, &hub->stream_timer, client_now());
}

static void deliver(struct client_watch *watch, Etcdserverpb__WatchResponse *response, struct arena **arena)
{
    struct client_event event = {.kind = CLIENT_EVENT_MESSAGE, .response = &response->base, .arena = *arena};
    watch->handler(watch->context, &event);
    *arena = event.arena;
}

/* ---- Requests ---- */

static void send_create(struct client_watch *watch)
{
    struct client_watch_hub *hub = watch->hub;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest__FilterType filters[2];
    create.filters = filters;
    if (watch->options.no_put)
        filters[create.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
    if (watch->options.no_delete)
        filters[create.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    create.key = message_binary(watch->options.key);
    create.range_end = message_binary(watch->options.range_end);
    create.start_revision = watch->next_revision;
    create.progress_notify = watch->options.progress_notify;
    create.prev_kv = watch->options.prev_kv;
    create.fragment = watch->options.fragment;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    struct create *entry = (struct create *)mem_alloc(sizeof(*entry));
    entry->watch = watch;
    TAILQ_INSERT_TAIL(&hub->creates, entry, queue);
    watch->create = entry;
    watch->state = WATCH_CREATING;
    operation_send(hub->stream, &request.base);
}

static void send_cancel(struct client_watch_hub *hub, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = id;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    if (hub->stream != NULL && operation_is_open(hub->stream)) operation_send(hub->stream, &request.base);
}

/* ---- The stream ---- */

/* All watches back to WAITING: what was under way on the stream is void. */
static void forget_stream_state(struct client_watch_hub *hub)
{
    struct client_watch *watch;
    HASH_CLEAR(by_id, hub->by_id);
    TAILQ_FOREACH (watch, &hub->watches, all) {
        if (watch->state == WATCH_ENDING) continue;
        watch->state = WATCH_WAITING;
        watch->create = NULL;
        buf_clear(&watch->fragments);
    }
    while (!TAILQ_EMPTY(&hub->creates)) {
        struct create *create = TAILQ_FIRST(&hub->creates);
        TAILQ_REMOVE(&hub->creates, create, queue);
        free(create);
    }
}

static void close_stream(struct client_watch_hub *hub)
{
    if (hub->stream == NULL) return;
    operation_abandon(hub->stream);
    free(hub->stream);
    hub->stream = NULL;
    forget_stream_state(hub);
}

static void reopen_later(struct client_watch_hub *hub, int64_t pause)
{
    if (hub->alive > 0) loop_timer_set(hub->client->loop, &hub->stream_timer, client_now() + pause);
}

/* A stream for watches, and none without. */
static void on_stream_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct client_watch_hub *hub = CONTAINER(timer, struct client_watch_hub, stream_timer);
    if (hub->alive == 0)
        close_stream(hub);
    else if (hub->stream == NULL)
        open_stream(hub);
}

static void on_open(struct operation *operation)
{
    struct client_watch_hub *hub = operation->client->watches;
    struct client_watch *watch;
    forget_stream_state(hub); /* an attempt before this one may have sent creates */
    hub->stream = operation;
    TAILQ_FOREACH (watch, &hub->watches, all)
        if (watch->state == WATCH_WAITING) send_create(watch);
}

static void end_all(struct client_watch_hub *hub, const struct client_error *error)
{
    struct client_watch *watch;
    TAILQ_FOREACH (watch, &hub->watches, all) end_later(watch, client_error_copy(error));
}

static void on_end(struct operation *operation, struct client_error *error)
{
    struct client_watch_hub *hub = operation->client->watches;
    free(operation);
    hub->stream = NULL;
    forget_stream_state(hub);
    bool wants_login = error != NULL && client_error_wants_login(hub->client, error);
    bool broken = error != NULL && error->known != API_ERROR_NO_LEADER &&
                  (error->code == GRPC_UNAVAILABLE || error->code == GRPC_INTERNAL);
    if (broken || wants_login || error == NULL) {
        if (wants_login) client_forget_token(hub->client);
        reopen_later(hub, hub->reopen_pause);
        hub->reopen_pause += hub->reopen_pause / 4 + 1;
        if (hub->reopen_pause > reopen_pause_last) hub->reopen_pause = reopen_pause_last;
    } else {
        end_all(hub, error);
    }
    client_error_free(error);
}

/* ---- Responses ---- */

static struct client_watch *find_watch(struct client_watch_hub *hub, int64_t id)
{
    struct client_watch *watch;
    HASH_FIND(by_id, hub->by_id, &id, sizeof(id), watch);
    return watch;
}

static int64_t header_revision(const Etcdserverpb__WatchResponse *response)
{
    return response->header == NULL ? 0 : response->header->revision;
}

/* Everything up to `revision` has come. */
static void seen_up_to(struct client_watch *watch, int64_t revision)
{
    if (revision >= watch->next_revision) watch->next_revision = revision + 1;
}

/* What etcd's client makes of a watch that the server canceled. */
static struct client_error *cancel_error(const Etcdserverpb__WatchResponse *response)
{
    if (response->compact_revision != 0) {
        enum api_error compacted = API_ERROR_COMPACTED;
        return client_error_new(api_error_code(compacted), bytes_from_string(api_error_text(compacted)));
    }
    bool has_reason = response->cancel_reason != NULL && response->cancel_reason[0] != 0;
    return client_error_from_text(has_reason ? response->cancel_reason
                                             : api_error_text(API_ERROR_FUTURE_REVISION));
}

static void on_canceled(struct client_watch *watch, Etcdserverpb__WatchResponse *response,
                        struct arena **arena)
{
    struct client_watch_hub *hub = watch->hub;
    struct client_error *error = cancel_error(response);
    if (client_error_wants_login(hub->client, error) && watch->refusals++ < REFUSALS_MAX) {
        client_error_free(error);
        /* The token goes with the stream: all of it is opened anew. */
        client_forget_token(hub->client);
        close_stream(hub);
        reopen_later(hub, hub->reopen_pause);
        return;
    }
    deliver(watch, response, arena);
    end_later(watch, error);
}

/* The answer to the oldest create request. */
static void on_created(struct client_watch_hub *hub, Etcdserverpb__WatchResponse *response,
                       struct arena **arena)
{
    struct create *create = TAILQ_FIRST(&hub->creates);
    if (create == NULL) return; /* a server that answers what was not asked */
    struct client_watch *watch = create->watch;
    TAILQ_REMOVE(&hub->creates, create, queue);
    free(create);
    if (watch == NULL) {
        if (!response->canceled) send_cancel(hub, response->watch_id);
        return;
    }
    watch->create = NULL;
    if (response->canceled) {
        watch->state = WATCH_WAITING;
        on_canceled(watch, response, arena);
        return;
    }
    if (find_watch(hub, response->watch_id) != NULL) return;
    watch->id = response->watch_id;
    watch->state = WATCH_LIVE;
    watch->refusals = 0;
    HASH_ADD(by_id, hub->by_id, id, sizeof(watch->id), watch);
    if (watch->next_revision == 0) seen_up_to(watch, header_revision(response));
    bool first = !watch->created;
    watch->created = true;
    if (first && watch->options.created_notify) deliver(watch, response, arena);
}

static void on_events(struct client_watch *watch, Etcdserverpb__WatchResponse *response, struct arena **arena)
{
    if (response->n_events == 0) {
        seen_up_to(watch, header_revision(response));
    } else {
        const Mvccpb__Event *last = response->events[response->n_events - 1];
        if (last->kv == NULL || last->kv->mod_revision < watch->next_revision) return; /* seen before */
        seen_up_to(watch, last->kv->mod_revision);
    }
    deliver(watch, response, arena);
}

/* Gathers the parts of a fragmented message. Encoded messages concatenate: scalar fields take the last value,
 * repeated ones add up. Returns the whole with the last part, NULL before. */
static Etcdserverpb__WatchResponse *defragment(struct client_watch *watch,
                                               Etcdserverpb__WatchResponse *response, struct arena *arena)
{
    if (!response->fragment && watch->fragments.size == 0) return response;
    bool last = !response->fragment;
    response->fragment = 0;
    message_pack(&watch->fragments, &response->base);
    if (!last) return NULL;
    Etcdserverpb__WatchResponse *whole =
        (Etcdserverpb__WatchResponse *)message_unpack(&etcdserverpb__watch_response__descriptor,
                                                      buf_bytes(&watch->fragments), arena, NULL);
    assert(whole != NULL); /* packed by us */
    buf_clear(&watch->fragments);
    return whole;
}

/* Progress of the whole stream: every watch that is live has seen everything up to there. */
static void on_stream_progress(struct client_watch_hub *hub, const Etcdserverpb__WatchResponse *response)
{
    struct client_watch *watch;
    TAILQ_FOREACH (watch, &hub->watches, all) {
        if (watch->state != WATCH_LIVE) continue;
        struct arena *arena = arena_new(); /* the handler may keep it */
        on_events(watch, (Etcdserverpb__WatchResponse *)message_copy(&response->base, arena), &arena);
        arena_free(arena);
    }
}

static void on_message(struct operation *operation, ProtobufCMessage *message, struct arena *arena)
{
    struct client_watch_hub *hub = operation->client->watches;
    Etcdserverpb__WatchResponse *response = (Etcdserverpb__WatchResponse *)message;
    hub->reopen_pause = reopen_pause_first;
    struct client_watch *watch = find_watch(hub, response->watch_id);
    if (response->created) {
        on_created(hub, response, &arena);
    } else if (watch != NULL && response->canceled) {
        HASH_DELETE(by_id, hub->by_id, watch);
        watch->state = WATCH_WAITING;
        on_canceled(watch, response, &arena);
    } else if (watch != NULL) {
        response = defragment(watch, response, arena);
        if (response != NULL) on_events(watch, response, &arena);
    } else if (response->watch_id == NO_ID && response->n_events == 0 && !response->canceled) {
        on_stream_progress(hub, response);
    }
    arena_free(arena);
}

static const struct operation_handler stream_handler = {.on_open = on_open,
                                                        .on_message = on_message,
                                                        .on_end = on_end};

static void open_stream(struct client_watch_hub *hub)
{
    assert(hub->stream == NULL);
    hub->stream = (struct operation *)mem_zalloc(1, sizeof(*hub->stream));
    hub->stream->paused = hub->paused > 0;
    struct client_call_options options = {.require_leader = true};
    operation_start(hub->stream, hub->client, &stream_handler, CLIENT_WATCH, NULL, &options);
}

/* ---- For users ---- */

static struct client_watch_hub *hub_of(struct client *client)
{
    if (client->watches == NULL) {
        struct client_watch_hub *hub = (struct client_watch_hub *)mem_zalloc(1, sizeof(*hub));
        hub->client = client;
        hub->stream_timer.run = on_stream_timer;
        hub->reopen_pause = reopen_pause_first;
        TAILQ_INIT(&hub->watches);
        TAILQ_INIT(&hub->creates);
        client->watches = hub;
    }
    return client->watches;
}

struct client_watch *client_watch_start(struct client *client, const struct client_watch_options *options,
                                        client_event_fn *handler, void *context)
{
    struct client_watch_hub *hub = hub_of(client);
    struct client_watch *watch = (struct client_watch *)mem_zalloc(1, sizeof(*watch));
    watch->hub = hub;
    watch->options = *options;
    buf_append_bytes(&watch->key, options->key);
    buf_append_bytes(&watch->range_end, options->range_end);
    watch->options.key = buf_bytes(&watch->key);
    watch->options.range_end = buf_bytes(&watch->range_end);
    watch->next_revision = options->start_revision;
    watch->handler = handler;
    watch->context = context;
    watch->end_timer.run = on_end_timer;
    TAILQ_INSERT_TAIL(&hub->watches, watch, all);
    hub->alive++;
    if (hub->stream != NULL && operation_is_open(hub->stream))
        send_create(watch);
    else if (hub->stream == NULL && !loop_timer_is_set(&hub->stream_timer))
        open_stream(hub);
    return watch;
}

void client_watch_pause(struct client_watch *watch)
{
    if (watch->paused || watch->state == WATCH_ENDING) return;
    watch->paused = true;
    if (watch->hub->paused++ == 0 && watch->hub->stream != NULL) operation_pause(watch->hub->stream);
}

void client_watch_resume(struct client_watch *watch)
{
    if (!watch->paused) return;
    watch->paused = false;
    if (--watch->hub->paused == 0 && watch->hub->stream != NULL) operation_resume(watch->hub->stream);
}

void client_watch_cancel(struct client_watch *watch)
{
    struct client_watch_hub *hub = watch->hub;
    if (watch->state == WATCH_LIVE) send_cancel(hub, watch->id);
    end_later(watch, client_error_canceled());
}

void client_watch_request_progress(struct client *client)
{
    struct client_watch_hub *hub = client->watches;
    if (hub == NULL || hub->stream == NULL || !operation_is_open(hub->stream)) return;
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    operation_send(hub->stream, &request.base);
}

void client_watch_hub_free(struct client_watch_hub *hub)
{
    if (hub == NULL) return;
    close_stream(hub);
    struct client_error *canceled = client_error_canceled();
    while (!TAILQ_EMPTY(&hub->watches)) {
        struct client_watch *watch = TAILQ_FIRST(&hub->watches);
        end_later(watch, client_error_copy(canceled));
        on_end_timer(hub->client->loop, &watch->end_timer);
    }
    client_error_free(canceled);
    loop_timer_clear(hub->client->loop, &hub->stream_timer);
    free(hub);
}
