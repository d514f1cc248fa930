/* watch_message: the bytes of watch responses.
 *
 *     WatchResponse   1 header, 2 watch_id, 3 created, 4 canceled, 5 compact_revision, 7 fragment   the head
 *                     6 cancel_reason, 11 events                                                     parts
 *
 * Private to the watch hub.
 */
#ifndef MVCC_WATCH_MESSAGE_H
#define MVCC_WATCH_MESSAGE_H

#include "mvcc/watch.h"

struct watch_head {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t raft_term;
    int64_t revision;
    int64_t watch_id;
    int64_t compact_revision;
    bool created;
    bool canceled;
    bool fragment;
};

/* Encodes `head` at `at`, which has room for WATCH_HEAD_MAX bytes; returns the size. */
size_t watch_head_write(uint8_t *at, const struct watch_head *head);

/* A field 11 of WatchResponse: the event with its KeyValue, and, when `previous` is not NULL, the one before.
 */
struct blob *watch_event_encode(bool deleted, struct bytes key_value, const struct bytes *previous);
/* A field 6. */
struct blob *watch_reason_encode(const char *reason);

/* A message with room for `capacity` parts, everything else zero. */
struct watch_message *watch_message_new(size_t capacity);

#endif
