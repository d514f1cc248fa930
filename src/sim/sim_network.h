/* sim_network: what lies between the members of a simulated cluster.
 *
 * Messages travel encoded (raftpb), so that members share nothing. Every direction between two places is a
 * link with settings of its own: delay, jitter (which reorders), loss, duplication, or cut. From these come
 * partitions: cut one direction and it is asymmetric; cut A-B and leave both connected to C and C is a
 * bridge. What is already on its way when a link is cut still arrives, as it may in reality.
 *
 * Proposals (RAFT_PROP) are never duplicated: raft gives them no identity, its transports are streams that
 * deliver at most once, and that is all they have to promise.
 *
 * A snapshot's image travels with its message, for as long as its size and the sender's pace take. It is not
 * lost without notice: it arrives cut short, or the link is found to be cut when it should arrive.
 *
 * Everything is decided by the seed. Places are 0, 1, ...; times are nanoseconds of simulated time.
 */
#ifndef SIM_SIM_NETWORK_H
#define SIM_SIM_NETWORK_H

#include "raft/raft.h"

enum { SIM_NETWORK_PLACES_MAX = 7 };

struct sim_link {
    int64_t delay;        /* the shortest */
    int64_t jitter;       /* at random up to so much more */
    uint32_t loss;        /* messages lost in 10 000 */
    uint32_t duplication; /* messages sent twice in 10 000 */
    bool cut;
};

/* A message that arrives. */
struct sim_packet {
    size_t from;
    size_t to;
    int64_t sent_at;
    enum raft_message_type type;
    struct blob *bytes; /* encoded; one reference, the receiver's */
    struct blob *image; /* of a RAFT_SNAP, likewise; else NULL */
    uint64_t tag;       /* with an image: as it was sent with */
    bool is_copy;       /* likewise: there is, or was, another one */
    bool is_cut_short;  /* likewise */
};
/* Gives back both references. */
void sim_packet_deinit(struct sim_packet *packet);

enum sim_sent {
    SIM_SENT,        /* on its way, or lost without notice */
    SIM_UNREACHABLE, /* the link is cut: the sender notices */
};

struct sim_network;

/* All links as `link`, none cut. */
struct sim_network *sim_network_new(uint64_t seed, size_t places, const struct sim_link *link)
    __attribute__((returns_nonnull, warn_unused_result));
/* NULL is allowed. */
void sim_network_free(struct sim_network *network);

/* The settings of one direction, to be read and changed. from != to. */
struct sim_link *sim_network_link(struct sim_network *network, size_t from, size_t to);
/* Cuts (or mends) both directions between two places. */
void sim_network_cut(struct sim_network *network, size_t a, size_t b, bool cut);
/* What a place has sent and what has not arrived is lost, but for images: its power failed before its network
 * card had it. */
void sim_network_lose(struct sim_network *network, size_t from);
/* No link is cut any more. */
void sim_network_heal(struct sim_network *network);

/* `message` is borrowed. */
enum sim_sent sim_network_send(struct sim_network *network, size_t from, size_t to,
                               const struct raft_message *message, int64_t now);
/* A RAFT_SNAP with its database, `time` later than other messages. It always arrives in some way. */
void sim_network_send_image(struct sim_network *network, size_t from, size_t to,
                            const struct raft_message *message, struct blob *image, uint64_t tag,
                            int64_t time, int64_t now);
/* When the next message arrives; INT64_MAX: none is on its way. */
int64_t sim_network_next(const struct sim_network *network);
/* Takes the first that has arrived by `now`; false when there is none. */
bool sim_network_take(struct sim_network *network, int64_t now, struct sim_packet *packet);
/* Messages on their way, in no order; the packets stay the network's. Until the next call to this module. */
size_t sim_network_count(const struct sim_network *network);
const struct sim_packet *sim_network_at(const struct sim_network *network, size_t position, int64_t *arrives);

#endif
