/* The log, its unstable tail, and the memory storage. */
#include "raft_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct log_fixture {
    struct raft_memory_storage memory;
    struct raft_log log;
};

/* A log with `stable` terms in storage behind (index, term), and `unstable` ones after them. */
static void log_setup(struct log_fixture *f, uint64_t index, uint64_t term, struct number_list stable,
                      struct number_list unstable)
{
    raft_memory_storage_init(&f->memory);
    struct raft_snapshot snapshot = {.index = index, .term = term};
    assert_int_equal(raft_memory_storage_apply_snapshot(&f->memory, &snapshot), RAFT_OK);
    struct raft_entries entries = make_entries(index, stable);
    raft_memory_storage_append(&f->memory, entries.items, entries.count);
    raft_entries_deinit(&entries);
    raft_log_init(&f->log, &f->memory.storage, RAFT_NO_LIMIT, &log_discard);
    entries = make_entries(index + stable.count, unstable);
    raft_log_append(&f->log, entries.items, entries.count);
    raft_entries_deinit(&entries);
}

static void log_teardown(struct log_fixture *f)
{
    raft_log_deinit(&f->log);
    raft_memory_storage_deinit(&f->memory);
}

static const struct number_list nothing = {NULL, 0};

static enum raft_append_result maybe_append(struct log_fixture *f, uint64_t index, uint64_t term,
                                            struct number_list terms, uint64_t commit, uint64_t *last_new)
{
    struct raft_entries entries = make_entries(index, terms);
    enum raft_append_result result =
        raft_log_maybe_append(&f->log, index, term, entries.items, entries.count, commit, last_new);
    raft_entries_deinit(&entries);
    return result;
}

static void entries_that_all_match_never_truncate_the_log(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1, 1, 2, 2), nothing);
    uint64_t last_new = 0;
    assert_int_equal(maybe_append(&f, 1, 1, NUMBERS(1), 4, &last_new), RAFT_APPEND_OK);
    assert_int_equal(last_new, 2);
    assert_int_equal(raft_log_last_index(&f.log), 4);
    assert_int_equal(f.log.committed,
                     2); /* not the leader's 4: what lies behind 2 is not confirmed by this message */
    log_teardown(&f);
}

static void conflicting_entries_replace_the_tail(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1, 1, 1), nothing);
    uint64_t last_new = 0;
    assert_int_equal(maybe_append(&f, 1, 1, NUMBERS(2, 2, 2), 0, &last_new), RAFT_APPEND_OK);
    assert_int_equal(last_new, 4);
    assert_int_equal(f.log.unstable.offset, 2); /* the next write truncates the storage */
    assert_int_equal(raft_log_term_or_zero(&f.log, 2), 2);
    assert_int_equal(maybe_append(&f, 3, 1, NUMBERS(2), 0, &last_new), RAFT_APPEND_MISMATCH);
    assert_int_equal(maybe_append(&f, 9, 2, NUMBERS(2), 0, &last_new), RAFT_APPEND_MISMATCH);
    log_teardown(&f);
}

static void entries_that_contradict_committed_ones_are_refused(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1, 1, 1), nothing);
    raft_log_commit_to(&f.log, 2);
    uint64_t last_new = 0;
    assert_int_equal(maybe_append(&f, 1, 1, NUMBERS(2), 2, &last_new), RAFT_APPEND_CONFLICT);
    assert_int_equal(raft_log_last_index(&f.log), 3);
    log_teardown(&f);
}

static void a_hint_is_the_last_entry_whose_term_is_not_higher(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 4, 2, NUMBERS(2, 3, 5, 5), nothing); /* indexes 5 to 8 */
    uint64_t term = 99;
    assert_int_equal(raft_log_find_conflict_by_term(&f.log, 8, 4, &term), 6);
    assert_int_equal(term, 3);
    assert_int_equal(raft_log_find_conflict_by_term(&f.log, 8, 5, &term), 8);
    assert_int_equal(raft_log_find_conflict_by_term(&f.log, 6, 2, &term), 5);
    /* Below the compaction point nothing is known: stop there, without a term. */
    assert_int_equal(raft_log_find_conflict_by_term(&f.log, 8, 1, &term), 3);
    assert_int_equal(term, 0);
    assert_int_equal(raft_log_find_conflict_by_term(&f.log, 100, 9, &term), 100);
    assert_int_equal(term, 0);
    log_teardown(&f);
}

static void the_term_before_the_first_entry_stays_known(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 100, 7, NUMBERS(7), NUMBERS(8));
    uint64_t term;
    assert_int_equal(raft_log_term(&f.log, 100, &term), RAFT_OK);
    assert_int_equal(term, 7);
    assert_int_equal(raft_log_term(&f.log, 99, &term), RAFT_COMPACTED);
    assert_int_equal(raft_log_term(&f.log, 102, &term), RAFT_OK);
    assert_int_equal(term, 8);
    assert_int_equal(raft_log_term(&f.log, 103, &term), RAFT_UNAVAILABLE);
    log_teardown(&f);
}

static void up_to_date_compares_the_last_term_before_the_length(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1, 2, 3), nothing);
    assert_true(raft_log_is_up_to_date(&f.log, 4, 1));
    assert_true(raft_log_is_up_to_date(&f.log, 3, 3));
    assert_false(raft_log_is_up_to_date(&f.log, 3, 2));
    assert_false(raft_log_is_up_to_date(&f.log, 2, 9));
    log_teardown(&f);
}

static void a_slice_spans_storage_and_unstable_within_its_limit(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1, 1), NUMBERS(1, 1)); /* four bytes each */
    struct raft_entries entries = {0};
    static const struct {
        uint64_t max;
        size_t count;
    } cases[] = {{RAFT_NO_LIMIT, 4}, {16, 4}, {15, 3}, {12, 3}, {11, 2}, {8, 2}, {7, 1}, {0, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(raft_log_slice(&f.log, 1, 5, cases[i].max, &entries), RAFT_OK);
        assert_int_equal(entries.count, cases[i].count);
        raft_entries_deinit(&entries);
    }
    log_teardown(&f);
}

static void a_size_limit_always_grants_one_entry(void **state)
{
    (void)state;
    struct raft_entries entries = make_entries(0, NUMBERS(1, 1, 1));
    assert_int_equal(raft_entries_limit(entries.items, 3, 0), 1);
    assert_int_equal(raft_entries_limit(entries.items, 3, 7), 1);
    assert_int_equal(raft_entries_limit(entries.items, 3, 8), 2);
    assert_int_equal(raft_entries_limit(entries.items, 3, RAFT_NO_LIMIT), 3);
    assert_int_equal(raft_entries_limit(entries.items, 0, 8), 0);
    raft_entries_deinit(&entries);
}

/* ---- Unstable ---- */

static void a_write_is_acknowledged_only_with_the_entrys_present_term(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1), NUMBERS(1, 1));
    struct raft_unstable *unstable = &f.log.unstable;
    raft_unstable_accept(unstable);
    raft_unstable_stable_to(unstable, 9, 1); /* not there */
    raft_unstable_stable_to(unstable, 3, 2); /* replaced meanwhile */
    assert_int_equal(unstable->offset, 2);
    raft_unstable_stable_to(unstable, 2, 1);
    assert_int_equal(unstable->offset, 3);
    assert_int_equal(unstable->entries.count, 1);
    assert_int_equal(unstable->offset_in_progress, 4);
    log_teardown(&f);
}

static void replaced_entries_are_handed_out_again(void **state)
{
    (void)state;
    struct log_fixture f;
    size_t count = 0;
    log_setup(&f, 0, 0, NUMBERS(1), NUMBERS(1, 1, 1)); /* unstable: 2, 3, 4 */
    struct raft_unstable *unstable = &f.log.unstable;
    raft_unstable_accept(unstable);
    assert_null(raft_unstable_next(unstable, &count));

    struct raft_entries entries = make_entries(2, NUMBERS(2)); /* truncates in the middle */
    raft_log_append(&f.log, entries.items, entries.count);
    raft_entries_deinit(&entries);
    assert_int_equal(unstable->offset_in_progress, 3);
    assert_int_equal(raft_unstable_next(unstable, &count)->index, 3);
    assert_int_equal(count, 1);

    raft_unstable_accept(unstable);
    entries = make_entries(0, NUMBERS(3, 3)); /* replaces everything, below the offset */
    raft_log_append(&f.log, entries.items, entries.count);
    raft_entries_deinit(&entries);
    assert_int_equal(unstable->offset, 1);
    assert_int_equal(raft_unstable_next(unstable, &count)->index, 1);
    assert_int_equal(count, 2);
    log_teardown(&f);
}

static void an_acknowledged_snapshot_index_is_not_an_entry(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1), nothing);
    struct raft_snapshot snapshot = {.index = 5, .term = 2};
    raft_log_restore(&f.log, &snapshot);
    raft_unstable_stable_to(&f.log.unstable, 5, 2);
    assert_true(f.log.unstable.has_snapshot);
    assert_int_equal(f.log.unstable.offset, 6);
    assert_int_equal(raft_log_first_index(&f.log), 6);
    assert_int_equal(raft_log_last_index(&f.log), 5);
    raft_unstable_stable_snapshot_to(&f.log.unstable, 4);
    assert_true(f.log.unstable.has_snapshot);
    raft_unstable_stable_snapshot_to(&f.log.unstable, 5);
    assert_false(f.log.unstable.has_snapshot);
    log_teardown(&f);
}

/* ---- Applying ---- */

static void unstable_entries_are_applied_only_where_allowed(void **state)
{
    (void)state;
    struct log_fixture f;
    struct raft_entries entries = {0};
    log_setup(&f, 0, 0, NUMBERS(1, 1), NUMBERS(1));
    raft_log_commit_to(&f.log, 3);
    raft_log_next_committed(&f.log, false, &entries);
    assert_int_equal(entries.count, 2);
    raft_entries_deinit(&entries);
    raft_log_next_committed(&f.log, true, &entries);
    assert_int_equal(entries.count, 3);
    raft_entries_deinit(&entries);
    log_teardown(&f);
}

static void nothing_is_applied_while_a_snapshot_is_unstable(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 0, 0, NUMBERS(1, 1), nothing);
    struct raft_snapshot snapshot = {.index = 5, .term = 1};
    raft_log_restore(&f.log, &snapshot);
    assert_false(raft_log_has_next_committed(&f.log, true));
    raft_unstable_accept(&f.log.unstable); /* also while it is being written */
    assert_false(raft_log_has_next_committed(&f.log, true));
    log_teardown(&f);
}

static void handing_out_pauses_when_the_list_was_cut(void **state)
{
    (void)state;
    struct log_fixture f;
    struct raft_entries entries = {0};
    log_setup(&f, 0, 0, NUMBERS(1, 1, 1), nothing); /* four bytes each */
    f.log.max_applying_size = 10;
    raft_log_commit_to(&f.log, 3);
    raft_log_next_committed(&f.log, true, &entries);
    assert_int_equal(entries.count, 2);
    raft_log_accept_applying(&f.log, 2, 8, true);
    assert_true(f.log.applying_paused); /* 8 < 10, but the third did not fit */
    assert_false(raft_log_has_next_committed(&f.log, true));
    raft_log_applied_to(&f.log, 1, 4);
    assert_true(raft_log_has_next_committed(&f.log, true));
    raft_log_applied_to(&f.log, 2, 100); /* never below nothing */
    assert_int_equal(f.log.applying_size, 0);
    raft_entries_deinit(&entries);
    log_teardown(&f);
}

/* ---- Memory storage ---- */

static void storing_an_entry_discards_those_behind_it(void **state)
{
    (void)state;
    struct log_fixture f;
    log_setup(&f, 3, 3, NUMBERS(4, 5), nothing);
    struct raft_entries entries = make_entries(1, NUMBERS(3, 3, 5)); /* 2 to 4; 2 and 3 are compacted */
    raft_memory_storage_append(&f.memory, entries.items, entries.count);
    assert_int_equal(raft_memory_storage_last_index(&f.memory), 4);
    assert_int_equal(f.memory.entries.items[0].term, 5);
    raft_entries_deinit(&entries);
    log_teardown(&f);
}

static void compaction_keeps_the_term_of_its_index(void **state)
{
    (void)state;
    struct log_fixture f;
    uint64_t term;
    log_setup(&f, 3, 3, NUMBERS(4, 5), nothing);
    assert_int_equal(raft_memory_storage_compact(&f.memory, 3), RAFT_COMPACTED);
    assert_int_equal(raft_memory_storage_compact(&f.memory, 4), RAFT_OK);
    assert_int_equal(raft_memory_storage_first_index(&f.memory), 5);
    assert_int_equal(f.memory.storage.vtable->term(&f.memory.storage, 4, &term), RAFT_OK);
    assert_int_equal(term, 4);
    assert_int_equal(f.memory.storage.vtable->term(&f.memory.storage, 3, &term), RAFT_COMPACTED);
    struct raft_entries entries = {0};
    assert_int_equal(f.memory.storage.vtable->entries(&f.memory.storage, 4, 6, 100, &entries),
                     RAFT_COMPACTED);
    assert_int_equal(f.memory.storage.vtable->entries(&f.memory.storage, 5, 7, 100, &entries),
                     RAFT_UNAVAILABLE);
    log_teardown(&f);
}

static void only_newer_snapshots_replace_the_storage(void **state)
{
    (void)state;
    struct raft_memory_storage memory;
    raft_memory_storage_init(&memory);
    struct raft_snapshot snapshot = {.index = 4, .term = 4};
    assert_int_equal(raft_memory_storage_apply_snapshot(&memory, &snapshot), RAFT_OK);
    snapshot.index = 3;
    assert_int_equal(raft_memory_storage_apply_snapshot(&memory, &snapshot), RAFT_SNAPSHOT_OUT_OF_DATE);
    assert_int_equal(raft_memory_storage_create_snapshot(&memory, 4, NULL, NULL), RAFT_SNAPSHOT_OUT_OF_DATE);
    raft_memory_storage_deinit(&memory);
}

/* Entries of `size` bytes each, from `index` on. */
static void store(struct raft_memory_storage *memory, uint64_t index, size_t count, size_t size)
{
    struct raft_entries entries = {0};
    for (size_t i = 0; i < count; i++)
        raft_entries_append_owned(&entries, (struct raft_entry){.index = index + i, .data = blob_new(size)});
    raft_memory_storage_append(memory, entries.items, entries.count);
    raft_entries_deinit(&entries);
}

/* Those that were replaced do not count, or the log would be taken for ever larger than it is, and cut. */
static void the_payload_is_that_of_the_entries_that_are_there(void **state)
{
    (void)state;
    struct raft_memory_storage memory;
    raft_memory_storage_init(&memory);
    store(&memory, 1, 4, 100);
    assert_int_equal(memory.payload, 400);
    store(&memory, 3, 1, 7);
    assert_int_equal(memory.payload, 207);
    assert_int_equal(raft_memory_storage_compact(&memory, 2), RAFT_OK);
    assert_int_equal(memory.payload, 7);
    store(&memory, 1, 3, 10); /* 1 and 2 are compacted */
    assert_int_equal(memory.payload, 10);
    struct raft_snapshot snapshot = {.index = 9, .term = 1};
    assert_int_equal(raft_memory_storage_apply_snapshot(&memory, &snapshot), RAFT_OK);
    assert_int_equal(memory.payload, 0);
    raft_memory_storage_deinit(&memory);
}

static void entries_survive_any_mix_of_appending_and_dropping(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    struct raft_entries entries = {0};
    uint64_t first = 1, next = 1;
    for (int i = 0; i < 20000; i++) {
        if (rng_chance(&rng, 1, 2)) {
            struct raft_entry added[3];
            size_t count = rng_below(&rng, 4);
            for (size_t j = 0; j < count; j++) {
                added[j] = (struct raft_entry){.index = next++, .data = blob_new(1)};
            }
            raft_entries_append(&entries, added, count);
            for (size_t j = 0; j < count; j++) blob_unref(added[j].data);
        } else {
            size_t dropped = rng_below(&rng, entries.count < 4 ? entries.count + 1 : 4);
            raft_entries_drop_front(&entries, dropped);
            first += dropped;
        }
        assert_int_equal(entries.count, next - first);
        if (entries.count > 0) {
            assert_int_equal(entries.items[0].index, first);
            assert_int_equal(entries.items[entries.count - 1].index, next - 1);
        }
    }
    raft_entries_deinit(&entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_that_all_match_never_truncate_the_log),
        cmocka_unit_test(conflicting_entries_replace_the_tail),
        cmocka_unit_test(entries_that_contradict_committed_ones_are_refused),
        cmocka_unit_test(a_hint_is_the_last_entry_whose_term_is_not_higher),
        cmocka_unit_test(the_term_before_the_first_entry_stays_known),
        cmocka_unit_test(up_to_date_compares_the_last_term_before_the_length),
        cmocka_unit_test(a_slice_spans_storage_and_unstable_within_its_limit),
        cmocka_unit_test(a_size_limit_always_grants_one_entry),
        cmocka_unit_test(a_write_is_acknowledged_only_with_the_entrys_present_term),
        cmocka_unit_test(replaced_entries_are_handed_out_again),
        cmocka_unit_test(an_acknowledged_snapshot_index_is_not_an_entry),
        cmocka_unit_test(unstable_entries_are_applied_only_where_allowed),
        cmocka_unit_test(nothing_is_applied_while_a_snapshot_is_unstable),
        cmocka_unit_test(handing_out_pauses_when_the_list_was_cut),
        cmocka_unit_test(storing_an_entry_discards_those_behind_it),
        cmocka_unit_test(compaction_keeps_the_term_of_its_index),
        cmocka_unit_test(only_newer_snapshots_replace_the_storage),
        cmocka_unit_test(the_payload_is_that_of_the_entries_that_are_there),
        cmocka_unit_test(entries_survive_any_mix_of_appending_and_dropping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
