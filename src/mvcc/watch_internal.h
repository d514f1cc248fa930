/* watch_internal: the hub's structs, shared by its two halves.
 *
 *     watch.c           streams, requests, synced watchers, output
 *     watch_catch_up.c  unsynced watchers
 */
#ifndef MVCC_WATCH_INTERNAL_H
#define MVCC_WATCH_INTERNAL_H

#include "base/heap.h"
#include "base/rng.h"
#include "mvcc/watch.h"
#include "mvcc/watch_index.h"

enum {
    WATCH_CATCH_UP_WATCHERS = 512,   /* served by one slice */
    WATCH_CATCH_UP_REVISIONS = 1000, /* distinct ones in one response */
};

enum watcher_state {
    WATCHER_SYNCED,   /* in group->synced */
    WATCHER_QUEUED,   /* unsynced, in hub->unsynced */
    WATCHER_CATCHING, /* unsynced, in group->catching, for the duration of a slice */
    WATCHER_BLOCKED,  /* unsynced, in stream->blocked: the window is full */
    WATCHER_COMPACTED,
};

struct watcher {
    struct watch_stream *stream;
    struct watch_group *group; /* NULL once compacted */
    int64_t id;
    int64_t start; /* as asked for: no progress before it */
    /* The first one it still wants. Not kept up to date while synced, when that is the hub's next revision,
     * or a start in the future. */
    int64_t min_revision;
    enum watcher_state state;
    bool progress_notify;
    bool prev_kv;
    bool fragment;
    bool no_put;
    bool no_delete;
    bool batch_is_open; /* counted in stream->batch_count */
    bool had_events;    /* since the last tick of the stream's progress */

    /* The response being built: `batch->parts` of the revisions wanted so far. Bytes are counted in
     * stream->unsent_bytes as they are added. */
    struct watch_message *batch;
    size_t batch_capacity;
    size_t batch_revisions;
    int64_t batch_last;      /* the revision of the last part */
    size_t batch_last_parts; /* parts before that revision's, and their bytes */
    size_t batch_last_bytes;
    int64_t left_out; /* the first revision that did not fit; 0: none */

    TAILQ_ENTRY(watcher) group_link; /* synced, catching */
    TAILQ_ENTRY(watcher) queue_link; /* unsynced, blocked, and the list of a slice */
    TAILQ_ENTRY(watcher) batch_link; /* those with a batch, while events are handed out */
    UT_hash_handle hh;               /* stream->watchers */
};

struct watch_stream {
    struct watch_hub *hub;
    void *owner;
    struct watcher *watchers; /* by id; iterated in the order of creation */
    int64_t next_id;
    size_t synced_count;
    int64_t latest_start; /* no watcher ever asked for a later one */
    size_t batch_count;   /* watchers with a batch that still grows */
    struct watcher_list blocked;

    struct mail *first, *last; /* responses not taken yet */
    size_t queued_bytes;
    size_t unsent_bytes; /* those, the ones taken and not delivered, and open batches */
    bool overflowed;

    /* Undelivered answers to requests, at most: those before the mark, and those behind it. Positions count
     * all bytes ever queued and delivered. */
    uint64_t queued_position, delivered_position, mark_position;
    size_t control_before, control_since;

    int64_t progress_period;
    struct heap_node progress; /* hub->progress */

    TAILQ_ENTRY(watch_stream) link;
    TAILQ_ENTRY(watch_stream) ready_link; /* hub->ready, while it has responses */
};

TAILQ_HEAD(watch_stream_list, watch_stream);

struct watch_hub {
    struct mvcc_store *store;
    struct watch_options options;
    struct rng rng;
    uint64_t cluster_id, member_id, raft_term;
    int64_t revision; /* of the store, as last notified */
    struct watch_index index;
    struct watch_stream_list streams;
    struct watch_stream_list ready;
    struct watcher_list unsynced;
    struct heap progress;
    size_t stream_count, watcher_count, slow_count;
    size_t queued_bytes, unsent_bytes;
    uint64_t events;
};

/* ---- watch.c ---- */

/* One change or row on its way to watchers, encoded when first needed. */
struct watch_event {
    int64_t revision;
    bool deleted;
    bool is_new; /* a put that created the key: nothing was there before */
    struct bytes key;
    struct bytes key_value;        /* as the event says it */
    struct blob *plain, *previous; /* the two encodings */
};
void watch_event_deinit(struct watch_event *event);

enum watch_added {
    WATCH_ADDED,
    WATCH_FILTERED,
    WATCH_FULL, /* left_out says from where */
};
/* Adds the event to the watcher's batch. The first part of a revision is only taken when the stream's window
 * is not full. */
struct error *watch_batch_add(struct watcher *watcher, struct watch_event *event,
                              struct watcher_list *batches, enum watch_added *added)
    __attribute__((warn_unused_result));
/* Queues what is in the batch, if anything. */
void watch_batch_send(struct watcher *watcher, int64_t header_revision);

static inline bool watch_stream_is_full(const struct watch_stream *stream)
{
    return stream->overflowed || stream->unsent_bytes >= stream->hub->options.window_bytes;
}
void watcher_set_state(struct watcher *watcher, enum watcher_state state);
/* Tells that the compaction went past what it still wanted. */
void watcher_compacted(struct watcher *watcher);

/* ---- watch_catch_up.c ---- */

/* One slice over the rows. */
struct error *watch_catch_up(struct watch_hub *hub, size_t max_rows) __attribute__((warn_unused_result));

#endif
