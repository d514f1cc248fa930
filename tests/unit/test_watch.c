/* The watch hub over the real store: each rule of etcd's Watch service by example. */
#include "base/rng.h"
#include "mvcc/watch_index.h"
#include "watch_fixture.h"

#include <stdio.h>

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

    txn_begin(&world);
    put(&world, "a", "1");
    put(&world, "b", "2");
    put(&world, "c", "3");
    mvcc_txn_put(world.store, BYTES_LITERAL("\0"), BYTES_EMPTY, 0);
    txn_end(&world);
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
    txn_begin(&world);
    put(&world, "b", "1");
    put(&world, "a", "2");
    delete_key(&world, "c");
    txn_end(&world);
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

/* ---- fragments ---- */

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
        cmocka_unit_test(large_responses_are_split_when_asked),
        cmocka_unit_test(responses_are_whole_when_not_asked_or_small_or_single),
        cmocka_unit_test(the_index_finds_exactly_the_spans_that_contain_a_key),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
