/* snapshot: the backend's snapshot as a file. */
#include "shell/commands.h"
#include "shell/etcdutl.h"
#include "shell/shell.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

/* The stream: the database, then the SHA-256 of it, which stays in the file. Databases are whole pages, at
 * least this large, so the remainder tells whether the checksum is there. */
enum {
    CHECKSUM_SIZE = 32,
    SECTOR_SIZE = 512,
};

struct download {
    int descriptor;
    EVP_MD_CTX *digest;          /* over everything but the last CHECKSUM_SIZE bytes */
    uint8_t tail[CHECKSUM_SIZE]; /* the last bytes so far */
    size_t tail_size;
    uint64_t size;
    char *version; /* the server's, from the first message; NULL: none told */
};

static struct error *write_all(int descriptor, struct bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t size = write(descriptor, bytes.data, bytes.size);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return error_system(errno, "write");
        bytes = bytes_of(bytes.data + size, bytes.size - (size_t)size);
    }
    return NULL;
}

/* Feeds the digest with everything but the last CHECKSUM_SIZE bytes of what has come. */
static void digest_chunk(struct download *download, struct bytes chunk)
{
    struct buf joined = {0};
    buf_append(&joined, download->tail, download->tail_size);
    buf_append_bytes(&joined, chunk);
    size_t kept = joined.size < CHECKSUM_SIZE ? joined.size : CHECKSUM_SIZE;
    if (joined.size > kept) EVP_DigestUpdate(download->digest, joined.data, joined.size - kept);
    if (kept > 0) memcpy(download->tail, joined.data + joined.size - kept, kept);
    download->tail_size = kept;
    buf_deinit(&joined);
}

static struct error *take_chunk(struct download *download, const Etcdserverpb__SnapshotResponse *response)
{
    struct bytes chunk = bytes_of(response->blob.data, response->blob.len);
    if (download->version == NULL && response->version[0] != 0) download->version = strdup(response->version);
    digest_chunk(download, chunk);
    download->size += chunk.size;
    return write_all(download->descriptor, chunk);
}

static struct error *check_download(struct download *download)
{
    if (download->size % SECTOR_SIZE != CHECKSUM_SIZE)
        return error_new(ERROR_CORRUPT, "sha256 checksum not found [bytes: %llu]",
                         (unsigned long long)download->size);
    uint8_t computed[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(download->digest, computed, NULL);
    if (memcmp(computed, download->tail, CHECKSUM_SIZE) != 0)
        return error_new(ERROR_CORRUPT, "the snapshot's sha256 checksum does not match its content");
    if (fsync(download->descriptor) != 0) return error_system(errno, "fsync");
    return NULL;
}

static struct error *as_error(struct client_error *failure)
{
    struct buf text = {0};
    client_error_format(&text, failure);
    struct error *error = error_new(ERROR_OTHER, "%s", buf_string(&text));
    buf_deinit(&text);
    client_error_free(failure);
    return error;
}

static struct error *receive(struct shell *shell, struct download *download, int64_t deadline)
{
    const Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    const struct client_call_options options = {.deadline = deadline};
    struct blocking_inbox *inbox = blocking_inbox_new(shell->client);
    blocking_stream(inbox, CLIENT_SNAPSHOT, &request.base, &options, NULL);
    struct error *error = NULL;
    for (bool more = true; more && error == NULL;) {
        struct blocking_event event;
        if (blocking_next(inbox, 0, &event) == BLOCKING_INTERRUPTED) {
            error = error_new(ERROR_CANCELED, "context canceled");
            break;
        }
        more = event.kind == CLIENT_EVENT_MESSAGE;
        if (more)
            error = take_chunk(download, (const Etcdserverpb__SnapshotResponse *)event.response);
        else if (event.error != NULL) {
            error = as_error(event.error);
            event.error = NULL;
        }
        blocking_event_deinit(&event);
    }
    blocking_inbox_free(inbox);
    return error == NULL ? check_download(download) : error;
}

static int fail(struct shell *shell, struct error *error)
{
    shell_fail(shell, SHELL_INTERRUPTED, "%s", error->text);
    error_free(error);
    return SHELL_INTERRUPTED;
}

static int save(struct shell *shell, const char *path, int64_t deadline, struct download *download)
{
    const char *part = arena_printf(shell->arena, "%s.part", path);
    download->descriptor = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (download->descriptor < 0) {
        const char *why = strerror(errno);
        return shell_fail(shell, SHELL_INTERRUPTED, "could not open %s (open %s: %c%s)", part, part,
                          tolower((unsigned char)why[0]), why + 1);
    }
    const struct log_field created = LOG_STRING("path", part);
    shell_log(shell, LOG_INFO, "created temporary db file", &created, 1);
    struct error *error = receive(shell, download, deadline);
    close(download->descriptor);
    if (error == NULL && rename(part, path) != 0)
        error = error_system(errno, "could not rename %s to %s", part, path);
    if (error == NULL) {
        const struct log_field fields[] = {LOG_SIZE("size", download->size), LOG_STRING("path", path)};
        shell_log(shell, LOG_INFO, "saved", fields, 2);
        return SHELL_OK;
    }
    unlink(part);
    return fail(shell, error);
}

static int run_save(struct shell *shell, const struct invocation *line)
{
    if (line->words.count != 1)
        return shell_fail(shell, SHELL_BAD_ARGUMENTS, "snapshot save expects one argument <filename>");
    int status = shell_open(shell, line);
    if (status != SHELL_OK) return status;
    const struct flag_value *endpoints = flag_find(&line->flags, "endpoints");
    if (endpoints->list_size > 1) {
        struct buf text = {0};
        for (size_t i = 0; i < endpoints->list_size; i++)
            buf_printf(&text, "%s%s", i > 0 ? " " : "", endpoints->list[i]);
        status = shell_fail(shell, SHELL_INTERRUPTED,
                            "snapshot must be requested to one selected node, not multiple [%s]",
                            buf_string(&text));
        buf_deinit(&text);
        return status;
    }
    const char *path = word_string(&line->words, 0);
    struct download download = {.digest = EVP_MD_CTX_new()};
    EVP_DigestInit_ex(download.digest, EVP_sha256(), NULL);
    /* Large databases take their time: no limit unless one was asked for. */
    int64_t deadline =
        flag_changed(&line->flags, "command-timeout") ? client_deadline_after(shell->command_timeout) : 0;
    status = save(shell, path, deadline, &download);
    if (status == SHELL_OK) shell_print(shell, "Snapshot saved at %s\n", path);
    if (status == SHELL_OK && download.version != NULL)
        shell_print(shell, "Server version %s\n", download.version);
    EVP_MD_CTX_free(download.digest);
    free(download.version);
    return status;
}

static const struct command snapshot_save = {.name = "save",
                                             .usage = "<filename>",
                                             .summary =
                                                 "Stores an etcd node backend snapshot to a given file",
                                             .run = run_save};

/* ---- what has moved to etcdutl ---- */

static int run_status(struct shell *shell, const struct invocation *line)
{
    shell_print_error(shell, "Deprecated: Use `etcdutl snapshot status` instead.\n\n");
    return etcdutl_snapshot_status.run(shell, line);
}

static const struct command snapshot_status = {
    .name = "status",
    .usage = "<filename>",
    .summary = "[deprecated] Gets backend snapshot status of a given file; use etcdutl",
    .run = run_status,
};

static int run_restore(struct shell *shell, const struct invocation *line)
{
    shell_print_error(shell, "Deprecated: Use `etcdutl snapshot restore` instead.\n\n");
    return etcdutl_snapshot_restore.run(shell, line);
}

static const struct command snapshot_restore = {
    .name = "restore",
    .usage = "<filename> [options]",
    .summary = "[deprecated] Restores an etcd member snapshot to an etcd directory; use etcdutl",
    .flags = etcdutl_restore_flags,
    .run = run_restore,
};

static const struct command *const snapshot_children[] = {&snapshot_save, &snapshot_restore, &snapshot_status,
                                                          NULL};

const struct command command_snapshot = {
    .name = "snapshot",
    .usage = "<subcommand>",
    .summary = "Manages etcd node snapshots",
    .children = snapshot_children,
};
