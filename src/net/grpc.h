/* grpc: what both halves of gRPC share (status codes: base/grpc_code.h): metadata, message parts and small
 * text formats.
 *
 * Protocol: "gRPC over HTTP2" (PROTOCOL-HTTP2.md of the gRPC project).
 */
#ifndef NET_GRPC_H
#define NET_GRPC_H

#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/grpc_code.h"

/* Keys are lower case. The values of keys ending in "-bin" are the decoded bytes on both sides. */
struct grpc_metadata {
    struct bytes key;
    struct bytes value;
};

/* One part of an outgoing message. With a blob: `bytes` lies in it and the call takes over one reference.
 * Without: the bytes must stay as they are until the call is over (static text, the call's arena). */
struct grpc_part {
    struct bytes bytes;
    struct blob *blob;
};

/* All of a blob; its reference moves with the part. */
static inline struct grpc_part grpc_part_of_blob(struct blob *blob)
{
    return (struct grpc_part){.bytes = blob_bytes(blob), .blob = blob};
}

static inline struct grpc_part grpc_part_of_bytes(struct bytes bytes)
{
    return (struct grpc_part){.bytes = bytes};
}

enum {
    GRPC_PREFIX_SIZE = 5,                 /* compressed flag, 32-bit big-endian length */
    GRPC_DEFAULT_RECEIVE_LIMIT = 4194304, /* bytes of one message */
};
#define GRPC_DEFAULT_SEND_LIMIT ((size_t)2147483647)

/* grpc-message: bytes outside ' '..'~' and '%' become %XX. */
void grpc_percent_encode(struct buf *out, struct bytes text);
/* Malformed escapes are kept as they are. */
void grpc_percent_decode(struct buf *out, struct bytes text);

/* grpc-timeout: 1 to 8 digits and a unit H M S m u n. On failure `reason` gets grpc-go's text. */
bool grpc_timeout_parse(struct bytes text, int64_t *nanoseconds, struct buf *reason);
/* At least 16 bytes are needed; returns the length. */
size_t grpc_timeout_format(char *out, int64_t nanoseconds);

#endif
