/* checker: whether a cluster kept its promises, asked at every step of a run.
 *
 * It watches from outside: what members hold and send (sim_checker_event, sim_checker_observe), and what
 * clients asked and were told (operations, watches, leases, hashes). Entries are taken from whichever member
 * commits them first and replayed in a model (sim/model.h); everything else is compared with that.
 *
 * What is checked, and where it is promised:
 *
 *   - Raft (paper, figure 3): one leader per term, one candidacy and one vote per member and term; every
 * entry that is committed anywhere is the same everywhere; logs that agree at an entry agree before it; a new
 * leader holds everything committed; nothing is applied that is not committed.
 *   - A member's revision is that of the entries it has applied, also after a restart: state and applied
 * index are stored together.
 *   - Linearizability. Committed entries are a total order and every answer names its revision, so it is
 *     enough to check for each operation that the answer is what that order says, and that the order keeps to
 *     time: an operation begun after another one was answered is not placed before it.
 *   - A write that was acknowledged is in the order exactly once; one that was refused never is.
 *   - Watches: events in order of revision, each once, none missing, all of one revision in one response,
 *     with the previous state if asked for; a bookmark comes after everything before it and not before the
 *     start; a gap is told, with a compact revision behind it.
 *   - A lease that was kept alive is not revoked before its time (clients allow for the drift of clocks);
 * keys of a revoked lease go in one revision.
 *   - A database that one member sends another is one.
 *   - Members with the same revision and compact revision have the same HashKV.
 *
 * The first violation is kept as text; after it nothing more is checked. Times are those of the simulation.
 */
#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include "sim/model.h"
#include "sim/sim_cluster.h"

#include "rpc.pb-c.h"

struct sim_checker;

struct sim_checker *sim_checker_new(struct sim_cluster *cluster)
    __attribute__((returns_nonnull, warn_unused_result));
void sim_checker_free(struct sim_checker *checker); /* NULL is allowed */
/* What went wrong first; NULL: nothing. */
const char *sim_checker_violation(const struct sim_checker *checker);
/* Something the caller found out itself. */
void sim_checker_fail(struct sim_checker *checker, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const struct sim_model *sim_checker_model(const struct sim_checker *checker);
uint64_t sim_checker_checks(const struct sim_checker *checker); /* answers and responses compared so far */
uint64_t sim_checker_elections(const struct sim_checker *checker);

/* ---- members ---- */

/* From struct sim_cluster_options.on_event. */
void sim_checker_event(struct sim_checker *checker, const struct sim_event *event);
/* Looks into a member that is up. Call it before its replies and watch responses are looked at; events call
 * it by themselves. */
void sim_checker_observe(struct sim_checker *checker, size_t member);

/* ---- operations ---- */

/* One request of a client, kept by the caller from its start to its answer. */
struct sim_operation {
    uint64_t floor_index;   /* everything answered before it began was placed up to here */
    int64_t floor_revision; /* and showed revisions up to here */
    int64_t floor_compact;  /* and compacted up to here */
    uint64_t id;            /* a write: of the proposal */
};

void sim_checker_begin(const struct sim_checker *checker, struct sim_operation *operation);
/* A write (or lease operation, or compaction) was answered with a result. `revision`: of the answer's header.
 * `answer`: as text (sim/answer.h); empty: not looked at. */
void sim_checker_written(struct sim_checker *checker, const struct sim_operation *operation,
                         enum api_error status, int64_t revision, struct bytes answer);
/* It was answered in a way that says that it has not happened and never will. */
void sim_checker_refused(struct sim_checker *checker, const struct sim_operation *operation);
/* A range was answered. */
void sim_checker_range(struct sim_checker *checker, const struct sim_operation *operation,
                       const Etcdserverpb__RangeRequest *request,
                       const Etcdserverpb__RangeResponse *response);
/* It was told API_ERROR_COMPACTED or API_ERROR_FUTURE_REVISION. */
void sim_checker_range_refused(struct sim_checker *checker, const struct sim_operation *operation,
                               const Etcdserverpb__RangeRequest *request, enum api_error error);
void sim_checker_hash(struct sim_checker *checker, const Etcdserverpb__HashKVResponse *response);

/* ---- watches ---- */

/* What one watcher has been told. Keys are borrowed for its life. */
struct sim_watcher {
    int64_t id; /* in its stream; not 0 */
    struct bytes key;
    struct bytes range_end;
    bool no_put, no_delete, prev_kv;
    int64_t next; /* the first revision it has not been told about; to resume from. 0: from now on */
    bool created; /* by the present stream */
    bool canceled;
};

/* A response of a stream that has these watchers. */
void sim_checker_watch(struct sim_checker *checker, struct sim_watcher *watchers, size_t count,
                       const Etcdserverpb__WatchResponse *response);
/* It must have been told everything by now. */
void sim_checker_watch_complete(struct sim_checker *checker, const struct sim_watcher *watcher);

/* ---- leases ---- */

/* A client was told that the lease lives, and relies on that until then. */
void sim_checker_lease_alive(struct sim_checker *checker, int64_t lease, int64_t until);
/* A client asks for its end: nobody relies on it any more. */
/* A leader told how long a lease still has. */
void sim_checker_lease_time(struct sim_checker *checker,
                            const Etcdserverpb__LeaseTimeToLiveResponse *response);
void sim_checker_lease_given_up(struct sim_checker *checker, int64_t lease);

#endif
