/* Names, selection and reading of segments; repair and purge. */
#include "storage/wal_files.h"

#include "base/memory.h"
#include "base/wire.h"
#include "raft/codec.h"
#include "storage/names.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* --- names --- */

char *wal_segment_path(const char *directory, uint64_t sequence, uint64_t index)
{
    return mem_printf("%s/%016" PRIx64 "-%016" PRIx64 ".wal", directory, sequence, index);
}

void wal_segments_add(struct wal_segments *segments, struct wal_segment segment)
{
    segments->items = mem_realloc(segments->items, (segments->count + 1) * sizeof(segment));
    segments->items[segments->count++] = segment;
}

struct error *wal_segments_drop_front(struct wal_segments *segments, size_t count)
{
    assert(count <= segments->count);
    struct error *error = NULL;
    for (size_t i = 0; i < count; i++) {
        struct wal_segment *segment = &segments->items[i];
        if (segment->file != NULL) {
            struct error *close_error = fs_file_close(segment->file);
            if (error == NULL)
                error = close_error;
            else
                error_free(close_error);
        }
        free(segment->path);
    }
    segments->count -= count;
    if (segments->count > 0)
        memmove(segments->items, segments->items + count, segments->count * sizeof(*segments->items));
    return error;
}

void wal_segments_deinit(struct wal_segments *segments)
{
    error_free(wal_segments_drop_front(segments, segments->count));
    free(segments->items);
    *segments = (struct wal_segments){0};
}

struct error *wal_segments_list(struct fs *fs, const struct logger *logger, const char *directory,
                                struct wal_segments *segments)
{
    char **names = NULL;
    size_t count = 0;
    TRY(fs_list(fs, directory, &names, &count));
    for (size_t i = 0; i < count; i++) {
        struct wal_segment segment = {0};
        if (names_parse_pair(names[i], ".wal", &segment.sequence, &segment.index)) {
            segment.path = mem_printf("%s/%s", directory, names[i]);
            wal_segments_add(segments, segment);
        } else if (!names_have_suffix(names[i], ".tmp")) {
            log_warn(logger, "ignored file in WAL directory", LOG_STRING("path", names[i]));
        }
    }
    fs_names_free(names, count);
    return NULL;
}

/* Whether those from number `first` on follow each other. */
static struct error *check_sequence(const struct wal_segments *segments, size_t first, const char *directory)
{
    for (size_t i = first + 1; i < segments->count; i++)
        if (segments->items[i].sequence != segments->items[i - 1].sequence + 1)
            return error_new(
                ERROR_CORRUPT,
                "wal: file sequence numbers (starting from %zu) do not increase continuously in %s", first,
                directory);
    return NULL;
}

struct error *wal_segments_select(struct wal_segments *segments, const char *directory, uint64_t index)
{
    if (segments->count == 0) return error_new(ERROR_NOT_FOUND, "wal: file not found in %s", directory);
    size_t first = segments->count;
    while (first > 0 && segments->items[first - 1].index > index) first--;
    if (first == 0)
        return error_new(ERROR_NOT_FOUND,
                         "wal: file not found which matches the snapshot index '%" PRIu64 "' in %s", index,
                         directory);
    first--;
    TRY(check_sequence(segments, first, directory));
    return wal_segments_drop_front(segments, first);
}

struct error *wal_segments_open(struct fs *fs, struct wal_segments *segments, bool lock)
{
    for (size_t i = 0; i < segments->count; i++) {
        struct wal_segment *segment = &segments->items[i];
        TRY(fs_open(fs, segment->path, lock ? FS_WRITE : FS_READ, &segment->file));
        struct error *error = lock ? fs_file_lock(segment->file, FS_LOCK_SEGMENT) : NULL;
        if (error_is(error, ERROR_LOCKED)) return error_wrap(error, "fileutil: file already locked");
        if (error != NULL) return error;
    }
    return NULL;
}

struct error *wal_exists(struct fs *fs, const char *directory, bool *exists)
{
    *exists = false;
    struct wal_segments segments = {0};
    struct error *error = wal_segments_list(fs, &log_discard, directory, &segments);
    *exists = segments.count > 0;
    wal_segments_deinit(&segments);
    if (!error_is(error, ERROR_NOT_FOUND)) return error;
    error_free(error);
    return NULL;
}

/* --- walpb.Snapshot --- */

void wal_encode_snapshot(struct buf *out, uint64_t index, uint64_t term,
                         const struct raft_conf_state *conf_state)
{
    wire_uint_field(out, 1, index);
    wire_uint_field(out, 2, term);
    if (conf_state == NULL) return;
    size_t mark = wire_message_begin(out, 3);
    raft_encode_conf_state(out, conf_state);
    wire_message_end(out, mark);
}

static void snapshot_deinit(struct wal_snapshot *snapshot)
{
    raft_conf_state_deinit(&snapshot->conf_state);
    *snapshot = (struct wal_snapshot){0};
}

static struct error *decode_snapshot(struct wal_snapshot *snapshot, struct bytes input)
{
    struct wire_reader reader = wire_reader_of(input);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        if (field.number > 3) continue;
        if (field.number == 0 || (field.type != (field.number == 3 ? WIRE_LENGTH : WIRE_VARINT))) {
            reader.failed = true;
            break;
        }
        if (field.number == 1) snapshot->index = field.value;
        if (field.number == 2) snapshot->term = field.value;
        if (field.number == 3) {
            TRY(raft_decode_conf_state(&snapshot->conf_state, field.bytes));
            snapshot->has_conf_state = true;
        }
    }
    return reader.failed ? error_new(ERROR_INVALID, "malformed walpb.Snapshot") : NULL;
}

void wal_snapshots_deinit(struct wal_snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->count; i++) snapshot_deinit(&snapshots->items[i]);
    free(snapshots->items);
    *snapshots = (struct wal_snapshots){0};
}

/* --- reading --- */

void wal_content_deinit(struct wal_content *content)
{
    buf_deinit(&content->metadata);
    raft_entries_deinit(&content->entries);
    *content = (struct wal_content){0};
}

/* A visitor of records: `context` is its own. */
typedef struct error *visit_record(void *context, const struct wal_record *record);

/* Each file begins with the chain's value and the metadata, and they come nowhere else. */
static struct error *check_place(const struct wal_decoder *decoder, const struct wal_record *record)
{
    static const int64_t head[] = {WAL_CRC, WAL_METADATA};
    enum { HEAD = sizeof(head) / sizeof(head[0]) };
    bool fits = decoder->place <= HEAD ? record->type == head[decoder->place - 1]
                                       : record->type != WAL_CRC && record->type != WAL_METADATA;
    if (fits) return NULL;
    return error_new(ERROR_CORRUPT, "record %zu of a file cannot be of type %" PRId64 ": it was damaged",
                     decoder->place, record->type);
}

static struct error *walk(struct wal_decoder *decoder, visit_record *visit, void *context)
{
    for (;;) {
        struct wal_record record;
        bool end = false;
        TRY(wal_decoder_next(decoder, &record, &end));
        if (end) return NULL;
        struct error *error = visit(context, &record);
        if (error == NULL) error = check_place(decoder, &record);
        if (error == NULL) continue;
        /* Its checksum was right: this is no torn write, whatever the content is. */
        error->kind = ERROR_CORRUPT;
        return error_wrap(error, "wal: in file '%s' before position: %" PRIu64,
                          decoder->sources[decoder->current].path, decoder->offset);
    }
}

static struct wal_source *sources_of(const struct wal_segments *segments, struct error **error)
{
    struct wal_source *sources = mem_zalloc(segments->count, sizeof(*sources));
    *error = NULL;
    for (size_t i = 0; i < segments->count && *error == NULL; i++) {
        sources[i] = (struct wal_source){.file = segments->items[i].file, .path = segments->items[i].path};
        *error = fs_file_size(sources[i].file, &sources[i].size);
    }
    return sources;
}

/* ---- what holds a record to its type ----
 *
 * An entry and a hard state are both made of three numbers: type, term, index and term, vote, commit. One bit
 * of the record's type makes one of the other, with a right checksum: a vote would be forgotten, or what was
 * acknowledged be overwritten. But an entry's type is 0, or it has a content, which a hard state has not; and
 * a hard state's term is never 0.
 */

static bool has_content(struct bytes data)
{
    struct wire_reader reader = wire_reader_of(data);
    struct wire_field field;
    while (wire_next(&reader, &field))
        if (field.number > 3) return true;
    return false;
}

static struct error *read_state(struct raft_hard_state *state, struct bytes data)
{
    TRY(raft_decode_hard_state(state, data));
    if (state->term > 0 && !has_content(data)) return NULL;
    return error_new(ERROR_CORRUPT, "a record is said to be a hard state and is none: it was damaged");
}

static struct error *read_entry_of(struct raft_entry *entry, struct bytes data)
{
    TRY(raft_decode_entry(entry, data));
    if (entry->type == RAFT_ENTRY_NORMAL || entry->data != NULL) return NULL;
    return error_new(ERROR_CORRUPT, "a record is said to be an entry and is none: it was damaged");
}

/* ---- all of it ---- */

struct reading {
    uint64_t index; /* of the snapshot */
    uint64_t term;
    bool matched;
    bool has_entry; /* the log holds the entry that the snapshot stands at */
    bool has_metadata;
    uint64_t last_index;
    /* A snapshot that the entries so far do not lead to: another member's. It counts once it is committed. */
    uint64_t received_index, received_term;
    struct wal_content *content;
};

static bool holds(const struct reading *reading, uint64_t index, uint64_t term)
{
    const struct raft_entries *entries = &reading->content->entries;
    uint64_t offset = index - reading->index - 1;
    return offset < entries->count && entries->items[offset].term == term;
}

static struct error *read_entry(struct reading *reading, struct bytes data)
{
    struct raft_entry entry = {0};
    TRY(read_entry_of(&entry, data));
    struct raft_entries *entries = &reading->content->entries;
    if (entry.index > reading->index) {
        uint64_t offset = entry.index - reading->index - 1;
        if (offset > entries->count) {
            blob_unref(entry.data);
            return error_new(ERROR_CORRUPT,
                             "wal: slice bounds out of range, snapshot[Index: %" PRIu64 ", Term: %" PRIu64
                             "], current entry[Index: %" PRIu64 ", Term: %" PRIu64 "], len(ents): %zu",
                             reading->index, reading->term, entry.index, entry.term, entries->count);
        }
        /* A later entry with an old index drops what was behind it (Raft paper, 5.3). */
        raft_entries_truncate(entries, (size_t)offset);
        raft_entries_append_owned(entries, entry);
        reading->last_index = entry.index;
    } else {
        if (entry.index == reading->index) reading->has_entry = entry.term == reading->term;
        blob_unref(entry.data);
    }
    return NULL;
}

static struct error *read_metadata(struct reading *reading, struct bytes data)
{
    struct buf *metadata = &reading->content->metadata;
    if (reading->has_metadata && !bytes_equal(buf_bytes(metadata), data))
        return error_new(ERROR_CORRUPT, "wal: conflicting metadata found");
    buf_clear(metadata);
    buf_append_bytes(metadata, data);
    reading->has_metadata = true;
    return NULL;
}

static struct error *read_snapshot(struct reading *reading, struct bytes data)
{
    struct wal_snapshot snapshot = {0};
    struct error *error = decode_snapshot(&snapshot, data);
    if (error == NULL && snapshot.index == reading->index) {
        if (snapshot.term != reading->term)
            error = error_new(ERROR_CORRUPT,
                              "wal: snapshot mismatch: term %" PRIu64 " at index %" PRIu64 ", not %" PRIu64,
                              snapshot.term, snapshot.index, reading->term);
        /* Received from another member: what the log held then is of another history, behind it too. */
        if (!reading->has_entry) raft_entries_truncate(&reading->content->entries, 0);
        reading->matched = true;
    }
    if (error == NULL && snapshot.index > reading->index && !holds(reading, snapshot.index, snapshot.term)) {
        reading->received_index = snapshot.index;
        reading->received_term = snapshot.term;
    }
    if (error == NULL && snapshot.index > reading->last_index) reading->last_index = snapshot.index;
    snapshot_deinit(&snapshot);
    return error;
}

/* Read from a snapshot before one that was received (its file cannot be read any more), the entries before
 * that are of another history than those behind it. */
static struct error *visit_state(struct reading *reading, struct bytes data)
{
    struct raft_hard_state *state = &reading->content->hard_state;
    TRY(read_state(state, data));
    if (reading->received_index == 0 || state->commit < reading->received_index) return NULL;
    if (!holds(reading, reading->received_index, reading->received_term))
        return error_new(ERROR_CORRUPT,
                         "wal: what follows continues a received snapshot at index %" PRIu64 ", term %" PRIu64
                         ", and not what comes before it",
                         reading->received_index, reading->received_term);
    reading->received_index = 0;
    return NULL;
}

static struct error *unexpected_type(const struct wal_record *record)
{
    return error_new(ERROR_CORRUPT, "unexpected block type %" PRId64, record->type);
}

static struct error *visit_all(void *context, const struct wal_record *record)
{
    struct reading *reading = context;
    switch (record->type) {
    case WAL_METADATA:
        return read_metadata(reading, record->data);
    case WAL_ENTRY:
        return read_entry(reading, record->data);
    case WAL_STATE:
        return visit_state(reading, record->data);
    case WAL_CRC:
        return NULL;
    case WAL_SNAPSHOT:
        return read_snapshot(reading, record->data);
    default:
        return unexpected_type(record);
    }
}

struct error *wal_read_segments(const struct wal_segments *segments, uint64_t index, uint64_t term,
                                bool tolerate_torn, struct wal_content *content, struct wal_tail *tail)
{
    assert(segments->count > 0);
    assert(content->entries.count == 0 && content->metadata.size == 0);
    struct error *error = NULL;
    struct wal_source *sources = sources_of(segments, &error);
    struct wal_decoder decoder = {.sources = sources, .count = segments->count};
    struct reading reading = {.index = index, .term = term, .last_index = index, .content = content};
    if (error == NULL) error = walk(&decoder, visit_all, &reading);
    if (tolerate_torn && error_is(error, ERROR_TORN)) {
        error_free(error);
        error = NULL;
        content->torn = true;
    }
    if (error == NULL && !reading.matched)
        error = error_new(ERROR_CORRUPT, "wal: snapshot not found: no record of index %" PRIu64 " from %s on",
                          index, segments->items[0].path);
    *tail = (struct wal_tail){.offset = decoder.offset,
                              .size = sources[segments->count - 1].size,
                              .chain = decoder.chain,
                              .last_index = reading.last_index};
    wal_decoder_deinit(&decoder);
    free(sources);
    if (error != NULL) wal_content_deinit(content);
    return error;
}

struct error *wal_read(const struct wal_options *options, const char *directory, uint64_t index,
                       uint64_t term, struct wal_content *content)
{
    struct wal_segments segments = {0};
    struct wal_tail tail;
    struct error *error = wal_segments_list(options->fs, options->logger, directory, &segments);
    if (error == NULL) error = wal_segments_select(&segments, directory, index);
    if (error == NULL) error = wal_segments_open(options->fs, &segments, false);
    if (error == NULL) error = wal_read_segments(&segments, index, term, true, content, &tail);
    wal_segments_deinit(&segments);
    return error;
}

struct snapshot_scan {
    struct wal_snapshots *snapshots;
    struct raft_hard_state state;
};

static struct error *visit_snapshots(void *context, const struct wal_record *record)
{
    struct snapshot_scan *scan = context;
    if (record->type == WAL_STATE) return read_state(&scan->state, record->data);
    if (record->type < WAL_METADATA || record->type > WAL_SNAPSHOT) return unexpected_type(record);
    if (record->type != WAL_SNAPSHOT) return NULL;
    struct wal_snapshot snapshot = {0};
    struct error *error = decode_snapshot(&snapshot, record->data);
    if (error != NULL) {
        snapshot_deinit(&snapshot);
        return error;
    }
    struct wal_snapshots *snapshots = scan->snapshots;
    snapshots->items = mem_realloc(snapshots->items, (snapshots->count + 1) * sizeof(snapshot));
    snapshots->items[snapshots->count++] = snapshot;
    return NULL;
}

static void keep_committed(struct wal_snapshots *snapshots, uint64_t commit)
{
    size_t kept = 0;
    for (size_t i = 0; i < snapshots->count; i++) {
        if (snapshots->items[i].index <= commit)
            snapshots->items[kept++] = snapshots->items[i];
        else
            snapshot_deinit(&snapshots->items[i]);
    }
    snapshots->count = kept;
}

/* Leaves out segments whose successor starts at or below `index`: what they hold is older. A position is
 * written behind the entries it covers, never before them. */
static struct error *skip_older(struct wal_segments *segments, uint64_t index)
{
    size_t older = 0;
    while (older + 1 < segments->count && segments->items[older + 1].index <= index) older++;
    return wal_segments_drop_front(segments, older);
}

struct error *wal_valid_snapshots(const struct wal_options *options, const char *directory, uint64_t since,
                                  struct wal_snapshots *snapshots)
{
    assert(snapshots->count == 0);
    struct wal_segments segments = {0};
    struct error *error = wal_segments_list(options->fs, options->logger, directory, &segments);
    if (error == NULL) error = check_sequence(&segments, 0, directory);
    if (error == NULL && segments.count == 0)
        error = error_new(ERROR_NOT_FOUND, "wal: file not found in %s", directory);
    if (error == NULL) error = skip_older(&segments, since);
    if (error == NULL) error = wal_segments_open(options->fs, &segments, false);
    struct snapshot_scan scan = {.snapshots = snapshots};
    if (error == NULL) {
        struct wal_source *sources = sources_of(&segments, &error);
        struct wal_decoder decoder = {.sources = sources, .count = segments.count};
        if (error == NULL) error = walk(&decoder, visit_snapshots, &scan);
        wal_decoder_deinit(&decoder);
        free(sources);
    }
    wal_segments_deinit(&segments);
    if (error_is(error, ERROR_TORN)) {
        error_free(error);
        error = NULL;
    }
    if (error == NULL)
        keep_committed(snapshots, scan.state.commit);
    else
        wal_snapshots_deinit(snapshots);
    return error;
}

/* --- repair --- */

static struct error *visit_nothing(void *context, const struct wal_record *record)
{
    (void)context;
    (void)record;
    return NULL;
}

static struct error *copy_file(struct fs *fs, struct fs_file *from, uint64_t size, const char *to_path)
{
    enum { CHUNK = 1 << 20 };
    struct fs_file *to = NULL;
    TRY(fs_open(fs, to_path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &to));
    struct buf chunk = {0};
    struct error *error = NULL;
    for (uint64_t offset = 0; offset < size && error == NULL;) {
        buf_clear(&chunk);
        size_t got = 0;
        error = fs_file_pread(from, buf_reserve(&chunk, CHUNK), CHUNK, offset, &got);
        if (error == NULL && got == 0) break;
        if (error == NULL) error = fs_file_pwrite(to, chunk.data, got, offset);
        offset += got;
    }
    if (error == NULL) error = fs_file_sync(to);
    buf_deinit(&chunk);
    struct error *close_error = fs_file_close(to);
    if (error == NULL) return close_error;
    error_free(close_error);
    return error;
}

static struct error *cut_torn_end(const struct wal_options *options, const char *directory,
                                  const struct wal_segment *segment)
{
    struct wal_source source = {.file = segment->file, .path = segment->path};
    TRY(fs_file_size(segment->file, &source.size));
    struct wal_decoder decoder = {.sources = &source, .count = 1};
    struct error *error = walk(&decoder, visit_nothing, NULL);
    uint64_t end = decoder.offset;
    wal_decoder_deinit(&decoder);
    if (!error_is(error, ERROR_TORN)) return error;
    error_free(error);
    char *broken = mem_printf("%s.broken", segment->path);
    error = copy_file(options->fs, segment->file, source.size, broken);
    free(broken);
    if (error == NULL) error = fs_sync_directory(options->fs, directory);
    if (error == NULL) error = fs_file_truncate(segment->file, end);
    if (error == NULL) error = fs_file_sync(segment->file);
    return error;
}

struct error *wal_repair(const struct wal_options *options, const char *directory)
{
    struct wal_segments segments = {0};
    struct error *error = wal_segments_list(options->fs, options->logger, directory, &segments);
    if (error == NULL) error = wal_segments_select(&segments, directory, UINT64_MAX); /* the last one */
    if (error == NULL) error = wal_segments_open(options->fs, &segments, true);
    if (error == NULL) {
        const char *path = segments.items[0].path;
        log_info(options->logger, "repairing", LOG_STRING("path", path));
        error = cut_torn_end(options, directory, &segments.items[0]);
        if (error == NULL)
            log_info(options->logger, "repaired", LOG_STRING("path", path));
        else
            log_warn(options->logger, "failed to repair", LOG_STRING("path", path),
                     LOG_STRING("error", error->text));
    }
    wal_segments_deinit(&segments);
    return error;
}

/* --- purge --- */

/* *busy when another handle holds it. */
static struct error *remove_unlocked(const struct wal_options *options, struct wal_segment *segment,
                                     bool *busy)
{
    TRY(fs_open(options->fs, segment->path, FS_WRITE, &segment->file));
    struct error *error = fs_file_lock(segment->file, FS_LOCK_SEGMENT);
    *busy = error_is(error, ERROR_LOCKED);
    if (*busy) {
        error_free(error);
        return NULL;
    }
    if (error == NULL) error = fs_remove(options->fs, segment->path);
    if (error == NULL) log_info(options->logger, "purged", LOG_STRING("path", segment->path));
    return error;
}

struct error *wal_purge(const struct wal_options *options, const char *directory, size_t keep,
                        size_t *removed)
{
    *removed = 0;
    if (keep == 0) return NULL;
    struct wal_segments segments = {0};
    struct error *error = wal_segments_list(options->fs, &log_discard, directory, &segments);
    bool busy = false;
    for (size_t i = 0; error == NULL && !busy && segments.count - i > keep; i++) {
        error = remove_unlocked(options, &segments.items[i], &busy);
        if (error == NULL && !busy) (*removed)++;
    }
    wal_segments_deinit(&segments);
    return error;
}
