/* Prometheus' text format, requests as text, and the schedule of the compactor. */
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

/* ---- the compactor's schedule ---- */

/* At second t the revision is 100 + t. */
static int64_t look_at(struct compactor_schedule *schedule, int64_t second, bool paused)
{
    return compactor_schedule_look(schedule, second * LOOP_SECOND, 100 + second, paused);
}

static void periodic_compaction_keeps_the_retention(void **state)
{
    (void)state;
    struct compactor_schedule schedule;
    compactor_schedule_init(&schedule, 10 * LOOP_SECOND, 0, 0, 100);
    assert_int_equal(schedule.step, LOOP_SECOND);
    int64_t compacted[61] = {0};
    for (int64_t t = 1; t <= 60; t++) {
        bool paused = t > 30 && t < 45;
        compacted[t] = look_at(&schedule, t, paused);
        if (compacted[t] != 0) compactor_schedule_done(&schedule, t * LOOP_SECOND, compacted[t]);
        /* First after the retention, then after each interval; not while somebody else leads, but at once
         * when this member does again. */
        assert_int_equal(compacted[t] != 0, t == 10 || t == 20 || t == 30 || t == 45 || t == 55);
    }
    assert_int_equal(compacted[10], 100);
    assert_int_equal(compacted[20], 109);
    assert_int_equal(compacted[30], 119);
    assert_int_equal(compacted[45], 134);
}

static void a_failed_compaction_is_tried_again(void **state)
{
    (void)state;
    struct compactor_schedule schedule;
    compactor_schedule_init(&schedule, 10 * LOOP_SECOND, 0, 0, 100);
    for (int64_t t = 1; t < 10; t++) assert_int_equal(look_at(&schedule, t, false), 0);
    assert_int_equal(look_at(&schedule, 10, false), 100);
    assert_int_equal(look_at(&schedule, 11, false),
                     100); /* the window is not full before the eleventh note */
    assert_int_equal(look_at(&schedule, 12, false), 101);
    compactor_schedule_done(&schedule, 12 * LOOP_SECOND, 101);
    for (int64_t t = 13; t < 22; t++) assert_int_equal(look_at(&schedule, t, false), 0);
    assert_int_equal(look_at(&schedule, 22, false), 111);
}

static void long_retentions_have_a_bounded_window(void **state)
{
    (void)state;
    const int64_t minute = 60 * LOOP_SECOND, hour = 60 * minute;
    struct compactor_schedule schedule;
    compactor_schedule_init(&schedule, 5 * hour, 0, 0, 1);
    assert_int_equal(schedule.step, 6 * minute);
    assert_int_equal(schedule.need, 51);
    compactor_schedule_init(&schedule, 8760 * hour, 0, 0, 1);
    assert_in_range(schedule.need, 1000, COMPACTOR_NOTES);
    assert_true(schedule.interval == hour);
    assert_true(schedule.step * (int64_t)schedule.need >= 8760 * hour);
}

static void revisions_are_counted_every_five_minutes(void **state)
{
    (void)state;
    struct compactor_schedule schedule;
    compactor_schedule_init(&schedule, 0, 1000, 0, 1);
    assert_int_equal(schedule.step, 300 * LOOP_SECOND);
    assert_int_equal(compactor_schedule_look(&schedule, schedule.step, 1000, false), 0);
    assert_int_equal(compactor_schedule_look(&schedule, 2 * schedule.step, 1500, true), 0);
    assert_int_equal(compactor_schedule_look(&schedule, 3 * schedule.step, 1500, false), 500);
    compactor_schedule_done(&schedule, 3 * schedule.step, 500);
    assert_int_equal(compactor_schedule_look(&schedule, 4 * schedule.step, 1500, false), 0);
    assert_int_equal(compactor_schedule_look(&schedule, 5 * schedule.step, 1600, false), 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_go_does),
        cmocka_unit_test(families_come_out_sorted_and_empty_ones_not),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(values_are_not_told),
        cmocka_unit_test(long_requests_are_cut),
        cmocka_unit_test(periodic_compaction_keeps_the_retention),
        cmocka_unit_test(a_failed_compaction_is_tried_again),
        cmocka_unit_test(long_retentions_have_a_bounded_window),
        cmocka_unit_test(revisions_are_counted_every_five_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
