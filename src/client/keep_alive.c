/* Keeping leases alive: all renewals go over one stream.
 *
 * A lease is renewed a third of its TTL after the last answer. A broken stream is opened again half a second
 * later, and everything on it renewed at once. A lease ends when the server says so (TTL 0) or when nothing
 * has been heard of it for its TTL (before the first answer: the dial timeout and a second).
 */
#include "client/internal.h"

#include "api/message.h"
#include "base/container.h"

#include "rpc.pb-c.h"

static const int64_t retry_pause = 500 * LOOP_MILLISECOND;
static const int64_t first_answer_extra = 1 * LOOP_SECOND;

struct client_keep_alive {
    struct keep_alive_hub *hub;
    TAILQ_ENTRY(client_keep_alive) all;
    int64_t lease;
    client_event_fn *handler;
    void *context;
    bool ending;
    struct client_error *end_error;
    struct loop_timer renew_timer; /* while alive: the next renewal; ending: END */
    struct loop_timer lost_timer;
};

struct keep_alive_hub {
    struct client *client;
    TAILQ_HEAD(, client_keep_alive) all;
    size_t alive;
    struct operation *stream;
    struct loop_timer stream_timer;
};

static void open_stream(struct keep_alive_hub *hub);

/* ---- The end of one ---- */

static void send_end(struct client_keep_alive *keep_alive)
{
    struct keep_alive_hub *hub = keep_alive->hub;
    struct client_event event = {.kind = CLIENT_EVENT_END, .error = keep_alive->end_error};
    keep_alive->handler(keep_alive->context, &event);
    loop_timer_clear(hub->client->loop, &keep_alive->renew_timer);
    TAILQ_REMOVE(&hub->all, keep_alive, all);
    client_error_free(keep_alive->end_error);
    free(keep_alive);
}

static void end_later(struct client_keep_alive *keep_alive, struct client_error *error)
{
    struct keep_alive_hub *hub = keep_alive->hub;
    if (keep_alive->ending) {
        client_error_free(error);
        return;
    }
    keep_alive->ending = true;
    keep_alive->end_error = error;
    loop_timer_clear(hub->client->loop, &keep_alive->lost_timer);
    loop_timer_set(hub->client->loop, &keep_alive->renew_timer, client_now());
    if (--hub->alive == 0) loop_timer_set(hub->client->loop, &hub->stream_timer, client_now());
}

static struct client_error *lease_not_found(void)
{
    enum api_error error = API_ERROR_LEASE_NOT_FOUND;
    return client_error_new(api_error_code(error), bytes_from_string(api_error_text(error)));
}

/* ---- Renewals ---- */

/* Sent again every half second until it is answered. */
static void send_renewal(struct client_keep_alive *keep_alive)
{
    struct keep_alive_hub *hub = keep_alive->hub;
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = keep_alive->lease;
    operation_send(hub->stream, &request.base);
    loop_timer_set(hub->client->loop, &keep_alive->renew_timer, client_now() + retry_pause);
}

static void on_renew_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct client_keep_alive *keep_alive = CONTAINER(timer, struct client_keep_alive, renew_timer);
    const struct operation *stream = keep_alive->hub->stream;
    if (keep_alive->ending)
        send_end(keep_alive);
    else if (stream != NULL && operation_is_open(stream))
        send_renewal(keep_alive); /* else: when the stream is open again */
}

static void on_lost_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct client_keep_alive *keep_alive = CONTAINER(timer, struct client_keep_alive, lost_timer);
    end_later(keep_alive, lease_not_found());
}

static void on_answer(struct client_keep_alive *keep_alive,
                      const Etcdserverpb__LeaseKeepAliveResponse *response)
{
    struct loop *loop = keep_alive->hub->client->loop;
    if (response->ttl <= 0) {
        end_later(keep_alive, lease_not_found());
        return;
    }
    int64_t now = client_now();
    int64_t ttl = response->ttl > INT64_MAX / 2 / LOOP_SECOND ? INT64_MAX / 2 : response->ttl * LOOP_SECOND;
    loop_timer_set(loop, &keep_alive->lost_timer, now + ttl);
    loop_timer_set(loop, &keep_alive->renew_timer, now + ttl / 3);
}

static void on_message(struct operation *operation, ProtobufCMessage *message, struct arena *arena)
{
    struct keep_alive_hub *hub = operation->client->keep_alives;
    const Etcdserverpb__LeaseKeepAliveResponse *response =
        (const Etcdserverpb__LeaseKeepAliveResponse *)message;
    struct client_keep_alive *keep_alive;
    TAILQ_FOREACH (keep_alive, &hub->all, all) {
        if (keep_alive->lease != response->id || keep_alive->ending) continue;
        on_answer(keep_alive, response);
        if (keep_alive->ending) continue;
        /* In an arena of its own, which the handler may keep. */
        struct arena *own = arena_new();
        struct client_event event = {.kind = CLIENT_EVENT_MESSAGE,
                                     .response = message_copy(message, own),
                                     .arena = own};
        keep_alive->handler(keep_alive->context, &event);
        arena_free(event.arena);
    }
    arena_free(arena);
}

/* ---- The stream ---- */

static void on_open(struct operation *operation)
{
    struct keep_alive_hub *hub = operation->client->keep_alives;
    struct client_keep_alive *keep_alive;
    TAILQ_FOREACH (keep_alive, &hub->all, all)
        if (!keep_alive->ending) send_renewal(keep_alive);
}

static void on_end(struct operation *operation, struct client_error *error)
{
    struct keep_alive_hub *hub = operation->client->keep_alives;
    if (error != NULL && client_error_wants_login(hub->client, error)) client_forget_token(hub->client);
    client_error_free(error);
    free(operation);
    hub->stream = NULL;
    if (hub->alive > 0) loop_timer_set(hub->client->loop, &hub->stream_timer, client_now() + retry_pause);
}

static const struct operation_handler stream_handler = {.on_open = on_open,
                                                        .on_message = on_message,
                                                        .on_end = on_end};

static void close_stream(struct keep_alive_hub *hub)
{
    if (hub->stream == NULL) return;
    operation_abandon(hub->stream);
    free(hub->stream);
    hub->stream = NULL;
}

static void on_stream_timer(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct keep_alive_hub *hub = CONTAINER(timer, struct keep_alive_hub, stream_timer);
    if (hub->alive == 0)
        close_stream(hub);
    else if (hub->stream == NULL)
        open_stream(hub);
}

static void open_stream(struct keep_alive_hub *hub)
{
    hub->stream = (struct operation *)mem_zalloc(1, sizeof(*hub->stream));
    struct client_call_options options = {.require_leader = true};
    operation_start(hub->stream, hub->client, &stream_handler, CLIENT_LEASE_KEEP_ALIVE, NULL, &options);
}

/* ---- For users ---- */

static struct keep_alive_hub *hub_of(struct client *client)
{
    if (client->keep_alives == NULL) {
        struct keep_alive_hub *hub = (struct keep_alive_hub *)mem_zalloc(1, sizeof(*hub));
        hub->client = client;
        hub->stream_timer.run = on_stream_timer;
        TAILQ_INIT(&hub->all);
        client->keep_alives = hub;
    }
    return client->keep_alives;
}

struct client_keep_alive *client_keep_alive_start(struct client *client, int64_t lease,
                                                  client_event_fn *handler, void *context)
{
    struct keep_alive_hub *hub = hub_of(client);
    struct client_keep_alive *keep_alive = (struct client_keep_alive *)mem_zalloc(1, sizeof(*keep_alive));
    *keep_alive = (struct client_keep_alive){
        .hub = hub,
        .lease = lease,
        .handler = handler,
        .context = context,
        .renew_timer = {.run = on_renew_timer},
        .lost_timer = {.run = on_lost_timer},
    };
    TAILQ_INSERT_TAIL(&hub->all, keep_alive, all);
    hub->alive++;
    loop_timer_set(client->loop, &keep_alive->lost_timer,
                   client_now() + client->dial_timeout + first_answer_extra);
    if (hub->stream == NULL && !loop_timer_is_set(&hub->stream_timer))
        open_stream(hub);
    else if (hub->stream != NULL && operation_is_open(hub->stream))
        send_renewal(keep_alive);
    return keep_alive;
}

void client_keep_alive_cancel(struct client_keep_alive *keep_alive)
{
    end_later(keep_alive, client_error_canceled());
}

void keep_alive_hub_free(struct keep_alive_hub *hub)
{
    if (hub == NULL) return;
    close_stream(hub);
    struct client_keep_alive *keep_alive;
    while ((keep_alive = TAILQ_FIRST(&hub->all)) != NULL) {
        end_later(keep_alive, client_error_canceled());
        send_end(keep_alive);
    }
    loop_timer_clear(hub->client->loop, &hub->stream_timer);
    free(hub);
}
