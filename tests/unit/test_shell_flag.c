/* Flags are parsed as etcdctl parses them. */
#include "base/text.h"
#include "shell/flag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct flag own[] = {
    {"limit", 0, FLAG_INT, "0", "", NULL},      {"prefix", 'p', FLAG_BOOL, "false", "", NULL},
    {"name", 'n', FLAG_STRING, "", "", NULL},   {"wait", 0, FLAG_DURATION, "5s", "", NULL},
    {"count", 0, FLAG_UINT, "1", "", NULL},     {"small", 0, FLAG_INT32, "0", "", NULL},
    {"all", 'a', FLAG_BOOL, "false", "", NULL}, {0},
};
static const struct flag inherited_table[] = {
    {"endpoints", 0, FLAG_STRINGS, "here:1", "", NULL},
    {"write-out", 'w', FLAG_STRING, "simple", "", NULL},
    {0},
};

struct fixture {
    struct arena *arena;
    struct flag_set set;
    struct words rest;
    struct buf reason;
};

static int set_up(void **state)
{
    static const struct flag *const tables[] = {inherited_table, NULL};
    struct fixture *fixture = test_malloc(sizeof(*fixture));
    *fixture = (struct fixture){.arena = arena_new()};
    flag_set_init(&fixture->set, fixture->arena, own, "test", tables);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    buf_deinit(&fixture->reason);
    arena_free(fixture->arena);
    test_free(fixture);
    return 0;
}

static enum flag_outcome parse(struct fixture *fixture, int count, const char **words)
{
    struct words list = words_from(fixture->arena, count, (char **)(uintptr_t)words);
    buf_clear(&fixture->reason);
    return flag_set_parse(&fixture->set, &list, &fixture->rest, &fixture->reason);
}

#define PARSE(...)                                                                                           \
    parse(fixture, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                            \
          (const char *[]){__VA_ARGS__})

static void flags_may_stand_anywhere(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("--limit=3", "k", "--prefix", "-w", "json", "e"), FLAG_PARSED);
    assert_int_equal(flag_int(&fixture->set, "limit"), 3);
    assert_true(flag_bool(&fixture->set, "prefix"));
    assert_string_equal(flag_string(&fixture->set, "write-out"), "json");
    assert_int_equal(fixture->rest.count, 2);
    assert_string_equal(word_string(&fixture->rest, 0), "k");
    assert_string_equal(word_string(&fixture->rest, 1), "e");
}

static void a_double_dash_ends_the_flags(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("k", "--", "--prefix", "-v"), FLAG_PARSED);
    assert_false(flag_bool(&fixture->set, "prefix"));
    assert_int_equal(fixture->rest.count, 3);
    assert_string_equal(word_string(&fixture->rest, 2), "-v");
}

static void a_single_dash_is_a_word(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("-"), FLAG_PARSED);
    assert_int_equal(fixture->rest.count, 1);
}

static void shorthands_have_all_of_pflags_forms(void **state)
{
    struct fixture *fixture = *state;
    static const char *const forms[] = {"-wjson", "-w=json"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(PARSE("-w", "table", forms[i]), FLAG_PARSED);
        assert_string_equal(flag_string(&fixture->set, "write-out"), "json");
    }
    assert_int_equal(PARSE("-apnx"), FLAG_PARSED);
    assert_true(flag_bool(&fixture->set, "all"));
    assert_true(flag_bool(&fixture->set, "prefix"));
    assert_string_equal(flag_string(&fixture->set, "name"), "x");
}

static void numbers_have_gos_bases(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text;
        int64_t value;
    } numbers[] = {{"10", 10}, {"0x10", 16},    {"010", 8}, {"0o10", 8},
                   {"0b1", 1}, {"1_000", 1000}, {"-7", -7}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        assert_int_equal(PARSE("--limit", numbers[i].text), FLAG_PARSED);
        assert_int_equal(flag_int(&fixture->set, "limit"), numbers[i].value);
    }
}

static void the_last_value_wins_but_lists_grow(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("--limit=1", "--limit=2", "--endpoints=a,\"b,c\"", "--endpoints", "d"),
                     FLAG_PARSED);
    assert_int_equal(flag_int(&fixture->set, "limit"), 2);
    const struct flag_value *list = flag_find(&fixture->set, "endpoints");
    assert_int_equal(list->list_size, 3);
    assert_string_equal(list->list[0], "a");
    assert_string_equal(list->list[1], "b,c");
    assert_string_equal(list->list[2], "d");
    struct buf text = {0};
    flag_value_text(&text, list);
    assert_string_equal(buf_string(&text), "[a,b,c,d]");
    buf_deinit(&text);
}

static void an_empty_list_is_empty(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("--endpoints="), FLAG_PARSED);
    assert_int_equal(flag_find(&fixture->set, "endpoints")->list_size, 0);
}

static void mistakes_are_told_in_etcdctls_words(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *words[2];
        const char *reason;
    } mistakes[] = {
        {{"--nope", "x"}, "unknown flag: --nope"},
        {{"--nope=1", "x"}, "unknown flag: --nope"},
        {{"-z", "x"}, "unknown shorthand flag: 'z' in -z"},
        {{"x", "--limit"}, "flag needs an argument: --limit"},
        {{"x", "-n"}, "flag needs an argument: 'n' in -n"},
        {{"x", "--limit=abc"},
         "invalid argument \"abc\" for \"--limit\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax"},
        {{"x", "--prefix=maybe"},
         "invalid argument \"maybe\" for \"-p, --prefix\" flag: strconv.ParseBool: parsing \"maybe\": "
         "invalid syntax"},
        {{"x", "--wait=5"},
         "invalid argument \"5\" for \"--wait\" flag: time: missing unit in duration \"5\""},
        {{"x", "--count=-1"},
         "invalid argument \"-1\" for \"--count\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax"},
        {{"x", "--small=3000000000"},
         "invalid argument \"3000000000\" for \"--small\" flag: strconv.ParseInt: parsing "
         "\"3000000000\": value out of range"},
        {{"x", "---"}, "bad flag syntax: ---"},
    };
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        assert_int_equal(PARSE(mistakes[i].words[0], mistakes[i].words[1]), FLAG_MISTAKE);
        assert_string_equal(buf_string(&fixture->reason), mistakes[i].reason);
    }
}

static void help_is_seen_anywhere(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("x", "-h"), FLAG_HELP);
    assert_int_equal(PARSE("--help"), FLAG_HELP);
}

static void session_values_become_defaults_without_counting_as_given(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(PARSE("--write-out=json", "--endpoints=a,b"), FLAG_PARSED);
    static const struct flag *const tables[] = {inherited_table, NULL};
    struct flag_set line;
    flag_set_init(&line, fixture->arena, own, "line", tables);
    flag_set_take_defaults(&line, &fixture->set);
    assert_string_equal(flag_string(&line, "write-out"), "json");
    assert_false(flag_changed(&line, "write-out"));
    struct words none = {0}, rest;
    assert_int_equal(flag_set_parse(&line, &none, &rest, &fixture->reason), FLAG_PARSED);
    assert_int_equal(flag_find(&line, "endpoints")->list_size, 2);
    assert_true(flag_find(&line, "endpoints")->inherited);
    assert_false(flag_find(&line, "limit")->inherited);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(flags_may_stand_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_double_dash_ends_the_flags, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_single_dash_is_a_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shorthands_have_all_of_pflags_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_have_gos_bases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_value_wins_but_lists_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_list_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_told_in_etcdctls_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(help_is_seen_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(session_values_become_defaults_without_counting_as_given, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
