/* A leader that was stopped for a while (SIGSTOP, a suspended machine, a long page fault) does not know that
 * others have gone on without it. What it is asked on waking it must not answer from what it knew. */
#include "api/message.h"
#include "story.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SNAPSHOT_NEVER = 1 << 30, KEEP_ALL = 1 << 20 };

/* What the sleeper may find when it wakes. */
struct awakening {
    bool clock_stops;      /* it does not know how long it slept */
    bool nobody_called_it; /* no message of its successor waits for it */
};

static const struct awakening awakenings[] = {{false, false}, {false, true}, {true, false}, {true, true}};

enum { AWAKENINGS = sizeof(awakenings) / sizeof(awakenings[0]) };

struct sleep {
    struct story *story;
    size_t sleeper, successor;
};

static struct sleep stay_awake(uint64_t seed)
{
    struct sleep sleep = {.story = story_new(seed, 3, SNAPSHOT_NEVER, KEEP_ALL)};
    sleep.sleeper = story_leader(sleep.story);
    story_put(sleep.story, sleep.sleeper, "key", "old", 0);
    return sleep;
}

/* Until others have gone on. */
static void fall_asleep(struct sleep *asleep, const struct awakening *awakening)
{
    sim_cluster_pause(asleep->story->cluster, asleep->sleeper, awakening->clock_stops);
    if (awakening->nobody_called_it) story_isolate(asleep->story, asleep->sleeper, true);
    story_run(asleep->story, 5 * STORY_SECOND);
    asleep->successor = story_leader(asleep->story);
    assert_int_not_equal(asleep->successor, asleep->sleeper);
}

/* With a request that came while it slept, and is the first thing it sees. */
static const void *wake_with(struct sleep *sleep, enum node_operation operation,
                             const ProtobufCMessage *message)
{
    story_submit(sleep->story, sleep->sleeper, operation, message);
    story_isolate(sleep->story, sleep->sleeper, false);
    sim_cluster_resume(sleep->story->cluster, sleep->sleeper);
    return story_answer(sleep->story);
}

static void it_reads_nothing_that_was_overwritten_meanwhile(void **state)
{
    (void)state;
    for (size_t i = 0; i < AWAKENINGS; i++) {
        struct sleep sleep = stay_awake(i + 1);
        fall_asleep(&sleep, &awakenings[i]);
        Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
        range.key = message_binary(BYTES_LITERAL("key"));
        story_put(sleep.story, sleep.successor, "key", "new", 0);
        const Etcdserverpb__RangeResponse *response = wake_with(&sleep, NODE_RANGE, &range.base);
        if (response != NULL) {
            assert_int_equal(response->n_kvs, 1);
            assert_true(bytes_equal(message_bytes(response->kvs[0]->value), BYTES_LITERAL("new")));
        }
        assert_string_equal(story_get(sleep.story, sleep.sleeper, "key", false), "new");
        story_free(sleep.story);
    }
}

static void its_read_only_transactions_see_the_present(void **state)
{
    (void)state;
    for (size_t i = 0; i < AWAKENINGS; i++) {
        struct sleep sleep = stay_awake(10 + i);
        fall_asleep(&sleep, &awakenings[i]);
        Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
        Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
        compare.key = message_binary(BYTES_LITERAL("key"));
        compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
        compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare.value = message_binary(BYTES_LITERAL("old"));
        txn.compare = compares;
        txn.n_compare = 1;
        story_put(sleep.story, sleep.successor, "key", "new", 0);
        const Etcdserverpb__TxnResponse *response = wake_with(&sleep, NODE_TXN, &txn.base);
        if (response != NULL) assert_false(response->succeeded);
        story_free(sleep.story);
    }
}

/* A client that is told so relies on it. */
static void it_renews_no_lease_that_was_revoked_meanwhile(void **state)
{
    (void)state;
    for (size_t i = 0; i < AWAKENINGS; i++) {
        struct sleep sleep = stay_awake(20 + i);
        Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        Etcdserverpb__LeaseKeepAliveRequest renew = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
        grant.ttl = 1000;
        const Etcdserverpb__LeaseGrantResponse *granted =
            story_ask(sleep.story, sleep.sleeper, NODE_LEASE_GRANT, &grant.base);
        assert_non_null(granted);
        revoke.id = renew.id = granted->id;
        assert_non_null(story_ask(sleep.story, sleep.sleeper, NODE_LEASE_KEEP_ALIVE, &renew.base));
        fall_asleep(&sleep, &awakenings[i]);
        assert_non_null(story_ask(sleep.story, sleep.successor, NODE_LEASE_REVOKE, &revoke.base));
        const Etcdserverpb__LeaseKeepAliveResponse *response =
            wake_with(&sleep, NODE_LEASE_KEEP_ALIVE, &renew.base);
        if (response != NULL) assert_int_equal(response->ttl, 0);
        story_free(sleep.story);
    }
}

/* What it was asked to write is not lost without notice, nor done twice. */
static void what_it_is_asked_to_write_is_not_in_two_histories(void **state)
{
    (void)state;
    for (size_t i = 0; i < AWAKENINGS; i++) {
        struct sleep sleep = stay_awake(30 + i);
        fall_asleep(&sleep, &awakenings[i]);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = message_binary(BYTES_LITERAL("key"));
        put.value = message_binary(BYTES_LITERAL("of the sleeper"));
        int64_t before = story_put(sleep.story, sleep.successor, "key", "new", 0);
        const Etcdserverpb__PutResponse *response = wake_with(&sleep, NODE_PUT, &put.base);
        if (response != NULL) assert_int_equal(response->header->revision, before + 1);
        bool written = response != NULL;
        story_leader(sleep.story);
        story_wait_equal(sleep.story, sleep.sleeper, sleep.successor);
        const char *value = story_get(sleep.story, sleep.successor, "key", false);
        if (written) assert_string_equal(value, "of the sleeper");
        assert_int_equal(story_hash(sleep.story, sleep.sleeper), story_hash(sleep.story, sleep.successor));
        story_free(sleep.story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_nothing_that_was_overwritten_meanwhile),
        cmocka_unit_test(its_read_only_transactions_see_the_present),
        cmocka_unit_test(it_renews_no_lease_that_was_revoked_meanwhile),
        cmocka_unit_test(what_it_is_asked_to_write_is_not_in_two_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
