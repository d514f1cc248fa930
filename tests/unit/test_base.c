/* Unit tests of src/base, one group of tests per header; text.h and wire.h have files of their own. */
#include "base/arena.h"
#include "base/blob.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/memory.h"
#include "base/rng.h"
#include "tests/unit/buf_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdlib.h>

/* A second copy of the implementation, to reach its two paths: crc32c() itself takes the one that the
 * processor allows. */
uint32_t crc32c_copy(uint32_t previous, const void *data, size_t size);
#define crc32c crc32c_copy
#include "base/crc32c.c"
#undef crc32c

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
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
