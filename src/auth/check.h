/* check: what a KV or lease request needs of its user, for all of it before any of it takes effect.
 *
 *     range, watch   READ on the range
 *     put            WRITE on the key; prev_kv: READ on it; with a lease: what revoking the lease needs,
 *                    because the key goes with it
 *     delete         WRITE on the range; prev_kv: READ on it
 *     transaction    READ on what is compared, and every operation of both branches, transactions inside
 *                    alike
 *     lease          revoking and renewing: WRITE on all its keys, or an administrator
 *
 * All give the results of auth_check_keys. Pure; one thread.
 */
#ifndef AUTH_CHECK_H
#define AUTH_CHECK_H

#include "auth/store.h"

#include "rpc.pb-c.h"

struct lessor;

/* Whom to ask about what. */
struct auth_check {
    struct auth_store *store;
    const struct lessor *lessor;
    const struct auth_identity *identity;
};

enum api_error auth_check_range(const struct auth_check *check, const Etcdserverpb__RangeRequest *request);
enum api_error auth_check_put(const struct auth_check *check, const Etcdserverpb__PutRequest *request);
enum api_error auth_check_delete_range(const struct auth_check *check,
                                       const Etcdserverpb__DeleteRangeRequest *request);
enum api_error auth_check_txn(const struct auth_check *check, const Etcdserverpb__TxnRequest *request);
/* Access to all keys of a lease, or an administrator. A lease that does not exist has none. */
enum api_error auth_check_lease(const struct auth_check *check, int64_t lease, enum auth_access access);
/* The same for all leases: who may know which there are. */
enum api_error auth_check_leases(const struct auth_check *check);

#endif
