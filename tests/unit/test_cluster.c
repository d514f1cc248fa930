/* Membership and versions. Ids, rows, contexts and snapshot texts are those of real etcd 3.4 and 3.5 members.
 */
#include "base/memory.h"
#include "cluster/cluster.h"
#include "cluster/json_reader.h"
#include "memory_backend.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define M1      UINT64_C(0x8a8f822349c42c31)
#define CLUSTER UINT64_C(0xf2829c481607dab3)
#define SECOND  INT64_C(1000000000)

static void sha1(struct bytes data, uint8_t digest[20])
{
    SHA1(data.data, data.size, digest);
}

static void must(struct error *error)
{
    if (error != NULL) fail_msg("%s", error->text);
}

static void must_fail(struct error *error, enum error_kind kind, const char *text)
{
    assert_non_null(error);
    assert_string_equal(error->text, text);
    assert_int_equal(error->kind, kind);
    error_free(error);
}

static struct cluster_urls urls_of(const char *list)
{
    struct cluster_urls urls = {0};
    must(cluster_urls_parse(list, &urls));
    return urls;
}

static struct cluster *new_cluster(void)
{
    struct cluster_options options = {.local_id = M1, .cluster_id = CLUSTER};
    return cluster_new(&options);
}

static struct cluster_change change_of(enum cluster_change_kind kind, uint64_t id, const char *urls)
{
    struct cluster_change change = {.kind = kind, .member = {.id = id, .name = mem_strdup("")}};
    change.member.is_learner = kind == CLUSTER_ADD_LEARNER;
    if (urls != NULL) change.member.peer_urls = urls_of(urls);
    return change;
}

/* Checks and, when it is allowed, carries out. */
static enum api_error do_change(struct cluster *cluster, struct backend *backend,
                                enum cluster_change_kind kind, uint64_t id, const char *urls)
{
    struct cluster_change change = change_of(kind, id, urls);
    enum api_error status = cluster_check_change(cluster, &change);
    if (status == API_OK) cluster_apply_change(cluster, backend, &change);
    cluster_change_deinit(&change);
    return status;
}

static void start_member(struct cluster *cluster, struct backend *backend, uint64_t id)
{
    struct cluster_urls none = {0};
    assert_int_equal(cluster_set_attributes(cluster, backend, id, "started", &none), API_OK);
}

static void assert_text(struct buf *buf, const char *text)
{
    assert_string_equal(buf_string(buf), text);
    buf_clear(buf);
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

/* ---- URLs ---- */

static void urls_are_refused_with_etcds_words(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"http://127.0.0.1", "URL address does not have the form \"host:port\": http://127.0.0.1"},
        {"http://127.0.0.1:1/x", "URL must not contain a path: http://127.0.0.1:1/x"},
        {"http://127.0.0.1:1/", "URL must not contain a path: http://127.0.0.1:1/"},
        {"ftp://127.0.0.1:1", "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1"},
        {"", "URL scheme must be http, https, unix, or unixs: "},
        {" x ", "URL scheme must be http, https, unix, or unixs: x"},
        {"http://127.0.0.1:abc", "parse \"http://127.0.0.1:abc\": invalid port \":abc\" after host"},
        {"127.0.0.1:22380", "parse \"127.0.0.1:22380\": first path segment in URL cannot contain colon"},
        {"http://[::1:22380", "parse \"http://[::1:22380\": missing ']' in host"},
        {"unix://localhost:m1", "parse \"unix://localhost:m1\": invalid port \":m1\" after host"},
        {":foo", "parse \":foo\": missing protocol scheme"},
        {"http://a%zz:1", "parse \"http://a%zz:1\": invalid URL escape \"%zz\""},
        {"http://:22%20380", "parse \"http://:22%20380\": invalid port \":22%20380\" after host"},
        {"http://a\n:1", "parse \"http://a\\n:1\": net/url: invalid control character in URL"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster_url url;
        must_fail(cluster_url_parse(bytes_from_string(cases[i][0]), &url), ERROR_INVALID, cases[i][1]);
    }
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"http://127.0.0.1:2380", "http", "127.0.0.1", "2380"},
        {" https://example.com:1 ", "https", "example.com", "1"},
        {"http://[::1]:2380", "http", "::1", "2380"},
        {"http://:2380", "http", "", "2380"},
        {"http://u@h:1?x=1#f", "http", "h", "1"},
        {"unix://localhost:1", "unix", "localhost", "1"},
        {"unix:///tmp/socket", "unix", "", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cluster_url url;
        must(cluster_url_parse(bytes_from_string(cases[i][0]), &url));
        assert_true(bytes_equal(url.scheme, bytes_from_string(cases[i][1])));
        assert_true(bytes_equal(url.host, bytes_from_string(cases[i][2])));
        assert_true(bytes_equal(url.port, bytes_from_string(cases[i][3])));
    }
}

static void url_lists_are_trimmed_checked_and_sorted(void **state)
{
    (void)state;
    struct cluster_urls urls = urls_of(" http://b:1 ,http://a:1");
    struct buf text = {0};
    cluster_urls_join(&text, &urls);
    assert_text(&text, "http://a:1,http://b:1");
    must_fail(cluster_urls_parse("http://c:1,", &urls), ERROR_INVALID,
              "URL scheme must be http, https, unix, or unixs: ");
    assert_int_equal(urls.count, 2); /* a failure changes nothing */
    must_fail(cluster_urls_check(NULL, 0, &urls), ERROR_INVALID, "no valid URLs given");
    cluster_urls_deinit(&urls);
    buf_deinit(&text);
}

static void listening_needs_an_address(void **state)
{
    (void)state;
    static const char *const good[] = {"http://127.0.0.1:1",
                                       "http://localhost:1",
                                       "https://[::]:1",
                                       "http://[fe80::1%25eth0]:1",
                                       "http://[::ffff:1.2.3.4]:1",
                                       "http://[1:2:3:4:5:6:7:8]:1",
                                       "unix:///tmp/x"};
    static const char *const bad[] = {"http://example.com:1",    "http://:1",          "http://256.0.0.1:1",
                                      "http://1.2.3:1",          "http://[1::2::3]:1", "http://[12345::]:1",
                                      "http://[1:2:3:4:5:6:7]:1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) must(cluster_url_check_bind(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf text = {0};
        buf_printf(&text, "expected IP in URL for binding (%s)", bad[i]);
        must_fail(cluster_url_check_bind(bad[i]), ERROR_INVALID, buf_string(&text));
        buf_deinit(&text);
    }
}

/* ---- JSON ---- */

static void json_is_read_as_go_does(void **state)
{
    (void)state;
    struct json_reader reader = json_reader_of(BYTES_LITERAL(
        " { \"a\\u003c\\ud83d\\ude00\\n\\/\" : [ 18446744073709551615 , null,true ] , \"b\":{\"c\":[[],{}]},"
        "\"d\":-1.5e3, \"e\":null } "));
    struct buf text = {0};
    uint64_t number = 7;
    bool flag = false;
    assert_true(json_enter(&reader, '{'));
    assert_true(json_next_key(&reader, &text));
    assert_text(&text, "a<\xf0\x9f\x98\x80\n/");
    assert_true(json_enter(&reader, '['));
    assert_true(json_next_item(&reader));
    assert_true(json_read_uint64(&reader, &number));
    assert_true(number == UINT64_MAX);
    assert_true(json_next_item(&reader));
    assert_false(json_read_uint64(&reader, &number));
    assert_true(json_next_item(&reader));
    assert_true(json_read_bool(&reader, &flag) && flag);
    assert_false(json_next_item(&reader));
    for (int i = 0; i < 3; i++) {
        assert_true(json_next_key(&reader, &text));
        json_skip(&reader);
    }
    assert_false(json_next_key(&reader, &text));
    assert_true(json_at_end(&reader));
    buf_deinit(&text);
}

static void json_numbers_may_be_negative(void **state)
{
    (void)state;
    static const char *const refused[] = {"9223372036854775808", "- 1", "-", "-x", "\"1\""};
    struct json_reader reader =
        json_reader_of(BYTES_LITERAL("[-1,9223372036854775807, -9223372036854775807]"));
    int64_t number = 0;
    assert_true(json_enter(&reader, '[') && json_next_item(&reader) && json_read_int64(&reader, &number));
    assert_true(number == -1);
    assert_true(json_next_item(&reader) && json_read_int64(&reader, &number));
    assert_true(number == INT64_MAX);
    assert_true(json_next_item(&reader) && json_read_int64(&reader, &number));
    assert_true(number == -INT64_MAX);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        reader = json_reader_of(bytes_from_string(refused[i]));
        assert_false(json_read_int64(&reader, &number));
        assert_true(reader.failed);
    }
}

static void malformed_json_fails_once_and_for_all(void **state)
{
    (void)state;
    static const char *const cases[] = {"{\"a\":1",
                                        "{\"a\" 1}",
                                        "{a:1}",
                                        "{\"a\":1,}",
                                        "{\"a\":tru}",
                                        "{\"a\":\"\\x\"}",
                                        "{\"a\":\"\n\"}",
                                        "[1 2]",
                                        "{\"a\":\"\\u12\"}",
                                        "{} x",
                                        "",
                                        "nul"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json_reader reader = json_reader_of(bytes_from_string(cases[i]));
        json_skip(&reader);
        assert_false(json_at_end(&reader));
    }
    struct buf deep = {0}; /* no deeper than the limit, whatever comes */
    for (int i = 0; i < 100000; i++) buf_append_byte(&deep, '[');
    struct json_reader reader = json_reader_of(buf_bytes(&deep));
    json_skip(&reader);
    assert_true(reader.failed);
    buf_deinit(&deep);
}

static void members_are_written_as_go_does(void **state)
{
    (void)state;
    struct buf text = {0};
    struct cluster_member member = {.id = M1, .name = mem_strdup("m<1>&")};
    cluster_member_write(&text, &member);
    assert_text(&text, "{\"id\":9984341986976738353,\"peerURLs\":null,\"name\":\"m\\u003c1\\u003e\\u0026\"}");
    member.peer_urls = urls_of("http://127.0.0.1:21101,http://[::1]:1");
    member.client_urls = urls_of("http://127.0.0.1:2379");
    member.is_learner = true;
    cluster_member_write(&text, &member);
    struct cluster_member back = {0};
    must(cluster_member_parse(buf_bytes(&text), &back));
    assert_text(&text,
                "{\"id\":9984341986976738353,\"peerURLs\":[\"http://127.0.0.1:21101\",\"http://[::1]:1\"],"
                "\"isLearner\":true,\"name\":\"m\\u003c1\\u003e\\u0026\","
                "\"clientURLs\":[\"http://127.0.0.1:2379\"]}");
    assert_true(back.id == M1 && back.is_learner);
    assert_string_equal(back.name, "m<1>&");
    assert_true(cluster_urls_equal(&back.peer_urls, &member.peer_urls));
    assert_true(cluster_urls_equal(&back.client_urls, &member.client_urls));
    cluster_member_deinit(&member);
    cluster_member_deinit(&back);
    buf_deinit(&text);
}

static void members_are_read_in_any_order_and_case(void **state)
{
    (void)state;
    struct cluster_member member = {0};
    must(cluster_member_parse(BYTES_LITERAL("{\"name\":null,\"clientURLs\":null,\"new\":{\"x\":[1]},"
                                            "\"PeerURLs\":[\"http://a:1\"],\"ID\":18446744073709551615}"),
                              &member));
    assert_true(member.id == UINT64_MAX);
    assert_string_equal(member.name, "");
    assert_int_equal(member.peer_urls.count, 1);
    static const char *const bad[] = {"{\"peerURLs\":[]}",
                                      "{\"id\":-1}",
                                      "{\"id\":18446744073709551616}",
                                      "{\"id\":1",
                                      "[]",
                                      "null",
                                      "{\"id\":1,\"name\":\"a\\u0000b\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error *error = cluster_member_parse(bytes_from_string(bad[i]), &member);
        assert_true(error_is(error, ERROR_INVALID));
        error_free(error);
        assert_true(member.id == UINT64_MAX); /* left alone */
    }
    cluster_member_deinit(&member);
}

static void the_members_list_survives_the_way_to_a_peer(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    do_change(cluster, NULL, CLUSTER_ADD, M1, "http://a:1");
    do_change(cluster, NULL, CLUSTER_ADD_LEARNER, 5, "http://b:1");
    struct buf text = {0};
    cluster_members_write(&text, cluster);
    struct cluster_member *members;
    size_t count;
    must(cluster_members_parse(buf_bytes(&text), &members, &count));
    assert_text(&text, "[{\"id\":5,\"peerURLs\":[\"http://b:1\"],\"isLearner\":true},"
                       "{\"id\":9984341986976738353,\"peerURLs\":[\"http://a:1\"]}]");
    assert_int_equal(count, 2);
    assert_true(members[0].id == 5 && members[1].id == M1);
    for (size_t i = 0; i < count; i++) cluster_member_deinit(&members[i]);
    free(members);
    struct error *error = cluster_members_parse(BYTES_LITERAL("[{}]"), &members, &count);
    assert_non_null(error);
    error_free(error);
    cluster_free(cluster);
    buf_deinit(&text);
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

/* ---- confState ---- */

static void conf_states_are_written_as_go_does(void **state)
{
    (void)state;
    struct backend *backend = memory_backend_new();
    struct cluster *cluster = new_cluster();
    struct raft_conf_state conf = {0}, back = {0};
    struct buf text = {0};
    bool found = true;
    must(cluster_conf_state_load(backend, &found, &back));
    assert_false(found);
    cluster_conf_state(cluster, &conf);
    cluster_conf_state_write(&text, &conf);
    assert_text(&text, "{\"auto_leave\":false}");
    do_change(cluster, NULL, CLUSTER_ADD, M1, "http://a:1");
    do_change(cluster, NULL, CLUSTER_ADD, 3, "http://b:1");
    do_change(cluster, NULL, CLUSTER_ADD_LEARNER, 2, "http://c:1");
    cluster_conf_state(cluster, &conf);
    cluster_conf_state_store(backend, &conf);
    assert_string_equal(memory_backend_text(backend, BUCKET_META, "confState"),
                        "{\"voters\":[3,9984341986976738353],\"learners\":[2],\"auto_leave\":false}");
    must(cluster_conf_state_load(backend, &found, &back));
    assert_true(found && raft_conf_state_equivalent(&conf, &back));
    must(cluster_conf_state_parse(BYTES_LITERAL("{\"voters\":[2,1],\"voters_outgoing\":[5],"
                                                "\"learners_next\":[6],\"auto_leave\":true}"),
                                  &back));
    assert_true(back.auto_leave && back.voters.items[0] == 1 && back.voters_outgoing.items[0] == 5 &&
                back.learners_next.items[0] == 6 && back.learners.count == 0);
    backend_put(backend, BUCKET_META, BYTES_LITERAL("confState"), BYTES_LITERAL("{\"voters\":[0]}"));
    struct error *error = cluster_conf_state_load(backend, &found, &back);
    assert_true(error_is(error, ERROR_CORRUPT));
    error_free(error);
    raft_conf_state_deinit(&conf);
    raft_conf_state_deinit(&back);
    cluster_free(cluster);
    memory_backend_free(backend);
    buf_deinit(&text);
}

/* ---- what 3.4 and 3.5 left behind ---- */

/* As 3.5 writes it: all fields, the zero ones too. */
#define V2_TAIL "\x28\x00\x32\x00\x38\x00\x48\x00\x50\x00\x58\x00\x60\x00\x68\x00\x70\x00\x78\x00\x80\x01\x00"
#define V2_ATTRIBUTES                                                                                        \
    "\x08\x81\x82\x9c\x80\x01\x12\x03PUT\x1a\x26/0/members/3868c6146727013b/attributes\x22\x35"              \
    "{\"name\":\"m1\",\"clientURLs\":[\"http://127.0.0.1:21201\"]}" V2_TAIL
#define V2_VERSION                                                                                           \
    "\x08\x05\x12\x03PUT\x1a\x0a/0/version\x22\x05"                                                          \
    "3.5.0" V2_TAIL
#define V2_SYNC "\x08\x05\x12\x04SYNC\x1a\x00" V2_TAIL

static void v2_requests_of_the_log_are_understood(void **state)
{
    (void)state;
    struct cluster_v2_request request = {0};
    struct bytes attributes = BYTES_LITERAL(V2_ATTRIBUTES);
    assert_true(cluster_is_v2_request(attributes));
    must(cluster_v2_request_parse(attributes, &request));
    assert_int_equal(request.kind, CLUSTER_V2_ATTRIBUTES);
    assert_true(request.member.id == UINT64_C(0x3868c6146727013b));
    assert_string_equal(request.member.name, "m1");
    assert_int_equal(request.member.client_urls.count, 1);
    assert_string_equal(request.member.client_urls.items[0], "http://127.0.0.1:21201");

    assert_true(cluster_is_v2_request(BYTES_LITERAL(V2_VERSION)));
    must(cluster_v2_request_parse(BYTES_LITERAL(V2_VERSION), &request));
    assert_int_equal(request.kind, CLUSTER_V2_VERSION);
    assert_int_equal(request.id, 5);
    assert_int_equal(request.version.minor, 5);

    assert_true(cluster_is_v2_request(BYTES_LITERAL(V2_SYNC)));
    must(cluster_v2_request_parse(BYTES_LITERAL(V2_SYNC), &request));
    assert_int_equal(request.kind, CLUSTER_V2_OTHER);
    cluster_v2_request_deinit(&request);
}

static void other_requests_are_not_taken_for_v2(void **state)
{
    (void)state;
    /* InternalRaftRequest: a put; field 2 as a message; nothing; noise. */
    assert_false(cluster_is_v2_request(BYTES_LITERAL("\x22\x05\x0a\x01k\x12\x00\xa2\x06\x02\x08\x05")));
    assert_false(cluster_is_v2_request(BYTES_LITERAL("\x12\x02\x08\x05\xa2\x06\x02\x08\x05")));
    assert_false(cluster_is_v2_request(BYTES_EMPTY));
    assert_false(cluster_is_v2_request(BYTES_LITERAL("\x12\x03PUT\x1a\xff")));
    struct cluster_v2_request request = {0};
    static const char *const bad[] = {"\x12\x03PUT\x1a\x0a/0/version\x22\x03"
                                      "3.5",
                                      "\x12\x03PUT\x1a\x18/0/members/7b/attributes\x22\x01{"};
    for (size_t i = 0; i < 2; i++) {
        struct error *error = cluster_v2_request_parse(bytes_from_string(bad[i]), &request);
        assert_true(error_is(error, ERROR_INVALID));
        error_free(error);
        cluster_v2_request_deinit(&request);
    }
}

/* The data of a 3.5 member's .snap, statistics and most of the history left out. */
static const char snapshot_of_3_5[] =
    "{\"Root\":{\"Path\":\"/"
    "\",\"CreatedIndex\":0,\"ModifiedIndex\":0,\"ExpireTime\":\"0001-01-01T00:00:00Z\","
    "\"Value\":\"\",\"Children\":{\"0\":{\"Path\":\"/"
    "0\",\"CreatedIndex\":0,\"ModifiedIndex\":0,\"ExpireTime\":"
    "\"0001-01-01T00:00:00Z\",\"Value\":\"\",\"Children\":{\"members\":{\"Path\":\"/0/members\","
    "\"CreatedIndex\":1,\"ModifiedIndex\":1,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"\","
    "\"Children\":{\"1a19b6d8a3e3c93\":{\"Path\":\"/0/members/1a19b6d8a3e3c93\",\"CreatedIndex\":4,"
    "\"ModifiedIndex\":4,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"\",\"Children\":{"
    "\"raftAttributes\":{\"Path\":\"/0/members/1a19b6d8a3e3c93/raftAttributes\",\"CreatedIndex\":4,"
    "\"ModifiedIndex\":4,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"{\\\"peerURLs\\\":["
    "\\\"http://127.0.0.1:29999\\\"],\\\"isLearner\\\":true}\",\"Children\":null}}},\"8a8f822349c42c31\":{"
    "\"Path\":\"/0/members/8a8f822349c42c31\",\"CreatedIndex\":1,\"ModifiedIndex\":1,\"ExpireTime\":"
    "\"0001-01-01T00:00:00Z\",\"Value\":\"\",\"Children\":{\"attributes\":{\"Path\":"
    "\"/0/members/8a8f822349c42c31/attributes\",\"CreatedIndex\":2,\"ModifiedIndex\":2,\"ExpireTime\":"
    "\"0001-01-01T00:00:00Z\",\"Value\":\"{\\\"name\\\":\\\"m\\\\u003c1\\\\u003e\\\",\\\"clientURLs\\\":["
    "\\\"http://127.0.0.1:23179\\\"]}\",\"Children\":null},\"raftAttributes\":{\"Path\":"
    "\"/0/members/8a8f822349c42c31/raftAttributes\",\"CreatedIndex\":1,\"ModifiedIndex\":1,\"ExpireTime\":"
    "\"0001-01-01T00:00:00Z\",\"Value\":\"{\\\"peerURLs\\\":[\\\"http://127.0.0.1:21101\\\"]}\","
    "\"Children\":null}}}}},\"removed_members\":{\"Path\":\"/0/removed_members\",\"CreatedIndex\":6,"
    "\"ModifiedIndex\":6,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"\",\"Children\":{"
    "\"53137f863b18c4d\":{\"Path\":\"/0/removed_members/53137f863b18c4d\",\"CreatedIndex\":6,"
    "\"ModifiedIndex\":6,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"\",\"Children\":null}}},"
    "\"version\":{\"Path\":\"/0/version\",\"CreatedIndex\":3,\"ModifiedIndex\":3,\"ExpireTime\":"
    "\"0001-01-01T00:00:00Z\",\"Value\":\"3.5.0\",\"Children\":null}}},\"1\":{\"Path\":\"/1\","
    "\"CreatedIndex\":0,\"ModifiedIndex\":0,\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"\","
    "\"Children\":{}}}},\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[{\"action\":\"create\","
    "\"node\":{\"key\":\"/0/members/8a8f822349c42c31/raftAttributes\",\"value\":\"{}\",\"modifiedIndex\":1,"
    "\"createdIndex\":1}},null,null],\"Size\":1,\"Front\":0,\"Back\":1,\"Capacity\":1000},\"StartIndex\":1,"
    "\"LastIndex\":6}},\"CurrentIndex\":6,\"Stats\":{\"getSuccess\":0,\"setsFail\":0},\"CurrentVersion\":2}";

static void snapshots_of_3_5_tell_the_members(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    do_change(cluster, NULL, CLUSTER_ADD, 99, "http://stale:1");
    must(cluster_v2_snapshot_read(cluster, bytes_from_string(snapshot_of_3_5)));
    assert_int_equal(cluster_member_count(cluster), 2);
    const struct cluster_member *learner = cluster_member_at(cluster, 0), *m1 = cluster_local_member(cluster);
    assert_true(learner->id == UINT64_C(0x1a19b6d8a3e3c93) && learner->is_learner);
    assert_string_equal(learner->peer_urls.items[0], "http://127.0.0.1:29999");
    assert_string_equal(learner->name, "");
    assert_string_equal(m1->name, "m<1>");
    assert_string_equal(m1->client_urls.items[0], "http://127.0.0.1:23179");
    assert_false(m1->is_learner);
    assert_true(cluster_is_removed(cluster, UINT64_C(0x53137f863b18c4d)));
    struct version version;
    assert_true(cluster_version(cluster, &version));
    assert_int_equal(version.minor, 5);

    /* From there into rows: nothing else is left in them. */
    struct backend *backend = memory_backend_new();
    backend_put(backend, BUCKET_MEMBERS, BYTES_LITERAL("63"), BYTES_LITERAL("{\"id\":99}"));
    must(cluster_store(cluster, backend));
    assert_int_equal(memory_backend_rows(backend, BUCKET_MEMBERS), 2);
    assert_string_equal(memory_backend_text(backend, BUCKET_MEMBERS_REMOVED, "53137f863b18c4d"), "removed");
    assert_string_equal(memory_backend_text(backend, BUCKET_CLUSTER, "clusterVersion"), "3.5.0");
    cluster_free(cluster);
    memory_backend_free(backend);
}

static void snapshots_for_older_members_have_the_shortest_form(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster(), *back = new_cluster();
    struct buf text = {0};
    do_change(cluster, NULL, CLUSTER_ADD, 0xab, "http://a:1");
    cluster_v2_snapshot_write(&text, cluster);
    assert_text(
        &text, "{\"Root\":{\"Path\":\"/\",\"Children\":{\"0\":{\"Path\":\"/0\",\"Children\":{\"members\":{"
               "\"Path\":\"/0/members\",\"Children\":{\"ab\":{\"Path\":\"/0/members/ab\",\"Children\":{"
               "\"raftAttributes\":{\"Path\":\"/0/members/ab/raftAttributes\",\"Value\":\"{\\\"peerURLs\\\":["
               "\\\"http://a:1\\\"]}\"}}}}}}},\"1\":{\"Path\":\"/1\",\"Children\":{}}}},\"CurrentIndex\":3,"
               "\"CurrentVersion\":2}");

    must(cluster_v2_snapshot_read(cluster, bytes_from_string(snapshot_of_3_5)));
    cluster_v2_snapshot_write(&text, cluster);
    must(cluster_v2_snapshot_read(back, buf_bytes(&text)));
    struct buf first = {0}, second = {0};
    cluster_members_write(&first, cluster);
    cluster_members_write(&second, back);
    assert_string_equal(buf_string(&first), buf_string(&second));
    assert_true(cluster_is_removed(back, UINT64_C(0x53137f863b18c4d)));
    struct version version;
    assert_true(cluster_version(back, &version));
    buf_deinit(&first);
    buf_deinit(&second);
    buf_deinit(&text);
    cluster_free(cluster);
    cluster_free(back);
}

static void damaged_snapshots_are_refused(void **state)
{
    (void)state;
    struct cluster *cluster = new_cluster();
    size_t size = strlen(snapshot_of_3_5);
    for (size_t i = 0; i < size; i += 7) { /* cut anywhere */
        struct error *error = cluster_v2_snapshot_read(cluster, bytes_of(snapshot_of_3_5, i));
        assert_true(error_is(error, ERROR_INVALID));
        error_free(error);
        assert_int_equal(cluster_member_count(cluster), 0);
    }
    char *copy = mem_strdup(snapshot_of_3_5); /* any byte: an answer, whichever */
    for (size_t i = 0; i < size; i++) {
        copy[i] = (char)(copy[i] ^ 0x15);
        error_free(cluster_v2_snapshot_read(cluster, bytes_of(copy, size)));
        copy[i] = (char)(copy[i] ^ 0x15);
    }
    free(copy);
    must_fail(cluster_v2_snapshot_read(
                  cluster, BYTES_LITERAL("{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{"
                                         "\"Children\":{\"7\":{\"Children\":{}}}}}}}}}")),
              ERROR_INVALID, "v2 store in the snapshot: member 7 has no peer URLs");
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
    assert_text(&text, "m=http://c:1,n=http://a:1,n=http://b:1");
    assert_int_equal(cluster_initial_find(&initial, "n")->peer_urls.count, 2);
    assert_null(cluster_initial_find(&initial, "x"));
    must_fail(cluster_initial_parse("n=http://a:1/x", &initial), ERROR_INVALID,
              "URL must not contain a path: http://a:1/x");
    must_fail(cluster_initial_parse("n=,m=http://x:1", &initial), ERROR_INVALID,
              "URL scheme must be http, https, unix, or unixs: ");
    must_fail(cluster_initial_parse("n", &initial), ERROR_INVALID,
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
        must_fail(cluster_initial_check(&initial, "n", &advertised, false, NULL), ERROR_INVALID, cases[i][2]);
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
    must_fail(cluster_initial_check(&initial, "n", &other, false, "lookup localhost: no such host"),
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
    assert_text(&text,
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
    must_fail(cluster_match(&initial, remote, 1, NULL, NULL, ids), ERROR_INVALID, "member count is unequal");
    cluster_initial_deinit(&initial);
    initial = initial_of("a=http://z:1,b=http://y:2,b=http://y:1");
    must_fail(cluster_match(&initial, remote, count, NULL, NULL, ids), ERROR_INVALID,
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
        cmocka_unit_test(urls_are_refused_with_etcds_words),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(url_lists_are_trimmed_checked_and_sorted),
        cmocka_unit_test(listening_needs_an_address),
        cmocka_unit_test(json_is_read_as_go_does),
        cmocka_unit_test(json_numbers_may_be_negative),
        cmocka_unit_test(malformed_json_fails_once_and_for_all),
        cmocka_unit_test(members_are_written_as_go_does),
        cmocka_unit_test(members_are_read_in_any_order_and_case),
        cmocka_unit_test(the_members_list_survives_the_way_to_a_peer),
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
        cmocka_unit_test(conf_states_are_written_as_go_does),
        cmocka_unit_test(v2_requests_of_the_log_are_understood),
        cmocka_unit_test(other_requests_are_not_taken_for_v2),
        cmocka_unit_test(snapshots_of_3_5_tell_the_members),
        cmocka_unit_test(snapshots_for_older_members_have_the_shortest_form),
        cmocka_unit_test(damaged_snapshots_are_refused),
        cmocka_unit_test(initial_clusters_are_grouped_by_name),
        cmocka_unit_test(first_starts_are_refused_with_etcds_words),
        cmocka_unit_test(names_may_be_resolved_by_the_caller),
        cmocka_unit_test(a_new_cluster_gets_its_ids),
        cmocka_unit_test(a_joining_member_takes_over_the_ids_of_the_cluster),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
