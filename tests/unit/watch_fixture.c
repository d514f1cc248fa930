#include "watch_fixture.h"

#include "api/message.h"
#include "base/buf.h"
#include "base/memory.h"
#include "memory_backend.h"

#include <stdio.h>
#include <stdlib.h>

static void open_store(struct world *world, struct backend *backend)
{
    struct mvcc_options options = {.logger = NULL};
    world->backend = backend;
    must(mvcc_open(backend, &options, &world->store));
}

void world_init(struct world *world, const struct watch_options *options)
{
    *world = (struct world){.arena = arena_new()};
    open_store(world, memory_backend_new());
    world->hub = watch_hub_new(world->store, options);
    watch_hub_set_header(world->hub, 0xc1, 0xa1, 7);
}

void world_deinit(struct world *world)
{
    watch_hub_free(world->hub);
    mvcc_close(world->store);
    memory_backend_free(world->backend);
    arena_free(world->arena);
}

struct client *client_open(struct world *world)
{
    struct client *client = mem_zalloc(1, sizeof(*client));
    client->stream = watch_stream_open(world->hub, client, world->now);
    return client;
}

void client_free(struct client *client)
{
    if (client->stream != NULL) watch_stream_close(client->stream);
    free(client->responses);
    free(client);
}

void put(struct world *world, const char *key, const char *value)
{
    mvcc_txn_put(world->store, bytes_from_string(key), bytes_from_string(value), 0);
}

void delete_key(struct world *world, const char *key)
{
    struct buf scratch = {0};
    struct mvcc_span span = mvcc_span_of(bytes_from_string(key), BYTES_EMPTY, &scratch);
    mvcc_txn_delete(world->store, &span);
    buf_deinit(&scratch);
}

void txn_begin(struct world *world)
{
    mvcc_txn_begin(world->store);
}

void txn_end(struct world *world)
{
    size_t count;
    const struct mvcc_change *changes = mvcc_txn_end(world->store, &count);
    if (count > 0) must(watch_hub_notify(world->hub, changes, count));
}

void put_one(struct world *world, const char *key, const char *value)
{
    txn_begin(world);
    put(world, key, value);
    txn_end(world);
}

void delete_one(struct world *world, const char *key)
{
    txn_begin(world);
    delete_key(world, key);
    txn_end(world);
}

void put_large(struct world *world, int keys, size_t size)
{
    char *value = mem_alloc(size);
    memset(value, 'x', size);
    txn_begin(world);
    for (int i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%02d", i);
        mvcc_txn_put(world->store, bytes_from_string(key), bytes_of(value, size), 0);
    }
    txn_end(world);
    free(value);
}

void compact(struct world *world, int64_t revision)
{
    assert_int_equal(mvcc_compact_start(world->store, revision), MVCC_OK);
    int64_t finished;
    while (mvcc_compact_pending(world->store)) must(mvcc_compact_step(world->store, 1000, &finished));
}

void fork_store(struct world *world, struct world *other)
{
    *other = (struct world){.arena = NULL};
    open_store(other, memory_backend_copy(world->backend));
}

void install(struct world *world, struct world *other)
{
    watch_hub_restore(world->hub, other->store);
    mvcc_close(world->store);
    memory_backend_free(world->backend);
    world->store = other->store;
    world->backend = other->backend;
}

void take(struct world *world)
{
    struct mail *next;
    for (struct mail *mail = watch_hub_take(world->hub); mail != NULL; mail = next) {
        next = mail->next;
        struct watch_message *message = (struct watch_message *)mail;
        struct client *client = message->owner;
        if (message->overflow) {
            assert_int_equal(message->size, 0);
            client->cut_off = true;
            watch_message_free(message);
            continue;
        }
        struct buf bytes = {0};
        buf_append(&bytes, message->head, message->head_size);
        for (size_t i = 0; i < message->part_count; i++)
            buf_append_bytes(&bytes, blob_bytes(message->parts[i]));
        assert_int_equal(bytes.size, message->size);
        client->undelivered += message->size;
        client->responses = mem_realloc(client->responses, (client->count + 1) * sizeof(void *));
        ProtobufCMessage *decoded =
            message_unpack(&etcdserverpb__watch_response__descriptor, buf_bytes(&bytes), world->arena, NULL);
        assert_non_null(decoded);
        client->responses[client->count++] = (Etcdserverpb__WatchResponse *)decoded;
        buf_deinit(&bytes);
        watch_message_free(message);
    }
}

void run(struct world *world)
{
    bool more;
    do must(watch_hub_run(world->hub, world->now, SLICE, &more));
    while (more);
    take(world);
}

void deliver(struct client *client)
{
    watch_delivered(client->stream, client->undelivered);
    client->undelivered = 0;
}

void settle(struct world *world, struct client *const *clients, size_t count)
{
    for (bool moved = true; moved;) {
        run(world);
        moved = false;
        for (size_t i = 0; i < count; i++) {
            if (clients[i]->stream == NULL || clients[i]->undelivered == 0) continue;
            deliver(clients[i]);
            moved = true;
        }
    }
}

/* ---- responses as text ---- */

static void describe_key_value(struct buf *out, const Mvccpb__KeyValue *kv, bool with_value)
{
    buf_append_bytes(out, message_bytes(kv->key));
    if (with_value) {
        buf_append_byte(out, '=');
        buf_append_bytes(out, message_bytes(kv->value));
    }
    buf_printf(out, "@%lld", (long long)kv->mod_revision);
}

static void describe(struct buf *out, const Etcdserverpb__WatchResponse *response)
{
    assert_non_null(response->header);
    assert_int_equal(response->header->cluster_id, 0xc1);
    assert_int_equal(response->header->member_id, 0xa1);
    assert_int_equal(response->header->raft_term, 7);
    buf_printf(out, "#%lld", (long long)response->watch_id);
    if (response->created) buf_append_string(out, " created");
    if (response->canceled) buf_append_string(out, " canceled");
    if (response->compact_revision != 0)
        buf_printf(out, " compact=%lld", (long long)response->compact_revision);
    if (response->fragment) buf_append_string(out, " fragment");
    buf_printf(out, " rev=%lld", (long long)response->header->revision);
    if (response->cancel_reason[0] != '\0') buf_printf(out, " (%s)", response->cancel_reason);
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
        buf_append_string(out, deleted ? " DEL " : " PUT ");
        describe_key_value(out, event->kv, !deleted);
        if (event->prev_kv == NULL) continue;
        buf_append_string(out, " was ");
        describe_key_value(out, event->prev_kv, true);
    }
}

void expect(struct client *client, const char *text)
{
    if (client->next == client->count) fail_msg("no response, expected: %s", text);
    struct buf actual = {0};
    describe(&actual, client->responses[client->next++]);
    assert_string_equal(buf_string(&actual), text);
    buf_deinit(&actual);
}

void expect_nothing(const struct client *client)
{
    if (client->next == client->count) return;
    struct buf actual = {0};
    describe(&actual, client->responses[client->next]);
    fail_msg("unexpected response: %s", buf_string(&actual));
}

struct watch_create want(const char *key, const char *range_end, int64_t start)
{
    return (struct watch_create){.key = bytes_from_string(key),
                                 .range_end = bytes_from_string(range_end),
                                 .start_revision = start};
}

void watch(struct client *client, const char *key, const char *range_end, int64_t start)
{
    struct watch_create create = want(key, range_end, start);
    watch_create(client->stream, &create, NULL);
}

struct client *one_client(struct world *world, const struct watch_options *options)
{
    world_init(world, options);
    return client_open(world);
}
