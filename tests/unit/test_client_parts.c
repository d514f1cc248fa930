/* The parts of the client that need no server: endpoints, errors, the table of methods. */
#include "client/endpoint.h"
#include "client/error.h"
#include "client/method.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void endpoints_are_read_in_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown, *address, *server_name;
        enum endpoint_tls tls;
    } cases[] = {
        {"127.0.0.1:2379", "127.0.0.1:2379", "127.0.0.1:2379", "127.0.0.1", ENDPOINT_TLS_IF_CONFIGURED},
        {" a.b:1\t", "a.b:1", "a.b:1", "a.b", ENDPOINT_TLS_IF_CONFIGURED},
        {"[::1]:2379", "[::1]:2379", "[::1]:2379", "::1", ENDPOINT_TLS_IF_CONFIGURED},
        {"http://h:1/path?x", "http://h:1/path?x", "h:1", "h", ENDPOINT_TLS_NEVER},
        {"https://[fe80::1]:1", "https://[fe80::1]:1", "[fe80::1]:1", "fe80::1", ENDPOINT_TLS_ALWAYS},
        {"unix:rel/sock", "unix:rel/sock", "unix:rel/sock", "sock", ENDPOINT_TLS_IF_CONFIGURED},
        {"unix://rel", "unix://rel", "unix:rel", "rel", ENDPOINT_TLS_IF_CONFIGURED},
        {"unix:///a/s:0", "unix:///a/s:0", "unix:/a/s:0", "s:0", ENDPOINT_TLS_IF_CONFIGURED},
        {"unixs:/a/s", "unixs:/a/s", "unix:/a/s", "s", ENDPOINT_TLS_ALWAYS},
        {"nonsense", "nonsense", "nonsense", "nonsense", ENDPOINT_TLS_IF_CONFIGURED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct endpoint endpoint;
        assert_true(endpoint_parse(cases[i].text, &endpoint));
        assert_string_equal(endpoint.text, cases[i].shown);
        assert_string_equal(endpoint.address, cases[i].address);
        assert_string_equal(endpoint.server_name, cases[i].server_name);
        assert_int_equal(endpoint.tls, cases[i].tls);
        endpoint_deinit(&endpoint);
    }
}

static void an_empty_text_is_no_endpoint(void **state)
{
    (void)state;
    struct endpoint endpoint;
    assert_false(endpoint_parse("", &endpoint));
    assert_false(endpoint_parse(" \t", &endpoint));
}

static void expect_text(struct client_error *error, const char *text)
{
    struct buf out = {0};
    client_error_format(&out, error);
    assert_string_equal(buf_string(&out), text);
    buf_deinit(&out);
    client_error_free(error);
}

static void errors_print_as_etcdctl_prints_them(void **state)
{
    (void)state;
    expect_text(client_error_new(GRPC_INVALID_ARGUMENT, BYTES_LITERAL("etcdserver: key is not provided")),
                "etcdserver: key is not provided");
    expect_text(client_error_new(GRPC_UNAVAILABLE,
                                 BYTES_LITERAL("etcdserver: rpc not supported for learner")),
                "etcdserver: rpc not supported for learner");
    expect_text(client_error_new(GRPC_UNKNOWN, BYTES_LITERAL("auth: permission denied")),
                "rpc error: code = Unknown desc = auth: permission denied");
    expect_text(client_error_new(GRPC_DEADLINE_EXCEEDED, BYTES_LITERAL("context deadline exceeded")),
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    expect_text(client_error_deadline(), "context deadline exceeded");
    expect_text(client_error_canceled(), "context canceled");
    expect_text(client_error_new((enum grpc_code)42, BYTES_LITERAL("odd")),
                "rpc error: code = Code(42) desc = odd");
}

static void an_error_in_a_watchs_reason_keeps_its_words(void **state)
{
    (void)state;
    struct client_error *error =
        client_error_from_text("rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    assert_int_equal(error->code, GRPC_PERMISSION_DENIED);
    assert_int_equal(error->known, API_ERROR_PERMISSION_DENIED);
    expect_text(client_error_copy(error), error->message);
    client_error_free(error);
    error = client_error_from_text("mvcc: watcher range is empty");
    assert_int_equal(error->code, GRPC_FAILED_PRECONDITION);
    assert_int_equal(error->known, API_OK);
    expect_text(error, "mvcc: watcher range is empty");
    expect_text(client_error_from_text("rpc error: code = Odd desc = x"), "rpc error: code = Odd desc = x");
}

static void every_method_is_in_the_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CLIENT_RPC_COUNT; i++) {
        const struct client_method *method = client_method((enum client_rpc)i);
        assert_int_equal(method->path[0], '/');
        assert_non_null(strchr(method->path + 1, '/'));
        assert_non_null(method->request);
        assert_non_null(method->response);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(method->path, client_method((enum client_rpc)k)->path);
    }
    assert_string_equal(client_method_name(CLIENT_HASH_KV), "HashKV");
    assert_string_equal(client_method(CLIENT_CAMPAIGN)->response->name, "v3electionpb.CampaignResponse");
    assert_string_equal(client_method(CLIENT_USER_REVOKE_ROLE)->request->name,
                        "etcdserverpb.AuthUserRevokeRoleRequest");
}

static void writes_are_never_repeated(void **state)
{
    (void)state;
    static const enum client_rpc writes[] = {CLIENT_PUT,     CLIENT_DELETE_RANGE, CLIENT_TXN,
                                             CLIENT_COMPACT, CLIENT_MEMBER_ADD,   CLIENT_DEFRAGMENT,
                                             CLIENT_USER_ADD};
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        assert_int_equal(client_method(writes[i])->retry, CLIENT_RETRY_UNSENT);
    assert_int_equal(client_method(CLIENT_RANGE)->retry, CLIENT_RETRY_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_read_in_every_form),
        cmocka_unit_test(an_empty_text_is_no_endpoint),
        cmocka_unit_test(errors_print_as_etcdctl_prints_them),
        cmocka_unit_test(an_error_in_a_watchs_reason_keeps_its_words),
        cmocka_unit_test(every_method_is_in_the_table),
        cmocka_unit_test(writes_are_never_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
