/* version: semantic versions as etcd writes them ("3.6.14", "3.6.0-alpha.0", "3.6"). */
#ifndef API_VERSION_H
#define API_VERSION_H

#include "base/buf.h"

struct version {
    uint32_t major;
    uint32_t minor;
    uint32_t patch;
    bool prerelease; /* "-alpha.0" or the like follows; sorts before the release */
};

/* X.Y.Z with an optional -prerelease and +metadata. False when `text` is anything else. */
bool version_parse(struct bytes text, struct version *version);
/* X.Y.Z as above, or X.Y (patch 0), as the Downgrade RPC takes its target. */
bool version_parse_target(struct bytes text, struct version *version);
/* <0, 0, >0. */
int version_compare(struct version a, struct version b);
/* Major and minor alone: cluster versions have no patch that counts. */
int version_compare_minor(struct version a, struct version b);

static inline struct version version_of(uint32_t major, uint32_t minor)
{
    return (struct version){.major = major, .minor = minor};
}
static inline bool version_is_zero(struct version version)
{
    return version.major == 0 && version.minor == 0 && version.patch == 0;
}

/* "3.6.0". */
void version_format(struct buf *out, struct version version);
/* "3.6". */
void version_format_minor(struct buf *out, struct version version);

#endif
