/* migrate: the storage version of a data directory that no server has open.
 *
 * Servers from 3.6 on note the version of what they store; up to 3.5 it is known by the `term` row. A server
 * starts on no data directory that is newer than itself, so before an older one takes over the note must be
 * lowered or removed.
 */
#ifndef MEMBER_MIGRATE_H
#define MEMBER_MIGRATE_H

#include "api/version.h"
#include "base/error.h"
#include "base/log.h"
#include "storage/fs.h"

struct backend;

/* Makes it `target` (3.5 or 3.6, other minors only by force), durably. An older one is refused while the log
 * behind its last snapshot has entries that only newer servers understand. `force` does it all the same. */
struct error *member_migrate(struct fs *fs, const char *data_directory, struct version target, bool force,
                             const struct logger *logger) __attribute__((warn_unused_result));

#endif
