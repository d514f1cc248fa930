/* Log lines, byte by byte, and where they go. */
#include "server/logging.h"

#include "base/buf.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define NOON INT64_C(1767355445678901234) /* 2026-01-02T12:04:05.678901234Z */

static void line_is(enum logging_format format, const struct log_record *record, const char *expected)
{
    struct buf line = {0};
    logging_format_line(&line, format, record, NOON);
    assert_string_equal(buf_string(&line), expected);
    buf_deinit(&line);
}

static const char *const urls[] = {"http://a:1", "http://b:2"};

static const struct log_record *example(void)
{
    static struct log_field fields[10];
    size_t count = 0;
    fields[count++] = LOG_STRING("text", "say \"<hi>\"\n\x01 \xc2\xb5");
    fields[count++] = LOG_HEX("id", 0xabc);
    fields[count++] = LOG_INT("number", -5);
    fields[count++] = (struct log_field){.kind = LOG_FIELD_ABSENT};
    fields[count++] = LOG_DURATION("took", 2718959);
    fields[count++] = LOG_SIZE("size", 25000);
    fields[count++] = LOG_BOOL("flag", true);
    fields[count++] = LOG_STRINGS("urls", urls, 2);
    static struct log_record record;
    record = (struct log_record){.level = LOG_INFO,
                                 .file = "/build/tree/server/main.c",
                                 .line = 73,
                                 .message = "Running: ",
                                 .fields = fields,
                                 .field_count = count};
    return &record;
}

static void json_lines_are_zaps(void **state)
{
    (void)state;
    line_is(
        LOGGING_JSON, example(),
        "{\"level\":\"info\",\"ts\":\"2026-01-02T12:04:05.678901Z\",\"caller\":\"server/main.c:73\",\"msg\":"
        "\"Running: \",\"text\":\"say \\\"<hi>\\\"\\n\\u0001 \xc2\xb5\",\"id\":\"abc\",\"number\":-5,"
        "\"took\":\"2.718959ms\",\"size\":\"25 "
        "kB\",\"flag\":true,\"urls\":[\"http://a:1\",\"http://b:2\"]}\n");
    const struct log_record raft = {
        .level = LOG_WARN, .name = "raft", .file = "x.c", .line = 1, .message = "lost"};
    line_is(LOGGING_JSON, &raft,
            "{\"level\":\"warn\",\"ts\":\"2026-01-02T12:04:05.678901Z\",\"logger\":\"raft\",\"caller\":"
            "\"x.c:1\",\"msg\":\"lost\"}\n");
}

static void console_lines_are_tab_separated(void **state)
{
    (void)state;
    static const struct log_field fields[] = {{.key = "k", .kind = LOG_FIELD_STRING, .string = "v"},
                                              {.key = "n", .kind = LOG_FIELD_INT, .integer = 1}};
    const struct log_record record = {
        .level = LOG_INFO, .file = "a/b.c", .line = 2, .message = "done", .fields = fields, .field_count = 2};
    line_is(LOGGING_CONSOLE, &record,
            "2026-01-02T12:04:05.678901Z\tinfo\ta/b.c:2\tdone\t{\"k\": \"v\", \"n\": 1}\n");
    const struct log_record bare = {
        .level = LOG_WARN, .name = "raft", .file = "b.c", .line = 3, .message = "done"};
    line_is(LOGGING_CONSOLE, &bare, "2026-01-02T12:04:05.678901Z\twarn\traft\tb.c:3\tdone\n");
}

static void time_is_local_with_its_zone(void **state)
{
    (void)state;
    setenv("TZ", "Asia-8", 1);
    tzset();
    const struct log_record record = {.level = LOG_INFO, .file = "b.c", .line = 3, .message = "m"};
    line_is(LOGGING_CONSOLE, &record, "2026-01-02T20:04:05.678901+0800\tinfo\tb.c:3\tm\n");
    setenv("TZ", "UTC", 1);
    tzset();
}

static void levels_have_zaps_names(void **state)
{
    (void)state;
    enum log_level level;
    assert_true(logging_parse_level("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(logging_parse_level("panic", &level));
    assert_false(logging_parse_level("verbose", &level));
    assert_false(logging_parse_level("", &level));
}

/* ---- outputs ---- */

static size_t count_lines(const char *path)
{
    size_t count = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    for (int c; (c = fgetc(file)) != EOF;) count += c == '\n';
    fclose(file);
    return count;
}

static void refuses_outputs(const char *outputs, const char *text)
{
    const struct logger *logger = NULL;
    struct error *error = logging_open(&(const struct logging_options){.outputs = outputs}, &logger);
    if (error == NULL) fail_msg("%s was accepted", outputs);
    if (strstr(error->text, text) == NULL) fail_msg("%s", error->text);
    error_free(error);
    assert_null(logger);
}

static void lines_go_to_every_output(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_logging.XXXXXX", outputs[128], paths[2][64];
    const struct logger *logger = NULL;
    assert_non_null(mkdtemp(directory));
    for (int i = 0; i < 2; i++) snprintf(paths[i], sizeof(paths[i]), "%s/%d", directory, i);
    snprintf(outputs, sizeof(outputs), "%s,%s", paths[0], paths[1]);
    struct error *error =
        logging_open(&(const struct logging_options){.outputs = outputs, .level = LOG_INFO}, &logger);
    assert_null(error);
    log_info(logger, "one");
    log_debug(logger, "too fine");
    /* Of repeats the first hundred in a second and then every hundredth; a second may turn in between. */
    for (int i = 0; i < 1000; i++) log_info(logger, "again");
    assert_in_range(count_lines(paths[0]), 1 + 100 + 9, 1 + 2 * 100 + 9);
    assert_int_equal(count_lines(paths[0]), count_lines(paths[1]));
    size_t before = count_lines(paths[0]);
    snprintf(outputs, sizeof(outputs), "%s,/dev/null", paths[0]);
    error = logging_open(&(const struct logging_options){.outputs = outputs, .level = LOG_INFO}, &logger);
    assert_null(error);
    log_info(logger, "unheard");
    assert_int_equal(count_lines(paths[0]), before);
    logging_close();
    for (int i = 0; i < 2; i++) unlink(paths[i]);
    rmdir(directory);
}

static void outputs_that_cannot_be_are_refused(void **state)
{
    (void)state;
    refuses_outputs("default,stdout", "multi logoutput for \"default\" is not supported yet");
    refuses_outputs("systemd/journal,stdout", "the journal cannot be combined");
    refuses_outputs("/nowhere/x", "open sink \"/nowhere/x\": open /nowhere/x: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_are_zaps),         cmocka_unit_test(console_lines_are_tab_separated),
        cmocka_unit_test(time_is_local_with_its_zone), cmocka_unit_test(levels_have_zaps_names),
        cmocka_unit_test(lines_go_to_every_output),    cmocka_unit_test(outputs_that_cannot_be_are_refused),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
