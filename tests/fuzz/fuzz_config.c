/* Arbitrary bytes as a configuration file: it is refused with a reason that names the file, or accepted; what
 * is accepted can be shown in the start-up log, and asked for again it is the same. */
#include "server/options.h"

#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const seeds[] = {
    "name: m1\nsnapshot-count: 5\nlisten-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n"
    "client-transport-security:\n  cert-file:\n  client-cert-auth: false\nlog-outputs: [stderr, '/x']\n",
    "{\"name\": \"j\", \"pre-vote\": false, \"election-timeout\": 5000, \"cors\": null, \"unknown\": [1, "
    "{}]}",
    "discovery-config: {token: t, client: {endpoints: [a, b], secure: {cert: c}, auth: {username: u}}}\n",
    "feature-gates: AllBeta=false,InitialCorruptCheck=true\nauto-compaction-retention: 1h\n"
    "auto-compaction-mode: revision\nquota-backend-bytes: -1\nproxy: off\nenable-v2: true\n",
    "a: &x {b: *x}\nname: *x\n? [complex]\n: key\n",
    "--- !!map\nname: !!str 5\nbackend-batch-interval: 100ms\nmax-wals: 0x10\nheartbeat-interval: 1_00\n",
    "socket-options:\n  reuse-port: true\nexperimental-max-learners: 2\nself-signed-cert-validity: 2\n",
};

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number >= sizeof(seeds) / sizeof(seeds[0])) return false;
    buf_append_string(out, seeds[number]);
    return true;
}

static void take_line(void *context, const struct log_record *record)
{
    struct buf *line = context;
    for (size_t i = 0; i < record->field_count; i++) {
        buf_append_string(line, record->fields[i].key);
        log_field_write(line, &record->fields[i], ",");
    }
}

/* The start-up line, or the reason; true when the file was accepted. */
static bool try_file(const char *path, struct buf *told)
{
    char *arguments[] = {(char *)(uintptr_t) "etcd", (char *)(uintptr_t) "--config-file",
                         (char *)(uintptr_t)path, NULL};
    char *environment[] = {NULL};
    struct options_parsed parsed;
    struct logger logger = {.emit = take_line, .context = told};
    struct error *error = options_parse(3, arguments, environment, &parsed);
    if (error == NULL) error = options_complete(&parsed);
    bool accepted = error == NULL;
    if (accepted) {
        options_log(&parsed.options, &logger, false);
    } else {
        FUZZ_CHECK(parsed.failure == OPTIONS_REFUSED);
        buf_append_string(told, error->text);
    }
    FUZZ_CHECK(told->size > 0);
    for (size_t i = 0; i < parsed.note_count; i++) FUZZ_CHECK(parsed.notes[i].message != NULL);
    error_free(error);
    options_deinit(&parsed);
    return accepted;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    struct buf first = {0}, second = {0};
    if (file < 0) {
        file = memfd_create("fuzz_config", MFD_CLOEXEC);
        FUZZ_CHECK(file >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    FUZZ_CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    bool accepted = try_file(path, &first);
    FUZZ_CHECK(try_file(path, &second) == accepted);
    FUZZ_CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    buf_deinit(&first);
    buf_deinit(&second);
    return 0;
}
