/* wal_record: the bytes of a segment (shared by wal, its tools and its tests).
 *
 *     frame:   u64 little endian  low 56 bits: body size; top byte: 0x80 | padding, or 0 without padding
 *              body               walpb.Record {1 type, 2 crc, 3 data}, type and crc always written
 *              padding            zeros up to a multiple of 8
 *
 * A size of 0 ends the file (the rest is preallocated). crc is CRC-32C over the data of all records so far,
 * carried from file to file: a record of type WAL_CRC, the first of each file, holds the value the chain has
 * there and adds nothing. A reader may start with any file: it takes the first WAL_CRC value as given. Then
 * come one WAL_METADATA, the same in each file, and, but for the very first file, the last WAL_STATE.
 *
 * Frames start at multiples of 8, so a size never lies on two sectors. Space behind the last record is zeros,
 * and a sector is written whole or not at all: a record whose write was torn shows at least one piece of
 * zeros, and its size is right or zero like the rest of its sector. A size that is neither was damaged later:
 * unlike etcd, which would drop the record and all that was acknowledged behind it, that is ERROR_CORRUPT. So
 * is a record that holds zeros and is right but for one bit. The type of a record is under no checksum:
 * whoever reads makes sure that it is where such a record may be and holds what such a record holds
 * (wal_files.c). (One damage cannot be told: where a size that is a power of two is the last word of its
 * sector and becomes zero, a torn write looks the same.)
 */
#ifndef STORAGE_WAL_RECORD_H
#define STORAGE_WAL_RECORD_H

#include "base/buf.h"
#include "base/error.h"
#include "storage/fs.h"

enum wal_record_type {
    WAL_METADATA = 1,
    WAL_ENTRY = 2,    /* raftpb.Entry */
    WAL_STATE = 3,    /* raftpb.HardState */
    WAL_CRC = 4,      /* no data */
    WAL_SNAPSHOT = 5, /* walpb.Snapshot */
};

enum { WAL_SECTOR = 512, WAL_FRAME_HEADER = 8 };

/* Appends a frame. data.data NULL: no data field. *chain goes on, except for WAL_CRC, whose value is *chain.
 */
void wal_record_append(struct buf *out, enum wal_record_type type, struct bytes data, uint32_t *chain);
/* The same for data that is encoded in place: exactly `size` bytes between begin and end. */
size_t wal_record_begin(struct buf *out, size_t size);
void wal_record_end(struct buf *out, size_t mark, size_t size, enum wal_record_type type, uint32_t *chain);

struct wal_record {
    int64_t type; /* unknown ones are handed out too */
    uint32_t crc;
    struct bytes data; /* until the next call */
};

/* One file to decode; borrowed. */
struct wal_source {
    struct fs_file *file;
    const char *path;
    uint64_t size;
};

/* Reads records from files in a row. Zero-initialise, set sources and count. */
struct wal_decoder {
    const struct wal_source *sources;
    size_t count;
    size_t current;  /* the source at hand */
    uint64_t offset; /* in it: end of the last good record */
    size_t place;    /* so many records of it were handed out */
    uint32_t chain;
    struct buf window; /* bytes of the source from window_offset on */
    uint64_t window_offset;
};

void wal_decoder_deinit(struct wal_decoder *decoder);
/* The next record, checked against the chain; *end at the clean end of the last file. ERROR_TORN in the last
 * file only: `offset` is where to cut. ERROR_CORRUPT: anything else that is wrong. */
struct error *wal_decoder_next(struct wal_decoder *decoder, struct wal_record *record, bool *end)
    __attribute__((warn_unused_result));

#endif
