/* peer_codec: how raft messages lie in the two kinds of streams between members. All integers are 64 bits,
 * big endian.
 *
 *     message stream   size, raftpb.Message
 *     msgapp stream    ("msgappv2") a type byte, then
 *                        0  nothing: the link is alive
 *                        1  n, n × (size, raftpb.Entry), commit: a MsgApp that continues the one before
 *                        2  size, raftpb.Message: any other MsgApp
 *
 * In msgapp streams both ends remember the term and the last index of what went before, so that the usual
 * MsgApp needs no header. This position belongs to one connection: use a fresh codec for each.
 *
 * On a message stream the link is alive when an empty heartbeat comes, from 0 to 0.
 *
 * Pure; one thread at a time.
 */
#ifndef SERVER_PEER_CODEC_H
#define SERVER_PEER_CODEC_H

#include "base/buf.h"
#include "raft/raft.h"

enum peer_stream { PEER_STREAM_MESSAGE, PEER_STREAM_APPEND, PEER_STREAMS };

/* Longer records break the connection. */
#define PEER_RECORD_MAX ((uint64_t)512 << 20)

struct peer_codec {
    enum peer_stream stream;
    uint64_t from, to;    /* of the messages on this stream */
    uint64_t term, index; /* where an append stream stands */
    struct buf partial;   /* decoder: the beginning of a record */
};

void peer_codec_init(struct peer_codec *codec, enum peer_stream stream, uint64_t from, uint64_t to);
void peer_codec_deinit(struct peer_codec *codec);

/* Appends one record. On an append stream the message must be a MsgApp. */
void peer_codec_encode(struct peer_codec *codec, struct buf *out, const struct raft_message *message);
void peer_codec_encode_alive(const struct peer_codec *codec, struct buf *out);

/* Takes bytes as they come, in any pieces; calls `found` for each message (which it may take with
 * raft_message_take). ERROR_INVALID when the bytes are no such stream: the connection must end. */
struct error *peer_codec_decode(struct peer_codec *codec, struct bytes input,
                                void (*found)(void *context, struct raft_message *message), void *context)
    __attribute__((warn_unused_result));

#endif
