#include "mvcc/watch.h"

#include "api/errors.h"
#include "api/keys.h"
#include "base/container.h"
#include "base/memory.h"
#include "mvcc/watch_internal.h"
#include "mvcc/watch_message.h"

#include <assert.h>
#include <stdlib.h>

#define MILLISECOND INT64_C(1000000)
#define MINUTE      (60 * 1000 * MILLISECOND)

static const struct watch_options defaults = {
    .window_bytes = 1 << 20,
    .control_bytes = 1 << 20,
    .fragment_bytes = 2 << 20,
    .watchers_max = 1000000,
    .progress_interval = 10 * MINUTE,
};

/* ---- the hub ---- */

static struct watch_options with_defaults(const struct watch_options *given)
{
    struct watch_options options = *given;
    if (options.window_bytes == 0) options.window_bytes = defaults.window_bytes;
    if (options.control_bytes == 0) options.control_bytes = defaults.control_bytes;
    if (options.fragment_bytes == 0) options.fragment_bytes = defaults.fragment_bytes;
    if (options.watchers_max == 0) options.watchers_max = defaults.watchers_max;
    if (options.progress_interval == 0) options.progress_interval = defaults.progress_interval;
    if (options.progress_interval < 100 * MILLISECOND) options.progress_interval = 100 * MILLISECOND;
    return options;
}

struct watch_hub *watch_hub_new(struct mvcc_store *store, const struct watch_options *options)
{
    struct watch_hub *hub = mem_zalloc(1, sizeof(*hub));
    hub->store = store;
    hub->options = with_defaults(options);
    hub->revision = mvcc_revision(store);
    rng_init(&hub->rng, options->seed);
    watch_index_init(&hub->index, rng_next(&hub->rng));
    TAILQ_INIT(&hub->streams);
    TAILQ_INIT(&hub->ready);
    TAILQ_INIT(&hub->unsynced);
    return hub;
}

void watch_hub_free(struct watch_hub *hub)
{
    if (hub == NULL) return;
    while (!TAILQ_EMPTY(&hub->streams)) watch_stream_close(TAILQ_FIRST(&hub->streams));
    assert(hub->watcher_count == 0 && hub->slow_count == 0 && hub->unsent_bytes == 0);
    watch_index_deinit(&hub->index);
    heap_deinit(&hub->progress);
    free(hub);
}

void watch_hub_set_header(struct watch_hub *hub, uint64_t cluster_id, uint64_t member_id, uint64_t raft_term)
{
    hub->cluster_id = cluster_id;
    hub->member_id = member_id;
    hub->raft_term = raft_term;
}

int64_t watch_hub_wake_at(const struct watch_hub *hub)
{
    const struct heap_node *first = heap_first(&hub->progress);
    return first == NULL ? INT64_MAX : first->key;
}

void watch_hub_stats(const struct watch_hub *hub, struct watch_stats *stats)
{
    *stats = (struct watch_stats){
        .streams = hub->stream_count,
        .watchers = hub->watcher_count,
        .slow_watchers = hub->slow_count,
        .queued_bytes = hub->queued_bytes,
        .unsent_bytes = hub->unsent_bytes,
        .events = hub->events,
    };
}

/* ---- output ---- */

static void count_unsent(struct watch_stream *stream, size_t bytes)
{
    stream->unsent_bytes += bytes;
    stream->hub->unsent_bytes += bytes;
}

static void uncount_unsent(struct watch_stream *stream, size_t bytes)
{
    assert(bytes <= stream->unsent_bytes && bytes <= stream->hub->unsent_bytes);
    stream->unsent_bytes -= bytes;
    stream->hub->unsent_bytes -= bytes;
}

/* The message joins the stream's queue; its bytes are counted as unsent already. */
static void enqueue(struct watch_stream *stream, struct watch_message *message)
{
    message->owner = stream->owner;
    message->mail.next = NULL;
    if (stream->first == NULL) {
        stream->first = &message->mail;
        TAILQ_INSERT_TAIL(&stream->hub->ready, stream, ready_link);
    } else {
        stream->last->next = &message->mail;
    }
    stream->last = &message->mail;
    stream->queued_bytes += message->size;
    stream->hub->queued_bytes += message->size;
    stream->queued_position += message->size;
}

/* Leaves the stream with an empty queue; returns what was in it. */
static struct mail *dequeue_all(struct watch_stream *stream)
{
    struct mail *first = stream->first;
    if (first == NULL) return NULL;
    TAILQ_REMOVE(&stream->hub->ready, stream, ready_link);
    stream->hub->queued_bytes -= stream->queued_bytes;
    stream->queued_bytes = 0;
    stream->first = stream->last = NULL;
    return first;
}

struct mail *watch_hub_take(struct watch_hub *hub)
{
    struct mail *all = NULL, **end = &all;
    struct watch_stream *stream;
    while ((stream = TAILQ_FIRST(&hub->ready)) != NULL) {
        struct mail *last = stream->last;
        *end = dequeue_all(stream);
        end = &last->next;
    }
    return all;
}

static struct watch_head head_of(const struct watch_hub *hub, int64_t watch_id, int64_t revision)
{
    return (struct watch_head){
        .cluster_id = hub->cluster_id,
        .member_id = hub->member_id,
        .raft_term = hub->raft_term,
        .revision = revision,
        .watch_id = watch_id,
    };
}

/* Writes the head and completes the size; the parts' bytes are in message->size. */
static void finish_message(struct watch_message *message, const struct watch_head *head)
{
    message->head_size = (uint8_t)watch_head_write(message->head, head);
    message->size += message->head_size;
}

/* ---- answers to requests ---- */

static size_t undelivered_control(const struct watch_stream *stream)
{
    return stream->control_before + stream->control_since;
}

static void overflow(struct watch_stream *stream)
{
    struct watch_message *message = watch_message_new(0);
    message->overflow = true;
    enqueue(stream, message);
    stream->overflowed = true;
}

static void send_control(struct watch_stream *stream, const struct watch_head *head, const char *reason)
{
    if (stream->overflowed) return;
    if (undelivered_control(stream) >= stream->hub->options.control_bytes) {
        overflow(stream);
        return;
    }
    struct watch_message *message = watch_message_new(1);
    if (reason != NULL) {
        message->parts[message->part_count++] = watch_reason_encode(reason);
        message->size = message->parts[0]->size;
    }
    finish_message(message, head);
    count_unsent(stream, message->size);
    stream->control_since += message->size;
    enqueue(stream, message);
}

/* Progress is a hint: a stream that does not read goes without. */
static void send_progress(struct watch_stream *stream, int64_t watch_id)
{
    if (watch_stream_is_full(stream)) return;
    if (undelivered_control(stream) >= stream->hub->options.control_bytes / 2) return;
    struct watch_head head = head_of(stream->hub, watch_id, stream->hub->revision);
    send_control(stream, &head, NULL);
}

/* ---- watchers ---- */

static bool is_unsynced(enum watcher_state state)
{
    return state == WATCHER_QUEUED || state == WATCHER_CATCHING || state == WATCHER_BLOCKED;
}

static void leave_state(struct watcher *watcher)
{
    struct watch_stream *stream = watcher->stream;
    switch (watcher->state) {
    case WATCHER_SYNCED:
        TAILQ_REMOVE(&watcher->group->synced, watcher, group_link);
        stream->synced_count--;
        break;
    case WATCHER_QUEUED:
        TAILQ_REMOVE(&stream->hub->unsynced, watcher, queue_link);
        break;
    case WATCHER_CATCHING:
        TAILQ_REMOVE(&watcher->group->catching, watcher, group_link);
        break;
    case WATCHER_BLOCKED:
        TAILQ_REMOVE(&stream->blocked, watcher, queue_link);
        break;
    case WATCHER_COMPACTED:
        break;
    }
    if (is_unsynced(watcher->state)) stream->hub->slow_count--;
}

static void enter_state(struct watcher *watcher, enum watcher_state state)
{
    struct watch_stream *stream = watcher->stream;
    watcher->state = state;
    switch (state) {
    case WATCHER_SYNCED:
        TAILQ_INSERT_TAIL(&watcher->group->synced, watcher, group_link);
        stream->synced_count++;
        break;
    case WATCHER_QUEUED:
        TAILQ_INSERT_TAIL(&stream->hub->unsynced, watcher, queue_link);
        break;
    case WATCHER_CATCHING:
        TAILQ_INSERT_TAIL(&watcher->group->catching, watcher, group_link);
        break;
    case WATCHER_BLOCKED:
        TAILQ_INSERT_TAIL(&stream->blocked, watcher, queue_link);
        break;
    case WATCHER_COMPACTED:
        break;
    }
    if (is_unsynced(state)) stream->hub->slow_count++;
}

void watcher_set_state(struct watcher *watcher, enum watcher_state state)
{
    leave_state(watcher);
    enter_state(watcher, state);
}

static void drop_group(struct watcher *watcher)
{
    watch_index_release(&watcher->stream->hub->index, watcher->group);
    watcher->group = NULL;
    watcher->stream->hub->watcher_count--;
}

void watcher_compacted(struct watcher *watcher)
{
    struct watch_hub *hub = watcher->stream->hub;
    watcher_set_state(watcher, WATCHER_COMPACTED);
    drop_group(watcher);
    /* etcd leaves the revision out here: nothing is said about what was delivered. */
    struct watch_head head = head_of(hub, watcher->id, 0);
    head.canceled = true;
    head.compact_revision = mvcc_compact_revision(hub->store);
    send_control(watcher->stream, &head, NULL);
}

static void watcher_free(struct watcher *watcher)
{
    assert(watcher->batch == NULL);
    leave_state(watcher);
    if (watcher->group != NULL) drop_group(watcher);
    HASH_DEL(watcher->stream->watchers, watcher);
    free(watcher);
}

/* ---- batches ---- */

void watch_event_deinit(struct watch_event *event)
{
    blob_unref(event->plain);
    blob_unref(event->previous);
}

/* The event as this watcher wants it. What was there before is read from the store the first time somebody
 * asks; when it is compacted away, or nothing was there, both forms are the same. */
static struct error *encoded(struct watch_hub *hub, struct watch_event *event, bool with_previous,
                             struct blob **blob)
{
    if (with_previous && event->previous == NULL) {
        int64_t before = event->revision - 1;
        bool found = false;
        struct mvcc_entry entry;
        struct bytes key_value;
        if (!event->is_new && before > 0 && before >= mvcc_compact_revision(hub->store))
            TRY(mvcc_get(hub->store, event->key, before, &found, &entry, &key_value));
        if (found) event->previous = watch_event_encode(event->deleted, event->key_value, &key_value);
    }
    if (with_previous && event->previous != NULL) {
        *blob = event->previous;
        return NULL;
    }
    if (event->plain == NULL) event->plain = watch_event_encode(event->deleted, event->key_value, NULL);
    if (with_previous) event->previous = blob_ref(event->plain);
    *blob = event->plain;
    return NULL;
}

static void batch_open(struct watcher *watcher, struct watcher_list *batches)
{
    watcher->batch_capacity = 1;
    watcher->batch = watch_message_new(1);
    watcher->batch_revisions = 0;
    watcher->batch_last = 0;
    watcher->batch_is_open = true;
    watcher->stream->batch_count++;
    TAILQ_INSERT_TAIL(batches, watcher, batch_link);
}

static void batch_close(struct watcher *watcher)
{
    watcher->stream->batch_count -= watcher->batch_is_open;
    watcher->batch_is_open = false;
}

/* Takes the parts of the last revision out again. */
static void batch_cut(struct watcher *watcher)
{
    struct watch_message *batch = watcher->batch;
    uncount_unsent(watcher->stream, batch->size - watcher->batch_last_bytes);
    while (batch->part_count > watcher->batch_last_parts) blob_unref(batch->parts[--batch->part_count]);
    batch->size = watcher->batch_last_bytes;
    watcher->left_out = watcher->batch_last;
    batch_close(watcher);
}

/* Whether one more part fits. A revision that has begun goes on however large it is, so that something always
 * moves; but only one watcher of the stream may do so far above the window. */
static bool batch_has_room(const struct watcher *watcher, int64_t revision)
{
    const struct watch_stream *stream = watcher->stream;
    if (watcher->batch == NULL || watcher->batch_last != revision) {
        if (watcher->batch != NULL && watcher->batch_revisions == WATCH_CATCH_UP_REVISIONS) return false;
        return !watch_stream_is_full(stream);
    }
    return stream->batch_count == 1 || stream->unsent_bytes < 2 * stream->hub->options.window_bytes;
}

static void batch_append(struct watcher *watcher, int64_t revision, struct blob *part)
{
    struct watch_message *batch = watcher->batch;
    if (watcher->batch_last != revision) {
        assert(revision > watcher->batch_last);
        watcher->batch_last = revision;
        watcher->batch_revisions++;
        watcher->batch_last_parts = batch->part_count;
        watcher->batch_last_bytes = batch->size;
    }
    if (batch->part_count == watcher->batch_capacity) {
        watcher->batch_capacity *= 2;
        size_t size = sizeof(*batch) + watcher->batch_capacity * sizeof(batch->parts[0]);
        batch = watcher->batch = mem_realloc(batch, size);
    }
    batch->parts[batch->part_count++] = blob_ref(part);
    batch->size += part->size;
    count_unsent(watcher->stream, part->size);
}

struct error *watch_batch_add(struct watcher *watcher, struct watch_event *event,
                              struct watcher_list *batches, enum watch_added *added)
{
    assert(watcher->left_out == 0 && event->revision >= watcher->min_revision);
    *added = WATCH_FILTERED;
    if (event->deleted ? watcher->no_delete : watcher->no_put) return NULL;

    *added = WATCH_FULL;
    if (!batch_has_room(watcher, event->revision)) {
        if (watcher->batch != NULL && watcher->batch_last == event->revision)
            batch_cut(watcher);
        else
            watcher->left_out = event->revision;
        return NULL;
    }
    struct blob *part;
    TRY(encoded(watcher->stream->hub, event, watcher->prev_kv, &part));
    if (watcher->batch == NULL) batch_open(watcher, batches);
    batch_append(watcher, event->revision, part);
    *added = WATCH_ADDED;
    return NULL;
}

/* The response in several, each below the limit but with at least one event. */
static void send_fragments(struct watcher *watcher, struct watch_message *whole, struct watch_head *head)
{
    struct watch_stream *stream = watcher->stream;
    size_t limit = stream->hub->options.fragment_bytes, next = 0;
    uint8_t scratch[WATCH_HEAD_MAX];
    head->fragment = true;
    size_t head_size = watch_head_write(scratch, head);
    while (next < whole->part_count) {
        size_t end = next + 1, size = whole->parts[next]->size;
        while (end < whole->part_count && head_size + size + whole->parts[end]->size < limit)
            size += whole->parts[end++]->size;
        struct watch_message *fragment = watch_message_new(end - next);
        memcpy(fragment->parts, whole->parts + next, (end - next) * sizeof(whole->parts[0]));
        fragment->part_count = end - next;
        fragment->size = size;
        next = end;
        head->fragment = next < whole->part_count;
        finish_message(fragment, head);
        count_unsent(stream, fragment->head_size);
        enqueue(stream, fragment);
    }
    free(whole);
}

void watch_batch_send(struct watcher *watcher, int64_t header_revision)
{
    struct watch_message *message = watcher->batch;
    if (message == NULL) return;
    struct watch_stream *stream = watcher->stream;
    batch_close(watcher);
    watcher->batch = NULL;
    if (message->part_count == 0) {
        free(message);
        return;
    }
    watcher->had_events = true;
    stream->hub->events += message->part_count;
    struct watch_head head = head_of(stream->hub, watcher->id, header_revision);
    size_t parts_size = message->size;
    finish_message(message, &head);
    if (watcher->fragment && message->part_count > 1 &&
        message->size >= stream->hub->options.fragment_bytes) {
        message->size = parts_size;
        send_fragments(watcher, message, &head);
        return;
    }
    count_unsent(stream, message->head_size);
    enqueue(stream, message);
}

/* ---- synced watchers ---- */

struct notification {
    struct watch_event event;
    struct watcher_list batches;
    struct error *error;
};

static void notify_group(void *context, struct watch_group *group)
{
    struct notification *notification = context;
    struct watch_event *event = &notification->event;
    struct watcher *next;
    for (struct watcher *watcher = TAILQ_FIRST(&group->synced);
         watcher != NULL && notification->error == NULL; watcher = next) {
        next = TAILQ_NEXT(watcher, group_link);
        if (event->revision < watcher->min_revision) continue;
        enum watch_added added = WATCH_FILTERED;
        notification->error = watch_batch_add(watcher, event, &notification->batches, &added);
        if (added != WATCH_FULL) continue;
        /* It has everything before this revision and wants this one still. */
        watcher->min_revision = event->revision;
        watcher->left_out = 0;
        watcher_set_state(watcher, WATCHER_BLOCKED);
    }
}

struct error *watch_hub_notify(struct watch_hub *hub, const struct mvcc_change *changes, size_t count)
{
    assert(count > 0);
    int64_t revision = changes[0].revision.main;
    assert(revision > hub->revision && revision == mvcc_revision(hub->store));
    hub->revision = revision;

    struct notification notification = {.error = NULL};
    TAILQ_INIT(&notification.batches);
    for (size_t i = 0; i < count && notification.error == NULL; i++) {
        const struct mvcc_change *change = &changes[i];
        assert(change->revision.main == revision);
        notification.event = (struct watch_event){
            .revision = revision,
            .deleted = change->deleted,
            .is_new = !change->deleted && change->created == revision,
            .key = change->key,
            .key_value = blob_bytes(change->key_value),
        };
        watch_index_match(&hub->index, change->key, notify_group, &notification);
        watch_event_deinit(&notification.event);
    }

    struct watcher *watcher;
    while ((watcher = TAILQ_FIRST(&notification.batches)) != NULL) {
        TAILQ_REMOVE(&notification.batches, watcher, batch_link);
        watch_batch_send(watcher, revision);
    }
    return notification.error;
}

/* ---- time and snapshots ---- */

static void progress_tick(struct watch_stream *stream)
{
    struct watcher *watcher, *next;
    HASH_ITER (hh, stream->watchers, watcher, next) {
        if (!watcher->progress_notify) continue;
        if (!watcher->had_events && watcher->state == WATCHER_SYNCED &&
            watcher->start <= stream->hub->revision)
            send_progress(stream, watcher->id);
        watcher->had_events = false;
    }
}

struct error *watch_hub_run(struct watch_hub *hub, int64_t now, size_t max_rows, bool *more)
{
    struct heap_node *due;
    while ((due = heap_first(&hub->progress)) != NULL && due->key <= now) {
        struct watch_stream *stream = CONTAINER(due, struct watch_stream, progress);
        heap_put(&hub->progress, due, now + stream->progress_period);
        progress_tick(stream);
    }
    if (!TAILQ_EMPTY(&hub->unsynced)) TRY(watch_catch_up(hub, max_rows));
    *more = !TAILQ_EMPTY(&hub->unsynced);
    return NULL;
}

void watch_hub_restore(struct watch_hub *hub, struct mvcc_store *store)
{
    hub->store = store;
    int64_t synced_to = hub->revision;
    hub->revision = mvcc_revision(store);
    struct watch_stream *stream;
    TAILQ_FOREACH (stream, &hub->streams, link) {
        struct watcher *watcher, *next;
        HASH_ITER (hh, stream->watchers, watcher, next) {
            if (watcher->state != WATCHER_SYNCED) continue;
            /* A start in the future stays; whoever had nothing to tell for long is not behind for that. */
            if (watcher->min_revision <= synced_to) watcher->min_revision = synced_to + 1;
            watcher_set_state(watcher, WATCHER_QUEUED);
        }
    }
}

/* ---- streams ---- */

struct watch_stream *watch_stream_open(struct watch_hub *hub, void *owner, int64_t now)
{
    struct watch_stream *stream = mem_zalloc(1, sizeof(*stream));
    stream->hub = hub;
    stream->owner = owner;
    TAILQ_INIT(&stream->blocked);
    TAILQ_INSERT_TAIL(&hub->streams, stream, link);
    hub->stream_count++;
    /* Not all streams that were opened together are to tick together. */
    int64_t interval = hub->options.progress_interval;
    stream->progress_period = interval + (int64_t)rng_below(&hub->rng, (uint64_t)interval / 10);
    heap_put(&hub->progress, &stream->progress, now + stream->progress_period);
    return stream;
}

void watch_stream_close(struct watch_stream *stream)
{
    struct watch_hub *hub = stream->hub;
    struct watcher *watcher, *next_watcher;
    HASH_ITER (hh, stream->watchers, watcher, next_watcher) watcher_free(watcher);
    struct mail *next;
    for (struct mail *mail = dequeue_all(stream); mail != NULL; mail = next) {
        next = mail->next;
        watch_message_free(CONTAINER(mail, struct watch_message, mail));
    }
    heap_remove(&hub->progress, &stream->progress);
    uncount_unsent(stream, stream->unsent_bytes);
    TAILQ_REMOVE(&hub->streams, stream, link);
    hub->stream_count--;
    free(stream);
}

void watch_delivered(struct watch_stream *stream, size_t bytes)
{
    assert(bytes <= stream->unsent_bytes - stream->queued_bytes);
    uncount_unsent(stream, bytes);
    stream->delivered_position += bytes;
    if (stream->delivered_position >= stream->mark_position) {
        stream->control_before =
            stream->delivered_position == stream->queued_position ? 0 : stream->control_since;
        stream->control_since = 0;
        stream->mark_position = stream->queued_position;
    }
    if (stream->overflowed || stream->unsent_bytes > stream->hub->options.window_bytes / 2) return;
    struct watcher *watcher;
    while ((watcher = TAILQ_FIRST(&stream->blocked)) != NULL) watcher_set_state(watcher, WATCHER_QUEUED);
}

/* ---- requests ---- */

static struct watcher *find_watcher(struct watch_stream *stream, int64_t id)
{
    struct watcher *watcher;
    HASH_FIND(hh, stream->watchers, &id, sizeof(id), watcher);
    return watcher;
}

void watch_refuse(struct watch_stream *stream, const char *reason)
{
    struct watch_head head = head_of(stream->hub, -1, stream->hub->revision);
    head.created = head.canceled = true;
    send_control(stream, &head, reason);
}

/* NULL: nothing is wrong. */
static const char *reason_to_refuse(struct watch_stream *stream, const struct watch_create *create)
{
    if (create->start_revision < 0) return api_error_text(API_ERROR_COMPACTED);
    struct bytes key = create->key.size == 0 ? KEY_OPEN_END : create->key;
    if (create->range_end.size > 0 && !key_is_open_end(create->range_end) &&
        bytes_compare(create->range_end, key) <= 0)
        return "mvcc: watcher range is empty";
    if (create->watch_id != 0 && find_watcher(stream, create->watch_id) != NULL)
        return "mvcc: duplicate watch ID provided on the WatchStream";
    if (HASH_COUNT(stream->watchers) >= stream->hub->options.watchers_max)
        return api_error_text(API_ERROR_TOO_MANY_REQUESTS);
    return NULL;
}

static int64_t choose_id(struct watch_stream *stream)
{
    while (find_watcher(stream, stream->next_id) != NULL) stream->next_id++;
    return stream->next_id++;
}

static struct watch_group *group_for(struct watch_index *index, const struct watch_create *create)
{
    struct bytes key = create->key.size == 0 ? KEY_OPEN_END : create->key;
    if (create->range_end.size == 0) return watch_index_key(index, key);
    struct mvcc_span span = {.from = key,
                             .to = create->range_end,
                             .open = key_is_open_end(create->range_end)};
    return watch_index_range(index, &span);
}

bool watch_create(struct watch_stream *stream, const struct watch_create *create, int64_t *id)
{
    struct watch_hub *hub = stream->hub;
    if (stream->overflowed) return false;
    const char *reason = reason_to_refuse(stream, create);
    if (reason != NULL) {
        watch_refuse(stream, reason);
        return false;
    }
    struct watcher *watcher = mem_zalloc(1, sizeof(*watcher));
    watcher->stream = stream;
    watcher->group = group_for(&hub->index, create);
    watcher->id = create->watch_id != 0 ? create->watch_id : choose_id(stream);
    watcher->start = create->start_revision;
    watcher->progress_notify = create->progress_notify;
    watcher->prev_kv = create->prev_kv;
    watcher->fragment = create->fragment;
    watcher->no_put = create->no_put;
    watcher->no_delete = create->no_delete;
    HASH_ADD(hh, stream->watchers, id, sizeof(watcher->id), watcher);
    hub->watcher_count++;
    if (watcher->start > stream->latest_start) stream->latest_start = watcher->start;

    bool from_now_on = watcher->start == 0 || watcher->start > hub->revision;
    watcher->min_revision = watcher->start == 0 ? hub->revision + 1 : watcher->start;
    enter_state(watcher, from_now_on ? WATCHER_SYNCED : WATCHER_QUEUED);
    if (id != NULL) *id = watcher->id;

    struct watch_head head = head_of(hub, watcher->id, hub->revision);
    head.created = true;
    send_control(stream, &head, NULL);
    return true;
}

void watch_cancel(struct watch_stream *stream, int64_t id)
{
    struct watcher *watcher = find_watcher(stream, id);
    if (watcher == NULL) return;
    watcher_free(watcher);
    struct watch_head head = head_of(stream->hub, id, stream->hub->revision);
    head.canceled = true;
    send_control(stream, &head, NULL);
}

static bool any_starts_later(struct watch_stream *stream)
{
    if (stream->latest_start <= stream->hub->revision) return false;
    struct watcher *watcher, *next;
    HASH_ITER (hh, stream->watchers, watcher, next) {
        if (watcher->start > stream->hub->revision) return true;
    }
    return false;
}

void watch_progress(struct watch_stream *stream)
{
    size_t count = HASH_COUNT(stream->watchers);
    if (count == 0 || stream->synced_count != count || any_starts_later(stream)) return;
    send_progress(stream, -1);
}
