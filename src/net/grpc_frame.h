/* grpc_frame: the length-prefixed messages inside a gRPC stream, and their compression. Internal to src/net.
 *
 *     +------------+----------------------+---------...
 *     | compressed | length, big-endian   | message
 *     | 1 byte     | 4 bytes              | length bytes
 *     +------------+----------------------+---------...
 *
 * Messages may be cut anywhere by DATA frames. One that arrives whole is handed out where it lies; only split
 * ones are gathered in a buffer, which grows with what has arrived, not with what the prefix promises.
 */
#ifndef NET_GRPC_FRAME_H
#define NET_GRPC_FRAME_H

#include "base/buf.h"
#include "net/grpc.h"

/* Zero-initialised is ready. */
struct grpc_frame_reader {
    uint8_t prefix[GRPC_PREFIX_SIZE];
    uint8_t prefix_size; /* how much of it is there */
    struct buf body;     /* the gathered part of the message */
};

enum grpc_frame_result {
    GRPC_FRAME_MORE,      /* the input is used up */
    GRPC_FRAME_MESSAGE,   /* *message: valid until the next call, and only as long as the input */
    GRPC_FRAME_TOO_LARGE, /* longer than the limit; the stream is of no use any more */
};

void grpc_frame_reader_deinit(struct grpc_frame_reader *reader);
/* Forgets everything, keeps little memory. */
void grpc_frame_reader_reset(struct grpc_frame_reader *reader);
/* Takes bytes off the front of *input until a message is complete. */
enum grpc_frame_result grpc_frame_next(struct grpc_frame_reader *reader, struct bytes *input, size_t limit,
                                       struct bytes *message, bool *compressed);
/* The length promised by the prefix of the message that is being read; 0 when none is. */
size_t grpc_frame_length(const struct grpc_frame_reader *reader);
/* True when it stands inside a message. */
static inline bool grpc_frame_is_partial(const struct grpc_frame_reader *reader)
{
    return reader->prefix_size > 0;
}

void grpc_frame_prefix(uint8_t prefix[GRPC_PREFIX_SIZE], size_t length, bool compressed);

enum grpc_gzip_result { GRPC_GZIP_OK, GRPC_GZIP_TOO_LARGE, GRPC_GZIP_MALFORMED };

/* Appends the content of a gzip stream, at most `limit` bytes. */
enum grpc_gzip_result grpc_gzip_decompress(struct bytes input, size_t limit, struct buf *out);
void grpc_gzip_compress(const struct grpc_part *parts, size_t count, struct buf *out);

#endif
