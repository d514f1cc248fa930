/* Arbitrary bytes as the lines of a transaction: every line is answered with a request or with a reason, and
 * a compare that was read can be written down and read again as the same one. */
#include "shell/txn_grammar.h"

#include "api/message.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {
    "value(\"user1\") = \"bad\"\nmod(\"k\") > \"0\"\n\ndel user1\nput 'a b' \"c\\td\" --prev-kv\n\nget k "
    "--prefix --limit=2\n\n",
    "ver(`a`) != \"1\"\nlease(\"\\x61\\u00e9\") < \"1f\"\n\nput --ignore-value k\nget \"\" --from-key "
    "--order=DESCEND\n\n\n",
    "c(\"a\")   =   \"-2\"  rest\n\nget a b -h\nput k v --lease=zz\ndel a b c\n\n\n",
};

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number >= sizeof(seeds) / sizeof(seeds[0])) return false;
    buf_append_string(out, seeds[number]);
    return true;
}

/* The compare as text. */
static void write_compare(struct buf *out, const Etcdserverpb__Compare *compare)
{
    static const char *const targets[] = {"version", "create", "mod", "value", "lease"};
    static const char *const operators[] = {"=", ">", "<", "!="};
    struct buf number = {0};
    bool hex = compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE;
    int64_t value = compare->version;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    buf_printf(&number, hex ? "%s%llx" : "%s%llu", value < 0 ? "-" : "", (unsigned long long)magnitude);
    buf_printf(out, "%s(", targets[compare->target]);
    text_go_quote(out, message_bytes(compare->key));
    buf_printf(out, ") %s ", operators[compare->result]);
    bool bytes = compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    text_go_quote(out, bytes ? message_bytes(compare->value) : buf_bytes(&number));
    buf_deinit(&number);
}

static void try_compare(struct bytes line, struct arena *arena)
{
    Etcdserverpb__Compare compare, again;
    struct buf reason = {0}, text = {0}, first = {0}, second = {0};
    size_t used = 0;
    int status = txn_parse_compare(line, arena, &compare, &used, &reason);
    FUZZ_CHECK(used <= line.size);
    FUZZ_CHECK((status == 0) == (reason.size == 0));
    if (status == 0) {
        write_compare(&text, &compare);
        FUZZ_CHECK(txn_parse_compare(buf_bytes(&text), arena, &again, NULL, &reason) == 0);
        message_pack(&first, &compare.base);
        message_pack(&second, &again.base);
        FUZZ_CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    }
    buf_deinit(&reason);
    buf_deinit(&text);
    buf_deinit(&first);
    buf_deinit(&second);
}

static void try_operation(struct bytes line, struct arena *arena)
{
    Etcdserverpb__RequestOp request;
    struct txn_operation operation;
    struct buf reason = {0}, usage = {0}, packed = {0};
    int status = txn_parse_operation(line, arena, &request, &operation, &usage, &reason);
    FUZZ_CHECK((status == 0) == (reason.size == 0));
    if (status == 0) {
        message_pack(&packed, &request.base);
        FUZZ_CHECK(message_check(&etcdserverpb__request_op__descriptor, buf_bytes(&packed)) == NULL);
    }
    buf_deinit(&reason);
    buf_deinit(&usage);
    buf_deinit(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t length = end == NULL ? rest.size : (size_t)(end - rest.data);
        struct arena *arena = arena_new();
        try_compare(bytes_of(rest.data, length), arena);
        try_operation(bytes_of(rest.data, length), arena);
        arena_free(arena);
        size_t step = end == NULL ? length : length + 1;
        rest = bytes_of(rest.data + step, rest.size - step);
    }
    return 0;
}
