/* The set of free pages: lowest run first, nothing free twice. */
#include "bolt/freelist.h"
#include "tests/bolt/support.h"

enum { PAGES = 1000, OPERATIONS = 60000 };

enum page_state { USED, FREE, PENDING };

static bool lowest_run(const uint8_t *pages, uint64_t count, uint64_t *first)
{
    for (uint64_t page = 2; page + count <= PAGES; page++) {
        uint64_t length = 0;
        while (length < count && pages[page + length] == FREE) length++;
        if (length == count) {
            *first = page;
            return true;
        }
    }
    return false;
}

static void the_lowest_run_that_is_long_enough_is_taken(void **state)
{
    (void)state;
    struct freelist list;
    uint64_t page;
    freelist_init(&list);
    freelist_extend(&list, 500);
    assert_true(freelist_add(&list, 60, 10)); /* over the border of a word */
    assert_true(freelist_add(&list, 10, 3));
    assert_true(freelist_add(&list, 200, 150));
    assert_true(freelist_allocate(&list, 4, &page));
    assert_int_equal(page, 60);
    assert_true(freelist_allocate(&list, 1, &page));
    assert_int_equal(page, 10);
    assert_true(freelist_allocate(&list, 6, &page));
    assert_int_equal(page, 64);
    assert_true(freelist_allocate(&list, 130, &page));
    assert_int_equal(page, 200);
    assert_false(freelist_allocate(&list, 21, &page));
    assert_true(freelist_allocate(&list, 20, &page));
    assert_int_equal(page, 330);
    assert_int_equal(list.free_count, 2);
    freelist_deinit(&list);
}

static void a_page_cannot_be_given_up_twice(void **state)
{
    (void)state;
    struct freelist list;
    freelist_init(&list);
    freelist_extend(&list, 100);
    assert_true(freelist_give_up(&list, 10, 5));
    assert_false(freelist_give_up(&list, 14, 1));
    assert_false(freelist_give_up(&list, 0, 1));
    assert_false(freelist_give_up(&list, 99, 2));
    freelist_commit(&list, 7);
    assert_false(freelist_give_up(&list, 12, 1));
    freelist_release(&list, 6);
    assert_true(freelist_is_pending(&list, 12));
    freelist_release(&list, 7);
    assert_true(freelist_is_free(&list, 12));
    assert_false(freelist_give_up(&list, 12, 1));
    assert_false(freelist_add(&list, 12, 1));
    freelist_deinit(&list);
}

static void random_use_agrees_with_a_plain_array(void **state)
{
    (void)state;
    struct freelist list;
    struct rng rng;
    uint8_t pages[PAGES] = {USED};
    uint64_t txid[PAGES] = {0}, now = 1, released = 0;
    rng_init(&rng, 4);
    freelist_init(&list);
    freelist_extend(&list, PAGES);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        uint64_t page = 2 + rng_below(&rng, PAGES - 2),
                 count = 1 + rng_below(&rng, rng_chance(&rng, 1, 10) ? 90 : 4);
        uint64_t first, expected;
        switch (rng_below(&rng, 4)) {
        case 0:
            if (!lowest_run(pages, count, &expected)) {
                assert_false(freelist_allocate(&list, count, &first));
                break;
            }
            assert_true(freelist_allocate(&list, count, &first));
            assert_int_equal(first, expected);
            memset(pages + first, USED, count);
            break;
        case 1:
        case 2: {
            bool used = page + count <= PAGES;
            for (uint64_t j = page; used && j < page + count; j++) used = pages[j] == USED;
            assert_int_equal(freelist_give_up(&list, page, count), used);
            for (uint64_t j = page; used && j < page + count; j++) {
                pages[j] = PENDING;
                txid[j] = now;
            }
            break;
        }
        default:
            if (rng_chance(&rng, 1, 4)) { /* rolled back */
                freelist_forget(&list);
                for (uint64_t j = 2; j < PAGES; j++)
                    if (pages[j] == PENDING && txid[j] == now) pages[j] = USED;
                break;
            }
            freelist_commit(&list, now++);
            if (rng_chance(&rng, 1, 2)) break;
            released += rng_below(&rng, now - released);
            freelist_release(&list, released);
            for (uint64_t j = 2; j < PAGES; j++)
                if (pages[j] == PENDING && txid[j] <= released) pages[j] = FREE;
        }
        for (uint64_t j = 2; i % 64 == 0 && j < PAGES; j++) {
            assert_int_equal(freelist_is_free(&list, j), pages[j] == FREE);
            assert_int_equal(freelist_is_pending(&list, j), pages[j] == PENDING);
        }
    }
    freelist_deinit(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_run_that_is_long_enough_is_taken),
        cmocka_unit_test(a_page_cannot_be_given_up_twice),
        cmocka_unit_test(random_use_agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests_name("bolt_freelist", tests, NULL, NULL);
}
