#include "api/errors.h"
#include "api/keys.h"
#include "api/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_error_has_a_text_of_its_own_and_is_found_by_it(void **state)
{
    (void)state;
    for (unsigned i = API_OK + 1; i < API_ERROR_COUNT; i++) {
        enum api_error error = (enum api_error)i;
        assert_true(strlen(api_error_text(error)) > 0);
        assert_int_not_equal(api_error_code(error), GRPC_OK);
        assert_int_equal(api_error_by_text(bytes_from_string(api_error_text(error))), error);
    }
    assert_int_equal(api_error_by_text(BYTES_LITERAL("etcdserver: something else")), API_OK);
    assert_int_equal(api_error_by_text(BYTES_EMPTY), API_OK);
}

static void errors_carry_the_texts_and_codes_etcd_sends(void **state)
{
    (void)state;
    assert_string_equal(api_error_text(API_ERROR_COMPACTED),
                        "etcdserver: mvcc: required revision has been compacted");
    assert_int_equal(api_error_code(API_ERROR_COMPACTED), GRPC_OUT_OF_RANGE);
    assert_int_equal(api_error_code(API_ERROR_TOO_MANY_REQUESTS), GRPC_UNKNOWN);
    assert_int_equal(api_error_code(API_ERROR_MEMBER_NOT_ENOUGH_STARTED), GRPC_UNKNOWN);
    assert_string_equal(api_error_text(API_ERROR_DEADLINE_EXCEEDED), "context deadline exceeded");
    assert_true(api_error_is_known_to_clients(API_ERROR_EMPTY_KEY));
    assert_false(api_error_is_known_to_clients(API_ERROR_NO_PASSWORD_USER));
}

static void grpc_codes_have_gos_names_and_the_gateways_http_statuses(void **state)
{
    (void)state;
    assert_string_equal(grpc_code_name(GRPC_DEADLINE_EXCEEDED), "DeadlineExceeded");
    assert_string_equal(grpc_code_name(GRPC_UNKNOWN), "Unknown");
    assert_null(grpc_code_name((enum grpc_code)17));
    assert_int_equal(grpc_code_http_status(GRPC_CANCELED), 499);
    assert_int_equal(grpc_code_http_status(GRPC_UNAUTHENTICATED), 401);
    assert_int_equal(grpc_code_http_status((enum grpc_code)99), 500);
}

static void a_prefix_end_raises_the_last_byte_that_can_be_raised(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    assert_true(bytes_equal(key_prefix_end(BYTES_LITERAL("abc"), arena), BYTES_LITERAL("abd")));
    assert_true(bytes_equal(key_prefix_end(BYTES_LITERAL("a\xff\xff"), arena), BYTES_LITERAL("b")));
    assert_true(key_is_open_end(key_prefix_end(BYTES_LITERAL("\xff\xff"), arena)));
    assert_true(key_is_open_end(key_prefix_end(BYTES_EMPTY, arena)));
    assert_true(key_is_prefix_range(BYTES_LITERAL("abc"), BYTES_LITERAL("abd")));
    assert_true(key_is_prefix_range(BYTES_LITERAL("a\xff"), BYTES_LITERAL("b")));
    assert_false(key_is_prefix_range(BYTES_LITERAL("abc"), BYTES_LITERAL("abe")));
    assert_false(key_is_prefix_range(BYTES_LITERAL("abc"), BYTES_LITERAL("\0")));
    arena_free(arena);
}

static void a_range_holds_the_keys_it_writes(void **state)
{
    (void)state;
    assert_true(key_in_range(BYTES_LITERAL("a"), BYTES_LITERAL("a"), BYTES_EMPTY));
    assert_false(key_in_range(BYTES_LITERAL("ab"), BYTES_LITERAL("a"), BYTES_EMPTY));
    assert_true(key_in_range(BYTES_LITERAL("ab"), BYTES_LITERAL("a"), BYTES_LITERAL("b")));
    assert_false(key_in_range(BYTES_LITERAL("b"), BYTES_LITERAL("a"), BYTES_LITERAL("b")));
    assert_true(key_in_range(BYTES_LITERAL("zz"), BYTES_LITERAL("a"), KEY_OPEN_END));
    assert_false(key_in_range(BYTES_LITERAL("A"), BYTES_LITERAL("a"), KEY_OPEN_END));
    assert_false(key_in_range(BYTES_LITERAL("b"), BYTES_LITERAL("b"), BYTES_LITERAL("a")));
}

static void versions_are_read_and_ordered_as_semantic_versions(void **state)
{
    (void)state;
    struct version a, b;
    assert_true(version_parse(BYTES_LITERAL("3.6.14"), &a));
    assert_int_equal(a.patch, 14);
    assert_true(version_parse(BYTES_LITERAL("3.6.14-rc.1+git"), &b));
    assert_true(b.prerelease);
    assert_true(version_compare(b, a) < 0);
    assert_int_equal(version_compare_minor(a, b), 0);
    assert_false(version_parse(BYTES_LITERAL("3.6"), &a));
    assert_false(version_parse(BYTES_LITERAL("3.06.1"), &a));
    assert_false(version_parse(BYTES_LITERAL("3.6.1-"), &a));
    assert_false(version_parse(BYTES_LITERAL("v3.6.1"), &a));
    assert_false(version_parse(BYTES_LITERAL("3.6.99999999999"), &a));
    assert_true(version_parse_target(BYTES_LITERAL("3.5"), &a));
    assert_int_equal(version_compare(a, version_of(3, 5)), 0);
    assert_false(version_parse_target(BYTES_LITERAL("3."), &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_text_of_its_own_and_is_found_by_it),
        cmocka_unit_test(errors_carry_the_texts_and_codes_etcd_sends),
        cmocka_unit_test(grpc_codes_have_gos_names_and_the_gateways_http_statuses),
        cmocka_unit_test(a_prefix_end_raises_the_last_byte_that_can_be_raised),
        cmocka_unit_test(a_range_holds_the_keys_it_writes),
        cmocka_unit_test(versions_are_read_and_ordered_as_semantic_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
