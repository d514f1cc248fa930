/* workload: the clients of a simulated cluster: they ask at random and tell the checker what they were told.
 *
 * Ordinary clients write, read, compare-and-swap, compact and hash, one request at a time, each to any member
 * that is up. Holders keep a lease with keys, for a while, then revoke or abandon it. Watchers follow a key
 * or all of them, and resume elsewhere when their member goes down. */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "sim/checker.h"

struct workload;

struct workload *workload_new(uint64_t seed, struct sim_cluster *cluster, struct sim_checker *checker);
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
/* Everybody has been told everything; asks every member for a hash and all keys (answers come by and by). */
void workload_ask_all(struct workload *workload);
void workload_check_watchers(struct workload *workload);

struct workload_counts {
    uint64_t acknowledged, refused, unknown, reads, keep_alives, watch_responses;
};
struct workload_counts workload_counts(const struct workload *workload);

#endif
