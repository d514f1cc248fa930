/* workload: the clients of a simulated cluster: they ask at random and tell the checker what they were told.
 *
 * Ordinary clients put, delete, read (linearizable and not, at old revisions, in part), run transactions
 * (nested, with all kinds of comparisons), compact and hash, one request at a time, each to any member that
 * is up. Holders keep a lease with keys, for a while, then revoke or abandon it. Watchers follow keys or
 * ranges, some from a revision in the future, some reading slowly, ask for progress, and resume elsewhere
 * when their member goes down.
 *
 * Each of them is a line of the plan (plan.h). */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "base/rng.h"
#include "sim/checker.h"

struct workload;
struct world;

/* How many there are, and what they like, comes from `rng`. */
struct workload *workload_new(struct world *world, struct rng *rng);
void workload_free(struct workload *workload);

/* From the cluster's callbacks. */
void workload_reply(struct workload *workload, size_t member, struct node_request *request);
void workload_watch(struct workload *workload, size_t member, struct watch_message *message);
void workload_event(struct workload *workload, const struct sim_event *event);

/* When a client wants to do something, and doing it. */
int64_t workload_next(const struct workload *workload);
void workload_run(struct workload *workload);
/* No new requests from now on; watchers go on. */
void workload_quiet(struct workload *workload);
/* Requests without an answer. */
size_t workload_under_way(const struct workload *workload);
/* Asks every member for a hash and all keys (answers come by and by). */
void workload_ask_all(struct workload *workload);
/* Everybody must have been told everything. */
void workload_check_watchers(struct workload *workload);

/* For faults: compacts all there is, through this member; false: such a request is under way. */
bool workload_compact(struct workload *workload, size_t member);
/* The same after everything was deleted, at just that revision if nobody else writes meanwhile. */
bool workload_delete_and_compact(struct workload *workload, size_t member);
/* Asks the leader, if there is one, to hand over to some member. */
void workload_move_leader(struct workload *workload, uint64_t chosen);

/* For the operator: asks this member for a change of the membership, unless one is under way. */
void workload_add_member(struct workload *workload, size_t member, const char *url, bool as_learner);
void workload_promote_member(struct workload *workload, size_t member, uint64_t id);
void workload_remove_member(struct workload *workload, size_t member, uint64_t id);
/* Such requests have no timeout; whoever asks gives up after a while. */
void workload_cancel_change(struct workload *workload);

struct workload_counts {
    uint64_t acknowledged, refused, unknown, reads, keep_alives, watch_responses;
};
struct workload_counts workload_counts(const struct workload *workload);

#endif
