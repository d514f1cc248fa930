/* The parts that draw: cells, sparklines, tables, numbers, the prompt, values. */
#include "base/memory.h"
#include "tui/bar.h"
#include "tui/canvas.h"
#include "tui/prompt.h"
#include "tui/sparkline.h"
#include "tui/table.h"
#include "tui/units.h"
#include "tui/value_text.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_row(const struct canvas *canvas, int y, const char *text)
{
    struct buf row = {0};
    canvas_row_text(canvas, y, &row);
    assert_string_equal(buf_string(&row), text);
    buf_deinit(&row);
}

static void numbers_keep_to_their_width(void **state)
{
    (void)state;
    assert_string_equal(units_count(0).text, "0");
    assert_string_equal(units_count(7.25).text, "7.2");
    assert_string_equal(units_count(999).text, "999");
    assert_string_equal(units_count(999.7).text, "1.0k");
    assert_string_equal(units_count(312440).text, "312k");
    assert_string_equal(units_count(NAN).text, "?");
    assert_string_equal(units_bytes(20480).text, "20K");
    assert_string_equal(units_bytes(2147483648.0).text, "2.0G");
    assert_string_equal(units_seconds(0.0004).text, "0.4ms");
    assert_string_equal(units_seconds(0.0098).text, "9.8ms");
    assert_string_equal(units_seconds(0.012).text, "12ms");
    assert_string_equal(units_seconds(1.25).text, "1.2s");
    assert_string_equal(units_seconds(0.00002).text, "20us");
    assert_string_equal(units_age(INT64_C(41) * 60 * 1000000000).text, "41m");
    assert_string_equal(units_age(INT64_C(9) * 86400 * 1000000000).text, "9d");
    assert_string_equal(units_grouped(1204377).text, "1,204,377");
    assert_string_equal(units_grouped(-1204).text, "-1,204");
    assert_string_equal(units_grouped(INT64_MIN).text, "-9,223,372,036,854,775,808");
    for (double value = 0.001; value < 1e20; value *= 1.7) {
        assert_true(strlen(units_count(value).text) <= 5);
        assert_true(strlen(units_bytes(value).text) <= 5);
        assert_true(strlen(units_seconds(value).text) <= 6);
    }
}

static void sparklines_scale_to_their_greatest_value(void **state)
{
    (void)state;
    struct ring ring = {.count = 0};
    int levels[6];
    const double values[] = {1, 0, NAN, 4, 8};
    for (size_t i = 0; i < 5; i++) ring_push(&ring, values[i]);
    sparkline_levels(&ring, 6, 0, levels);
    const int expected[] = {-1, 0, 0, -1, 3, 7};
    assert_memory_equal(levels, expected, sizeof(expected));
    /* A floor keeps small noise small. */
    sparkline_levels(&ring, 6, 80, levels);
    assert_int_equal(levels[5], 0);
    /* What has left the window no longer sets the scale. */
    for (size_t i = 0; i < 6; i++) ring_push(&ring, 0.5);
    sparkline_levels(&ring, 6, 0, levels);
    for (size_t i = 0; i < 6; i++) assert_int_equal(levels[i], 7);
}

static void rings_forget_the_oldest(void **state)
{
    (void)state;
    struct ring ring = {.count = 0};
    for (int i = 0; i < RING_SIZE + 10; i++) ring_push(&ring, i);
    assert_true(ring_at(&ring, 0) == RING_SIZE + 9);
    assert_true(ring_at(&ring, RING_SIZE - 1) == 10);
    assert_true(isnan(ring_at(&ring, RING_SIZE)));
    assert_true(ring_max(&ring, 3) == RING_SIZE + 9);
}

static void tables_drop_columns_by_rank(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"A", 4, 0, TABLE_LEFT, 0},
                                                  {"B", 6, 10, TABLE_LEFT, 2},
                                                  {"C", 5, 0, TABLE_RIGHT, 1},
                                                  {"D", 3, 0, TABLE_RIGHT, 3}};
    struct table_layout layout;
    table_layout(&layout, columns, 4, 2, 9);
    assert_int_equal(layout.count, 1);
    table_layout(&layout, columns, 4, 2, 10);
    assert_int_equal(layout.count, 2); /* A and C */
    assert_int_equal(layout.shown[1].column, 2);
    assert_int_equal(layout.shown[1].x, 7);
    table_layout(&layout, columns, 4, 0, 18);
    assert_int_equal(layout.count, 3);
    assert_int_equal(layout.shown[1].width, 7); /* B takes what is left */
    table_layout(&layout, columns, 4, 0, 100);
    assert_int_equal(layout.count, 4);
    assert_int_equal(layout.shown[1].width, 10);
    assert_int_equal(layout.shown[3].x, 4 + 1 + 10 + 1 + 5 + 1);
    /* However narrow, what matters most is there. */
    table_layout(&layout, columns, 4, 0, 1);
    assert_int_equal(layout.count, 1);
}

static void tables_draw_cells_in_their_fields(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"NAME", 5, 0, TABLE_LEFT, 0}, {"N", 4, 0, TABLE_RIGHT, 0}};
    struct canvas canvas = {.cells = NULL};
    struct table_layout layout;
    canvas_resize(&canvas, 12, 2, glyphs_get(true));
    table_layout(&layout, columns, 2, 1, 11);
    table_draw_header(&canvas, &layout, columns, 0);
    table_draw_cell(&canvas, &layout, columns, 0, 1, STYLE_NORMAL, "longer than this");
    table_draw_cell(&canvas, &layout, columns, 1, 1, STYLE_NORMAL, "7");
    expect_row(&canvas, 0, " NAME     N");
    expect_row(&canvas, 1, " long~    7");
    canvas_deinit(&canvas);
}

static void bars_fill_in_eighths(void **state)
{
    (void)state;
    struct canvas canvas = {.cells = NULL};
    canvas_resize(&canvas, 4, 4, glyphs_get(false));
    bar_draw(&canvas, 0, 0, 4, STYLE_GRAPH, 0.5);
    bar_draw(&canvas, 0, 1, 4, STYLE_GRAPH, 0.78125);
    bar_draw(&canvas, 0, 2, 4, STYLE_GRAPH, 7);
    bar_draw(&canvas, 0, 3, 4, STYLE_GRAPH, NAN);
    expect_row(&canvas, 0, "██");
    expect_row(&canvas, 1, "███▏");
    expect_row(&canvas, 2, "████");
    expect_row(&canvas, 3, "");
    canvas_deinit(&canvas);
}

static void wide_and_combining_characters_keep_their_columns(void **state)
{
    (void)state;
    struct canvas canvas = {.cells = NULL};
    canvas_resize(&canvas, 10, 3, glyphs_get(false));
    assert_int_equal(canvas_text(&canvas, 0, 0, STYLE_NORMAL, "日本e\xcc\x81x"), 6);
    expect_row(&canvas, 0, "日本e\xcc\x81x");
    assert_int_equal(canvas_cell(&canvas, 1, 0)->width, 0);
    /* Half of a wide character never stays. */
    canvas_text(&canvas, 1, 0, STYLE_NORMAL, "z");
    expect_row(&canvas, 0, " z本e\xcc\x81x");
    /* It does not fit half either. */
    canvas_put(&canvas, 0, 1, 4, STYLE_NORMAL, bytes_from_string("日本語"));
    expect_row(&canvas, 1, "日…");
    canvas_text(&canvas, 9, 2, STYLE_NORMAL, "日");
    expect_row(&canvas, 2, "         …");
    canvas_deinit(&canvas);
}

static void any_bytes_can_be_drawn(void **state)
{
    (void)state;
    struct canvas canvas = {.cells = NULL};
    canvas_resize(&canvas, 12, 2, glyphs_get(false));
    canvas_put(&canvas, 0, 0, 12, STYLE_NORMAL, BYTES_LITERAL("a\033[1mb\xff\n\tc"));
    expect_row(&canvas, 0, "a·[1mb?· c");
    canvas_resize(&canvas, 12, 2, glyphs_get(true));
    canvas_put(&canvas, 0, 0, 12, STYLE_NORMAL, bytes_from_string("é\x01z"));
    expect_row(&canvas, 0, "?.z");
    /* Outside there is nothing to draw on. */
    assert_int_equal(canvas_text(&canvas, 12, 0, STYLE_NORMAL, "x"), 0);
    assert_int_equal(canvas_text(&canvas, 0, 2, STYLE_NORMAL, "x"), 0);
    assert_int_equal(canvas_text(&canvas, -1, -1, STYLE_NORMAL, "x"), 0);
    canvas_deinit(&canvas);
}

static void what_changed_is_bold(void **state)
{
    (void)state;
    struct canvas before = {.cells = NULL}, after = {.cells = NULL};
    canvas_resize(&before, 8, 1, glyphs_get(true));
    canvas_resize(&after, 8, 1, glyphs_get(true));
    canvas_text(&before, 0, 0, STYLE_NORMAL, "19 5 old");
    canvas_text(&after, 0, 0, STYLE_NORMAL, "20 5 new");
    canvas_live(&after, 0, 0, 2);
    canvas_live(&after, 3, 0, 1);
    canvas_mark_changes(&after, &before);
    assert_true(canvas_cell(&after, 0, 0)->bold && canvas_cell(&after, 1, 0)->bold);
    assert_false(canvas_cell(&after, 3, 0)->bold);
    assert_false(canvas_cell(&after, 5, 0)->bold); /* no value: its text may change */
    canvas_deinit(&before);
    canvas_deinit(&after);
}

static void type_text(struct prompt *prompt, const char *text)
{
    for (; *text != 0; text++) prompt_key(prompt, (uint32_t)*text);
}

static void lines_are_edited(void **state)
{
    (void)state;
    struct prompt prompt = {.label = NULL};
    prompt_start(&prompt, ":", BYTES_LITERAL("put "));
    type_text(&prompt, "key val");
    prompt_key(&prompt, 0xe9);
    assert_string_equal(buf_string(&prompt.text), "put key valé");
    prompt_key(&prompt, INPUT_BACKSPACE); /* the whole character */
    prompt_key(&prompt, INPUT_CONTROL('W'));
    assert_string_equal(buf_string(&prompt.text), "put key ");
    prompt_key(&prompt, INPUT_HOME);
    prompt_key(&prompt, INPUT_DELETE);
    type_text(&prompt, "P");
    assert_string_equal(buf_string(&prompt.text), "Put key ");
    prompt_key(&prompt, INPUT_CONTROL('K'));
    assert_string_equal(buf_string(&prompt.text), "P");
    assert_int_equal(prompt_key(&prompt, INPUT_ENTER), PROMPT_DONE);
    assert_int_equal(prompt_key(&prompt, INPUT_ESCAPE), PROMPT_LEFT);
    prompt_deinit(&prompt);
}

static void earlier_lines_come_back(void **state)
{
    (void)state;
    struct prompt_history history = {.count = 0};
    struct prompt prompt = {.label = NULL};
    for (int i = 0; i < PROMPT_HISTORY_MAX + 5; i++) {
        char *line = mem_printf("line %d", i);
        prompt_history_add(&history, line);
        prompt_history_add(&history, line); /* once is enough */
        free(line);
    }
    assert_int_equal(history.count, PROMPT_HISTORY_MAX);
    prompt_start(&prompt, ":", BYTES_EMPTY);
    prompt.history = &history;
    prompt.history_at = history.count;
    prompt_key(&prompt, INPUT_UP);
    prompt_key(&prompt, INPUT_UP);
    assert_string_equal(buf_string(&prompt.text), "line 103");
    prompt_key(&prompt, INPUT_DOWN);
    prompt_key(&prompt, INPUT_DOWN);
    assert_string_equal(buf_string(&prompt.text), "");
    prompt_deinit(&prompt);
    prompt_history_deinit(&history);
}

static void expect_shown(struct bytes value, int columns, enum value_form form, const char *text)
{
    struct buf out = {0};
    assert_int_equal(value_format(value, columns, &out), form);
    assert_string_equal(buf_string(&out), text);
    buf_deinit(&out);
}

static void values_are_shown_for_people(void **state)
{
    (void)state;
    expect_shown(BYTES_EMPTY, 80, VALUE_EMPTY, "");
    expect_shown(BYTES_LITERAL("plain\ttext"), 80, VALUE_TEXT, "plain\ttext\n");
    expect_shown(BYTES_LITERAL("{\"a\":[1, 12345678901234567890,{}] ,\"b\" : \"x{,}\\\"\",\"c\":[]}"), 80,
                 VALUE_JSON,
                 "{\n  \"a\": [\n    1,\n    12345678901234567890,\n    {}\n  ],\n  \"b\": \"x{,}\\\"\",\n  "
                 "\"c\": []\n}\n");
    expect_shown(BYTES_LITERAL("{\"a\":"), 80, VALUE_TEXT, "{\"a\":\n");
    expect_shown(BYTES_LITERAL("\x00\x01\xff ABCDEF"), 39, VALUE_BINARY,
                 "0000  00 01 ff 20 41 42 43 44  ... ABCD\n0008  45 46                    EF\n");
}

static void values_survive_being_edited(void **state)
{
    (void)state;
    static const struct bytes values[] = {{(const uint8_t *)"plain", 5}, {(const uint8_t *)"\"quoted\"", 8},
                                          {(const uint8_t *)"a\nb", 3},  {(const uint8_t *)"\x00\xff", 2},
                                          {(const uint8_t *)"", 0},      {(const uint8_t *)"{\"a\":1}", 7}};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf line = {0}, back = {0};
        value_format_line(values[i], &line);
        assert_true(value_parse_line(buf_bytes(&line), &back));
        assert_true(bytes_equal(buf_bytes(&back), values[i]));
        buf_deinit(&line);
        buf_deinit(&back);
    }
    struct buf back = {0};
    assert_false(value_parse_line(BYTES_LITERAL("\"open"), &back));
    assert_false(value_parse_line(BYTES_LITERAL("\"a\" b"), &back));
    buf_deinit(&back);
}

int main(void)
{
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_to_their_width),
        cmocka_unit_test(sparklines_scale_to_their_greatest_value),
        cmocka_unit_test(rings_forget_the_oldest),
        cmocka_unit_test(tables_drop_columns_by_rank),
        cmocka_unit_test(tables_draw_cells_in_their_fields),
        cmocka_unit_test(bars_fill_in_eighths),
        cmocka_unit_test(wide_and_combining_characters_keep_their_columns),
        cmocka_unit_test(any_bytes_can_be_drawn),
        cmocka_unit_test(what_changed_is_bold),
        cmocka_unit_test(lines_are_edited),
        cmocka_unit_test(earlier_lines_come_back),
        cmocka_unit_test(values_are_shown_for_people),
        cmocka_unit_test(values_survive_being_edited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
