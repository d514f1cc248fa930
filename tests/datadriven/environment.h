/* environment: members of a cluster in one process, connected by a list of messages in flight.
 *
 * What the interaction files act on. Nothing happens by itself: each step of each member is a call, and
 * everything that raft logs and every message that is moved is written to one output buffer, in order of
 * occurrence.
 */
#ifndef TESTS_ENVIRONMENT_H
#define TESTS_ENVIRONMENT_H

#include "base/buf.h"
#include "raft/memory_storage.h"

struct environment;

struct environment_node {
    uint64_t id;
    struct environment *environment;
    struct raft_storage storage; /* memory, but with the latest of history as its snapshot */
    struct raft_memory_storage memory;
    struct raft_config config;
    struct raft *raft;
    /* Stands in for the state machine: what each applied entry led to. */
    struct raft_snapshot *history;
    size_t history_count;
    size_t history_capacity;
    /* Queues of the storage threads */
    struct raft_messages append_work;
    struct raft_messages apply_work;
};

struct environment {
    struct environment_node **nodes;
    size_t count;
    struct raft_messages in_flight;
    struct buf output;
    struct logger logger;
};

void environment_init(struct environment *environment);
void environment_deinit(struct environment *environment);
/* NULL when there is no such node. */
struct environment_node *environment_node(const struct environment *environment, uint64_t id);
/* A node with the next id, whose state begins with `snapshot` (index 0: with nothing). */
struct error *environment_add_node(struct environment *environment, const struct raft_config *config,
                                   const struct raft_snapshot *snapshot);

/* Writes to the output, unless the log level is LOG_NONE. */
void environment_print(struct environment *environment, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void environment_print_message(struct environment *environment, const struct raft_message *message);
/* Between these two, output goes to a new buffer; at the end its lines are added with two blanks in front. */
struct buf environment_indent_begin(struct environment *environment);
void environment_indent_end(struct environment *environment, struct buf outer);

/* Takes the messages to a node (of one type, unless RAFT_MESSAGE_TYPES) out of flight and steps them, or
 * drops them, those apart that never travel. Returns how many. */
size_t environment_deliver(struct environment *environment, uint64_t to, enum raft_message_type type,
                           bool drop);
bool environment_has_messages_to(const struct environment *environment, uint64_t to);
struct error *environment_process_ready(struct environment_node *node);
/* One message of the queue each. */
struct error *environment_process_append(struct environment_node *node);
struct error *environment_process_apply(struct environment_node *node);
/* All of it for these nodes, until nothing happens any more. */
struct error *environment_stabilize(struct environment_node *const *nodes, size_t count);

#endif
