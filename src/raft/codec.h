/* codec: raftpb, the protobuf form of Raft's structs in write-ahead logs, snapshot files and between members.
 *
 * Encoders write what etcd up to 3.6 writes, byte for byte: every scalar, also when it is zero, in the order
 * of the field numbers; bytes and messages only when present. A Message follows 3.6: no snapshot field when
 * there is none, `vote` present. (3.7 leaves zeros out; everybody accepts both.)
 *
 * Decoders take absent fields for zero, skip unknown ones, accept packed and unpacked ids, and refuse with
 * ERROR_INVALID: malformed bytes, unknown enum values, wrong wire types, more than RAFT_MEMBERS_MAX ids in a
 * list, more than RAFT_CODEC_CHANGES_MAX changes, a message inside a message's responses that has responses
 * itself. The struct to decode into must be initialised (zero is fine); it is replaced on success and empty
 * after a failure. Blobs are copies of the bytes, contexts of conf changes are borrowed.
 */
#ifndef RAFT_CODEC_H
#define RAFT_CODEC_H

#include "base/buf.h"
#include "raft/raft.h"

enum { RAFT_CODEC_CHANGES_MAX = 1024 };

void raft_encode_entry(struct buf *out, const struct raft_entry *entry);
size_t raft_encoded_entry_size(const struct raft_entry *entry); /* of what raft_encode_entry writes */
void raft_encode_hard_state(struct buf *out, struct raft_hard_state state);
void raft_encode_conf_state(struct buf *out, const struct raft_conf_state *state);
void raft_encode_snapshot(struct buf *out, const struct raft_snapshot *snapshot);
void raft_encode_message(struct buf *out, const struct raft_message *message);
void raft_encode_conf_change(struct buf *out, const struct raft_conf_change *change);
void raft_encode_conf_change_v2(struct buf *out, const struct raft_conf_change_v2 *change);

struct error *raft_decode_entry(struct raft_entry *entry, struct bytes input)
    __attribute__((warn_unused_result));
struct error *raft_decode_hard_state(struct raft_hard_state *state, struct bytes input)
    __attribute__((warn_unused_result));
struct error *raft_decode_conf_state(struct raft_conf_state *state, struct bytes input)
    __attribute__((warn_unused_result));
struct error *raft_decode_snapshot(struct raft_snapshot *snapshot, struct bytes input)
    __attribute__((warn_unused_result));
struct error *raft_decode_message(struct raft_message *message, struct bytes input)
    __attribute__((warn_unused_result));
struct error *raft_decode_conf_change(struct raft_conf_change *change, struct bytes input)
    __attribute__((warn_unused_result));
struct error *raft_decode_conf_change_v2(struct raft_conf_change_v2 *change, struct bytes input)
    __attribute__((warn_unused_result));

#endif
