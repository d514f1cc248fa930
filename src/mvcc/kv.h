/* kv: executes the KV service's requests on the store.
 *
 * Takes decoded etcdserverpb requests, answers with the encoded response message. Stored KeyValues are
 * spliced into it as they are.
 *
 * Two kinds of failure: `*status` is what the client is told (API_OK: the response is valid); a returned
 * error is the store's own (see store.h) and ends the process. Nothing is changed when *status is not API_OK.
 *
 * Requests must have passed kv_check.h. Auth, alarms and quota are the caller's. Writes are whole store
 * transactions; afterwards kv->changes holds what watchers are to be told (until the next write).
 *
 * `response` may be NULL: nobody waits for the answer on this member. Then data is not read for it, but
 * everything that decides about the outcome is checked all the same, so that all members come to the same
 * state.
 */
#ifndef MVCC_KV_H
#define MVCC_KV_H

#include "api/errors.h"
#include "base/blob.h"
#include "base/buf.h"
#include "mvcc/store.h"

#include "rpc.pb-c.h"

struct kv {
    struct mvcc_store *store;
    const struct mvcc_change *changes; /* of the last write */
    size_t change_count;
};

/* The fields of the response header that the node knows; the revision is filled in here. */
struct kv_header {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t raft_term;
};

void kv_init(struct kv *kv, struct mvcc_store *store);

/* Appends the header as field 1 of a response. */
void kv_header_write(struct buf *out, const struct kv_header *header, int64_t revision);

struct error *kv_put(struct kv *kv, const Etcdserverpb__PutRequest *request, const struct kv_header *header,
                     struct buf *response, enum api_error *status) __attribute__((warn_unused_result));
struct error *kv_delete_range(struct kv *kv, const Etcdserverpb__DeleteRangeRequest *request,
                              const struct kv_header *header, struct buf *response, enum api_error *status)
    __attribute__((warn_unused_result));
/* Also for read-only ones (kv_txn_is_read_only), which leave kv->change_count 0. */
struct error *kv_txn(struct kv *kv, const Etcdserverpb__TxnRequest *request, const struct kv_header *header,
                     struct buf *response, enum api_error *status) __attribute__((warn_unused_result));
/* The keys a lease revocation takes along, as one transaction: `keys` sorted bytewise. */
void kv_revoke(struct kv *kv, const struct bytes *keys, size_t count);

/* A range in one go. *count (may be NULL) gets the number of keys in the answer. */
struct error *kv_range(struct kv *kv, const Etcdserverpb__RangeRequest *request,
                       const struct kv_header *header, struct buf *response, uint64_t *count,
                       enum api_error *status) __attribute__((warn_unused_result));

/* ---- large ranges in slices, at one revision ---- */

struct kv_range_job;

/* `request` is borrowed until the end. The revision is chosen now and pinned. NULL when *status is not
 * API_OK. */
struct kv_range_job *kv_range_begin(struct kv *kv, const Etcdserverpb__RangeRequest *request,
                                    const struct kv_header *header, enum api_error *status);
/* Looks at up to `max_keys` keys, and at fewer when they are large. Writes may happen between steps. */
struct error *kv_range_step(struct kv_range_job *job, size_t max_keys, bool *done)
    __attribute__((warn_unused_result));
/* Frees the job. `response` NULL gives up early, else it must be done: the encoded RangeResponse, in one or
 * more pieces, is put into the list, which was empty. Returns the number of keys in the answer. */
uint64_t kv_range_finish(struct kv_range_job *job, struct blob_list *response);

#endif
