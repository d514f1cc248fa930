#include "tests/client/fake_net.h"

#include "base/list.h"
#include "net/tls.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { TIMERS_MAX = 256, CHANNELS_MAX = 16, SENT_MAX = 64, METADATA_MAX = 4 };

/* ---- The loop ---- */

struct loop {
    struct loop_timer *timers[TIMERS_MAX]; /* timer->position - 1 is its place */
    int64_t now;
};

static struct loop *the_loop;

struct loop *fake_loop_new(void)
{
    assert(the_loop == NULL);
    the_loop = (struct loop *)mem_zalloc(1, sizeof(*the_loop));
    the_loop->now = 1000 * LOOP_SECOND;
    return the_loop;
}

void fake_loop_free(struct loop *loop)
{
    for (size_t i = 0; i < TIMERS_MAX; i++) assert(loop->timers[i] == NULL); /* nobody left a timer behind */
    free(loop);
    the_loop = NULL;
}

int64_t clock_monotonic(void)
{
    return the_loop->now;
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
    if (timer->position == 0) return;
    loop->timers[timer->position - 1] = NULL;
    timer->position = 0;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at)
{
    loop_timer_clear(loop, timer);
    size_t place = 0;
    while (loop->timers[place] != NULL) place++;
    assert(place < TIMERS_MAX);
    loop->timers[place] = timer;
    timer->position = place + 1;
    timer->at = at;
}

void fake_advance(struct loop *loop, int64_t nanoseconds)
{
    int64_t until = loop->now + nanoseconds;
    for (;;) {
        struct loop_timer *first = NULL;
        for (size_t i = 0; i < TIMERS_MAX; i++) {
            struct loop_timer *timer = loop->timers[i];
            if (timer != NULL && timer->at <= until && (first == NULL || timer->at < first->at))
                first = timer;
        }
        if (first == NULL) break;
        if (first->at > loop->now) loop->now = first->at;
        loop_timer_clear(loop, first);
        first->run(loop, first);
    }
    loop->now = until;
}

/* ---- Channels and calls ---- */

struct grpc_client_call {
    LIST_ENTRY(grpc_client_call) all; /* newest first */
    struct grpc_channel *channel;
    struct grpc_client_call_options options;
    char *path;
    struct {
        char *key, *value;
    } metadata[METADATA_MAX];
    struct buf sent[SENT_MAX];
    size_t sent_count, taken;
    bool paused;
    bool closed;
};

struct grpc_channel {
    struct grpc_channel_config config;
    char *address;
    enum grpc_channel_state state;
    LIST_HEAD(, grpc_client_call) calls; /* closed ones too */
};

static struct grpc_channel *channels[CHANNELS_MAX];

/* ---- TLS: there is no network to encrypt ---- */

struct error *tls_new(const struct tls_config *config, struct tls **tls)
{
    (void)config;
    (void)tls;
    return error_new(ERROR_OTHER, "no TLS in the fake network");
}

void tls_free(struct tls *tls)
{
    (void)tls;
}

const struct transport_security *tls_security(const struct tls *tls)
{
    static const struct transport_security none;
    (void)tls;
    return &none;
}

const struct transport_security *tls_http1_security(const struct tls *tls)
{
    return tls_security(tls);
}

struct grpc_channel *grpc_channel_new(struct loop *loop, const struct grpc_channel_config *config)
{
    (void)loop;
    struct grpc_channel *channel = (struct grpc_channel *)mem_zalloc(1, sizeof(*channel));
    channel->config = *config;
    channel->address = mem_strdup(config->address);
    channel->state = GRPC_CHANNEL_IDLE;
    LIST_INIT(&channel->calls);
    size_t place = 0;
    while (channels[place] != NULL) place++;
    assert(place < CHANNELS_MAX);
    channels[place] = channel;
    return channel;
}

static void close_call(struct grpc_client_call *call, const struct grpc_client_status *status)
{
    assert(!call->closed);
    call->closed = true;
    call->options.handler->on_close(call, status);
}

void grpc_channel_free(struct grpc_channel *channel)
{
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (channels[i] == channel) channels[i] = NULL;
    while (!LIST_EMPTY(&channel->calls)) {
        struct grpc_client_call *call = LIST_FIRST(&channel->calls);
        assert(call->closed); /* the client ended what it began */
        LIST_REMOVE(call, all);
        for (size_t i = 0; i < SENT_MAX; i++) buf_deinit(&call->sent[i]);
        for (size_t i = 0; i < METADATA_MAX; i++) {
            free(call->metadata[i].key);
            free(call->metadata[i].value);
        }
        free(call->path);
        free(call);
    }
    free(channel->address);
    free(channel);
}

void grpc_channel_connect(struct grpc_channel *channel)
{
    if (channel->state != GRPC_CHANNEL_READY) channel->state = GRPC_CHANNEL_CONNECTING;
}

enum grpc_channel_state grpc_channel_state(const struct grpc_channel *channel)
{
    return channel->state;
}

static char *string_of(struct bytes bytes)
{
    return mem_printf("%.*s", (int)bytes.size, (const char *)bytes.data);
}

struct grpc_client_call *grpc_channel_call(struct grpc_channel *channel,
                                           const struct grpc_client_call_options *options)
{
    assert(channel->state == GRPC_CHANNEL_READY);
    struct grpc_client_call *call = (struct grpc_client_call *)mem_zalloc(1, sizeof(*call));
    call->channel = channel;
    call->options = *options;
    call->path = mem_strdup(options->path);
    assert(options->metadata_count <= METADATA_MAX);
    for (size_t i = 0; i < options->metadata_count; i++) {
        call->metadata[i].key = string_of(options->metadata[i].key);
        call->metadata[i].value = string_of(options->metadata[i].value);
    }
    LIST_INSERT_HEAD(&channel->calls, call, all);
    return call;
}

size_t grpc_client_call_send(struct grpc_client_call *call, const struct grpc_part *parts, size_t count)
{
    assert(!call->closed && call->sent_count < SENT_MAX);
    for (size_t i = 0; i < count; i++) buf_append_bytes(&call->sent[call->sent_count], parts[i].bytes);
    call->sent_count++;
    return 0;
}

struct grpc_client_call *grpc_channel_request(struct grpc_channel *channel,
                                              const struct grpc_client_call_options *options,
                                              const struct grpc_part *parts, size_t count)
{
    struct grpc_client_call *call = grpc_channel_call(channel, options);
    grpc_client_call_send(call, parts, count);
    return call;
}

void *grpc_client_call_context(const struct grpc_client_call *call)
{
    return call->options.context;
}

void grpc_client_call_cancel(struct grpc_client_call *call)
{
    close_call(call, &(struct grpc_client_status){.code = GRPC_CANCELED,
                                                  .text = BYTES_LITERAL("context canceled")});
}

void grpc_client_call_pause(struct grpc_client_call *call)
{
    call->paused = true;
}

void grpc_client_call_resume(struct grpc_client_call *call)
{
    call->paused = false;
}

/* ---- The server's side ---- */

struct grpc_channel *fake_channel(const char *address)
{
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (channels[i] != NULL && strcmp(channels[i]->address, address) == 0) return channels[i];
    fprintf(stderr, "no channel to %s\n", address);
    abort();
}

void fake_up(struct grpc_channel *channel)
{
    channel->state = GRPC_CHANNEL_READY;
    channel->config.on_state(channel->config.context, GRPC_CHANNEL_READY, NULL);
}

void fake_down(struct grpc_channel *channel)
{
    channel->state = GRPC_CHANNEL_IDLE;
    channel->config.on_state(channel->config.context, GRPC_CHANNEL_IDLE, NULL);
    struct grpc_client_call *call, *next;
    for (call = LIST_FIRST(&channel->calls); call != NULL; call = next) {
        next = LIST_NEXT(call, all);
        if (!call->closed) fake_close(call, GRPC_UNAVAILABLE, "connection lost");
    }
}

struct grpc_client_call *fake_open_call(const char *path)
{
    for (size_t i = 0; i < CHANNELS_MAX; i++) {
        struct grpc_client_call *call;
        if (channels[i] == NULL) continue;
        LIST_FOREACH (call, &channels[i]->calls, all)
            if (!call->closed && strcmp(call->path, path) == 0) return call;
    }
    return NULL;
}

size_t fake_call_count(const char *path)
{
    size_t count = 0;
    for (size_t i = 0; i < CHANNELS_MAX; i++) {
        const struct grpc_client_call *call;
        if (channels[i] == NULL) continue;
        LIST_FOREACH (call, &channels[i]->calls, all) count += strcmp(call->path, path) == 0;
    }
    return count;
}

const char *fake_call_address(const struct grpc_client_call *call)
{
    return call->channel->address;
}

const char *fake_call_metadata(const struct grpc_client_call *call, const char *key)
{
    for (size_t i = 0; i < METADATA_MAX; i++)
        if (call->metadata[i].key != NULL && strcmp(call->metadata[i].key, key) == 0)
            return call->metadata[i].value;
    return NULL;
}

bool fake_call_is_paused(const struct grpc_client_call *call)
{
    return call->paused;
}

void *fake_take_sent(struct grpc_client_call *call, const ProtobufCMessageDescriptor *descriptor,
                     struct arena *arena)
{
    if (call->taken == call->sent_count) return NULL;
    return message_unpack(descriptor, buf_bytes(&call->sent[call->taken++]), arena, NULL);
}

void fake_send(struct grpc_client_call *call, const ProtobufCMessage *message)
{
    struct buf packed = {0};
    message_pack(&packed, message);
    call->options.handler->on_message(call, buf_bytes(&packed));
    buf_deinit(&packed);
}

void fake_close(struct grpc_client_call *call, enum grpc_code code, const char *text)
{
    close_call(call, &(struct grpc_client_status){.code = code,
                                                  .text = bytes_from_string(text),
                                                  .from_server = true});
}

void fake_close_unprocessed(struct grpc_client_call *call)
{
    close_call(call, &(struct grpc_client_status){.code = GRPC_UNAVAILABLE,
                                                  .text = BYTES_LITERAL("refused"),
                                                  .unprocessed = true});
}

void fake_answer(struct grpc_client_call *call, const ProtobufCMessage *message)
{
    fake_send(call, message);
    if (!call->closed) fake_close(call, GRPC_OK, "");
}
