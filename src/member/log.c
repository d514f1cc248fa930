#include "member/log.h"

#include "node/node.h"

static struct error *save_snapshot(struct member_log *log, const struct raft_snapshot *snapshot)
{
    TRY(snap_save(&log->snap, log->snap_directory, snapshot));
    TRY(wal_save_snapshot(log->wal, snapshot->index, snapshot->term, &snapshot->conf_state));
    return wal_sync(log->wal);
}

struct error *member_log_write(struct member_log *log, const struct mail *writes)
{
    bool must_sync = false;
    uint64_t snapshot_index = 0;
    for (const struct mail *mail = writes; mail != NULL; mail = mail->next) {
        const struct node_log_write *write = (const struct node_log_write *)(const void *)mail;
        must_sync = must_sync || write->must_sync;
        if (write->snapshot != NULL) {
            TRY(save_snapshot(log, write->snapshot));
            snapshot_index = write->snapshot->index;
        }
        TRY(wal_save(log->wal, &write->hard_state, write->entries, write->entry_count, &must_sync));
    }
    TRY(must_sync ? wal_sync(log->wal) : wal_flush(log->wal));
    /* Not before the commit index that goes with it is durable: until then a start goes by an older one. */
    return snapshot_index == 0 ? NULL : wal_release(log->wal, snapshot_index);
}
