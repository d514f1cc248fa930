/* The simulated network: what links do to messages. */
#include "base/blob.h"
#include "raft/codec.h"
#include "sim/sim_network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SENT = 2000, FIRST_TO = 1 };

static struct sim_network *network_of(uint64_t seed, const struct sim_link *link)
{
    return sim_network_new(seed, 3, link);
}

static void send(struct sim_network *network, enum raft_message_type type, uint64_t index, int64_t now)
{
    struct raft_message message = {.type = type, .from = 1, .to = 2, .term = 1, .index = index};
    assert_int_equal(sim_network_send(network, 0, FIRST_TO, &message, now), SIM_SENT);
}

/* Takes everything; returns how many, and in how many places the order is not that of sending. */
static size_t take_all(struct sim_network *network, size_t *out_of_order)
{
    struct sim_packet packet;
    uint64_t last = 0;
    size_t count = 0;
    *out_of_order = 0;
    while (sim_network_take(network, INT64_MAX - 1, &packet)) {
        struct raft_message message = {0};
        assert_null(raft_decode_message(&message, blob_bytes(packet.bytes)));
        assert_int_equal(packet.to, FIRST_TO);
        *out_of_order += message.index < last;
        last = message.index;
        count++;
        raft_message_deinit(&message);
        blob_unref(packet.bytes);
    }
    return count;
}

static void a_good_link_delivers_everything_in_order_after_its_delay(void **state)
{
    (void)state;
    struct sim_network *network = network_of(1, &(const struct sim_link){.delay = 500});
    struct sim_packet packet;
    size_t out_of_order;
    for (uint64_t i = 1; i <= SENT; i++) send(network, RAFT_APP, i, (int64_t)i);
    assert_int_equal(sim_network_next(network), 501);
    assert_false(sim_network_take(network, 500, &packet));
    assert_int_equal(take_all(network, &out_of_order), SENT);
    assert_int_equal(out_of_order, 0);
    sim_network_free(network);
}

static void jitter_reorders(void **state)
{
    (void)state;
    struct sim_network *network = network_of(2, &(const struct sim_link){.jitter = 100});
    size_t out_of_order;
    for (uint64_t i = 1; i <= SENT; i++) send(network, RAFT_APP, i, (int64_t)i);
    assert_int_equal(take_all(network, &out_of_order), SENT);
    assert_true(out_of_order > 0);
    sim_network_free(network);
}

static void lossy_links_lose_about_as_many_as_they_are_told(void **state)
{
    (void)state;
    struct sim_network *network = network_of(3, &(const struct sim_link){.loss = 5000});
    size_t out_of_order;
    for (uint64_t i = 1; i <= SENT; i++) send(network, RAFT_APP, i, 0);
    size_t arrived = take_all(network, &out_of_order);
    assert_in_range(arrived, SENT / 3, 2 * SENT / 3);
    sim_network_free(network);
}

static void messages_are_duplicated_but_proposals_are_not(void **state)
{
    (void)state;
    struct sim_network *network = network_of(4, &(const struct sim_link){.duplication = 10000});
    size_t out_of_order;
    for (uint64_t i = 1; i <= SENT; i++) send(network, RAFT_APP, i, 0);
    assert_int_equal(take_all(network, &out_of_order), 2 * SENT);
    for (uint64_t i = 1; i <= SENT; i++) send(network, RAFT_PROP, i, 0);
    assert_int_equal(take_all(network, &out_of_order), SENT);
    sim_network_free(network);
}

static void a_cut_link_tells_the_sender_and_keeps_what_is_on_its_way(void **state)
{
    (void)state;
    struct sim_network *network = network_of(5, &(const struct sim_link){.delay = 10});
    struct raft_message message = {.type = RAFT_HEARTBEAT, .from = 1, .to = 2, .term = 1};
    size_t out_of_order;
    send(network, RAFT_HEARTBEAT, 1, 0);
    sim_network_link(network, 0, 1)->cut = true; /* one direction only */
    assert_int_equal(sim_network_send(network, 0, 1, &message, 0), SIM_UNREACHABLE);
    assert_int_equal(take_all(network, &out_of_order), 1);
    assert_int_equal(sim_network_send(network, 1, 0, &message, 0), SIM_SENT);
    sim_network_heal(network);
    assert_int_equal(sim_network_send(network, 0, 1, &message, 0), SIM_SENT);
    assert_int_equal(sim_network_count(network), 2);
    sim_network_free(network);
}

static void what_a_place_without_power_was_sending_is_lost(void **state)
{
    (void)state;
    struct sim_network *network = network_of(6, &(const struct sim_link){.jitter = 100});
    struct raft_message message = {.type = RAFT_APP, .from = 3, .to = 2, .term = 1};
    size_t out_of_order;
    for (uint64_t i = 1; i <= SENT; i++) send(network, RAFT_APP, i, 0);
    assert_int_equal(sim_network_send(network, 2, FIRST_TO, &message, 0), SIM_SENT);
    sim_network_lose(network, 0);
    assert_int_equal(take_all(network, &out_of_order), 1);
    send(network, RAFT_APP, 1, 0);
    assert_int_equal(take_all(network, &out_of_order), 1);
    sim_network_free(network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_link_delivers_everything_in_order_after_its_delay),
        cmocka_unit_test(jitter_reorders),
        cmocka_unit_test(lossy_links_lose_about_as_many_as_they_are_told),
        cmocka_unit_test(messages_are_duplicated_but_proposals_are_not),
        cmocka_unit_test(a_cut_link_tells_the_sender_and_keeps_what_is_on_its_way),
        cmocka_unit_test(what_a_place_without_power_was_sending_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
