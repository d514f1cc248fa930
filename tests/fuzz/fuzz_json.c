/* What the JSON gateway reads of a request's body: values cut from a stream in pieces of any size.
 *
 * Input: a byte that chooses the message, one for the size of the pieces, then the body. However the body is
 * cut, the same values come out; a value that another parser takes is taken; what was read is the same when
 * it has been written and is read again.
 */
#include "api/json.h"
#include "api/message.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

#include "rpc.pb-c.h"

static const ProtobufCMessageDescriptor *const requests[] = {
    &etcdserverpb__watch_request__descriptor,
    &etcdserverpb__txn_request__descriptor,
    &etcdserverpb__lease_keep_alive_request__descriptor,
    &etcdserverpb__alarm_request__descriptor,
    &etcdserverpb__member_add_request__descriptor,
    &etcdserverpb__auth_role_grant_permission_request__descriptor,
};

/* Reads what was written of a message: it must be the same. */
static void check_round_trip(const ProtobufCMessage *message, struct arena *arena)
{
    struct buf first = {0}, second = {0};
    json_write(&first, message, JSON_GATEWAY);
    struct error *error = NULL;
    const ProtobufCMessage *again = json_parse(message->descriptor, buf_bytes(&first), arena, NULL, &error);
    FUZZ_CHECK(again != NULL && error == NULL);
    json_write(&second, again, JSON_GATEWAY);
    FUZZ_CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    buf_deinit(&first);
    buf_deinit(&second);
}

static void check_value(const ProtobufCMessageDescriptor *descriptor, struct bytes value)
{
    struct arena *arena = arena_new();
    struct error *error = NULL;
    size_t used = 0;
    const ProtobufCMessage *message = json_parse(descriptor, value, arena, &used, &error);
    FUZZ_CHECK((message == NULL) == (error != NULL) && used == value.size);
    if (message != NULL) check_round_trip(message, arena);
    error_free(error);
    arena_free(arena);
}

/* jansson takes the whole text for one value: then there is one. */
static void check_against_jansson(struct bytes body)
{
    json_error_t reason;
    json_t *root = json_loadb((const char *)body.data, body.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &reason);
    if (root == NULL) return;
    struct json_scanner scanner = {0};
    size_t used = 0;
    enum json_scan result = json_scan(&scanner, body, &used);
    if (result == JSON_SCAN_MORE) result = json_scan_end(&scanner);
    FUZZ_CHECK(result == JSON_SCAN_VALUE || strcmp(scanner.reason, "exceeded max depth") == 0);
    json_decref(root);
}

/* The sizes of the values in pieces of that size, and how it ended. */
static enum json_scan cut(struct bytes body, size_t piece, struct buf *sizes, char *reason)
{
    struct json_scanner scanner = {0};
    size_t value = 0;
    for (size_t at = 0; at < body.size;) {
        size_t size = body.size - at < piece ? body.size - at : piece, used = 0;
        enum json_scan result = json_scan(&scanner, bytes_of(body.data + at, size), &used);
        FUZZ_CHECK(used <= size && (used == size || result != JSON_SCAN_MORE));
        at += used;
        value += used;
        memcpy(reason, scanner.reason, sizeof(scanner.reason));
        if (result == JSON_SCAN_ERROR) return result;
        if (result == JSON_SCAN_VALUE) buf_append(sizes, &value, sizeof(value));
        if (result == JSON_SCAN_VALUE) value = 0;
    }
    enum json_scan result = json_scan_end(&scanner);
    if (result == JSON_SCAN_VALUE) buf_append(sizes, &value, sizeof(value));
    memcpy(reason, scanner.reason, sizeof(scanner.reason));
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const ProtobufCMessageDescriptor *descriptor =
        requests[data[0] % (sizeof(requests) / sizeof(requests[0]))];
    struct bytes body = bytes_of(data + 2, size - 2);
    struct buf whole = {0}, pieces = {0};
    char reason[sizeof(((struct json_scanner *)NULL)->reason)] = "", again[sizeof(reason)] = "";
    enum json_scan result = cut(body, body.size, &whole, reason);
    FUZZ_CHECK(cut(body, 1 + data[1] % 16u, &pieces, again) == result && strcmp(reason, again) == 0);
    FUZZ_CHECK(bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)));
    FUZZ_CHECK(text_is_utf8(bytes_from_string(reason)));
    for (size_t i = 0; i < whole.size; i += sizeof(size_t)) {
        size_t value;
        memcpy(&value, whole.data + i, sizeof(value));
        check_value(descriptor, bytes_of(body.data, value));
        body = bytes_of(body.data + value, body.size - value);
    }
    check_against_jansson(bytes_of(data + 2, size - 2));
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}

bool fuzz_seed(size_t number, struct buf *out)
{
    static const char *const bodies[] = {
        "\x00\x03{\"create_request\":{\"key\":\"Zm9v\",\"rangeEnd\":\"AA\",\"filters\":[\"NOPUT\",1]}} "
        "{\"cancelRequest\""
        ":{\"watch_id\":\"7\"}}\n{\"progress_request\":{}}",
        "\x01\x05{\"compare\":[{\"target\":\"VALUE\",\"key\":\"YQ==\",\"value\":null}],\"success\":[{"
        "\"request_put\":{\"key\":"
        "\"YQ==\",\"lease\":-1e0}}],\"failure\":[{\"requestTxn\":{\"x\":[{},[]]}}]}",
        "\x02\x01{\"ID\":\"\\u0031\"}{\"ID\":1.50e1}5",
        "\x04\x02{\"peerURLs\":[\"http:\\/\\/\\u00e9\",\"\\ud83d\\ude00\"],\"is_learner\":true}",
    };
    static const size_t count = sizeof(bodies) / sizeof(bodies[0]);
    if (number >= count) return false;
    /* The first bytes may be zero. */
    buf_append(out, bodies[number], 2);
    buf_append_string(out, bodies[number] + 2);
    return true;
}
