/* snapshot status, snapshot restore. */
#include "base/text.h"
#include "member/restore.h"
#include "member/snapshot_file.h"
#include "shell/etcdutl.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- status ---- */

enum { STATUS_COLUMNS = 5, CELL_SIZE = 40 };

struct status_cells {
    char texts[STATUS_COLUMNS][CELL_SIZE];
    const char *cells[STATUS_COLUMNS];
};

static void fill_cells(struct status_cells *row, const struct snapshot_status *status)
{
    struct buf size = {0};
    text_humanize_bytes(&size, status->size);
    snprintf(row->texts[0], CELL_SIZE, "%x", status->hash);
    snprintf(row->texts[1], CELL_SIZE, "%" PRId64, status->revision);
    snprintf(row->texts[2], CELL_SIZE, "%" PRIu64, status->keys);
    snprintf(row->texts[3], CELL_SIZE, "%s", buf_string(&size));
    snprintf(row->texts[4], CELL_SIZE, "%s", status->version);
    for (size_t i = 0; i < STATUS_COLUMNS; i++) row->cells[i] = row->texts[i];
    buf_deinit(&size);
}

static void status_simple(struct print_target *target, const void *response, const void *detail)
{
    struct status_cells row;
    (void)detail;
    fill_cells(&row, response);
    print_joined(target->out, STATUS_COLUMNS, row.cells, 1);
}

static void status_table(struct print_target *target, const void *response, const void *detail)
{
    static const char *const header[STATUS_COLUMNS] = {"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE",
                                                       "VERSION"};
    struct status_cells row;
    (void)detail;
    fill_cells(&row, response);
    print_table(target->out, STATUS_COLUMNS, header, row.cells, 1);
}

static void status_json(struct print_target *target, const void *response, const void *detail)
{
    const struct snapshot_status *status = response;
    (void)detail;
    buf_printf(target->out,
               "{\"hash\":%u,\"revision\":%" PRId64 ",\"totalKey\":%" PRIu64 ",\"totalSize\":%" PRIu64
               ",\"version\":",
               status->hash, status->revision, status->keys, status->size);
    text_json_quote(target->out, bytes_from_string(status->version), true);
    buf_append_string(target->out, "}\n");
}

static void status_fields(struct print_target *target, const void *response, const void *detail)
{
    const struct snapshot_status *status = response;
    (void)detail;
    print_field_uint(target, "Hash", status->hash);
    print_field_int(target, "Revision", status->revision);
    print_field_uint(target, "Keys", status->keys);
    print_field_uint(target, "Size", status->size);
    print_field_quoted(target, "Version", bytes_from_string(status->version));
}

static const struct presentation present_status = {.by_format = {
                                                       [OUTPUT_SIMPLE] = status_simple,
                                                       [OUTPUT_FIELDS] = status_fields,
                                                       [OUTPUT_JSON] = status_json,
                                                       [OUTPUT_TABLE] = status_table,
                                                   }};

static int run_status(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "snapshot status requires exactly one argument");
    int result = etcdutl_take_format(shell, line);
    if (result != SHELL_OK) return result;
    const char *path = word_string(&line->words, 0);
    struct snapshot_status status;
    struct error *error = etcdutl_stat(path);
    if (error == NULL) error = snapshot_file_status(fs_real(), path, &status);
    if (error != NULL) return etcdutl_fail(shell, SHELL_FAILED, error);
    return shell_show(shell, &present_status, &status, NULL);
}

const struct command etcdutl_snapshot_status = {
    .name = "status",
    .usage = "<filename>",
    .summary = "Gets backend snapshot status of a given file",
    .run = run_status,
};

/* ---- restore ---- */

const struct flag etcdutl_restore_flags[] = {
    {"bump-revision", 0, FLAG_UINT, "0", "How much to increase the latest revision after restore", NULL},
    {"data-dir", 0, FLAG_STRING, "", "Path to the output data directory (NAME.etcd if none given)", NULL},
    {"initial-advertise-peer-urls", 0, FLAG_STRING, "http://localhost:2380",
     "List of this member's peer URLs to advertise to the rest of the cluster", NULL},
    {"initial-cluster", 0, FLAG_STRING, "default=http://localhost:2380",
     "Initial cluster configuration for restore bootstrap", NULL},
    {"initial-cluster-token", 0, FLAG_STRING, "etcd-cluster",
     "Initial cluster token for the etcd cluster during restore bootstrap", NULL},
    {"initial-memory-map-size", 0, FLAG_UINT, "10737418240",
     "Bytes of address space to reserve for the database; 0 means the default", NULL},
    {"mark-compacted", 0, FLAG_BOOL, "false",
     "Mark the latest revision after restore as the point of scheduled compaction (required if "
     "--bump-revision > "
     "0, disallowed otherwise)",
     NULL},
    {"name", 0, FLAG_STRING, "default", "Human-readable name for this member", NULL},
    {"skip-hash-check", 0, FLAG_BOOL, "false",
     "Ignore snapshot integrity hash value (required if copied from data directory)", NULL},
    {"wal-dir", 0, FLAG_STRING, "", "Path to the WAL directory (use --data-dir if none given)", NULL},
    {0},
};

static int check_bump(struct shell *shell, uint64_t amount, bool mark)
{
    if (amount > 0 && !mark)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "--mark-compacted required if --revision-bump > 0");
    if (amount == 0 && mark)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS,
                          "--mark-compacted specified but --revision-bump is not set");
    return SHELL_OK;
}

static int run_restore(struct shell *shell, const struct invocation *line)
{
    const struct flag_set *flags = &line->flags;
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "snapshot restore requires exactly one argument");
    uint64_t amount = flag_find(flags, "bump-revision")->unsigned_integer;
    int result = check_bump(shell, amount, flag_bool(flags, "mark-compacted"));
    if (result != SHELL_OK) return result;
    const char *data = flag_string(flags, "data-dir"), *name = flag_string(flags, "name");
    struct restore_options options = {
        .snapshot = word_string(&line->words, 0),
        .name = name,
        .data_directory = data[0] != 0 ? data : arena_printf(shell->arena, "%s.etcd", name),
        .wal_directory = flag_string(flags, "wal-dir"),
        .initial_cluster = flag_string(flags, "initial-cluster"),
        .initial_cluster_token = flag_string(flags, "initial-cluster-token"),
        .initial_advertise_peer_urls = flag_string(flags, "initial-advertise-peer-urls"),
        .skip_hash_check = flag_bool(flags, "skip-hash-check"),
        .map_size = flag_find(flags, "initial-memory-map-size")->unsigned_integer,
        .bump_revision = amount,
        .fs = fs_real(),
        .logger = etcdutl_logger(shell),
        .sha1 = etcdutl_sha1,
    };
    struct error *error = member_restore(&options);
    return error == NULL ? SHELL_OK : etcdutl_fail(shell, SHELL_FAILED, error);
}

const struct command etcdutl_snapshot_restore = {
    .name = "restore",
    .usage = "<filename> --data-dir {output dir} [options]",
    .summary = "Restores an etcd member snapshot to an etcd directory",
    .flags = etcdutl_restore_flags,
    .run = run_restore,
};

static const struct command *const snapshot_children[] = {&etcdutl_snapshot_restore, &etcdutl_snapshot_status,
                                                          NULL};

const struct command etcdutl_snapshot = {
    .name = "snapshot",
    .usage = "<subcommand>",
    .summary = "Manages etcd node snapshots",
    .children = snapshot_children,
};
