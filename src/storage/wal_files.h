/* wal_files: the segments of a folder, and reading through them (private to wal). */
#ifndef STORAGE_WAL_FILES_H
#define STORAGE_WAL_FILES_H

#include "storage/wal.h"
#include "storage/wal_record.h"

struct wal_segment {
    uint64_t sequence;
    uint64_t index; /* of the first entry that may be in it, by its name */
    char *path;
    struct fs_file *file; /* NULL until opened */
};

struct wal_segments {
    struct wal_segment *items; /* by sequence */
    size_t count;
};

char *wal_segment_path(const char *directory, uint64_t sequence, uint64_t index);
/* Appends; takes path and file. */
void wal_segments_add(struct wal_segments *segments, struct wal_segment segment);
/* Closes and forgets the first `count`. */
struct error *wal_segments_drop_front(struct wal_segments *segments, size_t count);
/* Closes what is open; closing cannot lose anything any more. */
void wal_segments_deinit(struct wal_segments *segments);

/* The names of a folder, sorted, other files left out (with a warning unless they are "*.tmp"). */
struct error *wal_segments_list(struct fs *fs, const struct logger *logger, const char *directory,
                                struct wal_segments *segments) __attribute__((warn_unused_result));
/* Of those, the ones to read for a snapshot at `index`: from the last that starts at or below it. */
struct error *wal_segments_select(struct wal_segments *segments, const char *directory, uint64_t index)
    __attribute__((warn_unused_result));
/* `lock`: for appending, with each locked. */
struct error *wal_segments_open(struct fs *fs, struct wal_segments *segments, bool lock)
    __attribute__((warn_unused_result));

/* Where reading ended. */
struct wal_tail {
    uint64_t offset; /* in the last segment */
    uint64_t size;   /* of the last segment */
    uint32_t chain;
    uint64_t last_index;
};

/* Reads everything behind the snapshot (index, term). Torn: an error unless `tolerate_torn`. */
struct error *wal_read_segments(const struct wal_segments *segments, uint64_t index, uint64_t term,
                                bool tolerate_torn, struct wal_content *content, struct wal_tail *tail)
    __attribute__((warn_unused_result));

/* walpb.Snapshot. conf_state may be NULL. */
void wal_encode_snapshot(struct buf *out, uint64_t index, uint64_t term,
                         const struct raft_conf_state *conf_state);

#endif
