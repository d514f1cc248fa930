#include "server/logging.h"

#include "base/buf.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/loop.h"
#include "server/log_rotation.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

enum { OUTPUTS_MAX = 16, SAMPLES = 512, SAMPLE_FIRST = 100, SAMPLE_THEREAFTER = 100 };

/* Where lines go. */
struct outputs {
    int files[OUTPUTS_MAX];
    size_t count;
    bool is_journal;               /* files[0] is a datagram socket to it */
    struct log_rotation *rotation; /* one more, or NULL */
};

static struct {
    pthread_mutex_t mutex;
    struct logger logger;
    struct outputs outputs;
    enum logging_format format;
    struct buf line;
    /* Counts per (level, message) in the present second, by hash: a collision only samples a little more. */
    struct {
        int64_t second;
        unsigned count;
    } samples[SAMPLES];
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

bool logging_parse_level(const char *name, enum log_level *level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"debug", LOG_DEBUG}, {"info", LOG_INFO},    {"warn", LOG_WARN},  {"error", LOG_ERROR},
                  {"fatal", LOG_FATAL}, {"dpanic", LOG_ERROR}, {"panic", LOG_ERROR}};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(levels[i].name, name) != 0) continue;
        *level = levels[i].level;
        return true;
    }
    return false;
}

/* ---- one line ---- */

static void append_text(struct buf *line, const char *text)
{
    text_json_quote(line, bytes_from_string(text == NULL ? "" : text), false);
}

/* `first` stands before the first field, `next` before each further one. */
static void append_fields(struct buf *line, const struct log_record *record, const char *first,
                          const char *next, const char *behind_key)
{
    const char *before = first;
    for (size_t i = 0; i < record->field_count; i++) {
        const struct log_field *field = &record->fields[i];
        if (field->kind == LOG_FIELD_ABSENT) continue;
        buf_append_string(line, before);
        append_text(line, field->key);
        buf_append_string(line, behind_key);
        log_field_write(line, field, next);
        before = next;
    }
    if (before == next && *first == '\t') buf_append_byte(line, '}');
}

static void append_json(struct buf *line, const struct log_record *record, int64_t wall)
{
    buf_printf(line, "{\"level\":\"%s\",\"ts\":\"", log_level_name(record->level));
    text_local_time(line, wall);
    buf_append_byte(line, '"');
    if (record->name != NULL) buf_printf(line, ",\"logger\":\"%s\"", record->name);
    buf_printf(line, ",\"caller\":\"%s:%d\",\"msg\":", log_record_file(record), record->line);
    append_text(line, record->message);
    append_fields(line, record, ",", ",", ":");
    buf_append_string(line, "}\n");
}

static void append_console(struct buf *line, const struct log_record *record, int64_t wall)
{
    text_local_time(line, wall);
    buf_printf(line, "\t%s\t", log_level_name(record->level));
    if (record->name != NULL) buf_printf(line, "%s\t", record->name);
    buf_printf(line, "%s:%d\t%s", log_record_file(record), record->line, record->message);
    append_fields(line, record, "\t{", ", ", ": ");
    buf_append_byte(line, '\n');
}

/* The package is the folder that the line comes from. */
static void append_capnslog(struct buf *line, const struct log_record *record, int64_t wall)
{
    static const char letters[] = "DIWEC";
    time_t seconds = (time_t)(wall / LOOP_SECOND);
    struct tm local;
    char text[64];
    const char *caller = log_record_file(record);
    localtime_r(&seconds, &local);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    buf_printf(line, "%s.%06d %c | %.*s: %s", text, (int)(wall % LOOP_SECOND / 1000),
               letters[record->level > LOG_FATAL ? LOG_FATAL : record->level], (int)strcspn(caller, "/"),
               caller, record->message);
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind == LOG_FIELD_ABSENT) continue;
        buf_printf(line, " %s=", record->fields[i].key);
        log_field_write(line, &record->fields[i], ",");
    }
    buf_append_byte(line, '\n');
}

void logging_format_line(struct buf *line, enum logging_format format, const struct log_record *record,
                         int64_t wall_nanoseconds)
{
    if (format == LOGGING_CAPNSLOG)
        append_capnslog(line, record, wall_nanoseconds);
    else if (format == LOGGING_CONSOLE)
        append_console(line, record, wall_nanoseconds);
    else
        append_json(line, record, wall_nanoseconds);
}

/* ---- the process's log ---- */

/* Messages that differ in numbers only ("trace[77] put") count as one. */
static bool is_sampled_out(const struct log_record *record, int64_t wall)
{
    uint32_t hash = 2166136261u ^ (uint32_t)record->level;
    for (const char *at = record->message; *at != '\0'; at++)
        if (*at < '0' || *at > '9') hash = (hash ^ (uint8_t)*at) * 16777619u;
    int64_t second = wall / LOOP_SECOND;
    unsigned slot = hash % SAMPLES;
    if (state.samples[slot].second != second) {
        state.samples[slot].second = second;
        state.samples[slot].count = 0;
    }
    unsigned count = ++state.samples[slot].count;
    return count > SAMPLE_FIRST && (count - SAMPLE_FIRST) % SAMPLE_THEREAFTER != 0;
}

static void write_line(int output, struct bytes line)
{
    while (line.size > 0) {
        ssize_t written = write(output, line.data, line.size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return; /* there is nobody left to tell */
        line = bytes_of(line.data + written, line.size - (size_t)written);
    }
}

/* What is too long for a datagram goes as a sealed file, as the journal's protocol wants it. */
static bool send_as_file(int journal, struct bytes message)
{
    int file = memfd_create("journal-message", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (file < 0) return false;
    bool ok = write(file, message.data, message.size) == (ssize_t)message.size &&
              fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr header = {.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &file, sizeof(int));
    ok = ok && sendmsg(journal, &header, MSG_NOSIGNAL) >= 0;
    close(file);
    return ok;
}

/* The journal takes fields as NAME=value lines; a value with a newline in it would need the binary form, and
 * a log line has none but its last byte. */
static bool write_journal(int journal, struct bytes line, const struct log_record *record)
{
    static const char *const priorities[] = {"7", "6", "4", "3", "2"};
    const char *caller = log_record_file(record);
    struct buf message = {0};
    buf_printf(&message, "PRIORITY=%s\nPACKAGE=%.*s\nSYSLOG_IDENTIFIER=%s\nMESSAGE=",
               priorities[record->level > LOG_FATAL ? LOG_FATAL : record->level], (int)strcspn(caller, "/"),
               caller, program_invocation_short_name);
    buf_append_bytes(&message, line);
    bool sent = send(journal, message.data, message.size, MSG_NOSIGNAL) >= 0;
    if (!sent && (errno == EMSGSIZE || errno == ENOBUFS)) sent = send_as_file(journal, buf_bytes(&message));
    buf_deinit(&message);
    return sent;
}

static void write_outputs(struct bytes line, const struct log_record *record, int64_t wall)
{
    const struct outputs *outputs = &state.outputs;
    if (outputs->is_journal) {
        if (!write_journal(outputs->files[0], line, record)) write_line(STDERR_FILENO, line);
        return;
    }
    for (size_t i = 0; i < outputs->count; i++) write_line(outputs->files[i], line);
    if (outputs->rotation != NULL) log_rotation_write(outputs->rotation, line, wall);
}

static void emit(void *context, const struct log_record *record)
{
    (void)context;
    int64_t wall = clock_wall();
    pthread_mutex_lock(&state.mutex);
    if (!is_sampled_out(record, wall)) {
        buf_clear(&state.line);
        logging_format_line(&state.line, state.format, record, wall);
        write_outputs(buf_bytes(&state.line), record, wall);
    }
    pthread_mutex_unlock(&state.mutex);
}

/* ---- outputs ---- */

static struct error *open_journal(const char *path, struct outputs *outputs)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL) path = JOURNAL_SOCKET;
    if (strlen(path) >= sizeof(address.sun_path))
        return error_new(ERROR_INVALID, "can't find journal (%s): the path is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    int journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (journal < 0 || connect(journal, (struct sockaddr *)&address, sizeof(address)) != 0) {
        struct error *error = error_system(errno, "can't find journal (%s)", path);
        if (journal >= 0) close(journal);
        return error;
    }
    outputs->files[outputs->count++] = journal;
    outputs->is_journal = true;
    return NULL;
}

static bool is_stream(const char *name)
{
    return strcmp(name, "default") == 0 || strcmp(name, "stderr") == 0 || strcmp(name, "stdout") == 0;
}

static struct error *open_output(const char *name, const struct logging_options *options,
                                 const struct log_rotation_options *rotation, struct outputs *outputs)
{
    if (outputs->count == OUTPUTS_MAX)
        return error_new(ERROR_LIMIT, "--log-outputs names more than %d outputs", OUTPUTS_MAX);
    if (strcmp(name, "systemd/journal") == 0) return open_journal(options->journal, outputs);
    if (rotation != NULL && !is_stream(name)) return log_rotation_open(name, rotation, &outputs->rotation);
    int output = strcmp(name, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO;
    if (!is_stream(name)) {
        output = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        if (output < 0) return error_system(errno, "open sink \"%s\": open %s", name, name);
    }
    outputs->files[outputs->count++] = output;
    return NULL;
}

static bool names_output(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == size && memcmp(list, name, size) == 0) return true;
    return false;
}

static void close_outputs(struct outputs *outputs)
{
    for (size_t i = 0; i < outputs->count; i++)
        if (outputs->files[i] > STDERR_FILENO) close(outputs->files[i]);
    log_rotation_close(outputs->rotation);
    *outputs = (struct outputs){0};
}

/* Rotation is for one file; streams may stand beside it. */
static struct error *check_rotation(const char *list, const struct logging_options *options,
                                    struct log_rotation_options *rotation)
{
    size_t files = 0;
    if (options->rotation == NULL) return NULL;
    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',') {
        char name[16];
        size_t size = strcspn(list, ",");
        snprintf(name, sizeof(name), "%.*s", size < sizeof(name) ? (int)size : 0, list);
        files += !is_stream(name);
    }
    if (files != 1 || names_output(options->outputs, "systemd/journal"))
        return error_new(ERROR_INVALID, "--log-outputs requires a single file path when "
                                        "--log-rotate-config-json is defined");
    return log_rotation_parse(options->rotation, rotation);
}

static struct error *open_outputs(const struct logging_options *options, struct outputs *outputs)
{
    const char *list = options->outputs;
    bool several = strchr(list, ',') != NULL;
    struct log_rotation_options rotation = {0};
    if (several && names_output(list, "default"))
        return error_new(ERROR_INVALID, "multi logoutput for \"default\" is not supported yet");
    if (several && names_output(list, "systemd/journal"))
        return error_new(ERROR_INVALID, "the journal cannot be combined with other --log-outputs (%s)", list);
    TRY(check_rotation(list, options, &rotation));
    if (names_output(list, "/dev/null")) return NULL;
    char *copy = mem_strdup(list), *rest = copy, *name;
    struct error *error = NULL;
    while (error == NULL && (name = strsep(&rest, ",")) != NULL)
        error = open_output(name, options, options->rotation == NULL ? NULL : &rotation, outputs);
    free(copy);
    return error;
}

struct error *logging_open(const struct logging_options *options, const struct logger **logger)
{
    struct outputs outputs = {0};
    struct error *error = open_outputs(options, &outputs);
    if (error != NULL) {
        close_outputs(&outputs);
        return error;
    }
    close_outputs(&state.outputs);
    state.outputs = outputs;
    state.format = options->format;
    state.logger = (struct logger){.level = options->level, .emit = emit};
    *logger = &state.logger;
    return NULL;
}

void logging_close(void)
{
    close_outputs(&state.outputs);
    buf_deinit(&state.line);
}
