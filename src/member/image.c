#include "member/image.h"

#include "cluster/cluster.h"
#include "storage/backend.h"

static void write_membership(struct buf *out, const struct cluster *cluster)
{
    struct version version = {0};
    (void)cluster_version(cluster, &version);
    cluster_members_write(out, cluster);
    for (size_t i = 0; i < cluster_removed_count(cluster); i++)
        buf_printf(out, " %llx", (unsigned long long)cluster_removed_at(cluster, i));
    version_format(out, version);
}

static bool are_same(const struct cluster *a, const struct cluster *b)
{
    struct buf first = {0}, second = {0};
    write_membership(&first, a);
    write_membership(&second, b);
    bool same = bytes_equal(buf_bytes(&first), buf_bytes(&second));
    buf_deinit(&first);
    buf_deinit(&second);
    return same;
}

/* False: there is none, as from members since 3.7. */
static bool read_v2_store(const struct raft_snapshot *snapshot, struct cluster *told)
{
    if (snapshot->data == NULL) return false;
    struct error *error = cluster_v2_snapshot_read(told, blob_bytes(snapshot->data));
    bool valid = error == NULL;
    error_free(error);
    return valid && cluster_member_count(told) > 0;
}

static struct error *correct(struct backend *backend, const char *path, struct cluster *told,
                             const struct logger *logger)
{
    struct cluster *rows = cluster_new(&(const struct cluster_options){.logger = NULL});
    struct error *error = cluster_load(rows, backend);
    if (error == NULL) cluster_set_downgrade(told, NULL, cluster_downgrade(rows));
    if (error == NULL && !are_same(rows, told)) {
        log_info(logger, "the members in a received database are not those that its sender tells; correcting",
                 LOG_STRING("path", path));
        error = cluster_store(told, backend);
        if (error == NULL) error = backend_commit_active(backend);
    }
    cluster_free(rows);
    return error;
}

struct error *member_check_image(struct fs *fs, const char *path, const struct raft_snapshot *snapshot,
                                 const struct logger *logger)
{
    TRY(backend_check_image(fs, path, snapshot->index));
    struct cluster *told = cluster_new(&(const struct cluster_options){.logger = NULL});
    struct error *error = NULL;
    if (read_v2_store(snapshot, told)) {
        const struct backend_options options = {.logger = logger};
        struct backend *backend = NULL;
        error = backend_open(fs, path, &options, &backend);
        if (error == NULL) {
            error = correct(backend, path, told, logger);
            struct error *second = backend_close(backend);
            if (error == NULL)
                error = second;
            else
                error_free(second);
        }
    }
    cluster_free(told);
    return error == NULL ? NULL : error_wrap(error, "received database %s", path);
}
