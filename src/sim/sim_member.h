/* sim_member: one member on a simulated disk and simulated time: the production node, log and backend with
 * the edges played by the simulator.
 *
 * Nothing happens by itself: sim_member_run(now) does what is due at that time. Log writes and backend
 * commits take a random time each, in which the member may be killed or lose power. Everything is decided by
 * the seed.
 *
 * Several of them make a cluster (sim/sim_cluster.h): messages to other members go to on_peer_message, those
 * from others come by sim_member_message. What a member may send before its own log write is durable is
 * raft's to say: the node holds back whatever must wait.
 *
 * After a crash the requests that were under way come back with API_ERROR_STOPPED: the client then does not
 * know whether they were done, exactly as with a lost connection.
 */
#ifndef SIM_SIM_MEMBER_H
#define SIM_SIM_MEMBER_H

#include "base/rng.h"
#include "mvcc/watch.h"
#include "node/node.h"
#include "storage/fs_sim.h"

struct sim_member;
struct member_bootstrap;

/* The etcd release whose level they have. */
#define SIM_MEMBER_VERSION "3.6.14"

struct sim_member_options {
    uint64_t seed;
    const char *name;
    const char *initial_cluster; /* "m=http://..." */
    const char *peer_urls;
    const struct member_bootstrap *bootstrap; /* not NULL: it joins a running cluster; borrowed */
    uint64_t snapshot_count;                  /* 0: etcd's */
    uint64_t wal_segment_size;                /* 0: etcd's */
    uint64_t backend_batch_limit;             /* 0: etcd's */
    uint64_t catch_up_entries;                /* 0: few */
    int64_t lease_checkpoint_interval;        /* nanoseconds; 0: none are taken */
    const struct node_limits *limits;         /* copied; NULL: etcd's */
    int64_t watch_progress_interval;          /* nanoseconds; 0: etcd's */
    int64_t write_time; /* nanoseconds that a log write or a commit takes on average; 0: 1 ms */
    /* Nanoseconds on average; 0: four writes. */
    int64_t read_time;    /* that reading the database for another member takes */
    int64_t install_time; /* that each of the two steps of installing one takes */
    const struct logger *logger;
    /* Requests come back, watch responses come out; called inside sim_member_run, _crash and _stop. */
    void (*on_reply)(void *context, struct node_request *request);
    void (*on_watch)(void *context, struct watch_message *message);
    /* A message to another member; borrowed. May be NULL for a cluster of one. */
    void (*on_peer_message)(void *context, const struct raft_message *message);
    /* A RAFT_SNAP with its database; both borrowed. node_snapshot_reported is to follow, unless the member
     * has fallen meanwhile. May be NULL like the one above. */
    void (*on_snapshot)(void *context, const struct raft_message *message, struct blob *image);
    /* It sees other members than before. May be NULL. */
    void (*on_membership)(void *context);
    void *context;
};

struct sim_member *sim_member_new(const struct sim_member_options *options, struct fs_sim *disk)
    __attribute__((returns_nonnull, warn_unused_result));
/* It must be stopped or crashed. NULL is allowed. */
void sim_member_free(struct sim_member *member);

/* Opens what is on the disk and starts. */
struct error *sim_member_start(struct sim_member *member, int64_t now) __attribute__((warn_unused_result));
bool sim_member_is_up(const struct sim_member *member);
/* NULL while it is down. */
struct node *sim_member_node(struct sim_member *member);
uint64_t sim_member_id(const struct sim_member *member); /* 0 before its first start */
uint64_t sim_member_cluster_id(const struct sim_member *member);
/* It knows that it was removed from the cluster: it is to be stopped. */
bool sim_member_is_removed(const struct sim_member *member);
/* The same, also once it is down. */
bool sim_member_was_removed(const struct sim_member *member);
struct fs_sim *sim_member_disk(struct sim_member *member);
/* The time of its last run. */
int64_t sim_member_now(const struct sim_member *member);
/* The index of the last entry whose effects its state holds. It must be up. */
uint64_t sim_member_consistent_index(const struct sim_member *member);

/* The next time at which something is due. */
int64_t sim_member_next(const struct sim_member *member);
/* Does everything that is due at `now`. An error means that the member's storage failed: it is down
 * afterwards, as the process would be. */
struct error *sim_member_run(struct sim_member *member, int64_t now) __attribute__((warn_unused_result));
/* Defragments the backend, all at once. An error need not mean that the member is down: sim_member_is_up
 * tells. */
struct error *sim_member_defragment(struct sim_member *member) __attribute__((warn_unused_result));
/* A request for the next run. */
void sim_member_submit(struct sim_member *member, struct node_request *request);
/* A message from another member; borrowed. What the node refuses is dropped, as the transport does. */
void sim_member_message(struct sim_member *member, const struct raft_message *message);
/* A RAFT_SNAP with its database: saved, checked, and handed to the node. An error says why it was refused. */
struct error *sim_member_receive(struct sim_member *member, const struct raft_message *message,
                                 struct blob *image) __attribute__((warn_unused_result));
/* How many databases of other members it has installed while it was up. */
uint64_t sim_member_installs(const struct sim_member *member);
/* It reads its database for another member. */
bool sim_member_is_reading(const struct sim_member *member);
/* How often it was started: what was asked of it before is not its business any more. */
uint64_t sim_member_lives(const struct sim_member *member);
/* Something else was put into the node (a watch request, a report): it runs at once. */
void sim_member_wake(struct sim_member *member);
/* From the next write on: how long one takes on average (a slow disk). */
void sim_member_set_write_time(struct sim_member *member, int64_t write_time);

/* Removes old files as the server does every 30 seconds. */
struct error *sim_member_purge(struct sim_member *member) __attribute__((warn_unused_result));

/* Down without notice; the disk then loses what the mode says (sim_member_kill: nothing that was written). */
void sim_member_crash(struct sim_member *member, enum fs_sim_crash_mode mode);
void sim_member_kill(struct sim_member *member);
/* An orderly end in steps: it takes nothing new, is run until it is settled, and then stopped. */
void sim_member_begin_stop(struct sim_member *member);
bool sim_member_is_settled(struct sim_member *member);
/* An orderly end. By its own clock it takes as long as what is under way. */
struct error *sim_member_stop(struct sim_member *member, int64_t now) __attribute__((warn_unused_result));

#endif
