/* watch: who is told what of the changes to the store.
 *
 * A hub serves all watch streams of a member. Each stream has watchers (a key or a range, from some revision
 * on) and one queue of responses, which the caller takes and sends in order.
 *
 *     synced     has everything up to the store's revision; fed by watch_hub_notify as transactions end
 *     unsynced   behind: fed from the store's rows by watch_hub_run, in slices
 *     compacted  fell behind the compact revision and was told so; its id stays taken until it is canceled
 *
 * Matching. Watchers of one span share a group; groups are found by a hash table (single keys) and an
 * interval tree (ranges), so an event costs what it matches, not what there is. An event is encoded once, as
 * field 11 of WatchResponse, and shared by reference among all that receive it; a second form, with the
 * previous value, is made only when somebody asked for it.
 *
 * Back-pressure. A stream has a window: bytes of responses that are queued or taken but not yet reported by
 * watch_delivered. Once it is full the stream is not fed: its watchers turn unsynced, keep the revision they
 * wait for, and catch up from the store when the window is half free again. So a backlog takes no memory; one
 * response (the events of one revision) may overshoot the window.
 * Responses to requests (created, canceled, progress) are small and always queued, but counted: a client that
 * only asks and never reads is cut off (watch_message.overflow); progress is left out earlier.
 *
 * What a client can rely on, per watcher: events in order of revision, each once, none missing (a gap is told
 * by a canceled response with the compact revision), all events of a revision in one response (or its
 * fragments); a progress response at revision r comes after every event up to r.
 *
 * Errors: a returned `struct error *` is the store's own (backend failed, rows damaged) and final. Pure: time
 * is an argument (nanoseconds, never decreasing), randomness comes from the seed. One thread, the node's.
 */
#ifndef MVCC_WATCH_H
#define MVCC_WATCH_H

#include "base/blob.h"
#include "base/error.h"
#include "base/mailbox.h"
#include "mvcc/store.h"

struct watch_hub;
struct watch_stream;

/* ---- what comes out ---- */

enum { WATCH_HEAD_MAX = 80 };

/* One encoded WatchResponse: `head`, then the parts one after the other. */
struct watch_message {
    struct mail mail; /* links the list that watch_hub_take returns; then the caller's */
    void *owner;      /* as given to watch_stream_open */
    size_t size;      /* bytes in head and parts; what to report to watch_delivered */
    bool overflow; /* no response (size 0): the client asks without reading, end the stream. The last one */
    uint8_t head_size;
    uint8_t head[WATCH_HEAD_MAX];
    size_t part_count;
    struct blob *parts[]; /* one reference each */
};

/* Drops the references and frees it. Any thread. */
void watch_message_free(struct watch_message *message);

/* ---- the hub ---- */

struct watch_options {
    size_t window_bytes;       /* per stream; 0: 1 MiB */
    size_t control_bytes;      /* undelivered bytes of answers to requests, per stream; 0: 1 MiB */
    size_t fragment_bytes;     /* responses of at least this size are split when asked; 0: 2 MiB */
    size_t watchers_max;       /* per stream; 0: 1 000 000 */
    int64_t progress_interval; /* nanoseconds; 0: 10 minutes; values below 100 ms are raised to it */
    uint64_t seed;
};

/* The store is borrowed until the hub is freed or watch_hub_restore names another. */
struct watch_hub *watch_hub_new(struct mvcc_store *store, const struct watch_options *options)
    __attribute__((returns_nonnull, warn_unused_result));
/* Also closes the streams that are open. NULL is allowed. */
void watch_hub_free(struct watch_hub *hub);

/* What the header of responses made from now on says, beside the revision. */
void watch_hub_set_header(struct watch_hub *hub, uint64_t cluster_id, uint64_t member_id, uint64_t raft_term);

/* Call after each mvcc_txn_end that returned changes, with them, before anything else happens to the store.
 */
struct error *watch_hub_notify(struct watch_hub *hub, const struct mvcc_change *changes, size_t count)
    __attribute__((warn_unused_result));

/* Catching up, cancels because of compaction, periodic progress. Looks at about `max_rows` rows of the store.
 * *more: work is left, call again soon. */
struct error *watch_hub_run(struct watch_hub *hub, int64_t now, size_t max_rows, bool *more)
    __attribute__((warn_unused_result));

/* When watch_hub_run must be called even if nothing happens (INT64_MAX: no need), and whether it has
 * something to do at once. */
int64_t watch_hub_wake_at(const struct watch_hub *hub);

/* The store was replaced by a received snapshot: all watchers go on from where they are, in the new one. */
void watch_hub_restore(struct watch_hub *hub, struct mvcc_store *store);

/* All responses made since the last call, linked by .mail, oldest first per stream; NULL: none. They are the
 * caller's, and outlive their stream. */
struct mail *watch_hub_take(struct watch_hub *hub);

struct watch_stats {
    size_t streams;
    size_t watchers;      /* compacted ones not counted */
    size_t slow_watchers; /* unsynced */
    size_t queued_bytes;  /* made and not yet taken */
    size_t unsent_bytes;  /* made and not yet delivered, those included */
    uint64_t events;      /* put into responses since the hub was made */
};
void watch_hub_stats(const struct watch_hub *hub, struct watch_stats *stats);

/* ---- streams ---- */

struct watch_stream *watch_stream_open(struct watch_hub *hub, void *owner, int64_t now)
    __attribute__((returns_nonnull, warn_unused_result));
/* Its watchers end, responses not yet taken are dropped. */
void watch_stream_close(struct watch_stream *stream);

/* `bytes` (watch_message.size) of messages taken earlier have left for the client. */
void watch_delivered(struct watch_stream *stream, size_t bytes);

/* A WatchCreateRequest. `key` and `range_end` as the client sent them (empty key: the smallest one; range_end
 * of one zero byte: no upper bound); they are copied. */
struct watch_create {
    struct bytes key;
    struct bytes range_end;
    int64_t start_revision; /* 0: from now on */
    int64_t watch_id;       /* 0: to be chosen */
    bool progress_notify;
    bool prev_kv;
    bool fragment;
    bool no_put;
    bool no_delete;
};

/* Answers with exactly one response that says created, and canceled with a reason when it is refused: range
 * empty, id in use, negative start. Permission is the caller's to check first, on key (an empty one replaced
 * by KEY_OPEN_END) and range_end as they came; a negative start is refused before that check. Returns
 * whether there is a watcher now; *id (may be NULL) is its id. */
bool watch_create(struct watch_stream *stream, const struct watch_create *create, int64_t *id);
/* The answer to a create that the caller refuses: created, canceled, id -1, this reason (copied). */
void watch_refuse(struct watch_stream *stream, const char *reason);
/* Answers canceled when the id is known, else not at all. */
void watch_cancel(struct watch_stream *stream, int64_t id);
/* A WatchProgressRequest: answered (id -1) only when the stream has watchers, all of them are synced and none
 * waits for a start in the future; otherwise never, as etcd does. */
void watch_progress(struct watch_stream *stream);

#endif
