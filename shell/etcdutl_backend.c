/* defrag, hashkv, migrate: work on a backend that no server has open. */
#include "base/text.h"
#include "member/migrate.h"
#include "mvcc/store.h"
#include "shell/etcdutl.h"
#include "storage/backend.h"
#include "storage/datadir.h"

#include <inttypes.h>
#include <stdio.h>

#define LOCK_RETRY    (50 * INT64_C(1000000))
#define LOCK_PATIENCE (1000 * INT64_C(1000000))

static uint64_t now_nanoseconds(void *context)
{
    (void)context;
    return (uint64_t)client_now();
}

/* ---- defrag ---- */

static const struct flag defrag_flags[] = {
    {"data-dir", 0, FLAG_STRING, "", "Required. Defragments a data directory not in use by etcd.", NULL},
    {0},
};

/* Waits for a server to let go of the file, for ever; says so after a while. */
static struct error *open_patiently(struct shell *shell, const char *path, struct backend **backend)
{
    const struct backend_options options = {.logger = etcdutl_logger(shell), .now = now_nanoseconds};
    int64_t began = client_now();
    bool told = false;
    for (;;) {
        struct error *error = backend_open(fs_real(), path, &options, backend);
        if (!error_is(error, ERROR_LOCKED)) return error;
        if (!told && client_now() - began >= LOCK_PATIENCE) {
            struct buf quoted = {0};
            text_go_quote(&quoted, bytes_from_string(path));
            shell_print_error(
                shell,
                "waiting for etcd to close and release its lock on %s. To defrag a running etcd "
                "instance, use `etcdctl defrag` instead.\n",
                buf_string(&quoted));
            buf_deinit(&quoted);
            told = true;
        }
        if (!shell_sleep(shell, LOCK_RETRY)) return error;
        error_free(error);
    }
}

static struct error *defragment(struct shell *shell, const char *path)
{
    struct backend *backend;
    bool is_fatal;
    TRY(etcdutl_stat(path));
    TRY(open_patiently(shell, path, &backend));
    struct error *error = backend_defragment(backend, &is_fatal);
    struct error *second = backend_close(backend);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

static int run_defrag(struct shell *shell, const struct invocation *line)
{
    int status = etcdutl_require(shell, line, (const char *const[]){"data-dir", NULL});
    if (status != SHELL_OK) return status;
    const char *data = flag_string(&line->flags, "data-dir");
    struct datadir directory;
    datadir_init(&directory, data, NULL);
    struct error *error = defragment(shell, directory.database);
    if (error != NULL)
        status =
            shell_fail(shell, SHELL_FAILED, "Failed to defragment etcd data[%s] (%s)", data, error->text);
    error_free(error);
    datadir_deinit(&directory);
    return status;
}

const struct command etcdutl_defrag = {
    .name = "defrag",
    .usage = "",
    .summary = "Defragments the storage of the etcd",
    .flags = defrag_flags,
    .run = run_defrag,
};

/* ---- hashkv ---- */

static const struct flag hashkv_flags[] = {
    {"rev", 0, FLAG_INT, "0", "Highest revision that counts (0: the latest)", NULL},
    {0},
};

enum { HASH_COLUMNS = 3, CELL_SIZE = 24 };

struct hash_cells {
    char texts[HASH_COLUMNS][CELL_SIZE];
    const char *cells[HASH_COLUMNS];
};

static void fill_cells(struct hash_cells *row, const struct mvcc_hash *hash)
{
    snprintf(row->texts[0], CELL_SIZE, "%u", hash->hash);
    snprintf(row->texts[1], CELL_SIZE, "%" PRId64, hash->revision);
    snprintf(row->texts[2], CELL_SIZE, "%" PRId64, hash->compact_revision);
    for (size_t i = 0; i < HASH_COLUMNS; i++) row->cells[i] = row->texts[i];
}

static void hash_simple(struct print_target *target, const void *response, const void *detail)
{
    struct hash_cells row;
    (void)detail;
    fill_cells(&row, response);
    print_joined(target->out, HASH_COLUMNS, row.cells, 1);
}

static void hash_table(struct print_target *target, const void *response, const void *detail)
{
    static const char *const header[HASH_COLUMNS] = {"HASH", "HASH REVISION", "COMPACT REVISION"};
    struct hash_cells row;
    (void)detail;
    fill_cells(&row, response);
    print_table(target->out, HASH_COLUMNS, header, row.cells, 1);
}

static void hash_json(struct print_target *target, const void *response, const void *detail)
{
    const struct mvcc_hash *hash = response;
    (void)detail;
    buf_printf(target->out, "{\"hash\":%u,\"hashRevision\":%" PRId64 ",\"compactRevision\":%" PRId64 "}\n",
               hash->hash, hash->revision, hash->compact_revision);
}

static void hash_fields(struct print_target *target, const void *response, const void *detail)
{
    const struct mvcc_hash *hash = response;
    (void)detail;
    print_field_uint(target, "Hash", hash->hash);
    print_field_int(target, "Hash revision", hash->revision);
    print_field_int(target, "Compact revision", hash->compact_revision);
}

static const struct presentation present_hash = {.by_format = {
                                                     [OUTPUT_SIMPLE] = hash_simple,
                                                     [OUTPUT_FIELDS] = hash_fields,
                                                     [OUTPUT_JSON] = hash_json,
                                                     [OUTPUT_TABLE] = hash_table,
                                                 }};

static struct error *hash_store(struct mvcc_store *store, int64_t revision, struct mvcc_hash *hash)
{
    enum { ROWS_PER_STEP = 100000 };
    struct mvcc_hash_job *job = NULL;
    bool done = false;
    switch (mvcc_hash_begin(store, revision, &job)) {
    case MVCC_OK:
        break;
    case MVCC_COMPACTED:
        return error_new(ERROR_INVALID, "mvcc: required revision has been compacted");
    case MVCC_FUTURE_REVISION:
        return error_new(ERROR_INVALID, "mvcc: required revision is a future revision");
    }
    struct error *error = NULL;
    while (error == NULL && !done) error = mvcc_hash_step(job, ROWS_PER_STEP, &done);
    mvcc_hash_finish(job, error == NULL ? hash : NULL);
    return error;
}

static struct error *hash_file(struct shell *shell, const char *path, int64_t revision,
                               struct mvcc_hash *hash)
{
    const struct backend_options options = {.read_only = true, .logger = etcdutl_logger(shell)};
    struct backend *backend;
    struct mvcc_store *store = NULL;
    TRY(etcdutl_stat(path));
    TRY(backend_open(fs_real(), path, &options, &backend));
    struct error *error = mvcc_open(backend, &(const struct mvcc_options){.logger = NULL}, &store);
    if (error == NULL) error = hash_store(store, revision, hash);
    mvcc_close(store);
    struct error *second = backend_close(backend);
    if (error == NULL) return second;
    error_free(second);
    return error;
}

static int run_hashkv(struct shell *shell, const struct invocation *line)
{
    struct mvcc_hash hash;
    if (line->words.count != 1)
        return etcdutl_misuse(shell, line, "accepts 1 arg(s), received %zu", line->words.count);
    int status = etcdutl_take_format(shell, line);
    if (status != SHELL_OK) return status;
    struct error *error =
        hash_file(shell, word_string(&line->words, 0), flag_find(&line->flags, "rev")->integer, &hash);
    if (error != NULL) return etcdutl_fail(shell, SHELL_FAILED, error);
    return shell_show(shell, &present_hash, &hash, NULL);
}

const struct command etcdutl_hashkv = {
    .name = "hashkv",
    .usage = "<filename>",
    .summary = "Prints the KV history hash of a given file",
    .flags = hashkv_flags,
    .run = run_hashkv,
};

/* ---- migrate ---- */

static const struct flag migrate_flags[] = {
    {"data-dir", 0, FLAG_STRING, "", "Path to the etcd data dir", NULL},
    {"force", 0, FLAG_BOOL, "false",
     "Change the version although the log or this release speaks against it; not recommended", NULL},
    {"target-version", 0, FLAG_STRING, "", "X.Y of the etcd that is to take the directory, from 3.5 on",
     NULL},
    {0},
};

static int parse_target(struct shell *shell, const char *text, struct version *target)
{
    struct buf quoted = {0};
    int status = SHELL_OK;
    size_t dots = 0;
    for (const char *at = text; *at != 0; at++) dots += *at == '.';
    text_go_quote(&quoted, bytes_from_string(text));
    if (dots != 1)
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS,
                            "wrong target version format, expected \"X.Y\", got %s", buf_string(&quoted));
    else if (!version_parse_target(bytes_from_string(text), target))
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "failed to parse target version: %s is no version",
                            buf_string(&quoted));
    else if (version_compare_minor(*target, version_of(3, 5)) < 0)
        status = shell_fail(shell, SHELL_BAD_ARGUMENTS, "target version %s not supported. Minimal \"3.5\"",
                            buf_string(&quoted));
    buf_deinit(&quoted);
    return status;
}

static int run_migrate(struct shell *shell, const struct invocation *line)
{
    struct version target;
    int status = etcdutl_require(shell, line, (const char *const[]){"data-dir", "target-version", NULL});
    if (status == SHELL_OK)
        status = parse_target(shell, flag_string(&line->flags, "target-version"), &target);
    if (status != SHELL_OK) return status;
    struct error *error = member_migrate(fs_real(), flag_string(&line->flags, "data-dir"), target,
                                         flag_bool(&line->flags, "force"), etcdutl_logger(shell));
    return error == NULL ? SHELL_OK : etcdutl_fail(shell, SHELL_FAILED, error);
}

const struct command etcdutl_migrate = {
    .name = "migrate",
    .usage = "",
    .summary = "Changes the storage version of a data directory for a newer or older etcd",
    .flags = migrate_flags,
    .run = run_migrate,
};
