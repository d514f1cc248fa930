/* The checks that a KV request must pass before it is proposed. */
#include "base/memory.h"
#include "base/rng.h"
#include "mvcc/kv_check.h"
#include "tests/unit/expect.h"
#include "tests/unit/txn_fixture.h"

#include <stdlib.h>

#define RANGE(...)  OP(RANGE, .request_range = &(Etcdserverpb__RangeRequest){__VA_ARGS__})
#define PUT(k, ...) OP(PUT, .request_put = &(Etcdserverpb__PutRequest){.key = B(k), __VA_ARGS__})
#define DELETE(k, ...)                                                                                       \
    OP(DELETE_RANGE, .request_delete_range = &(Etcdserverpb__DeleteRangeRequest){.key = B(k), __VA_ARGS__})
#define NESTED(...) OP(TXN, .request_txn = TXN(__VA_ARGS__))
#define COMPARE(k)  (&(Etcdserverpb__Compare){.key = B(k)})

static void assert_check(const Etcdserverpb__TxnRequest *txn, enum api_error expected)
{
    assert_string_equal(api_error_text(kv_check_txn(txn, KV_MAX_TXN_OPERATIONS_DEFAULT)),
                        api_error_text(expected));
}

static void single_operations_are_checked_for_shape(void **state)
{
    (void)state;
    Etcdserverpb__RangeRequest range = {0};
    assert_int_equal(kv_check_range(&range), API_ERROR_EMPTY_KEY);
    range.sort_order = 3;
    assert_int_equal(kv_check_range(&range), API_ERROR_EMPTY_KEY);
    range.key = B("a");
    assert_int_equal(kv_check_range(&range), API_ERROR_INVALID_SORT_OPTION);
    range.sort_order = 2;
    range.sort_target = 5;
    assert_int_equal(kv_check_range(&range), API_ERROR_INVALID_SORT_OPTION);
    range.sort_target = -1;
    assert_int_equal(kv_check_range(&range), API_ERROR_INVALID_SORT_OPTION);
    range.sort_target = 4;
    assert_int_equal(kv_check_range(&range), API_OK);

    Etcdserverpb__PutRequest put = {.ignore_value = true, .value = B("v"), .ignore_lease = true, .lease = 1};
    assert_int_equal(kv_check_put(&put), API_ERROR_EMPTY_KEY);
    put.key = B("a");
    assert_int_equal(kv_check_put(&put), API_ERROR_VALUE_PROVIDED);
    put.value = B("");
    assert_int_equal(kv_check_put(&put), API_ERROR_LEASE_PROVIDED);
    put.lease = 0;
    assert_int_equal(kv_check_put(&put), API_OK);

    Etcdserverpb__DeleteRangeRequest deletion = {.range_end = B("z")};
    assert_int_equal(kv_check_delete_range(&deletion), API_ERROR_EMPTY_KEY);
    deletion.key = B("a");
    assert_int_equal(kv_check_delete_range(&deletion), API_OK);
}

static void operations_of_a_transaction_are_checked_in_order(void **state)
{
    (void)state;
    Etcdserverpb__RequestOp empty = {.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET};
    assert_check(TXN(0), API_OK);
    assert_check(TXN(IF(COMPARE("")), THEN(PUT(""))), API_ERROR_EMPTY_KEY);
    assert_check(TXN(THEN(&empty)), API_ERROR_KEY_NOT_FOUND);
    assert_check(TXN(THEN(PUT("a", .ignore_value = true, .value = B("x"))), ELSE(PUT(""))),
                 API_ERROR_VALUE_PROVIDED);
    assert_check(TXN(ELSE(PUT("a", .ignore_lease = true, .lease = 2))), API_ERROR_LEASE_PROVIDED);
    assert_check(TXN(ELSE(RANGE(.key = B("a"), .sort_order = 9))), API_ERROR_INVALID_SORT_OPTION);
    assert_check(TXN(THEN(NESTED(ELSE(DELETE(""))))), API_ERROR_EMPTY_KEY);
    /* structure before duplicates, whichever branch */
    assert_check(TXN(THEN(PUT("a"), PUT("a")), ELSE(PUT(""))), API_ERROR_EMPTY_KEY);
}

static Etcdserverpb__RequestOp **ranges(size_t count)
{
    static Etcdserverpb__RangeRequest range;
    static Etcdserverpb__RequestOp op;
    range.key = B("a");
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op.request_range = &range;
    Etcdserverpb__RequestOp **list = mem_alloc(count * sizeof(op));
    for (size_t i = 0; i < count; i++) list[i] = &op;
    return list;
}

static void nested_transactions_share_the_budget_of_operations(void **state)
{
    (void)state;
    Etcdserverpb__RequestOp **many = ranges(200);
    Etcdserverpb__TxnRequest inner = {.success = many}, outer = {.success = many};
    Etcdserverpb__RequestOp nested = {.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN,
                                      .request_txn = &inner};
    outer.n_success = 128;
    assert_check(&outer, API_OK);
    outer.n_success = 129;
    assert_check(&outer, API_ERROR_TOO_MANY_OPS);
    assert_int_equal(kv_check_txn(&outer, 129), API_OK);
    Etcdserverpb__RequestOp *first = many[0];
    many[0] = &nested;
    /* Each list may use the whole budget, a nested one what the parent's longest list leaves. */
    inner.success = many + 1;
    outer.n_success = 100;
    inner.n_success = 28;
    assert_check(&outer, API_OK);
    inner.n_success = 29;
    assert_check(&outer, API_ERROR_TOO_MANY_OPS);
    outer.n_failure = 120;
    outer.failure = many + 1;
    inner.n_success = 9;
    assert_check(&outer, API_ERROR_TOO_MANY_OPS);
    inner.n_success = 8;
    assert_check(&outer, API_OK);
    /* A full parent may hold an empty one. */
    outer.n_success = 128;
    outer.n_failure = 0;
    inner.n_success = 0;
    assert_check(&outer, API_OK);
    many[0] = first;
    free(many);
}

static void duplicate_keys_are_found_as_etcd_finds_them(void **state)
{
    (void)state;
    assert_check(TXN(THEN(PUT("a"), PUT("b"))), API_OK);
    assert_check(TXN(THEN(PUT("a"), PUT("a"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(PUT("a")), ELSE(PUT("a"))), API_OK);
    assert_check(TXN(ELSE(PUT("a"), PUT("a"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(PUT("a"), DELETE("a"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(DELETE("a"), PUT("ab"))), API_OK);
    assert_check(TXN(THEN(DELETE("a", .range_end = B("c")), PUT("c"))), API_OK);
    assert_check(TXN(THEN(DELETE("a", .range_end = B("c")), PUT("bz"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(PUT("b"), DELETE("a", .range_end = B("c")))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(DELETE("a"), DELETE("a"), DELETE("\0", .range_end = B("z")))), API_OK);
    /* An open end is taken for an empty interval. */
    assert_check(TXN(THEN(DELETE("a", .range_end = B("\0")), PUT("b"))), API_OK);
    /* Nested: earlier siblings and this level's deletes count, this level's puts come last. */
    assert_check(TXN(THEN(NESTED(THEN(PUT("k"))), NESTED(THEN(DELETE("k"))))), API_OK);
    assert_check(TXN(THEN(NESTED(THEN(DELETE("k"))), NESTED(THEN(PUT("k"))))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(PUT("k"))), NESTED(THEN(PUT("k"))))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(PUT("k"))), DELETE("k"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(PUT("k"))), PUT("k"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(DELETE("k"))), PUT("k"))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(PUT("k")), ELSE(PUT("k"))))), API_OK);
    assert_check(TXN(THEN(NESTED(THEN(PUT("k")), ELSE(DELETE("k"))))), API_OK);
    assert_check(TXN(THEN(NESTED(ELSE(PUT("k"))), NESTED(ELSE(PUT("k"))))), API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(PUT("k")), ELSE(PUT("k"))), NESTED(THEN(PUT("j")), ELSE(PUT("k"))))),
                 API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(NESTED(THEN(NESTED(THEN(PUT("k"))))))), PUT("k"))),
                 API_ERROR_DUPLICATE_KEY);
    assert_check(TXN(THEN(NESTED(THEN(NESTED(THEN(NESTED(THEN(DELETE("a", .range_end = B("m")))))))),
                          PUT("k"))),
                 API_ERROR_DUPLICATE_KEY);
}

/* Lists of puts and deletes against the definition: a put is refused when it equals another or a delete
 * covers it. */
static void random_lists_agree_with_the_definition(void **state)
{
    (void)state;
    enum { OPERATIONS = 12 };
    struct rng rng;
    rng_init(&rng, 11);
    int refused = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t keys[OPERATIONS], ends[OPERATIONS];
        bool puts[OPERATIONS];
        Etcdserverpb__PutRequest put[OPERATIONS];
        Etcdserverpb__DeleteRangeRequest deletion[OPERATIONS];
        Etcdserverpb__RequestOp ops[OPERATIONS], *list[OPERATIONS];
        size_t count = 1 + rng_below(&rng, OPERATIONS);
        for (size_t i = 0; i < count; i++) {
            keys[i] = (uint8_t)(1 + rng_below(&rng, 60));
            ends[i] = (uint8_t)(keys[i] + rng_below(&rng, 6));
            puts[i] = rng_chance(&rng, 1, 3);
            put[i] = (Etcdserverpb__PutRequest){.key = {1, &keys[i]}};
            deletion[i] =
                (Etcdserverpb__DeleteRangeRequest){.key = {1, &keys[i]}, .range_end = {1, &ends[i]}};
            ops[i] = puts[i] ? *OP(PUT, .request_put = &put[i])
                             : *OP(DELETE_RANGE, .request_delete_range = &deletion[i]);
            list[i] = &ops[i];
        }
        bool duplicate = false;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; puts[i] && j < count; j++)
                duplicate |= puts[j] ? i != j && keys[i] == keys[j] : keys[j] <= keys[i] && keys[i] < ends[j];
        refused += duplicate ? 1 : 0;
        assert_check(&(Etcdserverpb__TxnRequest){.n_success = count, .success = list},
                     duplicate ? API_ERROR_DUPLICATE_KEY : API_OK);
    }
    assert_in_range(refused, 2000, 18000);
}

/* As many operations as fit a request, nested as wide as the budget allows, must not take long. */
static void a_hostile_request_is_checked_quickly(void **state)
{
    (void)state;
    enum { WIDE = 60000 };
    Etcdserverpb__RequestOp *ops = mem_zalloc(WIDE, sizeof(*ops)), **list = mem_zalloc(WIDE, sizeof(*list));
    Etcdserverpb__TxnRequest *txns = mem_zalloc(WIDE, sizeof(*txns));
    Etcdserverpb__RequestOp *inner = mem_zalloc(WIDE, sizeof(*inner)),
                            **inner_list = mem_zalloc(WIDE, sizeof(*inner_list));
    Etcdserverpb__DeleteRangeRequest *deletes = mem_zalloc(WIDE, sizeof(*deletes));
    uint8_t(*keys)[4] = mem_zalloc(WIDE, sizeof(*keys));
    for (size_t i = 0; i < WIDE; i++) {
        keys[i][0] = 1;
        keys[i][1] = (uint8_t)(i * 7919 >> 16);
        keys[i][2] = (uint8_t)(i * 7919 >> 8);
        keys[i][3] = (uint8_t)(i * 7919);
        deletes[i].key = (ProtobufCBinaryData){4, keys[i]};
        inner[i] = *OP(DELETE_RANGE, .request_delete_range = &deletes[i]);
        inner_list[i] = &inner[i];
        txns[i] = (Etcdserverpb__TxnRequest){.n_success = 1, .success = &inner_list[i]};
        ops[i] = *OP(TXN, .request_txn = &txns[i]);
        list[i] = &ops[i];
    }
    assert_int_equal(kv_check_txn(&(Etcdserverpb__TxnRequest){.n_success = WIDE, .success = list}, WIDE + 1),
                     API_OK);
    free(ops);
    free(list);
    free(txns);
    free(inner);
    free(inner_list);
    free(deletes);
    free(keys);
}

static void transactions_of_ranges_alone_are_read_only(void **state)
{
    (void)state;
    assert_true(kv_txn_is_read_only(TXN(0)));
    assert_true(kv_txn_is_serializable(TXN(0)));
    assert_false(kv_txn_is_serializable(TXN(IF(COMPARE("a")))));
    assert_true(kv_txn_is_read_only(TXN(THEN(RANGE(.key = B("a"))), ELSE(RANGE(.key = B("b"))))));
    assert_false(kv_txn_is_serializable(TXN(THEN(RANGE(.serializable = true)), ELSE(RANGE(.key = B("b"))))));
    assert_true(
        kv_txn_is_serializable(TXN(THEN(RANGE(.serializable = true)), ELSE(RANGE(.serializable = true)))));
    assert_false(kv_txn_is_read_only(TXN(ELSE(PUT("a")))));
    assert_false(kv_txn_is_read_only(TXN(THEN(NESTED(THEN(RANGE(.key = B("a"))))))));
}

static void the_cost_is_that_of_the_dearer_branch(void **state)
{
    (void)state;
    assert_int_equal(kv_cost_put(&(Etcdserverpb__PutRequest){.key = B("abc"), .value = B("de")}), 261);
    assert_int_equal(kv_cost_txn(TXN(THEN(DELETE("a"), RANGE(.key = B("a"))))), 0);
    assert_int_equal(kv_cost_txn(TXN(THEN(PUT("a")), ELSE(PUT("a"), PUT("bb")))), 257 + 258);
    assert_int_equal(kv_cost_txn(
                         TXN(THEN(PUT("a"), NESTED(THEN(PUT("b")), ELSE(PUT("ccc")))), ELSE(PUT("a")))),
                     257 + 259);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_operations_are_checked_for_shape),
        cmocka_unit_test(operations_of_a_transaction_are_checked_in_order),
        cmocka_unit_test(nested_transactions_share_the_budget_of_operations),
        cmocka_unit_test(duplicate_keys_are_found_as_etcd_finds_them),
        cmocka_unit_test(random_lists_agree_with_the_definition),
        cmocka_unit_test(a_hostile_request_is_checked_quickly),
        cmocka_unit_test(transactions_of_ranges_alone_are_read_only),
        cmocka_unit_test(the_cost_is_that_of_the_dearer_branch),
    };
    return cmocka_run_group_tests_name("kv_check", tests, NULL, NULL);
}
