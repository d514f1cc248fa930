/* Watchers that are behind: catching up, compaction, slow clients, received snapshots. */
#include "memory_backend.h"
#include "watch_fixture.h"

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
        txn_begin(&world);
        put(&world, "a", "1");
        put(&world, "b", "1");
        txn_end(&world);
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

static void elsewhere(struct world *other, const char *key, const char *value)
{
    size_t count;
    mvcc_txn_begin(other->store);
    put(other, key, value);
    mvcc_txn_end(other->store, &count);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(catching_up_says_the_current_revision_in_the_header),
        cmocka_unit_test(a_response_has_at_most_1000_revisions),
        cmocka_unit_test(small_slices_serve_all_in_turn),
        cmocka_unit_test(more_than_512_watchers_catch_up_too),
        cmocka_unit_test(a_compacted_start_is_created_then_canceled),
        cmocka_unit_test(a_compacted_watcher_keeps_its_id_and_blocks_progress_until_canceled),
        cmocka_unit_test(a_start_at_the_compact_revision_sees_the_delete_there),
        cmocka_unit_test(compaction_leaves_synced_watchers_alone),
        cmocka_unit_test(many_compacted_watchers_are_each_canceled_once),
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
    };
    return cmocka_run_group_tests_name("watch behind", tests, NULL, NULL);
}
