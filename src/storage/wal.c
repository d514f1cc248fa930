/* Creating and appending; wal_files.c reads. */
#include "storage/wal.h"

#include "base/memory.h"
#include "raft/codec.h"
#include "storage/wal_files.h"
#include "storage/wal_record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    PENDING_KEEP = 8 << 20, /* a larger buffer is given back after use */
};

/* An fdatasync that takes longer is worth a warning. */
static const uint64_t SLOW_SYNC_NANOSECONDS = 1000000000;

struct wal {
    struct wal_options options;
    char *directory;              /* where the log is, or will be once published */
    char *build;                  /* "DIRECTORY.tmp" until published, then NULL */
    struct wal_segments segments; /* those we hold; the last one is written to */
    struct buf pending;           /* frames to be written at `offset` of it */
    uint64_t offset;
    bool unsynced; /* something was written since the last sync */
    uint32_t chain;
    struct buf metadata;
    struct raft_hard_state state; /* the last one saved */
    uint64_t last_index;          /* of the last entry, or of a later snapshot */
    struct fs_file *prepared;     /* the next segment, or NULL */
    char *prepared_path;
    unsigned prepared_count; /* so far: names alternate */
    char *failure;           /* text of the first failure: nothing is written after it */
    enum error_kind failure_kind;
};

static struct wal_segment *tail_of(const struct wal *wal)
{
    assert(wal->segments.count > 0);
    return &wal->segments.items[wal->segments.count - 1];
}

static const char *folder_of(const struct wal *wal)
{
    return wal->build != NULL ? wal->build : wal->directory;
}

uint64_t wal_offset(const struct wal *wal)
{
    return wal->offset + wal->pending.size;
}

uint64_t wal_sequence(const struct wal *wal)
{
    return tail_of(wal)->sequence;
}

/* --- failing --- */

static struct error *check_usable(const struct wal *wal)
{
    if (wal->failure == NULL) return NULL;
    return error_new(wal->failure_kind, "wal: closed for writing by an earlier failure: %s", wal->failure);
}

/* Remembers the first failure; passes every error on. */
static struct error *note_failure(struct wal *wal, struct error *error)
{
    if (error == NULL || wal->failure != NULL) return error;
    wal->failure = mem_strdup(error->text);
    wal->failure_kind = error->kind;
    return error;
}

/* --- writing --- */

static uint64_t now(const struct wal *wal)
{
    return wal->options.now == NULL ? 0 : wal->options.now(wal->options.now_context);
}

static void observe(const struct wal *wal, struct metric_histogram *histogram, uint64_t took)
{
    if (wal->options.now != NULL) metric_observe(histogram, took);
}

static struct error *write_pending(struct wal *wal)
{
    size_t size = wal->pending.size;
    if (size == 0) return NULL;
    uint64_t start = now(wal);
    struct error *error = fs_file_pwrite(tail_of(wal)->file, wal->pending.data, size, wal->offset);
    if (error != NULL)
        return error_wrap(error, "wal: append to %s at %" PRIu64, tail_of(wal)->path, wal->offset);
    if (wal->options.metrics != NULL) {
        observe(wal, &wal->options.metrics->write_duration, now(wal) - start);
        atomic_fetch_add_explicit(&wal->options.metrics->write_bytes, (int64_t)size, memory_order_relaxed);
    }
    wal->offset += size;
    wal->unsynced = true;
    if (wal->pending.capacity > PENDING_KEEP)
        buf_deinit(&wal->pending);
    else
        buf_clear(&wal->pending);
    return NULL;
}

static struct error *write_and_sync(struct wal *wal)
{
    TRY(write_pending(wal));
    if (wal->options.no_sync) return NULL;
    uint64_t start = now(wal);
    struct error *error = fs_file_sync_data(tail_of(wal)->file);
    if (error != NULL) return error_wrap(error, "wal: sync %s", tail_of(wal)->path);
    uint64_t took = now(wal) - start;
    if (took > SLOW_SYNC_NANOSECONDS)
        log_warn(wal->options.logger, "slow fdatasync", LOG_DURATION("took", took),
                 LOG_DURATION("expected-duration", SLOW_SYNC_NANOSECONDS));
    if (wal->options.metrics != NULL) observe(wal, &wal->options.metrics->fsync_duration, took);
    wal->unsynced = false;
    return NULL;
}

static void append_state(struct wal *wal)
{
    if (raft_hard_state_is_empty(wal->state)) return;
    struct buf encoded = {0};
    raft_encode_hard_state(&encoded, wal->state);
    wal_record_append(&wal->pending, WAL_STATE, buf_bytes(&encoded), &wal->chain);
    buf_deinit(&encoded);
}

static void append_entry(struct wal *wal, const struct raft_entry *entry)
{
    assert(entry->index <= wal->last_index + 1);
    size_t size = raft_encoded_entry_size(entry);
    size_t mark = wal_record_begin(&wal->pending, size);
    raft_encode_entry(&wal->pending, entry);
    wal_record_end(&wal->pending, mark, size, WAL_ENTRY, &wal->chain);
    wal->last_index = entry->index;
}

/* What every segment begins with. */
static void append_head(struct wal *wal)
{
    wal_record_append(&wal->pending, WAL_CRC, BYTES_EMPTY, &wal->chain);
    wal_record_append(&wal->pending, WAL_METADATA, buf_bytes(&wal->metadata), &wal->chain);
}

/* --- segments --- */

static uint64_t segment_size(const struct wal *wal)
{
    return wal->options.segment_size == 0 ? WAL_SEGMENT_SIZE : wal->options.segment_size;
}

static struct error *make_segment(struct wal *wal, const char *path, struct fs_file **file)
{
    TRY(fs_open(wal->options.fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, file));
    struct error *error = fs_file_lock(*file, FS_LOCK_SEGMENT);
    if (error == NULL) error = fs_file_allocate(*file, segment_size(wal));
    if (error == NULL) return NULL;
    error_free(fs_file_close(*file));
    *file = NULL;
    error_free(fs_remove(wal->options.fs, path)); /* a full disk has better uses for it */
    return error;
}

static struct error *prepare(struct wal *wal)
{
    if (wal->prepared != NULL) return NULL;
    char *path = mem_printf("%s/%u.tmp", folder_of(wal), wal->prepared_count % 2);
    struct error *error = make_segment(wal, path, &wal->prepared);
    if (error != NULL) {
        free(path);
        return error_wrap(error, "wal: prepare a segment");
    }
    wal->prepared_path = path;
    wal->prepared_count++;
    return NULL;
}

/* A failure here loses nothing: the cut will try again. */
struct error *wal_prepare(struct wal *wal)
{
    TRY(check_usable(wal));
    return prepare(wal);
}

/* Gives the prepared segment its place: its head is durable before its name is. */
static struct error *publish_segment(struct wal *wal)
{
    struct wal_segment *segment = tail_of(wal);
    append_head(wal);
    append_state(wal);
    TRY(write_and_sync(wal));
    TRY(fs_rename(wal->options.fs, wal->prepared_path, segment->path));
    free(wal->prepared_path);
    wal->prepared_path = NULL;
    return fs_sync_directory(wal->options.fs, folder_of(wal));
}

static struct error *cut(struct wal *wal)
{
    TRY(write_pending(wal));
    TRY(fs_file_truncate(tail_of(wal)->file, wal->offset));
    TRY(write_and_sync(wal));
    TRY(prepare(wal));
    struct wal_segment next = {.sequence = tail_of(wal)->sequence + 1,
                               .index = wal->last_index + 1,
                               .file = wal->prepared};
    next.path = wal_segment_path(folder_of(wal), next.sequence, next.index);
    wal->prepared = NULL;
    wal_segments_add(&wal->segments, next);
    wal->offset = 0;
    TRY(publish_segment(wal));
    log_info(wal->options.logger, "created a new WAL segment", LOG_STRING("path", tail_of(wal)->path));
    return NULL;
}

/* --- saving --- */

static struct error *write_if_much(struct wal *wal)
{
    if (wal_offset(wal) >= segment_size(wal)) return cut(wal);
    return wal->pending.size >= WAL_PENDING_MAX ? write_pending(wal) : NULL;
}

static struct error *save(struct wal *wal, const struct raft_hard_state *state,
                          const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        append_entry(wal, &entries[i]);
        /* Not cut here: a segment ends with a whole save. */
        if (wal->pending.size >= WAL_PENDING_MAX) TRY(write_pending(wal));
    }
    if (state != NULL && !raft_hard_state_is_empty(*state)) {
        wal->state = *state;
        append_state(wal);
    }
    return write_if_much(wal);
}

struct error *wal_save(struct wal *wal, const struct raft_hard_state *state, const struct raft_entry *entries,
                       size_t count, bool *must_sync)
{
    TRY(check_usable(wal));
    bool has_state = state != NULL && !raft_hard_state_is_empty(*state);
    if (!has_state && count == 0) return NULL;
    if (count > 0 || state->term != wal->state.term || state->vote != wal->state.vote) *must_sync = true;
    return note_failure(wal, save(wal, state, entries, count));
}

struct error *wal_save_snapshot(struct wal *wal, uint64_t index, uint64_t term,
                                const struct raft_conf_state *conf_state)
{
    TRY(check_usable(wal));
    assert(index == 0 || conf_state != NULL);
    struct buf encoded = {0};
    wal_encode_snapshot(&encoded, index, term, conf_state);
    wal_record_append(&wal->pending, WAL_SNAPSHOT, buf_bytes(&encoded), &wal->chain);
    buf_deinit(&encoded);
    if (index > wal->last_index) wal->last_index = index;
    return NULL;
}

struct error *wal_flush(struct wal *wal)
{
    TRY(check_usable(wal));
    return note_failure(wal, write_pending(wal));
}

struct error *wal_sync(struct wal *wal)
{
    TRY(check_usable(wal));
    if (wal->pending.size == 0 && !wal->unsynced) return NULL;
    return note_failure(wal, write_and_sync(wal));
}

/* --- creating --- */

static struct wal *wal_new(const struct wal_options *options, const char *directory)
{
    struct wal *wal = mem_zalloc(1, sizeof(*wal));
    wal->options = *options;
    wal->directory = mem_strdup(directory);
    return wal;
}

static void wal_free(struct wal *wal)
{
    wal_segments_deinit(&wal->segments);
    if (wal->prepared != NULL) error_free(fs_file_close(wal->prepared));
    if (wal->prepared_path != NULL) error_free(fs_remove(wal->options.fs, wal->prepared_path));
    if (wal->build != NULL) error_free(fs_remove_tree(wal->options.fs, wal->build));
    buf_deinit(&wal->pending);
    buf_deinit(&wal->metadata);
    free(wal->prepared_path);
    free(wal->directory);
    free(wal->build);
    free(wal->failure);
    free(wal);
}

static struct error *begin(struct wal *wal, struct bytes metadata)
{
    struct fs *fs = wal->options.fs;
    TRY(fs_remove_tree(fs, wal->build));
    TRY(fs_make_directory(fs, wal->build));
    struct wal_segment first = {.path = wal_segment_path(wal->build, 0, 0)};
    struct error *error = make_segment(wal, first.path, &first.file);
    if (error != NULL) {
        free(first.path);
        return error;
    }
    wal_segments_add(&wal->segments, first);
    /* Never NULL: a metadata record has a data field even when it is empty. */
    buf_reserve(&wal->metadata, metadata.size + 1);
    buf_append_bytes(&wal->metadata, metadata);
    append_head(wal);
    TRY(wal_save_snapshot(wal, 0, 0, NULL));
    return write_and_sync(wal);
}

struct error *wal_begin(const struct wal_options *options, const char *directory, struct bytes metadata,
                        struct wal **wal)
{
    struct wal *created = wal_new(options, directory);
    created->build = mem_printf("%s.tmp", directory);
    struct error *error = begin(created, metadata);
    if (error != NULL) {
        wal_free(created);
        *wal = NULL;
        return error_wrap(error, "wal: create %s", directory);
    }
    *wal = created;
    return NULL;
}

/* Open segments move along with their folder; only their names here change. */
static void rename_segments(struct wal *wal)
{
    for (size_t i = 0; i < wal->segments.count; i++) {
        struct wal_segment *segment = &wal->segments.items[i];
        free(segment->path);
        segment->path = wal_segment_path(wal->directory, segment->sequence, segment->index);
    }
    if (wal->prepared_path == NULL) return;
    char *moved = mem_printf("%s/%s", wal->directory, strrchr(wal->prepared_path, '/') + 1);
    free(wal->prepared_path);
    wal->prepared_path = moved;
}

/* A log whose move may or may not have reached the disk must not be found by the next start: it has no
 * members in it yet. */
static struct error *publish(struct wal *wal)
{
    struct fs *fs = wal->options.fs;
    TRY(write_and_sync(wal));
    TRY(fs_sync_directory(fs, wal->build));
    TRY(fs_remove_tree(fs, wal->directory));
    TRY(fs_rename(fs, wal->build, wal->directory));
    free(wal->build);
    wal->build = NULL;
    rename_segments(wal);
    char *parent = fs_parent(wal->directory);
    struct error *error = fs_sync_directory(fs, parent);
    free(parent);
    if (error != NULL) error_free(fs_remove_tree(fs, wal->directory));
    return error;
}

struct error *wal_publish(struct wal *wal)
{
    TRY(check_usable(wal));
    assert(wal->build != NULL);
    struct error *error = note_failure(wal, publish(wal));
    return error == NULL ? NULL : error_wrap(error, "wal: create %s", wal->directory);
}

struct error *wal_create(const struct wal_options *options, const char *directory, struct bytes metadata,
                         struct wal **wal)
{
    TRY(wal_begin(options, directory, metadata, wal));
    struct error *error = wal_publish(*wal);
    if (error == NULL) return NULL;
    wal_free(*wal);
    *wal = NULL;
    return error;
}

/* --- opening --- */

/* Behind the last record there may be stale bytes of a torn write behind a size of zero. New records must not
 * meet them, not even after another power cut: they go, durably, before anything is written. */
static struct error *clear_behind(struct wal *wal, const struct wal_tail *tail)
{
    struct fs_file *file = tail_of(wal)->file;
    TRY(fs_file_truncate(file, tail->offset));
    /* A file that a crash left at an odd size would end in a piece too short for a frame. */
    if (tail->size > tail->offset) TRY(fs_file_allocate(file, (tail->size + 7) / 8 * 8));
    return wal->options.no_sync ? NULL : fs_file_sync(file);
}

/* A process that was killed between a rename and its sync leaves a name that is there to be read and that a
 * power cut still takes away, with everything we would write behind it: the newest segment's, and the
 * folder's own. */
static struct error *sync_names(const struct wal *wal)
{
    if (wal->options.no_sync) return NULL;
    TRY(fs_sync_directory(wal->options.fs, wal->directory));
    char *parent = fs_parent(wal->directory);
    struct error *error = fs_sync_directory(wal->options.fs, parent);
    free(parent);
    return error;
}

static struct error *open_at(struct wal *wal, uint64_t index, uint64_t term, struct wal_content *content)
{
    struct fs *fs = wal->options.fs;
    TRY(wal_segments_list(fs, wal->options.logger, wal->directory, &wal->segments));
    TRY(wal_segments_select(&wal->segments, wal->directory, index));
    TRY(wal_segments_open(fs, &wal->segments, true));
    struct wal_tail tail = {0};
    TRY(wal_read_segments(&wal->segments, index, term, false, content, &tail));
    wal->offset = tail.offset;
    wal->chain = tail.chain;
    wal->last_index = tail.last_index;
    wal->state = content->hard_state;
    buf_reserve(&wal->metadata, content->metadata.size + 1);
    buf_append_bytes(&wal->metadata, buf_bytes(&content->metadata));
    TRY(clear_behind(wal, &tail));
    TRY(sync_names(wal));
    if (tail.offset > 0) return NULL;
    /* A segment that is there in name only. */
    append_head(wal);
    append_state(wal);
    return write_and_sync(wal);
}

struct error *wal_open(const struct wal_options *options, const char *directory, uint64_t index,
                       uint64_t term, struct wal **wal, struct wal_content *content)
{
    struct wal *opened = wal_new(options, directory);
    struct error *error = open_at(opened, index, term, content);
    if (error != NULL) {
        wal_free(opened);
        wal_content_deinit(content);
        *wal = NULL;
        return error;
    }
    *wal = opened;
    return NULL;
}

struct error *wal_recover(const struct wal_options *options, const char *directory, uint64_t index,
                          uint64_t term, struct wal **wal, struct wal_content *content)
{
    struct error *error = wal_open(options, directory, index, term, wal, content);
    if (!error_is(error, ERROR_TORN)) return error;
    error_free(error);
    error = wal_repair(options, directory);
    if (error == NULL) error = wal_open(options, directory, index, term, wal, content);
    if (error == NULL) return NULL;
    return error_wrap(error, "failed to read WAL, cannot be repaired");
}

/* --- ending --- */

struct error *wal_release(struct wal *wal, uint64_t index)
{
    size_t keep_from = wal->segments.count;
    for (size_t i = 0; i < wal->segments.count; i++) {
        if (wal->segments.items[i].index < index) continue;
        keep_from = i;
        break;
    }
    /* The last one below may hold entries above. */
    return keep_from <= 1 ? NULL : wal_segments_drop_front(&wal->segments, keep_from - 1);
}

struct error *wal_close(struct wal *wal)
{
    if (wal == NULL) return NULL;
    struct error *error = NULL;
    if (wal->failure == NULL && (wal->pending.size > 0 || wal->unsynced)) error = write_and_sync(wal);
    wal_free(wal);
    return error;
}
