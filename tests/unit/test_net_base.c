/* The event loop, chains, and gRPC's small formats. */
#include "net/chain.h"
#include "net/grpc_frame.h"
#include "net/loop.h"
#include "net/transport.h"

#include "base/memory.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- loop ---- */

struct stopwatch {
    struct loop_timer timer;
    int *order;
    int value;
};

static void note_order(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    struct stopwatch *watch = (struct stopwatch *)timer;
    *watch->order = *watch->order * 10 + watch->value;
}

static void timers_run_in_the_order_of_their_times(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    int order = 0;
    struct stopwatch watches[5];
    static const int delays[5] = {3, 1, 5, 2, 4};
    int64_t now = clock_monotonic();
    for (int i = 0; i < 5; i++) {
        watches[i] = (struct stopwatch){.timer.run = note_order, .order = &order, .value = delays[i]};
        loop_timer_set(loop, &watches[i].timer, now + delays[i] * 2 * LOOP_MILLISECOND);
    }
    loop_timer_clear(loop, &watches[2].timer);                           /* the one at 5 */
    loop_timer_set(loop, &watches[1].timer, now + 9 * LOOP_MILLISECOND); /* 1 moves behind 4 */
    while (order < 1000) loop_run_once(loop, LOOP_SECOND);
    assert_int_equal(order, 2341);
    assert_true(clock_monotonic() >= now + 9 * LOOP_MILLISECOND);
    loop_free(loop);
}

static void many_timers_keep_the_heap_in_order(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct loop *loop = loop_new();
    struct stopwatch *watches = mem_zalloc(COUNT, sizeof(*watches));
    int ignored = 0;
    struct rng rng;
    rng_init(&rng, 7);
    int64_t past = clock_monotonic() - LOOP_SECOND;
    size_t set = 0;
    for (size_t i = 0; i < COUNT; i++) {
        watches[i] = (struct stopwatch){.timer.run = note_order, .order = &ignored};
        loop_timer_set(loop, &watches[i].timer, past + (int64_t)rng_below(&rng, LOOP_SECOND / 2));
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (rng_chance(&rng, 1, 3))
            loop_timer_clear(loop, &watches[i].timer);
        else
            set++;
    }
    assert_true(set > 0);
    loop_run_once(loop, 10 * LOOP_MILLISECOND);
    for (size_t i = 0; i < COUNT; i++) assert_false(loop_timer_is_set(&watches[i].timer));
    free(watches);
    loop_free(loop);
}

static void sleep_past_the_limit(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    (void)timer;
    int64_t end = clock_monotonic() + 5 * LOOP_MILLISECOND;
    while (clock_monotonic() < end) continue;
}

/* A turn whose time limit passes while timers run must not wait for something else. */
static void a_turn_returns_when_its_limit_passes_early(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct loop_timer slow = {.run = sleep_past_the_limit}, far = {.run = sleep_past_the_limit};
    int64_t begin = clock_monotonic();
    loop_timer_set(loop, &slow, begin);
    loop_timer_set(loop, &far, begin + 100 * LOOP_SECOND);
    loop_run_once(loop, LOOP_MILLISECOND);
    assert_false(loop_timer_is_set(&slow));
    assert_true(clock_monotonic() < begin + 50 * LOOP_SECOND);
    loop_timer_clear(loop, &far);
    loop_free(loop);
}

struct counted_task {
    struct loop_task task;
    int *count;
    int sequence, *last;
};

static void count_task(struct loop *loop, struct loop_task *task)
{
    struct counted_task *counted = (struct counted_task *)task;
    assert_true(loop_is_current(loop));
    assert_int_equal(counted->sequence, *counted->last + 1);
    *counted->last = counted->sequence;
    if (--*counted->count == 0) loop_stop(loop);
}

static void tasks_of_a_thread_run_in_order_on_the_loops_thread(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct loop *loop = loop_new();
    int left = COUNT, last = -1;
    struct counted_task *tasks = mem_zalloc(COUNT, sizeof(*tasks));
    assert_null(loop_start(loop, "test"));
    assert_false(loop_is_current(loop));
    for (int i = 0; i < COUNT; i++) {
        tasks[i] =
            (struct counted_task){.task.run = count_task, .count = &left, .sequence = i, .last = &last};
        loop_post(loop, &tasks[i].task);
    }
    loop_join(loop);
    assert_int_equal(left, 0);
    free(tasks);
    loop_free(loop);
}

/* More loops than wake-ups are gathered for: none is forgotten, and none wakes before the end but those. */
static void gathered_posts_wake_every_loop_once_at_the_end(void **state)
{
    (void)state;
    enum { LOOPS = 20, TASKS = 3 };
    struct loop *loops[LOOPS];
    struct counted_task tasks[LOOPS][TASKS];
    int left[LOOPS], last[LOOPS];
    loop_post_begin();
    for (int i = 0; i < LOOPS; i++) {
        loops[i] = loop_new();
        left[i] = TASKS;
        last[i] = -1;
        for (int j = 0; j < TASKS; j++) {
            tasks[i][j] = (struct counted_task){.task.run = count_task,
                                                .count = &left[i],
                                                .sequence = j,
                                                .last = &last[i]};
            loop_post(loops[i], &tasks[i][j].task);
        }
    }
    loop_run_once(loops[0], 0);
    assert_int_equal(left[0], TASKS);
    loop_post_end();
    for (int i = 0; i < LOOPS; i++) {
        loop_run_once(loops[i], LOOP_SECOND);
        assert_int_equal(left[i], 0);
        loop_free(loops[i]);
    }
}

struct counted_deferred {
    struct loop_deferred deferred;
    int count;
};

static void count_deferred(struct loop *loop, struct loop_deferred *deferred)
{
    (void)loop;
    ((struct counted_deferred *)deferred)->count++;
}

static void deferred_work_runs_once_a_turn_and_can_be_cancelled(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct counted_deferred one = {.deferred.run = count_deferred}, two = {.deferred.run = count_deferred};
    loop_defer(loop, &one.deferred);
    loop_defer(loop, &one.deferred);
    loop_defer(loop, &two.deferred);
    loop_defer_cancel(loop, &two.deferred);
    loop_run_once(loop, 0);
    assert_int_equal(one.count, 1);
    assert_int_equal(two.count, 0);
    loop_free(loop);
}

/* ---- chain ---- */

/* Queues itself again and again until others had their turn. */
struct long_work {
    struct loop_deferred deferred;
    int pieces;
    bool others_ran;
};

static void one_piece(struct loop *loop, struct loop_deferred *deferred)
{
    struct long_work *work = (struct long_work *)deferred;
    if (++work->pieces < 5 && !work->others_ran) loop_defer_to_next_turn(loop, deferred);
}

struct long_work_task {
    struct loop_task task;
    struct long_work *work;
};

static void note_turn(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    ((struct long_work_task *)task)->work->others_ran = true;
}

static void long_work_lets_others_have_their_turn(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct long_work work = {.deferred.run = one_piece}, cancelled = {.deferred.run = one_piece};
    struct long_work_task task = {.task.run = note_turn, .work = &work};
    loop_defer_to_next_turn(loop, &work.deferred);
    loop_defer_to_next_turn(loop, &cancelled.deferred);
    loop_defer_to_next_turn(loop, &cancelled.deferred);
    loop_defer_cancel(loop, &cancelled.deferred);
    loop_run_once(loop, LOOP_SECOND); /* does not wait */
    assert_int_equal(work.pieces, 1);
    loop_run_once(loop, LOOP_SECOND);
    assert_int_equal(work.pieces, 2);
    loop_post(loop, &task.task);
    loop_run_once(loop, LOOP_SECOND);
    assert_int_equal(work.pieces, 3);
    assert_true(work.others_ran);
    loop_run_once(loop, 0);
    assert_int_equal(work.pieces, 3);
    assert_int_equal(cancelled.pieces, 0);
    loop_free(loop);
}

static void chain_gives_back_what_went_in_whatever_the_pieces(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 42);
    struct chain chain = {.block_size = 100}, other = {0};
    struct buf expected = {0}, got = {0};
    const struct bytes text = BYTES_LITERAL("static text that outlives the chain");
    for (int round = 0; round < 3000; round++) {
        switch (rng_below(&rng, 5)) {
        case 0: {
            uint8_t data[300];
            size_t size = rng_below(&rng, sizeof(data));
            for (size_t i = 0; i < size; i++) data[i] = (uint8_t)rng_next(&rng);
            chain_append(&chain, bytes_of(data, size));
            buf_append(&expected, data, size);
            break;
        }
        case 1: {
            struct blob *blob = blob_new(rng_below(&rng, 9000));
            for (size_t i = 0; i < blob->size; i++) blob->data[i] = (uint8_t)(i * 7);
            buf_append_bytes(&expected, blob_bytes(blob));
            chain_append_shared(&chain, blob, blob_bytes(blob));
            blob_unref(blob);
            break;
        }
        case 2:
            chain_append_static(&chain, text);
            buf_append_bytes(&expected, text);
            break;
        case 3:
            chain_move(&other, &chain, rng_below(&rng, chain.size + 1));
            break;
        default: {
            struct bytes front = chain_front(&other);
            size_t part = front.size == 0 ? 0 : 1 + rng_below(&rng, front.size);
            buf_append(&got, front.data, part);
            chain_consume(&other, part);
            break;
        }
        }
        assert_int_equal(got.size + other.size + chain.size, expected.size);
    }
    chain_move(&other, &chain, chain.size);
    while (other.size > 0) {
        struct iovec vectors[3];
        size_t count = chain_vectors(&other, vectors, 3);
        assert_true(count > 0);
        buf_append(&got, vectors[0].iov_base, vectors[0].iov_len);
        chain_consume(&other, vectors[0].iov_len);
    }
    assert_int_equal(got.size, expected.size);
    assert_memory_equal(got.data, expected.data, got.size);
    chain_deinit(&chain);
    chain_deinit(&other);
    buf_deinit(&expected);
    buf_deinit(&got);
}

static void chain_links_large_pieces_and_copies_small_ones(void **state)
{
    (void)state;
    struct chain chain = {0};
    struct blob *large = blob_new(CHAIN_LINK_THRESHOLD), *small = blob_new(10);
    memset(large->data, 1, large->size);
    memset(small->data, 2, small->size);
    chain_append_shared(&chain, large, blob_bytes(large));
    assert_int_equal(atomic_load(&large->references), 2);
    chain_append_shared(&chain, small, blob_bytes(small));
    assert_int_equal(atomic_load(&small->references), 1);
    chain_consume(&chain, large->size);
    assert_int_equal(atomic_load(&large->references), 1);
    chain_deinit(&chain);
    blob_unref(large);
    blob_unref(small);
}

/* ---- gRPC formats ---- */

static void put_message(struct buf *out, size_t length, uint8_t fill, bool compressed)
{
    uint8_t prefix[GRPC_PREFIX_SIZE];
    grpc_frame_prefix(prefix, length, compressed);
    buf_append(out, prefix, sizeof(prefix));
    memset(buf_reserve(out, length), fill, length);
    out->size += length;
}

static void messages_survive_a_cut_at_every_byte(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 5, 300, 0, 17};
    enum { COUNT = sizeof(lengths) / sizeof(lengths[0]) };
    struct buf stream = {0};
    for (size_t i = 0; i < COUNT; i++) put_message(&stream, lengths[i], (uint8_t)('a' + i), i == 3);
    for (size_t cut = 0; cut <= stream.size; cut++) {
        struct grpc_frame_reader reader = {0};
        size_t seen = 0;
        for (int half = 0; half < 2; half++) {
            struct bytes input =
                half == 0 ? bytes_of(stream.data, cut) : bytes_of(stream.data + cut, stream.size - cut);
            struct bytes message;
            bool compressed;
            while (grpc_frame_next(&reader, &input, 300, &message, &compressed) == GRPC_FRAME_MESSAGE) {
                assert_int_equal(message.size, lengths[seen]);
                assert_int_equal(compressed, seen == 3);
                for (size_t i = 0; i < message.size; i++) assert_int_equal(message.data[i], 'a' + seen);
                seen++;
            }
            assert_int_equal(input.size, 0);
        }
        assert_int_equal(seen, COUNT);
        assert_false(grpc_frame_is_partial(&reader));
        grpc_frame_reader_deinit(&reader);
    }
    buf_deinit(&stream);
}

static void a_message_one_byte_over_the_limit_is_refused_by_its_prefix(void **state)
{
    (void)state;
    for (size_t length = 99; length <= 101; length++) {
        struct buf stream = {0};
        put_message(&stream, length, 'x', false);
        struct grpc_frame_reader reader = {0};
        struct bytes input = bytes_of(stream.data, GRPC_PREFIX_SIZE), message;
        bool compressed;
        enum grpc_frame_result result = grpc_frame_next(&reader, &input, 100, &message, &compressed);
        assert_int_equal(result, length > 100 ? GRPC_FRAME_TOO_LARGE : GRPC_FRAME_MORE);
        assert_int_equal(grpc_frame_length(&reader), length);
        grpc_frame_reader_deinit(&reader);
        buf_deinit(&stream);
    }
}

static void a_promised_length_allocates_little_before_bytes_arrive(void **state)
{
    (void)state;
    struct grpc_frame_reader reader = {0};
    static const uint8_t promise[] = {0, 0x40, 0, 0, 0, 'x'};
    struct bytes input = bytes_of(promise, sizeof(promise)), message;
    bool compressed;
    assert_int_equal(grpc_frame_next(&reader, &input, SIZE_MAX, &message, &compressed), GRPC_FRAME_MORE);
    assert_true(reader.body.capacity <= 128 * 1024);
    grpc_frame_reader_deinit(&reader);
}

static void gzip_round_trips_and_keeps_its_limit(void **state)
{
    (void)state;
    struct buf packed = {0}, plain = {0};
    uint8_t *data = mem_zalloc(1, 100000);
    struct grpc_part parts[] = {grpc_part_of_bytes(bytes_of(data, 60000)),
                                grpc_part_of_bytes(bytes_of(data + 60000, 40000))};
    grpc_gzip_compress(parts, 2, &packed);
    assert_true(packed.size < 1000);
    assert_int_equal(grpc_gzip_decompress(buf_bytes(&packed), 100000, &plain), GRPC_GZIP_OK);
    assert_int_equal(plain.size, 100000);
    assert_memory_equal(plain.data, data, 100000);
    buf_clear(&plain);
    assert_int_equal(grpc_gzip_decompress(buf_bytes(&packed), 99999, &plain), GRPC_GZIP_TOO_LARGE);
    buf_clear(&plain);
    assert_int_equal(grpc_gzip_decompress(bytes_of(packed.data, packed.size - 1), 100000, &plain),
                     GRPC_GZIP_MALFORMED);
    buf_clear(&plain);
    assert_int_equal(grpc_gzip_decompress(BYTES_LITERAL("nonsense"), 100000, &plain), GRPC_GZIP_MALFORMED);
    free(data);
    buf_deinit(&packed);
    buf_deinit(&plain);
}

static void timeouts_parse_as_in_grpc_go(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t nanoseconds;
        const char *reason; /* NULL: it parses */
    } cases[] = {
        {"1S", LOOP_SECOND, NULL},
        {"100m", 100 * LOOP_MILLISECOND, NULL},
        {"99999999H", INT64_MAX, NULL},
        {"7u", 7000, NULL},
        {"0n", 0, NULL},
        {"", 0, "transport: timeout string is too short: \"\""},
        {"1", 0, "transport: timeout string is too short: \"1\""},
        {"123456789S", 0, "transport: timeout string is too long: \"123456789S\""},
        {"10x", 0, "transport: timeout unit is not recognized: \"10x\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf reason = {0};
        int64_t nanoseconds = -1;
        bool parsed = grpc_timeout_parse(bytes_from_string(cases[i].text), &nanoseconds, &reason);
        assert_int_equal(parsed, cases[i].reason == NULL);
        if (parsed)
            assert_int_equal(nanoseconds, cases[i].nanoseconds);
        else
            assert_string_equal(buf_string(&reason), cases[i].reason);
        buf_deinit(&reason);
    }
    char text[16];
    static const int64_t values[] = {1, 99999999, 100000000, LOOP_SECOND * 100, LOOP_SECOND * 86400 * 3650};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf reason = {0};
        int64_t back = 0;
        assert_true(grpc_timeout_parse(bytes_of(text, grpc_timeout_format(text, values[i])), &back, &reason));
        assert_true(back >= values[i]);
        buf_deinit(&reason);
    }
}

static void status_text_is_percent_encoded_and_comes_back(void **state)
{
    (void)state;
    struct buf encoded = {0}, decoded = {0};
    struct bytes text = BYTES_LITERAL("50% \xc3\xa9\n\x00~end");
    grpc_percent_encode(&encoded, text);
    assert_string_equal(buf_string(&encoded), "50%25 %C3%A9%0A%00~end");
    grpc_percent_decode(&decoded, buf_bytes(&encoded));
    assert_true(bytes_equal(buf_bytes(&decoded), text));
    buf_clear(&decoded);
    grpc_percent_decode(&decoded, BYTES_LITERAL("%zz%4"));
    assert_string_equal(buf_string(&decoded), "%zz%4");
    buf_deinit(&encoded);
    buf_deinit(&decoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_run_in_the_order_of_their_times),
        cmocka_unit_test(many_timers_keep_the_heap_in_order),
        cmocka_unit_test(a_turn_returns_when_its_limit_passes_early),
        cmocka_unit_test(tasks_of_a_thread_run_in_order_on_the_loops_thread),
        cmocka_unit_test(gathered_posts_wake_every_loop_once_at_the_end),
        cmocka_unit_test(long_work_lets_others_have_their_turn),
        cmocka_unit_test(deferred_work_runs_once_a_turn_and_can_be_cancelled),
        cmocka_unit_test(chain_gives_back_what_went_in_whatever_the_pieces),
        cmocka_unit_test(chain_links_large_pieces_and_copies_small_ones),
        cmocka_unit_test(messages_survive_a_cut_at_every_byte),
        cmocka_unit_test(a_message_one_byte_over_the_limit_is_refused_by_its_prefix),
        cmocka_unit_test(a_promised_length_allocates_little_before_bytes_arrive),
        cmocka_unit_test(gzip_round_trips_and_keeps_its_limit),
        cmocka_unit_test(timeouts_parse_as_in_grpc_go),
        cmocka_unit_test(status_text_is_percent_encoded_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
