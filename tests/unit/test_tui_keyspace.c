/* The tree of keys over a fake source: what is asked, how much, and what is shown. */
#include "base/memory.h"
#include "tui/key_detail.h"
#include "tui/keyspace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sorted keys, and how often they were asked for. */
struct source {
    char **keys;
    size_t count;
    size_t lists, counts, keys_sent;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void source_add(struct source *source, const char *key)
{
    source->keys = mem_realloc(source->keys, (source->count + 1) * sizeof(*source->keys));
    source->keys[source->count++] = mem_strdup(key);
}

static void source_sort(struct source *source)
{
    qsort(source->keys, source->count, sizeof(*source->keys), by_text);
}

static void source_remove(struct source *source, const char *key)
{
    for (size_t i = 0; i < source->count; i++) {
        if (strcmp(source->keys[i], key) != 0) continue;
        free(source->keys[i]);
        memmove(&source->keys[i], &source->keys[i + 1], (source->count - i - 1) * sizeof(*source->keys));
        source->count--;
        return;
    }
}

static void source_deinit(struct source *source)
{
    for (size_t i = 0; i < source->count; i++) free(source->keys[i]);
    free(source->keys);
}

static bool is_inside(const struct key_request *request, const char *key)
{
    struct bytes bytes = bytes_from_string(key);
    bool to_end = request->range_end.size == 1 && request->range_end.data[0] == 0;
    return bytes_compare(bytes, request->key) >= 0 &&
           (to_end || bytes_compare(bytes, request->range_end) < 0);
}

/* Answers as etcd would. */
static void answer(struct source *source, struct keyspace *keyspace, const struct key_request *request)
{
    static Mvccpb__KeyValue kvs[KEYSPACE_FETCH];
    Mvccpb__KeyValue *list[KEYSPACE_FETCH];
    struct key_answer answer = {.id = request->id, .kvs = list, .revision = 5};
    bool is_list = request->kind == KEY_REQUEST_LIST;
    assert_true(!is_list || (request->limit > 0 && request->limit <= KEYSPACE_FETCH));
    *(is_list ? &source->lists : &source->counts) += 1;
    for (size_t i = 0; i < source->count; i++) {
        if (!is_inside(request, source->keys[i])) continue;
        answer.count++;
        if (!is_list || (int64_t)answer.kv_count == request->limit) continue;
        size_t at = answer.kv_count++;
        mvccpb__key_value__init(&kvs[at]);
        kvs[at].key.data = (uint8_t *)source->keys[i];
        kvs[at].key.len = strlen(source->keys[i]);
        list[at] = &kvs[at];
    }
    answer.more = is_list && (int64_t)answer.kv_count < answer.count;
    source->keys_sent += answer.kv_count;
    keyspace_answer(keyspace, &answer);
}

static void settle(struct source *source, struct keyspace *keyspace)
{
    struct key_request request;
    while (keyspace_next(keyspace, &request)) answer(source, keyspace, &request);
}

static void expect_rows(struct keyspace *keyspace, const char *const *names, size_t count)
{
    assert_int_equal(keyspace_row_count(keyspace), count);
    for (size_t i = 0; i < count; i++) {
        const struct key_row *row = keyspace_row(keyspace, i);
        if (names[i] == NULL) {
            assert_int_equal(row->kind, KEY_ROW_MORE);
            continue;
        }
        struct bytes name = key_node_name(row->node);
        assert_int_equal(row->kind, KEY_ROW_NODE);
        assert_int_equal(name.size, strlen(names[i]));
        assert_memory_equal(name.data, names[i], name.size);
    }
}

static void open_row(struct keyspace *keyspace, const char *path)
{
    size_t at = keyspace_find(keyspace, bytes_from_string(path), true);
    assert_true(at != SIZE_MAX);
    keyspace_open(keyspace, keyspace_row(keyspace, at)->node, true);
}

static void keys_are_cut_at_slashes(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    static const char *const keys[] = {"/a", "/a/b", "/a/c/d", "/a-b", "plain", "x/", "x//y", "x/z"};
    for (size_t i = 0; i < 8; i++) source_add(&source, keys[i]);
    source_sort(&source);
    struct keyspace *keyspace = keyspace_new();
    keyspace_set_visible(keyspace, 0, 20, true);
    settle(&source, keyspace);
    static const char *const top[] = {"/a", "/a-b", "/a/", "plain", "x/"};
    expect_rows(keyspace, top, 5);
    open_row(keyspace, "/a/");
    settle(&source, keyspace);
    static const char *const opened[] = {"/a", "/a-b", "/a/", "b", "c/", "plain", "x/"};
    expect_rows(keyspace, opened, 7);
    assert_int_equal(keyspace_row(keyspace, 2)->node->count, 2);
    assert_int_equal(keyspace_row(keyspace, 4)->depth, 1);
    open_row(keyspace, "x/");
    settle(&source, keyspace);
    /* The key "x/" itself, a name that begins with a slash, and a usual one. */
    static const char *const odd[] = {"/a", "/a-b", "/a/", "b", "c/", "plain", "x/", "", "/y", "z"};
    expect_rows(keyspace, odd, 10);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void a_large_prefix_is_paged_and_never_fetched_whole(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    char key[64];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "/big/%06d", i);
        source_add(&source, key);
    }
    source_add(&source, "/small/one");
    source_sort(&source);
    struct keyspace *keyspace = keyspace_new();
    keyspace_set_visible(keyspace, 0, 20, true);
    settle(&source, keyspace);
    static const char *const top[] = {"/big/", "/small/"};
    expect_rows(keyspace, top, 2);
    assert_true(source.lists <= 2); /* one answer lies in /big/, the next one is behind it */
    assert_int_equal(keyspace_row(keyspace, 0)->node->count, 20000);

    open_row(keyspace, "/big/");
    settle(&source, keyspace);
    size_t rows = keyspace_row_count(keyspace);
    assert_true(rows >= KEYSPACE_PAGE && rows <= KEYSPACE_PAGE + KEYSPACE_FETCH + 3);
    assert_true(source.keys_sent <= 5 * KEYSPACE_FETCH);
    /* Nothing more is asked until somebody looks further. */
    size_t lists = source.lists;
    keyspace_set_visible(keyspace, 10, 20, true);
    settle(&source, keyspace);
    assert_int_equal(source.lists, lists);
    assert_false(keyspace_set_visible(keyspace, rows - 20, 20, false));
    settle(&source, keyspace);
    assert_int_equal(source.lists, lists);
    assert_true(keyspace_set_visible(keyspace, rows - 20, 20, true));
    settle(&source, keyspace);
    assert_true(keyspace_row_count(keyspace) >= rows + KEYSPACE_PAGE);
    assert_true(source.lists <= lists + 2);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void large_subdirectories_cost_one_request_each(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    char key[64];
    for (int d = 0; d < 10; d++)
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof(key), "/d%d/%04d", d, i);
            source_add(&source, key);
        }
    source_sort(&source);
    struct keyspace *keyspace = keyspace_new();
    settle(&source, keyspace);
    assert_int_equal(keyspace_row_count(keyspace), 10);
    assert_true(source.lists <= 11);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void only_visible_directories_are_counted(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    char key[64];
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "/d%02d/x", i);
        source_add(&source, key);
    }
    source_sort(&source);
    struct keyspace *keyspace = keyspace_new();
    settle(&source, keyspace);
    assert_int_equal(source.counts, 1); /* the whole */
    keyspace_set_visible(keyspace, 5, 10, true);
    settle(&source, keyspace);
    assert_int_equal(source.counts, 11);
    assert_int_equal(keyspace_row(keyspace, 5)->node->count, 1);
    assert_int_equal(keyspace_row(keyspace, 4)->node->count, -1);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void reloading_keeps_what_is_open_and_drops_what_is_gone(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    static const char *const keys[] = {"/a/1", "/a/2", "/a/3", "/b/1", "/c"};
    for (size_t i = 0; i < 5; i++) source_add(&source, keys[i]);
    struct keyspace *keyspace = keyspace_new();
    keyspace_set_visible(keyspace, 0, 20, true);
    settle(&source, keyspace);
    open_row(keyspace, "/a/");
    settle(&source, keyspace);
    source_remove(&source, "/a/2");
    source_remove(&source, "/b/1");
    source_add(&source, "/a/25");
    source_add(&source, "/0");
    source_sort(&source);
    keyspace_reload(keyspace);
    settle(&source, keyspace);
    static const char *const after[] = {"/0", "/a/", "1", "25", "3", "/c"};
    expect_rows(keyspace, after, 6);
    assert_int_equal(keyspace_row(keyspace, 1)->node->count, 3);
    for (size_t i = source.count; i-- > 0;) source_remove(&source, source.keys[i]);
    keyspace_reload(keyspace);
    settle(&source, keyspace);
    assert_int_equal(keyspace_row_count(keyspace), 0);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void filters_keep_the_way_to_what_fits(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    static const char *const keys[] = {"/a/apple", "/a/pear", "/b/plum", "/pear"};
    for (size_t i = 0; i < 4; i++) source_add(&source, keys[i]);
    struct keyspace *keyspace = keyspace_new();
    keyspace_set_visible(keyspace, 0, 20, true);
    settle(&source, keyspace);
    open_row(keyspace, "/a/");
    settle(&source, keyspace);
    keyspace_set_filter(keyspace, "pear");
    static const char *const fitting[] = {"/a/", "pear", "/pear"};
    expect_rows(keyspace, fitting, 3);
    keyspace_set_filter(keyspace, "");
    assert_int_equal(keyspace_row_count(keyspace), 5);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void failures_are_shown_and_can_be_retried(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    source_add(&source, "/a");
    struct keyspace *keyspace = keyspace_new();
    struct key_request request;
    size_t asked = 0;
    while (keyspace_next(keyspace, &request)) {
        struct key_answer failed = {.id = request.id, .error = "no answer"};
        keyspace_answer(keyspace, &failed);
        assert_true(++asked < 10);
    }
    assert_int_equal(keyspace_row_count(keyspace), 1);
    assert_int_equal(keyspace_row(keyspace, 0)->kind, KEY_ROW_FAILURE);
    keyspace_retry(keyspace);
    settle(&source, keyspace);
    static const char *const rows[] = {"/a"};
    expect_rows(keyspace, rows, 1);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void late_answers_find_nobody(void **state)
{
    (void)state;
    struct source source = {.keys = NULL};
    source_add(&source, "/a");
    struct keyspace *keyspace = keyspace_new();
    struct key_request old, request;
    assert_true(keyspace_next(keyspace, &old));
    keyspace_set_root(keyspace, BYTES_LITERAL("/b"));
    answer(&source, keyspace, &old);
    assert_int_equal(keyspace_row_count(keyspace), 1); /* still loading */
    size_t under_way = 0;
    while (keyspace_next(keyspace, &request)) under_way++;
    assert_true(under_way <= KEYSPACE_REQUESTS_MAX);
    keyspace_free(keyspace);
    source_deinit(&source);
}

static void prefixes_end_where_etcd_ends_them(void **state)
{
    (void)state;
    struct buf end = {0};
    key_request_prefix_end(BYTES_LITERAL("/a/"), &end);
    assert_string_equal(buf_string(&end), "/a0");
    key_request_prefix_end(BYTES_LITERAL("a\xff\xff"), &end);
    assert_string_equal(buf_string(&end), "b");
    key_request_prefix_end(BYTES_EMPTY, &end);
    assert_int_equal(end.size, 1);
    assert_int_equal(end.data[0], 0);
    buf_deinit(&end);
}

/* ---- One key ---- */

static void answer_version(struct key_detail *detail, uint64_t id, int64_t revision, int64_t version)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT, *kvs = &kv;
    char value[16];
    kv.mod_revision = revision;
    kv.version = version;
    kv.value.len = (size_t)snprintf(value, sizeof(value), "v%d", (int)version);
    kv.value.data = (uint8_t *)value;
    struct key_answer answer = {.id = id, .kvs = &kvs, .kv_count = 1, .now = 9};
    key_detail_answer(detail, &answer);
}

static void history_walks_back_to_the_creation(void **state)
{
    (void)state;
    struct key_detail detail = {.state = KEY_DETAIL_NONE};
    struct key_request request;
    assert_false(key_detail_next(&detail, &request));
    key_detail_select(&detail, BYTES_LITERAL("/k"));
    assert_true(key_detail_next(&detail, &request));
    assert_int_equal(request.revision, 0);
    answer_version(&detail, request.id, 40, 3);
    assert_false(key_detail_next(&detail, &request));
    key_detail_want_history(&detail, true);
    assert_true(key_detail_next(&detail, &request));
    assert_int_equal(request.revision, 39);
    answer_version(&detail, request.id, 20, 2);
    assert_true(key_detail_next(&detail, &request));
    assert_int_equal(request.revision, 19);
    answer_version(&detail, request.id, 7, 1);
    assert_false(key_detail_next(&detail, &request));
    assert_true(detail.history_ended);
    assert_int_equal(detail.history_count, 2);
    assert_string_equal(buf_string(&detail.history[1].value), "v1");
    key_detail_deinit(&detail);
}

static void history_ends_at_a_compaction(void **state)
{
    (void)state;
    struct key_detail detail = {.state = KEY_DETAIL_NONE};
    struct key_request request;
    key_detail_select(&detail, BYTES_LITERAL("/k"));
    key_detail_want_history(&detail, true);
    assert_true(key_detail_next(&detail, &request));
    answer_version(&detail, request.id, 40, 3);
    assert_true(key_detail_next(&detail, &request));
    struct key_answer gone = {.id = request.id, .error = "compacted", .is_compacted = true};
    key_detail_answer(&detail, &gone);
    assert_false(key_detail_next(&detail, &request));
    assert_string_equal(detail.history_end, "older ones are compacted away");
    key_detail_deinit(&detail);
}

static void a_key_that_goes_is_gone_and_answers_for_others_are_ignored(void **state)
{
    (void)state;
    struct key_detail detail = {.state = KEY_DETAIL_NONE};
    struct key_request first, second;
    key_detail_select(&detail, BYTES_LITERAL("/k"));
    assert_true(key_detail_next(&detail, &first));
    key_detail_select(&detail, BYTES_LITERAL("/l"));
    assert_true(key_detail_next(&detail, &second));
    answer_version(&detail, first.id, 40, 3);
    assert_int_equal(detail.state, KEY_DETAIL_WAITING);
    struct key_answer none = {.id = second.id};
    key_detail_answer(&detail, &none);
    assert_int_equal(detail.state, KEY_DETAIL_GONE);
    key_detail_deinit(&detail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_cut_at_slashes),
        cmocka_unit_test(a_large_prefix_is_paged_and_never_fetched_whole),
        cmocka_unit_test(large_subdirectories_cost_one_request_each),
        cmocka_unit_test(only_visible_directories_are_counted),
        cmocka_unit_test(reloading_keeps_what_is_open_and_drops_what_is_gone),
        cmocka_unit_test(filters_keep_the_way_to_what_fits),
        cmocka_unit_test(failures_are_shown_and_can_be_retried),
        cmocka_unit_test(late_answers_find_nobody),
        cmocka_unit_test(prefixes_end_where_etcd_ends_them),
        cmocka_unit_test(history_walks_back_to_the_creation),
        cmocka_unit_test(history_ends_at_a_compaction),
        cmocka_unit_test(a_key_that_goes_is_gone_and_answers_for_others_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
