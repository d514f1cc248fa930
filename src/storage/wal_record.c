#include "storage/wal_record.h"

#include "base/crc32c.h"
#include "base/wire.h"

#include <assert.h>
#include <inttypes.h>

enum {
    CRC_VARINT_MAX = 5,
    READ_SIZE = 1 << 20, /* bytes read at once */
};

static const uint64_t SIZE_MASK = ((uint64_t)1 << 56) - 1;

/* --- writing --- */

/* The body before the data: type, crc and the data's tag and size. All types are below 128. */
static size_t head_size(size_t data_size, uint32_t crc, bool has_data)
{
    size_t size = 2 + 1 + wire_varint_size(crc);
    return has_data ? size + 1 + wire_varint_size(data_size) : size;
}

static uint8_t *put_head(uint8_t *at, enum wal_record_type type, uint32_t crc, size_t data_size,
                         bool has_data)
{
    *at++ = 1 << 3 | WIRE_VARINT;
    at = wire_varint_put(at, (uint64_t)type);
    *at++ = 2 << 3 | WIRE_VARINT;
    at = wire_varint_put(at, crc);
    if (!has_data) return at;
    *at++ = 3 << 3 | WIRE_LENGTH;
    return wire_varint_put(at, data_size);
}

static void finish_frame(struct buf *out, size_t mark, size_t body_size)
{
    uint64_t padding = (8 - body_size % 8) % 8;
    le64_put(out->data + mark,
             padding == 0 ? (uint64_t)body_size : (uint64_t)body_size | (0x80 | padding) << 56);
    static const uint8_t zeros[8];
    buf_append(out, zeros, (size_t)padding);
}

/* Where the data goes when its crc takes the most room. */
static size_t data_gap(size_t size)
{
    return WAL_FRAME_HEADER + 2 + 1 + CRC_VARINT_MAX + 1 + wire_varint_size(size);
}

size_t wal_record_begin(struct buf *out, size_t size)
{
    size_t mark = out->size;
    buf_reserve(out, data_gap(size) + size + 8);
    out->size += data_gap(size);
    return mark;
}

void wal_record_end(struct buf *out, size_t mark, size_t size, enum wal_record_type type, uint32_t *chain)
{
    size_t gap = data_gap(size);
    assert(out->size == mark + gap + size);
    uint8_t *data = out->data + mark + gap;
    *chain = crc32c(*chain, data, size);
    size_t head = head_size(size, *chain, true);
    if (WAL_FRAME_HEADER + head < gap) {
        size_t surplus = gap - WAL_FRAME_HEADER - head;
        memmove(data - surplus, data, size);
        out->size -= surplus;
    }
    put_head(out->data + mark + WAL_FRAME_HEADER, type, *chain, size, true);
    finish_frame(out, mark, head + size);
}

void wal_record_append(struct buf *out, enum wal_record_type type, struct bytes data, uint32_t *chain)
{
    if (data.data != NULL) {
        assert(type != WAL_CRC);
        size_t mark = wal_record_begin(out, data.size);
        buf_append_bytes(out, data);
        wal_record_end(out, mark, data.size, type, chain);
        return;
    }
    size_t mark = out->size, head = head_size(0, *chain, false);
    buf_reserve(out, WAL_FRAME_HEADER + head + 8);
    put_head(out->data + mark + WAL_FRAME_HEADER, type, *chain, 0, false);
    out->size += WAL_FRAME_HEADER + head;
    finish_frame(out, mark, head);
}

/* --- reading --- */

void wal_decoder_deinit(struct wal_decoder *decoder)
{
    buf_deinit(&decoder->window);
}

static const struct wal_source *current_source(const struct wal_decoder *decoder)
{
    return &decoder->sources[decoder->current];
}

static bool in_last_source(const struct wal_decoder *decoder)
{
    return decoder->current + 1 == decoder->count;
}

/* A record cut short. In the middle of the log that is no torn write: the next file was begun after a sync.
 */
static struct error *torn(const struct wal_decoder *decoder, const char *what)
{
    return error_new(in_last_source(decoder) ? ERROR_TORN : ERROR_CORRUPT,
                     "unexpected EOF: in file '%s' at position: %" PRIu64 ": %s",
                     current_source(decoder)->path, decoder->offset, what);
}

static struct error *corrupt(const struct wal_decoder *decoder, const char *what)
{
    return error_new(ERROR_CORRUPT, "%s: in file '%s' at position: %" PRIu64, what,
                     current_source(decoder)->path, decoder->offset);
}

/* Bytes [offset, offset + size) of the source, which must be inside the file; until the next call. NULL data
 * when the file has become shorter than it was. */
static struct error *look_at(struct wal_decoder *decoder, uint64_t offset, size_t size, const uint8_t **data)
{
    *data = NULL;
    struct buf *window = &decoder->window;
    uint64_t start = decoder->window_offset;
    if (offset < start || offset + size > start + window->size) {
        const struct wal_source *source = current_source(decoder);
        uint64_t rest = source->size - offset;
        size_t wanted = size > READ_SIZE ? size : READ_SIZE;
        if (wanted > rest) wanted = (size_t)rest;
        buf_clear(window);
        decoder->window_offset = offset;
        uint8_t *room = buf_reserve(window, wanted);
        size_t got = 0;
        TRY(fs_file_pread(source->file, room, wanted, offset, &got));
        window->size = got;
        if (got < size) return NULL;
        start = offset;
    }
    *data = window->data + (offset - start);
    return NULL;
}

/* Whether a sector's worth of the bytes, which lie at `offset` of the file, is all zero: its write never
 * reached the disk. */
static bool has_zero_sector(const uint8_t *data, size_t size, uint64_t offset)
{
    size_t at = 0;
    while (at < size) {
        size_t piece = (size_t)(WAL_SECTOR - (offset + at) % WAL_SECTOR);
        if (piece > size - at) piece = size - at;
        size_t zeros = 0;
        while (zeros < piece && data[at + zeros] == 0) zeros++;
        if (zeros == piece) return true;
        at += piece;
    }
    return false;
}

static bool parse_record(struct wal_record *record, struct bytes body)
{
    *record = (struct wal_record){0};
    struct wire_reader reader = wire_reader_of(body);
    struct wire_field field;
    while (wire_next(&reader, &field)) {
        static const enum wire_type types[] = {0, WIRE_VARINT, WIRE_VARINT, WIRE_LENGTH};
        if (field.number == 0) return false;
        if (field.number > 3) continue;
        if (field.type != types[field.number]) return false;
        if (field.number == 1) record->type = (int64_t)field.value;
        if (field.number == 2) record->crc = (uint32_t)field.value;
        if (field.number == 3) record->data = field.bytes;
    }
    return !reader.failed;
}

/* What to make of a frame that does not add up: torn if its write may have been cut off by a power loss. */
static struct error *bad_frame(const struct wal_decoder *decoder, struct bytes frame, const char *what)
{
    if (in_last_source(decoder) &&
        has_zero_sector(frame.data, frame.size, decoder->offset + WAL_FRAME_HEADER))
        return torn(decoder, "a record has sectors that were not written");
    return corrupt(decoder, what);
}

static struct error *check_chain(struct wal_decoder *decoder, const struct wal_record *record,
                                 struct bytes frame)
{
    if (record->type == WAL_CRC) {
        if (decoder->chain != 0 && record->crc != decoder->chain)
            return corrupt(decoder, "wal: crc mismatch");
        decoder->chain = record->crc;
        return NULL;
    }
    uint32_t chain = crc32c(decoder->chain, record->data.data, record->data.size);
    if (chain != record->crc) return bad_frame(decoder, frame, "walpb: crc mismatch");
    decoder->chain = chain;
    return NULL;
}

static struct error *next_in_source(struct wal_decoder *decoder, struct wal_record *record, bool *end)
{
    uint64_t size = current_source(decoder)->size;
    uint64_t rest = size - decoder->offset;
    const uint8_t *at = NULL;
    *end = rest == 0;
    if (*end) return NULL;
    if (rest < WAL_FRAME_HEADER) return torn(decoder, "a record's size is cut off");
    TRY(look_at(decoder, decoder->offset, WAL_FRAME_HEADER, &at));
    if (at == NULL) return torn(decoder, "the file became shorter");
    uint64_t header = le64_get(at);
    *end = header == 0;
    if (*end) return NULL;
    uint64_t padding = header >> 63 != 0 ? header >> 56 & 7 : 0, body = header & SIZE_MASK;
    rest -= WAL_FRAME_HEADER;
    if (body > rest || padding > rest - body) return torn(decoder, "a record is longer than the file");
    /* At most the size of a file on disk: safe to allocate. */
    TRY(look_at(decoder, decoder->offset + WAL_FRAME_HEADER, (size_t)(body + padding), &at));
    if (at == NULL) return torn(decoder, "the file became shorter");
    struct bytes frame = bytes_of(at, (size_t)(body + padding));
    if ((body + padding) % 8 != 0 || !parse_record(record, bytes_of(at, (size_t)body)))
        return bad_frame(decoder, frame, "wal: a record is malformed");
    TRY(check_chain(decoder, record, frame));
    decoder->offset += WAL_FRAME_HEADER + body + padding;
    return NULL;
}

struct error *wal_decoder_next(struct wal_decoder *decoder, struct wal_record *record, bool *end)
{
    assert(decoder->count > 0 && decoder->current < decoder->count);
    for (;;) {
        TRY(next_in_source(decoder, record, end));
        if (!*end || in_last_source(decoder)) return NULL;
        decoder->current++;
        decoder->offset = 0;
        buf_clear(&decoder->window);
        decoder->window_offset = 0;
    }
}
