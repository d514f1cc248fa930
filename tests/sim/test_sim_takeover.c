/* Members that begin with a data directory as etcd leaves it, and we do not. */
#include "bolt/bolt.h"
#include "storage/backend.h"
#include "story.h"
#include "tests/unit/expect.h"

#define DATABASE "/member/member/snap/db"

enum { SNAPSHOT_NEVER = 1 << 30, KEEP_ALL = 1 << 20 };

static void forget_index(struct fs *fs)
{
    struct bolt *bolt;
    struct bolt_tx *tx;
    struct bolt_bucket meta;
    bool found;
    must(bolt_open(fs, DATABASE, NULL, &bolt));
    must(bolt_begin_write(bolt, &tx));
    must(bolt_bucket(tx, bytes_from_string(backend_bucket_name(BUCKET_META)), &meta, &found));
    must(bolt_delete(&meta, BYTES_LITERAL("consistent_index"), &found));
    assert_true(found);
    must(bolt_delete(&meta, BYTES_LITERAL("term"), &found));
    must(bolt_commit(tx));
    must(bolt_close(bolt));
}

/* etcd 3.4 writes the index with keys only: killed before the first, it leaves the rows of members that the
 * log has yet to add. */
static void members_may_be_there_before_an_index(void **state)
{
    (void)state;
    struct story *story = story_new(1, 1, SNAPSHOT_NEVER, KEEP_ALL);
    must(sim_cluster_stop(story->cluster, 0));
    forget_index(fs_sim_fs(sim_member_disk(sim_cluster_member(story->cluster, 0))));
    story_start(story, 0);
    story_put(story, story_leader(story), "key", "value", 0);
    must(sim_cluster_stop(story->cluster, 0));
    story_start(story, 0);
    assert_string_equal(story_get(story, story_leader(story), "key", false), "value");
    story_free(story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_may_be_there_before_an_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
