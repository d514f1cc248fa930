/* Responses look as etcdctl shows them. */
#include "api/message.h"
#include "shell/present_auth.h"
#include "shell/present_cluster.h"
#include "shell/present_kv.h"
#include "shell/present_lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(const struct presentation *presentation, struct output_style style, const void *response,
                   const void *detail, const char *expected)
{
    struct buf out = {0};
    struct print_target target = {.out = &out, .style = style};
    assert_non_null(presentation->by_format[style.format]);
    presentation->by_format[style.format](&target, response, detail);
    assert_string_equal(buf_string(&out), expected);
    buf_deinit(&out);
}

#define STYLE(name) ((struct output_style){.format = OUTPUT_##name})

static Etcdserverpb__ResponseHeader header = {
    .base = PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__response_header__descriptor),
    .cluster_id = 10,
    .member_id = 11,
    .revision = 7,
    .raft_term = 2,
};

static Mvccpb__KeyValue sample_kv(void)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = message_binary(BYTES_LITERAL("k1"));
    kv.value = message_binary(BYTES_LITERAL("v\n\xff"));
    kv.create_revision = 5;
    kv.mod_revision = 6;
    kv.version = 2;
    kv.lease = 0x1f;
    return kv;
}

static void a_range_has_all_its_formats(void **state)
{
    (void)state;
    Mvccpb__KeyValue kv = sample_kv(), *kvs[] = {&kv};
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.header = &header;
    response.n_kvs = 1;
    response.kvs = kvs;
    response.count = 1;
    expect(&present_get, STYLE(SIMPLE), &response, NULL, "k1\nv\n\xff\n");
    expect(&present_get, (struct output_style){.format = OUTPUT_SIMPLE, .hex = true}, &response, NULL,
           "\\x6b\\x31\n\\x76\\x0a\\xff\n");
    expect(&present_get, (struct output_style){.format = OUTPUT_SIMPLE, .value_only = true}, &response, NULL,
           "v\n\xff\n");
    expect(&present_get, STYLE(JSON), &response, NULL,
           "{\"header\":{\"cluster_id\":10,\"member_id\":11,\"revision\":7,\"raft_term\":2},\"kvs\":[{"
           "\"key\":\"azE=\","
           "\"create_revision\":5,\"mod_revision\":6,\"version\":2,\"value\":\"dgr/"
           "\",\"lease\":31}],\"count\":1}\n");
    expect(&present_get, STYLE(FIELDS), &response, NULL,
           "\"ClusterID\" : 10\n\"MemberID\" : 11\n\"Revision\" : 7\n\"RaftTerm\" : 2\n\"Key\" : "
           "\"k1\"\n\"CreateRevision\" : "
           "5\n\"ModRevision\" : 6\n\"Version\" : 2\n\"Value\" : \"v\\n\\xff\"\n\"Lease\" : 31\n\"More\" : "
           "false\n\"Count\" : "
           "1\n");
    expect(&present_get, (struct output_style){.format = OUTPUT_FIELDS, .hex = true}, &response, NULL,
           "\"ClusterID\" : a\n\"MemberID\" : b\n\"Revision\" : 7\n\"RaftTerm\" : 2\n\"Key\" : "
           "\"k1\"\n\"CreateRevision\" : "
           "5\n\"ModRevision\" : 6\n\"Version\" : 2\n\"Value\" : \"v\\n\\xff\"\n\"Lease\" : "
           "000000000000001f\n\"More\" : "
           "false\n\"Count\" : 1\n");
    assert_null(present_get.by_format[OUTPUT_TABLE]);
}

static void protobuf_is_the_bare_message(void **state)
{
    (void)state;
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;
    response.header = &header;
    struct buf out = {0};
    struct print_target target = {.out = &out, .style = STYLE(PROTOBUF)};
    present_put.by_format[OUTPUT_PROTOBUF](&target, &response, NULL);
    assert_int_equal(out.size, 10);
    assert_memory_equal(out.data, "\x0a\x08\x08\x0a\x10\x0b\x18\x07\x20\x02", 10);
    buf_deinit(&out);
}

static void a_watchs_json_has_gos_own_names(void **state)
{
    (void)state;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT, *events[] = {&event};
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    kv.key = message_binary(BYTES_LITERAL("w"));
    kv.mod_revision = 6;
    event.type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
    event.kv = &kv;
    response.header = &header;
    response.n_events = 1;
    response.events = events;
    response.watch_id = 9;
    expect(&present_watch, STYLE(JSON), &response, NULL,
           "{\"Header\":{\"cluster_id\":10,\"member_id\":11,\"revision\":7,\"raft_term\":2},\"Events\":[{"
           "\"type\":1,\"kv\":{"
           "\"key\":\"dw==\",\"mod_revision\":6}}],\"CompactRevision\":0,\"Canceled\":false,\"Created\":"
           "false}\n");
    expect(&present_watch, STYLE(SIMPLE), &response, NULL, "DELETE\nw\n\n");
}

static void lease_answers_show_the_header_flat(void **state)
{
    (void)state;
    Etcdserverpb__LeaseGrantResponse grant = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;
    grant.header = &header;
    grant.id = -1;
    grant.ttl = 60;
    expect(&present_lease_grant, STYLE(SIMPLE), &grant, NULL,
           "lease ffffffffffffffff granted with TTL(60s)\n");
    expect(&present_lease_grant, STYLE(JSON), &grant, NULL,
           "{\"cluster_id\":10,\"member_id\":11,\"revision\":7,\"raft_term\":2,\"ID\":-1,\"TTL\":60,"
           "\"Error\":\"\"}\n");
    Etcdserverpb__LeaseTimeToLiveResponse gone = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    gone.id = 0x1234;
    gone.ttl = -1;
    expect(&present_lease_time_to_live, STYLE(SIMPLE), &gone, &(struct lease_detail){.lease = 0x1234},
           "lease 0000000000001234 already expired\n");
    expect(&present_lease_time_to_live, STYLE(JSON), &gone, &(struct lease_detail){.lease = 0x1234},
           "{\"id\":4660,\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n");
}

static void tables_have_ascii_borders_and_wrap_long_cells(void **state)
{
    (void)state;
    const char *const head[] = {"ID", "LONG NAME"};
    const char *const cells[] = {"1", "x", "ключ", "one two three four five six seven eight nine"};
    struct buf out = {0};
    print_table(&out, 2, head, cells, 2);
    assert_string_equal(buf_string(&out), "+------+-----------------------------+\n"
                                          "|  ID  |          LONG NAME          |\n"
                                          "+------+-----------------------------+\n"
                                          "|    1 |                           x |\n"
                                          "| ключ | one two three four five six |\n"
                                          "|      |            seven eight nine |\n"
                                          "+------+-----------------------------+\n");
    buf_deinit(&out);
}

static void tables_without_rows_keep_their_rules(void **state)
{
    (void)state;
    const char *const head[] = {"A"};
    struct buf out = {0};
    print_table(&out, 1, head, NULL, 0);
    assert_string_equal(buf_string(&out), "+---+\n| A |\n+---+\n+---+\n");
    buf_deinit(&out);
}

static void permissions_are_written_as_ranges(void **state)
{
    (void)state;
    Authpb__Permission key = AUTHPB__PERMISSION__INIT, prefix = key, open = key;
    key.key = message_binary(BYTES_LITERAL("/a"));
    prefix.key = message_binary(BYTES_LITERAL("/p/"));
    prefix.range_end = message_binary(BYTES_LITERAL("/p0"));
    prefix.permtype = AUTHPB__PERMISSION__TYPE__READWRITE;
    open.key = message_binary(BYTES_LITERAL("z"));
    open.range_end = message_binary(BYTES_LITERAL("\0"));
    open.permtype = AUTHPB__PERMISSION__TYPE__WRITE;
    Authpb__Permission *permissions[] = {&key, &prefix, &open};
    Etcdserverpb__AuthRoleGetResponse response = ETCDSERVERPB__AUTH_ROLE_GET_RESPONSE__INIT;
    response.n_perm = 3;
    response.perm = permissions;
    expect(&present_role_get, STYLE(SIMPLE), &response, &(struct auth_detail){.role = "r"},
           "Role r\nKV Read:\n\t/a\n\t[/p/, /p0) (prefix /p/)\nKV Write:\n\t[/p/, /p0) (prefix /p/)\n\t[z, "
           "<open ended>\n");
    response.n_perm = 0;
    expect(&present_role_get, STYLE(SIMPLE), &response, &(struct auth_detail){.role = "root"},
           "Role root\nKV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n");
}

static void a_status_has_sixteen_columns(void **state)
{
    (void)state;
    Etcdserverpb__StatusResponse status = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    status.header = &header;
    status.version = (char *)(uintptr_t) "3.6.14";
    status.dbsize = 20480;
    status.dbsizeinuse = 16384;
    status.leader = 11;
    const struct endpoint_answer answer = {"h:1", &status.base};
    expect(&present_endpoint_status, STYLE(SIMPLE), &(struct endpoint_answers){&answer, 1}, NULL,
           "h:1, b, 3.6.14, , 20 kB, 16 kB, 20%, 0 B, true, false, 0, 0, 0, , , false\n");
    expect(&present_endpoint_status, STYLE(JSON), &(struct endpoint_answers){NULL, 0}, NULL, "null\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_has_all_its_formats),
        cmocka_unit_test(protobuf_is_the_bare_message),
        cmocka_unit_test(a_watchs_json_has_gos_own_names),
        cmocka_unit_test(lease_answers_show_the_header_flat),
        cmocka_unit_test(tables_have_ascii_borders_and_wrap_long_cells),
        cmocka_unit_test(tables_without_rows_keep_their_rules),
        cmocka_unit_test(permissions_are_written_as_ranges),
        cmocka_unit_test(a_status_has_sixteen_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
