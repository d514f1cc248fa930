#include "server/descriptors.h"

#include <dirent.h>
#include <sys/resource.h>

uint64_t descriptors_used(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return 0;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the one being read */
}

uint64_t descriptors_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

void descriptors_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void descriptors_check(const struct logger *logger)
{
    uint64_t used = descriptors_used(), limit = descriptors_limit();
    if (used >= limit / 5 * 4)
        log_warn(logger, "80% of file descriptors are used", LOG_UINT("used", used),
                 LOG_UINT("limit", limit));
}
