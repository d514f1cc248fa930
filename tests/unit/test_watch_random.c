/* The watch hub against the full history of random runs. */
#include "api/message.h"
#include "base/memory.h"
#include "base/rng.h"
#include "watch_fixture.h"

#include <stdlib.h>

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
        cmocka_unit_test(events_are_ordered_unique_reliable_atomic_resumable),
    };
    return cmocka_run_group_tests_name("watch random", tests, NULL, NULL);
}
