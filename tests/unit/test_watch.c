/* The watch hub over the real store: each rule of etcd's Watch service by example, then everything at once
 * against the full history of a random run. */
#include "api/message.h"
#include "base/memory.h"
#include "base/rng.h"
#include "memory_backend.h"
#include "mvcc/watch.h"
#include "mvcc/watch_index.h"

#include "rpc.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

enum { SLICE = 10000 };

/* ---- a store, a hub and clients ---- */

struct world {
    struct backend *backend;
    struct mvcc_store *store;
    struct watch_hub *hub;
    struct arena *arena; /* decoded responses */
    int64_t now;
};

/* What one client got. */
struct client {
    struct watch_stream *stream;
    Etcdserverpb__WatchResponse **responses;
    size_t count, next;
    size_t undelivered;
    bool cut_off;
};

static void must(struct error *error)
{
    if (error != NULL) fail_msg("%s", error->text);
}

static void open_store(struct world *world, struct backend *backend)
{
    struct mvcc_options options = {.logger = NULL};
    world->backend = backend;
    must(mvcc_open(backend, &options, &world->store));
}

static void world_init(struct world *world, const struct watch_options *options)
{
    *world = (struct world){.arena = arena_new()};
    open_store(world, memory_backend_new());
    world->hub = watch_hub_new(world->store, options);
    watch_hub_set_header(world->hub, 0xc1, 0xa1, 7);
}

static void world_deinit(struct world *world)
{
    watch_hub_free(world->hub);
    mvcc_close(world->store);
    memory_backend_free(world->backend);
    arena_free(world->arena);
}

static struct client *client_open(struct world *world)
{
    struct client *client = mem_zalloc(1, sizeof(*client));
    client->stream = watch_stream_open(world->hub, client, world->now);
    return client;
}

static void client_free(struct client *client)
{
    if (client->stream != NULL) watch_stream_close(client->stream);
    free(client->responses);
    free(client);
}

static void put(struct world *world, const char *key, const char *value)
{
    mvcc_txn_put(world->store, bytes_from_string(key), bytes_from_string(value), 0);
}

static void delete_key(struct world *world, const char *key)
{
    struct buf scratch = {0};
    struct mvcc_span span = mvcc_span_of(bytes_from_string(key), BYTES_EMPTY, &scratch);
    mvcc_txn_delete(world->store, &span);
    buf_deinit(&scratch);
}

static void begin(struct world *world)
{
    mvcc_txn_begin(world->store);
}

static void end(struct world *world)
{
    size_t count;
    const struct mvcc_change *changes = mvcc_txn_end(world->store, &count);
    if (count > 0) must(watch_hub_notify(world->hub, changes, count));
}

static void put_one(struct world *world, const char *key, const char *value)
{
    begin(world);
    put(world, key, value);
    end(world);
}

static void delete_one(struct world *world, const char *key)
{
    begin(world);
    delete_key(world, key);
    end(world);
}

static void compact(struct world *world, int64_t revision)
{
    assert_int_equal(mvcc_compact_start(world->store, revision), MVCC_OK);
    int64_t finished;
    while (mvcc_compact_pending(world->store)) must(mvcc_compact_step(world->store, 1000, &finished));
}

static void take(struct world *world)
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

static void run(struct world *world)
{
    bool more;
    do must(watch_hub_run(world->hub, world->now, SLICE, &more));
    while (more);
    take(world);
}

static void deliver(struct client *client)
{
    watch_delivered(client->stream, client->undelivered);
    client->undelivered = 0;
}

/* Everything made and read until nothing moves any more. */
static void settle(struct world *world, struct client *const *clients, size_t count)
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

/* #ID [created] [canceled] [compact=N] [fragment] rev=N [reason] [PUT k=v@M [was k=v@M]] [DEL k@M ...] */
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

static void expect(struct client *client, const char *text)
{
    if (client->next == client->count) fail_msg("no response, expected: %s", text);
    struct buf actual = {0};
    describe(&actual, client->responses[client->next++]);
    assert_string_equal(buf_string(&actual), text);
    buf_deinit(&actual);
}

static void expect_nothing(const struct client *client)
{
    if (client->next == client->count) return;
    struct buf actual = {0};
    describe(&actual, client->responses[client->next]);
    fail_msg("unexpected response: %s", buf_string(&actual));
}

static struct watch_create want(const char *key, const char *range_end, int64_t start)
{
    return (struct watch_create){.key = bytes_from_string(key),
                                 .range_end = bytes_from_string(range_end),
                                 .start_revision = start};
}

static void watch(struct client *client, const char *key, const char *range_end, int64_t start)
{
    struct watch_create create = want(key, range_end, start);
    watch_create(client->stream, &create, NULL);
}

/* A world with one client, for most tests. */
static struct client *one_client(struct world *world, const struct watch_options *options)
{
    world_init(world, options);
    return client_open(world);
}

static const struct watch_options plain = {.seed = 1};

/* ---- create ---- */

static void every_create_is_answered_once_before_its_events(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "foo", "0");
    watch(client, "foo", "", 2);
    watch(client, "foo", "", 0);
    put_one(&world, "foo", "1");
    run(&world);
    expect(client, "#0 created rev=2");
    expect(client, "#1 created rev=2");
    expect(client, "#1 rev=3 PUT foo=1@3");
    expect(client, "#0 rev=3 PUT foo=0@2 PUT foo=1@3");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void a_negative_start_is_refused_as_compacted(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "foo", "", -1);
    run(&world);
    expect(client, "#-1 created canceled rev=1 (etcdserver: mvcc: required revision has been compacted)");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void an_empty_range_is_refused(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "foo", "foo", 0);
    watch(client, "foo", "abc", 0);
    run(&world);
    expect(client, "#-1 created canceled rev=1 (mvcc: watcher range is empty)");
    expect(client, "#-1 created canceled rev=1 (mvcc: watcher range is empty)");
    watch(client, "foo", "fop", 0); /* the stream goes on */
    run(&world);
    expect(client, "#0 created rev=1");
    client_free(client);
    world_deinit(&world);
}

static void the_caller_can_refuse_a_create(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch_refuse(client->stream, "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    run(&world);
    expect(client, "#-1 created canceled rev=1 (rpc error: code = PermissionDenied desc = etcdserver: "
                   "permission denied)");
    client_free(client);
    world_deinit(&world);
}

static void an_id_in_use_is_refused_and_any_other_taken(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    struct watch_create create = want("foo", "", 0);
    static const int64_t ids[] = {1, -1, 1, 0, 0, INT64_MIN};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        create.watch_id = ids[i];
        watch_create(client->stream, &create, NULL);
    }
    run(&world);
    expect(client, "#1 created rev=1");
    expect(client, "#-1 created rev=1");
    expect(client, "#-1 created canceled rev=1 (mvcc: duplicate watch ID provided on the WatchStream)");
    expect(client, "#0 created rev=1");
    expect(client, "#2 created rev=1"); /* 1 is in use */
    expect(client, "#-9223372036854775808 created rev=1");
    client_free(client);
    world_deinit(&world);
}

static void chosen_ids_never_go_back_but_a_canceled_one_may_be_asked_for(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    watch(client, "a", "", 0);
    watch_cancel(client->stream, 1);
    watch(client, "a", "", 0);
    struct watch_create create = want("a", "", 0);
    create.watch_id = 1;
    int64_t id = 0;
    assert_true(watch_create(client->stream, &create, &id));
    assert_int_equal(id, 1);
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#1 created rev=1");
    expect(client, "#1 canceled rev=1");
    expect(client, "#2 created rev=1");
    expect(client, "#1 created rev=1");
    client_free(client);
    world_deinit(&world);
}

static void spans_are_keys_ranges_and_open_ends(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "b", "", 0);  /* 0 */
    watch(client, "a", "c", 0); /* 1 */
    struct watch_create create = want("b", "", 0);
    create.range_end = BYTES_LITERAL("\0"); /* 2: b and above */
    watch_create(client->stream, &create, NULL);
    create.key = BYTES_EMPTY; /* 3: everything */
    watch_create(client->stream, &create, NULL);
    create.range_end = BYTES_EMPTY; /* 4: the smallest key alone */
    watch_create(client->stream, &create, NULL);
    run(&world);
    client->next = client->count;

    begin(&world);
    put(&world, "a", "1");
    put(&world, "b", "2");
    put(&world, "c", "3");
    mvcc_txn_put(world.store, BYTES_LITERAL("\0"), BYTES_EMPTY, 0);
    end(&world);
    run(&world);
    size_t events[5] = {0};
    for (; client->next < client->count; client->next++)
        events[client->responses[client->next]->watch_id] = client->responses[client->next]->n_events;
    static const size_t expected[5] = {1, 2, 2, 4, 1};
    assert_memory_equal(events, expected, sizeof(expected));
    client_free(client);
    world_deinit(&world);
}

static void a_start_in_the_future_waits_for_its_revision(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 4);
    for (int i = 0; i < 4; i++) put_one(&world, "a", "x");
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=4 PUT a=x@4");
    expect(client, "#0 rev=5 PUT a=x@5");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void too_many_watchers_are_refused(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.watchers_max = 2};
    struct client *client = one_client(&world, &options);
    for (int i = 0; i < 3; i++) watch(client, "a", "", 0);
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#1 created rev=1");
    expect(client, "#-1 created canceled rev=1 (etcdserver: too many requests)");
    client_free(client);
    world_deinit(&world);
}

/* ---- cancel and progress ---- */

static void a_cancel_is_answered_when_the_id_is_known(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    watch_cancel(client->stream, 5);
    put_one(&world, "a", "1");
    watch_cancel(client->stream, 0);
    put_one(&world, "a", "2");
    watch_cancel(client->stream, 0);
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=2 PUT a=1@2");
    expect(client, "#0 canceled rev=2");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void progress_is_answered_in_the_queue_of_the_events(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    put_one(&world, "a", "1");
    put_one(&world, "other", "1");
    watch_progress(client->stream);
    put_one(&world, "a", "2");
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=2 PUT a=1@2");
    expect(client, "#-1 rev=3");
    expect(client, "#0 rev=4 PUT a=2@4");
    client_free(client);
    world_deinit(&world);
}

static void progress_of_a_stream_without_watchers_is_never_answered(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch_progress(client->stream);
    run(&world);
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

/* etcd issue 15220 */
static void progress_is_never_answered_while_a_watcher_is_behind(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "a", "1");
    watch(client, "b", "", 0);
    watch(client, "a", "", 1);
    watch_progress(client->stream);
    run(&world);
    expect(client, "#0 created rev=2");
    expect(client, "#1 created rev=2");
    expect(client, "#1 rev=2 PUT a=1@2");
    expect_nothing(client); /* not later either */
    watch_progress(client->stream);
    run(&world);
    expect(client, "#-1 rev=2");
    client_free(client);
    world_deinit(&world);
}

/* etcd issue 20221 */
static void progress_is_never_answered_while_a_start_is_in_the_future(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    watch(client, "a", "", 3);
    run(&world);
    client->next = client->count;
    watch_progress(client->stream);
    run(&world);
    expect_nothing(client);
    put_one(&world, "x", "");
    put_one(&world, "x", "");
    watch_progress(client->stream);
    run(&world);
    expect(client, "#-1 rev=3");
    client_free(client);
    world_deinit(&world);
}

static void periodic_progress_is_for_idle_synced_watchers_that_asked(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.progress_interval = 10 * SECOND};
    struct client *client = one_client(&world, &options);
    struct watch_create create = want("a", "", 0);
    create.progress_notify = true;
    watch_create(client->stream, &create, NULL); /* 0: asked */
    watch(client, "a", "", 0);                   /* 1: did not */
    create.start_revision = 100;
    watch_create(client->stream, &create, NULL); /* 2: in the future */
    run(&world);
    client->next = client->count;

    int64_t first = watch_hub_wake_at(world.hub);
    assert_true(first >= 10 * SECOND && first < 11 * SECOND);
    world.now = first - 1;
    run(&world);
    expect_nothing(client);
    world.now = first;
    run(&world);
    expect(client, "#0 rev=1");
    expect_nothing(client);

    put_one(&world, "a", "1"); /* left out once, because there were events */
    run(&world);
    client->next = client->count;
    world.now = watch_hub_wake_at(world.hub);
    assert_int_equal(world.now, 2 * first); /* the period of a stream does not change */
    run(&world);
    expect_nothing(client);
    world.now = watch_hub_wake_at(world.hub);
    run(&world);
    expect(client, "#0 rev=2");
    client_free(client);
    assert_true(watch_hub_wake_at(world.hub) == INT64_MAX);
    world_deinit(&world);
}

static void progress_intervals_are_at_least_100_ms(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.progress_interval = 1};
    struct client *client = one_client(&world, &options);
    assert_true(watch_hub_wake_at(world.hub) >= SECOND / 10);
    client_free(client);
    world_deinit(&world);
}

/* ---- events ---- */

static void a_put_tells_everything_and_a_delete_key_and_revision(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    put_one(&world, "a", "1");
    put_one(&world, "a", "2");
    delete_one(&world, "a");
    watch(client, "a", "", 1); /* the same from the rows */
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=2 PUT a=1@2");
    const Mvccpb__KeyValue *kv = client->responses[client->next]->events[0]->kv;
    assert_int_equal(kv->create_revision, 2);
    assert_int_equal(kv->version, 2);
    expect(client, "#0 rev=3 PUT a=2@3");
    kv = client->responses[client->next]->events[0]->kv;
    assert_int_equal(kv->create_revision, 0);
    assert_int_equal(kv->version, 0);
    assert_int_equal(kv->value.len, 0);
    expect(client, "#0 rev=4 DEL a@4");
    expect(client, "#1 created rev=4");
    expect(client, "#1 rev=4 PUT a=1@2 PUT a=2@3 DEL a@4");
    kv = client->responses[client->next - 1]->events[2]->kv;
    assert_int_equal(kv->create_revision, 0);
    assert_int_equal(kv->version, 0);
    client_free(client);
    world_deinit(&world);
}

static void all_events_of_a_revision_come_in_one_response_in_order(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "c", "0");
    watch(client, "a", "z", 0);
    begin(&world);
    put(&world, "b", "1");
    put(&world, "a", "2");
    delete_key(&world, "c");
    end(&world);
    watch(client, "a", "z", 3);
    run(&world);
    expect(client, "#0 created rev=2");
    expect(client, "#0 rev=3 PUT b=1@3 PUT a=2@3 DEL c@3");
    expect(client, "#1 created rev=3");
    expect(client, "#1 rev=3 PUT b=1@3 PUT a=2@3 DEL c@3");
    client_free(client);
    world_deinit(&world);
}

static void filters_drop_events_and_empty_responses_are_not_sent(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    struct watch_create create = want("a", "", 0);
    create.no_put = true;
    watch_create(client->stream, &create, NULL);
    create.no_put = false;
    create.no_delete = true;
    watch_create(client->stream, &create, NULL);
    put_one(&world, "a", "1");
    delete_one(&world, "a");
    create.start_revision = 1;
    watch_create(client->stream, &create, NULL);
    create.no_put = true;
    watch_create(client->stream, &create, NULL);
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#1 created rev=1");
    expect(client, "#1 rev=2 PUT a=1@2");
    expect(client, "#0 rev=3 DEL a@3");
    expect(client, "#2 created rev=3");
    expect(client, "#3 created rev=3");
    expect(client, "#2 rev=3 PUT a=1@2");
    expect_nothing(client);
    watch_progress(client->stream); /* filtered events count as seen */
    run(&world);
    expect(client, "#-1 rev=3");
    client_free(client);
    world_deinit(&world);
}

static void prev_kv_is_what_was_there_unless_compacted(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    struct watch_create create = want("a", "", 0);
    create.prev_kv = true;
    watch_create(client->stream, &create, NULL);
    put_one(&world, "a", "1"); /* 2 */
    put_one(&world, "a", "2"); /* 3 */
    delete_one(&world, "a");   /* 4 */
    put_one(&world, "a", "3"); /* 5 */
    create.start_revision = 3;
    compact(&world, 3);
    watch_create(client->stream, &create, NULL);
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=2 PUT a=1@2");
    expect(client, "#0 rev=3 PUT a=2@3 was a=1@2");
    expect(client, "#0 rev=4 DEL a@4 was a=2@3");
    expect(client, "#0 rev=5 PUT a=3@5");
    expect(client, "#1 created rev=5");
    expect(client, "#1 rev=5 PUT a=2@3 DEL a@4 was a=2@3 PUT a=3@5");

    /* Compacted from the moment it was asked for, not when the rows are gone. */
    put_one(&world, "a", "4"); /* 6 */
    put_one(&world, "a", "5"); /* 7 */
    assert_int_equal(mvcc_compact_start(world.store, 6), MVCC_OK);
    create.start_revision = 6;
    watch_cancel(client->stream, 0);
    watch_cancel(client->stream, 1);
    run(&world);
    client->next = client->count;
    watch_create(client->stream, &create, NULL);
    run(&world);
    expect(client, "#2 created rev=7");
    expect(client, "#2 rev=7 PUT a=4@6 PUT a=5@7 was a=4@6");
    client_free(client);
    world_deinit(&world);
}

static void an_event_is_encoded_once_and_shared(void **state)
{
    (void)state;
    struct world world;
    struct client *first = one_client(&world, &plain), *second = client_open(&world);
    watch(first, "a", "", 0);
    watch(second, "a", "b", 0);
    run(&world);
    put_one(&world, "a", "1");
    struct watch_message *one = (struct watch_message *)watch_hub_take(world.hub);
    struct watch_message *two = (struct watch_message *)one->mail.next;
    assert_non_null(two);
    assert_null(two->mail.next);
    assert_ptr_equal(one->owner, first);
    assert_ptr_equal(two->owner, second);
    assert_int_equal(one->part_count, 1);
    assert_ptr_equal(one->parts[0], two->parts[0]);
    watch_message_free(one);
    watch_message_free(two);
    client_free(first);
    client_free(second);
    world_deinit(&world);
}

/* ---- catching up ---- */

static void catching_up_says_the_current_revision_in_the_header(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "a", "1");
    put_one(&world, "b", "1");
    watch(client, "a", "", 1);
    run(&world);
    expect(client, "#0 created rev=3");
    expect(client, "#0 rev=3 PUT a=1@2");
    client_free(client);
    world_deinit(&world);
}

static void a_response_has_at_most_1000_revisions(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    for (int i = 0; i < 2500; i++) {
        begin(&world);
        put(&world, "a", "1");
        put(&world, "b", "1");
        end(&world);
    }
    watch(client, "a", "c", 1);
    run(&world);
    expect(client, "#0 created rev=2501");
    static const size_t sizes[] = {2000, 2000, 1000};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(client->responses[client->next]->n_events, sizes[i]);
        assert_int_equal(client->responses[client->next++]->header->revision, 2501);
    }
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void small_slices_serve_all_in_turn(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    for (int i = 0; i < 300; i++) put_one(&world, "a", "1");
    watch(client, "a", "", 1);
    watch(client, "a", "", 290);
    watch(client, "a", "", 150);
    bool more = true;
    int slices = 0;
    size_t near_done_at = 0;
    for (; more; slices++) {
        must(watch_hub_run(world.hub, 0, 10, &more));
        take(&world);
        for (; client->next < client->count; client->next++) {
            const Etcdserverpb__WatchResponse *response = client->responses[client->next];
            assert_true(response->n_events <= 11);
            if (response->watch_id == 1 && response->n_events > 0 && near_done_at == 0)
                near_done_at = (size_t)slices;
        }
        assert_true(slices < 100);
    }
    assert_true(slices > 30);                           /* 300 rows, 10 at a time */
    assert_true(near_done_at > 0 && near_done_at <= 3); /* not behind those far away */
    client_free(client);
    world_deinit(&world);
}

static void more_than_512_watchers_catch_up_too(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "a", "1");
    for (int i = 0; i < 1300; i++) watch(client, "a", "", 1);
    struct watch_stats stats;
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.slow_watchers, 1300);
    bool more = false;
    must(watch_hub_run(world.hub, 0, SLICE, &more));
    assert_true(more);
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.slow_watchers, 1300 - 512);
    run(&world);
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.slow_watchers, 0);
    assert_int_equal(stats.events, 1300);
    assert_int_equal(client->count, 2600);
    client_free(client);
    world_deinit(&world);
}

/* ---- compaction ---- */

static void a_compacted_start_is_created_then_canceled(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    for (int i = 0; i < 4; i++) put_one(&world, "a", "1");
    compact(&world, 4);
    watch(client, "a", "", 3);
    run(&world);
    expect(client, "#0 created rev=5");
    expect(client, "#0 canceled compact=4 rev=0");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void a_compacted_watcher_keeps_its_id_and_blocks_progress_until_canceled(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    for (int i = 0; i < 4; i++) put_one(&world, "a", "1");
    compact(&world, 4);
    watch(client, "a", "", 3);
    watch(client, "a", "", 0);
    run(&world);
    client->next = client->count;
    struct watch_create create = want("b", "", 0);
    watch_cancel(client->stream, 77);
    watch_progress(client->stream);
    run(&world);
    expect_nothing(client);
    struct watch_stats stats;
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.watchers, 1);
    watch_cancel(client->stream, 0);
    watch_progress(client->stream);
    create.watch_id = 9;
    watch_create(client->stream, &create, NULL);
    run(&world);
    expect(client, "#0 canceled rev=5");
    expect(client, "#-1 rev=5");
    expect(client, "#9 created rev=5");
    client_free(client);
    world_deinit(&world);
}

/* etcd issue 18089 */
static void a_start_at_the_compact_revision_sees_the_delete_there(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "a", "1");
    delete_one(&world, "a");
    put_one(&world, "b", "1");
    compact(&world, 3);
    watch(client, "a", "z", 3);
    run(&world);
    expect(client, "#0 created rev=4");
    expect(client, "#0 rev=4 DEL a@3 PUT b=1@4");
    client_free(client);
    world_deinit(&world);
}

static void compaction_leaves_synced_watchers_alone(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    for (int i = 0; i < 4; i++) put_one(&world, "b", "1");
    compact(&world, 5);
    put_one(&world, "a", "1");
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=6 PUT a=1@6");
    client_free(client);
    world_deinit(&world);
}

/* More than one slice of them: each is told once. */
static void many_compacted_watchers_are_each_canceled_once(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    for (int i = 0; i < 4; i++) put_one(&world, "a", "1");
    for (int i = 0; i < 600; i++) watch(client, "a", "", 1);
    compact(&world, 4);
    run(&world);
    run(&world);
    size_t canceled = 0;
    for (size_t i = 0; i < client->count; i++) canceled += (size_t)client->responses[i]->canceled;
    assert_int_equal(canceled, 600);
    assert_int_equal(client->count, 1200);
    client_free(client);
    world_deinit(&world);
}

/* ---- fragments ---- */

static void put_large(struct world *world, int keys, size_t size)
{
    char *value = mem_alloc(size);
    memset(value, 'x', size);
    begin(world);
    for (int i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%02d", i);
        mvcc_txn_put(world->store, bytes_from_string(key), bytes_of(value, size), 0);
    }
    end(world);
    free(value);
}

static void large_responses_are_split_when_asked(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    struct watch_create create = want("k", "l", 0);
    create.fragment = true;
    watch_create(client->stream, &create, NULL);
    put_large(&world, 25, 200000);
    run(&world);
    expect(client, "#0 created rev=1");
    static const size_t sizes[] = {10, 10, 5};
    size_t event = 0;
    for (size_t i = 0; i < 3; i++) {
        const Etcdserverpb__WatchResponse *response = client->responses[client->next++];
        assert_int_equal(response->n_events, sizes[i]);
        assert_int_equal(response->fragment, i < 2);
        assert_int_equal(response->header->revision, 2);
        assert_int_equal(response->watch_id, 0);
        for (size_t j = 0; j < response->n_events; j++, event++) {
            char key[16];
            snprintf(key, sizeof(key), "k%02zu", event);
            assert_memory_equal(response->events[j]->kv->key.data, key, 3);
        }
    }
    expect_nothing(client);
    deliver(client); /* every byte was counted, and only once */
    struct watch_stats stats;
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.unsent_bytes, 0);
    client_free(client);
    world_deinit(&world);
}

static void responses_are_whole_when_not_asked_or_small_or_single(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.fragment_bytes = 1000};
    struct client *client = one_client(&world, &options);
    struct watch_create create = want("k", "l", 0);
    watch_create(client->stream, &create, NULL);
    create.fragment = true;
    watch_create(client->stream, &create, NULL);
    run(&world);
    client->next = client->count;
    put_large(&world, 2, 400);  /* small */
    put_large(&world, 1, 4000); /* single */
    put_large(&world, 3, 4000); /* three fragments of one event for the second */
    run(&world);
    static const struct {
        int64_t id;
        size_t events;
        bool fragment;
    } expected[] = {{0, 2, false}, {1, 2, false}, {0, 1, false}, {1, 1, false},
                    {0, 3, false}, {1, 1, true},  {1, 1, true},  {1, 1, false}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++, client->next++) {
        assert_true(client->next < client->count);
        assert_int_equal(client->responses[client->next]->watch_id, expected[i].id);
        assert_int_equal(client->responses[client->next]->n_events, expected[i].events);
        assert_int_equal(client->responses[client->next]->fragment, expected[i].fragment);
    }
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

/* ---- slow clients ---- */

static void a_slow_stream_is_not_fed_and_catches_up_later(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.window_bytes = 2000};
    struct client *slow = one_client(&world, &options), *quick = client_open(&world);
    watch(slow, "a", "", 0);
    watch(quick, "a", "", 0);
    int64_t largest = 0;
    for (int i = 0; i < 500; i++) {
        put_one(&world, "a", "0123456789012345678901234567890123456789");
        run(&world);
        deliver(quick);
        struct watch_stats stats;
        watch_hub_stats(world.hub, &stats);
        if ((int64_t)stats.unsent_bytes > largest) largest = (int64_t)stats.unsent_bytes;
    }
    assert_true(largest < 2200); /* the window and one response */
    assert_int_equal(quick->count, 501);
    assert_true(slow->count < 60);

    settle(&world, &slow, 1);
    int64_t next = 2;
    for (size_t i = 1; i < slow->count; i++)
        for (size_t j = 0; j < slow->responses[i]->n_events; j++)
            assert_int_equal(slow->responses[i]->events[j]->kv->mod_revision, next++);
    assert_int_equal(next, 502);
    struct watch_stats stats;
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.slow_watchers, 0);
    client_free(slow);
    client_free(quick);
    world_deinit(&world);
}

/* etcd issue 17529 */
static void a_slow_stream_overtaken_by_compaction_is_told(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.window_bytes = 500};
    struct client *client = one_client(&world, &options);
    watch(client, "a", "", 0);
    for (int i = 0; i < 100; i++) put_one(&world, "a", "01234567890123456789");
    run(&world);
    compact(&world, 90);
    settle(&world, &client, 1);
    int64_t last = 0;
    for (size_t i = 1; i + 1 < client->count; i++) {
        assert_int_equal(client->responses[i]->events[0]->kv->mod_revision, i + 1);
        last = (int64_t)i + 1;
    }
    assert_true(last > 0 && last < 90);
    client->next = client->count - 1;
    expect(client, "#0 canceled compact=90 rev=0");
    client_free(client);
    world_deinit(&world);
}

static void a_watcher_that_had_nothing_for_long_is_not_behind_when_its_window_is_full(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.window_bytes = 300};
    struct client *client = one_client(&world, &options);
    watch(client, "idle", "", 0);
    watch(client, "a", "", 0);
    for (int i = 0; i < 20; i++) put_one(&world, "a", "01234567890123456789");
    compact(&world, 20);
    put_one(&world, "idle", "x"); /* 22 */
    settle(&world, &client, 1);
    bool seen = false;
    for (size_t i = 0; i < client->count; i++) {
        if (client->responses[i]->watch_id != 0) continue;
        assert_false(client->responses[i]->canceled);
        seen = seen || client->responses[i]->n_events == 1;
    }
    assert_true(seen);
    client_free(client);
    world_deinit(&world);
}

static void one_revision_larger_than_the_window_still_arrives_whole(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.window_bytes = 5000};
    struct client *client = one_client(&world, &options);
    for (int i = 0; i < 50; i++) watch(client, "k", "l", 0);
    settle(&world, &client, 1);
    client->next = client->count;
    put_large(&world, 40, 1000);
    struct watch_stats stats;
    watch_hub_stats(world.hub, &stats);
    assert_true(stats.unsent_bytes < 100000); /* not 50 times 40 kB */
    settle(&world, &client, 1);
    assert_int_equal(client->count - client->next, 50);
    for (; client->next < client->count; client->next++)
        assert_int_equal(client->responses[client->next]->n_events, 40);
    client_free(client);
    world_deinit(&world);
}

static void a_client_that_asks_and_never_reads_is_cut_off(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.control_bytes = 1000};
    struct client *client = one_client(&world, &options);
    watch(client, "a", "", 0);
    for (int i = 0; i < 1000; i++) watch_progress(client->stream);
    take(&world);
    assert_false(client->cut_off); /* progress is only left out */
    assert_true(client->undelivered <= 600);
    for (int i = 0; i < 1000; i++) watch_refuse(client->stream, "no");
    put_one(&world, "a", "1");
    run(&world);
    assert_true(client->cut_off);
    assert_true(client->undelivered < 1100);
    size_t count = client->count;
    watch(client, "a", "", 0);
    deliver(client);
    run(&world);
    assert_int_equal(client->count, count);
    client_free(client);
    world_deinit(&world);
}

static void a_client_that_asks_much_and_reads_is_not_cut_off(void **state)
{
    (void)state;
    struct world world;
    struct watch_options options = {.control_bytes = 1000, .window_bytes = 1000000};
    struct client *client = one_client(&world, &options);
    watch(client, "a", "", 0);
    for (int i = 0; i < 2000; i++) {
        watch_refuse(client->stream, "no");
        put_one(&world, "a", "1");
        take(&world);
        size_t half = client->undelivered / 2;
        watch_delivered(client->stream, half);
        client->undelivered -= half;
    }
    assert_false(client->cut_off);
    client_free(client);
    world_deinit(&world);
}

static void a_closed_stream_leaves_nothing_behind(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    watch(client, "a", "b", 1);
    put_one(&world, "a", "1");
    watch_stream_close(client->stream);
    client->stream = NULL;
    assert_null(watch_hub_take(world.hub));
    struct watch_stats stats;
    watch_hub_stats(world.hub, &stats);
    assert_int_equal(stats.streams + stats.watchers + stats.slow_watchers, 0);
    assert_int_equal(stats.unsent_bytes + stats.queued_bytes, 0);
    put_one(&world, "a", "1");
    run(&world);
    client_free(client);
    world_deinit(&world);
}

/* ---- received snapshots ---- */

/* Another member's store that went on from a copy of ours. */
static void fork_store(struct world *world, struct world *other)
{
    *other = (struct world){.arena = NULL};
    open_store(other, memory_backend_copy(world->backend));
}

static void elsewhere(struct world *other, const char *key, const char *value)
{
    size_t count;
    mvcc_txn_begin(other->store);
    put(other, key, value);
    mvcc_txn_end(other->store, &count);
}

static void install(struct world *world, struct world *other)
{
    watch_hub_restore(world->hub, other->store);
    mvcc_close(world->store);
    memory_backend_free(world->backend);
    world->store = other->store;
    world->backend = other->backend;
}

/* etcd issue 15271 */
static void a_received_snapshot_repeats_nothing_and_misses_nothing(void **state)
{
    (void)state;
    struct world world, other;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    put_one(&world, "a", "1");
    put_one(&world, "a", "2");
    run(&world);
    client->next = client->count;
    fork_store(&world, &other);
    elsewhere(&other, "a", "3");
    elsewhere(&other, "b", "3");
    install(&world, &other);
    watch_progress(client->stream); /* nobody is synced yet */
    run(&world);
    expect(client, "#0 rev=5 PUT a=3@4");
    put_one(&world, "a", "4");
    watch_progress(client->stream);
    run(&world);
    expect(client, "#0 rev=6 PUT a=4@6");
    expect(client, "#-1 rev=6");
    client_free(client);
    world_deinit(&world);
}

/* etcd issue 20221 */
static void a_received_snapshot_leaves_future_starts_alone(void **state)
{
    (void)state;
    struct world world, other;
    struct watch_options options = {.progress_interval = SECOND};
    struct client *client = one_client(&world, &options);
    struct watch_create create = want("a", "", 6);
    create.progress_notify = true;
    watch_create(client->stream, &create, NULL);
    put_one(&world, "a", "2");
    fork_store(&world, &other);
    elsewhere(&other, "a", "3");
    elsewhere(&other, "a", "4");
    install(&world, &other);
    run(&world);
    world.now = 2 * SECOND;
    run(&world);
    put_one(&world, "a", "5");
    put_one(&world, "a", "6");
    run(&world);
    expect(client, "#0 created rev=1");
    expect(client, "#0 rev=6 PUT a=6@6");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void a_snapshot_compacted_beyond_what_was_seen_cancels(void **state)
{
    (void)state;
    struct world world, other;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0);
    put_one(&world, "a", "2");
    run(&world);
    client->next = client->count;
    fork_store(&world, &other);
    for (int i = 0; i < 5; i++) elsewhere(&other, "a", "x");
    compact(&other, 6);
    install(&world, &other);
    run(&world);
    expect(client, "#0 canceled compact=6 rev=0");
    expect_nothing(client);
    client_free(client);
    world_deinit(&world);
}

static void a_snapshot_compacted_up_to_what_was_seen_does_not_cancel(void **state)
{
    (void)state;
    struct world world, other;
    struct client *client = one_client(&world, &plain);
    watch(client, "a", "", 0); /* had no event ever */
    for (int i = 0; i < 5; i++) put_one(&world, "b", "x");
    run(&world);
    client->next = client->count;
    fork_store(&world, &other);
    elsewhere(&other, "a", "7");
    compact(&other, 7);
    install(&world, &other);
    run(&world);
    expect(client, "#0 rev=7 PUT a=7@7");
    client_free(client);
    world_deinit(&world);
}

static void a_damaged_store_is_reported(void **state)
{
    (void)state;
    struct world world;
    struct client *client = one_client(&world, &plain);
    put_one(&world, "a", "1");
    watch(client, "a", "", 1);
    memory_backend_break(world.backend);
    bool more;
    struct error *error = watch_hub_run(world.hub, 0, SLICE, &more);
    assert_true(error_is(error, ERROR_CORRUPT));
    error_free(error);
    client_free(client);
    world_deinit(&world);
}

/* ---- the index ---- */

struct seen {
    struct watch_group *groups[64];
    size_t count;
};

static void note_group(void *context, struct watch_group *group)
{
    struct seen *seen = context;
    assert_true(seen->count < 64);
    seen->groups[seen->count++] = group;
}

static void the_index_finds_exactly_the_spans_that_contain_a_key(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    struct watch_index index;
    watch_index_init(&index, 9);
    struct watch_group *held[60] = {NULL};
    for (int step = 0; step < 20000; step++) {
        size_t i = rng_below(&rng, 60);
        uint8_t from[2] = {(uint8_t)rng_below(&rng, 6), (uint8_t)rng_below(&rng, 6)};
        uint8_t to[2] = {(uint8_t)rng_below(&rng, 7), (uint8_t)rng_below(&rng, 6)};
        if (held[i] != NULL) {
            watch_index_release(&index, held[i]);
            held[i] = NULL;
        } else if (rng_chance(&rng, 1, 3)) {
            held[i] = watch_index_key(&index, bytes_of(from, 2));
        } else {
            struct mvcc_span span = {bytes_of(from, 2), bytes_of(to, 2), rng_chance(&rng, 1, 5)};
            if (!span.open && memcmp(from, to, 2) >= 0) continue;
            held[i] = watch_index_range(&index, &span);
        }
        uint8_t at[2] = {(uint8_t)rng_below(&rng, 7), (uint8_t)rng_below(&rng, 6)};
        struct bytes key = bytes_of(at, 2);
        struct seen seen = {.count = 0};
        watch_index_match(&index, key, note_group, &seen);
        for (size_t j = 0; j < 60; j++) {
            if (held[j] == NULL) continue;
            const struct mvcc_span *span = &held[j]->span;
            bool inside = held[j]->single ? bytes_equal(key, span->from)
                                          : bytes_compare(span->from, key) <= 0 &&
                                                (span->open || bytes_compare(key, span->to) < 0);
            size_t times = 0;
            for (size_t k = 0; k < seen.count; k++) times += (size_t)(seen.groups[k] == held[j]);
            assert_int_equal(times, inside);
        }
    }
    for (size_t i = 0; i < 60; i++)
        if (held[i] != NULL) watch_index_release(&index, held[i]);
    watch_index_deinit(&index);
}

/* ---- everything at once ---- */

enum {
    MODEL_KEYS = 6,
    MODEL_CLIENTS = 4,
    MODEL_WATCHES = 12,
};

struct past_event {
    int64_t revision;
    bool deleted;
    char key; /* all keys are one letter */
    struct blob *key_value;
};

/* What one watch must be told: the events of the history from `position` on that it covers. */
struct model_watch {
    bool live;
    int64_t id;
    char from, to; /* from <= key < to */
    bool no_put, no_delete, fragment, prev_kv;
    int64_t start;
    size_t position;
    int64_t known_to; /* told that there is nothing else up to here */
    int64_t last;     /* revision of the last event */
};

struct model {
    struct world world;
    struct rng rng;
    bool calm; /* few writes: clients keep up */
    struct past_event *past;
    size_t past_count;
    struct client *clients[MODEL_CLIENTS];
    struct model_watch watches[MODEL_CLIENTS][MODEL_WATCHES];
    size_t compacted_count, resumed_count, progress_count, install_count;
};

static bool covers(const struct model_watch *watch, const struct past_event *event)
{
    return event->key >= watch->from && event->key < watch->to &&
           !(event->deleted ? watch->no_delete : watch->no_put);
}

/* The next event it must see; NULL: none. */
static const struct past_event *next_event(const struct model *model, struct model_watch *watch)
{
    while (watch->position < model->past_count && (model->past[watch->position].revision < watch->start ||
                                                   !covers(watch, &model->past[watch->position])))
        watch->position++;
    return watch->position == model->past_count ? NULL : &model->past[watch->position];
}

static struct model_watch *model_watch_of(struct model *model, size_t client, int64_t id)
{
    for (size_t i = 0; i < MODEL_WATCHES; i++) {
        struct model_watch *watch = &model->watches[client][i];
        if (watch->live && watch->id == id) return watch;
    }
    return NULL;
}

static void model_write(struct model *model, struct world *world, bool notify)
{
    mvcc_txn_begin(world->store);
    uint64_t operations = 1 + rng_below(&model->rng, 4);
    unsigned used = 0;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t number = rng_below(&model->rng, MODEL_KEYS);
        if ((used & 1u << number) != 0) continue; /* etcd refuses two changes of a key in one transaction */
        used |= 1u << number;
        char key[2] = {(char)('a' + number), 0};
        char value[80];
        memset(value, 'v', sizeof(value));
        value[rng_below(&model->rng, sizeof(value))] = 0;
        value[sizeof(value) - 1] = 0;
        if (rng_chance(&model->rng, 1, 4))
            delete_key(world, key);
        else
            put(world, key, value);
    }
    size_t count;
    const struct mvcc_change *changes = mvcc_txn_end(world->store, &count);
    for (size_t i = 0; i < count; i++) {
        model->past = mem_realloc(model->past, (model->past_count + 1) * sizeof(*model->past));
        model->past[model->past_count++] =
            (struct past_event){changes[i].revision.main, changes[i].deleted, (char)changes[i].key.data[0],
                                blob_ref(changes[i].key_value)};
    }
    if (notify && count > 0) must(watch_hub_notify(world->hub, changes, count));
}

static void model_create(struct model *model, size_t client, int64_t start)
{
    struct model_watch *watch = model->watches[client];
    size_t i = 0;
    while (i < MODEL_WATCHES && watch[i].live) i++;
    if (i == MODEL_WATCHES) return;
    watch += i;
    char from = (char)('a' + rng_below(&model->rng, MODEL_KEYS));
    bool range = rng_chance(&model->rng, 1, 2);
    *watch = (struct model_watch){
        .live = true,
        .from = from,
        .to = (char)(range ? from + 1 + (char)rng_below(&model->rng, 4) : from + 1),
        .no_put = rng_chance(&model->rng, 1, 8),
        .no_delete = rng_chance(&model->rng, 1, 8),
        .fragment = rng_chance(&model->rng, 1, 3),
        .prev_kv = rng_chance(&model->rng, 1, 3),
        .start = start == 0 ? mvcc_revision(model->world.store) + 1 : start,
    };
    struct watch_create create = {
        .key = bytes_of(&watch->from, 1),
        .range_end = range ? bytes_of(&watch->to, 1) : BYTES_EMPTY,
        .start_revision = start,
        .progress_notify = rng_chance(&model->rng, 1, 2),
        .prev_kv = watch->prev_kv,
        .fragment = watch->fragment,
        .no_put = watch->no_put,
        .no_delete = watch->no_delete,
    };
    assert_true(watch_create(model->clients[client]->stream, &create, &watch->id));
}

static void check_previous(const struct model *model, const struct past_event *event,
                           const Mvccpb__KeyValue *previous)
{
    const struct past_event *before = NULL;
    for (const struct past_event *past = model->past; past->revision < event->revision; past++)
        if (past->key == event->key) before = past;
    assert_true(before != NULL && !before->deleted);
    struct buf encoded = {0};
    message_pack(&encoded, &previous->base);
    assert_true(bytes_equal(buf_bytes(&encoded), blob_bytes(before->key_value)));
    buf_deinit(&encoded);
}

static void check_events(struct model *model, struct model_watch *watch,
                         const Etcdserverpb__WatchResponse *response)
{
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        const struct past_event *expected = next_event(model, watch);
        assert_non_null(expected);
        struct buf encoded = {0};
        message_pack(&encoded, &event->kv->base);
        assert_true(bytes_equal(buf_bytes(&encoded), blob_bytes(expected->key_value)));
        buf_deinit(&encoded);
        assert_int_equal(event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE, expected->deleted);
        assert_true(expected->revision > watch->known_to);
        if (event->prev_kv != NULL) {
            assert_true(watch->prev_kv);
            check_previous(model, expected, event->prev_kv);
        }
        watch->last = expected->revision;
        watch->position++;
    }
    if (response->fragment) {
        assert_true(watch->fragment);
        return;
    }
    const struct past_event *next = next_event(model, watch);
    assert_true(next == NULL || next->revision > watch->last); /* revisions are never split */
    assert_true(response->header->revision >= watch->last);
    watch->known_to = watch->last;
}

static void check_progress(struct model *model, struct model_watch *watch, int64_t revision)
{
    const struct past_event *next = next_event(model, watch);
    assert_true(next == NULL || next->revision > revision);
    assert_true(watch->start <= revision + 1); /* a start "from now on" is current + 1 */
    assert_true(revision >= watch->known_to);
    watch->known_to = revision;
    model->progress_count++;
}

static void model_receive(struct model *model, size_t c)
{
    struct client *client = model->clients[c];
    for (; client->next < client->count; client->next++) {
        const Etcdserverpb__WatchResponse *response = client->responses[client->next];
        if (response->created) continue;
        struct model_watch *watch = model_watch_of(model, c, response->watch_id);
        if (response->canceled) {
            if (response->compact_revision == 0) continue; /* asked for, forgotten already */
            assert_int_equal(response->header->revision, 0);
            if (watch == NULL) continue;
            /* A gap: there is something between what it knows and the compaction. */
            assert_true(response->compact_revision > watch->known_to + 1);
            assert_true(response->compact_revision > watch->start);
            watch->live = false;
            model->compacted_count++;
            watch_cancel(client->stream, watch->id);
            model_create(model, c, response->compact_revision);
        } else if (response->n_events > 0) {
            if (watch != NULL) check_events(model, watch, response);
        } else if (response->watch_id == -1) {
            for (size_t i = 0; i < MODEL_WATCHES; i++)
                if (model->watches[c][i].live)
                    check_progress(model, &model->watches[c][i], response->header->revision);
        } else if (watch != NULL) {
            check_progress(model, watch, response->header->revision);
        }
    }
}

/* The client goes away and comes back: each watch goes on behind the last event it saw. */
static void model_resume(struct model *model, size_t c)
{
    struct client *client = model->clients[c];
    client_free(client);
    client = model->clients[c] = client_open(&model->world);
    for (size_t i = 0; i < MODEL_WATCHES; i++) {
        struct model_watch *watch = &model->watches[c][i];
        if (!watch->live) continue;
        if (watch->known_to >= watch->start) watch->start = watch->known_to + 1;
        /* Fragments of a revision that was cut off are read again. */
        while (watch->position > 0 && model->past[watch->position - 1].revision >= watch->start)
            watch->position--;
        struct watch_create create = {
            .key = bytes_of(&watch->from, 1),
            .range_end = bytes_of(&watch->to, 1),
            .start_revision = watch->start,
            .prev_kv = watch->prev_kv,
            .fragment = watch->fragment,
            .no_put = watch->no_put,
            .no_delete = watch->no_delete,
        };
        assert_true(watch_create(client->stream, &create, &watch->id));
    }
    model->resumed_count++;
}

static void model_install_snapshot(struct model *model)
{
    struct world other;
    fork_store(&model->world, &other);
    uint64_t writes = 1 + rng_below(&model->rng, 30);
    for (uint64_t i = 0; i < writes; i++) model_write(model, &other, false);
    if (rng_chance(&model->rng, 1, 3)) {
        int64_t low = mvcc_compact_revision(other.store), high = mvcc_revision(other.store);
        if (low < 0) low = 0;
        if (high > low) compact(&other, low + 1 + (int64_t)rng_below(&model->rng, (uint64_t)(high - low)));
    }
    install(&model->world, &other);
    model->install_count++;
}

static void model_cancel_one(struct model *model, size_t c)
{
    struct model_watch *watch = &model->watches[c][rng_below(&model->rng, MODEL_WATCHES)];
    if (!watch->live) return;
    watch->live = false;
    watch_cancel(model->clients[c]->stream, watch->id);
}

static void model_step(struct model *model)
{
    struct world *world = &model->world;
    int64_t revision = mvcc_revision(world->store);
    size_t c = rng_below(&model->rng, MODEL_CLIENTS);
    struct client *client = model->clients[c];
    uint64_t dice = rng_below(&model->rng, 1000);
    bool more;
    if (dice < 450) {
        if (!model->calm || dice < 60) model_write(model, world, true);
    } else if (dice < 500) {
        bool from_now_on = rng_chance(&model->rng, 1, 3);
        model_create(model, c,
                     from_now_on ? 0 : 1 + (int64_t)rng_below(&model->rng, (uint64_t)revision + 20));
    } else if (dice < 510) {
        model_cancel_one(model, c);
    } else if (dice < 520) {
        int64_t compacted = mvcc_compact_revision(world->store);
        int64_t low = compacted < 0 ? 0 : compacted;
        if (revision > low)
            compact(world, low + 1 + (int64_t)rng_below(&model->rng, (uint64_t)(revision - low)));
    } else if (dice < 525) {
        model_install_snapshot(model);
    } else if (dice < 530) {
        model_resume(model, c);
    } else if (dice < 600) {
        watch_progress(client->stream);
    } else if (dice < 800) {
        world->now += (int64_t)rng_below(&model->rng, SECOND / 50);
        must(watch_hub_run(world->hub, world->now, 1 + rng_below(&model->rng, 40), &more));
    } else if (client->undelivered > 0 && c != 0) { /* client 0 hardly ever reads */
        size_t part = 1 + rng_below(&model->rng, client->undelivered);
        watch_delivered(client->stream, part);
        client->undelivered -= part;
    } else if (rng_chance(&model->rng, 1, 50)) {
        deliver(client);
    }
    take(world);
    model_receive(model, c);
}

static void model_finish(struct model *model)
{
    for (int round = 0; round < 1000; round++) {
        settle(&model->world, model->clients, MODEL_CLIENTS);
        bool moved = false;
        for (size_t c = 0; c < MODEL_CLIENTS; c++) {
            moved = moved || model->clients[c]->next < model->clients[c]->count;
            model_receive(model, c);
        }
        if (!moved) break;
    }
    for (size_t c = 0; c < MODEL_CLIENTS; c++)
        for (size_t i = 0; i < MODEL_WATCHES; i++)
            if (model->watches[c][i].live) assert_null(next_event(model, &model->watches[c][i]));
    struct watch_stats stats;
    watch_hub_stats(model->world.hub, &stats);
    assert_int_equal(stats.slow_watchers, 0);
    assert_int_equal(stats.unsent_bytes, 0);
}

static void events_are_ordered_unique_reliable_atomic_resumable(void **state)
{
    (void)state;
    size_t compacted = 0, resumed = 0, progress = 0, installed = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct model model = {.calm = seed % 2 == 0};
        struct watch_options options = {.window_bytes = 600 + 200 * (seed % 5),
                                        .fragment_bytes = 200,
                                        .progress_interval = SECOND / 10,
                                        .control_bytes = 1 << 24,
                                        .seed = seed};
        rng_init(&model.rng, seed);
        world_init(&model.world, &options);
        for (size_t c = 0; c < MODEL_CLIENTS; c++) model.clients[c] = client_open(&model.world);
        for (int step = 0; step < 3000; step++) model_step(&model);
        model_finish(&model);
        compacted += model.compacted_count;
        resumed += model.resumed_count;
        progress += model.progress_count;
        installed += model.install_count;
        for (size_t c = 0; c < MODEL_CLIENTS; c++) client_free(model.clients[c]);
        for (size_t i = 0; i < model.past_count; i++) blob_unref(model.past[i].key_value);
        free(model.past);
        world_deinit(&model.world);
    }
    /* The run was worth something. */
    assert_true(compacted > 1000 && resumed > 100 && progress > 500 && installed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_create_is_answered_once_before_its_events),
        cmocka_unit_test(a_negative_start_is_refused_as_compacted),
        cmocka_unit_test(an_empty_range_is_refused),
        cmocka_unit_test(the_caller_can_refuse_a_create),
        cmocka_unit_test(an_id_in_use_is_refused_and_any_other_taken),
        cmocka_unit_test(chosen_ids_never_go_back_but_a_canceled_one_may_be_asked_for),
        cmocka_unit_test(spans_are_keys_ranges_and_open_ends),
        cmocka_unit_test(a_start_in_the_future_waits_for_its_revision),
        cmocka_unit_test(too_many_watchers_are_refused),
        cmocka_unit_test(a_cancel_is_answered_when_the_id_is_known),
        cmocka_unit_test(progress_is_answered_in_the_queue_of_the_events),
        cmocka_unit_test(progress_of_a_stream_without_watchers_is_never_answered),
        cmocka_unit_test(progress_is_never_answered_while_a_watcher_is_behind),
        cmocka_unit_test(progress_is_never_answered_while_a_start_is_in_the_future),
        cmocka_unit_test(periodic_progress_is_for_idle_synced_watchers_that_asked),
        cmocka_unit_test(progress_intervals_are_at_least_100_ms),
        cmocka_unit_test(a_put_tells_everything_and_a_delete_key_and_revision),
        cmocka_unit_test(all_events_of_a_revision_come_in_one_response_in_order),
        cmocka_unit_test(filters_drop_events_and_empty_responses_are_not_sent),
        cmocka_unit_test(prev_kv_is_what_was_there_unless_compacted),
        cmocka_unit_test(an_event_is_encoded_once_and_shared),
        cmocka_unit_test(catching_up_says_the_current_revision_in_the_header),
        cmocka_unit_test(a_response_has_at_most_1000_revisions),
        cmocka_unit_test(small_slices_serve_all_in_turn),
        cmocka_unit_test(more_than_512_watchers_catch_up_too),
        cmocka_unit_test(a_compacted_start_is_created_then_canceled),
        cmocka_unit_test(a_compacted_watcher_keeps_its_id_and_blocks_progress_until_canceled),
        cmocka_unit_test(a_start_at_the_compact_revision_sees_the_delete_there),
        cmocka_unit_test(compaction_leaves_synced_watchers_alone),
        cmocka_unit_test(many_compacted_watchers_are_each_canceled_once),
        cmocka_unit_test(large_responses_are_split_when_asked),
        cmocka_unit_test(responses_are_whole_when_not_asked_or_small_or_single),
        cmocka_unit_test(a_slow_stream_is_not_fed_and_catches_up_later),
        cmocka_unit_test(a_slow_stream_overtaken_by_compaction_is_told),
        cmocka_unit_test(a_watcher_that_had_nothing_for_long_is_not_behind_when_its_window_is_full),
        cmocka_unit_test(one_revision_larger_than_the_window_still_arrives_whole),
        cmocka_unit_test(a_client_that_asks_and_never_reads_is_cut_off),
        cmocka_unit_test(a_client_that_asks_much_and_reads_is_not_cut_off),
        cmocka_unit_test(a_closed_stream_leaves_nothing_behind),
        cmocka_unit_test(a_received_snapshot_repeats_nothing_and_misses_nothing),
        cmocka_unit_test(a_received_snapshot_leaves_future_starts_alone),
        cmocka_unit_test(a_snapshot_compacted_beyond_what_was_seen_cancels),
        cmocka_unit_test(a_snapshot_compacted_up_to_what_was_seen_does_not_cancel),
        cmocka_unit_test(a_damaged_store_is_reported),
        cmocka_unit_test(the_index_finds_exactly_the_spans_that_contain_a_key),
        cmocka_unit_test(events_are_ordered_unique_reliable_atomic_resumable),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
