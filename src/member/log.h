/* log: carries out the node's log writes: entries and hard states into the WAL, snapshots as .snap file and
 * WAL record.
 *
 * One batch, one sync: everything that has gathered is written, then made durable together. Order inside a
 * write: a snapshot's file is durable before the record that makes it count, and both before what follows.
 */
#ifndef MEMBER_LOG_H
#define MEMBER_LOG_H

#include "base/error.h"
#include "base/mailbox.h"
#include "storage/snap.h"
#include "storage/wal.h"

struct member_log {
    struct wal *wal;
    struct snap_options snap;
    const char *snap_directory;
};

/* `writes` is a list of struct node_log_write by .mail, oldest first; it is not changed. When it returns NULL
 * all of them are durable (those without must_sync at least written). An error is final: nothing of the batch
 * may be acknowledged. */
struct error *member_log_write(struct member_log *log, const struct mail *writes)
    __attribute__((warn_unused_result));

#endif
