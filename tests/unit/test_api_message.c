#include "api/message.h"
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "etcdserver.pb-c.h"
#include "rpc.pb-c.h"

static struct error *check(const ProtobufCMessageDescriptor *descriptor, const char *bytes, size_t size)
{
    return message_check(descriptor, bytes_of(bytes, size));
}

#define CHECK(descriptor, literal) check(&(descriptor), "" literal, sizeof(literal) - 1)

static void refuse(struct error *error, const char *text)
{
    assert_non_null(error);
    assert_string_equal(error->text, text);
    error_free(error);
}

static void a_message_comes_back_as_it_was_packed(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = message_binary(BYTES_LITERAL("k\0ey"));
    put.value = message_binary(BYTES_LITERAL("value"));
    put.lease = -9;
    put.prev_kv = 1;
    struct buf packed = {0};
    message_pack(&packed, &put.base);
    struct error *error = NULL;
    const Etcdserverpb__PutRequest *read =
        (const Etcdserverpb__PutRequest *)message_unpack(&etcdserverpb__put_request__descriptor,
                                                         buf_bytes(&packed), arena, &error);
    assert_non_null(read);
    assert_null(error);
    assert_true(bytes_equal(message_bytes(read->key), BYTES_LITERAL("k\0ey")));
    assert_int_equal(read->lease, -9);
    assert_true(read->prev_kv);
    const Etcdserverpb__PutRequest *copy = (const Etcdserverpb__PutRequest *)message_copy(&read->base, arena);
    assert_true(bytes_equal(message_bytes(copy->value), BYTES_LITERAL("value")));
    buf_deinit(&packed);
    arena_free(arena);
}

static void no_bytes_are_an_empty_message(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    const ProtobufCMessage *message =
        message_unpack(&etcdserverpb__range_request__descriptor, BYTES_EMPTY, arena, NULL);
    assert_non_null(message);
    struct buf packed = {0};
    message_pack(&packed, message);
    assert_int_equal(packed.size, 0);
    buf_deinit(&packed);
    arena_free(arena);
}

/* Each level wraps the former in TxnRequest.success[0].request_txn. */
static void nest(struct buf *out, unsigned levels)
{
    struct buf inner = {0};
    for (unsigned i = 0; i < levels; i++) {
        struct buf operation = {0}, outer = {0};
        wire_bytes_field(&operation, 4, buf_bytes(&inner));
        wire_bytes_field(&outer, 2, buf_bytes(&operation));
        buf_deinit(&operation);
        buf_deinit(&inner);
        inner = outer;
    }
    buf_append_bytes(out, buf_bytes(&inner));
    buf_deinit(&inner);
}

static void nesting_is_bounded_before_protobuf_c_recurses(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct buf deep = {0};
    nest(&deep, 5000);
    struct error *error = NULL;
    assert_null(message_unpack(&etcdserverpb__txn_request__descriptor, buf_bytes(&deep), arena, &error));
    assert_true(error_is(error, ERROR_LIMIT));
    error_free(error);
    buf_clear(&deep);
    nest(&deep, MESSAGE_DEPTH_MAX / 2);
    assert_non_null(message_unpack(&etcdserverpb__txn_request__descriptor, buf_bytes(&deep), arena, NULL));
    buf_deinit(&deep);
    arena_free(arena);
}

static void strings_that_protobuf_c_would_cut_are_refused(void **state)
{
    (void)state;
    refuse(CHECK(etcdserverpb__authenticate_request__descriptor, "\x0a\x06root\0x"),
           "proto: field etcdserverpb.AuthenticateRequest.name contains a zero byte");
    refuse(CHECK(etcdserverpb__authenticate_request__descriptor, "\x0a\x02\xc3\x28"),
           "proto: field etcdserverpb.AuthenticateRequest.name contains invalid UTF-8");
    assert_null(CHECK(etcdserverpb__authenticate_request__descriptor, "\x0a\x02\xc3\xa9"));
    assert_null(CHECK(etcdserverpb__put_request__descriptor, "\x0a\x03k\0\xff"));
}

/* Each text is what etcd 3.5 answers to these bytes. */
static void malformed_bytes_are_refused_in_gos_words(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *put = &etcdserverpb__put_request__descriptor;
    refuse(CHECK(*put, "\x0a"), "unexpected EOF");
    refuse(CHECK(*put, "\xff"), "unexpected EOF");
    refuse(CHECK(*put, "\x0a\x05"
                       "abc"),
           "unexpected EOF");
    refuse(CHECK(*put, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "proto: integer overflow");
    refuse(CHECK(*put, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
           "proto: negative length found during unmarshaling");
    refuse(CHECK(*put, "\x08\x01"), "proto: wrong wireType = 0 for field Key");
    refuse(CHECK(*put, "\x22\x00"), "proto: wrong wireType = 2 for field PrevKv");
    refuse(CHECK(*put, "\x0e"), "proto: wrong wireType = 6 for field Key");
    refuse(CHECK(*put, "\x0b\x0c"), "proto: wrong wireType = 3 for field Key");
    refuse(CHECK(*put, "\x0c"), "proto: PutRequest: wiretype end group for non-group");
    refuse(CHECK(*put, "\x00"), "proto: PutRequest: illegal tag 0 (wire type 0)");
    refuse(CHECK(*put, "\x86\x08\x0a\x01k"), "proto: illegal wireType 6");
    refuse(CHECK(etcdserverpb__member_add_request__descriptor, "\x08\x01"),
           "proto: wrong wireType = 0 for field PeerURLs");
    refuse(CHECK(etcdserverpb__alarm_request__descriptor, "\x12\x01"
                                                          "a"),
           "proto: wrong wireType = 2 for field MemberID");
    refuse(CHECK(etcdserverpb__txn_request__descriptor, "\x12\x03\x12\x05k"), "unexpected EOF");
    refuse(CHECK(etcdserverpb__txn_request__descriptor, "\x12\x03\x08\x01"
                                                        "a"),
           "proto: wrong wireType = 0 for field RequestRange");
}

static void packed_arrays_may_be_sent_either_way(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    static const char packed[] = "\x2a\x02\x00\x01", plain[] = "\x28\x00\x28\x01";
    for (int i = 0; i < 2; i++) {
        struct bytes bytes = bytes_of(i == 0 ? packed : plain, 4);
        const Etcdserverpb__WatchCreateRequest *request = (const Etcdserverpb__WatchCreateRequest *)
            message_unpack(&etcdserverpb__watch_create_request__descriptor, bytes, arena, NULL);
        assert_non_null(request);
        assert_int_equal(request->n_filters, 2);
        assert_int_equal(request->filters[1], 1);
    }
    refuse(CHECK(etcdserverpb__watch_create_request__descriptor, "\x2a\x01\x80"), "unexpected EOF");
    arena_free(arena);
}

static void unknown_fields_are_allowed(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    const Etcdserverpb__PutRequest *put =
        (const Etcdserverpb__PutRequest *)message_unpack(&etcdserverpb__put_request__descriptor,
                                                         BYTES_LITERAL("\xfa\x07\x01x\x0a\x01k"), arena,
                                                         NULL);
    assert_non_null(put);
    assert_true(bytes_equal(message_bytes(put->key), BYTES_LITERAL("k")));
    arena_free(arena);
}

static void the_later_of_two_values_wins(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    const Etcdserverpb__RequestOp *operation =
        (const Etcdserverpb__RequestOp *)message_unpack(&etcdserverpb__request_op__descriptor,
                                                        BYTES_LITERAL("\x12\x03\x0a\x01p\x0a\x03\x0a\x01r"),
                                                        arena, NULL);
    assert_non_null(operation);
    assert_int_equal(operation->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    assert_true(bytes_equal(message_bytes(operation->request_range->key), BYTES_LITERAL("r")));
    arena_free(arena);
}

/* Fields of two bytes each, that would all be decoded. */
static void a_request_cannot_grow_without_bound(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        const ProtobufCMessageDescriptor *descriptor;
    } fillers[] = {
        {"\x12\x00", &etcdserverpb__txn_request__descriptor},   /* empty operations */
        {"\x18\x01", &etcdserverpb__range_request__descriptor}, /* the same limit again and again */
        {"\x78\x01", &etcdserverpb__put_request__descriptor},   /* an unknown field */
    };
    for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++) {
        struct arena *arena = arena_new();
        struct error *error = NULL;
        struct buf bytes = {0};
        for (unsigned j = 0; j < MESSAGE_REQUEST_FIELDS_MAX; j++) buf_append(&bytes, fillers[i].field, 2);
        assert_non_null(message_unpack_request(fillers[i].descriptor, buf_bytes(&bytes), arena, &error));
        assert_true(arena_footprint(arena) < 40 << 20);
        buf_append(&bytes, fillers[i].field, 2);
        assert_null(message_unpack_request(fillers[i].descriptor, buf_bytes(&bytes), arena, &error));
        refuse(error, "proto: more than 131072 fields in one request");
        assert_non_null(message_unpack(fillers[i].descriptor, buf_bytes(&bytes), arena, NULL));
        buf_deinit(&bytes);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_back_as_it_was_packed),
        cmocka_unit_test(no_bytes_are_an_empty_message),
        cmocka_unit_test(nesting_is_bounded_before_protobuf_c_recurses),
        cmocka_unit_test(strings_that_protobuf_c_would_cut_are_refused),
        cmocka_unit_test(malformed_bytes_are_refused_in_gos_words),
        cmocka_unit_test(packed_arrays_may_be_sent_either_way),
        cmocka_unit_test(unknown_fields_are_allowed),
        cmocka_unit_test(the_later_of_two_values_wins),
        cmocka_unit_test(a_request_cannot_grow_without_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
