/* key_request: questions about keys, and other things too many to ask for every time, that the dashboard's
 * pure parts want asked, and their answers.
 *
 * The tree and the value pane say what they want next (keyspace_next, key_detail_next); the collector asks
 * the cluster and gives the answer back by id. Nothing here does I/O.
 */
#ifndef TUI_KEY_REQUEST_H
#define TUI_KEY_REQUEST_H

#include "base/buf.h"

#include "kv.pb-c.h"

enum key_request_kind {
    KEY_REQUEST_LIST,    /* keys alone, ascending, at most `limit` */
    KEY_REQUEST_COUNT,   /* how many */
    KEY_REQUEST_VALUE,   /* one key with its value, at `revision` (0: now) */
    KEY_REQUEST_LEASE,   /* the time that the lease `lease` has left, and its keys */
    KEY_REQUEST_METRICS, /* the metrics page of the member `member` */
    KEY_REQUEST_AUTH,    /* whether authentication is enabled */
    KEY_REQUEST_USERS,   /* their names */
    KEY_REQUEST_ROLES,
    KEY_REQUEST_USER, /* the one named `key` */
    KEY_REQUEST_ROLE,
};

/* Borrowed until the next call of who made it. */
struct key_request {
    uint64_t id;
    enum key_request_kind kind;
    struct bytes key;
    struct bytes range_end; /* empty: one key */
    int64_t limit;
    int64_t revision;
    int64_t lease;
    uint64_t member; /* its serial in the model */
};

/* Borrowed for the call. */
struct key_answer {
    uint64_t id;
    enum key_request_kind kind;
    const char *error; /* NULL: it came */
    bool is_compacted; /* the error says that the revision is gone */
    Mvccpb__KeyValue *const *kvs;
    size_t kv_count;
    bool more;
    int64_t count;
    int64_t revision; /* of the cluster */
    int64_t now;
    /* LEASE: */
    int64_t lease, left, granted; /* seconds; left: -1 when it is gone */
    const ProtobufCBinaryData *keys;
    size_t key_count;
    struct bytes page; /* METRICS */
    /* AUTH to ROLE: the response, and what was asked for. */
    const ProtobufCMessage *message;
    struct bytes name;
};

/* The end of the range of all keys with that prefix, as RangeRequest.range_end takes it. */
void key_request_prefix_end(struct bytes prefix, struct buf *end);

#endif
