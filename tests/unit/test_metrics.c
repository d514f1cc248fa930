/* Prometheus' text format, requests as text, and the windows of the compactor. */
#include "server/metrics_text.h"

#include "api/describe.h"
#include "server/compactor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc.pb-c.h"

static void number_is(double value, const char *expected)
{
    struct buf text = {0};
    metrics_number(&text, value);
    assert_string_equal(buf_string(&text), expected);
    buf_deinit(&text);
}

static void numbers_are_written_as_go_does(void **state)
{
    (void)state;
    number_is(0, "0");
    number_is(1, "1");
    number_is(-1.5, "-1.5");
    number_is(0.1, "0.1");
    number_is(0.0001, "0.0001");
    number_is(0.00001, "1e-05");
    number_is(8.192, "8.192");
    number_is(999999, "999999");
    number_is(1000000, "1e+06");
    number_is(35639296, "3.5639296e+07");
    number_is(1.79536296074e9, "1.79536296074e+09");
    number_is((double)UINT64_MAX, "1.8446744073709552e+19");
    number_is((double)INFINITY, "+Inf");
    number_is(100000, "100000");
    number_is(0.0512, "0.0512");
}

static void families_come_out_sorted_and_empty_ones_not(void **state)
{
    (void)state;
    struct metrics_writer *writer = calloc(1, sizeof(*writer));
    struct buf out = {0};
    metrics_single(writer, "b_total", "counter", "Bs.", 2);
    metrics_begin(writer, "empty", "gauge", "Nothing.");
    metrics_begin(writer, "a", "gauge", "As.");
    metrics_sample(writer, "x=\"1\"", 1);
    metrics_sample(writer, "x=\"2\"", 0.5);
    metrics_begin(writer, "none", "gauge", "Nothing.");
    metrics_finish(writer, &out);
    assert_string_equal(buf_string(&out), "# HELP a As.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 0.5\n"
                                          "# HELP b_total Bs.\n# TYPE b_total counter\nb_total 2\n");
    buf_deinit(&out);
    free(writer);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    struct metrics_writer *writer = calloc(1, sizeof(*writer));
    struct metric_histogram histogram = METRIC_HISTOGRAM(1000000, 3);
    struct buf out = {0};
    metric_observe(&histogram, 1000000);
    metric_observe(&histogram, 3000000);
    metric_observe(&histogram, 96000000);
    metrics_begin(writer, "h", "histogram", "H.");
    metrics_histogram(writer, "op=\"Put\"", &histogram, 1e9);
    metrics_finish(writer, &out);
    assert_string_equal(
        buf_string(&out),
        "# HELP h H.\n# TYPE h histogram\nh_bucket{op=\"Put\",le=\"0.001\"} "
        "1\nh_bucket{op=\"Put\",le=\"0.002\"} "
        "1\nh_bucket{op=\"Put\",le=\"0.004\"} 2\nh_bucket{op=\"Put\",le=\"+Inf\"} 3\nh_sum{op=\"Put\"} 0.1\n"
        "h_count{op=\"Put\"} 3\n");
    buf_deinit(&out);
    free(writer);
}

/* ---- requests as text ---- */

static void text_is(const ProtobufCMessage *message, const char *expected)
{
    struct buf text = {0};
    message_describe(&text, message);
    assert_string_equal(buf_string(&text), expected);
    buf_deinit(&text);
}

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

static void values_are_not_told(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = data("foo\n");
    put.value = data("bar");
    put.lease = 7;
    text_is(&put.base, "key:\"foo\\n\" value_size:3 lease:7");
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT, *operations[] = {&operation};
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    operation.request_put = &put;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compare.key = data("k");
    compare.value = data("secret");
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.compare = compares;
    txn.n_compare = 1;
    txn.success = operations;
    txn.n_success = 1;
    text_is(&txn.base, "compare:<target:VALUE key:\"k\" value_size:6 > success:<request_put:<key:\"foo\\n\" "
                       "value_size:3 lease:7 > >");
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    text_is(&range.base, "");
    range.keys_only = 1;
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    text_is(&range.base, "sort_order:DESCEND keys_only:true");
}

static void long_requests_are_cut(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *key = malloc(SIZE);
    struct buf text = {0};
    assert_non_null(key);
    memset(key, 'k', SIZE);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){.len = SIZE, .data = (uint8_t *)key};
    put.lease = 1;
    message_describe(&text, &put.base);
    assert_in_range(text.size, DESCRIBE_LIMIT, DESCRIBE_LIMIT + 64);
    assert_string_equal(buf_string(&text) + text.size - 3, "...");
    buf_deinit(&text);
    free(key);
}

/* ---- the compactor's window ---- */

static void the_window_gives_the_revision_of_a_retention_ago(void **state)
{
    (void)state;
    const int64_t minute = 60 * LOOP_SECOND, hour = 60 * minute;
    struct compactor_window window;
    int64_t interval;
    compactor_window_init(&window, 10 * minute, &interval);
    assert_true(interval == minute);
    for (int64_t at = 1; at <= 10; at++) assert_int_equal(compactor_window_note(&window, at * 100), 0);
    /* Ten minutes after the first note. */
    assert_int_equal(compactor_window_note(&window, 1100), 100);
    assert_int_equal(compactor_window_note(&window, 1200), 200);
    compactor_window_init(&window, 5 * hour, &interval);
    assert_true(interval == 6 * minute);
    assert_int_equal(window.need, 51);
    /* A retention of a year still has a window with an end. */
    compactor_window_init(&window, 8760 * hour, &interval);
    assert_true(interval * (int64_t)(window.need - 1) <= 8760 * hour);
    assert_true(interval * (int64_t)(window.need + 1) > 8760 * hour);
    assert_true(window.need <= COMPACTOR_NOTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_go_does),
        cmocka_unit_test(families_come_out_sorted_and_empty_ones_not),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(values_are_not_told),
        cmocka_unit_test(long_requests_are_cut),
        cmocka_unit_test(the_window_gives_the_revision_of_a_retention_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
