/* kv_state: what the files of the request execution share. Private to src/mvcc. */
#ifndef MVCC_KV_STATE_H
#define MVCC_KV_STATE_H

#include "base/wire.h"
#include "mvcc/kv.h"

/* Field numbers of the responses. */
enum {
    RESPONSE_HEADER = 1,
    HEADER_CLUSTER_ID = 1,
    HEADER_MEMBER_ID = 2,
    HEADER_REVISION = 3,
    HEADER_RAFT_TERM = 4,
    RANGE_KVS = 2,
    RANGE_MORE = 3,
    RANGE_COUNT = 4,
    PUT_PREV_KV = 2,
    DELETE_DELETED = 2,
    DELETE_PREV_KVS = 3,
    TXN_SUCCEEDED = 2,
    TXN_RESPONSES = 3,
};

static inline struct bytes kv_bytes(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

enum api_error kv_error_of(enum mvcc_status status);

/* Appends a RangeResponse for `request`, whose revision has been checked; `at` is what it means. */
struct error *kv_range_append(struct kv *kv, const Etcdserverpb__RangeRequest *request, int64_t at,
                              int64_t current, const struct kv_header *header, struct buf *response,
                              uint64_t *count) __attribute__((warn_unused_result));

#endif
