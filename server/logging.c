#include "server/logging.h"

#include "base/buf.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUTS_MAX = 16, SAMPLES = 512, SAMPLE_FIRST = 100, SAMPLE_THEREAFTER = 100 };

static struct {
    pthread_mutex_t mutex;
    struct logger logger;
    int outputs[OUTPUTS_MAX];
    size_t output_count;
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

static void append_time(struct buf *line, int64_t wall)
{
    time_t seconds = (time_t)(wall / LOOP_SECOND);
    struct tm local;
    char text[64], zone[16];
    localtime_r(&seconds, &local);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &local);
    strftime(zone, sizeof(zone), "%z", &local);
    buf_printf(line, "\"%s.%06d%s\"", text, (int)(wall % LOOP_SECOND / 1000),
               local.tm_gmtoff == 0 ? "Z" : zone);
}

/* "server/main.c" of whatever path the compiler was given. */
static const char *last_two_parts(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return path;
    while (slash > path && slash[-1] != '/') slash--;
    return slash;
}

static void append_text(struct buf *line, const char *text)
{
    text_json_quote(line, bytes_from_string(text == NULL ? "" : text), false);
}

static void append_value(struct buf *line, const struct log_field *field)
{
    struct buf text = {0};
    switch (field->kind) {
    case LOG_FIELD_STRING:
        append_text(line, field->string);
        break;
    case LOG_FIELD_BYTES:
        text_json_quote(line, field->bytes, false);
        break;
    case LOG_FIELD_INT:
        buf_printf(line, "%lld", (long long)field->integer);
        break;
    case LOG_FIELD_UINT:
        buf_printf(line, "%llu", (unsigned long long)field->unsigned_integer);
        break;
    case LOG_FIELD_HEX:
        buf_printf(line, "\"%llx\"", (unsigned long long)field->unsigned_integer);
        break;
    case LOG_FIELD_BOOL:
        buf_append_string(line, field->boolean ? "true" : "false");
        break;
    case LOG_FIELD_DOUBLE:
        buf_printf(line, "%.17g", field->real);
        break;
    case LOG_FIELD_DURATION:
        text_go_duration(&text, field->integer);
        break;
    case LOG_FIELD_SIZE:
        text_humanize_bytes(&text, field->unsigned_integer);
        break;
    case LOG_FIELD_JSON:
        buf_append_string(line, field->string);
        break;
    case LOG_FIELD_STRINGS:
        buf_append_byte(line, '[');
        for (size_t i = 0; i < field->count; i++) {
            if (i > 0) buf_append_byte(line, ',');
            append_text(line, field->strings[i]);
        }
        buf_append_byte(line, ']');
        break;
    case LOG_FIELD_ABSENT:
        break;
    }
    if (text.size > 0) text_json_quote(line, buf_bytes(&text), false);
    buf_deinit(&text);
}

void logging_format(struct buf *line, const struct log_record *record, int64_t wall_nanoseconds)
{
    buf_printf(line, "{\"level\":\"%s\",\"ts\":", log_level_name(record->level));
    append_time(line, wall_nanoseconds);
    if (record->name != NULL) buf_printf(line, ",\"logger\":\"%s\"", record->name);
    buf_printf(line, ",\"caller\":\"%s:%d\",\"msg\":", last_two_parts(record->file), record->line);
    append_text(line, record->message);
    for (size_t i = 0; i < record->field_count; i++) {
        const struct log_field *field = &record->fields[i];
        if (field->kind == LOG_FIELD_ABSENT) continue;
        buf_append_byte(line, ',');
        append_text(line, field->key);
        buf_append_byte(line, ':');
        append_value(line, field);
    }
    buf_append_string(line, "}\n");
}

/* ---- the process's log ---- */

static bool is_sampled_out(const struct log_record *record, int64_t wall)
{
    uint32_t hash = 2166136261u ^ (uint32_t)record->level;
    for (const char *at = record->message; *at != '\0'; at++) hash = (hash ^ (uint8_t)*at) * 16777619u;
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

static void emit(void *context, const struct log_record *record)
{
    (void)context;
    int64_t wall = clock_wall();
    pthread_mutex_lock(&state.mutex);
    if (!is_sampled_out(record, wall)) {
        buf_clear(&state.line);
        logging_format(&state.line, record, wall);
        for (size_t i = 0; i < state.output_count; i++) write_line(state.outputs[i], buf_bytes(&state.line));
    }
    pthread_mutex_unlock(&state.mutex);
}

static struct error *open_output(const char *name, int *output)
{
    if (strcmp(name, "default") == 0 || strcmp(name, "stderr") == 0) {
        *output = STDERR_FILENO;
    } else if (strcmp(name, "stdout") == 0) {
        *output = STDOUT_FILENO;
    } else {
        *output = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        if (*output < 0) return error_system(errno, "open sink \"%s\": open %s", name, name);
    }
    return NULL;
}

struct error *logging_open(const char *outputs, enum log_level level, const struct logger **logger)
{
    char *list = mem_strdup(outputs), *rest = list, *name;
    struct error *error = NULL;
    while (error == NULL && (name = strsep(&rest, ",")) != NULL && state.output_count < OUTPUTS_MAX) {
        error = open_output(name, &state.outputs[state.output_count]);
        if (error == NULL) state.output_count++;
    }
    free(list);
    state.logger = (struct logger){.level = level, .emit = emit};
    *logger = &state.logger;
    return error;
}

void logging_close(void)
{
    for (size_t i = 0; i < state.output_count; i++)
        if (state.outputs[i] > STDERR_FILENO) close(state.outputs[i]);
    state.output_count = 0;
    buf_deinit(&state.line);
}
