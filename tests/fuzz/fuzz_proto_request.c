/* Arbitrary bytes as the request (or response) of any RPC, in protobuf and in the gateway's JSON: never a
 * crash, and what was accepted means the same after it was written again. The first byte chooses the message
 * and the form. */
#include "api/json.h"
#include "api/message.h"
#include "client/method.h"
#include "tests/fuzz/fuzz.h"

#include "raft_internal.pb-c.h"
#include "rpc.pb-c.h"

/* Requests, then responses, then what is inside raft entries. */
static const ProtobufCMessageDescriptor *descriptor_of(unsigned choice)
{
    choice %= 2 * CLIENT_RPC_COUNT + 1;
    if (choice < CLIENT_RPC_COUNT) return client_method((enum client_rpc)choice)->request;
    if (choice < 2 * CLIENT_RPC_COUNT)
        return client_method((enum client_rpc)(choice - CLIENT_RPC_COUNT))->response;
    return &etcdserverpb__internal_raft_request__descriptor;
}

/* Unknown fields come back from protobuf-c in another place and are not in the JSON: only the known ones are
 * compared. */
static bool has_unknown_fields(const ProtobufCMessage *message);

static bool members_have_unknown_fields(const ProtobufCMessage *message,
                                        const ProtobufCFieldDescriptor *field)
{
    const uint8_t *base = (const uint8_t *)message;
    size_t count = 1;
    ProtobufCMessage *const *members = (ProtobufCMessage *const *)(const void *)(base + field->offset);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&count, base + field->quantifier_offset, sizeof(count));
        memcpy(&members, base + field->offset, sizeof(members));
    } else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t set;
        memcpy(&set, base + field->quantifier_offset, sizeof(set));
        if (set != field->id) return false;
    }
    for (size_t i = 0; i < count; i++)
        if (members[i] != NULL && has_unknown_fields(members[i])) return true;
    return false;
}

static bool has_unknown_fields(const ProtobufCMessage *message)
{
    if (message->n_unknown_fields > 0) return true;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && members_have_unknown_fields(message, field))
            return true;
    }
    return false;
}

/* The text is one JSON value, whole as in single bytes. */
static void check_is_value(struct bytes text)
{
    struct json_scanner whole = {0}, bytewise = {0};
    size_t used = 0;
    FUZZ_CHECK(json_scan(&whole, text, &used) == JSON_SCAN_VALUE && used == text.size);
    for (size_t i = 0; i < text.size; i++) {
        enum json_scan wanted = i + 1 == text.size ? JSON_SCAN_VALUE : JSON_SCAN_MORE;
        FUZZ_CHECK(json_scan(&bytewise, bytes_of(text.data + i, 1), &used) == wanted && used == 1);
    }
}

/* Writes the message in every way and reads it back. */
static void check(const ProtobufCMessage *message, struct arena *arena)
{
    struct buf packed = {0}, again = {0}, json = {0}, go = {0};
    message_pack(&packed, message);
    const ProtobufCMessage *copy = message_unpack(message->descriptor, buf_bytes(&packed), arena, NULL);
    FUZZ_CHECK(copy != NULL);
    message_pack(&again, copy);
    FUZZ_CHECK(bytes_equal(buf_bytes(&packed), buf_bytes(&again)));
    json_write(&go, message, JSON_GO);
    check_is_value(buf_bytes(&go));
    json_write(&json, message, JSON_GATEWAY);
    check_is_value(buf_bytes(&json));
    copy = json_parse(message->descriptor, buf_bytes(&json), arena, NULL, NULL);
    FUZZ_CHECK(copy != NULL);
    buf_clear(&again);
    message_pack(&again, copy);
    FUZZ_CHECK(has_unknown_fields(message) || bytes_equal(buf_bytes(&packed), buf_bytes(&again)));
    buf_deinit(&packed);
    buf_deinit(&again);
    buf_deinit(&json);
    buf_deinit(&go);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes input = bytes_of(data + 1, size - 1);
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(data[0] & 0x7f);
    bool is_json = (data[0] & 0x80) != 0;
    struct arena *arena = arena_new();
    struct error *error = NULL;
    size_t used = 0;
    const ProtobufCMessage *message = is_json ? json_parse(descriptor, input, arena, &used, &error)
                                              : message_unpack(descriptor, input, arena, &error);
    FUZZ_CHECK((message == NULL) == (error != NULL));
    FUZZ_CHECK(used <= input.size);
    if (message != NULL) check(message, arena);
    error_free(error);
    arena_free(arena);
    return 0;
}

/* A transaction with a bit of everything, a user with a password, a watch; each in both forms. */
static void make_seed(size_t kind, struct buf *packed)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = message_binary(BYTES_LITERAL("key"));
    kv.mod_revision = INT64_MAX;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = kv.key;
    put.lease = -1;
    Etcdserverpb__RequestOp operation = ETCDSERVERPB__REQUEST_OP__INIT,
                            nested = ETCDSERVERPB__REQUEST_OP__INIT;
    operation.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    operation.request_put = &put;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    compare.key = kv.key;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
    Etcdserverpb__TxnRequest inner = ETCDSERVERPB__TXN_REQUEST__INIT, txn = inner;
    nested.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    nested.request_txn = &inner;
    Etcdserverpb__RequestOp *operations[] = {&operation, &nested};
    txn.compare = compares;
    txn.n_compare = 1;
    txn.success = operations;
    txn.n_success = 2;
    Authpb__UserAddOptions user_options = AUTHPB__USER_ADD_OPTIONS__INIT;
    Etcdserverpb__AuthUserAddRequest user = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
    char name[] = "na\xc3\xafve \"<user>\"";
    user.name = name;
    user.options = &user_options;
    Etcdserverpb__WatchCreateRequest__FilterType filters[] = {
        ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE,
        ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT};
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.filters = filters;
    create.n_filters = 2;
    Etcdserverpb__WatchRequest watch = ETCDSERVERPB__WATCH_REQUEST__INIT;
    watch.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    watch.create_request = &create;
    const struct {
        enum client_rpc rpc;
        const ProtobufCMessage *message;
    } seeds[] = {{CLIENT_TXN, &txn.base}, {CLIENT_USER_ADD, &user.base}, {CLIENT_WATCH, &watch.base}};
    bool as_json = kind % 2 == 1;
    buf_append_byte(packed, (uint8_t)((unsigned)seeds[kind / 2].rpc | (as_json ? 0x80u : 0u)));
    if (as_json)
        json_write(packed, seeds[kind / 2].message, JSON_GATEWAY);
    else
        message_pack(packed, seeds[kind / 2].message);
}

bool fuzz_seed(size_t number, struct buf *out)
{
    if (number >= 6) return false;
    make_seed(number, out);
    return true;
}
