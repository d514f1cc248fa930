/* recipe: locks and elections made of keys, as etcd's client library and etcdctl do them.
 *
 * A session is a lease that is kept alive. A lock or candidacy is the key NAME/LEASE (lease in lower-case
 * hex) bound to it; whoever's key is oldest under NAME/ holds the lock or leads. Waiting is watching the next
 * older key go away.
 *
 * Blocking, over client/blocking.h; a session and what is made with it belong to one thread. An interrupt
 * while waiting removes the own key again and gives "context canceled".
 */
#ifndef CLIENT_RECIPE_H
#define CLIENT_RECIPE_H

#include "client/blocking.h"

#include "rpc.pb-c.h"

/* ---- Sessions ---- */

struct recipe_session;

/* Grants a lease of `ttl` seconds (<= 0: 60) and keeps it alive. The lease is not revoked at the end (etcdctl
 * leaves it to expire). */
struct client_error *recipe_session_new(struct blocking_client *blocking, int64_t ttl,
                                        struct recipe_session **session) __attribute__((warn_unused_result));
/* Stops renewing. NULL is allowed. */
void recipe_session_free(struct recipe_session *session);
/* Whether the lease is gone. */
bool recipe_session_is_lost(struct recipe_session *session);
/* Waits until the lease is lost (true), an interrupt or the deadline (false); deadline 0: none. */
bool recipe_session_wait(struct recipe_session *session, int64_t deadline);

/* ---- Locks and candidacies ---- */

struct recipe_hold {
    char *name;              /* without the final "/" */
    struct buf key;          /* NAME/LEASE */
    int64_t revision;        /* create revision of the key */
    int64_t header_revision; /* of the response that made it ours (etcdctl's ETCD_LOCK_REV) */
};

/* Zero-initialised is empty and valid. */
void recipe_hold_deinit(struct recipe_hold *hold);

/* Returns when the lock is held. */
struct client_error *recipe_lock(struct recipe_session *session, const char *name, struct recipe_hold *hold)
    __attribute__((warn_unused_result));
/* Deletes the key, also while an interrupt is pending. */
struct client_error *recipe_unlock(struct recipe_session *session, struct recipe_hold *hold)
    __attribute__((warn_unused_result));

/* Returns when this candidate leads with `value`. */
struct client_error *recipe_campaign(struct recipe_session *session, const char *name, struct bytes value,
                                     struct recipe_hold *hold) __attribute__((warn_unused_result));
/* A new value of the leader; API_ERROR_ELECTION_NOT_LEADER when it leads no more. */
struct client_error *recipe_proclaim(struct recipe_session *session, struct recipe_hold *hold,
                                     struct bytes value) __attribute__((warn_unused_result));
/* Gives up the leadership, also while an interrupt is pending; no error if there was none. */
struct client_error *recipe_resign(struct recipe_session *session, struct recipe_hold *hold)
    __attribute__((warn_unused_result));

/* The present leader, a RangeResponse with one kv in `arena`; API_ERROR_ELECTION_NO_LEADER when there is
 * none. */
struct client_error *recipe_leader(struct blocking_client *blocking, const char *name, struct arena *arena,
                                   Etcdserverpb__RangeResponse **response)
    __attribute__((warn_unused_result));

/* Tells the present leader and every change of leader or value, until `changed` returns false (NULL is
 * returned then) or something fails. `response` holds one kv. */
typedef bool recipe_observe_fn(void *context, const Etcdserverpb__RangeResponse *response);
struct client_error *recipe_observe(struct blocking_client *blocking, const char *name,
                                    recipe_observe_fn *changed, void *context)
    __attribute__((warn_unused_result));

#endif
