/* How members end in order. */
#include "api/message.h"
#include "story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

enum { SNAPSHOT_NEVER = 1 << 30, KEEP_ALL = 1 << 20, TTL = 2, PATIENCE_SECONDS = 60 };

/* It revokes no lease any more, so that must not be what it waits for: its clock would stand still, and a
 * real member's processor would turn in a circle. */
static void a_leader_stops_while_a_lease_of_it_expires(void **state)
{
    (void)state;
    struct story *story = story_new(1, 3, SNAPSHOT_NEVER, KEEP_ALL);
    size_t leader = story_leader(story);
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.id = 1;
    grant.ttl = TTL;
    assert_non_null(story_ask(story, leader, NODE_LEASE_GRANT, &grant.base));
    story_run(story, TTL * STORY_SECOND - 300 * STORY_MILLISECOND);
    sim_member_set_write_time(sim_cluster_member(story->cluster, leader), STORY_SECOND);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = message_binary(BYTES_LITERAL("key"));
    story_submit(story, leader, NODE_PUT, &put.base);
    story_run(story, STORY_MILLISECOND);
    alarm(PATIENCE_SECONDS);
    assert_null(sim_cluster_stop(story->cluster, leader));
    alarm(0);
    story_free(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_stops_while_a_lease_of_it_expires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
