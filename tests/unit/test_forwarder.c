/* Whom the forwarder connects to. */
#include "server/forwarder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TARGETS = 4 };

static void members_without_weight_take_turns(void **state)
{
    (void)state;
    const struct forwarder_target targets[TARGETS] = {{"a:1", 0, 0},
                                                      {"b:1", 0, 0},
                                                      {"c:1", 0, 0},
                                                      {"d:1", 0, 0}};
    bool active[TARGETS] = {true, false, true, true};
    size_t turn = 0, used[TARGETS] = {0};
    for (int i = 0; i < 40; i++) used[forwarder_choose(targets, active, TARGETS, 7, &turn)]++;
    assert_int_equal(used[1], 0);
    assert_int_equal(used[0] + used[2] + used[3], 40);
    for (int i = 0; i < TARGETS; i++) assert_true(i == 1 || used[i] >= 10);
}

static void the_best_priority_is_used_by_weight(void **state)
{
    (void)state;
    const struct forwarder_target targets[TARGETS] = {{"a:1", 20, 0},
                                                      {"b:1", 10, 30},
                                                      {"c:1", 10, 0},
                                                      {"d:1", 10, 10}};
    bool active[TARGETS] = {true, true, true, true};
    size_t turn = 0, used[TARGETS] = {0};
    for (uint32_t random = 0; random < 400; random++)
        used[forwarder_choose(targets, active, TARGETS, random, &turn)]++;
    assert_int_equal(used[0], 0);
    assert_int_equal(used[1], 300);
    assert_int_equal(used[3], 100);
    active[1] = active[2] = active[3] = false;
    assert_int_equal(forwarder_choose(targets, active, TARGETS, 5, &turn), 0);
    active[0] = false;
    assert_int_equal(forwarder_choose(targets, active, TARGETS, 5, &turn), TARGETS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_without_weight_take_turns),
        cmocka_unit_test(the_best_priority_is_used_by_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
