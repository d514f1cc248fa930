/* lessor: the leases of the cluster and the keys that live as long as they do.
 *
 * Which leases exist, their TTL and their keys are replicated: they change only by applied entries (grant,
 * revoke, checkpoint, put, delete), identically on all members. When a lease runs out is known to one member
 * alone, the primary: the leader that was promoted. On all others leases last forever. An expired lease does
 * not vanish by itself: the primary proposes its revocation.
 *
 *     grant ──▶ lease ◀── attach / detach (by puts and deletes)
 *                 │  primary: expires_at, a heap
 *                 ├── lessor_expired ──▶ the node proposes LeaseRevoke, again after `retry` while not applied
 *                 └── lessor_revoke_begin, delete its keys in one transaction, lessor_revoke_end
 *
 * Rows: bucket `lease`, BE64 id → leasepb.Lease. Units: TTLs in seconds, times in nanoseconds of a monotonic
 * clock, given as `now`. One thread, the node's. Pure. Results that clients see are enum api_error; a
 * `struct error *` means that the backend failed or holds damaged rows.
 */
#ifndef LEASE_LESSOR_H
#define LEASE_LESSOR_H

#include "api/errors.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "mvcc/store.h"

struct backend;
struct lessor;

enum {
    LESSOR_EXPIRED_MAX = 500,     /* leases that one lessor_expired reports */
    LESSOR_CHECKPOINTS_MAX = 1000 /* checkpoints in one LeaseCheckpoint request */
};

#define LESSOR_TTL_MAX INT64_C(9000000000) /* seconds */

struct lessor_options {
    int64_t min_ttl; /* seconds; shorter TTLs are raised to it: see lessor_min_ttl */
    int64_t retry;   /* nanoseconds until an expired lease is reported again; 0: 7 s */
    int64_t
        checkpoint_interval; /* nanoseconds; 0: no checkpoints (etcd's default); etcd's interval is 5 min */
    const struct logger *logger; /* NULL: nothing is logged */
};

/* The shortest TTL in seconds that survives an election: 3/2 election timeouts, rounded up. */
int64_t lessor_min_ttl(unsigned election_ticks, int64_t tick);

/* Loads the leases from the backend, which must outlive the lessor. Not primary. The keys come by
 * lessor_attach while the store is opened. */
struct error *lessor_open(struct backend *backend, const struct lessor_options *options,
                          struct lessor **lessor) __attribute__((warn_unused_result));
/* Forgets everything and loads again, from another backend (a received snapshot); do it before the store is
 * opened. Whether it is primary stays. After an error only lessor_close is allowed. */
struct error *lessor_recover(struct lessor *lessor, struct backend *backend, int64_t now)
    __attribute__((warn_unused_result));
/* NULL is allowed. */
void lessor_close(struct lessor *lessor);

/* ---- applied entries ---- */

/* LeaseGrant: API_ERROR_LEASE_NOT_FOUND for id 0, _LEASE_TTL_TOO_LARGE, _LEASE_EXIST. *granted (may be NULL)
 * gets the TTL it really has. */
enum api_error lessor_grant(struct lessor *lessor, int64_t id, int64_t ttl, int64_t now, int64_t *granted);

/* Keys, sorted bytewise, copied: they stay valid until lessor_keys_deinit. */
struct lessor_keys {
    struct bytes *items;
    size_t count;
    struct buf memory;
};
void lessor_keys_deinit(struct lessor_keys *keys);

/* LeaseRevoke, first half: API_ERROR_LEASE_NOT_FOUND, or the keys to delete, in this order, in one
 * transaction of the store (kv_revoke), which detaches them. */
enum api_error lessor_revoke_begin(struct lessor *lessor, int64_t id, struct lessor_keys *keys);
/* Second half: the lease and its row are gone. Renewals that wait for it are to be told "not found". */
void lessor_revoke_end(struct lessor *lessor, int64_t id);

/* LeaseCheckpoint, one of its items: `remaining` seconds are left (0: forget the checkpoint). An unknown id
 * is ignored. `persist`: write it to the row (cluster version 3.6 or later). */
void lessor_checkpoint(struct lessor *lessor, int64_t id, int64_t remaining, bool persist, int64_t now);

/* What the store asks and tells (mvcc_options.leases). */
bool lessor_exists(const struct lessor *lessor, int64_t id);
/* `key` belongs to this lease from now on and to no other. False, only logged, when it is unknown. */
bool lessor_attach(struct lessor *lessor, int64_t id, struct bytes key);
void lessor_detach(struct lessor *lessor, struct bytes key);
/* The three above in the store's form. */
struct mvcc_leases lessor_leases(struct lessor *lessor);

/* ---- the primary ---- */

/* This member leads and has applied the first entry of its term: every lease gets its remaining (or whole)
 * TTL from now on, and `extend` nanoseconds more. Many that would expire together are spread out. Fine when
 * it is primary already. */
void lessor_promote(struct lessor *lessor, int64_t extend, int64_t now);
/* It leads no more: nothing expires here. Renewals that wait are to be told "not primary". */
void lessor_demote(struct lessor *lessor);
bool lessor_is_primary(const struct lessor *lessor);

/* The leases that ran out, earliest first, each at most once per `retry`: propose LeaseRevoke for them.
 * Returns how many. etcd looks every 500 ms. */
size_t lessor_expired(struct lessor *lessor, int64_t now, int64_t ids[LESSOR_EXPIRED_MAX]);

struct lessor_checkpoint_item {
    int64_t id;
    int64_t remaining; /* seconds */
};
/* The checkpoints that are due: propose LeaseCheckpoint with them. Returns how many; call again while it is
 * LESSOR_CHECKPOINTS_MAX. */
size_t lessor_checkpoints(struct lessor *lessor, int64_t now,
                          struct lessor_checkpoint_item items[LESSOR_CHECKPOINTS_MAX]);
/* The earliest time at which either of the two has something to report; INT64_MAX: never. */
int64_t lessor_wake_at(const struct lessor *lessor);

enum lessor_renewal {
    LESSOR_RENEWED,     /* *ttl: what it has from now on */
    LESSOR_NOT_FOUND,   /* the client is told TTL 0 */
    LESSOR_NOT_PRIMARY, /* ask the leader */
    LESSOR_EXPIRING, /* its time is up: wait until it is revoked or this member is demoted, then ask again */
    LESSOR_CHECKPOINTED, /* propose LeaseCheckpoint {id, 0}; when that is applied ask again */
    LESSOR_RESETTING,    /* that is under way */
};
/* LeaseKeepAlive. Ask only while leadership is certain. */
enum lessor_renewal lessor_renew(struct lessor *lessor, int64_t id, int64_t now, int64_t *ttl);

/* ---- looking ---- */

struct lessor_lease {
    int64_t id;
    int64_t ttl;           /* as granted */
    int64_t remaining_ttl; /* the checkpoint; 0: none */
    int64_t expires_at;    /* INT64_MAX: forever, this member is not the primary */
    int64_t seconds_left;  /* truncated, negative when overdue; meaningless when forever */
    size_t key_count;
};
/* False when unknown. */
bool lessor_look_up(const struct lessor *lessor, int64_t id, int64_t now, struct lessor_lease *lease);
/* The attached keys as in lessor_revoke_begin. False when the lease is unknown. */
bool lessor_list_keys(const struct lessor *lessor, int64_t id, struct lessor_keys *keys);
/* Calls visit for every attached key, sorted, until it returns false; true when none did. */
typedef bool lessor_visit_key(void *context, struct bytes key);
bool lessor_each_key(const struct lessor *lessor, int64_t id, lessor_visit_key *visit, void *context);
/* The lease a key belongs to; 0: none. */
int64_t lessor_lease_of(const struct lessor *lessor, struct bytes key);
/* All ids, by remaining time, then by id. Returns how many; *ids is to be freed. */
size_t lessor_list(const struct lessor *lessor, int64_t **ids);
size_t lessor_count(const struct lessor *lessor);

#endif
