/* base/wire.h: protobuf's primitives, also on input that is none. */
#include "base/memory.h"
#include "base/rng.h"
#include "base/wire.h"
#include "tests/unit/buf_fixture.h"

#include <stdlib.h>

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
        cmocka_unit_test(wire_varints_survive_the_way_there_and_back),
        cmocka_unit_test(wire_fields_are_encoded_as_protobuf_does),
        cmocka_unit_test(wire_messages_get_their_length_at_the_end),
        cmocka_unit_test(wire_messages_nest),
        cmocka_unit_test(wire_reader_reads_every_type),
        cmocka_unit_test(wire_reader_fails_on_malformed_input),
        cmocka_unit_test(wire_reader_ends_on_any_input),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
