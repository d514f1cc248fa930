/* What the files of the workload share: workload.c (who there is, requests and answers), asking.c (what
 * clients ask), watching.c (watchers). */
#ifndef TESTS_SIM_WORKLOAD_INTERNAL_H
#define TESTS_SIM_WORKLOAD_INTERNAL_H

#include "api/message.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/memory.h"
#include "world.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND      INT64_C(1000000000)

enum {
    CLIENTS = 10,
    HOLDERS = 4,
    ANSWERING = SIM_CLUSTER_MEMBERS_MAX * 2, /* calls of workload_ask_all */
    COMPACTOR = CLIENTS + HOLDERS + ANSWERING,
    DELETER,
    MOVER,
    ACTORS,
    OPERATOR = ACTORS, /* has no line of the plan: the faults decide */
    FOLLOWERS = 6,
    FOLLOWER_WATCHERS = 3,
    KEYS = 14,
    LINE_ACTORS = 5, /* of the plan */
    LINE_FOLLOWERS = LINE_ACTORS + ACTORS,
};

/* Whoever has one request under way at a time. */
struct actor {
    struct workload *workload;
    struct node_request request;
    struct arena *arena;
    struct buf raw;
    struct rng rng;  /* of the choice at hand */
    uint32_t number; /* of the next choice */
    bool busy, writes;
    struct sim_operation operation;
    int64_t begun_at, wake_at; /* INT64_MAX: it is not there, or asks only when it is told to */
    unsigned values;           /* written by this choice */
    /* Holders. */
    int64_t lease, ttl;
    unsigned renewals;
    bool dozes; /* until about when its lease ends */
};

/* One stream with its watchers. */
struct follower {
    struct sim_watcher watchers[FOLLOWER_WATCHERS];
    char keys[FOLLOWER_WATCHERS][8], ends[FOLLOWER_WATCHERS][8];
    size_t count;
    size_t member;
    struct watch_stream *stream; /* NULL: none */
    size_t undelivered;
    struct rng rng;
    uint32_t number;
    int64_t wake_at; /* INT64_MAX: it is not there */
};

struct workload {
    struct world *world;
    struct sim_cluster *cluster;
    struct sim_checker *checker;
    struct actor actors[ACTORS + 1]; /* the operator too */
    struct follower followers[FOLLOWERS];
    struct arena *arena; /* for answers */
    struct buf text, bytes;
    struct workload_counts counts;
    size_t changer;     /* the member that was asked for a change of the membership last */
    int64_t think_time; /* of clients between two requests, at most */
    bool quiet;
};

/* Somebody who is up, at random; sim_cluster_members when there is none. */
size_t workload_choose_member(const struct workload *workload, struct rng *rng);
void actor_submit(struct actor *actor, size_t member, enum node_operation operation,
                  const ProtobufCMessage *message, bool writes);
/* What clients and holders do when it is their turn. */
void actor_ask(struct actor *actor, size_t member);
void actor_hold(struct actor *actor, size_t member);
/* The revision at which something was deleted last; 0: nothing was. */
int64_t workload_last_deletion(const struct sim_model *model);
void actor_compact(struct actor *actor, size_t member, int64_t revision, bool physical);

void followers_init(struct workload *workload, struct rng *rng);
void followers_run(struct workload *workload);

#endif
