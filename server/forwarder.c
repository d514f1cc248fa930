#include "server/forwarder.h"

#include "base/container.h"
#include "base/memory.h"
#include "base/rng.h"
#include "net/listener.h"
#include "net/transport.h"

#include <assert.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT (10 * LOOP_SECOND)

enum { PENDING_MAX = 256 * 1024 };

struct target {
    struct forwarder *forwarder;
    char *address;
    bool probing; /* whether it answers again */
};

struct forwarder {
    struct loop *loop;
    struct listener *listener;
    const struct logger *logger;
    int64_t retry_delay;
    struct loop_timer retry;
    struct rng rng;
    size_t turn;
    struct target targets[FORWARDER_TARGETS_MAX];
    struct forwarder_target choices[FORWARDER_TARGETS_MAX];
    bool active[FORWARDER_TARGETS_MAX];
    size_t count;
};

/* One connection: what the client side and the member's side of it have in common. */
struct side {
    struct link *link;
    struct side *other;
    struct transport *transport; /* NULL: not there yet, or over */
};

struct link {
    struct forwarder *forwarder;
    struct side client, member;
    size_t target; /* being connected to */
};

/* ---- choosing ---- */

static size_t by_weight(const struct forwarder_target *targets, const bool *candidate, size_t count,
                        uint32_t random, uint64_t sum)
{
    uint64_t choice = random % sum;
    for (size_t i = 0; i < count; i++) {
        if (!candidate[i]) continue;
        if (choice < targets[i].weight) return i;
        choice -= targets[i].weight;
    }
    return count;
}

size_t forwarder_choose(const struct forwarder_target *targets, const bool *active, size_t count,
                        uint32_t random, size_t *turn)
{
    bool candidate[FORWARDER_TARGETS_MAX] = {false};
    unsigned best = UINT32_MAX;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (active[i] && targets[i].priority < best) best = targets[i].priority;
    for (size_t i = 0; i < count; i++) {
        candidate[i] = active[i] && targets[i].priority == best;
        if (candidate[i]) sum += targets[i].weight;
    }
    if (sum > 0) return by_weight(targets, candidate, count, random, sum);
    for (size_t i = 0; i < count; i++) {
        size_t next = (*turn)++ % count;
        if (candidate[next]) return next;
    }
    return count;
}

/* ---- bytes ---- */

static void on_read(void *context, struct bytes bytes)
{
    struct side *side = context;
    struct transport *to = side->other->transport;
    if (to == NULL || !transport_is_open(to)) return;
    chain_append(transport_output(to), bytes);
    transport_flush(to);
    if (transport_pending(to) > PENDING_MAX) transport_read_stop(side->transport);
}

static void on_drain(void *context)
{
    struct side *side = context;
    if (side->other->transport != NULL && transport_is_open(side->other->transport))
        transport_read_start(side->other->transport);
}

static void on_close(void *context, const struct error *error)
{
    struct side *side = context;
    (void)error; /* what it was is the client's and the member's business */
    side->transport = NULL;
    if (side->other->transport != NULL)
        transport_finish(side->other->transport);
    else
        free(side->link);
}

static const struct transport_handler side_handler = {.on_read = on_read,
                                                      .on_drain = on_drain,
                                                      .on_close = on_close};

/* ---- connecting ---- */

static void connect_link(struct link *link);

static void deactivate(struct forwarder *forwarder, size_t target, const struct error *error)
{
    if (!forwarder->active[target]) return;
    forwarder->active[target] = false;
    log_warn(forwarder->logger, "deactivated endpoint",
             LOG_STRING("address", forwarder->targets[target].address),
             LOG_DURATION("interval", forwarder->retry_delay), LOG_STRING("error", error->text));
}

static void on_connected(void *context, struct transport *transport, struct error *error)
{
    struct link *link = context;
    if (error != NULL) {
        deactivate(link->forwarder, link->target, error);
        error_free(error);
        connect_link(link);
        return;
    }
    link->member.transport = transport;
    transport_set_handler(transport, &side_handler, &link->member);
    transport_start(transport);
    transport_start(link->client.transport);
}

/* The client is not read from until there is somebody to hear it. */
static void connect_link(struct link *link)
{
    struct forwarder *forwarder = link->forwarder;
    link->target = forwarder_choose(forwarder->choices, forwarder->active, forwarder->count,
                                    (uint32_t)rng_next(&forwarder->rng), &forwarder->turn);
    if (link->target == forwarder->count) {
        transport_close(link->client.transport, NULL);
        return;
    }
    (void)transport_connect(forwarder->loop, forwarder->targets[link->target].address, CONNECT_TIMEOUT,
                            on_connected, link);
}

static void on_accept(void *context, size_t index, struct transport *transport)
{
    struct link *link = mem_zalloc(1, sizeof(*link));
    (void)index;
    link->forwarder = context;
    link->client = (struct side){.link = link, .other = &link->member, .transport = transport};
    link->member = (struct side){.link = link, .other = &link->client};
    transport_set_handler(transport, &side_handler, &link->client);
    connect_link(link);
}

/* ---- trying again ---- */

static void ignore_bytes(void *context, struct bytes bytes)
{
    (void)context;
    (void)bytes;
}

static void ignore_close(void *context, const struct error *error)
{
    (void)context;
    (void)error;
}

static void on_probed(void *context, struct transport *transport, struct error *error)
{
    static const struct transport_handler handler = {.on_read = ignore_bytes, .on_close = ignore_close};
    struct target *target = context;
    struct forwarder *forwarder = target->forwarder;
    target->probing = false;
    if (error == NULL) {
        transport_set_handler(transport, &handler, NULL);
        transport_close(transport, NULL);
        forwarder->active[target - forwarder->targets] = true;
        log_info(forwarder->logger, "activated", LOG_STRING("address", target->address));
        return;
    }
    log_warn(forwarder->logger, "failed to activate endpoint (stay inactive for another interval)",
             LOG_STRING("address", target->address), LOG_DURATION("interval", forwarder->retry_delay),
             LOG_STRING("error", error->text));
    error_free(error);
}

static void retry(struct loop *loop, struct loop_timer *timer)
{
    struct forwarder *forwarder = CONTAINER(timer, struct forwarder, retry);
    for (size_t i = 0; i < forwarder->count; i++) {
        struct target *target = &forwarder->targets[i];
        if (forwarder->active[i] || target->probing) continue;
        target->probing = true;
        (void)transport_connect(loop, target->address, CONNECT_TIMEOUT, on_probed, target);
    }
    loop_timer_set(loop, timer, clock_monotonic() + forwarder->retry_delay);
}

struct error *forwarder_new(const struct forwarder_config *config, struct forwarder **out)
{
    struct forwarder *forwarder = mem_zalloc(1, sizeof(*forwarder));
    struct listener_config listener = {
        .address = config->listen_address,
        .loops = &config->loop,
        .loop_count = 1,
        .on_accept = on_accept,
        .context = forwarder,
        .logger = config->logger,
    };
    struct error *error = listener_new(config->loop, &listener, &forwarder->listener);
    if (error != NULL) {
        free(forwarder);
        return error;
    }
    assert(config->target_count <= FORWARDER_TARGETS_MAX);
    forwarder->loop = config->loop;
    forwarder->logger = config->logger;
    forwarder->retry_delay = config->retry_delay;
    forwarder->count = config->target_count;
    for (size_t i = 0; i < forwarder->count; i++) {
        forwarder->choices[i] = config->targets[i];
        forwarder->targets[i] = (struct target){forwarder, mem_strdup(config->targets[i].address), false};
        forwarder->choices[i].address = forwarder->targets[i].address;
        forwarder->active[i] = true;
    }
    rng_init(&forwarder->rng, (uint64_t)clock_wall());
    forwarder->retry.run = retry;
    loop_timer_set(config->loop, &forwarder->retry, clock_monotonic() + forwarder->retry_delay);
    listener_start(forwarder->listener);
    *out = forwarder;
    return NULL;
}
