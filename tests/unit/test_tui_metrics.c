/* What the dashboard reads from a metrics page, and what it makes of two of them. */
#include "base/rng.h"
#include "tui/metrics_text.h"
#include "tui/scrape.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void samples_are_read_with_labels_and_without(void **state)
{
    (void)state;
    struct bytes text = BYTES_LITERAL("# HELP a b\n"
                                      "plain 3\n"
                                      "\n"
                                      "one{x=\"1\"} 2.5e3\r\n"
                                      "two{ x=\"a\\\"}b\" , y=\"\", } +Inf 1700000000\n"
                                      "last NaN");
    struct metrics_line line;
    assert_true(metrics_text_next(&text, &line));
    assert_memory_equal(line.name.data, "plain", 5);
    assert_true(line.value == 3 && line.label_count == 0);
    assert_true(metrics_text_next(&text, &line));
    assert_true(line.value == 2500);
    assert_true(bytes_equal(metrics_label(&line, "x"), BYTES_LITERAL("1")));
    assert_true(metrics_text_next(&text, &line));
    assert_true(isinf(line.value));
    assert_true(bytes_equal(metrics_label(&line, "x"), BYTES_LITERAL("a\\\"}b")));
    assert_int_equal(metrics_label(&line, "y").size, 0);
    assert_int_equal(metrics_label(&line, "z").size, 0);
    assert_true(metrics_text_next(&text, &line));
    assert_true(isnan(line.value));
    assert_false(metrics_text_next(&text, &line));
}

static void malformed_lines_are_skipped(void **state)
{
    (void)state;
    struct bytes text = BYTES_LITERAL("nothing\n{x=\"1\"} 1\nopen{x=\"1 1\nopen{x=\"1\" 1\nno{x} 1\n"
                                      "text value\ntoo 1e\n\xff\xfe 1\ngood 7\n");
    struct metrics_line line;
    assert_true(metrics_text_next(&text, &line));
    assert_memory_equal(line.name.data, "good", 4);
    assert_false(metrics_text_next(&text, &line));
}

static void any_bytes_are_survived(void **state)
{
    (void)state;
    static const char alphabet[] = "ab_{}=\",\\ \n\r\t0123.eE+-\xff";
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        size_t size = (size_t)rng_below(&rng, 80);
        uint8_t *text = malloc(size + 1); /* its own block: reading behind it is seen */
        for (size_t i = 0; i < size; i++) text[i] = (uint8_t)alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        struct bytes rest = bytes_of(text, size);
        struct metrics_line line;
        size_t lines = 0;
        while (metrics_text_next(&rest, &line)) lines++;
        assert_true(lines <= size);
        struct scrape scrape;
        scrape_read(&scrape, bytes_of(text, size), 1);
        free(text);
    }
}

static void a_page_becomes_numbers(void **state)
{
    (void)state;
    struct bytes page =
        BYTES_LITERAL("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service="
                      "\"etcdserverpb.KV\"} 10\n"
                      "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Put\"} 2\n"
                      "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Range\"} 5\n"
                      "etcd_server_quota_backend_bytes 2.147483648e+09\n"
                      "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 4\n"
                      "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 9\n"
                      "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 10\n"
                      "etcd_disk_wal_fsync_duration_seconds_sum 1\n");
    struct scrape scrape;
    scrape_read(&scrape, page, 42);
    assert_true(scrape.at == 42);
    assert_true(scrape.puts == 12); /* whatever they ended with */
    assert_true(scrape.ranges == 5);
    assert_true(isnan(scrape.txns)); /* not there: not known, which is not zero */
    assert_true(scrape.rpc_failures == 2);
    assert_true(scrape.quota == 2147483648.0);
    assert_int_equal(scrape.fsync.size, 3);
    assert_true(scrape.fsync.counts[1] == 9);
    assert_int_equal(scrape.commit.size, 0);
}

static void rates_know_counter_resets(void **state)
{
    (void)state;
    assert_true(scrape_rate(100, 150, INT64_C(500000000)) == 100);
    assert_true(scrape_rate(100, 30, INT64_C(1000000000)) == 30); /* it began again at zero */
    assert_true(isnan(scrape_rate(NAN, 30, INT64_C(1000000000))));
    assert_true(isnan(scrape_rate(1, 30, 0)));
}

static struct histogram histogram_of(double a, double b, double c, double infinite)
{
    struct histogram histogram = {.size = 0};
    histogram_add(&histogram, INFINITY, infinite); /* in any order */
    histogram_add(&histogram, 0.002, b);
    histogram_add(&histogram, 0.001, a);
    histogram_add(&histogram, 0.004, c);
    return histogram;
}

static void quantiles_are_of_what_came_between(void **state)
{
    (void)state;
    struct histogram before = histogram_of(1000, 1000, 1000, 1000),
                     now = histogram_of(1000, 1100, 1100, 1100);
    /* All hundred lie between 1 and 2 ms. */
    assert_true(fabs(histogram_quantile(&before, &now, 0.99) - 0.00199) < 1e-9);
    assert_true(fabs(histogram_quantile(&before, &now, 0.5) - 0.0015) < 1e-9);
    assert_true(histogram_observed(&before, &now) == 100);
    assert_true(isnan(histogram_quantile(&now, &now, 0.99)));
    /* Above the last bound nothing more is known than that. */
    struct histogram slow = histogram_of(1000, 1000, 1000, 1100);
    assert_true(histogram_quantile(&before, &slow, 0.99) == 0.004);
}

static void quantiles_know_counter_resets(void **state)
{
    (void)state;
    struct histogram before = histogram_of(1000, 1000, 1000, 1000), now = histogram_of(10, 10, 10, 10);
    assert_true(histogram_observed(&before, &now) == 10);
    assert_true(fabs(histogram_quantile(&before, &now, 0.5) - 0.0005) < 1e-9);
    struct histogram empty = {.size = 0};
    assert_true(isnan(histogram_quantile(&before, &empty, 0.99)));
    assert_true(isnan(histogram_quantile(NULL, &empty, 0.99)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_read_with_labels_and_without),
        cmocka_unit_test(malformed_lines_are_skipped),
        cmocka_unit_test(any_bytes_are_survived),
        cmocka_unit_test(a_page_becomes_numbers),
        cmocka_unit_test(rates_know_counter_resets),
        cmocka_unit_test(quantiles_are_of_what_came_between),
        cmocka_unit_test(quantiles_know_counter_resets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
