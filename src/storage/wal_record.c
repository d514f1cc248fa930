#include "storage/wal_record.h"

#include "base/crc32c.h"
#include "base/wire.h"

#include <assert.h>
#include <inttypes.h>

enum {
    CRC_VARINT_MAX = 5,
    HEAD_MAX = 20,       /* bytes of a body before its data, at most */
    READ_SIZE = 1 << 20, /* bytes read at once */
};

static const uint64_t SIZE_MASK = ((uint64_t)1 << 56) - 1;

/* --- frames --- */

static uint64_t padding_of(uint64_t body)
{
    return (8 - body % 8) % 8;
}

static uint64_t header_of(uint64_t body)
{
    uint64_t padding = padding_of(body);
    return padding == 0 ? body : body | (0x80 | padding) << 56;
}

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
    static const uint8_t zeros[8];
    le64_put(out->data + mark, header_of(body_size));
    buf_append(out, zeros, (size_t)padding_of(body_size));
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

/* The part of the bytes, which lie at `offset` of the file, that shares a sector with the one at `at`. */
static struct bytes piece_at(struct bytes bytes, uint64_t offset, size_t at)
{
    size_t before = (size_t)((offset + at) % WAL_SECTOR), begin = before > at ? 0 : at - before;
    size_t size = (size_t)(WAL_SECTOR - (offset + begin) % WAL_SECTOR);
    return bytes_of(bytes.data + begin, size > bytes.size - begin ? bytes.size - begin : size);
}

static bool is_zero(struct bytes bytes)
{
    size_t zeros = 0;
    while (zeros < bytes.size && bytes.data[zeros] == 0) zeros++;
    return zeros == bytes.size;
}

/* Whether a sector's worth of the bytes, which lie at `offset` of the file, is all zero: its write never
 * reached the disk. */
static bool has_zero_sector(struct bytes bytes, uint64_t offset)
{
    for (size_t at = 0; at < bytes.size;) {
        struct bytes piece = piece_at(bytes, offset, at);
        if (is_zero(piece)) return true;
        at += piece.size;
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

/* ---- damage that looks like a torn write ----
 *
 * etcd takes a record whose size reaches beyond the file, or over sectors of zeros, for one whose write was
 * cut off, and drops it together with everything behind it. But a size lies within one sector, which is
 * written whole or not at all: it is right, or zero together with the rest of its sector. So when the record
 * is whole by what its body says of itself, or when records are found where its body should be, then the size
 * was damaged later, and what would be dropped had been acknowledged.
 */

/* A frame at the beginning of the bytes, whatever its checksum; returns its size, 0 when there is none. */
static size_t parse_frame(struct wal_record *record, struct bytes bytes)
{
    if (bytes.size < WAL_FRAME_HEADER) return 0;
    uint64_t header = le64_get(bytes.data), body = header & SIZE_MASK, padding = padding_of(body);
    size_t rest = bytes.size - WAL_FRAME_HEADER;
    if (header != header_of(body) || body == 0 || body > rest || padding > rest - body ||
        bytes.data[WAL_FRAME_HEADER] != (1 << 3 | WIRE_VARINT) ||
        !parse_record(record, bytes_of(bytes.data + WAL_FRAME_HEADER, (size_t)body)))
        return 0;
    return WAL_FRAME_HEADER + (size_t)(body + padding);
}

/* Two records, one behind the other and in one chain. */
static bool has_chained_records(struct bytes bytes)
{
    struct wal_record first, second;
    for (size_t at = 0; at + WAL_FRAME_HEADER <= bytes.size; at += 8) {
        size_t size = parse_frame(&first, bytes_of(bytes.data + at, bytes.size - at));
        if (size == 0) continue;
        struct bytes behind = bytes_of(bytes.data + at + size, bytes.size - at - size);
        if (parse_frame(&second, behind) == 0 || second.type == WAL_CRC) continue;
        if (crc32c(first.crc, second.data.data, second.data.size) == second.crc) return true;
    }
    return false;
}

/* Whether the bytes begin with a whole record of this chain, told without its frame, of another size. */
static bool is_record_of_other_size(struct bytes bytes, uint32_t chain, uint64_t size)
{
    struct wire_reader reader = wire_reader_of(bytes);
    struct wire_field type, crc, data;
    return wire_next(&reader, &type) && type.number == 1 && type.type == WIRE_VARINT &&
           wire_next(&reader, &crc) && crc.number == 2 && crc.type == WIRE_VARINT &&
           wire_next(&reader, &data) && data.number == 3 && data.type == WIRE_LENGTH &&
           crc32c(chain, data.bytes.data, data.bytes.size) == crc.value &&
           (size_t)(data.bytes.data + data.bytes.size - bytes.data) != size;
}

/* *damaged: the size at the decoder's offset, which claims the bytes up to `end`, cannot be what was written.
 */
static struct error *check_size(struct wal_decoder *decoder, uint64_t header, uint64_t end, bool *damaged)
{
    const uint8_t *at = NULL;
    uint64_t begin = decoder->offset + WAL_FRAME_HEADER, size = header & SIZE_MASK;
    size_t rest = (size_t)(current_source(decoder)->size - begin);
    *damaged = false;
    TRY(look_at(decoder, begin, rest, &at));
    if (at == NULL) return NULL;
    *damaged = header != header_of(size) ||
               is_record_of_other_size(bytes_of(at, rest), decoder->chain, size) ||
               has_chained_records(bytes_of(at, (size_t)(end - begin)));
    return NULL;
}

static struct error *damaged_size(const struct wal_decoder *decoder)
{
    return corrupt(decoder, "wal: the size of a record is damaged, not cut off: nothing is dropped");
}

/* The end of the log: a size of zero, and zeros up to the next sector. */
static struct error *check_end(struct wal_decoder *decoder)
{
    const uint8_t *at = NULL;
    uint64_t size = current_source(decoder)->size;
    uint64_t end = (decoder->offset / WAL_SECTOR + 1) * WAL_SECTOR;
    if (end > size) end = size;
    size_t left = (size_t)(end - decoder->offset);
    TRY(look_at(decoder, decoder->offset, left, &at));
    for (size_t i = 0; at != NULL && i < left; i++)
        if (at[i] != 0) return damaged_size(decoder);
    return NULL;
}

/* Finds the one bit of the data whose other value makes the checksum right; NULL when there is none. A
 * changed bit changes the checksum by what the bit alone is worth at its distance from the end, whatever the
 * data. */
static const uint8_t *find_wrong_bit(struct bytes data, uint32_t difference)
{
    static const uint8_t zero = 0;
    uint32_t worth[8];
    for (unsigned bit = 0; bit < 8; bit++) {
        const uint8_t byte = (uint8_t)(1 << bit);
        worth[bit] = crc32c(0, &byte, 1) ^ crc32c(0, &zero, 1);
    }
    for (const uint8_t *at = data.data + data.size; at > data.data; at--)
        for (unsigned bit = 0; bit < 8; bit++) {
            if (worth[bit] == difference) return at - 1;
            worth[bit] = ~crc32c(~worth[bit], &zero, 1);
        }
    return NULL;
}

static bool matches(struct bytes body, uint32_t chain)
{
    struct wal_record record;
    return parse_record(&record, body) && record.type > 0 && record.type <= WAL_SNAPSHOT &&
           record.type != WAL_CRC && crc32c(chain, record.data.data, record.data.size) == record.crc;
}

/* The same in what comes before the data. */
static const uint8_t *find_wrong_bit_of_head(struct bytes body, uint32_t chain)
{
    struct buf copy = {0};
    const uint8_t *found = NULL;
    buf_append_bytes(&copy, body);
    for (size_t bit = 0; found == NULL && bit < 8 * HEAD_MAX && bit < 8 * body.size; bit++) {
        copy.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (matches(buf_bytes(&copy), chain)) found = body.data + bit / 8;
        copy.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_deinit(&copy);
    return found;
}

/* A record that is right but for one bit was whole once, so that this is no torn write, however many zeros
 * are in it: unless the bit is missing in such a piece of zeros. (One in 2^32 torn records is taken for that,
 * times the bits it has.) */
static bool one_bit_is_wrong(const struct wal_decoder *decoder, struct bytes frame, size_t body_size)
{
    struct wal_record record;
    struct bytes body = bytes_of(frame.data, body_size);
    const uint8_t *found = NULL;
    if (parse_record(&record, body) && record.data.size > 0)
        found = find_wrong_bit(record.data,
                               crc32c(decoder->chain, record.data.data, record.data.size) ^ record.crc);
    if (found == NULL) found = find_wrong_bit_of_head(body, decoder->chain);
    return found != NULL &&
           !is_zero(piece_at(frame, decoder->offset + WAL_FRAME_HEADER, (size_t)(found - frame.data)));
}

/* What to make of a frame that does not add up: torn if its write may have been cut off by a power loss. */
static struct error *bad_frame(struct wal_decoder *decoder, struct bytes frame, uint64_t header,
                               const char *what)
{
    bool damaged;
    uint64_t size = header & SIZE_MASK;
    if (!in_last_source(decoder) || !has_zero_sector(frame, decoder->offset + WAL_FRAME_HEADER) ||
        one_bit_is_wrong(decoder, frame, (size_t)size))
        return corrupt(decoder, what);
    TRY(check_size(decoder, header, decoder->offset + WAL_FRAME_HEADER + frame.size, &damaged));
    return damaged ? damaged_size(decoder) : torn(decoder, "a record has sectors that were not written");
}

static struct error *too_long(struct wal_decoder *decoder, uint64_t header)
{
    bool damaged;
    TRY(check_size(decoder, header, current_source(decoder)->size, &damaged));
    return damaged ? damaged_size(decoder) : torn(decoder, "a record is longer than the file");
}

static struct error *check_chain(struct wal_decoder *decoder, const struct wal_record *record,
                                 struct bytes frame, uint64_t header)
{
    if (record->type == WAL_CRC) {
        if (decoder->chain != 0 && record->crc != decoder->chain)
            return corrupt(decoder, "wal: crc mismatch");
        decoder->chain = record->crc;
        return NULL;
    }
    uint32_t chain = crc32c(decoder->chain, record->data.data, record->data.size);
    if (chain != record->crc) return bad_frame(decoder, frame, header, "walpb: crc mismatch");
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
    if (*end) return check_end(decoder);
    uint64_t padding = header >> 63 != 0 ? header >> 56 & 7 : 0, body = header & SIZE_MASK;
    rest -= WAL_FRAME_HEADER;
    if (body > rest || padding > rest - body) return too_long(decoder, header);
    /* At most the size of a file on disk: safe to allocate. */
    TRY(look_at(decoder, decoder->offset + WAL_FRAME_HEADER, (size_t)(body + padding), &at));
    if (at == NULL) return torn(decoder, "the file became shorter");
    struct bytes frame = bytes_of(at, (size_t)(body + padding));
    if ((body + padding) % 8 != 0 || !parse_record(record, bytes_of(at, (size_t)body)))
        return bad_frame(decoder, frame, header, "wal: a record is malformed");
    TRY(check_chain(decoder, record, frame, header));
    decoder->offset += WAL_FRAME_HEADER + body + padding;
    decoder->place++;
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
        decoder->place = 0;
        buf_clear(&decoder->window);
        decoder->window_offset = 0;
    }
}
