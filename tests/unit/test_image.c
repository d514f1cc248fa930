/* The members of a received database: those that its sender tells beside it. */
#include "base/memory.h"
#include "cluster/cluster.h"
#include "member/image.h"
#include "storage/backend.h"
#include "storage/fs_sim.h"
#include "tests/unit/expect.h"

#include <stdlib.h>

enum { INDEX = 100 };

static const char path[] = "/tmp1";

static struct cluster *empty(void)
{
    return cluster_new(&(const struct cluster_options){.local_id = 1});
}

static void change(struct cluster *cluster, struct backend *backend, enum cluster_change_kind kind,
                   uint64_t id, const char *url)
{
    struct cluster_change what = {.kind = kind, .member = {.id = id, .name = mem_strdup("")}};
    if (url != NULL) cluster_urls_append(&what.member.peer_urls, bytes_from_string(url));
    what.member.is_learner = kind == CLUSTER_ADD_LEARNER;
    assert_int_equal(cluster_check_change(cluster, &what), API_OK);
    cluster_apply_change(cluster, backend, &what);
    cluster_change_deinit(&what);
}

static void add_three(struct cluster *cluster, struct backend *backend)
{
    change(cluster, backend, CLUSTER_ADD, 1, "http://a:1");
    change(cluster, backend, CLUSTER_ADD, 2, "http://b:1");
    change(cluster, backend, CLUSTER_ADD_LEARNER, 3, "http://c:1");
    change(cluster, backend, CLUSTER_REMOVE, 2, NULL);
    cluster_set_version(cluster, backend, version_of(3, 5));
}

/* An image whose rows know of a learner and nothing of its promotion. */
static struct fs_sim *image_of_old_rows(void)
{
    struct fs_sim *disk = fs_sim_new(&(const struct fs_sim_options){.seed = 1, .file_size = 64 << 20});
    const struct backend_options options = {.initial_map_size = 1 << 24};
    struct backend *backend;
    struct cluster *cluster = empty();
    must(backend_open(fs_sim_fs(disk), path, &options, &backend));
    add_three(cluster, backend);
    backend_set_consistent(backend, INDEX, 2);
    must(backend_commit_active(backend));
    must(backend_close(backend));
    cluster_free(cluster);
    return disk;
}

static struct blob *v2_store(struct cluster *cluster)
{
    struct buf json = {0};
    cluster_v2_snapshot_write(&json, cluster);
    struct blob *data = blob_from(buf_bytes(&json));
    buf_deinit(&json);
    return data;
}

static char *members_in(struct fs_sim *disk)
{
    const struct backend_options options = {.initial_map_size = 1 << 24};
    struct backend *backend;
    struct cluster *cluster = empty();
    struct buf text = {0};
    must(backend_open(fs_sim_fs(disk), path, &options, &backend));
    assert_int_equal(backend_consistent_index(backend), INDEX);
    must(cluster_load(cluster, backend));
    assert_true(cluster_is_removed(cluster, 2));
    cluster_members_write(&text, cluster);
    must(backend_close(backend));
    cluster_free(cluster);
    char *copy = mem_strdup(buf_string(&text));
    buf_deinit(&text);
    return copy;
}

static void check(struct fs_sim *disk, struct blob *data, const char *wanted)
{
    struct raft_snapshot snapshot = {.index = INDEX, .term = 2, .data = data};
    must(member_check_image(fs_sim_fs(disk), path, &snapshot, &log_discard));
    char *members = members_in(disk);
    assert_string_equal(members, wanted);
    free(members);
    blob_unref(data);
}

#define OF_ROWS                                                                                              \
    "[{\"id\":1,\"peerURLs\":[\"http://a:1\"]},{\"id\":3,\"peerURLs\":[\"http://c:1\"],\"isLearner\":true}]"

static void a_promotion_that_the_rows_miss_is_in_the_v2_store(void **state)
{
    struct fs_sim *disk = image_of_old_rows();
    struct cluster *cluster = empty();
    struct cluster_urls urls = {0};
    (void)state;
    add_three(cluster, NULL);
    change(cluster, NULL, CLUSTER_PROMOTE, 3, NULL);
    cluster_urls_append(&urls, BYTES_LITERAL("http://c:2"));
    assert_int_equal(cluster_set_attributes(cluster, NULL, 3, "c", &urls), API_OK);
    check(disk, v2_store(cluster),
          "[{\"id\":1,\"peerURLs\":[\"http://a:1\"]},{\"id\":3,\"peerURLs\":[\"http://c:1\"],\"name\":\"c\","
          "\"clientURLs\":[\"http://c:2\"]}]");
    cluster_urls_deinit(&urls);
    cluster_free(cluster);
    fs_sim_free(disk);
}

static void without_a_v2_store_the_rows_count(void **state)
{
    struct fs_sim *disk = image_of_old_rows();
    struct cluster *nobody = empty();
    (void)state;
    check(disk, NULL, OF_ROWS);
    check(disk, blob_from(BYTES_LITERAL("")), OF_ROWS);
    check(disk, blob_from(BYTES_LITERAL("{\"Root\":")), OF_ROWS);
    check(disk, v2_store(nobody), OF_ROWS);
    cluster_free(nobody);
    fs_sim_free(disk);
}

static void an_image_of_another_index_is_refused(void **state)
{
    struct fs_sim *disk = image_of_old_rows();
    struct raft_snapshot snapshot = {.index = INDEX + 1, .term = 2};
    (void)state;
    struct error *error = member_check_image(fs_sim_fs(disk), path, &snapshot, &log_discard);
    assert_non_null(error);
    error_free(error);
    fs_sim_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_promotion_that_the_rows_miss_is_in_the_v2_store),
        cmocka_unit_test(without_a_v2_store_the_rows_count),
        cmocka_unit_test(an_image_of_another_index_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
