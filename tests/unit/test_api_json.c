#include "api/json.h"
#include "api/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rpc.pb-c.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void expect_json(const ProtobufCMessage *message, enum json_dialect dialect, const char *text)
{
    struct buf out = {0};
    json_write(&out, message, dialect);
    assert_string_equal(buf_string(&out), text);
    buf_deinit(&out);
}

static const void *parse(const ProtobufCMessageDescriptor *descriptor, const char *text)
{
    struct error *error = NULL;
    const void *message = json_parse(descriptor, bytes_from_string(text), arena, NULL, &error);
    if (message == NULL) fail_msg("%s: %s", text, error->text);
    return message;
}

static void refuse(const ProtobufCMessageDescriptor *descriptor, const char *text, const char *reason)
{
    struct error *error = NULL;
    assert_null(json_parse(descriptor, bytes_from_string(text), arena, NULL, &error));
    assert_non_null(error);
    if (strstr(error->text, reason) == NULL) fail_msg("%s: %s", text, error->text);
    error_free(error);
}

static void a_range_response_in_both_dialects(void **state)
{
    (void)state;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.cluster_id = 14841639068965178418u;
    header.revision = 2;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = message_binary(BYTES_LITERAL("a"));
    kv.lease = -1;
    Mvccpb__KeyValue *kvs[] = {&kv};
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.header = &header;
    response.kvs = kvs;
    response.n_kvs = 1;
    response.count = 1;
    expect_json(&response.base, JSON_GATEWAY,
                "{\"header\":{\"cluster_id\":\"14841639068965178418\",\"revision\":\"2\"},"
                "\"kvs\":[{\"key\":\"YQ==\",\"lease\":\"-1\"}],\"count\":\"1\"}");
    expect_json(&response.base, JSON_GO,
                "{\"header\":{\"cluster_id\":14841639068965178418,\"revision\":2},"
                "\"kvs\":[{\"key\":\"YQ==\",\"lease\":-1}],\"count\":1}");
}

static void a_oneof_is_plain_for_the_gateway_and_wrapped_for_go(void **state)
{
    (void)state;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    Etcdserverpb__ResponseOp operation = ETCDSERVERPB__RESPONSE_OP__INIT,
                             empty = ETCDSERVERPB__RESPONSE_OP__INIT;
    operation.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    operation.response_put = &put;
    Etcdserverpb__ResponseOp *operations[] = {&operation, &empty};
    Etcdserverpb__TxnResponse response = ETCDSERVERPB__TXN_RESPONSE__INIT;
    response.succeeded = 1;
    response.responses = operations;
    response.n_responses = 2;
    expect_json(&response.base, JSON_GATEWAY,
                "{\"succeeded\":true,\"responses\":[{\"response_put\":{}},{}]}");
    expect_json(
        &response.base, JSON_GO,
        "{\"succeeded\":true,\"responses\":[{\"Response\":{\"response_put\":{}}},{\"Response\":null}]}");
}

static void enums_go_by_name_or_number(void **state)
{
    (void)state;
    Etcdserverpb__AlarmMember alarm = ETCDSERVERPB__ALARM_MEMBER__INIT;
    alarm.memberid = 7;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    expect_json(&alarm.base, JSON_GATEWAY, "{\"memberID\":\"7\",\"alarm\":\"NOSPACE\"}");
    expect_json(&alarm.base, JSON_GO, "{\"memberID\":7,\"alarm\":1}");
}

static void strings_are_escaped_for_go_as_html(void **state)
{
    (void)state;
    char name[] = "<a&\"b>";
    Etcdserverpb__Member member = ETCDSERVERPB__MEMBER__INIT;
    member.name = name;
    expect_json(&member.base, JSON_GO, "{\"name\":\"\\u003ca\\u0026\\\"b\\u003e\"}");
    expect_json(&member.base, JSON_GATEWAY, "{\"name\":\"<a&\\\"b>\"}");
}

static void fields_are_read_in_both_spellings(void **state)
{
    (void)state;
    const Etcdserverpb__RangeRequest *request = (const Etcdserverpb__RangeRequest *)
        parse(&etcdserverpb__range_request__descriptor,
              "{\"key\":\"YQ==\",\"rangeEnd\":\"Yg\",\"limit\":\"5\",\"min_mod_revision\":1e1,\"sort_order\":"
              "\"DESCEND\","
              "\"sortTarget\":3,\"serializable\":true,\"nothing\":[1,{}],\"revision\":null}");
    assert_true(bytes_equal(message_bytes(request->key), BYTES_LITERAL("a")));
    assert_true(bytes_equal(message_bytes(request->range_end), BYTES_LITERAL("b")));
    assert_int_equal(request->limit, 5);
    assert_int_equal(request->min_mod_revision, 10);
    assert_int_equal(request->sort_order, ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND);
    assert_int_equal(request->sort_target, ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD);
    assert_true(request->serializable);
}

static void a_txn_is_read_whole(void **state)
{
    (void)state;
    const Etcdserverpb__TxnRequest *request = (const Etcdserverpb__TxnRequest *)parse(
        &etcdserverpb__txn_request__descriptor,
        "{\"compare\":[{\"result\":\"EQUAL\",\"target\":\"VERSION\",\"key\":\"YQ==\",\"version\":\"0\"}],"
        "\"success\":[{\"requestPut\":{\"key\":\"YQ==\",\"value\":\"Yg==\"}},{}]}");
    assert_int_equal(request->n_compare, 1);
    assert_int_equal(request->compare[0]->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION);
    assert_int_equal(request->n_success, 2);
    assert_int_equal(request->success[0]->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_int_equal(request->success[1]->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET);
    expect_json(&request->base, JSON_GATEWAY,
                "{\"compare\":[{\"key\":\"YQ==\",\"version\":\"0\"}],"
                "\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"value\":\"Yg==\"}},{}]}");
}

static void sixty_four_bit_numbers_keep_every_bit(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"ID\":18446744073709551615}", "{\"ID\":\"18446744073709551615\"}",
                                        " {\"ID\" : 18446744073709551615 }"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const Etcdserverpb__MemberRemoveRequest *request =
            (const Etcdserverpb__MemberRemoveRequest *)parse(&etcdserverpb__member_remove_request__descriptor,
                                                             texts[i]);
        assert_true(request->id == UINT64_MAX);
    }
    const Etcdserverpb__LeaseRevokeRequest *revoke =
        (const Etcdserverpb__LeaseRevokeRequest *)parse(&etcdserverpb__lease_revoke_request__descriptor,
                                                        "{\"ID\":-9223372036854775808}");
    assert_true(revoke->id == INT64_MIN);
    /* Digits inside a string stay what they are. */
    const Etcdserverpb__AuthUserAddRequest *user =
        (const Etcdserverpb__AuthUserAddRequest *)parse(&etcdserverpb__auth_user_add_request__descriptor,
                                                        "{\"name\":\"a\\\"12345678901234567890\"}");
    assert_string_equal(user->name, "a\"12345678901234567890");
}

static void an_unknown_enum_name_leaves_the_field_unset(void **state)
{
    (void)state;
    const Etcdserverpb__RangeRequest *request =
        (const Etcdserverpb__RangeRequest *)parse(&etcdserverpb__range_request__descriptor,
                                                  "{\"sort_order\":\"SIDEWAYS\"}");
    assert_int_equal(request->sort_order, 0);
    const Etcdserverpb__WatchCreateRequest *create =
        (const Etcdserverpb__WatchCreateRequest *)parse(&etcdserverpb__watch_create_request__descriptor,
                                                        "{\"filters\":[\"NODELETE\",\"NOTHING\",0]}");
    assert_int_equal(create->n_filters, 2);
    assert_int_equal(create->filters[0], 1);
}

static void empty_input_is_an_empty_message(void **state)
{
    (void)state;
    expect_json((const ProtobufCMessage *)parse(&etcdserverpb__range_request__descriptor, ""), JSON_GATEWAY,
                "{}");
    expect_json((const ProtobufCMessage *)parse(&etcdserverpb__range_request__descriptor, " \n"),
                JSON_GATEWAY, "{}");
}

static void bad_input_is_refused_with_its_reason(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *range = &etcdserverpb__range_request__descriptor;
    refuse(range, "{\"key\":\"YQ==\",\"key\":\"Yg==\"}", "duplicate field \"key\"");
    refuse(range, "{\"range_end\":\"YQ==\",\"rangeEnd\":\"Yg==\"}", "duplicate field \"rangeEnd\"");
    refuse(&etcdserverpb__request_op__descriptor, "{\"request_put\":{},\"request_range\":{}}",
           "is already set");
    refuse(range, "null", "unexpected token null");
    refuse(range, "[]", "unexpected token []");
    refuse(range, "{\"key\":\"!\"}", "invalid value for bytes field key: \"!\"");
    refuse(range, "{\"limit\":\"abc\"}", "invalid value for int64 field limit");
    refuse(range, "{\"limit\":1.5}", "invalid value for int64 field limit");
    refuse(range, "{\"limit\":9223372036854775808}", "invalid value for int64 field limit");
    refuse(range, "{\"limit\":\" 1\"}", "invalid value for int64 field limit");
    refuse(range, "{\"serializable\":1}", "invalid value for bool field serializable");
    refuse(range, "{\"key\":", "syntax error");
    refuse(range, "{\"key\"", "syntax error");
    refuse(&etcdserverpb__member_remove_request__descriptor, "{\"ID\":-1}",
           "invalid value for uint64 field ID");
    refuse(&etcdserverpb__auth_user_add_request__descriptor, "{\"name\":\"root\\u0000x\"}",
           "invalid value for string field name");
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < 400; i++) buf_append_string(&text, "{\"success\":[{\"request_txn\":");
    buf_append_string(&text, "{}");
    for (int i = 0; i < 400; i++) buf_append_string(&text, "}]}");
    refuse(&etcdserverpb__txn_request__descriptor, buf_string(&text), "nested deeper");
    buf_deinit(&text);
}

static void a_stream_of_values_is_cut_one_by_one(void **state)
{
    (void)state;
    struct bytes text = BYTES_LITERAL(" {\"a\":\"}\\\"\"} {\"b\":[1]}tail");
    size_t first = json_value_size(text);
    assert_int_equal(first, 12);
    assert_int_equal(json_value_size(bytes_of(text.data + first, text.size - first)), 10);
    assert_int_equal(json_value_size(BYTES_LITERAL("{\"a\":\"")), 0);
    assert_int_equal(json_value_size(BYTES_LITERAL("{\"a\":\"b\"")), 0);
    assert_int_equal(json_value_size(BYTES_LITERAL("")), 0);
    size_t used = 0;
    assert_non_null(json_parse(&etcdserverpb__watch_request__descriptor,
                               BYTES_LITERAL("{\"create_request\":{\"key\":\"YQ==\"}} garbage"), arena, &used,
                               NULL));
    assert_int_equal(used, 33);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_range_response_in_both_dialects),
        TEST(a_oneof_is_plain_for_the_gateway_and_wrapped_for_go),
        TEST(enums_go_by_name_or_number),
        TEST(strings_are_escaped_for_go_as_html),
        TEST(fields_are_read_in_both_spellings),
        TEST(a_txn_is_read_whole),
        TEST(sixty_four_bit_numbers_keep_every_bit),
        TEST(an_unknown_enum_name_leaves_the_field_unset),
        TEST(empty_input_is_an_empty_message),
        TEST(bad_input_is_refused_with_its_reason),
        TEST(nesting_is_bounded),
        TEST(a_stream_of_values_is_cut_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
