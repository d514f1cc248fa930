/* The command table: finding commands, help, the man page, what needs no server. */
#include "shell/help.h"
#include "shell/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct captured {
    struct buf out, err;
};

static void capture(void *context, struct bytes bytes)
{
    buf_append_bytes(context, bytes);
}

static int run(struct captured *captured, const char *const *line)
{
    struct shell shell;
    struct arena *arena = arena_new();
    int count = 0;
    while (line[count] != NULL) count++;
    buf_clear(&captured->out);
    buf_clear(&captured->err);
    shell_init(&shell,
               (struct shell_streams){.out = {capture, &captured->out},
                                      .err = {capture, &captured->err},
                                      .in = {.descriptor = -1}},
               NULL);
    struct words words = words_from(arena, count, (char **)(uintptr_t)line);
    int status = shell_run(&shell, &words);
    shell_deinit(&shell);
    arena_free(arena);
    return status;
}

#define RUN(...) run(&captured, (const char *const[]){__VA_ARGS__, NULL})

static bool starts(struct buf *text, const char *start)
{
    return strncmp(buf_string(text), start, strlen(start)) == 0;
}

static void names_may_be_cut_short_as_long_as_they_are_unique(void **state)
{
    (void)state;
    struct captured captured = {0};
    assert_int_equal(RUN("vers"), 0);
    assert_true(starts(&captured.out, "etcdctl version: "));
    assert_int_equal(RUN("lea", "gr", "abc"), 128);
    assert_string_equal(buf_string(&captured.err),
                        "Error: bad TTL (strconv.ParseInt: parsing \"abc\": invalid syntax)\n");
    assert_int_equal(RUN("l"), 1);
    assert_true(starts(
        &captured.err,
        "Error: unknown command \"l\" for \"etcdctl\"\n\nDid you mean this?\n\tdel\n\tlease\n\tlock\n"));
    buf_deinit(&captured.out);
    buf_deinit(&captured.err);
}

static void unknown_names_get_suggestions(void **state)
{
    (void)state;
    struct captured captured = {0};
    assert_int_equal(RUN("nope"), 1);
    assert_string_equal(buf_string(&captured.err),
                        "Error: unknown command \"nope\" for \"etcdctl\"\n\nDid you mean "
                        "this?\n\trole\n\nRun 'etcdctl --help' for usage.\n");
    assert_int_equal(RUN("foobar"), 1);
    assert_string_equal(
        buf_string(&captured.err),
        "Error: unknown command \"foobar\" for \"etcdctl\"\nRun 'etcdctl --help' for usage.\n");
    /* An unknown flag before the command is thought to take the next word. */
    assert_int_equal(RUN("--nope", "get", "x"), 1);
    assert_true(starts(&captured.err, "Error: unknown command \"x\" for \"etcdctl\""));
    buf_deinit(&captured.out);
    buf_deinit(&captured.err);
}

static void groups_and_help_print_help(void **state)
{
    (void)state;
    struct captured captured = {0};
    assert_int_equal(RUN("lease"), 0);
    assert_true(starts(&captured.out, "NAME:\n\tlease - "));
    assert_int_equal(RUN("lease", "nope"), 0);
    assert_true(starts(&captured.out, "NAME:\n\tlease - "));
    assert_int_equal(RUN("get", "-h"), 0);
    assert_true(
        starts(&captured.out,
               "NAME:\n\tget - Gets the key or a range of keys\n\nUSAGE:\n\tetcdctl get [options] <key> "
               "[range_end] [flags]\n\nOPTIONS:\n      --consistency=\"l\"\t\t\tlinearizable"));
    assert_int_equal(RUN("help", "nope"), 0);
    assert_string_equal(buf_string(&captured.err), "Unknown help topic [`nope`]\n");
    assert_true(starts(&captured.out, "NAME:\n\tetcdctl - "));
    buf_deinit(&captured.out);
    buf_deinit(&captured.err);
}

static void flag_errors_print_usage_on_standard_output(void **state)
{
    (void)state;
    struct captured captured = {0};
    assert_int_equal(RUN("get", "x", "--nope"), 1);
    assert_string_equal(buf_string(&captured.err), "Error: unknown flag: --nope\n\n");
    assert_true(starts(&captured.out, "NAME:\n\tget - "));
    buf_deinit(&captured.out);
    buf_deinit(&captured.err);
}

static void arguments_are_checked_before_anybody_is_called(void **state)
{
    (void)state;
    struct captured captured = {0};
    static const struct {
        const char *line[6];
        int status;
        const char *error;
    } lines[] = {
        {{"put"}, 128, "Error: put command needs 1 argument and input from stdin or 2 arguments\n"},
        {{"get", "a", "--prefix", "--from-key"},
         128,
         "Error: `--prefix` and `--from-key` cannot be set at the same time, choose one\n"},
        {{"get", "a", "--consistency=x"}, 4, "Error: unknown consistency flag \"x\"\n"},
        {{"get", "a", "--min-mod-rev=5", "--max-mod-rev=3"},
         4,
         "Error: getMinModRev(=5) > getMaxModRev(=3)\n"},
        {{"compaction", "abc"}, 1, "Error: strconv.ParseInt: parsing \"abc\": invalid syntax\n"},
        {{"member", "add", "m", "http://x"},
         128,
         "Error: too many arguments, did you mean --peer-urls=http://x\n"},
        {{"role", "grant-permission", "r", "sudo", "k"}, 128, "Error: invalid permission type: sudo\n"},
        {{"get", "a", "-w", "yaml"}, 4, "Error: unsupported output format\n"},
        {{"get", "a", "--cert="}, 128, "Error: empty string is passed to --cert option\n"},
        {{"get", "a", "--cert=/no/such"},
         128,
         "Error: KeyFile and CertFile must both be present[key: , cert: /no/such]\n"},
        {{"get", "a", "--cacert=/no/such"}, 128, "Error: open /no/such: no such file or directory\n"},
        {{"get", "a", "--endpoints="}, 2, "Error: etcdclient: no available endpoints\n"},
        {{"completion", "fishy"}, 1, "Error: invalid argument \"fishy\" for \"etcdctl completion\"\n"},
        {{"completion"}, 1, "Error: accepts 1 arg(s), received 0\n"},
        {{"elect", "e"}, 128, "Error: no proposal argument but -l not set\n"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(run(&captured, lines[i].line), lines[i].status);
        assert_string_equal(buf_string(&captured.err), lines[i].error);
    }
    buf_deinit(&captured.out);
    buf_deinit(&captured.err);
}

static void check_entry(void *context, const struct command_path *path)
{
    struct arena *arena = context;
    const struct command *command = command_of(path);
    struct flag_set flags;
    assert_non_null(command->run);
    assert_true(command->summary[0] != 0);
    command_flags(path, arena, true, &flags);
    for (size_t i = 0; i < flags.count; i++) {
        assert_true(flags.values[i].flag->help[0] != 0);
        /* No name and no letter twice. */
        assert_ptr_equal(flag_find(&flags, flags.values[i].flag->name), &flags.values[i]);
        if (flags.values[i].flag->shorthand != 0)
            assert_ptr_equal(flag_find_shorthand(&flags, flags.values[i].flag->shorthand), &flags.values[i]);
    }
}

static void every_entry_of_the_table_is_complete(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    command_visit(&command_root, check_entry, arena);
    arena_free(arena);
}

/* The committed page is made by `etcdctl --help-man`. */
static void the_man_page_is_up_to_date(void **state)
{
    (void)state;
    const char *source = getenv("srcdir");
    struct arena *arena = arena_new();
    struct buf page = {0}, committed = {0};
    FILE *file = fopen(arena_printf(arena, "%s/doc/etcdctl.1", source != NULL ? source : "."), "r");
    assert_non_null(file);
    for (int byte = fgetc(file); byte != EOF; byte = fgetc(file)) buf_append_byte(&committed, (uint8_t)byte);
    fclose(file);
    help_man_page(&page, &command_manual, arena);
    assert_string_equal(buf_string(&committed), buf_string(&page));
    buf_deinit(&page);
    buf_deinit(&committed);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_may_be_cut_short_as_long_as_they_are_unique),
        cmocka_unit_test(unknown_names_get_suggestions),
        cmocka_unit_test(groups_and_help_print_help),
        cmocka_unit_test(flag_errors_print_usage_on_standard_output),
        cmocka_unit_test(arguments_are_checked_before_anybody_is_called),
        cmocka_unit_test(every_entry_of_the_table_is_complete),
        cmocka_unit_test(the_man_page_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
