/* story: a simulated cluster that a test leads through a scene, one request at a time.
 *
 * Whatever does not come to be within STORY_PATIENCE of simulated time fails the test (cmocka). */
#ifndef TESTS_SIM_STORY_H
#define TESTS_SIM_STORY_H

#include "sim/sim_cluster.h"

#include "rpc.pb-c.h"

#define STORY_MILLISECOND INT64_C(1000000)
#define STORY_SECOND      INT64_C(1000000000)
#define STORY_PATIENCE    (60 * STORY_SECOND)

enum { STORY_EVENTS_MAX = 4096 };

/* What one watcher was told. */
struct story_watch {
    struct watch_stream *stream;
    size_t member;
    int64_t created_at; /* revision; 0: not yet */
    int64_t compacted;  /* canceled with this compact revision; 0: it was not */
    int64_t revisions[STORY_EVENTS_MAX];
    size_t count;
    int64_t bookmark; /* of the last response without events */
};

struct story {
    struct sim_cluster *cluster;
    struct arena *arena; /* for what was answered last */
    /* The request under way. */
    struct node_request request;
    struct buf raw;
    bool asked, answered;
    const void *response;       /* NULL: it failed */
    uint64_t received, refused; /* databases that reached a member */
    bool fell[SIM_CLUSTER_MEMBERS_MAX];
};

/* All members up, with a leader. The callbacks among the options, the links, the logger and the size of log
 * segments are the story's. */
struct story *story_of(const struct sim_cluster_options *options);
/* Members that remember no more entries than `catch_up`. */
struct story *story_new(uint64_t seed, size_t members, uint64_t snapshot_count, uint64_t catch_up);
void story_free(struct story *story);

/* ---- time ---- */
void story_run(struct story *story, int64_t time);
/* Until it is so; the test fails when it does not come to that. */
void story_until(struct story *story, bool (*is_so)(struct story *story, void *context), void *context);

/* ---- members ---- */
size_t story_leader(struct story *story); /* waits for one that all who are up and not cut off follow */
struct node *story_node(struct story *story, size_t member);
struct node_status story_status(struct story *story, size_t member);
/* No message to or from it arrives. */
void story_isolate(struct story *story, size_t member, bool isolated);
/* Waits until both have applied the same. */
void story_wait_equal(struct story *story, size_t a, size_t b);
void story_start(struct story *story, size_t member);

/* ---- requests ---- */
/* Hands it in and lets nothing happen yet. `message` is borrowed until the answer. */
void story_submit(struct story *story, size_t member, enum node_operation operation,
                  const ProtobufCMessage *message);
/* Waits for the answer; NULL: story->request tells the error. Valid until the next one. */
const void *story_answer(struct story *story);
const void *story_ask(struct story *story, size_t member, enum node_operation operation,
                      const ProtobufCMessage *message);
/* These must succeed. */
int64_t story_put(struct story *story, size_t member, const char *key, const char *value, int64_t lease);
void story_fill(struct story *story, size_t member, unsigned from, unsigned count); /* keys k00000... */
void story_compact(struct story *story, size_t member, int64_t revision);
/* The value, in the arena; NULL: the key is not there. Serializable reads are answered by the member itself.
 */
const char *story_get(struct story *story, size_t member, const char *key, bool serializable);
/* HashKV at the present. */
uint32_t story_hash(struct story *story, size_t member);

/* All keys. */
void story_watch(struct story *story, struct story_watch *watch, size_t member, int64_t from);

/* A database on its way to that member: message and image are to be given back (raft_message_deinit,
 * blob_unref). Waits for one. */
void story_catch_image(struct story *story, size_t to, struct raft_message *message, struct blob **image);

#endif
