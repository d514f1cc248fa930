/* message: protobuf messages between bytes and structs.
 *
 * protobuf-c decodes recursively without a limit (a 34 kB TxnRequest of nested transactions overflows the
 * stack) and stores strings as C strings, so that whatever follows a zero byte is silently cut: "root\0x"
 * would become "root". So everything that comes from outside goes through message_unpack, which first walks
 * the bytes along the message's descriptor and refuses what protobuf-c must not see. Unknown fields are
 * let through and kept, as in Go.
 *
 * Thread safe; an arena belongs to one thread at a time.
 */
#ifndef API_MESSAGE_H
#define API_MESSAGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#include <protobuf-c/protobuf-c.h>

/* Messages inside messages. etcd itself refuses transactions deeper than 128 operations allow; Go's limit is
 * 10000. */
enum { MESSAGE_DEPTH_MAX = 100 };

/* Fields that a client's request may have, over all messages in it. Two bytes can make a field and a field an
 * empty message of more than a hundred bytes, so the limit on a request's size alone does not limit the
 * memory it takes. This one keeps that below some 30 MB; an operation of a transaction has about five fields.
 */
enum { MESSAGE_REQUEST_FIELDS_MAX = 1 << 17 };

/* Decodes `bytes` into a message whose memory comes from `arena` (never free it singly). NULL when malformed;
 * then *error (may be NULL) says what etcd says ("proto: wrong wireType = 0 for field Key"); its gRPC servers
 * put that behind "grpc: error unmarshalling request: " (code Internal). */
ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                 struct arena *arena, struct error **error)
    __attribute__((warn_unused_result));
/* The same for what an untrusted client sent: not more than MESSAGE_REQUEST_FIELDS_MAX. */
ProtobufCMessage *message_unpack_request(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes,
                                         struct arena *arena, struct error **error)
    __attribute__((warn_unused_result));
/* The check alone, without that limit: NULL when `bytes` may be given to protobuf-c. */
struct error *message_check(const ProtobufCMessageDescriptor *descriptor, struct bytes bytes)
    __attribute__((warn_unused_result));

/* Appends the encoding. Deterministic: fields in the order of their numbers, zero values left out. */
void message_pack(struct buf *out, const ProtobufCMessage *message);

/* A message with all fields at their defaults, in `arena`. */
ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena)
    __attribute__((returns_nonnull));
/* A deep copy in `arena`. */
ProtobufCMessage *message_copy(const ProtobufCMessage *message, struct arena *arena)
    __attribute__((returns_nonnull));

/* Bytes that one value of this type takes in a message's struct, and in the array of a repeated field. */
size_t message_element_size(ProtobufCType type);

/* bytes <-> protobuf-c's binary data; both borrow. */
static inline struct bytes message_bytes(ProtobufCBinaryData data)
{
    return (struct bytes){data.data, data.len};
}
static inline ProtobufCBinaryData message_binary(struct bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data};
}

#endif
