/* ETCDCTL_ variables stand in for flags that were not given. */
#include "shell/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct flag own[] = {{"limit", 0, FLAG_INT, "0", "", NULL}, {0}};
static const struct flag global[] = {
    {"endpoints", 0, FLAG_STRINGS, "here", "", NULL},
    {"command-timeout", 0, FLAG_DURATION, "5s", "", NULL},
    {"hex", 0, FLAG_BOOL, "false", "", NULL},
    {0},
};
static const struct flag *const tables[] = {global, NULL};

struct applied {
    struct arena *arena;
    struct flag_set flags;
    struct environment_report report;
};

static void apply(struct applied *applied, const char *word, char **environment, const char *const *known)
{
    applied->arena = arena_new();
    flag_set_init(&applied->flags, applied->arena, own, "test", tables);
    struct words words = {0}, rest;
    struct buf reason = {0};
    if (word != NULL) words_add(&words, applied->arena, bytes_from_string(word));
    assert_int_equal(flag_set_parse(&applied->flags, &words, &rest, &reason), FLAG_PARSED);
    buf_deinit(&reason);
    environment_apply(&applied->flags, environment, known, &applied->report);
}

static void variables_set_inherited_flags_only(void **state)
{
    (void)state;
    char *environment[] = {(char[]){"ETCDCTL_ENDPOINTS=a,b"}, (char[]){"ETCDCTL_LIMIT=3"},
                           (char[]){"ETCDCTL_COMMAND_TIMEOUT=1s"}, (char[]){"OTHER=1"}, NULL};
    struct applied applied;
    apply(&applied, NULL, environment, NULL);
    assert_null(applied.report.conflict);
    assert_int_equal(flag_find(&applied.flags, "endpoints")->list_size, 2);
    assert_int_equal(flag_int(&applied.flags, "command-timeout"), 1000000000);
    assert_int_equal(flag_int(&applied.flags, "limit"), 0);
    assert_int_equal(applied.report.unrecognized_count, 1);
    assert_string_equal(applied.report.unrecognized[0], "ETCDCTL_LIMIT=3");
    arena_free(applied.arena);
}

static void a_flag_and_its_variable_together_are_a_conflict(void **state)
{
    (void)state;
    /* Even when the variable is empty. */
    char *environment[] = {(char[]){"ETCDCTL_HEX="}, NULL};
    struct applied applied;
    apply(&applied, "--hex", environment, NULL);
    assert_string_equal(applied.report.conflict, "ETCDCTL_HEX");
    arena_free(applied.arena);
}

static void unreadable_and_empty_values_are_dropped(void **state)
{
    (void)state;
    char *environment[] = {(char[]){"ETCDCTL_COMMAND_TIMEOUT=soon"}, (char[]){"ETCDCTL_HEX="}, NULL};
    struct applied applied;
    apply(&applied, NULL, environment, NULL);
    assert_null(applied.report.conflict);
    assert_int_equal(flag_int(&applied.flags, "command-timeout"), INT64_C(5000000000));
    assert_int_equal(applied.report.unrecognized_count, 1);
    assert_string_equal(applied.report.unrecognized[0], "ETCDCTL_HEX=");
    arena_free(applied.arena);
}

static void known_variables_are_no_mistake(void **state)
{
    (void)state;
    static const char *const known[] = {"ETCDCTL_WATCH_KEY", NULL};
    char *environment[] = {(char[]){"ETCDCTL_WATCH_KEY=k"}, (char[]){"ETCDCTL_WATCH_KEYS=k"}, NULL};
    struct applied applied;
    apply(&applied, NULL, environment, known);
    assert_int_equal(applied.report.unrecognized_count, 1);
    assert_string_equal(applied.report.unrecognized[0], "ETCDCTL_WATCH_KEYS=k");
    arena_free(applied.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_set_inherited_flags_only),
        cmocka_unit_test(a_flag_and_its_variable_together_are_a_conflict),
        cmocka_unit_test(unreadable_and_empty_values_are_dropped),
        cmocka_unit_test(known_variables_are_no_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
