/* Unit tests of src/base, one group of tests per header. The expected texts of Go's formats were made with Go
 * itself. */
#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/wire.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A second copy of the implementation, to reach its two paths: crc32c() itself takes the one that the
 * processor allows. */
uint32_t crc32c_copy(uint32_t previous, const void *data, size_t size);
#define crc32c crc32c_copy
#include "base/crc32c.c"
#undef crc32c

#define CLEANUP_BUF __attribute__((cleanup(buf_deinit))) struct buf

static void assert_buf(const struct buf *buf, struct bytes expected)
{
    assert_int_equal(buf->size, expected.size);
    if (expected.size > 0) assert_memory_equal(buf->data, expected.data, expected.size);
}

/* Compares as text, so that a failure shows both, and empties the buf. */
static void expect_text(struct buf *buf, const char *expected)
{
    assert_string_equal(buf_string(buf), expected);
    assert_int_equal(buf->size, strlen(expected));
    buf_clear(buf);
}

/* --- memory --- */

static void memory_is_never_null_and_copies_are_equal(void **state)
{
    (void)state;
    void *empty = mem_alloc(0);
    assert_non_null(empty);
    empty = mem_realloc(empty, 0);
    assert_non_null(empty);
    free(empty);

    uint8_t *zeros = mem_zalloc(3, 5);
    for (size_t i = 0; i < 15; i++) assert_int_equal(zeros[i], 0);
    free(zeros);

    char *copy = mem_strdup("revision");
    assert_string_equal(copy, "revision");
    free(copy);
    copy = mem_dup("a\0b", 3);
    assert_memory_equal(copy, "a\0b", 3);
    free(copy);
    copy = mem_printf("%s-%d", "term", 7);
    assert_string_equal(copy, "term-7");
    free(copy);
}

/* --- list --- */

struct item {
    TAILQ_ENTRY(item) entry;
    UT_hash_handle hh;
    int key;
};

static void list_header_gives_queues_and_hash_tables(void **state)
{
    (void)state;
    TAILQ_HEAD(item_queue, item) queue = TAILQ_HEAD_INITIALIZER(queue);
    struct item *by_key = NULL;
    struct item items[100] = {0};
    for (int i = 0; i < 100; i++) {
        struct item *item = &items[i];
        item->key = i * 7;
        TAILQ_INSERT_TAIL(&queue, item, entry);
        HASH_ADD_INT(by_key, key, item);
    }
    int expected = 0;
    struct item *item;
    TAILQ_FOREACH (item, &queue, entry) assert_int_equal(item->key, 7 * expected++);
    assert_int_equal(expected, 100);
    int key = 7 * 41;
    HASH_FIND_INT(by_key, &key, item);
    assert_ptr_equal(item, &items[41]);
    HASH_CLEAR(hh, by_key);
}

/* --- bytes --- */

static void bytes_are_ordered_bytewise_and_shorter_first(void **state)
{
    (void)state;
    assert_int_equal(bytes_compare(BYTES_EMPTY, BYTES_LITERAL("")), 0);
    assert_true(bytes_compare(BYTES_EMPTY, BYTES_LITERAL("\0")) < 0);
    assert_true(bytes_compare(BYTES_LITERAL("foo"), BYTES_LITERAL("foo\0")) < 0);
    assert_true(bytes_compare(BYTES_LITERAL("fop"), BYTES_LITERAL("foo1")) > 0);
    assert_true(bytes_compare(BYTES_LITERAL("\x7f"), BYTES_LITERAL("\x80")) < 0); /* unsigned */
    assert_int_equal(bytes_compare(BYTES_LITERAL("a\0b"), BYTES_LITERAL("a\0b")), 0);
    assert_true(bytes_compare(BYTES_LITERAL("a\0b"), BYTES_LITERAL("a\0c")) < 0);
}

static void bytes_equal_and_prefix_accept_empty_runs(void **state)
{
    (void)state;
    assert_true(bytes_equal(BYTES_EMPTY, bytes_from_string("")));
    assert_true(bytes_equal(bytes_from_string("key"), BYTES_LITERAL("key")));
    assert_false(bytes_equal(BYTES_LITERAL("key"), BYTES_LITERAL("kez")));
    assert_false(bytes_equal(BYTES_LITERAL("key"), BYTES_LITERAL("key\0")));
    assert_true(bytes_starts_with(BYTES_EMPTY, BYTES_EMPTY));
    assert_true(bytes_starts_with(BYTES_LITERAL("key"), BYTES_EMPTY));
    assert_true(bytes_starts_with(BYTES_LITERAL("key"), BYTES_LITERAL("key")));
    assert_false(bytes_starts_with(BYTES_LITERAL("ke"), BYTES_LITERAL("key")));
    assert_false(bytes_starts_with(BYTES_LITERAL("kex"), BYTES_LITERAL("key")));
}

static void integers_keep_their_value_at_any_alignment(void **state)
{
    (void)state;
    uint8_t room[17];
    const uint64_t value = UINT64_C(0x0102030405060708);
    for (size_t at = 0; at <= 8; at++) {
        be64_put(room + at, value);
        assert_memory_equal(room + at, "\1\2\3\4\5\6\7\10", 8);
        assert_true(be64_get(room + at) == value);
        le64_put(room + at, value);
        assert_memory_equal(room + at, "\10\7\6\5\4\3\2\1", 8);
        assert_true(le64_get(room + at) == value);
    }
    be64_put(room, UINT64_MAX);
    assert_true(be64_get(room) == UINT64_MAX && le64_get(room) == UINT64_MAX);
}

/* --- arena --- */

static void arena_memory_is_aligned_and_separate(void **state)
{
    (void)state;
    enum { PIECES = 500 };
    struct arena *arena = arena_new();
    uint8_t *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = arena_alloc(arena, i);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        memset(pieces[i], (int)(i & 255), i);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < i; k++) assert_int_equal(pieces[i][k], i & 255);
    arena_free(arena);
    arena_free(NULL);
}

static void an_adopted_arena_lives_as_long_as_its_new_owner(void **state)
{
    (void)state;
    struct arena *arena = arena_new(), *child = arena_new();
    char *text = arena_string(child, BYTES_LITERAL("kept"));
    memset(arena_alloc(child, 3 << 20), 1, 3 << 20);
    arena_adopt(arena, child);
    arena_adopt(arena, NULL);
    assert_true(arena_footprint(arena) > 3 << 20);
    memset(arena_alloc(arena, 5000), 2, 5000);
    assert_string_equal(text, "kept");
    arena_reset(arena);
    assert_true(arena_footprint(arena) < 1 << 20);
    memset(arena_alloc(arena, 100), 3, 100);
    arena_free(arena);
}

static void arena_reset_returns_to_the_first_chunk(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    size_t first = arena_footprint(arena);
    assert_true(first > 0);
    memset(arena_alloc(arena, 3 << 20), 1, 3 << 20); /* larger than the largest ordinary chunk */
    memset(arena_alloc(arena, 100), 1, 100);
    assert_true(arena_footprint(arena) > 3 << 20);
    arena_reset(arena);
    assert_int_equal(arena_footprint(arena), first);

    uint8_t *dirty = arena_alloc(arena, 64);
    memset(dirty, 0xff, 64);
    arena_reset(arena);
    uint8_t *clean = arena_zalloc(arena, 64);
    assert_ptr_equal(clean, dirty);
    for (size_t i = 0; i < 64; i++) assert_int_equal(clean[i], 0);
    arena_free(arena);
}

static void arena_copies_do_not_alias_their_source(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    char source[] = {'k', 0, 'y'};
    struct bytes copy = arena_copy(arena, bytes_of(source, sizeof(source)));
    char *string = arena_string(arena, bytes_of(source, 1));
    source[0] = 'x';
    assert_true(bytes_equal(copy, BYTES_LITERAL("k\0y")));
    assert_string_equal(string, "k");
    assert_int_equal(arena_copy(arena, BYTES_EMPTY).size, 0);
    assert_string_equal(arena_string(arena, BYTES_EMPTY), "");
    assert_string_equal(arena_printf(arena, "%s=%d", "a", 5), "a=5");
    char *wide = arena_printf(arena, "%5000d", 1); /* does not fit the first chunk */
    assert_int_equal(strlen(wide), 5000);
    arena_free(arena);
}

/* --- blob --- */

static void blob_lives_until_its_last_reference(void **state)
{
    (void)state;
    struct blob *blob = blob_from(BYTES_LITERAL("va\0lue"));
    assert_ptr_equal(blob_ref(blob), blob);
    blob_unref(blob);
    assert_true(bytes_equal(blob_bytes(blob), BYTES_LITERAL("va\0lue")));
    blob_unref(blob); /* freed here: the leak checker would tell */

    struct blob *filled = blob_new(3);
    memcpy(filled->data, "abc", 3);
    assert_true(bytes_equal(blob_bytes(filled), BYTES_LITERAL("abc")));
    blob_unref(filled);

    struct blob *empty = blob_from(BYTES_EMPTY);
    assert_int_equal(blob_bytes(empty).size, 0);
    blob_unref(empty);
    assert_null(blob_ref(NULL));
    assert_int_equal(blob_bytes(NULL).size, 0);
    blob_unref(NULL);
}

enum { BLOB_ROUNDS = 20000 };

static void *ref_and_unref(void *argument)
{
    struct blob *blob = argument;
    for (int i = 0; i < BLOB_ROUNDS; i++) blob_ref(blob);
    for (int i = 0; i < BLOB_ROUNDS; i++) blob_unref(blob);
    blob_unref(blob); /* the reference that came with the thread */
    return NULL;
}

static void blob_references_may_be_dropped_on_any_thread(void **state)
{
    (void)state;
    struct blob *blob = blob_from(BYTES_LITERAL("shared"));
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, blob_ref(blob)), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&blob->references), 1);
    blob_unref(blob);
}

/* --- buf --- */

static void buf_grows_and_keeps_its_content(void **state)
{
    (void)state;
    CLEANUP_BUF buf = {0};
    for (unsigned i = 0; i < 1000; i++) buf_append_byte(&buf, (uint8_t)i);
    assert_int_equal(buf.size, 1000);
    for (unsigned i = 0; i < 1000; i++) assert_int_equal(buf.data[i], i & 255);
    buf_clear(&buf);
    buf_append_string(&buf, "term ");
    buf_printf(&buf, "%d %s", 42, "index");
    buf_append_bytes(&buf, BYTES_LITERAL("\0!"));
    buf_append(&buf, NULL, 0);
    assert_true(bytes_equal(buf_bytes(&buf), BYTES_LITERAL("term 42 index\0!")));

    memcpy(buf_reserve(&buf, 5000), "tail", 4);
    assert_true(buf.capacity - buf.size >= 5000);
    buf.size += 4;
    assert_buf(&buf, BYTES_LITERAL("term 42 index\0!tail"));
    buf_clear(&buf);
    buf_printf(&buf, "%3000d", 1);
    assert_int_equal(buf.size, 3000);
}

static void buf_consume_drops_from_the_front(void **state)
{
    (void)state;
    CLEANUP_BUF buf = {0};
    buf_consume(&buf, 0);
    buf_append_string(&buf, "headbody");
    buf_consume(&buf, 0);
    buf_consume(&buf, 4);
    assert_buf(&buf, BYTES_LITERAL("body"));
    buf_consume(&buf, 4);
    assert_int_equal(buf.size, 0);
}

static void buf_strings_end_with_an_uncounted_zero(void **state)
{
    (void)state;
    CLEANUP_BUF buf = {0};
    assert_string_equal(buf_string(&buf), "");
    /* At every size, so that the zero once falls on the end of the capacity. */
    for (size_t size = 1; size <= 200; size++) {
        buf_append_byte(&buf, 'x');
        assert_int_equal(strlen(buf_string(&buf)), size);
        assert_int_equal(buf.size, size);
    }
    size_t size = 0;
    uint8_t *taken = buf_take(&buf, &size);
    assert_int_equal(size, 200);
    assert_int_equal(taken[200], 0);
    assert_true(buf.data == NULL && buf.size == 0 && buf.capacity == 0);
    free(taken);
    taken = buf_take(&buf, NULL);
    assert_int_equal(taken[0], 0);
    free(taken);
}

/* --- crc32c --- */

/* The definition, one bit at a time. */
static uint32_t crc32c_by_bits(uint32_t previous, const uint8_t *data, size_t size)
{
    uint32_t crc = ~previous;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    }
    return ~crc;
}

static void crc32c_has_its_known_values(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, NULL, 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u);
    /* RFC 3720, appendix B.4 */
    uint8_t block[32] = {0};
    assert_int_equal(crc32c(0, block, 32), 0x8A9136AAu);
    memset(block, 0xff, 32);
    assert_int_equal(crc32c(0, block, 32), 0x62A8AB43u);
    for (size_t i = 0; i < 32; i++) block[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, block, 32), 0x46DD794Eu);
    assert_int_equal(crc32c(12345, NULL, 0), 12345);
}

static void crc32c_paths_agree_at_every_length_and_alignment(void **state)
{
    (void)state;
    uint8_t data[80];
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (uint8_t)rng_next(&rng);
    for (size_t size = 0; size <= 64; size++) {
        for (size_t start = 0; start < 8; start++) {
            uint32_t previous = (uint32_t)rng_next(&rng);
            uint32_t expected = crc32c_by_bits(previous, data + start, size);
            assert_int_equal(crc32c(previous, data + start, size), expected);
            assert_int_equal(crc32c_copy(previous, data + start, size), expected);
            assert_int_equal(~update_portable(~previous, data + start, size), expected);
#if defined(__x86_64__)
            if (__builtin_cpu_supports("sse4.2"))
                assert_int_equal(~update_sse42(~previous, data + start, size), expected);
#endif
        }
    }
}

static void crc32c_of_parts_is_that_of_the_whole(void **state)
{
    (void)state;
    uint8_t data[64];
    for (size_t i = 0; i < 64; i++) data[i] = (uint8_t)(i * 37);
    uint32_t whole = crc32c(0, data, 64);
    for (size_t cut = 0; cut <= 64; cut++)
        assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, 64 - cut), whole);
}

/* ---- heap ---- */

static void heap_gives_the_least_key_first_and_equal_ones_in_order(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    struct heap heap = {0};
    struct heap_node nodes[50] = {{0}};
    uint64_t put_at[50] = {0}, puts = 0;
    for (int step = 0; step < 20000; step++) {
        size_t i = rng_below(&rng, 50);
        if (rng_chance(&rng, 1, 3)) {
            heap_remove(&heap, &nodes[i]);
            assert_false(heap_contains(&nodes[i]));
        } else {
            heap_put(&heap, &nodes[i], (int64_t)rng_below(&rng, 20) - 10);
            put_at[i] = puts++;
        }
        const struct heap_node *first = NULL;
        size_t count = 0;
        for (size_t j = 0; j < 50; j++) {
            if (!heap_contains(&nodes[j])) continue;
            count++;
            if (first == NULL || nodes[j].key < first->key ||
                (nodes[j].key == first->key && put_at[j] < put_at[first - nodes]))
                first = &nodes[j];
        }
        assert_int_equal(heap.count, count);
        assert_ptr_equal(heap_first(&heap), first);
    }
    heap_deinit(&heap);
}

/* --- error --- */

static void error_collects_context_in_front(void **state)
{
    (void)state;
    struct error *error = error_new(ERROR_CORRUPT, "read segment %d", 3);
    assert_string_equal(error->text, "read segment 3");
    error = error_wrap(error, "open %s", "wal");
    assert_string_equal(error->text, "open wal: read segment 3");
    assert_true(error_is(error, ERROR_CORRUPT));
    assert_false(error_is(error, ERROR_TORN));
    assert_false(error_is(NULL, ERROR_OTHER));
    assert_int_equal(error->system, 0);
    error_free(error);
    error_free(NULL);
}

static void error_of_a_system_call_has_a_kind(void **state)
{
    (void)state;
    static const struct {
        int system;
        enum error_kind kind;
    } cases[] = {
        {ENOENT, ERROR_NOT_FOUND}, {EEXIST, ERROR_EXISTS},      {ENOSPC, ERROR_NO_SPACE},
        {EDQUOT, ERROR_NO_SPACE},  {EWOULDBLOCK, ERROR_LOCKED}, {ETIMEDOUT, ERROR_TIMEOUT},
        {EIO, ERROR_IO},           {EACCES, ERROR_IO},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error *error = error_system(cases[i].system, "open");
        assert_int_equal(error->kind, cases[i].kind);
        assert_int_equal(error->system, cases[i].system);
        error_free(error);
    }
    struct error *error = error_system(ENOENT, "open %s", "db");
    assert_string_equal(error->text, "open db: No such file or directory");
    error_free(error);
}

static struct error *try_both(struct error *first, bool *reached)
{
    TRY(first);
    *reached = true;
    return NULL;
}

static void error_try_returns_early_and_unchanged(void **state)
{
    (void)state;
    bool reached = false;
    struct error *error = error_new(ERROR_LIMIT, "too many");
    assert_ptr_equal(try_both(error, &reached), error);
    assert_false(reached);
    error_free(error);
    assert_null(try_both(NULL, &reached));
    assert_true(reached);
}

/* --- log --- */

struct captured {
    int count;
    struct log_record last;
    struct log_field fields[16];
};

static void capture(void *context, const struct log_record *record)
{
    struct captured *captured = context;
    captured->count++;
    captured->last = *record;
    assert_true(record->field_count <= 16);
    for (size_t i = 0; i < record->field_count; i++) captured->fields[i] = record->fields[i];
}

static int evaluated(int *count)
{
    return ++*count;
}

static void log_drops_records_below_the_level_before_making_them(void **state)
{
    (void)state;
    struct captured captured = {0};
    const struct logger capturing = {.level = LOG_WARN,
                                     .name = "raft",
                                     .emit = capture,
                                     .context = &captured};
    const struct logger *logger = &capturing;
    int evaluations = 0;
    log_debug(logger, "no", LOG_INT("n", evaluated(&evaluations)));
    log_info(logger, "no", LOG_INT("n", evaluated(&evaluations)));
    assert_int_equal(captured.count, 0);
    assert_int_equal(evaluations, 0);
    log_warn(logger, "yes", LOG_INT("n", evaluated(&evaluations)));
    log_error(logger, "plain");
    assert_int_equal(captured.count, 2);
    assert_int_equal(evaluations, 1);
    assert_int_equal(captured.last.level, LOG_ERROR);
    assert_int_equal(captured.last.field_count, 0);
    assert_string_equal(captured.last.name, "raft");
    assert_string_equal(captured.last.message, "plain");
    assert_non_null(strstr(captured.last.file, "test_base.c"));
    assert_true(captured.last.line > 0);

    logger = &log_discard;
    log_error(logger, "nobody hears this");
    log_emit(&log_discard, LOG_NONE, __FILE__, __LINE__, "nor this", NULL,
             0); /* passes the level, has no emit */
    log_emit(&capturing, LOG_DEBUG, __FILE__, __LINE__, "below the level", NULL, 0);
    assert_int_equal(captured.count, 2);
}

static void log_fields_arrive_typed_and_in_order(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://a", "http://b"};
    struct captured captured = {0};
    const struct logger capturing = {.level = LOG_DEBUG, .emit = capture, .context = &captured};
    const struct logger *logger = &capturing;
    log_info(logger, "all", LOG_STRING("s", "text"), LOG_BYTES("b", BYTES_LITERAL("\0x")), LOG_INT("i", -5),
             LOG_UINT("u", UINT64_MAX), LOG_HEX("h", 0x8e9e05c52164694d), LOG_BOOL("t", true),
             LOG_DOUBLE("d", 0.5), LOG_DURATION("took", 1500), LOG_STRINGS("urls", urls, 2),
             LOG_SIZE("size", 20480), LOG_JSON("j", "{}"));
    assert_int_equal(captured.last.field_count, 11);
    const struct log_field *fields = captured.fields;
    for (size_t i = 0; i < 11; i++) assert_int_equal(fields[i].kind == LOG_FIELD_ABSENT, false);
    assert_string_equal(fields[0].string, "text");
    assert_true(bytes_equal(fields[1].bytes, BYTES_LITERAL("\0x")));
    assert_true(fields[2].kind == LOG_FIELD_INT && fields[2].integer == -5);
    assert_true(fields[3].kind == LOG_FIELD_UINT && fields[3].unsigned_integer == UINT64_MAX);
    assert_true(fields[4].kind == LOG_FIELD_HEX && fields[4].unsigned_integer == 0x8e9e05c52164694d);
    assert_true(fields[5].kind == LOG_FIELD_BOOL && fields[5].boolean);
    assert_true(fields[6].kind == LOG_FIELD_DOUBLE && fields[6].real > 0.4 && fields[6].real < 0.6);
    assert_true(fields[7].kind == LOG_FIELD_DURATION && fields[7].integer == 1500);
    assert_true(fields[8].kind == LOG_FIELD_STRINGS && fields[8].count == 2);
    assert_string_equal(fields[8].strings[1], "http://b");
    assert_true(fields[9].kind == LOG_FIELD_SIZE && fields[9].unsigned_integer == 20480);
    assert_true(fields[10].kind == LOG_FIELD_JSON);
    assert_string_equal(fields[10].key, "j");
}

static void log_levels_have_zap_names(void **state)
{
    (void)state;
    assert_string_equal(log_level_name(LOG_DEBUG), "debug");
    assert_string_equal(log_level_name(LOG_INFO), "info");
    assert_string_equal(log_level_name(LOG_WARN), "warn");
    assert_string_equal(log_level_name(LOG_ERROR), "error");
    assert_string_equal(log_level_name(LOG_FATAL), "fatal");
    assert_true(log_wants(&(struct logger){.level = LOG_INFO}, LOG_INFO));
    assert_false(log_wants(&(struct logger){.level = LOG_INFO}, LOG_DEBUG));
    assert_false(log_wants(&log_discard, LOG_FATAL));
}

/* --- mailbox --- */

struct letter {
    struct mail mail;
    int sender;
    int number;
};

static void mailbox_gives_everything_at_once_oldest_first(void **state)
{
    (void)state;
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    assert_null(mailbox_take(&mailbox));
    struct letter letters[3] = {0};
    assert_true(mailbox_put(&mailbox, &letters[0].mail));
    assert_false(mailbox_put(&mailbox, &letters[1].mail));
    assert_false(mailbox_put(&mailbox, &letters[2].mail));
    assert_int_equal(mailbox_waiting(&mailbox), 3);

    struct mail *mail = mailbox_take(&mailbox);
    for (int i = 0; i < 3; i++, mail = mail->next) assert_ptr_equal(mail, &letters[i].mail);
    assert_null(mail);
    assert_int_equal(mailbox_waiting(&mailbox), 0);
    assert_true(mailbox_put(&mailbox, &letters[1].mail)); /* empty again: wake up again */
    assert_ptr_equal(mailbox_take(&mailbox), &letters[1].mail);
}

enum { SENDERS = 2, LETTERS = 50000 };

struct sender {
    struct mailbox *mailbox;
    struct letter *letters;
    int number;
    int wakeups;
};

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    for (int i = 0; i < LETTERS; i++) {
        sender->letters[i].sender = sender->number;
        sender->letters[i].number = i;
        if (mailbox_put(sender->mailbox, &sender->letters[i].mail)) sender->wakeups++;
    }
    return NULL;
}

static void mailbox_keeps_each_senders_order_and_wakes_once_per_batch(void **state)
{
    (void)state;
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.mailbox = &mailbox, .number = i};
        senders[i].letters = mem_zalloc(LETTERS, sizeof(struct letter));
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    int next[SENDERS] = {0}, batches = 0;
    for (int received = 0; received < SENDERS * LETTERS;) {
        struct mail *mail = mailbox_take(&mailbox);
        if (mail == NULL) {
            sched_yield();
            continue;
        }
        batches++;
        for (; mail != NULL; mail = mail->next, received++) {
            struct letter *letter = (struct letter *)mail; /* its first member */
            assert_int_equal(letter->number, next[letter->sender]++);
        }
    }
    int wakeups = 0;
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        wakeups += senders[i].wakeups;
        free(senders[i].letters);
    }
    assert_int_equal(wakeups, batches);
    assert_int_equal(mailbox_waiting(&mailbox), 0);
}

/* --- rng --- */

static void rng_repeats_with_its_seed(void **state)
{
    (void)state;
    struct rng a, b, other;
    rng_init(&a, 42);
    rng_init(&b, 42);
    rng_init(&other, 43);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t value = rng_next(&a);
        assert_true(value == rng_next(&b));
        same += value == rng_next(&other);
    }
    assert_int_equal(same, 0);
}

/* Saved simulator seeds stay valid only while the generator does not change. First values of xoshiro256** for
 * the state 1 2 3 4 from the authors' code, and of splitmix64 for the seed 0. */
static void rng_is_the_published_generator(void **state)
{
    (void)state;
    struct rng rng = {.state = {1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++) assert_true(rng_next(&rng) == expected[i]);
    rng_init(&rng, 0);
    assert_true(rng.state[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(rng.state[1] == UINT64_C(0x6e789e6aa1b965f4));
}

static void rng_below_is_uniform_and_bounded(void **state)
{
    (void)state;
    enum { BOUND = 7, ROUNDS = 70000 };
    struct rng rng;
    rng_init(&rng, 7);
    int counts[BOUND] = {0};
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t value = rng_below(&rng, BOUND);
        assert_true(value < BOUND);
        counts[value]++;
    }
    for (int i = 0; i < BOUND; i++) assert_in_range(counts[i], ROUNDS / BOUND - 600, ROUNDS / BOUND + 600);
    for (int i = 0; i < 100; i++) assert_true(rng_below(&rng, 1) == 0);
    /* Rejects almost half of the values; must still end and stay below. */
    const uint64_t large = (UINT64_C(1) << 63) + 1;
    for (int i = 0; i < 100; i++) assert_true(rng_below(&rng, large) < large);
}

static void rng_chance_follows_its_odds(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 9);
    int hits = 0;
    for (int i = 0; i < 10000; i++) {
        assert_false(rng_chance(&rng, 0, 5));
        assert_true(rng_chance(&rng, 5, 5));
        hits += rng_chance(&rng, 1, 4);
    }
    assert_in_range(hits, 2300, 2700);
}

/* --- text: UTF-8 --- */

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

/* --- text: quoting --- */

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

/* --- text: durations --- */

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

/* --- text: sizes, hexadecimal, base64 --- */

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

/* --- text: numbers --- */

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

/* --- wire --- */

static void wire_varints_survive_the_way_there_and_back(void **state)
{
    (void)state;
    CLEANUP_BUF out = {0};
    for (unsigned shift = 0; shift < 64; shift++) {
        for (unsigned less = 0; less < 2; less++) {
            uint64_t value = (UINT64_C(1) << shift) - less, back = 1;
            buf_clear(&out);
            wire_varint(&out, value);
            assert_int_equal(out.size, wire_varint_size(value));
            struct wire_reader reader = wire_reader_of(buf_bytes(&out));
            assert_true(wire_next_varint(&reader, &back));
            assert_true(back == value && reader.rest.size == 0);
            assert_false(wire_next_varint(&reader, &back));
            assert_false(reader.failed); /* the end of input is no failure */
        }
    }
    assert_int_equal(wire_varint_size(0), 1);
    assert_int_equal(wire_varint_size(127), 1);
    assert_int_equal(wire_varint_size(128), 2);
    assert_int_equal(wire_varint_size(UINT64_MAX), WIRE_VARINT_MAX);
}

static void wire_fields_are_encoded_as_protobuf_does(void **state)
{
    (void)state;
    CLEANUP_BUF out = {0};
    wire_uint_field(&out, 1, 150); /* the example of the encoding guide */
    assert_buf(&out, BYTES_LITERAL("\x08\x96\x01"));
    assert_int_equal(out.size, wire_uint_field_size(1, 150));
    buf_clear(&out);
    wire_bytes_field(&out, 2, BYTES_LITERAL("testing"));
    assert_buf(&out, BYTES_LITERAL("\x12\x07testing"));
    assert_int_equal(out.size, wire_bytes_field_size(2, 7));
    buf_clear(&out);
    wire_uint_field(&out, 16, (uint64_t)INT64_C(-1));
    assert_buf(&out, BYTES_LITERAL("\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    assert_int_equal(out.size, wire_uint_field_size(16, UINT64_MAX));
    buf_clear(&out);

    wire_uint_field_nonzero(&out, 1, 0);
    wire_bytes_field_nonempty(&out, 1, BYTES_EMPTY);
    assert_int_equal(out.size, 0);
    wire_uint_field(&out, 1, 0);
    wire_bytes_field(&out, 2, BYTES_EMPTY);
    wire_uint_field_nonzero(&out, 3, 1);
    wire_bytes_field_nonempty(&out, 4, BYTES_LITERAL("x"));
    assert_buf(&out, BYTES_LITERAL("\x08\0\x12\0\x18\x01\x22\x01x"));
}

/* Around the sizes where the length needs one more byte and the content has to move. */
static void wire_messages_get_their_length_at_the_end(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 129, 16383, 16384, 100000};
    CLEANUP_BUF out = {0};
    CLEANUP_BUF expected = {0};
    CLEANUP_BUF content = {0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        buf_clear(&out);
        buf_clear(&expected);
        buf_clear(&content);
        for (size_t k = 0; k < sizes[i]; k++) buf_append_byte(&content, (uint8_t)k);
        buf_append_string(&out, "before");
        buf_append_string(&expected, "before");
        size_t mark = wire_message_begin(&out, 5);
        buf_append_bytes(&out, buf_bytes(&content));
        wire_message_end(&out, mark);
        wire_bytes_field(&expected, 5, buf_bytes(&content));
        assert_buf(&out, buf_bytes(&expected));
    }
}

static void wire_messages_nest(void **state)
{
    (void)state;
    CLEANUP_BUF out = {0};
    size_t outer = wire_message_begin(&out, 1);
    size_t inner = wire_message_begin(&out, 2);
    for (int i = 0; i < 200; i++) buf_append_byte(&out, 'x');
    wire_message_end(&out, inner);
    wire_uint_field(&out, 3, 9);
    wire_message_end(&out, outer);

    struct wire_reader reader = wire_reader_of(buf_bytes(&out));
    struct wire_field field;
    assert_true(wire_next(&reader, &field));
    assert_int_equal(field.number, 1);
    struct wire_reader nested = wire_reader_of(field.bytes);
    assert_true(wire_next(&nested, &field));
    assert_true(field.number == 2 && field.bytes.size == 200);
    assert_true(wire_next(&nested, &field));
    assert_true(field.number == 3 && field.value == 9);
    assert_false(wire_next(&nested, &field));
    assert_false(wire_next(&reader, &field));
    assert_false(nested.failed || reader.failed);
}

static void wire_reader_reads_every_type(void **state)
{
    (void)state;
    struct wire_reader reader = wire_reader_of(BYTES_LITERAL(
        "\x08\x96\x01\x11\x08\x07\x06\x05\x04\x03\x02\x01\x1a\x02hi\x25\x04\x03\x02\x01\x22\0"));
    struct wire_field field;
    assert_true(wire_next(&reader, &field));
    assert_true(field.number == 1 && field.type == WIRE_VARINT && field.value == 150);
    assert_true(wire_next(&reader, &field));
    assert_true(field.number == 2 && field.type == WIRE_FIXED64 &&
                field.value == UINT64_C(0x0102030405060708));
    assert_true(wire_next(&reader, &field));
    assert_true(field.number == 3 && field.type == WIRE_LENGTH &&
                bytes_equal(field.bytes, BYTES_LITERAL("hi")));
    assert_true(wire_next(&reader, &field));
    assert_true(field.number == 4 && field.type == WIRE_FIXED32 && field.value == 0x01020304);
    assert_true(wire_next(&reader, &field));
    assert_true(field.number == 4 && field.bytes.size == 0);
    assert_false(wire_next(&reader, &field));
    assert_false(reader.failed);
}

static void wire_reader_fails_on_malformed_input(void **state)
{
    (void)state;
    static const struct bytes malformed[] = {
        BYTES_LITERAL("\x80"),                                             /* tag cut off */
        BYTES_LITERAL("\x08"),                                             /* no value */
        BYTES_LITERAL("\x08\x80"),                                         /* value cut off */
        BYTES_LITERAL("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),     /* 65 bits */
        BYTES_LITERAL("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* 11 bytes */
        BYTES_LITERAL("\x11\1\2\3\4\5\6\7"),                               /* fixed64 cut off */
        BYTES_LITERAL("\x15\1\2\3"),                                       /* fixed32 cut off */
        BYTES_LITERAL("\x12\x03hi"),                                       /* length beyond the end */
        BYTES_LITERAL("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),     /* length 2^64 - 1 */
        BYTES_LITERAL("\x12"),                                             /* no length */
        BYTES_LITERAL("\x00\x01"),                                         /* field number 0 */
        BYTES_LITERAL("\x80\x80\x80\x80\x10\x01"),                         /* field number 2^29 */
        BYTES_LITERAL("\x0b\x0c"),                                         /* group */
        BYTES_LITERAL("\x0e"),                                             /* type 6 */
    };
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        uint8_t *exact =
            mem_dup(malformed[i].data, malformed[i].size); /* the sanitizer sees a read past its end */
        struct wire_reader reader = wire_reader_of(bytes_of(exact, malformed[i].size));
        struct wire_field field;
        assert_false(wire_next(&reader, &field));
        assert_true(reader.failed);
        assert_false(wire_next(&reader, &field)); /* stays failed */
        free(exact);
    }
}

static void wire_reader_ends_on_any_input(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 20000; round++) {
        size_t size = rng_below(&rng, 24);
        uint8_t *input = mem_alloc(size);
        for (size_t i = 0; i < size; i++)
            input[i] = (uint8_t)rng_below(&rng, rng_chance(&rng, 1, 2) ? 32 : 256);
        struct wire_reader reader = wire_reader_of(bytes_of(input, size));
        struct wire_field field;
        size_t fields = 0;
        while (wire_next(&reader, &field)) assert_true(++fields <= size);
        assert_true(reader.failed || reader.rest.size == 0);
        free(input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_never_null_and_copies_are_equal),
        cmocka_unit_test(list_header_gives_queues_and_hash_tables),
        cmocka_unit_test(bytes_are_ordered_bytewise_and_shorter_first),
        cmocka_unit_test(bytes_equal_and_prefix_accept_empty_runs),
        cmocka_unit_test(integers_keep_their_value_at_any_alignment),
        cmocka_unit_test(arena_memory_is_aligned_and_separate),
        cmocka_unit_test(an_adopted_arena_lives_as_long_as_its_new_owner),
        cmocka_unit_test(arena_reset_returns_to_the_first_chunk),
        cmocka_unit_test(arena_copies_do_not_alias_their_source),
        cmocka_unit_test(blob_lives_until_its_last_reference),
        cmocka_unit_test(blob_references_may_be_dropped_on_any_thread),
        cmocka_unit_test(buf_grows_and_keeps_its_content),
        cmocka_unit_test(buf_consume_drops_from_the_front),
        cmocka_unit_test(buf_strings_end_with_an_uncounted_zero),
        cmocka_unit_test(crc32c_has_its_known_values),
        cmocka_unit_test(crc32c_paths_agree_at_every_length_and_alignment),
        cmocka_unit_test(crc32c_of_parts_is_that_of_the_whole),
        cmocka_unit_test(heap_gives_the_least_key_first_and_equal_ones_in_order),
        cmocka_unit_test(error_collects_context_in_front),
        cmocka_unit_test(error_of_a_system_call_has_a_kind),
        cmocka_unit_test(error_try_returns_early_and_unchanged),
        cmocka_unit_test(log_drops_records_below_the_level_before_making_them),
        cmocka_unit_test(log_fields_arrive_typed_and_in_order),
        cmocka_unit_test(log_levels_have_zap_names),
        cmocka_unit_test(mailbox_gives_everything_at_once_oldest_first),
        cmocka_unit_test(mailbox_keeps_each_senders_order_and_wakes_once_per_batch),
        cmocka_unit_test(rng_repeats_with_its_seed),
        cmocka_unit_test(rng_is_the_published_generator),
        cmocka_unit_test(rng_below_is_uniform_and_bounded),
        cmocka_unit_test(rng_chance_follows_its_odds),
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
        cmocka_unit_test(wire_varints_survive_the_way_there_and_back),
        cmocka_unit_test(wire_fields_are_encoded_as_protobuf_does),
        cmocka_unit_test(wire_messages_get_their_length_at_the_end),
        cmocka_unit_test(wire_messages_nest),
        cmocka_unit_test(wire_reader_reads_every_type),
        cmocka_unit_test(wire_reader_fails_on_malformed_input),
        cmocka_unit_test(wire_reader_ends_on_any_input),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
