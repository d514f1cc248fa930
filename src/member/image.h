/* image: a database that another member has sent, before it becomes this member's.
 *
 * Members of etcd up to 3.5.19 keep the membership in their v2 store and forget to write some of its changes
 * (the promotion of a learner is one) to their database. What they send with the database, the v2 store as
 * JSON, is right, and so are all later ones that send it: it decides.
 */
#ifndef MEMBER_IMAGE_H
#define MEMBER_IMAGE_H

#include "base/log.h"
#include "raft/raft.h"
#include "storage/fs.h"

/* Whether the file at `path` can become the database at the snapshot's index (backend_check_image); then its
 * members are made those of the snapshot's data, if there is any that can be understood and they differ. What
 * was written is not synced. Takes long. */
struct error *member_check_image(struct fs *fs, const char *path, const struct raft_snapshot *snapshot,
                                 const struct logger *logger) __attribute__((warn_unused_result));

#endif
