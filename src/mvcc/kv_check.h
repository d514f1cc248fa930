/* kv_check: what is checked of a KV request before it is proposed or read: shape, not state.
 *
 * etcd checks these in its API layer on the member that got the request; members that apply it do not check
 * again.
 */
#ifndef MVCC_KV_CHECK_H
#define MVCC_KV_CHECK_H

#include "api/errors.h"

#include "rpc.pb-c.h"

enum { KV_MAX_TXN_OPERATIONS_DEFAULT = 128 };

enum api_error kv_check_range(const Etcdserverpb__RangeRequest *request);
enum api_error kv_check_put(const Etcdserverpb__PutRequest *request);
enum api_error kv_check_delete_range(const Etcdserverpb__DeleteRangeRequest *request);
/* Structure first (operations per list against the budget that nested transactions inherit), then duplicate
 * keys. */
enum api_error kv_check_txn(const Etcdserverpb__TxnRequest *request, uint64_t max_operations);

/* Only ranges in both lists: served like a range, not proposed. */
bool kv_txn_is_read_only(const Etcdserverpb__TxnRequest *request);
/* Every operation of a read-only transaction is serializable: no linearizable read is needed. True for an
 * empty one, unless it compares something. */
bool kv_txn_is_serializable(const Etcdserverpb__TxnRequest *request);

/* Bytes a request counts against the quota; 0: always allowed. A transaction costs its dearer branch. */
uint64_t kv_cost_put(const Etcdserverpb__PutRequest *request);
uint64_t kv_cost_txn(const Etcdserverpb__TxnRequest *request);
enum { KV_COST_LEASE_GRANT = 64 };

#endif
