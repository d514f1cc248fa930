/* raft_fixture: members and clusters for tests of Raft, in one process and without time.
 *
 * A member is a raft with a memory storage. Its readies are carried out by member_flush, which keeps the
 * messages; a cluster passes them on until nothing moves any more.
 */
#ifndef TESTS_RAFT_FIXTURE_H
#define TESTS_RAFT_FIXTURE_H

#include "raft/core.h"
#include "raft/memory_storage.h"

struct number_list {
    const uint64_t *items;
    size_t count;
};

#define NUMBERS(...)                                                                                         \
    ((struct number_list){(const uint64_t[]){__VA_ARGS__},                                                   \
                          sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)})

struct member_setup {
    struct raft_config config; /* id, ticks, limits: zeros get defaults for tests */
    struct number_list voters;
    struct number_list learners;
    uint64_t snapshot_index; /* the log begins behind it */
    uint64_t snapshot_term;
    struct number_list log_terms; /* of the stored entries */
    struct raft_hard_state hard_state;
};

struct member {
    struct raft_memory_storage memory;
    struct raft_config config;
    struct raft *raft;
    struct raft_messages sent; /* what flushing has left */
    struct raft_read_states reads;
    uint64_t applied_index;
    size_t applied_entries; /* with data */
    bool last_must_sync;
};

void member_init(struct member *member, const struct member_setup *setup);
void member_deinit(struct member *member);
/* A new raft on the same storage, as after a restart. */
void member_restart(struct member *member, uint64_t applied);
/* Carries out readies until there is none; not for asynchronous members. */
void member_flush(struct member *member);
/* Steps a message, which it releases. */
enum raft_result member_step(struct member *member, struct raft_message message);
/* The same, followed by a flush. */
enum raft_result member_receive(struct member *member, struct raft_message message);
enum raft_result member_propose(struct member *member, const char *data);
/* Makes it leader of the next term of its configuration, granting all votes; what it sends is dropped. */
void member_make_leader(struct member *member);
void member_drop_sent(struct member *member);
/* The only message that was sent of this type to this id; fails the test when there is another number of
 * them. */
const struct raft_message *member_sent(const struct member *member, enum raft_message_type type, uint64_t to);
size_t member_count_sent(const struct member *member, enum raft_message_type type);
struct raft_progress *member_progress(const struct member *member, uint64_t id);

/* `count` entries behind `index` with these terms, without data. */
struct raft_entries make_entries(uint64_t index, struct number_list terms);

enum { CLUSTER_MAX = 8 };

struct cluster {
    struct member members[CLUSTER_MAX]; /* member id i at [i - 1] */
    size_t count;
    bool cut[CLUSTER_MAX + 1][CLUSTER_MAX + 1]; /* from, to */
    uint32_t dropped_types;                     /* bit set by RAFT_ message type */
};

/* Members 1..count, all voters. */
void cluster_init(struct cluster *cluster, size_t count, const struct raft_config *config);
void cluster_deinit(struct cluster *cluster);
struct member *cluster_member(struct cluster *cluster, uint64_t id);
/* Cuts or heals all connections of a member. */
void cluster_isolate(struct cluster *cluster, uint64_t id, bool isolated);
/* Delivers until nothing moves. */
void cluster_settle(struct cluster *cluster);
void cluster_campaign(struct cluster *cluster, uint64_t id);
enum raft_role cluster_role(struct cluster *cluster, uint64_t id);
void cluster_tick(struct cluster *cluster, uint64_t id, uint32_t ticks);

#endif
