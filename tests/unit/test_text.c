/* base/text.h. The expected texts of Go's formats were made with Go itself. */
#include "base/rng.h"
#include "base/text.h"
#include "tests/unit/buf_fixture.h"

/* --- UTF-8 --- */

static void text_decodes_only_valid_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
        uint32_t code_point;
    } cases[] = {
        {"A", 1, 'A'},
        {"\x7f", 1, 0x7f},
        {"\xc2\x80", 2, 0x80},
        {"\xdf\xbf", 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 0x800},
        {"\xed\x9f\xbf", 3, 0xd7ff},
        {"\xee\x80\x80", 3, 0xe000},
        {"\xef\xbf\xbd", 3, 0xfffd},
        {"\xf0\x90\x80\x80", 4, 0x10000},
        {"\xf4\x8f\xbf\xbfz", 4, 0x10ffff},
        {"", 0, 0},
        {"\x80", 0, 0}, /* continuation first */
        {"\xc3", 0, 0}, /* cut off */
        {"\xe2\x82", 0, 0},
        {"\xf0\x9f\x98", 0, 0},
        {"\xc3(", 0, 0},    /* no continuation */
        {"\xc0\x80", 0, 0}, /* overlong */
        {"\xc1\xbf", 0, 0},
        {"\xe0\x9f\xbf", 0, 0},
        {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\xed\xa0\x80", 0, 0}, /* surrogates */
        {"\xed\xbf\xbf", 0, 0},
        {"\xf4\x90\x80\x80", 0, 0}, /* beyond U+10FFFF */
        {"\xff", 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t code_point = 0;
        assert_int_equal(text_utf8_decode(bytes_from_string(cases[i].text), &code_point), cases[i].length);
        assert_int_equal(code_point, cases[i].code_point);
    }
    uint32_t zero = 1;
    assert_int_equal(text_utf8_decode(BYTES_LITERAL("\0"), &zero), 1);
    assert_int_equal(zero, 0);
    assert_true(text_is_utf8(BYTES_EMPTY));
    assert_true(text_is_utf8(BYTES_LITERAL("etcd \xc3\xa9 \xe6\x97\xa5\0\xf0\x9f\x98\x80")));
    assert_false(text_is_utf8(BYTES_LITERAL("etcd\xff")));
    assert_false(text_is_utf8(BYTES_LITERAL("\xe6\x97")));
}

/* --- quoting --- */

static void text_go_quote_is_percent_q(void **state)
{
    (void)state;
    static const struct {
        struct bytes text;
        const char *quoted;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {BYTES_LITERAL("foo bar"), "\"foo bar\""},
        {BYTES_LITERAL("\a\b\f\n\r\t\v\\\"'"), "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"'\""},
        {BYTES_LITERAL("\0\x01\x1f\x7f"), "\"\\x00\\x01\\x1f\\x7f\""},
        {BYTES_LITERAL("\xff\xc3"), "\"\\xff\\xc3\""},
        {BYTES_LITERAL("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\""},
        {BYTES_LITERAL("\u00e9\u65e5\U0001f600\ufffd"), "\"\u00e9\u65e5\U0001f600\ufffd\""},
        {BYTES_LITERAL("\xc2\x80\xc2\x9f"), "\"\\u0080\\u009f\""},
        {BYTES_LITERAL("\u00a0\u00ad\u2003\u3000"), "\"\\u00a0\\u00ad\\u2003\\u3000\""},
        {BYTES_LITERAL("\u200b\u202e\u2028\ufeff\ue000\uffff"),
         "\"\\u200b\\u202e\\u2028\\ufeff\\ue000\\uffff\""},
        {BYTES_LITERAL("\U000e0001\U0001fffe\U00100000\U0010ffff"),
         "\"\\U000e0001\\U0001fffe\\U00100000\\U0010ffff\""},
        {BYTES_LITERAL("e\u0301\U000e0100"), "\"e\u0301\U000e0100\""}, /* marks are printable */
    };
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_go_quote(&out, cases[i].text);
        expect_text(&out, cases[i].quoted);
    }
}

static void text_json_quote_is_encoding_json_or_zap(void **state)
{
    (void)state;
    static const struct {
        struct bytes text;
        const char *zap;
        const char *html;
    } cases[] = {
        {{NULL, 0}, "\"\"", "\"\""},
        {BYTES_LITERAL("a\"b\\c/"), "\"a\\\"b\\\\c/\"", "\"a\\\"b\\\\c/\""},
        {BYTES_LITERAL("\n\r\t"), "\"\\n\\r\\t\"", "\"\\n\\r\\t\""},
        {BYTES_LITERAL("\b\f"), "\"\\u0008\\u000c\"", "\"\\b\\f\""},
        {BYTES_LITERAL("\0\x1f\x7f"), "\"\\u0000\\u001f\x7f\"", "\"\\u0000\\u001f\x7f\""},
        {BYTES_LITERAL("<a&b>"), "\"<a&b>\"", "\"\\u003ca\\u0026b\\u003e\""},
        {BYTES_LITERAL("x\u2028\u2029y"), "\"x\u2028\u2029y\"", "\"x\\u2028\\u2029y\""},
        {BYTES_LITERAL("\u00e9\xff\xe6\x97z"), "\"\u00e9\\ufffd\\ufffd\\ufffdz\"",
         "\"\u00e9\\ufffd\\ufffd\\ufffdz\""},
        {BYTES_LITERAL("\ufffd"), "\"\ufffd\"", "\"\ufffd\""},
    };
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_json_quote(&out, cases[i].text, false);
        expect_text(&out, cases[i].zap);
        text_json_quote(&out, cases[i].text, true);
        expect_text(&out, cases[i].html);
    }
}

static void text_go_unquote_reads_both_kinds_of_literal(void **state)
{
    (void)state;
    static const struct {
        const char *literal;
        size_t length;
        struct bytes value;
    } cases[] = {
        {"\"\"", 2, {NULL, 0}},
        {"\"abc\" rest", 5, BYTES_LITERAL("abc")},
        {"\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"", 20, BYTES_LITERAL("\a\b\f\n\r\t\v\\\"")},
        {"\"\\x00\\xfF\\377\\101\"", 18, BYTES_LITERAL("\0\xff\xff\x41")},
        {"\"\\u00e9\\u65E5\\U0001f600\"", 24, BYTES_LITERAL("\u00e9\u65e5\U0001f600")},
        {"\"\u00e9'\"", 5, BYTES_LITERAL("\u00e9'")},
        {"\"\xff\"", 3, BYTES_LITERAL("\ufffd")},
        {"``", 2, {NULL, 0}},
        {"`a\\n\"\n\r\xff`z", 9, BYTES_LITERAL("a\\n\"\n\xff")},
    };
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(text_go_unquote(bytes_from_string(cases[i].literal), &out), cases[i].length);
        assert_buf(&out, cases[i].value);
        buf_clear(&out);
    }
}

static void text_go_unquote_rejects_malformed_literals(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "abc",
        " \"a\"",
        "'a'",
        "\"",
        "\"abc",
        "`abc",
        "\"a\nb\"",
        "\"a\\",
        "\"a\\\"",
        "\"\\'\"",
        "\"\\z\"",
        "\"\\x4\"",
        "\"\\x4",
        "\"\\xg0\"",
        "\"\\400\"",
        "\"\\18z\"",
        "\"\\1\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udfff\"",
        "\"\\U00110000\"",
        "\"\\U0000d800\"",
    };
    CLEANUP_BUF out = {0};
    buf_append_string(&out, "kept");
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        assert_int_equal(text_go_unquote(bytes_from_string(malformed[i]), &out), 0);
        assert_buf(&out, BYTES_LITERAL("kept"));
    }
}

static void text_go_unquote_undoes_text_go_quote(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    CLEANUP_BUF quoted = {0};
    CLEANUP_BUF value = {0};
    for (int round = 0; round < 2000; round++) {
        uint8_t raw[40];
        size_t size = rng_below(&rng, sizeof(raw) + 1);
        for (size_t i = 0; i < size; i++) raw[i] = (uint8_t)rng_next(&rng);
        buf_clear(&quoted);
        buf_clear(&value);
        text_go_quote(&quoted, bytes_of(raw, size));
        assert_true(text_is_utf8(buf_bytes(&quoted)));
        assert_int_equal(text_go_unquote(buf_bytes(&quoted), &value), quoted.size);
        assert_buf(&value, bytes_of(raw, size));
    }
}

/* --- durations --- */

static const struct {
    int64_t nanoseconds;
    const char *text;
} durations[] = {
    {0, "0s"},
    {1, "1ns"},
    {-1, "-1ns"},
    {999, "999ns"},
    {1000, "1\u00b5s"},
    {870222, "870.222\u00b5s"},
    {1100, "1.1\u00b5s"},
    {2718959, "2.718959ms"},
    {100000000, "100ms"},
    {999999999, "999.999999ms"},
    {1000000000, "1s"},
    {1000000001, "1.000000001s"},
    {59999999999, "59.999999999s"},
    {60000000000, "1m0s"},
    {62500000000, "1m2.5s"},
    {-62500000000, "-1m2.5s"},
    {3600000000000, "1h0m0s"},
    {5025678000000, "1h23m45.678s"},
    {INT64_MAX, "2562047h47m16.854775807s"},
    {INT64_MIN, "-2562047h47m16.854775808s"},
};

static void text_go_duration_is_duration_string_and_parses_back(void **state)
{
    (void)state;
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        text_go_duration(&out, durations[i].nanoseconds);
        int64_t parsed = 1;
        assert_true(text_parse_go_duration(buf_string(&out), &parsed, NULL));
        assert_true(parsed == durations[i].nanoseconds);
        expect_text(&out, durations[i].text);
    }
}

static void text_parse_go_duration_accepts_what_go_does(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t nanoseconds;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"+0", 0},
        {"5s", 5000000000},
        {"+5s", 5000000000},
        {"-1.5h", -5400000000000},
        {"5.s", 5000000000},
        {".5s", 500000000},
        {"10us", 10000},
        {"10\u00b5s", 10000},
        {"10\u03bcs", 10000},
        {"1h15m30.918s", 4530918000000},
        {"1s1s1ms", 2001000000}, /* units may repeat */
        {"0.3333333333333333333h", 1200000000000},
        {"0.100000000000000000000h", 360000000000}, /* more digits than an int64 holds */
        {"0.9223372036854775807s", 922337203},
        {"0.9223372036854775809s", 922337203},
        {"0.9223372036854775810s", 922337203},
        {"9223372036854775807ns", INT64_MAX},
        {"9223372036854775.807us", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
        {"-9223372036s854ms775us808ns", INT64_MIN},
    };
    CLEANUP_BUF reason = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t nanoseconds = 1;
        assert_true(text_parse_go_duration(cases[i].text, &nanoseconds, &reason));
        assert_true(nanoseconds == cases[i].nanoseconds);
        assert_int_equal(reason.size, 0);
    }
}

static void text_parse_go_duration_fails_with_gos_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "time: invalid duration \"\""},
        {"abc", "time: invalid duration \"abc\""},
        {"5", "time: missing unit in duration \"5\""},
        {"1h5", "time: missing unit in duration \"1h5\""},
        {"1.2.3s", "time: missing unit in duration \"1.2.3s\""},
        {"5x", "time: unknown unit \"x\" in duration \"5x\""},
        {"5 s", "time: unknown unit \" s\" in duration \"5 s\""},
        {"5d", "time: unknown unit \"d\" in duration \"5d\""},
        {"-", "time: invalid duration \"-\""},
        {"--5s", "time: invalid duration \"--5s\""},
        {".s", "time: invalid duration \".s\""},
        {"+.s", "time: invalid duration \"+.s\""},
        {"s", "time: invalid duration \"s\""},
        {"9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""},
        {"9223372036854775809ns", "time: invalid duration \"9223372036854775809ns\""},
        {"-9223372036854775809ns", "time: invalid duration \"-9223372036854775809ns\""},
        {"99999999999999999999ns", "time: invalid duration \"99999999999999999999ns\""},
        {"2562048h", "time: invalid duration \"2562048h\""},
        {"2562047h47m16.854775808s", "time: invalid duration \"2562047h47m16.854775808s\""},
        {"9223372036.9s", "time: invalid duration \"9223372036.9s\""},
        /* Go's sum wraps round to 0 here; ours does not. */
        {"-9223372036854775808ns9223372036854775808ns",
         "time: invalid duration \"-9223372036854775808ns9223372036854775808ns\""},
        /* the simple quoting of package time */
        {"5\"\\", "time: unknown unit \"\\\"\\\\\" in duration \"5\\\"\\\\\""},
        {"\n\u00e9\x7f", "time: invalid duration \"\\x0a\\xc3\\xa9\x7f\""},
    };
    CLEANUP_BUF reason = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t nanoseconds = 77;
        assert_false(text_parse_go_duration(cases[i].text, &nanoseconds, NULL));
        assert_false(text_parse_go_duration(cases[i].text, &nanoseconds, &reason));
        assert_true(nanoseconds == 77);
        expect_text(&reason, cases[i].reason);
    }
}

/* --- sizes, hexadecimal, base64 --- */

static void text_humanize_bytes_is_go_humanize(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {9, "9 B"},
        {10, "10 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {1049, "1.0 kB"},
        {1050, "1.1 kB"},
        {9949, "9.9 kB"},
        {9950, "10 kB"},
        {10500, "10 kB"}, /* half to even */
        {11500, "12 kB"},
        {20480, "20 kB"},
        {999999, "1000 kB"},
        {1000000, "1.0 MB"},
        {1572864, "1.6 MB"},
        {2147483648, "2.1 GB"},
        {8589934592, "8.6 GB"},
        {1000000000000, "1.0 TB"},
        {1000000000000000, "1.0 PB"},
        {1000000000000000000, "1.0 EB"},
        {UINT64_MAX, "18 EB"},
    };
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_humanize_bytes(&out, cases[i].size);
        expect_text(&out, cases[i].text);
    }
}

static void text_hex_is_lower_case(void **state)
{
    (void)state;
    CLEANUP_BUF out = {0};
    text_hex(&out, BYTES_EMPTY);
    expect_text(&out, "");
    text_hex(&out, BYTES_LITERAL("\0\x0f\xa5\xff"));
    expect_text(&out, "000fa5ff");
}

static void text_base64_is_that_of_rfc_4648(void **state)
{
    (void)state;
    static const struct {
        struct bytes value;
        const char *padded;
        const char *bare_url;
    } cases[] = {
        {{NULL, 0}, "", ""},
        {BYTES_LITERAL("f"), "Zg==", "Zg"},
        {BYTES_LITERAL("fo"), "Zm8=", "Zm8"},
        {BYTES_LITERAL("foo"), "Zm9v", "Zm9v"},
        {BYTES_LITERAL("foob"), "Zm9vYg==", "Zm9vYg"},
        {BYTES_LITERAL("fooba"), "Zm9vYmE=", "Zm9vYmE"},
        {BYTES_LITERAL("foobar"), "Zm9vYmFy", "Zm9vYmFy"},
        {BYTES_LITERAL("\xfb\xff\xfe"), "+//+", "-__-"},
        {BYTES_LITERAL("\0"), "AA==", "AA"},
    };
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_base64(&out, cases[i].value);
        expect_text(&out, cases[i].padded);
        assert_true(text_parse_base64(bytes_from_string(cases[i].padded), &out));
        assert_buf(&out, cases[i].value);
        buf_clear(&out);
        assert_true(text_parse_base64(bytes_from_string(cases[i].bare_url), &out));
        assert_buf(&out, cases[i].value);
        buf_clear(&out);
    }
}

static void text_parse_base64_rejects_malformed_text(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "Z",    "Zg=",      "Zg===", "Zm8==",     "Zm9v=",  "=",    "==",
        "====", "Zg==Zg==", "Z=g=",  "Zm9v Zm9v", "Zm9v\n", "Zm9*", "Zm9vZ",
    };
    CLEANUP_BUF out = {0};
    buf_append_string(&out, "kept");
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        assert_false(text_parse_base64(bytes_from_string(malformed[i]), &out));
        assert_buf(&out, BYTES_LITERAL("kept"));
    }
}

/* --- numbers --- */

static void text_parse_int64_is_parse_int(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int base;
        int64_t value;
    } cases[] = {
        {"0", 10, 0},
        {"-0", 10, 0},
        {"+7", 10, 7},
        {"007", 10, 7},
        {"9223372036854775807", 10, INT64_MAX},
        {"-9223372036854775808", 10, INT64_MIN},
        {"-8000000000000000", 16, INT64_MIN},
        {"fF", 16, 255},
        {"zZ", 36, 1295},
        {"0", 0, 0},
        {"-0x1F", 0, -31},
        {"0X1f", 0, 31},
        {"0b101", 0, 5},
        {"0o17", 0, 15},
        {"017", 0, 15},
        {"1_000_000", 0, 1000000},
        {"0x_f", 0, 15},
        {"0_7", 0, 7},
    };
    CLEANUP_BUF reason = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 77;
        assert_true(text_parse_int64(cases[i].text, cases[i].base, &value, &reason));
        assert_true(value == cases[i].value);
        assert_int_equal(reason.size, 0);
    }
}

static void text_parse_int64_fails_with_gos_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int base;
        const char *reason;
    } cases[] = {
        {"", 10, "strconv.ParseInt: parsing \"\": invalid syntax"},
        {"abc", 10, "strconv.ParseInt: parsing \"abc\": invalid syntax"},
        {"-", 10, "strconv.ParseInt: parsing \"-\": invalid syntax"},
        {"+-1", 10, "strconv.ParseInt: parsing \"+-1\": invalid syntax"},
        {" 1", 10, "strconv.ParseInt: parsing \" 1\": invalid syntax"},
        {"1\n\u00e9\"", 10, "strconv.ParseInt: parsing \"1\\n\u00e9\\\"\": invalid syntax"},
        {"0x1", 10, "strconv.ParseInt: parsing \"0x1\": invalid syntax"},
        {"1_0", 10, "strconv.ParseInt: parsing \"1_0\": invalid syntax"},
        {"0x", 0, "strconv.ParseInt: parsing \"0x\": invalid syntax"},
        {"08", 0, "strconv.ParseInt: parsing \"08\": invalid syntax"},
        {"_1", 0, "strconv.ParseInt: parsing \"_1\": invalid syntax"},
        {"1_", 0, "strconv.ParseInt: parsing \"1_\": invalid syntax"},
        {"1__0", 0, "strconv.ParseInt: parsing \"1__0\": invalid syntax"},
        {"0_x1", 0, "strconv.ParseInt: parsing \"0_x1\": invalid syntax"},
        {"9223372036854775808", 10, "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"},
        {"-9223372036854775809", 10,
         "strconv.ParseInt: parsing \"-9223372036854775809\": value out of range"},
        {"99999999999999999999x", 10,
         "strconv.ParseInt: parsing \"99999999999999999999x\": value out of range"},
    };
    CLEANUP_BUF reason = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 77;
        assert_false(text_parse_int64(cases[i].text, cases[i].base, &value, NULL));
        assert_false(text_parse_int64(cases[i].text, cases[i].base, &value, &reason));
        assert_true(value == 77);
        expect_text(&reason, cases[i].reason);
    }
}

static void text_parse_uint64_is_parse_uint(void **state)
{
    (void)state;
    uint64_t value = 0;
    CLEANUP_BUF reason = {0};
    assert_true(text_parse_uint64("18446744073709551615", 10, &value, &reason));
    assert_true(value == UINT64_MAX);
    assert_true(text_parse_uint64("8e9e05c52164694d", 16, &value, &reason));
    assert_true(value == UINT64_C(0x8e9e05c52164694d));
    assert_true(text_parse_uint64("0xffff_ffff", 0, &value, &reason));
    assert_true(value == UINT32_MAX);
    assert_int_equal(reason.size, 0);

    assert_false(text_parse_uint64("18446744073709551616", 10, &value, &reason));
    expect_text(&reason, "strconv.ParseUint: parsing \"18446744073709551616\": value out of range");
    assert_false(text_parse_uint64("+1", 10, &value, &reason));
    expect_text(&reason, "strconv.ParseUint: parsing \"+1\": invalid syntax");
    assert_false(text_parse_uint64("-1", 10, &value, &reason));
    expect_text(&reason, "strconv.ParseUint: parsing \"-1\": invalid syntax");
    assert_true(value == UINT32_MAX);
}

static void text_parse_bool_accepts_twelve_words(void **state)
{
    (void)state;
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < 6; i++) {
        bool value = false;
        assert_true(text_parse_bool(yes[i], &value, NULL));
        assert_true(value);
        assert_true(text_parse_bool(no[i], &value, NULL));
        assert_false(value);
    }
    static const char *const others[] = {"", "2", "yes", "tRUE", "true ", "on"};
    CLEANUP_BUF reason = {0};
    for (size_t i = 0; i < 6; i++) {
        bool value = true;
        assert_false(text_parse_bool(others[i], &value, &reason));
        assert_true(value);
    }
    buf_clear(&reason);
    assert_false(text_parse_bool("yes", &(bool){false}, &reason));
    expect_text(&reason, "strconv.ParseBool: parsing \"yes\": invalid syntax");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_decodes_only_valid_utf8),
        cmocka_unit_test(text_go_quote_is_percent_q),
        cmocka_unit_test(text_json_quote_is_encoding_json_or_zap),
        cmocka_unit_test(text_go_unquote_reads_both_kinds_of_literal),
        cmocka_unit_test(text_go_unquote_rejects_malformed_literals),
        cmocka_unit_test(text_go_unquote_undoes_text_go_quote),
        cmocka_unit_test(text_go_duration_is_duration_string_and_parses_back),
        cmocka_unit_test(text_parse_go_duration_accepts_what_go_does),
        cmocka_unit_test(text_parse_go_duration_fails_with_gos_words),
        cmocka_unit_test(text_humanize_bytes_is_go_humanize),
        cmocka_unit_test(text_hex_is_lower_case),
        cmocka_unit_test(text_base64_is_that_of_rfc_4648),
        cmocka_unit_test(text_parse_base64_rejects_malformed_text),
        cmocka_unit_test(text_parse_int64_is_parse_int),
        cmocka_unit_test(text_parse_int64_fails_with_gos_words),
        cmocka_unit_test(text_parse_uint64_is_parse_uint),
        cmocka_unit_test(text_parse_bool_accepts_twelve_words),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
