/* KV requests against a store on a simulated disk. Responses are shown as text:
 *
 *     @5 a=1(2,3,2) b=2(4,4,1)/7 more count=3
 *
 * header revision (the other header fields after it when there are any: @5:cluster,member,term; @- an empty
 * header), then key=value(create,mod,version)/lease, `more`, count. Responses of a transaction are in braces.
 */
#include "api/message.h"
#include "base/arena.h"
#include "base/memory.h"
#include "base/rng.h"
#include "mvcc/kv.h"
#include "mvcc/kv_check.h"
#include "storage/backend.h"
#include "storage/fs_sim.h"
#include "tests/unit/expect.h"
#include "tests/unit/txn_fixture.h"

#include <stdio.h>
#include <stdlib.h>

struct fixture {
    struct fs_sim *sim;
    struct backend *backend;
    struct mvcc_store *store;
    struct kv kv;
};

static bool lease_exists(void *context, int64_t lease)
{
    (void)context;
    return lease == 7;
}

static void lease_attach(void *context, int64_t lease, struct bytes key)
{
    (void)context;
    (void)lease;
    (void)key;
}

static void lease_detach(void *context, struct bytes key)
{
    (void)context;
    (void)key;
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->sim = fs_sim_new(&(struct fs_sim_options){.seed = 1});
    struct backend_options options = {.initial_map_size = 1 << 28};
    must(backend_open(fs_sim_fs(fixture->sim), "/db", &options, &fixture->backend));
    struct mvcc_options store = {.leases = {NULL, lease_exists, lease_attach, lease_detach}};
    must(mvcc_open(fixture->backend, &store, &fixture->store));
    kv_init(&fixture->kv, fixture->store);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    mvcc_close(fixture->store);
    must(backend_close(fixture->backend));
    fs_sim_free(fixture->sim);
    free(fixture);
    return 0;
}

/* ---- showing responses ---- */

static void show_kv(struct buf *out, const Mvccpb__KeyValue *kv)
{
    buf_printf(out, " %.*s=%.*s(%lld,%lld,%lld)", (int)kv->key.len, (const char *)kv->key.data,
               (int)kv->value.len, (const char *)kv->value.data, (long long)kv->create_revision,
               (long long)kv->mod_revision, (long long)kv->version);
    if (kv->lease != 0) buf_printf(out, "/%lld", (long long)kv->lease);
}

static void show_header(struct buf *out, const Etcdserverpb__ResponseHeader *header)
{
    assert_non_null(header);
    buf_append_string(out, "@");
    if (header->revision == 0)
        buf_append_string(out, "-");
    else
        buf_printf(out, "%lld", (long long)header->revision);
    if (header->cluster_id == 0 && header->member_id == 0 && header->raft_term == 0) return;
    buf_printf(out, ":%llu,%llu,%llu", (unsigned long long)header->cluster_id,
               (unsigned long long)header->member_id, (unsigned long long)header->raft_term);
}

static void show_range(struct buf *out, const Etcdserverpb__RangeResponse *range)
{
    show_header(out, range->header);
    for (size_t i = 0; i < range->n_kvs; i++) show_kv(out, range->kvs[i]);
    if (range->more) buf_append_string(out, " more");
    buf_printf(out, " count=%lld", (long long)range->count);
}

static void show_put(struct buf *out, const Etcdserverpb__PutResponse *put)
{
    show_header(out, put->header);
    buf_append_string(out, " put");
    if (put->prev_kv != NULL) show_kv(out, put->prev_kv);
}

static void show_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *deletion)
{
    show_header(out, deletion->header);
    buf_printf(out, " deleted=%lld", (long long)deletion->deleted);
    for (size_t i = 0; i < deletion->n_prev_kvs; i++) show_kv(out, deletion->prev_kvs[i]);
}

static void show_txn(struct buf *out, const Etcdserverpb__TxnResponse *txn)
{
    show_header(out, txn->header);
    buf_append_string(out, txn->succeeded ? " yes" : " no");
    for (size_t i = 0; i < txn->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = txn->responses[i];
        buf_append_string(out, " {");
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            show_range(out, op->response_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            show_put(out, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            show_delete(out, op->response_delete_range);
            break;
        default:
            show_txn(out, op->response_txn);
            break;
        }
        buf_append_string(out, "}");
    }
}

/* ---- making and running requests ---- */

#define RANGE(...)     (&(Etcdserverpb__RangeRequest){__VA_ARGS__})
#define PUT(k, v, ...) (&(Etcdserverpb__PutRequest){.key = B(k), .value = B(v), __VA_ARGS__})
#define DELETE(k, ...) (&(Etcdserverpb__DeleteRangeRequest){.key = B(k), __VA_ARGS__})
#define OP_RANGE(...)  OP(RANGE, .request_range = RANGE(__VA_ARGS__))
#define OP_PUT(...)    OP(PUT, .request_put = PUT(__VA_ARGS__))
#define OP_DELETE(...) OP(DELETE_RANGE, .request_delete_range = DELETE(__VA_ARGS__))
#define OP_TXN(...)    OP(TXN, .request_txn = TXN(__VA_ARGS__))
#define COMPARE(t, r, ...)                                                                                   \
    (&(Etcdserverpb__Compare){.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__##t,                          \
                              .result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__##r,                          \
                              __VA_ARGS__})
#define WITH_VERSION(n) .target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, .version = (n)
#define WITH_CREATE(n)                                                                                       \
    .target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION, .create_revision = (n)
#define WITH_MOD(n)   .target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, .mod_revision = (n)
#define WITH_VALUE(v) .target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE, .value = B(v)
#define WITH_LEASE(n) .target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE, .lease = (n)
#define ALWAYS        COMPARE(VERSION, EQUAL, .key = B("absent"))
#define NEVER         COMPARE(VERSION, GREATER, .key = B("absent"))
#define ALL           .key = B("\0"), .range_end = B("\0")

static const struct kv_header test_header = {0, 0, 0};

typedef struct error *execute(struct kv *kv, const void *request, struct buf *response,
                              enum api_error *status);
typedef void show(struct buf *out, const void *response);

/* Decodes with the real message library, so a response that is not well-formed fails here. */
static void assert_response(struct fixture *fixture, execute *run, const void *request,
                            const ProtobufCMessageDescriptor *descriptor, show *shown, const char *expected)
{
    struct buf response = {0}, text = {0};
    enum api_error status;
    must(run(&fixture->kv, request, &response, &status));
    if (status != API_OK) {
        assert_int_equal(response.size, 0);
        assert_string_equal(api_error_text(status), expected);
        buf_deinit(&response);
        return;
    }
    struct arena *arena = arena_new();
    ProtobufCMessage *message = message_unpack(descriptor, buf_bytes(&response), arena, NULL);
    assert_non_null(message);
    struct buf packed = {0};
    message_pack(&packed, message);
    assert_int_equal(packed.size, response.size);
    assert_memory_equal(packed.data, response.data, packed.size);
    shown(&text, message);
    assert_string_equal(buf_string(&text), expected);
    buf_deinit(&packed);
    buf_deinit(&text);
    buf_deinit(&response);
    arena_free(arena);
}

static struct error *run_range(struct kv *kv, const void *request, struct buf *response,
                               enum api_error *status)
{
    return kv_range(kv, request, &test_header, response, NULL, status);
}

static uint64_t finish_range(struct kv_range_job *job, struct buf *response)
{
    struct blob_list pieces = {0};
    uint64_t written = kv_range_finish(job, &pieces);
    for (size_t i = 0; i < pieces.count; i++) buf_append_bytes(response, blob_bytes(pieces.items[i]));
    blob_list_deinit(&pieces);
    return written;
}

static size_t slice_keys;

static struct error *run_sliced_range(struct kv *kv, const void *request, struct buf *response,
                                      enum api_error *status)
{
    struct kv_range_job *job = kv_range_begin(kv, request, &test_header, status);
    if (job == NULL) return NULL;
    bool done = false;
    while (!done) must(kv_range_step(job, slice_keys, &done));
    finish_range(job, response);
    return NULL;
}

static struct error *run_put(struct kv *kv, const void *request, struct buf *response, enum api_error *status)
{
    return kv_put(kv, request, &test_header, response, status);
}

static struct error *run_delete(struct kv *kv, const void *request, struct buf *response,
                                enum api_error *status)
{
    return kv_delete_range(kv, request, &test_header, response, status);
}

static struct error *run_txn(struct kv *kv, const void *request, struct buf *response, enum api_error *status)
{
    return kv_txn(kv, request, &test_header, response, status);
}

static void show_range_message(struct buf *out, const void *message)
{
    show_range(out, message);
}

static void show_put_message(struct buf *out, const void *message)
{
    show_put(out, message);
}

static void show_delete_message(struct buf *out, const void *message)
{
    show_delete(out, message);
}

static void show_txn_message(struct buf *out, const void *message)
{
    show_txn(out, message);
}

/* The same answer in one go and in slices of every size. */
static void assert_range(struct fixture *fixture, const Etcdserverpb__RangeRequest *request,
                         const char *expected)
{
    const ProtobufCMessageDescriptor *descriptor = &etcdserverpb__range_response__descriptor;
    assert_response(fixture, run_range, request, descriptor, show_range_message, expected);
    for (slice_keys = 1; slice_keys <= 5; slice_keys++)
        assert_response(fixture, run_sliced_range, request, descriptor, show_range_message, expected);
}

static void assert_put(struct fixture *fixture, const Etcdserverpb__PutRequest *request, const char *expected)
{
    assert_int_equal(kv_check_put(request), API_OK);
    assert_response(fixture, run_put, request, &etcdserverpb__put_response__descriptor, show_put_message,
                    expected);
}

static void assert_delete(struct fixture *fixture, const Etcdserverpb__DeleteRangeRequest *request,
                          const char *expected)
{
    assert_int_equal(kv_check_delete_range(request), API_OK);
    assert_response(fixture, run_delete, request, &etcdserverpb__delete_range_response__descriptor,
                    show_delete_message, expected);
}

static void assert_txn(struct fixture *fixture, const Etcdserverpb__TxnRequest *request, const char *expected)
{
    assert_int_equal(kv_check_txn(request, KV_MAX_TXN_OPERATIONS_DEFAULT), API_OK);
    assert_response(fixture, run_txn, request, &etcdserverpb__txn_response__descriptor, show_txn_message,
                    expected);
}

static void compact(struct fixture *fixture, int64_t revision)
{
    int64_t finished;
    assert_int_equal(mvcc_compact_start(fixture->store, revision), MVCC_OK);
    must(mvcc_compact_step(fixture->store, 1000, &finished));
    assert_int_equal(finished, revision);
}

/* a=1 at 2, b=2 at 3, c=3 at 4, b=9 at 5, d=0 with lease 7 at 6, e put at 7 and deleted at 8. */
static void write_some(struct fixture *fixture)
{
    assert_put(fixture, PUT("a", "1"), "@2 put");
    assert_put(fixture, PUT("b", "2"), "@3 put");
    assert_put(fixture, PUT("c", "3"), "@4 put");
    assert_put(fixture, PUT("b", "9"), "@5 put");
    assert_put(fixture, PUT("d", "0", .lease = 7), "@6 put");
    assert_put(fixture, PUT("e", "x"), "@7 put");
    assert_delete(fixture, DELETE("e"), "@8 deleted=1");
}

#define A  " a=1(2,2,1)"
#define B2 " b=2(3,3,1)"
#define B9 " b=9(3,5,2)"
#define C  " c=3(4,4,1)"
#define D  " d=0(6,6,1)/7"

/* ---- ranges ---- */

static void ranges_read_keys_spans_and_everything(void **state)
{
    struct fixture *fixture = *state;
    assert_range(fixture, RANGE(ALL), "@1 count=0");
    write_some(fixture);
    assert_range(fixture, RANGE(.key = B("a")), "@8" A " count=1");
    assert_range(fixture, RANGE(.key = B("e")), "@8 count=0");
    assert_range(fixture, RANGE(.key = B("ab")), "@8 count=0");
    assert_range(fixture, RANGE(ALL), "@8" A B9 C D " count=4");
    assert_range(fixture, RANGE(.key = B("b"), .range_end = B("d")), "@8" B9 C " count=2");
    assert_range(fixture, RANGE(.key = B("b"), .range_end = B("\0")), "@8" B9 C D " count=3");
    assert_range(fixture, RANGE(.key = B("c"), .range_end = B("b")), "@8 count=0");
    assert_range(fixture, RANGE(.key = B("c"), .range_end = B("c")), "@8 count=0");
}

static void ranges_read_the_past_and_say_the_present_revision(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_range(fixture, RANGE(ALL, .revision = 3), "@8" A B2 " count=2");
    assert_range(fixture, RANGE(.key = B("e"), .revision = 7), "@8 e=x(7,7,1) count=1");
    assert_range(fixture, RANGE(ALL, .revision = 1), "@8 count=0");
    assert_range(fixture, RANGE(ALL, .revision = -3), "@8" A B9 C D " count=4");
    assert_range(fixture, RANGE(ALL, .revision = 9),
                 "etcdserver: mvcc: required revision is a future revision");
    compact(fixture, 5);
    assert_range(fixture, RANGE(ALL, .revision = 5), "@8" A B9 C " count=3");
    assert_range(fixture, RANGE(ALL, .revision = 4),
                 "etcdserver: mvcc: required revision has been compacted");
}

static void limits_cut_and_count_does_not(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_range(fixture, RANGE(ALL, .limit = 2), "@8" A B9 " more count=4");
    assert_range(fixture, RANGE(ALL, .limit = 4), "@8" A B9 C D " count=4");
    assert_range(fixture, RANGE(ALL, .limit = 5), "@8" A B9 C D " count=4");
    assert_range(fixture, RANGE(ALL, .limit = -1), "@8" A B9 C D " count=4");
    assert_range(fixture, RANGE(ALL, .limit = 1, .revision = 4), "@8" A " more count=3");
    assert_range(fixture, RANGE(ALL, .limit = 1, .count_only = true), "@8 count=4");
    assert_range(fixture, RANGE(ALL, .count_only = true, .revision = 3), "@8 count=2");
    assert_range(fixture, RANGE(ALL, .count_only = true, .min_mod_revision = 6), "@8 count=4");
    assert_range(fixture, RANGE(.key = B("a"), .limit = 1), "@8" A " count=1");
}

static void filters_come_before_the_limit_and_not_before_the_count(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_range(fixture, RANGE(ALL, .min_mod_revision = 5), "@8" B9 D " count=4");
    assert_range(fixture, RANGE(ALL, .max_mod_revision = 4), "@8" A C " count=4");
    assert_range(fixture, RANGE(ALL, .min_create_revision = 3, .max_create_revision = 4),
                 "@8" B9 C " count=4");
    assert_range(fixture, RANGE(ALL, .min_mod_revision = 5, .limit = 1), "@8" B9 " more count=4");
    assert_range(fixture, RANGE(ALL, .min_mod_revision = 5, .limit = 2), "@8" B9 D " count=4");
    assert_range(fixture, RANGE(ALL, .min_mod_revision = 99), "@8 count=4");
    assert_range(fixture, RANGE(.key = B("a"), .min_mod_revision = 3), "@8 count=1");
}

#define SORT(order, target)                                                                                  \
    .sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__##order,                                          \
    .sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__##target

static void results_are_sorted_by_every_target(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_range(fixture, RANGE(ALL, SORT(ASCEND, KEY)), "@8" A B9 C D " count=4");
    assert_range(fixture, RANGE(ALL, SORT(DESCEND, KEY)), "@8" D C B9 A " count=4");
    assert_range(fixture, RANGE(ALL, SORT(ASCEND, VERSION)), "@8" A C D B9 " count=4");
    assert_range(fixture, RANGE(ALL, SORT(DESCEND, VERSION)), "@8" B9 A C D " count=4");
    assert_range(fixture, RANGE(ALL, SORT(DESCEND, CREATE)), "@8" D C B9 A " count=4");
    assert_range(fixture, RANGE(ALL, SORT(ASCEND, MOD)), "@8" A C B9 D " count=4");
    assert_range(fixture, RANGE(ALL, SORT(DESCEND, MOD), .limit = 2), "@8" D B9 " more count=4");
    assert_range(fixture, RANGE(ALL, SORT(ASCEND, VALUE)), "@8" D A C B9 " count=4");
    assert_range(fixture, RANGE(ALL, SORT(DESCEND, VALUE), .limit = 1), "@8" B9 " more count=4");
    assert_range(fixture, RANGE(ALL, SORT(ASCEND, MOD), .min_mod_revision = 4), "@8" C B9 D " count=4");
}

/* Without an order the limit is applied in key order, and what it left is then sorted. */
static void a_target_without_order_sorts_after_the_limit(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_range(fixture, RANGE(ALL, SORT(NONE, VALUE)), "@8" D A C B9 " count=4");
    assert_range(fixture, RANGE(ALL, SORT(NONE, VALUE), .limit = 3), "@8" D A C " more count=4");
    assert_range(fixture, RANGE(ALL, SORT(NONE, VALUE), .limit = 2), "@8" A C " more count=4");
    assert_range(fixture, RANGE(ALL, SORT(NONE, MOD), .limit = 2), "@8" A C " more count=4");
    assert_range(fixture, RANGE(ALL, SORT(ASCEND, VALUE), .limit = 2), "@8" D A " more count=4");
    assert_range(fixture, RANGE(ALL, SORT(NONE, VALUE), .limit = 2, .max_mod_revision = 9),
                 "@8" D A " more count=4");
}

static void keys_only_leaves_out_values(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_range(fixture, RANGE(ALL, .keys_only = true),
                 "@8 a=(2,2,1) b=(3,5,2) c=(4,4,1) d=(6,6,1) count=4");
    assert_range(fixture, RANGE(ALL, .keys_only = true, SORT(DESCEND, KEY), .limit = 1),
                 "@8 d=(6,6,1) more count=4");
    /* Sorted by the values that it does not show. */
    assert_range(fixture, RANGE(ALL, .keys_only = true, SORT(ASCEND, VALUE)),
                 "@8 d=(6,6,1)/7 a=(2,2,1) c=(4,4,1) b=(3,5,2) count=4");
    assert_range(fixture, RANGE(.key = B("b"), .keys_only = true, .revision = 3), "@8 b=(3,3,1) count=1");
}

static void a_sliced_range_stays_at_its_revision(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    enum api_error status;
    struct kv_range_job *job = kv_range_begin(&fixture->kv, RANGE(ALL), &test_header, &status);
    bool done = false;
    must(kv_range_step(job, 1, &done));
    assert_put(fixture, PUT("aa", "new"), "@9 put");
    assert_delete(fixture, DELETE("b"), "@10 deleted=1");
    assert_put(fixture, PUT("c", "new"), "@11 put");
    assert_int_equal(mvcc_compact_start(fixture->store, 11), MVCC_OK);
    while (!done) {
        assert_false(mvcc_compact_pending(fixture->store)); /* it waits */
        must(kv_range_step(job, 1, &done));
    }
    struct buf response = {0};
    assert_int_equal(finish_range(job, &response), 4);
    assert_true(mvcc_compact_pending(fixture->store));
    struct arena *arena = arena_new();
    struct buf text = {0};
    show_range_message(&text, message_unpack(&etcdserverpb__range_response__descriptor, buf_bytes(&response),
                                             arena, NULL));
    assert_string_equal(buf_string(&text), "@8" A B9 C D " count=4");
    buf_deinit(&text);
    buf_deinit(&response);
    arena_free(arena);
    job = kv_range_begin(&fixture->kv, RANGE(ALL), &test_header, &status);
    must(kv_range_step(job, 1, &done));
    assert_false(done);
    kv_range_finish(job, NULL);
}

/* No slice copies much, however many keys it may look at, and no piece is large. */
static void a_large_answer_comes_in_pieces(void **state)
{
    struct fixture *fixture = *state;
    enum { VALUE_SIZE = 100000, KEYS = 60 };
    static const Etcdserverpb__RangeRequest__SortTarget targets[] = {
        ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY, ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE};
    char *value = mem_zalloc(1, VALUE_SIZE + 1);
    memset(value, 'v', VALUE_SIZE);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[8];
        enum api_error status;
        snprintf(key, sizeof(key), "k%02u", i);
        Etcdserverpb__PutRequest put = {.key = {3, (uint8_t *)key}, .value = {VALUE_SIZE, (uint8_t *)value}};
        must(kv_put(&fixture->kv, &put, &test_header, NULL, &status));
        assert_int_equal(status, API_OK);
    }
    for (size_t i = 0; i < 2; i++) {
        Etcdserverpb__RangeRequest *request = RANGE(ALL, .sort_target = targets[i]);
        struct buf whole = {0};
        enum api_error status;
        must(kv_range(&fixture->kv, request, &test_header, &whole, NULL, &status));
        struct kv_range_job *job = kv_range_begin(&fixture->kv, request, &test_header, &status);
        unsigned slices = 0;
        for (bool done = false; !done; slices++) must(kv_range_step(job, SIZE_MAX, &done));
        assert_true(slices >= KEYS * VALUE_SIZE / (1200 * 1024));
        struct blob_list pieces = {0};
        struct buf joined = {0};
        assert_int_equal(kv_range_finish(job, &pieces), KEYS);
        for (size_t j = 0; j < pieces.count; j++) {
            assert_true(pieces.items[j]->size < 256 * 1024 + VALUE_SIZE + 100);
            buf_append_bytes(&joined, blob_bytes(pieces.items[j]));
        }
        assert_int_equal(joined.size, pieces.size);
        assert_true(bytes_equal(buf_bytes(&joined), buf_bytes(&whole)));
        blob_list_deinit(&pieces);
        buf_deinit(&joined);
        buf_deinit(&whole);
    }
    free(value);
}

/* ---- puts and deletes ---- */

static void puts_report_and_reuse_the_previous_value(void **state)
{
    struct fixture *fixture = *state;
    assert_put(fixture, PUT("a", "1", .prev_kv = true), "@2 put");
    assert_put(fixture, PUT("a", "2", .prev_kv = true, .lease = 7), "@3 put" A);
    assert_put(fixture, PUT("a", "", .ignore_value = true, .prev_kv = true), "@4 put a=2(2,3,2)/7");
    assert_range(fixture, RANGE(.key = B("a")), "@4 a=2(2,4,3) count=1");
    assert_put(fixture, PUT("a", "3", .lease = 7), "@5 put");
    assert_put(fixture, PUT("a", "4", .ignore_lease = true), "@6 put");
    assert_range(fixture, RANGE(.key = B("a")), "@6 a=4(2,6,5)/7 count=1");
    assert_put(fixture, PUT("a", "", .ignore_lease = true, .ignore_value = true), "@7 put");
    assert_range(fixture, RANGE(.key = B("a")), "@7 a=4(2,7,6)/7 count=1");
    assert_put(fixture, PUT("a", ""), "@8 put");
    assert_range(fixture, RANGE(.key = B("a")), "@8 a=(2,8,7) count=1");
    assert_delete(fixture, DELETE("a", .prev_kv = true), "@9 deleted=1 a=(2,8,7)");
    assert_put(fixture, PUT("a", "5", .prev_kv = true), "@10 put");
    assert_range(fixture, RANGE(.key = B("a")), "@10 a=5(10,10,1) count=1");
}

static void refused_puts_take_no_revision_and_tell_no_changes(void **state)
{
    struct fixture *fixture = *state;
    assert_put(fixture, PUT("a", "1"), "@2 put");
    assert_int_equal(fixture->kv.change_count, 1);
    assert_put(fixture, PUT("a", "1", .lease = 8), "etcdserver: requested lease not found");
    assert_int_equal(fixture->kv.change_count, 0);
    assert_put(fixture, PUT("b", "", .ignore_value = true), "etcdserver: key not found");
    assert_put(fixture, PUT("b", "", .ignore_lease = true), "etcdserver: key not found");
    assert_put(fixture, PUT("b", "", .ignore_value = true, .lease = 8),
               "etcdserver: requested lease not found");
    assert_int_equal(mvcc_revision(fixture->store), 2);
}

static void deletes_report_what_they_deleted(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_delete(fixture, DELETE("x"), "@8 deleted=0");
    assert_delete(fixture, DELETE("c", .range_end = B("b")), "@8 deleted=0");
    assert_delete(fixture, DELETE("b", .range_end = B("d"), .prev_kv = true), "@9 deleted=2" B9 C);
    assert_int_equal(fixture->kv.change_count, 2);
    assert_true(fixture->kv.changes[1].deleted);
    assert_int_equal(fixture->kv.changes[1].revision.sub, 1);
    assert_delete(fixture, DELETE("\0", .range_end = B("\0")), "@10 deleted=2");
    assert_delete(fixture, DELETE("\0", .range_end = B("\0"), .prev_kv = true), "@10 deleted=0");
    assert_int_equal(fixture->kv.change_count, 0);
}

static void a_revocation_deletes_its_keys_in_one_revision(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    struct bytes keys[] = {BYTES_LITERAL("a"), BYTES_LITERAL("d"), BYTES_LITERAL("gone")};
    kv_revoke(&fixture->kv, keys, 3);
    assert_int_equal(fixture->kv.change_count, 2);
    assert_int_equal(mvcc_revision(fixture->store), 9);
    kv_revoke(&fixture->kv, keys, 3);
    assert_int_equal(fixture->kv.change_count, 0);
    assert_int_equal(mvcc_revision(fixture->store), 9);
}

static void headers_carry_what_the_node_knows(void **state)
{
    struct fixture *fixture = *state;
    struct buf response = {0}, shown = {0};
    struct arena *arena = arena_new();
    enum api_error status;
    struct kv_header header = {UINT64_MAX, 300, 2};
    must(kv_put(&fixture->kv, PUT("a", "1"), &header, &response, &status));
    show_put(&shown, (const void *)message_unpack(&etcdserverpb__put_response__descriptor,
                                                  buf_bytes(&response), arena, NULL));
    assert_string_equal(buf_string(&shown), "@2:18446744073709551615,300,2 put");
    buf_deinit(&response);
    buf_deinit(&shown);
    arena_free(arena);
}

/* ---- transactions ---- */

static void compares_choose_the_branch(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    static const struct {
        Etcdserverpb__Compare compare;
        bool holds;
    } cases[] = {
#define CASE(expected, t, r, ...)                                                                            \
    {{.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__##t,                                                  \
      .result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__##r,                                                  \
      __VA_ARGS__},                                                                                          \
     expected}
#define KEY(k) .key = {sizeof(k) - 1, (uint8_t *)(uintptr_t)(k)}
#define END(k) .range_end = {sizeof(k) - 1, (uint8_t *)(uintptr_t)(k)}
#define CASE_VALUE(v)                                                                                        \
    .target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,                                          \
    .value = {sizeof(v) - 1, (uint8_t *)(uintptr_t)(v)}
        CASE(true, VERSION, EQUAL, KEY("b"), WITH_VERSION(2)),
        CASE(false, VERSION, NOT_EQUAL, KEY("b"), WITH_VERSION(2)),
        CASE(true, VERSION, GREATER, KEY("b"), WITH_VERSION(1)),
        CASE(false, VERSION, LESS, KEY("b"), WITH_VERSION(2)),
        CASE(true, CREATE, EQUAL, KEY("b"), WITH_CREATE(3)),
        CASE(true, MOD, EQUAL, KEY("b"), WITH_MOD(5)),
        CASE(true, VALUE, EQUAL, KEY("b"), CASE_VALUE("9")),
        CASE(true, VALUE, LESS, KEY("b"), CASE_VALUE("99")),
        CASE(false, VALUE, GREATER, KEY("b"), CASE_VALUE("99")),
        CASE(true, LEASE, EQUAL, KEY("d"), WITH_LEASE(7)),
        CASE(true, LEASE, EQUAL, KEY("a"), WITH_LEASE(0)),
        /* a missing key: numbers are zero, no value holds */
        CASE(true, VERSION, EQUAL, KEY("x"), WITH_VERSION(0)),
        CASE(true, MOD, LESS, KEY("e"), WITH_MOD(1)),
        CASE(true, LEASE, EQUAL, KEY("x"), WITH_LEASE(0)),
        CASE(false, VALUE, EQUAL, KEY("x"), CASE_VALUE("")),
        CASE(false, VALUE, NOT_EQUAL, KEY("x"), CASE_VALUE("1")),
        /* a member of the union that is not the target's counts as zero */
        CASE(false, VERSION, EQUAL, KEY("b"), WITH_MOD(2)),
        CASE(true, VERSION, EQUAL, KEY("x"), WITH_MOD(2)),
        CASE(true, VALUE, GREATER, KEY("b"), WITH_MOD(2)),
        /* ranges: every key */
        CASE(true, VERSION, LESS, KEY("a"), END("c"), WITH_VERSION(3)),
        CASE(false, VERSION, LESS, KEY("a"), END("c"), WITH_VERSION(2)),
        CASE(true, VERSION, LESS, KEY("c"), END("\0"), WITH_VERSION(2)),
        CASE(true, CREATE, GREATER, KEY("\0"), END("\0"), WITH_CREATE(1)),
        CASE(true, MOD, EQUAL, KEY("x"), END("z"), WITH_MOD(0)),
        CASE(false, VALUE, NOT_EQUAL, KEY("x"), END("z"), CASE_VALUE("1")),
        CASE(true, CREATE, EQUAL, KEY("c"), END("b"), WITH_CREATE(0)),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Etcdserverpb__Compare compare = cases[i].compare;
        assert_txn(fixture, TXN(IF(&compare)), cases[i].holds ? "@8 yes" : "@8 no");
        assert_txn(fixture, TXN(IF(ALWAYS, &compare)), cases[i].holds ? "@8 yes" : "@8 no");
        compare.result = 17;
        if (cases[i].holds) assert_txn(fixture, TXN(IF(&compare)), "@8 yes");
    }
    assert_txn(fixture, TXN(THEN(OP_RANGE(.key = B("a")))), "@8 yes {@8" A " count=1}");
    assert_txn(fixture, TXN(IF(NEVER), ELSE(OP_RANGE(.key = B("c")))), "@8 no {@8" C " count=1}");
    Etcdserverpb__Compare unknown = {.key = B("b"), .target = 99};
    assert_txn(fixture, TXN(IF(&unknown)), "@8 yes");
}

static void a_transaction_has_one_revision_and_sees_its_own_writes(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_txn(fixture,
               TXN(THEN(OP_RANGE(.key = B("a")), OP_PUT("a", "2", .prev_kv = true), OP_RANGE(.key = B("a")),
                        OP_DELETE("b", .prev_kv = true), OP_DELETE("x"), OP_RANGE(ALL, .count_only = true),
                        OP_RANGE(.key = B("b"), .revision = 8))),
               "@9 yes {@8" A " count=1} {@9 put" A "} {@9 a=2(2,9,2) count=1} {@9 deleted=1" B9
               "} {@9 deleted=0}"
               " {@9 count=3} {@9" B9 " count=1}");
    assert_int_equal(fixture->kv.change_count, 2);
    assert_txn(fixture, TXN(THEN(OP_DELETE("x"), OP_RANGE(.key = B("x")))),
               "@9 yes {@9 deleted=0} {@9 count=0}");
    assert_int_equal(mvcc_revision(fixture->store), 9);
}

static void an_empty_transaction_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    assert_txn(fixture, TXN(0), "@1 yes");
    assert_txn(fixture, TXN(IF(NEVER)), "@1 no");
    assert_int_equal(mvcc_revision(fixture->store), 1);
}

/* The header's size depends on the revision, which is known only at the end. */
static void the_header_fits_at_the_edge_of_its_encoding(void **state)
{
    struct fixture *fixture = *state;
    for (int64_t i = 2; i <= 127; i++) {
        enum api_error status;
        must(kv_put(&fixture->kv, PUT("a", "1"), &test_header, NULL, &status));
    }
    assert_txn(fixture, TXN(THEN(OP_DELETE("x"))), "@127 yes {@127 deleted=0}");
    assert_txn(fixture, TXN(THEN(OP_DELETE("a"))), "@128 yes {@128 deleted=1}");
}

static void nested_transactions_compare_with_the_state_before(void **state)
{
    struct fixture *fixture = *state;
    assert_put(fixture, PUT("a", "1"), "@2 put");
    assert_txn(fixture,
               TXN(THEN(OP_PUT("b", "2"),
                        OP_TXN(IF(COMPARE(VERSION, GREATER, .key = B("b"), WITH_VERSION(0))),
                               THEN(OP_PUT("c", "seen")), ELSE(OP_PUT("c", "unseen"))),
                        OP_TXN(IF(COMPARE(VALUE, EQUAL, .key = B("a"), WITH_VALUE("1"))),
                               THEN(OP_TXN(THEN(OP_RANGE(.key = B("c"))))), ELSE(OP_DELETE("a"))))),
               "@3 yes {@3 put} {@- no {@3 put}} {@- yes {@- yes {@3 c=unseen(3,3,1) count=1}}}");
    assert_int_equal(fixture->kv.change_count, 2);
    assert_int_equal(fixture->kv.changes[1].revision.sub, 1);
}

static void a_refusal_anywhere_on_the_path_leaves_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    compact(fixture, 4);
    const char *future = "etcdserver: mvcc: required revision is a future revision";
    const char *compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_txn(fixture, TXN(THEN(OP_PUT("z", "1"), OP_RANGE(.key = B("z"), .revision = 9))), future);
    assert_txn(fixture, TXN(THEN(OP_PUT("z", "1"), OP_RANGE(.key = B("z"), .revision = 3))), compacted);
    assert_txn(fixture, TXN(THEN(OP_PUT("z", "1"), OP_RANGE(.key = B("z"), .revision = -1))), compacted);
    assert_txn(fixture, TXN(THEN(OP_RANGE(.key = B("z"), .revision = -1))), compacted);
    assert_txn(fixture, TXN(THEN(OP_PUT("z", "1"), OP_TXN(THEN(OP_PUT("y", "1", .lease = 8))))),
               "etcdserver: requested lease not found");
    assert_txn(fixture, TXN(THEN(OP_PUT("z", "1"), OP_PUT("y", "", .ignore_value = true))),
               "etcdserver: key not found");
    /* ... judged by the state before: a key made by an earlier operation does not count */
    assert_txn(fixture,
               TXN(THEN(OP_TXN(THEN(OP_RANGE(.key = B("a")))), OP_PUT("z", "1"),
                        OP_PUT("y", "", .ignore_lease = true))),
               "etcdserver: key not found");
    assert_int_equal(mvcc_revision(fixture->store), 8);
    /* The branch not taken does not matter. */
    assert_txn(fixture, TXN(THEN(OP_PUT("z", "1")), ELSE(OP_PUT("y", "", .ignore_value = true))),
               "@9 yes {@9 put}");
    assert_txn(fixture,
               TXN(IF(NEVER), THEN(OP_RANGE(.key = B("z"), .revision = 100)), ELSE(OP_PUT("z", "2"))),
               "@10 no {@10 put}");
}

static void a_negative_revision_in_a_transaction_is_fine_until_something_is_compacted(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_txn(fixture, TXN(THEN(OP_RANGE(.key = B("a"), .revision = -1))), "@8 yes {@8" A " count=1}");
    assert_txn(fixture, TXN(THEN(OP_RANGE(.key = B("a"), .revision = -2))),
               "etcdserver: mvcc: required revision has been compacted");
}

/* The open-ended delete passes etcd's duplicate check; etcd then crashes. */
static void a_value_deleted_by_the_same_transaction_cannot_be_reused(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    assert_txn(fixture,
               TXN(THEN(OP_DELETE("a", .range_end = B("\0")), OP_PUT("b", "", .ignore_value = true))),
               "etcdserver: key not found");
    assert_txn(fixture,
               TXN(THEN(OP_DELETE("c", .range_end = B("\0")), OP_PUT("b", "", .ignore_value = true))),
               "@9 yes {@9 deleted=2} {@9 put}");
    assert_txn(fixture, TXN(THEN(OP_PUT("b", "5"), OP_DELETE("a", .range_end = B("\0")))),
               "@10 yes {@10 put} {@10 deleted=2}");
    assert_int_equal(fixture->kv.change_count, 3);
}

/* etcd issue 18667: a member that owes nobody an answer must come to the same state as the one that does. */
static void members_without_a_waiting_client_do_the_same(void **state)
{
    struct fixture *fixture = *state;
    write_some(fixture);
    enum api_error status;
    must(kv_txn(&fixture->kv, TXN(THEN(OP_PUT("a", "2"), OP_RANGE(.key = B("a"), .revision = 99))),
                &test_header, NULL, &status));
    assert_int_equal(status, API_ERROR_FUTURE_REVISION);
    assert_int_equal(mvcc_revision(fixture->store), 8);
    must(kv_txn(&fixture->kv,
                TXN(THEN(OP_PUT("a", "2", .prev_kv = true), OP_DELETE("b", .prev_kv = true), OP_RANGE(ALL),
                         OP_TXN(THEN(OP_PUT("c", "", .ignore_value = true))))),
                &test_header, NULL, &status));
    assert_int_equal(status, API_OK);
    assert_range(fixture, RANGE(ALL), "@9 a=2(2,9,2) c=3(4,9,2)" D " count=3");
    must(kv_delete_range(&fixture->kv, DELETE("a", .prev_kv = true), &test_header, NULL, &status));
    assert_range(fixture, RANGE(ALL, .count_only = true), "@10 count=2");
}

/* ---- sorted and sliced ranges against the plain sort of everything ---- */

static int compare_by(const Mvccpb__KeyValue *a, const Mvccpb__KeyValue *b, int target)
{
    int64_t x = target == 1 ? a->version : target == 2 ? a->create_revision : a->mod_revision;
    int64_t y = target == 1 ? b->version : target == 2 ? b->create_revision : b->mod_revision;
    if (target == 0) return bytes_compare(message_bytes(a->key), message_bytes(b->key));
    if (target == 4) return bytes_compare(message_bytes(a->value), message_bytes(b->value));
    return (x > y) - (x < y);
}

static Etcdserverpb__RangeResponse *decoded_range(struct fixture *fixture,
                                                  const Etcdserverpb__RangeRequest *request,
                                                  struct arena *arena, bool sliced)
{
    struct buf response = {0};
    enum api_error status;
    must((sliced ? run_sliced_range : run_range)(&fixture->kv, request, &response, &status));
    assert_int_equal(status, API_OK);
    ProtobufCMessage *message = message_unpack(&etcdserverpb__range_response__descriptor,
                                               arena_copy(arena, buf_bytes(&response)), arena, NULL);
    assert_non_null(message);
    buf_deinit(&response);
    return (Etcdserverpb__RangeResponse *)message;
}

static void sorted_ranges_agree_with_a_plain_sort(void **state)
{
    struct fixture *fixture = *state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < 400; i++) {
        char key[8], value[8];
        Etcdserverpb__PutRequest put = {0};
        put.key = (ProtobufCBinaryData){(size_t)snprintf(key, 8, "%u", (unsigned)rng_below(&rng, 150)),
                                        (uint8_t *)key};
        put.value = (ProtobufCBinaryData){(size_t)snprintf(value, 8, "%u", (unsigned)rng_below(&rng, 20)),
                                          (uint8_t *)value};
        enum api_error status;
        must(kv_put(&fixture->kv, &put, &test_header, NULL, &status));
    }
    for (int round = 0; round < 300; round++) {
        struct arena *arena = arena_new();
        Etcdserverpb__RangeRequest request = {ALL};
        Etcdserverpb__RangeResponse *all = decoded_range(fixture, &request, arena, false);
        request.sort_order = 1 + (int)rng_below(&rng, 2);
        request.sort_target = (int)rng_below(&rng, 5);
        request.limit = (int64_t)rng_below(&rng, 170);
        slice_keys = 1 + rng_below(&rng, 40);
        /* a stable insertion sort of everything */
        for (size_t i = 1; i < all->n_kvs; i++) {
            Mvccpb__KeyValue *moved = all->kvs[i];
            size_t at = i;
            while (at > 0 && (request.sort_order == 1
                                  ? compare_by(moved, all->kvs[at - 1], (int)request.sort_target)
                                  : compare_by(all->kvs[at - 1], moved, (int)request.sort_target)) < 0) {
                all->kvs[at] = all->kvs[at - 1];
                at--;
            }
            all->kvs[at] = moved;
        }
        Etcdserverpb__RangeResponse *answer = decoded_range(fixture, &request, arena, rng_chance(&rng, 1, 2));
        size_t expected =
            request.limit > 0 && (size_t)request.limit < all->n_kvs ? (size_t)request.limit : all->n_kvs;
        assert_int_equal(answer->n_kvs, expected);
        assert_int_equal(answer->more, expected < all->n_kvs);
        assert_int_equal(answer->count, all->n_kvs);
        for (size_t i = 0; i < expected; i++)
            assert_int_equal(answer->kvs[i]->mod_revision, all->kvs[i]->mod_revision);
        arena_free(arena);
    }
}

int main(void)
{
#define KV_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        KV_TEST(ranges_read_keys_spans_and_everything),
        KV_TEST(ranges_read_the_past_and_say_the_present_revision),
        KV_TEST(limits_cut_and_count_does_not),
        KV_TEST(filters_come_before_the_limit_and_not_before_the_count),
        KV_TEST(results_are_sorted_by_every_target),
        KV_TEST(a_target_without_order_sorts_after_the_limit),
        KV_TEST(keys_only_leaves_out_values),
        KV_TEST(a_sliced_range_stays_at_its_revision),
        KV_TEST(a_large_answer_comes_in_pieces),
        KV_TEST(puts_report_and_reuse_the_previous_value),
        KV_TEST(refused_puts_take_no_revision_and_tell_no_changes),
        KV_TEST(deletes_report_what_they_deleted),
        KV_TEST(a_revocation_deletes_its_keys_in_one_revision),
        KV_TEST(headers_carry_what_the_node_knows),
        KV_TEST(compares_choose_the_branch),
        KV_TEST(a_transaction_has_one_revision_and_sees_its_own_writes),
        KV_TEST(an_empty_transaction_changes_nothing),
        KV_TEST(the_header_fits_at_the_edge_of_its_encoding),
        KV_TEST(nested_transactions_compare_with_the_state_before),
        KV_TEST(a_refusal_anywhere_on_the_path_leaves_nothing_behind),
        KV_TEST(a_negative_revision_in_a_transaction_is_fine_until_something_is_compacted),
        KV_TEST(a_value_deleted_by_the_same_transaction_cannot_be_reused),
        KV_TEST(members_without_a_waiting_client_do_the_same),
        KV_TEST(sorted_ranges_agree_with_a_plain_sort),
    };
    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
