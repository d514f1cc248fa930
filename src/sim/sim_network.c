#include "sim/sim_network.h"

#include "base/buf.h"
#include "base/heap.h"
#include "base/memory.h"
#include "base/rng.h"
#include "raft/codec.h"

#include <assert.h>
#include <stdlib.h>

enum { IN_10000 = 10000 };

struct flight {
    struct heap_node node; /* by arrival */
    struct sim_packet packet;
};

struct sim_network {
    struct rng rng;
    size_t places;
    struct sim_link links[SIM_NETWORK_PLACES_MAX][SIM_NETWORK_PLACES_MAX];
    struct heap flights;
    struct buf scratch;
};

struct sim_network *sim_network_new(uint64_t seed, size_t places, const struct sim_link *link)
{
    assert(places >= 1 && places <= SIM_NETWORK_PLACES_MAX);
    struct sim_network *network = mem_zalloc(1, sizeof(*network));
    rng_init(&network->rng, seed);
    network->places = places;
    for (size_t from = 0; from < places; from++)
        for (size_t to = 0; to < places; to++) network->links[from][to] = *link;
    sim_network_heal(network);
    return network;
}

static struct flight *first(const struct sim_network *network)
{
    return (struct flight *)(void *)heap_first(&network->flights);
}

void sim_packet_deinit(struct sim_packet *packet)
{
    blob_unref(packet->bytes);
    blob_unref(packet->image);
    packet->bytes = packet->image = NULL;
}

void sim_network_free(struct sim_network *network)
{
    if (network == NULL) return;
    struct flight *flight;
    while ((flight = first(network)) != NULL) {
        heap_remove(&network->flights, &flight->node);
        sim_packet_deinit(&flight->packet);
        free(flight);
    }
    heap_deinit(&network->flights);
    buf_deinit(&network->scratch);
    free(network);
}

struct sim_link *sim_network_link(struct sim_network *network, size_t from, size_t to)
{
    assert(from != to && from < network->places && to < network->places);
    return &network->links[from][to];
}

void sim_network_cut(struct sim_network *network, size_t a, size_t b, bool cut)
{
    sim_network_link(network, a, b)->cut = sim_network_link(network, b, a)->cut = cut;
}

void sim_network_heal(struct sim_network *network)
{
    for (size_t from = 0; from < network->places; from++)
        for (size_t to = 0; to < network->places; to++) network->links[from][to].cut = false;
}

static void launch(struct sim_network *network, const struct sim_link *link, const struct sim_packet *packet,
                   int64_t time)
{
    struct flight *flight = mem_zalloc(1, sizeof(*flight));
    flight->packet = *packet;
    flight->packet.bytes = blob_ref(packet->bytes);
    if (packet->image != NULL) blob_ref(packet->image);
    int64_t jitter = link->jitter == 0 ? 0 : (int64_t)rng_below(&network->rng, (uint64_t)link->jitter);
    heap_put(&network->flights, &flight->node, packet->sent_at + time + link->delay + jitter);
}

/* With one reference to the encoded message, and none to an image. */
static struct sim_packet packet_of(struct sim_network *network, size_t from, size_t to,
                                   const struct raft_message *message, int64_t now)
{
    buf_clear(&network->scratch);
    raft_encode_message(&network->scratch, message);
    return (struct sim_packet){
        .from = from,
        .to = to,
        .sent_at = now,
        .type = message->type,
        .bytes = blob_from(buf_bytes(&network->scratch)),
    };
}

enum sim_sent sim_network_send(struct sim_network *network, size_t from, size_t to,
                               const struct raft_message *message, int64_t now)
{
    const struct sim_link *link = sim_network_link(network, from, to);
    if (link->cut) return SIM_UNREACHABLE;
    if (rng_chance(&network->rng, link->loss, IN_10000)) return SIM_SENT;
    struct sim_packet packet = packet_of(network, from, to, message, now);
    launch(network, link, &packet, 0);
    if (message->type != RAFT_PROP && rng_chance(&network->rng, link->duplication, IN_10000))
        launch(network, link, &packet, 0);
    blob_unref(packet.bytes);
    return SIM_SENT;
}

void sim_network_send_image(struct sim_network *network, size_t from, size_t to,
                            const struct raft_message *message, struct blob *image, uint64_t tag,
                            int64_t time, int64_t now)
{
    const struct sim_link *link = sim_network_link(network, from, to);
    struct sim_packet packet = packet_of(network, from, to, message, now);
    struct bytes content = blob_bytes(image);
    if (rng_chance(&network->rng, link->loss, IN_10000)) {
        content.size = (size_t)rng_below(&network->rng, content.size);
        packet.is_cut_short = true;
        time = (int64_t)rng_below(&network->rng, (uint64_t)time + 1);
    }
    packet.tag = tag;
    packet.image = blob_from(content);
    launch(network, link, &packet, time);
    if (rng_chance(&network->rng, link->duplication, IN_10000)) {
        packet.is_copy = true;
        launch(network, link, &packet, 2 * time);
    }
    sim_packet_deinit(&packet);
}

int64_t sim_network_next(const struct sim_network *network)
{
    const struct heap_node *next = heap_first(&network->flights);
    return next == NULL ? INT64_MAX : next->key;
}

bool sim_network_take(struct sim_network *network, int64_t now, struct sim_packet *packet)
{
    if (sim_network_next(network) > now) return false;
    struct flight *flight = first(network);
    heap_remove(&network->flights, &flight->node);
    *packet = flight->packet;
    free(flight);
    return true;
}

void sim_network_lose(struct sim_network *network, size_t from)
{
    for (size_t i = 0; i < network->flights.count;) {
        struct flight *flight = (struct flight *)(void *)network->flights.nodes[i];
        if (flight->packet.from != from || flight->packet.image != NULL) {
            i++;
            continue;
        }
        /* What fills the gap may have moved to where was looked already. */
        heap_remove(&network->flights, &flight->node);
        sim_packet_deinit(&flight->packet);
        free(flight);
        i = 0;
    }
}

size_t sim_network_count(const struct sim_network *network)
{
    return network->flights.count;
}

const struct sim_packet *sim_network_at(const struct sim_network *network, size_t position, int64_t *arrives)
{
    assert(position < network->flights.count);
    const struct flight *flight = (const struct flight *)(const void *)network->flights.nodes[position];
    if (arrives != NULL) *arrives = flight->node.key;
    return &flight->packet;
}
