/* What `watch` watches comes from its words or from its variables, never from both. */
#include "shell/watch_arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct line {
    const char *words[5]; /* all positional words */
    size_t own;           /* how many stand before `--` */
    bool separator;
    const char *key, *range_end; /* variables */
    int status;
    const char *result; /* the reason, or "key|range_end" */
};

static size_t count_of(const struct line *line)
{
    size_t count = 0;
    while (count < 5 && line->words[count] != NULL) count++;
    return count;
}

static void check(const struct line *line)
{
    struct arena *arena = arena_new();
    struct buf reason = {0};
    struct watch_arguments arguments;
    size_t count = count_of(line);
    struct words words = words_from(arena, (int)count, (char **)(uintptr_t)line->words);
    struct words separated = {words.items + line->own, count - line->own};
    int status = watch_arguments_read(&words, &separated, line->separator, line->key, line->range_end, arena,
                                      &arguments, &reason);
    assert_int_equal(status, line->status);
    if (status == 0) {
        buf_append_bytes(&reason, arguments.key);
        if (arguments.has_range_end) {
            buf_append_byte(&reason, '|');
            buf_append_bytes(&reason, arguments.range_end);
        }
        assert_int_equal(arguments.command.count, count - line->own);
    }
    assert_string_equal(buf_string(&reason), line->result);
    buf_deinit(&reason);
    arena_free(arena);
}

static void words_and_variables_are_read_as_etcdctl_does(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {{"k"}, 1, false, NULL, NULL, 0, "k"},
        {{"k", "e"}, 2, false, NULL, NULL, 0, "k|e"},
        {{"a", "b", "c"}, 3, false, NULL, NULL, 0, "a"},
        {{"k", "echo", "x"}, 1, true, NULL, NULL, 0, "k"},
        {{NULL}, 0, false, "vk", NULL, 0, "vk"},
        {{NULL}, 0, false, "vk", "ve", 0, "vk|ve"},
        {{"echo"}, 0, true, "vk", NULL, 0, "vk"},
        {{NULL}, 0, false, NULL, NULL, 128, "bad number of arguments"},
        {{NULL}, 0, false, "", NULL, 128, "bad number of arguments"},
        {{"k"}, 1, true, NULL, NULL, 128, "bad number of arguments (found separator --, but no commands)"},
        {{"k"}, 1, false, "vk", NULL, 128, "bad number of arguments (found conflicting environment key)"},
        {{"k"}, 1, false, NULL, "b", 128, "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"b\""},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) check(&lines[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_variables_are_read_as_etcdctl_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
