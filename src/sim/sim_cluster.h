/* sim_cluster: a whole cluster on simulated time, network and disks: the production code of 1 to 7 members in
 * one thread.
 *
 * Nothing happens by itself. sim_cluster_step does the one next event (a member runs, a message arrives) and
 * moves the time there; between events the caller does what it likes: submit requests, cut links, kill,
 * pause, restart. The same seed and the same calls at the same times give the same run, event by event:
 * sim_cluster_trace is a digest of everything that happened, so that a replay can prove it is one. To rewind,
 * run again from the seed.
 *
 *     cluster = sim_cluster_new(&options);          all members are down, their disks empty
 *     sim_cluster_start(cluster, i) for each
 *     while (sim_cluster_step(cluster, until)) ...  look, check, interfere
 *
 * Clocks. `now` is the simulated time, in nanoseconds. Each member has a clock of its own that runs at a rate
 * of it; everything inside the member (ticks, leases, disks) goes by that clock.
 *
 * A member is up, paused or down. While it is paused messages wait for it, as in the buffers of its sockets.
 * While it is down they are refused and the sender is told. A member whose storage fails goes down by itself
 * (SIM_EVENT_FAIL), as the process would; call sim_cluster_crash then to give its disk back, and start it.
 *
 * Requests that were under way when a member goes down come back with API_ERROR_STOPPED: nobody knows whether
 * they were done.
 *
 * Members can be added: MemberAdd with the address of the next place, then sim_cluster_add, then start it.
 * One that learns that it was removed stops, and nobody hears it any more.
 *
 * Snapshots between members travel with their database, which takes a random time; the sender is told what
 * became of it.
 */
#ifndef SIM_SIM_CLUSTER_H
#define SIM_SIM_CLUSTER_H

#include "sim/sim_member.h"
#include "sim/sim_network.h"

enum { SIM_CLUSTER_MEMBERS_MAX = SIM_NETWORK_PLACES_MAX, SIM_CLOCK_RATE_ONE = 1000 };

struct sim_cluster;

enum sim_event_kind {
    SIM_EVENT_RUN,     /* the member did what was due */
    SIM_EVENT_SEND,    /* it sent a message to `peer`, or tried to */
    SIM_EVENT_DELIVER, /* a message of `peer` reached it */
    SIM_EVENT_REFUSE,  /* a message of `peer` found it down */
    SIM_EVENT_START,
    SIM_EVENT_STOP,
    SIM_EVENT_CRASH,
    SIM_EVENT_PAUSE,
    SIM_EVENT_RESUME,
    SIM_EVENT_FAIL,    /* its storage failed: it is down */
    SIM_EVENT_RECEIVE, /* a database of `peer` reached it, in good order or not */
};

struct sim_event {
    int64_t at;
    enum sim_event_kind kind;
    size_t member;
    size_t peer;
    const struct raft_message *message; /* SEND, DELIVER, RECEIVE; else NULL. Borrowed */
    const char *text; /* FAIL: what happened; RECEIVE: why it was refused, if it was; else NULL */
    bool is_damaged;  /* RECEIVE: it came whole, and is none: so it was sent */
};

struct sim_cluster_options {
    uint64_t seed;
    size_t members;
    struct sim_link link;    /* of all links at first */
    uint64_t snapshot_count; /* these as in struct sim_member_options */
    uint64_t wal_segment_size;
    uint64_t backend_batch_limit;
    uint64_t catch_up_entries; /* 0: all that fit into memory */
    int64_t lease_checkpoint_interval;
    const struct node_limits *limits;
    int64_t watch_progress_interval;
    int64_t write_time, read_time, install_time;
    const struct logger *logger;
    /* As in struct sim_member_options, with the member they come from. */
    void (*on_reply)(void *context, size_t member, struct node_request *request);
    void (*on_watch)(void *context, size_t member, struct watch_message *message);
    void (*on_event)(void *context, const struct sim_event *event); /* may be NULL */
    void *context;
};

struct sim_cluster *sim_cluster_new(const struct sim_cluster_options *options)
    __attribute__((returns_nonnull, warn_unused_result));
/* Members that are up lose power first. NULL is allowed. */
void sim_cluster_free(struct sim_cluster *cluster);

/* ---- time ---- */

int64_t sim_cluster_now(const struct sim_cluster *cluster);
/* When the next event is due; INT64_MAX: never. */
int64_t sim_cluster_next(const struct sim_cluster *cluster);
/* Does the next event if it is due by `until`. Otherwise the time becomes `until` and it returns false. */
bool sim_cluster_step(struct sim_cluster *cluster, int64_t until);
uint64_t sim_cluster_events(const struct sim_cluster *cluster); /* so far */
uint64_t sim_cluster_trace(const struct sim_cluster *cluster);
uint64_t sim_cluster_installs(const struct sim_cluster *cluster); /* databases received and installed */

/* ---- members ---- */

size_t sim_cluster_members(const struct sim_cluster *cluster);
struct sim_member *sim_cluster_member(struct sim_cluster *cluster, size_t member);
bool sim_cluster_is_up(const struct sim_cluster *cluster, size_t member); /* paused counts */
bool sim_cluster_is_paused(const struct sim_cluster *cluster, size_t member);
/* The place of the member with this raft id; sim_cluster_members when there is none. */
size_t sim_cluster_find(const struct sim_cluster *cluster, uint64_t id);

/* The peer address of a place; also of the one that sim_cluster_add makes next. */
const char *sim_cluster_url(const struct sim_cluster *cluster, size_t member);
/* One more place, whose member joins the cluster when it is first started. Somebody who is up must have its
 * address as a member's by then. */
size_t sim_cluster_add(struct sim_cluster *cluster);
/* The member must be down. An error: it found something on its disk that it cannot start from. */
struct error *sim_cluster_start(struct sim_cluster *cluster, size_t member)
    __attribute__((warn_unused_result));
/* Fine when it is down already: power comes back to its disk. */
void sim_cluster_crash(struct sim_cluster *cluster, size_t member, enum fs_sim_crash_mode mode);
void sim_cluster_kill(struct sim_cluster *cluster, size_t member);
/* An orderly end. */
struct error *sim_cluster_stop(struct sim_cluster *cluster, size_t member)
    __attribute__((warn_unused_result));
/* It must be up. With `clock_stops` its time stands still meanwhile (a machine that is suspended); otherwise
 * it notices on waking how late it is (a stopped process). */
void sim_cluster_pause(struct sim_cluster *cluster, size_t member, bool clock_stops);
/* Fine when it is not paused. */
void sim_cluster_resume(struct sim_cluster *cluster, size_t member);
/* From now on; SIM_CLOCK_RATE_ONE is right. */
void sim_cluster_set_clock_rate(struct sim_cluster *cluster, size_t member, int64_t rate);
struct sim_network *sim_cluster_network(struct sim_cluster *cluster);

/* To a member that is up; it runs as the next event (when it is paused: after that). */
void sim_cluster_submit(struct sim_cluster *cluster, size_t member, struct node_request *request);

#endif
