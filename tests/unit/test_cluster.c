/* Membership and versions, by the rules and with the ids and rows of real etcd 3.4 and 3.5 members. */
#include "base/memory.h"
#include "cluster_fixture.h"
#include "memory_backend.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)

static void sha1(struct bytes data, uint8_t digest[20])
{
    SHA1(data.data, data.size, digest);
}

/* ---- ids ---- */

static void ids_are_those_of_etcd(void **state)
{
    (void)state;
    struct cluster_urls urls = urls_of("http://127.0.0.1:21101");
    assert_true(cluster_member_id(sha1, &urls, "tok1") == M1);
    uint64_t id = M1;
    assert_true(cluster_id_of(sha1, &id, 1) == CLUSTER);
    assert_true(cluster_added_member_id(sha1, &urls, 1700000000) != cluster_member_id(sha1, &urls, ""));
    assert_true(cluster_added_member_id(sha1, &urls, 17) == cluster_member_id(sha1, &urls, "17"));
    cluster_urls_deinit(&urls);
}

static void the_order_of_urls_and_members_does_not_matter(void **state)
{
    (void)state;
    struct cluster_urls a = {0}, b = {0};
    cluster_urls_append(&a, BYTES_LITERAL("http://a:1"));
    cluster_urls_append(&a, BYTES_LITERAL("http://b:1"));
    cluster_urls_append(&b, BYTES_LITERAL("http://b:1"));
    cluster_urls_append(&b, BYTES_LITERAL("http://a:1"));
    assert_true(cluster_member_id(sha1, &a, "t") == cluster_member_id(sha1, &b, "t"));
    assert_string_equal(b.items[0], "http://b:1"); /* left as it was */
    uint64_t up[] = {1, M1}, down[] = {M1, 1};
    assert_true(cluster_id_of(sha1, up, 2) == cluster_id_of(sha1, down, 2));
    cluster_urls_deinit(&a);
    cluster_urls_deinit(&b);
}

/* ---- conf changes ---- */

static struct raft_conf_change entry_of(enum raft_conf_change_type type, uint64_t id, const char *context)
{
    return (struct raft_conf_change){.type = type, .node_id = id, .context = bytes_from_string(context)};
}

static void contexts_are_those_of_etcd(void **state)
{
    (void)state;
    static const struct {
        enum cluster_change_kind kind;
        enum raft_conf_change_type type;
        uint64_t id;
        const char *context;
    } cases[] = {
        {CLUSTER_ADD, RAFT_CONF_CHANGE_ADD_NODE, UINT64_C(4064716454634127675),
         "{\"id\":4064716454634127675,\"peerURLs\":[\"http://127.0.0.1:21221\"],\"name\":\"m1\"}"},
        {CLUSTER_ADD, RAFT_CONF_CHANGE_ADD_NODE, UINT64_C(9984341986976738353),
         "{\"id\":9984341986976738353,\"peerURLs\":[\"http://127.0.0.1:21230\"]}"},
        {CLUSTER_ADD_LEARNER, RAFT_CONF_CHANGE_ADD_LEARNER_NODE, 7,
         "{\"id\":7,\"peerURLs\":[\"http://127.0.0.1:21230\"],\"isLearner\":true}"},
        {CLUSTER_PROMOTE, RAFT_CONF_CHANGE_ADD_NODE, UINT64_C(4806018359321391864),
         "{\"id\":4806018359321391864,\"peerURLs\":null,\"isPromote\":true}"},
        {CLUSTER_UPDATE, RAFT_CONF_CHANGE_UPDATE_NODE, 7,
         "{\"id\":7,\"peerURLs\":[\"http://127.0.0.1:21231\"]}"},
        {CLUSTER_REMOVE, RAFT_CONF_CHANGE_REMOVE_NODE, 7, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raft_conf_change given = entry_of(cases[i].type, cases[i].id, cases[i].context), made;
        struct cluster_change change = {0};
        struct buf context = {0};
        must(cluster_change_parse(&given, &change));
        assert_int_equal(change.kind, cases[i].kind);
        assert_true(change.member.id == cases[i].id);
        cluster_change_write(&change, &context, &made);
        assert_int_equal(made.type, cases[i].type);
        assert_true(made.node_id == cases[i].id);
        assert_true(bytes_equal(made.context, given.context));
        cluster_change_deinit(&change);
        buf_deinit(&context);
    }
}

/* All of these make an etcd member panic. */
static void contexts_that_no_member_could_use_are_errors(void **state)
{
    (void)state;
    const struct raft_conf_change cases[] = {
        entry_of(RAFT_CONF_CHANGE_ADD_NODE, 7, "{\"id\":8,\"peerURLs\":[\"http://a:1\"]}"),
        entry_of(RAFT_CONF_CHANGE_ADD_NODE, 7, "{\"id\":7,\"peerURLs\":[\"http://a\"]}"),
        entry_of(RAFT_CONF_CHANGE_ADD_NODE, 7, "{\"id\":7,\"peerURLs\":[]}"),
        entry_of(RAFT_CONF_CHANGE_UPDATE_NODE, 7, "{\"id\":7}"),
        entry_of(RAFT_CONF_CHANGE_ADD_NODE, 7, "{\"id\":7"),
        entry_of(RAFT_CONF_CHANGE_ADD_NODE, 7, ""),
        entry_of(RAFT_CONF_CHANGE_REMOVE_NODE, 0, ""),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster_change change = {0};
        struct error *error = cluster_change_parse(&cases[i], &change);
        assert_true(error_is(error, ERROR_INVALID));
        error_free(error);
    }
}

static void changes_are_refused_by_the_members_of_that_moment(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct cluster *cluster = new_cluster();
    assert_int_equal(do_change(cluster, backend, CLUSTER_ADD, 1, "http://a:1"), API_OK);
    assert_int_equal(do_change(cluster, backend, CLUSTER_ADD, 1, "http://b:1"), API_ERROR_MEMBER_EXIST);
    assert_int_equal(do_change(cluster, backend, CLUSTER_ADD, 2, "http://b:1,http://a:1"),
                     API_ERROR_PEER_URL_EXIST);
    assert_int_equal(do_change(cluster, backend, CLUSTER_ADD_LEARNER, 2, "http://b:1"), API_OK);
    assert_int_equal(do_change(cluster, backend, CLUSTER_ADD_LEARNER, 3, "http://c:1"),
                     API_ERROR_TOO_MANY_LEARNERS);
    assert_int_equal(do_change(cluster, backend, CLUSTER_PROMOTE, 1, NULL), API_ERROR_MEMBER_NOT_LEARNER);
    assert_int_equal(do_change(cluster, backend, CLUSTER_PROMOTE, 9, NULL), API_ERROR_MEMBER_NOT_FOUND);
    assert_int_equal(do_change(cluster, backend, CLUSTER_UPDATE, 9, "http://x:1"),
                     API_ERROR_MEMBER_NOT_FOUND);
    assert_int_equal(do_change(cluster, backend, CLUSTER_UPDATE, 1, "http://b:1"), API_ERROR_PEER_URL_EXIST);
    assert_int_equal(do_change(cluster, backend, CLUSTER_UPDATE, 1, "http://a:1,http://a:2"), API_OK);
    assert_int_equal(do_change(cluster, backend, CLUSTER_REMOVE, 9, NULL), API_ERROR_MEMBER_NOT_FOUND);
    assert_int_equal(do_change(cluster, backend, CLUSTER_REMOVE, 2, NULL), API_OK);
    assert_int_equal(do_change(cluster, backend, CLUSTER_REMOVE, 2, NULL), API_ERROR_MEMBER_NOT_FOUND);
    assert_int_equal(do_change(cluster, backend, CLUSTER_ADD, 2, "http://b:1"), API_ERROR_MEMBER_NOT_FOUND);
    assert_true(cluster_is_removed(cluster, 2));
    assert_int_equal(cluster_member_count(cluster), 1);
    cluster_free(cluster);
    memory_backend_free(backend);
}

static void a_cluster_has_a_limit(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    for (unsigned i = 1; i <= CLUSTER_MEMBERS_MAX; i++) {
        char url[32];
        snprintf(url, sizeof(url), "http://a:%u", i);
        assert_int_equal(do_change(cluster, NULL, CLUSTER_ADD, i, url), API_OK);
    }
    assert_int_equal(do_change(cluster, NULL, CLUSTER_ADD, 1000, "http://b:1"), API_ERROR_TOO_MANY_REQUESTS);
    cluster_free(cluster);
}

static void changes_are_written_to_rows_and_loaded_again(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct cluster *cluster = new_cluster(), *loaded = new_cluster();
    do_change(cluster, backend, CLUSTER_ADD, M1, "http://127.0.0.1:21101");
    do_change(cluster, backend, CLUSTER_ADD_LEARNER, 0xabc, "http://127.0.0.1:21102");
    do_change(cluster, backend, CLUSTER_ADD, 0xdef, "http://127.0.0.1:21103");
    do_change(cluster, backend, CLUSTER_REMOVE, 0xdef, NULL);
    struct cluster_urls urls = urls_of("http://127.0.0.1:2379");
    assert_int_equal(cluster_set_attributes(cluster, backend, M1, "m1", &urls), API_OK);
    cluster_set_version(cluster, backend, version_of(3, 6));
    cluster_set_downgrade(cluster, backend, (struct cluster_downgrade){true, version_of(3, 5)});
    assert_string_equal(memory_backend_text(backend, BUCKET_MEMBERS, "8a8f822349c42c31"),
                        "{\"id\":9984341986976738353,\"peerURLs\":[\"http://127.0.0.1:21101\"],"
                        "\"name\":\"m1\",\"clientURLs\":[\"http://127.0.0.1:2379\"]}");
    assert_string_equal(memory_backend_text(backend, BUCKET_MEMBERS, "abc"),
                        "{\"id\":2748,\"peerURLs\":[\"http://127.0.0.1:21102\"],\"isLearner\":true}");
    assert_null(memory_backend_text(backend, BUCKET_MEMBERS, "def"));
    assert_string_equal(memory_backend_text(backend, BUCKET_MEMBERS_REMOVED, "def"), "removed");
    assert_string_equal(memory_backend_text(backend, BUCKET_CLUSTER, "clusterVersion"), "3.6.0");
    assert_string_equal(memory_backend_text(backend, BUCKET_CLUSTER, "downgrade"),
                        "{\"target-version\":\"3.5.0\",\"enabled\":true}");

    must(cluster_load(loaded, backend));
    assert_int_equal(cluster_member_count(loaded), 2);
    assert_true(cluster_member_at(loaded, 0)->id == 0xabc && cluster_member_at(loaded, 0)->is_learner);
    assert_string_equal(cluster_local_member(loaded)->name, "m1");
    assert_int_equal(cluster_voter_count(loaded), 1);
    assert_int_equal(cluster_removed_count(loaded), 1);
    assert_true(cluster_removed_at(loaded, 0) == 0xdef);
    struct version version;
    assert_true(cluster_version(loaded, &version));
    assert_int_equal(version.minor, 6);
    assert_true(cluster_downgrade(loaded).enabled && cluster_downgrade(loaded).target.minor == 5);

    cluster_set_downgrade(cluster, backend, (struct cluster_downgrade){.enabled = false});
    assert_string_equal(memory_backend_text(backend, BUCKET_CLUSTER, "downgrade"),
                        "{\"target-version\":\"\",\"enabled\":false}");
    must(cluster_load(loaded, backend));
    assert_false(cluster_downgrade(loaded).enabled);
    cluster_urls_deinit(&urls);
    cluster_free(cluster);
    cluster_free(loaded);
    memory_backend_free(backend);
}

/* etcd up to 3.6.11 turns a learner into a voter of its own records here. */
static void a_copy_tells_the_same_and_goes_its_own_way(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    assert_int_equal(do_change(cluster, NULL, CLUSTER_ADD, M1, "http://a:1"), API_OK);
    assert_int_equal(do_change(cluster, NULL, CLUSTER_ADD_LEARNER, 2, "http://b:1,http://c:1"), API_OK);
    assert_int_equal(do_change(cluster, NULL, CLUSTER_ADD, 3, "http://d:1"), API_OK);
    assert_int_equal(do_change(cluster, NULL, CLUSTER_REMOVE, 3, NULL), API_OK);
    start_member(cluster, NULL, M1);
    cluster_set_version(cluster, NULL, version_of(3, 5));
    struct cluster *copy = cluster_copy(cluster);
    struct buf before = {0}, after = {0};
    cluster_v2_snapshot_write(&before, cluster);
    assert_int_equal(do_change(cluster, NULL, CLUSTER_REMOVE, 2, NULL), API_OK);
    cluster_free(cluster);
    cluster_v2_snapshot_write(&after, copy);
    assert_string_equal(buf_string(&after), buf_string(&before));
    assert_true(cluster_is_removed(copy, 3) && !cluster_is_removed(copy, 2));
    assert_true(cluster_local_member(copy) == cluster_member(copy, M1));
    cluster_free(copy);
    buf_deinit(&before);
    buf_deinit(&after);
}

static void an_update_leaves_a_learner_a_learner_and_its_name(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct cluster *cluster = new_cluster();
    do_change(cluster, backend, CLUSTER_ADD_LEARNER, 7, "http://a:1");
    start_member(cluster, backend, 7);
    assert_int_equal(do_change(cluster, backend, CLUSTER_UPDATE, 7, "http://b:1"), API_OK);
    assert_string_equal(memory_backend_text(backend, BUCKET_MEMBERS, "7"),
                        "{\"id\":7,\"peerURLs\":[\"http://b:1\"],\"isLearner\":true,\"name\":\"started\"}");
    assert_int_equal(do_change(cluster, backend, CLUSTER_PROMOTE, 7, NULL), API_OK);
    assert_string_equal(memory_backend_text(backend, BUCKET_MEMBERS, "7"),
                        "{\"id\":7,\"peerURLs\":[\"http://b:1\"],\"name\":\"started\"}");
    cluster_free(cluster);
    memory_backend_free(backend);
}

static void attributes_of_strangers_are_refused_and_of_removed_members_ignored(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    struct cluster_urls none = {0};
    do_change(cluster, NULL, CLUSTER_ADD, 1, "http://a:1");
    do_change(cluster, NULL, CLUSTER_ADD, 2, "http://b:1");
    do_change(cluster, NULL, CLUSTER_REMOVE, 2, NULL);
    assert_int_equal(cluster_set_attributes(cluster, NULL, 3, "x", &none), API_ERROR_MEMBER_NOT_FOUND);
    assert_int_equal(cluster_set_attributes(cluster, NULL, 2, "x", &none), API_OK);
    assert_null(cluster_member(cluster, 2));
    cluster_free(cluster);
}

static void damaged_rows_are_corrupt(void **state)
{
    (void)state;
    static const struct {
        enum backend_bucket bucket;
        const char *key, *value;
    } rows[] = {
        {BUCKET_MEMBERS, "7", "{\"id\":8,\"peerURLs\":[\"http://a:1\"]}"},
        {BUCKET_MEMBERS, "7", "{"},
        {BUCKET_MEMBERS, "xyz", "{\"id\":8}"},
        {BUCKET_MEMBERS_REMOVED, "0123456789abcdef0", "removed"},
        {BUCKET_CLUSTER, "clusterVersion", "3.6"},
        {BUCKET_CLUSTER, "downgrade", "{\"target-version\":\"x\",\"enabled\":true}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct backend *backend = memory_backend_new();
        struct cluster *cluster = new_cluster();
        backend_put(backend, rows[i].bucket, bytes_from_string(rows[i].key),
                    bytes_from_string(rows[i].value));
        struct error *error = cluster_load(cluster, backend);
        assert_true(error_is(error, ERROR_CORRUPT));
        error_free(error);
        assert_int_equal(cluster_member_count(cluster), 0);
        cluster_free(cluster);
        memory_backend_free(backend);
    }
}

/* ---- strict checks ---- */

struct links {
    int64_t up[8]; /* by id; nanoseconds, negative: down */
};

static int64_t connected_for(void *context, uint64_t id)
{
    return ((struct links *)context)->up[id];
}

/* Voters 1..n, the first `started` of them with names; this member is number 1. */
static struct cluster *voters(unsigned count, unsigned started)
{
    struct cluster_options options = {.local_id = 1};
    struct cluster *cluster = cluster_new(&options);
    for (unsigned i = 1; i <= count; i++) {
        char url[32];
        snprintf(url, sizeof(url), "http://a:%u", i);
        do_change(cluster, NULL, CLUSTER_ADD, i, url);
        if (i <= started) start_member(cluster, NULL, i);
    }
    return cluster;
}

static enum api_error strict(struct cluster *cluster, enum cluster_change_kind kind, uint64_t id,
                             struct links *links)
{
    struct cluster_change change = change_of(kind, id, NULL);
    enum api_error status = cluster_check_strict(cluster, &change, connected_for, links);
    cluster_change_deinit(&change);
    cluster_free(cluster);
    return status;
}

static void adding_needs_a_quorum_of_started_and_connected_voters(void **state)
{
    (void)state;
    struct links up = {{0, 0, 9 * SECOND, 9 * SECOND, 9 * SECOND, 9 * SECOND}};
    struct links young = {{0, 0, SECOND, SECOND, SECOND}};
    struct links one_down = {{0, 0, 9 * SECOND, -1}};
    assert_int_equal(strict(voters(1, 1), CLUSTER_ADD, 7, &up), API_OK); /* one may always become two */
    assert_int_equal(strict(voters(1, 0), CLUSTER_ADD, 7, &up), API_ERROR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(strict(voters(2, 1), CLUSTER_ADD, 7, &up), API_ERROR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(strict(voters(2, 2), CLUSTER_ADD, 7, &up), API_OK);
    assert_int_equal(strict(voters(3, 2), CLUSTER_ADD, 7, &up), API_ERROR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(strict(voters(3, 3), CLUSTER_ADD, 7, &up), API_OK);
    assert_int_equal(strict(voters(3, 3), CLUSTER_ADD, 7, &one_down), API_ERROR_UNHEALTHY);
    assert_int_equal(strict(voters(2, 2), CLUSTER_ADD, 7, &young),
                     API_ERROR_UNHEALTHY); /* for 5 s at least */
    assert_int_equal(strict(voters(3, 1), CLUSTER_ADD_LEARNER, 7, &up), API_OK);
    assert_int_equal(strict(voters(3, 1), CLUSTER_ADD_LEARNER, 7, &one_down), API_ERROR_UNHEALTHY);
    assert_int_equal(strict(voters(1, 1), CLUSTER_ADD_LEARNER, 7, &young), API_OK);
}

static void removing_must_leave_a_quorum(void **state)
{
    (void)state;
    struct links up = {{0, 0, 9 * SECOND, 9 * SECOND}};
    struct links third_down = {{0, 0, 9 * SECOND, -1}};
    struct links second_down = {{0, 0, -1, 9 * SECOND}};
    assert_int_equal(strict(voters(1, 1), CLUSTER_REMOVE, 1, &up), API_ERROR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(strict(voters(3, 3), CLUSTER_REMOVE, 2, &up), API_OK);
    assert_int_equal(strict(voters(3, 2), CLUSTER_REMOVE, 2, &up), API_ERROR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(strict(voters(3, 2), CLUSTER_REMOVE, 3, &up), API_OK);
    assert_int_equal(strict(voters(3, 3), CLUSTER_REMOVE, 3, &third_down), API_OK); /* the one that is down */
    assert_int_equal(strict(voters(3, 3), CLUSTER_REMOVE, 3, &second_down), API_ERROR_UNHEALTHY);
    assert_int_equal(strict(voters(3, 3), CLUSTER_REMOVE, 1, &second_down), API_ERROR_UNHEALTHY);
    assert_int_equal(strict(voters(2, 2), CLUSTER_REMOVE, 2, &up), API_OK);
    struct cluster *cluster = voters(2, 1);
    do_change(cluster, NULL, CLUSTER_ADD_LEARNER, 5, "http://b:1");
    assert_int_equal(strict(cluster, CLUSTER_REMOVE, 5, &second_down), API_OK); /* learners do not count */
}

static void promoting_counts_the_learner_as_started(void **state)
{
    (void)state;
    struct links down = {{0, 0, -1, -1, -1, -1, -1, -1}};
    assert_int_equal(strict(voters(1, 1), CLUSTER_PROMOTE, 5, &down), API_OK);
    assert_int_equal(strict(voters(3, 2), CLUSTER_PROMOTE, 5, &down), API_OK);
    assert_int_equal(strict(voters(3, 1), CLUSTER_PROMOTE, 5, &down), API_ERROR_MEMBER_NOT_ENOUGH_STARTED);
    assert_int_equal(strict(voters(3, 0), CLUSTER_UPDATE, 1, &down), API_OK);
}

/* ---- versions ---- */

static void the_cluster_version_follows_the_lowest_member_upwards(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    struct version decided, unknown = {0}, lowest = {.major = 3, .minor = 6, .patch = 14};
    assert_true(cluster_decide_version(cluster, unknown, &decided));
    assert_int_equal(version_compare(decided, version_of(3, 0)), 0);
    assert_true(cluster_decide_version(cluster, lowest, &decided));
    assert_int_equal(version_compare(decided, version_of(3, 6)), 0);
    cluster_set_version(cluster, NULL, version_of(3, 5));
    assert_false(cluster_decide_version(cluster, unknown, &decided));
    assert_true(cluster_decide_version(cluster, lowest, &decided));
    cluster_set_version(cluster, NULL, version_of(3, 6));
    assert_false(cluster_decide_version(cluster, lowest, &decided));
    assert_false(cluster_decide_version(cluster, version_of(3, 5), &decided)); /* never down by itself */
    cluster_free(cluster);
}

static void a_downgrade_goes_one_minor_and_one_at_a_time(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    struct version decided;
    assert_int_equal(cluster_check_downgrade(cluster, version_of(3, 5)),
                     API_ERROR_CLUSTER_VERSION_UNAVAILABLE);
    cluster_set_version(cluster, NULL, version_of(3, 6));
    assert_int_equal(cluster_check_downgrade(cluster, version_of(3, 6)),
                     API_ERROR_INVALID_DOWNGRADE_TARGET_VERSION);
    assert_int_equal(cluster_check_downgrade(cluster, version_of(3, 4)),
                     API_ERROR_INVALID_DOWNGRADE_TARGET_VERSION);
    assert_int_equal(cluster_check_downgrade(cluster, version_of(3, 5)), API_OK);
    cluster_set_downgrade(cluster, NULL, (struct cluster_downgrade){true, version_of(3, 5)});
    assert_int_equal(cluster_check_downgrade(cluster, version_of(3, 5)), API_ERROR_DOWNGRADE_IN_PROCESS);
    assert_true(cluster_decide_version(cluster, version_of(3, 6), &decided));
    assert_int_equal(version_compare(decided, version_of(3, 5)), 0);
    assert_false(cluster_decide_version(cluster, version_of(3, 7), &decided));
    cluster_set_version(cluster, NULL, version_of(3, 5));
    assert_false(cluster_decide_version(cluster, version_of(3, 6), &decided)); /* done */
    cluster_free(cluster);
}

/* ---- the first start ---- */

static struct cluster_initial initial_of(const char *text)
{
    struct cluster_initial initial = {0};
    must(cluster_initial_parse(text, &initial));
    return initial;
}

static void initial_clusters_are_grouped_by_name(void **state)
{
    (void)state;
    struct cluster_initial initial = initial_of("n=http://b:1,m=http://c:1,,n=http://a:1");
    struct buf text = {0};
    assert_int_equal(initial.count, 2);
    cluster_initial_write(&text, &initial);
    expect_text(&text, "m=http://c:1,n=http://a:1,n=http://b:1");
    assert_int_equal(cluster_initial_find(&initial, "n")->peer_urls.count, 2);
    assert_null(cluster_initial_find(&initial, "x"));
    must_be_refused(cluster_initial_parse("n=http://a:1/x", &initial), ERROR_INVALID,
                    "URL must not contain a path: http://a:1/x");
    must_be_refused(cluster_initial_parse("n=,m=http://x:1", &initial), ERROR_INVALID,
                    "URL scheme must be http, https, unix, or unixs: ");
    must_be_refused(cluster_initial_parse("n", &initial), ERROR_INVALID,
                    "URL scheme must be http, https, unix, or unixs: ");
    assert_int_equal(initial.count, 2);
    cluster_initial_deinit(&initial);
    initial = initial_of("");
    assert_int_equal(initial.count, 0);
    cluster_initial_deinit(&initial);
    buf_deinit(&text);
}

static void first_starts_are_refused_with_etcds_words(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"m=http://127.0.0.1:22380", "http://127.0.0.1:22380",
         "couldn't find local name \"n\" in the initial cluster configuration"},
        {"n=http://127.0.0.1:22390", "http://127.0.0.1:22380",
         "--initial-cluster has n=http://127.0.0.1:22390 but missing from "
         "--initial-advertise-peer-urls=http://127.0.0.1:22380 (resolved urls: \"http://127.0.0.1:22380\" != "
         "\"http://127.0.0.1:22390\")"},
        {"n=http://127.0.0.1:22380", "http://127.0.0.1:22380,http://127.0.0.1:22390",
         "--initial-advertise-peer-urls has http://127.0.0.1:22390 but missing from "
         "--initial-cluster=n=http://127.0.0.1:22380,n=http://127.0.0.1:22390"},
        {"n=http://127.0.0.1:22380,n=http://127.0.0.1:22380", "http://127.0.0.1:22380",
         "failed to resolve http://127.0.0.1:22380 to match --initial-cluster=n=http://127.0.0.1:22380 "
         "(len([\"http://127.0.0.1:22380\"]) != len([\"http://127.0.0.1:22380\" "
         "\"http://127.0.0.1:22380\"]))"},
        {"n=http://127.0.0.1:22380,m=http://127.0.0.1:22380", "http://127.0.0.1:22380",
         "initial cluster m=http://127.0.0.1:22380,n=http://127.0.0.1:22380 has duplicate url"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster_initial initial = initial_of(cases[i][0]);
        struct cluster_urls advertised = urls_of(cases[i][1]);
        must_be_refused(cluster_initial_check(&initial, "n", &advertised, false, NULL), ERROR_INVALID,
                        cases[i][2]);
        cluster_initial_deinit(&initial);
        cluster_urls_deinit(&advertised);
    }
}

static void names_may_be_resolved_by_the_caller(void **state)
{
    (void)state;
    struct cluster_initial initial = initial_of("n=http://localhost:1,m=http://b:1");
    struct cluster_urls same = urls_of("http://localhost:1"), other = urls_of("http://127.0.0.1:1"),
                        more = urls_of("http://127.0.0.1:1,http://127.0.0.1:2");
    assert_false(cluster_initial_needs_resolving(&initial, "n", &same));
    assert_true(cluster_initial_needs_resolving(&initial, "n", &other));
    assert_false(cluster_initial_needs_resolving(&initial, "n", &more)); /* cannot help */
    must(cluster_initial_check(&initial, "n", &same, false, NULL));
    must(cluster_initial_check(&initial, "n", &other, true, NULL));
    must(cluster_initial_check(&initial, "n", NULL, false, NULL)); /* joining */
    must_be_refused(cluster_initial_check(&initial, "n", &other, false, "lookup localhost: no such host"),
                    ERROR_INVALID,
                    "--initial-cluster has n=http://localhost:1 but missing from "
                    "--initial-advertise-peer-urls=http://127.0.0.1:1 (lookup localhost: no such host)");
    cluster_initial_deinit(&initial);
    cluster_urls_deinit(&same);
    cluster_urls_deinit(&other);
    cluster_urls_deinit(&more);
}

static void a_new_cluster_gets_its_ids(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    struct cluster_initial initial = initial_of("m1=http://127.0.0.1:21101");
    uint64_t id = 0;
    must(cluster_bootstrap(cluster, &initial, "tok1", sha1, &id));
    assert_true(id == CLUSTER);
    struct buf text = {0};
    cluster_member_write(&text, cluster_local_member(cluster));
    expect_text(&text,
                "{\"id\":9984341986976738353,\"peerURLs\":[\"http://127.0.0.1:21101\"],\"name\":\"m1\"}");
    cluster_initial_deinit(&initial);
    cluster_free(cluster);

    cluster = new_cluster();
    initial = initial_of("a=http://x:1,b=http://x:1");
    struct error *error = cluster_bootstrap(cluster, &initial, "t", sha1, &id);
    assert_true(error_is(error, ERROR_INVALID));
    error_free(error);
    cluster_initial_deinit(&initial);
    cluster_free(cluster);
    buf_deinit(&text);
}

static bool always_same(void *context, const struct cluster_urls *a, const struct cluster_urls *b)
{
    (void)context;
    return a->count == b->count;
}

static void a_joining_member_takes_over_the_ids_of_the_cluster(void **state)
{
    (void)state;
    struct cluster_initial initial = initial_of("a=http://x:1,b=http://y:2,b=http://y:1");
    struct cluster_member *remote;
    size_t count;
    uint64_t ids[2] = {0};
    must(cluster_members_parse(BYTES_LITERAL("[{\"id\":5,\"peerURLs\":[\"http://y:1\",\"http://y:2\"]},"
                                             "{\"id\":18446744073709551615,\"peerURLs\":[\"http://x:1\"]}]"),
                               &remote, &count));
    must(cluster_match(&initial, remote, count, NULL, NULL, ids));
    assert_true(ids[0] == UINT64_MAX && ids[1] == 5);
    must_be_refused(cluster_match(&initial, remote, 1, NULL, NULL, ids), ERROR_INVALID,
                    "member count is unequal");
    cluster_initial_deinit(&initial);
    initial = initial_of("a=http://z:1,b=http://y:2,b=http://y:1");
    must_be_refused(cluster_match(&initial, remote, count, NULL, NULL, ids), ERROR_INVALID,
                    "PeerURLs: no match found for existing member (ffffffffffffffff, [http://x:1])");
    must(cluster_match(&initial, remote, count, always_same, NULL, ids)); /* another name for the same host */
    assert_true(ids[0] == UINT64_MAX);
    for (size_t i = 0; i < count; i++) cluster_member_deinit(&remote[i]);
    free(remote);
    cluster_initial_deinit(&initial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_etcd),
        cmocka_unit_test(the_order_of_urls_and_members_does_not_matter),
        cmocka_unit_test(contexts_are_those_of_etcd),
        cmocka_unit_test(contexts_that_no_member_could_use_are_errors),
        cmocka_unit_test(changes_are_refused_by_the_members_of_that_moment),
        cmocka_unit_test(a_cluster_has_a_limit),
        cmocka_unit_test(changes_are_written_to_rows_and_loaded_again),
        cmocka_unit_test(a_copy_tells_the_same_and_goes_its_own_way),
        cmocka_unit_test(an_update_leaves_a_learner_a_learner_and_its_name),
        cmocka_unit_test(attributes_of_strangers_are_refused_and_of_removed_members_ignored),
        cmocka_unit_test(damaged_rows_are_corrupt),
        cmocka_unit_test(adding_needs_a_quorum_of_started_and_connected_voters),
        cmocka_unit_test(removing_must_leave_a_quorum),
        cmocka_unit_test(promoting_counts_the_learner_as_started),
        cmocka_unit_test(the_cluster_version_follows_the_lowest_member_upwards),
        cmocka_unit_test(a_downgrade_goes_one_minor_and_one_at_a_time),
        cmocka_unit_test(initial_clusters_are_grouped_by_name),
        cmocka_unit_test(first_starts_are_refused_with_etcds_words),
        cmocka_unit_test(names_may_be_resolved_by_the_caller),
        cmocka_unit_test(a_new_cluster_gets_its_ids),
        cmocka_unit_test(a_joining_member_takes_over_the_ids_of_the_cluster),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
