/* Which member's data are wrong, told from the hashes of all. */
#include "cluster/corruption.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SELF = 1, B = 2, C = 3, D = 4, E = 5 };

static struct corruption_hash hash_at(uint32_t hash, int64_t revision, int64_t compact_revision)
{
    return (struct corruption_hash){hash, revision, compact_revision, revision};
}

static struct corruption_answer answer(uint64_t id, uint32_t hash, int64_t compact_revision)
{
    return (struct corruption_answer){id, CORRUPTION_ANSWERED, hash_at(hash, 10, compact_revision)};
}

static struct corruption_answer silence(uint64_t id, enum corruption_reply reply)
{
    return (struct corruption_answer){.member_id = id, .reply = reply};
}

static void only_hashes_of_one_compaction_compare(void **state)
{
    (void)state;
    struct corruption_hash own = hash_at(7, 10, 4);
    struct corruption_answer same = answer(B, 7, 4), other = answer(B, 8, 4), compacted = answer(B, 8, 5);
    struct corruption_answer behind = silence(B, CORRUPTION_IS_BEHIND);
    assert_int_equal(corruption_compare(&own, &same), CORRUPTION_NONE);
    assert_int_equal(corruption_compare(&own, &other), CORRUPTION_HASH_DIFFERS);
    assert_int_equal(corruption_compare(&own, &compacted), CORRUPTION_NOT_COMPARED);
    assert_int_equal(corruption_compare(&own, &behind), CORRUPTION_NOT_COMPARED);
}

static void a_leader_whose_hash_changes_is_wrong_itself(void **state)
{
    (void)state;
    struct corruption_hash before = hash_at(7, 10, 4), same = before, changed = hash_at(8, 10, 4);
    struct corruption_hash later = hash_at(8, 11, 4), compacted = hash_at(8, 10, 5);
    assert_int_equal(corruption_compare_leader(&before, &same), CORRUPTION_NONE);
    assert_int_equal(corruption_compare_leader(&before, &changed), CORRUPTION_HASH_DIFFERS);
    assert_int_equal(corruption_compare_leader(&before, &later), CORRUPTION_NOT_COMPARED);
    assert_int_equal(corruption_compare_leader(&before, &compacted), CORRUPTION_NOT_COMPARED);
}

static void a_follower_must_not_be_ahead(void **state)
{
    (void)state;
    struct corruption_hash before = hash_at(7, 10, 4), after = hash_at(9, 12, 6);
    struct corruption_answer follower = answer(B, 7, 4);
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_NONE);
    follower.hash.current_revision = 12; /* it has moved on together with the leader */
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_NONE);
    follower.hash.current_revision = 13;
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_REVISION_AHEAD);
    follower = answer(B, 8, 6); /* a compaction came in between: nothing to compare with */
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_NOT_COMPARED);
    follower = answer(B, 8, 7);
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_COMPACTION_AHEAD);
    follower = answer(B, 8, 4);
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_HASH_DIFFERS);
    follower = silence(B, CORRUPTION_SILENT);
    assert_int_equal(corruption_compare_follower(&before, &after, &follower), CORRUPTION_NOT_COMPARED);
}

#define JUDGE(own, ...)                                                                                      \
    do {                                                                                                     \
        const struct corruption_answer answers_[] = {__VA_ARGS__};                                           \
        corruption_judge_compaction(SELF, own, answers_, sizeof(answers_) / sizeof(answers_[0]), &verdict);  \
    } while (0)

static void equal_hashes_need_all_members(void **state)
{
    (void)state;
    struct corruption_verdict verdict;
    struct corruption_hash own = hash_at(7, 10, 4);
    JUDGE(&own, answer(B, 7, 4), answer(C, 7, 4));
    assert_int_equal(verdict.outcome, CORRUPTION_ALL_EQUAL);
    assert_int_equal(verdict.member_count, 0);
    JUDGE(&own, answer(B, 7, 4), silence(C, CORRUPTION_SILENT));
    assert_int_equal(verdict.outcome, CORRUPTION_INCOMPLETE);
    JUDGE(&own, answer(B, 7, 4), answer(C, 8, -1));
    assert_int_equal(verdict.outcome, CORRUPTION_INCOMPLETE);
    corruption_judge_compaction(SELF, &own, NULL, 0, &verdict);
    assert_int_equal(verdict.outcome, CORRUPTION_ALL_EQUAL);
}

static void the_minority_is_named(void **state)
{
    (void)state;
    struct corruption_verdict verdict;
    struct corruption_hash own = hash_at(7, 10, 4);
    JUDGE(&own, answer(B, 8, 4), answer(C, 7, 4));
    assert_int_equal(verdict.outcome, CORRUPTION_FOUND);
    assert_int_equal(verdict.member_count, 1);
    assert_int_equal(verdict.members[0], B);
    JUDGE(&own, answer(B, 8, 4), answer(C, 8, 4)); /* the leader itself */
    assert_int_equal(verdict.member_count, 1);
    assert_int_equal(verdict.members[0], SELF);
    JUDGE(&own, answer(B, 7, 4), answer(C, 8, 4), answer(D, 7, 4), answer(E, 9, 4));
    assert_int_equal(verdict.member_count, 2);
    assert_int_equal(verdict.members[0], C);
    assert_int_equal(verdict.members[1], E);
}

static void without_a_majority_nobody_is_named(void **state)
{
    (void)state;
    struct corruption_verdict verdict;
    struct corruption_hash own = hash_at(7, 10, 4);
    JUDGE(&own, answer(B, 8, 4));
    assert_int_equal(verdict.outcome, CORRUPTION_FOUND);
    assert_int_equal(verdict.member_count, 1);
    assert_int_equal(verdict.members[0], 0);
    /* The silent count as members, too: two of four are no majority. */
    JUDGE(&own, answer(B, 7, 4), answer(C, 8, 4), silence(D, CORRUPTION_SILENT));
    assert_int_equal(verdict.member_count, 1);
    assert_int_equal(verdict.members[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_hashes_of_one_compaction_compare),
        cmocka_unit_test(a_leader_whose_hash_changes_is_wrong_itself),
        cmocka_unit_test(a_follower_must_not_be_ahead),
        cmocka_unit_test(equal_hashes_need_all_members),
        cmocka_unit_test(the_minority_is_named),
        cmocka_unit_test(without_a_majority_nobody_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
