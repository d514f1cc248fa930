#include "net/grpc_frame.h"

#include <assert.h>
#include <zlib.h>

/* What is reserved at once for a promised length; more only as it arrives. */
enum { FIRST_RESERVE = 64 * 1024, KEPT_CAPACITY = 16 * 1024, GZIP_WINDOW = 15 + 16, GZIP_STEP = 32 * 1024 };

void grpc_frame_reader_deinit(struct grpc_frame_reader *reader)
{
    buf_deinit(&reader->body);
    reader->prefix_size = 0;
}

void grpc_frame_reader_reset(struct grpc_frame_reader *reader)
{
    reader->prefix_size = 0;
    if (reader->body.capacity > KEPT_CAPACITY)
        buf_deinit(&reader->body);
    else
        buf_clear(&reader->body);
}

static size_t prefix_length(const uint8_t *prefix)
{
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

static struct bytes skip(struct bytes input, size_t size)
{
    return bytes_of(input.data + size, input.size - size);
}

size_t grpc_frame_length(const struct grpc_frame_reader *reader)
{
    return reader->prefix_size < GRPC_PREFIX_SIZE ? 0 : prefix_length(reader->prefix);
}

/* Completes the prefix; false when the input does not suffice. */
static bool take_prefix(struct grpc_frame_reader *reader, struct bytes *input)
{
    size_t missing = (size_t)GRPC_PREFIX_SIZE - reader->prefix_size;
    size_t part = input->size < missing ? input->size : missing;
    if (part > 0) memcpy(reader->prefix + reader->prefix_size, input->data, part);
    reader->prefix_size = (uint8_t)(reader->prefix_size + part);
    *input = skip(*input, part);
    return part == missing;
}

enum grpc_frame_result grpc_frame_next(struct grpc_frame_reader *reader, struct bytes *input, size_t limit,
                                       struct bytes *message, bool *compressed)
{
    if (reader->prefix_size < GRPC_PREFIX_SIZE) {
        /* The message before, if it was gathered, has been used by now. */
        if (reader->prefix_size == 0) grpc_frame_reader_reset(reader);
        if (!take_prefix(reader, input)) return GRPC_FRAME_MORE;
        if (prefix_length(reader->prefix) > limit) return GRPC_FRAME_TOO_LARGE;
    }
    size_t length = prefix_length(reader->prefix);
    assert(reader->body.size <= length);
    size_t missing = length - reader->body.size;
    if (input->size < missing) {
        if (reader->body.size == 0 && input->size > 0) {
            buf_reserve(&reader->body, length < FIRST_RESERVE ? length : FIRST_RESERVE);
        }
        buf_append_bytes(&reader->body, *input);
        *input = skip(*input, input->size);
        return GRPC_FRAME_MORE;
    }
    if (reader->body.size == 0) {
        *message = bytes_of(input->data, length);
    } else {
        buf_append(&reader->body, input->data, missing);
        *message = buf_bytes(&reader->body);
    }
    *input = skip(*input, missing);
    *compressed = reader->prefix[0] != 0;
    reader->prefix_size = 0;
    return GRPC_FRAME_MESSAGE;
}

void grpc_frame_prefix(uint8_t prefix[GRPC_PREFIX_SIZE], size_t length, bool compressed)
{
    assert(length <= UINT32_MAX);
    prefix[0] = compressed ? 1 : 0;
    prefix[1] = (uint8_t)(length >> 24);
    prefix[2] = (uint8_t)(length >> 16);
    prefix[3] = (uint8_t)(length >> 8);
    prefix[4] = (uint8_t)length;
}

enum grpc_gzip_result grpc_gzip_decompress(struct bytes input, size_t limit, struct buf *out)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)input.data, .avail_in = (uInt)input.size};
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK) return GRPC_GZIP_MALFORMED;
    size_t begin = out->size;
    int status = Z_OK;
    while (status == Z_OK && out->size - begin <= limit) {
        stream.next_out = buf_reserve(out, GZIP_STEP);
        stream.avail_out = GZIP_STEP;
        status = inflate(&stream, Z_NO_FLUSH);
        size_t produced = GZIP_STEP - stream.avail_out;
        out->size += produced;
        /* Concatenated members are one content, as for gzip itself. */
        if (status == Z_STREAM_END && stream.avail_in > 0) status = inflateReset(&stream);
    }
    inflateEnd(&stream);
    if (out->size - begin > limit) return GRPC_GZIP_TOO_LARGE;
    return status == Z_STREAM_END ? GRPC_GZIP_OK : GRPC_GZIP_MALFORMED;
}

void grpc_gzip_compress(const struct grpc_part *parts, size_t count, struct buf *out)
{
    z_stream stream = {0};
    int status = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY);
    assert(status == Z_OK);
    for (size_t i = 0; i <= count; i++) {
        stream.next_in = i < count ? (Bytef *)(uintptr_t)parts[i].bytes.data : NULL;
        stream.avail_in = i < count ? (uInt)parts[i].bytes.size : 0;
        do {
            stream.next_out = buf_reserve(out, GZIP_STEP);
            stream.avail_out = GZIP_STEP;
            status = deflate(&stream, i < count ? Z_NO_FLUSH : Z_FINISH);
            assert(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR);
            out->size += GZIP_STEP - stream.avail_out;
        } while (stream.avail_out == 0);
    }
    deflateEnd(&stream);
}
