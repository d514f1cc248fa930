/* engine: the threads around the node.
 *
 *     I/O loops ──engine_post──▶ ┌─────────────┐ ──log writes──▶ log thread (WAL, .snap)
 *                                │ node thread │ ──batches─────▶ backend thread (bolt commits)
 *     I/O loops ◀──loop_post──── └─────────────┘ ◀────────────── both post their completions back
 *
 * The log thread makes one fdatasync for all log writes that have gathered.
 *
 * The node thread takes everything that has gathered in its mailbox, runs the node once, and hands out what
 * came of it. It never waits for a disk or a socket. Tasks run on it with the node in hand: this is the only
 * way to reach the node.
 *
 * A database received from another member (node_ready.install) is put in place by the backend thread, which
 * also builds the node's state from it; nothing is committed meanwhile.
 *
 * A failing disk is fatal: a write that may be lost must not be acknowledged, and nobody knows what a failed
 * fsync has done. The `failed` callback is told once, from the thread that met it; the process must then end.
 */
#ifndef SERVER_ENGINE_H
#define SERVER_ENGINE_H

#include "base/mailbox.h"
#include "mvcc/watch.h"
#include "node/node.h"
#include "storage/backend.h"
#include "storage/fs.h"
#include "storage/wal.h"

struct engine;
struct loop;

/* Work for the node thread. Embed it; it is not touched any more once run is called. */
struct engine_task {
    struct mail mail;
    void (*run)(struct engine *engine, struct node *node, struct engine_task *task);
};

struct engine_config {
    const struct node_config *node; /* copied */
    struct node_recovery recovery;  /* its log is taken */
    struct fs *fs;
    struct wal *wal; /* taken */
    struct snap_metrics *snap_metrics;
    const char *snap_directory; /* copied */
    const struct logger *logger;
    /* A request comes back from the node, a watch response is ready: called on the node thread, to be handed
     * on. */
    void (*on_reply)(void *context, struct node_request *request);
    void (*on_watch)(void *context, struct watch_message *message);
    /* For other members: struct node_peer_message, oldest first, taken. NULL: dropped. Node thread. */
    void (*on_peer_messages)(void *context, struct mail *messages);
    /* A snapshot for another member: struct node_peer_message (RAFT_SNAP), and a reader of the image that
     * belongs to it. Both are taken: send them, end the reader, then node_snapshot_reported, once. NULL:
     * reported as failed. Node thread. */
    void (*on_snapshot)(void *context, struct node_peer_message *message,
                        const struct backend_reader *reader);
    /* Who belongs to the cluster, at the start and after each change; borrowed (cluster_copy it). May be
     * NULL. Node thread. */
    void (*on_membership)(void *context, const struct cluster *cluster);
    /* The member is known to the cluster and serves; once. The member was removed; once. Node thread. */
    void (*on_published)(void *context);
    void (*on_removed)(void *context);
    /* Something durable failed; any thread, once. `error` is borrowed. */
    void (*on_failed)(void *context, const struct error *error);
    void *context;
};

/* Builds the node and starts the threads. */
struct error *engine_start(const struct engine_config *config, struct engine **engine)
    __attribute__((warn_unused_result));
/* Any thread. */
void engine_post(struct engine *engine, struct engine_task *task);
/* The same from the thread of an I/O loop of this engine's: the node is woken once for everything that is
 * posted in one turn of the loop, or for every few dozen. */
void engine_post_from(struct engine *engine, struct loop *loop, struct engine_task *task);
/* Tasks waiting for the node thread; any thread. For back-pressure. */
size_t engine_waiting(struct engine *engine);
/* Answers what waits (API_ERROR_STOPPED), commits the backend, ends the threads, closes the WAL. on_reply may
 * be called until it returns. Not from an engine thread. The engine is freed. */
struct error *engine_stop(struct engine *engine) __attribute__((warn_unused_result));

/* Any thread: something durable failed elsewhere; on_failed is told. Takes the error. */
void engine_fail(struct engine *engine, struct error *error);

/* Any thread. */
struct node_metrics *engine_node_metrics(struct engine *engine);

#endif
