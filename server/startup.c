#include "server/startup.h"

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
