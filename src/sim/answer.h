/* answer: what a request came to, as one line of text, so that the answer a client got and the answer it
 * should have got can be compared whole, and read when they differ.
 *
 *     put r12 (k01@9c9v1 "c3.4")      revision of the header, the previous state if it was asked for
 *     delete r12 2                    keys deleted, then their previous states if they were asked for
 *     range r12 3 more k01@12c9v2 "c4.7" ...
 *     txn yes {put r12; range r12 1 k01@12c9v2 "c4.7"; txn no {}}
 *
 * A key is name@mod revision, c(reate revision), v(ersion), l(ease) when it has one, and the value as far as
 * it was asked for. Headers count inside transactions only: outside, the checker compares their revision by
 * itself.
 */
#ifndef SIM_ANSWER_H
#define SIM_ANSWER_H

#include "base/buf.h"

#include "rpc.pb-c.h"

/* One key as an answer shows it. */
struct sim_shown {
    struct bytes key;
    int64_t modified, created, version, lease;
    struct bytes value;
    bool without_value; /* keys_only: neither value nor lease is part of the answer */
};

void sim_answer_key(struct buf *out, const struct sim_shown *shown);

/* `revision` 0: left out. `previous` NULL: none. */
void sim_answer_put(struct buf *out, int64_t revision, const struct sim_shown *previous);
void sim_answer_delete(struct buf *out, int64_t revision, int64_t deleted);
void sim_answer_range(struct buf *out, int64_t revision, int64_t count, bool more);

/* The same of a response; those of a transaction with the revisions of their headers. */
void sim_answer_of_put(struct buf *out, const Etcdserverpb__PutResponse *response);
void sim_answer_of_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *response);
void sim_answer_of_range(struct buf *out, const Etcdserverpb__RangeResponse *response, bool keys_only);
/* What was asked says which ranges were for keys only. */
void sim_answer_of_txn(struct buf *out, const Etcdserverpb__TxnRequest *request,
                       const Etcdserverpb__TxnResponse *response);

#endif
