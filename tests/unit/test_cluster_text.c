/* What members and clusters look like in writing: URLs, JSON, what 3.4 and 3.5 left behind. The texts are
 * those of real etcd members. */
#include "base/memory.h"
#include "cluster/json_reader.h"
#include "cluster_fixture.h"
#include "memory_backend.h"

#include <stdlib.h>

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
        must_be_refused(cluster_url_parse(bytes_from_string(cases[i][0]), &url), ERROR_INVALID, cases[i][1]);
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
    expect_text(&text, "http://a:1,http://b:1");
    must_be_refused(cluster_urls_parse("http://c:1,", &urls), ERROR_INVALID,
                    "URL scheme must be http, https, unix, or unixs: ");
    assert_int_equal(urls.count, 2); /* a failure changes nothing */
    must_be_refused(cluster_urls_check(NULL, 0, &urls), ERROR_INVALID, "no valid URLs given");
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
        must_be_refused(cluster_url_check_bind(bad[i]), ERROR_INVALID, buf_string(&text));
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
    expect_text(&text, "a<\xf0\x9f\x98\x80\n/");
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
    expect_text(&text, "{\"id\":9984341986976738353,\"peerURLs\":null,\"name\":\"m\\u003c1\\u003e\\u0026\"}");
    member.peer_urls = urls_of("http://127.0.0.1:21101,http://[::1]:1");
    member.client_urls = urls_of("http://127.0.0.1:2379");
    member.is_learner = true;
    cluster_member_write(&text, &member);
    struct cluster_member back = {0};
    must(cluster_member_parse(buf_bytes(&text), &back));
    expect_text(&text,
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
    expect_text(&text, "[{\"id\":5,\"peerURLs\":[\"http://b:1\"],\"isLearner\":true},"
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
    expect_text(&text, "{\"auto_leave\":false}");
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
    expect_text(
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
    must_be_refused(cluster_v2_snapshot_read(
                        cluster, BYTES_LITERAL("{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{"
                                               "\"Children\":{\"7\":{\"Children\":{}}}}}}}}}")),
                    ERROR_INVALID, "v2 store in the snapshot: member 7 has no peer URLs");
    cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(conf_states_are_written_as_go_does),
        cmocka_unit_test(v2_requests_of_the_log_are_understood),
        cmocka_unit_test(other_requests_are_not_taken_for_v2),
        cmocka_unit_test(snapshots_of_3_5_tell_the_members),
        cmocka_unit_test(snapshots_for_older_members_have_the_shortest_form),
        cmocka_unit_test(damaged_snapshots_are_refused),
    };
    return cmocka_run_group_tests_name("cluster text", tests, NULL, NULL);
}
