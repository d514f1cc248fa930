/* Transactions are read as etcdctl reads them. */
#include "api/message.h"
#include "shell/txn_grammar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct bytes text(const char *string)
{
    return bytes_from_string(string);
}

static void compares_become_requests(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        Etcdserverpb__Compare__CompareTarget target;
        Etcdserverpb__Compare__CompareResult result;
        int64_t number;
    } compares[] = {
        {"ver(\"a\") = \"1\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
         ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL, 1},
        {"version(\"a\") > \"0\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
         ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER, 0},
        {"  c(\"a\")   !=   \"2\"  ", ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
         ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL, 2},
        {"mod(`a`) < \"-5\" rest", ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
         ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS, -5},
        {"lease(\"a\") = \"1f\"", ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
         ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL, 0x1f},
    };
    for (size_t i = 0; i < sizeof(compares) / sizeof(compares[0]); i++) {
        struct arena *arena = arena_new();
        struct buf reason = {0};
        Etcdserverpb__Compare compare;
        assert_int_equal(txn_parse_compare(text(compares[i].line), arena, &compare, NULL, &reason), 0);
        assert_int_equal(compare.target, compares[i].target);
        assert_int_equal(compare.result, compares[i].result);
        assert_int_equal(compare.version, compares[i].number);
        assert_true(bytes_equal(message_bytes(compare.key), text("a")));
        buf_deinit(&reason);
        arena_free(arena);
    }
}

static void literals_have_gos_escapes(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buf reason = {0};
    Etcdserverpb__Compare compare;
    assert_int_equal(txn_parse_compare(text("val(\"\\x61\\n\") = \"\\u00e9\\x00\""), arena, &compare, NULL,
                                       &reason),
                     0);
    assert_true(bytes_equal(message_bytes(compare.key), text("a\n")));
    assert_true(bytes_equal(message_bytes(compare.value), bytes_of("\xc3\xa9\0", 3)));
    buf_deinit(&reason);
    arena_free(arena);
}

static void malformed_compares_are_told_in_etcdctls_words(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
        const char *reason;
    } mistakes[] = {
        {"ver(a) = 1", 3, "malformed comparison: ver(a) = 1; got ver(\"\")  \"\""},
        {"ver \"a\" = \"1\"", 3, "malformed comparison: ver \"a\" = \"1\""},
        {"ver(\"a\" ) = \"1\"", 3, "malformed comparison: ver(\"a\" ) = \"1\"; got ver(\"a\")  \"\""},
        {"ver(\"a\") = 1", 3, "malformed comparison: ver(\"a\") = 1; got ver(\"a\") = \"\""},
        {"foo(\"a\") = \"1\"", 3, "malformed comparison: foo(\"a\") = \"1\" (unknown target foo)"},
        {"ver(\"a\") = \"x\"", 3, "invalid txn compare request: ver(\"a\") = \"x\""},
        {"ver(\"a\") = \"1\\x00\"", 3, "invalid txn compare request: ver(\"a\") = \"1\\x00\""},
        {"ver(\"a\") ~ \"1\"", 2,
         "malformed comparison: ver(\"a\") ~ \"1\" (unknown operator ~, there are = != < >)"},
        {"", 3, "malformed comparison: "},
        {"(", 3, "malformed comparison: (; got (\"\")  \"\""},
    };
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct arena *arena = arena_new();
        struct buf reason = {0};
        Etcdserverpb__Compare compare;
        int status = txn_parse_compare(text(mistakes[i].line), arena, &compare, NULL, &reason);
        assert_string_equal(buf_string(&reason), mistakes[i].reason);
        assert_int_equal(status, mistakes[i].status);
        buf_deinit(&reason);
        arena_free(arena);
    }
}

static void what_follows_the_value_can_be_found(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buf reason = {0};
    Etcdserverpb__Compare compare;
    size_t used = 0;
    struct bytes line = text("value(\"k\") = \"{\"rps\":500}\"");
    assert_int_equal(txn_parse_compare(line, arena, &compare, &used, &reason), 0);
    assert_string_equal((const char *)line.data + used, "rps\":500}\"");
    buf_deinit(&reason);
    arena_free(arena);
}

static void words_are_cut_at_blanks_and_quotes(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        size_t count;
        const char *words[4];
    } lines[] = {
        {"put 'q 1' \"it\\tis\"", 3, {"put", "q 1", "it\tis"}},
        {"  get   a\tb ", 3, {"get", "a", "b"}},
        {"get \"\" --prefix", 3, {"get", "", "--prefix"}},
        {"put k a\"b", 3, {"put", "k", "a\"b"}},
        {"put k \"open", 3, {"put", "k", "open"}},
        {"put k '{\"rps\":500}'", 3, {"put", "k", "{\"rps\":500}"}},
        {"", 0, {NULL}},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct arena *arena = arena_new();
        struct words words;
        assert_true(txn_split_words(text(lines[i].line), arena, &words));
        assert_int_equal(words.count, lines[i].count);
        for (size_t j = 0; j < words.count; j++)
            assert_string_equal(word_string(&words, j), lines[i].words[j]);
        arena_free(arena);
    }
}

static void a_bad_escape_is_refused(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct words words;
    assert_false(txn_split_words(text("get \"\\q\""), arena, &words));
    arena_free(arena);
}

static int parse_operation(const char *line, struct arena *arena, Etcdserverpb__RequestOp *request,
                           struct buf *usage, struct buf *reason)
{
    struct txn_operation operation;
    return txn_parse_operation(text(line), arena, request, &operation, usage, reason);
}

static void operations_take_their_commands_flags(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buf usage = {0}, reason = {0};
    Etcdserverpb__RequestOp request;
    assert_int_equal(parse_operation("put a 2 --prev-kv --lease=1f", arena, &request, &usage, &reason), 0);
    assert_int_equal(request.request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_true(request.request_put->prev_kv);
    assert_int_equal(request.request_put->lease, 0x1f);
    assert_int_equal(parse_operation("ge a --from-key --limit 2", arena, &request, &usage, &reason), 0);
    assert_int_equal(request.request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    assert_int_equal(request.request_range->limit, 2);
    assert_true(bytes_equal(message_bytes(request.request_range->range_end), bytes_of("\0", 1)));
    assert_int_equal(parse_operation("del p --prefix", arena, &request, &usage, &reason), 0);
    assert_int_equal(request.request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);
    assert_true(bytes_equal(message_bytes(request.request_delete_range->range_end), text("q")));
    /* Fresh defaults on each line. */
    assert_int_equal(parse_operation("get a", arena, &request, &usage, &reason), 0);
    assert_int_equal(request.request_range->limit, 0);
    buf_deinit(&usage);
    buf_deinit(&reason);
    arena_free(arena);
}

static void malformed_operations_are_told_in_etcdctls_words(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
        const char *reason;
        bool usage;
    } mistakes[] = {
        {"get", 3, "invalid txn compare request: get", false},
        {"incr a", 3, "invalid txn request: incr a", false},
        {"get a --nope", 3, "invalid txn request: get a --nope", true},
        {"get a -w json", 3, "invalid txn request: get a -w json", true},
        {"get \"\\q\" b", 3, "invalid syntax", false},
        {"put k", 128, "put command needs 1 argument and input from stdin or 2 arguments", false},
        {"get a b --prefix", 128,
         "too many arguments, only accept one argument when `--prefix` or `--from-key` is set", false},
        {"get a --order=UP", 4, "bad sort order UP", false},
        {"watch a b", 3, "invalid txn request: watch a b", false},
    };
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct arena *arena = arena_new();
        struct buf usage = {0}, reason = {0};
        Etcdserverpb__RequestOp request;
        int status = parse_operation(mistakes[i].line, arena, &request, &usage, &reason);
        assert_string_equal(buf_string(&reason), mistakes[i].reason);
        assert_int_equal(status, mistakes[i].status);
        assert_int_equal(usage.size > 0, mistakes[i].usage);
        if (mistakes[i].usage) assert_memory_equal(buf_string(&usage), "Usage:\n   get ", 14);
        buf_deinit(&usage);
        buf_deinit(&reason);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_become_requests),
        cmocka_unit_test(literals_have_gos_escapes),
        cmocka_unit_test(malformed_compares_are_told_in_etcdctls_words),
        cmocka_unit_test(what_follows_the_value_can_be_found),
        cmocka_unit_test(words_are_cut_at_blanks_and_quotes),
        cmocka_unit_test(a_bad_escape_is_refused),
        cmocka_unit_test(operations_take_their_commands_flags),
        cmocka_unit_test(malformed_operations_are_told_in_etcdctls_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
