#include "server/startup.h"

#include "cluster/url.h"
#include "storage/backend.h"

#include <errno.h>
#include <sys/mman.h>

/* Pages are locked as they are touched: the map of the database has room to grow that must not be filled. */
struct error *startup_lock_memory(const struct options *options)
{
    if (!options->memory_mlock) return NULL;
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return NULL;
    return error_system(errno, "--memory-mlock: the system refuses to lock memory (is `ulimit -l` too low?)");
}

struct error *startup_defragment(const struct options *options, struct backend *backend,
                                 const struct logger *logger)
{
    uint64_t threshold = options->bootstrap_defrag_threshold_megabytes << 20;
    uint64_t size = backend_size(backend), in_use = backend_size_in_use(backend);
    bool is_fatal = false; /* whatever fails here ends the start */
    if (threshold == 0) return NULL;
    if (size - in_use < threshold) {
        log_info(logger, "Skipping defragmentation", LOG_UINT("current-db-size-bytes", size),
                 LOG_SIZE("current-db-size", size), LOG_UINT("current-db-size-in-use-bytes", in_use),
                 LOG_SIZE("current-db-size-in-use", in_use),
                 LOG_UINT("bootstrap-defrag-threshold-bytes", threshold),
                 LOG_SIZE("bootstrap-defrag-threshold", threshold));
        return NULL;
    }
    struct error *error = backend_defragment(backend, &is_fatal);
    if (error == NULL) error = backend_refresh(backend);
    return error == NULL ? NULL : error_wrap(error, "defragment at the start");
}

void startup_log_urls(const struct logger *logger, const char *message, const char *key, const char *list)
{
    struct cluster_urls urls = {0};
    struct error *error = cluster_urls_parse(list, &urls);
    if (error == NULL)
        log_info(logger, message, LOG_STRINGS(key, (const char *const *)urls.items, urls.count));
    error_free(error); /* listening tells it */
    cluster_urls_deinit(&urls);
}

void startup_log_quota(const struct options *options, const struct logger *logger)
{
    uint64_t quota = options_quota(options);
    if (quota == 0)
        log_info(logger, "disabled backend quota", LOG_STRING("quota-name", "v3-applier"),
                 LOG_INT("quota-size-bytes", options->quota_backend_bytes));
    else
        log_info(logger,
                 options->quota_backend_bytes == 0 ? "enabled backend quota with default value"
                                                   : "enabled backend quota",
                 LOG_STRING("quota-name", "v3-applier"), LOG_UINT("quota-size-bytes", quota),
                 LOG_SIZE("quota-size", quota));
}

void startup_log_end(const struct options *options, const struct logger *logger, const char *message)
{
    struct cluster_urls peer = {0}, client = {0};
    error_free(cluster_urls_parse(options->initial_advertise_peer_urls, &peer)); /* checked at the start */
    error_free(cluster_urls_parse(options->advertise_client_urls, &client));
    log_info(logger, message, LOG_STRING("name", options->name), LOG_STRING("data-dir", options->data_dir),
             LOG_STRINGS("advertise-peer-urls", (const char *const *)peer.items, peer.count),
             LOG_STRINGS("advertise-client-urls", (const char *const *)client.items, client.count));
    cluster_urls_deinit(&peer);
    cluster_urls_deinit(&client);
}
