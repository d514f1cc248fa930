/* forwarder: `etcd gateway start`, which passes connections on to members without looking into them.
 *
 *     client ──▶ listen address ──▶ a member that answers, chosen anew for each connection
 *
 * Of the members that can be reached those of the lowest priority number are used, by weight as RFC 2782 has
 * it, in turn when they have none. One that cannot be reached is left out until it answers again, which is
 * tried after each retry delay. Bytes go both ways; who reads slowly is not sent more, so a connection holds
 * little memory. When one side ends, the other is ended when it has got what was on its way.
 *
 * One loop's thread.
 */
#ifndef SERVER_FORWARDER_H
#define SERVER_FORWARDER_H

#include "base/error.h"
#include "base/log.h"
#include "net/loop.h"

struct forwarder;

struct forwarder_target {
    const char *address; /* "host:port" */
    unsigned priority, weight;
};

enum { FORWARDER_TARGETS_MAX = 256 };

struct forwarder_config {
    struct loop *loop;
    const char *listen_address;
    const struct forwarder_target *targets; /* copied, at most FORWARDER_TARGETS_MAX */
    size_t target_count;
    int64_t retry_delay; /* nanoseconds */
    const struct logger *logger;
};

/* Listens, and serves from the loop's next turn on. */
struct error *forwarder_new(const struct forwarder_config *config, struct forwarder **forwarder)
    __attribute__((warn_unused_result));

/* The index of the target to use; `count` when none is active. random: from 0 to 2^32-1; turn: counts the
 * choices. For the forwarder and its test. */
size_t forwarder_choose(const struct forwarder_target *targets, const bool *active, size_t count,
                        uint32_t random, size_t *turn);

/* The whole command; arguments after "gateway". Returns the exit status, or runs for ever. */
int forwarder_command(int argc, char **argv);

#endif
