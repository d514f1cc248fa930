/* Log lines, byte by byte, and where they go. */
#include "server/logging.h"

#include "base/buf.h"
#include "net/loop.h"
#include "server/log_rotation.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

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
    static struct log_field fields[11];
    size_t count = 0;
    fields[count++] = LOG_STRING("text", "say \"<hi>\"\n\x01 \xc2\xb5");
    fields[count++] = LOG_HEX("id", 0xabc);
    fields[count++] = LOG_INT("number", -5);
    fields[count++] = LOG_DOUBLE("share", 0.1);
    fields[count++] = (struct log_field){.kind = LOG_FIELD_ABSENT};
    fields[count++] = LOG_DURATION("took", 2718959);
    fields[count++] = LOG_TIME("began", NOON);
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
        "\"share\":0.1,"
        "\"took\":\"2.718959ms\",\"began\":\"2026-01-02T12:04:05.678901Z\",\"size\":\"25 "
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

static void old_lines_are_capnslogs(void **state)
{
    (void)state;
    static const struct log_field fields[] = {{.key = "k", .kind = LOG_FIELD_STRING, .string = "v"},
                                              {.kind = LOG_FIELD_ABSENT},
                                              {.key = "n", .kind = LOG_FIELD_INT, .integer = 1}};
    const struct log_record record = {.level = LOG_WARN,
                                      .file = "../server/main.c",
                                      .line = 2,
                                      .message = "done",
                                      .fields = fields,
                                      .field_count = 3};
    line_is(LOGGING_CAPNSLOG, &record, "2026-01-02 12:04:05.678901 W | server: done k=\"v\" n=1\n");
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
    /* Of repeats, with whatever numbers in them, the first hundred in a second and then every hundredth; a
     * second may turn in between. */
    for (int i = 0; i < 1000; i++) {
        char message[32];
        snprintf(message, sizeof(message), "again[%d]", i);
        log_info(logger, message);
    }
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

/* ---- rotation ---- */

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_logging.XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static unsigned next;
    next = !next;
    snprintf(path[next], sizeof(path[next]), "%s/%s", folder, name);
    return path[next];
}

static size_t count_files(void)
{
    size_t count = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void remove_folder(void)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') unlink(in_folder(entry->d_name));
    closedir(directory);
    assert_int_equal(rmdir(folder), 0);
}

static bool exists(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static void file_holds(const char *name, const char *expected)
{
    char content[256];
    gzFile file = gzopen(in_folder(name), "rb"); /* reads plain files as they are */
    assert_non_null(file);
    int size = gzread(file, content, sizeof(content) - 1);
    gzclose(file);
    assert_in_range(size, 0, sizeof(content) - 1);
    content[size] = '\0';
    assert_string_equal(content, expected);
}

static struct log_rotation *open_rotation(struct log_rotation_options options)
{
    struct log_rotation *rotation = NULL;
    struct error *error = log_rotation_open(in_folder("etcd.log"), &options, &rotation);
    if (error != NULL) fail_msg("%s", error->text);
    log_rotation_set_limit(rotation, 10);
    return rotation;
}

static void a_full_file_is_put_aside_under_its_time(void **state)
{
    (void)state;
    struct stat status;
    make_folder();
    struct log_rotation *rotation = open_rotation((struct log_rotation_options){0});
    log_rotation_write(rotation, BYTES_LITERAL("12345\n"), NOON);
    log_rotation_write(rotation, BYTES_LITERAL("678\n"), NOON);
    assert_int_equal(count_files(), 1);
    log_rotation_write(rotation, BYTES_LITERAL("longer than the limit\n"), NOON);
    file_holds("etcd-2026-01-02T12-04-05.678.log", "12345\n678\n");
    file_holds("etcd.log", "longer than the limit\n");
    assert_int_equal(stat(in_folder("etcd.log"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    log_rotation_close(rotation);
    /* Another process goes on with what is there. */
    rotation = open_rotation((struct log_rotation_options){0});
    log_rotation_write(rotation, BYTES_LITERAL("x\n"), NOON + INT64_C(1000000000));
    file_holds("etcd-2026-01-02T12-04-06.678.log", "longer than the limit\n");
    file_holds("etcd.log", "x\n");
    /* A file that somebody has taken away is made anew. */
    unlink(in_folder("etcd.log"));
    log_rotation_write(rotation, BYTES_LITERAL("123456789\n"), NOON + INT64_C(2000000000));
    file_holds("etcd.log", "123456789\n");
    assert_int_equal(count_files(), 3);
    log_rotation_close(rotation);
    remove_folder();
}

static void old_files_are_removed_and_compressed(void **state)
{
    (void)state;
    make_folder();
    const char *const foreign[] = {"etcd-notes.log", "other-2026-01-02T12-04-05.678.log"};
    for (size_t i = 0; i < 2; i++) close(open(in_folder(foreign[i]), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    struct log_rotation *rotation =
        open_rotation((struct log_rotation_options){.max_backups = 2, .compress = true});
    for (int i = 0; i < 5; i++) {
        struct buf line = {0};
        buf_printf(&line, "line %d....\n", i);
        log_rotation_write(rotation, buf_bytes(&line), NOON + i * INT64_C(1000000000));
        buf_deinit(&line);
    }
    log_rotation_close(rotation);
    file_holds("etcd.log", "line 4....\n");
    file_holds("etcd-2026-01-02T12-04-09.678.log.gz", "line 3....\n");
    file_holds("etcd-2026-01-02T12-04-08.678.log.gz", "line 2....\n");
    assert_false(exists("etcd-2026-01-02T12-04-09.678.log"));
    assert_int_equal(count_files(), 3 + 2);
    /* By age: both are of long ago. */
    rotation = open_rotation((struct log_rotation_options){.max_age_days = 1});
    log_rotation_write(rotation, BYTES_LITERAL("new\n"), clock_wall());
    log_rotation_close(rotation);
    assert_false(exists("etcd-2026-01-02T12-04-09.678.log.gz"));
    assert_int_equal(count_files(), 1 + 1 + 2);
    remove_folder();
}

static void names_may_have_the_local_time(void **state)
{
    (void)state;
    make_folder();
    setenv("TZ", "Asia-8", 1);
    tzset();
    struct log_rotation *rotation =
        open_rotation((struct log_rotation_options){.local_time = true, .max_backups = 1});
    log_rotation_write(rotation, BYTES_LITERAL("1234567890\n"), NOON);
    log_rotation_write(rotation, BYTES_LITERAL("1234567890\n"), NOON);
    log_rotation_close(rotation);
    assert_true(exists("etcd-2026-01-02T20-04-05.678.log"));
    setenv("TZ", "UTC", 1);
    tzset();
    remove_folder();
}

static void refuses_rotation(const char *json, const char *outputs, const char *text)
{
    const struct logger *logger = NULL;
    struct logging_options options = {.outputs = outputs, .rotation = json};
    struct error *error = logging_open(&options, &logger);
    if (error == NULL) fail_msg("%s for %s was accepted", json, outputs);
    if (strstr(error->text, text) == NULL) fail_msg("%s", error->text);
    error_free(error);
}

static void rotation_is_configured_by_json(void **state)
{
    (void)state;
    struct log_rotation_options options;
    struct error *error =
        log_rotation_parse("{\"maxsize\": 7, \"maxage\":1,\"maxbackups\":2, \"compress\":true, \"x\": null}",
                           &options);
    assert_null(error);
    assert_int_equal(options.max_size_mib, 7);
    assert_int_equal(options.max_age_days, 1);
    assert_int_equal(options.max_backups, 2);
    assert_true(options.compress);
    assert_false(options.local_time);
    refuses_rotation("{", "/nowhere/x", "improperly formatted log rotation config: ");
    refuses_rotation("[]", "/nowhere/x", "invalid log rotation config: an object");
    refuses_rotation("{\"maxsize\": \"1\"}", "/nowhere/x", "maxsize must be a number");
    refuses_rotation("{\"maxage\": -1}", "/nowhere/x", "maxage must be a number");
    refuses_rotation("{\"compress\": 1}", "/nowhere/x", "compress must be true or false");
    refuses_rotation("{}", "stderr", "--log-outputs requires a single file path");
    refuses_rotation("{}", "systemd/journal", "--log-outputs requires a single file path");
    refuses_rotation("{}", "/tmp/a,/tmp/b", "--log-outputs requires a single file path");
}

static void a_rotated_log_may_be_shown_too(void **state)
{
    (void)state;
    char outputs[128];
    const struct logger *logger = NULL;
    make_folder();
    snprintf(outputs, sizeof(outputs), "%s/deep/down/etcd.log,/dev/stdout", folder);
    struct logging_options options = {.outputs = outputs, .level = LOG_INFO, .rotation = "{}"};
    struct error *error = logging_open(&options, &logger); /* /dev/stdout is a file like any other */
    assert_non_null(error);
    error_free(error);
    snprintf(outputs, sizeof(outputs), "%s/deep/down/etcd.log,stderr", folder);
    error = logging_open(&options, &logger);
    assert_null(error);
    log_info(logger, "shown");
    logging_close();
    assert_int_equal(count_lines(in_folder("deep/down/etcd.log")), 1);
    unlink(in_folder("deep/down/etcd.log"));
    rmdir(in_folder("deep/down"));
    rmdir(in_folder("deep"));
    remove_folder();
}

/* ---- the journal ---- */

/* A datagram, or the content of the file that came instead of one. */
static size_t receive(int journal, char *text, size_t room)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = text, .iov_len = room};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control)};
    ssize_t size = recvmsg(journal, &header, MSG_CMSG_CLOEXEC);
    assert_true(size >= 0);
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights != NULL) {
        int file;
        memcpy(&file, CMSG_DATA(rights), sizeof(file));
        size = pread(file, text, room, 0);
        close(file);
    }
    assert_in_range(size, 0, room - 1);
    text[size] = '\0';
    return (size_t)size;
}

static void lines_reach_the_journal(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    make_folder();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/journal", folder);
    int journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(journal, (struct sockaddr *)&address, sizeof(address)), 0);
    const struct logger *logger = NULL;
    struct logging_options options = {.outputs = "systemd/journal",
                                      .level = LOG_INFO,
                                      .journal = address.sun_path};
    struct error *error = logging_open(&options, &logger);
    assert_null(error);
    log_warn(logger, "look");
    char *text = malloc(2 * LONG), *value = malloc(LONG + 1);
    assert_non_null(text);
    assert_non_null(value);
    receive(journal, text, 2 * LONG);
    assert_ptr_equal(strstr(text, "PRIORITY=4\nPACKAGE=unit\nSYSLOG_IDENTIFIER="), text);
    assert_non_null(strstr(text, "test_logging\nMESSAGE={\"level\":\"warn\","));
    assert_non_null(strstr(text, ",\"msg\":\"look\"}\n"));
    memset(value, 'x', LONG);
    value[LONG] = '\0';
    log_info(logger, "much", LOG_STRING("value", value));
    assert_true(receive(journal, text, 2 * LONG) > LONG);
    assert_non_null(strstr(text, "PRIORITY=6\n"));
    free(text);
    free(value);
    logging_close();
    close(journal);
    remove_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_are_zaps),
        cmocka_unit_test(console_lines_are_tab_separated),
        cmocka_unit_test(old_lines_are_capnslogs),
        cmocka_unit_test(time_is_local_with_its_zone),
        cmocka_unit_test(levels_have_zaps_names),
        cmocka_unit_test(lines_go_to_every_output),
        cmocka_unit_test(outputs_that_cannot_be_are_refused),
        cmocka_unit_test(a_full_file_is_put_aside_under_its_time),
        cmocka_unit_test(old_files_are_removed_and_compressed),
        cmocka_unit_test(names_may_have_the_local_time),
        cmocka_unit_test(rotation_is_configured_by_json),
        cmocka_unit_test(a_rotated_log_may_be_shown_too),
        cmocka_unit_test(lines_reach_the_journal),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
