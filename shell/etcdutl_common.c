/* What commands on files share, in etcdutl and in etcdctl. */
#include "base/text.h"
#include "shell/etcdutl.h"

#include <errno.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <time.h>

static void append_time(struct buf *line)
{
    struct tm parts;
    char date[32], zone[8];
    time_t now = time(NULL);
    localtime_r(&now, &parts);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    strftime(zone, sizeof(zone), "%z", &parts);
    if (parts.tm_gmtoff == 0)
        buf_printf(line, "%sZ", date);
    else
        buf_printf(line, "%s%.3s:%s", date, zone, zone + 3);
}

static void emit(void *context, const struct log_record *record)
{
    struct shell *shell = context;
    struct buf line = {0};
    append_time(&line);
    buf_printf(&line, "\t%s\t%s:%d\t%s", log_level_name(record->level), log_record_file(record), record->line,
               record->message);
    const char *between = "\t{";
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind == LOG_FIELD_ABSENT) continue;
        buf_append_string(&line, between);
        text_json_quote(&line, bytes_from_string(record->fields[i].key), false);
        buf_append_string(&line, ": ");
        log_field_write(&line, &record->fields[i], ", ");
        between = ", ";
    }
    buf_append_string(&line, between[0] == ',' ? "}\n" : "\n");
    shell->streams.err.write(shell->streams.err.context, buf_bytes(&line));
    buf_deinit(&line);
}

const struct logger *etcdutl_logger(struct shell *shell)
{
    struct logger *logger = arena_alloc(shell->arena, sizeof(*logger));
    *logger = (struct logger){.level = LOG_INFO, .emit = emit, .context = shell};
    return logger;
}

int etcdutl_fail(struct shell *shell, int code, struct error *error)
{
    const char *hint = error_is(error, ERROR_LOCKED) ? " (stop the etcd that has it open)" : "";
    shell_fail(shell, code, "%s%s", error->text, hint);
    error_free(error);
    return code;
}

int etcdutl_take_format(struct shell *shell, const struct invocation *line)
{
    if (output_format_parse(flag_string(&line->flags, "write-out"), &shell->style.format)) return SHELL_OK;
    return shell_fail(shell, SHELL_BAD_FEATURE, "unsupported output format");
}

struct error *etcdutl_stat(const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0) return NULL;
    if (errno == ENOENT) return error_new(ERROR_NOT_FOUND, "stat %s: no such file or directory", path);
    return error_system(errno, "stat %s", path);
}

void etcdutl_sha1(struct bytes data, uint8_t digest[20])
{
    SHA1(data.data, data.size, digest);
}
