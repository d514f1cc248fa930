/* Unsynced watchers are served from the rows of the store, many by one scan. A slice takes watchers from the
 * head of the queue, scans from the lowest revision they want, and stops at a budget of rows, always between
 * two revisions. Whoever is not done goes to the end of the queue. */
#include "base/memory.h"
#include "mvcc/watch_internal.h"

#include <assert.h>
#include <stdlib.h>

struct slice {
    struct watch_hub *hub;
    size_t max_rows;
    size_t rows;
    int64_t scanned_to; /* the last revision that was looked at */
    bool stopped;       /* before the newest row */
    size_t hungry;      /* watchers that can take more */
    struct watcher_list watchers;
    struct watcher_list batches;
    struct watch_event event;
    struct error *error;
};

/* Sorts out those at the head of the queue that need no scan; the first other one decides where it starts.
 * Those that want revisions within reach of the same scan come along, the rest keep their places. */
static int64_t choose_watchers(struct slice *slice)
{
    struct watch_hub *hub = slice->hub;
    int64_t compacted = mvcc_compact_revision(hub->store);
    int64_t from = 0, reach = (int64_t)slice->max_rows;
    struct watcher *watcher = TAILQ_FIRST(&hub->unsynced), *next;
    for (size_t looked_at = 0; watcher != NULL && looked_at < WATCH_CATCH_UP_WATCHERS;
         watcher = next, looked_at++) {
        next = TAILQ_NEXT(watcher, queue_link);
        if (watcher->min_revision < compacted) {
            watcher_compacted(watcher);
        } else if (watcher->min_revision > hub->revision) {
            watcher_set_state(watcher, WATCHER_SYNCED);
        } else if (watch_stream_is_full(watcher->stream)) {
            watcher_set_state(watcher, WATCHER_BLOCKED);
        } else if (from == 0 || (watcher->min_revision >= from && watcher->min_revision - from <= reach)) {
            if (from == 0) from = watcher->min_revision;
            watcher_set_state(watcher, WATCHER_CATCHING);
            TAILQ_INSERT_TAIL(&slice->watchers, watcher, queue_link);
            slice->hungry++;
        }
    }
    return from;
}

static void feed_group(void *context, struct watch_group *group)
{
    struct slice *slice = context;
    struct watcher *watcher;
    TAILQ_FOREACH (watcher, &group->catching, group_link) {
        if (watcher->left_out != 0 || slice->event.revision < watcher->min_revision) continue;
        enum watch_added added = WATCH_FILTERED;
        slice->error = watch_batch_add(watcher, &slice->event, &slice->batches, &added);
        if (slice->error != NULL) return;
        if (added == WATCH_FULL) slice->hungry--;
    }
}

static bool feed_row(void *context, const struct mvcc_row *row)
{
    struct slice *slice = context;
    bool next_revision = row->revision.main != slice->scanned_to;
    if (next_revision && (slice->rows >= slice->max_rows || slice->hungry == 0)) {
        slice->stopped = true;
        return false;
    }
    slice->rows++;
    slice->scanned_to = row->revision.main;

    /* A stored tombstone has only the key; its event also says when. */
    uint8_t *tombstone = NULL;
    struct mvcc_key_value key_value = {.key = row->key, .modified = row->revision.main};
    slice->event = (struct watch_event){.revision = row->revision.main,
                                        .deleted = row->deleted,
                                        .key = row->key,
                                        .key_value = row->key_value};
    if (row->deleted) {
        tombstone = mem_alloc(mvcc_key_value_size(&key_value));
        uint8_t *end = mvcc_key_value_put(tombstone, &key_value);
        slice->event.key_value = bytes_of(tombstone, (size_t)(end - tombstone));
    } else if (mvcc_key_value_parse(row->key_value, &key_value)) {
        slice->event.is_new = key_value.created == row->revision.main;
    }
    watch_index_match(&slice->hub->index, row->key, feed_group, slice);
    watch_event_deinit(&slice->event);
    free(tombstone);
    return slice->error == NULL;
}

static void finish_watcher(struct slice *slice, struct watcher *watcher)
{
    struct watch_hub *hub = slice->hub;
    bool has_more = watcher->left_out != 0;
    int64_t next = has_more ? watcher->left_out : slice->scanned_to + 1;
    if (next > watcher->min_revision) watcher->min_revision = next;
    watcher->left_out = 0;
    /* The header says the current revision even if more follows: it is not a bookmark. */
    watch_batch_send(watcher, hub->revision);
    if (watcher->min_revision > hub->revision)
        watcher_set_state(watcher, WATCHER_SYNCED);
    else if (watch_stream_is_full(watcher->stream))
        watcher_set_state(watcher, WATCHER_BLOCKED);
    else
        watcher_set_state(watcher, WATCHER_QUEUED);
}

struct error *watch_catch_up(struct watch_hub *hub, size_t max_rows)
{
    assert(max_rows > 0 && max_rows < INT64_MAX);
    struct slice slice = {.hub = hub, .max_rows = max_rows};
    TAILQ_INIT(&slice.watchers);
    TAILQ_INIT(&slice.batches);
    int64_t from = choose_watchers(&slice);
    if (from == 0) return NULL;

    slice.scanned_to = from - 1;
    struct error *error =
        mvcc_scan(hub->store, (struct mvcc_revision){from, 0}, hub->revision, feed_row, &slice);
    if (slice.error != NULL) {
        assert(error == NULL);
        error = slice.error;
    }
    if (error == NULL && !slice.stopped) slice.scanned_to = hub->revision;

    struct watcher *watcher;
    while ((watcher = TAILQ_FIRST(&slice.watchers)) != NULL) {
        TAILQ_REMOVE(&slice.watchers, watcher, queue_link);
        finish_watcher(&slice, watcher);
    }
    return error;
}
